"""The shortest tour. The truth is closed forms, and searches over dense rims and all orders."""

from __future__ import annotations

import math
from itertools import pairwise, permutations
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from auralnav_gym.rooms import Polygon, ShoeBox
from auralnav_gym.tours import order_of_visit, shortest_tour, walking_lengths

# ---- Without walls ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "centres", "radius", "length"),
    [
        ((0, 0), [], 1.0, 0.0),
        ((0, 0), [(3, 4)], 1.0, 4.0),
        ((0, 0), [(0.6, 0.8)], 1.0, 0.0),  # on the rim
        ((0, 0), [(0.5, 0), (-0.5, 0)], 1.0, 0.0),  # inside both
        ((0, 0), [(0.5, 0), (5, 0)], 1.0, 4.0),  # inside one
        ((0, 0), [(2, 0.5), (5, 0)], 1.0, 4.0),  # one lies on the way
        ((0, 0), [(2, 1), (5, 0)], 1.0, 4.0),  # touched in passing
        ((0, 0), [(-2, 0), (5, 0)], 1.0, 1 + 1 + 4),  # there and back
        ((0, 0), [(4, 0), (4, 1.5)], 1.0, math.hypot(4 - math.sqrt(1 - 0.75**2), 0.75)),  # overlapping: their lens
        ((0, 0), [(4, 0), (4, 0), (4, 0)], 1.0, 3.0),  # thrice the same
        ((-3, 0), [(0, 4), (3, 0)], 1.0, 2 * math.hypot(3, 3) - 1),  # reflected at the lowest point of the first
        ((-3, 0), [(0, 4), (3, 0)], 0.25, 2 * math.hypot(3, 3.75) - 0.25),
        ((0, 0), [(i, 0) for i in (7, 2, 11, 5, 3, 9, 14, 4, 13, 6, 8, 12)], 0.25, 13.75),  # twelve in a row
    ],
    ids=[
        "none",
        "one",
        "rim",
        "inside both",
        "inside one",
        "on the way",
        "in passing",
        "there and back",
        "overlapping",
        "thrice",
        "mirror",
        "mirror of smaller discs",
        "twelve in a row",
    ],
)
def test_shortest_tour_in_closed_form(start: Any, centres: Any, radius: float, length: float) -> None:
    centres = np.array(centres, dtype=float).reshape(-1, 2)
    assert shortest_tour(np.array(start, dtype=float), centres, radius) == pytest.approx(length, abs=1e-4)


def rim_tour(start: np.ndarray, centres: np.ndarray, radius: float, places: int, zooms: int) -> float:
    """The shortest tour over points on the rims and over all orders: on a grid of angles, then on finer ones around it.

    A tour from outside the discs first touches each of them at its rim.
    """
    best = math.inf
    for order in permutations(range(len(centres))):
        middles, width = np.zeros(len(order)), 2 * np.pi
        for _ in range(1 + zooms):
            angles = middles[:, None] + width * (np.arange(places) / places - 0.5)
            points = centres[list(order), None] + radius * np.stack([np.cos(angles), np.sin(angles)], axis=2)
            lengths, choices = np.linalg.norm(points[0] - start, axis=1), []
            for here, there in pairwise(points):
                via = lengths[:, None] + np.linalg.norm(here[:, None] - there, axis=2)
                choices.append(via.argmin(axis=0))
                lengths = via.min(axis=0)
            chosen = [int(lengths.argmin())]
            for choice in reversed(choices):
                chosen.append(int(choice[chosen[-1]]))
            middles, width = angles[np.arange(len(order)), chosen[::-1]], width / 8
        best = min(best, float(lengths.min()))
    return best


@pytest.mark.parametrize("radius", [0.25, 1.0, 1.6], ids=["small", "default", "overlapping"])
@pytest.mark.parametrize("num_discs", [2, 3])
def test_shortest_tour_equals_a_search_over_the_rims(num_discs: int, radius: float) -> None:
    rng = np.random.default_rng(num_discs)
    compared = 0
    while compared < 15:
        start, centres = rng.uniform(0, 8, 2), rng.uniform(0, 8, (num_discs, 2))
        if (np.linalg.norm(centres - start, axis=1) > radius).all():
            compared += 1
            truth = rim_tour(start, centres, radius, places=96, zooms=7)
            assert shortest_tour(start, centres, radius) == pytest.approx(truth, abs=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_shortest_tour_of_five_lies_where_a_search_over_the_rims_leaves_room_for_it(seed: int) -> None:
    """Moving every point to one of 32 on its rim lengthens each leg by no more than the two moves at its ends."""
    rng = np.random.default_rng(seed)
    start, centres = np.zeros(2), rng.uniform(1.5, 8, (5, 2))
    on_grid = rim_tour(start, centres, 1.0, places=32, zooms=0)
    slack = 9 * 2 * math.sin(math.pi / 64)
    assert on_grid - slack <= shortest_tour(start, centres, 1.0) <= on_grid + 1e-4


points = st.tuples(st.floats(-8, 8), st.floats(-8, 8))


@settings(max_examples=25, deadline=None)
@given(points, st.lists(points, min_size=2, max_size=5), st.floats(0.1, 2.0), st.floats(-3, 3), st.randoms())
def test_shortest_tour_properties(start: Any, centres: Any, radius: float, angle: float, random: Any) -> None:
    start, centres = np.array(start), np.array(centres)
    length = shortest_tour(start, centres, radius)
    order = random.sample(range(len(centres)), len(centres))
    assert shortest_tour(start, centres[order], radius) == pytest.approx(length, abs=1e-4)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    assert shortest_tour(turn @ start + 5, centres @ turn.T + 5, radius) == pytest.approx(length, abs=1e-4)
    assert shortest_tour(start, centres, 1.5 * radius) <= length + 1e-4
    assert shortest_tour(start, centres[1:], radius) <= length + 1e-4
    assert length >= np.linalg.norm(centres - start, axis=1).max() - radius - 1e-4


@pytest.mark.parametrize("num_discs", [9, 12])
def test_many_discs_are_toured_in_a_good_order(num_discs: int) -> None:
    """Discs on a circle around the start: one goes to one of them and then round."""
    angles = 2 * np.pi * np.random.default_rng(0).permutation(num_discs) / num_discs
    centres = 6 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    length = shortest_tour(np.zeros(2), centres, 0.5)
    chord = 2 * math.sin(math.pi / num_discs)
    assert length <= 5.5 + (num_discs - 1) * 5.5 * chord + 1e-4  # over the points nearest to the start
    assert length >= 5.5 + (num_discs - 1) * (6 * chord - 2 * 0.5) - 1e-4  # from rim to rim of neighbours


@pytest.mark.parametrize(
    ("start", "centres", "radius", "message"),
    [
        ((0, 0, 0), [(1, 2)], 1.0, "start, centres: expected shapes (2,) and (S, 2), actual: (3,) and (1, 2)"),
        ((0, 0), (1, 2), 1.0, "start, centres: expected shapes (2,) and (S, 2), actual: (2,) and (2,)"),
        ((0, 0), [(1, 2)], 0.0, "radius: expected more than 0 metres, actual: 0.0"),
        ((0, 0), [(1, 2)], math.nan, "radius: expected more than 0 metres, actual: nan"),
    ],
    ids=["start", "centres", "radius", "nan"],
)
def test_bad_tours(start: Any, centres: Any, radius: float, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 the whole message is compared
        shortest_tour(start, centres, radius)
    assert str(caught.value) == message


@settings(max_examples=10, deadline=None)
@given(points, st.lists(points, min_size=1, max_size=4), st.floats(0.1, 2.0))
def test_walls_of_a_convex_room_are_no_matter(start: Any, centres: Any, radius: float) -> None:
    start, centres = np.array(start), np.array(centres)
    room = Polygon(((-9.0, -9.0), (9.0, -9.0), (10.0, 0.0), (9.0, 9.0), (-9.0, 9.0)))
    assert shortest_tour(start, centres, radius, room) == shortest_tour(start, centres, radius)


# ---- Around corners --------------------------------------------------------------------------------------------------

L_ROOM = Polygon(((0.0, 0.0), (8.0, 0.0), (8.0, 4.0), (4.0, 4.0), (4.0, 8.0), (0.0, 8.0)))
U_ROOM = Polygon(((0.0, 0.0), (9.0, 0.0), (9.0, 7.0), (6.0, 7.0), (6.0, 3.0), (3.0, 3.0), (3.0, 7.0), (0.0, 7.0)))
# A partition 0.2 m thick from the wall at y = 4 down to y = 1.
PARTED = Polygon(((0.0, 0.0), (6.0, 0.0), (6.0, 4.0), (3.1, 4.0), (3.1, 1.0), (2.9, 1.0), (2.9, 4.0), (0.0, 4.0)))
PAST_PARTITION = math.hypot(1.9, 2.0) + 0.2  # from (1, 3)


@pytest.mark.parametrize(
    ("room", "start", "centres", "radius", "length"),
    [
        (L_ROOM, (2, 7), [], 1.0, 0.0),
        (L_ROOM, (2, 7), [(2.5, 6.5)], 1.0, 0.0),  # inside
        (L_ROOM, (2, 7), [(2, 3)], 1.0, 3.0),
        (L_ROOM, (2, 7), [(7, 2)], 1.0, 2 * math.sqrt(13) - 1),  # over the corner at (4, 4)
        (L_ROOM, (2, 7), [(7, 2), (2.5, 5)], 1.0, 2 * math.sqrt(13) - 1),  # passed at 0.69 m
        (L_ROOM, (2, 7), [(4.4, 3.6)], 1.0, math.hypot(2.4, 3.4) - 1),  # the corner is inside the disc
        (L_ROOM, (3, 7), [(5.5, 3.9)], 0.5, math.sqrt(10) + math.sqrt(1.5**2 + 0.1**2) - 0.5),
        (PARTED, (1, 3), [(3.6, 3)], 1.0, 1.6),  # through the partition
        (PARTED, (1, 3), [(3.6, 3)], 0.75, 1.85),
        (PARTED, (1, 3), [(3.6, 3)], 0.6, PAST_PARTITION + math.hypot(0.5, 2.0) - 0.6),  # ends within it
        (PARTED, (1, 3), [(5, 3)], 0.75, PAST_PARTITION + math.hypot(1.9, 2.0) - 0.75),
        (U_ROOM, (1.5, 6), [(7.5, 6)], 1.0, 2 * math.hypot(1.5, 3.0) + 3 - 1),
    ],
    ids=[
        "none",
        "inside",
        "straight",
        "over a corner",
        "over a corner, another on the way",
        "a corner inside",
        "a wall beside",
        "through a wall",
        "barely through a wall",
        "not through a wall",
        "around a partition",
        "over two corners",
    ],
)
def test_tours_around_corners_in_closed_form(
    room: Polygon, start: Any, centres: Any, radius: float, length: float
) -> None:
    centres = np.array(centres, dtype=float).reshape(-1, 2)
    assert shortest_tour(np.array(start, dtype=float), centres, radius, room) == pytest.approx(length, abs=1e-3)


def test_corners_that_are_not_in_the_way_are_no_matter() -> None:
    start, centres = np.array((1.0, 1.0)), np.array([(1.0, 6.5), (6.5, 1.0), (3.0, 3.0)])
    assert shortest_tour(start, centres, 1.0, L_ROOM) == pytest.approx(shortest_tour(start, centres, 1.0), abs=1e-3)


def walked(room: Polygon, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Lengths (N, M) of ways over any corners, by Shapely's idea of what is inside, relaxed until nothing changes."""
    floor = shapely.Polygon(room.corners).buffer(1e-9)

    def straight(here: np.ndarray, there: np.ndarray) -> np.ndarray:
        pairs = np.stack(np.broadcast_arrays(here[:, None], there[None]), axis=2)
        inside = shapely.covers(floor, shapely.linestrings(pairs))
        return np.where(inside, np.linalg.norm(pairs[:, :, 0] - pairs[:, :, 1], axis=-1), np.inf)

    between = straight(room.corners, room.corners)
    for _ in range(len(room.corners)):
        between = np.minimum(between, (between[:, :, None] + between[None]).min(axis=1))
    via = (straight(starts, room.corners)[:, :, None] + between[None]).min(axis=1)
    onward = straight(room.corners, ends)
    return np.minimum(straight(starts, ends), (via[:, :, None] + onward[None]).min(axis=1))


@pytest.mark.parametrize("room", [L_ROOM, U_ROOM, PARTED], ids=["L", "U", "parted"])
def test_walking_lengths_are_those_over_any_corners(room: Polygon) -> None:
    rng = np.random.default_rng(0)
    starts, ends = (places[room.contains(places)] for places in rng.uniform(*room.bounds, size=(2, 60, 2)))
    lengths = walking_lengths(room, starts, ends)
    np.testing.assert_allclose(lengths, walked(room, starts, ends), atol=1e-9)
    for start, row in zip(starts[:5], lengths, strict=False):
        np.testing.assert_allclose(row, room.walking_distances(start, ends), atol=1e-9)


def rims_on_floor(room: Polygon, centre: np.ndarray, radius: float, angles: np.ndarray) -> np.ndarray:
    """Places (K, 2) on the rim of a disc, those on the floor."""
    places = centre + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return places[shapely.contains_xy(shapely.Polygon(room.corners), *places.T)]


def dense_tour(room: Polygon, start: np.ndarray, centres: np.ndarray, radius: float, places: int) -> float:
    """The shortest tour over places on the rims and over all orders."""
    angles = 2 * np.pi * np.arange(places) / places
    rims = [rims_on_floor(room, centre, radius, angles) for centre in centres]
    legs = {(i, j): walked(room, rims[i], rims[j]) for i, j in permutations(range(len(centres)), 2)}
    best = math.inf
    for order in permutations(range(len(centres))):
        lengths = walked(room, start[None], rims[order[0]])[0]
        for leg in pairwise(order):
            lengths = (lengths[:, None] + legs[leg]).min(axis=0)
        best = min(best, float(lengths.min()))
    return best


@pytest.mark.parametrize("radius", [0.4, 1.0, 1.6], ids=["small", "default", "overlapping"])
@pytest.mark.parametrize("room", [L_ROOM, U_ROOM, PARTED], ids=["L", "U", "parted"])
@pytest.mark.parametrize("num_discs", [1, 2, 3])
def test_tours_around_corners_equal_a_search_over_dense_rims(num_discs: int, room: Polygon, radius: float) -> None:
    """No tour over these places is shorter; and one of them is hardly longer, as a place is off by half an arc."""
    rng = np.random.default_rng(num_discs)
    places = {1: 4000, 2: 240, 3: 100}[num_discs]
    compared = 0
    while compared < 3:
        start, *centres = rng.uniform(*room.bounds, size=(1 + num_discs, 2))
        if room.contains(np.array([start, *centres]), 0.1).all():
            centres = np.array([centre for centre in centres if math.dist(start, centre) > radius]).reshape(-1, 2)
            truth = dense_tour(room, start, centres, radius, places) if len(centres) else 0.0
            length = shortest_tour(start, centres, radius, room)
            assert length <= truth + 1e-3
            # To first order; where the way touches a rim or ends at it, the loss is far smaller.
            assert length >= truth - (2 * num_discs - 1) * math.pi / places * radius
            compared += 1


@pytest.mark.parametrize("seed", range(3))
def test_tours_are_no_shorter_than_without_walls_and_than_the_way_to_the_farthest(seed: int) -> None:
    rng = np.random.default_rng(seed)
    places = rng.uniform(*U_ROOM.bounds, size=(60, 2))
    start, *centres = places[U_ROOM.contains(places, 0.3)][:5]
    centres = np.array(centres)
    length = shortest_tour(start, centres, 0.5, U_ROOM)
    assert length >= shortest_tour(start, centres, 0.5) - 1e-3
    assert length <= shortest_tour(start, centres, 0.4, U_ROOM) + 1e-3
    assert shortest_tour(start, centres[1:], 0.5, U_ROOM) <= length + 1e-3
    assert shortest_tour(start, centres[::-1], 0.5, U_ROOM) == pytest.approx(length, abs=1e-3)


def test_many_discs_around_a_corner() -> None:
    """All on the way over the corner, in a mixed order."""
    start, corner, end = np.array((2.0, 7.0)), np.array((4.0, 4.0)), np.array((7.0, 2.0))
    shares = np.array([0.7, 0.3, 0.9, 0.5, 1.0])[:, None]
    centres = np.vstack([start + shares * (corner - start), corner + shares * (end - corner)])
    assert shortest_tour(start, centres, 0.3, L_ROOM) == pytest.approx(2 * math.sqrt(13) - 0.3, abs=1e-3)


def test_order_of_visit_goes_by_the_way_on_foot() -> None:
    """As the crow flies the place across the gap of the U comes first; on foot, that at the bottom is on the way."""
    places = np.array([(6.5, 6.0), (4.5, 0.5)])
    assert order_of_visit(np.array((2.5, 6.0)), places).tolist() == [0, 1]
    assert order_of_visit(np.array((2.5, 6.0)), places, U_ROOM).tolist() == [1, 0]
    assert order_of_visit(np.array((2.5, 6.0)), places, ShoeBox((9.0, 7.0))).tolist() == [0, 1]
