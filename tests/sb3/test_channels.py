"""More than two ears: the pair that one names is listened to as if there were no others."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecFrameStack

import auralnav_gym  # noqa: F401
from auralnav_gym import OmniEars, Pose, Scene, ShoeBox, Source, Suite, SyntheticSounds
from auralnav_gym.ears import Ears
from auralnav_sb3 import (
    AudioReplayBuffer,
    Normalization,
    Recipe,
    SeparatedCuesExtractor,
    SeparatorConfig,
    VecSeparatedCues,
    evaluate,
    extractor_kwargs,
    load_agent,
    make_cue_env,
    make_model,
    save_agent,
    to_audio,
    to_cues,
    wrap_like,
)

MakeEnv = Callable[..., gym.Env]
NUM_SAMPLES = 800
NUM_ENVS, NUM_FRAMES, NUM_STEPS = 2, 3, 12
SPEED_OF_SOUND = 343.0

# Front, left, back and right of the head; left and right where two ears would be.
PLACES = ((0.05, 0.0, 0.0), (0.0, 0.085, 0.0), (-0.05, 0.0, 0.0), (0.0, -0.085, 0.0))
FRONT, LEFT, BACK, RIGHT = range(4)


@dataclass(frozen=True)
class FourEars(Ears):
    """Four omnidirectional microphones."""

    @property
    def positions(self) -> np.ndarray:
        return np.array(PLACES)

    def gains(self, directions: np.ndarray) -> np.ndarray:
        return np.ones(directions.shape[1:])


class MoreEars(gym.Wrapper):
    """The right ear, noise, the left ear and louder noise: channels 2 and 0 hear what the two ears heard."""

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        self.rng = np.random.default_rng(0)
        self.ears = SimpleNamespace(
            positions=np.array(((0.0, -0.085, 0.0), (1.0, 2.0, 3.0), (0.0, 0.085, 0.0), PLACES[0]))
        )
        boxes = dict(env.observation_space.spaces)  # type: ignore[attr-defined]
        boxes["audio"] = spaces.Box(-1.0, 1.0, (4, NUM_SAMPLES), np.float32)
        self.observation_space = spaces.Dict(boxes)

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(**kwargs)
        return self._hear(observation), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._hear(observation), reward, terminated, truncated, info

    def _hear(self, observation: Any) -> Any:
        left, right = observation["audio"]
        noise, louder = self.rng.uniform(-1, 1, (2, NUM_SAMPLES)) * [[0.3], [0.9]]
        return {**observation, "audio": np.stack((right, noise, left, louder)).astype(np.float32)}


def make_venv(make_env: MakeEnv, more: bool = True, **env_kwargs: Any) -> VecEnv:
    def make() -> gym.Env:
        return MoreEars(make_env(**env_kwargs)) if more else make_env(**env_kwargs)

    venv = DummyVecEnv([make] * NUM_ENVS)
    venv.seed(0)
    return venv


def extractors(model: Any) -> list[SeparatedCuesExtractor]:
    return [module for module in model.policy.modules() if isinstance(module, SeparatedCuesExtractor)]


# ==== The extractor ====


@pytest.mark.parametrize("pair", [(LEFT, RIGHT), (RIGHT, LEFT), (FRONT, BACK), (FRONT, LEFT), (BACK, RIGHT)])
@pytest.mark.parametrize("azimuth", [0.0, 40.0, 170.0, -90.0])
def test_the_phase_difference_is_that_of_a_plane_wave_between_the_two(pair: tuple[int, int], azimuth: float) -> None:
    """A tone in the middle of a bin, from far away; long, for the mirrored ends of an STFT not to weigh."""
    num_samples, frequency = 32_000, 500.0
    towards = np.array([math.cos(math.radians(azimuth)), math.sin(math.radians(azimuth)), 0.0])
    leads = np.array(PLACES) @ towards / SPEED_OF_SOUND  # seconds before the wave is at the head's centre
    time = np.arange(num_samples) / 8000
    audio = 0.1 * np.sin(2 * np.pi * frequency * (time + leads[:, None]))
    space = spaces.Dict(audio=spaces.Box(-1, 1, (4, num_samples), np.float32))
    env = SimpleNamespace(num_sources=1, num_distractors=0, sample_rate=8000, ears=FourEars())
    env.get_wrapper_attr = lambda name: getattr(env, name)
    extractor = SeparatedCuesExtractor(space, "none", **extractor_kwargs(env, pair=pair))  # type: ignore[arg-type]
    features = extractor({"audio": torch.from_numpy(audio.astype(np.float32))[None]})[0]
    phase = 2 * math.pi * frequency * (leads[pair[0]] - leads[pair[1]])
    assert features[0].item() == pytest.approx(math.sin(phase), abs=0.02)
    assert features[1].item() == pytest.approx(math.cos(phase), abs=0.02)


@pytest.mark.parametrize("aggregation", ["mean", "weighted"])
@pytest.mark.parametrize("pair", [(2, 0), (0, 2), (1, 3)])
def test_nothing_but_the_pair_is_heard(tiny: SeparatorConfig, aggregation: str, pair: tuple[int, int]) -> None:
    """By the separator neither: features are those of an extractor for two ears that is given these two channels."""
    audio = 0.1 * torch.randn(3, 4, NUM_SAMPLES, generator=torch.Generator().manual_seed(0))
    spaces_of = [spaces.Dict(audio=spaces.Box(-1, 1, (ears, NUM_SAMPLES), np.float32)) for ears in (2, 4)]
    two, four = (
        SeparatedCuesExtractor(space, tiny, aggregation=aggregation, order="energy", pair=each)
        for space, each in zip(spaces_of, ((0, 1), pair), strict=True)
    )
    torch.testing.assert_close(
        four({"audio": audio}), two({"audio": torch.stack((audio[:, pair[0]], audio[:, pair[1]]), dim=1)})
    )


def test_silence_of_the_pair_alone_is_no_padding() -> None:
    """A frame before the episode is silent in every channel, and its features are 0 and not normalized."""
    shifted = Normalization(np.ones(4), np.ones(4))
    space = spaces.Dict(audio=spaces.Box(-1, 1, (4, 2 * NUM_SAMPLES), np.float32))
    extractor = SeparatedCuesExtractor(
        space, "none", num_sources=1, num_frames=2, frame_normalization=shifted, pair=(1, 3)
    )
    audio = torch.zeros(2, 4, 2 * NUM_SAMPLES)
    audio[:, :, NUM_SAMPLES:] = 0.1
    audio[1, 0, :NUM_SAMPLES] = 0.1
    features = extractor({"audio": audio})
    assert features[0, :4].tolist() == [0.0] * 4
    assert features[1, :4].tolist() == pytest.approx([-1.0] * 4, abs=1e-6)


def test_the_pair_is_among_the_arguments(tiny: SeparatorConfig) -> None:
    space = spaces.Dict(audio=spaces.Box(-1, 1, (4, NUM_SAMPLES), np.float32))
    extractor = SeparatedCuesExtractor(space, tiny, pair=[3, 1])  # as JSON has it
    assert extractor.arguments["pair"] == extractor.pair == (3, 1)
    audio = 0.1 * torch.randn(2, 4, NUM_SAMPLES, generator=torch.Generator().manual_seed(0))
    again, default = SeparatedCuesExtractor(space, **extractor.arguments), SeparatedCuesExtractor(space, tiny)
    assert torch.equal(again({"audio": audio}), extractor({"audio": audio}))
    assert not torch.allclose(default({"audio": audio}), extractor({"audio": audio}))


@pytest.mark.parametrize(
    ("pair", "spacing"), [((LEFT, RIGHT), 0.17), ((BACK, FRONT), 0.1), ((FRONT, LEFT), math.hypot(0.05, 0.085))]
)
def test_spacing_is_that_of_the_pair(make_env: MakeEnv, pair: tuple[int, int], spacing: float) -> None:
    env = make_env()
    env.ears = FourEars()  # type: ignore[attr-defined]
    for each in (env, DummyVecEnv([lambda: env])):
        kwargs = extractor_kwargs(each, pair=pair)
        assert kwargs["ear_spacing"] == pytest.approx(spacing, rel=1e-12)
        assert kwargs["pair"] == pair
    space = spaces.Dict(audio=spaces.Box(-1, 1, (4, NUM_SAMPLES), np.float32))
    extractor = SeparatedCuesExtractor(space, "none", **kwargs)
    # Bins of 31.25 Hz below c / (2 d).
    assert extractor.num_ipd_bins == math.ceil(min(SPEED_OF_SOUND / (2 * spacing), 4031.25) / 31.25)


@pytest.mark.parametrize("pair", [(0, 4), (-1, 0), (2, 2), (0,), (0, 1, 2), (0.5, 1)])
def test_pairs_that_are_refused(make_env: MakeEnv, pair: Any) -> None:
    message = (
        r"^pair: expected the channels of the left and the right ear, two of 0 to 3, "
        rf"actual {str(pair).replace('(', '[(]').replace(')', '[)]')}$"
    )
    venv = make_venv(make_env)
    with pytest.raises(ValueError, match=message):
        extractor_kwargs(venv, pair=pair)
    with pytest.raises(ValueError, match=message):
        SeparatedCuesExtractor(venv.observation_space, "none", pair=pair)
    with pytest.raises(ValueError, match=message):
        VecSeparatedCues(venv, separator="none", pair=pair)


def test_a_single_ear_is_refused(make_env: MakeEnv) -> None:
    message = r"^audio: expected at least 2 channels, as cues are .*, actual 1; give the environment more ears$"
    env = make_env()
    env.ears = SimpleNamespace(positions=np.zeros((1, 3)))  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=message):
        extractor_kwargs(env)
    with pytest.raises(ValueError, match=message):
        SeparatedCuesExtractor(spaces.Dict(audio=spaces.Box(-1, 1, (1, NUM_SAMPLES), np.float32)))


def test_audio_of_other_channels_is_refused() -> None:
    space = spaces.Dict(audio=spaces.Box(-1, 1, (4, NUM_SAMPLES), np.float32))
    extractor = SeparatedCuesExtractor(space, "none", pair=(1, 2))
    with pytest.raises(ValueError, match=r"^audio: expected shape \(B, 4, N\), .*, actual \(B, 2, 800\)$"):
        extractor({"audio": torch.zeros(1, 2, NUM_SAMPLES)})


# ==== Environments and models ====


@pytest.mark.parametrize("stacked", ["no frames", "frames of cues", "frames of audio"])
def test_cues_of_the_pair_are_those_of_the_two_ears_alone(
    make_env: MakeEnv, tiny: SeparatorConfig, stacked: str
) -> None:
    def wrap(venv: VecEnv, pair: tuple[int, int]) -> Any:
        arguments: dict[str, Any] = {"separator": tiny, "order": "energy", **extractor_kwargs(venv, pair=pair)}
        if stacked == "frames of audio":
            return VecSeparatedCues(VecFrameStack(venv, NUM_FRAMES), num_frames=NUM_FRAMES, **arguments)
        cues = VecSeparatedCues(venv, **arguments)
        return VecFrameStack(cues, NUM_FRAMES) if stacked == "frames of cues" else cues

    two, four = wrap(make_venv(make_env, more=False), (0, 1)), wrap(make_venv(make_env), (2, 0))
    assert four.observation_space == two.observation_space
    np.testing.assert_allclose(four.reset(), two.reset(), rtol=1e-4, atol=1e-5)
    num_ended = 0
    for _ in range(NUM_STEPS):
        features, rewards, dones, infos = four.step(np.zeros(NUM_ENVS, int))
        expected, expected_rewards, expected_dones, expected_infos = two.step(np.zeros(NUM_ENVS, int))
        np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(rewards, expected_rewards)
        np.testing.assert_array_equal(dones, expected_dones)
        for i in np.flatnonzero(dones):
            num_ended += 1
            last, expected_last = (each[i]["terminal_observation"] for each in (infos, expected_infos))
            np.testing.assert_allclose(last, expected_last, rtol=1e-4, atol=1e-5)
    assert num_ended >= NUM_ENVS


def assert_same_actions(first: Any, second: Any) -> None:
    """Each in its own environment, played from the same seed on."""
    played = []
    for model in (first, second):
        venv = model.get_env()
        for env in venv.get_attr("rng"):
            env.bit_generator.state = np.random.default_rng(1).bit_generator.state
        venv.seed(3)
        observations, kept = venv.reset(), []
        for _ in range(NUM_STEPS):
            actions, _ = model.predict(observations, deterministic=True)
            observations, rewards, _, _ = venv.step(actions)
            kept += [*actions, *rewards]
        played.append(kept)
    assert played[0] == played[1]
    assert len(set(played[0])) > 1


def test_conversions_keep_the_pair(make_env: MakeEnv, tiny: SeparatorConfig, tmp_path: Path) -> None:
    raw = make_venv(make_env)
    cue_env = VecSeparatedCues(raw, separator=tiny, order="energy", **extractor_kwargs(raw, pair=(2, 0)))
    model = DQN(
        "MlpPolicy",
        VecFrameStack(cue_env, NUM_FRAMES),
        seed=0,
        learning_rate=1e-2,
        learning_starts=8,
        buffer_size=60,
        batch_size=4,
    ).learn(40)
    audio: Any = to_audio(model)
    assert audio.observation_space["audio"].shape == (4, NUM_FRAMES * NUM_SAMPLES)
    assert [each.pair for each in extractors(audio)] == [(2, 0)] * 2
    assert_same_actions(model, audio)
    audio.save(tmp_path / "model.zip")
    loaded = DQN.load(tmp_path / "model.zip", env=audio.get_env())
    assert [each.pair for each in extractors(loaded)] == [(2, 0)] * 2
    assert_same_actions(model, loaded)
    cues: Any = to_cues(audio)
    assert cues.get_env().venv.extractor.pair == (2, 0)
    assert_same_actions(model, cues)

    save_agent(audio, tmp_path / "agent", {"gamma": 0.9}, "# A card")
    agent = load_agent(tmp_path / "agent", audio.get_env(), device="cpu")
    assert extractors(agent)[0].pair == (2, 0)
    assert_same_actions(model, agent)


def test_all_channels_are_kept_and_learned_from(make_env: MakeEnv, tiny: SeparatorConfig) -> None:
    venv = make_venv(make_env)
    extractor = {"separator": tiny, "freeze_separator": False, **extractor_kwargs(venv, pair=(2, 0))}
    model = DQN(
        "MultiInputPolicy",
        venv,
        seed=0,
        learning_starts=8,
        buffer_size=60,
        batch_size=4,
        replay_buffer_class=AudioReplayBuffer,
        policy_kwargs={
            "features_extractor_class": SeparatedCuesExtractor,
            "features_extractor_kwargs": extractor,
            "net_arch": [8],
        },
    )
    before = [weight.detach().clone() for weight in extractors(model)[0].separator.parameters()]
    model.learn(24)
    after = extractors(model)[0].separator.parameters()
    assert any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
    buffer: Any = model.replay_buffer
    samples = buffer.sample(16)
    assert samples.observations["audio"].shape == (16, 4, NUM_SAMPLES)
    # The last channel is noise of 0.9 / sqrt(3), which no other comes near.
    levels = samples.observations["audio"].square().mean(dim=(0, 2)).sqrt()
    assert levels[3].item() == pytest.approx(0.9 / math.sqrt(3), rel=0.05)
    assert (levels[:3] < 0.3).all()


# ==== The real world ====


def scene(azimuth: float) -> Scene:
    """A source 2 m away at an azimuth (degrees, positive left), another behind the right shoulder."""
    bank = SyntheticSounds(per_kind=1, seconds=1.0)
    x, y = 2 * math.cos(math.radians(azimuth)), 2 * math.sin(math.radians(azimuth))
    sources = (Source((4 + x, 4 + y, 1.5), bank[0]), Source((2.0, 1.0, 1.5), bank[3]))
    return Scene(ShoeBox((8.0, 8.0, 3.0), absorption=0.6), sources, Pose(4.0, 4.0, 0.0))


def cue_env_of(ears: Ears, azimuth: float, pair: tuple[int, int], **arguments: Any) -> Any:
    def make() -> gym.Env:
        return gym.make("AuralNav-v0", ears=ears, source_audio=True, max_order=0)

    raw = DummyVecEnv([make])
    raw.set_options({"scene": scene(azimuth)})
    return VecSeparatedCues(raw, **arguments, **extractor_kwargs(raw, pair=pair))


@pytest.mark.parametrize("arguments", [{"ideal": True}, {"separator": "compact"}], ids=["ideal", "separated"])
def test_ears_among_others_hear_what_they_hear_alone(arguments: dict[str, Any]) -> None:
    two = cue_env_of(OmniEars(0.17), 50.0, (0, 1), **arguments)
    four = cue_env_of(FourEars(), 50.0, (LEFT, RIGHT), **arguments)
    assert four.venv.observation_space["audio"].shape == (4, 4000)
    np.testing.assert_allclose(four.reset(), two.reset(), atol=2e-2 if "separator" in arguments else 1e-3)
    for action in (3, 0, 2):
        features, expected = (each.step(np.array([action]))[0] for each in (four, two))
        # With bfloat16, where the CPU has it, the separator makes more of what rounding leaves.
        np.testing.assert_allclose(features, expected, atol=2e-2 if "separator" in arguments else 1e-3)


@pytest.mark.parametrize(("azimuth", "front_leads"), [(10.0, True), (170.0, False)], ids=["ahead", "behind"])
def test_ideal_masks_are_of_the_pair(azimuth: float, front_leads: bool) -> None:
    """Two ears one behind the other tell front from back: which of them hears the first source first."""
    (features,) = cue_env_of(FourEars(), azimuth, (FRONT, BACK), ideal=True).reset()
    assert (features[0] > 0.1) if front_leads else (features[0] < -0.1)
    (swapped,) = cue_env_of(FourEars(), azimuth, (BACK, FRONT), ideal=True).reset()
    np.testing.assert_allclose(swapped[[0, 2, 4, 6]], -features[[0, 2, 4, 6]], atol=1e-4)
    np.testing.assert_allclose(swapped[[1, 3, 5, 7]], features[[1, 3, 5, 7]], atol=1e-4)


# ==== Recipes ====


SUITE = Suite(
    "four-ears",
    seeds=(1, 2),
    env_kwargs={"listen_seconds": 0.05, "max_episode_steps": 5, "ears": FourEars()},
    sounds=SyntheticSounds(per_kind=2, seconds=1.0),
)


def test_a_recipe_names_the_pair() -> None:
    recipe = Recipe(
        SUITE,
        "PPO",
        separator="compact",
        num_envs=1,
        pair=(LEFT, RIGHT),
        hyperparameters={"n_steps": 8, "batch_size": 8},
    )
    venv: Any = make_cue_env(recipe, seed=0)
    assert (venv.extractor.pair, venv.extractor.ear_spacing) == ((LEFT, RIGHT), pytest.approx(0.17))
    assert recipe.settings(0)["pair"] == [LEFT, RIGHT]
    model = make_model(recipe, venv, seed=0)
    assert isinstance(model, PPO)
    wrap = wrap_like(venv)
    assert len(evaluate(model, SUITE, wrap, env_kwargs=recipe.env_kwargs).episodes) == 2
    default: Any = make_cue_env(Recipe(SUITE, separator="none", num_envs=1), seed=0)
    assert default.extractor.pair == (0, 1)


def test_ears_that_are_not_each_others_mirror_image_have_no_mirror() -> None:
    recipes = [Recipe(SUITE, separator="none", num_envs=1, mirror=True, pair=pair) for pair in ((LEFT, RIGHT), (0, 1))]
    make_model(recipes[0], make_cue_env(recipes[0], seed=0), seed=0)
    message = r"^mirror: expected False where .*, actual True with pair=\(0, 1\), at \[0\.05, 0\.0, 0\.0\] and \[0"
    with pytest.raises(ValueError, match=message):
        make_model(recipes[1], make_cue_env(recipes[1], seed=0), seed=0)
