"""Sound from everywhere, against pyroomacoustics and the theory of diffuse fields."""

from __future__ import annotations

import math
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pyroomacoustics as pra
import pytest
from pyroomacoustics.directivities import CardioidFamily
from scipy.signal import csd, fftconvolve
from scipy.special import j0

from auralnav_gym import (
    Babble,
    CardioidEars,
    DiffuseSound,
    Ears,
    OmniEars,
    Pose,
    Scene,
    ShoeBox,
    Source,
    SyntheticSounds,
)
from auralnav_gym.acoustics import Listener, even_directions
from auralnav_gym.scene import SceneSampler, as_background
from auralnav_gym.sounds import Sound, SoundBank

RATE = 8000
WINDOW = 2000
ROOMS = {"3-D": ShoeBox((7.0, 6.0, 3.0), absorption=1.0, max_order=0), "2-D": ShoeBox((7.0, 6.0), rt60=0.3)}
OMNI = OmniEars()
POSE = Pose(3.3, 4.1, 2.0)
SILENT = [-math.inf]


def noise(index: int, length: int, rms: float = 0.05) -> Sound:
    signal = rms * np.random.default_rng(index).standard_normal(length)
    return Sound(f"noise-{index}", "noise", signal.astype(np.float32))


def hiss(num_directions: int, seconds: float = 20.0) -> DiffuseSound:
    """Independent white noise from every direction."""
    sounds = tuple(noise(index, int(seconds * RATE), 0.01 * (1 + index)) for index in range(num_directions))
    return DiffuseSound(sounds, (0,) * num_directions)


def make_scene(background: DiffuseSound | None, room: ShoeBox = ROOMS["3-D"]) -> Scene:
    height = () if room.dim == 2 else (1.3,)
    source = Source((2.0, 3.0, *height), noise(1000, 3001))
    return Scene(room, (source,), POSE, None if room.dim == 2 else 1.5, background=background)


def listen(
    background: DiffuseSound, pose: Pose, seconds: float, ears: Ears = OMNI, room: ShoeBox = ROOMS["3-D"]
) -> np.ndarray:
    """What the ears hear of the background alone, (2, N) float64."""
    listener = Listener(make_scene(background, room), ears, RATE, int(seconds * RATE))
    return listener.hear(pose, 0, SILENT).astype(np.float64)


def level(signal: np.ndarray) -> np.ndarray:
    """RMS level of every row, dBFS."""
    return 10 * np.log10(np.mean(np.square(signal, dtype=np.float64), axis=-1))


# ---- The field -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pose", [POSE, Pose(0.4, 5.2, -0.7)], ids=["pose-0", "pose-1"])
@pytest.mark.parametrize("ears", [CardioidEars(), OmniEars(0.2)], ids=["cardioid", "omni"])
@pytest.mark.parametrize("room", ROOMS.values(), ids=ROOMS)
def test_the_waves_are_those_of_far_sources(
    room: ShoeBox, ears: Ears, pose: Pose, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against pyroomacoustics: a source in every direction, so far away that its front is flat, made so much louder.

    Sound takes 6000 samples from each to the origin. The delay of pyroomacoustics' filters is in both.
    """
    original = pra.constants.get
    monkeypatch.setattr(pra.constants, "get", lambda name: False if name == "rir_hpf_enable" else original(name))
    background = DiffuseSound(
        tuple(noise(index % 4, 901 + index % 4, 0.03 + 0.01 * (index % 4)) for index in range(7)),
        tuple(range(0, 700, 100)),
        level_db=3.0,
    )
    begin = 5 * WINDOW
    heard = Listener(make_scene(background, room), ears, RATE, WINDOW).hear(pose, begin, SILENT)

    centre = np.array([pose.x, pose.y, 1.5][: room.dim])
    directions = even_directions(7, room.dim)
    far = 6000 * 343.0 / RATE - directions @ centre
    reference = pra.AnechoicRoom(room.dim, fs=RATE)
    for direction, metres in zip(directions, far, strict=True):
        reference.add_source(centre + metres * direction)
    places, microphones = [], []
    for side in (+1, -1):  # left, right
        across = pose.heading + side * math.pi / 2
        offset = ears.spacing / 2 * np.array([math.cos(across), math.sin(across), 0.0])
        places.append(centre + offset[: room.dim])
        if isinstance(ears, CardioidEars):
            axis = pose.heading + side * ears.angle
            microphones.append(CardioidFamily(np.array([math.cos(axis), math.sin(axis), 0.0]), ears.pattern))
    array = pra.MicrophoneArray(np.array(places).T, RATE, directivity=microphones or None)
    reference.add_microphone_array(array)
    reference.compute_rir()

    expected = np.zeros((2, WINDOW))
    for ear in range(2):
        for index, (sound, start) in enumerate(zip(background.sounds, background.starts, strict=True)):
            response = reference.rir[ear][index]
            times = 6000 + np.arange(begin - len(response) + 1, begin + WINDOW)  # sent so much earlier
            played = sound.signal[(start + times) % len(sound.signal)].astype(np.float64)
            amplitude = 10 ** ((-26 + 3) / 20) / math.sqrt(7) / np.sqrt(np.mean(np.square(sound.signal)))
            distance = np.linalg.norm(centre + far[index] * directions[index] - places[ear])
            expected[ear] += distance * amplitude * fftconvolve(played, response, "valid")
    assert np.linalg.norm(heard - expected) / np.linalg.norm(expected) < 1e-3


@pytest.mark.parametrize(
    ("room", "num_directions", "below_hz"),
    [("3-D", 32, 1500.0), ("3-D", 128, 3800.0), ("2-D", 32, 3800.0)],
)
def test_coherence_of_a_diffuse_field(room: str, num_directions: int, below_hz: float) -> None:
    """Cook et al. 1955: the coherence of two omnidirectional ears is sin(kd) / kd in space, and J0(kd) in a plane."""
    spacing = 0.17
    left, right = listen(hiss(num_directions), POSE, 20.0, OmniEars(spacing), ROOMS[room])
    frequencies, cross = csd(left, right, RATE, nperseg=256)
    coherence = cross / np.sqrt(csd(left, left, RATE, nperseg=256)[1] * csd(right, right, RATE, nperseg=256)[1])
    within = (frequencies > 50) & (frequencies < below_hz)
    kd = 2 * np.pi * frequencies[within] * spacing / 343.0
    expected = np.sinc(kd / np.pi) if room == "3-D" else j0(kd)
    # 20 s of noise are 625 windows of 256 samples, or nearly twice as many that overlap by half: the standard error of
    # a coherence is at most 1 / sqrt(1250) = 0.028.
    assert np.abs(coherence[within] - expected).max() < 0.1
    assert np.sqrt(np.mean(np.abs(coherence[within] - expected) ** 2)) < 0.04


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("count", [8, 32, 33])
def test_directions_are_spread_evenly(count: int, dim: int) -> None:
    """To the second order they are as all directions are: none preferred, and cosines of mean square 1 / dim."""
    directions = even_directions(count, dim)
    assert directions.shape == (count, dim)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1.0)
    np.testing.assert_allclose(directions.mean(axis=0), 0.0, atol=0.5 / count)
    np.testing.assert_allclose(directions.T @ directions / count, np.eye(dim) / dim, atol=0.5 / count)
    gaps = np.linalg.norm(directions[:, None] - directions, axis=-1) + 10 * np.eye(count)
    # So many discs of this radius, none over another, cover the better part of the sphere or all of the circle.
    radius = 2 * np.arcsin(gaps.min() / 2) / 2
    assert count * (radius / np.pi if dim == 2 else (1 - np.cos(radius)) / 2) > (0.999 if dim == 2 else 0.6)


@pytest.mark.parametrize("room", ROOMS.values(), ids=ROOMS)
def test_power_is_that_of_the_mean_over_all_directions(room: ShoeBox) -> None:
    """The ear turns, its power stays: 1 for an omnidirectional ear, for a cardioid p^2 + (1 - p)^2 / dim."""
    background = replace(hiss(32), level_db=-4.0)
    cardioid = 10 * math.log10(0.25 + 0.25 / room.dim)
    for ears, gain in ((OmniEars(), 0.0), (CardioidEars(), cardioid)):
        levels = [level(listen(background, replace(POSE, heading=h), 10.0, ears, room)) for h in np.arange(6.0)]
        np.testing.assert_allclose(levels, -26 - 4 + gain, atol=0.25)


def test_one_wave() -> None:
    """It comes from one side, +x: a cardioid hears it when it looks there, and whoever walks there hears it earlier."""
    background = DiffuseSound((noise(0, 4001),), (0,))
    ahead = CardioidEars(angle=0.0)
    towards, across, away = (
        listen(background, replace(POSE, heading=h), 1.0, ahead) for h in (0, math.pi / 2, math.pi)
    )
    assert level(across) - level(towards) == pytest.approx(-6.02, abs=0.1)  # half the amplitude
    assert np.abs(away).max() < 1e-6
    # 34.3 cm are 8 samples, and the head at right angles to the wave has both ears on one front.
    nearer = listen(background, replace(POSE, x=POSE.x + 8 * 343.0 / RATE, heading=0.0), 1.0, ahead)
    np.testing.assert_allclose(nearer[:, :-8], towards[:, 8:], atol=1e-5)
    np.testing.assert_allclose(towards[0], towards[1], atol=1e-6)
    moved = listen(background, replace(POSE, y=POSE.y - 1.0, heading=0.0), 1.0, ahead)
    np.testing.assert_allclose(moved, towards, atol=1e-5)


def test_time_runs_on_without_a_seam() -> None:
    """Windows heard one after the other at one place are one long window."""
    bank = SyntheticSounds(per_kind=2, seconds=1.0)
    scene = make_scene(Babble(0.0).sample(np.random.default_rng(0), bank))
    short, long = (Listener(scene, CardioidEars(), RATE, n) for n in (WINDOW, 6 * WINDOW))
    windows = [short.hear(POSE, time, [math.inf]) for time in range(0, 6 * WINDOW, WINDOW)]
    expected = long.hear(POSE, 0, [math.inf])
    assert np.abs(np.concatenate(windows, axis=1) - expected).max() < 1e-6 * np.abs(expected).max()


def test_it_is_heard_besides_the_sources_and_noise_and_before_clipping() -> None:
    with_field, without = make_scene(hiss(16, seconds=1.0)), make_scene(None)
    heard = [
        Listener(scene, CardioidEars(), RATE, WINDOW, -40.0).hear(POSE, 0, [math.inf])
        for scene in (with_field, without)
    ]
    alone = listen(with_field.background, POSE, WINDOW / RATE, CardioidEars())
    np.testing.assert_allclose(heard[0] - heard[1], alone, atol=1e-6)
    sources = [
        Listener(scene, CardioidEars(), RATE, WINDOW).hear_sources(POSE, 0, [math.inf])
        for scene in (with_field, without)
    ]
    np.testing.assert_array_equal(*sources)
    loud = listen(replace(with_field.background, level_db=60.0), POSE, 1.0)
    assert (loud.min(), loud.max()) == (-1.0, 1.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sounds": ()}, r"sounds, starts: expected at least one sound .* actual: 0 sound\(s\), 2 start\(s\)"),
        ({"starts": (1,)}, r"a start for each, actual: 2 sound\(s\), 1 start\(s\)"),
        ({"level_db": -math.inf}, "level_db: expected a finite number of dB, actual: -inf"),
        (
            {"sounds": (noise(0, 10), Sound("nothing", "noise", np.zeros(10, np.float32)))},
            r"sounds: expected .* actual: silence in \['nothing'\]",
        ),
    ],
    ids=["no sounds", "starts", "level", "silence"],
)
def test_bad_fields_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(DiffuseSound((noise(0, 10), noise(1, 10)), (0, 1)), **changes)


# ---- Drawing it ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bank() -> SoundBank:
    return SyntheticSounds(per_kind=3, seconds=1.0)


def test_babble_is_drawn_from_the_bank(bank: SoundBank) -> None:
    background = Babble(7.5, num_directions=7).sample(np.random.default_rng(0), bank)
    voices = [sound for sound in bank if sound.kind == "speech"]
    # Seven directions, three voices: two are heard twice, one three times.
    assert sorted(background.sounds.count(voice) for voice in voices) == [2, 2, 3]
    assert len(set(background.starts)) == 7
    assert all(0 <= start < len(s.signal) for s, start in zip(background.sounds, background.starts, strict=True))
    assert background.level_db == -7.5
    assert {s.kind for s in Babble(kinds=("siren", "bird")).sample(np.random.default_rng(0), bank).sounds} == {
        "siren",
        "bird",
    }
    everything = Babble(kinds=None, num_directions=len(bank)).sample(np.random.default_rng(0), bank)
    assert set(everything.sounds) == set(bank)


def test_the_rest_of_a_scene_is_the_same_with_any_background_and_without(bank: SoundBank) -> None:
    def described(background: Babble | None) -> tuple:
        scene = SceneSampler(ROOMS["3-D"], bank, background=background).sample(np.random.default_rng(3))
        return scene.pose, scene.noise_seed, [(s.position, s.sound.name, s.start) for s in scene.sources]

    assert described(None) == described(Babble(0.0)) == described(Babble(3.0, kinds=None, num_directions=5))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"snr_db": math.nan}, ValueError, "snr_db: expected a finite number of dB, actual: nan"),
        ({"num_directions": 0}, ValueError, "num_directions: expected a whole number of 1 or more, actual: 0"),
        ({"num_directions": 2.5}, ValueError, "num_directions: expected a whole number of 1 or more, actual: 2.5"),
        (
            {"kinds": ("speech", "whale")},
            ValueError,
            r"background kinds: expected one or more of .* actual \['whale'\]",
        ),
        ({"kinds": ()}, ValueError, "background kinds: expected one or more of"),
        ({"kinds": "speech"}, TypeError, "background kinds: expected several strings"),
    ],
    ids=["SNR", "none", "half", "unknown kind", "no kinds", "string"],
)
def test_bad_babble_is_refused(arguments: dict, error: type[Exception], message: str, bank: SoundBank) -> None:
    """By the environment as well, when it is made."""
    with pytest.raises(error, match=message):
        gym.make("AuralNav-v0", sounds=bank, background=Babble(**arguments))


# ---- The environment -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("snr_db", [-5.0, 10.0])
@pytest.mark.parametrize("kinds", [("speech",), None], ids=["speech", "all kinds"])
def test_the_signal_to_noise_ratio_is_as_asked(snr_db: float, kinds: tuple[str, ...] | None) -> None:
    """A source 1 m from an omnidirectional ear in free field, against babble of 30 s at the same ear."""
    env = gym.make(
        "AuralNav-v0",
        sounds=SyntheticSounds(),
        ears=OmniEars(0.001),
        capture_radius=0.5,
        listen_seconds=30.0,
        background=Babble(snr_db, kinds),
        source_audio=True,
    )
    env.reset(seed=0)
    steady = noise(0, 40_001, rms=10 ** (-26 / 20))
    scene = Scene(
        ROOMS["3-D"],
        (Source((3.0, 3.0, 1.5), steady, level_db=-20.0),),  # low enough that nothing clips
        Pose(3.0, 2.0, 0.0),
        background=replace(env.unwrapped.scene.background, level_db=-20.0 + env.unwrapped.scene.background.level_db),
    )
    observation, info = env.reset(options={"scene": scene})
    source = info["source_audio"][0]
    snr = level(source) - level(observation["audio"] - source)
    np.testing.assert_allclose(snr, snr_db, atol=0.5)


def test_babble_v0(bank: SoundBank) -> None:
    env = gym.make("AuralNav-Babble-v0", sounds=bank)
    assert env.spec.max_episode_steps == 200
    env.reset(seed=0)
    scene = env.unwrapped.scene
    assert len(scene.sources) == 2
    assert scene.background.level_db == -10.0
    assert len(scene.background.sounds) == 32
    assert {sound.kind for sound in scene.background.sounds} == {"speech"}
    assert as_background(10) == as_background(np.float64(10)) == Babble(10.0)
    for background in ("loud", True, [10.0]):
        with pytest.raises(TypeError, match="background: expected a Babble, an SNR in dB or None, actual: "):
            gym.make("AuralNav-v0", background=background)


def test_the_background_changes_nothing_but_what_is_heard(bank: SoundBank) -> None:
    quiet, babbling, again = (
        gym.make(name, sounds=bank, source_audio=True)
        for name in ("AuralNav-v0", "AuralNav-Babble-v0", "AuralNav-Babble-v0")
    )
    steps = [env.reset(seed=5) for env in (quiet, babbling, again)]
    for action in (0, 3, 0, 1):
        observations, infos = ([step[part] for step in steps] for part in (0, -1))
        np.testing.assert_array_equal(infos[0]["source_audio"], infos[1]["source_audio"])
        np.testing.assert_array_equal(observations[0]["agent"], observations[1]["agent"])
        np.testing.assert_array_equal(observations[1]["audio"], observations[2]["audio"])
        assert np.abs(observations[0]["audio"] - observations[1]["audio"]).max() > 1e-3
        steps = [env.step(action) for env in (quiet, babbling, again)]
        assert steps[0][1:4] == steps[1][1:4]
