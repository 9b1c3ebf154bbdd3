"""The rules of movement and finding without sound, for tests of those who know the scene."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from auralnav_gym.agents import Agent
from auralnav_gym.motion import SourceMotion
from auralnav_gym.movement import ActionScheme, Body, DiscreteActions, Pose, walk
from auralnav_gym.rooms import Room
from auralnav_gym.scene import Scene, Source
from auralnav_gym.sounds import Sound

SOUND = Sound("tone-00", "tone", np.ones(8, dtype=np.float32))
DEGREE = math.pi / 180


def make_scene(
    room: Room,
    pose: Pose,
    places: Sequence[Sequence[float]],
    distractors: Sequence[Sequence[float]] = (),
    motions: Sequence[SourceMotion | None] = (),
) -> Scene:
    """Targets at places (x, y[, z]), then distractors; the first of them move as said."""
    sources = [
        Source(tuple(place), SOUND, is_target=index < len(places), motion=motion)
        for index, (place, motion) in enumerate(zip_longest([*places, *distractors], motions))
    ]
    return Scene(room, tuple(sources), pose, ear_height=None if room.dim == 2 else 1.5)


class SilentEnv(gym.Env[int, Any]):
    """After the k-th action sources are where they are k times ``seconds`` after the start."""

    observation_space = spaces.Discrete(1)  # type: ignore[assignment]

    def __init__(
        self,
        scene: Scene,
        body: Body,
        actions: ActionScheme = DiscreteActions(),  # noqa: B008 (frozen)
        seconds: float = 0.5,
    ) -> None:
        self.scene, self.body, self.actions = scene, body, actions
        self.action_space = actions.space
        self.seconds_per_action = seconds

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        super().reset(seed=seed)
        self.pose, self.on = self.scene.pose, np.ones(len(self.scene.sources), dtype=bool)
        self.path = [self.pose]
        self.source_positions = self.scene.source_positions
        self.touched, self.length = False, 0.0
        return 0, {}

    def step(self, action: Any) -> tuple[int, float, bool, bool, dict[str, Any]]:
        before = self.pose
        self.pose = walk(before, *self.actions.parse(action), self.scene.room, self.body)
        self.path.append(self.pose)
        self.length += math.hypot(self.pose.x - before.x, self.pose.y - before.y)
        self.source_positions = self.scene.source_positions_at((len(self.path) - 1) * self.seconds_per_action)
        gaps = self.source_positions[:, :2] - self.pose.position
        within, is_target = np.hypot(*gaps.T) <= self.body.capture_radius, self.scene.is_target
        self.on &= ~(within & is_target)
        self.touched |= bool((within & ~is_target).any())
        return 0, 0.0, not (self.on & is_target).any(), False, {}


def play(agent: Agent, env: gym.Env, limit: int = 200) -> list[Any]:
    """The actions of an episode, ``limit`` at most."""
    observation, _ = env.reset(seed=0)
    agent.reset(env)
    actions: list[Any] = []
    terminated = False
    while not terminated and len(actions) < limit:
        actions.append(agent.act(observation))
        observation, _, terminated, *_ = env.step(actions[-1])
    return actions
