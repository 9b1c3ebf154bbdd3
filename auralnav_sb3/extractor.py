"""The features extractor: hears with two ears, separates, and tells the policy where and how loud each source is."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecEnv, VecNormalize
from torch import Tensor, nn

from auralnav_sb3 import cues
from auralnav_sb3.separation import SeparatorConfig, load_separator

# The cues that each aggregation gives a source, in their order.
AGGREGATIONS = {"mean": cues.MEAN_CUES, "weighted": cues.WEIGHTED_CUES}
ORDERS = ("none", "energy", "example")
# What the separator's slots hold: every source one of its own, or the targets together first and all else second.
SLOTS = ("sources", "target")
NUM_TARGET_SLOTS = 2
# The channels that are left and right, where nothing else is said.
LEFT_AND_RIGHT = (0, 1)
# The parts that an observation may have, by the number of axes of each.
_NUM_AXES = {"audio": 2, "agent": 1, "goal": 1, "example": 1}
# What becomes of AuralNav's ``agent`` in a mirror along the x axis, by its length: of motion (along the heading, turn),
# of the pose (x, y, cosine and sine of the heading), of both.
_AGENT_SIGNS: dict[int, tuple[float, ...]] = {
    0: (),
    2: (1.0, -1.0),
    4: (1.0, -1.0, 1.0, -1.0),
    6: (1.0, -1.0, 1.0, -1.0, 1.0, -1.0),
}

Audio = TypeVar("Audio", np.ndarray, Tensor)


@dataclass(frozen=True, eq=False)
class Normalization:
    """What SB3's VecNormalize does to observations: clip((x - mean) / sqrt(var + epsilon), -clip, clip).

    Attributes:
        mean: (n,) float64.
        var: (n,) float64.
        epsilon: Added to the variance.
        clip: Largest absolute value of what comes out.
    """

    mean: np.ndarray
    var: np.ndarray
    epsilon: float = 1e-8
    clip: float = 10.0

    @classmethod
    def from_vec_normalize(cls, venv: VecNormalize) -> Normalization:
        """Copy the statistics of the observations as they stand.

        Args:
            venv: Normalizes observations that are vectors.
        """
        statistics = cast(RunningMeanStd, venv.obs_rms)
        return cls(statistics.mean.copy(), statistics.var.copy(), venv.epsilon, venv.clip_obs)


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

    Observations: a dict of ``audio``, (E, N) float32, left and right ear, and, if the space has them, ``agent``, (A,),
    what the agent knows of itself, and what it is told to look for: ``goal``, (G,), the kind of sound, and ``example``,
    (M,), a sound of that kind. Of more than two channels the ``pair`` alone is listened to.

    Features, K * S + A + G numbers, source by source::

        cue 0 of source 0, ..., cue K - 1 of source 0, cue 0 of source 1, ..., cue K - 1 of source S - 1, agent, goal

    with K = 4 (`cues.aggregate_weighted`) or 3 (`cues.aggregate_mean`). The example is no feature: ``order="example"``
    sorts the sources by it.

    Stacked frames: over ``VecFrameStack(venv, k)`` the observations are (E, k * N), (k * A,), (k * G,) and (k * M,),
    the oldest frame first, and ``num_frames=k`` extracts the features of each frame, k * (K * S + A + G) numbers, the
    oldest first again, as VecFrameStack gives them over `VecSeparatedCues`. There the frames before an episode's first
    are zeros, and so they are here: a frame of nothing but zeros, in every part of the observation, with only such
    frames before it, gives zeros, whatever ``frame_normalization`` says; the newest frame never counts as one of them.
    With a pose or a goal no other frame looks like that. Without them, an episode that begins in digital silence is
    taken for one that begins later, which makes no difference unless ``frame_normalization`` is given: silence has
    zeros for cues.

    Every extractor owns its separator. SB3 makes one for each network: DQN's target network then has a separator of its
    own, which SB3's target update brings along. The orthogonal initialisation of SB3's actor-critic policies does not
    reach the separator (`apply`).

    ``model.save`` keeps the weights of the separator with those of the policy, and the arguments as they were passed.
    ``model.load`` builds the extractor from these arguments before it fills in the weights: a path or a hub name must
    still be there. To be free of it, pass the separator itself, ``separator=load_separator("separator.pth")``, which is
    saved inside the model; a model that was saved with a path that is gone can still be loaded with SB3's
    ``custom_objects={"policy_kwargs": ...}`` naming another separator of the same architecture.

    Args:
        observation_space: ``Dict(audio=Box(E, N))``, with any of ``agent=Box(A,)``, ``goal=Box(G,)`` and
            ``example=Box(M,)`` beside it, of one frame or of ``num_frames`` stacked ones.
        separator: "any-order" or "speech-first" (shipped, trained for two slots at 8 kHz), "compact" or "full"
            (untrained), a `SeparatorConfig` (untrained), the path of an Asteroid file, a hub name, or a module that
            maps (B, N) to (B, S, N), which is copied (`load_separator`).
        num_sources: S, the sources to separate: the slots of the separator.
        aggregation: "weighted" or "mean".
        freeze_separator: The separator keeps its weights and stays in evaluation mode, and no gradient is computed in
            it. False trains it with the policy, end to end.
        order: "none" leaves the sources in the separator's order; "energy" puts the loudest first, so that the
            separator's arbitrary order does not reach the policy; "example" puts first what sounds most like the
            example (`cues.order_by_likeness`).
        sample_rate: Hz, of the audio.
        ear_spacing: Metres between the ears, those of the pair; decides up to which frequency "weighted" trusts the
            IPD.
        n_fft: Samples in a window of the STFT.
        hop_length: Samples from one window of the STFT to the next.
        seed: Of the weights of an untrained separator.
        num_frames: Frames in an observation.
        frame_normalization: Of the features of each frame: what VecNormalize does between `VecSeparatedCues` and
            VecFrameStack.
        normalization: Of all the features: what VecNormalize does above them.
        pair: The channels of the audio that are the left and the right ear, from 0 to E - 1.

    Raises:
        FileNotFoundError: The separator is neither a file nor to be had from the hub.
        TypeError: separator is of no such kind.
        ValueError: Another observation space, an unknown choice, order="example" without an example, a separator made
            for another number of sources, sample rate or window, a normalization of another number of features, or a
            pair that is no two of the channels.
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
        num_frames: int = 1,
        frame_normalization: Normalization | None = None,
        normalization: Normalization | None = None,
        pair: Sequence[int] = LEFT_AND_RIGHT,
    ) -> None:
        if aggregation not in AGGREGATIONS:
            raise ValueError(f"aggregation: expected one of {list(AGGREGATIONS)}, actual {aggregation!r}")
        if order not in ORDERS:
            raise ValueError(f"order: expected one of {list(ORDERS)}, actual {order!r}")
        if not ear_spacing >= 0:
            raise ValueError(f"ear_spacing: expected at least 0 m, actual {ear_spacing!r}")
        for name, value in (
            ("num_sources", num_sources),
            ("n_fft", n_fft),
            ("hop_length", hop_length),
            ("num_frames", num_frames),
        ):
            if value < 1:
                raise ValueError(f"{name}: expected at least 1, actual {value!r}")
        num_ears, lengths = _frame_shape(observation_space, num_frames)
        if order == "example" and "example" not in lengths:
            raise ValueError(
                'order: expected observations with an example for "example", as those of an environment made with '
                f'goal="example", actual {observation_space}'
            )
        channels = check_pair(pair, num_ears)
        num_samples = lengths["audio"]
        frame_dim = len(AGGREGATIONS[aggregation]) * num_sources + lengths.get("agent", 0) + lengths.get("goal", 0)

        super().__init__(observation_space, features_dim=num_frames * frame_dim)
        self.observation_space = observation_space
        self.separator = load_separator(separator, num_sources, sample_rate, window_samples=num_samples, seed=seed)
        self.separator.check_shape((2, num_samples))
        for key in ("audio", "example") if order == "example" else ("audio",):
            if lengths[key] <= n_fft // 2:
                raise ValueError(
                    f"n_fft: expected less than twice the {lengths[key]} samples of the {key}, actual {n_fft}"
                )
        self.separator.requires_grad_(not freeze_separator)
        for weight in self.separator.parameters():
            weight.belongs_to_separator = True  # type: ignore[attr-defined]  # read by SeparatorAdam
        self.aggregation = aggregation
        self.freeze_separator = freeze_separator
        self.order = order
        self.n_fft = n_fft
        self.hop_length = hop_length
        self.ear_spacing = ear_spacing
        self.num_ipd_bins = cues.num_unaliased_bins(ear_spacing, sample_rate, n_fft)
        self.num_ears = num_ears
        self.pair = channels
        self.frame_lengths = lengths
        self.num_frames = num_frames
        self.frame_normalization = frame_normalization
        self.normalization = normalization
        self.normalize_frame = _normalizer("frame_normalization", frame_normalization, frame_dim)
        self.normalize = _normalizer("normalization", normalization, self.features_dim)
        self.train(self.training)

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments, but for the observation space, of an extractor like this one; the separator is this one's."""
        return {
            "separator": self.separator,
            "num_sources": self.separator.num_sources,
            "aggregation": self.aggregation,
            "freeze_separator": self.freeze_separator,
            "order": self.order,
            "sample_rate": self.separator.sample_rate,
            "ear_spacing": self.ear_spacing,
            "n_fft": self.n_fft,
            "hop_length": self.hop_length,
            "num_frames": self.num_frames,
            "frame_normalization": self.frame_normalization,
            "normalization": self.normalization,
            "pair": self.pair,
        }

    @property
    def mirror_signs(self) -> np.ndarray:
        """What becomes of the features in a mirror: (features_dim,) float32, -1 where the sign changes, 1 elsewhere.

        Left and right ear change places, which they do if each is the other's mirror image: IPD and ILD change their
        sign. Of pose (x, y, cos, sin) and motion (along, turn) the mirror changes y, the sine and the turn. Nearly so
        for the plain mean: an IPD of exactly pi, as the real bins at both ends of the spectrum can have, stays pi. What
        is looked for is the same in a mirror.

        Raises:
            ValueError: The features are normalized, or ``agent`` is neither pose nor motion.
        """
        if self.frame_normalization or self.normalization:
            raise ValueError("normalization: expected None, as a shifted feature has no sign, actual one")
        agent_dim, goal_dim = (self.frame_lengths.get(key, 0) for key in ("agent", "goal"))
        if agent_dim not in _AGENT_SIGNS:
            raise ValueError(
                f"agent: expected a pose, a motion or both, {list(_AGENT_SIGNS)} numbers, actual {agent_dim}"
            )
        of_cues = [-1.0 if name in cues.SIDED_CUES else 1.0 for name in AGGREGATIONS[self.aggregation]]
        frame = [*of_cues * self.separator.num_sources, *_AGENT_SIGNS[agent_dim], *[1.0] * goal_dim]
        return np.array(frame * self.num_frames, dtype=np.float32)

    def forward(self, observations: dict[str, Tensor], sources: Tensor | None = None) -> Tensor:
        """Extract the features.

        Args:
            observations: audio, (B, E, N), and the other parts of the observation space, (B, A), (B, G) and (B, M);
                (B, E, k * N), (B, k * A), (B, k * G) and (B, k * M) where k frames are stacked.
            sources: (B, S, N), mono, to be used in place of those that the separator finds; for single frames only.

        Returns:
            (B, K * S + A + G), or (B, k * (K * S + A + G)).

        Raises:
            ValueError: audio of another shape, or with samples that are not finite.
        """
        audio = observations["audio"]
        if audio.dim() != 3 or audio.shape[1] != self.num_ears:
            raise ValueError(
                f"audio: expected shape (B, {self.num_ears}, N), as in the observation space, "
                f"actual ({', '.join(map(str, ('B', *audio.shape[1:])))})"
            )
        frames = {
            key: observations[key].unflatten(-1, (self.num_frames, -1)).movedim(-2, 1) for key in self.frame_lengths
        }  # (B, k, E, N), (B, k, A), ...
        heard = take_pair(frames["audio"], self.pair).flatten(0, 1)  # (B * k, 2, N)
        example = frames["example"].flatten(0, 1) if self.order == "example" else None  # (B * k, M)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.freeze_separator):
            sources = self.separate(heard, example) if sources is None else self.arrange(sources, example)
            features = self.aggregate(heard, sources).flatten(start_dim=1)  # (B * k, S, K) -> (B * k, S * K)
        features = features.unflatten(0, (-1, self.num_frames))  # (B, k, S * K)
        features = torch.cat((features, *(frames[key] for key in ("agent", "goal") if key in frames)), dim=-1)
        features = self.normalize_frame(features)
        empty = torch.stack([(part == 0).flatten(start_dim=2).all(dim=-1) for part in frames.values()]).all(dim=0)
        # The run of empty frames at the beginning, the newest not among them: before the episode's first observation.
        padding = empty[:, :-1].cumprod(dim=1).bool()
        features = torch.cat((features[:, :-1].masked_fill(padding.unsqueeze(-1), 0.0), features[:, -1:]), dim=1)
        return self.normalize(features.flatten(start_dim=1))

    def separate(self, audio: Tensor, example: Tensor | None = None) -> Tensor:
        """Separate, and sort if `order` says so, by an example, (B, M), if need be: (B, 2, N) -> (B, S, N)."""
        return self.arrange(self.separator(audio), example)

    def arrange(self, sources: Tensor, example: Tensor | None = None) -> Tensor:
        """Sort sources, (B, S, N), if `order` says so, by an example, (B, M), if need be."""
        if self.order == "energy":
            return cues.order_by_energy(sources)
        if self.order == "example":
            assert example is not None
            return cues.order_by_likeness(sources, example, self.separator.sample_rate, self.n_fft, self.hop_length)
        return sources

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


def extract_features(
    extractor: SeparatedCuesExtractor, observations: Mapping[str, np.ndarray], sources: np.ndarray | None = None
) -> np.ndarray:
    """Extract the features of observations as parallel environments give them, without gradients.

    Args:
        extractor: On any device.
        observations: audio, (n, E, N), and the other parts of its observation space. Not changed.
        sources: (n, S, N), mono, to be used in place of those that the separator finds.

    Returns:
        (n, features_dim) float32.
    """
    device = device_of(extractor)

    def tensor(array: np.ndarray) -> Tensor:
        return torch.as_tensor(array, dtype=torch.float32, device=device)

    with torch.inference_mode():
        features = extractor(
            {key: tensor(array) for key, array in observations.items()},
            **({} if sources is None else {"sources": tensor(sources)}),
        )
        return features.cpu().numpy()


def device_of(extractor: SeparatedCuesExtractor) -> torch.device:
    """Where an extractor's weights are; the CPU if it has none."""
    weights = itertools.chain(extractor.parameters(), extractor.buffers())
    return next((weight.device for weight in weights), torch.device("cpu"))


def extractor_kwargs(
    env: gym.Env | VecEnv, slots: str = "sources", pair: Sequence[int] = LEFT_AND_RIGHT
) -> dict[str, Any]:
    """Read off an environment what the extractor must know of it.

    Args:
        env: With the attributes ``num_sources``, ``num_distractors``, ``sample_rate`` (Hz) and ``ears.positions``
            ((E, 3), metres), as AuralNav's; of parallel environments the first answers for all.
        slots: "sources": the separator has a slot for every source, distractors among them; "target": it has two, the
            first for the targets together and the second for everything else.
        pair: The two of E ears that are listened to, the left one and the right one.

    Returns:
        ``num_sources`` (as many as slots), ``sample_rate``, ``ear_spacing`` (between the two of the pair) and ``pair``,
        to pass on as ``features_extractor_kwargs``.

    Raises:
        ValueError: Unknown slots, or a pair that is no two of the ears.
    """
    check_slots(slots)
    names = ("num_sources", "num_distractors", "sample_rate", "ears")
    if isinstance(env, VecEnv):
        num_sources, num_distractors, sample_rate, ears = (env.get_attr(name, indices=0)[0] for name in names)
    else:
        num_sources, num_distractors, sample_rate, ears = (env.get_wrapper_attr(name) for name in names)
    num_slots = NUM_TARGET_SLOTS if slots == "target" else num_sources + num_distractors
    left, right = pair = check_pair(pair, len(ears.positions))
    ear_spacing = float(np.linalg.norm(ears.positions[left] - ears.positions[right]))
    return {"num_sources": num_slots, "sample_rate": sample_rate, "ear_spacing": ear_spacing, "pair": pair}


def check_slots(slots: str, order: str = "none") -> None:
    """Raise a ValueError unless slots are one of `SLOTS` and go together with the order."""
    if slots not in SLOTS:
        raise ValueError(f"slots: expected one of {list(SLOTS)}, actual {slots!r}")
    if slots == "target" and order != "none":
        raise ValueError(
            'order: expected "none" with slots="target", whose order tells the targets from the rest, actual '
            f'{order!r}; set order="none"'
        )


def check_pair(pair: Sequence[int], num_ears: int) -> tuple[int, int]:
    """Return the channels of the left and the right ear, or raise a ValueError unless they are two of so many."""
    if num_ears < 2:
        raise ValueError(
            f"audio: expected at least 2 channels, as cues are what differs between two of them, actual {num_ears}; "
            "give the environment more ears"
        )
    channels = tuple(pair)
    if len(channels) != 2 or channels[0] == channels[1] or not all(each in range(num_ears) for each in channels):
        raise ValueError(
            f"pair: expected the channels of the left and the right ear, two of 0 to {num_ears - 1}, actual {pair!r}"
        )
    return int(channels[0]), int(channels[1])


def take_pair(audio: Audio, pair: tuple[int, int]) -> Audio:
    """Leave the left and the right ear of some channels: (..., E, N) -> (..., 2, N), itself if these are all."""
    return audio if tuple(range(audio.shape[-2])) == pair else audio[..., list(pair), :]


class _Normalize(nn.Module):
    """VecNormalize's arithmetic, in double precision as there; its numbers are buffers of the state dict."""

    def __init__(self, normalization: Normalization) -> None:
        super().__init__()
        for name in ("mean", "var", "epsilon", "clip"):
            self.register_buffer(name, torch.tensor(getattr(normalization, name), dtype=torch.float64))
        self.mean: Tensor
        self.var: Tensor
        self.epsilon: Tensor
        self.clip: Tensor

    def forward(self, features: Tensor) -> Tensor:
        """Normalize the last axis; the dtype stays."""
        normalized = (features - self.mean) / (self.var + self.epsilon).sqrt()
        return normalized.clamp(-self.clip, self.clip).to(features.dtype)


def _normalizer(name: str, normalization: Normalization | None, num_features: int) -> nn.Module:
    if normalization is None:
        return nn.Identity()
    for statistic in ("mean", "var"):
        shape = np.shape(getattr(normalization, statistic))
        if shape != (num_features,):
            raise ValueError(f"{name}: expected a {statistic} of shape ({num_features},), actual {shape}")
    return _Normalize(normalization)


def _frame_shape(space: spaces.Space, num_frames: int) -> tuple[int, dict[str, int]]:
    """Return E, and N, A, G and M by the keys of a frame, those that the space has.

    Raises:
        ValueError: Another space than the extractor's docstring says.
    """
    boxes = space.spaces if isinstance(space, spaces.Dict) else {}
    shapes = {key: box.shape for key, box in boxes.items() if isinstance(box, spaces.Box)}
    if (
        shapes.keys() != boxes.keys()
        or "audio" not in shapes
        or any(len(shape) != _NUM_AXES.get(key) for key, shape in shapes.items())
    ):
        raise ValueError(
            "observation_space: expected Dict(audio=Box(E, N)) or one with any of agent=Box(A,), goal=Box(G,) and "
            f"example=Box(M,) beside it, actual {space}"
        )
    lengths = {key: shape[-1] for key, shape in shapes.items()}
    if any(length % num_frames for length in lengths.values()):
        raise ValueError(
            f"num_frames: expected an observation space of {num_frames} frames, each as long as the other, as "
            f"VecFrameStack makes it over the environment, actual {space}"
        )
    return shapes["audio"][0], {key: length // num_frames for key, length in lengths.items()}
