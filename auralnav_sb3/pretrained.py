"""Agents that are trained already: small files inside the package, by name.

In the order of use::

    model = load_agent("two-sources")  # an SB3 model that acts on what the ears hear
    evaluate(model, "two-sources-v1")

An agent is a folder of three files: ``weights.safetensors``, what its networks weigh; ``agent.json``, what they are;
and ``README.md``, the card: what it was trained on, how, and what it reaches. None of them can hold code.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from asteroid.models import DPRNNTasNet
from gymnasium import spaces
from safetensors.torch import load_file, save_file
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv
from torch import Tensor

from auralnav_gym.scene import Action
from auralnav_sb3.conversion import acting_extractor
from auralnav_sb3.extractor import SeparatedCuesExtractor
from auralnav_sb3.files import written_whole
from auralnav_sb3.replay import AudioReplayBuffer
from auralnav_sb3.separation import Separator
from auralnav_sb3.training import ALGORITHMS

AGENTS_FOLDER = Path(__file__).parent / "agents"
_WEIGHTS, _SETTINGS = "weights.safetensors", "agent.json"
CARD = "README.md"
# Q-learning's second network: a copy of the first, as good as equal when the training is over.
_TARGETS = {"q_net_target.": "q_net.", "quantile_net_target.": "quantile_net."}


def agent_names() -> tuple[str, ...]:
    """The agents that are shipped."""
    return tuple(sorted(path.parent.name for path in AGENTS_FOLDER.glob(f"*/{_SETTINGS}")))


def agent_card(name: str) -> str:
    """What a shipped agent was trained on, how, and what it reaches: Markdown.

    Raises:
        ValueError: There is no agent of that name.
    """
    return (_folder(name) / CARD).read_text()


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
        ValueError: There is no such agent, its files do not fit each other, or the environment is not for it.
    """
    folder = _folder(name_or_folder)
    settings = json.loads((folder / _SETTINGS).read_text())
    with torch.random.fork_rng(devices=[]):  # the weights that it starts with are thrown away
        network = DPRNNTasNet(**settings["separator"])
    arguments = {
        **settings["extractor"],
        "separator": Separator(network),
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
    spaces_alone = DummyVecEnv([lambda: _Spaces(settings["observation_shapes"])])
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
    model.policy.load_state_dict(_complete(load_file(folder / _WEIGHTS), model.policy.state_dict()))
    model.policy.set_training_mode(False)
    return model


def save_agent(
    model: BaseAlgorithm, folder: str | os.PathLike[str], hyperparameters: Mapping[str, Any], card: str
) -> None:
    """Write an agent that `load_agent` reads.

    Args:
        model: Acts on raw audio with a `SeparatedCuesExtractor` around a DPRNNTasNet, as `to_audio` gives it.
        folder: Made if it is not there.
        hyperparameters: Arguments of the algorithm's constructor, for who trains it on; plain JSON. Those of the
            policy (``policy_kwargs``) are the model's own.
        card: Markdown.

    Raises:
        ValueError: The model is of another kind.
    """
    extractor = acting_extractor(model)
    network = extractor.separator.model
    if not isinstance(network, DPRNNTasNet):
        raise ValueError(f"model: expected one that separates with a DPRNNTasNet, actual a {type(network).__name__}")
    arguments = {name: value for name, value in extractor.arguments.items() if name != "separator"}
    own = {"features_extractor_class", "features_extractor_kwargs", "optimizer_class", "optimizer_kwargs"}
    assert isinstance(extractor.observation_space, spaces.Dict)
    shapes = {key: list(box.shape or ()) for key, box in extractor.observation_space.items()}
    settings = {
        "algorithm": _name_of(model, ALGORITHMS),
        "policy": _name_of(model.policy, model.policy_aliases),
        "hyperparameters": {name: value for name, value in hyperparameters.items() if name != "policy_kwargs"},
        "policy_kwargs": {name: value for name, value in model.policy_kwargs.items() if name not in own},
        "observation_shapes": shapes,
        "extractor": arguments,
        "separator": network.get_model_args(),
    }
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state = model.policy.state_dict()
    weights = {
        name: weight.cpu().contiguous()
        for name, weight in state.items()
        if name == _first_name(state)[weight.data_ptr()] and not name.startswith(tuple(_TARGETS))
    }
    with written_whole(folder / _WEIGHTS) as path:
        save_file(weights, path)
    with written_whole(folder / _SETTINGS) as path:
        path.write_text(json.dumps(settings, indent=2) + "\n")
    with written_whole(folder / CARD) as path:
        path.write_text(card)


class _Spaces(gym.Env):
    """Only tells what observations and actions look like."""

    def __init__(self, shapes: Mapping[str, Sequence[int]]) -> None:
        boxes: dict[str, spaces.Space[Any]] = {
            key: spaces.Box(-1.0, 1.0, tuple(shape), np.float32) for key, shape in shapes.items()
        }
        self.observation_space, self.action_space = spaces.Dict(boxes), spaces.Discrete(len(Action))


def _folder(name_or_folder: str | os.PathLike[str]) -> Path:
    for folder in (AGENTS_FOLDER / name_or_folder, Path(name_or_folder)):
        if (folder / _SETTINGS).is_file():
            return folder
    raise ValueError(
        f"name_or_folder: expected one of {list(agent_names())} or a folder that save_agent wrote, "
        f"actual {os.fspath(name_or_folder)!r}"
    )


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
                source = online + source.removeprefix(target)
        if source in weights:
            complete[name] = weights[source]
    return complete
