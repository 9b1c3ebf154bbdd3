"""The main job, short, as a user runs it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from stable_baselines3 import DQN

ROOT = Path(__file__).parents[2]
RECORDINGS = ROOT.parent / "shared" / "sounds"


def run(tmp_path: Path, *arguments: str) -> str:
    command = [sys.executable, "examples/train_dqn.py", "--output", str(tmp_path), "--envs", "2", "--episodes", "2"]
    return subprocess.run(
        [*command, *arguments], cwd=ROOT, check=True, capture_output=True, text=True, timeout=300
    ).stdout


@pytest.mark.parametrize("extra", [(), ("--finetune",), ("--aggregation", "mean", "--ears", "omni", "--pose")])
def test_it_trains_and_prints_its_table(tmp_path: Path, extra: tuple[str, ...]) -> None:
    out = run(tmp_path, "--steps", "12", *extra)
    rows = [line.split("|")[1].strip() for line in out.split("\n") if line.startswith("|")]
    assert rows[0] == "agent"
    assert rows[2:] == ["random", "trained", "oracle"]
    assert (tmp_path / "results.md").read_text() in out
    assert json.loads((tmp_path / "settings.json").read_text())["steps"] == 12
    assert list((tmp_path / "logs").rglob("events.out.tfevents.*"))
    assert (tmp_path / "separator.pth").exists() == ("--finetune" not in extra)
    DQN.load(tmp_path / "model.zip")


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_ctrl_c_leaves_a_model(tmp_path: Path) -> None:
    command = [sys.executable, "examples/train_dqn.py", "--output", str(tmp_path), "--envs", "2", "--steps", "1000000"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            if " steps/s " in line:  # it trains
                break
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert errors.strip().endswith("Interrupted.")
    assert "Saved the model" in rest
    assert DQN.load(tmp_path / "model.zip").num_timesteps > 0
    assert (tmp_path / "separator.pth").exists()


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the recordings are not beside this checkout")
def test_it_trains_on_recordings(tmp_path: Path) -> None:
    assert "| trained" in run(tmp_path, "--steps", "12", "--sounds", str(RECORDINGS))
