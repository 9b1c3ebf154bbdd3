"""Train a separator on what the agent hears: mixtures from random scenes, a loss that knows silence, a resumable loop.

In the order of use::

    train_sounds, test_sounds = pretraining_sounds("recordings/")
    pretraining = PRETRAININGS["speech-first"]
    separator = pretrain(pretraining, train_sounds, "runs/speech-first")  # called again after a kill, it goes on
    evaluate_separator(separator, Mixtures(test_sounds, ("speech",), seed=1), num_scenes=250)

A mixture is what two ears hear at one pose of one scene, as in ``AuralNav-v0``; the targets are what they hear of the
same sources alone. Mixtures follow from a seed and a number alone, so that workers can render in parallel, and a
training that was killed goes on with the very mixtures that it would have had.

An absent source has no SI-SDR, in the loss and in the measurement: where a slot is to stay empty, the level of what is
put into it counts instead.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import soxr
import torch
from asteroid.losses import PITLossWrapper, pairwise_neg_sisdr
from asteroid.models import DPRNNTasNet
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.tensorboard import SummaryWriter

from auralnav_gym.acoustics import Listener
from auralnav_gym.ears import Ears
from auralnav_gym.files import written_whole
from auralnav_gym.movement import Body, Pose
from auralnav_gym.named_ears import as_ears
from auralnav_gym.rooms import RandomShoeBox, ShoeBox
from auralnav_gym.scene import Babble, Scene, SceneSampler
from auralnav_gym.sounds import Sound, SoundBank, SoundFolder, SyntheticSounds
from auralnav_gym.world import EAR_CLEARANCE
from auralnav_sb3.provenance import Provenance
from auralnav_sb3.separation import (
    ANY_ORDER,
    Separator,
    SeparatorConfig,
    has_bfloat16_units,
    mono_mixdown,
    rms_level,
)
from auralnav_sb3.statistics import Interval, bootstrap_mean

# A source is absent from a window, its slot to stay empty, if it is softer than the mixture by more than this, in dB.
ABSENT_DB = -30.0
# An error that is softer than the mixture by more than this is as good as none, in dB.
INAUDIBLE_DB = -30.0
# Of the second part of `pairwise_loss`.
_WAVEFORM_WEIGHT = 0.3

# What mixtures are drawn from.
_LEVELS_DB = (-5.0, 5.0)  # of a source
_OTHER_LEVELS_DB = (-3.0, 9.0)  # of one that belongs into the second slot, where slots go by kind
_NUM_FIRST, _FIRST_SHARES = (1, 2), (0.85, 0.15)  # sources in the first slot
_NUM_OTHER, _OTHER_SHARES = (1, 2, 3), (0.3, 0.5, 0.2)  # sources in the second
_DEFAULT_ROOM_SHARE = 0.4
_MAX_ORDERS, _ORDER_SHARES = (3, 6, 10), (0.85, 0.1, 0.05)
_OFF_SHARE = 0.12  # of sources that are off, and were off before the window began
_ENDING_SHARE = 0.06  # of sources that are switched off within the window or shortly before it
_ENDING_SECONDS = (-0.3, 0.5)
_BACKGROUND_SHARE = 0.3  # of scenes
_BACKGROUND_SNR_DB = (0.0, 25.0)
_BACKGROUND_DIRECTIONS = 16

# Items of a validation; each takes some hundredths of a second.
_LONGEST_VALIDATION = 10_000

# Speeds at which recordings are played as well, as if by other voices and instruments.
_SPEEDS = (0.87, 0.93, 1.0, 1.07, 1.15)
_SYNTHETIC_PER_KIND = 40


# ---- Sounds ----------------------------------------------------------------------------------------------------------


def pretraining_sounds(
    recordings: str | os.PathLike[str] | None = None, sample_rate: int = 8000, seed: int = 1
) -> tuple[SoundBank, SoundBank]:
    """Sounds to train a separator on, and others to test it with.

    Of recordings of speech no speaker is on both sides, a speaker being a subfolder, and of others no recording. The
    training sounds are played at several speeds (Ko et al. 2015, "Audio augmentation for speech recognition").
    Synthetic sounds come in addition: those to test with are the test sounds of AuralNav's suites, those to train on
    are drawn anew.

    Args:
        recordings: A folder; None: synthetic sounds alone.
        sample_rate: Hz.
        seed: Of the synthetic sounds to train on; not 0, whose sounds the suites play.

    Returns:
        The training sounds and the test sounds.

    Raises:
        ValueError: ``seed`` is 0; or as `SoundFolder`, and if there is speech in the folder but no two speakers, or
            one single recording of something else: such cannot be split.
    """
    if seed == 0:
        raise ValueError(
            "seed: expected any but 0, whose synthetic sounds are those that the suites test with, actual 0"
        )
    parts = [] if recordings is None else _split(SoundFolder(recordings, sample_rate))
    train: SoundBank = SyntheticSounds(sample_rate, seed=seed, per_kind=_SYNTHETIC_PER_KIND)
    _, test = SyntheticSounds(sample_rate).split()
    for to_train, to_test in parts:
        train, test = train + at_speeds(to_train, _SPEEDS), test + to_test
    return train, test


def _split(folder: SoundFolder) -> list[tuple[SoundBank, SoundBank]]:
    """Recordings to train on and to test with: those of speech, and the others."""
    parts = []
    for is_speech, by, share in ((True, "subfolder", 0.4), (False, "recording", 0.2)):
        sounds = [sound for sound in folder if (sound.kind == "speech") == is_speech]
        if sounds:
            try:
                parts.append(SoundBank(sounds, folder.sample_rate).split(share, by))
            except ValueError as error:
                raise ValueError(_too_few(sounds)) from error
    return parts


def _too_few(sounds: Sequence[Sound]) -> str:
    """What is wrong with recordings, all of speech or none, that cannot be split."""
    if sounds[0].kind == "speech":
        return (
            "recordings: expected speech of two speakers or more, each in a subfolder of its own, such as speech/anna "
            f"and speech/bert, so that none is on both sides, actual: {len(sounds)} recording(s) of one, in "
            f"{str(PurePosixPath(sounds[0].name).parent)!r}; add speakers, or take these recordings out"
        )
    return (
        "recordings: expected two recordings or more beside those of speech, or none, so that none is on both sides, "
        f"actual: {sounds[0].name!r} alone, or as often as it is there; add others, or take it out"
    )


def at_speeds(bank: SoundBank, speeds: Sequence[float]) -> SoundBank:
    """Every sound of a bank at every speed: twice as fast is half as long and an octave higher.

    Amplitudes stay: a faster sound is softer only by what then lies beyond half the sample rate.

    Args:
        bank: The sounds.
        speeds: Above 0; a sound at speed 1 keeps its name.
    """
    rate = bank.sample_rate
    sounds = []
    for sound, speed in itertools.product(bank, speeds):
        if speed == 1.0:
            sounds.append(sound)
            continue
        signal = soxr.resample(sound.signal, rate * speed, rate)
        sounds.append(Sound(f"{sound.name}@{speed:g}", sound.kind, np.asarray(signal, dtype=np.float32)))
    return SoundBank(sounds, rate)


# ---- Mixtures --------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Windows:
    """Windows of one scene, W of them.

    Attributes:
        audio: (W, 2, N) float32, what the ears hear.
        sources: (W, S, N) float32, what belongs into every slot, alone: the mean of the two ears.
        label: What is mixed, such as "speech + other".
    """

    audio: np.ndarray
    sources: np.ndarray
    label: str


class Mixtures(Dataset[Windows]):
    """What ears hear in random scenes; item i follows from the seed and i alone.

    Rooms are AuralNav's own or shoeboxes of random size and reverberation, sources and poses lie anywhere in them, at
    random levels. Some sources are off, or have just been switched off and die away; some scenes have a babble of
    voices for a background, which belongs into no slot. Another seed draws other rooms, but for AuralNav's own.

    Args:
        bank: Where the sounds come from. A kind is drawn with a weight that is the root of the number of its sounds.
        first_kinds: The kinds of sound that belong into the first of two slots, one source or two; all others, one to
            three sources together, belong into the second. None: one source for every slot, in any order.
        num_sources: S, slots; 2 with ``first_kinds``.
        seed: Of all draws.
        length: Number of items.
        num_poses: Poses in every scene, whose windows are rendered.
        num_levels: How often a rendered window is mixed, with other levels of the sources; W = num_poses x num_levels.
        num_samples: N, samples of a window.
        ears: As in ``AuralNav-v0``.

    Raises:
        TypeError: ``first_kinds`` is a string.
        ValueError: ``first_kinds`` with other than two slots, or no sounds for one of the slots.
    """

    def __init__(
        self,
        bank: SoundBank,
        first_kinds: Sequence[str] | None = None,
        num_sources: int = 2,
        seed: int = 0,
        length: int = 2**31,
        num_poses: int = 4,
        num_levels: int = 1,
        num_samples: int = 4000,
        ears: Ears | str = "ortf",
    ) -> None:
        if first_kinds is not None and num_sources != 2:
            raise ValueError(f"num_sources: expected 2 slots with first_kinds, actual {num_sources}")
        self._bank = bank
        self._first_kinds: tuple[str, ...] | None = None
        if first_kinds is None:
            self._by_kind = _by_kind(bank)
        else:
            first = bank.of_kinds(first_kinds, "first_kinds")
            others = set(bank.kinds).difference(first.kinds)
            if not others:
                raise ValueError(
                    f"first_kinds: expected to leave some of {list(bank.kinds)}, the kinds of sound in the bank, for "
                    f"the second slot, actual {list(first_kinds)}"
                )
            self._first_kinds = tuple(first_kinds)
            self._first_by_kind, self._others_by_kind = _by_kind(first), _by_kind(bank.of_kinds(others))
        self._num_sources = num_sources
        self._seed = seed
        self._length = length
        self._num_poses = num_poses
        self._num_levels = num_levels
        self._num_samples = num_samples
        self._ears = as_ears(ears)
        self._body = Body(radius=self._ears.radius + EAR_CLEARANCE)

    @property
    def any_order(self) -> bool:
        """Whether sources may be in any slot."""
        return self._first_kinds is None

    @property
    def num_sources(self) -> int:
        """S, slots."""
        return self._num_sources

    @property
    def sample_rate(self) -> int:
        """Hz, of the sounds."""
        return self._bank.sample_rate

    @property
    def seed(self) -> int:
        """Of all draws."""
        return self._seed

    def __len__(self) -> int:
        """Return the number of items."""
        return self._length

    def __getitem__(self, index: int) -> Windows:
        """Render item ``index``."""
        if not 0 <= index < self._length:
            raise IndexError(f"index: expected 0 to {self._length - 1}, actual {index}")
        rng = np.random.default_rng((self._seed, index))
        sounds, slots = self._draw_sounds(rng)
        scene = self._draw_scene(rng, sounds)
        listener = Listener(scene, self._ears, self._bank.sample_rate, self._num_samples)
        audio, sources = [], []
        for _ in range(self._num_poses):
            pose = _draw_pose(rng, scene, self._body)
            start = int(rng.integers(2**20))
            alone = listener.hear_sources(pose, start, [self._draw_end(rng, start) for _ in sounds])  # (n, 2, N)
            background = listener.hear_background(pose, start)
            for _ in range(self._num_levels):
                heard = alone * self._draw_gains(rng, slots)[:, None, None]
                audio.append(np.clip(heard.sum(axis=0) + background, -1.0, 1.0))
                in_slots = np.zeros((self._num_sources, self._num_samples), np.float32)
                np.add.at(in_slots, slots, heard.mean(axis=1))
                sources.append(in_slots)
        return Windows(np.stack(audio), np.stack(sources), self._label(sounds, slots))

    def _draw_sounds(self, rng: np.random.Generator) -> tuple[list[Sound], list[int]]:
        """Sounds, and the slots that they belong into."""
        if self._first_kinds is None:
            return _draw_sounds(rng, self._by_kind, self._num_sources), list(range(self._num_sources))
        num_first = int(rng.choice(_NUM_FIRST, p=_FIRST_SHARES))
        num_other = int(rng.choice(_NUM_OTHER, p=_OTHER_SHARES))
        sounds = _draw_sounds(rng, self._first_by_kind, num_first)
        sounds += _draw_sounds(rng, self._others_by_kind, num_other)
        return sounds, [0] * num_first + [1] * num_other

    def _draw_scene(self, rng: np.random.Generator, sounds: Sequence[Sound]) -> Scene:
        max_order = int(rng.choice(_MAX_ORDERS, p=_ORDER_SHARES))
        is_default = rng.random() < _DEFAULT_ROOM_SHARE
        room = ShoeBox(max_order=max_order) if is_default else RandomShoeBox(max_order=max_order)
        snr_db = rng.uniform(*_BACKGROUND_SNR_DB)
        has_background = rng.random() < _BACKGROUND_SHARE and "speech" in self._bank.kinds
        babble = Babble(snr_db, num_directions=_BACKGROUND_DIRECTIONS) if has_background else None
        sampler = SceneSampler(room, self._bank, num_sources=len(sounds), body=self._body, background=babble)
        scene = sampler.sample(rng)
        starts = [int(rng.integers(len(sound.signal))) for sound in sounds]
        sources = tuple(
            dataclasses.replace(source, sound=sound, start=start)
            for source, sound, start in zip(scene.sources, sounds, starts, strict=True)
        )
        return dataclasses.replace(scene, sources=sources)

    def _draw_end(self, rng: np.random.Generator, start: int) -> float:
        """When a source was switched off, samples: in the window that begins at ``start``, before it, or never."""
        chance, seconds = rng.random(), rng.uniform(*_ENDING_SECONDS)
        return start + round(seconds * self._bank.sample_rate) if chance < _ENDING_SHARE else math.inf

    def _draw_gains(self, rng: np.random.Generator, slots: Sequence[int]) -> np.ndarray:
        """Gains of the sources, linear, (n,) float32; 0 for those that are off."""
        by_kind = self._first_kinds is not None
        ranges = [_OTHER_LEVELS_DB if by_kind and slot == 1 else _LEVELS_DB for slot in slots]
        levels = rng.uniform(*np.transpose(ranges))
        on = rng.random(len(slots)) >= _OFF_SHARE
        return np.where(on, 10 ** (levels / 20), 0.0).astype(np.float32)

    def _label(self, sounds: Sequence[Sound], slots: Sequence[int]) -> str:
        if self._first_kinds is None:
            return " + ".join(
                sorted(("speech" if sound.kind == "speech" else "other" for sound in sounds), reverse=True)
            )
        return f"{slots.count(0)} {' or '.join(self._first_kinds)} + {slots.count(1)} other"


def _by_kind(bank: SoundBank) -> list[list[Sound]]:
    """The sounds of every kind, in the order of ``bank.kinds``."""
    sounds: dict[str, list[Sound]] = {kind: [] for kind in bank.kinds}
    for sound in bank:
        sounds[sound.kind].append(sound)
    return list(sounds.values())


def _draw_sounds(rng: np.random.Generator, by_kind: Sequence[Sequence[Sound]], count: int) -> list[Sound]:
    """Different sounds, of kinds drawn with weights that are the roots of the numbers of their sounds."""
    numbers = [len(sounds) for sounds in by_kind]
    weights = np.sqrt(numbers)
    drawn: list[Sound] = []
    while len(drawn) < count:
        sounds = by_kind[int(rng.choice(len(weights), p=weights / weights.sum()))]
        sound = sounds[int(rng.integers(len(sounds)))]
        if sound not in drawn or sum(numbers) < count:
            drawn.append(sound)
    return drawn


def _draw_pose(rng: np.random.Generator, scene: Scene, body: Body) -> Pose:
    """A pose anywhere in the room, out of reach of every source."""
    while True:
        place = rng.uniform(*scene.room.bounds)
        gaps = np.hypot(*(scene.source_positions[:, :2] - place).T)
        if scene.room.contains(place, body.radius) and (gaps > body.capture_radius).all():
            return Pose(float(place[0]), float(place[1]), float(rng.uniform(-math.pi, math.pi)))


# ---- Loss ------------------------------------------------------------------------------------------------------------


def pairwise_loss(estimates: Tensor, sources: Tensor, waveform_weight: float) -> Tensor:
    """Loss of every estimate as the estimate of every source, in dB.

    A source that is there counts by its negative SI-SDR, Asteroid's, whose gradient teaches best what belongs together
    but says nothing of the level and nothing of silence. These come from the second part, the weighted level of the
    error relative to the source's: ``10 log10((|s - e|^2 + floor) / max(|s|^2, floor))``, per sample, with the floor
    30 dB below the mixture. For a source that is absent it is the level of what was put into its slot.

    Args:
        estimates: (B, S, N), of a mixture at a root mean square of 1.
        sources: (B, S, N).
        waveform_weight: Of the second part.

    Returns:
        (B, S, S); element (b, i, j) is of estimate i and source j.
    """
    floor = 10 ** (INAUDIBLE_DB / 10)
    error = (estimates.unsqueeze(2) - sources.unsqueeze(1)).square().mean(dim=-1)  # (B, S, S)
    power = sources.square().mean(dim=-1).unsqueeze(1)  # (B, 1, S)
    waveform = 10 * torch.log10((error + floor) / power.clamp_min(floor))
    present = _are_present(sources).unsqueeze(1)  # (B, 1, S)
    # More than 30 dB is beyond what can be heard, and a bound keeps easy windows from ruling a batch.
    shape = pairwise_neg_sisdr(estimates, sources).clamp_min(INAUDIBLE_DB)
    return torch.where(present, shape, 0.0) + waveform_weight * waveform


def _are_present(sources: Tensor) -> Tensor:
    """Which sources are there, of a mixture at a root mean square of 1: (B, S, N) -> (B, S) bool."""
    return sources.square().mean(dim=-1) > 10 ** (ABSENT_DB / 10)


def separation_loss(estimates: Tensor, sources: Tensor, any_order: bool, waveform_weight: float) -> Tensor:
    """Mean over batch and sources of `pairwise_loss`: in the order that fits best, or as the slots are.

    Args:
        estimates: (B, S, N), at the scale of the sources.
        sources: (B, S, N).
        any_order: Whether to look for the order with the least loss, item by item: permutation-invariant training (Yu
            et al. 2017), Asteroid's.
        waveform_weight: See `pairwise_loss`.

    Returns:
        A scalar, dB.
    """
    if any_order:
        return PITLossWrapper(pairwise_loss, pit_from="pw_mtx")(estimates, sources, waveform_weight=waveform_weight)
    return pairwise_loss(estimates, sources, waveform_weight).diagonal(dim1=1, dim2=2).mean()


# ---- Training --------------------------------------------------------------------------------------------------------


def set_fourier_filters(model: DPRNNTasNet) -> None:
    """Let the filters of a DPRNNTasNet begin as a windowed Fourier transform and its inverse.

    Filter 2 k - 1 and filter 2 k of L samples are ``sin(pi (n + 1/2) / L)`` times cosine and sine of ``2 pi k n / L``.
    With strides of half a filter and as many filters as samples they are a tight frame: the decoder undoes what the
    encoder does, and the network need not learn that first.

    Args:
        model: Its encoder and decoder are changed; filters beyond those are left, and silent in the decoder.
    """
    encoder, decoder = model.encoder.filterbank._filters, model.decoder.filterbank._filters  # (F, 1, L)
    num_filters, _, length = encoder.shape
    n = torch.arange(length, dtype=torch.float64)
    rows = []
    for k in range(length // 2 + 1):
        is_edge = k in (0, length / 2)
        waves = (torch.cos(2 * math.pi * k * n / length), torch.sin(2 * math.pi * k * n / length))
        rows += [math.sqrt((1 if is_edge else 2) / length) * wave for wave in waves[: 1 if is_edge else 2]]
    filters = (torch.sin(math.pi * (n + 0.5) / length) * torch.stack(rows))[:num_filters].to(encoder)
    with torch.no_grad():
        decoder.zero_()
        for weights in (encoder, decoder):
            weights[: len(filters), 0] = filters


# "compact" with filters that are twice as long: half as many frames for the recurrent networks to go through.
_CONFIG = SeparatorConfig(
    n_filters=64, kernel_size=64, stride=32, bn_chan=64, hid_size=64, chunk_size=25, hop_size=25, n_repeats=2
)


@dataclasses.dataclass(frozen=True)
class Pretraining:
    """How a separator is trained; with the sounds, all that decides what comes out.

    Attributes:
        first_kinds: The kinds of sound that go into the first of two slots, all others into the second; None: every
            source has a slot of its own, in any order.
        config: Of the separator.
        steps: Updates of the weights.
        batch_size: Windows in an update.
        learning_rate: Of Adam; rises over the first 200 steps and falls to 0 with the root of what is left.
        waveform_weight: Of the second part of `pairwise_loss` at the end; rises from a twentieth of that, since the
            network has to tell sounds apart before levels matter.
        max_grad_norm: To which longer gradients are shortened.
        seed: Of the weights, the mixtures and their order.
        group_size: Windows that are rendered, shuffled and cut into batches at a time; a multiple of the batch size.
        num_poses: See `Mixtures`.
        num_levels: See `Mixtures`.
        num_samples: N, samples of a window.

    Raises:
        TypeError: ``first_kinds`` is a string.
        ValueError: A number that is too small, or that is no multiple of what it must be one of.
    """

    first_kinds: tuple[str, ...] | None = None
    config: SeparatorConfig = _CONFIG
    steps: int = 20_000
    batch_size: int = 16
    learning_rate: float = 2e-3
    waveform_weight: float = _WAVEFORM_WEIGHT
    max_grad_norm: float = 5.0
    seed: int = 0
    group_size: int = 256
    num_poses: int = 8
    num_levels: int = 2
    num_samples: int = 4000

    def __post_init__(self) -> None:
        """Refuse what could only fail later."""
        if isinstance(self.first_kinds, str):
            raise TypeError(
                f"first_kinds: expected several strings, such as ({self.first_kinds!r},), actual {self.first_kinds!r}"
            )
        for name in ("steps", "batch_size", "group_size", "num_poses", "num_levels", "num_samples"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name}: expected a whole number of at least 1, actual {value!r}")
        for whole, part in ((self.group_size, self.batch_size), (self.group_size, self.num_poses * self.num_levels)):
            if whole % part:
                raise ValueError(
                    "group_size: expected a multiple of batch_size and of num_poses * num_levels, actual "
                    f"{self.group_size}, {self.batch_size} and {self.num_poses * self.num_levels}"
                )
        if self.num_samples < self.config.kernel_size:
            raise ValueError(
                f"num_samples: expected at least {self.config.kernel_size}, the length of a filter (kernel_size), "
                f"actual {self.num_samples}"
            )

    def settings(self) -> dict[str, Any]:
        """All of it as plain JSON."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    def describe(self, train_sounds: SoundBank) -> dict[str, Any]:
        """What the files of results say of a training, as plain data: its settings and the sounds that it is on."""
        return {"pretraining": self.settings(), "train_sounds": train_sounds.to_config()}

    @property
    def slots(self) -> str | tuple[str, str]:
        """What the separator's slots are to hold, see `Separator`."""
        return ANY_ORDER if self.first_kinds is None else (" or ".join(self.first_kinds), "other")

    def mixtures(self, bank: SoundBank) -> Mixtures:
        """What to train on.

        Raises:
            ValueError: Sounds of another sample rate than the separator's; or as `Mixtures`.
        """
        if bank.sample_rate != self.config.sample_rate:
            raise ValueError(
                f"sounds: expected a bank at {self.config.sample_rate} Hz, the sample_rate of the separator, actual "
                f"{bank.sample_rate} Hz"
            )
        return Mixtures(
            bank,
            self.first_kinds,
            self.config.num_sources,
            seed=self.seed,
            num_poses=self.num_poses,
            num_levels=self.num_levels,
            num_samples=self.num_samples,
        )

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of update ``step``, from 0."""
        return self.learning_rate * min(1.0, (step + 1) / 200) * math.sqrt(1 - step / self.steps)

    def waveform_weight_at(self, step: int) -> float:
        """The weight of update ``step``, from 0."""
        return self.waveform_weight * (0.05 + 0.95 * step / self.steps)


PRETRAININGS: Mapping[str, Pretraining] = {
    # Two sources, either in either slot.
    "any-order": Pretraining(steps=20_000),
    # Speech in the first slot, all else in the second: the slots of AuralNav-Distractors-v0.
    "speech-first": Pretraining(first_kinds=("speech",), steps=20_000),
}
"""How the separators are trained that are loaded by these names."""


def pretrain(
    pretraining: Pretraining,
    train_sounds: SoundBank,
    folder: str | os.PathLike[str],
    validation: Mixtures | None = None,
    num_workers: int = 1,
    checkpoint_seconds: float = 120.0,
    device: torch.device | str = "cpu",
    progress: bool = True,
) -> Separator:
    """Train a separator, or go on with a training that was cut off, or load one that is finished.

    A training that was killed goes on from its last checkpoint with the mixtures, the weights and the state of the
    optimiser that it had there: on the same CPU it ends with the same bits as one without a break. Ctrl-C leaves a
    checkpoint, and no process behind. As always where Python starts processes, scripts call this under
    ``if __name__ == "__main__":``.

    Args:
        pretraining: How.
        train_sounds: On what.
        folder: Where ``separator.pth`` is left, and ``checkpoint.pt`` until then; TensorBoard's logs too.
        validation: What to measure the separator with twenty times in between (`evaluate_separator`), all of it, so
            that it must have a length; of other sounds and with another seed. None: nothing.
        num_workers: Processes that render mixtures ahead of the network; 0 renders in this one.
        checkpoint_seconds: Between two checkpoints.
        device: Where the network trains.
        progress: Print how far it is.

    Returns:
        The separator, in evaluation mode.

    Raises:
        ValueError: The folder holds a training with other settings or sounds; the validation has no end, the seed of
            the training or another number of slots; or as `Mixtures`.
    """
    mixtures = pretraining.mixtures(train_sounds)
    if validation is not None:
        _check_validation(validation, pretraining)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    settings = {**pretraining.settings(), "sounds": sorted(sound.name for sound in train_sounds)}
    _check_settings(folder / _SETTINGS, settings)
    if (folder / _SEPARATOR).exists():
        return Separator.from_file(folder / _SEPARATOR).eval()
    trainer = _Trainer(pretraining, torch.device(device))
    if (folder / _CHECKPOINT).exists():
        trainer.load(folder / _CHECKPOINT)
    saved = time.monotonic()
    report_every = max(pretraining.steps // 20, 1)
    losses: list[float] = []
    # What was logged after the checkpoint comes again.
    with SummaryWriter(folder, purge_step=trainer.step + 1 if trainer.step else None) as writer:
        try:
            for audio, sources in _batches(pretraining, mixtures, trainer.step, num_workers):
                losses.append(trainer.update(audio, sources))
                if trainer.step % report_every == 0 or trainer.step == pretraining.steps:
                    _report(writer, trainer, float(np.mean(losses)), validation, progress)
                    losses.clear()
                if time.monotonic() - saved >= checkpoint_seconds:
                    writer.flush()
                    trainer.save(folder / _CHECKPOINT)
                    saved = time.monotonic()
        except KeyboardInterrupt:
            if trainer.is_whole:
                trainer.save(folder / _CHECKPOINT)
            raise
    separator = trainer.separator.cpu().eval()
    with written_whole(folder / _SECONDS) as path:
        made_by = Provenance.now(pretraining.describe(train_sounds))
        path.write_text(json.dumps({"seconds": trainer.seconds, "made_by": dataclasses.asdict(made_by)}) + "\n")
    separator.save(folder / _SEPARATOR)
    (folder / _CHECKPOINT).unlink(missing_ok=True)
    return separator


def read_seconds(folder: str | os.PathLike[str]) -> float:
    """How long a training that `pretrain` has finished in a folder took.

    Raises:
        FileNotFoundError: There is none.
    """
    return float(json.loads((Path(folder) / _SECONDS).read_text())["seconds"])


_SEPARATOR, _CHECKPOINT, _SETTINGS, _SECONDS = "separator.pth", "checkpoint.pt", "pretraining.json", "seconds.json"


class _Trainer:
    """The separator, its optimiser, and the number of updates so far.

    Attributes:
        is_whole: Whether these belong together: an update that breaks off may have moved some of the weights.
    """

    def __init__(self, pretraining: Pretraining, device: torch.device) -> None:
        self.pretraining = pretraining
        self.separator = Separator.from_config(
            pretraining.config, pretraining.seed, keeps_level=True, slots=pretraining.slots
        )
        set_fourier_filters(self.separator.model)
        self.separator.to(device).train()
        self.optimizer = torch.optim.Adam(self.separator.parameters())
        self.step = 0
        self.is_whole = True
        self.device = device
        self._seconds_before, self._began = 0.0, time.monotonic()

    @property
    def seconds(self) -> float:
        """Of training up to now, without breaks."""
        return self._seconds_before + time.monotonic() - self._began

    def update(self, audio: Tensor, sources: Tensor) -> float:
        """One update of the weights; the loss, dB."""
        settings = self.pretraining
        audio, sources = audio.to(self.device), sources.to(self.device)
        level = rms_level(mono_mixdown(audio)).unsqueeze(-1)  # (B, 1, 1)
        # Half precision takes two thirds of the time where there are units for it; the loss keeps to single.
        is_half = self.device.type == "cpu" and has_bfloat16_units()
        with torch.autocast("cpu", torch.bfloat16, enabled=is_half):
            estimates = self.separator(audio)
        loss = separation_loss(
            estimates.float() / level,
            sources / level,
            settings.first_kinds is None,
            settings.waveform_weight_at(self.step),
        )
        for group in self.optimizer.param_groups:
            group["lr"] = settings.learning_rate_at(self.step)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.separator.parameters(), settings.max_grad_norm)
        self.is_whole = False
        self.optimizer.step()
        self.step += 1
        self.is_whole = True
        return float(loss.detach())

    def save(self, path: Path) -> None:
        content = {
            "separator": self.separator.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        with written_whole(path) as unfinished:
            torch.save(content, unfinished)

    def load(self, path: Path) -> None:
        content = torch.load(path, map_location=self.device, weights_only=True)
        self.separator.load_state_dict(content["separator"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.step = content["step"]
        self._seconds_before, self._began = content["seconds"], time.monotonic()


def _report(writer: SummaryWriter, trainer: _Trainer, loss: float, validation: Mixtures | None, progress: bool) -> None:
    """Measure the separator, log it, and print it if asked to."""
    step, steps = trainer.step, trainer.pretraining.steps
    scores = {}
    if validation is not None:
        quality = evaluate_separator(trainer.separator, validation, len(validation))[-1]
        scores = {"si_sdr_improvement": quality.si_sdr_improvement.mean, "empty_slot": quality.empty_db.mean}
    writer.add_scalar("train/loss", loss, step)
    writer.add_scalar("train/learning_rate", trainer.pretraining.learning_rate_at(step - 1), step)
    for name, value in scores.items():
        writer.add_scalar(f"validation/{name}", value, step)
    if progress:
        measured = "".join(f"  {name} {value:.2f} dB" for name, value in scores.items())
        print(
            f"{step:,} / {steps:,} steps  {trainer.seconds / 60:.1f} min  loss {loss:.2f}{measured}",
            flush=True,
        )


def _batches(
    pretraining: Pretraining, mixtures: Mixtures, first_step: int, num_workers: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches (B, 2, N) and (B, S, N) of the steps from ``first_step`` on."""
    batch_size = pretraining.batch_size
    steps_in_group = pretraining.group_size // batch_size
    items_in_group = pretraining.group_size // (pretraining.num_poses * pretraining.num_levels)
    groups = range(first_step // steps_in_group, -(-pretraining.steps // steps_in_group))
    loader = DataLoader(
        mixtures,
        batch_sampler=[list(range(group * items_in_group, (group + 1) * items_in_group)) for group in groups],
        collate_fn=_collate,
        num_workers=num_workers,
        worker_init_fn=_begin_worker,
        generator=torch.Generator(),  # the loader draws a number that nothing uses, else from torch's global one
    )
    for group, (audio, sources) in zip(groups, loader, strict=True):
        rng = np.random.default_rng((pretraining.seed, 1, group))
        order = torch.from_numpy(rng.permutation(pretraining.group_size))
        for number, chosen in enumerate(order.split(batch_size)):
            step = group * steps_in_group + number
            if first_step <= step < pretraining.steps:
                yield audio[chosen], sources[chosen]


def _begin_worker(_: int) -> None:
    """What a worker does first."""
    # Ctrl-C reaches every process of a terminal; workers are ended by the one that started them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Torch sees to its own threads only. Those of the linear algebra would wait for each other, and for the network's.
    threadpool_limits(1)


def _collate(items: Sequence[Windows]) -> tuple[Tensor, Tensor]:
    audio, sources = (np.concatenate([getattr(item, name) for item in items]) for name in ("audio", "sources"))
    return torch.from_numpy(audio), torch.from_numpy(sources)


def _check_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Write the settings of a new training down; raise a ValueError if those of the one that is there differ."""
    if path.exists():
        found = json.loads(path.read_text())
        differing = sorted(key for key in {*settings, *found} if settings.get(key) != found.get(key))
        if differing:
            expected, actual = ({key: each.get(key) for key in differing} for each in (settings, found))
            if "sounds" in differing:  # the names of all would fill pages
                wanted, there = set(settings["sounds"]), set(found.get("sounds", ()))
                expected["sounds"], actual["sounds"] = sorted(wanted - there)[:3], sorted(there - wanted)[:3]
            raise ValueError(
                f"folder: {path.parent} holds a training with other settings: expected {expected}, actual {actual}; "
                "take another folder or remove it"
            )
        return
    with written_whole(path) as unfinished:
        unfinished.write_text(json.dumps(settings) + "\n")


def _check_validation(validation: Mixtures, pretraining: Pretraining) -> None:
    _check_fit("validation", validation, pretraining.config)
    if len(validation) > _LONGEST_VALIDATION:
        raise ValueError(
            f"validation: expected at most {_LONGEST_VALIDATION:,} items, as all are measured time and again, actual "
            f"{len(validation):,}; give Mixtures a length"
        )
    if validation.seed == pretraining.seed:
        raise ValueError(
            f"validation: expected Mixtures with another seed than the training's, which would draw the same rooms, "
            f"actual {validation.seed}"
        )


# ---- Measurement -----------------------------------------------------------------------------------------------------


# Put into an empty slot, silence counts as this, in dB relative to the mixture.
_NOTHING_DB = -100.0


@dataclasses.dataclass(frozen=True)
class SeparationQuality:
    """How well a separator does on mixtures of one label.

    Attributes:
        label: What is mixed; "all" of them.
        num_windows: Windows in which every slot has a source (no softer than 30 dB below the mixture).
        si_sdr: Mean over their sources, dB (Le Roux et al. 2019).
        si_sdr_mixture: The same of the mixture itself in place of every estimate.
        si_sdr_improvement: Mean of the difference of the two, with its interval over scenes.
        num_empty: Slots without a source, of windows in which another slot has one.
        empty_db: Mean level of what was put into these, relative to the mixture, dB; silence counts as -100 dB.
    """

    label: str
    num_windows: int
    si_sdr: Interval
    si_sdr_mixture: Interval
    si_sdr_improvement: Interval
    num_empty: int
    empty_db: Interval


@dataclasses.dataclass(frozen=True)
class _Scene:
    """What was measured in one scene.

    Attributes:
        label: What is mixed.
        si_sdr: Of every window in which every slot has a source, the mean over these, (n,) float32, dB.
        si_sdr_mixture: Of the mixture in their place, (n,) float32, dB.
        empty_db: Levels of what was put into empty slots, (m,) float32, dB.
    """

    label: str
    si_sdr: np.ndarray
    si_sdr_mixture: np.ndarray
    empty_db: np.ndarray


def evaluate_separator(separator: Separator, mixtures: Mixtures, num_scenes: int) -> list[SeparationQuality]:
    """Measure a separator on the first scenes of some mixtures.

    SI-SDR is measured where every source is there: an absent one has none. What is put into the slot of an absent one
    is measured by its level alone.

    Args:
        separator: On any device.
        mixtures: Of sounds that it was not trained on, with a seed that it was not trained with.
        num_scenes: Items of ``mixtures``; the intervals are over them, as windows of one scene are alike.

    Returns:
        One for every label, sorted, and last one for all.

    Raises:
        ValueError: The mixtures have another number of slots or another sample rate than the separator.
    """
    _check_fit("mixtures", mixtures, separator)
    was_training = separator.training
    separator.eval()
    try:
        measured = [_measure(separator, mixtures[index], mixtures.any_order) for index in range(num_scenes)]
    finally:
        separator.train(was_training)
    labels = sorted({scene.label for scene in measured})
    by_label = [_summarise(label, [scene for scene in measured if scene.label == label]) for label in labels]
    return [*by_label, _summarise("all", measured)]


def _check_fit(argument: str, mixtures: Mixtures, separator: Separator | SeparatorConfig) -> None:
    for name in ("num_sources", "sample_rate"):
        wanted, actual = getattr(separator, name), getattr(mixtures, name)
        if wanted != actual:
            raise ValueError(f"{argument}: expected {name} {wanted}, the separator's, actual {actual}")


def _measure(separator: Separator, windows: Windows, any_order: bool) -> _Scene:
    audio, sources = torch.from_numpy(windows.audio), torch.from_numpy(windows.sources)
    device = next((weights.device for weights in separator.parameters()), audio.device)
    with torch.inference_mode():
        estimates = separator(audio.to(device)).to(audio.device)
    mono = mono_mixdown(audio)
    level = rms_level(mono).unsqueeze(-1)  # (W, 1, 1)
    mixture, sources, estimates = mono.unsqueeze(1) / level, sources / level, estimates / level
    if any_order:  # put them in the order that fits best
        wrapper = PITLossWrapper(pairwise_loss, pit_from="pw_mtx")
        _, estimates = wrapper(estimates, sources, return_est=True, waveform_weight=_WAVEFORM_WEIGHT)
    present = _are_present(sources)  # (W, S)
    full = present.all(dim=1)
    empty = present.any(dim=1, keepdim=True) & ~present
    levels = 10 * torch.log10(estimates.square().mean(dim=-1).clamp_min(10 ** (_NOTHING_DB / 10)))
    return _Scene(
        windows.label,
        _si_sdr(estimates, sources)[full].mean(dim=1).numpy(),
        _si_sdr(mixture.expand_as(sources), sources)[full].mean(dim=1).numpy(),
        levels[empty].numpy(),
    )


def _si_sdr(estimates: Tensor, sources: Tensor) -> Tensor:
    """Of every estimate as the estimate of the source in its slot: (W, S, N), (W, S, N) -> (W, S), dB."""
    return -pairwise_neg_sisdr(estimates, sources).diagonal(dim1=1, dim2=2)


def _summarise(label: str, measured: Sequence[_Scene]) -> SeparationQuality:
    return SeparationQuality(
        label,
        num_windows=sum(len(scene.si_sdr) for scene in measured),
        si_sdr=_mean_over_scenes([scene.si_sdr for scene in measured]),
        si_sdr_mixture=_mean_over_scenes([scene.si_sdr_mixture for scene in measured]),
        si_sdr_improvement=_mean_over_scenes([scene.si_sdr - scene.si_sdr_mixture for scene in measured]),
        num_empty=sum(len(scene.empty_db) for scene in measured),
        empty_db=_mean_over_scenes([scene.empty_db for scene in measured]),
    )


def _mean_over_scenes(values: Sequence[np.ndarray]) -> Interval:
    """The mean of the means of the scenes that have any, and its interval; NaN where none has."""
    means = [each.mean() for each in values if len(each)]
    return bootstrap_mean(means) if means else Interval(math.nan, math.nan, math.nan)
