"""The truth about plans: the rules of the game, and a search through everything that the agent can do."""

from __future__ import annotations

import math
from itertools import pairwise, permutations

import numpy as np

from auralnav_gym.movement import Action, Body, Pose, move
from auralnav_gym.rooms import Room


def at(tracks: np.ndarray, made: int) -> np.ndarray:
    """Places (S, 2) after so many actions: tracks are (K, S, 2), or (S, 2) for what stands still."""
    tracks = np.reshape(tracks, (-1, 2)) if np.ndim(tracks) < 3 else tracks
    return tracks if tracks.ndim == 2 else tracks[made]


def found_on_the_way(room: Room, body: Body, pose: Pose, targets: np.ndarray, actions: list[Action]) -> list[bool]:
    """The rule: an action that ends within the capture radius of a target finds it."""
    found = [False] * len(at(targets, 0))
    for made, action in enumerate(actions, start=1):
        pose = move(pose, action, room, body)
        for index, (x, y) in enumerate(at(targets, made)):
            found[index] |= math.hypot(pose.x - x, pose.y - y) <= body.capture_radius
    return found


def touched_on_the_way(room: Room, body: Body, pose: Pose, distractors: np.ndarray, actions: list[Action]) -> bool:
    """The rule: an action that ends within the capture radius of a distractor touches it."""
    return any(found_on_the_way(room, body, pose, distractors, actions))


def exhaustive_search(
    room: Room, body: Body, pose: Pose, targets: np.ndarray, limit: int, distractors: np.ndarray | tuple = ()
) -> int | None:
    """The fewest actions that find every target and touch no distractor, or None if that takes more than ``limit``.

    Breadth first over every pose that ``move`` reaches, but for those from where even straight lines are too long.
    Where something moves, to be at a place later is not the same.
    """
    moves = np.ndim(targets) == 3 or np.ndim(distractors) == 3
    can_do = can_meet_each if np.ndim(targets) == 3 else is_in_range
    layer = [(pose, frozenset(range(len(at(targets, 0)))))]
    seen = set()
    for count in range(1, limit + 1):
        following = []
        keep_out, to_find = at(distractors, count).tolist(), at(targets, count).tolist()
        if moves:
            seen = set()
        for before, left in layer:
            for action in Action:
                after = move(before, action, room, body)
                if any(math.dist((after.x, after.y), place) <= body.capture_radius for place in keep_out):
                    continue
                to_go = frozenset(i for i in left if math.dist((after.x, after.y), to_find[i]) > body.capture_radius)
                if not to_go:
                    return count
                if not can_do(body, after, targets, to_go, count, limit):
                    continue
                facing = round(math.cos(after.heading), 7), round(math.sin(after.heading), 7)
                key = round(after.x, 7), round(after.y, 7), *facing, to_go
                if key not in seen:
                    seen.add(key)
                    following.append((after, to_go))
        layer = following
    return None


def is_in_range(body: Body, pose: Pose, targets: np.ndarray, left: frozenset[int], count: int, limit: int) -> bool:
    """Whether straight lines from rim to rim of targets that stand still, in the best order, are short enough."""
    shortest = math.inf
    for first, *others in permutations(left):
        length = math.dist((pose.x, pose.y), targets[first]) - body.capture_radius
        for here, there in pairwise([first, *others]):
            length += max(0.0, math.dist(targets[here], targets[there]) - 2 * body.capture_radius)
        shortest = min(shortest, length)
    return count + math.ceil(shortest / body.step_size - 1e-9) <= limit


def can_meet_each(body: Body, pose: Pose, targets: np.ndarray, left: frozenset[int], count: int, limit: int) -> bool:
    """Whether each of the moving targets alone can be met along a straight line."""
    times = np.arange(count + 1, limit + 1)
    reach = body.capture_radius + (times - count) * body.step_size + 1e-9
    away = targets[count + 1 : limit + 1, sorted(left)] - (pose.x, pose.y)
    return bool((np.hypot(away[..., 0], away[..., 1]) <= reach[:, None]).any(axis=0).all())


def draw(
    rng: np.random.Generator, room: Room, body: Body, num_targets: int, farthest: float
) -> tuple[Pose, np.ndarray]:
    """A pose and targets (S, 2), not in reach at first, at most ``farthest`` away, in reach from somewhere."""
    while True:
        places = rng.uniform(*room.bounds, size=(1 + num_targets, 2))
        distances = np.hypot(*(places[1:] - places[0]).T)
        if (
            room.contains(places[0], body.radius)
            and room.contains(places[1:], min(body.radius, body.capture_radius) / 2).all()
            and (distances > body.capture_radius).all()
            and (distances <= farthest).all()
        ):
            x, y = places[0].tolist()
            return Pose(x, y, float(rng.uniform(-math.pi, math.pi))), places[1:]
