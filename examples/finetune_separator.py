"""Does it help to train the separator on through the TD loss? The agent and the SI-SDR, before and after.

    python examples/finetune_separator.py  # after examples/compare_separation.py; 3 agents, 2,000 steps
    python examples/finetune_separator.py --gradient-steps 4 --steps 5000
    python examples/finetune_separator.py --recordings my/recordings  # to measure the separator with, too

Agents that find a voice among louder distractors, trained on the cues of a trained separator, go on in three ways: not
at all, with the separator frozen, and end to end. The last two differ in nothing but whether gradients reach the
separator. Agents that are missing in --runs are trained first; what is finished is not done again. The tables are
written below --output.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from auralnav_sb3 import RECIPES
from auralnav_sb3.experiments import make_parser
from auralnav_sb3.finetuning import Finetuning, finetune_all, to_csv, to_markdown
from auralnav_sb3.pretraining import pretraining_sounds
from auralnav_sb3.provenance import write_markdown

SUITE = "distractors-v1"
AGENTS = f"{SUITE}, trained separator"  # what examples/compare_separation.py calls them
FIRST_KINDS = ("speech",)  # what the separator puts first: the targets


def main() -> None:
    defaults = Finetuning()
    parser = make_parser(__doc__.split("\n")[0], output="runs/finetune", steps=defaults.steps)
    add = parser.add_argument
    add("--runs", type=Path, default=Path("runs/separation"), help="the --output of examples/compare_separation.py")
    add("--target-first", default="speech-first", help="its --target-first, the separator")
    add("--trained-steps", type=int, default=RECIPES[SUITE].steps, help="its --steps")
    add("--warmup", type=int, default=defaults.warmup, help="environment steps that fill the replay buffer before")
    add("--batch-size", type=int, default=defaults.batch_size, help="transitions in an update")
    add("--gradient-steps", type=int, default=defaults.gradient_steps, help="updates a step of all environments")
    add("--learning-rate", type=float, default=defaults.learning_rate, help="of the policy, constant")
    add("--separator-lr-scale", type=float, default=defaults.separator_lr_scale, help="of the separator, over that")
    add("--scenes", type=int, default=250, help="held-out scenes in which the separator is measured")
    add("--recordings", type=Path, help="folder of recordings for these scenes, beside the synthetic test sounds")
    args = parser.parse_args()
    recipe = replace(RECIPES[SUITE], separator=args.target_first, steps=args.trained_steps)
    recipe = replace(recipe, suite=recipe.load_suite(args.sounds))
    settings = Finetuning(
        args.steps, args.warmup, args.batch_size, args.gradient_steps, args.learning_rate, args.separator_lr_scale
    )
    _, sounds = pretraining_sounds(args.recordings)
    measured = (sounds, FIRST_KINDS, args.output, args.processes, args.episodes, args.scenes)
    try:
        runs = finetune_all(recipe, range(args.seeds), args.runs / AGENTS, settings, *measured)
    except KeyboardInterrupt:
        sys.exit("Interrupted. The same command goes on from here.")
    to_csv(runs, args.output / "results.csv")
    table = to_markdown(runs)
    write_markdown(args.output / "results.md", table, {f"{run.way}, seed {run.seed}": run.made_by for run in runs})
    print(table)


if __name__ == "__main__":
    main()
