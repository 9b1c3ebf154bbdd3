"""Where the microphones sit on the head, and how they hear.

Head frame: x ahead, y to the left, z up, metres, the origin at the agent's centre. Ear 0 is the left one.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

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

    def __repr__(self) -> str:
        settings = ", ".join(f"{name.lstrip('_')}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({settings})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]


class OmniEars(Ears):
    """Two omnidirectional microphones: no level difference but that of distance, and no front from back.

    Args:
        spacing: Distance between the ears, metres.
    """

    def __init__(self, spacing: float = 0.17) -> None:
        self._spacing = _valid_spacing(spacing)

    @property
    def positions(self) -> np.ndarray:
        """(2, 3) float64, metres."""
        return _left_and_right(self._spacing)

    def gains(self, directions: np.ndarray) -> np.ndarray:
        """1 in every direction."""
        return np.ones(directions.shape[1:])


class CardioidEars(Ears):
    """Two microphones of the cardioid family, turned outwards.

    The gain towards a unit vector r is p + (1 - p) d . r, with d the microphone's axis (as in
    ``pyroomacoustics.directivities.CardioidFamily``). The default is the ORTF technique: two cardioids 17 cm apart,
    turned 55 degrees to either side.

    Args:
        spacing: Distance between the ears, metres.
        angle: How far each microphone is turned outwards, radians.
        pattern: p; 0 a figure of eight, 0.25 a hypercardioid, 0.5 a cardioid, 1 omnidirectional.
    """

    def __init__(self, spacing: float = 0.17, angle: float = math.radians(55), pattern: float = 0.5) -> None:
        self._spacing = _valid_spacing(spacing)
        if not (math.isfinite(angle) and abs(angle) <= math.pi):
            raise ValueError(f"ears angle: expected radians in [-pi, pi], actual: {angle}")
        if not 0 <= pattern <= 1:
            raise ValueError(f"ears pattern: expected a number in [0, 1], actual: {pattern}")
        self._angle = float(angle)
        self._pattern = float(pattern)

    @property
    def positions(self) -> np.ndarray:
        """(2, 3) float64, metres."""
        return _left_and_right(self._spacing)

    @property
    def axes(self) -> np.ndarray:
        """(2, 3) float64 unit vectors in the head frame along which the microphones hear best."""
        forwards, sideways = math.cos(self._angle), math.sin(self._angle)
        return np.array([[forwards, sideways, 0.0], [forwards, -sideways, 0.0]])

    def gains(self, directions: np.ndarray) -> np.ndarray:
        """p + (1 - p) d . r; see the class."""
        axes = (1 - self._pattern) * self.axes.T[: len(directions)]
        return self._pattern + np.einsum("de,dsei->sei", axes, directions)


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


def _valid_spacing(spacing: float) -> float:
    if not (math.isfinite(spacing) and spacing > 0):
        raise ValueError(f"ears spacing: expected more than 0 metres, actual: {spacing}")
    return float(spacing)
