"""A scene and its mirror image: the same cues with left and right exchanged, and the same rewards."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import DQN
from stable_baselines3.common.buffers import NStepReplayBuffer
from stable_baselines3.common.env_util import make_vec_env

import auralnav_gym  # noqa: F401
from auralnav_gym import Action, Pose, Scene, ShoeBox, Source, SyntheticSounds
from auralnav_sb3.extractor import Normalization, SeparatedCuesExtractor, extract_features, extractor_kwargs
from auralnav_sb3.symmetry import MIRRORED_ACTIONS, MirroredReplayBuffer
from auralnav_sb3.vec_separated_cues import VecSeparatedCues

ROOM = ShoeBox((7.0, 6.0, 3.0), rt60=0.3)
WALK = [Action.TURN_LEFT, Action.FORWARD, Action.TURN_LEFT, Action.FORWARD, Action.TURN_RIGHT, Action.BACKWARD]


@pytest.fixture(scope="module")
def bank() -> SyntheticSounds:
    return SyntheticSounds(seconds=1.0, per_kind=1)


def scene(bank: SyntheticSounds, mirrored: bool) -> Scene:
    depth = ROOM.size[1]
    places, pose = [(5.5, 4.5, 1.5), (1.5, 5.0, 1.5)], Pose(3.0, 2.0, 0.4)
    if mirrored:
        places = [(x, depth - y, z) for x, y, z in places]
        pose = Pose(pose.x, depth - pose.y, -pose.heading)
    sources = tuple(Source(place, sound) for place, sound in zip(places, (bank[0], bank[3]), strict=True))
    return Scene(ROOM, sources, pose)


def play(bank: SyntheticSounds, mirrored: bool, **settings) -> tuple[list[np.ndarray], list[float]]:
    """The features of the walk, and its rewards."""
    env = gym.make("AuralNav-v0", sounds=bank, motion=True)
    extractor = SeparatedCuesExtractor(env.observation_space, **settings, **extractor_kwargs(env))
    observation, _ = env.reset(options={"scene": scene(bank, mirrored)})
    features, rewards = [], []
    for action in WALK:
        features.append(extract_features(extractor, {key: value[None] for key, value in observation.items()})[0])
        observation, reward, *_ = env.step(MIRRORED_ACTIONS[action] if mirrored else action)
        rewards.append(reward)
    return features, rewards


# Bins at 0 Hz and half the sample rate are real: their IPD is 0 or pi, and a mirror leaves pi as it is.
# Two such bins of 129, with masks up to 1, change the plain mean by that much at most; the sine of pi is 0.
REAL_BINS = 2 * 2 * np.pi / 129


@pytest.mark.parametrize(("aggregation", "real_bins"), [("weighted", 0.0), ("mean", REAL_BINS)])
def test_the_mirrored_walk_sounds_mirrored_and_earns_the_same(
    bank: SyntheticSounds, aggregation: str, real_bins: float
) -> None:
    settings = {"separator": "none", "aggregation": aggregation}
    env = gym.make("AuralNav-v0", sounds=bank, motion=True)
    signs = SeparatedCuesExtractor(env.observation_space, **settings, **extractor_kwargs(env)).mirror_signs
    features, rewards = play(bank, mirrored=False, **settings)
    mirrored_features, mirrored_rewards = play(bank, mirrored=True, **settings)
    assert mirrored_rewards == pytest.approx(rewards)
    difference = np.abs(mirrored_features - signs * features)
    assert difference[:, [0, 3] if aggregation == "mean" else [0, 4]].max() <= real_bins + 1e-3
    assert np.delete(difference, [0, 3] if aggregation == "mean" else [0, 4], axis=1).max() < 1e-3
    assert np.abs(np.array(features) - mirrored_features).max() > 0.1  # the walk is not its own mirror image


def test_the_mirrored_walk_is_separated_in_the_same_way(bank: SyntheticSounds) -> None:
    settings = {"separator": "compact", "order": "energy"}
    env = gym.make("AuralNav-v0", sounds=bank, motion=True)
    signs = SeparatedCuesExtractor(env.observation_space, **settings, **extractor_kwargs(env)).mirror_signs
    features, mirrored_features = (play(bank, mirrored, **settings)[0] for mirrored in (False, True))
    np.testing.assert_allclose(mirrored_features, signs * features, atol=1e-2)  # bfloat16 where the CPU has it


def test_signs_of_stacked_frames_repeat() -> None:
    stacked = spaces.Dict(audio=spaces.Box(-1, 1, (2, 1200), np.float32), agent=spaces.Box(-1, 1, (12,), np.float32))
    extractor = SeparatedCuesExtractor(stacked, "none", num_frames=3, aggregation="mean", num_sources=1)
    assert extractor.mirror_signs.tolist() == [-1, -1, 1, 1, -1, 1, -1] * 3


def test_what_is_looked_for_is_the_same_in_a_mirror() -> None:
    boxes = {"audio": (2, 400), "agent": (2,), "goal": (3,), "example": (400,)}
    space = spaces.Dict({key: spaces.Box(-1, 1, shape, np.float32) for key, shape in boxes.items()})
    extractor = SeparatedCuesExtractor(space, "none", num_sources=1)
    assert extractor.mirror_signs.tolist() == [-1, 1, -1, 1, 1, -1, 1, 1, 1]


def test_normalized_features_have_no_mirror_image() -> None:
    space = spaces.Dict(audio=spaces.Box(-1, 1, (2, 400), np.float32))
    shifted = Normalization(np.ones(4), np.ones(4), 1e-8, 10.0)
    with pytest.raises(ValueError, match="normalization"):
        _ = SeparatedCuesExtractor(space, "none", num_sources=1, normalization=shifted).mirror_signs


FOUR = spaces.Discrete(4)
DRIVES = spaces.Box(-1.0, 1.0, (2,), np.float32)  # forward speed and turn rate


def filled(kind: type, actions: spaces.Space = FOUR, **kwargs) -> NStepReplayBuffer:
    box, rng = spaces.Box(-9, 9, (3,), np.float32), np.random.default_rng(0)
    buffer = kind(64, box, actions, n_envs=2, n_steps=2, gamma=0.9, **kwargs)
    for step in range(40):
        done = rng.random(2) < 0.1
        taken = rng.integers(4, size=2) if actions == FOUR else rng.uniform(-1, 1, size=(2, 2))
        buffer.add(rng.normal(size=(2, 3)), rng.normal(size=(2, 3)), taken, np.full(2, step), done, [{}, {}])
    return buffer


@pytest.mark.parametrize("actions", [FOUR, DRIVES], ids=["discrete", "continuous"])
def test_half_the_samples_are_mirrored_and_the_others_are_not(actions: spaces.Space) -> None:
    signs = np.array([-1, 1, -1])
    np.random.seed(0)  # noqa: NPY002 (SB3 draws from it)
    plain = filled(NStepReplayBuffer, actions).sample(400)
    np.random.seed(0)  # noqa: NPY002 (the same transitions are drawn: the mirror is drawn after them)
    samples = filled(MirroredReplayBuffer, actions, signs=signs).sample(400)
    mirrored = (samples.observations != plain.observations).any(dim=1)
    assert 140 < mirrored.sum() < 260  # 400 fair coins: 200, standard deviation 10
    for index in range(400):
        factor = torch.as_tensor(signs if mirrored[index] else np.ones(3))
        if actions == FOUR:
            action = Action(int(plain.actions[index]))
            expected = torch.tensor([int(MIRRORED_ACTIONS[action] if mirrored[index] else action)])
        else:
            forward, left = plain.actions[index].tolist()
            expected = torch.tensor([forward, -left if mirrored[index] else left])
        torch.testing.assert_close(samples.observations[index], (plain.observations[index] * factor).float())
        torch.testing.assert_close(samples.next_observations[index], (plain.next_observations[index] * factor).float())
        assert torch.equal(samples.actions[index], expected)
    for same in ("rewards", "dones", "discounts"):
        torch.testing.assert_close(getattr(samples, same), getattr(plain, same))


@pytest.mark.parametrize("signs", [[1, -1], [1, 0, -1]], ids=["too few", "a zero"])
def test_signs_that_do_not_fit_are_refused(signs: list[int]) -> None:
    with pytest.raises(ValueError, match="signs"):
        filled(MirroredReplayBuffer, signs=signs)


@pytest.mark.parametrize(
    "actions", [spaces.Discrete(5), spaces.Discrete(4, start=1), spaces.Box(-1, 1, (3,), np.float32)], ids=str
)
def test_actions_without_a_known_mirror_image_are_refused(actions: spaces.Space) -> None:
    message = r"^action_space: expected Discrete\(4\) or a Box of a forward speed and a turn rate, .*, actual "
    with pytest.raises(ValueError, match=message):
        MirroredReplayBuffer(64, spaces.Box(-9, 9, (3,), np.float32), actions, signs=[1, 1, 1])


def test_dqn_trains_with_it(bank: SyntheticSounds) -> None:
    venv = make_vec_env("AuralNav-v0", 2, env_kwargs={"sounds": bank})
    venv = VecSeparatedCues(venv, separator="none", **extractor_kwargs(venv))
    buffer = {"signs": venv.extractor.mirror_signs, "n_steps": 3, "gamma": 0.97}
    model = DQN(
        "MlpPolicy",
        venv,
        gamma=0.97,
        learning_starts=20,
        buffer_size=100,
        replay_buffer_class=MirroredReplayBuffer,
        replay_buffer_kwargs=buffer,
    )
    model.learn(60)
    assert model.num_timesteps >= 60
