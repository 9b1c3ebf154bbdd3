"""Benchmarks compare within one run on one core; read the ratios, not the milliseconds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def one_core() -> Iterator[None]:
    if not hasattr(os, "sched_setaffinity"):  # not on macOS and Windows
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    yield
    os.sched_setaffinity(0, allowed)


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Versions, for the report that --benchmark-json writes."""
    machine_info["packages"] = {name: version(name) for name in ("numpy", "scipy", "pyroomacoustics", "gymnasium")}
