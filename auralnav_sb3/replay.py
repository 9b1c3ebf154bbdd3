"""A replay buffer that keeps what the ears heard in less than a quarter of the memory that SB3's takes."""

from __future__ import annotations

import sys
import zlib
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import DictReplayBuffer
from stable_baselines3.common.preprocessing import get_obs_shape
from stable_baselines3.common.type_aliases import DictReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize

# Sample value 1.0 as int16; -32768 is never used.
FULL_SCALE = 32767


class AudioReplayBuffer(DictReplayBuffer):
    """Keeps audio as compressed 16-bit samples, every observation once, and gives n-step returns.

    For SB3's off-policy algorithms when the separator learns too::

        model = DQN(
            "MultiInputPolicy",
            env,
            gamma=0.97,
            buffer_size=20_000,
            replay_buffer_class=AudioReplayBuffer,
            replay_buffer_kwargs=dict(n_steps=3, gamma=0.97),
            policy_kwargs=...,
        )

    Of a transition, SB3's `DictReplayBuffer` keeps the observation and the next one in float32: 64 kB for two ears and
    4000 samples. Here audio is rounded to 16 bits, which puts an error at -101 dB of full scale into it, and compressed
    without further loss; and the next observation of a transition is the very object that the following transition
    begins with. Only where an episode ends, or where the learner was cut off in the middle of one, is it kept in
    addition. What AuralNav's ears hear then takes about a fifth of SB3's memory (`nbytes`); noise at full scale, which
    does not compress, a quarter.

    Apart from the rounding, it gives the samples that `DictReplayBuffer` gives, from the same random draws; with
    ``n_steps`` above 1 those of SB3's `NStepReplayBuffer`, which knows no dict observations. An n-step return is cut
    short where its episode ends and at the newest transition; ``discounts`` says how much the value of the next
    observation counts.

    Args:
        buffer_size: Transitions, of all environments together.
        observation_space: A Dict with ``audio``, a float32 Box within [-1, 1]: (E, N), all E channels, or (E, k N)
            if `VecFrameStack` is under the model. Other keys are kept as they are, as `DictReplayBuffer` does.
        action_space: Of the environment.
        device: Where the samples go.
        n_envs: Parallel environments.
        optimize_memory_usage: SB3 passes it on; must be False.
        handle_timeout_termination: An episode that was cut by a time limit still has a value beyond its end.
        n_steps: Rewards in a return. SB3's algorithms warn that they ignore their own ``n_steps`` with a replay buffer
            that they are given: it must be set here, and ``gamma`` too.
        gamma: Discount factor of the rewards in an n-step return: the algorithm's.

    Raises:
        ValueError: Another observation space, ``optimize_memory_usage=True``, ``n_steps`` below 1, or a ``gamma``
            outside [0, 1].
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Dict,
        action_space: spaces.Space,
        device: torch.device | str = "auto",
        n_envs: int = 1,
        optimize_memory_usage: bool = False,
        handle_timeout_termination: bool = True,
        n_steps: int = 1,
        gamma: float = 0.99,
    ) -> None:
        _check_space(observation_space)
        if optimize_memory_usage:
            raise ValueError(
                "optimize_memory_usage: expected False, actual True; this buffer keeps every observation once as it is"
            )
        if n_steps < 1:
            raise ValueError(f"n_steps: expected at least 1, actual {n_steps!r}")
        if not 0 <= gamma <= 1:
            raise ValueError(f"gamma: expected 0 to 1, actual {gamma!r}")
        others = spaces.Dict({key: space for key, space in observation_space.items() if key != "audio"})
        super().__init__(
            buffer_size, others, action_space, device, n_envs, handle_timeout_termination=handle_timeout_termination
        )
        self.observation_space = observation_space
        self.obs_shape = get_obs_shape(observation_space)  # type: ignore[assignment]
        self.n_steps = n_steps
        self.gamma = gamma
        # Compressed, (buffer_size, n_envs) of bytes; the same object wherever an observation is both, so that the
        # reference count alone decides when it goes.
        self.audio = np.full((self.buffer_size, self.n_envs), None, dtype=object)
        self.next_audio = self.audio.copy()

    @property
    def nbytes(self) -> int:
        """Bytes that the buffer takes now: compressed audio, references to it, and the arrays."""
        arrays = [*self.observations.values(), *self.next_observations.values()]
        arrays += [self.audio, self.next_audio, self.actions, self.rewards, self.dones, self.timeouts]
        held = {id(blob): blob for blob in (*self.audio.flat, *self.next_audio.flat) if blob is not None}
        return sum(array.nbytes for array in arrays) + sum(map(sys.getsizeof, held.values()))

    def add(  # type: ignore[override]
        self,
        obs: dict[str, np.ndarray],
        next_obs: dict[str, np.ndarray],
        action: np.ndarray,
        reward: np.ndarray,
        done: np.ndarray,
        infos: list[dict[str, Any]],
    ) -> None:
        """Add one transition of every environment, overwriting the oldest when full.

        Args:
            obs: ``audio``, (n_envs, E, N), clipped to [-1, 1], and the other keys.
            next_obs: The same; of an episode that ended, the last observation and not the first of the next, as SB3's
                algorithms have it.
            action: (n_envs,) or (n_envs, action_dim).
            reward: (n_envs,).
            done: (n_envs,): the episode ended, by the rules or by a time limit.
            infos: Of every environment; ``TimeLimit.truncated`` tells a time limit.

        Raises:
            ValueError: NaN in the audio.
        """
        heard = [compress_audio(audio) for audio in obs["audio"]]
        heard_next = [compress_audio(audio) for audio in next_obs["audio"]]
        for i in range(self.n_envs):
            previous = self.next_audio[self.pos - 1, i]
            self.audio[self.pos, i] = previous if heard[i] == previous else heard[i]
            self.next_audio[self.pos, i] = heard_next[i]
        super().add(obs, next_obs, action, reward, done, infos)

    def _get_samples(  # type: ignore[override]
        self, batch_inds: np.ndarray, env: VecNormalize | None = None
    ) -> DictReplayBufferSamples:
        env_indices = np.random.randint(0, high=self.n_envs, size=(len(batch_inds),))  # noqa: NPY002 (SB3's seed)

        # The n transitions from each on: (B, n). Past the newest there is an older one, or nothing.
        rows = (batch_inds[:, None] + np.arange(self.n_steps)) % self.buffer_size
        columns = env_indices[:, None]
        newest = (self.pos - 1) % self.buffer_size
        is_last = (self.dones[rows, columns] > 0) | (rows == newest)
        num_ends_before = np.cumsum(is_last, axis=1) - is_last
        counts = num_ends_before == 0
        lengths = counts.sum(axis=1)  # (B,), 1 to n

        rewards = self._normalize_reward(self.rewards[rows, columns], env)
        discounts = self.gamma ** np.arange(self.n_steps, dtype=np.float32)
        returns = (rewards * discounts * counts).sum(axis=1, keepdims=True)  # (B, 1)
        last = (batch_inds + lengths - 1) % self.buffer_size
        dones = self.dones[last, env_indices] * (1 - self.timeouts[last, env_indices])

        return DictReplayBufferSamples(
            observations=self._read(self.observations, self.audio, batch_inds, env_indices, env),
            actions=self.to_torch(self.actions[batch_inds, env_indices]),
            next_observations=self._read(self.next_observations, self.next_audio, last, env_indices, env),
            dones=self.to_torch(dones.reshape(-1, 1)),
            rewards=self.to_torch(returns),
            # Without, an algorithm takes its own gamma.
            discounts=None if self.n_steps == 1 else self.to_torch(self.gamma ** lengths[:, None].astype(np.float32)),
        )

    def _read(
        self,
        others: dict[str, np.ndarray],
        audio: np.ndarray,
        rows: np.ndarray,
        columns: np.ndarray,
        env: VecNormalize | None,
    ) -> dict[str, torch.Tensor]:
        """Put observations together again and normalise them: arrays of (B, ...) by key."""
        observations = {key: array[rows, columns] for key, array in others.items()}
        observations["audio"] = np.stack(
            [decompress_audio(blob, self.obs_shape["audio"]) for blob in audio[rows, columns]]
        )
        normalized = self._normalize_obs(observations, env)
        assert isinstance(normalized, dict)
        return {key: self.to_torch(array) for key, array in normalized.items()}


def compress_audio(audio: np.ndarray) -> bytes:
    """Round samples to 16 bits and compress them; equal samples give equal bytes.

    High and low bytes are put apart, since only the high ones of audio that is not loud have anything in common.

    Args:
        audio: Any shape; clipped to [-1, 1].

    Raises:
        ValueError: NaN.
    """
    if np.isnan(audio).any():
        raise ValueError("audio: expected samples in [-1, 1], actual NaN")
    samples = np.rint(np.clip(audio, -1, 1) * FULL_SCALE).astype("<i2")
    # Level 1: higher ones take several times as long for less than a hundredth.
    return zlib.compress(samples.reshape(-1, 1).view(np.uint8).T.tobytes(), level=1)


def decompress_audio(compressed: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """Undo `compress_audio` up to its rounding: float32 of this shape, multiples of 1 / 32767."""
    planes = np.frombuffer(zlib.decompress(compressed), np.uint8).reshape(2, -1)
    samples = np.ascontiguousarray(planes.T).view("<i2").reshape(shape)
    return samples.astype(np.float32) / np.float32(FULL_SCALE)


def _check_space(space: spaces.Space) -> None:
    """Raise a ValueError unless the space is a Dict with audio as the buffer keeps it."""
    audio = space.spaces.get("audio") if isinstance(space, spaces.Dict) else None
    if (
        not isinstance(audio, spaces.Box)
        or audio.dtype != np.float32
        or not ((audio.low >= -1).all() and (audio.high <= 1).all())
    ):
        raise ValueError(f"observation_space: expected Dict(audio=Box(-1, 1, float32), ...), actual {space}")
