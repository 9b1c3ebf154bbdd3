"""Make the data of the "human" ears from the measurements of the dummy head KEMAR.

    python examples/prepare_kemar.py MIT_KEMAR_normal_pinna.sofa

The file is that of libmysofa (https://github.com/hoene/libmysofa, share/MIT_KEMAR_normal_pinna.sofa): what Gardner and
Martin measured at the left ear in 1994, and as the right ear its mirror image. `auralnav_gym/ears_data/README.md` says
what is done to it. Needs the extra `sofa`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from auralnav_gym.files import written_whole
from auralnav_gym.measured_ears import MeasuredEars

OUTPUT = Path(__file__).parents[1] / "auralnav_gym" / "ears_data" / "kemar.npz"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file", type=Path, help="the SOFA file")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="what to write")
    args = parser.parse_args()
    measured = MeasuredEars.from_sofa(args.file, seconds=0.01)
    whole = measured.diffuse_field_equalized(seconds=0.01)
    short = measured.diffuse_field_equalized()
    left = short.responses[:, 0].astype(np.float64)
    scale = np.abs(left).max() / np.iinfo(np.int16).max
    rounded = np.round(left / scale).astype(np.int16)
    with written_whole(args.output) as unfinished:
        np.savez_compressed(
            unfinished,
            directions=short.directions.astype(np.float32),
            responses=rounded,
            scale=np.float32(scale),
            delays=short.delays[:, 0].astype(np.float32),
            sample_rate=np.int32(short.sample_rate),
        )

    def lost(kept: np.ndarray, full: np.ndarray) -> str:
        taps = kept.shape[-1]
        energy = np.square(full[..., :taps] - kept).sum() + np.square(full[..., taps:]).sum()
        return f"{10 * np.log10(energy / np.square(full).sum()):.1f} dB"

    full = whole.responses[:, 0].astype(np.float64)
    print(f"{args.output}: {args.output.stat().st_size / 1000:.0f} kB, {short}")
    print(f"cut off of the energy: {lost(left, full)}; rounded off: {lost(rounded * scale, left)}")


if __name__ == "__main__":
    main()
