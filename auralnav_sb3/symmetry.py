"""Left and right: what happened in a room would have happened in its mirror image, with left and right exchanged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import NStepReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize

from auralnav_gym.movement import Action

# What each action is in a mirror.
MIRRORED_ACTIONS = {
    Action.FORWARD: Action.FORWARD,
    Action.BACKWARD: Action.BACKWARD,
    Action.TURN_RIGHT: Action.TURN_LEFT,
    Action.TURN_LEFT: Action.TURN_RIGHT,
}
# And of a forward speed and a turn rate, positive to the left: what they are multiplied by.
ACTION_SIGNS = (1.0, -1.0)


class MirroredReplayBuffer(NStepReplayBuffer):
    """Shows every other transition in a mirror, which doubles what is learned from each step of the environment.

    For SB3's off-policy algorithms on cues::

        model = DQN(
            "MlpPolicy",
            venv,
            gamma=0.97,
            replay_buffer_class=MirroredReplayBuffer,
            replay_buffer_kwargs=dict(signs=mirror_signs(cues.extractor, frames), n_steps=3, gamma=0.97),
        )

    The mirror image of a shoebox, with the sources and the agent in it, is a scene that is as likely as the scene
    itself, and a separator that hears the mean of the ears separates it in the same way. So a transition in the mirror
    (the cues that have a side change their sign, left turns become right turns, the reward stays) is one that could
    have been played. Each transition of a batch is mirrored with probability 1/2 when it is sampled. Actions are those
    of :class:`auralnav_gym.Action`, or a forward speed and a turn rate, of which the latter changes its sign.

    That does not hold for ears that differ from each other; nor for a pose in a room whose mirror image is another one.

    Args:
        *args: Those of `NStepReplayBuffer`.
        signs: (observation,) of -1 for the numbers that change their sign in a mirror, 1 for the others.
        **kwargs: Those of `NStepReplayBuffer`; ``n_steps`` and ``gamma`` must be the algorithm's.

    Raises:
        ValueError: ``signs`` of another shape than the observations, or with other values; or other actions.
    """

    def __init__(self, *args: Any, signs: Sequence[float] | np.ndarray, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.signs = np.asarray(signs, dtype=np.float32)
        if self.signs.shape != self.obs_shape or not np.isin(self.signs, (-1, 1)).all():
            raise ValueError(f"signs: expected {self.obs_shape} numbers that are -1 or 1, actual {signs!r}")
        space = self.action_space
        discrete = isinstance(space, spaces.Discrete) and (space.start, space.n) == (0, len(Action))
        if not discrete and not (isinstance(space, spaces.Box) and space.shape == (len(ACTION_SIGNS),)):
            raise ValueError(
                f"action_space: expected Discrete({len(Action)}) or a Box of a forward speed and a turn rate, whose "
                f"mirror image is known, actual {space}"
            )

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> ReplayBufferSamples:
        """Sample transitions, each mirrored or not."""
        samples = super().sample(batch_size, env)
        mirrored = torch.as_tensor(np.random.randint(2, size=(batch_size, 1)) == 1, device=self.device)  # noqa: NPY002
        return samples._replace(**mirror(samples, mirrored, self.signs))


def mirror(samples: ReplayBufferSamples, mirrored: torch.Tensor, signs: np.ndarray) -> dict[str, torch.Tensor]:
    """What becomes of some transitions in a mirror.

    Args:
        samples: B transitions. Actions are whole numbers, `Action`, or (B, 2), forward speed and turn rate.
        mirrored: (B, 1) bool, which.
        signs: See `MirroredReplayBuffer`.

    Returns:
        The ``observations``, ``next_observations`` and ``actions`` of all B.
    """
    device = mirrored.device
    factors = torch.where(mirrored, torch.as_tensor(signs, device=device), 1.0)  # (B, observation)
    actions = samples.actions
    if actions.is_floating_point():
        others = actions * torch.tensor(ACTION_SIGNS, device=device)
    else:
        others = torch.tensor([MIRRORED_ACTIONS[action] for action in Action], device=device)[actions.long()]
    return {
        "observations": samples.observations * factors,
        "next_observations": samples.next_observations * factors,
        "actions": torch.where(mirrored, others, actions),
    }
