"""The ears that go by a name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from auralnav_gym.ears import CardioidEars, Ears, OmniEars
from auralnav_gym.measured_ears import MeasuredEars

EARS: Mapping[str, Callable[[], Ears]] = {
    "human": MeasuredEars.kemar,
    "omni": OmniEars,
    "ortf": CardioidEars,
}


def as_ears(ears: Ears | str) -> Ears:
    """What the environment's ``ears=`` accepts: an :class:`Ears`, ``"ortf"``, ``"omni"`` or ``"human"``.

    Raises:
        TypeError: If ``ears`` is neither.
        ValueError: If the name is unknown.
    """
    if isinstance(ears, Ears):
        return ears
    if not isinstance(ears, str):
        raise TypeError(f"ears: expected an Ears object or one of {sorted(EARS)}, actual: {ears!r}")
    if ears not in EARS:
        raise ValueError(f"ears: expected an Ears object or one of {sorted(EARS)}, actual: {ears!r}")
    return EARS[ears]()
