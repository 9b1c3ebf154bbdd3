"""Every file of results says what made it."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pandas
import pytest
import sb3_contrib
import stable_baselines3
import torch
from PIL import Image

from auralnav_gym import OracleAgent, Suite, SyntheticSounds
from auralnav_gym.config import from_plain
from auralnav_gym.world import World
from auralnav_sb3 import (
    Evaluation,
    Mixtures,
    Pretraining,
    Provenance,
    Recipe,
    Separator,
    SeparatorConfig,
    TrainingLog,
    evaluate,
    experiments,
    load_separator,
    plot_curves,
    pretrain,
    read_log,
    run_all,
    save_separator,
    to_csv,
    train,
    training,
)
from auralnav_sb3.evaluation import Episode
from auralnav_sb3.experiments import Run, write_tables
from auralnav_sb3.pretrained import AGENTS
from auralnav_sb3.provenance import folded, to_json, to_metadata, write_markdown
from auralnav_sb3.separation import SEPARATORS

SUITE = Suite("tiny", seeds=range(1000, 1004), env_kwargs={"listen_seconds": 0.05, "max_episode_steps": 12})
QUICK = {"learning_starts": 10, "gradient_steps": 1, "batch_size": 16, "policy_kwargs": {"net_arch": [8]}}
RECIPE = Recipe(suite=SUITE, separator="none", num_envs=2, steps=40, hyperparameters=QUICK)
ONE = Provenance({"world": {"room": [1, 2]}}, {"torch": "1.0"})
OTHER = Provenance({"world": {"room": [3]}}, {"torch": "1.0"})


def world_in(configuration: Any, suite: Suite, training: bool = False) -> World:
    """The world of a file, with the bank that it has to be of."""
    bank = suite.train_sounds if training else suite.test_sounds
    assert configuration["world"]["sounds"]["sha256"] == bank.fingerprint
    return from_plain(World, {**configuration["world"], "sounds": None}).replace(sounds=bank)


def check_versions(found: Any) -> None:
    modules = {"torch": torch, "numpy": np, "gymnasium": gymnasium, "stable-baselines3": stable_baselines3}
    for name, module in {**modules, "sb3-contrib": sb3_contrib}.items():
        # Torch says of itself for which CUDA it was built; the name of its distribution need not.
        assert found[name].split("+")[0] == module.__version__.split("+")[0]
    assert {"auralnav", "python", "scipy", "pyroomacoustics", "asteroid"} < found.keys()


# ---- As text ---------------------------------------------------------------------------------------------------------


def test_equal_ones_are_said_once_and_unknown_ones_not_at_all() -> None:
    entries = json.loads(to_json({"a": ONE, "b": OTHER, "c": Provenance(), "d": dataclasses.replace(ONE)}))
    assert entries == [
        {"results": ["a", "d"], "configuration": {"world": {"room": [1, 2]}}, "versions": {"torch": "1.0"}},
        {"results": ["b"], "configuration": {"world": {"room": [3]}}, "versions": {"torch": "1.0"}},
    ]
    assert to_json({"c": Provenance()}) == folded({}) == ""
    assert to_metadata({"c": Provenance()}) == {}


def test_markdown_ends_in_a_block_that_is_folded_away(tmp_path: Path) -> None:
    write_markdown(tmp_path / "results.md", "| a |\n| --- |", {"a": ONE})
    text = (tmp_path / "results.md").read_text()
    block = re.fullmatch(
        r"\| a \|\n\| --- \|\n\n<details>\n<summary>.*</summary>\n\n```json\n(.*)\n```\n\n</details>\n", text, re.DOTALL
    )
    assert block is not None
    assert json.loads(block[1]) == json.loads(to_json({"a": ONE}))
    write_markdown(tmp_path / "results.md", "| a |", {"a": Provenance()})
    assert (tmp_path / "results.md").read_text() == "| a |\n"


# ---- Trainings and evaluations ---------------------------------------------------------------------------------------


def test_an_evaluation_says_in_which_world_it_was_played() -> None:
    result = evaluate(OracleAgent(), SUITE, num_episodes=2, env_kwargs={"rewards": "original", "pose": False})
    assert world_in(result.made_by.configuration, SUITE) == SUITE.config.replace(rewards="original", pose=False)
    assert result.made_by.configuration["max_episode_steps"] == 12
    check_versions(result.made_by.versions)
    again = Evaluation.from_json(json.loads(json.dumps(dataclasses.asdict(result))))
    assert again == result
    assert again.made_by == result.made_by
    # Whatever made it, the same episodes are the same result.
    assert Evaluation(result.suite, result.episodes) == result
    assert Evaluation.from_json({"suite": "tiny", "episodes": []}).made_by == Provenance()


class CutOffError(Exception):
    """Stands for a kill."""


def test_files_of_an_experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiments, "run_in_processes", lambda jobs, _: [each.run() for each in jobs] and [])
    recipes = {"one": RECIPE, "other": dataclasses.replace(RECIPE, pose=True, motion=False, separator="ideal")}
    runs = run_all(recipes, [0, 1], tmp_path, episodes=2)
    worlds = {
        "one": SUITE.config.replace(pose=False, motion=True),
        "other": SUITE.config.replace(pose=True, motion=False, source_audio=True),
    }
    for run in runs:
        folder = tmp_path / run.name / f"seed-{run.seed}"
        log, result = (json.loads((folder / f"{name}.json").read_text()) for name in ("log", "result"))
        trained = world_in(log["made_by"]["configuration"], SUITE, training=True)
        assert trained == worlds[run.name].replace(sounds=SUITE.train_sounds)
        check_versions(log["made_by"]["versions"])
        assert result["log"] == log
        assert world_in(result["evaluation"]["made_by"]["configuration"], SUITE) == worlds[run.name]
        check_versions(result["evaluation"]["made_by"]["versions"])

    to_csv(runs, tmp_path / "results.csv")
    table = pandas.read_csv(tmp_path / "results.csv")
    assert list(zip(table.name, table.seed, strict=True)) == [(name, seed) for name in recipes for seed in (0, 1)]
    assert table.success.between(0, 1).all()
    for name, seed, configuration, versions in zip(
        table.name, table.seed, table.configuration, table.versions, strict=True
    ):
        assert world_in(json.loads(configuration), SUITE) == worlds[name]
        assert json.loads(configuration)["training"] == recipes[name].settings(seed)
        check_versions(json.loads(versions))

    text = write_tables(runs, tmp_path, "And more.")
    plot_curves(runs, tmp_path / "curves.png")
    written = (tmp_path / "results.md").read_text()
    assert written.startswith(f"{text}\n\n<details>")
    assert text.endswith("And more.")
    with Image.open(tmp_path / "curves.png") as picture:
        in_picture = json.loads(picture.text["Provenance"])  # type: ignore[attr-defined]
    assert json.loads(written.split("```")[1].removeprefix("json")) == in_picture
    assert [each["results"] for each in in_picture] == [[f"{name}, seed {seed}" for seed in (0, 1)] for name in recipes]
    for name, each in zip(recipes, in_picture, strict=True):
        assert world_in(each["configuration"], SUITE) == worlds[name]
        assert each["configuration"]["training"]["pose"] == (name == "other")
        check_versions(each["versions"])


def test_what_was_begun_before_this_was_written_down_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What made a training is no part of its settings: other versions may finish it, and are those that are noted."""
    write = training._write_checkpoint

    def write_and_die(*args: Any) -> None:
        write(*args)
        raise CutOffError

    with monkeypatch.context() as patch:
        patch.setattr(training, "_write_checkpoint", write_and_die)
        with pytest.raises(CutOffError):
            train(RECIPE, 0, tmp_path / "training", progress=False)
    (checkpoint,) = (tmp_path / "training").glob("checkpoint-*")
    content = json.loads((checkpoint / "log.json").read_text())
    check_versions(content.pop("made_by")["versions"])
    (checkpoint / "log.json").write_text(json.dumps(content))
    assert read_log(checkpoint).made_by == Provenance()
    train(RECIPE, 0, tmp_path / "training", progress=False)
    log = read_log(tmp_path / "training")
    assert log.curve[-1][0] == 40
    check_versions(log.made_by.versions)

    # And of what was finished before, nothing is known.
    run = Run("old", 0, TrainingLog({}, ((10, 0.0),)), Evaluation("tiny", (Episode(1.0, 1.0, 0.5, 0.5, 3.0, 20.0),)))
    to_csv([run], tmp_path / "results.csv")
    table = pandas.read_csv(tmp_path / "results.csv")
    assert table[["configuration", "versions"]].isna().all(axis=None)


# ---- What is shipped -------------------------------------------------------------------------------------------------


def test_separators_say_what_made_them(tiny: SeparatorConfig, tmp_path: Path) -> None:
    separator = Separator.from_config(tiny)
    made_by = Provenance.now({"pretraining": {"steps": 3}})
    save_separator(separator, tmp_path / "told", "# A card\n", made_by)
    save_separator(separator, tmp_path / "untold", "# A card\n")
    assert SEPARATORS.made_by(tmp_path / "told") == made_by
    assert SEPARATORS.made_by(tmp_path / "untold") == Provenance.now({})
    check_versions(SEPARATORS.made_by(tmp_path / "untold").versions)
    for name in ("told", "untold"):
        assert load_separator(tmp_path / name).settings() == separator.settings()


@pytest.mark.parametrize("shelf", [AGENTS, SEPARATORS], ids=lambda shelf: shelf.kind)
def test_what_is_shipped_can_be_asked_what_made_it(shelf: Any) -> None:
    for name in shelf.names():
        assert isinstance(shelf.made_by(name), Provenance)
        assert "made_by" not in shelf.read(name)[0]


def test_a_pretraining_says_what_made_it(tiny: SeparatorConfig, tmp_path: Path) -> None:
    bank = SyntheticSounds(per_kind=1, seconds=1.0)
    pretraining = Pretraining(None, tiny, steps=1, batch_size=2, group_size=4, num_poses=2, num_levels=1)
    assert isinstance(pretraining.mixtures(bank), Mixtures)
    pretrain(pretraining, bank, tmp_path, num_workers=0, progress=False)
    made_by = Provenance.from_json(json.loads((tmp_path / "seconds.json").read_text()))
    assert made_by.configuration["pretraining"] == pretraining.settings()
    assert made_by.configuration["train_sounds"]["sha256"] == bank.fingerprint
    check_versions(made_by.versions)
