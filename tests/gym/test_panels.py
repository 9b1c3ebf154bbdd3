"""The panels: where things must be is computed here, from the numbers that are shown and the boxes of the panels."""

from __future__ import annotations

import cmath
import copy
import functools
import itertools
import math
import pickle
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import DependencyNotInstalled, ResetNeeded
from gymnasium.wrappers import FrameStackObservation, RecordVideo, RenderCollection, TransformAction

import auralnav_gym  # noqa: F401 (registers the environments)
from auralnav_gym import panels, rendering
from auralnav_gym.panels import PANELS_SIZE, Box, PanelPainter, Panels, beside, spectrogram
from auralnav_gym.recording import Perceiver, Perception
from auralnav_gym.window import Window

matplotlib = pytest.importorskip("matplotlib")
style = pytest.importorskip("matplotlib.style")
pytest.importorskip("pygame")

ACTIONS = ("forward", "backward", "turn right", "turn left")
CUES = ("sin_ipd", "cos_ipd", "ild", "log_volume")


def noise(num_ears: int = 2, num_samples: int = 4000, seed: int = 0) -> np.ndarray:
    return (0.05 * np.random.default_rng(seed).standard_normal((num_ears, num_samples))).astype(np.float32)


def sine(frequency: float, sample_rate: int, seconds: float, amplitude: float = 1.0) -> np.ndarray:
    """(1, N)"""
    return amplitude * np.sin(2 * math.pi * frequency / sample_rate * np.arange(round(seconds * sample_rate)))[None]


def perceived(num_sources: int = 2, num_samples: int = 4000, hop: int = 128, **other: Any) -> Perception:
    """Numbers at random, but for what is given."""
    rng = np.random.default_rng(1)
    numbers = {
        "sources": rng.normal(0, 0.05, (num_sources, num_samples)),
        "masks": rng.uniform(0, 1, (num_sources, 129, num_samples // hop + 1)),
        "cues": rng.uniform(-1, 1, (num_sources, len(CUES))),
        "values": rng.normal(0, 1, len(ACTIONS)),
    }
    words = {"cue_names": CUES, "value_names": ACTIONS, "value_kind": "Q-value"}
    arrays = {
        name: np.asarray(array, dtype=np.float32) for name, array in {**numbers, **other}.items() if name in numbers
    }
    return Perception(**arrays, **{name: other.get(name, word) for name, word in words.items()}, hop=hop)  # type: ignore[arg-type]


class Picture:
    """A picture of the panels and what can be seen in it without knowing how it was drawn."""

    def __init__(
        self,
        audio: np.ndarray,
        perception: Perception | None = None,
        sample_rate: int = 8000,
        painter: PanelPainter | None = None,
        **words: str,
    ) -> None:
        self.painter = painter or PanelPainter(sample_rate)
        self.pixels = self.painter.paint(audio, perception, **words)
        self.boxes = self.painter.boxes

    def part(self, name: str) -> np.ndarray:
        return part(self.pixels, self.boxes[name])

    def darkness(self, name: str) -> np.ndarray:
        """(height, width), 0 is white."""
        return 255.0 - self.part(name).astype(float).mean(axis=-1)

    def mask(self, name: str, colour: tuple[int, int, int]) -> np.ndarray:
        """(height, width) bool: the pixels of a panel that have this colour."""
        return (self.part(name) == np.array(colour, dtype=np.uint8)).all(axis=-1)

    @property
    def texts(self) -> list[str]:
        return [text.get_text() for text in texts_of(self.painter)]


def part(picture: np.ndarray, box: Box) -> np.ndarray:
    left, top, width, height = box
    return picture[top : top + height, left : left + width]


def texts_of(painter: PanelPainter) -> list[Any]:
    (axes,) = painter.figure.axes
    return [text for text in axes.texts if text.get_text() and text.get_visible()]


# ==== The spectrogram ====


@pytest.mark.parametrize(("window_length", "hop"), [(64, 25), (33, 8), (32, 32)])
def test_spectrogram_is_the_transform_of_the_definition(window_length: int, hop: int) -> None:
    audio = noise(2, 300)
    levels = spectrogram(audio, window_length, hop)
    num_windows = 300 // hop + 1
    assert levels.shape == (window_length // 2 + 1, num_windows)
    window = [0.5 - 0.5 * math.cos(2 * math.pi * n / window_length) for n in range(window_length)]

    def mirrored(index: int) -> int:
        index = abs(index)
        return index if index < 300 else 2 * 299 - index

    for k, w in itertools.product(range(0, window_length // 2 + 1, 5), range(num_windows)):
        power = 0.0
        for ear in audio.tolist():
            total = sum(
                window[n]
                * ear[mirrored(w * hop - window_length // 2 + n)]
                * cmath.exp(-2j * math.pi * k * n / window_length)
                for n in range(window_length)
            )
            # The mean power of a sine is half of its amplitude squared, and half of its spectrum lies at k.
            power += abs(total / sum(window)) ** 2 * (1 if k in (0, window_length / 2) else 2) / 2
        assert levels[k, w] == pytest.approx(10 * math.log10(power), abs=1e-3)


def test_levels_of_sines() -> None:
    full_scale = 10 * math.log10(0.5)  # a sine's mean power
    at_a_bin = spectrogram(sine(1000, 8000, 0.5), 256, 128)[:, 3:-3]
    np.testing.assert_allclose(at_a_bin.max(axis=0), full_scale, atol=1e-6)
    assert (at_a_bin.argmax(axis=0) == 32).all()
    np.testing.assert_allclose(spectrogram(sine(1000, 8000, 0.5, 0.01), 256, 128)[32, 3:-3], full_scale - 40, atol=1e-6)
    between = spectrogram(sine(1000 + 8000 / 256 / 2, 8000, 0.5), 256, 128)[32:34, 3:-3]
    np.testing.assert_allclose(between, full_scale - 1.42, atol=0.01)  # Harris 1978: scallop loss of the Hann window
    in_one_ear = np.concatenate([sine(1000, 8000, 0.5), np.zeros((1, 4000))])
    np.testing.assert_allclose(spectrogram(in_one_ear, 256, 128)[32, 3:-3], full_scale - 10 * math.log10(2), atol=1e-6)


def test_levels_at_the_ends_of_the_scale() -> None:
    assert (spectrogram(np.zeros((2, 1000)), 256, 100) == -120).all()
    constant, fastest = np.ones((1, 1000)), np.tile([1.0, -1.0], 500)[None]
    np.testing.assert_allclose(spectrogram(constant, 256, 100)[0], 0, atol=1e-9)
    np.testing.assert_allclose(spectrogram(fastest, 256, 100)[-1, 2:-2], 0, atol=1e-9)


@pytest.mark.parametrize("num_samples", [1, 2, 100, 255])
def test_sound_shorter_than_a_window_has_a_spectrogram(num_samples: int) -> None:
    levels = spectrogram(noise(2, num_samples), 256, 16)
    assert levels.shape == (129, num_samples // 16 + 1)
    assert np.isfinite(levels).all()


@pytest.mark.parametrize(
    ("sample_rate", "seconds", "frequency", "has_perception"),
    [
        (8000, 0.5, 1000, True),
        (8000, 0.1, 3100, False),
        (8000, 4.0, 250, False),
        (16000, 0.5, 6000, True),
        (44100, 0.5, 15000, False),
        (1000, 1.0, 300, False),
    ],
)
def test_a_sine_is_seen_at_its_frequency(
    sample_rate: int, seconds: float, frequency: float, has_perception: bool
) -> None:
    audio = np.repeat(sine(frequency, sample_rate, seconds, 0.1), 2, axis=0)
    picture = Picture(audio, perceived() if has_perception else None, sample_rate)
    darkness = picture.darkness("spectrogram").mean(axis=1)
    row = int(np.average(np.arange(len(darkness)), weights=darkness * (darkness > 0.9 * darkness.max())))
    seen = (1 - (row + 0.5) / len(darkness)) * sample_rate / 2
    assert seen == pytest.approx(frequency, abs=1.5 * max(sample_rate / 2 / len(darkness), sample_rate / 256 / 4))


def test_a_burst_is_seen_at_its_time() -> None:
    audio = np.zeros((2, 4000))
    audio[:, 3000:3400] = sine(2000, 8000, 0.05, 0.1)
    darkness = Picture(audio).darkness("spectrogram").max(axis=0)
    columns = np.nonzero(darkness > 0.9 * darkness.max())[0] / len(darkness)
    # Windows of 256 samples reach half of that beyond the burst, in which the level falls.
    assert columns.min() == pytest.approx(3000 / 4000, abs=100 / 4000)
    assert columns.max() == pytest.approx(3400 / 4000, abs=100 / 4000)


def test_spectrogram_gets_darker_with_the_level_and_silence_is_white() -> None:
    levels, painter = [0.0, *10 ** (np.arange(-80, -20, 10) / 20)], PanelPainter(8000)
    rows = [Picture(sine(2000, 8000, 0.5, level), painter=painter).darkness("spectrogram").max() for level in levels]
    assert rows[0] == 0
    assert (np.diff(rows) > 5).all()


def test_spectrogram_is_that_of_both_ears_and_says_so() -> None:
    left, right = sine(1000, 8000, 0.5, 0.1), sine(3000, 8000, 0.5, 0.1)
    picture = Picture(np.concatenate([left, right]))
    darkness = picture.darkness("spectrogram").mean(axis=1)[::-1]
    height = len(darkness)
    for frequency in (1000, 3000):
        assert darkness[round(frequency / 4000 * height)] > 10 * darkness[round(2000 / 4000 * height)]
    assert "mean power of both ears, dB re full scale" in picture.texts
    assert {"4 kHz", "0.5 s", "−90", "−10"} <= set(picture.texts)


# ==== Waveforms ====


@pytest.mark.parametrize(
    ("sample_rate", "num_samples", "amplitude"),
    [(8000, 4000, 0.15), (8000, 4000, -0.15), (8000, 800, 0.9), (48000, 192000, -0.9), (8000, 300, 0.15)],
)
def test_a_single_large_sample_is_seen_where_it_is(sample_rate: int, num_samples: int, amplitude: float) -> None:
    audio = np.zeros((2, num_samples))
    spot = round(0.7 * num_samples)
    audio[1, spot] = amplitude
    picture = Picture(audio, sample_rate=sample_rate)
    limit = 0.2 if abs(amplitude) < 0.2 else 1.0
    assert picture.texts.count(f"±{limit:g}") == 2
    differs = (picture.part("waveform 1") != picture.part("waveform 0")).any(axis=-1)
    is_line = picture.mask("waveform 0", panels.LEFT_LINE)
    height, width = differs.shape
    # The left ear is silent: a line in the middle.
    assert np.abs(np.nonzero(is_line.any(axis=1))[0] + 0.5 - height / 2).max() <= 1
    far = differs.copy()
    far[height // 2 - 2 : height // 2 + 2] = False
    rows, columns = np.nonzero(far)
    expected_row = (1 - amplitude / limit) / 2 * height
    extreme = rows.min() if amplitude > 0 else rows.max() + 1
    assert extreme == pytest.approx(expected_row, abs=2)
    assert columns.mean() == pytest.approx((spot + 0.5) / num_samples * width - 0.5, abs=1.5)


def test_ears_have_their_colours_and_are_not_mixed_up() -> None:
    audio = np.stack([noise(1)[0], np.zeros(4000)])
    picture = Picture(audio)
    assert picture.mask("waveform 0", panels.LEFT_LINE).sum() > 2000
    assert 0 < picture.mask("waveform 1", panels.RIGHT_LINE).sum() < 1000
    for ear, colour in enumerate((rendering.LEFT_EAR, rendering.RIGHT_EAR)):
        left, top, _, _ = picture.boxes[f"waveform {ear}"]
        title = picture.pixels[top - 18 : top, left - 20 : left]
        assert (title == np.array(colour, dtype=np.uint8)).all(axis=-1).any()
    assert picture.boxes["waveform 0"][1] < picture.boxes["waveform 1"][1]


@pytest.mark.parametrize("colour", [panels.LEFT_LINE, panels.RIGHT_LINE], ids=["left", "right"])
def test_lines_are_legible_on_white(colour: tuple[int, int, int]) -> None:
    """WCAG 2.1, 1.4.11: a contrast of 3:1 or more."""
    linear = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in np.array(colour) / 255
    ]
    luminance = float(np.dot((0.2126, 0.7152, 0.0722), linear))
    assert 1.05 / (luminance + 0.05) > 3


def test_levels_are_told() -> None:
    audio = np.stack([0.1 * np.ones(1000), np.zeros(1000)])
    texts = Picture(audio).texts
    assert "RMS −20 dB" in texts
    assert "silent" in texts


def test_clipping_is_told() -> None:
    audio = np.concatenate([sine(100, 8000, 0.5, 3.0), sine(100, 8000, 0.5, 0.5)]).clip(-1, 1)
    clipped, clean = (text for text in Picture(audio).texts if "RMS" in text)
    assert clipped.startswith("clipped, ")
    assert clean == "RMS −9 dB"


@pytest.mark.parametrize("num_ears", [1, 2, 4])
def test_the_first_two_ears_are_shown_or_the_only_one(num_ears: int) -> None:
    audio = noise(num_ears)
    picture = Picture(audio)
    assert [name for name in picture.boxes if "waveform" in name] == [
        f"waveform {ear}" for ear in range(min(num_ears, 2))
    ]
    np.testing.assert_array_equal(picture.pixels, Picture(audio[:2]).pixels)


# ==== Masks ====


@pytest.mark.parametrize(
    ("num_samples", "hop", "num_frequencies"), [(4000, 128, 129), (4000, 50, 9), (32000, 128, 129)]
)
def test_mask_is_seen_at_its_times_and_frequencies(num_samples: int, hop: int, num_frequencies: int) -> None:
    num_windows = num_samples // hop + 1
    masks = np.zeros((2, num_frequencies, num_windows))
    low, high, first, last = num_frequencies // 2, num_frequencies * 3 // 4, num_windows // 4, num_windows // 2
    masks[1, low:high, first:last] = 1
    picture = Picture(noise(2, num_samples), perceived(2, num_samples, hop, masks=masks))
    assert picture.darkness("mask 0").max() == 0
    darkness = picture.darkness("mask 1")
    height, width = darkness.shape
    rows, columns = (np.nonzero((darkness > darkness.max() / 2).any(axis=axis))[0] for axis in (1, 0))
    # Bin k reaches from (k - 1/2) / (F - 1) of the height to (k + 1/2), window w from (w - 1/2) hop to (w + 1/2) hop.
    assert height - rows.max() - 1 == pytest.approx((low - 0.5) / (num_frequencies - 1) * height, abs=1.5)
    assert height - rows.min() == pytest.approx((high - 0.5) / (num_frequencies - 1) * height, abs=1.5)
    assert columns.min() == pytest.approx((first - 0.5) * hop / num_samples * width, abs=1.5)
    assert columns.max() + 1 == pytest.approx((last - 0.5) * hop / num_samples * width, abs=1.5)


def test_mask_is_clipped_above_one() -> None:
    masks = np.random.default_rng(0).uniform(0, 3, (1, 129, 32))
    above, clipped = (Picture(noise(), perceived(1, masks=each)).part("mask 0") for each in (masks, masks.clip(0, 1)))
    np.testing.assert_array_equal(above, clipped)
    assert not np.array_equal(above, Picture(noise(), perceived(1, masks=masks / 3)).part("mask 0"))


def test_mask_gets_darker_with_the_share() -> None:
    painter, shares = PanelPainter(8000), np.linspace(0, 1, 6)
    seen = [Picture(noise(), perceived(1, masks=np.full((1, 129, 32), share)), painter=painter) for share in shares]
    levels = [picture.darkness("mask 0")[2:-2, 2:-2] for picture in seen]
    assert all(np.ptp(level) < 1 for level in levels)
    assert (np.diff([level.mean() for level in levels]) > 10).all()


def test_all_time_panels_have_one_time_axis() -> None:
    boxes = Picture(noise(), perceived(3)).boxes
    columns = {box[::2] for name, box in boxes.items() if name.startswith(("waveform", "spectrogram", "mask"))}
    assert len(columns) == 1


# ==== Cues ====


def bar(
    picture: Picture, name: str, row: int, num_rows: int, colour: tuple[int, int, int]
) -> tuple[float, float] | None:
    """From where to where a bar of a colour reaches in a row of a panel, px; None: there is none."""
    mask = picture.mask(name, colour)
    step = len(mask) / num_rows
    columns = np.nonzero(mask[round(row * step) : round((row + 1) * step)].sum(axis=0) > 3)[0]
    return (columns.min(), columns.max() + 1) if len(columns) else None


@pytest.mark.parametrize("num_sources", [1, 2, 4])
def test_cues_that_tell_the_side_grow_to_it(num_sources: int) -> None:
    cues = np.tile([0.6, 0.5, -0.3, 2.0], (num_sources, 1))
    cues[-1] = [-0.6, 0.5, 0.3, 2.0]
    picture = Picture(noise(), perceived(num_sources, cues=cues))
    assert picture.texts.count("◂ left") == picture.texts.count("right ▸") == num_sources
    for source in range(num_sources):
        is_last = source == num_sources - 1
        name = f"cues {source}"
        to_left = bar(picture, name, 2 if is_last else 0, 4, panels.LEFT_LINE)
        to_right = bar(picture, name, 0 if is_last else 2, 4, panels.RIGHT_LINE)
        assert to_left is not None
        assert to_right is not None
        assert to_left[1] == pytest.approx(to_right[0], abs=2)  # zero
        lengths = np.diff([to_left, to_right]).ravel()
        assert lengths.min() / lengths.max() == pytest.approx(0.5, abs=0.1)
        assert (lengths[0] < lengths[1]) == is_last


def test_other_cues_have_no_side() -> None:
    cues = np.array([[0.1, 0.5, 0.1, 2.0], [0.1, -0.5, 0.1, 1.0]])
    picture = Picture(noise(), perceived(2, cues=cues))
    grey = panels.BAR
    up, down = (bar(picture, f"cues {source}", 1, 4, grey) for source in (0, 1))
    assert up is not None
    assert down is not None
    assert down[1] == pytest.approx(up[0], abs=2)
    assert down[1] - down[0] == pytest.approx(up[1] - up[0], abs=2)
    loud, quiet = (bar(picture, f"cues {source}", 3, 4, grey) for source in (0, 1))
    assert loud is not None
    assert quiet is not None
    assert loud[0] == quiet[0]
    assert (quiet[1] - quiet[0]) / (loud[1] - loud[0]) == pytest.approx(0.5, abs=0.05)


def test_cues_are_written_as_numbers_with_their_names() -> None:
    texts = Picture(noise(), perceived(1, cues=[[-0.123, 0.456, 12.345, 2.0]])).texts
    assert {"sin IPD", "cos IPD", "ILD", "log volume", "−0.12", "0.46", "12.35", "2.00"} <= set(texts)


def test_cues_that_tell_the_side_are_those_of_the_learner() -> None:
    cues = pytest.importorskip("auralnav_sb3.cues")
    for names in (cues.MEAN_CUES, cues.WEIGHTED_CUES):
        picture = Picture(noise(), perceived(1, cues=np.full((1, len(names)), 0.8), cue_names=names))
        seen = {name for row, name in enumerate(names) if bar(picture, "cues 0", row, len(names), panels.LEFT_LINE)}
        assert seen == set(cues.SIDED_CUES) & set(names)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, 1e30, -1e-12, 0.0])
def test_numbers_that_are_none_or_large_do_no_harm(number: float) -> None:
    picture = Picture(noise(), perceived(2, cues=np.full((2, 4), number), values=np.full(4, number)))
    word = {"nan": "nan", "inf": "∞", "-inf": "−∞", "1e+30": "1e30"}.get(f"{number:g}", "0.00")
    assert picture.texts.count(word) == 12


# ==== Values ====


@pytest.mark.parametrize("best", range(4))
def test_the_best_action_is_highlighted(best: int) -> None:
    values = np.array([1.0, 1.2, 0.8, 1.1])
    values[best] = 1.5
    picture = Picture(noise(), perceived(values=values))
    rows = np.nonzero(picture.mask("values", rendering.AGENT).any(axis=1))[0]
    names = {text.get_text(): text.get_window_extent() for text in texts_of(picture.painter)}
    middle = picture.pixels.shape[0] - names[ACTIONS[best]].y0  # the lower edge of its name, y down
    distances = {
        name: abs(picture.pixels.shape[0] - names[name].y0 - (picture.boxes["values"][1] + rows.mean()))
        for name in ACTIONS
    }
    assert min(distances, key=distances.get) == ACTIONS[best]  # type: ignore[arg-type]
    assert abs(middle - picture.boxes["values"][1] - rows.mean()) < 20
    bold = [
        text.get_text()
        for text in texts_of(picture.painter)
        if text.get_text() in ACTIONS and text.get_weight() == "bold"
    ]
    assert bold == [ACTIONS[best]]


def test_the_action_that_is_taken_is_highlighted_rather_than_the_best() -> None:
    perception = perceived(values=[1.0, 2.0, 3.0, 4.0])
    taken, best = (Picture(noise(), perception, action=action) for action in ("backward", ""))
    rows = [np.nonzero(picture.mask("values", rendering.AGENT).any(axis=1))[0].mean() for picture in (taken, best)]
    assert rows[0] < rows[1]
    assert "next: backward" in taken.texts
    assert not any(text.startswith("next") for text in best.texts)


def test_bars_of_probabilities_are_shares_of_the_whole_width() -> None:
    probabilities = [0.6, 0.25, 0.1, 0.05]
    picture = Picture(noise(), perceived(values=probabilities, value_kind="probability"))
    width = picture.boxes["values"][2]
    chosen = np.nonzero(picture.mask("values", rendering.AGENT).any(axis=0))[0]
    assert np.ptp(chosen) + 1 == pytest.approx(0.6 * width, abs=3)
    assert {"Probabilities", "0.60", "0.25", "0.10", "0.05"} <= set(picture.texts)


def test_negative_values_grow_to_the_other_side_of_zero() -> None:
    picture = Picture(noise(), perceived(values=[-3.0, -1.5, -4.0, -2.0]))
    chosen = np.nonzero(picture.mask("values", rendering.AGENT).any(axis=0))[0]
    width = picture.boxes["values"][2]
    assert chosen.max() > width - 4
    assert np.ptp(chosen) + 1 == pytest.approx(1.5 / 4 * width, abs=3)
    assert "Q-values" in picture.texts


@pytest.mark.parametrize("turn", [0.6, -0.6], ids=["left", "right"])
def test_a_turn_of_a_continuous_action_grows_to_its_side(turn: float) -> None:
    picture = Picture(
        noise(),
        perceived(values=[0.8, turn], value_names=("forward", "turn"), value_kind="action"),
        action="0.80 forward",
    )
    width = picture.boxes["values"][2]
    forward = np.nonzero(picture.mask("values", rendering.AGENT).any(axis=0))[0]
    assert forward.min() == pytest.approx(width / 2, abs=3)
    assert np.ptp(forward) + 1 == pytest.approx(0.8 * width / 2, abs=3)
    colour, other = (panels.LEFT_LINE, panels.RIGHT_LINE)[:: 1 if turn > 0 else -1]
    assert picture.mask("values", other).sum(axis=0).max() < 4
    columns = np.nonzero(picture.mask("values", colour).sum(axis=0) > 4)[0]
    start, end = (0.5 - 0.3, 0.5) if turn > 0 else (0.5, 0.5 + 0.3)
    assert columns.min() == pytest.approx(start * width, abs=3)
    assert columns.max() == pytest.approx(end * width, abs=3)
    assert {"Action", "◂ left", "right ▸"} <= set(picture.texts)


# ==== Layouts ====

NOTHING = np.zeros((0, 0))
LAYOUTS: dict[str, tuple[np.ndarray, Perception | None, int]] = {
    "nothing": (noise(), None, 8000),
    "empty": (noise(), Perception.nothing(), 8000),
    "one-ear": (noise(1), None, 8000),
    **{f"{count}-sources": (noise(), perceived(count), 8000) for count in (1, 2, 3, 4, 5, 6, 12)},
    "one-ear-4-sources": (noise(1), perceived(4), 8000),
    "no-values": (noise(), perceived(2, values=[], value_names=()), 8000),
    "only-values": (noise(), replace(perceived(), sources=NOTHING, masks=NOTHING[None], cues=NOTHING), 8000),
    "no-cues": (noise(), replace(perceived(), cues=NOTHING, cue_names=()), 8000),
    "no-masks": (noise(), replace(perceived(), masks=NOTHING[None]), 8000),
    "only-cues": (noise(), replace(perceived(values=[], value_names=()), masks=NOTHING[None]), 8000),
    "continuous": (noise(), perceived(values=[-0.5, 1.0], value_names=("forward", "turn"), value_kind="action"), 8000),
    "many-of-all": (
        noise(),
        perceived(3, cues=np.ones((3, 14)), cue_names=(), values=np.arange(40), value_names=()),
        8000,
    ),
    "9-actions": (noise(), perceived(4, values=np.arange(9) * 1e4, value_names=()), 8000),
    "other-kind": (noise(), perceived(value_kind="advantage"), 8000),
    "long-names": (noise(), perceived(cue_names=("x" * 50,) * 4, value_names=("$\\alpha$ and more words",) * 4), 8000),
    "0.1-s": (noise(2, 800), perceived(2, 800), 8000),
    "4-s": (noise(2, 32000), perceived(2, 32000), 8000),
    "44.1-kHz": (noise(2, 22050), perceived(2, 22050), 44100),
    "48-kHz-4-s": (noise(2, 192000), perceived(1, 192000, 512), 48000),
    "500-Hz": (noise(2, 250), perceived(4, 250), 500),
    "one-sample": (noise(2, 1), None, 8000),
    "silence": (np.zeros((2, 4000)), perceived(sources=np.zeros((2, 4000)), masks=np.zeros((2, 129, 32))), 8000),
    "clipping": ((50 * noise()).clip(-1, 1), perceived(6), 8000),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_texts_and_panels_lie_apart_and_in_the_picture(layout: str) -> None:
    audio, perception, sample_rate = LAYOUTS[layout]
    picture = Picture(
        audio, perception, sample_rate, action="0.53 forward, 0.24 right", last_action="0.25 back, 0.70 left"
    )
    width, height = PANELS_SIZE
    assert picture.pixels.shape == (height, width, 3)
    assert picture.pixels.dtype == np.uint8
    assert picture.pixels.flags.c_contiguous
    # Left, top, right and bottom, y down.
    boxes = {name: (x, y, x + dx, y + dy) for name, (x, y, dx, dy) in picture.boxes.items()}
    extents = {}
    for index, text in enumerate(texts_of(picture.painter)):
        extent = text.get_window_extent()
        extents[f"{index}: {text.get_text()}"] = (extent.x0, height - extent.y1, extent.x1, height - extent.y0)
    assert len(extents) > 10
    for left, top, right, bottom in [*boxes.values(), *extents.values()]:
        assert 5 <= left < right <= width - 5
        assert 5 <= top < bottom <= height - 5
    for name, (left, top, right, bottom) in boxes.items():
        assert right - left >= 70, name
        assert bottom - top >= 12, name
    for (name, first), (other, second) in itertools.combinations(boxes.items(), 2):
        across, along = overlap(first, second)
        assert across <= -10 or along <= -4, f"{name} is too near to {other}"
    for (text, first), (other, second) in itertools.combinations(extents.items(), 2):
        across, along = overlap(first, second)
        assert across <= 0 or along <= 0, f"{text} overlaps {other}"
    for (text, first), (name, second) in itertools.product(extents.items(), boxes.items()):
        across, along = overlap(first, second)
        has_no_text = name.startswith(("waveform", "spectrogram", "mask"))
        assert not has_no_text or across <= 0 or along <= 0, f"{text} lies on the {name}"


def overlap(first: Sequence[float], second: Sequence[float]) -> tuple[float, float]:
    """By how much boxes overlap along x and y, negative: how far they are apart."""
    across = min(first[2], second[2]) - max(first[0], second[0])
    return across, min(first[3], second[3]) - max(first[1], second[1])


def test_what_there_is_has_panels_and_uses_the_room() -> None:
    boxes = {
        layout: Picture(*LAYOUTS[layout][:2]).boxes
        for layout in (
            "nothing",
            "empty",
            "2-sources",
            "no-values",
            "only-values",
            "no-cues",
            "6-sources",
            "12-sources",
        )
    }
    names = {layout: set(each) for layout, each in boxes.items()}
    heard = {"waveform 0", "waveform 1", "spectrogram"}
    assert names["nothing"] == names["empty"] == heard
    assert names["2-sources"] == heard | {"values", "mask 0", "mask 1", "cues 0", "cues 1"}
    assert names["no-values"] == names["2-sources"] - {"values"}
    assert names["only-values"] == heard | {"values"}
    assert names["no-cues"] == heard | {"values", "mask 0", "mask 1"}
    assert names["12-sources"] == names["6-sources"]
    alone, accompanied = (boxes[layout]["spectrogram"] for layout in ("nothing", "2-sources"))
    assert alone[2] > 1.5 * accompanied[2]
    assert alone[3] > 2 * accompanied[3]


def test_sources_without_a_panel_are_counted() -> None:
    texts = Picture(*LAYOUTS["12-sources"][:2]).texts
    assert "Separated source 6 of 12" in texts
    assert "Separated source 7 of 12" not in texts


# ==== Pictures ====


def test_equal_arguments_give_equal_pixels() -> None:
    """Whatever was painted before."""
    painter = PanelPainter(8000)
    for layout in ("2-sources", "clipping", "nothing", "silence"):
        audio, perception, _ = LAYOUTS[layout]
        picture = painter.paint(audio, perception, "forward")
        np.testing.assert_array_equal(picture, Picture(audio, perception, action="forward").pixels)
    first = painter.paint(noise(seed=1), perceived())
    kept = first.copy()
    second = painter.paint(noise(seed=2), perceived(values=[4.0, 3.0, 2.0, 1.0]), "backward", "turn left")
    np.testing.assert_array_equal(first, kept)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(painter.paint(noise(seed=1), perceived()), first)


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda painter: pickle.loads(pickle.dumps(painter))], ids=["deepcopy", "pickle"]
)
def test_painter_can_be_copied(duplicate: Any) -> None:
    painter = PanelPainter(8000)
    expected = painter.paint(noise(), perceived())
    np.testing.assert_array_equal(duplicate(painter).paint(noise(), perceived()), expected)


@pytest.mark.filterwarnings("error")
def test_matplotlib_is_left_as_it_is_and_its_settings_make_no_difference() -> None:
    expected = Picture(noise(), perceived()).pixels
    with matplotlib.rc_context():
        style.use("dark_background")
        matplotlib.rcParams.update(
            {
                "font.size": 30.0,
                "font.family": "serif",
                "text.color": "red",
                "axes.grid": True,
                "axes.unicode_minus": False,
                "figure.dpi": 200.0,
                "figure.autolayout": True,
                "image.cmap": "jet",
                "image.origin": "upper",
                "image.interpolation": "nearest",
                "lines.linewidth": 9.0,
                "lines.marker": "o",
                "lines.dash_capstyle": "round",
                "patch.force_edgecolor": True,
                "patch.linewidth": 5.0,
            }
        )
        before = dict(matplotlib.rcParams)
        np.testing.assert_array_equal(Picture(noise(), perceived()).pixels, expected)
        assert dict(matplotlib.rcParams) == before


def test_neither_pyplot_nor_a_backend_is_loaded() -> None:
    code = """
import sys
import numpy as np
import auralnav_gym.panels
print("matplotlib" in sys.modules)
import matplotlib
before = dict.__getitem__(matplotlib.rcParams, "backend")  # without the choice that asking for it makes
auralnav_gym.panels.PanelPainter(8000).paint(np.zeros((2, 800)))
print(dict.__getitem__(matplotlib.rcParams, "backend") is before, "matplotlib.pyplot" in sys.modules)
"""
    output = subprocess.check_output([sys.executable, "-W", "ignore", "-c", code], text=True)
    assert output == "False\nTrue False\n"


def test_headline() -> None:
    assert "What the ears hear" in Picture(noise()).texts
    assert "After: turn left" in Picture(noise(), last_action="turn left").texts
    assert "next: forward" in Picture(noise(), action="forward").texts


@pytest.mark.parametrize("shape", [(4000,), (0, 4000), (2, 0), (1, 2, 4000)], ids=str)
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"^audio: expected shape \(E, N\), at least a sample of one ear, actual: \("):
        PanelPainter(8000).paint(np.zeros(shape))


def test_masks_of_other_sources_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^perception: expected as many masks as sources with cues \(2\), actual: 3$"):
        PanelPainter(8000).paint(noise(), replace(perceived(2), masks=perceived(3).masks))


def test_missing_matplotlib_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(DependencyNotInstalled) as caught:
        PanelPainter(8000)
    assert str(caught.value) == (
        'matplotlib is not installed, and the panels need it. Run `pip install "auralnav[render]"`.'
    )


# ==== The cursor ====


@pytest.mark.parametrize("share", [0.0, 0.3, 0.75, 1.0])
@pytest.mark.parametrize("layout", ["nothing", "2-sources", "no-values", "no-cues"])
def test_cursor_marks_the_time_in_all_panels_that_show_it(layout: str, share: float) -> None:
    audio, perception, sample_rate = LAYOUTS[layout]
    picture = Picture(audio, perception, sample_rate)
    kept = picture.pixels.copy()
    marked = picture.painter.with_cursor(picture.pixels, share)
    np.testing.assert_array_equal(picture.pixels, kept)
    changed = (marked != kept).any(axis=-1)
    for name, (left, top, width, height) in picture.boxes.items():
        columns = np.nonzero(changed[top : top + height, left : left + width].any(axis=0))[0]
        if name.startswith(("waveform", "spectrogram", "mask")):
            assert columns.min() == pytest.approx(share * width, abs=2)
            assert columns.max() == pytest.approx(share * width, abs=2)
            column = left + min(int(share * width), width - 1)
            assert (marked[top : top + height, column] == rendering.INK).all()
            changed[top : top + height, column - 1 : column + 2] = False
        else:
            assert len(columns) == 0
    assert not changed.any()


def test_cursor_outside_of_the_time_is_refused() -> None:
    picture = Picture(noise())
    for share in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match=r"^share: expected a number in \[0, 1\], actual: "):
            picture.painter.with_cursor(picture.pixels, share)


def test_before_the_first_picture() -> None:
    painter = PanelPainter(8000)
    for ask in (lambda: painter.boxes, lambda: painter.figure, lambda: painter.with_cursor(np.zeros((2, 2, 3)), 0.5)):
        with pytest.raises(ResetNeeded, match=r"^Nothing was painted yet"):
            ask()


# ==== Beside the plan ====


def test_beside() -> None:
    plan = np.full((*rendering.FRAME_SIZE[::-1], 3), 7, dtype=np.uint8)
    picture = beside(plan, Picture(noise()).pixels)
    assert picture.shape == (672, 1280, 3)
    np.testing.assert_array_equal(picture[:, :608], plan)
    np.testing.assert_array_equal(picture[:, 608:], Picture(noise()).pixels)
    with pytest.raises(ValueError, match=r"^plan: expected as many rows as panels has \(672\), actual: 600$"):
        beside(plan[:600], picture)


# ==== The wrapper ====


class NotingPerceiver(Perceiver):
    """Notes what it is asked, and makes of each observation something else."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def reset(self) -> None:
        self.calls.append("reset")

    def perceive(self, observation: Mapping[str, np.ndarray]) -> Perception:
        self.calls.append(observation["audio"].copy())
        return self.made_of(observation["audio"])

    @staticmethod
    def made_of(audio: np.ndarray) -> Perception:
        share = float(np.abs(audio[0]).mean() / np.abs(audio).mean())
        return perceived(2, audio.shape[1], values=[share, 1 - share, 0.1, 0.2])


def make(render_mode: str | None = "rgb_array", **settings: Any) -> gym.Env:
    return gym.make("AuralNav-Easy-v0", render_mode=render_mode, listen_seconds=0.1, **settings)


painter = functools.cache(PanelPainter)


def expected_picture(env: gym.Env, audio: np.ndarray, last_action: str, perception: Perception | None) -> np.ndarray:
    plan = rendering.PlanPainter().paint(env.unwrapped.snapshot)  # type: ignore[attr-defined]
    return np.hstack([plan, painter(8000).paint(audio, perception, last_action=last_action)])


@pytest.fixture(params=["rgb_array", "rgb_array_list"])
def inner(request: pytest.FixtureRequest) -> Iterator[gym.Env]:
    env = make(request.param)
    yield env
    env.close()


@pytest.mark.parametrize("has_perceiver", [True, False], ids=["perceiver", "no-perceiver"])
def test_render_gives_the_present_moment(inner: gym.Env, has_perceiver: bool) -> None:
    env = Panels(inner, NotingPerceiver() if has_perceiver else None)
    assert env.render_mode == "rgb_array"
    observation, _ = env.reset(seed=1)
    last_action = ""
    for action in (0, 3, 2, None):
        audio = observation["audio"].copy()
        perception = NotingPerceiver.made_of(audio) if has_perceiver else None
        expected = expected_picture(env, audio, last_action, perception)
        observation["audio"][:] = 0  # the observation is the caller's
        for _ in range(0 if action == 3 else 2):  # it need not be asked for every moment, and can be asked twice
            picture = env.render()
            assert picture.shape == (672, 1280, 3)
            assert picture.dtype == np.uint8
            np.testing.assert_array_equal(picture, expected)
        if action is not None:
            observation, *_ = env.step(action)
            last_action = ACTIONS[action]
    env.reset(seed=2)
    assert not np.array_equal(env.render()[:, :608], expected[:, :608])


@pytest.mark.parametrize("is_rendered", [True, False])
def test_perceiver_hears_every_observation_once_and_in_order(is_rendered: bool) -> None:
    perceiver = NotingPerceiver()
    env = Panels(make(), perceiver)
    expected: list[Any] = []
    for seed in (0, 1):
        expected.append("reset")
        observation, _ = env.reset(seed=seed)
        expected.append(observation["audio"].copy())
        for action in (0, 0, 3):
            if is_rendered:
                env.render(), env.render()
            expected.append(env.step(action)[0]["audio"].copy())
    env.close()
    assert len(perceiver.calls) == len(expected) == 10
    for call, each in zip(perceiver.calls, expected, strict=True):
        np.testing.assert_array_equal(call, each)


def test_the_episode_is_as_without_panels() -> None:
    env, bare = Panels(make(), NotingPerceiver()), make()
    assert env.observation_space == bare.observation_space
    for ours, theirs in [(env.reset(seed=3), bare.reset(seed=3)), *((env.step(a), bare.step(a)) for a in (0, 2, 0))]:
        np.testing.assert_array_equal(ours[0]["audio"], theirs[0]["audio"])
        assert ours[1:-1] == theirs[1:-1]
    env.close(), bare.close()


def test_a_continuous_action_is_named() -> None:
    env = Panels(make(actions="continuous"))
    env.reset(seed=0)
    observation, *_ = env.step(np.array([0.5, -0.25], dtype=np.float32))
    expected = expected_picture(env, observation["audio"], "0.50 forward, 0.25 right", None)
    np.testing.assert_array_equal(env.render(), expected)
    env.close()


def test_an_action_of_another_kind_is_written_as_it_is() -> None:
    buttons = gym.spaces.Discrete(2)
    env = Panels(TransformAction(make(), lambda button: (0, 3)[button], buttons))
    env.reset(seed=0)
    observation, *_ = env.step(1)
    np.testing.assert_array_equal(env.render(), expected_picture(env, observation["audio"], "1", None))
    env.close()


def decode(path: Path) -> np.ndarray:
    """The frames of a file, (F, H, W, 3) uint8."""
    reader = pytest.importorskip("imageio_ffmpeg").read_frames(str(path))
    width, height = next(reader)["source_size"]
    return np.array([np.frombuffer(frame, np.uint8).reshape(height, width, 3) for frame in reader])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_record_video(inner: gym.Env, tmp_path: Path) -> None:
    pytest.importorskip("moviepy")
    env = RecordVideo(Panels(inner, NotingPerceiver()), str(tmp_path / "videos"), episode_trigger=lambda _: True)
    frames = []
    env.reset(seed=0)
    frames.append(env.render())
    for action in (0, 3, 3, 0):
        env.step(action)
        frames.append(env.render())
    env.close()
    decoded = decode(tmp_path / "videos" / "rl-video-episode-0.mp4")
    assert decoded.shape == (5, 672, 1280, 3)
    differences = np.array(
        [
            [np.abs(seen.astype(int) - frame).mean() for frame in frames]
            for seen in decoded[:, ::2, ::2].repeat(2, 1).repeat(2, 2)
        ]
    )
    exact = np.array([np.abs(seen.astype(int) - frame).mean() for seen, frame in zip(decoded, frames, strict=True)])
    assert (exact < 4).all()
    assert (differences.argmin(axis=1) == np.arange(5)).all()


def test_lists_of_pictures() -> None:
    env = RenderCollection(Panels(make()))
    assert env.render_mode == "rgb_array_list"
    env.reset(seed=0)
    env.step(0)
    frames = env.render()
    assert [frame.shape for frame in frames] == [(672, 1280, 3)] * 2  # type: ignore[union-attr]
    env.close()


class PaperWindow(Window):
    """Notes what it is shown; takes no time."""

    opened: Sequence[PaperWindow] = ()

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.settings = settings
        self.shown: list[tuple[np.ndarray, np.ndarray | None]] = []
        self.calls: list[str] = []
        self.pressed: list[str] = []
        PaperWindow.opened = (*PaperWindow.opened, self)

    def show(self, frame: np.ndarray, sound: np.ndarray | None = None, seconds: float = 0.0) -> None:
        self.shown.append((frame, sound))

    def keys(self) -> list[str]:
        return self.pressed

    def wait(self) -> None:
        self.calls.append("wait")

    def close(self) -> None:
        self.calls.append("close")


@pytest.fixture
def paper_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panels, "Window", PaperWindow)
    monkeypatch.setattr(PaperWindow, "opened", ())


@pytest.mark.usefixtures("paper_window")
def test_human_mode_shows_every_moment_with_its_sound() -> None:
    env = Panels(make(), NotingPerceiver(), render_mode="human")
    assert env.render_mode == "human"
    (window,) = PaperWindow.opened
    assert window.settings == {"sample_rate": 8000}
    observation, _ = env.reset(seed=1)
    last_action = ""
    for action in (0, 3, None):
        audio = observation["audio"]
        sounds = [sound for _, sound in window.shown if sound is not None]
        assert len(sounds) == 1
        np.testing.assert_array_equal(sounds[0], audio)
        assert window.shown[0][1] is not None  # the sound begins with the first frame
        expected = expected_picture(env, audio, last_action, NotingPerceiver.made_of(audio))
        np.testing.assert_array_equal(window.shown[-1][0], expected)
        for frame, _ in window.shown:
            np.testing.assert_array_equal(frame[:, 608:], expected[:, 608:])
        assert env.render() is None
        window.shown.clear()
        if action is not None:
            observation, *_ = env.step(action)
            last_action = ACTIONS[action]
    env.reset()
    assert len(window.shown) == 1  # the agent does not come from where the last episode ended
    env.close()
    assert window.calls == ["wait", "close"]
    env.close()
    assert window.calls == ["wait", "close"]


@pytest.mark.usefixtures("paper_window")
def test_an_episode_goes_on_when_the_window_is_closed() -> None:
    perceiver = NotingPerceiver()
    env = Panels(make(), perceiver, render_mode="human")
    (window,) = PaperWindow.opened
    window.pressed = ["up", "close"]
    with pytest.warns(UserWarning, match="The window was closed: the episode goes on unseen"):
        env.reset(seed=0)
    assert window.calls == ["close"]
    window.shown.clear()
    env.step(0)
    assert window.shown == []
    assert env.render() is None
    assert len(perceiver.calls) == 3
    env.close()


def test_before_the_first_reset() -> None:
    env = Panels(make())
    with pytest.raises(ResetNeeded):
        env.render()
    env.close()


def test_pictures_are_of_real_time() -> None:
    env = Panels(make())
    assert env.metadata["render_fps"] == env.env.metadata["render_fps"]
    assert env.metadata["render_modes"] == ["human", "rgb_array"]
    env.close()


@pytest.mark.parametrize("render_mode", [None, "human"])
def test_environment_without_pictures_is_refused(render_mode: str | None) -> None:
    env = make(render_mode)
    with pytest.raises(
        ValueError, match=r'^env: expected one made with render_mode="rgb_array", .*, actual: '
    ) as caught:
        Panels(env)
    assert f"actual: {render_mode!r}. To see it in a window" in str(caught.value)
    env.close()


def test_environment_that_is_not_heard_is_refused() -> None:
    for env in (gym.make("CartPole-v1", render_mode="rgb_array"), FrameStackObservation(make(), 2)):
        with pytest.raises(
            ValueError, match=r"^env: expected an AuralNavEnv, or wrappers around one that leave .*audio"
        ):
            Panels(env)
        env.close()


@pytest.mark.parametrize("render_mode", ["rgb_array_list", "ansi", ""])
def test_unknown_render_mode_is_refused(render_mode: str) -> None:
    env = make()
    with pytest.raises(ValueError, match=r'^render_mode: expected None, "human" or "rgb_array", actual: '):
        Panels(env, render_mode=render_mode)
    env.close()
