"""The features extractor: hears with two ears, separates, and tells the policy where and how loud each source is."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn

from auralnav_sb3 import cues
from auralnav_sb3.separation import SeparatorConfig, load_separator

# The cues that each aggregation gives a source, in their order.
AGGREGATIONS = {"mean": cues.MEAN_CUES, "weighted": cues.WEIGHTED_CUES}
ORDERS = ("none", "energy")


class SeparatedCuesExtractor(BaseFeaturesExtractor):
    """Separates the mixture and pools its interaural cues for each source, for any SB3 algorithm.

    Use::

        policy_kwargs = dict(
            features_extractor_class=SeparatedCuesExtractor,
            features_extractor_kwargs=dict(separator="separator.pth", **extractor_kwargs(env)),
        )
        model = DQN("MultiInputPolicy", env, policy_kwargs=policy_kwargs, buffer_size=20_000)

    (A step of two ears and 4000 samples takes 64 kB of a replay buffer, SB3's default size 64 GB; `VecSeparatedCues`
    stores the features instead, if the separator is frozen.)

    Observations: a dict of ``audio``, (2, N) float32, left and right ear, and, if the space has it, ``agent``, (A,).

    Features, K * S + A numbers, source by source::

        cue 0 of source 0, ..., cue K - 1 of source 0, cue 0 of source 1, ..., cue K - 1 of source S - 1, agent

    with K = 4 (`cues.aggregate_weighted`) or 3 (`cues.aggregate_mean`).

    Every extractor owns its separator. SB3 makes one for each network: DQN's target network then has a separator of its
    own, which SB3's target update brings along. The orthogonal initialisation of SB3's actor-critic policies does not
    reach the separator (`apply`).

    ``model.save`` keeps the weights of the separator with those of the policy, and the arguments as they were passed.
    ``model.load`` builds the extractor from these arguments before it fills in the weights: a path or a hub name must
    still be there. To be free of it, pass the separator itself, ``separator=load_separator("separator.pth")``, which is
    saved inside the model; a model that was saved with a path that is gone can still be loaded with SB3's
    ``custom_objects={"policy_kwargs": ...}`` naming another separator of the same architecture.

    Args:
        observation_space: ``Dict(audio=Box(2, N))`` or ``Dict(audio=Box(2, N), agent=Box(A,))``.
        separator: "compact" or "full" (untrained), a `SeparatorConfig` (untrained), the path of an Asteroid file, a hub
            name, or a module that maps (B, N) to (B, S, N), which is copied (`load_separator`).
        num_sources: S, the sources to separate.
        aggregation: "weighted" or "mean".
        freeze_separator: The separator keeps its weights and stays in evaluation mode, and no gradient is computed in
            it. False trains it with the policy, end to end.
        order: "none" leaves the sources in the separator's order; "energy" puts the loudest first, so that the
            separator's arbitrary order does not reach the policy.
        sample_rate: Hz, of the audio.
        ear_spacing: Metres between the ears; decides up to which frequency "weighted" trusts the IPD.
        n_fft: Samples in a window of the STFT.
        hop_length: Samples from one window of the STFT to the next.
        seed: Of the weights of an untrained separator.

    Raises:
        FileNotFoundError: The separator is neither a file nor to be had from the hub.
        TypeError: separator is of no such kind.
        ValueError: Another observation space, an unknown choice, or a separator made for another number of sources,
            sample rate or window.
    """

    def __init__(
        self,
        observation_space: spaces.Space,
        separator: str | os.PathLike[str] | SeparatorConfig | nn.Module = "compact",
        num_sources: int = 2,
        aggregation: str = "weighted",
        freeze_separator: bool = True,
        order: str = "none",
        sample_rate: int = 8000,
        ear_spacing: float = 0.17,
        n_fft: int = 256,
        hop_length: int = 128,
        seed: int = 0,
    ) -> None:
        if aggregation not in AGGREGATIONS:
            raise ValueError(f"aggregation: expected one of {list(AGGREGATIONS)}, actual {aggregation!r}")
        if order not in ORDERS:
            raise ValueError(f"order: expected one of {list(ORDERS)}, actual {order!r}")
        if not ear_spacing >= 0:
            raise ValueError(f"ear_spacing: expected at least 0 m, actual {ear_spacing!r}")
        for name, value in (("num_sources", num_sources), ("n_fft", n_fft), ("hop_length", hop_length)):
            if value < 1:
                raise ValueError(f"{name}: expected at least 1, actual {value!r}")
        audio_shape, agent_dim = _observation_shapes(observation_space)
        num_samples = audio_shape[-1]

        super().__init__(observation_space, features_dim=len(AGGREGATIONS[aggregation]) * num_sources + agent_dim)
        self.observation_space = observation_space
        self.separator = load_separator(separator, num_sources, sample_rate, window_samples=num_samples, seed=seed)
        self.separator.check_shape(audio_shape)
        if num_samples <= n_fft // 2:
            raise ValueError(
                f"n_fft: expected less than twice the N = {num_samples} samples of the audio, actual {n_fft}"
            )
        self.separator.requires_grad_(not freeze_separator)
        self.aggregation = aggregation
        self.freeze_separator = freeze_separator
        self.order = order
        self.n_fft = n_fft
        self.hop_length = hop_length
        self.num_ipd_bins = cues.num_unaliased_bins(ear_spacing, sample_rate, n_fft)
        self.train(self.training)

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """Extract the features.

        Args:
            observations: audio, (B, 2, N), and agent, (B, A), if the observation space has it.

        Returns:
            (B, K * S + A).

        Raises:
            ValueError: audio of another shape, or with samples that are not finite.
        """
        audio = observations["audio"]
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.freeze_separator):
            features = self.aggregate(audio, self.separate(audio)).flatten(start_dim=1)  # (B, S, K) -> (B, S * K)
        if "agent" in observations:
            features = torch.cat((features, observations["agent"]), dim=1)
        return features

    def separate(self, audio: Tensor) -> Tensor:
        """Separate, and sort if `order` says so: (B, 2, N) -> (B, S, N)."""
        sources = self.separator(audio)
        return cues.order_by_energy(sources) if self.order == "energy" else sources

    def aggregate(self, audio: Tensor, sources: Tensor) -> Tensor:
        """Pool the cues of the mixture for each source: (B, 2, N), (B, S, N) -> (B, S, K)."""
        mixture = cues.stft(audio, self.n_fft, self.hop_length)  # (B, 2, F, T)
        left, right = mixture.unbind(dim=1)
        ipd = cues.interaural_phase(left, right)  # (B, F, T)
        ild = cues.interaural_level(left, right)
        volume = cues.interaural_volume(left, right)
        masks = cues.source_masks(cues.stft(sources, self.n_fft, self.hop_length), mixture)  # (B, S, F, T)
        if self.aggregation == "mean":
            return cues.aggregate_mean(masks, ipd, ild, volume)
        return cues.aggregate_weighted(masks, ipd, ild, volume, self.num_ipd_bins)

    def train(self, mode: bool = True) -> SeparatedCuesExtractor:
        """Set the mode, except that a frozen separator stays in evaluation mode (SB3 sets that of the whole policy)."""
        super().train(mode)
        if self.freeze_separator:
            self.separator.eval()
        return self

    def apply(self, fn: Callable[[nn.Module], None]) -> SeparatedCuesExtractor:
        """Leave the separator out of what is applied to the extractor's modules.

        SB3's actor-critic policies (PPO, A2C) initialise every Linear and Conv2d layer under the features extractor
        anew (``ortho_init=True``), which would wipe out the weights that the separator was given.
        """
        fn(self)
        return self


def extract_features(extractor: SeparatedCuesExtractor, observations: Mapping[str, np.ndarray]) -> np.ndarray:
    """Extract the features of observations as parallel environments give them, without gradients.

    Args:
        extractor: On any device.
        observations: audio, (n, 2, N), and agent, (n, A), if its observation space has it. Not changed.

    Returns:
        (n, K * S + A) float32.
    """
    device = next((weight.device for weight in extractor.parameters()), torch.device("cpu"))
    with torch.inference_mode():
        tensors = {
            key: torch.as_tensor(array, dtype=torch.float32, device=device) for key, array in observations.items()
        }
        return extractor(tensors).cpu().numpy()


def extractor_kwargs(env: gym.Env | VecEnv) -> dict[str, Any]:
    """Read off an environment what the extractor must know of it.

    Args:
        env: With the attributes ``num_sources``, ``sample_rate`` (Hz) and ``ears.spacing`` (metres), as AuralNav's; of
            parallel environments the first answers for all.

    Returns:
        ``num_sources``, ``sample_rate`` and ``ear_spacing``, to pass on as ``features_extractor_kwargs``.
    """
    names = ("num_sources", "sample_rate", "ears")
    if isinstance(env, VecEnv):
        num_sources, sample_rate, ears = (env.get_attr(name, indices=0)[0] for name in names)
    else:
        num_sources, sample_rate, ears = (env.get_wrapper_attr(name) for name in names)
    return {"num_sources": num_sources, "sample_rate": sample_rate, "ear_spacing": ears.spacing}


def _observation_shapes(space: spaces.Space) -> tuple[tuple[int, ...], int]:
    """Return the shape of audio and A, 0 without agent.

    Raises:
        ValueError: Another space than the extractor's docstring says.
    """
    wanted = "Dict(audio=Box(2, N)) or Dict(audio=Box(2, N), agent=Box(A,))"
    boxes = space.spaces if isinstance(space, spaces.Dict) else {}
    audio, agent = boxes.get("audio"), boxes.get("agent")
    if (
        boxes.keys() - {"audio", "agent"}
        or not isinstance(audio, spaces.Box)
        or len(audio.shape) != 2
        or audio.shape[0] != 2
        or (agent is not None and (not isinstance(agent, spaces.Box) or len(agent.shape) != 1))
    ):
        raise ValueError(f"observation_space: expected {wanted}, actual {space}")
    return audio.shape, 0 if agent is None else agent.shape[0]
