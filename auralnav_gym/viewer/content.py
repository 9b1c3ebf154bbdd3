"""What the page of the viewer shows of an episode, as plain data that JSON can hold.

Numbers that are drawn many at once are arrays as plotly.js takes them: ``{"dtype", "bdata", "shape"}``, the bytes in
base64. Sounds are FLAC files of 16 bits, which lose nothing but what is below that, in base64. M are the moments of a
recording.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import soundfile
from scipy.signal import get_window

from auralnav_gym.recording import Recording, stereo
from auralnav_gym.scene import Source

# Of the spectrogram: about this long is a window, in which voices have their harmonics apart.
_WINDOW_SECONDS = 0.032
# Below it everything is as dark, dB relative to a sine at full scale. A byte reaches from -128 to 127.
_SILENCE_DB = -120
# Points of a waveform's outline over the whole episode, at least one a moment.
_OUTLINE_POINTS = 2000
# plotly.js's names of number formats.
_PLOTLY_DTYPES = {"int8": "i1", "uint8": "u1", "float32": "f4"}


def metrics(recording: Recording) -> dict[str, Any]:
    """What a list of episodes says of one.

    Returns:
        "success" (bool), "found" and "sources" (int), "spl" and "sna" (in [0, 1]), "actions" (int), "metres" walked,
        "return" (sum of the rewards) and "outcome", in words.
    """
    info = recording.info
    return {
        "success": bool(info["is_success"]),
        "found": int(info["num_found"]),
        "sources": int(info["num_sources"]),
        "spl": float(info["spl"]),
        "sna": float(info["sna"]),
        "actions": int(info["num_actions"]),
        "metres": float(info["path_length"]),
        "return": float(recording.rewards.sum()),
        "outcome": _outcome(recording),
    }


def episode_content(recording: Recording) -> dict[str, Any]:
    """All that is drawn and played of an episode."""
    names = recording.world.actions.names
    is_discrete = all(np.ndim(action) == 0 for action in recording.actions)
    return {
        "seconds": recording.seconds_per_moment,
        "hertz": recording.sample_rate,
        "moments": len(recording),
        "plan": _plan(recording),
        "events": _events(recording),
        "actions": {
            "names": list(names),
            "discrete": is_discrete,
            "taken": [int(action) if is_discrete else _rounded(action) for action in recording.actions],
            "words": list(recording.action_names),
        },
        "rewards": {name: _rounded(terms, 6) for name, terms in recording.reward_terms.items() if np.any(terms)},
        "outline": _outline(recording),
        "spectrogram": spectrogram(recording.sound, recording.sample_rate),
        "separated": _separated(recording),
        "values": _values(recording),
        "sounds": _sounds(recording),
    }


def typed(array: np.ndarray) -> dict[str, str]:
    """An array of int8, uint8 or float32 as plotly.js takes it."""
    data = base64.b64encode(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
    shape = ", ".join(map(str, array.shape))
    return {"dtype": _PLOTLY_DTYPES[array.dtype.name], "bdata": data.decode("ascii"), "shape": shape}


def flac(sound: np.ndarray, sample_rate: int) -> str:
    """A sound (C, T) as a FLAC file of 16 bits in base64; what is beyond full scale is clipped."""
    samples = np.clip(np.rint(np.asarray(sound, dtype=np.float64) * 2**15), -(2**15), 2**15 - 1).astype(np.int16)
    file = io.BytesIO()
    soundfile.write(file, samples.T, sample_rate, format="FLAC", subtype="PCM_16")
    return base64.b64encode(file.getvalue()).decode("ascii")


def spectrogram(sound: np.ndarray, sample_rate: int) -> dict[str, Any]:
    """The levels of a sound in time and frequency.

    Args:
        sound: (C, T) float, C channels, the mean power of which is shown.
        sample_rate: Hz.

    Returns:
        "levels", (F, W) int8, dB relative to a sine at full scale; "hertz", from one row to the next, the first at 0;
        "seconds", from one column to the next, the first at 0; "loudest", dB.
    """
    size = 2 ** max(round(math.log2(_WINDOW_SECONDS * sample_rate)), 4)
    hop, window = size // 2, get_window("hann", size)
    padded = np.pad(sound, ((0, 0), (hop, size)))  # windows are centred on whole multiples of the hop
    frames = np.lib.stride_tricks.sliding_window_view(padded, size, axis=-1)[:, ::hop]  # (C, W, size)
    magnitudes = np.abs(np.fft.rfft(frames * window)) * 2 / window.sum()
    power = np.square(magnitudes).mean(axis=0).T  # (F, W)
    levels = np.rint(10 * np.log10(np.maximum(power, 10 ** (_SILENCE_DB / 10)))).astype(np.int8)
    return {
        "levels": typed(levels),
        "hertz": sample_rate / size,
        "seconds": hop / sample_rate,
        "loudest": int(levels.max()),
    }


def _outcome(recording: Recording) -> str:
    if recording.info["is_success"]:
        return "success"
    if recording.terminated:
        return "failed"
    return "out of time" if recording.truncated else "left unfinished"


def _plan(recording: Recording) -> dict[str, Any]:
    """What the map shows: metres and radians, for every moment."""
    snapshots = recording.snapshots
    scene, body = snapshots[0].scene, snapshots[0].body
    poses = [snapshot.pose for snapshot in snapshots]
    places = np.array([snapshot.source_positions[:, :2] for snapshot in snapshots])  # (M, S, 2)
    on = np.array([snapshot.on for snapshot in snapshots])  # (M, S)
    agent = np.array([pose.position for pose in poses])  # (M, 2)
    distances = np.where(on & scene.is_target, np.hypot(*np.moveaxis(places - agent[:, None], -1, 0)), np.inf).min(1)
    return {
        "corners": _rounded(scene.room.corners),
        "reach": body.capture_radius,
        "radius": body.radius,
        "sources": [
            {"kind": _kind(source), "name": PurePosixPath(source.sound.name).stem, "target": source.is_target}
            for source in scene.sources
        ],
        "x": _rounded(agent[:, 0]),
        "y": _rounded(agent[:, 1]),
        "heading": _rounded([pose.heading for pose in poses]),
        "ears": [_rounded(snapshot.ears[:, :2]) for snapshot in snapshots],
        "places": _rounded(places),
        "moving": not scene.is_still,
        "on": on.astype(int).tolist(),
        "touched": [snapshot.num_touched for snapshot in snapshots],
        "walked": _rounded(np.append(0.0, np.hypot(*np.diff(agent, axis=0).T).cumsum())),
        "nearest": [float(each) if math.isfinite(each) else None for each in np.round(distances, 4)],
    }


def _kind(source: Source) -> str:
    """What a source is called: the kind of its sound or, where it has none, its name."""
    return source.sound.kind or PurePosixPath(source.sound.name).stem


def _events(recording: Recording) -> list[dict[str, Any]]:
    """In which moments sources were found and distractors touched."""
    events = []
    pairs = zip(recording.snapshots[:-1], recording.snapshots[1:], strict=True)
    for moment, (before, after) in enumerate(pairs, start=1):
        sources = after.scene.sources
        for index in np.flatnonzero(before.on & ~after.on):
            events.append({"moment": moment, "what": "found", "kind": _kind(sources[index])})
        if after.num_touched > before.num_touched:
            reach = after.body.capture_radius
            old, new = (np.hypot(*(each.source_positions[:, :2] - each.pose.position).T) for each in (before, after))
            for index in np.flatnonzero(~after.scene.is_target & (new <= reach) & (old > reach)):
                events.append({"moment": moment, "what": "touched", "kind": _kind(sources[index])})
    return events


def _outline(recording: Recording) -> dict[str, Any]:
    """Peaks of both ears in so many equal parts of every moment."""
    num_parts = min(max(_OUTLINE_POINTS // len(recording), 1), recording.audio.shape[-1])
    heard = np.abs([stereo(audio) for audio in recording.audio])  # (M, 2, N)
    parts = np.array_split(heard, num_parts, axis=-1)
    peaks = np.stack([part.max(axis=-1) for part in parts], axis=-1)  # (M, 2, parts)
    left, right = np.moveaxis(peaks, 1, 0).reshape(2, -1).astype(np.float32)
    return {
        "left": typed(left),
        "right": typed(right),
        "seconds": recording.seconds_per_moment / num_parts,
        "peak": float(peaks.max()),
    }


def _separated(recording: Recording) -> dict[str, Any] | None:
    """Masks and cues of the separated sources; None where there are none."""
    perceptions = recording.perceptions
    if not perceptions or not len(perceptions[0].masks):
        return None
    masks = np.concatenate([perception.masks for perception in perceptions], axis=-1)  # (S, F, M * W)
    cues = np.array([perception.cues for perception in perceptions], dtype=np.float64)  # (M, S, K)
    sounds = recording.separated_sound
    num_frequencies, num_windows = perceptions[0].masks.shape[1:]
    return {
        # More than the whole mixture, as where sources cancel each other, is shown as the whole.
        "masks": [typed(np.rint(100 * np.clip(mask, 0, 1)).astype(np.uint8)) for mask in masks],
        "hertz": recording.sample_rate / 2 / max(num_frequencies - 1, 1),
        # From one window to the next. A moment is seldom a whole number of hops; its windows are spread over all of it.
        "seconds": recording.seconds_per_moment / num_windows,
        "spectrograms": [spectrogram(sound[None], recording.sample_rate) for sound in sounds],
        "cue_names": list(perceptions[0].cue_names),
        "cues": _rounded(cues.transpose(2, 1, 0), 5),  # (K, S, M)
    }


def _values(recording: Recording) -> dict[str, Any] | None:
    """What each action was worth; None where that is not known."""
    perceptions = recording.perceptions
    if not perceptions or not len(perceptions[0].values):
        return None
    values = np.array([perception.values for perception in perceptions], dtype=np.float64)  # (M, A)
    return {
        "kind": perceptions[0].value_kind,
        "names": list(perceptions[0].value_names),
        "values": _rounded(values.T, 5),  # (A, M)
    }


def _sounds(recording: Recording) -> list[dict[str, str]]:
    """All that there is to listen to, over the whole episode."""
    rate = recording.sample_rate
    sounds = [{"name": "What the ears heard", "kind": "mixture", "flac": flac(recording.sound, rate)}]
    for number, source in enumerate(recording.separated_sound, start=1):
        sounds.append({"name": f"Separated source {number}", "kind": "separated", "flac": flac(source[None], rate)})
    if recording.source_audio is not None:
        alone = np.concatenate(list(recording.source_audio), axis=-1)  # (S, E, M * N)
        for sound, source in zip(alone, recording.snapshots[0].scene.sources, strict=True):
            name = f"True source: {PurePosixPath(source.sound.name).stem}"
            sounds.append({"name": name, "kind": "true", "flac": flac(stereo(sound), rate)})
    return sounds


def _rounded(numbers: np.ndarray | Sequence[Any], decimals: int = 4) -> Any:
    """Lists of numbers, by default to a tenth of a millimetre."""
    return np.round(np.asarray(numbers, dtype=np.float64), decimals).tolist()


def summaries(episodes: Sequence[tuple[str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Means over the episodes of each agent, in the order in which the agents come.

    Args:
        episodes: Of each, the agent and what :func:`metrics` gives.
    """
    by_agent: dict[str, list[Mapping[str, Any]]] = {}
    for agent, each in episodes:
        by_agent.setdefault(agent, []).append(each)
    names = ("success", "spl", "sna", "actions", "metres", "return")
    return [
        {
            "agent": agent,
            "episodes": len(played),
            "found": float(np.mean([each["found"] / each["sources"] for each in played])),
            **{name: float(np.mean([each[name] for each in played])) for name in names},
        }
        for agent, played in by_agent.items()
    ]
