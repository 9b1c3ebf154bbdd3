"""The episode viewer: one HTML file, to be opened from the disk, in which episodes are seen and heard.

In the order of use::

    env = gym.make("AuralNav-v0")
    recordings = [play(env, OracleAgent(), seed=seed) for seed in range(5)]
    write_viewer("runs/episodes.html", recordings, title="The oracle at work")

The page needs no server and no network: all that it shows and plays is in the file, and so are plotly.js, which draws
its charts, and the scripts that move them in step with the browser's own audio player. A policy in its head
(Content-Security-Policy) has the browser refuse whatever would be loaded from elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.error import DependencyNotInstalled

from auralnav_gym import rendering
from auralnav_gym.config import to_plain, to_text
from auralnav_gym.files import written_whole
from auralnav_gym.recording import Recording
from auralnav_gym.viewer.content import episode_content, metrics, summaries

__all__ = ["write_viewer"]

_HERE = Path(__file__).parent

# The last one starts what the others define.
_SCRIPTS = ("map.js", "charts.js", "viewer.js")
# The colours of the pictures; viewer.css says what they become in the dark.
_PALETTE = {
    "sounding": rendering.SOUNDING,
    "distractor": rendering.DISTRACTOR,
    "agent": rendering.AGENT,
    "left-ear": rendering.LEFT_EAR,
    "right-ear": rendering.RIGHT_EAR,
    "found": rendering.FOUND,
    "wall": rendering.WALL,
    "ink": rendering.INK,
    "outside": rendering.PAGE,
    "floor": rendering.FLOOR,
    "grid": rendering.GRID,
}


def write_viewer(
    path: str | os.PathLike[str],
    recordings: Sequence[Recording],
    title: str = "",
    made_by: Mapping[str, Any] | None = None,
) -> None:
    """Write a page in which episodes are seen and heard, step by step.

    There is a list of the episodes with their metrics. Of the one that is chosen there are the room from above, what
    the ears heard and its spectrogram, the actions and the rewards, all in step with the sound; and, where the
    recording has perceptions, each separated source to look at and to listen to alone, its cues, and what each action
    was worth. With ``source_audio`` the true sources can be listened to alone as well. Moment m is shown while
    ``audio[m]`` sounds. ``episodes.html#episode=3&step=7`` opens the page at a moment of an episode; both count from 0.

    The file takes 4.9 MB for plotly.js and, at 8 kHz, about 20 kB a moment; with the perceptions of two sources 50 kB,
    of four 85 kB. 20 episodes of 20 actions of a trained agent make some 27 MB. Only the chosen episode is drawn.

    Args:
        path: The file, of HTML; its folder must exist. It is written whole or not at all.
        recordings: The episodes, in the order of the list; at least one.
        title: What the page is called; "": "Episodes".
        made_by: What made the recordings, as plain data that JSON can hold: shown folded away.

    Raises:
        gymnasium.error.DependencyNotInstalled: If jinja2 or plotly is missing.
        TypeError: If one of the recordings is none, or ``made_by`` is not plain data.
        ValueError: If there are no recordings, or one has perceptions of some moments only or some that are not finite.
    """
    template, plotly_js = _template(), _plotly_js()
    recordings = _checked(recordings)
    page = template.render(
        title=title or "Episodes",
        palette=_PALETTE,
        style=_read("viewer.css"),
        scripts=[_read(name) for name in _SCRIPTS],
        plotly=plotly_js,
        **_content(recordings),
        made_by="" if made_by is None else _text(made_by),
    )
    with written_whole(path) as unfinished:
        unfinished.write_text(page, encoding="utf-8")


def _content(recordings: Sequence[Recording]) -> dict[str, Any]:
    """What the template fills in: the list, the means, and what each episode shows."""
    episodes = [
        {
            "index": index,
            "title": recording.title or f"episode {index}",
            "agent": recording.agent or "unnamed",
            # As text: a browser's numbers have 53 bits, a seed up to 63.
            "seed": "" if recording.seed is None else str(recording.seed),
            **metrics(recording),
        }
        for index, recording in enumerate(recordings)
    ]
    # Most episodes are played in one world, which is said once.
    worlds = [to_text(to_plain(recording.world, strict=False)) for recording in recordings]
    return {
        "episodes": episodes,
        "summaries": summaries([(episode["agent"], episode) for episode in episodes]),
        "outcomes": list(dict.fromkeys(episode["outcome"] for episode in episodes)),
        "worlds": list(dict.fromkeys(worlds)),
        "contents": [
            {**episode_content(recording), "world": list(dict.fromkeys(worlds)).index(world)}
            for recording, world in zip(recordings, worlds, strict=True)
        ],
    }


def _checked(recordings: Sequence[Recording]) -> tuple[Recording, ...]:
    if isinstance(recordings, Recording):
        raise TypeError("recordings: expected a sequence of Recordings, actual: a single one. Put it into a list.")
    recordings = tuple(recordings)
    if not recordings:
        raise ValueError("recordings: expected at least one Recording, actual: none")
    for index, recording in enumerate(recordings):
        if not isinstance(recording, Recording):
            raise TypeError(f"recordings[{index}]: expected a Recording, actual: {type(recording).__name__}")
        if len(recording.perceptions) not in (0, len(recording)):
            raise ValueError(
                f"recordings[{index}].perceptions: expected none, or one for each of the {len(recording)} moments, "
                f"actual: {len(recording.perceptions)}"
            )
        for moment, each in enumerate(recording.perceptions):
            for name in ("sources", "masks", "cues", "values"):
                if not np.isfinite(getattr(each, name)).all():
                    raise ValueError(
                        f"recordings[{index}].perceptions[{moment}].{name}: expected finite numbers, actual: NaN or "
                        "infinity among them, as of a model that has diverged"
                    )
    return recordings


def _text(made_by: Mapping[str, Any]) -> str:
    try:
        return to_text(dict(made_by))
    except (TypeError, ValueError) as error:
        raise TypeError(f"made_by: expected plain data that JSON can hold, actual: {error}") from error


def _read(name: str) -> Any:
    """One of the files beside this one, as text that goes into the page as it is."""
    from markupsafe import Markup

    return Markup((_HERE / name).read_text(encoding="utf-8"))


def _template() -> Any:
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        raise _missing("jinja2") from error
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    # As small as JSON can be; the filter `tojson` writes whatever HTML could take for its own as an escape.
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    return environment.get_template("template.html")


def _plotly_js() -> Any:
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise _missing("plotly") from error
    from markupsafe import Markup

    return Markup(get_plotlyjs())


def _missing(name: str) -> DependencyNotInstalled:
    return DependencyNotInstalled(
        f'{name} is not installed, and the viewer needs it. Run `pip install "auralnav[viewer]"`.'
    )
