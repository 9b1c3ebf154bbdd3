"""A model on cues and the model on audio that is made of it, and back: the same values, step by step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from sb3_contrib import QRDQN, RecurrentPPO
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import NStepReplayBuffer
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import DummyVecEnv, VecCheckNan, VecEnv, VecFrameStack, VecMonitor, VecNormalize

from auralnav_sb3 import (
    AudioReplayBuffer,
    SeparatedCuesExtractor,
    Separator,
    SeparatorAdam,
    SeparatorConfig,
    VecSeparatedCues,
    extractor_kwargs,
    separation,
    to_audio,
    to_cues,
)

MakeEnv = Callable[..., gym.Env]
NUM_ENVS, NUM_FRAMES = 2, 3
OFF_POLICY = {"learning_starts": 8, "batch_size": 4, "buffer_size": 60, "train_freq": 2, "n_steps": 3, "gamma": 0.9}
ALGORITHMS: dict[type[BaseAlgorithm], dict[str, Any]] = {
    DQN: {**OFF_POLICY, "target_update_interval": 8},
    QRDQN: {**OFF_POLICY, "target_update_interval": 8, "policy_kwargs": {"n_quantiles": 5, "net_arch": [8]}},
    PPO: {"n_steps": 8, "batch_size": 8, "n_epochs": 1},
    A2C: {"n_steps": 4},
    RecurrentPPO: {"n_steps": 8, "batch_size": 8, "n_epochs": 1, "policy_kwargs": {"lstm_hidden_size": 6}},
    SAC: {**OFF_POLICY, "ent_coef": "auto_0.1", "policy_kwargs": {"net_arch": [8]}},
    TD3: {**OFF_POLICY, "policy_delay": 1, "tau": 0.1, "policy_kwargs": {"net_arch": [8]}},
}
algorithms = pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda algorithm: algorithm.__name__)


def alone(venv: VecEnv) -> VecEnv:
    return venv


def monitored(venv: VecEnv) -> VecEnv:
    return VecMonitor(venv)


def stacked(venv: VecEnv) -> VecEnv:
    return VecMonitor(VecFrameStack(venv, NUM_FRAMES))


def normalized(venv: VecEnv) -> VecEnv:
    return VecNormalize(venv)


def normalized_then_stacked(venv: VecEnv) -> VecEnv:
    return VecFrameStack(VecNormalize(VecMonitor(venv), clip_obs=1.5, epsilon=1e-3), NUM_FRAMES)


def stacked_then_normalized(venv: VecEnv) -> VecEnv:
    return VecNormalize(VecMonitor(VecFrameStack(venv, NUM_FRAMES)), clip_obs=1.5, norm_reward=False)


def normalized_both_ways(venv: VecEnv) -> VecEnv:
    return VecNormalize(VecFrameStack(VecNormalize(venv, norm_reward=False), NUM_FRAMES))


CHAINS = [
    alone,
    monitored,
    stacked,
    normalized,
    normalized_then_stacked,
    stacked_then_normalized,
    normalized_both_ways,
]
chains = pytest.mark.parametrize("chain", CHAINS, ids=lambda chain: chain.__name__)


@pytest.fixture
def float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU without units for bfloat16, in which separators that do not learn compute where they can."""
    monkeypatch.setattr(separation, "has_bfloat16_units", lambda: False)


def make_venv(make_env: MakeEnv, pose: bool = True, goal: str | None = None, continuous: bool = False) -> VecEnv:
    return DummyVecEnv([lambda: make_env(pose=pose, goal=goal, continuous=continuous)] * NUM_ENVS)


def train(
    algorithm: type[BaseAlgorithm],
    make_env: MakeEnv,
    separator: Any,
    chain: Callable[[VecEnv], VecEnv] = alone,
    pose: bool = True,
    goal: str | None = None,
    **arguments: Any,
) -> Any:
    """A model on cues that has learned a little."""
    raw = make_venv(make_env, pose, goal, continuous=algorithm in (SAC, TD3))
    order = "example" if goal == "example" else "energy"
    venv = chain(VecSeparatedCues(raw, separator=separator, order=order, **extractor_kwargs(raw)))
    policy = "MlpLstmPolicy" if algorithm is RecurrentPPO else "MlpPolicy"
    merged = {"learning_rate": 1e-2, **ALGORITHMS[algorithm], **arguments}
    model: Any = algorithm(policy, venv, seed=0, device="cpu", **merged)
    return model.learn(24)


def values(model: Any, observations: Any, states: Any, starts: np.ndarray) -> list[torch.Tensor]:
    """All that the policy's networks put out."""
    tensors = model.policy.obs_to_tensor(observations)[0]
    with torch.no_grad():
        if isinstance(model, DQN):
            return [model.q_net(tensors), model.q_net_target(tensors)]
        if isinstance(model, QRDQN):
            return [model.quantile_net(tensors), model.quantile_net_target(tensors)]
        if isinstance(model, SAC):
            mean, log_std, _ = model.actor.get_action_dist_params(tensors)
            return [mean, log_std, *model.critic(tensors, mean), *model.critic_target(tensors, mean)]
        if isinstance(model, TD3):
            actions = model.actor(tensors)
            critics = [*model.critic(tensors, actions), *model.critic_target(tensors, actions)]
            return [actions, model.actor_target(tensors), *critics]
        if isinstance(model, RecurrentPPO):
            if states is None:
                return []
            pair = tuple(torch.as_tensor(part) for part in states)
            policy: Any = model.policy
            distribution, after = policy.get_distribution(tensors, pair, torch.as_tensor(starts).float())
            return [distribution.distribution.logits, *after]
        return [model.policy.get_distribution(tensors).distribution.logits, model.policy.predict_values(tensors)]


def rollout(model: Any, num_steps: int = 14) -> list[Any]:
    """Play the model's environment from the same seed on: values, actions, rewards and what ended episodes left."""
    venv = model.get_env()
    for wrapper in wrappers_of(venv):
        if isinstance(wrapper, VecNormalize):
            wrapper.training = False
    model.policy.set_training_mode(False)
    venv.seed(7)
    observations, states, starts = venv.reset(), None, np.ones(NUM_ENVS, bool)
    kept: list[Any] = []
    num_ended = 0
    for _ in range(num_steps):
        kept += [value.numpy() for value in values(model, observations, states, starts)]
        actions, states = model.predict(observations, states, starts, deterministic=True)
        observations, rewards, starts, infos = venv.step(actions)
        kept += [actions, rewards, starts]
        kept += [info.get("episode", {}).get("r") for info in infos if "episode" in info]
        for info in infos:
            if "terminal_observation" in info:
                num_ended += 1
                last = info["terminal_observation"]
                batch = {key: each[None] for key, each in last.items()} if isinstance(last, dict) else last[None]
                if not isinstance(model, RecurrentPPO):
                    kept += [value.numpy() for value in values(model, batch, None, np.ones(1, bool))]
    assert num_ended >= NUM_ENVS
    return kept


def wrappers_of(venv: Any) -> list[VecEnv]:
    found = [venv]
    while hasattr(found[-1], "venv"):
        found.append(found[-1].venv)
    return found


def assert_same_rollout(first: Any, second: Any) -> None:
    one, other = rollout(first), rollout(second)
    assert len(one) == len(other)
    for mine, yours in zip(one, other, strict=True):
        np.testing.assert_allclose(mine, yours, rtol=1e-4, atol=1e-4)


def assert_same_weights(first: Any, second: Any) -> None:
    """All but those of extractors; and there are some."""
    theirs = second.policy.state_dict()
    own = {name: weight for name, weight in first.policy.state_dict().items() if "features_extractor" not in name}
    assert own
    for name, weight in own.items():
        assert torch.equal(weight, theirs[name]), name


# ==== Cues to audio ====


@algorithms
def test_the_model_on_audio_is_the_same(
    algorithm: type[BaseAlgorithm], make_env: MakeEnv, tiny: SeparatorConfig
) -> None:
    model = train(algorithm, make_env, tiny, stacked_then_normalized)
    audio: Any = to_audio(model)
    assert audio.observation_space["audio"].shape == (2, 800 * NUM_FRAMES)
    assert type(audio) is algorithm
    name = "MultiInputLstmPolicy" if algorithm is RecurrentPPO else "MultiInputPolicy"
    assert audio.policy_class is algorithm.policy_aliases[name]
    assert_same_weights(model, audio)
    assert_same_rollout(model, audio)


@pytest.mark.parametrize("pose", [True, False], ids=["pose", "no-pose"])
@chains
def test_whatever_lies_around_the_cues(
    chain: Callable[[VecEnv], VecEnv], pose: bool, make_env: MakeEnv, tiny: SeparatorConfig
) -> None:
    """Rewards and returns of episodes, too, are normalized or not as they were."""
    model = train(PPO, make_env, tiny, chain, pose)
    audio = to_audio(model)
    names = [type(each).__name__ for each in wrappers_of(audio.get_env())]
    assert "VecSeparatedCues" not in names
    assert ("VecMonitor" in names) == ("VecMonitor" in [type(each).__name__ for each in wrappers_of(model.get_env())])
    assert_same_rollout(model, audio)


@pytest.mark.parametrize("goal", ["class", "example"])
@pytest.mark.parametrize("chain", [alone, normalized_both_ways], ids=lambda chain: chain.__name__)
def test_with_a_goal_there_and_back(
    chain: Callable[[VecEnv], VecEnv], goal: str, make_env: MakeEnv, tiny: SeparatorConfig
) -> None:
    model = train(QRDQN, make_env, tiny, chain, goal=goal)
    audio: Any = to_audio(model)
    assert extractors(audio)[0].order == ("example" if goal == "example" else "energy")
    assert_same_rollout(model, audio)
    cues: Any = to_cues(audio)
    assert_same_rollout(audio, cues)
    before = copy_of(audio.policy)
    audio.learn(16, reset_num_timesteps=False)
    assert not equal(copy_of(audio.policy), before)


@algorithms
def test_saved_loaded_and_trained_on(
    algorithm: type[BaseAlgorithm], make_env: MakeEnv, tiny: SeparatorConfig, tmp_path: Path
) -> None:
    """With SB3's own calls, and without the file that the separator came from."""
    path = tmp_path / "separator.pth"
    Separator.from_config(tiny, seed=3).save(path)
    model = train(algorithm, make_env, path, normalized)
    to_audio(model).save(tmp_path / "model.zip")
    path.unlink()
    loaded: Any = algorithm.load(tmp_path / "model.zip", env=to_audio(model).get_env(), device="cpu")
    assert_same_rollout(model, loaded)
    for name in ("num_timesteps", "gamma", "learning_rate", "seed", "batch_size", "exploration_rate", "n_epochs"):
        assert getattr(loaded, name, None) == getattr(model, name, None), name
    assert loaded.num_timesteps >= 24
    separator = copy_of(extractors(loaded)[0].separator)
    before = copy_of(loaded.policy)
    loaded.learn(16, reset_num_timesteps=False)
    assert loaded.num_timesteps == model.num_timesteps + 16
    assert not equal(copy_of(loaded.policy), before)
    assert equal(copy_of(extractors(loaded)[0].separator), separator)


def extractors(model: Any) -> list[SeparatedCuesExtractor]:
    return [module for module in model.policy.modules() if isinstance(module, SeparatedCuesExtractor)]


def copy_of(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in module.state_dict().items()}


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_a_conversion_leaves_everything_else_as_it_was(make_env: MakeEnv, tiny: SeparatorConfig) -> None:
    model = train(DQN, make_env, tiny)
    before, buffer, env = copy_of(model.policy), model.replay_buffer, model.get_env()
    stored, kwargs = buffer.observations.copy(), dict(model.policy_kwargs)
    torch_state, numpy_state = torch.get_rng_state(), str(np.random.get_state(legacy=False))  # noqa: NPY002
    env_state = env.unwrapped.envs[0].np_random.bit_generator.state
    audio: Any = to_audio(model)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert str(np.random.get_state(legacy=False)) == numpy_state  # noqa: NPY002
    assert env.unwrapped.envs[0].np_random.bit_generator.state == env_state
    assert env.unwrapped._seeds == [None] * NUM_ENVS
    audio.learn(12, reset_num_timesteps=False)
    assert model.replay_buffer is buffer
    assert model.get_env() is env
    assert model.policy_kwargs == kwargs
    assert equal(copy_of(model.policy), before)
    np.testing.assert_array_equal(buffer.observations, stored)
    separators = [env.extractor.separator, *(extractor.separator for extractor in extractors(audio))]
    pointers = [weight.data_ptr() for separator in separators for weight in separator.parameters()]
    assert len(separators) == 3
    assert len(set(pointers)) == len(pointers)


@pytest.mark.parametrize("algorithm", [DQN, QRDQN, SAC, TD3], ids=lambda algorithm: algorithm.__name__)
def test_off_policy_algorithms_keep_their_returns(
    algorithm: type[BaseAlgorithm], make_env: MakeEnv, tiny: SeparatorConfig, recwarn: pytest.WarningsRecorder
) -> None:
    model = train(algorithm, make_env, tiny, replay_buffer_kwargs={"handle_timeout_termination": False})
    audio: Any = to_audio(model)
    buffer = audio.replay_buffer
    assert type(buffer) is AudioReplayBuffer
    assert (buffer.n_steps, buffer.gamma, buffer.handle_timeout_termination) == (3, 0.9, False)
    assert (buffer.buffer_size, buffer.n_envs) == (30, NUM_ENVS)
    cues: Any = to_cues(audio)
    assert type(cues.replay_buffer) is NStepReplayBuffer
    assert (cues.replay_buffer.n_steps, cues.replay_buffer.gamma, cues.n_steps) == (3, 0.9, 3)
    assert not cues.replay_buffer.handle_timeout_termination
    assert not [str(warning.message) for warning in recwarn if "n_steps" in str(warning.message)]


def test_the_optimizer_goes_on_where_it_was(make_env: MakeEnv, tiny: SeparatorConfig) -> None:
    """The same update moves the weights of the three models alike, as only the same moments of Adam make it."""
    model = train(PPO, make_env, tiny)
    audio = to_audio(model)
    cues = to_cues(audio)
    raw = make_venv(make_env)
    raw.seed(3)
    observations: Any = raw.reset()
    features = model.get_env().extractor({key: torch.from_numpy(each) for key, each in observations.items()}).numpy()
    fresh = PPO("MlpPolicy", model.get_env(), seed=0, device="cpu", learning_rate=1e-2)
    fresh.policy.load_state_dict(model.policy.state_dict())
    weights = []
    for each, given in ((model, features), (audio, observations), (cues, features), (fresh, features)):
        each.policy.optimizer.zero_grad()
        each.policy.predict_values(each.policy.obs_to_tensor(given)[0]).sum().backward()
        each.policy.optimizer.step()
        weights.append(each.policy.value_net.weight.detach())
    torch.testing.assert_close(weights[1], weights[0], rtol=0, atol=1e-6)
    torch.testing.assert_close(weights[2], weights[0], rtol=0, atol=1e-6)
    assert (weights[3] - weights[0]).abs().max() > 1e-4


@pytest.mark.parametrize("algorithm", [SAC, TD3], ids=lambda algorithm: algorithm.__name__)
def test_the_optimizers_of_actor_critic_and_entropy_go_on_where_they_were(
    algorithm: type[BaseAlgorithm], make_env: MakeEnv, tiny: SeparatorConfig
) -> None:
    """The same gradients move the weights of the three models alike, and those of one without memory otherwise."""
    model = train(algorithm, make_env, tiny)
    audio: Any = to_audio(model)
    cues: Any = to_cues(audio)
    fresh: Any = algorithm(
        "MlpPolicy", model.get_env(), device="cpu", **{"learning_rate": 1e-2, **ALGORITHMS[algorithm]}
    )
    fresh.policy.load_state_dict(model.policy.state_dict())
    moved = []
    for each in (model, audio, cues, fresh):
        parts = [(each.actor.optimizer, each.actor.mu), (each.critic.optimizer, each.critic.qf0)]
        weights = [weight for _, module in parts for weight in module.parameters()]
        optimizers = [optimizer for optimizer, _ in parts]
        if algorithm is SAC:
            weights, optimizers = [*weights, each.log_ent_coef], [*optimizers, each.ent_coef_optimizer]
        before = [weight.detach().clone() for weight in weights]
        for weight in weights:
            weight.grad = torch.full_like(weight, 0.1)
        for optimizer in optimizers:
            optimizer.step()
        after_and_step = zip(weights, before, strict=True)
        moved.append([(old, weight.detach() - old) for weight, old in after_and_step])
    for mine, in_audio, in_cues, without in zip(*moved, strict=True):
        for same in (in_audio, in_cues):
            torch.testing.assert_close(same, mine, rtol=0, atol=1e-7)
        assert (without[1] - mine[1]).abs().max() > 1e-4
    if algorithm is SAC:
        assert moved[0][-1][0].item() != pytest.approx(np.log(0.1))  # it had learned


@pytest.mark.parametrize("algorithm", [SAC, TD3], ids=lambda algorithm: algorithm.__name__)
@pytest.mark.parametrize("share", [False, True], ids=["own extractors", "shared extractor"])
@pytest.mark.usefixtures("float32")
def test_actor_and_critic_end_to_end(
    algorithm: type[BaseAlgorithm], share: bool, make_env: MakeEnv, tiny: SeparatorConfig
) -> None:
    """Actor and critic that learn a separator each go apart, and can be brought to cues no more."""
    policy_kwargs = {"net_arch": [8], "share_features_extractor": share}
    model = train(algorithm, make_env, tiny, stacked, policy_kwargs=policy_kwargs)
    audio: Any = to_audio(model, freeze_separator=False)
    assert len(extractors(audio)) == (2 if share else 3) + (algorithm is TD3 and not share)
    assert_same_rollout(model, audio)
    separator = copy_of(audio.actor.features_extractor.separator)
    audio.learn(32, reset_num_timesteps=False)
    assert not equal(copy_of(audio.actor.features_extractor.separator), separator)
    if not share:
        with pytest.raises(ValueError, match=r"^model: expected one separator, actual two that differ, .*$"):
            to_cues(audio)
        return
    cues: Any = to_cues(audio)
    assert equal(copy_of(cues_of(cues).separator), copy_of(extractors(audio)[0].separator))
    audio.get_env().seed(5)
    observations = audio.get_env().reset()
    cues.get_env().seed(5)
    np.testing.assert_allclose(
        audio.predict(observations, deterministic=True)[0],
        cues.predict(cues.get_env().reset(), deterministic=True)[0],
        atol=1e-5,
    )


def cues_of(model: Any) -> SeparatedCuesExtractor:
    (found,) = (each for each in wrappers_of(model.get_env()) if isinstance(each, VecSeparatedCues))
    return found.extractor


@pytest.mark.parametrize("algorithm", [DQN, PPO], ids=lambda algorithm: algorithm.__name__)
@pytest.mark.usefixtures("float32")
def test_end_to_end(algorithm: type[BaseAlgorithm], make_env: MakeEnv, tiny: SeparatorConfig) -> None:
    model = train(algorithm, make_env, tiny, stacked)
    audio: Any = to_audio(model, freeze_separator=False, separator_lr_scale=0.5)
    assert_same_rollout(model, audio)
    optimizer = audio.policy.optimizer
    assert type(optimizer) is SeparatorAdam
    assert optimizer.defaults["separator_lr_scale"] == 0.5
    assert optimizer.defaults["eps"] == model.policy.optimizer.defaults["eps"]
    before = copy_of(extractors(audio)[0].separator)
    audio.learn(16, reset_num_timesteps=False)
    assert not equal(copy_of(extractors(audio)[0].separator), before)
    cues: Any = to_cues(audio)
    assert type(cues.policy.optimizer) is torch.optim.Adam
    assert cues.policy.optimizer.defaults["eps"] == model.policy.optimizer.defaults["eps"]
    assert equal(copy_of(cues.get_env().extractor.separator), copy_of(extractors(audio)[0].separator))
    observations = audio.get_env().reset()
    features = extractors(audio)[0](audio.policy.obs_to_tensor(observations)[0]).detach().numpy()
    np.testing.assert_array_equal(
        audio.predict(observations, deterministic=True)[0], cues.predict(features, deterministic=True)[0]
    )


def test_a_separator_without_its_own_rate_learns_with_the_models_optimizer(
    make_env: MakeEnv, tiny: SeparatorConfig
) -> None:
    audio: Any = to_audio(train(A2C, make_env, tiny), freeze_separator=False)
    assert type(audio.policy.optimizer) is torch.optim.RMSprop
    assert all(weight.requires_grad for weight in extractors(audio)[0].separator.parameters())


@pytest.mark.usefixtures("float32")
def test_actor_and_critic_with_extractors_of_their_own(make_env: MakeEnv, tiny: SeparatorConfig) -> None:
    model = train(PPO, make_env, tiny, policy_kwargs={"share_features_extractor": False})
    audio: Any = to_audio(model, freeze_separator=False)
    assert len(extractors(audio)) == 2
    assert_same_rollout(model, audio)
    assert_same_rollout(audio, to_cues(audio))
    with torch.no_grad():
        next(iter(extractors(audio)[1].separator.parameters())).add_(1.0)
    with pytest.raises(ValueError, match=r"^model: expected one separator, actual two that differ, .*$"):
        to_cues(audio)


def test_the_environment_can_be_given(make_env: MakeEnv, tiny: SeparatorConfig, tmp_path: Path) -> None:
    model = train(DQN, make_env, tiny, stacked)
    model.save(tmp_path / "cues.zip")
    loaded = DQN.load(tmp_path / "cues.zip", device="cpu")
    with pytest.raises(ValueError, match=r"^env: expected an environment, as the model has none; actual None$"):
        to_audio(loaded)
    assert_same_rollout(model, to_audio(loaded, model.get_env()))


# ==== Audio to cues ====


@algorithms
def test_there_and_back(algorithm: type[BaseAlgorithm], make_env: MakeEnv, tiny: SeparatorConfig) -> None:
    model = train(algorithm, make_env, tiny, stacked_then_normalized)
    audio = to_audio(model)
    cues: Any = to_cues(audio)
    assert cues.observation_space == model.observation_space
    assert cues.policy_class is model.policy_class
    assert cues.num_timesteps == model.num_timesteps >= 24
    assert_same_weights(model, cues)
    assert_same_rollout(audio, cues)
    again: Any = to_audio(cues)
    assert_same_rollout(model, again)
    before = copy_of(cues.policy)
    cues.learn(16, reset_num_timesteps=False)
    assert not equal(copy_of(cues.policy), before)


@chains
def test_there_and_back_with_whatever_lies_around_the_cues(
    chain: Callable[[VecEnv], VecEnv], make_env: MakeEnv, tiny: SeparatorConfig
) -> None:
    model = train(PPO, make_env, tiny, chain, pose=False)
    assert_same_rollout(model, to_cues(to_audio(model)))


def test_a_model_that_was_made_for_audio_goes_on_on_cues(make_env: MakeEnv, tiny: SeparatorConfig) -> None:
    venv = VecFrameStack(VecMonitor(make_venv(make_env)), NUM_FRAMES)
    extractor = {"separator": tiny, "num_frames": NUM_FRAMES, **extractor_kwargs(venv)}
    model = DQN(
        "MultiInputPolicy",
        venv,
        policy_kwargs={
            "features_extractor_class": SeparatedCuesExtractor,
            "features_extractor_kwargs": extractor,
            "net_arch": [8],
        },
        seed=0,
        device="cpu",
        buffer_size=40,
        learning_starts=4,
    )
    model.learn(8)
    cues = to_cues(model)
    assert_same_rollout(model, cues)
    other = VecFrameStack(VecMonitor(make_venv(make_env)), NUM_FRAMES)
    assert_same_rollout(model, to_cues(model, other))


# ==== What is refused ====


class Doubled(torch.nn.Module):
    """A separator of no kind."""

    def forward(self, wav: torch.Tensor) -> torch.Tensor:
        return wav.unsqueeze(1).expand(-1, 2, -1)


class OtherFlatten(FlattenExtractor):
    """Stands for a features extractor of someone's own."""


def untrained(venv: VecEnv, **arguments: Any) -> PPO:
    return PPO("MlpPolicy", venv, n_steps=8, batch_size=8, device="cpu", **arguments)


def test_environments_that_are_refused(make_env: MakeEnv) -> None:
    def cues(**arguments: Any) -> VecSeparatedCues:
        return VecSeparatedCues(make_venv(make_env), **(arguments or {"separator": Doubled()}))

    def refused(message: str, venv: VecEnv, env: VecEnv | None = None) -> None:
        with pytest.raises(ValueError, match=f"^env: expected {message}"):
            to_audio(untrained(venv), env)

    refused(
        "VecSeparatedCues, and around it nothing but VecFrameStack, VecMonitor, VecNormalize, "
        "actual VecMonitor around VecCheckNan around VecSeparatedCues around DummyVecEnv; ",
        VecMonitor(VecCheckNan(cues())),
    )
    refused("VecSeparatedCues, .*, actual DummyVecEnv; ", cues(), make_venv(make_env))
    refused("the model's observations, Box.*, actual Box", cues(), VecFrameStack(cues(), 2))
    refused("at most one VecFrameStack around .*, .*", VecFrameStack(VecFrameStack(cues(), 2), 2))
    refused(r"at most one .*, actual \['VecNormalize', 'VecNormalize'\] ", VecNormalize(VecNormalize(cues())))
    refused("a VecSeparatedCues that separates, actual one with ideal=True", cues(ideal=True))
    inner = VecSeparatedCues(VecFrameStack(make_venv(make_env), 2), separator=Doubled(), num_frames=2)
    refused("frames to be stacked and features normalized either by the extractor or .*both$", VecNormalize(inner))


def test_frames_that_are_stacked_below_the_cues(make_env: MakeEnv, tiny: SeparatorConfig) -> None:
    """The extractor stacks: its observations are the frames."""
    raw = VecFrameStack(make_venv(make_env), 2)
    model = untrained(VecSeparatedCues(raw, separator=tiny, num_frames=2))
    audio = to_audio(model)
    assert audio.get_env() is raw
    assert_same_rollout(model, audio)


def test_models_that_are_refused(make_env: MakeEnv) -> None:
    venv = VecSeparatedCues(make_venv(make_env), separator=Doubled())
    own = untrained(venv, policy_kwargs={"features_extractor_class": OtherFlatten})
    with pytest.raises(ValueError, match=r"^model: expected no features extractor of its own .* actual OtherFlatten$"):
        to_audio(own)
    with pytest.raises(ValueError, match=r"^model: expected a SeparatedCuesExtractor .*, actual FlattenExtractor$"):
        to_cues(untrained(venv))
    raw = PPO("MultiInputPolicy", make_venv(make_env), n_steps=8, batch_size=8, device="cpu")
    with pytest.raises(ValueError, match=r"^model: expected a SeparatedCuesExtractor .*, actual CombinedExtractor$"):
        to_cues(raw)
    audio = to_audio(untrained(VecFrameStack(venv, 2)))
    with pytest.raises(ValueError, match=r"^venv: expected the model's observations, Dict.*, actual Dict"):
        to_cues(audio, make_venv(make_env))
    checked = VecCheckNan(VecFrameStack(make_venv(make_env), 2))
    message = r"^venv: expected VecFrameStack\(\.\.\., n_stack=2\), .*, actual VecCheckNan around VecFrameStack around "
    with pytest.raises(ValueError, match=message):
        to_cues(audio, checked)


def test_rates_that_are_refused(make_env: MakeEnv) -> None:
    venv = VecSeparatedCues(make_venv(make_env), separator=Doubled())
    with pytest.raises(ValueError, match=r"^separator_lr_scale: expected None for a frozen separator, actual 0\.1; "):
        to_audio(untrained(venv), separator_lr_scale=0.1)
    continuous = VecSeparatedCues(make_venv(make_env, continuous=True), separator=Doubled())
    shared = SAC("MlpPolicy", continuous, policy_kwargs={"share_features_extractor": True}, buffer_size=10)
    message = r"^separator_lr_scale: expected None for SAC with share_features_extractor=True, actual 0\.1; "
    with pytest.raises(ValueError, match=message):
        to_audio(shared, freeze_separator=False, separator_lr_scale=0.1)
    model = A2C("MlpPolicy", venv, n_steps=4, device="cpu")
    with pytest.raises(
        ValueError, match=r"^separator_lr_scale: expected None for a model that does not learn with Adam, "
    ):
        to_audio(model, freeze_separator=False, separator_lr_scale=0.1)
