"""What is separation worth where it matters: among louder distractors, and in the babble of a crowd?

    python examples/compare_separation.py                               # 24 trainings, two at a time
    python examples/compare_separation.py --suites babble-v1 --seeds 1  # a part of them
    python examples/compare_separation.py --conditions trained --target-first my/separator.pth

Each agent trains and is evaluated with no separation, an untrained separator, a trained one and ideal masks; all else
is the same. What was cut off goes on where it was. The tables are of all trainings that are finished, whichever of them
the command was to run: the means of each condition, and how much of the gap between no separation and ideal masks the
trained separator closes. They and the learning curves are written below --output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from auralnav_sb3 import RECIPES as PUBLISHED
from auralnav_sb3 import Recipe, Run, bootstrap_gap_closed, plot_curves
from auralnav_sb3.experiments import make_parser, run_command, write_tables

SUITES = ("distractors-v1", "babble-v1")
CONDITIONS = {
    "none": "no separation",
    "untrained": "untrained separator",
    "trained": "trained separator",
    "ideal": "ideal masks",
}
METRICS = {"success": "success", "spl": "SPL"}


def main() -> None:
    parser = make_parser(__doc__.split("\n")[0], output="runs/separation", steps=30_000)
    add = parser.add_argument
    add("--suites", nargs="+", choices=SUITES, default=list(SUITES), help="the worlds")
    add("--conditions", nargs="+", choices=list(CONDITIONS), default=list(CONDITIONS), help="how to separate")
    add("--target-first", default="speech-first", help="the trained separator that puts targets first")
    add("--any-order", default="any-order", help="the trained separator that puts sources in any order")
    args = parser.parse_args()
    chosen = [name_of(suite, condition) for suite in args.suites for condition in args.conditions]
    runs = run_command(make_recipes(args.target_first, args.any_order), args, chosen)
    print(write_tables(runs, args.output, gaps_closed(runs)))
    for suite in SUITES:
        of_suite = runs_of(runs, suite)
        if of_suite:
            plot_curves(of_suite, args.output / f"{suite}.png")


def make_recipes(target_first: str, any_order: str) -> dict[str, Recipe]:
    """Every suite's published recipe with every condition.

    Args:
        target_first: The trained separator of recipes whose slots hold the targets first and the rest second.
        any_order: That of the others.
    """
    recipes = {}
    for suite in SUITES:
        trained = target_first if PUBLISHED[suite].slots == "target" else any_order
        separators = {"none": "none", "untrained": "compact", "trained": trained, "ideal": "ideal"}
        for condition, separator in separators.items():
            recipes[name_of(suite, condition)] = replace(PUBLISHED[suite], separator=separator)
    return recipes


def gaps_closed(runs: Sequence[Run]) -> str:
    """A row a suite of which there are runs of the three conditions that it takes."""
    rows = []
    for suite in SUITES:
        groups = [runs_of(runs, suite, condition) for condition in ("none", "trained", "ideal")]
        if all(groups):
            shares = [
                bootstrap_gap_closed(*(np.stack([run.evaluation.values(metric) for run in group]) for group in groups))
                for metric in METRICS
            ]
            rows.append([suite, *map(str, shares)])
    if not rows:
        return ""
    header = ["suite", *METRICS.values()]
    lines = [header, ["---"] * len(header), *rows]
    note = (
        "The share of the gap between no separation and ideal masks that the trained separator closes: (trained - "
        "none) / (ideal - none), [95 % bootstrap interval over runs and episodes]. [-inf, inf]: ideal masks do not do "
        "better than no separation by more than chance, so there is no gap to close."
    )
    return "\n".join([*("| " + " | ".join(line) + " |" for line in lines), "", note])


def runs_of(runs: Sequence[Run], suite: str, condition: str | None = None) -> list[Run]:
    """The runs in a suite, under one condition or under all."""
    names = {name_of(suite, each) for each in CONDITIONS if condition in (None, each)}
    return [run for run in runs if run.name in names]


def name_of(suite: str, condition: str) -> str:
    return f"{suite}, {CONDITIONS[condition]}"


if __name__ == "__main__":
    main()
