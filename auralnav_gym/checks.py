"""Refusals that say what was expected."""

from __future__ import annotations

import math


def require_whole(name: str, value: float, at_least: int) -> None:
    """Refuse what is no whole number of ``at_least`` or more."""
    if isinstance(value, bool) or int(value) != value or value < at_least:
        raise ValueError(f"{name}: expected a whole number of {at_least} or more, actual: {value}")


def require_positive(name: str, value: float, unit: str) -> None:
    """Refuse what is not finite and above 0."""
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name}: expected more than 0 {unit}, actual: {value}")


def require_below_ceiling(name: str, height: float | None, ceiling: float) -> None:
    """Refuse a height that is not between the floor and the ceiling (metres)."""
    if height is None or not 0 < height < ceiling:
        raise ValueError(f"{name}: expected a height between floor and ceiling (0 and {ceiling} m), actual: {height}")
