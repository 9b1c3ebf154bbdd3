"""What tells the ears where a sound is: differences in time and level between them, against azimuth, and theory.

    python examples/plot_cues.py                     # writes examples/results/cues.png
    python examples/plot_cues.py --output cues.png --step 15

What is drawn is measured: from the impulse responses that an agent with the ears hears in a room without reflections,
from a source 3 m away that goes once around it. Thin lines are theory, of microphones and of a rigid sphere.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.special import eval_legendre, spherical_jn, spherical_yn

from auralnav_gym import Ears, Pose, Scene, ShoeBox, Source, SyntheticSounds
from auralnav_gym.acoustics import Listener
from auralnav_gym.files import written_whole
from auralnav_gym.hrir import find_onsets
from auralnav_gym.named_ears import as_ears

RESULTS = Path(__file__).parent / "results"
SAMPLE_RATE, SPEED, DISTANCE, HEAD_RADIUS = 8000, 343.0, 3.0, 0.0875
EARS = {
    "omni": "Two omnidirectional microphones, 17 cm",
    "ortf": "ORTF: two cardioids, 17 cm, turned 55° outwards",
    "human": "Human: the dummy head KEMAR",
}
# Okabe and Ito's colours, from low frequencies to high ones.
BANDS = {500: "#56B4E9", 1000: "#0072B2", 2000: "#E69F00", 3000: "#D55E00"}
ONSET, THEORY = "#009E73", "#333333"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, default=RESULTS / "cues.png", help="the picture")
    parser.add_argument("--step", type=float, default=2.5, help="degrees between azimuths")
    args = parser.parse_args()
    azimuths = np.arange(-180, 180 + args.step / 2, args.step)
    figure = draw(azimuths, {name: hear_around(as_ears(name), azimuths) for name in EARS})
    with written_whole(args.output) as unfinished:
        figure.savefig(unfinished, dpi=110)
    print(args.output)


def hear_around(ears: Ears, azimuths: np.ndarray) -> np.ndarray:
    """Impulse responses (A, 2, L) from azimuths (A,), degrees to the left of ahead, in free field."""
    room = ShoeBox((10.0, 10.0, 3.0), absorption=0.99, max_order=0)
    sound = SyntheticSounds(sample_rate=SAMPLE_RATE, seconds=1.0, per_kind=1)[0]
    responses = []
    for azimuth in np.radians(azimuths):
        place = (5 + DISTANCE * math.cos(azimuth), 5 + DISTANCE * math.sin(azimuth), 1.5)
        scene = Scene(room, (Source(place, sound),), Pose(5.0, 5.0, 0.0), ear_height=1.5)
        responses.append(Listener(scene, ears, SAMPLE_RATE, SAMPLE_RATE).impulse_responses(scene.pose)[0])
    longest = max(each.shape[-1] for each in responses)
    return np.array([np.pad(each, ((0, 0), (0, longest - each.shape[-1]))) for each in responses])


def phase_delays(responses: np.ndarray, frequency: float) -> np.ndarray:
    """(A,) seconds by which the left ear leads at a frequency, from (A, 2, L); unique up to half of a period."""
    left, right = np.moveaxis(responses @ _waves(responses.shape[-1], np.array([frequency]))[:, 0], 1, 0)
    return np.angle(left * right.conj()) / (2 * math.pi * frequency)


def onset_delays(responses: np.ndarray) -> np.ndarray:
    """(A,) seconds by which sound arrives at the left ear first, from (A, 2, L)."""
    onsets = find_onsets(responses.astype(np.float64), SAMPLE_RATE)
    return onsets[:, 1] - onsets[:, 0]


def level_differences(responses: np.ndarray, frequency: float) -> np.ndarray:
    """(A,) dB by which the left ear is louder, in the third of an octave around a frequency, from (A, 2, L)."""
    spectra = responses @ _waves(responses.shape[-1], third_of_an_octave(frequency))
    energies = np.square(np.abs(spectra)).sum(axis=-1)
    return 10 * np.log10(energies[:, 0] / energies[:, 1])


def third_of_an_octave(frequency: float) -> np.ndarray:
    return frequency * 2 ** np.linspace(-1 / 6, 1 / 6, 21)


def _waves(length: int, frequencies: np.ndarray) -> np.ndarray:
    return np.exp(-2j * math.pi / SAMPLE_RATE * np.arange(length)[:, None] * frequencies)


def sphere_levels(azimuths: np.ndarray, frequency: float) -> np.ndarray:
    """(A,) dB between the sides of a rigid sphere in a plane wave (Duda and Martens, J. Acoust. Soc. Am. 104, 1998)."""
    sines = np.sin(np.radians(azimuths))
    size = 2 * math.pi * third_of_an_octave(frequency) * HEAD_RADIUS / SPEED
    pressures = np.zeros((2, len(azimuths), len(size)), dtype=complex)
    for order in range(int(size.max()) + 12):
        slope = spherical_jn(order, size, derivative=True) + 1j * spherical_yn(order, size, derivative=True)
        terms = (-1j) ** (order - 1) * (2 * order + 1) / slope
        pressures += eval_legendre(order, np.stack([sines, -sines]))[..., None] * terms
    left, right = np.square(np.abs(pressures)).sum(axis=-1)
    return 10 * np.log10(left / right)


def draw(azimuths: np.ndarray, heard: dict[str, np.ndarray]) -> Figure:
    """Differences in time above, in level below; a column for each of EARS."""
    figure = Figure(figsize=(13, 7.2), layout="constrained")
    figure.suptitle("What tells the ears where a sound is, in free field")
    axes = figure.subplots(2, len(EARS), sharex=True, sharey="row")
    sines, lateral = np.sin(np.radians(azimuths)), np.arcsin(np.sin(np.radians(azimuths)))
    pair = 1e6 * 0.17 / SPEED * sines
    head = 1e6 * HEAD_RADIUS / SPEED
    cosines = [np.cos(np.radians(azimuths - side * 55)) for side in (1, -1)]
    cardioids = 20 * np.log10((1 + cosines[0]).clip(1e-9) / (1 + cosines[1]).clip(1e-9))
    times = {
        "omni": {r"$d\,\sin\theta\,/\,c$": (pair, "--")},
        "ortf": {r"$d\,\sin\theta\,/\,c$": (pair, "--")},
        "human": {
            r"$3a\,\sin\theta\,/\,c$ (Kuhn)": (3 * head * sines, "--"),
            r"$a\,(\theta + \sin\theta)\,/\,c$ (Woodworth)": (head * (lateral + np.sin(lateral)), ":"),
        },
    }
    levels = {
        "omni": {"0, in a plane wave": np.zeros_like(azimuths)},
        "ortf": {r"cardioids: $1 + \cos(\theta \mp 55°)$": cardioids},
    }
    for column, (name, title) in enumerate(EARS.items()):
        above, below = axes[:, column]
        above.set_title(title, fontsize=11)
        above.plot(azimuths, 1e6 * phase_delays(heard[name], 500), color=BANDS[500], lw=2.5, label="phase at 500 Hz")
        if name == "human":
            above.plot(azimuths, 1e6 * onset_delays(heard[name]), color=ONSET, lw=2.5, label="onset")
        for label, (values, dashes) in times[name].items():
            above.plot(azimuths, values, color=THEORY, lw=0.9, ls=dashes, label=label)
        # Where all frequencies are alike the thin lines lie on the thick ones, so that all are seen.
        widths = (2, 2, 2, 2) if name == "human" else (6, 4.6, 3.2, 1.8)
        for (frequency, colour), width in zip(BANDS.items(), widths, strict=True):
            below.plot(azimuths, level_differences(heard[name], frequency), color=colour, lw=width)
            if name == "human":
                below.plot(azimuths, sphere_levels(azimuths, frequency), color=colour, lw=0.9, ls="--")
        for label, values in levels.get(name, {}).items():
            below.plot(azimuths, values, color=THEORY, lw=0.9, ls="--", label=label)
        above.legend(loc="lower right", fontsize=8.5, frameon=False, handlelength=1.6)
        below.legend(
            handles=_level_legend(name, below), loc="lower right", fontsize=8.5, frameon=False, handlelength=1.6
        )
        for each in (above, below):
            _tidy(each)
    axes[0, 0].set_ylabel("time difference, µs\n(above 0: left ear first)")
    axes[1, 0].set_ylabel("level difference, dB\n(above 0: left ear louder)")
    for each in axes[1]:
        each.set_xlabel("azimuth of the source, degrees")
        each.set_xticks(range(-180, 181, 90), ["-180\nbehind", "-90\nright", "0\nahead", "90\nleft", "180\nbehind"])
    axes[0, 0].set_ylim(-900, 900)
    axes[1, 0].set_ylim(-24, 24)
    return figure


def _level_legend(name: str, axes: Axes) -> list[Line2D]:
    bands = [
        Line2D([], [], color=colour, lw=2.2, label=f"{frequency / 1000:g} kHz") for frequency, colour in BANDS.items()
    ]
    if name == "human":
        return [*bands, Line2D([], [], color=THEORY, lw=0.9, ls="--", label="rigid sphere")]
    return [*bands, *axes.get_legend_handles_labels()[0]]


def _tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.axhline(0, color="0.85", lw=0.8, zorder=0)
    axes.grid(axis="x", color="0.9", lw=0.8)
    axes.set_xlim(-180, 180)


if __name__ == "__main__":
    main()
