"""Floor plans: where one can stand, how far one can walk, and how far it is from place to place.

Plane geometry on numbers alone; :class:`auralnav_gym.rooms.Room` hands its floor's questions on to here. Lengths are in
metres, corners go counter-clockwise around the floor, and ``clearance`` is what somebody's centre keeps to the walls.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import shapely
from scipy.sparse import csgraph

# A step that comes nearer to a wall by less than this share of its length is taken along the wall, not blocked by it.
PARALLEL = 1e-12

# A corner that turns by less is straight, radians.
_STRAIGHT = 1e-9

# Metres that a place may lie off the floor, or too near to a wall, by the rounding of what led there.
_TOLERANCE = 1e-9

# Metres that a line of sight may lie off the floor: enough to see along a wall that bends by less than a corner does.
_SIGHT_TOLERANCE = 1e-8

# From so many lines on it pays to sort out most of them before shapely looks.
_MANY_LINES = 1000

# A step that comes nearer to a corner than the clearance by less than this, metres, passes by. Whoever walks along a
# wall past the corner where it ends does so again and again, within rounding.
_GRAZE = 1e-11

# A way around a corner leads over the corners of a polygon that encloses the circle around it, one for so many radians.
_ARC = math.pi / 12

# By what share ways around corners keep more clearance than they have to, so that rounding does not block them.
_SPARE = 1e-6


class FloorPlan:
    """A convex floor, on which every way is straight.

    Args:
        corners: (M, 2) float64, metres, counter-clockwise.
    """

    def __init__(self, corners: np.ndarray) -> None:
        self.corners = corners
        edges = np.roll(corners, -1, axis=0) - corners
        normals = np.stack([-edges[:, 1], edges[:, 0]], axis=1) / np.hypot(*edges.T)[:, None]
        offsets = np.sum(normals * corners, axis=1)
        #: (a, b, c) of every wall, in the order of the corners: (x, y) is a x + b y - c metres inside of its line.
        self.walls = tuple((float(a), float(b), float(c)) for (a, b), c in zip(normals, offsets, strict=True))
        self._walls = np.array(self.walls)

    @property
    def reflex_corners(self) -> np.ndarray:
        """(R, 2) float64, the corners that turn inwards, metres."""
        return np.empty((0, 2))

    def wall_distances(self, points: np.ndarray) -> np.ndarray:
        """Signed distance of points (..., 2) to the line of every wall, (..., M) float64, metres, positive inside."""
        return np.asarray(points, dtype=np.float64) @ self._walls[:, :2].T - self._walls[:, 2]

    def contains(self, points: np.ndarray, clearance: float) -> np.ndarray:
        """See :meth:`auralnav_gym.rooms.Room.contains`."""
        return np.asarray((self.wall_distances(points) >= clearance).all(axis=-1))

    def free_share(self, x: float, y: float, dx: float, dy: float, clearance: float) -> float:
        """See :meth:`auralnav_gym.rooms.Room.free_share`."""
        least_approach = PARALLEL * math.hypot(dx, dy)
        share = 1.0
        for normal_x, normal_y, offset in self.walls:
            approach = -(normal_x * dx + normal_y * dy)
            if approach > least_approach:
                room_left = normal_x * x + normal_y * y - offset - clearance
                share = min(share, max(room_left, 0.0) / approach)
        return share

    def free_shares(self, points: np.ndarray, steps: np.ndarray, clearance: float) -> np.ndarray:
        """See :meth:`auralnav_gym.rooms.Room.free_shares`."""
        normals, offsets = self._walls[:, :2], self._walls[:, 2] + clearance
        room_left = points @ normals.T - offsets
        approach = -steps @ normals.T
        least_approach = PARALLEL * np.hypot(*steps.T)[:, None]
        shares = np.divide(room_left, approach, out=np.ones_like(approach), where=approach > least_approach)
        return np.asarray(shares.min(axis=1).clip(0, 1))

    def sees(self, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """See :meth:`auralnav_gym.rooms.Room.sees`."""
        return self.contains(starts, -_TOLERANCE) & self.contains(ends, -_TOLERANCE)

    def distances(self, start: np.ndarray | Sequence[float], places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See :meth:`auralnav_gym.rooms.Room.distances`."""
        straight = np.hypot(places[:, 0] - start[0], places[:, 1] - start[1])
        return straight, straight

    def walking_distances(self, start: np.ndarray | Sequence[float], places: np.ndarray) -> np.ndarray:
        """See :meth:`auralnav_gym.rooms.Room.walking_distances`."""
        return self.distances(start, places)[1]

    def shortest_path(self, start: np.ndarray, end: np.ndarray, clearance: float) -> np.ndarray:
        """See :meth:`auralnav_gym.rooms.Room.shortest_path`."""
        return np.array([start, end], dtype=np.float64)

    def nearest_standing_place(self, target: np.ndarray, clearance: float) -> np.ndarray:
        """See :meth:`auralnav_gym.rooms.Room.nearest_standing_place`.

        The place is the target, or lies on the border of where one can stand: the foot of a perpendicular or a corner.
        """
        if self.contains(target, clearance - _TOLERANCE):
            return np.array(target, dtype=np.float64)
        places = self._border_places(np.asarray(target, dtype=np.float64), clearance)
        distances = np.hypot(*(places - target).T)
        distances[~self.contains(places, clearance - _TOLERANCE)] = np.inf
        nearest = np.argmin(distances)
        if not np.isfinite(distances[nearest]):
            raise ValueError(
                f"clearance: expected one that leaves room to stand, actual: nowhere on this floor is {clearance} m "
                "from every wall. Enlarge the room or lower the clearance."
            )
        return places[nearest]

    def _border_places(self, target: np.ndarray, clearance: float) -> np.ndarray:
        """(n, 2), among them the place nearest to the target (2,) on the border of where one can stand."""
        normals, offsets = self._walls[:, :2], self._walls[:, 2] + clearance
        feet = target - (normals @ target - offsets)[:, None] * normals
        pairs = np.stack(np.triu_indices(len(normals), k=1), axis=1)
        pairs = pairs[np.abs(np.linalg.det(normals[pairs])) > 1e-9]  # the others are parallel
        return np.vstack([feet, np.linalg.solve(normals[pairs], offsets[pairs][..., None])[..., 0]])


class NonConvexFloorPlan(FloorPlan):
    """A floor with corners that turn inwards, around which ways lead.

    Whoever keeps a clearance is kept from a capsule around every wall: from a line beside it, as on a convex floor, but
    no longer than the wall, and from circles around its ends. Only around corners that turn inwards do the circles
    matter. A shortest way turns at such corners alone, and so is one in the graph of those that see each other (Lozano-
    Pérez and Wesley, An algorithm for planning collision-free paths among polyhedral obstacles, 1979).

    Args:
        corners: (M, 2) float64, metres, counter-clockwise; edges must not cross or touch.
    """

    def __init__(self, corners: np.ndarray) -> None:
        super().__init__(corners)
        edges = np.roll(corners, -1, axis=0) - corners
        lengths = np.hypot(*edges.T)
        along = edges / lengths[:, None]
        #: Direction of every wall, where it begins in this direction, and its length.
        self._extents = tuple(
            (float(x), float(y), float(begin), float(length))
            for (x, y), begin, length in zip(along, np.sum(along * corners, axis=1), lengths, strict=True)
        )
        self._turns = turns(corners)
        self._is_round = self._turns < -_STRAIGHT
        self._middles = corners[self._is_round]
        self._round = tuple((float(x), float(y)) for x, y in self._middles)
        #: For the begin and the end of every wall: the other wall there if the corner is round, else None.
        count = len(corners)
        self._beside = tuple(
            ((i - 1) % count if self._is_round[i] else None, after if self._is_round[after] else None)
            for i, after in ((i, (i + 1) % count) for i in range(count))
        )
        self._floor = shapely.Polygon(corners)
        self._boundary = self._floor.exterior
        self._seen_floor = self._floor.buffer(_SIGHT_TOLERANCE, join_style="mitre")
        shapely.prepare(self._seen_floor)
        self._roadmaps: dict[float, _Roadmap] = {}

    @property
    def reflex_corners(self) -> np.ndarray:
        """(R, 2) float64, the corners that turn inwards, metres."""
        return self._middles

    def contains(self, points: np.ndarray, clearance: float) -> np.ndarray:
        """See :meth:`auralnav_gym.rooms.Room.contains`."""
        places = shapely.points(np.asarray(points, dtype=np.float64))
        distances = shapely.distance(self._boundary, places)
        return np.asarray(np.where(shapely.covers(self._floor, places), distances, -distances) >= clearance)

    def free_share(self, x: float, y: float, dx: float, dy: float, clearance: float) -> float:
        """See :meth:`auralnav_gym.rooms.Room.free_share`."""
        length = math.hypot(dx, dy)
        least_approach = PARALLEL * length
        overlap = _overlap(clearance)
        approaches = [-(normal_x * dx + normal_y * dy) for normal_x, normal_y, _ in self.walls]
        share = 1.0
        for (normal_x, normal_y, offset), extent, beside, approach in zip(
            self.walls, self._extents, self._beside, approaches, strict=True
        ):
            if approach <= least_approach:
                continue
            distance = normal_x * x + normal_y * y - offset
            stop = max(distance - clearance, 0.0) / approach
            if stop >= share or distance < -_TOLERANCE:  # too far away, or on the other side
                continue
            along_x, along_y, begin, wall_length = extent
            place = along_x * (x + stop * dx) + along_y * (y + stop * dy) - begin
            past, other = (-place, beside[0]) if 2 * place < wall_length else (place - wall_length, beside[1])
            # At a round end, within rounding, a wall blocks only who approaches the wall beside it, too: it does not
            # block who slides along that.
            if past <= overlap and (past < -_GRAZE or other is None or approaches[other] > least_approach):
                share = stop
        for corner_x, corner_y in self._round:
            away_x, away_y = x - corner_x, y - corner_y
            towards = -(away_x * dx + away_y * dy)
            passing = away_x * dy - away_y * dx  # its distance to the corner times the length of the step
            if towards <= least_approach * clearance or abs(passing) >= (clearance - _GRAZE) * length:
                continue
            room_left = away_x * away_x + away_y * away_y - clearance * clearance
            # The nearer solution of a quadratic equation, without a difference of numbers that are almost equal.
            root = math.sqrt((clearance * length) ** 2 - passing * passing)
            share = min(share, max(room_left, 0.0) / (towards + root))
        return share

    def free_shares(self, points: np.ndarray, steps: np.ndarray, clearance: float) -> np.ndarray:
        """See :meth:`auralnav_gym.rooms.Room.free_shares`; the steps of :meth:`free_share`, for many at once."""
        length = np.hypot(*steps.T)[:, None]
        least_approach = PARALLEL * length
        normals, offsets = self._walls[:, :2], self._walls[:, 2]
        approach = -steps @ normals.T
        distance = points @ normals.T - offsets
        stop = np.divide(
            (distance - clearance).clip(0), approach, out=np.ones_like(approach), where=approach > least_approach
        )
        along, begin, wall_length = np.split(np.array(self._extents), [2, 3], axis=1)
        place = points @ along.T + stop * (steps @ along.T) - begin.T
        past = np.stack([-place, place - wall_length.T])
        # At a corner that is not round the other wall counts as approached, whatever it is.
        is_hit = approach > least_approach
        approached = np.concatenate([is_hit, np.ones((len(points), 1), dtype=bool)], axis=1)
        beside = np.array([[-1 if other is None else other for other in pair] for pair in self._beside])
        blocks = (past < -_GRAZE) | ((past <= _overlap(clearance)) & approached[:, beside].transpose(2, 0, 1))
        is_hit &= (distance >= -_TOLERANCE) & blocks.all(axis=0)
        shares = np.where(is_hit, stop, 1.0).min(axis=1)

        away = points[:, None] - self._middles
        towards = -np.einsum("nrd,nd->nr", away, steps)
        passing = away[..., 0] * steps[:, None, 1] - away[..., 1] * steps[:, None, 0]
        is_hit = (towards > least_approach * clearance) & (np.abs(passing) < (clearance - _GRAZE) * length)
        room_left = np.einsum("nrd,nrd->nr", away, away) - clearance**2
        root = np.sqrt(((clearance * length) ** 2 - passing**2).clip(0))
        stop = np.divide(room_left.clip(0), towards + root, out=np.ones_like(root), where=is_hit)
        return np.asarray(np.minimum(shares, stop.min(axis=1, initial=1.0)))

    def sees(self, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """See :meth:`auralnav_gym.rooms.Room.sees`."""
        return self.are_free(starts, ends, clearance=0.0)

    def distances(self, start: np.ndarray | Sequence[float], places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See :meth:`auralnav_gym.rooms.Room.distances`."""
        return super().distances(start, places)[0], self.walking_distances(start, places)

    def walking_distances(self, start: np.ndarray | Sequence[float], places: np.ndarray) -> np.ndarray:
        """See :meth:`auralnav_gym.rooms.Room.walking_distances`."""
        return self._roadmap(0.0).lengths(np.asarray(start, dtype=np.float64), np.asarray(places, dtype=np.float64))

    def shortest_path(self, start: np.ndarray, end: np.ndarray, clearance: float) -> np.ndarray:
        """See :meth:`auralnav_gym.rooms.Room.shortest_path`."""
        ends = np.array([start, end], dtype=np.float64)
        standing = ends
        if clearance > 0:
            standing = np.array([self.nearest_standing_place(place, clearance) for place in ends])
        path = self._roadmap(clearance).path(*standing)
        if path is None:
            raise ValueError(
                f"start, end: expected places on the floor with a way between them that keeps {clearance} m from the "
                f"walls, actual: none from {ends[0].tolist()} to {ends[1].tolist()}"
            )
        before, after = (
            place[None] if (place != stand).any() else [] for place, stand in zip(ends, standing, strict=True)
        )
        return np.vstack([*before, path, *after])

    def _border_places(self, target: np.ndarray, clearance: float) -> np.ndarray:
        """(n, 2), among them the place nearest to the target (2,) on the border of where one can stand.

        The border consists of pieces of lines and of circles, so that it is the nearest place on one of them or one
        where two of them meet.
        """
        normals, offsets = self._walls[:, :2], self._walls[:, 2] + clearance
        middles = self._middles
        away = target - middles
        lengths = np.hypot(*away.T)[:, None]
        radial = middles + clearance * np.divide(away, lengths, out=np.zeros_like(away), where=lengths > 0)
        # Lines and circles.
        heights = middles @ normals.T - offsets  # (R, M)
        feet = middles[:, None] - heights[..., None] * normals
        crossing = _both_sides(feet, normals[:, ::-1] * [1, -1], clearance**2 - heights**2)
        # Circles and circles, of the same radius.
        first, second = np.triu_indices(len(middles), k=1)
        between = middles[second] - middles[first]
        gaps = np.hypot(*between.T)
        meeting = _both_sides(
            (middles[first] + middles[second]) / 2,
            between[:, ::-1] / gaps[:, None] * [1, -1],
            clearance**2 - gaps**2 / 4,
        )
        return np.vstack([super()._border_places(target, clearance), radial, *crossing, *meeting])

    def are_free(self, starts: np.ndarray, ends: np.ndarray, clearance: float) -> np.ndarray:
        """Whether straight lines from starts (..., 2) to ends (..., 2) stay ``clearance`` off the walls, (...) bool."""
        if clearance == 0 and np.asarray(starts).size > 2 * _MANY_LINES:
            return self._are_on_floor(starts, ends)
        lines = shapely.linestrings(np.stack([starts, ends], axis=-2))
        are_free = np.asarray(shapely.covers(self._seen_floor, lines))
        if clearance > 0:
            are_free &= shapely.distance(self._boundary, lines) >= clearance - _TOLERANCE
        return are_free

    def _are_on_floor(self, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """What :meth:`are_free` says without a clearance, sooner for many lines.

        A line that begins on the floor leaves it where it crosses a wall: each has its ends on both sides of the other.
        Only where one of them ends on the other, within rounding, must be looked at more closely, which takes longer.
        """
        (x, y), (dx, dy) = np.moveaxis(starts, -1, 0), np.moveaxis(ends - starts, -1, 0)
        margin = _SIGHT_TOLERANCE * np.hypot(dx, dy)
        are_clear = np.asarray(shapely.contains_xy(self._seen_floor, x, y))
        is_close = np.zeros_like(are_clear)
        edges = np.roll(self.corners, -1, axis=0) - self.corners
        for (corner_x, corner_y), (along_x, along_y) in zip(self.corners.tolist(), edges.tolist(), strict=True):
            turn = dx * along_y - dy * along_x
            of_start = (x - corner_x) * along_y - (y - corner_y) * along_x
            of_corner = (corner_y - y) * dx - (corner_x - x) * dy
            of_line = _sides(of_start, of_start + turn, _SIGHT_TOLERANCE * math.hypot(along_x, along_y))
            of_wall = _sides(of_corner, of_corner + turn, margin)
            are_clear &= (of_line >= 0) | (of_wall >= 0)
            is_close |= (of_line <= 0) & (of_wall <= 0)
        is_close &= are_clear
        lines = shapely.linestrings(np.stack([starts, ends], axis=-2)[is_close])
        are_clear[is_close] = shapely.covers(self._seen_floor, lines)
        return are_clear

    def _roadmap(self, clearance: float) -> _Roadmap:
        if clearance not in self._roadmaps:
            self._roadmaps[clearance] = _Roadmap(self, clearance)
        return self._roadmaps[clearance]

    def way_points(self, clearance: float) -> np.ndarray:
        """Places (n, 2) at which shortest ways turn: the corners that turn inwards, or around them, metres."""
        if clearance == 0:
            return self._middles
        places = [np.empty((0, 2))]
        for index in np.flatnonzero(self._is_round):
            normal_x, normal_y, _ = self.walls[index - 1]
            turn = float(self._turns[index])
            pieces = math.ceil(-turn / _ARC)
            angles = math.atan2(normal_y, normal_x) + turn * (np.arange(pieces) + 0.5) / pieces
            radius = clearance * (1 + _SPARE) / math.cos(turn / pieces / 2)
            places.append(self.corners[index] + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1))
        around = np.vstack(places)
        return around[self.contains(around, clearance)]


class _Roadmap:
    """The shortest ways between the places at which shortest ways turn.

    Args:
        plan: The floor.
        clearance: What the ways keep to the walls, metres.
    """

    def __init__(self, plan: NonConvexFloorPlan, clearance: float) -> None:
        self._plan = plan
        self._clearance = clearance
        self._places = plan.way_points(clearance)
        self._lengths, self._before = np.zeros((0, 0)), np.zeros((0, 0), dtype=np.int32)
        if len(self._places):
            self._lengths, self._before = csgraph.shortest_path(
                self._legs(self._places, self._places), directed=False, return_predecessors=True
            )

    def lengths(self, start: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Of the shortest ways from a start (2,) to ends (S, 2), (S,) float64, metres; infinity: there is none."""
        straight, first, last = self._from_and_to(start, ends)
        reached = (first[:, None] + self._lengths).min(axis=0, initial=np.inf)
        return np.asarray(np.minimum(straight, (reached + last).min(axis=1, initial=np.inf)))

    def path(self, start: np.ndarray, end: np.ndarray) -> np.ndarray | None:
        """Corners (K, 2) of the shortest way, both ends included; None: there is none."""
        straight, first, last = self._from_and_to(start, end[None])
        around = first[:, None] + self._lengths + last
        if not np.isfinite(min(straight[0], around.min(initial=np.inf))):
            return None
        if straight[0] <= around.min(initial=np.inf):
            return np.array([start, end])
        begin, place = np.unravel_index(int(np.argmin(around)), around.shape)
        stops = [end]
        while place != begin:
            stops.append(self._places[place])
            place = self._before[begin, place]
        return np.array([start, self._places[begin], *stops[::-1]])

    def _from_and_to(self, start: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Straight lengths from a start (2,) to ends (S, 2) and to the places, and from the places to the ends.

        Returns:
            (S,), (n,) and (S, n) float64, metres; infinity where there is no straight way.
        """
        (first,) = self._legs(start[None], np.vstack([ends, self._places]))
        return first[: len(ends)], first[len(ends) :], self._legs(ends, self._places)

    def _legs(self, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Straight lengths from starts (A, 2) to ends (B, 2), (A, B) float64; infinity where there is no way."""
        starts, ends = np.broadcast_arrays(starts[:, None], ends[None])
        lengths = np.hypot(*np.moveaxis(ends - starts, -1, 0))
        return np.where(self._plan.are_free(starts, ends, self._clearance), lengths, np.inf)


def turns(corners: np.ndarray) -> np.ndarray:
    """By how much an outline turns to the left at each of its corners (M, 2), (M,) float64, radians in [-pi, pi)."""
    edges = np.roll(corners, -1, axis=0) - corners
    headings = np.arctan2(edges[:, 1], edges[:, 0])
    return np.asarray((headings - np.roll(headings, 1) + np.pi) % (2 * np.pi) - np.pi)


def is_convex(corners: np.ndarray) -> bool:
    """Whether none of the corners (M, 2) turns inwards; they go counter-clockwise around a simple polygon."""
    return bool((turns(corners) >= -_STRAIGHT).all())


def is_walkable(corners: np.ndarray, passage: float, niches: float = 0.1) -> bool:
    """Whether one gets everywhere on a floor without passing through anything narrow.

    Args:
        corners: (M, 2) float64, metres, around a simple polygon.
        passage: The least width of a passage, metres.
        niches: The largest share of the floor that may be in corners in which no circle of this diameter fits.

    Returns:
        True if a circle of this diameter, and each of several smaller ones, can be rolled from everywhere that it fits
        to everywhere that it fits, and the largest covers the floor but for its corners.
    """
    floor = shapely.Polygon(corners)
    for share in (0.25, 0.5, 0.75, 1.0):
        standing = floor.buffer(-share * passage / 2)
        if standing.geom_type != "Polygon" or standing.is_empty:
            return False
    return bool(standing.buffer(passage / 2).area >= (1 - niches) * floor.area)


def _sides(first: np.ndarray, second: np.ndarray, margin: np.ndarray | float) -> np.ndarray:
    """1 where two numbers have one sign, -1 where they have not, 0 where one of them is within the margin of 0."""
    is_near = np.minimum(np.abs(first), np.abs(second)) <= margin
    return np.asarray(np.where(is_near, 0.0, np.sign(first) * np.sign(second)))


def _overlap(clearance: float) -> float:
    """How far past its round end a wall blocks, metres: as far as a step may go that grazes the circle there."""
    return math.sqrt(2 * clearance * _GRAZE) + _GRAZE


def _both_sides(middles: np.ndarray, directions: np.ndarray, squares: np.ndarray) -> list[np.ndarray]:
    """Places so far from middles (..., 2) in directions (..., 2) and against them, two arrays (n, 2).

    How far is given as squares (...); where one is negative, but for rounding, there is no such place.
    """
    exist = squares >= -_TOLERANCE
    out = np.sqrt(squares[exist].clip(0))[:, None] * np.broadcast_to(directions, middles.shape)[exist]
    return [middles[exist] + out, middles[exist] - out]
