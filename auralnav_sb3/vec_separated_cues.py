"""A VecEnv wrapper that separates every observation once, and never again."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.utils import get_device
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from auralnav_sb3.extractor import SeparatedCuesExtractor, extract_features


class VecSeparatedCues(VecEnvWrapper):
    """Hands on the features of `SeparatedCuesExtractor` in place of what the ears hear.

    The cues of an observation never change when the separator is frozen, and yet a DQN update with a batch of 32 would
    separate 64 windows. Here each observation is separated once, those of all parallel environments in one batch, and
    any SB3 algorithm trains an ordinary ``"MlpPolicy"``, its replay buffer holding a few numbers a step::

        venv = make_vec_env("AuralNav-v0", n_envs=8)
        venv = VecSeparatedCues(venv, separator="separator.pth", **extractor_kwargs(venv))
        model = DQN("MlpPolicy", venv)

    Args:
        venv: Observations as `SeparatedCuesExtractor` takes them.
        extractor: Its separator must be frozen. It is used as it is, not copied.
        device: Where to separate: "cpu", "cuda", "auto"; None leaves the extractor where it is.
        **extractor_kwargs: Build the extractor instead: the arguments of `SeparatedCuesExtractor` but the first.

    Raises:
        TypeError: Both an extractor and arguments for one.
        ValueError: The separator is not frozen, or the extractor is made for other observations.
    """

    def __init__(
        self,
        venv: VecEnv,
        extractor: SeparatedCuesExtractor | None = None,
        device: torch.device | str | None = None,
        **extractor_kwargs: Any,
    ) -> None:
        if extractor is None:
            extractor = SeparatedCuesExtractor(venv.observation_space, **extractor_kwargs)
        elif extractor_kwargs:
            raise TypeError(f"extractor: expected no arguments beside it, actual {sorted(extractor_kwargs)}")
        if not extractor.freeze_separator:
            raise ValueError(
                "extractor: expected freeze_separator=True, actual False; what the replay buffer holds would go stale "
                "as the separator learns. Give the extractor to the policy instead (policy_kwargs)"
            )
        if extractor.observation_space != venv.observation_space:
            raise ValueError(
                f"extractor: expected one for {venv.observation_space}, actual one for {extractor.observation_space}"
            )
        if device is not None:
            extractor.to(get_device(device))
        self.extractor = extractor
        features = spaces.Box(-np.inf, np.inf, (extractor.features_dim,), np.float32)
        super().__init__(venv, observation_space=features)

    def reset(self) -> np.ndarray:
        """Reset every environment: (num_envs, features_dim) float32."""
        observations: Any = self.venv.reset()
        return extract_features(self.extractor, observations)

    def step_wait(self) -> VecEnvStepReturn:
        """Wait for the step: observations (num_envs, features_dim) float32, rewards, dones, infos.

        The last observation of an ended episode, in its info, goes through the same pass of the separator.
        """
        observations: Any
        observations, rewards, dones, infos = self.venv.step_wait()
        ended = [i for i, info in enumerate(infos) if "terminal_observation" in info]
        last = [infos[i]["terminal_observation"] for i in ended]
        batch = {key: np.stack([*array, *(each[key] for each in last)]) for key, array in observations.items()}
        features = extract_features(self.extractor, batch)
        infos = list(infos)
        for i, terminal_features in zip(ended, features[self.num_envs :], strict=True):
            infos[i] = {**infos[i], "terminal_observation": terminal_features}
        return features[: self.num_envs], rewards, dones, infos
