"""Agents without learning: one that acts at random, one that is greedy and an oracle, which know the scene."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from auralnav_gym.movement import Action, Pose, move
from auralnav_gym.planning import NoPlanError, places_ahead, plan


@runtime_checkable
class Agent(Protocol):
    """Anything that plays episodes: ``reset`` after every reset of the environment, then ``act`` for every step."""

    def reset(self, env: gym.Env) -> None:
        """Begin an episode.

        Args:
            env: The environment, just reset; wrappers are allowed.
        """
        ...

    def act(self, observation: Any) -> Any:
        """The next action, an element of the environment's action space.

        Args:
            observation: What the environment gave last.
        """
        ...


def act_to_the_end(env: gym.Env, agent: Agent | Callable[[Any], Any], observation: Any) -> None:
    """Have an agent play an episode that has just begun.

    Args:
        env: The environment, just reset; with a time limit, as those of ``gym.make`` have.
        agent: An :class:`Agent`, or a function from an observation to an action.
        observation: What the reset gave.
    """
    if isinstance(agent, Agent):
        agent.reset(env)
    act = agent.act if isinstance(agent, Agent) else agent
    ended = False
    while not ended:
        observation, _, terminated, truncated, _ = env.step(act(observation))
        ended = terminated or truncated


class RandomAgent:
    """Acts uniformly at random.

    Args:
        seed: Of the agent's own generator, which runs on from episode to episode.
    """

    def __init__(self, seed: int = 0) -> None:
        self._rng = np.random.default_rng(seed)

    def reset(self, env: gym.Env) -> None:
        """Take over the environment's actions.

        Raises:
            TypeError: If they are neither a ``Discrete`` nor a bounded ``Box``.
        """
        self._actions = env.action_space
        is_bounded = isinstance(self._actions, spaces.Box) and self._actions.is_bounded()
        if not (is_bounded or isinstance(self._actions, spaces.Discrete)):
            raise TypeError(f"env: expected a Discrete or a bounded Box as action space, actual: {self._actions}")

    def act(self, observation: Any) -> Any:
        """A random action: an int, or an array of the box's shape and dtype."""
        if isinstance(self._actions, spaces.Box):
            drawn = self._rng.uniform(self._actions.low, self._actions.high)
            return np.asarray(drawn, dtype=self._actions.dtype)
        assert isinstance(self._actions, spaces.Discrete)
        return int(self._actions.start + self._rng.integers(self._actions.n))


class _Knowing:
    """An agent that knows the scene and chooses one of the four actions, whatever the environment takes for them."""

    def reset(self, env: gym.Env) -> None:
        """Take over the environment, an :class:`auralnav_gym.AuralNavEnv` or a wrapper around one."""
        self._env: Any = env.unwrapped

    def act(self, observation: Any) -> Any:
        """The next action; the observation is not looked at."""
        return self._env.actions.encode(self._choose())

    def _choose(self) -> Action:
        raise NotImplementedError


class GreedyAgent(_Knowing):
    """Knows where everything is, turns to the nearest target and walks straight at it; then to the next.

    It plans nothing: what a listener would do who heard perfectly where each source is. Of what keeps an agent from the
    shortest path, it shows the part that is not for hearing: steps and turns have a size, and the nearest target first
    is not always the best order. After a target that moves it walks to where that is now. A wall that its steps lead
    into can hold it up for good.

    It takes no step that ends in a distractor's disc, but the direction nearest to its target's in which a step does
    not. That leads around a single disc; several with no gap between them, or one at a wall, can hold it up for good.

    In a room that is not convex the nearest target is that to which the way is shortest, and it walks straight at the
    first corner of that way. There it takes no step either that a wall would cut short.
    """

    def _choose(self) -> Action:
        """Turn towards the nearest target that sounds, or walk."""
        env = self._env
        x, y = self._next_place() - env.pose.position
        left = math.remainder(math.atan2(y, x) - env.pose.heading, 2 * math.pi)
        if not env.scene.is_target.all() or not env.scene.room.is_convex:
            left = self._where_free(left)
        # One turn more would lead no nearer to its direction. Headings add up with rounding: a little more than half.
        if abs(left) <= env.body.turn_angle / 2 + 1e-6:
            return Action.FORWARD
        return Action.TURN_LEFT if left > 0 else Action.TURN_RIGHT

    def _next_place(self) -> np.ndarray:
        """The nearest target that sounds, or the first corner of the way to it, (2,) float64, metres."""
        env, room = self._env, self._env.scene.room
        targets = env.source_positions[env.on & env.scene.is_target, :2]
        here = env.pose.position
        target = targets[np.argmin(room.walking_distances(here, targets))]
        *corners, last = room.shortest_path(here, target, env.body.radius)[1:]
        # It is past a corner to which a step would lead no nearer.
        ahead = (corner for corner in corners if np.hypot(*(corner - here)) > env.body.step_size / 2)
        return np.asarray(next(ahead, last))

    def _where_free(self, left: float) -> float:
        """The turn, of those that the agent can make, that is nearest to ``left`` and after which a step is free.

        Half a turn to the left if there is none. Radians, counter-clockwise.
        """
        env, room, body, pose = self._env, self._env.scene.room, self._env.body, self._env.pose
        reach = body.capture_radius
        distractors = env.source_positions[~env.scene.is_target, :2]
        distractors = distractors[np.hypot(*(distractors - pose.position).T) > reach]
        most = int(math.pi / body.turn_angle + 1e-9)
        free = []
        for turn in (number * body.turn_angle for number in range(-most, most + 1)):
            after = move(Pose(pose.x, pose.y, pose.heading + turn), Action.FORWARD, room, body)
            touches = (np.hypot(*(distractors - after.position).T) <= reach).any()
            is_cut_short = math.hypot(after.x - pose.x, after.y - pose.y) < body.step_size * (1 - 1e-9)
            if not touches and (room.is_convex or not is_cut_short):
                free.append(turn)
        # Of two that are as near, the smaller one: headings add up with rounding.
        return min(
            free,
            key=lambda turn: (round(abs(math.remainder(left - turn, 2 * math.pi)), 6), abs(turn)),
            default=math.pi,
        )


class OracleAgent(_Knowing):
    """Knows where everything is and will be, and finds all targets with the fewest actions that there is a plan for.

    See :func:`auralnav_gym.planning.plan`. It touches no distractor. Where there is no plan for all targets, as when
    distractors leave no way, it finds those that it can, one by one, and then turns on the spot.
    """

    def reset(self, env: gym.Env) -> None:
        """Take over the environment, an :class:`auralnav_gym.AuralNavEnv` or a wrapper around one."""
        super().reset(env)
        self._plan: list[Action] | None = []

    def _choose(self) -> Action:
        """The next action of the plan."""
        if self._plan == []:
            self._plan = self._make_plan()
        return self._plan.pop(0) if self._plan else Action.TURN_LEFT

    def _make_plan(self) -> list[Action] | None:
        env = self._env
        ahead = places_ahead(env.scene, env.body, env.seconds_per_action, made=len(env.path) - 1)
        targets, distractors = ahead[:, env.on & env.scene.is_target], ahead[:, ~env.scene.is_target]
        count = targets.shape[1]
        for some in (np.arange(count), *np.arange(count)[:, None]) if count > 1 else (np.arange(count),):
            try:
                return plan(env.scene.room, env.body, env.pose, targets[:, some], distractors)
            except NoPlanError:
                continue
        return None
