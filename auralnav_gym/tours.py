"""The shortest way through the capture discs of several targets: L*, what SPL compares with."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from auralnav_gym.rooms import Room

# Up to this many discs the shortest tour is exact; the effort grows with 2 to their number.
_EXACT_DISCS = 8

# Places on the rim of a disc among which the orders that can be best are found.
_RIM_PLACES = 64

# Weight of the barrier in metres: falls by a factor until a tour through n discs is at most 3 n times the last one
# longer than the shortest.
_BARRIER_FACTOR = 10.0
_LAST_BARRIER = 1e-6

# Far more than it takes.
_NEWTON_STEPS = 100

# Around corners: to how many metres the length is found; how many places of a rim are looked at more closely at a
# time; and where else from each, in shares of the arc from one to the next, which are thereby a quarter as long.
_ACCURACY = 1e-3
_MOST_PLACES = 12
_FINER = np.array([-3 / 8, -1 / 8, 0, 1 / 8, 3 / 8])

# How far beside where a wall crosses a rim a place is looked for, radians.
_BESIDE_WALL = 1e-6


def shortest_tour(start: np.ndarray, centres: np.ndarray, radius: float, room: Room | None = None) -> float:
    """L*, the length of the shortest path from a start that touches every one of some discs.

    In a convex room walls are no matter, and for a given order of visit the problem is convex and solved as such. Up to
    eight discs, every order that can be the best is solved. For more, only one is: found by cheapest insertion and then
    improved by moving and reversing parts, so that the result may be longer than the shortest tour.

    In another room the path leads around the corners, and touches discs where they are on the floor; that a wall passes
    through a disc does not matter, as it does not for finding a target. See :func:`_tour_around_corners`.

    Args:
        start: (2,) float, metres, on the floor.
        centres: (S, 2) float, metres; the discs may overlap.
        radius: Of every disc, metres, above 0.
        room: The room; None: one without walls.

    Returns:
        Metres, to 1e-4 m, or 1e-3 m around corners; 0 if the start lies in every disc.

    Raises:
        ValueError: If an argument has a wrong shape, or ``radius`` is out of range.
    """
    start, centres = np.asarray(start, dtype=np.float64), np.asarray(centres, dtype=np.float64)
    if start.shape != (2,) or centres.ndim != 2 or centres.shape[1] != 2:
        raise ValueError(f"start, centres: expected shapes (2,) and (S, 2), actual: {start.shape} and {centres.shape}")
    if not (math.isfinite(radius) and radius > 0):
        raise ValueError(f"radius: expected more than 0 metres, actual: {radius}")
    distances = np.hypot(*(centres - start).T)
    centres = centres[distances > radius]
    if room is not None and not room.is_convex:
        return _tour_around_corners(start, centres, radius, room) if len(centres) else 0.0
    if len(centres) < 2:
        return max(float(distances.max(initial=0.0)) - radius, 0.0)
    if len(centres) > _EXACT_DISCS:
        orders = order_of_visit(start, centres)[None]
    else:
        places = centres[:, None] + radius * _on_circle(2 * np.pi * np.arange(_RIM_PLACES) / _RIM_PLACES)
        legs = np.hypot(*(places[:, :, None, None] - places).transpose(4, 0, 1, 2, 3))
        so_far = np.hypot(*(places - start).transpose(2, 0, 1))
        # To the next of the places along a chord.
        longest_move = 2 * radius * math.sin(math.pi / (2 * _RIM_PLACES))
        orders, _ = _orders_that_can_be_best(so_far, legs, longest_move)
    return float(_tour_lengths(start, centres[orders], radius).min())


def order_of_visit(start: np.ndarray, places: np.ndarray, room: Room | None = None) -> np.ndarray:
    """A good order in which to visit places, for when there are too many to try all orders.

    Cheapest insertion (Rosenkrantz et al. 1977); then parts are moved or reversed as long as that shortens the path.

    Args:
        start: (2,) float64, metres.
        places: (S, 2) float64, metres.
        room: Around whose corners the way leads; None: one without walls.

    Returns:
        (S,) int, a permutation.
    """
    points = np.vstack([start, places])
    if room is None or room.is_convex:
        distances = np.hypot(*(points[:, None] - points).transpose(2, 0, 1))
    else:
        distances = walking_lengths(room, points, points)

    def length(path: list[int]) -> float:
        return float(distances[path[:-1], path[1:]].sum())

    path = [0]
    for _ in places:
        left = [i for i in range(1, len(points)) if i not in path]
        path = min(([*path[:at], i, *path[at:]] for i in left for at in range(1, len(path) + 1)), key=length)
    while True:
        shorter = min(_neighbours(path), key=length)
        if length(shorter) >= length(path) - 1e-9:
            return np.array(path[1:]) - 1
        path = shorter


def _neighbours(path: list[int]) -> list[list[int]]:
    """Paths in which a part of ``path`` is reversed, or moved elsewhere; the first element stays first."""
    neighbours = []
    for low in range(1, len(path)):
        for high in range(low + 1, len(path) + 1):
            part, rest = path[low:high], path[:low] + path[high:]
            neighbours.append(path[:low] + part[::-1] + path[high:])
            if len(part) <= 3:
                neighbours += [rest[:at] + part + rest[at:] for at in range(1, len(rest) + 1)]
    return neighbours


def _orders_that_can_be_best(
    so_far: np.ndarray, legs: np.ndarray, longest_move: float
) -> tuple[np.ndarray, np.ndarray]:
    """Orders of visit, among them the shortest tour's, which touches every disc first at its rim.

    Moving those points to the nearest of some places around the rim lengthens every leg by two such moves at most. So
    the best order, held to these places, is no more than that longer than the shortest tour held to them.

    Args:
        so_far: (S, K) float64, metres from the start to K places on each of S rims; inf where there is none.
        legs: (S, K, S, K) float64, metres from place to place.
        longest_move: Metres from a point of a rim to the nearest of its places, at most.

    Returns:
        (B, S) int, and the lengths (B,) of the shortest tours over these places in these orders, metres.
    """
    count = len(so_far)
    onward = _onward_lengths(legs)
    everything = (1 << count) - 1
    bound = min((so_far[i] + onward[everything & ~(1 << i), i]).min() for i in range(count))
    bound += 2 * longest_move * count

    # Beginnings of orders with the lengths (K,) up to every place of their last disc.
    begun = [([i], so_far[i]) for i in range(count)]
    for _ in range(count - 1):
        begun = [
            ([*order, j], (lengths[:, None] + legs[order[-1], :, j]).min(axis=0))
            for order, lengths in begun
            for j in range(count)
            if j not in order
        ]
        begun = [
            (order, lengths)
            for order, lengths in begun
            if (lengths + onward[everything & ~sum(1 << i for i in order), order[-1]]).min() <= bound
        ]
    return np.array([order for order, _ in begun]), np.array([lengths.min() for _, lengths in begun])


def _onward_lengths(legs: np.ndarray) -> np.ndarray:
    """Lengths of the shortest paths from a place of a group on through other groups, one place of each.

    Held and Karp's dynamic programme (1962, "A dynamic programming approach to sequencing problems"). The effort grows
    with 2^S (S K)^2.

    Args:
        legs: (S, K, S, K) float64, metres from place to place; K places of each of S groups.

    Returns:
        (2^S, S, K) float64, metres: from place k of group i through the groups whose bits are set in the first index;
        inf if the bit of i is set.
    """
    groups, each = legs.shape[:2]
    onward = np.full((1 << groups, groups, each), np.inf)
    onward[0] = 0.0
    for left in range(1, 1 << groups):
        ahead = [j for j in range(groups) if left >> j & 1]
        then = np.stack([onward[left & ~(1 << j), j] for j in ahead])
        for i in range(groups):
            if i not in ahead:
                onward[left, i] = (legs[i][:, ahead] + then).min(axis=(1, 2))
    return onward


def _tour_lengths(start: np.ndarray, centres: np.ndarray, radius: float) -> np.ndarray:
    """Lengths of the shortest paths that touch discs in given orders.

    Minimises sum_i |p_i - p_(i-1)| over p_i in the i-th disc, p_0 being the start: a second-order cone programme,
    solved by a barrier method (Boyd & Vandenberghe 2004, Convex Optimization, sections 11.3 and 11.6). The barrier m of
    a leg d, min over t of t - m log(t^2 - |d|^2), has the minimum t = m + sqrt(m^2 + |d|^2), the gradient d / t and the
    Hessian I / t - d d^T / (t^2 (t - m)).

    Args:
        start: (2,) float64, metres.
        centres: (B, n, 2) float64, metres, in order of visit.
        radius: Metres.

    Returns:
        (B,) float64, metres.
    """
    batch, n, _ = centres.shape
    each = np.arange(n)
    differences = np.eye(n) - np.eye(n, k=-1)
    points = centres
    barrier = radius
    while barrier > _LAST_BARRIER:
        barrier = max(barrier / _BARRIER_FACTOR, _LAST_BARRIER)
        for _ in range(_NEWTON_STEPS):
            d = np.diff(points, axis=1, prepend=np.broadcast_to(start, (batch, 1, 2)))
            t = (barrier + np.sqrt(barrier**2 + np.sum(d**2, axis=-1)))[..., None]
            q = points - centres
            w = (radius**2 - np.sum(q**2, axis=-1))[..., None]
            gradient = (differences.T @ (d / t) + 2 * barrier * q / w).reshape(batch, 2 * n, 1)
            of_legs = np.eye(2) / t[..., None] - _outer(d) / (t**2 * (t - barrier))[..., None]
            of_discs = 2 * barrier * (np.eye(2) / w[..., None] + 2 * _outer(q) / w[..., None] ** 2)
            hessian = np.einsum("ki,bkxy,kj->bixjy", differences, of_legs, differences)
            hessian[:, each, :, each, :] += of_discs.swapaxes(0, 1)
            step = np.linalg.solve(hessian.reshape(batch, 2 * n, 2 * n), -gradient)
            decrement = np.sqrt(np.maximum(-np.sum(gradient * step, axis=(1, 2)), 0) / barrier)
            # The barrier is self-concordant, so that such a step stays inside (Nesterov & Nemirovskii 1994).
            size = np.where(decrement < 0.25, 1.0, 1 / (1 + decrement))
            points = points + size[:, None, None] * step.reshape(batch, n, 2)
            if (decrement < 0.25).all():
                break
    d = np.diff(points, axis=1, prepend=np.broadcast_to(start, (batch, 1, 2)))
    return np.hypot(d[..., 0], d[..., 1]).sum(axis=1)


def _outer(vectors: np.ndarray) -> np.ndarray:
    """Outer products (..., 2, 2) of vectors (..., 2) with themselves."""
    return vectors[..., :, None] * vectors[..., None, :]


def _tour_around_corners(start: np.ndarray, centres: np.ndarray, radius: float, room: Room) -> float:
    """The length of the shortest path on a floor that is not convex, to 1e-3 m.

    It touches every disc first at its rim, since it starts outside, and is held to some places on the rims: to find the
    orders of visit that can be the best, and then more closely for each of them.

    Args:
        start: (2,) float64, metres, outside of every disc.
        centres: (S, 2) float64, metres, at least one.
        radius: Metres.
        room: The room.
    """
    count = len(centres)
    rims = [_rim_on_floor(centre, radius, room) for centre in centres]
    if count > _EXACT_DISCS:
        order = order_of_visit(start, centres, room)
        rims = [rims[i] for i in order]
        legs = _legs(room, start, centres[order], radius, rims)
        return _tour_in_order(start, centres[order], radius, room, rims, legs)
    each = max(len(rim) for rim in rims)
    is_place = np.arange(each) < np.array([len(rim) for rim in rims])[:, None]
    rims = [np.resize(rim, each) for rim in rims]
    places = (centres[:, None] + radius * _on_circle(np.stack(rims))).reshape(-1, 2)
    so_far = walking_lengths(room, start[None], places).reshape(count, each)
    so_far[~is_place] = np.inf
    between = walking_lengths(room, places, places).reshape(count, each, count, each)
    between[:, :, ~is_place] = np.inf
    orders, lengths = _orders_that_can_be_best(so_far, between, np.pi / _RIM_PLACES * radius)
    shortest = math.inf
    for order in orders[np.argsort(lengths, kind="stable")].tolist():
        legs = [so_far[order[:1]], *(between[i, :, j] for i, j in pairwise(order))]
        shortest = _tour_in_order(start, centres[order], radius, room, [rims[i] for i in order], legs, shortest)
    return shortest


def _tour_in_order(
    start: np.ndarray,
    centres: np.ndarray,
    radius: float,
    room: Room,
    rims: list[np.ndarray],
    legs: list[np.ndarray],
    shorter_than: float = math.inf,
) -> float:
    """The length of the shortest path that touches discs in a given order, on a floor that is not convex.

    It is held to places on the rims; then to places a quarter as far apart, around those by which the way is so short
    that the shortest may lead past them; and so on.

    Args:
        start: (2,) float64, metres, outside of every disc.
        centres: (n, 2) float64, metres, in order of visit.
        radius: Metres.
        room: The room.
        rims: For every disc, (K,) float64, the angles of the first places.
        legs: See :func:`_legs`; inf to what is no place.
        shorter_than: Metres. If the path is no shorter, these are returned.
    """
    apart = 2 * np.pi / _RIM_PLACES
    while True:
        through = _lengths_through(legs)
        length = float(through[0].min())
        # Every leg but the first has both of its ends moved, by half an arc at most.
        doubt = (2 * len(centres) - 1) * radius * apart / 2
        if doubt <= _ACCURACY or length - doubt >= shorter_than:
            return min(length, shorter_than)
        finer = []
        for centre, rim, lengths in zip(centres, rims, through, strict=True):
            best = np.argsort(lengths, kind="stable")[:_MOST_PLACES]
            best = best[lengths[best] <= length + doubt]
            angles = (rim[best, None] + apart * _FINER).ravel()
            finer.append(angles[room.contains(centre + radius * _on_circle(angles))])
        rims, apart = finer, apart / 4
        legs = _legs(room, start, centres, radius, rims)


def _legs(
    room: Room, start: np.ndarray, centres: np.ndarray, radius: float, rims: list[np.ndarray]
) -> list[np.ndarray]:
    """Lengths of the ways from the start (1, K) to places on the first disc's rim, from these (K, L) to the second's...

    Args:
        room: The room.
        start: (2,) float64, metres.
        centres: (n, 2) float64, metres, in order of visit.
        radius: Metres.
        rims: For every disc, the angles of its places.
    """
    places = [centre + radius * _on_circle(rim) for centre, rim in zip(centres, rims, strict=True)]
    return [walking_lengths(room, here, there) for here, there in pairwise([start[None], *places])]


def _lengths_through(legs: list[np.ndarray]) -> list[np.ndarray]:
    """For every disc, the lengths (K,) of the shortest paths by the place on its rim; of legs see :func:`_legs`."""
    so_far = [legs[0][0]]
    for leg in legs[1:]:
        so_far.append((so_far[-1][:, None] + leg).min(axis=0))
    onward = [np.zeros_like(so_far[-1])]
    for leg in reversed(legs[1:]):
        onward.append((leg + onward[-1]).min(axis=1))
    return [before + after for before, after in zip(so_far, reversed(onward), strict=True)]


def _rim_on_floor(centre: np.ndarray, radius: float, room: Room) -> np.ndarray:
    """Angles of places around the rim of a disc that are on the floor, (K,) float64.

    Some are evenly spaced, the others are where walls cross the rim: so the next one along the rim is never farther off
    than half of the even spacing.
    """
    corner, edge = room.corners, np.roll(room.corners, -1, axis=0) - room.corners
    # |corner + share edge - centre| = radius
    a, half_b = np.sum(edge**2, axis=1), np.sum(edge * (corner - centre), axis=1)
    under_root = half_b**2 - a * (np.sum((corner - centre) ** 2, axis=1) - radius**2)
    root = np.sqrt(np.maximum(under_root, 0))
    share = np.concatenate([-half_b - root, -half_b + root]) / np.tile(a, 2)
    crosses = (share >= 0) & (share <= 1) & np.tile(under_root >= 0, 2)
    x, y = (np.tile(corner, (2, 1)) + share[:, None] * np.tile(edge, (2, 1)) - centre)[crosses].T
    crossings = np.arctan2(y, x)
    even = 2 * np.pi * np.arange(_RIM_PLACES) / _RIM_PLACES
    angles = np.concatenate([even, crossings - _BESIDE_WALL, crossings + _BESIDE_WALL])
    return angles[room.contains(centre + radius * _on_circle(angles))]


def _on_circle(angles: np.ndarray) -> np.ndarray:
    """Points (..., 2) of the unit circle at angles (...) in radians."""
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def walking_lengths(room: Room, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Lengths of the shortest ways on the floor from every start to every end.

    Args:
        room: The room.
        starts: (N, 2) float64, metres.
        ends: (M, 2) float64, metres.

    Returns:
        (N, M) float64, metres.
    """
    corners = room.reflex_corners
    lengths = _straight_lengths(room, starts, ends)
    if len(corners) == 0:
        return lengths
    from_corner = _straight_lengths(room, corners, corners)
    for via in range(len(corners)):  # Floyd and Warshall
        from_corner = np.minimum(from_corner, from_corner[:, via, None] + from_corner[via])
    to_corner = _straight_lengths(room, starts, corners)
    # Around one corner and then perhaps others.
    to_last = (to_corner[:, :, None] + from_corner).min(axis=1)
    for last, onward in zip(to_last.T, _straight_lengths(room, corners, ends), strict=True):
        lengths = np.minimum(lengths, last[:, None] + onward)
    return lengths


def _straight_lengths(room: Room, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Lengths (N, M) of the straight lines between points (N, 2) and (M, 2), inf where they leave the floor."""
    pairs = np.repeat(starts, len(ends), axis=0), np.tile(ends, (len(starts), 1))
    lengths = np.where(room.sees(*pairs), np.hypot(*(pairs[1] - pairs[0]).T), np.inf)
    return lengths.reshape(len(starts), len(ends))
