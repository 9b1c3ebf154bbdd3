"""Directivities of pyroomacoustics that are formulas, as plain data: to be compared, and to be written to a file.

pyroomacoustics' own objects tell neither what they were made with nor whether they are equal. For each of its classes
there is a frozen dataclass of the same name and the same arguments here::

    >>> from pyroomacoustics.directivities import Cardioid
    >>> as_plain(Cardioid([0.0, 2.0, 0.0])) == as_plain(Cardioid([0.0, 1.0, 0.0]))
    True
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import MISSING, field, fields, make_dataclass
from typing import Any, TypeVar, cast

import numpy as np
from pyroomacoustics.directivities import (
    Cardioid,
    CardioidFamily,
    DirectionVector,
    FigureEight,
    HyperCardioid,
    Omnidirectional,
    SubCardioid,
)
from pyroomacoustics.directivities.base import Directivity

T = TypeVar("T")

_KINDS = (CardioidFamily, Cardioid, FigureEight, HyperCardioid, Omnidirectional, SubCardioid)
_ARGUMENTS = {"orientation": tuple[float, float, float], "p": float, "gain": float}


class PlainDirectivity:
    """The arguments of a directivity, and by its name the class.

    Attributes:
        orientation: Where it points to, a vector of any length in the head frame; not of an omnidirectional one.
        p: In [0, 1], see ``CardioidFamily``, which is the only one to have it.
        gain: Linear.

    Raises:
        ValueError: If one of them is out of range.
    """

    def __post_init__(self) -> None:
        arguments = self._arguments
        length = math.hypot(*arguments.get("orientation", (1.0,)))
        if not 0 < length < math.inf:
            raise ValueError(f"orientation: expected a vector longer than 0, actual: {arguments['orientation']}")
        if not 0 <= arguments.get("p", 0.0) <= 1:
            raise ValueError(f"p: expected a number in [0, 1], actual: {arguments['p']}")
        if not math.isfinite(arguments["gain"]):
            raise ValueError(f"gain: expected a finite number, actual: {arguments['gain']}")

    def to_directivity(self) -> Directivity:
        """The directivity, the same to the last bit as the one it was made of."""
        arguments = self._arguments
        if "orientation" in arguments:
            arguments["orientation"] = _Direction(arguments["orientation"])
        (kind,) = (each for each in _KINDS if each.__name__ == type(self).__name__)
        return kind(**arguments)

    @property
    def _arguments(self) -> dict[str, Any]:
        return {each.name: getattr(self, each.name) for each in fields(cast(Any, self))}


def as_plain(directivity: T) -> PlainDirectivity | T:
    """The plain data of a directivity that is a formula; what is none stays what it is."""
    made = _PLAIN.get(type(directivity))
    if made is None:
        return directivity
    held: Any = directivity
    # That these are private is why there is this module.
    orientation = tuple(held._orientation.unit_vector.tolist())
    known = {"orientation": orientation, "p": float(held._p), "gain": float(held._gain)}
    return made(**{each.name: known[each.name] for each in fields(made)})


class _Direction(DirectionVector):
    """Of a vector, which it keeps to the last bit where it has length 1; angles would round it."""

    def __init__(self, vector: tuple[float, float, float]) -> None:
        own = np.array(vector)
        length = np.linalg.norm(own)
        self._vector = own / length if abs(length - 1) > 1e-12 else own
        x, y, z = self._vector
        super().__init__(math.atan2(y, x), math.acos(min(max(z, -1.0), 1.0)), degrees=False)

    @property
    def unit_vector(self) -> np.ndarray:
        return self._vector


def _make_plain(kind: type) -> Any:
    """The dataclass of one of the `_KINDS`."""
    parameters = inspect.signature(kind).parameters.values()
    defaults = {each.name: MISSING if each.default is each.empty else each.default for each in parameters}
    return make_dataclass(
        kind.__name__,
        [(name, _ARGUMENTS[name], field(default=default)) for name, default in defaults.items()],
        bases=(PlainDirectivity,),
        frozen=True,
    )


_PLAIN: Mapping[type, Any] = {kind: _make_plain(kind) for kind in _KINDS}
