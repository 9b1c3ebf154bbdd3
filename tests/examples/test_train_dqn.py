"""The main job, short, as a user runs it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from sb3_contrib import QRDQN
from stable_baselines3 import DQN, PPO

from auralnav_sb3 import SeparatedCuesExtractor

ROOT = Path(__file__).parents[2]
RECORDINGS = ROOT.parent / "shared" / "sounds"


def command(tmp_path: Path, *arguments: str) -> list[str]:
    return [sys.executable, "examples/train_dqn.py", "--output", str(tmp_path), "--envs", "2", *arguments]


def run(tmp_path: Path, *arguments: str) -> str:
    words = command(tmp_path, "--episodes", "1", "--steps", "24", *arguments)
    return subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True, timeout=300).stdout


@pytest.mark.parametrize(
    "extra",
    [
        ("--view",),
        ("--finetune", "8", "--evaluate-every", "1000", "--suite", "easy-v1"),
        ("--algorithm", "PPO", "--aggregation", "mean", "--suite", "omni-v1", "--pose", "--frames", "1"),
    ],
    ids=["default", "fine-tuned", "PPO, one frame"],
)
def test_it_trains_and_prints_its_table(tmp_path: Path, extra: tuple[str, ...]) -> None:
    out = run(tmp_path, *extra)
    rows = [line.split("|")[1].strip() for line in out.split("\n") if line.startswith("|")]
    assert rows[0] == "agent"
    assert rows[2:] == ["random", "trained", "greedy", "oracle"]
    text, made_by = (tmp_path / "results.md").read_text().split("\n\n<details>")
    assert f"{text}\n" in out
    trained = next(
        each for each in json.loads(made_by.split("```")[1].removeprefix("json")) if "training" in each["configuration"]
    )
    assert trained["results"] == ["trained"]
    assert trained["configuration"]["world"]["pose"] == ("--pose" in extra)
    assert trained["configuration"]["training"]["steps"] == 24
    assert trained["versions"]["torch"] == version("torch")
    assert list((tmp_path / "logs").rglob("events.out.tfevents.*"))
    algorithm = PPO if "PPO" in extra else DQN if "easy-v1" in extra else QRDQN
    model = algorithm.load(tmp_path / "model.zip")
    assert model.policy.features_extractor_class is SeparatedCuesExtractor
    assert (tmp_path / "episodes.html").exists() == ("--view" in extra)
    assert model.num_timesteps >= 24 + ("--finetune" in extra) * 8


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_ctrl_c_loses_nothing_but_the_last_steps(tmp_path: Path) -> None:
    """The same command goes on from the last checkpoint."""
    words = command(tmp_path, "--steps", "5000", "--episodes", "1")
    for _ in range(2):
        with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            for line in process.stdout:
                if " steps/s " in line and list((tmp_path / "cues").glob("checkpoint-*")):
                    break
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=120)
        assert process.returncode == 1
        assert errors.strip().endswith("Interrupted.")
        first_line = int(line.split(" / ")[0].replace(",", ""))
        assert first_line >= 500  # a tenth: where the checkpoint is, from which the second round goes on


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the recordings are not beside this checkout")
def test_it_trains_on_recordings(tmp_path: Path) -> None:
    assert "| trained" in run(tmp_path, "--sounds", str(RECORDINGS))
