"""The ablations are those that the table is to show, and each can be trained."""

from __future__ import annotations

import dataclasses
import runpy
from pathlib import Path

import pytest

from auralnav_sb3 import RECIPES as PUBLISHED
from auralnav_sb3 import Recipe, train

RECIPES: dict[str, Recipe] = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "ablations.py"))["RECIPES"]


def test_every_combination_and_the_original() -> None:
    combinations = {(recipe.separator, recipe.aggregation, recipe.suite) for recipe in RECIPES.values()}
    assert combinations == {
        ("none", "mean", "two-sources-v1"),
        ("none", "weighted", "two-sources-v1"),
        ("compact", "mean", "two-sources-v1"),
        ("compact", "weighted", "two-sources-v1"),
        ("ideal", "mean", "two-sources-v1"),
        ("ideal", "weighted", "two-sources-v1"),
        ("compact", "mean", "omni-v1"),
    }
    assert len(RECIPES) == 7
    for name, recipe in RECIPES.items():
        if name != "original":
            same = dataclasses.replace(recipe, separator="compact", aggregation="weighted")
            assert same == PUBLISHED["two-sources-v1"]


@pytest.mark.parametrize("name", RECIPES)
def test_each_can_be_trained(name: str, tmp_path: Path) -> None:
    quick = {"learning_starts": 10, "gradient_steps": 1, "buffer_size": 100}
    recipe = dataclasses.replace(RECIPES[name], num_envs=2, steps=24, hyperparameters=quick)
    assert train(recipe, 0, tmp_path, progress=False).num_timesteps == 24
