"""A page of a shipped agent's and a hand-written agent's episodes is written."""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from auralnav_gym import GreedyAgent, load_suite
from auralnav_gym.recording import play

pytest.importorskip("jinja2")
pytest.importorskip("plotly")

ROOT = Path(__file__).parents[2]


def test_it_writes_a_page(tmp_path: Path) -> None:
    page = tmp_path / "new" / "page.html"
    agents = ["two-sources", "greedy"]
    command = [sys.executable, "examples/view_episodes.py", *agents, "--episodes", "1", "--output", str(page)]
    ran = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=300)
    assert ran.stdout.splitlines()[-1] == str(page)
    text = page.read_text(encoding="utf-8")
    title = re.search("<title>(.*)</title>", text)
    assert title is not None
    assert title[1] == "two-sources-v1: two-sources, greedy"
    episodes = [
        json.loads(found)
        for found in re.findall(r'<script type="application/json" id="episode-\d+">(.*)</script>', text)
    ]
    assert [episode["separated"] is not None for episode in episodes] == [True, False]

    # The second one is the first episode of the suite, as it is played here.
    suite = load_suite("two-sources-v1")
    expected = play(suite.make_env(), GreedyAgent(), seed=suite.seeds[0])
    sound, rate = soundfile.read(io.BytesIO(base64.b64decode(episodes[1]["sounds"][0]["flac"])))
    assert rate == expected.sample_rate
    assert np.abs(sound.T - expected.sound).max() <= 0.51 / 2**15
    assert str(suite.seeds[0]) in text
