"""Videos: what ffmpeg decodes of them, and Pillow of GIFs, is what went in, at its time and on its side."""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import soxr
from gymnasium.error import DependencyNotInstalled
from PIL import Image, ImageSequence
from scipy import ndimage

from auralnav_gym import Action, Pose, Scene, ShoeBox, Sound, Source, videos
from auralnav_gym.recording import Perception, Recording, play
from auralnav_gym.rendering import AGENT, SOUNDING
from auralnav_gym.videos import frames, write_gif, write_video

imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
pytest.importorskip("pygame")

posix = pytest.mark.skipif(os.name == "nt", reason="signals and file names of POSIX")

BACKGROUND, BAR = (233, 236, 239), (213, 94, 0)


def bars(count: int, width: int = 128, height: int = 64) -> list[np.ndarray]:
    """Frame i has a bar of 4 (i + 1) pixels at the left."""
    pictures = [np.full((height, width, 3), BACKGROUND, dtype=np.uint8) for _ in range(count)]
    for index, picture in enumerate(pictures):
        picture[:, : 4 * (index + 1)] = BAR
    return pictures


def count_bars(pictures: np.ndarray) -> np.ndarray:
    """The numbers of frames (F, H, W, 3) as `bars` has drawn them."""
    is_bar = np.abs(pictures.astype(int) - BAR).sum(axis=-1) < 60
    return np.round(is_bar.mean(axis=1).sum(axis=1) / 4).astype(int) - 1


def noise(seconds: float, sample_rate: int, seed: int = 0) -> np.ndarray:
    """(2, T) float32, different on both sides, up to 3 kHz, -26 dBFS."""
    shape = 2, round(seconds * sample_rate)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(shape))
    spectrum[:, np.fft.rfftfreq(shape[1], 1 / sample_rate) > 3000] = 0
    sound = np.fft.irfft(spectrum, shape[1])
    return (0.05 * sound / sound.std()).astype(np.float32)


def decode_pictures(path: Path) -> tuple[dict[str, Any], np.ndarray]:
    """What the file says of itself, and its frames (F, H, W, 3) uint8."""
    reader = imageio_ffmpeg.read_frames(str(path))
    about = next(reader)
    width, height = about["source_size"]
    return about, np.array([np.frombuffer(frame, np.uint8).reshape(height, width, 3) for frame in reader])


def decode_sound(path: Path, seconds: float, sample_rate: int = 48_000) -> np.ndarray:
    """(C, T) float32, all channels, from the time 0 on, without what some decoders add from AAC's last frame."""
    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    channels = 2 if re.search(r"Audio: .* stereo", describe(path)) else 1
    command = [ffmpeg, "-v", "error", "-i", str(path), "-f", "f32le", "-ar", str(sample_rate), "-"]
    output = subprocess.run(command, check=True, capture_output=True).stdout
    sound = np.frombuffer(output, np.float32).reshape(-1, channels).T
    assert 0 <= sound.shape[1] / sample_rate - seconds < 1024 / 48_000
    return sound[:, : round(seconds * sample_rate)]


def describe(path: Path) -> str:
    """What ffmpeg says of a file."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-i", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


def lag(heard: np.ndarray, original: np.ndarray) -> int:
    """By how many samples the one is later than the other, by cross-correlation."""
    size = 2 * max(len(heard), len(original))
    correlation = np.fft.irfft(np.fft.rfft(heard, size) * np.fft.rfft(original, size).conj(), size)
    return (int(correlation.argmax()) + size // 2) % size - size // 2


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary files go; none may be left there."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


# ---- Pictures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fps", [20, 12.5, 30000 / 1001])
def test_every_frame_is_shown_at_its_time(fps: float, tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    write_video(path, iter(bars(25)), fps)
    about, pictures = decode_pictures(path)
    assert about["fps"] == pytest.approx(fps, abs=0.01)
    assert about["duration"] == pytest.approx(25 / fps, abs=0.011)
    assert count_bars(pictures).tolist() == list(range(25))
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(path), "-vf", "showinfo", "-f", "null", "-"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    times = [float(time) for time in re.findall(r"pts_time:(\S+)", said)]
    np.testing.assert_allclose(times, np.arange(25) / fps, atol=1e-3)
    assert list(tmp_path.iterdir()) == [path]


def test_colours_are_as_they_were(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (4, 8, 3), dtype=np.uint8)
    picture = colours.repeat(32, axis=0).repeat(32, axis=1)
    write_video(tmp_path / "video.mp4", [picture] * 3, 10)
    _, decoded = decode_pictures(tmp_path / "video.mp4")
    inside = decoded.reshape(3, 4, 32, 8, 32, 3)[:, :, 8:24, :, 8:24].mean(axis=(0, 2, 4))
    np.testing.assert_allclose(inside, colours, atol=5)


def test_browsers_and_players_can_show_it(tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    write_video(path, bars(10), 10, noise(1, 8000), 8000, comment='{"suite": "two-sources-v1; #=ü"}')
    said = describe(path)
    assert re.search(r"Video: h264 .*yuv420p\(tv, bt709, progressive\), 128x64", said)
    assert re.search(r"Audio: aac \(LC\) .*48000 Hz, stereo", said)
    assert re.search(r'comment +: {"suite": "two-sources-v1; #=ü"}', said)
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")  # it can start before all of it is there


@posix
def test_names_that_look_like_addresses_or_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for write, name in ((write_video, "a:b%d.mp4"), (write_gif, "-y a:b%d.gif")):
        write(name, bars(3), 10)
    assert {path.name for path in tmp_path.iterdir()} == {"a:b%d.mp4", "-y a:b%d.gif"}


# ---- Sound -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sample_rate", [8000, 16000, 44100, 48000])
def test_left_stays_left_and_starts_in_time(sample_rate: int, tmp_path: Path) -> None:
    sound = noise(2, sample_rate)
    sound[:, : sample_rate // 4] = 0
    write_video(tmp_path / "video.mp4", bars(20), 10, sound, sample_rate)
    heard = decode_sound(tmp_path / "video.mp4", 2)
    truth = soxr.resample(sound.T, sample_rate, 48_000).T
    assert heard.shape == truth.shape == (2, 96_000)
    for side in range(2):
        assert abs(lag(heard[side], truth[side])) <= 2
    coefficients = np.corrcoef(heard, truth)
    assert (coefficients[[0, 1], [2, 3]] > 0.999).all()
    assert np.abs(coefficients[[0, 1], [3, 2]] - np.corrcoef(truth)[0, 1]).max() < 0.005


def test_what_is_heard_on_one_side_is_not_heard_on_the_other(tmp_path: Path) -> None:
    for side in range(2):
        sound = noise(1, 8000)
        sound[1 - side] = 0
        write_video(tmp_path / "video.mp4", bars(10), 10, sound, 8000)
        powers = np.square(decode_sound(tmp_path / "video.mp4", 1)).mean(axis=1)
        assert powers[side] == pytest.approx(0.05**2, rel=0.02)
        assert powers[1 - side] < 1e-6 * powers[side]


def test_differences_between_the_ears_come_through(tmp_path: Path) -> None:
    """A source on the left: the right ear hears it 4 samples later and 6 dB less loud."""
    sound = noise(1, 8000)[0]
    sound = np.stack([sound, 0.5 * np.roll(sound, 4)])
    write_video(tmp_path / "video.mp4", bars(10), 10, sound, 8000)
    left, right = np.fft.rfft(decode_sound(tmp_path / "video.mp4", 1, 8000))[:, 100:2900]
    cross = left * right.conj() / np.square(np.abs(left)).mean()
    frequencies = np.arange(100, 2900)  # Hz, as it lasts a second
    weights = np.abs(cross)
    delay = np.angle((cross * np.exp(-2j * math.pi * frequencies * 4 / 8000)).sum())
    assert delay == pytest.approx(0, abs=0.02)
    errors = np.angle(cross * np.exp(-2j * math.pi * frequencies * 4 / 8000))
    assert np.sqrt((weights * errors**2).sum() / weights.sum()) < 0.05  # radians
    ratio = np.square(np.abs(left)).sum() / np.square(np.abs(right)).sum()
    assert 10 * math.log10(ratio) == pytest.approx(6.02, abs=0.05)


def test_a_click_and_a_change_of_the_picture_are_where_they_were(tmp_path: Path) -> None:
    fps, picture_at, click_at = 20, 31, 13_579
    pictures = [np.full((64, 64, 3), 255 * (index >= picture_at), dtype=np.uint8) for index in range(60)]
    sound = np.zeros((2, 24_000), dtype=np.float32)
    sound[:, click_at] = 0.9
    write_video(tmp_path / "video.mp4", pictures, fps, sound, 8000)
    _, decoded = decode_pictures(tmp_path / "video.mp4")
    seen = int(np.argmax(decoded.mean(axis=(1, 2, 3)) > 128)) / fps
    heard = np.abs(decode_sound(tmp_path / "video.mp4", 3)).argmax(axis=1) / 48_000
    assert seen == picture_at / fps
    np.testing.assert_allclose(heard, click_at / 8000, atol=0.0005)


# ---- GIFs ------------------------------------------------------------------------------------------------------------


def durations(gif: Image.Image) -> list[int]:
    """Of its frames, milliseconds."""
    return [frame.info["duration"] for frame in ImageSequence.Iterator(gif)]


@pytest.mark.parametrize(("fps", "lasts"), [(10, {100}), (12.5, {80}), (20, {50}), (15, {60, 70})])
def test_gif(fps: float, lasts: set[int], tmp_path: Path) -> None:
    path = tmp_path / "moving.gif"
    write_gif(path, iter(bars(20)), fps, hold=1.5, comment="made by ü" * 100)
    with Image.open(path) as gif:
        assert gif.size == (128, 64)
        assert gif.n_frames == 20
        assert gif.info["loop"] == 0  # for ever
        assert gif.info["comment"].decode() == "made by ü" * 100
        *all_but_last, last = durations(gif)
        assert set(all_but_last) == lasts
        assert sum(all_but_last) == pytest.approx(1000 * 19 / fps, abs=10)
        assert last == pytest.approx(1000 / fps + 1500, abs=5)
        pictures = np.array([np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(gif)])
    np.testing.assert_allclose(pictures.astype(int), bars(20), atol=2)
    assert list(tmp_path.iterdir()) == [path]


def test_gif_without_a_comment(tmp_path: Path) -> None:
    write_gif(tmp_path / "moving.gif", bars(2), 10)
    with Image.open(tmp_path / "moving.gif") as gif:
        assert "comment" not in gif.info
        assert durations(gif) == [100, 100]


def test_gif_of_another_width(tmp_path: Path) -> None:
    picture = np.zeros((90, 160, 3), dtype=np.uint8)
    picture[:, 80:] = 255
    write_gif(tmp_path / "small.gif", [picture] * 2, 10, width=80)
    with Image.open(tmp_path / "small.gif") as gif:
        assert gif.size == (80, 45)
        small = np.asarray(gif.convert("L"))
    assert small[:, :39].max() < 5
    assert small[:, 41:].min() > 250


def test_gif_with_many_colours(tmp_path: Path) -> None:
    """A smooth gradient needs more than the 256 that there are; all pixels are near what they were."""
    red, green = np.meshgrid(np.arange(128), np.arange(64))
    picture = np.stack([2 * red, 4 * green % 256, 128 + 0 * red], axis=-1).astype(np.uint8)
    write_gif(tmp_path / "many.gif", [picture, picture[:, ::-1]], 10)
    with Image.open(tmp_path / "many.gif") as gif:
        decoded = np.asarray(gif.convert("RGB")).astype(int)
    assert np.sqrt(np.square(decoded - picture).mean()) < 8


# ---- Episodes --------------------------------------------------------------------------------------------------------


def walk(num_steps: int, **kwargs: Any) -> Recording:
    """An agent that walks to the right, 0.5 m a step, past two sources of noise, in an 8 m x 8 m room."""
    noises = np.random.default_rng(0).standard_normal((2, 80_000)).astype(np.float32)
    places = (4.0, 7.0, 1.5), (6.0, 1.5, 1.5)
    sources = tuple(
        Source(place, Sound(f"noise-{index}", "noise", 0.05 * signal))
        for index, (place, signal) in enumerate(zip(places, noises, strict=True))
    )
    scene = Scene(ShoeBox((8.0, 8.0, 3.0), absorption=0.5, max_order=1), sources, Pose(1.0, 4.0, 0.0), ear_height=1.5)
    env = gym.make("AuralNav-v0", max_episode_steps=num_steps, **kwargs)
    return play(env, lambda observation: Action.FORWARD, options={"scene": scene})


@pytest.fixture(scope="module")
def walked() -> Recording:
    """Seven moments."""
    return walk(6)


# It walks through the middle of the plan, which is a square at the top of the picture.
MIDDLE, BAND = 304, slice(274, 334)


def agent_columns(pictures: np.ndarray) -> np.ndarray:
    """Where the agent is in each picture, from the left, in pixels."""
    is_agent = np.abs(pictures[:, BAND].astype(int) - AGENT).max(axis=-1) < 25
    return np.array([np.nonzero(each)[1].mean() for each in is_agent])


def test_what_is_seen_is_where_it_is_heard(walked: Recording, tmp_path: Path) -> None:
    fps, path = 20, tmp_path / "episode.mp4"
    write_video(path, frames(walked, fps, panels=False), fps, walked.sound, walked.sample_rate)
    about, pictures = decode_pictures(path)
    heard = decode_sound(path, 3.5, walked.sample_rate)
    assert about["duration"] == pytest.approx(3.5)
    assert len(pictures) == 70
    assert heard.shape == (2, 28_000)

    columns = agent_columns(pictures)  # a pixel is 0.015 m
    metres = 3 * (columns - columns[0]) / (columns[-1] - columns[0])
    for moment in range(7):
        here, in_time = 0.5 * moment, metres[10 * moment : 10 * (moment + 1)]
        np.testing.assert_allclose(in_time[4:], here, atol=0.01)  # it stands from 0.2 s on
        if moment > 0:
            assert in_time[0] == pytest.approx(here - 0.5, abs=0.01)  # it starts when the moment begins
            assert in_time[2] == pytest.approx(here - 0.25, abs=0.02)  # half of the way after half of the time
            assert here - 0.48 < in_time[1] < here - 0.38  # first it is slow
            assert here - 0.12 < in_time[3] < here - 0.02
        for ear in range(2):
            assert lag(heard[ear], walked.audio[moment, ear]) == 4000 * moment


def test_the_path_reaches_to_the_agent(walked: Recording) -> None:
    pictures = np.array(list(itertools.islice(frames(walked, 20, panels=False), 35)))
    start, *ways = agent_columns(pictures[[0, *range(30, 35)]])  # to the fourth place
    for picture, column in zip(pictures[30:], ways, strict=True):
        behind = picture[MIDDLE - 1 : MIDDLE + 2, round(start) + 10 : round(column) - 16].astype(int)
        assert (behind[..., 2] - behind[..., 0] > 30).any(axis=0).all()  # blue
        ahead = picture[MIDDLE - 2 : MIDDLE + 3, round(column) + 50 : round(column) + 60].astype(int)
        assert (ahead[..., 2] - ahead[..., 0] < 10).all()


def test_rings_of_what_sounds_move_without_a_jump() -> None:
    long = walk(1, listen_seconds=2.0)
    pictures = np.array(list(frames(long, 20, panels=False)))[44:65]  # it stands
    np.testing.assert_array_equal(pictures[10:], pictures[:-10])  # a ring in half a second
    assert (pictures[:, 608:] == pictures[0, 608:]).all()
    plans = pictures[:, :608].astype(np.int16)
    is_source = ndimage.binary_opening(np.abs(plans[0] - SOUNDING).max(axis=-1) < 5, iterations=4)
    around, count = ndimage.label(ndimage.binary_dilation(is_source, iterations=40))
    assert count == 2
    steps = np.abs(np.diff(plans, axis=0)).sum(axis=-1)
    assert steps[:, around == 0].max() == 0
    for source in (1, 2):
        changes = steps[:, around == source].sum(axis=1)
        assert changes.min() > 0
        assert changes.max() < 2 * np.median(changes)


@pytest.mark.parametrize(("fps", "count"), [(10, 35), (7.3, 26), (1, 4)])
def test_as_many_frames_as_the_sound_is_long(fps: float, count: int, walked: Recording) -> None:
    assert count == math.ceil(3.5 * fps)
    assert sum(1 for _ in frames(walked, fps, panels=False)) == count


def test_panels_show_each_moment_with_a_cursor(walked: Recording) -> None:
    pictures = np.array(list(itertools.islice(frames(walked, 8), 12)))
    assert pictures.shape == (12, 672, 1280, 3)
    assert pictures.dtype == np.uint8
    plans = itertools.islice(frames(walked, 8, panels=False), 12)
    np.testing.assert_array_equal(pictures[:, :, :608], list(plans))
    for moment in range(3):
        of_moment = pictures[4 * moment : 4 * (moment + 1), :, 608:].astype(np.int16)
        still = np.median(of_moment, axis=0)  # a cursor is at one place once
        changed = (np.abs(of_moment - still).max(axis=-1) > 0).any(axis=1)
        middles = [np.nonzero(columns)[0].mean() for columns in changed]
        assert changed.sum(axis=1).max() <= 5
        # A quarter of the time each; the cursor at 0 is cut off by half of its width.
        np.testing.assert_allclose(np.diff(middles), np.diff(middles).mean(), atol=1.1)
        assert np.diff(middles).min() > 20


def test_panels_are_painted_once_a_moment(walked: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    painted, shares = [], []

    class Painter:
        def __init__(self, sample_rate: int) -> None:
            assert sample_rate == 8000

        def paint(self, *what: Any) -> np.ndarray:
            painted.append(what)
            return np.zeros((672, 672, 3), dtype=np.uint8)

        def with_cursor(self, picture: np.ndarray, share: float) -> np.ndarray:
            shares.append(share)
            return picture

    monkeypatch.setattr(videos, "PanelPainter", Painter)
    perceptions = tuple(Perception.nothing() for _ in range(7))
    list(frames(dataclasses.replace(walked, perceptions=perceptions), 20))
    assert len(painted) == 7
    for moment, (audio, perception, action, last_action) in enumerate(painted):
        np.testing.assert_array_equal(audio, walked.audio[moment])
        assert perception is perceptions[moment]
        assert action == ("forward" if moment < 6 else "")
        assert last_action == ("forward" if moment > 0 else "")
    np.testing.assert_allclose(shares, np.tile(np.arange(10) / 10, 7), atol=1e-9)


def test_what_cannot_be_painted_is_said_at_once(walked: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="fps: expected more than 0 frames a second, actual: -1"):
        frames(walked, -1)
    monkeypatch.setitem(sys.modules, "pygame", None)
    with pytest.raises(DependencyNotInstalled, match="pygame-ce is not installed"):
        frames(walked, 10)


# ---- Errors ----------------------------------------------------------------------------------------------------------

SOUND = np.zeros((2, 8000), dtype=np.float32)


SHAPE, SAMPLES = r"frames: expected shape \(H, W, 3\)", r"sound: expected shape \(2, T\)"
BAD_VIDEOS: dict[str, tuple[dict[str, Any], str]] = {
    "no frames": ({"frames": []}, "frames: expected one or more, actual: none"),
    "grey": ({"frames": [np.zeros((64, 64), np.uint8)]}, rf"{SHAPE}, actual: \(64, 64\)"),
    "with alpha": ({"frames": [np.zeros((64, 64, 4), np.uint8)]}, rf"{SHAPE}, actual: \(64, 64, 4\)"),
    "odd": ({"frames": [np.zeros((63, 64, 3), np.uint8)]}, "frames: expected H and W to be even.*actual: 63 and 64"),
    "sizes that change": (
        {"frames": [*bars(3), *bars(1, width=64)]},
        r"frames: expected all to be \(64, 128, 3\) uint8, .*actual: \(64, 64, 3\) uint8 at 3",
    ),
    "floats": (
        {"frames": [np.zeros((64, 64, 3))]},
        r"frames: expected all to be \(64, 64, 3\) uint8, .*actual: \(64, 64, 3\) float64 at 0",
    ),
    "fps 0": ({"fps": 0}, "fps: expected more than 0 frames a second, actual: 0"),
    "fps not a number": ({"fps": math.nan}, "fps: expected more than 0 frames a second, actual: nan"),
    "sound sideways": ({"sound": SOUND.T}, rf"{SAMPLES}, .*actual: \(8000, 2\)"),
    "mono": ({"sound": SOUND[0]}, rf"{SAMPLES}, .*actual: \(8000,\)"),
    "no samples": ({"sound": SOUND[:, :0]}, rf"{SAMPLES}, .*actual: \(2, 0\)"),
    "not finite": ({"sound": SOUND * np.nan}, "sound: expected finite samples"),
    "no rate": ({"sound": SOUND, "sample_rate": None}, "sample_rate: expected that of the sound, Hz, actual: None"),
    "rate 0": ({"sound": SOUND, "sample_rate": 0}, "sample_rate: expected a whole number of 1 or more, actual: 0"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD_VIDEOS.values(), ids=BAD_VIDEOS.keys())
def test_bad_videos(arguments: dict[str, Any], message: str, tmp_path: Path) -> None:
    given = {"frames": bars(3), "fps": 10, "sample_rate": 8000, **arguments}
    with pytest.raises(ValueError, match=message):
        write_video(tmp_path / "video.mp4", **given)
    assert list(tmp_path.iterdir()) == []


BAD_GIFS: dict[str, tuple[dict[str, Any], str]] = {
    "no frames": ({"frames": []}, "frames: expected one or more, actual: none"),
    "sizes that change": ({"frames": [*bars(3), *bars(1, width=64)]}, r"frames: expected all to be .* at 3"),
    "fps 60": ({"fps": 60}, "fps: expected no more than 50 frames a second in a GIF, actual: 60"),
    "width 0": ({"width": 0}, "width: expected a whole number of 1 or more, actual: 0"),
    "hold -1": ({"hold": -1}, "hold: expected 0 or more seconds, actual: -1"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD_GIFS.values(), ids=BAD_GIFS.keys())
def test_bad_gifs(arguments: dict[str, Any], message: str, tmp_path: Path) -> None:
    given = {"frames": bars(3), "fps": 10, **arguments}
    with pytest.raises(ValueError, match=message):
        write_gif(tmp_path / "moving.gif", **given)
    assert list(tmp_path.iterdir()) == []


def test_the_name_says_what_it_is(tmp_path: Path) -> None:
    for write, name, ending in ((write_video, "video.avi", "mp4"), (write_gif, "moving.mp4", "gif")):
        with pytest.raises(ValueError, match=rf"path: expected a file name that ends in \.{ending}, actual: .*{name}"):
            write(tmp_path / name, bars(3), 10)
    assert list(tmp_path.iterdir()) == []


def test_the_folder_must_exist(tmp_path: Path) -> None:
    for write, name in ((write_video, "video.mp4"), (write_gif, "moving.gif")):
        with pytest.raises(FileNotFoundError, match=r"path: expected a folder that exists, actual: .*nowhere"):
            write(tmp_path / "nowhere" / name, bars(3), 10)


def test_an_error_leaves_the_old_file_and_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    processes = []
    popen = subprocess.Popen

    def start(*args: Any, **kwargs: Any) -> subprocess.Popen:
        processes.append(popen(*args, **kwargs))
        return processes[-1]

    monkeypatch.setattr(subprocess, "Popen", start)

    def fail() -> Iterator[np.ndarray]:
        yield from bars(3)
        raise ZeroDivisionError

    for write, path in ((write_video, tmp_path / "video.mp4"), (write_gif, tmp_path / "moving.gif")):
        path.write_text("old")
        with pytest.raises(ZeroDivisionError):
            write(path, fail(), 10)
        assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2
    assert len(processes) == 2
    assert all(process.returncode is not None for process in processes)


def test_it_says_what_ffmpeg_says(tmp_path: Path) -> None:
    """Frames are larger than H.264 has them."""
    with pytest.raises(RuntimeError, match=r"(?s)^ffmpeg: expected a file, actual: exit status \d+\. It said:\n.*x264"):
        write_video(tmp_path / "video.mp4", itertools.repeat(np.zeros((2, 20_000, 3), np.uint8), 500), 10)
    assert list(tmp_path.iterdir()) == []


def test_without_imageio_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    for write, name in ((write_video, "video.mp4"), (write_gif, "moving.gif")):
        with pytest.raises(DependencyNotInstalled, match=r'videos need it\. Run `pip install "auralnav\[video\]"`\.'):
            write(tmp_path / name, bars(3), 10)
    assert list(tmp_path.iterdir()) == []


@posix
def test_ctrl_c_leaves_nothing(tmp_path: Path, temporary_folder: Path) -> None:
    """As a terminal does it: to the process and to the ffmpeg that it has started."""
    code = """
import itertools, numpy, sys, tempfile
from auralnav_gym.videos import write_video
tempfile.tempdir = sys.argv[2]
write_video(sys.argv[1], itertools.repeat(numpy.zeros((64, 64, 3), numpy.uint8)), 10, numpy.zeros((2, 10)), 8000)
"""
    command = [sys.executable, "-c", code, str(tmp_path / "video.mp4"), str(temporary_folder)]
    # Ctrl-C is heard even where the tests themselves run in the background, deaf to it.
    hear = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(command, start_new_session=True, preexec_fn=hear, stderr=subprocess.PIPE, text=True)
    try:
        until = time.monotonic() + 60
        while not list(tmp_path.iterdir()) and time.monotonic() < until and process.poll() is None:
            time.sleep(0.02)
        assert len(list(tmp_path.iterdir())) == 1  # what is being written
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert "KeyboardInterrupt" in said
    with pytest.raises(ProcessLookupError):  # no one is left of the group
        os.killpg(process.pid, 0)
    assert list(tmp_path.iterdir()) == []
