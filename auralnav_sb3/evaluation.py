"""How good is an agent? Any SB3 model or hand-written agent over a fixed list of seeded episodes, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import gymnasium as gym
import numpy as np
from scipy.stats import bootstrap
from stable_baselines3.common.base_class import BaseAlgorithm

from auralnav_gym.agents import Agent
from auralnav_sb3.extractor import SeparatedCuesExtractor, extract_features

CONFIDENCE = 0.95
_RESAMPLES = 9999


@dataclass(frozen=True)
class Episode:
    """What one episode came to.

    Attributes:
        success: 1.0 if every source was found, else 0.0.
        found: Share of the sources that was found, in [0, 1].
        spl: Success weighted by path length, in [0, 1].
        sna: Success weighted by number of actions, in [0, 1].
        episode_return: Sum of the rewards.
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
class Interval:
    """A mean and its 95 % percentile bootstrap interval over episodes (Efron and Tibshirani 1993, chapter 13)."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        """As in ``0.97 [0.93, 1.00]``."""
        return f"{self.mean:.2f} [{self.low:.2f}, {self.high:.2f}]"


@dataclass(frozen=True)
class Evaluation:
    """The episodes of one agent, in the order of their seeds."""

    episodes: tuple[Episode, ...]

    def values(self, metric: str) -> np.ndarray:
        """One metric (see :class:`Episode`) of every episode, (n,) float64."""
        return np.array([getattr(episode, metric) for episode in self.episodes])

    def interval(self, metric: str, seed: int = 0) -> Interval:
        """The mean of one metric and its interval.

        Args:
            metric: One of ``METRICS``.
            seed: Of the resampling.
        """
        values = self.values(metric)
        if np.ptp(values) == 0:  # resampling equal values gives that value
            return Interval(float(values[0]), float(values[0]), float(values[0]))
        spread = bootstrap(
            (values,),
            np.mean,
            n_resamples=_RESAMPLES,
            confidence_level=CONFIDENCE,
            method="percentile",
            rng=np.random.default_rng(seed),
        ).confidence_interval
        return Interval(float(values.mean()), float(spread.low), float(spread.high))


def evaluate(
    agent: BaseAlgorithm | Agent | Callable[[Any], int],
    make_env: Callable[[], gym.Env],
    seeds: Sequence[int],
    extractor: SeparatedCuesExtractor | None = None,
    num_envs: int = 8,
) -> Evaluation:
    """Run an agent, without exploration, once for every seed.

    Args:
        agent: An SB3 (or sb3-contrib) model, recurrent ones included; an :class:`auralnav_gym.Agent`; or a callable
            from an observation to an action.
        make_env: Makes an environment with AuralNav's ``info`` and a time limit, as in
            ``lambda: gym.make("AuralNav-v0", sounds=test_sounds)``.
        seeds: ``env.reset(seed=seed)`` begins episode by episode; the same seeds give the same episodes.
        extractor: For a model that was trained on `VecSeparatedCues`: the extractor of that wrapper.
        num_envs: Environments that a model acts in at the same time, its observations in one batch.

    Returns:
        The episodes in the order of ``seeds``. It does not depend on ``num_envs`` but for rounding within the model.

    Raises:
        ValueError: No seeds, or ``num_envs`` below 1.
    """
    if not len(seeds):
        raise ValueError("seeds: expected at least one, actual: none")
    if num_envs < 1:
        raise ValueError(f"num_envs: expected 1 or more, actual: {num_envs}")
    if isinstance(agent, BaseAlgorithm):
        return Evaluation(_run_model(agent, make_env, list(seeds), extractor, min(num_envs, len(seeds))))
    env = make_env()
    try:
        return Evaluation(tuple(_run_agent(agent, env, int(seed)) for seed in seeds))
    finally:
        env.close()


def table(evaluations: Mapping[str, Evaluation], metrics: Sequence[str] = METRICS) -> str:
    """A Markdown table: a row an agent, a column a metric, each a mean and its interval."""
    header = ["agent", "episodes", *metrics]
    rows = [
        [name, str(len(evaluation.episodes)), *(str(evaluation.interval(metric)) for metric in metrics)]
        for name, evaluation in evaluations.items()
    ]
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    lines = [header, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    )


def _run_agent(agent: Agent | Callable[[Any], int], env: gym.Env, seed: int) -> Episode:
    observation, _ = env.reset(seed=seed)
    if isinstance(agent, Agent):
        agent.reset(env)
    act = agent.act if isinstance(agent, Agent) else agent
    episode_return, ended = 0.0, False
    while not ended:
        observation, reward, terminated, truncated, info = env.step(act(observation))
        episode_return += float(reward)
        ended = terminated or truncated
    return _episode(info, episode_return)


def _run_model(
    model: BaseAlgorithm,
    make_env: Callable[[], gym.Env],
    seeds: list[int],
    extractor: SeparatedCuesExtractor | None,
    num_envs: int,
) -> tuple[Episode, ...]:
    envs = [make_env() for _ in range(num_envs)]
    waiting: Iterator[tuple[int, int]] = iter(enumerate(seeds))
    results: dict[int, Episode] = {}
    running = [_Running(env, *next(waiting)) for env in envs]
    state, starts = None, np.ones(num_envs, dtype=bool)
    try:
        while running:
            observations = _stack([each.observation for each in running])
            if extractor is not None:
                observations = extract_features(extractor, observations)
            actions, state = model.predict(observations, state=state, episode_start=starts, deterministic=True)
            starts = np.zeros(len(running), dtype=bool)
            still_running = np.ones(len(running), dtype=bool)
            for slot, action in enumerate(actions):
                each = running[slot]
                if not each.step(action):
                    continue
                results[each.index] = _episode(each.info, each.episode_return)
                following = next(waiting, None)
                starts[slot] = True
                still_running[slot] = following is not None
                if following is not None:
                    running[slot] = _Running(each.env, *following)
            running = [each for each, keep in zip(running, still_running, strict=True) if keep]
            starts = starts[still_running]
            # The state of a recurrent policy: arrays (layers, environments, units).
            state = None if state is None else tuple(part[:, still_running] for part in state)
    finally:
        for env in envs:
            env.close()
    return tuple(results[index] for index in range(len(seeds)))


class _Running:
    """An episode that is being played."""

    def __init__(self, env: gym.Env, index: int, seed: int) -> None:
        self.env = env
        self.index = index
        self.observation, self.info = env.reset(seed=seed)
        self.episode_return = 0.0

    def step(self, action: Any) -> bool:
        """Act; whether the episode has ended."""
        self.observation, reward, terminated, truncated, self.info = self.env.step(action)
        self.episode_return += float(reward)
        return bool(terminated or truncated)


def _stack(observations: list[Any]) -> Any:
    if isinstance(observations[0], dict):
        return {key: np.stack([each[key] for each in observations]) for key in observations[0]}
    return np.stack(observations)


def _episode(info: Mapping[str, Any], episode_return: float) -> Episode:
    return Episode(
        success=float(info["is_success"]),
        found=info["num_found"] / info["num_sources"],
        spl=float(info["spl"]),
        sna=float(info["sna"]),
        episode_return=episode_return,
        steps=float(info["num_actions"]),
    )
