"""Floor plans, against shapely, the definitions and a dense grid."""

from __future__ import annotations

import itertools
import math
from functools import cache

import numpy as np
import pytest
import shapely
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from auralnav_gym.geometry import PARALLEL, FloorPlan, NonConvexFloorPlan, is_convex, is_walkable, turns

L = np.array([(0, 0), (8, 0), (8, 4), (4, 4), (4, 8), (0, 8)], dtype=float)
U = np.array([(0, 0), (9, 0), (9, 6), (6, 6), (6, 3), (3, 3), (3, 6), (0, 6)], dtype=float)
SAW = np.array([(0, 0), (9, 0), (9, 5), (7, 1.5), (5, 5), (3.5, 2), (2, 6), (0, 4)], dtype=float)
# A wall in two pieces, one corner of which is straight.
STRAIGHT = np.insert(L, 3, [6, 4], axis=0)
HOURGLASS = np.array([(0, 0), (4, 1.9), (8, 0), (8, 4), (4, 2.1), (0, 4)])
NON_CONVEX = {"L": L, "U": U, "saw": SAW, "straight": STRAIGHT}
CONVEX = {
    "square": np.array([(0, 0), (5, 0), (5, 5), (0, 5)], dtype=float),
    "triangle": np.array([(0, 0), (6, 0), (0, 8)], dtype=float),
    "pentagon": np.array([(0, 0), (8, 0), (9, 4), (6, 8), (0, 7)], dtype=float),
}
CLEARANCES = [0.0, 0.05, 0.15, 0.4]


def rotated(corners: np.ndarray, angle: float) -> np.ndarray:
    cosine, sine = math.cos(angle), math.sin(angle)
    return corners @ np.array([[cosine, sine], [-sine, cosine]]) + [0.3, -2.1]


@st.composite
def floors(draw: st.DrawFn) -> np.ndarray:
    """Simple polygons with corners that turn inwards, some of them with right angles and parallel walls."""
    count = draw(st.integers(4, 9))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    angles = np.sort(rng.uniform(0, 2 * np.pi, count))
    corners = 4 * rng.uniform(0.3, 1, (count, 1)) * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    if draw(st.booleans()):
        corners = np.round(corners)
    floor = shapely.Polygon(corners)
    assume(floor.is_valid and floor.area > 2 and floor.exterior.is_ccw)
    assume(np.hypot(*(np.roll(corners, -1, axis=0) - corners).T).min() > 0.01 and not is_convex(corners))
    return corners


def places_in(plan: FloorPlan, clearance: float, rng: np.random.Generator, count: int) -> np.ndarray:
    candidates = rng.uniform(plan.corners.min(axis=0), plan.corners.max(axis=0), size=(500, 2))
    places = candidates[plan.contains(candidates, clearance)][:count]
    assume(len(places) == count)
    return places


def wide(corners: np.ndarray) -> shapely.Polygon:
    """The floor and what is within rounding of it."""
    return shapely.Polygon(corners).buffer(1e-8, join_style="mitre")


# ---- Corners ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("corners", [*NON_CONVEX.values(), *CONVEX.values()], ids=[*NON_CONVEX, *CONVEX])
def test_turns_add_up_to_once_around(corners: np.ndarray) -> None:
    assert turns(corners).sum() == pytest.approx(2 * math.pi)
    assert turns(corners[::-1]).sum() == pytest.approx(-2 * math.pi)
    inner = np.degrees(turns(L))
    np.testing.assert_allclose(inner, [90, 90, 90, -90, 90, 90])


def test_convexity_and_reflex_corners() -> None:
    assert all(is_convex(corners) for corners in CONVEX.values())
    assert not any(is_convex(corners) for corners in NON_CONVEX.values())
    assert FloorPlan(CONVEX["pentagon"]).reflex_corners.shape == (0, 2)
    for name, expected in (("L", [(4, 4)]), ("U", [(6, 3), (3, 3)]), ("saw", [(7, 1.5), (3.5, 2)])):
        np.testing.assert_array_equal(NonConvexFloorPlan(NON_CONVEX[name]).reflex_corners, expected)
    np.testing.assert_array_equal(NonConvexFloorPlan(STRAIGHT).reflex_corners, [(4, 4)])


# ---- Where one can stand ---------------------------------------------------------------------------------------------


def distance_to_walls(corners: np.ndarray, point: np.ndarray) -> float:
    """From the definition, wall by wall."""
    gaps = []
    for first, last in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        share = np.clip((point - first) @ (last - first) / ((last - first) @ (last - first)), 0, 1)
        gaps.append(np.linalg.norm(point - first - share * (last - first)))
    return min(gaps)


def winds_around(corners: np.ndarray, point: np.ndarray) -> bool:
    """Whether the outline goes once around the point."""
    directions = np.arctan2(*(corners - point).T[::-1])
    angles = (np.roll(directions, -1) - directions + np.pi) % (2 * np.pi) - np.pi
    return round(angles.sum() / (2 * np.pi)) == 1


@settings(max_examples=60, deadline=None)
@given(corners=floors(), clearance=st.sampled_from([-0.2, *CLEARANCES]), seed=st.integers(0, 2**32))
def test_contains_keeps_the_clearance_to_every_wall(corners: np.ndarray, clearance: float, seed: int) -> None:
    points = np.random.default_rng(seed).uniform(corners.min(axis=0) - 0.3, corners.max(axis=0) + 0.3, size=(5, 4, 2))
    contained = NonConvexFloorPlan(corners).contains(points, clearance)
    assert contained.shape == (5, 4)
    for point, is_contained in zip(points.reshape(-1, 2), contained.ravel(), strict=True):
        distance = distance_to_walls(corners, point) * (1 if winds_around(corners, point) else -1)
        assert is_contained == (distance >= clearance)


def test_contains_by_hand() -> None:
    points = np.array([[3.8 - 1e-9, 6], [3.8 + 1e-9, 6], [4 - 0.12, 4 - 0.16 - 1e-9], [4 - 0.12, 4 - 0.16 + 1e-9]])
    np.testing.assert_array_equal(NonConvexFloorPlan(L).contains(points, 0.2), [True, False, True, False])
    assert NonConvexFloorPlan(L).contains(L, 0.0).all()


@pytest.mark.parametrize("corners", CONVEX.values(), ids=CONVEX)
def test_a_convex_floor_is_the_same_by_both_routes(corners: np.ndarray) -> None:
    convex, general = FloorPlan(corners), NonConvexFloorPlan(corners)
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 9, size=(400, 2))
    inside = convex.contains(points, 0.0)
    for clearance in CLEARANCES:
        np.testing.assert_array_equal(convex.contains(points, clearance), general.contains(points, clearance))
        steps = rng.normal(size=(400, 2))
        free = convex.free_shares(points[inside], steps[inside], clearance)
        standing = convex.contains(points[inside], clearance)
        np.testing.assert_allclose(
            general.free_shares(points[inside], steps[inside], clearance)[standing], free[standing], atol=1e-9
        )
        for target in points[:40]:
            nearest = [plan.nearest_standing_place(target, clearance) for plan in (convex, general)]
            np.testing.assert_allclose(*nearest, atol=1e-8)
    start, ends = points[inside][0], points[inside][1:]
    np.testing.assert_allclose(general.walking_distances(start, ends), convex.walking_distances(start, ends))
    assert general.sees(ends[:-1], ends[1:]).all()
    assert convex.sees(ends[:-1], ends[1:]).all()
    assert not convex.sees(points[~inside][:5], ends[:5]).any()
    np.testing.assert_array_equal(convex.shortest_path(start, ends[0], 0.1), [start, ends[0]])


@settings(max_examples=60, deadline=None)
@given(corners=floors(), clearance=st.sampled_from(CLEARANCES), seed=st.integers(0, 2**32))
def test_the_nearest_standing_place_is_as_near_as_shapely_finds(
    corners: np.ndarray, clearance: float, seed: int
) -> None:
    plan, floor = NonConvexFloorPlan(corners), shapely.Polygon(corners)
    standing = floor.buffer(-clearance, quad_segs=256) if clearance else floor
    assume(standing.area > 0.01)
    for target in np.random.default_rng(seed).uniform(corners.min(axis=0) - 1, corners.max(axis=0) + 1, size=(4, 2)):
        nearest = plan.nearest_standing_place(target, clearance)
        assert plan.contains(nearest, clearance - 1e-8)
        assert math.dist(nearest, target) == pytest.approx(shapely.distance(standing, shapely.Point(target)), abs=1e-4)


def test_the_nearest_standing_place_by_hand() -> None:
    plan = NonConvexFloorPlan(L)
    np.testing.assert_allclose(plan.nearest_standing_place(np.array([3.0, 2.0]), 0.5), [3, 2])
    np.testing.assert_allclose(plan.nearest_standing_place(np.array([3.9, 7.0]), 0.5), [3.5, 7])
    np.testing.assert_allclose(plan.nearest_standing_place(np.array([8.0, 0.0]), 0.5), [7.5, 0.5])
    # On the circle around the corner that turns inwards.
    np.testing.assert_allclose(plan.nearest_standing_place(np.array([3.9, 3.9]), 0.5), 4 - 0.5 / math.sqrt(2))
    # From the corner itself.
    for angle in np.linspace(0, 3, 40):
        turned, corner = NonConvexFloorPlan(rotated(L, angle)), rotated(np.array([4.0, 4.0]), angle)
        assert math.dist(turned.nearest_standing_place(corner, 0.5), corner) == pytest.approx(0.5)
    # Where a circle meets the line beside a wall: between a pointed wall and a straight one.
    pointed = [(0, 0), (3.95, 0), (4, 1), (4.05, 0), (8, 0), (8, 1.6), (0, 1.6)]
    away = abs(NonConvexFloorPlan(np.array(pointed)).nearest_standing_place(np.array([4.0, 1.3]), 0.5) - [4, 1])
    np.testing.assert_allclose(away, [math.sqrt(0.5**2 - 0.1**2), 0.1], atol=1e-12)
    # Where two circles meet: between two pointed walls.
    pointed = [(0, 0), (3.9, 0), (4, 1.9), (4.1, 0), (8, 0), (8, 4), (4.1, 4), (4, 2.1), (3.9, 4), (0, 4)]
    away = abs(NonConvexFloorPlan(np.array(pointed)).nearest_standing_place(np.array([4.0, 2.0]), 0.5) - [4, 2])
    np.testing.assert_allclose(away, [math.sqrt(0.5**2 - 0.1**2), 0], atol=1e-12)
    for corners in (L, CONVEX["square"]):
        build = FloorPlan if is_convex(corners) else NonConvexFloorPlan
        with pytest.raises(
            ValueError, match=r"clearance: expected one that leaves room to stand, actual: nowhere .*3\.0 m"
        ):
            build(corners).nearest_standing_place(np.array([1.0, 1.0]), 3.0)


# ---- How far one can walk --------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    corners=st.sampled_from(list(CONVEX.values())), clearance=st.sampled_from(CLEARANCES), seed=st.integers(0, 2**32)
)
def test_on_a_convex_floor_a_step_ends_at_the_first_line(corners: np.ndarray, clearance: float, seed: int) -> None:
    """To the last bit what the definition gives, in the order of the walls."""
    plan = FloorPlan(corners)
    rng = np.random.default_rng(seed)
    for (x, y), (dx, dy) in zip(rng.uniform(0, 9, size=(20, 2)), rng.normal(size=(20, 2)), strict=True):
        expected = 1.0
        for a, b, c in plan.walls:
            towards = -(a * dx + b * dy)
            if towards > PARALLEL * math.hypot(dx, dy):
                expected = min(expected, max(a * x + b * y - c - clearance, 0.0) / towards)
        assert plan.free_share(x, y, dx, dy, clearance) == expected


@settings(max_examples=150, deadline=None)
@given(
    corners=floors(),
    clearance=st.sampled_from(CLEARANCES),
    length=st.sampled_from([0.1, 0.5, 20.0]),
    seed=st.integers(0, 2**32),
)
def test_a_walk_keeps_its_clearance_and_goes_as_far_as_it_can(
    corners: np.ndarray, clearance: float, length: float, seed: int
) -> None:
    """A walk of many steps, some of them along walls, at right angles to them, or a little off that."""
    plan, floor, walls = NonConvexFloorPlan(corners), wide(corners), shapely.Polygon(corners).exterior
    rng = np.random.default_rng(seed)
    place = places_in(plan, clearance, rng, count=1)[0]
    for _ in range(25):
        heading = rng.uniform(-math.pi, math.pi)
        if rng.random() < 0.5:
            a, b, _ = plan.walls[rng.integers(len(plan.walls))]
            heading = math.atan2(a, -b) + rng.integers(4) * math.pi / 2 + rng.choice([0, 1e-8, -1e-6, 1e-5, -1e-5])
        step = length * np.array([math.cos(heading), math.sin(heading)])
        share = plan.free_share(*place.tolist(), *step.tolist(), clearance)
        assert 0 <= share <= 1
        after = place + share * step
        walked = shapely.LineString([place, after])
        assert floor.covers(walked)
        assert shapely.distance(walked, walls) >= clearance - 1e-9
        if share < 1:
            beyond = shapely.LineString([after, after + min(1e-3, (1 - share) * length + 1e-4) / length * step])
            is_off = not shapely.Polygon(corners).covers(beyond)
            assert is_off or shapely.distance(beyond, walls) < clearance
        place = after


@settings(max_examples=60, deadline=None)
@given(corners=floors(), clearance=st.sampled_from(CLEARANCES), seed=st.integers(0, 2**32))
def test_many_steps_at_once_are_each_as_free_as_alone(corners: np.ndarray, clearance: float, seed: int) -> None:
    plan = NonConvexFloorPlan(corners)
    rng = np.random.default_rng(seed)
    places, steps = rng.uniform(corners.min(axis=0), corners.max(axis=0), size=(50, 2)), rng.normal(size=(50, 2))
    places, steps = places[plan.contains(places, 0.0)], steps[plan.contains(places, 0.0)]
    alone = [plan.free_share(*place, *step, clearance) for place, step in zip(places, steps, strict=True)]
    np.testing.assert_allclose(plan.free_shares(places, steps, clearance), alone, atol=1e-9)


def test_steps_by_hand() -> None:
    plan = NonConvexFloorPlan(L)
    for start, step, clearance, expected in (
        ((2, 2), (8, 0), 0.5, 5.5 / 8),  # to the far wall
        ((2, 6), (4, 0), 0.5, 1.5 / 4),  # to a wall that ends at the corner
        ((2, 6), (0, -10), 0.5, 5.5 / 10),  # past it
        ((2, 2), (4, 4), 0.0, 0.5),  # right into the corner
        ((2, 2), (4, 4), 0.5, (2 * math.sqrt(2) - 0.5) / (4 * math.sqrt(2))),  # to the circle around it
        ((2.5, 2.5), (0, 0), 0.5, 1.0),
        ((3.5, 7), (0, -7), 0.5, 6.5 / 7),  # along a wall and past the corner where it ends
        ((7, 3.5), (-7, 0), 0.5, 6.5 / 7),
        ((3.5, 1), (0, 6), 0.5, 1.0),  # the other way
        ((3.9, 7), (1, 0), 0.5, 0.0),  # nearer than allowed: no nearer
        ((3.9, 7), (-1, 0), 0.5, 1.0),  # but away
        ((3.9, 7), (0, -1), 0.5, 1.0),  # and along
        ((3.9, 3.9), (0.1, 0.1), 0.5, 0.0),
        ((3.9, 3.9), (-1, -1), 0.5, 1.0),
    ):
        assert plan.free_share(*start, *step, clearance) == pytest.approx(expected), (start, step, clearance)
        shares = plan.free_shares(np.array([start], float), np.array([step], float), clearance)
        assert shares.tolist() == pytest.approx([expected]), (start, step, clearance)


@pytest.mark.parametrize("angle", np.linspace(0, 2, 9))
@pytest.mark.parametrize("less", [-1e-3, -1e-6, -1e-9, 1e-9, 1e-6, 1e-3, 0.1])
def test_who_would_pass_a_corner_too_near_is_stopped_at_the_circle(less: float, angle: float) -> None:
    clearance, passing = 0.4, 0.4 - less
    plan, origin = NonConvexFloorPlan(rotated(L, angle)), rotated(np.zeros(2), angle)
    # Past the corner at a right angle to its diagonal.
    nearest, along = np.full(2, 4 - passing / math.sqrt(2)), np.array([1.0, -1.0]) / math.sqrt(2)
    start, step = rotated(nearest - along, angle), rotated(2 * along, angle) - origin
    expected = 1.0 if less < 0 else (1 - math.sqrt(clearance**2 - passing**2)) / 2
    assert plan.free_share(*start, *step, clearance) == pytest.approx(expected)
    assert plan.free_shares(start[None], step[None], clearance) == pytest.approx(expected)
    # Who is too near to the corner can walk past it from there, but not a bit towards it.
    if less > 0:
        start = rotated(nearest, angle)
        for heading, free in (((0, 1), 1.0), ((0, -1), 1.0), ((0.1, 1), 0.0), ((-0.1, 1), 1.0)):
            towards, beside = heading
            step = rotated(beside * along + towards * np.array([1, 1]) / math.sqrt(2), angle) - origin
            assert plan.free_share(*start, *(0.1 * step), clearance) == free
            assert plan.free_shares(start[None], 0.1 * step[None], clearance) == free


@pytest.mark.parametrize("clearance", CLEARANCES)
@pytest.mark.parametrize("angle", np.linspace(0, 2, 9))
@pytest.mark.parametrize("corners", [L, STRAIGHT], ids=["L", "straight"])
def test_one_slides_along_a_wall_and_around_its_corner(corners: np.ndarray, angle: float, clearance: float) -> None:
    """As an agent does that a wall has stopped: it turns by a quarter, and walks along the wall and past its end."""
    plan = NonConvexFloorPlan(rotated(corners, angle))
    for start, to_wall, along in (((7, 2), (0, 1), (-1, 0)), ((2, 7), (1, 0), (0, -1))):
        place, to_wall, along = (
            rotated(np.array(start), angle),
            *(rotated(np.array([to_wall, along]), angle) - rotated(np.zeros(2), angle)),
        )
        place = place + plan.free_share(*place, *(3 * to_wall), clearance) * 3 * to_wall
        for step in [along] * 6 + [-along] * 6:  # there and back
            assert plan.free_share(*place, *step, clearance) == pytest.approx(1.0)
            place = place + step
            assert plan.contains(place, clearance - 1e-9)


# ---- How far it is ---------------------------------------------------------------------------------------------------


def test_ways_by_hand() -> None:
    plan = NonConvexFloorPlan(L)
    start = np.array([7.0, 3.0])
    ends = np.array([[3.0, 7.0], [1.0, 1.0], [7.0, 3.0], [4.0, 4.0], [4.0, 8.0], [9.0, 9.0]])
    expected = [2 * math.sqrt(10), math.sqrt(40), 0.0, math.sqrt(10), math.sqrt(10) + 4, math.inf]
    np.testing.assert_allclose(plan.walking_distances(start, ends), expected)
    np.testing.assert_array_equal(plan.shortest_path(start, ends[0], 0.0), [start, [4, 4], ends[0]])
    np.testing.assert_array_equal(plan.shortest_path(start, ends[1], 0.0), [start, ends[1]])
    np.testing.assert_array_equal(plan.shortest_path(start, start, 0.0), [start, start])
    np.testing.assert_array_equal(plan.sees(np.tile(start, (6, 1)), ends), [False, True, True, True, False, False])

    # Past the corner, and a hair's breadth into it.
    aside = np.array([[-1e-5], [0], [1e-5]])
    np.testing.assert_array_equal(
        plan.sees(np.array([7.0, 1.0]) + aside, np.array([1.0, 7.0]) + aside), [True, True, False]
    )
    # Along the walls.
    assert plan.sees(L, np.roll(L, 1, axis=0)).all()

    plan = NonConvexFloorPlan(U)
    start, end = np.array([1.0, 6.0]), np.array([8.0, 6.0])
    assert plan.walking_distances(start, end[None])[0] == pytest.approx(2 * math.sqrt(13) + 3)
    np.testing.assert_array_equal(plan.shortest_path(start, end, 0.0), [start, [3, 3], [6, 3], end])
    with pytest.raises(ValueError, match=r"start, end: expected places on the floor .* none from .* to \[4.5, 5.0\]"):
        plan.shortest_path(start, np.array([4.5, 5.0]), 0.0)


def test_a_way_around_a_corner_follows_the_circle_around_it() -> None:
    """Tangent, arc, tangent: the shortest there is, but for the polygon in place of the arc."""
    clearance, start, end = 0.5, np.array([7.0, 3.0]), np.array([3.0, 7.0])
    path = NonConvexFloorPlan(L).shortest_path(start, end, clearance)
    away = math.sqrt(10)
    tangent = math.sqrt(away**2 - clearance**2)
    # Between the two ends, as seen from the corner, there are 360 - 2 * atan2(1, 3) - 90 degrees inside the room.
    arc = 1.5 * math.pi - 2 * math.atan2(1, 3) - 2 * math.acos(clearance / away)
    shortest = 2 * tangent + clearance * arc
    length = np.hypot(*np.diff(path, axis=0).T).sum()
    assert shortest <= length <= shortest + 0.02 * clearance


def test_a_place_too_near_to_a_wall_is_left_and_reached_straight() -> None:
    plan, start, end = NonConvexFloorPlan(L), np.array([7.9, 3.0]), np.array([3.0, 8.0])
    path = plan.shortest_path(start, end, 0.5)
    np.testing.assert_array_equal(path[[0, -1]], [start, end])
    np.testing.assert_allclose(path[[1, -2]], [[7.5, 3.0], [3.0, 7.5]])


def test_where_a_passage_is_too_narrow_there_is_no_way() -> None:
    plan, start, end = NonConvexFloorPlan(HOURGLASS), np.array([1.0, 2.0]), np.array([7.0, 2.0])
    assert len(plan.shortest_path(start, end, 0.09)) == 2
    with pytest.raises(ValueError, match=r"a way between them that keeps 0\.11 m from the walls, actual: none from"):
        plan.shortest_path(start, end, 0.11)


@settings(max_examples=60, deadline=None)
@given(corners=floors(), clearance=st.sampled_from(CLEARANCES[1:]), seed=st.integers(0, 2**32))
def test_shortest_ways(corners: np.ndarray, clearance: float, seed: int) -> None:
    plan, floor, walls = NonConvexFloorPlan(corners), wide(corners), shapely.Polygon(corners).exterior
    places = places_in(plan, clearance, np.random.default_rng(seed), count=5)
    distances = np.array([plan.walking_distances(place, places) for place in places])
    np.testing.assert_allclose(distances, distances.T)
    straight = np.hypot(*(places[:, None] - places).transpose(2, 0, 1))
    seen = plan.sees(*(np.broadcast_to(p, (5, 5, 2)).reshape(-1, 2) for p in (places[:, None], places))).reshape(5, 5)
    np.testing.assert_allclose(distances[seen], straight[seen])
    assert (distances[~seen] > straight[~seen]).all()
    assert (distances[:, :, None] + distances[None] >= distances[:, None] - 1e-9).all()  # d(i, j) + d(j, k)
    for (start, from_start), end in itertools.product(zip(places, distances, strict=True), (0, 1)):
        path = plan.shortest_path(start, places[end], 0.0)
        assert floor.covers(shapely.LineString(path))
        assert np.hypot(*np.diff(path, axis=0).T).sum() == pytest.approx(from_start[end])
        standing = shapely.Polygon(corners).buffer(-1.01 * clearance, quad_segs=64)
        try:
            path = plan.shortest_path(start, places[end], clearance)
        except ValueError:
            pieces = shapely.get_parts(standing)
            near = shapely.dwithin(pieces[:, None], shapely.points([start, places[end]]), 0.01 * clearance)
            assert not near.all(axis=1).any()  # there is no piece of the floor with both
            continue
        np.testing.assert_array_equal(path[[0, -1]], [start, places[end]])
        assert shapely.distance(shapely.LineString(path), walls) >= clearance - 1e-8
        assert np.hypot(*np.diff(path, axis=0).T).sum() >= from_start[end] - 1e-9
        # A body of this radius can follow it to the end.
        for leg_start, leg in zip(path, np.diff(path, axis=0), strict=False):
            assert plan.free_share(*leg_start, *leg, clearance - 1e-8) == 1


@settings(max_examples=20, deadline=None)
@given(corners=floors(), seed=st.integers(0, 2**32))
def test_what_is_seen_is_what_a_dense_line_shows(corners: np.ndarray, seed: int) -> None:
    plan = NonConvexFloorPlan(corners)
    places = places_in(plan, 0.0, np.random.default_rng(seed), count=20)
    starts, ends = places[:10], places[10:]
    lines = starts[:, None] + np.linspace(0, 1, 2001)[:, None] * (ends - starts)[:, None]
    depth = np.array([[distance_to_walls(corners, p) for p in line[::100]] for line in lines]).min(axis=1)
    on_floor = plan.contains(lines, 0.0).all(axis=1)
    seen = plan.sees(starts, ends)
    assert (on_floor | ~seen).all()
    assert (seen | ~on_floor | (depth < 0.01)).all()  # a wall's very corner may lie between two points


@settings(max_examples=20, deadline=None)
@given(corners=floors(), seed=st.integers(0, 2**32))
def test_many_lines_at_once_are_seen_as_few_are(corners: np.ndarray, seed: int) -> None:
    """Some from corner to corner, along walls, into corners, and on beyond them."""
    plan = NonConvexFloorPlan(corners)
    places = np.vstack(
        [corners, (corners + np.roll(corners, 1, axis=0)) / 2, 2 * corners - np.roll(corners, 1, axis=0)]
    )
    places = np.vstack([places, places_in(plan, 0.0, np.random.default_rng(seed), count=20)])
    starts, ends = (p.reshape(-1, 2) for p in np.broadcast_arrays(places[:, None], places))
    assert len(starts) > 1000
    few = np.concatenate([plan.sees(starts[i : i + 100], ends[i : i + 100]) for i in range(0, len(starts), 100)])
    np.testing.assert_array_equal(plan.sees(starts, ends), few)


@cache
def grid_of(name: str) -> tuple[np.ndarray, coo_array]:
    """Places 0.125 m apart and the lengths of the straight ways between near ones."""
    corners, spacing, reach = NON_CONVEX[name], 0.125, 5
    floor = shapely.Polygon(corners).buffer(1e-6)
    shapely.prepare(floor)
    x, y = (
        np.arange(low, high + 1e-9, spacing) for low, high in zip(corners.min(axis=0), corners.max(axis=0), strict=True)
    )
    grid = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1)
    number = np.arange(grid[..., 0].size).reshape(grid.shape[:2])
    rows, columns, lengths = [], [], []
    for i, j in itertools.product(range(reach + 1), range(-reach, reach + 1)):
        if math.gcd(i, j) != 1 or (i == 0 and j < 0):
            continue
        here = (slice(0, len(x) - i), slice(max(-j, 0), len(y) - max(j, 0)))
        there = (slice(i, None), slice(max(j, 0), len(y) - max(-j, 0)))
        lines = shapely.linestrings(np.stack([grid[here], grid[there]], axis=-2).reshape(-1, 2, 2))
        free = shapely.covers(floor, lines)
        rows.append(number[here].ravel()[free])
        columns.append(number[there].ravel()[free])
        lengths.append(np.full(free.sum(), spacing * math.hypot(i, j)))
    size = number.size
    ways = coo_array((np.concatenate(lengths), (np.concatenate(rows), np.concatenate(columns))), shape=(size, size))
    return grid.reshape(-1, 2), ways


@pytest.mark.parametrize("name", ["L", "U", "saw"])
def test_walking_distances_are_those_on_a_dense_grid(name: str) -> None:
    grid, ways = grid_of(name)
    plan = NonConvexFloorPlan(NON_CONVEX[name])
    rng = np.random.default_rng(0)
    on_floor = np.flatnonzero(plan.contains(grid, 0.0))
    starts, ends = rng.choice(on_floor[grid[on_floor, 0] > 6], 6), rng.choice(on_floor, 60)
    on_grid = dijkstra(ways, directed=False, indices=starts)[:, ends]
    distances = np.array([plan.walking_distances(grid[start], grid[ends]) for start in starts])
    assert (~plan.sees(np.repeat(grid[starts], 60, axis=0), np.tile(grid[ends], (6, 1)))).mean() > 0.2
    assert (on_grid >= distances - 1e-4).all()  # the grid's floor is a little larger
    # Directions with steps of up to 5 are at most 5.7 degrees off; corners may lie between the places of the grid.
    assert (on_grid <= distances / math.cos(math.radians(5.7)) + 0.06).all()


# ---- What can be walked all over -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("corners", "passage", "expected"),
    [
        (L, 1.0, True),
        (L, 3.9, True),
        (L, 4.1, False),
        (U, 2.9, True),
        (U, 3.1, False),
        (((0, 0), (4, 1.6), (8, 0), (8, 4), (4, 2.4), (0, 4)), 0.7, True),  # an hourglass, 0.8 m wide
        (((0, 0), (4, 1.6), (8, 0), (8, 4), (4, 2.4), (0, 4)), 0.9, False),
        (((0, 0), (8, 0), (8, 4), (5, 4), (5, 9), (4.5, 9), (4.5, 4), (0, 4)), 0.6, True),  # a niche 0.5 m wide
        (((0, 0), (8, 0), (8, 4), (5, 4), (5, 19), (4.5, 19), (4.5, 4), (0, 4)), 0.6, False),  # and a long one
        # A small chamber behind a gap, in which the whole passage does not fit, but somebody who fits the gap does.
        (((0, 0), (8, 0), (8, 4), (4.1, 4), (4.4, 4.5), (3.6, 4.5), (3.9, 4), (0, 4)), 1.0, False),
    ],
)
def test_is_walkable(corners: np.ndarray, passage: float, expected: bool) -> None:
    assert is_walkable(np.asarray(corners, dtype=float), passage) == expected
