"""A forward speed and a turn rate in place of one of four actions: trained, mirrored and evaluated."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.noise import NormalActionNoise, VectorizedActionNoise

from auralnav_gym import Agent, Pose, Scene, ShoeBox, Source, Suite, SyntheticSounds
from auralnav_sb3 import (
    Evaluation,
    MirroredReplayBuffer,
    Recipe,
    SeparatedCuesExtractor,
    evaluate,
    extract_features,
    extractor_kwargs,
    make_cue_env,
    make_model,
    read_log,
    to_audio,
    train,
    training,
    wrap_like,
)
from auralnav_sb3.evaluation import Episode

SEEDS = (11, 12, 13, 14)
SOUNDS = SyntheticSounds(per_kind=2, seconds=1.0)
WORLD = {"listen_seconds": 0.1, "max_episode_steps": 10, "start_distance": 1.2}
DISCRETE = Suite("steps", seeds=SEEDS, env_kwargs=WORLD, sounds=SOUNDS)
SUITE = Suite("drives", seeds=SEEDS, env_kwargs={**WORLD, "actions": "continuous"}, sounds=SOUNDS)
TINY_NET = {"policy_kwargs": {"net_arch": [8]}}
OFF_POLICY = {"learning_starts": 10, "gradient_steps": 1, "batch_size": 16, "buffer_size": 500, **TINY_NET}
ON_POLICY = {"n_steps": 8, "batch_size": 16, "n_epochs": 1, **TINY_NET}
QUICK: dict[str, dict[str, Any]] = {
    "SAC": OFF_POLICY,
    "TD3": OFF_POLICY,
    "PPO": ON_POLICY,
    "A2C": {"n_steps": 8, **TINY_NET},
    "RecurrentPPO": {**ON_POLICY, "policy_kwargs": {"net_arch": [8], "lstm_hidden_size": 4}},
}


def quick(algorithm: str, **changes: Any) -> Recipe:
    arguments = {"suite": SUITE, "separator": "none", "num_envs": 2, "steps": 64, **changes}
    hyperparameters = {**QUICK.get(algorithm, {}), **arguments.pop("hyperparameters", {})}
    return Recipe(algorithm=algorithm, hyperparameters=hyperparameters, **arguments)


def untrained(algorithm: str, **changes: Any) -> Any:
    recipe = quick(algorithm, **changes)
    return make_model(recipe, make_cue_env(recipe, seed=0), seed=0)


def weights(model: Any) -> torch.Tensor:
    return torch.cat([weight.detach().flatten() for weight in model.policy.parameters()])


def play(act: Callable[[Any], Any], **kwargs: Any) -> tuple[Episode, ...]:
    """The suite by hand, one environment and one episode after the other."""
    _, test = SOUNDS.split()
    env = gym.make("AuralNav-v0", sounds=test, **{**SUITE.env_kwargs, **kwargs})
    episodes = []
    for seed in SEEDS:
        observation, _ = env.reset(seed=seed)
        total, ended, steps = 0.0, False, 0
        while not ended:
            observation, reward, terminated, truncated, info = env.step(act(observation))
            total += float(reward)
            steps += 1
            ended = terminated or truncated
        found = info["num_found"]
        episodes.append(Episode(float(found == 2), found / 2, info["spl"], info["sna"], total, steps))
    return tuple(episodes)


# ---- Models ----------------------------------------------------------------------------------------------------------


def test_what_takes_which_actions() -> None:
    """Against SB3 itself, which asserts it."""
    venvs = {suite.name: make_cue_env(quick("PPO", suite=suite), seed=0) for suite in (DISCRETE, SUITE)}
    assert venvs["drives"].action_space == spaces.Box(-1.0, 1.0, (2,), np.float32)
    for name, algorithm in training.ALGORITHMS.items():
        policy = "MlpLstmPolicy" if name == "RecurrentPPO" else "MlpPolicy"
        for suite in (DISCRETE, SUITE):
            venv, recipe = venvs[suite.name], quick(name, suite=suite)
            buffer = {"buffer_size": 10} if name in ("DQN", "QRDQN", "SAC", "TD3") else {}
            constructor: Any = algorithm
            try:
                constructor(policy, venv, device="cpu", **buffer)
            except AssertionError:
                with pytest.raises(ValueError, match=r"^algorithm: expected one of .* for the environment's actions, "):
                    make_model(recipe, venv, seed=0)
            else:
                assert isinstance(make_model(recipe, venv, seed=0), algorithm)


@pytest.mark.parametrize(
    ("algorithm", "suite", "message"),
    [
        (
            "DQN",
            SUITE,
            r"\['PPO', 'A2C', 'RecurrentPPO', 'SAC', 'TD3'\] .*, Box.*, actual 'DQN'; .*actions=\"discrete\"",
        ),
        (
            "SAC",
            DISCRETE,
            r"\['DQN', 'PPO', 'A2C', 'QRDQN', 'RecurrentPPO'\] .*, Discrete\(4\), actual 'SAC'; .*\"continuous\"",
        ),
    ],
    ids=["DQN", "SAC"],
)
def test_actions_that_do_not_fit_are_refused_with_what_to_take(algorithm: str, suite: Suite, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        untrained(algorithm, suite=suite)


def test_noise_on_actions() -> None:
    """A number in the recipe, which JSON can hold; an object of its own in every model."""
    first, second = untrained("TD3"), untrained("TD3", hyperparameters={"action_noise": 0.0625})
    for model, sigma in ((first, training.HYPERPARAMETERS["TD3"]["action_noise"]), (second, 0.0625)):
        assert isinstance(model.action_noise, NormalActionNoise)
        np.testing.assert_array_equal(model.action_noise._mu, np.zeros(2))
        np.testing.assert_array_equal(model.action_noise._sigma, np.full(2, sigma))
    assert first.action_noise is not second.action_noise
    given = NormalActionNoise(np.zeros(2), np.array([0.5, 0.25]))
    mine = untrained("TD3", hyperparameters={"action_noise": given}).action_noise
    assert mine is not given
    np.testing.assert_array_equal(mine._sigma, given._sigma)
    assert untrained("SAC").action_noise is None
    for noise in (0.0625, given):
        settings = quick("TD3", hyperparameters={"action_noise": noise}).settings(0)
        assert json.loads(json.dumps(settings)) == settings
    assert quick("TD3").settings(0)["hyperparameters"]["action_noise"] == 0.2


def test_actions_are_explored_with_the_noise() -> None:
    """Around those of the policy, here always 0, with a standard deviation of 1/16."""
    model = untrained("TD3", hyperparameters={"action_noise": 0.0625})
    for weight in model.actor.mu[-2].parameters():
        torch.nn.init.zeros_(weight)
    model.learn(8)  # all at random, and nothing learned
    assert isinstance(model.action_noise, VectorizedActionNoise)
    drawn = np.concatenate([model._sample_action(0, model.action_noise, 2)[0] for _ in range(500)])
    assert drawn.mean(axis=0) == pytest.approx(np.zeros(2), abs=0.01)  # 5 standard errors
    assert drawn.std(axis=0) == pytest.approx(np.full(2, 0.0625), rel=0.12)


@pytest.mark.parametrize("algorithm", QUICK)
def test_trains_saves_and_goes_on(algorithm: str, tmp_path: Path) -> None:
    recipe = quick(algorithm, frames=2)
    assert recipe.deterministic == (algorithm in ("SAC", "TD3"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model: Any = train(recipe, 0, tmp_path, progress=False)
    assert model.num_timesteps == 64
    assert not torch.equal(weights(model), weights(untrained(algorithm, frames=2)))
    assert read_log(tmp_path).settings == recipe.settings(0)
    loaded: Any = train(recipe, 0, tmp_path, progress=False)
    observations = np.random.default_rng(0).normal(size=(16, *model.observation_space.shape)).astype(np.float32)
    actions = model.predict(observations, deterministic=True)[0]
    assert actions.shape == (16, 2)
    assert np.ptp(actions, axis=0).min() > 0
    np.testing.assert_array_equal(loaded.predict(observations, deterministic=True)[0], actions)
    before = weights(loaded).clone()
    loaded.learn(32, reset_num_timesteps=False)
    assert not torch.equal(weights(loaded), before)


def test_the_weight_of_the_entropy_is_learned() -> None:
    model = untrained("SAC")
    before = model.log_ent_coef.item()
    model.learn(32)
    assert model.log_ent_coef.item() != before


# ---- The mirror ------------------------------------------------------------------------------------------------------


def test_the_mirrored_drive_sounds_mirrored_and_earns_the_same() -> None:
    room = ShoeBox((7.0, 6.0, 3.0), rt60=0.3)
    drives = np.random.default_rng(0).uniform(-1, 1, (6, 2)).astype(np.float32)
    recorded = []
    for side in (1, -1):
        env = gym.make("AuralNav-v0", sounds=SOUNDS, motion=True, pose=False, actions="continuous")
        extractor = SeparatedCuesExtractor(env.observation_space, "none", **extractor_kwargs(env))
        sources = tuple(Source((x, 3 + side * y, 1.5), SOUNDS[i]) for x, y, i in ((5.5, 1.5, 0), (1.5, 2.0, 3)))
        observation, _ = env.reset(options={"scene": Scene(room, sources, Pose(3.0, 3 - side, side * 0.4))})
        features, rewards = [], []
        for forward, turn in drives:
            observation, reward, *_ = env.step(np.array([forward, side * turn], np.float32))
            features.append(extract_features(extractor, {key: value[None] for key, value in observation.items()})[0])
            rewards.append(reward)
        recorded.append((np.array(features), rewards))
    (features, rewards), (mirrored, mirrored_rewards) = recorded
    np.testing.assert_allclose(mirrored, features * extractor.mirror_signs, atol=1e-3)
    assert mirrored_rewards == pytest.approx(rewards)
    assert np.abs(mirrored - features).max() > 0.1  # the drive is not its own mirror image


@pytest.mark.parametrize("algorithm", ["SAC", "TD3"])
def test_mirrored_transitions_are_learned_from(algorithm: str) -> None:
    model = untrained(algorithm, mirror=True, frames=2)
    buffer = model.replay_buffer
    assert isinstance(buffer, MirroredReplayBuffer)
    assert buffer.n_steps == training.HYPERPARAMETERS[algorithm]["n_steps"]
    before = weights(model).clone()
    model.learn(32)
    assert not torch.equal(weights(model), before)
    played = {tuple(action) for action in buffer.actions[: buffer.pos].reshape(-1, 2).tolist()}
    sampled = {tuple(action) for action in buffer.sample(400).actions.tolist()}
    assert sampled <= played | {(forward, -turn) for forward, turn in played}
    assert sampled & played
    assert sampled - played


# ---- Evaluation ------------------------------------------------------------------------------------------------------


class Spiral:
    """Walks an ever wider curve to the left."""

    def reset(self, env: gym.Env) -> None:
        assert isinstance(env.action_space, spaces.Box)
        self._turn = 1.0

    def act(self, observation: Any) -> np.ndarray:
        self._turn *= 0.75
        return np.array([0.5, self._turn], np.float32)


def test_functions_and_agents_are_played_as_by_hand() -> None:
    def act(observation: Any) -> np.ndarray:
        left, right = np.abs(observation["audio"]).mean(axis=1)
        return np.array([0.75, np.clip(10 * (left - right), -1, 1)], np.float32)

    played = evaluate(act, SUITE)
    assert played == Evaluation("drives", play(act))
    assert isinstance(Spiral(), Agent)
    assert evaluate(Spiral(), SUITE) == evaluate(Spiral(), SUITE) != played


@pytest.mark.parametrize("algorithm", ["SAC", "TD3", "PPO"])
@pytest.mark.parametrize("num_envs", [1, 3])
def test_models_are_played_as_by_hand(algorithm: str, num_envs: int) -> None:
    """On cues with wrap, and on audio; the best action of those that draw theirs, too."""
    recipe = quick(algorithm, motion=True)
    venv: Any = make_cue_env(recipe, seed=0)
    model: Any = make_model(recipe, venv, seed=0)
    if algorithm == "PPO":  # whose untrained policy hardly moves
        model.policy.action_net.weight.data *= 100

    def act(observation: Any) -> np.ndarray:
        features = extract_features(venv.extractor, {key: value[None] for key, value in observation.items()})
        return model.predict(features, deterministic=True)[0][0]

    hand = play(act, pose=False, motion=True)
    result = evaluate(model, SUITE, wrap_like(venv), num_envs, env_kwargs=recipe.env_kwargs)
    for episode, expected in zip(result.episodes, hand, strict=True):
        assert vars(episode) == pytest.approx(vars(expected), abs=1e-4)  # a batch is rounded otherwise
    audio = evaluate(to_audio(model), SUITE, num_envs=num_envs)
    for episode, expected in zip(audio.episodes, hand, strict=True):
        assert vars(episode) == pytest.approx(vars(expected), abs=1e-4)
    assert len({round(episode.episode_return, 3) for episode in hand}) == len(SEEDS)


def test_a_policy_can_draw_its_actions() -> None:
    recipe = quick("PPO")
    venv = make_cue_env(recipe, seed=0)
    model, wrap = make_model(recipe, venv, seed=0), wrap_like(venv)
    best, drawn, again = (
        evaluate(model, SUITE, wrap, env_kwargs=recipe.env_kwargs, deterministic=each) for each in (True, False, False)
    )
    assert drawn == again != best
