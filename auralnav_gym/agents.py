"""Agents without learning: one that acts at random, one that is greedy and an oracle, which know the scene."""

from __future__ import annotations

import math
from typing import Any, Protocol, runtime_checkable

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from scipy import ndimage

from auralnav_gym.movement import PARALLEL, Action, Body, Pose, move
from auralnav_gym.rooms import Room
from auralnav_gym.scene import Scene
from auralnav_gym.scoring import order_of_visit

# Targets that are planned for at once; the effort grows with 2 to their number.
_JOINT_TARGETS = 6

# Places on the rim of a capture disc to which the remaining way is estimated, and around a distractor's disc.
_RIM_PLACES = 16

# What the estimate adds for a leg through a distractor's disc, in actions.
_BLOCKED = np.float32(1000)

# Directions, over half a circle, in which it may arrive there.
_DIRECTIONS = 36

# The search keeps so many poses per target, and per distractor, after every action. Where that leads nowhere it is
# repeated with so many in all, and then with every pose.
_BEAM_WIDTH_PER_TARGET = 50
_WIDER_BEAMS = (2500, math.inf)

# Between distractors it has lost its way after so many times the estimated actions and some more: there is a gap that
# it does not hit.
_LOST, _LOST_ACTIONS = 1.5, 10

# The grid on which it is seen whether distractors leave a way: its step in steps of the agent, or a coarser one with so
# many cells along the room.
_GRID_STEP, _MOST_CELLS = 1 / 16, 400

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
    """Knows where everything is, turns to the nearest target and walks straight at it; then to the next.

    It plans nothing: what a listener would do who heard perfectly where each source is. Of what keeps an agent from the
    shortest path, it shows the part that is not for hearing: steps and turns have a size, and the nearest target first
    is not always the best order. A wall that its steps lead into can hold it up for good.

    It takes no step that ends in a distractor's disc, but the direction nearest to its target's in which a step does
    not. That leads around a single disc; several with no gap between them, or one at a wall, can hold it up for good.
    """

    def reset(self, env: gym.Env) -> None:
        """Take over the environment, an :class:`auralnav_gym.AuralNavEnv` or a wrapper around one."""
        self._env: Any = env.unwrapped

    def act(self, observation: Any) -> int:
        """Turn towards the nearest target that sounds, or walk; the observation is not looked at."""
        env = self._env
        away = env.scene.source_positions[env.on & env.scene.is_target, :2] - env.pose.position
        x, y = away[np.argmin(np.hypot(*away.T))]
        left = math.remainder(math.atan2(y, x) - env.pose.heading, 2 * math.pi)
        if not env.scene.is_target.all():
            left = self._past_distractors(left)
        # One turn more would lead no nearer to its direction. Headings add up with rounding: a little more than half.
        if abs(left) <= env.body.turn_angle / 2 + 1e-6:
            return int(Action.FORWARD)
        return int(Action.TURN_LEFT if left > 0 else Action.TURN_RIGHT)

    def _past_distractors(self, left: float) -> float:
        """The turn, of those that the agent can make, that is nearest to ``left`` and after which a step is free.

        Half a turn to the left if there is none. Radians, counter-clockwise.
        """
        room, body, pose = self._env.scene.room, self._env.body, self._env.pose
        distractors = _out_of_reach(pose, _targets_and_distractors(self._env.scene)[1], body.capture_radius)
        most = int(math.pi / body.turn_angle + 1e-9)
        turns = [number * body.turn_angle for number in range(-most, most + 1)]
        steps = [move(Pose(pose.x, pose.y, pose.heading + turn), Action.FORWARD, room, body) for turn in turns]
        free = [
            turn
            for turn, after in zip(turns, steps, strict=True)
            if not _within(after, distractors, body.capture_radius).any()
        ]
        # Of two that are as near, the smaller one: headings add up with rounding.
        return min(
            free,
            key=lambda turn: (round(abs(math.remainder(left - turn, 2 * math.pi)), 6), abs(turn)),
            default=math.pi,
        )


class OracleAgent:
    """Knows where everything is, and finds all targets with the fewest actions that :func:`plan` knows of.

    It touches no distractor. Where there is no plan for all targets, as when distractors leave no way, it finds those
    that it can, one by one, and then turns on the spot.
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
        targets = env.scene.source_positions[env.on & env.scene.is_target, :2]
        distractors = _targets_and_distractors(env.scene)[1]
        for some in (targets, *targets[:, None]) if len(targets) > 1 else (targets,):
            try:
                return plan(env.scene.room, env.body, env.pose, some, distractors)
            except NoPlanError:
                continue
        return None


def fewest_actions(scene: Scene, body: Body, at_most: int | None = None) -> int:
    """A*, the number of actions in which the oracle finds every target of a scene and touches no distractor.

    Args:
        scene: The scene, from its start.
        body: The agent's body.
        at_most: A number of actions that is known to be enough, such as those of an agent that succeeded, be it
            through distractors. The result is no larger.

    Raises:
        NoPlanError: If :func:`plan` finds no plan and ``at_most`` is None.
    """
    try:
        needed = len(plan(scene.room, body, scene.pose, *_targets_and_distractors(scene)))
    except NoPlanError:
        if at_most is None:
            raise
        return at_most
    return needed if at_most is None else min(needed, at_most)


def _targets_and_distractors(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Where they are, (T, 2) and (D, 2) float64, metres."""
    places = scene.source_positions[:, :2]
    return places[scene.is_target], places[~scene.is_target]


def plan(
    room: Room, body: Body, pose: Pose, targets: np.ndarray, distractors: np.ndarray | None = None
) -> list[Action]:
    """Few actions, mostly the fewest, that bring the agent within reach of every target and of no distractor.

    A beam search: all poses to which one more action leads, of which those from where the remaining way looks shortest
    go on (see :class:`_Guide`). A target counts as found when an action ends within ``body.capture_radius`` of it, and
    a distractor as touched likewise: a step may lead through the rim of its disc and out again. More than six targets
    are planned for in groups of six, in a good order of visit.

    Not guaranteed: that the plan is the shortest; and that a plan is found where one exists, if it takes a long way
    round that looks wrong at every step, or to stand in exactly one place (poses are told apart to 1/64 of a step).

    Args:
        room: The room.
        body: The agent's body.
        pose: Where the agent starts.
        targets: (S, 2) float, metres.
        distractors: (D, 2) float, metres; None: there are none. Those that the agent touches at the start it may leave
            as it likes, and come back to.

    Returns:
        The actions, which :func:`auralnav_gym.movement.move` was seen to play to the end; empty if there are no
        targets.

    Raises:
        ValueError: If ``targets`` or ``distractors`` has another shape or is not finite.
        NoPlanError: If a target is out of reach from everywhere in the room, or no plan was found.
    """
    targets = _as_places("targets", targets)
    distractors = _as_places("distractors", np.empty((0, 2)) if distractors is None else distractors)
    distractors = _out_of_reach(pose, distractors, body.capture_radius)
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
        leg = _plan_together(room, body, pose, targets[group], distractors)
        pose, found = _play(room, body, pose, targets, leg)
        targets = targets[~found]
        actions += leg
    return actions


def _as_places(name: str, places: np.ndarray) -> np.ndarray:
    """(S, 2) float64; ValueError if it is not."""
    places = np.asarray(places, dtype=np.float64)
    if places.ndim != 2 or places.shape[1] != 2 or not np.isfinite(places).all():
        raise ValueError(f"{name}: expected (S, 2) finite numbers, actual: {places.tolist()}")
    return places


def _within(pose: Pose, places: np.ndarray, reach: float) -> np.ndarray:
    """Which of the places (S, 2) are within reach, (S,) bool."""
    return np.asarray(np.hypot(*(places - pose.position).T) <= reach)


def _out_of_reach(pose: Pose, places: np.ndarray, reach: float) -> np.ndarray:
    """Those of the places (S, 2) that the agent does not touch where it is, and can therefore enter."""
    return places[~_within(pose, places, reach)]


def _plan_together(room: Room, body: Body, pose: Pose, targets: np.ndarray, distractors: np.ndarray) -> list[Action]:
    """Actions that find every target (S, 2) and touch no distractor (D, 2); :class:`NoPlanError` if none are known."""
    # The search differs from what move() does in the last bit, which matters where a place is on the very rim.
    for reach in (body.capture_radius, body.capture_radius * (1 - 1e-9)):
        actions = _widening_search(room, body, pose, targets, distractors, reach)
        if actions is None:
            break
        if _play(room, body, pose, targets, actions)[1].all():
            return actions
    past = f", past distractors at {distractors.tolist()}," if len(distractors) else ""
    raise NoPlanError(
        f"targets: found no way from ({pose.x:.3f}, {pose.y:.3f}) to all of {targets.tolist()}{past} with steps of "
        f"{body.step_size} m, turns of {math.degrees(body.turn_angle):.3f} degrees and a capture_radius of "
        f"{body.capture_radius} m. Smaller turns or a larger capture_radius help."
    )


def _widening_search(
    room: Room, body: Body, pose: Pose, targets: np.ndarray, distractors: np.ndarray, reach: float
) -> list[Action] | None:
    """See :func:`_search`."""
    guide = _Guide(room, body, targets, distractors)
    estimate = guide.from_pose(pose)
    if estimate >= _BLOCKED and _are_in_the_way(room, body, pose, targets, distractors):
        return None
    at_most = _LOST * estimate + _LOST_ACTIONS if len(distractors) else math.inf
    for width in (_BEAM_WIDTH_PER_TARGET * (len(targets) + len(distractors)), *_WIDER_BEAMS):
        most = at_most if width < math.inf else math.inf
        actions, exhausted = _search(room, body, pose, targets, distractors, reach, guide, width, most)
        if actions is not None or exhausted:
            return actions
    return None


def _are_in_the_way(room: Room, body: Body, pose: Pose, targets: np.ndarray, distractors: np.ndarray) -> bool:
    """Whether distractors (D, 2) shut the agent off from one of the targets (S, 2) for certain.

    Seen on a grid, of which every cell counts as open that is so in a single place.
    """
    low, high = room.bounds
    cell = max(body.step_size * _GRID_STEP, float((high - low).max()) / _MOST_CELLS)
    x, y = (np.arange(start, stop + cell, cell) for start, stop in zip(low, high, strict=True))
    cells = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1)
    is_open = room.contains(cells, body.radius - cell)
    for distractor in distractors:
        is_open &= np.hypot(*(cells - distractor).transpose(2, 0, 1)) >= _depth_of_a_step(body) - cell
    regions, _ = ndimage.label(is_open)
    column, row = np.rint((pose.position - low) / cell).astype(int)
    reached = cells[regions == regions[column, row]]
    return any(np.hypot(*(reached - target).T).min() > body.capture_radius + cell for target in targets)


def _depth_of_a_step(body: Body) -> float:
    """How near to the middle of a distractor's disc a step can lead whose ends are both outside of it, metres."""
    return math.sqrt(body.capture_radius**2 - (body.step_size / 2) ** 2)


def _play(room: Room, body: Body, pose: Pose, targets: np.ndarray, actions: list[Action]) -> tuple[Pose, np.ndarray]:
    """The pose after some actions, and which of the targets (S, 2) were found on the way, (S,) bool."""
    found = np.zeros(len(targets), dtype=bool)
    for action in actions:
        pose = move(pose, action, room, body)
        found |= _within(pose, targets, body.capture_radius)
    return pose, found


class _Guide:
    """Estimates how many actions are still to go.

    The way leads straight from place to place, one on the rim of every capture disc, walls ignored: so many turns until
    the next place lies straight ahead or straight behind, then so many steps. Fractions of turns and steps count. What
    follows after a place, by its direction of arrival, is tabled with Held and Karp's dynamic programme (1962). Around
    distractors the way leads over the corners of polygons that enclose their discs.

    Args:
        room: The room.
        body: The agent's body.
        targets: (S, 2) float64, metres.
        distractors: (D, 2) float64, metres.
    """

    def __init__(self, room: Room, body: Body, targets: np.ndarray, distractors: np.ndarray) -> None:
        angles = 2 * np.pi * np.arange(_RIM_PLACES) / _RIM_PLACES
        directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        rims = targets[:, None] + body.capture_radius * directions
        nearest = np.stack([_nearest_standing_place(room, body, target) for target in targets])
        # Where the agent cannot stand on the rim it comes as near to the target as it can.
        places = np.where(room.contains(rims, body.radius)[..., None], rims, nearest[:, None])
        # The sides of the polygons touch the discs.
        out = body.capture_radius / math.cos(math.pi / _RIM_PLACES)
        around = (distractors[:, None] + out * directions).reshape(-1, 2)
        gaps = np.hypot(*(around[:, None] - distractors).transpose(2, 0, 1))
        around = around[room.contains(around, body.radius) & (gaps > body.capture_radius).all(axis=1)]
        # Single precision is plenty for an estimate and takes half the time.
        self._x, self._y = np.vstack([places.reshape(-1, 2), around]).T.astype(np.float32)
        self._discs = distractors.astype(np.float32)
        self._depth = np.float32(_depth_of_a_step(body))
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

    def from_pose(self, pose: Pose) -> float:
        """Actions to go from a pose until all targets are found."""
        x, y, heading = (np.array([value]) for value in (pose.x, pose.y, pose.heading))
        return float(self(x, y, heading, np.array([len(self._from) - 1]))[0])

    def _table(self, num_targets: int) -> np.ndarray:
        """Actions to go from every place.

        Returns:
            (2^S, P, D) float32: when place p is reached in direction d and the targets whose bits are set in the first
            index are still to find, among them the one that is found there, if any; inf if that is not among them.
        """
        targets = np.arange(num_targets)
        place = np.arange(len(self._x))
        target_of = place // _RIM_PLACES
        around = slice(num_targets * _RIM_PLACES, None)
        steps, course = self._straight(self._x, self._y)
        arrival = np.arange(_DIRECTIONS, dtype=np.float32) / _DIRECTIONS
        legs = steps + self._turns(course - arrival[:, None, None])  # (D, P, P)
        then = self._direction(course)
        table = np.full((1 << num_targets, len(place), _DIRECTIONS), np.inf, dtype=np.float32)
        for after in range(1 << num_targets):
            # Nothing is found on the way around distractors, which leads over as many places as it takes.
            shorter = after > 0 and len(place) > num_targets * _RIM_PLACES
            while shorter:
                onward = (legs[:, around] + table[after, place, then[around]]).min(axis=2).T
                shorter = bool((onward < table[after, around] - 1e-3).any())
                table[after, around] = onward
            onward = (legs + table[after, place, then]).min(axis=2).T if after else np.zeros_like(table[0])
            for target in targets[(after >> targets) & 1 == 0]:
                mine = target_of == target
                table[after | 1 << target, mine] = onward[mine]
        return table

    def _straight(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Steps, as good as endless through distractors, and course from points (N,) to all places, (N, P) float32."""
        dx, dy = self._x - x[:, None], self._y - y[:, None]
        steps = np.sqrt(dx * dx + dy * dy) / self._step
        for disc_x, disc_y in self._discs:
            # The nearest point of the leg to the middle of the disc.
            to_x, to_y = (disc_x - x)[:, None], (disc_y - y)[:, None]
            share = ((to_x * dx + to_y * dy) / np.maximum(dx * dx + dy * dy, np.float32(1e-12))).clip(0, 1)
            gaps = np.hypot(to_x - share * dx, to_y - share * dy)
            steps += np.where(gaps < self._depth, _BLOCKED, np.float32(0))
        return steps, np.arctan2(dy, dx) / np.float32(math.pi)

    def _turns(self, off_course: np.ndarray) -> np.ndarray:
        return np.abs(off_course - np.rint(off_course)) / self._turn

    def _direction(self, course: np.ndarray) -> np.ndarray:
        return np.rint(course * _DIRECTIONS).astype(np.int64) % _DIRECTIONS


def _search(
    room: Room,
    body: Body,
    pose: Pose,
    targets: np.ndarray,
    distractors: np.ndarray,
    reach: float,
    guide: _Guide,
    width: float,
    at_most: float,
) -> tuple[list[Action] | None, bool]:
    """Beam search over poses.

    Args:
        room: The room.
        body: The agent's body.
        pose: The start.
        targets: (S, 2) float64, metres.
        distractors: (D, 2) float64, metres, none in reach at the start.
        reach: The capture radius within which targets are found, metres.
        guide: What estimates the remaining way.
        width: How many poses are kept after every action.
        at_most: The search is given up after so many actions.

    Returns:
        The actions, or None; and whether every pose that can be reached was seen, so that a wider search is no use.
    """
    low, high = room.bounds
    cell = body.step_size * _SAME_STEP
    cells = int((high - low).max() / cell) + 2
    sectors = math.ceil(2 * math.pi / min(_SAME_HEADING, body.turn_angle * _SAME_TURN))
    bits = 1 << np.arange(len(targets))
    keep_out = body.capture_radius * (1 + 1e-9)  # move() differs in the last bit
    x, y, turns, left = np.array([pose.x]), np.array([pose.y]), np.zeros(1, dtype=np.int64), bits.sum(keepdims=True)
    seen: set[int] = set()
    history: list[np.ndarray] = []
    exhausted = True
    while len(seen) < _MAX_POSES and len(history) < at_most:
        x, y, turns, left = _all_moves(room, body, pose.heading, x, y, turns, left)
        touching = (np.hypot(x[:, None] - distractors[:, 0], y[:, None] - distractors[:, 1]) <= keep_out).any(axis=1)
        near = np.hypot(x[:, None] - targets[:, 0], y[:, None] - targets[:, 1]) <= reach
        near[touching] = False
        left = left & ~(near @ bits)
        if not left.all():
            return _trace_back(history, int(np.argmin(left))), exhausted
        heading = pose.heading + turns * body.turn_angle
        sector = np.rint(heading / (2 * math.pi) * sectors).astype(np.int64) % sectors
        column, row = np.rint((x - low[0]) / cell).astype(np.int64), np.rint((y - low[1]) / cell).astype(np.int64)
        keys = ((column * cells + row) * sectors + sector) * 2 * bits[-1] + left
        new = []
        for index, (key, touches) in enumerate(zip(keys.tolist(), touching.tolist(), strict=True)):
            if key not in seen and not touches:
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
    """What :func:`auralnav_gym.movement.move` does, for many poses and all actions at once.

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
