"""The script that makes the shipped agents makes agents that can be loaded."""

from __future__ import annotations

import dataclasses
import json
import runpy
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import auralnav_sb3
from auralnav_gym import Suite
from auralnav_sb3 import HYPERPARAMETERS, RECIPES, Recipe, load_agent

SCRIPT = Path(__file__).parents[2] / "examples" / "train_agents.py"


def test_every_published_suite_has_a_recipe_with_memory_and_mirror() -> None:
    for name, recipe in RECIPES.items():
        assert recipe.suite == name
        assert recipe.frames > 1
        assert recipe.mirror


def test_it_trains_validates_and_writes_a_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suite = Suite("short-v1", seeds=range(3), env_kwargs={"max_episode_steps": 5})
    quick = {"learning_starts": 10, "gradient_steps": 1, "batch_size": 8, "buffer_size": 100}
    recipe = dataclasses.replace(RECIPES["two-sources-v1"], suite=suite, num_envs=2, steps=40, hyperparameters=quick)
    monkeypatch.setattr(auralnav_sb3, "RECIPES", {"short-v1": recipe})
    arguments = [
        "--suites",
        "short-v1",
        "--seeds",
        "2",
        "--output",
        str(tmp_path / "runs"),
        "--agents",
        str(tmp_path / "agents"),
    ]
    monkeypatch.setattr(sys, "argv", ["train_agents.py", *arguments])
    runpy.run_path(str(SCRIPT), {"VALIDATION_EPISODES": 2}, run_name="__main__")
    card = (tmp_path / "agents" / "short" / "README.md").read_text()
    for expected in ("# short", "| seed 0 ", "| seed 1 ", "--suites short-v1 --seeds 2`"):
        assert expected in card
    model = load_agent(tmp_path / "agents" / "short")
    assert isinstance(recipe, Recipe)
    # What the card says made the agent is in the file as well.
    made_by = json.loads(card.split("```json")[1].split("```")[0])
    assert made_by == json.loads((tmp_path / "agents" / "short" / "agent.json").read_text())["made_by"]
    assert made_by["configuration"]["max_episode_steps"] == 5
    assert made_by["configuration"]["training"]["hyperparameters"]["batch_size"] == 8
    assert made_by["versions"]["stable-baselines3"] == version("stable-baselines3")
    assert model.gamma == HYPERPARAMETERS["QRDQN"]["gamma"]
