"""Recipes against each other: several seeds each, in parallel processes, to a table and a picture.

In the order of use::

    recipes = {"DQN": Recipe(), "PPO": Recipe(algorithm="PPO")}
    runs = run_all(recipes, seeds=range(3), folder="runs/compare")  # called again after Ctrl-C, it goes on
    to_csv(runs, "runs/compare/results.csv")
    print(to_markdown(runs))
    plot_curves(runs, "runs/compare/curves.png")

`main` makes a command of it. As always where Python starts processes, scripts call it under
``if __name__ == "__main__":``.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass, replace
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from matplotlib.figure import Figure

from auralnav_gym.files import written_whole
from auralnav_gym.sounds import SoundBank
from auralnav_sb3.evaluation import METRICS, Evaluation, evaluate, wrap_like
from auralnav_sb3.provenance import COLUMNS, Provenance, to_metadata, write_markdown
from auralnav_sb3.statistics import bootstrap_curve, bootstrap_mean
from auralnav_sb3.training import (
    ALGORITHMS,
    TARGET_SUCCESS,
    Recipe,
    TrainingLog,
    check_settings,
    read_log,
    train,
)

# Okabe and Ito's palette, which people with any colour vision tell apart, without its yellow, which white swallows.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#56B4E9", "#E69F00")
_DASHES = ("-", "--", "-.", ":")


@dataclass(frozen=True)
class Run:
    """One recipe, trained with one seed and evaluated.

    Attributes:
        name: Of the recipe.
        seed: Of the training.
        log: How the training went.
        evaluation: Of the trained model.
    """

    name: str
    seed: int
    log: TrainingLog
    evaluation: Evaluation

    @property
    def made_by(self) -> Provenance:
        """The world of the evaluation, the settings of the training, and the versions."""
        return self.evaluation.made_by.with_training(self.log.settings)


def run_all(
    recipes: Mapping[str, Recipe],
    seeds: Iterable[int],
    folder: str | os.PathLike[str],
    processes: int = 2,
    sounds: SoundBank | str | os.PathLike[str] | None = None,
    episodes: int | None = None,
    only: Collection[str] | None = None,
) -> list[Run]:
    """Train and evaluate every recipe with every seed, each in a process of its own, with one thread.

    What is finished is not done again, and what was cut off (Ctrl-C, a crash) goes on from its last checkpoint. Below
    ``folder``, every run has a folder ``NAME/seed-SEED`` with its model, its ``log.txt`` and its ``result.json``: the
    settings, the learning curve, the wall time and all episodes of the evaluation, and the worlds and versions of both.

    Args:
        recipes: By name.
        seeds: Of the trainings.
        folder: Where all is written.
        processes: How many run at the same time.
        sounds: See `make_cue_env`; the evaluation is on the test sounds.
        episodes: Of the suite, to evaluate on; None: all.
        only: The names of those to run now; None: all.

    Returns:
        The runs, recipe by recipe, seed by seed; of the recipes that were not to be run, those that are finished.

    Raises:
        ValueError: A name that cannot be a folder's, a folder that holds a run with other settings, a name in ``only``
            that no recipe has, or processes below 1.
        RuntimeError: Some runs failed. The others were finished first.
    """
    if sounds is not None:  # recordings are read once
        recipes = {name: replace(recipe, suite=recipe.load_suite(sounds)) for name, recipe in recipes.items()}
    wanted = recipes.keys() if only is None else set(only)
    unknown = sorted(wanted - recipes.keys())
    if unknown:
        raise ValueError(f"only: expected names of recipes, {list(recipes)}, actual: {unknown} among them")
    jobs = [
        _Job(name, recipe, seed, Path(folder) / name / f"seed-{seed}", episodes)
        for seed in seeds
        for name, recipe in recipes.items()
    ]
    if processes < 1:
        raise ValueError(f"processes: expected at least 1, actual: {processes}")
    for job in jobs:
        job.check()
    jobs = [job for job in jobs if job.name in wanted or job.is_finished]
    failed = run_in_processes([job for job in jobs if not job.is_finished], processes)
    if failed:
        logs = ", ".join(str(job.folder / _LOG) for job in failed)
        raise RuntimeError(f"{len(failed)} of {len(jobs)} runs failed; see {logs}")
    return [job.result() for name in recipes for job in jobs if job.name == name]


def to_csv(runs: Sequence[Run], path: str | os.PathLike[str]) -> None:
    """Write a row a run.

    The means of the evaluation, the steps to 95 % success (empty: never), the wall time, and what made it (JSON, see
    `auralnav_sb3.provenance`).
    """
    header = ["name", "seed", "suite", "episodes", *METRICS, "steps_to_95_percent", "seconds", *COLUMNS]
    with written_whole(path) as unfinished, unfinished.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for run in runs:
            means = [run.evaluation.values(metric).mean() for metric in METRICS]
            described = [run.name, run.seed, run.evaluation.suite, len(run.evaluation.episodes)]
            row = [*described, *means, run.log.steps_to_target, round(run.log.seconds, 1), *run.made_by.cells]
            writer.writerow(row)


def to_markdown(runs: Sequence[Run]) -> str:
    """Make a table of a row a recipe, and a line that says what its intervals are over."""
    metrics = {"success": 2, "spl": 2, "sna": 2, "steps": 0}
    header = ["recipe", "suite", "runs", "success", "SPL", "SNA", "steps", "steps to 95 %", "minutes"]
    rows = []
    for name, group in _grouped(runs).items():
        cells = [_both_intervals(group, metric, digits) for metric, digits in metrics.items()]
        minutes = np.mean([run.log.seconds for run in group]) / 60
        suite = group[0].evaluation.suite
        rows.append([name, suite, str(len(group)), *cells, steps_to_target(group), f"{minutes:.1f}"])
    counts = sorted({len(run.evaluation.episodes) for run in runs})
    note = (
        f"Each run was evaluated on {' or '.join(map(str, counts))} episodes. Mean, [95 % bootstrap interval over the "
        "episodes of all runs together], (95 % bootstrap interval over the means of the runs). Steps to 95 %: training "
        "steps until 95 of the last 100 training episodes were successes, exploration included; median over the runs "
        f"[least, most]. Minutes: wall time of a training.{_how_they_act(runs)}"
    )
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join([*("| " + " | ".join(line) + " |" for line in lines), "", note])


def plot_curves(runs: Sequence[Run], path: str | os.PathLike[str]) -> None:
    """Draw the learning curves: a line a recipe, the interquartile mean of its runs, and its 95 % bootstrap interval.

    Args:
        runs: Any number a recipe.
        path: The png file. What made the runs is among its metadata, see `auralnav_sb3.provenance`.
    """
    figure = Figure(figsize=(9, 4.5), dpi=150, layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    for number, (name, group) in enumerate(_grouped(runs).items()):
        steps, success = _curves(group)
        curve = bootstrap_curve(success)
        colour = _COLOURS[number % len(_COLOURS)]
        axes.plot(steps, curve.iqm, _DASHES[number % len(_DASHES)], color=colour, linewidth=2, label=name)
        axes.fill_between(steps, curve.low, curve.high, color=colour, alpha=0.15, linewidth=0)
    axes.axhline(TARGET_SUCCESS, color="0.5", linewidth=1)
    axes.annotate(f"{TARGET_SUCCESS:.0%}", (0.005, 0.955), xycoords=("axes fraction", "data"), color="0.4", fontsize=8)
    axes.set(xlim=(0, None), ylim=(0, 1.01), xlabel="environment steps", ylabel="success in the last 100 episodes")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.grid(color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False)
    with written_whole(path) as unfinished:
        figure.savefig(unfinished, format="png", metadata=to_metadata(made_by(runs)))


def main(recipes: Mapping[str, Recipe], description: str, output: str, steps: int) -> None:
    """Run an experiment from the command line; writes results.csv, results.md and curves.png.

    Args:
        recipes: By name.
        description: Of the experiment, for ``--help``.
        output: The default folder.
        steps: The default of the environment steps of each training.
    """
    args = make_parser(description, output, steps).parse_args()
    runs = run_command(recipes, args)
    print(write_tables(runs, args.output))
    plot_curves(runs, args.output / "curves.png")


def make_parser(description: str, output: str | None, steps: int | None) -> argparse.ArgumentParser:
    """Make the command line of `main`, for commands that have more to ask than it has.

    Args:
        description: Of the experiment, for ``--help``.
        output: The default folder; None: the command chooses one where none is given.
        steps: The default of the environment steps of each training.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("--steps", type=int, default=steps, help="environment steps of each training; None: those of the recipe")
    add("--seeds", type=int, default=3, help="trainings of each recipe")
    add("--episodes", type=int, help="of each evaluation; those of the suite if left out")
    add("--sounds", type=Path, help="folder of recordings; the synthetic bank otherwise")
    add("--processes", type=int, default=2, help="trainings at the same time")
    add("--output", type=Path, default=output, help="folder for what is written; what is there is gone on with")
    return parser


def run_command(
    recipes: Mapping[str, Recipe], args: argparse.Namespace, only: Collection[str] | None = None
) -> list[Run]:
    """Run recipes (`run_all`) as the arguments of `make_parser` say; leaves the program after Ctrl-C."""
    if args.steps is not None:
        recipes = {name: replace(recipe, steps=args.steps) for name, recipe in recipes.items()}
    try:
        return run_all(recipes, range(args.seeds), args.output, args.processes, args.sounds, args.episodes, only)
    except KeyboardInterrupt:
        sys.exit("Interrupted. The same command goes on from here.")


def write_tables(runs: Sequence[Run], folder: Path, more: str = "") -> str:
    """Write results.csv and results.md, and return what is in the latter: `to_markdown`, and more below it.

    But for what made the runs, which is in both files.
    """
    to_csv(runs, folder / "results.csv")
    text = "\n\n".join(filter(None, (to_markdown(runs), more)))
    write_markdown(folder / "results.md", text, made_by(runs))
    return text


def made_by(runs: Sequence[Run]) -> dict[str, Provenance]:
    """What made some runs, by their names and seeds; the settings are without the seeds."""
    return {
        f"{run.name}, seed {run.seed}": run.evaluation.made_by.with_training(
            {key: value for key, value in run.log.settings.items() if key != "seed"}
        )
        for run in runs
    }


# ---- Runs ------------------------------------------------------------------------------------------------------------

_RESULT, _LOG = "result.json", "log.txt"


@dataclass(frozen=True)
class _Job:
    name: str
    recipe: Recipe
    seed: int
    folder: Path
    episodes: int | None

    def __str__(self) -> str:
        return f"{self.name}, seed {self.seed}"

    def check(self) -> None:
        if self.name != Path(self.name).name:
            raise ValueError(f"recipes: expected names that can name a folder, actual: {self.name!r}")
        check_settings(self.recipe, self.seed, self.folder)

    @property
    def is_finished(self) -> bool:
        if not (self.folder / _RESULT).exists():
            return False
        wanted = len(self.recipe.load_suite()) if self.episodes is None else self.episodes
        return len(self.result().evaluation.episodes) == wanted

    def result(self) -> Run:
        content = json.loads((self.folder / _RESULT).read_text())
        log, evaluation = TrainingLog.from_json(content["log"]), Evaluation.from_json(content["evaluation"])
        return Run(content["name"], content["seed"], log, evaluation)

    def run(self) -> None:
        model = train(self.recipe, self.seed, self.folder)
        venv = model.get_env()
        assert venv is not None
        evaluation = evaluate(
            model,
            self.recipe.suite,
            wrap_like(venv),
            num_episodes=self.episodes,
            env_kwargs=self.recipe.env_kwargs,
            deterministic=self.recipe.deterministic,
        )
        run = Run(self.name, self.seed, read_log(self.folder), evaluation)
        with written_whole(self.folder / _RESULT) as path:
            path.write_text(json.dumps(asdict(run), indent=1) + "\n")


class Result(Protocol):
    """What a job came to."""

    @property
    def evaluation(self) -> Evaluation:
        """Of the agent."""


class Job(Protocol):
    """What has a process of its own (`run_in_processes`), to which it is pickled; its string is its name."""

    @property
    def folder(self) -> Path:
        """Where it writes; its ``log.txt`` is there."""

    def run(self) -> None:
        """Do all there is to do, and leave the result in the folder."""

    def result(self) -> Result:
        """Read the result, once it has been run."""


AnyJob = TypeVar("AnyJob", bound=Job)


def run_in_processes(jobs: Sequence[AnyJob], processes: int) -> list[AnyJob]:
    """Run all, so many at a time; returns those that failed. Whatever ends it early ends the processes too."""
    # Not forked: torch's threads do not survive that.
    context = multiprocessing.get_context("spawn")
    waiting, failed = list(jobs), []
    running: dict[Any, tuple[BaseProcess, AnyJob]] = {}  # by what tells that the process has ended
    try:
        while waiting or running:
            while waiting and len(running) < processes:
                job = waiting.pop(0)
                job.folder.mkdir(parents=True, exist_ok=True)
                started = context.Process(target=_run_quietly, args=(job,), daemon=True)
                started.start()
                running[started.sentinel] = started, job
                print(f"{job}: begun, see {job.folder / _LOG}", flush=True)
            for sentinel in wait(list(running)):
                process, job = running.pop(sentinel)
                process.join()
                if process.exitcode != 0:
                    failed.append(job)
                    print(f"{job}: failed", flush=True)
                else:
                    done = len(jobs) - len(waiting) - len(running) - len(failed)
                    success = job.result().evaluation.interval("success")
                    print(f"{job}: success {success}; {done} of {len(jobs)} done", flush=True)
    finally:
        for unfinished, _ in running.values():
            unfinished.terminate()
            unfinished.join()
    return failed


def _run_quietly(job: Job) -> None:
    """What a process does; it prints to its log."""
    # Ctrl-C reaches every process of a terminal; this one has nothing to say to it, its checkpoints are written.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    with (job.folder / _LOG).open("a") as log, redirect_stdout(log), redirect_stderr(log):
        try:
            job.run()
        except Exception:
            traceback.print_exc()
            sys.exit(1)


def _end_with_parent() -> None:
    """A parent that is killed cannot end its processes; two of them must never write to one folder."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


# ---- Tables and pictures ---------------------------------------------------------------------------------------------


def _grouped(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """The runs by recipe, in the order in which they come."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.name, []).append(run)
    return groups


def _both_intervals(group: Sequence[Run], metric: str, digits: int) -> str:
    values = [run.evaluation.values(metric) for run in group]
    episodes, runs = bootstrap_mean(np.concatenate(values)), bootstrap_mean([each.mean() for each in values])
    return (
        f"{episodes.mean:.{digits}f} [{episodes.low:.{digits}f}, {episodes.high:.{digits}f}] "
        f"({runs.low:.{digits}f}, {runs.high:.{digits}f})"
    )


def _how_they_act(runs: Sequence[Run]) -> str:
    """A sentence, after a space, on which algorithms draw their actions in the evaluation; "" if none is known."""
    trained = {run.log.settings.get("algorithm") for run in runs}
    drawing, others = (
        [name for name in ALGORITHMS if name in trained and Recipe(algorithm=name).deterministic == deterministic]
        for deterministic in (False, True)
    )
    parts = [f"actions are drawn from the policy with {_listed(drawing)}"] if drawing else []
    parts += [f"the best action is taken with {_listed(others)}"] if others else []
    return f" In the evaluation, {' and '.join(parts)}." if parts else ""


def _listed(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def steps_to_target(group: Sequence[Run]) -> str:
    """The training steps of some runs until `TARGET_SUCCESS` of the last 100 episodes were successes, in words."""
    steps = [math.inf if run.log.steps_to_target is None else run.log.steps_to_target for run in group]
    numbers = (float(np.median(steps)), min(steps), max(steps))
    median, least, most = ("never" if math.isinf(number) else f"{number:,.0f}" for number in numbers)
    return median if least == most else f"{median} [{least}, {most}]"


def _curves(group: Sequence[Run]) -> tuple[np.ndarray, np.ndarray]:
    """The steps (points,) and the success (runs, points) of runs, at the points of the first."""
    curves = [np.array(run.log.curve).T for run in group]  # (2, points) each
    steps = curves[0][0]
    return steps, np.stack([np.interp(steps, *curve) for curve in curves])
