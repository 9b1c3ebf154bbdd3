"""Where the ears sit and how they hear."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from pyroomacoustics.directivities import CardioidFamily, FigureEight, MeasuredDirectivity, Omnidirectional, Rotation3D
from pyroomacoustics.doa import GridSphere

from auralnav_gym import Pose, Scene, ShoeBox, Source, SyntheticSounds
from auralnav_gym.acoustics import Listener
from auralnav_gym.ears import CardioidEars, MicrophoneArray, OmniEars
from auralnav_gym.measured_ears import MeasuredEars
from auralnav_gym.named_ears import as_ears

RATE = 8000
TRIANGLE = ((0.0, 0.1, 0.0), (0.0, -0.1, 0.0), (0.05, 0.0, 0.02))


def directions_to(count: int, num_ears: int, dim: int = 3) -> np.ndarray:
    """(dim, 2, num_ears, count) unit vectors, of 2 sources."""
    directions = np.random.default_rng(0).standard_normal((dim, 2, num_ears, count))
    return directions / np.linalg.norm(directions, axis=0)


def measured_directivity(turned: float = 0.0, rate: int = RATE, taps: int = 128) -> MeasuredDirectivity:
    """A microphone with a random response of its own for every of 64 directions, turned to the left by degrees."""
    responses = np.random.default_rng(1).standard_normal((64, taps)) / taps
    return MeasuredDirectivity(Rotation3D([turned], "z", degrees=True), GridSphere(64), responses, rate)


@pytest.mark.parametrize("ears", [CardioidEars(), OmniEars()], ids=["ortf", "omni"])
def test_the_left_ear_is_on_the_left(ears) -> None:
    np.testing.assert_allclose(ears.positions, [[0, 0.085, 0], [0, -0.085, 0]])
    assert ears.spacing == pytest.approx(0.17)
    assert ears.radius == pytest.approx(0.085)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("pattern", [0.0, 0.25, 0.5, 1.0])
def test_cardioid_gains_are_those_of_pyroomacoustics(pattern: float, dim: int) -> None:
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((dim, 3, 2, 5))
    directions /= np.linalg.norm(directions, axis=0)
    gains = CardioidEars(0.2, math.radians(70), pattern).gains(directions)
    for ear, side in enumerate((1, -1)):
        axis = np.array([math.cos(math.radians(70)), side * math.sin(math.radians(70)), 0.0])
        vectors = np.zeros((15, 3))
        vectors[:, :dim] = directions[:, :, ear].reshape(dim, 15).T
        expected = CardioidFamily(axis, pattern).get_response_cartesian(vectors)
        np.testing.assert_allclose(gains[:, ear].ravel(), expected, atol=1e-12)


def test_ortf_hears_its_own_side_louder_and_the_front_alike() -> None:
    def gains(azimuth: float) -> np.ndarray:
        direction = np.array([math.cos(azimuth), math.sin(azimuth), 0.0])
        return CardioidEars().gains(np.repeat(direction, 2).reshape(3, 1, 2, 1))[0, :, 0]

    left, right = gains(math.radians(55))
    assert left == pytest.approx(1.0)
    assert right == pytest.approx(0.5 + 0.5 * math.cos(math.radians(110)))
    ahead, behind = gains(0.0), gains(math.pi)
    assert ahead[0] == pytest.approx(ahead[1])
    assert ahead[0] / behind[0] > 3  # front and back differ


@pytest.mark.parametrize("ears", [CardioidEars(), OmniEars()], ids=["ortf", "omni"])
def test_gains_are_all_that_simple_ears_do(ears) -> None:
    assert ears.filters(directions_to(3, 2), RATE) is None
    np.testing.assert_array_equal(ears.reference_points, ears.positions)


@pytest.mark.parametrize("dim", [2, 3])
def test_a_microphone_array_has_the_gains_of_pyroomacoustics(dim: int) -> None:
    axes, patterns, factors = [[1, 0, 0], [0.3, -2, 0.5], [0, 0, 1]], [0.5, 0.25, 0.9], [1.0, 0.7, 2.0]
    microphones = [CardioidFamily(axis, p, gain=gain) for axis, p, gain in zip(axes, patterns, factors, strict=True)]
    array = MicrophoneArray(TRIANGLE, microphones)
    directions = directions_to(5, 3, dim)
    gains = array.gains(directions)
    assert gains.shape == (2, 3, 5)
    for ear, (axis, p, gain) in enumerate(zip(axes, patterns, factors, strict=True)):
        unit = np.array(axis) / np.linalg.norm(axis)
        cosines = np.einsum("d,dsi->si", unit[:dim], directions[:, :, ear])
        np.testing.assert_allclose(gains[:, ear], gain * (p + (1 - p) * cosines), atol=1e-12)
    assert array.filters(directions, RATE) is None
    np.testing.assert_allclose(array.positions, TRIANGLE)
    np.testing.assert_array_equal(array.reference_points, array.positions)
    assert array.spacing == pytest.approx(0.2)


def test_a_microphone_array_of_two_cardioids_is_ortf() -> None:
    angle = math.radians(55)
    microphones = [CardioidFamily([math.cos(angle), side * math.sin(angle), 0], 0.5) for side in (1, -1)]
    ortf, directions = CardioidEars(), directions_to(5, 2)
    array = MicrophoneArray(ortf.positions, microphones)
    np.testing.assert_allclose(array.gains(directions), ortf.gains(directions), atol=1e-12)


def test_one_directivity_is_for_all_and_none_for_omnidirectional() -> None:
    directions = directions_to(4, 3)
    ahead = CardioidFamily([1, 0, 0], 0.5)
    np.testing.assert_allclose(MicrophoneArray(TRIANGLE, ahead).gains(directions), (1 + directions[0]) / 2, atol=1e-12)
    np.testing.assert_array_equal(MicrophoneArray(TRIANGLE).gains(directions), np.ones((2, 3, 4)))
    mixed = MicrophoneArray(TRIANGLE, [None, Omnidirectional(gain=0.5), ahead]).gains(directions)
    np.testing.assert_array_equal(mixed[:, :2], np.broadcast_to([[[1.0], [0.5]]], (2, 2, 4)))


@pytest.mark.parametrize("dim", [2, 3])
def test_measured_microphones_are_heard_through_their_nearest_response(dim: int) -> None:
    microphones = [measured_directivity(90.0), None, FigureEight([0, 1, 0])]
    array, directions = MicrophoneArray(TRIANGLE, microphones), directions_to(6, 3, dim)
    filtered = array.filters(directions, RATE)
    assert filtered is not None
    filters, delays = filtered
    assert filters.shape == (2, 3, 6, 128)
    assert filters.dtype == np.float32
    np.testing.assert_array_equal(delays, np.zeros((2, 3, 6)))
    # Turned to the left by a quarter, the microphone has its own x axis where the head has y, and its y where -x is.
    points, responses = GridSphere(64).cartesian.T, np.random.default_rng(1).standard_normal((64, 128)) / 128
    for source, image in np.ndindex(2, 6):
        x, y, z = *directions[:, source, 0, image], *([0.0] if dim == 2 else [])
        nearest = np.argmin(np.linalg.norm(points - [y, -x, z], axis=1))
        np.testing.assert_allclose(filters[source, 0, image], responses[nearest], rtol=1e-6)
        energy = np.square(responses[nearest]).sum()
        assert array.gains(directions)[source, 0, image] == pytest.approx(math.sqrt(energy))
    np.testing.assert_allclose(
        filters[:, 1:, :, 0], np.stack([np.ones((2, 6)), directions[1, :, 2]], axis=1), atol=1e-6
    )
    assert not filters[:, 1:, :, 1:].any()


def test_an_array_hears_what_pyroomacoustics_has_it_hear() -> None:
    """In a room with reflections, the head turned: the responses of ``Room.compute_rir()`` for one microphone each."""
    heading, room = 0.5, ShoeBox((6.0, 5.0, 3.0), absorption=0.4, max_order=2)
    scene = Scene(
        room, (Source((4.5, 3.5, 1.2), SyntheticSounds(seconds=1.0, per_kind=1)[0]),), Pose(2.0, 2.0, heading)
    )
    turned = math.degrees(heading)
    array = MicrophoneArray(TRIANGLE, [measured_directivity(90.0), None, CardioidFamily([0, 1, 0], 0.5)])
    heard = Listener(scene, array, RATE, 4000).impulse_responses(scene.pose)[0]
    turn = np.array([[math.cos(heading), -math.sin(heading), 0], [math.sin(heading), math.cos(heading), 0], [0, 0, 1]])
    there = [measured_directivity(90.0 + turned), None, CardioidFamily(turn @ [0, 1, 0], 0.5)]
    for index, (place, directivity) in enumerate(zip(TRIANGLE, there, strict=True)):
        reference = room.to_pyroomacoustics(RATE)
        reference.add_source([4.5, 3.5, 1.2])
        reference.add_microphone(turn @ place + [2.0, 2.0, scene.ear_height], directivity=directivity)
        reference.compute_rir()
        expected = reference.rir[0][0]
        short, peak = min(len(expected), heard.shape[1]), np.abs(expected).max()
        # pyroomacoustics' high-pass depends on the length of a response, which is the same for all in an array.
        tolerance = 1e-5 if index == 0 else 1e-2
        np.testing.assert_allclose(heard[index, :short], expected[:short], atol=tolerance * peak)
        assert np.abs(heard[index]).max() > 0.5 * peak


def test_a_measured_microphone_of_another_rate_is_refused() -> None:
    array = MicrophoneArray(TRIANGLE, measured_directivity(rate=16_000))
    message = r"expected measured ones at the environment's sample_rate, 8000 Hz, actual: 16000 Hz; .*fs=8000\)"
    with pytest.raises(ValueError, match=message):
        array.filters(directions_to(1, 3), RATE)


def test_equal_arrays_are_equal_and_cannot_be_written_to() -> None:
    ahead = CardioidFamily([1, 0, 0], 0.5)
    array = MicrophoneArray(TRIANGLE, ahead)
    assert array == MicrophoneArray(np.array(TRIANGLE), [ahead] * 3)
    assert hash(array) == hash(MicrophoneArray(np.array(TRIANGLE), [ahead] * 3))
    assert array != MicrophoneArray(TRIANGLE)
    assert array != MicrophoneArray(np.array(TRIANGLE) * 2, ahead)
    copy = pickle.loads(pickle.dumps(array))
    directions = directions_to(2, 3)
    np.testing.assert_array_equal(copy.gains(directions), array.gains(directions))
    for each in (array, copy):
        with pytest.raises(ValueError, match="read-only"):
            each.positions[0] = 0


def test_as_ears() -> None:
    assert as_ears("ortf") == CardioidEars(0.17, math.radians(55), 0.5)
    assert as_ears("omni") == OmniEars(0.17)
    assert as_ears("omni") != as_ears("ortf")
    assert as_ears("human") is MeasuredEars.kemar()
    mine = OmniEars(0.3)
    assert as_ears(mine) is mine
    assert repr(mine) == "OmniEars(spacing=0.3)"
    with pytest.raises(
        ValueError, match=r"ears: expected an Ears object or one of \['human', 'omni', 'ortf'\], actual: 'cat'"
    ):
        as_ears("cat")
    with pytest.raises(TypeError, match="ears: expected"):
        as_ears(2)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OmniEars(0.0), "spacing: expected more than 0"),
        (lambda: CardioidEars(spacing=-1.0), "spacing: expected more than 0"),
        (lambda: CardioidEars(angle=4.0), "angle: expected radians"),
        (lambda: CardioidEars(pattern=1.5), "pattern: expected a number"),
        (lambda: MicrophoneArray(TRIANGLE[:1]), "positions: expected two or more"),
        (lambda: MicrophoneArray(((0, 1), (0, -1))), "positions: expected two or more"),
        (
            lambda: MicrophoneArray(TRIANGLE, [None] * 2),
            "expected one, or one for each of the 3 microphones, actual: 2",
        ),
    ],
)
def test_bad_ears_are_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_what_is_no_directivity_is_refused() -> None:
    with pytest.raises(
        TypeError, match=r"directivities: expected Directivity objects of pyroomacoustics, actual: 0\.5"
    ):
        MicrophoneArray(TRIANGLE, 0.5)  # type: ignore[arg-type]
