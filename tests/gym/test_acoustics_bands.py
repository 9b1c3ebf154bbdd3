"""Walls and air that absorb by frequency, and rooms with corners that turn inwards, against pyroomacoustics."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pyroomacoustics as pra
import pytest
import shapely
from pyroomacoustics.directivities import CardioidFamily
from scipy.signal import fftconvolve

from auralnav_gym.acoustics import Listener, longest_response
from auralnav_gym.ears import CardioidEars, Ears, OmniEars
from auralnav_gym.images import image_model
from auralnav_gym.movement import Pose
from auralnav_gym.rooms import Polygon, Room, ShoeBox
from auralnav_gym.scene import Scene, Source
from auralnav_gym.sounds import Sound

RATE = 8000
WINDOW = 2000
FIVE_CORNERS = ((0.0, 0.0), (8.0, 0.0), (9.0, 4.0), (6.0, 8.0), (0.0, 7.0))
L_SHAPE = ((0.0, 0.0), (8.0, 0.0), (8.0, 4.0), (5.0, 4.0), (5.0, 8.0), (0.0, 8.0))
U_SHAPE = ((0.0, 0.0), (9.0, 0.0), (9.0, 7.0), (6.0, 7.0), (6.0, 3.0), (3.5, 3.0), (3.5, 7.0), (0.0, 7.0))
BY_SURFACE = {"walls": "brick_wall_rough", "floor": "carpet_hairy", "ceiling": "ceiling_plasterboard"}
BY_WALL = {
    "west": "curtains_cotton_0.5",
    "east": "glass_3mm",
    "south": "brick_wall_rough",
    "north": "wooden_lining",
    "floor": "carpet_hairy",
    "ceiling": "ceiling_plasterboard",
}
ROOMS = {
    "one-material": ShoeBox((8.0, 7.0, 3.0), materials="carpet_hairy"),
    "wall-by-wall": ShoeBox((8.0, 7.0, 3.0), materials=BY_WALL),
    "air": ShoeBox((8.0, 7.0, 3.0), absorption=0.3, air_absorption=True),
    "materials-and-air": ShoeBox((8.0, 7.0, 3.0), materials=BY_SURFACE, air_absorption=True, max_order=4),
    "many-reflections": ShoeBox((8.0, 7.0, 3.0), absorption=0.2, max_order=14),
    "many-reflections-in-bands": ShoeBox((8.0, 7.0, 3.0), materials=BY_SURFACE, max_order=14),
    "2-d": ShoeBox((8.0, 7.0), materials="curtains_cotton_0.5", air_absorption=True),
    "polygon-2d": Polygon(FIVE_CORNERS, materials="brick_wall_rough", air_absorption=True),
    "polygon-3d": Polygon(FIVE_CORNERS, height=3.0, materials=BY_SURFACE),
    "l-shape-2d": Polygon(L_SHAPE, absorption=0.3),
    "l-shape-3d": Polygon(L_SHAPE, height=3.0, absorption=0.3),
    "l-shape-with-materials": Polygon(L_SHAPE, height=3.0, materials=BY_SURFACE, air_absorption=True),
    "u-shape-2d": Polygon(U_SHAPE, absorption=0.3, max_order=4),
    "u-shape-3d": Polygon(U_SHAPE, height=2.7, absorption=0.3),
}
# In the L the second source is around the corner from the first pose, and the first from the second.
POSES = [Pose(2.1, 6.3, 2.0), Pose(7.1, 1.7, -0.4)]
PLACES = ((2.6, 2.2), (6.7, 2.9))


def noise(index: int, length: int = 3001) -> Sound:
    signal = 0.05 * np.random.default_rng(index).standard_normal(length)
    return Sound(f"noise-{index}", "noise", signal.astype(np.float32))


def make_scene(room: Room, places: tuple[tuple[float, float], ...] = PLACES, pose: Pose = POSES[0]) -> Scene:
    height = () if room.dim == 2 else (1.3,)
    sources = tuple(Source((*place, *height), noise(i), start=100 * i) for i, place in enumerate(places))
    return Scene(room, sources, pose, ear_height=None if room.dim == 2 else 1.5)


def material(room: Room, surface: str) -> pra.Material:
    if room.materials is None:
        return pra.Material(room.absorption)
    return pra.Material(room.materials if isinstance(room.materials, str) else room.materials[surface])


def reference_room(scene: Scene, ears: Ears, pose: Pose, rate: int = RATE) -> pra.Room:
    """The room as a user of pyroomacoustics would build it, ears placed by hand."""
    room = scene.room
    by_name = isinstance(room.materials, dict)
    level = {} if room.dim == 2 else {name: material(room, name) for name in ("floor", "ceiling")}
    settings = {"fs": rate, "max_order": room.max_order, "air_absorption": room.air_absorption}
    if isinstance(room, ShoeBox):
        sides = {
            side: material(room, side if by_name and side in room.materials else "walls")
            for side in ("west", "east", "south", "north")
        }
        reference = pra.ShoeBox(room.size, materials={**sides, **level}, **settings)
    else:
        reference = pra.Room.from_corners(np.array(room.floor).T, materials=material(room, "walls"), **settings)
        if room.height is not None:
            reference.extrude(room.height, materials=level)
    for source in scene.sources:
        reference.add_source(list(source.position))
    places, microphones = [], []
    for side in (+1, -1):  # left, right
        across = pose.heading + side * math.pi / 2
        place = [pose.x + ears.spacing / 2 * math.cos(across), pose.y + ears.spacing / 2 * math.sin(across)]
        places.append(place if room.dim == 2 else [*place, scene.ear_height])
        if isinstance(ears, CardioidEars):
            axis = pose.heading + side * ears.angle
            microphones.append(CardioidFamily(np.array([math.cos(axis), math.sin(axis), 0.0]), ears.pattern))
    # Given as an object, an array may be directive in two dimensions too.
    reference.add_microphone_array(pra.MicrophoneArray(np.array(places).T, rate, directivity=microphones or None))
    reference.compute_rir()
    return reference


def relative_error(actual: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


# ---- The impulse responses -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pose", POSES, ids=["pose-0", "pose-1"])
@pytest.mark.parametrize("ears", [CardioidEars(), OmniEars(0.2)], ids=["cardioid", "omni"])
@pytest.mark.parametrize("room", ROOMS.values(), ids=ROOMS)
def test_impulse_responses_equal_those_of_pyroomacoustics(room: Room, ears: Ears, pose: Pose) -> None:
    scene = make_scene(room)
    responses = Listener(scene, ears, RATE, WINDOW).impulse_responses(pose)
    reference = reference_room(scene, ears, pose)
    for ear in range(2):
        for source in range(2):
            expected = reference.rir[ear][source]
            actual = responses[source, ear]
            assert np.abs(expected).max() > 1e-3
            assert relative_error(actual[: len(expected)], expected) < 2e-5
            assert not actual[len(expected) :].any()


@pytest.mark.parametrize("rate", [16_000, 22_050])
@pytest.mark.parametrize("room", ["one-material", "materials-and-air", "l-shape-with-materials"])
def test_impulse_responses_at_other_sample_rates(room: str, rate: int) -> None:
    scene, ears, pose = make_scene(ROOMS[room]), CardioidEars(), POSES[0]
    responses = Listener(scene, ears, rate, WINDOW).impulse_responses(pose)
    reference = reference_room(scene, ears, pose, rate)
    for ear, source in itertools.product(range(2), range(2)):
        expected = reference.rir[ear][source]
        assert relative_error(responses[source, ear, : len(expected)], expected) < 2e-5


@pytest.mark.parametrize("metres", [0.12, 0.3, 0.6])
def test_impulse_responses_of_a_source_at_the_ear(metres: float) -> None:
    pose, ears = POSES[0], CardioidEars()
    scene = make_scene(ROOMS["materials-and-air"], places=((pose.x + metres, pose.y - 1.0),))
    pose = Pose(pose.x, pose.y - 1.0, pose.heading)
    responses = Listener(scene, ears, RATE, WINDOW).impulse_responses(pose)
    reference = reference_room(scene, ears, pose)
    for ear in range(2):
        expected = reference.rir[ear][0]
        assert relative_error(responses[0, ear, : len(expected)], expected) < 2e-5


def test_responses_of_several_lengths_have_the_bands_of_each() -> None:
    """pyroomacoustics' bands depend on the length of a response, by the next power of two; here two occur at once."""
    room = ShoeBox((12.0, 6.0, 3.0), materials="carpet_hairy", max_order=1)
    ears, pose = CardioidEars(), Pose(9.0, 3.2, 0.3)
    scene = make_scene(room, places=((1.0, 3.0), (11.0, 3.0)), pose=pose)
    responses = Listener(scene, ears, RATE, WINDOW).impulse_responses(pose)
    reference = reference_room(scene, ears, pose)
    lengths = [len(reference.rir[0][source]) for source in range(2)]
    assert len({math.ceil(math.log2(2 * length)) for length in lengths}) == 2
    for ear, source in itertools.product(range(2), range(2)):
        expected = reference.rir[ear][source]
        assert relative_error(responses[source, ear, : len(expected)], expected) < 1e-5


def test_high_pass_can_be_switched_off_in_pyroomacoustics(monkeypatch: pytest.MonkeyPatch) -> None:
    original = pra.constants.get
    monkeypatch.setattr(pra.constants, "get", lambda name: False if name == "rir_hpf_enable" else original(name))
    scene, ears, pose = make_scene(ROOMS["materials-and-air"]), CardioidEars(), POSES[0]
    actual = Listener(scene, ears, RATE, WINDOW).impulse_responses(pose)[0, 0]
    expected = reference_room(scene, ears, pose).rir[0][0]
    assert relative_error(actual[: len(expected)], expected) < 2e-6


@pytest.mark.parametrize("room", ["materials-and-air", "l-shape-with-materials"])
def test_the_ears_hear_what_a_convolution_gives(room: str) -> None:
    scene, ears, pose = make_scene(ROOMS[room]), CardioidEars(), POSES[0]
    begin = 3 * WINDOW
    heard = Listener(scene, ears, RATE, WINDOW).hear(pose, begin, np.full(2, np.inf))
    reference = reference_room(scene, ears, pose)
    for ear in range(2):
        expected = np.zeros(WINDOW)
        for index, source in enumerate(scene.sources):
            response = reference.rir[ear][index]
            times = np.arange(begin - len(response) + 1, begin + WINDOW)
            played = source.sound.signal[(source.start + times) % len(source.sound.signal)]
            expected += fftconvolve(played, response, "valid")
        assert relative_error(heard[ear], expected) < 1e-4


def test_air_takes_the_high_frequencies_of_a_far_source() -> None:
    """By exp(-a d / 2) in each band, with pyroomacoustics' coefficients at 20 degrees and little humidity."""
    near, far = 5.0, 75.0
    levels = []
    for air in (False, True):
        room = ShoeBox((100.0, 20.0, 10.0), absorption=1.0, max_order=0, air_absorption=air)
        scene = make_scene(room, places=((10.0 + near, 10.0), (10.0 + far, 10.0)))
        responses = Listener(scene, OmniEars(), 16_000, WINDOW).impulse_responses(Pose(10.0, 10.0, 0.0))[:, 0]
        spectra = np.abs(np.fft.rfft(responses, 16_000))
        levels.append(20 * np.log10(spectra[1] / spectra[0]))
    for frequency, coefficient in ((500, 0.6e-3), (1000, 1.0e-3), (2000, 1.9e-3), (4000, 5.8e-3)):
        lost = (levels[0] - levels[1])[frequency - 20 : frequency + 21].mean()
        expected = 10 * math.log10(math.e) * coefficient * (far - near)
        assert lost == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("room", ROOMS.values(), ids=ROOMS)
def test_a_source_switched_off_is_heard_until_its_last_reflection(room: Room) -> None:
    scene = make_scene(room)
    listener = Listener(scene, OmniEars(), RATE, WINDOW)
    bound = listener._longest_response
    off = 10 * WINDOW
    assert listener.hear(POSES[0], off, [off, off]).any()
    assert not listener.hear(POSES[0], off + bound, [off, off]).any()
    assert bound <= longest_response(scene, None, 343.0, RATE)
    for pose in POSES:
        assert listener.impulse_responses(pose).shape[-1] <= bound


# ---- Corners that turn inwards ---------------------------------------------------------------------------------------


def paths_by_brute_force(room: Polygon, source: np.ndarray, ear: np.ndarray) -> list[np.ndarray]:
    """The images (2,) that are heard in a two-dimensional room, found from the definition.

    Every sequence of walls mirrors the source; the path back from the ear must meet each of these walls, in turn, and
    stay on the floor in between.
    """
    floor = shapely.Polygon(room.floor).buffer(1e-7)
    walls = [np.array([a, b]) for a, b in zip(room.floor, room.floor[1:] + room.floor[:1], strict=True)]
    found = []
    for order in range(room.max_order + 1):
        for sequence in itertools.product(range(len(walls)), repeat=order):
            images = [source]
            for index in sequence:
                start, end = walls[index]
                normal = np.array([end[1] - start[1], start[0] - end[0]]) / np.linalg.norm(end - start)
                images.append(images[-1] + 2 * np.dot(start - images[-1], normal) * normal)
            place, points = ear, [ear]
            for index, image in zip(sequence[::-1], images[:0:-1], strict=True):
                start, end = walls[index]
                matrix = np.column_stack([image - place, start - end])
                if abs(np.linalg.det(matrix)) < 1e-9:
                    break
                along, across = np.linalg.solve(matrix, start - place)
                if not (1e-9 < along < 1 and 0 < across < 1):
                    break
                place = place + along * (image - place)
                points.append(place)
            else:
                points.append(source)
                if all(floor.covers(shapely.LineString(leg)) for leg in itertools.pairwise(points)):
                    found.append(images[-1])
    return found


@pytest.mark.parametrize("floor", [FIVE_CORNERS, L_SHAPE, U_SHAPE], ids=["five-corners", "l-shape", "u-shape"])
def test_the_images_that_are_heard_are_those_with_a_path_on_the_floor(floor: tuple) -> None:
    room = Polygon(floor, absorption=0.5, max_order=3)
    rng = np.random.default_rng(0)
    places = rng.uniform(*room.bounds, size=(100, 2))
    places = places[room.contains(places, 0.2)][:8]
    sources, ears = places[:4], places[4:]
    images = image_model(room.to_pyroomacoustics(RATE)).place(sources).heard_at(ears)
    counts = []
    for source, ear in itertools.product(range(4), range(4)):
        expected = np.array(paths_by_brute_force(room, sources[source], ears[ear])).reshape(-1, 2)
        seen = images.visible[source, ear]
        actual = images.positions[:, source, seen].T
        assert len(actual) == len(expected)
        gaps = np.linalg.norm(actual[:, None] - expected, axis=-1)
        assert (gaps.min(axis=0) < 1e-4).all()
        # 0.5 of the energy is left by every wall; an image is as many walls away as it is dim.
        orders = np.log(images.damping[0, source, seen]) / math.log(math.sqrt(0.5))
        np.testing.assert_allclose(orders, orders.round(), atol=1e-5)
        counts.append(len(actual))
    assert min(counts) < max(counts)


def test_what_is_around_the_corner_is_heard_by_reflections_alone() -> None:
    scene, pose = make_scene(ROOMS["l-shape-3d"], places=((7.5, 3.5),)), Pose(2.0, 7.5, 0.0)
    listener = Listener(scene, OmniEars(), RATE, WINDOW)
    response = listener.impulse_responses(pose)[0, 0]
    direct = math.dist((7.5, 3.5), (pose.x, pose.y)) / 343.0 * RATE + 40
    around = (math.dist((7.5, 3.5), (5.0, 4.0)) + math.dist((5.0, 4.0), (pose.x, pose.y))) / 343.0 * RATE + 40
    loudest = np.abs(response).max()
    assert direct + 8 < around  # samples
    # What there is before is what the high-pass and the side lobes of the delay filters leave.
    assert np.abs(response[: int(direct) + 2]).max() < 0.04 * loudest
    assert np.abs(response).argmax() > around


def test_where_no_reflection_reaches_all_is_silent() -> None:
    """pyroomacoustics fails here: it has no arrival to take the latest of."""
    room = Polygon(U_SHAPE, height=2.5, absorption=0.3, max_order=0)
    scene, pose = make_scene(room, places=((1.0, 6.5), (7.5, 6.5))), Pose(1.2, 5.0, 0.0)
    listener = Listener(scene, OmniEars(), RATE, WINDOW)
    alone = listener.hear_sources(pose, 0, [math.inf, math.inf])
    assert alone[0].any()
    assert not alone[1].any()
    assert not listener.hear(pose, 0, [-math.inf, math.inf]).any()


def test_walls_on_the_hull_hide_nothing() -> None:
    """In single precision pyroomacoustics takes the walls of a convex room that is turned for walls inside of it.

    It then has a wall hide reflections at itself. Turned or not, the room is the same.
    """
    angle = 0.4
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    responses = []
    for matrix in (np.eye(2), turn):
        floor = tuple(map(tuple, np.array(FIVE_CORNERS) @ matrix.T + 10.0))
        room = Polygon(floor, height=3.0, absorption=0.3)
        place, head = (matrix @ np.array(point) + 10.0 for point in ((0.06, 3.0), (4.0, 4.5)))
        pose = Pose(*head.tolist(), 0.0)
        scene = make_scene(room, places=(tuple(place.tolist()),), pose=pose)
        responses.append(Listener(scene, OmniEars(1e-3), RATE, WINDOW).impulse_responses(pose)[0, 0])
    assert relative_error(responses[0], responses[1]) < 1e-2
