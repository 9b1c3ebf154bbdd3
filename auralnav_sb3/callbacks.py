"""SB3 callbacks."""

from __future__ import annotations

import time
from datetime import timedelta

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback


class ProgressCallback(BaseCallback):
    """Prints how far the training is, how well the agent does, and how long it will still take.

    A line looks like ``12,000 / 40,000 steps (30 %)  success 0.64  95 steps/s  0:04:55 left``. The success is the
    share of the last 100 episodes (SB3's ``stats_window_size``) in which every source was found.

    Args:
        every_seconds: Seconds between two lines.
    """

    def __init__(self, every_seconds: float = 10.0) -> None:
        super().__init__()
        self._every_seconds = every_seconds

    def _on_training_start(self) -> None:
        self._began = self._last = time.monotonic()
        self._first_step = self.model.num_timesteps

    def _on_step(self) -> bool:
        now = time.monotonic()
        if now - self._last >= self._every_seconds:
            self._last = now
            print(self._line(now), flush=True)
        return True

    def _on_training_end(self) -> None:
        print(self._line(time.monotonic()), flush=True)

    def _line(self, now: float) -> str:
        done, total = self.model.num_timesteps, self.model._total_timesteps
        rate = max(done - self._first_step, 1) / max(now - self._began, 1e-9)
        left = timedelta(seconds=round(max(total - done, 0) / rate))
        successes = self.model.ep_success_buffer
        success = f"{np.mean(successes):.2f}" if successes else "-"
        return (
            f"{done:,} / {total:,} steps ({100 * done / total:.0f} %)  success {success}  "
            f"{rate:.0f} steps/s  {left} left"
        )
