"""What the sources play, and its way through the impulse responses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache, lru_cache, reduce

import numpy as np
import scipy.fft

from auralnav_gym.motion import SourceMotion
from auralnav_gym.scene import Source

# A moving source is heard from knots along its way, and what it sends out between them from so many knots around, by
# band-limited interpolation (a sinc under a Kaiser window). Between knots it covers no more than half of what sound
# does in a sample, 2 cm at 8 kHz, so that up to half the sample rate the phase of no arrival turns by more than a
# quarter of a circle from knot to knot. The responses in between are then right to -58 dB up to that frequency. A
# triangular window would leave -12 dB there, and -35 dB at a quarter of it: the sound would flutter.
_WINDOW_KNOTS = 8
_WINDOW_BETA = 6.0
_SAMPLES_PER_KNOT = 0.5

# Knots are no farther apart than this, however slow the source, seconds.
_LONGEST_HOP = 0.1


class Player:
    """Plays a source's sound round and round, without a seam, from the infinite past until it is switched off.

    Args:
        source: The source.
        longest: Most samples that are asked for at once.
        sample_rate: Hz.
    """

    def __init__(self, source: Source, longest: int, sample_rate: int) -> None:
        signal = source.sound.signal
        self._period = len(signal)
        self._start = source.start
        self._activity = source.activity
        self._sample_rate = sample_rate
        gain = np.float32(10 ** (source.level_db / 20))
        self._samples = np.resize(signal, self._period + longest) * gain

    def play(self, first: int, last: int, off_since: float = math.inf) -> np.ndarray:
        """Samples ``first`` to ``last`` - 1 after the start of the episode, (last - first,) float32.

        Silent from sample ``off_since`` on, and while the source's activity has it silent; the array may be a view, not
        to be written to.
        """
        begin = (self._start + first) % self._period
        samples = self._samples[begin : begin + last - first]
        if self._activity is not None:
            samples = samples * self._activity.gate(np.arange(first, last) / self._sample_rate).astype(np.float32)
        if off_since >= last:
            return samples
        return np.where(np.arange(first, last) < off_since, samples, np.float32(0))


class Trajectory:
    """The way of a moving source, as knots at which it stands, one after the other.

    What it sends out leaves from where it is then. The signal is split among the knots, by windows in time that add up
    to one; each part goes through the responses from its knot. The knots lie on a grid that begins with the episode, so
    that windows heard one after the other fit together.

    Args:
        motion: How the source moves.
        height: What its position has beyond x and y, metres.
        sample_rate: Hz.
        speed_of_sound: m/s.
    """

    def __init__(self, motion: SourceMotion, height: Sequence[float], sample_rate: int, speed_of_sound: float) -> None:
        self._motion, self._height, self._sample_rate = motion, height, sample_rate
        longest = max(1, int(_LONGEST_HOP * sample_rate))
        travel = motion.speed / speed_of_sound  # samples that the sound's delay can change by, per sample
        self._hop = longest if travel * longest <= _SAMPLES_PER_KNOT else max(1, int(_SAMPLES_PER_KNOT / travel))

    def knots(self, first: int, last: int) -> range:
        """The knots that have a part in what is sent out from sample ``first`` to ``last`` - 1."""
        half = _WINDOW_KNOTS // 2
        return range(first // self._hop - half + 1, (last - 1) // self._hop + half + 1)

    def positions(self, knots: range) -> np.ndarray:
        """Where the source is at the knots, (K, D) float64, metres."""
        times = np.array(knots) * (self._hop / self._sample_rate)
        places = self._motion.positions(times)
        return np.column_stack([places, np.broadcast_to(self._height, (len(places), len(self._height)))])

    def split(self, knots: range, samples: np.ndarray, first: int) -> np.ndarray:
        """The part (K, n) float32 of each knot in samples (n,) that begin at sample ``first``."""
        window, last = knot_window(self._hop), first + len(samples)
        parts = np.zeros((len(knots), len(samples)), dtype=np.float32)
        for part, knot in zip(parts, knots, strict=True):
            begin = (knot - _WINDOW_KNOTS // 2) * self._hop
            low, high = max(begin, first), min(begin + len(window), last)
            if low < high:
                part[low - first : high - first] = (
                    samples[low - first : high - first] * window[low - begin : high - begin]
                )
        return parts


@lru_cache(maxsize=32)
def knot_window(hop: int) -> np.ndarray:
    """The window of a knot, (8 hop,) float32; the windows of knots ``hop`` samples apart add up to one."""
    half = _WINDOW_KNOTS // 2
    distances = np.arange(_WINDOW_KNOTS * hop).reshape(_WINDOW_KNOTS, hop) / hop - half
    window = np.sinc(distances) * np.i0(_WINDOW_BETA * np.sqrt(1 - (distances / half) ** 2))
    return (window / window.sum(axis=0)).ravel().astype(np.float32)


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
