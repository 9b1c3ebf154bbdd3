"""Separation of what eight environments hear in a step, or one: Asteroid's forward pass against a `Separator`'s.

    pytest tests/benchmarks/test_separator_speed.py --benchmark-enable

One thread, in processor time. Observations per second are the size of the batch times OPS; within a group, the numbers
in brackets are ratios to the fastest. In the group of a separator that is shipped is Asteroid's default DPRNNTasNet;
with --benchmark-json FILE the real-time factor of both, seconds for a second of sound, is written down too.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from asteroid.models import DPRNNTasNet
from torch import Tensor

from auralnav_sb3 import Separator, load_separator, separator_names

# What others do on this core meanwhile does not count.
pytestmark = pytest.mark.benchmark(timer=time.process_time)

NUM_SAMPLES, SAMPLE_RATE = 4000, 8000  # AuralNav's defaults


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    allowed = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(allowed)


@pytest.fixture(params=[1, 8], ids=["batch-1", "batch-8"])
def audio(request: pytest.FixtureRequest) -> Tensor:
    return 0.1 * torch.randn(request.param, 2, NUM_SAMPLES, generator=torch.Generator().manual_seed(0))


def group(benchmark: Any, name: str, audio: Tensor) -> None:
    benchmark.group = f"{name}, batch of {len(audio)}"


@pytest.mark.parametrize("name", ["compact", "full"])
def test_asteroid(benchmark: Any, name: str, audio: Tensor) -> None:
    group(benchmark, name, audio)
    model = Separator.from_config(name).model.eval()
    mixture = audio.mean(dim=1)
    with torch.no_grad():
        assert benchmark(model, mixture).shape == (len(audio), 2, NUM_SAMPLES)


@pytest.mark.parametrize("name", ["compact", "full"])
@pytest.mark.parametrize("frozen", [False, True], ids=["learning", "frozen"])
def test_separator(benchmark: Any, name: str, audio: Tensor, frozen: bool) -> None:
    """Between updates a separator that learns computes in float32; a frozen one in bfloat16 where that is faster."""
    group(benchmark, name, audio)
    separator = Separator.from_config(name).eval().requires_grad_(not frozen)
    with torch.no_grad():
        assert benchmark(separator, audio).shape == audio.shape


def note_real_time_factor(benchmark: Any, audio: Tensor) -> None:
    if not benchmark.disabled:
        seconds_heard = len(audio) * NUM_SAMPLES / SAMPLE_RATE
        benchmark.extra_info["real-time factor"] = benchmark.stats.stats.median / seconds_heard


@pytest.mark.parametrize("name", separator_names())
def test_asteroid_default(benchmark: Any, name: str, audio: Tensor) -> None:
    group(benchmark, name, audio)
    model = DPRNNTasNet(n_src=2).eval()
    mixture = audio.mean(dim=1)
    with torch.no_grad():
        assert benchmark(model, mixture).shape == audio.shape
    note_real_time_factor(benchmark, audio)


@pytest.mark.parametrize("name", separator_names())
@pytest.mark.parametrize("frozen", [False, True], ids=["learning", "frozen"])
def test_shipped_separator(benchmark: Any, name: str, audio: Tensor, frozen: bool) -> None:
    group(benchmark, name, audio)
    separator = load_separator(name).eval().requires_grad_(not frozen)
    with torch.no_grad():
        assert benchmark(separator, audio).shape == audio.shape
    note_real_time_factor(benchmark, audio)
