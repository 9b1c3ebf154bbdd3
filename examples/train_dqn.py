"""Train SB3's DQN to find every source in a room by ear, then compare it with a random agent and an oracle.

    python examples/train_dqn.py                        # synthetic sounds
    python examples/train_dqn.py --sounds my/recordings # wav, flac, ogg; train and test never share a recording
    python examples/train_dqn.py --finetune             # end to end through the separator: far slower

Everything is written below --output: the model, the separator, the settings, TensorBoard logs and the table.
"""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from pathlib import Path

import gymnasium as gym
import torch
from stable_baselines3 import DQN
from stable_baselines3.common.env_util import make_vec_env

import auralnav_gym  # noqa: F401 (registers AuralNav-v0)
from auralnav_gym import OracleAgent, RandomAgent, SoundBank, SoundFolder, SyntheticSounds
from auralnav_sb3 import (
    ProgressCallback,
    SeparatedCuesExtractor,
    VecSeparatedCues,
    evaluate,
    extractor_kwargs,
    table,
    written_whole,
)

# Episodes of the evaluation begin with these seeds; those of the training are drawn from --seed.
FIRST_TEST_SEED = 1_000_000

HYPERPARAMETERS = {
    "learning_rate": 5e-4,
    "buffer_size": 50_000,
    "learning_starts": 1_000,
    "batch_size": 128,
    "gamma": 0.97,
    "n_steps": 3,
    "train_freq": 1,
    "gradient_steps": 4,
    "target_update_interval": 1_000,
    "exploration_fraction": 0.4,
    # Low, so that the agent meets in training the loops in which it would be caught when it no longer explores.
    "exploration_final_eps": 0.01,
}
# A transition of audio takes 64 kB, one of cues 100 bytes; every update separates two batches; and SB3 has no n-step
# returns for dict observations.
FINETUNE_HYPERPARAMETERS = {
    **HYPERPARAMETERS,
    "buffer_size": 10_000,
    "batch_size": 32,
    "n_steps": 1,
    "gradient_steps": 1,
}
NET_ARCH = [256, 256]


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    args.output.mkdir(parents=True, exist_ok=True)
    train_sounds, test_sounds = load_bank(args).split(by=args.split_by)
    settings = {"num_sources": args.sources, "ears": args.ears, "pose": args.pose}
    (args.output / "settings.json").write_text(json.dumps(vars(args), default=str, indent=2) + "\n")

    venv = make_vec_env("AuralNav-v0", args.envs, seed=args.seed, env_kwargs={**settings, "sounds": train_sounds})
    cues = {
        "separator": args.separator,
        "aggregation": args.aggregation,
        "order": "energy",
        "seed": args.seed,
        **extractor_kwargs(venv),
    }
    if args.finetune:
        policy, extractor = "MultiInputPolicy", None
        hyperparameters = {
            **FINETUNE_HYPERPARAMETERS,
            "policy_kwargs": {
                "features_extractor_class": SeparatedCuesExtractor,
                "features_extractor_kwargs": {**cues, "freeze_separator": False},
                "net_arch": NET_ARCH,
            },
        }
    else:
        venv = VecSeparatedCues(venv, device=args.device, **cues)
        policy, extractor = "MlpPolicy", venv.extractor
        hyperparameters = {**HYPERPARAMETERS, "policy_kwargs": {"net_arch": NET_ARCH}}
    model = DQN(
        policy, venv, seed=args.seed, device=args.device, tensorboard_log=str(args.output / "logs"), **hyperparameters
    )
    print(f"Training on {len(train_sounds)} sounds, {args.envs} environments, {model.device}.", flush=True)
    try:
        model.learn(args.steps, callback=ProgressCallback(), tb_log_name="dqn")
    finally:  # after Ctrl-C too
        save(model, extractor, args.output)

    print(f"Evaluating {args.episodes} episodes on {len(test_sounds)} sounds never heard in training.", flush=True)
    make_env = partial(gym.make, "AuralNav-v0", sounds=test_sounds, **settings)
    seeds = range(FIRST_TEST_SEED, FIRST_TEST_SEED + args.episodes)
    results = table(
        {
            "random": evaluate(RandomAgent(args.seed), make_env, seeds),
            "trained": evaluate(model, make_env, seeds, extractor=extractor),
            "oracle": evaluate(OracleAgent(), make_env, seeds),
        }
    )
    (args.output / "results.md").write_text(results + "\n")
    print(results)


def load_bank(args: argparse.Namespace) -> SoundBank:
    return SyntheticSounds(seed=args.seed) if args.sounds is None else SoundFolder(args.sounds)


def save(model: DQN, extractor: SeparatedCuesExtractor | None, folder: Path) -> None:
    """Write model.zip, and separator.pth beside it where the model acts on cues."""
    with written_whole(folder / "model.zip") as path:
        model.save(path)
    if extractor is not None:
        extractor.separator.save(folder / "separator.pth")
    print(f"Saved the model in {folder}.", flush=True)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--sounds", type=Path, help="folder of recordings; the synthetic bank otherwise")
    add("--split-by", choices=["recording", "subfolder"], default="recording", help="what train and test do not share")
    add("--sources", type=int, default=2, help="sources in a scene")
    add("--ears", choices=["ortf", "omni"], default="ortf", help="the agent's ears")
    add("--pose", action="store_true", help="the agent knows its own pose, which makes it learn more slowly")
    add("--separator", default="compact", help='"compact", "full" (untrained), an Asteroid file or a hub name')
    add("--aggregation", choices=["weighted", "mean"], default="weighted", help="how cues are pooled")
    add("--finetune", action="store_true", help="train end to end through the separator")
    add("--steps", type=int, default=30_000, help="environment steps of training")
    add("--envs", type=int, default=8, help="parallel environments")
    add("--episodes", type=int, default=100, help="episodes of the evaluation")
    add("--seed", type=int, default=0)
    add("--device", default="auto", help="of torch")
    add("--threads", type=int, default=1, help="of torch; more helps --finetune and large separators only")
    add("--output", type=Path, default=Path("runs/dqn"), help="folder for what is written")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Interrupted.")
