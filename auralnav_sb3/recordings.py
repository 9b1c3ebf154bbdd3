"""Episodes of a suite, recorded with what the agent made of what it heard: for pictures, videos and viewers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv, unwrap_vec_wrapper

from auralnav_gym import Agent, Suite, load_suite
from auralnav_gym.recording import Perception, Recorder, Recording
from auralnav_sb3.conversion import find_extractor
from auralnav_sb3.evaluation import Watcher, watch
from auralnav_sb3.perception import action_values, perceive, with_values
from auralnav_sb3.vec_separated_cues import VecSeparatedCues


def record(
    agent: BaseAlgorithm | Agent | Callable[[Any], Any],
    suite: Suite | str,
    wrap: Callable[[VecEnv], VecEnv] | None = None,
    num_episodes: int | None = 10,
    env_kwargs: Mapping[str, Any] | None = None,
    deterministic: bool = True,
    name: str = "",
) -> tuple[Recording, ...]:
    """Play the episodes of a suite as `evaluate` does, one after the other, and record them.

    The episodes, and what comes of them, are those of ``evaluate(agent, suite, wrap, num_envs=1, ...)`` with the same
    arguments.

    Models tell what they make of each observation: the separated sources, masks and cues of the
    `SeparatedCuesExtractor` in their policy, or of the `VecSeparatedCues` that ``wrap`` puts around the environments
    (with ``ideal=True`` its ideal sources); where there is neither, only what each action was worth. The sources are
    separated anew when an episode is over, all moments in one batch, which differs by rounding from what the model had
    when it acted (`auralnav_sb3.perception.perceive`). The values are those that it acted by; those of the last moment,
    after which it does not act, are what it would have gone by: of the last observation as SB3's wrappers hand it on
    (``info["terminal_observation"]``), with the frames and the state of before.

    An episode of 100 actions, 0.5 s each with two ears and two sources, takes about 10 MB.

    Args:
        agent: As `evaluate` takes it.
        suite: As `evaluate` takes it.
        wrap: As `evaluate` takes it.
        num_episodes: Only the first so many of the suite; None: all.
        env_kwargs: As `evaluate` takes it; ``{"source_audio": True}`` records every source alone, too.
        deterministic: As `evaluate` takes it.
        name: Who plays, in words; "": the name of the agent's class.

    Returns:
        In the order of the suite's seeds. Their ``seed`` is the suite's and their ``title`` such as "two-sources-v1,
        episode 3", counted from 0. Agents that are no models tell nothing: ``perceptions`` is empty.

    Raises:
        TypeError: See `evaluate`.
        ValueError: See `evaluate`.
    """
    suite = load_suite(suite) if isinstance(suite, str) else suite
    scribe = _Scribe(agent, suite.name, name or type(agent).__name__)
    watch(scribe, agent, suite, wrap, 1, num_episodes, env_kwargs, deterministic)
    return tuple(scribe.recordings)


class _Scribe(Watcher):
    """Records what is played in one environment."""

    def __init__(self, agent: Any, suite: str, name: str) -> None:
        self._agent, self._suite, self._name = agent, suite, name
        self._values: list[np.ndarray] = []
        self._kind = ""
        self.recordings: list[Recording] = []

    def around(self, env: gym.Env) -> gym.Env:
        return Recorder(env, self._note)

    def _note(self, recording: Recording) -> None:
        title = f"{self._suite}, episode {len(self.recordings)}"
        self.recordings.append(replace(recording, agent=self._name, title=title))

    def before_action(self, venv: VecEnv, observations: Any, state: Any, starts: np.ndarray) -> None:
        values, self._kind = action_values(self._agent, observations, state, starts)
        self._values.append(values[0])

    def after_action(self, venv: VecEnv, state: Any, dones: np.ndarray, infos: Sequence[Mapping[str, Any]]) -> None:
        if not dones[0]:
            return
        last = infos[0]["terminal_observation"]
        batch = {key: part[None] for key, part in last.items()} if isinstance(last, dict) else last[None]
        self.before_action(venv, batch, state, starts=np.zeros(1, dtype=bool))
        recording = self.recordings[-1]
        names = recording.world.actions.names
        perceptions = tuple(
            with_values(perception, values, self._kind, names)
            for perception, values in zip(self._hear(venv, recording), self._values, strict=True)
        )
        self.recordings[-1] = replace(recording, perceptions=perceptions)
        self._values = []

    def _hear(self, venv: VecEnv, recording: Recording) -> Sequence[Perception]:
        """What was made of the audio of each moment, without values."""
        separating = unwrap_vec_wrapper(venv, VecSeparatedCues)
        extractor, sources = find_extractor(self._agent), None
        scene = recording.snapshots[0].scene
        if isinstance(separating, VecSeparatedCues):
            extractor = separating.extractor
            if separating.ideal:
                assert recording.source_audio is not None
                sources = np.stack(
                    [
                        separating.ideal_sources({"source_audio": alone, "is_target": scene.is_target})
                        for alone in recording.source_audio
                    ]
                )
        if extractor is None:
            return [Perception.nothing()] * len(recording)
        example = None if scene.example is None else scene.example.clip(recording.audio.shape[-1])
        return perceive(extractor, recording.audio, example, sources)
