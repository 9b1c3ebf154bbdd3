"""What happened in an episode, step by step: what pictures, videos and viewers are made from.

In the order of use::

    env = Recorder(gym.make("AuralNav-v0"))
    recording = play(env, OracleAgent(), seed=0)
    recording.sound  # (2, T) float32, all that the ears heard

An episode of M - 1 actions has M observations, and so M moments: moment 0 is the start, moment m is after action m - 1,
and what was heard in it is ``audio[m]``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded

from auralnav_gym.agents import Agent, act_to_the_end
from auralnav_gym.movement import Body, Pose
from auralnav_gym.scene import Scene
from auralnav_gym.world import World


@dataclass(frozen=True, eq=False)
class Snapshot:
    """An episode as it stands at one moment: all that a picture of the room from above shows.

    Attributes:
        scene: The room and the sources.
        body: The agent's size and reach.
        path: The poses since the start, that at the start included, one for every action; the last is the present one.
        on: (S,) bool, whether each source is still to be heard, targets that were found not.
        ears: (E, D) float64, the ears in the world, metres: the left one, the right one, and more if there are.
        source_positions: (S, D) float64, where the sources are now, metres.
        num_touched: How often a distractor was entered so far.
    """

    scene: Scene
    body: Body
    path: tuple[Pose, ...]
    on: np.ndarray
    ears: np.ndarray
    source_positions: np.ndarray
    num_touched: int = 0

    @property
    def pose(self) -> Pose:
        """Where the agent is now."""
        return self.path[-1]

    @property
    def num_actions(self) -> int:
        """Actions taken so far."""
        return len(self.path) - 1


@dataclass(frozen=True, eq=False)
class Perception:
    """What an agent makes of one observation: the sources, their cues, and what each action is worth.

    Everything but ``masks`` may be empty (S = 0, K = 0, A = 0) where an agent has no such thing.

    Attributes:
        sources: (S, N) float32, the separated sources, mono, at the scale of the mixture.
        masks: (S, F, W) float32, at least 0, the share of each source in the time-frequency bins of the mixture; F
            frequencies from 0 to half the sample rate, W windows evenly spaced from the first sample on.
        cues: (S, K) float32, each source's pooled cues, as the policy is given them.
        cue_names: K names, such as ``("sin_ipd", "cos_ipd", "ild", "log_volume")``.
        values: (A,) float32, by ``value_kind``: what each action is worth, or how probable it is, or the action itself.
        value_names: A names: the world's ``actions.names``.
        value_kind: "Q-value", "probability", or "action" where actions are continuous; "" where there are no values.
        hop: Samples from one window of the masks to the next.
    """

    sources: np.ndarray
    masks: np.ndarray
    cues: np.ndarray
    cue_names: tuple[str, ...] = ()
    values: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.float32))
    value_names: tuple[str, ...] = ()
    value_kind: str = ""
    hop: int = 128

    @classmethod
    def nothing(cls) -> Perception:
        """Of an agent that tells nothing."""
        none = np.zeros((0, 0), dtype=np.float32)
        return cls(sources=none, masks=np.zeros((0, 0, 0), dtype=np.float32), cues=none)


@runtime_checkable
class Perceiver(Protocol):
    """Tells what an agent makes of the observations of one environment, which it is given one after the other."""

    def reset(self) -> None:
        """An episode begins: the next observation is its first."""
        ...

    def perceive(self, observation: Mapping[str, np.ndarray]) -> Perception:
        """What the agent makes of the next observation of the episode."""
        ...


@dataclass(frozen=True, eq=False)
class Recording:
    """An episode, from its start to its end or to where it was left.

    Attributes:
        world: What the environment was made with.
        snapshots: M, one for each moment.
        audio: (M, E, N) float32 in [-1, 1], what was observed in each moment.
        actions: M - 1, as the environment takes them: an int, or (2,) float.
        reward_terms: (M - 1,) float64 each, by the names of the terms; their sum is the reward.
        info: That of the last moment, without arrays: is_success, num_found, num_sources, num_touched, path_length,
            num_actions, collision, spl, sna, distance_to_nearest.
        terminated: Whether the episode ended by the rules of the game.
        truncated: Whether it ran out of time.
        seed: What the environment was reset with; None: not known.
        agent: Who played, in words.
        title: What it is an episode of, in words, such as "two-sources-v1, episode 3".
        source_audio: (M, S, E, N) float32, every source alone at the ears; None unless the environment was made with
            ``source_audio=True``.
        perceptions: M, what the agent made of each observation; empty where that is not known.
    """

    world: World
    snapshots: tuple[Snapshot, ...]
    audio: np.ndarray
    actions: tuple[Any, ...]
    reward_terms: Mapping[str, np.ndarray]
    info: Mapping[str, Any]
    terminated: bool
    truncated: bool
    seed: int | None = None
    agent: str = ""
    title: str = ""
    source_audio: np.ndarray | None = None
    perceptions: tuple[Perception, ...] = ()

    def __len__(self) -> int:
        """M, the number of moments."""
        return len(self.snapshots)

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return self.world.sample_rate

    @property
    def seconds_per_moment(self) -> float:
        """How long a moment lasts: what is heard in it."""
        return self.audio.shape[-1] / self.world.sample_rate

    @property
    def sound(self) -> np.ndarray:
        """(2, M * N) float32: what the left and the right ear heard, one moment after the other.

        Of more than two ears the first two; a single one is heard on both sides.
        """
        return stereo(np.concatenate(list(self.audio), axis=-1))

    @property
    def separated_sound(self) -> np.ndarray:
        """(S, M * N) float32: the separated sources one moment after the other, S = 0 where they are not known."""
        if not any(len(perception.sources) for perception in self.perceptions):
            return np.zeros((0, len(self) * self.audio.shape[-1]), dtype=np.float32)
        return np.concatenate([perception.sources for perception in self.perceptions], axis=-1)

    @property
    def rewards(self) -> np.ndarray:
        """(M - 1,) float64."""
        return np.sum(list(self.reward_terms.values()), axis=0) if self.reward_terms else np.zeros(len(self) - 1)

    @property
    def action_names(self) -> tuple[str, ...]:
        """M - 1, the actions in words, as :meth:`auralnav_gym.ActionScheme.describe` has it."""
        return tuple(self.world.actions.describe(action) for action in self.actions)


def stereo(audio: np.ndarray) -> np.ndarray:
    """The left and the right ear of what is observed: (E, N) -> (2, N); a single ear is heard on both sides."""
    return np.repeat(audio, 2, axis=0) if len(audio) == 1 else audio[:2]


def between(before: Snapshot, after: Snapshot, share: float) -> Snapshot:
    """What lies between two moments in a row, for pictures that move without a jump.

    Args:
        before: A moment.
        after: The next.
        share: How far the agent and the sources are on the way, in [0, 1].

    Returns:
        ``after`` with the agent, its ears and the sources on straight lines between where they were and where they
        are, and the heading on the shorter way round. What is on, found and touched is as after it.
    """
    if share >= 1:
        return after
    old, new = before.pose, after.pose
    turned = math.remainder(new.heading - old.heading, 2 * math.pi)
    left = (1 - share) * turned  # still to turn
    pose = Pose(old.x + share * (new.x - old.x), old.y + share * (new.y - old.y), old.heading + share * turned)
    cosine, sine = math.cos(-left), math.sin(-left)
    offsets = after.ears.copy()
    offsets[:, :2] = (after.ears[:, :2] - new.position) @ np.array([[cosine, sine], [-sine, cosine]]) + pose.position
    places = before.source_positions + share * (after.source_positions - before.source_positions)
    return replace(after, path=(*after.path[:-1], pose), ears=offsets, source_positions=places)


class Recorder(gym.Wrapper):
    """Records the episodes that are played in an environment.

    Args:
        env: An :class:`auralnav_gym.AuralNavEnv`, or wrappers around one that leave ``observation["audio"]`` as it is.
        on_end: Is given every episode's recording when it ends. One that is left before its end (by ``reset`` or
            ``close``) is not among them.
    """

    def __init__(self, env: gym.Env, on_end: Callable[[Recording], None] | None = None) -> None:
        super().__init__(env)
        self._on_end = on_end
        self._snapshots: list[Snapshot] = []

    @property
    def recording(self) -> Recording:
        """The present episode so far, or the last one if it has ended.

        Raises:
            ResetNeeded: Before the first reset.
        """
        if not self._snapshots:
            raise ResetNeeded("There is nothing recorded yet: call reset() first.")
        names = self._reward_terms[0] if self._reward_terms else ()
        alone = self._source_audio
        return Recording(
            world=self.unwrapped.config,  # type: ignore[attr-defined]
            snapshots=tuple(self._snapshots),
            audio=np.stack(self._audio),
            actions=tuple(self._actions),
            reward_terms={name: np.array([terms[name] for terms in self._reward_terms]) for name in names},
            info={key: value for key, value in self._info.items() if np.isscalar(value)},
            terminated=self._terminated,
            truncated=self._truncated,
            seed=self._seed,
            source_audio=np.stack(alone) if alone else None,
        )

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode, and its recording."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._snapshots = []
        self._audio: list[np.ndarray] = []
        self._source_audio: list[np.ndarray] = []
        self._actions: list[Any] = []
        self._reward_terms: list[Mapping[str, float]] = []
        self._seed, self._terminated, self._truncated = seed, False, False
        self._note(observation, info)
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Act, and note what came of it."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._actions.append(int(action) if np.ndim(action) == 0 else np.array(action, dtype=np.float32))
        self._reward_terms.append(info["rewards"])
        self._terminated, self._truncated = terminated, truncated
        self._note(observation, info)
        if (terminated or truncated) and self._on_end is not None:
            self._on_end(self.recording)
        return observation, reward, terminated, truncated, info

    def _note(self, observation: Mapping[str, np.ndarray], info: dict[str, Any]) -> None:
        self._snapshots.append(self.unwrapped.snapshot)  # type: ignore[attr-defined]
        self._audio.append(np.array(observation["audio"]))
        if "source_audio" in info:
            self._source_audio.append(info["source_audio"])
        self._info = dict(info)  # others, such as SB3's DummyVecEnv, write to it


def play(
    env: gym.Env,
    agent: Agent | Callable[[Any], Any],
    seed: int | None = None,
    options: dict[str, Any] | None = None,
) -> Recording:
    """Play an episode to its end.

    Args:
        env: As :class:`Recorder` takes it; with a time limit, as those of ``gym.make`` have.
        agent: An :class:`Agent`, or a function from an observation to an action.
        seed: Of the reset.
        options: Of the reset.

    Returns:
        The episode; ``agent`` says the name of the agent's class.
    """
    recorder = env if isinstance(env, Recorder) else Recorder(env)
    observation, _ = recorder.reset(seed=seed, options=options)
    act_to_the_end(recorder, agent, observation)
    return replace(recorder.recording, agent=type(agent).__name__)
