"""From arrivals to impulse responses, as pyroomacoustics makes them.

An arrival is one image source heard by one ear: a delay, an amplitude (one for each octave band, where walls or air
absorb by frequency) and perhaps a filter of the ear. ``Room.compute_rir()`` goes through ears, sources and bands one by
one; here all are built at once, to the same figures.
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
from pyroomacoustics.acoustics import AntoniOctaveFilterBank, antoni_magnitude_octave_filter_response
from pyroomacoustics.utilities import design_highpass_filter_sos
from scipy.signal import lfilter, sosfilt_zi
from scipy.sparse import csc_array

# Impulse responses are padded to multiples of this many samples, so that few FFT sizes occur in an episode.
LENGTH_STEP = 64

# From so many taps on a sparse matrix adds up faster; the sums are the same to the last bit.
_MANY_TAPS = 60_000

# With more arrivals a sample than that (in one band, in several) it is faster to add up impulses, one train of them for
# each row of the table of delays, and to filter the trains, than to add up filters.
_DENSE, _DENSE_IN_BANDS = 0.5, 1.0

# Responses of up to so many samples are high-passed by a matrix of low rank, if so many functions reach that tolerance.
_LONGEST_LOW_RANK = 1536
_HIGHEST_RANK = 64
_LOW_RANK_TOLERANCE = 3e-5


class ResponseBuilder:
    """Builds the impulse responses of a room as ``Room.compute_rir()`` does.

    Args:
        room: Whether its walls and its air absorb by frequency decides how.
        longest: Most samples that a response can have (see :func:`auralnav_gym.acoustics.longest_response`).
        early: How many samples before its beginning the first arrival of a response can come.
    """

    def __init__(self, room: pra.Room, longest: int, early: int = 0) -> None:
        self._sample_rate = room.fs
        self._has_bands = has_bands(room)
        self._width = longest + early + LENGTH_STEP  # there is room before every response
        self._high_pass = high_pass(room.fs, self._width)

    def __call__(self, delays: np.ndarray, amplitudes: np.ndarray, filters: np.ndarray | None = None) -> np.ndarray:
        """Build the responses of S sources at E ears.

        Args:
            delays: (S, E, I) float64, seconds, of each of I arrivals.
            amplitudes: (B, S, E, I) float64, in each of B octave bands, or one for all.
            filters: (S, E, I, T) float32, what the ear makes of each arrival; None: nothing.

        Returns:
            (S, E, L) float32, where L is a multiple of 64; each response equals that of
            ``pyroomacoustics.Room.compute_rir()``, followed by zeros.
        """
        num_sources, num_ears, num_images = delays.shape
        delays = delays.reshape(-1, num_images)
        amplitudes = amplitudes.reshape(len(amplitudes), -1, num_images)
        if filters is not None:
            filters = filters.reshape(*delays.shape, -1)
            rows, lengths = build_filtered_responses(delays, amplitudes, filters, self._sample_rate, self._width)
        elif self._has_bands:
            rows, lengths = build_band_responses(delays, amplitudes, self._sample_rate, self._width)
        else:
            rows, lengths = build_responses(delays, amplitudes[0], self._sample_rate, self._width)
        if self._high_pass is not None:
            edge = self._high_pass.edge
            if self._has_bands or delays.min() * self._sample_rate < edge + 2:
                continue_beginnings(rows, lengths, edge)
            # Source by source: the result must not depend on how many threads a larger product would take.
            rows = self._high_pass(rows.reshape(num_sources, num_ears, -1)).reshape(rows.shape)
        longest = -(-max(lengths) // LENGTH_STEP) * LENGTH_STEP
        responses = np.zeros((len(rows), longest), dtype=np.float32)
        for response, row, length in zip(responses, rows, lengths, strict=True):
            response[:length] = row[-length:]
        return responses.reshape(num_sources, num_ears, -1)


def has_bands(room: pra.Room) -> bool:
    """Whether walls or air absorb by frequency, so that there are amplitudes for octave bands."""
    return bool(room.is_multi_band) or room.air_absorption is not None


def length_after(last: float, num_taps: int | None, with_bands: bool) -> int:
    """A bound on the samples of a response whose last arrival is ``last`` samples late, at ears with filters or not."""
    taps = int(pra.constants.get("frac_delay_length"))
    if num_taps is None:
        return math.ceil(last) + taps + 3
    return math.ceil(last) + taps + num_taps + (_ringing() if with_bands else 0)


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
    whole, fractions, lengths = _by_single_precision(delays, sample_rate)
    gains = amplitudes.astype(np.float32)
    if delays.shape[1] > _DENSE * width:
        first = whole + width - np.array(lengths)[:, None]
        return _add_up_densely(first, fractions, gains, width).astype(np.float64), lengths
    arrivals = delay_filters(fractions.ravel(), gains.ravel())
    begins = np.array([(index + 1) * width - length for index, length in enumerate(lengths)])
    rows = overlap_add(arrivals, (whole + begins[:, None]).ravel(), width * len(delays))
    return rows.reshape(len(delays), width), lengths


def build_filtered_responses(
    delays: np.ndarray, amplitudes: np.ndarray, filters: np.ndarray, sample_rate: int, width: int
) -> tuple[np.ndarray, list[int]]:
    """Impulse responses at ears with filters, as pyroomacoustics builds them for microphones with impulse responses.

    Args:
        delays: (P, I) float64, seconds; may be below 0.
        amplitudes: (B, P, I) float64, in each of B octave bands, or one for all.
        filters: (P, I, T) float32, of the ear, for each arrival.
        sample_rate: Hz.
        width: W, samples of a row.

    Returns:
        Rows (P, W) as of :func:`build_responses`, and the lengths of the P responses; there may be something of a
        response in front of it.

    Raises:
        ValueError: If an arrival does not fit into the rows.
    """
    num_pairs, _, num_taps = filters.shape
    samples = delays * sample_rate
    whole = np.floor(samples)
    fractions = (samples - whole).astype(np.float32)
    arrivals = filtered_arrivals(fractions.ravel(), filters.reshape(-1, num_taps))
    ring = 0 if len(amplitudes) == 1 else _ringing()  # pyroomacoustics lets the octave bands ring so long after the end
    ends = whole.max(axis=-1) + arrivals.shape[1]
    lengths = [int(end) + ring for end in ends.tolist()]
    first = whole.astype(np.intp) + width - np.array(lengths)[:, None]
    if first.min() < 0 or min(lengths) < 1 or max(lengths) > width:
        raise ValueError(
            f"ears filters: expected arrivals from 0 s to {width / sample_rate:.3g} s after the sound, actual: from "
            f"{delays.min():.3g} s to {delays.max():.3g} s. Ears.filters should give delays of no more than the sound "
            "takes past the head, in every direction."
        )
    first += width * np.arange(num_pairs)[:, None]
    if len(amplitudes) == 1:
        arrivals *= amplitudes.astype(np.float32).reshape(-1, 1)
        return overlap_add(arrivals, first.ravel(), num_pairs * width).reshape(num_pairs, width), lengths
    rows = _add_up_by_band(arrivals, first.ravel(), amplitudes, width)
    size = scipy.fft.next_fast_len(width + ring, real=True)
    return _filter_bands(rows, _linear_phase_bands(sample_rate, size), size), lengths


def build_band_responses(
    delays: np.ndarray, amplitudes: np.ndarray, sample_rate: int, width: int
) -> tuple[np.ndarray, list[int]]:
    """Impulse responses in a room that absorbs by frequency: those of :func:`build_responses`, in octave bands.

    Args:
        delays: (P, I) float64, seconds.
        amplitudes: (B, P, I) float64, in each of B octave bands.
        sample_rate: Hz.
        width: W, samples of a row, at least those of any response.

    Returns:
        Rows (P, W) as of :func:`build_responses`, and the lengths of the P responses; what the bands ring before a
        response is in front of it.
    """
    whole, fractions, lengths = _by_single_precision(delays, sample_rate)
    first = whole + width - np.array(lengths)[:, None]
    if delays.shape[1] > _DENSE_IN_BANDS * width:
        gains = amplitudes.astype(np.float32)
        bands = np.stack([_add_up_densely(first, fractions, gain, width) for gain in gains], axis=-1, dtype=np.float32)
    else:
        arrivals = delay_filters(fractions.ravel(), np.ones(fractions.size, dtype=np.float32))
        first += width * np.arange(len(first))[:, None]
        bands = _add_up_by_band(arrivals, first.ravel(), amplitudes, width)
    # pyroomacoustics takes a transform of at least twice the length, which shapes the edges of the bands a little.
    sizes = np.array([2 ** math.ceil(math.log2(2 * length)) for length in lengths])
    rows = np.zeros((len(lengths), width), dtype=np.float32)
    for size in set(sizes.tolist()):
        of_size = sizes == size
        kept = min(size, width)
        rows[of_size, -kept:] = _filter_bands(bands[of_size, -kept:], _zero_phase_bands(sample_rate, size), size)
    return rows, lengths


def _by_single_precision(delays: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """What ``libroom.rir_builder`` and its caller make of delays (P, I).

    Returns:
        The first samples (P, I) of the arrivals' filters, what is left of the delays (P, I) float32 in samples, and the
        lengths of the P responses.
    """
    half = pra.constants.get("frac_delay_length") // 2
    delays = delays + half / sample_rate
    lengths = [math.ceil(last * sample_rate + half + 1) + 1 for last in delays.max(axis=-1).tolist()]
    samples = np.float32(sample_rate) * delays.astype(np.float32)
    whole = np.floor(samples)
    return whole.astype(np.intp) - half, samples - whole, lengths


def overlap_add(arrivals: np.ndarray, first: np.ndarray, size: int) -> np.ndarray:
    """Add up arrivals (n, taps) float32 that begin at samples ``first`` (n,), to (size,) float64."""
    if arrivals.size < _MANY_TAPS:
        places = _windows(1 << size.bit_length(), arrivals.shape[1])[first]
        return np.bincount(places.ravel(), arrivals.ravel(), size)
    return _addition(arrivals.astype(np.float64), first, size) @ np.ones(len(arrivals))


def _add_up_densely(first: np.ndarray, fractions: np.ndarray, gains: np.ndarray, width: int) -> np.ndarray:
    """Add up the filters of :func:`delay_filters` that begin at samples ``first``; (P, width) float32.

    Args:
        first: (P, I) int.
        fractions: (P, I) float32, samples in [0, 1).
        gains: (P, I) float32.
        width: Samples of a row.
    """
    granularity = pra.constants.get("sinc_lut_granularity")
    size = scipy.fft.next_fast_len(width, real=True)
    table = _delay_spectra(pra.constants.get("frac_delay_length"), granularity, size)
    rows, shares = _places_in_table(fractions)
    first = first + np.arange(len(first))[:, None] * (granularity + 1) * width
    places = np.stack([first + rows * width, first + np.minimum(rows + 1, granularity) * width])
    weights = np.stack([gains * (1 - shares), gains * shares])
    trains = np.bincount(places.ravel(), weights.ravel(), len(first) * (granularity + 1) * width)
    spectra = scipy.fft.rfft(trains.astype(np.float32).reshape(len(first), granularity + 1, width), size)
    return scipy.fft.irfft(np.einsum("pgf,gf->pf", spectra, table), size)[:, :width]


def _addition(arrivals: np.ndarray, first: np.ndarray, size: int) -> csc_array:
    """(size, n), sparse: from gains to the sum of arrivals (n, taps) that begin at samples ``first`` (n,)."""
    taps = arrivals.shape[1]
    samples = first.astype(np.int32)[:, None] + np.arange(taps, dtype=np.int32)
    columns = np.arange(0, arrivals.size + 1, taps, dtype=np.int32)
    return csc_array((arrivals.ravel(), samples.ravel(), columns), shape=(size, len(arrivals)))


@lru_cache(maxsize=16)
def _windows(size: int, taps: int) -> np.ndarray:
    """(size - taps + 1, taps) int, a view: n and the numbers that follow it. To look them up takes less than to add."""
    return np.lib.stride_tricks.sliding_window_view(np.arange(size), taps)


def delay_filters(fractions: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """Windowed-sinc filters that delay by a fraction of a sample; those of ``libroom.fractional_delay``.

    Args:
        fractions: (n,) float32, samples in [0, 1).
        gains: (n,) float32.

    Returns:
        (n, frac_delay_length) float32, interpolated linearly in pyroomacoustics' own table.
    """
    table = _delay_table(pra.constants.get("frac_delay_length"), pra.constants.get("sinc_lut_granularity"))
    rows, shares = _places_in_table(fractions)
    filters = table.take(rows, axis=0, mode="clip")
    filters *= (gains * (1 - shares))[:, None]
    upper = table.take(rows + 1, axis=0, mode="clip")  # past the last row the share is 0
    upper *= (gains * shares)[:, None]
    filters += upper
    return filters


def filtered_arrivals(fractions: np.ndarray, filters: np.ndarray) -> np.ndarray:
    """The filters of :func:`delay_filters`, of gain 1, convolved with the ears' filters (n, T) float32.

    Returns:
        (n, frac_delay_length + T - 1) float32.
    """
    taps, granularity = pra.constants.get("frac_delay_length"), pra.constants.get("sinc_lut_granularity")
    length = taps + filters.shape[1] - 1
    size = scipy.fft.next_fast_len(length, real=True)
    table = _delay_spectra(taps, granularity, size)
    rows, shares = _places_in_table(fractions)
    spectra = scipy.fft.rfft(filters, size)
    spectra *= table[rows] + shares[:, None] * (table[np.minimum(rows + 1, granularity)] - table[rows])
    return scipy.fft.irfft(spectra, size)[:, :length]


def _places_in_table(fractions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows (n,) before, and how far from them to the next, of fractions (n,) float32 in the table of delays."""
    granularity = np.float32(pra.constants.get("sinc_lut_granularity"))
    places = granularity * (np.float32(1) - fractions)
    rows = places.astype(np.intp)
    return rows, places - rows.astype(np.float32)


@cache
def _delay_table(taps: int, granularity: int) -> np.ndarray:
    """Filters for the delays 1 - g / granularity; (granularity + 1, taps) float32."""
    fractions = (1 - np.arange(granularity + 1) / granularity).astype(np.float32)
    filters = np.zeros((granularity + 1, taps), dtype=np.float32)
    libroom.fractional_delay(filters, fractions, granularity, 1)
    return filters


@cache
def _delay_spectra(taps: int, granularity: int, size: int) -> np.ndarray:
    """(granularity + 1, size // 2 + 1) complex64, of the table of delays."""
    return scipy.fft.rfft(_delay_table(taps, granularity), size)


# ---- Octave bands ----------------------------------------------------------------------------------------------------


def _add_up_by_band(arrivals: np.ndarray, first: np.ndarray, amplitudes: np.ndarray, width: int) -> np.ndarray:
    """Add up arrivals (P x I, taps) that begin at samples ``first`` (P x I,), with each band's amplitudes (B, P, I).

    Returns:
        (P, width, B) float32.
    """
    num_bands, num_pairs, _ = amplitudes.shape
    gains = np.ascontiguousarray(amplitudes.reshape(num_bands, -1).T, dtype=np.float32)
    return (_addition(arrivals, first, num_pairs * width) @ gains).reshape(num_pairs, width, num_bands)


def _filter_bands(rows: np.ndarray, transfers: np.ndarray, size: int) -> np.ndarray:
    """Pass rows (P, L, B) through the filters of their bands, (size // 2 + 1, B), and add up the bands; (P, L)."""
    spectra = np.einsum("pfb,fb->pf", scipy.fft.rfft(rows, size, axis=1), transfers)
    return scipy.fft.irfft(spectra, size)[:, : rows.shape[1]]


def _ringing() -> int:
    """By how many samples the octave bands' filters make a response at ears with filters longer."""
    size = pra.constants.get("octave_bands_n_fft")
    return int(size - 1 - size // 2)


def _octave_bands(sample_rate: int) -> AntoniOctaveFilterBank:
    """Those of every pyroomacoustics room."""
    return AntoniOctaveFilterBank(
        base_frequency=pra.constants.get("octave_bands_base_freq"),
        fs=sample_rate,
        n_fft=pra.constants.get("octave_bands_n_fft"),
    )


@lru_cache(maxsize=32)
def _zero_phase_bands(sample_rate: int, size: int) -> np.ndarray:
    """(size // 2 + 1, B) float32, what ``AntoniOctaveFilterBank.analysis`` does at the frequencies of a transform.

    Its windows are applied twice, before and after a transform of the band, and nothing else changes the band.
    """
    bands = _octave_bands(sample_rate)
    windows, *_ = antoni_magnitude_octave_filter_response(
        size, bands.centers, bands.bands, sample_rate, bands.overlap_ratio, bands.slope
    )
    return np.ascontiguousarray(windows.T**2, dtype=np.float32)


@lru_cache(maxsize=32)
def _linear_phase_bands(sample_rate: int, size: int) -> np.ndarray:
    """(size // 2 + 1, B) complex64, ``AntoniOctaveFilterBank.synthesis`` of each band, its middle at time 0."""
    bands = _octave_bands(sample_rate)
    filters = bands.synthesis(np.eye(bands.n_bands))
    around_zero = np.zeros((bands.n_bands, size), dtype=np.float32)
    around_zero[:, : filters.shape[1]] = filters
    around_zero = np.roll(around_zero, -(filters.shape[1] // 2), axis=1)
    return np.ascontiguousarray(scipy.fft.rfft(around_zero).T)


# ---- The high-pass ---------------------------------------------------------------------------------------------------


def continue_beginnings(rows: np.ndarray, lengths: Sequence[int], edge: int) -> None:
    """Put in front of responses what ``sosfiltfilt`` takes them to have come from.

    That is their odd continuation over ``edge`` samples, and before it for ever the first value of that: silence, but
    for a source so near that its sound arrives within ``edge`` samples.

    Args:
        rows: (P, W) float64, as :func:`build_responses` gives them, with room for ``edge`` samples; changed in place.
        lengths: Of the P responses.
        edge: Samples.
    """
    begins = rows.shape[1] - np.array(lengths)[:, None]
    back = np.arange(edge, 0, -1)
    values = np.take_along_axis(rows, begins + np.array([0, *back]), axis=1)
    continuation = 2 * values[:, :1] - values[:, 1:]
    np.put_along_axis(rows, begins - back, continuation, axis=1)
    rows[:] = np.where(np.arange(rows.shape[1]) < begins - edge, continuation[:, :1], rows)


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
