"""The replay buffer against SB3's own: the same samples, whatever happens to the episodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3 import DQN
from stable_baselines3.common.buffers import DictReplayBuffer, NStepReplayBuffer
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecNormalize

from auralnav_sb3.replay import AudioReplayBuffer, compress_audio, decompress_audio

MakeEnv = Callable[..., gym.Env]

SPACE = spaces.Dict(
    {
        "audio": spaces.Box(-1.0, 1.0, (2, 5), np.float32),
        "agent": spaces.Box(-1.0, 1.0, (4,), np.float32),
        "room": spaces.Discrete(3),
    }
)
ACTIONS = spaces.Discrete(4)


def on_the_grid(audio: np.ndarray) -> np.ndarray:
    """The nearest multiples of 1 / 32767: what 16 bits hold exactly."""
    return np.round(audio * 32767).astype(np.float32) / np.float32(32767)


@dataclass
class Stream:
    """What SB3's algorithms hand to a replay buffer, with parallel environments whose episodes do as told.

    Of each step and environment: "on", the episode goes on; "over", it terminates; "late", it is truncated by a time
    limit; "cut", the learner resets it, so that what follows begins anew, with no episode having ended.
    """

    events: list[list[str]]
    seed: int
    few: bool = False  # observations of so few values that some are equal by chance

    def observation(self, rng: np.random.Generator) -> dict[str, Any]:
        values = rng.integers(0, 2, 1) if self.few else rng.integers(-32767, 32768, (2, 5))
        agent = np.zeros(4) if self.few else rng.uniform(-1, 1, 4)
        audio = np.broadcast_to(values, (2, 5)).astype(np.float32) / np.float32(32767)
        return {"audio": audio, "agent": agent.astype(np.float32), "room": rng.integers(3)}

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        rng = np.random.default_rng(self.seed)
        num_envs = len(self.events[0])
        current = [self.observation(rng) for _ in range(num_envs)]
        for events in self.events:
            after = [self.observation(rng) for _ in events]
            infos = [{"TimeLimit.truncated": event == "late"} for event in events]
            dones = np.array([event in ("over", "late") for event in events])
            yield (
                stacked(current),
                stacked(after),
                rng.integers(4, size=num_envs),
                rng.normal(size=num_envs),
                dones,
                infos,
            )
            current = [
                last if event == "on" else self.observation(rng) for last, event in zip(after, events, strict=True)
            ]


def stacked(observations: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    return {key: np.stack([each[key] for each in observations]) for key in observations[0]}


@st.composite
def streams(draw: st.DrawFn) -> Stream:
    num_envs = draw(st.integers(1, 3))
    row = st.lists(st.sampled_from(["on", "on", "over", "late", "cut"]), min_size=num_envs, max_size=num_envs)
    return Stream(draw(st.lists(row, min_size=1, max_size=20)), draw(st.integers(0, 2**32 - 1)), draw(st.booleans()))


def filled(buffer_class: Any, stream: Stream, size: int, space: spaces.Space = SPACE, **kwargs: Any) -> Any:
    """A buffer that holds `size` transitions of each environment and was given the whole stream."""
    num_envs = len(stream.events[0])
    buffer = buffer_class(size * num_envs, space, ACTIONS, device="cpu", n_envs=num_envs, **kwargs)
    for obs, next_obs, *rest in stream:
        if isinstance(space, spaces.Box):
            obs, next_obs = obs["audio"], next_obs["audio"]
        buffer.add(obs, next_obs, *rest)
    return buffer


def every_transition(buffer: Any, env: VecNormalize | None = None) -> dict[str, np.ndarray]:
    """All that the buffer holds, as it would sample it, in the order of its rows and environments."""
    rows, columns = np.divmod(np.arange(buffer.size() * buffer.n_envs), buffer.n_envs)
    # SB3's buffers draw the environments on their own.
    with patch("numpy.random.randint", return_value=columns):
        samples = buffer._get_samples(rows, env=env)
    return tensors(samples)


def tensors(samples: Any) -> dict[str, np.ndarray]:
    """The arrays of some samples, those of dict observations under two names."""
    flat: dict[str, np.ndarray] = {}
    for field, value in samples._asdict().items():
        if isinstance(value, dict):
            flat |= {f"{field} {key}": tensor.numpy() for key, tensor in value.items()}
        elif value is not None:
            flat[field] = value.numpy()
    return flat


def assert_same(actual: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert actual.keys() == expected.keys()
    for name in expected:
        assert actual[name].dtype == expected[name].dtype, name
        np.testing.assert_array_equal(actual[name], expected[name], err_msg=name)


@given(streams(), st.integers(1, 8), st.booleans())
@settings(deadline=None, max_examples=200)
def test_every_transition_is_that_of_dict_replay_buffer(stream: Stream, size: int, handle_timeouts: bool) -> None:
    ours, theirs = (
        filled(buffer_class, stream, size, handle_timeout_termination=handle_timeouts)
        for buffer_class in (AudioReplayBuffer, DictReplayBuffer)
    )
    assert (ours.buffer_size, ours.size(), ours.pos, ours.full) == (size, theirs.size(), theirs.pos, theirs.full)
    assert_same(every_transition(ours), every_transition(theirs))


@given(streams(), st.integers(1, 8), st.integers(2, 5), st.booleans())
@settings(deadline=None, max_examples=200)
def test_n_step_returns_are_those_of_n_step_replay_buffer(
    stream: Stream, size: int, n_steps: int, handle_timeouts: bool
) -> None:
    kwargs: dict[str, Any] = {"n_steps": n_steps, "gamma": 0.9, "handle_timeout_termination": handle_timeouts}
    ours = every_transition(filled(AudioReplayBuffer, stream, size, **kwargs))
    theirs = every_transition(filled(NStepReplayBuffer, stream, size, space=SPACE["audio"], **kwargs))
    theirs = {f"{name} audio" if "observations" in name else name: value for name, value in theirs.items()}
    for name in theirs:
        if name in ("rewards", "discounts"):  # sums and powers in another order
            np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-6, atol=1e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


@given(streams(), st.integers(1, 5))
@settings(deadline=None, max_examples=100)
def test_n_step_returns_are_those_of_the_definition(stream: Stream, n_steps: int) -> None:
    """R = sum of gamma^k r_k up to the end of the episode or n steps; then gamma^k times the value of what is heard."""
    gamma = 0.9
    buffer = filled(AudioReplayBuffer, stream, size=len(stream.events), n_steps=n_steps, gamma=gamma)
    samples = every_transition(buffer)
    steps = list(stream)
    num_envs = len(stream.events[0])
    for t in range(len(steps)):
        for i in range(num_envs):
            total, k = 0.0, 0
            while True:
                _, next_obs, _, rewards, dones, infos = steps[t + k]
                total += gamma**k * rewards[i]
                k += 1
                if k == n_steps or t + k == len(steps) or dones[i]:
                    break
            j = t * num_envs + i
            assert samples["rewards"][j] == pytest.approx(total, rel=1e-5, abs=1e-5)
            assert samples["dones"][j] == (dones[i] and not infos[i]["TimeLimit.truncated"])
            for key in SPACE:
                np.testing.assert_array_equal(
                    samples[f"next_observations {key}"][j], np.reshape(next_obs[key][i], SPACE[key].shape or (1,))
                )
            if n_steps > 1:
                assert samples["discounts"][j] == pytest.approx(gamma**k)
            else:
                assert "discounts" not in samples


def test_samples_are_drawn_as_sb3_draws_them() -> None:
    stream = Stream([["on", "over", "late"]] * 12, seed=0)
    samples = []
    for buffer_class in (AudioReplayBuffer, DictReplayBuffer):
        buffer = filled(buffer_class, stream, size=8)
        np.random.seed(3)  # noqa: NPY002 (SB3's generator)
        samples.append(tensors(buffer.sample(32)))
    assert_same(*samples)


def test_audio_is_off_by_half_a_sixteen_bit_step_at_most() -> None:
    audio = np.random.default_rng(0).uniform(-1, 1, (2, 4000)).astype(np.float32)
    audio[0, :3] = 1.0, -1.0, 0.0
    kept = decompress_audio(compress_audio(audio), audio.shape)
    assert kept.dtype == np.float32
    assert np.abs(kept.astype(float) - audio).max() <= 0.5 / 32767 + 1e-7  # float32 itself steps by 6e-8 below 1
    np.testing.assert_array_equal(kept[0, :3], audio[0, :3])


def test_every_sixteen_bit_value_comes_back() -> None:
    audio = np.arange(-32767, 32768, dtype=np.float32) / np.float32(32767)
    np.testing.assert_array_equal(decompress_audio(compress_audio(audio), audio.shape), audio)


def test_audio_beyond_full_scale_is_clipped() -> None:
    audio = np.array([[1.5, -7.0], [np.inf, -np.inf]], np.float32)
    np.testing.assert_array_equal(decompress_audio(compress_audio(audio), (2, 2)), [[1, -1], [1, -1]])


def test_what_is_handed_in_stays_as_it_is_and_is_not_kept() -> None:
    buffer = AudioReplayBuffer(4, SPACE, ACTIONS, device="cpu")
    (transition,) = Stream([["on"]], seed=0)
    obs, next_obs = transition[:2]
    before = {key: array.copy() for key, array in obs.items()}
    buffer.add(*transition)
    for key in ("audio", "agent"):
        np.testing.assert_array_equal(obs[key], before[key])
        obs[key][:] = next_obs[key][:] = 0.5
        np.testing.assert_array_equal(every_transition(buffer)[f"observations {key}"], before[key])


@pytest.mark.parametrize("num_rounds", [1, 3], ids=["full", "wrapped-around"])
def test_each_observation_is_held_once(num_rounds: int) -> None:
    """White noise does not compress: its bytes tell how many observations are held."""
    space = spaces.Dict({"audio": spaces.Box(-1.0, 1.0, (2, 4000), np.float32)})
    size, episode = 40, 8
    buffer = AudioReplayBuffer(size, space, ACTIONS, device="cpu")
    rng = np.random.default_rng(0)

    def noise() -> dict[str, np.ndarray]:
        return {"audio": rng.uniform(-1, 1, (1, 2, 4000)).astype(np.float32)}

    obs = noise()
    for t in range(1, num_rounds * size + 1):
        done = t % episode == 0
        next_obs = noise()
        buffer.add(obs, next_obs, np.zeros(1), np.zeros(1), np.array([done]), [{}])
        obs = noise() if done else next_obs
    num_observations = size + size // episode  # the last one of each episode in addition
    assert buffer.nbytes == pytest.approx(num_observations * 2 * 4000 * 2, rel=0.01)


class SixteenBitAudio(gym.ObservationWrapper):
    """Makes the audio such as the buffer keeps exactly."""

    def observation(self, observation: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {**observation, "audio": on_the_grid(observation["audio"])}


def make_venv(make_env: MakeEnv, num_envs: int = 2) -> DummyVecEnv:
    venv = DummyVecEnv([lambda: SixteenBitAudio(make_env())] * num_envs)
    venv.seed(0)
    return venv


def make_model(venv: Any, **kwargs: Any) -> Any:
    return DQN(
        "MultiInputPolicy",
        venv,
        seed=0,
        device="cpu",
        buffer_size=30,
        learning_starts=10,
        batch_size=8,
        train_freq=1,
        policy_kwargs={"net_arch": [8]},
        **kwargs,
    )


def weights(model: Any) -> dict[str, np.ndarray]:
    return {name: weight.numpy() for name, weight in model.policy.state_dict().items()}


WRAPPERS = {
    "plain": lambda venv: venv,
    "stacked": lambda venv: VecFrameStack(venv, 3),
    "normalized": lambda venv: VecNormalize(venv, norm_obs_keys=["agent"]),
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_dqn_learns_the_same_as_with_sb3s_buffer(make_env: MakeEnv, wrap: Callable) -> None:
    """Around the buffer several times, over many ends of episodes, and again after a reset between two learns."""
    models = []
    for buffer_class in (AudioReplayBuffer, DictReplayBuffer):
        model = make_model(wrap(make_venv(make_env)), replay_buffer_class=buffer_class)
        untrained = {name: weight.copy() for name, weight in weights(model).items()}
        for _ in range(2):
            model.learn(61)
        models.append(model)
    assert not np.array_equal(weights(models[0])["q_net.q_net.0.weight"], untrained["q_net.q_net.0.weight"])
    assert_same(weights(models[0]), weights(models[1]))
    ours, theirs = (every_transition(model.replay_buffer, model.get_vec_normalize_env()) for model in models)
    assert_same(ours, theirs)


def test_dqn_learns_n_step_returns(make_env: MakeEnv) -> None:
    kwargs = {"n_steps": 3, "gamma": 0.9}
    model = make_model(
        make_venv(make_env), gamma=0.9, replay_buffer_class=AudioReplayBuffer, replay_buffer_kwargs=kwargs
    )
    model.learn(30)
    samples = tensors(model.replay_buffer.sample(100))
    np.testing.assert_allclose(np.unique(samples["discounts"]), [0.9**3, 0.9**2, 0.9], rtol=1e-6)


def test_it_is_saved_and_loaded_with_the_model(make_env: MakeEnv, tmp_path: Path) -> None:
    kwargs = {"n_steps": 3, "gamma": 0.9}
    model = make_model(make_venv(make_env), replay_buffer_class=AudioReplayBuffer, replay_buffer_kwargs=kwargs)
    model.learn(50)
    model.save(tmp_path / "model")
    model.save_replay_buffer(tmp_path / "buffer")
    loaded: Any = DQN.load(tmp_path / "model", env=make_venv(make_env))
    assert isinstance(loaded.replay_buffer, AudioReplayBuffer)
    assert (loaded.replay_buffer.n_steps, loaded.replay_buffer.gamma) == (3, 0.9)
    assert loaded.replay_buffer.size() == 0

    loaded.load_replay_buffer(tmp_path / "buffer")
    assert loaded.replay_buffer.nbytes == model.replay_buffer.nbytes  # each observation once still
    assert_same(every_transition(loaded.replay_buffer), every_transition(model.replay_buffer))
    loaded.learn(20)


MISTAKES = {
    "not-a-dict": ({"observation_space": SPACE["audio"]}, r"observation_space: expected Dict\(audio=Box"),
    "no-audio": ({"observation_space": spaces.Dict({"agent": SPACE["agent"]})}, "observation_space: expected Dict"),
    "no-box": ({"observation_space": spaces.Dict({"audio": spaces.Discrete(2)})}, "observation_space: expected Dict"),
    "unbounded": (
        {"observation_space": spaces.Dict({"audio": spaces.Box(-np.inf, np.inf, (2, 5), np.float32)})},
        r"observation_space: expected .*actual Dict\('audio': Box\(-inf, inf",
    ),
    "double": (
        {"observation_space": spaces.Dict({"audio": spaces.Box(-1.0, 1.0, (2, 5), np.float64)})},
        r"observation_space: expected .*float64",
    ),
    "optimize": ({"optimize_memory_usage": True}, "optimize_memory_usage: expected False, actual True"),
    "n_steps": ({"n_steps": 0}, "n_steps: expected at least 1, actual 0"),
    "gamma": ({"gamma": 1.01}, "gamma: expected 0 to 1, actual 1.01"),
}


@pytest.mark.parametrize(("arguments", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AudioReplayBuffer(**{"buffer_size": 4, "observation_space": SPACE, "action_space": ACTIONS, **arguments})


def test_nan_is_refused_and_nothing_kept() -> None:
    buffer = AudioReplayBuffer(4, SPACE, ACTIONS, device=torch.device("cpu"))
    first, second = Stream([["on"], ["on"]], seed=0)
    buffer.add(*first)
    before = every_transition(buffer)
    second[1]["audio"][0, 1, 2] = np.nan
    with pytest.raises(ValueError, match=r"audio: expected samples in \[-1, 1\], actual NaN"):
        buffer.add(*second)
    assert_same(every_transition(buffer), before)
