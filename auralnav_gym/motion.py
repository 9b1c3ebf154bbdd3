"""How sources move and when they sound, and the samplers that draw that for every scene."""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np

from auralnav_gym.checks import require_positive, require_whole
from auralnav_gym.rooms import Room

# Places are drawn from so many candidates at a time, so often, before a sampler gives up.
_CANDIDATES, _MAX_DRAWS = 64, 200


class SourceMotion(ABC):
    """Where a source is at every time. Its height stays the same.

    To bring one's own, fill in :attr:`speed` and :meth:`positions`; a frozen dataclass can be written to a file with
    the world that it is in.
    """

    speed: float
    """The source never moves faster, m/s."""

    @abstractmethod
    def positions(self, times: np.ndarray) -> np.ndarray:
        """Where the source is.

        Args:
            times: (T,) float64, seconds since the start of the episode. Before it, at negative times, the source stands
                where it starts.

        Returns:
            (T, 2) float64, metres.
        """


@dataclass(frozen=True)
class Waypoints(SourceMotion):
    """At constant speed from place to place, straight ahead, without end.

    Attributes:
        places: (x, y) of every place, metres; the source starts at the first.
        speed: m/s.
        closed: Whether it goes from the last place straight to the first, round and round, or else back the way that it
            came.
    """

    places: tuple[tuple[float, float], ...]
    speed: float = 0.3
    closed: bool = True

    def __post_init__(self) -> None:
        places = tuple((float(x), float(y)) for x, y in self.places)
        if not places or not np.isfinite(places).all():
            raise ValueError(f"places: expected at least one pair (x, y) of finite numbers, actual: {self.places}")
        object.__setattr__(self, "places", places)
        require_positive("speed", self.speed, "m/s")

    @cached_property
    def _legs(self) -> tuple[np.ndarray, np.ndarray]:
        """Metres of the way up to every stop (K,), and the stops (K, 2), once round or there and back."""
        back = self.places[:1] if self.closed else self.places[-2::-1]
        stops = np.array([*self.places, *back])
        lengths = np.hypot(*np.diff(stops, axis=0).T)
        return np.concatenate([[0.0], np.cumsum(lengths)]), stops

    def positions(self, times: np.ndarray) -> np.ndarray:
        """See :class:`SourceMotion`."""
        walked, stops = self._legs
        round_trip = walked[-1]
        times = np.maximum(np.asarray(times, dtype=np.float64), 0.0)
        way = np.zeros_like(times) if round_trip == 0 else self.speed * times % round_trip
        return np.stack([np.interp(way, walked, stops[:, 0]), np.interp(way, walked, stops[:, 1])], axis=-1)


@runtime_checkable
class MotionSampler(Protocol):
    """Draws how each source of a scene moves. Anything with this method can stand for ``source_motion=``."""

    def sample(self, rng: np.random.Generator, room: Room, start: np.ndarray, clearance: float) -> SourceMotion:
        """A motion drawn with ``rng`` alone.

        Args:
            rng: The generator.
            room: In which it moves.
            start: (2,) float64, where it starts, metres.
            clearance: What it keeps to the walls, metres.
        """
        ...


@dataclass(frozen=True)
class Wander(MotionSampler):
    """Sources that walk from place to place, drawn uniformly in the room, at constant speed.

    Around corners they take the shortest way. After the last place they come back to the first and begin again.

    Attributes:
        speed: m/s.
        num_places: How many places, that at the start among them. With 16 the way through a room of usual size takes
            longer than an episode.
    """

    speed: float = 0.3
    num_places: int = 16

    def __post_init__(self) -> None:
        require_positive("speed", self.speed, "m/s")
        require_whole("num_places", self.num_places, at_least=2)

    def sample(self, rng: np.random.Generator, room: Room, start: np.ndarray, clearance: float) -> Waypoints:
        """A closed path that begins at ``start``, drawn with ``rng``."""
        stops = [start, *(_draw_place(rng, room, clearance) for _ in range(self.num_places - 1))]
        legs = (room.shortest_path(a, b, clearance) for a, b in itertools.pairwise([*stops, start]))
        places = np.concatenate([leg[:-1] for leg in legs])
        return Waypoints(tuple((float(x), float(y)) for x, y in places), self.speed)


class SourceActivity(ABC):
    """When a source sounds.

    To bring one's own, fill in :meth:`gate`; a frozen dataclass can be written to a file with the world that it is in.
    """

    @abstractmethod
    def gate(self, times: np.ndarray) -> np.ndarray:
        """What the source's sound is multiplied by.

        Args:
            times: (n,) float64, seconds since the start of the episode, also before it.

        Returns:
            (n,) float64 in [0, 1]; it should change smoothly, or clicks are heard.
        """


@dataclass(frozen=True)
class Ringing(SourceActivity):
    """On and off by turns, as a telephone or an alarm that rings now and then.

    Attributes:
        on_seconds: How long it sounds at a time.
        off_seconds: How long it is silent in between.
        start_seconds: How much of the turn, which begins with sounding, has gone by when the episode begins.
        ramp_seconds: How long it takes to come and to go, within ``on_seconds``; a half of it at most.
    """

    on_seconds: float = 1.0
    off_seconds: float = 1.0
    start_seconds: float = 0.0
    ramp_seconds: float = 0.01

    def __post_init__(self) -> None:
        require_positive("on_seconds", self.on_seconds, "seconds")
        require_positive("off_seconds", self.off_seconds, "seconds")
        if not math.isfinite(self.start_seconds):
            raise ValueError(f"start_seconds: expected a finite number of seconds, actual: {self.start_seconds}")
        if not 0 < self.ramp_seconds <= self.on_seconds / 2:
            raise ValueError(
                f"ramp_seconds: expected seconds in (0, {self.on_seconds / 2}], half of on_seconds at most, "
                f"actual: {self.ramp_seconds}"
            )

    def gate(self, times: np.ndarray) -> np.ndarray:
        """See :class:`SourceActivity`; comes and goes along half a period of a cosine."""
        since_on = (np.asarray(times, dtype=np.float64) + self.start_seconds) % (self.on_seconds + self.off_seconds)
        # Seconds from the nearer end of the sounding part, below 0 outside of it.
        inside = np.minimum(since_on, self.on_seconds - since_on)
        return 0.5 - 0.5 * np.cos(np.pi * (inside / self.ramp_seconds).clip(0.0, 1.0))


@runtime_checkable
class ActivitySampler(Protocol):
    """Draws when each source of a scene sounds. Anything with this method can stand for ``source_activity=``."""

    def sample(self, rng: np.random.Generator) -> SourceActivity:
        """An activity drawn with ``rng`` alone."""
        ...


@dataclass(frozen=True)
class RandomRinging(ActivitySampler):
    """Sources that ring now and then, each at times of its own, drawn uniformly.

    Attributes:
        on_seconds: Shortest and longest time that a source sounds at a time.
        off_seconds: Shortest and longest silence in between.
    """

    on_seconds: tuple[float, float] = (0.5, 2.0)
    off_seconds: tuple[float, float] = (0.5, 2.0)

    def __post_init__(self) -> None:
        for name in ("on_seconds", "off_seconds"):
            limits = getattr(self, name)
            if len(limits) != 2 or not (0 < limits[0] <= limits[1] < math.inf):
                raise ValueError(f"{name}: expected (shortest, longest) in seconds, above 0, actual: {limits}")

    def sample(self, rng: np.random.Generator) -> Ringing:
        """An activity drawn with ``rng``."""
        on, off = float(rng.uniform(*self.on_seconds)), float(rng.uniform(*self.off_seconds))
        return Ringing(on, off, float(rng.uniform(0.0, on + off)), min(0.01, on / 2))


def _draw_place(rng: np.random.Generator, room: Room, clearance: float) -> np.ndarray:
    """(2,) float64, drawn uniformly among the places that keep a clearance to every wall."""
    for _ in range(_MAX_DRAWS):
        candidates = rng.uniform(*room.bounds, size=(_CANDIDATES, 2))
        fits = room.contains(candidates, clearance)
        if fits.any():
            return candidates[fits.argmax()]
    raise ValueError(
        f"source_motion: expected room to walk at least {clearance} m from the walls, actual: none was found in "
        f"{_MAX_DRAWS * _CANDIDATES} tries. Lower wall_clearance or enlarge the room."
    )
