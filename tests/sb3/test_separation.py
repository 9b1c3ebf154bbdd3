"""The separator's level, scale and independence of batch items; its files, good and bad."""

from __future__ import annotations

import dataclasses
import os
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from asteroid.models import ConvTasNet, DPRNNTasNet
from stable_baselines3.common.utils import polyak_update
from torch import Tensor, nn

import auralnav_sb3.separation
from auralnav_gym import SyntheticSounds
from auralnav_sb3.pretraining import PRETRAININGS, Mixtures, evaluate_separator
from auralnav_sb3.separation import (
    ANY_ORDER,
    CONFIGS,
    SEPARATORS,
    Separator,
    SeparatorConfig,
    dprnn_inference,
    has_fast_inference,
    load_separator,
    rms_level,
    save_separator,
    scale_to_mixture,
    separator_card,
    separator_names,
)
from auralnav_sb3.shelf import Shelf

NUM_SAMPLES = 800


class Bands(nn.Module):
    """A perfect separator of what lies below and above 1 kHz, with the scale and the sign that SI-SDR leaves open."""

    def __init__(self, gains: tuple[float, float] = (1.0, 1.0)) -> None:
        super().__init__()
        self.gains = gains

    def forward(self, wav: Tensor) -> Tensor:
        spectrum = torch.fft.rfft(wav)
        low = torch.fft.rfftfreq(wav.shape[-1], 1 / 8000).to(wav) < 1000
        bands = torch.stack((spectrum * low, spectrum * ~low), dim=1)
        return torch.fft.irfft(bands, n=wav.shape[-1]) * torch.tensor(self.gains).to(wav)[:, None]


def noise(*shape: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def equal_weights(first: nn.Module, second: nn.Module) -> bool:
    first_weights, second_weights = first.state_dict(), second.state_dict()
    return first_weights.keys() == second_weights.keys() and all(
        torch.equal(first_weights[name], second_weights[name]) for name in first_weights
    )


def model_args(separator: Any) -> dict[str, Any]:
    return separator.model.get_model_args()


@pytest.fixture
def separator(tiny: SeparatorConfig) -> Any:
    return Separator.from_config(tiny, seed=1)


# ==== Architecture ====


@pytest.mark.parametrize(("name", "millions"), [("full", 3.65), ("compact", 0.33)])
def test_named_configurations_have_the_documented_size(name: str, millions: float) -> None:
    separator = Separator.from_config(name)
    assert round(sum(weight.numel() for weight in separator.parameters()) / 1e6, 2) == millions


def test_full_is_asteroids_default() -> None:
    assert model_args(Separator.from_config("full")) == DPRNNTasNet(n_src=2).get_model_args()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_sources", 3),
        ("sample_rate", 16000),
        ("n_filters", 12),
        ("kernel_size", 20),
        ("stride", 4),
        ("bn_chan", 6),
        ("hid_size", 5),
        ("chunk_size", 14),
        ("hop_size", 3),
        ("n_repeats", 2),
        ("norm_type", "cLN"),
        ("mask_act", "relu"),
        ("bidirectional", False),
        ("rnn_type", "GRU"),
    ],
)
def test_every_setting_reaches_the_network(tiny: SeparatorConfig, name: str, value: Any) -> None:
    separator = Separator.from_config(dataclasses.replace(tiny, **{name: value}))
    arguments = model_args(separator)
    assert arguments["n_src" if name == "num_sources" else name] == value
    assert separator(noise(2, 2, NUM_SAMPLES)).shape == (2, 3 if name == "num_sources" else 2, NUM_SAMPLES)


def test_the_chunks_of_compact_do_not_overlap() -> None:
    arguments = model_args(Separator.from_config("compact"))
    assert arguments["hop_size"] == arguments["chunk_size"] == 50


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_sources": 0}, "num_sources: expected a whole number of at least 1, actual 0"),
        ({"n_filters": 8.0}, r"n_filters: expected a whole number of at least 1, actual 8\.0"),
        ({"stride": 17}, "stride: expected at most kernel_size = 16, actual 17"),
        ({"hop_size": 101}, "hop_size: expected 1 to chunk_size = 100, actual 101"),
    ],
    ids=["no-source", "not-whole", "gaps-between-frames", "gaps-between-chunks"],
)
def test_bad_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        SeparatorConfig(**settings)


def test_weights_depend_on_the_seed_alone_and_leave_the_global_generator(tiny: SeparatorConfig) -> None:
    torch.manual_seed(11)
    before = torch.get_rng_state()
    first = Separator.from_config(tiny, seed=5)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(12)
    assert equal_weights(first, Separator.from_config(tiny, seed=5))
    assert not equal_weights(first, Separator.from_config(tiny, seed=6))


# ==== Separation ====


@pytest.mark.parametrize("frozen", [False, True], ids=["learning", "frozen"])
def test_batch_items_do_not_interact(separator: Any, frozen: bool) -> None:
    if frozen:
        separator.eval().requires_grad_(False)
    quiet, loud, silent = (
        noise(1, 2, NUM_SAMPLES),
        50 * noise(1, 2, NUM_SAMPLES, seed=1),
        torch.zeros(1, 2, NUM_SAMPLES),
    )
    with torch.set_grad_enabled(not frozen):
        beside_loud = separator(torch.cat((quiet, loud)))[0]
        beside_silence = separator(torch.cat((quiet, silent)))[0]
        alone = separator(quiet)[0]
    assert torch.equal(beside_loud, beside_silence)
    torch.testing.assert_close(beside_loud, alone)


@pytest.mark.parametrize("gain", [1e-3, 20.0])
def test_level_of_the_input_is_that_of_the_output(separator: Any, gain: float) -> None:
    audio = noise(3, 2, NUM_SAMPLES)
    torch.testing.assert_close(separator(gain * audio), gain * separator(audio), rtol=1e-4, atol=1e-5 * gain)


def test_the_model_hears_every_window_at_the_same_level() -> None:
    class Recorder(Bands):
        def forward(self, wav: Tensor) -> Tensor:
            self.heard = wav
            return super().forward(wav)

    recorder = Recorder()
    gains = torch.tensor([1e-4, 1.0, 30.0])[:, None, None]
    Separator(recorder, 2, 8000)(gains * noise(3, 2, NUM_SAMPLES))
    torch.testing.assert_close(recorder.heard.square().mean(dim=-1), torch.ones(3))


def test_silence_stays_silent_and_gradients_finite(separator: Any) -> None:
    audio = torch.zeros(2, 2, NUM_SAMPLES, requires_grad=True)
    sources = separator(audio)
    assert torch.equal(sources, torch.zeros(2, 2, NUM_SAMPLES))
    sources.square().sum().backward()
    for tensor in (audio, *separator.parameters()):
        assert tensor.grad is not None
        assert torch.isfinite(tensor.grad).all()


def test_silence_stays_silent_through_a_model_that_invents_sound() -> None:
    class Hum(nn.Module):
        def forward(self, wav: Tensor) -> Tensor:
            return torch.ones(wav.shape[0], 2, wav.shape[1])

    assert torch.equal(Separator(Hum(), 2, 8000)(torch.zeros(1, 2, NUM_SAMPLES)), torch.zeros(1, 2, NUM_SAMPLES))


@pytest.mark.parametrize("gains", [(1.0, 1.0), (-3.0, 0.01), (1e-3, -250.0)], ids=str)
def test_sources_come_out_at_the_scale_of_the_mixture(gains: tuple[float, float]) -> None:
    """Truth: two tones in different bands, at both ears with different gains; wanted is the mean over the ears."""
    time = torch.arange(NUM_SAMPLES) / 8000
    low, high = torch.sin(2 * torch.pi * 400 * time), torch.sin(2 * torch.pi * 2000 * time)
    audio = torch.stack((0.3 * low + 0.02 * high, 0.1 * low + 0.06 * high))[None]
    expected = torch.stack((0.2 * low, 0.04 * high))[None]
    torch.testing.assert_close(Separator(Bands(gains), 2, 8000)(audio), expected, rtol=1e-4, atol=1e-5)


def test_a_model_that_keeps_the_level_is_left_alone() -> None:
    """Truth: the bands of the mean over the ears, each with the model's own gain, which no scale then takes away."""
    time = torch.arange(NUM_SAMPLES) / 8000
    low, high = torch.sin(2 * torch.pi * 400 * time), torch.sin(2 * torch.pi * 2000 * time)
    audio = torch.stack((0.3 * low + 0.02 * high, 0.1 * low + 0.06 * high))[None]
    separator = Separator(Bands((0.5, -3.0)), 2, 8000, keeps_level=True)
    torch.testing.assert_close(separator(audio), torch.stack((0.1 * low, -0.12 * high))[None], rtol=1e-4, atol=1e-5)
    assert torch.equal(separator(torch.zeros(1, 2, NUM_SAMPLES)), torch.zeros(1, 2, NUM_SAMPLES))


def test_scale_is_the_least_squares_gain() -> None:
    estimates = noise(2, 3, 50, seed=1).double()
    mixture = noise(2, 50, seed=2).double()
    scaled = scale_to_mixture(estimates, mixture)
    for b in range(2):
        for s in range(3):
            gain = np.linalg.lstsq(estimates[b, s].numpy()[:, None], mixture[b].numpy(), rcond=None)[0]
            np.testing.assert_allclose(scaled[b, s].numpy(), gain * estimates[b, s].numpy())
    assert torch.all(scaled.square().sum(dim=-1) <= mixture.square().sum(dim=-1, keepdim=True))


def test_an_estimate_unlike_the_mixture_is_turned_down_to_nothing() -> None:
    time = torch.arange(NUM_SAMPLES) / 8000
    mixture, stranger = torch.sin(2 * torch.pi * 400 * time), torch.sin(2 * torch.pi * 1000 * time)
    scaled = scale_to_mixture(torch.stack((mixture, stranger))[None], mixture[None])
    torch.testing.assert_close(scaled, torch.stack((mixture, torch.zeros_like(mixture)))[None], rtol=1e-4, atol=1e-5)


def test_gradients_of_level_and_scale() -> None:
    signal, estimates = noise(2, 7).double(), noise(2, 3, 7, seed=1).double()
    estimates[1, 0] = 0
    assert torch.autograd.gradcheck(rms_level, signal.requires_grad_())
    estimates_and_mixture = (estimates[:1].requires_grad_(), signal[:1].detach().requires_grad_())
    assert torch.autograd.gradcheck(scale_to_mixture, estimates_and_mixture)
    estimates.requires_grad_()
    scale_to_mixture(estimates, torch.zeros(2, 7, dtype=torch.float64)).sum().backward()
    assert estimates.grad is not None
    assert torch.isfinite(estimates.grad).all()


def test_double_precision_follows_the_input(separator: Any) -> None:
    assert separator.double()(noise(1, 2, NUM_SAMPLES).double()).dtype == torch.float64


# ==== Bad audio, bad models ====


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, NUM_SAMPLES), r"audio: expected shape \(B, 2, N\), left and right ear, actual \(B, 800\)"),
        ((1, 1, NUM_SAMPLES), r"audio: expected shape \(B, 2, N\), left and right ear, actual \(B, 1, 800\)"),
        ((1, NUM_SAMPLES, 2), r"audio: expected shape \(B, 2, N\), left and right ear, actual \(B, 800, 2\)"),
        ((1, 1, 2, NUM_SAMPLES), r"audio: expected shape \(B, 2, N\), left and right ear, actual \(B, 1, 2, 800\)"),
        ((1, 2, 15), "audio: expected at least 16 samples, the length of an encoder filter, actual N = 15; .*"),
    ],
    ids=["no-batch", "mono", "channels-last", "four-axes", "too-short"],
)
def test_audio_of_the_wrong_shape(separator: Any, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        separator(torch.zeros(shape))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("ear", [0, 1])
def test_audio_that_is_not_finite(separator: Any, ear: int, value: float) -> None:
    audio = noise(3, 2, NUM_SAMPLES)
    audio[1, ear, 17] = value
    with pytest.raises(
        ValueError, match=r"^audio: expected finite samples, actual NaN or infinity in items \[1\] of the batch$"
    ):
        separator(audio)


def test_a_model_with_another_number_of_sources() -> None:
    with pytest.raises(
        ValueError, match=r"^model: expected Bands to put out \(B, S, N\) = \(1, 3, 800\), actual \(1, 2, 800\)$"
    ):
        Separator(Bands(), 3, 8000)(noise(1, 2, NUM_SAMPLES))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"num_sources": 3}, ValueError, "num_sources: expected the model's own 2, actual 3; leave it out"),
        ({"sample_rate": 16000}, ValueError, "sample_rate: expected the model's own 8000, actual 16000; leave it out"),
        ({"model": Bands()}, ValueError, "num_sources and sample_rate: a Bands does not tell them, .*; give both"),
        ({"model": "compact"}, TypeError, r"model: expected a torch\.nn\.Module, actual str"),
        (
            {"slots": ["speech"]},
            ValueError,
            r"slots: expected .* a name for each of 2 sources, actual \['speech'\]",
        ),
        ({"slots": "speech"}, ValueError, "slots: expected None, 'any order' or a name for each .*, actual 'speech'"),
    ],
    ids=["sources", "sample-rate", "unknown", "not-a-module", "slots", "one-slot"],
)
def test_a_separator_that_contradicts_its_model(
    separator: Any, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^{message}$"):
        Separator(**{"model": separator.model, **arguments})


@pytest.mark.parametrize("num_sources", [1, 3])
def test_no_separation_is_the_mean_of_the_ears_for_every_source(num_sources: int) -> None:
    audio = torch.cat((noise(2, 2, NUM_SAMPLES), torch.zeros(1, 2, NUM_SAMPLES)))
    separator = load_separator("none", num_sources=num_sources, sample_rate=16000)
    assert separator.sample_rate == 16000
    assert not separator.state_dict()
    expected = ((audio[:, :1] + audio[:, 1:]) / 2).repeat(1, num_sources, 1)
    torch.testing.assert_close(separator(audio), expected)


# ==== Inference ====


def si_sdr(estimates: Tensor, truth: Tensor) -> Tensor:
    """Scale-invariant signal-to-distortion ratio, dB (Le Roux et al. 2019, eq. 2), over the last axis."""
    scaled = truth * (estimates * truth).sum(dim=-1, keepdim=True) / truth.square().sum(dim=-1, keepdim=True)
    return 10 * torch.log10(scaled.square().sum(dim=-1) / (scaled - estimates).square().sum(dim=-1))


ARCHITECTURES: dict[str, dict[str, Any]] = {
    "half-chunks": {},
    "end-to-end-chunks": {"hop_size": 10},
    "odd-chunks": {"chunk_size": 9, "hop_size": 4},
    "short-hops": {"hop_size": 1},
    "frames-with-gaps-in-the-overlap": {"kernel_size": 21, "stride": 13},
    "two-blocks": {"n_repeats": 2},
    "three-sources": {"n_src": 3},
    "cLN": {"norm_type": "cLN"},
    "GRU": {"rnn_type": "GRU"},
    "RNN": {"rnn_type": "RNN"},
    "one-direction": {"bidirectional": False},
    "relu-masks": {"mask_act": "relu"},
    "softmax-masks": {"mask_act": "softmax"},
    "relu-encoder": {"encoder_activation": "relu"},
    "mulcat": {"use_mulcat": True},
    "stacked": {"num_layers": 2, "dropout": 0.5},
}


def trained(model: nn.Module) -> nn.Module:
    """Give every weight a value that it might have learned: norms that do something, masks that are not all alike."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    return model.eval()


@pytest.mark.parametrize("settings", ARCHITECTURES.values(), ids=ARCHITECTURES)
@pytest.mark.parametrize("num_samples", [21, 803])
def test_inference_computes_what_asteroid_does(
    tiny: SeparatorConfig, settings: dict[str, Any], num_samples: int
) -> None:
    arguments = dataclasses.asdict(tiny)
    model = trained(DPRNNTasNet(**{"n_src": arguments.pop("num_sources"), **arguments, **settings})).double()
    assert has_fast_inference(model)
    mixture = noise(3, num_samples).double()
    with torch.no_grad():
        expected = model(mixture)
        torch.testing.assert_close(dprnn_inference(model, mixture), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("rnn_type", ["LSTM", "GRU"])
def test_bfloat16_costs_next_to_nothing(rnn_type: str) -> None:
    config = dataclasses.replace(CONFIGS["compact"], rnn_type=rnn_type)
    model = trained(Separator.from_config(config).model)
    mixture = noise(2, 4000)
    with torch.no_grad():
        exact, rounded = model(mixture), dprnn_inference(model, mixture, bfloat16=True)
    assert rounded.dtype == torch.float32
    assert not torch.equal(exact, rounded)
    # An estimate of 20 dB SI-SDR loses 10 log10(1 + 10^-2) = 0.04 dB through an independent error of -40 dB.
    assert torch.all(si_sdr(rounded, exact) > 40)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Record with which precision the fast way is gone."""
    calls: list[bool] = []

    def record(model: nn.Module, mixture: Tensor, bfloat16: bool) -> Tensor:
        calls.append(bfloat16)
        return dprnn_inference(model, mixture, bfloat16)

    monkeypatch.setattr(auralnav_sb3.separation, "dprnn_inference", record)
    return calls


@pytest.mark.parametrize("bfloat16_units", [False, True], ids=["float32-units", "bfloat16-units"])
@pytest.mark.parametrize("frozen", [False, True], ids=["learning", "frozen"])
@pytest.mark.parametrize("gradients", [False, True], ids=["no-gradients", "gradients"])
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_only_a_separator_that_cannot_learn_is_rounded(
    separator: Any,
    calls: list[bool],
    monkeypatch: pytest.MonkeyPatch,
    bfloat16_units: bool,
    frozen: bool,
    gradients: bool,
    training: bool,
) -> None:
    monkeypatch.setattr(auralnav_sb3.separation, "has_bfloat16_units", lambda: bfloat16_units)
    separator.train(training).requires_grad_(not frozen)
    with torch.set_grad_enabled(gradients):
        separator(noise(2, 2, NUM_SAMPLES))
    assert calls == ([] if gradients or training else [frozen and bfloat16_units])


def test_double_precision_is_not_rounded(separator: Any, calls: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auralnav_sb3.separation, "has_bfloat16_units", lambda: True)
    with torch.no_grad():
        sources = separator.eval().requires_grad_(False).double()(noise(1, 2, NUM_SAMPLES).double())
    assert calls == [False]
    assert sources.dtype == torch.float64


class Louder(DPRNNTasNet):
    def forward(self, wav: Tensor) -> Tensor:
        return 2 * super().forward(wav)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (DPRNNTasNet, {"fb_name": "stft"}),
        (DPRNNTasNet, {"norm_type": "fgLN"}),
        (DPRNNTasNet, {"padding": 4}),
        (Louder, {}),
    ],
    ids=["filterbank", "norm", "padding", "subclass"],
)
def test_what_inference_does_not_know_is_left_to_asteroid(
    tiny: SeparatorConfig, calls: list[bool], kind: type[nn.Module], settings: dict[str, Any]
) -> None:
    arguments = {**dataclasses.asdict(tiny), "n_filters": 16, **settings}
    model = kind(n_src=arguments.pop("num_sources"), **arguments)
    with torch.no_grad():
        assert Separator(model).eval()(noise(1, 2, NUM_SAMPLES)).shape == (1, 2, NUM_SAMPLES)
    assert not calls


def test_inference_never_goes_stale(tiny: SeparatorConfig) -> None:
    """SB3 changes weights in place, in a target network by Polyak averaging, in a loaded model by its state dict."""
    separator, other = (Separator.from_config(tiny, seed=seed).eval().requires_grad_(False) for seed in (1, 2))
    audio = noise(1, 2, NUM_SAMPLES)
    with torch.no_grad():
        before = separator(audio)
        polyak_update(other.parameters(), separator.parameters(), tau=0.5)
        average = separator(audio)
        assert not torch.equal(average, before)
        fresh = Separator.from_state_dict(tiny, separator.state_dict()).eval().requires_grad_(False)
        assert torch.equal(average, fresh(audio))
        separator.load_state_dict(other.state_dict())
        assert torch.equal(separator(audio), other(audio))


# ==== Files ====


@pytest.mark.parametrize("how", ["file", "folder"])
@pytest.mark.parametrize("keeps_level", [False, True], ids=["scaled", "keeps-level"])
@pytest.mark.parametrize("slots", [None, ANY_ORDER, ("speech", "other")], ids=["unknown", "any-order", "by-kind"])
@pytest.mark.parametrize("window_samples", [None, NUM_SAMPLES])
def test_save_and_load_round_trip(
    tiny: SeparatorConfig, tmp_path: Path, how: str, keeps_level: bool, slots: Any, window_samples: int | None
) -> None:
    own = {"window_samples": window_samples, "keeps_level": keeps_level, "slots": slots}
    separator = Separator.from_config(dataclasses.replace(tiny, sample_rate=16000), seed=1, **own)
    path = tmp_path / "separator"
    if how == "file":
        separator.save(path)
    else:
        save_separator(separator, path, "# A card\n")
    loaded = load_separator(path, sample_rate=16000)
    assert equal_weights(separator, loaded)
    assert model_args(loaded) == model_args(separator)
    assert (loaded.num_sources, loaded.sample_rate) == (2, 16000)
    assert {name: getattr(loaded, name) for name in own} == own
    audio = noise(2, 2, NUM_SAMPLES)
    assert torch.equal(separator(audio), loaded(audio))


def test_asteroid_reads_what_is_saved(separator: Any, tmp_path: Path) -> None:
    path = tmp_path / "separator.pth"
    separator.save(path)
    model = DPRNNTasNet.from_pretrained(str(path))
    wav = noise(2, NUM_SAMPLES)
    assert torch.equal(model(wav), separator.model(wav))


def test_what_asteroid_writes_is_read(separator: Any, tmp_path: Path) -> None:
    """Its serialize() records torch's version as an object of its own class, published files numpy scalars too."""
    content = separator.model.serialize()
    content["infos"]["final_results"] = {"si_sdr": np.float64(14.3), "stoi": np.float32(0.9), "steps": np.int64(7)}
    torch.save(content, tmp_path / "model.pth")
    assert equal_weights(separator, Separator.from_file(tmp_path / "model.pth"))


def serialized(model: DPRNNTasNet) -> dict[str, Any]:
    """As Asteroid's serialize(), without its record of versions."""
    return {"model_name": "DPRNNTasNet", "model_args": model.get_model_args(), "state_dict": model.state_dict()}


def test_numpy_scalars_written_by_numpy_1_are_read(separator: Any, tmp_path: Path) -> None:
    new, old = tmp_path / "numpy2.pth", tmp_path / "numpy1.pth"
    torch.save({**serialized(separator.model), "infos": {"si_sdr": np.float64(14.3)}}, new)
    with zipfile.ZipFile(new) as source, zipfile.ZipFile(old, "w") as target:
        for entry in source.namelist():
            data = source.read(entry)
            if entry.endswith("data.pkl"):
                data = re.sub(rb"numpy\._?core\.multiarray", b"numpy.core.multiarray", data)
                assert b"numpy.core.multiarray" in data
            target.writestr(entry, data)
    assert equal_weights(separator, Separator.from_file(old))


class Malice:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_a_malicious_file_is_refused_and_not_run(separator: Any, tmp_path: Path, legacy: bool) -> None:
    content = {**serialized(separator.model), "infos": Malice(tmp_path / "hacked")}
    torch.save(content, tmp_path / "evil.pth", _use_new_zipfile_serialization=not legacy)
    for load in (Separator.from_file, lambda path: Separator.from_state_dict("compact", path)):
        with pytest.raises(ValueError, match=r"evil\.pth: expected weights .* none of which were run$") as refusal:
            load(tmp_path / "evil.pth")
        assert f"{os.mkdir.__module__}.mkdir" in str(refusal.value.__cause__)
    assert not (tmp_path / "hacked").exists()


def test_loading_leaves_no_trace(separator: Any, tmp_path: Path) -> None:
    allowed, generator_state = set(torch.serialization.get_safe_globals()), torch.get_rng_state()
    separator.save(tmp_path / "separator.pth")
    Separator.from_file(tmp_path / "separator.pth")
    assert set(torch.serialization.get_safe_globals()) == allowed
    assert torch.equal(torch.get_rng_state(), generator_state)


@pytest.mark.parametrize("told", [True, False], ids=["none", "missing"])
def test_a_file_that_does_not_tell_its_sample_rate_is_taken_for_8_khz(
    separator: Any, tmp_path: Path, told: bool
) -> None:
    """Asteroid gives what it loads from a file that does not tell a rate of None, and writes that down again."""
    content = serialized(separator.model)
    del content["model_args"]["sample_rate"]
    if told:
        content["model_args"]["sample_rate"] = None
    torch.save(content, tmp_path / "model.pth")
    assert load_separator(tmp_path / "model.pth").sample_rate == 8000
    with pytest.raises(ValueError, match="sample_rate: the separator's weights were made for 8000, actual 16000"):
        load_separator(tmp_path / "model.pth", sample_rate=16000)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"model_args": None},
            r"expected the entries .*, actual \['model_name', 'state_dict'\]; \['model_args'\] missing",
        ),
        ({"model_name": "ConvTasNet"}, "model_name: expected DPRNNTasNet, actual 'ConvTasNet'"),
        (
            {"model_args": {"n_src": 2, "nonsense": {}, "n_filters": "8"}},
            "not the settings and weights of a DPRNNTasNet",
        ),
        ({"model_args": {"n_src": 2}}, "weights of another shape|missing"),
        ({"state_dict": {"a": torch.zeros(1)}}, r"state_dict: .*, actual \['a'\]; missing \[.*\], unknown \['a'\]"),
        ({"infos": {"window_samples": 3}, "state_dict": 3}, "not the settings and weights of a DPRNNTasNet"),
    ],
    ids=["no-settings", "another-model", "bad-settings", "other-settings", "other-weights", "no-weights"],
)
def test_files_that_do_not_hold_a_dprnn(separator: Any, tmp_path: Path, change: dict[str, Any], message: str) -> None:
    content = {**serialized(separator.model), **change}
    torch.save({key: value for key, value in content.items() if value is not None}, tmp_path / "model.pth")
    with pytest.raises(ValueError, match=f"^{re.escape(str(tmp_path))}.*model.pth: .*({message})"):
        Separator.from_file(tmp_path / "model.pth")


def test_another_asteroid_model_is_refused(tmp_path: Path) -> None:
    model = ConvTasNet(n_src=2, n_filters=8, bn_chan=4, hid_chan=4, skip_chan=4, n_blocks=1, n_repeats=1)
    content = {"model_name": "ConvTasNet", "model_args": model.get_model_args(), "state_dict": model.state_dict()}
    torch.save(content, tmp_path / "conv.pth")
    with pytest.raises(ValueError, match="expected DPRNNTasNet, actual 'ConvTasNet'; load it with Asteroid and give"):
        load_separator(tmp_path / "conv.pth")
    separated = load_separator(ConvTasNet.from_pretrained(str(tmp_path / "conv.pth")))(noise(1, 2, NUM_SAMPLES))
    assert separated.shape == (1, 2, NUM_SAMPLES)


@pytest.mark.parametrize("content", [b"", b"RIFF....WAVEfmt ", bytes(range(256)) * 20], ids=["empty", "wav", "noise"])
def test_corrupt_files(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.pth").write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.pth: expected weights and plain values alone"):
        Separator.from_file(tmp_path / "model.pth")


def test_a_truncated_file(separator: Any, tmp_path: Path) -> None:
    separator.save(tmp_path / "model.pth")
    (tmp_path / "model.pth").write_bytes((tmp_path / "model.pth").read_bytes()[:-500])
    with pytest.raises(ValueError, match=r"model\.pth: expected weights and plain values alone"):
        Separator.from_file(tmp_path / "model.pth")


def test_a_file_that_holds_no_dict(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "model.pth")
    with pytest.raises(ValueError, match=r"model\.pth: expected a dict as Asteroid writes it, actual list"):
        Separator.from_file(tmp_path / "model.pth")
    with pytest.raises(ValueError, match=r"^state_dict: expected a dict of tensors, actual list$"):
        Separator.from_state_dict("compact", tmp_path / "model.pth")


@pytest.mark.parametrize("wrapped", [False, True], ids=["model", "separator"])
@pytest.mark.parametrize("on_disk", [False, True], ids=["dict", "file"])
def test_weights_from_a_state_dict(
    separator: Any, tiny: SeparatorConfig, tmp_path: Path, wrapped: bool, on_disk: bool
) -> None:
    weights: Any = (separator if wrapped else separator.model).state_dict()
    names = list(weights)
    if on_disk:
        torch.save(weights, tmp_path / "weights.pth")
    loaded = Separator.from_state_dict(tiny, tmp_path / "weights.pth" if on_disk else weights)
    assert equal_weights(loaded, separator)
    assert list(weights) == names  # the caller's dict is as it was


def test_weights_of_another_architecture(separator: Any, tiny: SeparatorConfig) -> None:
    weights = separator.model.state_dict()
    with pytest.raises(
        ValueError, match=r"^state_dict: weights of another shape than the settings say: .*\(16, 8, 1\)"
    ):
        Separator.from_state_dict(dataclasses.replace(tiny, bn_chan=16), weights)
    with pytest.raises(ValueError, match=r"missing \[.*masker\.net\.1\..*\], unknown \[\]$"):
        Separator.from_state_dict(dataclasses.replace(tiny, n_repeats=2), weights)


def test_a_failed_save_leaves_the_old_file(separator: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "separator.pth"
    path.write_bytes(b"old")

    def full_disk(content: Any, file: Path) -> None:
        Path(file).write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="No space left"):
        separator.save(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_only_a_dprnn_can_be_saved(tmp_path: Path) -> None:
    separator = Separator(Bands(), 2, 8000)
    with pytest.raises(TypeError, match=r"^model: expected a DPRNNTasNet to save, actual Bands$"):
        separator.save(tmp_path / "bands.pth")
    with pytest.raises(TypeError, match=r"^model: expected a DPRNNTasNet to save, actual Bands$"):
        save_separator(separator, tmp_path / "bands", "")
    assert not list(tmp_path.iterdir())


# ==== Names ====


def test_hub_names_are_downloaded(separator: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    separator.save(tmp_path / "cached.bin")
    asked = []

    def download(name: str) -> str:
        asked.append(name)
        return str(tmp_path / "cached.bin")

    monkeypatch.setattr(auralnav_sb3.separation, "cached_download", download)
    assert equal_weights(load_separator("someone/DPRNNTasNet-ks16_WHAM_sepclean"), separator)
    assert asked == ["someone/DPRNNTasNet-ks16_WHAM_sepclean"]


def test_a_hub_name_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(name: str) -> str:
        raise ConnectionError("no route")

    monkeypatch.setattr(auralnav_sb3.separation, "cached_download", offline)
    with pytest.raises(
        FileNotFoundError,
        match=r"^separator: 'someone/else' is not a file, and the hub gave nothing under that name: no route$",
    ):
        load_separator("someone/else")


@pytest.mark.parametrize(
    "name", ["tiny", "separator.pth", "runs/separator.pth", "./separator", "/a/b", "a/b/c", "someone/"]
)
def test_names_of_nothing(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(auralnav_sb3.separation, "cached_download", lambda name: pytest.fail("asked the hub"))
    with pytest.raises(
        FileNotFoundError, match=rf"^separator: no file '{name}'; expected one of \['compact', 'full', 'none'.*\]"
    ):
        load_separator(name)


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Shelf:
    """A place for separators that are shipped, still empty."""
    shelf = Shelf("separator", tmp_path / "shipped")
    monkeypatch.setattr(auralnav_sb3.separation, "SEPARATORS", shelf)
    return shelf


def test_shipped_separators_come_by_name(
    separator: Any, shipped: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_separator(separator, shipped.folder / "mine", "# My card\n")
    separator.save(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)  # what is shipped comes before a file of the same name
    assert separator_names() == ("mine",)
    assert separator_card("mine") == "# My card\n"
    assert equal_weights(load_separator("mine"), separator)
    assert equal_weights(Separator.from_folder(shipped.folder / "mine"), separator)
    for load in (load_separator, Separator.from_pretrained):
        with pytest.raises(FileNotFoundError, match=r"expected one of \['compact', 'full', 'none', 'mine'\]"):
            load("yours")
    for read in (separator_card, Separator.from_folder):
        with pytest.raises(ValueError, match=r"expected one of \['mine'\] or a folder that save_separator wrote, "):
            read("no")


def test_a_folder_with_other_weights_or_settings_is_refused(
    separator: Any, tiny: SeparatorConfig, shipped: Shelf, tmp_path: Path
) -> None:
    settings, weights = separator.settings(), separator.model.state_dict()
    other = Separator.from_config(dataclasses.replace(tiny, hid_size=6))
    for wrong in (other.settings(), {**settings, "nonsense": 1}, {**settings, "slots": ["speech"]}, {}):
        shipped.write(tmp_path / "wrong", wrong, weights, "")
        with pytest.raises(ValueError, match="wrong: not the settings and weights of a DPRNNTasNet"):
            load_separator(tmp_path / "wrong")


def test_an_unknown_configuration() -> None:
    with pytest.raises(ValueError, match=r"^config: expected one of \['compact', 'full'\], actual 'huge'$"):
        Separator.from_config("huge")


def test_load_separator_takes_everything_that_names_one(separator: Any, tiny: SeparatorConfig, tmp_path: Path) -> None:
    separator.save(tmp_path / "separator.pth")
    for spec in (separator, separator.model, tmp_path / "separator.pth", str(tmp_path / "separator.pth")):
        loaded = load_separator(spec)
        assert equal_weights(loaded, separator)
        assert not {weight.data_ptr() for weight in loaded.parameters()} & {
            weight.data_ptr() for weight in separator.parameters()
        }
    assert equal_weights(load_separator(tiny, seed=1), separator)
    assert equal_weights(load_separator("compact", seed=2), Separator.from_config(CONFIGS["compact"], seed=2))
    assert model_args(load_separator("compact", num_sources=3, sample_rate=16000))["n_src"] == 3
    assert load_separator(Bands(), num_sources=2, sample_rate=16000).sample_rate == 16000
    with pytest.raises(TypeError, match=r"^separator: expected one of \['compact', 'full', 'none'.*, actual int$"):
        load_separator(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"num_sources": 3}, "num_sources: the separator's weights were made for 2, actual 3; .*"),
        ({"sample_rate": 16000}, "sample_rate: the separator's weights were made for 8000, actual 16000; .*"),
        ({"window_samples": 4000}, "window_samples: the separator's weights were made for 800, actual 4000; .*"),
    ],
    ids=["sources", "sample-rate", "window"],
)
@pytest.mark.parametrize("how", ["object", "file", "hub", "folder", "shipped"])
def test_weights_made_for_something_else(
    separator: Any,
    shipped: Shelf,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    wanted: dict[str, int],
    message: str,
    how: str,
) -> None:
    separator.window_samples = NUM_SAMPLES
    separator.save(tmp_path / "separator.pth")
    monkeypatch.setattr(auralnav_sb3.separation, "cached_download", lambda name: str(tmp_path / "separator.pth"))
    save_separator(separator, shipped.folder / "mine", "")
    spec = {
        "object": separator,
        "file": tmp_path / "separator.pth",
        "hub": "someone/separator",
        "folder": shipped.folder / "mine",
        "shipped": "mine",
    }[how]
    assert load_separator(spec, num_sources=2, sample_rate=8000, window_samples=NUM_SAMPLES).window_samples == 800
    with pytest.raises(ValueError, match=f"^{message}$"):
        load_separator(spec, **wanted)


def test_a_file_without_a_window_fits_any(separator: Any, tmp_path: Path) -> None:
    separator.save(tmp_path / "separator.pth")
    assert load_separator(tmp_path / "separator.pth", window_samples=1234).window_samples is None


class Rated(Bands):
    """Tells the sample rate that it is made for, as all of Asteroid's models do."""

    def __init__(self, sample_rate: float | None) -> None:
        super().__init__()
        self.sample_rate = sample_rate


def of_rate(kind: str, sample_rate: int | None, tiny: SeparatorConfig, folder: Path) -> Any:
    """What names a separator for a sample rate."""
    arguments = {**dataclasses.asdict(tiny), "sample_rate": sample_rate}
    model = DPRNNTasNet(n_src=arguments.pop("num_sources"), **arguments)
    small = {"n_filters": 8, "bn_chan": 4, "hid_chan": 4, "skip_chan": 4, "n_blocks": 1, "n_repeats": 1}
    torch.save(serialized(model), folder / "asteroid.pth")
    return {
        "Asteroid-file": folder / "asteroid.pth",
        "hub": "someone/separator",
        "DPRNNTasNet": model,
        "another-Asteroid-model": ConvTasNet(n_src=2, sample_rate=sample_rate, **small),
        "any-module": Rated(None if sample_rate is None else float(sample_rate)),
    }[kind]


MODELS = ["Asteroid-file", "hub", "DPRNNTasNet", "another-Asteroid-model", "any-module"]


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize(("made_for", "other"), [(8000, 16000), (16000, 8000), (44100, 16000)])
def test_models_of_another_sample_rate_are_refused(
    tiny: SeparatorConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, made_for: int, other: int
) -> None:
    monkeypatch.setattr(auralnav_sb3.separation, "cached_download", lambda name: str(tmp_path / "asteroid.pth"))
    spec = of_rate(kind, made_for, tiny, tmp_path)
    loaded = load_separator(spec, sample_rate=made_for)
    assert loaded.sample_rate == made_for
    audio = noise(1, 2, NUM_SAMPLES)
    assert loaded(audio).shape == (1, 2, NUM_SAMPLES)
    with pytest.raises(
        ValueError, match=f"^sample_rate: the separator's weights were made for {made_for}, actual {other}; change the"
    ):
        load_separator(spec, sample_rate=other)


@pytest.mark.parametrize("kind", MODELS[2:])
def test_models_that_do_not_tell_their_sample_rate_are_taken_for_the_audios(
    tiny: SeparatorConfig, tmp_path: Path, kind: str
) -> None:
    assert load_separator(of_rate(kind, None, tiny, tmp_path), sample_rate=16000).sample_rate == 16000


# ==== The separators that are shipped ====


def test_both_separators_are_shipped() -> None:
    assert set(separator_names()) == {"any-order", "speech-first"} == set(PRETRAININGS)


@pytest.mark.parametrize("name", separator_names())
def test_a_shipped_separator_separates_sounds_that_it_was_not_trained_on(name: str) -> None:
    """Far less is asked than the cards say, as these few scenes have synthetic sounds alone."""
    _, test_sounds = SyntheticSounds().split()
    mixtures = Mixtures(test_sounds, PRETRAININGS[name].first_kinds, seed=3)
    quality = evaluate_separator(load_separator(name), mixtures, num_scenes=40)[-1]
    assert quality.si_sdr_improvement.low > 2.0
    assert quality.empty_db.high < -15.0


@pytest.mark.parametrize("name", separator_names())
def test_a_shipped_separator_is_small_and_says_what_it_is(name: str) -> None:
    separator = load_separator(name, num_sources=2, sample_rate=8000)
    assert separator.slots == {"any-order": ANY_ORDER, "speech-first": ("speech", "other")}[name]
    assert separator.keeps_level
    assert f'load_separator("{name}")' in separator_card(name)
    assert sum(path.stat().st_size for path in (SEPARATORS.folder / name).iterdir()) < 4e6
    assert has_fast_inference(separator.model)
