"""Runs in processes of their own: finished ones stay, cut off ones go on; and what tables and pictures say of them."""

from __future__ import annotations

import csv
import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from auralnav_gym import Suite, SyntheticSounds
from auralnav_sb3 import Evaluation, Recipe, evaluate, experiments, read_log, train, training, wrap_like
from auralnav_sb3.evaluation import Episode
from auralnav_sb3.experiments import Run, plot_curves, run_all, to_csv, to_markdown
from auralnav_sb3.training import TrainingLog

ROOT = Path(__file__).parents[2]
SUITE = Suite("tiny", seeds=range(1000, 1004), env_kwargs={"listen_seconds": 0.05, "max_episode_steps": 12})
QUICK = {"learning_starts": 10, "gradient_steps": 1, "batch_size": 16, "policy_kwargs": {"net_arch": [8]}}
RECIPE = Recipe(suite=SUITE, separator="none", num_envs=2, steps=60, hyperparameters=QUICK)


class CutOffError(Exception):
    """Stands for a kill."""


def test_runs_are_gone_on_with_and_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three runs one was cut off, one cannot work, and one is finished but for its evaluation."""
    recipes = {
        "cut off": RECIPE,
        "broken": Recipe(suite=SUITE, separator="no/such/file.pth"),
        "trained": RECIPE,
    }

    def die_after(*args: Any) -> None:
        write(*args)
        raise CutOffError

    write = training._write_checkpoint
    with monkeypatch.context() as patch:
        patch.setattr(training, "_write_checkpoint", die_after)
        with pytest.raises(CutOffError):
            train(RECIPE, 0, tmp_path / "cut off" / "seed-0", progress=False)
    (checkpoint,) = (tmp_path / "cut off" / "seed-0").glob("checkpoint-*")
    before = read_log(checkpoint)
    model = train(RECIPE, 0, tmp_path / "trained" / "seed-0", progress=False)
    trained_at = (tmp_path / "trained" / "seed-0" / "model.zip").stat().st_mtime_ns

    broken_log = tmp_path / "broken" / "seed-0" / "log.txt"
    with pytest.raises(RuntimeError) as failure:
        run_all(recipes, [0], tmp_path, episodes=3)
    assert str(failure.value) == f"1 of 3 runs failed; see {broken_log}"
    assert "FileNotFoundError" in broken_log.read_text()
    assert "60 / 60 steps" in (tmp_path / "cut off" / "seed-0" / "log.txt").read_text()

    del recipes["broken"]
    monkeypatch.setattr(experiments, "_run_quietly", None)  # nothing is left to do
    runs = run_all(recipes, [0], tmp_path, episodes=3)
    assert [(run.name, run.seed) for run in runs] == [("cut off", 0), ("trained", 0)]
    for run in runs:
        assert run.log.settings == RECIPE.settings(0)
        assert [steps for steps, _ in run.log.curve] == list(range(2, 61, 2))
    assert runs[0].log.curve[: len(before.curve)] == before.curve
    assert (tmp_path / "trained" / "seed-0" / "model.zip").stat().st_mtime_ns == trained_at
    venv = model.get_env()
    assert venv is not None
    assert runs[1].evaluation == evaluate(model, SUITE, wrap_like(venv), num_episodes=3)


def test_refuses_bad_arguments_before_anything_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiments, "run_in_processes", None)
    with pytest.raises(ValueError, match="recipes: expected names that can name a folder, actual: 'a/b'"):
        run_all({"fine": RECIPE, "a/b": RECIPE}, [0], tmp_path)
    with pytest.raises(ValueError, match="processes: expected at least 1, actual: 0"):
        run_all({"fine": RECIPE}, [0], tmp_path, processes=0)
    train(RECIPE, 0, tmp_path / "used" / "seed-0", progress=False)
    other = dataclasses.replace(RECIPE, aggregation="mean")
    message = "holds a training with other settings: expected {'aggregation': 'mean'}"
    with pytest.raises(ValueError, match=message):
        run_all({"fine": RECIPE, "used": other}, [0], tmp_path)


def test_a_part_is_run_and_what_is_finished_of_the_rest_is_given_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipes = {"a": RECIPE, "b": dataclasses.replace(RECIPE, aggregation="mean"), "c": RECIPE}
    monkeypatch.setattr(experiments, "run_in_processes", lambda jobs, _: [each.run() for each in jobs] and [])
    with pytest.raises(
        ValueError, match=r"only: expected names of recipes, \['a', 'b', 'c'\], actual: \['d'\] among them"
    ):
        run_all(recipes, [0], tmp_path, only=["a", "d"])
    assert [run.name for run in run_all(recipes, [0], tmp_path, episodes=2, only=["b"])] == ["b"]
    assert [run.name for run in run_all(recipes, [0], tmp_path, episodes=2, only=["a"])] == ["a", "b"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
    # One that was evaluated on another number of episodes is not finished, and not evaluated anew unless it is to be.
    assert [run.name for run in run_all(recipes, [0], tmp_path, episodes=1, only=["a"])] == ["a"]
    # What is not to be run must be what it is called, all the same.
    recipes["b"] = RECIPE
    with pytest.raises(ValueError, match=r"other settings: expected {'aggregation': 'weighted'}"):
        run_all(recipes, [0], tmp_path, only=["c"])


def test_recordings_are_split_between_training_and_evaluation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recordings = SyntheticSounds(per_kind=2, seconds=1.0)
    jobs: list[Any] = []
    monkeypatch.setattr(experiments, "run_in_processes", lambda waiting, _: jobs.extend(waiting))
    monkeypatch.setattr(experiments._Job, "result", lambda job: job)
    run_all({"DQN": Recipe()}, [0], tmp_path, sounds=recordings)
    suite = jobs[0].recipe.suite
    assert {*suite.train_sounds, *suite.test_sounds} == {*recordings}
    assert {*suite.train_sounds}.isdisjoint(suite.test_sounds)
    assert jobs[0].recipe.settings(0)["suite"].startswith("two-sources-v1@sounds-")


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_a_command_that_is_killed_leaves_no_process_and_goes_on(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(f"""
from auralnav_gym import Suite
from auralnav_sb3 import Recipe
from auralnav_sb3.experiments import main

SUITE = Suite("tiny", seeds=range(1000, 1004), env_kwargs={SUITE.env_kwargs!r})
RECIPES = {{"DQN": Recipe(suite=SUITE, separator="none", num_envs=2, hyperparameters={QUICK!r})}}

if __name__ == "__main__":
    main(RECIPES, description="A test.", output="unused", steps=1_500)
""")  # many more than it takes until it is killed, on a busy machine too
    command = [sys.executable, str(script), "--seeds", "1", "--output", str(tmp_path / "out")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # Ctrl-C is heard even where the tests themselves run in the background, deaf to it.
    hear = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    steps, log = 0, TrainingLog({})
    for kill in (signal.SIGKILL, signal.SIGINT):
        with subprocess.Popen(command, env=environment, start_new_session=True, preexec_fn=hear, **pipes) as process:
            while latest_checkpoint(tmp_path / "out") <= steps:
                assert process.poll() is None
                time.sleep(0.02)
            process.send_signal(kill)
            _, errors = process.communicate(timeout=60)
            assert not group_is_alive(process.pid)
        steps = latest_checkpoint(tmp_path / "out")
        before, log = log, read_log(tmp_path / "out" / "DQN" / "seed-0" / f"checkpoint-{steps}")
        assert log.curve[: len(before.curve)] == before.curve
    assert process.returncode == 1
    assert errors.strip() == "Interrupted. The same command goes on from here."

    recipe = dataclasses.replace(RECIPE, steps=1_500)
    (run,) = run_all({"DQN": recipe}, [0], tmp_path / "out")
    assert run.log.curve[: len(log.curve)] == log.curve
    assert run.log.curve[-1][0] == 1_500


def latest_checkpoint(folder: Path) -> int:
    return max((int(path.name.split("-")[1]) for path in folder.glob("DQN/seed-0/checkpoint-*")), default=0)


def group_is_alive(group: int) -> bool:
    """Whether a process of the group lives; those that have just been terminated are given a moment."""
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.02)
    return True


def made_up(
    name: str,
    seed: int,
    successes: Sequence[float],
    steps_to_target: int | None = None,
    curve: Sequence[tuple[int, float]] = ((10, 0.0), (20, 0.5), (30, 1.0)),
    algorithm: str = "DQN",
) -> Run:
    episodes = tuple(Episode(success, success, success / 2, success / 4, 1.0, 30.0) for success in successes)
    log = TrainingLog({"algorithm": algorithm}, tuple(curve), steps_to_target, 90.0)
    return Run(name, seed, log, Evaluation("tiny", episodes))


class TestCsv:
    def test_a_row_a_run(self, tmp_path: Path) -> None:
        to_csv([made_up("a, b", 3, [1, 0], 1200), made_up("c", 4, [1, 1])], tmp_path / "results.csv")
        with (tmp_path / "results.csv").open(newline="") as file:
            first, second = csv.DictReader(file)
        assert first == {
            "name": "a, b",
            "seed": "3",
            "suite": "tiny",
            "episodes": "2",
            "success": "0.5",
            "found": "0.5",
            "spl": "0.25",
            "sna": "0.125",
            "episode_return": "1.0",
            "steps": "30.0",
            "steps_to_95_percent": "1200",
            "seconds": "90.0",
            "configuration": '{"training": {"algorithm": "DQN"}}',
            "versions": "",  # nothing is known of those that made these
        }
        assert second["steps_to_95_percent"] == ""


class TestMarkdown:
    def rows(self, runs: Sequence[Run]) -> list[dict[str, str]]:
        lines = [line.strip("| ").split(" | ") for line in to_markdown(runs).splitlines() if line.startswith("|")]
        return [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]

    def test_rows_in_the_order_of_the_recipes(self) -> None:
        rows = self.rows([made_up("z", 0, [1]), made_up("a", 0, [1]), made_up("z", 1, [1])])
        assert [(row["recipe"], row["runs"]) for row in rows] == [("z", "2"), ("a", "1")]

    def test_equal_runs_have_no_spread(self) -> None:
        (row,) = self.rows([made_up("a", seed, [1, 1]) for seed in range(3)])
        assert row["success"] == "1.00 [1.00, 1.00] (1.00, 1.00)"
        assert row["SPL"] == "0.50 [0.50, 0.50] (0.50, 0.50)"
        assert row["SNA"] == "0.25 [0.25, 0.25] (0.25, 0.25)"
        assert row["steps"] == "30 [30, 30] (30, 30)"
        assert row["minutes"] == "1.5"

    def test_intervals_over_episodes_and_over_runs(self) -> None:
        """Runs that are all alike, of episodes that are not; and the other way round."""
        half = [1.0] * 50 + [0.0] * 50
        (alike,) = self.rows([made_up("a", seed, half) for seed in range(4)])
        # Of 400 episodes: 0.5 +- 1.96 sqrt(0.25 / 400).
        low, high = (float(number) for number in alike["success"].split("[")[1].split("]")[0].split(", "))
        assert (low, high) == (pytest.approx(0.451, abs=0.006), pytest.approx(0.549, abs=0.006))
        assert alike["success"].endswith("(0.50, 0.50)")
        (unlike,) = self.rows([made_up("a", 0, [1.0] * 200), made_up("a", 1, [0.0] * 200)])
        # Both runs drawn alike, with probability 1/4 each, gives 0 or 1.
        assert unlike["success"].endswith("(0.00, 1.00)")

    @pytest.mark.parametrize(
        ("steps", "expected"),
        [
            ([12_000], "12,000"),
            ([9_000, 30_000, 12_000], "12,000 [9,000, 30,000]"),
            ([9_000, None, 12_000], "12,000 [9,000, never]"),
            ([9_000, None, None], "never [9,000, never]"),
            ([9_000, None], "never [9,000, never]"),
            ([None, None], "never"),
        ],
        ids=str,
    )
    def test_steps_to_target(self, steps: list[int | None], expected: str) -> None:
        (row,) = self.rows([made_up("a", seed, [1], each) for seed, each in enumerate(steps)])
        assert row["steps to 95 %"] == expected

    def test_says_what_the_intervals_are_over(self) -> None:
        text = to_markdown([made_up("a", 0, [1, 0]), made_up("b", 0, [1, 0, 0])])
        assert "evaluated on 2 or 3 episodes" in text
        assert "[95 % bootstrap interval over the episodes of all runs together]" in text
        assert "(95 % bootstrap interval over the means of the runs)" in text

    @pytest.mark.parametrize(
        ("algorithms", "sentence"),
        [
            (["DQN"], " In the evaluation, the best action is taken with DQN."),
            (["PPO", "PPO"], " In the evaluation, actions are drawn from the policy with PPO."),
            (
                ["TD3", "PPO", "SAC"],
                " In the evaluation, actions are drawn from the policy with PPO and the best action is taken with SAC "
                "and TD3.",
            ),
            (
                list(training.ALGORITHMS),
                " In the evaluation, actions are drawn from the policy with PPO, A2C and RecurrentPPO and the best "
                "action is taken with DQN, QRDQN, SAC and TD3.",
            ),
        ],
        ids=str,
    )
    def test_says_which_of_its_algorithms_draw_their_actions(self, algorithms: list[str], sentence: str) -> None:
        runs = [made_up(f"recipe {seed}", seed, [1], algorithm=each) for seed, each in enumerate(algorithms)]
        assert to_markdown(runs).endswith(f"Minutes: wall time of a training.{sentence}")

    def test_says_nothing_of_algorithms_that_are_not_known(self) -> None:
        run = dataclasses.replace(made_up("a", 0, [1]), log=TrainingLog({}, ((10, 1.0),)))
        assert to_markdown([run]).endswith("Minutes: wall time of a training.")


class TestPlot:
    def test_every_recipe_is_in_the_picture_in_a_colour_of_its_own(self, tmp_path: Path) -> None:
        names = ["none", "mean", "a longer name"]
        runs = [
            made_up(name, seed, [1], curve=[(10 * i, min(1, (i + seed) / (10 + 3 * number))) for i in range(1, 20)])
            for number, name in enumerate(names)
            for seed in range(3)
        ]
        plot_curves(runs, tmp_path / "curves.png")
        picture = (imread(tmp_path / "curves.png")[..., :3] * 255).round().astype(int)
        assert picture.shape[1] >= 900  # pixels: what a README is wide
        assert (picture[[0, 0, -1, -1], [0, -1, 0, -1]] == 255).all()
        colours = {tuple(map(int, (c[1:3], c[3:5], c[5:]), (16,) * 3)) for c in experiments._COLOURS[:3]}
        assert len(colours) == 3
        for colour in colours:
            assert (picture == colour).all(axis=-1).sum() > 200

    def test_runs_that_were_measured_at_other_points_are_interpolated(self) -> None:
        steps, success = experiments._curves(
            [
                made_up("a", 0, [1], curve=[(10, 0.1), (20, 0.2), (30, 0.3)]),
                made_up("a", 1, [1], curve=[(5, 0.0), (15, 0.2), (25, 0.4), (35, 0.6)]),
            ]
        )
        np.testing.assert_array_equal(steps, [10, 20, 30])
        np.testing.assert_allclose(success, [[0.1, 0.2, 0.3], [0.1, 0.3, 0.5]])
