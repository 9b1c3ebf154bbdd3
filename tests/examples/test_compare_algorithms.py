"""The comparison is a fair one, and its command writes what it says."""

from __future__ import annotations

import dataclasses
import runpy
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from auralnav_gym import load_suite
from auralnav_sb3 import Evaluation, Recipe, TrainingLog, experiments
from auralnav_sb3.evaluation import Episode
from auralnav_sb3.experiments import Run

SCRIPT = Path(__file__).parents[2] / "examples" / "compare_algorithms.py"
ALGORITHMS = {
    "discrete": ["DQN", "PPO", "A2C", "QRDQN", "RecurrentPPO"],
    "continuous": ["SAC", "TD3", "PPO"],
}
SUITES = {"discrete": "two-sources-v1", "continuous": "continuous-v1"}


def test_the_recipes_differ_in_nothing_but_the_algorithm() -> None:
    every = runpy.run_path(str(SCRIPT))["RECIPES"]
    assert {actions: list(recipes) for actions, recipes in every.items()} == ALGORITHMS
    for actions, recipes in every.items():
        for name, recipe in recipes.items():
            assert recipe.algorithm == name
            assert dataclasses.replace(recipe, algorithm="PPO") == Recipe(SUITES[actions], "PPO", frames=4)


def test_the_suites_take_such_actions_and_are_the_same_world_otherwise() -> None:
    discrete, continuous = (load_suite(SUITES[actions]).config for actions in ALGORITHMS)
    assert isinstance(discrete.actions.space, gym.spaces.Discrete)
    assert isinstance(continuous.actions.space, gym.spaces.Box)
    assert continuous.replace(actions=discrete.actions, sounds=None) == discrete.replace(sounds=None)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What there was to be run. All but the training, of which the tests of the experiments are."""
    asked: list[Any] = []

    def run_nothing(recipes: dict[str, Recipe], seeds: range, folder: Path, *rest: Any) -> list[Run]:
        asked.extend([recipes, list(seeds), folder, *rest])
        folder.mkdir(parents=True, exist_ok=True)
        episodes = (Episode(1.0, 1.0, 0.5, 0.5, 3.0, 20.0),)
        log = TrainingLog({}, ((100, 0.5), (200, 1.0)), 200, 60.0)
        return [Run(name, seed, log, Evaluation("tiny", episodes)) for name in recipes for seed in seeds]

    monkeypatch.setattr(experiments, "run_all", run_nothing)
    return asked


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["compare_algorithms.py", *arguments])
    runpy.run_path(str(SCRIPT), run_name="__main__")


def test_the_command(
    asked: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"--steps": "200", "--seeds": "2", "--episodes": "1", "--sounds": "recordings", "--processes": "3"}
    arguments = [word for option in options.items() for word in option]
    run(monkeypatch, *arguments, "--output", str(tmp_path))
    recipes, *rest = asked
    assert list(recipes) == ALGORITHMS["discrete"]
    assert {recipe.steps for recipe in recipes.values()} == {200}
    assert rest == [[0, 1], tmp_path, 3, Path("recordings"), 1, None]
    table = (tmp_path / "results.md").read_text()
    assert capsys.readouterr().out == table
    assert [line.split(" | ")[0] for line in table.splitlines()[2:7]] == [f"| {name}" for name in recipes]
    assert len((tmp_path / "results.csv").read_text().splitlines()) == 1 + 5 * 2
    assert (tmp_path / "curves.png").stat().st_size > 0


@pytest.mark.parametrize(
    ("arguments", "actions", "folder"),
    [
        ([], "discrete", "runs/compare"),
        (["--actions", "discrete"], "discrete", "runs/compare"),
        (["--actions", "continuous"], "continuous", "runs/compare-continuous"),
        (["--actions", "continuous", "--output", "mine"], "continuous", "mine"),
    ],
    ids=str,
)
def test_actions_choose_algorithms_and_folder(
    arguments: list[str],
    actions: str,
    folder: str,
    asked: list[Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    run(monkeypatch, *arguments)
    recipes, seeds, output, *_ = asked
    assert list(recipes) == ALGORITHMS[actions]
    assert {recipe.suite for recipe in recipes.values()} == {SUITES[actions]}
    assert {recipe.steps for recipe in recipes.values()} == {20_000}
    assert seeds == [0, 1, 2]
    assert output == Path(folder)
    assert sorted(path.name for path in (tmp_path / folder).iterdir()) == ["curves.png", "results.csv", "results.md"]
