"""The comparison goes on from what examples/compare_separation.py left, and writes what it says."""

from __future__ import annotations

import csv
import dataclasses
import json
import pickle
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sb3_contrib import QRDQN

import auralnav_sb3
from auralnav_gym import Suite, SyntheticSounds
from auralnav_sb3 import (
    RECIPES,
    Separator,
    SeparatorConfig,
    evaluate,
    experiments,
    finetuning,
    pretraining,
    train,
    wrap_like,
)
from auralnav_sb3.conversion import acting_extractor
from auralnav_sb3.finetuning import END_TO_END, FROZEN, NOT_AT_ALL, SCENES_SEED, WAYS
from auralnav_sb3.pretraining import Mixtures, evaluate_separator

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPT = EXAMPLES / "finetune_separator.py"
TINY = SeparatorConfig(n_filters=8, kernel_size=64, stride=32, bn_chan=8, hid_size=4, chunk_size=25, n_repeats=1)
SUITE = Suite("short-v1", seeds=range(3), env_id="AuralNav-Distractors-v0", env_kwargs={"max_episode_steps": 5})
SOUNDS = SyntheticSounds(per_kind=2, seconds=1.0)  # in place of those to test with
QUICK = {"learning_starts": 8, "gradient_steps": 1, "batch_size": 8, "buffer_size": 100}


def test_it_goes_on_from_what_the_comparison_of_separators_left() -> None:
    names = runpy.run_path(str(SCRIPT))
    recipes = runpy.run_path(str(EXAMPLES / "compare_separation.py"))["make_recipes"]("first.pth", "any.pth")
    ours = dataclasses.replace(RECIPES[names["SUITE"]], separator="first.pth")
    assert recipes[names["AGENTS"]] == ours


def run_in_this_process(jobs: Sequence[Any], processes: int) -> list[Any]:
    for job in jobs:
        job.folder.mkdir(parents=True, exist_ok=True)
        pickle.loads(pickle.dumps(job)).run()  # as a process of its own would
    return []


def run_command(tmp_path: Path, *arguments: str) -> str:
    with pytest.MonkeyPatch.context() as patch:
        recipe = RECIPES["distractors-v1"]
        short = dataclasses.replace(recipe, suite=SUITE, num_envs=2, steps=16, hyperparameters=QUICK)
        patch.setattr(auralnav_sb3, "RECIPES", {"distractors-v1": short})
        patch.setattr(
            pretraining, "pretraining_sounds", lambda recordings: {Path("recordings"): (None, SOUNDS)}[recordings]
        )
        settings = ["--seeds", "1", "--steps", "4", "--warmup", "6", "--batch-size", "4"]
        folders = ["--runs", str(tmp_path / "runs"), "--output", str(tmp_path / "out")]
        separator = ["--target-first", str(tmp_path / "separator.pth"), "--recordings", "recordings"]
        patch.setattr(sys, "argv", ["finetune_separator.py", *settings, *folders, *separator, *arguments])
        runpy.run_path(str(SCRIPT), run_name="__main__")
    return (tmp_path / "out" / "results.md").read_text()


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Separator.from_config(TINY).save(tmp_path / "separator.pth")
    for module in (experiments, finetuning):
        monkeypatch.setattr(module, "run_in_processes", run_in_this_process)
    text = run_command(tmp_path, "--scenes", "3", "--episodes", "2")
    text, made_by = text.split("\n\n<details>")
    assert capsys.readouterr().out.endswith(f"{text}\n")
    entries = json.loads(made_by.split("```")[1].removeprefix("json"))
    assert [name for each in entries for name in each["results"]] == [f"{way}, seed 0" for way in WAYS]
    for way, each in zip(WAYS, entries, strict=True):
        assert each["configuration"]["training"]["way"] == way
        assert each["configuration"]["world"]["num_distractors"] == 2
        assert each["configuration"]["training"]["scenes"]["sounds"]["sha256"] == SOUNDS.fingerprint
    assert [line.split(" | ")[0] for line in text.splitlines()[2:5]] == [f"| {way}" for way in WAYS]

    with (tmp_path / "out" / "results.csv").open() as file:
        rows = {row["way"]: row for row in csv.DictReader(file)}
    assert list(rows) == list(WAYS)
    assert len({row["si_sdr_before"] for row in rows.values()}) == 1
    for way, row in rows.items():
        assert (row["si_sdr_after"] == row["si_sdr_before"]) == (way != END_TO_END)

    # The agent that was missing lies where examples/compare_separation.py would have left it; it stays as it was.
    folder = tmp_path / "runs" / "distractors-v1, trained separator" / "seed-0"
    separator = str(tmp_path / "separator.pth")
    recipe = dataclasses.replace(
        RECIPES["distractors-v1"], suite=SUITE, num_envs=2, steps=16, hyperparameters=QUICK, separator=separator
    )
    agent = train(recipe, 0, folder, progress=False)
    venv = agent.get_env()
    assert venv is not None
    played = evaluate(agent, SUITE, wrap_like(venv), num_episodes=2, env_kwargs=recipe.env_kwargs)
    assert float(rows[NOT_AT_ALL]["steps"]) == played.values("steps").mean()
    assert float(rows[NOT_AT_ALL]["episode_return"]) == pytest.approx(played.values("episode_return").mean())

    # What the agents have become acts on what the ears hear; its separator is the one that was measured.
    model = QRDQN.load(tmp_path / "out" / END_TO_END / "seed-0" / "model.zip")
    assert model.num_timesteps == 16 + 6 + 4
    mixtures = Mixtures(SOUNDS, ("speech",), seed=SCENES_SEED)
    quality = evaluate_separator(acting_extractor(model).separator.eval(), mixtures, 3)[-1]
    assert float(rows[END_TO_END]["si_sdr_after"]) == pytest.approx(quality.si_sdr.mean, abs=1e-3)

    # What is finished is not done again; with more scenes it is measured anew, but nothing is learned again.
    monkeypatch.setattr(finetuning, "finetune", None)
    with monkeypatch.context() as patch:
        patch.setattr(finetuning, "run_in_processes", lambda jobs, _: list(jobs))
        assert run_command(tmp_path, "--scenes", "3", "--episodes", "2").startswith(text)
    assert "3 episodes and" in run_command(tmp_path, "--scenes", "4")
    with (tmp_path / "out" / "results.csv").open() as file:
        again = {row["way"]: row for row in csv.DictReader(file)}
    for way in (FROZEN, END_TO_END):
        assert again[way]["seconds"] == rows[way]["seconds"]
        assert again[way]["scenes"] >= rows[way]["scenes"]
    with pytest.raises(ValueError, match=r"holds a run with other settings: expected {'learning_rate': 0.5}"):
        run_command(tmp_path, "--learning-rate", "0.5")
    with pytest.raises(ValueError, match="scenes: expected at least 1, actual: 0"):
        run_command(tmp_path, "--scenes", "0")
