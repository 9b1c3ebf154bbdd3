"""How the agent moves: its actions, its body, and what a step does to its pose.

A heading is in radians, counter-clockwise from +x, so that turning left adds to it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from gymnasium import spaces

from auralnav_gym.checks import require_positive
from auralnav_gym.rooms import Room


class Action(IntEnum):
    """What the agent can do in one step."""

    FORWARD = 0  # one step along the heading
    BACKWARD = 1  # one step against the heading, without turning
    TURN_RIGHT = 2  # subtracts the turn angle from the heading
    TURN_LEFT = 3  # adds the turn angle to the heading


@dataclass(frozen=True)
class Pose:
    """Where the agent's centre is (x, y, metres) and where it looks (heading, radians, counter-clockwise from +x)."""

    x: float
    y: float
    heading: float

    @property
    def position(self) -> np.ndarray:
        """(2,) float64, metres."""
        return np.array([self.x, self.y])


@dataclass(frozen=True)
class Body:
    """How the agent moves and reaches.

    Attributes:
        step_size: Metres walked by one step.
        turn_angle: Radians turned by one turn.
        capture_radius: A source at most this far away (horizontally, metres) is found. At least half a step, or the
            agent could walk past a source in its way.
        radius: The clearance that the agent's centre keeps to every wall, metres.
    """

    step_size: float = 0.5
    turn_angle: float = math.radians(30)
    capture_radius: float = 1.0
    radius: float = 0.15

    def __post_init__(self) -> None:
        require_positive("step_size", self.step_size, "metres")
        if not (math.isfinite(self.turn_angle) and 0 < self.turn_angle <= math.pi):
            raise ValueError(f"turn_angle: expected an angle in (0, pi] radians, actual: {self.turn_angle}")
        require_positive("capture_radius", self.capture_radius, "metres")
        if self.capture_radius < self.step_size / 2:
            raise ValueError(
                f"capture_radius: expected at least half a step ({self.step_size / 2} m), "
                f"actual: {self.capture_radius} m. Otherwise the agent can walk past a source that lies in its way; "
                "enlarge capture_radius or shorten step_size."
            )
        if not (math.isfinite(self.radius) and self.radius >= 0):
            raise ValueError(f"radius: expected 0 or more metres, actual: {self.radius}")


class ActionScheme(ABC):
    """What the agent chooses from at every step.

    To bring one's own, fill in :attr:`space`, :meth:`parse` and :meth:`encode`.
    """

    @property
    @abstractmethod
    def space(self) -> spaces.Space[Any]:
        """The environment's action space."""

    @abstractmethod
    def parse(self, action: Any) -> tuple[float, float]:
        """What an action does, as shares of ``Body.step_size`` and ``Body.turn_angle``, each in [-1, 1].

        Returns:
            How far it walks, negative: backwards; and how far it turns, positive: to the left.

        Raises:
            ValueError: If ``action`` is not in :attr:`space`.
        """

    @abstractmethod
    def encode(self, action: Action) -> Any:
        """The element of :attr:`space` that does what one of the four discrete actions does."""

    @property
    def names(self) -> tuple[str, ...]:
        """A few letters for each of the actions to choose from, or for each number that an action consists of."""
        return ()

    def describe(self, action: Any) -> str:
        """An action in a few words, such as "0.50 forward, 0.20 left": shares of a whole step and of a whole turn."""
        forward, turn = self.parse(action)
        walks = f"{abs(forward):.2f} {'forward' if forward >= 0 else 'backward'}"
        return f"{walks}, {abs(turn):.2f} {'left' if turn >= 0 else 'right'}"


@dataclass(frozen=True)
class DiscreteActions(ActionScheme):
    """One of the four of :class:`Action` at a time: a whole step, or a whole turn."""

    @property
    def space(self) -> spaces.Discrete:
        """``Discrete(4)``."""
        return spaces.Discrete(len(Action))

    def parse(self, action: Any) -> tuple[float, float]:
        """See :class:`ActionScheme`."""
        if not _FOUR.contains(action):
            raise ValueError(
                f"action: expected a whole number from 0 to {len(Action) - 1} (see auralnav_gym.Action), "
                f"actual: {action!r}"
            )
        return _SHARES[Action(int(action))]

    def encode(self, action: Action) -> int:
        """The number of the action."""
        return int(action)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the four: "forward", "backward", "turn right", "turn left"."""
        return tuple(action.name.lower().replace("_", " ") for action in Action)

    def describe(self, action: Any) -> str:
        """The name of the action."""
        self.parse(action)
        return self.names[int(action)]


@dataclass(frozen=True)
class ContinuousActions(ActionScheme):
    """A forward speed and a turn rate, both at once: the agent walks an arc, as a two-wheeled robot does.

    ``Box(-1, 1, (2,), float32)``: metres walked in a step over ``step_size``, negative: backwards; and radians turned
    over ``turn_angle``, positive: to the left.
    """

    @property
    def space(self) -> spaces.Box:
        """``Box(-1, 1, (2,), float32)``."""
        return spaces.Box(-1.0, 1.0, (2,), np.float32)

    def parse(self, action: Any) -> tuple[float, float]:
        """See :class:`ActionScheme`."""
        numbers = np.asarray(action, dtype=np.float64)
        # Written so that NaN is refused.
        if numbers.shape != (2,) or not (np.abs(numbers) <= 1).all():
            raise ValueError(
                "action: expected two numbers in [-1, 1], forward speed and turn rate, "
                f"actual: {np.asarray(action).tolist()!r}"
            )
        return float(numbers[0]), float(numbers[1])

    def encode(self, action: Action) -> np.ndarray:
        """(2,) float32."""
        return np.array(_SHARES[action], dtype=np.float32)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the two numbers: "forward", "turn"."""
        return "forward", "turn"


ACTION_SCHEMES = {"discrete": DiscreteActions, "continuous": ContinuousActions}

# What each action does, as shares of a whole step and of a whole turn.
_SHARES = {
    Action.FORWARD: (1.0, 0.0),
    Action.BACKWARD: (-1.0, 0.0),
    Action.TURN_RIGHT: (0.0, -1.0),
    Action.TURN_LEFT: (0.0, 1.0),
}
_FOUR = spaces.Discrete(len(Action))


def as_action_scheme(actions: ActionScheme | str) -> ActionScheme:
    """What the environment's ``actions=`` accepts: an :class:`ActionScheme`, ``"discrete"`` or ``"continuous"``.

    Raises:
        ValueError: If ``actions`` is neither.
    """
    if isinstance(actions, ActionScheme):
        return actions
    if not isinstance(actions, str) or actions not in ACTION_SCHEMES:
        raise ValueError(
            f"actions: expected an ActionScheme object or one of {sorted(ACTION_SCHEMES)}, actual: {actions!r}"
        )
    return ACTION_SCHEMES[actions]()


def move(pose: Pose, action: int, room: Room, body: Body) -> Pose:
    """The pose after one of the four actions; see :func:`walk`.

    Args:
        pose: Where the agent is.
        action: An :class:`Action`.
        room: The room.
        body: Its step, turn and clearance.

    Returns:
        The new pose; its heading is in [-pi, pi).

    Raises:
        ValueError: If ``action`` is none.
    """
    if action not in _SHARES:
        raise ValueError(f"action: expected one of {list(map(int, Action))}, actual: {action!r}")
    return walk(pose, *_SHARES[Action(action)], room, body)


def walk(pose: Pose, forward: float, turn: float, room: Room, body: Body) -> Pose:
    """The pose after walking and turning, both at a constant rate, and so along an arc of a circle.

    The agent turns by the half, walks the chord of the arc and turns by the other half, which ends where the arc does.
    Walls block: it goes as far along the chord as it can while its centre keeps ``body.radius`` to every wall.

    Args:
        pose: Where the agent is.
        forward: Length of the arc over ``body.step_size``, negative: backwards.
        turn: The turn over ``body.turn_angle``, positive: to the left.
        room: The room.
        body: Its step, turn and clearance.

    Returns:
        The new pose; its heading is in [-pi, pi) if it has turned.
    """
    x, y, heading = pose.x, pose.y, pose.heading
    if forward:
        length = chord(forward, turn, body)
        course = heading + turn * body.turn_angle / 2
        step_x, step_y = length * math.cos(course), length * math.sin(course)
        share = room.free_share(x, y, step_x, step_y, body.radius)
        x, y = x + share * step_x, y + share * step_y
    if turn:
        heading = (heading + turn * body.turn_angle + math.pi) % (2 * math.pi) - math.pi
        if heading >= math.pi:  # what is less than a rounding below 0 is a whole turn to Python's modulo
            heading -= 2 * math.pi
    return Pose(x, y, heading)


def chord(forward: float, turn: float, body: Body) -> float:
    """Metres from one end to the other of the arc that :func:`walk` walks where no wall is in the way.

    2 r sin(angle / 2) with the radius r = length / angle; negative: backwards.
    """
    length, half = forward * body.step_size, turn * body.turn_angle / 2
    return length * math.sin(half) / half if half else length
