"""Measured ears, against a sphere that sound is known to go round, KEMAR's own data, and what is known of heads."""

from __future__ import annotations

import math
import os
import pickle
import subprocess
import sys
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.error import DependencyNotInstalled
from scipy.special import eval_legendre, spherical_jn, spherical_yn

from auralnav_gym import Pose, Scene, ShoeBox, Source, SyntheticSounds
from auralnav_gym.acoustics import Listener
from auralnav_gym.measured_ears import MeasuredEars
from auralnav_gym.named_ears import as_ears
from auralnav_gym.world import World

RADIUS, SPEED = 0.0875, 343.0
RATE = 8000
# Where the environment of that rate hears, short of the low-pass in front of it.
BAND = np.arange(200, 3501, 50.0)


def directions_at(azimuths: Any, elevations: Any = 0.0) -> np.ndarray:
    """(M, 3) from degrees, counter-clockwise from ahead and upwards."""
    azimuths, elevations = np.radians(np.broadcast_arrays(azimuths, elevations))
    level = np.cos(elevations)
    return np.stack([level * np.cos(azimuths), level * np.sin(azimuths), np.sin(elevations)], axis=-1)


def both(directions: np.ndarray) -> np.ndarray:
    """(3, M, 2, 1): what ears are asked for, M sources with an image each, seen alike by two ears."""
    return np.repeat(directions.T[:, :, None, None], 2, axis=2)


def transfer(ears: MeasuredEars, directions: np.ndarray, frequencies: np.ndarray, rate: int = RATE) -> np.ndarray:
    """(M, 2, F) complex: what the ears make of a sound, compared to what was at the head's centre."""
    filters, delays = ears.filters(both(directions), rate)
    return spectrum(filters[:, :, 0], rate, delays[:, :, 0], frequencies)


def spectrum(responses: np.ndarray, rate: float, begins: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
    """Of responses (..., T) that begin at (...) seconds, by the definition of the Fourier transform."""
    turns = np.exp(-2j * math.pi / rate * np.arange(responses.shape[-1])[:, None] * frequencies)
    return responses.astype(np.float64) @ turns * np.exp(-2j * math.pi * begins[..., None] * frequencies)


def error_db(actual: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Energy of the difference of spectra (..., F), dB of that of the expected ones."""
    return 10 * np.log10((np.abs(actual - expected) ** 2).sum(-1) / (np.abs(expected) ** 2).sum(-1) + 1e-30)


def woodworth(azimuths: np.ndarray) -> np.ndarray:
    """Difference in arrival, left before right, seconds: straight to the one ear and round the head to the other."""
    lateral = np.arcsin(np.sin(np.radians(azimuths)))
    return RADIUS / SPEED * (lateral + np.sin(lateral))


# ---- A rigid sphere --------------------------------------------------------------------------------------------------

SPHERE_RATE = 32_000


@cache
def sphere_spectrum(directions: bytes, length: int = 1024) -> np.ndarray:
    """(M, 2, length // 2 + 1): pressure at two points of a rigid sphere, 90 degrees left and right, in a plane wave.

    Over that at its centre were the sphere not there (Rayleigh; Duda and Martens, J. Acoust. Soc. Am. 104 (5), 1998).
    """
    sideways = np.frombuffer(directions).reshape(-1, 3)[:, 1]
    cosines = np.stack([sideways, -sideways], axis=1)
    size = 2 * math.pi * np.fft.rfftfreq(length, 1 / SPHERE_RATE)[1:] * RADIUS / SPEED
    total = np.zeros((*cosines.shape, len(size)), dtype=complex)
    for order in range(60):
        with np.errstate(all="ignore"):
            slope = spherical_jn(order, size, derivative=True) + 1j * spherical_yn(order, size, derivative=True)
        audible = np.isfinite(slope) & (np.abs(slope) < 1e100)
        terms = np.where(audible, (-1j) ** (order - 1) * (2 * order + 1) / np.where(audible, slope, 1), 0)
        total += eval_legendre(order, cosines)[..., None] * terms
    # The series is written for exp(-i w t), the transform for exp(i w t).
    return np.concatenate([np.ones((*cosines.shape, 1)), (total / size**2).conj()], axis=-1)


def sphere_responses(directions: np.ndarray, late: float, length: int = 1024) -> np.ndarray:
    """(M, 2, length) impulse responses of the sphere, ``late`` seconds later, without what is near half of the rate."""
    frequencies = np.fft.rfftfreq(length, 1 / SPHERE_RATE)
    fade = np.cos(np.clip((frequencies - 12_000) / 4000, 0, 1) * math.pi / 2) ** 2
    turned = sphere_spectrum(directions.tobytes()) * fade * np.exp(-2j * math.pi * late * frequencies)
    return np.fft.irfft(turned, length)


@cache
def sphere_directions() -> np.ndarray:
    """As KEMAR's: rings 10 degrees apart, directions 5 degrees apart at the equator, one straight up."""
    rings = []
    for elevation in range(-40, 91, 10):
        count = max(1, round(72 * math.cos(math.radians(elevation))))
        rings.append(directions_at(360 / count * np.arange(count), elevation))
    return np.concatenate(rings)


@pytest.fixture(scope="module")
def sphere() -> MeasuredEars:
    directions = sphere_directions()
    return MeasuredEars.from_responses(directions, 0.01 * sphere_responses(directions, 4e-3), SPHERE_RATE)


@pytest.mark.parametrize(("rate", "highest", "mean", "nearly_all"), [(8000, 3500, -37, -28), (16_000, 7000, -31, -20)])
def test_a_sphere_is_heard_as_theory_has_it(
    sphere: MeasuredEars, rate: int, highest: float, mean: float, nearly_all: float
) -> None:
    """In directions between those that it was measured in, delays and all; 95 % of them is nearly all."""
    directions = np.random.default_rng(0).standard_normal((300, 3))
    directions[:, 2] = np.abs(directions[:, 2]) - 0.5
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    directions = directions[directions[:, 2] > math.sin(math.radians(-40))]
    length = 1024
    frequencies = np.fft.rfftfreq(length, 1 / SPHERE_RATE)
    chosen = (frequencies >= 100) & (frequencies <= highest)
    expected = sphere_spectrum(directions.tobytes())[..., chosen]
    actual = transfer(sphere, directions, frequencies[chosen], rate)
    # All were made louder by one factor; and the first of a wave that comes round to the ears is not at the centre yet.
    relative = np.vdot(expected, actual) / np.vdot(expected, expected)
    assert 1 / math.sqrt(2) < abs(relative) < 1
    shifts = np.arange(-20e-6, 21e-6, 1e-6)
    shifted = actual * np.exp(2j * math.pi * shifts[:, None, None, None] * frequencies[chosen]) / abs(relative)
    errors = error_db(shifted, expected)
    best = errors.mean(axis=(1, 2)).argmin()
    assert abs(shifts[best]) < 20e-6
    assert errors[best].mean() < mean
    assert np.percentile(errors[best], 95) < nearly_all


def test_energy_is_1_on_the_mean_over_the_sphere(sphere: MeasuredEars) -> None:
    """As it is at an omnidirectional microphone."""
    directions = np.random.default_rng(0).standard_normal((4000, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    gains = sphere.gains(both(directions))
    assert np.square(gains).mean() == pytest.approx(1, rel=0.02)
    measured = both(sphere.directions)
    filters, _ = sphere.filters(measured, SPHERE_RATE)
    np.testing.assert_allclose(np.sqrt(np.square(filters).sum(axis=-1)), sphere.gains(measured), rtol=1e-5)


def test_equalizing_takes_away_what_all_responses_have_in_common(sphere: MeasuredEars) -> None:
    """A loudspeaker that plays nothing low, and reflects."""
    directions = sphere_directions()
    frequencies = np.fft.rfftfreq(1024, 1 / SPHERE_RATE)
    speaker = 1 / (1 - 1j * np.divide(150, frequencies, where=frequencies > 0, out=np.full(513, 1e9))) ** 2
    speaker *= 1 + 0.6 * np.exp(-2j * math.pi * 4e-4 * frequencies)
    coloured = np.fft.irfft(np.fft.rfft(sphere_responses(directions, 4e-3)) * speaker)
    heard = MeasuredEars.from_responses(directions, coloured, SPHERE_RATE, seconds=0.01)
    levels = {
        name: 10 * np.log10((np.abs(transfer(ears, directions, BAND)) ** 2).mean(axis=(0, 1)))
        for name, ears in {"coloured": heard, "equalized": heard.diffuse_field_equalized()}.items()
    }
    assert np.ptp(levels["coloured"]) > 10
    assert np.abs(levels["equalized"]).max() < 1.5  # the directions are not spread evenly
    # Differences between ears and between directions are as they were, up to where the loudspeaker plays nothing.
    plain, equalized = (transfer(ears, directions, BAND) for ears in (sphere, heard.diffuse_field_equalized()))
    for mine, other in ((equalized[:, 0] / equalized[:, 1], plain[:, 0] / plain[:, 1]),):
        loud = np.minimum(*np.abs(plain.transpose(1, 0, 2))) > 0.5
        assert np.abs(20 * np.log10(np.abs(mine / other)))[loud].mean() < 0.5
        assert np.abs(np.angle(mine / other))[loud].mean() < 0.1


def test_low_frequencies_are_given_what_a_head_has_there() -> None:
    """The same magnitude below 400 Hz, and a phase in proportion to frequency."""
    frequencies = np.array([50.0, 100, 200, 400])
    heard = transfer(MeasuredEars.kemar(), directions_at([0, 90, 135, 250]), frequencies, 44_100)
    assert np.ptp(20 * np.log10(np.abs(heard)), axis=-1).max() < 1.5
    delays = -np.angle(heard) / (2 * math.pi * frequencies)
    assert np.ptp(delays, axis=-1).max() < 1e-4


# ---- KEMAR -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kemar() -> MeasuredEars:
    return MeasuredEars.kemar()


@pytest.fixture(scope="module")
def data() -> dict[str, np.ndarray]:
    with np.load(str(files("auralnav_gym") / "ears_data" / "kemar.npz"), allow_pickle=False) as arrays:
        return dict(arrays)


def file_spectrum(data: dict[str, np.ndarray], frequencies: np.ndarray) -> np.ndarray:
    """(710, 2, F) of the responses in the file, the right ear's being the left one's in the mirror image."""
    left = spectrum(data["responses"] * data["scale"], int(data["sample_rate"]), data["delays"], frequencies)
    keys = {tuple(direction): index for index, direction in enumerate((data["directions"] + 0.0).round(5).tolist())}
    mirrored = [keys[x, -y + 0.0, z] for x, y, z in (data["directions"] + 0.0).round(5).tolist()]
    return np.stack([left, left[mirrored]], axis=1)


@pytest.mark.parametrize(("rate", "bound"), [(8000, -37), (16_000, -58), (44_100, -120)])
def test_measured_directions_are_heard_as_measured(
    kemar: MeasuredEars, data: dict[str, np.ndarray], rate: int, bound: float
) -> None:
    """Between 200 Hz and 3.5 kHz, in the worst of all directions; resampling is all that is lost."""
    errors = error_db(transfer(kemar, data["directions"].astype(float), BAND, rate), file_spectrum(data, BAND))
    assert errors.max() < bound


def test_directions_between_are_interpolated(kemar: MeasuredEars) -> None:
    """A tenth of the directions from the others: much nearer to what was measured than the nearest of them."""
    left_out = np.random.default_rng(0).random(len(kemar.directions)) < 0.1
    kept = MeasuredEars(
        kemar.directions[~left_out], kemar.responses[~left_out], kemar.delays[~left_out], kemar.sample_rate
    )
    wanted = kemar.directions[left_out]
    expected = transfer(kemar, wanted, BAND)
    nearest = kept.directions[(wanted @ kept.directions.T).argmax(axis=1)]
    interpolated = error_db(transfer(kept, wanted, BAND), expected)
    assert interpolated.mean() < -31
    assert interpolated.mean() < error_db(transfer(kept, nearest, BAND), expected).mean() - 15


def test_arrivals_at_the_ears_differ_as_woodworth_has_it(kemar: MeasuredEars) -> None:
    """Within 30 microseconds everywhere; the formula is for a sphere, and people tell 10 to 20 apart."""
    azimuths = np.arange(-179.0, 181.0)
    delays = kemar.filters(both(directions_at(azimuths)), RATE)[1][:, :, 0]
    differences = delays[:, 1] - delays[:, 0]
    errors = np.abs(differences - woodworth(azimuths))
    assert errors.max() < 30e-6
    assert errors.mean() < 15e-6
    to_the_side = np.abs(np.sin(np.radians(azimuths))) > 0.05
    assert (np.sign(differences) == np.sign(np.sin(np.radians(azimuths))))[to_the_side].all()


def test_low_frequencies_differ_as_kuhn_has_it(kemar: MeasuredEars) -> None:
    """3 (a / c) sin(azimuth) below 500 Hz, half as much again as at the onset (J. Acoust. Soc. Am. 62 (1), 1977)."""
    azimuths = np.concatenate([np.arange(-165, 0, 15), np.arange(15, 180, 15)])
    heard = transfer(kemar, directions_at(azimuths), np.array([500.0]))[..., 0]
    differences = np.angle(heard[:, 0] * heard[:, 1].conj()) / (2 * math.pi * 500)
    np.testing.assert_allclose(differences, 3 * RADIUS / SPEED * np.sin(np.radians(azimuths)), rtol=0.05)


def test_the_near_ear_hears_louder_the_more_the_higher(kemar: MeasuredEars, data: dict[str, np.ndarray]) -> None:
    octaves = {centre: np.arange(centre / math.sqrt(2), centre * math.sqrt(2), 20) for centre in (250, 500, 1000, 2000)}
    azimuths = np.concatenate([np.arange(-120, -20, 5), np.arange(25, 121, 5)])
    levels, measured = [], []
    place = [np.argmin(np.abs(data["directions"] - each).sum(1)) for each in directions_at(azimuths)]
    for frequencies in octaves.values():
        for result, heard in (
            (levels, transfer(kemar, directions_at(azimuths), frequencies)),
            (measured, file_spectrum(data, frequencies)[place]),
        ):
            energy = (np.abs(heard) ** 2).sum(axis=-1)
            result.append(10 * np.log10(energy[:, 0] / energy[:, 1]))
    np.testing.assert_allclose(levels, measured, atol=0.1)
    assert (np.array(levels) * np.sign(azimuths) > 1).all()
    means = np.abs(levels).mean(axis=1)
    assert (np.diff(means) > 0.5).all()
    assert means[-1] > 6


def test_front_and_back_sound_different(kemar: MeasuredEars) -> None:
    """Which two microphones without directivity cannot tell: the pinna shades what comes from behind."""
    front, back = np.abs(transfer(kemar, directions_at([30, 150]), np.arange(2000, 3500, 50.0)))
    assert 20 * np.log10(np.linalg.norm(front, axis=1) / np.linalg.norm(back, axis=1)).min() > 1


@pytest.mark.parametrize("along", ["around", "over"])
def test_what_is_heard_changes_smoothly(kemar: MeasuredEars, along: str) -> None:
    """On a sphere a degree changes what differs between the ears by 9 microseconds at most, 2 a / c times a degree.

    Up and down the rings, 10 degrees apart, differ by more: in what was measured above the head, and in the distance of
    the loudspeaker, at both ears alike.
    """
    angles = np.arange(-180.0, 181.0)
    # Over: from the left through straight down, the right and straight up.
    turned = np.radians(angles)
    over = np.stack([np.zeros_like(turned), np.cos(turned), np.sin(turned)], axis=1)
    directions = directions_at(angles) if along == "around" else over
    filters, delays = (each[:, :, 0] for each in kemar.filters(both(directions), RATE))
    differences = delays[:, 1] - delays[:, 0]
    assert 5e-6 < np.abs(np.diff(differences)).max() < (14e-6 if along == "around" else 21e-6)
    assert np.abs(np.diff(delays, axis=0)).max() < (9e-6 if along == "around" else 25e-6)
    assert error_db(filters[1:], filters[:-1]).max() < -14


def test_left_and_right_are_mirror_images(kemar: MeasuredEars) -> None:
    directions = np.random.default_rng(0).standard_normal((500, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    filters, delays = kemar.filters(both(directions), RATE)
    mirrored_filters, mirrored_delays = kemar.filters(both(directions * [1, -1, 1]), RATE)
    np.testing.assert_allclose(filters[:, ::-1], mirrored_filters, atol=1e-6)
    np.testing.assert_allclose(delays[:, ::-1], mirrored_delays, atol=1e-12)


def test_what_filters_are_like(kemar: MeasuredEars) -> None:
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((3, 2, 2, 5))
    directions /= np.linalg.norm(directions, axis=0)
    filters, delays = kemar.filters(directions, RATE)
    assert filters.shape == (2, 2, 5, 44)
    assert (filters.dtype, delays.dtype, delays.shape) == (np.float32, np.float64, (2, 2, 5))
    for source, ear, image in np.ndindex(2, 2, 5):  # every direction alone, and its own ear
        alone = kemar.filters(both(directions[:, source, ear, image][None]), RATE)
        np.testing.assert_allclose(filters[source, ear, image], alone[0][0, ear, 0], atol=1e-7)
        assert delays[source, ear, image] == pytest.approx(alone[1][0, ear, 0], abs=1e-12)
    np.testing.assert_array_equal(kemar.reference_points, np.zeros((2, 3)))
    np.testing.assert_allclose(kemar.positions, [[0, 0.0875, 0], [0, -0.0875, 0]])
    assert kemar.filters(directions, 16_000)[0].shape[-1] > 44


def test_directions_in_a_plane_are_level(kemar: MeasuredEars) -> None:
    directions = both(directions_at(np.arange(0, 360, 17.0)))
    for flat, level in zip(kemar.filters(directions[:2], RATE), kemar.filters(directions, RATE), strict=True):
        np.testing.assert_array_equal(flat, level)
    np.testing.assert_array_equal(kemar.gains(directions[:2]), kemar.gains(directions))


@pytest.mark.parametrize("azimuth", [0, 45, -90, 170])
def test_a_listener_hears_the_response_after_the_way_to_the_head(kemar: MeasuredEars, azimuth: float) -> None:
    """In free field: the file's response, 1 / r as loud and r / c later, turned with the head."""
    heading, distance = 0.7, 2.0
    towards = directions_at(azimuth + math.degrees(heading))
    place = (5 + distance * towards[0], 5 + distance * towards[1], 1.5)
    room = ShoeBox((10.0, 10.0, 3.0), absorption=0.99, max_order=0)
    sound = SyntheticSounds(seconds=1.0, per_kind=1)[0]
    scene = Scene(room, (Source(place, sound),), Pose(5.0, 5.0, heading))
    responses = Listener(scene, kemar, RATE, 4000).impulse_responses(scene.pose)[0]
    late = room.to_pyroomacoustics(RATE).c
    # pyroomacoustics' responses are late by half of its delay filters.
    begins = np.full(2, -40 / RATE - distance / late)
    actual = spectrum(distance * responses, RATE, begins, BAND)
    expected = transfer(kemar, directions_at([azimuth]), BAND)[0]
    assert error_db(actual, expected).max() < -30


# ---- Reading and keeping ---------------------------------------------------------------------------------------------


def test_human_ears_are_kemar(kemar: MeasuredEars) -> None:
    assert as_ears("human") is kemar
    assert repr(kemar) == "MeasuredEars(710 directions, 2 ears, 128 samples at 44100 Hz)"
    assert kemar.spacing == pytest.approx(0.175)


def test_the_data_come_with_a_card() -> None:
    folder = files("auralnav_gym") / "ears_data"
    assert len((folder / "kemar.npz").read_bytes()) < 300_000
    card = (folder / "README.md").read_text(encoding="utf-8")
    for part in ("Gardner", "Martin", "no\nrestrictions on use, provided the authors are cited", "prepare_kemar.py"):
        assert part in card


def test_a_copy_is_equal_and_cannot_be_written_to(kemar: MeasuredEars) -> None:
    kemar.filters(both(directions_at([0])), RATE)  # what is kept for later calls does not travel
    copy = pickle.loads(pickle.dumps(kemar))
    assert copy == kemar
    assert copy is not kemar
    assert hash(copy) == hash(kemar)
    other = MeasuredEars(kemar.directions, 2 * kemar.responses, kemar.delays, kemar.sample_rate)
    assert other != kemar
    for array in (copy.directions, copy.responses, copy.delays, copy.positions):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_another_process_hears_the_same_bits(kemar: MeasuredEars) -> None:
    directions = both(directions_at(np.arange(0, 360, 7.3), 12.3))
    program = (
        "import sys, pickle, auralnav_gym.named_ears as e;"
        "d = pickle.load(sys.stdin.buffer);"
        "sys.stdout.buffer.write(pickle.dumps(e.as_ears('human').filters(d, 8000)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], input=pickle.dumps(directions), capture_output=True, check=True, env=os.environ
    )
    for mine, its in zip(kemar.filters(directions, RATE), pickle.loads(result.stdout), strict=True):
        np.testing.assert_array_equal(mine, its)


def test_a_world_with_human_ears_is_kept_in_a_file(tmp_path: Path, sphere: MeasuredEars) -> None:
    World(ears=as_ears("human")).save(tmp_path / "world.json")
    assert '"name": "kemar"' in (tmp_path / "world.json").read_text(encoding="utf-8")
    assert World.load(tmp_path / "world.json").ears is as_ears("human")
    World(ears=sphere).save(tmp_path / "world.json")
    with pytest.raises(ValueError, match=r"ears: expected \{'name': 'kemar'\}, actual keys: \['directions', "):
        World.load(tmp_path / "world.json")
    assert World.load(tmp_path / "world.json", ears=sphere).ears is sphere


def write_sofa(path: Path, responses: np.ndarray, directions: np.ndarray, **changes: Any) -> None:
    sofar = pytest.importorskip("sofar")
    file = sofar.Sofa("SimpleFreeFieldHRIR")
    azimuths = np.degrees(np.arctan2(directions[:, 1], directions[:, 0])) % 360
    elevations = np.degrees(np.arcsin(directions[:, 2].clip(-1, 1)))
    file.SourcePosition = np.stack([azimuths, elevations, np.full(len(directions), 1.4)], axis=1)
    file.ReceiverPosition = np.array([[0, 0.09, 0], [0, -0.09, 0]])
    file.Data_IR, file.Data_SamplingRate, file.Data_Delay = responses, SPHERE_RATE, np.zeros((1, 2))
    for name, value in changes.items():
        setattr(file, name, value)
    sofar.write_sofa(str(path), file)


def test_from_sofa(tmp_path: Path) -> None:
    """Degrees or metres, ears in either order, delays inside or beside the responses: the same ears."""
    directions = sphere_directions()
    responses = sphere_responses(directions, 4e-3)[:, :, 60:400]
    ears = MeasuredEars.from_responses(directions, responses, SPHERE_RATE, np.array([[0, 0.09, 0], [0, -0.09, 0]]))
    expected = transfer(ears, directions, BAND)
    later = np.random.default_rng(0).integers(0, 20, (len(directions), 2)).astype(float)
    moved = np.stack(
        [
            [np.roll(each, -int(shift)) for each, shift in zip(pair, shifts, strict=True)]
            for pair, shifts in zip(responses, later, strict=True)
        ]
    )
    cases: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
        "degrees": (responses, {}),
        "metres": (
            responses,
            {"SourcePosition": 1.4 * directions, "SourcePosition_Type": "cartesian", "SourcePosition_Units": "metre"},
        ),
        "right first": (responses[:, ::-1], {"ReceiverPosition": np.array([[0, -0.09, 0], [0, 0.09, 0]])}),
        "delays beside": (moved, {"Data_Delay": later}),
    }
    for name, (given, changes) in cases.items():
        write_sofa(tmp_path / "ears.sofa", given, directions, **changes)
        read = MeasuredEars.from_sofa(tmp_path / "ears.sofa")
        np.testing.assert_allclose(read.directions, directions, atol=1e-9, err_msg=name)
        np.testing.assert_allclose(read.positions, [[0, 0.09, 0], [0, -0.09, 0]])
        assert read.sample_rate == SPHERE_RATE
        assert error_db(transfer(read, directions, BAND), expected).max() < -40, name


def test_a_file_that_does_not_say_where_the_ears_are(tmp_path: Path) -> None:
    directions = sphere_directions()
    responses = sphere_responses(directions, 4e-3)[:, :, 60:400]
    write_sofa(tmp_path / "ears.sofa", responses, directions, ReceiverPosition=np.zeros((2, 3)))
    np.testing.assert_allclose(MeasuredEars.from_sofa(tmp_path / "ears.sofa").positions, MeasuredEars.kemar().positions)


def test_what_is_no_hrir_file_is_refused(tmp_path: Path) -> None:
    directions = sphere_directions()
    responses = sphere_responses(directions, 4e-3)
    write_sofa(tmp_path / "turned.sofa", responses, directions, ListenerView=np.array([[0.0, 1.0, 0.0]]))
    with pytest.raises(ValueError, match=r"expected ListenerView \[1, 0, 0\], actual: \[\[0.0, 1.0, 0.0\]\]"):
        MeasuredEars.from_sofa(tmp_path / "turned.sofa")
    sofar = pytest.importorskip("sofar")
    sofar.write_sofa(str(tmp_path / "other.sofa"), sofar.Sofa("SimpleFreeFieldHRTF"))
    with pytest.raises(ValueError, match="expected the convention SimpleFreeFieldHRIR, actual: SimpleFreeFieldHRTF"):
        MeasuredEars.from_sofa(tmp_path / "other.sofa")


def test_without_sofar_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sofar", None)
    with pytest.raises(DependencyNotInstalled, match=r'pip install "auralnav\[sofa\]"'):
        MeasuredEars.from_sofa("ears.sofa")


def test_a_rate_above_the_measurements_is_refused(kemar: MeasuredEars) -> None:
    message = r"sample_rate: expected at most that of the measured ears, 44100 Hz, actual: 48000; .*from_sofa"
    with pytest.raises(ValueError, match=message):
        kemar.filters(both(directions_at([0])), 48_000)


OCTAHEDRON = np.concatenate([np.eye(3), -np.eye(3)])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"directions": np.zeros((6, 3))}, "directions: expected finite vectors longer than 0"),
        ({"directions": np.eye(6)}, r"directions: expected shape \(M, 3\), actual: \(6, 6\)"),
        ({"responses": np.ones((6, 3, 8))}, r"responses: expected shape \(6, 2, T\), actual: \(6, 3, 8\)"),
        ({"responses": np.full((6, 2, 8), np.nan)}, "responses: expected finite numbers"),
        ({"delays": np.zeros(6)}, r"delays: expected shape \(6, 2\), actual: \(6,\)"),
        ({"sample_rate": 0}, "sample_rate: expected a whole number of 1 or more"),
        ({"positions": np.zeros((1, 3))}, "positions: expected two or more"),
    ],
)
def test_bad_ears_are_refused(changes: dict[str, Any], message: str) -> None:
    good = {"directions": OCTAHEDRON, "responses": np.ones((6, 2, 8)), "delays": np.zeros((6, 2)), "sample_rate": 8000}
    MeasuredEars(**good)
    with pytest.raises(ValueError, match=message):
        MeasuredEars(**{**good, **changes})


@pytest.mark.parametrize(
    ("directions", "responses", "seconds", "message"),
    [
        (OCTAHEDRON, np.ones((5, 2, 8)), 0.005, r"responses: expected shape \(6, E, T\), actual: \(5, 2, 8\)"),
        (OCTAHEDRON, np.zeros((6, 2, 8)), 0.005, "no silent response"),
        (OCTAHEDRON, np.ones((6, 2, 8)), 0.0, "seconds: expected more than 0"),
        (OCTAHEDRON[:3], np.ones((3, 2, 8)), 0.005, "directions: expected some to all sides"),
    ],
)
def test_bad_measurements_are_refused(
    directions: np.ndarray, responses: np.ndarray, seconds: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        MeasuredEars.from_responses(directions, responses, 8000, seconds=seconds)
