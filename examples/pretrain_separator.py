"""Train a separator on what the agent hears in random scenes, then measure it on others, with sounds it has not heard.

    python examples/pretrain_separator.py --recordings my/recordings                    # speech first, all else second
    python examples/pretrain_separator.py --recordings my/recordings --slots any-order  # any two sources, in any order
    python examples/pretrain_separator.py --steps 200                                   # a try, on synthetic sounds

Speech lies in speech/, with a subfolder a speaker. What was cut off, by Ctrl-C or by a kill, goes on where it was when
it is started again with the same --folder. There are the separator, which `load_separator` and --separator of the other
examples take, and TensorBoard's logs. With --save it is written as those that the package ships, with a card too.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import torch

from auralnav_sb3 import PRETRAININGS, Mixtures, evaluate_separator, pretrain, pretraining_sounds, save_separator
from auralnav_sb3.cards import make_card, quality_table, separator_provenance
from auralnav_sb3.pretraining import read_seconds

TEST_SEED, VALIDATION_SEED = 1, 2  # 0 is the training's


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    folder = args.folder or Path("runs/separators") / args.slots
    pretraining = PRETRAININGS[args.slots]
    if args.steps is not None:
        pretraining = replace(pretraining, steps=args.steps)
    slots = {"first_kinds": pretraining.first_kinds, "num_sources": pretraining.config.num_sources}
    train_sounds, test_sounds = pretraining_sounds(args.recordings)

    print(f"Training on {len(train_sounds)} sounds for {pretraining.steps:,} steps, in {folder}.", flush=True)
    validation = Mixtures(test_sounds, **slots, seed=VALIDATION_SEED, length=args.validation_scenes)
    separator = pretrain(pretraining, train_sounds, folder, validation, args.workers, device=args.device)

    print(f"Measuring {args.scenes} scenes with {len(test_sounds)} sounds never heard in training.", flush=True)
    qualities = evaluate_separator(separator, Mixtures(test_sounds, **slots, seed=TEST_SEED), args.scenes)
    print(quality_table(qualities))
    if args.save is not None:
        attribution = "" if args.attribution is None else args.attribution.read_text(encoding="utf-8")
        card = make_card(
            args.save.name,
            separator,
            pretraining,
            train_sounds,
            test_sounds,
            qualities,
            command_of(args),
            read_seconds(folder),
            attribution,
        )
        save_separator(separator, args.save, card, separator_provenance(pretraining, train_sounds, test_sounds))


def command_of(args: argparse.Namespace) -> str:
    """The command that trains such a separator, wherever the recordings lie."""
    recordings = "" if args.recordings is None else " --recordings my/recordings"
    steps = "" if args.steps is None else f" --steps {args.steps}"
    return f"python examples/pretrain_separator.py --slots {args.slots}{recordings}{steps}"


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--slots", choices=list(PRETRAININGS), default="speech-first", help="what the two slots of the separator hold")
    add("--recordings", type=Path, help="folder of recordings; synthetic sounds alone otherwise")
    add("--steps", type=int, help="updates; as many as the shipped separators had otherwise")
    add("--folder", type=Path, help="folder for what is written; runs/separators/SLOTS otherwise")
    add("--scenes", type=int, default=250, help="of the measurement, four windows each")
    add("--validation-scenes", type=int, default=50, help="of the measurements in between")
    add("--workers", type=int, default=1, help="processes that render mixtures")
    add("--threads", type=int, default=1, help="of torch")
    add("--device", default="cpu", help="of torch, for the training")
    add("--save", type=Path, metavar="FOLDER", help="folder for weights, settings and card, called as the separator")
    add("--attribution", type=Path, metavar="FILE", help="Markdown on where the recordings come from, for the card")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Interrupted. The same command goes on from here.")
