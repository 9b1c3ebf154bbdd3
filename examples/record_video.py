"""Make a video of an agent that finds its sources, with the sound that it hears: watch it with headphones.

    python examples/record_video.py                                # writes runs/episode.mp4
    python examples/record_video.py four-sources --episode 3 --gif runs/episode.gif
    python examples/record_video.py greedy --suite l-shape-v1 --plan-only

Needs the extra "video".
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from auralnav_gym import SUITES, GreedyAgent, OracleAgent, RandomAgent, Suite, load_suite
from auralnav_gym.videos import frames, write_gif, write_video
from auralnav_sb3 import agent_names, load_agent, senses_of
from auralnav_sb3.provenance import Provenance, to_json
from auralnav_sb3.recordings import record

WITHOUT_LEARNING = {"random": RandomAgent, "greedy": GreedyAgent, "oracle": OracleAgent}


def main() -> None:
    parser = make_parser()
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    own_suite = f"{args.agent}-v1" if args.agent in agent_names() else "two-sources-v1"
    suite = load_suite(args.suite or own_suite, args.sounds)
    if not 0 <= args.episode < len(suite):
        parser.error(f"--episode: expected 0 to {len(suite) - 1}, actual: {args.episode}")
    agent: Any = WITHOUT_LEARNING[args.agent]() if args.agent in WITHOUT_LEARNING else load_agent(args.agent)
    name = Path(args.agent).name
    (recording,) = record(agent, only(suite, args.episode), name=name, num_episodes=1)
    recording = replace(recording, title=f"{suite.name}, episode {args.episode}")
    info = recording.info
    print(
        f"{recording.title}: {name} found {info['num_found']} of {info['num_sources']} in {info['num_actions']} "
        f"actions, {info['path_length']:.1f} m, SPL {info['spl']:.2f}."
    )

    senses = {} if args.agent in WITHOUT_LEARNING else senses_of(agent, suite)
    made_by = to_json({f"{name}, episode {args.episode}": Provenance.now(suite.describe(**senses))})
    panels = not args.plan_only
    for path in filter(None, (args.output, args.gif)):
        path.parent.mkdir(parents=True, exist_ok=True)
    sound, sample_rate = recording.sound, recording.sample_rate
    write_video(args.output, frames(recording, args.fps, panels), args.fps, sound, sample_rate, comment=made_by)
    print(args.output)
    if args.gif:
        pictures = frames(recording, args.gif_fps, panels)
        write_gif(args.gif, pictures, args.gif_fps, args.gif_width, hold=args.gif_hold, comment=made_by)
        print(args.gif)


def only(suite: Suite, episode: int) -> Suite:
    """The suite with one of its episodes."""
    return replace(suite, seeds=suite.seeds[episode : episode + 1])


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    others = ", ".join((*agent_names()[1:], *WITHOUT_LEARNING))
    add("agent", nargs="?", default="two-sources", help=f"{agent_names()[0]}, {others}, or the folder of an agent")
    add("--suite", choices=list(SUITES), help="its world; that of a shipped agent otherwise, or two-sources-v1")
    add("--sounds", type=Path, help="folder of recordings; the synthetic bank otherwise")
    add("--episode", type=int, default=0, help="which of the suite's")
    add("--output", type=Path, default=Path("runs/episode.mp4"), help="the video")
    add("--fps", type=float, default=30.0, help="frames a second")
    add("--plan-only", action="store_true", help="only the room from above, nothing of what the agent hears beside it")
    add("--gif", type=Path, help="a GIF as well")
    add("--gif-fps", type=float, default=20.0, help="frames a second of the GIF")
    add("--gif-width", type=int, default=960, help="pixels")
    add("--gif-hold", type=float, default=1.5, help="how much longer its last picture stays, seconds")
    add("--threads", type=int, default=1, help="of torch")
    return parser


if __name__ == "__main__":
    main()
