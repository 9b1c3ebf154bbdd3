"""Named lists of episodes on which agents are compared, so that two people get the same number."""

from __future__ import annotations

import difflib
import hashlib
import json
import operator
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import gymnasium as gym
import numpy as np

from auralnav_gym.config import to_plain
from auralnav_gym.movement import Action, ActionScheme, DiscreteActions
from auralnav_gym.rooms import Room
from auralnav_gym.scene import DiffuseSound, Scene, Source
from auralnav_gym.sounds import SoundBank, load_sounds
from auralnav_gym.world import ARGUMENTS, World

# What an agent may choose for itself: none of it changes what happens in the world.
AGENT_KWARGS = ("motion", "pose", "render_mode", "rewards", "source_audio")

# Numbers enter a fingerprint in millionths: processors may differ in the last bit of a product.
_FINGERPRINT_RESOLUTION = 1e-6

# When the ways and the pauses of sources are noted for a fingerprint, seconds.
_PLACE_TIMES = np.arange(0.0, 100.0, 5.0)
_GATE_TIMES = np.arange(0.0, 10.0, 0.05)

# Where the ears are tried for a fingerprint: ahead, left, behind, right, above, and between them; (3, 6) unit vectors.
_DIRECTIONS = np.array([[1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0], [0, 0, 1], [0.48, 0.64, 0.6]]).T


@dataclass(frozen=True, eq=False)
class Suite:
    """A fixed list of episodes: a world, the sounds in it, and a seed for every episode.

    The sounds are split. Episodes of the suite play the test sounds; agents train on the others, in
    :meth:`make_training_env`, and never hear a test sound before. Their seeds should differ from those of the suite as
    well, or they train in the very same places: those of a published suite are 2^62 and more, which no training has by
    chance. To make a suite of your own::

        suite = Suite("my-hall-v1", seeds=range(1_000_000, 1_000_100), env_kwargs={"room": (20, 12, 4), "rt60": 0.6})

    Args:
        name: What results are published under. A suite that changes in any way gets a new name.
        seeds: ``env.reset(seed=)`` of every episode: whole numbers of 0 or more, none twice.
        env_kwargs: Arguments of ``gym.make`` that make up the world: those of :class:`AuralNavEnv` but ``sounds`` and
            what agents may choose (``pose``, ``motion``, ``render_mode``, ``rewards``, ``source_audio``), or
            ``max_episode_steps``.
        env_id: The registered environment.
        sounds: What the environment's ``sounds=`` accepts: a :class:`SoundBank`, a folder, or None, the synthetic bank.
        split_by: What train and test sounds do not share, "recording" or "subfolder": see :meth:`SoundBank.split`.

    Raises:
        TypeError: A seed is no whole number.
        ValueError: No seeds, one twice or below 0, or ``env_kwargs`` holds what is no part of the world.
    """

    name: str
    _: KW_ONLY
    seeds: Sequence[int]
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    env_id: str = "AuralNav-v0"
    sounds: SoundBank | str | os.PathLike[str] | None = None
    split_by: str = "recording"

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"name: expected a string of at least one character, actual: {self.name!r}")
        seeds = tuple(operator.index(seed) for seed in self.seeds)
        if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
            raise ValueError(
                "seeds: expected at least one whole number of 0 or more and none of them twice, actual: "
                f"{len(seeds)} numbers, {len(set(seeds))} of them different, the least {min(seeds, default=None)}"
            )
        foreign = sorted(set(self.env_kwargs) & {"sounds", *AGENT_KWARGS})
        if getattr(self.env_kwargs.get("world"), "sounds", None) is not None:
            foreign.append("world.sounds")
        if foreign:
            raise ValueError(
                f"env_kwargs: expected arguments that make up the world, actual: {foreign} among them. Give sounds to "
                "the suite itself (sounds=) and the others to make_env() and make_training_env()."
            )
        object.__setattr__(self, "seeds", seeds)
        object.__setattr__(self, "env_kwargs", dict(self.env_kwargs))

    def __len__(self) -> int:
        """The number of episodes."""
        return len(self.seeds)

    @property
    def sample_rate(self) -> int:
        """Of the sounds, Hz."""
        return self._world.sample_rate

    @property
    def config(self) -> World:
        """The world of the suite's episodes, for an agent that chooses nothing."""
        return self._world.replace(sounds=self.test_sounds)

    @cached_property
    def _world(self) -> World:
        """The world but for its sounds."""
        settings = {**gym.spec(self.env_id).kwargs, **self.env_kwargs}
        world = settings.pop("world", None) or World()
        return world.replace(**{name: value for name, value in settings.items() if name in ARGUMENTS})

    def describe(self, training: bool = False, **kwargs: Any) -> dict[str, Any]:
        """What the files of results say of a suite, as plain data: its name, its time limit and its world.

        Args:
            training: Whether it is the world to train in that is described.
            **kwargs: As in :meth:`make_env`.

        Returns:
            "suite", "env_id", "max_episode_steps" and "world", a :class:`World` as :func:`auralnav_gym.config.to_plain`
            gives it; of a part that cannot be written, its type.
        """
        choices = {name: value for name, value in kwargs.items() if name != "render_mode"}
        world = self._world.replace(sounds=self.train_sounds if training else self.test_sounds, **choices)
        limit = self.env_kwargs.get("max_episode_steps", gym.spec(self.env_id).max_episode_steps)
        described = {"suite": self.name, "env_id": self.env_id, "max_episode_steps": limit}
        return {**described, "world": to_plain(world, strict=False)}

    @cached_property
    def _split(self) -> tuple[SoundBank, SoundBank]:
        """Train and test sounds."""
        train, test = load_sounds(self.sounds, self.sample_rate).split(by=self.split_by)
        if self._world.goal == "class" and train.kinds != test.kinds:
            raise ValueError(
                f'sounds: expected train and test sounds of the same kinds with goal="class", actual: {train.kinds} '
                f"and {test.kinds}. A kind of a single {self.split_by} cannot be split: give it more, or tell the "
                'targets by goal="example".'
            )
        return train, test

    @property
    def train_sounds(self) -> SoundBank:
        """The sounds to train on; none of them is in the suite's episodes."""
        return self._split[0]

    @property
    def test_sounds(self) -> SoundBank:
        """The sounds of the suite's episodes."""
        return self._split[1]

    def make_env(self, **kwargs: Any) -> gym.Env:
        """The environment of the suite's episodes; ``reset(seed=suite.seeds[i])`` begins episode i.

        Args:
            **kwargs: What an agent may choose: ``pose``, ``motion``, ``render_mode``, ``rewards``, ``source_audio``.

        Raises:
            ValueError: Another argument.
        """
        return self._make(self.test_sounds, kwargs)

    def make_training_env(self, **kwargs: Any) -> gym.Env:
        """The same world with other sounds, to train in.

        Args:
            **kwargs: As in :meth:`make_env`.

        Raises:
            ValueError: Another argument.
        """
        return self._make(self.train_sounds, kwargs)

    def _make(self, sounds: SoundBank, kwargs: Mapping[str, Any]) -> gym.Env:
        foreign = sorted(set(kwargs) - set(AGENT_KWARGS))
        if foreign:
            raise ValueError(
                f"kwargs: expected none but {', '.join(AGENT_KWARGS)}, which leave the world of {self.name!r} as it "
                f"is, actual: {foreign}. For another world make a Suite of another name."
            )
        return gym.make(self.env_id, **{**self.env_kwargs, "sounds": sounds, **kwargs})

    @cached_property
    def scenes(self) -> tuple[Scene, ...]:
        """What every episode begins with."""
        env: Any = self.make_env()
        try:
            return tuple(_scene_of(env, seed) for seed in self.seeds)
        finally:
            env.close()

    def scene(self, index: int) -> Scene:
        """What one episode begins with."""
        env: Any = self.make_env()
        try:
            return _scene_of(env, self.seeds[index])
        finally:
            env.close()

    def fingerprint(self) -> str:
        """What tells whether two people play the same episodes: a SHA-256, in hex.

        The scenes enter it (rooms, walls, places, headings, starts, levels, the seeds of the noise and the names of the
        sounds) and the rules (the body, the ears, what is heard at a step, the time limit): numbers to a millionth, so
        that it is the same on every machine whose numpy draws the same scenes. What the sounds sound like does not
        enter: see :meth:`audio_fingerprint`.
        """
        env = self.make_env()
        try:
            rules = _describe_rules(env)
        finally:
            env.close()
        return hashlib.sha256(json.dumps([rules, *map(_describe, self.scenes)]).encode()).hexdigest()

    def audio_fingerprint(self) -> str:
        """That of the test sounds, see :attr:`SoundBank.fingerprint`."""
        return self.test_sounds.fingerprint


def load_suite(
    name: str, sounds: SoundBank | str | os.PathLike[str] | None = None, split_by: str = "recording"
) -> Suite:
    """A published suite, by its name.

    Each is a registered environment as it is, :class:`AuralNavEnv` says what they are:

    ==================  ===========================
    two-sources-v1      ``AuralNav-v0``
    four-sources-v1     ``AuralNav-FourSources-v0``
    omni-v1             ``AuralNav-Omni-v0``
    random-rooms-v1     ``AuralNav-RandomRooms-v0``
    distractors-v1      ``AuralNav-Distractors-v0``
    babble-v1           ``AuralNav-Babble-v0``
    easy-v1             ``AuralNav-Easy-v0``
    anechoic-v1         ``AuralNav-Anechoic-v0``
    materials-v1        ``AuralNav-Materials-v0``
    l-shape-v1          ``AuralNav-LShape-v0``
    moving-v1           ``AuralNav-Moving-v0``
    alarms-v1           ``AuralNav-Alarms-v0``
    human-v1            ``AuralNav-Human-v0``
    continuous-v1       ``AuralNav-Continuous-v0``
    ==================  ===========================

    Each has 500 episodes. Warns if this machine draws other scenes than those that were published.

    Args:
        name: One of ``SUITES``.
        sounds: A bank or a folder of recordings to play instead of the synthetic sounds. The name of the result says
            so: it ends in the folder's name (or "sounds") and a digest of the names of the sounds.
        split_by: As in :class:`Suite`; for ``sounds`` only.

    Raises:
        ValueError: There is no suite of that name; or ``sounds`` cannot be used, see :class:`SoundFolder`.
        FileNotFoundError: There is no such folder.
    """
    if name not in SUITES:
        near = difflib.get_close_matches(name, SUITES, n=1)
        raise ValueError(
            f"name: expected one of {list(SUITES)}, actual: {name!r}." + "".join(f" Did you mean {n!r}?" for n in near)
        )
    suite = SUITES[name]
    if sounds is None:
        if split_by != "recording":
            raise ValueError(f"split_by: expected 'recording' for the synthetic sounds, actual: {split_by!r}")
        if not _is_as_published(name):
            warnings.warn(
                f"The episodes of {name!r} are not those that were published: numpy {np.__version__} draws other "
                "numbers than the one they were made with, or the package was changed. Results on it cannot be "
                "compared with those of others.",
                stacklevel=2,
            )
        return suite
    bank = load_sounds(sounds, suite.sample_rate)
    label = "sounds" if isinstance(sounds, SoundBank) else Path(sounds).resolve().name
    digest = hashlib.sha256(json.dumps(sorted(sound.name for sound in bank)).encode()).hexdigest()[:8]
    by = "" if split_by == "recording" else f"-by-{split_by}"
    return replace(suite, name=f"{name}@{label}-{digest}{by}", sounds=bank, split_by=split_by)


def suite_seeds(name: str, count: int) -> tuple[int, ...]:
    """The seeds of a published suite: numbers from 2^62 to 2^63 that follow from its name.

    Args:
        name: Of the suite.
        count: How many; more begin with the same ones.
    """
    entropy = int.from_bytes(hashlib.sha256(f"auralnav suite {name}".encode()).digest(), "big")
    words = np.random.SeedSequence(entropy).generate_state(count, np.uint64)
    return tuple(int(word) >> 2 | 1 << 62 for word in words)


def _scene_of(env: Any, seed: int) -> Scene:
    env.reset(seed=seed)
    return env.unwrapped.scene


def _describe_rules(env: gym.Env) -> list[Any]:
    """What is the same in all scenes, in whole numbers."""
    world: Any = env.unwrapped
    body, ears = world.body, world.ears
    directions = np.broadcast_to(_DIRECTIONS[:, None, None, :], (3, 1, len(ears.positions), _DIRECTIONS.shape[1]))
    return [
        _rounded([body.step_size, body.turn_angle, body.capture_radius, body.radius]),
        [_rounded(ears.positions.ravel()), _rounded(ears.gains(directions).ravel())],
        [world.sample_rate, world.num_samples, None if world.noise_dbfs is None else _rounded([world.noise_dbfs])],
        None if env.spec is None else env.spec.max_episode_steps,
        # Said only where it matters, as are the parts of a scene: other fingerprints are as they were before it was.
        *([["touch", world.touch]] if world.num_distractors else []),
        *([["goal", world.goal, *world.kinds]] if world.goal else []),
        *([] if isinstance(world.actions, DiscreteActions) else [["actions", *_describe_actions(world.actions)]]),
    ]


def _describe_actions(actions: ActionScheme) -> list[Any]:
    """The space, and what does the four actions."""
    return [repr(actions.space), *(_rounded(actions.parse(actions.encode(action))) for action in Action)]


def _describe(scene: Scene) -> list[Any]:
    """What a scene consists of, in whole numbers and names."""
    pose = scene.pose
    return [
        _describe_room(scene.room),
        _rounded([pose.x, pose.y, pose.heading]),
        None if scene.ear_height is None else _rounded([scene.ear_height]),
        scene.noise_seed,
        [_describe_source(source) for source in scene.sources],
        *([] if scene.example is None else [["example", scene.example.sound.name, scene.example.start]]),
        *([] if scene.background is None else [["background", *_describe_background(scene.background)]]),
    ]


def _describe_room(room: Room) -> list[Any]:
    ceiling = None if room.ceiling is None else _rounded([room.ceiling])
    # Equal rooms may name their surfaces in any order.
    materials = sorted(room.materials.items()) if isinstance(room.materials, Mapping) else room.materials
    walls = materials if room.absorption is None else _rounded([room.absorption])
    air = ["air absorption"] if room.air_absorption else []
    return [_rounded(room.corners.ravel()), ceiling, walls, room.max_order, *air]


def _describe_source(source: Source) -> list[Any]:
    what = [_rounded(source.position), source.sound.name, source.start, _rounded([source.level_db])]
    return [
        *what,
        *([] if source.is_target else ["distractor"]),
        *([] if source.activity is None else [["activity", *_rounded(source.activity.gate(_GATE_TIMES))]]),
        *([] if source.motion is None else [["motion", *_rounded(source.motion.positions(_PLACE_TIMES).ravel())]]),
    ]


def _describe_background(background: DiffuseSound) -> list[Any]:
    waves = zip(background.sounds, background.starts, strict=True)
    return [_rounded([background.level_db]), *([sound.name, start] for sound, start in waves)]


def _rounded(numbers: Iterable[float]) -> list[int]:
    return [round(float(number) / _FINGERPRINT_RESOLUTION) for number in numbers]


@lru_cache
def _is_as_published(name: str) -> bool:
    return SUITES[name].fingerprint() == FINGERPRINTS[name]


# The suites of registered environments as they are.
_WORLDS: dict[str, str] = {
    "two-sources-v1": "AuralNav-v0",
    "four-sources-v1": "AuralNav-FourSources-v0",
    "omni-v1": "AuralNav-Omni-v0",
    "random-rooms-v1": "AuralNav-RandomRooms-v0",
    "distractors-v1": "AuralNav-Distractors-v0",
    "babble-v1": "AuralNav-Babble-v0",
    "easy-v1": "AuralNav-Easy-v0",
    "anechoic-v1": "AuralNav-Anechoic-v0",
    "materials-v1": "AuralNav-Materials-v0",
    "l-shape-v1": "AuralNav-LShape-v0",
    "moving-v1": "AuralNav-Moving-v0",
    "alarms-v1": "AuralNav-Alarms-v0",
    "human-v1": "AuralNav-Human-v0",
    "continuous-v1": "AuralNav-Continuous-v0",
}

SUITES: Mapping[str, Suite] = MappingProxyType(
    {name: Suite(name, seeds=suite_seeds(name, 500), env_id=env_id) for name, env_id in _WORLDS.items()}
)
"""The published suites, by name; :func:`load_suite` checks them and describes them."""

FINGERPRINTS: Mapping[str, str] = MappingProxyType(
    {
        "two-sources-v1": "0567af31ede03fbcd89cae2ff4dc9ecd9a9639ee35819311119c6216e33fdf36",
        "four-sources-v1": "66a67a72e17d3ccef473d2dfee1a77c775622a715baad8929251f0ded34c451f",
        "omni-v1": "da607b5a0bb80dd7e6b00a9fdc1968dafe6793eeb0405135efabebcce29efa8b",
        "random-rooms-v1": "0b67b01bb69f63242f1835f70a1e45f1a61957354ab86a28a40e63611977abb1",
        "distractors-v1": "8e4b8939ffd980524fa537aef9efcfa2b42b0b3176067007ce9a51318315065f",
        "babble-v1": "608e40382bf140fe3e7cf62e95b571a4f69f609335070276dc16a9c9c3786580",
        "easy-v1": "347260453ea9bc7f2880a42bbc6db2d27bc8705a15cec5a64bfdae44ac41333b",
        "anechoic-v1": "75ad0cd505591eb41ebe7f1d7d527e620161801f4b6645898368cfa25743a3dc",
        "materials-v1": "34c58279e1899f74bf96c3c92e300ed5a12a9747ffc9846217b5d813e4319f71",
        "l-shape-v1": "31d8cad377be08afe3183497ff4327dca9ded6a60e711f13b9d7555ff858a902",
        "moving-v1": "cf3299b811a25f600ea4d195e53e031009dd14c7bc1cf17926ae52475f2c6d75",
        "alarms-v1": "02837aa734d484ee2b0954c6ed67086ce7556fc869642e7cfde5a6e7187650f4",
        "human-v1": "90641fc3f308a9294f445f5749f19ceff0ded62921c2ac7fcf75540d3a598446",
        "continuous-v1": "4a6f84abf362ffd367b81d5c7d9ac33edb3d0cddc066c16544bf29a01cac8ab2",
    }
)
"""What :meth:`Suite.fingerprint` gave for each of them when it was published."""
