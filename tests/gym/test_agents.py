"""The agents without learning. The truth about fewest actions is an exhaustive search, written from the rules."""

from __future__ import annotations

import math

import gymnasium as gym
import numpy as np
import pytest
from exhaustive import draw, exhaustive_search, found_on_the_way, touched_on_the_way
from gymnasium import spaces
from silent_env import DEGREE, SilentEnv, make_scene, play

from auralnav_gym import planning
from auralnav_gym.agents import Agent, GreedyAgent, OracleAgent, RandomAgent
from auralnav_gym.movement import Action, Body, ContinuousActions, Pose, move
from auralnav_gym.planning import NoPlanError, plan, plan_scene, shortest_and_fewest
from auralnav_gym.rooms import Polygon, Room, ShoeBox
from auralnav_gym.tours import shortest_tour

TRIANGLE = Polygon(((0.0, 0.0), (7.0, 0.0), (1.0, 6.0)))
PENTAGON = Polygon(((1.0, 0.0), (6.0, 0.5), (7.5, 4.0), (4.0, 7.0), (0.0, 4.5)))


# ---- plan ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pose", "target", "expected"),
    [
        (Pose(2, 2, 0), (5, 2), [Action.FORWARD] * 4),  # ends on the very rim
        (Pose(6, 2, 0), (3, 2), [Action.BACKWARD] * 4),
        (Pose(2, 2, 0), (5, 2.9), [Action.FORWARD] * 6),  # in passing: sqrt(1 - 0.81) = 0.44 m before 5 m, 0.06 m late
        (Pose(4, 4, math.pi / 2), (4, 7), [Action.FORWARD] * 4),
    ],
    ids=["ahead", "behind", "in passing", "up"],
)
def test_straight_plans(pose: Pose, target: tuple[float, float], expected: list[Action]) -> None:
    assert plan(ShoeBox((8.0, 8.0)), Body(), pose, np.array([target])) == expected


@pytest.mark.parametrize("side", [1, -1], ids=["left", "right"])
def test_a_target_abeam_takes_three_turns_and_the_steps(side: int) -> None:
    """With two turns of 30 degrees the agent would pass it at 3 m x sin 30 = 1.5 m."""
    actions = plan(ShoeBox((8.0, 8.0)), Body(), Pose(4, 4, 0), np.array([(4, 4 + 3 * side)]))
    assert len(actions) == 3 + 4
    turns = [action for action in actions if action in (Action.TURN_LEFT, Action.TURN_RIGHT)]
    ahead, behind = (Action.TURN_LEFT, Action.TURN_RIGHT) if side > 0 else (Action.TURN_RIGHT, Action.TURN_LEFT)
    assert turns == [ahead if Action.FORWARD in actions else behind] * 3


def test_the_nearest_target_is_not_always_first() -> None:
    """All on a line: 5 steps to the one behind and 19 on to the last ahead, or 14 to that one and 19 back."""
    targets = np.array([(1.5, 4.0), (7.5, 4.0), (13.0, 4.0)])
    actions = plan(ShoeBox((16.0, 8.0)), Body(), Pose(5, 4, 0), targets)
    assert actions == [Action.BACKWARD] * 5 + [Action.FORWARD] * 19


BODIES = {
    "default": Body(),
    "small reach": Body(capture_radius=0.25),
    "turns of 90": Body(turn_angle=90 * DEGREE, capture_radius=0.5),
    "turns of 45": Body(turn_angle=45 * DEGREE, capture_radius=0.5),
    "turns of 100": Body(turn_angle=100 * DEGREE, capture_radius=0.5),
    "turns of 7": Body(turn_angle=7 * DEGREE, capture_radius=0.7),
    "long steps": Body(step_size=1.0, capture_radius=0.5),
    "turns of 170": Body(turn_angle=170 * DEGREE, capture_radius=0.25),
    "turns of 180": Body(turn_angle=180 * DEGREE),
}


@pytest.mark.parametrize("room", [ShoeBox((6.0, 5.0)), TRIANGLE, PENTAGON], ids=["shoebox", "triangle", "pentagon"])
@pytest.mark.parametrize("num_targets", [1, 2])
@pytest.mark.parametrize("name", BODIES)
def test_no_plan_is_longer_than_an_exhaustive_search_finds(name: str, num_targets: int, room: Room) -> None:
    body, compared = BODIES[name], 0
    rng = np.random.default_rng(num_targets)
    while compared < 4:
        pose, targets = draw(rng, room, body, num_targets, farthest=body.capture_radius + 3 * body.step_size)
        fewest = exhaustive_search(room, body, pose, targets, limit=8)
        if fewest is not None:
            compared += 1
            actions = plan(room, body, pose, targets)
            assert len(actions) == fewest
            assert all(found_on_the_way(room, body, pose, targets, actions))


@pytest.mark.parametrize(
    ("body", "num_targets"),
    [
        (Body(), 1),
        (Body(), 2),
        (Body(turn_angle=15 * DEGREE), 1),
        (Body(turn_angle=170 * DEGREE, capture_radius=0.5), 1),
        (Body(capture_radius=0.25), 1),
    ],
    ids=["default", "default, two targets", "turns of 15", "turns of 170", "small reach"],
)
def test_plans_across_a_room_have_fewest_actions(body: Body, num_targets: int) -> None:
    rng = np.random.default_rng(0)
    for _ in range(8):
        pose, targets = draw(rng, ShoeBox((8.0, 8.0)), body, num_targets, farthest=20.0)
        actions = plan(ShoeBox((8.0, 8.0)), body, pose, targets)
        assert exhaustive_search(ShoeBox((8.0, 8.0)), body, pose, targets, limit=len(actions) - 1) is None


def test_walls_may_shorten_steps_and_plans_count_on_it() -> None:
    """Turns of 90 degrees and steps of 0.5 m leave a lattice around the start; only a wall leads off it."""
    room, body = ShoeBox((3.1, 3.1)), Body(turn_angle=90 * DEGREE, capture_radius=0.25)
    pose, target = Pose(1.15, 1.15, 0.0), np.array([(1.9, 1.9)])  # sqrt(2) x 0.25 m from the nearest point of it
    actions = plan(room, body, pose, target)
    assert len(actions) == exhaustive_search(room, body, pose, target, limit=20)
    assert found_on_the_way(room, body, pose, target, actions) == [True]
    collided = False
    for action in actions:
        after = move(pose, action, room, body)
        walked = math.hypot(after.x - pose.x, after.y - pose.y)
        collided |= action in (Action.FORWARD, Action.BACKWARD) and walked < 0.499
        pose = after
    assert collided


@pytest.mark.parametrize("room", [ShoeBox((8.0, 5.0)), TRIANGLE, PENTAGON], ids=["shoebox", "triangle", "pentagon"])
def test_plans_run_along_walls(room: Room) -> None:
    """From a step off one corner of where the agent can stand, with the wall on its right, towards the next corner."""
    body = Body(radius=0.2, capture_radius=0.25)
    corners = room.corners
    for index in range(len(corners)):
        (ax, ay, _), along = room.walls[index], corners[(index + 1) % len(corners)] - corners[index]
        along /= math.hypot(*along)
        x, y = corners[index] + 1.5 * along + body.radius * np.array([ax, ay])
        target = np.array([x, y]) + 2.1 * along
        actions = plan(room, body, Pose(float(x), float(y), math.atan2(along[1], along[0])), target[None])
        assert actions == [Action.FORWARD] * 4


@pytest.mark.parametrize(
    ("pose", "target"),
    [
        (Pose(2.9, 5.2, -2.5), (3.1943006811947505, 2.717383012011658)),
        (Pose(4.4, 3.6, -0.8), (6.80510938682867, 2.917761890987743)),
        (Pose(5.8, 5.4, 1.5707963267948966), (4.067949192431124, 6.400000000000003)),
        (Pose(5.7, 2.0, 2.3), (3.8002708671017813, 2.6253232936791844)),
    ],
)
def test_plans_end_well_where_rounding_decides(pose: Pose, target: tuple[float, float]) -> None:
    """The shortest way ends a capture radius from the target to the last bit, which bit depends on the arithmetic."""
    actions = plan(ShoeBox((8.0, 8.0)), Body(), pose, np.array([target]))
    assert found_on_the_way(ShoeBox((8.0, 8.0)), Body(), pose, np.array([target]), actions) == [True]


def test_a_way_that_looks_wrong_at_first() -> None:
    """Both targets are in reach from spots of 1 cm at a wall, and turns of 90 degrees keep the agent on few lines."""
    room, pose = (
        ShoeBox((7.578536473585265, 4.633843734933908)),
        Pose(5.038213825526298, 0.35580304865235923, -1.40289246),
    )
    body = Body(turn_angle=90 * DEGREE, capture_radius=0.25, radius=0.3)
    targets = np.array([(3.569406712513258, 4.5837605977835185), (5.4625167554193155, 4.5838426328445925)])
    assert all(found_on_the_way(room, body, pose, targets, plan(room, body, pose, targets)))


def test_the_last_resort_is_a_search_through_every_pose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "_BEAM_WIDTH_PER_TARGET", 1)
    monkeypatch.setattr(planning, "_WIDER_BEAMS", (math.inf,))
    room, body = ShoeBox((3.1, 3.1)), Body(turn_angle=90 * DEGREE, capture_radius=0.25)
    pose, target = Pose(1.15, 1.15, 0.0), np.array([(1.9, 1.9)])
    assert len(plan(room, body, pose, target)) == exhaustive_search(room, body, pose, target, limit=20)


@pytest.mark.parametrize("num_targets", [1, 3])
@pytest.mark.parametrize("turn", [1.0, 7.0, 30.0, 37.3, 60.0, 90.0, 100.0, 120.0, 144.0, 179.0])
@pytest.mark.parametrize("room", [ShoeBox((8.0, 5.0)), TRIANGLE, PENTAGON], ids=["shoebox", "triangle", "pentagon"])
def test_plans_find_every_target_even_in_a_corner(room: Room, turn: float, num_targets: int) -> None:
    rng = np.random.default_rng(round(turn))
    for body in (Body(turn_angle=turn * DEGREE), Body(turn_angle=turn * DEGREE, capture_radius=0.26, radius=0.2)):
        pose, targets = draw(rng, room, body, num_targets, farthest=20.0)
        walls = np.array(room.walls)[[-1, 0]]  # those that meet in the first corner
        spot = np.linalg.solve(walls[:, :2], walls[:, 2] + body.radius)  # as near to it as the agent comes
        away = room.corners[0] - spot
        targets[0] = spot + away * min(0.95, 0.97 * body.capture_radius / math.hypot(*away))
        actions = plan(room, body, pose, targets)
        assert all(found_on_the_way(room, body, pose, targets, actions))


@pytest.mark.parametrize("num_targets", [7, 10])
def test_many_targets(num_targets: int) -> None:
    room, body = ShoeBox((12.0, 10.0)), Body()
    pose, targets = draw(np.random.default_rng(0), room, body, num_targets, farthest=20.0)
    actions = plan(room, body, pose, targets)
    assert all(found_on_the_way(room, body, pose, targets, actions))
    assert len(actions) <= 10 * num_targets


def draw_between(
    rng: np.random.Generator, room: Room, body: Body, count: int, farthest: float, spacing: float
) -> tuple[Pose, np.ndarray, np.ndarray]:
    """A pose, a target (1, 2) and distractors (D, 2) about half-way to it, as far apart as said."""
    while True:
        pose, targets = draw(rng, room, body, 1, farthest)
        distractors = (pose.position + targets[0]) / 2 + rng.normal(0, 0.3 * body.capture_radius, (count, 2))
        distractors += body.capture_radius * np.arange(count)[:, None] * rng.normal(0, 1, 2)
        places = np.vstack([targets, distractors])
        gaps = np.hypot(*(places[:, None] - places).transpose(2, 0, 1))[~np.eye(len(places), dtype=bool)]
        if (
            (gaps >= spacing).all()
            and room.contains(distractors).all()
            and (np.hypot(*(distractors - pose.position).T) > body.capture_radius).all()
        ):
            return pose, targets, distractors


@pytest.mark.parametrize("room", [ShoeBox((8.0, 8.0)), TRIANGLE, PENTAGON], ids=["shoebox", "triangle", "pentagon"])
@pytest.mark.parametrize("num_distractors", [1, 2])
@pytest.mark.parametrize("name", ["default", "small reach", "turns of 45"])
def test_plans_around_distractors_have_fewest_actions(name: str, num_distractors: int, room: Room) -> None:
    """Discs apart, as scenes are drawn; the plan that leaves them out would lead through one."""
    body, compared = BODIES[name], 0
    rng = np.random.default_rng(num_distractors)
    while compared < 4:
        farthest = body.capture_radius + 4 * body.step_size
        spacing = 2 * body.capture_radius
        pose, targets, distractors = draw_between(
            rng, room, body, num_distractors, max(farthest, 2.2 * spacing), spacing
        )
        if not touched_on_the_way(room, body, pose, distractors, plan(room, body, pose, targets)):
            continue
        actions = plan(room, body, pose, targets, distractors)
        assert found_on_the_way(room, body, pose, targets, actions) == [True]
        assert not touched_on_the_way(room, body, pose, distractors, actions)
        assert exhaustive_search(room, body, pose, targets, len(actions) - 1, distractors) is None
        compared += 1


@pytest.mark.parametrize("turn", [7.0, 30.0, 45.0, 100.0, 170.0])
@pytest.mark.parametrize("room", [ShoeBox((8.0, 5.0)), PENTAGON], ids=["shoebox", "pentagon"])
def test_plans_touch_no_distractor_wherever_they_are(room: Room, turn: float) -> None:
    """Three in a heap, over each other and over the targets; few leave no way."""
    rng = np.random.default_rng(round(turn))
    without_way = 0
    for _ in range(8):
        body = Body(turn_angle=turn * DEGREE, capture_radius=0.6)
        pose, targets, distractors = draw_between(rng, room, body, 3, 20.0, 0.3)
        try:
            actions = plan(room, body, pose, targets, distractors)
        except NoPlanError:
            without_way += 1
            continue
        assert found_on_the_way(room, body, pose, targets, actions) == [True]
        assert not touched_on_the_way(room, body, pose, distractors, actions)
        # Around a heap, not about the room.
        assert len(actions) <= 3 * len(plan(room, body, pose, targets)) + 2 * math.ceil(180 / turn)
    assert without_way <= 2


def test_a_step_may_lead_over_the_rim_of_a_distractors_disc() -> None:
    """Rules look at the ends of actions: 0.9 m off its middle, a chord of 0.87 m is too long for one step of 0.5 m,
    and 0.98 m off, one of 0.4 m is not."""
    room, body, pose = ShoeBox((12.0, 8.0)), Body(), Pose(2.0, 4.0, 0.0)
    target = np.array([(9.0, 4.0)])
    straight = [Action.FORWARD] * 12
    # The agent stands at x = 5.0 and 5.5: the chord from 5.05 to 5.45 lies between.
    assert plan(room, body, pose, target, np.array([(5.25, 4.98)])) == straight
    assert plan(room, body, pose, target, np.array([(5.25, 4.9)])) != straight


def test_a_gap_that_is_hard_to_hit_does_not_lead_astray() -> None:
    """Two discs nearly at one height and a lens of 0.3 m between them, which one step of 0.5 m can cross; the beam of
    the search gathers before it, and found the way only after 831 actions."""
    room, body = ShoeBox((8.0, 8.0)), Body(capture_radius=0.5)
    pose, target = Pose(3.4408999889569154, 1.032441414418245, 1.605542363667392), np.array([(6.7879229, 0.26335467)])
    distractors = np.array([(5.43812742, 0.50812137), (5.62084406, 1.43725306)])
    actions = plan(room, body, pose, target, distractors)
    assert not touched_on_the_way(room, body, pose, distractors, actions)
    assert exhaustive_search(room, body, pose, target, len(actions) - 1, distractors) is None


CORRIDOR = ShoeBox((7.0, 2.0))  # a disc of 1 m in its middle leaves no way past it


def test_distractors_that_leave_no_way() -> None:
    target, distractor = np.array([(6.0, 1.0)]), np.array([(3.5, 1.0)])
    with pytest.raises(NoPlanError, match=r"to all of \[\[6.0, 1.0\]\], past distractors at \[\[3.5, 1.0\]\], with"):
        plan(CORRIDOR, Body(), Pose(1.5, 1.0, 0.0), target, distractor)
    assert plan(CORRIDOR, Body(), Pose(1.5, 1.0, 0.0), target) == [Action.FORWARD] * 7


def test_who_stands_in_a_distractors_disc_may_walk_out_of_it() -> None:
    target, distractor = np.array([(6.0, 1.0)]), np.array([(3.5, 1.0)])
    assert plan(CORRIDOR, Body(), Pose(3.0, 1.0, 0.0), target, distractor) == [Action.FORWARD] * 4


def test_no_targets_no_actions() -> None:
    assert plan(ShoeBox((8.0, 8.0)), Body(), Pose(4, 4, 0), np.empty((0, 2))) == []


def test_a_target_that_is_out_of_reach_everywhere() -> None:
    """At the corner of a shoebox the agent comes within sqrt(2) times its clearance."""
    room, body = ShoeBox((4.0, 4.0)), Body(capture_radius=0.4, radius=0.3)
    with pytest.raises(NoPlanError) as caught:
        plan(room, body, Pose(2, 2, 0), np.array([(2.0, 3.0), (0.0, 0.0)]))
    assert str(caught.value) == (
        "targets: expected places within 0.4 m of one where the agent can stand, "
        "actual: [0.0, 0.0], which is 0.424 m from the nearest"
    )


def test_a_target_to_which_no_turn_leads() -> None:
    """Turns of 180 degrees leave the agent on one line."""
    room, body = ShoeBox((8.0, 8.0)), Body(turn_angle=math.pi)
    assert plan(room, body, Pose(4, 4, 0), np.array([(7.0, 4.5)])) != []
    with pytest.raises(
        NoPlanError, match=r"found no way from \(4.000, 4.000\) to all of \[\[4.0, 7.0\]\] with steps of"
    ):
        plan(room, body, Pose(4, 4, 0), np.array([(4.0, 7.0)]))


@pytest.mark.parametrize(
    "targets",
    [np.zeros(2), np.zeros((2, 3)), np.array([(1.0, math.nan)]), np.zeros((0, 1, 2)), np.zeros((1, 1, 1, 2))],
    ids=["one dimension", "three coordinates", "nan", "at no time", "four dimensions"],
)
def test_bad_targets(targets: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"^targets: expected \(S, 2\) or \(K, S, 2\) finite numbers, actual: "):
        plan(ShoeBox((8.0, 8.0)), Body(), Pose(4, 4, 0), targets)
    with pytest.raises(ValueError, match=r"^distractors: expected \(S, 2\) or \(K, S, 2\) finite numbers, actual: "):
        plan(ShoeBox((8.0, 8.0)), Body(), Pose(4, 4, 0), np.zeros((1, 2)), targets)


# ---- Agents in an environment ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("agent", [RandomAgent(), GreedyAgent(), OracleAgent()], ids=lambda agent: type(agent).__name__)
def test_agents_are_agents(agent: object) -> None:
    assert isinstance(agent, Agent)


def test_greedy_turns_to_the_nearest_and_walks_to_it_and_then_to_the_other() -> None:
    """The bearings, in degrees, at each action, worked out by hand: walk where they are within 15, half a turn.

    To the nearer source -50 -20 10 12 15.2 -14.8 -20 10, then found; to the other 100 70 40 10 11 14 18 -12 -17 13.
    """
    scene = make_scene(ShoeBox((12.0, 8.0)), Pose(4, 4, math.radians(50)), [(5.97, 7.15), (6.9, 4.0)])
    env = SilentEnv(scene, Body())
    assert "".join("FBRL"[action] for action in play(GreedyAgent(), env)) == "RRFFLFRF" + "LLLFFFLFRF"
    assert not env.on.any()


def test_greedy_walks_around_a_distractor() -> None:
    """Straight ahead it would end 0.9 m from the distractor; 30 degrees to the right is the nearest way that does not.

    Then, from (4.43, 3.75), the target lies 4.4 degrees to the left, where a step ends at (4.93, 3.75), 1.15 m away.
    """
    scene = make_scene(ShoeBox((12.0, 8.0)), Pose(4, 4, 0), [(7.7, 4.0)], [(4.95, 4.9)])
    env = SilentEnv(scene, Body())
    assert 0.9 < math.dist((4.5, 4.0), (4.95, 4.9)) > 1.0  # the first step is free ...
    assert math.dist((5.0, 4.0), (4.95, 4.9)) < 1.0  # ... the second is not
    actions = play(GreedyAgent(), env)
    assert "".join("FBRL"[action] for action in actions[:4]) == "FRFL"
    assert not env.on[0]
    assert not env.touched


def test_greedy_touches_no_distractor_and_gets_past_one_that_stands_alone() -> None:
    rng = np.random.default_rng(0)
    room = Polygon(((-20.0, -20.0), (30.0, -20.0), (30.0, 30.0), (-20.0, 30.0)))  # walls are far away
    for _ in range(40):
        pose, targets, distractors = draw_between(rng, room, Body(), 1, 7.0, 2.0)
        env = SilentEnv(make_scene(room, pose, targets.tolist(), distractors.tolist()), Body())
        play(GreedyAgent(), env)
        assert not env.touched
        assert not env.on[0]


def test_greedy_that_is_shut_in_turns_on_the_spot() -> None:
    """With turns of 180 degrees there is one direction more, and a distractor in either."""
    scene = make_scene(ShoeBox((8.0, 8.0)), Pose(4, 4, 0), [(7.7, 4.0)], [(5.2, 4.0), (2.8, 4.0)])
    env = SilentEnv(scene, Body(turn_angle=math.pi))
    assert set(play(GreedyAgent(), env, limit=5)) == {Action.TURN_LEFT}


def test_oracle_follows_its_plan_through_wrappers() -> None:
    scene = make_scene(ShoeBox((8.0, 8.0, 3.0)), Pose(4, 4, 0), [(1.0, 1.0, 1.5), (7.0, 6.0, 1.5)])
    env = gym.wrappers.TimeLimit(SilentEnv(scene, Body()), 200)
    actions = play(OracleAgent(), env)
    assert not env.unwrapped.on.any()  # type: ignore[attr-defined]
    assert actions == plan(scene.room, Body(), scene.pose, scene.source_positions[:, :2])
    assert all(type(action) is int for action in actions)


def test_oracle_plans_anew_for_what_still_sounds() -> None:
    """Something else may have moved the agent or switched a source off, or the agent joins half-way."""
    scene = make_scene(ShoeBox((8.0, 8.0)), Pose(4, 4, 0), [(1.0, 4.0), (7.0, 4.0)])
    env = SilentEnv(scene, Body())
    env.reset()
    for _ in range(4):
        env.step(Action.BACKWARD)
    agent = OracleAgent()
    agent.reset(env)
    assert [agent.act(0) for _ in range(3)] == [Action.FORWARD] * 3
    assert env.on.tolist() == [False, True]


def test_oracle_finds_what_it_can_and_then_turns_on_the_spot() -> None:
    scene = make_scene(ShoeBox((8.0, 8.0)), Pose(4, 4, 0), [(4.0, 7.0), (7.0, 4.0)])
    env = SilentEnv(scene, Body(turn_angle=math.pi))
    actions = play(OracleAgent(), env, limit=8)
    assert env.on.tolist() == [True, False]
    assert actions == [Action.FORWARD] * 4 + [Action.TURN_LEFT] * 4


def test_oracle_walks_around_distractors_and_waits_where_there_is_no_way() -> None:
    open_room = make_scene(ShoeBox((8.0, 8.0)), Pose(1, 4, 0), [(7.0, 4.0), (2.5, 7.0)], [(4.0, 4.0), (4.0, 1.5)])
    env = SilentEnv(open_room, Body())
    actions = play(OracleAgent(), env)
    assert env.on.tolist() == [False, False, True, True]
    assert not env.touched
    assert len(actions) == len(plan_scene(open_room, Body(), 0.5))

    blocked = make_scene(CORRIDOR, Pose(1.5, 1.0, 0.0), [(6.0, 1.0), (0.2, 1.0)], [(3.5, 1.0)])
    env = SilentEnv(blocked, Body())
    assert play(OracleAgent(), env, limit=6) == [Action.BACKWARD] + [Action.TURN_LEFT] * 5
    assert env.on.tolist() == [True, False, True]
    assert not env.touched
    with pytest.raises(NoPlanError):
        plan_scene(blocked, Body(), 0.5)
    assert shortest_and_fewest(blocked, Body(), 0.5, 6.0, 12)[1] == 12  # of an agent that went through


def test_oracle_begins_every_episode_afresh() -> None:
    first = SilentEnv(make_scene(ShoeBox((8.0, 8.0)), Pose(2, 2, 0), [(6.0, 6.0)]), Body())
    second = SilentEnv(make_scene(TRIANGLE, Pose(2, 2, 1), [(5.0, 1.0)]), Body())
    agent = OracleAgent()
    play(agent, first, limit=2)  # given up half-way
    assert play(agent, second) == play(OracleAgent(), second)
    assert not second.on.any()


def test_what_is_compared_with_is_the_oracles_episode_and_the_shortest_tour() -> None:
    scene = make_scene(PENTAGON, Pose(3, 3, 1), [(6.0, 4.0), (2.0, 5.5), (4.5, 1.0)])
    env = SilentEnv(scene, Body())
    fewest = len(play(OracleAgent(), env))
    length = shortest_tour(scene.pose.position, scene.source_positions, 1.0)
    assert shortest_and_fewest(scene, Body(), 0.5, 20.0, fewest + 1) == (length, fewest)
    assert shortest_and_fewest(scene, Body(), 0.5, 0.1, fewest) == (length, fewest)
    assert shortest_and_fewest(scene, Body(), 0.5, 20.0, fewest - 1) == (length, fewest - 1)


def test_what_is_compared_with_where_there_is_no_plan() -> None:
    scene, body = make_scene(ShoeBox((8.0, 8.0)), Pose(4, 4, 0), [(4.0, 7.0)]), Body(turn_angle=math.pi)
    assert shortest_and_fewest(scene, body, 0.5, 9.0, 17) == (2.0, 17)
    with pytest.raises(NoPlanError):
        plan_scene(scene, body, 0.5)


@pytest.mark.parametrize(
    "room",
    [(8.0, 8.0, 3.0), [(0.0, 0.0), (7.0, 0.0), (1.0, 6.0)]],
    ids=["shoebox", "triangle"],
)
def test_oracle_in_auralnav_has_an_sna_of_one(room: object) -> None:
    env = gym.make("auralnav_gym:AuralNav-v0", room=room, listen_seconds=0.02, capture_radius=0.5)
    agent = OracleAgent()
    for seed in range(3):
        observation, _ = env.reset(seed=seed)
        agent.reset(env)
        terminated = truncated = False
        while not (terminated or truncated):
            observation, _, terminated, truncated, info = env.step(agent.act(observation))
        assert info["is_success"]
        assert info["sna"] == 1
        assert 0.5 < info["spl"] <= 1
    env.close()


def test_random_agent_is_uniform() -> None:
    agent = RandomAgent(seed=1)
    agent.reset(SilentEnv(make_scene(TRIANGLE, Pose(2, 2, 0), [(5.0, 1.0)]), Body()))
    counts = np.bincount([agent.act(0) for _ in range(4000)], minlength=4)
    assert counts.sum() == 4000
    assert len(counts) == 4
    chi_square = float(((counts - 1000) ** 2 / 1000).sum())
    assert chi_square < 16.27  # 99.9 % quantile for three degrees of freedom


def test_random_agent_repeats_itself_by_seed_alone() -> None:
    env = SilentEnv(make_scene(TRIANGLE, Pose(2, 2, 0), [(5.0, 1.0)]), Body())
    env.action_space.seed(0)
    first = play(RandomAgent(seed=5), env, limit=30)
    assert play(RandomAgent(seed=5), env, limit=30) == first
    assert play(RandomAgent(seed=6), env, limit=30) != first
    agent = RandomAgent(seed=5)
    assert play(agent, env, limit=30) != play(agent, env, limit=30)  # runs on from episode to episode
    untouched = spaces.Discrete(4, seed=0)
    assert [env.action_space.sample() for _ in range(9)] == [untouched.sample() for _ in range(9)]


def test_random_agent_is_uniform_in_a_box() -> None:
    env = SilentEnv(make_scene(TRIANGLE, Pose(2, 2, 0), [(5.0, 1.0)]), Body())
    env.action_space = spaces.Box(np.array([-1, 2], np.float32), np.array([3, 2.5], np.float32))
    agent = RandomAgent(seed=1)
    agent.reset(env)
    drawn = [agent.act(0) for _ in range(4000)]
    assert all(action in env.action_space for action in drawn)
    # The mean of 4000 is 6 standard deviations off once in a milliard; so are the ends.
    numbers, low, width = np.array(drawn), np.array([-1, 2]), np.array([4, 0.5])
    np.testing.assert_array_less(np.abs(numbers.mean(axis=0) - (low + width / 2)), 6 * width / math.sqrt(12 * 4000))
    np.testing.assert_array_less(numbers.min(axis=0), low + 0.01 * width)
    np.testing.assert_array_less(low + 0.99 * width, numbers.max(axis=0))
    again = RandomAgent(seed=1)
    again.reset(env)
    np.testing.assert_array_equal([again.act(0) for _ in range(4000)], numbers)


@pytest.mark.parametrize(
    "space", [spaces.MultiBinary(2), spaces.Box(-np.inf, np.inf, (2,))], ids=["another space", "without bounds"]
)
def test_random_agent_refuses_other_actions(space: spaces.Space) -> None:
    env = SilentEnv(make_scene(TRIANGLE, Pose(2, 2, 0), [(5.0, 1.0)]), Body())
    env.action_space = space
    with pytest.raises(TypeError, match="env: expected a Discrete or a bounded Box as action space, actual: "):
        RandomAgent().reset(env)


@pytest.mark.parametrize("agent", [GreedyAgent(), OracleAgent()], ids=["greedy", "oracle"])
def test_those_who_know_act_by_speeds_as_by_steps(agent: Agent) -> None:
    """At full speed straight ahead, or turning at the full rate on the spot."""
    scene = make_scene(ShoeBox((8.0, 8.0)), Pose(4, 4, 0.3), [(1.0, 1.0), (7.0, 6.0)], [(5.5, 5.2)])
    discrete, continuous = SilentEnv(scene, Body()), SilentEnv(scene, Body(), ContinuousActions())
    actions, speeds = play(agent, discrete), play(agent, continuous)
    shares = {Action.FORWARD: (1, 0), Action.BACKWARD: (-1, 0), Action.TURN_RIGHT: (0, -1), Action.TURN_LEFT: (0, 1)}
    assert [tuple(speed.tolist()) for speed in speeds] == [shares[action] for action in actions]
    assert all(speed in continuous.action_space for speed in speeds)
    assert discrete.path == continuous.path
    assert not continuous.on[:2].any()
