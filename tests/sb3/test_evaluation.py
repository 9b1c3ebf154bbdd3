"""Evaluation, against episodes played by hand."""

from __future__ import annotations

from functools import partial

import gymnasium as gym
import numpy as np
import pytest
from sb3_contrib import RecurrentPPO
from stable_baselines3 import DQN
from stable_baselines3.common.env_util import make_vec_env

import auralnav_gym  # noqa: F401
from auralnav_gym import OracleAgent, RandomAgent, SyntheticSounds
from auralnav_sb3 import Evaluation, SeparatedCuesExtractor, SeparatorConfig, VecSeparatedCues, evaluate, table
from auralnav_sb3.evaluation import METRICS, Episode

TINY = SeparatorConfig(n_filters=8, kernel_size=16, stride=8, bn_chan=8, hid_size=8, chunk_size=20, n_repeats=1)
SEEDS = (11, 12, 13, 14, 15)


@pytest.fixture(scope="module")
def make_env():
    bank = SyntheticSounds(per_kind=1, seconds=1.0)
    return partial(gym.make, "AuralNav-v0", sounds=bank, listen_seconds=0.1, max_episode_steps=12, start_distance=1.2)


def play(make_env, act, seed: int) -> Episode:
    """One episode by hand."""
    env = make_env()
    observation, _ = env.reset(seed=seed)
    total, ended, steps = 0.0, False, 0
    while not ended:
        observation, reward, terminated, truncated, info = env.step(act(observation))
        total += reward
        steps += 1
        ended = terminated or truncated
    return Episode(
        success=float(info["num_found"] == 2),
        found=info["num_found"] / 2,
        spl=info["spl"],
        sna=info["sna"],
        episode_return=total,
        steps=steps,
    )


def untrained_dqn(make_env) -> tuple[DQN, SeparatedCuesExtractor]:
    venv = make_vec_env(make_env, 2)
    cues = VecSeparatedCues(venv, separator=TINY)
    return DQN("MlpPolicy", cues, seed=0, buffer_size=10), cues.extractor


def test_the_oracle_is_perfect(make_env) -> None:
    make_long = partial(make_env, max_episode_steps=200)
    result = evaluate(OracleAgent(), make_long, SEEDS)
    assert result.values("success").tolist() == [1.0] * 5
    assert result.values("found").tolist() == [1.0] * 5
    assert result.values("sna").tolist() == [1.0] * 5
    assert (result.values("spl") > 0.5).all()


def test_a_callable_and_an_agent_are_played_as_by_hand(make_env) -> None:
    always = evaluate(lambda observation: 0, make_env, SEEDS)
    assert always.episodes == tuple(play(make_env, lambda observation: 0, seed) for seed in SEEDS)
    first, second = (evaluate(RandomAgent(3), make_env, SEEDS) for _ in range(2))
    assert first == second != always


@pytest.mark.parametrize("num_envs", [1, 2, 8])
def test_a_model_is_played_as_by_hand(make_env, num_envs: int) -> None:
    model, extractor = untrained_dqn(make_env)

    def act(observation) -> int:
        features = extractor({key: _tensor(value)[None] for key, value in observation.items()})
        return int(model.predict(features.numpy(), deterministic=True)[0][0])

    result = evaluate(model, make_env, SEEDS, extractor=extractor, num_envs=num_envs)
    assert result.episodes == tuple(play(make_env, act, seed) for seed in SEEDS)


def _tensor(array: np.ndarray):
    import torch

    return torch.as_tensor(array)


@pytest.mark.parametrize("num_envs", [1, 3])
def test_a_recurrent_model_keeps_its_state_within_an_episode(make_env, num_envs: int) -> None:
    venv = VecSeparatedCues(make_vec_env(make_env, 2), separator=TINY)
    model = RecurrentPPO("MlpLstmPolicy", venv, seed=0, n_steps=4, batch_size=4)
    model.learn(8)
    expected = []
    for seed in SEEDS:
        state, start = None, np.array([True])

        def act(observation) -> int:
            nonlocal state, start
            features = venv.extractor({key: _tensor(value)[None] for key, value in observation.items()})
            action, state = model.predict(features.numpy(), state=state, episode_start=start, deterministic=True)
            start = np.array([False])
            return int(action[0])

        expected.append(play(make_env, act, seed))
    result = evaluate(model, make_env, SEEDS, extractor=venv.extractor, num_envs=num_envs)
    assert result.episodes == tuple(expected)


def test_a_model_on_audio_needs_no_extractor(make_env) -> None:
    env = make_env()
    kwargs = {
        "features_extractor_class": SeparatedCuesExtractor,
        "features_extractor_kwargs": {"separator": TINY},
    }
    model = DQN("MultiInputPolicy", env, policy_kwargs=kwargs, seed=0, buffer_size=10)
    result = evaluate(model, make_env, SEEDS, num_envs=2)
    hand = tuple(
        play(make_env, lambda observation: int(model.predict(observation, deterministic=True)[0]), seed)
        for seed in SEEDS
    )
    assert result.episodes == hand


def episodes(successes: list[float]) -> Evaluation:
    return Evaluation(tuple(Episode(s, s, s, s, 10 * s, 100 - s) for s in successes))


def test_intervals_cover_the_true_mean_as_often_as_they_say() -> None:
    """95 % intervals over 60 episodes of an agent that succeeds in 70 %: binomial theory against 300 repetitions."""
    rng = np.random.default_rng(0)
    covered = 0
    for repetition in range(300):
        interval = episodes((rng.random(60) < 0.7).astype(float).tolist()).interval("success", seed=repetition)
        covered += interval.low <= 0.7 <= interval.high
    # Percentile intervals of a proportion at n = 60 cover about 94 %; the standard error over 300 is 1.3 %.
    assert 0.90 <= covered / 300 <= 0.98


def test_interval_of_a_mean_is_that_of_normal_theory() -> None:
    values = np.random.default_rng(0).normal(5.0, 2.0, 2000)
    result = Evaluation(tuple(Episode(0, 0, 0, 0, value, 0) for value in values))
    interval = result.interval("episode_return")
    half = 1.96 * values.std(ddof=1) / np.sqrt(2000)
    assert interval.mean == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_interval_of_equal_values() -> None:
    assert str(episodes([1.0] * 5).interval("success")) == "1.00 [1.00, 1.00]"


def test_table() -> None:
    lines = table({"random": episodes([0.0, 0.0]), "oracle": episodes([1.0, 1.0, 1.0])}).split("\n")
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["agent", "episodes", *METRICS]
    assert cells[2][:3] == ["random", "2", "0.00 [0.00, 0.00]"]
    assert cells[3][:3] == ["oracle", "3", "1.00 [1.00, 1.00]"]
    assert len({len(line) for line in lines}) == 1


@pytest.mark.parametrize(
    ("arguments", "message"), [({"seeds": ()}, "seeds: expected at least one"), ({"num_envs": 0}, "num_envs: expected")]
)
def test_bad_arguments(make_env, arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(**{"agent": RandomAgent(), "make_env": make_env, "seeds": SEEDS, **arguments})
