"""Where the microphones sit on the head, and how they hear.

Head frame: x ahead, y to the left, z up, metres, the origin at the agent's centre. Ear 0 is the left one.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from pyroomacoustics.directivities.base import Directivity

from auralnav_gym.config import from_plain
from auralnav_gym.directivities import PlainDirectivity, as_plain

# Of microphones that are given no other places, metres.
_PLACES = ((0.0, 0.085, 0.0), (0.0, -0.085, 0.0))


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
    def reference_points(self) -> np.ndarray:
        """(E, 3) float64, where in the head frame a wave is taken to arrive, metres: at the ears themselves.

        Distances, directions and what an image source lets through to an ear are reckoned from here. Ears whose
        :meth:`filters` hold the way from the head's centre to the ear give zeros.
        """
        return self.positions

    def filters(self, directions: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Filters of every ear towards where a sound comes from, in place of the gains.

        Args:
            directions: As for :meth:`gains`, seen from the :attr:`reference_points`.
            sample_rate: Hz.

        Returns:
            None where the gains are all there is. Otherwise (S, E, I, T) float32 impulse responses, where T depends on
            the sample rate only, and (S, E, I) float64 delays in seconds to be added to the time that the sound takes
            to the reference point; below 0 where the ear hears it before it would be there.
        """
        return None

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


@dataclass(frozen=True, eq=False)
class MicrophoneArray(Ears):
    """Any microphones, each with any directivity that pyroomacoustics has.

    A directivity that is a formula (``CardioidFamily`` and its kin) gives gains. One that was measured
    (``MeasuredDirectivity``) gives the response nearest to the direction, at its own sample rate only. Their axes are
    those of the head: an orientation at azimuth 0 looks ahead, at azimuth 90 degrees to the left.

    Arrays are equal if their microphones are at the same places and their directivities are the same formulas, or the
    very same objects if they were measured. The file of a world holds formulas, and refuses what was measured.

    Attributes:
        positions: (E, 3) float64, the microphones in the head frame, metres; the first two count as left and right ear.
        directivities: One for each microphone, or one for all of them; None, in place of one or of all: it hears
            equally well to all sides.

    Raises:
        TypeError: If a directivity is none of pyroomacoustics'.
        ValueError: If there are fewer than two microphones, or not as many directivities as microphones.
    """

    # A tuple, since a dataclass refuses arrays as defaults; an array from the first moment on.
    positions: np.ndarray = _PLACES  # type: ignore[assignment]
    directivities: Directivity | Sequence[Directivity | None] | None = None

    def __post_init__(self) -> None:
        positions = require_positions(self.positions)
        given = self.directivities
        directivities = tuple(given) if isinstance(given, Sequence) else (given,) * len(positions)
        for directivity in directivities:
            if not (directivity is None or isinstance(directivity, Directivity)):
                raise TypeError(
                    f"ears directivities: expected Directivity objects of pyroomacoustics, actual: {directivity!r}"
                )
        if len(directivities) != len(positions):
            raise ValueError(
                f"ears directivities: expected one, or one for each of the {len(positions)} microphones, actual: "
                f"{len(directivities)}"
            )
        object.__setattr__(self, "positions", positions)
        object.__setattr__(self, "directivities", directivities)

    def gains(self, directions: np.ndarray) -> np.ndarray:
        """The directivities' own responses; of a measured one, the root of the energy of its impulse response."""
        gains = np.ones(directions.shape[1:])
        for ear, directivity in enumerate(self._directivities):
            if directivity is not None:
                responses = _respond(directivity, directions[:, :, ear])
                measured = directivity.is_impulse_response
                gains[:, ear] = np.sqrt(np.square(responses).sum(axis=-1)) if measured else responses
        return gains

    def filters(self, directions: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray] | None:
        """The impulse responses of those that were measured, beside the gains of the others; else see :class:`Ears`.

        Raises:
            ValueError: If a measured directivity has another sample rate.
        """
        measured = [each for each in self._directivities if each is not None and each.is_impulse_response]
        if not measured:
            return None
        for directivity in measured:
            if directivity.fs != sample_rate:
                raise ValueError(
                    f"ears directivities: expected measured ones at the environment's sample_rate, {sample_rate} Hz, "
                    f"actual: {directivity.fs} Hz; read them with MeasuredDirectivityFile(..., fs={sample_rate})"
                )
        taps = max(directivity.filter_len_ir for directivity in measured)
        filters = np.zeros((*directions.shape[1:], taps), dtype=np.float32)
        filters[..., 0] = 1.0
        for ear, directivity in enumerate(self._directivities):
            if directivity is not None:
                responses = _respond(directivity, directions[:, :, ear])
                responses = responses if directivity.is_impulse_response else responses[..., None]
                filters[:, ear, :, : responses.shape[-1]] = responses
        return filters, np.zeros(directions.shape[1:])

    @property
    def _directivities(self) -> tuple[Directivity | None, ...]:
        assert isinstance(self.directivities, tuple)
        return self.directivities

    def to_config(self) -> dict[str, Any]:
        """What the file of a world holds: places and formulas."""
        return {"positions": self.positions, "directivities": [*map(as_plain, self._directivities)]}

    @classmethod
    def from_config(cls, data: Mapping[str, Any]) -> MicrophoneArray:
        """The array of a file.

        Raises:
            ConfigError: If something else is there; the message begins with the dotted path to it.
        """
        plain = from_plain(_PlainArray, data)
        given = plain.directivities
        if not isinstance(given, Sequence):
            given = [given] * len(plain.positions)
        return cls(plain.positions, [None if each is None else each.to_directivity() for each in given])

    def _values(self) -> tuple[Any, ...]:
        """What makes two arrays equal."""
        return (*self.positions.ravel().tolist(), *map(as_plain, self._directivities))

    def __eq__(self, other: object) -> bool:
        return self._values() == other._values() if isinstance(other, MicrophoneArray) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._values())

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle through the constructor: numpy forgets that an array was read-only."""
        return MicrophoneArray, (self.positions, self.directivities)


@dataclass(frozen=True)
class _PlainArray:
    """A `MicrophoneArray` as files hold it."""

    positions: np.ndarray = _PLACES  # type: ignore[assignment]
    directivities: PlainDirectivity | Sequence[PlainDirectivity | None] | None = None


def require_positions(positions: np.ndarray) -> np.ndarray:
    """A copy of the places of ears that nobody can write to, (E, 3) float64; refuse what is not two places or more."""
    own = np.array(positions, dtype=np.float64)
    if own.ndim != 2 or own.shape[1] != 3 or len(own) < 2 or not np.isfinite(own).all():
        raise ValueError(f"ears positions: expected two or more (x, y, z) in metres, actual: {positions}")
    own.flags.writeable = False
    return own


def with_height(directions: np.ndarray) -> np.ndarray:
    """Directions (3, ...) from directions (2 or 3, ...): those in a two-dimensional room are level."""
    return directions if len(directions) == 3 else np.concatenate([directions, np.zeros_like(directions[:1])])


def _respond(directivity: Directivity, directions: np.ndarray) -> np.ndarray:
    """What pyroomacoustics says of directions (D, S, I): (S, I) gains or (S, I, T) impulse responses."""
    x, y, z = with_height(directions).reshape(3, -1)
    colatitudes = np.arccos(z.clip(-1, 1))
    responses = directivity.get_response(azimuth=np.arctan2(y, x), colatitude=colatitudes, degrees=False)
    return responses.reshape(*directions.shape[1:], *responses.shape[1:])


def _left_and_right(spacing: float) -> np.ndarray:
    return np.array([[0.0, spacing / 2, 0.0], [0.0, -spacing / 2, 0.0]])


def _require_spacing(spacing: float) -> None:
    if not (math.isfinite(spacing) and spacing > 0):
        raise ValueError(f"ears spacing: expected more than 0 metres, actual: {spacing}")
