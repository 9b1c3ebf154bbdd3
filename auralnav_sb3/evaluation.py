"""How good is an agent? Any SB3 model or hand-written agent over the episodes of a suite, with intervals."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    VecEnv,
    VecEnvWrapper,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
)

from auralnav_gym import Agent, Suite, load_suite
from auralnav_gym.agents import act_to_the_end
from auralnav_gym.tables import markdown_table
from auralnav_sb3.provenance import Provenance
from auralnav_sb3.statistics import Interval, bootstrap_mean
from auralnav_sb3.vec_separated_cues import VecSeparatedCues


@dataclass(frozen=True)
class Episode:
    """What one episode came to.

    Attributes:
        success: 1.0 if every source was found, else 0.0.
        found: Share of the sources that was found, in [0, 1].
        spl: Success weighted by path length, in [0, 1].
        sna: Success weighted by number of actions, in [0, 1].
        episode_return: Sum of the rewards, not discounted.
        steps: Actions taken.
    """

    success: float
    found: float
    spl: float
    sna: float
    episode_return: float
    steps: float


METRICS = tuple(field.name for field in fields(Episode))


@dataclass(frozen=True)
class Evaluation:
    """The episodes of one agent.

    Attributes:
        suite: The name of the suite.
        episodes: In the order of the suite's seeds.
        made_by: The world in which they were played, :meth:`auralnav_gym.Suite.describe`, and the versions.
    """

    suite: str
    episodes: tuple[Episode, ...]
    made_by: Provenance = field(default_factory=Provenance, compare=False, repr=False)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Evaluation:
        """Turn what JSON made of an evaluation back into one."""
        episodes = tuple(Episode(**episode) for episode in content["episodes"])
        return cls(content["suite"], episodes, Provenance.from_json(content))

    def values(self, metric: str) -> np.ndarray:
        """One metric (see :class:`Episode`) of every episode, (n,) float64."""
        return np.array([getattr(episode, metric) for episode in self.episodes])

    def interval(self, metric: str, seed: int = 0) -> Interval:
        """The mean of one metric and its bootstrap interval over the episodes.

        Args:
            metric: One of ``METRICS``.
            seed: Of the resampling.
        """
        return bootstrap_mean(self.values(metric), seed)


def evaluate(
    agent: BaseAlgorithm | Agent | Callable[[Any], Any],
    suite: Suite | str,
    wrap: Callable[[VecEnv], VecEnv] | None = None,
    num_envs: int = 8,
    num_episodes: int | None = None,
    env_kwargs: Mapping[str, Any] | None = None,
    deterministic: bool = True,
) -> Evaluation:
    """Play the episodes of a suite, without exploration.

    Args:
        agent: An SB3 (or sb3-contrib) model, recurrent ones included; an :class:`auralnav_gym.Agent`; or a callable
            from an observation to an action, as the suite's environments take them.
        suite: The suite, or the name of a published one (:func:`auralnav_gym.load_suite`).
        wrap: Puts around the environments what the training put around its own, for a model that does not act on what
            they give: ``lambda venv: VecSeparatedCues(venv, extractor=extractor)``, `VecFrameStack`, `VecNormalize`
            with ``training=False``. Frames that are stacked on audio need no ``wrap``: their number is seen from the
            model's observation space.
        num_envs: Environments that a model acts in at the same time, its observations in one batch.
        num_episodes: Only the first so many of the suite; None: all.
        env_kwargs: Arguments of :meth:`auralnav_gym.Suite.make_env`. ``pose`` and ``motion`` need not be given
            for a model: they are what the model acts on, or what its own environments give.
        deterministic: Whether a model takes its best action, or draws one from its policy, as that of PPO or A2C is
            meant to be used: one that is always sure of itself walks in circles where the same is heard again. The
            draws are torch's, seeded for the evaluation.

    Returns:
        The episodes in the order of the suite's seeds. It does not depend on ``num_envs`` but for rounding within the
        model, and for the draws of one that is not deterministic.

    Raises:
        TypeError: ``wrap`` for an agent that is no SB3 model.
        ValueError: ``num_envs`` or ``num_episodes`` out of range; the model acts on other observations than the
            environments, wrapped, give; or ``wrap`` holds a `VecNormalize` that still learns.
    """
    return watch(Watcher(), agent, suite, wrap, num_envs, num_episodes, env_kwargs, deterministic)


class Watcher:
    """Looks on while a suite is played, for who fills in what is to be done with it; it must draw nothing."""

    def around(self, env: gym.Env) -> gym.Env:
        """Put a wrapper around an environment of the suite."""
        return env

    def before_action(self, venv: VecEnv, observations: Any, state: Any, starts: np.ndarray) -> None:
        """See what a model is about to act on.

        Args:
            venv: The environments with all that is wrapped around them.
            observations: What they gave last.
            state: Of the model, if it is recurrent; as are all, as ``model.predict`` takes it.
            starts: (num_envs,) bool, where an episode begins.
        """

    def after_action(self, venv: VecEnv, state: Any, dones: np.ndarray, infos: Sequence[Mapping[str, Any]]) -> None:
        """See what came of it.

        Args:
            venv: The environments with all that is wrapped around them.
            state: Of the model after it has acted, if it is recurrent.
            dones: (num_envs,) bool, where an episode has ended.
            infos: What the environments told, the last observation of an episode that has ended among it.
        """


def watch(
    watcher: Watcher,
    agent: BaseAlgorithm | Agent | Callable[[Any], Any],
    suite: Suite | str,
    wrap: Callable[[VecEnv], VecEnv] | None,
    num_envs: int,
    num_episodes: int | None,
    env_kwargs: Mapping[str, Any] | None,
    deterministic: bool,
) -> Evaluation:
    """`evaluate`, with somebody who looks on."""
    suite = load_suite(suite) if isinstance(suite, str) else suite
    num_episodes = len(suite) if num_episodes is None else num_episodes
    if not 1 <= num_episodes <= len(suite):
        raise ValueError(
            f"num_episodes: expected 1 to {len(suite)}, the episodes of {suite.name!r}, actual: {num_episodes}"
        )
    if num_envs < 1:
        raise ValueError(f"num_envs: expected 1 or more, actual: {num_envs}")
    if wrap is not None and not isinstance(agent, BaseAlgorithm):
        raise TypeError(
            f"wrap: expected None for an agent that is no SB3 model, actual: {wrap!r}. Such agents are given what the "
            "environment gives."
        )
    queue = _Queue(suite.seeds[:num_episodes])
    kwargs = dict(env_kwargs or {})
    if isinstance(agent, BaseAlgorithm):
        kwargs = senses_of(agent, suite) | kwargs
    make_env = partial(_make_env, suite, kwargs, watcher, queue)
    if isinstance(agent, BaseAlgorithm):
        _play_model(agent, make_env, queue, wrap, min(num_envs, num_episodes), deterministic, watcher)
    else:
        _play_agent(agent, make_env, queue)
    episodes = tuple(queue.episodes[index] for index in range(num_episodes))
    return Evaluation(suite.name, episodes, Provenance.now(suite.describe(**kwargs)))


def senses_of(model: BaseAlgorithm, suite: Suite) -> dict[str, bool]:
    """What environments must tell a model of itself, ``pose`` and ``motion`` of :meth:`auralnav_gym.Suite.make_env`.

    Args:
        model: Acts on audio, one frame or several stacked; or on anything, in environments of its own that give audio.
        suite: Tells how long a frame is.

    Returns:
        Arguments for ``suite.make_env``; none if the model does not tell.
    """
    space = model.observation_space
    if not isinstance(space, spaces.Dict) and model.env is not None:
        space = model.env.unwrapped.observation_space
    if not isinstance(space, spaces.Dict):
        return {}
    env = suite.make_env()
    heard = _shapes(env.observation_space)["audio"]
    env.close()
    shapes = _shapes(space)
    num_frames = max(shapes.get("audio", heard)[-1] // heard[-1], 1)
    known = shapes.get("agent", (0,))[-1] // num_frames
    return {"pose": known in (4, 6), "motion": known in (2, 6)}


def wrap_like(venv: VecEnv) -> Callable[[VecEnv], VecEnv]:
    """What `evaluate` must put around its environments for a model that acts in these: ``wrap_like(model.get_env())``.

    Args:
        venv: The environments that a model was trained in, with what is around them: any of `VecSeparatedCues`,
            `VecFrameStack`, `VecNormalize` and `VecMonitor`, in any order.

    Returns:
        The ``wrap`` of `evaluate`. It puts the same around other environments, in the same order: cues by the same
        extractor (not a copy), as many frames, and observations normalized by the averages as they stand when it is
        called. Rewards are left as they are, and nothing is monitored.

    Raises:
        ValueError: There is another wrapper.
    """
    wrappers: list[VecEnvWrapper] = []
    while isinstance(venv, VecEnvWrapper):
        wrappers.insert(0, venv)
        venv = venv.venv
    known = (VecSeparatedCues, VecFrameStack, VecNormalize, VecMonitor)
    unknown = [type(wrapper).__name__ for wrapper in wrappers if type(wrapper) not in known]
    if unknown:
        raise ValueError(
            f"venv: expected no wrappers but {', '.join(each.__name__ for each in known)}, actual: {unknown}. Give "
            "wrap= instead."
        )

    def wrap(venv: VecEnv) -> VecEnv:
        for wrapper in wrappers:
            venv = _put_around(venv, wrapper)
        return venv

    return wrap


def table(evaluations: Mapping[str, Evaluation], metrics: Sequence[str] = METRICS) -> str:
    """A Markdown table: a row an agent, a column a metric, each a mean and its interval."""
    header = ["agent", "suite", "episodes", *metrics]
    rows = [
        [name, each.suite, str(len(each.episodes)), *(str(each.interval(metric)) for metric in metrics)]
        for name, each in evaluations.items()
    ]
    return markdown_table(header, rows)


class _Queue:
    """The episodes that are still to be played, and the results of those that have been."""

    def __init__(self, seeds: Sequence[int]) -> None:
        self._waiting = iter(enumerate(seeds))
        self._num_episodes = len(seeds)
        self.episodes: dict[int, Episode] = {}

    def next(self) -> tuple[int, int] | None:
        """The index and the seed of the next episode; None when no one is left."""
        return next(self._waiting, None)

    @property
    def done(self) -> bool:
        """Whether all have been played to their end."""
        return len(self.episodes) == self._num_episodes


class _QueueEnv(gym.Wrapper):
    """Plays the episodes of a queue, one a reset, and notes what they come to.

    When the queue is empty it stands still, at no cost, and goes on giving its last observation, while others that
    share the queue play theirs to the end.
    """

    def __init__(self, env: gym.Env, queue: _Queue) -> None:
        super().__init__(env)
        self._queue = queue
        self._episode: tuple[int, int] | None = None  # index and seed
        self._last: tuple[Any, dict[str, Any]]

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """Begin the next episode, or the present one again."""
        if self._episode is None:
            self._episode = self._queue.next()
        if self._episode is not None:
            self._last = self.env.reset(seed=self._episode[1])
            self._return = 0.0
        return self._last

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Act."""
        if self._episode is None:
            return self._last[0], 0.0, False, False, dict(self._last[1])
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._return += float(reward)
        if terminated or truncated:
            self._queue.episodes[self._episode[0]] = _episode(info, self._return)
            self._episode = None
        self._last = observation, dict(info)  # DummyVecEnv writes to what it is given
        return observation, reward, terminated, truncated, info


def _episode(info: Mapping[str, Any], episode_return: float) -> Episode:
    return Episode(
        success=float(info["is_success"]),
        found=info["num_found"] / info["num_sources"],
        spl=float(info["spl"]),
        sna=float(info["sna"]),
        episode_return=episode_return,
        steps=float(info["num_actions"]),
    )


def _make_env(suite: Suite, kwargs: Mapping[str, Any], watcher: Watcher, queue: _Queue) -> gym.Env:
    return _QueueEnv(watcher.around(suite.make_env(**kwargs)), queue)


def _play_agent(agent: Agent | Callable[[Any], Any], make_env: Callable[[], gym.Env], queue: _Queue) -> None:
    env = make_env()
    try:
        while not queue.done:
            observation, _ = env.reset()
            act_to_the_end(env, agent, observation)
    finally:
        env.close()


def _play_model(
    model: BaseAlgorithm,
    make_env: Callable[[], gym.Env],
    queue: _Queue,
    wrap: Callable[[VecEnv], VecEnv] | None,
    num_envs: int,
    deterministic: bool,
    watcher: Watcher,
) -> None:
    raw: VecEnv = DummyVecEnv([make_env] * num_envs)
    try:
        venv = _stack_like(model, raw) if wrap is None else wrap(raw)
        _check(model, venv, wrapped=wrap is not None)
        state, starts = None, np.ones(num_envs, dtype=bool)
        observations: Any = venv.reset()
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            while not queue.done:
                watcher.before_action(venv, observations, state, starts)
                actions, state = model.predict(observations, state, starts, deterministic)
                observations, _, starts, infos = venv.step(actions)
                watcher.after_action(venv, state, starts, infos)
    finally:
        raw.close()


def _stack_like(model: BaseAlgorithm, venv: VecEnv) -> VecEnv:
    """Frames stacked if the model acts on several."""
    given, wanted = _shapes(venv.observation_space), _shapes(model.observation_space)
    ratios = {wanted[key][-1] / given[key][-1] for key in given.keys() & wanted.keys() if wanted[key]}
    ratio = ratios.pop() if len(ratios) == 1 else 1
    return VecFrameStack(venv, int(ratio)) if ratio > 1 and ratio == int(ratio) else venv


def _put_around(venv: VecEnv, wrapper: VecEnvWrapper) -> VecEnv:
    """Do to the observations of other environments what a wrapper does."""
    if isinstance(wrapper, VecSeparatedCues):
        return VecSeparatedCues(venv, wrapper.extractor, ideal=wrapper.ideal, slots=wrapper.slots)
    if isinstance(wrapper, VecFrameStack):
        return VecFrameStack(venv, wrapper.stacked_obs.n_stack)
    if isinstance(wrapper, VecNormalize) and wrapper.norm_obs:
        normalized = VecNormalize(
            venv,
            training=False,
            norm_reward=False,
            clip_obs=wrapper.clip_obs,
            epsilon=wrapper.epsilon,
            norm_obs_keys=wrapper.norm_obs_keys,
        )
        normalized.obs_rms = copy.deepcopy(wrapper.obs_rms)
        return normalized
    return venv


def _check(model: BaseAlgorithm, venv: VecEnv, wrapped: bool) -> None:
    given, wanted = _shapes(venv.observation_space), _shapes(model.observation_space)
    if given != wanted:
        cure = (
            "Give wrap= what the training put around its environments, or convert the model with "
            "auralnav_sb3.to_audio(model)."
            if not wrapped
            else "wrap= has to put around them what the training put around its own."
        )
        raise ValueError(
            f"agent: expected a model that acts on {_in_words(given)}, what the environments give, actual: "
            f"{_in_words(wanted)}. {cure}"
        )
    while isinstance(venv, VecEnvWrapper):
        if isinstance(venv, VecNormalize) and venv.training:
            raise ValueError(
                "wrap: expected VecNormalize with training=False, actual: True; its averages would go on changing with "
                "the episodes of the evaluation"
            )
        venv = venv.venv


def _shapes(space: spaces.Space) -> dict[str, tuple[int, ...]]:
    """The shapes of the parts of an observation, by key; "" where there is but one."""
    parts = space.spaces if isinstance(space, spaces.Dict) else {"": space}
    return {key: part.shape or () for key, part in parts.items()}


def _in_words(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return " and ".join(f"{key or 'a vector'} {shape}" for key, shape in sorted(shapes.items()))
