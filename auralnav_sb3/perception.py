"""What a model makes of what it hears: the separated sources, their masks and cues, and what each action is worth.

In the order of use::

    perceptions = perceive(extractor, recording.audio)  # of a whole episode, without values
    values, kind = action_values(model, observations)  # as model.predict takes them

    perceiver = ModelPerceiver(model)  # while an episode is played
    perceiver.reset()
    perception = perceiver.perceive(observation)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from sb3_contrib.qrdqn.policies import QRDQNPolicy
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.distributions import CategoricalDistribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env.stacked_observations import StackedObservations
from stable_baselines3.dqn.policies import DQNPolicy
from torch import Tensor

from auralnav_gym.movement import ACTION_SCHEMES, as_action_scheme
from auralnav_gym.recording import Perceiver, Perception
from auralnav_sb3 import cues
from auralnav_sb3.conversion import find_extractor
from auralnav_sb3.extractor import AGGREGATIONS, SeparatedCuesExtractor, device_of, take_pair

Q_VALUE, PROBABILITY, ACTION = "Q-value", "probability", "action"

# Windows that are separated at a time. A window of 4000 samples takes the full-size separator about 7 MB, and more of
# them at a time take no less time each.
_BATCH = 32


def perceive(
    extractor: SeparatedCuesExtractor,
    audio: np.ndarray,
    example: np.ndarray | None = None,
    sources: np.ndarray | None = None,
) -> tuple[Perception, ...]:
    """What an extractor makes of windows of audio, without gradients.

    What it made of the same windows in another batch, as when it acted on them, can differ by rounding: by -120 dB of
    the sources as measured, at half precision (see `auralnav_sb3.Separator`) as well.

    Args:
        extractor: On any device. Its own ``num_frames`` and normalizations make no difference: the windows are single
            frames, and the cues are those before they are normalized.
        audio: (M, E, N) float32, what the ears heard.
        example: (L,) float32, the sound to look for, the same for all windows; for ``order="example"`` only.
        sources: (M, S, N) float32, mono, to be used in place of those that the separator finds.

    Returns:
        M, in the order of the windows, without values of actions. The sources are in the order in which the policy is
        given them, that of ``extractor.order``.

    Raises:
        ValueError: audio of another shape or with samples that are not finite, or no example for an extractor that
            sorts by one.
    """
    if audio.ndim != 3 or audio.shape[1] != extractor.num_ears:
        raise ValueError(f"audio: expected shape (M, {extractor.num_ears}, N), actual {audio.shape}")
    if extractor.order == "example" and example is None:
        raise ValueError('example: expected one for an extractor with order="example", actual None')
    perceptions: list[Perception] = []
    for start in range(0, len(audio), _BATCH):
        part = slice(start, start + _BATCH)
        perceptions += _perceive(extractor, audio[part], example, None if sources is None else sources[part])
    return tuple(perceptions)


def _perceive(
    extractor: SeparatedCuesExtractor, audio: np.ndarray, example: np.ndarray | None, sources: np.ndarray | None
) -> list[Perception]:
    """`perceive`, all at once."""
    device = device_of(extractor)

    def tensor(array: np.ndarray) -> Tensor:
        return torch.as_tensor(array, dtype=torch.float32, device=device)

    with torch.inference_mode():
        heard = take_pair(tensor(audio), extractor.pair)  # (M, 2, N)
        told = None if example is None else tensor(example).expand(len(heard), -1)  # (M, L)
        separated = extractor.separate(heard, told) if sources is None else extractor.arrange(tensor(sources), told)
        pooled = extractor.aggregate(heard, separated)  # (M, S, K)
        spectra = (cues.stft(signal, extractor.n_fft, extractor.hop_length) for signal in (separated, heard))
        masks = cues.source_masks(*spectra)  # (M, S, F, W)
        columns = (part.cpu().numpy() for part in (separated, masks, pooled))
    names = AGGREGATIONS[extractor.aggregation]
    return [
        Perception(each_sources, each_masks, each_cues, names, hop=extractor.hop_length)
        for each_sources, each_masks, each_cues in zip(*columns, strict=True)
    ]


def action_values(
    model: BaseAlgorithm,
    observation: Any,
    state: tuple[np.ndarray, ...] | None = None,
    episode_start: np.ndarray | None = None,
) -> tuple[np.ndarray, str]:
    """What a model goes by when it acts; it draws nothing.

    What ``model.predict`` takes with ``deterministic=True`` is the action of the greatest value, or of the greatest
    probability, or the action itself.

    Args:
        model: Any of SB3 or sb3-contrib.
        observation: One or a batch of n, as ``model.predict`` takes it.
        state: Of a recurrent model, as ``model.predict`` takes it and gave it last; None: an episode's first.
        episode_start: (n,) bool, where an episode begins and a recurrent model forgets its state; None: nowhere.

    Returns:
        (n, A) float32, n = 1 for a single observation, and of which kind they are: "Q-value" (DQN, and the mean over
        the quantiles of QR-DQN), "probability" (PPO, A2C, RecurrentPPO and all else that draws one of A actions from a
        policy), "action" (where actions are a Box, all algorithms: A numbers). (n, 0) and "" for others.
    """
    policy: Any = model.policy
    if isinstance(model.action_space, spaces.Box):
        actions, _ = model.predict(observation, state, episode_start, deterministic=True)
        return np.asarray(actions, dtype=np.float32).reshape(-1, int(np.prod(model.action_space.shape))), ACTION
    policy.set_training_mode(False)  # as predict does
    tensors, _ = policy.obs_to_tensor(observation)
    with torch.no_grad():
        if isinstance(policy, DQNPolicy):
            values, kind = policy.q_net(tensors), Q_VALUE
        elif isinstance(policy, QRDQNPolicy):
            values, kind = policy.quantile_net(tensors).mean(dim=1), Q_VALUE
        elif isinstance(policy, ActorCriticPolicy) and isinstance(model.action_space, spaces.Discrete):
            if isinstance(policy, RecurrentActorCriticPolicy):
                memory, starts = _memory(policy, _batch_size(tensors), state, episode_start)
                distribution, _ = policy.get_distribution(tensors, memory, starts)
            else:
                distribution = policy.get_distribution(tensors)
            assert isinstance(distribution, CategoricalDistribution)
            values, kind = distribution.distribution.probs, PROBABILITY
        else:
            values, kind = torch.zeros(_batch_size(tensors), 0), ""
    return values.cpu().numpy(), kind


def _batch_size(tensors: Tensor | Mapping[str, Tensor]) -> int:
    return len(tensors if isinstance(tensors, Tensor) else next(iter(tensors.values())))


def _memory(
    policy: RecurrentActorCriticPolicy, size: int, state: tuple[np.ndarray, ...] | None, start: np.ndarray | None
) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """The state and the starts of episodes as a recurrent policy takes them: ``predict``'s, in tensors."""
    layers, _, width = policy.lstm_hidden_state_shape
    hidden, cell = (np.zeros((layers, size, width)),) * 2 if state is None else state

    def tensor(array: np.ndarray) -> Tensor:
        return torch.as_tensor(array, dtype=torch.float32, device=policy.device)

    return (tensor(hidden), tensor(cell)), tensor(np.zeros(size, dtype=bool) if start is None else start)


def with_values(perception: Perception, values: np.ndarray, kind: str, names: Sequence[str]) -> Perception:
    """Add what each action is worth.

    Args:
        perception: Without values.
        values: (A,) float32.
        kind: See `action_values`.
        names: A names; where there are others, as of an action scheme that has none, numbers take their place.
    """
    known = tuple(names) if len(names) == len(values) else tuple(map(str, range(len(values))))
    return replace(perception, values=values, value_names=known, value_kind=kind)


class ModelPerceiver(Perceiver):
    """Tells what an SB3 model that acts on what the ears hear makes of the observations of one environment.

    It stacks frames by itself, as `VecFrameStack` does: zeros come before an episode's first. Of a model without a
    `SeparatedCuesExtractor` it tells the values of the actions alone.

    Args:
        model: Acts on dicts with ``audio``, of one frame or of several stacked ones. It is read anew each time: while
            it learns, what is told is what it makes of it now.
        action_names: The world's ``actions.names``; None: those of the action scheme of AuralNav, if one has the
            model's action space.

    Raises:
        ValueError: The model acts on something else.
    """

    def __init__(self, model: BaseAlgorithm, action_names: Sequence[str] | None = None) -> None:
        space = model.observation_space
        if not isinstance(space, spaces.Dict) or "audio" not in space.spaces:
            raise ValueError(
                f"model: expected one that acts on what the ears hear, a Dict with audio, actual one that acts on "
                f"{space}. Convert a model that acts on cues with auralnav_sb3.to_audio(model)."
            )
        self._model = model
        self._lengths = {key: box.shape[-1] for key, box in space.items() if box.shape}
        self._names = _names_of(model.action_space) if action_names is None else tuple(action_names)
        self.reset()

    def reset(self) -> None:
        """An episode begins: the next observation is its first."""
        self._frames: StackedObservations | None = None
        self._state: tuple[np.ndarray, ...] | None = None

    def perceive(self, observation: Mapping[str, np.ndarray]) -> Perception:
        """What the model makes of the next observation of the episode.

        Args:
            observation: A single frame, as the environment gives it: audio, (E, N), and what else the model acts on.

        Raises:
            ValueError: It is no frame of what the model acts on.
        """
        begins = self._frames is None
        stacked = self._stack({key: np.asarray(observation[key])[None] for key in observation})
        start = np.array([begins])
        values, kind = action_values(self._model, stacked, self._state, start)
        if isinstance(self._model.policy, RecurrentActorCriticPolicy):
            _, self._state = self._model.predict(stacked, self._state, start, deterministic=True)
        extractor = find_extractor(self._model)
        if extractor is None:
            return with_values(Perception.nothing(), values[0], kind, self._names)
        (perception,) = perceive(extractor, observation["audio"][None], observation.get("example"))
        return with_values(perception, values[0], kind, self._names)

    def _stack(self, frame: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The newest frames, as many as the model acts on, by SB3's own arithmetic: each (1, ...) to (1, ...)."""
        if self._frames is not None:
            return self._frames.update(frame, np.array([False]), [{}])[0]
        ratios = {self._lengths.get(key, 0) / max(array.shape[-1], 1) for key, array in frame.items()}
        num_frames = next(iter(ratios)) if len(ratios) == 1 else 0
        if frame.keys() != self._lengths.keys() or num_frames < 1 or num_frames != int(num_frames):
            shapes = {key: array.shape[1:] for key, array in frame.items()}
            raise ValueError(
                f"observation: expected a frame of what the model acts on, {self._model.observation_space}, actual "
                f"parts of the shapes {shapes}. Make the environment as the model's own was; auralnav_sb3.senses_of "
                "tells pose and motion."
            )
        boxes: dict[str, spaces.Space[Any]] = {
            key: spaces.Box(-np.inf, np.inf, array.shape[1:], array.dtype) for key, array in frame.items()
        }
        self._frames = StackedObservations(1, int(num_frames), spaces.Dict(boxes))
        return self._frames.reset(frame)


def _names_of(space: spaces.Space) -> tuple[str, ...]:
    """The names of the actions of AuralNav's own scheme with such actions."""
    schemes = map(as_action_scheme, ACTION_SCHEMES)
    return next((scheme.names for scheme in schemes if scheme.space == space), ())
