"""Gymnasium's RecordVideo: what the files show and how fast is read by decoding them."""

from __future__ import annotations

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import RecordVideo

import auralnav_gym
from auralnav_gym.movement import Action
from auralnav_gym.rendering import FRAME_SIZE, PlanPainter

pytest.importorskip("pygame")
pytest.importorskip("moviepy")
imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")

ACTIONS = (Action.FORWARD, Action.TURN_LEFT, Action.FORWARD, Action.FORWARD, Action.TURN_RIGHT, Action.FORWARD)


def decode(path: Path) -> tuple[np.ndarray, float]:
    """The frames of a video, (N, H, W, 3) uint8, and how many there are in a second."""
    reader = imageio_ffmpeg.read_frames(str(path), pix_fmt="rgb24")
    meta = next(reader)
    assert tuple(meta["size"]) == FRAME_SIZE
    frames = [np.frombuffer(data, dtype=np.uint8).reshape(FRAME_SIZE[1], FRAME_SIZE[0], 3) for data in reader]
    return np.stack(frames), meta["fps"]


@pytest.mark.parametrize(
    ("render_mode", "seconds"), [("rgb_array", 0.5), ("rgb_array", 0.25), ("rgb_array_list", 0.5)], ids=str
)
def test_a_video_shows_every_moment_at_real_speed(render_mode: str, seconds: float, tmp_path: Path) -> None:
    env = gym.make("AuralNav-Easy-v0", render_mode=render_mode, listen_seconds=seconds)
    video = RecordVideo(env, str(tmp_path / "videos"))
    pictures: list[np.ndarray] = []
    video.reset(seed=3)
    pictures.append(PlanPainter().paint(env.unwrapped.snapshot))  # type: ignore[attr-defined]
    for action in ACTIONS:
        video.step(action)
        pictures.append(PlanPainter().paint(env.unwrapped.snapshot))  # type: ignore[attr-defined]
    video.close()

    frames, fps = decode(tmp_path / "videos" / "rl-video-episode-0.mp4")
    assert fps == 1 / seconds
    assert len(frames) == 1 + len(ACTIONS)
    errors = np.array([[np.abs(frame - picture.astype(float)).mean() for picture in pictures] for frame in frames])
    assert errors.argmin(axis=1).tolist() == list(range(len(pictures)))
    assert errors.diagonal().max() < 2  # of 255, that of H.264 with colours at half the resolution


def test_each_environment_has_its_own_frame_rate() -> None:
    envs = [gym.make("AuralNav-v0"), gym.make("AuralNav-v0", listen_seconds=0.2, render_mode="rgb_array_list")]
    assert [env.metadata["render_fps"] for env in envs] == [2.0, 5.0]
    assert auralnav_gym.AuralNavEnv.metadata == {"render_modes": ["human", "rgb_array"], "render_fps": 2.0}
    envs[0].metadata["render_modes"].append("ansi")
    assert auralnav_gym.AuralNavEnv.metadata["render_modes"] == ["human", "rgb_array"]


def test_lists_of_pictures_are_those_since_the_last_call() -> None:
    env = gym.make("AuralNav-Easy-v0", render_mode="rgb_array_list")
    assert env.render_mode == "rgb_array_list"
    env.reset(seed=0)
    env.step(Action.FORWARD)
    pictures = env.render()
    assert [picture.shape for picture in pictures] == [(672, 608, 3)] * 2
    np.testing.assert_array_equal(pictures[-1], PlanPainter().paint(env.unwrapped.snapshot))  # type: ignore[attr-defined]
    assert (pictures[0] != pictures[1]).any()
    env.step(Action.TURN_LEFT)
    assert len(env.render()) == 1
    assert env.render() == []


def test_the_environment_itself_says_who_makes_lists() -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        auralnav_gym.AuralNavEnv(render_mode="rgb_array_list")
    assert str(caught.value) == (
        "render_mode: expected None or one of ['human', 'rgb_array'], actual: 'rgb_array_list'. Lists of pictures are "
        'made by gym.make(..., render_mode="rgb_array_list").'
    )
