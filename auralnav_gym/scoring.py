"""What an action earns and what an episode is worth: rewards, SPL and SNA."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import compress
from numbers import Real

import numpy as np


@dataclass(frozen=True)
class Rewards:
    """Weights of the terms whose sum is the reward. The fields' defaults are those of :meth:`default`.

    Attributes:
        step: Paid for every action, turns included.
        turn: Paid in addition to ``step`` for a whole turn, and in proportion for a part of one.
        walk: Paid per metre walked (1/m), forwards or backwards, in addition to ``step``. What SPL counts.
        found: Paid for every target that the action found.
        all_found: Paid once, when the last target is found.
        touched: Paid for every distractor that the action entered.
        progress: Paid per metre by which the nearest sounding target came nearer (1/m). Those that sounded before
            the action count, before it and after it, so that switching one off makes no jump to the next.
        proximity: Paid times 1 / distance to the nearest target that still sounds after the action (m).

    Raises:
        ValueError: If a weight is not a finite number.
    """

    step: float = -0.002
    turn: float = 0.0
    walk: float = -0.2
    found: float = 1.0
    all_found: float = 1.0
    touched: float = -1.0
    progress: float = 0.2
    proximity: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            weight = getattr(self, field.name)
            if isinstance(weight, bool) or not isinstance(weight, Real) or not math.isfinite(weight):
                raise ValueError(f"rewards: expected a finite number as weight of {field.name!r}, actual: {weight!r}")

    @classmethod
    def default(cls) -> Rewards:
        """Scaled for learning, an episode's return is of order 1 to 10, and for short paths.

        Walking costs what coming nearer to a source gives back: a straight path costs nothing, and every metre away
        from it twice. Turns, with which an agent listens around, cost next to nothing, as SPL counts metres alone.
        """
        return cls()

    @classmethod
    def original(cls) -> Rewards:
        """The original's figures. There, too, a turn costs its penalty on top of the step's.

        It knew no distractors: to touch one costs what a source is worth, as in :meth:`default`.
        """
        return cls(
            step=-0.5, turn=-0.1, walk=0.0, found=100.0, all_found=100.0, touched=-100.0, progress=0.0, proximity=1.0
        )


def as_rewards(rewards: Rewards | str | Mapping[str, float] | None) -> Rewards:
    """What the environment's ``rewards=`` accepts.

    Args:
        rewards: Weights; the name of a preset, ``"default"`` or ``"original"``; a mapping from names of weights to
            numbers, where a weight that is not named keeps its default; or None, the default preset.

    Raises:
        TypeError: If ``rewards`` is none of these.
        ValueError: If a preset or a weight is unknown, or a weight is not a finite number.
    """
    if rewards is None:
        return Rewards.default()
    if isinstance(rewards, Rewards):
        return rewards
    if isinstance(rewards, str):
        presets = {"default": Rewards.default, "original": Rewards.original}
        if rewards not in presets:
            raise ValueError(f"rewards: expected one of {sorted(presets)} or weights, actual: {rewards!r}")
        return presets[rewards]()
    if isinstance(rewards, Mapping):
        names = [field.name for field in fields(Rewards)]
        unknown = [name for name in rewards if name not in names]
        if unknown:
            raise ValueError(f"rewards: expected weights among {names}, actual: {unknown}")
        return Rewards(**rewards)
    raise TypeError(
        "rewards: expected a Rewards, the name of a preset, a mapping from names to weights or None, "
        f"actual: {type(rewards).__name__}"
    )


def reward_terms(
    weights: Rewards,
    *,
    turned: float,
    walked: float,
    distances_before: np.ndarray,
    distances_after: np.ndarray,
    on_before: np.ndarray,
    on_after: np.ndarray,
    num_touched: int = 0,
) -> dict[str, float]:
    """The weighted terms of the reward of one action; their sum is the reward.

    Args:
        weights: The weights.
        turned: The angle by which it turned the agent, to either side, as a share of ``Body.turn_angle``, in [0, 1].
        walked: Metres that it moved the agent, at least 0.
        distances_before: (T,) float, metres to every target before the action.
        distances_after: (T,) float, metres to every target after the action, above 0 where ``on_after``.
        on_before: (T,) bool, whether a target sounded before the action.
        on_after: (T,) bool, whether a target still sounds after it.
        num_touched: How many distractors the action entered.

    Returns:
        From the name of every weight to a float.
    """
    sounded, sounding = on_before.tolist(), on_after.tolist()
    before, after = distances_before.tolist(), distances_after.tolist()
    newly_found = sum(sounded) - sum(sounding)
    progress = min(compress(before, sounded), default=0.0) - min(compress(after, sounded), default=0.0)
    proximity = 1 / min(compress(after, sounding), default=math.inf)
    return {
        "step": float(weights.step),
        "turn": float(weights.turn * turned) if turned else 0.0,
        "walk": float(weights.walk * walked),
        "found": float(weights.found * newly_found),
        "all_found": float(weights.all_found) if newly_found and not any(sounding) else 0.0,
        "touched": float(weights.touched * num_touched) if num_touched else 0.0,
        "progress": float(weights.progress * progress),
        "proximity": float(weights.proximity * proximity),
    }


def spl(success: bool, shortest: float, walked: float) -> float:
    """Success weighted by path length (Anderson et al. 2018, On Evaluation of Embodied Navigation Agents).

    Args:
        success: Whether every target was found.
        shortest: Metres of the shortest tour, see :func:`auralnav_gym.tours.shortest_tour`.
        walked: Metres that the agent walked.

    Returns:
        success * shortest / max(walked, shortest), in [0, 1].
    """
    return _efficiency(success, shortest, walked)


def sna(success: bool, fewest_actions: int, actions: int) -> float:
    """Success weighted by number of actions (Chen et al. 2020, Learning to Set Waypoints for Audio-Visual Navigation).

    Args:
        success: Whether every target was found.
        fewest_actions: How many actions the oracle needs, see :func:`auralnav_gym.planning.fewest_actions`.
        actions: How many actions the agent took.

    Returns:
        success * fewest_actions / max(actions, fewest_actions), in [0, 1].
    """
    return _efficiency(success, fewest_actions, actions)


def _efficiency(success: bool, least: float, spent: float) -> float:
    if not success:
        return 0.0
    return least / max(spent, least) if least > 0 else float(spent <= 0)
