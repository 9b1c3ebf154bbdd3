"""Sources that move, and that sound now and then."""

from __future__ import annotations

import itertools
import math
import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from auralnav_gym import (
    Action,
    Body,
    Polygon,
    Pose,
    RandomRinging,
    Ringing,
    Scene,
    SceneSampler,
    ShoeBox,
    Sound,
    SoundBank,
    Source,
    SourceMotion,
    SyntheticSounds,
    Wander,
    Waypoints,
)

SQUARE = ((1.0, 1.0), (4.0, 1.0), (4.0, 5.0), (1.0, 5.0))  # 14 m around
L_SHAPE = Polygon(((0.0, 0.0), (8.0, 0.0), (8.0, 4.0), (4.0, 4.0), (4.0, 8.0), (0.0, 8.0)), height=3.0)
HALL = ShoeBox((8.0, 8.0, 3.0))
NOISE = Sound("noise", "noise", (0.05 * np.random.default_rng(0).standard_normal(8000)).astype(np.float32))


@pytest.fixture(scope="module")
def bank() -> SoundBank:
    return SyntheticSounds(per_kind=2, seconds=1.0)


def walked_slowly(places: np.ndarray, speed: float, time: float) -> np.ndarray:
    """In millimetres, leg after leg, for ever, from the definition."""
    left = speed * time
    while True:
        for start, end in itertools.pairwise(places):
            length = math.dist(start, end)
            if left <= length:
                return start + (end - start) * left / length
            left -= length


@pytest.mark.parametrize("time", [0.0, 0.1, 9.9, 10.0, 23.3, 28.0, 100.0, 1234.5])
def test_a_closed_path_is_walked_round_and_round(time: float) -> None:
    way = np.array([*SQUARE, SQUARE[0]])
    actual = Waypoints(SQUARE, speed=0.5).positions(np.array([time]))
    np.testing.assert_allclose(actual, walked_slowly(way, 0.5, time)[None], atol=1e-9)


@pytest.mark.parametrize("time", [0.0, 3.0, 19.0, 21.0, 39.9, 50.0, 321.0])
def test_an_open_path_is_walked_there_and_back(time: float) -> None:
    way = np.array([*SQUARE, *SQUARE[-2::-1]])
    actual = Waypoints(SQUARE, speed=0.5, closed=False).positions(np.array([time]))
    np.testing.assert_allclose(actual, walked_slowly(way, 0.5, time)[None], atol=1e-9)


def test_a_source_stands_where_it_starts_until_the_episode_begins() -> None:
    np.testing.assert_array_equal(Waypoints(SQUARE).positions(np.array([-5.0, -0.01, 0.0])), [SQUARE[0]] * 3)


def test_a_path_of_one_place_stands_still() -> None:
    np.testing.assert_array_equal(Waypoints(((2.0, 3.0),)).positions(np.array([0.0, 7.0])), [(2.0, 3.0)] * 2)


def test_the_speed_is_kept() -> None:
    times = np.arange(0.0, 60.0, 1e-3)
    steps = np.hypot(*np.diff(Waypoints(SQUARE, speed=0.7).positions(times), axis=0).T) / 1e-3
    assert steps.max() <= 0.7 * (1 + 1e-6)
    assert np.median(steps) == pytest.approx(0.7)


@pytest.mark.parametrize("room", [HALL, L_SHAPE], ids=["shoebox", "L"])
def test_wandering_stays_off_the_walls_and_comes_from_the_seed(room: Any) -> None:
    start = np.array([1.0, 6.0])
    drawn = [Wander(0.4).sample(np.random.default_rng(seed), room, start, 0.5) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    places = drawn[0].positions(np.arange(0.0, 400.0, 0.1))
    np.testing.assert_array_equal(places[0], start)
    assert room.contains(places, 0.5 - 1e-6).all()
    assert np.ptp(places, axis=0).min() > 3.0  # it sees something of the room


def gated_slowly(time: float, on: float, off: float, start: float, ramp: float) -> float:
    since = math.fmod(math.fmod(time + start, on + off) + on + off, on + off)
    if since >= on:
        return 0.0
    edge = min(since, on - since)
    return 1.0 if edge >= ramp else 0.5 * (1 - math.cos(math.pi * edge / ramp))


def test_ringing_is_on_and_off_by_turns() -> None:
    times = np.arange(-3.0, 9.0, 1e-3)
    actual = Ringing(0.7, 1.1, start_seconds=0.3, ramp_seconds=0.05).gate(times)
    expected = [gated_slowly(time, 0.7, 1.1, 0.3, 0.05) for time in times.tolist()]
    np.testing.assert_allclose(actual, expected, atol=1e-6)
    assert actual.min() == 0.0
    assert actual.max() == 1.0
    assert np.abs(np.diff(actual)).max() <= 1e-3 * math.pi / 2 / 0.05 * 1.001  # no jump


def test_ringing_is_drawn_from_the_seed_within_its_limits() -> None:
    sampler = RandomRinging(on_seconds=(0.3, 0.6), off_seconds=(1.0, 4.0))
    drawn = [sampler.sample(np.random.default_rng(seed)) for seed in range(200)]
    assert drawn[7] == sampler.sample(np.random.default_rng(7))
    for limits, values in (
        ((0.3, 0.6), [each.on_seconds for each in drawn]),
        ((1.0, 4.0), [each.off_seconds for each in drawn]),
        ((0.0, 1.0), [each.start_seconds / (each.on_seconds + each.off_seconds) for each in drawn]),
    ):
        low, high = limits
        assert low <= min(values) < low + 0.05 * (high - low)
        assert high >= max(values) > high - 0.05 * (high - low)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Waypoints(()), "places: expected at least one pair"),
        (lambda: Waypoints(((0.0, math.nan),)), "places: expected at least one pair"),
        (lambda: Waypoints(SQUARE, speed=0.0), "speed: expected more than 0 m/s"),
        (lambda: Wander(speed=-1.0), "speed: expected more than 0 m/s"),
        (lambda: Wander(num_places=1), "num_places: expected a whole number of 2 or more"),
        (lambda: Ringing(on_seconds=0.0), "on_seconds: expected more than 0 seconds"),
        (lambda: Ringing(1.0, ramp_seconds=0.6), r"ramp_seconds: expected seconds in \(0, 0.5\]"),
        (lambda: Ringing(start_seconds=math.inf), "start_seconds: expected a finite number"),
        (lambda: RandomRinging(on_seconds=(2.0, 1.0)), "on_seconds: expected .shortest, longest."),
        (lambda: Wander().sample(np.random.default_rng(0), HALL, np.zeros(2), 4.1), "source_motion: expected room"),
    ],
)
def test_what_cannot_be_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def moving_scene(motion: SourceMotion, place: tuple[float, float], pose: Pose) -> Scene:
    return Scene(HALL, (Source((*place, 1.5), NOISE, motion=motion),), pose)


def test_a_scene_refuses_a_motion_that_leaves_the_room_or_starts_elsewhere() -> None:
    pose = Pose(6.0, 6.0, 0.0)
    with pytest.raises(ValueError, match=r"sources\[0\].motion: expected places inside the room"):
        moving_scene(Waypoints(((1.0, 1.0), (-1.0, 1.0))), (1.0, 1.0), pose)
    with pytest.raises(ValueError, match=r"sources\[0\].motion: expected to start at the source's"):
        moving_scene(Waypoints(((1.0, 1.0), (2.0, 1.0))), (1.5, 1.0), pose)


def test_what_is_optional_leaves_the_rest_of_a_scene_as_it_is(bank: SoundBank) -> None:
    def draw(**kwargs: Any) -> Scene:
        return SceneSampler(HALL, bank, num_sources=3, **kwargs).sample(np.random.default_rng(5))

    plain = draw()
    busy = draw(source_level_db=(-6.0, 3.0), source_activity=RandomRinging(), source_motion=Wander())
    for one, other in zip(plain.sources, busy.sources, strict=True):
        assert (one.position, one.sound, one.start) == (other.position, other.sound, other.start)
        assert -6.0 <= other.level_db <= 3.0
        assert isinstance(other.activity, Ringing)
        assert isinstance(other.motion, Waypoints)
    assert len({source.level_db for source in busy.sources}) == 3
    assert plain.pose == busy.pose
    assert plain.is_still
    assert not busy.is_still
    assert [source.level_db for source in draw(source_level_db=(4.0, 4.0)).sources] == [4.0] * 3


def test_distances_are_to_where_sources_are_now(bank: SoundBank) -> None:
    """The source comes along the x axis at 1 m/s while the agent turns on the spot: found when it is in reach."""
    env = gym.make("AuralNav-v0", sounds=bank)
    path = Waypoints(((6.0, 4.0), (1.0, 4.0)), speed=1.0)
    env.reset(options={"scene": moving_scene(path, (6.0, 4.0), Pose(2.0, 4.0, 0.0))})
    for step in range(1, 7):
        *_, terminated, _, info = env.step(Action.TURN_LEFT)
        assert info["distances"] == pytest.approx([4.0 - 0.5 * step])
        assert terminated == info["is_success"] == (step == 6)


def test_progress_counts_what_the_source_walks(bank: SoundBank) -> None:
    env = gym.make("AuralNav-v0", sounds=bank, rewards={"progress": 1.0})
    path = Waypoints(((6.0, 4.0), (7.5, 4.0)), speed=0.4)
    env.reset(options={"scene": moving_scene(path, (6.0, 4.0), Pose(2.0, 4.0, 0.0))})
    *_, info = env.step(Action.FORWARD)
    assert info["rewards"]["progress"] == pytest.approx(0.5 - 0.2)


@pytest.mark.parametrize("settings", [{"source_motion": Wander(0.5)}, {"source_activity": RandomRinging()}])
def test_the_same_seed_gives_the_same_bits(settings: dict[str, Any], bank: SoundBank) -> None:
    traces = []
    for _ in range(2):
        env = gym.make("AuralNav-v0", sounds=pickle.loads(pickle.dumps(bank)), **settings)
        heard = [env.reset(seed=3)[0]["audio"], *(env.step(action)[0]["audio"] for action in (0, 3, 0, 2))]
        traces.append(np.concatenate(heard, axis=1))
    np.testing.assert_array_equal(*traces)
    assert np.abs(traces[0]).max() > 0


class Pendulum(SourceMotion):
    """A user's own: to and fro along x, 1 m to either side, once in ten seconds."""

    speed = 2 * math.pi / 10

    def positions(self, times: np.ndarray) -> np.ndarray:
        x = 4.0 + np.sin(2 * np.pi / 10 * np.maximum(times, 0.0))
        return np.stack([x, np.full_like(x, 2.0)], axis=-1)


def test_a_motion_of_ones_own(bank: SoundBank) -> None:
    env = gym.make("AuralNav-v0", sounds=bank)
    env.reset(options={"scene": moving_scene(Pendulum(), (4.0, 2.0), Pose(4.0, 6.0, 0.0))})
    for _ in range(5):
        *_, info = env.step(Action.TURN_LEFT)
    assert info["distances"] == pytest.approx([math.hypot(1.0, 4.0)])


def test_a_body_reaches_a_wandering_source() -> None:
    assert Wander().speed < Body().step_size / 0.5  # the agent is the faster one
