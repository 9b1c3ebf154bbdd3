"""Rooms, and the samplers that draw them.

World frame: x to the right, y up, z towards the ceiling, metres. A two-dimensional room has no height.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
import pyroomacoustics as pra

from auralnav_gym.checks import require_positive

DEFAULT_RT60 = 0.35  # s
DEFAULT_MAX_ORDER = 3


@dataclass(frozen=True, kw_only=True)
class Room(ABC):
    """A convex room: a floor plan, perhaps a height, and walls that absorb the same share of energy everywhere.

    Attributes:
        absorption: Share of the energy that a wall takes from a reflected wave, in (0, 1]. Exclusive with ``rt60``;
            after construction it is always set.
        rt60: Reverberation time in seconds from which ``absorption`` is computed by Eyring's formula
            (see :func:`eyring_absorption`). With neither given it is 0.35 s.
        max_order: Highest order of reflections (pyroomacoustics' ``max_order``). A low order cuts the reverberant
            tail short.
    """

    absorption: float | None = None
    rt60: float | None = None
    max_order: int = DEFAULT_MAX_ORDER

    def __post_init__(self) -> None:
        if self.absorption is not None and self.rt60 is not None:
            raise ValueError(
                f"absorption and rt60: expected one of them, actual: absorption={self.absorption}, rt60={self.rt60}. "
                "Each determines the other."
            )
        if isinstance(self.max_order, bool) or int(self.max_order) != self.max_order or self.max_order < 0:
            raise ValueError(f"max_order: expected a whole number of 0 or more, actual: {self.max_order}")
        if self.absorption is None:
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

    @property
    def material(self) -> pra.Material:
        """What the walls, the floor and the ceiling are made of."""
        assert self.absorption is not None
        return pra.Material(float(self.absorption))

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

        4 V / S in a three-dimensional room, pi A / P in a two-dimensional one (Kuttruff, Room Acoustics, section 4.2).
        """
        edges = np.roll(self.corners, -1, axis=0) - self.corners
        perimeter = float(np.hypot(*edges.T).sum())
        if self.ceiling is None:
            return math.pi * self.floor_area / perimeter
        return 4 * self.floor_area * self.ceiling / (2 * self.floor_area + perimeter * self.ceiling)

    @cached_property
    def walls(self) -> tuple[tuple[float, float, float], ...]:
        """(a, b, c) of every wall, in the order of ``corners``: (x, y) is a x + b y - c metres inside of it."""
        edges = np.roll(self.corners, -1, axis=0) - self.corners
        normals = np.stack([-edges[:, 1], edges[:, 0]], axis=1) / np.hypot(*edges.T)[:, None]
        offsets = np.sum(normals * self.corners, axis=1)
        return tuple((float(a), float(b), float(c)) for (a, b), c in zip(normals, offsets, strict=True))

    def wall_distances(self, points: np.ndarray) -> np.ndarray:
        """Signed distance of points (..., 2) to the line of every wall, (..., M) float64, metres, positive inside."""
        walls = np.array(self.walls)
        return np.asarray(points, dtype=np.float64) @ walls[:, :2].T - walls[:, 2]

    def contains(self, points: np.ndarray, clearance: float = 0.0) -> np.ndarray:
        """Whether points (..., 2) lie inside, at least ``clearance`` metres from every wall; (...) bool."""
        return np.asarray((self.wall_distances(points) >= clearance).all(axis=-1))

    def with_walls(
        self, absorption: float | None = None, rt60: float | None = None, max_order: int | None = None
    ) -> Room:
        """The same room with what is not None changed."""
        if max_order is not None:
            self = replace(self, max_order=max_order)
        if absorption is not None or rt60 is not None:
            self = replace(self, absorption=absorption, rt60=rt60)
        return self


@dataclass(frozen=True)
class ShoeBox(Room):
    """A rectangular room with a corner at the origin.

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

    def to_pyroomacoustics(self, sample_rate: int) -> pra.ShoeBox:
        """A new ``pyroomacoustics.ShoeBox``."""
        return pra.ShoeBox(self.size, fs=sample_rate, materials=self.material, max_order=self.max_order)


@dataclass(frozen=True)
class Polygon(Room):
    """A room over a convex polygon, with upright walls.

    Attributes:
        floor: Corners of the floor, at least three pairs (x, y) in metres, in either direction around the room.
            Kept counter-clockwise.
        height: Metres; None makes the room two-dimensional.
    """

    floor: tuple[tuple[float, float], ...]
    height: float | None = None

    def __post_init__(self) -> None:
        floor = _convex_counter_clockwise(np.asarray(self.floor, dtype=np.float64))
        object.__setattr__(self, "floor", tuple((float(x), float(y)) for x, y in floor))
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
        room = pra.Room.from_corners(self.corners.T, fs=sample_rate, materials=self.material, max_order=self.max_order)
        if self.height is not None:
            room.extrude(float(self.height), materials=self.material)
        return room


@runtime_checkable
class RoomSampler(Protocol):
    """Draws a room for every episode. Anything with this method can stand for ``room=``."""

    def sample(self, rng: np.random.Generator) -> Room:
        """A room drawn with ``rng`` alone."""
        ...


@dataclass(frozen=True)
class RandomShoeBox:
    """Shoeboxes of random size and reverberation time, each drawn uniformly.

    Attributes:
        low: Smallest (width, depth) or (width, depth, height), metres.
        high: Largest, metres; as many numbers as ``low``.
        rt60: Shortest and longest reverberation time, seconds.
        max_order: As in :class:`Room`.
    """

    low: tuple[float, ...] = (5.0, 5.0, 2.5)
    high: tuple[float, ...] = (10.0, 10.0, 3.5)
    rt60: tuple[float, float] = (0.15, 0.6)
    max_order: int = DEFAULT_MAX_ORDER

    def __post_init__(self) -> None:
        if len(self.low) != len(self.high) or any(a > b for a, b in zip(self.low, self.high, strict=False)):
            raise ValueError(
                "low, high: expected as many sides in both, none larger in low than in high, "
                f"actual: low={self.low}, high={self.high}"
            )
        if len(self.rt60) != 2 or self.rt60[0] > self.rt60[1]:
            raise ValueError(f"rt60: expected (shortest, longest) in seconds, actual: {self.rt60}")
        for size, rt60 in ((self.low, self.rt60[0]), (self.high, self.rt60[1])):
            ShoeBox(size=size, rt60=rt60, max_order=self.max_order)  # refuses what no draw could use

    def sample(self, rng: np.random.Generator) -> ShoeBox:
        """A shoebox drawn with ``rng``."""
        size = tuple(float(side) for side in rng.uniform(self.low, self.high))
        return ShoeBox(size=size, rt60=float(rng.uniform(*self.rt60)), max_order=self.max_order)


def as_room(room: Room | RoomSampler | Sequence[float] | Sequence[Sequence[float]] | np.ndarray) -> Room | RoomSampler:
    """What the environment's ``room=`` accepts.

    Args:
        room: A :class:`Room`; a :class:`RoomSampler`; a size (width, depth[, height]) in metres; or (M, 2) corners
            of a two-dimensional polygon.

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

    T60 = 6 ln(10) l / (-c ln(1 - a)), with l the mean free path (Kuttruff, Room Acoustics, section 5.1). In three
    dimensions this is T60 = 0.161 V / (-S ln(1 - a)).

    Args:
        rt60: Seconds, above 0.
        mean_free_path: Metres.

    Returns:
        Share of energy, in (0, 1).
    """
    speed_of_sound = pra.constants.get("c")
    return 1 - math.exp(-6 * math.log(10) * mean_free_path / (speed_of_sound * rt60))


def _convex_counter_clockwise(corners: np.ndarray) -> np.ndarray:
    """Corners (M, 2) in counter-clockwise order; ValueError if they bound no convex polygon."""
    if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < 3 or not np.isfinite(corners).all():
        raise ValueError(
            "room corners: expected at least three pairs (x, y) of finite numbers, "
            f"actual: shape {corners.shape}, {corners.tolist()}"
        )
    edges = np.roll(corners, -1, axis=0) - corners
    lengths = np.hypot(*edges.T)
    if (lengths < 1e-6).any():
        raise ValueError(f"room corners: expected no corner twice, actual: {corners.tolist()}")
    headings = np.arctan2(edges[:, 1], edges[:, 0])
    turns = (np.roll(headings, -1) - headings + np.pi) % (2 * np.pi) - np.pi
    winding = round(float(turns.sum()) / (2 * np.pi))
    if abs(winding) != 1:
        raise ValueError(
            "room corners: expected a polygon whose edges do not cross, in order around the room, "
            f"actual: {corners.tolist()}, whose edges cross"
        )
    if (winding * turns < -1e-9).any():
        raise ValueError(
            "room corners: expected a convex polygon (every corner turns the same way), actual: "
            f"{corners.tolist()}, which turns inwards at corner(s) "
            f"{((np.flatnonzero(winding * turns < -1e-9) + 1) % len(corners)).tolist()}"
        )
    return corners if winding > 0 else corners[::-1]
