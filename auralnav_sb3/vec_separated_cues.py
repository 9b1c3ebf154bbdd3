"""A VecEnv wrapper that separates every observation once, and never again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.utils import get_device
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from auralnav_sb3.extractor import (
    NUM_TARGET_SLOTS,
    SeparatedCuesExtractor,
    check_slots,
    extract_features,
    take_pair,
)
from auralnav_sb3.separation import ANY_ORDER, NO_SEPARATION


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
        ideal: Ideal masks, for ablations: instead of separating, take every source alone from
            ``info["source_audio"]``, (S, E, N) (``AuralNav-v0`` made with ``source_audio=True``), at the extractor's
            pair of ears, mixed down to mono, in the order of the scene, or in another if the extractor says so. No
            separator is needed: that of an extractor is not used. What has no place (background, noise) is in none of
            them.
        slots: What the extractor's slots hold. "sources": every source, targets and distractors, has one of its own.
            "target": there are two, the first for the targets together and the second for everything else, an order by
            which a policy knows what it is after. A separator must have been trained to fill them so; with ``ideal``
            they are the sums of the sources alone over ``info["is_target"]`` and over the others.
        **extractor_kwargs: Build the extractor instead: the arguments of `SeparatedCuesExtractor` but the first, the
            ``pair`` of the channels that are left and right among them.

    Raises:
        TypeError: Both an extractor and arguments for one, or both ``ideal`` and a separator.
        ValueError: The separator is not frozen; the extractor is made for other observations, or for stacked frames
            while ``ideal`` has the sources of the newest alone; unknown slots, or "target" with another number of slots
            than two or with an order. At the first reset with ``ideal``: the environment gives no ``source_audio`` (or
            ``is_target``), or that of another number of sources.
    """

    def __init__(
        self,
        venv: VecEnv,
        extractor: SeparatedCuesExtractor | None = None,
        device: torch.device | str | None = None,
        ideal: bool = False,
        slots: str = "sources",
        **extractor_kwargs: Any,
    ) -> None:
        if ideal and "separator" in extractor_kwargs:
            raise TypeError(
                "separator: expected none beside ideal=True, which does not separate; leave one of them out"
            )
        if extractor is None:
            if ideal:
                extractor_kwargs["separator"] = NO_SEPARATION
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
        if ideal and extractor.num_frames > 1:
            raise ValueError(
                f"extractor: expected num_frames=1 with ideal=True, actual {extractor.num_frames}; put VecFrameStack "
                "around VecSeparatedCues instead"
            )
        check_slots(slots, extractor.order)
        num_sources = extractor.separator.num_sources
        if slots == "target" and num_sources != NUM_TARGET_SLOTS:
            raise ValueError(
                f'num_sources: expected {NUM_TARGET_SLOTS} with slots="target", targets and all else, actual '
                f'{num_sources}; extractor_kwargs(env, slots="target") gives that'
            )
        if slots == "target" and extractor.separator.slots == ANY_ORDER and not ideal:
            raise ValueError(
                'separator: expected one that fills its slots by kind with slots="target", actual one that puts '
                "sources out in any order; take one such as speech-first"
            )
        if device is not None:
            extractor.to(get_device(device))
        self.extractor = extractor
        self.ideal = ideal
        self.slots = slots
        features = spaces.Box(-np.inf, np.inf, (extractor.features_dim,), np.float32)
        super().__init__(venv, observation_space=features)

    def reset(self) -> np.ndarray:
        """Reset every environment: (num_envs, features_dim) float32."""
        observations: Any = self.venv.reset()
        return self._extract(observations, self.venv.unwrapped.reset_infos)

    def step_wait(self) -> VecEnvStepReturn:
        """Wait for the step: observations (num_envs, features_dim) float32, rewards, dones, infos.

        The last observation of an ended episode, in its info, goes through the same pass of the separator.
        """
        observations: Any
        observations, rewards, dones, infos = self.venv.step_wait()
        ended = [i for i, info in enumerate(infos) if "terminal_observation" in info]
        last = [infos[i]["terminal_observation"] for i in ended]
        batch = {key: np.stack([*array, *(each[key] for each in last)]) for key, array in observations.items()}
        # The info of a step belongs to the observation that ended the episode, if it did; that of the first observation
        # of the next is what reset gave.
        reset_infos = self.venv.unwrapped.reset_infos
        infos_now = [reset_infos[i] if dones[i] else info for i, info in enumerate(infos)]
        features = self._extract(batch, [*infos_now, *(infos[i] for i in ended)])
        infos = list(infos)
        for i, terminal_features in zip(ended, features[self.num_envs :], strict=True):
            infos[i] = {**infos[i], "terminal_observation": terminal_features}
        return features[: self.num_envs], rewards, dones, infos

    def _extract(self, observations: Mapping[str, np.ndarray], infos: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Features of observations and the infos that came with them."""
        if not self.ideal:
            return extract_features(self.extractor, observations)
        sources = np.stack([self.ideal_sources(info) for info in infos])
        return extract_features(self.extractor, observations, sources)

    def ideal_sources(self, info: Mapping[str, Any]) -> np.ndarray:
        """What a perfect separator would put into the slots.

        Args:
            info: With ``source_audio``, (sources, E, N), and, for slots of targets and the rest, ``is_target``,
                (sources,) bool.

        Returns:
            (S, N), mono, in the order of the scene.

        Raises:
            ValueError: One of them is missing, or there are other sources than slots.
        """
        for key in ("source_audio", "is_target") if self.slots == "target" else ("source_audio",):
            if key not in info:
                raise ValueError(
                    f'ideal: expected info["{key}"], actual none; make the environment with source_audio=True'
                )
        alone = take_pair(info["source_audio"], self.extractor.pair).mean(axis=1)  # (sources, N)
        if self.slots == "target":
            is_target = info["is_target"]
            return np.stack((alone[is_target].sum(axis=0), alone[~is_target].sum(axis=0)))
        num_sources = self.extractor.separator.num_sources
        if len(alone) != num_sources:
            raise ValueError(
                f"num_sources: expected the {len(alone)} sources of the scene with ideal=True, actual {num_sources}"
            )
        return alone
