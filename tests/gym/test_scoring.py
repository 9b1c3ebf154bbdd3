"""Rewards, SPL and SNA."""

from __future__ import annotations

import math
from dataclasses import fields
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from auralnav_gym.movement import Action, Body, Pose, move
from auralnav_gym.planning import plan
from auralnav_gym.rooms import ShoeBox
from auralnav_gym.scoring import Rewards, as_rewards, reward_terms, sna, spl

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
        turned=float(action in (Action.TURN_LEFT, Action.TURN_RIGHT)),
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


def test_a_part_of_a_turn_earns_a_part() -> None:
    """On an arc the agent walks and turns at once."""
    still = np.array([3.0]), np.array([True])
    terms = reward_terms(
        Rewards(turn=-0.4, walk=-2.0),
        turned=0.25,
        walked=0.1,
        distances_before=still[0],
        distances_after=still[0],
        on_before=still[1],
        on_after=still[1],
    )
    assert (terms["turn"], terms["walk"]) == pytest.approx((-0.1, -0.2))


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
