"""Plans and agents after sources that move. The truth is an exhaustive search, and who can be where when."""

from __future__ import annotations

import math

import gymnasium as gym
import numpy as np
import pytest
from exhaustive import draw, exhaustive_search, found_on_the_way, touched_on_the_way
from silent_env import DEGREE, SilentEnv, make_scene, play

from auralnav_gym.agents import GreedyAgent, OracleAgent, RandomAgent
from auralnav_gym.motion import SourceMotion, Wander, Waypoints
from auralnav_gym.movement import Action, Body, Pose
from auralnav_gym.planning import NoPlanError, places_ahead, plan, plan_scene, shortest_and_fewest
from auralnav_gym.rooms import Polygon, Room, ShoeBox
from auralnav_gym.scoring import sna, spl

BOX = ShoeBox((8.0, 8.0))
L_ROOM = Polygon(((0.0, 0.0), (8.0, 0.0), (8.0, 4.0), (4.0, 4.0), (4.0, 8.0), (0.0, 8.0)))
SECONDS = 0.5

in_both_rooms = pytest.mark.parametrize("room", [BOX, L_ROOM], ids=["shoebox", "L"])


def wander(rng: np.random.Generator, room: Room, places: np.ndarray, speed: float) -> list[SourceMotion]:
    return [Wander(speed).sample(rng, room, place, 0.3) for place in places]


def tracks_of(motions: list[SourceMotion], count: int) -> np.ndarray:
    """(K, S, 2), metres, K = count + 1."""
    return np.stack([motion.positions(SECONDS * np.arange(count + 1)) for motion in motions], axis=1)


def straight(start: tuple[float, float], velocity: tuple[float, float], count: int) -> np.ndarray:
    """(K, 1, 2): on and on along a line, m/s."""
    return (np.array(start) + SECONDS * np.arange(count + 1)[:, None] * np.array(velocity))[:, None]


# ---- Plans -----------------------------------------------------------------------------------------------------------


def test_one_who_comes_is_met_half_way() -> None:
    """5 m ahead and 0.5 m nearer with every action, as is the agent: 5 - k <= 1."""
    assert plan(BOX, Body(), Pose(1.0, 4.0, 0.0), straight((6.0, 4.0), (-1.0, 0.0), 10)) == [Action.FORWARD] * 4


def test_one_who_runs_away_is_caught_up_with() -> None:
    """3 m ahead, 0.25 m farther with every action while the agent gains 0.5 m: 3 - k / 4 <= 1."""
    room = ShoeBox((20.0, 8.0))
    assert plan(room, Body(), Pose(1.0, 4.0, 0.0), straight((4.0, 4.0), (0.5, 0.0), 30)) == [Action.FORWARD] * 8


def test_one_who_runs_away_as_fast_is_not() -> None:
    room, pose = ShoeBox((60.0, 8.0)), Pose(1.0, 4.0, 0.0)
    with pytest.raises(NoPlanError, match=r"found no way from \(1.000, 4.000\) to all of \[\[3.5, 4.0\]\] with"):
        plan(room, Body(), pose, straight((3.5, 4.0), (1.0, 0.0), 20))


def test_plans_go_no_farther_than_it_is_known_where_targets_are() -> None:
    room, pose = ShoeBox((20.0, 8.0)), Pose(1.0, 4.0, 0.0)
    assert len(plan(room, Body(), pose, straight((4.0, 4.0), (0.5, 0.0), 8))) == 8
    with pytest.raises(NoPlanError):
        plan(room, Body(), pose, straight((4.0, 4.0), (0.5, 0.0), 7))


def test_waiting_can_be_right() -> None:
    """Turns of 180 degrees leave the agent on the line y = 4, and the target comes down along x = 4.8 at 1 m/s.

    Above the line by more than a capture radius until 2.5 s have passed, and 0.7 m after six actions.
    """
    targets = straight((4.8, 7.7), (0.0, -1.0), 10)
    body, pose = Body(turn_angle=math.pi), Pose(4.0, 4.0, 0.0)
    actions = plan(BOX, body, pose, targets)
    assert len(actions) == 6
    assert found_on_the_way(BOX, body, pose, targets, actions) == [True]


def test_a_target_is_waited_for_where_nobody_can_follow() -> None:
    """It walks through a wall into the room in which the agent is, beside which it is out of reach for 4 s."""
    parted = Polygon(((0.0, 0.0), (3.0, 0.0), (3.0, 2.6), (3.5, 2.6), (3.5, 0.0), (9.0, 0.0), (9.0, 3.0), (0.0, 3.0)))
    body = Body(radius=0.25)  # the gap above the wall is 0.4 m wide
    targets = straight((7.5, 1.0), (-0.5, 0.0), 40)
    pose = Pose(1.5, 1.0, math.pi / 2)
    actions = plan(parted, body, pose, targets)
    assert found_on_the_way(parted, body, pose, targets, actions) == [True]
    assert exhaustive_search(parted, body, pose, targets, limit=len(actions) - 1) is None
    # The agent comes as near as x = 2.75, the target within a metre of that after (7.5 - 3.75) / 0.25 actions.
    assert len(actions) == 15


@pytest.mark.parametrize("name", ["default", "small reach", "turns of 90"])
@pytest.mark.parametrize("speed", [0.3, 0.9, 2.0])
@pytest.mark.parametrize("num_targets", [1, 2])
@in_both_rooms
def test_no_plan_is_longer_than_an_exhaustive_search_finds(
    room: Room, num_targets: int, speed: float, name: str
) -> None:
    body = {
        "default": Body(),
        "small reach": Body(capture_radius=0.3),
        "turns of 90": Body(turn_angle=90 * DEGREE, capture_radius=0.5),
    }[name]
    rng, compared = np.random.default_rng(num_targets), 0
    for _ in range(200):
        pose, places = draw(rng, room, body, num_targets, farthest=body.capture_radius + 2.5)
        motions = wander(rng, room, places, speed)
        targets = tracks_of(motions, 100)
        actions = plan(room, body, pose, targets)
        assert all(found_on_the_way(room, body, pose, targets, actions))
        if len(actions) <= 9 - num_targets:
            assert exhaustive_search(room, body, pose, targets, limit=len(actions) - 1) is None
            compared += 1
        if compared == 2:
            break
    assert compared


@pytest.mark.parametrize("num_targets", [1, 3])
@pytest.mark.parametrize("speed", [0.3, 0.9])
@in_both_rooms
def test_plans_find_every_target(room: Room, speed: float, num_targets: int) -> None:
    rng = np.random.default_rng(round(10 * speed))
    for _ in range(5):
        pose, places = draw(rng, room, Body(), num_targets, farthest=20.0)
        targets = tracks_of(wander(rng, room, places, speed), 200)
        actions = plan(room, Body(), pose, targets)
        assert all(found_on_the_way(room, Body(), pose, targets, actions))
        assert len(actions) <= 15 * num_targets + 10


def test_more_targets_than_are_planned_for_at_once() -> None:
    rng, body = np.random.default_rng(0), Body(capture_radius=0.6)
    pose, places = draw(rng, BOX, body, 8, farthest=20.0)
    targets = tracks_of(wander(rng, BOX, places, 0.3), 200)
    actions = plan(BOX, body, pose, targets)
    assert all(found_on_the_way(BOX, body, pose, targets, actions))
    with pytest.raises(NoPlanError):
        plan(BOX, body, pose, targets[: len(actions) // 3])


def test_tracks_of_what_stands_still_give_the_plan_for_what_stands_still() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        pose, places = draw(rng, BOX, Body(capture_radius=0.5), 3, farthest=20.0)
        still = plan(BOX, Body(capture_radius=0.5), pose, places[:2], places[2:])
        tracks = np.repeat(places[None], 30, axis=0)
        assert plan(BOX, Body(capture_radius=0.5), pose, tracks[:, :2], tracks[:, 2:]) == still


@pytest.mark.parametrize("moves", ["distractor", "both"])
def test_plans_around_distractors_that_move(moves: str) -> None:
    """They walk about between the agent and the target, one of them still at times."""
    rng, body, compared = np.random.default_rng(3), Body(capture_radius=0.6), 0
    for _ in range(30):
        pose, places = draw(rng, BOX, body, 3, farthest=2.5)
        tracks = tracks_of(wander(rng, BOX, places, 0.5), 100)
        tracks[:, 1] = tracks[0, 1]
        targets = tracks[:, :1] if moves == "both" else tracks[0, :1]
        gaps = np.hypot(*(tracks[:10, :1] - tracks[:10, 1:]).transpose(2, 0, 1))
        if gaps.min() < 2 * body.capture_radius:
            continue  # the target may be where one must not go
        actions = plan(BOX, body, pose, targets, tracks[:, 1:])
        assert found_on_the_way(BOX, body, pose, targets, actions) == [True]
        assert not touched_on_the_way(BOX, body, pose, tracks[:, 1:], actions)
        if len(actions) <= 9:
            assert exhaustive_search(BOX, body, pose, targets, len(actions) - 1, tracks[:, 1:]) is None
            compared += 1
    assert compared >= 3


def test_one_may_wait_until_a_distractor_has_passed() -> None:
    """A corridor 2 m wide, which the distractor leaves by the far end; until then there is no way past it."""
    corridor, target = ShoeBox((12.0, 2.0)), np.array([(7.0, 1.0)])
    distractors = straight((5.0, 1.0), (0.5, 0.0), 12)
    distractors = np.concatenate([distractors, np.repeat(straight((11.5, 1.0), (0.0, 0.0), 0), 30, axis=0)])
    pose = Pose(2.0, 1.0, 0.0)
    actions = plan(corridor, Body(capture_radius=0.7), pose, target, distractors)
    assert found_on_the_way(corridor, Body(capture_radius=0.7), pose, target, actions) == [True]
    assert not touched_on_the_way(corridor, Body(capture_radius=0.7), pose, distractors, actions)
    limit = len(actions) - 1
    assert exhaustive_search(corridor, Body(capture_radius=0.7), pose, target, limit, distractors) is None


# ---- Scenes ----------------------------------------------------------------------------------------------------------


def test_places_ahead_are_where_sources_are_after_actions() -> None:
    path = Waypoints(((2.0, 6.0), (6.0, 6.0)), speed=0.8)
    scene = make_scene(BOX, Pose(1, 1, 0), [(2.0, 6.0), (6.0, 2.0)], motions=[path])
    ahead = places_ahead(scene, Body(), SECONDS, made=3)[:5]
    np.testing.assert_allclose(ahead[:, 0], [(2 + 0.4 * k, 6.0) for k in range(3, 8)])
    np.testing.assert_array_equal(ahead[:, 1], [(6.0, 2.0)] * 5)
    for k in range(5):
        np.testing.assert_allclose(ahead[k], scene.source_positions_at((3 + k) * SECONDS))
    # There and back along all walls takes 32 m / 0.5 m and 12 turns.
    assert len(places_ahead(scene, Body(), SECONDS)) > 2 * (64 + 12)
    still = make_scene(BOX, Pose(1, 1, 0), [(2.0, 6.0), (6.0, 2.0)])
    assert places_ahead(still, Body(), SECONDS).tolist() == [[[2.0, 6.0], [6.0, 2.0]]]


@pytest.mark.parametrize("speed", [0.3, 0.8])
@in_both_rooms
def test_scores_compare_with_the_oracle(room: Room, speed: float) -> None:
    rng = np.random.default_rng(0)
    for _ in range(4):
        pose, places = draw(rng, room, Body(), 2, farthest=20.0)
        scene = make_scene(room, pose, places.tolist(), motions=wander(rng, room, places, speed))
        env = SilentEnv(scene, Body(), seconds=SECONDS)
        actions = play(OracleAgent(), env)
        assert not env.on.any()
        assert actions == plan_scene(scene, Body(), SECONDS)
        length, fewest = shortest_and_fewest(scene, Body(), SECONDS, env.length, len(actions))
        assert (length, fewest) == (env.length, len(actions))
        # One who walked more in more actions, and one who did with less of either.
        length, fewest = shortest_and_fewest(scene, Body(), SECONDS, env.length + 3, len(actions) + 5)
        assert (length, fewest) == (pytest.approx(env.length), len(actions))
        length, fewest = shortest_and_fewest(scene, Body(), SECONDS, 0.1, len(actions) + 5)
        assert (length, fewest) == (0.1, len(actions))
        length, fewest = shortest_and_fewest(scene, Body(), SECONDS, 9.0, len(actions) - 1)
        assert length <= 9.0
        assert fewest == len(actions) - 1
        assert spl(True, length, 9.0) <= 1
        assert sna(True, fewest, len(actions) - 1) == 1


def test_moving_distractors_leave_the_shortest_tour_as_it_is() -> None:
    path = Waypoints(((5.0, 5.0), (6.0, 6.0)), speed=0.5)
    scene = make_scene(BOX, Pose(1, 1, 0), [(5.0, 1.0)], [(5.0, 5.0)], motions=[None, path])
    assert shortest_and_fewest(scene, Body(), SECONDS, 4.0, 9) == (3.0, 6)


# ---- Agents ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0.2, 0.5, 1.0])
def test_time_goes_by_the_seconds_of_an_action(seconds: float) -> None:
    """5 m ahead and coming at 1 m/s: 5 - (0.5 + seconds) k <= 1."""
    scene = make_scene(BOX, Pose(1, 4, 0), [(6.0, 4.0)], motions=[Waypoints(((6.0, 4.0), (0.5, 4.0)), speed=1.0)])
    env = SilentEnv(scene, Body(), seconds=seconds)
    for agent in (OracleAgent(), GreedyAgent()):
        assert play(agent, env) == [Action.FORWARD] * math.ceil(4 / (0.5 + seconds))


def test_the_oracle_that_joins_half_way_knows_what_time_it_is() -> None:
    scene = make_scene(BOX, Pose(1, 4, 0), [(6.0, 4.0)], motions=[Waypoints(((6.0, 4.0), (6.0, 7.5)), speed=1.0)])
    env = SilentEnv(scene, Body(turn_angle=90 * DEGREE), seconds=SECONDS)
    env.reset()
    for _ in range(4):
        env.step(Action.TURN_LEFT)
    agent = OracleAgent()
    agent.reset(env)
    targets = tracks_of([scene.sources[0].motion], 60)[4:]
    fewest = exhaustive_search(BOX, env.body, env.pose, targets, limit=14)
    count = 0
    while env.on.any():
        env.step(agent.act(0))
        count += 1
    assert count == fewest


def test_greedy_turns_after_a_target() -> None:
    """It crosses from 15 degrees to the right to more than that to the left."""
    path = Waypoints(((6.0, 2.5), (6.0, 7.5)), speed=1.0)
    env = SilentEnv(make_scene(BOX, Pose(1, 4, 0), [(6.0, 2.5)], motions=[path]), Body(), seconds=SECONDS)
    bearings, actions = [], play(GreedyAgent(), env)
    for made, pose in enumerate(env.path[:-1]):
        (target,) = tracks_of([path], 40)[made]
        bearing = math.atan2(target[1] - pose.y, target[0] - pose.x) - pose.heading
        bearings.append(math.degrees(bearing))
    wanted = [
        Action.FORWARD if abs(bearing) < 15 else Action.TURN_LEFT if bearing > 0 else Action.TURN_RIGHT
        for bearing in bearings
    ]
    assert actions == wanted
    assert {Action.FORWARD, Action.TURN_LEFT, Action.TURN_RIGHT} == set(actions)
    assert not env.on.any()


@in_both_rooms
def test_greedy_catches_most(room: Room) -> None:
    rng, failures = np.random.default_rng(1), 0
    for _ in range(20):
        pose, places = draw(rng, room, Body(), 2, farthest=20.0)
        scene = make_scene(room, pose, places.tolist(), motions=wander(rng, room, places, 0.3))
        env = SilentEnv(scene, Body(), seconds=SECONDS)
        actions = play(GreedyAgent(), env)
        failures += bool(env.on.any())
        assert len(actions) >= len(plan_scene(scene, Body(), SECONDS))
    assert failures <= 1


@pytest.mark.parametrize("room", [(8.0, 8.0), L_ROOM], ids=["shoebox", "L"])
@pytest.mark.parametrize("actions", ["discrete", "continuous"])
def test_in_auralnav(room: object, actions: str) -> None:
    """The oracle is what it is compared with; one who acts at random does worse, if it succeeds at all."""
    env = gym.make(
        "auralnav_gym:AuralNav-v0",
        room=room,
        actions=actions,
        source_motion=Wander(0.6),
        listen_seconds=0.1,
        max_order=0,
    )
    for seed in range(3):
        for agent in (OracleAgent(), GreedyAgent(), RandomAgent(seed)):
            observation, _ = env.reset(seed=seed)
            agent.reset(env)
            terminated = truncated = False
            while not (terminated or truncated):
                observation, _, terminated, truncated, info = env.step(agent.act(observation))
            assert 0 <= info["spl"] <= 1
            assert 0 <= info["sna"] <= 1
            if isinstance(agent, OracleAgent):
                assert (info["is_success"], info["spl"], info["sna"]) == (True, 1.0, 1.0)
    env.close()
