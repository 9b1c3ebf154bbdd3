"""A step of the environment against the loop that a user of pyroomacoustics would write.

    pytest tests/benchmarks/test_env_speed.py --benchmark-enable

Within a group, the numbers in brackets are ratios to the fastest. What each option costs stands in the table that
examples/benchmark_table.py makes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import cycle

import gymnasium as gym
import numpy as np
import pyroomacoustics as pra
import pytest
from pyroomacoustics.directivities import CardioidFamily, DirectionVector

from auralnav_gym import (
    Action,
    Babble,
    MicrophoneArray,
    Polygon,
    Pose,
    RandomLShape,
    RandomRinging,
    RandomRoom,
    RandomShoeBox,
    Scene,
    ShoeBox,
    Wander,
)

# There and back, so that no source is found and every step renders every source.
PACING = (Action.TURN_LEFT, Action.FORWARD, Action.BACKWARD, Action.TURN_RIGHT)


def make_env(env_id: str = "AuralNav-v0", **settings) -> gym.Env:
    env = gym.make(env_id, max_episode_steps=10**9, **settings)
    env.reset(seed=0)
    return env


def pace(env: gym.Env) -> Callable[[], None]:
    world = env.unwrapped
    actions = cycle([world.actions.encode(action) for action in PACING])

    def step() -> None:
        env.step(next(actions))
        if not world.on.all():  # a source that moves has come by
            env.reset(seed=0)

    return step


def listening_poses(env: gym.Env) -> Iterator[Pose]:
    env.reset(seed=0)
    return cycle([env.unwrapped.pose, *(env.step(action) and env.unwrapped.pose for action in PACING)])


def naive_step(scene: Scene, pose: Pose, sample_rate: int, num_samples: int) -> np.ndarray:
    """What pyroomacoustics' manual shows: build the room, add sources and ears, simulate; keep the window heard."""
    history = sample_rate // 4
    room = pra.ShoeBox(
        scene.room.size,
        fs=sample_rate,
        materials=pra.Material(scene.room.absorption),
        max_order=scene.room.max_order,
    )
    for source in scene.sources:
        signal = np.resize(source.sound.signal, history + num_samples)
        room.add_source(list(source.position), signal=signal)
    places, microphones = [], []
    for side in (1, -1):
        across = pose.heading + side * math.pi / 2
        places.append([pose.x + 0.085 * math.cos(across), pose.y + 0.085 * math.sin(across), scene.ear_height])
        axis = pose.heading + side * math.radians(55)
        microphones.append(CardioidFamily(np.array([math.cos(axis), math.sin(axis), 0.0]), 0.5))
    room.add_microphone_array(np.array(places).T, directivity=microphones)
    room.compute_rir()
    room.simulate()
    return room.mic_array.signals[:, history : history + num_samples]


@pytest.mark.benchmark(group="one step at the defaults")
def test_step(benchmark) -> None:
    env = make_env()
    benchmark(pace(env))
    assert env.unwrapped.on.all()


@pytest.mark.benchmark(group="one step at the defaults")
def test_step_of_a_pyroomacoustics_loop(benchmark) -> None:
    env = make_env()
    poses = listening_poses(env)
    inner = env.unwrapped
    benchmark(lambda: naive_step(inner.scene, next(poses), inner.sample_rate, inner.num_samples))


@pytest.mark.benchmark(group="one step: sources")
@pytest.mark.parametrize("num_sources", [1, 2, 4, 8])
def test_sources(benchmark, num_sources: int) -> None:
    benchmark(pace(make_env(num_sources=num_sources, room=(12.0, 12.0, 3.0))))


@pytest.mark.benchmark(group="one step: seconds heard")
@pytest.mark.parametrize("listen_seconds", [0.5, 1.0, 2.0, 4.0])
def test_samples(benchmark, listen_seconds: float) -> None:
    benchmark(pace(make_env(listen_seconds=listen_seconds)))


FIVE_CORNERS = ((0.0, 0.0), (8.0, 0.0), (9.0, 4.0), (6.0, 8.0), (0.0, 7.0))
L_SHAPE = ((0.0, 0.0), (8.0, 0.0), (8.0, 4.0), (4.0, 4.0), (4.0, 8.0), (0.0, 8.0))
SQUARE_ARRAY = MicrophoneArray(
    [[0.05, 0.05, 0.0], [0.05, -0.05, 0.0], [-0.05, 0.05, 0.0], [-0.05, -0.05, 0.0]],
    [CardioidFamily(DirectionVector(azimuth, 90), 0.5) for azimuth in (45, -45, 135, -135)],
)
MATERIALS = {"walls": "brickwork", "floor": "carpet_hairy", "ceiling": "gypsum_board"}

SETTINGS = {
    "defaults": {},
    # Ears
    "omnidirectional ears": {"ears": "omni"},
    "human ears": {"ears": "human"},
    "four cardioids": {"ears": SQUARE_ARRAY},
    # Rooms
    "2-D": {"room": (8.0, 8.0)},
    "polygon of five corners": {"room": Polygon(FIVE_CORNERS, height=3.0)},
    "polygon of five corners, 2-D": {"room": Polygon(FIVE_CORNERS)},
    "L-shape": {"room": Polygon(L_SHAPE, height=3.0)},
    "L-shape, 2-D": {"room": Polygon(L_SHAPE)},
    "random shoeboxes": {"room": RandomShoeBox()},
    "random L-shapes": {"room": RandomLShape()},
    "random polygons": {"room": RandomRoom()},
    # Walls and air
    "no reflections": {"max_order": 0},
    "order 8": {"max_order": 8},
    "order 15": {"max_order": 15},
    "materials": {"room": ShoeBox(materials=MATERIALS)},
    "materials, order 15": {"room": ShoeBox(materials=MATERIALS, max_order=15)},
    "air absorption": {"room": ShoeBox(air_absorption=True)},
    "materials and air absorption": {"room": ShoeBox(materials=MATERIALS, air_absorption=True)},
    # Sources
    "1 source": {"num_sources": 1},
    "4 sources": {"num_sources": 4},
    "1 moving source": {"num_sources": 1, "source_motion": Wander()},
    "2 moving sources": {"source_motion": Wander()},
    "2 moving sources in an L-shape": {
        "source_motion": Wander(),
        "room": Polygon(L_SHAPE, height=3.0),
    },
    "intermittent sources": {"source_activity": RandomRinging()},
    "1 source among 2 distractors": {"env_id": "AuralNav-Distractors-v0"},
    "1 source among 2 distractors, told by example": {"env_id": "AuralNav-Distractors-v0", "goal": "example"},
    # What else is heard and done
    "babble": {"background": 10.0},
    "babble from 64 directions": {"background": Babble(num_directions=64)},
    "microphone noise": {"noise_dbfs": -60.0},
    "16 kHz": {"sample_rate": 16_000},
    "source audio": {"source_audio": True},
    "continuous actions": {"actions": "continuous"},
}


@pytest.mark.benchmark(group="one step: settings")
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_settings(benchmark, settings: dict) -> None:
    benchmark(pace(make_env(**settings)))


@pytest.mark.benchmark(group="one reset: settings")
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_reset_with_settings(benchmark, settings: dict) -> None:
    benchmark(make_env(**settings).reset)
