"""Agents that are trained already: small files inside the package, by name.

In the order of use::

    model = load_agent("two-sources")  # an SB3 model that acts on what the ears hear
    evaluate(model, "two-sources-v1")

An agent is a folder of three files, as `auralnav_sb3.shelf` says: its weights, ``agent.json`` and the card.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.save_util import recursive_getattr
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv
from torch import Tensor

from auralnav_sb3.conversion import acting_extractor
from auralnav_sb3.extractor import SeparatedCuesExtractor
from auralnav_sb3.provenance import Provenance
from auralnav_sb3.replay import AudioReplayBuffer
from auralnav_sb3.separation import Separator
from auralnav_sb3.shelf import Shelf
from auralnav_sb3.training import ALGORITHMS, as_action_noise

AGENTS = Shelf("agent", Path(__file__).parent / "agents")
# The second networks of Q-learning and of actor and critic: copies of the first, as good as equal when the training is
# over.
_TARGETS = {
    "q_net_target.": "q_net.",
    "quantile_net_target.": "quantile_net.",
    "actor_target.": "actor.",
    "critic_target.": "critic.",
}


def agent_names() -> tuple[str, ...]:
    """The agents that are shipped."""
    return AGENTS.names()


def agent_card(name: str) -> str:
    """What a shipped agent was trained on, how, and what it reaches: Markdown.

    Raises:
        ValueError: There is no agent of that name.
    """
    return AGENTS.card(name)


def load_agent(
    name_or_folder: str | os.PathLike[str], env: VecEnv | gym.Env | None = None, device: torch.device | str = "auto"
) -> BaseAlgorithm:
    """Load a trained agent: an ordinary SB3 model that acts on what the ears hear.

    ``model.predict`` takes observations of the agent's world, that of the suite which its card names, and `evaluate`
    plays it there. An agent with a memory of k frames takes ``VecFrameStack(venv, k)`` (`evaluate` sees to that by
    itself). It can go on training: with an environment it has all its algorithm needs; faster on cues (`to_cues`).

    Args:
        name_or_folder: One of `agent_names`, or a folder that `save_agent` wrote.
        env: To train in; None: the model can act, and ``set_env`` gives it one later.
        device: "cpu", "cuda", "auto".

    Raises:
        FileNotFoundError: Its weights are not there.
        ValueError: There is no such agent, its files are corrupt or do not fit each other, or the environment is not
            for it.
    """
    settings, weights = AGENTS.read(name_or_folder)
    arguments = {
        **settings["extractor"],
        "separator": Separator.from_settings(settings["separator"]),
    }
    policy_kwargs = {
        **settings["policy_kwargs"],
        "features_extractor_class": SeparatedCuesExtractor,
        "features_extractor_kwargs": arguments,
    }
    hyperparameters = dict(settings["hyperparameters"])
    algorithm = ALGORITHMS[settings["algorithm"]]
    if issubclass(algorithm, OffPolicyAlgorithm):
        # SB3 has no n-step returns for dict observations; this buffer makes them.
        replay_buffer_kwargs = {"n_steps": hyperparameters.pop("n_steps", 1), "gamma": hyperparameters["gamma"]}
        hyperparameters |= {"replay_buffer_class": AudioReplayBuffer, "replay_buffer_kwargs": replay_buffer_kwargs}
    spaces_alone = DummyVecEnv([lambda: _Spaces(settings["observations"], settings["actions"])])
    actions = spaces_alone.action_space
    if env is not None and env.action_space != actions:
        raise ValueError(f"env: expected the agent's actions, {actions}, actual {env.action_space}")
    if "action_noise" in hyperparameters:
        hyperparameters["action_noise"] = as_action_noise(hyperparameters["action_noise"], actions)
    with torch.random.fork_rng(devices=[]):  # the weights that it starts with are thrown away
        model: Any = algorithm(
            settings["policy"],
            spaces_alone if env is None else env,
            policy_kwargs=policy_kwargs,
            device=device,
            **hyperparameters,
        )
    if env is None:
        model.env = None
    model.policy.load_state_dict(_complete(weights, model.policy.state_dict()))
    for name, variable in _variables(model).items():
        if name in weights:  # not where the hyperparameters say otherwise than those of the training
            variable.data.copy_(weights[name])
    model.policy.set_training_mode(False)
    return model


def save_agent(
    model: BaseAlgorithm,
    folder: str | os.PathLike[str],
    hyperparameters: Mapping[str, Any],
    card: str,
    made_by: Provenance | None = None,
) -> None:
    """Write an agent that `load_agent` reads.

    Args:
        model: Acts on raw audio with a `SeparatedCuesExtractor` around a DPRNNTasNet, as `to_audio` gives it.
        folder: Made if it is not there.
        hyperparameters: Arguments of the algorithm's constructor, for who trains it on; plain JSON. Those of the
            policy (``policy_kwargs``) are the model's own.
        card: Markdown.
        made_by: What made the model, written into ``agent.json``; None: the versions that are at work.

    Raises:
        TypeError: The model separates with another network.
        ValueError: The model is of another kind, or its actions are neither Discrete nor Box.
    """
    extractor = acting_extractor(model)
    arguments = {name: value for name, value in extractor.arguments.items() if name != "separator"}
    own = {"features_extractor_class", "features_extractor_kwargs", "optimizer_class", "optimizer_kwargs"}
    assert isinstance(extractor.observation_space, spaces.Dict)
    observations = {
        key: {"shape": list(box.shape), "low": float(box.low.min()), "high": float(box.high.max())}
        for key, box in extractor.observation_space.items()
        if isinstance(box, spaces.Box)
    }
    settings = {
        "algorithm": _name_of(model, ALGORITHMS),
        "policy": _name_of(model.policy, model.policy_aliases),
        "hyperparameters": {name: value for name, value in hyperparameters.items() if name != "policy_kwargs"},
        "policy_kwargs": {name: value for name, value in model.policy_kwargs.items() if name not in own},
        "observations": observations,
        "actions": _describe_actions(model.action_space),
        "extractor": arguments,
        "separator": extractor.separator.settings(),
    }
    state = model.policy.state_dict()
    weights = {
        name: weight
        for name, weight in state.items()
        if name == _first_name(state)[weight.data_ptr()] and not name.startswith(tuple(_TARGETS))
    }
    weights |= {name: variable.detach() for name, variable in _variables(model).items()}
    AGENTS.write(folder, settings, weights, card, made_by)


class _Spaces(gym.Env):
    """Only tells what observations and actions look like."""

    def __init__(self, observations: Mapping[str, Mapping[str, Any]], actions: Mapping[str, Any]) -> None:
        boxes: dict[str, spaces.Space[Any]] = {
            key: spaces.Box(box["low"], box["high"], tuple(box["shape"]), np.float32)
            for key, box in observations.items()
        }
        self.observation_space: spaces.Space[Any] = spaces.Dict(boxes)
        self.action_space: spaces.Space[Any]
        if "n" in actions:
            self.action_space = spaces.Discrete(actions["n"])
        else:
            low, high = (np.array(actions[bound], np.float32) for bound in ("low", "high"))
            self.action_space = spaces.Box(low, high, dtype=np.float32)


def _describe_actions(space: spaces.Space) -> dict[str, Any]:
    """What `_Spaces` makes an action space of: how many actions there are, or the bounds of every number."""
    if isinstance(space, spaces.Discrete):
        return {"n": int(space.n)}
    if isinstance(space, spaces.Box):
        return {"low": space.low.tolist(), "high": space.high.tolist()}
    raise ValueError(f"model: expected Discrete or Box actions, actual {space}")


def _variables(model: BaseAlgorithm) -> dict[str, Tensor]:
    """What else a model learns beside its policy: SAC the weight of the entropy."""
    _, names = model._get_torch_save_params()
    return {name: recursive_getattr(model, name) for name in names}


def _name_of(thing: object, classes: Mapping[str, type]) -> str:
    for name, each in classes.items():
        if type(thing) is each:
            return name
    raise ValueError(f"model: expected one of {list(classes)}, actual {type(thing).__name__}")


def _first_name(state: Mapping[str, Tensor]) -> dict[int, str]:
    """The first name of every weight, by where it lies in memory: actor and critic can share an extractor."""
    first: dict[int, str] = {}
    for name, weight in state.items():
        first.setdefault(weight.data_ptr(), name)
    return first


def _complete(weights: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Put in the weights that are not in the file because others are the same: those of target and shared networks."""
    first = _first_name(state)
    complete = {}
    for name, own in state.items():
        source = first[own.data_ptr()]
        for target, online in _TARGETS.items():
            if source.startswith(target):
                source = first[state[online + source.removeprefix(target)].data_ptr()]
        if source in weights:
            complete[name] = weights[source]
    return complete
