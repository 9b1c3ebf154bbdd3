"""How the agent moves: its actions, its body, and what a step does to its pose.

A heading is in radians, counter-clockwise from +x, so that turning left adds to it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from auralnav_gym.checks import require_positive
from auralnav_gym.rooms import Room

# A step that comes nearer to a wall by less than this share of its length is taken along the wall, not blocked by it.
PARALLEL = 1e-12


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


def move(pose: Pose, action: int, room: Room, body: Body) -> Pose:
    """The pose after an action.

    Walls block: the agent goes as far as it can while its centre keeps ``body.radius`` to every wall.

    Args:
        pose: Where the agent is.
        action: An :class:`Action`.
        room: The (convex) room.
        body: Its step, turn and clearance.

    Returns:
        The new pose; its heading is in [-pi, pi).

    Raises:
        ValueError: If ``action`` is none.
    """
    if action in (Action.TURN_LEFT, Action.TURN_RIGHT):
        turn = body.turn_angle if action == Action.TURN_LEFT else -body.turn_angle
        return Pose(pose.x, pose.y, (pose.heading + turn + math.pi) % (2 * math.pi) - math.pi)
    if action not in (Action.FORWARD, Action.BACKWARD):
        raise ValueError(f"action: expected one of {list(map(int, Action))}, actual: {action!r}")
    length = body.step_size if action == Action.FORWARD else -body.step_size
    step_x, step_y = length * math.cos(pose.heading), length * math.sin(pose.heading)
    share = 1.0
    for normal_x, normal_y, offset in room.walls:
        approach = -(normal_x * step_x + normal_y * step_y)
        if approach > PARALLEL * body.step_size:
            room_left = normal_x * pose.x + normal_y * pose.y - offset - body.radius
            share = min(share, max(room_left, 0.0) / approach)
    return Pose(pose.x + share * step_x, pose.y + share * step_y, pose.heading)
