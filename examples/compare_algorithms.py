"""Compare the algorithms of SB3 and sb3-contrib on the same world, cues, budget and seeds.

    python examples/compare_algorithms.py                       # 15 trainings, two at a time
    python examples/compare_algorithms.py --processes 8 --seeds 10

What was cut off goes on where it was. The table and the learning curves are written below --output.
"""

from __future__ import annotations

from auralnav_sb3 import ALGORITHMS, Recipe
from auralnav_sb3.experiments import main

# Four frames of cues for all, RecurrentPPO included. Mirrored transitions are left out: not all have a replay buffer.
RECIPES = {algorithm: Recipe(algorithm=algorithm, frames=4) for algorithm in ALGORITHMS}

if __name__ == "__main__":
    main(RECIPES, description=__doc__.split("\n")[0], output="runs/compare", steps=20_000)
