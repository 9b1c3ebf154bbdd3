"""Plain data in place of objects: what a file can hold of a world, and the versions that made a result.

A dataclass becomes a mapping of its fields, with the name of its class as ``type``::

    >>> from auralnav_gym import Babble
    >>> to_plain(Babble(snr_db=7.0))
    {'type': 'Babble', 'snr_db': 7.0, 'kinds': ['speech'], 'num_directions': 32}
    >>> from_plain(Babble, {"snr_db": 7})
    Babble(snr_db=7.0, kinds=('speech',), num_directions=32)

Dataclasses of one's own need no more than that: where an :class:`auralnav_gym.Ears` is expected, any class that is
derived from it is found by its name, once the module that defines it has been imported. Nothing is imported, and no
code but that of such classes runs, whatever a file says.

A class that is no dataclass, or that holds more than belongs into a file, defines two methods: ``to_config(self)``,
which returns a mapping of plain data, and the class method ``from_config(cls, data)``, which takes it. What
:func:`from_plain` refuses there is called by the whole path.
"""

from __future__ import annotations

import difflib
import hashlib
import inspect
import json
import math
import os
import platform
import types
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import InitVar, fields, is_dataclass
from enum import Enum
from importlib.metadata import version
from numbers import Integral, Real
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, TypeVar, Union, get_args, get_origin, get_type_hints, overload

import numpy as np

T = TypeVar("T")

# What a field's metadata may tell under this key: another type from which a class makes the field's.
SHORTHAND = "shorthand"

_TYPE = "type"
_INFINITIES = {"inf": math.inf, "-inf": -math.inf}
_SEQUENCES = (list, Sequence, Collection, Iterable)
_MAPPINGS = (dict, Mapping)
_LINE = 110
# Of an array in a file.
_MOST_NUMBERS = 1000
_WORDS: dict[Any, str] = {
    None: "null",
    type(None): "null",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a string",
    Path: "a path",
    os.PathLike: "a path",
    Any: "anything",
}

# What the world is made with. What rounds the samples of a sound or draws a scene is among them.
_DISTRIBUTIONS = ("numpy", "scipy", "pyroomacoustics", "gymnasium", "shapely", "soundfile", "soxr")


class ConfigError(ValueError):
    """Data from which what is expected cannot be made. The message begins with the dotted path to them."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path, self.message = path, message


def versions(*more: str) -> dict[str, str]:
    """The versions of AuralNav, of Python, and of the distributions that the world is made with.

    Args:
        *more: Names of other distributions, such as ``"torch"``.

    Raises:
        importlib.metadata.PackageNotFoundError: One of them is not installed.
    """
    return {
        "auralnav": version("auralnav"),
        "python": platform.python_version(),
        **{name: version(name) for name in (*_DISTRIBUTIONS, *more)},
    }


def to_text(data: Any) -> str:
    """JSON of plain data that people can read: what is short is on one line, what is long on several."""
    return _lines(data, 0)


def _lines(data: Any, indent: int) -> str:
    line = json.dumps(data, allow_nan=False)
    if not isinstance(data, dict | list) or not data or (indent and indent + len(line) <= _LINE):
        return line
    inner = " " * (indent + 2)
    if isinstance(data, dict):
        items = [f"{json.dumps(key)}: {_lines(value, indent + 2)}" for key, value in data.items()]
    else:
        items = [_lines(value, indent + 2) for value in data]
    opening, closing = "{}" if isinstance(data, dict) else "[]"
    return f"{opening}\n{inner}" + f",\n{inner}".join(items) + f"\n{' ' * indent}{closing}"


# ---- Writing ---------------------------------------------------------------------------------------------------------


def to_plain(value: Any, path: str = "", *, strict: bool = True) -> Any:
    """What JSON can hold in place of a value, from which :func:`from_plain` makes it again.

    Args:
        value: None, a string, a number, a path, a member of an enumeration; a list, tuple, array or mapping of such; a
            dataclass, or an object with ``to_config()``. Of an array of more than 1000 numbers only a digest is
            written.
        path: What errors call it.
        strict: Whether to refuse any other object. Otherwise its type is all that is said of it.

    Raises:
        TypeError: It is none of these; the message begins with the dotted path.
        ValueError: A number is NaN.
    """
    if value is None or isinstance(value, bool | np.bool_):
        return None if value is None else bool(value)
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return _plain_number(float(value), path)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "to_config"):
        return _tagged(value, value.to_config(), path, strict)
    if is_dataclass(value) and not isinstance(value, type):
        named = {field.name: getattr(value, field.name) for field in fields(value) if field.init}
        if _TYPE in named:
            raise TypeError(f"{_join(path, _TYPE)}: expected no field of this name, which tells the class, in a file")
        return _tagged(value, named, path, strict)
    if isinstance(value, Mapping):
        return _plain_items(value, path, strict)
    if isinstance(value, np.ndarray):
        return _plain_array(value, path, strict)
    if isinstance(value, list | tuple):
        return [to_plain(each, f"{path}[{index}]", strict=strict) for index, each in enumerate(value)]
    if not strict:
        return {_TYPE: type(value).__name__}
    raise TypeError(
        f"{path or 'value'}: expected plain data, a dataclass, or an object with to_config(), to write to a file, "
        f"actual: {type(value).__name__}. Make its class a frozen dataclass, or define to_config() and from_config() "
        "in it (see auralnav_gym.config)."
    )


def _plain_number(number: float, path: str) -> float | str:
    if math.isnan(number):
        raise ValueError(f"{path or 'value'}: expected a number, actual: nan")
    return number if math.isfinite(number) else str(number)


def _plain_array(array: np.ndarray, path: str, strict: bool) -> Any:
    """Lists of numbers; of more than fit into a file, what identifies them."""
    if array.size <= _MOST_NUMBERS:
        return to_plain(array.tolist(), path, strict=strict)
    little_endian = array.astype(array.dtype.newbyteorder("<"), order="C")
    digest = hashlib.sha256(little_endian.tobytes()).hexdigest()
    return {_TYPE: np.ndarray.__name__, "shape": list(array.shape), "dtype": array.dtype.name, "sha256": digest}


def _tagged(value: Any, named: Mapping[str, Any], path: str, strict: bool) -> dict[str, Any]:
    return {_TYPE: type(value).__name__, **_plain_items(named, path, strict)}


def _plain_items(named: Mapping[Any, Any], path: str, strict: bool) -> dict[str, Any]:
    odd = [key for key in named if not isinstance(key, str)]
    if odd:
        raise TypeError(f"{path or 'value'}: expected strings for keys, actual: {odd}")
    return {key: to_plain(each, _join(path, key), strict=strict) for key, each in named.items()}


# ---- Reading ---------------------------------------------------------------------------------------------------------


@overload
def from_plain(expected: type[T], data: Any, path: str = "") -> T: ...


@overload
def from_plain(expected: Any, data: Any, path: str = "") -> Any: ...


def from_plain(expected: Any, data: Any, path: str = "") -> Any:
    """What :func:`to_plain` has made plain data of.

    Args:
        expected: The type: a scalar, a dataclass, a base class (the data say which of its subclasses), or such types in
            ``tuple``, ``Sequence``, ``Mapping``, ``Optional``, unions or ``Literal``. Sequences become tuples.
        data: Plain data. A dataclass is a mapping of some or all of its fields, and of ``type`` unless it is clear.
        path: What errors call it.

    Raises:
        ConfigError: Something else is there, a key is unknown or missing, or a class refuses a value; the message
            begins with the dotted path to it.
    """
    expected = _without_wrapping(expected)
    if expected is Any or expected is object:
        return data
    origin, arguments = get_origin(expected) or expected, get_args(expected)
    if origin in (Union, types.UnionType):
        return _read_union(arguments, data, path)
    if origin is np.ndarray:
        return _read_array(data, path)
    if not _fits(expected, data):
        raise ConfigError(path, f"expected {_in_words(expected)}, actual: {data!r}")
    if origin is Literal or expected in (None, type(None), bool, str):
        return data
    if expected is int:
        return int(data)
    if expected is float:
        return _INFINITIES[data] if isinstance(data, str) else float(data)
    if expected in (Path, os.PathLike):
        return Path(data)
    if origin is tuple:
        return _read_tuple(arguments, data, path)
    if origin in _SEQUENCES:
        items = _read_tuple((*arguments, ...) if arguments else (), data, path)
        return list(items) if origin is list else items
    if origin in _MAPPINGS:
        each = arguments[1] if arguments else Any
        return {key: from_plain(each, value, _join(path, key)) for key, value in data.items()}
    if isinstance(origin, type) and issubclass(origin, Enum):
        return origin[data]
    if isinstance(origin, type):
        return _read_object((origin,), data, path)
    raise ConfigError(path, f"expected a type that can be read from a file, actual: {expected}")


def _read_tuple(arguments: Sequence[Any], data: Sequence[Any], path: str) -> tuple[Any, ...]:
    if not arguments:
        return tuple(data)
    each = [arguments[0]] * len(data) if arguments[-1] is ... else arguments
    if len(each) != len(data):
        raise ConfigError(path, f"expected a list of {_several_in_words(tuple, arguments)}, actual: {data!r}")
    return tuple(
        from_plain(kind, value, f"{path}[{index}]") for index, (kind, value) in enumerate(zip(each, data, strict=True))
    )


def _read_array(data: Any, path: str) -> np.ndarray:
    """Of numbers, float64."""
    if isinstance(data, Mapping) and data.get(_TYPE) == np.ndarray.__name__:
        raise ConfigError(
            path,
            f"expected numbers, actual: an array of shape {data.get('shape')}, which the file only identifies; give "
            f"what it belongs to beside the file, World.load(path, {path.partition('.')[0]}=...)",
        )
    try:
        return np.array(data, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigError(path, f"expected numbers in lists of equal length, actual: {data!r}") from error


def _read_union(members: Sequence[Any], data: Any, path: str) -> Any:
    fitting = [member for member in members if _fits(member, data)]
    if not fitting:
        raise ConfigError(path, f"expected {_any_in_words(members)}, actual: {data!r}")
    classes = tuple(member for member in fitting if _is_class(member))
    if len(classes) == len(fitting):
        return _read_object(classes, data, path)
    errors = []
    for member in fitting:
        try:
            return from_plain(member, data, path)
        except ConfigError as error:
            errors.append(error)
    # The alternative that was meant is the one in which the error lies deepest.
    raise max(errors, key=lambda error: len(str(error).partition(":")[0]))


def _read_object(bases: tuple[type, ...], data: Mapping[str, Any], path: str) -> Any:
    """An object of one of some classes, or of a class that is derived from one of them."""
    chosen: Any = _class_of(bases, data, path)
    if hasattr(chosen, "from_config"):
        with _located(path):
            return chosen.from_config({key: value for key, value in data.items() if key != _TYPE})
    settings = _read_settings(chosen, data, path)
    with _located(path):
        return chosen(**settings)


def _read_settings(chosen: type, data: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The arguments of a dataclass."""
    parameters = inspect.signature(chosen).parameters
    try:
        kinds = get_type_hints(chosen, include_extras=True)
    except NameError as error:
        raise ConfigError(path, f"the annotations of {chosen.__qualname__} cannot be resolved: {error}") from error
    shorthands = {field.name: field.metadata.get(SHORTHAND) for field in fields(chosen)}
    unknown = [key for key in data if key != _TYPE and key not in parameters]
    if unknown:
        choices = list(parameters)
        raise ConfigError(
            _join(path, unknown[0]), f"unknown key; expected one of {choices}.{did_you_mean(unknown[0], choices)}"
        )
    missing = [name for name, each in parameters.items() if each.default is each.empty and name not in data]
    if missing:
        raise ConfigError(
            _join(path, missing[0]), f"missing key; expected {_in_words(kinds[missing[0]])}, actual keys: {list(data)}"
        )
    settings = {}
    for name in parameters:
        if name in data:
            kind = kinds[name] if shorthands.get(name) is None else kinds[name] | shorthands[name]
            settings[name] = from_plain(kind, data[name], _join(path, name))
    return settings


def _class_of(bases: tuple[type, ...], data: Mapping[str, Any], path: str) -> type:
    """The class that the data name."""
    where, name = _join(path, _TYPE), data.get(_TYPE)
    if name is None:
        if len(bases) == 1 and _can_be_made(bases[0]):
            return bases[0]
        raise ConfigError(where, f"missing key; expected one of {_names(bases)}, actual keys: {list(data)}")
    # Of classes of the same name in the same place, such as in a notebook, the latest.
    found = {
        (each.__module__, each.__qualname__): each
        for base in bases
        for each in _kinds_of(base)
        if each.__name__ == name and _derives(each, base)
    }
    if not found:
        choices = _names(bases)
        raise ConfigError(
            where,
            f"unknown type; expected one of {choices}, actual: {name!r}.{did_you_mean(name, choices)} If it is a class "
            "of your own, first import the module that defines it.",
        )
    if len(found) > 1:
        places = sorted(".".join(place) for place in found)
        raise ConfigError(where, f"expected the name of a single class, actual: {name!r}, which is {places}")
    (chosen,) = found.values()
    if not _can_be_made(chosen):
        raise ConfigError(
            where,
            f"expected a dataclass, or a class with from_config(), actual: {chosen.__module__}.{chosen.__qualname__}",
        )
    return chosen


def _kinds_of(base: type) -> Iterator[type]:
    """A class and all that are derived from it; for a protocol, which classes need not be derived from, all there are.

    In the order in which they were defined, as far as they are siblings.
    """
    waiting = [object if _is_protocol(base) else base]
    seen = set()
    while waiting:
        each = waiting.pop(0)
        if each not in seen:
            seen.add(each)
            yield each
            waiting += type.__subclasses__(each)


def _derives(kind: type, base: type) -> bool:
    if not _is_protocol(base) or base in kind.__mro__:
        return issubclass(kind, base)
    # What says itself which protocol it follows follows no other that looks the same.
    says_another = any(_is_protocol(each) for each in kind.__mro__)
    return _can_be_made(kind) and not says_another and issubclass(kind, base)


def _names(bases: Iterable[type]) -> list[str]:
    """The names of the classes that can be made; those that only look like a protocol if they are defined beside it."""
    return sorted(
        {
            each.__name__
            for base in bases
            for each in _kinds_of(base)
            if (base in each.__mro__ or each.__module__ == base.__module__)
            and not each.__name__.startswith("_")
            and _can_be_made(each)
            and _derives(each, base)
        }
    )


def _can_be_made(kind: type) -> bool:
    is_abstract = inspect.isabstract(kind) or _is_protocol(kind)
    return not is_abstract and (is_dataclass(kind) or hasattr(kind, "from_config"))


def _is_protocol(kind: type) -> bool:
    return kind is not Protocol and getattr(kind, "_is_protocol", False)


def _fits(expected: Any, data: Any) -> bool:
    """Whether data could be what is expected, by a first look."""
    expected = _without_wrapping(expected)
    origin = get_origin(expected) or expected
    if origin in (Union, types.UnionType):
        return any(_fits(member, data) for member in get_args(expected))
    if origin is Literal:
        return any(type(each) is type(data) and each == data for each in get_args(expected))
    if expected in (None, type(None)):
        return data is None
    if expected is bool:
        return isinstance(data, bool)
    if expected is int:
        return _is_number(data) and data == int(data)
    if expected is float:
        return _is_number(data) or (isinstance(data, str) and data in _INFINITIES)
    if expected in (str, Path, os.PathLike):
        return isinstance(data, str)
    if origin in (tuple, np.ndarray, *_SEQUENCES):
        return isinstance(data, list | tuple)
    if isinstance(origin, type) and issubclass(origin, Enum):
        return isinstance(data, str) and data in origin.__members__
    return expected is Any or expected is object or isinstance(data, Mapping)


def _is_number(data: Any) -> bool:
    return isinstance(data, int | float) and not isinstance(data, bool) and math.isfinite(data)


def _is_class(expected: Any) -> bool:
    others = (bool, int, float, str, object, tuple, np.ndarray, type(None), Path, os.PathLike)
    return isinstance(expected, type) and expected not in (*others, *_SEQUENCES, *_MAPPINGS)


def _in_words(expected: Any) -> str:
    expected = _without_wrapping(expected)
    origin, arguments = get_origin(expected) or expected, get_args(expected)
    if origin in (Union, types.UnionType):
        return _any_in_words(arguments)
    if origin is Literal:
        return f"one of {list(arguments)}"
    if origin in (tuple, np.ndarray, *_SEQUENCES):
        return f"a list of {_several_in_words(origin, arguments)}"
    if origin in _MAPPINGS:
        return "a mapping"
    if isinstance(origin, type) and issubclass(origin, Enum):
        return f"one of {list(origin.__members__)}"
    if _is_class(origin):
        return _classes_in_words([origin])
    return _WORDS.get(expected, str(expected))


def _any_in_words(members: Sequence[Any]) -> str:
    classes = [member for member in members if _is_class(member)]
    words = [_classes_in_words(classes)] if classes else []
    words += dict.fromkeys(_in_words(member) for member in members if member not in classes)
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


def _classes_in_words(classes: Sequence[type]) -> str:
    names = _names(classes)
    return f"a mapping that describes {f'a {names[0]}' if len(names) == 1 else f'one of {names}'}"


def _several_in_words(origin: Any, arguments: Sequence[Any]) -> str:
    """What a list is of: such as "2 numbers"."""
    each = {_plural(argument) for argument in arguments if argument is not ...} or {"values"}
    many = each.pop() if len(each) == 1 else "values"
    is_fixed = origin is tuple and arguments and arguments[-1] is not ...
    return f"{len(arguments)} {many}" if is_fixed else many


def _plural(expected: Any) -> str:
    words = {float: "numbers", int: "whole numbers", str: "strings"}
    origin, arguments = get_origin(expected) or expected, get_args(expected)
    if origin in (tuple, *_SEQUENCES):
        return f"lists of {_several_in_words(origin, arguments)}"
    return words.get(expected, "values")


def _without_wrapping(expected: Any) -> Any:
    if isinstance(expected, InitVar):
        return expected.type
    return get_args(expected)[0] if get_origin(expected) is Annotated else expected


def did_you_mean(name: Any, choices: Sequence[str]) -> str:
    """A sentence, after a space, that names the choice nearest to a name; "" if none is near."""
    return "".join(f" Did you mean {near!r}?" for near in difflib.get_close_matches(str(name), choices, n=1))


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


@contextmanager
def _located(path: str) -> Iterator[None]:
    """Say where it is that a class refuses what it is given."""
    try:
        yield
    except ConfigError as error:  # of a from_config() that has read its parts by from_plain()
        raise ConfigError(_join(path, error.path) if error.path else path, error.message) from error
    except (TypeError, ValueError) as error:
        raise ConfigError(path, str(error)) from error
