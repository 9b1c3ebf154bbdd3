"""What pictures, recordings and videos cost, against a step that nobody watches.

    pytest tests/benchmarks/test_picture_speed.py --benchmark-enable

Within a group, the numbers in brackets are ratios to the fastest.
"""

from __future__ import annotations

from itertools import cycle
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from auralnav_gym import Action, Panels, Perception, Recorder, Recording
from auralnav_gym.videos import frames, write_video

pytest.importorskip("pygame")

# There and back, so that no source is found.
PACING = (Action.TURN_LEFT, Action.FORWARD, Action.BACKWARD, Action.TURN_RIGHT)
FPS = 10


class Dreamer:
    """Makes of every observation that there are two sources; costs nothing."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        sources = 0.1 * rng.standard_normal((2, 4000), dtype=np.float32)
        masks = rng.random((2, 129, 32), dtype=np.float32)
        cues, names = np.full((2, 4), 0.5, dtype=np.float32), ("sin_ipd", "cos_ipd", "ild", "log_volume")
        values = np.arange(4, dtype=np.float32)
        actions = ("forward", "backward", "turn right", "turn left")
        self._perception = Perception(sources, masks, cues, names, values, actions, "Q-value")

    def reset(self) -> None:
        pass

    def perceive(self, observation: object) -> Perception:
        return self._perception


def pace(env: gym.Env, renders: bool):
    env.reset(seed=0)
    actions = cycle(PACING)

    def step() -> None:
        env.step(next(actions))
        if renders:
            env.render()

    return step


def make_env(**settings) -> gym.Env:
    return gym.make("AuralNav-v0", max_episode_steps=10**9, **settings)


@pytest.mark.benchmark(group="a step")
@pytest.mark.parametrize("watched", ["not at all", "plan", "panels"])
def test_step(benchmark, watched: str) -> None:
    env = make_env(render_mode=None if watched == "not at all" else "rgb_array")
    if watched == "panels":
        env = Panels(env, Dreamer())
    benchmark(pace(env, renders=watched != "not at all"))
    env.close()


@pytest.mark.benchmark(group="an episode of 20 actions")
@pytest.mark.parametrize("recorded", [False, True], ids=["played", "recorded"])
def test_episode(benchmark, recorded: bool) -> None:
    env = make_env()
    if recorded:
        env = Recorder(env)
    step = pace(env, renders=False)

    def play() -> None:
        env.reset(seed=0)
        for _ in range(20):
            step()
        if recorded:
            assert len(env.recording) == 21

    benchmark(play)


@pytest.fixture(scope="module")
def recording() -> Recording:
    """Two seconds."""
    env = Recorder(make_env())
    env.reset(seed=0)
    for action in PACING[:3]:
        env.step(action)
    return env.recording


@pytest.mark.benchmark(group="two seconds of video")
@pytest.mark.parametrize("panels", [False, True], ids=["plan", "panels"])
def test_video(benchmark, recording: Recording, tmp_path: Path, panels: bool) -> None:
    pytest.importorskip("imageio_ffmpeg")
    sound, rate = recording.sound, recording.sample_rate
    path = tmp_path / "video.mp4"
    benchmark(lambda: write_video(path, frames(recording, FPS, panels), FPS, sound, rate))
    assert path.exists()
