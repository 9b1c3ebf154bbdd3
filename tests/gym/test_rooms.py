"""Rooms that are not convex, what rooms are made of, and random rooms, against pyroomacoustics, shapely and by hand."""

from __future__ import annotations

import itertools
import math
import pickle
from collections.abc import Iterator

import numpy as np
import pyroomacoustics as pra
import pytest
import shapely

from auralnav_gym.movement import Action, Body, Pose, move
from auralnav_gym.rooms import (
    Polygon,
    RandomLShape,
    RandomRoom,
    RandomShoeBox,
    Room,
    RoomSampler,
    ShoeBox,
    as_room,
)

RATE = 16_000
L = ((0.0, 0.0), (8.0, 0.0), (8.0, 4.0), (4.0, 4.0), (4.0, 8.0), (0.0, 8.0))
U = ((0.0, 0.0), (9.0, 0.0), (9.0, 6.0), (6.0, 6.0), (6.0, 3.0), (3.0, 3.0), (3.0, 6.0), (0.0, 6.0))
SLANTED = ((0.0, 0.0), (6.0, 0.5), (6.0, 5.0), (4.0, 5.0), (3.0, 2.0), (2.0, 5.0), (0.0, 5.0))
SURFACES = {"walls": "brickwork", "floor": "carpet_thin", "ceiling": "ceiling_fissured_tile"}


# ---- Rooms that are not convex ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [1, -1], ids=["counter-clockwise", "clockwise"])
def test_an_l_shaped_room(order: int) -> None:
    room = Polygon(L[::order], height=3.0)
    assert not room.is_convex
    assert ShoeBox().is_convex
    assert Polygon(((0, 0), (6, 0), (0, 8))).is_convex
    assert shapely.Polygon(room.corners).exterior.is_ccw
    assert room.floor_area == 48
    assert room.mean_free_path == pytest.approx(4 * 48 * 3 / (2 * 48 + 32 * 3))
    np.testing.assert_array_equal(room.reflex_corners, [(4, 4)])
    inside, outside, near = (1.0, 7.0), (5.0, 5.0), (4.1, 3.9)
    np.testing.assert_array_equal(room.contains(np.array([inside, outside, near])), [True, False, True])
    np.testing.assert_array_equal(room.contains(np.array([inside, outside, near]), 0.2), [True, False, False])
    assert room.contains(np.array(inside)).shape == ()
    assert room.walking_distances(np.array([7.0, 3.0]), np.array([[3.0, 7.0]])) == pytest.approx(2 * math.sqrt(10))
    assert len(room.walls) == 6
    for copy in (pickle.loads(pickle.dumps(room)), Polygon(room.floor, height=3.0)):
        assert copy == room
        assert hash(copy) == hash(room)
        assert copy.free_share(2.0, 2.0, 4.0, 4.0, 0.0) == pytest.approx(0.5)
    assert as_room(L[::order]) == Polygon(L[::order])


def test_walls_are_checked_for_every_leg_of_a_walk() -> None:
    """A thousand random actions in a room like a comb: never nearer to a wall than the body's radius."""
    comb = [(0.0, 0.0), (9.0, 0.0), (9.0, 4.0)]
    for x in (8.0, 6.0, 4.0, 2.0):
        comb += [(x, 4.0), (x - 0.5, 1.0), (x - 1.0, 4.0)]
    room, body, walls = Polygon((*comb, (0.0, 4.0))), Body(), shapely.LinearRing([*comb, (0.0, 4.0)])
    rng = np.random.default_rng(0)
    pose, visited = Pose(4.5, 0.5, 0.0), set()
    for action in rng.choice([Action.FORWARD, Action.FORWARD, Action.TURN_LEFT, Action.TURN_RIGHT], size=1000):
        after = move(pose, int(action), room, body)
        walked = shapely.LineString([pose.position, after.position])
        assert shapely.distance(walls, walked) >= body.radius - 1e-9
        assert room.contains(after.position)
        pose = after
        visited.add(int(pose.x // 2))
    assert len(visited) >= 4


def reflections(
    corners: np.ndarray, source: np.ndarray, microphone: np.ndarray, order: int
) -> Iterator[tuple[np.ndarray, int]]:
    """Every image source that is heard, and of which order it is: the way of its sound is traced wall by wall."""
    walls = list(zip(corners, np.roll(corners, -1, axis=0), strict=True))

    def crossing(first: np.ndarray, last: np.ndarray, wall: tuple[np.ndarray, np.ndarray]) -> float | None:
        """Where a leg crosses a wall, as a share of the leg; None: nowhere."""
        try:
            share, place = np.linalg.solve(np.stack([last - first, wall[0] - wall[1]], axis=1), wall[0] - first)
        except np.linalg.LinAlgError:
            return None
        return share if 1e-9 < share < 1 - 1e-9 and 0 <= place <= 1 else None

    for length in range(order + 1):
        for sequence in itertools.product(walls, repeat=length):
            images = [source]
            for first, last in sequence:
                along = (last - first) / np.linalg.norm(last - first)
                images.append(2 * (first + (images[-1] - first) @ along * along) - images[-1])
            way, is_heard = [microphone], True
            for image, wall in zip(images[:0:-1], sequence[::-1], strict=True):
                share = crossing(way[-1], image, wall)
                if share is None:
                    is_heard = False
                    break
                way.append(way[-1] + share * (image - way[-1]))
            legs = itertools.pairwise([*way, source])
            if is_heard and not any(crossing(*leg, wall) for leg in legs for wall in walls):
                yield images[-1], length


@pytest.mark.parametrize("height", [None, 3.0], ids=["2-D", "3-D"])
@pytest.mark.parametrize("corners", [L, U, SLANTED], ids=["L", "U", "slanted"])
def test_pyroomacoustics_hears_what_reaches_the_ear_around_corners(
    corners: tuple[tuple[float, float], ...], height: float | None
) -> None:
    """Image for image what ways traced wall by wall give, up to the second order."""
    room = Polygon(corners, height=height, absorption=0.3, max_order=2)
    places = np.random.default_rng(0).uniform(*room.bounds, size=(100, 2))
    places = places[room.contains(places, 0.2)][:16].reshape(-1, 2, 2)
    assert not room.sees(places[:, 0], places[:, 1]).all()
    for source, microphone in places:
        above, heard = ([], []) if height is None else ([0.8], [1.9])
        reference = room.to_pyroomacoustics(RATE)
        reference.add_source([*source, *above])
        reference.add_microphone([*microphone, *heard])
        reference.image_source_model()
        is_visible = reference.visibility[0][0].astype(bool)
        actual = np.column_stack([reference.sources[0].images.T, reference.sources[0].damping[0]])[is_visible]
        expected = []
        for image, order in reflections(room.corners, source, microphone, room.max_order):
            damping = math.sqrt(0.7) ** np.arange(order, room.max_order + 1)
            if height is None:
                expected.append([*image, damping[0]])
                continue
            # Floor and ceiling mirror the heights, whatever the walls do.
            heights = [[0.8], [-0.8, 2 * height - 0.8], [0.8 - 2 * height, 0.8 + 2 * height]]
            expected += [[*image, z, d] for zs, d in zip(heights, damping, strict=False) for z in zs]
        assert len(actual) == len(expected)
        if expected:
            actual, wanted = (rows[np.lexsort(np.round(rows, 2).T)] for rows in (actual, np.array(expected)))
            np.testing.assert_allclose(actual, wanted, atol=2e-3)


def test_impulse_responses_in_an_l_shaped_room_begin_with_the_shortest_way() -> None:
    """Around the corner there is no direct sound; what there is comes later than anybody could walk there."""
    source, microphones = np.array([7.1, 2.8]), np.array([[3.2, 1.1], [2.9, 7.3]])
    room = Polygon(L, height=3.0, absorption=0.3, max_order=3)
    reference = room.to_pyroomacoustics(RATE)
    reference.add_source([*source, 1.5])
    reference.add_microphone_array(np.column_stack([microphones, [1.5, 1.5]]).T)
    reference.compute_rir()
    np.testing.assert_array_equal(room.sees(np.tile(source, (2, 1)), microphones), [True, False])
    walked = room.walking_distances(source, microphones)
    for response, microphone, on_foot in zip((row[0] for row in reference.rir), microphones, walked, strict=True):
        ways = [math.dist(image, microphone) for image, _ in reflections(room.corners, source, microphone, order=3)]
        assert min(ways) == pytest.approx(on_foot) if microphone[1] < 4 else min(ways) > on_foot + 0.5
        arrival = np.flatnonzero(np.abs(response) > 0.1 * np.abs(response).max())[0]
        delay = min(ways) / reference.c * RATE + pra.constants.get("frac_delay_length") // 2
        assert arrival == pytest.approx(delay, abs=6)  # the main lobe of a fractional delay, and what leads up to it


# ---- What rooms are made of ------------------------------------------------------------------------------------------


def octave_absorption(name: str, room: pra.Room) -> np.ndarray:
    """What the table says of a material for the room's octave bands; beyond its end it goes on in a straight line."""
    coefficients = list(pra.parameters.materials_absorption_table[name]["coeffs"])
    assert pra.parameters.materials_absorption_table[name]["center_freqs"][0] == room.octave_bands.centers[0] == 125
    while len(coefficients) < len(room.octave_bands.centers):
        coefficients.append(2 * coefficients[-1] - coefficients[-2])
    return np.array(coefficients[: len(room.octave_bands.centers)]).clip(0, 1)


def absorptions(room: pra.Room) -> dict[str, np.ndarray]:
    return {wall.name: wall.absorption for wall in room.walls}


def test_a_shoebox_of_materials() -> None:
    walls = {**SURFACES, "east": "curtains_velvet"}
    room = ShoeBox((7.0, 6.0, 3.0), materials=walls)
    assert room.absorption is None
    assert room.rt60 is None
    reference = room.to_pyroomacoustics(RATE)
    assert reference.is_multi_band
    expected = {**dict.fromkeys(("west", "south", "north"), "brickwork"), "east": "curtains_velvet"}
    expected |= {"floor": SURFACES["floor"], "ceiling": SURFACES["ceiling"]}
    actual = absorptions(reference)
    assert actual.keys() == expected.keys()
    for surface, name in expected.items():
        np.testing.assert_allclose(actual[surface], octave_absorption(name, reference), atol=1e-6)
    # east is at x = width
    assert {wall.name: wall.corners[0].max() for wall in reference.walls}["west"] == 0
    assert {wall.name: wall.corners[0].min() for wall in reference.walls}["east"] == 7


@pytest.mark.parametrize("corners", [L, ((0, 0), (7, 0), (7, 6), (0, 5))], ids=["L", "convex"])
def test_a_polygon_of_materials(corners: tuple[tuple[float, float], ...]) -> None:
    reference = Polygon(corners, height=3.0, materials=SURFACES, air_absorption=True).to_pyroomacoustics(RATE)
    actual = absorptions(reference)
    assert len(actual) == len(corners) + 2
    for surface, absorption in actual.items():
        name = SURFACES[surface if surface in SURFACES else "walls"]
        np.testing.assert_allclose(absorption, octave_absorption(name, reference), atol=1e-6)
    flat = Polygon(corners, materials="hard_surface").to_pyroomacoustics(RATE)
    for absorption in absorptions(flat).values():
        np.testing.assert_allclose(absorption, octave_absorption("hard_surface", flat), atol=1e-6)


@pytest.mark.parametrize("air", [False, True], ids=["no air", "air"])
@pytest.mark.parametrize("materials", [SURFACES, "plywood_thin", None], ids=["surfaces", "plywood", "flat"])
def test_impulse_responses_are_those_of_materials(materials: dict[str, str] | str | None, air: bool) -> None:
    """As a user of pyroomacoustics would build the rooms."""
    absorption = 0.3 if materials is None else None
    walls = {"absorption": absorption, "materials": materials, "air_absorption": air, "max_order": 2}
    rooms: list[Room] = [ShoeBox((7.0, 6.0, 3.0), **walls), Polygon(L, height=3.0, **walls)]
    of = SURFACES if materials is SURFACES else dict.fromkeys(SURFACES, absorption or materials)
    made = pra.make_materials(**of)
    box = {**dict.fromkeys(("west", "east", "south", "north"), made["walls"])}
    box |= {"floor": made["floor"], "ceiling": made["ceiling"]}
    settings = {"fs": RATE, "max_order": 2, "air_absorption": air}
    references = [
        pra.ShoeBox([7.0, 6.0, 3.0], materials=box, **settings),
        pra.Room.from_corners(np.array(L).T, materials=pra.make_materials(**of)["walls"], **settings),
    ]
    references[1].extrude(3.0, materials={name: pra.make_materials(**of)[name] for name in ("floor", "ceiling")})
    for room, reference in zip(rooms, references, strict=True):
        responses = []
        for each in (room.to_pyroomacoustics(RATE), reference):
            each.add_source([2.0, 3.0, 1.3])
            each.add_microphone([3.0, 1.0, 1.5])
            each.compute_rir()
            responses.append(each.rir[0][0])
        np.testing.assert_allclose(responses[0], responses[1], atol=1e-9)


def test_air_takes_the_high_frequencies() -> None:
    spectra = []
    for air in (False, True):
        room = ShoeBox((40.0, 40.0, 3.0), absorption=1.0, max_order=0, air_absorption=air).to_pyroomacoustics(RATE)
        room.add_source([2.0, 2.0, 1.5])
        room.add_microphone([32.0, 32.0, 1.5])
        room.compute_rir()
        spectra.append(np.abs(np.fft.rfft(room.rir[0][0], 4 * RATE)))
    ratio = spectra[1] / spectra[0]
    low, high = (ratio[4 * f - 100 : 4 * f + 100].mean() for f in (250, 4000))
    assert high < 0.9 * low < 1.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ShoeBox(materials="brickwork", rt60=0.3), "materials, absorption and rt60: expected one of them"),
        (lambda: ShoeBox(materials="brickwork", absorption=0.3), "materials, absorption and rt60: expected one of"),
        (lambda: ShoeBox(materials="brikwork"), r"materials\['west'\]: .*: 'brikwork', did you mean 'brickwork'"),
        (lambda: ShoeBox(materials={**SURFACES, "floor": "lava"}), r"materials\['floor'\]: expected .*: 'lava'$"),
        (lambda: ShoeBox(materials={**SURFACES, "floor": 0.3}), r"materials\['floor'\]: expected .*, actual: 0.3$"),
        (lambda: ShoeBox(materials={"walls": "brickwork"}), r"for every surface, actual: none for \['floor', "),
        (lambda: ShoeBox(materials={"east": "brickwork"}), r"none for \['west', 'south', 'north', 'floor', 'c"),
        (lambda: ShoeBox(materials={**SURFACES, "flor": "marble_floor"}), "actual: 'flor', did you mean 'floor'"),
        (lambda: ShoeBox((5, 5), materials=SURFACES), r"expected surfaces of \['west', .* 'walls'\], actual: 'floor'$"),
        (lambda: Polygon(L, height=3, materials={**SURFACES, "east": "brickwork"}), "actual: 'east'"),
    ],
)  # fmt: skip
def test_impossible_materials_are_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_materials_of_another_type_are_refused() -> None:
    with pytest.raises(TypeError, match=r"materials: expected a name or names by surface, actual: \['brickwork'\]"):
        ShoeBox(materials=["brickwork"])  # type: ignore[arg-type]


def test_rooms_of_materials_can_be_compared_changed_and_told() -> None:
    room = ShoeBox(materials=SURFACES, air_absorption=True)
    assert room == pickle.loads(pickle.dumps(room)) == ShoeBox(materials=dict(SURFACES), air_absorption=True)
    assert hash(room) == hash(ShoeBox(materials=dict(SURFACES), air_absorption=True))
    assert room != ShoeBox(materials={**SURFACES, "walls": "plasterboard"}, air_absorption=True)
    assert repr(room) == (
        f"ShoeBox(absorption=None, rt60=None, max_order=3, materials={SURFACES}, air_absorption=True, "
        "size=(8.0, 8.0, 3.0))"
    )
    assert eval(repr(room)) == room
    # Where they are not set they are not said.
    assert repr(ShoeBox(absorption=0.5)) == "ShoeBox(absorption=0.5, rt60=None, max_order=3, size=(8.0, 8.0, 3.0))"
    assert repr(Polygon(((0, 0), (4, 0), (0, 4)), absorption=0.5)) == (
        "Polygon(absorption=0.5, rt60=None, max_order=3, floor=((0.0, 0.0), (4.0, 0.0), (0.0, 4.0)), height=None)"
    )
    assert room.with_walls(max_order=7) == ShoeBox(materials=SURFACES, air_absorption=True, max_order=7)
    assert room.with_walls(absorption=0.2) == ShoeBox(absorption=0.2, air_absorption=True)
    assert room.with_walls(rt60=0.3, max_order=7) == ShoeBox(rt60=0.3, max_order=7, air_absorption=True)
    given = dict(SURFACES)
    room = ShoeBox(materials=given)
    given["walls"] = "plasterboard"
    assert room.materials == SURFACES


# ---- Random rooms ----------------------------------------------------------------------------------------------------


def test_random_shoeboxes_are_drawn_as_they_always_were() -> None:
    """Suites are known by their rooms, to the last bit: first the sides, then the reverberation time."""
    sampler = RandomShoeBox(low=(4.0, 5.0, 2.5), high=(6.0, 9.0, 3.0), rt60=(0.2, 0.5), max_order=2)
    mine, theirs = np.random.default_rng(7), np.random.default_rng(7)
    for _ in range(20):
        size = theirs.uniform((4.0, 5.0, 2.5), (6.0, 9.0, 3.0)).tolist()
        assert sampler.sample(mine) == ShoeBox(tuple(size), rt60=theirs.uniform(0.2, 0.5), max_order=2)
    assert RandomShoeBox().rt60 == (0.15, 0.6)


CHOICES = {"walls": ["brickwork", "plasterboard"], "floor": "carpet_thin", "ceiling": ("anechoic", "hard_surface")}
SAMPLERS = {
    "shoebox": RandomShoeBox(),
    "shoebox-materials": RandomShoeBox(materials=CHOICES, air_absorption=True, max_order=4),
    "L": RandomLShape(max_order=2),
    "L-materials": RandomLShape(materials=CHOICES, passage=2.0),
    "L-2-D": RandomLShape((5.0, 7.0), (6.0, 8.0), notch=(0.2, 0.7), rt60=(0.2, 0.3)),
    "room": RandomRoom(),
    "room-2-D": RandomRoom((6.0, 4.0), (9.0, 5.0), num_corners=(3, 12), max_order=1),
    "room-convex": RandomRoom(indentation=0.0),
    "room-materials": RandomRoom(materials=CHOICES, num_corners=(6, 6), air_absorption=True),
}


@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)
def test_random_rooms_are_what_was_asked_for(sampler: RandomShoeBox | RandomLShape | RandomRoom) -> None:
    rng = np.random.default_rng(0)
    rooms = [sampler.sample(rng) for _ in range(60)]
    again = np.random.default_rng(0)
    assert [sampler.sample(again) for _ in range(60)] == rooms
    for room in rooms:
        low, high = room.bounds
        size = (*(high - low), *(() if room.ceiling is None else (room.ceiling,)))
        assert len(size) == len(sampler.low)
        assert (np.array(sampler.low) - 1e-9 <= size).all()
        assert (size <= np.array(sampler.high) + 1e-9).all()
        assert (low == 0).all()
        assert room.max_order == sampler.max_order
        assert room.air_absorption == sampler.air_absorption
        if sampler.materials is not None:
            assert room.absorption is None
            assert set(room.materials) == set(CHOICES)
            assert all(room.materials[surface] in sampler.materials[surface] for surface in CHOICES)
        else:
            shortest, longest = sampler.rt60
            assert (
                room.with_walls(rt60=longest).absorption <= room.absorption <= room.with_walls(rt60=shortest).absorption
            )
    if sampler.materials is not None:
        assert len({tuple(sorted(room.materials.items())) for room in rooms}) == 4
    # Sides fill their ranges: a uniform number has a standard error of its range / sqrt(12 * 60).
    spread = np.array(sampler.high[:2]) - sampler.low[:2]
    means = np.mean([room.bounds[1] for room in rooms], axis=0)
    if not isinstance(sampler, RandomRoom):  # that one leaves out what is not walkable
        np.testing.assert_allclose(means, (np.array(sampler.high[:2]) + sampler.low[:2]) / 2, atol=spread.max() * 0.15)


@pytest.mark.parametrize("sampler", [s for s in SAMPLERS.values() if not isinstance(s, RandomShoeBox)])
def test_random_rooms_have_no_narrow_passage(sampler: RandomLShape | RandomRoom) -> None:
    rng = np.random.default_rng(1)
    for _ in range(40):
        floor = shapely.Polygon(sampler.sample(rng).corners)
        assert floor.is_valid
        for width in np.linspace(0.1, 1, 10) * sampler.passage:
            standing = floor.buffer(-width / 2 + 1e-9)
            assert standing.geom_type == "Polygon"  # in one piece
            assert not standing.is_empty
        assert standing.buffer(sampler.passage / 2).area > 0.9 * floor.area


def test_random_polygons_have_as_many_corners_as_asked_for_and_bend_inwards_if_they_may() -> None:
    rng = np.random.default_rng(2)
    rooms = [RandomRoom(num_corners=(5, 7)).sample(rng) for _ in range(80)]
    assert {len(room.floor) for room in rooms} == {5, 6, 7}
    assert 0.2 < np.mean([room.is_convex for room in rooms]) < 0.9
    assert all(RandomRoom(indentation=0.0).sample(rng).is_convex for _ in range(40))


def test_l_shapes_are_rectangles_without_a_corner() -> None:
    sampler = RandomLShape(notch=(0.25, 0.5))
    rng = np.random.default_rng(3)
    missing = set()
    for _ in range(80):
        room = sampler.sample(rng)
        assert len(room.floor) == 6
        (corner,) = room.reflex_corners
        width, depth = room.bounds[1]
        cut = shapely.box(0, 0, width, depth).difference(shapely.Polygon(room.floor))
        x_low, y_low, x_high, y_high = cut.bounds
        assert cut.area == pytest.approx((x_high - x_low) * (y_high - y_low))
        assert 0.25 - 1e-9 <= (x_high - x_low) / width <= 0.5 + 1e-9
        assert 0.25 - 1e-9 <= (y_high - y_low) / depth <= 0.5 + 1e-9
        assert min(np.abs(corner - p).max() for p in np.array(cut.exterior.coords)) < 1e-9
        missing.add((x_low < 1e-9, y_low < 1e-9))
    assert len(missing) == 4


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomLShape(notch=(0.0, 0.5)), r"notch: expected \(least, largest\)"),
        (lambda: RandomLShape(notch=(0.6, 0.5)), r"notch: expected \(least, largest\)"),
        (lambda: RandomLShape(notch=(0.6, 0.9)), r"notch: expected to leave arms .* wide .* actual: 0.600 m"),
        (lambda: RandomLShape(passage=0.0), "passage: expected more than 0 metres"),
        (lambda: RandomRoom(num_corners=(2, 5)), "num_corners: expected a whole number of 3 or more, actual: 2"),
        (lambda: RandomRoom(num_corners=(6, 5)), r"num_corners: expected \(least, largest\)"),
        (lambda: RandomRoom(indentation=1.0), r"indentation: expected a share in \[0, 1\), actual: 1.0"),
        (lambda: RandomRoom(low=(6.0, 6.0), high=(5.0, 8.0)), "low, high: expected as many sides in both"),
        (lambda: RandomRoom(low=(6.0,), high=(7.0,)), "low, high: expected .*width, depth"),
        (lambda: RandomRoom(rt60=(0.4, 0.3)), "rt60: expected"),
        (lambda: RandomShoeBox(materials={**CHOICES, "floor": []}), r"materials\['floor'\]: expected at least one"),
        (lambda: RandomShoeBox(materials={**CHOICES, "floor": ["lava"]}), r"materials\['floor'\]: .*, actual: 'lava'"),
        (lambda: RandomShoeBox(materials={"walls": "brickwork"}), "expected a material for every surface"),
        (lambda: RandomShoeBox(materials={}), "expected a material for every surface"),
        (lambda: RandomShoeBox(materials=CHOICES, rt60=(0.2, 0.3)), "materials, absorption and rt60: expected one of"),
        (lambda: RandomRoom(materials={**CHOICES, "east": "brickwork"}), "actual: 'east'"),
        (lambda: RandomRoom((2.0, 2.0), (3.0, 3.0), passage=2.5).sample(np.random.default_rng(0)), "no such room was"),
    ],
)  # fmt: skip
def test_impossible_samplers_are_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_anything_that_samples_can_stand_for_a_room() -> None:
    class Mine:
        def sample(self, rng: np.random.Generator) -> Room:
            return ShoeBox((rng.uniform(4, 5), 5.0))

    mine = Mine()
    assert as_room(mine) is mine
    assert isinstance(mine, RoomSampler)
    assert all(isinstance(sampler, RoomSampler) for sampler in SAMPLERS.values())
    assert not isinstance(ShoeBox(), RoomSampler)
    for sampler in SAMPLERS.values():
        assert pickle.loads(pickle.dumps(sampler)) == sampler
        assert eval(repr(sampler)) == sampler
        assert isinstance(hash(sampler), int)
