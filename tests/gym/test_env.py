"""The environment as its users meet it."""

from __future__ import annotations

import hashlib
import math
import pickle
import subprocess
import sys
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from pyroomacoustics import ShoeBox as PraShoeBox
from pyroomacoustics.directivities import CardioidFamily

import auralnav_gym
from auralnav_gym import (
    Action,
    Ears,
    MicrophoneArray,
    OmniEars,
    Polygon,
    Pose,
    RandomLShape,
    RandomRinging,
    RandomRoom,
    RandomShoeBox,
    Scene,
    ShoeBox,
    Sound,
    SoundBank,
    Source,
    SyntheticSounds,
    Wander,
)
from auralnav_gym.window import Window

IDS = sorted(spec.id for spec in gym.registry.values() if str(spec.entry_point).startswith("auralnav_gym"))
PENTAGON = ((0.0, 0.0), (8.0, 0.0), (9.0, 4.0), (6.0, 8.0), (0.0, 7.0))
L_SHAPE = ((0.0, 0.0), (8.0, 0.0), (8.0, 4.0), (4.0, 4.0), (4.0, 8.0), (0.0, 8.0))
SQUARE_ARRAY = ((0.05, 0.05, 0.0), (0.05, -0.05, 0.0), (-0.05, 0.05, 0.0), (-0.05, -0.05, 0.0))
WORLDS = {
    "defaults": {},
    "omni, 2-D": {"room": (7.0, 6.0), "ears": "omni"},
    "polygon": {"room": Polygon(PENTAGON, height=3.0)},
    "polygon, 2-D": {"room": PENTAGON},
    "random rooms": {"room": RandomShoeBox()},
    "one source, no pose": {"num_sources": 1, "pose": False},
    "four sources, noise": {"num_sources": 4, "noise_dbfs": -50.0, "source_audio": True},
    "4 s at 8 kHz": {"listen_seconds": 4.0},
    "told by class": {"goal": "class", "num_distractors": 1},
    "told by example": {"goal": "example", "num_distractors": 1, "touch": "cost"},
    "L, 2-D": {"room": L_SHAPE},
    "random L": {"room": RandomLShape()},
    "random corners": {"room": RandomRoom()},
    "materials, air": {"room": ShoeBox((6.0, 5.0, 3.0), materials="brickwork", air_absorption=True)},
    "four microphones": {"ears": MicrophoneArray(SQUARE_ARRAY, CardioidFamily([1.0, 0.0, 0.0], 0.5))},
    "human, materials, moving, ringing": {
        "ears": "human",
        "room": ShoeBox((6.0, 5.0, 3.0), materials="brickwork"),
        "source_motion": Wander(),
        "source_activity": RandomRinging(),
        "source_level_db": (-6.0, 6.0),
        "background": 10.0,
    },
    "continuous, motion": {"actions": "continuous", "motion": True},
}


@pytest.fixture(scope="module")
def bank() -> SoundBank:
    return SyntheticSounds(per_kind=1, seconds=1.0)


@pytest.fixture
def env(bank: SoundBank):
    env = gym.make("AuralNav-v0", sounds=bank)
    yield env
    env.close()


def simple_scene(places=((6.0, 4.0),), pose: Pose = Pose(2.0, 4.0, 0.0)) -> Scene:  # noqa: B008 (frozen)
    signal = (0.05 * np.random.default_rng(0).standard_normal(4000)).astype(np.float32)
    sources = tuple(Source((*place, 1.5), Sound(f"noise-{i}", "noise", signal)) for i, place in enumerate(places))
    return Scene(ShoeBox((8.0, 8.0, 3.0)), sources, pose)


def test_ids() -> None:
    names = (
        "Alarms Anechoic Babble Continuous Distractors Easy FourSources Human LShape Materials Moving Omni RandomRooms"
    )
    assert [*(f"AuralNav-{name}-v0" for name in names.split()), "AuralNav-v0"] == IDS
    assert {gym.spec(env_id).max_episode_steps for env_id in IDS} == {200}
    gym.make("auralnav_gym:AuralNav-v0").close()


@pytest.mark.parametrize(
    ("env_id", "world"),
    [(env_id, {}) for env_id in IDS] + [("AuralNav-v0", world) for world in WORLDS.values()],
    ids=IDS + list(WORLDS),
)
def test_gymnasium_check_env(env_id: str, world: dict, bank: SoundBank, monkeypatch: pytest.MonkeyPatch) -> None:
    # "human" is among the render modes that it tries: nobody is there to hear the last sound to its end.
    monkeypatch.setenv("SDL_AUDIODRIVER", "dummy")
    monkeypatch.setattr(Window, "wait", lambda window: None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gym.spec(env_id).make(sounds=bank, **world).unwrapped)


def test_no_extra_is_needed() -> None:
    """A fresh interpreter in which nothing of the extras can be imported makes and steps the environment."""
    script = """
import sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        learner = ("torch", "torchaudio", "stable_baselines3", "asteroid", "auralnav_sb3")
        if name.split(".")[0] in (*learner, "pygame", "matplotlib", "imageio_ffmpeg", "plotly", "jinja2", "sofar"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, NotInstalled())
import gymnasium as gym, auralnav_gym
env = gym.make("AuralNav-v0")
env.reset(seed=0)
env.step(0)
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_spaces(env: gym.Env) -> None:
    assert env.action_space == gym.spaces.Discrete(4)
    assert env.observation_space == gym.spaces.Dict(
        {
            "audio": gym.spaces.Box(-1.0, 1.0, (2, 4000), np.float32),
            "agent": gym.spaces.Box(-1.0, 1.0, (4,), np.float32),
        }
    )


def test_four_seconds_are_one_keyword_away(bank: SoundBank) -> None:
    env = gym.make("AuralNav-v0", sounds=bank, listen_seconds=4)
    assert env.observation_space["audio"].shape == (2, 32_000)
    assert env.reset(seed=0)[0]["audio"].shape == (2, 32_000)


def test_pose_can_be_left_out(bank: SoundBank) -> None:
    env = gym.make("AuralNav-v0", sounds=bank, pose=False)
    assert set(env.reset(seed=0)[0]) == set(env.observation_space.spaces) == {"audio"}


def test_agent_is_its_pose(env: gym.Env) -> None:
    observation, _ = env.reset(options={"scene": simple_scene(pose=Pose(2.0, 6.0, math.pi / 2))})
    np.testing.assert_allclose(observation["agent"], [-0.5, 0.5, 0.0, 1.0], atol=1e-7)
    observation, *_ = env.step(Action.TURN_RIGHT)
    np.testing.assert_allclose(
        observation["agent"], [-0.5, 0.5, math.cos(math.pi / 3), math.sin(math.pi / 3)], atol=1e-6
    )


def rollout(env: gym.Env, seed: int, steps: int = 30) -> list:
    observation, info = env.reset(seed=seed)
    env.action_space.seed(seed)
    trace = [observation, info]
    for _ in range(steps):
        trace.append(env.step(env.action_space.sample()))
        if trace[-1][2]:
            trace.append(env.reset())
    return trace


def digest(trace: list) -> str:
    """A hash over every bit of nested lists, dicts, arrays and numbers."""
    sha = hashlib.sha256()

    def feed(value) -> None:
        if isinstance(value, dict):
            for key in sorted(value):
                sha.update(key.encode())
                feed(value[key])
        elif isinstance(value, list | tuple):
            for item in value:
                feed(item)
        else:
            array = np.asarray(value)
            sha.update(str((array.dtype, array.shape)).encode())
            sha.update(array.tobytes())

    feed(trace)
    return sha.hexdigest()


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
def test_the_same_seed_gives_the_same_bits(world: dict, bank: SoundBank) -> None:
    envs = [gym.make("AuralNav-v0", sounds=bank, **world) for _ in range(2)]
    first, second = (digest(rollout(env, 3)) for env in envs)
    assert first == second
    assert digest(rollout(envs[0], 3)) == first  # whatever was played before
    assert digest(rollout(envs[0], 4)) != first


def test_the_same_seed_gives_the_same_bits_in_another_process() -> None:
    script = """
import gymnasium as gym, numpy as np, hashlib, auralnav_gym
env = gym.make("AuralNav-v0", noise_dbfs=-50.0, num_sources=8, source_spacing=1.0)
sha = hashlib.sha256(env.reset(seed=5)[0]["audio"].tobytes())
for action in (0, 3, 0, 2, 1, 0):
    sha.update(env.step(action)[0]["audio"].tobytes())
print(sha.hexdigest())
"""
    runs = {
        subprocess.run(
            [sys.executable, "-c", script],
            check=True,
            capture_output=True,
            text=True,
            timeout=120,
            env={"PYTHONHASHSEED": number, "OMP_NUM_THREADS": number, "PRA_NUM_THREADS": number, "PATH": ""},
        ).stdout
        for number in ("1", "2")
    }
    assert len(runs) == 1
    assert len(runs.pop()) == 65


def test_a_scene_is_played_exactly(env: gym.Env) -> None:
    def play(reset_seed: int | None) -> str:
        trace = [env.reset(seed=reset_seed, options={"scene": simple_scene()})]
        return digest([*trace, *(env.step(action) for action in (0, 3, 0, 2, 1))])

    assert play(0) == play(1) == play(None)


def test_a_drawn_scene_can_be_played_again(bank: SoundBank) -> None:
    env = gym.make("AuralNav-v0", sounds=bank, noise_dbfs=-40.0)
    first = env.reset(seed=9)
    scene = env.unwrapped.scene
    actions = [0, 0, 3, 0, 2, 1]
    trace = [first, *(env.step(action) for action in actions)]
    again = [env.reset(options={"scene": scene}), *(env.step(action) for action in actions)]
    assert digest(trace) == digest(again)


def test_sources_are_found_switched_off_and_counted(env: gym.Env) -> None:
    env.reset(options={"scene": simple_scene(places=((4.0, 4.0), (7.0, 4.0)))})
    infos = [env.step(Action.FORWARD) for _ in range(8)]
    # From x = 2 in steps of 0.5: x = 3 is 1 m from the first source, x = 6 from the second.
    assert [step[4]["num_found"] for step in infos] == [0, 1, 1, 1, 1, 1, 1, 2]
    assert [step[2] for step in infos] == [False] * 7 + [True]
    assert not any(step[3] for step in infos)
    last = infos[-1][4]
    assert last["is_success"]
    assert last["num_sources"] == 2
    np.testing.assert_allclose(last["distances"], [2.0, 1.0])
    assert last["distance_to_nearest"] == 0.0
    assert last["path_length"] == pytest.approx(4.0)
    assert last["num_actions"] == 8
    assert last["spl"] == pytest.approx(1.0)  # straight through both discs
    assert last["sna"] == pytest.approx(1.0)
    assert infos[0][4]["distance_to_nearest"] == pytest.approx(1.5)


def test_a_detour_costs_spl_and_sna(env: gym.Env) -> None:
    env.reset(options={"scene": simple_scene(places=((4.0, 4.0),))})
    for action in (Action.BACKWARD, Action.FORWARD, Action.TURN_LEFT, Action.TURN_RIGHT, Action.FORWARD):
        *_, info = env.step(action)
        assert info["spl"] == info["sna"] == 0.0
    _, _, terminated, _, info = env.step(Action.FORWARD)
    assert terminated
    assert info["spl"] == pytest.approx(1.0 / 2.0)  # 1 m straight to the disc, 2 m walked
    assert info["sna"] == pytest.approx(2 / 6)


def test_rewards_are_the_sum_of_their_terms(bank: SoundBank) -> None:
    weights = {
        "step": -0.5,
        "turn": -0.1,
        "walk": -0.4,
        "found": 100.0,
        "all_found": 50.0,
        "touched": -25.0,
        "progress": 2.0,
        "proximity": 3.0,
    }
    env = gym.make("AuralNav-v0", sounds=bank, rewards=weights)
    env.reset(options={"scene": simple_scene(places=((4.0, 4.0), (7.0, 4.0)))})
    expected = [
        (Action.TURN_LEFT, -0.5 - 0.1 + 3 / 2.0),
        (Action.TURN_RIGHT, -0.5 - 0.1 + 3 / 2.0),
        (Action.FORWARD, -0.5 - 0.2 + 2 * 0.5 + 3 / 1.5),
        (Action.FORWARD, -0.5 - 0.2 + 2 * 0.5 + 100 + 3 / 4.0),
        (Action.BACKWARD, -0.5 - 0.2 - 2 * 0.5 + 3 / 4.5),
    ]
    for action, reward in expected:
        *_, actual, _, _, info = env.step(action)
        assert actual == pytest.approx(reward)
        assert actual == pytest.approx(sum(info["rewards"].values()))
        assert set(info["rewards"]) == set(weights)
    for _ in range(6):
        env.step(Action.FORWARD)
    _, reward, terminated, _, info = env.step(Action.FORWARD)
    assert terminated
    assert reward == pytest.approx(-0.5 - 0.2 + 2 * 0.5 + 100 + 50)


def test_walls_block_and_say_so(env: gym.Env) -> None:
    env.reset(options={"scene": simple_scene(places=((2.0, 1.0),), pose=Pose(7.6, 4.0, 0.0))})
    *_, info = env.step(Action.FORWARD)
    assert info["collision"]
    assert info["path_length"] == pytest.approx(0.4 - 0.135)  # both ears, and 5 cm, stay inside however it turns
    for _ in range(3):
        assert not env.step(Action.TURN_LEFT)[4]["collision"]
    *_, info = env.step(Action.FORWARD)  # along the wall
    assert not info["collision"]
    assert info["path_length"] == pytest.approx(0.4 - 0.135 + 0.5)


@pytest.mark.parametrize("ears", ["ortf", OmniEars(0.6)], ids=["ortf", "wide"])
def test_ears_stay_inside_in_every_pose(ears, bank: SoundBank) -> None:
    env = gym.make("AuralNav-v0", sounds=bank, room=(4.0, 3.5, 3.0), num_sources=1, ears=ears, max_episode_steps=1000)
    env.reset(seed=1)
    env.action_space.seed(1)
    inner = env.unwrapped
    for _ in range(400):
        _, _, terminated, truncated, _ = env.step(int(env.action_space.sample() % 3))
        places = inner._listener.ear_positions(inner.pose)
        assert inner.scene.room.contains(places[:, :2]).all()
        if terminated or truncated:
            env.reset()


@pytest.mark.parametrize(
    ("action", "motion"),
    [
        (Action.FORWARD, (1.0, 0.0)),
        (Action.BACKWARD, (-1.0, 0.0)),
        (Action.TURN_LEFT, (0.0, 1.0)),
        (Action.TURN_RIGHT, (0.0, -1.0)),
    ],
    ids=lambda value: value.name if isinstance(value, Action) else None,
)
def test_motion_tells_how_the_agent_has_moved(bank: SoundBank, action: Action, motion: tuple[float, float]) -> None:
    env = gym.make("AuralNav-v0", sounds=bank, pose=False, motion=True)
    observation, _ = env.reset(options={"scene": simple_scene(places=((7.0, 7.0),), pose=Pose(3.0, 3.0, 3.0))})
    assert observation["agent"].tolist() == [0.0, 0.0]
    for _ in range(3):  # the turns pass the heading of pi, where angles wrap
        observation, *_ = env.step(action)
        assert observation in env.observation_space
        np.testing.assert_allclose(observation["agent"], motion, atol=1e-6)
    observation, _ = env.reset(seed=0)
    assert observation["agent"].tolist() == [0.0, 0.0]


def test_motion_follows_the_pose_and_is_cut_short_by_a_wall(bank: SoundBank) -> None:
    env = gym.make("AuralNav-v0", sounds=bank, motion=True)
    env.reset(options={"scene": simple_scene(places=((2.0, 1.0),), pose=Pose(7.6, 4.0, 0.0))})
    observation, *_, info = env.step(Action.FORWARD)
    assert observation["agent"].shape == (6,)
    np.testing.assert_allclose(
        observation["agent"][:4],
        gym.make("AuralNav-v0", sounds=bank).reset(
            options={"scene": simple_scene(places=((2.0, 1.0),), pose=env.unwrapped.pose)}
        )[0]["agent"],
        atol=1e-6,
    )
    np.testing.assert_allclose(observation["agent"][4:], (info["path_length"] / 0.5, 0.0), atol=1e-6)
    assert 0 < info["path_length"] < 0.5


def test_time_runs_on(env: gym.Env) -> None:
    """Standing still (against a wall), two windows are two parts of what a longer window hears."""
    scene = simple_scene(places=((2.0, 1.0),), pose=Pose(7.865, 4.0, 0.0))
    env.reset(options={"scene": scene})
    windows = [env.step(Action.FORWARD)[0]["audio"] for _ in range(2)]
    long = gym.make("AuralNav-v0", listen_seconds=1.5).reset(options={"scene": scene})[0]["audio"]
    np.testing.assert_allclose(np.concatenate(windows, axis=1), long[:, 4000:], atol=1e-6)


def test_a_found_source_falls_silent(env: gym.Env) -> None:
    env.reset(options={"scene": simple_scene(places=((4.0, 4.0), (7.9, 7.9)))})
    for action in (Action.FORWARD, Action.FORWARD):
        env.step(action)
    alone = env.unwrapped._listener.hear_sources(env.unwrapped.pose, 2 * 4000, env.unwrapped._off_since)
    response_length = 1500  # longer than any response of order 3 in this room
    assert np.abs(alone[0, :, :100]).max() > 1e-3  # the tail of what sounded before
    assert np.abs(alone[0, :, response_length:]).max() < 1e-7  # the rounding of a transform in single precision
    assert np.abs(alone[1, :, response_length:]).max() > 1e-3


def test_source_audio_adds_up_to_what_is_heard(bank: SoundBank) -> None:
    env = gym.make("AuralNav-v0", sounds=bank, source_audio=True, num_sources=3)
    observation, info = env.reset(seed=0)
    for action in (0, 3, 0):
        assert info["source_audio"].shape == (3, 2, 4000)
        np.testing.assert_allclose(info["source_audio"].sum(axis=0), observation["audio"], atol=1e-6)
        observation, *_, info = env.step(action)


def test_level_at_one_metre_in_free_field() -> None:
    """DESIGN: the active RMS of a sound is -26 dBFS at 1 m in free field."""
    sounds = SyntheticSounds(per_kind=2, seconds=2.0)
    room = ShoeBox((40.0, 40.0, 3.0), absorption=1.0, max_order=0)
    env = gym.make("AuralNav-v0", ears="omni", listen_seconds=2.0, capture_radius=0.5, sounds=sounds)
    engine = next(sound for sound in sounds if sound.kind == "engine")  # it never pauses
    scene = Scene(room, (Source((20.0, 21.0, 1.5), engine),), Pose(20.0, 20.0, math.pi / 2))
    audio = env.reset(options={"scene": scene})[0]["audio"]
    assert 20 * math.log10(np.sqrt(np.mean(audio**2))) == pytest.approx(-26.0, abs=0.3)


def test_truncation_at_the_time_limit(bank: SoundBank) -> None:
    env = gym.make("AuralNav-v0", sounds=bank, max_episode_steps=7)
    env.reset(seed=0)
    ends = [env.step(Action.TURN_LEFT)[2:4] for _ in range(7)]
    assert ends == [(False, False)] * 6 + [(False, True)]


@pytest.mark.parametrize("vectorization_mode", ["sync", "async"])
def test_gymnasium_vector_envs(vectorization_mode: str, bank: SoundBank) -> None:
    envs = gym.make_vec("AuralNav-v0", 2, vectorization_mode=vectorization_mode, sounds=bank)
    try:
        observations, _ = envs.reset(seed=7)
        assert observations["audio"].shape == (2, 2, 4000)
        single = gym.make("AuralNav-v0", sounds=bank)
        for index in range(2):
            np.testing.assert_array_equal(observations["audio"][index], single.reset(seed=7 + index)[0]["audio"])
        observations, rewards, *_ = envs.step(np.array([0, 3]))
        assert rewards.shape == (2,)
    finally:
        envs.close()


def test_pickle(env: gym.Env) -> None:
    env.reset(seed=0)
    spec = pickle.loads(pickle.dumps(env.spec))
    other = gym.make(spec)
    np.testing.assert_array_equal(other.reset(seed=0)[0]["audio"], env.reset(seed=0)[0]["audio"])


class ThreeEars(Ears):
    """A user's own ears, in a few lines."""

    @property
    def positions(self) -> np.ndarray:
        return np.array([[0.0, 0.1, 0.0], [0.0, -0.1, 0.0], [0.1, 0.0, 0.05]])

    def gains(self, directions: np.ndarray) -> np.ndarray:
        return np.ones(directions.shape[1:])


def test_ears_of_ones_own(bank: SoundBank) -> None:
    env = gym.make("AuralNav-v0", sounds=bank, ears=ThreeEars())
    assert env.reset(seed=0)[0]["audio"].shape == env.observation_space["audio"].shape == (3, 4000)


class Corridors:
    """A user's own rooms, in a few lines."""

    def sample(self, rng: np.random.Generator) -> ShoeBox:
        return ShoeBox((float(rng.uniform(8, 12)), 3.5, 3.0))


def test_rooms_of_ones_own(bank: SoundBank) -> None:
    env = gym.make("AuralNav-v0", sounds=bank, room=Corridors())
    widths = {env.reset(seed=seed) and env.unwrapped.scene.room.size[0] for seed in range(3)}
    assert len(widths) == 3


@pytest.mark.parametrize("keywords", [{"rt60": 0.5}, {"absorption": 0.3}], ids=["rt60", "absorption"])
def test_walls_keywords_reach_the_room(keywords: dict, bank: SoundBank) -> None:
    env = gym.make("AuralNav-v0", sounds=bank, max_order=1, **keywords)
    env.reset(seed=0)
    room = env.unwrapped.scene.room
    assert room == ShoeBox((8.0, 8.0, 3.0), max_order=1, **keywords)


def test_the_default_world_reverberates_for_a_third_of_a_second(env: gym.Env) -> None:
    env.reset(seed=0)
    room = env.unwrapped.scene.room.to_pyroomacoustics(8000)
    assert isinstance(room, PraShoeBox)
    assert room.shoebox_dim.tolist() == [8.0, 8.0, 3.0]
    assert room.rt60_theory("eyring") == pytest.approx(0.35, rel=0.01)
    assert room.max_order == 3


KEYWORDS_THAT_MATTER = {
    "sample_rate": 16_000,
    "listen_seconds": 0.25,
    "step_size": 0.3,
    "turn_angle": 45.0,
    "capture_radius": 0.5,
    "num_sources": 3,
    "ear_height": 1.2,
    "source_height": 1.0,
    "wall_clearance": 2.0,
    "source_spacing": 3.0,
    "start_distance": 4.0,
    "noise_dbfs": -40.0,
    "background": 20.0,
    "num_distractors": 1,
    "target_kinds": ("speech", "bird"),
    "goal": "class",
    "ears": "omni",
    "room": (6.0, 6.0, 3.0),
    "max_order": 1,
    "rewards": "original",
}


@pytest.mark.parametrize("keyword", KEYWORDS_THAT_MATTER)
def test_every_keyword_changes_something(keyword: str) -> None:
    def trace(**keywords) -> str:
        env = gym.make("AuralNav-v0", **keywords)
        seen = []
        for seed in range(6):
            seen.append(env.reset(seed=seed))
            seen += [env.step(action) for action in (0, 3, 0)]
        return digest(seen)

    assert trace(**{keyword: KEYWORDS_THAT_MATTER[keyword]}) != trace()


@pytest.mark.parametrize(
    ("keywords", "error", "message"),
    [
        ({"capture_radius": 0.2}, ValueError, "capture_radius: expected at least half a step"),
        ({"absorption": 0.0}, ValueError, r"absorption: .*in \(0, 1\], actual: 0.0"),
        ({"absorption": 1.5}, ValueError, r"absorption: .*in \(0, 1\], actual: 1.5"),
        ({"absorption": 0.3, "rt60": 0.3}, ValueError, "absorption and rt60: expected one of them"),
        ({"rt60": -1.0}, ValueError, "rt60: expected more than 0 seconds"),
        ({"room": ((0, 0), (4, 0), (0, 4), (4, 4))}, ValueError, "room corners: expected a polygon"),
        ({"room": ((0, 0), (4, 4), (4, 0), (0, 4))}, ValueError, "edges do not cross"),
        ({"room": RandomShoeBox(), "rt60": 0.3}, ValueError, "absorption, rt60, max_order: expected None beside"),
        ({"ears": "three"}, ValueError, "ears: expected"),
        ({"num_sources": 0}, ValueError, "num_sources: expected a whole number of 1 or more"),
        ({"rewards": {"stpe": 1.0}}, ValueError, "stpe"),
        ({"sample_rate": 0}, ValueError, "sample_rate: expected a whole number of Hz"),
        ({"listen_seconds": 0.0}, ValueError, "listen_seconds: expected at least one sample"),
        ({"start_distance": 0.5}, ValueError, "start_distance: expected more than capture_radius"),
        ({"sounds": "/no/such/folder"}, FileNotFoundError, "/no/such/folder"),
        ({"num_distractors": -1}, ValueError, "num_distractors: expected a whole number of 0 or more, actual: -1"),
        ({"num_distractors": 1.5}, ValueError, "num_distractors: expected a whole number of 0 or more, actual: 1.5"),
        ({"distractor_level_db": math.inf}, ValueError, "distractor_level_db: expected a finite number of dB"),
        (
            {"target_kinds": ("speech", "spech")},
            ValueError,
            r"target_kinds: expected one or more of \['alarm', .*, actual \['spech'\] among them",
        ),
        ({"target_kinds": ()}, ValueError, r"target_kinds: expected one or more of .*, actual \[\]; name others"),
        ({"target_kinds": "speech"}, TypeError, r"target_kinds: expected several strings, such as \('speech',\)"),
        ({"distractor_kinds": ("x",)}, ValueError, r"distractor_kinds: expected one or more of .*, actual \['x'\];"),
        (
            {"num_distractors": 1, "distractor_kinds": ("speech",), "target_kinds": ("bird", "speech")},
            ValueError,
            "distractor_kinds: expected kinds besides the targets', actual: none but 'speech'",
        ),
        ({"touch": "pay"}, ValueError, r"touch: expected one of \['end', 'cost'\], actual: 'pay'"),
        ({"goal": "kind"}, ValueError, r"goal: expected one of \[None, 'class', 'example'\], actual: 'kind'"),
        ({"max_order": 1.5}, ValueError, "max_order: expected a whole number"),
        ({"background": "loud"}, TypeError, "background: expected a Babble, an SNR in dB or None, actual: 'loud'"),
    ],
)
def test_bad_keywords_are_refused(keywords: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        gym.make("AuralNav-v0", **keywords)


def test_a_bank_of_another_rate_is_refused(bank: SoundBank) -> None:
    with pytest.raises(ValueError, match=r"8000.*16000|16000.*8000"):
        gym.make("AuralNav-v0", sounds=bank, sample_rate=16_000)


def test_sources_that_do_not_fit_raise_at_reset(bank: SoundBank) -> None:
    env = gym.make("AuralNav-v0", sounds=bank, num_sources=30)
    with pytest.raises(ValueError, match=r"num_sources: 30 source\(s\) and the agent do not fit"):
        env.reset(seed=0)


@pytest.mark.parametrize("call", [lambda env: env.step(0), lambda env: env.scene], ids=["step", "scene"])
def test_nothing_before_reset(call, bank: SoundBank) -> None:
    with pytest.raises(ResetNeeded, match=r"reset\(\)"):
        call(auralnav_gym.AuralNavEnv(sounds=bank))


@pytest.mark.parametrize("action", [4, -1, 1.5, "left", None])
def test_actions_outside_the_space_are_refused_and_lose_nothing(action, bank: SoundBank) -> None:
    env = auralnav_gym.AuralNavEnv(sounds=bank)
    env.reset(seed=0)
    pose = env.pose
    with pytest.raises(ValueError, match="action: expected a whole number from 0 to 3"):
        env.step(action)
    assert env.pose == pose
    env.step(np.int64(0))
    env.step(np.array(3))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"scnee": 1}, ValueError, r"options: expected no key but 'scene', actual: \['scnee'\]"),
        ({"scene": 1}, TypeError, "expected an auralnav_gym.Scene"),
        ({"scene": simple_scene(pose=Pose(0.05, 4.0, 0.0))}, ValueError, "at least 0.135 m from every wall"),
        ({"scene": simple_scene(pose=Pose(5.5, 4.0, 0.0))}, ValueError, "farther than capture_radius"),
    ],
    ids=["unknown", "no scene", "at the wall", "in reach"],
)
def test_bad_reset_options_are_refused_and_lose_nothing(
    options: dict, error: type[Exception], message: str, env: gym.Env
) -> None:
    env.reset(seed=0)
    expected = digest([env.step(Action.FORWARD), env.step(Action.TURN_LEFT)])
    env.reset(seed=0)
    first = env.step(Action.FORWARD)
    with pytest.raises(error, match=message):
        env.reset(options=options)
    assert digest([first, env.step(Action.TURN_LEFT)]) == expected


def test_human_render_mode_shows_every_step(bank: SoundBank, monkeypatch: pytest.MonkeyPatch) -> None:
    pygame = pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    flips = []
    monkeypatch.setattr(pygame.display, "flip", lambda: flips.append(1))
    monkeypatch.setattr(pygame.display, "update", lambda *_: flips.append(1))
    monkeypatch.setenv("SDL_AUDIODRIVER", "dummy")
    env = gym.make("AuralNav-v0", sounds=bank, render_mode="human")
    env.reset(seed=0)
    assert len(flips) == 1
    env.step(Action.FORWARD)
    assert len(flips) > 1
    env.close()


def test_render(bank: SoundBank) -> None:
    env = gym.make("AuralNav-v0", sounds=bank, render_mode="rgb_array")
    env.reset(seed=0)
    first = env.render()
    assert first.dtype == np.uint8
    assert first.ndim == 3
    env.step(Action.FORWARD)
    assert (env.render() != first).any()
    env.close()
    with pytest.raises(ValueError, match="render_mode: expected None or one of"):
        auralnav_gym.AuralNavEnv(sounds=bank, render_mode="text")
