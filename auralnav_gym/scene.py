"""What there is to hear and where: rooms, sources, poses, scenes, and the samplers that draw them.

World frame: x to the right, y up, z towards the ceiling, metres. A heading is in radians, counter-clockwise from +x,
so that turning left adds to it. A two-dimensional room has no height, and positions in it have two numbers.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import cached_property
from numbers import Real
from typing import Protocol, runtime_checkable

import numpy as np
import pyroomacoustics as pra

from auralnav_gym.sounds import Sound, SoundBank

DEFAULT_RT60 = 0.35  # s
DEFAULT_MAX_ORDER = 3

# A layout is drawn afresh this often, each position from this many candidates, before placement gives up.
_MAX_LAYOUTS = 200
_CANDIDATES = 64

# An example is the loudest of so many.
_EXAMPLES = 8

# A step that comes nearer to a wall by less than this share of its length is taken along the wall, not blocked by it.
PARALLEL = 1e-12


class Action(IntEnum):
    """What the agent can do in one step."""

    FORWARD = 0  # one step along the heading
    BACKWARD = 1  # one step against the heading, without turning
    TURN_RIGHT = 2  # subtracts the turn angle from the heading
    TURN_LEFT = 3  # adds the turn angle to the heading


@dataclass(frozen=True)
class Pose:
    """Where the agent's centre is (x, y, metres) and where it looks (heading, radians, counter-clockwise from +x)."""

    x: float
    y: float
    heading: float

    @property
    def position(self) -> np.ndarray:
        """(2,) float64, metres."""
        return np.array([self.x, self.y])


@dataclass(frozen=True)
class Body:
    """How the agent moves and reaches.

    Attributes:
        step_size: Metres walked by one step.
        turn_angle: Radians turned by one turn.
        capture_radius: A source at most this far away (horizontally, metres) is found. At least half a step, or the
            agent could walk past a source in its way.
        radius: The clearance that the agent's centre keeps to every wall, metres.
    """

    step_size: float = 0.5
    turn_angle: float = math.radians(30)
    capture_radius: float = 1.0
    radius: float = 0.15

    def __post_init__(self) -> None:
        _require_positive("step_size", self.step_size, "metres")
        if not (math.isfinite(self.turn_angle) and 0 < self.turn_angle <= math.pi):
            raise ValueError(f"turn_angle: expected an angle in (0, pi] radians, actual: {self.turn_angle}")
        _require_positive("capture_radius", self.capture_radius, "metres")
        if self.capture_radius < self.step_size / 2:
            raise ValueError(
                f"capture_radius: expected at least half a step ({self.step_size / 2} m), "
                f"actual: {self.capture_radius} m. Otherwise the agent can walk past a source that lies in its way; "
                "enlarge capture_radius or shorten step_size."
            )
        if not (math.isfinite(self.radius) and self.radius >= 0):
            raise ValueError(f"radius: expected 0 or more metres, actual: {self.radius}")


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
            _require_positive("rt60", rt60, "seconds")
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
            _require_positive("height", self.height, "metres")
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


@dataclass(frozen=True, eq=False)
class Source:
    """A sound at a place.

    Attributes:
        position: (x, y) or (x, y, z), metres.
        sound: What it plays, round and round.
        start: Sample of the sound that is played when the episode begins.
        level_db: Level above the sound's own (-26 dBFS active RMS at 1 m), dB.
        is_target: Whether it is to be found, which switches it off. What is not is a distractor: it plays on for ever,
            and the agent does well to keep away from it.
    """

    position: tuple[float, ...]
    sound: Sound
    start: int = 0
    level_db: float = 0.0
    is_target: bool = True


@dataclass(frozen=True, eq=False)
class Example:
    """A piece of a sound that shows what kind of sound is to be found.

    Attributes:
        sound: Which sound.
        start: Sample of the sound at which the piece begins; the sound goes round.
    """

    sound: Sound
    start: int = 0

    def clip(self, num_samples: int) -> np.ndarray:
        """(N,) float32 in [-1, 1], the piece of so many samples."""
        places = np.arange(self.start, self.start + num_samples)
        return self.sound.signal.take(places, mode="wrap").clip(-1.0, 1.0)

    def energy(self, num_samples: int) -> float:
        """The sum of the squares of a piece of so many samples."""
        return float(np.square(self.clip(num_samples), dtype=np.float64).sum())


@dataclass(frozen=True, eq=False)
class DiffuseSound:
    """A sound field without a place: as much of it comes from everywhere, as the babble of a crowd or rain on a roof.

    It is made of plane waves of equal power from directions spread evenly over the sphere (over the circle in a
    two-dimensional room), each with a sound of its own. The directions stand still in the room, and its walls do not
    reflect the waves.

    Attributes:
        sounds: What the wave from each direction plays, round and round: as many sounds as directions. A sound may
            occur more than once, with other starts. All are brought to the same plain RMS, pauses included, so that
            ``level_db`` holds however long they pause.
        starts: For each, the sample of the sound that is played when the episode begins.
        level_db: Level of the whole field at an omnidirectional ear above that of a source 1 m away in free field
            (-26 dBFS), dB.

    Raises:
        ValueError: If there are no sounds, not as many starts, a sound is silent or the level is not finite.
    """

    sounds: tuple[Sound, ...]
    starts: tuple[int, ...]
    level_db: float = 0.0

    def __post_init__(self) -> None:
        if not self.sounds or len(self.sounds) != len(self.starts):
            raise ValueError(
                "sounds, starts: expected at least one sound and a start for each, "
                f"actual: {len(self.sounds)} sound(s), {len(self.starts)} start(s)"
            )
        silent = [sound.name for sound in dict.fromkeys(self.sounds) if not sound.signal.any()]
        if silent:
            raise ValueError(f"sounds: expected sounds that can be brought to a level, actual: silence in {silent}")
        if not math.isfinite(self.level_db):
            raise ValueError(f"level_db: expected a finite number of dB, actual: {self.level_db}")


@dataclass(frozen=True)
class Babble:
    """Draws a :class:`DiffuseSound`, by default of voices, for every scene.

    Attributes:
        snr_db: Signal-to-noise ratio: by how many dB a source of level 0 dB, 1 m away in free field, is above the
            babble at an omnidirectional ear.
        kinds: Kinds of sounds that are drawn; None: all. Where the bank has fewer sounds of these kinds than there are
            directions, they occur more than once, with other starts.
        num_directions: How many directions it comes from. The more, the higher the frequency up to which two ears hear
            a diffuse field: the 32 of the default do up to 2 kHz at ears 17 cm apart, 64 up to 4 kHz.
    """

    snr_db: float = 10.0
    kinds: Sequence[str] | None = ("speech",)
    num_directions: int = 32

    def __post_init__(self) -> None:
        if not math.isfinite(self.snr_db):
            raise ValueError(f"snr_db: expected a finite number of dB, actual: {self.snr_db}")
        _require_whole("num_directions", self.num_directions, at_least=1)

    def sample(self, rng: np.random.Generator, sounds: SoundBank) -> DiffuseSound:
        """A field of sounds from a bank, drawn with ``rng``; raises what :meth:`voices` does."""
        drawn = self.voices(sounds).draw(rng, self.num_directions)
        starts = tuple(int(rng.integers(len(sound.signal))) for sound in drawn)
        return DiffuseSound(drawn, starts, level_db=-self.snr_db)

    def voices(self, sounds: SoundBank) -> SoundBank:
        """The sounds of a bank that can occur.

        Raises:
            TypeError: If ``kinds`` is a string.
            ValueError: If the bank has no sound of one of these kinds.
        """
        return sounds if self.kinds is None else sounds.of_kinds(self.kinds, "background kinds")


def as_background(background: Babble | float | None) -> Babble | None:
    """What the environment's ``background=`` accepts: a :class:`Babble`, its SNR in dB, or None.

    Raises:
        TypeError: If ``background`` is none of these.
    """
    if background is None or isinstance(background, Babble):
        return background
    if isinstance(background, Real) and not isinstance(background, bool):
        return Babble(snr_db=float(background))
    raise TypeError(f"background: expected a Babble, an SNR in dB or None, actual: {background!r}")


@dataclass(frozen=True, eq=False)
class Scene:
    """Everything that an episode begins with; two plays of a scene under the same actions are equal to the last bit.

    Attributes:
        room: The room.
        sources: The sources, all sounding at the start; at least one of them is a target.
        pose: The agent's pose at the start.
        ear_height: Height of the ears in metres; None in a two-dimensional room.
        noise_seed: Seeds the microphone noise of the episode.
        background: What sounds from everywhere; None: nothing.
        example: What the targets sound like, where the agent is told by example; None: it is not.

    Raises:
        ValueError: If something lies outside the room or has the wrong number of dimensions.
    """

    room: Room
    sources: tuple[Source, ...]
    pose: Pose
    ear_height: float | None = 1.5
    noise_seed: int = 0
    background: DiffuseSound | None = None
    example: Example | None = None

    def __post_init__(self) -> None:
        if not self.sources:
            raise ValueError("sources: expected at least one source, actual: none")
        if not self.is_target.any():
            raise ValueError(
                f"sources: expected at least one target, actual: {len(self.sources)} distractor(s) and nothing to find"
            )
        dim, ceiling = self.room.dim, self.room.ceiling
        if (self.ear_height is None) != (ceiling is None):
            raise ValueError(
                f"ear_height: expected {'None' if ceiling is None else 'metres'} in a {dim}-D room, "
                f"actual: {self.ear_height}"
            )
        if ceiling is not None:
            _require_below_ceiling("ear_height", self.ear_height, ceiling)
        for index, source in enumerate(self.sources):
            where = f"sources[{index}].position"
            if len(source.position) != dim or not np.isfinite(source.position).all():
                raise ValueError(f"{where}: expected {dim} finite numbers in a {dim}-D room, actual: {source.position}")
            if not self.room.contains(np.array(source.position[:2])):
                raise ValueError(f"{where}: expected a place inside the room, actual: {source.position}")
            if ceiling is not None:
                _require_below_ceiling(where, source.position[2], ceiling)
        if not self.room.contains(self.pose.position):
            raise ValueError(f"pose: expected a place inside the room, actual: ({self.pose.x}, {self.pose.y})")

    @property
    def source_positions(self) -> np.ndarray:
        """(S, dim) float64, metres."""
        return np.array([source.position for source in self.sources], dtype=np.float64)

    @property
    def is_target(self) -> np.ndarray:
        """(S,) bool, which sources are to be found; the others are distractors."""
        return np.array([source.is_target for source in self.sources], dtype=bool)


@dataclass(frozen=True)
class SceneSampler:
    """Draws scenes: sources and the agent placed uniformly, subject to clearances.

    Where there are distractors, or the kinds of targets are given, all targets of a scene are of one kind, drawn
    uniformly, and no distractor is of that kind. Otherwise sounds of all kinds are drawn, as different as possible.
    Nothing makes sure that distractors leave a way to the targets; a few of them in a room of usual size do.

    Attributes:
        room: The room, or what draws one for every scene.
        sounds: Where the sounds are drawn from; different sounds while there are enough.
        num_sources: How many sources to find, the targets.
        body: The agent's body; its centre keeps ``body.radius`` to the walls.
        ear_height: Height of the ears, metres; ignored in two-dimensional rooms.
        source_height: Height of the sources, metres; None: that of the ears.
        wall_clearance: Least distance of a source to a wall, metres.
        source_spacing: Least distance between two sources, metres.
        start_distance: Least distance of the agent to every source, metres; above the capture radius.
        num_distractors: How many distractors, placed as targets are; they come after the targets.
        distractor_level_db: Level of the distractors above the targets', dB.
        target_kinds: The kinds that targets may be of; None: all kinds of the bank.
        distractor_kinds: The kinds that distractors may be of, but for the targets'; None: all kinds of the bank.
        example_samples: Length in samples of an example of the targets' kind; None: no example. It is a piece of
            another sound than the targets' while there is one, and the loudest of several that are drawn.
        background: What draws the diffuse background, after all the rest of the scene, which is therefore the same with
            any background and without; None: there is none.
    """

    room: Room | RoomSampler
    sounds: SoundBank
    num_sources: int = 2
    body: Body = field(default_factory=Body)
    ear_height: float = 1.5
    source_height: float | None = None
    wall_clearance: float = 0.5
    source_spacing: float = 2.0
    start_distance: float = 2.0
    num_distractors: int = 0
    distractor_level_db: float = 0.0
    target_kinds: Sequence[str] | None = None
    distractor_kinds: Sequence[str] | None = None
    example_samples: int | None = None
    background: Babble | None = None

    def __post_init__(self) -> None:
        _require_whole("num_sources", self.num_sources, at_least=1)
        _require_whole("num_distractors", self.num_distractors, at_least=0)
        if self.example_samples is not None:
            _require_whole("example_samples", self.example_samples, at_least=1)
        if not math.isfinite(self.distractor_level_db):
            raise ValueError(f"distractor_level_db: expected a finite number of dB, actual: {self.distractor_level_db}")
        self._check_kinds()
        for name in ("wall_clearance", "source_spacing", "start_distance"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name}: expected 0 or more metres, actual: {value}")
        if self.start_distance <= self.body.capture_radius:
            raise ValueError(
                f"start_distance: expected more than capture_radius ({self.body.capture_radius} m), or sources would "
                f"be found before the first step, actual: {self.start_distance} m"
            )
        if self.background is not None:
            self.background.voices(self.sounds)  # refuses a bank without any

    def _check_kinds(self) -> None:
        targets, distractors = (
            self.sounds if kinds is None else self.sounds.of_kinds(kinds, argument)
            for argument, kinds in (("target_kinds", self.target_kinds), ("distractor_kinds", self.distractor_kinds))
        )
        without = [kind for kind in targets.kinds if not set(distractors.kinds) - {kind}]
        if self.num_distractors and without:
            raise ValueError(
                f"distractor_kinds: expected kinds besides the targets', actual: none but {without[0]!r}, which may be "
                "the targets'. Name more kinds, or give sounds= a bank that has them."
            )

    @property
    def _is_of_one_kind(self) -> bool:
        """Whether all targets of a scene are of one kind."""
        return self.num_distractors > 0 or self.target_kinds is not None or self.example_samples is not None

    @cached_property
    def _banks(self) -> list[tuple[SoundBank, SoundBank | None]]:
        """For every kind of target its sounds, and those of the distractors beside it; None: there is nothing left."""
        target_kinds = self.sounds.kinds if self.target_kinds is None else sorted(set(self.target_kinds))
        distractor_kinds = set(self.sounds.kinds if self.distractor_kinds is None else self.distractor_kinds)
        return [
            (
                self.sounds.of_kinds([kind]),
                self.sounds.of_kinds(distractor_kinds - {kind}) if distractor_kinds - {kind} else None,
            )
            for kind in target_kinds
        ]

    def sample(self, rng: np.random.Generator) -> Scene:
        """Draw a scene with ``rng``.

        Raises:
            ValueError: If no layout keeps the clearances; says what to change.
        """
        room = self.room if isinstance(self.room, Room) else self.room.sample(rng)
        positions = self._place(rng, room)
        heading = float(rng.uniform(-math.pi, math.pi))
        sounds = self._draw_sounds(rng)
        starts = [int(rng.integers(len(sound.signal))) for sound in sounds]
        ear_height = None if room.ceiling is None else self.ear_height
        source_height = self.ear_height if self.source_height is None else self.source_height
        height = () if room.ceiling is None else (source_height,)
        are_targets = [True] * self.num_sources + [False] * self.num_distractors
        sources = tuple(
            Source((*place, *height), sound, start, 0.0 if is_target else self.distractor_level_db, is_target)
            for place, sound, start, is_target in zip(positions[:-1].tolist(), sounds, starts, are_targets, strict=True)
        )
        x, y = positions[-1].tolist()
        pose = Pose(x, y, heading)
        noise_seed = int(rng.integers(2**63))
        example = self._draw_example(rng, sounds[: self.num_sources])
        background = None if self.background is None else self.background.sample(rng, self.sounds)
        return Scene(room, sources, pose, ear_height, noise_seed, background, example)

    def _draw_sounds(self, rng: np.random.Generator) -> tuple[Sound, ...]:
        """What the targets play, and then what the distractors do."""
        if not self._is_of_one_kind:
            return self.sounds.draw(rng, self.num_sources)
        targets, distractors = self._banks[rng.integers(len(self._banks))]
        sounds = targets.draw(rng, self.num_sources)
        if self.num_distractors:
            assert distractors is not None  # _check_kinds() has seen to it
            sounds += distractors.draw(rng, self.num_distractors)
        return sounds

    def _draw_example(self, rng: np.random.Generator, sounds: Sequence[Sound]) -> Example | None:
        """A piece of another sound of the kind of the targets' ``sounds``, if there is to be one."""
        num_samples = self.example_samples
        if num_samples is None:
            return None
        alike = self.sounds.of_kinds([sounds[0].kind])
        others = [sound for sound in alike if sound not in sounds] or list(alike)
        sound = others[rng.integers(len(others))]
        # The loudest of several: a pause would show nothing.
        starts = rng.integers(len(sound.signal), size=_EXAMPLES).tolist()
        return max((Example(sound, start) for start in starts), key=lambda example: example.energy(num_samples))

    def _place(self, rng: np.random.Generator, room: Room) -> np.ndarray:
        """Positions (S + 1, 2) of the sources and, last, of the agent."""
        num_sources = self.num_sources + self.num_distractors
        for _ in range(_MAX_LAYOUTS):
            placed = np.empty((0, 2))
            for index in range(num_sources + 1):
                is_agent = index == num_sources
                spacing = self.start_distance if is_agent else self.source_spacing
                clearance = self.body.radius if is_agent else self.wall_clearance
                candidates = rng.uniform(*room.bounds, size=(_CANDIDATES, 2))
                gaps = np.linalg.norm(candidates[:, None] - placed, axis=-1)
                fits = room.contains(candidates, clearance) & (gaps >= spacing).all(axis=1)
                if not fits.any():
                    break
                placed = np.vstack([placed, candidates[fits.argmax()]])
            else:
                return placed
        low, high = room.bounds
        name = "num_sources, num_distractors" if self.num_distractors else "num_sources"
        raise ValueError(
            f"{name}: {num_sources} source(s) and the agent do not fit the room of "
            f"{high[0] - low[0]:.2f} m x {high[1] - low[1]:.2f} m, expected sources {self.wall_clearance} m from the "
            f"walls and {self.source_spacing} m apart, and the agent {self.body.radius:.3f} m from the walls and "
            f"{self.start_distance} m from every source; no such layout was found in {_MAX_LAYOUTS} tries. Enlarge the "
            f"room, or lower {name}, wall_clearance, source_spacing or start_distance."
        )


def move(pose: Pose, action: int, room: Room, body: Body) -> Pose:
    """The pose after an action.

    Walls block: the agent goes as far as it can while its centre keeps ``body.radius`` to every wall.

    Args:
        pose: Where the agent is.
        action: An :class:`Action`.
        room: The (convex) room.
        body: Its step, turn and clearance.

    Returns:
        The new pose; its heading is in [-pi, pi).

    Raises:
        ValueError: If ``action`` is none.
    """
    if action in (Action.TURN_LEFT, Action.TURN_RIGHT):
        turn = body.turn_angle if action == Action.TURN_LEFT else -body.turn_angle
        return Pose(pose.x, pose.y, (pose.heading + turn + math.pi) % (2 * math.pi) - math.pi)
    if action not in (Action.FORWARD, Action.BACKWARD):
        raise ValueError(f"action: expected one of {list(map(int, Action))}, actual: {action!r}")
    length = body.step_size if action == Action.FORWARD else -body.step_size
    step_x, step_y = length * math.cos(pose.heading), length * math.sin(pose.heading)
    share = 1.0
    for normal_x, normal_y, offset in room.walls:
        approach = -(normal_x * step_x + normal_y * step_y)
        if approach > PARALLEL * body.step_size:
            room_left = normal_x * pose.x + normal_y * pose.y - offset - body.radius
            share = min(share, max(room_left, 0.0) / approach)
    return Pose(pose.x + share * step_x, pose.y + share * step_y, pose.heading)


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


def _require_whole(name: str, value: float, at_least: int) -> None:
    if isinstance(value, bool) or int(value) != value or value < at_least:
        raise ValueError(f"{name}: expected a whole number of {at_least} or more, actual: {value}")


def _require_positive(name: str, value: float, unit: str) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name}: expected more than 0 {unit}, actual: {value}")


def _require_below_ceiling(name: str, height: float | None, ceiling: float) -> None:
    if height is None or not 0 < height < ceiling:
        raise ValueError(f"{name}: expected a height between floor and ceiling (0 and {ceiling} m), actual: {height}")
