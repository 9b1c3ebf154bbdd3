"""A scene and a pose in, what the ears hear out.

pyroomacoustics does the room acoustics: its image sources, its fractional-delay filters, its high-pass. What this
module adds is to do once what need not be done at every step (the image sources of a still source in a shoebox, the
table of the delay filters) and to do for all ears and sources together what ``Room.compute_rir()`` and
``Room.simulate()`` do one by one. The impulse responses equal those of ``Room.compute_rir()``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
import pyroomacoustics as pra
import scipy.fft
from pyroomacoustics import libroom
from pyroomacoustics.utilities import design_highpass_filter_sos
from scipy.signal import lfilter, sosfilt_zi

from auralnav_gym.ears import Ears
from auralnav_gym.scene import Pose, Scene, ShoeBox, Source

# Impulse responses are padded to multiples of this many samples, so that few FFT sizes occur in an episode.
_LENGTH_STEP = 64

_ALL = slice(None)


@dataclass(frozen=True)
class Images:
    """Image sources as pyroomacoustics found them.

    Attributes:
        positions: (D, S, I) float32, metres.
        damping: (S, I) float32, the product of the walls' reflection coefficients.
        visible: (S, E, I) bool, whether an ear hears an image; None where every ear hears all.
    """

    positions: np.ndarray
    damping: np.ndarray
    visible: np.ndarray | None


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
        self._ears = ears
        self._ear_offsets = ears.positions[:, : scene.room.dim]
        self._ear_height = scene.ear_height
        self._sample_rate = sample_rate
        self._num_samples = num_samples
        self._noise_rms = None if noise_dbfs is None else 10 ** (noise_dbfs / 20)
        self._noise = np.random.default_rng(scene.noise_seed)
        self._room = scene.room.to_pyroomacoustics(sample_rate)
        self._source_positions = scene.source_positions
        self._still_images = still_images(self._room, self._source_positions) if _is_shoebox(scene) else None
        self._high_pass = high_pass(sample_rate)
        longest = longest_response(scene, self._room.c, sample_rate)
        self._longest_response = longest
        self._players = [Player(source, num_samples + longest + _LENGTH_STEP) for source in scene.sources]

    def impulse_responses(self, pose: Pose, sources: np.ndarray | slice = _ALL) -> np.ndarray:
        """Room impulse responses from every source to every ear.

        Args:
            pose: Where the head is.
            sources: Which sources, as an index into them; all unless said otherwise.

        Returns:
            (S', E, L) float64, where L is a multiple of 64; each response equals that of
            ``pyroomacoustics.Room.compute_rir()``, followed by zeros.
        """
        ears = self.ear_positions(pose)
        images = self._images(ears, sources)
        # Components first, so that the long axis of the images is the innermost.
        towards = images.positions[:, :, None] - ears.T[:, None, :, None]
        distances = np.sqrt(np.einsum("dsei,dsei->sei", towards, towards))
        directions = into_head_frame((towards / distances).reshape(len(towards), -1), pose.heading)
        gains = self._ears.gains(directions.reshape(towards.shape))
        amplitudes = images.damping[:, None] / distances * gains
        if images.visible is not None:
            amplitudes = np.where(images.visible, amplitudes, 0.0)
            distances = np.where(images.visible, distances, 0.0)
        pairs = (-1, distances.shape[-1])
        margin = 0 if self._high_pass is None else self._high_pass.edge
        responses, lengths = build_responses(
            distances.reshape(pairs) / self._room.c, amplitudes.reshape(pairs), self._sample_rate, margin
        )
        if self._high_pass is not None:
            responses = self._high_pass(responses, lengths)
        return responses.reshape(*distances.shape[:2], -1)

    def hear(self, pose: Pose, time: int, off_since: np.ndarray) -> np.ndarray:
        """What the ears hear: the mixture of all sources, with noise, clipped at full scale.

        Args:
            pose: Where the head is; it stays there for the whole window.
            time: Samples since the start of the episode at which the window begins.
            off_since: (S,) float64, the time in samples at which each source was switched off; infinity: still on.
                What it sent out before is still heard.

        Returns:
            (E, N) float32 in [-1, 1].
        """
        shape = (len(self._ear_offsets), self._num_samples)
        heard, played, responses = self._play(pose, time, off_since)
        mixture = overlap_save(played, responses, mix=True) if len(heard) else np.zeros(shape, dtype=np.float32)
        if self._noise_rms is not None:
            mixture += self._noise_rms * self._noise.standard_normal(shape, dtype=np.float32)
        return mixture.clip(-1.0, 1.0, out=mixture)

    def hear_sources(self, pose: Pose, time: int, off_since: np.ndarray) -> np.ndarray:
        """What the ears hear of every source alone, without noise and clipping.

        Takes what :meth:`hear` takes; returns (S, E, N) float32.
        """
        clean = np.zeros((len(self._players), len(self._ear_offsets), self._num_samples), dtype=np.float32)
        heard, played, responses = self._play(pose, time, off_since)
        if len(heard):
            clean[heard] = overlap_save(played, responses)
        return clean

    def _play(self, pose: Pose, time: int, off_since: np.ndarray) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
        """Indices (S',) of the sources that can be heard, what each plays (N + L - 1,) and their responses."""
        heard = np.flatnonzero(off_since > time - self._longest_response)
        if not len(heard):
            return heard, [], np.empty((0, 0, 0))
        responses = self.impulse_responses(pose, heard if len(heard) < len(self._players) else _ALL)
        first, last = time - responses.shape[-1] + 1, time + self._num_samples
        played = [self._players[index].play(first, last, off_since[index]) for index in heard]
        return heard, played, responses

    def ear_positions(self, pose: Pose) -> np.ndarray:
        """(E, D) float64, the ears in the world, metres."""
        centre = (pose.x, pose.y) if self._ear_height is None else (pose.x, pose.y, self._ear_height)
        return into_world_frame(self._ear_offsets.T, pose.heading).T + centre

    def _images(self, ears: np.ndarray, sources: np.ndarray | slice) -> Images:
        if self._still_images is None:
            return visible_images(self._room, self._source_positions[sources], ears)
        still = self._still_images
        return Images(still.positions[:, sources], still.damping[sources], None)


class Player:
    """Plays a source's sound round and round, without a seam, from the infinite past until it is switched off.

    Args:
        source: The source.
        longest: Most samples that are asked for at once.
    """

    def __init__(self, source: Source, longest: int) -> None:
        signal = source.sound.signal
        self._period = len(signal)
        self._start = source.start
        gain = np.float32(10 ** (source.level_db / 20))
        self._samples = np.resize(signal, self._period + longest) * gain

    def play(self, first: int, last: int, off_since: float = math.inf) -> np.ndarray:
        """Samples ``first`` to ``last`` - 1 after the start of the episode, (last - first,) float32.

        Silent from sample ``off_since`` on; the array may be a view, not to be written to.
        """
        begin = (self._start + first) % self._period
        samples = self._samples[begin : begin + last - first]
        if off_since >= last:
            return samples
        return np.where(np.arange(first, last) < off_since, samples, np.float32(0))


def still_images(room: pra.ShoeBox, positions: np.ndarray) -> Images:
    """Image sources of a shoebox, which every ear hears wherever it is.

    Args:
        room: The room, without microphones.
        positions: (S, D), metres.
    """
    images, damping = [], []
    for position in positions:
        room.room_engine.image_source_model(position)
        images.append(room.room_engine.sources.copy())
        damping.append(room.room_engine.attenuations[0].copy())
    return Images(np.stack(images, axis=1), np.stack(damping), None)


def visible_images(room: pra.Room, positions: np.ndarray, ears: np.ndarray) -> Images:
    """Image sources of a polygonal room, of which an ear hears some, depending on where it is.

    Args:
        room: The room.
        positions: (S, D), metres.
        ears: (E, D), metres.

    Returns:
        The images of every source, filled up to one number with images that no ear hears.
    """
    # The engine forgets no microphone, so every pose takes a new one; in a convex room no wall obstructs.
    room._init_room_engine(room.walls, [])
    engine = room.room_engine
    for ear in ears:
        engine.add_mic(ear)
    found = []
    for position in positions:
        count = engine.image_source_model(position)
        # The arrays are the engine's own, to be copied; where no image is heard it leaves them as they were.
        arrays = engine.sources, engine.attenuations[0], engine.visible_mics
        found.append(tuple(array[..., :count].copy() for array in arrays))
    most = max(images.shape[1] for images, _, _ in found)
    # An unheard image lies at the source itself, so that its distance is finite and not zero.
    images = np.repeat(positions.T[..., None].astype(np.float32), max(most, 1), axis=-1)
    damping = np.zeros(images.shape[1:], dtype=np.float32)
    visible = np.zeros((len(positions), len(ears), images.shape[-1]), dtype=bool)
    for index, (places, factors, heard) in enumerate(found):
        count = places.shape[1]
        images[:, index, :count], damping[index, :count], visible[index, :, :count] = places, factors, heard
    return Images(images, damping, visible)


def build_responses(
    delays: np.ndarray, amplitudes: np.ndarray, sample_rate: int, margin: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Impulse responses as sums of delayed impulses, as pyroomacoustics builds them.

    Every arrival is a windowed sinc of ``frac_delay_length`` samples; the whole response is late by half of that. The
    roundings to float32 are those of ``libroom.rir_builder``, at whose precision the delay of an arrival matters.

    Args:
        delays: (P, I) float64, seconds.
        amplitudes: (P, I) float64.
        sample_rate: Hz.
        margin: Zeros to put before and after every response.

    Returns:
        Responses (P, margin + L + margin) float64, zero after their ends, and the lengths (P,) that
        ``Room.compute_rir()`` gives them; L is a multiple of 64.
    """
    taps = pra.constants.get("frac_delay_length")
    half = taps // 2
    delays = delays + half / sample_rate
    lengths = np.ceil(delays.max(axis=-1) * sample_rate + half + 1).astype(np.intp) + 1
    width = int(-(-lengths.max() // _LENGTH_STEP) * _LENGTH_STEP) + 2 * margin

    samples = np.float32(sample_rate) * delays.astype(np.float32)
    whole = np.floor(samples)
    filters = delay_filters((samples - whole).ravel(), amplitudes.astype(np.float32).ravel())

    first = whole.astype(np.intp) + (margin - half + width * np.arange(len(delays))[:, None])
    places = first.reshape(-1, 1) + np.arange(taps)
    responses = np.bincount(places.ravel(), filters.ravel(), width * len(delays))
    return responses.reshape(len(delays), width), lengths


def delay_filters(fractions: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """Windowed-sinc filters that delay by a fraction of a sample; those of ``libroom.fractional_delay``.

    Args:
        fractions: (n,) float32, samples in [0, 1).
        gains: (n,) float32.

    Returns:
        (n, frac_delay_length) float32, interpolated linearly in pyroomacoustics' own table.
    """
    granularity = pra.constants.get("sinc_lut_granularity")
    table = _delay_table(pra.constants.get("frac_delay_length"), granularity)
    places = np.float32(granularity) * (np.float32(1) - fractions)
    rows = places.astype(np.intp)
    shares = places - rows.astype(np.float32)
    filters = table.take(rows, axis=0, mode="clip")
    filters *= (gains * (1 - shares))[:, None]
    upper = table.take(rows + 1, axis=0, mode="clip")  # past the last row the share is 0
    upper *= (gains * shares)[:, None]
    filters += upper
    return filters


@cache
def _delay_table(taps: int, granularity: int) -> np.ndarray:
    """Filters for the delays 1 - g / granularity; (granularity + 1, taps) float32."""
    fractions = (1 - np.arange(granularity + 1) / granularity).astype(np.float32)
    filters = np.zeros((granularity + 1, taps), dtype=np.float32)
    libroom.fractional_delay(filters, fractions, granularity, 1)
    return filters


@dataclass(frozen=True, eq=False)
class ZeroPhaseFilter:
    """A cascade of second-order sections run forwards and backwards, as ``scipy.signal.sosfiltfilt`` does.

    Attributes:
        sections: (n, 6) float64, the sections; the gain at frequency 0 is 0.
        steady: (n, 2) float64, the state of each section after an endless input of ones (``sosfilt_zi``).
        edge: By how many samples both ends are continued, oddly.
    """

    sections: np.ndarray
    steady: np.ndarray
    edge: int

    def __call__(self, rows: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Filter ``lengths[p]`` samples of every row, from sample ``edge`` on, all rows at once.

        Args:
            rows: (P, edge + L + edge) float64; overwritten.
            lengths: (P,) int, at most L.

        Returns:
            (P, L) float64, zero from ``lengths[p]`` on.
        """
        edge, ends = self.edge, (lengths + self.edge).tolist()
        for row, end in zip(rows, ends, strict=True):
            row[:edge] = 2 * row[edge] - row[2 * edge : edge : -1]
            row[end : end + edge] = 2 * row[end - 1] - row[end - 2 : end - 2 - edge : -1]
        forth = self._run(rows, rows[:, :1])
        # Held at its last value, a row keeps the filter in the state in which sosfiltfilt starts back from there.
        for row, end in zip(forth, ends, strict=True):
            row[end + edge :] = row[end + edge - 1]
        back = self._run(forth[:, ::-1], forth[:, -1:])[:, ::-1]
        for row, end in zip(back, ends, strict=True):
            row[end:] = 0
        return back[:, edge:-edge]

    def _run(self, rows: np.ndarray, first: np.ndarray) -> np.ndarray:
        """Run forwards over rows (P, L) that have been at ``first`` (P, 1) for ever."""
        for section, steady in zip(self.sections, self.steady, strict=True):
            rows, _ = lfilter(section[:3], section[3:], rows, zi=steady * first)
        return rows


def high_pass(sample_rate: int) -> ZeroPhaseFilter | None:
    """The high-pass that pyroomacoustics applies to impulse responses; None if its constants switch it off."""
    if not pra.constants.get("rir_hpf_enable"):
        return None
    sections = design_highpass_filter_sos(
        sample_rate, pra.constants.get("rir_hpf_fc"), **pra.constants.get("rir_hpf_kwargs")
    )
    taps = 2 * len(sections) + 1 - min((sections[:, 2] == 0).sum(), (sections[:, 5] == 0).sum())
    return ZeroPhaseFilter(sections, sosfilt_zi(sections), int(3 * taps))


def overlap_save(signals: Sequence[np.ndarray], responses: np.ndarray, mix: bool = False) -> np.ndarray:
    """Convolve every signal with its responses and keep what no edge touches.

    Overlap-save (Oppenheim and Schafer, Discrete-Time Signal Processing, section 8.7.3), in single precision.

    Args:
        signals: S signals (N + L - 1,) float32.
        responses: (S, E, L).
        mix: Whether to add up the sources.

    Returns:
        (S, E, N) float32, or (E, N) if ``mix``: the last N samples of the convolution before the signals end.
    """
    num_sources, num_ears, length = responses.shape
    num_samples = len(signals[0]) - length + 1
    blocks, size = _block_layout(num_sources, num_ears, length, num_samples, mix)
    hop = size - length + 1
    padded = np.zeros((num_sources, (blocks - 1) * hop + size), dtype=np.float32)
    for row, signal in zip(padded, signals, strict=True):
        row[: len(signal)] = signal
    stride, item = padded.strides
    windows = np.ndarray((num_sources, blocks, size), np.float32, padded, strides=(stride, hop * item, item))
    spectra = scipy.fft.rfft(windows)[:, None] * scipy.fft.rfft(responses.astype(np.float32), size)[:, :, None]
    if mix:
        spectra = spectra.sum(axis=0)
    heard = scipy.fft.irfft(spectra, size)[..., length - 1 :]
    return heard.reshape(*heard.shape[:-2], blocks * hop)[..., :num_samples]


@cache
def _block_layout(num_sources: int, num_ears: int, length: int, num_samples: int, mix: bool) -> tuple[int, int]:
    """The number and size of the blocks that cost :func:`overlap_save` the least."""

    def cost(layout: tuple[int, int]) -> float:
        blocks, size = layout
        batches = (num_sources * blocks, num_sources * num_ears, blocks * num_ears * (1 if mix else num_sources))
        # Single-precision transforms of one size run four at a time; then there are the products of the spectra.
        transforms = sum(-(-batch // 4) for batch in batches) * size * math.log2(size)
        return transforms + num_sources * num_ears * blocks * size

    counts = range(1, max(2, num_samples // length + 2))
    layouts = [(n, scipy.fft.next_fast_len(-(-num_samples // n) + length - 1, real=True)) for n in counts]
    return min(layouts, key=cost)


def longest_response(scene: Scene, speed_of_sound: float, sample_rate: int) -> int:
    """A bound on the samples of any impulse response: no leg of a path is longer than the room's diagonal."""
    low, high = scene.room.bounds
    diagonal = math.hypot(*(high - low), scene.room.ceiling or 0.0)
    longest_path = (scene.room.max_order + 1) * diagonal
    taps = pra.constants.get("frac_delay_length")
    samples = math.ceil(longest_path / speed_of_sound * sample_rate) + taps + 3
    return -(-samples // _LENGTH_STEP) * _LENGTH_STEP


def into_world_frame(vectors: np.ndarray, heading: float) -> np.ndarray:
    """Turn vectors (D, n) from the head frame into the world frame."""
    return _turn(heading)[: len(vectors), : len(vectors)] @ vectors


def into_head_frame(vectors: np.ndarray, heading: float) -> np.ndarray:
    """Turn vectors (D, n) from the world frame into the head frame."""
    return into_world_frame(vectors, -heading)


@lru_cache(maxsize=64)
def _turn(angle: float) -> np.ndarray:
    """(3, 3), turns about the upright axis, counter-clockwise by ``angle`` radians."""
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])


def _is_shoebox(scene: Scene) -> bool:
    return isinstance(scene.room, ShoeBox)
