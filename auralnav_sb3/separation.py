"""DPRNNTasNet behind one small class: what two ears hear in, one waveform per source out.

In the order of use::

    separator = load_separator("any-order", num_sources=2, sample_rate=8000)  # or a file, or a hub name
    sources = separator(audio)  # (B, 2, N) -> (B, S, N), at the level of the mono mixture
    separator.save("separator.pth")  # a file that Asteroid reads too

The network itself is Asteroid's. What is added here is what a learner needs around it: each window is brought to the
same level on the way in and the sources back to the level of the mixture on the way out, batch items never influence
each other, files are read without running what is in them, and a network that does not learn computes the same in less
time (`dprnn_inference`).
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import asteroid
import numpy as np
import torch
import torch.nn.functional as F
from asteroid.masknn.norms import ChanLN, GlobLN
from asteroid.masknn.recurrent import DPRNN
from asteroid.models import DPRNNTasNet
from asteroid.utils.hub_utils import cached_download
from torch import Tensor, nn
from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present
from torch.torch_version import TorchVersion

from auralnav_gym.files import written_whole
from auralnav_sb3.provenance import Provenance
from auralnav_sb3.shelf import Shelf

NUM_EARS = 2

# Power below which a window counts as silent: -120 dB relative to full scale.
_SILENCE = 1e-12


@dataclasses.dataclass(frozen=True)
class SeparatorConfig:
    """Architecture of a DPRNNTasNet; the names are Asteroid's, the defaults too.

    The network cuts the encoded window into chunks and runs recurrent networks within and across them (Luo, Chen and
    Yoshioka 2020, "Dual-path RNN: efficient long sequence modeling for time-domain single-channel speech separation").
    """

    num_sources: int = 2  # waveforms to estimate (Asteroid's n_src)
    sample_rate: int = 8000  # Hz
    n_filters: int = 64  # filters of the encoder and the decoder
    kernel_size: int = 16  # length of a filter, samples
    stride: int = 8  # from one frame of the encoder to the next, samples
    bn_chan: int = 128  # channels after the bottleneck
    hid_size: int = 128  # units of a recurrent network, each direction
    chunk_size: int = 100  # frames in a chunk
    hop_size: int | None = None  # from one chunk to the next, frames; None = half a chunk
    n_repeats: int = 6  # dual-path blocks
    norm_type: str = "gLN"  # "gLN": over time and channels, "cLN": over channels
    mask_act: str = "sigmoid"  # activation that makes the masks
    bidirectional: bool = True  # across chunks (within a chunk it always is)
    rnn_type: str = "LSTM"  # "RNN", "LSTM" or "GRU"

    def __post_init__(self) -> None:
        """Refuse what cannot be built, and strides that leave gaps, which the network would fill with silence."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type == "int" and (not isinstance(value, int) or value < 1):
                raise ValueError(f"{field.name}: expected a whole number of at least 1, actual {value!r}")
        if self.stride > self.kernel_size:
            raise ValueError(f"stride: expected at most kernel_size = {self.kernel_size}, actual {self.stride}")
        if self.hop_size is not None and not 1 <= self.hop_size <= self.chunk_size:
            raise ValueError(f"hop_size: expected 1 to chunk_size = {self.chunk_size}, actual {self.hop_size}")

    def build(self) -> DPRNNTasNet:
        """Make the network, with weights drawn from torch's global generator."""
        arguments = dataclasses.asdict(self)
        return DPRNNTasNet(n_src=arguments.pop("num_sources"), **arguments)


CONFIGS: Mapping[str, SeparatorConfig] = {
    # 3.65 M parameters: Asteroid's defaults.
    "full": SeparatorConfig(),
    # 0.33 M parameters. Its chunks do not overlap: recurrent networks across chunks that lie end to end still reach
    # every frame, and half as many chunks take half the time.
    "compact": SeparatorConfig(
        n_filters=64, kernel_size=32, stride=16, bn_chan=64, hid_size=64, chunk_size=50, hop_size=50, n_repeats=2
    ),
}
# What load_separator takes in place of a configuration to leave the mixture whole.
NO_SEPARATION = "none"

SEPARATORS = Shelf("separator", Path(__file__).parent / "separators")
# What slots hold that are not told apart: each a source, no matter which.
ANY_ORDER = "any order"


def mono_mixdown(audio: Tensor) -> Tensor:
    """Average the ears: (B, 2, N) -> (B, N)."""
    return audio.mean(dim=1)


def rms_level(signal: Tensor) -> Tensor:
    """Root mean square of each item over time: (B, N) -> (B, 1), never below -120 dB relative to full scale.

    The floor sits under the square root, so that the gradient of a silent item is zero and not infinity times zero.
    """
    return signal.square().mean(dim=-1, keepdim=True).clamp_min(_SILENCE).sqrt()


def scale_to_mixture(estimates: Tensor, mixture: Tensor) -> Tensor:
    """Give every estimate the gain with which it explains most of the mixture.

    A separator trained with SI-SDR, which no scale and no sign changes, puts its sources out at any scale, but masks
    compare them with the mixture. The gain is the least-squares one, ``argmin_g |x - g s|^2 = <s, x> / <s, s>`` (the
    projection in Le Roux et al. 2019, "SDR - half-baked or well done?", eq. 3, of the mixture onto the estimate). For
    sources that are uncorrelated with each other it is 1; an estimate that has nothing in common with the mixture
    is turned down to nothing, and none ever gets more energy than the mixture (Cauchy-Schwarz). Each source has its
    own gain: solving for all at once breaks down when two estimates look alike, as an untrained network's do.

    Args:
        estimates: (B, S, N), any scale.
        mixture: (B, N).

    Returns:
        (B, S, N), finite where the inputs are; silence stays silence.
    """
    overlap = torch.einsum("bsn,bn->bs", estimates, mixture)
    energy = estimates.square().sum(dim=-1)
    return estimates * (overlap / energy.clamp_min(_SILENCE)).unsqueeze(-1)


def has_bfloat16_units() -> bool:
    """Whether this CPU multiplies bfloat16 faster than float32."""
    return bool(torch.cpu.get_capabilities().get("avx512_bf16", False))


def has_fast_inference(model: Any) -> bool:
    """Whether `dprnn_inference` knows everything that a model consists of; it knows all that a SeparatorConfig says."""
    if type(model) is not DPRNNTasNet:
        return False
    settings = model.get_model_args()
    padded = model.decoder.padding or model.decoder.output_padding
    return settings["fb_name"] == "FreeFB" and settings["norm_type"] in ("gLN", "cLN") and not padded


def dprnn_inference(model: DPRNNTasNet, mixture: Tensor, bfloat16: bool = False) -> Tensor:
    """Compute what ``model(mixture)`` does, up to rounding, in about three quarters of the time on a CPU.

    The operations are Asteroid's and the weights are the model's own, read anew in every call, so that nothing can go
    stale. What differs is that

    - channels come last, so that no linear layer meets a layout for which torch copies its weights for every item;
    - each norm is one call of `torch.nn.functional.layer_norm`;
    - what follows the dual-path blocks is linear up to the gates, and thus done on frames and not on chunks;
    - the decoder is a matrix product and an overlap-add.

    No item of the batch influences another.

    Args:
        model: One that `has_fast_inference` accepts, in evaluation mode.
        mixture: (B, N).
        bfloat16: Compute the recurrent and linear layers of the masker, not the sums between them, at half precision.
            Where the CPU has units for it this takes about two thirds of the time again. The sources of a trained
            network differ by about -60 dB, which costs less than 0.001 dB of SI-SDR.

    Returns:
        (B, S, N).
    """
    encoded = model.forward_encoder(mixture.unsqueeze(1))  # (B, F, T)
    with torch.autocast("cpu", torch.bfloat16) if bfloat16 else contextlib.nullcontext():
        masks = _dprnn_masks(model.masker, encoded)
    sources = _decode(model.decoder, model.apply_masks(encoded, masks))
    return F.pad(sources, (0, mixture.shape[1] - sources.shape[2]))


def _dprnn_masks(masker: DPRNN, encoded: Tensor) -> Tensor:
    """Estimate the masks as ``masker(encoded)`` does: (B, F, T) -> (B, S, F, T)."""
    B, _, T = encoded.shape
    K, hop, S = masker.chunk_size, masker.hop_size, masker.n_src
    norm, bottleneck = masker.bottleneck
    frames = _pointwise(bottleneck, _normalize(norm, encoded.transpose(1, 2))).to(encoded.dtype)  # (B, T, C)
    C = frames.shape[2]

    # A chunk of silence before and after, as in Asteroid.
    x = F.pad(frames, (0, 0, K, K)).unfold(1, K, hop).transpose(2, 3)  # (B, L, K, C), L chunks of K frames
    L = x.shape[1]
    for block in masker.net:
        x = x + _normalize(block.intra_norm, _recur(block.intra_RNN, block.intra_linear, x))
        across = _recur(block.inter_RNN, block.inter_linear, x.transpose(1, 2))  # (B, K, L, C)
        x = x + _normalize(block.inter_norm, across).transpose(1, 2)
    activation, to_sources = masker.first_out
    x = activation(x)

    # Overlap and add. The bias comes in as often as a frame lies in a chunk.
    frames = x.new_zeros(B, K + hop * (L - 1), C)
    times_heard = x.new_zeros(K + hop * (L - 1), 1)
    for chunk in range(L):
        start = hop * chunk
        frames[:, start : start + K] += x[:, chunk]
        times_heard[start : start + K] += 1
    bias = times_heard[K : K + T] * to_sources.bias  # (T, S * C)
    frames = F.linear(frames[:, K : K + T], to_sources.weight.flatten(1)) + bias
    frames = frames.view(B, T, S, C)
    (out, tanh), (gate, sigmoid) = masker.net_out, masker.net_gate
    gated = tanh(_pointwise(out, frames)) * sigmoid(_pointwise(gate, frames))
    scores = _pointwise(masker.mask_net, gated).to(encoded.dtype)  # (B, T, S, F)
    # Asteroid's softmax is over the axis of the filters.
    masks = masker.output_act(scores.permute(0, 2, 3, 1).reshape(B * S, -1, T))
    return masks.view(B, S, -1, T)


def _recur(rnn: nn.Module, linear: nn.Linear, x: Tensor) -> Tensor:
    """Apply a recurrent network along axis 2, and a linear layer: (B, P, Q, C) -> (B, P, Q, C)."""
    B, P, Q, C = x.shape
    sequences = x.permute(2, 0, 1, 3).reshape(Q, B * P, C)
    # Asteroid's take the batch first; oneDNN's take time first, and the two transposes around it are free.
    hidden = rnn(sequences.transpose(0, 1)).transpose(0, 1)  # (Q, B * P, H)
    return linear(hidden).view(Q, B, P, C).permute(1, 2, 0, 3).to(x.dtype)


def _normalize(norm: GlobLN | ChanLN, x: Tensor) -> Tensor:
    """Apply a norm to what has the channels last, (B, ..., C), instead of at axis 1."""
    shape = x.shape[1:] if isinstance(norm, GlobLN) else x.shape[-1:]
    return F.layer_norm(x, shape, norm.gamma.expand(shape), norm.beta.expand(shape), eps=1e-8)


def _pointwise(conv: nn.Conv1d, x: Tensor) -> Tensor:
    """Apply a convolution with a kernel of one to what has the channels last."""
    return F.linear(x, conv.weight.flatten(1), conv.bias)


def _decode(decoder: Any, spectra: Tensor) -> Tensor:
    """Overlap and add the filters as ``decoder(spectra)`` does: (B, S, F, T) -> (B, S, N)."""
    filters = decoder.get_filters()  # (F, 1, kernel_size)
    kernel_size, stride = filters.shape[2], decoder.stride
    num_samples = (spectra.shape[3] - 1) * stride + kernel_size
    pieces = filters.squeeze(1).T @ spectra.flatten(0, 1)  # (B * S, kernel_size, T)
    signals = F.fold(pieces, (num_samples, 1), kernel_size=(kernel_size, 1), stride=(stride, 1))
    return signals.view(*spectra.shape[:2], num_samples)


class Unseparated(nn.Module):
    """No separation at all, for ablations: every source is the mixture, (B, N) -> (B, S, N)."""

    def __init__(self, num_sources: int) -> None:
        super().__init__()
        self.num_sources = num_sources

    def forward(self, mixture: Tensor) -> Tensor:
        """Repeat the mixture."""
        return mixture.unsqueeze(1).expand(-1, self.num_sources, -1)


class Separator(nn.Module):
    """Separates what two ears hear into one waveform per source.

    Each item of the batch is mixed down to mono, brought to a root mean square of one, handed to the model, and every
    estimate is put at the scale with which it is contained in the mono mixture (`scale_to_mixture`), unless the model
    sees to that itself (``keeps_level``). The model itself is called, never ``asteroid.separate``, which rescales over
    the whole batch and divides by zero on silence.

    A DPRNNTasNet in evaluation mode, without gradients and on a CPU, is computed by `dprnn_inference`; if besides its
    weights are frozen (``requires_grad_(False)``) and the CPU has units for it, with bfloat16. Weights that learn are
    never rounded so, for the sake of those who compare what they put out before and while they learn (a DQN's target
    network, the probabilities that PPO remembers).

    Args:
        model: Maps (B, N) to (B, S, N); a `DPRNNTasNet` as a rule. It is kept, not copied.
        num_sources: S, which the model must put out. Read from a DPRNNTasNet when left out.
        sample_rate: Hz, of the audio that the model is made for. Read from the model's ``sample_rate``, which all of
            Asteroid's have, when left out.
        window_samples: N that the weights were made for, when they are to be used with no other. Written to the file
            by `save` and checked by `load_separator`; the model itself takes any length.
        keeps_level: The model puts its estimates out at the level that they have in its input, as one does that was
            trained to (`auralnav_sb3.pretraining`); they are left as they are. Written to the file by `save`.
        slots: What the S estimates hold: a name for each, if the model was trained to tell them apart; "any order", if
            it puts any source in any slot; None: not known. Written to the file by `save`.

    Raises:
        TypeError: model is not a module.
        ValueError: num_sources or sample_rate is missing, or is not the model's own; or slots of another number.
    """

    def __init__(
        self,
        model: nn.Module,
        num_sources: int | None = None,
        sample_rate: int | None = None,
        window_samples: int | None = None,
        keeps_level: bool = False,
        slots: str | Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(model, nn.Module):
            raise TypeError(f"model: expected a torch.nn.Module, actual {type(model).__name__}")
        self.model = model
        self.min_samples = 1
        if isinstance(model, DPRNNTasNet):
            # A window shorter than one filter has no frame to encode.
            self.min_samples = int(model.encoder.filterbank.kernel_size)
        own_sources, own_rate = _told_by(model)
        num_sources = _agree("num_sources", num_sources, own_sources)
        sample_rate = _agree("sample_rate", sample_rate, own_rate)
        if num_sources is None or sample_rate is None:
            raise ValueError(
                f"num_sources and sample_rate: a {type(model).__name__} does not tell them, "
                f"actual {num_sources} and {sample_rate}; give both"
            )
        if slots is not None and slots != ANY_ORDER and (isinstance(slots, str) or len(slots) != num_sources):
            raise ValueError(
                f"slots: expected None, {ANY_ORDER!r} or a name for each of {num_sources} sources, actual {slots!r}"
            )
        self.num_sources = num_sources
        self.sample_rate = sample_rate
        self.window_samples = window_samples
        self.keeps_level = keeps_level
        self.slots = slots if slots is None or isinstance(slots, str) else tuple(slots)

    def forward(self, audio: Tensor) -> Tensor:
        """Separate a batch of windows; no item influences another.

        That every sample is finite is checked on the level of each item, to which one NaN or infinity spreads: that
        costs B comparisons and not 2 B N (and, on a GPU, one wait for the device).

        Args:
            audio: (B, 2, N), left and right ear, any level.

        Returns:
            (B, S, N), at the scale of the mean of the two ears. Silence in, silence out.

        Raises:
            ValueError: audio of another shape, shorter than a filter of the encoder, or with a sample that is not
                finite; or a model that does not put out (B, S, N).
        """
        self.check_shape(audio.shape[1:])
        mono = mono_mixdown(audio)  # (B, N)
        level = rms_level(mono)  # (B, 1)
        finite = torch.isfinite(level[:, 0])
        if not finite.all():
            items = torch.nonzero(~finite)[:, 0].tolist()
            raise ValueError(f"audio: expected finite samples, actual NaN or infinity in items {items} of the batch")
        mixture = mono / level
        estimates = self._estimate(mixture)  # (B, S, N)
        expected = (audio.shape[0], self.num_sources, audio.shape[2])
        if estimates.shape != expected:
            raise ValueError(
                f"model: expected {type(self.model).__name__} to put out (B, S, N) = {expected}, "
                f"actual {tuple(estimates.shape)}"
            )
        scaled = estimates if self.keeps_level else scale_to_mixture(estimates, mixture)
        return scaled * level.unsqueeze(-1)

    def _estimate(self, mixture: Tensor) -> Tensor:
        """Call the model, in the quickest way there is: (B, N) -> (B, S, N)."""
        learning = self.training or torch.is_grad_enabled()
        if learning or mixture.device.type != "cpu" or not has_fast_inference(self.model):
            return self.model(mixture)
        frozen = not any(weight.requires_grad for weight in self.model.parameters())
        bfloat16 = frozen and mixture.dtype == torch.float32 and has_bfloat16_units()
        return dprnn_inference(self.model, mixture, bfloat16)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Raise a ValueError unless windows of this shape, (2, N) without the batch, can be separated."""
        if len(shape) != 2 or shape[0] != NUM_EARS:
            actual = ", ".join(map(str, ("B", *shape)))
            raise ValueError(f"audio: expected shape (B, {NUM_EARS}, N), left and right ear, actual ({actual})")
        if shape[1] < self.min_samples:
            raise ValueError(
                f"audio: expected at least {self.min_samples} samples, the length of an encoder filter, "
                f"actual N = {shape[1]}; listen longer or use a smaller kernel_size"
            )

    @classmethod
    def from_config(
        cls,
        config: str | SeparatorConfig,
        seed: int = 0,
        window_samples: int | None = None,
        keeps_level: bool = False,
        slots: str | Sequence[str] | None = None,
    ) -> Separator:
        """Build an untrained separator.

        Args:
            config: "full", "compact", or the settings themselves.
            seed: Of the weights. The same seed gives the same weights; torch's global generators are left as they were.
            window_samples: See the class.
            keeps_level: See the class.
            slots: See the class.

        Raises:
            ValueError: An unknown name.
        """
        if isinstance(config, str):
            if config not in CONFIGS:
                raise ValueError(f"config: expected one of {sorted(CONFIGS)}, actual {config!r}")
            config = CONFIGS[config]
        # The weights are made on the CPU, so only its generator is set and restored: torch.manual_seed would reach
        # those of the GPUs too.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            model = config.build()
        return cls(model, window_samples=window_samples, keeps_level=keeps_level, slots=slots)

    @classmethod
    def from_state_dict(
        cls,
        config: str | SeparatorConfig,
        state_dict: Mapping[str, Tensor] | str | os.PathLike[str],
        window_samples: int | None = None,
    ) -> Separator:
        """Build a separator and fill in weights.

        Args:
            config: "full", "compact", or the settings that the weights were made with.
            state_dict: A DPRNNTasNet's state dict, or the path of a file that holds it. The prefix ``model.``, which
                this class and Asteroid's Lightning system put before every name, may be there. It is not changed.
            window_samples: See the class.

        Raises:
            FileNotFoundError: No such file.
            ValueError: A file that holds anything but weights, or weights that are not those of this architecture.
        """
        weights = _load_weights_only(state_dict) if isinstance(state_dict, str | os.PathLike) else state_dict
        if not isinstance(weights, Mapping):
            raise ValueError(f"state_dict: expected a dict of tensors, actual {type(weights).__name__}")
        separator = cls.from_config(config, window_samples=window_samples)
        _fill(separator.model, weights)
        return separator

    def settings(self) -> dict[str, Any]:
        """All but the weights, in plain JSON, of which `from_settings` builds a separator like this one.

        Raises:
            TypeError: The model is not a DPRNNTasNet.
        """
        if not isinstance(self.model, DPRNNTasNet):
            raise TypeError(f"model: expected a DPRNNTasNet to save, actual {type(self.model).__name__}")
        return {
            "model_args": self.model.get_model_args(),
            "window_samples": self.window_samples,
            "keeps_level": self.keeps_level,
            "slots": list(self.slots) if isinstance(self.slots, tuple) else self.slots,
        }

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Separator:
        """Build a separator whose weights are still to be filled in.

        Args:
            settings: ``model_args``, a DPRNNTasNet's arguments, and any of the class's own from ``window_samples`` on.

        Raises:
            AssertionError, AttributeError, KeyError, RuntimeError, TypeError, ValueError: They are not; which of these
                is up to Asteroid.
        """
        own = dict(settings)
        # The weights that it starts with are thrown away; drawing them must not change what others draw.
        with torch.random.fork_rng(devices=[]):
            model = DPRNNTasNet(**own.pop("model_args"))
        return cls(model, **own)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Separator:
        """Load a file as Asteroid's ``model.serialize()`` or `save` writes it; a missing sample_rate means 8000 Hz.

        Only tensors, plain Python values and the numpy scalars that published files carry among their results are read.
        Anything else is refused before any of it runs.

        Raises:
            FileNotFoundError: No such file.
            ValueError: The file is corrupt, holds other objects, lacks an entry, is not a DPRNNTasNet, or its weights
                do not fit its settings.
        """
        content = _load_weights_only(path)
        if not isinstance(content, Mapping):
            raise ValueError(f"{path}: expected a dict as Asteroid writes it, actual {type(content).__name__}")
        missing = [key for key in ("model_name", "model_args", "state_dict") if key not in content]
        if missing:
            raise ValueError(
                f"{path}: expected the entries model_name, model_args and state_dict, "
                f"actual {sorted(map(str, content))}; {missing} missing (weights alone: Separator.from_state_dict)"
            )
        if content["model_name"] != DPRNNTasNet.__name__:
            raise ValueError(
                f"{path}: model_name: expected {DPRNNTasNet.__name__}, actual {content['model_name']!r}; load it with "
                "Asteroid and give the model itself"
            )
        infos = content.get("infos")
        own = infos if isinstance(infos, Mapping) else {}
        settings = {key: own[key] for key in ("window_samples", "keeps_level", "slots") if key in own}
        arguments = content["model_args"]
        if isinstance(arguments, Mapping) and arguments.get("sample_rate") is None:
            arguments = {**arguments, "sample_rate": 8000}
        return cls._restored(path, {"model_args": arguments, **settings}, content["state_dict"])

    @classmethod
    def from_folder(cls, name_or_folder: str | os.PathLike[str]) -> Separator:
        """Load one of `separator_names`, or a folder that `save_separator` wrote.

        Raises:
            FileNotFoundError: Its weights are not there.
            ValueError: There is none of that name, or its files are corrupt or do not fit each other.
        """
        return cls._restored(SEPARATORS.get(name_or_folder), *SEPARATORS.read(name_or_folder))

    @classmethod
    def _restored(cls, origin: str | os.PathLike[str], settings: Mapping[str, Any], weights: Any) -> Separator:
        """Build what was saved.

        Raises:
            ValueError: Settings and weights are not those of a DPRNNTasNet, or not of the same.
        """
        try:
            separator = cls.from_settings(settings)
            _fill(separator.model, weights)
        except (AssertionError, AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(f"{origin}: not the settings and weights of a DPRNNTasNet: {error}") from error
        return separator

    @classmethod
    def from_pretrained(cls, name_or_path: str | os.PathLike[str]) -> Separator:
        """Load what is trained already, by its name or from disk.

        Args:
            name_or_path: One of `separator_names`; a folder that `save_separator` wrote; an Asteroid file; or a hub
                name, "owner/name" or "owner/name@revision", whose file is downloaded once, kept where Asteroid keeps
                it, and read as carefully as any (`from_file`).

        Raises:
            FileNotFoundError: None of these, and not to be had from the hub.
            ValueError: As `from_file` and `from_folder`.
        """
        name = name_or_path
        if SEPARATORS.find(name) is not None:
            return cls.from_folder(name)
        if not isinstance(name, str) or not _is_hub_name(name):
            return cls.from_file(name)
        try:
            path = cached_download(name)
        except (OSError, ValueError) as error:
            raise FileNotFoundError(
                f"separator: {name!r} is not a file, and the hub gave nothing under that name: {error}"
            ) from error
        return cls.from_file(path)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write Asteroid's own layout, which ``DPRNNTasNet.from_pretrained`` reads too; whole, or not at all.

        Args:
            path: The file; replaced when there is one. Its folder must exist.

        Raises:
            TypeError: The model is not a DPRNNTasNet.
        """
        settings = self.settings()
        content = {
            "model_name": DPRNNTasNet.__name__,
            "model_args": settings.pop("model_args"),
            "state_dict": self.model.state_dict(),
            # Not model.serialize(): it imports pytorch_lightning, and the TorchVersion it records keeps torch.load from
            # reading the file with weights_only.
            "infos": {
                "software_versions": {
                    "torch_version": str(torch.__version__),
                    "asteroid_version": asteroid.__version__,
                },
                **settings,
            },
        }
        with written_whole(path) as unfinished:
            torch.save(content, unfinished)


def separator_names() -> tuple[str, ...]:
    """The trained separators that are shipped."""
    return SEPARATORS.names()


def separator_card(name: str) -> str:
    """What a shipped separator was trained on, how, and what it reaches: Markdown.

    Raises:
        ValueError: There is no separator of that name.
    """
    return SEPARATORS.card(name)


def save_separator(
    separator: Separator, folder: str | os.PathLike[str], card: str, made_by: Provenance | None = None
) -> None:
    """Write a separator as those that are shipped, which `load_separator` reads: weights, settings and card.

    Args:
        separator: Around a DPRNNTasNet.
        folder: Made if it is not there.
        card: Markdown.
        made_by: What made it, written into ``separator.json``; None: the versions that are at work.

    Raises:
        TypeError: The model is not a DPRNNTasNet.
    """
    SEPARATORS.write(folder, separator.settings(), separator.model.state_dict(), card, made_by)


def load_separator(
    separator: str | os.PathLike[str] | SeparatorConfig | nn.Module,
    num_sources: int = 2,
    sample_rate: int = 8000,
    window_samples: int | None = None,
    seed: int = 0,
) -> Separator:
    """Make a separator from whatever names one, and check that it fits the audio.

    Args:
        separator: "full" or "compact" (untrained); "none", which gives the mono mixture in place of every source;
            settings (untrained); one of `separator_names`, or a folder that `save_separator` wrote; the path of an
            Asteroid file; a hub name; or a module that maps (B, N) to (B, S, N), a `Separator` among them, which is
            copied.
        num_sources: S that is wanted.
        sample_rate: Hz, of the audio.
        window_samples: N of the audio; None leaves it open.
        seed: Of the weights of an untrained separator.

    Returns:
        A separator of its own, sharing no weight with what was passed.

    Raises:
        FileNotFoundError: Neither a name nor a file nor to be had from the hub.
        TypeError: separator is none of these.
        ValueError: An unreadable file, or weights made for another number of sources, sample rate or window.
    """
    loaded: Separator
    if isinstance(separator, str) and separator in CONFIGS:
        config = dataclasses.replace(CONFIGS[separator], num_sources=num_sources, sample_rate=sample_rate)
        loaded = Separator.from_config(config, seed)
    elif separator == NO_SEPARATION:
        loaded = Separator(Unseparated(num_sources), num_sources, sample_rate)
    elif isinstance(separator, SeparatorConfig):
        loaded = Separator.from_config(separator, seed)
    elif isinstance(separator, str | os.PathLike):
        loaded = Separator.from_pretrained(separator)
    elif isinstance(separator, Separator):
        loaded = copy.deepcopy(separator)
    elif isinstance(separator, nn.Module):
        own_sources, own_rate = _told_by(separator)
        loaded = Separator(copy.deepcopy(separator), own_sources or num_sources, own_rate or sample_rate)
    else:
        raise TypeError(
            f"separator: expected one of {_names()}, a SeparatorConfig, the path of a file, a hub name "
            f'"owner/name" or a torch.nn.Module, actual {type(separator).__name__}'
        )
    for name, wanted, made_for in (
        ("num_sources", num_sources, loaded.num_sources),
        ("sample_rate", sample_rate, loaded.sample_rate),
        ("window_samples", window_samples, loaded.window_samples),
    ):
        if wanted is not None and made_for is not None and wanted != made_for:
            raise ValueError(
                f"{name}: the separator's weights were made for {made_for}, actual {wanted}; "
                "change the environment to match, or use another separator"
            )
    return loaded


def _names() -> list[str]:
    """All names that `load_separator` knows."""
    return [*sorted(CONFIGS), NO_SEPARATION, *separator_names()]


def _told_by(model: nn.Module) -> tuple[int | None, int | None]:
    """The number of sources and the sample rate, Hz, that a model is made for; None where it does not tell."""
    num_sources = int(model.masker.n_src) if isinstance(model, DPRNNTasNet) else None
    sample_rate = getattr(model, "sample_rate", None)
    return num_sources, None if sample_rate is None else int(sample_rate)


def _agree(name: str, given: int | None, own: int | None) -> int | None:
    if own is None:
        return given
    if given is not None and given != own:
        raise ValueError(f"{name}: expected the model's own {own}, actual {given}; leave it out")
    return own


def _is_hub_name(name: str) -> bool:
    """Whether a name can only be meant for the hub: "owner/name" with nothing at that place on disk.

    Raises:
        FileNotFoundError: It is not there, and it cannot be a hub name either.
    """
    if os.path.exists(name):
        return False
    owner, _, rest = name.partition("/")
    looks_like_path = owner in ("", ".", "..", "~") or "/" in rest or rest.endswith((".pth", ".pt", ".bin"))
    if rest and not looks_like_path:
        return True
    raise FileNotFoundError(
        f"separator: no file {name!r}; expected one of {_names()}, the path of a file that Asteroid or Separator.save "
        'wrote, of a folder that save_separator wrote, or a hub name "owner/name"'
    )


def _fill(model: nn.Module, state_dict: Mapping[str, Tensor]) -> None:
    """Put weights into a model, all of them or none.

    Raises:
        ValueError: Names or shapes are not the model's.
    """
    weights = dict(state_dict)
    consume_prefix_in_state_dict_if_present(weights, "model.")
    own = model.state_dict()
    missing, unknown = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    if missing or unknown:
        raise ValueError(
            f"state_dict: expected the names of {type(model).__name__}'s weights, "
            f"actual {sorted(weights)}; missing {missing}, unknown {unknown}"
        )
    differing = [
        f"{name}: expected {tuple(own[name].shape)}, actual {tuple(weights[name].shape)}"
        for name in own
        if weights[name].shape != own[name].shape
    ]
    if differing:
        raise ValueError(f"state_dict: weights of another shape than the settings say: {'; '.join(differing)}")
    model.load_state_dict(weights)


def _load_weights_only(path: str | os.PathLike[str]) -> Any:
    """Read a file that torch.save wrote, refusing every object that is not data.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Corrupt, or holding an object that is not allowed.
    """
    with open(path, "rb") as file, torch.serialization.safe_globals(_hub_file_globals()):
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:
            # A corrupt file can raise nearly anything: the unpickler meets arbitrary bytes.
            raise ValueError(
                f"{os.fspath(path)}: expected weights and plain values alone, as Asteroid and Separator.save write; "
                "this file is corrupt or holds other objects, none of which were run"
            ) from error


def _hub_file_globals() -> list[Any]:
    """List what Asteroid's published files hold beside tensors and plain values: numpy scalars and torch's version."""
    dtypes = [np.dtype(name) for name in ("bool", "int32", "int64", "float32", "float64")]
    scalar = np.float64(0).__reduce__()[0]
    return [
        # The same function, under the names that numpy 1 and numpy 2 write.
        (scalar, "numpy.core.multiarray.scalar"),
        (scalar, "numpy._core.multiarray.scalar"),
        np.dtype,
        *{type(dtype) for dtype in dtypes},
        TorchVersion,
    ]
