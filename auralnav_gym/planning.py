"""Plans for an agent that knows the scene: few actions that find every target, and what SPL and SNA compare with."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from auralnav_gym.movement import Action, Body, Pose, move
from auralnav_gym.rooms import Room
from auralnav_gym.scene import Scene
from auralnav_gym.tours import order_of_visit, shortest_tour, walking_lengths

# Targets that are planned for at once; the effort grows with 2 to their number.
_JOINT_TARGETS = 6

# Places on the rim of a capture disc to which the remaining way is estimated, and around a distractor's disc, and a
# corner that turns inwards.
_RIM_PLACES = 16

# What the estimate adds for a leg through a distractor's disc or a wall, in actions.
_BLOCKED = np.float32(1000)

# By this share of the clearance to walls, a leg may come nearer to a corner: some are tangents.
_TANGENT = 1e-3

# Directions, over half a circle, in which it may arrive there.
_DIRECTIONS = 36

# The search keeps so many poses per target, and per distractor, after every action. Where that leads nowhere it is
# repeated with so many in all, and then with every pose.
_BEAM_WIDTH_PER_TARGET = 50
_WIDER_BEAMS = (2500, math.inf)

# Between distractors and around corners it has lost its way after so many times the estimated actions and some more:
# there is a gap that it does not hit. After targets that move it takes longer, as they may run away for a while.
_LOST, _LOST_PURSUING, _LOST_ACTIONS = 1.5, 4.0, 10

# Targets that move are planned for so often, at most, each time where the last plan met them, in a beam wider than the
# first by so much.
_ROUNDS, _WIDER_AGAIN = 4, 4

# So far ahead a meeting with a target is looked for: what it takes to cross the room and turn about so many times.
_AHEAD = 2

# How far ahead it is known where sources are: what it takes to walk so many times along all walls and turn as often.
_TIMES_ROUND = 10

# The grid on which it is seen whether there is a way at all: its step in steps of the agent, or a coarser one with so
# many cells along the room.
_GRID_STEP, _MOST_CELLS = 1 / 16, 400

# Poses after which a search is given up.
_MAX_POSES = 500_000

# Poses count as the same within this share of a step, and within this angle (radians) or this share of a turn.
_SAME_STEP, _SAME_HEADING, _SAME_TURN = 1 / 64, math.radians(0.25), 1 / 4


class NoPlanError(RuntimeError):
    """Targets cannot be reached, or no way to them was found."""


def shortest_and_fewest(scene: Scene, body: Body, seconds: float, walked: float, num_actions: int) -> tuple[float, int]:
    """L* and A*, with which SPL and SNA compare an agent that has found every target.

    Both are for one who knows the scene. L* is the length of the shortest tour on the floor through the capture discs
    of all targets (:func:`auralnav_gym.tours.shortest_tour`), which leaves distractors out of account, the body's size
    and its steps. A* is the oracle's number of actions, which touches no distractor (:func:`plan`).

    Where targets move there is no shortest tour but only ways to meet them, and a way can be the shorter the longer one
    waits. L* is then the metres that the oracle walks with those A* actions; compare the dynamic SPL of Younes et al.
    (2023, "Catch Me If You Hear Me"), which takes the shortest path to where a target can first be met.

    Args:
        scene: The scene, from its start.
        body: The agent's body.
        seconds: How long an action lasts.
        walked: Metres that the agent walked. Where targets move, L* is no larger.
        num_actions: Its actions, be it through distractors. A* is no larger.

    Returns:
        Metres and a number of actions.
    """
    try:
        actions = plan_scene(scene, body, seconds)
    except NoPlanError:
        actions = None
    if any(source.motion is not None for source in scene.sources if source.is_target):
        length = walked if actions is None else min(_length(scene.room, body, scene.pose, actions), walked)
    else:
        targets = scene.source_positions[scene.is_target, :2]
        length = shortest_tour(scene.pose.position, targets, body.capture_radius, scene.room)
    return length, num_actions if actions is None else min(len(actions), num_actions)


def plan_scene(scene: Scene, body: Body, seconds: float) -> list[Action]:
    """:func:`plan` for all targets and distractors of a scene, from its start.

    Args:
        scene: The scene.
        body: The agent's body.
        seconds: How long an action lasts; no matter where no source moves.

    Raises:
        NoPlanError: If no plan was found.
    """
    ahead = places_ahead(scene, body, seconds)
    return plan(scene.room, body, scene.pose, ahead[:, scene.is_target], ahead[:, ~scene.is_target])


def places_ahead(scene: Scene, body: Body, seconds: float, made: int = 0) -> np.ndarray:
    """Where the sources will be after the actions to come, more than it should take to find everything.

    Args:
        scene: The scene.
        body: The agent's body.
        seconds: How long an action lasts.
        made: How many actions were made since the start.

    Returns:
        (K, S, 2) float64, metres: now, after the next action and so on. (1, S, 2) where no source moves.
    """
    now = scene.source_positions[None, :, :2]
    if scene.is_still:
        return now
    edges = np.roll(scene.room.corners, -1, axis=0) - scene.room.corners
    around = float(np.hypot(*edges.T).sum()) / body.step_size + 2 * math.pi / body.turn_angle
    times = (made + np.arange(1 + math.ceil(_TIMES_ROUND * around))) * seconds
    ahead = np.repeat(now, len(times), axis=0)
    for index, source in enumerate(scene.sources):
        if source.motion is not None:
            ahead[:, index] = source.motion.positions(times)
    return ahead


def plan(
    room: Room, body: Body, pose: Pose, targets: np.ndarray, distractors: np.ndarray | None = None
) -> list[Action]:
    """Few actions, mostly the fewest, that bring the agent within reach of every target and of no distractor.

    A beam search: all poses to which one more action leads, of which those from where the remaining way looks shortest
    go on (see :class:`_Guide`). A target counts as found when an action ends within ``body.capture_radius`` of it, and
    a distractor as touched likewise: a step may lead through the rim of its disc and out again. More than six targets
    are planned for in groups of six, in a good order of visit.

    Sources may move. It is known in advance where they will be after every action, and the search looks there. It is
    repeated a few times, led each time to where the last plan met the targets.

    Not guaranteed: that the plan is the shortest; and that a plan is found where one exists, if it takes a long way
    round that looks wrong at every step, or to stand in exactly one place (poses are told apart to 1/64 of a step).

    Args:
        room: The room.
        body: The agent's body.
        pose: Where the agent starts.
        targets: (S, 2) float, metres; or (K, S, 2): where they are now, after one action and so on. If they move, the
            plan has fewer than K actions.
        distractors: (D, 2) float, metres; or (K, D, 2); None: there are none. Those that the agent touches at the start
            it may leave as it likes, and come back to.

    Returns:
        The actions, which :func:`auralnav_gym.movement.move` was seen to play to the end; empty if there are no
        targets.

    Raises:
        ValueError: If ``targets`` or ``distractors`` has another shape or is not finite.
        NoPlanError: If a target is out of reach from everywhere in the room, or no plan was found.
    """
    targets = _as_tracks("targets", targets)
    distractors = _as_tracks("distractors", np.empty((0, 2)) if distractors is None else distractors)
    distractors = distractors[:, ~_within(pose, distractors[0], body.capture_radius)]
    for track in targets.swapaxes(0, 1):
        _require_within_reach(room, body, track)
    actions: list[Action] = []
    while targets.shape[1]:
        group = order_of_visit(pose.position, targets[0], room)[:_JOINT_TARGETS]
        task = _Task(room, body, pose, targets[:, group], distractors)
        leg = _plan_together(task)
        pose, found = _play(room, body, pose, targets, leg)
        if len(leg) == task.at_most and not found.all():
            raise NoPlanError(f"targets: found no way to all of them within the {task.at_most} actions that are known")
        targets = _later(targets, len(leg))[:, found == 0]
        distractors = _later(distractors, len(leg))
        actions += leg
    return actions


def _as_tracks(name: str, places: np.ndarray) -> np.ndarray:
    """(K, S, 2) float64, K = 1 if all stand still; ValueError if it cannot be."""
    places = np.asarray(places, dtype=np.float64)
    tracks = places[None] if places.ndim == 2 else places
    if tracks.ndim != 3 or not len(tracks) or tracks.shape[2] != 2 or not np.isfinite(tracks).all():
        raise ValueError(f"{name}: expected (S, 2) or (K, S, 2) finite numbers, actual: {places.tolist()}")
    return tracks[:1] if (tracks == tracks[0]).all() else tracks


def _require_within_reach(room: Room, body: Body, track: np.ndarray) -> None:
    """NoPlanError if a target is nowhere on its track (K, 2) within reach of a place where the agent can stand."""
    gap = math.inf
    for place in track:
        gap = min(gap, float(np.hypot(*(room.nearest_standing_place(place, body.radius) - place))))
        if gap <= body.capture_radius * (1 + 1e-9):
            return
    raise NoPlanError(
        f"targets: expected places within {body.capture_radius} m of one where the agent can stand, "
        f"actual: {track[0].tolist()}, which is {gap:.3f} m from the nearest"
    )


def _within(pose: Pose, places: np.ndarray, reach: float) -> np.ndarray:
    """Which of the places (S, 2) are within reach, (S,) bool."""
    return np.asarray(np.hypot(*(places - pose.position).T) <= reach)


def _at(tracks: np.ndarray, made: int) -> np.ndarray:
    """Where the sources of tracks (K, S, 2) are after so many actions, (S, 2); after the last place they stay."""
    return tracks[min(made, len(tracks) - 1)]


def _later(tracks: np.ndarray, made: int) -> np.ndarray:
    """Tracks (K, S, 2) from where the sources are after so many actions."""
    return tracks[min(made, len(tracks) - 1) :]


@dataclass(frozen=True)
class _Task:
    """What is to be planned.

    Attributes:
        room: The room.
        body: The agent's body.
        pose: The start.
        targets: (K, S, 2) float64, metres, now, after one action and so on; K = 1 if they stand still.
        distractors: (K, D, 2) float64, likewise, none in reach at the start.
    """

    room: Room
    body: Body
    pose: Pose
    targets: np.ndarray
    distractors: np.ndarray

    @property
    def moves(self) -> bool:
        """Whether a source does, so that it matters when the agent is where."""
        return max(len(self.targets), len(self.distractors)) > 1

    @property
    def at_most(self) -> float:
        """For how many actions it is known where the sources are."""
        known = [len(tracks) - 1 for tracks in (self.targets, self.distractors) if len(tracks) > 1]
        return min(known, default=math.inf)

    @property
    def ahead(self) -> int:
        """For how many actions a meeting with a target is looked for."""
        low, high = self.room.bounds
        across = float(np.hypot(*(high - low))) / self.body.step_size + math.pi / self.body.turn_angle
        return math.ceil(_AHEAD * across)

    @property
    def still_distractors(self) -> np.ndarray:
        """(D, 2) float64, those distractors that stand still."""
        return self.distractors[0, (self.distractors == self.distractors[0]).all(axis=(0, 2))]


def _plan_together(task: _Task) -> list[Action]:
    """Actions that find every target and touch no distractor; :class:`NoPlanError` if none are known."""
    room, body, pose = task.room, task.body, task.pose
    # The search differs from what move() does in the last bit, which matters where a place is on the very rim.
    for reach in (body.capture_radius, body.capture_radius * (1 - 1e-9)):
        actions = _search_again_where_met(task, reach) if len(task.targets) > 1 else _search_widely(task, reach)
        if actions is None:
            break
        if _play(room, body, pose, task.targets, actions)[1].all():
            return actions
    past = f", past distractors at {task.distractors[0].tolist()}," if task.distractors.size else ""
    raise NoPlanError(
        f"targets: found no way from ({pose.x:.3f}, {pose.y:.3f}) to all of {task.targets[0].tolist()}{past} with "
        f"steps of {body.step_size} m, turns of {math.degrees(body.turn_angle):.3f} degrees and a capture_radius of "
        f"{body.capture_radius} m. Smaller turns or a larger capture_radius help."
    )


def _play(room: Room, body: Body, pose: Pose, targets: np.ndarray, actions: list[Action]) -> tuple[Pose, np.ndarray]:
    """Plays some actions.

    Returns:
        The pose after them, and for each of the targets (K, S, 2) the number of the action that found it, from 1 on; 0
        if none did; (S,) int.
    """
    found = np.zeros(targets.shape[1], dtype=np.int64)
    for made, action in enumerate(actions, start=1):
        pose = move(pose, action, room, body)
        found[(found == 0) & _within(pose, _at(targets, made), body.capture_radius)] = made
    return pose, found


def _length(room: Room, body: Body, pose: Pose, actions: list[Action]) -> float:
    """Metres walked by some actions."""
    length = 0.0
    for action in actions:
        after = move(pose, action, room, body)
        length += math.hypot(after.x - pose.x, after.y - pose.y)
        pose = after
    return length


def _search_again_where_met(task: _Task, reach: float) -> list[Action] | None:
    """The best of some searches for targets that move, each led to where the one before met them."""
    met = _expect_meetings(task)
    best: list[Action] | None = None
    for _ in range(_ROUNDS):
        guide = _PursuitGuide(task, met)
        if best is None:
            actions = _search_widely(task, reach, guide)
        else:
            actions, _ = _search(task, reach, guide, _WIDER_AGAIN * _narrow(task), len(best) - 1)
        if actions is None:
            break
        best = actions
        then = _play(task.room, task.body, task.pose, task.targets, actions)[1]
        if (then == met).all():
            break
        met = np.where(then > 0, then, met)
    return best


def _expect_meetings(task: _Task) -> np.ndarray:
    """After how many actions each target is met by one who walks straight from one to the next in the best order.

    Turns do not count. Held and Karp's dynamic programme: to be at a place earlier is never worse, for one can wait.

    Returns:
        (S,) int, at most K - 1.
    """
    count = task.targets.shape[1]
    everything = (1 << count) - 1
    # By the targets that were met, a bit for each, and the last of them: after how many actions each was, 0: not yet.
    ways = {(0, -1): np.zeros(count, dtype=np.int64)}
    for found, last in ((found, last) for found in range(everything) for last in range(-1, count)):
        if (found, last) not in ways:
            continue
        so_far = ways[found, last]
        made = int(so_far.max())
        here = task.pose.position if last < 0 else task.targets[made, last]
        for target in range(count):
            if found >> target & 1:
                continue
            way = so_far.copy()
            way[target] = made + _wait_until_met(task, here, made, target)
            best = ways.get((found | 1 << target, target))
            if best is None or way[target] < best[target]:
                ways[found | 1 << target, target] = way
    return min((ways[everything, last] for last in range(count)), key=lambda way: int(way.max()))


def _wait_until_met(task: _Task, here: np.ndarray, made: int, target: int) -> int:
    """In how many actions a target can be met from a place (2,), straight ahead and around corners.

    If it cannot be: when there is least to go.
    """
    ahead = task.targets[made : made + task.ahead, target]
    steps = (walking_lengths(task.room, here[None], ahead)[0] - task.body.capture_radius) / task.body.step_size
    return int(np.maximum(steps - np.arange(len(ahead)), 0).argmin())


def _narrow(task: _Task) -> int:
    """The width of the first search."""
    return _BEAM_WIDTH_PER_TARGET * (task.targets.shape[1] + task.distractors.shape[1])


def _search_widely(task: _Task, reach: float, guide: _Guide | None = None) -> list[Action] | None:
    """Searches, each wider than the one before, until one finds a plan; see :func:`_search`."""
    guide = _Guide(task.room, task.body, task.targets[0], task.still_distractors) if guide is None else guide
    estimate = guide.from_pose(task.pose)
    if estimate >= _BLOCKED and not task.moves and _there_is_no_way(task):
        return None
    is_plain = not task.moves and not task.distractors.size and task.room.is_convex
    at_most = math.inf if is_plain else _LOST * estimate + _LOST_ACTIONS
    if task.moves:
        at_most = _LOST_PURSUING * (estimate % float(_BLOCKED)) + _LOST_ACTIONS  # what is in the way may leave it
    for width in (_narrow(task), *_WIDER_BEAMS):
        most = min(at_most if width < math.inf else math.inf, task.at_most)
        actions, exhausted = _search(task, reach, guide, width, most)
        if actions is not None or exhausted:
            return actions
    return None


def _there_is_no_way(task: _Task) -> bool:
    """Whether distractors or a narrow place shut the agent off from one of the targets for certain.

    Seen on a grid, of which every cell counts as open that is so in a single place.
    """
    room, body = task.room, task.body
    low, high = room.bounds
    cell = max(body.step_size * _GRID_STEP, float((high - low).max()) / _MOST_CELLS)
    x, y = (np.arange(start, stop + cell, cell) for start, stop in zip(low, high, strict=True))
    cells = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1)
    is_open = room.contains(cells, body.radius - cell)
    for distractor in task.distractors[0]:
        is_open &= np.hypot(*(cells - distractor).transpose(2, 0, 1)) >= _depth_of_a_step(body) - cell
    regions, _ = ndimage.label(is_open)
    column, row = np.rint((task.pose.position - low) / cell).astype(int)
    reached = cells[regions == regions[column, row]]
    return any(np.hypot(*(reached - target).T).min() > body.capture_radius + cell for target in task.targets[0])


def _depth_of_a_step(body: Body) -> float:
    """How near to the middle of a distractor's disc a step can lead whose ends are both outside of it, metres."""
    return math.sqrt(body.capture_radius**2 - (body.step_size / 2) ** 2)


class _Guide:
    """Estimates how many actions are still to go.

    The way leads straight from place to place, one on the rim of every capture disc: so many turns until the next place
    lies straight ahead or straight behind, then so many steps. Fractions of turns and steps count. What follows after a
    place, by its direction of arrival, is tabled with Held and Karp's dynamic programme (1962). Around distractors, and
    around corners that turn inwards, the way leads over the corners of polygons that enclose their discs.

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
        nearest = np.stack([room.nearest_standing_place(target, body.radius) for target in targets])
        # Where the agent cannot stand on the rim it comes as near to the target as it can.
        places = np.where(room.contains(rims, body.radius)[..., None], rims, nearest[:, None])
        # The sides of the polygons touch the discs.
        out = np.array([[[body.capture_radius]], [[body.radius]]]) / math.cos(math.pi / _RIM_PLACES)
        around = np.vstack(
            [
                (middles[:, None] + distance * directions).reshape(-1, 2)
                for middles, distance in zip((distractors, room.reflex_corners), out, strict=True)
            ]
        )
        gaps = np.hypot(*(around[:, None] - distractors).transpose(2, 0, 1))
        around = around[room.contains(around, body.radius) & (gaps > body.capture_radius).all(axis=1)]
        # Single precision is plenty for an estimate and takes half the time.
        self._x, self._y = np.vstack([places.reshape(-1, 2), around]).T.astype(np.float32)
        corners = room.corners.astype(np.float32)
        #: Where walls that can be in the way begin and how they lead on, (M, 4).
        self._walls = np.hstack([corners, np.roll(corners, -1, axis=0) - corners])[: 0 if room.is_convex else None]
        # Middles (x, y) of what legs keep clear of, and how clear.
        self._discs = [(x, y, np.float32(_depth_of_a_step(body))) for x, y in distractors.astype(np.float32)]
        clearance = np.float32(body.radius * (1 - _TANGENT))
        self._discs += [(x, y, clearance) for x, y in room.reflex_corners.astype(np.float32)]
        self._step = np.float32(body.step_size)
        # Angles are in half turns and modulo one, since walking backwards does as well as walking forwards.
        turn = abs(body.turn_angle / math.pi - round(body.turn_angle / math.pi))
        self._turn = np.float32(max(turn, 1e-3))
        self._from = self._table(len(targets))

    def __call__(
        self, x: np.ndarray, y: np.ndarray, heading: np.ndarray, left: np.ndarray, made: int = 0
    ) -> np.ndarray:
        """Actions to go.

        Args:
            x: (N,) float64, metres.
            y: (N,) float64, metres.
            heading: (N,) float64, radians.
            left: (N,) int, the targets still to find, a bit for each, not 0.
            made: How many actions were made so far; no matter where nothing moves.

        Returns:
            (N,) float32.
        """
        return self._to_go(x.astype(np.float32), y.astype(np.float32), heading, left, self._x, self._y)

    def renewed(self, pose: Pose, left: int, made: int) -> _Guide:
        """A guide for the rest of the way.

        Args:
            pose: Of those that the agent can have after so many actions, that from where least seems to be to go.
            left: The targets that it has still to find then, a bit for each.
            made: How many actions were made.
        """
        return self

    def from_pose(self, pose: Pose) -> float:
        """Actions to go from a pose at the start until all targets are found."""
        x, y, heading = (np.array([value]) for value in (pose.x, pose.y, pose.heading))
        return float(self(x, y, heading, np.array([len(self._from) - 1]))[0])

    def _to_go(
        self,
        x: np.ndarray,
        y: np.ndarray,
        heading: np.ndarray,
        left: np.ndarray,
        place_x: np.ndarray,
        place_y: np.ndarray,
    ) -> np.ndarray:
        """See :meth:`__call__`; with where the places are now, (P,) or (N, P) float32, metres."""
        steps, course = self._straight(x, y, place_x, place_y)
        turns = self._turns(course - (heading / math.pi).astype(np.float32)[:, None])
        onward = self._from[left[:, None], np.arange(len(self._x)), self._direction(course)]
        return np.asarray((steps + turns + onward).min(axis=1))

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
        steps, course = self._straight(self._x, self._y, self._x, self._y)
        arrival = np.arange(_DIRECTIONS, dtype=np.float32) / _DIRECTIONS
        legs = steps + self._turns(course - arrival[:, None, None])  # (D, P, P)
        then = self._direction(course)
        table = np.full((1 << num_targets, len(place), _DIRECTIONS), np.inf, dtype=np.float32)
        for after in range(1 << num_targets):
            # Nothing is found on the way around something, which leads over as many places as it takes.
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

    def _straight(
        self, x: np.ndarray, y: np.ndarray, place_x: np.ndarray, place_y: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Steps, endless if blocked, and course from points (N,) to places (P,) or (N, P), both (N, P) float32."""
        dx, dy = place_x - x[:, None], place_y - y[:, None]
        steps = np.sqrt(dx * dx + dy * dy) / self._step
        for disc_x, disc_y, clearance in self._discs:
            # The nearest point of the leg to the middle of the disc.
            to_x, to_y = (disc_x - x)[:, None], (disc_y - y)[:, None]
            share = ((to_x * dx + to_y * dy) / np.maximum(dx * dx + dy * dy, np.float32(1e-12))).clip(0, 1)
            gaps = np.hypot(to_x - share * dx, to_y - share * dy)
            steps += np.where(gaps < clearance, _BLOCKED, np.float32(0))
        for wall_x, wall_y, along_x, along_y in self._walls:
            # Its ends are on different sides of the leg, and so are the leg's ends of it.
            cross = dx * along_y - dy * along_x
            of_point = ((x - wall_x) * along_y - (y - wall_y) * along_x)[:, None]
            of_wall = (wall_y - y)[:, None] * dx - (wall_x - x)[:, None] * dy
            is_crossed = (of_point * (of_point + cross) < 0) & (of_wall * (of_wall + cross) < 0)
            steps += np.where(is_crossed, _BLOCKED, np.float32(0))
        return steps, np.arctan2(dy, dx) / np.float32(math.pi)

    def _turns(self, off_course: np.ndarray) -> np.ndarray:
        return np.abs(off_course - np.rint(off_course)) / self._turn

    def _direction(self, course: np.ndarray) -> np.ndarray:
        return np.rint(course * _DIRECTIONS).astype(np.int64) % _DIRECTIONS


class _PursuitGuide(_Guide):
    """Estimates how many actions are still to go, where targets move.

    The next target is met where it will be when one who walks straight ahead comes within its reach. The targets after
    it are where they are said to be met.

    Args:
        task: What is to be planned.
        met: (S,) int, after how many actions each target is met.
    """

    def __init__(self, task: _Task, met: np.ndarray) -> None:
        self._task, self._met = task, met
        self._meetings = task.targets[met, np.arange(len(met))]
        super().__init__(task.room, task.body, self._meetings, task.still_distractors)
        self._tracks = task.targets
        self._radius = task.body.capture_radius
        self._times = np.arange(task.ahead, dtype=np.float32)

    def __call__(
        self, x: np.ndarray, y: np.ndarray, heading: np.ndarray, left: np.ndarray, made: int = 0
    ) -> np.ndarray:
        """See :meth:`_Guide.__call__`."""
        x, y = x.astype(np.float32), y.astype(np.float32)
        moved = self._next_places(x, y, heading, made) - self._meetings  # (N, S, 2)
        place_x, place_y = np.tile(self._x, (len(x), 1)), np.tile(self._y, (len(x), 1))
        on_rims = slice(0, moved.shape[1] * _RIM_PLACES)
        place_x[:, on_rims] += np.repeat(moved[..., 0], _RIM_PLACES, axis=1)
        place_y[:, on_rims] += np.repeat(moved[..., 1], _RIM_PLACES, axis=1)
        return self._to_go(x, y, heading, left, place_x, place_y)

    def renewed(self, pose: Pose, left: int, made: int) -> _Guide:
        """See :meth:`_Guide.renewed`; another guide if a target was not met when it was said to be."""
        is_left = (left >> np.arange(len(self._met)) & 1).astype(bool)
        if len(self._x) == _RIM_PLACES or self._met[is_left].min() > made:
            return self
        rest = replace(self._task, pose=pose, targets=_later(self._tracks, made)[:, is_left])
        met = self._met.copy()
        met[is_left] = np.minimum(made + _expect_meetings(rest), len(self._tracks) - 1)
        return _PursuitGuide(self._task, met)

    def _next_places(self, x: np.ndarray, y: np.ndarray, heading: np.ndarray, made: int) -> np.ndarray:
        """Where each target can first be met from poses (N,), walls ignored, (N, S, 2) float64, metres."""
        rows = np.minimum(made + np.arange(len(self._times)), len(self._tracks) - 1)
        ahead = self._tracks[rows]  # (T, S, 2)
        dx = ahead[..., 0].astype(np.float32) - x[:, None, None]
        dy = ahead[..., 1].astype(np.float32) - y[:, None, None]
        steps = (np.sqrt(dx * dx + dy * dy) - np.float32(self._radius)).clip(0) / self._step
        course = np.arctan2(dy, dx) / np.float32(math.pi)
        turns = self._turns(course - (heading / math.pi).astype(np.float32)[:, None, None])
        # Within reach there is no need to turn.
        to_go = np.where(steps > 0, steps + turns, np.float32(0))
        late = (to_go - self._times[:, None]).clip(0)
        return ahead[late.argmin(axis=1), np.arange(ahead.shape[1])]


def _search(task: _Task, reach: float, guide: _Guide, width: float, at_most: float) -> tuple[list[Action] | None, bool]:
    """Beam search over poses.

    Args:
        task: What is to be planned.
        reach: The capture radius within which targets are found, metres.
        guide: What estimates the remaining way.
        width: How many poses are kept after every action.
        at_most: The search is given up after so many actions.

    Returns:
        The actions, or None; and whether every pose that can be reached was seen, so that a wider search is no use.
    """
    room, body, pose = task.room, task.body, task.pose
    low, high = room.bounds
    cell = body.step_size * _SAME_STEP
    cells = int((high - low).max() / cell) + 2
    sectors = math.ceil(2 * math.pi / min(_SAME_HEADING, body.turn_angle * _SAME_TURN))
    bits = 1 << np.arange(task.targets.shape[1])
    keep_out = body.capture_radius * (1 + 1e-9)  # move() differs in the last bit
    x, y, turns, left = np.array([pose.x]), np.array([pose.y]), np.zeros(1, dtype=np.int64), bits.sum(keepdims=True)
    seen: set[int] = set()
    num_seen = 0
    history: list[np.ndarray] = []
    exhausted = True
    while num_seen < _MAX_POSES and len(history) < at_most:
        made = len(history) + 1
        targets, distractors = _at(task.targets, made), _at(task.distractors, made)
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
        if task.moves:
            seen.clear()  # to be there later is something else
        new = []
        for index, (key, touches) in enumerate(zip(keys.tolist(), touching.tolist(), strict=True)):
            if key not in seen and not touches:
                seen.add(key)
                new.append(index)
        num_seen += len(new)
        if not new:
            return None, exhausted
        kept = np.array(new)
        if len(kept) > width:
            exhausted = False
            to_go = guide(x[kept], y[kept], heading[kept], left[kept], made)
            best = kept[np.argmin(to_go)]
            renewed = guide.renewed(Pose(x[best], y[best], heading[best]), int(left[best]), made)
            if renewed is not guide:
                guide = renewed
                to_go = guide(x[kept], y[kept], heading[kept], left[kept], made)
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
    angle = heading + turns * body.turn_angle
    dx, dy = body.step_size * np.cos(angle), body.step_size * np.sin(angle)
    points, steps = np.stack([x, y], axis=1), np.stack([dx, dy], axis=1)
    forward, backward = (room.free_shares(points, step, body.radius) for step in (steps, -steps))
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
