"""The comparison is a fair one, and its command writes what it says."""

from __future__ import annotations

import dataclasses
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

from auralnav_sb3 import Evaluation, Recipe, TrainingLog, experiments
from auralnav_sb3.evaluation import Episode
from auralnav_sb3.experiments import Run

SCRIPT = Path(__file__).parents[2] / "examples" / "compare_algorithms.py"


def test_the_recipes_differ_in_nothing_but_the_algorithm() -> None:
    recipes = runpy.run_path(str(SCRIPT))["RECIPES"]
    assert sorted(recipes) == ["A2C", "DQN", "PPO", "QRDQN", "RecurrentPPO"]
    for name, recipe in recipes.items():
        assert recipe.algorithm == name
        assert dataclasses.replace(recipe, algorithm="DQN") == Recipe(frames=4)


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """All but the training, of which the tests of the experiments are."""
    asked: list[Any] = []

    def run_nothing(recipes: dict[str, Recipe], seeds: range, *rest: Any) -> list[Run]:
        asked.extend([recipes, list(seeds), *rest])
        episodes = (Episode(1.0, 1.0, 0.5, 0.5, 3.0, 20.0),)
        log = TrainingLog({}, ((100, 0.5), (200, 1.0)), 200, 60.0)
        return [Run(name, seed, log, Evaluation("tiny", episodes)) for name in recipes for seed in seeds]

    monkeypatch.setattr(experiments, "run_all", run_nothing)
    options = {"--steps": "200", "--seeds": "2", "--episodes": "1", "--sounds": "recordings", "--processes": "3"}
    arguments = [word for option in options.items() for word in option]
    monkeypatch.setattr(sys, "argv", ["compare_algorithms.py", *arguments, "--output", str(tmp_path)])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    recipes, *rest = asked
    assert {recipe.steps for recipe in recipes.values()} == {200}
    assert rest == [[0, 1], tmp_path, 3, Path("recordings"), 1, None]
    table = (tmp_path / "results.md").read_text()
    assert capsys.readouterr().out == table
    assert [line.split(" | ")[0] for line in table.splitlines()[2:7]] == [f"| {name}" for name in recipes]
    assert len((tmp_path / "results.csv").read_text().splitlines()) == 1 + 5 * 2
    assert (tmp_path / "curves.png").stat().st_size > 0
