"""What the sources play: banks of sounds, from a folder of recordings or synthesised.

A sound is a mono signal that loops without end. Recordings and synthetic sounds go through the same small functions:
what lies below hearing is removed, silent ends are cut (recordings only), both ends are faded so that the loop does not
click, and the level is equalised to `ACTIVE_RMS_DBFS`.
"""

from __future__ import annotations

import hashlib
import json
import numbers
import operator
import os
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, overload

import numpy as np
import soundfile
import soxr
from scipy.signal import butter, lfilter, sosfilt, sosfiltfilt

ACTIVE_RMS_DBFS = -26.0
"""Active RMS level of every sound in dB re full scale (1.0): what a listener 1 m away in free field gets."""

FRAME_SECONDS = 0.02
"""Length of the frames in which activity is judged, in seconds."""

ACTIVE_RANGE_DB = 40.0
"""A frame is active when its power lies within this many dB of the loudest frame's."""

SILENCE_DBFS = -80.0
"""A recording with a lower active RMS counts as silent: in 16 bits that is three quantisation steps."""

KEPT_SILENCE_SECONDS = 0.1
"""What stays of the silence at either end of a recording, in seconds."""

MIN_SECONDS = 0.1
"""The shortest recording that is accepted: a shorter one, looped, is a buzz."""

FADE_SECONDS = 0.01
"""Length of the fade at either end of a sound, in seconds."""

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg")
"""The files that `SoundFolder` reads, in any case."""

MIN_SAMPLE_RATE = 4000
"""The lowest rate in Hz at which sounds are made: below it, little is left to tell them apart by."""


# ---- Sounds and banks ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Sound:
    """A named mono signal that loops without end when played. It never changes: copies share it.

    Args:
        name: unique in its bank, such as "speech/george/george_00.wav" (relative to the folder) or "siren-03".
        kind: the family, such as "speech" or "siren"; "" when it has none.
        signal: (n,) float32, full scale is 1.0. The sound keeps a read-only, C-contiguous copy.

    Raises:
        TypeError: `name` or `kind` is no string, or `signal` no float32 array.
        ValueError: `name` is empty, or `signal` is not one-dimensional, is empty or holds NaN or infinity.
    """

    name: str
    kind: str
    signal: np.ndarray

    def __post_init__(self) -> None:
        """Check the fields and keep a copy of the signal that nobody can write to."""
        for argument, value in (("name", self.name), ("kind", self.kind)):
            if not isinstance(value, str):
                raise TypeError(f"{argument}: expected a string, actual {value!r}")
        if not self.name:
            raise ValueError("name: expected a string of at least one character, actual ''")
        signal = self.signal
        if not isinstance(signal, np.ndarray) or signal.dtype != np.float32:
            actual = f"{signal.dtype} array" if isinstance(signal, np.ndarray) else type(signal).__name__
            raise TypeError(
                f"signal of sound {self.name!r}: expected a float32 array, actual {actual}; "
                "convert it with np.asarray(signal, dtype=np.float32)"
            )
        if signal.ndim != 1 or signal.size == 0:
            raise ValueError(
                f"signal of sound {self.name!r}: expected shape (n,) with n > 0, actual {signal.shape}; "
                "a sound is mono, mix its channels first"
            )
        if not np.isfinite(signal).all():
            raise ValueError(
                f"signal of sound {self.name!r}: expected finite samples, actual NaN or infinity among them"
            )
        own = np.array(signal, order="C")
        own.flags.writeable = False
        object.__setattr__(self, "signal", own)

    def __deepcopy__(self, memo: dict[int, Any]) -> Sound:
        """Return the sound itself: it cannot change, and a copied array would be writable and cost memory."""
        return self

    def __reduce__(self) -> tuple[type[Sound], tuple[str, str, np.ndarray]]:
        """Pickle through the constructor: numpy forgets that an array was read-only."""
        return Sound, (self.name, self.kind, self.signal)


class SoundBank(Sequence[Sound]):
    """An immutable collection of sounds at one sample rate.

    Banks add up: ``SoundFolder("sounds") + SyntheticSounds()`` holds the sounds of both.

    Args:
        sounds: at least one sound; no two with the same name.
        sample_rate: in Hz.

    Raises:
        TypeError: an element is no `Sound`, or `sample_rate` no whole number.
        ValueError: no sounds, a name that occurs twice, or a sample rate that is not positive.
    """

    def __init__(self, sounds: Sequence[Sound], sample_rate: int) -> None:
        self._sample_rate = _whole_number("sample_rate", sample_rate, at_least=1)
        self._sounds = tuple(sounds)
        if not self._sounds:
            raise ValueError("sounds: expected at least one sound, actual none")
        names: set[str] = set()
        for sound in self._sounds:
            if not isinstance(sound, Sound):
                raise TypeError(f"sounds: expected Sound objects, actual {type(sound).__name__} among them")
            if sound.name in names:
                raise ValueError(
                    f"sounds: the name {sound.name!r} occurs twice; give every sound a name of its own "
                    "(folders with equal file names: read the folder that holds them both)"
                )
            names.add(sound.name)
        self._kinds = tuple(sorted({sound.kind for sound in self._sounds}))

    @property
    def sample_rate(self) -> int:
        """The rate of every sound in Hz."""
        return self._sample_rate

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of sound in the bank, sorted."""
        return self._kinds

    def __len__(self) -> int:
        """Return the number of sounds."""
        return len(self._sounds)

    @overload
    def __getitem__(self, index: int) -> Sound: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Sound, ...]: ...

    def __getitem__(self, index: int | slice) -> Sound | tuple[Sound, ...]:
        """Return a sound by its place, or a tuple of sounds for a slice."""
        return self._sounds[index]

    def __add__(self, other: SoundBank) -> SoundBank:
        """Return the bank of both banks' sounds; their rates must be equal and their names differ."""
        if not isinstance(other, SoundBank):
            return NotImplemented
        if other.sample_rate != self.sample_rate:
            raise ValueError(
                f"banks of {self.sample_rate} Hz and {other.sample_rate} Hz cannot be joined; "
                "build both with the same sample_rate"
            )
        return SoundBank((*self, *other), self.sample_rate)

    def __deepcopy__(self, memo: dict[int, Any]) -> SoundBank:
        """Return the bank itself: it cannot change, and `gym.make` deep-copies the keywords of every environment."""
        return self

    def __repr__(self) -> str:
        """Return a summary: a bank's signals are too long to print."""
        return f"{type(self).__name__}({len(self)} sounds of {len(self.kinds)} kinds at {self.sample_rate} Hz)"

    @cached_property
    def fingerprint(self) -> str:
        """The SHA-256, in hex, of the names, the kinds and the samples of all sounds, to the last bit.

        Differs with the sounds and the sample rate, and for the same recordings with the processor and with the
        versions of numpy, scipy and soxr, which round differently; nobody can hear that.
        """
        digest = hashlib.sha256(str(self.sample_rate).encode())
        for sound in self:
            digest.update(json.dumps([sound.name, sound.kind, len(sound.signal)]).encode())
            digest.update(sound.signal.astype("<f4").tobytes())
        return digest.hexdigest()

    def to_config(self) -> dict[str, Any]:
        """What identifies the bank in a file (see `auralnav_gym.config`): the sounds are not in it."""
        kinds = {kind: sum(sound.kind == kind for sound in self) for kind in self.kinds}
        return {"type": SoundBank.__name__, "sounds": len(self), "kinds": kinds, "sha256": self.fingerprint}

    @classmethod
    def from_config(cls, data: Mapping[str, Any]) -> SoundBank:
        """Refuse, since the sounds are not in the file.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            f"expected the bank itself beside the file, which only identifies it, {dict(data)}: "
            "World.load(path, sounds=bank)"
        )

    def split(self, test_share: float = 0.2, by: str = "recording") -> tuple[SoundBank, SoundBank]:
        """Split into train and test sounds that share no recording.

        The order is drawn from a hash of the names, so the same names split the same way everywhere, and one recording
        more or less moves at most one other recording of its kind. Sounds with identical signals stay together,
        whatever their names.

        Each kind with two or more units (see `by`) is split by itself, with at least one unit on either side. Kinds
        with a single unit are thrown together and split as if they were one kind; a unit that is alone even there
        goes to train.

        Args:
            test_share: share of the units that go to test, in (0, 1).
            by: "recording" splits sound by sound. "subfolder" keeps the sounds of every innermost subfolder (the
                name up to its last "/") together; with one subfolder a speaker, no speaker is on both sides.

        Returns:
            The train bank and the test bank, neither empty, in the order of this bank.

        Raises:
            ValueError: `test_share` or `by` is not one of the above, or there is but one unit.
        """
        if not 0.0 < _real_number("test_share", test_share) < 1.0:
            raise ValueError(f"test_share: expected a number between 0 and 1 (both excluded), actual {test_share!r}")
        if by == "recording":
            labels = [sound.name for sound in self]
        elif by == "subfolder":
            labels = [str(PurePosixPath(sound.name).parent) for sound in self]
        else:
            raise ValueError(f"by: expected 'recording' or 'subfolder', actual {by!r}")

        units = _joined(labels, [hashlib.sha256(sound.signal.tobytes()).hexdigest() for sound in self])
        if len(units) < 2:
            raise ValueError(
                f"by: a split by {by!r} needs two {by}s that share no sound, actual 1 ({labels[0]!r}); "
                "add sounds, or split in another way"
            )
        test: set[int] = set()
        for stratum in self._strata(units):
            ranked = sorted(stratum, key=lambda unit: min(_rank(labels[index]) for index in unit))
            test_units = min(max(1, round(test_share * len(ranked))), len(ranked) - 1)
            test.update(index for unit in ranked[:test_units] for index in unit)
        train = [index for index in range(len(self)) if index not in test]
        return self._part(train), self._part(sorted(test))

    def _strata(self, units: Sequence[list[int]]) -> list[list[list[int]]]:
        """Sort units of indices by kind (that of the first name); kinds with one unit make up one stratum together."""
        by_kind: dict[str, list[list[int]]] = defaultdict(list)
        for unit in units:
            first = min((self[index] for index in unit), key=lambda sound: sound.name)
            by_kind[first.kind].append(unit)
        strata = [stratum for stratum in by_kind.values() if len(stratum) > 1]
        alone = [unit for stratum in by_kind.values() if len(stratum) == 1 for unit in stratum]
        return [*strata, alone] if alone else strata

    def _part(self, indices: Iterable[int]) -> SoundBank:
        """Return the bank of the sounds at these indices."""
        return SoundBank([self[index] for index in indices], self.sample_rate)

    def of_kinds(self, kinds: Iterable[str], argument: str = "kinds") -> SoundBank:
        """Return the bank of all sounds of some kinds, in the order of this bank.

        Args:
            kinds: at least one; kinds of this bank, such as ``("speech", "siren")``.
            argument: what errors call `kinds`.

        Raises:
            TypeError: `kinds` is a string: a single kind is given as ``("speech",)``.
            ValueError: no kinds, or one that the bank has no sound of.
        """
        if isinstance(kinds, str):
            raise TypeError(f"{argument}: expected several strings, such as ({kinds!r},), actual {kinds!r}")
        wanted = list(kinds)
        unknown = [kind for kind in wanted if kind not in self.kinds]
        if unknown or not wanted:
            raise ValueError(
                f"{argument}: expected one or more of {list(self.kinds)}, the kinds of sound in the bank, actual "
                f"{unknown or wanted}{' among them' if 0 < len(unknown) < len(wanted) else ''}; name others, or give "
                "sounds= a bank that has them"
            )
        return self._part(index for index, sound in enumerate(self) if sound.kind in wanted)

    def draw(self, rng: np.random.Generator, count: int) -> tuple[Sound, ...]:
        """Draw sounds that differ as much as possible.

        The bank is dealt like shuffled cards: one sound of each kind in random order, then a second one of each
        kind, and so on. All sounds are distinct unless `count` exceeds the bank, which is then dealt again. Every kind
        is equally likely, however many sounds it has.

        Args:
            rng: the only source of randomness.
            count: how many sounds, 1 or more.

        Returns:
            `count` sounds.

        Raises:
            TypeError: `count` is no whole number.
            ValueError: `count` is less than 1.
        """
        count = _whole_number("count", count, at_least=1)
        drawn: list[Sound] = []
        while len(drawn) < count:
            drawn += self._deal(rng)
        return tuple(drawn[:count])

    def _deal(self, rng: np.random.Generator) -> list[Sound]:
        """Return all sounds in a random order in which kinds take turns."""
        turn_of_kind = dict(zip(self.kinds, rng.permutation(len(self.kinds)), strict=True))
        dealt: dict[str, int] = dict.fromkeys(self.kinds, 0)
        order = []
        for index in rng.permutation(len(self)):
            kind = self[index].kind
            order.append((dealt[kind], turn_of_kind[kind], index))
            dealt[kind] += 1
        return [self[index] for _, _, index in sorted(order)]


def _joined(*labellings: Sequence[str]) -> list[list[int]]:
    """Group the indices that share a label in any of the labellings, directly or through others.

    Args:
        labellings: each gives one label to every index 0 .. n-1.

    Returns:
        Groups of ascending indices, in the order of their first index.
    """
    group_of: dict[tuple[int, str], int] = {}
    groups: dict[int, list[int]] = {}
    for index, labels in enumerate(zip(*labellings, strict=True)):
        keys = list(enumerate(labels))  # the same text in two labellings is not the same label
        found = sorted({group_of[key] for key in keys if key in group_of})
        target = found[0] if found else index
        members = groups.setdefault(target, [])
        members.append(index)
        for merged in found[1:]:
            members += groups.pop(merged)
            group_of.update((key, target) for key, group in list(group_of.items()) if group == merged)
        group_of.update((key, target) for key in keys)
    return [sorted(group) for _, group in sorted(groups.items())]


def _rank(label: str) -> str:
    """Return a text by which labels sort in an order that is arbitrary but always the same."""
    return hashlib.sha256(label.encode("utf-8", "surrogatepass")).hexdigest()


def _whole_number(argument: str, value: Any, at_least: int) -> int:
    """Return `value` as an int, or raise an error that names the argument."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{argument}: expected a whole number, actual {value!r}") from None
    if number < at_least:
        raise ValueError(f"{argument}: expected {at_least} or more, actual {number}")
    return number


def _real_number(argument: str, value: Any) -> float:
    """Return `value` as a float, or raise an error that names the argument."""
    if not isinstance(value, numbers.Real):
        raise TypeError(f"{argument}: expected a number, actual {value!r}")
    return float(value)


def load_sounds(sounds: SoundBank | str | os.PathLike[str] | None, sample_rate: int) -> SoundBank:
    """Return the bank that a user means: the `sounds` keyword of the environment.

    Args:
        sounds: a bank, the path of a folder of recordings, or None for the synthetic sounds.
        sample_rate: the rate the sounds must have, in Hz.

    Returns:
        A bank at `sample_rate`.

    Raises:
        TypeError: `sounds` is none of these.
        ValueError: the bank has another sample rate, or the folder's files are not usable (see `SoundFolder`).
        FileNotFoundError: there is no such folder.
    """
    sample_rate = _whole_number("sample_rate", sample_rate, at_least=1)
    if sounds is None:
        return _default_bank(sample_rate)
    if isinstance(sounds, (str, os.PathLike)):
        return SoundFolder(sounds, sample_rate)
    if not isinstance(sounds, SoundBank):
        raise TypeError(f"sounds: expected a SoundBank, a folder's path or None, actual {type(sounds).__name__}")
    if sounds.sample_rate != sample_rate:
        raise ValueError(
            f"sounds: expected a bank at sample_rate={sample_rate} Hz, actual {sounds.sample_rate} Hz; "
            f"build the bank with sample_rate={sample_rate}"
        )
    return sounds


@lru_cache(maxsize=4)
def _default_bank(sample_rate: int) -> SoundBank:
    """Return the synthetic sounds; they never change, so all environments of a process share them."""
    return SyntheticSounds(sample_rate)


# ---- Levels and ends -------------------------------------------------------------------------------------------------


def active_frames(signal: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the power of every frame of a signal, and which frames are active.

    The signal is cut into frames of `FRAME_SECONDS` from its start; a rest shorter than a frame is left out. A frame
    is active when its power lies within `ACTIVE_RANGE_DB` of the loudest frame's and is not zero: the rule by which
    STOI drops silent frames (Taal et al. 2011, "An Algorithm for Intelligibility Prediction of Time-Frequency
    Weighted Noisy Speech").

    Args:
        signal: (n,) with at least one frame.
        sample_rate: in Hz.

    Returns:
        Powers (frames,) float64 and activity (frames,) bool.
    """
    length = round(FRAME_SECONDS * sample_rate)
    frames = len(signal) // length
    # Shape (frames, length).
    power = np.square(signal[: frames * length], dtype=np.float64).reshape(frames, length).mean(axis=1)
    return power, (power > 0) & (power >= power.max() * 10 ** (-ACTIVE_RANGE_DB / 10))


def active_rms(signal: np.ndarray, sample_rate: int) -> float:
    """Return the root mean square over the active frames of a signal; 0 for silence.

    Pauses do not count, as in ITU-T P.56's active speech level: a word with long silences around it is as loud as the
    word alone.

    Args:
        signal: (n,) with at least one frame of `FRAME_SECONDS`.
        sample_rate: in Hz.
    """
    power, active = active_frames(signal, sample_rate)
    return float(np.sqrt(power[active].mean())) if active.any() else 0.0


def equalise_level(signal: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return the signal scaled to an active RMS of `ACTIVE_RMS_DBFS`, as float32.

    Peaks may pass full scale when a signal is extremely spiky; the ears clip what is too loud, not the sound.

    Args:
        signal: (n,), not silent.
        sample_rate: in Hz.
    """
    gain = 10 ** (ACTIVE_RMS_DBFS / 20) / active_rms(signal, sample_rate)
    return (gain * signal).astype(np.float32)


def _remove_rumble(signal: np.ndarray, sample_rate: int) -> np.ndarray:
    """Remove what lies below hearing (20 Hz), a constant offset included, without shifting the rest in time.

    Subtracting the mean would leave a thump where an offset sets in after the start of a recording. The signal, at
    least 0.1 s long, is mirrored at its ends, so that a recording that starts or stops at once does not thump either.
    """
    highpass = butter(2, 20.0, "highpass", fs=sample_rate, output="sos")
    return sosfiltfilt(highpass, signal, padtype="even", padlen=sample_rate // 20)


def _cut_ends(signal: np.ndarray, sample_rate: int) -> np.ndarray:
    """Cut the inactive frames at both ends but for `KEPT_SILENCE_SECONDS`: a loop should not fall silent for long.

    A little stays, so that a single bark or word, looped, is still heard as one at a time. Pauses inside are left as
    they are.
    """
    _, active = active_frames(signal, sample_rate)
    sounding = np.flatnonzero(active) * round(FRAME_SECONDS * sample_rate)
    kept = round(KEPT_SILENCE_SECONDS * sample_rate)
    start = max(sounding[0] - kept, 0)
    end = sounding[-1] + round(FRAME_SECONDS * sample_rate) + kept
    return signal[start:end]


def _fade_ends(signal: np.ndarray, sample_rate: int) -> np.ndarray:
    """Fade in and out over `FADE_SECONDS` (raised cosine), so that the jump from end to start does not click."""
    n = round(FADE_SECONDS * sample_rate)
    ramp = np.sin(0.5 * np.pi * (np.arange(n) + 0.5) / n) ** 2
    faded = signal.copy()
    faded[:n] *= ramp
    faded[-n:] *= ramp[::-1]
    return faded


# ---- Recordings ------------------------------------------------------------------------------------------------------


class SoundFolder(SoundBank):
    """The recordings of a folder and of all folders below it: wav, flac and ogg, of any rate and channel count.

    A recording's name is its path relative to the folder, its kind the first subfolder ("" for files at the top). The
    order is that of the names, whatever the file system's. Channels are averaged, the rate is converted with soxr,
    ends and level are treated as the module says.

    Args:
        path: the folder.
        sample_rate: of the bank, in Hz, `MIN_SAMPLE_RATE` or more.

    Raises:
        FileNotFoundError: there is no such folder.
        TypeError: `path` is no path, or `sample_rate` no whole number.
        ValueError: the path is no folder, holds no audio file, or `sample_rate` is too low; or a file, which the
            message names, cannot be read, is shorter than `MIN_SECONDS`, silent, or holds NaN or infinity.
    """

    def __init__(self, path: str | os.PathLike[str], sample_rate: int = 8000) -> None:
        sample_rate = _whole_number("sample_rate", sample_rate, at_least=MIN_SAMPLE_RATE)
        if not isinstance(path, (str, os.PathLike)):
            raise TypeError(f"path: expected the path of a folder, actual {path!r}")
        files = _audio_files(Path(path))
        sounds = []
        for name in sorted(files):
            parts = PurePosixPath(name).parts
            kind = parts[0] if len(parts) > 1 else ""
            sounds.append(Sound(name, kind, _load_recording(files[name], sample_rate)))
        super().__init__(sounds, sample_rate)


def _audio_files(folder: Path) -> dict[str, Path]:
    """Return the audio files in and below a folder by their relative posix path, at least one."""
    if not folder.exists():
        raise FileNotFoundError(f"sounds path {str(folder)!r} does not exist: expected a folder of recordings")
    if not folder.is_dir():
        raise ValueError(
            f"sounds path {str(folder)!r} is a file: expected a folder of recordings; pass the folder that holds it"
        )
    files = {
        file.relative_to(folder).as_posix(): file
        for file in folder.rglob("*")
        if file.suffix.lower() in AUDIO_SUFFIXES and file.is_file()
    }
    if not files:
        raise ValueError(
            f"sounds path {str(folder)!r} holds no recordings: expected {', '.join(AUDIO_SUFFIXES)} files in the "
            "folder or below it"
        )
    return files


def _load_recording(file: Path, sample_rate: int) -> np.ndarray:
    """Read one recording and make a sound of it.

    Args:
        file: an audio file.
        sample_rate: of the result, in Hz.

    Returns:
        (n,) float32 at `sample_rate`, ready to be looped, active RMS `ACTIVE_RMS_DBFS`.

    Raises:
        ValueError: the file is not usable; the message names it.
    """
    samples, file_rate = _read(file)
    if len(samples) < MIN_SECONDS * file_rate:
        raise ValueError(
            f"sound file {str(file)!r} is too short: expected at least {MIN_SECONDS} s, actual "
            f"{len(samples) / file_rate:.3g} s; remove it or use a longer recording"
        )
    if not np.isfinite(samples).all():
        raise ValueError(
            f"sound file {str(file)!r} holds NaN or infinite samples: expected finite ones, actual first bad sample at "
            f"{np.flatnonzero(~np.isfinite(samples).all(axis=1))[0] / file_rate:.3f} s; remove or repair it"
        )
    mono = soxr.resample(samples.mean(axis=1), file_rate, sample_rate, quality="VHQ")
    mono = _remove_rumble(mono, sample_rate)
    if active_rms(mono, sample_rate) < 10 ** (SILENCE_DBFS / 20):
        raise ValueError(
            f"sound file {str(file)!r} is silent: expected an active RMS of at least {SILENCE_DBFS:.0f} dBFS after "
            f"mixing to mono between 20 Hz and {sample_rate // 2} Hz; remove it or use a louder recording"
        )
    return equalise_level(_fade_ends(_cut_ends(mono, sample_rate), sample_rate), sample_rate)


def _read(file: Path) -> tuple[np.ndarray, int]:
    """Return the samples (n, channels) float64 and the rate in Hz of an audio file.

    A wav file whose end is missing is read as far as it goes: players do the same, and streams write such headers.
    """
    try:
        return soundfile.read(file, dtype="float64", always_2d=True)
    except (soundfile.SoundFileError, OSError) as error:
        raise ValueError(
            f"sound file {str(file)!r} cannot be read: {error} Expected an intact wav, flac or ogg file; "
            "remove or replace it"
        ) from error


# ---- Synthetic sounds ------------------------------------------------------------------------------------------------


class SyntheticSounds(SoundBank):
    """Sounds of ten very different families that need no file.

    The kinds are alarm, bell, bird, engine, knocks, melody, siren, speech, telephone and water; a sound's name is its
    kind and a number, such as "siren-03". Each sound is drawn from a generator of its own, seeded with `seed`, its kind
    and its number, so it stays the same when `per_kind` or the list of kinds changes. Sounds are made at 16 kHz and
    converted with soxr: at every `sample_rate` they are the same sounds, with nothing above half of it.

    All can be localised by ear. A pure tone could not: the phase difference between the ears is ambiguous above
    c / (2 d) (1 kHz for ears 17 cm apart), and below it the reflections of a room shift the phase of a single frequency
    as they please (Blauert 1997, "Spatial Hearing"). So tonal families have harmonics, and a breath of noise that
    follows their loudness. No half second of any sound is silent: a listener that hears half a second at a time always
    hears something.

    Args:
        sample_rate: in Hz, `MIN_SAMPLE_RATE` or more.
        seed: 0 or more; same seed, same sounds.
        per_kind: sounds of each kind, 1 or more.
        seconds: length of every sound, 1 or more. The default is no multiple of the 0.5 s that the environment's agent
            hears at a step, so that what it hears does not come round in step with the sound.

    Raises:
        TypeError: an argument is not a number, or not a whole one where it should be.
        ValueError: an argument is too small.
    """

    def __init__(self, sample_rate: int = 8000, seed: int = 0, per_kind: int = 8, seconds: float = 4.3) -> None:
        sample_rate = _whole_number("sample_rate", sample_rate, at_least=MIN_SAMPLE_RATE)
        seed = _whole_number("seed", seed, at_least=0)
        per_kind = _whole_number("per_kind", per_kind, at_least=1)
        if not 1.0 <= _real_number("seconds", seconds) < np.inf:
            raise ValueError(f"seconds: expected 1 or more (a shorter sound has no rhythm), actual {seconds!r}")
        super().__init__(
            [
                Sound(f"{kind}-{number:02d}", kind, _synthesise(kind, seed, number, sample_rate, seconds))
                for kind in _FAMILIES
                for number in range(per_kind)
            ],
            sample_rate,
        )


def _synthesise(kind: str, seed: int, number: int, sample_rate: int, seconds: float) -> np.ndarray:
    """Return one synthetic sound, (n,) float32 at `sample_rate`, ready to be looped."""
    # crc32 names the kind by a number that is the same in every process and does not depend on the other kinds.
    sequence = np.random.SeedSequence(entropy=seed, spawn_key=(zlib.crc32(kind.encode()), number))
    signal = _FAMILIES[kind](np.random.default_rng(sequence), round(seconds * _RATE))
    # Faded first: an abrupt end would ring in both filters.
    signal = soxr.resample(_fade_ends(signal, _RATE), _RATE, sample_rate, quality="VHQ")
    return equalise_level(_remove_rumble(signal, sample_rate), sample_rate)


_RATE = 16000
"""The rate in Hz at which the families are made."""


# Building blocks. Signals are (n,) float64 at _RATE, frequencies in Hz, times in seconds.


def _noise(rng: np.random.Generator, n: int, low: float, high: float) -> np.ndarray:
    """Return noise between two frequencies, equal power per octave (pink), of unit RMS."""
    spectrum = np.fft.rfft(rng.standard_normal(n))
    frequency = np.fft.rfftfreq(n, 1 / _RATE)
    band = (frequency >= low) & (frequency <= high)
    noise = np.fft.irfft(np.where(band, spectrum / np.sqrt(np.maximum(frequency, low)), 0), n)
    return noise / np.sqrt(np.mean(noise**2))


def _drift(rng: np.random.Generator, n: int, rate: float) -> np.ndarray:
    """Return a curve that wanders between -1 and 1, with `rate` new random values a second."""
    points = rng.uniform(-1, 1, int(n / _RATE * rate) + 2)
    return np.interp(np.arange(n) * rate / _RATE, np.arange(len(points)), points)


def _harmonics(frequency: np.ndarray, weights: Iterable[float]) -> np.ndarray:
    """Return the sum of the harmonics 1, 2, ... of a moving fundamental (n,), each with its weight.

    A harmonic fades out before it reaches half the rate.
    """
    wave = np.exp(2j * np.pi * np.cumsum(frequency) / _RATE)
    harmonic = np.ones_like(wave)
    total = np.zeros(len(frequency))
    for k, weight in enumerate(weights, start=1):
        harmonic = harmonic * wave
        total += weight * np.clip(10 * (1 - k * frequency / (0.45 * _RATE)), 0, 1) * harmonic.imag
    return total


def _ring(hits: np.ndarray, frequency: float, decay: float) -> np.ndarray:
    """Let a resonance answer to hits: each rings as a sine that falls by 1/e in `decay` seconds."""
    radius = np.exp(-1 / (decay * _RATE))
    angle = 2 * np.pi * frequency / _RATE
    return lfilter([0, radius * np.sin(angle)], [1, -2 * radius * np.cos(angle), radius**2], hits)


def _follow(signal: np.ndarray, decay: float) -> np.ndarray:
    """Return the running mean size of a signal, with a memory of `decay` seconds."""
    keep = np.exp(-1 / (decay * _RATE))
    return lfilter([1 - keep], [1, -keep], np.abs(signal))


def _with_breath(rng: np.random.Generator, tone: np.ndarray, level_db: float = -18.0) -> np.ndarray:
    """Add noise over the whole band that rises and falls with a tone, `level_db` relative to it."""
    return tone + 10 ** (level_db / 20) * _follow(tone, 0.02) * _noise(rng, len(tone), 60, 7000)


def _cycles(n: int, period: float) -> np.ndarray:
    """Return a clock (n,) that counts from 0 to `period` over and over, in whole cycles.

    So that they are whole, the clock runs faster than real time, less than twice as fast.
    """
    cycles = np.ceil(n / _RATE / period)
    return np.arange(n) * (cycles * period / n) % period


def _curve(points: Sequence[tuple[float, float]], time: np.ndarray) -> np.ndarray:
    """Return the values over time of straight lines from one (time, value) to the next."""
    times, values = np.transpose(points)
    return np.interp(time, times, values)


def _gate(time: np.ndarray, start: float, end: float, edge: float = 0.005) -> np.ndarray:
    """Return 1 between two times and 0 elsewhere, with edges of `edge` seconds."""
    return np.clip(np.minimum(time - start, end - time) / edge, 0, 1)


def _hits(n: int, times: Iterable[float], strengths: Iterable[float]) -> np.ndarray:
    """Return single samples of the given strengths at the given times; what lies past the end is left out."""
    hits = np.zeros(n)
    for time, strength in zip(times, strengths, strict=True):
        index = round(time * _RATE)
        if index < n:
            hits[index] += strength
    return hits


# The families: (generator, number of samples) in, a signal of any level out.

# Formants F1, F2, F3 of ten vowels spoken by men: Peterson and Barney 1952, "Control Methods Used in a Study of the
# Vowels", table II. F4 is put at 3500 Hz, and the bandwidths are of the usual size (Klatt 1980).
_VOWELS = np.array(
    [
        (270, 2290, 3010, 3500),
        (390, 1990, 2550, 3500),
        (530, 1840, 2480, 3500),
        (660, 1720, 2410, 3500),
        (730, 1090, 2440, 3500),
        (570, 840, 2410, 3500),
        (440, 1020, 2240, 3500),
        (300, 870, 2240, 3500),
        (640, 1190, 2390, 3500),
        (490, 1350, 1690, 3500),
    ]
)
_FORMANT_BANDWIDTHS = np.array([60, 90, 120, 175])


def _speech(rng: np.random.Generator, n: int) -> np.ndarray:
    """Babble in phrases: a glottal pulse train and breath through four gliding formants, and hissed consonants.

    Syllables come 4 to 5 a second, as in speech of all languages (Ding et al. 2017). Source and filter are those of
    Rosenberg 1971 (pulse) and Klatt 1980 (resonators in cascade, updated every 10 ms).
    """
    high = rng.uniform()  # 0: a low voice with a long vocal tract, 1: a high one with a short tract
    pitch, tract = 90 * 2.6**high, 1 + 0.17 * high
    # What the voice does, as (time, value reached then).
    voiced, hissed, tune, formants = [(0.0, 0.0)], [(0.0, 0.0)], [], []
    time = 0.02
    while time < n / _RATE:
        syllables = int(rng.integers(3, 8))
        for syllable in range(syllables):
            consonant, vowel, loudness = rng.uniform(0.05, 0.09), rng.uniform(0.1, 0.19), rng.uniform(0.6, 1)
            if rng.uniform() < 0.6:
                hissed += [(time, 0.0), (time + 0.3 * consonant, 1.0), (time + 0.8 * consonant, 1.0)]
            time += consonant
            hissed.append((time, 0.0))
            voiced += [(time, 0.0), (time + 0.03, loudness), (time + vowel - 0.04, loudness), (time + vowel, 0.0)]
            formants.append((time + 0.5 * vowel, tract * _VOWELS[rng.integers(len(_VOWELS))]))
            tune.append((time + 0.5 * vowel, 1.15 - 0.3 * syllable / syllables + rng.uniform(-0.06, 0.06)))
            time += vowel
        time += rng.uniform(0.2, 0.35)
    seconds = np.arange(n) / _RATE
    frequency = pitch * _curve(tune, seconds) * (1 + 0.01 * _drift(rng, n, 50))
    phase = np.cumsum(frequency) / _RATE % 1
    closing = rng.uniform(0.06, 0.14)  # of a period; the faster the folds close, the brighter the voice
    flow = np.where(phase < 0.4, 0.5 - 0.5 * np.cos(np.pi * phase / 0.4), np.cos(0.5 * np.pi * (phase - 0.4) / closing))
    flow[phase > 0.4 + closing] = 0
    pulses = np.diff(flow, prepend=0.0)  # radiation at the lips differentiates
    source = pulses / pulses.std() + 0.1 * (0.2 + flow) * rng.standard_normal(n)
    vowels = _through_formants(source * _curve(voiced, seconds), formants)
    consonants = _noise(rng, n, rng.uniform(1200, 2000), 6500) * _curve(hissed, seconds)
    return vowels / vowels.std() + 0.4 * consonants


def _through_formants(source: np.ndarray, formants: Sequence[tuple[float, np.ndarray]]) -> np.ndarray:
    """Filter a source (n,) with four resonators in cascade that glide from one (time, frequencies (4,)) to the next."""
    hop = round(0.01 * _RATE)
    starts = np.arange(0, len(source), hop)
    times, frequencies = zip(*formants, strict=True)
    track = np.stack([np.interp(starts / _RATE, times, f) for f in np.transpose(frequencies)], axis=1)  # (hops, 4)
    # Klatt 1980, equations 1 and 2: y[n] = a x[n] + b y[n-1] + c y[n-2].
    c = np.broadcast_to(-np.exp(-2 * np.pi * _FORMANT_BANDWIDTHS / _RATE), track.shape)
    b = 2 * np.exp(-np.pi * _FORMANT_BANDWIDTHS / _RATE) * np.cos(2 * np.pi * track / _RATE)
    zero, one = np.zeros_like(b), np.ones_like(b)
    sections = np.stack([1 - b - c, zero, zero, one, -b, -c], axis=2)  # (hops, 4, 6)
    state = np.zeros((4, 2))
    filtered = np.empty_like(source)
    for start, section in zip(starts, sections, strict=True):
        filtered[start : start + hop], state = sosfilt(section, source[start : start + hop], zi=state)
    return filtered


def _siren(rng: np.random.Generator, n: int) -> np.ndarray:
    """Sound a horn whose pitch wails slowly, yelps fast or alternates between two notes."""
    low, high = rng.uniform(450, 700), rng.uniform(1100, 1600)
    style = rng.integers(3)
    if style == 0:
        turn = _cycles(n, rng.uniform(1.5, 4))
        shape = 0.5 - 0.5 * np.cos(2 * np.pi * turn / turn.max())
    elif style == 1:
        turn = _cycles(n, rng.uniform(0.25, 0.45))
        shape = turn / turn.max()
    else:
        turn = _cycles(n, rng.uniform(0.8, 1.4))
        high = low * rng.uniform(1.25, 1.5)
        shape = (turn > 0.5 * turn.max()).astype(float)
    weights = rng.uniform(0.5, 1, 8) / np.arange(1, 9)
    return _with_breath(rng, _harmonics(low * (high / low) ** shape, weights))


def _telephone(rng: np.random.Generator, n: int) -> np.ndarray:
    """Ring with two tones that beat, through a small overdriven loudspeaker, once or twice a cycle.

    The pairs are the ringing tones of North America, the United Kingdom and Japan (ITU-T E.180, supplement 2), a little
    mistuned; their pauses of 2 to 4 seconds are cut to less than half a second.
    """
    pair = ((440, 480), (400, 450), (384, 416))[rng.integers(3)]
    mistuned = rng.uniform(0.85, 1.2)
    pause = rng.uniform(0.3, 0.4)
    if rng.uniform() < 0.5:
        ring, gap = rng.uniform(0.3, 0.45), rng.uniform(0.15, 0.2)
        time = _cycles(n, 2 * ring + gap + pause)
        gate = _gate(time, 0, ring) + _gate(time, ring + gap, 2 * ring + gap)
    else:
        ring = rng.uniform(0.8, 1.4)
        gate = _gate(_cycles(n, ring + pause), 0, ring)
    seconds = np.arange(n) / _RATE
    tones = sum(np.sin(2 * np.pi * mistuned * frequency * seconds) for frequency in pair)
    return _with_breath(rng, gate * np.tanh(rng.uniform(1.5, 4) * (tones + 0.3)))


def _alarm(rng: np.random.Generator, n: int) -> np.ndarray:
    """Beep in groups, short and buzzing, on one pitch: a square wave's harmonics."""
    beeps, length, pause = int(rng.integers(1, 5)), rng.uniform(0.06, 0.12), rng.uniform(0.15, 0.3)
    time = _cycles(n, 2 * beeps * length + pause)
    gate = sum(_gate(time, 2 * beep * length, (2 * beep + 1) * length) for beep in range(beeps))
    square = _harmonics(np.full(n, rng.uniform(650, 1000)), (1, 0, 1 / 3, 0, 1 / 5, 0, 1 / 7))
    return _with_breath(rng, gate * square)


def _engine(rng: np.random.Generator, n: int) -> np.ndarray:
    """Fire four unequal cylinders, not quite regularly, into an exhaust with four resonances, and a hiss each time."""
    firing = rng.uniform(25, 55) * (1 + 0.12 * _drift(rng, n, 1.5)) * (1 + 0.05 * _drift(rng, n, 60))
    index = np.floor(np.cumsum(firing) / _RATE).astype(int)
    starts = np.flatnonzero(np.diff(index, prepend=0))
    pulses = np.zeros(n)
    pulses[starts] = rng.uniform(0.6, 1.4, 4)[index[starts] % 4] * rng.uniform(0.8, 1.2, len(starts))
    exhaust = sum(
        weight * _ring(pulses, rng.uniform(low, high), decay)
        for weight, low, high, decay in (
            (1.0, 90, 160, 0.014),
            (0.5, 220, 400, 0.010),
            (0.14, 600, 900, 0.008),
            (0.04, 1300, 2200, 0.006),
        )
    )
    exhaust = np.diff(exhaust, prepend=0.0)  # the pressure far away follows the change of the flow
    hiss = _follow(pulses, 0.008) * _noise(rng, n, 200, 6000)
    return exhaust / np.std(exhaust) + 0.35 * hiss / np.std(hiss)


def _bird(rng: np.random.Generator, n: int) -> np.ndarray:
    """Sing a motif of gliding and trilling whistles, mostly between 1.5 and 3.4 kHz, over and over."""
    frequency, loudness = np.full(n, 2000.0), np.zeros(n)
    motif = [
        (
            rng.uniform(0.06, 0.2),  # length
            rng.uniform(0.03, 0.09),  # pause after it
            rng.uniform(1500, 3300),  # first frequency
            rng.uniform(1500, 3300),  # last frequency
            rng.uniform(0, 0.08) * rng.integers(2),  # depth of the trill
            rng.uniform(20, 45),  # rate of the trill
        )
        for _ in range(rng.integers(3, 7))
    ]
    pause = rng.uniform(0.2, 0.35)
    time = 0.02
    while time < n / _RATE:
        for length, gap, first, last, depth, rate in motif:
            start = round(time * _RATE)
            seconds = np.arange(round(length * _RATE))[: max(0, n - start)] / _RATE
            glide = first * (last / first) ** (seconds / length)
            frequency[start : start + len(seconds)] = glide * (1 + depth * np.sin(2 * np.pi * rate * seconds))
            loudness[start : start + len(seconds)] = np.sin(np.pi * seconds / length) ** 0.7
            time += length + gap
        time += pause
    return _with_breath(rng, loudness * _harmonics(frequency, (1, 0.1)), level_db=-15.0)


def _melody(rng: np.random.Generator, n: int) -> np.ndarray:
    """Pluck a tune on a pentatonic scale, each note a string of Karplus and Strong 1983."""
    scale = 2 ** (np.array([0, 2, 4, 7, 9, 12, 14, 16]) / 12)
    lowest, beat, decay = rng.uniform(110, 260), rng.uniform(0.2, 0.34), rng.uniform(0.4, 0.9)
    signal = np.zeros(n)
    step = int(rng.integers(len(scale)))
    for start in (np.arange(0.02, n / _RATE, beat) * _RATE).astype(int):
        step = int(np.clip(step + rng.integers(-2, 3), 0, len(scale) - 1))
        length = min(n - start, round(2 * decay * _RATE))
        signal[start : start + length] += rng.uniform(0.6, 1) * _pluck(rng, lowest * scale[step], decay, length)
    return signal


def _pluck(rng: np.random.Generator, frequency: float, decay: float, n: int) -> np.ndarray:
    """Return a string's sound: a burst of noise that runs around a loop with a delay and a smoothing filter."""
    period = _RATE / frequency
    # The two-point mean delays by half a sample; linear interpolation makes up the fraction that is left.
    delay = int(period - 0.5)
    fraction = period - 0.5 - delay
    loop = np.zeros(delay + 3)
    loop[delay:] = np.exp(-period / (decay * _RATE)) * np.convolve([0.5, 0.5], [1 - fraction, fraction])
    burst = np.zeros(n)
    burst[:delay] = rng.uniform(-1, 1, delay)[:n]
    loop *= -1
    loop[0] = 1
    return lfilter([1], loop, burst) * np.minimum(1, (n - np.arange(n)) / (0.02 * _RATE))


def _knocks(rng: np.random.Generator, n: int) -> np.ndarray:
    """Knock on wood in groups: four resonances and a burst of noise a knock."""
    knocks, spacing, pause = int(rng.integers(2, 6)), rng.uniform(0.13, 0.22), rng.uniform(0.3, 0.4)
    times, time = [], 0.03
    while time < n / _RATE:
        times += [time + spacing * (knock + rng.uniform(-0.08, 0.08)) for knock in range(knocks)]
        time += spacing * (knocks - 1) + pause
    hits = _hits(n, np.maximum(times, 0.02), rng.uniform(0.5, 1, len(times)))
    wood = sum(
        weight * _ring(hits, rng.uniform(low, high), rng.uniform(0.012, 0.03))
        for weight, low, high in ((1.0, 130, 260), (0.8, 300, 550), (0.5, 600, 1000), (0.3, 1200, 2000))
    )
    burst = _follow(hits, 0.006) * _noise(rng, n, 100, 6000)
    return wood / np.max(np.abs(wood)) + 0.4 * burst / np.max(np.abs(burst))


def _water(rng: np.random.Generator, n: int) -> np.ndarray:
    """Let a stream run: rushing noise that swells and ebbs, and bubbles, each a short tone that rises as it dies.

    The bubbles follow van den Doel 2005, "Physically Based Models for Liquid Sounds": a bubble of resonance f dies as
    exp(-d t) with d = 0.043 f + 0.0014 f^1.5 and its frequency rises as f (1 + 0.1 d t).
    """
    count, length = round(n / _RATE * rng.uniform(40, 90)), round(0.1 * _RATE)
    frequency = rng.uniform(450, 700) * 5 ** rng.uniform(0, 1, (count, 1))
    damping = 0.043 * frequency + 0.0014 * frequency**1.5
    time = np.arange(length) / _RATE
    phase = 2 * np.pi * frequency * time * (1 + 0.05 * damping * time)  # the integral of the frequency
    bubbles = rng.uniform(0, 1, (count, 1)) ** 3 * np.sin(phase) * np.exp(-damping * time)  # (count, length)
    stream = np.zeros(n)
    np.add.at(stream, (rng.integers(0, n, (count, 1)) + np.arange(length)) % n, bubbles)
    rush = _noise(rng, n, rng.uniform(200, 500), rng.uniform(3000, 6000)) * (1 + 0.4 * _drift(rng, n, 3))
    return stream / stream.std() + rng.uniform(0.3, 0.6) * rush


def _bell(rng: np.random.Generator, n: int) -> np.ndarray:
    """Strike one to three bells in turn, with a bell's inharmonic partials and the clang of the stroke.

    Partials relative to the prime: hum, prime, tierce, quint, nominal, duodecime, upper octave (Fletcher and Rossing
    1998, "The Physics of Musical Instruments", chapter on bells).
    """
    bells, interval, decay = int(rng.integers(1, 4)), rng.uniform(0.3, 0.8), rng.uniform(0.3, 0.9)
    prime = rng.uniform(300, 650)
    times = np.arange(0.03, n / _RATE, interval)
    strengths = rng.uniform(0.6, 1, len(times))
    signal = np.zeros(n)
    for bell, pitch in enumerate((1, 5 / 4, 3 / 2)[:bells]):
        hits = _hits(n, times[bell::bells], strengths[bell::bells])
        for ratio, weight in ((0.5, 0.5), (1, 1), (1.2, 0.8), (1.5, 0.4), (2, 1), (3, 0.5), (4.17, 0.3)):
            detuned = prime * pitch * ratio * rng.uniform(0.995, 1.005)
            signal += weight * _ring(hits, detuned, decay / np.sqrt(ratio))
    clang = _follow(_hits(n, times, strengths), 0.01) * _noise(rng, n, 200, 7000)
    return _with_breath(rng, signal / np.max(np.abs(signal)) + 0.15 * clang / np.max(np.abs(clang)))


_FAMILIES: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "alarm": _alarm,
    "bell": _bell,
    "bird": _bird,
    "engine": _engine,
    "knocks": _knocks,
    "melody": _melody,
    "siren": _siren,
    "speech": _speech,
    "telephone": _telephone,
    "water": _water,
}
