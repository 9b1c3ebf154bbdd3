"""A shipped agent plays at once."""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib.image
import pytest
from PIL import Image

from auralnav_sb3 import agent_names

SCRIPT = Path(__file__).parents[2] / "examples" / "enjoy.py"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """The script, with arguments, in this process: it takes a while to import torch."""

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *arguments])
        runpy.run_path(str(SCRIPT), run_name="__main__")
        return capsys.readouterr().out

    return run


def test_it_plays_and_takes_pictures(run: Callable[..., str], tmp_path: Path) -> None:
    out = run("two-sources", "--episodes", "2", "--pictures", str(tmp_path / "pictures"))
    assert [line.split(":")[0] for line in out.splitlines()] == ["Episode 0", "Episode 1"]
    for index in range(2):
        picture = matplotlib.image.imread(tmp_path / "pictures" / f"episode-{index}.png")
        assert picture.std() > 0.05  # something is drawn
        with Image.open(tmp_path / "pictures" / f"episode-{index}.png") as file:
            (made_by,) = json.loads(file.text["Provenance"])
        assert made_by["configuration"]["suite"] == "two-sources-v1"


def test_beside_the_room_it_shows_what_the_agent_hears(run: Callable[..., str], tmp_path: Path) -> None:
    run("two-sources", "--episodes", "1", "--pictures", str(tmp_path), "--panels")
    with Image.open(tmp_path / "episode-0.png") as picture:
        assert picture.size == (1280, 672)
        assert picture.convert("L").crop((608, 0, 1280, 672)).getextrema()[0] < 100  # something is written there


def test_panels_are_for_what_is_shown(run: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("two-sources", "--panels")
    assert "--panels: expected --human or --pictures" in capsys.readouterr().err


@pytest.mark.parametrize("name", agent_names())
def test_it_shows_the_card(run: Callable[..., str], name: str) -> None:
    assert run(name, "--card").startswith(f"# {name}\n")
