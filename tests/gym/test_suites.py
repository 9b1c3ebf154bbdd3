"""Suites: what is in them, and that it is the same everywhere."""

from __future__ import annotations

import hashlib
import json
import math
import os
import pickle
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import gymnasium as gym
import numpy as np
import pytest
import soundfile

from auralnav_gym import (
    SUITES,
    Body,
    CardioidEars,
    DiffuseSound,
    Example,
    MeasuredEars,
    OmniEars,
    Polygon,
    RandomShoeBox,
    Ringing,
    Scene,
    ShoeBox,
    SoundBank,
    Suite,
    SyntheticSounds,
    Waypoints,
    load_suite,
    suites,
)
from auralnav_gym.planning import plan_scene
from auralnav_gym.suites import FINGERPRINTS, suite_seeds

NAMES = [
    "two-sources-v1",
    "four-sources-v1",
    "omni-v1",
    "random-rooms-v1",
    "distractors-v1",
    "babble-v1",
    "easy-v1",
    "anechoic-v1",
    "materials-v1",
    "l-shape-v1",
    "moving-v1",
    "alarms-v1",
    "human-v1",
    "continuous-v1",
]


@pytest.fixture(scope="module")
def bank() -> SoundBank:
    return SyntheticSounds(per_kind=2, seconds=1.0)


@pytest.fixture(scope="module")
def synthetic() -> SoundBank:
    return SyntheticSounds()


@pytest.fixture
def small(bank: SoundBank) -> Suite:
    return Suite("small-v1", seeds=range(100, 106), env_kwargs={"listen_seconds": 0.1}, sounds=bank)


def layout(scene: Scene) -> tuple:
    return (scene.pose, *(source.position for source in scene.sources))


# ---- The published suites --------------------------------------------------------------------------------------------


def digests() -> dict[str, list[str]]:
    """Some episodes of every suite, to the last bit: the scene, the sounds in it, and what is heard first."""
    result = {}
    for name in NAMES:
        env = SUITES[name].make_env()
        result[name] = []
        for seed in SUITES[name].seeds[::25]:
            observation, _ = env.reset(seed=seed)
            scene = env.unwrapped.scene
            digest = hashlib.sha256(repr((scene.room, scene.pose, scene.ear_height, scene.noise_seed)).encode())
            for source in scene.sources:
                digest.update(repr((source.position, source.sound.name, source.start, source.level_db)).encode())
                digest.update(source.sound.signal.tobytes())
            for key in ("audio", "agent"):
                digest.update(observation[key].tobytes())
            result[name].append(digest.hexdigest())
    return result


def test_two_processes_have_the_same_episodes_to_the_last_bit(tmp_path: Path) -> None:
    here = Path(__file__).resolve()
    program = f"import sys, json; sys.path[:0] = {[str(here.parent), str(here.parents[2])]}; import test_suites as t; "
    other = subprocess.run(
        [sys.executable, "-c", program + "print(json.dumps(t.digests()))"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONHASHSEED": "12345"},
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    )
    own = digests()
    assert json.loads(other.stdout) == own
    assert len({digest for suite in own.values() for digest in suite}) == len(NAMES) * 20


@pytest.mark.parametrize("name", NAMES)
def test_the_episodes_are_those_that_were_published(name: str) -> None:
    assert list(SUITES) == list(FINGERPRINTS) == NAMES
    assert len(SUITES[name]) == 500
    assert SUITES[name].fingerprint() == FINGERPRINTS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_suite(name) is SUITES[name]


def test_episodes_are_those_of_the_registered_environment(synthetic: SoundBank) -> None:
    """The first suite is AuralNav-v0 as it stands, on the test sounds."""
    suite = SUITES["two-sources-v1"]
    _, test = synthetic.split()
    env = gym.make("AuralNav-v0", sounds=test)
    for index in (0, 7, 499):
        env.reset(seed=suite.seeds[index])
        expected = env.unwrapped.scene
        for scene in (suite.scene(index), suite.scenes[index]):
            assert layout(scene) == layout(expected)
            assert scene.noise_seed == expected.noise_seed
            assert [s.sound.name for s in scene.sources] == [s.sound.name for s in expected.sources]
            assert [s.start for s in scene.sources] == [s.start for s in expected.sources]
    assert suite.make_env().spec.max_episode_steps == 200


@pytest.mark.parametrize("name", NAMES)
def test_train_and_test_share_no_recording_and_no_scene(name: str, synthetic: SoundBank) -> None:
    suite = SUITES[name]
    for attribute in (lambda s: s.name, lambda s: s.signal.tobytes()):
        train, test = ({attribute(sound) for sound in half} for half in (suite.train_sounds, suite.test_sounds))
        assert not train & test
        assert len(train | test) == len(synthetic)
    assert {s.sound.name for scene in suite.scenes for s in scene.sources} == {s.name for s in suite.test_sounds}
    assert suite.train_sounds.kinds == suite.test_sounds.kinds

    env = suite.make_training_env()
    train_layouts = set()
    for seed in (0, 1, 2**32 - 1):  # a training: one seed, then many resets without
        env.reset(seed=seed)
        for _ in range(40):
            scene = env.unwrapped.scene
            assert {s.sound.name for s in scene.sources} <= {s.name for s in suite.train_sounds}
            train_layouts.add(layout(scene))
            env.reset()
    test_layouts = {layout(scene) for scene in suite.scenes}
    assert len(train_layouts) == 120
    assert len(test_layouts) == 500
    assert not train_layouts & test_layouts


def test_seeds_are_none_that_a_training_would_use() -> None:
    seeds = [seed for suite in SUITES.values() for seed in suite.seeds]
    assert len(set(seeds)) == len(NAMES) * 500
    assert min(seeds) >= 2**62  # SB3 takes none from 2^32
    assert max(seeds) < 2**63
    assert suite_seeds("other", 3) == suite_seeds("other", 5)[:3] != suite_seeds("another", 3)


def test_what_is_in_the_published_suites() -> None:
    counts = {"four-sources-v1": 4, "distractors-v1": 3, "easy-v1": 1}
    ears = {"omni-v1": OmniEars, "human-v1": MeasuredEars}
    materials = {"walls": "brickwork", "floor": "carpet_cotton", "ceiling": "ceiling_plasterboard"}
    l_shape = ((0, 0), (8, 0), (8, 4), (4, 4), (4, 8), (0, 8))
    rooms_of = {
        "easy-v1": ShoeBox((5, 5, 3), rt60=0.2),
        "anechoic-v1": ShoeBox((8, 8, 3), max_order=0),
        "materials-v1": ShoeBox((8, 6, 3), materials=materials, air_absorption=True, max_order=8),
        "l-shape-v1": Polygon(l_shape, height=3.0),
    }
    for name in NAMES:
        suite = SUITES[name]
        assert {len(scene.sources) for scene in suite.scenes} == {counts.get(name, 2)}
        assert isinstance(suite.make_env().unwrapped.ears, ears.get(name, CardioidEars))
        if name != "random-rooms-v1":
            assert {scene.room for scene in suite.scenes} == {rooms_of.get(name, ShoeBox(size=(8, 8, 3)))}
        sources = [source for scene in suite.scenes for source in scene.sources]
        assert {type(source.motion) for source in sources} == {Waypoints if name == "moving-v1" else type(None)}
        assert {type(source.activity) for source in sources} == {Ringing if name == "alarms-v1" else type(None)}
        if name != "babble-v1":
            assert {scene.background for scene in suite.scenes} == {None}
    assert {source.motion.speed for scene in SUITES["moving-v1"].scenes for source in scene.sources} == {0.3}
    assert SUITES["continuous-v1"].make_env().action_space == gym.spaces.Box(-1, 1, (2,), np.float32)
    for scene in SUITES["distractors-v1"].scenes:
        assert [source.is_target for source in scene.sources] == [True, False, False]
        assert [source.level_db for source in scene.sources] == [0.0, 6.0, 6.0]
        assert [source.sound.kind == "speech" for source in scene.sources] == [True, False, False]
        assert len(plan_scene(scene, Body(), seconds=0.5)) < 200  # distractors leave a way in every one of them
    for background in (scene.background for scene in SUITES["babble-v1"].scenes):
        assert background.level_db == -10.0
        assert {sound.kind for sound in background.sounds} == {"speech"}
        assert set(background.sounds) <= set(SUITES["babble-v1"].test_sounds)
    rooms = [scene.room for scene in SUITES["random-rooms-v1"].scenes]
    sizes = np.array([room.size for room in rooms])
    # Uniform: of 500 numbers the outermost lie within 3 % of the ends (1 - 2 x 0.97^500 = 0.9999995).
    low, high = np.array([5, 5, 2.5]), np.array([10, 10, 3.5])
    shares = (sizes - low) / (high - low)
    assert (shares.min(axis=0) >= 0).all()
    assert (shares.max(axis=0) <= 1).all()
    assert (shares.min(axis=0) < 0.03).all()
    assert (shares.max(axis=0) > 0.97).all()
    rt60 = np.array([room.to_pyroomacoustics(8000).rt60_theory("eyring") for room in rooms])
    # pyroomacoustics rounds Eyring's constant to 0.161 and adds the absorption of the air.
    assert 0.15 * 0.97 < rt60.min() < 0.17
    assert 0.57 < rt60.max() < 0.6 * 1.03


def test_it_warns_when_the_episodes_are_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suites, "FINGERPRINTS", MappingProxyType({**FINGERPRINTS, "omni-v1": 64 * "0"}))
    suites._is_as_published.cache_clear()
    try:
        with pytest.warns(UserWarning, match="The episodes of 'omni-v1' are not those that were published: numpy"):
            load_suite("omni-v1")
    finally:
        suites._is_as_published.cache_clear()


# ---- Fingerprints ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"room": (8, 8, 3.1)},
        {"room": (8, 8)},
        {"max_order": 2},
        {"rt60": 0.36},
        {"num_sources": 3},
        {"ear_height": 1.6},
        {"source_height": 1.6},
        {"start_distance": 3.0},
        {"step_size": 0.4},
        {"turn_angle": 29.0},
        {"capture_radius": 0.9, "source_spacing": 2.0, "start_distance": 2.0},
        {"listen_seconds": 0.2},
        {"noise_dbfs": -60.0},
        {"background": 10.0},
        {"ears": CardioidEars(pattern=0.4)},
        {"ears": CardioidEars(angle=1.0)},
        {"max_episode_steps": 100},
        {"num_distractors": 1},
        {"target_kinds": ("speech",)},
        {"goal": "class"},
        {"goal": "example"},
    ],
    ids=lambda changes: next(iter(changes.items())),
)
def test_the_fingerprint_changes_with_the_world(small: Suite, changes: dict) -> None:
    other = replace(small, env_kwargs={**small.env_kwargs, **changes})
    assert other.fingerprint() != small.fingerprint()


@pytest.mark.parametrize(
    "change",
    [
        lambda scene: replace(scene, pose=replace(scene.pose, x=scene.pose.x + 1e-3)),
        lambda scene: replace(scene, pose=replace(scene.pose, y=scene.pose.y + 1e-3)),
        lambda scene: replace(scene, pose=replace(scene.pose, heading=scene.pose.heading + 1e-3)),
        lambda scene: replace(scene, noise_seed=scene.noise_seed + 1),
        lambda scene: replace(scene, sources=scene.sources[::-1]),
        lambda scene: replace(scene, sources=(replace(scene.sources[0], start=5000), *scene.sources[1:])),
        lambda scene: replace(scene, sources=(replace(scene.sources[0], level_db=1.0), *scene.sources[1:])),
        lambda scene: replace(
            scene, sources=(replace(scene.sources[0], sound=scene.sources[1].sound), *scene.sources[1:])
        ),
        lambda scene: replace(scene, sources=(*scene.sources[:-1], replace(scene.sources[-1], is_target=False))),
        lambda scene: replace(scene, example=Example(scene.sources[0].sound)),
    ],
    ids=["x", "y", "heading", "noise seed", "order of sources", "start", "level", "sound", "target", "example"],
)
def test_the_fingerprint_changes_with_one_scene(small: Suite, change) -> None:
    before = small.fingerprint()
    other = replace(small)
    other.__dict__["scenes"] = (*small.scenes[:-1], change(small.scenes[-1]))
    assert other.fingerprint() != before


def test_the_fingerprint_changes_with_the_background_of_one_scene(small: Suite, bank: SoundBank) -> None:
    background = DiffuseSound(bank[:3], (0, 10, 20))
    changed = [
        None,
        background,
        replace(background, level_db=1.0),
        replace(background, starts=(0, 10, 21)),
        replace(background, sounds=bank[1:4]),
        DiffuseSound(bank[:2], (0, 10)),
    ]
    fingerprints = set()
    for other_background in changed:
        other = replace(small)
        other.__dict__["scenes"] = (*small.scenes[:-1], replace(small.scenes[-1], background=other_background))
        fingerprints.add(other.fingerprint())
    assert small.fingerprint() in fingerprints
    assert len(fingerprints) == len(changed)


def test_the_fingerprint_changes_with_the_rules_for_distractors(small: Suite) -> None:
    """The scenes are the same, and what is louder or told of is all that changes; or what touching does."""
    worlds = [
        {"num_distractors": 2, "target_kinds": ("speech",)},
        {"num_distractors": 2, "target_kinds": ("speech",), "touch": "cost"},
        {"num_distractors": 2, "target_kinds": ("speech",), "distractor_level_db": 3.0},
        {"num_distractors": 2, "target_kinds": ("speech",), "distractor_kinds": ("bird", "bell")},
        {"num_distractors": 2, "target_kinds": ("speech",), "goal": "class"},
        {"num_distractors": 2, "target_kinds": ("speech",), "goal": "example"},
    ]
    suites_ = [replace(small, env_kwargs={**small.env_kwargs, **world}) for world in worlds]
    assert len({suite.fingerprint() for suite in suites_}) == len(worlds)
    # Who knows of no distractors is not told of them: nothing happens to fingerprints that were published before.
    assert replace(small, env_kwargs={**small.env_kwargs, "touch": "cost"}).fingerprint() == small.fingerprint()


def test_the_fingerprint_is_the_same_where_the_last_bits_are_others(small: Suite) -> None:
    def shaken(scene: Scene) -> Scene:
        pose = replace(scene.pose, x=math.nextafter(scene.pose.x, math.inf), y=scene.pose.y * (1 + 1e-14))
        sources = tuple(
            replace(s, position=tuple(math.nextafter(p, -math.inf) for p in s.position)) for s in scene.sources
        )
        room = replace(scene.room, absorption=math.nextafter(scene.room.absorption, 1), rt60=None)
        return replace(scene, pose=pose, sources=sources, room=room)

    other = replace(small)
    other.__dict__["scenes"] = tuple(map(shaken, small.scenes))
    assert other.fingerprint() == small.fingerprint()


def test_fingerprints_of_sounds(small: Suite, bank: SoundBank) -> None:
    def with_sounds(change) -> Suite:
        return replace(small, sounds=SoundBank([change(sound) for sound in bank], bank.sample_rate))

    same = with_sounds(lambda sound: sound)
    assert same.audio_fingerprint() == small.audio_fingerprint()
    louder = with_sounds(lambda sound: replace(sound, signal=np.nextafter(sound.signal, np.float32(1))))
    assert louder.audio_fingerprint() != small.audio_fingerprint()
    assert louder.fingerprint() == small.fingerprint()
    renamed = with_sounds(lambda sound: replace(sound, name=sound.name + "'"))
    assert renamed.audio_fingerprint() != small.audio_fingerprint()
    assert renamed.fingerprint() != small.fingerprint()


# ---- One's own suites ------------------------------------------------------------------------------------------------


def test_a_suite_of_ones_own(bank: SoundBank) -> None:
    world = {"room": RandomShoeBox(), "num_sources": 3, "max_episode_steps": 7}
    suite = Suite("mine-v1", seeds=range(20, 25), env_kwargs=world, sounds=bank)
    world["num_sources"] = 1  # its own since
    assert suite.seeds == (20, 21, 22, 23, 24)
    assert len(suite.scenes) == len(suite) == 5
    assert {len(scene.sources) for scene in suite.scenes} == {3}
    env = suite.make_env()
    env.reset(seed=0)
    assert [env.step(2)[3] for _ in range(7)] == [False] * 6 + [True]
    assert pickle.loads(pickle.dumps(suite)).fingerprint() == suite.fingerprint()


def test_the_rate_of_the_sounds_is_that_of_the_world() -> None:
    bank = SyntheticSounds(16000, per_kind=2, seconds=1.0)
    suite = Suite("high-v1", seeds=[0], env_kwargs={"sample_rate": 16000, "listen_seconds": 0.1}, sounds=bank)
    assert suite.sample_rate == suite.test_sounds.sample_rate == 16000
    assert suite.make_env().reset(seed=0)[0]["audio"].shape == (2, 1600)


def test_what_agents_may_choose(small: Suite) -> None:
    for make in (small.make_env, small.make_training_env):
        env = make(pose=False, motion=True, source_audio=True, rewards="original", render_mode="rgb_array")
        observation, info = env.reset(seed=0)
        assert set(observation) == {"audio", "agent"}
        assert observation["agent"].shape == (2,)
        assert info["source_audio"].shape == (2, 2, 800)
        assert env.render().dtype == np.uint8
        assert env.unwrapped.rewards != make().unwrapped.rewards
        with pytest.raises(
            ValueError,
            match=r"kwargs: expected none but motion, pose, render_mode, rewards, source_audio, which leave the world "
            r"of 'small-v1' as it is, actual: \['num_sources'\]",
        ):
            make(num_sources=1)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"name": ""}, ValueError, "name: expected a string of at least one character"),
        ({"seeds": ()}, ValueError, "seeds: expected at least one .* actual: 0 numbers"),
        ({"seeds": (1, 1)}, ValueError, "none of them twice, actual: 2 numbers, 1 of them different"),
        ({"seeds": (0, -1)}, ValueError, "of 0 or more .* the least -1"),
        ({"seeds": (0.5,)}, TypeError, "float"),
        ({"env_kwargs": {"sounds": None}}, ValueError, r"env_kwargs: expected .* actual: \['sounds'\] among them"),
        ({"env_kwargs": {"pose": True, "ears": "omni"}}, ValueError, r"actual: \['pose'\] among them"),
    ],
    ids=["no name", "no seeds", "seed twice", "negative seed", "no whole seed", "sounds", "pose"],
)
def test_bad_suites(arguments: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Suite(**{"name": "mine-v1", "seeds": range(3), **arguments})


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two kinds, three subfolders each, four recordings in each."""
    folder = tmp_path_factory.mktemp("sounds") / "recordings"
    rng = np.random.default_rng(0)
    for path in [folder / kind / who / f"{i}.wav" for kind in ("speech", "music") for who in "abc" for i in range(4)]:
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.1 * rng.standard_normal(8000), 8000)
    return folder


def test_a_published_suite_on_ones_own_recordings(recordings: Path) -> None:
    suite = load_suite("four-sources-v1", recordings)
    assert suite.name.startswith("four-sources-v1@recordings-")
    assert suite.seeds == SUITES["four-sources-v1"].seeds
    names = {s.name for s in (*suite.train_sounds, *suite.test_sounds)}
    assert names == {path.relative_to(recordings).as_posix() for path in recordings.rglob("*.wav")}
    scene = suite.scene(3)
    assert {source.sound.name for source in scene.sources} <= {s.name for s in suite.test_sounds}
    # The same places: what is drawn before the sounds does not depend on them.
    assert layout(scene) == layout(SUITES["four-sources-v1"].scene(3))


def test_no_subfolder_on_both_sides(recordings: Path) -> None:
    suite = load_suite("two-sources-v1", recordings, split_by="subfolder")
    assert suite.name.endswith("-by-subfolder")
    train, test = ({str(Path(s.name).parent) for s in half} for half in (suite.train_sounds, suite.test_sounds))
    assert not train & test
    assert len(train | test) == 6


def test_the_name_tells_the_sounds_apart(recordings: Path, bank: SoundBank) -> None:
    own = [
        load_suite("two-sources-v1", recordings).name,
        load_suite("two-sources-v1", recordings / "speech").name,
        load_suite("two-sources-v1", bank).name,
        load_suite("two-sources-v1", SoundBank(bank[1:], bank.sample_rate)).name,
        "two-sources-v1",
    ]
    assert len(set(own)) == 5
    assert load_suite("two-sources-v1", SoundBank(bank[::-1], bank.sample_rate)).name == own[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("two-sources",), r"name: expected one of \['two-sources-v1', .*Did you mean 'two-sources-v1'\?"),
        (("two-sources-v1", None, "subfolder"), "split_by: expected 'recording' for the synthetic sounds"),
    ],
    ids=["name", "split"],
)
def test_bad_names(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_suite(*arguments)


def test_the_order_in_which_surfaces_are_named_makes_no_difference(bank: SoundBank) -> None:
    materials = {"walls": "brickwork", "floor": "carpet_cotton", "ceiling": "ceiling_plasterboard"}
    fingerprints = {
        Suite("s", seeds=(1,), env_kwargs={"room": ShoeBox((6, 5, 3), materials=named)}, sounds=bank).fingerprint()
        for named in (materials, dict(reversed(materials.items())), {**materials, "floor": "brickwork"})
    }
    assert len(fingerprints) == 2  # the floor does
