"""What the ears hear, against pyroomacoustics and a direct convolution."""

from __future__ import annotations

import math

import numpy as np
import pyroomacoustics as pra
import pytest
from pyroomacoustics.directivities import CardioidFamily
from scipy.signal import butter, fftconvolve, sosfiltfilt

from auralnav_gym.acoustics import Listener, longest_response
from auralnav_gym.ears import CardioidEars, Ears, OmniEars
from auralnav_gym.movement import Pose
from auralnav_gym.playback import Player, overlap_save
from auralnav_gym.responses import LowRankFilter, high_pass
from auralnav_gym.rooms import Polygon, Room, ShoeBox
from auralnav_gym.scene import Scene, Source
from auralnav_gym.sounds import Sound

RATE = 8000
WINDOW = 2000
FIVE_CORNERS = ((0.0, 0.0), (8.0, 0.0), (9.0, 4.0), (6.0, 8.0), (0.0, 7.0))
ROOMS = {
    "shoebox-3d": ShoeBox((7.0, 6.0, 3.0), absorption=0.3),
    "shoebox-2d": ShoeBox((7.0, 6.0), absorption=0.3),
    "polygon-3d": Polygon(FIVE_CORNERS, height=3.0, absorption=0.3),
    "polygon-2d": Polygon(FIVE_CORNERS, absorption=0.3),
    "triangle-3d": Polygon(((0.0, 0.0), (9.0, 0.0), (2.0, 8.0)), height=2.5, rt60=0.5, max_order=2),
    "reverberant": ShoeBox((7.0, 6.0, 3.0), absorption=0.1, max_order=8),
    "anechoic": ShoeBox((7.0, 6.0, 3.0), absorption=1.0, max_order=0),
}
EARS = {"cardioid": CardioidEars(), "omni": OmniEars(0.2), "hypercardioid": CardioidEars(0.3, 1.2, 0.25)}
POSES = [Pose(3.3, 4.1, 2.0), Pose(2.2, 1.7, -0.4)]


def noise(index: int, length: int = 3001) -> Sound:
    signal = 0.05 * np.random.default_rng(index).standard_normal(length)
    return Sound(f"noise-{index}", "noise", signal.astype(np.float32))


def make_scene(room: Room, places: tuple[tuple[float, float], ...] = ((2.0, 3.0), (5.0, 4.0))) -> Scene:
    height = () if room.dim == 2 else (1.3,)
    sources = tuple(Source((*place, *height), noise(i), start=100 * i) for i, place in enumerate(places))
    return Scene(room, sources, Pose(3.0, 2.0, 0.0), ear_height=None if room.dim == 2 else 1.5)


def reference_room(scene: Scene, ears: Ears, pose: Pose) -> pra.Room:
    """The room as a user of pyroomacoustics would build it, ears placed by hand."""
    room = scene.room
    if isinstance(room, ShoeBox):
        reference = pra.ShoeBox(room.size, fs=RATE, materials=pra.Material(room.absorption), max_order=room.max_order)
    else:
        reference = pra.Room.from_corners(
            np.array(room.floor).T, fs=RATE, materials=pra.Material(room.absorption), max_order=room.max_order
        )
        if room.height is not None:
            reference.extrude(room.height, materials=pra.Material(room.absorption))
    for source in scene.sources:
        reference.add_source(list(source.position))
    places, microphones = [], []
    for side in (+1, -1):  # left, right
        across = pose.heading + side * math.pi / 2
        place = [
            pose.x + ears.spacing / 2 * math.cos(across),
            pose.y + ears.spacing / 2 * math.sin(across),
        ]
        places.append(place if room.dim == 2 else [*place, scene.ear_height])
        if isinstance(ears, CardioidEars):
            axis = pose.heading + side * ears.angle
            microphones.append(CardioidFamily(np.array([math.cos(axis), math.sin(axis), 0.0]), ears.pattern))
    # Given as an object, an array may be directive in two dimensions too.
    array = pra.MicrophoneArray(np.array(places).T, RATE, directivity=microphones or None)
    reference.add_microphone_array(array)
    reference.compute_rir()
    return reference


def relative_error(actual: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("pose", POSES, ids=["pose-0", "pose-1"])
@pytest.mark.parametrize("ears", EARS.values(), ids=EARS)
@pytest.mark.parametrize("room", ROOMS.values(), ids=ROOMS)
def test_impulse_responses_equal_those_of_pyroomacoustics(room: Room, ears: Ears, pose: Pose) -> None:
    scene = make_scene(room)
    responses = Listener(scene, ears, RATE, WINDOW).impulse_responses(pose)
    reference = reference_room(scene, ears, pose)
    for ear in range(2):
        for source in range(2):
            expected = reference.rir[ear][source]
            actual = responses[source, ear]
            # In a polygon images are found by other roundings; the last bit of a delay is worth 1e-5.
            tolerance = 1e-5 if isinstance(room, ShoeBox) else 2e-5
            assert relative_error(actual[: len(expected)], expected) < tolerance
            assert not actual[len(expected) :].any()


@pytest.mark.parametrize("metres", [0.12, 0.2, 0.3, 0.4, 0.6])
@pytest.mark.parametrize("room", ["shoebox-3d", "polygon-2d", "anechoic", "reverberant"])
def test_impulse_responses_of_a_source_at_the_ear(room: str, metres: float) -> None:
    """sosfiltfilt continues a response oddly before its beginning: no silence if the sound arrives at once."""
    pose, ears = POSES[0], CardioidEars()
    scene = make_scene(ROOMS[room], places=((pose.x + metres, pose.y),))
    responses = Listener(scene, ears, RATE, WINDOW).impulse_responses(pose)
    reference = reference_room(scene, ears, pose)
    for ear in range(2):
        expected = reference.rir[ear][0]
        assert relative_error(responses[0, ear, : len(expected)], expected) < 1e-5


@pytest.mark.parametrize("ears", EARS.values(), ids=EARS)
@pytest.mark.parametrize("room", ROOMS.values(), ids=ROOMS)
def test_the_ears_hear_what_a_convolution_gives(room: Room, ears: Ears) -> None:
    scene, pose = make_scene(room), POSES[0]
    listener = Listener(scene, ears, RATE, WINDOW)
    begin = 3 * WINDOW
    heard = listener.hear(pose, begin, np.full(2, np.inf))
    reference = reference_room(scene, ears, pose)
    for ear in range(2):
        expected = np.zeros(WINDOW)
        for index, source in enumerate(scene.sources):
            response = reference.rir[ear][index]
            times = np.arange(begin - len(response) + 1, begin + WINDOW)
            played = source.sound.signal[(source.start + times) % len(source.sound.signal)]
            expected += fftconvolve(played, response)[len(response) - 1 : len(response) - 1 + WINDOW]
        assert relative_error(heard[ear], expected) < 1e-4


def test_high_pass_can_be_switched_off_in_pyroomacoustics(monkeypatch: pytest.MonkeyPatch) -> None:
    original = pra.constants.get
    monkeypatch.setattr(pra.constants, "get", lambda name: False if name == "rir_hpf_enable" else original(name))
    scene, ears, pose = make_scene(ROOMS["shoebox-3d"]), CardioidEars(), POSES[0]
    actual = Listener(scene, ears, RATE, WINDOW).impulse_responses(pose)[0, 0]
    expected = reference_room(scene, ears, pose).rir[0][0]
    assert relative_error(actual[: len(expected)], expected) < 1e-6


@pytest.mark.parametrize("length", [500, 1216, 3000])
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_the_high_pass_equals_sosfiltfilt(order: int, length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"rir_hpf_enable": True, "rir_hpf_fc": 10.0, "rir_hpf_kwargs": {"n": order, "type": "butter"}}
    monkeypatch.setattr(pra.constants, "get", settings.__getitem__)
    sections = butter(order, 10.0, "highpass", fs=RATE, output="sos")
    rows = np.random.default_rng(order).standard_normal((2, 3, length))
    rows[..., :50] = 0  # responses begin in silence
    expected = sosfiltfilt(sections, rows)
    filter_ = high_pass(RATE, length)
    # What a filter of first order removes is not smooth enough, and long responses would make large matrices.
    low_rank = order > 1 and length < 3000
    assert isinstance(filter_, LowRankFilter) == low_rank
    assert relative_error(filter_(rows), expected) < (1e-5 if low_rank else 1e-12)


@pytest.mark.parametrize("mix", [False, True], ids=["apart", "mixed"])
@pytest.mark.parametrize(("num_samples", "length"), [(1, 64), (100, 64), (1000, 640), (4000, 768), (4001, 64)])
def test_overlap_save_equals_a_direct_convolution(num_samples: int, length: int, mix: bool) -> None:
    rng = np.random.default_rng(0)
    signals = rng.standard_normal((3, num_samples + length - 1)).astype(np.float32)
    responses = rng.standard_normal((3, 2, length)).astype(np.float32)
    expected = np.array(
        [
            [np.convolve(signal.astype(np.float64), row.astype(np.float64), "valid") for row in rows]
            for signal, rows in zip(signals, responses, strict=True)
        ]
    )
    if mix:
        expected = expected.sum(axis=0)
    actual = overlap_save(signals, responses, mix)
    assert actual.shape == expected.shape
    assert actual.dtype == np.float32
    assert relative_error(actual, expected) < 1e-6


def test_a_sound_plays_round_and_round_until_it_is_switched_off() -> None:
    sound = noise(0, length=701)
    player = Player(Source((0.0, 0.0), sound, start=650, level_db=-6.0), longest=3000, sample_rate=RATE)
    for first, last, off in [(-1500, 900, math.inf), (0, 1, math.inf), (100, 3000, 1234.0), (500, 600, 500.0)]:
        expected = [
            sound.signal[(650 + time) % 701] * 10 ** (-6 / 20) if time < off else 0.0 for time in range(first, last)
        ]
        np.testing.assert_allclose(player.play(first, last, off), expected, rtol=1e-6)


def test_sources_alone_add_up_to_the_mixture() -> None:
    listener = Listener(make_scene(ROOMS["shoebox-3d"]), CardioidEars(), RATE, WINDOW)
    off = np.array([math.inf, 1.5 * WINDOW])
    alone = listener.hear_sources(POSES[0], WINDOW, off)
    assert alone.shape == (2, 2, WINDOW)
    assert relative_error(alone.sum(axis=0), listener.hear(POSES[0], WINDOW, off)) < 1e-6


def test_a_source_switched_off_is_heard_until_its_last_reflection() -> None:
    scene = make_scene(ROOMS["reverberant"], places=((2.0, 3.0),))
    listener = Listener(scene, OmniEars(), RATE, WINDOW)
    length = max(len(row[0]) for row in reference_room(scene, OmniEars(), POSES[0]).rir)
    heard = listener.hear(POSES[0], 10 * WINDOW, np.array([10 * WINDOW]))
    peak = np.abs(heard).max()
    assert peak > 0
    assert np.abs(heard[:, length:]).max() < 1e-6 * peak  # the rounding of a transform in single precision
    bound = longest_response(scene, None, 343.0, RATE)
    assert length <= longest_response(scene, listener._still_images, 343.0, RATE) <= bound
    assert not listener.hear(POSES[0], 10 * WINDOW + bound, np.array([10 * WINDOW])).any()


def test_windows_join_without_a_gap() -> None:
    """Two windows heard one after the other at one place are one long window."""
    scene = make_scene(ROOMS["shoebox-3d"])
    on = np.full(2, np.inf)
    short, long = (Listener(scene, CardioidEars(), RATE, n) for n in (WINDOW, 2 * WINDOW))
    halves = [short.hear(POSES[0], time, on) for time in (0, WINDOW)]
    assert relative_error(np.concatenate(halves, axis=1), long.hear(POSES[0], 0, on)) < 1e-6


def test_noise_has_its_level_and_its_seed() -> None:
    scene = make_scene(ROOMS["shoebox-3d"])
    silent = np.full(2, -1e9)
    heard = [Listener(scene, OmniEars(), RATE, 40_000, noise_dbfs=-40.0).hear(POSES[0], 0, silent) for _ in range(2)]
    np.testing.assert_array_equal(heard[0], heard[1])
    # 80,000 independent samples: the standard error of their RMS is 0.25 %.
    assert np.sqrt(np.mean(heard[0] ** 2)) == pytest.approx(0.01, rel=0.01)
    assert abs(np.corrcoef(heard[0])[0, 1]) < 0.02
    other = Listener(
        Scene(scene.room, scene.sources, scene.pose, scene.ear_height, noise_seed=1), OmniEars(), RATE, 40_000, -40.0
    )
    assert (other.hear(POSES[0], 0, silent) != heard[0]).any()


def test_the_ears_clip_at_full_scale() -> None:
    room = ROOMS["anechoic"]
    loud = Scene(room, (Source((3.3, 4.2, 1.5), noise(0), level_db=60.0),), Pose(3.0, 2.0, 0.0))
    heard = Listener(loud, OmniEars(), RATE, WINDOW).hear(POSES[0], 0, np.array([np.inf]))
    assert heard.max() == 1.0
    assert heard.min() == -1.0


def test_free_field_delay_and_level() -> None:
    """A far source on the left: the left ear hears it first, by the travel time between the ears, and 1 / r as loud."""
    scene = make_scene(ShoeBox((40.0, 40.0, 3.0), absorption=1.0, max_order=0), places=((20.0, 35.0),))
    responses = Listener(scene, OmniEars(0.0343), 48_000, WINDOW).impulse_responses(Pose(20.0, 20.0, 0.0))[0]
    spectra = np.fft.rfft(responses, 8192)
    frequencies = np.fft.rfftfreq(8192, 1 / 48_000)
    band = (frequencies > 3000) & (frequencies < 4500)
    lag = np.angle(spectra[0] * spectra[1].conj())[band] / (2 * np.pi * frequencies[band])
    distances = [math.hypot(15 + side * 0.01715, 0.2) for side in (-1, 1)]
    np.testing.assert_allclose(lag, (distances[1] - distances[0]) / 343.0, rtol=1e-3)
    # The table of pyroomacoustics' delay filters has 20 steps a sample and is read linearly: off by (pi / 20)^2 / 8.
    np.testing.assert_allclose(np.abs(spectra[:, band]).mean(axis=1), 1 / np.array(distances), rtol=3e-3)
