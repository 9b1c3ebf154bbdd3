"""A scene and a pose in, what the ears hear out.

pyroomacoustics does the room acoustics: its image sources (:mod:`auralnav_gym.images`), its fractional-delay filters,
octave bands and high-pass (:mod:`auralnav_gym.responses`). What this package adds is to do once what need not be done
at every step (the image sources of a still source, the tables of the filters) and to do for all ears and sources
together what ``Room.compute_rir()`` and ``Room.simulate()`` do one by one. The impulse responses equal those of
``Room.compute_rir()``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
import pyroomacoustics as pra

from auralnav_gym.ears import Ears
from auralnav_gym.images import PlacedSources, image_model
from auralnav_gym.movement import Pose
from auralnav_gym.playback import Player, Trajectory, overlap_save
from auralnav_gym.responses import (
    LENGTH_STEP,
    ResponseBuilder,
    delay_filters,
    filtered_arrivals,
    has_bands,
    length_after,
)
from auralnav_gym.rooms import Room
from auralnav_gym.scene import DiffuseSound, Scene
from auralnav_gym.sounds import ACTIVE_RMS_DBFS

# What the delays of ears' filters can be is seen in so many directions, spread evenly.
_PROBED_DIRECTIONS = 64

_ALL = slice(None)


class Listener:
    """Hears one scene.

    Args:
        scene: The scene.
        ears: The microphones.
        sample_rate: Hz.
        num_samples: N, the samples heard at once.
        noise_dbfs: RMS level of the white microphone noise of each ear, dB re full scale; None: no noise.
    """

    def __init__(
        self, scene: Scene, ears: Ears, sample_rate: int, num_samples: int, noise_dbfs: float | None = None
    ) -> None:
        self._scene = scene
        self._ears = ears
        self._dim = scene.room.dim
        self._ear_offsets = ears.positions[:, : self._dim]
        self._reference_offsets = ears.reference_points[:, : self._dim]
        self._ear_height = scene.ear_height or 0.0
        self._sample_rate = sample_rate
        self._num_samples = num_samples
        self._noise_rms = None if noise_dbfs is None else 10 ** (noise_dbfs / 20)
        self._noise = np.random.default_rng(scene.noise_seed)
        self._room = scene.room.to_pyroomacoustics(sample_rate)
        self._image_model = image_model(self._room)
        self._still_images = self._image_model.place(scene.source_positions)
        self._trajectories = {
            index: Trajectory(source.motion, source.position[2:], sample_rate, self._room.c)
            for index, source in enumerate(scene.sources)
            if source.motion is not None
        }
        limits = filter_limits(ears, self._dim, sample_rate)
        self._longest_response = longest_response(
            scene, self._bounding_images(), self._room.c, sample_rate, limits, has_bands(self._room)
        )
        self._build_responses = ResponseBuilder(
            self._room, self._longest_response, early=math.ceil(-limits.earliest * sample_rate)
        )
        longest = num_samples + self._longest_response
        self._players = [Player(source, longest, sample_rate) for source in scene.sources]
        self._field = None
        if scene.background is not None:
            self._field = DiffuseField(
                scene.background, ears, self._dim, sample_rate, num_samples, self._room.c, limits
            )

    def impulse_responses(self, pose: Pose, sources: list[int] | slice = _ALL, time: int = 0) -> np.ndarray:
        """Room impulse responses from every source to every ear.

        Args:
            pose: Where the head is.
            sources: Which sources, as an index into them; all unless said otherwise.
            time: Samples since the start of the episode; the responses are from where the sources are then.

        Returns:
            (S', E, L) float32, where L is a multiple of 64; each response equals that of
            ``pyroomacoustics.Room.compute_rir()``, followed by zeros.
        """
        if not self._trajectories:
            return self._respond(pose, self._still_images, sources)
        positions = self._scene.source_positions_at(time / self._sample_rate)
        return self._respond(pose, self._image_model.place(positions), sources)

    def _respond(self, pose: Pose, placed: PlacedSources, sources: list[int] | slice = _ALL) -> np.ndarray:
        """(S', E, L) float32, of some of the sources at the ears."""
        ears = self._places(pose, self._reference_offsets)
        images = placed.heard_at(ears, sources)
        # Components first, so that the long axis of the images is the innermost.
        towards = images.positions[:, :, None] - ears.T[:, None, :, None]
        distances = np.sqrt(np.einsum("dsei,dsei->sei", towards, towards))
        directions = _turn(-pose.heading)[: self._dim, : self._dim] @ (towards / distances).reshape(self._dim, -1)
        directions = directions.reshape(towards.shape)
        amplitudes = images.damping[:, :, None] / distances
        if self._room.air_absorption is not None:
            amplitudes = amplitudes * np.exp(np.multiply.outer(-0.5 * self._room.air_absorption, distances))
        delays = distances / self._room.c
        filtered = self._ears.filters(directions, self._sample_rate)
        if filtered is None:
            filters = None
            amplitudes *= self._ears.gains(directions)
        else:
            filters, later = filtered
            delays = delays + later
        if images.visible is not None:
            amplitudes = np.where(images.visible, amplitudes, 0.0)
            delays = np.where(images.visible, delays, 0.0)
        return self._build_responses(delays, amplitudes, filters)

    def hear(self, pose: Pose, time: int, off_since: Sequence[float]) -> np.ndarray:
        """What the ears hear: the mixture of all sources, with background and noise, clipped at full scale.

        Args:
            pose: Where the head is; it stays there for the whole window.
            time: Samples since the start of the episode at which the window begins.
            off_since: S times, in samples, at which the sources were switched off; infinity: still on.
                What it sent out before is still heard.

        Returns:
            (E, N) float32 in [-1, 1].
        """
        shape = (len(self._ear_offsets), self._num_samples)
        heard, played, responses = self._play(pose, time, off_since)
        mixture = overlap_save(played, responses, mix=True) if heard else np.zeros(shape, dtype=np.float32)
        if self._field is not None:
            mixture += self.hear_background(pose, time)
        if self._noise_rms is not None:
            mixture += self._noise_rms * self._noise.standard_normal(shape, dtype=np.float32)
        return mixture.clip(-1.0, 1.0, out=mixture)

    def hear_background(self, pose: Pose, time: int) -> np.ndarray:
        """What the ears hear of the background alone, (E, N) float32; silence where there is none."""
        if self._field is None:
            return np.zeros((len(self._ear_offsets), self._num_samples), dtype=np.float32)
        return self._field.hear(self._places(pose, self._reference_offsets), pose.heading, time)

    def hear_sources(self, pose: Pose, time: int, off_since: Sequence[float]) -> np.ndarray:
        """What the ears hear of every source alone, without background, noise and clipping.

        Takes what :meth:`hear` takes; returns (S, E, N) float32.
        """
        clean = np.zeros((len(self._players), len(self._ear_offsets), self._num_samples), dtype=np.float32)
        heard, played, responses = self._play(pose, time, off_since)
        still = [part for part, source in enumerate(heard) if source not in self._trajectories]
        if still:
            clean[heard[: len(still)]] = overlap_save(played[: len(still)], responses[: len(still)])
        for source in dict.fromkeys(heard[len(still) :]):
            knots = slice(heard.index(source), heard.index(source) + heard.count(source))
            clean[source] = overlap_save(played[knots], responses[knots], mix=True)
        return clean

    def _play(
        self, pose: Pose, time: int, off_since: Sequence[float]
    ) -> tuple[list[int], list[np.ndarray], np.ndarray]:
        """Indices of the S' sources that can be heard, what each plays (N + L - 1,) and their responses (S', E, L).

        First come those that stand still; a source that moves then comes once for each of its knots.
        """
        heard = [index for index, off in enumerate(off_since) if off > time - self._longest_response]
        if not heard:
            return heard, [], np.empty((0, 0, 0))
        moving = [index for index in heard if index in self._trajectories]
        if moving:
            return self._play_moving(pose, time, off_since, heard, moving)
        responses = self._respond(pose, self._still_images, heard if len(heard) < len(self._players) else _ALL)
        first, last = time - responses.shape[-1] + 1, time + self._num_samples
        played = [self._players[index].play(first, last, off_since[index]) for index in heard]
        return heard, played, responses

    def _play_moving(
        self, pose: Pose, time: int, off_since: Sequence[float], heard: list[int], moving: list[int]
    ) -> tuple[list[int], list[np.ndarray], np.ndarray]:
        """What :meth:`_play` gives where some of the sources that are heard move."""
        last = time + self._num_samples
        still = [index for index in heard if index not in self._trajectories]
        knots = {index: self._trajectories[index].knots(time - self._longest_response + 1, last) for index in moving}
        positions = [self._scene.source_positions[still]]
        positions += [self._trajectories[index].positions(knots[index]) for index in moving]
        responses = self._respond(pose, self._image_model.place(np.concatenate(positions)))
        first = time - responses.shape[-1] + 1
        played = [self._players[index].play(first, last, off_since[index]) for index in still]
        parts = list(still)
        for index in moving:
            samples = self._players[index].play(first, last, off_since[index])
            played += list(self._trajectories[index].split(knots[index], samples, first))
            parts += [index] * len(knots[index])
        return parts, played, responses

    def ear_positions(self, pose: Pose) -> np.ndarray:
        """(E, D) float64, the ears in the world, metres."""
        return self._places(pose, self._ear_offsets)

    def _places(self, pose: Pose, offsets: np.ndarray) -> np.ndarray:
        """(E, D) float64, in the world, of what has these offsets (E, D) in the head frame, metres."""
        places = offsets @ _turn(pose.heading)[: self._dim, : self._dim].T
        places[:, 0] += pose.x
        places[:, 1] += pose.y
        places[:, 2:] += self._ear_height
        return places

    def _bounding_images(self) -> PlacedSources | None:
        """Images of which none that an ear can hear is farther from a corner of the room; None: not known."""
        if not self._trajectories:
            return self._still_images
        if not isinstance(self._room, pra.ShoeBox):
            return None
        # The distance between an ear and an image of a source is greatest where both are in corners.
        return self._image_model.place(_corners(self._scene.room))


class DiffuseField:
    """Plane waves from everywhere, each with a sound of its own.

    A wave comes to every ear with the ear's gain in its direction, earlier the farther the ear is towards where it
    comes from; distance does not weaken it. Uncorrelated waves of equal power from D directions spread evenly make an
    isotropic field. Their common delay means nothing.

    Args:
        background: What plays, and how loud.
        ears: The microphones.
        dim: 2 or 3, of the room.
        sample_rate: Hz.
        num_samples: N, the samples heard at once.
        speed_of_sound: m/s.
        limits: What the ears' filters can be.
    """

    def __init__(
        self,
        background: DiffuseSound,
        ears: Ears,
        dim: int,
        sample_rate: int,
        num_samples: int,
        speed_of_sound: float,
        limits: FilterLimits,
    ) -> None:
        self._ears = ears
        self._dim = dim
        self._sample_rate = sample_rate
        self._num_samples = num_samples
        self._directions = even_directions(len(background.sounds), dim)
        self._samples_per_metre = sample_rate / speed_of_sound
        spread = 2 * float(np.linalg.norm(ears.reference_points[:, :dim], axis=1).max()) * self._samples_per_metre
        spread += (limits.latest - limits.earliest) * sample_rate
        self._length = pra.constants.get("frac_delay_length") + (limits.num_taps or 1) + math.ceil(spread)
        # Directions with the same sound share its loop, so a wave gets its level from its responses.
        loops, rms = {}, {}
        for sound in set(background.sounds):
            loops[sound] = np.resize(sound.signal, len(sound.signal) + self._length + num_samples)
            rms[sound] = math.sqrt(np.square(sound.signal, dtype=np.float64).mean())
        self._waves = [
            (loops[sound], len(sound.signal), start)
            for sound, start in zip(background.sounds, background.starts, strict=True)
        ]
        level = 10 ** ((ACTIVE_RMS_DBFS + background.level_db) / 20) / math.sqrt(len(background.sounds))
        self._amplitudes = np.array([level / rms[sound] for sound in background.sounds])

    def hear(self, ears: np.ndarray, heading: float, time: int) -> np.ndarray:
        """What the ears hear of the field.

        Args:
            ears: (E, dim) float64, where they are, metres.
            heading: Of the head, radians.
            time: Samples since the start of the episode at which the window begins.

        Returns:
            (E, N) float32.
        """
        seen = _turn(-heading)[: self._dim, : self._dim] @ self._directions.T
        directions = np.broadcast_to(seen[:, :, None, None], (*seen.shape, len(ears), 1))
        delays = -self._samples_per_metre * (self._directions @ ears.T)
        filtered = self._ears.filters(directions, self._sample_rate)
        if filtered is not None:
            delays = delays + self._sample_rate * filtered[1][..., 0]
        # A wave plays late by whole samples, so that its responses need not be longer than the head is wide.
        late = np.floor(delays.min(axis=1)).astype(int)
        delays -= late[:, None]
        whole = np.floor(delays.astype(np.float32))
        fractions = (delays.astype(np.float32) - whole).ravel()
        amplitudes = np.broadcast_to(self._amplitudes[:, None], delays.shape)
        if filtered is None:
            gains = self._ears.gains(directions)[..., 0] * amplitudes
            arrivals = delay_filters(fractions, gains.astype(np.float32).ravel())
        else:
            arrivals = filtered_arrivals(fractions, filtered[0].reshape(len(fractions), -1))
            arrivals *= amplitudes.astype(np.float32).reshape(-1, 1)
        responses = self._place(arrivals, whole.astype(np.intp).ravel()).reshape(*delays.shape, -1)
        first, count = time - self._length + 1, self._length - 1 + self._num_samples
        played = []
        for (loop, period, start), delay in zip(self._waves, late.tolist(), strict=True):
            begin = (start + first - delay) % period
            played.append(loop[begin : begin + count])
        return overlap_save(played, responses, mix=True)

    def _place(self, arrivals: np.ndarray, first: np.ndarray) -> np.ndarray:
        """Responses (n, L) float32 from arrivals (n, taps), each of which begins at its sample ``first`` (n,)."""
        responses = np.zeros((len(arrivals), self._length), dtype=np.float32)
        np.put_along_axis(responses, first[:, None] + np.arange(arrivals.shape[1]), arrivals, axis=1)
        return responses


def even_directions(count: int, dim: int) -> np.ndarray:
    """Unit vectors spread evenly over the circle, or over the sphere (on a Fibonacci lattice).

    Args:
        count: D, how many.
        dim: 2 or 3.

    Returns:
        (D, dim) float64.
    """
    index = np.arange(count)
    if dim == 2:
        angles = 2 * math.pi / count * index
        return np.stack([np.cos(angles), np.sin(angles)], axis=1)
    angles = math.pi * (3 - math.sqrt(5)) * index
    heights = 1 - (2 * index + 1) / count
    radii = np.sqrt(1 - heights**2)
    return np.stack([radii * np.cos(angles), radii * np.sin(angles), heights], axis=1)


@dataclass(frozen=True)
class FilterLimits:
    """What the filters of ears can be, in every direction.

    Attributes:
        num_taps: T; None: the ears have no filters.
        earliest: The least that they delay a sound, seconds, 0 or below.
        latest: The most, 0 or above.
    """

    num_taps: int | None = None
    earliest: float = 0.0
    latest: float = 0.0


def filter_limits(ears: Ears, dim: int, sample_rate: int) -> FilterLimits:
    """The limits of the filters of ears, as seen in many directions, with as much again to either side.

    Args:
        ears: The microphones.
        dim: 2 or 3, of the room.
        sample_rate: Hz.
    """
    directions = _probed_directions(dim)[:, :, None, None]
    filtered = ears.filters(directions.repeat(len(ears.positions), axis=2), sample_rate)
    if filtered is None:
        return FilterLimits()
    filters, delays = filtered
    low, high = float(delays.min()), float(delays.max())
    return FilterLimits(filters.shape[-1], min(2 * low - high, 0.0), max(2 * high - low, 0.0))


@cache
def _probed_directions(dim: int) -> np.ndarray:
    return even_directions(_PROBED_DIRECTIONS, dim).T


def longest_response(
    scene: Scene,
    images: PlacedSources | None,
    speed_of_sound: float,
    sample_rate: int,
    limits: FilterLimits | None = None,
    with_bands: bool = False,
) -> int:
    """A bound on the samples of the impulse responses in a scene, wherever the ears are; a multiple of 64.

    Args:
        scene: The scene.
        images: All image sources that an ear may hear; None: not known.
        speed_of_sound: m/s.
        sample_rate: Hz.
        limits: What the ears' filters can be; None: the ears have none.
        with_bands: Whether walls or air absorb by frequency.
    """
    room = scene.room
    if images is None:  # no leg of a path is longer than the room's diagonal
        low, high = room.bounds
        longest_path = (room.max_order + 1) * math.hypot(*(high - low), room.ceiling or 0.0)
    else:  # nowhere in a room is farther from an image than one of its corners
        corners = _corners(room)
        longest_path = float(np.linalg.norm(images.positions - corners[..., None, None], axis=1).max())
    limits = limits or FilterLimits()
    last = (longest_path / speed_of_sound + limits.latest) * sample_rate
    return -(-length_after(last, limits.num_taps, with_bands) // LENGTH_STEP) * LENGTH_STEP


def _corners(room: Room) -> np.ndarray:
    """(M, D) float64, the corners of floor and ceiling, metres."""
    heights: tuple[tuple[float, ...], ...] = ((),) if room.ceiling is None else ((0.0,), (room.ceiling,))
    return np.array([(*corner, *height) for corner in room.corners for height in heights])


@lru_cache(maxsize=64)
def _turn(angle: float) -> np.ndarray:
    """(3, 3) float64, turns about the upright axis, counter-clockwise by ``angle`` radians.

    With the heading for an angle it leads from the head frame into the world frame, with its opposite back.
    """
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
