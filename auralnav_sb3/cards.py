"""Cards: what a trained separator was trained on, how, and what it reaches, as Markdown that goes with its weights."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import asdict

from auralnav_gym.config import to_text, versions
from auralnav_gym.sounds import SoundBank
from auralnav_gym.tables import markdown_table
from auralnav_sb3.pretraining import Pretraining, SeparationQuality
from auralnav_sb3.provenance import Provenance
from auralnav_sb3.separation import ANY_ORDER, Separator


def make_card(
    name: str,
    separator: Separator,
    pretraining: Pretraining,
    train_sounds: SoundBank,
    test_sounds: SoundBank,
    qualities: Sequence[SeparationQuality],
    command: str,
    seconds: float,
    attribution: str = "",
) -> str:
    """Write the card of a separator, for `save_separator`.

    Args:
        name: By which `load_separator` finds it.
        separator: The result of the training.
        pretraining: How it was trained.
        train_sounds: On what.
        test_sounds: What it was measured with, none of which it was trained on.
        qualities: What `evaluate_separator` measured.
        command: That trains it.
        seconds: That this took.
        attribution: Where recordings among the sounds come from and under which licences, Markdown.
    """
    num_weights = sum(weight.numel() for weight in separator.parameters())
    recordings = f"\n## Recordings\n\n{attribution.strip()}\n" if attribution else ""
    return f"""# {name}

A DPRNNTasNet of {num_weights / 1e6:.2f} M parameters that separates what two ears hear, mixed down to mono at
{separator.sample_rate} Hz, into {separator.num_sources} sources. {_describe_slots(separator)}

```python
from auralnav_sb3 import load_separator

separator = load_separator("{name}")
sources = separator(audio)  # (B, 2, N) -> (B, {separator.num_sources}, N), at the level of the mean of the two ears
```

## Training

`{command}`: {pretraining.steps:,} updates on {pretraining.batch_size} windows of {pretraining.num_samples} samples
each, {seconds / 60:.0f} minutes. The mixtures are what the ears hear in random scenes of `AuralNav-v0`, with sources
that are off or die away and babble in the background. {made_with("torch", "asteroid", "numpy", "pyroomacoustics")}.

- To train on: {_describe_sounds(train_sounds)}.
- To test with: {_describe_sounds(test_sounds)}; none of them is among those to train on.
{recordings}
## Results

{quality_table(qualities)}

## Configuration and versions

```json
{to_text(asdict(separator_provenance(pretraining, train_sounds, test_sounds)))}
```
"""


def separator_provenance(pretraining: Pretraining, train_sounds: SoundBank, test_sounds: SoundBank) -> Provenance:
    """What makes a separator, for its card and `save_separator`; arguments as those of `make_card`."""
    return Provenance.now({**pretraining.describe(train_sounds), "test_sounds": test_sounds.to_config()})


def quality_table(qualities: Sequence[SeparationQuality]) -> str:
    """A Markdown table of what `evaluate_separator` measured, and a line that says what its columns are."""
    header = ["mixture", "windows", "SI-SDR before", "after", "improvement", "with an empty slot", "level there"]
    rows = [
        [
            each.label,
            str(each.num_windows),
            *(str(interval) for interval in (each.si_sdr_mixture, each.si_sdr, each.si_sdr_improvement)),
            str(each.num_empty),
            str(each.empty_db),
        ]
        for each in qualities
    ]
    note = (
        "In dB, means and their 95 % bootstrap intervals over scenes: SI-SDR (Le Roux et al. 2019) of the mixture in "
        "place of every source, and of the separated sources, over windows in which every slot has a source; and over "
        "those in which one has none, the level of what was put into it, relative to the mixture, the lower the better."
    )
    return f"{markdown_table(header, rows)}\n\n{note}"


def made_with(*distributions: str) -> str:
    """The machine and the versions at work, as in ``x86_64, Python 3.11.7, torch 2.11.0``."""
    found = versions(*distributions)
    return ", ".join(
        (platform.machine(), f"Python {found['python']}", *(f"{name} {found[name]}" for name in distributions))
    )


def _describe_slots(separator: Separator) -> str:
    if isinstance(separator.slots, tuple):
        return f"Its slots hold, in this order: {', '.join(separator.slots)}."
    return "Which source is in which slot is left open." if separator.slots == ANY_ORDER else ""


def _describe_sounds(bank: SoundBank) -> str:
    counts = {kind: sum(sound.kind == kind for sound in bank) for kind in bank.kinds}
    return f"{len(bank)} sounds, " + ", ".join(f"{count} of {kind}" for kind, count in counts.items())
