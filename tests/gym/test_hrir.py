"""Impulse responses with delays, spectra and lengths that are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.signal

from auralnav_gym.hrir import LEAD, advance, find_onsets, lower_rate, minimum_phase, shorten

RATE = 32_000


def clicks(seconds: np.ndarray, count: int = 256) -> np.ndarray:
    """Impulses (..., count), of all frequencies up to 12 kHz, at times between samples."""
    times = np.arange(count) / RATE - np.asarray(seconds)[..., None]
    return np.sinc(24_000 * times) * np.cos(np.clip(times * 500, -0.5, 0.5) * math.pi) ** 2


def spectrum(responses: np.ndarray, rate: float, frequencies: np.ndarray, begin: float = 0.0) -> np.ndarray:
    """By the definition of the Fourier transform of samples that begin at a time in seconds."""
    times = begin + np.arange(responses.shape[-1]) / rate
    return responses @ np.exp(-2j * math.pi * times[:, None] * frequencies)


def test_onsets_follow_delays_that_are_no_whole_samples() -> None:
    delays = 2e-3 + np.array([[0.0, 0.25, 0.5], [1.1, 7.77, 20.0]]) / RATE
    onsets = find_onsets(clicks(delays), RATE)
    assert onsets.shape == (2, 3)
    np.testing.assert_allclose(onsets, delays, atol=0.02 / RATE)


def test_an_impulse_arrives_where_it_is() -> None:
    np.testing.assert_allclose(find_onsets(np.eye(3, 100), RATE), np.arange(3) / RATE, atol=0.02 / RATE)


def test_onsets_do_not_depend_on_the_level_or_the_sign() -> None:
    response = clicks(np.array([2e-3]))
    np.testing.assert_allclose(find_onsets(-1e-3 * response, RATE), find_onsets(response, RATE), atol=1e-12)


def test_advance() -> None:
    delays = np.array([1e-3, 2.345e-3, 4e-3])
    np.testing.assert_allclose(advance(clicks(delays), delays - 1.5e-3, RATE), clicks(np.full(3, 1.5e-3)), atol=1e-5)


@pytest.mark.parametrize(("lower", "error_db"), [(8000, -45), (16_000, -45), (22_050, -45), (32_000, -120)])
def test_a_lower_rate_keeps_the_spectrum(lower: int, error_db: float) -> None:
    """Up to 4/5 of half of that rate; its samples are larger, the gain at every frequency is the same."""
    rng = np.random.default_rng(0)
    responses = rng.standard_normal((4, 96)) * np.exp(-np.arange(96) / 15)
    responses = scipy.signal.sosfilt(scipy.signal.butter(4, 0.3, output="sos"), responses)
    lowered, earlier = lower_rate(responses, RATE, lower)
    assert lowered.dtype == np.float32
    frequencies = np.arange(50, 0.8 * lower / 2, 50.0)
    expected = spectrum(responses, RATE, frequencies)
    errors = np.abs(spectrum(lowered, lower, frequencies, -earlier) - expected) / np.abs(expected).max(axis=1)[:, None]
    assert 20 * math.log10(errors.max()) < error_db


def test_nothing_is_left_above_half_of_the_lower_rate() -> None:
    """A whistle at 6 kHz would be heard at 2 kHz."""
    whistle = np.sin(2 * math.pi * 6000 / RATE * np.arange(256)) * np.hanning(256)
    lowered, _ = lower_rate(whistle[None], RATE, 8000)
    assert np.square(lowered).sum() * 4 < 1e-4 * np.square(whistle).sum()


def test_shorten() -> None:
    responses = np.ones((2, 400))
    shortened = shorten(responses, 2e-3, RATE)
    taps = round((LEAD + 2e-3) * RATE)
    assert shortened.shape == (2, taps)
    assert (shortened[:, : 7 * taps // 8] == 1).all()
    assert (np.diff(shortened[:, -taps // 8 :]) < 0).all()
    assert 0 < shortened[0, -1] < 0.05
    assert shorten(responses, 1.0, RATE) is responses


@pytest.mark.parametrize("size", [1024, 1125])
def test_minimum_phase(size: int) -> None:
    """A filter with all poles and zeros inside the unit circle is of minimum phase: magnitude tells all of it."""
    sos = scipy.signal.butter(2, [0.1, 0.6], "bandpass", output="sos")
    sos[:, :3] = [[1.0, -1.2, 0.5], [1.0, 0.9, 0.3]]
    response = scipy.signal.sosfilt(sos, np.eye(1, size)[0])
    expected = np.fft.rfft(response)
    np.testing.assert_allclose(minimum_phase(np.abs(expected), size), expected, atol=1e-6 * np.abs(expected).max())
