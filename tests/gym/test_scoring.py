"""Rewards, the shortest tour, SPL and SNA."""

from __future__ import annotations

import math
from dataclasses import fields
from itertools import pairwise, permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auralnav_gym.agents import plan
from auralnav_gym.movement import Action, Body, Pose, move
from auralnav_gym.rooms import ShoeBox
from auralnav_gym.scoring import Rewards, as_rewards, reward_terms, shortest_tour, sna, spl

NAMES = ["step", "turn", "walk", "found", "all_found", "touched", "progress", "proximity"]


def terms_of(
    weights: Rewards,
    action: int,
    before: Any,
    after: Any,
    on_before: Any,
    on_after: Any,
    walked: float = 0.5,
    num_touched: int = 0,
) -> dict[str, float]:
    return reward_terms(
        weights,
        action=action,
        walked=walked if action in (Action.FORWARD, Action.BACKWARD) else 0.0,
        distances_before=np.array(before, dtype=float),
        distances_after=np.array(after, dtype=float),
        on_before=np.array(on_before, dtype=bool),
        on_after=np.array(on_after, dtype=bool),
        num_touched=num_touched,
    )


# ---- Rewards ---------------------------------------------------------------------------------------------------------

ONES = Rewards(step=1, turn=1, walk=1, found=1, all_found=1, touched=1, progress=1, proximity=1)
TRANSITIONS: dict[str, tuple[tuple[Any, ...], dict[str, float]]] = {
    "a step towards the nearer of two": (
        (Action.FORWARD, [3.0, 5.0], [2.5, 5.4], [1, 1], [1, 1]),
        {
            "step": 1,
            "turn": 0,
            "walk": 0.5,
            "found": 0,
            "all_found": 0,
            "touched": 0,
            "progress": 0.5,
            "proximity": 1 / 2.5,
        },
    ),
    "a step back from it": (
        (Action.BACKWARD, [3.0, 5.0], [3.5, 4.6], [1, 1], [1, 1]),
        {
            "step": 1,
            "turn": 0,
            "walk": 0.5,
            "found": 0,
            "all_found": 0,
            "touched": 0,
            "progress": -0.5,
            "proximity": 1 / 3.5,
        },
    ),
    "another source becomes the nearest": (
        (Action.FORWARD, [3.0, 3.2], [3.4, 2.8], [1, 1], [1, 1]),
        {
            "step": 1,
            "turn": 0,
            "walk": 0.5,
            "found": 0,
            "all_found": 0,
            "touched": 0,
            "progress": 0.2,
            "proximity": 1 / 2.8,
        },
    ),
    "a turn to the right": (
        (Action.TURN_RIGHT, [4.0], [4.0], [1], [1]),
        {"step": 1, "turn": 1, "walk": 0, "found": 0, "all_found": 0, "touched": 0, "progress": 0, "proximity": 0.25},
    ),
    "a turn to the left": (
        (Action.TURN_LEFT, [4.0], [4.0], [1], [1]),
        {"step": 1, "turn": 1, "walk": 0, "found": 0, "all_found": 0, "touched": 0, "progress": 0, "proximity": 0.25},
    ),
    "one of two is found: no jump to the other": (
        (Action.FORWARD, [1.25, 8.0], [0.75, 7.5], [1, 1], [0, 1]),
        {
            "step": 1,
            "turn": 0,
            "walk": 0.5,
            "found": 1,
            "all_found": 0,
            "touched": 0,
            "progress": 0.5,
            "proximity": 1 / 7.5,
        },
    ),
    "the last one is found": (
        (Action.FORWARD, [0.2, 1.25], [0.4, 0.75], [0, 1], [0, 0]),
        {"step": 1, "turn": 0, "walk": 0.5, "found": 1, "all_found": 1, "touched": 0, "progress": 0.5, "proximity": 0},
    ),
    "two at once, the last ones": (
        (Action.FORWARD, [1.25, 1.5], [0.75, 1.0], [1, 1], [0, 0]),
        {"step": 1, "turn": 0, "walk": 0.5, "found": 2, "all_found": 1, "touched": 0, "progress": 0.5, "proximity": 0},
    ),
    "a nearer one that is off does not count": (
        (Action.BACKWARD, [0.5, 4.0], [0.25, 5.0], [0, 1], [0, 1]),
        {"step": 1, "turn": 0, "walk": 0.5, "found": 0, "all_found": 0, "touched": 0, "progress": -1, "proximity": 0.2},
    ),
    "two distractors are entered": (
        (Action.FORWARD, [3.0], [2.5], [1], [1], 0.5, 2),
        {
            "step": 1,
            "turn": 0,
            "walk": 0.5,
            "found": 0,
            "all_found": 0,
            "touched": 2,
            "progress": 0.5,
            "proximity": 1 / 2.5,
        },
    ),
    "after the end nothing more is found": (
        (Action.FORWARD, [0.5], [0.5], [0], [0]),
        {"step": 1, "turn": 0, "walk": 0.5, "found": 0, "all_found": 0, "touched": 0, "progress": 0, "proximity": 0},
    ),
}


@pytest.mark.parametrize(("transition", "expected"), TRANSITIONS.values(), ids=TRANSITIONS)
def test_terms_with_unit_weights(transition: tuple[Any, ...], expected: dict[str, float]) -> None:
    assert terms_of(ONES, *transition) == pytest.approx(expected)


@pytest.mark.parametrize("name", NAMES)
def test_every_weight_scales_its_own_term_and_no_other(name: str) -> None:
    for transition, expected in TRANSITIONS.values():
        weights = Rewards(**{**dict.fromkeys(NAMES, 1.0), name: -3.0})
        assert terms_of(weights, *transition) == pytest.approx({**expected, name: -3 * expected[name]})


def test_terms_are_named_like_the_weights() -> None:
    terms = terms_of(Rewards(), Action.FORWARD, [2.0], [1.5], [1], [1])
    assert list(terms) == [field.name for field in fields(Rewards)] == NAMES
    assert all(type(value) is float for value in terms.values())


@pytest.mark.parametrize(
    ("transition", "reward"),
    [
        ((Action.FORWARD, [3.0, 5.0], [2.5, 5.4], [1, 1], [1, 1]), -0.5 + 1 / 2.5),
        ((Action.TURN_LEFT, [4.0, 5.0], [4.0, 5.0], [1, 1], [1, 1]), -0.5 - 0.1 + 1 / 4),
        ((Action.FORWARD, [1.5, 5.0], [1.0, 5.0], [1, 1], [0, 1]), -0.5 + 100 + 1 / 5),
        ((Action.FORWARD, [0.3, 1.5], [0.3, 1.0], [0, 1], [0, 0]), -0.5 + 100 + 100),
        ((Action.FORWARD, [3.0, 5.0], [2.5, 5.4], [1, 1], [1, 1], 0.5, 1), -0.5 + 1 / 2.5 - 100),
    ],
    ids=["step", "turn", "found", "all found", "touched"],
)
def test_original_figures(transition: tuple[Any, ...], reward: float) -> None:
    assert sum(terms_of(Rewards.original(), *transition).values()) == pytest.approx(reward)


def test_progress_over_a_walk_is_the_distance_gained() -> None:
    rng = np.random.default_rng(3)
    sources, path = rng.uniform(0, 8, (3, 2)), np.cumsum(rng.normal(0, 0.4, (40, 2)), axis=0)
    distances = np.linalg.norm(path[:, None] - sources, axis=2)
    on = np.array([True, False, True])
    gained = sum(
        terms_of(Rewards(progress=2.0), Action.FORWARD, before, after, on, on)["progress"]
        for before, after in pairwise(distances)
    )
    assert gained == pytest.approx(2 * (distances[0][on].min() - distances[-1][on].min()))


@pytest.mark.parametrize("num_sources", [1, 2, 4])
def test_a_good_episode_returns_one_to_ten_and_more_than_a_bad_one(num_sources: int) -> None:
    room, body = ShoeBox((8.0, 8.0, 3.0)), Body()
    for seed in range(3):
        rng = np.random.default_rng(seed)
        pose, sources = Pose(1.0, 1.0, float(rng.uniform(-3, 3))), rng.uniform((3.5, 0.5), (7.5, 7.5), (num_sources, 2))
        good = episode_return(room, body, pose, sources, plan(room, body, pose, sources))
        bad = episode_return(room, body, pose, sources, [Action.TURN_LEFT] * 200)
        assert 1 <= good <= 10 * max(1, num_sources / 2)
        assert -10 <= bad < 0


def test_to_find_a_target_over_a_distractor_does_not_pay() -> None:
    """Going around costs a little; a touch takes back what finding a target earns."""
    for weights in (Rewards.default(), Rewards.original()):
        assert weights.touched <= -weights.found


def episode_return(room: ShoeBox, body: Body, pose: Pose, sources: np.ndarray, actions: list[Action]) -> float:
    total, on = 0.0, np.ones(len(sources), dtype=bool)
    distances = np.linalg.norm(sources - pose.position, axis=1)
    for action in actions:
        pose = move(pose, action, room, body)
        after = np.linalg.norm(sources - pose.position, axis=1)
        on_after = on & (after > body.capture_radius)
        total += sum(terms_of(Rewards.default(), action, distances, after, on, on_after).values())
        distances, on = after, on_after
    return total


@pytest.mark.parametrize(
    ("given_rewards", "expected"),
    [
        (None, Rewards.default()),
        ("default", Rewards.default()),
        (
            "original",
            Rewards(step=-0.5, turn=-0.1, walk=0, found=100, all_found=100, touched=-100, progress=0, proximity=1),
        ),
        (Rewards(found=7.0), Rewards(found=7.0)),
        ({"found": 7, "proximity": 0.5}, Rewards(found=7.0, proximity=0.5)),
        ({}, Rewards.default()),
    ],
    ids=["None", "default", "original", "Rewards", "mapping", "empty mapping"],
)
def test_as_rewards(given_rewards: Any, expected: Rewards) -> None:
    assert as_rewards(given_rewards) == expected


@pytest.mark.parametrize(
    ("given_rewards", "error", "message"),
    [
        ("orignal", ValueError, "expected one of ['default', 'original'] or weights, actual: 'orignal'"),
        ({"fuond": 1.0}, ValueError, f"expected weights among {NAMES}, actual: ['fuond']"),
        ({"found": math.nan}, ValueError, "expected a finite number as weight of 'found', actual: nan"),
        ({"step": -math.inf}, ValueError, "expected a finite number as weight of 'step', actual: -inf"),
        ({"turn": "much"}, ValueError, "expected a finite number as weight of 'turn', actual: 'much'"),
        ({"turn": True}, ValueError, "expected a finite number as weight of 'turn', actual: True"),
        (3.0, TypeError, "expected a Rewards, the name of a preset, a mapping from names to weights or None"),
    ],
    ids=["preset", "weight", "nan", "inf", "text", "bool", "type"],
)
def test_bad_rewards(given_rewards: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        as_rewards(given_rewards)
    assert str(caught.value).startswith("rewards: ")
    assert message in str(caught.value)


# ---- SPL and SNA -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("score", [spl, sna], ids=["SPL", "SNA"])
@pytest.mark.parametrize(
    ("success", "least", "spent", "expected"),
    [
        (True, 4, 4, 1.0),
        (True, 4, 8, 0.5),
        (True, 4, 3, 1.0),  # better than the reference: one all the same
        (False, 4, 4, 0.0),
        (True, 0, 0, 1.0),
        (True, 0, 2, 0.0),
    ],
    ids=["as good", "twice", "better", "failed", "nothing to do", "nothing to do, done slowly"],
)
def test_spl_and_sna(score: Any, success: bool, least: float, spent: float, expected: float) -> None:
    assert score(success, least, spent) == expected


# ---- The shortest tour -----------------------------------------------------------------------------------------------


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
