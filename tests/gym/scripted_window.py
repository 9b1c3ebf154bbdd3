"""Windows in which somebody presses keys that were written down before, each when time stands still."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import numpy as np
import pygame

from auralnav_gym.window import Window


class Script:
    """Hands out an entry whenever somebody has slept to wait for a key.

    An entry is the keys that are pressed at the same time, separated by blanks. ``Script.sleep`` is to take the place
    of ``time.sleep`` where keys are waited for.
    """

    _naps = 0

    def __init__(self, entries: Iterable[str]) -> None:
        self._entries = deque(entries)
        self._naps_seen = Script._naps

    @staticmethod
    def sleep(seconds: float) -> None:
        Script._naps += 1

    def next(self) -> list[str]:
        if self._naps_seen == Script._naps:
            return []
        self._naps_seen = Script._naps
        assert self._entries, "somebody waits for a key when all have been pressed"
        return self._entries.popleft().split()

    @property
    def is_over(self) -> bool:
        return not self._entries


class PaperWindow:
    """Notes what it is shown; needs no display, no sound device and no time.

    ``during[i]`` are keys that are pressed while sound i is heard.
    """

    def __init__(self, *entries: str, during: dict[int, str] | None = None, held: Iterable[list[str]] = ()) -> None:
        self.script = Script(entries)
        self.shown: list[tuple[np.ndarray, np.ndarray | None, float]] = []
        self.is_closed = False
        self._during = dict(during or {})
        self._held = deque(held)

    @property
    def frames(self) -> list[np.ndarray]:
        return [frame for frame, _, _ in self.shown]

    @property
    def sounds(self) -> list[np.ndarray]:
        return [sound for _, sound, _ in self.shown if sound is not None]

    def show(self, frame: np.ndarray, sound: np.ndarray | None = None, seconds: float = 0.0) -> None:
        assert not self.is_closed
        self.shown.append((frame, sound, seconds))

    def keys(self) -> list[str]:
        if len(self.sounds) - 1 in self._during:
            return self._during.pop(len(self.sounds) - 1).split()
        return self.script.next()

    def held(self) -> list[str]:
        return self._held.popleft() if self._held else []

    def close(self) -> None:
        self.is_closed = True


class PostedKeysWindow(Window):
    """A window in earnest, whose keys are events: down and, at once, up; "close" is its button."""

    def __init__(self, *entries: str, sample_rate: int) -> None:
        super().__init__(sample_rate=sample_rate)
        self.script = Script(entries)

    def keys(self) -> list[str]:
        for name in self.script.next():
            if name == "close":
                pygame.event.post(pygame.event.Event(pygame.QUIT))
            else:
                for kind in (pygame.KEYDOWN, pygame.KEYUP):
                    pygame.event.post(pygame.event.Event(kind, key=pygame.key.key_code(name)))
        return super().keys()
