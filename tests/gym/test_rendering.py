"""The picture: where things must be is computed here, from the walls that are seen and the numbers of the scene."""

from __future__ import annotations

import copy
import itertools
import math
import pickle
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from gymnasium.error import DependencyNotInstalled
from scipy import ndimage, signal

from auralnav_gym import rendering
from auralnav_gym.movement import Action, Body, Pose, move
from auralnav_gym.recording import Snapshot
from auralnav_gym.rendering import PlanPainter, draw, draw_background, glide_seconds, on_the_way
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


def snapshot_of(
    scene: Scene,
    path: Sequence[Pose] | None = None,
    on: Sequence[bool] | None = None,
    body: Body | None = None,
    ears: np.ndarray | None = None,
    source_positions: np.ndarray | None = None,
    num_touched: int = 0,
) -> Snapshot:
    """An episode, at its start unless told otherwise."""
    path = path or [scene.pose]
    return Snapshot(
        scene,
        body or Body(),
        tuple(path),
        np.ones(len(scene.sources), dtype=bool) if on is None else np.array(on),
        ears_of(path[-1]) if ears is None else ears,
        scene.source_positions if source_positions is None else source_positions,
        num_touched,
    )


def take(scene: Scene, pose: Pose | None = None, **state: Any) -> Picture:
    """A picture of a scene, with the state that :func:`snapshot_of` takes; or of one that starts at ``pose``."""
    state.setdefault("path", [pose or scene.pose])
    return Picture(PlanPainter().paint(snapshot_of(scene, **state)), scene.room)


def in_room(room: Room, x: float, y: float) -> tuple[float, float]:
    """A place by its shares of the room's width and depth."""
    low, high = room.corners.min(axis=0), room.corners.max(axis=0)
    return float(low[0] + x * (high - low)[0]), float(low[1] + y * (high - low)[1])


def default_scene(room: Room = SQUARE) -> Scene:
    return make_scene(room, [in_room(room, 0.3, 0.85), in_room(room, 0.6, 0.4)], Pose(*in_room(room, 0.2, 0.2), 0.4))


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


def test_a_beam_shows_the_heading_and_ends_at_walls() -> None:
    def seen(x: float, heading: float) -> Picture:
        return take(make_scene(SQUARE, [(1.0, 7.0)], Pose(4.3, 4.5, 0.0)), path=[Pose(x, 4.5, heading)], on=[False])

    open_floor = seen(4.3, 0.0)
    ahead = [open_floor.colour((4.3 + distance, 4.5)) for distance in (0.36, 0.42, 0.48, 0.54)]
    assert ahead == sorted(ahead)  # it fades
    assert ahead[-1] != rendering.FLOOR
    assert open_floor.colour((4.3 - 0.36, 4.5)) == rendering.FLOOR
    assert open_floor.colour((4.3 + 0.36, 4.9)) == rendering.FLOOR
    at_wall = seen(7.7, 0.0)
    away = seen(7.7, math.pi)
    beyond = np.s_[: rendering.PLAN_SIZE, int(at_wall.place((8.0, 4.5))[0]) + 1 :]
    np.testing.assert_array_equal(at_wall.frame[beyond], away.frame[beyond])


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


def ring_radii(phase: float) -> np.ndarray:
    """How far the rings of a sounding source are from its middle, pixels, to the right of it."""
    at = (4.5, 4.5)
    scene = make_scene(SQUARE, [at], Pose(1.0, 1.0, 0.0))
    frame = PlanPainter().paint(snapshot_of(scene), phase)
    x, y = Picture(frame, SQUARE).place(at)
    row = frame[int(y), int(x) + 11 : int(x) + 32].astype(float)  # beyond the disc of the source, within its reach
    peaks, _ = signal.find_peaks(np.abs(row - row[-1]).sum(axis=1), prominence=10)
    return 11 + peaks + 0.5 - x % 1


def test_rings_leave_a_source_with_the_phase() -> None:
    first, later = ring_radii(0.6), ring_radii(0.85)
    assert len(first) >= 2
    spacing = np.diff(first).mean()
    np.testing.assert_allclose(np.diff(first), spacing, atol=1)
    np.testing.assert_allclose(later[: len(first)] - first[: len(later)], spacing / 4, atol=1)
    # At the end of its way a ring is where the next one begins, and it has faded: the motion goes round.
    np.testing.assert_allclose(ring_radii(0.999)[:1], ring_radii(0.0)[:1], atol=1)


def test_rings_are_a_third_farther_with_every_action() -> None:
    scene = default_scene()
    for num_actions in range(4):
        snapshot = snapshot_of(scene, [scene.pose] * (num_actions + 1))
        expected = PlanPainter().paint(snapshot, (num_actions + 1) / 3 % 1)
        np.testing.assert_array_equal(PlanPainter().paint(snapshot), expected)


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
    walked, still = take(scene, path=path), take(scene, path=path[-1:])
    brightness = []
    for (x0, y0), (x1, y1) in itertools.pairwise(places):
        middle = (0.45 * x0 + 0.55 * x1, 0.45 * y0 + 0.55 * y1)
        assert still.colour(middle) == rendering.FLOOR
        assert walked.colour(middle) != rendering.FLOOR
        brightness.append(sum(walked.colour(middle)))
    assert brightness == sorted(brightness, reverse=True)
    assert brightness[0] > brightness[-1]


def test_turning_on_the_spot_draws_nothing_new() -> None:
    scene = default_scene()
    turned = [scene.pose, Pose(scene.pose.x, scene.pose.y, 1.0), Pose(scene.pose.x, scene.pose.y, 2.0)]
    elsewhere = Pose(6.0, 6.0, 0.0)
    plan = slice(rendering.PLAN_SIZE)
    once, thrice = (take(scene, path=[*path, elsewhere], on=[False, False]) for path in (turned[:1], turned))
    np.testing.assert_array_equal(once.frame[plan], thrice.frame[plan])


# ==== On the way ====


def test_the_agent_glides_and_then_stands() -> None:
    scene = default_scene()
    before = snapshot_of(scene, [Pose(2.0, 2.0, 3.0)], source_positions=np.array([[1.0, 7.0], [5.0, 3.0]]))
    path = [Pose(2.0, 2.0, 3.0), Pose(2.5, 3.0, -3.0)]
    after = snapshot_of(scene, path, source_positions=np.array([[1.2, 7.0], [5.0, 3.0]]))
    assert glide_seconds(0.5) == 0.2
    assert glide_seconds(0.3) == pytest.approx(0.12)  # 40 %
    for time in (0.2, 0.3, 0.5):
        assert on_the_way(before, after, time, 0.5) is after
    assert on_the_way(None, after, 0.0, 0.5) is after
    start, middle = (on_the_way(before, after, time, 0.5) for time in (0.0, 0.1))
    assert start.pose.position == pytest.approx((2.0, 2.0))
    assert middle.pose.position == pytest.approx((2.25, 2.5))
    assert math.cos(middle.pose.heading) == pytest.approx(-1.0)  # the shorter way round
    np.testing.assert_allclose(middle.source_positions[0], (1.1, 7.0))
    walked = [on_the_way(before, after, time, 0.5).pose.x for time in np.linspace(0, 0.2, 21)]
    steps = np.diff(walked)
    assert (steps > 0).all()
    assert steps[[0, -1]].max() < 0.25 * steps.max()  # slow at both ends


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
    write = rendering.Canvas.text

    def note(self: object, text: str, left: float, middle: float, *args: object, **kwargs: object) -> float:
        right = write(self, text, left, middle, *args, **kwargs)  # type: ignore[arg-type]
        notes.append(Written(text, left, right, middle))
        return right

    monkeypatch.setattr(rendering.Canvas, "text", note)
    return notes


def test_status_line_counts(written: list[Written]) -> None:
    scene = make_scene(SQUARE, [(1.0, 7.0), (4.0, 7.0), (7.0, 7.0)], Pose(1.0, 1.0, 0.0))
    path = [scene.pose]
    for action in (Action.FORWARD, Action.FORWARD, Action.TURN_LEFT, Action.FORWARD):
        path.append(move(path[-1], action, SQUARE, Body(step_size=0.5)))
    take(scene, path=path, on=[True, False, True], body=Body(capture_radius=1.25))
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
    PlanPainter().paint(snapshot_of(scene))
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
    painter = PlanPainter()
    path, on = [scene.pose], np.array([True, True])
    for action in [Action.FORWARD, Action.TURN_LEFT, Action.FORWARD, Action.BACKWARD, Action.TURN_RIGHT]:
        path.append(move(path[-1], action, room, Body()))
        on[0] = len(path) < 4
        frame = painter.paint(snapshot_of(scene, path, on))
        assert frame.shape == (672, 608, 3)
        assert frame.dtype == np.uint8
        assert frame.flags.c_contiguous
        assert frame.flags.writeable


def test_equal_states_give_equal_pixels() -> None:
    """Whatever was drawn before, and with the background kept or drawn anew."""
    scene, other = default_scene(), default_scene(PENTAGON)
    path = [scene.pose, move(scene.pose, Action.FORWARD, SQUARE, Body())]
    snapshot = snapshot_of(scene, path)
    expected = PlanPainter().paint(snapshot)

    painter = PlanPainter()
    painter.paint(snapshot_of(other, on=[False, True]))
    painter.paint(snapshot_of(scene, path, on=[True, False]))
    np.testing.assert_array_equal(painter.paint(snapshot), expected)
    painter.paint(snapshot)[:] = 0
    np.testing.assert_array_equal(painter.paint(snapshot), expected)

    background = draw_background(snapshot)
    for surface in (draw(snapshot), draw(snapshot, background), draw(snapshot, background)):
        np.testing.assert_array_equal(pygame.surfarray.array3d(surface).swapaxes(0, 1), expected)


def test_a_source_found_in_place_is_noticed() -> None:
    """The environment changes its array `on` in place: a painter that kept the array would see no change."""
    scene, on = default_scene(), np.array([True, True])
    painter, snapshot = PlanPainter(), snapshot_of(scene)
    painter.paint(replace(snapshot, on=on))
    on[0] = False
    expected = take(scene, on=[False, True]).frame
    np.testing.assert_array_equal(painter.paint(replace(snapshot, on=on)), expected)


def test_another_capture_radius_is_noticed() -> None:
    scene = default_scene()
    painter = PlanPainter()
    painter.paint(snapshot_of(scene))
    frame = painter.paint(snapshot_of(scene, body=Body(capture_radius=1.5)))
    np.testing.assert_array_equal(frame, take(scene, body=Body(capture_radius=1.5)).frame)
    assert not np.array_equal(frame, take(scene).frame)


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda painter: pickle.loads(pickle.dumps(painter))], ids=["deepcopy", "pickle"]
)
def test_painter_can_be_copied_in_mid_episode(duplicate) -> None:  # type: ignore[no-untyped-def]
    painter, snapshot = PlanPainter(), snapshot_of(default_scene())
    expected = painter.paint(snapshot)
    np.testing.assert_array_equal(duplicate(painter).paint(snapshot), expected)


def test_no_display_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    pygame.quit()
    monkeypatch.setenv("SDL_VIDEODRIVER", "no-such-driver")
    with pytest.raises(pygame.error):
        pygame.display.init()
    take(default_scene())
    assert not pygame.display.get_init()


def test_other_users_of_pygame_do_no_harm() -> None:
    """Gymnasium's own environments call pygame.quit() when they close, which ends fonts everywhere."""
    painter, snapshot = PlanPainter(), snapshot_of(default_scene())
    expected = painter.paint(snapshot)
    pygame.quit()
    np.testing.assert_array_equal(painter.paint(snapshot), expected)


# ==== Refusals ====


@pytest.mark.parametrize("package", ["pygame", "matplotlib"])
def test_missing_packages_name_the_command(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    name = {
        "pygame": "pygame-ce is not installed, and rendering needs it",
        "matplotlib": "Matplotlib is not installed, and rendering needs its fonts",
    }[package]
    with pytest.raises(DependencyNotInstalled) as caught:
        take(default_scene())
    assert str(caught.value) == f'{name}. Run `pip install "auralnav[render]"`.'


def test_pygame_is_not_imported_before_it_is_needed() -> None:
    code = "import sys, auralnav_gym.rendering; print('pygame' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"
