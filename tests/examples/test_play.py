"""The whole command, with a window that presses keys: the person plays as the oracle does."""

from __future__ import annotations

import csv
import importlib.util
import json
import runpy
import sys
from collections import deque
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pygame")

from auralnav_gym import SUITES, OracleAgent, versions, window
from auralnav_gym.playing import game as game_module
from auralnav_gym.recording import play

SCRIPT = Path(__file__).parents[2] / "examples" / "play.py"
SUITE = SUITES["two-sources-v1"]
# The key of each action, in the order of the environment's docstring.
KEYS = ("up", "down", "right", "left")


class Player:
    """A window in which the next key is pressed whenever somebody has slept to wait for it."""

    def __init__(self, keys: list[str]) -> None:
        self._keys, self._is_asked = deque(keys), False

    def open(self, **settings: Any) -> Player:
        assert settings == {"sample_rate": SUITE.sample_rate}
        return self

    def sleep(self, seconds: float) -> None:
        self._is_asked = True

    def show(self, frame: np.ndarray, sound: np.ndarray | None = None, seconds: float = 0.0) -> None:
        pass

    def keys(self) -> list[str]:
        asked, self._is_asked = self._is_asked, False
        return [self._keys.popleft()] if asked else []

    def held(self) -> list[str]:
        return []

    def close(self) -> None:
        assert not self._keys


@pytest.fixture(scope="module")
def oracle_keys() -> list[list[str]]:
    env = SUITE.make_env()
    recordings = [play(env, OracleAgent(), seed=seed) for seed in SUITE.seeds[:3]]
    return [[KEYS[action] for action in recording.actions] for recording in recordings]


def run(keys: list[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    player = Player(keys)
    monkeypatch.setattr(window, "Window", player.open)
    monkeypatch.setattr(game_module, "time", SimpleNamespace(sleep=player.sleep, monotonic=lambda: 0.0))
    monkeypatch.setattr(sys, "argv", ["play.py", "--name", "Ann", *arguments])
    runpy.run_path(str(SCRIPT), run_name="__main__")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def table(printed: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in printed.splitlines() if line.startswith("|")]


def test_a_person_plays_beside_the_trained_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], oracle_keys: list[list[str]]
) -> None:
    pytest.importorskip("stable_baselines3")
    pytest.importorskip("plotly")
    from auralnav_sb3 import evaluate, load_agent

    record, page = tmp_path / "episodes.csv", tmp_path / "pages" / "play.html"
    arguments = ("--record", str(record))
    keys = ["return", *oracle_keys[0], "return", "up", "escape"]
    run(keys, monkeypatch, *arguments, "--episodes", "2", "--view", str(page))
    names = ["random", "greedy", "oracle", "two-sources"]
    assert [(row["player"], row["episode"]) for row in rows(record)] == [(name, "0") for name in ("Ann", *names)]
    ann, _, _, oracle, trained = rows(record)
    assert (ann["how"], oracle["how"], ann["sna"]) == ("by ear", "agent", "1.0")
    (episode,) = evaluate(load_agent("two-sources", device="cpu"), SUITE, num_episodes=1).episodes
    for column in ("success", "found", "spl", "sna", "steps", "episode_return"):
        assert float(trained[column]) == pytest.approx(getattr(episode, column), abs=1e-6)
    assert {"numpy", "torch", "stable-baselines3"} <= set(json.loads(trained["versions"]))
    printed = capsys.readouterr().out
    assert "two-sources-v1, episode 0, Ann, by ear: found 2 of 2 in" in printed
    assert "bootstrap intervals" in printed
    assert [row[0] for row in table(printed)[2:]] == ["Ann, by ear", *names]
    assert table(printed)[2][6] == "1.00 [1.00, 1.00]"  # SNA
    assert "Ann, by ear" in page.read_text()

    # The next session begins with the episode that was left; then one that was played is played with the map.
    run(["return", *oracle_keys[1], "escape"], monkeypatch, *arguments, "--beside", "oracle")
    assert [(row["player"], row["episode"]) for row in rows(record)[5:]] == [("Ann", "1"), ("oracle", "1")]
    printed = capsys.readouterr().out
    assert [row[:3] for row in table(printed)[2:]] == [
        [name, "two-sources-v1", "2"] for name in ("Ann, by ear", "oracle")
    ]
    run(["return", *oracle_keys[0], "escape"], monkeypatch, *arguments, "--episode", "0", "--map", "--beside")
    last = rows(record)[-1]
    assert (last["episode"], last["how"], last["attempt"]) == ("0", "with the map", "2")


def test_it_needs_no_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], oracle_keys: list[list[str]]
) -> None:
    """What was played without agents is played by them at the end of a later session."""
    for name in ("torch", "auralnav_sb3"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SystemExit):
        run([], monkeypatch, "--beside", "two-sources")
    assert "choose from" in capsys.readouterr().err
    record = ("--record", str(tmp_path / "episodes.csv"))
    run(["return", *oracle_keys[0], "m", "escape"], monkeypatch, *record, "--beside", "--episodes", "1")
    run(["return", *oracle_keys[1], "return"], monkeypatch, *record, "--episodes", "1")
    written = rows(tmp_path / "episodes.csv")
    assert [row["player"] for row in written] == [
        "Ann",
        "Ann",
        "random",
        "greedy",
        "oracle",
        "random",
        "greedy",
        "oracle",
    ]
    assert [row["episode"] for row in written] == ["0", "1", "1", "1", "1", "0", "0", "0"]
    assert all(json.loads(row["versions"]) == versions() for row in written)
    printed = capsys.readouterr().out
    assert [row[:3] for row in table(printed)[-4:]] == [
        [name, "two-sources-v1", "2"] for name in ("Ann, by ear", "random", "greedy", "oracle")
    ]
    assert table(printed)[-1][6] == "1.00"
    assert "bootstrap" not in printed


def test_who_leaves_at_once_is_told_that_nothing_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["close"], monkeypatch, "--record", str(tmp_path / "e.csv"), "--view", str(tmp_path / "e.html"), "--beside")
    assert capsys.readouterr().out == "No episode was played to its end, so nothing is recorded.\n"
    assert list(tmp_path.iterdir()) == []


def test_who_has_played_all_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(game_module.PlayLog, "next_episodes", lambda *arguments: [])
    run([], monkeypatch, "--record", str(tmp_path / "e.csv"), "--beside")
    assert capsys.readouterr().out.startswith("Ann has played all episodes of two-sources-v1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--episodes", "0"], "expected --episodes of 1 or more and --episode from 0 to 499"),
        (["--episode", "500"], "expected --episodes of 1 or more and --episode from 0 to 499"),
        (["--episode", "-1"], "expected --episodes of 1 or more and --episode from 0 to 499"),
        (["--view", "play.html"], "--view needs jinja2 and plotly"),
    ],
    ids=["none", "beyond", "negative", "no-viewer"],
)
def test_what_cannot_be_done_is_said_before_the_game(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        run([], monkeypatch, *arguments)
    assert message in capsys.readouterr().err
