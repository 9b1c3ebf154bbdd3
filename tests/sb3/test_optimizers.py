"""The optimizer with two learning rates against two of torch's, and how far it moves a separator within SB3."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.utils import update_learning_rate
from torch import nn

from auralnav_sb3 import SeparatedCuesExtractor, SeparatorConfig
from auralnav_sb3.optimizers import SeparatorAdam

MakeEnv = Callable[..., gym.Env]
SCALE = 0.25


def make_net() -> nn.Sequential:
    """A separator of two layers under a policy of one."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    for parameter in net[:2].parameters():
        parameter.belongs_to_separator = True  # type: ignore[attr-defined]
    return net


def learn(net: nn.Module, *optimizers: torch.optim.Optimizer, num_steps: int = 1) -> None:
    """Take the same steps whatever the optimizers."""
    for i in range(num_steps):
        loss = net(torch.linspace(-1, 1, 12).reshape(4, 3) + i).square().sum()
        net.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()


def test_it_takes_the_steps_of_two_adams() -> None:
    """Under a schedule, as SB3 imposes it, and with further arguments of Adam's."""
    ours, theirs = make_net(), make_net()
    kwargs: dict[str, Any] = {"eps": 1e-5, "betas": (0.8, 0.99)}
    optimizer = SeparatorAdam(ours.parameters(), lr=0.1, separator_lr_scale=SCALE, **kwargs)
    separator = torch.optim.Adam(theirs[:2].parameters(), lr=0.1 * SCALE, **kwargs)
    policy = torch.optim.Adam(theirs[2].parameters(), lr=0.1, **kwargs)
    for rate in (0.1, 0.05, 0.01):
        update_learning_rate(optimizer, rate)
        update_learning_rate(separator, rate * SCALE)
        update_learning_rate(policy, rate)
        learn(ours, optimizer, num_steps=3)
        learn(theirs, separator, policy, num_steps=3)
        assert [group["lr"] for group in optimizer.param_groups] == [rate, rate]
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("by", ["state-dict", "deepcopy"])
def test_its_state_can_be_handed_on(by: str) -> None:
    net = make_net()
    optimizer = SeparatorAdam(net.parameters(), lr=0.1, separator_lr_scale=SCALE)
    learn(net, optimizer, num_steps=3)
    if by == "deepcopy":
        other_net, other = copy.deepcopy((net, optimizer))
    else:
        other_net = make_net()
        other_net.load_state_dict(net.state_dict())
        other = SeparatorAdam(other_net.parameters(), lr=0.7, separator_lr_scale=SCALE)
        other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    learn(net, optimizer, num_steps=3)
    learn(other_net, other, num_steps=3)
    for one, another in zip(net.parameters(), other_net.parameters(), strict=True):
        torch.testing.assert_close(one, another, rtol=0, atol=0)


def test_the_scale_that_is_given_holds_after_a_load() -> None:
    """A state dict says what was learned, the arguments how to learn on."""
    net, other_net = make_net(), make_net()
    optimizer = SeparatorAdam(net.parameters(), lr=0.1, separator_lr_scale=SCALE)
    learn(net, optimizer)
    other = SeparatorAdam(other_net.parameters(), lr=0.1, separator_lr_scale=2.0)
    other.load_state_dict(optimizer.state_dict())
    other.state.clear()  # the first step of Adam is lr long
    before = moved(other_net)
    learn(other_net, other)
    torch.testing.assert_close(farthest(other_net[:2], before), 0.2, rtol=1e-4, atol=0)


def test_the_rates_are_put_back_after_an_error() -> None:
    optimizer = SeparatorAdam(make_net().parameters(), lr=0.1)

    def fail() -> float:
        raise KeyError

    with pytest.raises(KeyError):
        optimizer.step(fail)
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.1]


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, math.inf])
def test_scales_that_are_none_are_refused(scale: float) -> None:
    with pytest.raises(ValueError, match=r"separator_lr_scale: expected a number above 0, .*freeze_separator=True"):
        SeparatorAdam(make_net().parameters(), separator_lr_scale=scale)


def test_a_policy_without_separator_is_refused() -> None:
    with pytest.raises(ValueError, match=r"params: expected some that belong to a separator, actual none"):
        SeparatorAdam(nn.Linear(2, 2).parameters())


def moved(net: nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in net.named_parameters()}


def farthest(net: nn.Module, before: dict[str, torch.Tensor]) -> float:
    """How far the weight went that went farthest."""
    return max((parameter - before[name]).abs().max().item() for name, parameter in net.named_parameters())


ALGORITHMS: dict[str, tuple[type, dict[str, Any]]] = {
    # One gradient step in 16 steps of the environment.
    "DQN": (DQN, {"buffer_size": 16, "batch_size": 8, "learning_starts": 1, "train_freq": 16}),
    "PPO": (PPO, {"n_steps": 16, "batch_size": 16, "n_epochs": 1}),
}


def make_model(algorithm: str, env: gym.Env, separator: SeparatorConfig) -> Any:
    algorithm_class, arguments = ALGORITHMS[algorithm]
    return algorithm_class(
        "MultiInputPolicy",
        env,
        learning_rate=lambda progress_remaining: 1e-3 if progress_remaining > 0.6 else 1e-4,
        seed=0,
        device="cpu",
        policy_kwargs={
            "net_arch": [8],
            "features_extractor_class": SeparatedCuesExtractor,
            "features_extractor_kwargs": {"separator": separator, "freeze_separator": False},
            "optimizer_class": SeparatorAdam,
            "optimizer_kwargs": {"separator_lr_scale": SCALE},
        },
        **arguments,
    )


def learning_nets(model: Any) -> tuple[Any, Any]:
    """The separator, and the layers of the policy."""
    if isinstance(model, DQN):
        return model.policy.q_net.features_extractor.separator, model.policy.q_net.q_net
    return model.policy.features_extractor.separator, model.policy.mlp_extractor


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_separator_moves_by_its_share_in_sb3(make_env: MakeEnv, tiny: SeparatorConfig, algorithm: str) -> None:
    """Adam's first step moves each weight by lr * g / (|g| + eps): by lr, where the gradient is not tiny."""
    for total, rate in ((16, 1e-4), (48, 1e-3)):  # the schedule's end, and a third of it
        model = make_model(algorithm, make_env(), tiny)
        separator, policy = learning_nets(model)
        before, policy_before = moved(separator), moved(policy)
        if total == 16:
            model.learn(16)
        else:
            steps = iter([True] * 16)
            model.learn(48, callback=lambda *_, steps=steps: next(steps, False))
        assert farthest(policy, policy_before) == pytest.approx(rate, rel=0.01)
        assert farthest(separator, before) == pytest.approx(SCALE * rate, rel=0.01)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_saved_model_learns_on(make_env: MakeEnv, tiny: SeparatorConfig, algorithm: str, tmp_path: Path) -> None:
    model = make_model(algorithm, make_env(), tiny)
    model.learn(32)
    model.save(tmp_path / "model")
    loaded = ALGORITHMS[algorithm][0].load(tmp_path / "model", env=make_env())  # type: ignore[attr-defined]
    assert isinstance(loaded.policy.optimizer, SeparatorAdam)
    saved, restored = (each.policy.optimizer.state_dict() for each in (model, loaded))
    assert saved["param_groups"] == restored["param_groups"]
    assert saved["state"].keys() == restored["state"].keys()
    assert len(saved["state"]) > 0
    for index, moments in saved["state"].items():
        for name, value in moments.items():
            np.testing.assert_array_equal(restored["state"][index][name], value)
    separator, policy = learning_nets(loaded)
    before, policy_before = moved(separator), moved(policy)
    loaded.learn(16)
    assert 0 < farthest(separator, before) < farthest(policy, policy_before)
