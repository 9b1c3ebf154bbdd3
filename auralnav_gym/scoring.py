"""What an action earns and what an episode is worth: rewards, SPL and SNA."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import compress
from numbers import Real

import numpy as np

from auralnav_gym.movement import Action

# Up to this many discs the shortest tour is exact; the effort grows with 2 to their number.
_EXACT_DISCS = 8

# Places on the rim of a disc among which the orders that can be best are found.
_RIM_PLACES = 64

# Weight of the barrier in metres: falls by a factor until a tour through n discs is at most 3 n times the last one
# longer than the shortest.
_BARRIER_FACTOR = 10.0
_LAST_BARRIER = 1e-6

# Far more than it takes.
_NEWTON_STEPS = 100


@dataclass(frozen=True)
class Rewards:
    """Weights of the terms whose sum is the reward. The fields' defaults are those of :meth:`default`.

    Attributes:
        step: Paid for every action, turns included.
        turn: Paid in addition to ``step`` for a turn.
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
    action: int,
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
        action: The :class:`Action` that was taken.
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
        "turn": float(weights.turn) if action in (Action.TURN_RIGHT, Action.TURN_LEFT) else 0.0,
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
        shortest: Metres of the shortest tour, see :func:`shortest_tour`.
        walked: Metres that the agent walked.

    Returns:
        success * shortest / max(walked, shortest), in [0, 1].
    """
    return _efficiency(success, shortest, walked)


def sna(success: bool, fewest_actions: int, actions: int) -> float:
    """Success weighted by number of actions (Chen et al. 2020, Learning to Set Waypoints for Audio-Visual Navigation).

    Args:
        success: Whether every target was found.
        fewest_actions: How many actions the oracle needs, see :func:`auralnav_gym.agents.fewest_actions`.
        actions: How many actions the agent took.

    Returns:
        success * fewest_actions / max(actions, fewest_actions), in [0, 1].
    """
    return _efficiency(success, fewest_actions, actions)


def _efficiency(success: bool, least: float, spent: float) -> float:
    if not success:
        return 0.0
    return least / max(spent, least) if least > 0 else float(spent <= 0)


def shortest_tour(start: np.ndarray, centres: np.ndarray, radius: float) -> float:
    """L*, the length of the shortest path from a start that touches every one of some discs, walls ignored.

    For a given order of visit the problem is convex and solved as such. Up to eight discs, every order that can be the
    best is solved. For more, only one is: found by cheapest insertion and then improved by moving and reversing parts,
    so that the result may be longer than the shortest tour.

    Args:
        start: (2,) float, metres.
        centres: (S, 2) float, metres; the discs may overlap.
        radius: Of every disc, metres, above 0.

    Returns:
        Metres, to 1e-4 m; 0 if the start lies in every disc.

    Raises:
        ValueError: If an argument has a wrong shape, or ``radius`` is out of range.
    """
    start, centres = np.asarray(start, dtype=np.float64), np.asarray(centres, dtype=np.float64)
    if start.shape != (2,) or centres.ndim != 2 or centres.shape[1] != 2:
        raise ValueError(f"start, centres: expected shapes (2,) and (S, 2), actual: {start.shape} and {centres.shape}")
    if not (math.isfinite(radius) and radius > 0):
        raise ValueError(f"radius: expected more than 0 metres, actual: {radius}")
    distances = np.hypot(*(centres - start).T)
    centres = centres[distances > radius]
    if len(centres) < 2:
        return max(float(distances.max(initial=0.0)) - radius, 0.0)
    if len(centres) > _EXACT_DISCS:
        orders = order_of_visit(start, centres)[None]
    else:
        orders = _orders_that_can_be_best(start, centres, radius)
    return float(_tour_lengths(start, centres[orders], radius).min())


def order_of_visit(start: np.ndarray, places: np.ndarray) -> np.ndarray:
    """A good order in which to visit places, for when there are too many to try all orders.

    Cheapest insertion (Rosenkrantz et al. 1977); then parts are moved or reversed as long as that shortens the path.

    Args:
        start: (2,) float64, metres.
        places: (S, 2) float64, metres.

    Returns:
        (S,) int, a permutation.
    """
    points = np.vstack([start, places])
    distances = np.hypot(*(points[:, None] - points).transpose(2, 0, 1))

    def length(path: list[int]) -> float:
        return float(distances[path[:-1], path[1:]].sum())

    path = [0]
    for _ in places:
        left = [i for i in range(1, len(points)) if i not in path]
        path = min(([*path[:at], i, *path[at:]] for i in left for at in range(1, len(path) + 1)), key=length)
    while True:
        shorter = min(_neighbours(path), key=length)
        if length(shorter) >= length(path) - 1e-9:
            return np.array(path[1:]) - 1
        path = shorter


def _neighbours(path: list[int]) -> list[list[int]]:
    """Paths in which a part of ``path`` is reversed, or moved elsewhere; the first element stays first."""
    neighbours = []
    for low in range(1, len(path)):
        for high in range(low + 1, len(path) + 1):
            part, rest = path[low:high], path[:low] + path[high:]
            neighbours.append(path[:low] + part[::-1] + path[high:])
            if len(part) <= 3:
                neighbours += [rest[:at] + part + rest[at:] for at in range(1, len(rest) + 1)]
    return neighbours


def _orders_that_can_be_best(start: np.ndarray, centres: np.ndarray, radius: float) -> np.ndarray:
    """(B, S) int, orders of visit, among them the shortest tour's.

    The shortest tour touches every disc first at its rim, since it starts outside. Moving those points to the nearest
    of some places around the rim lengthens every leg by two such moves at most. So the best order, held to these
    places, is no more than that longer than the shortest tour held to them.
    """
    angles = 2 * np.pi * np.arange(_RIM_PLACES) / _RIM_PLACES
    places = centres[:, None] + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    longest_move = 2 * radius * math.sin(math.pi / (2 * _RIM_PLACES))
    onward = _onward_lengths(places)
    legs = np.hypot(*(places[:, :, None, None] - places).transpose(4, 0, 1, 2, 3))
    everything = (1 << len(centres)) - 1
    so_far = np.hypot(*(places - start).transpose(2, 0, 1))
    bound = min((so_far[i] + onward[everything & ~(1 << i), i]).min() for i in range(len(centres)))
    bound += 2 * longest_move * len(centres)

    # Beginnings of orders with the lengths (K,) up to every place of their last disc.
    begun = [([i], so_far[i]) for i in range(len(centres))]
    for _ in range(len(centres) - 1):
        begun = [
            ([*order, j], (lengths[:, None] + legs[order[-1], :, j]).min(axis=0))
            for order, lengths in begun
            for j in range(len(centres))
            if j not in order
        ]
        begun = [
            (order, lengths)
            for order, lengths in begun
            if (lengths + onward[everything & ~sum(1 << i for i in order), order[-1]]).min() <= bound
        ]
    return np.array([order for order, _ in begun])


def _onward_lengths(places: np.ndarray) -> np.ndarray:
    """Lengths of the shortest paths from a place of a group on through other groups, one place of each.

    Held and Karp's dynamic programme (1962, "A dynamic programming approach to sequencing problems"). The effort grows
    with 2^S (S K)^2.

    Args:
        places: (S, K, 2) float64, metres; K places of each of S groups.

    Returns:
        (2^S, S, K) float64, metres: from place k of group i through the groups whose bits are set in the first index;
        inf if the bit of i is set.
    """
    groups, each, _ = places.shape
    x, y = places.reshape(-1, 2).T
    distances = np.hypot(x[:, None] - x, y[:, None] - y).reshape(groups, each, groups, each)
    onward = np.full((1 << groups, groups, each), np.inf)
    onward[0] = 0.0
    for left in range(1, 1 << groups):
        ahead = [j for j in range(groups) if left >> j & 1]
        then = np.stack([onward[left & ~(1 << j), j] for j in ahead])
        for i in range(groups):
            if i not in ahead:
                onward[left, i] = (distances[i][:, ahead] + then).min(axis=(1, 2))
    return onward


def _tour_lengths(start: np.ndarray, centres: np.ndarray, radius: float) -> np.ndarray:
    """Lengths of the shortest paths that touch discs in given orders.

    Minimises sum_i |p_i - p_(i-1)| over p_i in the i-th disc, p_0 being the start: a second-order cone programme,
    solved by a barrier method (Boyd & Vandenberghe 2004, Convex Optimization, sections 11.3 and 11.6). The barrier m of
    a leg d, min over t of t - m log(t^2 - |d|^2), has the minimum t = m + sqrt(m^2 + |d|^2), the gradient d / t and the
    Hessian I / t - d d^T / (t^2 (t - m)).

    Args:
        start: (2,) float64, metres.
        centres: (B, n, 2) float64, metres, in order of visit.
        radius: Metres.

    Returns:
        (B,) float64, metres.
    """
    batch, n, _ = centres.shape
    each = np.arange(n)
    differences = np.eye(n) - np.eye(n, k=-1)
    points = centres
    barrier = radius
    while barrier > _LAST_BARRIER:
        barrier = max(barrier / _BARRIER_FACTOR, _LAST_BARRIER)
        for _ in range(_NEWTON_STEPS):
            d = np.diff(points, axis=1, prepend=np.broadcast_to(start, (batch, 1, 2)))
            t = (barrier + np.sqrt(barrier**2 + np.sum(d**2, axis=-1)))[..., None]
            q = points - centres
            w = (radius**2 - np.sum(q**2, axis=-1))[..., None]
            gradient = (differences.T @ (d / t) + 2 * barrier * q / w).reshape(batch, 2 * n, 1)
            of_legs = np.eye(2) / t[..., None] - _outer(d) / (t**2 * (t - barrier))[..., None]
            of_discs = 2 * barrier * (np.eye(2) / w[..., None] + 2 * _outer(q) / w[..., None] ** 2)
            hessian = np.einsum("ki,bkxy,kj->bixjy", differences, of_legs, differences)
            hessian[:, each, :, each, :] += of_discs.swapaxes(0, 1)
            step = np.linalg.solve(hessian.reshape(batch, 2 * n, 2 * n), -gradient)
            decrement = np.sqrt(np.maximum(-np.sum(gradient * step, axis=(1, 2)), 0) / barrier)
            # The barrier is self-concordant, so that such a step stays inside (Nesterov & Nemirovskii 1994).
            size = np.where(decrement < 0.25, 1.0, 1 / (1 + decrement))
            points = points + size[:, None, None] * step.reshape(batch, n, 2)
            if (decrement < 0.25).all():
                break
    d = np.diff(points, axis=1, prepend=np.broadcast_to(start, (batch, 1, 2)))
    return np.hypot(d[..., 0], d[..., 1]).sum(axis=1)


def _outer(vectors: np.ndarray) -> np.ndarray:
    """Outer products (..., 2, 2) of vectors (..., 2) with themselves."""
    return vectors[..., :, None] * vectors[..., None, :]
