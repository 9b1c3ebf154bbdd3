"""With --save the script that trains separators writes one as the package ships them, and its card is right."""

from __future__ import annotations

import json
import re
import runpy
import sys
from pathlib import Path

import pytest
import torch

import auralnav_sb3
from auralnav_gym import SyntheticSounds
from auralnav_sb3 import Pretraining, Separator, SeparatorConfig, load_separator
from auralnav_sb3.pretraining import read_seconds

SCRIPT = Path(__file__).parents[2] / "examples" / "pretrain_separator.py"
TINY = SeparatorConfig(
    n_filters=16, kernel_size=64, stride=32, bn_chan=8, hid_size=8, chunk_size=25, hop_size=25, n_repeats=1
)


def test_it_saves_what_it_trained_with_a_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = Pretraining(("speech",), TINY, batch_size=2, group_size=2, num_poses=2, num_levels=1)
    monkeypatch.setattr(auralnav_sb3, "PRETRAININGS", {"speech-first": quick})
    sounds = SyntheticSounds(seconds=1.0, per_kind=2).split()
    monkeypatch.setattr(auralnav_sb3, "pretraining_sounds", lambda recordings: sounds)
    (tmp_path / "origin.md").write_text("Recordings by somebody, CC BY 4.0.\n")
    own = {"--folder": tmp_path / "runs", "--save": tmp_path / "mine", "--attribution": tmp_path / "origin.md"}
    numbers = ["--steps", "1", "--scenes", "2", "--workers", "0"]
    arguments = [*(str(part) for pair in own.items() for part in pair), *numbers]
    monkeypatch.setattr(sys, "argv", ["pretrain_separator.py", *arguments])
    runpy.run_path(str(SCRIPT), run_name="__main__")

    trained, saved = Separator.from_file(tmp_path / "runs" / "separator.pth"), load_separator(tmp_path / "mine")
    assert (saved.slots, saved.keeps_level) == (("speech", "other"), True)
    for name, weight in trained.state_dict().items():
        assert torch.equal(saved.state_dict()[name], weight)
    card = (tmp_path / "mine" / "README.md").read_text()
    command = "python examples/pretrain_separator.py --slots speech-first --steps 1"
    assert card.startswith("# mine\n")
    assert f"`{command}`: 1 updates on 2 windows" in card
    assert f"{read_seconds(tmp_path / 'runs') / 60:.0f} minutes" in card
    assert "Recordings by somebody, CC BY 4.0." in card
    assert str(tmp_path) not in card
    table = [line for line in card.splitlines() if line.startswith("|")]
    assert len(table) >= 3
    assert "\n".join(table) in capsys.readouterr().out
    made_by = json.loads(re.findall(r"```json\n(.*?)```", card, re.DOTALL)[0])
    assert made_by["configuration"]["pretraining"]["steps"] == 1
