"""Where the ears sit and how they hear."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pyroomacoustics.directivities import CardioidFamily

from auralnav_gym.ears import CardioidEars, OmniEars, as_ears


@pytest.mark.parametrize("ears", [CardioidEars(), OmniEars()], ids=["ortf", "omni"])
def test_the_left_ear_is_on_the_left(ears) -> None:
    np.testing.assert_allclose(ears.positions, [[0, 0.085, 0], [0, -0.085, 0]])
    assert ears.spacing == pytest.approx(0.17)
    assert ears.radius == pytest.approx(0.085)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("pattern", [0.0, 0.25, 0.5, 1.0])
def test_cardioid_gains_are_those_of_pyroomacoustics(pattern: float, dim: int) -> None:
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((dim, 3, 2, 5))
    directions /= np.linalg.norm(directions, axis=0)
    gains = CardioidEars(0.2, math.radians(70), pattern).gains(directions)
    for ear, side in enumerate((1, -1)):
        axis = np.array([math.cos(math.radians(70)), side * math.sin(math.radians(70)), 0.0])
        vectors = np.zeros((15, 3))
        vectors[:, :dim] = directions[:, :, ear].reshape(dim, 15).T
        expected = CardioidFamily(axis, pattern).get_response_cartesian(vectors)
        np.testing.assert_allclose(gains[:, ear].ravel(), expected, atol=1e-12)


def test_ortf_hears_its_own_side_louder_and_the_front_alike() -> None:
    def gains(azimuth: float) -> np.ndarray:
        direction = np.array([math.cos(azimuth), math.sin(azimuth), 0.0])
        return CardioidEars().gains(np.repeat(direction, 2).reshape(3, 1, 2, 1))[0, :, 0]

    left, right = gains(math.radians(55))
    assert left == pytest.approx(1.0)
    assert right == pytest.approx(0.5 + 0.5 * math.cos(math.radians(110)))
    ahead, behind = gains(0.0), gains(math.pi)
    assert ahead[0] == pytest.approx(ahead[1])
    assert ahead[0] / behind[0] > 3  # front and back differ


def test_as_ears() -> None:
    assert as_ears("ortf") == CardioidEars(0.17, math.radians(55), 0.5)
    assert as_ears("omni") == OmniEars(0.17)
    assert as_ears("omni") != as_ears("ortf")
    mine = OmniEars(0.3)
    assert as_ears(mine) is mine
    assert repr(mine) == "OmniEars(spacing=0.3)"
    with pytest.raises(ValueError, match=r"ears: expected an Ears object or one of \['omni', 'ortf'\], actual: 'cat'"):
        as_ears("cat")
    with pytest.raises(TypeError, match="ears: expected"):
        as_ears(2)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OmniEars(0.0), "spacing: expected more than 0"),
        (lambda: CardioidEars(spacing=-1.0), "spacing: expected more than 0"),
        (lambda: CardioidEars(angle=4.0), "angle: expected radians"),
        (lambda: CardioidEars(pattern=1.5), "pattern: expected a number"),
    ],
)
def test_bad_ears_are_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
