"""The picture: where things must be is computed here, from the walls that are seen and the numbers of the scene."""

from __future__ import annotations

import copy
import itertools
import math
import pickle
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from gymnasium.error import DependencyNotInstalled
from scipy import ndimage

from auralnav_gym import rendering
from auralnav_gym.movement import Action, Body, Pose, move
from auralnav_gym.rendering import Renderer, draw, draw_background
from auralnav_gym.rooms import Polygon, Room, ShoeBox
from auralnav_gym.scene import Scene, Source
from auralnav_gym.sounds import Sound

pygame = pytest.importorskip("pygame")

SQUARE = ShoeBox(size=(8.0, 8.0, 3.0))
# Its lowest, leftmost, rightmost and highest points lie on walls along the axes, so that its extent is seen exactly.
PENTAGON = Polygon(floor=((-2, -1), (7, -1), (7, 1), (3, 5), (-2, 5)), height=3.0)
ROOMS = {
    "square": SQUARE,
    "wide": ShoeBox(size=(12.0, 5.0, 3.0)),
    "tall-2-D": ShoeBox(size=(3.0, 6.0)),
    "large": ShoeBox(size=(40.0, 30.0, 5.0)),
    "small": ShoeBox(size=(1.5, 2.0, 2.0)),
    "polygon": PENTAGON,
    "polygon-2-D": Polygon(floor=PENTAGON.floor),
}
every_room = pytest.mark.parametrize("room", ROOMS.values(), ids=ROOMS.keys())


def make_scene(
    room: Room,
    places: Sequence[tuple[float, float]],
    pose: Pose,
    names: Sequence[tuple[str, str]] | None = None,
    num_distractors: int = 0,
) -> Scene:
    """The last of the places are those of distractors."""
    names = names or [("siren", f"siren-{index:02d}") for index in range(len(places))]
    height = () if room.ceiling is None else (1.2,)
    sources = tuple(
        Source(
            position=(*place, *height),
            sound=Sound(name=name, kind=kind, signal=np.ones(8, dtype=np.float32)),
            is_target=index < len(places) - num_distractors,
        )
        for index, (place, (kind, name)) in enumerate(zip(places, names, strict=True))
    )
    return Scene(room=room, sources=sources, pose=pose, ear_height=None if room.ceiling is None else 1.2)


def ears_of(pose: Pose, spacing: float = 0.17) -> np.ndarray:
    """The left ear lies a quarter turn counter-clockwise from the heading."""
    left = np.array([-math.sin(pose.heading), math.cos(pose.heading)]) * spacing / 2
    return np.array([pose.position + left, pose.position - left])


@dataclass
class Picture:
    """A frame and what can be seen in it without knowing how it was drawn."""

    frame: np.ndarray
    room: Room

    def __post_init__(self) -> None:
        # The floor is what the walls enclose.
        regions, _ = ndimage.label(~self.mask(rendering.WALL))
        middle = regions[rendering.PLAN_SIZE // 2, rendering.PLAN_SIZE // 2]
        assert middle != regions[0, 0], "the walls do not enclose the middle of the plan"
        self.floor = regions == middle
        rows, columns = np.nonzero(self.floor)
        self.left, self.bottom = columns.min(), rows.max() + 1
        self.low, high = self.room.corners.min(axis=0), self.room.corners.max(axis=0)
        self.extent = high - self.low
        # px per metre along x and y
        self.scales = np.array([np.ptp(columns) + 1, np.ptp(rows) + 1]) / self.extent

    def place(self, point: Sequence[float] | np.ndarray) -> np.ndarray:
        """Where a point in metres must be, in pixels: x grows with the column, y falls with the row."""
        x, y = (np.asarray(point) - self.low) * self.scales
        return np.array([self.left + x, self.bottom - y])

    def metres(self, pixel: np.ndarray) -> np.ndarray:
        return self.low + np.array([pixel[0] - self.left, self.bottom - pixel[1]]) / self.scales

    def colour(self, point: Sequence[float] | np.ndarray, offset: tuple[float, float] = (0, 0)) -> tuple[int, ...]:
        column, row = (int(value) for value in self.place(point) + offset)
        return tuple(self.frame[row, column].tolist())

    def mask(self, colour: tuple[int, int, int]) -> np.ndarray:
        """(H, W) bool: the pixels of the plan that have this colour."""
        found = (self.frame == np.array(colour, dtype=np.uint8)).all(axis=-1)
        found[rendering.PLAN_SIZE :] = False
        return found

    def pixels(self, colour: tuple[int, int, int]) -> np.ndarray:
        """(P, 2) metres: the middles of the pixels of the plan that have this colour."""
        rows, columns = np.nonzero(self.mask(colour))
        assert len(rows) > 0, f"nothing is drawn in {colour}"
        return np.array([self.metres(pixel) for pixel in np.stack([columns, rows], axis=1) + 0.5])


def take(
    scene: Scene,
    pose: Pose | None = None,
    path: Sequence[Pose] | None = None,
    on: Sequence[bool] | None = None,
    body: Body | None = None,
    ears: np.ndarray | None = None,
    **now: Any,
) -> Picture:
    """A picture of a scene, at its start unless told otherwise."""
    pose = pose or scene.pose
    on_array = np.ones(len(scene.sources), dtype=bool) if on is None else np.array(on)
    frame = Renderer("rgb_array", fps=10).render(
        scene, pose, path or [scene.pose], on_array, body or Body(), ears_of(pose) if ears is None else ears, **now
    )
    assert frame is not None
    return Picture(frame, scene.room)


def in_room(room: Room, x: float, y: float) -> tuple[float, float]:
    """A place by its shares of the room's width and depth."""
    low, high = room.corners.min(axis=0), room.corners.max(axis=0)
    return float(low[0] + x * (high - low)[0]), float(low[1] + y * (high - low)[1])


def default_scene(room: Room = SQUARE) -> Scene:
    return make_scene(room, [in_room(room, 0.3, 0.85), in_room(room, 0.6, 0.4)], Pose(*in_room(room, 0.2, 0.2), 0.4))


def frame_of(renderer: Renderer, scene: Scene, on: np.ndarray, path: Sequence[Pose] | None = None) -> np.ndarray:
    path = path or [scene.pose]
    frame = renderer.render(scene, path[-1], path, on, Body(), ears_of(path[-1]))
    assert frame is not None
    return frame


# ==== The room ====


@every_room
def test_room_keeps_its_proportions_and_fills_the_plan(room: Room) -> None:
    picture = take(default_scene(room))
    longer = max(picture.extent * picture.scales)
    assert 500 < longer < rendering.PLAN_SIZE
    # Each side is seen to the pixel, give or take one at both ends.
    np.testing.assert_allclose(*(picture.extent * picture.scales.mean(), picture.extent * picture.scales), atol=2)


@every_room
def test_floor_has_the_area_of_the_room(room: Room) -> None:
    picture = take(default_scene(room))
    assert picture.floor.sum() / np.prod(picture.scales) == pytest.approx(room.floor_area, rel=0.01)


def test_slanted_wall_stands_where_the_corners_say() -> None:
    picture = take(default_scene(PENTAGON))
    outwards = np.array([1.0, 1.0]) / math.sqrt(2)  # of the wall from (7, 1) to (3, 5)
    for share in (0.1, 0.5, 0.9):
        wall = np.array([7.0, 1.0]) + share * np.array([-4.0, 4.0])
        assert picture.colour(wall + 3 / picture.scales * outwards) == rendering.WALL
        assert picture.colour(wall - 3 / picture.scales * outwards) != rendering.WALL
        assert picture.colour(wall + 20 / picture.scales * outwards) == rendering.PAGE


def test_polygon_given_clockwise_gives_the_same_picture() -> None:
    turned = Polygon(floor=PENTAGON.floor[::-1], height=3.0)
    np.testing.assert_array_equal(take(default_scene(PENTAGON)).frame, take(default_scene(turned)).frame)


# ==== Agent ====


@every_room
@pytest.mark.parametrize(("x", "y"), [(0.2, 0.2), (0.25, 0.75), (0.6, 0.3)], ids=["low", "up", "right"])
def test_agent_is_drawn_where_it_is(room: Room, x: float, y: float) -> None:
    scene = default_scene(room)
    elsewhere = Pose(*in_room(room, 0.5, 0.6), 0.0)
    here = in_room(room, x, y)
    assert take(scene, pose=Pose(*here, 1.0)).colour(here) == rendering.AGENT
    assert take(scene, pose=elsewhere).colour(here) != rendering.AGENT


@pytest.mark.parametrize("room", [SQUARE, PENTAGON, ROOMS["large"]], ids=["square", "polygon", "large"])
@pytest.mark.parametrize("degrees", range(-150, 181, 30))
def test_nose_points_along_the_heading(room: Room, degrees: int) -> None:
    pose = Pose(*in_room(room, 0.45, 0.6), math.radians(degrees))
    picture = take(default_scene(room), pose=pose)
    offsets = picture.pixels(rendering.AGENT) - pose.position
    distances = np.hypot(*offsets.T)
    nose = offsets[distances > 0.8 * distances.max()].mean(axis=0)
    angle = math.degrees(math.atan2(nose[1], nose[0]))
    assert abs((angle - degrees + 180) % 360 - 180) < 8
    # Nothing of the agent is as far away on the other sides.
    along = offsets @ np.array([math.cos(pose.heading), math.sin(pose.heading)])
    assert along.max() > 1.5 * -along.min()


@pytest.mark.parametrize("degrees", [0, 90, 135, -120])
@pytest.mark.parametrize("spacing", [0.0, 0.17, 1.2], ids=["coincident", "17-cm", "1.2-m"])
def test_each_ear_lies_on_its_side(degrees: int, spacing: float) -> None:
    pose = Pose(4.0, 3.5, math.radians(degrees))
    picture = take(default_scene(), pose=pose, ears=ears_of(pose, spacing))
    to_the_left = np.array([-math.sin(pose.heading), math.cos(pose.heading)])
    for colour, side in ((rendering.LEFT_EAR, 1), (rendering.RIGHT_EAR, -1)):
        offset = picture.pixels(colour).mean(axis=0) - pose.position
        assert side * offset @ to_the_left / np.hypot(*offset) > math.cos(math.radians(6))


def test_ears_apart_from_the_head_are_drawn_where_they_are() -> None:
    ears = np.array([[2.0, 6.3], [5.2, 4.1]])
    picture = take(default_scene(), pose=Pose(4.0, 5.0, 0.3), ears=ears)
    for colour, ear in zip((rendering.LEFT_EAR, rendering.RIGHT_EAR), ears, strict=True):
        seen = picture.pixels(colour).mean(axis=0)
        np.testing.assert_allclose(seen, ear, atol=1 / picture.scales.min())


def test_height_of_the_ears_changes_nothing_and_further_ears_are_drawn_too() -> None:
    pose = Pose(4.0, 5.0, 0.3)
    pair = np.array([[4.0, 5.4], [4.0, 4.6]])
    flat = take(default_scene(), pose=pose, ears=pair)
    high = take(default_scene(), pose=pose, ears=np.column_stack([pair, [1.5, 1.5]]))
    np.testing.assert_array_equal(flat.frame, high.frame)
    more = take(default_scene(), pose=pose, ears=np.vstack([pair, [[2.3, 5.3]]]))
    assert flat.colour((2.3, 5.3)) == rendering.FLOOR
    assert more.colour((2.3, 5.3)) == rendering.WHITE
    assert more.colour(pair[0]) == rendering.LEFT_EAR
    assert more.colour(pair[1]) == rendering.RIGHT_EAR


def test_body_larger_than_the_least_head_is_drawn_to_scale() -> None:
    body = Body(radius=0.6)
    pose = Pose(4.0, 4.5, math.pi / 2)
    picture = take(default_scene(), pose=pose, body=body, ears=ears_of(pose, 4.0))
    below = pose.position[1] - picture.pixels(rendering.AGENT)[:, 1].min()
    assert below == pytest.approx(0.6, abs=1.5 / picture.scales[1])


# ==== Sources ====


@every_room
@pytest.mark.parametrize("on", [(True, True), (False, True), (True, False), (False, False)], ids=str)
def test_sources_have_the_colour_of_their_state(room: Room, on: tuple[bool, bool]) -> None:
    scene = default_scene(room)
    picture = take(scene, on=on)
    for source, sounding in zip(scene.sources, on, strict=True):
        # A little to the upper left of the middle, which the tick of a found source leaves free.
        seen = picture.colour(source.position[:2], offset=(-2, -4))
        assert seen == (rendering.SOUNDING if sounding else rendering.FOUND)


def test_found_source_carries_a_tick() -> None:
    scene = make_scene(SQUARE, [(5.3, 5.6)], Pose(1.0, 1.0, 0.0))
    inside = np.array([(dx, dy) for dx in range(-6, 7) for dy in range(-6, 7) if math.hypot(dx, dy) < 6])
    for on, expected in ((True, False), (False, True)):
        picture = take(scene, on=[on])
        column, row = picture.place((5.3, 5.6)).astype(int)
        bright = picture.frame[row + inside[:, 1], column + inside[:, 0]].min(axis=-1) > 230
        assert bright.any() == expected


@pytest.mark.parametrize("radius", [0.6, 1.0, 1.7])
@pytest.mark.parametrize("on", [True, False], ids=["on", "found"])
def test_capture_disc_reaches_as_far_as_the_body(radius: float, on: bool) -> None:
    scene = make_scene(SQUARE, [(3.4, 4.3)], Pose(7.0, 7.5, 0.0))
    picture = take(scene, on=[on], body=Body(capture_radius=radius))
    for degrees in (35, 145, 215, 325):  # off the grid lines and the name
        direction = np.array([math.cos(math.radians(degrees)), math.sin(math.radians(degrees))])
        inside, outside = (np.array([3.4, 4.3]) + share * radius * direction for share in (0.93, 1.07))
        assert picture.colour(inside) != rendering.FLOOR
        assert picture.colour(outside) == rendering.FLOOR


def test_capture_disc_ends_at_the_wall() -> None:
    scene = make_scene(SQUARE, [(7.4, 4.0)], Pose(1.0, 1.0, 0.0))
    picture = take(scene, body=Body(capture_radius=2.0))
    assert picture.colour((8.0, 5.3), offset=(3, 0)) == rendering.WALL
    assert picture.colour((8.0, 5.3), offset=(15, 0)) == rendering.PAGE


def test_only_sounding_sources_send_waves() -> None:
    def around(on: bool) -> np.ndarray:
        scene = make_scene(SQUARE, [(4.5, 4.5)], Pose(1.0, 1.0, 0.0))
        picture = take(scene, on=[on])
        column, row = picture.place((4.5, 4.5)).astype(int)
        return picture.frame[row, column + 12 : column + 28].astype(int)

    assert np.ptp(around(True), axis=0).max() > 30
    assert np.ptp(around(False), axis=0).max() == 0


# ==== Distractors ====


@every_room
def test_distractors_have_a_colour_of_their_own(room: Room) -> None:
    places = [in_room(room, 0.3, 0.85), in_room(room, 0.6, 0.4)]
    picture = take(make_scene(room, places, Pose(*in_room(room, 0.2, 0.2), 0.4), num_distractors=1))
    seen = [picture.colour(place, offset=(-2, -6)) for place in places]  # off the arms of the cross
    assert seen == [rendering.SOUNDING, rendering.DISTRACTOR]
    # Told apart without seeing colours: by lightness (Rec. 709), and by the cross.
    target, found, distractor = (
        np.dot((0.2126, 0.7152, 0.0722), colour)
        for colour in (rendering.SOUNDING, rendering.FOUND, rendering.DISTRACTOR)
    )
    assert distractor < 0.4 * min(target, found)
    assert picture.colour(places[1]) == rendering.WHITE
    assert picture.colour(places[0]) == rendering.SOUNDING


@pytest.mark.parametrize("radius", [0.6, 1.0, 1.7])
def test_what_to_keep_out_of_is_hatched_as_far_as_the_agent_touches_it(radius: float) -> None:
    at = (3.4, 4.3)
    scene = make_scene(SQUARE, [(7.0, 1.0), at], Pose(7.0, 7.5, 0.0), num_distractors=1)
    picture = take(scene, body=Body(capture_radius=radius))
    for degrees in (35, 145, 215, 325):  # off the grid lines and the name
        direction = np.array([math.cos(math.radians(degrees)), math.sin(math.radians(degrees))])
        assert picture.colour(np.array(at) + 0.93 * radius * direction) != rendering.FLOOR
        assert picture.colour(np.array(at) + 1.07 * radius * direction) == rendering.FLOOR
    # Two shades take turns on a line across the hatching.
    steps = np.arange(0.72 * radius, 0.97 * radius, 0.25 / picture.scales.mean())
    across = [picture.colour(np.array(at) + step * np.array([1, -1]) / math.sqrt(2)) for step in steps]
    shades = [sum(colour) for colour in across]
    assert max(shades) - min(shades) > 60
    assert max(shades) < sum(rendering.FLOOR)


def test_a_distractor_sends_waves_and_is_named(written: list[Written]) -> None:
    names = [("siren", "siren-03"), ("bell", "bell-01")]
    scene = make_scene(SQUARE, [(2.0, 6.5), (4.5, 4.5)], Pose(1.0, 1.0, 0.0), names, num_distractors=1)
    picture = take(scene)
    assert {"siren-03", "bell-01"} <= {note.text for note in written}
    later = take(scene, path=[scene.pose] * 2)
    column, row = picture.place((4.5, 4.5)).astype(int)
    near = (slice(row - 28, row + 28), slice(column - 28, column + 28))
    assert (picture.frame[near] != later.frame[near]).any()  # they move


def test_touches_are_told(written: list[Written]) -> None:
    scene = make_scene(SQUARE, [(1.0, 7.0), (4.0, 7.0), (4.0, 4.0)], Pose(1.5, 4.0, 0.0), num_distractors=1)
    take(scene, on=[False, True, True], num_touched=2)
    assert "found 1 of 2, touched 2" in [note.text for note in written]
    written.clear()
    take(scene)
    assert "found 0 of 2, touched 0" in [note.text for note in written]


def test_sources_are_drawn_where_they_are_now() -> None:
    """A picture of a source that has walked is one of a source that has always been there."""
    start, now = (2.0, 6.0), (6.0, 3.0)
    pose = Pose(1.5, 1.5, 0.0)
    there = take(make_scene(SQUARE, [now], pose)).frame
    np.testing.assert_array_equal(
        take(make_scene(SQUARE, [start], pose), source_positions=np.array([now])).frame, there
    )
    assert (take(make_scene(SQUARE, [start], pose)).frame != there).any()


@pytest.mark.parametrize("num_distractors", [0, 1])
@pytest.mark.parametrize("radius", [1.0, 1.25])
def test_the_legend_has_room(num_distractors: int, radius: float, written: list[Written]) -> None:
    scene = make_scene(SQUARE, [(2.0, 6.5), (4.5, 4.5)], Pose(1.0, 1.0, 0.0), num_distractors=num_distractors)
    take(scene, body=Body(capture_radius=radius))
    legend = [note for note in written if note.middle > rendering.PLAN_SIZE + 30]
    assert ("keep out" in [note.text for note in legend]) == bool(num_distractors)
    assert legend[0].left >= rendering.MARGIN + 14
    assert legend[-1].right <= rendering.PLAN_SIZE - rendering.MARGIN + 1
    for before, after in itertools.pairwise(legend):
        assert after.left - before.right >= 20  # for the sign between them


# ==== Path ====


def test_path_is_drawn_darker_the_later() -> None:
    places = [(1.3, 1.4), (2.6, 1.4), (2.6, 2.7), (6.3, 2.7), (6.3, 7.3)]
    path = [Pose(x, y, 0.0) for x, y in places]
    scene = make_scene(SQUARE, [(1.5, 6.5)], path[0])
    walked, still = take(scene, pose=path[-1], path=path), take(scene, pose=path[-1], path=path[:1])
    brightness = []
    for (x0, y0), (x1, y1) in itertools.pairwise(places):
        middle = (0.45 * x0 + 0.55 * x1, 0.45 * y0 + 0.55 * y1)
        assert still.colour(middle) == rendering.FLOOR
        assert walked.colour(middle) != rendering.FLOOR
        brightness.append(sum(walked.colour(middle)))
    assert brightness == sorted(brightness, reverse=True)
    assert brightness[0] > brightness[-1]


def test_turning_on_the_spot_and_an_empty_path_draw_nothing_new() -> None:
    scene = default_scene()
    turned = [scene.pose, Pose(scene.pose.x, scene.pose.y, 1.0), Pose(scene.pose.x, scene.pose.y, 2.0)]
    elsewhere = Pose(6.0, 6.0, 0.0)
    plan = slice(rendering.PLAN_SIZE)
    once, thrice = (take(scene, pose=elsewhere, path=path, on=[False, False]) for path in (turned[:1], turned))
    np.testing.assert_array_equal(once.frame[plan], thrice.frame[plan])
    empty = draw(scene, elsewhere, [], np.array([False, False]), Body(), ears_of(elsewhere))
    assert empty.get_size() == rendering.FRAME_SIZE


# ==== What is written ====


@dataclass
class Written:
    text: str
    left: float
    right: float
    middle: float


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[Written]:
    """Everything that is written into pictures from now on."""
    notes: list[Written] = []
    write = rendering._Canvas.text

    def note(self: object, text: str, left: float, middle: float, *args: object) -> float:
        right = write(self, text, left, middle, *args)  # type: ignore[arg-type]
        notes.append(Written(text, left, right, middle))
        return right

    monkeypatch.setattr(rendering._Canvas, "text", note)
    return notes


def test_status_line_counts(written: list[Written]) -> None:
    scene = make_scene(SQUARE, [(1.0, 7.0), (4.0, 7.0), (7.0, 7.0)], Pose(1.0, 1.0, 0.0))
    path = [scene.pose]
    for action in (Action.FORWARD, Action.FORWARD, Action.TURN_LEFT, Action.FORWARD):
        path.append(move(path[-1], action, SQUARE, Body(step_size=0.5)))
    take(scene, pose=path[-1], path=path, on=[True, False, True], body=Body(capture_radius=1.25))
    texts = [note.text for note in written]
    assert "found 1 of 3" in texts
    assert "4 actions, 1.5 m walked" in texts
    assert "reach 1.25 m" in texts
    assert "grid 1 m" in texts
    written.clear()
    take(scene, path=path[:2])
    assert "1 action, 0.5 m walked" in [note.text for note in written]


@pytest.mark.parametrize(
    ("kind", "name", "label"),
    [
        ("siren", "siren-03", "siren-03"),
        ("speech", "speech/george/george_00.wav", "speech george_00"),
        ("", "bell.flac", "bell"),
        ("", "recording-of-the-rain-in-november.wav", "recording-of-the-rain..."),
        ("bird", "bird/\ud800\x00\n\u00e9.wav", "bird ???\u00e9"),
    ],
    ids=["kind-in-name", "kind-and-name", "no-kind", "long", "unprintable"],
)
def test_sources_are_named(kind: str, name: str, label: str, written: list[Written]) -> None:
    take(make_scene(SQUARE, [(4.0, 4.0)], Pose(1.0, 1.0, 0.0), names=[(kind, name)]))
    assert label in [note.text for note in written]


@pytest.mark.parametrize(
    ("room", "places"),
    [
        (SQUARE, [(0.2, 0.2), (7.8, 0.2), (0.2, 7.8), (7.8, 7.8)]),
        (ROOMS["large"], [(5, 5), (8, 5), (6, 7.5), (30, 20), (32, 22)]),
        (PENTAGON, [(6.7, 0.9), (3.0, 4.8), (-1.8, 4.8)]),
    ],
    ids=["corners", "close-together", "slanted-wall"],
)
def test_names_stay_on_the_floor_and_apart(
    room: Room, places: list[tuple[float, float]], written: list[Written]
) -> None:
    scene = make_scene(room, places, Pose(*in_room(room, 0.5, 0.5), 0.0))
    picture = take(make_scene(room, [in_room(room, 0.5, 0.5)], scene.pose))  # with nothing drawn over its walls
    written.clear()
    frame_of(Renderer("rgb_array", fps=10), scene, np.ones(len(places), dtype=bool))
    names = {source.sound.name for source in scene.sources}
    labels = [note for note in written if note.text in names]
    assert len(labels) == len(places)
    for note in labels:
        for x in (note.left, note.right):
            assert room.contains(picture.metres(np.array([x, note.middle])), clearance=-1 / picture.scales.min())
        for other in labels:
            if other is not note:
                apart = note.right <= other.left or other.right <= note.left
                assert apart or abs(note.middle - other.middle) >= 12


# ==== Frames ====


@every_room
def test_frames_of_an_episode_have_one_shape_and_type(room: Room) -> None:
    scene = default_scene(room)
    renderer = Renderer("rgb_array", fps=10)
    path, on = [scene.pose], np.array([True, True])
    for action in [Action.FORWARD, Action.TURN_LEFT, Action.FORWARD, Action.BACKWARD, Action.TURN_RIGHT]:
        path.append(move(path[-1], action, room, Body()))
        on[0] = len(path) < 4
        frame = frame_of(renderer, scene, on, path)
        assert frame.shape == (672, 608, 3)
        assert frame.dtype == np.uint8
        assert frame.flags.c_contiguous
        assert frame.flags.writeable


def test_equal_states_give_equal_pixels() -> None:
    """Whatever was drawn before, and with the background kept or drawn anew."""
    scene, other = default_scene(), default_scene(PENTAGON)
    on = np.array([True, True])
    path = [scene.pose, move(scene.pose, Action.FORWARD, SQUARE, Body())]
    expected = frame_of(Renderer("rgb_array", fps=10), scene, on, path)

    renderer = Renderer("rgb_array", fps=30)
    frame_of(renderer, other, np.array([False, True]))
    frame_of(renderer, scene, np.array([True, False]), path)
    np.testing.assert_array_equal(frame_of(renderer, scene, on, path), expected)
    frame_of(renderer, scene, on, path)[:] = 0
    np.testing.assert_array_equal(frame_of(renderer, scene, on, path), expected)

    arguments = (scene, path[-1], path, on, Body(), ears_of(path[-1]))
    background = draw_background(scene, on, Body())
    for surface in (draw(*arguments), draw(*arguments, background), draw(*arguments, background)):
        np.testing.assert_array_equal(pygame.surfarray.array3d(surface).swapaxes(0, 1), expected)


def test_a_source_found_in_place_is_noticed() -> None:
    """The environment changes its array `on` in place: a renderer that kept the array would see no change."""
    scene, on = default_scene(), np.array([True, True])
    renderer = Renderer("rgb_array", fps=10)
    frame_of(renderer, scene, on)
    on[0] = False
    expected = frame_of(Renderer("rgb_array", fps=10), scene, np.array([False, True]))
    np.testing.assert_array_equal(frame_of(renderer, scene, on), expected)


def test_another_capture_radius_is_noticed() -> None:
    scene, on = default_scene(), np.array([True, True])
    renderer = Renderer("rgb_array", fps=10)
    frame_of(renderer, scene, on)
    frame = renderer.render(scene, scene.pose, [scene.pose], on, Body(capture_radius=1.5), ears_of(scene.pose))
    assert frame is not None
    np.testing.assert_array_equal(frame, take(scene, body=Body(capture_radius=1.5)).frame)
    assert not np.array_equal(frame, take(scene).frame)


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda renderer: pickle.loads(pickle.dumps(renderer))], ids=["deepcopy", "pickle"]
)
def test_renderer_can_be_copied_in_mid_episode(duplicate) -> None:  # type: ignore[no-untyped-def]
    scene, on = default_scene(), np.array([True, True])
    renderer = Renderer("rgb_array", fps=10)
    expected = frame_of(renderer, scene, on)
    np.testing.assert_array_equal(frame_of(duplicate(renderer), scene, on), expected)


# ==== Displays and windows ====


@pytest.fixture
def no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a screen, on which opening a display fails."""
    pygame.quit()
    monkeypatch.setenv("SDL_VIDEODRIVER", "no-such-driver")


@pytest.fixture
def dummy_display(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    pygame.quit()
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    yield
    pygame.quit()


@pytest.mark.usefixtures("no_display")
def test_rgb_array_needs_no_display() -> None:
    with pytest.raises(pygame.error):
        pygame.display.init()
    renderer = Renderer("rgb_array", fps=10)
    frame_of(renderer, default_scene(), np.array([True, True]))
    assert not pygame.display.get_init()
    renderer.close()


def show(renderer: Renderer, scene: Scene) -> None:
    on = np.ones(len(scene.sources), dtype=bool)
    assert renderer.render(scene, scene.pose, [scene.pose], on, Body(), ears_of(scene.pose)) is None


def shown() -> np.ndarray:
    return pygame.surfarray.array3d(pygame.display.get_surface()).swapaxes(0, 1)


@pytest.mark.usefixtures("dummy_display")
def test_human_mode_opens_a_window_at_the_first_frame_and_closes_it() -> None:
    renderer = Renderer("human", fps=1000)
    assert not pygame.display.get_init()
    for scene in (default_scene(), default_scene(PENTAGON), default_scene(PENTAGON)):
        show(renderer, scene)
        np.testing.assert_array_equal(shown(), take(scene).frame)
    renderer.close()
    assert not pygame.display.get_init()
    renderer.close()
    show(renderer, default_scene())
    assert pygame.display.get_init()
    renderer.close()
    assert not pygame.display.get_init()


@pytest.mark.usefixtures("dummy_display")
def test_human_mode_keeps_to_the_frame_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks: list[float] = []

    class Clock:
        def tick(self, fps: float) -> None:
            ticks.append(fps)

    monkeypatch.setattr(pygame.time, "Clock", Clock)
    renderer = Renderer("human", fps=4)
    show(renderer, default_scene())
    show(renderer, default_scene())
    renderer.close()
    assert ticks == [4, 4]


@pytest.mark.usefixtures("dummy_display")
def test_other_users_of_pygame_do_no_harm_and_come_to_none() -> None:
    """Gymnasium's own environments call pygame.quit() when they close, which ends fonts and windows everywhere."""
    scene, on = default_scene(), np.array([True, True])
    human, picture = Renderer("human", fps=1000), Renderer("rgb_array", fps=10)
    show(human, scene)
    expected = frame_of(picture, scene, on)
    picture.close()
    assert pygame.display.get_init(), "closing a renderer without a window closed the window of another"
    pygame.quit()
    np.testing.assert_array_equal(frame_of(picture, scene, on), expected)
    show(human, scene)
    np.testing.assert_array_equal(shown(), expected)
    human.close()


# ==== Refusals ====


@pytest.mark.parametrize("mode", ["rgb_array", "human"])
def test_missing_pygame_names_the_command(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pygame", None)
    with pytest.raises(DependencyNotInstalled) as caught:
        Renderer(mode, fps=10)
    assert str(caught.value) == (
        'pygame-ce is not installed, and rendering needs it. Run `pip install "auralnav[render]"`.'
    )


def test_unknown_mode() -> None:
    with pytest.raises(ValueError, match=r'^render_mode: expected "rgb_array" or "human", actual: .ansi.$'):
        Renderer("ansi", fps=10)


def test_pygame_is_not_imported_before_it_is_needed() -> None:
    code = "import sys, auralnav_gym.rendering; print('pygame' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"
