"""Play yourself: steer with the arrow keys and find the sounds by ear. Put on headphones.

    python examples/play.py                          # 5 episodes, the map hidden
    python examples/play.py --map                    # with the map
    python examples/play.py --suite human-v1         # human ears, which sound most natural
    python examples/play.py --view runs/play.html    # and see the episodes again, with those of the agents

Time stands still until a key is pressed: a key is an action, after which you hear as much as an agent does. What you
reach is recorded in --record beside what agents reach in the very same episodes; playing again goes on with those that
you have not played. Needs the extra "render"; with "sb3" the agent that is trained for the suite plays as well, and
the tables have intervals; --view needs "viewer".
"""

from __future__ import annotations

import argparse
import getpass
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from auralnav_gym import SUITES, Suite, load_suite, versions
from auralnav_gym.playing import AGENT, Game, PlayLog, Rival, mean_in_words, reference_agents
from auralnav_gym.recording import Recording
from auralnav_gym.viewer import write_viewer
from auralnav_gym.window import Window

try:  # the extra sb3
    import torch

    from auralnav_sb3 import agent_names, bootstrap_mean, load_agent
    from auralnav_sb3.recordings import record

    AGENTS: tuple[str, ...] = agent_names()
except ModuleNotFoundError:
    AGENTS = ()
LEARNERS = ("torch", "stable-baselines3", "sb3-contrib", "asteroid")


def main() -> None:
    args = parse_args()
    suite = load_suite(args.suite, args.sounds)
    rivals = make_rivals(args.beside, suite, args.suite)
    log = PlayLog(args.record, suite, versions(*LEARNERS) if AGENTS else None)
    episodes = [args.episode] if args.episode is not None else log.next_episodes(args.name, args.episodes)
    if not episodes:
        print(f"{args.name} has played all episodes of {suite.name}: choose one by --episode, or another --suite.")
        return
    game = Game(Window(sample_rate=suite.sample_rate), suite, args.name, show_map=args.map)
    try:
        recordings = game.run(episodes, log, rivals)
    finally:
        game.close()
    report(recordings, log, args.name, rivals)
    if args.view and recordings:
        view(args.view, recordings, suite)


def make_rivals(names: Sequence[str] | None, suite: Suite, published: str) -> dict[str, Rival]:
    """Who plays the same episodes: by default random, greedy, oracle and, if it can be, the suite's own agent."""
    known = reference_agents(suite)
    if names is None:
        names = [*known, *(name for name in AGENTS if f"{name}-v1" == published)]
    return {name: known[name] if name in known else make_trained(name, suite) for name in names}


def make_trained(name: str, suite: Suite) -> Rival:
    """A shipped agent, which plays episodes of the suite."""
    torch.set_num_threads(1)
    model = load_agent(name, device="cpu")

    def play_episode(index: int) -> Recording:
        alone = replace(suite, seeds=suite.seeds[index : index + 1])
        (recording,) = record(model, alone, num_episodes=None, name=name)
        return replace(recording, title=f"{suite.name}, episode {index}")

    return play_episode


def report(recordings: Sequence[Recording], log: PlayLog, name: str, rivals: Mapping[str, Rival]) -> None:
    """Print what each episode came to, and tables of all that the person has played in this suite so far."""
    for recording in recordings:
        info = recording.info
        print(
            f"{recording.title}, {recording.agent}: found {info['num_found']} of {info['num_sources']} in "
            f"{info['num_actions']} actions, {info['path_length']:.1f} m, SPL {info['spl']:.2f}, SNA {info['sna']:.2f}."
        )
    for agent, index in log.missing(name, rivals):  # episodes that were played without them
        log.add(rivals[agent](index), index, agent, AGENT)
    tables = log.to_markdown(name, list(rivals), mean_and_interval if AGENTS else mean_in_words)
    if tables:
        print(f"\n{tables}\n")
        print(f"Means{' and 95 % bootstrap intervals' if AGENTS else ''} over the episodes.")
        print(f"Recorded in {log.path}.")
    else:
        print("No episode was played to its end, so nothing is recorded.")


def mean_and_interval(values: np.ndarray, digits: int) -> str:
    """The mean of values (n,) and its interval; of a few values that is too narrow."""
    each = bootstrap_mean(values)
    return f"{each.mean:.{digits}f} [{each.low:.{digits}f}, {each.high:.{digits}f}]"


def view(path: Path, recordings: Sequence[Recording], suite: Suite) -> None:
    """Write a page on which the episodes can be seen and heard again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made_by = {"configuration": suite.describe(), "versions": versions()}
    write_viewer(path, recordings, title=f"{suite.name}, played", made_by=made_by)
    print(f"To see and hear the episodes again: {path}")


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--suite", choices=list(SUITES), default="two-sources-v1", help="whose episodes")
    add("--sounds", type=Path, help="folder of recordings; the synthetic bank otherwise")
    add("--episodes", type=int, default=5, help="how many, from the first that you have not played")
    add("--episode", type=int, help="this one instead, counted from 0")
    add("--name", default=user_name(), help="yours, for the record")
    add("--map", action="store_true", help="begin with the map shown; the key M shows and hides it at any time")
    agents = ["random", "greedy", "oracle", *AGENTS]
    add("--beside", nargs="*", choices=agents, help="who plays the same episodes; all that fit the suite otherwise")
    add("--record", type=Path, default=Path("runs/play/episodes.csv"), help="where results are added")
    add("--view", type=Path, help="html file to write, for seeing and hearing the episodes again")
    args = parser.parse_args()
    count = len(SUITES[args.suite])
    if args.episodes < 1 or not 0 <= (args.episode or 0) < count:
        parser.error(f"expected --episodes of 1 or more and --episode from 0 to {count - 1}")
    if args.view and not all(map(find_spec, ("jinja2", "plotly"))):  # before the game, not after it
        parser.error('--view needs jinja2 and plotly. Run `pip install "auralnav[viewer]"`.')
    return args


def user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # nobody knows
        return "person"


if __name__ == "__main__":
    main()
