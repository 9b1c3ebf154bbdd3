"""A shipped agent plays at once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import pytest
from PIL import Image

from auralnav_sb3 import agent_names

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> str:
    command = [sys.executable, "examples/enjoy.py", *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=300).stdout


def test_it_plays_and_takes_pictures(tmp_path: Path) -> None:
    out = run("two-sources", "--episodes", "2", "--pictures", str(tmp_path / "pictures"))
    assert [line.split(":")[0] for line in out.splitlines()] == ["Episode 0", "Episode 1"]
    for index in range(2):
        picture = matplotlib.image.imread(tmp_path / "pictures" / f"episode-{index}.png")
        assert picture.std() > 0.05  # something is drawn
        with Image.open(tmp_path / "pictures" / f"episode-{index}.png") as file:
            (made_by,) = json.loads(file.text["Provenance"])
        assert made_by["configuration"]["suite"] == "two-sources-v1"


@pytest.mark.parametrize("name", agent_names())
def test_it_shows_the_card(name: str) -> None:
    assert run(name, "--card").startswith(f"# {name}\n")
