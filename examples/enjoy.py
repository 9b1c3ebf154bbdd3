"""Watch a trained agent find its sources.

    python examples/enjoy.py                               # plays, and prints how each episode went
    python examples/enjoy.py omni --human                  # in a window, with the sound that it hears
    python examples/enjoy.py distractors --human --panels  # and beside it what it makes of what it hears
    python examples/enjoy.py four-sources --pictures runs/enjoy
    python examples/enjoy.py --card                        # what the agent was trained on, and what it reaches

The window and the pictures need the extra "render".
"""

from __future__ import annotations

import argparse
from pathlib import Path

import gymnasium as gym
import matplotlib.image
import torch
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack

from auralnav_gym import SUITES, Panels, load_suite
from auralnav_sb3 import ModelPerceiver, agent_card, agent_names, load_agent, senses_of
from auralnav_sb3.provenance import Provenance, to_metadata


def main() -> None:
    args = parse_args()
    if args.card:
        print(agent_card(args.agent))
        return
    torch.set_num_threads(args.threads)
    model = load_agent(args.agent)
    suite = load_suite(args.suite or f"{args.agent}-v1", args.sounds)
    render_mode = "human" if args.human else "rgb_array" if args.pictures else None
    senses = senses_of(model, suite)

    def make_env() -> gym.Env:
        if not args.panels:
            return suite.make_env(render_mode=render_mode, **senses)
        return Panels(suite.make_env(render_mode="rgb_array", **senses), ModelPerceiver(model), render_mode)

    venv = DummyVecEnv([make_env])
    frames = model.observation_space["audio"].shape[-1] // venv.observation_space["audio"].shape[-1]
    venv = VecFrameStack(venv, frames)  # as many as the agent remembers

    for index, seed in enumerate(suite.seeds[: args.episodes]):
        venv.seed(seed)
        observations, state, done = venv.reset(), None, False
        starts = [True]
        while not done:
            if args.pictures:  # before the step: with the last one the environment begins another episode
                picture = venv.render()
            actions, state = model.predict(observations, state, starts, deterministic=True)
            observations, _, dones, infos = venv.step(actions)
            starts, done = dones, dones[0]
        info = infos[0]
        print(
            f"Episode {index}: found {info['num_found']} of {info['num_sources']} in {info['num_actions']} actions, "
            f"{info['path_length']:.1f} m, SPL {info['spl']:.2f}."
        )
        if args.pictures:
            args.pictures.mkdir(parents=True, exist_ok=True)
            made_by = {f"{args.agent}, episode {index}": Provenance.now(suite.describe(**senses))}
            path = args.pictures / f"episode-{index}.png"
            matplotlib.image.imsave(path, picture, metadata=to_metadata(made_by))
    venv.close()


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("agent", nargs="?", choices=agent_names(), default="two-sources", help="which agent")
    add("--suite", choices=list(SUITES), help="another world than its own")
    add("--sounds", type=Path, help="folder of recordings; the synthetic bank otherwise")
    add("--episodes", type=int, default=5)
    add("--human", action="store_true", help="show it in a window")
    add("--panels", action="store_true", help="show what it hears and makes of it, beside the room")
    add("--pictures", type=Path, help="folder for a picture of each episode, one action before its end")
    add("--card", action="store_true", help="print the agent's card and leave")
    add("--threads", type=int, default=1, help="of torch")
    args = parser.parse_args()
    if args.panels and not (args.human or args.pictures):
        parser.error("--panels: expected --human or --pictures beside it, as nothing is shown otherwise")
    return args


if __name__ == "__main__":
    main()
