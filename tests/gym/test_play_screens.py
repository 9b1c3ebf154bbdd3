from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

pytest.importorskip("pygame")

from auralnav_gym.movement import Body
from auralnav_gym.playing import screens
from auralnav_gym.playing.screens import (
    SCREEN_SIZE,
    Line,
    Note,
    Standing,
    paint_cover,
    paint_result,
    paint_standing,
    paint_welcome,
    side_by_side,
)
from auralnav_gym.rendering import AGENT, FRAME_SIZE, LEFT_EAR, PAGE, RIGHT_EAR, SOUNDING, WHITE

STANDING = Standing("two-sources-v1, episode 3", "Find both sounds", 2, max_actions=200)
LONG = "A rather long name of something that somebody has made, and that goes on"
LINE = Line("oracle", ("2 of 2", "1.00", "1.00", "15", "9.1"), (1.0, 1.0))


def mask(frame: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return (frame == np.array(colour, dtype=np.uint8)).all(axis=-1)


def standing(**changes: object) -> np.ndarray:
    return paint_standing(Standing(**{**vars(STANDING), **changes}))


def bar_length(frame: np.ndarray, colour: tuple[int, int, int]) -> float:
    """Share of the pixels of the bar below the counts that has the colour."""
    bar = mask(frame, colour) | mask(frame, PAGE)
    row = next(row for row in range(180, 260) if bar[row].sum() > 400) + 2
    return mask(frame, colour)[row].sum() / bar[row].sum()


SCREENS = {
    "welcome": lambda: paint_welcome(LONG, LONG, Body(step_size=0.123, turn_angle=0.05), 0.125),
    "standing": lambda: standing(title=LONG[:40], task=LONG, num_targets=8, num_found=7, map_was_shown=True),
    "many": lambda: standing(title=LONG * 2, num_targets=40, num_found=12, num_actions=10_000, max_actions=20_000),
    "endless": lambda: standing(max_actions=None, note=Note("That is not one to find.", "bad"), map_is_shown=True),
    "result": lambda: paint_result(LONG[:40], Note(LONG, "bad"), [Line(LONG), *[LINE] * 7], LONG * 2, False),
    "last": lambda: paint_result("", Note("All found in 15 actions", "good"), [LINE], LONG, True),
}


@pytest.mark.parametrize("name", SCREENS)
def test_nothing_is_cut_off(name: str) -> None:
    frame = SCREENS[name]()
    assert frame.shape == (FRAME_SIZE[1], FRAME_SIZE[0], 3)
    assert frame.dtype == np.uint8
    for edge in (frame[:16], frame[-16:], frame[:, :16], frame[:, -16:]):
        assert mask(edge, WHITE).all()
    assert not mask(frame, WHITE)[20:-20].all(axis=1).all()
    assert side_by_side(paint_cover(), frame).shape[1::-1] == SCREEN_SIZE


def test_a_long_table_leaves_room_for_what_is_below_it() -> None:
    """There is a row of white above the keys at the bottom, and one between the table and what follows."""
    frame = SCREENS["result"]()
    empty = mask(frame, WHITE).all(axis=1)
    keys = FRAME_SIZE[1] - 46
    assert empty[keys - 40 : keys - 18].any()
    assert not empty[keys - 16 : keys + 16].any()


def test_the_left_ear_is_on_the_left() -> None:
    frame = paint_cover()
    (_, left), (_, right) = (np.argwhere(mask(frame, colour)).mean(axis=0) for colour in (LEFT_EAR, RIGHT_EAR))
    assert left < FRAME_SIZE[0] / 2 < right
    head = np.argwhere(mask(frame, AGENT))
    top, bottom = head[head[:, 0] == head[:, 0].min()], head[head[:, 0] == head[:, 0].max()]
    assert len(top) < len(bottom)  # the nose points up
    assert (paint_cover("") != frame).any(axis=(1, 2)).nonzero()[0].min() > 600  # only the text at the bottom differs
    with pytest.raises(ValueError, match="read-only"):
        frame[0, 0] = 0


@pytest.mark.parametrize(("num_targets", "num_found"), [(1, 0), (2, 0), (2, 1), (4, 3), (8, 8)])
def test_there_is_a_disc_for_each_that_was_found(num_targets: int, num_found: int) -> None:
    frame = standing(num_targets=num_targets, num_found=num_found)
    _, count = ndimage.label(ndimage.binary_closing(mask(frame, screens._GOOD)[140:200], iterations=3))
    assert count == num_found


@pytest.mark.parametrize(("taken", "colour"), [(0, AGENT), (50, AGENT), (179, AGENT), (180, SOUNDING), (200, SOUNDING)])
def test_the_bar_is_as_long_as_what_was_taken_of_the_time(taken: int, colour: tuple[int, int, int]) -> None:
    other = SOUNDING if colour == AGENT else AGENT
    frame = standing(num_actions=taken)
    bar = frame[180:260]
    assert not mask(bar, other).any()
    if taken < 200:
        assert bar_length(frame, colour) == pytest.approx(taken / 200, abs=0.02)
    else:
        assert not mask(bar, PAGE).any()


@pytest.mark.parametrize("key", ["up", "down", "left", "right", "space"])
def test_the_last_key_is_lit(key: str) -> None:
    """Where it lies on a keyboard."""
    lit, none = standing(key=key), standing()
    rows, columns = np.nonzero(mask(lit, AGENT) & ~mask(none, AGENT))
    changed = (lit != none).any(axis=-1)
    assert changed.sum() < 80 * 60
    places = {}
    for name in ("up", "down", "left", "right", "space"):
        at = np.argwhere((standing(key=name) != none).any(axis=-1)).mean(axis=0)
        places[name] = at
    assert places["up"][0] < places["down"][0]
    assert places["left"][1] < places["down"][1] < places["right"][1] < places["space"][1]
    assert abs(places["left"][0] - places["right"][0]) < 2
    assert abs(places["up"][1] - places["down"][1]) < 2
    assert np.hypot(rows.mean() - places[key][0], columns.mean() - places[key][1]) < 4


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"note": Note("A wall is in the way.", "bad")}, {"note": Note("")}),
        ({"map_is_shown": True}, {"map_is_shown": False}),
        ({"map_was_shown": True}, {"map_was_shown": False}),
        ({"num_actions": 1}, {"num_actions": 2}),
        ({"task": "Find the sound"}, {"task": "Find both sounds"}),
        ({"title": "episode 1"}, {"title": "episode 2"}),
    ],
    ids=["note", "map-is-shown", "map-was-shown", "actions", "task", "title"],
)
def test_what_is_told_is_seen(one: dict[str, object], other: dict[str, object]) -> None:
    assert (standing(**one) != standing(**other)).any()


def test_what_is_not_known_yet_is_filled_in() -> None:
    """Below the row of the person, which stays as it is."""
    headline = Note("All found in 15 actions", "good")
    waiting = paint_result("two-sources-v1", headline, [LINE, Line("oracle")], "", False)
    known = paint_result("two-sources-v1", headline, [LINE, LINE], "", False)
    rows = np.nonzero((waiting != known).any(axis=(1, 2)))[0]
    assert 236 < rows.min() < rows.max() < 300
