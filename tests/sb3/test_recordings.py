"""Recordings of a suite's episodes, against `evaluate` and against what the model was given when it acted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sb3_contrib import QRDQN, RecurrentPPO
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv, VecFrameStack, VecMonitor, VecNormalize

from auralnav_gym import GreedyAgent, RandomAgent, Suite, SyntheticSounds
from auralnav_gym.recording import Recording
from auralnav_sb3 import (
    SeparatedCuesExtractor,
    SeparatorConfig,
    VecSeparatedCues,
    evaluate,
    load_agent,
    to_audio,
)
from auralnav_sb3.evaluation import Episode
from auralnav_sb3.recordings import record

SEEDS = (11, 12, 13)
WORLD = {"listen_seconds": 0.1, "max_episode_steps": 12, "start_distance": 1.2}
N = 800
RENAMED = "somebody"


@pytest.fixture(autouse=True)
def _single_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frozen separators compute in float32 on every CPU, so that a batch of all moments differs by that rounding only:
    1e-7 of what is heard, and up to 1e-5 after the network."""
    monkeypatch.setattr("auralnav_sb3.separation.has_bfloat16_units", lambda: False)


@pytest.fixture(scope="module")
def sounds() -> SyntheticSounds:
    return SyntheticSounds(per_kind=2, seconds=1.0)


@pytest.fixture(scope="module")
def suite(sounds: SyntheticSounds) -> Suite:
    return Suite("short-v1", seeds=SEEDS, env_kwargs=WORLD, sounds=sounds)


def outcome(recording: Recording) -> Episode:
    info = recording.info
    return Episode(
        success=float(info["is_success"]),
        found=info["num_found"] / info["num_sources"],
        spl=info["spl"],
        sna=info["sna"],
        # Rewards are added up in another order here.
        episode_return=pytest.approx(recording.rewards.sum(), abs=1e-9),
        steps=len(recording.actions),
    )


def check(agent: Any, suite: Suite, wrap: Any = None, name: str = "", **kwargs: Any) -> tuple[Recording, ...]:
    """Record a suite, and compare what comes of the episodes with `evaluate`."""
    recordings = record(agent, suite, wrap, num_episodes=None, name=name, **kwargs)
    assert list(evaluate(agent, suite, wrap, num_envs=1, **kwargs).episodes) == list(map(outcome, recordings))
    assert [recording.seed for recording in recordings] == list(suite.seeds)
    assert [recording.title for recording in recordings] == [f"{suite.name}, episode {i}" for i in range(len(suite))]
    assert {recording.agent for recording in recordings} == {name or type(agent).__name__}
    for recording in recordings:
        assert recording.terminated or recording.truncated
        assert len(recording) == len(recording.actions) + 1 == len(recording.audio)
    return recordings


def with_cues(suite: Suite, tiny: SeparatorConfig, ideal: bool = False, **kwargs: Any) -> VecSeparatedCues:
    venv = make_vec_env(suite.make_training_env, 1, seed=0, env_kwargs={"source_audio": ideal})
    masks: dict[str, Any] = {"ideal": True} if ideal else {"separator": tiny}
    return VecSeparatedCues(venv, **masks, **kwargs)


def cues_of(venv: VecSeparatedCues) -> Callable[[VecEnv], VecEnv]:
    return lambda raw: VecSeparatedCues(raw, venv.extractor, ideal=venv.ideal, slots=venv.slots)


def enlarged(model: Any) -> Any:
    """The model with larger weights, but for the separator's: what it does depends on what it hears."""
    with torch.no_grad():
        for name, weights in model.policy.named_parameters():
            if "separator" not in name:
                generator = torch.Generator().manual_seed(weights.numel())
                weights.copy_(0.5 * torch.randn(weights.shape, generator=generator))
    return model


class Spied:
    """What a model was given to act on, and what it did, episode by episode."""

    def __init__(self, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.given: list[list[Any]] = []
        predict = model.predict

        def spied(observation: Any, state: Any = None, starts: Any = None, deterministic: bool = False) -> Any:
            if starts[0]:
                self.given.append([])
            self.given[-1].append(np.copy(observation))
            return predict(observation, state, starts, deterministic)

        monkeypatch.setattr(model, "predict", spied)


# ---- Agents without a network ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("actions", ["discrete", "continuous"])
def test_agents_that_tell_nothing(suite: Suite, actions: str) -> None:
    world = replace(suite, env_kwargs={**WORLD, "actions": actions})
    assert all(recording.perceptions == () for recording in check(GreedyAgent(), world))
    recordings = record(RandomAgent(3), world, num_episodes=3)
    assert list(evaluate(RandomAgent(3), world).episodes) == list(map(outcome, recordings))
    for recording in check(lambda observation: world.config.actions.encode(2), world, name=RENAMED):  # to the right
        turns = np.diff(np.unwrap([snapshot.pose.heading for snapshot in recording.snapshots]))
        np.testing.assert_allclose(turns, -recording.snapshots[0].body.turn_angle)


def test_it_is_heard_what_the_episode_sounds_like(suite: Suite) -> None:
    """The audio of each moment, and the sources alone, are what the environment gives to who plays the same."""
    recordings = record(GreedyAgent(), suite, num_episodes=2, env_kwargs={"source_audio": True})
    env: Any = suite.make_env(source_audio=True)
    for seed, recording in zip(SEEDS, recordings, strict=False):
        observation, info = env.reset(seed=seed)
        assert recording.source_audio is not None
        for moment, action in enumerate((*recording.actions, None)):
            np.testing.assert_array_equal(recording.audio[moment], observation["audio"])
            np.testing.assert_array_equal(recording.source_audio[moment], info["source_audio"])
            if action is not None:
                observation, _, terminated, truncated, info = env.step(action)
        assert (terminated, truncated) == (recording.terminated, recording.truncated)
    env.close()


# ---- Models on audio -------------------------------------------------------------------------------------------------


def stacks(recording: Recording, count: int) -> list[dict[str, torch.Tensor]]:
    """What a model that remembers so many windows of audio is given in each moment; zeros come before the first."""
    silence = np.zeros((count - 1, *recording.audio.shape[1:]), np.float32)
    heard = np.concatenate((silence, recording.audio))
    return [
        {"audio": torch.as_tensor(np.concatenate(list(heard[moment : moment + count]), axis=-1)[None])}
        for moment in range(len(recording))
    ]


@pytest.mark.parametrize("num_frames", [1, 3])
def test_a_dqn_on_audio(suite: Suite, tiny: SeparatorConfig, num_frames: int) -> None:
    """The values of every moment, that after the last action too, are the network's of the last windows; the sources
    and the cues are the separator's of the newest."""
    kwargs = {
        "features_extractor_class": SeparatedCuesExtractor,
        "features_extractor_kwargs": {"separator": tiny, "num_frames": num_frames},
    }
    venv: VecEnv = make_vec_env(suite.make_training_env, 1, env_kwargs={"pose": False})
    venv = VecFrameStack(venv, num_frames) if num_frames > 1 else venv
    model = enlarged(DQN("MultiInputPolicy", venv, policy_kwargs=kwargs, seed=0, buffer_size=10))
    taken = set()
    for recording in check(model, suite):
        names = {perception.value_names for perception in recording.perceptions}
        assert names == {("forward", "backward", "turn right", "turn left")}
        assert {perception.value_kind for perception in recording.perceptions} == {"Q-value"}
        assert len(recording.perceptions) == len(recording)
        for told, given in zip(recording.perceptions, stacks(recording, num_frames), strict=True):
            with torch.no_grad():
                features = model.policy.q_net.extract_features(given, model.policy.q_net.features_extractor)
                values = model.policy.q_net(given)[0].numpy()
                sources = model.policy.q_net.features_extractor.separator(given["audio"][..., -N:])[0].numpy()
            np.testing.assert_array_equal(told.values, values)
            np.testing.assert_allclose(told.sources, sources, atol=1e-5 * np.abs(sources).max())
            np.testing.assert_allclose(told.cues.ravel(), features[0, -8:], atol=1e-5)
        best = [int(perception.values.argmax()) for perception in recording.perceptions]
        assert list(recording.actions) == best[:-1]
        taken |= set(best)
    assert len(taken) > 1


def test_a_shipped_agent() -> None:
    """QR-DQN with four frames, in a published suite by its name."""
    agent = load_agent("two-sources", device="cpu")
    (recording,) = record(agent, "two-sources-v1", num_episodes=1, name=RENAMED)
    (episode,) = evaluate(agent, "two-sources-v1", num_envs=1, num_episodes=1).episodes
    assert outcome(recording) == episode
    assert isinstance(agent, QRDQN)
    assert recording.agent == RENAMED
    best = [int(perception.values.argmax()) for perception in recording.perceptions]
    assert list(recording.actions) == best[:-1]
    perception = recording.perceptions[0]
    assert recording.title == "two-sources-v1, episode 0"
    assert perception.hop == 128
    assert perception.masks.shape == (2, 129, 4000 // 128 + 1)
    assert recording.separated_sound.shape == (2, len(recording) * 4000)
    energies = np.array([np.square(each.sources).sum(axis=1) for each in recording.perceptions])
    assert (energies[:, 0] >= energies[:, 1]).all()  # the loudest first, as it was trained
    assert (energies > 0).all()


def test_a_model_without_an_extractor_tells_its_values_alone(suite: Suite) -> None:
    model = PPO("MultiInputPolicy", make_vec_env(suite.make_training_env, 1), seed=0, n_steps=8, batch_size=8)
    for recording in check(model, suite):
        for told in recording.perceptions:
            assert told.sources.shape[0] == told.cues.shape[0] == told.masks.shape[0] == 0
            assert told.value_kind == "probability"
            assert told.values.sum() == pytest.approx(1.0, rel=1e-6)
        assert recording.separated_sound.shape == (0, len(recording) * N)


def test_continuous_actions(suite: Suite, tiny: SeparatorConfig) -> None:
    """SAC tells its actions themselves, and theirs are the names of speed and turn rate."""
    driving = replace(suite, name="drives", env_kwargs={**WORLD, "actions": "continuous"})
    kwargs = {"features_extractor_class": SeparatedCuesExtractor, "features_extractor_kwargs": {"separator": tiny}}
    model = SAC("MultiInputPolicy", driving.make_training_env(), policy_kwargs=kwargs, seed=0, buffer_size=10)
    with torch.no_grad():  # actor and critic have separators of their own, which part as they learn
        next(iter(model.policy.critic.features_extractor.separator.parameters())).add_(1.0)
    for recording in check(model, driving):
        told = recording.perceptions
        assert {(each.value_kind, each.value_names) for each in told} == {("action", ("forward", "turn"))}
        np.testing.assert_array_equal(recording.actions, [each.values for each in told[:-1]])
        assert not np.array_equal(told[-1].values, told[-2].values)
        assert told[0].sources.shape == (2, N)


# ---- Models on cues --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_frames", [1, 3])
@pytest.mark.parametrize("kind", ["separated", "ideal"])
def test_a_model_on_cues(
    suite: Suite, tiny: SeparatorConfig, monkeypatch: pytest.MonkeyPatch, num_frames: int, kind: str
) -> None:
    """What is told of each moment is what the model was given; after the last action, what it would have been given."""
    ideal = kind == "ideal"
    venv = with_cues(suite, tiny, ideal, order="energy")

    def wrap(raw: VecEnv) -> VecEnv:
        return VecFrameStack(cues_of(venv)(raw), num_frames) if num_frames > 1 else cues_of(venv)(raw)

    model = enlarged(DQN("MlpPolicy", wrap(venv.venv), seed=0, buffer_size=10))
    spied = Spied(model, monkeypatch)
    kwargs = {"env_kwargs": {"source_audio": True}} if ideal else {}
    recordings = check(model, suite, wrap, **kwargs)
    for recording, given in zip(recordings, spied.given, strict=False):
        assert len(given) == len(recording.actions)
        for told, features, action in zip(recording.perceptions[:-1], given, recording.actions, strict=True):
            newest = features[0, -12:-4]  # a frame has the cues of two sources, 4 each, and the pose
            np.testing.assert_allclose(told.cues.ravel(), newest, atol=1e-5)
            with torch.no_grad():
                values = model.policy.q_net(torch.as_tensor(features))[0].numpy()
            np.testing.assert_array_equal(told.values, values)
            assert action == values.argmax()
        if ideal:
            assert recording.source_audio is not None
            for told, alone in zip(recording.perceptions, recording.source_audio, strict=True):
                mono = alone.mean(axis=1)
                loudest = mono[np.argsort(-np.square(mono).sum(axis=1), kind="stable")]
                np.testing.assert_allclose(told.sources, loudest, atol=1e-7)
        # The last moment, by hand: the newest frames but the oldest of them, and the cues of what was heard last.
        last = recording.perceptions[-1]
        x, y, heading = (getattr(recording.snapshots[-1].pose, part) for part in ("x", "y", "heading"))
        (low_x, low_y), (high_x, high_y) = recording.snapshots[-1].scene.room.bounds
        pose = [2 * (x - low_x) / (high_x - low_x) - 1, 2 * (y - low_y) / (high_y - low_y) - 1]
        frame = np.array([*last.cues.ravel(), *pose, np.cos(heading), np.sin(heading)], np.float32)
        stacked = np.concatenate((given[-1][0, 12:], frame))[None]
        with torch.no_grad():
            values = model.policy.q_net(torch.as_tensor(stacked))[0].numpy()
        np.testing.assert_allclose(last.values, values, atol=1e-4 * np.abs(values).max())


def test_targets_and_the_rest_in_ideal_slots(suite: Suite, tiny: SeparatorConfig) -> None:
    """The first slot holds the targets together, the second all distractors."""
    crowd = replace(suite, name="crowd", env_kwargs={**WORLD, "num_distractors": 2})
    venv = with_cues(crowd, tiny, ideal=True, slots="target")
    model = DQN("MlpPolicy", venv, seed=0, buffer_size=10)
    for recording in check(model, crowd, cues_of(venv), env_kwargs={"source_audio": True}):
        is_target = recording.snapshots[0].scene.is_target
        assert sorted(is_target) == [False, False, True, True]
        assert recording.source_audio is not None
        for told, alone in zip(recording.perceptions, recording.source_audio.mean(axis=2), strict=True):
            sums = alone[is_target].sum(axis=0), alone[~is_target].sum(axis=0)
            np.testing.assert_allclose(told.sources, sums, atol=1e-7)


def test_what_sounds_like_the_example_comes_first(
    suite: Suite, tiny: SeparatorConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = replace(suite, name="told", env_kwargs={**WORLD, "goal": "example", "num_distractors": 1, "num_sources": 1})
    venv = with_cues(told, tiny, ideal=True, order="example")
    model = DQN("MlpPolicy", venv, seed=0, buffer_size=10)
    spied = Spied(model, monkeypatch)
    recordings = check(model, told, cues_of(venv), env_kwargs={"source_audio": True})
    swapped = set()
    for recording, given in zip(recordings, spied.given, strict=False):
        for perception, features in zip(recording.perceptions, given, strict=False):
            np.testing.assert_allclose(perception.cues.ravel(), features[0, :8], atol=1e-5)
        assert recording.source_audio is not None
        swapped |= {
            bool(np.abs(perception.sources[0] - alone[0].mean(axis=0)).max() > 1e-6)
            for perception, alone in zip(recording.perceptions, recording.source_audio, strict=True)
        }
    assert swapped == {True, False}


def test_a_policy_that_draws_its_actions(suite: Suite, tiny: SeparatorConfig) -> None:
    """Watching does not change what is drawn."""
    venv = with_cues(suite, tiny)
    normalize = VecNormalize(venv, training=False)
    normalize.obs_rms.mean = np.linspace(-1, 1, 12)

    def wrap(raw: VecEnv) -> VecEnv:
        outer = VecNormalize(cues_of(venv)(raw), training=False)
        outer.obs_rms = normalize.obs_rms
        return VecMonitor(outer)

    model = PPO("MlpPolicy", normalize, seed=0, n_steps=8, batch_size=8)
    before = torch.random.get_rng_state()
    recordings = check(model, suite, wrap, deterministic=False)
    assert torch.equal(torch.random.get_rng_state(), before)
    best = [each.values.argmax() for recording in recordings for each in recording.perceptions[:-1]]
    taken = [action for recording in recordings for action in recording.actions]
    assert best != taken
    assert len(set(taken)) == 4


def test_a_recurrent_model(suite: Suite, tiny: SeparatorConfig) -> None:
    """Its values depend on what it remembers, after the last action too: its network's, from step to step."""
    venv = with_cues(suite, tiny)
    model = enlarged(RecurrentPPO("MlpLstmPolicy", venv, seed=0, n_steps=8, batch_size=8))
    for recording in check(model, suite, cues_of(venv)):
        best = [int(perception.values.argmax()) for perception in recording.perceptions]
        assert list(recording.actions) == best[:-1]
        replayed = make_vec_env(suite.make_env, 1)
        replayed.seed(recording.seed)
        env = cues_of(venv)(replayed)
        features: Any = env.reset()
        memory: Any = (torch.zeros(1, 1, 256), torch.zeros(1, 1, 256))
        for moment, told in enumerate(recording.perceptions):
            with torch.no_grad():
                distribution, memory = model.policy.get_distribution(torch.as_tensor(features), memory, torch.zeros(1))
            np.testing.assert_allclose(told.values, distribution.distribution.probs[0], rtol=1e-3, atol=1e-5)
            if moment < len(recording.actions):
                features, _, dones, infos = env.step(np.array([recording.actions[moment]]))
                features = infos[0]["terminal_observation"][None] if dones[0] else features
        env.close()


# ---- Bad input -------------------------------------------------------------------------------------------------------


def test_bad_arguments_are_refused_as_evaluate_does(suite: Suite, tiny: SeparatorConfig) -> None:
    with pytest.raises(ValueError, match="num_episodes: expected 1 to 3, the episodes of 'short-v1', actual: 10"):
        record(RandomAgent(), suite)
    with pytest.raises(TypeError, match="wrap: expected None for an agent that is no SB3 model"):
        record(RandomAgent(), suite, wrap=lambda venv: venv, num_episodes=1)
    model = DQN("MlpPolicy", with_cues(suite, tiny), seed=0, buffer_size=10)
    with pytest.raises(ValueError, match=r"convert the model with auralnav_sb3.to_audio\(model\)"):
        record(model, suite, num_episodes=1)
    assert len(record(to_audio(model), suite, num_episodes=1)) == 1
