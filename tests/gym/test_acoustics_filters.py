"""Ears that filter what they hear by its direction, against pyroomacoustics' measured directivities and by shifts."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field

import numpy as np
import pyroomacoustics as pra
import pytest
from pyroomacoustics.directivities import MeasuredDirectivity, Rotation3D
from pyroomacoustics.doa import GridSphere
from scipy.signal import fftconvolve

from auralnav_gym.acoustics import Listener
from auralnav_gym.ears import Ears, OmniEars
from auralnav_gym.movement import Pose
from auralnav_gym.rooms import Polygon, Room, ShoeBox
from auralnav_gym.scene import DiffuseSound, Scene, Source
from auralnav_gym.sounds import Sound

RATE = 8000
WINDOW = 2000
NUM_TAPS = 24
SPACING = 0.18
L_SHAPE = ((0.0, 0.0), (8.0, 0.0), (8.0, 4.0), (5.0, 4.0), (5.0, 8.0), (0.0, 8.0))
ROOMS = {
    "shoebox-3d": ShoeBox((8.0, 7.0, 3.0), absorption=0.3),
    "shoebox-2d": ShoeBox((8.0, 7.0), absorption=0.3),
    "l-shape-3d": Polygon(L_SHAPE, height=3.0, absorption=0.3),
    "materials": ShoeBox((8.0, 7.0, 3.0), materials="carpet_hairy"),
    "materials-and-air": ShoeBox((8.0, 7.0, 3.0), materials="carpet_hairy", air_absorption=True),
    "l-shape-with-materials": Polygon(L_SHAPE, height=3.0, materials="brick_wall_rough"),
    "anechoic": ShoeBox((8.0, 7.0, 3.0), absorption=1.0, max_order=0),
}
POSES = [Pose(2.1, 6.3, 2.0), Pose(6.4, 1.7, -0.4)]


@dataclass(frozen=True, eq=False)
class GridEars(Ears):
    """Two ears with a filter for each of 200 directions; the nearest is taken. Delays shift the filters by samples."""

    responses: np.ndarray = field(
        default_factory=lambda: (
            np.random.default_rng(5).standard_normal((2, 200, NUM_TAPS)) * 0.8 ** np.arange(NUM_TAPS)
        )
    )
    shift: int = 0
    at_centre: bool = False

    @property
    def positions(self) -> np.ndarray:
        return np.array([[0.0, SPACING / 2, 0.0], [0.0, -SPACING / 2, 0.0]])

    @property
    def reference_points(self) -> np.ndarray:
        return np.zeros((2, 3)) if self.at_centre else self.positions

    @property
    def grid(self) -> np.ndarray:
        """(3, 200), directions spread over the sphere."""
        directions = np.random.default_rng(6).standard_normal((3, 200))
        return directions / np.linalg.norm(directions, axis=0)

    def gains(self, directions: np.ndarray) -> np.ndarray:
        raise AssertionError("the filters stand in place of the gains")

    def filters(self, directions: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
        nearest = np.tensordot(self.grid[: len(directions)], directions, axes=(0, 0)).argmax(axis=0)
        filters = np.stack([self.responses[ear][nearest[:, ear]] for ear in range(2)], axis=1)
        return filters.astype(np.float32), np.full(nearest.shape, self.shift / sample_rate)


@dataclass(frozen=True)
class PlaneEars(Ears):
    """Two omnidirectional ears, told as filters: an impulse, and the delay of a plane wave after the head's centre."""

    impulse: tuple[float, ...] = (1.0,)

    @property
    def positions(self) -> np.ndarray:
        return OmniEars(SPACING).positions

    @property
    def reference_points(self) -> np.ndarray:
        return np.zeros((2, 3))

    def gains(self, directions: np.ndarray) -> np.ndarray:
        return np.ones(directions.shape[1:])

    def filters(self, directions: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
        delays = -np.einsum("ed,dsei->sei", self.positions[:, : len(directions)], directions) / 343.0
        filters = np.broadcast_to(np.array(self.impulse, dtype=np.float32), (*delays.shape, len(self.impulse)))
        return filters, delays


def noise(index: int, length: int = 3001) -> Sound:
    signal = 0.05 * np.random.default_rng(index).standard_normal(length)
    return Sound(f"noise-{index}", "noise", signal.astype(np.float32))


def make_scene(
    room: Room,
    places: tuple[tuple[float, float], ...] = ((2.6, 2.2), (6.7, 2.9)),
    background: DiffuseSound | None = None,
) -> Scene:
    height = () if room.dim == 2 else (1.3,)
    sources = tuple(Source((*place, *height), noise(i), start=100 * i) for i, place in enumerate(places))
    return Scene(room, sources, POSES[0], None if room.dim == 2 else 1.5, background=background)


def reference_room(scene: Scene, ears: GridEars, pose: Pose) -> pra.Room:
    """The room with microphones whose directivities are given by impulse responses."""
    reference = scene.room.to_pyroomacoustics(RATE)
    for source in scene.sources:
        reference.add_source(list(source.position))
    turn = Rotation3D([pose.heading], "z", degrees=False)
    directivities = [
        MeasuredDirectivity(turn, GridSphere(cartesian_points=ears.grid), ears.responses[ear], RATE) for ear in range(2)
    ]
    places = []
    for side in (+1, -1):  # left, right
        across = pose.heading + side * math.pi / 2
        place = [pose.x + SPACING / 2 * math.cos(across), pose.y + SPACING / 2 * math.sin(across), scene.ear_height]
        places.append(place[: scene.room.dim])
    reference.add_microphone_array(pra.MicrophoneArray(np.array(places).T, RATE, directivity=directivities))
    reference.compute_rir()
    return reference


def relative_error(actual: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


def pad(response: np.ndarray, length: int) -> np.ndarray:
    return np.pad(response, [(0, 0)] * (response.ndim - 1) + [(0, length - response.shape[-1])])


# ---- Sources ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pose", POSES, ids=["pose-0", "pose-1"])
@pytest.mark.parametrize("room", ROOMS.values(), ids=ROOMS)
def test_impulse_responses_equal_those_of_pyroomacoustics(room: Room, pose: Pose) -> None:
    scene, ears = make_scene(room), GridEars()
    if room.dim == 2:  # the nearest of the grid is another, seen without heights: give both the same in all directions
        ears = GridEars(np.repeat(ears.responses[:, :1], 200, axis=1))
    responses = Listener(scene, ears, RATE, WINDOW).impulse_responses(pose)
    reference = reference_room(scene, ears, pose)
    for ear, source in itertools.product(range(2), range(2)):
        expected = reference.rir[ear][source]
        actual = responses[source, ear]
        assert relative_error(actual[: len(expected)], expected) < 1e-5
        assert not actual[len(expected) :].any()


@pytest.mark.parametrize("room", ["shoebox-3d", "materials"])
def test_the_ears_hear_what_a_convolution_gives(room: str) -> None:
    scene, ears, pose = make_scene(ROOMS[room]), GridEars(), POSES[0]
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


@pytest.mark.parametrize("room", ["shoebox-3d", "l-shape-with-materials"])
@pytest.mark.parametrize("shift", [-7, 7])
def test_a_delay_shifts_a_filter(shift: int, room: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A filter that begins with zeros and a delay of as many samples less are the same, and so the other way round."""
    original = pra.constants.get  # the high-pass would see the ends, which are not the same
    monkeypatch.setattr(pra.constants, "get", lambda name: False if name == "rir_hpf_enable" else original(name))
    scene, plain = make_scene(ROOMS[room]), GridEars()
    padded = GridEars(np.pad(plain.responses, [(0, 0), (0, 0), (abs(shift), 0)]), shift=min(shift, 0))
    delayed = GridEars(plain.responses, shift=max(shift, 0))
    pairs = [Listener(scene, ears, RATE, WINDOW).impulse_responses(POSES[1]) for ears in (padded, delayed)]
    length = max(responses.shape[-1] for responses in pairs)
    assert relative_error(*(pad(responses, length) for responses in pairs)) < 1e-6


def test_a_delay_of_parts_of_a_sample_is_that_of_a_longer_way() -> None:
    """In free field: as a source so much farther away, but for the level."""
    room = ROOMS["anechoic"]
    pose = Pose(2.0, 3.0, 0.0)
    metres = 3.3 * 343.0 / RATE
    listener = Listener(make_scene(room, places=((5.0, 3.0), (5.0 + metres, 3.0))), PlaneEars(), RATE, WINDOW)

    class Later(PlaneEars):
        def filters(self, directions: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
            filters, delays = super().filters(directions, sample_rate)
            return filters, delays + 3.3 / sample_rate

    near, far = Listener(make_scene(room, places=((5.0, 3.0),)), Later(), RATE, WINDOW), listener
    later, farther = near.impulse_responses(pose)[0], far.impulse_responses(pose)[1]
    distances = [math.hypot(metre, 0.2) for metre in (3.0, 3.0 + metres)]
    length = max(later.shape[-1], farther.shape[-1])
    # The slope to the ears' height makes the way a little shorter than so much farther.
    assert relative_error(pad(later, length) * distances[0], pad(farther, length) * distances[1]) < 0.02


def test_filters_may_hold_the_way_from_the_centre_of_the_head_to_the_ears() -> None:
    """A far source: what arrives at the centre, brought to each ear as a plane wave, is what arrives there."""
    room = ShoeBox((60.0, 60.0, 3.0), absorption=1.0, max_order=0)
    scene, pose = make_scene(room, places=((55.0, 40.0),)), Pose(5.0, 5.0, 0.7)
    responses = [
        Listener(scene, ears, 48_000, WINDOW).impulse_responses(pose)[0] for ears in (PlaneEars(), OmniEars(SPACING))
    ]
    length = max(response.shape[-1] for response in responses)
    spectra = [np.fft.rfft(pad(response, length))[:, : length // 3] for response in responses]
    assert relative_error(*spectra) < 0.02


def test_a_source_at_the_head_is_heard_before_it_is_at_the_centre() -> None:
    """3 cm to the left of the centre, and 9 cm from it the left ear: what is before the source sounds is cut off."""
    pose = Pose(4.0, 3.0, 0.0)
    room = ShoeBox((8.0, 7.0, 3.0), absorption=1.0, max_order=0)
    scene = Scene(room, (Source((4.0, 3.03, 1.5), noise(0)),), POSES[0], 1.5)
    responses = Listener(scene, PlaneEars(), 48_000, WINDOW).impulse_responses(pose)[0]
    # 40 samples are the delay of pyroomacoustics' filters.
    arrivals = np.abs(responses).argmax(axis=-1) - 40
    np.testing.assert_allclose(arrivals / 48_000 * 343.0, [0.03 - 0.09, 0.03 + 0.09], atol=0.5 * 343.0 / 48_000)
    np.testing.assert_allclose(np.abs(responses).max(axis=-1), 1 / 0.03, rtol=0.3)


@pytest.mark.parametrize("room", ROOMS.values(), ids=ROOMS)
def test_a_source_switched_off_is_heard_until_its_last_reflection(room: Room) -> None:
    listener = Listener(make_scene(room), GridEars(shift=30), RATE, WINDOW)
    bound, off = listener._longest_response, 10 * WINDOW
    assert listener.hear(POSES[0], off, [off, off]).any()
    assert not listener.hear(POSES[0], off + bound, [off, off]).any()
    assert all(listener.impulse_responses(pose).shape[-1] <= bound for pose in POSES)


def test_delays_far_beyond_those_of_other_directions_are_refused() -> None:
    class Odd(PlaneEars):
        def filters(self, directions: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
            filters, delays = super().filters(directions, sample_rate)
            return filters, delays - (directions.shape[1:] == (1, 2, 1)) * 1.0

    listener = Listener(make_scene(ROOMS["anechoic"], places=((2.6, 2.2),)), Odd(), RATE, WINDOW)
    with pytest.raises(ValueError, match=r"ears filters: expected arrivals from 0 s .* actual: from -0.9"):
        listener.impulse_responses(POSES[0])


# ---- The diffuse field -----------------------------------------------------------------------------------------------


def hiss(num_directions: int = 20) -> DiffuseSound:
    sounds = tuple(noise(index, 4001) for index in range(num_directions))
    return DiffuseSound(sounds, tuple(range(0, 100 * num_directions, 100)))


@pytest.mark.parametrize("room", ["anechoic", "shoebox-2d"])
def test_plane_waves_reach_the_ears_by_their_filters(room: str) -> None:
    """Filters that bring a plane wave from the centre to each ear are what the place of an ear does."""
    scene = make_scene(ROOMS[room], background=hiss())
    heard = [
        Listener(scene, ears, RATE, WINDOW).hear_background(POSES[0], 5 * WINDOW)
        for ears in (PlaneEars(), OmniEars(SPACING))
    ]
    assert relative_error(*heard) < 1e-3


def test_the_field_is_filtered_as_by_a_filter_behind_the_ears() -> None:
    """Where the filter is the same in all directions."""
    impulse = tuple((np.random.default_rng(7).standard_normal(30) * 0.9 ** np.arange(30)).tolist())
    scene = make_scene(ROOMS["anechoic"], background=hiss())
    filtered = Listener(scene, PlaneEars(impulse), RATE, WINDOW).hear_background(POSES[0], 5 * WINDOW)
    plain = Listener(scene, PlaneEars(), RATE, WINDOW + 29).hear_background(POSES[0], 5 * WINDOW - 29)
    expected = [fftconvolve(ear, impulse, "valid") for ear in plain.astype(np.float64)]
    assert relative_error(filtered, np.array(expected)) < 1e-5


def test_each_wave_of_the_field_has_the_filter_of_its_direction() -> None:
    """One wave, in two dimensions, comes from +x: as from a far source there."""
    ears = GridEars()
    sound = noise(0, 4001)
    room = ShoeBox((60.0, 60.0), absorption=1.0, max_order=0)
    pose = Pose(5.0, 30.0, 0.9)
    scene = Scene(room, (Source((55.0, 30.0), sound),), pose, None, background=DiffuseSound((sound,), (0,)))
    listener = Listener(scene, ears, RATE, 4001)
    far, field_ = listener.hear_sources(pose, 0, [math.inf])[0], listener.hear_background(pose, 0)
    spectra = [np.abs(np.fft.rfft(heard)) for heard in (far, field_)]
    level = [np.linalg.norm(spectrum) for spectrum in spectra]
    assert relative_error(spectra[0][:, 50:] / level[0], spectra[1][:, 50:] / level[1]) < 0.02


def test_windows_of_the_field_join_without_a_gap() -> None:
    scene = make_scene(ROOMS["anechoic"], background=hiss())
    short, long = (Listener(scene, GridEars(), RATE, n) for n in (WINDOW, 2 * WINDOW))
    halves = [short.hear_background(POSES[0], time) for time in (0, WINDOW)]
    assert relative_error(np.concatenate(halves, axis=1), long.hear_background(POSES[0], 0)) < 1e-6
