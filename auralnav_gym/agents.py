"""Agents without learning: one that acts at random, one that is greedy and an oracle, which know the scene."""

from __future__ import annotations

import math
from typing import Any, Protocol, runtime_checkable

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from auralnav_gym.scene import PARALLEL, Action, Body, Pose, Room, Scene, move
from auralnav_gym.scoring import order_of_visit

# Targets that are planned for at once; the effort grows with 2 to their number.
_JOINT_TARGETS = 6

# Places on the rim of a capture disc to which the remaining way is estimated.
_RIM_PLACES = 16

# Directions, over half a circle, in which it may arrive there.
_DIRECTIONS = 36

# The search keeps so many poses per target after every action. Where that leads nowhere it is repeated with so many in
# all, and then with every pose.
_BEAM_WIDTH_PER_TARGET = 50
_WIDER_BEAMS = (2500, math.inf)

# Poses after which a search is given up.
_MAX_POSES = 500_000

# Poses count as the same within this share of a step, and within this angle (radians) or this share of a turn.
_SAME_STEP, _SAME_HEADING, _SAME_TURN = 1 / 64, math.radians(0.25), 1 / 4


class NoPlanError(RuntimeError):
    """Targets cannot be reached, or no way to them was found."""


@runtime_checkable
class Agent(Protocol):
    """Anything that plays episodes: ``reset`` after every reset of the environment, then ``act`` for every step."""

    def reset(self, env: gym.Env) -> None:
        """Begin an episode.

        Args:
            env: The environment, just reset; wrappers are allowed.
        """
        ...

    def act(self, observation: Any) -> int:
        """The next :class:`Action`.

        Args:
            observation: What the environment gave last.
        """
        ...


class RandomAgent:
    """Acts uniformly at random.

    Args:
        seed: Of the agent's own generator, which runs on from episode to episode.
    """

    def __init__(self, seed: int = 0) -> None:
        self._rng = np.random.default_rng(seed)

    def reset(self, env: gym.Env) -> None:
        """Take over the environment's actions."""
        if not isinstance(env.action_space, spaces.Discrete):
            raise TypeError(f"env: expected a Discrete action space, actual: {env.action_space}")
        self._actions = env.action_space

    def act(self, observation: Any) -> int:
        """A random action."""
        return int(self._actions.start + self._rng.integers(self._actions.n))


class GreedyAgent:
    """Knows where everything is, turns to the nearest source and walks straight at it; then to the next.

    It plans nothing: what a listener would do who heard perfectly where each source is. Of what keeps an agent from the
    shortest path, it shows the part that is not for hearing: steps and turns have a size, and the nearest source first
    is not always the best order. A wall that its steps lead into can hold it up for good.
    """

    def reset(self, env: gym.Env) -> None:
        """Take over the environment, an :class:`auralnav_gym.AuralNavEnv` or a wrapper around one."""
        self._env: Any = env.unwrapped

    def act(self, observation: Any) -> int:
        """Turn towards the nearest source that sounds, or walk; the observation is not looked at."""
        env = self._env
        away = env.scene.source_positions[env.on, :2] - env.pose.position
        x, y = away[np.argmin(np.hypot(*away.T))]
        left = math.remainder(math.atan2(y, x) - env.pose.heading, 2 * math.pi)
        # One turn more would lead no nearer to its direction. Headings add up with rounding: a little more than half.
        if abs(left) <= env.body.turn_angle / 2 + 1e-6:
            return int(Action.FORWARD)
        return int(Action.TURN_LEFT if left > 0 else Action.TURN_RIGHT)


class OracleAgent:
    """Knows where everything is, and finds all sources with the fewest actions that :func:`plan` knows of.

    Where there is no plan for all of them, it finds those that it can, one by one, and then turns on the spot.
    """

    def reset(self, env: gym.Env) -> None:
        """Take over the environment, an :class:`auralnav_gym.AuralNavEnv` or a wrapper around one."""
        self._env: Any = env.unwrapped
        self._plan: list[Action] | None = []

    def act(self, observation: Any) -> int:
        """The next action of the plan; the observation is not looked at."""
        if self._plan == []:
            self._plan = self._make_plan()
        return int(self._plan.pop(0)) if self._plan else int(Action.TURN_LEFT)

    def _make_plan(self) -> list[Action] | None:
        env = self._env
        targets = env.scene.source_positions[env.on, :2]
        for some in (targets, *targets[:, None]) if len(targets) > 1 else (targets,):
            try:
                return plan(env.scene.room, env.body, env.pose, some)
            except NoPlanError:
                continue
        return None


def fewest_actions(scene: Scene, body: Body, at_most: int | None = None) -> int:
    """A*, the number of actions in which the oracle finds every source of a scene.

    Args:
        scene: The scene, from its start.
        body: The agent's body.
        at_most: A number of actions that is known to be enough, such as those of an agent that succeeded. The result is
            no larger.

    Raises:
        NoPlanError: If :func:`plan` finds no plan and ``at_most`` is None.
    """
    try:
        needed = len(plan(scene.room, body, scene.pose, scene.source_positions[:, :2]))
    except NoPlanError:
        if at_most is None:
            raise
        return at_most
    return needed if at_most is None else min(needed, at_most)


def plan(room: Room, body: Body, pose: Pose, targets: np.ndarray) -> list[Action]:
    """Few actions, mostly the fewest, that bring the agent within reach of every target.

    A beam search: all poses to which one more action leads, of which those from where the remaining way looks shortest
    go on (see :class:`_Guide`). A target counts as found when an action ends within ``body.capture_radius`` of it. More
    than six targets are planned for in groups of six, in a good order of visit.

    Not guaranteed: that the plan is the shortest; and that a plan is found where one exists, if it takes a long way
    round that looks wrong at every step, or to stand in exactly one place (poses are told apart to 1/64 of a step).

    Args:
        room: The room.
        body: The agent's body.
        pose: Where the agent starts.
        targets: (S, 2) float, metres.

    Returns:
        The actions, which :func:`auralnav_gym.scene.move` was seen to play to the end; empty if there are no targets.

    Raises:
        ValueError: If ``targets`` has another shape or is not finite.
        NoPlanError: If a target is out of reach from everywhere in the room, or no plan was found.
    """
    targets = np.asarray(targets, dtype=np.float64)
    if targets.ndim != 2 or targets.shape[1] != 2 or not np.isfinite(targets).all():
        raise ValueError(f"targets: expected (S, 2) finite numbers, actual: {targets.tolist()}")
    for target in targets:
        gap = float(np.hypot(*(_nearest_standing_place(room, body, target) - target)))
        if gap > body.capture_radius * (1 + 1e-9):
            raise NoPlanError(
                f"targets: expected places within {body.capture_radius} m of one where the agent can stand, "
                f"actual: {target.tolist()}, which is {gap:.3f} m from the nearest"
            )
    actions: list[Action] = []
    while len(targets):
        group = order_of_visit(pose.position, targets)[:_JOINT_TARGETS]
        leg = _plan_together(room, body, pose, targets[group])
        pose, found = _play(room, body, pose, targets, leg)
        targets = targets[~found]
        actions += leg
    return actions


def _plan_together(room: Room, body: Body, pose: Pose, targets: np.ndarray) -> list[Action]:
    """Actions after which every target (S, 2) is found; :class:`NoPlanError` if none are known."""
    # The search differs from what move() does in the last bit, which matters where a place is on the very rim.
    for reach in (body.capture_radius, body.capture_radius * (1 - 1e-9)):
        actions = _widening_search(room, body, pose, targets, reach)
        if actions is None:
            break
        if _play(room, body, pose, targets, actions)[1].all():
            return actions
    raise NoPlanError(
        f"targets: found no way from ({pose.x:.3f}, {pose.y:.3f}) to all of {targets.tolist()} with steps of "
        f"{body.step_size} m, turns of {math.degrees(body.turn_angle):.3f} degrees and a capture_radius of "
        f"{body.capture_radius} m. Smaller turns or a larger capture_radius help."
    )


def _widening_search(room: Room, body: Body, pose: Pose, targets: np.ndarray, reach: float) -> list[Action] | None:
    """See :func:`_search`."""
    for width in (_BEAM_WIDTH_PER_TARGET * len(targets), *_WIDER_BEAMS):
        actions, exhausted = _search(room, body, pose, targets, reach, width)
        if actions is not None or exhausted:
            return actions
    return None


def _play(room: Room, body: Body, pose: Pose, targets: np.ndarray, actions: list[Action]) -> tuple[Pose, np.ndarray]:
    """The pose after some actions, and which of the targets (S, 2) were found on the way, (S,) bool."""
    found = np.zeros(len(targets), dtype=bool)
    for action in actions:
        pose = move(pose, action, room, body)
        found |= np.hypot(*(targets - pose.position).T) <= body.capture_radius
    return pose, found


class _Guide:
    """Estimates how many actions are still to go.

    The way leads straight from place to place, one on the rim of every capture disc, walls ignored: so many turns until
    the next place lies straight ahead or straight behind, then so many steps. Fractions of turns and steps count. What
    follows after a place, by its direction of arrival, is tabled with Held and Karp's dynamic programme (1962).

    Args:
        room: The room.
        body: The agent's body.
        targets: (S, 2) float64, metres.
    """

    def __init__(self, room: Room, body: Body, targets: np.ndarray) -> None:
        angles = 2 * np.pi * np.arange(_RIM_PLACES) / _RIM_PLACES
        rims = targets[:, None] + body.capture_radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        nearest = np.stack([_nearest_standing_place(room, body, target) for target in targets])
        # Where the agent cannot stand on the rim it comes as near to the target as it can.
        places = np.where(room.contains(rims, body.radius)[..., None], rims, nearest[:, None])
        # Single precision is plenty for an estimate and takes half the time.
        self._x, self._y = places.reshape(-1, 2).T.astype(np.float32)
        self._step = np.float32(body.step_size)
        # Angles are in half turns and modulo one, since walking backwards does as well as walking forwards.
        turn = abs(body.turn_angle / math.pi - round(body.turn_angle / math.pi))
        self._turn = np.float32(max(turn, 1e-3))
        self._from = self._table(len(targets))

    def __call__(self, x: np.ndarray, y: np.ndarray, heading: np.ndarray, left: np.ndarray) -> np.ndarray:
        """Actions to go.

        Args:
            x: (N,) float64, metres.
            y: (N,) float64, metres.
            heading: (N,) float64, radians.
            left: (N,) int, the targets still to find, a bit for each, not 0.

        Returns:
            (N,) float32.
        """
        steps, course = self._straight(x.astype(np.float32), y.astype(np.float32))
        turns = self._turns(course - (heading / math.pi).astype(np.float32)[:, None])
        onward = self._from[left[:, None], np.arange(len(self._x)), self._direction(course)]
        return (steps + turns + onward).min(axis=1)

    def _table(self, num_targets: int) -> np.ndarray:
        """Actions to go from every place.

        Returns:
            (2^S, P, D) float32: when place p is reached in direction d and the targets whose bits are set in the first
            index are still to find, among them the one that is found there; inf if that is not among them.
        """
        targets = np.arange(num_targets)
        target_of = np.repeat(targets, _RIM_PLACES)
        place = np.arange(len(self._x))
        steps, course = self._straight(self._x, self._y)
        arrival = np.arange(_DIRECTIONS, dtype=np.float32) / _DIRECTIONS
        legs = steps + self._turns(course - arrival[:, None, None])  # (D, P, P)
        then = self._direction(course)
        table = np.full((1 << num_targets, len(place), _DIRECTIONS), np.inf, dtype=np.float32)
        for after in range(1 << num_targets):
            onward = (legs + table[after, place, then]).min(axis=2).T if after else np.zeros_like(table[0])
            for target in targets[(after >> targets) & 1 == 0]:
                mine = target_of == target
                table[after | 1 << target, mine] = onward[mine]
        return table

    def _straight(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Steps and course from points (N,) to all places, both (N, P) float32."""
        dx, dy = self._x - x[:, None], self._y - y[:, None]
        return np.sqrt(dx * dx + dy * dy) / self._step, np.arctan2(dy, dx) / np.float32(math.pi)

    def _turns(self, off_course: np.ndarray) -> np.ndarray:
        return np.abs(off_course - np.rint(off_course)) / self._turn

    def _direction(self, course: np.ndarray) -> np.ndarray:
        return np.rint(course * _DIRECTIONS).astype(np.int64) % _DIRECTIONS


def _search(
    room: Room, body: Body, pose: Pose, targets: np.ndarray, reach: float, width: float
) -> tuple[list[Action] | None, bool]:
    """Beam search over poses.

    Args:
        room: The room.
        body: The agent's body, but for the capture radius.
        pose: The start.
        targets: (S, 2) float64, metres.
        reach: The capture radius, metres.
        width: How many poses are kept after every action.

    Returns:
        The actions, or None; and whether every pose that can be reached was seen, so that a wider search is no use.
    """
    guide = _Guide(room, body, targets)
    low, high = room.bounds
    cell = body.step_size * _SAME_STEP
    cells = int((high - low).max() / cell) + 2
    sectors = math.ceil(2 * math.pi / min(_SAME_HEADING, body.turn_angle * _SAME_TURN))
    bits = 1 << np.arange(len(targets))
    x, y, turns, left = np.array([pose.x]), np.array([pose.y]), np.zeros(1, dtype=np.int64), bits.sum(keepdims=True)
    seen: set[int] = set()
    history: list[np.ndarray] = []
    exhausted = True
    while len(seen) < _MAX_POSES:
        x, y, turns, left = _all_moves(room, body, pose.heading, x, y, turns, left)
        near = np.hypot(x[:, None] - targets[:, 0], y[:, None] - targets[:, 1]) <= reach
        left = left & ~(near @ bits)
        if not left.all():
            return _trace_back(history, int(np.argmin(left))), exhausted
        heading = pose.heading + turns * body.turn_angle
        sector = np.rint(heading / (2 * math.pi) * sectors).astype(np.int64) % sectors
        column, row = np.rint((x - low[0]) / cell).astype(np.int64), np.rint((y - low[1]) / cell).astype(np.int64)
        keys = ((column * cells + row) * sectors + sector) * 2 * bits[-1] + left
        new = []
        for index, key in enumerate(keys.tolist()):
            if key not in seen:
                seen.add(key)
                new.append(index)
        if not new:
            return None, exhausted
        kept = np.array(new)
        if len(kept) > width:
            exhausted = False
            to_go = guide(x[kept], y[kept], heading[kept], left[kept])
            kept = kept[np.argpartition(to_go, int(width))[: int(width)]]
        history.append(kept)
        x, y, turns, left = x[kept], y[kept], turns[kept], left[kept]
    return None, False


def _all_moves(
    room: Room, body: Body, heading: float, x: np.ndarray, y: np.ndarray, turns: np.ndarray, left: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What :func:`auralnav_gym.scene.move` does, for many poses and all actions at once.

    Args:
        room: The room.
        body: The agent's body.
        heading: Radians, before any turn.
        x: (N,) float64, metres.
        y: (N,) float64, metres.
        turns: (N,) int, turns to the left since ``heading``.
        left: (N,) int, the targets still to find.

    Returns:
        The same four, each (4 N,), in the order of :class:`Action` and then of the poses.
    """
    walls = np.array(room.walls)
    normals, offsets = walls[:, :2], walls[:, 2] + body.radius
    angle = heading + turns * body.turn_angle
    dx, dy = body.step_size * np.cos(angle), body.step_size * np.sin(angle)
    room_left = np.stack([x, y], axis=1) @ normals.T - offsets
    approach = -np.stack([dx, dy], axis=1) @ normals.T
    forward, backward = (
        np.divide(room_left, towards, out=np.ones_like(towards), where=towards > PARALLEL * body.step_size)
        .min(axis=1)
        .clip(0, 1)
        for towards in (approach, -approach)
    )
    return (
        np.concatenate([x + forward * dx, x - backward * dx, x, x]),
        np.concatenate([y + forward * dy, y - backward * dy, y, y]),
        np.concatenate([turns, turns, turns - 1, turns + 1]),
        np.concatenate([left, left, left, left]),
    )


def _trace_back(history: list[np.ndarray], index: int) -> list[Action]:
    """The actions that led to a pose.

    Args:
        history: For every action but the last, which of the poses that :func:`_all_moves` gave were kept, (N,) int.
        index: Of the pose, among those that the last call of :func:`_all_moves` gave.
    """
    actions = []
    for kept in reversed(history):
        action, parent = divmod(index, len(kept))
        actions.append(Action(action))
        index = int(kept[parent])
    return [Action(index), *reversed(actions)]


def _nearest_standing_place(room: Room, body: Body, target: np.ndarray) -> np.ndarray:
    """The place nearest to a target (2,) that keeps ``body.radius`` to every wall, (2,) float64, metres.

    It is the target, or lies on the border of where the agent can stand: the foot of a perpendicular or a corner.
    """
    walls = np.array(room.walls)
    normals, offsets = walls[:, :2], walls[:, 2] + body.radius
    feet = target - (normals @ target - offsets)[:, None] * normals
    first, second = np.triu_indices(len(normals), k=1)
    pairs = np.stack([first, second], axis=1)
    pairs = pairs[np.abs(np.linalg.det(normals[pairs])) > 1e-9]  # the others are parallel
    corners = np.linalg.solve(normals[pairs], offsets[pairs][..., None])[..., 0]
    places = np.vstack([target, feet, corners])
    distances = np.hypot(*(places - target).T)
    return places[np.argmin(np.where(room.contains(places, body.radius - 1e-9), distances, np.inf))]
