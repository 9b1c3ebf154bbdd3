"""Cues against what theory says of plane waves, and pooling against slow loops written from the definition."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
import torch
import torchaudio

from auralnav_gym import SyntheticSounds
from auralnav_sb3 import cues

SAMPLE_RATE = 8000
NUM_SAMPLES = 4000
N_FFT, HOP = 256, 128
SPACING = 0.17
# A tone in the middle of a bin shows in this bin and, halved, in its two neighbours (Hann), and nowhere else: tones
# four bins apart do not meet, so that every cue is known exactly in all frames but the first and the last (mirrored).
TONE_BINS = np.arange(4, 125, 4)


def plane_wave(
    bins: np.ndarray, azimuth: float, level_db: float, amplitude: float = 0.01, seed: int = 0
) -> torch.Tensor:
    """(2, N): tones from an azimuth in degrees (positive left); the left ear is louder by level_db."""
    delay = SPACING * math.sin(math.radians(azimuth)) / 343.0  # s, by which the right ear hears it later
    time = np.arange(NUM_SAMPLES) / SAMPLE_RATE
    frequency = (bins * SAMPLE_RATE / N_FFT)[:, None]
    phase = np.random.default_rng(seed).uniform(0, 2 * np.pi, (len(bins), 1))
    left = 10 ** (level_db / 20) * np.cos(2 * np.pi * frequency * time + phase)
    right = np.cos(2 * np.pi * frequency * (time - delay) + phase)
    return torch.from_numpy(amplitude * np.stack((left.sum(axis=0), right.sum(axis=0))))


def steady_stft(signal: torch.Tensor) -> torch.Tensor:
    """STFT without the frames that hold mirrored ends."""
    return cues.stft(signal, N_FFT, HOP)[..., 1:-1]


def wrapped(angle: np.ndarray) -> np.ndarray:
    return np.pi - np.mod(np.pi - angle, 2 * np.pi)  # into (-pi, pi]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(("n_fft", "hop_length"), [(256, 128), (64, 20)], ids=["default", "other"])
def test_stft_is_torchaudios(n_fft: int, hop_length: int, dtype: torch.dtype) -> None:
    signal = torch.randn(3, 2, 1001, dtype=dtype, generator=torch.Generator().manual_seed(0))
    spectrogram = torchaudio.transforms.Spectrogram(n_fft, hop_length=hop_length, power=None, wkwargs={"dtype": dtype})
    expected = spectrogram(signal)
    assert torch.equal(cues.stft(signal, n_fft, hop_length), expected)
    assert expected.shape == (3, 2, n_fft // 2 + 1, 1001 // hop_length + 1)


def test_stft_equals_a_slow_dft() -> None:
    n_fft, hop_length = 16, 6
    signal = np.random.default_rng(0).standard_normal(50)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    padded = np.pad(signal, n_fft // 2, mode="reflect")
    expected = np.zeros((n_fft // 2 + 1, 50 // hop_length + 1), complex)
    for k in range(expected.shape[0]):
        for t in range(expected.shape[1]):
            for n in range(n_fft):
                expected[k, t] += window[n] * padded[t * hop_length + n] * np.exp(-2j * np.pi * k * n / n_fft)
    np.testing.assert_allclose(cues.stft(torch.from_numpy(signal), n_fft, hop_length).numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("azimuth", [-90.0, -30.0, 0.0, 20.0, 75.0])
def test_ipd_of_a_plane_wave(azimuth: float) -> None:
    left, right = steady_stft(plane_wave(TONE_BINS, azimuth, level_db=0.0))
    ipd = cues.interaural_phase(left, right)[TONE_BINS]
    delay = SPACING * math.sin(math.radians(azimuth)) / 343.0
    frequency = TONE_BINS * SAMPLE_RATE / N_FFT
    expected = np.broadcast_to(wrapped(2 * np.pi * frequency * delay)[:, None], ipd.shape)
    np.testing.assert_allclose(ipd.numpy(), expected, atol=1e-9)
    unaliased = ipd[cues.num_unaliased_bins(SPACING, SAMPLE_RATE, N_FFT) > TONE_BINS]
    # Below the aliasing frequency no phase is wrapped, so its sign alone tells the side.
    assert len(unaliased) == 8
    assert azimuth == 0 or torch.all(unaliased.sign() == np.sign(azimuth))


@pytest.mark.parametrize("level_db", [-12.0, 0.0, 3.5], ids=lambda db: f"{db}dB")
def test_ild_and_volume_of_a_plane_wave(level_db: float) -> None:
    amplitude = 0.01
    left, right = steady_stft(plane_wave(TONE_BINS, 40.0, level_db, amplitude))
    ild = cues.interaural_level(left, right)[TONE_BINS]
    np.testing.assert_allclose(ild.numpy(), level_db, atol=1e-5)
    # A Hann window of 256 sums to 128, half of which goes to the positive frequency.
    volume = cues.interaural_volume(left, right)[TONE_BINS]
    np.testing.assert_allclose(volume.numpy(), amplitude * 64 * (1 + 10 ** (level_db / 20)), rtol=1e-9)


def test_swapping_the_ears_negates_ipd_and_ild() -> None:
    signal = torch.randn(2, NUM_SAMPLES, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    left, right = cues.stft(signal)
    inner = slice(1, -1)  # at 0 Hz and at the Nyquist frequency a phase is 0 or pi, and pi has no negative here
    torch.testing.assert_close(
        cues.interaural_phase(left, right)[inner], -cues.interaural_phase(right, left)[inner], rtol=0, atol=1e-12
    )
    torch.testing.assert_close(cues.interaural_level(left, right), -cues.interaural_level(right, left))
    torch.testing.assert_close(cues.interaural_volume(left, right), cues.interaural_volume(right, left))


@pytest.mark.parametrize("left_sign", [0.0, -0.0], ids=["+0j", "-0j"])
@pytest.mark.parametrize("right_sign", [0.0, -0.0], ids=["+0j", "-0j"])
def test_opposite_ears_are_at_plus_pi(left_sign: float, right_sign: float) -> None:
    for left, right in ((1.0, -1.0), (-1.0, 1.0)):
        phase = cues.interaural_phase(
            torch.tensor([complex(left, left_sign)], dtype=torch.complex128),
            torch.tensor([complex(right, right_sign)], dtype=torch.complex128),
        )
        assert phase.item() == math.pi


@pytest.mark.parametrize(
    ("spacing", "sample_rate", "n_fft"),
    [(0.17, 8000, 256), (0.2, 16000, 512), (0.01, 8000, 256), (0.1715, 8000, 256), (5.0, 8000, 256)],
    ids=["default", "16kHz", "never-aliases", "on-a-bin", "far-apart"],
)
def test_unaliased_bins_are_those_below_the_aliasing_frequency(spacing: float, sample_rate: int, n_fft: int) -> None:
    expected = sum(k * sample_rate / n_fft < 343.0 / (2 * spacing) for k in range(n_fft // 2 + 1))
    assert cues.num_unaliased_bins(spacing, sample_rate, n_fft) == expected


def test_ears_in_one_place_never_alias() -> None:
    assert cues.num_unaliased_bins(0.0, 8000, 256) == 129


def test_ideal_masks_give_each_source_its_own_cues() -> None:
    bands = (np.array([4, 12, 20]), np.array([8, 16, 28]))  # all below the aliasing frequency, bin 32.3
    azimuths, levels_db, amplitudes = (50.0, -35.0), (6.0, -4.0), (0.02, 0.005)
    images = [
        plane_wave(*source, seed=i) for i, source in enumerate(zip(bands, azimuths, levels_db, amplitudes, strict=True))
    ]
    mixture = steady_stft(images[0] + images[1])[None]  # (1, 2, F, T)
    sources = steady_stft(torch.stack(images).mean(dim=1))[None]  # (1, S, F, T), the mono image of each
    left, right = mixture.unbind(dim=1)
    ipd, ild = cues.interaural_phase(left, right), cues.interaural_level(left, right)
    volume = cues.interaural_volume(left, right)
    masks = cues.source_masks(sources, mixture)
    num_ipd_bins = cues.num_unaliased_bins(SPACING, SAMPLE_RATE, N_FFT)
    weighted = cues.aggregate_weighted(masks, ipd, ild, volume, num_ipd_bins)[0]
    mean = cues.aggregate_mean(masks, ipd, ild, volume)[0]

    for s, (bins, azimuth, level_db, amplitude) in enumerate(zip(bands, azimuths, levels_db, amplitudes, strict=True)):
        phase = 2 * np.pi * bins * SAMPLE_RATE / N_FFT * SPACING * math.sin(math.radians(azimuth)) / 343.0
        ratio = 10 ** (level_db / 20)
        mono = np.abs(ratio + np.exp(-1j * phase)) / 2  # each tone's amplitude after the ears are averaged, over 1
        loudness = amplitude * mono * 128  # summed over the three bins of a tone: 64 (1 + 1/2 + 1/2)
        pooled_volume = 2 * loudness.sum() / 129
        weights = mono / mono.sum()
        expected = [
            weights @ np.sin(phase),
            weights @ np.cos(phase),
            level_db / 10,
            math.log10(1 + 1000 * pooled_volume),
        ]
        np.testing.assert_allclose(weighted[s].numpy(), expected, atol=1e-6)
        mask = mono / ((1 + ratio) / 2)  # in the three bins of a tone, with the same phase and level in each
        expected_mean = [3 * (mask @ phase) / 129, 3 * mask.sum() * level_db / 129, pooled_volume]
        np.testing.assert_allclose(mean[s].numpy(), expected_mean, atol=1e-5)


def random_cues(seed: int, silent: str = "none") -> tuple[torch.Tensor, ...]:
    """Masks (2, 3, 5, 4) and IPD, ILD, VOL (2, 5, 4) in float64; some or all of it silent."""
    generator = torch.Generator().manual_seed(seed)
    masks = 1.5 * torch.rand(2, 3, 5, 4, dtype=torch.float64, generator=generator)
    ipd = math.pi * (2 * torch.rand(2, 5, 4, dtype=torch.float64, generator=generator) - 1)
    ild = 10 * torch.randn(2, 5, 4, dtype=torch.float64, generator=generator)
    volume = torch.rand(2, 5, 4, dtype=torch.float64, generator=generator)
    if silent == "a source":
        masks[0, 1] = 0
    elif silent == "some bins":
        masks[:, :, 1::2] = 0
        volume[:, ::2] = 0
    elif silent == "all":
        masks, ipd, ild, volume = (torch.zeros_like(tensor) for tensor in (masks, ipd, ild, volume))
    return masks, ipd, ild, volume


SILENCES = ["none", "a source", "some bins", "all"]


@pytest.mark.parametrize("silent", SILENCES)
def test_aggregate_mean_equals_a_slow_loop(silent: str) -> None:
    masks, ipd, ild, volume = random_cues(0, silent)
    B, S, F, T = masks.shape
    expected = torch.zeros(B, S, 3, dtype=torch.float64)
    for b in range(B):
        for s in range(S):
            for k, cue in enumerate((ipd, ild, volume)):
                for f in range(F):
                    for t in range(T):
                        expected[b, s, k] += masks[b, s, f, t] * cue[b, f, t] / (F * T)
    torch.testing.assert_close(cues.aggregate_mean(masks, ipd, ild, volume), expected)


@pytest.mark.parametrize("num_ipd_bins", [1, 3, 5])
@pytest.mark.parametrize("silent", SILENCES)
def test_aggregate_weighted_equals_a_slow_loop(silent: str, num_ipd_bins: int) -> None:
    masks, ipd, ild, volume = random_cues(1, silent)
    B, S, F, T = masks.shape
    expected = torch.zeros(B, S, 4, dtype=torch.float64)
    for b in range(B):
        for s in range(S):
            sine = cosine = level = low_sum = all_sum = loudness = 0.0
            for f in range(F):
                for t in range(T):
                    weight = masks[b, s, f, t].item() * volume[b, f, t].item() / 2
                    all_sum += weight
                    level += weight * ild[b, f, t].item()
                    loudness += masks[b, s, f, t].item() * volume[b, f, t].item() / (F * T)
                    if f < num_ipd_bins:
                        low_sum += weight
                        sine += weight * math.sin(ipd[b, f, t].item())
                        cosine += weight * math.cos(ipd[b, f, t].item())
            if low_sum > 0:
                expected[b, s, 0], expected[b, s, 1] = sine / low_sum, cosine / low_sum
            if all_sum > 0:
                expected[b, s, 2] = level / all_sum / 10  # in units of 10 dB
            expected[b, s, 3] = math.log10(1 + loudness / 1e-3)
    torch.testing.assert_close(cues.aggregate_weighted(masks, ipd, ild, volume, num_ipd_bins), expected)


def test_a_silent_source_gives_zeros() -> None:
    """Nothing but zeros, to the last bit, even beside sources that sound."""
    masks, ipd, ild, volume = random_cues(1, "a source")
    weighted = cues.aggregate_weighted(masks, ipd, ild, volume, num_ipd_bins=3)
    mean = cues.aggregate_mean(masks, ipd, ild, volume)
    assert not weighted[0, 1].any()
    assert not mean[0, 1].any()
    assert weighted[0, 0].all()


@pytest.mark.parametrize("distance", [1.0, 10.0])
def test_log_volume_of_a_sound_at_auralnavs_level(distance: float) -> None:
    """About 3 at 1 m, less by 1 for each 20 dB (white noise of -26 dBFS at each ear, ideal mask)."""
    generator = torch.Generator().manual_seed(5)
    audio = 10 ** (-26 / 20) / distance * torch.randn(1, 1, 8000, generator=generator).expand(-1, 2, -1)
    mixture = cues.stft(audio)
    left, right = mixture.unbind(dim=1)
    masks = cues.source_masks(cues.stft(audio[:, :1]), mixture)
    weighted = cues.aggregate_weighted(
        masks,
        cues.interaural_phase(left, right),
        cues.interaural_level(left, right),
        cues.interaural_volume(left, right),
        num_ipd_bins=33,
    )
    # A Hann window of 256 has the energy 96, and the magnitude of a complex Gaussian the mean sqrt(pi / 4) of its RMS.
    volume = 2 * 10 ** (-26 / 20) / distance * math.sqrt(96 * math.pi / 4)
    assert weighted[0, 0, 3].item() == pytest.approx(math.log10(1 + 1000 * volume), abs=0.02)
    assert weighted[0, 0, 3].item() == pytest.approx(3 - math.log10(distance), abs=0.3)


@pytest.mark.parametrize("silent", SILENCES)
def test_gradients_of_the_aggregations(silent: str) -> None:
    inputs = tuple(tensor.requires_grad_() for tensor in random_cues(2, silent))
    assert torch.autograd.gradcheck(cues.aggregate_mean, inputs)
    assert torch.autograd.gradcheck(functools.partial(cues.aggregate_weighted, num_ipd_bins=3), inputs)


def test_gradients_of_masks_and_cues() -> None:
    generator = torch.Generator().manual_seed(3)
    sources = torch.randn(2, 3, 5, 4, dtype=torch.complex128, generator=generator).requires_grad_()
    mixture = torch.randn(2, 2, 5, 4, dtype=torch.complex128, generator=generator).requires_grad_()
    assert torch.autograd.gradcheck(cues.source_masks, (sources, mixture))
    for cue in (cues.interaural_phase, cues.interaural_level, cues.interaural_volume):
        assert torch.autograd.gradcheck(lambda x, cue=cue: cue(x[:, 0], x[:, 1]), mixture)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("level", [0.0, 1e-30, 1e-12, 1e-6, 1.0])
@pytest.mark.parametrize("aggregation", ["mean", "weighted"])
def test_everything_is_finite_at_every_level(aggregation: str, level: float, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(4)
    audio = (level * torch.randn(3, 2, 800, dtype=dtype, generator=generator)).requires_grad_()
    sources = (level * torch.randn(3, 2, 800, dtype=dtype, generator=generator)).requires_grad_()
    mixture = cues.stft(audio)
    left, right = mixture.unbind(dim=1)
    arguments = (
        cues.source_masks(cues.stft(sources), mixture),
        cues.interaural_phase(left, right),
        cues.interaural_level(left, right),
        cues.interaural_volume(left, right),
    )
    if aggregation == "mean":
        features = cues.aggregate_mean(*arguments)
    else:
        features = cues.aggregate_weighted(*arguments, num_ipd_bins=33)
    features.square().sum().backward()
    assert torch.isfinite(features).all()
    for tensor in (audio, sources):
        assert tensor.grad is not None
        assert torch.isfinite(tensor.grad).all()


def test_energy_order_does_not_depend_on_the_order_of_the_sources() -> None:
    gains = torch.tensor([[0.5, 2.0, 1.0, 3.0], [1.0, 0.1, 5.0, 0.0]])
    sources = gains[..., None] * torch.sin(torch.arange(100.0))  # (2, 4, 100)
    expected = gains.sort(descending=True).values[..., None] * torch.sin(torch.arange(100.0))
    for permutation in ([0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]):
        assert torch.equal(cues.order_by_energy(sources[:, permutation]), expected)


def test_sources_of_equal_energy_keep_their_order() -> None:
    sources = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]])
    assert torch.equal(cues.order_by_energy(sources), sources)


# ==== Likeness ====


def slow_timbre(signal: np.ndarray, n_fft: int, hop_length: int) -> np.ndarray:
    """Mean power over time in 16 mel triangles, in dB but for -60 dB below the loudest, less its mean over them."""
    mel_points = np.linspace(0, 2595 * math.log10(1 + 4000 / 700), 18)
    edges = 700 * (10 ** (mel_points / 2595) - 1)
    spectra = np.abs(cues.stft(torch.from_numpy(signal), n_fft, hop_length).numpy()) ** 2
    bands = np.zeros(16)
    for band in range(16):
        low, centre, high = edges[band : band + 3]
        for k in range(n_fft // 2 + 1):
            frequency = k * SAMPLE_RATE / n_fft
            weight = max(0.0, min((frequency - low) / (centre - low), (high - frequency) / (high - centre)))
            for t in range(spectra.shape[1]):
                bands[band] += weight * spectra[k, t] / spectra.shape[1]
    decibels = 10 * np.log10(np.maximum(bands, 1e-6 * bands.max()))
    return decibels - decibels.mean()


def coloured_noise(low: float, high: float, seed: int, num_samples: int = NUM_SAMPLES) -> np.ndarray:
    """(N,) float64 of noise between two frequencies, 40 dB above what lies outside of them."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(num_samples))
    frequency = np.fft.rfftfreq(num_samples, 1 / SAMPLE_RATE)
    return 0.1 * np.fft.irfft(spectrum * np.where((low <= frequency) & (frequency < high), 1, 0.01), n=num_samples)


@pytest.mark.parametrize(("n_fft", "hop_length"), [(256, 128), (128, 50)], ids=["default", "other"])
def test_likeness_is_the_correlation_of_spectra_in_db(n_fft: int, hop_length: int) -> None:
    rng = np.random.default_rng(0)
    sources = np.stack([coloured_noise(*np.sort(rng.uniform(0, 4000, 2)), seed=i, num_samples=900) for i in range(6)])
    sources *= rng.uniform(0, 1, (6, 900)) ** 4
    sources = sources.reshape(2, 3, 900)
    examples = np.stack([coloured_noise(300, 2000, seed=9, num_samples=700), coloured_noise(0, 900, 8, 700)])
    result = cues.likeness(torch.from_numpy(sources), torch.from_numpy(examples), SAMPLE_RATE, n_fft, hop_length)
    for b in range(2):
        theirs = slow_timbre(examples[b], n_fft, hop_length)
        for s in range(3):
            expected = np.corrcoef(slow_timbre(sources[b, s], n_fft, hop_length), theirs)[0, 1]
            assert result[b, s].item() == pytest.approx(expected, abs=1e-5)
    assert result.std() > 0.1


def test_the_most_alike_comes_first_in_whatever_order_they_come() -> None:
    """Noise of the example's band, of one that overlaps it, and of one that does not; the unlike ones are louder."""
    bands = [(200, 1200), (700, 2000), (2200, 3800)]
    alike, similar, unlike = (
        torch.from_numpy(gain * coloured_noise(*band, seed=i))
        for i, (gain, band) in enumerate(zip((1, 3, 9), bands, strict=True))
    )
    expected = torch.stack((alike, similar, unlike))[None]
    example = torch.from_numpy(coloured_noise(200, 1200, seed=7, num_samples=3000))[None]
    for permutation in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        assert torch.equal(cues.order_by_likeness(expected[:, permutation], example, SAMPLE_RATE), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_likeness_knows_no_level_and_no_pauses(dtype: torch.dtype) -> None:
    sources = torch.from_numpy(np.stack([coloured_noise(300, 900, 0), coloured_noise(1000, 3000, 1)]))[None].to(dtype)
    example = torch.from_numpy(coloured_noise(200, 1000, 2))[None].to(dtype)
    expected = cues.likeness(sources, example, SAMPLE_RATE)
    for gain in (1e-4, 0.1, 30.0):
        torch.testing.assert_close(cues.likeness(gain * sources, example, SAMPLE_RATE), expected, rtol=0, atol=1e-4)
        torch.testing.assert_close(cues.likeness(sources, gain * example, SAMPLE_RATE), expected, rtol=0, atol=1e-4)
    paused = torch.cat((sources, torch.zeros_like(sources), torch.zeros_like(sources)), dim=-1)
    torch.testing.assert_close(cues.likeness(paused, example, SAMPLE_RATE), expected, rtol=0, atol=0.05)


def test_a_sound_is_most_like_itself() -> None:
    sounds = torch.from_numpy(np.stack([coloured_noise(300, 900, 0), coloured_noise(1000, 3000, 1)]))
    itself, other = cues.likeness(sounds[None], sounds[:1], SAMPLE_RATE)[0].tolist()
    assert itself == pytest.approx(1.0)
    assert -1 <= other < 0.5


@pytest.mark.parametrize("silence", [0.0, 1e-8], ids=["digital", "faint"])
def test_silence_is_like_nothing(silence: float) -> None:
    """And comes last, behind what is as unlike as can be; where the example is silent nothing is sorted."""
    low, high = (torch.from_numpy(coloured_noise(*band, seed=0)).float() for band in ((0, 1000), (2000, 4000)))
    quiet = silence * low
    sources = torch.stack((quiet, high, low))[None]
    assert torch.equal(cues.order_by_likeness(sources, low[None], SAMPLE_RATE), torch.stack((low, high, quiet))[None])
    assert cues.likeness(sources, low[None], SAMPLE_RATE)[0, 0] == -1
    assert torch.equal(cues.order_by_likeness(sources, quiet[None], SAMPLE_RATE), sources)
    assert (cues.likeness(sources, quiet[None], SAMPLE_RATE) == -1).all()


def test_sounds_of_one_kind_are_more_alike_than_others() -> None:
    """Of three sounds, one is of the example's kind; by chance it would come first in a third of the cases."""
    bank = SyntheticSounds(per_kind=4, seconds=1.0)
    rng = np.random.default_rng(0)
    first = []
    for kind in bank.kinds:
        example, *others = bank.of_kinds([kind])
        unlike = bank.of_kinds([each for each in bank.kinds if each != kind])
        for sound in others:
            heard = [sound, *(unlike[int(i)] for i in rng.choice(len(unlike), 2, replace=False))]
            sources = torch.from_numpy(np.stack([each.signal[:4000] for each in heard]))[None]
            clip = torch.tensor(example.signal[:4000])[None]
            first.append(torch.equal(cues.order_by_likeness(sources, clip, SAMPLE_RATE)[0, 0], sources[0, 0]))
    assert len(first) == 30
    assert np.mean(first) > 0.6  # three standard deviations above chance
