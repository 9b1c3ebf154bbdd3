"""Measured impulse responses: when they begin, and how to shift, shorten, invert and resample them."""

from __future__ import annotations

import math

import numpy as np
import scipy.fft
from scipy.signal import firwin, resample_poly

# How long after its first sample an aligned response begins to sound, seconds: no filter rises from nothing at once.
LEAD = 4e-4

# A sound has arrived when what is below 3 kHz of it first reaches a tenth of its peak (-20 dB). Of the ways to find
# differences in arrival between ears, thresholds on the onset below 3 kHz agree best with what people hear
# (Andreopoulou and Katz, J. Acoust. Soc. Am. 142 (2), 2017); from -30 to -14 dB the choice hardly matters for KEMAR.
_ONSET_SHARE = 0.1
_ONSET_BELOW = 3000.0

# The low-pass before a lower sample rate, as in scipy.signal.resample_poly: samples of that rate to either side of its
# middle, and its Kaiser window. Where sounds of that rate have nothing left, near half of it, it need not be steep.
_HALF_WIDTH = 10
_KAISER = 5.0

# What is faded out of the end of a response that is cut off, as a share of its length.
_FADE = 1 / 8


def find_onsets(responses: np.ndarray, sample_rate: int) -> np.ndarray:
    """When the sound arrives in impulse responses; in one that is nothing but an impulse, when that is.

    Args:
        responses: (..., T).
        sample_rate: Hz.

    Returns:
        (...) float64, seconds after the first sample, to fractions of a sample.
    """
    flat = responses.reshape(-1, responses.shape[-1])
    early = _find_rise(np.ones(1), sample_rate)
    onsets = [_find_rise(response, sample_rate) - early for response in flat]
    return np.array(onsets).reshape(responses.shape[:-1])


def _find_rise(response: np.ndarray, sample_rate: int) -> float:
    """When what is low in a response (T,) reaches a share of its peak: seconds, below 0 before the first sample."""
    # Low-passed around zero phase, it rises before the response does; finer samples, for linear steps.
    before, finer = math.ceil(1e-3 * sample_rate), 4
    size = scipy.fft.next_fast_len(len(response) + 2 * before, real=True)
    spectrum = scipy.fft.rfft(np.pad(response, (before, size - before - len(response))))
    spectrum *= np.exp(-((scipy.fft.rfftfreq(size, 1 / sample_rate) / _ONSET_BELOW) ** 4))
    loudness = np.abs(scipy.fft.irfft(spectrum, finer * size))
    threshold = _ONSET_SHARE * loudness.max()
    above = int(np.argmax(loudness >= threshold))
    place = above - (loudness[above] - threshold) / (loudness[above] - loudness[above - 1])
    return float(place / finer - before) / sample_rate


def lower_rate(responses: np.ndarray, sample_rate: int, lower: int) -> tuple[np.ndarray, float]:
    """Impulse responses for a lower sample rate, or the same.

    Args:
        responses: (..., T).
        sample_rate: Theirs, Hz.
        lower: Hz.

    Returns:
        (..., T') float32, and by how many seconds they begin earlier: the low-pass rings before it sounds.
    """
    if lower == sample_rate:
        return responses.astype(np.float32), 0.0
    common = math.gcd(sample_rate, lower)
    up, down = lower // common, sample_rate // common
    low_pass = firwin(2 * _HALF_WIDTH * down + 1, 1 / down, window=("kaiser", _KAISER))
    around = math.ceil(_HALF_WIDTH * down / up)
    padded = np.pad(responses, [(0, 0)] * (responses.ndim - 1) + [(around, around)])
    # With fewer samples a second each has to be larger by as much, for the same gain at every frequency.
    resampled = resample_poly(padded, up, down, axis=-1, window=low_pass) * (down / up)
    return resampled.astype(np.float32), around / sample_rate


def advance(responses: np.ndarray, seconds: np.ndarray, sample_rate: int) -> np.ndarray:
    """Responses (..., T) that begin earlier by (...) seconds, fractions of a sample included."""
    size = scipy.fft.next_fast_len(2 * responses.shape[-1], real=True)
    turns = scipy.fft.rfftfreq(size, 1 / sample_rate) * seconds[..., None]
    spectra = scipy.fft.rfft(responses, size) * np.exp(2j * math.pi * turns)
    return scipy.fft.irfft(spectra, size)[..., : responses.shape[-1]]


def shorten(responses: np.ndarray, seconds: float, sample_rate: int) -> np.ndarray:
    """Aligned responses (..., T) up to ``seconds`` after their beginning, the end faded out if something is cut off."""
    taps = round((LEAD + seconds) * sample_rate)
    if taps >= responses.shape[-1]:
        return responses
    faded = math.ceil(_FADE * taps)
    fade = np.cos(np.arange(1, faded + 1) * (math.pi / (2 * (faded + 1)))) ** 2
    return responses[..., :taps] * np.concatenate([np.ones(taps - faded), fade])


def minimum_phase(magnitude: np.ndarray, size: int) -> np.ndarray:
    """The spectrum of minimum phase with a magnitude, by its cepstrum (Oppenheim and Schafer).

    Args:
        magnitude: (size // 2 + 1,), of the frequencies of an FFT; what is 60 dB below its peak is taken to be no less.
        size: Samples of the FFT.

    Returns:
        (size // 2 + 1,) complex.
    """
    cepstrum = scipy.fft.irfft(np.log(magnitude.clip(1e-3 * magnitude.max())), size)
    cepstrum[1 : (size + 1) // 2] *= 2
    cepstrum[size // 2 + 1 :] = 0
    return np.exp(scipy.fft.rfft(cepstrum))
