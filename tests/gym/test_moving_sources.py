"""Sources that move and sources that sound now and then, against closed forms and slow sums from the definition."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pyroomacoustics as pra
import pytest
from scipy.signal import fftconvolve, get_window

from auralnav_gym.acoustics import Listener
from auralnav_gym.ears import CardioidEars, Ears, OmniEars
from auralnav_gym.motion import Ringing, SourceActivity, SourceMotion, Waypoints
from auralnav_gym.movement import Pose
from auralnav_gym.playback import Player, Trajectory, knot_window
from auralnav_gym.rooms import Polygon, Room, ShoeBox
from auralnav_gym.scene import Scene, Source
from auralnav_gym.sounds import Sound

RATE = 8000
WINDOW = 2000
SPEED_OF_SOUND = 343.0
FREE_FIELD = ShoeBox((60.0, 60.0, 3.0), absorption=1.0, max_order=0)
L_SHAPE = ((0.0, 0.0), (8.0, 0.0), (8.0, 4.0), (5.0, 4.0), (5.0, 8.0), (0.0, 8.0))
ROOMS = {
    "shoebox-3d": ShoeBox((8.0, 7.0, 3.0), absorption=0.3),
    "shoebox-2d": ShoeBox((8.0, 7.0), absorption=0.3),
    "materials": ShoeBox((8.0, 7.0, 3.0), materials="carpet_hairy", air_absorption=True),
    "polygon-2d": Polygon(((0.0, 0.0), (8.0, 0.0), (9.0, 4.0), (6.0, 8.0), (0.0, 7.0)), absorption=0.3),
    "l-shape-3d": Polygon(L_SHAPE, height=3.0, absorption=0.3, max_order=2),
}
# The sound is late by half of pyroomacoustics' delay filters.
LATE = 40


@dataclass(frozen=True)
class FilteredEars(Ears):
    """Ears of which each has one filter for all directions, and hears a source ahead of the head early."""

    @property
    def positions(self) -> np.ndarray:
        return OmniEars().positions

    @property
    def reference_points(self) -> np.ndarray:
        return np.zeros((2, 3))

    def gains(self, directions: np.ndarray) -> np.ndarray:
        return np.ones(directions.shape[1:])

    def filters(self, directions: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
        filters = np.random.default_rng(3).standard_normal((2, 1, 20)).astype(np.float32)
        return np.broadcast_to(filters, (*directions.shape[1:], 20)), -2e-4 * directions[0]


def noise(index: int, length: int = 3001) -> Sound:
    signal = 0.05 * np.random.default_rng(index).standard_normal(length)
    return Sound(f"noise-{index}", "noise", signal.astype(np.float32))


def tone(frequency: int) -> Sound:
    """One second of a whole number of periods, so that it goes round without a seam."""
    signal = 0.1 * np.sin(2 * np.pi * frequency * np.arange(RATE) / RATE)
    return Sound(f"{frequency} Hz", "tone", signal.astype(np.float32))


def moving(place: tuple[float, float], end: tuple[float, float], speed: float, sound: Sound, room: Room) -> Source:
    height = () if room.dim == 2 else (1.3,)
    return Source((*place, *height), sound, start=7, motion=Waypoints((place, end), speed))


def make_scene(room: Room, *sources: Source, pose: Pose = Pose(2.0, 5.0, 0.4)) -> Scene:  # noqa: B008 (frozen)
    return Scene(room, sources, pose, None if room.dim == 2 else 1.5)


def listen(scene: Scene, seconds: float, ears: Ears = OmniEars(), num_samples: int = WINDOW) -> np.ndarray:  # noqa: B008
    """What the ears hear from the start, window by window, where the agent stands; (2, n) float64."""
    listener = Listener(scene, ears, RATE, num_samples)
    on = [math.inf] * len(scene.sources)
    count = round(seconds * RATE / num_samples)
    heard = [listener.hear(scene.pose, index * num_samples, on) for index in range(count)]
    return np.concatenate(heard, axis=1).astype(np.float64)


def without_high_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes of a short response more than what is below 10 Hz, and spreads it over all of the response."""
    original = pra.constants.get
    monkeypatch.setattr(pra.constants, "get", lambda name: False if name == "rir_hpf_enable" else original(name))


def decibels(actual: np.ndarray, expected: np.ndarray) -> float:
    """Level of the error above what is expected."""
    return float(20 * np.log10(max(np.linalg.norm(actual - expected), 1e-30) / np.linalg.norm(expected)))


# ---- Free field ------------------------------------------------------------------------------------------------------

EAR = np.array([30.0, 30.0 + 0.085])  # the left one, at heading 0
POSE = Pose(30.0, 30.0, 0.0)


def exact(frequency: float, start: np.ndarray, velocity: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """A tone from a source that has always moved in a straight line, in closed form.

    What arrives at t left at s = t - r(s) / c, from where the source was then; it comes 1 / (1 + r'(s) / c) times as
    fast.
    """
    times = (samples - LATE) / RATE
    speed, along = velocity @ velocity, (start - EAR) @ velocity
    gap = (start - EAR) @ (start - EAR) + 0.2**2  # the ears are at 1.5 m, the source at 1.3 m
    # c^2 (t - s)^2 = gap + 2 along s + speed s^2
    a, b, d = SPEED_OF_SOUND**2 - speed, -(SPEED_OF_SOUND**2) * times - along, SPEED_OF_SOUND**2 * times**2 - gap
    sent = (-b - np.sqrt(b**2 - a * d)) / a
    distance = np.sqrt(gap + 2 * along * sent + speed * sent**2)
    approach = (along + speed * sent) / distance
    signal = 0.1 * np.sin(2 * np.pi * frequency * (sent + 7 / RATE))
    return signal / distance / (1 + approach / SPEED_OF_SOUND)


@pytest.mark.parametrize("speed", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("frequency", [250, 1000, 2000, 3500])
@pytest.mark.parametrize("end", [(55.0, 34.0), (20.0, 30.0)], ids=["going-away", "passing-by"])
def test_a_tone_comes_from_where_the_source_was(
    frequency: int, speed: float, end: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    without_high_pass(monkeypatch)
    start = np.array([31.0, 30.6])
    source = moving(tuple(start.tolist()), end, speed, tone(frequency), FREE_FIELD)
    heard = listen(make_scene(FREE_FIELD, source, pose=POSE), 3.0)[0]
    velocity = speed * (np.array(end) - start) / np.linalg.norm(np.array(end) - start)
    expected = exact(frequency, start, velocity, np.arange(len(heard)))
    # It is not in motion before the start, and where it turns the windows of the knots reach around the corner.
    first = max(RATE // 2, int(5 * 0.5 * SPEED_OF_SOUND / speed))
    assert decibels(heard[first:], expected[first:]) < -50


def test_the_frequency_is_that_of_doppler_and_nothing_else_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Straight away at v: f / (1 + v / c), for seconds, with no sidebands of the knots and no clicks of the windows."""
    without_high_pass(monkeypatch)
    speed, frequency = 2.0, 1000
    source = moving((31.0, 30.085), (58.0, 30.085), speed, tone(frequency), FREE_FIELD)
    heard = listen(make_scene(FREE_FIELD, source, pose=POSE), 9.0)[0]
    first = RATE
    samples = np.arange(first, len(heard))
    # Undo the level: it was at 1 m + v s when it sent out what arrives.
    sent = (samples - LATE) / RATE
    heard = heard[first:] * np.hypot(1.0 + speed * sent / (1 + speed / SPEED_OF_SOUND), 0.2)
    spectrum = np.abs(np.fft.rfft(heard * get_window(("kaiser", 14.0), len(heard)), 8 * len(heard)))
    frequencies = np.fft.rfftfreq(8 * len(heard), 1 / RATE)
    shifted = frequency / (1 + speed / SPEED_OF_SOUND)
    assert frequencies[spectrum.argmax()] == pytest.approx(shifted, abs=0.02)
    assert frequency - shifted > 5
    splatter = spectrum[np.abs(frequencies - shifted) > 3.0].max() / spectrum.max()
    assert 20 * np.log10(splatter) < -65


def test_the_level_falls_with_the_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    without_high_pass(monkeypatch)
    source = moving((31.0, 30.085), (58.0, 30.085), 2.0, tone(1000), FREE_FIELD)
    heard = listen(make_scene(FREE_FIELD, source, pose=POSE), 8.0)[0]
    for second in (2.0, 4.0, 7.0):
        samples = int(second * RATE) + np.arange(-200, 200)
        phase = 2j * np.pi * 1000 / (1 + 2.0 / SPEED_OF_SOUND) * samples / RATE
        waves = np.stack([np.exp(phase).real, np.exp(phase).imag], axis=1)
        level = np.linalg.norm(np.linalg.lstsq(waves, heard[samples + LATE])[0])
        sent = (second - 1.0 / SPEED_OF_SOUND) / (1 + 2.0 / SPEED_OF_SOUND)
        expected = 0.1 / math.hypot(1.0 + 2.0 * sent, 0.2) / (1 + 2.0 / SPEED_OF_SOUND)
        assert level == pytest.approx(expected, rel=2e-3)


# ---- Rooms -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("room", ["shoebox-3d", "polygon-2d"])
def test_what_is_heard_is_the_sum_over_a_thousand_places_a_metre(room: str) -> None:
    """The definition: h_k * (w_k x), summed; still sources a millimetre apart, faded from one to the next.

    The sound is below 1.5 kHz, where a millimetre is little enough for triangular windows.
    """
    world, speed, begin = ROOMS[room], 0.5, 6 * WINDOW
    spectrum = np.fft.rfft(noise(0, RATE).signal)
    spectrum[1500:] = 0  # Hz
    sound = Sound("low", "noise", np.fft.irfft(spectrum).astype(np.float32))
    start, end, pose = (3.0, 2.0), (5.0, 3.1), Pose(2.0, 4.0, 0.4)
    source = moving(start, end, speed, sound, world)
    listener = Listener(make_scene(world, source, pose=pose), CardioidEars(), RATE, WINDOW)
    heard = listener.hear(pose, begin, [math.inf])

    hop = 16  # samples, in which it moves 1 mm
    reach = listener._longest_response
    knots = np.arange((begin - reach) // hop - 1, (begin + WINDOW) // hop + 2)
    places = Waypoints((start, end), speed).positions(knots * hop / RATE)
    height = source.position[2:]
    expected = np.zeros((2, WINDOW + reach))
    samples = np.arange(begin - reach, begin + WINDOW)
    played = sound.signal[(7 + samples) % RATE].astype(np.float64)
    stills = [Source((*place, *height), sound) for place in places.tolist()]
    for first in range(0, len(knots), 32):
        some = make_scene(world, *stills[first : first + 32], pose=pose)
        responses = Listener(some, CardioidEars(), RATE, WINDOW).impulse_responses(pose)
        for knot, response in zip(knots[first : first + 32], responses, strict=True):
            part = played * np.maximum(0, 1 - np.abs(samples - knot * hop) / hop)
            inside = slice(*np.flatnonzero(part)[[0, -1]] + [0, 1]) if part.any() else slice(0, 0)
            for ear in range(2):
                if part.any():
                    out = np.convolve(part[inside], response[ear])[: len(samples) - inside.start]
                    expected[ear, inside.start : inside.start + len(out)] += out
    assert decibels(heard, expected[:, reach:]) < -50


@pytest.mark.parametrize("room", ROOMS.values(), ids=ROOMS)
def test_a_source_that_hardly_moves_is_a_still_one(room: Room) -> None:
    still = replace(moving((3.0, 2.0), (3.5, 2.0), 1e-9, noise(0), room), motion=None)
    slow = moving((3.0, 2.0), (3.5, 2.0), 1e-9, noise(0), room)
    still_heard, slow_heard = (listen(make_scene(room, source), 0.5, CardioidEars()) for source in (still, slow))
    assert decibels(slow_heard, still_heard) < -100


@pytest.mark.parametrize("ears", [CardioidEars(), FilteredEars()], ids=["cardioid", "filtered"])
@pytest.mark.parametrize("room", ROOMS.values(), ids=ROOMS)
def test_windows_join_without_a_gap(room: Room, ears: Ears) -> None:
    """Windows heard one after the other at one place are one long window."""
    scene = make_scene(
        room,
        moving((3.0, 2.0), (5.0, 3.0), 0.7, noise(0), room),
        replace(moving((4.0, 1.0), (1.0, 1.0), 1.3, noise(1), room), activity=Ringing(0.2, 0.1)),
    )
    short, long = listen(scene, 1.0, ears), listen(scene, 1.0, ears, num_samples=4 * WINDOW)
    assert decibels(short, long) < -100


@pytest.mark.parametrize("time", [0, 3 * RATE])
def test_impulse_responses_are_from_where_a_source_is(time: int) -> None:
    room = ROOMS["shoebox-3d"]
    source = moving((3.0, 2.0), (6.0, 2.0), 0.5, noise(0), room)
    scene = make_scene(room, source, Source((5.0, 5.0, 1.0), noise(1)))
    place = (3.0 + 0.5 * time / RATE, 2.0, 1.3)
    still = make_scene(room, replace(source, position=place, motion=None), scene.sources[1])
    actual, expected = (Listener(each, CardioidEars(), RATE, WINDOW) for each in (scene, still))
    responses = actual.impulse_responses(scene.pose, time=time)
    assert decibels(responses, expected.impulse_responses(scene.pose)) < -100
    np.testing.assert_array_equal(actual.impulse_responses(scene.pose, [1], time)[0, :, :256], responses[1, :, :256])


def test_sources_alone_add_up_to_the_mixture_in_their_own_order() -> None:
    room = ROOMS["shoebox-3d"]
    sources = [
        moving((3.0, 2.0), (6.0, 2.0), 0.5, noise(0), room),
        Source((5.0, 5.0, 1.0), noise(1)),
        moving((1.0, 1.0), (1.0, 6.0), 1.0, noise(2), room),
        Source((6.0, 6.0, 1.0), noise(3)),
    ]
    scene, time = make_scene(room, *sources), 5 * WINDOW
    off = [math.inf, 4.9 * WINDOW, math.inf, -math.inf]
    alone = Listener(scene, CardioidEars(), RATE, WINDOW).hear_sources(scene.pose, time, off)
    assert alone.shape == (4, 2, WINDOW)
    assert not alone[3].any()
    mixture = Listener(scene, CardioidEars(), RATE, WINDOW).hear(scene.pose, time, off)
    assert decibels(alone.sum(axis=0), mixture) < -110
    for index, source in enumerate(sources):
        only = Listener(make_scene(room, source), CardioidEars(), RATE, WINDOW)
        expected = only.hear(scene.pose, time, off[index : index + 1])
        if expected.any():
            assert decibels(alone[index], expected) < -110


def test_a_moving_source_switched_off_is_heard_until_its_last_reflection(monkeypatch: pytest.MonkeyPatch) -> None:
    without_high_pass(monkeypatch)
    room = ROOMS["shoebox-3d"]
    scene = make_scene(room, moving((3.0, 2.0), (6.0, 2.0), 1.0, noise(0), room))
    listener = Listener(scene, OmniEars(), RATE, WINDOW)
    on = listener.hear(scene.pose, 10 * WINDOW, [math.inf])
    off_at = 10 * WINDOW + 500
    off = listener.hear(scene.pose, 10 * WINDOW, [off_at])
    soonest = 500 + int(1.5 / SPEED_OF_SOUND * RATE)  # it is farther than 1.5 m
    assert decibels(off[:, :soonest], on[:, :soonest]) < -100
    longest = listener._longest_response
    assert np.abs(off[:, 500 + longest :]).max() < 1e-6 * np.abs(on).max()
    assert np.abs(off[:, 500 + longest // 3 : 500 + longest // 2]).max() > 1e-3 * np.abs(on).max()
    assert not listener.hear(scene.pose, off_at + longest, [off_at]).any()


def test_responses_are_no_longer_than_the_bound_wherever_the_source_goes() -> None:
    @dataclass(frozen=True)
    class Round(SourceMotion):
        """Into every corner."""

        speed: float = 8.0

        def positions(self, times: np.ndarray) -> np.ndarray:
            corners = np.array([[0.01, 0.01], [7.99, 0.01], [7.99, 6.99], [0.01, 6.99]])
            return corners[np.maximum(times, 0).astype(int) % 4]

    for room in (ROOMS["shoebox-3d"], ROOMS["shoebox-2d"], ROOMS["materials"]):
        height = () if room.dim == 2 else (0.01,)
        source = Source((0.01, 0.01, *height), noise(0), motion=Round())
        ear_height = None if room.dim == 2 else 2.99
        scene = Scene(room, (source,), Pose(4.0, 3.0, 0.0), ear_height)
        listener = Listener(scene, OmniEars(0.01), RATE, WINDOW)
        lengths = [
            listener.impulse_responses(Pose(x, y, 0.0), time=second * RATE).shape[-1]
            for x in (0.02, 7.98)
            for y in (0.02, 6.98)
            for second in range(4)
        ]
        # Up to the next multiple of 64: not much longer either.
        assert max(lengths) <= listener._longest_response <= max(lengths) + 64


def test_a_source_may_pass_through_the_head() -> None:
    room = ROOMS["shoebox-3d"]
    source = replace(moving((1.0, 5.0), (4.0, 5.0), 1.0, noise(0), room), position=(1.0, 5.0, 1.5))
    heard = listen(make_scene(room, source), 2.0)
    assert np.isfinite(heard).all()
    assert np.abs(heard).max() <= 1.0


# ---- Knots -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hop", [1, 2, 7, 320])
def test_the_windows_of_the_knots_add_up_to_one(hop: int) -> None:
    window = knot_window(hop)
    total = np.zeros(24 * hop)
    for knot in range(17):
        total[knot * hop : knot * hop + len(window)] += window
    np.testing.assert_allclose(total[8 * hop : 16 * hop], 1.0, atol=1e-6)


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100])
@pytest.mark.parametrize("speed", [1e-9, 0.03, 0.5, 1.7, 30.0])
def test_the_parts_of_the_knots_add_up_to_what_is_played(speed: float, rate: int) -> None:
    trajectory = Trajectory(Waypoints(((0.0, 0.0), (1e6, 0.0)), speed), (1.2,), rate, SPEED_OF_SOUND)
    samples = np.random.default_rng(0).standard_normal(3000).astype(np.float32)
    first = 12_345
    knots = trajectory.knots(first, first + 3000)
    parts = trajectory.split(knots, samples, first)
    np.testing.assert_allclose(parts.sum(axis=0), samples, atol=1e-5)
    assert parts.any(axis=1).all()
    positions = trajectory.positions(knots)
    np.testing.assert_array_equal(positions[:, 1:], [[0.0, 1.2]] * len(knots))
    # From knot to knot the sound is later by half a sample at most, and the steps are about that if they can be.
    steps = np.diff(positions[:, 0]) / SPEED_OF_SOUND * rate
    assert steps.max() < 0.5 + 1e-6
    if 0.5 <= speed < 30:
        assert steps.min() > 0.45


# ---- Sounding now and then -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ramp(SourceActivity):
    """Comes up over the ten seconds around the start."""

    def gate(self, times: np.ndarray) -> np.ndarray:
        return np.clip(0.5 + times / 10, 0.0, 1.0)


@pytest.mark.parametrize("activity", [Ramp(), Ringing(0.3, 0.2, 0.1)], ids=["ramp", "ringing"])
def test_a_sound_is_multiplied_by_its_gate(activity: SourceActivity) -> None:
    sound = noise(0, length=701)
    player = Player(Source((0.0, 0.0), sound, start=650, level_db=6.0, activity=activity), 3000, RATE)
    for first, last, off in [(-1500, 900, math.inf), (0, 1, math.inf), (100, 3000, 1234.0), (500, 600, 500.0)]:
        times = np.arange(first, last)
        expected = sound.signal[(650 + times) % 701] * 10 ** (6 / 20) * activity.gate(times / RATE) * (times < off)
        np.testing.assert_allclose(player.play(first, last, off), expected, rtol=1e-5, atol=1e-9)


def test_what_is_heard_of_a_gated_sound_is_its_convolution() -> None:
    """The gate opens and closes at the source: its reflections come after it has closed."""
    room, activity = ROOMS["shoebox-3d"], Ringing(0.05, 0.15, 0.0, ramp_seconds=0.005)
    source = Source((5.0, 5.0, 1.3), noise(0), start=100, activity=activity)
    scene, begin = make_scene(room, source), 2 * WINDOW
    heard = Listener(scene, OmniEars(), RATE, WINDOW).hear(scene.pose, begin, [math.inf])
    reference = pra.ShoeBox(room.size, fs=RATE, materials=pra.Material(0.3), max_order=3)
    reference.add_source(list(source.position))
    across = scene.pose.heading + math.pi / 2
    offset = 0.085 * np.array([math.cos(across), math.sin(across), 0.0])
    centre = np.array([scene.pose.x, scene.pose.y, 1.5])
    reference.add_microphone_array(np.stack([centre + offset, centre - offset], axis=1))
    reference.compute_rir()
    for ear in range(2):
        response = reference.rir[ear][0]
        times = np.arange(begin - len(response) + 1, begin + WINDOW)
        played = source.sound.signal[(100 + times) % 3001] * activity.gate(times / RATE)
        assert decibels(heard[ear], fftconvolve(played, response, "valid")) < -80


def test_a_gate_that_is_always_open_changes_nothing() -> None:
    @dataclass(frozen=True)
    class Open(SourceActivity):
        def gate(self, times: np.ndarray) -> np.ndarray:
            return np.ones_like(times)

    room = ROOMS["shoebox-3d"]
    source = Source((5.0, 5.0, 1.3), noise(0))
    heard = [listen(make_scene(room, each), 0.5) for each in (source, replace(source, activity=Open()))]
    np.testing.assert_array_equal(heard[0], heard[1])


def test_a_moving_source_is_silent_while_its_gate_is_closed() -> None:
    room = ROOMS["shoebox-3d"]
    source = replace(
        moving((3.0, 2.0), (6.0, 2.0), 0.5, noise(0), room), activity=Ringing(0.5, 1.5, 0.0, ramp_seconds=0.01)
    )
    heard = listen(make_scene(room, source), 2.0)
    longest = Listener(make_scene(room, source), OmniEars(), RATE, WINDOW)._longest_response
    assert np.abs(heard[:, : RATE // 2]).max() > 1e-3
    assert np.abs(heard[:, RATE // 2 + longest :]).max() < 1e-6
