"""The command trains, goes on, measures, and leaves a separator that can be loaded."""

from __future__ import annotations

import dataclasses
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

import auralnav_sb3
from auralnav_sb3 import PRETRAININGS, SeparatorConfig, load_separator, pretraining

SCRIPT = Path(__file__).parents[2] / "examples" / "pretrain_separator.py"
NET = SeparatorConfig(n_filters=8, kernel_size=16, stride=8, bn_chan=8, hid_size=4, chunk_size=50, n_repeats=1)


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("speech/anna/1", "speech/bert/1", "rain/1", "rain/2"):
        path = tmp_path / "recordings" / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.1 * rng.standard_normal(2000), 8000)
    return tmp_path / "recordings"


@pytest.mark.parametrize(
    ("slots", "labels"),
    [
        ("speech-first", {"1 speech + 1 other", "1 speech + 2 other"}),
        ("any-order", {"other + other", "speech + other"}),
    ],
)
def test_the_command(
    slots: str,
    labels: set[str],
    recordings: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(pretraining, "_SYNTHETIC_PER_KIND", 1)
    quick = {name: dataclasses.replace(each, config=NET, group_size=16) for name, each in PRETRAININGS.items()}
    monkeypatch.setattr(auralnav_sb3, "PRETRAININGS", quick)
    options = {"--slots": slots, "--recordings": recordings, "--steps": 2, "--folder": tmp_path / "run"}
    options |= {"--scenes": 8, "--validation-scenes": 1, "--workers": 0}
    monkeypatch.setattr(
        sys, "argv", ["pretrain_separator.py", *(str(word) for item in options.items() for word in item)]
    )
    runpy.run_path(str(SCRIPT), run_name="__main__")
    printed = capsys.readouterr().out
    assert "2 / 2 steps" in printed
    table = [line.split("|") for line in printed.splitlines() if line[:1] == "|"]
    measured = {row[1].strip(): row[2].strip() for row in table[2:]}
    assert labels < measured.keys()
    assert list(measured)[-1] == "all"
    assert 8 < int(measured["all"]) <= 32
    separator = load_separator(tmp_path / "run" / "separator.pth")
    assert separator.slots == (("speech", "other") if slots == "speech-first" else "any order")

    runpy.run_path(str(SCRIPT), run_name="__main__")
    again = capsys.readouterr().out
    assert "2 / 2 steps" not in again  # nothing was left to train
    assert printed.endswith(again.splitlines(keepends=True)[-1])
    assert [line for line in again.splitlines() if line[:1] == "|"] == [
        line for line in printed.splitlines() if line[:1] == "|"
    ]


def test_unknown_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["pretrain_separator.py", "--slots", "no-such"])
    with pytest.raises(SystemExit):
        runpy.run_path(str(SCRIPT), run_name="__main__")
