"""What there is to hear and where: sources, scenes, and the sampler that draws them.

World frame: x to the right, y up, z towards the ceiling, metres. Positions in a two-dimensional room have two numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from numbers import Real

import numpy as np

from auralnav_gym.checks import require_below_ceiling, require_whole
from auralnav_gym.motion import ActivitySampler, MotionSampler, SourceActivity, SourceMotion
from auralnav_gym.movement import Body, Pose
from auralnav_gym.rooms import Room, RoomSampler
from auralnav_gym.sounds import Sound, SoundBank

# A layout is drawn afresh this often, each position from this many candidates, before placement gives up.
_MAX_LAYOUTS = 200
_CANDIDATES = 64

# An example is the loudest of so many.
_EXAMPLES = 8

# Seconds at which a moving source is seen to be inside the room.
_CHECKED_TIMES = np.arange(0.0, 600.0, 0.5)


@dataclass(frozen=True, eq=False)
class Source:
    """A sound at a place.

    Attributes:
        position: (x, y) or (x, y, z), metres, where it is at the start.
        sound: What it plays, round and round.
        start: Sample of the sound that is played when the episode begins.
        level_db: Level above the sound's own (-26 dBFS active RMS at 1 m), dB.
        is_target: Whether it is to be found, which switches it off. What is not is a distractor: it plays on for ever,
            and the agent does well to keep away from it.
        motion: Where it is from the start on; None: it stays at ``position``. Its height is always that of
            ``position``.
        activity: When it sounds; None: always.
    """

    position: tuple[float, ...]
    sound: Sound
    start: int = 0
    level_db: float = 0.0
    is_target: bool = True
    motion: SourceMotion | None = None
    activity: SourceActivity | None = None


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
        if self.kinds is not None and not isinstance(self.kinds, str):  # a string is refused when there is a bank
            object.__setattr__(self, "kinds", tuple(self.kinds))
        require_whole("num_directions", self.num_directions, at_least=1)

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
            require_below_ceiling("ear_height", self.ear_height, ceiling)
        for index, source in enumerate(self.sources):
            where = f"sources[{index}].position"
            if len(source.position) != dim or not np.isfinite(source.position).all():
                raise ValueError(f"{where}: expected {dim} finite numbers in a {dim}-D room, actual: {source.position}")
            if not self.room.contains(np.array(source.position[:2])):
                raise ValueError(f"{where}: expected a place inside the room, actual: {source.position}")
            if ceiling is not None:
                require_below_ceiling(where, source.position[2], ceiling)
            if source.motion is not None:
                self._check_motion(f"sources[{index}].motion", source.motion, source.position)
        if not self.room.contains(self.pose.position):
            raise ValueError(f"pose: expected a place inside the room, actual: ({self.pose.x}, {self.pose.y})")

    def _check_motion(self, where: str, motion: SourceMotion, start: tuple[float, ...]) -> None:
        places = motion.positions(_CHECKED_TIMES)
        if not np.allclose(places[0], start[:2], atol=1e-6):
            raise ValueError(f"{where}: expected to start at the source's {start[:2]}, actual: {places[0].tolist()}")
        outside = ~self.room.contains(places)
        if outside.any():
            raise ValueError(
                f"{where}: expected places inside the room, actual: {places[outside][0].tolist()} after "
                f"{_CHECKED_TIMES[outside][0]:g} s"
            )

    @cached_property
    def source_positions(self) -> np.ndarray:
        """(S, dim) float64, metres, at the start; not to be written to."""
        return np.array([source.position for source in self.sources], dtype=np.float64)

    @cached_property
    def is_still(self) -> bool:
        """Whether no source moves."""
        return all(source.motion is None for source in self.sources)

    def source_positions_at(self, seconds: float) -> np.ndarray:
        """(S, dim) float64, metres, so many seconds after the start of the episode; not to be written to."""
        if self.is_still:
            return self.source_positions
        positions = self.source_positions.copy()
        time = np.array([seconds])
        for place, source in zip(positions, self.sources, strict=True):
            if source.motion is not None:
                place[:2] = source.motion.positions(time)[0]
        return positions

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
        background: What draws the diffuse background; None: there is none.
        source_level_db: Lowest and highest of the levels that are drawn for every source, uniformly, and added to its
            own, dB.
        source_activity: What draws when each source sounds; None: all always do.
        source_motion: What draws how each source moves, ``wall_clearance`` off the walls; None: all stand still.

    What is optional is drawn after all the rest of the scene, in this order, so that a scene is the same with it and
    without in all else.
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
    source_level_db: tuple[float, float] = (0.0, 0.0)
    source_activity: ActivitySampler | None = None
    source_motion: MotionSampler | None = None

    def __post_init__(self) -> None:
        low, high = self.source_level_db
        if not (math.isfinite(low) and math.isfinite(high) and low <= high):
            raise ValueError(
                f"source_level_db: expected (lowest, highest) in dB, both finite, actual: {self.source_level_db}"
            )
        require_whole("num_sources", self.num_sources, at_least=1)
        require_whole("num_distractors", self.num_distractors, at_least=0)
        if self.example_samples is not None:
            require_whole("example_samples", self.example_samples, at_least=1)
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
        sources = self._draw_behaviour(rng, room, sources)
        return Scene(room, sources, pose, ear_height, noise_seed, background, example)

    def _draw_behaviour(self, rng: np.random.Generator, room: Room, sources: tuple[Source, ...]) -> tuple[Source, ...]:
        """The sources with what is drawn of their levels, of when they sound and how they move."""
        low, high = self.source_level_db
        levels = rng.uniform(low, high, size=len(sources)).tolist() if low < high else [low] * len(sources)
        sources = tuple(
            replace(source, level_db=source.level_db + level) for source, level in zip(sources, levels, strict=True)
        )
        if self.source_activity is not None:
            sources = tuple(replace(source, activity=self.source_activity.sample(rng)) for source in sources)
        if self.source_motion is not None:
            sources = tuple(
                replace(
                    source,
                    motion=self.source_motion.sample(rng, room, np.array(source.position[:2]), self.wall_clearance),
                )
                for source in sources
            )
        return sources

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
                # No way on foot is shorter than the straight one.
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
