"""The picture: a room seen from above, drawn with pygame-ce.

:func:`draw` is a pure function from the state of an episode to a surface; :class:`PlanPainter` gives its pixels.
pygame-ce is imported when the first picture is asked for, and none of this needs a display.

Places in the picture are in pixels of the frame, x to the right and y *down* from the upper left corner, as floats.
Everything is drawn ``SUPERSAMPLING`` times as large and scaled down, which smooths the edges.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.error import DependencyNotInstalled

from auralnav_gym.movement import Body, Pose
from auralnav_gym.recording import Snapshot, between
from auralnav_gym.rooms import Room
from auralnav_gym.scene import Scene, Source

if TYPE_CHECKING:
    import pygame

Colour = tuple[int, int, int]

# Every frame has this size whatever the room: windows keep theirs, and frames of parallel environments can be tiled.
# Both sides are multiples of 16, as video encoders like it.
PLAN_SIZE = 608  # px, the square above the status lines that the plan is fitted into
STATUS_HEIGHT = 64  # px
FRAME_SIZE = (PLAN_SIZE, PLAN_SIZE + STATUS_HEIGHT)  # width, height
MARGIN = 28  # px, least distance of the floor to the border of the plan
SUPERSAMPLING = 4

# Okabe and Ito's palette, which colour-blind people can tell apart, for what matters; greys for the rest.
SOUNDING: Colour = (213, 94, 0)  # vermilion
DISTRACTOR: Colour = (112, 16, 48)  # a dark red, which differs from vermilion in lightness as well
AGENT: Colour = (0, 114, 178)  # blue
LEFT_EAR: Colour = (240, 228, 66)  # yellow
RIGHT_EAR: Colour = (204, 121, 167)  # reddish purple
FOUND: Colour = (134, 140, 147)
WALL: Colour = (52, 58, 64)
INK: Colour = (33, 37, 41)
FAINT_INK: Colour = (104, 110, 117)
PAGE: Colour = (233, 236, 239)
FLOOR: Colour = (253, 253, 251)
GRID: Colour = (228, 231, 234)
WHITE: Colour = (255, 255, 255)
_CLEAR: Colour = (255, 0, 255)  # what is transparent in a stencil; used for nothing else

_WALL_WIDTH = 6  # px
_SOURCE_RADIUS = 9.0  # px
_WAVE_SPACING = 7.0  # px
_HEAD_RADIUS = 12.0  # px, the least; the head is as large as the body where that is larger
_EAR_OUT = 1.5  # px, least distance of the middle of an ear to the head
# In pictures that move the agent is on its way for so long, seconds, but for no more than so much of a moment.
_GLIDE, _LARGEST_SHARE = 0.2, 0.4
_LARGE, _MEDIUM, _SMALL = 15, 12, 11  # font sizes, px
_LABEL_LENGTH = 24  # characters
_GRID_STEPS = tuple(digit * 10.0**power for power in range(-2, 4) for digit in (1, 2, 5))  # m
_LEAST_GRID_STEP = 40  # px
_HATCH_SPACING = 8.0  # px
_BEAM_ANGLE = 26.0  # degrees to either side
_BEAM_LENGTH = 3.4  # radii of the head
_BEAM_STRENGTH, _BEAM_STEPS = 0.3, 10
_HALO = [(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1) if (x, y) != (0, 0)]  # px


class PlanPainter:
    """Paints the plans of episodes; keeps what stays from one to the next.

    Raises:
        gymnasium.error.DependencyNotInstalled: If pygame-ce is missing.
    """

    def __init__(self) -> None:
        import_pygame()
        self._background: pygame.Surface | None = None
        self._background_of: tuple[Scene, Body, tuple[bool, ...], bytes] | None = None

    def paint(self, snapshot: Snapshot, phase: float | None = None) -> np.ndarray:
        """Paint an episode as it stands; the arguments are those of :func:`draw`.

        Returns:
            (H, W, 3) uint8, a new array, always of ``FRAME_SIZE``.
        """
        on, places = np.asarray(snapshot.on, dtype=bool), snapshot.source_positions
        content = (snapshot.scene, snapshot.body, tuple(on.tolist()), places.tobytes())
        if self._background is None or content != self._background_of:
            self._background, self._background_of = draw_background(snapshot), content
        return to_array(draw(snapshot, self._background, phase))

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the surface, which cannot be copied; the next picture makes a new one."""
        return {**self.__dict__, "_background": None, "_background_of": None}


def glide_seconds(seconds: float) -> float:
    """How long the agent is on its way in a moment that lasts ``seconds``, in pictures that move."""
    return min(_GLIDE, _LARGEST_SHARE * seconds)


def on_the_way(before: Snapshot | None, after: Snapshot, time: float, seconds: float) -> Snapshot:
    """What is to be seen of a moment some time after it has begun: the agent comes from where it was, then stands.

    Args:
        before: The moment before; None: the agent has been there all along.
        after: The moment.
        time: Seconds since it has begun.
        seconds: How long it lasts.
    """
    share = min(time / glide_seconds(seconds), 1.0)
    return after if before is None else between(before, after, share * share * (3 - 2 * share))  # without a jerk


def draw(snapshot: Snapshot, background: pygame.Surface | None = None, phase: float | None = None) -> pygame.Surface:
    """Draw an episode as it stands, seen from above.

    Args:
        snapshot: The episode.
        background: What :func:`draw_background` returned for a snapshot of the same scene, body, ``on`` and
            ``source_positions``; None draws it anew.
        phase: How far the rings of what sounds are on their way to the next one, in [0, 1), for pictures that move;
            None: a third farther with every action.

    Returns:
        A surface of ``FRAME_SIZE`` pixels. Equal arguments give equal pixels.
    """
    scene, body, on = snapshot.scene, snapshot.body, snapshot.on
    canvas = Canvas(background.copy() if background is not None else draw_background(snapshot))
    plan = _Plan(scene.room)
    walked = np.array([[p.x, p.y] for p in snapshot.path]).reshape(-1, 2)
    sources = plan.pixels(snapshot.source_positions[:, :2])
    colours = _colours(scene, on)
    phase = len(snapshot.path) % 3 / 3 if phase is None else phase
    for place, sounding, colour in zip(sources, on, colours, strict=True):
        if sounding:
            _draw_waves(canvas, place, phase, colour)
    _draw_path(canvas, plan.pixels(walked))
    for place, colour in zip(sources, colours, strict=True):
        _draw_source(canvas, place, colour)
    _draw_labels(canvas, plan, sources, scene.sources, colours)
    head_radius = max(body.radius * plan.scale, _HEAD_RADIUS)
    pose = snapshot.pose
    agent = plan.pixels(pose.position)
    _draw_beam(canvas, plan, pose, head_radius)
    _draw_head(canvas, agent, pose.heading, head_radius, WHITE, edge=1.5)
    _draw_ears(canvas, agent, pose.heading, plan.pixels(snapshot.ears[:, :2]), head_radius)
    _draw_head(canvas, agent, pose.heading, head_radius)
    _draw_status(canvas, _reached(scene, on, snapshot.num_touched), num_actions=snapshot.num_actions, walked=walked)
    return canvas.finished()


def draw_background(snapshot: Snapshot) -> pygame.Surface:
    """Draw what stays while the agent moves and no source does: room, reach of the sources, legend.

    Args:
        snapshot: Of it, the scene, ``on``, ``source_positions`` and the body's reach are drawn.

    Returns:
        A surface of ``SUPERSAMPLING`` times ``FRAME_SIZE`` pixels.
    """
    scene, body, on, places = snapshot.scene, snapshot.body, snapshot.on, snapshot.source_positions
    canvas, plan = Canvas.blank(FLOOR), _Plan(scene.room)
    sources = plan.pixels(places[:, :2])
    reach = body.capture_radius * plan.scale
    in_order = sorted(zip(sources, _colours(scene, on), strict=True), key=lambda item: item[1] != FOUND)  # found below
    for place, colour in in_order:
        canvas.disc(place, reach, mix(FLOOR, colour, 0.10))
    grid_step = _draw_grid(canvas, plan)
    for place, colour in in_order:
        if colour == DISTRACTOR:
            canvas.hatch(place, reach, _HATCH_SPACING, mix(FLOOR, colour, 0.30))
        canvas.ring(place, reach, 1.0, mix(FLOOR, colour, 0.55))
    _draw_walls(canvas, plan)
    _draw_legend(canvas, body, grid_step, has_distractors=not scene.is_target.all())
    return canvas.surface


def _colours(scene: Scene, on: np.ndarray) -> list[Colour]:
    """Return the colour of every source: what it is, and for a target whether it still sounds."""
    return [
        (SOUNDING if sounding else FOUND) if source.is_target else DISTRACTOR
        for source, sounding in zip(scene.sources, on, strict=True)
    ]


def _reached(scene: Scene, on: np.ndarray, num_touched: int) -> str:
    """Say how many targets were found and how many distractors entered."""
    is_target = scene.is_target
    text = f"found {int((is_target & ~on).sum())} of {int(is_target.sum())}"
    return text if is_target.all() else f"{text}, touched {num_touched}"


class _Plan:
    """Where the places of a room are in the picture: fitted, in proportion, in the middle."""

    def __init__(self, room: Room) -> None:
        self.low, self.high = room.bounds
        self.scale = (PLAN_SIZE - 2 * MARGIN) / float((self.high - self.low).max())  # px per metre
        self.room = room
        self._middle = (self.low + self.high) / 2
        self.corners = self.pixels(room.corners)  # (M, 2), px

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """Convert points (..., 2) in metres, y up, to pixels (..., 2), y down."""
        return PLAN_SIZE / 2 + (points - self._middle) * (self.scale, -self.scale)

    def on_floor(self, box: pygame.Rect) -> bool:
        """Say whether a box of pixels lies on the floor as a whole."""
        corners = np.array([box.topleft, box.topright, box.bottomleft, box.bottomright])
        metres = (corners - PLAN_SIZE / 2) / (self.scale, -self.scale) + self._middle
        return bool(self.room.contains(metres).all())


class Canvas:
    """A surface that is drawn on ``SUPERSAMPLING`` times as large as the places and sizes say, which are in pixels."""

    def __init__(self, surface: pygame.Surface) -> None:
        self.surface = surface
        self._pg = import_pygame()
        self._fonts: dict[tuple[int, bool], pygame.font.Font] = {}

    @classmethod
    def blank(cls, colour: Colour) -> Canvas:
        """A canvas for a picture of ``FRAME_SIZE``, all in one colour."""
        size = (SUPERSAMPLING * FRAME_SIZE[0], SUPERSAMPLING * FRAME_SIZE[1])
        canvas = cls(import_pygame().Surface(size, depth=32))
        canvas.surface.fill(colour)
        return canvas

    def disc(self, centre: np.ndarray, radius: float, colour: Colour) -> None:
        """Fill a circle."""
        self._pg.draw.circle(self.surface, colour, self._at(centre), round(radius * SUPERSAMPLING))

    def ring(self, centre: np.ndarray, radius: float, width: float, colour: Colour) -> None:
        """Draw a circle whose line lies to both sides of ``radius``."""
        outer = round((radius + width / 2) * SUPERSAMPLING)
        self._pg.draw.circle(self.surface, colour, self._at(centre), outer, round(width * SUPERSAMPLING))

    def hatch(self, centre: np.ndarray, radius: float, spacing: float, colour: Colour) -> None:
        """Fill a circle with slanted lines."""
        along, across = np.array([[1.0, -1.0], [1.0, 1.0]]) / math.sqrt(2)
        for offset in np.arange(spacing / 2 - radius, radius, spacing):
            half = math.sqrt(radius**2 - offset**2) * along
            self.line(centre + offset * across - half, centre + offset * across + half, 1.0, colour)

    def polygon(self, points: np.ndarray, colour: Colour) -> None:
        """Fill a polygon with corners (M, 2)."""
        self._pg.draw.polygon(self.surface, colour, [self._at(point) for point in points])

    def glaze(self, points: np.ndarray, colour: Colour, share: float) -> None:
        """Lay ``share`` of a colour over a polygon."""
        corners = [self._at(point) for point in points]
        box = self._pg.Rect(corners[0], (1, 1)).unionall([self._pg.Rect(corner, (1, 1)) for corner in corners[1:]])
        glass = self._pg.Surface(box.size, self._pg.SRCALPHA)
        self._pg.draw.polygon(glass, (*colour, round(255 * share)), [(x - box.x, y - box.y) for x, y in corners])
        self.surface.blit(glass, box)

    def line(self, start: np.ndarray, end: np.ndarray, width: float, colour: Colour) -> None:
        """Draw a straight line with round ends."""
        # pygame cuts the ends of its own wide lines along the axes, which leaves gaps where two lines meet.
        along = end - start
        across = np.array([-along[1], along[0]]) * (width / 2 / max(math.hypot(*along), 1e-9))
        self.polygon(np.array([start + across, end + across, end - across, start - across]), colour)
        for point in (start, end):
            self.disc(point, width / 2, colour)

    def rectangle(self, corner: tuple[float, float], size: tuple[float, float], colour: Colour) -> None:
        """Fill a rectangle, given by its upper left corner."""
        self.surface.fill(colour, [round(value * SUPERSAMPLING) for value in (*corner, *size)])

    def text_width(self, text: str, size: int, bold: bool = False) -> float:
        """How wide a text will be."""
        return float(self._font(size, bold).size(text)[0])

    def text(
        self,
        text: str,
        left: float,
        middle: float,
        size: int,
        colour: Colour,
        bold: bool = False,
        halo: Colour | None = None,
    ) -> float:
        """Write a line of text.

        Args:
            text: The text.
            left: Where it begins.
            middle: The height that it is centred on.
            size: Of the font.
            colour: Of the letters.
            bold: Whether it is written boldly.
            halo: The colour around the letters, which keeps them legible on top of other things; None: no halo.

        Returns:
            Where it ends.
        """
        font = self._font(size, bold)
        corner = round(left), round(middle - font.get_height() / 2)
        for ink, offsets in ((halo, _HALO), (colour, [(0, 0)])):
            if ink is not None:
                # Letters are drawn for the size that they are seen in, which is crisper than scaling them down.
                image = self._pg.transform.scale_by(font.render(text, True, ink), SUPERSAMPLING)
                for offset in offsets:
                    at = [SUPERSAMPLING * (start + step) for start, step in zip(corner, offset, strict=True)]
                    self.surface.blit(image, at)
        return left + font.size(text)[0]

    def overlay(self, stencil: Canvas) -> None:
        """Put ``stencil`` over this canvas; what is ``_CLEAR`` in it lets this canvas be seen."""
        stencil.surface.set_colorkey(_CLEAR)
        self.surface.blit(stencil.surface, (0, 0))

    def finished(self) -> pygame.Surface:
        """The picture, of ``FRAME_SIZE``."""
        return self._pg.transform.smoothscale(self.surface, FRAME_SIZE)

    def _font(self, size: int, bold: bool) -> pygame.font.Font:
        # Fonts do not outlive this canvas: they become invalid when anything in the process calls pygame.quit().
        if (size, bold) not in self._fonts:
            self._pg.font.init()
            self._fonts[size, bold] = self._pg.font.Font(_font_file(bold), size)
        return self._fonts[size, bold]

    @staticmethod
    def _at(point: np.ndarray) -> tuple[int, int]:
        return round(float(point[0]) * SUPERSAMPLING), round(float(point[1]) * SUPERSAMPLING)


def _draw_grid(canvas: Canvas, plan: _Plan) -> float:
    """Draw lines at whole multiples of a round step; returns the step in metres."""
    step = next((step for step in _GRID_STEPS if step * plan.scale >= _LEAST_GRID_STEP), _GRID_STEPS[-1])
    first, last = np.ceil(plan.low / step), np.floor(plan.high / step)
    for place in np.arange(first[0], last[0] + 1) * step:
        x, _ = plan.pixels(np.array([place, 0.0]))
        canvas.rectangle((x - 0.5, 0.0), (1.0, PLAN_SIZE), GRID)
    for place in np.arange(first[1], last[1] + 1) * step:
        _, y = plan.pixels(np.array([0.0, place]))
        canvas.rectangle((0.0, y - 0.5), (PLAN_SIZE, 1.0), GRID)
    return step


def _draw_walls(canvas: Canvas, plan: _Plan) -> None:
    """Draw the walls and what is outside; hides what was drawn beyond the floor."""
    outside = Canvas.blank(PAGE)
    for start, end in zip(plan.corners, np.roll(plan.corners, -1, axis=0), strict=True):
        outside.line(start, end, 2 * _WALL_WIDTH, WALL)
    outside.polygon(plan.corners, _CLEAR)
    canvas.overlay(outside)


def _draw_labels(
    canvas: Canvas, plan: _Plan, places: np.ndarray, sources: Sequence[Source], colours: Sequence[Colour]
) -> None:
    """Name every source: below, above or beside it, where nothing is in the way."""
    rect = import_pygame().Rect
    height, gap = 14, _SOURCE_RADIUS + 3 * _WAVE_SPACING
    taken = [rect(x - gap + 1, y - gap + 1, 2 * gap - 2, 2 * gap - 2) for x, y in places]
    for (x, y), source, colour in zip(places, sources, colours, strict=True):
        text = _label(source)
        width = canvas.text_width(text, _MEDIUM)
        corners = [
            (x - width / 2, y + gap),
            (x - width / 2, y - gap - height),
            (x + gap, y - height / 2),
            (x - gap - width, y - height / 2),
        ]
        boxes = [rect(*corner, width, height).clamp(rect(0, 0, PLAN_SIZE, PLAN_SIZE)) for corner in corners]
        free = [box for box in boxes if box.collidelist(taken) < 0] or boxes
        box = next((box for box in free if plan.on_floor(box)), free[0])
        taken.append(box)
        ink = FAINT_INK if colour == FOUND else mix(colour, INK, 0.35)
        canvas.text(text, box.left, box.centery, _MEDIUM, ink, halo=FLOOR)


def _draw_waves(canvas: Canvas, place: np.ndarray, phase: float, colour: Colour) -> None:
    """Draw rings that leave a source and fade; ``phase`` in [0, 1) says how far they are on the way to the next one."""
    for index in (2, 1, 0):
        strength = 0.9 - 0.3 * (index + phase)
        canvas.ring(place, _SOURCE_RADIUS + _WAVE_SPACING * (index + phase), 1.5, mix(FLOOR, colour, strength))


def _draw_source(canvas: Canvas, place: np.ndarray, colour: Colour, radius: float = _SOURCE_RADIUS) -> None:
    """Draw a disc, with a tick for what was found and a cross for a distractor."""
    canvas.disc(place, radius + 1.5, WHITE)
    canvas.disc(place, radius, colour)
    if colour == FOUND:
        left, low, right = place + radius * np.array([[-0.5, 0.0], [-0.15, 0.4], [0.5, -0.4]])
        canvas.line(left, low, 2.0, WHITE)
        canvas.line(low, right, 2.0, WHITE)
    elif colour == DISTRACTOR:
        for end in radius * np.array([[0.4, 0.4], [0.4, -0.4]]):
            canvas.line(place - end, place + end, 2.0, WHITE)


def _draw_path(canvas: Canvas, places: np.ndarray) -> None:
    """Draw a line through the places (P, 2), the darker the later, and a ring at the start."""
    if len(places) == 0:
        return
    moved = np.append(True, (np.diff(places, axis=0) != 0).any(axis=1))
    stops = places[moved]
    for index, (start, end) in enumerate(itertools.pairwise(stops), start=1):
        colour = mix(FLOOR, AGENT, 0.22 + 0.53 * index / len(stops))
        canvas.line(start, end, 2.0, colour)
        canvas.disc(end, 2.5, colour)
    canvas.disc(stops[0], 4.5, mix(FLOOR, AGENT, 0.7))
    canvas.disc(stops[0], 2.5, FLOOR)


def _draw_beam(canvas: Canvas, plan: _Plan, pose: Pose, head_radius: float) -> None:
    """Show where a head is turned to by a beam that fades, and ends at walls."""
    angles = pose.heading + np.radians(np.linspace(-_BEAM_ANGLE, _BEAM_ANGLE, 13))
    rays = np.stack([np.cos(angles), np.sin(angles)], axis=1) * _BEAM_LENGTH * head_radius / plan.scale  # (13, 2), m
    shares = plan.room.free_shares(np.tile(pose.position, (len(rays), 1)), rays, 0.0)
    for longest in np.linspace(1.0, 1 / _BEAM_LENGTH, _BEAM_STEPS, endpoint=False):
        rim = pose.position + np.minimum(shares, longest)[:, None] * rays
        canvas.glaze(plan.pixels(np.vstack([pose.position, rim])), AGENT, _BEAM_STRENGTH / _BEAM_STEPS)


def _draw_head(
    canvas: Canvas, place: np.ndarray, heading: float, radius: float, colour: Colour = AGENT, edge: float = 0.0
) -> None:
    """Draw a head from above, whose nose points along the heading, larger by ``edge`` all around."""
    canvas.disc(place, radius + edge, colour)
    tip = place + (1.75 * radius + 1.5 * edge) * _direction(heading)
    sides = [place + (radius + edge) * _direction(heading + side * math.radians(35)) for side in (1, -1)]
    canvas.polygon(np.array([tip, *sides]), colour)


def _draw_ears(canvas: Canvas, place: np.ndarray, heading: float, ears: np.ndarray, head_radius: float) -> None:
    """Draw the ears (E, 2) where they are, or beside the head, which then hides half of them, if they are within."""
    for index, ear in enumerate(ears):
        offset = ear - place
        distance = math.hypot(*offset)
        colour, side = ((LEFT_EAR, 1), (RIGHT_EAR, -1))[index] if index < 2 else (WHITE, 0)
        # Ears at one place (a coincident pair) are told apart by the sides that they are for.
        towards = offset / distance if distance > 1e-6 else _direction(heading + side * math.pi / 2)
        _draw_ear(canvas, place + max(distance, head_radius + _EAR_OUT) * towards, colour)


def _draw_ear(canvas: Canvas, at: np.ndarray, colour: Colour) -> None:
    canvas.disc(at, 6.5, WHITE)
    canvas.disc(at, 5.5, INK)
    canvas.disc(at, 4.5, colour)


def _draw_status(canvas: Canvas, reached: str, num_actions: int, walked: np.ndarray) -> None:
    """Write what has been reached so far, on the upper status line."""
    metres = float(np.hypot(*np.diff(walked, axis=0).T).sum())
    middle = PLAN_SIZE + 20
    canvas.text(reached, MARGIN, middle, _LARGE, INK, bold=True)
    text = f"{num_actions} action{'' if num_actions == 1 else 's'}, {metres:.1f} m walked"
    canvas.text(text, PLAN_SIZE - MARGIN - canvas.text_width(text, _LARGE), middle, _LARGE, INK)


def _draw_legend(canvas: Canvas, body: Body, grid_step: float, has_distractors: bool) -> None:
    """Show what the signs mean, on the lower status line."""
    canvas.rectangle((0, PLAN_SIZE), (PLAN_SIZE, STATUS_HEIGHT), WHITE)
    y = PLAN_SIZE + 45.0
    signs: list[tuple[str, Callable[[np.ndarray], None]]] = [
        ("target" if has_distractors else "sounding", lambda at: _draw_source(canvas, at, SOUNDING, 6.0)),
        ("found", lambda at: _draw_source(canvas, at, FOUND, 6.0)),
        *([("keep out", lambda at: _draw_source(canvas, at, DISTRACTOR, 6.0))] if has_distractors else []),
        (f"reach {round(body.capture_radius, 2):g} m", lambda at: _draw_reach_sign(canvas, at)),
        ("agent", lambda at: _draw_head(canvas, at - (3, 0), 0.0, 6.0)),
        ("left ear", lambda at: _draw_ear(canvas, at, LEFT_EAR)),
        ("right ear", lambda at: _draw_ear(canvas, at, RIGHT_EAR)),
        (f"grid {grid_step:g} m", lambda at: _draw_grid_sign(canvas, at)),
    ]
    free = PLAN_SIZE - 2 * MARGIN - sum(20 + canvas.text_width(text, _SMALL) for text, _ in signs)
    x = float(MARGIN)
    for text, draw_sign in signs:
        draw_sign(np.array([x + 7, y]))
        x = canvas.text(text, x + 20, y, _SMALL, FAINT_INK) + free / (len(signs) - 1)


def _draw_reach_sign(canvas: Canvas, at: np.ndarray) -> None:
    canvas.disc(at, 7.0, mix(FLOOR, SOUNDING, 0.10))
    canvas.ring(at, 7.0, 1.0, mix(FLOOR, SOUNDING, 0.55))


def _draw_grid_sign(canvas: Canvas, at: np.ndarray) -> None:
    for offset in (-3, 2):
        canvas.rectangle((at[0] - 6, at[1] + offset), (12, 1), FOUND)
        canvas.rectangle((at[0] + offset, at[1] - 6), (1, 12), FOUND)


def _label(source: Source) -> str:
    """Name the kind of a sound and its recording in a few letters."""
    kind, name = source.sound.kind, PurePosixPath(source.sound.name).stem
    text = name if name.startswith(kind) else f"{kind} {name}"
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return text if len(text) <= _LABEL_LENGTH else text[: _LABEL_LENGTH - 3] + "..."


def _direction(angle: float) -> np.ndarray:
    """Return the unit vector (2,) in the picture, y down, of an angle in the world, y up."""
    return np.array([math.cos(angle), -math.sin(angle)])


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Lay ``share`` of the second colour over the first."""
    r, g, b = (round(a + share * (b - a)) for a, b in zip(first, second, strict=True))
    return r, g, b


def to_array(surface: pygame.Surface) -> np.ndarray:
    """Return (H, W, 3) uint8, a copy of a surface's pixels."""
    width, height = surface.get_size()
    pixels = np.frombuffer(import_pygame().image.tobytes(surface, "RGB"), dtype=np.uint8)
    return pixels.reshape(height, width, 3).copy()


def _font_file(bold: bool) -> str:
    """DejaVu Sans, the typeface of the panels beside the plan."""
    try:
        import matplotlib
    except ImportError as error:
        raise DependencyNotInstalled(
            'Matplotlib is not installed, and rendering needs its fonts. Run `pip install "auralnav[render]"`.'
        ) from error
    return f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans{'-Bold' if bold else ''}.ttf"


def import_pygame() -> ModuleType:
    """Return pygame, which only pictures and windows need.

    Raises:
        gymnasium.error.DependencyNotInstalled: If pygame-ce is missing.
    """
    try:
        import pygame
    except ImportError as error:
        raise DependencyNotInstalled(
            'pygame-ce is not installed, and rendering needs it. Run `pip install "auralnav[render]"`.'
        ) from error
    return pygame
