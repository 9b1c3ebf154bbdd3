"""Every registered world is compared, by the suite that is made of it, and the command writes what it says."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from auralnav_gym import SUITES
from auralnav_sb3 import Evaluation, Recipe, TrainingLog, experiments
from auralnav_sb3.evaluation import Episode
from auralnav_sb3.experiments import Run

SCRIPT = Path(__file__).parents[2] / "examples" / "compare_worlds.py"


def test_every_registered_world_is_compared_on_its_own_suite() -> None:
    recipes = runpy.run_path(str(SCRIPT))["RECIPES"]
    ids = {spec.id for spec in gym.registry.values() if str(spec.entry_point).startswith("auralnav_gym")}
    assert set(recipes) == ids
    for world, recipe in recipes.items():
        suite = SUITES[recipe.suite]
        assert (suite.env_id, suite.env_kwargs) == (world, {})
        is_continuous = isinstance(gym.make(world).action_space, gym.spaces.Box)
        assert recipe.algorithm == ("SAC" if is_continuous else "DQN")


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """All but the trainings, of which the tests of the experiments are; random and oracle play in earnest."""
    worlds = ["AuralNav-Easy-v0", "AuralNav-Continuous-v0"]
    asked: list[Any] = []

    def run_nothing(recipes: dict[str, Recipe], seeds: range, *rest: Any) -> list[Run]:
        asked.extend([recipes, rest[-1]])
        log = TrainingLog({}, ((100, 0.5), (200, 1.0)), 200, 60.0)
        episodes = [tuple(Episode(float(i < seed), 1.0, 0.25, 0.5, 3.0, 20.0) for i in range(2)) for seed in seeds]
        return [Run(name, seed, log, Evaluation("tiny", episodes[seed])) for name in worlds for seed in seeds]

    monkeypatch.setattr(experiments, "run_all", run_nothing)
    arguments = ["--episodes", "2", "--output", str(tmp_path), "--worlds", *worlds]
    monkeypatch.setattr(sys, "argv", ["compare_worlds.py", *arguments])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    recipes, only = asked
    assert only == worlds
    assert recipes["AuralNav-Easy-v0"].steps == 20_000  # the recipe's own, where --steps is not given
    printed = capsys.readouterr().out
    assert printed.strip() in (tmp_path / "results.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in printed.splitlines() if line.startswith("|")]
    easy, continuous = rows[-2:]
    assert rows[-4][:5] == ["world", "random: success", "oracle: success", "oracle: SPL", "trained by"]
    assert [easy[0], continuous[0]] == worlds
    assert [easy[4], continuous[4]] == ["DQN, 20k steps, 3 seeds", "SAC, 20k steps, 3 seeds"]
    for row in (easy, continuous):
        assert row[2] == "1.00 [1.00, 1.00]"  # what the oracle is for
        assert float(row[1].split()[0]) in (0.0, 0.5, 1.0)  # of two episodes
        assert [cell.split()[0] for cell in row[5:]] == ["0.50", "0.25", "0.50", "20"]  # success: (0 + 1 + 2) of 6
    assert (tmp_path / "curves.png").stat().st_size > 0
