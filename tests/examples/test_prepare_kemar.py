"""What the command keeps of a SOFA file is what the package reads."""

from __future__ import annotations

import math
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auralnav_gym.measured_ears import MeasuredEars

SCRIPT = Path(__file__).parents[2] / "examples" / "prepare_kemar.py"
RATE = 16_000


def write_symmetric_sofa(path: Path) -> None:
    """48 directions, a click at each ear: later, softer and duller the farther the ear is turned away."""
    sofar: Any = pytest.importorskip("sofar")
    azimuths, elevations = (each.ravel() for each in np.meshgrid(np.arange(0, 360, 30), [-60, -20, 20, 60]))
    sideways = np.cos(np.radians(elevations)) * np.sin(np.radians(azimuths))
    file = sofar.Sofa("SimpleFreeFieldHRIR")
    file.SourcePosition = np.stack([azimuths, elevations, np.full(len(azimuths), 1.4)], axis=1)
    file.ReceiverPosition = np.array([[0, 0.09, 0], [0, -0.09, 0]])
    times = np.arange(256) / RATE
    towards = np.stack([sideways, -sideways], axis=1)[..., None]
    width = 1e-4 * (2 - towards)
    file.Data_IR = (2 + towards) * np.exp(-(((times - 4e-3 + 3e-4 * towards) / width) ** 2))
    file.Data_IR[..., 1:] -= 0.5 * file.Data_IR[..., :-1]
    file.Data_SamplingRate, file.Data_Delay = RATE, np.zeros((1, 2))
    sofar.write_sofa(str(path), file)


def test_the_file_holds_the_left_ear_of_the_equalized_responses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sofa, output = tmp_path / "ears.sofa", tmp_path / "ears.npz"
    write_symmetric_sofa(sofa)
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), str(sofa), "--output", str(output)])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    expected = MeasuredEars.from_sofa(sofa, seconds=0.01).diffuse_field_equalized()
    with np.load(output, allow_pickle=False) as data:
        assert data["responses"].dtype == np.int16
        assert data["sample_rate"] == RATE
        np.testing.assert_allclose(data["directions"], expected.directions, atol=1e-7)
        np.testing.assert_allclose(data["delays"], expected.delays[:, 0], atol=1e-9)
        rounding = np.abs(data["responses"] * data["scale"] - expected.responses[:, 0]).max()
        assert 0 < rounding <= 0.51 * data["scale"]
    assert sorted(tmp_path.iterdir()) == [output, sofa]
    printed = capsys.readouterr().out
    assert str(output) in printed
    assert "rounded off: -" in printed
    assert not math.isnan(float(printed.split("cut off of the energy: ")[1].split(" dB")[0]))
