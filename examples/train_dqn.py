"""Train an agent to find every source in a room by ear, then compare it with agents that do not listen.

    python examples/train_dqn.py                         # two sources, synthetic sounds
    python examples/train_dqn.py --suite four-sources-v1
    python examples/train_dqn.py --sounds my/recordings  # wav, flac, ogg; train and test never share a recording
    python examples/train_dqn.py --finetune 20000        # then end to end through the separator: far slower
    python examples/train_dqn.py --view                  # and writes a page on which its episodes are seen and heard
    python examples/train_dqn.py --evaluate-every 5000   # TensorBoard shows how it does, and an episode to see and hear

The agent trains on cues that the frozen separator gave once, and is then turned into a model that acts on what the ears
hear. What was cut off goes on where it was when it is started again with the same --output. Below --output are the
model, the separator, TensorBoard logs and the table.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path

import torch
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from auralnav_gym import SUITES, GreedyAgent, OracleAgent, RandomAgent, Recording, write_viewer
from auralnav_gym.files import written_whole
from auralnav_sb3 import (
    ALGORITHMS,
    RECIPES,
    EvaluationCallback,
    ProgressCallback,
    RolloutCallback,
    evaluate,
    record,
    table,
    to_audio,
    train,
)
from auralnav_sb3.provenance import write_markdown

WATCHED_EPISODES = 5


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    chosen = {name: getattr(args, name) for name in ("algorithm", "separator", "aggregation", "frames", "steps")}
    given = {name: value for name, value in chosen.items() if value is not None}
    if args.algorithm is not None:
        given["mirror"] = issubclass(ALGORITHMS[args.algorithm], OffPolicyAlgorithm)  # with a replay buffer to mirror
    recipe = replace(RECIPES[args.suite], **given, pose=args.pose, num_envs=args.envs)
    suite = recipe.load_suite(args.sounds)

    print(f"Training {recipe.algorithm} on {len(suite.train_sounds)} sounds for {recipe.steps:,} steps.", flush=True)
    cue_model = train(
        recipe,
        args.seed,
        args.output / "cues",
        args.sounds,
        tensorboard_log=args.output / "logs",
        evaluate_every=args.evaluate_every,
    )
    if args.finetune:
        print(f"Fine-tuning end to end for {args.finetune:,} steps.", flush=True)
        model = to_audio(cue_model, freeze_separator=False, separator_lr_scale=args.separator_lr_scale)
        if isinstance(model, OffPolicyAlgorithm):
            # Every update separates and back-propagates through this many observations; and the replay buffer, empty
            # now, must hold some first.
            model.batch_size, model.gradient_steps = 32, 1
            model.learning_starts = model.num_timesteps + min(1_000, args.finetune // 2)
        callbacks = [ProgressCallback(), RolloutCallback()]
        if args.evaluate_every is not None:
            callbacks.append(EvaluationCallback(suite, args.evaluate_every, deterministic=recipe.deterministic))
        try:
            model.learn(args.finetune, callback=callbacks, reset_num_timesteps=False)
        finally:  # after Ctrl-C too
            save(model, args.output)
    else:
        model = to_audio(cue_model)
        save(model, args.output)

    print(
        f"Evaluating {args.episodes} episodes on {len(suite.test_sounds)} sounds never heard in training.", flush=True
    )
    agents = {"random": RandomAgent(args.seed), "trained": model, "greedy": GreedyAgent(), "oracle": OracleAgent()}
    how = {"deterministic": recipe.deterministic}  # policies that draw their actions do so here too
    results = {name: evaluate(each, suite, num_episodes=args.episodes, **how) for name, each in agents.items()}
    made_by = {name: each.made_by for name, each in results.items()}
    made_by["trained"] = made_by["trained"].with_training(recipe.settings(args.seed) | {"finetune": args.finetune})
    write_markdown(args.output / "results.md", table(results), made_by)
    if args.view:
        num_episodes, page = min(WATCHED_EPISODES, args.episodes), args.output / "episodes.html"
        watched: list[Recording] = []
        for name in ("trained", "greedy"):
            watched += record(agents[name], suite, num_episodes=num_episodes, name=name, **how)
        write_viewer(page, watched, suite.name, asdict(made_by["trained"]))
        print(f"See and hear {num_episodes} of the episodes in {page}.")
    print(table(results))


def save(model, folder: Path) -> None:
    with written_whole(folder / "model.zip") as path:
        model.save(path)
    print(f"Saved the model in {folder}.", flush=True)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--suite", choices=list(SUITES), default="two-sources-v1", help="the world")
    add("--sounds", type=Path, help="folder of recordings; the synthetic bank otherwise")
    add("--algorithm", choices=list(ALGORITHMS), help="of Stable-Baselines3; that of the suite's recipe otherwise")
    add("--separator", help='"any-order", "speech-first", "compact", "full" (untrained), "none", a file or a hub name')
    add("--aggregation", choices=["weighted", "mean"], help="how cues are pooled")
    add("--frames", type=int, help="observations that the agent remembers")
    add("--pose", action="store_true", help="the agent knows its own pose, which makes it learn more slowly")
    add("--steps", type=int, help="environment steps of training")
    add("--finetune", type=int, default=0, metavar="STEPS", help="then train end to end through the separator")
    add("--separator-lr-scale", type=float, default=0.1, help="learning rate of its separator over the policy's")
    add("--envs", type=int, default=8, help="parallel environments")
    add("--evaluate-every", type=int, metavar="STEPS", help="log 20 episodes of the suite; needs the extra render")
    add("--episodes", type=int, default=100, help="episodes of the evaluation, 500 at most")
    add("--view", action="store_true", help=f"write {WATCHED_EPISODES} of them to a page; needs the extra viewer")
    add("--seed", type=int, default=0)
    add("--threads", type=int, default=1, help="of torch; more helps --finetune and large separators only")
    add("--output", type=Path, default=Path("runs/dqn"), help="folder for what is written")
    args = parser.parse_args()
    if args.view and not all(map(find_spec, ("jinja2", "plotly"))):  # said before the training, not after it
        parser.error('--view: expected jinja2 and plotly to be installed. Run `pip install "auralnav[viewer]"`')
    return args


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Interrupted.")
