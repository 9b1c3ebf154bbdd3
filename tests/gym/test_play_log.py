from __future__ import annotations

import csv
import json
import os
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auralnav_gym import SUITES, OracleAgent, RandomAgent, Suite, versions
from auralnav_gym.playing.log import AGENT, BY_EAR, COLUMNS, WITH_MAP, PlayLog
from auralnav_gym.recording import Recording, play

SUITE = SUITES["easy-v1"]


@pytest.fixture(scope="module")
def episodes() -> list[Recording]:
    """The first three of the suite, found by an oracle; and the first that a random agent does not find in time."""
    env = SUITE.make_env()
    found = [play(env, OracleAgent(), seed=SUITE.seeds[index]) for index in range(3)]
    random = (play(env, RandomAgent(0), seed=seed) for seed in SUITE.seeds[:20])
    return [*found, next(recording for recording in random if recording.truncated)]


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_row_says_what_an_episode_came_to(tmp_path: Path, episodes: list[Recording]) -> None:
    path = tmp_path / "runs" / "play" / "episodes.csv"
    log = PlayLog(path, SUITE)
    before = datetime.now(timezone.utc) - timedelta(seconds=1)
    added = [log.add(episodes[1], 1, "Zoë, B.", WITH_MAP)]
    index = SUITE.seeds.index(episodes[3].seed)
    added.append(log.add(episodes[3], index, "Zoë, B.", BY_EAR))
    found, lost = read(path)
    assert tuple(found) == COLUMNS
    assert (found["suite"], found["episode"], found["seed"]) == ("easy-v1", "1", str(SUITE.seeds[1]))
    assert (found["player"], found["how"], found["attempt"]) == ("Zoë, B.", "with the map", "1")
    info = episodes[1].info
    assert (found["success"], found["found"], found["sna"]) == ("1.0", "1.0", "1.0")
    assert float(found["spl"]) == info["spl"]
    assert int(found["steps"]) == info["num_actions"] == len(episodes[1].actions)
    path_of = np.array([pose.position for pose in episodes[1].snapshots[-1].path])
    walked = np.hypot(*np.diff(path_of, axis=0).T).sum()
    assert float(found["path_length"]) == pytest.approx(walked)
    assert float(found["episode_return"]) == pytest.approx(sum(map(sum, episodes[1].reward_terms.values())))
    assert before <= datetime.fromisoformat(found["date"]) <= datetime.now(timezone.utc)
    assert json.loads(found["configuration"]) == SUITE.describe()
    assert json.loads(found["versions"]) == versions()
    assert [lost[column] for column in ("success", "found", "spl", "sna")] == ["0.0"] * 4
    assert (lost["steps"], lost["how"]) == ("200", "by ear")
    assert log.read() == tuple(added)


def test_what_an_agent_knows_of_itself_is_said(tmp_path: Path) -> None:
    env = SUITE.make_env(pose=False, motion=True)
    log = PlayLog(tmp_path / "episodes.csv", SUITE, {"torch": "2.11.0"})
    log.add(play(env, OracleAgent(), seed=SUITE.seeds[0]), 0, "oracle", AGENT)
    (row,) = read(log.path)
    assert json.loads(row["configuration"]) == SUITE.describe(pose=False, motion=True)
    assert json.loads(row["versions"]) == {"torch": "2.11.0"}


def test_a_write_that_is_killed_leaves_the_old_file(
    tmp_path: Path, episodes: list[Recording], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = PlayLog(tmp_path / "episodes.csv", SUITE)
    log.add(episodes[0], 0, "Ann", BY_EAR)
    old = log.path.read_bytes()

    def die(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(csv.DictWriter, "writerows", die)
    with pytest.raises(KeyboardInterrupt):
        log.add(episodes[1], 1, "Ann", BY_EAR)
    monkeypatch.undo()
    monkeypatch.setattr(os, "replace", die)
    with pytest.raises(KeyboardInterrupt):
        log.add(episodes[1], 1, "Ann", BY_EAR)
    assert log.path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [log.path]


def test_a_person_goes_on_with_what_was_not_played(tmp_path: Path, episodes: list[Recording]) -> None:
    """By ear or with the map: either way the person knows where everything is."""
    path = tmp_path / "episodes.csv"
    PlayLog(path, SUITE).add(episodes[1], 1, "Ann", BY_EAR)
    PlayLog(path, SUITE).add(episodes[0], 0, "Ben", WITH_MAP)
    PlayLog(path, SUITE).add(episodes[2], 2, "Ann", AGENT)  # of the same name
    log = PlayLog(path, SUITE)
    assert log.next_episodes("Ann", 3) == [0, 2, 3]
    assert log.next_episodes("Ben", 2) == [1, 2]
    assert log.next_episodes("Cem", 600) == list(range(500))
    assert PlayLog(path, SUITES["two-sources-v1"]).next_episodes("Ann", 2) == [0, 1]


def test_whoever_plays_an_episode_again_is_said_to(tmp_path: Path, episodes: list[Recording]) -> None:
    log = PlayLog(tmp_path / "episodes.csv", SUITE)
    played = [(0, "Ann", BY_EAR), (0, "Ann", WITH_MAP), (0, "Ben", BY_EAR), (1, "Ann", BY_EAR), (0, "Ann", BY_EAR)]
    assert [log.add(episodes[index], index, *who).attempt for index, *who in played] == [1, 2, 1, 1, 3]


def test_an_agent_plays_an_episode_once(tmp_path: Path, episodes: list[Recording]) -> None:
    log = PlayLog(tmp_path / "episodes.csv", SUITE)
    first = log.add(episodes[0], 0, "oracle", AGENT)
    old = log.path.read_bytes()
    assert log.add(episodes[0], 0, "oracle", AGENT) == first
    assert log.path.read_bytes() == old
    assert log.add(episodes[0], 0, "oracle", BY_EAR).attempt == 1  # a person of that name


def test_what_agents_have_not_played_is_told(tmp_path: Path, episodes: list[Recording]) -> None:
    log = PlayLog(tmp_path / "episodes.csv", SUITE)
    for index in (2, 0):
        log.add(episodes[index], index, "Ann", BY_EAR)
    log.add(episodes[1], 1, "Ben", BY_EAR)
    log.add(episodes[0], 0, "oracle", AGENT)
    assert log.missing("Ann", ["oracle", "random"]) == [("oracle", 2), ("random", 2), ("random", 0)]
    assert log.missing("Cem", ["oracle"]) == []


def reached(recording: Recording, **info: Any) -> Recording:
    return replace(recording, info={**recording.info, **info})


def test_the_tables_are_over_the_very_same_episodes(tmp_path: Path, episodes: list[Recording]) -> None:
    """Numbers that are made up, so that the means are known; none of the last four rows counts."""
    log = PlayLog(tmp_path / "episodes.csv", SUITE)
    lost = {"is_success": False, "num_found": 0, "spl": 0.0, "sna": 0.0}
    log.add(reached(episodes[0], spl=0.5, sna=0.25, num_actions=10, path_length=4.0), 0, "Ann", BY_EAR)
    log.add(reached(episodes[1], **lost, num_actions=200, path_length=60.0), 1, "Ann", BY_EAR)
    log.add(reached(episodes[2], spl=0.9, sna=0.7, num_actions=7, path_length=2.0), 2, "Ann", WITH_MAP)
    for index, shares in enumerate((0.8, 0.6, 1.0)):
        log.add(reached(episodes[index], spl=shares, num_actions=5, path_length=3.25), index, "oracle", AGENT)
    log.add(reached(episodes[0], spl=1.0, sna=1.0), 0, "Ann", BY_EAR)  # again
    log.add(reached(episodes[1], spl=1.0, sna=1.0), 1, "Ben", BY_EAR)
    log.add(episodes[0], 0, "greedy", AGENT)  # the other episode is missing
    log.add(episodes[2], 2, "unasked", AGENT)
    ear, with_map = log.to_markdown("Ann", ["greedy", "oracle"]).split("\n\n")
    head, rule, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in ear.splitlines()]
    assert head[:-1] == ["player", "suite", "episodes", "success", "found", "SPL", "SNA", "actions", "metres"]
    assert all(set(cell) == {"-"} for cell in rule)
    assert [row[:-1] for row in rows] == [
        ["Ann, by ear", "easy-v1", "2", "0.50", "0.50", "0.25", "0.12", "105", "32.0"],
        ["oracle", "easy-v1", "2", "1.00", "1.00", "0.70", "1.00", "5", "3.2"],
    ]
    mean = np.mean([sum(map(sum, recording.reward_terms.values())) for recording in episodes[:2]])
    assert head[-1] == "return"
    assert {row[-1] for row in rows} == {f"{mean:.2f}"}
    assert len({len(line) for line in ear.splitlines()}) == 1  # columns line up
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in with_map.splitlines()][2:]
    assert [row[:-1] for row in rows] == [
        ["Ann, with the map", "easy-v1", "1", "1.00", "1.00", "0.90", "0.70", "7", "2.0"],
        ["oracle", "easy-v1", "1", "1.00", "1.00", "1.00", "1.00", "5", "3.2"],
    ]
    largest = log.to_markdown("Ann", summarize=lambda values, digits: f"{values.max():.{digits + 1}f}")
    assert "| 200.0 " in largest
    assert log.to_markdown("Cem", ["oracle"]) == ""


@pytest.mark.parametrize("how", ["ear", ""])
def test_another_way_to_play_is_refused(how: str, tmp_path: Path, episodes: list[Recording]) -> None:
    with pytest.raises(
        ValueError, match=rf"how: expected one of \['by ear', 'with the map', 'agent'\], actual: '{how}'"
    ):
        PlayLog(tmp_path / "episodes.csv", SUITE).add(episodes[0], 0, "Ann", how)


def test_another_episode_is_refused(tmp_path: Path, episodes: list[Recording]) -> None:
    log = PlayLog(tmp_path / "episodes.csv", SUITE)
    seeds = SUITE.seeds
    with pytest.raises(ValueError, match=f"expected episode 1 of 'easy-v1', seed {seeds[1]}, actual: {seeds[0]}"):
        log.add(episodes[0], 1, "Ann", BY_EAR)
    with pytest.raises(ValueError, match="expected an episode to its end, actual: one that was left before"):
        log.add(replace(episodes[0], terminated=False), 0, "Ann", BY_EAR)
    assert not log.path.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "expected the columns suite, episode, .*, actual: none. Choose another file"),
        ("name,seed\nfull,0\n", "expected the columns suite, episode, .*, actual: name, seed. Choose another file"),
        (
            ",".join(COLUMNS) + "\neasy-v1,zero" + "," * (len(COLUMNS) - 2) + "\n",
            "line 2: episode: expected a whole number, actual: 'zero'",
        ),
        (",".join(COLUMNS) + "\neasy-v1,0,5,Ann,by ear,1,1.0\n", "line 2: expected 16 cells"),
    ],
    ids=["empty", "other-columns", "no-number", "too-few-cells"],
)
def test_another_file_is_left_alone(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_text(content)
    with pytest.raises(ValueError, match=rf"results\.csv[:,] {message}"):
        PlayLog(path, SUITE)
    assert path.read_text() == content


def test_other_suites_stay_in_the_file(tmp_path: Path, episodes: list[Recording]) -> None:
    mine = Suite("mine", seeds=SUITE.seeds[:2], env_id=SUITE.env_id)
    path = tmp_path / "episodes.csv"
    PlayLog(path, SUITE).add(episodes[0], 0, "Ann", BY_EAR)
    PlayLog(path, mine).add(episodes[1], 1, "Ann", BY_EAR)
    assert [row["suite"] for row in read(path)] == ["easy-v1", "mine"]
    assert PlayLog(path, mine).next_episodes("Ann", 5) == [0]
    assert PlayLog(path, mine).to_markdown("Ann").splitlines()[-1].startswith("| Ann, by ear | mine  | 1 ")
