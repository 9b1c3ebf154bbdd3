"""Mixtures are what the ears hear, the loss is its definition, and a training that was killed ends as if it was not."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import math
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from threadpoolctl import threadpool_info, threadpool_limits
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from auralnav_gym import SUITES
from auralnav_gym.acoustics import Listener
from auralnav_gym.named_ears import as_ears
from auralnav_gym.scene import Scene
from auralnav_gym.sounds import Sound, SoundBank, SyntheticSounds
from auralnav_sb3 import (
    PRETRAININGS,
    Mixtures,
    Pretraining,
    SeparationQuality,
    Separator,
    SeparatorConfig,
    bootstrap_mean,
    evaluate_separator,
    load_separator,
    pairwise_loss,
    pretrain,
    pretraining,
    pretraining_sounds,
    separation_loss,
)

RATE = 8000
KINDS = {"any order": None, "by kind": ("speech",)}
NET = SeparatorConfig(n_filters=16, kernel_size=16, stride=8, bn_chan=8, hid_size=4, chunk_size=10, n_repeats=1)
# Groups of 4 items, 4 updates each; the second group is not used up.
TINY = Pretraining(
    first_kinds=("speech",),
    config=NET,
    steps=6,
    batch_size=4,
    group_size=16,
    num_poses=2,
    num_levels=2,
    num_samples=400,
)


@pytest.fixture(scope="module")
def bank() -> SoundBank:
    """Every kind twice, short."""
    return SyntheticSounds(RATE, seed=5, per_kind=2, seconds=1.0)


# ---- Sounds ----------------------------------------------------------------------------------------------------------


def write_recordings(folder: Path, names: Sequence[str]) -> None:
    rng = np.random.default_rng(0)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / f"{name}.wav", 0.1 * rng.standard_normal(RATE // 4), RATE)


class TestSounds:
    SPEAKERS = tuple(f"speech/{name}/{number}" for name in ("anna", "bert", "carl") for number in range(2))
    OTHERS = tuple(f"{kind}/{number}" for kind in ("drill", "rain") for number in range(5))

    @pytest.fixture(autouse=True)
    def _few_synthetic(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pretraining, "_SYNTHETIC_PER_KIND", 1)

    def test_nothing_is_on_both_sides(self, tmp_path: Path) -> None:
        write_recordings(tmp_path, self.SPEAKERS + self.OTHERS)
        sides = pretraining_sounds(tmp_path, RATE)
        names = [{sound.name.split("@")[0] for sound in side if "/" in sound.name} for side in sides]
        assert not names[0] & names[1]
        assert names[0] | names[1] == {f"{name}.wav" for name in self.SPEAKERS + self.OTHERS}
        speakers = [{name.split("/")[1] for name in side if name.startswith("speech")} for side in names]
        assert sorted(map(len, speakers)) == [1, 2]
        assert not speakers[0] & speakers[1]
        for kind in ("drill", "rain"):
            assert [sum(name.startswith(kind) for name in side) for side in names] == [4, 1]
        signals = [{sound.signal.tobytes() for sound in side} for side in sides]
        assert not signals[0] & signals[1]

    def test_training_recordings_are_played_at_several_speeds(self, tmp_path: Path) -> None:
        write_recordings(tmp_path, self.OTHERS)
        train, test = pretraining_sounds(tmp_path, RATE)
        assert sum("/" in sound.name for sound in train) == 8 * 5
        assert sum("/" in sound.name for sound in test) == 2
        assert not any("@" in sound.name for sound in test)
        assert "speech" in test.kinds  # synthetic: there is none in the folder

    def test_synthetic_test_sounds_are_those_of_the_suites(self) -> None:
        train, test = pretraining_sounds(None, RATE)
        suite = SUITES["two-sources-v1"]
        assert {sound.name: sound.signal.tobytes() for sound in test} == {
            sound.name: sound.signal.tobytes() for sound in suite.test_sounds
        }
        heard = {sound.signal.tobytes() for bank in (suite.train_sounds, suite.test_sounds) for sound in bank}
        assert not heard & {sound.signal.tobytes() for sound in train}

    @pytest.mark.parametrize(
        ("names", "message"),
        [
            (("speech/anna/0", "speech/anna/1", *OTHERS), r"two speakers or more, .* actual: 2 .* in 'speech/anna'"),
            (("speech/0", "speech/1", *OTHERS), r"two speakers or more, .* actual: 2 .* in 'speech'"),
            ((*SPEAKERS, "rain/0"), r"recordings: expected two recordings or more .* actual: 'rain/0.wav' alone"),
        ],
        ids=["one speaker", "no subfolders", "one recording"],
    )
    def test_too_few_recordings(self, names: tuple[str, ...], message: str, tmp_path: Path) -> None:
        write_recordings(tmp_path, names)
        with pytest.raises(ValueError, match=message):
            pretraining_sounds(tmp_path, RATE)

    def test_the_seed_of_the_suites(self) -> None:
        with pytest.raises(ValueError, match="seed: expected any but 0"):
            pretraining_sounds(seed=0)

    @pytest.mark.parametrize("speed", [0.8, 1.25])
    def test_speed(self, speed: float) -> None:
        """A tone is higher by as much as it is shorter, and as loud."""
        tone = (0.1 * np.sin(2 * np.pi * 500 / RATE * np.arange(RATE))).astype(np.float32)
        same, other = pretraining.at_speeds(SoundBank([Sound("tone", "", tone)], RATE), (1.0, speed))
        assert (same.name, other.name) == ("tone", f"tone@{speed}")
        np.testing.assert_array_equal(same.signal, tone)
        assert len(other.signal) == pytest.approx(RATE / speed, abs=1)
        spectrum = np.abs(np.fft.rfft(other.signal))
        assert np.argmax(spectrum) * RATE / len(other.signal) == pytest.approx(500 * speed, abs=2)
        assert np.sqrt(np.square(other.signal[200:-200]).mean()) == pytest.approx(0.1 / math.sqrt(2), rel=0.01)


# ---- Mixtures --------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Rendered:
    """What went into an item: the scene, (pose, start, ends) of every pose, the gains of every window."""

    scene: Scene
    poses: list[tuple[Any, int, list[float]]] = dataclasses.field(default_factory=list)
    gains: list[np.ndarray] = dataclasses.field(default_factory=list)


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[Rendered]:
    """Grows with every item that is rendered."""
    items: list[Rendered] = []

    class Witness(Listener):
        def __init__(self, scene: Scene, *args: Any) -> None:
            super().__init__(scene, *args)
            items.append(Rendered(scene))

        def hear_sources(self, pose: Any, time: int, off_since: Any) -> np.ndarray:
            items[-1].poses.append((pose, time, off_since))
            return super().hear_sources(pose, time, off_since)

    draw_gains = Mixtures._draw_gains

    def note_gains(*args: Any) -> np.ndarray:
        items[-1].gains.append(draw_gains(*args))
        return items[-1].gains[-1]

    monkeypatch.setattr(pretraining, "Listener", Witness)
    monkeypatch.setattr(Mixtures, "_draw_gains", note_gains)
    return items


def hear_again(item: Rendered, window: int, chosen: Sequence[int], gain_db: float = 0.0, **changes: Any) -> np.ndarray:
    """What a listener hears in a window of a scene that has these sources only."""
    pose, start, ends = item.poses[window // 2]
    levels = 20 * np.log10(item.gains[window][chosen]) + gain_db
    sources = [
        dataclasses.replace(item.scene.sources[each], level_db=float(level))
        for each, level in zip(chosen, levels, strict=True)
    ]
    scene = dataclasses.replace(item.scene, sources=tuple(sources), **changes)
    listener = Listener(scene, as_ears("ortf"), RATE, 800)
    return listener.hear(pose, start, [ends[each] for each in chosen])


class TestMixtures:
    @pytest.mark.parametrize("first_kinds", KINDS.values(), ids=KINDS)
    def test_against_scenes_built_by_hand(
        self, first_kinds: tuple[str, ...] | None, bank: SoundBank, rendered: list[Rendered]
    ) -> None:
        """Every window is what a listener hears of a scene with these sources at these levels, and of each alone."""
        mixtures = Mixtures(bank, first_kinds, num_poses=2, num_levels=2, num_samples=800)
        met = set()
        for index in range(14):
            windows = mixtures[index]
            item = rendered[-1]
            assert windows.audio.shape == windows.sources.shape == (4, 2, 800)
            assert windows.audio.dtype == windows.sources.dtype == np.float32
            for window, gains in enumerate(item.gains):
                ends = item.poses[window // 2][2]
                chosen = [number for number, gain in enumerate(gains) if gain > 0]
                in_slots = np.zeros((2, 800))
                for each in chosen:
                    is_first = each == 0 if first_kinds is None else item.scene.sources[each].sound.kind in first_kinds
                    # Far below full scale, where nothing is clipped.
                    alone = 1000 * hear_again(item, window, [each], -60.0, background=None)
                    in_slots[0 if is_first else 1] += alone.mean(axis=0)
                np.testing.assert_allclose(windows.sources[window], in_slots, atol=3e-6)
                if chosen:
                    np.testing.assert_allclose(windows.audio[window], hear_again(item, window, chosen), atol=3e-6)
                if item.scene.background is None and np.abs(windows.audio[window]).max() < 1:
                    mixed = windows.audio[window].mean(axis=0)
                    np.testing.assert_allclose(mixed, windows.sources[window].sum(axis=0), atol=1e-6)
                    met.add("sum")
                met |= {"off"} if len(chosen) < len(gains) else set()
                for end in ends:
                    assert end == math.inf or -0.3 * RATE <= end - item.poses[window // 2][1] <= 0.5 * RATE
                met |= {"ended"} if min(ends) < math.inf else set()
                met |= {"background"} if item.scene.background is not None and chosen else set()
                met |= {"three"} if len(chosen) > 2 else set()
        assert met == {"sum", "off", "ended", "background"} | (set() if first_kinds is None else {"three"})

    @pytest.mark.parametrize("first_kinds", KINDS.values(), ids=KINDS)
    def test_labels(self, first_kinds: tuple[str, ...] | None, bank: SoundBank, rendered: list[Rendered]) -> None:
        mixtures = Mixtures(bank, first_kinds, num_poses=1, num_samples=100)
        labels = set()
        for index in range(20):
            label = mixtures[index].label
            kinds = [source.sound.kind for source in rendered[-1].scene.sources]
            speech, others = kinds.count("speech"), len(kinds) - kinds.count("speech")
            if first_kinds is None:
                assert label == " + ".join(["speech"] * speech + ["other"] * others)
            else:
                assert label == f"{speech} speech + {others} other"
                assert 1 <= speech <= 2
                assert 1 <= others <= 3
            labels.add(label)
        assert len(labels) > 1

    def test_more_slots_in_any_order(self, bank: SoundBank) -> None:
        windows = Mixtures(bank, num_sources=3, num_poses=1, num_samples=100)[0]
        assert windows.sources.shape == (1, 3, 100)
        assert windows.label.count("+") == 2

    def test_items_follow_from_seed_and_index_alone(self, bank: SoundBank) -> None:
        def digest(index: int, seed: int = 0) -> str:
            windows = Mixtures(bank, ("speech",), seed=seed, num_samples=200)[index]
            return hashlib.sha256(windows.audio.tobytes() + windows.sources.tobytes()).hexdigest()

        expected = [digest(index) for index in range(3)]
        mixtures = Mixtures(bank, ("speech",), num_samples=200)
        again = {index: mixtures[index] for index in (2, 0, 2, 1)}
        for index, windows in again.items():
            assert hashlib.sha256(windows.audio.tobytes() + windows.sources.tobytes()).hexdigest() == expected[index]
        assert len({*expected, digest(0, seed=1)}) == 4

        program = (
            "import hashlib; from auralnav_gym.sounds import SyntheticSounds; from auralnav_sb3 import Mixtures;"
            "bank = SyntheticSounds(8000, seed=5, per_kind=2, seconds=1.0);"
            "windows = Mixtures(bank, ('speech',), num_samples=200)[1];"
            "print(hashlib.sha256(windows.audio.tobytes() + windows.sources.tobytes()).hexdigest())"
        )
        environment = {**os.environ, "PYTHONHASHSEED": "7"}
        printed = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True)
        assert printed.stdout.decode().split() == [expected[1]]

    def test_workers_render_the_same_batches(self, bank: SoundBank) -> None:
        mixtures = TINY.mixtures(bank)
        here, there = (list(pretraining._batches(TINY, mixtures, 0, num_workers)) for num_workers in (0, 2))
        assert len(here) == len(there) == TINY.steps
        for one, other in zip(here, there, strict=True):
            assert all(map(torch.equal, one, other))

    def test_batches_are_the_items_of_their_group_shuffled(self, bank: SoundBank) -> None:
        mixtures = TINY.mixtures(bank)
        batches = list(pretraining._batches(TINY, mixtures, 0, 0))
        drawn = [audio.numpy().tobytes() for batch in batches[:4] for audio in batch[0]]
        in_order = [audio.tobytes() for index in range(4) for audio in mixtures[index].audio]
        assert drawn != in_order
        assert sorted(drawn) == sorted(in_order)
        of_second_group = {audio.tobytes() for index in range(4, 8) for audio in mixtures[index].audio}
        assert {audio.numpy().tobytes() for batch in batches[4:] for audio in batch[0]} <= of_second_group
        for first_step in (1, 4, 5):
            later = list(pretraining._batches(TINY, mixtures, first_step, 0))
            assert all(map(torch.equal, itertools.chain(*batches[first_step:]), itertools.chain(*later)))
            assert len(later) == TINY.steps - first_step
        assert list(pretraining._batches(TINY, mixtures, TINY.steps, 0)) == []

    def test_kinds_are_drawn_by_the_root_of_their_numbers(self) -> None:
        noise = np.ones(100, dtype=np.float32)
        numbers = {"few": 1, "many": 16, "some": 4}
        sounds = [Sound(f"{kind}-{index}", kind, noise) for kind, count in numbers.items() for index in range(count)]
        by_kind = pretraining._by_kind(SoundBank(sounds, RATE))
        rng = np.random.default_rng(0)
        drawn = [pretraining._draw_sounds(rng, by_kind, 1)[0].kind for _ in range(4000)]
        for kind, weight in {"few": 1, "some": 2, "many": 4}.items():
            assert drawn.count(kind) / 4000 == pytest.approx(weight / 7, abs=0.03)
        for _ in range(100):
            assert len(set(pretraining._draw_sounds(rng, by_kind, 4))) == 4
        assert len(pretraining._draw_sounds(rng, by_kind, 30)) == 30  # more than there are

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"first_kinds": "speech"}, TypeError, r"first_kinds: expected several strings, such as \('speech',\)"),
            ({"first_kinds": ("cat",)}, ValueError, r"first_kinds: expected one or more of .* actual \['cat'\]"),
            ({"first_kinds": "all"}, ValueError, "first_kinds: expected to leave some of .* for the second slot"),
            ({"first_kinds": ("speech",), "num_sources": 3}, ValueError, "num_sources: expected 2 slots .* actual 3"),
        ],
        ids=["string", "unknown", "nothing left", "slots"],
    )
    def test_bad_arguments(
        self, arguments: dict[str, Any], error: type[Exception], message: str, bank: SoundBank
    ) -> None:
        if arguments["first_kinds"] == "all":
            arguments = {"first_kinds": bank.kinds}
        with pytest.raises(error, match=message):
            Mixtures(bank, **arguments)

    def test_no_such_item(self, bank: SoundBank) -> None:
        with pytest.raises(IndexError, match="index: expected 0 to 2, actual 3"):
            Mixtures(bank, length=3)[3]


class Threads(Dataset[list[int]]):
    """Numbers of threads where an item is made: of torch, and of everything that does linear algebra."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> list[int]:
        return [torch.get_num_threads(), *(pool["num_threads"] for pool in threadpool_info())]


def test_workers_have_one_thread() -> None:
    with threadpool_limits(2):
        loader = DataLoader(Threads(), batch_size=None, num_workers=1, worker_init_fn=pretraining._begin_worker)
        assert max(Threads()[0]) == 2
        assert set(next(iter(loader))) == {1}


# ---- Loss ------------------------------------------------------------------------------------------------------------


def slow_si_sdr(estimate: np.ndarray, source: np.ndarray) -> float:
    """Le Roux et al. 2019, equations 1 and 3, of signals without their means; dB."""
    estimate, source = (each.astype(np.float64) - each.mean(dtype=np.float64) for each in (estimate, source))
    target = np.dot(estimate, source) / np.dot(source, source) * source
    return float(10 * np.log10(np.sum(target**2) / np.sum((estimate - target) ** 2)))


def slow_loss(estimate: np.ndarray, source: np.ndarray, weight: float) -> float:
    """Of one estimate as that of one source."""
    floor = 1e-3
    error, power = (float(np.mean(each.astype(np.float64) ** 2)) for each in (source - estimate, source))
    loss = weight * 10 * math.log10((error + floor) / max(power, floor))
    return loss + max(-slow_si_sdr(estimate, source), -30.0) if power > 1e-3 else loss


def made_up(num_sources: int, items: int = 4, num_samples: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Estimates and sources (B, S, N): good ones and bad ones, some sources soft, absent or silent."""
    rng = np.random.default_rng(num_sources)
    sources = rng.standard_normal((items, num_sources, num_samples))
    sources *= 10 ** (rng.choice([0, -10, -28, -32], (items, num_sources, 1)) / 20)
    sources[0, 0] = 0.0
    sources[0, 1] = rng.standard_normal(num_samples)
    errors = 10 ** (rng.choice([-50, -20, 0], (items, num_sources, 1)) / 20)
    shuffled = np.stack([of_item[rng.permutation(num_sources)] for of_item in sources])
    estimates = shuffled + errors * rng.standard_normal(sources.shape) + 0.05
    return estimates.astype(np.float32), sources.astype(np.float32)


class TestLoss:
    @pytest.mark.parametrize("num_sources", [2, 3])
    @pytest.mark.parametrize("weight", [0.0, 0.3])
    def test_against_the_definition(self, num_sources: int, weight: float) -> None:
        estimates, sources = made_up(num_sources)
        losses = pairwise_loss(torch.from_numpy(estimates), torch.from_numpy(sources), weight)
        expected = [
            [[slow_loss(estimate, source, weight) for source in of_item] for estimate in estimates[item]]
            for item, of_item in enumerate(sources)
        ]
        np.testing.assert_allclose(losses.numpy(), expected, rtol=5e-4, atol=2e-3)

    @pytest.mark.parametrize("num_sources", [2, 3])
    def test_order_against_brute_force(self, num_sources: int) -> None:
        estimates, sources = made_up(num_sources)
        of_orders = [
            [
                np.mean([slow_loss(estimates[item, i], sources[item, j], 0.3) for j, i in enumerate(order)])
                for order in itertools.permutations(range(num_sources))
            ]
            for item in range(len(sources))
        ]
        assert len(set(np.argmin(of_orders, axis=1))) > 1  # not the same for all
        tensors = torch.from_numpy(estimates), torch.from_numpy(sources)
        assert float(separation_loss(*tensors, True, 0.3)) == pytest.approx(
            np.mean(np.min(of_orders, axis=1)), abs=2e-3
        )
        in_order = np.transpose(of_orders)[0].mean()
        assert float(separation_loss(*tensors, False, 0.3)) == pytest.approx(in_order, abs=2e-3)

    @pytest.mark.parametrize("any_order", [True, False])
    @pytest.mark.parametrize("silent", ["all", "one source", "one source, both estimates", "an estimate"])
    def test_silence_is_finite(self, silent: str, any_order: bool) -> None:
        estimates, sources = map(torch.from_numpy, made_up(2))
        if silent == "all":
            estimates, sources = torch.zeros_like(estimates), torch.zeros_like(sources)
        elif silent == "an estimate":
            estimates[:, 1] = 0
        else:
            sources[:, 1] = 0
            estimates = estimates * (silent == "one source")
        estimates.requires_grad_()
        loss = separation_loss(estimates, sources, any_order, 0.3)
        loss.backward()
        assert torch.isfinite(loss)
        assert estimates.grad is not None
        assert torch.isfinite(estimates.grad).all()
        if silent == "all":
            assert loss == 0

    @pytest.mark.parametrize("any_order", [True, False])
    def test_a_leak_into_an_empty_slot_costs_its_level(self, any_order: bool) -> None:
        """By the docstring: 10 log10((leak + floor) / floor), weighted, as one of two slots."""
        rng = np.random.default_rng(0)
        source = torch.from_numpy(rng.standard_normal(2000).astype(np.float32))
        source /= source.square().mean().sqrt()
        sources = torch.stack([source, torch.zeros(2000)])[None]

        def loss(*gains: float) -> float:
            return float(separation_loss(torch.stack([gain * source for gain in gains])[None], sources, any_order, 0.3))

        clean = loss(1.0, 0.0)
        for leak_db in (-40, -30, -20, -10):
            cost = 0.3 / 2 * 10 * math.log10(10 ** (leak_db / 10) / 1e-3 + 1)
            assert loss(1.0, 10 ** (leak_db / 20)) - clean == pytest.approx(cost, abs=1e-3)
        # Either half would be perfect by SI-SDR alone.
        assert loss(0.5, 0.5) > clean + 3


class TestFourierFilters:
    @pytest.mark.parametrize("num_filters", [16, 20], ids=["as many as samples", "more"])
    def test_the_decoder_undoes_the_encoder(self, num_filters: int) -> None:
        model = dataclasses.replace(NET, n_filters=num_filters).build()
        pretraining.set_fourier_filters(model)
        signal = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 1, 400)).astype(np.float32))
        with torch.no_grad():
            restored = model.forward_decoder(model.forward_encoder(signal).unsqueeze(1))
        # Half a filter at either end is covered but once.
        np.testing.assert_allclose(restored[..., 8:392], signal[..., 8:392], atol=1e-5)

    def test_they_are_a_windowed_fourier_transform(self) -> None:
        model = NET.build()
        pretraining.set_fourier_filters(model)
        signal = np.random.default_rng(0).standard_normal(400)
        with torch.no_grad():
            encoded = model.forward_encoder(torch.from_numpy(signal.astype(np.float32))[None, None])[0].numpy()
        window = np.sin(np.pi * (np.arange(16) + 0.5) / 16)
        frames = [window * signal[start : start + 16] for start in range(0, 385, 8)]
        spectrum = np.fft.rfft(frames, norm="ortho").T  # (9, T)
        np.testing.assert_allclose(encoded[0], spectrum[0].real, atol=1e-5)
        np.testing.assert_allclose(encoded[1:15:2], math.sqrt(2) * spectrum[1:8].real, atol=1e-5)
        np.testing.assert_allclose(encoded[2:15:2], -math.sqrt(2) * spectrum[1:8].imag, atol=1e-5)
        np.testing.assert_allclose(encoded[15], spectrum[8].real, atol=1e-5)


# ---- Training --------------------------------------------------------------------------------------------------------


class TestSettings:
    def test_schedules(self) -> None:
        settings = Pretraining(steps=1000, learning_rate=0.002, waveform_weight=0.4)
        rates = {0: 0.002 / 200, 99: 0.001 * math.sqrt(0.901), 199: 0.002 * math.sqrt(0.801), 750: 0.001}
        for step, rate in rates.items():
            assert settings.learning_rate_at(step) == pytest.approx(rate)
        for step, weight in {0: 0.02, 500: 0.21, 1000: 0.4}.items():
            assert settings.waveform_weight_at(step) == pytest.approx(weight)

    @pytest.mark.parametrize(
        "change", [{"learning_rate": 0.1}, {"waveform_weight": 3.0}, {"max_grad_norm": 1e-3}, {"seed": 1}]
    )
    def test_each_changes_what_is_learned(self, change: dict[str, Any], bank: SoundBank) -> None:
        batches = list(pretraining._batches(TINY, TINY.mixtures(bank), 0, 0))[:4]
        weights = []
        for settings in (TINY, dataclasses.replace(TINY, **change)):
            trainer = pretraining._Trainer(settings, torch.device("cpu"))
            for step, batch in enumerate(batches):
                trainer.update(*batch)
                assert trainer.optimizer.param_groups[0]["lr"] == settings.learning_rate_at(step)
            weights.append(torch.cat([each.detach().flatten() for each in trainer.separator.parameters()]))
        assert not torch.equal(*weights)

    def test_plain_json(self) -> None:
        settings = PRETRAININGS["speech-first"].settings()
        assert json.loads(json.dumps(settings)) == settings
        assert settings["first_kinds"] == ["speech"]
        assert settings["config"]["kernel_size"] == 64

    def test_published(self) -> None:
        assert {name: each.first_kinds for name, each in PRETRAININGS.items()} == {
            "any-order": None,
            "speech-first": ("speech",),
        }

    @pytest.mark.parametrize(
        ("changes", "error", "message"),
        [
            ({"steps": 0}, ValueError, "steps: expected a whole number of at least 1, actual 0"),
            ({"batch_size": 2.5}, ValueError, "batch_size: expected a whole number of at least 1, actual 2.5"),
            ({"group_size": 18}, ValueError, "group_size: expected a multiple of .* actual 18, 4 and 4"),
            ({"num_poses": 3}, ValueError, "group_size: expected a multiple of .* actual 16, 4 and 6"),
            ({"num_samples": 15}, ValueError, "num_samples: expected at least 16, .* actual 15"),
            ({"first_kinds": "speech"}, TypeError, "first_kinds: expected several strings"),
        ],
        ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
    )
    def test_bad_values(self, changes: dict[str, Any], error: type[Exception], message: str) -> None:
        with pytest.raises(error, match=message):
            dataclasses.replace(TINY, **changes)

    def test_sounds_of_another_rate(self) -> None:
        sounds = SoundBank([Sound(kind, kind, np.ones(100, np.float32)) for kind in ("speech", "rain")], 16000)
        with pytest.raises(ValueError, match=r"sounds: expected a bank at 8000 Hz, .* actual 16000 Hz"):
            TINY.mixtures(sounds)


class CutOffError(Exception):
    """Stands for a kill."""


def weights_of(separator: nn.Module) -> list[bytes]:
    return [weights.numpy().tobytes() for weights in separator.state_dict().values()]


def train(settings: Pretraining, bank: SoundBank, folder: Path, **kwargs: Any) -> Separator:
    return pretrain(settings, bank, folder, **{"num_workers": 0, "checkpoint_seconds": 0, "progress": False, **kwargs})


def train_until_cut_off(
    settings: Pretraining,
    bank: SoundBank,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    saved_at: int = 3,
    **kwargs: Any,
) -> None:
    """Write a checkpoint after step ``saved_at``, and go on for a step before the end comes."""
    save = pretraining._Trainer.save

    def save_or_die(self: Any, path: Path) -> None:
        if self.step == saved_at:
            save(self, path)
        if self.step == saved_at + 1:
            raise CutOffError

    with monkeypatch.context() as patch:
        patch.setattr(pretraining._Trainer, "save", save_or_die)
        with pytest.raises(CutOffError):
            train(settings, bank, folder, **kwargs)
    assert (folder / "checkpoint.pt").exists()
    assert not (folder / "separator.pth").exists()


@pytest.fixture(scope="module")
def uncut(bank: SoundBank, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[bytes]]:
    """The weights of trainings without a break."""
    return {
        name: weights_of(train(dataclasses.replace(TINY, first_kinds=kinds), bank, tmp_path_factory.mktemp("run")))
        for name, kinds in KINDS.items()
    }


class TestPretrain:
    def test_leaves_a_separator(self, bank: SoundBank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        separator = train(TINY, bank, tmp_path)
        untrained = Separator.from_config(NET, TINY.seed)
        assert weights_of(separator) != weights_of(untrained)
        assert not separator.training
        names = {path.name for path in tmp_path.iterdir() if "tfevents" not in path.name}
        assert names == {"separator.pth", "pretraining.json", "seconds.json"}
        assert json.loads((tmp_path / "seconds.json").read_text())["seconds"] > 0

        loaded = load_separator(tmp_path / "separator.pth")
        assert weights_of(loaded) == weights_of(separator)
        assert loaded.keeps_level
        assert loaded.slots == ("speech", "other")
        monkeypatch.setattr(pretraining, "_Trainer", None)  # nothing is trained again
        again = train(TINY, bank, tmp_path)
        assert weights_of(again) == weights_of(separator)
        assert not again.training

    @pytest.mark.parametrize(
        ("order", "saved_at", "num_workers"),
        [("by kind", 3, 0), ("by kind", 3, 1), ("by kind", 4, 0), ("any order", 1, 0)],
        ids=["within a group", "with a worker", "at the end of a group", "any order"],
    )
    def test_goes_on_as_if_it_had_not_been_cut_off(
        self,
        order: str,
        saved_at: int,
        num_workers: int,
        bank: SoundBank,
        uncut: dict[str, list[bytes]],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        settings = dataclasses.replace(TINY, first_kinds=KINDS[order])
        train_until_cut_off(settings, bank, tmp_path, monkeypatch, saved_at, num_workers=num_workers)
        np.random.seed(saved_at)  # noqa: NPY002 (what other programs leave global generators at is none of its concern)
        torch.manual_seed(saved_at)
        updates = []
        update = pretraining._Trainer.update
        monkeypatch.setattr(pretraining._Trainer, "update", lambda *args: updates.append(1) or update(*args))
        assert weights_of(train(settings, bank, tmp_path, num_workers=num_workers)) == uncut[order]
        assert len(updates) == TINY.steps - saved_at
        assert not (tmp_path / "checkpoint.pt").exists()

    def test_a_kill_after_the_last_step(
        self, bank: SoundBank, uncut: dict[str, list[bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def die(self: Separator, path: Path) -> None:
            raise CutOffError

        with monkeypatch.context() as patch:
            patch.setattr(Separator, "save", die)
            with pytest.raises(CutOffError):
                train(TINY, bank, tmp_path)
        assert weights_of(train(TINY, bank, tmp_path)) == uncut["by kind"]

    def test_ctrl_c_leaves_a_checkpoint_and_no_process(
        self, bank: SoundBank, uncut: dict[str, list[bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        update = pretraining._Trainer.update

        def interrupted(self: Any, *args: Any) -> float:
            if self.step == 3:
                raise KeyboardInterrupt
            return update(self, *args)

        with monkeypatch.context() as patch:
            patch.setattr(pretraining._Trainer, "update", interrupted)
            with pytest.raises(KeyboardInterrupt):
                train(TINY, bank, tmp_path, checkpoint_seconds=1000, num_workers=1)
        assert multiprocessing.active_children() == []
        assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 3
        assert weights_of(train(TINY, bank, tmp_path)) == uncut["by kind"]

    def test_ctrl_c_within_an_update_leaves_the_checkpoint_before(
        self, bank: SoundBank, uncut: dict[str, list[bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Weights that have moved in a step that is not counted would move twice."""
        step, calls = torch.optim.Adam.step, []

        def interrupted(self: torch.optim.Adam) -> None:
            step(self)
            calls.append(1)
            if len(calls) == 3:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(torch.optim.Adam, "step", interrupted)
            with pytest.raises(KeyboardInterrupt):
                train(TINY, bank, tmp_path)
        assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 2
        assert weights_of(train(TINY, bank, tmp_path)) == uncut["by kind"]

    def test_validation_is_logged_and_changes_nothing(
        self,
        bank: SoundBank,
        uncut: dict[str, list[bytes]],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: Any,
    ) -> None:
        validation = Mixtures(bank, ("speech",), seed=1, length=3, num_samples=2000)
        train_until_cut_off(TINY, bank, tmp_path, monkeypatch, validation=validation)
        assert capsys.readouterr().out == ""
        separator = train(TINY, bank, tmp_path, validation=validation, progress=True)
        assert weights_of(separator) == uncut["by kind"]

        logs = EventAccumulator(str(tmp_path)).Reload()
        for name in ("train/loss", "train/learning_rate", "validation/si_sdr_improvement", "validation/empty_slot"):
            assert [event.step for event in logs.Scalars(name)] == [1, 2, 3, 4, 5, 6]
        quality = evaluate_separator(separator, validation, 3)[-1]
        (last,) = logs.Scalars("validation/si_sdr_improvement")[-1:]
        assert last.value == pytest.approx(quality.si_sdr_improvement.mean, abs=1e-5)
        lines = capsys.readouterr().out.splitlines()
        assert [line.split("  ")[0] for line in lines] == [f"{step} / 6 steps" for step in (4, 5, 6)]
        assert f"si_sdr_improvement {quality.si_sdr_improvement.mean:.2f} dB" in lines[-1]
        assert f"empty_slot {quality.empty_db.mean:.2f} dB" in lines[-1]

    @pytest.mark.parametrize("finished", [True, False], ids=["finished", "cut off"])
    def test_refuses_the_folder_of_another_training(
        self, finished: bool, bank: SoundBank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if finished:
            train(TINY, bank, tmp_path)
        else:
            train_until_cut_off(TINY, bank, tmp_path, monkeypatch)
        message = (
            r"holds a training with other settings: expected {'seed': 1, 'steps': 9}, actual {'seed': 0, 'steps': 6}"
        )
        with pytest.raises(ValueError, match=message):
            train(dataclasses.replace(TINY, seed=1, steps=9), bank, tmp_path)
        fewer = SoundBank(bank[1:], RATE)
        with pytest.raises(
            ValueError, match=rf"expected {{'sounds': \[\]}}, actual {{'sounds': \['{bank[0].name}'\]}}"
        ):
            train(TINY, fewer, tmp_path)

    def test_a_mistake_leaves_nothing_behind(self, bank: SoundBank, tmp_path: Path) -> None:
        """Else the folder would refuse the right settings afterwards."""
        folder = tmp_path / "run"
        with pytest.raises(ValueError, match="first_kinds"):
            train(dataclasses.replace(TINY, first_kinds=("cat",)), bank, folder)
        with pytest.raises(ValueError, match=r"validation: expected num_sources 2, the separator's, actual 3"):
            train(TINY, bank, folder, validation=Mixtures(bank, num_sources=3, seed=1, length=3))
        with pytest.raises(ValueError, match=r"validation: expected at most 10,000 items, .* actual 2,147,483,648"):
            train(TINY, bank, folder, validation=Mixtures(bank, ("speech",), seed=1))
        with pytest.raises(ValueError, match=r"validation: expected Mixtures with another seed .* actual 0"):
            train(TINY, bank, folder, validation=Mixtures(bank, ("speech",), seed=0, length=3))
        assert not folder.exists()


def two_bands(rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor]:
    """Audio (B, 2, N) and sources (B, 2, N): noise below 1 kHz and above 2 kHz; one alone in every fifth."""
    spectra = np.fft.rfft(rng.standard_normal((count, 2, 800)))
    frequencies = np.fft.rfftfreq(800, 1 / RATE)
    spectra[:, 0, frequencies > 1000] = 0
    spectra[:, 1, frequencies < 2000] = 0
    sources = np.fft.irfft(spectra)
    sources *= 0.1 / np.sqrt(np.square(sources).mean(axis=-1, keepdims=True))
    for number, item in enumerate(range(0, count, 5)):
        sources[item, number % 2] = 0
    audio = np.repeat(sources.sum(axis=1, keepdims=True), 2, axis=1)
    return torch.from_numpy(audio.astype(np.float32)), torch.from_numpy(sources.astype(np.float32))


class TestLearning:
    def test_bands_are_told_apart_and_an_empty_slot_stays_empty(self) -> None:
        """On windows that were not in the training, against the mixture and in its own slot."""
        rng = np.random.default_rng(0)
        settings = Pretraining(
            first_kinds=("low",),
            config=dataclasses.replace(NET, hid_size=8),
            steps=100,
            learning_rate=0.03,
            num_samples=800,
            max_grad_norm=1e3,
        )
        trainer = pretraining._Trainer(settings, torch.device("cpu"))
        losses = [trainer.update(*two_bands(rng, 10)) for _ in range(settings.steps)]
        assert np.isfinite(losses).all()
        audio, sources = two_bands(rng, 40)
        with torch.no_grad():
            estimates = trainer.separator.eval()(audio)
        mixture = audio.mean(dim=1)
        gains, leaks = [], []
        for item, slot in itertools.product(range(40), range(2)):
            of_slot = estimates[item, slot].numpy()
            if sources[item, slot].any() and sources[item, 1 - slot].any():
                source = sources[item, slot].numpy()
                gains.append(slow_si_sdr(of_slot, source) - slow_si_sdr(mixture[item].numpy(), source))
            elif not sources[item, slot].any():
                leaks.append(10 * np.log10(np.square(of_slot).mean() / np.square(mixture[item].numpy()).mean()))
        assert (len(gains), len(leaks)) == (64, 8)
        assert np.mean(gains) > 10
        assert np.mean(leaks) < -15

    def test_silence_moves_no_weight(self, bank: SoundBank) -> None:
        trainer = pretraining._Trainer(TINY, torch.device("cpu"))
        before = weights_of(trainer.separator)
        assert trainer.update(torch.zeros(4, 2, 400), torch.zeros(4, 2, 400)) == 0
        assert weights_of(trainer.separator) == before
        # Beside others it leaves them to teach.
        audio, sources = next(pretraining._batches(TINY, TINY.mixtures(bank), 0, 0))
        audio[0], sources[0] = 0, 0
        sources[1, 1] = 0
        assert math.isfinite(trainer.update(audio, sources))
        assert weights_of(trainer.separator) != before
        assert all(torch.isfinite(weights).all() for weights in trainer.separator.parameters())


# ---- Measurement -----------------------------------------------------------------------------------------------------


class Known(nn.Module):
    """Has an answer to every window of the first scenes of some mixtures: a function of audio and sources."""

    num_sources, sample_rate = 2, RATE

    def __init__(self, mixtures: Mixtures, num_scenes: int, answer: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.answers = {}
        for index in range(num_scenes):
            windows = mixtures[index]
            for audio, sources in zip(windows.audio, windows.sources, strict=True):
                self.answers[audio.tobytes()] = answer(torch.from_numpy(audio), torch.from_numpy(sources))

    def forward(self, audio: Tensor) -> Tensor:
        assert not self.training
        return torch.stack([self.answers[each.numpy().tobytes()] for each in audio])


ANSWERS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "perfect": lambda _, sources: sources,
    "swapped": lambda _, sources: sources.flip(0),
    "leaking": lambda audio, sources: sources + 0.1 * audio.mean(dim=0),
    "crossed": lambda audio, sources: 0.3 * sources + 0.5 * sources.flip(0) + 0.2 * audio,
}


def slow_quality(mixtures: Mixtures, num_scenes: int, separator: nn.Module) -> dict[str, Any]:
    """`SeparationQuality` of all labels together, from its definition."""
    after, before, levels = [], [], []  # for every scene a list
    for index in range(num_scenes):
        windows = mixtures[index]
        after.append([])
        before.append([])
        levels.append([])
        estimates = separator(torch.from_numpy(windows.audio)).numpy()
        for audio, sources, separated in zip(windows.audio, windows.sources, estimates, strict=True):
            mixture = audio.mean(axis=0)
            level = max(np.sqrt(np.mean(mixture**2)), 1e-6)
            mixture, sources, separated = mixture / level, sources / level, separated / level
            if mixtures.any_order:
                separated = min(
                    (separated, separated[::-1]),
                    key=lambda each: sum(slow_loss(*pair, 0.3) for pair in zip(each, sources, strict=True)),
                )
            powers = np.mean(sources**2, axis=1)
            if (powers > 1e-3).all():
                after[-1].append(np.mean([slow_si_sdr(*pair) for pair in zip(separated, sources, strict=True)]))
                before[-1].append(np.mean([slow_si_sdr(mixture, source) for source in sources]))
            elif (powers > 1e-3).any():
                (empty,) = np.flatnonzero(powers <= 1e-3)
                levels[-1].append(max(10 * np.log10(np.mean(separated[empty] ** 2) + 1e-30), -100))

    gains = [np.subtract(*each).tolist() for each in zip(after, before, strict=True)]
    return {
        "num_windows": sum(map(len, after)),
        "num_empty": sum(map(len, levels)),
        **{
            name: bootstrap_mean([np.mean(each) for each in values if each])
            for name, values in {
                "si_sdr": after,
                "si_sdr_mixture": before,
                "si_sdr_improvement": gains,
                "empty_db": levels,
            }.items()
        },
    }


@pytest.fixture(scope="module", params=KINDS.values(), ids=KINDS)
def mixtures(request: pytest.FixtureRequest, bank: SoundBank) -> Mixtures:
    return Mixtures(bank, request.param, seed=1, num_poses=3, num_samples=1000)


class TestEvaluateSeparator:
    NUM_SCENES = 12

    def measure(self, mixtures: Mixtures, separator: Any) -> SeparationQuality:
        return evaluate_separator(separator, mixtures, self.NUM_SCENES)[-1]

    @pytest.mark.parametrize("answer", ["leaking", "crossed"])
    def test_against_the_definition(self, answer: str, mixtures: Mixtures) -> None:
        separator = Known(mixtures, self.NUM_SCENES, ANSWERS[answer])
        quality = self.measure(mixtures, separator)
        for name, expected in slow_quality(mixtures, self.NUM_SCENES, separator.eval()).items():
            actual = getattr(quality, name)
            if isinstance(expected, int):
                assert actual == expected > 3, name
            else:
                bounds = dataclasses.astuple(expected)
                assert dataclasses.astuple(actual) == pytest.approx(bounds, abs=0.01), name

    def test_a_perfect_one(self, mixtures: Mixtures) -> None:
        quality = self.measure(mixtures, Known(mixtures, self.NUM_SCENES, ANSWERS["perfect"]))
        assert quality.si_sdr.low > 60
        assert quality.si_sdr_mixture.high < 10
        assert quality.empty_db.high <= -30  # as loud as an absent source may be

    def test_swapped_slots(self, mixtures: Mixtures) -> None:
        perfect, swapped = (
            self.measure(mixtures, Known(mixtures, self.NUM_SCENES, ANSWERS[answer]))
            for answer in ("perfect", "swapped")
        )
        if mixtures.any_order:
            assert swapped == perfect
        else:
            assert swapped.si_sdr.high < 0
            assert swapped.empty_db.mean > -10
            assert swapped.si_sdr_mixture == perfect.si_sdr_mixture

    def test_no_separation_gains_nothing_and_fills_empty_slots(self, mixtures: Mixtures) -> None:
        quality = self.measure(mixtures, load_separator("none"))
        assert quality.si_sdr_improvement.low == pytest.approx(0, abs=1e-4)
        assert quality.si_sdr_improvement.high == pytest.approx(0, abs=1e-4)
        assert dataclasses.astuple(quality.empty_db) == pytest.approx((0, 0, 0), abs=1e-4)

    def test_silence_in_an_empty_slot(self, mixtures: Mixtures) -> None:
        def without_absent(audio: Tensor, sources: Tensor) -> Tensor:
            power = audio.mean(dim=0).square().mean()
            return sources * (sources.square().mean(dim=-1, keepdim=True) > 1e-3 * power)

        quality = self.measure(mixtures, Known(mixtures, self.NUM_SCENES, without_absent))
        assert dataclasses.astuple(quality.empty_db) == pytest.approx((-100, -100, -100))

    def test_labels(self, mixtures: Mixtures) -> None:
        qualities = evaluate_separator(load_separator("none"), mixtures, self.NUM_SCENES)
        labels = [mixtures[index].label for index in range(self.NUM_SCENES)]
        assert [quality.label for quality in qualities] == [*sorted(set(labels)), "all"]
        assert sum(quality.num_windows for quality in qualities[:-1]) == qualities[-1].num_windows
        assert sum(quality.num_empty for quality in qualities[:-1]) == qualities[-1].num_empty
        assert len(qualities) > 2

    def test_nothing_to_measure(self, bank: SoundBank, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pretraining, "_OFF_SHARE", 1.0)
        quality = evaluate_separator(load_separator("none"), Mixtures(bank, num_samples=200), 2)[-1]
        assert (quality.num_windows, quality.num_empty) == (0, 0)
        assert math.isnan(quality.si_sdr.mean)
        assert math.isnan(quality.empty_db.mean)

    def test_training_mode_is_as_it_was(self, bank: SoundBank) -> None:
        separator = Separator.from_config(NET)
        mixtures = Mixtures(bank, num_poses=1, num_samples=200)
        for mode in (True, False):
            separator.train(mode)
            evaluate_separator(separator, mixtures, 1)
            assert all(module.training == mode for module in separator.modules())

    def test_mixtures_of_another_kind(self, bank: SoundBank) -> None:
        with pytest.raises(ValueError, match="mixtures: expected num_sources 3, the separator's, actual 2"):
            evaluate_separator(load_separator("none", num_sources=3), Mixtures(bank), 1)
        with pytest.raises(ValueError, match="mixtures: expected sample_rate 16000, the separator's, actual 8000"):
            evaluate_separator(load_separator("none", sample_rate=16000), Mixtures(bank), 1)
