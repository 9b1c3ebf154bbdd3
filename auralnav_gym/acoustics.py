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
from functools import cache, lru_cache, reduce

import numpy as np
import pyroomacoustics as pra
import scipy.fft
from pyroomacoustics import libroom
from pyroomacoustics.utilities import design_highpass_filter_sos
from scipy.signal import lfilter, sosfilt_zi

from auralnav_gym.ears import Ears
from auralnav_gym.movement import Pose
from auralnav_gym.rooms import Room, ShoeBox
from auralnav_gym.scene import DiffuseSound, Scene, Source
from auralnav_gym.sounds import ACTIVE_RMS_DBFS

# Impulse responses are padded to multiples of this many samples, so that few FFT sizes occur in an episode.
_LENGTH_STEP = 64

# Responses of up to so many samples are high-passed by a matrix of low rank, if so many functions reach that tolerance.
_LONGEST_LOW_RANK = 1536
_HIGHEST_RANK = 64
_LOW_RANK_TOLERANCE = 3e-5

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
        self._dim = scene.room.dim
        self._ear_offsets = ears.positions[:, : self._dim]
        self._ear_height = scene.ear_height or 0.0
        self._sample_rate = sample_rate
        self._num_samples = num_samples
        self._noise_rms = None if noise_dbfs is None else 10 ** (noise_dbfs / 20)
        self._noise = np.random.default_rng(scene.noise_seed)
        self._room = scene.room.to_pyroomacoustics(sample_rate)
        self._source_positions = scene.source_positions
        is_shoebox = isinstance(scene.room, ShoeBox)
        self._still_images = still_images(self._room, self._source_positions) if is_shoebox else None
        self._longest_response = longest_response(scene, self._still_images, self._room.c, sample_rate)
        self._row_length = self._longest_response + _LENGTH_STEP  # there is room before every response
        self._high_pass = high_pass(sample_rate, self._row_length)
        self._players = [Player(source, num_samples + self._longest_response) for source in scene.sources]
        self._field = None
        if scene.background is not None:
            self._field = DiffuseField(scene.background, ears, self._dim, sample_rate, num_samples, self._room.c)

    def impulse_responses(self, pose: Pose, sources: list[int] | slice = _ALL) -> np.ndarray:
        """Room impulse responses from every source to every ear.

        Args:
            pose: Where the head is.
            sources: Which sources, as an index into them; all unless said otherwise.

        Returns:
            (S', E, L) float32, where L is a multiple of 64; each response equals that of
            ``pyroomacoustics.Room.compute_rir()``, followed by zeros.
        """
        ears = self.ear_positions(pose)
        images = self._images(ears, sources)
        # Components first, so that the long axis of the images is the innermost.
        towards = images.positions[:, :, None] - ears.T[:, None, :, None]
        distances = np.sqrt(np.einsum("dsei,dsei->sei", towards, towards))
        directions = _turn(-pose.heading)[: self._dim, : self._dim] @ (towards / distances).reshape(self._dim, -1)
        gains = self._ears.gains(directions.reshape(towards.shape))
        amplitudes = images.damping[:, None] / distances * gains
        if images.visible is not None:
            amplitudes = np.where(images.visible, amplitudes, 0.0)
            distances = np.where(images.visible, distances, 0.0)
        num_sources, num_ears, num_images = distances.shape
        rows, lengths = build_responses(
            distances.reshape(-1, num_images) / self._room.c,
            amplitudes.reshape(-1, num_images),
            self._sample_rate,
            self._row_length,
        )
        if self._high_pass is not None:
            if distances.min() / self._room.c * self._sample_rate < self._high_pass.edge + 2:
                continue_beginnings(rows, lengths, self._high_pass.edge)
            # Source by source: the result must not depend on how many threads a larger product would take.
            rows = self._high_pass(rows.reshape(num_sources, num_ears, -1)).reshape(rows.shape)
        longest = -(-max(lengths) // _LENGTH_STEP) * _LENGTH_STEP
        responses = np.zeros((len(rows), longest), dtype=np.float32)
        for response, row, length in zip(responses, rows, lengths, strict=True):
            response[:length] = row[-length:]
        return responses.reshape(num_sources, num_ears, -1)

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
        return self._field.hear(self.ear_positions(pose), pose.heading, time)

    def hear_sources(self, pose: Pose, time: int, off_since: Sequence[float]) -> np.ndarray:
        """What the ears hear of every source alone, without background, noise and clipping.

        Takes what :meth:`hear` takes; returns (S, E, N) float32.
        """
        clean = np.zeros((len(self._players), len(self._ear_offsets), self._num_samples), dtype=np.float32)
        heard, played, responses = self._play(pose, time, off_since)
        if heard:
            clean[heard] = overlap_save(played, responses)
        return clean

    def _play(
        self, pose: Pose, time: int, off_since: Sequence[float]
    ) -> tuple[list[int], list[np.ndarray], np.ndarray]:
        """Indices of the S' sources that can be heard, what each plays (N + L - 1,) and their responses."""
        heard = [index for index, off in enumerate(off_since) if off > time - self._longest_response]
        if not heard:
            return heard, [], np.empty((0, 0, 0))
        responses = self.impulse_responses(pose, heard if len(heard) < len(self._players) else _ALL)
        first, last = time - responses.shape[-1] + 1, time + self._num_samples
        played = [self._players[index].play(first, last, off_since[index]) for index in heard]
        return heard, played, responses

    def ear_positions(self, pose: Pose) -> np.ndarray:
        """(E, D) float64, the ears in the world, metres."""
        places = self._ear_offsets @ _turn(pose.heading)[: self._dim, : self._dim].T
        places[:, 0] += pose.x
        places[:, 1] += pose.y
        places[:, 2:] += self._ear_height
        return places

    def _images(self, ears: np.ndarray, sources: list[int] | slice) -> Images:
        if self._still_images is None:
            return visible_images(self._room, self._source_positions[sources], ears)
        still = self._still_images
        return Images(still.positions[:, sources], still.damping[sources], None)


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
    """

    def __init__(
        self,
        background: DiffuseSound,
        ears: Ears,
        dim: int,
        sample_rate: int,
        num_samples: int,
        speed_of_sound: float,
    ) -> None:
        self._ears = ears
        self._num_samples = num_samples
        self._directions = even_directions(len(background.sounds), dim)
        self._samples_per_metre = sample_rate / speed_of_sound
        spread = 2 * float(np.linalg.norm(ears.positions[:, :dim], axis=1).max())
        self._length = pra.constants.get("frac_delay_length") + math.ceil(spread * self._samples_per_metre) + 1
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
        delays = -self._samples_per_metre * (self._directions @ ears.T)
        # A wave plays late by whole samples, so that its responses need not be longer than the head is wide.
        late = np.floor(delays.min(axis=1)).astype(int)
        responses = self._responses(delays - late[:, None], heading)
        first, count = time - self._length + 1, self._length - 1 + self._num_samples
        played = []
        for (loop, period, start), delay in zip(self._waves, late.tolist(), strict=True):
            begin = (start + first - delay) % period
            played.append(loop[begin : begin + count])
        return overlap_save(played, responses, mix=True)

    def _responses(self, delays: np.ndarray, heading: float) -> np.ndarray:
        """(D, E, L) float32, of every ear to every wave, from delays (D, E) in samples, 0 or more."""
        num_waves, num_ears = delays.shape
        dim = self._directions.shape[1]
        seen = _turn(-heading)[:dim, :dim] @ self._directions.T
        gains = self._ears.gains(np.broadcast_to(seen[:, :, None, None], (dim, num_waves, num_ears, 1)))[..., 0]
        gains = gains * self._amplitudes[:, None]
        samples = delays.astype(np.float32).ravel()
        whole = np.floor(samples)
        filters = delay_filters(samples - whole, gains.astype(np.float32).ravel())
        responses = np.zeros((len(filters), self._length), dtype=np.float32)
        np.put_along_axis(responses, whole.astype(np.intp)[:, None] + np.arange(filters.shape[1]), filters, axis=1)
        return responses.reshape(num_waves, num_ears, -1)


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
    delays: np.ndarray, amplitudes: np.ndarray, sample_rate: int, width: int
) -> tuple[np.ndarray, list[int]]:
    """Impulse responses as sums of delayed impulses, as pyroomacoustics builds them.

    Every arrival is a windowed sinc of ``frac_delay_length`` samples; the whole response is late by half of that. The
    roundings to float32 are those of ``libroom.rir_builder``, at whose precision the delay of an arrival matters.

    Args:
        delays: (P, I) float64, seconds.
        amplitudes: (P, I) float64.
        sample_rate: Hz.
        width: W, samples of a row, at least those of any response.

    Returns:
        Rows (P, W) float64 that all end where their responses end, with zeros in front, and the lengths of the P
        responses, those that ``Room.compute_rir()`` gives them.
    """
    taps = pra.constants.get("frac_delay_length")
    half = taps // 2
    delays = delays + half / sample_rate
    lengths = [math.ceil(last * sample_rate + half + 1) + 1 for last in delays.max(axis=-1).tolist()]

    samples = np.float32(sample_rate) * delays.astype(np.float32)
    whole = np.floor(samples)
    filters = delay_filters((samples - whole).ravel(), amplitudes.astype(np.float32).ravel())

    begins = np.array([(index + 1) * width - length - half for index, length in enumerate(lengths)])
    first = whole.astype(np.intp) + begins[:, None]
    places = first.reshape(-1, 1) + np.arange(taps)
    rows = np.bincount(places.ravel(), filters.ravel(), width * len(delays))
    return rows.reshape(len(delays), width), lengths


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


def continue_beginnings(rows: np.ndarray, lengths: Sequence[int], edge: int) -> None:
    """Put in front of responses what ``sosfiltfilt`` takes them to have come from.

    That is their odd continuation over ``edge`` samples, and before it for ever the first value of that: silence, but
    for a source so near that its sound arrives within ``edge`` samples.

    Args:
        rows: (P, W) float64, as :func:`build_responses` gives them, with room for ``edge`` samples; changed in place.
        lengths: Of the P responses.
        edge: Samples.
    """
    for row, length in zip(rows, lengths, strict=True):
        begin = len(row) - length
        row[begin - edge : begin] = 2 * row[begin] - row[begin + edge : begin : -1]
        row[: begin - edge] = row[begin - edge]


@dataclass(frozen=True, eq=False)
class ZeroPhaseFilter:
    """``scipy.signal.sosfiltfilt`` for many rows, with its constants computed once.

    The rows are taken to have been at their first value for ever.

    Attributes:
        sections: (n, 6) float64, the second-order sections.
        steady: (n, 2) float64, the state of each section after an endless input of ones (``sosfilt_zi``).
        edge: By how many samples the end is continued, oddly.
    """

    sections: np.ndarray
    steady: np.ndarray
    edge: int

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Filter rows (..., L) float64 forwards and backwards."""
        continued = 2 * rows[..., -1:] - rows[..., -2 : -2 - self.edge : -1]
        forth = self._run(np.concatenate([rows, continued], axis=-1), rows[..., :1])
        back = self._run(forth[..., ::-1], forth[..., -1:])
        return back[..., : self.edge - 1 : -1]

    def _run(self, rows: np.ndarray, before: np.ndarray) -> np.ndarray:
        """Run forwards over rows (..., L) that have been at ``before`` (..., 1) for ever."""
        for section, steady in zip(self.sections, self.steady, strict=True):
            rows, _ = lfilter(section[:3], section[3:], rows, zi=steady * before)
        return rows


@dataclass(frozen=True, eq=False)
class LowRankFilter:
    """A filter that removes what is smooth: a product of two thin matrices instead of a recursion.

    A high-pass far below the sounds takes from a short response nothing but a slowly varying part, which few functions
    span.

    Attributes:
        analysis: (L, r) float32, from rows to the weights of these functions.
        synthesis: (r, L) float32, the functions. Single precision does: what is removed is a hundredth of the whole.
        edge: That of the filter which it stands for.
    """

    analysis: np.ndarray
    synthesis: np.ndarray
    edge: int

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Filter rows (..., L), to float32."""
        rows = rows.astype(np.float32)
        return rows - (rows @ self.analysis) @ self.synthesis


def high_pass(sample_rate: int, length: int) -> ZeroPhaseFilter | LowRankFilter | None:
    """The high-pass that pyroomacoustics applies to impulse responses.

    Args:
        sample_rate: Hz.
        length: L, samples of the rows to be filtered.

    Returns:
        From rows (..., L) to as many; None if pyroomacoustics' constants switch it off.
    """
    if not pra.constants.get("rir_hpf_enable"):
        return None
    sections = design_highpass_filter_sos(
        sample_rate, pra.constants.get("rir_hpf_fc"), **pra.constants.get("rir_hpf_kwargs")
    )
    return _fastest_filter(sections.tobytes(), length)


@lru_cache(maxsize=32)
def _fastest_filter(sections_as_bytes: bytes, length: int) -> ZeroPhaseFilter | LowRankFilter:
    """The filter of low rank where it is as good as exact, which it is for short responses, and the exact one else."""
    sections = np.frombuffer(sections_as_bytes).reshape(-1, 6)
    taps = 2 * len(sections) + 1 - min((sections[:, 2] == 0).sum(), (sections[:, 5] == 0).sum())
    exact = ZeroPhaseFilter(sections, sosfilt_zi(sections), int(3 * taps))
    if length > _LONGEST_LOW_RANK:
        return exact
    # The range of what is removed, found from its action on slow cosines (Halko, Martinsson and Tropp 2011, section 4).
    removed = np.eye(length) - exact(np.eye(length))
    cosines = np.cos(np.pi / length * np.outer(np.arange(length) + 0.5, np.arange(_HIGHEST_RANK)))
    basis, _ = np.linalg.qr(removed @ cosines)
    left, singular_values, right = np.linalg.svd(basis.T @ removed, full_matrices=False)
    rank = int((singular_values > _LOW_RANK_TOLERANCE).sum())
    if rank == _HIGHEST_RANK:
        return exact
    analysis, synthesis = basis @ (left * singular_values)[:, :rank], right[:rank]
    return LowRankFilter(analysis.astype(np.float32), synthesis.astype(np.float32), exact.edge)


def overlap_save(signals: Sequence[np.ndarray], responses: np.ndarray, mix: bool = False) -> np.ndarray:
    """Convolve every signal with its responses and keep what no edge touches.

    Overlap-save (Oppenheim and Schafer, Discrete-Time Signal Processing, section 8.7.3), in single precision.

    Args:
        signals: S signals (N + L - 1,) float32.
        responses: (S, E, L) float32.
        mix: Whether to add up the sources.

    Returns:
        (S, E, N) float32, or (E, N) if ``mix``: the last N samples of the convolution before the signals end.
    """
    num_sources, num_ears, length = responses.shape
    num_samples = len(signals[0]) - length + 1
    blocks, size = _block_layout(num_sources, num_ears, length, num_samples, mix)
    hop = size - length + 1
    # All transforms in one call: first the blocks of every signal, then the responses.
    rows = np.zeros((num_sources * (blocks + num_ears), size), dtype=np.float32)
    for index, signal in enumerate(signals):
        for block in range(blocks):
            samples = signal[block * hop : block * hop + size]
            rows[index * blocks + block, : len(samples)] = samples
    rows[num_sources * blocks :, :length] = responses.reshape(-1, length)
    spectra = scipy.fft.rfft(rows)
    blocks_of_signals = spectra[: num_sources * blocks].reshape(num_sources, 1, blocks, -1)
    transfers = spectra[num_sources * blocks :].reshape(num_sources, num_ears, 1, -1)
    products = reduce(np.add, map(np.multiply, blocks_of_signals, transfers)) if mix else blocks_of_signals * transfers
    heard = scipy.fft.irfft(products, size)[..., length - 1 :]
    return heard.reshape(*heard.shape[:-2], blocks * hop)[..., :num_samples]


@cache
def _block_layout(num_sources: int, num_ears: int, length: int, num_samples: int, mix: bool) -> tuple[int, int]:
    """The number and size of the blocks that cost :func:`overlap_save` the least."""

    def cost(layout: tuple[int, int]) -> float:
        blocks, size = layout
        batches = (num_sources * (blocks + num_ears), blocks * num_ears * (1 if mix else num_sources))
        # Single-precision transforms of one size run four at a time; then there are the products of the spectra.
        transforms = sum(-(-batch // 4) for batch in batches) * size * math.log2(size)
        return transforms + num_sources * num_ears * blocks * size

    counts = range(1, max(2, num_samples // length + 2))
    layouts = [(n, scipy.fft.next_fast_len(-(-num_samples // n) + length - 1, real=True)) for n in counts]
    return min(layouts, key=cost)


def longest_response(scene: Scene, images: Images | None, speed_of_sound: float, sample_rate: int) -> int:
    """A bound on the samples of the impulse responses in a scene, wherever the ears are; a multiple of 64.

    Args:
        scene: The scene.
        images: The image sources, where they are the same for all ears.
        speed_of_sound: m/s.
        sample_rate: Hz.
    """
    room = scene.room
    low, high = room.bounds
    if images is None:  # no leg of a path is longer than the room's diagonal
        longest_path = (room.max_order + 1) * math.hypot(*(high - low), room.ceiling or 0.0)
    else:  # nowhere in a convex room is farther from an image than one of its corners
        corners = np.array([(*corner, *height) for corner in room.corners for height in _heights(room)])
        longest_path = float(np.linalg.norm(images.positions - corners[..., None, None], axis=1).max())
    taps = pra.constants.get("frac_delay_length")
    samples = math.ceil(longest_path / speed_of_sound * sample_rate) + taps + 3
    return -(-samples // _LENGTH_STEP) * _LENGTH_STEP


def _heights(room: Room) -> tuple[tuple[float, ...], ...]:
    """Heights of the corners, as what their positions have beyond x and y."""
    return ((),) if room.ceiling is None else ((0.0,), (room.ceiling,))


@lru_cache(maxsize=64)
def _turn(angle: float) -> np.ndarray:
    """(3, 3) float64, turns about the upright axis, counter-clockwise by ``angle`` radians.

    With the heading for an angle it leads from the head frame into the world frame, with its opposite back.
    """
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
