"""Sources that are not to be found, and how the agent is told which ones are. The truth is the rules of the game."""

from __future__ import annotations

import copy
import math
import pickle
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auralnav_gym import (
    Action,
    Body,
    Example,
    OracleAgent,
    Pose,
    RandomShoeBox,
    Scene,
    SceneSampler,
    ShoeBox,
    Sound,
    SoundBank,
    Source,
    Suite,
    SyntheticSounds,
)

ROOM = ShoeBox((8.0, 8.0, 3.0))
KINDS = ("a", "b", "c", "d")
N = 400


def noise(kind: str, index: int = 0) -> Sound:
    rng = np.random.default_rng([ord(kind[0]), index])
    return Sound(f"{kind}-{index}", kind, (0.05 * rng.standard_normal(900)).astype(np.float32))


@pytest.fixture(scope="module")
def bank() -> SoundBank:
    return SoundBank([noise(kind, index) for index in range(3) for kind in KINDS], 8000)


def make_env(bank: SoundBank, **keywords) -> gym.Env:
    return gym.make("AuralNav-v0", **{"sounds": bank, "listen_seconds": N / 8000, "source_audio": True, **keywords})


def scene_of(targets, distractors=(), pose: Pose = Pose(1.0, 4.0, 0.0), **more) -> Scene:  # noqa: B008 (frozen)
    """Targets of kind "a" and distractors of kind "b", at places in the plane."""
    sources = [Source((*place, 1.5), noise("a", index)) for index, place in enumerate(targets)]
    sources += [Source((*place, 1.5), noise("b", index), is_target=False) for index, place in enumerate(distractors)]
    return Scene(ROOM, tuple(sources), pose, **more)


# ---- Scenes ----------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    room=st.sampled_from([ROOM, ShoeBox((8.0, 8.0)), RandomShoeBox(low=(7.0, 7.0, 2.5), high=(9.0, 9.0, 3.0))]),
    num_targets=st.integers(1, 2),
    num_distractors=st.integers(0, 2),
    target_kinds=st.none() | st.sets(st.sampled_from(KINDS), min_size=1),
    distractor_kinds=st.none() | st.sets(st.sampled_from(KINDS), min_size=2),
)
def test_scenes_keep_to_the_rules(
    bank: SoundBank, seed: int, room, num_targets: int, num_distractors: int, target_kinds, distractor_kinds
) -> None:
    sampler = SceneSampler(
        room,
        bank,
        num_targets,
        Body(),
        wall_clearance=0.4,
        source_spacing=0.9,
        start_distance=1.1,
        num_distractors=num_distractors,
        distractor_level_db=5.0,
        target_kinds=target_kinds,
        distractor_kinds=distractor_kinds,
    )
    scene = sampler.sample(np.random.default_rng(seed))
    assert scene.is_target.tolist() == [True] * num_targets + [False] * num_distractors
    targets, distractors = scene.sources[:num_targets], scene.sources[num_targets:]
    assert {source.level_db for source in targets} == {0.0}
    assert all(source.level_db == 5.0 for source in distractors)
    assert len({source.sound.name for source in scene.sources}) == len(scene.sources)

    kinds = {source.sound.kind for source in targets}
    assert kinds <= set(target_kinds or KINDS)
    if num_distractors or target_kinds:
        assert len(kinds) == 1
    else:
        assert len(kinds) == num_targets  # as different as possible
    of_distractors = {source.sound.kind for source in distractors}
    assert of_distractors <= set(distractor_kinds or KINDS) - kinds
    assert len(of_distractors) == min(num_distractors, len(set(distractor_kinds or KINDS) - kinds))

    places = scene.source_positions[:, :2]
    assert scene.room.contains(places, 0.4).all()
    assert (np.linalg.norm(places - scene.pose.position, axis=1) >= 1.1).all()
    gaps = np.linalg.norm(places[:, None] - places, axis=-1)
    assert (gaps[~np.eye(len(places), dtype=bool)] >= 0.9).all()


@pytest.mark.parametrize("target_kinds", [None, ("b", "d")], ids=["all", "two"])
def test_every_kind_is_as_likely_however_many_sounds_it_has(bank: SoundBank, target_kinds) -> None:
    lopsided = SoundBank([*bank, *(noise("a", index) for index in range(3, 30))], 8000)
    sampler = SceneSampler(ROOM, lopsided, 1, num_distractors=1, target_kinds=target_kinds)
    rng = np.random.default_rng(0)
    drawn = [sampler.sample(rng).sources for _ in range(600)]
    of_targets = [target.sound.kind for target, _ in drawn]
    for kind in KINDS:
        share = (kind in (target_kinds or KINDS)) / len(target_kinds or KINDS)
        assert of_targets.count(kind) / 600 == pytest.approx(share, abs=5 * math.sqrt(share * (1 - share) / 600))
    # The one distractor's kind is any of the other three.
    pairs = {(target.sound.kind, distractor.sound.kind) for target, distractor in drawn}
    assert len(pairs) == 3 * len(target_kinds or KINDS)


def test_what_does_not_fit_names_both_numbers(bank: SoundBank) -> None:
    sampler = SceneSampler(ROOM, bank, 2, num_distractors=30)
    with pytest.raises(ValueError, match=r"num_sources, num_distractors: 32 source\(s\) and the agent do not fit"):
        sampler.sample(np.random.default_rng(0))


def test_a_scene_needs_a_target() -> None:
    with pytest.raises(ValueError, match=r"sources: expected at least one target, actual: 2 distractor\(s\)"):
        scene_of([], [(4.0, 4.0), (6.0, 4.0)])


def test_the_same_seed_draws_the_same_scene_whatever_the_order_of_sets() -> None:
    """Python's sets of strings have another order in every process."""
    script = """
import gymnasium as gym, auralnav_gym
env = gym.make("AuralNav-v0", num_distractors=3, goal="example", sounds=auralnav_gym.SyntheticSounds(per_kind=2),
               target_kinds={"speech", "bird", "bell"}, distractor_kinds={"siren", "alarm", "water", "engine", "bird"})
for seed in range(6):
    env.reset(seed=seed)
    scene = env.unwrapped.scene
    print([(source.sound.name, source.position, source.start) for source in scene.sources])
    print(scene.example.sound.name, scene.example.start)
"""
    outputs = {
        subprocess.run(
            [sys.executable, "-c", script],
            check=True,
            capture_output=True,
            text=True,
            timeout=120,
            env={"PYTHONHASHSEED": number, "OMP_NUM_THREADS": "1", "PATH": ""},
        ).stdout
        for number in ("1", "2")
    }
    assert len(outputs) == 1
    assert len(outputs.pop().splitlines()) == 12


# ---- Touching --------------------------------------------------------------------------------------------------------

# From x = 1 in steps of 0.5 on a line with the distractor at x = 4 and a capture radius of 1: at x = 3 it is entered.
ALONG = [Action.FORWARD] * 4


def test_touching_ends_the_episode_without_success(bank: SoundBank) -> None:
    env = make_env(bank, touch="end", rewards={"touched": -7.0, "walk": 0.0, "progress": 0.0})
    env.reset(options={"scene": scene_of([(1.0, 7.0)], [(4.0, 4.0)])})
    steps = [env.step(action) for action in ALONG]
    assert [step[2] for step in steps] == [False, False, False, True]
    assert [step[4]["num_touched"] for step in steps] == [0, 0, 0, 1]
    assert [step[1] for step in steps] == pytest.approx([-0.002] * 3 + [-0.002 - 7.0])
    assert not any(step[3] for step in steps)
    last = steps[-1][4]
    assert last["rewards"]["touched"] == -7.0
    assert not last["is_success"]
    assert (last["num_found"], last["num_sources"], last["spl"], last["sna"]) == (0, 1, 0.0, 0.0)


def test_touching_costs_each_time_it_is_entered(bank: SoundBank) -> None:
    env = make_env(bank, touch="cost", rewards={"touched": -7.0})
    env.reset(options={"scene": scene_of([(1.0, 7.0)], [(4.0, 4.0)])})
    # At x = 3, where it stays for a turn; then on to x = 3.5, back to 3, and out to 2.5; then in again, at x = 3.
    more = [Action.TURN_LEFT, Action.TURN_RIGHT, Action.FORWARD, Action.BACKWARD, Action.BACKWARD, Action.FORWARD]
    steps = [env.step(action) for action in [*ALONG, *more]]
    entered = [0, 0, 0, 1, 0, 0, 0, 0, 0, 1]
    assert [step[4]["rewards"]["touched"] for step in steps] == [-7.0 * touches for touches in entered]
    assert [step[4]["num_touched"] for step in steps] == np.cumsum(entered).tolist()
    assert not any(step[2] for step in steps)


def test_a_distractor_plays_on_for_ever(bank: SoundBank) -> None:
    env = make_env(bank, touch="cost")
    env.reset(options={"scene": scene_of([(1.0, 7.0)], [(4.0, 4.0)])})
    for _ in range(12):  # in, through, out
        *_, info = env.step(Action.FORWARD)
        assert np.abs(info["source_audio"][1]).max() > 1e-3
    assert env.unwrapped.on.tolist() == [True, True]
    assert info["num_touched"] == 1
    assert info["is_target"].tolist() == [True, False]
    assert info["is_target"].dtype == bool


def test_targets_alone_count_as_found(bank: SoundBank) -> None:
    """Of a target at x = 3 and a distractor beside the way, which the agent passes at 1.1 m, nearer than the target."""
    env = make_env(bank, rewards={"progress": 1.0, "proximity": 1.0, "walk": 0.0, "step": 0.0})
    _, info = env.reset(options={"scene": scene_of([(4.0, 4.0)], [(2.0, 5.1)])})
    assert (info["num_found"], info["num_sources"], info["num_touched"]) == (0, 1, 0)
    np.testing.assert_allclose(info["distances"], [3.0, math.hypot(1.0, 1.1)])
    assert info["distance_to_nearest"] == pytest.approx(3.0)
    _, reward, _, _, info = env.step(Action.FORWARD)
    assert reward == pytest.approx(0.5 + 1 / 2.5)
    assert info["distance_to_nearest"] == pytest.approx(2.5)
    for _ in range(2):
        env.step(Action.FORWARD)
    _, reward, terminated, _, info = env.step(Action.FORWARD)
    assert terminated
    assert reward == pytest.approx(0.5 + 1.0 + 1.0)
    assert info["is_success"]
    assert (info["num_found"], info["num_sources"], info["distance_to_nearest"]) == (1, 1, 0.0)
    assert env.unwrapped.on.tolist() == [False, True]
    assert info["spl"] == info["sna"] == pytest.approx(1.0)


@pytest.mark.parametrize("touch", ["end", "cost"])
def test_finding_the_last_target_and_touching_at_once(bank: SoundBank, touch: str) -> None:
    """Both discs are entered at x = 3."""
    env = make_env(bank, touch=touch)
    env.reset(options={"scene": scene_of([(4.0, 4.0)], [(4.0, 4.0)])})
    *_, (_, _, terminated, _, info) = [env.step(action) for action in ALONG]
    assert terminated
    assert (info["num_found"], info["num_touched"]) == (1, 1)
    assert info["is_success"] == (touch == "cost")
    assert info["spl"] == (1.0 if touch == "cost" else 0.0)


def test_spl_leaves_distractors_out_and_sna_walks_around_them(bank: SoundBank) -> None:
    """A distractor on the straight line, of which the shortest tour knows nothing."""
    scene = scene_of([(7.0, 4.0)], [(4.0, 4.0)])
    env = make_env(bank, touch="cost")
    env.reset(options={"scene": scene})
    *_, (_, _, terminated, _, through) = [env.step(Action.FORWARD) for _ in range(10)]
    assert terminated
    assert through["num_touched"] == 1
    # Straight through it takes 10 steps, and nobody can do with fewer, not even through distractors.
    assert through["spl"] == through["sna"] == pytest.approx(1.0)

    observation, _ = env.reset(options={"scene": scene})
    agent = OracleAgent()
    agent.reset(env)
    terminated = False
    while not terminated:
        observation, _, terminated, _, around = env.step(agent.act(observation))
    assert around["is_success"]
    assert around["num_touched"] == 0
    assert around["num_actions"] > 10
    assert around["sna"] == 1.0
    assert around["spl"] == pytest.approx(5.0 / around["path_length"])  # 6 m to the target, 1 m of it its disc
    assert around["path_length"] > 5.0


def test_distractors_are_louder_by_what_is_asked(bank: SoundBank) -> None:
    def heard(level: float) -> np.ndarray:
        env = make_env(bank, num_distractors=2, distractor_level_db=level, target_kinds=("c",))
        return env.reset(seed=5)[1]["source_audio"]

    plain, louder = heard(0.0), heard(6.0)
    np.testing.assert_array_equal(louder[:2], plain[:2])
    np.testing.assert_allclose(louder[2:], plain[2:] * 10 ** (6.0 / 20), rtol=1e-4, atol=1e-8)


def test_what_is_registered() -> None:
    env = gym.make("AuralNav-Distractors-v0")
    inner = env.unwrapped
    assert (inner.num_sources, inner.num_distractors, inner.touch, inner.goal) == (1, 2, "end", None)
    for seed in range(5):
        env.reset(seed=seed)
        target, *distractors = inner.scene.sources
        assert target.sound.kind == "speech"
        assert [source.is_target for source in inner.scene.sources] == [True, False, False]
        assert [source.level_db for source in inner.scene.sources] == [0.0, 6.0, 6.0]
        assert "speech" not in {source.sound.kind for source in distractors}
    assert set(env.observation_space.spaces) == {"audio", "agent"}


# ---- Goals -----------------------------------------------------------------------------------------------------------


def test_the_class_is_one_hot_over_the_kinds(bank: SoundBank) -> None:
    env = make_env(bank, goal="class", num_distractors=1)
    assert env.unwrapped.kinds == KINDS
    assert env.observation_space["goal"] == gym.spaces.Box(0.0, 1.0, (4,), np.float32)
    seen = set()
    for seed in range(20):
        observation, _ = env.reset(seed=seed)
        kind = env.unwrapped.scene.sources[0].sound.kind
        expected = [float(kind == other) for other in ("a", "b", "c", "d")]
        for _ in range(3):
            assert observation["goal"].tolist() == expected
            assert observation in env.observation_space
            observation, *_ = env.step(Action.TURN_LEFT)
        seen.add(kind)
    assert seen == set(KINDS)


def test_the_example_is_another_sound_of_the_kind(bank: SoundBank) -> None:
    env = make_env(bank, goal="example", num_distractors=1, num_sources=2)
    assert env.observation_space["example"] == gym.spaces.Box(-1.0, 1.0, (N,), np.float32)
    others = set()
    for seed in range(30):
        observation, _ = env.reset(seed=seed)
        scene = env.unwrapped.scene
        assert scene.example.sound.kind == scene.sources[0].sound.kind
        assert scene.example.sound not in [source.sound for source in scene.sources]
        # What a loop plays from there on.
        looped = np.concatenate([scene.example.sound.signal] * 3)
        clip = looped[scene.example.start : scene.example.start + N]
        for _ in range(3):
            np.testing.assert_array_equal(observation["example"], clip)
            assert observation in env.observation_space
            observation["example"][:] = 9.0  # the agent's own
            observation, *_ = env.step(Action.TURN_LEFT)
        others.add(scene.example.sound.name)
    assert len(others) > 6  # of 12


def test_the_example_is_the_same_sound_only_where_there_is_no_other() -> None:
    env = make_env(SoundBank([noise("a"), noise("b")], 8000), goal="example", num_distractors=1)
    for seed in range(5):
        env.reset(seed=seed)
        scene = env.unwrapped.scene
        assert scene.example.sound is scene.sources[0].sound


def test_the_example_is_no_pause() -> None:
    """Recordings pause: of these, a clip out of two is silent as a whole, and a draw that does not look gives it."""
    rng = np.random.default_rng(0)
    signal = np.where(np.arange(4 * N) < N, 0.05 * rng.standard_normal(4 * N), 0.0).astype(np.float32)
    sounds = SoundBank([Sound(f"{kind}-{index}", kind, signal) for kind in "ab" for index in "01"], 8000)
    env = make_env(sounds, goal="example")
    levels = [float(np.abs(env.reset(seed=seed)[0]["example"]).max()) for seed in range(40)]
    assert sum(level == 0 for level in levels) <= 3  # 40 x 0.5^8 = 0.2 are expected


@pytest.mark.parametrize("goal", ["class", "example"])
def test_targets_that_are_told_of_are_of_one_kind(bank: SoundBank, goal: str) -> None:
    env = make_env(bank, goal=goal, num_sources=3)
    kinds = []
    for seed in range(12):
        env.reset(seed=seed)
        (kind,) = {source.sound.kind for source in env.unwrapped.scene.sources}
        kinds.append(kind)
    assert len(set(kinds)) > 1


def test_scenes_in_which_the_goal_cannot_be_told_are_refused(bank: SoundBank) -> None:
    two_kinds = Scene(
        ROOM, (Source((4.0, 4.0, 1.5), noise("a")), Source((6.0, 4.0, 1.5), noise("b"))), Pose(1.0, 4.0, 0.0)
    )
    strange = Scene(ROOM, (Source((4.0, 4.0, 1.5), noise("x")),), Pose(1.0, 4.0, 0.0))
    env = make_env(bank, goal="class")
    for scene, kinds in ((two_kinds, r"\['a', 'b'\]"), (strange, r"\['x'\]")):
        with pytest.raises(
            ValueError, match=rf'scene: expected targets of one kind among .* goal="class", actual: {kinds}'
        ):
            env.reset(options={"scene": scene})
    env.reset(options={"scene": scene_of([(4.0, 4.0)], [(6.0, 4.0)])})

    env = make_env(bank, goal="example")
    with pytest.raises(ValueError, match=r'scene: expected an example \(Scene.example\) with goal="example"'):
        env.reset(options={"scene": two_kinds})
    example = Example(noise("a", 7), 880)
    observation, _ = env.reset(options={"scene": scene_of([(4.0, 4.0)], example=example)})
    expected = np.concatenate([noise("a", 7).signal[880:], noise("a", 7).signal[: N - 20]])
    np.testing.assert_array_equal(observation["example"], expected)


def test_examples_clip_at_full_scale() -> None:
    loud = Sound("loud", "a", np.array([2.0, -3.0, 0.5], dtype=np.float32))
    assert Example(loud, 1).clip(5).tolist() == [-1.0, 0.5, 1.0, -1.0, 0.5]


# ---- Copies and suites -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))], ids=["copy", "pickle"]
)
@pytest.mark.parametrize("goal", ["class", "example"])
def test_specs_environments_and_scenes_can_be_copied(bank: SoundBank, goal: str, duplicate) -> None:
    def play(env: gym.Env, scene: Scene | None = None) -> list[bytes]:
        observation, _ = env.reset(seed=3, options={"scene": scene} if scene else None)
        seen = [observation[key].tobytes() for key in sorted(observation)]
        observation, reward, *_ = env.step(Action.FORWARD)
        return [*seen, *(observation[key].tobytes() for key in sorted(observation)), np.float64(reward).tobytes()]

    env = make_env(bank, goal=goal, num_distractors=2, touch="cost")
    played = [play(duplicate(env)), play(gym.make(duplicate(env.spec))), play(env)]
    played.append(play(env, duplicate(env.unwrapped.scene)))
    assert played == [played[0]] * 4
    assert len(set(played[0])) > 4


def test_suites_tell_by_class_only_what_train_and_test_sounds_share() -> None:
    bank = SyntheticSounds(per_kind=2, seconds=1.0)
    world = {"goal": "class", "listen_seconds": N / 8000}
    suite = Suite("class-v1", seeds=range(3), env_kwargs=world, sounds=bank)
    assert pickle.loads(pickle.dumps(suite)).fingerprint() == suite.fingerprint()
    shapes = {env.observation_space["goal"].shape for env in (suite.make_env(), suite.make_training_env())}
    assert shapes == {(10,)}
    alone = SoundBank([sound for sound in bank if sound.name not in ("bell-01", "bird-01")], 8000)
    suite = Suite("alone-v1", seeds=range(3), env_kwargs=world, sounds=alone)
    with pytest.raises(ValueError, match='sounds: expected train and test sounds of the same kinds with goal="class"'):
        suite.make_env()
