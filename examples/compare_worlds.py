"""What do a random agent, an oracle and a trained one reach in every registered world?

    python examples/compare_worlds.py                                  # 3 trainings of each, two at a time
    python examples/compare_worlds.py --worlds AuralNav-LShape-v0 --seeds 1  # a part of them

DQN learns the worlds with four actions and SAC the one with a speed and a turn rate, all on the same cues, with the
same memory of four frames and the same hyperparameters: the table shows how hard the worlds are for one recipe, not the
best that can be reached in each. What was cut off goes on where it was. The tables are of all trainings that are
finished, whichever of them the command was to run. They and the learning curves are written below --output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from auralnav_gym import OracleAgent, RandomAgent
from auralnav_gym.tables import markdown_table
from auralnav_sb3 import Evaluation, Recipe, bootstrap_mean, evaluate, plot_curves
from auralnav_sb3.experiments import Run, make_parser, run_command, write_tables

_DQN = Recipe(algorithm="DQN", frames=4, mirror=True, steps=20_000)
# From the id of a world to how an agent learns it, on the training sounds of the suite that is made of it.
RECIPES = {
    "AuralNav-v0": _DQN,
    "AuralNav-Easy-v0": replace(_DQN, suite="easy-v1"),
    "AuralNav-Anechoic-v0": replace(_DQN, suite="anechoic-v1"),
    "AuralNav-RandomRooms-v0": replace(_DQN, suite="random-rooms-v1"),
    "AuralNav-Materials-v0": replace(_DQN, suite="materials-v1"),
    "AuralNav-LShape-v0": replace(_DQN, suite="l-shape-v1", steps=30_000),
    "AuralNav-FourSources-v0": replace(_DQN, suite="four-sources-v1", steps=40_000),
    "AuralNav-Moving-v0": replace(_DQN, suite="moving-v1"),
    "AuralNav-Alarms-v0": replace(_DQN, suite="alarms-v1"),
    "AuralNav-Omni-v0": replace(_DQN, suite="omni-v1", frames=8, steps=40_000),
    "AuralNav-Human-v0": replace(_DQN, suite="human-v1"),
    "AuralNav-Babble-v0": replace(_DQN, suite="babble-v1"),
    # Which of the sources to find is told by the slot that it is in.
    "AuralNav-Distractors-v0": replace(
        _DQN, suite="distractors-v1", separator="speech-first", order="none", slots="target", steps=30_000
    ),
    "AuralNav-Continuous-v0": replace(_DQN, suite="continuous-v1", algorithm="SAC"),
}
METRICS = {"success": "success", "spl": "SPL", "sna": "SNA", "steps": "actions"}


def main() -> None:
    parser = make_parser(__doc__.split("\n")[0], output="runs/worlds", steps=None)
    parser.add_argument("--worlds", nargs="+", choices=list(RECIPES), default=list(RECIPES), help="which of them")
    args = parser.parse_args()
    runs = run_command(RECIPES, args, args.worlds)
    print(write_tables(runs, args.output, compare_agents(runs, args.episodes)))
    plot_curves(runs, args.output / "curves.png")


def compare_agents(runs: Sequence[Run], episodes: int | None) -> str:
    """A row for each world of which there are runs: what random, oracle and trained agents reach in it."""
    rows = []
    for world, recipe in RECIPES.items():
        trained = [run.evaluation for run in runs if run.name == world]
        if trained:
            random, oracle = (
                [evaluate(agent, recipe.suite, num_episodes=episodes)] for agent in (RandomAgent(), OracleAgent())
            )
            scripted = [_interval(random, "success"), *(_interval(oracle, metric) for metric in ("success", "spl"))]
            how = f"{recipe.algorithm}, {recipe.steps // 1000}k steps, {len(trained)} seeds"
            rows.append([world, *scripted, how, *(_interval(trained, metric) for metric in METRICS)])
    header = ["world", "random: success", "oracle: success", "oracle: SPL", "trained by", *METRICS.values()]
    note = (
        "Means and 95 % bootstrap intervals over the episodes; for the trained agents over those of all their seeds "
        "together."
    )
    return f"{markdown_table(header, rows)}\n\n{note}" if rows else ""


def _interval(group: Sequence[Evaluation], metric: str) -> str:
    each = bootstrap_mean(np.concatenate([evaluation.values(metric) for evaluation in group]))
    return f"{each.mean:.0f} [{each.low:.0f}, {each.high:.0f}]" if metric == "steps" else str(each)


if __name__ == "__main__":
    main()
