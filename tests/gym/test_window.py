"""Windows and their sound: what is played is read from the file that SDL's disk driver writes, every sample of it."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import DependencyNotInstalled

import auralnav_gym
from auralnav_gym import window as window_module
from auralnav_gym.movement import Action
from auralnav_gym.recording import Snapshot
from auralnav_gym.window import Window

pygame = pytest.importorskip("pygame")

RATE = 8000


@pytest.fixture(autouse=True)
def dummy_display(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A display that shows nothing, and no sound device."""
    pygame.quit()
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setenv("SDL_AUDIODRIVER", "no-such-driver")
    yield
    pygame.quit()


class Clock:
    """A clock that only goes on while someone sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.while_asleep: dict[float, Callable[[], Any]] = {}

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for moment in [moment for moment in self.while_asleep if moment <= self.now]:
            self.while_asleep.pop(moment)()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(window_module, "time", clock)
    return clock


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> list[tuple[float, int]]:
    """When frames of :func:`frame` are seen, seconds since the first one, and which."""
    seen: list[tuple[float, int]] = []
    start: list[float] = []
    flip = pygame.display.flip

    def note() -> None:
        flip()
        start.append(clock.now)
        seen.append((round(clock.now - start[0], 2), int(shown()[0, 0, 0])))

    monkeypatch.setattr(pygame.display, "flip", note)
    return seen


def frame(number: int, width: int = 64, height: int = 48) -> np.ndarray:
    frame = np.full((height, width, 3), number, dtype=np.uint8)
    frame[1, 2] = (255, 128, 0)
    return frame


def sound(seconds: float) -> np.ndarray:
    return np.full((2, round(seconds * RATE)), 0.5, dtype=np.float32)


def shown() -> np.ndarray:
    return pygame.surfarray.array3d(pygame.display.get_surface()).swapaxes(0, 1)


# ==== What is heard, and when frames are seen ====

SCRIPT = """
    import os, sys, time
    import gymnasium as gym, numpy as np, pygame
    import auralnav_gym
    from auralnav_gym.window import Window

    def play_into(file, milliseconds):
        open(file, "w").close()
        os.environ.update(SDL_AUDIODRIVER="disk", SDL_DISKAUDIOFILE=file, SDL_DISKAUDIODELAY=str(milliseconds))

    # The disk driver is told to take longer for a buffer than it lasts, which leaves the time to keep up however busy
    # the machine is.
    play_into("window.raw", 80)
    played = []  # samples that had been played when a frame was seen
    flip = pygame.display.flip
    pygame.display.flip = lambda: (flip(), played.append(os.path.getsize("window.raw") // 8))
    # Without zeros, so that a gap cannot be taken for a sound.
    rng = np.random.default_rng(0)
    pieces = [
        (rng.uniform(0.1, 1.0, (2, length)) * rng.choice([-1, 1], (2, length))).astype(np.float32)
        for length in (24_000, 5_001, 24_000, 7_777, 6_000)
    ]
    window = Window(sample_rate=48_000)
    for index, piece in enumerate(pieces):
        if index == len(pieces) - 1:
            window.wait()  # the caller does not keep up
            time.sleep(0.3)
        window.show(np.zeros((48, 64, 3), dtype=np.uint8), piece)
    window.wait()
    window.close()
    pygame.display.flip = flip

    play_into("env.raw", 64)
    env = gym.make("AuralNav-Easy-v0", render_mode="human")
    observed = [env.reset(seed=0)[0]["audio"], *(env.step(action)[0]["audio"] for action in (2, 0))]
    env.close()
    np.savez("given.npz", *pieces, played=played, observed=np.concatenate(observed, axis=1))
"""


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """What is played by SDL's disk driver, "window.raw" and "env.raw", and what was given to be played."""
    folder = tmp_path_factory.mktemp("sound")
    environment = {**os.environ, "SDL_VIDEODRIVER": "dummy"}
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT)]
    subprocess.run(command, cwd=folder, env=environment, check=True, timeout=180)
    with np.load(folder / "given.npz") as file:
        arrays = dict(file)
    names = ("window.raw", "env.raw")
    return arrays | {name: np.fromfile(folder / name, dtype=np.float32).reshape(-1, 2).T for name in names}


def test_sound_is_played_to_the_sample(given: dict[str, np.ndarray]) -> None:
    """Pieces that are no whole number of the mixer's buffers (2048 samples) follow each other without a gap."""
    heard, pieces = given["window.raw"], [given[f"arr_{index}"] for index in range(5)]
    is_silent = (heard == 0).all(axis=0)
    begin = int(np.argmin(is_silent))
    gap_begin = begin + sum(piece.shape[1] for piece in pieces[:-1])
    gap_end = gap_begin + int(np.argmin(is_silent[gap_begin:]))
    end = gap_end + pieces[-1].shape[1]
    np.testing.assert_array_equal(heard[:, begin:gap_begin], np.concatenate(pieces[:-1], axis=1))
    np.testing.assert_array_equal(heard[:, gap_end:end], pieces[-1])
    assert gap_begin < gap_end
    for silence in (slice(begin), slice(gap_begin, gap_end), slice(end, None)):
        assert is_silent[silence].all()


def test_frames_are_seen_when_their_sound_begins(given: dict[str, np.ndarray]) -> None:
    heard, pieces = given["window.raw"], [given[f"arr_{index}"] for index in range(5)]
    starts = [int(np.flatnonzero((heard[:, :-1] == piece[:, :1]).all(axis=0))[0]) for piece in pieces]
    assert len(given["played"]) == len(pieces)
    assert np.abs(given["played"] - starts).max() <= 2 * 2048  # two of the mixer's buffers


def test_an_environment_plays_what_its_ears_hear(given: dict[str, np.ndarray]) -> None:
    heard, observed = given["env.raw"], given["observed"]
    assert observed.shape == (2, 3 * 4000)
    first, first_observed = (int(np.argmax(sound.any(axis=0))) for sound in (heard, observed))
    begin = first - first_observed
    np.testing.assert_array_equal(heard[:, begin : begin + observed.shape[1]], observed)
    assert not heard[:, :begin].any()
    assert not heard[:, begin + observed.shape[1] :].any()


# ==== Without a sound device, the clock says when ====


def test_no_sound_device_is_said_once(clock: Clock) -> None:
    window = Window(sample_rate=RATE)
    with pytest.warns(UserWarning, match="no sound device, so nothing will be heard"):
        window.show(frame(1), sound(0.5))
    window.show(frame(2), sound(0.5))
    window.wait()
    window.close()


@pytest.fixture
def window(clock: Clock) -> Iterator[Window]:
    window = Window(sample_rate=RATE, sound=False)
    yield window
    window.close()


def test_frames_last_as_long_as_their_sound(window: Window, clock: Clock, seen: list[tuple[float, int]]) -> None:
    for number in range(4):
        window.show(frame(number), sound(0.5))
        clock.now += 0.3  # the caller is busy, but in time
    window.wait()
    assert seen == [(0.0, 0), (0.5, 1), (1.0, 2), (1.5, 3)]
    assert clock.now == pytest.approx(102.0, abs=0.01)


def test_a_late_caller_is_not_hurried_afterwards(window: Window, clock: Clock, seen: list[tuple[float, int]]) -> None:
    window.show(frame(0), sound(0.5))
    clock.now += 0.8
    window.show(frame(1), sound(0.5))
    window.show(frame(2), sound(0.5))
    assert seen == [(0.0, 0), (0.8, 1), (1.3, 2)]


def test_frames_without_sound_last_as_long_as_told(window: Window, clock: Clock, seen: list[tuple[float, int]]) -> None:
    window.show(frame(0), seconds=0.2)
    window.show(frame(1))
    window.show(frame(2), np.zeros((2, 0), dtype=np.float32), seconds=0.1)
    window.show(frame(3), sound(0.3))
    window.show(frame(4), seconds=0.4)
    window.wait()
    assert seen == [(0.0, 0), (0.2, 1), (0.2, 2), (0.3, 3), (0.6, 4)]
    assert clock.now == pytest.approx(101.0, abs=0.01)


def test_a_motion_goes_with_a_sound(window: Window, clock: Clock, seen: list[tuple[float, int]]) -> None:
    for number in (0, 10):
        window.show(frame(number), sound(0.5), seconds=0.1)
        window.show(frame(number + 1), seconds=0.1)
        window.show(frame(number + 2), seconds=0.1)
    window.wait()
    assert seen == [(0.0, 0), (0.1, 1), (0.2, 2), (0.5, 10), (0.6, 11), (0.7, 12)]
    assert clock.now == pytest.approx(101.0, abs=0.01)


def test_a_moment_is_shown_as_a_motion(window: Window, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    env = gym.make("AuralNav-v0").unwrapped
    assert isinstance(env, auralnav_gym.AuralNavEnv)
    env.reset(seed=0)
    before = env.snapshot
    env.step(Action.FORWARD)
    after = env.snapshot
    painted: list[tuple[Snapshot, float]] = []
    times: list[float] = []

    def paint(snapshot: Snapshot, phase: float) -> np.ndarray:
        painted.append((snapshot, phase))
        return frame(0)

    flip = pygame.display.flip
    monkeypatch.setattr(pygame.display, "flip", lambda: (flip(), times.append(clock.now - 100)))
    for moments in ((None, before), (before, after), (after, after)):
        window.show_moment(paint, *moments, sound(0.5))
    # It begins when the sound before has ended, takes 0.2 s and leaves the rest of the moment to the caller.
    expected_times = [0.0, *(begin + share for begin in (0.5, 1.0) for share in (0.0, 0.04, 0.08, 0.12, 0.16))]
    assert times == pytest.approx(expected_times, abs=0.01)
    walked = [float(np.hypot(*(snapshot.pose.position - before.pose.position))) for snapshot, _ in painted[1:6]]
    # Slow, fast, slow: a smoothstep of the time.
    expected = [0.5 * share**2 * (3 - 2 * share) for share in (0.2, 0.4, 0.6, 0.8, 1.0)]
    np.testing.assert_allclose(walked, expected, atol=1e-12)
    assert painted[0][0] is before
    assert painted[5][0] is after
    assert [phase for _, phase in painted[:6]] == pytest.approx([1 / 3, *(1 / 3 + share / 15 for share in range(1, 6))])


@pytest.mark.filterwarnings("error")
def test_a_piece_that_nothing_starts_is_started(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was playing ends at the very moment in which the next piece is queued, after it was looked for that one."""
    monkeypatch.setenv("SDL_AUDIODRIVER", "dummy")

    class Channel:
        queued, started = None, 0

        def __init__(self, number: int) -> None:
            pass

        def get_busy(self) -> bool:
            return clock.now < 100.2

        def get_queue(self) -> Any:
            return Channel.queued

        def queue(self, piece: Any) -> None:
            Channel.queued = piece

        def play(self, piece: Any) -> None:
            Channel.queued, Channel.started = None, Channel.started + 1

    monkeypatch.setattr(pygame.mixer, "Channel", Channel)
    window = Window(sample_rate=RATE)
    window.show(frame(0), sound(0.5))
    assert Channel.started == 1
    assert clock.now == pytest.approx(100.25, abs=0.01)
    window.close()


# ==== Keys ====


def press(key: int, kind: int = pygame.KEYDOWN) -> None:
    pygame.event.post(pygame.event.Event(kind, key=key))


def test_keys_are_named_in_order_and_once(window: Window) -> None:
    assert window.keys() == []  # before it is opened
    window.show(frame(0))
    for key in (pygame.K_UP, pygame.K_LEFT, pygame.K_SPACE, pygame.K_m, pygame.K_ESCAPE):
        press(key)
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    press(pygame.K_UP)
    assert window.keys() == ["up", "left", "space", "m", "escape", "close", "up"]
    assert window.keys() == []


def test_keys_are_noticed_while_it_waits(window: Window, clock: Clock) -> None:
    window.show(frame(0), sound(0.5))
    clock.while_asleep = {100.1: lambda: press(pygame.K_DOWN), 100.3: lambda: press(pygame.K_UP)}
    window.show(frame(1), sound(0.5))
    clock.while_asleep[100.7] = lambda: press(pygame.K_RIGHT)
    window.wait()
    pygame.event.clear()
    assert window.keys() == ["down", "up", "right"]


def test_keys_that_are_held(window: Window) -> None:
    window.show(frame(0))
    press(pygame.K_UP)
    press(pygame.K_LEFT)
    assert window.held() == ["up", "left"]
    press(pygame.K_UP, pygame.KEYUP)
    assert window.held() == ["left"]
    assert window.keys() == ["up", "left"]


# ==== One window, several users ====


def test_it_opens_at_the_first_frame_takes_its_size_and_closes() -> None:
    window = Window("A title", sound=False)
    assert not pygame.display.get_init()
    for picture in (frame(7), frame(8, width=100), frame(9, width=100)):
        window.show(picture)
        np.testing.assert_array_equal(shown(), picture)
        assert pygame.display.get_caption()[0] == "A title"
    window.close()
    assert not pygame.display.get_init()
    window.close()
    window.show(frame(10))
    np.testing.assert_array_equal(shown(), frame(10))
    window.close()
    assert not pygame.display.get_init()


def test_other_users_of_pygame_do_no_harm_and_come_to_none() -> None:
    """Gymnasium's own environments call pygame.quit() when they close, which ends windows everywhere."""
    window, other = Window(sound=False), Window(sound=False)
    window.show(frame(1))
    other.close()
    assert pygame.display.get_init(), "closing a window that was never opened closed that of another"
    pygame.quit()
    assert window.keys() == []
    window.show(frame(2))
    np.testing.assert_array_equal(shown(), frame(2))
    other.show(frame(3))
    other.close()
    window.show(frame(4))
    np.testing.assert_array_equal(shown(), frame(4))
    window.close()


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda window: pickle.loads(pickle.dumps(window))], ids=["deepcopy", "pickle"]
)
def test_a_copy_opens_a_window_of_its_own(duplicate: Callable[[Window], Window], window: Window) -> None:
    window.show(frame(1), sound(0.5))
    press(pygame.K_UP)
    twin = duplicate(window)
    assert window.keys() == ["up"]
    assert twin.keys() == []
    window.close()
    twin.show(frame(2), sound(0.5))
    np.testing.assert_array_equal(shown(), frame(2))
    twin.close()


# ==== Environments ====


@pytest.fixture
def human(clock: Clock) -> Iterator[gym.Env]:
    env = gym.make("AuralNav-Easy-v0", render_mode="human")
    yield env
    env.close()


@pytest.mark.filterwarnings("ignore:.*no sound device")
def test_an_environment_keeps_real_time(human: gym.Env, clock: Clock) -> None:
    """A reset and every step take as long as what is heard lasts; the last one until close()."""
    human.reset(seed=0)
    assert clock.now == pytest.approx(100.0, abs=0.01)
    for action in (Action.TURN_LEFT, Action.FORWARD, Action.TURN_LEFT):
        clock.now += 0.05  # the agent thinks
        human.step(action)
        picture = auralnav_gym.rendering.PlanPainter().paint(human.unwrapped.snapshot)  # type: ignore[attr-defined]
        np.testing.assert_array_equal(shown(), picture)
    assert clock.now == pytest.approx(101.5 + 0.16, abs=0.02)
    assert human.render() is None
    human.reset(seed=0)
    human.close()
    assert clock.now == pytest.approx(102.5, abs=0.02)
    assert not pygame.display.get_init()


@pytest.mark.filterwarnings("ignore:.*no sound device")
def test_an_environment_goes_on_unseen_when_its_window_is_closed(human: gym.Env, clock: Clock) -> None:
    human.reset(seed=0)
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    with pytest.warns(UserWarning, match="The window was closed: the episode goes on unseen"):
        human.step(Action.FORWARD)
    assert not pygame.display.get_init()
    before = clock.now
    human.step(Action.FORWARD)
    human.reset()
    assert clock.now == before
    assert not pygame.display.get_init()


# ==== Refusals ====


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((3, 4), np.uint8),), r"frame: expected \(H, W, 3\) uint8, actual: \(3, 4\) uint8"),
        ((np.zeros((3, 4, 3)),), r"frame: expected \(H, W, 3\) uint8, actual: \(3, 4, 3\) float64"),
        ((frame(0), np.zeros(8)), r"sound: expected shape \(2, N\), left and right, actual: \(8,\)"),
        ((frame(0), np.zeros((8, 2))), r"sound: expected shape \(2, N\), left and right, actual: \(8, 2\)"),
    ],
    ids=["grey", "float", "mono", "turned"],
)
def test_what_cannot_be_shown_or_played_is_refused(arguments: tuple, message: str, window: Window) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        window.show(*arguments)


def test_missing_pygame_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pygame", None)
    with pytest.raises(DependencyNotInstalled, match=r'Run `pip install "auralnav\[render\]"`\.$'):
        Window()
