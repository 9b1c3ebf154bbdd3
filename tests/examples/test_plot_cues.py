"""The command writes its picture, and what it draws are differences that are known."""

from __future__ import annotations

import math
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auralnav_gym.ears import CardioidEars, OmniEars

SCRIPT = Path(__file__).parents[2] / "examples" / "plot_cues.py"
NAMES: dict[str, Any] = runpy.run_path(str(SCRIPT))
RATE = NAMES["SAMPLE_RATE"]


def test_the_command_writes_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = tmp_path / "cues.png"
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--output", str(picture), "--step", "90"])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert list(tmp_path.iterdir()) == [picture]


def test_differences_of_responses_that_are_known() -> None:
    """The right ear hears 2 samples later and half as loud."""
    responses = np.zeros((1, 2, 64))
    responses[0, 0, 20], responses[0, 1, 22] = 1.0, 0.5
    assert NAMES["phase_delays"](responses, 500)[0] == pytest.approx(2 / RATE)
    assert NAMES["onset_delays"](responses)[0] == pytest.approx(2 / RATE, abs=1e-6)
    assert NAMES["level_differences"](responses, 1000)[0] == pytest.approx(20 * math.log10(2))


def test_microphones_are_drawn_where_theory_is() -> None:
    azimuths = np.array([-90.0, -30.0, 0.0, 60.0])
    sines = np.sin(np.radians(azimuths))
    heard = NAMES["hear_around"](OmniEars(), azimuths)
    np.testing.assert_allclose(NAMES["phase_delays"](heard, 500), 0.17 / 343 * sines, atol=3e-6)
    # 3 m away, the nearer microphone hears louder by as much as it is nearer.
    nearer = 20 * np.log10((3 + 0.085 * sines) / (3 - 0.085 * sines))
    np.testing.assert_allclose(NAMES["level_differences"](heard, 1000), nearer, atol=0.05)
    heard = NAMES["hear_around"](CardioidEars(), azimuths)
    towards = [1 + np.cos(np.radians(azimuths - side * 55)) for side in (1, -1)]
    expected = 20 * np.log10(towards[0] / towards[1]) + nearer
    np.testing.assert_allclose(NAMES["level_differences"](heard, 1000), expected, atol=0.4)


def test_the_sphere_casts_no_shadow_on_long_waves_and_a_mirrored_one_to_the_other_side() -> None:
    azimuths = np.array([-90.0, -30.0, 0.0, 30.0, 90.0])
    for frequency in (20, 500, 3000):
        levels = NAMES["sphere_levels"](azimuths, frequency)
        np.testing.assert_allclose(levels, -levels[::-1], atol=1e-9)
    assert np.abs(NAMES["sphere_levels"](azimuths, 20)).max() < 0.2
    assert (NAMES["sphere_levels"](azimuths, 3000)[3:] > 3).all()
