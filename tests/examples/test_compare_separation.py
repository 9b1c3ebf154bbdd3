"""The recipes differ in nothing but the separator, and the command writes what it says."""

from __future__ import annotations

import dataclasses
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auralnav_sb3 import RECIPES as PUBLISHED
from auralnav_sb3 import (
    Evaluation,
    Recipe,
    Separator,
    TrainingLog,
    VecSeparatedCues,
    bootstrap_gap_closed,
    experiments,
    make_cue_env,
    train,
)
from auralnav_sb3.evaluation import Episode
from auralnav_sb3.experiments import Run

SCRIPT = Path(__file__).parents[2] / "examples" / "compare_separation.py"
SCRIPT_NAMES: dict[str, Any] = runpy.run_path(str(SCRIPT))
SUITES = ("distractors-v1", "babble-v1")
CONDITIONS = ("no separation", "untrained separator", "trained separator", "ideal masks")
SUCCESS = dict(zip(CONDITIONS, (0.2, 0.3, 0.6, 0.8), strict=True))


def made_up(name: str, seed: int, episodes: int = 200) -> Run:
    """A run that succeeds as often as its condition says; with an SPL of half that."""
    rng = np.random.default_rng([*name.encode(), seed])
    results = (rng.random(episodes) < SUCCESS[name.split(", ")[1]]).astype(float)
    played = tuple(Episode(each, each, each / 2, each / 4, 1.0, 30.0) for each in results.tolist())
    return Run(name, seed, TrainingLog({}, ((10, 0.0), (20, 1.0)), None, 60.0), Evaluation(name.split(", ")[0], played))


def test_the_recipes_differ_in_nothing_but_the_separator() -> None:
    recipes: dict[str, Recipe] = SCRIPT_NAMES["make_recipes"]("first.pth", "any.pth")
    assert list(recipes) == [f"{suite}, {condition}" for suite in SUITES for condition in CONDITIONS]
    for name, recipe in recipes.items():
        suite, condition = name.split(", ")
        assert dataclasses.replace(recipe, separator=PUBLISHED[suite].separator) == PUBLISHED[suite]
        trained = "first.pth" if suite == "distractors-v1" else "any.pth"
        assert recipe.separator == dict(zip(CONDITIONS, ("none", "compact", trained, "ideal"), strict=True))[condition]


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("condition", CONDITIONS)
def test_each_can_be_trained(suite: str, condition: str, tmp_path: Path) -> None:
    """What sounds in these worlds fits two slots of the separators."""
    path = tmp_path / "separator.pth"
    Separator.from_config("compact").save(path)
    recipe = SCRIPT_NAMES["make_recipes"](str(path), str(path))[f"{suite}, {condition}"]
    quick = {"learning_starts": 10, "gradient_steps": 1, "batch_size": 8, "buffer_size": 100}
    recipe = dataclasses.replace(recipe, num_envs=2, steps=16, hyperparameters=quick)
    assert train(recipe, 0, tmp_path / "run", progress=False).num_timesteps == 16
    cues: Any = make_cue_env(recipe, 0).venv  # type: ignore[attr-defined]
    assert isinstance(cues, VecSeparatedCues)
    assert cues.extractor.separator.num_sources == 2
    assert (cues.slots, cues.extractor.order) == {
        "distractors-v1": ("target", "none"),
        "babble-v1": ("sources", "energy"),
    }[suite]


def run_command(
    arguments: Sequence[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished: Sequence[str] = ()
) -> list[Any]:
    """Run the script, all but the trainings, of which the tests of the experiments are; return what it asked for."""
    asked: list[Any] = []

    def run_nothing(recipes: dict[str, Recipe], seeds: range, *rest: Any) -> list[Run]:
        asked.extend([recipes, list(seeds), *rest])
        return [made_up(name, seed) for name in recipes for seed in seeds if name in {*rest[-1], *finished}]

    monkeypatch.setattr(experiments, "run_all", run_nothing)
    monkeypatch.setattr(sys, "argv", ["compare_separation.py", *arguments, "--output", str(tmp_path)])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    return asked


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    options = {"--steps": "200", "--seeds": "2", "--episodes": "200", "--processes": "3"}
    options |= {"--target-first": "one.pth", "--any-order": "two.pth"}
    recipes, *rest = run_command([word for option in options.items() for word in option], tmp_path, monkeypatch)
    assert {recipe.steps for recipe in recipes.values()} == {200}
    assert rest == [[0, 1], tmp_path, 3, None, 200, list(recipes)]
    assert recipes["distractors-v1, trained separator"].separator == "one.pth"
    assert recipes["babble-v1, trained separator"].separator == "two.pth"

    text = (tmp_path / "results.md").read_text()
    assert capsys.readouterr().out == text
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line[:1] == "|"]
    assert [row[0] for row in rows] == ["recipe", "---", *recipes, "suite", "---", *SUITES]
    assert rows[-4] == ["suite", "success", "SPL"]
    for suite, row in zip(SUITES, rows[-2:], strict=True):
        values = [
            np.stack([made_up(f"{suite}, {condition}", seed).evaluation.values("success") for seed in (0, 1)])
            for condition in (CONDITIONS[0], CONDITIONS[2], CONDITIONS[3])
        ]
        assert row[1] == str(bootstrap_gap_closed(*values))
        assert row[2] == row[1]  # half of the gap, half of the gain
        share, low, high = (float(number.strip("[,]")) for number in row[1].split())
        assert low < share < high
        assert share == pytest.approx((0.6 - 0.2) / (0.8 - 0.2), abs=0.15)
    assert len((tmp_path / "results.csv").read_text().splitlines()) == 1 + 8 * 2
    for suite in SUITES:
        assert (tmp_path / f"{suite}.png").stat().st_size > 0


def test_a_part_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was run before is in the tables too; a gap is not, until the three that it takes are there."""
    part = ["--suites", "babble-v1", "--conditions", "none", "trained", "--seeds", "1"]
    finished = ["distractors-v1, ideal masks"]
    only = run_command(part, tmp_path, monkeypatch, finished)[-1]
    assert only == ["babble-v1, no separation", "babble-v1, trained separator"]
    text = (tmp_path / "results.md").read_text()
    assert "| distractors-v1, ideal masks |" in text
    assert "| suite | success | SPL |" not in text

    run_command(part, tmp_path, monkeypatch, [*finished, "babble-v1, ideal masks"])
    rows = (tmp_path / "results.md").read_text().split("| suite | success | SPL |")[1].splitlines()
    assert [row.split(" | ")[0] for row in rows[2:4]] == ["| babble-v1", ""]


@pytest.mark.parametrize("option", ["--suites", "--conditions"])
def test_unknown_parts(option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit):
        run_command([option, "no-such"], tmp_path, monkeypatch)
