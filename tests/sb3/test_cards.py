"""The card of a separator says what its numbers say, and its table is one."""

from __future__ import annotations

import json
import math
import re
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from auralnav_gym import SyntheticSounds
from auralnav_sb3 import Separator, SeparatorConfig, load_separator, save_separator
from auralnav_sb3.cards import made_with, make_card, quality_table
from auralnav_sb3.pretraining import Pretraining, SeparationQuality
from auralnav_sb3.statistics import Interval

NONE = Interval(math.nan, math.nan, math.nan)
QUALITIES = [
    SeparationQuality("1 + 1 other", 7, Interval(9, 8, 10), Interval(1, 0, 2), Interval(8, 7.25, 9), 0, NONE),
    SeparationQuality("all", 20, Interval(6, 5, 7), Interval(2, 1, 3), Interval(4, 3, 5), 3, Interval(-21, -25, -18)),
]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_table_has_a_row_a_label_and_a_cell_a_number() -> None:
    header, rule, *rows = (line for line in quality_table(QUALITIES).splitlines() if line.startswith("|"))
    assert set(rule) <= set("|- ")
    assert len({len(cells(line)) for line in (header, rule, *rows)}) == 1
    assert cells(rows[0])[:5] == ["1 + 1 other", "7", "1.00 [0.00, 2.00]", "9.00 [8.00, 10.00]", "8.00 [7.25, 9.00]"]
    assert cells(rows[1])[4:] == ["4.00 [3.00, 5.00]", "3", "-21.00 [-25.00, -18.00]"]
    assert cells(header)[1:5] == ["windows", "SI-SDR before", "after", "improvement"]


@pytest.mark.parametrize(
    ("first_kinds", "slots"), [(None, "is left open"), (("speech",), "Its slots hold, in this order: speech, other.")]
)
def test_a_card_says_what_it_is_of(
    tiny: SeparatorConfig, tmp_path: Path, first_kinds: tuple[str, ...] | None, slots: str
) -> None:
    pretraining = Pretraining(first_kinds, tiny, steps=1234)
    separator = Separator.from_config(tiny, keeps_level=True, slots=pretraining.slots)
    train, test = SyntheticSounds(seconds=1.0, per_kind=3), SyntheticSounds(seconds=1.0, per_kind=1)
    card = make_card("mine", separator, pretraining, train, test, QUALITIES, "python train.py", 600.0, "Robin by X.\n")
    for part in (
        "# mine\n",
        slots,
        "`python train.py`: 1,234 updates",
        "10 minutes",
        f"To train on: {len(train)} sounds, ",
        f"To test with: {len(test)} sounds, ",
        "3 of speech",
        "Robin by X.",
        quality_table(QUALITIES),
        f"torch {version('torch')}",
    ):
        assert part in card
    blocks = dict(re.findall(r"```(\w+)\n(.*?)```", card, re.DOTALL))
    made_by = json.loads(blocks["json"])
    assert made_by["configuration"]["pretraining"] == pretraining.settings()
    assert made_by["configuration"]["train_sounds"]["sounds"] == len(train)
    assert made_by["configuration"]["test_sounds"]["sha256"] == test.fingerprint
    assert made_by["versions"]["torch"] == version("torch")
    save_separator(separator, tmp_path / "mine", card)
    names = {"audio": torch.zeros(1, 2, 800)}
    exec(blocks["python"].replace('"mine"', repr(str(tmp_path / "mine"))), names)
    assert names["sources"].shape == (1, 2, 800)
    assert load_separator(tmp_path / "mine").slots == separator.slots
    without = make_card("mine", separator, pretraining, train, test, QUALITIES, "python train.py", 600.0)
    assert "## Recordings" not in without


def test_versions() -> None:
    assert re.fullmatch(rf"\S+, Python 3\.\S+, torch {re.escape(version('torch'))}", made_with("torch"))
