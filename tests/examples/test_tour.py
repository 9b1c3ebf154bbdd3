"""The tour runs from top to bottom and shows what it says, and it is kept as it is before it runs."""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
import sys
from itertools import permutations
from pathlib import Path
from typing import Any

import gymnasium as gym
import imageio_ffmpeg
import nbformat
import numpy as np
import pytest
import soundfile
from ipykernel.kernelspec import write_kernel_spec
from nbclient import NotebookClient
from PIL import Image

from auralnav_sb3 import bootstrap_mean

NOTEBOOK = Path(__file__).parents[2] / "examples" / "tour.ipynb"
PICTURES = ("make-env", "plot-sound", "walk", "plot-walk", "plot-cues", "plot-masks", "plot-training")
RATE = 8000
# Hands over what the tour found.
LAST_CELL = """
import json
import sys

print(json.dumps({
    "python": sys.executable,
    "threads": torch.get_num_threads(),
    "episode": EPISODE,
    "moments": {"walk": len(walk), "watch": len(recording)},
    "cues": perception.cues.tolist(),
    "measured": {ears: [ipd.tolist(), ild.tolist()] for ears, (ipd, ild, _) in measured.items()},
    "results": {name: {key: each.values(key).tolist() for key in ("success", "spl")} for name, each in results.items()},
}))
"""


def test_it_is_kept_without_what_comes_of_running_it() -> None:
    text = NOTEBOOK.read_text(encoding="utf-8")
    notebook = nbformat.reads(text, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert notebook.metadata == {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    for cell in notebook.cells:
        assert cell.metadata == {}
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
    assert text == nbformat.writes(notebook) + "\n"  # as Jupyter writes it


def test_it_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = run(tmp_path, monkeypatch)
    for cell in cells.values():
        for output in cell.outputs:
            assert output.get("name") != "stderr", f"{cell.id}: {output.text}"
    for name in PICTURES:
        (png,) = [output.data["image/png"] for output in cells[name].outputs if "image/png" in output.get("data", {})]
        picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB"))
        assert min(picture.shape[:2]) >= 300
        assert picture.std() > 10, name

    (last,) = cells["last"].outputs
    found = json.loads(last.text)
    assert Path(found["python"]).samefile(sys.executable)
    assert found["threads"] == 1
    check_sounds(cells, found)
    check_cues(found["measured"])
    check_training(found["results"])
    check_video(media(cells["watch"], "video")[0], found["moments"]["watch"], tmp_path)


def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Its code cells by their ids, run by this Python in a folder of its own, in which nothing is left."""
    # A kernel "python3" that is searched for first, whatever others there are on the machine; no settings of the user.
    write_kernel_spec(tmp_path / "jupyter" / "kernels" / "python3")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.delenv("MPLBACKEND", raising=False)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(LAST_CELL, id="last"))
    folder = tmp_path / "folder"
    folder.mkdir()
    NotebookClient(notebook, timeout=None, startup_timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    assert not list(folder.iterdir())
    return {cell.id: cell for cell in notebook.cells if cell.cell_type == "code"}


def media(cell: Any, kind: str) -> list[bytes]:
    """The files that the players of a cell hold, "audio" or "video"."""
    pages = [output.data["text/html"] for output in cell.outputs if "text/html" in output.get("data", {})]
    files = [re.search(rf"data:{kind}/\w+;base64,([\w+/=\s]+)", page) for page in pages]
    return [base64.b64decode(file[1]) for file in files if file is not None]


def sounds(cell: Any) -> list[np.ndarray]:
    """What the players of a cell play, (channels, N) each, at 8 kHz."""
    played = [soundfile.read(io.BytesIO(file), always_2d=True) for file in media(cell, "audio")]
    assert all(rate == RATE for _, rate in played)
    return [samples.T for samples, _ in played]


def check_sounds(cells: dict[str, Any], found: dict[str, Any]) -> None:
    """What is played is what the ears hear, and the separated sources are those that are in the mixture."""
    env = gym.make("AuralNav-v0", listen_seconds=4.0, source_audio=True)
    observation, info = env.reset(seed=found["episode"])
    heard, alone = observation["audio"], info["source_audio"].mean(axis=1)
    (still,) = sounds(cells["stand-still"])
    mixture, *separated = sounds(cells["separate"])
    for played in (still, mixture):
        np.testing.assert_allclose(played, heard / np.abs(heard).max(), atol=1e-3)
    (walk,) = sounds(cells["walk"])
    assert walk.shape == (2, found["moments"]["walk"] * RATE // 2)
    # It begins where the agent stood, and ends when all is found and silent.
    assert np.corrcoef(walk[:, : RATE // 2].ravel(), heard[:, : RATE // 2].ravel())[0, 1] > 0.999
    assert walk[:, -RATE // 10 :].std() < 0.01 * walk.std()
    assert [each.shape for each in separated] == [(1, 4 * RATE)] * 2
    before = [si_sdr(heard.mean(axis=0), source) for source in alone]
    orders = list(permutations(range(2)))
    after = [[si_sdr(separated[slot][0], alone[index]) for index, slot in enumerate(order)] for order in orders]
    gains = np.subtract(after, before).min(axis=1)
    assert gains.max() > 6
    # And each has the cues of the side that it is on.
    pose, scene = env.unwrapped.pose, env.unwrapped.scene
    for index, slot in enumerate(orders[gains.argmax()]):
        x, y = scene.source_positions[index, :2] - pose.position
        to_the_left = y * np.cos(pose.heading) - x * np.sin(pose.heading)
        sin_ipd, _, ild, _ = found["cues"][slot]
        assert np.sign(sin_ipd) == np.sign(ild) == np.sign(to_the_left)


def si_sdr(estimate: np.ndarray, source: np.ndarray) -> float:
    """Le Roux et al. 2019, dB."""
    target = (estimate @ source) / (source @ source) * source
    return 10 * np.log10(np.square(target).sum() / np.square(estimate - target).sum())


def check_cues(measured: dict[str, Any]) -> None:
    """Of a source 2 m away, all around."""
    azimuths = np.linspace(-180, 180, 37)
    sines = np.sin(np.radians(azimuths))
    omni, ortf, human = (np.array(measured[ears]) for ears in ("omni", "ortf", "human"))
    # The middle of what is pooled, up to 1 kHz, is 500 Hz, if the spectrum is flat, as that of half a second of white
    # noise nearly is. The ears are 17 cm apart.
    for ipd, _ in (omni, ortf):
        np.testing.assert_allclose(ipd, 360 * 500 * 0.17 / 343 * sines, atol=6)
    nearer = 20 * np.log10((2 + 0.085 * sines) / (2 - 0.085 * sines))
    np.testing.assert_allclose(omni[1], nearer, atol=0.3)
    # A cardioid is nearly deaf 180 degrees from where it looks; levels are not compared there. What is behind, at
    # 150 degrees, is far louder at one ear, unlike what is ahead, at 30.
    heard = np.abs(np.abs(azimuths) - 125) > 40
    towards = [1 + np.cos(np.radians(azimuths - side * 55))[heard] for side in (1, -1)]
    np.testing.assert_allclose(ortf[1][heard], 20 * np.log10(towards[0] / towards[1]) + nearer[heard], atol=1)
    assert ortf[1][azimuths == 150] > ortf[1][azimuths == 30] + 10
    to_a_side = np.abs(sines) > 0.1
    for cue in human:
        assert (np.sign(cue) == np.sign(sines))[to_a_side].all()
    assert human[0].max() > omni[0].max() + 20  # the way around a head is longer


def check_training(results: dict[str, dict[str, list[float]]]) -> None:
    """The agent has learned, by far."""
    spl = {name: bootstrap_mean(values["spl"]) for name, values in results.items()}
    success = {name: np.mean(values["success"]) for name, values in results.items()}
    assert success["trained"] >= 0.8
    assert success["trained"] > success["random"]
    assert spl["trained"].low > spl["random"].high


def check_video(file: bytes, num_moments: int, tmp_path: Path) -> None:
    """Both end when the episode does, and there is something to see and to hear on both sides."""
    path = tmp_path / "episode.mp4"
    path.write_bytes(file)
    _, seconds = imageio_ffmpeg.count_frames_and_secs(str(path))
    assert seconds == pytest.approx(num_moments / 2, abs=0.1)
    frames = imageio_ffmpeg.read_frames(str(path))
    assert next(frames)["size"] == (1280, 672)
    first, *_, last = [np.frombuffer(frame, dtype=np.uint8) for frame in frames]
    assert first.std() > 10
    assert np.abs(first.astype(int) - last).mean() > 1
    decoding = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-f", "f32le", "-ar", str(RATE), "-"]
    sound = np.frombuffer(subprocess.run(decoding, check=True, capture_output=True).stdout, np.float32).reshape(-1, 2)
    assert len(sound) / RATE == pytest.approx(num_moments / 2, abs=0.2)
    assert (sound.std(axis=0) > 1e-3).all()
    assert np.abs(sound[:, 0] - sound[:, 1]).max() > 1e-2
