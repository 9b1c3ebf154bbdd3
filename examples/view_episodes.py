"""See and hear what agents do: a page with the episodes of a suite, to be opened in a browser from the disk.

    python examples/view_episodes.py                                # writes runs/episodes.html
    python examples/view_episodes.py four-sources random --episodes 3
    python examples/view_episodes.py oracle greedy --suite l-shape-v1 --source-audio

Needs the extra "viewer".
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from auralnav_gym import SUITES, GreedyAgent, OracleAgent, RandomAgent, load_suite
from auralnav_gym.recording import Recording
from auralnav_gym.viewer import write_viewer
from auralnav_sb3 import agent_names, load_agent, senses_of
from auralnav_sb3.provenance import Provenance
from auralnav_sb3.recordings import record

WITHOUT_LEARNING = {"random": RandomAgent, "greedy": GreedyAgent, "oracle": OracleAgent}


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    shipped = [f"{name}-v1" for name in args.agents if name in agent_names()]
    suite = load_suite(args.suite or (shipped or ["two-sources-v1"])[0], args.sounds)
    recordings: list[Recording] = []
    made_by = {}
    for name in args.agents:
        agent: Any = WITHOUT_LEARNING[name]() if name in WITHOUT_LEARNING else load_agent(name)
        kwargs = {"source_audio": args.source_audio}
        recordings += record(agent, suite, num_episodes=args.episodes, env_kwargs=kwargs, name=name)
        senses = {} if name in WITHOUT_LEARNING else senses_of(agent, suite)
        made_by[name] = asdict(Provenance.now(suite.describe(**senses, **kwargs)))
        found = [recording.info["is_success"] for recording in recordings[-args.episodes :]]
        print(f"{name}: {sum(found)} of {len(found)} episodes with success")
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_viewer(args.output, recordings, title=f"{suite.name}: {', '.join(args.agents)}", made_by=made_by)
    print(args.output)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    others = ", ".join((*agent_names(), *WITHOUT_LEARNING))
    add("agents", nargs="*", default=["two-sources", "greedy"], help=f"any of {others}, or folders of agents")
    add("--suite", choices=list(SUITES), help="their world; that of the first shipped agent otherwise")
    add("--sounds", type=Path, help="folder of recordings; the synthetic bank otherwise")
    add("--episodes", type=int, default=5, help="of each agent, the first of the suite")
    add("--source-audio", action="store_true", help="every source to be listened to alone; a larger file")
    add("--output", type=Path, default=Path("runs/episodes.html"))
    add("--threads", type=int, default=1, help="of torch")
    return parser.parse_args()


if __name__ == "__main__":
    main()
