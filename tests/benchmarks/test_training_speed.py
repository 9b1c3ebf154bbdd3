"""Training DQN on cues that are separated once, against training it end to end; and what a transition takes in memory.

    pytest tests/benchmarks/test_training_speed.py --benchmark-enable --benchmark-json=speed.json

Within a group, the numbers in brackets are ratios to the fastest; times are those of the processor, so that nothing
else that runs on the machine counts. The file says environment steps per second, and bytes per transition.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import DQN
from stable_baselines3.common.buffers import DictReplayBuffer
from stable_baselines3.common.env_util import make_vec_env

import auralnav_gym  # noqa: F401 (registers AuralNav-v0)
from auralnav_sb3 import SeparatedCuesExtractor, VecSeparatedCues, extractor_kwargs
from auralnav_sb3.replay import AudioReplayBuffer

NUM_ENVS = 8
BATCH_SIZE = 32


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


def frozen(num_envs: int) -> DQN:
    venv = make_vec_env("AuralNav-v0", num_envs, seed=0)
    return make_dqn("MlpPolicy", VecSeparatedCues(venv, separator="compact", **extractor_kwargs(venv)))


def end_to_end(num_envs: int) -> DQN:
    venv = make_vec_env("AuralNav-v0", num_envs, seed=0)
    extractor = {
        "features_extractor_class": SeparatedCuesExtractor,
        "features_extractor_kwargs": {"separator": "compact", "freeze_separator": False, **extractor_kwargs(venv)},
    }
    return make_dqn("MultiInputPolicy", venv, extractor, replay_buffer_class=AudioReplayBuffer)


def make_dqn(policy: str, venv: Any, policy_kwargs: dict[str, Any] | None = None, **kwargs: Any) -> DQN:
    """A DQN that has played a batch of steps, and from then on takes a gradient step for each step it plays."""
    model = DQN(
        policy,
        venv,
        buffer_size=1000,
        batch_size=BATCH_SIZE,
        learning_starts=BATCH_SIZE,
        train_freq=1,
        gradient_steps=-1,
        exploration_initial_eps=0.05,  # the network hears and acts, as it does through most of a training
        policy_kwargs={"net_arch": [256, 256], **(policy_kwargs or {})},
        device="cpu",
        seed=0,
        **kwargs,
    )
    model.learn(BATCH_SIZE)
    return model


@pytest.mark.benchmark(group="8 environment steps trained, batch 32", timer=time.process_time)
@pytest.mark.parametrize(("make_model", "rounds"), [(frozen, 50), (end_to_end, 3)], ids=["frozen", "end to end"])
def test_training(benchmark, make_model: Callable[[int], DQN], rounds: int) -> None:
    num_envs = NUM_ENVS if benchmark.enabled else 1
    model = make_model(num_envs)
    assert model._n_updates == 0
    benchmark.pedantic(model.learn, (num_envs,), {"reset_num_timesteps": False}, rounds=rounds, warmup_rounds=1)
    assert model._n_updates == model.num_timesteps - BATCH_SIZE > 0
    if benchmark.enabled:
        benchmark.extra_info["environment steps per second"] = num_envs / benchmark.stats.stats.median


SETTINGS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "no pose": {"pose": False},
    "4 sources": {"num_sources": 4},
    "noise": {"noise_dbfs": -60.0},
}


@pytest.mark.benchmark(group="a transition added to the replay buffer", timer=time.process_time)
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_memory(benchmark, settings: dict[str, Any]) -> None:
    """Of transitions of a random agent, in full buffers of both kinds."""
    num_transitions = 200
    venv: Any = make_vec_env("AuralNav-v0", 1, seed=0, env_kwargs=settings)
    buffers: list[Any] = [
        buffer_class(num_transitions, venv.observation_space, venv.action_space, "cpu")
        for buffer_class in (AudioReplayBuffer, DictReplayBuffer)
    ]
    rng = np.random.default_rng(0)
    transitions = []
    obs: Any = venv.reset()
    for _ in range(num_transitions):
        action = rng.integers(4, size=1)
        after: Any
        after, rewards, dones, infos = venv.step(action)
        next_obs = {key: infos[0]["terminal_observation"][key][None] for key in after} if dones[0] else after
        transitions.append((obs, next_obs, action, rewards, dones, infos))
        obs = after
    for transition in transitions:
        for buffer in buffers:
            buffer.add(*transition)
    bytes_per_transition = [buffer_nbytes(buffer) / num_transitions for buffer in buffers]
    again = cycle(transitions)
    benchmark(lambda: buffers[0].add(*next(again)))
    benchmark.extra_info["bytes per transition"], benchmark.extra_info["of DictReplayBuffer"] = bytes_per_transition
    assert bytes_per_transition[0] <= bytes_per_transition[1] / 4


def buffer_nbytes(buffer: AudioReplayBuffer | DictReplayBuffer) -> int:
    if isinstance(buffer, AudioReplayBuffer):
        return buffer.nbytes
    arrays = [*buffer.observations.values(), *buffer.next_observations.values()]
    arrays += [buffer.actions, buffer.rewards, buffer.dones, buffer.timeouts]
    return sum(array.nbytes for array in arrays)
