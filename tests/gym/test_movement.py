"""Actions of all kinds, against the kinematics of a two-wheeled robot."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env

from auralnav_gym import (
    Action,
    ActionScheme,
    Body,
    ContinuousActions,
    DiscreteActions,
    Pose,
    Scene,
    ShoeBox,
    Sound,
    SoundBank,
    Source,
    SyntheticSounds,
)
from auralnav_gym.movement import as_action_scheme, move, walk

HALL = ShoeBox((1000.0, 1000.0, 3.0))
BODY = Body(step_size=0.5, turn_angle=math.radians(30))


@pytest.fixture(scope="module")
def bank() -> SoundBank:
    return SyntheticSounds(per_kind=1, seconds=1.0)


def integrated(pose: Pose, length: float, turn: float, pieces: int = 20_000) -> tuple[float, float, float]:
    """x' = v cos(theta), y' = v sin(theta), theta' = omega, in small straight pieces (midpoint rule)."""
    headings = pose.heading + turn * (np.arange(pieces) + 0.5) / pieces
    x = pose.x + length / pieces * np.cos(headings).sum()
    y = pose.y + length / pieces * np.sin(headings).sum()
    return x, y, pose.heading + turn


@pytest.mark.parametrize("forward", [1.0, 0.3, -0.7, 0.0])
@pytest.mark.parametrize("turn", [1.0, -0.4, 1e-9, 0.0])
def test_an_arc_is_that_of_a_two_wheeled_robot(forward: float, turn: float) -> None:
    body = Body(step_size=0.8, turn_angle=math.radians(170))
    pose = Pose(500.0, 500.0, 2.9)
    after = walk(pose, forward, turn, HALL, body)
    x, y, heading = integrated(pose, 0.8 * forward, turn * math.radians(170))
    assert (after.x, after.y) == pytest.approx((x, y), abs=1e-8)
    assert math.remainder(after.heading - heading, 2 * math.pi) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("action", list(Action))
@pytest.mark.parametrize("scheme", [DiscreteActions(), ContinuousActions()], ids=["discrete", "continuous"])
def test_all_schemes_can_do_what_the_four_actions_do(scheme: ActionScheme, action: Action) -> None:
    encoded = scheme.encode(action)
    assert scheme.space.contains(encoded)
    pose = Pose(500.0, 500.0, 0.7)
    assert walk(pose, *scheme.parse(encoded), HALL, BODY) == move(pose, action, HALL, BODY)


def test_the_four_actions_in_figures() -> None:
    pose = Pose(500.0, 500.0, math.pi / 2)
    expected = {
        Action.FORWARD: (500.0, 500.5, 90.0),
        Action.BACKWARD: (500.0, 499.5, 90.0),
        Action.TURN_RIGHT: (500.0, 500.0, 60.0),
        Action.TURN_LEFT: (500.0, 500.0, 120.0),
    }
    for action, (x, y, degrees) in expected.items():
        after = move(pose, action, HALL, BODY)
        assert (after.x, after.y, math.degrees(after.heading)) == pytest.approx((x, y, degrees))


def test_a_wall_cuts_an_arc_short_and_not_the_turn() -> None:
    room = ShoeBox((10.0, 10.0, 3.0))
    after = walk(Pose(9.7, 5.0, -math.radians(15)), 1.0, 1.0, room, BODY)  # the chord leads straight at the wall
    assert (after.x, after.y) == pytest.approx((10.0 - BODY.radius, 5.0))
    assert math.degrees(after.heading) == pytest.approx(15.0)


@pytest.mark.parametrize("action", [[1.1, 0.0], [0.0, -1.0001], [0.5], [[0.0, 0.0]], [math.nan, 0.0], 1])
def test_continuous_actions_outside_the_space_are_refused(action: Any) -> None:
    with pytest.raises(ValueError, match=r"action: expected two numbers in \[-1, 1\], forward speed and turn rate"):
        ContinuousActions().parse(action)


def test_names_of_schemes() -> None:
    assert as_action_scheme("discrete") == DiscreteActions()
    assert as_action_scheme("continuous") == ContinuousActions()
    with pytest.raises(ValueError, match=r"actions: expected an ActionScheme object or one of \['continuous', "):
        as_action_scheme("analogue")


def one_source(pose: Pose, place: tuple[float, float]) -> Scene:
    noise = Sound("noise", "noise", (0.05 * np.random.default_rng(0).standard_normal(4000)).astype(np.float32))
    return Scene(ShoeBox((8.0, 8.0, 3.0)), (Source((*place, 1.5), noise),), pose)


def test_the_environment_with_continuous_actions(bank: SoundBank) -> None:
    env = gym.make("AuralNav-v0", actions="continuous", sounds=bank, motion=True, rewards={"turn": -0.5})
    check_env(env.unwrapped, skip_render_check=True)
    env.reset(options={"scene": one_source(Pose(2.0, 2.0, 0.0), (6.0, 6.0))})
    observation, _, _, _, info = env.step(np.array([0.5, -0.5], dtype=np.float32))
    assert env.unwrapped.pose.heading == pytest.approx(-math.radians(15))
    assert info["path_length"] == pytest.approx(0.25 * math.sin(math.radians(7.5)) / math.radians(7.5))
    assert info["rewards"]["turn"] == pytest.approx(-0.25)
    assert not info["collision"]
    # Half a turn to the right; along the new heading the chord is a little shorter.
    assert observation["agent"][4:] == pytest.approx([0.5 * np.cos(np.radians(7.5)), -0.5], abs=2e-3)


def test_an_arc_into_a_wall_is_a_collision(bank: SoundBank) -> None:
    env = gym.make("AuralNav-v0", actions="continuous", sounds=bank)
    env.reset(options={"scene": one_source(Pose(7.7, 4.0, 0.0), (2.0, 6.0))})
    assert env.step(np.array([1.0, 0.2], dtype=np.float32))[4]["collision"]
    assert not env.step(np.array([0.0, 1.0], dtype=np.float32))[4]["collision"]


class Sideways(ActionScheme):
    """A user's own: the agent can go on or swerve."""

    @property
    def space(self) -> spaces.Discrete:
        return spaces.Discrete(3)

    def parse(self, action: Any) -> tuple[float, float]:
        return (1.0, float(action) - 1.0)

    def encode(self, action: Action) -> int:
        return {Action.TURN_RIGHT: 0, Action.TURN_LEFT: 2}.get(action, 1)


def test_a_scheme_of_ones_own(bank: SoundBank) -> None:
    env = gym.make("AuralNav-v0", actions=Sideways(), sounds=bank)
    env.reset(options={"scene": one_source(Pose(2.0, 4.0, 0.0), (6.0, 6.0))})
    assert env.action_space == spaces.Discrete(3)
    env.step(2)
    assert env.unwrapped.pose.heading == pytest.approx(math.radians(30))


def test_a_heading_that_rounds_to_half_a_turn_is_the_other_half() -> None:
    """Just above pi, left and right again: the modulo of a tiny negative number rounds to 2 pi."""
    pose = Pose(500.0, 500.0, 3.1415926535897927)
    for action in (Action.TURN_LEFT, Action.TURN_RIGHT):
        pose = move(pose, action, HALL, BODY)
    assert -math.pi <= pose.heading < math.pi
    assert math.remainder(pose.heading - math.pi, 2 * math.pi) == pytest.approx(0.0, abs=1e-12)


def test_the_words_for_an_action_say_what_it_does() -> None:
    """In each scheme: forward and backward along the heading, left counter-clockwise."""
    start = Pose(500.0, 500.0, 0.0)
    discrete = DiscreteActions()
    for number, name in enumerate(discrete.names):
        after = walk(start, *discrete.parse(number), HALL, BODY)
        assert discrete.describe(number) == name
        seen = {
            "forward": after.x > start.x,
            "backward": after.x < start.x,
            "turn left": after.heading > 0,
            "turn right": after.heading < 0,
        }
        assert [word for word, is_so in seen.items() if is_so] == [name]
    assert ContinuousActions().names == ("forward", "turn")
    assert ContinuousActions().describe(np.array([-0.5, 0.25])) == "0.50 backward, 0.25 left"
    assert ContinuousActions().describe(np.array([1.0, -0.25])) == "1.00 forward, 0.25 right"


def test_actions_of_ones_own_are_put_into_words() -> None:
    assert Sideways().names == ()
    assert Sideways().describe(0) == "1.00 forward, 1.00 right"


@pytest.mark.parametrize("scheme", [DiscreteActions(), ContinuousActions()], ids=["discrete", "continuous"])
def test_there_are_no_words_for_what_is_no_action(scheme: ActionScheme) -> None:
    with pytest.raises(ValueError, match=r"^action: expected"):
        scheme.describe(7)
