"""The wrapper that separates once: the same features as the extractor's, whatever it is wrapped in."""

from __future__ import annotations

import copy
import functools
import itertools
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    SubprocVecEnv,
    VecEnv,
    VecEnvWrapper,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
)

from auralnav_gym import Pose, Scene, ShoeBox, Source, SyntheticSounds
from auralnav_sb3 import SeparatedCuesExtractor, Separator, SeparatorConfig, VecSeparatedCues, extractor_kwargs

MakeEnv = Callable[..., gym.Env]
NUM_ENVS, NUM_STEPS = 3, 20


def make_venv(make_env: MakeEnv, num_envs: int = NUM_ENVS, **env_kwargs: Any) -> VecEnv:
    """Environments in a row; the same call gives the same ones."""
    venv = DummyVecEnv([lambda: make_env(**env_kwargs)] * num_envs)
    venv.seed(0)
    return venv


class Spy(VecEnvWrapper):
    """Keeps what it hands on, as it was and as it is after others had it in their hands."""

    def __init__(self, venv: VecEnv) -> None:
        super().__init__(venv)
        self.handed: list[Any] = []
        self.as_it_was: list[Any] = []

    def _keep(self, returned: Any) -> Any:
        self.handed.append(returned)
        self.as_it_was.append(copy.deepcopy(returned))
        return returned

    def reset(self) -> Any:
        return self._keep(self.venv.reset())

    def step_wait(self) -> Any:
        return self._keep(self.venv.step_wait())


def assert_same(first: Any, second: Any) -> None:
    """Equal in every key, item and bit."""
    assert type(first) is type(second)
    if isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            assert_same(first[key], second[key])
    elif isinstance(first, list | tuple):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            assert_same(one, other)
    else:
        np.testing.assert_array_equal(first, second)


def one_by_one(extractor: SeparatedCuesExtractor, observation: dict[str, np.ndarray]) -> np.ndarray:
    """The features of a single observation, the extractor called on a batch of one."""
    with torch.no_grad():
        return extractor({key: torch.from_numpy(value)[None] for key, value in observation.items()})[0].numpy()


@pytest.mark.parametrize(
    ("pose", "goal", "width"),
    [(True, None, 12), (False, None, 8), (True, "class", 15), (False, "example", 8)],
    ids=["pose", "no-pose", "goal", "example"],
)
def test_features_are_those_of_the_extractor_one_observation_at_a_time(
    make_env: MakeEnv, tiny: SeparatorConfig, pose: bool, goal: str | None, width: int
) -> None:
    raw = make_venv(make_env, pose=pose, goal=goal)
    extractor = SeparatedCuesExtractor(raw.observation_space, tiny, order="example" if goal == "example" else "none")
    spy = Spy(make_venv(make_env, pose=pose, goal=goal))
    venv: Any = VecSeparatedCues(spy, extractor)
    assert venv.observation_space == spaces.Box(-np.inf, np.inf, (width,), np.float32)

    def check(features: np.ndarray, observations: Any) -> None:
        assert features.shape == (NUM_ENVS, extractor.features_dim)
        assert features.dtype == np.float32
        for i in range(NUM_ENVS):
            single = one_by_one(extractor, {key: value[i] for key, value in observations.items()})
            np.testing.assert_allclose(features[i], single, rtol=1e-4, atol=1e-5)

    rng = np.random.default_rng(0)
    check(venv.reset(), raw.reset())
    num_ended = 0
    for _ in range(NUM_STEPS):
        actions = rng.integers(4, size=NUM_ENVS)
        features, rewards, dones, infos = venv.step(actions)
        raw_observations, raw_rewards, raw_dones, raw_infos = raw.step(actions)
        check(features, raw_observations)
        np.testing.assert_array_equal(rewards, raw_rewards)
        np.testing.assert_array_equal(dones, raw_dones)
        for done, info, raw_info in zip(dones, infos, raw_infos, strict=True):
            assert ("terminal_observation" in info) == done
            assert info["TimeLimit.truncated"] == raw_info["TimeLimit.truncated"]
            if done:
                num_ended += 1
                single = one_by_one(extractor, raw_info["terminal_observation"])
                assert venv.observation_space.contains(info["terminal_observation"])
                np.testing.assert_allclose(info["terminal_observation"], single, rtol=1e-4, atol=1e-5)
    assert num_ended > NUM_ENVS
    assert_same(spy.handed, spy.as_it_was)  # nothing of the inner environment's was touched


def test_the_extractor_runs_once_a_step(
    make_env: MakeEnv, tiny: SeparatorConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    venv = VecSeparatedCues(make_venv(make_env), separator=tiny)
    batches = []
    forward = SeparatedCuesExtractor.forward

    def counting_forward(extractor: SeparatedCuesExtractor, observations: dict[str, torch.Tensor]) -> torch.Tensor:
        batches.append(len(observations["audio"]))
        return forward(extractor, observations)

    monkeypatch.setattr(SeparatedCuesExtractor, "forward", counting_forward)
    venv.reset()
    expected = [NUM_ENVS]
    for _ in range(NUM_STEPS):
        dones = venv.step(np.zeros(NUM_ENVS, int))[2]
        expected.append(NUM_ENVS + int(dones.sum()))
    assert batches == expected
    assert max(expected) > NUM_ENVS


def test_the_extractor_can_be_given_by_its_arguments(make_env: MakeEnv, tiny: SeparatorConfig) -> None:
    venv, same = make_venv(make_env), make_venv(make_env)
    arguments = {"separator": tiny, "aggregation": "mean", "order": "energy", **extractor_kwargs(venv)}
    wrapped = VecSeparatedCues(venv, **arguments)
    assert wrapped.observation_space.shape == (3 * 2 + 4,)
    extractor = SeparatedCuesExtractor(same.observation_space, **arguments)
    np.testing.assert_array_equal(wrapped.reset(), VecSeparatedCues(same, extractor).reset())


def test_what_is_refused(make_env: MakeEnv, tiny: SeparatorConfig) -> None:
    venv = make_venv(make_env)
    with pytest.raises(ValueError, match=r"^extractor: expected freeze_separator=True, actual False; "):
        VecSeparatedCues(venv, separator=tiny, freeze_separator=False)
    extractor = SeparatedCuesExtractor(venv.observation_space, tiny, freeze_separator=False)
    with pytest.raises(ValueError, match=r"^extractor: expected freeze_separator=True, actual False; "):
        VecSeparatedCues(venv, extractor)
    extractor = SeparatedCuesExtractor(make_env(pose=False).observation_space, tiny)
    with pytest.raises(ValueError, match=r"^extractor: expected one for Dict\(.*agent.*\), actual one for Dict\(.*\)$"):
        VecSeparatedCues(venv, extractor)
    with pytest.raises(TypeError, match=r"^extractor: expected no arguments beside it, actual \['order'\]$"):
        VecSeparatedCues(venv, SeparatedCuesExtractor(venv.observation_space, tiny), order="none")


class TwoBands(gym.Wrapper):
    """Noise above and below 1 kHz, panned anew at every step, and each band alone in info, the high one first."""

    def __init__(self, env: gym.Env, seed: int = 0) -> None:
        super().__init__(env)
        self.rng = np.random.default_rng(seed)

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(**kwargs)
        return self._two_bands(observation, info)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        observation, info = self._two_bands(observation, info)
        return observation, reward, terminated, truncated, info

    def _two_bands(self, observation: Any, info: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        num_samples = observation["audio"].shape[1]
        noise = self.rng.standard_normal((2, num_samples)) * self.rng.uniform(0.02, 0.2, (2, 1))
        low = np.fft.rfftfreq(num_samples, 1 / 8000) < 1000
        bands = np.fft.irfft(np.fft.rfft(noise) * np.stack((~low, low)), n=num_samples)  # (S, N)
        alone = bands[:, None] * self.rng.uniform(0.3, 1.0, (2, 2, 1))  # (S, 2, N)
        info["source_audio"] = alone.astype(np.float32)
        return {**observation, "audio": alone.sum(axis=0).astype(np.float32)}, info


def make_two_bands(make_env: MakeEnv, seed: int) -> gym.Env:
    return TwoBands(make_env(), seed)


class Bands(torch.nn.Module):
    """A perfect separator of the two."""

    def forward(self, wav: torch.Tensor) -> torch.Tensor:
        spectrum = torch.fft.rfft(wav)
        low = torch.fft.rfftfreq(wav.shape[-1], 1 / 8000).to(wav) < 1000
        return torch.fft.irfft(torch.stack((spectrum * ~low, spectrum * low), dim=1), n=wav.shape[-1])


@pytest.mark.parametrize("order", ["none", "energy"])
@pytest.mark.parametrize("aggregation", ["mean", "weighted"])
def test_ideal_masks_are_those_of_a_perfect_separator(make_env: MakeEnv, aggregation: str, order: str) -> None:
    """In every observation: the first, those within episodes, and the last and the first where one ends."""

    def make_bands() -> VecEnv:
        venv = DummyVecEnv([functools.partial(make_two_bands, make_env, seed) for seed in range(NUM_ENVS)])
        venv.seed(0)
        return venv

    ideal: Any = VecSeparatedCues(make_bands(), ideal=True, aggregation=aggregation, order=order)
    perfect: Any = VecSeparatedCues(make_bands(), separator=Bands(), aggregation=aggregation, order=order)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-4)
    close(ideal.reset(), perfect.reset())
    num_ended = 0
    for _ in range(NUM_STEPS):
        features, _, dones, infos = ideal.step(np.zeros(NUM_ENVS, int))
        expected, _, _, expected_infos = perfect.step(np.zeros(NUM_ENVS, int))
        close(features, expected)
        for i in np.flatnonzero(dones):
            num_ended += 1
            close(infos[i]["terminal_observation"], expected_infos[i]["terminal_observation"])
    assert num_ended > NUM_ENVS


class ThreeBands(gym.Wrapper):
    """Noise in three bands, panned anew at every step; the first and the third are targets, and now and then silent."""

    EDGES = (0, 700, 2000, 4001)

    def __init__(self, env: gym.Env, seed: int = 0) -> None:
        super().__init__(env)
        self.rng = np.random.default_rng(seed)

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        return self._three_bands(*self.env.reset(**kwargs))

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        observation, info = self._three_bands(observation, info)
        return observation, reward, terminated, truncated, info

    def _three_bands(self, observation: Any, info: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        num_samples = observation["audio"].shape[1]
        frequency = np.fft.rfftfreq(num_samples, 1 / 8000)
        spectra = np.fft.rfft(self.rng.standard_normal((3, num_samples)) * self.rng.uniform(0.02, 0.2, (3, 1)))
        in_band = [(low <= frequency) & (frequency < high) for low, high in itertools.pairwise(self.EDGES)]
        bands = np.fft.irfft(spectra * np.stack(in_band), n=num_samples)  # (S, N)
        alone = bands[:, None] * self.rng.uniform(0.3, 1.0, (3, 2, 1))  # (S, 2, N)
        alone[[0, 2]] *= self.rng.random() < 0.7
        info |= {"source_audio": alone.astype(np.float32), "is_target": np.array([True, False, True])}
        return {**observation, "audio": alone.sum(axis=0).astype(np.float32)}, info


class OuterFirst(torch.nn.Module):
    """A perfect separator of the first and the third band from the second."""

    def forward(self, wav: torch.Tensor) -> torch.Tensor:
        spectrum = torch.fft.rfft(wav)
        frequency = torch.fft.rfftfreq(wav.shape[-1], 1 / 8000).to(wav)
        inner = (ThreeBands.EDGES[1] <= frequency) & (frequency < ThreeBands.EDGES[2])
        return torch.fft.irfft(torch.stack((spectrum * ~inner, spectrum * inner), dim=1), n=wav.shape[-1])


def test_ideal_masks_with_the_targets_first(make_env: MakeEnv) -> None:
    """Against a perfect separator that puts the targets, which are nowhere else in frequency, into the first slot."""

    def make_bands() -> VecEnv:
        venv = DummyVecEnv([lambda seed=seed: ThreeBands(make_env(), seed) for seed in range(NUM_ENVS)])
        venv.seed(0)
        return venv

    ideal: Any = VecSeparatedCues(make_bands(), ideal=True, slots="target")
    perfect: Any = VecSeparatedCues(make_bands(), separator=OuterFirst(), slots="target")
    # What rounding leaves of a silent target in the separator has nearly faded from its cues.
    close = functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=0.02)
    close(ideal.reset(), perfect.reset())
    silent = 0
    for _ in range(NUM_STEPS):
        features, _, dones, infos = ideal.step(np.zeros(NUM_ENVS, int))
        expected, _, _, expected_infos = perfect.step(np.zeros(NUM_ENVS, int))
        close(features, expected)
        silent += int((features[:, :4] == 0).all(axis=1).sum())
        for i in np.flatnonzero(dones):
            close(infos[i]["terminal_observation"], expected_infos[i]["terminal_observation"])
    assert 0 < silent < NUM_ENVS * NUM_STEPS


@pytest.mark.parametrize("side", [1, -1], ids=["target left", "target right"])
def test_the_first_ideal_slot_is_where_the_target_is(side: int) -> None:
    """In the real environment: a voice on one side, two louder sounds on the other."""
    bank = SyntheticSounds(per_kind=1, seconds=1.0)
    voice, bell, engine = (bank.of_kinds([kind])[0] for kind in ("speech", "bell", "engine"))
    sources = (
        Source((4.0, 4.0 + 2.5 * side, 1.5), voice),
        Source((3.5, 4.0 - 2.5 * side, 1.5), bell, level_db=6.0, is_target=False),
        Source((5.0, 4.0 - 3.0 * side, 1.5), engine, level_db=6.0, is_target=False),
    )
    scene = Scene(ShoeBox((8.0, 8.0, 3.0), rt60=0.3), sources, Pose(4.0, 4.0, 0.0))

    def make() -> gym.Env:
        return gym.make("AuralNav-Distractors-v0", sounds=bank, source_audio=True, pose=False)

    venv: Any = VecSeparatedCues(DummyVecEnv([make]), ideal=True, slots="target")
    venv.set_options({"scene": scene})
    (features,) = venv.reset()
    ild = {"target": features[2], "rest": features[6]}
    assert side * ild["target"] > 0.1  # 1 dB
    assert side * ild["rest"] < -0.1
    assert features[3] < features[7]  # its volume
    (silent,) = VecSeparatedCues(
        DummyVecEnv([lambda: gym.make("AuralNav-v0", sounds=bank, source_audio=True)]), ideal=True, slots="target"
    ).reset()
    assert silent[:4].any()
    assert not silent[4:8].any()  # where all are targets there is no rest


def test_ideal_masks_in_subprocesses_of_the_real_environment() -> None:
    """Those hand over the infos of resets in their own way."""
    sounds = SyntheticSounds(per_kind=1, seconds=1.0)

    def make() -> gym.Env:
        world: dict[str, Any] = {"sounds": sounds, "listen_seconds": 0.1, "max_order": 0}
        return gym.make("AuralNav-v0", source_audio=True, max_episode_steps=3, **world)

    venv: Any = VecSeparatedCues(SubprocVecEnv([make] * 2, start_method="fork"), ideal=True)
    venv.seed(0)
    features = [venv.reset()]
    venv_alone: Any = VecSeparatedCues(DummyVecEnv([make] * 2), ideal=True)
    venv_alone.seed(0)
    expected = [venv_alone.reset()]
    for _ in range(4):
        features.append(venv.step(np.zeros(2, int))[0])
        expected.append(venv_alone.step(np.zeros(2, int))[0])
    venv.close()
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-4)
    assert np.isfinite(features).all()


def test_what_ideal_masks_refuse(make_env: MakeEnv, tiny: SeparatorConfig) -> None:
    with pytest.raises(TypeError, match=r"^separator: expected none beside ideal=True, "):
        VecSeparatedCues(make_venv(make_env), ideal=True, separator=tiny)
    with pytest.raises(ValueError, match=r"^extractor: expected num_frames=1 with ideal=True, actual 2; "):
        VecSeparatedCues(VecFrameStack(make_venv(make_env), 2), ideal=True, num_frames=2)
    with pytest.raises(ValueError, match=r'^ideal: expected info\["source_audio"\], actual none; .*source_audio=True$'):
        VecSeparatedCues(make_venv(make_env), ideal=True).reset()
    three = VecSeparatedCues(DummyVecEnv([lambda: TwoBands(make_env())]), ideal=True, num_sources=3)
    with pytest.raises(
        ValueError, match=r"^num_sources: expected the 2 sources of the scene with ideal=True, actual 3$"
    ):
        three.reset()


def test_what_slots_refuse(make_env: MakeEnv, tiny: SeparatorConfig) -> None:
    with pytest.raises(ValueError, match=r"^slots: expected one of \['sources', 'target'\], actual 'both'$"):
        VecSeparatedCues(make_venv(make_env), separator=tiny, slots="both")
    with pytest.raises(ValueError, match=r'^order: expected "none" with slots="target", .*, actual \'energy\'; '):
        VecSeparatedCues(make_venv(make_env), separator=tiny, order="energy", slots="target")
    with pytest.raises(ValueError, match=r'^num_sources: expected 2 with slots="target", .*, actual 3; '):
        VecSeparatedCues(make_venv(make_env), separator="none", num_sources=3, slots="target")
    unsorted = Separator(tiny.build(), slots="any order")
    with pytest.raises(ValueError, match=r"^separator: expected one that fills its slots by kind .*any order"):
        VecSeparatedCues(make_venv(make_env), separator=unsorted, num_sources=2, slots="target")
    untold = VecSeparatedCues(DummyVecEnv([lambda: TwoBands(make_env())]), ideal=True, slots="target")
    with pytest.raises(ValueError, match=r'^ideal: expected info\["is_target"\], actual none; .*source_audio=True$'):
        untold.reset()


def test_device(make_env: MakeEnv, tiny: SeparatorConfig) -> None:
    """On the meta device nothing is computed, and so nothing can be handed on; that it got there is all it shows."""
    for device, expected in ((None, "cpu"), ("cpu", "cpu"), ("meta", "meta")):
        venv = VecSeparatedCues(make_venv(make_env), separator=tiny, device=device)
        assert {weight.device.type for weight in venv.extractor.parameters()} == {expected}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_features_are_the_same_on_a_gpu(make_env: MakeEnv, tiny: SeparatorConfig) -> None:
    on_cpu = VecSeparatedCues(make_venv(make_env), separator=tiny)
    on_gpu = VecSeparatedCues(make_venv(make_env), separator=tiny, device="cuda")
    np.testing.assert_allclose(on_gpu.reset(), on_cpu.reset(), rtol=1e-3, atol=1e-3)


def wrap_monitor_inside(venv: VecEnv, tiny: SeparatorConfig) -> VecEnv:
    return VecSeparatedCues(VecMonitor(venv), separator=tiny)


def wrap_monitor_outside(venv: VecEnv, tiny: SeparatorConfig) -> VecEnv:
    return VecMonitor(VecSeparatedCues(venv, separator=tiny))


def wrap_normalize_outside(venv: VecEnv, tiny: SeparatorConfig) -> VecEnv:
    return VecNormalize(VecSeparatedCues(venv, separator=tiny))


def wrap_normalize_inside(venv: VecEnv, tiny: SeparatorConfig) -> VecEnv:
    return VecSeparatedCues(VecNormalize(venv, norm_obs=False), separator=tiny)


def wrap_stack_outside(venv: VecEnv, tiny: SeparatorConfig) -> VecEnv:
    return VecFrameStack(VecSeparatedCues(venv, separator=tiny), n_stack=3)


def wrap_stack_inside(venv: VecEnv, tiny: SeparatorConfig) -> VecEnv:
    return VecSeparatedCues(VecFrameStack(venv, n_stack=2), separator=tiny)


@pytest.mark.parametrize(
    ("wrap", "features_dim"),
    [
        (wrap_monitor_inside, 12),
        (wrap_monitor_outside, 12),
        (wrap_normalize_inside, 12),
        (wrap_normalize_outside, 12),
        (wrap_stack_inside, 16),
        (wrap_stack_outside, 36),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_it_works_inside_and_outside_of_sb3s_wrappers(
    make_env: MakeEnv, tiny: SeparatorConfig, wrap: Callable[..., VecEnv], features_dim: int
) -> None:
    venv: Any = wrap(make_venv(make_env), tiny)
    assert venv.observation_space.shape == (features_dim,)
    assert venv.reset().shape == (NUM_ENVS, features_dim)
    num_ended = 0
    for _ in range(NUM_STEPS):
        features, _, dones, infos = venv.step(np.zeros(NUM_ENVS, int))
        assert features.shape == (NUM_ENVS, features_dim)
        assert np.isfinite(features).all()
        for done, info in zip(dones, infos, strict=True):
            if done:
                num_ended += 1
                assert info["terminal_observation"].shape == (features_dim,)
                if "monitor" in wrap.__name__:
                    assert info["episode"]["l"] in range(3, 7)
    assert num_ended > 0


def test_stacked_features_are_those_of_the_last_steps(make_env: MakeEnv, tiny: SeparatorConfig) -> None:
    """The terminal observation, too, ends with the features of the last observation and not of the next episode's."""
    stacked: Any = VecFrameStack(VecSeparatedCues(make_venv(make_env, 1), separator=tiny), n_stack=2)
    plain: Any = VecSeparatedCues(make_venv(make_env, 1), separator=tiny)
    previous = plain.reset()
    stacked.reset()
    for _ in range(NUM_STEPS):
        features, _, dones, infos = plain.step(np.zeros(1, int))
        stacked_features, _, _, stacked_infos = stacked.step(np.zeros(1, int))
        if dones[0]:
            expected = np.concatenate((previous[0], infos[0]["terminal_observation"]))
            np.testing.assert_array_equal(stacked_infos[0]["terminal_observation"], expected)
            np.testing.assert_array_equal(stacked_features[0, 12:], features[0])
        else:
            np.testing.assert_array_equal(stacked_features[0], np.concatenate((previous[0], features[0])))
        previous = features


@pytest.mark.parametrize("algorithm", [DQN, PPO], ids=["DQN", "PPO"])
def test_an_ordinary_mlp_trains_on_it(
    algorithm: type[DQN] | type[PPO], make_env: MakeEnv, tiny: SeparatorConfig
) -> None:
    venv = VecMonitor(VecSeparatedCues(make_venv(make_env), separator=tiny))
    arguments: dict[str, Any] = (
        {"learning_starts": 20, "buffer_size": 200} if algorithm is DQN else {"n_steps": 16, "batch_size": 16}
    )
    model: Any = algorithm("MlpPolicy", venv, seed=0, device="cpu", **arguments)
    before = [weight.detach().clone() for weight in model.policy.parameters()]
    model.learn(96)
    assert any(not torch.equal(old, new) for old, new in zip(before, model.policy.parameters(), strict=True))
    if algorithm is DQN:
        assert model.replay_buffer.observations.shape[-1] == 12
        # What was cut short or ended is stored with the features of its own last observation.
        assert np.isfinite(model.replay_buffer.next_observations[: model.replay_buffer.pos]).all()
