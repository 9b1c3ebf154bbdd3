"""What does separation buy, and what the way in which cues are pooled? Every combination, on the same budget and seeds.

    python examples/ablations.py                       # 21 trainings, two at a time
    python examples/ablations.py --sounds my/recordings

What was cut off goes on where it was. The table and the learning curves are written below --output.
"""

from __future__ import annotations

from dataclasses import replace

from auralnav_sb3 import RECIPES as PUBLISHED
from auralnav_sb3 import Recipe
from auralnav_sb3.experiments import main

SEPARATORS = {"no separation": "none", "untrained separator": "compact", "ideal masks": "ideal"}
RECIPES = {
    **{
        f"{name}, {aggregation}": replace(PUBLISHED["two-sources-v1"], separator=separator, aggregation=aggregation)
        for name, separator in SEPARATORS.items()
        for aggregation in ("mean", "weighted")
    },
    # Two omnidirectional ears, cues pooled by the plain mean, the agent's pose and no memory, the original's rewards.
    "original": Recipe(suite="omni-v1", aggregation="mean", pose=True, motion=False, rewards="original"),
}

if __name__ == "__main__":
    main(RECIPES, description=__doc__.split("\n")[0], output="runs/ablations", steps=15_000)
