"""Interaural cues of a mixture, and their share for each separated source: pure functions on tensors.

In the order of use::

    mixture = stft(audio)  # (B, 2, N) -> (B, 2, F, T) complex
    left, right = mixture.unbind(dim=1)
    ipd, ild, volume = interaural_phase(left, right), interaural_level(left, right), interaural_volume(left, right)
    masks = source_masks(stft(sources), mixture)  # (B, S, F, T)
    features = aggregate_mean(masks, ipd, ild, volume)  # (B, S, 3)

Axes: B items of the batch, S sources, 2 ears (0 left, 1 right), N samples, F = n_fft // 2 + 1 frequencies, T frames.
Cues are positive for a source on the left. Everything is finite, and so is every gradient, on silence too.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity
from torchaudio.functional import melscale_fbanks, spectrogram

SPEED_OF_SOUND = 343.0  # m/s, in air at 20 degrees Celsius

# Added to magnitudes before they divide or go into a logarithm; that of the bins of a full-scale sine is about 64.
EPS = 1e-8
# Mean of the pooling weights below which a source counts as silent and its pooled cues fade to 0: 120 dB below the
# about 1 of a source at AuralNav's level, 1 m away.
SILENT_WEIGHT = 1e-6
# Unit of the volume in its logarithm: 60 dB below that source, which so has a log volume of about 3.
VOLUME_FLOOR = 1e-3
# One unit of the ILD feature, in dB.
ILD_UNIT = 10.0
# Bands, evenly spaced on the mel scale, in which sounds are compared: few, as two sounds of one kind differ in detail.
LIKENESS_BANDS = 16
# Power of a band, over that of the loudest, below which it makes no difference how much quieter it is: -60 dB.
LIKENESS_FLOOR = 1e-6
# Power of a waveform below which it is like nothing: -120 dB relative to full scale.
SILENT_POWER = 1e-12

MEAN_CUES = ("ipd", "ild", "volume")
WEIGHTED_CUES = ("sin_ipd", "cos_ipd", "ild", "log_volume")
# Those that change their sign when left and right change places.
SIDED_CUES = ("ipd", "sin_ipd", "ild")


def stft(signal: Tensor, n_fft: int = 256, hop_length: int = 128) -> Tensor:
    """Short-time Fourier transform, as ``torchaudio.transforms.Spectrogram(n_fft, hop_length=..., power=None)``.

    Args:
        signal: (..., N) real, N > n_fft // 2.
        n_fft: Samples in a Hann window and in the transform.
        hop_length: Samples from one window to the next.

    Returns:
        (..., F, T) complex, F = n_fft // 2 + 1 and T = N // hop_length + 1: windows are centred on multiples of
        hop_length, the ends mirrored.
    """
    window = torch.hann_window(n_fft, dtype=signal.dtype, device=signal.device)
    return spectrogram(
        signal, pad=0, window=window, n_fft=n_fft, hop_length=hop_length, win_length=n_fft, power=None, normalized=False
    )


def interaural_phase(left: Tensor, right: Tensor) -> Tensor:
    """Interaural phase difference (IPD), angle(L) - angle(R).

    Args:
        left: (...) complex, the left ear's STFT.
        right: (...) complex, the right ear's.

    Returns:
        (...) real, radians in (-pi, pi], positive where the left ear leads; 0 where an ear is silent.
    """
    cross = left * right.conj()
    # Zero has no angle, and the gradient of the angle grows without bound towards it.
    cross = torch.where(cross.abs() < EPS**2, torch.ones_like(cross), cross)
    # Adding 0 turns -0 into 0, which atan2 would map to -pi.
    return torch.atan2(cross.imag + 0.0, cross.real)


def interaural_level(left: Tensor, right: Tensor) -> Tensor:
    """Interaural level difference (ILD), 20 log10(|L| / |R|).

    Args:
        left: (...) complex, the left ear's STFT.
        right: (...) complex, the right ear's.

    Returns:
        (...) real, dB, positive where the left ear is louder; 0 where both are silent.
    """
    return 20.0 * torch.log10((left.abs() + EPS) / (right.abs() + EPS))


def interaural_volume(left: Tensor, right: Tensor) -> Tensor:
    """Volume (VOL), |L| + |R|: two complex (...) to a real (...), linear."""
    return left.abs() + right.abs()


def source_masks(sources: Tensor, mixture: Tensor) -> Tensor:
    """Share of each source in the mixture, |source| / (mean over ears of |mixture| + eps).

    Args:
        sources: (B, S, F, T) complex, STFTs of the separated sources, at the mixture's scale.
        mixture: (B, 2, F, T) complex, STFTs of the two ears.

    Returns:
        (B, S, F, T) real, at least 0. Not clipped: where sources cancel each other in the mixture it is above 1.
    """
    return sources.abs() / (mixture.abs().mean(dim=1, keepdim=True) + EPS)


def num_unaliased_bins(ear_spacing: float, sample_rate: int, n_fft: int) -> int:
    """Count the STFT bins whose IPD tells the direction without ambiguity.

    They lie below the spatial aliasing frequency c / (2 d), above which a sound from the side reaches the far ear more
    than half a period late.

    Args:
        ear_spacing: d in metres; 0 for ears in one place, which never alias.
        sample_rate: Hz.
        n_fft: Samples in the transform; bin k lies at k * sample_rate / n_fft.

    Returns:
        The number of bins, from the lowest on; at least 1.
    """
    num_bins = n_fft // 2 + 1
    if ear_spacing == 0:
        return num_bins
    aliasing_frequency = SPEED_OF_SOUND / (2 * ear_spacing)
    return min(num_bins, math.ceil(aliasing_frequency * n_fft / sample_rate))


def aggregate_mean(masks: Tensor, ipd: Tensor, ild: Tensor, volume: Tensor) -> Tensor:
    """Pool each source's share of the cues by the plain mean over frequency and time (the original definition).

    Args:
        masks: (B, S, F, T), from `source_masks`.
        ipd: (B, F, T), radians.
        ild: (B, F, T), dB.
        volume: (B, F, T), linear.

    Returns:
        (B, S, 3): the means of mask * IPD, mask * ILD and mask * VOL (`MEAN_CUES`), in the units of the cues.
    """
    cues = torch.stack((ipd, ild, volume), dim=1)  # (B, 3, F, T)
    return _mean_product(masks, cues)


def aggregate_weighted(masks: Tensor, ipd: Tensor, ild: Tensor, volume: Tensor, num_ipd_bins: int) -> Tensor:
    """Pool the cues with weights mask * |mixture| that sum to one, so that loud bins decide and silent ones do not.

    |mixture| is the mean over the ears, volume / 2. The weights of the IPD sum to one over the bins below the aliasing
    frequency, those of the ILD over all. The volume is not a property of the mixture's bins but of the source: the
    logarithm of what `aggregate_mean` gives for it.

    Args:
        masks: (B, S, F, T), from `source_masks`.
        ipd: (B, F, T), radians.
        ild: (B, F, T), dB.
        volume: (B, F, T), linear.
        num_ipd_bins: Bins, from the lowest on, that the IPD is pooled over (`num_unaliased_bins`).

    Returns:
        (B, S, 4), scaled to be of order 1 for a plain multilayer perceptron (`WEIGHTED_CUES`): sine and cosine of the
        IPD in [-1, 1]; the ILD in units of 10 dB; log10(1 + mean of mask * VOL / 0.001), about 3 for a source at
        AuralNav's level 1 m away and less by 1 for each 20 dB, down to 0. A silent source gives zeros, as the frames
        do with which SB3's VecFrameStack fills up the beginning of an episode.
    """
    weights = masks * (volume / 2).unsqueeze(1)  # (B, S, F, T)
    low_weights, low_ipd = weights[:, :, :num_ipd_bins], ipd[:, :num_ipd_bins]
    phase = torch.stack((low_ipd.sin(), low_ipd.cos()), dim=1)  # (B, 2, F', T)
    pooled_phase = _mean_product(low_weights, phase) / _mean_weight(low_weights)  # (B, S, 2)
    pooled_level = _mean_product(weights, ild.unsqueeze(1)) / _mean_weight(weights) / ILD_UNIT  # (B, S, 1)
    mean_volume = _mean_product(masks, volume.unsqueeze(1))  # (B, S, 1)
    log_volume = torch.log1p(mean_volume / VOLUME_FLOOR) / math.log(10)
    return torch.cat((pooled_phase, pooled_level, log_volume), dim=-1)


def order_by_energy(sources: Tensor) -> Tensor:
    """Sort the sources of each item by energy, the loudest first; equal ones stay as they are.

    A separator puts its sources out in any order: the same source can be in one slot now and in another a step later.

    Args:
        sources: (B, S, N) waveforms.

    Returns:
        (B, S, N), the same waveforms.
    """
    return _in_order_of(sources.square().sum(dim=-1), sources)


def order_by_likeness(
    sources: Tensor, example: Tensor, sample_rate: int, n_fft: int = 256, hop_length: int = 128
) -> Tensor:
    """Sort the sources of each item by their `likeness` to an example, the most alike first; equal ones stay.

    Args:
        sources: (B, S, N) waveforms, N > n_fft // 2.
        example: (B, M) waveforms, M > n_fft // 2.
        sample_rate: Hz, of both.
        n_fft: See `stft`.
        hop_length: See `stft`.

    Returns:
        (B, S, N), the same waveforms.
    """
    return _in_order_of(likeness(sources, example, sample_rate, n_fft, hop_length), sources)


def likeness(sources: Tensor, example: Tensor, sample_rate: int, n_fft: int = 256, hop_length: int = 128) -> Tensor:
    """How much the sources sound like an example: the cosine of the angle between their spectra in dB.

    The spectra are long-term averages (LTAS, as in Byrne et al. 1994, "An international comparison of long-term average
    speech spectra"): the mean power over time, to which pauses add next to nothing, in `LIKENESS_BANDS` triangular
    bands on the mel scale. In dB and with its mean over the bands taken away, such a spectrum tells timbre and no
    level, and the cosine is Pearson's correlation. When something sounds within the window makes no difference.

    Args:
        sources: (B, S, N) waveforms, N > n_fft // 2.
        example: (B, M) waveforms, M > n_fft // 2.
        sample_rate: Hz, of both.
        n_fft: See `stft`.
        hop_length: See `stft`.

    Returns:
        (B, S), in [-1, 1]; -1 where the source or the example is silent. The level of neither makes a difference.
    """
    ours, theirs = (_timbre(each, sample_rate, n_fft, hop_length) for each in (sources, example.unsqueeze(1)))
    audible = _is_audible(sources) & _is_audible(example).unsqueeze(1)  # (B, S)
    return torch.where(audible, cosine_similarity(ours, theirs, dim=-1), -1.0)


def _timbre(signal: Tensor, sample_rate: int, n_fft: int, hop_length: int) -> Tensor:
    """Long-term average spectrum in log power, zero in the mean: (..., N) -> (..., `LIKENESS_BANDS`)."""
    power = stft(signal, n_fft, hop_length).abs().square().mean(dim=-1)  # (..., F)
    bands = melscale_fbanks(n_fft // 2 + 1, 0.0, sample_rate / 2, LIKENESS_BANDS, sample_rate)  # (F, bands)
    power = power @ bands.to(power)
    loudest = power.amax(dim=-1, keepdim=True).clamp_min(torch.finfo(power.dtype).tiny / LIKENESS_FLOOR)
    spectrum = torch.maximum(power, LIKENESS_FLOOR * loudest).log()
    return spectrum - spectrum.mean(dim=-1, keepdim=True)


def _is_audible(signal: Tensor) -> Tensor:
    """(..., N) -> (...) bool."""
    return signal.square().mean(dim=-1) > SILENT_POWER


def _in_order_of(scores: Tensor, sources: Tensor) -> Tensor:
    """Sort the sources, (B, S, N), by scores, (B, S), from high to low; equal ones stay as they are."""
    order = scores.argsort(dim=1, descending=True, stable=True)
    return torch.take_along_dim(sources, order.unsqueeze(-1), dim=1)


def _mean_product(masks: Tensor, cues: Tensor) -> Tensor:
    """Mean over F and T of every mask times every cue: (B, S, F, T), (B, K, F, T) -> (B, S, K)."""
    num_frequencies, num_frames = masks.shape[-2:]
    return torch.einsum("bsft,bkft->bsk", masks, cues) / (num_frequencies * num_frames)


def _mean_weight(weights: Tensor) -> Tensor:
    """Mean over F and T, what `_mean_product` is divided by to make weights sum to one: (B, S, F, T) -> (B, S, 1)."""
    return weights.mean(dim=(-2, -1)).clamp_min(SILENT_WEIGHT).unsqueeze(-1)
