"""Rooms, and the samplers that draw them.

World frame: x to the right, y up, z towards the ceiling, metres. A two-dimensional room has no height.
"""

from __future__ import annotations

import difflib
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pyroomacoustics as pra
import shapely
from pyroomacoustics.parameters import materials_absorption_table

from auralnav_gym.checks import require_positive, require_whole
from auralnav_gym.geometry import FloorPlan, NonConvexFloorPlan, is_convex, is_walkable, turns

DEFAULT_RT60 = 0.35  # s
DEFAULT_RT60_RANGE = (0.15, 0.6)  # s, of random rooms
DEFAULT_MAX_ORDER = 3

# A room is drawn afresh this often before drawing gives up.
_MAX_DRAWS = 1000


@dataclass(frozen=True, kw_only=True)
class Room(ABC):
    """A room: a floor plan, perhaps a height, and walls that absorb some of the sound.

    To bring one's own, fill in :attr:`corners`, :attr:`ceiling` and :meth:`to_pyroomacoustics`.

    Attributes:
        absorption: Share of the energy that every wall takes from a reflected wave, at all frequencies, in (0, 1].
            Exclusive with ``rt60`` and ``materials``; after construction it is set unless ``materials`` is.
        rt60: Reverberation time in seconds from which ``absorption`` is computed by Eyring's formula
            (see :func:`eyring_absorption`). With none of the three given it is 0.35 s. It is heard only with a
            ``max_order`` high enough for the tail. In two dimensions it is what the walls alone would give: as
            pyroomacoustics lets amplitudes fall with 1 / r there too, what is heard dies away faster.
        max_order: Highest order of reflections (pyroomacoustics' ``max_order``). A low order cuts the reverberant
            tail short: at the default about a quarter of ``rt60`` is heard. An order of c ``rt60`` over the mean free
            path holds all of it.
        materials: What the room is made of: the name of one of pyroomacoustics' materials, which absorb more of some
            frequencies than of others, or such names by surface. Surfaces are "walls", "floor" and "ceiling", the last
            two in three dimensions only; a shoebox's walls may also be named one by one.
        air_absorption: Whether the air takes its share, too, the more, the higher the frequency and the longer the way.
    """

    absorption: float | None = None
    rt60: float | None = None
    max_order: int = DEFAULT_MAX_ORDER
    materials: str | Mapping[str, str] | None = field(default=None, hash=False)
    air_absorption: bool = False

    def __post_init__(self) -> None:
        if self.materials is not None and (self.absorption is not None or self.rt60 is not None):
            raise ValueError(
                "materials, absorption and rt60: expected one of them, actual: "
                f"materials={self.materials!r}, absorption={self.absorption}, rt60={self.rt60}"
            )
        if self.absorption is not None and self.rt60 is not None:
            raise ValueError(
                f"absorption and rt60: expected one of them, actual: absorption={self.absorption}, rt60={self.rt60}. "
                "Each determines the other."
            )
        if isinstance(self.max_order, bool) or int(self.max_order) != self.max_order or self.max_order < 0:
            raise ValueError(f"max_order: expected a whole number of 0 or more, actual: {self.max_order}")
        if self.materials is not None:
            if not isinstance(self.materials, str | Mapping):
                raise TypeError(f"materials: expected a name or names by surface, actual: {self.materials!r}")
            if not isinstance(self.materials, str):
                object.__setattr__(self, "materials", dict(self.materials))
            _material_names(self.materials, self.surfaces)
        elif self.absorption is None:
            rt60 = DEFAULT_RT60 if self.rt60 is None else self.rt60
            require_positive("rt60", rt60, "seconds")
            absorption = eyring_absorption(rt60, self.mean_free_path)
            object.__setattr__(self, "absorption", absorption)
            object.__setattr__(self, "rt60", None)
        elif not 0 < self.absorption <= 1:
            raise ValueError(
                f"absorption: expected the share of energy that a wall takes, in (0, 1], actual: {self.absorption}"
            )

    @property
    @abstractmethod
    def corners(self) -> np.ndarray:
        """(M, 2) float64, the corners of the floor in metres, counter-clockwise."""

    @property
    @abstractmethod
    def ceiling(self) -> float | None:
        """Height of the room in metres; None in a two-dimensional room."""

    @abstractmethod
    def to_pyroomacoustics(self, sample_rate: int) -> pra.Room:
        """A new pyroomacoustics room of this shape and these walls, without sources and microphones."""

    def __repr__(self) -> str:
        return _repr_of_what_is_set(self)

    @property
    def surfaces(self) -> tuple[str, ...]:
        """What may differ in material: ("walls",), in three dimensions also "floor" and "ceiling"."""
        return ("walls",) if self.ceiling is None else ("walls", "floor", "ceiling")

    def pyroomacoustics_materials(self) -> dict[str, pra.Material]:
        """A new ``pyroomacoustics.Material`` for each of the :attr:`surfaces`."""
        if self.materials is None:
            assert self.absorption is not None
            return {surface: pra.Material(float(self.absorption)) for surface in self.surfaces}
        names = _material_names(self.materials, self.surfaces)
        return {surface: pra.Material(name) for surface, name in names.items()}

    @property
    def dim(self) -> int:
        """2 or 3."""
        return 2 if self.ceiling is None else 3

    @cached_property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest x and y of the floor, each (2,) float64, metres."""
        return self.corners.min(axis=0), self.corners.max(axis=0)

    @property
    def floor_area(self) -> float:
        """Square metres, by the shoelace formula."""
        x, y = self.corners.T
        return 0.5 * float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))

    @property
    def mean_free_path(self) -> float:
        """Mean distance in metres between two reflections in a diffuse field.

        4 V / S in a three-dimensional room, pi A / P in a two-dimensional one (Kuttruff, Room Acoustics,
        5th edition, section 5.2, for the former).
        """
        edges = np.roll(self.corners, -1, axis=0) - self.corners
        perimeter = float(np.hypot(*edges.T).sum())
        if self.ceiling is None:
            return math.pi * self.floor_area / perimeter
        return 4 * self.floor_area * self.ceiling / (2 * self.floor_area + perimeter * self.ceiling)

    @cached_property
    def is_convex(self) -> bool:
        """Whether no corner of the floor turns inwards."""
        return is_convex(self.corners)

    @cached_property
    def floor_plan(self) -> FloorPlan:
        """The geometry of the floor, for what follows."""
        return (FloorPlan if self.is_convex else NonConvexFloorPlan)(self.corners)

    @cached_property
    def walls(self) -> tuple[tuple[float, float, float], ...]:
        """(a, b, c) of every wall, in the order of ``corners``: (x, y) is a x + b y - c metres inside of its line."""
        return self.floor_plan.walls

    @property
    def reflex_corners(self) -> np.ndarray:
        """(R, 2) float64, the corners that turn inwards, metres; (0, 2) in a convex room."""
        return self.floor_plan.reflex_corners

    def wall_distances(self, points: np.ndarray) -> np.ndarray:
        """Signed distance of points (..., 2) to the line of every wall, (..., M) float64, metres, positive inside."""
        return self.floor_plan.wall_distances(points)

    def contains(self, points: np.ndarray, clearance: float = 0.0) -> np.ndarray:
        """Whether points (..., 2) lie inside, at least ``clearance`` metres from every wall; (...) bool.

        With a negative clearance those count, too, that lie outside by no more than that.
        """
        return self.floor_plan.contains(points, clearance)

    def free_share(self, x: float, y: float, dx: float, dy: float, clearance: float) -> float:
        """How much of a step can be walked, straight on, until a wall is in the way.

        Args:
            x: Where the step begins, metres.
            y: Likewise.
            dx: Where it would lead without walls, from there, metres.
            dy: Likewise.
            clearance: What is kept to every wall, metres. Whoever is nearer already can walk away from the wall and
                along it, but no nearer to it.

        Returns:
            A share of the step, in [0, 1].
        """
        return self.floor_plan.free_share(x, y, dx, dy, clearance)

    def free_shares(self, points: np.ndarray, steps: np.ndarray, clearance: float) -> np.ndarray:
        """:meth:`free_share` for many at once: of steps (N, 2) from points (N, 2), (N,) float64."""
        return self.floor_plan.free_shares(points, steps, clearance)

    def sees(self, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Whether no wall is between starts (N, 2) and ends (N, 2), places on the floor; (N,) bool."""
        return self.floor_plan.sees(starts, ends)

    def distances(self, start: np.ndarray | Sequence[float], places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Straight and walking distances, which are the same in a convex room.

        Args:
            start: (2,) float, metres.
            places: (S, 2) float, metres.

        Returns:
            Twice (S,) float64, metres: through walls, and those of :meth:`walking_distances`.
        """
        return self.floor_plan.distances(start, places)

    def walking_distances(self, start: np.ndarray | Sequence[float], places: np.ndarray) -> np.ndarray:
        """Length of the shortest ways on the floor, around corners.

        The ways keep no clearance to the corners, so that nobody with a body walks less; a body of radius r walks up to
        the angle of the turn (radians) times r more at a corner.

        Args:
            start: (2,) float, metres.
            places: (S, 2) float, metres.

        Returns:
            (S,) float64, metres; in a convex room straight distances, else infinity to what is not on the floor.
        """
        return self.floor_plan.walking_distances(start, places)

    def shortest_path(self, start: np.ndarray, end: np.ndarray, clearance: float = 0.0) -> np.ndarray:
        """Where the shortest way leads, leg by straight leg.

        Args:
            start: (2,) float, metres.
            end: (2,) float, metres.
            clearance: What the way keeps to every wall, metres, so that a body of this radius can follow it. Where
                the start or the end itself is nearer to a wall the way leads to the place nearest to it that is not,
                and from there straight to it. Around corners the way is longer than the shortest by a few per cent of
                the clearance.

        Returns:
            (K, 2) float64, metres, the start, the corners of the way and the end; K >= 2.

        Raises:
            ValueError: If there is no such way.
        """
        return self.floor_plan.shortest_path(start, end, clearance)

    def nearest_standing_place(self, target: np.ndarray, clearance: float) -> np.ndarray:
        """The place nearest to a target (2,), as the crow flies, that keeps a clearance to every wall.

        Args:
            target: (2,) float64, metres, anywhere.
            clearance: Metres.

        Returns:
            (2,) float64, metres.

        Raises:
            ValueError: If no place keeps it.
        """
        return self.floor_plan.nearest_standing_place(target, clearance)

    def with_walls(
        self, absorption: float | None = None, rt60: float | None = None, max_order: int | None = None
    ) -> Room:
        """The same room with what is not None changed; an absorption or an RT60 takes the place of materials."""
        if max_order is not None:
            self = replace(self, max_order=max_order)
        if absorption is not None or rt60 is not None:
            self = replace(self, absorption=absorption, rt60=rt60, materials=None)
        return self


@dataclass(frozen=True, repr=False)
class ShoeBox(Room):
    """A rectangular room with a corner at the origin.

    In ``materials`` "west" and "east" are the walls at x = 0 and x = width, "south" and "north" those at y = 0 and
    y = depth; those that are not named are "walls".

    Attributes:
        size: (width, depth) or (width, depth, height), metres.
    """

    size: tuple[float, ...] = (8.0, 8.0, 3.0)

    def __post_init__(self) -> None:
        size = tuple(float(side) for side in self.size)
        if len(size) not in (2, 3) or not all(math.isfinite(side) and side > 0 for side in size):
            raise ValueError(
                f"room size: expected (width, depth) or (width, depth, height), each above 0 metres, actual: {size}"
            )
        object.__setattr__(self, "size", size)
        super().__post_init__()

    @property
    def corners(self) -> np.ndarray:
        """(4, 2) float64, metres, counter-clockwise from the origin."""
        width, depth = self.size[:2]
        return np.array([[0.0, 0.0], [width, 0.0], [width, depth], [0.0, depth]])

    @property
    def ceiling(self) -> float | None:
        """Height in metres; None in a two-dimensional room."""
        return self.size[2] if len(self.size) == 3 else None

    @cached_property
    def is_convex(self) -> bool:
        """True."""
        return True

    @property
    def surfaces(self) -> tuple[str, ...]:
        """("west", "east", "south", "north"), in three dimensions also "floor" and "ceiling"."""
        return ("west", "east", "south", "north", *super().surfaces[1:])

    def to_pyroomacoustics(self, sample_rate: int) -> pra.ShoeBox:
        """A new ``pyroomacoustics.ShoeBox``."""
        return pra.ShoeBox(
            self.size,
            fs=sample_rate,
            materials=self.pyroomacoustics_materials(),
            max_order=self.max_order,
            air_absorption=self.air_absorption,
        )


@dataclass(frozen=True, repr=False)
class Polygon(Room):
    """A room over a polygon, which need not be convex, with upright walls.

    Attributes:
        floor: Corners of the floor, at least three pairs (x, y) in metres, in either direction around the room; its
            edges must not cross or touch. Kept counter-clockwise.
        height: Metres; None makes the room two-dimensional.
    """

    floor: tuple[tuple[float, float], ...]
    height: float | None = None

    def __post_init__(self) -> None:
        floor = _counter_clockwise(np.asarray(self.floor, dtype=np.float64))
        object.__setattr__(self, "floor", _as_floor(floor))
        if self.height is not None:
            require_positive("height", self.height, "metres")
        super().__post_init__()

    @property
    def corners(self) -> np.ndarray:
        """(M, 2) float64, metres, counter-clockwise."""
        return np.array(self.floor)

    @property
    def ceiling(self) -> float | None:
        """Height in metres; None in a two-dimensional room."""
        return self.height

    def to_pyroomacoustics(self, sample_rate: int) -> pra.Room:
        """A new ``pyroomacoustics.Room``."""
        materials = self.pyroomacoustics_materials()
        room = pra.Room.from_corners(
            self.corners.T,
            fs=sample_rate,
            materials=materials.pop("walls"),
            max_order=self.max_order,
            air_absorption=self.air_absorption,
        )
        if self.height is not None:
            room.extrude(float(self.height), materials=materials)
        return room


@runtime_checkable
class RoomSampler(Protocol):
    """Draws a room for every episode. Anything with this method can stand for ``room=``."""

    def sample(self, rng: np.random.Generator) -> Room:
        """A room drawn with ``rng`` alone."""
        ...


@dataclass(frozen=True, repr=False)
class _RandomSizeAndWalls(RoomSampler):
    """What the samplers below have in common; see :class:`RandomShoeBox`."""

    low: tuple[float, ...] = (6.0, 6.0, 2.5)
    high: tuple[float, ...] = (10.0, 10.0, 3.5)
    _: KW_ONLY
    rt60: tuple[float, float] | None = None
    max_order: int = DEFAULT_MAX_ORDER
    materials: Mapping[str, str | Sequence[str]] | None = field(default=None, hash=False)
    air_absorption: bool = False

    def __post_init__(self) -> None:
        if len(self.low) != len(self.high) or any(a > b for a, b in zip(self.low, self.high, strict=False)):
            raise ValueError(
                "low, high: expected as many sides in both, none larger in low than in high, "
                f"actual: low={self.low}, high={self.high}"
            )
        if self.materials is not None:
            choices = {surface: _as_choices(surface, names) for surface, names in self.materials.items()}
            object.__setattr__(self, "materials", choices)
        elif self.rt60 is None:
            object.__setattr__(self, "rt60", DEFAULT_RT60_RANGE)
        if self.rt60 is not None and (len(self.rt60) != 2 or self.rt60[0] > self.rt60[1]):
            raise ValueError(f"rt60: expected (shortest, longest) in seconds, actual: {self.rt60}")
        self._refuse_what_no_draw_could_use()

    def __repr__(self) -> str:
        return _repr_of_what_is_set(self)

    def _refuse_what_no_draw_could_use(self) -> None:
        choices = self.materials or {}
        first = {surface: names[0] for surface, names in choices.items()}
        for index, size in enumerate((self.low, self.high)):
            rt60 = None if self.rt60 is None else self.rt60[index]
            room = self._of_size(
                size, rt60=rt60, max_order=self.max_order, materials=first if choices else self.materials
            )
        for surface, names in choices.items():
            for name in names:
                replace(room, materials={**first, surface: name})

    def _of_size(self, size: Sequence[float], **walls: Any) -> Room:
        """A room of this kind; here over a rectangle."""
        if len(size) not in (2, 3):
            raise ValueError(
                f"low, high: expected (width, depth) or (width, depth, height), metres, actual: {tuple(size)}"
            )
        width, depth, *height = size
        return Polygon(((0.0, 0.0), (width, 0.0), (width, depth), (0.0, depth)), *height, **walls)

    def _draw_walls(self, rng: np.random.Generator) -> dict[str, Any]:
        """What a room's walls are like, as its keywords."""
        walls: dict[str, Any] = {"max_order": self.max_order, "air_absorption": self.air_absorption}
        if self.rt60 is not None:
            walls["rt60"] = float(rng.uniform(*self.rt60))
        if self.materials is not None:  # sorted, so that it does not matter in which order they were given
            choices = sorted(self.materials.items())
            walls["materials"] = {surface: names[int(rng.integers(len(names)))] for surface, names in choices}
        return walls


@dataclass(frozen=True, repr=False)
class RandomShoeBox(_RandomSizeAndWalls):
    """Shoeboxes of random size, and of random reverberation time or materials, each drawn uniformly.

    Attributes:
        low: Smallest (width, depth) or (width, depth, height), metres.
        high: Largest, metres; as many numbers as ``low``.
        rt60: Shortest and longest reverberation time, seconds. (0.15, 0.6) unless it or ``materials`` is given.
        max_order: As in :class:`Room`.
        materials: For each surface (see :class:`Room`) the name of a material, or several of which one is drawn.
            Exclusive with ``rt60``.
        air_absorption: As in :class:`Room`.
    """

    low: tuple[float, ...] = (5.0, 5.0, 2.5)

    def sample(self, rng: np.random.Generator) -> ShoeBox:
        """A shoebox drawn with ``rng``."""
        size = tuple(float(side) for side in rng.uniform(self.low, self.high))
        return self._of_size(size, **self._draw_walls(rng))

    def _of_size(self, size: Sequence[float], **walls: Any) -> ShoeBox:
        return ShoeBox(size=tuple(size), **walls)


@dataclass(frozen=True, repr=False)
class RandomLShape(_RandomSizeAndWalls):
    """L-shaped rooms of random size: rectangles of which one corner, any of the four, is cut out.

    Attributes:
        low: Smallest (width, depth) or (width, depth, height) of the rectangle, metres.
        high: Largest, metres; as many numbers as ``low``.
        notch: Least and largest share of the width, and likewise of the depth, that is cut out, in (0, 1).
        passage: Least width of the two arms, metres.
        rt60: As in :class:`RandomShoeBox`.
        max_order: As in :class:`Room`.
        materials: As in :class:`RandomShoeBox`.
        air_absorption: As in :class:`Room`.
    """

    notch: tuple[float, float] = (0.3, 0.6)
    passage: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.notch) != 2 or not 0 < self.notch[0] <= self.notch[1] < 1:
            raise ValueError(f"notch: expected (least, largest) share of a side, in (0, 1), actual: {self.notch}")
        require_positive("passage", self.passage, "metres")
        side = min(self.low[:2])
        arm = (1 - self.notch[1]) * side
        if arm < self.passage:
            raise ValueError(
                f"notch: expected to leave arms that are {self.passage} m wide (passage), actual: {arm:.3f} m where a "
                f"share of {self.notch[1]} is cut out of {side} m. Lower notch or passage, or enlarge low."
            )

    def sample(self, rng: np.random.Generator) -> Polygon:
        """A room drawn with ``rng``."""
        width, depth, *height = rng.uniform(self.low, self.high).tolist()
        cut_x, cut_y = 1 - rng.uniform(*self.notch, size=2)
        shares = np.array([[0, 0], [1, 0], [1, cut_y], [cut_x, cut_y], [cut_x, 1], [0, 1]])
        mirrored = rng.random(2) < 0.5
        corners = np.where(mirrored, 1 - shares, shares) * [width, depth]
        return Polygon(_as_floor(corners), *height, **self._draw_walls(rng))


@dataclass(frozen=True, repr=False)
class RandomRoom(_RandomSizeAndWalls):
    """Rooms over random polygons that can be walked all over.

    The corners lie around a middle that sees all of them, on an ellipse or, drawn towards the middle, within it. A
    polygon with narrow places (see ``passage``) is drawn afresh.

    Attributes:
        low: Smallest (width, depth) or (width, depth, height) of what encloses the room, metres.
        high: Largest, metres; as many numbers as ``low``.
        num_corners: Least and largest number of corners, 3 or more.
        indentation: How far a corner may be drawn towards the middle, as a share of the way, in [0, 1). With 0 all
            rooms are convex; otherwise some are.
        passage: Least width of a passage, metres: somebody of this width gets everywhere but into the corners, which
            are less than a tenth of the floor.
        rt60: As in :class:`RandomShoeBox`.
        max_order: As in :class:`Room`.
        materials: As in :class:`RandomShoeBox`.
        air_absorption: As in :class:`Room`.
    """

    num_corners: tuple[int, int] = (4, 8)
    indentation: float = 0.6
    passage: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.num_corners) != 2 or self.num_corners[0] > self.num_corners[1]:
            raise ValueError(f"num_corners: expected (least, largest), actual: {self.num_corners}")
        require_whole("num_corners", self.num_corners[0], at_least=3)
        require_whole("num_corners", self.num_corners[1], at_least=3)
        if not 0 <= self.indentation < 1:
            raise ValueError(f"indentation: expected a share in [0, 1), actual: {self.indentation}")
        require_positive("passage", self.passage, "metres")

    def sample(self, rng: np.random.Generator) -> Polygon:
        """A room drawn with ``rng``.

        Raises:
            ValueError: If no room without narrow places is found; says what to change.
        """
        for _ in range(_MAX_DRAWS):
            width, depth, *height = rng.uniform(self.low, self.high).tolist()
            corners = self._draw_shares(rng) * [width, depth]
            if is_walkable(corners, self.passage):
                return Polygon(_as_floor(corners), *height, **self._draw_walls(rng))
        raise ValueError(
            f"passage: expected a width that rooms of {self.low} m to {self.high} m with {self.num_corners[0]} to "
            f"{self.num_corners[1]} corners leave, actual: {self.passage} m; no such room was found in {_MAX_DRAWS} "
            "tries. Lower passage, num_corners or indentation, or enlarge the rooms."
        )

    def _draw_shares(self, rng: np.random.Generator) -> np.ndarray:
        """Corners (M, 2) as shares of width and depth: the least of each is 0, the largest 1."""
        count = int(rng.integers(self.num_corners[0], self.num_corners[1], endpoint=True))
        # Each in the middle half of its own sector, so that no two are close.
        angles = 2 * np.pi / count * (np.arange(count) + rng.uniform(0.25, 0.75, size=count) + rng.random())
        radii = rng.uniform(1 - self.indentation, 1, size=count)
        corners = radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        return np.asarray((corners - corners.min(axis=0)) / np.ptp(corners, axis=0))


def as_room(room: Room | RoomSampler | Sequence[float] | Sequence[Sequence[float]] | np.ndarray) -> Room | RoomSampler:
    """What the environment's ``room=`` accepts.

    Args:
        room: A :class:`Room`; a :class:`RoomSampler`; a size (width, depth[, height]) in metres; or (M, 2) corners
            of a two-dimensional polygon, convex or not.

    Returns:
        A room or a room sampler.

    Raises:
        TypeError: If ``room`` is none of these.
        ValueError: If the numbers describe no room.
    """
    if isinstance(room, Room | RoomSampler):
        return room
    try:
        numbers = np.asarray(room, dtype=np.float64)
    except (TypeError, ValueError):
        numbers = np.empty(())
    if numbers.ndim == 1:
        return ShoeBox(size=tuple(float(side) for side in numbers))
    if numbers.ndim == 2:
        return Polygon(floor=tuple((float(p[0]), float(p[1])) if len(p) == 2 else tuple(p) for p in numbers))
    raise TypeError(
        "room: expected a Room, a RoomSampler (an object with sample(rng)), a size (width, depth[, height]) or "
        f"corners (M, 2), actual: {room!r}"
    )


def eyring_absorption(rt60: float, mean_free_path: float) -> float:
    """The absorption that gives a reverberation time, by Eyring's formula.

    T60 = 6 ln(10) l / (-c ln(1 - a)), with l the mean free path (Kuttruff, Room Acoustics, 5th edition,
    section 5.3). In three dimensions this is T60 = 0.161 V / (-S ln(1 - a)).

    Args:
        rt60: Seconds, above 0.
        mean_free_path: Metres.

    Returns:
        Share of energy, in (0, 1).
    """
    speed_of_sound = pra.constants.get("c")
    return 1 - math.exp(-6 * math.log(10) * mean_free_path / (speed_of_sound * rt60))


def _repr_of_what_is_set(room: Room | _RandomSizeAndWalls) -> str:
    """A dataclass's own repr, but of materials and of air absorption only where there are any."""
    said = [f.name for f in fields(room) if f.name not in ("materials", "air_absorption") or getattr(room, f.name)]
    return f"{type(room).__qualname__}({', '.join(f'{name}={getattr(room, name)!r}' for name in said)})"


def _as_floor(corners: np.ndarray) -> tuple[tuple[float, float], ...]:
    """What :class:`Polygon` takes, from corners (M, 2)."""
    return tuple((float(x), float(y)) for x, y in corners)


def _as_choices(surface: str, names: str | Sequence[str]) -> tuple[str, ...]:
    choices = (names,) if isinstance(names, str) else tuple(names)
    if not choices:
        raise ValueError(f"materials[{surface!r}]: expected at least one name to draw from, actual: none")
    return choices


def _counter_clockwise(corners: np.ndarray) -> np.ndarray:
    """Corners (M, 2) in counter-clockwise order; ValueError if they bound no simple polygon."""
    if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < 3 or not np.isfinite(corners).all():
        raise ValueError(
            "room corners: expected at least three pairs (x, y) of finite numbers, "
            f"actual: shape {corners.shape}, {corners.tolist()}"
        )
    edges = np.roll(corners, -1, axis=0) - corners
    lengths = np.hypot(*edges.T)
    if (lengths < 1e-6).any():
        raise ValueError(f"room corners: expected no corner twice, actual: {corners.tolist()}")
    angles = turns(corners)
    winding = 1 if angles.sum() > 0 else -1
    # Whatever turns the same way everywhere, and once around, is fine.
    if round(abs(float(angles.sum())) / (2 * math.pi)) == 1 and is_convex(corners[::winding]):
        return corners[::winding]
    polygon = shapely.Polygon(corners)
    if not polygon.is_valid:
        raise ValueError(
            "room corners: expected a polygon whose edges do not cross or touch, in order around the room, "
            f"actual: {corners.tolist()}, {shapely.is_valid_reason(polygon)}"
        )
    return corners[::winding]


def _material_names(materials: str | Mapping[str, str], surfaces: tuple[str, ...]) -> dict[str, str]:
    """The name of a material for each of the surfaces.

    Raises:
        ValueError: If there is no such surface, none for one of them, or no material of a name.
    """
    if isinstance(materials, str):
        materials = dict.fromkeys(surfaces, materials)
    level = [surface for surface in surfaces if surface in ("floor", "ceiling")]
    known = dict.fromkeys([*surfaces, "walls"])
    for surface, name in materials.items():
        if surface not in known:
            raise ValueError(f"materials: expected surfaces of {list(known)}, actual: {_with_matches(surface, known)}")
        if name not in materials_absorption_table:
            raise ValueError(
                f"materials[{surface!r}]: expected the name of one of pyroomacoustics' materials "
                f"(pyroomacoustics.parameters.materials_absorption_table), actual: "
                f"{_with_matches(name, materials_absorption_table)}"
            )
    names = {
        surface: materials.get(surface, None if surface in level else materials.get("walls")) for surface in surfaces
    }
    missing = [surface for surface, name in names.items() if name is None]
    if missing:
        raise ValueError(
            f"materials: expected a material for every surface, actual: none for {missing} in {dict(materials)}"
        )
    return {surface: name for surface, name in names.items() if name is not None}


def _with_matches(word: Any, known: Mapping[str, Any]) -> str:
    """A word as it was given, and which known ones it may have been meant to be."""
    matches = difflib.get_close_matches(str(word), known)
    return f"{word!r}, did you mean {' or '.join(map(repr, matches))}?" if matches else repr(word)
