"""A person plays: steers an agent with the arrow keys, by ear alone or with the map.

In the order of use::

    suite = load_suite("two-sources-v1")
    log = PlayLog("runs/play/episodes.csv", suite)
    game = Game(Window(sample_rate=suite.sample_rate), suite, "Ann")
    game.run(log.next_episodes("Ann", 5), log, reference_agents(suite))
    game.close()
    print(log.to_markdown("Ann", ["random", "greedy", "oracle"]))

Time stands still until a key is pressed: a key is an action, after which as much is heard as agents hear at a step.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from auralnav_gym.agents import Agent, GreedyAgent, OracleAgent, RandomAgent
from auralnav_gym.movement import Action
from auralnav_gym.playing.log import AGENT, BY_EAR, WITH_MAP, PlayedEpisode, PlayLog
from auralnav_gym.playing.screens import (
    TIME_IS_SHORT,
    Line,
    Note,
    Standing,
    paint_cover,
    paint_result,
    paint_standing,
    paint_welcome,
    side_by_side,
)
from auralnav_gym.recording import Recorder, Recording, Snapshot, play, stereo
from auralnav_gym.rendering import PlanPainter, on_the_way
from auralnav_gym.suites import Suite
from auralnav_gym.window import Window
from auralnav_gym.world import World

ACTIONS = {"up": Action.FORWARD, "down": Action.BACKWARD, "left": Action.TURN_LEFT, "right": Action.TURN_RIGHT}
"""The action of each key, by pygame's name."""

REPEAT, MAP, ON, LEAVE = "space", "m", ("return", "enter", "n"), ("escape", "close")
"""The other keys: to hear the last window again, to show or hide the map, to go on, to leave."""

Rival = Callable[[int], Recording]
"""Plays an episode of a suite, given by its index, to its end."""

_FRAME_SECONDS = 0.05
# At this share of what is heard the last frame is shown; the rest is time to make what comes next without a gap.
_LAST_FRAME = 0.8
_NAP = 0.01  # seconds between two looks at the keys


class Game:
    """Episodes of a suite that a person plays in a window.

    Keys that are pressed while something is heard wait until it has ended; the last key goes on as long as it is held.

    Args:
        window: Is shown all there is to see, and plays what is heard; with the sample rate of the suite.
        suite: The suite.
        player: The name of the person.
        show_map: Whether episodes begin with the map shown.
    """

    def __init__(self, window: Window, suite: Suite, player: str, show_map: bool = False) -> None:
        self.window, self.suite, self.player = window, suite, player
        self._show_map = show_map
        self._env = Recorder(suite.make_env())
        self._world: Any = self._env.unwrapped
        self._painter = PlanPainter()
        self._waiting: deque[str] = deque()
        self._standing = Standing("", "", 0)
        self._has_left = False

    @property
    def how(self) -> str:
        """How the present episode, or the last one, counts as played: `BY_EAR` or `WITH_MAP`."""
        return WITH_MAP if self._standing.map_was_shown else BY_EAR

    def run(self, episodes: Sequence[int], log: PlayLog, rivals: Mapping[str, Rival]) -> list[Recording]:
        """Have the person play episodes, until all are played or the person leaves.

        What was played to its end is added to the log, with what rivals reach in it; an episode that was left is not.

        Args:
            episodes: Indices of episodes of the suite.
            log: Of the suite.
            rivals: Who plays the same episodes, by name.

        Returns:
            The person's episodes and, after each, the rivals'; their ``agent`` says who and how.
        """
        recordings: list[Recording] = []
        if not self._welcome(len(episodes)):
            return recordings
        for index in episodes:
            recording = self.play(index)
            if recording is None:
                break
            how = self.how
            results = [log.add(recording, index, self.player, how)]
            recordings.append(replace(recording, agent=f"{self.player}, {how}"))
            self._show_result(recording, results, list(rivals), log, is_last=index == episodes[-1])
            for name, rival in rivals.items():
                recordings.append(rival(index))
                results.append(log.add(recordings[-1], index, name, AGENT))
                self._show_result(recording, results, list(rivals), log, is_last=index == episodes[-1])
            if not self._goes_on():
                break
        return recordings

    def play(self, index: int) -> Recording | None:
        """Have the person play one episode.

        Args:
            index: Of the episode in the suite.

        Returns:
            The episode, to its end; None if the person has left it before.
        """
        env, world = self._env, self._world
        observation, info = env.reset(seed=self.suite.seeds[index])
        self._waiting.clear()
        self._standing = Standing(
            title=_title(self.suite, index),
            task=_task(world.config, _told_kinds(world)),
            num_targets=info["num_sources"],
            max_actions=None if env.spec is None else env.spec.max_episode_steps,
            note=Note("Listen."),
            map_is_shown=self._show_map,
            map_was_shown=self._show_map,
        )
        ended = False
        try:
            self._hear(observation["audio"], world.snapshot)
            while not ended:
                key, before = self._next_key(), world.snapshot
                if key in ACTIONS:
                    known = info
                    observation, _, terminated, truncated, info = env.step(world.actions.encode(ACTIONS[key]))
                    ended = terminated or truncated
                    self._tell(known, info)
                self._standing = replace(self._standing, key=key)
                self._hear(observation["audio"], before)
        except _LeftError:
            if not ended:
                return None
        return replace(env.recording, agent=self.player, title=self._standing.title)

    def close(self) -> None:
        """Close the window and the environment. May be called more than once."""
        self.window.close()
        self._env.close()

    def _tell(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        """Take over what came of an action, from the ``info`` before it and that after it."""
        self._standing = replace(self._standing, num_found=after["num_found"], num_actions=after["num_actions"])
        most, left = self._standing.max_actions, self._standing.num_targets - after["num_found"]
        if after["num_found"] > before["num_found"]:
            note = Note(f"Found one! {left} to go." if left else "Found!", "good")
        elif after["num_touched"] > before["num_touched"]:
            note = Note("That is not one to find.", "bad")
        elif after["collision"]:
            note = Note("A wall is in the way.", "bad")
        elif most is not None and most - after["num_actions"] <= TIME_IS_SHORT:
            note = Note("Time is running out.", "bad")
        else:
            note = Note("")
        self._standing = replace(self._standing, note=note)

    def _hear(self, audio: np.ndarray, before: Snapshot) -> None:
        """Play what is heard now (E, N), and show how the agent has come here from where it was before."""
        seconds, now = self._world.seconds_per_action, self._world.snapshot
        num_frames = max(1, round(seconds / _FRAME_SECONDS))
        frame = 0
        while frame <= _LAST_FRAME * num_frames:
            self._look_at_keys()
            share = frame / num_frames
            picture = self._picture(on_the_way(before, now, share * seconds, seconds), share)
            self.window.show(picture, stereo(audio) if frame == 0 else None, seconds / num_frames)
            if frame == 0:
                begun = time.monotonic()
            # What a slow computer has no time for is left out: the sound does not wait for pictures.
            frame = max(frame + 1, math.ceil((time.monotonic() - begun) / seconds * num_frames))

    def _next_key(self) -> str:
        """Wait for a key of an action, or the one that repeats."""
        while True:
            was_shown = self._standing.map_is_shown
            self._look_at_keys()
            if self._waiting:
                return self._waiting.popleft()
            for key in reversed(self.window.held()):
                if key in ACTIONS:
                    return key
            if self._standing.map_is_shown != was_shown:
                self.window.show(self._picture(self._world.snapshot, 0.0))
            time.sleep(_NAP)

    def _look_at_keys(self) -> None:
        """Take over the keys that were pressed: those of actions wait for their turn, the others work at once.

        Raises:
            _LeftError: If the person leaves.
        """
        pressed = self.window.keys()
        for key in pressed:
            if key in LEAVE:
                self._has_left = True
                raise _LeftError
            if key == MAP:
                shown = not self._standing.map_is_shown
                self._standing = replace(
                    self._standing, map_is_shown=shown, map_was_shown=shown or self._standing.map_was_shown
                )
            elif key in ACTIONS or key == REPEAT:
                self._waiting.append(key)

    def _picture(self, snapshot: Snapshot, phase: float) -> np.ndarray:
        """The screen while an episode is played. Of the snapshot nothing is seen while the map is hidden."""
        plan = self._painter.paint(snapshot, phase) if self._standing.map_is_shown else paint_cover()
        return side_by_side(plan, paint_standing(self._standing))

    def _welcome(self, num_episodes: int) -> bool:
        """Show the rules; says whether the person begins."""
        world = self._world.config
        title = f"{self.suite.name}, {num_episodes} episode{'' if num_episodes == 1 else 's'}"
        task = _task(world, world.target_kinds or ())
        rules = paint_welcome(title, task, self._world.body, self._world.seconds_per_action)
        self.window.show(side_by_side(paint_cover(""), rules))
        return self._goes_on()

    def _goes_on(self) -> bool:
        """Wait for a key: whether the person goes on or leaves."""
        while not self._has_left:
            pressed = self.window.keys()
            for key in pressed:
                if key in ON or key in LEAVE:
                    return key in ON
            time.sleep(_NAP)
        return False

    def _show_result(
        self, recording: Recording, results: Sequence[PlayedEpisode], rivals: Sequence[str], log: PlayLog, is_last: bool
    ) -> None:
        """Show the map and what the person and, as far as it is known, the rivals have reached."""
        num_targets, own = recording.info["num_sources"], results[0]
        unknown = [Line(name) for name in rivals[len(results) - 1 :]]
        lines = [*(_line(each, num_targets) for each in results), *unknown]
        recorded = f"Recorded as played {own.how} in {log.path.name}."
        if own.attempt > 1:
            recorded += f" You have played it before: tables leave attempt {own.attempt} out."
        result = paint_result(self._standing.title, _headline(recording), lines, recorded, is_last)
        self.window.show(side_by_side(self._painter.paint(recording.snapshots[-1], 0.0), result))


def reference_agents(suite: Suite) -> dict[str, Rival]:
    """The agents that know the scene or nothing: random, greedy and oracle, on the episodes of a suite.

    What a random agent does in an episode follows from its index.
    """

    def rival(name: str, make_agent: Callable[[int], Agent]) -> Rival:
        def play_episode(index: int) -> Recording:
            env = suite.make_env()
            try:
                recording = play(env, make_agent(index), seed=suite.seeds[index])
            finally:
                env.close()
            return replace(recording, agent=name, title=_title(suite, index))

        return play_episode

    makers: dict[str, Callable[[int], Agent]] = {
        "random": RandomAgent,
        "greedy": lambda index: GreedyAgent(),
        "oracle": lambda index: OracleAgent(),
    }
    return {name: rival(name, make_agent) for name, make_agent in makers.items()}


class _LeftError(Exception):
    """The person has left."""


def _title(suite: Suite, index: int) -> str:
    return f"{suite.name}, episode {index}"


def _told_kinds(world: Any) -> Sequence[str]:
    """The kinds of sound to find, as far as agents are told or could know."""
    if world.goal is None:
        return world.config.target_kinds or ()
    return sorted({source.sound.kind for source in world.scene.sources if source.is_target})


def _task(world: World, kinds: Sequence[str]) -> str:
    """What is to be done, in a few words."""
    count, others = world.num_sources, world.num_distractors
    what = f"the {' or '.join(kinds)}" if kinds else "the sound"
    if count > 1:
        what = f"all {count} sounds{f' of {what[4:]}' if kinds else ''}" if count > 2 or kinds else "both sounds"
    keep_off = f", keep off the {'other one' if others == 1 else f'{others} others'}" if others else ""
    return f"Find {what}{keep_off}"


def _headline(recording: Recording) -> Note:
    info = recording.info
    if info["is_success"]:
        return Note(f"{'All found' if info['num_sources'] > 1 else 'Found'} in {info['num_actions']} actions", "good")
    if recording.truncated:
        return Note(f"Time is up: found {info['num_found']} of {info['num_sources']}", "bad")
    return Note("That was not one to find", "bad")


def _line(episode: PlayedEpisode, num_targets: int) -> Line:
    found = f"{round(episode.found * num_targets)} of {num_targets}"
    numbers = (f"{episode.spl:.2f}", f"{episode.sna:.2f}", str(episode.steps), f"{episode.path_length:.1f}")
    return Line(episode.player, (found, *numbers), (episode.spl, episode.sna))
