"""A stand-in for the world and a separator of a few weights, so that these tests need neither acoustics nor time."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces

from auralnav_sb3 import SeparatorConfig

# Networks as small as these are slower on several threads than on one, and far slower where cores are shared.
torch.set_num_threads(1)

NUM_SAMPLES = 800  # 0.1 s at 8 kHz


class TwoTonesEnv(gym.Env):
    """Two tones, panned and shaking, and some noise; every episode ends after three to six steps, half of them cut.

    With a goal, the agent is told one of three kinds, or hears an example of one of the tones, all through an episode.
    What pays are turns to the right, at a rate below 0 where actions are continuous.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 (gymnasium declares it so)
    sample_rate = 8000
    num_sources, num_distractors = 2, 0
    ears = SimpleNamespace(positions=np.array([[0.0, 0.085, 0.0], [0.0, -0.085, 0.0]]))

    def __init__(self, pose: bool = True, goal: str | None = None, continuous: bool = False) -> None:
        boxes: dict[str, spaces.Space[Any]] = {"audio": spaces.Box(-1.0, 1.0, (2, NUM_SAMPLES), np.float32)}
        if pose:
            boxes["agent"] = spaces.Box(-1.0, 1.0, (4,), np.float32)
        if goal == "class":
            boxes["goal"] = spaces.Box(0.0, 1.0, (3,), np.float32)
        elif goal == "example":
            boxes["example"] = spaces.Box(-1.0, 1.0, (NUM_SAMPLES,), np.float32)
        self.pose, self.goal = pose, goal
        self.told: dict[str, np.ndarray] = {}
        self.observation_space = spaces.Dict(boxes)
        drives = spaces.Box(-1.0, 1.0, (2,), np.float32)  # forward speed and turn rate
        self.action_space: spaces.Space[Any] = drives if continuous else spaces.Discrete(4)
        self.steps_left = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]:
        super().reset(seed=seed)
        self.steps_left = int(self.np_random.integers(3, 7))
        if self.goal == "class":
            self.told = {"goal": np.eye(3, dtype=np.float32)[self.np_random.integers(3)]}
        elif self.goal == "example":
            time, frequency = np.arange(NUM_SAMPLES) / self.sample_rate, self.np_random.choice([440.0, 1700.0])
            self.told = {"example": (0.3 * np.sin(2 * np.pi * frequency * time)).astype(np.float32)}
        return self._get_obs(), {}

    def step(self, action: Any) -> tuple[dict, float, bool, bool, dict]:
        self.steps_left -= 1
        ended = self.steps_left == 0
        terminated = ended and bool(self.np_random.integers(2))
        assert self.action_space.contains(action)
        to_the_right = action[1] < 0 if isinstance(self.action_space, spaces.Box) else action == 2
        return self._get_obs(), float(to_the_right), terminated, ended and not terminated, {}

    def _get_obs(self) -> dict[str, np.ndarray]:
        time = np.arange(NUM_SAMPLES) / self.sample_rate
        phases = self.np_random.uniform(0, 2 * np.pi, (2, 2, 1))  # source, ear
        gains = self.np_random.uniform(0.01, 0.2, (2, 2, 1))
        tones = gains * np.sin(2 * np.pi * np.array([440.0, 1700.0])[:, None, None] * time + phases)
        audio = tones.sum(axis=0) + 0.01 * self.np_random.standard_normal((2, NUM_SAMPLES))
        observation = {"audio": np.clip(audio, -1, 1).astype(np.float32), **self.told}
        if self.pose:
            observation["agent"] = self.np_random.uniform(-1, 1, 4).astype(np.float32)
        return observation


@pytest.fixture
def make_env() -> Callable[..., gym.Env]:
    return TwoTonesEnv


@pytest.fixture
def tiny() -> SeparatorConfig:
    return SeparatorConfig(n_filters=8, kernel_size=16, stride=8, bn_chan=8, hid_size=4, chunk_size=10, n_repeats=1)
