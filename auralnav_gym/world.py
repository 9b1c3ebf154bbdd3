"""The whole world of an environment as one object, that prints, compares, and goes to and from a file."""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from functools import cached_property
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from auralnav_gym.checks import require_whole
from auralnav_gym.config import SHORTHAND, ConfigError, did_you_mean, from_plain, to_plain, to_text
from auralnav_gym.ears import CardioidEars, Ears
from auralnav_gym.files import written_whole
from auralnav_gym.motion import ActivitySampler, MotionSampler
from auralnav_gym.movement import ActionScheme, Body, DiscreteActions, as_action_scheme
from auralnav_gym.named_ears import as_ears
from auralnav_gym.rooms import Room, RoomSampler, ShoeBox, as_room
from auralnav_gym.scene import Babble, SceneSampler, as_background
from auralnav_gym.scoring import Rewards, as_rewards
from auralnav_gym.sounds import SoundBank, load_sounds

# What the agent's centre keeps to the walls beyond its ears, metres.
EAR_CLEARANCE = 0.05

# What touching a distractor can do, and how the agent can be told the targets' kind.
_TOUCHES = ("end", "cost")
_GOALS = (None, "class", "example")

_WHOLE = ("num_sources", "num_distractors", "sample_rate")
_REAL = (
    "distractor_level_db",
    "listen_seconds",
    "step_size",
    "turn_angle",
    "capture_radius",
    "noise_dbfs",
    "ear_height",
    "source_height",
    "wall_clearance",
    "source_spacing",
    "start_distance",
)
_SWITCHES = ("pose", "motion", "source_audio")


@dataclass(frozen=True, kw_only=True, eq=False)
class World:
    """What an environment is made of: the room, what sounds in it, how the agent moves and hears, and what it earns.

    The keywords of :class:`auralnav_gym.AuralNavEnv` but ``render_mode``; its ``config`` is one. Whatever short form
    a world is given in, it holds the same objects, and equal worlds compare equal. A world goes into a plain file and
    comes back::

        world = World(room=(6, 5, 3), rt60=0.4, num_sources=3)
        world.save("world.json")
        env = gym.make("AuralNav-v0", world=World.load("world.json"))
        print(env.unwrapped.config)

    A file written by hand needs to name no more than what differs from the defaults, in the short forms too:
    ``{"room": [6, 5, 3], "rt60": 0.4, "ears": "omni"}``.

    Args:
        room: A :class:`Room`, or a :class:`RoomSampler` that draws one at every reset. In short: a size (width, depth,
            height) or (width, depth) in metres, or (M, 2) corners of a polygon in metres.
        num_sources: How many sources to find (targets); 1 or more.
        num_distractors: How many distractors; 0 or more. With any, the targets of an episode are of one kind.
        distractor_level_db: Level of the distractors above the targets', dB.
        target_kinds: The kinds of sound, such as ``("speech",)``, of which one is drawn for the targets of an episode;
            None: all kinds of the bank (or, without distractors and ``goal``, targets of several kinds).
        distractor_kinds: The kinds from which distractors are drawn, but for the targets'; None: all of the bank.
        touch: What touching a distractor does: ``"end"`` ends the episode and ``"cost"`` does not. Either way it earns
            ``Rewards.touched``, each time the agent comes within ``capture_radius`` of a distractor from outside.
        goal: How the agent is told the targets' kind: ``"class"``, ``"example"`` or None: not at all.
        sounds: A :class:`SoundBank`, the path of a folder of recordings, or None: the synthetic bank.
        source_level_db: Lowest and highest level of the sources above their own, dB, drawn for each. In short: a
            number, which is both.
        source_activity: What draws when each source sounds, such as :class:`RandomRinging`; None: all always do.
        source_motion: What draws how each source moves, such as :class:`Wander`; None: all stand still.
        background: Diffuse background noise, a :class:`Babble`; None: none. In short: its signal-to-noise ratio in dB,
            by which a source 1 m away in free field is above it at an omnidirectional ear.
        noise_dbfs: RMS level of white microphone noise, dB re full scale; None: none.
        ears: The :class:`Ears`. In short: ``"ortf"`` (two cardioids, 17 cm apart, turned 55 degrees outwards),
            ``"omni"`` or ``"human"``.
        ear_height: Height of the ears in metres, between floor and ceiling; ignored in two-dimensional rooms.
        source_height: Height of the sources in metres, between floor and ceiling; None: that of the ears.
        wall_clearance: Least distance of a source to a wall, metres; 0 or more.
        source_spacing: Least distance between two sources, metres; 0 or more; None: two capture radii.
        start_distance: Least distance of the agent to a source at the start, metres; more than the capture radius;
            None: two capture radii.
        sample_rate: Hz.
        listen_seconds: Seconds heard at every step; at least a sample.
        actions: The :class:`ActionScheme`. In short: ``"discrete"`` or ``"continuous"``.
        step_size: Metres of a step; above 0.
        turn_angle: Degrees of a turn, in (0, 180].
        capture_radius: Metres within which a source is found; at least half a step.
        rewards: The :class:`Rewards`. In short: ``"default"``, ``"original"`` or a mapping of weights.
        pose: Whether the agent knows its own pose.
        motion: Whether the agent knows how its last action moved it.
        source_audio: Whether ``info`` carries every source alone at the ears.
        absorption: Share of energy that the walls take, in (0, 1]: changes the ``room``. No field: the room holds it.
        rt60: Reverberation time in seconds, instead of ``absorption``: changes the ``room``, too. Rooms given by size
            or corners have 0.35 s.
        max_order: Highest order of reflections, 0 or more: changes the ``room``, too. 3 unless said otherwise.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If an argument is out of range; says which, and what would be right.
    """

    room: Room | RoomSampler = field(
        default=ShoeBox(), metadata={SHORTHAND: Sequence[float] | Sequence[Sequence[float]]}
    )
    num_sources: int = 2
    num_distractors: int = 0
    distractor_level_db: float = 0.0
    target_kinds: tuple[str, ...] | None = None
    distractor_kinds: tuple[str, ...] | None = None
    touch: str = "end"
    goal: str | None = None
    sounds: SoundBank | str | None = None
    source_level_db: tuple[float, float] = field(default=(0.0, 0.0), metadata={SHORTHAND: float})
    source_activity: ActivitySampler | None = None
    source_motion: MotionSampler | None = None
    background: Babble | None = field(default=None, metadata={SHORTHAND: float})
    noise_dbfs: float | None = None
    ears: Ears = field(default=CardioidEars(), metadata={SHORTHAND: str})
    ear_height: float = 1.5
    source_height: float | None = None
    wall_clearance: float = 0.5
    source_spacing: float | None = None
    start_distance: float | None = None
    sample_rate: int = 8000
    listen_seconds: float = 0.5
    actions: ActionScheme = field(default=DiscreteActions(), metadata={SHORTHAND: str})
    step_size: float = 0.5
    turn_angle: float = 30.0
    capture_radius: float = 1.0
    rewards: Rewards = field(default=Rewards(), metadata={SHORTHAND: str | None})
    pose: bool = True
    motion: bool = False
    source_audio: bool = False
    absorption: InitVar[float | None] = None
    rt60: InitVar[float | None] = None
    max_order: InitVar[int | None] = None

    def __post_init__(self, absorption: float | None, rt60: float | None, max_order: int | None) -> None:
        whole = {name: _whole_number(name, getattr(self, name)) for name in _WHOLE}
        real = {name: _real_number(name, getattr(self, name)) for name in _REAL}
        switches = {name: _switch(name, getattr(self, name)) for name in _SWITCHES}
        # object.__setattr__ is how a frozen dataclass is filled.
        for name, value in {
            **whole,
            **real,
            **switches,
            "room": _with_walls(as_room(self.room), absorption, rt60, max_order),
            "target_kinds": _as_kinds("target_kinds", self.target_kinds),
            "distractor_kinds": _as_kinds("distractor_kinds", self.distractor_kinds),
            "sounds": _as_sounds(self.sounds, whole["sample_rate"]),
            "source_level_db": _as_range("source_level_db", self.source_level_db),
            "background": as_background(self.background),
            "ears": as_ears(self.ears),
            "actions": as_action_scheme(self.actions),
            "rewards": as_rewards(self.rewards),
        }.items():
            object.__setattr__(self, name, value)
        self._check()

    def _check(self) -> None:
        """Refuse what is out of range; what the rooms, the ears and so on are made of, those have checked."""
        require_whole("num_sources", self.num_sources, at_least=1)
        require_whole("num_distractors", self.num_distractors, at_least=0)
        require_one_of("touch", self.touch, _TOUCHES)
        require_one_of("goal", self.goal, _GOALS)
        for name in ("source_activity", "source_motion"):
            sampler = getattr(self, name)
            if sampler is not None and not callable(getattr(sampler, "sample", None)):
                raise TypeError(f"{name}: expected None or an object with sample(), actual: {sampler!r}")
        for name in ("distractor_level_db", "noise_dbfs", "ear_height", "source_height"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                unit = "metres" if name.endswith("height") else "dB"
                raise ValueError(f"{name}: expected a finite number of {unit}, actual: {value}")
        _, body = self.num_samples, self.body  # which check what they follow from
        for name in ("wall_clearance", "source_spacing", "start_distance"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name}: expected 0 or more metres, actual: {value}")
        if self.start_distance is not None and self.start_distance <= body.capture_radius:
            raise ValueError(
                f"start_distance: expected more than capture_radius ({body.capture_radius} m), or sources would be "
                f"found before the first step, actual: {self.start_distance} m"
            )

    # ---- What follows from it ----------------------------------------------------------------------------------------

    @property
    def num_samples(self) -> int:
        """N, the samples heard at every step."""
        sample_rate, seconds = self.sample_rate, self.listen_seconds
        if sample_rate < 1:
            raise ValueError(f"sample_rate: expected a whole number of Hz, actual: {sample_rate}")
        if not (math.isfinite(seconds) and round(seconds * sample_rate) >= 1):
            raise ValueError(
                f"listen_seconds: expected at least one sample ({1 / sample_rate} s at {sample_rate} Hz), "
                f"actual: {seconds}"
            )
        return round(seconds * sample_rate)

    @cached_property
    def body(self) -> Body:
        """How the agent moves and reaches; its ears stay inside the room however it turns."""
        radius = self.ears.radius + EAR_CLEARANCE
        return Body(self.step_size, math.radians(self.turn_angle), self.capture_radius, radius)

    def scene_sampler(self) -> SceneSampler:
        """What draws the scenes.

        Raises:
            FileNotFoundError: There is no such folder of recordings.
            ValueError: The recordings cannot be used (see :class:`SoundFolder`), or the bank has no sounds of some
                kind.
        """
        bank = load_sounds(self.sounds, self.sample_rate)
        two_radii = 2 * self.capture_radius
        return SceneSampler(
            room=self.room,
            sounds=bank,
            num_sources=self.num_sources,
            body=self.body,
            ear_height=self.ear_height,
            source_height=self.source_height,
            wall_clearance=self.wall_clearance,
            source_spacing=two_radii if self.source_spacing is None else self.source_spacing,
            start_distance=two_radii if self.start_distance is None else self.start_distance,
            num_distractors=self.num_distractors,
            distractor_level_db=self.distractor_level_db,
            # There is no one kind to tell of unless targets are of one kind.
            target_kinds=bank.kinds if self.target_kinds is None and self.goal is not None else self.target_kinds,
            distractor_kinds=self.distractor_kinds,
            example_samples=self.num_samples if self.goal == "example" else None,
            background=self.background,
            source_level_db=self.source_level_db,
            source_activity=self.source_activity,
            source_motion=self.source_motion,
        )

    # ---- Changing, comparing and printing it -------------------------------------------------------------------------

    def replace(self, **changes: Any) -> World:
        """The same world with some of its arguments changed.

        Raises:
            TypeError: If one is unknown, or of another type.
            ValueError: If one is out of range.
        """
        unknown = [name for name in changes if name not in ARGUMENTS]
        if unknown:
            raise TypeError(
                f"{unknown[0]}: unknown keyword; expected one of {list(ARGUMENTS)}."
                f"{did_you_mean(unknown[0], ARGUMENTS)}"
            )
        return dataclasses.replace(self, **changes)

    def differences(self, other: World) -> dict[str, tuple[Any, Any]]:
        """What another world has otherwise, as plain data: from the dotted path to (here, there).

        What is only in one of them, as two rooms of different classes have different fields, is None in the other.
        """
        here, there = _flat(to_plain(self, strict=False)), _flat(to_plain(other, strict=False))
        return {
            path: (here.get(path), there.get(path)) for path in {**here, **there} if here.get(path) != there.get(path)
        }

    def _values(self) -> tuple[Any, ...]:
        """What makes two worlds equal; banks are if they hold the same sounds."""
        values = (getattr(self, each.name) for each in dataclasses.fields(self))
        return tuple(value.fingerprint if isinstance(value, SoundBank) else value for value in values)

    def __eq__(self, other: object) -> bool:
        """Whether both are the same world."""
        return self._values() == other._values() if isinstance(other, World) else NotImplemented

    def __hash__(self) -> int:
        """Equal worlds have the same; TypeError if a part of the world has none."""
        return hash(self._values())

    def __str__(self) -> str:
        """Every field on a line of its own."""
        lines = (f"    {each.name}={getattr(self, each.name)!r},\n" for each in dataclasses.fields(self))
        return f"World(\n{''.join(lines)})"

    # ---- Files -------------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the world to a JSON file, whole or not at all.

        Sounds given by a folder's path are written as that, a bank as what identifies it; see :meth:`load`.

        Args:
            path: The file; replaced when there is one. Its folder must exist.

        Raises:
            TypeError: If a part of the world is an object that cannot be written (see :mod:`auralnav_gym.config`); the
                message begins with its dotted path.
        """
        text = to_text(to_plain(self)) + "\n"
        with written_whole(path) as unfinished:
            unfinished.write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str], **parts: Any) -> World:
        """Read a world from a JSON file, as :meth:`save` or a person wrote it.

        Args:
            path: The file.
            **parts: What the file identifies but does not hold, such as ``sounds=`` the bank that the world had when it
                was saved.

        Raises:
            FileNotFoundError: There is no such file.
            ConfigError: The file is no JSON, or describes no world: unknown and missing keys, wrong types and values
                are called by their dotted path. Or a part is missing, or is not that of the file.
        """
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ConfigError("", f"{os.fspath(path)}: expected JSON, actual: {error}") from error
        try:
            return _restore(data, parts)
        except ConfigError as error:
            raise ConfigError("", f"{error} (in {os.fspath(path)})") from error


# Of World, in their order.
ARGUMENTS = tuple(inspect.signature(World).parameters)


def require_one_of(name: str, value: Any, choices: Sequence[Any]) -> None:
    """Refuse what is none of some choices."""
    if value not in choices:
        raise ValueError(f"{name}: expected one of {list(choices)}, actual: {value!r}")


def _whole_number(name: str, value: Any) -> int:
    number = _real_number(name, value)
    if number is None or not number.is_integer():
        expected = {"sample_rate": "a whole number of Hz", "num_sources": "a whole number of 1 or more"}
        raise ValueError(f"{name}: expected {expected.get(name, 'a whole number of 0 or more')}, actual: {value}")
    return int(number)


def _real_number(name: str, value: Any) -> float | None:
    """A number of Python's own; None where that stands for something."""
    if value is None and World.__dataclass_fields__[name].default is None:
        return None
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name}: expected a number, actual: {value!r}")
    return float(value)


def _switch(name: str, value: Any) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name}: expected True or False, actual: {value!r}")
    return bool(value)


def _as_range(name: str, value: Any) -> tuple[float, float]:
    """Lowest and highest, which are the same for a single number."""
    pair = (value, value) if isinstance(value, Real) else tuple(value)
    if len(pair) != 2 or not all(map(math.isfinite, pair)) or pair[0] > pair[1]:
        raise ValueError(f"{name}: expected a number or (lowest, highest) in dB, all finite, actual: {value}")
    return float(pair[0]), float(pair[1])


def _as_kinds(name: str, kinds: Sequence[str] | None) -> tuple[str, ...] | None:
    if kinds is None:
        return None
    if isinstance(kinds, str):
        raise TypeError(f"{name}: expected several strings, such as ({kinds!r},), actual {kinds!r}")
    return tuple(kinds)


def _as_sounds(sounds: Any, sample_rate: int) -> SoundBank | str | None:
    """A bank of the right rate, or what is read when there is need of it."""
    if isinstance(sounds, str | os.PathLike):
        return os.fspath(sounds)
    return None if sounds is None else load_sounds(sounds, sample_rate)


def _with_walls(
    room: Room | RoomSampler, absorption: float | None, rt60: float | None, max_order: int | None
) -> Room | RoomSampler:
    if isinstance(room, Room):
        return room.with_walls(absorption, rt60, max_order)
    if absorption is not None or rt60 is not None or max_order is not None:
        raise ValueError(
            "absorption, rt60, max_order: expected None beside a room sampler, which draws the walls itself; set them "
            f"in the sampler, actual: absorption={absorption}, rt60={rt60}, max_order={max_order}"
        )
    return room


def _restore(data: Any, parts: Mapping[str, Any]) -> World:
    """The world of a file, some of whose parts are given."""
    if not parts or not isinstance(data, Mapping):
        return from_plain(World, data)
    for name, part in parts.items():
        expected, actual = data.get(name), to_plain(part, name, strict=False)
        if name in ARGUMENTS and actual != expected:
            raise ConfigError(
                name,
                f"expected what the file says, {expected}, actual: {actual}. To change a world, load it and use "
                "replace(). What is synthesised, or converted to another sample rate, can differ in its last bits "
                "between machines.",
            )
    world: World = from_plain(World, {name: value for name, value in data.items() if name not in parts})
    return world.replace(**parts)


def _flat(data: Any, path: str = "") -> dict[str, Any]:
    """From the dotted path to all that is no mapping."""
    if not isinstance(data, Mapping):
        return {path: data}
    parts: dict[str, Any] = {}
    for key, value in data.items():
        parts |= _flat(value, f"{path}.{key}" if path else key)
    return parts
