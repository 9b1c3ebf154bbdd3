"""Worlds as objects and as files: what is the same is equal, what is wrong is said by its path."""

from __future__ import annotations

import json
import math
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import pyroomacoustics
import pytest
import scipy
import soundfile
from gymnasium.utils import seeding
from hypothesis import given, settings
from hypothesis import strategies as st

import auralnav_gym
from auralnav_gym import (
    Babble,
    CardioidEars,
    ContinuousActions,
    DiscreteActions,
    Ears,
    OmniEars,
    Polygon,
    RandomRinging,
    RandomShoeBox,
    Rewards,
    SceneSampler,
    ShoeBox,
    SoundBank,
    Suite,
    SyntheticSounds,
    Wander,
)
from auralnav_gym.config import ConfigError, from_plain, to_plain, to_text, versions
from auralnav_gym.movement import Body
from auralnav_gym.world import ARGUMENTS, EAR_CLEARANCE, World

IDS = sorted(spec.id for spec in gym.registry.values() if str(spec.entry_point).startswith("auralnav_gym"))


@pytest.fixture(scope="module")
def bank() -> SoundBank:
    return SyntheticSounds(per_kind=2, seconds=1.0)


def copy_of(bank: SoundBank) -> SoundBank:
    return SoundBank(list(bank), bank.sample_rate)


# ---- One world, however it is given ----------------------------------------------------------------------------------

SHORT_AND_LONG: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"room": ShoeBox(size=(8.0, 8.0, 3.0), rt60=0.35), "ears": CardioidEars(), "rewards": Rewards()}),
    ({"room": (6, 5, 3)}, {"room": ShoeBox(size=(6.0, 5.0, 3.0))}),
    ({"room": np.array([6, 5])}, {"room": ShoeBox(size=(6.0, 5.0))}),
    ({"room": [[0, 0], [4, 0], [0, 3]]}, {"room": Polygon(((0.0, 0.0), (4.0, 0.0), (0.0, 3.0)))}),
    ({"room": (6, 5, 3), "rt60": 0.5}, {"room": ShoeBox(size=(6, 5, 3), rt60=0.5)}),
    ({"absorption": 0.25, "max_order": 7}, {"room": ShoeBox(absorption=0.25, max_order=7)}),
    ({"room": ShoeBox(absorption=0.5), "rt60": 0.5}, {"room": ShoeBox(rt60=0.5)}),
    ({"ears": "omni"}, {"ears": OmniEars()}),
    ({"ears": "ortf"}, {}),
    ({"actions": "continuous"}, {"actions": ContinuousActions()}),
    ({"actions": "discrete"}, {"actions": DiscreteActions()}),
    ({"rewards": "original"}, {"rewards": Rewards.original()}),
    ({"rewards": {"step": -0.5}}, {"rewards": Rewards(step=-0.5)}),
    ({"rewards": None}, {"rewards": "default"}),
    ({"background": 7}, {"background": Babble(snr_db=7.0)}),
    ({"target_kinds": ["bird", "bell"]}, {"target_kinds": ("bird", "bell")}),
    ({"source_level_db": 3}, {"source_level_db": (3.0, 3.0)}),
    ({"source_level_db": [-3, 3]}, {"source_level_db": (-3.0, 3.0)}),
    ({"sounds": Path("my") / "sounds"}, {"sounds": os.path.join("my", "sounds")}),
    ({"num_sources": 3.0, "step_size": 1}, {"num_sources": np.int64(3), "step_size": np.float64(1.0)}),
    ({"pose": np.True_}, {"pose": True}),
]


@pytest.mark.parametrize(("short", "long"), SHORT_AND_LONG, ids=lambda value: str(value)[:40])
def test_short_forms_are_the_same_world(short: dict[str, Any], long: dict[str, Any]) -> None:
    one, other = World(**short), World(**long)
    assert one == other
    assert hash(one) == hash(other)
    assert to_plain(one) == to_plain(other)
    assert one.differences(other) == {}


OTHERWISE: dict[str, Any] = {
    "room": (8, 8, 3.5),
    "num_sources": 3,
    "num_distractors": 1,
    "distractor_level_db": 1.0,
    "target_kinds": ("speech",),
    "distractor_kinds": ("bird",),
    "touch": "cost",
    "goal": "class",
    "sounds": "my/recordings",
    "source_level_db": 1.0,
    "source_activity": RandomRinging(),
    "source_motion": Wander(),
    "background": 10.0,
    "noise_dbfs": -60.0,
    "ears": "omni",
    "ear_height": 1.2,
    "source_height": 1.5,
    "wall_clearance": 0.6,
    "source_spacing": 2.5,
    "start_distance": 2.5,
    "sample_rate": 16_000,
    "listen_seconds": 0.25,
    "actions": "continuous",
    "step_size": 0.4,
    "turn_angle": 45.0,
    "capture_radius": 0.9,
    "rewards": "original",
    "pose": False,
    "motion": True,
    "source_audio": True,
    "absorption": 0.5,
    "rt60": 0.5,
    "max_order": 2,
}


def test_every_keyword_makes_another_world_and_is_documented() -> None:
    assert list(OTHERWISE) == list(ARGUMENTS)
    documented = re.findall(
        r"^    {4,8}(\w+): ", (World.__doc__ or "").split("Args:")[1].split("Raises:")[0], re.MULTILINE
    )
    assert sorted(documented) == sorted(ARGUMENTS)
    default = World()
    worlds = {name: World(**{name: value}) for name, value in OTHERWISE.items()}
    for name, world in worlds.items():
        assert world != default
        assert world == default.replace(**{name: OTHERWISE[name]})
        held_by = "room" if name in ("absorption", "rt60", "max_order") else name
        assert {path.split(".")[0] for path in default.differences(world)} == {held_by}
    assert len({*worlds.values()}) == len(worlds)


def test_worlds_are_compared_by_what_their_banks_hold(bank: SoundBank) -> None:
    same, fewer = copy_of(bank), SoundBank(bank[1:], bank.sample_rate)
    world = World(sounds=bank)
    assert world == World(sounds=same)
    assert hash(world) == hash(World(sounds=same))
    assert len({world, World(sounds=fewer), World()}) == 3
    assert world != "a world"
    assert list(world.differences(World(sounds=fewer))) == ["sounds.sounds", "sounds.kinds.alarm", "sounds.sha256"]


def test_differences_are_told_by_their_path() -> None:
    one, other = World(room=(6, 5, 3)), World(room=RandomShoeBox(), ears=CardioidEars(angle=1.0), num_sources=3)
    differences = one.differences(other)
    assert differences["room.type"] == ("ShoeBox", "RandomShoeBox")
    assert differences["room.size"] == ([6.0, 5.0, 3.0], None)
    assert differences["ears.angle"] == (math.radians(55), 1.0)
    assert differences["num_sources"] == (2, 3)


def test_it_prints_as_python_on_a_line_for_every_field() -> None:
    world = World(room=(6, 5, 3), ears="omni", background=3, source_motion=Wander(), target_kinds=["bird"])
    lines = str(world).splitlines()
    assert [line.strip().split("=")[0] for line in lines[1:-1]] == [each.name for each in fields(World)]
    names = {**vars(auralnav_gym), "World": World}
    assert eval(str(world), names) == eval(repr(world), names) == world


def test_it_is_frozen_and_goes_with_gym_and_pickle(bank: SoundBank) -> None:
    import copy
    import pickle

    world = World(sounds=bank, room=RandomShoeBox())
    with pytest.raises(AttributeError):
        world.num_sources = 3  # type: ignore[misc]
    assert copy.deepcopy(world) == pickle.loads(pickle.dumps(world)) == world


# ---- What follows from it --------------------------------------------------------------------------------------------


def test_the_body_and_the_window() -> None:
    world = World(ears=OmniEars(0.3), step_size=0.4, turn_angle=90, sample_rate=16_000, listen_seconds=0.25)
    assert world.body == Body(0.4, math.pi / 2, 1.0, 0.15 + EAR_CLEARANCE)
    assert world.num_samples == 4000


@pytest.mark.parametrize(
    "keywords",
    [
        {},
        {"capture_radius": 0.8, "source_spacing": 1.0, "start_distance": 3.0, "wall_clearance": 1.0},
        {"num_sources": 1, "num_distractors": 2, "distractor_level_db": 6.0, "target_kinds": ("bird",)},
        {"goal": "class"},
        {"goal": "example", "background": 10.0, "source_height": 1.0, "ear_height": 1.7},
        {"room": RandomShoeBox(), "source_level_db": (-3, 3)},
    ],
    ids=str,
)
def test_scenes_are_drawn_as_asked(keywords: dict[str, Any], bank: SoundBank) -> None:
    """As a sampler draws them that is filled in by hand."""
    ours = World(sounds=bank, **keywords).scene_sampler().sample(np.random.default_rng(5))
    by_hand = {name: value for name, value in keywords.items() if name not in ("goal", "capture_radius", "background")}
    radius = keywords.get("capture_radius", 1.0)
    goal, background = keywords.get("goal"), keywords.get("background")
    sampler = SceneSampler(
        **{
            "room": ShoeBox(),
            "source_spacing": 2.0,
            "start_distance": 2.0,
            "body": Body(0.5, math.radians(30), radius, 0.085 + EAR_CLEARANCE),
            "target_kinds": bank.kinds if goal else None,
            "example_samples": 4000 if goal == "example" else None,
            "background": None if background is None else Babble(background),
            **by_hand,
        },
        sounds=bank,
    )
    assert described(ours) == described(sampler.sample(np.random.default_rng(5)))


def described(scene: Any) -> list[Any]:
    sources = [(s.position, s.sound.name, s.start, s.level_db, s.is_target) for s in scene.sources]
    example = None if scene.example is None else (scene.example.sound.name, scene.example.start)
    background = None if scene.background is None else (scene.background.starts, scene.background.level_db)
    return [scene.room, scene.pose, scene.ear_height, scene.noise_seed, sources, example, background]


# ---- Arguments that are refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keywords", "error", "message"),
    [
        ({"capture_radius": 0.2}, ValueError, "capture_radius: expected at least half a step"),
        ({"step_size": 0}, ValueError, "step_size: expected more than 0 metres, actual: 0.0"),
        ({"turn_angle": 200}, ValueError, r"turn_angle: expected an angle in \(0, pi\] radians"),
        ({"absorption": 0.0}, ValueError, r"absorption: .*in \(0, 1\], actual: 0.0"),
        ({"absorption": 0.3, "rt60": 0.3}, ValueError, "absorption.* and rt60: expected one of them"),
        ({"rt60": -1.0}, ValueError, "rt60: expected more than 0 seconds"),
        ({"max_order": 1.5}, ValueError, "max_order: expected a whole number"),
        (
            {"room": RandomShoeBox(), "rt60": 0.3},
            ValueError,
            "absorption, rt60, max_order: expected None beside a room",
        ),
        ({"room": "big"}, TypeError, "room: expected a Room, a RoomSampler"),
        ({"ears": "three"}, ValueError, "ears: expected"),
        ({"num_sources": 0}, ValueError, "num_sources: expected a whole number of 1 or more, actual: 0"),
        ({"num_sources": 1.5}, ValueError, "num_sources: expected a whole number of 1 or more, actual: 1.5"),
        ({"num_sources": "2"}, TypeError, "num_sources: expected a number, actual: '2'"),
        ({"num_sources": True}, TypeError, "num_sources: expected a number, actual: True"),
        ({"num_distractors": -1}, ValueError, "num_distractors: expected a whole number of 0 or more, actual: -1"),
        ({"num_distractors": 1.5}, ValueError, "num_distractors: expected a whole number of 0 or more, actual: 1.5"),
        ({"distractor_level_db": math.inf}, ValueError, "distractor_level_db: expected a finite number of dB"),
        ({"noise_dbfs": math.nan}, ValueError, "noise_dbfs: expected a finite number of dB, actual: nan"),
        ({"ear_height": math.inf}, ValueError, "ear_height: expected a finite number of metres, actual: inf"),
        ({"source_level_db": (3, -3)}, ValueError, r"source_level_db: expected a number or \(lowest, highest\) in dB"),
        ({"source_level_db": (1, 2, 3)}, ValueError, "source_level_db: expected a number or"),
        ({"source_motion": 0.3}, TypeError, r"source_motion: expected None or an object with sample\(\), actual: 0.3"),
        ({"rewards": {"stpe": 1.0}}, ValueError, "stpe"),
        ({"sample_rate": 0}, ValueError, "sample_rate: expected a whole number of Hz, actual: 0"),
        ({"sample_rate": 8000.5}, ValueError, "sample_rate: expected a whole number of Hz, actual: 8000.5"),
        ({"listen_seconds": 0.0}, ValueError, "listen_seconds: expected at least one sample"),
        ({"listen_seconds": None}, TypeError, "listen_seconds: expected a number, actual: None"),
        ({"wall_clearance": -1}, ValueError, "wall_clearance: expected 0 or more metres, actual: -1.0"),
        ({"start_distance": 0.5}, ValueError, r"start_distance: expected more than capture_radius \(1.0 m\)"),
        ({"target_kinds": "speech"}, TypeError, r"target_kinds: expected several strings, such as \('speech',\)"),
        ({"touch": "pay"}, ValueError, r"touch: expected one of \['end', 'cost'\], actual: 'pay'"),
        ({"goal": "kind"}, ValueError, r"goal: expected one of \[None, 'class', 'example'\], actual: 'kind'"),
        ({"background": "loud"}, TypeError, "background: expected a Babble, an SNR in dB or None, actual: 'loud'"),
        ({"actions": "jump"}, ValueError, "actions: expected an ActionScheme"),
        ({"pose": 1}, TypeError, "pose: expected True or False, actual: 1"),
        ({"sounds": 3}, TypeError, "sounds: expected a SoundBank, a folder's path or None, actual int"),
    ],
    ids=str,
)
def test_bad_arguments_are_refused(keywords: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        World(**keywords)
    with pytest.raises(error, match=message):
        World().replace(**keywords)


def test_a_bank_of_another_rate_is_refused(bank: SoundBank) -> None:
    with pytest.raises(ValueError, match="expected a bank at sample_rate=16000 Hz, actual 8000 Hz"):
        World(sounds=bank, sample_rate=16_000)


def test_an_unknown_keyword_is_told_from_the_one_that_was_meant() -> None:
    message = r"^num_source: unknown keyword; expected one of \['room', .*\]\. Did you mean 'num_sources'\?$"
    with pytest.raises(TypeError, match=message):
        World().replace(num_source=3)


# ---- Files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("env_id", IDS)
def test_registered_worlds_go_to_a_file_and_back(env_id: str, tmp_path: Path) -> None:
    world = World().replace(**gym.spec(env_id).kwargs)
    path = tmp_path / "world.json"
    world.save(path)
    assert World.load(path) == world
    assert path.stat().st_size < 10_000
    assert json.loads(path.read_text()).keys() == {"type", *(each.name for each in fields(World))}


@pytest.mark.parametrize(
    "keywords",
    [each for pair in SHORT_AND_LONG for each in pair] + [{name: value} for name, value in OTHERWISE.items()],
    ids=lambda value: str(value)[:40],
)
def test_all_kinds_of_worlds_go_to_a_file_and_back(keywords: dict[str, Any], tmp_path: Path) -> None:
    world = World(**keywords)
    world.save(tmp_path / "world.json")
    loaded = World.load(tmp_path / "world.json")
    assert loaded == world
    assert {each.name: type(getattr(loaded, each.name)) for each in fields(World)} == {
        each.name: type(getattr(world, each.name)) for each in fields(World)
    }


@pytest.mark.parametrize(
    ("data", "keywords"),
    [
        ({}, {}),
        (
            {"type": "World", "room": [6, 5, 3], "rt60": 0.4, "ears": "omni"},
            {"room": (6, 5, 3), "rt60": 0.4, "ears": "omni"},
        ),
        ({"room": [[0, 0], [4, 0], [0, 3]]}, {"room": ((0, 0), (4, 0), (0, 3))}),
        ({"room": {"type": "ShoeBox", "size": [6, 5], "rt60": 0.4}}, {"room": (6, 5), "rt60": 0.4}),
        ({"room": {"type": "RandomShoeBox"}}, {"room": RandomShoeBox()}),
        ({"rewards": {"step": -1}, "background": 10}, {"rewards": {"step": -1}, "background": 10}),
        ({"background": {"kinds": ["bird"]}}, {"background": Babble(kinds=("bird",))}),
        ({"source_motion": {"type": "Wander", "speed": 1}}, {"source_motion": Wander(speed=1.0)}),
        (
            {"source_activity": {"type": "RandomRinging"}, "actions": "continuous"},
            {"source_activity": RandomRinging(), "actions": "continuous"},
        ),
    ],
    ids=str,
)
def test_a_file_written_by_hand_says_what_differs(
    data: dict[str, Any], keywords: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "world.json").write_text(json.dumps(data))
    assert World.load(tmp_path / "world.json") == World(**keywords)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"num_source": 3}, r"^num_source: unknown key; expected one of \['room', .*\]\. Did you mean 'num_sources'\?"),
        (
            {"room": {"type": "Polygon", "hight": 3, "floor": []}},
            r"^room\.hight: unknown key; expected one of \[.*\]\. Did you mean 'height'\?",
        ),
        (
            {"room": {"type": "Polygon"}},
            r"^room\.floor: missing key; expected a list of lists of 2 numbers, actual keys",
        ),
        (
            {"room": {"type": "ShoeBx"}},
            r"^room\.type: unknown type; expected one of \['Polygon', .*'ShoeBx'\. Did you mean 'ShoeBox'\?",
        ),
        ({"room": {"size": [3, 3]}}, r"^room\.type: missing key; expected one of \['Polygon', .*'ShoeBox'\]"),
        ({"room": {"type": "Room"}}, r"^room\.type: expected a dataclass.*actual: auralnav_gym\.rooms\.Room"),
        ({"room": [8, "x"]}, r"^room\[1\]: expected a number, actual: 'x'"),
        ({"room": [[0, 0], [4, "x"]]}, r"^room\[1\]\[1\]: expected a number, actual: 'x'"),
        (
            {"room": "big"},
            r"^room: expected a mapping that describes one of \[.*\], a list of numbers or a list of lists",
        ),
        ({"ears": {"type": "CardioidEars", "spacing": "wide"}}, r"^ears\.spacing: expected a number, actual: 'wide'"),
        (
            {"ears": {"type": "CardioidEars", "spacing": -1}},
            r"^ears: ears spacing: expected more than 0 metres, actual: -1",
        ),
        (
            {"ears": {"type": "ShoeBox"}},
            r"^ears\.type: unknown type; expected one of \['CardioidEars', .*actual: 'ShoeBox'",
        ),
        ({"ears": 3}, r"^ears: expected a mapping that describes one of \['CardioidEars', .*\] or a string, actual: 3"),
        ({"rewards": {"stpe": 1}}, r"^rewards\.stpe: unknown key; .* Did you mean 'step'\?"),
        ({"rewards": {"step": None}}, r"^rewards\.step: expected a number, actual: None"),
        (
            {"background": {"type": "Babble", "kinds": "speech"}},
            r"^background\.kinds: expected a list of strings or null",
        ),
        ({"source_motion": {"type": "Wander", "speed": 0}}, r"^source_motion: speed: expected more than 0 m/s"),
        (
            {"source_activity": {"type": "RandomRinging", "on_seconds": [1]}},
            r"^source_activity\.on_seconds: expected a list of 2 numbers, actual: \[1\]",
        ),
        ({"num_sources": True}, "^num_sources: expected a whole number, actual: True"),
        ({"num_sources": 2.5}, "^num_sources: expected a whole number, actual: 2.5"),
        ({"num_sources": 0}, "^num_sources: expected a whole number of 1 or more, actual: 0"),
        ({"pose": 1}, "^pose: expected true or false, actual: 1"),
        ({"touch": "pay"}, r"^touch: expected one of \['end', 'cost'\], actual: 'pay'"),
        ({"target_kinds": "speech"}, "^target_kinds: expected a list of strings or null, actual: 'speech'"),
        ({"target_kinds": ["bird", 3]}, r"^target_kinds\[1\]: expected a string, actual: 3"),
        ({"rt60": 0.3, "absorption": 0.3}, "^.*absorption.* and rt60: expected one of them"),
        ({"type": "ShoeBox"}, r"^type: unknown type; expected one of \['World'\], actual: 'ShoeBox'"),
        ([1], r"^expected a mapping that describes a World, actual: \[1\]"),
    ],
    ids=str,
)
def test_what_is_wrong_in_a_file_is_said_by_its_path(data: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "world.json"
    path.write_text(json.dumps(data))
    with pytest.raises(ConfigError, match=message) as error:
        World.load(path)
    assert str(error.value).endswith(f" (in {path})")


def test_a_file_that_is_no_json(tmp_path: Path) -> None:
    (tmp_path / "world.json").write_text('{"room": ')
    with pytest.raises(ConfigError, match=r"world.json: expected JSON, actual: Expecting value"):
        World.load(tmp_path / "world.json")
    with pytest.raises(FileNotFoundError):
        World.load(tmp_path / "no such file")


def test_a_file_imports_nothing_and_makes_nothing_but_parts_of_a_world(tmp_path: Path) -> None:
    assert "antigravity" not in sys.modules
    for name in ("antigravity", "antigravity.fly", "os.system", "system", "Popen", "Path", "object", "TrueWind"):
        for key in ("room", "ears", "source_motion", "actions", "background", "sounds", "rewards"):
            with pytest.raises(ConfigError, match=rf"^{key}\.type: "):
                from_plain(World, {key: {"type": name}})
    assert "antigravity" not in sys.modules


def test_a_save_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "world.json"
    World(num_sources=3).save(path)
    before = path.read_bytes()
    message = (
        r"^ears: expected plain data, a dataclass, or an object with to_config\(\), to write to a file, actual: NoData"
    )
    with pytest.raises(TypeError, match=message):
        World(ears=NoDataEars()).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_save_that_is_cut_off_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "world.json"
    World(num_sources=3).save(path)

    def write_half(self: Path, text: str, **_: Any) -> None:
        self.write_bytes(text[: len(text) // 2].encode())
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_text", write_half)
    with pytest.raises(KeyboardInterrupt):
        World().save(path)
    assert World.load(path) == World(num_sources=3)


def test_another_process_reads_and_writes_the_same_bytes(tmp_path: Path) -> None:
    keywords = {"room": (6, 5, 3), "rt60": 0.4, "rewards": "original", "source_motion": Wander(), "background": 3.3}
    World(**keywords).save(tmp_path / "here.json")
    program = "import sys; from auralnav_gym.world import World; World.load(sys.argv[1]).save(sys.argv[2])"
    command = [sys.executable, "-c", program, str(tmp_path / "here.json"), str(tmp_path / "there.json")]
    environment = {**os.environ, "PYTHONHASHSEED": "12345", "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run(command, check=True, env=environment, timeout=100)
    assert (tmp_path / "there.json").read_bytes() == (tmp_path / "here.json").read_bytes()


class TestSounds:
    def test_none_and_a_folder(self, tmp_path: Path) -> None:
        for sounds in (None, "my/recordings"):
            World(sounds=sounds).save(tmp_path / "world.json")
            assert json.loads((tmp_path / "world.json").read_text())["sounds"] == sounds
            assert World.load(tmp_path / "world.json").sounds == sounds

    def test_recordings_are_read_when_there_is_need_of_them(self, tmp_path: Path) -> None:
        world = World(sounds=tmp_path / "recordings")
        with pytest.raises(FileNotFoundError, match="recordings"):
            world.scene_sampler()
        (tmp_path / "recordings").mkdir()
        for name in ("a", "b"):
            signal = 0.1 * np.random.default_rng(0).standard_normal(8000)
            soundfile.write(tmp_path / "recordings" / f"{name}.wav", signal, 8000)
        assert {sound.name for sound in world.scene_sampler().sounds} == {"a.wav", "b.wav"}

    def test_a_bank_is_identified_and_given_beside_the_file(self, bank: SoundBank, tmp_path: Path) -> None:
        path = tmp_path / "world.json"
        world = World(sounds=bank, num_sources=3)
        world.save(path)
        written = json.loads(path.read_text())["sounds"]
        assert (written["type"], written["sounds"]) == ("SoundBank", 20)
        assert written["kinds"] == dict.fromkeys(bank.kinds, 2)
        with pytest.raises(ConfigError, match=r"^sounds: expected the bank itself .*: World.load\(path, sounds=bank\)"):
            World.load(path)
        assert World.load(path, sounds=copy_of(bank)) == world
        assert World.load(path, sounds=copy_of(bank)).num_sources == 3

    def test_another_bank_is_refused(self, bank: SoundBank, tmp_path: Path) -> None:
        World(sounds=bank).save(tmp_path / "bank.json")
        World().save(tmp_path / "none.json")
        first, last = bank[0], bank[-1]
        exchanged = [(first.name, last.kind, first.signal), (last.name, first.kind, last.signal)]
        others = {
            "fewer": bank[1:],
            "louder": [auralnav_gym.Sound(first.name, first.kind, first.signal * np.float32(1.0001)), *bank[1:]],
            "renamed": [auralnav_gym.Sound("other", first.kind, first.signal), *bank[1:]],
            "of another kind": [auralnav_gym.Sound(first.name, "other", first.signal), *bank[1:]],
            "with kinds exchanged": [auralnav_gym.Sound(*exchanged[0]), *bank[1:-1], auralnav_gym.Sound(*exchanged[1])],
            "in another order": [*bank[1:], first],
        }
        for sounds in others.values():
            with pytest.raises(ConfigError, match=r"^sounds: expected what the file says, \{'type': 'SoundBank'"):
                World.load(tmp_path / "bank.json", sounds=SoundBank(list(sounds), bank.sample_rate))
        with pytest.raises(ConfigError, match=r"^sounds: expected what the file says, None, actual"):
            World.load(tmp_path / "none.json", sounds=bank)


# ---- Parts of one's own ----------------------------------------------------------------------------------------------


class NoDataEars(Ears):
    """Of which nothing can be written."""

    @property
    def positions(self) -> np.ndarray:
        return np.array([[0.0, 0.1, 0.0], [0.0, -0.1, 0.0]])

    def gains(self, directions: np.ndarray) -> np.ndarray:
        return np.ones(directions.shape[1:])


class Colour(Enum):
    RED = 1
    BLUE = 2


@dataclass(frozen=True)
class Part:
    weight: float
    names: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class OwnEars(NoDataEars):
    """With all that a dataclass may hold."""

    colour: Colour = Colour.RED
    parts: tuple[Part, ...] = ()
    part: Part | None = None
    mode: Literal["fast", "slow"] = "fast"
    limits: tuple[float, float] = (0.0, math.inf)
    table: Mapping[str, Sequence[float]] = field(default_factory=dict, hash=False)
    list_of_names: list[str] = field(default_factory=list, hash=False)
    file: Path = Path("there")
    number: int | str = 3
    anything: Any = None


@dataclass(frozen=True)
class OwnRooms:
    """Draws rooms, and is derived from nothing."""

    size: tuple[float, float] = (5.0, 6.0)

    def sample(self, rng: np.random.Generator) -> ShoeBox:
        return ShoeBox(size=self.size)


@dataclass(frozen=True, eq=False)
class TableEars(NoDataEars):
    table: np.ndarray = field(default_factory=lambda: np.eye(3))


class HookedEars(NoDataEars):
    """What it holds does not belong into a file; its name does."""

    def __init__(self, name: str) -> None:
        if name == "none":
            raise ValueError("name: expected one of some ears, actual: 'none'")
        self.name = name

    def to_config(self) -> dict[str, Any]:
        return {"name": self.name}

    @classmethod
    def from_config(cls, data: Mapping[str, Any]) -> HookedEars:
        return cls(data["name"])


class TestOneOfOnesOwn:
    @pytest.mark.parametrize(
        "ears",
        [
            OwnEars(),
            OwnEars(
                colour=Colour.BLUE,
                parts=(Part(1.5, {"a": 1}), Part(2.0)),
                part=Part(0.1),
                mode="slow",
                limits=(-math.inf, 2.0),
                table={"x": (1.0, 2.0)},
                list_of_names=["a", "b"],
                file=Path("here/it/is"),
                number="three",
                anything={"deep": [1, {"x": None}]},
            ),
        ],
        ids=["defaults", "all"],
    )
    def test_a_dataclass(self, ears: OwnEars, tmp_path: Path) -> None:
        World(ears=ears).save(tmp_path / "world.json")
        json.loads((tmp_path / "world.json").read_text(), parse_constant=pytest.fail)  # no Infinity, which is no JSON
        assert World.load(tmp_path / "world.json").ears == ears

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"colour": "GREEN"}, r"^ears\.colour: expected one of \['RED', 'BLUE'\], actual: 'GREEN'"),
            ({"parts": [{"weight": 1}, {"wieght": 1}]}, r"^ears\.parts\[1\]\.wieght: unknown key; .*'weight'\?"),
            ({"parts": [{"weight": 1, "names": {"x": 0.5}}]}, r"^ears\.parts\[0\]\.names\.x: expected a whole number"),
            ({"part": {}}, r"^ears\.part\.weight: missing key; expected a number, actual keys: \[\]"),
            ({"part": {"type": "Prat", "weight": 1}}, r"^ears\.part\.type: unknown type; .*Did you mean 'Part'\?"),
            ({"mode": "medium"}, r"^ears\.mode: expected one of \['fast', 'slow'\], actual: 'medium'"),
            ({"limits": [1, 2, 3]}, r"^ears\.limits: expected a list of 2 numbers"),
            ({"table": {"x": [1, "y"]}}, r"^ears\.table\.x\[1\]: expected a number, actual: 'y'"),
            ({"number": 1.5}, r"^ears\.number: expected a whole number or a string, actual: 1.5"),
        ],
        ids=str,
    )
    def test_its_fields_are_checked_too(self, changes: dict[str, Any], message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            from_plain(World, {"ears": {"type": "OwnEars", **changes}})

    def test_what_only_looks_like_a_room_sampler(self) -> None:
        world = World(room=OwnRooms((4.0, 5.0)))
        assert from_plain(World, to_plain(world)) == world

    def test_arrays(self) -> None:
        ears = from_plain(Ears, to_plain(TableEars(np.arange(6.0).reshape(2, 3))))
        np.testing.assert_array_equal(ears.table, [[0, 1, 2], [3, 4, 5]])
        with pytest.raises(ConfigError, match=r"^ears\.table: expected numbers in lists of equal length"):
            from_plain(World, {"ears": {"type": "TableEars", "table": [[1, 2], [3]]}})

    def test_of_large_arrays_the_file_tells_which_they_are(self, tmp_path: Path) -> None:
        ears = TableEars(np.random.default_rng(0).standard_normal((40, 50)))
        path = tmp_path / "world.json"
        World(ears=ears).save(path)
        assert path.stat().st_size < 4000
        with pytest.raises(
            ConfigError, match=r"^ears\.table: .* of shape \[40, 50\], .* World\.load\(path, ears=\.\.\.\)"
        ):
            World.load(path)
        assert World.load(path, ears=TableEars(ears.table.copy())).num_sources == 2
        with pytest.raises(ConfigError, match=r"^ears: expected what the file says"):
            World.load(path, ears=TableEars(np.nextafter(ears.table, 1)))

    def test_hooks(self, tmp_path: Path) -> None:
        World(ears=HookedEars("mine")).save(tmp_path / "world.json")
        assert json.loads((tmp_path / "world.json").read_text())["ears"] == {"type": "HookedEars", "name": "mine"}
        assert World.load(tmp_path / "world.json").ears.name == "mine"  # type: ignore[attr-defined]
        with pytest.raises(ConfigError, match=r"^ears: name: expected one of some ears, actual: 'none'"):
            from_plain(World, {"ears": {"type": "HookedEars", "name": "none"}})

    def test_what_cannot_be_written_is_called_by_its_path(self) -> None:
        for value, where in (
            (World(ears=NoDataEars()), "ears"),
            (OwnEars(anything=[1, {"x": object()}]), r"anything\[1\]\.x"),
        ):
            with pytest.raises(TypeError, match=rf"^{where}: expected plain data, a dataclass, or an object with"):
                to_plain(value)
        assert to_plain(World(ears=NoDataEars()), strict=False)["ears"] == {"type": "NoDataEars"}
        with pytest.raises(ConfigError, match=r"^ears\.type: expected a dataclass, or a class with from_config\(\)"):
            from_plain(World, {"ears": {"type": "NoDataEars"}})
        with pytest.raises(ValueError, match=r"^weight: expected a number, actual: nan"):
            to_plain(Part(math.nan))
        with pytest.raises(TypeError, match=r"^names: expected strings for keys, actual: \[3\]"):
            to_plain(Part(1.0, {3: 4}))  # type: ignore[dict-item]

    def test_a_name_that_two_modules_have_is_refused_and_a_class_that_is_defined_again_replaces_the_first(self) -> None:
        def define(module: str, default: float) -> type:
            names = {
                "__module__": module,
                "__qualname__": "TwiceEars",
                "__annotations__": {"size": float},
                "size": default,
            }
            return dataclass(frozen=True)(type("TwiceEars", (NoDataEars,), names))

        first, second = define("notebook", 1.0), define("notebook", 2.0)
        assert type(from_plain(Ears, {"type": "TwiceEars"})) is second
        other = define("elsewhere", 3.0)
        message = (
            r"^ears\.type: expected the name of a single class, .*\['elsewhere\.TwiceEars', 'notebook\.TwiceEars'\]"
        )
        with pytest.raises(ConfigError, match=message):
            from_plain(World, {"ears": {"type": "TwiceEars"}})
        assert len({first, second, other}) == 3


@given(
    st.builds(Rewards, **{each.name: st.floats(allow_nan=False, allow_infinity=False) for each in fields(Rewards)}),
    st.floats(1e-3, 1e3),
    st.lists(st.text(), max_size=3),
)
@settings(max_examples=50, deadline=None)
def test_numbers_and_names_come_back_to_the_last_bit(rewards: Rewards, seconds: float, kinds: list[str]) -> None:
    world = World(rewards=rewards, listen_seconds=seconds, target_kinds=kinds)
    assert from_plain(World, json.loads(to_text(to_plain(world)))) == world


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=30,
    )
)
@settings(max_examples=100, deadline=None)
def test_text_is_the_json_of_the_data(data: Any) -> None:
    assert json.loads(to_text(data)) == data


def test_short_parts_of_the_text_are_on_one_line() -> None:
    lines = to_text(to_plain(World(room=(6, 5, 3)))).splitlines()
    assert '    "size": [6.0, 5.0, 3.0]' in [line.rstrip(",") for line in lines]
    assert max(map(len, lines)) <= 120


# ---- Where worlds are used -------------------------------------------------------------------------------------------


def test_versions() -> None:
    found = versions("pytest")
    assert found["python"] == platform.python_version()
    modules = {"numpy": np, "scipy": scipy, "gymnasium": gym, "pyroomacoustics": pyroomacoustics, "pytest": pytest}
    assert {name: found[name] for name in modules} == {name: module.__version__ for name, module in modules.items()}
    pyproject = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert found["auralnav"] == re.findall(r'^version = "(.*)"$', pyproject, re.MULTILINE)[0]
    with pytest.raises(ModuleNotFoundError, match="no-such-distribution"):
        versions("no-such-distribution")


@pytest.mark.parametrize("env_id", ["AuralNav-v0", "AuralNav-Distractors-v0"])
def test_the_config_of_a_suite_is_the_world_of_its_episodes(env_id: str, bank: SoundBank) -> None:
    world = {"room": (7, 6, 3), "rt60": 0.2, "max_episode_steps": 9}
    suite = Suite("mine", seeds=range(3), env_kwargs=world, env_id=env_id, sounds=bank)
    for index in range(3):
        generator, _ = seeding.np_random(suite.seeds[index])
        assert described(suite.config.scene_sampler().sample(generator)) == described(suite.scene(index))
    assert suite.config.sounds is suite.test_sounds


def test_a_suite_describes_its_worlds_for_files_of_results(bank: SoundBank) -> None:
    suite = Suite("mine", seeds=range(3), env_kwargs={"max_episode_steps": 9, "goal": "class"}, sounds=bank)
    played = suite.describe(pose=False, rewards="original", render_mode="rgb_array")
    assert json.loads(json.dumps(played)) == played
    world = played.pop("world")
    assert played == {"suite": "mine", "env_id": "AuralNav-v0", "max_episode_steps": 9}
    assert World(sounds=suite.test_sounds, pose=False, rewards="original", goal="class") == from_plain(
        World, {**world, "sounds": None}
    ).replace(sounds=suite.test_sounds)
    assert world["sounds"]["sha256"] == suite.audio_fingerprint()
    trained = suite.describe(training=True)["world"]
    assert trained["sounds"]["sha256"] == suite.train_sounds.fingerprint
    assert Suite("mine", seeds=[0], env_kwargs={"ears": NoDataEars()}).describe()["world"]["ears"] == {
        "type": "NoDataEars"
    }
    assert Suite("mine", seeds=[0]).describe()["max_episode_steps"] == 200


def test_a_world_is_one_keyword_of_a_suite(bank: SoundBank) -> None:
    suite = Suite("mine", seeds=[0], env_kwargs={"world": World(num_sources=3), "listen_seconds": 0.1}, sounds=bank)
    assert suite.config == World(num_sources=3, listen_seconds=0.1, sounds=suite.test_sounds)
    with pytest.raises(ValueError, match=r"actual: \['world\.sounds'\] among them\. Give sounds to the suite itself"):
        Suite("mine", seeds=[0], env_kwargs={"world": World(sounds=bank)})


@pytest.mark.parametrize("env_id", IDS)
def test_the_config_of_an_environment_is_its_world(env_id: str) -> None:
    env = gym.make(env_id, pose=False)
    assert env.unwrapped.config == World().replace(**gym.spec(env_id).kwargs, pose=False)


def test_an_environment_is_made_of_a_world_that_was_read(bank: SoundBank, tmp_path: Path) -> None:
    one = gym.make("AuralNav-v0", room=(6, 5, 3), num_sources=1, noise_dbfs=-50, sounds=bank, listen_seconds=0.1)
    one.unwrapped.config.save(tmp_path / "world.json")
    world = World.load(tmp_path / "world.json", sounds=bank)
    other = gym.make("AuralNav-v0", world=world)
    assert other.unwrapped.config == world == one.unwrapped.config
    heard = [env.reset(seed=4)[0] for env in (one, other)]
    for key in ("audio", "agent"):
        np.testing.assert_array_equal(heard[0][key], heard[1][key])
    assert gym.make("AuralNav-v0", world=world, pose=False).unwrapped.config == world.replace(pose=False)
    with pytest.raises(TypeError, match=r"num_source: unknown keyword; .* Did you mean 'num_sources'\?"):
        gym.make("AuralNav-v0", num_source=3)
