"""What is heard, against what the theory of room acoustics says.

References:
    H. Kuttruff, Room Acoustics, 5th edition, Spon Press 2009.
    E. A. Lehmann and A. M. Johansson, Prediction of energy decay in room impulse responses simulated with an
    image-source model, J. Acoust. Soc. Am. 124(1), 2008.
    J. B. Allen and D. A. Berkley, Image method for efficiently simulating small-room acoustics, J. Acoust. Soc. Am.
    65(4), 1979.
    M. R. Schroeder, New method of measuring reverberation time, J. Acoust. Soc. Am. 37, 1965.
    J. Blauert, Spatial Hearing, MIT Press 1997. Lord Rayleigh, The Theory of Sound, volume II, 1896.
    ISO 3382-1:2009 (reverberation time), ISO 9613-1:1993 (air).
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pyroomacoustics as pra
import pytest
import shapely
from pyroomacoustics.directivities import CardioidFamily, DirectionVector
from scipy.signal import butter, sosfiltfilt

from auralnav_gym.acoustics import Listener
from auralnav_gym.ears import CardioidEars, Ears, MicrophoneArray, OmniEars
from auralnav_gym.motion import Waypoints
from auralnav_gym.movement import Pose
from auralnav_gym.named_ears import as_ears
from auralnav_gym.rooms import Polygon, Room, ShoeBox
from auralnav_gym.scene import Scene, Source
from auralnav_gym.sounds import Sound

RATE = 8000
SPEED_OF_SOUND = 343.0
LATE = 40  # samples by which pyroomacoustics' filters of 81 taps delay everything

# Nearly a cube and a square, with sides of no simple ratio: in these the decay is nearest to that of a diffuse field.
CUBE, SQUARE = (5.0, 4.6, 4.3), (6.0, 5.3)
FIELD = ShoeBox((80.0, 80.0, 3.0), absorption=1.0, max_order=0)
FIVE_CORNERS = ((0.0, 0.0), (8.0, 0.0), (9.0, 4.0), (6.0, 8.0), (0.0, 7.0))
L_SHAPE = ((0.0, 0.0), (9.0, 0.0), (9.0, 3.0), (6.0, 3.0), (6.0, 8.0), (0.0, 8.0))
ROOMS = {
    "shoebox-3d": ShoeBox((7.0, 6.0, 3.0), absorption=0.3),
    "shoebox-2d": ShoeBox((7.0, 6.0), absorption=0.3),
    "polygon-3d": Polygon(FIVE_CORNERS, height=3.0, absorption=0.3),
    "polygon-2d": Polygon(FIVE_CORNERS, absorption=0.3),
    "l-shape-3d": Polygon(L_SHAPE, height=3.0, absorption=0.3),
    "l-shape-2d": Polygon(L_SHAPE, absorption=0.3),
}
EARS: dict[str, Ears] = {
    "omni": OmniEars(),
    "ortf": CardioidEars(),
    "hypercardioid": CardioidEars(0.3, 1.2, 0.25),
    "figure-of-eight": CardioidEars(0.17, math.pi / 2, 0.0),
    "four-cardioids": MicrophoneArray(
        [[0.05, 0.05, 0.0], [0.05, -0.05, 0.0], [-0.05, 0.05, 0.0], [-0.05, -0.05, 0.0]],
        [CardioidFamily(DirectionVector(azimuth, 90), 0.5) for azimuth in (45, -45, 135, -135)],
    ),
    "human": as_ears("human"),
}


@pytest.fixture
def no_high_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pyroomacoustics' high-pass, responses are sums of arrivals and of nothing else."""
    original = pra.constants.get
    monkeypatch.setattr(pra.constants, "get", lambda name: False if name == "rir_hpf_enable" else original(name))


def noise(length: int = 8001) -> Sound:
    signal = 0.05 * np.random.default_rng(0).standard_normal(length)
    return Sound("noise", "noise", signal.astype(np.float32))


def listener(
    room: Room,
    source: tuple[float, ...],
    ears: Ears,
    ear_height: float = 1.5,
    sample_rate: int = RATE,
    num_samples: int = 4000,
) -> Listener:
    """Hears one source in a room."""
    scene = Scene(room, (Source(source, noise()),), Pose(0.0, 0.0, 0.0), None if room.dim == 2 else ear_height)
    return Listener(scene, ears, sample_rate, num_samples)


def left_ear_at(x: float, y: float, ears: Ears, heading: float = 0.0) -> Pose:
    """The pose that puts the left ear at a place."""
    ahead, left = ears.positions[0, :2]
    cos, sin = math.cos(heading), math.sin(heading)
    return Pose(x - (cos * ahead - sin * left), y - (sin * ahead + cos * left), heading)


def band_pass(responses: np.ndarray, low: float, high: float, sample_rate: int = RATE) -> np.ndarray:
    """Responses (..., L) without what is outside a band; no ringing that could outlast a room's decay."""
    sections = butter(3, (low, high), "bandpass", fs=sample_rate, output="sos")
    return sosfiltfilt(sections, responses.astype(np.float64))


def band_energies(responses: np.ndarray, sample_rate: int = RATE) -> np.ndarray:
    """Squares of responses (..., L), so scaled that an impulse of amplitude a has energy a^2.

    Of three quarters of the spectrum: below, the impulses of an image-source model are all positive and add up as
    amplitudes (Allen and Berkley, section III), above there is no room for filters.
    """
    length = responses.shape[-1]
    spectra = np.fft.rfft(responses.astype(np.float64), 2 * length)
    shares = np.fft.rfftfreq(2 * length)
    spectra[..., (shares < 1 / 16) | (shares > 7 / 16)] = 0
    return np.square(np.fft.irfft(spectra)[..., :length]) / 0.75


def complete_order(size: tuple[float, ...], seconds: float) -> int:
    """The order of reflections that leaves out nothing that arrives within so many seconds.

    The n-th image along a side L is at least (n - 1) L away along it. So those whose n add up to N + dim or more are at
    least N / sqrt(sum of 1 / L^2) away, by the inequality of Cauchy and Schwarz.
    """
    return math.ceil(SPEED_OF_SOUND * seconds * math.sqrt(sum(side**-2 for side in size))) + len(size)


def specular_decay(times: np.ndarray, size: tuple[float, ...], absorption: float | list[float]) -> np.ndarray:
    """Energy of image sources over that of lossless ones, at times (T,) in seconds; (T,).

    A path in the direction n meets walls |n_x| / L_x + |n_y| / L_y + ... times a metre, and loses the share a at each;
    the mean is over all directions (Kuttruff, section 4.1; Lehmann and Johansson, section II). Where all directions met
    as many walls, it would be Eyring's. The absorption may differ from axis to axis; where it differs between the two
    walls of one, its -ln(1 - a) is the mean of theirs, since every path meets them by turns.
    """
    share = (np.arange(64) + 0.5) / 64
    angles = np.pi / 2 * share
    if len(size) == 2:
        directions = np.stack([np.cos(angles), np.sin(angles)])
    else:
        heights, angles = (grid.ravel() for grid in np.meshgrid(share, angles))
        radii = np.sqrt(1 - heights**2)
        directions = np.stack([radii * np.cos(angles), radii * np.sin(angles), heights])
    kept = np.log(1 - np.broadcast_to(absorption, len(size)))
    return np.exp(SPEED_OF_SOUND * np.multiply.outer(times, kept / np.array(size) @ directions)).mean(axis=-1)


def decay_time(energies: np.ndarray, sample_rate: int = RATE, range_db: float = 20.0) -> float:
    """Reverberation time from energies (L,): Schroeder's backward integration, a line through -5 to -5 - range dB.

    Schroeder 1965; T20 of ISO 3382-1 at a range of 20 dB.
    """
    remaining = np.cumsum(energies[::-1])[::-1]
    levels = 10 * np.log10(remaining / remaining[0])
    used = np.flatnonzero((levels <= -5) & (levels >= -5 - range_db))
    return -60 / (sample_rate * float(np.polyfit(used, levels[used], 1)[0]))


def eyring_time(room: Room) -> float:
    """6 ln(10) l / (-c ln(1 - a)) with l = 4 V / S, or pi A / P in the plane (Kuttruff, sections 5.2 and 5.3)."""
    assert room.absorption is not None
    return 6 * math.log(10) * mean_free_path(room) / (-SPEED_OF_SOUND * math.log(1 - room.absorption))


def sabine_time(room: Room) -> float:
    """Eyring's with a for -ln(1 - a), which is 0.161 V / (S a) in three dimensions."""
    assert room.absorption is not None
    return 6 * math.log(10) * mean_free_path(room) / (SPEED_OF_SOUND * room.absorption)


def mean_free_path(room: Room) -> float:
    assert isinstance(room, ShoeBox)
    if room.dim == 2:
        width, depth = room.size
        return math.pi * width * depth / (2 * (width + depth))
    return 4 * math.prod(room.size) / surface(room.size)


def surface(size: tuple[float, ...]) -> float:
    return 2 * sum(a * b for a, b in itertools.combinations(size, 2))


def some_responses(room: ShoeBox, num_places: int, seconds: float, sample_rate: int = RATE) -> np.ndarray:
    """(2 * num_places, L), to omnidirectional ears from sources, both anywhere but next to a wall.

    Sample 0 is when the source sends, and what comes later than ``seconds``, which may not be complete, is cut off.
    """
    rng = np.random.default_rng(1)
    found = np.zeros((num_places, 2, round(seconds * sample_rate)))
    for responses in found:
        source, ear = rng.uniform(0.5, np.array(room.size) - 0.5, size=(2, room.dim))
        pose = Pose(ear[0], ear[1], rng.uniform(-math.pi, math.pi))
        heard = listener(room, tuple(source), OmniEars(), ear[-1], sample_rate).impulse_responses(pose)[0, :, LATE:]
        responses[:, : heard.shape[1]] = heard[:, : responses.shape[1]]
    return found.reshape(-1, found.shape[-1])


def mean_energies(room: ShoeBox, num_places: int, seconds: float) -> np.ndarray:
    """(L,), of 500 Hz to 3.5 kHz; in the plane times the distance, see below."""
    energies = np.square(band_pass(some_responses(room, num_places, seconds), 500, 3500)).mean(axis=0)
    return energies * np.arange(len(energies)) if room.dim == 2 else energies


# ---- Reverberation time ----


@pytest.mark.parametrize(
    ("size", "absorption", "places"),
    [
        *[(CUBE, 0.2, 3), (CUBE, 0.3, 6), (CUBE, 0.5, 10), (CUBE, 0.7, 10)],
        *[(SQUARE, 0.05, 2), (SQUARE, 0.1, 6), (SQUARE, 0.2, 10), (SQUARE, 0.3, 10), (SQUARE, 0.5, 10)],
    ],
)
def test_reverberation_time(size: tuple[float, ...], absorption: float, places: int) -> None:
    """T20 is Eyring's within 15 %, Sabine's too where walls absorb little, and closely what specular walls give.

    In the plane pyroomacoustics weakens sound by 1 / r as in space, where 1 / sqrt(r) would keep the energy of a wave;
    Eyring's formula is of what the walls take, so energies are multiplied by r there.

    The tail is complete down to -40 dB, and what is missing takes 0.14 dB from the -25 dB at which the line ends.
    """
    seconds = eyring_time(ShoeBox(size, absorption=absorption)) * 40 / 60
    room = ShoeBox(size, absorption=absorption, max_order=complete_order(size, seconds))
    energies = mean_energies(room, places, seconds)
    expected = specular_decay(np.arange(len(energies)) / RATE, size, absorption)
    actual = decay_time(energies)
    assert actual == pytest.approx(eyring_time(room), rel=0.15)
    assert actual == pytest.approx(decay_time(expected), rel=0.05)
    if absorption <= 0.2:
        assert actual == pytest.approx(sabine_time(room), rel=0.15)


@pytest.mark.parametrize("size", [CUBE, SQUARE])
def test_the_reverberation_time_asked_for_is_heard(size: tuple[float, ...]) -> None:
    """``rt60=`` gives it, if ``max_order`` does not cut the tail: at the default order 3 it is far shorter."""
    rt60 = 0.3
    seconds = rt60 * 40 / 60
    room = ShoeBox(size, rt60=rt60, max_order=complete_order(size, seconds))
    assert decay_time(mean_energies(room, 4, seconds)) == pytest.approx(rt60, rel=0.15)
    assert decay_time(mean_energies(room.with_walls(max_order=3), 4, seconds)) < rt60 / 2


def test_in_the_plane_sound_weakens_as_in_space() -> None:
    """A reflection from r metres away has 1 / r: per second 2 pi c^2 t / A images of energy 1 / (c t)^2 arrive.

    So the energy falls by 1 / t even between walls that take nothing, and a room in the plane sounds drier than one in
    space whose walls take as much.
    """
    seconds = 0.2
    room = ShoeBox(SQUARE, absorption=1e-3, max_order=complete_order(SQUARE, seconds))
    heard = band_energies(some_responses(room, 10, seconds)).mean(axis=0)
    times = (np.arange(len(heard)) + 0.5) / RATE
    expected = 2 * math.pi / (math.prod(SQUARE) * times * RATE) * specular_decay(times, SQUARE, 1e-3)
    later = slice(160, None)
    windows = (heard[later].reshape(-1, 160).sum(axis=1), expected[later].reshape(-1, 160).sum(axis=1))
    np.testing.assert_allclose(*windows, rtol=0.25)
    assert windows[0].sum() == pytest.approx(windows[1].sum(), rel=0.1)


# What absorbs differently at different frequencies, with its coefficients at 500 Hz, 1 kHz and 2 kHz.
CARPET = ("carpet_hairy", (0.37, 0.43, 0.27))
CURTAINS = ("curtains_velvet", (0.35, 0.45, 0.38))
COTTON = ("curtains_cotton_0.33", (0.15, 0.27, 0.37))


@pytest.mark.parametrize(
    ("walls", "floor", "ceiling"), [(CARPET, CARPET, CARPET), (CURTAINS, CARPET, COTTON)], ids=["one", "three"]
)
def test_reverberation_time_of_materials(
    walls: tuple[str, tuple[float, ...]],
    floor: tuple[str, tuple[float, ...]],
    ceiling: tuple[str, tuple[float, ...]],
) -> None:
    """At the middle of each octave it is that of the material there: by Eyring's formula with the mean over the walls.

    By Eyring's formula to 15 %, by that for specular walls to 8 %, which a quarter of an octave leaves to chance.
    """
    areas = np.array([2 * CUBE[2] * (CUBE[0] + CUBE[1]), CUBE[0] * CUBE[1], CUBE[0] * CUBE[1]])
    seconds = 0.27
    made_of = {"walls": walls[0], "floor": floor[0], "ceiling": ceiling[0]}
    room = ShoeBox(CUBE, materials=made_of, max_order=complete_order(CUBE, seconds))
    responses = some_responses(room, 8, seconds)
    for index, centre in enumerate((500, 1000, 2000)):
        shares = [surface[1][index] for surface in (walls, floor, ceiling)]
        energies = np.square(band_pass(responses, centre * 2**-0.125, centre * 2**0.125)).mean(axis=0)
        actual = decay_time(energies)
        mean = float(areas @ shares / areas.sum())
        assert actual == pytest.approx(eyring_time(ShoeBox(CUBE, absorption=mean)), rel=0.15)
        vertical = 1 - math.sqrt((1 - shares[1]) * (1 - shares[2]))
        expected = specular_decay(np.arange(len(energies)) / RATE, CUBE, [shares[0], shares[0], vertical])
        assert actual == pytest.approx(decay_time(expected), rel=0.08)


def air_attenuation(frequency: float, humidity: float = 60.0) -> float:
    """Of energy by air at 20 degrees Celsius and normal pressure, in 1/m, by ISO 9613-1, equations 3 to 5 and B.3."""
    kelvin = 293.15  # that to which the formulas refer, so that the ratio of the two is 1
    saturation = 10 ** (-6.8346 * (273.16 / kelvin) ** 1.261 + 4.6151)
    vapour = humidity * saturation
    oxygen = 24 + 4.04e4 * vapour * (0.02 + vapour) / (0.391 + vapour)
    nitrogen = 9 + 280 * vapour
    relaxing = 0.01275 * math.exp(-2239.1 / kelvin) / (oxygen + frequency**2 / oxygen)
    relaxing += 0.1068 * math.exp(-3352 / kelvin) / (nitrogen + frequency**2 / nitrogen)
    decibels = 8.686 * frequency**2 * (1.84e-11 + relaxing)
    return decibels * math.log(10) / 10


def test_air_shortens_the_decay() -> None:
    """After r metres exp(-m r) of the energy is left (Kuttruff, section 5.3): 1 / T60 grows by c m / (6 ln 10).

    pyroomacoustics' m (Vorlaender, Auralization, 2008) are those of ISO 9613-1 for 20 degrees and 60 % humidity within
    12 %. Heard at the same places with and without air, so that only the air differs.
    """
    sample_rate, seconds = 16_000, 0.24
    room = ShoeBox(CUBE, absorption=0.3, max_order=complete_order(CUBE, seconds))
    in_air = ShoeBox(CUBE, absorption=0.3, max_order=room.max_order, air_absorption=True)
    responses = [some_responses(each, 4, seconds, sample_rate) for each in (room, in_air)]
    for frequency in (1000, 2000, 4000):
        attenuation, band = air_attenuation(frequency), (frequency * 2**-0.125, frequency * 2**0.125)
        without, with_air = (np.square(band_pass(each, *band, sample_rate)).mean(axis=0) for each in responses)
        # Windows of 10 ms, from the first on in which there is sound everywhere.
        levels = [np.log(energies.reshape(-1, 160).sum(axis=1)[2:]) for energies in (without, with_air)]
        metres = SPEED_OF_SOUND * 0.01 * np.arange(len(levels[0]))
        assert np.polyfit(metres, levels[0] - levels[1], 1)[0] == pytest.approx(attenuation, rel=0.15)
        by_decay = 1 / decay_time(with_air, sample_rate) - 1 / decay_time(without, sample_rate)
        assert by_decay == pytest.approx(SPEED_OF_SOUND * attenuation / (6 * math.log(10)), rel=0.2)


# ---- Distance ----


@pytest.mark.parametrize("axis", [0.0, 55.0, 90.0])
@pytest.mark.parametrize("pattern", [1.0, 0.5, 0.25, 0.0], ids=["omni", "cardioid", "hypercardioid", "eight"])
def test_level_falls_by_6_db_as_distance_doubles(pattern: float, axis: float) -> None:
    """A point source has p ~ 1 / r (Kuttruff, section 1.2): 20 lg 2 = 6.02 dB; on its axis a microphone has gain 1.

    pyroomacoustics' table of delay filters has 20 steps a sample and is read linearly, which takes up to (w / 20)^2 / 8
    from the amplitude at w radians a sample: 0.03 dB at most, less where few of the energies are near Nyquist.
    """
    ears: Ears = OmniEars() if pattern == 1.0 else CardioidEars(0.17, math.radians(axis), pattern)
    place, ahead = np.array([20.0, 20.0]), math.radians(axis)
    pose = left_ear_at(*place, ears)
    levels = []
    for metres in (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0):
        source = place + metres * np.array([math.cos(ahead), math.sin(ahead)])
        response = listener(FIELD, (*source, 1.5), ears).impulse_responses(pose)[0, 0]
        levels.append(10 * math.log10(band_energies(response).sum()))
    np.testing.assert_allclose(np.diff(levels), -20 * math.log10(2), atol=0.05)
    assert levels[1] == pytest.approx(0.0, abs=0.05)  # 1 / r with r in metres


@pytest.mark.parametrize("metres", [0.3, 1.0, 3.007, 10.0133, 34.3])
def test_direct_sound_arrives_after_distance_over_speed(metres: float) -> None:
    """By the slope of its phase, to a five-hundredth of a sample; with the half length of pyroomacoustics' filters."""
    ears = OmniEars()
    place = (20.0, 20.0)
    around = listener(FIELD, (place[0] + 0.6 * metres, place[1] + 0.8 * metres, 1.5), ears)
    response = around.impulse_responses(left_ear_at(*place, ears))[0, 0]
    delay = -phase_slope(np.fft.rfft(response.astype(np.float64), 8192), 8192)
    assert delay == pytest.approx(LATE + metres / SPEED_OF_SOUND * RATE, abs=2e-3)


def phase_slope(spectrum: np.ndarray, size: int, low: float = 500, high: float = 3500) -> float:
    """Samples by which a spectrum's phase leads, from 500 Hz to 3.5 kHz, weighted by its power."""
    radians = 2 * np.pi * np.fft.rfftfreq(size)
    used = (radians > 2 * np.pi * low / RATE) & (radians < 2 * np.pi * high / RATE)
    phase = np.unwrap(np.angle(spectrum))[used]
    return float(np.polyfit(radians[used], phase, 1, w=np.abs(spectrum)[used])[0])


@pytest.mark.parametrize("speed", [0.5, 3.0])
@pytest.mark.parametrize("side", [+1, -1], ids=["towards", "away"])
def test_pitch_of_a_moving_source(side: int, speed: float) -> None:
    """Doppler: a source that comes at a speed v is heard at f / (1 - v / c), one that goes at f / (1 + v / c).

    What is sent at every moment s arrives at s + r(s) / c with 1 / r(s). So it is heard with 1 / (r (1 - v / c)), r
    from where it was sent: squeezed together it is louder, as the potential of a moving charge is (Lienard, Wiechert).
    """
    times, ears, num_samples = np.arange(RATE) / RATE, OmniEars(), 4000
    tone = Sound("tone", "tone", (0.2 * np.sin(2 * np.pi * 1000 * times)).astype(np.float32))
    walk = Waypoints(((40.0, 40.0), (60.0, 40.0)), speed, closed=False)
    scene = Scene(FIELD, (Source((40.0, 40.0, 1.5), tone, motion=walk),), Pose(0.0, 0.0, 0.0), 1.5)
    ear = (65.0, 40.0) if side > 0 else (35.0, 40.0)
    heard = Listener(scene, ears, RATE, num_samples).hear(left_ear_at(*ear, ears), 2 * RATE, [math.inf])[0]
    # By the turn of its phase against that of the tone as it was sent, in windows of 50 ms.
    turning = np.exp(-2j * np.pi * 1000 * np.arange(num_samples) / RATE) * heard
    phases = np.unwrap(np.angle(turning.reshape(-1, 400) @ np.hanning(400)))
    shift = np.polyfit(np.arange(len(phases)) * 0.05, phases, 1)[0] / (2 * np.pi)
    assert 1000 + shift == pytest.approx(1000 / (1 - side * speed / SPEED_OF_SOUND), abs=0.02)
    middle = (2 * RATE + num_samples / 2 - LATE) / RATE
    sent = (middle - abs(ear[0] - 40.0) / SPEED_OF_SOUND) / (1 - side * speed / SPEED_OF_SOUND)
    distance = abs(ear[0] - 40.0 - speed * sent)
    amplitude = 0.2 / (distance * (1 - side * speed / SPEED_OF_SOUND))
    assert math.sqrt(2 * np.mean(np.square(heard, dtype=np.float64))) == pytest.approx(amplitude, rel=5e-3)


# ---- Time difference between the ears ----


@pytest.mark.parametrize("degrees", range(-180, 180, 15))
@pytest.mark.parametrize("heading", [0.0, 2.0])
def test_time_difference_between_the_ears(degrees: int, heading: float) -> None:
    """A far source at an azimuth is heard d / c sin(azimuth) earlier on the left (Blauert, on ears without a head).

    So the phase between the ears (left less right) grows with frequency by 2 pi d / c sin(azimuth). Heard through
    :meth:`Listener.hear` in noise. At 25 m the wave is flat enough: it is off by (d / 2 r)^2.
    """
    ears, size = OmniEars(0.17), 8192
    azimuth = math.radians(degrees)
    towards = heading + azimuth
    source = (40 + 25 * math.cos(towards), 40 + 25 * math.sin(towards), 1.5)
    heard = listener(FIELD, source, ears, num_samples=size).hear(Pose(40.0, 40.0, heading), 10 * size, [math.inf])
    # The ends of a window: what one ear hears in it, the other may not.
    left, right = np.fft.rfft(heard.astype(np.float64) * np.hanning(size))
    cross = left * right.conj()
    seconds = 0.17 / SPEED_OF_SOUND * math.sin(azimuth)
    frequencies = np.fft.rfftfreq(size, 1 / RATE)
    used = (frequencies > 100) & (frequencies < 3800)
    # What is left of the slope of the cross-correlation's phase once that of the theory is taken off.
    left_over = np.angle(cross * np.exp(-2j * np.pi * frequencies * seconds))[used]
    weights = (np.abs(cross) * frequencies)[used]
    error = (weights @ left_over) / (2 * np.pi * (weights @ frequencies[used]))
    assert abs(error) < 1e-7  # a thousandth of a sample, 0.02 % of the largest difference
    below_aliasing = (frequencies > 200) & (frequencies < 0.9 * SPEED_OF_SOUND / (2 * 0.17))
    slope = np.polyfit(frequencies[below_aliasing], np.angle(cross)[below_aliasing], 1)[0]
    assert slope == pytest.approx(2 * math.pi * seconds, abs=2 * math.pi * 5e-7)


# ---- Energy ----


@pytest.mark.parametrize("absorption", [1e-3, 1e-2, 0.1])
def test_no_energy_is_gained_between_walls_that_take_little(absorption: float) -> None:
    """Per second 4 pi c^3 t^2 / V images of energy 1 / (c t)^2 arrive: 4 pi c / V, for ever if walls took nothing.

    Kuttruff, section 4.2. In windows of 20 ms, which have 60 degrees of freedom each, the mean of 20 places fluctuates
    by some 5 % (their mutual standard deviation is 20 to 40 %); in the first there is the direct sound alone.
    """
    seconds, places = 0.15, 20
    room = ShoeBox(CUBE, absorption=absorption, max_order=complete_order(CUBE, seconds))
    heard = band_energies(some_responses(room, places, seconds)).mean(axis=0)
    times = (np.arange(len(heard)) + 0.5) / RATE
    expected = 4 * math.pi * SPEED_OF_SOUND / math.prod(CUBE) / RATE * specular_decay(times, CUBE, absorption)
    windows, theory = (energies[160:1120].reshape(-1, 160).sum(axis=1) for energies in (heard, expected))
    assert (windows < 1.1 * theory).all()
    assert windows.sum() == pytest.approx(theory.sum(), rel=0.05)


@pytest.mark.parametrize("absorption", [0.2, 0.3, 0.5, 0.7])
def test_the_steady_level_is_that_of_a_diffuse_field(absorption: float) -> None:
    """What a source sends for ever raises the energy to Q / (4 pi r^2) + 4 / R, R = S a / (1 - a) the room constant.

    Here Q = 1 and 1 / (4 pi r^2) is 1 / r^2 (Kuttruff, section 5.1). Of the reverberation no more is heard, but for
    what 20 places leave to chance (4 %), and less by up to 1 dB: half a metre from the walls the first reflections,
    which are the strongest, are weaker than on average over the room; the more the walls take, the more that counts.
    """
    seconds = min(0.2, eyring_time(ShoeBox(CUBE, absorption=absorption)) / 2)
    room = ShoeBox(CUBE, absorption=absorption, max_order=complete_order(CUBE, seconds))
    reflections = some_responses(room, 10, seconds) - some_responses(room.with_walls(max_order=0), 10, seconds)
    heard = 10 * math.log10(band_energies(reflections).sum(axis=1).mean())
    theory = 10 * math.log10(16 * math.pi / (surface(CUBE) * absorption / (1 - absorption)))
    assert theory - 1.0 < heard < theory + 0.2


def lattice(size: tuple[float, ...], source: tuple[float, ...], order: int) -> np.ndarray:
    """(I, D), the images of a source in a box after exactly so many reflections (Allen and Berkley, section II)."""
    cells = np.array(list(itertools.product(range(-order, order + 1), repeat=len(size))))
    cells = cells[np.abs(cells).sum(axis=1) == order]
    return cells * size + np.where(cells % 2 == 0, source, np.subtract(size, source))


@pytest.mark.parametrize("absorption", [1e-3, 0.3, 0.9])
@pytest.mark.parametrize("size", [CUBE, SQUARE])
@pytest.mark.usefixtures("no_high_pass")
def test_no_image_amplifies(size: tuple[float, ...], absorption: float) -> None:
    """What comes after k reflections is the sum over its images of (1 - a)^(k / 2) / r, never more than that of 1 / r.

    At frequency 0, where all arrivals add up.
    """
    source, ear, ears = (1.2, 2.1, 2.9)[: len(size)], (3.1, 1.4, 1.3)[: len(size)], OmniEars()
    before = 0.0
    for order in range(6):
        room = ShoeBox(size, absorption=absorption, max_order=order)
        response = listener(room, source, ears, ear[-1]).impulse_responses(left_ear_at(*ear[:2], ears))[0, 0]
        total = response.sum(dtype=np.float64)
        lossless = (1 / np.linalg.norm(lattice(size, source, order) - ear, axis=1)).sum()
        assert total - before <= lossless * (1 + 1e-3)
        assert total - before == pytest.approx((1 - absorption) ** (order / 2) * lossless, rel=1e-3, abs=1e-5)
        before = total


@pytest.mark.parametrize("ears", EARS.values(), ids=EARS)
@pytest.mark.parametrize("room", ROOMS.values(), ids=ROOMS)
@pytest.mark.usefixtures("no_high_pass")
def test_every_reflection_takes_the_same_share(room: Room, ears: Ears) -> None:
    """What is heard after k reflections falls by sqrt(1 - a) for each, in rooms of any shape, by ears of any kind."""
    pose, source = Pose(3.0, 2.0, 0.7), (5.0, 4.5, 1.2)[: room.dim]

    def order_alone(order: int, absorption: float) -> np.ndarray:
        walls = room.with_walls(absorption=absorption)
        upto, below = (
            listener(walls.with_walls(max_order=number), source, ears).impulse_responses(pose)[0]
            for number in (order, order - 1)
        )
        upto[:, : below.shape[1]] -= below
        return upto

    for order in (1, 2, 3):
        lossy, lossless = order_alone(order, 0.6), order_alone(order, 1e-6)
        assert np.linalg.norm(lossless) > 0
        np.testing.assert_allclose(lossy, 0.4 ** (order / 2) * lossless, atol=2e-5 * np.abs(lossless).max())


def directions_from_everywhere(ears: Ears, count: int = 20_000, dim: int = 3) -> np.ndarray:
    """(dim, 1, E, count) unit vectors, uniform over the sphere or the circle."""
    directions = np.random.default_rng(0).standard_normal((dim, 1, 1, count))
    return np.repeat(directions / np.linalg.norm(directions, axis=0), len(ears.positions), axis=2)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("name", [name for name in EARS if name != "human"])
def test_no_ear_amplifies(name: str, dim: int) -> None:
    """No gain is above 1 in any direction, in space and in the plane; each microphone reaches it in some direction.

    A head does amplify: at its hard surface the pressure doubles.
    """
    ears = EARS[name]
    gains = np.abs(ears.gains(directions_from_everywhere(ears, dim=dim)))
    assert gains.max() <= 1 + 1e-12
    assert gains.max(axis=2).min() > 0.99


@pytest.mark.parametrize(
    ("name", "expected"),
    [("omni", 1), ("ortf", 1 / 3), ("hypercardioid", 1 / 4), ("figure-of-eight", 1 / 3), ("four-cardioids", 1 / 3)],
)
def test_power_that_ears_take_from_a_diffuse_field(name: str, expected: float) -> None:
    """The mean of the squared gain over the sphere: p^2 + (1 - p)^2 / 3 of p + (1 - p) cos(angle)."""
    ears = EARS[name]
    gains = ears.gains(directions_from_everywhere(ears))
    assert np.square(gains).mean() == pytest.approx(expected, rel=0.02)


def test_power_that_human_ears_take_from_a_diffuse_field() -> None:
    """As much as omnidirectional ears, which they are made to do where they were measured: within 0.5 dB everywhere."""
    ears = EARS["human"]
    measured = ears.filters(directions_from_everywhere(ears, 5000), RATE)
    assert measured is not None
    energy = np.square(measured[0], dtype=np.float64).sum(axis=-1).mean()
    assert abs(10 * math.log10(energy)) < 0.5


def mirrored_paths(
    corners: tuple[tuple[float, float], ...], source: tuple[float, ...], ear: tuple[float, ...], order: int
) -> list[float]:
    """Lengths of all paths from a source to an ear on a floor with exactly so many reflections, drawn with a ruler.

    Mirror the source at one wall after the other, draw the line from the ear to the last image, and go on from where it
    meets the last wall to the image before that; the path counts if it meets every wall and keeps to the floor.
    """
    floor = shapely.Polygon(corners).buffer(1e-9)
    ends = np.array(corners)
    walls = [(a, b) for a, b in zip(ends, np.roll(ends, -1, axis=0), strict=True)]
    lengths = []
    for sequence in itertools.product(range(len(walls)), repeat=order):
        if any(one == other for one, other in itertools.pairwise(sequence)):
            continue
        images = [np.array(source)]
        images = [np.array(source)]
        for index in sequence:
            a, b = walls[index]
            along = (b - a) / np.linalg.norm(b - a)
            offset = images[-1] - a
            images.append(a + 2 * (offset @ along) * along - offset)
        places = [np.array(ear)]
        for index, image in zip(reversed(sequence), reversed(images), strict=False):
            met = shapely.LineString([places[-1], image]).intersection(shapely.LineString(walls[index]))
            if met.geom_type != "Point" or met.is_empty:
                break
            places.append(np.array(met.coords[0]))
        else:
            if floor.covers(shapely.LineString([*places, source])):
                lengths.append(float(np.linalg.norm(images[-1] - ear)))
    return lengths


@pytest.mark.parametrize(
    ("corners", "source", "ear"),
    [
        (FIVE_CORNERS, (5.0, 4.5), (3.0, 2.0)),
        (L_SHAPE, (5.0, 4.5), (3.0, 2.0)),
        (L_SHAPE, (8.4, 1.6), (3.1, 2.3)),  # in the one leg, and in the other but in sight
        (L_SHAPE, (8.4, 2.6), (4.6, 7.1)),  # around the corner
        (L_SHAPE, (7.2, 0.7), (0.8, 7.1)),
    ],
)
@pytest.mark.usefixtures("no_high_pass")
def test_what_is_heard_are_the_paths_that_a_ruler_finds(
    corners: tuple[tuple[float, float], ...], source: tuple[float, ...], ear: tuple[float, ...]
) -> None:
    """Around a corner no sound arrives but by reflections; each adds (1 - a)^(k / 2) / r at frequency 0."""
    ears, before = OmniEars(), 0.0
    for order in range(4):
        room = Polygon(corners, absorption=0.3, max_order=order)
        response = listener(room, source, ears).impulse_responses(left_ear_at(*ear, ears))[0, 0]
        total = response.sum(dtype=np.float64)
        paths = mirrored_paths(corners, source, ear, order)
        expected = 0.7 ** (order / 2) * sum(1 / length for length in paths)
        assert total - before == pytest.approx(expected, rel=1e-3, abs=1e-4)
        before = total
    in_sight = shapely.Polygon(corners).covers(shapely.LineString([source, ear]))
    assert bool(mirrored_paths(corners, source, ear, 0)) == in_sight
    assert mirrored_paths(corners, source, ear, 2)


# ---- Smoothness, symmetry, shape ----


@pytest.mark.parametrize("way", ["ahead", "aside", "turn"])
@pytest.mark.parametrize("ears", EARS.values(), ids=EARS)
@pytest.mark.parametrize("room", ROOMS.values(), ids=ROOMS)
def test_a_small_step_changes_the_sound_a_little(room: Room, ears: Ears, way: str) -> None:
    """The tenth part of a step or turn changes what is heard by a tenth, and both by less than theory allows.

    A path longer by s turns the phase at w by w s / c. White noise up to 4 kHz has an rms w of 2 pi 4000 / sqrt(3):
    what is heard after a step of s changes by up to that times s / c, as a share of its own. And by what gains change:
    1 / r by s / r, where r is more than a metre here, and an ear's with the angle, by no more than twice as much.

    In a region in which every ear sees the same images, as here; elsewhere images come and go.
    """
    heads = listener(room, (4.6, 4.4, 1.2)[: room.dim], ears)
    pose = Pose(3.0, 2.4, 0.5)

    def change(share: float) -> float:
        metres, radians = 0.01 * share, math.radians(1) * share
        ahead, left = (metres * (way == "ahead"), metres * (way == "aside"))
        cos, sin = math.cos(pose.heading), math.sin(pose.heading)
        moved = Pose(
            pose.x + cos * ahead - sin * left,
            pose.y + sin * ahead + cos * left,
            pose.heading + radians * (way == "turn"),
        )
        before, after = (heads.hear(place, 20_000, [math.inf]).astype(np.float64) for place in (pose, moved))
        return float(np.linalg.norm(after - before) / np.linalg.norm(before))

    whole, tenth = change(1.0), change(0.1)
    travelled = math.radians(1) * ears.radius if way == "turn" else 0.01
    by_phase = 2 * math.pi * 4000 / math.sqrt(3) * travelled / SPEED_OF_SOUND
    by_gain = 2 * math.radians(1) if way == "turn" else travelled
    assert 0 < whole < by_phase + by_gain
    assert 9 < whole / tenth < 11


@pytest.mark.parametrize("there", [(5.2, 4.6, 2.0), (8.2, 1.2, 2.0)], ids=["in-sight", "aside"])
@pytest.mark.parametrize("room", ROOMS.values(), ids=ROOMS)
def test_source_and_ear_can_be_exchanged(room: Room, there: tuple[float, float, float]) -> None:
    """Reciprocity (Lord Rayleigh): the same is heard here from there as there from here, around a corner too."""
    ears = OmniEars()
    here = (2.1, 5.7, 1.1)
    if not room.contains(np.array(there[:2])):
        there = (6.2, 0.6, 2.0)
    one, other = (
        listener(room, source[: room.dim], ears, ear[2]).impulse_responses(left_ear_at(*ear[:2], ears))[0, 0]
        for source, ear in ((here, there), (there, here))
    )
    length = min(len(one), len(other))
    assert np.linalg.norm(one[:length] - other[:length]) < 5e-4 * np.linalg.norm(one)
    assert not one[length:].any()
    assert not other[length:].any()


@pytest.mark.parametrize("height", [None, 3.0], ids=["2d", "3d"])
@pytest.mark.parametrize("ears", EARS.values(), ids=EARS)
def test_a_rectangle_is_a_rectangle(ears: Ears, height: float | None) -> None:
    """A shoebox sounds the same when it is given by its corners, though its images are then found one by one."""
    corners = ((0.0, 0.0), (7.0, 0.0), (7.0, 6.0), (0.0, 6.0))
    rooms = (
        ShoeBox((7.0, 6.0) if height is None else (7.0, 6.0, height), absorption=0.2),
        Polygon(corners, height=height, absorption=0.2),
    )
    one, other = (
        listener(room, (5.2, 4.6, 1.1)[: room.dim], ears).impulse_responses(Pose(2.3, 1.9, 0.4))[0] for room in rooms
    )
    assert np.linalg.norm(one - other) < 5e-4 * np.linalg.norm(one)  # images are found in single precision
