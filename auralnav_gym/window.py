"""A window that shows frames and plays the sound that belongs to them, at real speed, with pygame-ce.

In the order of use::

    window = Window(sample_rate=8000)
    window.show(first_frame, first_sound)  # returns as the sound begins
    window.show(second_frame, second_sound)  # returns when the first has ended and the second begins, without a gap
    window.wait()
    window.close()

A process has one window and one stream of sound: where there are several :class:`Window` objects, the frame of the one
that has shown last is seen, and their sounds follow one another.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

from auralnav_gym.recording import Snapshot
from auralnav_gym.rendering import glide_seconds, import_pygame, on_the_way

if TYPE_CHECKING:
    import pygame

_BUFFER_SECONDS = 0.032  # what is mixed at a time; a frame is shown up to so much before its sound leaves the computer
_FPS = 25.0  # of what moves
_NAP = 0.001  # seconds between two looks at the clock, the sound and the keys
_STUCK = 0.05  # seconds after which a piece that should play but does not is started anew


class Window:
    """Shows frames and plays sound with them, without a gap and at real speed.

    The window and the sound device are opened by the first frame. Where there is no sound device, that is said once by
    ``gymnasium.logger.warn``, and all goes on as if there was one, in silence. A copy has nothing open at first.

    Args:
        title: Of the window.
        sample_rate: Of the sound, Hz; the device may have another.
        sound: False: nothing is played.

    Raises:
        gymnasium.error.DependencyNotInstalled: If pygame-ce is missing.
    """

    def __init__(self, title: str = "AuralNav", sample_rate: int = 8000, sound: bool = True) -> None:
        import_pygame()
        self._title = title
        self._sample_rate = sample_rate
        self._is_audible = sound
        self._has_window = self._has_sound = False
        self._keys: list[str] = []
        self._held: list[str] = []
        # By time.monotonic(): until when the last frame stays, and where nothing can be heard, when the sound ends.
        self._frame_until = self._silence_until = 0.0

    def show(self, frame: np.ndarray, sound: np.ndarray | None = None, seconds: float = 0.0) -> None:
        """Show a frame when its time has come, and return as soon as it is seen.

        A frame with sound is shown when its sound begins: when all sound that was given before has ended, or without
        any, when the frame before has stayed for its time. One without sound is shown when the frame before has stayed
        for its time, even while sound goes on. So a motion that goes with a sound is a frame with sound and frames
        without, all with ``seconds``.

        Args:
            frame: (H, W, 3) uint8. The window takes its size.
            sound: (2, N) float32 in [-1, 1], left and right; None: no new sound.
            seconds: How long the frame stays; 0: as long as its sound lasts.

        Raises:
            ValueError: If an argument has another shape, or ``frame`` is not uint8.
        """
        frame = np.asarray(frame)
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
            raise ValueError(f"frame: expected (H, W, 3) uint8, actual: {frame.shape} {frame.dtype}")
        if sound is not None and (np.ndim(sound) != 2 or len(sound) != 2):
            raise ValueError(f"sound: expected shape (2, N), left and right, actual: {np.shape(sound)}")
        if sound is None or np.shape(sound)[1] == 0:
            begun = self._wait_until(self._frame_until)
        else:
            begun = self._play(np.asarray(sound))
            seconds = seconds or np.shape(sound)[1] / self._sample_rate
        self._flip(frame)
        self._frame_until = begun + seconds

    def show_moment(
        self,
        paint: Callable[[Snapshot, float], np.ndarray],
        before: Snapshot | None,
        after: Snapshot,
        sound: np.ndarray,
    ) -> None:
        """Show how the agent gets from one moment of an episode to the next, and play what it hears there.

        Returns when it is there, while the sound goes on.

        Args:
            paint: Makes a frame of what is to be seen and of the ``phase`` that :func:`auralnav_gym.rendering.draw`
                takes, such as :meth:`auralnav_gym.rendering.PlanPainter.paint`.
            before: The moment before; None at the start of an episode.
            after: The moment to show.
            sound: (2, N) float32, what is heard in it.
        """
        seconds = np.shape(sound)[1] / self._sample_rate
        num_frames = 1 if before is None else math.ceil(glide_seconds(seconds) * _FPS)
        for frame in range(1, num_frames + 1):
            share = frame / num_frames
            snapshot = on_the_way(before, after, share * glide_seconds(seconds), seconds)
            picture = paint(snapshot, (after.num_actions + share) / 3 % 1)
            self.show(picture, sound if frame == 1 else None, glide_seconds(seconds) / num_frames)

    def keys(self) -> list[str]:
        """Return the names of the keys that were pressed since the last call, in that order, as pygame has them.

        Such as "up", "left", "space", "m", "escape"; "close" where the window's close button was pressed.
        """
        self._listen_to_keys()
        keys, self._keys = self._keys, []
        return keys

    def held(self) -> list[str]:
        """Return the names of the keys that are down now, the one that was pressed first first."""
        self._listen_to_keys()
        return list(self._held)

    def wait(self) -> None:
        """Wait until all sound has been heard to its end, and the last frame has stayed for its time."""
        while self._is_sounding():
            self._nap()
        if self._has_sound:  # what is mixed last leaves the computer later
            self._wait_until(time.monotonic() + 2 * _BUFFER_SECONDS)
        self._wait_until(self._frame_until)

    def close(self) -> None:
        """Close the window and fall silent, if this object has used them. May be called more than once."""
        pg = import_pygame()
        if self._has_sound:
            pg.mixer.quit()
        if self._has_window:
            pg.display.quit()
        self._has_window = self._has_sound = False
        self._held = []
        self._frame_until = self._silence_until = 0.0

    def _flip(self, frame: np.ndarray) -> None:
        pg = import_pygame()
        height, width, _ = frame.shape
        # There is one window a process, and another environment's close() may have taken it away.
        window = pg.display.get_surface() if pg.display.get_init() else None
        if window is None or window.get_size() != (width, height):
            pg.display.init()
            window = pg.display.set_mode((width, height))
        pg.display.set_caption(self._title)
        pg.surfarray.blit_array(window, frame.swapaxes(0, 1))
        pg.display.flip()
        self._has_window = True
        self._listen_to_keys()

    def _play(self, sound: np.ndarray) -> float:
        """Play a sound after what is playing; returns when it has begun, and says when that was."""
        channel = self._open_sound()
        if not self._is_sounding():
            self._wait_until(self._frame_until)
        if channel is None:
            begun = self._wait_until(self._silence_until)
            self._silence_until = begun + sound.shape[1] / self._sample_rate
            return begun
        # A piece that is queued begins in the very sample after the last one of the piece that is playing, in the
        # middle of a buffer if need be (SDL_mixer's mix_channels).
        piece = import_pygame().mixer.Sound(buffer=np.ascontiguousarray(sound.T, dtype=np.float32).tobytes())
        if not channel.get_busy():
            channel.play(piece)
        else:
            channel.queue(piece)
            last_busy = time.monotonic()
            while channel.get_queue() is not None:
                self._nap()
                if channel.get_busy():
                    last_busy = time.monotonic()
                elif time.monotonic() - last_busy > _STUCK:
                    # The piece before has ended while this one was being queued, which then nothing starts.
                    channel.play(piece)
        return time.monotonic()

    def _is_sounding(self) -> bool:
        if self._has_sound:
            mixer = import_pygame().mixer
            return bool(mixer.get_init() and mixer.Channel(0).get_busy())
        return time.monotonic() < self._silence_until

    def _open_sound(self) -> pygame.mixer.Channel | None:
        """The channel that all sound goes through; None if nothing can be heard."""
        if not self._is_audible:
            return None
        pg = import_pygame()
        rate, size, channels = pg.mixer.get_init() or (0, 0, 0)
        if (rate, abs(size), channels) != (self._sample_rate, 32, 2):
            pg.mixer.quit()
            buffer = 1 << round(np.log2(_BUFFER_SECONDS * self._sample_rate))
            try:
                # The device's own sample rate and format may be others: SDL converts the stream as a whole.
                pg.mixer.init(self._sample_rate, 32, 2, buffer, allowedchanges=0)
            except pg.error as error:
                gym.logger.warn(f"There is no sound device, so nothing will be heard ({error}).")
                self._is_audible = self._has_sound = False
                return None
            pg.mixer.set_reserved(1)  # the channel is not for sounds that others play
        self._has_sound = True
        return pg.mixer.Channel(0)

    def _wait_until(self, moment: float) -> float:
        """Wait until ``time.monotonic()`` says ``moment``; returns it, or the time it is if that was over before."""
        now = time.monotonic()
        if now >= moment:
            return now
        while time.monotonic() < moment:
            self._nap()
        return moment

    def _nap(self) -> None:
        self._listen_to_keys()
        time.sleep(_NAP)

    def _listen_to_keys(self) -> None:
        pg = import_pygame()
        if not pg.display.get_init():
            return
        for event in pg.event.get():
            if event.type == pg.KEYDOWN:
                self._keys.append(pg.key.name(event.key))
                self._held.append(pg.key.name(event.key))
            elif event.type == pg.KEYUP:
                self._held = [name for name in self._held if name != pg.key.name(event.key)]
            elif event.type == pg.QUIT:
                self._keys.append("close")

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what belongs to the one window of this process; the next frame opens it anew."""
        closed = {"_has_window": False, "_has_sound": False, "_keys": [], "_held": []}
        return {**self.__dict__, **closed, "_frame_until": 0.0, "_silence_until": 0.0}
