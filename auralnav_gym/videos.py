"""Videos of episodes, with the sound that the agent heard, and pictures that move without sound.

In the order of use::

    recording = play(gym.make("AuralNav-v0"), OracleAgent(), seed=0)
    write_video("episode.mp4", frames(recording, fps=30), 30, recording.sound, recording.sample_rate)
    write_gif("episode.gif", frames(recording, fps=20), 20, width=960)

Both are made by ffmpeg, which the package imageio-ffmpeg carries.
"""

from __future__ import annotations

import itertools
import math
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from gymnasium.error import DependencyNotInstalled

from auralnav_gym.checks import require_positive, require_whole
from auralnav_gym.files import written_whole
from auralnav_gym.panels import PanelPainter, beside
from auralnav_gym.recording import Recording
from auralnav_gym.rendering import PlanPainter, on_the_way

_SECONDS_PER_WAVE = 0.5  # from one ring that leaves a sounding source to the next

# Hz. All players take it, and what the encoder puts before the sound (1024 samples, which a player should skip but may
# not) is shorter than a frame.
_SOUND_RATE = 48_000
# At 256 kbit/s the difference between the ears comes out with an error of -39 dB (an episode and noise up to 3 kHz, the
# worse of them); at 192 of -32 dB, at 128 of -24 dB.
_SOUND_BITRATE = "256k"

_FASTEST_GIF = 50.0  # frames a second; browsers show what is meant to be faster far slower


def frames(recording: Recording, fps: float, panels: bool = True) -> Iterator[np.ndarray]:
    """Pictures of an episode in real time, for :func:`write_video` and :func:`write_gif`.

    Frame i belongs to the time i / fps. Moment m is seen while ``recording.audio[m]`` is heard: the agent is on its way
    there for 0.2 s at most, then stands and listens.

    Args:
        recording: The episode.
        fps: Frames a second.
        panels: Whether what the agent hears, and what it makes of that, is shown beside the map.

    Returns:
        (H, W, 3) uint8 each, RGB, painted one by one: :data:`auralnav_gym.rendering.FRAME_SIZE`, with panels 1280 x
        672. So many that they last as long as the sound, or less than a frame longer.

    Raises:
        gymnasium.error.DependencyNotInstalled: If pygame-ce is missing, or Matplotlib and there are panels.
        ValueError: If ``fps`` is not above 0.
    """
    require_positive("fps", fps, "frames a second")
    painters = PlanPainter(), PanelPainter(recording.sample_rate) if panels else None
    return _painted(recording, fps, *painters)


def _painted(recording: Recording, fps: float, plans: PlanPainter, panels: PanelPainter | None) -> Iterator[np.ndarray]:
    seconds, num_moments = recording.seconds_per_moment, len(recording)
    names = ("", *recording.action_names, "")  # nothing is done before the first moment, nor after the last
    perceptions = recording.perceptions or (None,) * num_moments
    painted = -1
    for index in range(math.ceil(round(num_moments * seconds * fps, 6))):
        time = index / fps
        moment = min(int(round(time / seconds, 6)), num_moments - 1)
        since = max(time - moment * seconds, 0.0)
        before = recording.snapshots[moment - 1] if moment > 0 else None
        seen = on_the_way(before, recording.snapshots[moment], since, seconds)
        picture = plans.paint(seen, time / _SECONDS_PER_WAVE % 1)
        if panels is not None:
            if moment != painted:
                heard = panels.paint(recording.audio[moment], perceptions[moment], names[moment + 1], names[moment])
                painted = moment
            picture = beside(picture, panels.with_cursor(heard, min(since / seconds, 1.0)))
        yield picture


def write_video(
    path: str | os.PathLike[str],
    frames: Iterable[np.ndarray],
    fps: float,
    sound: np.ndarray | None = None,
    sample_rate: int | None = None,
    comment: str = "",
) -> None:
    """Write pictures and their sound to an MP4 file, whole or not at all.

    H.264 in 4:2:0 (colours by BT.709) and AAC in stereo at 48 kHz, with the index in front, which browsers and players
    take. Frame i is shown from i / fps on, sample k heard at k / sample_rate, both counted from the start.

    Args:
        path: The file, ``*.mp4``; replaced when there is one. Its folder must exist.
        frames: (H, W, 3) uint8 each, RGB, one or more, all of one size; H and W are even. Asked for one by one.
        fps: Frames a second.
        sound: (2, T) float32, T >= 1, left and right, full scale is 1; None: no sound.
        sample_rate: Of the sound, Hz.
        comment: Goes into the file's metadata, as "comment".

    Raises:
        gymnasium.error.DependencyNotInstalled: If imageio-ffmpeg is missing.
        FileNotFoundError: There is no such folder.
        ValueError: An argument is not as described.
        RuntimeError: ffmpeg failed; the message is ffmpeg's.
    """
    _check_path(path, ".mp4")
    if sound is not None:
        _check_sound(sound, sample_rate)
    source, pictures = _as_input(frames, fps, multiple_of=2)
    with tempfile.TemporaryDirectory() as folder, written_whole(path) as unfinished:
        if sound is not None:
            soundfile.write(Path(folder, "sound.wav"), np.asarray(sound).T, sample_rate, subtype="FLOAT")
            source += ["-i", str(Path(folder, "sound.wav"))]
        bt709 = "setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709"
        _run_ffmpeg(
            [
                *source,
                *("-vf", f"scale=out_color_matrix=bt709:out_range=tv,{bt709}"),
                # Without frames that refer to later ones the first one is shown at 0 by any player.
                *("-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "18", "-bf", "0"),
                *("-c:a", "aac", "-b:a", _SOUND_BITRATE, "-ar", str(_SOUND_RATE)),
                *("-metadata", f"comment={comment}", "-movflags", "+faststart", str(unfinished.absolute())),
            ],
            pictures,
        )


def write_gif(
    path: str | os.PathLike[str],
    frames: Iterable[np.ndarray],
    fps: float,
    width: int | None = None,
    hold: float = 0.0,
    comment: str = "",
) -> None:
    """Write pictures to a GIF file that repeats for ever, whole or not at all.

    Its colours, 255 at most, are chosen for all of its frames together, and not dithered, so that text stays sharp.

    Args:
        path: The file, ``*.gif``; replaced when there is one. Its folder must exist.
        frames: (H, W, 3) uint8 each, RGB, one or more, all of one size. Asked for one by one.
        fps: Frames a second, up to 50. A GIF counts in hundredths of a second: at 10, 12.5, 20 or 25 all frames last
            equally long, else as nearly as can be.
        width: That of the GIF, pixels, its height in proportion; None: as the frames are.
        hold: How much longer the last frame stays, seconds.
        comment: Goes into the file, as its comment.

    Raises:
        gymnasium.error.DependencyNotInstalled: If imageio-ffmpeg is missing.
        FileNotFoundError: There is no such folder.
        ValueError: An argument is not as described.
        RuntimeError: ffmpeg failed; the message is ffmpeg's.
    """
    _check_path(path, ".gif")
    if width is not None:
        require_whole("width", width, at_least=1)
    if not (math.isfinite(hold) and hold >= 0):
        raise ValueError(f"hold: expected 0 or more seconds, actual: {hold}")
    source, pictures = _as_input(frames, fps)
    if fps > _FASTEST_GIF:
        raise ValueError(f"fps: expected no more than {_FASTEST_GIF:g} frames a second in a GIF, actual: {fps}")
    size = "null" if width is None else f"scale={width}:-1:flags=area"
    with tempfile.TemporaryDirectory() as folder, written_whole(path) as unfinished:
        # All frames are seen before the first is written, so that they wait in a file, in which nothing is lost.
        scaled, palette = str(Path(folder, "scaled.mkv")), str(Path(folder, "palette.png"))
        _run_ffmpeg(
            [
                *source,
                *("-filter_complex", f"[0]{size},split[scaled][seen];[seen]palettegen[palette]"),
                *("-map", "[scaled]", "-c:v", "libx264rgb", "-qp", "0", "-preset", "ultrafast", scaled),
                *("-map", "[palette]", "-frames:v", "1", "-update", "1", palette),
            ],
            pictures,
        )
        last = round(100 * (1 / fps + hold))
        use = "paletteuse=dither=none"
        _run_ffmpeg(
            [
                *("-i", scaled, "-i", palette, "-lavfi", use),
                *("-loop", "0", "-final_delay", str(last), str(unfinished.absolute())),
            ]
        )
        if comment:
            unfinished.write_bytes(_with_comment(unfinished.read_bytes(), comment))


def _check_path(path: str | os.PathLike[str], ending: str) -> None:
    path = Path(path)
    if path.suffix.lower() != ending:
        raise ValueError(f"path: expected a file name that ends in {ending}, actual: {os.fspath(path)}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"path: expected a folder that exists, actual: {os.fspath(path.parent)}")


def _check_sound(sound: np.ndarray, sample_rate: int | None) -> None:
    shape = np.shape(sound)
    if len(shape) != 2 or shape[0] != 2 or shape[1] < 1:
        raise ValueError(f"sound: expected shape (2, T), left and right, with 1 sample or more, actual: {shape}")
    if not np.isfinite(sound).all():
        raise ValueError("sound: expected finite samples, actual: some are infinite or no number")
    if sample_rate is None:
        raise ValueError("sample_rate: expected that of the sound, Hz, actual: None")
    require_whole("sample_rate", sample_rate, at_least=1)


def _as_input(frames: Iterable[np.ndarray], fps: float, multiple_of: int = 1) -> tuple[list[str], Iterator[np.ndarray]]:
    """What tells ffmpeg of frames that it is given by a pipe, and the frames, checked."""
    require_positive("fps", fps, "frames a second")
    rest = iter(frames)
    first = next(rest, None)
    if first is None:
        raise ValueError("frames: expected one or more, actual: none")
    shape = np.shape(first)
    if len(shape) != 3 or shape[2] != 3 or min(shape) < 1:
        raise ValueError(f"frames: expected shape (H, W, 3), actual: {shape}")
    height, width, _ = shape
    if height % multiple_of or width % multiple_of:
        raise ValueError(f"frames: expected H and W to be even, as H.264 in 4:2:0 has it, actual: {height} and {width}")
    rate = Fraction(fps).limit_denominator(100_000)
    arguments = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-framerate", str(rate), "-i", "-"]
    return arguments, _checked(itertools.chain([first], rest), shape)


def _checked(frames: Iterable[np.ndarray], shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    for index, frame in enumerate(frames):
        if np.shape(frame) != shape or np.asarray(frame).dtype != np.uint8:
            actual = f"{np.shape(frame)} {np.asarray(frame).dtype}"
            raise ValueError(
                f"frames: expected all to be {shape} uint8, the size of the first, actual: {actual} at {index}"
            )
        yield np.ascontiguousarray(frame)


def _run_ffmpeg(arguments: Sequence[str], pictures: Iterable[np.ndarray] = ()) -> None:
    """Run ffmpeg to its end, and give it pictures on its standard input. It does not outlive an error or Ctrl-C.

    Raises:
        RuntimeError: It failed.
    """
    command = [_find_ffmpeg(), "-hide_banner", "-loglevel", "error", "-y", *arguments]
    # What it says goes into a file: a pipe that no one reads would stop it when the pipe is full.
    with tempfile.TemporaryFile() as messages:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=messages)
        assert process.stdin is not None
        try:
            for picture in pictures:
                if not _took(process.stdin.write, picture.data):
                    break
            _took(process.stdin.close)
            process.wait()
        finally:
            process.kill()  # nothing happens to one that has ended
            _took(process.stdin.close)
            process.wait()
        if process.returncode != 0:
            messages.seek(0)
            said = messages.read().decode(errors="replace").strip() or "nothing"
            raise RuntimeError(f"ffmpeg: expected a file, actual: exit status {process.returncode}. It said:\n{said}")


def _took(call: Callable[..., Any], *arguments: Any) -> bool:
    """Whether a program at the other end of a pipe was still there; its exit status and its message say why not."""
    try:
        call(*arguments)
    except OSError:
        return False
    return True


def _find_ffmpeg() -> str:
    try:
        import imageio_ffmpeg
    except ImportError as error:
        raise DependencyNotInstalled(
            'imageio-ffmpeg is not installed, and videos need it. Run `pip install "auralnav[video]"`.'
        ) from error
    return str(imageio_ffmpeg.get_ffmpeg_exe())


def _with_comment(gif: bytes, comment: str) -> bytes:
    """Put a comment into a GIF file, before its first frame (GIF89a Specification, sections 18, 19 and 24)."""
    text = comment.encode()
    blocks = [text[start : start + 255] for start in range(0, len(text), 255)]
    extension = b"!\xfe" + b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"
    flags = gif[10]
    colours = 2 ** ((flags & 7) + 1) if flags & 0x80 else 0
    start = 13 + 3 * colours  # after the header, the screen and the colours
    return gif[:start] + extension + gif[start:]
