"""Evaluation, against episodes played by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from sb3_contrib import RecurrentPPO
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, VecFrameStack, VecMonitor, VecNormalize

from auralnav_gym import AuralNavEnv, OracleAgent, RandomAgent, Suite, SyntheticSounds
from auralnav_sb3 import (
    Evaluation,
    SeparatedCuesExtractor,
    SeparatorConfig,
    VecSeparatedCues,
    bootstrap_mean,
    evaluate,
    table,
    to_audio,
)
from auralnav_sb3.evaluation import METRICS, Episode

SEEDS = (11, 12, 13, 14, 15)
WORLD = {"listen_seconds": 0.1, "max_episode_steps": 12, "start_distance": 1.2}


@pytest.fixture(scope="module")
def sounds() -> SyntheticSounds:
    return SyntheticSounds(per_kind=2, seconds=1.0)


@pytest.fixture(scope="module")
def suite(sounds: SyntheticSounds) -> Suite:
    return Suite("short-v1", seeds=SEEDS, env_kwargs=WORLD, sounds=sounds)


def play(suite: Suite, act: Callable[[Any, bool], int], **kwargs: Any) -> tuple[Episode, ...]:
    """The suite by hand, one environment and one episode after the other; act is also told when an episode begins."""
    _, test = suite.sounds.split()
    env = gym.make("AuralNav-v0", sounds=test, **{**suite.env_kwargs, **kwargs})
    episodes = []
    for seed in suite.seeds:
        observation, _ = env.reset(seed=seed)
        total, ended, steps = 0.0, False, 0
        while not ended:
            observation, reward, terminated, truncated, info = env.step(act(observation, steps == 0))
            total += reward
            steps += 1
            ended = terminated or truncated
        found = info["num_found"]
        episodes.append(Episode(float(found == 2), found / 2, info["spl"], info["sna"], total, steps))
    return tuple(episodes)


def features_of(extractor: SeparatedCuesExtractor, observation: dict[str, np.ndarray]) -> np.ndarray:
    """The features (1, F) of one observation."""
    with torch.no_grad():
        return extractor({key: torch.as_tensor(value)[None] for key, value in observation.items()}).numpy()


def cue_venv(suite: Suite, tiny: SeparatorConfig, **env_kwargs: Any) -> VecSeparatedCues:
    venv = make_vec_env(suite.make_training_env, 2, seed=0, env_kwargs=env_kwargs)
    return VecSeparatedCues(venv, separator=tiny)


def cues_of(venv: VecSeparatedCues) -> Callable[[VecEnv], VecEnv]:
    return lambda raw: VecSeparatedCues(raw, extractor=venv.extractor)


# ---- Agents without a network ----------------------------------------------------------------------------------------


def test_the_oracle_is_perfect(suite: Suite) -> None:
    longer = Suite("long-v1", seeds=SEEDS, env_kwargs={**WORLD, "max_episode_steps": 200}, sounds=suite.sounds)
    result = evaluate(OracleAgent(), longer)
    assert result.suite == "long-v1"
    assert result.values("success").tolist() == [1.0] * 5
    assert result.values("found").tolist() == [1.0] * 5
    assert result.values("sna").tolist() == [1.0] * 5
    assert (result.values("spl") > 0.5).all()


def test_a_callable_and_an_agent_are_played_as_by_hand(suite: Suite) -> None:
    always = evaluate(lambda observation: 0, suite)
    assert always == Evaluation("short-v1", play(suite, lambda observation, start: 0))
    first, second = (evaluate(RandomAgent(3), suite) for _ in range(2))
    assert first == second != always


def test_a_published_suite_by_name() -> None:
    """The first two episodes, with an agent that walks ahead."""
    result = evaluate(lambda observation: 0, "two-sources-v1", num_episodes=2)
    assert result.suite == "two-sources-v1"
    assert len(result.episodes) == 2


def test_env_kwargs_reach_the_environment(suite: Suite) -> None:
    keys = []
    evaluate(lambda observation: keys.append(sorted(observation)) or 2, suite, num_episodes=1)
    evaluate(
        lambda observation: keys.append(sorted(observation)) or 2, suite, num_episodes=1, env_kwargs={"pose": False}
    )
    assert keys == [["agent", "audio"]] * 12 + [["audio"]] * 12
    with pytest.raises(ValueError, match="kwargs: expected none but motion, pose"):
        evaluate(RandomAgent(), suite, env_kwargs={"num_sources": 1})


# ---- Models on cues --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_envs", [1, 2, 8])
def test_a_model_on_cues_is_played_as_by_hand(suite: Suite, tiny: SeparatorConfig, num_envs: int) -> None:
    venv = cue_venv(suite, tiny)
    model = DQN("MlpPolicy", venv, seed=0, buffer_size=10)
    hand = play(
        suite,
        lambda observation, start: int(
            model.predict(features_of(venv.extractor, observation), deterministic=True)[0][0]
        ),
    )
    result = evaluate(model, suite, wrap=cues_of(venv), num_envs=num_envs)
    assert result == Evaluation("short-v1", hand)
    assert len({episode.episode_return for episode in hand}) == 5  # no two would pass for each other
    assert evaluate(model, suite, cues_of(venv), num_envs, num_episodes=3).episodes == hand[:3]


@pytest.mark.parametrize(("goal", "order"), [("class", "energy"), ("example", "example")])
def test_a_model_with_a_goal_is_played_as_by_hand(suite: Suite, tiny: SeparatorConfig, goal: str, order: str) -> None:
    told = replace(suite, env_kwargs={**WORLD, "goal": goal})
    venv = VecSeparatedCues(make_vec_env(told.make_training_env, 2, seed=0), separator=tiny, order=order)
    model = DQN("MlpPolicy", venv, seed=0, buffer_size=10)
    hand = play(
        told,
        lambda observation, start: int(
            model.predict(features_of(venv.extractor, observation), deterministic=True)[0][0]
        ),
    )
    assert evaluate(model, told, wrap=cues_of(venv), num_envs=3).episodes == hand
    audio = to_audio(DQN("MlpPolicy", VecFrameStack(venv, 2), seed=0, buffer_size=10))
    wrapped = evaluate(audio, told, wrap=lambda raw: VecFrameStack(raw, 2))
    assert evaluate(audio, told) == wrapped  # frames of all that is told are stacked, without being asked


@pytest.mark.parametrize("num_envs", [1, 3])
def test_a_recurrent_model_keeps_its_state_within_an_episode(
    suite: Suite, tiny: SeparatorConfig, num_envs: int
) -> None:
    venv = cue_venv(suite, tiny)
    model = RecurrentPPO("MlpLstmPolicy", venv, seed=0, n_steps=4, batch_size=4)
    with torch.no_grad():
        for weights in model.policy.lstm_actor.parameters():
            weights *= 20  # so that its state changes what it does
    memory: dict[str, Any] = {}

    def act(observation: Any, start: bool, forget: bool = False) -> int:
        features = features_of(venv.extractor, observation)
        state = None if start or forget else memory["state"]
        action, memory["state"] = model.predict(
            features, state=state, episode_start=np.array([start or forget]), deterministic=True
        )
        return int(action[0])

    hand = play(suite, act)
    assert hand != play(suite, lambda observation, start: act(observation, start, forget=True))
    assert evaluate(model, suite, wrap=cues_of(venv), num_envs=num_envs).episodes == hand


@pytest.mark.parametrize("num_envs", [1, 3])
def test_stacked_and_normalised_cues(suite: Suite, tiny: SeparatorConfig, num_envs: int) -> None:
    """VecNormalize below VecFrameStack, as by hand: zeros before the first frame, no frame from another episode."""
    venv = cue_venv(suite, tiny)
    normalize = VecNormalize(venv, norm_reward=True)
    model = PPO("MlpPolicy", VecFrameStack(normalize, 3), seed=0, n_steps=32, batch_size=64)
    model.learn(64)
    count = normalize.obs_rms.count
    frames: list[np.ndarray] = []

    def act(observation: Any, start: bool) -> int:
        if start:
            frames[:] = [np.zeros((1, venv.extractor.features_dim), np.float32)] * 3
        frames[:] = [*frames[1:], normalize.normalize_obs(features_of(venv.extractor, observation))]
        return int(model.predict(np.concatenate(frames, axis=1), deterministic=True)[0][0])

    def wrap(raw: VecEnv, training: bool = False) -> VecEnv:
        evaluated = VecNormalize(cues_of(venv)(raw), training=training, norm_reward=True)
        evaluated.obs_rms = normalize.obs_rms
        return VecMonitor(VecFrameStack(evaluated, 3))

    hand = play(suite, act)
    assert evaluate(model, suite, wrap=wrap, num_envs=num_envs).episodes == hand  # returns are not normalised
    assert normalize.obs_rms.count == count
    with pytest.raises(ValueError, match="wrap: expected VecNormalize with training=False, actual: True"):
        evaluate(model, suite, wrap=lambda raw: wrap(raw, training=True))


def test_environments_without_an_episode_stand_still(
    suite: Suite, tiny: SeparatorConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are neither stepped nor reset, and what they give on says once that an episode has ended."""
    venv = cue_venv(suite, tiny)
    model = DQN("MlpPolicy", venv, seed=0, buffer_size=10)
    calls = {"step": 0, "reset": 0}

    def count(name: str) -> None:
        method = getattr(AuralNavEnv, name)

        def counted(*args: Any, **kwargs: Any) -> Any:
            calls[name] += 1
            return method(*args, **kwargs)

        monkeypatch.setattr(AuralNavEnv, name, counted)

    count("step")
    count("reset")
    ends = []

    class Watch(VecEnvWrapper):
        def reset(self) -> Any:
            return self.venv.reset()

        def step_wait(self) -> Any:
            result = self.venv.step_wait()
            ends.extend(zip(result[2], ["terminal_observation" in info for info in result[3]], strict=True))
            return result

    result = evaluate(model, suite, wrap=lambda raw: cues_of(venv)(Watch(raw)), num_envs=4)
    assert calls == {"step": result.values("steps").sum(), "reset": 5}
    assert len(ends) > calls["step"]
    assert sum(done for done, _ in ends) == 5
    assert all(done == told for done, told in ends)


def test_environments_are_given_the_pose_as_those_of_the_training_were(suite: Suite, tiny: SeparatorConfig) -> None:
    with_pose, without = cue_venv(suite, tiny), cue_venv(suite, tiny, pose=False)
    for venv in (with_pose, without):
        model = DQN("MlpPolicy", venv, seed=0, buffer_size=10)
        assert len(evaluate(model, suite, wrap=cues_of(venv)).episodes) == 5
    # A model without environments leaves the choice to env_kwargs.
    model.env = None
    result = evaluate(model, suite, wrap=cues_of(without), env_kwargs={"pose": False})
    assert len(result.episodes) == 5


def test_a_policy_can_draw_its_actions(suite: Suite, tiny: SeparatorConfig) -> None:
    """An untrained policy is nearly uniform: taking its best action it repeats itself, drawing it does not."""
    venv = cue_venv(suite, tiny)
    model = PPO("MlpPolicy", venv, seed=0, n_steps=8, batch_size=8)
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    best, drawn, again = (
        evaluate(model, suite, wrap=cues_of(venv), deterministic=deterministic)
        for deterministic in (True, False, False)
    )
    assert torch.equal(torch.random.get_rng_state(), before)
    assert drawn == again != best
    assert drawn.values("episode_return").std() > 0


# ---- Models on audio -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("senses", [{}, {"pose": False}, {"motion": True}, {"pose": False, "motion": True}], ids=str)
def test_a_model_on_audio_needs_no_wrap(suite: Suite, tiny: SeparatorConfig, senses: dict[str, bool]) -> None:
    kwargs = {"features_extractor_class": SeparatedCuesExtractor, "features_extractor_kwargs": {"separator": tiny}}
    model = DQN("MultiInputPolicy", suite.make_training_env(**senses), policy_kwargs=kwargs, seed=0, buffer_size=10)
    hand = play(suite, lambda observation, start: int(model.predict(observation, deterministic=True)[0]), **senses)
    assert evaluate(model, suite, num_envs=2).episodes == hand


def test_frames_of_audio_are_stacked_without_being_asked(suite: Suite) -> None:
    venv = VecFrameStack(make_vec_env(suite.make_training_env, 1), 3)
    model = PPO("MultiInputPolicy", venv, seed=0, n_steps=8, batch_size=8)
    stack: dict[str, np.ndarray] = {}

    def act(observation: Any, start: bool) -> int:
        for key, frame in observation.items():
            before = np.zeros((*frame.shape[:-1], 3 * frame.shape[-1]), np.float32) if start else stack[key]
            stack[key] = np.concatenate([before[..., frame.shape[-1] :], frame], axis=-1)
        return int(model.predict(stack, deterministic=True)[0])

    assert evaluate(model, suite, num_envs=2).episodes == play(suite, act)


@pytest.mark.parametrize(
    ("wrapped", "message"),
    [
        (
            False,
            r"acts on agent \(4,\) and audio \(2, 800\), .* actual: a vector \(12,\). Give wrap= .*to_audio\(model\)",
        ),
        (True, r"acts on a vector \(24,\), .* actual: a vector \(12,\). wrap= has to put around them"),
    ],
    ids=["no wrap", "another wrap"],
)
def test_a_model_that_acts_on_something_else(suite: Suite, tiny: SeparatorConfig, wrapped: bool, message: str) -> None:
    venv = cue_venv(suite, tiny)
    model = DQN("MlpPolicy", venv, seed=0, buffer_size=10)
    with pytest.raises(ValueError, match=message):
        evaluate(model, suite, wrap=(lambda raw: VecFrameStack(cues_of(venv)(raw), 2)) if wrapped else None)


# ---- Results ---------------------------------------------------------------------------------------------------------


def episodes(successes: list[float]) -> Evaluation:
    return Evaluation("short-v1", tuple(Episode(s, s, s, s, 10 * s, 100 - s) for s in successes))


def test_intervals_are_over_the_episodes() -> None:
    result = episodes([0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0])
    assert result.interval("episode_return", seed=5) == bootstrap_mean([0, 10, 10, 0, 10, 0, 10], seed=5)
    assert result.interval("success").mean == pytest.approx(4 / 7)


def test_table() -> None:
    lines = table({"random": episodes([0.0, 0.0]), "oracle": episodes([1.0, 1.0, 1.0])}).split("\n")
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["agent", "suite", "episodes", *METRICS]
    assert cells[2][:4] == ["random", "short-v1", "2", "0.00 [0.00, 0.00]"]
    assert cells[3][:4] == ["oracle", "short-v1", "3", "1.00 [1.00, 1.00]"]
    assert len({len(line) for line in lines}) == 1


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"num_envs": 0}, ValueError, "num_envs: expected 1 or more, actual: 0"),
        ({"num_episodes": 0}, ValueError, "num_episodes: expected 1 to 5, the episodes of 'short-v1', actual: 0"),
        ({"num_episodes": 6}, ValueError, "num_episodes: expected 1 to 5, .* actual: 6"),
        ({"wrap": lambda venv: venv}, TypeError, "wrap: expected None for an agent that is no SB3 model"),
        ({"suite": "no-such-suite"}, ValueError, "name: expected one of"),
    ],
    ids=["no envs", "no episodes", "too many episodes", "wrap", "suite"],
)
def test_bad_arguments(suite: Suite, arguments: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        evaluate(**{"agent": RandomAgent(), "suite": suite, **arguments})
