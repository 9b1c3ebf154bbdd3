"""Rooms, poses, movement and the placement of scenes."""

from __future__ import annotations

import math

import numpy as np
import pyroomacoustics as pra
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auralnav_gym.movement import Action, Body, Pose, move
from auralnav_gym.rooms import Polygon, RandomShoeBox, ShoeBox, as_room, eyring_absorption
from auralnav_gym.scene import Scene, SceneSampler, Source
from auralnav_gym.sounds import Sound, SoundBank

TRIANGLE = ((0.0, 0.0), (6.0, 0.0), (0.0, 8.0))
BODY = Body()


@pytest.fixture(scope="module")
def bank() -> SoundBank:
    rng = np.random.default_rng(0)
    sounds = [Sound(f"{kind}-{i}", kind, rng.standard_normal(900).astype(np.float32)) for kind in "ab" for i in "01"]
    return SoundBank(sounds, 8000)


def test_actions_are_those_of_the_table() -> None:
    assert {a.name: a.value for a in Action} == {"FORWARD": 0, "BACKWARD": 1, "TURN_RIGHT": 2, "TURN_LEFT": 3}


@pytest.mark.parametrize("rt60", [0.2, 0.35, 1.0])
@pytest.mark.parametrize("room", [(8.0, 8.0, 3.0), (5.0, 4.0, 2.5)], ids=["large", "small"])
def test_rt60_is_that_of_pyroomacoustics_eyring(room: tuple[float, ...], rt60: float) -> None:
    shoebox = ShoeBox(room, rt60=rt60).to_pyroomacoustics(8000)
    assert shoebox.rt60_theory("eyring") == pytest.approx(rt60, rel=0.01)  # its 0.161 is rounded
    prism = Polygon(((0.0, 0.0), (room[0], 0.0), (room[0], room[1]), (0.0, room[1])), height=room[2], rt60=rt60)
    assert prism.absorption == pytest.approx(ShoeBox(room, rt60=rt60).absorption)


def test_mean_free_path_in_two_dimensions_is_that_of_random_rays() -> None:
    """Rays that leave the walls of a square with a cosine (Lambert) law travel pi A / P on average."""
    room = ShoeBox((6.0, 6.0))
    rng = np.random.default_rng(0)
    start = rng.uniform(0, 6, 200_000)
    angle = np.arcsin(rng.uniform(-1, 1, 200_000))  # from the normal of the wall y = 0
    with np.errstate(divide="ignore"):
        to_side = np.where(angle > 0, 6 - start, start) / np.abs(np.sin(angle))
    length = np.minimum(6 / np.cos(angle), to_side)
    assert room.mean_free_path == pytest.approx(length.mean(), rel=0.01)


def test_eyring_absorption_decays_by_60_db() -> None:
    rt60, path = 0.5, 3.0
    absorption = eyring_absorption(rt60, path)
    reflections = 343.0 * rt60 / path
    assert 10 * reflections * math.log10(1 - absorption) == pytest.approx(-60)


@pytest.mark.parametrize("order", [1, -1], ids=["counter-clockwise", "clockwise"])
def test_polygon_geometry(order: int) -> None:
    room = Polygon(TRIANGLE[::order], height=3.0)
    assert room.floor_area == pytest.approx(24.0)
    assert room.dim == 3
    inside, outside, near = (1.0, 1.0), (5.0, 5.0), (0.1, 1.0)
    np.testing.assert_array_equal(room.contains(np.array([inside, outside, near])), [True, False, True])
    np.testing.assert_array_equal(room.contains(np.array([inside, outside, near]), 0.2), [True, False, False])
    # The hypotenuse 4 x + 3 y = 24.
    assert room.wall_distances(np.array([2.0, 2.0])).min() == pytest.approx(2.0)
    assert np.sort(room.wall_distances(np.array([2.0, 3.0])))[0] == pytest.approx((24 - 8 - 9) / 5)


@pytest.mark.parametrize(
    ("corners", "message"),
    [
        (((0, 0), (4, 0)), "at least three pairs"),
        (((0, 0), (4, 4), (4, 0), (0, 4)), r"edges do not cross or touch, .* actual: .*, Self-intersection\[2 2\]"),
        (((0, 4), (2, -2), (4, 4), (-1, 0), (5, 0)), r"edges do not cross or touch, .*, Self-intersection\["),
        (((0, 0), (4, 0), (4, 4), (2, 0), (0, 4)), r"edges do not cross or touch, .*, Ring Self-intersection\[2 0\]"),
        (((0, 0), (4, 0), (2, 0)), r"edges do not cross or touch"),
        (((0, 0), (0, 0), (4, 0), (4, 4)), "no corner twice"),
        (((0, 0), (4, 0), (float("nan"), 4)), "finite numbers"),
    ],
    ids=["two", "bow-tie", "pentagram", "touching", "flat", "twice", "nan"],
)
def test_bad_polygons_are_refused(corners: tuple[tuple[float, float], ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Polygon(corners)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ShoeBox((8, 8, 3), absorption=0.0), r"absorption: .* in \(0, 1\], actual: 0.0"),
        (lambda: ShoeBox((8, 8, 3), absorption=1.1), r"absorption: .* in \(0, 1\], actual: 1.1"),
        (lambda: ShoeBox((8, 8, 3), absorption=0.3, rt60=0.4), "absorption and rt60: expected one of them"),
        (lambda: ShoeBox((8, 8, 3), rt60=0.0), "rt60: expected more than 0 seconds"),
        (lambda: ShoeBox((8, 8, 3), max_order=-1), "max_order: expected a whole number"),
        (lambda: ShoeBox((8, 8, 3, 2)), "room size: expected"),
        (lambda: ShoeBox((8, 0)), "room size: expected"),
        (lambda: Polygon(TRIANGLE, height=-1.0), "height: expected more than 0 metres"),
        (lambda: Body(capture_radius=0.2), r"capture_radius: expected at least half a step \(0.25 m\)"),
        (lambda: Body(step_size=0.0), "step_size: expected more than 0 metres"),
        (lambda: Body(turn_angle=4.0), r"turn_angle: expected an angle in \(0, pi\]"),
        (lambda: RandomShoeBox(low=(9, 5, 3), high=(8, 8, 3)), "low, high: expected"),
        (lambda: RandomShoeBox(rt60=(0.5, 0.2)), "rt60: expected"),
        (lambda: RandomShoeBox(rt60=(0.0, 0.2)), "rt60: expected"),
    ],
)
def test_bad_settings_are_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_as_room() -> None:
    assert as_room((8, 6, 3)) == ShoeBox((8.0, 6.0, 3.0))
    assert as_room([5, 4]) == ShoeBox((5.0, 4.0))
    assert as_room(TRIANGLE) == Polygon(TRIANGLE)
    sampler = RandomShoeBox()
    assert as_room(sampler) is sampler
    with pytest.raises(TypeError, match="room: expected a Room"):
        as_room("kitchen")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="three pairs"):
        as_room([(0, 0, 0), (1, 0, 0), (1, 1, 0)])


def test_with_walls_changes_what_is_given() -> None:
    room = ShoeBox((8.0, 8.0, 3.0), absorption=0.2, max_order=5)
    assert room.with_walls() == room
    assert room.with_walls(absorption=0.4) == ShoeBox((8.0, 8.0, 3.0), absorption=0.4, max_order=5)
    assert room.with_walls(rt60=0.3, max_order=2) == ShoeBox((8.0, 8.0, 3.0), rt60=0.3, max_order=2)


def test_moves_in_the_open() -> None:
    room, pose = ShoeBox((8.0, 8.0, 3.0)), Pose(4.0, 4.0, math.pi / 6)
    forward = move(pose, Action.FORWARD, room, BODY)
    assert (forward.x, forward.y) == pytest.approx((4 + 0.5 * math.sqrt(3) / 2, 4.25))
    backward = move(pose, Action.BACKWARD, room, BODY)
    assert (backward.x, backward.y) == pytest.approx((4 - 0.5 * math.sqrt(3) / 2, 3.75))
    assert forward.heading == backward.heading == pose.heading
    assert move(pose, Action.TURN_LEFT, room, BODY) == Pose(4.0, 4.0, pytest.approx(math.pi / 3))
    assert move(pose, Action.TURN_RIGHT, room, BODY) == Pose(4.0, 4.0, pytest.approx(0.0))
    with pytest.raises(ValueError, match="action: expected one of"):
        move(pose, 5, room, BODY)


def test_walls_block() -> None:
    room = ShoeBox((8.0, 8.0, 3.0))
    assert move(Pose(7.7, 4.0, 0.0), Action.FORWARD, room, BODY).x == pytest.approx(7.85)
    stuck = Pose(7.85, 4.0, 0.0)
    assert move(stuck, Action.FORWARD, room, BODY).x == pytest.approx(7.85)
    assert move(stuck, Action.BACKWARD, room, BODY).x == pytest.approx(7.35)


ROOMS = [ShoeBox((4.0, 3.0, 3.0)), ShoeBox((4.0, 3.0)), Polygon(TRIANGLE, height=3.0)]


@settings(max_examples=60, deadline=None)
@given(
    room=st.sampled_from(ROOMS), heading=st.floats(-math.pi, math.pi), actions=st.lists(st.integers(0, 3), max_size=60)
)
def test_the_centre_keeps_its_clearance_for_ever(room, heading: float, actions: list[int]) -> None:
    pose = Pose(1.0, 1.0, heading)
    for action in actions:
        after = move(pose, action, room, BODY)
        assert room.contains(after.position, BODY.radius - 1e-9)
        assert np.linalg.norm(after.position - pose.position) <= BODY.step_size + 1e-12
        assert -math.pi <= after.heading < math.pi
        pose = after


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), room=st.sampled_from([*ROOMS, RandomShoeBox()]), count=st.integers(1, 2))
def test_scenes_keep_their_clearances(bank: SoundBank, seed: int, room, count: int) -> None:
    sampler = SceneSampler(room, bank, count, BODY, wall_clearance=0.4, source_spacing=0.9, start_distance=1.1)
    scene = sampler.sample(np.random.default_rng(seed))
    places = scene.source_positions[:, :2]
    assert len(places) == count
    assert scene.room.contains(places, 0.4).all()
    assert scene.room.contains(scene.pose.position, BODY.radius)
    assert (np.linalg.norm(places - scene.pose.position, axis=1) >= 1.1).all()
    if count == 2:
        assert np.linalg.norm(places[0] - places[1]) >= 0.9
        assert scene.sources[0].sound.kind != scene.sources[1].sound.kind
    assert all(0 <= source.start < 900 for source in scene.sources)


def test_places_and_headings_are_uniform(bank: SoundBank) -> None:
    sampler = SceneSampler(ShoeBox((8.0, 8.0, 3.0)), bank, 1, BODY)
    rng = np.random.default_rng(0)
    scenes = [sampler.sample(rng) for _ in range(800)]
    places = np.array([scene.sources[0].position for scene in scenes])
    # A uniform place in [0.5, 7.5] has mean 4 and variance 49 / 12; five standard errors.
    assert places[:, :2].mean(axis=0) == pytest.approx([4.0, 4.0], abs=5 * 7 / math.sqrt(12 * 800))
    assert set(places[:, 2]) == {1.5}
    headings = np.array([scene.pose.heading for scene in scenes])
    assert abs(np.exp(1j * headings).mean()) < 5 / math.sqrt(800)


@pytest.mark.parametrize("count", [40, 3], ids=["far too many", "a few too many"])
def test_what_does_not_fit_raises(bank: SoundBank, count: int) -> None:
    size = (8.0, 8.0, 3.0) if count == 40 else (3.0, 3.0, 3.0)
    sampler = SceneSampler(ShoeBox(size), bank, count, BODY)
    with pytest.raises(
        ValueError, match=rf"num_sources: {count} source\(s\) and the agent do not fit the room of .*Enlarge"
    ):
        sampler.sample(np.random.default_rng(0))


def test_random_rooms_stay_in_their_ranges() -> None:
    rooms = RandomShoeBox(low=(4.0, 5.0, 2.5), high=(6.0, 9.0, 3.0), rt60=(0.2, 0.5), max_order=2)
    rng = np.random.default_rng(0)
    drawn = [rooms.sample(rng) for _ in range(200)]
    sizes = np.array([room.size for room in drawn])
    assert (sizes >= rooms.low).all()
    assert (sizes <= rooms.high).all()
    np.testing.assert_allclose(sizes.mean(axis=0), [5.0, 7.0, 2.75], atol=0.3)
    times = [room.to_pyroomacoustics(8000).rt60_theory("eyring") for room in drawn]
    assert min(times) > 0.198
    assert max(times) < 0.505
    assert {room.max_order for room in drawn} == {2}


def scene_with(**changes) -> Scene:
    sound = Sound("s", "", np.ones(100, np.float32))
    settings_ = {
        "room": ShoeBox((8.0, 8.0, 3.0)),
        "sources": (Source((2.0, 2.0, 1.5), sound),),
        "pose": Pose(4.0, 4.0, 0.0),
        "ear_height": 1.5,
    }
    return Scene(**{**settings_, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sources": ()}, "at least one source"),
        ({"pose": Pose(9.0, 4.0, 0.0)}, "pose: expected a place inside the room"),
        ({"ear_height": 3.5}, "ear_height: expected a height between floor and ceiling"),
        ({"ear_height": None}, "ear_height: expected metres in a 3-D room"),
        ({"room": ShoeBox((8.0, 8.0))}, "ear_height: expected None in a 2-D room"),
        ({"room": ShoeBox((8.0, 8.0)), "ear_height": None}, r"sources\[0\].position: expected 2 finite numbers"),
        ({"room": ShoeBox((1.0, 8.0, 3.0))}, r"sources\[0\].position: expected a place inside"),
        ({"room": ShoeBox((8.0, 8.0, 1.5)), "ear_height": 1.0}, r"sources\[0\].position: expected a height"),
    ],
)
def test_impossible_scenes_are_refused(changes: dict, message: str) -> None:
    scene_with()
    with pytest.raises(ValueError, match=message):
        scene_with(**changes)


def test_rooms_become_those_of_pyroomacoustics() -> None:
    box = ShoeBox((5.0, 4.0, 3.0), absorption=0.3, max_order=2).to_pyroomacoustics(16_000)
    assert isinstance(box, pra.ShoeBox)
    assert (box.fs, box.max_order, box.volume) == (16_000, 2, pytest.approx(60.0))
    prism = Polygon(TRIANGLE, height=2.5, absorption=0.3, max_order=2).to_pyroomacoustics(16_000)
    assert (prism.fs, prism.max_order, prism.volume) == (16_000, 2, pytest.approx(60.0))
    np.testing.assert_allclose([wall.absorption[0] for wall in prism.walls], 0.3, rtol=1e-6)
