"""The fuller picture: what the ears hear and what the agent makes of it, beside the room seen from above.

:class:`PanelPainter` paints the panels, :class:`Panels` puts them beside the pictures of an environment. In the order
of use::

    env = Panels(gym.make("AuralNav-v0", render_mode="rgb_array"), perceiver)
    env.reset(seed=0)
    picture = env.render()  # (672, 1280, 3) uint8

Matplotlib is imported when a painter is made. Figures belong to their painters: pyplot, the settings and the backend
are left as they are, and make no difference.

Places in the panels are in pixels, x to the right and y *down* from the upper left corner. Levels are mean powers in dB
re full scale, which is 1: a sine between -1 and 1 has -3 dB, as elsewhere in AuralNav.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.error import DependencyNotInstalled, ResetNeeded
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann

from auralnav_gym.env import AuralNavEnv
from auralnav_gym.recording import Perceiver, Perception, Snapshot, stereo
from auralnav_gym.rendering import (
    AGENT,
    DISTRACTOR,
    FAINT_INK,
    FRAME_SIZE,
    GRID,
    INK,
    LEFT_EAR,
    PAGE,
    RIGHT_EAR,
    WHITE,
    Colour,
    PlanPainter,
)
from auralnav_gym.window import Window

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties
    from matplotlib.image import AxesImage
    from matplotlib.lines import Line2D
    from matplotlib.patches import Rectangle
    from matplotlib.text import Text

Box = tuple[int, int, int, int]  # left, top, width, height, px

# The panels have this size whatever they show, and the height of the plan: beside it they make a picture of 1280 px.
PANELS_SIZE = (672, FRAME_SIZE[1])  # width, height, px

# The ends of the spectrogram's colours, dB re full scale.
QUIETEST, LOUDEST = -90.0, -10.0

# Sources with panels of their own; of more the first ones are shown.
MOST_SOURCES = 6

# The ears' colours, dark enough for thin lines on white.
LEFT_LINE: Colour = (150, 134, 0)
RIGHT_LINE: Colour = (166, 76, 126)
BAR: Colour = (110, 117, 124)  # of numbers that have no side
_LEFT_TINT: Colour = (251, 247, 205)
_RIGHT_TINT: Colour = (245, 226, 237)
_PANEL: Colour = (248, 249, 250)
_TRACK: Colour = (236, 239, 242)
_OTHER_ACTION: Colour = (158, 196, 219)  # a light version of AGENT

# From white on, the darker the more.
_LEVEL_COLOURS: tuple[Colour, ...] = (WHITE, (199, 221, 236), (102, 169, 209), AGENT, (0, 68, 122), (6, 24, 56))
_MASK_COLOURS: tuple[Colour, ...] = (WHITE, (191, 228, 216), (102, 193, 165), (0, 158, 115), (0, 98, 76))

# Cues, and numbers of a continuous action, that are positive for the left. The cues are auralnav_sb3.cues.SIDED_CUES.
_SIDED = frozenset({"ipd", "sin_ipd", "ild", "turn"})
# The least that the bars of a cue span, and those of values of a kind.
_CUE_SPANS = {"volume": (0.0, 1.0), "log_volume": (0.0, 4.0)}
_VALUE_SPANS = {"probability": (0.0, 1.0), "action": (-1.0, 1.0)}
_VALUE_TITLES = {"Q-value": "Q-values", "probability": "Probabilities", "action": "Action", "": "Values"}

_FONT = "DejaVu Sans"  # comes with Matplotlib
_HEADLINE, _TITLE, _LABEL, _TICK = 15.0, 12.0, 10.5, 10.0  # px
_MARGIN, _GAP, _PAD = 10, 8, 8  # px: around the cards, between them, and inside of them
_TITLE_HEIGHT, _TICK_HEIGHT, _HEADLINE_HEIGHT = 18, 20, 28  # px
_TIME_LEFT = 58  # px, where time begins in all panels
_SPLIT = 442  # px, where the cards of what is a function of time end if there are others beside them
_BAR_GAP, _BAR_WIDTH, _KEY_WIDTH = 8, 8, 46  # px: before and of a colour scale, and both with its numbers
_TITLE_RISE = 5  # px, from a panel to the base line of its title
# Of the rows of numbers with bars, px: the room of a number, the least height that has names, and that has them on a
# line of their own, and the largest height.
_NUMBER_WIDTH, _LEAST_ROW, _LEAST_TWO_LINES, _HIGHEST_ROW = 46, 12, 44, 52
# By how many there are: their names, their colours on the map, and those of their waveforms.
_EARS = {
    1: (("The only ear", WHITE, BAR),),
    2: (("Left ear", LEFT_EAR, LEFT_LINE), ("Right ear", RIGHT_EAR, RIGHT_LINE)),
}
_WINDOW_SECONDS = 0.032  # of the spectrogram, or as near to it as a power of two of samples is
_WAVE_LIMITS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


def spectrogram(audio: np.ndarray, window_length: int, hop: int) -> np.ndarray:
    """Levels of what is heard by frequency and time: the mean power of the ears.

    Args:
        audio: (E, N) in [-1, 1].
        window_length: Samples in a Hann window.
        hop: Samples from one window to the next.

    Returns:
        (F, W) float64, dB re full scale, -120 and more; F = window_length // 2 + 1 frequencies, k * sample rate /
        window_length, and W = N // hop + 1 windows, centred on the samples w * hop, the ends mirrored. A sine of
        amplitude a at one of the frequencies has 20 log10(a) - 3 dB there, halfway between two 1.4 dB less in both.
    """
    num_samples = audio.shape[1]
    # What is shorter than a window cannot be mirrored.
    padded = np.pad(audio, ((0, 0), (0, max(0, window_length - num_samples))))
    transform = ShortTimeFFT(hann(window_length, sym=False), hop, fs=1.0, scale_to="magnitude")
    spectra = transform.stft(padded, p0=0, p1=num_samples // hop + 1, padding="even")  # (E, F, W)
    power = np.square(np.abs(spectra)).mean(axis=0)
    power[1 : (window_length + 1) // 2] *= 2  # with that of the negative frequencies
    return 10 * np.log10(power.clip(1e-12))


def beside(plan: np.ndarray, panels: np.ndarray) -> np.ndarray:
    """Put the panels to the right of the plan.

    Args:
        plan: (672, 608, 3) uint8, see :class:`auralnav_gym.rendering.PlanPainter`.
        panels: (672, 672, 3) uint8, see :class:`PanelPainter`.

    Returns:
        (672, 1280, 3) uint8.

    Raises:
        ValueError: If the pictures are not equally high.
    """
    if len(plan) != len(panels):
        raise ValueError(f"plan: expected as many rows as panels has ({len(panels)}), actual: {len(plan)}")
    return np.concatenate([plan, panels], axis=1)


class PanelPainter:
    """Paints what the ears hear in one moment, and what the agent makes of it.

    Shown are the waveforms of the left and the right ear, with their RMS levels; the spectrogram of both; of every
    separated source the mask (its share of what is heard, 1 and more alike) and the cues; and what each action is
    worth, the one that is taken, or else the best one, highlighted. Bars of numbers that tell left from right grow to
    the side that they speak of. What a perception does not have takes no room.

    Args:
        sample_rate: Of the sound, Hz.

    Raises:
        gymnasium.error.DependencyNotInstalled: If Matplotlib is missing.
    """

    def __init__(self, sample_rate: int) -> None:
        _require_matplotlib()
        self._sample_rate = sample_rate
        self._page: _Page | None = None

    def paint(
        self, audio: np.ndarray, perception: Perception | None = None, action: str = "", last_action: str = ""
    ) -> np.ndarray:
        """Paint a moment.

        Args:
            audio: (E, N) float in [-1, 1], what is heard. Of more than two ears the first two are shown.
            perception: What the agent makes of it; None: nothing is known.
            action: What the agent does next, in words; one of ``perception.value_names`` is highlighted there.
            last_action: What it did before, in words.

        Returns:
            (H, W, 3) uint8, a new array, always of ``PANELS_SIZE``. Equal arguments give equal pixels.

        Raises:
            ValueError: If ``audio`` has another shape, or ``perception`` is of so many sources here and so many there.
        """
        if audio.ndim != 2 or 0 in audio.shape:
            raise ValueError(f"audio: expected shape (E, N), at least a sample of one ear, actual: {audio.shape}")
        perception = Perception.nothing() if perception is None else perception
        contents = _Contents.of(audio, perception, self._sample_rate)
        if self._page is None or contents != self._page.contents:
            self._page = _Page(contents)
        return self._page.paint(audio[:2], perception, action, last_action)

    def with_cursor(self, picture: np.ndarray, share: float) -> np.ndarray:
        """Mark a time in all panels that show time, such as what is being heard. Takes no new painting.

        Args:
            picture: (H, W, 3) uint8, what :meth:`paint` returned last; it is not changed.
            share: Of the time shown, in [0, 1].

        Returns:
            (H, W, 3) uint8, a copy with the mark.

        Raises:
            ResetNeeded: If nothing was painted yet.
            ValueError: If ``share`` is out of range.
        """
        if not 0 <= share <= 1:
            raise ValueError(f"share: expected a number in [0, 1], actual: {share}")
        marked = picture.copy()
        for name, (left, top, width, height) in self.boxes.items():
            if name.startswith(_OF_TIME):
                column = left + min(int(share * width), width - 1)
                marked[top : top + height, column - 1 : column + 2] = WHITE
                marked[top : top + height, column] = INK
        return marked

    @property
    def boxes(self) -> Mapping[str, Box]:
        """Where the panels of the last picture are: left, top, width and height, px.

        By name: "waveform 0", "waveform 1", "spectrogram", "mask 0" and so on, "cues 0" and so on, "values".
        """
        return self._last_page.boxes

    @property
    def figure(self) -> Figure:
        """The Matplotlib figure of the last picture, in pixels: its dpi is 72."""
        return self._last_page.sheet.figure

    @property
    def _last_page(self) -> _Page:
        if self._page is None:
            raise ResetNeeded("Nothing was painted yet: call paint() first.")
        return self._page

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the figure, which the next picture makes anew."""
        return {**self.__dict__, "_page": None}


class Panels(gym.Wrapper):
    """Shows what the agent hears, and makes of it, beside the room seen from above.

    Pictures are of the present moment: what is heard since the last action, which the headline names.

    Works in Gymnasium's wrappers for pictures, such as ``RecordVideo``. Pictures in lists are to be had with
    ``gymnasium.wrappers.RenderCollection(Panels(env))``.

    Example:
        >>> import gymnasium as gym
        >>> from auralnav_gym.panels import Panels
        >>> env = Panels(gym.make("AuralNav-v0", render_mode="rgb_array"))
        >>> observation, info = env.reset(seed=0)
        >>> env.render().shape
        (672, 1280, 3)
        >>> env.close()

    Args:
        env: An :class:`auralnav_gym.AuralNavEnv`, or wrappers around one that leave ``observation["audio"]`` as it is;
            made with ``render_mode="rgb_array"`` or ``"rgb_array_list"``.
        perceiver: Is given every observation, in order and once, whether or not it is rendered. None: only what is
            heard is shown.
        render_mode: ``"human"`` shows every moment in a window and plays what is heard, at real speed; None or
            ``"rgb_array"``: :meth:`render` returns the picture.

    Raises:
        gymnasium.error.DependencyNotInstalled: If Matplotlib is missing, or pygame-ce.
        ValueError: If ``env`` is another environment, or makes no pictures, or the render mode is unknown.
    """

    def __init__(self, env: gym.Env, perceiver: Perceiver | None = None, render_mode: str | None = None) -> None:
        super().__init__(env)
        unwrapped, observations = env.unwrapped, env.observation_space
        heard = observations.spaces.get("audio") if isinstance(observations, spaces.Dict) else None
        if not isinstance(unwrapped, AuralNavEnv) or heard is None or len(heard.shape or ()) != 2:
            raise ValueError(
                'env: expected an AuralNavEnv, or wrappers around one that leave observation["audio"] as it is, '
                f"actual: {env}, which observes {observations}"
            )
        if env.render_mode not in ("rgb_array", "rgb_array_list"):
            raise ValueError(
                'env: expected one made with render_mode="rgb_array", as gym.make("AuralNav-v0", '
                f'render_mode="rgb_array"), actual: {env.render_mode!r}. To see it in a window, give Panels '
                'render_mode="human".'
            )
        if render_mode not in (None, "human", "rgb_array"):
            raise ValueError(f'render_mode: expected None, "human" or "rgb_array", actual: {render_mode!r}')
        self._render_mode = render_mode or "rgb_array"
        self.metadata = {**env.metadata, "render_modes": ["human", "rgb_array"]}
        self._perceiver = perceiver
        self._actions = unwrapped.actions
        self._painter = PanelPainter(unwrapped.sample_rate)
        self._plan_painter = PlanPainter()
        self._window = Window(sample_rate=unwrapped.sample_rate) if render_mode == "human" else None
        self._audio: np.ndarray | None = None
        self._perception: Perception | None = None
        self._last_action = ""
        self._plan: np.ndarray | None = None
        self._shown: Snapshot | None = None

    @property
    def render_mode(self) -> str:  # type: ignore[override]
        """How it is shown: "human" or "rgb_array"."""
        return self._render_mode

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        if self._perceiver is not None:
            self._perceiver.reset()
        self._shown = None
        self._note(observation, "")
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Act, then listen."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._note(observation, self._describe(action))
        return observation, reward, terminated, truncated, info

    def render(self) -> Any:
        """The room and the panels, (672, 1280, 3) uint8; None in "human" mode, where the window shows them already.

        Raises:
            ResetNeeded: Before the first reset.
        """
        if self._audio is None:
            raise ResetNeeded("There is nothing to show yet: call reset() first.")
        if self._render_mode == "human":
            return None
        plan: Any = self.env.render()
        # A list has the pictures since the last call: none if there was no step, and the last one is still right.
        self._plan = plan if not isinstance(plan, list) else plan[-1] if plan else self._plan
        assert self._plan is not None
        return beside(self._plan, self._paint(self._audio))

    def close(self) -> None:
        """Close the window, if there is one, when the last sound has been heard to its end."""
        if self._window is not None:
            self._window.wait()
            self._window.close()
            self._window = None
        super().close()

    def _note(self, observation: Mapping[str, np.ndarray], last_action: str) -> None:
        self._audio = np.array(observation["audio"])
        self._perception = None if self._perceiver is None else self._perceiver.perceive(observation)
        self._last_action = last_action
        if self._window is not None:
            self._show(self._window, self._audio)

    def _show(self, window: Window, audio: np.ndarray) -> None:
        panels = self._paint(audio)

        def paint(snapshot: Snapshot, phase: float) -> np.ndarray:
            return beside(self._plan_painter.paint(snapshot, phase), panels)

        before, self._shown = self._shown, self.unwrapped.snapshot  # type: ignore[attr-defined]
        window.show_moment(paint, before, self._shown, stereo(audio))
        pressed = window.keys()
        if "close" in pressed:
            gym.logger.warn("The window was closed: the episode goes on unseen.")
            window.close()
            self._window = None

    def _paint(self, audio: np.ndarray) -> np.ndarray:
        return self._painter.paint(audio, self._perception, last_action=self._last_action)

    def _describe(self, action: Any) -> str:
        """An action in words, or as it is where a wrapper in between has actions of its own."""
        if self.env.action_space == self._actions.space:
            return self._actions.describe(action)
        return str(action)


# The names of the panels that show time begin so.
_OF_TIME = ("waveform", "spectrogram", "mask")


@dataclass(frozen=True)
class _Contents:
    """What a page is laid out for."""

    sample_rate: int
    num_ears: int
    num_samples: int
    num_sources: int
    num_shown: int
    has_masks: bool
    hop: int
    cue_names: tuple[str, ...]
    value_names: tuple[str, ...]
    value_kind: str

    @classmethod
    def of(cls, audio: np.ndarray, perception: Perception, sample_rate: int) -> _Contents:
        masks, cues = perception.masks, perception.cues
        if masks.size and cues.size and len(masks) != len(cues):
            raise ValueError(
                f"perception: expected as many masks as sources with cues ({len(cues)}), actual: {len(masks)}"
            )
        num_sources = max(len(masks) if masks.size else 0, len(cues) if cues.size else 0)
        return cls(
            sample_rate=sample_rate,
            num_ears=min(len(audio), 2),
            num_samples=audio.shape[1],
            num_sources=num_sources,
            num_shown=min(num_sources, MOST_SOURCES),
            has_masks=masks.size > 0,
            hop=perception.hop,
            cue_names=_names(perception.cue_names, cues.shape[1] if cues.size else 0, "cue"),
            value_names=_names(perception.value_names, len(perception.values), "action"),
            value_kind=perception.value_kind,
        )

    @property
    def seconds(self) -> float:
        return self.num_samples / self.sample_rate


def _names(names: Sequence[str], count: int, what: str) -> tuple[str, ...]:
    """The names, or where there are not as many, numbers from 0 on, as actions have them."""
    return tuple(names) if len(names) == count else tuple(f"{what} {index}" for index in range(count))


def _arrange(contents: _Contents) -> tuple[list[Box], dict[str, Box]]:
    """Lay out a page: the cards, and the panels on them by name."""
    width, height = PANELS_SIZE
    right = width - _MARGIN
    has_masks, has_cues, has_values = contents.has_masks, bool(contents.cue_names), bool(contents.value_names)
    ears, sources = contents.num_ears, contents.num_shown
    # The heights of the strips, by what is left of the page, in proportion: waveforms, spectrogram, sources.
    taken = _MARGIN + _HEADLINE_HEIGHT + 2 * _PAD + (ears + 1) * _TITLE_HEIGHT + ears * _PAD // 2 + _TICK_HEIGHT
    taken += sources * (_GAP + 2 * _PAD + _TITLE_HEIGHT) + (_TICK_HEIGHT - _PAD // 2 if sources and has_masks else 0)
    unit = (height - _MARGIN - taken) / (ears + 2.2 + 2.0 * sources)
    wave, tall, low = int(unit), int(2.2 * unit), int(2.0 * unit)

    boxes: dict[str, Box] = {}
    time_width = (_SPLIT if has_values else right) - _KEY_WIDTH - _TIME_LEFT
    y = _MARGIN + _HEADLINE_HEIGHT + _PAD
    top = y - _PAD
    for ear in range(ears):
        boxes[f"waveform {ear}"] = (_TIME_LEFT, y + _TITLE_HEIGHT, time_width, wave)
        y += _TITLE_HEIGHT + wave + _PAD // 2
    boxes["spectrogram"] = (_TIME_LEFT, y + _TITLE_HEIGHT, time_width, tall)
    bottom = y + _TITLE_HEIGHT + tall + _TICK_HEIGHT + _PAD // 2
    cards = [(_MARGIN, top, (_SPLIT if has_values else right) - _MARGIN, bottom - top)]
    beside_left = _SPLIT + _GAP
    if has_values:
        cards.append((beside_left, top, right - beside_left, bottom - top))
        panel_top = top + _PAD + _TITLE_HEIGHT
        panel_height = bottom - 2 * _PAD - panel_top
        boxes["values"] = (beside_left + 10, panel_top, right - beside_left - 20, panel_height)
    for source in range(sources):
        top = bottom + _GAP
        panel_top = top + _PAD + _TITLE_HEIGHT
        if has_masks:
            mask_right = (_SPLIT if has_cues else right) - _KEY_WIDTH
            boxes[f"mask {source}"] = (_TIME_LEFT, panel_top, mask_right - _TIME_LEFT, low)
        if has_cues:
            cues_left = beside_left + 10 if has_masks else _TIME_LEFT
            boxes[f"cues {source}"] = (cues_left, panel_top, right - 10 - cues_left, low)
        bottom = panel_top + low + (_TICK_HEIGHT + _PAD // 2 if has_masks and source == sources - 1 else _PAD)
        cards.append((_MARGIN, top, right - _MARGIN, bottom - top))
    return cards, boxes


class _Page:
    """The pictures of one layout."""

    def __init__(self, contents: _Contents) -> None:
        self.contents = contents
        self.sheet = sheet = _Sheet()
        cards, self.boxes = _arrange(contents)
        for card in cards:
            sheet.card(card)
        below = _MARGIN + _HEADLINE
        self._heard = sheet.text(_MARGIN + 2, below, _HEADLINE, INK, bold=True, moves=True)
        self._next = sheet.text(PANELS_SIZE[0] - _MARGIN - 2, below, _HEADLINE, FAINT_INK, align="right", moves=True)

        boxes = self.boxes
        self._waveforms = [
            _Waveform(sheet, boxes[f"waveform {index}"], ear) for index, ear in enumerate(_EARS[contents.num_ears])
        ]
        window_length = 2 ** round(math.log2(max(_WINDOW_SECONDS * contents.sample_rate, 2)))
        # A window for every other pixel, but none of the sound is left out.
        hop = max(1, min(2 * contents.num_samples // boxes["spectrogram"][2], window_length // 2))
        self._window_length, self._hop = window_length, hop
        note = f"{'mean power of both ears' if contents.num_ears == 2 else 'power'}, dB re full scale"
        box, scale = boxes["spectrogram"], _Scale(_LEVEL_COLOURS, QUIETEST, LOUDEST)
        self._spectrogram = _TimeFrequency(sheet, box, "Spectrogram", note, scale, contents, hop, has_time=True)

        self._masks: list[_TimeFrequency] = []
        self._cues: list[_Gauges] = []
        sided = [name in _SIDED for name in contents.cue_names]
        last = contents.num_shown - 1
        for source in range(contents.num_shown):
            title = f"Separated source {source + 1}"
            if contents.num_sources > contents.num_shown:
                title += f" of {contents.num_sources}"
            if contents.has_masks:
                box, scale, is_last = boxes[f"mask {source}"], _Scale(_MASK_COLOURS, 0.0, 1.0), source == last
                self._masks.append(
                    _TimeFrequency(sheet, box, title, "estimated mask", scale, contents, contents.hop, is_last)
                )
            if contents.cue_names:
                title = "Cues" if contents.has_masks else f"{title}: cues"
                names = [_in_words(name) for name in contents.cue_names]
                self._cues.append(_Gauges(sheet, boxes[f"cues {source}"], title, names, sided))
        self._values: _Gauges | None = None
        if contents.value_names:
            title = _VALUE_TITLES.get(contents.value_kind, contents.value_kind)
            sided = [contents.value_kind == "action" and name in _SIDED for name in contents.value_names]
            self._values = _Gauges(sheet, boxes["values"], title, contents.value_names, sided, highlights=True)
        sheet.finish()

    def paint(self, audio: np.ndarray, perception: Perception, action: str, last_action: str) -> np.ndarray:
        """(E, N), E <= 2, to (H, W, 3) uint8."""
        headlines = f"After: {last_action}" if last_action else "What the ears hear", action and f"next: {action}"
        for text, headline in zip((self._heard, self._next), headlines, strict=True):
            text.set_text(self.sheet.fitting(headline, PANELS_SIZE[0] / 2 - 2 * _MARGIN, _HEADLINE))
        peak = float(np.abs(audio).max())
        limit = next((limit for limit in _WAVE_LIMITS if limit >= peak), _WAVE_LIMITS[-1])
        for waveform, samples in zip(self._waveforms, audio, strict=True):
            waveform.show(samples, limit)
        self._spectrogram.show(spectrogram(audio, self._window_length, self._hop))
        for source, mask in enumerate(self._masks):
            mask.show(perception.masks[source], _level(perception.sources[source]) if perception.sources.size else "")
        if self._cues:
            cues = perception.cues[: self.contents.num_sources]
            spans = [
                _span(cues[:, index], *_CUE_SPANS.get(name, (-1.0, 1.0)))
                for index, name in enumerate(self.contents.cue_names)
            ]
            for gauges, numbers in zip(self._cues, cues, strict=False):
                gauges.show(numbers, spans, [BAR] * len(numbers))
        if self._values is not None:
            self._show_values(self._values, perception.values, action)
        return self.sheet.picture()

    def _show_values(self, gauges: _Gauges, values: np.ndarray, action: str) -> None:
        kind, names = self.contents.value_kind, self.contents.value_names
        span = _span(values, *_VALUE_SPANS.get(kind, (0.0, 0.0)))
        if kind == "action":
            gauges.show(values, [span] * len(values), [AGENT] * len(values))
            return
        best = int(np.argmax(np.nan_to_num(values, nan=-np.inf)))
        chosen = names.index(action) if action in names else best
        colours = [AGENT if index == chosen else _OTHER_ACTION for index in range(len(values))]
        gauges.show(values, [span] * len(values), colours, highlighted=chosen)


class _Waveform:
    """The waveform of an ear over time."""

    def __init__(self, sheet: _Sheet, box: Box, ear: tuple[str, Colour, Colour]) -> None:
        self._box = left, top, width, height = box
        title, colour, line_colour = ear
        middle = top + height / 2
        sheet.disc(left - 10, top - _TITLE_RISE - 4, 4, colour)
        sheet.title(left, top, title)
        sheet.rectangle((left, top, width, height), _PANEL)
        sheet.rectangle((left, int(middle), width, 1), GRID)
        self._line = sheet.line(line_colour)
        self._limit = sheet.text(left - 6, middle + 0.36 * _TICK, _TICK, FAINT_INK, align="right", moves=True)
        self._level = sheet.text(left + width, top - _TITLE_RISE, _LABEL, FAINT_INK, align="right", moves=True)

    def show(self, samples: np.ndarray, limit: float) -> None:
        """Draw samples (N,) on a scale from -limit to limit."""
        left, top, width, height = self._box
        shares, amplitudes = _trace(samples, width)
        self._line.set_data(left + shares * width, top + (1 - amplitudes.clip(-limit, limit) / limit) * height / 2)
        self._limit.set_text(f"±{limit:g}")
        is_clipped = bool((np.abs(samples) >= 1).any())
        self._level.set_text(f"clipped, {_level(samples)}" if is_clipped else _level(samples))
        self._level.set_color(_rgb(DISTRACTOR if is_clipped else FAINT_INK))


@dataclass(frozen=True)
class _Scale:
    """A scale of colours, and the numbers at its ends."""

    colours: tuple[Colour, ...]
    low: float
    high: float


class _TimeFrequency:
    """Something over time and frequency, in colours, and their scale."""

    def __init__(
        self,
        sheet: _Sheet,
        box: Box,
        title: str,
        note: str,
        scale: _Scale,
        contents: _Contents,
        hop: int,
        has_time: bool,
    ) -> None:
        self._box, self._scale = box, scale
        left, top, width, height = box
        self._bin_width = width * hop / contents.num_samples  # px
        sheet.title(left, top, title, note)
        sheet.rectangle((left - 1, top - 1, width + 2, height + 2), GRID)
        sheet.rectangle(box, WHITE)
        self._image = sheet.image(box, scale.colours, scale.low, scale.high, moves=True)
        self._level = sheet.text(left + width, top - _TITLE_RISE, _LABEL, FAINT_INK, align="right", moves=True)
        bar = (left + width + _BAR_GAP, top, _BAR_WIDTH, height)
        sheet.rectangle((bar[0] - 1, top - 1, _BAR_WIDTH + 2, height + 2), GRID)
        sheet.image(bar, scale.colours, 0.0, 1.0).set_data(np.linspace(0, 1, 256)[:, None])
        for text, y in ((_number(scale.high), top + 0.73 * _TICK), (_number(scale.low), top + height)):
            sheet.text(bar[0] + _BAR_WIDTH + 4, y, _TICK, FAINT_INK, text)
        unit, unit_name = (1000.0, "kHz") if contents.sample_rate >= 2000 else (1.0, "Hz")
        highest = contents.sample_rate / 2
        for text, frequency in _ticks(highest / unit, unit_name, most=min(height // 15 + 1, 5)):
            y = top + height * (1 - frequency * unit / highest)
            sheet.rectangle((left - 4, round(y) - (y > top), 3, 1), FAINT_INK)
            sheet.text(left - 6, y + 0.36 * _TICK, _TICK, FAINT_INK, text, align="right")
        for text, second in _ticks(contents.seconds, "s", most=6) if has_time else ():
            x = left + width * second / contents.seconds
            sheet.rectangle((round(x) - (x > left), top + height + 1, 1, 3), FAINT_INK)
            sheet.text(x, top + height + 5 + 0.73 * _TICK, _TICK, FAINT_INK, text, align="center")

    def show(self, values: np.ndarray, level: str = "") -> None:
        """Draw values (F, W): frequencies up to half the sample rate, windows centred on multiples of the hop."""
        left, top, _, height = self._box
        num_frequencies, num_windows = values.shape
        self._level.set_text(level)
        self._image.set_data(values.clip(self._scale.low, self._scale.high))
        # Every value fills its bin, so that the lowest and the highest ones and the first one stick out by one half.
        bin_height = height / max(num_frequencies - 1, 1)
        x, y = left - self._bin_width / 2, top + height + bin_height / 2
        self._image.set_extent((x, x + num_windows * self._bin_width, y, y - num_frequencies * bin_height))


class _Gauges:
    """Numbers with their names, as bars from zero. Those that tell left from right grow to the side they speak of."""

    def __init__(
        self, sheet: _Sheet, box: Box, title: str, names: Sequence[str], sided: Sequence[bool], highlights: bool = False
    ) -> None:
        self._highlights = highlights
        left, top, width, height = box
        # Names come first where only the room of the title lets them be legible.
        has_title = not height < len(names) * _LEAST_ROW <= height + _TITLE_HEIGHT
        if has_title:
            sheet.title(left, top, title)
        else:
            top, height = top - _TITLE_HEIGHT, height + _TITLE_HEIGHT
        step = min(height / len(names), _HIGHEST_ROW)
        size = min(_LABEL, 0.8 * step)
        has_two_lines = step >= _LEAST_TWO_LINES
        if has_two_lines:
            thickness, fall, name_width = 12, 12.0, width - _NUMBER_WIDTH
            self._left, self._width = left, width
        else:
            thickness, fall, name_width = min(max(round(0.5 * step), 3), 14), 0.0, round(min(0.36 * width, 90))
            self._left = left + name_width + 6
            self._width = left + width - _NUMBER_WIDTH - self._left
        self._sided = sided
        half = self._width // 2
        if any(sided) and has_title:
            y = top - _TITLE_RISE
            sheet.text(self._left + half - 5, y, _TICK, LEFT_LINE, "◂ left", align="right")
            sheet.text(self._left + half + 5, y, _TICK, RIGHT_LINE, "right ▸")
        self._names: list[Text] = []
        self._numbers: list[Text] = []
        self._bars: list[Rectangle] = []
        self._zeros: list[Rectangle] = []
        for index, (name, is_sided) in enumerate(zip(names, sided, strict=True)):
            middle = top + (index + 0.5) * step
            y = round(middle + fall - thickness / 2)
            if is_sided:
                sheet.rectangle((self._left, y, half, thickness), _LEFT_TINT)
                sheet.rectangle((self._left + half, y, self._width - half, thickness), _RIGHT_TINT)
            else:
                sheet.rectangle((self._left, y, self._width, thickness), _TRACK)
            self._bars.append(sheet.rectangle((self._left, y, 0, thickness), BAR, moves=True))
            self._zeros.append(sheet.rectangle((self._left, y - 2, 1, thickness + 4), INK, moves=True))
            if step >= _LEAST_ROW:
                base = y - 6 if has_two_lines else middle + 0.36 * size
                fitting = sheet.fitting(name, name_width, size)
                self._names.append(sheet.text(left, base, size, FAINT_INK, fitting, moves=highlights))
                self._numbers.append(sheet.text(left + width, base, size, INK, align="right", moves=True))

    def show(
        self,
        numbers: np.ndarray,
        spans: Sequence[tuple[float, float]],
        colours: Sequence[Colour],
        highlighted: int | None = None,
    ) -> None:
        """Draw numbers (A,), each on its span and in its colour; the sided ones in the ears' colours."""
        for index, (number, (low, high), colour) in enumerate(zip(numbers, spans, colours, strict=True)):
            if self._sided[index]:
                colour = LEFT_LINE if number > 0 else RIGHT_LINE
            shares = np.clip((np.nan_to_num([0.0, number]) - low) / (high - low), 0, 1)
            zero, end = 1 - shares if self._sided[index] else shares
            bar = self._bars[index]
            bar.set_x(self._left + self._width * min(zero, end))
            bar.set_width(self._width * abs(end - zero))
            bar.set_facecolor(_rgb(colour))
            self._zeros[index].set_x(self._left + round(self._width * zero) - (zero == 1))
            if self._numbers:
                self._numbers[index].set_text(_number(number, places=2))
                if self._highlights:
                    self._names[index].set_color(_rgb(INK if index == highlighted else FAINT_INK))
                    self._names[index].set_fontweight("bold" if index == highlighted else "normal")


class _Sheet:
    """A Matplotlib figure of ``PANELS_SIZE`` that is drawn on in pixels.

    What stays is drawn once, what moves onto a copy of that for every picture. Nothing depends on Matplotlib's
    settings: all that they would decide is said.
    """

    def __init__(self) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        width, height = PANELS_SIZE
        # At 72 dots per inch a point is a pixel.
        size = width / 72, height / 72
        self.figure = Figure(size, dpi=72, facecolor=_rgb(PAGE), edgecolor="none", frameon=True)
        self.figure.set_layout_engine("none")
        self._canvas = FigureCanvasAgg(self.figure)
        self._axes = self.figure.add_axes((0.0, 0.0, 1.0, 1.0))
        self._axes.set_axis_off()
        self._axes.set(xlim=(0, width), ylim=(height, 0))
        self._num_artists = 0
        self._moving: list[Artist] = []

    def card(self, box: Box) -> None:
        """A white sheet with round corners."""
        from matplotlib.patches import FancyBboxPatch

        left, top, width, height = box
        style = "round,pad=0,rounding_size=6"
        patch = FancyBboxPatch((left, top), width, height, boxstyle=style, facecolor=_rgb(WHITE), edgecolor="none")
        self._add(patch)

    def disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """A disc with a dark rim."""
        from matplotlib.patches import Circle

        patch = Circle((x, y), radius, facecolor=_rgb(colour), edgecolor=_rgb(INK), linewidth=1.0)
        self._add(patch)

    def rectangle(self, box: Box, colour: Colour, moves: bool = False) -> Rectangle:
        from matplotlib.patches import Rectangle

        left, top, width, height = box
        patch = Rectangle((left, top), width, height, facecolor=_rgb(colour), edgecolor="none", linewidth=0)
        self._add(patch, moves)
        return patch

    def line(self, colour: Colour) -> Line2D:
        """A line that moves."""
        from matplotlib.lines import Line2D

        line = Line2D([], [], color=_rgb(colour), linewidth=1.0, linestyle="-", marker="", antialiased=True)
        self._add(line, moves=True)
        return line

    def image(self, box: Box, colours: Sequence[Colour], low: float, high: float, moves: bool = False) -> AxesImage:
        """An image without data that fills a box, the first row at the bottom, or is cut off at it."""
        from matplotlib.colors import LinearSegmentedColormap, Normalize
        from matplotlib.image import AxesImage
        from matplotlib.transforms import Bbox, TransformedBbox

        left, top, width, height = box
        image = AxesImage(
            self._axes,
            cmap=LinearSegmentedColormap.from_list("panels", [_rgb(colour) for colour in colours]),
            norm=Normalize(low, high),
            interpolation="antialiased",
            interpolation_stage="data",
            resample=True,
            origin="lower",
            extent=(left, left + width, top + height, top),
        )
        self._add(image, moves)
        image.set_clip_path(None)
        image.set_clip_box(TransformedBbox(Bbox.from_bounds(left, top, width, height), self._axes.transData))
        return image

    def text(
        self,
        x: float,
        y: float,
        size: float,
        colour: Colour,
        text: str = "",
        align: Literal["left", "center", "right"] = "left",
        bold: bool = False,
        moves: bool = False,
    ) -> Text:
        """A text on the base line y."""
        from matplotlib.text import Text

        made = Text(
            x,
            y,
            text,
            color=_rgb(colour),
            fontproperties=_font(size, bold),
            horizontalalignment=align,
            verticalalignment="baseline",
            usetex=False,
            parse_math=False,
        )
        self._add(made, moves)
        return made

    def title(self, left: float, top: float, title: str, note: str = "") -> None:
        """What a panel shows, above its upper left corner."""
        self.text(left, top - _TITLE_RISE, _TITLE, INK, title, bold=True)
        x = left + self._text_width(title, _TITLE, bold=True) + 8
        self.text(x, top - _TITLE_RISE, _LABEL, FAINT_INK, note)

    def fitting(self, text: str, width: float, size: float) -> str:
        """As much of a text as fits into a width, in bold letters as well."""
        if self._text_width(text, size, bold=True) <= width:
            return text
        while text and self._text_width(text + "…", size, bold=True) > width:
            text = text[:-1]
        return text.rstrip() + "…"

    def finish(self) -> None:
        """Draw what stays; nothing more can be added."""
        self._canvas.draw()
        self._background = self._canvas.copy_from_bbox(self.figure.bbox)

    def picture(self) -> np.ndarray:
        """(H, W, 3) uint8, with what moves as it is now."""
        self._canvas.restore_region(self._background)
        renderer = self._canvas.get_renderer()
        for artist in self._moving:
            artist.draw(renderer)
        return np.ascontiguousarray(np.asarray(self._canvas.buffer_rgba())[..., :3])

    def _add(self, artist: Artist, moves: bool = False) -> None:
        """Add an artist over all that came before it."""
        self._axes.add_artist(artist)
        self._num_artists += 1
        artist.set_zorder(self._num_artists)
        if moves:
            artist.set_animated(True)
            self._moving.append(artist)

    def _text_width(self, text: str, size: float, bold: bool) -> float:
        renderer = self._canvas.get_renderer()
        return renderer.get_text_width_height_descent(text, _font(size, bold), ismath=False)[0]


def _trace(samples: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """What to draw of samples (N,) on so many pixels: the shares of the time, (P,), and the amplitudes, (P,).

    Of many samples the least and the largest of every pixel, so that no extreme is lost.
    """
    num_samples = len(samples)
    if num_samples <= 2 * width:
        shares = (np.arange(-1, num_samples + 1) + 0.5).clip(0, num_samples) / num_samples
        return shares, np.pad(samples, 1, mode="edge")
    starts = np.arange(width) * num_samples // width
    extremes = np.stack([np.minimum.reduceat(samples, starts), np.maximum.reduceat(samples, starts)], axis=1)
    return np.repeat((np.arange(width) + 0.5) / width, 2), extremes.ravel()


def _ticks(highest: float, unit: str, most: int) -> list[tuple[str, float]]:
    """Round numbers from 0 to ``highest``, at least two and ``most`` at most, and how they are written."""
    power = 10.0 ** math.floor(math.log10(highest))
    steps = [digit * power * scale for scale in (0.1, 1.0) for digit in (1, 2, 5)]
    counts = [math.floor(highest / step * (1 + 1e-9)) + 1 for step in steps]
    step, count = next(
        ((step, count) for step, count in zip(steps, counts, strict=True) if 2 <= count <= most), (highest, 2)
    )
    texts = [f"{index * step:.6g}" for index in range(count)]
    texts[-1] += f" {unit}"
    return [(text, index * step) for index, text in enumerate(texts)]


def _span(numbers: np.ndarray, low: float, high: float) -> tuple[float, float]:
    """From where to where bars go: from ``low`` to ``high``, or as far as the numbers do, rounded up.

    What goes to both sides of zero goes equally far, so that zero is in the middle.
    """
    finite = np.append(numbers[np.isfinite(numbers)], 0.0)
    low, high = min(low, -_round_up(-float(finite.min()))), max(high, _round_up(float(finite.max())))
    if low < 0 < high:
        return -max(-low, high), max(-low, high)
    return (low, high) if low < high else (0.0, 1.0)


def _round_up(number: float) -> float:
    """The next number of a few digits: 0, or one of 1, 1.5, 2, 3, ... 10 times a power of ten."""
    if number == 0:
        return 0.0
    power = 10.0 ** math.floor(math.log10(number))
    return power * next(digit for digit in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if digit * (1 + 1e-9) >= number / power)


def _level(samples: np.ndarray) -> str:
    """The RMS level of samples (N,)."""
    power = float(np.square(samples, dtype=np.float64).mean())
    return f"RMS {_number(10 * math.log10(power))} dB" if power > 0 else "silent"


def _number(number: float, places: int = 0) -> str:
    """A number in few letters, with a minus sign that is as wide as a plus."""
    if not math.isfinite(number):
        return {"nan": "nan", "inf": "∞", "-inf": "−∞"}[f"{number:f}"]
    if abs(number) >= 99999.5:
        text = f"{number:.0e}".replace("e+0", "e").replace("e+", "e")
    elif abs(number) >= 99.995:
        text = f"{number:.0f}"
    else:
        text = f"{number:.{places}f}"
    return text.removeprefix("-") if float(text) == 0 else text.replace("-", "−", 1)


def _in_words(name: str) -> str:
    """A cue's name as it is written in text."""
    return " ".join(word.upper() if word in ("ipd", "ild") else word for word in name.split("_"))


def _rgb(colour: Colour) -> tuple[float, float, float]:
    """A colour as Matplotlib has it, from 0 to 1."""
    r, g, b = colour
    return r / 255, g / 255, b / 255


def _font(size: float, bold: bool) -> FontProperties:
    from matplotlib.font_manager import FontProperties

    return FontProperties(
        family=_FONT, style="normal", variant="normal", weight="bold" if bold else "normal", stretch="normal", size=size
    )


def _require_matplotlib() -> None:
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise DependencyNotInstalled(
            'matplotlib is not installed, and the panels need it. Run `pip install "auralnav[render]"`.'
        ) from error
