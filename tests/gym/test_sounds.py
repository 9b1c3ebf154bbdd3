"""Sounds: banks, folders of recordings and synthetic families.

Levels, spectra and splits are checked against theory (a sine's RMS, Nyquist), slow loops written from the definitions,
and scipy where the code uses soxr.
"""

from __future__ import annotations

import copy
import hashlib
import os
import pickle
import re
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import resample

from auralnav_gym.sounds import (
    ACTIVE_RMS_DBFS,
    Sound,
    SoundBank,
    SoundFolder,
    SyntheticSounds,
    active_rms,
    equalise_level,
    load_sounds,
)

ROOT = Path(__file__).resolve().parents[2]
RECORDINGS = ROOT.parent / "shared" / "sounds"
FAMILIES = ("alarm", "bell", "bird", "engine", "knocks", "melody", "siren", "speech", "telephone", "water")


def tone(frequency: float, seconds: float = 1.0, rate: int = 8000, amplitude: float = 0.3) -> np.ndarray:
    """A sine."""
    return amplitude * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)


def write(file: Path, signal: np.ndarray, rate: int = 8000, **kwargs: str) -> Path:
    """Write a sound file and the folders on its way."""
    file.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(file, signal, rate, **kwargs)
    return file


def slow_active_dbfs(signal: np.ndarray, rate: int) -> float:
    """The active level as defined, frame by frame: RMS of the 20 ms frames within 40 dB of the loudest, in dB."""
    length = round(0.02 * rate)
    levels = []
    for start in range(0, len(signal) - length + 1, length):
        energy = sum(float(sample) ** 2 for sample in signal[start : start + length])
        levels.append(10 * np.log10(energy / length) if energy else -np.inf)
    active = [level for level in levels if level >= max(levels) - 40]
    return 10 * np.log10(np.mean([10 ** (level / 10) for level in active]))


def spectrum(signal: np.ndarray, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies in Hz and power."""
    return np.fft.rfftfreq(len(signal), 1 / rate), np.abs(np.fft.rfft(signal * np.hanning(len(signal)))) ** 2


def db_in_band(signal: np.ndarray, rate: int, low: float, high: float) -> float:
    """The power between two frequencies relative to the whole, in dB."""
    frequency, power = spectrum(signal, rate)
    return 10 * np.log10(power[(frequency >= low) & (frequency < high)].sum() / power.sum())


def centroid(signal: np.ndarray, rate: int) -> float:
    """The mean frequency in Hz, weighted with power."""
    frequency, power = spectrum(signal, rate)
    return float(np.average(frequency, weights=power))


def quietest_half_second_db(signal: np.ndarray, rate: int) -> float:
    """The level of the quietest half second of a looping signal relative to the active level, in dB."""
    looped = np.concatenate([signal, signal]).astype(float)
    starts = range(0, len(signal), rate // 50)
    quietest = min(np.mean(looped[start : start + rate // 2] ** 2) for start in starts)
    return 10 * np.log10(quietest) - ACTIVE_RMS_DBFS


def make_sound(name: str, kind: str = "", content: str | None = None) -> Sound:
    """A short sound whose signal is a function of `content` (by default of the name)."""
    digest = hashlib.sha256((name if content is None else content).encode()).digest()
    return Sound(name, kind, np.frombuffer(digest, np.uint8).astype(np.float32) / 256)


def make_bank(kinds: dict[str, int]) -> SoundBank:
    """A bank with so many sounds of each kind."""
    sounds = [make_sound(f"{kind}/{number:03d}.wav", kind) for kind, count in kinds.items() for number in range(count)]
    return SoundBank(sounds, 8000)


def names(bank: SoundBank) -> list[str]:
    return [sound.name for sound in bank]


@pytest.fixture(scope="module")
def synthetic() -> SoundBank:
    return SyntheticSounds()


@pytest.fixture(scope="module")
def other_seed() -> SoundBank:
    return SyntheticSounds(seed=99)


@pytest.fixture(scope="module")
def recorded() -> SoundBank:
    if not RECORDINGS.is_dir():
        pytest.skip("no recordings in ../shared/sounds")
    return SoundFolder(RECORDINGS)


# ---- Sound and SoundBank ----


class TestSound:
    def test_keeps_a_read_only_contiguous_copy(self):
        mine = np.zeros((8, 2), dtype=np.float32)[:, 0]
        sound = Sound("a", "", mine)
        mine[0] = 1.0
        assert sound.signal[0] == 0.0
        assert sound.signal.flags.c_contiguous
        assert sound.signal.dtype == np.float32
        with pytest.raises(ValueError, match="read-only"):
            sound.signal[0] = 1.0
        with pytest.raises(AttributeError):
            sound.name = "b"

    @pytest.mark.parametrize(
        ("name", "kind", "signal", "error", "message"),
        [
            pytest.param(3, "", np.ones(4, np.float32), TypeError, "name: expected a string, actual 3", id="name"),
            pytest.param("", "", np.ones(4, np.float32), ValueError, "name: expected a string of", id="no-name"),
            pytest.param("a", None, np.ones(4, np.float32), TypeError, "kind: expected a string", id="kind"),
            pytest.param("a", "", [0.0, 1.0], TypeError, "signal of sound 'a': .*actual list", id="list"),
            pytest.param("a", "", np.ones(4), TypeError, "expected a float32 array, actual float64", id="float64"),
            pytest.param("a", "", np.ones((2, 4), np.float32), ValueError, r"actual \(2, 4\)", id="stereo"),
            pytest.param("a", "", np.ones(0, np.float32), ValueError, r"actual \(0,\)", id="empty"),
            pytest.param("a", "", np.array([0, np.nan], np.float32), ValueError, "actual NaN or infinity", id="nan"),
            pytest.param("a", "", np.array([0, np.inf], np.float32), ValueError, "actual NaN or infinity", id="inf"),
        ],
    )
    def test_bad_fields(self, name, kind, signal, error, message):
        with pytest.raises(error, match=message):
            Sound(name, kind, signal)


class TestSoundBank:
    def test_is_a_sequence(self):
        a, b, c = make_sound("a", "x"), make_sound("b", "w"), make_sound("c", "x")
        bank = SoundBank([a, b, c], np.int64(8000))
        assert len(bank) == 3
        assert list(bank) == [a, b, c]
        assert bank[-1] is c
        assert bank[:2] == (a, b)
        assert b in bank
        assert bank.kinds == ("w", "x")
        assert bank.sample_rate == 8000
        assert repr(bank) == "SoundBank(3 sounds of 2 kinds at 8000 Hz)"

    @pytest.mark.parametrize(
        ("sounds", "rate", "error", "message"),
        [
            pytest.param([], 8000, ValueError, "sounds: expected at least one sound, actual none", id="empty"),
            pytest.param(["a.wav"], 8000, TypeError, "sounds: expected Sound objects, actual str", id="not-a-sound"),
            pytest.param([make_sound("a")] * 2, 8000, ValueError, "sounds: the name 'a' occurs twice", id="twice"),
            pytest.param([make_sound("a")], 0, ValueError, "sample_rate: expected 1 or more, actual 0", id="rate-zero"),
            pytest.param([make_sound("a")], 8e3, TypeError, "sample_rate: expected a whole number", id="rate-float"),
        ],
    )
    def test_bad_arguments(self, sounds, rate, error, message):
        with pytest.raises(error, match=message):
            SoundBank(sounds, rate)

    def test_banks_add_up(self):
        both = make_bank({"x": 2}) + make_bank({"y": 1})
        assert names(both) == ["x/000.wav", "x/001.wav", "y/000.wav"]
        assert both.kinds == ("x", "y")

    def test_banks_of_different_rates_do_not(self):
        with pytest.raises(ValueError, match="8000 Hz and 16000 Hz cannot be joined"):
            make_bank({"x": 1}) + SoundBank([make_sound("a")], 16000)

    def test_banks_with_equal_names_do_not(self):
        with pytest.raises(ValueError, match=r"'x/000\.wav' occurs twice"):
            make_bank({"x": 1}) + make_bank({"x": 1})

    def test_adding_something_else_is_a_type_error(self):
        with pytest.raises(TypeError, match="unsupported operand"):
            make_bank({"x": 1}) + {make_sound("a")}

    @pytest.mark.parametrize("subclass", [False, True], ids=["bank", "synthetic"])
    def test_pickle_keeps_bits_and_protection(self, subclass):
        bank = SyntheticSounds(per_kind=1, seconds=1) if subclass else make_bank({"x": 2, "y": 1})
        twin = pickle.loads(pickle.dumps(bank))
        assert type(twin) is type(bank)
        assert (names(twin), twin.kinds, twin.sample_rate) == (names(bank), bank.kinds, bank.sample_rate)
        for one, other in zip(bank, twin, strict=True):
            assert one.signal.tobytes() == other.signal.tobytes()
            assert not other.signal.flags.writeable

    def test_deep_copies_share_everything(self):
        bank = make_bank({"x": 2})
        copied = copy.deepcopy({"sounds": bank, "one": bank[0]})
        assert copied["sounds"] is bank
        assert copied["one"] is bank[0]

    def test_part_of_some_kinds(self):
        bank = make_bank({"x": 2, "y": 1, "z": 2})
        part = bank.of_kinds({"z", "x"})
        assert part.kinds == ("x", "z")
        assert part.sample_rate == 8000
        assert list(part) == [sound for sound in bank if sound.kind != "y"]
        assert names(bank.of_kinds(["y", "y"])) == ["y/000.wav"]

    @pytest.mark.parametrize(
        ("kinds", "error", "message"),
        [
            (
                ["x", "w", "v"],
                ValueError,
                r"kinds: expected one or more of \['x', 'y'\], .*, actual \['w', 'v'\] among",
            ),
            (["w"], ValueError, r"kinds: expected one or more of \['x', 'y'\], .*, actual \['w'\]; name others"),
            ([], ValueError, r"kinds: expected one or more of \['x', 'y'\], .*, actual \[\]; name others"),
            ("x", TypeError, r"kinds: expected several strings, such as \('x',\), actual 'x'"),
        ],
        ids=["some unknown", "unknown", "none", "string"],
    )
    def test_kinds_that_it_has_not_are_refused(self, kinds, error, message):
        with pytest.raises(error, match=f"^{message}"):
            make_bank({"x": 2, "y": 1}).of_kinds(kinds)
        with pytest.raises(error, match=r"^target_kinds: "):
            make_bank({"x": 2, "y": 1}).of_kinds(kinds, "target_kinds")


# ---- split ----

NAMES = st.builds(
    lambda kind, folder, file: "/".join(part for part in (kind, folder, file) if part),
    st.sampled_from(["", "speech", "noise", "music"]),
    st.sampled_from(["", "george", "lucas", "anna"]),
    st.sampled_from([f"{number}.wav" for number in range(8)]),
)


@st.composite
def banks(draw: st.DrawFn) -> SoundBank:
    """Banks of 2 to 30 sounds in folders; now and then two names hold the same audio."""
    drawn = draw(st.lists(NAMES, min_size=2, max_size=30, unique=True))
    sounds = []
    for index, name in enumerate(drawn):
        original = draw(st.integers(0, 9)) if index >= 10 else index
        content = drawn[original] if draw(st.booleans()) else name
        sounds.append(make_sound(name, name.split("/")[0] if "/" in name else "", content))
    return SoundBank(sounds, 8000)


def folder_of(name: str) -> str:
    return name.rpartition("/")[0]


def hanging_together(bank: SoundBank, by: str) -> list[set[str]]:
    """The groups of names that a split must not part, merged pair by pair until nothing changes."""
    groups = [({sound.name}, {sound.signal.tobytes()}, {folder_of(sound.name)}) for sound in bank]
    merged = True
    while merged:
        merged = False
        for one in groups:
            for other in groups:
                if one is not other and (one[1] & other[1] or (by == "subfolder" and one[2] & other[2])):
                    for mine, theirs in zip(one, other, strict=True):
                        mine |= theirs
                    groups.remove(other)
                    merged = True
                    break
            if merged:
                break
    return [group[0] for group in groups]


def audio(bank: SoundBank) -> set[bytes]:
    return {sound.signal.tobytes() for sound in bank}


class TestSplit:
    @settings(max_examples=150, deadline=None)
    @given(banks(), st.floats(0.01, 0.99), st.sampled_from(["recording", "subfolder"]))
    def test_is_a_partition_that_shares_no_audio(self, bank, share, by):
        if len(hanging_together(bank, by)) == 1:
            with pytest.raises(ValueError, match=f"a split by '{by}' needs two {by}s"):
                bank.split(share, by)
            return
        train, test = bank.split(share, by)
        assert len(train) > 0
        assert len(test) > 0
        assert sorted(names(train) + names(test)) == sorted(names(bank))
        for part in (train, test):
            assert names(part) == [name for name in names(bank) if name in names(part)]
            assert part.sample_rate == bank.sample_rate
        assert not audio(train) & audio(test)
        for group in hanging_together(bank, by):
            assert group <= set(names(train)) or group <= set(names(test))
        if by == "subfolder":
            assert not {folder_of(name) for name in names(train)} & {folder_of(name) for name in names(test)}

    @settings(max_examples=50, deadline=None)
    @given(banks(), st.randoms(use_true_random=False))
    def test_does_not_depend_on_the_order(self, bank, random):
        if len(audio(bank)) == 1:
            return
        shuffled = list(bank)
        random.shuffle(shuffled)
        assert set(names(bank.split()[1])) == set(names(SoundBank(shuffled, 8000).split()[1]))

    @settings(max_examples=50, deadline=None)
    @given(st.integers(2, 40), st.integers(0, 1000), st.floats(0.05, 0.95))
    def test_one_recording_more_moves_at_most_one_other(self, count, new, share):
        before = make_bank({"x": count, "y": 5})
        after = before + SoundBank([make_sound(f"x/new-{new}.wav", "x")], 8000)
        moved = set(names(before.split(share)[1])) ^ (set(names(after.split(share)[1])) - {f"x/new-{new}.wav"})
        assert len(moved) <= 1
        assert all(name.startswith("x/") for name in moved)

    @pytest.mark.parametrize(
        ("share", "expected"),
        [
            pytest.param(0.2, {"x": 2, "y": 4, "z": 1}, id="a-fifth"),
            pytest.param(0.5, {"x": 5, "y": 10, "z": 1}, id="half"),
            pytest.param(0.01, {"x": 1, "y": 1, "z": 1}, id="one-at-least"),
            pytest.param(0.99, {"x": 9, "y": 19, "z": 1}, id="one-stays"),
        ],
    )
    def test_every_kind_gives_its_share(self, share, expected):
        _, test = make_bank({"x": 10, "y": 20, "z": 2}).split(share)
        assert Counter(sound.kind for sound in test) == expected

    def test_a_lone_kind_goes_to_train(self):
        train, test = make_bank({"x": 5, "lone": 1}).split()
        assert "lone" in train.kinds
        assert test.kinds == ("x",)

    def test_lone_kinds_are_split_together(self):
        train, test = make_bank({"a": 1, "b": 1, "c": 1, "d": 1, "e": 1}).split(0.4)
        assert (len(train), len(test)) == (3, 2)

    def test_copies_of_a_recording_stay_together(self):
        sounds = [make_sound(f"x/{n}.wav", "x", content=str(n % 5)) for n in range(20)]
        train, test = SoundBank(sounds, 8000).split(0.4)
        assert len(test) == 8
        assert not audio(train) & audio(test)

    def test_subfolders_that_share_a_recording_stay_together(self):
        sounds = [make_sound(f"s/{who}/{n}.wav", "s") for who in ("ann", "bob", "cat") for n in range(3)]
        sounds += [make_sound("s/ann/copy.wav", "s", "same"), make_sound("s/bob/copy.wav", "s", "same")]
        for share in (0.1, 0.5, 0.9):
            train, test = SoundBank(sounds, 8000).split(share, by="subfolder")
            sides = [{folder_of(name) for name in names(side)} for side in (train, test)]
            assert {"s/cat"} in sides
            assert {"s/ann", "s/bob"} in sides

    def test_the_order_is_not_the_alphabet(self):
        # A split that took the first names would put one speaker's takes, or the easiest, on one side.
        _, test = make_bank({"x": 100}).split(0.5)
        numbers = [int(Path(name).stem) for name in names(test)]
        assert 30 < np.mean(numbers) < 70
        assert len(set(np.diff(numbers))) > 1

    @pytest.mark.parametrize(
        ("bank", "arguments", "error", "message"),
        [
            pytest.param({"x": 9}, {"test_share": 0.0}, ValueError, "test_share: expected .* actual 0.0", id="zero"),
            pytest.param({"x": 9}, {"test_share": 1}, ValueError, "test_share: expected .* actual 1", id="one"),
            pytest.param({"x": 9}, {"test_share": np.nan}, ValueError, "test_share: expected .* actual nan", id="nan"),
            pytest.param({"x": 9}, {"test_share": "0.2"}, TypeError, "test_share: expected a number", id="text"),
            pytest.param({"x": 9}, {"by": "speaker"}, ValueError, "by: expected 'recording' or 'subfolder'", id="by"),
            pytest.param({"x": 1}, {}, ValueError, "needs two recordings .* actual 1", id="one-recording"),
            pytest.param({"x": 9}, {"by": "subfolder"}, ValueError, r"needs two subfolders .*\('x'\)", id="one-folder"),
        ],
    )
    def test_bad_arguments(self, bank, arguments, error, message):
        with pytest.raises(error, match=message):
            make_bank(bank).split(**arguments)


# ---- draw ----


class TestDraw:
    @settings(max_examples=100, deadline=None)
    @given(
        st.dictionaries(st.sampled_from("abcde"), st.integers(1, 6), min_size=1),
        st.integers(1, 40),
        st.integers(0, 2**32),
    )
    def test_is_as_varied_as_can_be(self, kinds, count, seed):
        bank = make_bank(kinds)
        drawn = bank.draw(np.random.default_rng(seed), count)
        assert len(drawn) == count
        # No sound comes again before all others have come as often.
        times = [Counter(drawn)[sound] for sound in bank]
        assert max(times) - min(times) <= 1
        # A kind comes once more than another only if the other has no sound left in this round.
        per_kind = Counter(sound.kind for sound in drawn[: len(bank)])
        for kind, size in kinds.items():
            assert per_kind[kind] >= min(size, max(per_kind.values()) - 1)

    def test_same_generator_state_same_sounds_and_no_other_randomness(self):
        bank = make_bank({"x": 9, "y": 3})
        global_state = np.random.get_state()[1].tobytes()  # noqa: NPY002
        first = bank.draw(np.random.default_rng(5), 7)
        assert first == bank.draw(np.random.default_rng(5), 7)
        assert first != bank.draw(np.random.default_rng(6), 7)
        assert np.random.get_state()[1].tobytes() == global_state  # noqa: NPY002

    def test_kinds_are_equally_likely_and_so_are_the_sounds_of_a_kind(self):
        bank = make_bank({"big": 9, "small": 1})
        rng = np.random.default_rng(0)
        drawn = [bank.draw(rng, 1)[0] for _ in range(3600)]
        counts = Counter(sound.name for sound in drawn)
        # Binomial: 5 standard deviations around 1800 and around 200.
        assert abs(counts["small/000.wav"] - 1800) < 5 * np.sqrt(3600 / 4)
        for number in range(9):
            assert abs(counts[f"big/{number:03d}.wav"] - 200) < 5 * np.sqrt(3600 * (1 / 18) * (17 / 18))

    @pytest.mark.parametrize(
        ("count", "error", "message"),
        [
            pytest.param(0, ValueError, "count: expected 1 or more, actual 0", id="zero"),
            pytest.param(1.5, TypeError, "count: expected a whole number, actual 1.5", id="fraction"),
        ],
    )
    def test_bad_count(self, count, error, message):
        with pytest.raises(error, match=message):
            make_bank({"x": 2}).draw(np.random.default_rng(0), count)


# ---- Levels ----


class TestLevel:
    def test_pauses_do_not_count(self):
        # A sine of amplitude A has RMS A / sqrt(2), whatever the silence around it; 45 dB down is silence.
        signal = np.concatenate([tone(500), 10 ** (-45 / 20) * tone(700, 3), tone(500)])
        assert active_rms(signal, 8000) == pytest.approx(0.3 / np.sqrt(2), rel=1e-3)

    def test_what_is_35_db_down_counts(self):
        signal = np.concatenate([tone(500), 10 ** (-35 / 20) * tone(500)])
        assert active_rms(signal, 8000) == pytest.approx(0.3 / np.sqrt(2) * np.sqrt((1 + 10**-3.5) / 2), rel=1e-3)

    def test_silence_is_zero(self):
        assert active_rms(np.zeros(800), 8000) == 0.0

    @pytest.mark.parametrize("rate", [4000, 8000, 11025, 16000, 44100])
    def test_equals_the_slow_loop(self, rate):
        rng = np.random.default_rng(rate)
        signal = rng.standard_normal(rate) * 10 ** (-3 * rng.uniform(size=20).repeat(rate // 20 + 1)[:rate])
        assert 20 * np.log10(active_rms(signal, rate)) == pytest.approx(slow_active_dbfs(signal, rate), abs=1e-9)

    @pytest.mark.parametrize("amplitude", [1e-3, 0.3, 1e3], ids=["quiet", "normal", "huge"])
    def test_equalised_sine_has_the_amplitude_theory_gives(self, amplitude):
        equalised = equalise_level(tone(500, amplitude=amplitude), 8000)
        assert equalised.dtype == np.float32
        assert equalised.max() == pytest.approx(np.sqrt(2) * 10 ** (-26 / 20), rel=1e-3)


# ---- Folders of recordings ----


class TestSoundFolder:
    def test_finds_everything_below_in_the_order_of_the_names(self, tmp_path):
        for name in ("b.wav", "speech/zoe/2.wav", "a.flac", "speech/ann/1.OGG", "noise/c.Wav", "speech/ann/0.wav"):
            write(tmp_path / name, tone(400), format=Path(name).suffix[1:].upper())
        (tmp_path / "notes.txt").write_text("not a sound")
        (tmp_path / "folder.wav").mkdir()
        bank = SoundFolder(tmp_path)
        expected = ["a.flac", "b.wav", "noise/c.Wav", "speech/ann/0.wav", "speech/ann/1.OGG", "speech/zoe/2.wav"]
        assert names(bank) == expected
        assert [sound.kind for sound in bank] == ["", "", "noise", "speech", "speech", "speech"]
        assert names(SoundFolder(str(tmp_path))) == expected

    @pytest.mark.parametrize(
        ("suffix", "subtype"),
        [("wav", "PCM_16"), ("wav", "PCM_24"), ("wav", "FLOAT"), ("flac", "PCM_16"), ("ogg", "VORBIS")],
        ids=lambda value: value,
    )
    def test_formats(self, tmp_path, suffix, subtype):
        signal = tone(440) + tone(1300)
        write(tmp_path / f"a.{suffix}", signal, subtype=subtype)
        read = SoundFolder(tmp_path)[0].signal
        assert len(read) == len(signal)
        assert np.corrcoef(read[200:-200], signal[200:-200])[0, 1] > 0.999

    @pytest.mark.parametrize("file_rate", [6000, 8000, 11025, 16000, 22050, 44100, 48000])
    @pytest.mark.parametrize("rate", [8000, 16000])
    def test_a_tone_keeps_its_frequency_length_and_level(self, tmp_path, file_rate, rate):
        write(tmp_path / "a.wav", tone(1000, 2, file_rate), file_rate)
        signal = SoundFolder(tmp_path, rate)[0].signal
        assert len(signal) == pytest.approx(2 * rate, abs=0.02 * rate)
        frequency, power = spectrum(signal, rate)
        assert frequency[power.argmax()] == pytest.approx(1000, abs=0.5)
        assert db_in_band(signal, rate, 950, 1050) == pytest.approx(0, abs=1e-3)
        middle = signal[rate // 2 : -rate // 2]
        assert np.abs(middle).max() == pytest.approx(np.sqrt(2) * 10 ** (-26 / 20), rel=0.01)

    @pytest.mark.parametrize("file_rate", [16000, 44100])
    def test_nothing_above_nyquist_folds_down(self, tmp_path, file_rate):
        high = [4500, 5200, 6000, 7300]
        # Faded, because a tone that starts at once is not confined to its frequency.
        fade = np.hanning(2 * file_rate)
        write(tmp_path / "a.wav", fade * sum(tone(f, 2, file_rate, 0.2) for f in [1000, *high]), file_rate)
        signal = SoundFolder(tmp_path, 8000)[0].signal
        for frequency in high:
            assert db_in_band(signal, 8000, 8000 - frequency - 20, 8000 - frequency + 20) < -80

    @pytest.mark.parametrize("channels", [2, 3, 6])
    def test_channels_are_averaged(self, tmp_path, channels):
        signals = np.random.default_rng(channels).uniform(-0.5, 0.5, (16000, channels))
        write(tmp_path / "many" / "a.wav", signals, 16000, subtype="FLOAT")
        write(tmp_path / "one" / "a.wav", sum(signals.T) / channels, 16000, subtype="FLOAT")
        many, one = SoundFolder(tmp_path / "many")[0].signal, SoundFolder(tmp_path / "one")[0].signal
        np.testing.assert_allclose(many, one, atol=1e-6)

    @pytest.mark.parametrize("late", [False, True], ids=["throughout", "sets-in-late"])
    def test_a_constant_offset_is_removed(self, tmp_path, late):
        signal = tone(300, 4, amplitude=0.1)
        signal[8000 if late else 0 :] += 0.35
        write(tmp_path / "a.wav", signal)
        read = SoundFolder(tmp_path)[0].signal
        assert abs(read[16000:24000].mean()) < 1e-5
        # Had the offset stayed, it would have set the level.
        assert np.abs(read[16000:24000]).max() == pytest.approx(np.sqrt(2) * 10 ** (-26 / 20), rel=0.1)

    def test_removing_an_offset_does_not_thump_at_abrupt_ends(self, tmp_path):
        # A cosine that starts and stops at its peak: inside the fades it must come out as it was.
        cosine = 0.5 * np.cos(2 * np.pi * 200 * np.arange(8001) / 8000)
        write(tmp_path / "a.wav", cosine + 0.2, subtype="FLOAT")
        read = SoundFolder(tmp_path)[0].signal
        scaled = cosine[: len(read)] * read[4000] / cosine[4000]
        assert np.abs(read - scaled)[80:-80].max() < 0.01 * np.abs(read).max()

    def test_levels_are_equal_whatever_they_were(self, tmp_path):
        rng = np.random.default_rng(0)
        for number, gain in enumerate((0.002, 0.05, 0.9)):
            bursts = np.repeat(rng.uniform(0, 1, 30) ** 3, 1000) * rng.uniform(-1, 1, 30000)
            write(tmp_path / f"{number}.wav", gain * bursts, 16000, subtype="FLOAT")
        for sound in SoundFolder(tmp_path):
            assert slow_active_dbfs(sound.signal, 8000) == pytest.approx(-26, abs=0.001)

    def test_long_silences_at_the_ends_go_and_pauses_inside_stay(self, tmp_path):
        silence = np.zeros(8000)
        write(tmp_path / "a.wav", np.concatenate([silence, tone(500), silence, tone(700), silence, silence]))
        signal = SoundFolder(tmp_path)[0].signal
        assert len(signal) == pytest.approx((0.1 + 1 + 1 + 1 + 0.1) * 8000, abs=2 * 160)
        loud = np.abs(signal) > 0.01
        assert loud.argmax() == pytest.approx(800, abs=170)
        assert loud[::-1].argmax() == pytest.approx(800, abs=170)
        assert not loud[10000:16000].any()

    def test_a_loop_does_not_click(self, tmp_path):
        # A quarter of a cycle is left over, so end and start differ by the whole amplitude.
        signal = tone(200, 1.00125, amplitude=0.5)
        write(tmp_path / "a.wav", signal)
        looped = np.tile(SoundFolder(tmp_path)[0].signal, 2)
        bend = np.abs(np.diff(looped, 2))
        joint = len(looped) // 2
        assert bend[joint - 20 : joint + 20].max() < np.median(bend)
        assert np.abs(np.diff(signal[[-1, 0]])) > 0.4  # what it would have been

    @pytest.mark.parametrize("content", [b"", b"RIFF", b"this is no sound" * 100], ids=["nothing", "stump", "text"])
    @pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
    def test_unreadable_file(self, tmp_path, suffix, content):
        write(tmp_path / "good.wav", tone(400))
        bad = tmp_path / f"bad.{suffix}"
        bad.write_bytes(content)
        message = f"sound file {str(bad)!r} cannot be read: .*Expected an intact wav, flac or ogg file; remove"
        with pytest.raises(ValueError, match=message.replace("\\", "\\\\")):
            SoundFolder(tmp_path)

    def test_damaged_flac(self, tmp_path):
        bad = write(tmp_path / "bad.flac", np.random.default_rng(0).uniform(-0.5, 0.5, 8000))
        bad.write_bytes(bad.read_bytes()[:6000])
        with pytest.raises(ValueError, match=r"bad\.flac' cannot be read"):
            SoundFolder(tmp_path)

    @pytest.mark.parametrize(
        ("signal", "message"),
        [
            pytest.param(tone(400, 0.09), "is too short: expected at least 0.1 s, actual 0.09 s", id="short"),
            pytest.param(np.zeros(0), "is too short: expected at least 0.1 s, actual 0 s", id="no-samples"),
            pytest.param(np.zeros(8000), "is silent: expected an active RMS of at least -80 dBFS", id="zeros"),
            pytest.param(np.full(8000, 0.5), "is silent", id="constant"),
            pytest.param(tone(400, amplitude=1e-5), "is silent", id="below-16-bits"),
            pytest.param(np.stack([tone(400), -tone(400)], axis=1), "is silent: .* mixing to mono", id="cancels"),
            pytest.param(np.r_[tone(400), np.nan, tone(400)], "holds NaN or infinite .* sample at 1.000 s", id="nan"),
            pytest.param(np.r_[np.inf, tone(400)], "holds NaN or infinite .* sample at 0.000 s", id="infinity"),
        ],
    )
    def test_unusable_file(self, tmp_path, signal, message):
        write(tmp_path / "a-good.wav", tone(400))
        bad = write(tmp_path / "deep" / "bad.wav", signal, subtype="FLOAT")
        with pytest.raises(ValueError, match=f"^sound file {re.escape(repr(str(bad)))} {message}"):
            SoundFolder(tmp_path)

    def test_a_file_whose_sound_lies_above_the_new_nyquist_is_silent(self, tmp_path):
        write(tmp_path / "bat.wav", np.hanning(16000) * tone(7000, rate=16000), 16000, subtype="FLOAT")
        assert len(SoundFolder(tmp_path, 16000)) == 1
        with pytest.raises(ValueError, match=r"bat\.wav' is silent: .* between 20 Hz and 4000 Hz"):
            SoundFolder(tmp_path, 8000)

    def test_missing_folder(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"sounds path .*nowhere' does not exist: expected a folder"):
            SoundFolder(tmp_path / "nowhere")

    def test_a_file_is_no_folder(self, tmp_path):
        file = write(tmp_path / "a.wav", tone(400))
        with pytest.raises(ValueError, match=r"a\.wav' is a file: .* pass the folder that holds it"):
            SoundFolder(file)

    def test_folder_without_recordings(self, tmp_path):
        (tmp_path / "below").mkdir()
        (tmp_path / "below" / "song.mp3").write_bytes(b"")
        with pytest.raises(ValueError, match=r"holds no recordings: expected \.wav, \.flac, \.ogg files"):
            SoundFolder(tmp_path)

    @pytest.mark.parametrize(
        ("path", "rate", "error", "message"),
        [
            pytest.param(None, 8000, TypeError, "path: expected the path of a folder, actual None", id="no-path"),
            pytest.param(".", 3999, ValueError, "sample_rate: expected 4000 or more, actual 3999", id="low-rate"),
            pytest.param(".", "8000", TypeError, "sample_rate: expected a whole number, actual '8000'", id="text-rate"),
        ],
    )
    def test_bad_arguments(self, path, rate, error, message):
        with pytest.raises(error, match=message):
            SoundFolder(path, rate)


# ---- Synthetic sounds ----

DIGEST_SCRIPT = """
import hashlib
from auralnav_gym.sounds import SyntheticSounds
digest = hashlib.sha256()
for sound in SyntheticSounds(seed=3, per_kind=2, seconds=1.5):
    digest.update(sound.name.encode() + sound.signal.tobytes())
print(digest.hexdigest())
"""


def features(signal: np.ndarray, rate: int) -> np.ndarray:
    """What a crude listener notices: the spectrum's shape, the frames' levels, their rhythm and the noisiness."""
    signal = signal.astype(float)
    frequency, power = spectrum(signal, rate)
    edges = np.geomspace(80, rate / 2, 11)
    bands = [power[(frequency >= low) & (frequency < high)].sum() for low, high in pairwise(edges)]
    frames = signal[: len(signal) // 160 * 160].reshape(-1, 160)
    level = 10 * np.log10(np.mean(frames**2, axis=1) + 1e-8)
    rhythm = np.abs(np.fft.rfft(np.sqrt(np.mean(frames**2, axis=1))))
    rate_of = np.fft.rfftfreq(len(frames), 0.02)
    modulation = [rhythm[(rate_of >= low) & (rate_of < 2 * low)].mean() / rhythm[0] for low in (0.5, 1, 2, 4, 8)]
    framed = np.abs(np.fft.rfft(signal[: len(signal) // 512 * 512].reshape(-1, 512) * np.hanning(512))) ** 2 + 1e-9
    flatness = np.log(framed).mean(axis=1) - np.log(framed.mean(axis=1))
    return np.array(
        [*np.log(np.array(bands) / power.sum() + 1e-5), level.std(), np.mean(level > level.max() - 20), *modulation,
         flatness.mean(), flatness.std(), np.abs(signal).max()]
    )  # fmt: skip


def nearest_families(known: SoundBank, bank: SoundBank) -> list[str]:
    """The kind of `known` whose mean features are nearest, for every sound of a bank."""
    train = np.array([features(sound.signal, 8000) for sound in known])
    mean, scale = train.mean(axis=0), train.std(axis=0)
    kinds = np.array([sound.kind for sound in known])
    centroids = np.array([((train - mean) / scale)[kinds == kind].mean(axis=0) for kind in known.kinds])
    scaled = np.array([(features(sound.signal, 8000) - mean) / scale for sound in bank])
    return [known.kinds[np.linalg.norm(centroids - row, axis=1).argmin()] for row in scaled]


class TestSyntheticSounds:
    def test_names_kinds_and_shapes(self, synthetic):
        assert synthetic.kinds == FAMILIES
        assert names(synthetic) == [f"{kind}-{number:02d}" for kind in FAMILIES for number in range(8)]
        assert {sound.signal.shape for sound in synthetic} == {(34400,)}  # 4.3 s
        assert all(sound.name.startswith(sound.kind) for sound in synthetic)

    @pytest.mark.parametrize("kind", FAMILIES)
    def test_levels_peaks_and_loops(self, synthetic, other_seed, kind):
        for sound in (*synthetic, *other_seed):
            if sound.kind != kind:
                continue
            assert slow_active_dbfs(sound.signal, 8000) == pytest.approx(-26, abs=0.001)
            assert np.abs(sound.signal).max() < 1
            assert quietest_half_second_db(sound.signal, 8000) > -20
            # The joint of the loop bends less than the sound itself does.
            bend = np.abs(np.diff(np.tile(sound.signal, 2), 2))
            joint = len(sound.signal)
            assert bend[joint - 20 : joint + 20].max() < np.percentile(bend, 99)

    @pytest.mark.parametrize("kind", FAMILIES)
    def test_every_sound_reaches_over_the_band(self, synthetic, kind):
        # To be localised, a sound needs power at many frequencies: every octave holds some.
        for sound in synthetic:
            if sound.kind == kind:
                for low in (250, 500, 1000, 2000):
                    assert db_in_band(sound.signal, 8000, low, 2 * low) > -35, (sound.name, low)

    def test_every_sound_is_another(self, synthetic, other_seed):
        assert len(audio(synthetic)) == len(synthetic)
        assert not audio(synthetic) & audio(other_seed)

    def test_families_can_be_told_apart(self, synthetic, other_seed):
        # Learnt on one seed's sounds, tested on another's; guessing gets 0.1.
        nearest = nearest_families(synthetic, other_seed)
        assert np.mean([family == sound.kind for family, sound in zip(nearest, other_seed, strict=True)]) >= 0.9

    def test_a_sound_does_not_change_with_the_number_of_sounds(self):
        few = SyntheticSounds(per_kind=1, seconds=1)
        many = {sound.name: sound for sound in SyntheticSounds(per_kind=3, seconds=1)}
        for sound in few:
            assert sound.signal.tobytes() == many[sound.name].signal.tobytes()

    def test_same_seed_same_bits_in_another_process(self):
        expected = hashlib.sha256()
        for sound in SyntheticSounds(seed=3, per_kind=2, seconds=1.5):
            expected.update(sound.name.encode() + sound.signal.tobytes())
        for hash_seed in ("1", "2"):
            printed = subprocess.run(
                [sys.executable, "-c", DIGEST_SCRIPT],
                cwd=ROOT,
                env={**os.environ, "PYTHONHASHSEED": hash_seed},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            assert printed.strip() == expected.hexdigest()

    def test_sounds_are_the_same_at_every_rate(self):
        wide = SyntheticSounds(16000, per_kind=1, seconds=2)
        narrow = SyntheticSounds(8000, per_kind=1, seconds=2)
        for one, other in zip(wide, narrow, strict=True):
            assert one.name == other.name
            expected = resample(one.signal.astype(float), 16000)
            # Both were low-passed at 4 kHz, one of them more gently: below that they agree.
            frequency = np.fft.rfftfreq(16000, 1 / 8000)
            below = frequency < 3500
            a, b = (np.fft.rfft(signal)[below] for signal in (expected, other.signal))
            coherence = np.abs(np.vdot(a, b)) / np.linalg.norm(a) / np.linalg.norm(b)
            assert coherence > 0.999, one.name

    @pytest.mark.parametrize("rate", [4000, 5512, 11025, 44100])
    def test_other_rates(self, rate):
        for sound in SyntheticSounds(rate, per_kind=1, seconds=1):
            assert len(sound.signal) == rate
            assert slow_active_dbfs(sound.signal, rate) == pytest.approx(-26, abs=0.001)
            assert db_in_band(sound.signal, rate, 8500, max(rate / 2, 8500) + 1) < -60 if rate > 17000 else True

    @pytest.mark.parametrize("seconds", [1, 1.23, 7])
    def test_other_lengths(self, seconds):
        bank = SyntheticSounds(per_kind=1, seconds=seconds)
        assert {len(sound.signal) for sound in bank} == {round(8000 * seconds)}
        for sound in bank:
            assert quietest_half_second_db(sound.signal, 8000) > -20

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            pytest.param({"sample_rate": 2000}, ValueError, "sample_rate: expected 4000 or more", id="rate"),
            pytest.param({"sample_rate": 8e3}, TypeError, "sample_rate: expected a whole number", id="rate-float"),
            pytest.param({"seed": -1}, ValueError, "seed: expected 0 or more, actual -1", id="seed"),
            pytest.param({"seed": None}, TypeError, "seed: expected a whole number, actual None", id="no-seed"),
            pytest.param({"per_kind": 0}, ValueError, "per_kind: expected 1 or more, actual 0", id="per-kind"),
            pytest.param({"seconds": 0.5}, ValueError, "seconds: expected 1 or more .*actual 0.5", id="seconds"),
            pytest.param({"seconds": np.nan}, ValueError, "seconds: expected 1 or more .*actual nan", id="nan"),
            pytest.param({"seconds": "4"}, TypeError, "seconds: expected a number, actual '4'", id="text"),
        ],
    )
    def test_bad_arguments(self, arguments, error, message):
        with pytest.raises(error, match=message):
            SyntheticSounds(**arguments)


class TestFamilies:
    """The families sound like what they are called."""

    def of(self, bank: SoundBank, kind: str) -> list[np.ndarray]:
        return [sound.signal.astype(float) for sound in bank if sound.kind == kind]

    def test_speech_has_syllables_and_a_voice(self, synthetic):
        for signal in self.of(synthetic, "speech"):
            # Syllables: the envelope's spectrum is strongest between 2 and 8 Hz (Ding et al. 2017).
            envelope = np.sqrt(np.mean(signal.reshape(-1, 160) ** 2, axis=1))
            rhythm, rate = np.abs(np.fft.rfft(envelope - envelope.mean())), np.fft.rfftfreq(len(envelope), 0.02)
            syllables = rhythm[(rate >= 2) & (rate <= 8)].mean()
            assert syllables > 2 * rhythm[(rate > 8) & (rate <= 20)].mean()
            # Voice: loud frames repeat after one pitch period between 60 and 350 Hz.
            frames = signal[: len(signal) // 512 * 512].reshape(-1, 512)
            loud = frames[np.argsort(-np.mean(frames**2, axis=1))[:10]]
            for frame in loud:
                correlation = np.correlate(frame, frame, "full")[511:]
                assert correlation[8000 // 350 : 8000 // 60].max() / correlation[0] > 0.4

    def test_bird_is_the_highest(self, synthetic):
        centroids = {
            kind: np.mean([centroid(signal, 8000) for signal in self.of(synthetic, kind)]) for kind in FAMILIES
        }
        assert max(centroids, key=centroids.get) == "bird"
        assert 1500 < centroids["bird"] < 3400

    def test_telephone_rings_on_two_tones(self, synthetic):
        ratios = []
        for signal in self.of(synthetic, "telephone"):
            frequency, power = spectrum(signal, 8000)
            smooth = np.convolve(power, np.ones(9), "same") * ((frequency > 300) & (frequency < 620))
            first = frequency[smooth.argmax()]
            smooth[np.abs(frequency - first) < 15] = 0
            second = frequency[smooth.argmax()]
            ratios.append(max(first, second) / min(first, second))
        # 480 / 440, 450 / 400 and 416 / 384, mistuned together.
        for ratio in ratios:
            assert min(abs(ratio - expected) for expected in (480 / 440, 450 / 400, 416 / 384)) < 0.01

    def test_alarm_has_a_square_waves_harmonics(self, synthetic):
        for signal in self.of(synthetic, "alarm"):
            frequency, power = spectrum(signal, 8000)
            pitch = frequency[power.argmax()]
            lines = [power[np.abs(frequency - k * pitch) < 40].sum() for k in (1, 2, 3)]
            assert 10 * np.log10(lines[2] / lines[0]) == pytest.approx(20 * np.log10(1 / 3), abs=0.5)
            assert lines[1] < 0.1 * lines[2]

    def test_melody_stays_on_a_pentatonic_scale(self, synthetic):
        # Intervals between the strongest low partials of plucked notes, in semitones from the lowest.
        for signal in self.of(synthetic, "melody"):
            frequency, power = spectrum(signal, 8000)
            low = (frequency > 100) & (frequency < 700)
            strongest = frequency[low][np.argsort(-power[low])[:5]]
            semitones = 12 * np.log2(strongest / strongest.min())
            assert np.abs(semitones - np.round(semitones)).max() < 0.25

    def test_impulses_are_spiky_and_sirens_are_not(self, synthetic):
        def crest(kind: str) -> float:
            return np.mean([np.abs(signal).max() / signal.std() for signal in self.of(synthetic, kind)])

        assert crest("knocks") > 2 * crest("siren")


# ---- load_sounds ----


class TestLoadSounds:
    def test_none_is_the_synthetic_bank_made_once(self):
        bank = load_sounds(None, 4000)
        assert isinstance(bank, SyntheticSounds)
        assert (bank.sample_rate, len(bank)) == (4000, 80)
        assert load_sounds(None, 4000) is bank

    @pytest.mark.parametrize("kind_of_path", [str, Path], ids=["str", "Path"])
    def test_a_path_is_a_folder(self, tmp_path, kind_of_path):
        write(tmp_path / "a.wav", tone(400))
        bank = load_sounds(kind_of_path(tmp_path), 16000)
        assert isinstance(bank, SoundFolder)
        assert bank.sample_rate == 16000

    def test_a_bank_is_itself(self):
        bank = make_bank({"x": 2})
        assert load_sounds(bank, 8000) is bank

    @pytest.mark.parametrize(
        ("sounds", "rate", "error", "message"),
        [
            pytest.param(make_bank({"x": 1}), 16000, ValueError, "expected a bank at sample_rate=16000 Hz", id="rate"),
            pytest.param([make_sound("a")], 8000, TypeError, "sounds: expected a SoundBank, .* actual list", id="list"),
            pytest.param("no/such/folder", 8000, FileNotFoundError, "no/such/folder' does not exist", id="missing"),
            pytest.param(None, 8000.5, TypeError, "sample_rate: expected a whole number", id="rate-float"),
        ],
    )
    def test_bad_arguments(self, sounds, rate, error, message):
        with pytest.raises(error, match=message):
            load_sounds(sounds, rate)


# ---- Real recordings ----


class TestRealRecordings:
    def test_all_are_read_and_levelled(self, recorded):
        files = [file for file in RECORDINGS.rglob("*") if file.suffix in (".wav", ".flac", ".ogg")]
        assert len(recorded) == len(files)
        for sound in recorded[::10]:
            assert slow_active_dbfs(sound.signal, 8000) == pytest.approx(-26, abs=0.001)

    def test_no_speaker_is_on_both_sides(self, recorded):
        train, test = recorded.split(by="subfolder")
        folders = [{folder_of(name) for name in names(side)} for side in (train, test)]
        assert not folders[0] & folders[1]
        assert all("speech" in side.kinds for side in (train, test))

    def test_both_sides_hold_every_kind_with_two_recordings(self, recorded):
        train, test = recorded.split()
        kinds = Counter(sound.kind for sound in recorded)
        assert set(test.kinds) == {kind for kind, count in kinds.items() if count > 1}
        assert train.kinds == recorded.kinds

    def test_recorded_speech_is_nearest_to_synthetic_speech(self, recorded, synthetic):
        speech = SoundBank([sound for sound in recorded if sound.kind == "speech"], 8000)
        assert np.mean([family == "speech" for family in nearest_families(synthetic, speech)]) >= 0.9
