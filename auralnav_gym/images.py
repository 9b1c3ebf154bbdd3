"""Image sources: where the reflections of a sound come from (Allen and Berkley 1979; Borish 1984).

The images are those of pyroomacoustics' engine, with its single precision, found for many sources at once. All that
needs an engine is which of them an ear hears: in a shoebox every one, in a room over a polygon those whose ray reaches
the ear. Such a ray is straight once the room is unfolded along it, so that an image is heard wherever one sees it
through its last wall, as through a window, with nothing in between (beam tracing: Funkhouser et al. 1998).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyroomacoustics as pra

# libroom's tolerance: nearer to a wall a point is on it, and has no image there. Metres.
_ON_THE_WALL = 1e-5

_ALL = slice(None)


@dataclass(frozen=True)
class Images:
    """Image sources, as some ears hear them.

    Attributes:
        positions: (D, S, I) float32, metres.
        damping: (B, S, I) float32, the product of the walls' reflection coefficients in B frequency bands, or in one.
        visible: (S, E, I) bool, whether an ear hears an image; None where every ear hears all.
    """

    positions: np.ndarray
    damping: np.ndarray
    visible: np.ndarray | None = None


class PlacedSources(ABC):
    """The image sources of S sources, wherever the ears are."""

    positions: np.ndarray
    """(D, S, I) float32, of all that an ear may hear, metres."""

    @abstractmethod
    def heard_at(self, ears: np.ndarray, sources: Sequence[int] | slice = _ALL) -> Images:
        """What is heard of some of the sources by ears (E, D), metres."""


class ImageModel(ABC):
    """Finds the image sources in a room."""

    @abstractmethod
    def place(self, sources: np.ndarray) -> PlacedSources:
        """The image sources of sources (S, D), metres."""


def image_model(room: pra.Room) -> ImageModel:
    """The one that fits the room: a shoebox, or what stands upright over a polygon."""
    return ShoeBoxModel(room) if isinstance(room, pra.ShoeBox) else PolygonModel(room)


# ---- Shoeboxes -------------------------------------------------------------------------------------------------------


class ShoeBoxModel(ImageModel):
    """A shoebox, whose images repeat the source, or its mirror image, in every cell of a lattice.

    Args:
        room: The room.
    """

    def __init__(self, room: pra.ShoeBox) -> None:
        engine = room.room_engine
        engine.image_source_model(np.array(room.shoebox_dim) / 2)
        cells = engine.orders_xyz.astype(np.float32)
        self._size = np.array(room.shoebox_dim, dtype=np.float32)[:, None, None]
        self._corners = cells[:, None] * self._size  # (D, 1, I)
        self._is_mirrored = cells[:, None] % 2 != 0
        self._damping = engine.attenuations.copy()[:, None]  # (B, 1, I)

    def place(self, sources: np.ndarray) -> HeardEverywhere:
        """See :class:`ImageModel`."""
        within = sources.T.astype(np.float32)[..., None]
        positions = self._corners + np.where(self._is_mirrored, self._size - within, within)
        return HeardEverywhere(positions, self._damping.repeat(len(sources), axis=1))


@dataclass(frozen=True)
class HeardEverywhere(PlacedSources):
    """Image sources that every ear hears.

    Attributes:
        positions: (D, S, I) float32, metres.
        damping: (B, S, I) float32.
    """

    positions: np.ndarray
    damping: np.ndarray

    def heard_at(self, ears: np.ndarray, sources: Sequence[int] | slice = _ALL) -> Images:
        """See :class:`PlacedSources`."""
        return Images(self.positions[:, sources], self.damping[:, sources])


# ---- Polygons --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Beams:
    """Images in the floor plan, each seen through a part of its last wall: N of all S sources.

    Attributes:
        source: (N,) int, of which source.
        wall: (N,) int, the last wall that reflects; -1: it is the source itself.
        order: How many walls have reflected.
        position: (N, D) float32, metres.
        damping: (N, B) float32.
        edges: (N, 3, 3) float64, three functions of the place (see :func:`_at`), none of which is below 0 where one
            sees the image: to the right of one end of that part, to the left of the other, and in front of the wall.
        obstacles: (N, L, O, 2, 2) float64, for each of the L legs of the path the parts of the O obstructing walls that
            can be in its way, as seen in the mirrors: both ends, or NaN where there is none.
    """

    source: np.ndarray
    wall: np.ndarray
    order: int
    position: np.ndarray
    damping: np.ndarray
    edges: np.ndarray
    obstacles: np.ndarray


class PolygonModel(ImageModel):
    """A room over a polygon, with upright walls.

    Reflections at floor and ceiling are never hidden, so that what is heard is decided in the floor plan.

    Args:
        room: The room.
    """

    def __init__(self, room: pra.Room) -> None:
        upright = [wall for wall in room.walls if room.dim == 2 or abs(wall.normal[2]) < 0.5]
        level = [wall for wall in room.walls if not any(wall is other for other in upright)]
        self._max_order = room.max_order
        self._walls = _Planes.of(upright)
        self._floor_and_ceiling = _Planes.of(level) if level else None
        # Both ends (M, 2, 2) of every wall, the inside to the left, and what is a x + b y - c metres inside of it.
        self._ends = np.array([wall.corners[:2, :2].T for wall in upright], dtype=np.float64)
        along = self._ends[:, 1] - self._ends[:, 0]
        inwards = np.stack([-along[:, 1], along[:, 0]], axis=1) / np.hypot(*along.T)[:, None]
        self._insides = np.column_stack([inwards, -np.sum(inwards * self._ends[:, 0], axis=1)])
        # Only a wall that is not on the convex hull can be in the way of a ray.
        depths = self._ends[:, 0] @ inwards.T + self._insides[:, 2]
        self._obstructing = np.flatnonzero((depths < -_ON_THE_WALL).any(axis=0))

    def place(self, sources: np.ndarray) -> SeenThroughWalls:
        """See :class:`ImageModel`."""
        beams = [self._direct(sources)]
        while beams[-1].order < self._max_order and len(beams[-1].source):
            beams.append(self._reflect(beams[-1]))
        return self._collect(len(sources), beams)

    def _direct(self, sources: np.ndarray) -> _Beams:
        count = len(sources)
        return _Beams(
            source=np.arange(count),
            wall=np.full(count, -1),
            order=0,
            position=sources.astype(np.float32),
            damping=np.ones((count, self._walls.reflection.shape[1]), dtype=np.float32),
            edges=np.zeros((count, 3, 3)),  # it is seen from everywhere
            obstacles=np.broadcast_to(self._ends[self._obstructing], (count, 1, len(self._obstructing), 2, 2)),
        )

    def _reflect(self, beams: _Beams) -> _Beams:
        """What every wall makes of the beams that fall on it."""
        heights = self._walls.heights(beams.position)  # (N, M)
        low, high = np.zeros(heights.shape), np.ones(heights.shape)
        for edge in np.moveaxis(beams.edges, 1, 0):
            low, high = _clip(_at(edge[:, None, None], self._ends), low, high)
        parents, walls = np.nonzero((heights > _ON_THE_WALL) & (high - low > 1e-9))
        starts, along = self._ends[walls, 0], self._ends[walls, 1] - self._ends[walls, 0]
        first, last = (starts + shares[parents, walls, None] * along for shares in (low, high))
        position = self._walls.mirror(beams.position[parents], walls)
        seen_from = position[:, :2].astype(np.float64)
        edges = [-_beside(seen_from, first - seen_from), _beside(seen_from, last - seen_from), self._insides[walls]]
        return _Beams(
            source=beams.source[parents],
            wall=walls,
            order=beams.order + 1,
            position=position,
            damping=beams.damping[parents] * self._walls.reflection[walls],
            edges=np.stack(edges, axis=1),
            obstacles=self._pass_on(beams.obstacles[parents], walls),
        )

    def _pass_on(self, obstacles: np.ndarray, walls: np.ndarray) -> np.ndarray:
        """Obstacles (N, L + 1, O, 2, 2) behind the walls (N,), seen in their mirrors, and those in front of them."""
        if not len(self._obstructing):
            return obstacles
        inside = self._insides[walls]
        before = obstacles  # a copy that is ours
        # The leg that ends at this wall: not the wall itself, nor what is behind it.
        before[:, -1] = self._in_front(before[:, -1], inside, walls)
        before -= 2 * _at(inside[:, None, None, None], before)[..., None] * inside[:, None, None, None, :2]
        after = np.broadcast_to(self._ends[self._obstructing], before[:, -1].shape)
        return np.concatenate([before, self._in_front(after, inside, walls)[:, None]], axis=1)

    def _in_front(self, obstacles: np.ndarray, inside: np.ndarray, walls: np.ndarray) -> np.ndarray:
        """The part of obstacles (N, O, 2, 2) in front of a wall."""
        low, high = np.zeros(obstacles.shape[:2]), np.ones(obstacles.shape[:2])
        low, high = _clip(_at(inside[:, None, None], obstacles), low, high)
        starts, along = obstacles[:, :, :1], obstacles[:, :, 1:] - obstacles[:, :, :1]
        is_none = (high - low < 1e-9) | (self._obstructing == walls[:, None])
        shares = np.where(is_none[..., None], np.nan, np.stack([low, high], axis=-1))
        return starts + shares[..., None] * along

    def _collect(self, num_sources: int, beams: Sequence[_Beams]) -> SeenThroughWalls:
        source = np.concatenate([level.source for level in beams])
        obstructed, obstacles = self._obstacles(beams)
        position = np.concatenate([level.position for level in beams])
        damping = np.concatenate([level.damping for level in beams])
        order = np.repeat([level.order for level in beams], [len(level.source) for level in beams])
        beam = np.arange(len(source))
        if self._floor_and_ceiling is not None:
            beam, position, damping = self._raise(beam, position, damping, order)
        # Images by source, filled up to one number.
        by_source = np.argsort(source[beam], kind="stable")
        counts = np.bincount(source[beam], minlength=num_sources)
        places = np.arange(counts.max())
        index = by_source[np.minimum(np.cumsum(counts)[:, None] - counts[:, None] + places, len(by_source) - 1)]
        return SeenThroughWalls(
            positions=np.ascontiguousarray(np.moveaxis(position[index], -1, 0)),
            damping=np.ascontiguousarray(np.moveaxis(damping[index], -1, 0)),
            beam=np.where(places < counts[:, None], beam[index], len(source)),
            edges=np.concatenate([level.edges for level in beams]),
            obstructed=obstructed,
            obstacles=obstacles,
        )

    def _obstacles(self, beams: Sequence[_Beams]) -> tuple[np.ndarray, np.ndarray]:
        """(R,) int, beams in whose way something may be, and what: (R, 3, 3) functions of the place of the ear.

        The ear is behind the obstacle where the first is above 0, and it is hidden if the other two differ in sign.
        """
        obstructed, functions, first = [np.empty(0, dtype=int)], [np.empty((0, 3, 3))], 0
        for level in beams:
            ends = level.obstacles.reshape(len(level.source), level.obstacles.shape[1] * len(self._obstructing), 2, 2)
            low, high = np.zeros(ends.shape[:2]), np.ones(ends.shape[:2])
            for edge in np.moveaxis(level.edges[:, :2], 1, 0):  # what is outside of the beam hides nothing
                low, high = _clip(_at(edge[:, None, None], ends), low, high)
            index, which = np.nonzero((high - low > 0) & ~np.isnan(ends[..., 0, 0]))
            position = level.position[index, :2].astype(np.float64)
            start, end = ends[index, which, 0], ends[index, which, 1]
            behind = _beside(start, end - start)
            behind *= -np.sign(_at(behind, position))[:, None]
            obstructed.append(first + index)
            functions.append(
                np.stack([behind, _beside(position, start - position), _beside(position, end - position)], 1)
            )
            first += len(level.source)
        return np.concatenate(obstructed), np.concatenate(functions)

    def _raise(
        self, beam: np.ndarray, position: np.ndarray, damping: np.ndarray, order: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Images in the floor plan and those that floor and ceiling make of them by turns."""
        assert self._floor_and_ceiling is not None
        found = [(beam, position, damping)]
        for first in (0, 1):
            left, (at, damped) = beam, (position, damping)
            for count in range(1, self._max_order + 1):
                surface = (first + count - 1) % 2
                goes_on = order[left] + count <= self._max_order
                left = left[goes_on]
                at = self._floor_and_ceiling.mirror(at[goes_on], np.full(len(left), surface))
                damped = damped[goes_on] * self._floor_and_ceiling.reflection[surface]
                found.append((left, at, damped))
        beams, positions, dampings = zip(*found, strict=True)
        return np.concatenate(beams), np.concatenate(positions), np.concatenate(dampings)


@dataclass(frozen=True)
class SeenThroughWalls(PlacedSources):
    """Image sources of which an ear hears those that it sees.

    Attributes:
        positions: (D, S, I) float32, metres; filled up to one number for all sources.
        damping: (B, S, I) float32.
        beam: (S, I) int, of N beams the one that shows an image; N where there is no image.
        edges: (N, 3, 3) float64, three functions of the place of the ear; a beam is where none is below 0.
        obstructed: (R,) int, beams in whose way something may be.
        obstacles: (R, 3, 3) float64, three functions of the place; hidden is where the first is above 0 and the others
            differ in sign.
    """

    positions: np.ndarray
    damping: np.ndarray
    beam: np.ndarray
    edges: np.ndarray
    obstructed: np.ndarray
    obstacles: np.ndarray

    def heard_at(self, ears: np.ndarray, sources: Sequence[int] | slice = _ALL) -> Images:
        """See :class:`PlacedSources`; images that no ear hears are left out, as far as all sources have as many."""
        places = np.column_stack([ears[:, :2], np.ones(len(ears))]).T  # (3, E)
        seen = np.zeros((len(self.edges) + 1, len(ears)), dtype=bool)  # the last beam shows nothing
        (self.edges @ places >= 0).all(axis=1, out=seen[:-1])
        if len(self.obstructed):
            behind, left, right = np.moveaxis(self.obstacles @ places, 1, 0)
            index, ear = np.nonzero((behind > 0) & (left * right < 0))
            seen[self.obstructed[index], ear] = False
        visible = seen[self.beam[sources]]  # (S', I, E)
        heard = visible.any(axis=-1)
        most = max(int(heard.sum(axis=-1).max()), 1)
        first = np.argsort(~heard, axis=-1, kind="stable")[:, :most]
        return Images(
            np.take_along_axis(self.positions[:, sources], first[None], axis=-1),
            np.take_along_axis(self.damping[:, sources], first[None], axis=-1),
            np.moveaxis(np.take_along_axis(visible, first[..., None], axis=1), -1, 1),
        )


@dataclass(frozen=True)
class _Planes:
    """Walls as pyroomacoustics' engine has them, and its arithmetic.

    Attributes:
        normals: (M, D) float32, outwards.
        origins: (M, D) float32, a point of each, metres.
        reflection: (M, B) float32, reflection coefficients of the sound pressure.
    """

    normals: np.ndarray
    origins: np.ndarray
    reflection: np.ndarray

    @classmethod
    def of(cls, walls: Sequence[pra.wall.Wall]) -> _Planes:
        normals, origins, absorption = (
            np.array([np.ravel(getattr(wall, name)) for wall in walls], dtype=np.float32)
            for name in ("normal", "origin", "absorption")
        )
        return cls(normals, origins, np.sqrt(1 - absorption))

    def heights(self, positions: np.ndarray) -> np.ndarray:
        """How far positions (N, D) are inside of every wall, (N, M) float32, metres."""
        return ((self.origins - positions[:, None]) * self.normals).sum(axis=-1)

    def mirror(self, positions: np.ndarray, walls: np.ndarray) -> np.ndarray:
        """Positions (N, D) float32 mirrored at the walls with the indices ``walls`` (N,)."""
        normals = self.normals[walls]
        heights = ((self.origins[walls] - positions) * normals).sum(axis=-1, keepdims=True)
        return positions + 2 * heights * normals


def _at(functions: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Values (...) of functions a x + b y + c, as (..., 3), at places (..., 2)."""
    return functions[..., 0] * places[..., 0] + functions[..., 1] * places[..., 1] + functions[..., 2]


def _beside(points: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Functions (N, 3) that are above 0 to the left of lines through points (N, 2) in directions (N, 2)."""
    normals = np.stack([-directions[:, 1], directions[:, 0]], axis=1)
    return np.column_stack([normals, -np.sum(normals * points, axis=1)])


def _clip(values: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shares of segments, from ``low`` to ``high`` (...), cut to where a linear function is not below 0.

    Args:
        values: (..., 2), the function's values at both ends of the segments; NaN cuts nothing.
        low: Where the segments begin, as shares of their length.
        high: Where they end; below ``low`` where nothing is left.
    """
    start, end = values[..., 0], values[..., 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = start / (start - end)  # infinite, with the sign of the function, where it is constant
    rises = end > start
    low = np.fmax(low, np.where(rises, crossing, -np.inf))
    return low, np.fmin(high, np.where(rises, np.inf, crossing))
