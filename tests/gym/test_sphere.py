"""Interpolation on the sphere, against a search through all triangles and integrals known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest

from auralnav_gym.sphere import Sphere


def rings(elevations: list[int], count: int = 24) -> np.ndarray:
    """Directions (M, 3) at elevations in degrees; only one straight up."""
    azimuths = 2 * math.pi / count * np.arange(count)
    directions = []
    for elevation in np.radians(elevations):
        level = np.cos(elevation)
        ring = np.stack([level * np.cos(azimuths), level * np.sin(azimuths), np.full(count, np.sin(elevation))], axis=1)
        directions.append(ring[:1] if level < 1e-9 else ring)
    return np.concatenate(directions)


def anywhere(count: int) -> np.ndarray:
    directions = np.random.default_rng(0).standard_normal((count, 3))
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)


GRIDS = {
    "like KEMAR's": rings([-40, -20, 0, 20, 40, 60, 90]),
    "one ring": rings([0], 36),
    "at random": np.concatenate([anywhere(300), [[0, 0, 1], [0, 0, -1]]]),
}


@pytest.fixture(params=GRIDS.values(), ids=GRIDS)
def directions(request: pytest.FixtureRequest) -> np.ndarray:
    return request.param


def test_a_direction_lies_in_its_triangle(directions: np.ndarray) -> None:
    """The weights are at least 0 and sum to 1, and the point that they give lies on the ray."""
    sphere = Sphere(directions)
    poles = [[0, 0, pole] for pole in (-1.0, 1.0) if (pole * directions[:, 2]).max() < 0.9]
    points = np.concatenate([directions, np.reshape(poles, (-1, 3))])
    wanted = anywhere(1000)
    corners, weights = sphere.locate(wanted)
    assert weights.min() >= 0
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    found = np.einsum("nk,nkd->nd", weights, points[corners])
    np.testing.assert_allclose(found / np.linalg.norm(found, axis=1, keepdims=True), wanted, atol=1e-12)
    # No other triangle of points holds a point of the ray farther out: the triangle is a face of the convex hull.
    reach = np.linalg.norm(found, axis=1)
    normals = np.cross(points[corners[:, 1]] - points[corners[:, 0]], points[corners[:, 2]] - points[corners[:, 0]])
    normals *= np.sign(np.einsum("nd,nd->n", normals, wanted))[:, None]
    heights = np.einsum("nd,nd->n", normals, wanted) * reach
    assert (normals @ points.T <= heights[:, None] + 1e-5 * np.linalg.norm(normals, axis=1, keepdims=True)).all()


def test_it_is_exact_where_it_was_measured(directions: np.ndarray) -> None:
    sphere, values = Sphere(directions), np.random.default_rng(1).standard_normal((len(directions), 2))
    corners, weights = sphere.locate(directions)
    np.testing.assert_allclose(np.einsum("nk,nkv->nv", weights, sphere.extend(values)[corners]), values, atol=1e-9)


def test_a_gap_at_a_pole_is_closed_by_the_mean_of_its_rim() -> None:
    grid = rings([-40, -20, 0, 20, 40, 60, 90])
    values = np.random.default_rng(1).standard_normal(len(grid))
    extended = Sphere(grid).extend(values)
    assert len(extended) == len(grid) + 1  # straight up was measured
    assert extended[-1] == pytest.approx(values[:24].mean())
    corners, weights = Sphere(grid).locate(np.array([[0.0, 0.0, -1.0]]))
    assert weights[0] @ extended[corners[0]] == pytest.approx(values[:24].mean())
    assert len(Sphere(rings([0])).extend(values[:24])) == 26


def test_it_is_continuous(directions: np.ndarray) -> None:
    """Steps of a hundredth of a degree, over faces, edges and corners."""
    sphere, values = Sphere(directions), np.random.default_rng(1).standard_normal(len(directions))
    angles = np.radians(np.arange(0, 360, 0.01))
    axis = np.array([0.3, 0.4, math.sqrt(0.75)])
    other = np.cross(axis, [1.0, 0.0, 0.0]) / math.sqrt(1 - 0.3**2)
    corners, weights = sphere.locate(np.cos(angles)[:, None] * axis + np.sin(angles)[:, None] * other)
    steps = np.abs(np.diff(np.einsum("nk,nk->n", weights, sphere.extend(values)[corners])))
    assert steps.max() < 0.1  # a jump from one direction's value to another's is about 1
    assert (steps > 0).all()


def test_means_over_the_sphere() -> None:
    """The mean of x^2 is 1/3 by symmetry, that of z is 0 even if more directions point upwards."""
    dense = rings(list(range(-85, 86, 5)), 72)
    assert Sphere(dense).mean(dense[:, 0] ** 2) == pytest.approx(1 / 3, abs=3e-3)
    crowded = np.concatenate([dense, anywhere(1000) * [1, 1, 0] + [0, 0, 1]])
    crowded /= np.linalg.norm(crowded, axis=1, keepdims=True)
    assert crowded[:, 2].mean() > 0.2
    assert Sphere(crowded).mean(crowded[:, 2]) == pytest.approx(0, abs=3e-3)


def test_smoothing_goes_half_way_to_the_mean_of_the_neighbours() -> None:
    octahedron = np.concatenate([np.eye(3), -np.eye(3)])
    values = np.array([12.0, 0, 0, 4, 0, 0])
    # The neighbours are all but the one across.
    np.testing.assert_allclose(Sphere(octahedron).smooth(values, 1), [6, 2, 2, 2, 2, 2])
    np.testing.assert_allclose(Sphere(octahedron).smooth(values, 0), values)


def test_left_and_right_are_joined_alike() -> None:
    """Rings of the same number of directions are joined by rectangles, to be cut in two alike on both sides."""
    grid, wanted = rings([-40, -20, 0, 20, 40, 60, 90]), anywhere(1000)
    mirror = np.array([1.0, -1.0, 1.0])
    sphere, points = Sphere(grid), np.concatenate([grid, [[0, 0, -1.0]]])
    (corners, weights), (others, shares) = sphere.locate(wanted), sphere.locate(wanted * mirror)
    # Any function that is not linear gives the same only for the same corners.
    left = np.einsum("nk,nk->n", weights, np.exp(points @ [1.0, 2.0, 3.0])[corners])
    right = np.einsum("nk,nk->n", shares, np.exp(points * mirror @ [1.0, 2.0, 3.0])[others])
    np.testing.assert_allclose(left, right, rtol=1e-9)


@pytest.mark.parametrize(
    ("directions", "message"),
    [
        (rings([0])[:12], "expected some to all sides, actual: none within 90 degrees of"),
        (rings([-40, 0, 40])[np.tile(np.arange(24) < 13, 3)], r"none within 90 degrees of \(0.00, -1.00, 0.00\)"),
    ],
)
def test_directions_to_one_side_only_are_refused(directions: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sphere(directions)
