"""Plans and agents in rooms with corners around which ways lead. The truth is an exhaustive search, and geometry."""

from __future__ import annotations

import math

import gymnasium as gym
import numpy as np
import pytest
from exhaustive import draw, exhaustive_search, found_on_the_way, touched_on_the_way
from silent_env import DEGREE, SilentEnv, make_scene, play

from auralnav_gym.agents import GreedyAgent, OracleAgent
from auralnav_gym.movement import Action, Body, Pose
from auralnav_gym.planning import NoPlanError, plan, shortest_and_fewest
from auralnav_gym.rooms import Polygon
from auralnav_gym.scoring import sna, spl
from auralnav_gym.tours import shortest_tour

L_ROOM = Polygon(((0.0, 0.0), (8.0, 0.0), (8.0, 4.0), (4.0, 4.0), (4.0, 8.0), (0.0, 8.0)))
U_ROOM = Polygon(((0.0, 0.0), (9.0, 0.0), (9.0, 7.0), (6.0, 7.0), (6.0, 3.0), (3.0, 3.0), (3.0, 7.0), (0.0, 7.0)))
T_ROOM = Polygon(((0.0, 4.0), (3.0, 4.0), (3.5, 0.0), (6.0, 0.0), (6.0, 4.0), (9.0, 4.5), (9.0, 7.0), (0.0, 7.0)))
# A partition 0.2 m thick from the wall at y = 4 down to y = 1.
PARTED = Polygon(((0.0, 0.0), (6.0, 0.0), (6.0, 4.0), (3.1, 4.0), (3.1, 1.0), (2.9, 1.0), (2.9, 4.0), (0.0, 4.0)))
ROOMS = {"L": L_ROOM, "U": U_ROOM, "T": T_ROOM, "parted": PARTED}

BODIES = {
    "default": Body(),
    "small reach": Body(capture_radius=0.25),
    "turns of 45": Body(turn_angle=45 * DEGREE, capture_radius=0.5),
    "turns of 100, stout": Body(turn_angle=100 * DEGREE, capture_radius=0.5, radius=0.3),
    "a point": Body(capture_radius=0.4, radius=0.0),
}

every_room = pytest.mark.parametrize("room", ROOMS.values(), ids=ROOMS)


def draw_around_corner(
    rng: np.random.Generator, room: Polygon, body: Body, num_targets: int, within: float
) -> tuple[Pose, np.ndarray]:
    """A pose and targets (S, 2) near a corner that turns inwards, the first of which is out of sight."""
    while True:
        corner = room.reflex_corners[rng.integers(len(room.reflex_corners))]
        here, *targets = corner + rng.uniform(-within, within, size=(1 + num_targets, 2))
        targets = np.array(targets)
        if (
            room.contains(here, body.radius)
            and room.contains(targets, body.radius).all()
            and (np.hypot(*(targets - here).T) > body.capture_radius).all()
            and not room.sees(here[None], targets[:1])[0]
        ):
            x, y = here.tolist()
            return Pose(x, y, float(rng.uniform(-math.pi, math.pi))), targets


@pytest.mark.parametrize("num_targets", [1, 2])
@pytest.mark.parametrize("name", BODIES)
@every_room
def test_no_plan_is_longer_than_an_exhaustive_search_finds(room: Polygon, name: str, num_targets: int) -> None:
    body, compared = BODIES[name], 0
    rng = np.random.default_rng(num_targets)
    for _ in range(200):
        pose, targets = draw_around_corner(rng, room, body, num_targets, within=0.9 + body.capture_radius / 2)
        actions = plan(room, body, pose, targets)
        assert all(found_on_the_way(room, body, pose, targets, actions))
        if len(actions) <= 9 - num_targets:
            assert exhaustive_search(room, body, pose, targets, limit=len(actions) - 1) is None
            compared += 1
        if compared == 2:
            break
    assert compared


@every_room
def test_plans_across_a_room_have_fewest_actions(room: Polygon) -> None:
    rng = np.random.default_rng(0)
    for _ in range(2):
        pose, targets = draw_around_corner(rng, room, Body(), 1, within=2.5)
        actions = plan(room, Body(), pose, targets)
        assert exhaustive_search(room, Body(), pose, targets, limit=len(actions) - 1) is None


@pytest.mark.parametrize("num_targets", [1, 2, 4])
@pytest.mark.parametrize("name", BODIES)
@every_room
def test_the_oracle_finds_everything_and_walks_no_less_than_the_shortest_tour(
    room: Polygon, name: str, num_targets: int
) -> None:
    body = BODIES[name]
    rng = np.random.default_rng(num_targets)
    for _ in range(3):
        pose, targets = draw(rng, room, body, num_targets, farthest=20.0)
        scene = make_scene(room, pose, targets.tolist())
        env = SilentEnv(scene, body)
        actions = play(OracleAgent(), env)
        assert not env.on.any()
        assert all(found_on_the_way(room, body, pose, targets, [Action(action) for action in actions]))
        shortest, fewest = shortest_and_fewest(scene, body, 0.5, env.length, len(actions))
        assert fewest == len(actions)
        assert shortest == shortest_tour(pose.position, targets, body.capture_radius, room)
        assert shortest <= env.length + 1e-3
        # A rule of thumb: not once around the room.
        assert env.length <= 2 * shortest + 4.0
        assert sna(True, fewest, len(actions)) == 1
        assert 0 < spl(True, shortest, env.length) <= 1


def test_plans_lead_along_both_sides_of_a_corner() -> None:
    """From beside one wall to beside the next: around the corner of the L at its very edge, three turns of 30 degrees.

    The agent stands as near to the wall as it can, with the corner 0.6 m ahead, and looks along the wall.
    """
    body = Body(capture_radius=0.3)
    pose, target = Pose(3.85, 4.6, -math.pi / 2), np.array([(6.0, 3.85)])
    actions = plan(L_ROOM, body, pose, target)
    assert found_on_the_way(L_ROOM, body, pose, target, actions) == [True]
    assert exhaustive_search(L_ROOM, body, pose, target, limit=len(actions) - 1) is None
    # Straight down and straight on: 0.75 m to below the corner, 2.15 m on and no less than 60 degrees in between.
    assert len(actions) <= 2 + 5 + 3


@pytest.mark.parametrize("name", ["default", "turns of 45"])
@every_room
def test_plans_around_corners_touch_no_distractor(room: Polygon, name: str) -> None:
    body, compared = Body(turn_angle=BODIES[name].turn_angle, capture_radius=0.5), 0
    rng = np.random.default_rng(0)
    while compared < 6:
        pose, places = draw(rng, room, body, 4, farthest=20.0)
        gaps = np.hypot(*(places[:, None] - places).transpose(2, 0, 1))[~np.eye(4, dtype=bool)]
        if (gaps < 2.5 * body.capture_radius).any():
            continue
        compared += 1
        targets, distractors = places[:2], places[2:]
        try:
            actions = plan(room, body, pose, targets, distractors)
        except NoPlanError:  # the way under the partition is narrow
            assert room is PARTED
            continue
        assert all(found_on_the_way(room, body, pose, targets, actions))
        assert not touched_on_the_way(room, body, pose, distractors, actions)


def test_a_distractor_in_the_passage_leaves_no_way() -> None:
    target, distractor = np.array([(5.5, 3.5)]), np.array([(3.0, 0.5)])
    with pytest.raises(NoPlanError, match="found no way"):
        plan(PARTED, Body(), Pose(1.0, 3.0, 0.0), target, distractor)
    # The disc of one that is smaller leaves a gap below it.
    assert plan(PARTED, Body(capture_radius=0.3), Pose(1.0, 3.0, 0.0), target, np.array([(3.0, 0.95)]))


def test_a_passage_that_is_too_narrow_leaves_no_way() -> None:
    """It is 1 m wide."""
    target, pose = np.array([(5.0, 2.0)]), Pose(1.0, 2.0, 0.0)
    assert plan(PARTED, Body(radius=0.48), pose, target)
    with pytest.raises(NoPlanError, match="found no way"):
        plan(PARTED, Body(radius=0.54), pose, target)


def test_a_target_is_found_through_a_partition() -> None:
    """From 0.15 m on this side of the wall to 0.55 m on the other."""
    assert plan(PARTED, Body(), Pose(2.0, 3.0, 0.0), np.array([(3.65, 3.0)])) == [Action.FORWARD] * 2


def test_more_targets_than_are_planned_for_at_once() -> None:
    pose, targets = draw(np.random.default_rng(0), L_ROOM, Body(), 8, farthest=20.0)
    actions = plan(L_ROOM, Body(), pose, targets)
    assert all(found_on_the_way(L_ROOM, Body(), pose, targets, actions))
    assert len(actions) <= 60


# ---- The greedy agent ------------------------------------------------------------------------------------------------


def test_greedy_walks_towards_the_corner_that_is_in_the_way() -> None:
    """From (1.5, 6) the target in the other arm of the U lies due east, the corner at (3, 3) at -63 degrees."""
    for bearing, expected in ((-63, Action.FORWARD), (0, Action.TURN_RIGHT), (-120, Action.TURN_LEFT)):
        env = SilentEnv(make_scene(U_ROOM, Pose(1.5, 6.0, bearing * DEGREE), [(7.5, 6.0)]), Body())
        assert play(GreedyAgent(), env, limit=1) == [expected]


def test_greedy_goes_first_where_the_way_is_shortest() -> None:
    """As the crow flies the one across the gap is nearer: 4.0 m against 4.7 m."""
    env = SilentEnv(make_scene(U_ROOM, Pose(2.5, 6.0, -math.pi / 2), [(6.5, 6.0), (1.5, 1.4)]), Body())
    play(GreedyAgent(), env, limit=16)
    assert env.on.tolist() == [True, False]


@pytest.mark.parametrize("name", ["default", "turns of 45", "turns of 100, stout"])
def test_greedy_finds_most_around_corners(name: str) -> None:
    rng, body = np.random.default_rng(1), BODIES[name]
    failures = 0
    for index in range(40):
        room = list(ROOMS.values())[index % 4]
        pose, targets = draw_around_corner(rng, room, body, 2, within=4.0)
        env = SilentEnv(make_scene(room, pose, targets.tolist()), body)
        actions = play(GreedyAgent(), env)
        failures += bool(env.on.any())
        fewest = len(plan(room, body, pose, targets))
        assert len(actions) >= fewest
    assert failures <= 2


def test_greedy_around_corners_touches_no_distractor() -> None:
    rng, body = np.random.default_rng(1), Body(capture_radius=0.5)
    found = 0
    for index in range(24):
        room = [L_ROOM, U_ROOM, T_ROOM][index % 3]
        pose, places = draw_around_corner(rng, room, body, 2, within=4.0)
        env = SilentEnv(make_scene(room, pose, places[:1].tolist(), places[1:].tolist()), body)
        play(GreedyAgent(), env)
        assert not env.touched
        found += not env.on[0]
    assert found >= 20


# ---- In the environment ----------------------------------------------------------------------------------------------


def test_the_oracle_in_auralnav_has_an_sna_of_one() -> None:
    env = gym.make("auralnav_gym:AuralNav-v0", room=L_ROOM, listen_seconds=0.02, max_order=0)
    agent = OracleAgent()
    for seed in range(4):
        observation, _ = env.reset(seed=seed)
        agent.reset(env)
        terminated = truncated = False
        while not (terminated or truncated):
            observation, _, terminated, truncated, info = env.step(agent.act(observation))
        assert info["is_success"]
        assert info["sna"] == 1
        assert 0.5 < info["spl"] <= 1
    env.close()
