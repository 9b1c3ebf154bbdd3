"""Compare the algorithms of SB3 and sb3-contrib on the same world, cues, budget and seeds.

    python examples/compare_algorithms.py                       # 15 trainings, two at a time
    python examples/compare_algorithms.py --actions continuous  # 9 trainings of those that drive
    python examples/compare_algorithms.py --processes 8 --seeds 10

What was cut off goes on where it was. The table and the learning curves are written below --output.
"""

from __future__ import annotations

from pathlib import Path

from auralnav_sb3 import Recipe, plot_curves
from auralnav_sb3.experiments import make_parser, run_command, write_tables

ALGORITHMS = {
    "discrete": ("DQN", "PPO", "A2C", "QRDQN", "RecurrentPPO"),
    # The two that take no other actions, and the best known of those that take both.
    "continuous": ("SAC", "TD3", "PPO"),
}
SUITES = {"discrete": "two-sources-v1", "continuous": "continuous-v1"}
FOLDERS = {"discrete": "runs/compare", "continuous": "runs/compare-continuous"}
# Four frames of cues for all, RecurrentPPO included. Mirrored transitions are left out: not all have a replay buffer.
RECIPES = {
    actions: {algorithm: Recipe(SUITES[actions], algorithm, frames=4) for algorithm in algorithms}
    for actions, algorithms in ALGORITHMS.items()
}


def main() -> None:
    folders = " or ".join(FOLDERS.values())
    parser = make_parser(__doc__.split("\n")[0], output=None, steps=20_000)
    parser.add_argument(
        "--actions",
        choices=list(RECIPES),
        default="discrete",
        help=f"one of four, or a forward speed and a turn rate; without --output written to {folders}",
    )
    args = parser.parse_args()
    if args.output is None:
        args.output = Path(FOLDERS[args.actions])
    runs = run_command(RECIPES[args.actions], args)
    print(write_tables(runs, args.output))
    plot_curves(runs, args.output / "curves.png")


if __name__ == "__main__":
    main()
