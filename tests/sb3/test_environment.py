"""The environment as Stable-Baselines3 meets it, and the whole chain from what is heard to what is learnt."""

from __future__ import annotations

import re
import warnings

import gymnasium as gym
import numpy as np
import pytest
from sb3_contrib import QRDQN
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

from auralnav_gym import SoundBank, SyntheticSounds
from auralnav_sb3 import ProgressCallback, SeparatedCuesExtractor, SeparatorConfig, VecSeparatedCues, extractor_kwargs

TINY = SeparatorConfig(n_filters=8, kernel_size=16, stride=8, bn_chan=8, hid_size=8, chunk_size=20, n_repeats=1)
IDS = sorted(spec.id for spec in gym.registry.values() if str(spec.entry_point).startswith("auralnav_gym"))


@pytest.fixture(scope="module")
def bank() -> SoundBank:
    return SyntheticSounds(per_kind=1, seconds=1.0)


@pytest.mark.parametrize("env_id", IDS)
def test_sb3_check_env_has_but_one_note(env_id: str, bank: SoundBank) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env(gym.make(env_id, sounds=bank).unwrapped)
    others = [str(w.message) for w in caught if "observation audio has an unconventional shape" not in str(w.message)]
    assert not others


@pytest.mark.parametrize("vec_env_cls", [DummyVecEnv, SubprocVecEnv])
def test_vec_envs(vec_env_cls: type, bank: SoundBank) -> None:
    venv = make_vec_env(
        "auralnav_gym:AuralNav-v0",
        2,
        seed=3,
        vec_env_cls=vec_env_cls,
        env_kwargs={"sounds": bank, "listen_seconds": 0.1},
    )
    try:
        observations = venv.reset()
        assert observations["audio"].shape == (2, 2, 800)
        single = gym.make("AuralNav-v0", sounds=bank, listen_seconds=0.1)
        np.testing.assert_array_equal(observations["audio"][1], single.reset(seed=4)[0]["audio"])
        expected = {"num_sources": 2, "sample_rate": 8000, "ear_spacing": pytest.approx(0.17), "pair": (0, 1)}
        assert extractor_kwargs(venv) == expected
        cues = VecSeparatedCues(venv, separator=TINY, **extractor_kwargs(venv))
        assert cues.reset().shape == (2, 12)
        assert cues.step(np.array([0, 1]))[0].shape == (2, 12)
    finally:
        venv.close()


@pytest.mark.parametrize(
    ("algorithm", "settings"),
    [
        (DQN, {"learning_starts": 8, "buffer_size": 50, "batch_size": 4}),
        (QRDQN, {"learning_starts": 8, "buffer_size": 50, "batch_size": 4}),
        (PPO, {"n_steps": 8, "batch_size": 8, "n_epochs": 1}),
        (A2C, {"n_steps": 8}),
    ],
)
@pytest.mark.parametrize("pose", [True, False], ids=["pose", "no pose"])
def test_algorithms_train_end_to_end(algorithm, settings: dict, pose: bool, bank: SoundBank, tmp_path) -> None:
    env = gym.make("AuralNav-v0", sounds=bank, listen_seconds=0.1, pose=pose)
    policy_kwargs = {
        "features_extractor_class": SeparatedCuesExtractor,
        "features_extractor_kwargs": {"separator": TINY, "freeze_separator": False, **extractor_kwargs(env)},
    }
    model = algorithm("MultiInputPolicy", env, policy_kwargs=policy_kwargs, seed=0, **settings)
    model.learn(16)
    model.save(tmp_path / "model")
    loaded = algorithm.load(tmp_path / "model")
    for seed in range(5):
        observation, _ = env.reset(seed=seed)
        assert model.predict(observation, deterministic=True) == loaded.predict(observation, deterministic=True)


def test_the_wrong_rate_is_refused() -> None:
    env = gym.make("AuralNav-v0", sample_rate=16_000, listen_seconds=0.1)
    with pytest.raises(ValueError, match=r"sample_rate: the separator's weights were made for 8000, actual 16000"):
        SeparatedCuesExtractor(env.observation_space, separator=TINY, **extractor_kwargs(env))


def test_progress_is_printed(bank: SoundBank, capsys: pytest.CaptureFixture[str]) -> None:
    venv = make_vec_env("AuralNav-v0", 2, env_kwargs={"sounds": bank, "listen_seconds": 0.1}, seed=0)
    cues = VecSeparatedCues(venv, separator=TINY)
    model = DQN("MlpPolicy", cues, learning_starts=10, buffer_size=1000, seed=0)
    model.learn(420, callback=ProgressCallback(every_seconds=0.0))
    lines = capsys.readouterr().out.strip().split("\n")
    assert lines[0].startswith("2 / 420 steps (0 %)  success -  ")
    # SB3 collects whole rollouts (train_freq steps of every environment), so it overshoots a little.
    assert re.match(r"42\d / 420 steps \(10\d %\)  success [01]\.\d\d  \d+ steps/s  0:00:00 left$", lines[-1])
    assert "steps/s" in lines[5]
