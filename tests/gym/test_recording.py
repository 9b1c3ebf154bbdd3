"""Recordings, against the same episode played by hand, and what lies between two moments, against geometry."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.wrappers import RecordEpisodeStatistics

from auralnav_gym import Action, OracleAgent, Pose, RandomAgent, SyntheticSounds, Wander
from auralnav_gym.recording import Perception, Recorder, Recording, Snapshot, between, play, stereo

SOUNDS = SyntheticSounds(per_kind=2, seconds=1.0)
WORLD = {"sounds": SOUNDS, "listen_seconds": 0.1, "max_episode_steps": 15}
SEED = 5


def make(**kwargs: Any) -> Any:
    return gym.make("AuralNav-v0", **{**WORLD, **kwargs})


def turns(observation: Any) -> int:
    return Action.TURN_LEFT


@pytest.fixture(scope="module")
def walk() -> Recording:
    """Seven moments."""
    return play(make(max_episode_steps=6), RandomAgent(1), seed=SEED)


# ---- What happened ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("actions", ["discrete", "continuous"])
def test_an_episode_is_as_played_by_hand(actions: str) -> None:
    kwargs = {"actions": actions, "source_audio": True, "goal": "example", "source_motion": Wander()}
    recording = play(make(**kwargs), RandomAgent(7), seed=SEED)
    env, agent = make(**kwargs), RandomAgent(7)
    observation, info = env.reset(seed=SEED)
    agent.reset(env)
    terminated = truncated = False
    moment, total = 0, 0.0
    while True:
        now = recording.snapshots[moment]
        np.testing.assert_array_equal(recording.audio[moment], observation["audio"])
        np.testing.assert_array_equal(recording.source_audio[moment], info["source_audio"])
        assert now.path == tuple(env.unwrapped.path)
        assert now.pose == env.unwrapped.pose
        assert now.num_actions == moment
        np.testing.assert_array_equal(now.on, env.unwrapped.on)
        np.testing.assert_array_equal(now.source_positions, env.unwrapped.source_positions)
        np.testing.assert_array_equal(now.scene.source_positions, env.unwrapped.scene.source_positions)
        if terminated or truncated:
            break
        action = agent.act(observation)
        np.testing.assert_array_equal(recording.actions[moment], np.asarray(action, np.float32))
        observation, reward, terminated, truncated, info = env.step(action)
        assert {name: values[moment] for name, values in recording.reward_terms.items()} == info["rewards"]
        assert recording.rewards[moment] == pytest.approx(reward)
        assert recording.action_names[moment] == env.unwrapped.actions.describe(action)
        total += reward
        moment += 1
    assert len(recording) == moment + 1 == len(recording.audio) == len(recording.actions) + 1
    assert recording.rewards.sum() == pytest.approx(total)
    assert (recording.terminated, recording.truncated) == (terminated, truncated)
    assert recording.seed == SEED
    assert recording.agent == "RandomAgent"
    assert recording.world == env.unwrapped.config
    assert recording.audio.dtype == recording.source_audio.dtype == np.float32
    numbers = {
        *("is_success", "num_found", "num_sources", "num_touched", "path_length"),
        *("num_actions", "collision", "spl", "sna", "distance_to_nearest"),
    }
    assert recording.info == {key: info[key] for key in numbers}


def test_an_episode_that_succeeds() -> None:
    recording = play(make(max_episode_steps=100), OracleAgent(), seed=SEED)
    assert recording.terminated
    assert not recording.truncated
    assert recording.info["is_success"]
    assert recording.info["sna"] == 1.0
    assert [snapshot.on.sum() for snapshot in recording.snapshots][-2:] == [1, 0]
    assert recording.source_audio is None
    assert recording.perceptions == ()


def test_a_function_plays_too() -> None:
    recording = play(make(max_episode_steps=3), turns, seed=SEED)
    assert recording.actions == (3, 3, 3)
    assert recording.action_names == ("turn left",) * 3
    assert {type(action) for action in recording.actions} == {int}
    headings = np.unwrap([snapshot.pose.heading for snapshot in recording.snapshots])
    np.testing.assert_allclose(np.diff(headings), math.radians(30))
    assert recording.agent == "function"


def test_a_scene_can_be_played() -> None:
    scene = play(make(), turns, seed=SEED).snapshots[0].scene
    recording = play(make(), turns, options={"scene": scene})
    assert recording.snapshots[0].scene is scene
    assert recording.seed is None


def test_episodes_are_recorded_one_by_one() -> None:
    """Those that end are handed over; one that is left begins anew; and a recording does not change later."""
    ended: list[Recording] = []
    env = Recorder(make(max_episode_steps=3), ended.append)
    with pytest.raises(ResetNeeded, match=r"nothing recorded yet: call reset\(\) first"):
        _ = env.recording
    env.reset(seed=1)
    start = env.recording
    assert (len(start), start.actions, dict(start.reward_terms)) == (1, (), {})
    assert start.rewards.shape == (0,)
    assert not start.terminated
    assert not start.truncated
    env.step(Action.FORWARD)
    under_way = env.recording
    assert len(under_way) == 2
    assert len(start) == 1
    env.reset(seed=2)
    assert ended == []
    for _ in range(3):
        env.step(Action.TURN_RIGHT)
    assert [recording.seed for recording in ended] == [2]
    assert ended[0].actions == (2, 2, 2)
    assert ended[0].truncated
    env.reset()
    assert len(ended[0]) == 4
    assert env.recording.seed is None
    assert len(env.recording) == 1


def test_others_may_write_to_what_the_environment_gave() -> None:
    """As SB3's DummyVecEnv does to infos, and some agents to observations."""
    env = Recorder(RecordEpisodeStatistics(make(max_episode_steps=1)))
    observation, _ = env.reset(seed=SEED)
    heard = observation["audio"].copy()
    observation["audio"][:] = 0
    _, _, _, _, info = env.step(Action.FORWARD)
    info["terminal_observation"] = observation
    info["spl"] = "overwritten"
    np.testing.assert_array_equal(env.recording.audio[0], heard)
    assert env.recording.info["spl"] == 0.0
    assert env.recording.info.keys().isdisjoint({"terminal_observation", "episode", "distances", "rewards"})


# ---- What is heard ---------------------------------------------------------------------------------------------------


def with_ears(recording: Recording, num_ears: int) -> Recording:
    audio = np.arange(len(recording) * num_ears * 4, dtype=np.float32).reshape(len(recording), num_ears, 4)
    return replace(recording, audio=audio)


def test_the_sound_is_what_the_ears_heard_one_moment_after_the_other(walk: Recording) -> None:
    assert walk.sample_rate == 8000
    assert walk.seconds_per_moment == pytest.approx(0.1)
    assert walk.sound.shape == (2, len(walk) * 800)
    for moment in range(len(walk)):
        np.testing.assert_array_equal(walk.sound[:, moment * 800 : (moment + 1) * 800], walk.audio[moment])


def test_of_one_ear_and_of_four(walk: Recording) -> None:
    mono, four = with_ears(walk, 1), with_ears(walk, 4)
    np.testing.assert_array_equal(mono.sound, [mono.audio.ravel()] * 2)
    np.testing.assert_array_equal(four.sound, [four.audio[:, 0].ravel(), four.audio[:, 1].ravel()])
    np.testing.assert_array_equal(stereo(np.array([[1, 2], [3, 4], [5, 6]])), [[1, 2], [3, 4]])
    np.testing.assert_array_equal(stereo(np.array([[1, 2]])), [[1, 2], [1, 2]])


def test_separated_sound(walk: Recording) -> None:
    assert walk.separated_sound.shape == (0, len(walk) * 800)
    nothing = replace(walk, perceptions=(Perception.nothing(),) * len(walk))
    assert nothing.separated_sound.shape == (0, len(walk) * 800)
    rng = np.random.default_rng(0)
    told = tuple(
        replace(Perception.nothing(), sources=rng.standard_normal((3, 800)).astype(np.float32))
        for _ in range(len(walk))
    )
    sound = replace(walk, perceptions=told).separated_sound
    assert sound.shape == (3, len(walk) * 800)
    for moment, perception in enumerate(told):
        np.testing.assert_array_equal(sound[:, moment * 800 : (moment + 1) * 800], perception.sources)


def test_nothing_is_of_no_source_and_no_action() -> None:
    nothing = Perception.nothing()
    assert nothing.sources.shape[0] == nothing.masks.shape[0] == nothing.cues.shape[0] == 0
    assert nothing.values.shape == (0,)
    assert (nothing.masks.ndim, nothing.value_names, nothing.value_kind) == (3, (), "")


# ---- Between two moments ---------------------------------------------------------------------------------------------


def at(snapshot: Snapshot, pose: Pose, offsets: np.ndarray, sources: np.ndarray) -> Snapshot:
    """A moment after ``snapshot``, with ears at offsets (E, D) in the head frame: ahead, to the left, up."""
    turn = np.eye(offsets.shape[1])
    turn[:2, :2] = [
        [math.cos(pose.heading), -math.sin(pose.heading)],
        [math.sin(pose.heading), math.cos(pose.heading)],
    ]
    ears = offsets @ turn.T
    ears[:, :2] += [pose.x, pose.y]
    return replace(snapshot, path=(*snapshot.path, pose), ears=ears, source_positions=sources)


@pytest.mark.parametrize("dim", [3, 2])
@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.9, 1.0, 1.5])
@pytest.mark.parametrize(
    ("headings", "way"),
    [((0.3, 0.8), 0.5), ((3.0, -3.0), 2 * math.pi - 6.0), ((-3.1, 3.1), 6.2 - 2 * math.pi), ((1.0, 1.0), 0.0)],
    ids=["to the left", "to the left, past half a turn", "to the right, past half a turn", "ahead"],
)
def test_on_a_straight_line_and_the_shorter_way_round(
    walk: Recording, dim: int, share: float, headings: tuple[float, float], way: float
) -> None:
    start = walk.snapshots[0]
    offsets = np.array([[0.02, 0.1, 0.05], [0.02, -0.1, 0.05], [-0.1, 0.0, 0.3]])[:, :dim]
    sources = np.array([[1.0, 2.0, 1.5], [3.0, 4.0, 1.5]])[:, :dim]
    before = at(start, Pose(2.0, 3.0, headings[0]), offsets, sources)
    moved = sources + np.array([[1.0, -2.0, 0.0], [0.0, 0.0, 0.0]])[:, :dim]
    after = replace(at(before, Pose(2.4, 2.7, headings[1]), offsets, moved), on=np.array([False, True]), num_touched=2)
    now = between(before, after, share)
    along = min(share, 1.0)
    pose = Pose(2.0 + along * 0.4, 3.0 - along * 0.3, headings[0] + along * way)
    expected = at(before, pose, offsets, sources + along * (moved - sources))
    np.testing.assert_allclose(now.pose.position, pose.position, atol=1e-12)
    assert math.cos(now.pose.heading) == pytest.approx(math.cos(pose.heading))
    assert math.sin(now.pose.heading) == pytest.approx(math.sin(pose.heading))
    np.testing.assert_allclose(now.ears, expected.ears, atol=1e-12)
    np.testing.assert_allclose(now.source_positions, expected.source_positions, atol=1e-12)
    assert now.path[:-1] == after.path[:-1]
    assert now.on.tolist() == [False, True]
    assert now.num_touched == 2
    assert now.scene is after.scene
    # Neither of the two moments has been changed.
    assert (before.pose, after.pose) == (Pose(2.0, 3.0, headings[0]), Pose(2.4, 2.7, headings[1]))
    np.testing.assert_array_equal(after.source_positions, moved)
