"""Microphones of pyroomacoustics in files and comparisons: the same formula is the same, to the last bit."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyroomacoustics.directivities import (
    Cardioid,
    CardioidFamily,
    DirectionVector,
    FigureEight,
    HyperCardioid,
    MeasuredDirectivity,
    Omnidirectional,
    Rotation3D,
    SubCardioid,
)
from pyroomacoustics.doa import GridSphere

from auralnav_gym import MicrophoneArray, World
from auralnav_gym.config import ConfigError, from_plain, to_plain
from auralnav_gym.directivities import as_plain

PLACES = ((0.0, 0.1, 0.0), (0.0, -0.1, 0.0))
SIDEWAYS = [0.3, -2.0, 0.5]
# Each made twice, so that what is compared are no identical objects.
MAKE: dict[str, Any] = {
    "family": lambda: CardioidFamily(SIDEWAYS, 0.3, gain=0.7),
    "family, by angles": lambda: CardioidFamily(DirectionVector(33.0, 70.0), np.float64(0.4)),
    "cardioid": lambda: Cardioid(np.array(SIDEWAYS)),
    "hypercardioid": lambda: HyperCardioid([0, 1, 0], gain=2),
    "subcardioid": lambda: SubCardioid([0, 0, -1]),
    "figure of eight": lambda: FigureEight([-1.0, 0, 0], gain=-0.5),
    "omnidirectional": lambda: Omnidirectional(gain=0.5),
    "none": lambda: None,
}


def measured() -> MeasuredDirectivity:
    responses = np.random.default_rng(1).standard_normal((16, 128))
    return MeasuredDirectivity(Rotation3D([0.0], "z"), GridSphere(16), responses, 8000)


def load(directivities: Any) -> World:
    return from_plain(World, {"ears": {"type": "MicrophoneArray", "directivities": directivities}})


@pytest.mark.parametrize("name", MAKE)
def test_a_world_with_it_goes_to_a_file_and_back(name: str, tmp_path: Path) -> None:
    array = MicrophoneArray(PLACES, [MAKE[name](), Cardioid([1, 0, 0])])
    world = World(ears=array)
    world.save(tmp_path / "world.json")
    loaded = World.load(tmp_path / "world.json")
    assert loaded == world
    assert hash(loaded) == hash(world)
    ears = loaded.ears
    assert isinstance(ears, MicrophoneArray)
    assert [type(each) for each in ears.directivities or ()] == [type(each) for each in array.directivities or ()]
    directions = np.random.default_rng(0).standard_normal((3, 4, 2, 50))
    directions /= np.linalg.norm(directions, axis=0)
    for own in (ears, copy.deepcopy(ears), pickle.loads(pickle.dumps(ears))):
        assert own == array
        np.testing.assert_array_equal(own.gains(directions), array.gains(directions))
    loaded.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "world.json").read_bytes()


def test_what_is_in_the_file() -> None:
    """The arguments of pyroomacoustics' constructors, vectors of length 1."""
    array = MicrophoneArray((*PLACES, (0.1, 0, 0)), [CardioidFamily([0, 3, 4], 0.3, 0.7), Omnidirectional(2), None])
    plain = to_plain(array)
    orientation = plain["directivities"][0].pop("orientation")
    assert orientation == pytest.approx([0, 0.6, 0.8], abs=1e-12)
    assert plain == {
        "type": "MicrophoneArray",
        "positions": [[0.0, 0.1, 0.0], [0.0, -0.1, 0.0], [0.1, 0.0, 0.0]],
        "directivities": [
            {"type": "CardioidFamily", "p": 0.3, "gain": 0.7},
            {"type": "Omnidirectional", "gain": 2.0},
            None,
        ],
    }
    assert set(to_plain(as_plain(FigureEight([0, 1, 0])))) == {"type", "orientation", "gain"}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"type": "Cardioid", "orientation": [0, 3, 4]}, Cardioid([0, 0.6, 0.8])),
        ({"type": "Omnidirectional"}, Omnidirectional()),
        ({"type": "CardioidFamily", "orientation": [-2, 0, 0], "p": 1, "gain": 3}, CardioidFamily([-1, 0, 0], 1, 3)),
        (None, None),
    ],
    ids=["cardioid", "omnidirectional", "family", "none"],
)
def test_written_by_hand_one_is_for_all(data: Any, expected: Any) -> None:
    directions = np.random.default_rng(0).standard_normal((3, 1, 2, 20))
    directions /= np.linalg.norm(directions, axis=0)
    ears = load(data).ears
    np.testing.assert_allclose(ears.gains(directions), MicrophoneArray(PLACES, expected).gains(directions), atol=1e-12)
    assert load([data, data]).ears == ears
    np.testing.assert_array_equal(ears.positions, MicrophoneArray().positions)


def test_equal_formulas_are_equal_and_others_are_not() -> None:
    arrays = {name: MicrophoneArray(PLACES, make()) for name, make in MAKE.items()}
    for name, make in MAKE.items():
        again = MicrophoneArray(PLACES, make())
        assert [other for other, array in arrays.items() if array == again] == [name]
        assert hash(again) == hash(arrays[name])
    first = CardioidFamily([1, 0, 0], 0.3)
    others = [CardioidFamily([1, 0.01, 0], 0.3), CardioidFamily([1, 0, 0], 0.31), CardioidFamily([1, 0, 0], 0.3, 1.1)]
    assert len({MicrophoneArray(PLACES, each) for each in (first, *others, CardioidFamily([2, 0, 0], 0.3))}) == 4
    assert MicrophoneArray(PLACES, first) != MicrophoneArray(((0.0, 0.1, 0.1), PLACES[1]), first)
    assert MicrophoneArray(PLACES, [first, None]) != MicrophoneArray(PLACES, [None, first])
    zeros = MicrophoneArray(((-0.0, 0.1, 0.0), PLACES[1]), first)
    assert zeros == MicrophoneArray(PLACES, first)
    assert hash(zeros) == hash(MicrophoneArray(PLACES, first))
    assert MicrophoneArray(PLACES, first) != "an array"


def test_worlds_tell_how_their_microphones_differ() -> None:
    one, other = (World(ears=MicrophoneArray(PLACES, Omnidirectional(gain))) for gain in (1.0, 0.5))
    assert list(one.differences(other)) == ["ears.directivities"]
    assert one.differences(World(ears=MicrophoneArray(PLACES, Omnidirectional()))) == {}


def test_what_was_measured_is_the_same_object_or_another() -> None:
    directivity = measured()
    assert MicrophoneArray(PLACES, directivity) == MicrophoneArray(PLACES, directivity)
    assert hash(MicrophoneArray(PLACES, directivity)) == hash(MicrophoneArray(PLACES, directivity))
    assert MicrophoneArray(PLACES, directivity) != MicrophoneArray(PLACES, measured())


class MyMicrophone(Cardioid):
    """Of which nothing is known."""


@pytest.mark.parametrize("make", [measured, lambda: MyMicrophone([1, 0, 0])], ids=["measured", "mine"])
def test_what_is_no_formula_cannot_be_written(make: Callable[[], Any], tmp_path: Path) -> None:
    directivity = make()
    world = World(ears=MicrophoneArray(PLACES, [Omnidirectional(), directivity]))
    message = rf"^ears\.directivities\[1\]: expected plain data, .* actual: {type(directivity).__name__}"
    with pytest.raises(TypeError, match=message):
        world.save(tmp_path / "world.json")
    assert list(tmp_path.iterdir()) == []
    # Files of results say as much as can be said.
    assert to_plain(world, strict=False)["ears"]["directivities"][1] == {"type": type(directivity).__name__}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            [None, {"type": "Cardiod", "orientation": [1, 0, 0]}],
            r"\[1\]\.type: unknown type; expected one of \['Cardioid', 'CardioidFamily', 'FigureEight', "
            r"'HyperCardioid', 'Omnidirectional', 'SubCardioid'\], actual: 'Cardiod'\. Did you mean 'Cardioid'\?",
        ),
        ([{"type": "MeasuredDirectivity"}, None], r"\[0\]\.type: unknown type; .* actual: 'MeasuredDirectivity'"),
        ([{"type": "PlainDirectivity"}, None], r"\[0\]\.type: expected a dataclass, .*PlainDirectivity"),
        ([{"orientation": [1, 0, 0]}, None], r"\[0\]\.type: missing key; expected one of \['Cardioid', "),
        ([{"type": "Cardioid"}, None], r"\[0\]\.orientation: missing key; expected a list of 3 numbers"),
        ({"type": "Cardioid", "orientation": [1, 0]}, r"\.orientation: expected a list of 3 numbers, actual: \[1, 0\]"),
        ({"type": "Cardioid", "orientation": [0, 0, 0]}, r": orientation: expected a vector longer than 0, actual"),
        (
            {"type": "Cardioid", "orientation": [0, 0, "inf"]},
            r": orientation: expected a vector longer than 0, actual: \(0\.0, 0\.0, inf\)",
        ),
        (
            {"type": "Cardioid", "orientation": [1, 0, 0], "p": 0.3},
            r"\.p: unknown key; expected one of \['orientation', 'gain'\]",
        ),
        (
            [{"type": "CardioidFamily", "orientation": [1, 0, 0], "p": 1.5}, None],
            r"\[0\]: p: expected a number in \[0, 1\], actual: 1\.5",
        ),
        ({"type": "Omnidirectional", "gain": "loud"}, r"\.gain: expected a number, actual: 'loud'"),
        ({"type": "Omnidirectional", "gain": "inf"}, r": gain: expected a finite number, actual: inf"),
        (3, r": expected a mapping that describes one of \[.*\], a list of values or null, actual: 3"),
    ],
    ids=str,
)
def test_what_is_wrong_in_a_file_is_said_by_its_path(data: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "world.json"
    path.write_text(json.dumps({"ears": {"type": "MicrophoneArray", "directivities": data}}))
    with pytest.raises(ConfigError, match=rf"^ears\.directivities{message}"):
        World.load(path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"postions": []}, r"ears\.postions: unknown key; .*Did you mean 'positions'\?"),
        ({"positions": [[1, 2], [3]]}, r"ears\.positions: expected numbers in lists of equal length"),
        ({"positions": [[0, 1, 0]]}, r"ears: ears positions: expected two or more"),
        ({"directivities": [None] * 3}, r"ears: ears directivities: expected one, or one for each of the 2 micro.*: 3"),
    ],
    ids=str,
)
def test_what_else_is_wrong_with_an_array(data: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}"):
        from_plain(World, {"ears": {"type": "MicrophoneArray", **data}})
