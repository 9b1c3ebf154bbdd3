"""A person plays by keys that were written down; what must come of them is what an environment makes of the actions."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pygame")

from scripted_window import PaperWindow, PostedKeysWindow, Script

from auralnav_gym import SUITES, OracleAgent, RandomAgent, Suite
from auralnav_gym.playing import Game, reference_agents
from auralnav_gym.playing import game as game_module
from auralnav_gym.playing.log import AGENT, BY_EAR, WITH_MAP, PlayLog
from auralnav_gym.playing.screens import Standing, paint_cover
from auralnav_gym.recording import Recording, play, stereo
from auralnav_gym.rendering import FRAME_SIZE, PLAN_SIZE, PlanPainter

TWO_SOURCES, DISTRACTORS = SUITES["two-sources-v1"], SUITES["distractors-v1"]
# The key of each action, in the order of the environment's docstring.
KEYS = ("up", "down", "right", "left")
WIDTH = FRAME_SIZE[0]


def played(suite: Suite, index: int, agent: Any) -> Recording:
    env = suite.make_env()
    recording = play(env, agent, seed=suite.seeds[index])
    env.close()
    return recording


def oracle_keys(suite: Suite, index: int) -> list[str]:
    """What a person presses who knows all; in continuous worlds, too, the oracle takes none but the four actions."""
    parse = suite.config.actions.parse
    by_effect = {(1.0, 0.0): "up", (-1.0, 0.0): "down", (0.0, -1.0): "right", (0.0, 1.0): "left"}
    return [by_effect[parse(action)] for action in played(suite, index, OracleAgent()).actions]


def play_once(window: PaperWindow, suite: Suite = TWO_SOURCES, index: int = 0) -> Recording:
    game = Game(window, suite, "Ann")
    recording = game.play(index)
    game.close()
    assert recording is not None
    return recording


@pytest.fixture(autouse=True)
def nobody_waits_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(game_module, "time", SimpleNamespace(sleep=Script.sleep, monotonic=lambda: 0.0))


@pytest.fixture
def standings(monkeypatch: pytest.MonkeyPatch) -> list[Standing]:
    """What a person was told, one after the other."""
    told: list[Standing] = []
    paint = game_module.paint_standing

    def note(standing: Standing) -> np.ndarray:
        told.append(standing)
        return paint(standing)

    monkeypatch.setattr(game_module, "paint_standing", note)
    return told


@pytest.mark.parametrize("name", ["two-sources-v1", "distractors-v1", "continuous-v1", "moving-v1"])
def test_whoever_presses_the_keys_of_the_oracle_gets_what_the_oracle_gets(name: str) -> None:
    suite = SUITES[name]
    window = PaperWindow(*oracle_keys(suite, 3))
    person, oracle = play_once(window, suite, 3), played(suite, 3, OracleAgent())
    assert window.script.is_over
    assert person.info == oracle.info
    assert person.info["sna"] == 1.0
    np.testing.assert_array_equal(person.audio, oracle.audio)
    np.testing.assert_array_equal(np.concatenate(window.sounds, axis=1), oracle.sound)
    assert (person.agent, person.title, person.seed) == ("Ann", f"{name}, episode 3", suite.seeds[3])


def test_what_is_heard_is_shown_with_a_tenth_of_a_second_to_spare() -> None:
    """In which what comes next is made, to begin without a gap."""
    window = PaperWindow(*oracle_keys(TWO_SOURCES, 0))
    play_once(window)
    starts = [index for index, (_, sound, _) in enumerate(window.shown) if sound is not None]
    assert starts[0] == 0  # the first window is heard at once
    for start, end in zip(starts, [*starts[1:], len(window.shown)], strict=True):
        assert window.shown[start][1].shape == (2, 4000)
        assert sum(seconds for *_, seconds in window.shown[start : end - 1]) == pytest.approx(0.4)


@pytest.mark.parametrize("name", ["two-sources-v1", "random-rooms-v1", "l-shape-v1", "distractors-v1", "moving-v1"])
def test_while_the_map_is_hidden_nothing_of_the_scene_is_seen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(game_module, "_title", lambda suite, index: "any episode")
    keys = ["left", "right", "right", "space", "left", "escape"]
    windows = [PaperWindow(*keys), PaperWindow(*keys)]
    for index, window in enumerate(windows):
        assert Game(window, SUITES[name], "Ann").play(index) is None
    for one, other in zip(windows[0].frames, windows[1].frames, strict=True):
        assert (one == other).all()
    assert len({frame.tobytes() for frame in windows[0].frames}) == 6  # counts and keys are seen
    assert np.abs(windows[0].sounds[0] - windows[1].sounds[0]).max() > 0.001  # what differs is heard


def test_the_left_half_is_the_cover_or_the_plan_as_it_stands() -> None:
    window = PaperWindow("left", "m", "up", "m", "up", "escape")
    game = Game(window, TWO_SOURCES, "Ann")
    assert game.play(0) is None
    per_sound = 9
    left = [frame[:PLAN_SIZE, :WIDTH] for frame in window.frames]  # above the counts
    cover = paint_cover()[:PLAN_SIZE]
    env = TWO_SOURCES.make_env()
    env.reset(seed=TWO_SOURCES.seeds[0])
    env.step(3)
    before = PlanPainter().paint(env.unwrapped.snapshot, 0.0)[:PLAN_SIZE]
    env.step(0)
    arrived, listens = (PlanPainter().paint(env.unwrapped.snapshot, share)[:PLAN_SIZE] for share in (0.4, 0.8))
    assert all((frame == cover).all() for frame in left[: 2 * per_sound])  # the start, and a turn
    np.testing.assert_array_equal(left[2 * per_sound], before)  # "m", while time stands still
    walk = left[2 * per_sound + 1 : 3 * per_sound + 1]
    np.testing.assert_array_equal(walk[0], before)
    assert len({frame.tobytes() for frame in walk}) == per_sound
    np.testing.assert_array_equal(walk[4], arrived)
    np.testing.assert_array_equal(walk[8], listens)
    assert all((frame == cover).all() for frame in left[3 * per_sound + 1 :])


@pytest.mark.parametrize(
    ("show_map", "keys", "how"),
    [(False, [], BY_EAR), (True, [], WITH_MAP), (False, ["m"], WITH_MAP), (True, ["m"], WITH_MAP)],
    ids=["hidden", "shown", "shown-later", "hidden-later"],
)
def test_an_episode_in_which_the_map_was_shown_is_marked(show_map: bool, keys: list[str], how: str) -> None:
    game = Game(PaperWindow("up", *keys, "escape", "left", *oracle_keys(TWO_SOURCES, 1)), TWO_SOURCES, "Ann", show_map)
    game.play(0)
    assert game.how == how


def test_every_episode_begins_without_the_map() -> None:
    window = PaperWindow("m", "escape", "left", "escape")
    game = Game(window, TWO_SOURCES, "Ann")
    game.play(0)
    assert game.how == WITH_MAP
    num_shown = len(window.shown)
    game.play(1)
    assert game.how == BY_EAR
    assert all((frame[:, :WIDTH] == paint_cover()).all() for frame in window.frames[num_shown:])


def test_a_map_that_is_shown_while_the_last_window_sounds_counts() -> None:
    keys = oracle_keys(TWO_SOURCES, 0)
    game = Game(PaperWindow(*keys, during={len(keys): "m"}), TWO_SOURCES, "Ann")
    assert game.play(0) is not None
    assert game.how == WITH_MAP


def test_space_plays_the_last_window_again_and_is_no_action(standings: list[Standing]) -> None:
    keys = oracle_keys(TWO_SOURCES, 0)
    window = PaperWindow("space", keys[0], "space", "space", *keys[1:])
    recording = play_once(window)
    assert recording.info["num_actions"] == len(keys)
    assert recording.info["sna"] == 1.0
    order = [0, 0, 1, 1, 1, *range(2, len(keys) + 1)]
    for sound, index in zip(window.sounds, order, strict=True):
        np.testing.assert_array_equal(sound, recording.audio[index])
    assert [standings[index * 9].key for index in range(5)] == ["", "space", keys[0], "space", "space"]


def test_keys_that_are_pressed_while_something_sounds_wait_for_their_turn() -> None:
    keys = oracle_keys(TWO_SOURCES, 0)
    window = PaperWindow(keys[0], *keys[4:], during={1: " ".join(keys[1:4])})
    recording = play_once(window)
    assert window.script.is_over
    np.testing.assert_array_equal(np.concatenate(window.sounds, axis=1), recording.sound)
    assert recording.info["sna"] == 1.0


def test_a_key_that_is_held_goes_on() -> None:
    """Forward as long as it is held; the key that was pressed last counts, and others than those of actions do not."""
    held = [["up"], ["up"], ["up", "left"], ["left"], ["m", "space"], []]
    window = PaperWindow("escape", held=held)
    game = Game(window, TWO_SOURCES, "Ann")
    assert game.play(0) is None
    env = TWO_SOURCES.make_env()
    env.reset(seed=TWO_SOURCES.seeds[0])
    heard = [env.step(action)[0]["audio"] for action in (0, 0, 3, 3)]
    np.testing.assert_array_equal(np.array(window.sounds[1:]), np.array(heard))


def test_a_slow_computer_leaves_out_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes it three times as long as it is to be seen."""
    now = itertools.count(0.0, 0.15)
    monkeypatch.setattr(game_module.time, "monotonic", lambda: next(now))
    keys = oracle_keys(TWO_SOURCES, 0)
    window = PaperWindow(*keys)
    recording = play_once(window)
    np.testing.assert_array_equal(np.concatenate(window.sounds, axis=1), recording.sound)
    assert len(window.shown) == 3 * len(window.sounds)  # at 0, 0.15 and 0.3 s


def test_other_keys_do_nothing() -> None:
    keys = oracle_keys(TWO_SOURCES, 0)
    recording = play_once(PaperWindow("a f1 return left-shift", *keys))
    assert recording.info["num_actions"] == len(keys)


def test_the_person_is_told_of_walls_of_what_is_found_and_of_the_time(standings: list[Standing]) -> None:
    """A walk into a wall, then the oracle's way from there; how it stands is what the environment says."""
    suite = replace(TWO_SOURCES, name="short", env_kwargs={"max_episode_steps": 45})
    env = suite.make_env()
    env.reset(seed=suite.seeds[0])
    infos = [env.step(0)[-1] for _ in range(16)]
    assert infos[-1]["collision"]
    oracle = OracleAgent()
    oracle.reset(env)
    actions = [0] * 16
    while not infos[-1]["is_success"]:
        actions.append(oracle.act(None))
        infos.append(env.step(actions[-1])[-1])
    recording = play_once(PaperWindow(*(KEYS[action] for action in actions)), suite)
    assert recording.info["is_success"]
    assert (standings[0].num_found, standings[0].num_actions, standings[0].max_actions) == (0, 0, 45)
    found = 0
    for standing, info, action in zip(standings[9::9], infos, actions, strict=True):
        assert (standing.num_found, standing.num_actions) == (info["num_found"], info["num_actions"])
        assert (standing.key, standing.num_targets) == (KEYS[action], 2)
        if info["num_found"] > found:
            expected = ("Found one! 1 to go.", "good") if info["num_found"] == 1 else ("Found!", "good")
        elif info["collision"]:
            expected = ("A wall is in the way.", "bad")
        else:
            expected = ("Time is running out.", "bad") if info["num_actions"] >= 25 else ("", "plain")
        assert (standing.note.text, standing.note.kind) == expected
        found = info["num_found"]
    assert {standing.note.text for standing in standings} >= {
        "Listen.",
        "A wall is in the way.",
        "Time is running out.",
        "Found!",
        "",
    }


@pytest.mark.parametrize(
    ("settings", "task"),
    [
        ({"num_sources": 1}, "Find the sound"),
        ({"num_sources": 2}, "Find both sounds"),
        ({"num_sources": 4}, "Find all 4 sounds"),
        (
            {"num_sources": 1, "target_kinds": ["speech"], "num_distractors": 2},
            "Find the speech, keep off the 2 others",
        ),
        (
            {"num_sources": 2, "target_kinds": ["speech"], "num_distractors": 1},
            "Find all 2 sounds of speech, keep off the other one",
        ),
        (
            {"num_sources": 1, "target_kinds": ["speech", "siren"], "num_distractors": 1},
            "Find the speech or siren, keep off the other one",
        ),
    ],
    ids=["one", "two", "four", "speech", "voices", "two-kinds"],
)
def test_what_is_to_be_done_is_said(settings: dict[str, Any], task: str, standings: list[Standing]) -> None:
    Game(PaperWindow("escape"), Suite("any", seeds=[0], env_kwargs=settings), "Ann").play(0)
    assert standings[0].task == task


@pytest.mark.parametrize("goal", ["class", "example"])
def test_the_kind_is_said_where_agents_are_told_it(goal: str, standings: list[Standing]) -> None:
    settings = {"num_sources": 1, "num_distractors": 1, "goal": goal}
    for seed in range(3):
        suite = Suite("any", seeds=[seed], env_kwargs=settings)
        (kind,) = {source.sound.kind for source in suite.scene(0).sources if source.is_target}
        Game(PaperWindow("escape"), suite, "Ann").play(0)
        assert standings[-1].task == f"Find the {kind}, keep off the other one"


def run(window: Any, path: Path, episodes: list[int], suite: Suite = TWO_SOURCES, **settings: Any) -> list[Recording]:
    game = Game(window, suite, "Ann", **settings)
    recordings = game.run(episodes, PlayLog(path, suite), reference_agents(suite))
    game.close()
    return recordings


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_episodes_are_recorded_beside_the_agents(tmp_path: Path) -> None:
    """The second one is left in the middle: it is not recorded, and the next session begins with it."""
    path = tmp_path / "runs" / "episodes.csv"
    window = PaperWindow("return", *oracle_keys(TWO_SOURCES, 0), "n", "up", "up", "escape")
    recordings = run(window, path, [0, 1, 2])
    names = ["Ann", "random", "greedy", "oracle"]
    assert [recording.agent for recording in recordings] == ["Ann, by ear", *names[1:]]
    assert {recording.title for recording in recordings} == {"two-sources-v1, episode 0"}
    table = rows(path)
    assert [(row["player"], row["how"], row["episode"]) for row in table] == [
        (name, BY_EAR if name == "Ann" else AGENT, "0") for name in names
    ]
    ann, _, _, oracle = table
    for column in ("success", "found", "spl", "sna", "steps", "path_length", "episode_return"):
        assert ann[column] == oracle[column]
    assert float(ann["sna"]) == 1.0
    assert PlayLog(path, TWO_SOURCES).next_episodes("Ann", 2) == [1, 2]


def test_the_map_is_shown_at_the_end(tmp_path: Path) -> None:
    window = PaperWindow("return", *oracle_keys(TWO_SOURCES, 0), "return")
    person, *_ = run(window, tmp_path / "episodes.csv", [0])
    plan = PlanPainter().paint(person.snapshots[-1], 0.0)
    # Once at once and once more for each of the three agents.
    results = [frame for frame in window.frames if (frame[:, :WIDTH] == plan).all()]
    assert len({frame.tobytes() for frame in results}) == len(results) == 4
    np.testing.assert_array_equal(window.frames[-1], results[-1])


@pytest.mark.parametrize("key", ["escape", "close"])
@pytest.mark.parametrize("moment", ["welcome", "start", "sounding", "walking", "end"])
def test_leaving_ends_at_once(key: str, moment: str, tmp_path: Path) -> None:
    keys = oracle_keys(TWO_SOURCES, 0)
    window = {
        "welcome": PaperWindow(key),
        "start": PaperWindow("return", key),
        "sounding": PaperWindow("return", during={0: key}),
        "walking": PaperWindow("return", *keys[:-1], key),
        "end": PaperWindow("return", *keys, key),
    }[moment]
    recordings = run(window, tmp_path / "episodes.csv", [0, 1])
    assert window.script.is_over
    assert window.is_closed
    assert len(recordings) == (4 if moment == "end" else 0)
    assert (tmp_path / "episodes.csv").exists() == (moment == "end")


def test_who_leaves_while_the_last_window_sounds_has_played_the_episode(tmp_path: Path) -> None:
    keys = oracle_keys(TWO_SOURCES, 0)
    window = PaperWindow("return", *keys, during={len(keys): "escape"})
    recordings = run(window, tmp_path / "episodes.csv", [0, 1])
    assert len(recordings) == 4
    assert rows(tmp_path / "episodes.csv")[0]["sna"] == "1.0"


def find_touch(suite: Suite) -> tuple[int, list[int]]:
    """An episode of few actions in which a random agent touches a distractor."""
    for index in range(20):
        recording = played(suite, index, RandomAgent(index))
        if recording.terminated and not recording.info["is_success"] and len(recording) < 40:
            return index, list(recording.actions)
    raise AssertionError("no such episode")


def test_an_episode_ends_where_that_of_an_agent_does(standings: list[Standing], tmp_path: Path) -> None:
    """By a touch, and by time."""
    index, actions = find_touch(DISTRACTORS)
    window = PaperWindow("return", *(KEYS[action] for action in actions), "return")
    run(window, tmp_path / "touch.csv", [index], DISTRACTORS)
    assert standings[-1].note.text == "That is not one to find."
    row = rows(tmp_path / "touch.csv")[0]
    assert (row["success"], row["found"], row["spl"], row["steps"]) == ("0.0", "0.0", "0.0", str(len(actions)))

    short = replace(TWO_SOURCES, name="short", env_kwargs={"max_episode_steps": 4})
    run(PaperWindow("return", *["left"] * 4, "return"), tmp_path / "time.csv", [0], short)
    row = rows(tmp_path / "time.csv")[0]
    assert (row["success"], row["steps"], row["path_length"]) == ("0.0", "4", "0.0")


@pytest.mark.parametrize(
    ("name", "make_agent"),
    [("random", RandomAgent), ("oracle", lambda index: OracleAgent())],
    ids=["random", "oracle"],
)
def test_the_agents_play_the_episodes_of_the_suite(name: str, make_agent: Callable[[int], Any]) -> None:
    suite = SUITES["easy-v1"]
    for index in (2, 5):
        recording, expected = reference_agents(suite)[name](index), played(suite, index, make_agent(index))
        assert (recording.agent, recording.title) == (name, f"easy-v1, episode {index}")
        assert recording.seed == suite.seeds[index]
        assert recording.actions == expected.actions


def test_a_window_in_earnest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys are events, and what is heard takes its time."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setenv("SDL_AUDIODRIVER", "dummy")
    suite = Suite("quick", seeds=[3], env_kwargs={"num_sources": 1, "listen_seconds": 0.1})
    keys = oracle_keys(suite, 0)
    window = PostedKeysWindow("return", "m", "m", "space", *keys, "close", sample_rate=suite.sample_rate)
    recordings = run(window, tmp_path / "episodes.csv", [0], suite)
    assert window.script.is_over
    assert [recording.agent for recording in recordings] == ["Ann, with the map", "random", "greedy", "oracle"]
    person, *_, oracle = recordings
    assert person.info == oracle.info
    np.testing.assert_array_equal(stereo(person.audio[0]), stereo(oracle.audio[0]))


def test_a_key_that_is_down_is_held_until_it_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    import pygame

    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    window = PostedKeysWindow(sample_rate=8000)
    window.show(np.zeros((16, 16, 3), dtype=np.uint8))
    assert window.held() == []
    for kind, key, held in (
        (pygame.KEYDOWN, pygame.K_UP, ["up"]),
        (pygame.KEYDOWN, pygame.K_LEFT, ["up", "left"]),
        (pygame.KEYUP, pygame.K_UP, ["left"]),
    ):
        pygame.event.post(pygame.event.Event(kind, key=key))
        assert window.held() == held
    window.close()
    assert window.held() == []
