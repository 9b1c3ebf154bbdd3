"""Interpolation between directions on a sphere."""

from __future__ import annotations

import math

import numpy as np
from scipy.sparse import csr_array
from scipy.spatial import ConvexHull, QhullError

# Around a pole that is so far from every direction lies a gap, to be closed by the mean of its rim; radians.
_GAP = math.radians(15)
_RIM = math.radians(5)

# No triangle may reach farther than this from its middle, radians.
_WIDEST = math.radians(75)

# Cells along the azimuth and along the height, each with the triangle in which its middle lies.
_CELLS = (128, 64)


class Sphere:
    """Directions, joined to triangles.

    The triangles are those of the convex hull: what lies between three directions is interpolated between them,
    linearly over the flat triangle that they span, so that it is exact at the directions and continuous between them.
    If no direction is within 15 degrees of the lowest or the highest point of the sphere, that point joins the
    directions; what belongs there is the mean of what belongs to the lowest or highest ones.

    Args:
        directions: (M, 3) float64, unit vectors.

    Raises:
        ValueError: If the directions leave a gap of more than 75 degrees to all sides.
    """

    def __init__(self, directions: np.ndarray) -> None:
        self._rims = [_rim(directions * up) for up in (1.0, -1.0)]
        poles = [[0.0, 0.0, -up] for up, rim in zip((1.0, -1.0), self._rims, strict=True) if rim is not None]
        points = np.concatenate([directions, np.reshape(poles, (-1, 3))])
        # Four points on a circle can be joined in two ways. Left and right are to be joined alike, so that ears which
        # are each other's mirror image remain so: the points are moved out of the circle alike, by a millionth.
        x, z = points[:, 0], points[:, 2]
        hull = _hull(points * (1 + 1e-6 * x**3 * (1 + z / 2))[:, None])
        self.corners = hull.simplices.astype(np.intp)
        normals, offsets = hull.equations[:, :3], -hull.equations[:, 3]
        widest = int(np.argmin(offsets))
        if offsets[widest] < math.cos(_WIDEST):
            gap = math.degrees(math.acos(max(-1.0, offsets[widest])))
            towards = ", ".join(f"{component:.2f}" for component in normals[widest].round(2) + 0.0)
            raise ValueError(
                f"directions: expected some to all sides, actual: none within {gap:.0f} degrees of ({towards})"
            )
        vertices = points[self.corners]
        self._inverses = np.linalg.inv(vertices.transpose(0, 2, 1))
        self._neighbours = hull.neighbors.astype(np.intp)
        # A ray leaves the hull through the face whose normal / offset has the largest product with it.
        self._cells = np.argmax(_middles_of_cells() @ (normals / offsets[:, None]).T, axis=1)
        # To every direction a third of the solid angle of the triangles around it (Van Oosterom and Strackee, 1983).
        a, b, c = vertices.transpose(1, 0, 2)
        pairs = (a * b).sum(1) + (b * c).sum(1) + (c * a).sum(1)
        angles = 2 * np.arctan2(np.abs(np.linalg.det(vertices)), 1 + pairs)
        self.shares = np.bincount(self.corners.ravel(), np.repeat(angles / (12 * math.pi), 3), len(points))

    def extend(self, values: np.ndarray) -> np.ndarray:
        """What belongs to the M directions (M, ...) and behind it what belongs to the poles that joined them."""
        return np.concatenate([values, *(values[rim].mean(0, keepdims=True) for rim in self._rims if rim is not None)])

    def mean(self, values: np.ndarray) -> np.ndarray:
        """The mean over the sphere of what belongs to the M directions, (M, ...) to (...)."""
        return np.tensordot(self.shares, self.extend(values), 1)

    def smooth(self, values: np.ndarray, times: int) -> np.ndarray:
        """What belongs to the M directions, moved half of the way to the mean of its neighbours, again and again.

        Args:
            values: (M, ...) float64.
            times: How often.
        """
        # Every triangle says of each of its corners that the other two are its neighbours.
        corners = self.corners[:, [0, 1, 2, 0, 1, 2]].ravel(), self.corners[:, [1, 2, 0, 2, 0, 1]].ravel()
        joined = csr_array((np.ones(len(corners[0])), corners))
        shape, counts = values.shape, joined.sum(axis=1)[:, None]
        smoothed = self.extend(values.reshape(len(values), -1))
        for _ in range(times):
            smoothed = (smoothed + joined @ smoothed / counts) / 2
        return smoothed[: len(values)].reshape(shape)

    def locate(self, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The triangles in which directions lie.

        Args:
            directions: (n, 3), unit vectors.

        Returns:
            (n, 3) places of the corners in what :meth:`extend` gives, and (n, 3) float64 their weights, from 0 to 1.
        """
        faces = self._cells[_cells_of(directions)]
        weights = np.einsum("fij,fj->fi", self._inverses[faces], directions)
        # A negative weight: the direction is beyond the side across from that corner. Each step that way leads nearer.
        while (outside := np.flatnonzero(weights.min(axis=1) < -1e-9)).size:
            across = self._neighbours[faces[outside], weights[outside].argmin(axis=1)]
            faces[outside] = across
            weights[outside] = np.einsum("fij,fj->fi", self._inverses[across], directions[outside])
        weights = weights.clip(0)
        return self.corners[faces], weights / weights.sum(axis=1, keepdims=True)


def _rim(directions: np.ndarray) -> np.ndarray | None:
    """Which directions are the lowest, if there is a gap below them."""
    lowest = directions[:, 2].min()
    elevation = math.asin(max(-1.0, lowest))
    if elevation < _GAP - math.pi / 2:
        return None
    return np.flatnonzero(directions[:, 2] <= math.sin(min(elevation + _RIM, math.pi / 2)))


def _hull(points: np.ndarray) -> ConvexHull:
    try:
        return ConvexHull(points)
    except QhullError as error:
        raise ValueError(f"directions: expected some to all sides, actual: all {len(points)} on a plane") from error


def _cells_of(directions: np.ndarray) -> np.ndarray:
    """Numbers of the cells (n,) in which unit vectors (n, 3) lie."""
    around, upwards = _CELLS
    turns = np.arctan2(directions[:, 1], directions[:, 0]) / (2 * math.pi)
    azimuths = np.floor(turns * around).astype(np.intp) % around
    heights = ((directions[:, 2] + 1) * (upwards / 2)).astype(np.intp).clip(0, upwards - 1)
    return azimuths * upwards + heights


def _middles_of_cells() -> np.ndarray:
    """(n, 3) unit vectors, in the order of the cells' numbers."""
    around, upwards = _CELLS
    angles, levels = (np.arange(around) + 0.5) / around * 2 * math.pi, (np.arange(upwards) + 0.5) / upwards * 2 - 1
    azimuths, heights = np.meshgrid(angles, levels, indexing="ij")
    radii = np.sqrt(1 - heights**2)
    return np.stack([radii * np.cos(azimuths), radii * np.sin(azimuths), heights], axis=-1).reshape(-1, 3)
