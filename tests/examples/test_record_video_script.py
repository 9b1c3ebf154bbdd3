"""The command's video holds the episode that it says, as it is played here once more, with its sound."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soxr
from PIL import Image

from auralnav_gym import GreedyAgent, load_suite
from auralnav_gym.recording import play

imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")

SCRIPT = Path(__file__).parents[2] / "examples" / "record_video.py"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Runs the command."""

    def run_script(*arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *arguments])
        runpy.run_path(str(SCRIPT), run_name="__main__")

    return run_script


def ask_ffmpeg(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *arguments]
    return subprocess.run(command, capture_output=True, check=True)


def made_by(video: Path) -> list[dict]:
    """The metadata's comment."""
    text = ask_ffmpeg("-i", str(video), "-f", "ffmetadata", "-").stdout.decode()
    (comment,) = re.findall(r"^comment=(.*?)(?<!\\)$", text, re.DOTALL | re.MULTILINE)
    return json.loads(re.sub(r"\\(.)", r"\1", comment, flags=re.DOTALL))


def test_a_shipped_agent(run: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video, gif = tmp_path / "new" / "episode.mp4", tmp_path / "episode.gif"
    run(
        *("two-sources", "--episode", "1", "--fps", "4", "--output", str(video)),
        *("--gif", str(gif), "--gif-fps", "2", "--gif-width", "640"),
    )
    said, *paths = capsys.readouterr().out.splitlines()
    assert paths == [str(video), str(gif)]
    found = re.fullmatch(
        r"two-sources-v1, episode 1: two-sources found 2 of 2 in (\d+) actions, .* m, SPL 0\.\d\d\.", said
    )
    assert found
    moments = int(found[1]) + 1
    reader = imageio_ffmpeg.read_frames(str(video))
    about = next(reader)
    assert about["source_size"] == (1280, 672)
    assert about["fps"] == 4
    assert about["duration"] == pytest.approx(moments / 2, abs=0.03)
    pictures = [np.frombuffer(frame, np.uint8) for frame in reader]
    assert len(pictures) == 2 * moments
    with Image.open(gif) as file:
        assert file.size == (640, 336)
        assert file.n_frames == moments
        assert json.loads(file.info["comment"]) == made_by(video)
    (entry,) = made_by(video)
    assert entry["results"] == ["two-sources, episode 1"]
    assert entry["configuration"]["suite"] == "two-sources-v1"
    assert entry["configuration"]["world"]["motion"] is True  # which the agent acts on
    assert set(entry["versions"]) >= {"auralnav", "torch", "stable-baselines3"}


def test_an_agent_without_learning(
    run: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = tmp_path / "episode.mp4"
    run("greedy", "--suite", "easy-v1", "--episode", "2", "--fps", "4", "--plan-only", "--output", str(video))
    assert capsys.readouterr().out.startswith("easy-v1, episode 2: greedy found 1 of 1 in ")
    assert list(tmp_path.iterdir()) == [video]
    suite = load_suite("easy-v1")
    env = suite.make_env()
    episode = play(env, GreedyAgent(), seed=suite.seeds[2])
    env.close()
    next(reader := imageio_ffmpeg.read_frames(str(video)))
    assert [len(frame) for frame in reader] == [608 * 672 * 3] * (2 * len(episode))
    output = ask_ffmpeg("-i", str(video), "-f", "f32le", "-ac", "2", "-").stdout
    heard = np.frombuffer(output, np.float32).reshape(-1, 2)[: 24_000 * len(episode)].T
    truth = soxr.resample(np.concatenate(episode.audio, axis=-1).T, 8000, 48_000).T
    assert heard.shape == truth.shape
    for side in range(2):
        assert np.corrcoef(heard[side], truth[side])[0, 1] > 0.99


def test_an_episode_that_there_is_not(
    run: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        run("oracle", "--episode", "500", "--output", str(tmp_path / "episode.mp4"))
    assert "--episode: expected 0 to 499, actual: 500" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
