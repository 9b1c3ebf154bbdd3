"""What a person who plays sees: a calm page while the map is hidden, what the keys do, and what came of an episode.

A screen is a left and a right half, each as large as a plan (``FRAME_SIZE``). The left one is the plan or, while that
is hidden, :func:`paint_cover`, which is always the same. The right one, :func:`paint_standing`, is painted from a
:class:`Standing`: words and numbers of which none tells where anything is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from auralnav_gym.movement import Body
from auralnav_gym.rendering import (
    AGENT,
    DISTRACTOR,
    FAINT_INK,
    FLOOR,
    FRAME_SIZE,
    GRID,
    INK,
    LEFT_EAR,
    PAGE,
    RIGHT_EAR,
    SOUNDING,
    WHITE,
    Canvas,
    Colour,
    mix,
    to_array,
)

SCREEN_SIZE = (2 * FRAME_SIZE[0], FRAME_SIZE[1])
"""Width and height of a screen, pixels."""

_GOOD: Colour = (0, 120, 90)  # Okabe and Ito's bluish green, darker, for white and as ink
_HEADLINE, _TEXT, _SMALL = 28, 18, 15  # font sizes, px
_LEFT, _RIGHT = 44.0, FRAME_SIZE[0] - 44.0  # where text begins and ends, px
_KEY = 54.0  # side of a key, px
_MOST_DISCS = 8  # that fit beside the text
TIME_IS_SHORT = 20  # actions

# Where the keys of the arrows lie, in keys from the middle one of the lower row, x to the right and y down; what they
# do; and the direction in which their arrows point.
_ARROWS = {
    "up": ((0, -1), "forward", (0, -1)),
    "left": ((-1, 0), "turn left", (-1, 0)),
    "down": ((0, 0), "back", (0, 1)),
    "right": ((1, 0), "turn right", (1, 0)),
}


@dataclass(frozen=True)
class Note:
    """What has just happened, in words.

    Attributes:
        text: The words.
        kind: "plain", "good" or "bad", which says the colour.
    """

    text: str
    kind: str = "plain"


@dataclass(frozen=True)
class Standing:
    """How an episode stands, as far as a person who plays by ear is told.

    Attributes:
        title: What is played.
        task: What is to be done.
        num_targets: How many there are to find.
        num_found: How many have been found.
        num_actions: Actions taken.
        max_actions: After how many the episode ends; None: never.
        note: What has just happened.
        key: The key that was acted on last, by pygame's name.
        map_is_shown: Whether the plan is seen now.
        map_was_shown: Whether it was at any time in the episode.
    """

    title: str
    task: str
    num_targets: int
    num_found: int = 0
    num_actions: int = 0
    max_actions: int | None = None
    note: Note = Note("")
    key: str = ""
    map_is_shown: bool = False
    map_was_shown: bool = False


@dataclass(frozen=True)
class Line:
    """What a player reached in an episode, a line of the table at its end.

    Attributes:
        player: The name.
        cells: Texts below the headings of `HEADINGS`; empty while it is not known.
        shares: SPL and SNA, in [0, 1], which are drawn as bars below their cells.
    """

    player: str
    cells: tuple[str, ...] = ()
    shares: tuple[float, ...] = ()


HEADINGS = ("found", "SPL", "SNA", "actions", "metres")


def side_by_side(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """A screen of its two halves, (H, W, 3) uint8."""
    return np.concatenate([left, right], axis=1)


@lru_cache
def paint_cover(text: str = "The map is hidden.") -> np.ndarray:
    """The left half of a screen while the map is hidden: a head that listens, and a text below.

    Returns:
        (H, W, 3) uint8, always the same for the same text; not to be written to.
    """
    canvas = Canvas.blank(FLOOR)
    centre = np.array([FRAME_SIZE[0] / 2, FRAME_SIZE[1] / 2 - 16])
    for index in range(5, 0, -1):
        canvas.disc(centre, 60.0 + 44 * index, mix(FLOOR, AGENT, 0.11 - 0.018 * index))
        canvas.ring(centre, 60.0 + 44 * index, 1.5, mix(FLOOR, AGENT, 0.26 - 0.04 * index))
    # The head looks up, as the agent on a plan looks along its nose.
    canvas.polygon(centre + np.array([[-26.0, -62.0], [0.0, -96.0], [26.0, -62.0]]), AGENT)
    canvas.disc(centre, 70, AGENT)
    # The band of the headphones goes over the head from ear to ear.
    across, along = np.array([1.0, 0.0]), np.array([0.0, 26.0])
    canvas.line(centre - 80 * across, centre + 80 * across, 20, INK)
    canvas.line(centre - 70 * across, centre + 70 * across, 8, mix(INK, WHITE, 0.25))
    for side, colour, name in ((-1, LEFT_EAR, "left"), (1, RIGHT_EAR, "right")):
        cup = centre + side * 86 * across
        canvas.line(cup - along, cup + along, 34, INK)
        canvas.line(cup - along, cup + along, 24, colour)
        middle = cup[0] + side * 60
        canvas.text(name, middle - canvas.text_width(name, _TEXT) / 2, centre[1], _TEXT, FAINT_INK)
    _centred(canvas, "Put on headphones and listen", 52, 24, INK)
    _centred(canvas, text, FRAME_SIZE[1] - 44, _TEXT, FAINT_INK)
    return _finished(canvas)


def paint_welcome(title: str, task: str, body: Body, seconds: float) -> np.ndarray:
    """The right half of the first screen: the rules.

    Args:
        title: What is played.
        task: What is to be done.
        body: How the person moves and reaches.
        seconds: How long an action lasts.

    Returns:
        (H, W, 3) uint8, not to be written to.
    """
    canvas = Canvas.blank(WHITE)
    _draw_title(canvas, title, task)
    rules = (
        "You are the agent: what its left and right ear hear is played to yours.",
        f"Time stands still until you press a key. You move, then you listen for {seconds:g} s.",
        f"A step is {round(body.step_size, 2):g} m, a turn {np.degrees(body.turn_angle):.0f} degrees. What you come "
        f"within {round(body.capture_radius, 2):g} m of is found and falls silent.",
        "At the end you see the map, your path, and what agents reach in the same episode.",
    )
    y = 154.0
    for rule in rules:
        canvas.disc(np.array([_LEFT + 5, y]), 4.0, AGENT)
        y = _paragraph(canvas, rule, _LEFT + 24, y, _TEXT, INK) + 10
    _draw_keys(canvas, 490.0, Standing(title, task, 0))
    _draw_footer(canvas, {"enter": "begin"})
    return _finished(canvas)


@lru_cache(maxsize=1)
def paint_standing(standing: Standing) -> np.ndarray:
    """The right half of the screen while an episode is played, (H, W, 3) uint8, not to be written to."""
    canvas = Canvas.blank(WHITE)
    _draw_title(canvas, standing.title, standing.task)
    _draw_found(canvas, 168.0, standing)
    _draw_time(canvas, 232.0, standing)
    _draw_note(canvas, 272.0, standing.note)
    _draw_keys(canvas, 440.0, standing)
    how = "with the map" if standing.map_was_shown else "by ear"
    for y, text in (
        (-64.0, "Time stands still until you press a key."),
        (-42.0, f"This episode counts as played {how}."),
    ):
        canvas.text(text, _LEFT, FRAME_SIZE[1] + y, _SMALL, FAINT_INK)
    return _finished(canvas)


def paint_result(title: str, headline: Note, lines: Sequence[Line], recorded: str, is_last: bool) -> np.ndarray:
    """The right half of the screen at the end of an episode.

    Args:
        title: What was played.
        headline: What it came to.
        lines: What the person reached, then what agents did.
        recorded: Where it was recorded, and as what.
        is_last: Whether no other episode follows.

    Returns:
        (H, W, 3) uint8, not to be written to.
    """
    canvas = Canvas.blank(WHITE)
    _draw_title(canvas, title, headline.text, _ink(headline.kind))
    y = _draw_table(canvas, 168.0, lines) + 40
    explanation = (
        "SPL: the shortest path over the one walked. SNA: the fewest actions over those taken. Without success, 0.",
        recorded,
    )
    for text in explanation:
        y = _paragraph(canvas, text, _LEFT, y, _SMALL, FAINT_INK) + 8
    _draw_footer(canvas, {"enter": "leave"} if is_last else {"enter": "next episode", "esc": "leave"})
    return _finished(canvas)


def _finished(canvas: Canvas) -> np.ndarray:
    picture = to_array(canvas.finished())
    picture.setflags(write=False)
    return picture


def _draw_title(canvas: Canvas, title: str, headline: str, colour: Colour = INK) -> None:
    """Write what is played and, below it, large, what it is about, in the size that it fits in."""
    width = _RIGHT - _LEFT
    canvas.text(_shortened(canvas, title, _SMALL, width), _LEFT, 48, _SMALL, FAINT_INK)
    fitting = (size for size in range(_HEADLINE, 0, -1) if canvas.text_width(headline, size, bold=True) <= width)
    canvas.text(headline, _LEFT, 92, next(fitting, 1), colour, bold=True)


def _draw_found(canvas: Canvas, y: float, standing: Standing) -> None:
    """Draw a disc for every target, with a tick when it has been found, and say how many were."""
    x, radius = _LEFT + 15, 15.0
    for index in range(standing.num_targets if standing.num_targets <= _MOST_DISCS else 0):
        centre = np.array([x, y])
        if index < standing.num_found:
            canvas.disc(centre, radius, _GOOD)
            left, low, right = centre + radius * np.array([[-0.5, 0.0], [-0.12, 0.4], [0.5, -0.4]])
            canvas.line(left, low, 3.0, WHITE)
            canvas.line(low, right, 3.0, WHITE)
        else:
            canvas.ring(centre, radius - 1, 2.0, mix(WHITE, INK, 0.35))
        x += 2 * radius + 10
    canvas.text(f"found {standing.num_found} of {standing.num_targets}", x + 2, y, _TEXT, INK)


def _draw_time(canvas: Canvas, y: float, standing: Standing) -> None:
    """Say how many actions were taken and how many are left, with a bar."""
    text = f"{standing.num_actions} action{'' if standing.num_actions == 1 else 's'}"
    canvas.text(text, _LEFT, y - 20, _TEXT, INK)
    if standing.max_actions is None:
        return
    left = standing.max_actions - standing.num_actions
    colour = SOUNDING if left <= TIME_IS_SHORT else AGENT
    ink = mix(SOUNDING, INK, 0.35) if left <= TIME_IS_SHORT else FAINT_INK
    text = f"{left} left"
    canvas.text(text, _RIGHT - canvas.text_width(text, _TEXT), y - 20, _TEXT, ink)
    _bar(canvas, _LEFT, y, _RIGHT - _LEFT, 8.0, standing.num_actions / standing.max_actions, colour)


def _draw_note(canvas: Canvas, top: float, note: Note) -> None:
    """Say what has just happened, on a field of the colour of its kind."""
    if not note.text:
        return
    colour = _ink(note.kind)
    _box(canvas, _LEFT, top, _RIGHT - _LEFT, 56.0, 10.0, mix(WHITE, colour, 0.12))
    canvas.disc(np.array([_LEFT + 24, top + 28]), 6.0, colour)
    canvas.text(note.text, _LEFT + 44, top + 28, _TEXT, mix(colour, INK, 0.35))


def _draw_keys(canvas: Canvas, y: float, standing: Standing) -> None:
    """Draw the keys and what they do; ``y`` is the middle of the arrows, and the last key is lit."""
    pitch, middle = _KEY + 6, np.array([_LEFT + 1.5 * _KEY + 34, y + 33])
    for name, (offset, text, direction) in _ARROWS.items():
        centre = middle + pitch * np.array(offset)
        ink = _draw_key(canvas, centre, _KEY, lit=name == standing.key)
        along, across = 11 * np.array(direction), 11 * np.array([-direction[1], direction[0]])
        canvas.polygon(np.array([centre + along, centre - 0.7 * along + across, centre - 0.7 * along - across]), ink)
        width = canvas.text_width(text, _SMALL)
        if name == "up":
            canvas.text(text, centre[0] - width / 2, centre[1] - _KEY / 2 - 16, _SMALL, FAINT_INK)
        else:
            canvas.text(text, centre[0] - width / 2 + offset[0] * 18, centre[1] + _KEY / 2 + 16, _SMALL, FAINT_INK)
    x = middle[0] + 1.5 * pitch + 60
    others = {
        "space": ("space", "hear it again"),
        "m": ("M", "hide the map" if standing.map_is_shown else "show the map"),
        "escape": ("esc", "leave, not recorded"),
    }
    for row, (name, (cap, text)) in enumerate(others.items()):
        centre = np.array([x + 38, middle[1] + (row - 1.5) * 48 + 9])
        ink = _draw_key(canvas, centre, 76.0 if name == "space" else 52.0, 36.0, lit=name == standing.key)
        canvas.text(cap, centre[0] - canvas.text_width(cap, _SMALL) / 2, centre[1], _SMALL, ink)
        canvas.text(text, x + 88, centre[1], _SMALL, FAINT_INK)


def _draw_key(canvas: Canvas, centre: np.ndarray, width: float, height: float = _KEY, lit: bool = False) -> Colour:
    """Draw a key without its sign; returns the colour for that."""
    left, top = centre - (width / 2, height / 2)
    _box(canvas, left, top + 3, width, height, 9.0, mix(PAGE, INK, 0.25))
    _box(canvas, left, top, width, height, 9.0, AGENT if lit else PAGE)
    return WHITE if lit else INK


def _draw_table(canvas: Canvas, y: float, lines: Sequence[Line]) -> float:
    """Write the headings at ``y`` and below them a line a player, that of the person marked; returns where it ends."""
    pitch = min(52.0, 320.0 / len(lines))
    first, last = _LEFT + 214, _RIGHT - 6
    ends = [first + (last - first) * index / (len(HEADINGS) - 1) for index in range(len(HEADINGS))]
    for end, heading in zip(ends, HEADINGS, strict=True):
        canvas.text(heading, end - canvas.text_width(heading, _SMALL), y, _SMALL, FAINT_INK)
    for row, line in enumerate(lines):
        middle = y + 20 + pitch * (row + 0.5)
        if row == 0:
            _box(
                canvas,
                _LEFT - 16,
                middle - pitch / 2 + 2,
                _RIGHT - _LEFT + 32,
                pitch - 2,
                10.0,
                mix(WHITE, AGENT, 0.12),
            )
        else:
            canvas.rectangle((_LEFT, middle - pitch / 2), (_RIGHT - _LEFT, 1.0), GRID)
        name = _shortened(canvas, line.player, _TEXT, 146.0)
        canvas.text(name, _LEFT, middle - 4, _TEXT, mix(AGENT, INK, 0.35) if row == 0 else INK)
        for end, cell in zip(ends, line.cells or ["..."] * len(HEADINGS), strict=True):
            ink = INK if line.cells else FAINT_INK
            canvas.text(cell, end - canvas.text_width(cell, _TEXT), middle - 4, _TEXT, ink)
        for end, share in zip(ends[1:3], line.shares, strict=False):
            _bar(canvas, end - 50, middle + 13, 50.0, 4.0, share, AGENT if row == 0 else mix(WHITE, INK, 0.5))
    return y + 20 + pitch * len(lines)


def _draw_footer(canvas: Canvas, keys: dict[str, str]) -> None:
    """Draw the keys that lead on, at the bottom."""
    x, y = _LEFT, FRAME_SIZE[1] - 46.0
    for cap, what in keys.items():
        width = canvas.text_width(cap, _SMALL) + 28
        ink = _draw_key(canvas, np.array([x + width / 2, y]), width, 36.0, lit=cap == "enter")
        canvas.text(cap, x + 14, y, _SMALL, ink)
        x = canvas.text(what, x + width + 12, y, _TEXT, INK) + 36


def _paragraph(canvas: Canvas, text: str, left: float, middle: float, size: int, colour: Colour) -> float:
    """Write a text on as many lines as it takes; returns the middle of the line that would follow."""
    words, line = text.split(), ""
    for word in words:
        longer = f"{line} {word}".strip()
        if line and canvas.text_width(longer, size) > _RIGHT - left:
            canvas.text(line, left, middle, size, colour)
            middle, line = middle + 1.35 * size, word
        else:
            line = longer
    canvas.text(line, left, middle, size, colour)
    return middle + 1.35 * size


def _shortened(canvas: Canvas, text: str, size: int, width: float) -> str:
    if canvas.text_width(text, size) <= width:
        return text
    return next(
        (
            f"{text[:length]}..."
            for length in range(len(text), 0, -1)
            if canvas.text_width(f"{text[:length]}...", size) <= width
        ),
        "",
    )


def _centred(canvas: Canvas, text: str, y: float, size: int, colour: Colour) -> None:
    canvas.text(text, (FRAME_SIZE[0] - canvas.text_width(text, size)) / 2, y, size, colour)


def _bar(canvas: Canvas, left: float, y: float, width: float, height: float, share: float, colour: Colour) -> None:
    """Draw how much of something there is: a bar on a pale one of the whole width."""
    _box(canvas, left, y - height / 2, width, height, height / 2, PAGE)
    if share > 0:
        _box(canvas, left, y - height / 2, max(height, width * min(share, 1.0)), height, height / 2, colour)


def _box(canvas: Canvas, left: float, top: float, width: float, height: float, radius: float, colour: Colour) -> None:
    """Draw a rectangle with round corners."""
    canvas.rectangle((left + radius, top), (width - 2 * radius, height), colour)
    canvas.rectangle((left, top + radius), (width, height - 2 * radius), colour)
    for x in (left + radius, left + width - radius):
        for y in (top + radius, top + height - radius):
            canvas.disc(np.array([x, y]), radius, colour)


def _ink(kind: str) -> Colour:
    return {"plain": AGENT, "good": _GOOD, "bad": mix(SOUNDING, DISTRACTOR, 0.25)}[kind]
