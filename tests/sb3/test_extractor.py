"""The extractor as SB3 uses it: features, gradients, modes, target networks, saved models."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import QRDQN
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecFrameStack, VecNormalize
from torch import Tensor, nn

from auralnav_sb3 import (
    Normalization,
    SeparatedCuesExtractor,
    Separator,
    SeparatorConfig,
    VecSeparatedCues,
    extract_features,
    extractor_kwargs,
    load_separator,
)
from auralnav_sb3.separation import mono_mixdown

NUM_SAMPLES = 800
AUDIO = spaces.Box(-1.0, 1.0, (2, NUM_SAMPLES), np.float32)
AGENT = spaces.Box(-1.0, 1.0, (4,), np.float32)
SPACE = spaces.Dict({"audio": AUDIO, "agent": AGENT})
# How the algorithms get to a first update within a few steps.
OFF_POLICY = {"learning_starts": 4, "batch_size": 4, "buffer_size": 50, "train_freq": 4}
ALGORITHMS: dict[type[BaseAlgorithm], dict[str, Any]] = {
    DQN: OFF_POLICY,
    QRDQN: OFF_POLICY,
    PPO: {"n_steps": 8, "batch_size": 4, "n_epochs": 1},
    A2C: {"n_steps": 4},
}
algorithms = pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda algorithm: algorithm.__name__)


class Bands(nn.Module):
    """A perfect separator of what lies below and above 600 Hz."""

    def forward(self, wav: Tensor) -> Tensor:
        spectrum = torch.fft.rfft(wav)
        low = torch.fft.rfftfreq(wav.shape[-1], 1 / 8000).to(wav) < 600
        return torch.fft.irfft(torch.stack((spectrum * low, spectrum * ~low), dim=1), n=wav.shape[-1])


class NoSeparation(nn.Module):
    """Every source is the mixture."""

    def forward(self, wav: Tensor) -> Tensor:
        return wav.unsqueeze(1).expand(-1, 2, -1)


def observations(batch: int = 3, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "audio": 0.1 * torch.randn(batch, 2, NUM_SAMPLES, generator=generator),
        "agent": torch.rand(batch, 4, generator=generator),
    }


def make_model(
    algorithm: type[BaseAlgorithm], env: gym.Env, separator: Any, freeze: bool = True, **overrides: Any
) -> Any:
    policy_kwargs = {
        "features_extractor_class": SeparatedCuesExtractor,
        "features_extractor_kwargs": {"separator": separator, "freeze_separator": freeze, **extractor_kwargs(env)},
        "net_arch": [8],
    }
    arguments = {**ALGORITHMS[algorithm], **overrides}
    return algorithm("MultiInputPolicy", env, policy_kwargs=policy_kwargs, seed=0, device="cpu", **arguments)


def extractors(model: BaseAlgorithm) -> list[SeparatedCuesExtractor]:
    return [module for module in model.policy.modules() if isinstance(module, SeparatedCuesExtractor)]


def copy_of(module: nn.Module) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in module.state_dict().items()}


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_the_stand_in_is_a_proper_environment(make_env: Callable[..., gym.Env]) -> None:
    """All SB3 has to say is that a (2, N) box is neither a vector nor an image."""
    with pytest.warns(UserWarning) as warnings:  # noqa: PT030 (the texts are checked below)
        check_env(make_env())
    assert all("unconventional shape" in str(warning.message) for warning in warnings), [w.message for w in warnings]


# ==== Features ====


# Long, for its mirrored ends not to weigh: in the first and the last frame of an STFT every phase is 0 or pi.
LONG_SPACE = spaces.Dict({"audio": spaces.Box(-1.0, 1.0, (2, 32_000), np.float32), "agent": AGENT})


def plane_waves(
    frequencies: tuple[float, ...], azimuths: tuple[float, ...], levels_db: tuple[float, ...], dtype: type = np.float32
) -> Tensor:
    """(1, 2, N): one tone from each azimuth (degrees, positive left), its left ear louder by the level."""
    time = np.arange(32_000) / 8000
    audio = np.zeros((2, 32_000))
    for frequency, azimuth, level_db in zip(frequencies, azimuths, levels_db, strict=True):
        delay = 0.17 * math.sin(math.radians(azimuth)) / 343.0
        audio[0] += 0.05 * 10 ** (level_db / 20) * np.sin(2 * np.pi * frequency * time)
        audio[1] += 0.05 * np.sin(2 * np.pi * frequency * (time - delay))
    return torch.from_numpy(audio.astype(dtype))[None]


def test_features_are_laid_out_source_by_source_then_the_agent() -> None:
    """Two tones in the middle of bins 12 and 28, the low one from the left and the high one from the right."""
    waves = (375.0, 875.0), (60.0, -20.0), (4.0, -8.0)
    audio = plane_waves(*waves)
    agent = torch.tensor([[0.1, 0.2, 0.3, 0.4]])
    extractor = SeparatedCuesExtractor(LONG_SPACE, Bands())
    features = extractor({"audio": audio, "agent": agent})
    assert features.shape == (1, extractor.features_dim) == (1, 2 * 4 + 4)
    phase = [2 * math.pi * f * 0.17 * math.sin(math.radians(az)) / 343.0 for f, az in ((375, 60), (875, -20))]
    for s in range(2):
        assert features[0, 4 * s].item() == pytest.approx(math.sin(phase[s]), abs=0.02)
        assert features[0, 4 * s + 1].item() == pytest.approx(math.cos(phase[s]), abs=0.02)
        assert features[0, 4 * s + 2].item() == pytest.approx((0.4, -0.8)[s], abs=0.02)
    assert torch.equal(features[:, 8:], agent)

    # In double precision, for the plain mean counts the rounding in all the empty bins as much as the tones.
    observation = {"audio": plane_waves(*waves, dtype=np.float64), "agent": agent}
    mean = SeparatedCuesExtractor(LONG_SPACE, Bands(), aggregation="mean")(observation)
    assert mean.shape == (1, 2 * 3 + 4)
    assert torch.equal(torch.sign(mean[0, :6]).float(), torch.tensor([1.0, 1.0, 1.0, -1.0, -1.0, 1.0]))
    # The third of the three is the volume, whose logarithm is the fourth of the four.
    torch.testing.assert_close(torch.log10(1 + 1000 * mean[0, [2, 5]]).float(), features[0, [3, 7]])


@pytest.mark.parametrize(("aggregation", "num_cues"), [("mean", 3), ("weighted", 4)])
@pytest.mark.parametrize("num_sources", [1, 3])
@pytest.mark.parametrize("pose", [True, False], ids=["pose", "no-pose"])
def test_features_dim(tiny: SeparatorConfig, aggregation: str, num_cues: int, num_sources: int, pose: bool) -> None:
    space = SPACE if pose else spaces.Dict({"audio": AUDIO})
    config = SeparatorConfig(**{**tiny.__dict__, "num_sources": num_sources})
    extractor = SeparatedCuesExtractor(space, config, num_sources=num_sources, aggregation=aggregation)
    batch = observations()
    features = extractor(batch if pose else {"audio": batch["audio"]})
    assert features.shape == (3, extractor.features_dim)
    assert extractor.features_dim == num_cues * num_sources + (4 if pose else 0)
    assert features.dtype == torch.float32


def test_energy_order_puts_the_louder_source_first() -> None:
    """The low source is the quieter one: "none" keeps it first, "energy" puts it second."""
    audio = plane_waves((375.0, 875.0), (60.0, -20.0), (-20.0, 6.0))
    batch = {"audio": audio, "agent": torch.zeros(1, 4)}
    unordered = SeparatedCuesExtractor(LONG_SPACE, Bands())(batch)[0]
    ordered = SeparatedCuesExtractor(LONG_SPACE, Bands(), order="energy")(batch)[0]
    torch.testing.assert_close(ordered[:4], unordered[4:8])
    torch.testing.assert_close(ordered[4:8], unordered[:4])
    assert unordered[0] > 0 > unordered[4]


def test_a_separator_that_hands_on_the_mixture_gives_each_source_the_same_cues() -> None:
    batch = observations()
    extractor = SeparatedCuesExtractor(SPACE, NoSeparation())
    torch.testing.assert_close(
        extractor.separate(batch["audio"]), mono_mixdown(batch["audio"]).unsqueeze(1).expand(-1, 2, -1)
    )
    features = extractor(batch)
    torch.testing.assert_close(features[:, :4], features[:, 4:8])


def test_ear_spacing_and_transform_reach_the_cues(tiny: SeparatorConfig) -> None:
    audio = observations()
    default = SeparatedCuesExtractor(SPACE, tiny)(audio)
    for changed in ({"ear_spacing": 0.3}, {"n_fft": 128}, {"hop_length": 64}, {"seed": 1}):
        assert not torch.allclose(SeparatedCuesExtractor(SPACE, tiny, **changed)(audio), default), changed


def test_silence_gives_finite_features_and_gradients(tiny: SeparatorConfig) -> None:
    for aggregation in ("mean", "weighted"):
        extractor = SeparatedCuesExtractor(SPACE, tiny, aggregation=aggregation, freeze_separator=False)
        features = extractor({"audio": torch.zeros(2, 2, NUM_SAMPLES), "agent": torch.zeros(2, 4)})
        features.square().sum().backward()
        expected = [0.0, 0.0, 0.0] if aggregation == "mean" else [0.0] * 4
        torch.testing.assert_close(features, torch.tensor([expected * 2 + [0.0] * 4] * 2))
        for weight in extractor.parameters():
            assert weight.grad is not None
            assert torch.isfinite(weight.grad).all()


def test_a_goal_follows_the_agent_and_an_example_is_no_feature(tiny: SeparatorConfig) -> None:
    goal, example = spaces.Box(0, 1, (3,), np.float32), spaces.Box(-1, 1, (500,), np.float32)
    told = spaces.Dict({**SPACE.spaces, "goal": goal, "example": example})
    batch = observations()
    more = {"goal": torch.eye(3), "example": 0.1 * torch.randn(3, 500, generator=torch.Generator().manual_seed(1))}
    extractor = SeparatedCuesExtractor(told, tiny)
    features = extractor({**batch, **more})
    assert features.shape == (3, extractor.features_dim) == (3, 8 + 4 + 3)
    assert torch.equal(features[:, :12], SeparatedCuesExtractor(SPACE, tiny)(batch))
    assert torch.equal(features[:, 12:], torch.eye(3))
    without_agent = spaces.Dict({"audio": AUDIO, "goal": goal})
    features = SeparatedCuesExtractor(without_agent, tiny)({"audio": batch["audio"], "goal": more["goal"]})
    assert torch.equal(features[:, 8:], torch.eye(3))


def test_example_order_puts_first_what_sounds_like_the_example() -> None:
    """Two tones, and an example of either: of each item of the batch its own. How loud it is makes no difference."""
    space = spaces.Dict({**LONG_SPACE.spaces, "example": spaces.Box(-1, 1, (2000,), np.float32)})
    audio = plane_waves((375.0, 875.0), (60.0, -20.0), (4.0, -8.0)).expand(2, -1, -1)
    time = torch.arange(2000) / 8000
    example = torch.stack([0.5 * torch.sin(2 * torch.pi * 375 * time), 1e-3 * torch.sin(2 * torch.pi * 875 * time)])
    batch = {"audio": audio, "agent": torch.zeros(2, 4), "example": example}
    unordered = SeparatedCuesExtractor(space, Bands())(batch)
    ordered = SeparatedCuesExtractor(space, Bands(), order="example")(batch)
    torch.testing.assert_close(ordered[0], unordered[0])
    torch.testing.assert_close(ordered[1, :4], unordered[1, 4:8])
    torch.testing.assert_close(ordered[1, 4:8], unordered[1, :4])
    assert unordered[0, 0] > 0 > unordered[0, 4]


def test_extractor_kwargs_are_read_off_the_environment(make_env: Callable[..., gym.Env]) -> None:
    expected = {"num_sources": 2, "sample_rate": 8000, "ear_spacing": 0.17, "pair": (0, 1)}
    assert extractor_kwargs(make_env()) == expected
    assert extractor_kwargs(gym.wrappers.TimeLimit(make_env(), 5)) == expected
    env = make_env()
    env.ears = SimpleNamespace(positions=np.array([[0.1, 0.0, 0.0], [-0.1, 0.0, 0.0]]))  # type: ignore[attr-defined]
    assert extractor_kwargs(DummyVecEnv([lambda: env])) == {**expected, "ear_spacing": 0.2}


@pytest.mark.parametrize(("slots", "num_sources"), [("sources", 5), ("target", 2)])
def test_slots_for_distractors(make_env: Callable[..., gym.Env], slots: str, num_sources: int) -> None:
    env = make_env()
    env.num_distractors = 3  # type: ignore[attr-defined]
    assert extractor_kwargs(env, slots)["num_sources"] == num_sources
    assert extractor_kwargs(DummyVecEnv([lambda: env]), slots)["num_sources"] == num_sources
    with pytest.raises(ValueError, match=r"^slots: expected one of \['sources', 'target'\], actual 'targets'$"):
        extractor_kwargs(env, "targets")


# ==== Stacked frames ====


def normalization(num_features: int, seed: int = 0) -> Normalization:
    rng = np.random.default_rng(seed)
    return Normalization(rng.normal(size=num_features), rng.uniform(0.1, 2, num_features), epsilon=1e-3, clip=1.2)


def with_statistics(venv: VecEnv, given: Normalization) -> VecEnv:
    """SB3's VecNormalize with statistics that stay."""
    normalized = VecNormalize(venv, training=False, norm_reward=False, clip_obs=given.clip, epsilon=given.epsilon)
    statistics: Any = normalized.obs_rms
    statistics.mean, statistics.var = given.mean, given.var
    return normalized


@pytest.mark.parametrize(
    ("pose", "goal"),
    [(True, None), (False, None), (True, "class"), (False, "class"), (False, "example")],
    ids=["pose", "no-pose", "pose-goal", "goal", "example"],
)
@pytest.mark.parametrize("below", [False, True], ids=["", "normalized-below"])
@pytest.mark.parametrize("above", [False, True], ids=["", "normalized-above"])
def test_stacked_frames_give_what_sb3s_wrappers_give_over_cues(
    pose: bool, goal: str | None, below: bool, above: bool, make_env: Callable[..., gym.Env], tiny: SeparatorConfig
) -> None:
    """Through resets, whose frames before the first are zeros, and ends of episodes."""

    def make_venv() -> VecEnv:
        venv = DummyVecEnv([lambda: make_env(pose=pose, goal=goal)] * 2)
        venv.seed(0)
        return venv

    frame_dim = 8 + 4 * pose + 3 * (goal == "class")
    frame, every = normalization(frame_dim), normalization(3 * frame_dim, seed=1)
    order = "example" if goal == "example" else "none"
    venv: Any = VecSeparatedCues(make_venv(), separator=tiny, order=order)
    venv = with_statistics(venv, frame) if below else venv
    venv = VecFrameStack(venv, 3)
    venv = with_statistics(venv, every) if above else venv
    raw: Any = VecFrameStack(make_venv(), 3)
    extractor = SeparatedCuesExtractor(
        raw.observation_space,
        tiny,
        order=order,
        num_frames=3,
        frame_normalization=frame if below else None,
        normalization=every if above else None,
    )
    assert extractor.features_dim == 3 * frame_dim

    def check(observations: Any, expected: np.ndarray) -> None:
        np.testing.assert_allclose(extract_features(extractor, observations), expected, rtol=1e-4, atol=1e-4)

    check(raw.reset(), venv.reset())
    num_ended = 0
    for _ in range(12):
        actions = np.zeros(2, int)
        observations, _, _, raw_infos = raw.step(actions)
        features, _, _, infos = venv.step(actions)
        check(observations, features)
        for raw_info, info in zip(raw_infos, infos, strict=True):
            if "terminal_observation" in info:
                num_ended += 1
                last = {key: value[None] for key, value in raw_info["terminal_observation"].items()}
                check(last, info["terminal_observation"][None])
    assert num_ended >= 3


def test_silence_is_padding_only_before_anything_is_heard(tiny: SeparatorConfig) -> None:
    """In the middle of an episode, and in the newest frame, silence is normalized as any other frame."""
    space = spaces.Dict({"audio": spaces.Box(-1.0, 1.0, (2, 4 * NUM_SAMPLES), np.float32)})
    frame = normalization(8)
    extractor = SeparatedCuesExtractor(space, tiny, num_frames=4, frame_normalization=frame)
    sound, silence = observations(1)["audio"], torch.zeros(1, 2, NUM_SAMPLES)
    of_silence = torch.from_numpy(np.clip(-frame.mean / np.sqrt(frame.var + frame.epsilon), -frame.clip, frame.clip))
    for sounding, expected in ((0, [0, 0, 0, 1]), (1, [0, 2, 1, 1]), (2, [0, 0, 2, 1]), (3, [0, 0, 0, 2])):
        frames = [sound if i == sounding and sounding > 0 else silence for i in range(4)]
        features = extractor({"audio": torch.cat(frames, dim=-1)}).reshape(4, 8)
        for each, kind in zip(features, expected, strict=True):
            if kind == 0:
                assert not each.any()
            elif kind == 1:
                torch.testing.assert_close(each, of_silence.float())
            else:
                assert not torch.allclose(each, of_silence.float(), atol=1e-2)
                assert each.any()


def test_a_pose_tells_silence_from_padding(tiny: SeparatorConfig) -> None:
    space = spaces.Dict(
        {
            "audio": spaces.Box(-1.0, 1.0, (2, 2 * NUM_SAMPLES), np.float32),
            "agent": spaces.Box(-1.0, 1.0, (8,), np.float32),
        }
    )
    frame = normalization(12)
    extractor = SeparatedCuesExtractor(space, tiny, num_frames=2, frame_normalization=frame)
    agent = torch.tensor([[0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0]])
    features = extractor({"audio": torch.zeros(1, 2, 2 * NUM_SAMPLES), "agent": agent})
    torch.testing.assert_close(features[:, :12], features[:, 12:])
    assert features[:, :12].any()


def test_normalizations_are_saved_with_the_weights(tiny: SeparatorConfig) -> None:
    first = SeparatedCuesExtractor(SPACE, tiny, normalization=normalization(12), frame_normalization=normalization(12))
    other = SeparatedCuesExtractor(
        SPACE, tiny, normalization=normalization(12, 1), frame_normalization=normalization(12, 2)
    )
    batch = observations()
    assert not torch.allclose(first(batch), other(batch))
    other.load_state_dict(first.state_dict())
    assert torch.equal(first(batch), other(batch))


def test_arguments_make_the_same_extractor_again(tiny: SeparatorConfig) -> None:
    stacked = 2 * NUM_SAMPLES
    space = spaces.Dict({"audio": spaces.Box(-1.0, 1.0, (2, stacked)), "example": spaces.Box(-1.0, 1.0, (stacked,))})
    arguments: dict[str, Any] = {
        "aggregation": "mean",
        "freeze_separator": False,
        "order": "example",
        "ear_spacing": 0.3,
        "n_fft": 128,
        "hop_length": 32,
        "num_frames": 2,
        "frame_normalization": normalization(6),
        "normalization": normalization(12),
    }
    extractor = SeparatedCuesExtractor(space, tiny, **arguments, seed=5)
    given = extractor.arguments
    assert {name: given[name] for name in arguments} == arguments
    audio = observations()["audio"].repeat(1, 1, 2)
    batch = {"audio": audio, "example": audio[:, 0]}
    again = SeparatedCuesExtractor(space, **given)
    assert torch.equal(again(batch), extractor(batch))
    assert again.separator is not extractor.separator


def test_the_weights_of_the_separator_are_marked(tiny: SeparatorConfig, make_env: Callable[..., gym.Env]) -> None:
    model = make_model(DQN, make_env(), tiny, freeze=False)
    of_separators = {id(weight) for extractor in extractors(model) for weight in extractor.separator.parameters()}
    marked = {id(weight) for weight in model.policy.parameters() if getattr(weight, "belongs_to_separator", False)}
    assert marked == of_separators


# ==== Bad input ====


@pytest.mark.parametrize(
    "space",
    [
        AUDIO,
        spaces.Dict({"agent": AGENT}),
        spaces.Dict({"audio": spaces.Box(-1, 1, (NUM_SAMPLES,))}),
        spaces.Dict({"audio": AUDIO, "agent": spaces.Box(-1, 1, (2, 2))}),
        spaces.Dict({"audio": AUDIO, "goal": spaces.Discrete(3)}),
        spaces.Dict({"audio": AUDIO, "example": AUDIO}),
        spaces.Dict({"audio": AUDIO, "map": AGENT}),
    ],
    ids=["no-dict", "no-audio", "flat", "agent-2d", "goal-discrete", "example-stereo", "unknown-key"],
)
def test_observation_spaces_that_are_refused(space: spaces.Space) -> None:
    with pytest.raises(ValueError, match=r"^observation_space: expected Dict\(audio=Box\(E, N\)\) or .*, actual "):
        SeparatedCuesExtractor(space)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"aggregation": "max"}, r"aggregation: expected one of \['mean', 'weighted'\], actual 'max'"),
        ({"order": "name"}, r"order: expected one of \['none', 'energy', 'example'\], actual 'name'"),
        ({"order": "example"}, r"order: expected observations with an example for \"example\", .*, actual Dict.*"),
        ({"ear_spacing": -0.1}, "ear_spacing: expected at least 0 m, actual -0.1"),
        ({"ear_spacing": float("nan")}, "ear_spacing: expected at least 0 m, actual nan"),
        ({"num_sources": 0}, "num_sources: expected at least 1, actual 0"),
        ({"hop_length": 0}, "hop_length: expected at least 1, actual 0"),
        ({"num_frames": 0}, "num_frames: expected at least 1, actual 0"),
        ({"num_frames": 3}, "num_frames: expected an observation space of 3 frames, each .*, actual Dict.*"),
        ({"normalization": normalization(8)}, r"normalization: expected a mean of shape \(12,\), actual \(8,\)"),
        (
            {"num_frames": 2, "frame_normalization": normalization(12)},
            r"frame_normalization: expected a mean of shape \(10,\), actual \(12,\)",
        ),
        ({"n_fft": 1600}, "n_fft: expected less than twice the 800 samples of the audio, actual 1600"),
        ({"sample_rate": 16000}, "sample_rate: the separator's weights were made for 8000, actual 16000; .*"),
        ({"num_sources": 3}, "num_sources: the separator's weights were made for 2, actual 3; .*"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_arguments_that_are_refused(tiny: SeparatorConfig, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        SeparatedCuesExtractor(SPACE, tiny, **arguments)


def test_an_example_that_is_too_short_for_the_transform(tiny: SeparatorConfig) -> None:
    space = spaces.Dict({**SPACE.spaces, "example": spaces.Box(-1, 1, (100,), np.float32)})
    message = r"^n_fft: expected less than twice the 100 samples of the example, actual 256$"
    with pytest.raises(ValueError, match=message):
        SeparatedCuesExtractor(space, tiny, order="example")
    SeparatedCuesExtractor(space, tiny)  # where it is not used it can be of any length


def test_a_window_that_the_weights_were_not_made_for(tiny: SeparatorConfig, tmp_path: Path) -> None:
    Separator.from_config(tiny, window_samples=4000).save(tmp_path / "separator.pth")
    message = r"^window_samples: the separator's weights were made for 4000, actual 800; .*$"
    with pytest.raises(ValueError, match=message):
        SeparatedCuesExtractor(SPACE, tmp_path / "separator.pth")


def test_a_window_shorter_than_a_filter() -> None:
    space = spaces.Dict({"audio": spaces.Box(-1, 1, (2, 20))})
    with pytest.raises(ValueError, match=r"^audio: expected at least 32 samples, .*, actual N = 20; "):
        SeparatedCuesExtractor(space, "compact", n_fft=16, hop_length=8)


def test_audio_of_the_wrong_shape_or_not_finite(tiny: SeparatorConfig) -> None:
    extractor = SeparatedCuesExtractor(SPACE, tiny)
    with pytest.raises(ValueError, match=r"^audio: expected shape \(B, 2, N\), .* actual \(B, 3, 800\)$"):
        extractor({"audio": torch.zeros(1, 3, NUM_SAMPLES), "agent": torch.zeros(1, 4)})
    with pytest.raises(ValueError, match=r"^audio: expected finite samples, .* items \[0\] of the batch$"):
        extractor({"audio": torch.full((1, 2, NUM_SAMPLES), float("nan")), "agent": torch.zeros(1, 4)})


# ==== Freezing ====


@pytest.mark.parametrize("aggregation", ["mean", "weighted"])
def test_gradients_reach_every_weight_of_a_separator_that_is_not_frozen(
    tiny: SeparatorConfig, aggregation: str
) -> None:
    extractor = SeparatedCuesExtractor(SPACE, tiny, freeze_separator=False, aggregation=aggregation)
    extractor(observations()).square().sum().backward()
    for name, weight in extractor.separator.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().max() > 0, name


def test_no_gradient_reaches_a_frozen_separator(tiny: SeparatorConfig) -> None:
    extractor = SeparatedCuesExtractor(SPACE, tiny)
    features = extractor(observations())
    assert not features.requires_grad
    assert not any(weight.requires_grad for weight in extractor.parameters())
    linear = nn.Linear(extractor.features_dim, 1)
    linear(features).sum().backward()
    assert linear.weight.grad is not None
    assert all(weight.grad is None for weight in extractor.parameters())


def test_freezing_is_decided_by_the_argument_and_not_by_the_separator_passed(tiny: SeparatorConfig) -> None:
    separator = Separator.from_config(tiny).requires_grad_(False)
    extractor = SeparatedCuesExtractor(SPACE, separator, freeze_separator=False)
    assert all(weight.requires_grad for weight in extractor.parameters())
    assert not any(weight.requires_grad for weight in separator.parameters())


@algorithms
@pytest.mark.parametrize("freeze", [True, False], ids=["frozen", "not-frozen"])
def test_what_learning_does_to_the_separator(
    algorithm: type[BaseAlgorithm], freeze: bool, make_env: Callable[..., gym.Env], tiny: SeparatorConfig
) -> None:
    separator = Separator.from_config(tiny, seed=3)
    model = make_model(algorithm, make_env(), separator, freeze)
    before = copy_of(separator)
    # SB3's orthogonal initialisation has not touched it, in any of the networks.
    assert all(equal(copy_of(extractor.separator), before) for extractor in extractors(model))
    policy_before = copy_of(model.policy)
    model.learn(16)
    online = extractors(model)[0]
    assert equal(copy_of(online.separator), before) == freeze
    assert equal(copy_of(separator), before)  # the one that was passed is a bystander
    assert not equal(copy_of(model.policy), policy_before)
    if freeze:
        assert all(weight.grad is None for weight in online.separator.parameters())


@algorithms
def test_a_frozen_separator_stays_in_evaluation_mode(
    algorithm: type[BaseAlgorithm], make_env: Callable[..., gym.Env], tiny: SeparatorConfig
) -> None:
    for freeze in (True, False):
        model = make_model(algorithm, make_env(), tiny, freeze)
        online = extractors(model)[0]
        assert online.separator.training != freeze
        model.policy.set_training_mode(False)
        assert not any(module.training for module in online.separator.modules())
        model.policy.set_training_mode(True)
        assert online.training
        assert all(module.training != freeze for module in online.separator.modules())


# ==== Networks and files ====


@pytest.mark.parametrize("algorithm", [DQN, QRDQN], ids=["DQN", "QRDQN"])
def test_the_target_network_owns_a_separator_that_lags_and_then_equals(
    algorithm: type[BaseAlgorithm], make_env: Callable[..., gym.Env], tiny: SeparatorConfig
) -> None:
    model = make_model(algorithm, make_env(), tiny, freeze=False, target_update_interval=10_000, tau=1.0)
    online, target = (extractor.separator for extractor in extractors(model))
    assert not {w.data_ptr() for w in online.parameters()} & {w.data_ptr() for w in target.parameters()}
    start = copy_of(online)
    assert equal(copy_of(target), start)
    model.learn(16)
    assert not equal(copy_of(online), start)
    assert equal(copy_of(target), start)
    # From now on only the target is updated, at every step.
    model.learning_starts, model.target_update_interval = 10_000, 1
    learned = copy_of(online)
    model.learn(4)
    assert equal(copy_of(online), learned)
    assert equal(copy_of(target), learned)


def test_a_separator_that_is_passed_is_not_shared(tiny: SeparatorConfig, make_env: Callable[..., gym.Env]) -> None:
    separator = Separator.from_config(tiny)
    model = make_model(DQN, make_env(), separator, freeze=False)
    owners = [separator, *(extractor.separator for extractor in extractors(model))]
    pointers = [weight.data_ptr() for owner in owners for weight in owner.parameters()]
    assert len(owners) == 3
    assert len(set(pointers)) == len(pointers)


@algorithms
@pytest.mark.parametrize("freeze", [True, False], ids=["frozen", "not-frozen"])
@pytest.mark.parametrize("spec", ["config", "module", "path"])
def test_a_saved_model_acts_the_same(
    algorithm: type[BaseAlgorithm],
    freeze: bool,
    spec: str,
    make_env: Callable[..., gym.Env],
    tiny: SeparatorConfig,
    tmp_path: Path,
) -> None:
    separator: Any = tiny
    if spec != "config":
        separator = Separator.from_config(tiny, seed=3)
    if spec == "path":
        separator.save(tmp_path / "separator.pth")
        separator = str(tmp_path / "separator.pth")
    model = make_model(algorithm, make_env(), separator, freeze)
    model.learn(12)
    model.save(tmp_path / "model.zip")
    loaded: Any = algorithm.load(tmp_path / "model.zip", device="cpu")
    assert equal(copy_of(model.policy), copy_of(loaded.policy))
    batch = observations(batch=16)
    arrays = {key: value.numpy() for key, value in batch.items()}
    np.testing.assert_array_equal(
        model.predict(arrays, deterministic=True)[0], loaded.predict(arrays, deterministic=True)[0]
    )
    if algorithm is DQN:
        assert torch.equal(model.q_net(batch), loaded.q_net(batch))
        assert torch.equal(model.q_net_target(batch), loaded.q_net_target(batch))
    elif algorithm is QRDQN:
        assert torch.equal(model.policy.quantile_net(batch), loaded.policy.quantile_net(batch))
    else:
        assert torch.equal(model.policy.predict_values(batch), loaded.policy.predict_values(batch))


def test_a_model_saved_with_a_separator_needs_no_file(
    tiny: SeparatorConfig, make_env: Callable[..., gym.Env], tmp_path: Path
) -> None:
    """The docstring's two ways: the separator itself in the arguments, and custom_objects for one that named a path."""
    path = tmp_path / "separator.pth"
    Separator.from_config(tiny, seed=3).save(path)
    for name, separator in (("module", load_separator(path)), ("path", str(path))):
        make_model(DQN, make_env(), separator).save(tmp_path / f"{name}.zip")
    expected = DQN.load(tmp_path / "path.zip")
    path.unlink()
    assert equal(copy_of(DQN.load(tmp_path / "module.zip").policy), copy_of(expected.policy))
    with pytest.raises(FileNotFoundError, match=r"separator: no file '.*separator\.pth'"):
        DQN.load(tmp_path / "path.zip")
    policy_kwargs = expected.policy_kwargs
    policy_kwargs["features_extractor_kwargs"]["separator"] = tiny
    replaced = DQN.load(tmp_path / "path.zip", custom_objects={"policy_kwargs": policy_kwargs})
    assert equal(copy_of(replaced.policy), copy_of(expected.policy))
