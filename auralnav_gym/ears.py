"""Where the microphones sit on the head, and how they hear.

Head frame: x ahead, y to the left, z up, metres, the origin at the agent's centre. Ear 0 is the left one.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np


class Ears(ABC):
    """A set of microphones that turns with the head.

    To bring one's own, fill in :attr:`positions` and :meth:`gains`.
    """

    @property
    @abstractmethod
    def positions(self) -> np.ndarray:
        """(E, 3) float64, the microphones in the head frame, metres; E is at least 2, the first is the left ear."""

    @abstractmethod
    def gains(self, directions: np.ndarray) -> np.ndarray:
        """Linear amplitude gain of every ear towards where a sound comes from.

        Args:
            directions: (D, S, E, I) float64 unit vectors in the head frame, from each of the E ears to the I images
                of S sources; D is 3, or 2 in a two-dimensional room.

        Returns:
            (S, E, I) float64.
        """

    @property
    def spacing(self) -> float:
        """Distance between ears 0 and 1, metres."""
        return float(np.linalg.norm(self.positions[0] - self.positions[1]))

    @property
    def radius(self) -> float:
        """Largest horizontal distance of an ear from the agent's centre, metres."""
        return float(np.hypot(*self.positions[:, :2].T).max())


@dataclass(frozen=True)
class OmniEars(Ears):
    """Two omnidirectional microphones: no level difference but that of distance, and no front from back.

    Attributes:
        spacing: Distance between the ears, metres.
    """

    spacing: float = 0.17

    def __post_init__(self) -> None:
        _require_spacing(self.spacing)

    @property
    def positions(self) -> np.ndarray:
        """(2, 3) float64, metres."""
        return _left_and_right(self.spacing)

    def gains(self, directions: np.ndarray) -> np.ndarray:
        """1 in every direction."""
        return np.ones(directions.shape[1:])


@dataclass(frozen=True)
class CardioidEars(Ears):
    """Two microphones of the cardioid family, turned outwards.

    The gain towards a unit vector r is p + (1 - p) d . r, with d the microphone's axis (as in
    ``pyroomacoustics.directivities.CardioidFamily``). The default is the ORTF technique: two cardioids 17 cm apart,
    turned 55 degrees to either side.

    Attributes:
        spacing: Distance between the ears, metres.
        angle: How far each microphone is turned outwards, radians.
        pattern: p; 0 a figure of eight, 0.25 a hypercardioid, 0.5 a cardioid, 1 omnidirectional.
    """

    spacing: float = 0.17
    angle: float = math.radians(55)
    pattern: float = 0.5

    def __post_init__(self) -> None:
        _require_spacing(self.spacing)
        if not (math.isfinite(self.angle) and abs(self.angle) <= math.pi):
            raise ValueError(f"ears angle: expected radians in [-pi, pi], actual: {self.angle}")
        if not 0 <= self.pattern <= 1:
            raise ValueError(f"ears pattern: expected a number in [0, 1], actual: {self.pattern}")

    @property
    def positions(self) -> np.ndarray:
        """(2, 3) float64, metres."""
        return _left_and_right(self.spacing)

    @cached_property
    def axes(self) -> np.ndarray:
        """(3, 2) float64, for each ear the direction in which it hears best, a unit vector in the head frame."""
        forwards, sideways = math.cos(self.angle), math.sin(self.angle)
        return np.array([[forwards, forwards], [sideways, -sideways], [0.0, 0.0]])

    def gains(self, directions: np.ndarray) -> np.ndarray:
        """p + (1 - p) d . r; see the class."""
        cosines = np.einsum("de,dsei->sei", self.axes[: len(directions)], directions)
        return self.pattern + (1 - self.pattern) * cosines


EARS = {"ortf": CardioidEars, "omni": OmniEars}


def as_ears(ears: Ears | str) -> Ears:
    """What the environment's ``ears=`` accepts: an :class:`Ears`, ``"ortf"`` or ``"omni"``.

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


def _left_and_right(spacing: float) -> np.ndarray:
    return np.array([[0.0, spacing / 2, 0.0], [0.0, -spacing / 2, 0.0]])


def _require_spacing(spacing: float) -> None:
    if not (math.isfinite(spacing) and spacing > 0):
        raise ValueError(f"ears spacing: expected more than 0 metres, actual: {spacing}")
