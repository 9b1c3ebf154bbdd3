"""The table of costs says what the report of the benchmarks says."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "benchmark_table.py"
NAMES: dict[str, Any] = runpy.run_path(str(SCRIPT))
MACHINE = {
    "machine": "x86_64",
    "system": "Linux",
    "python_version": "3.11.9",
    "cpu": {"brand_raw": "A Processor @ 2.00GHz"},
    "packages": {"numpy": "2.0.1", "scipy": "1.15.0"},
}


def measured(group: str, option: str | None, median: float) -> dict[str, Any]:
    return {"group": group, "param": option, "stats": {"median": median, "mean": 99.0}}


REPORT = {
    "machine_info": MACHINE,
    "benchmarks": [
        measured("one step at the defaults", None, 7.0),
        measured("one step: settings", "defaults", 0.0005),
        measured("one step: settings", "human ears", 0.00125),
        measured("one step: settings", "order 15", 0.02),
        measured("one reset: settings", "order 15", 1.23),
        measured("one reset: settings", "defaults", 0.002),
    ],
}
TABLE = """\
| option | a step, ms | ratio | a reset, ms | ratio |
| --- | --- | --- | --- | --- |
| defaults | 0.50 | 1.00 | 2.00 | 1.00 |
| human ears | 1.25 | 2.50 | - | - |
| order 15 | 20.00 | 40.00 | 1,230.00 | 615.00 |

Medians on one core of A Processor @ 2.00GHz, Linux; Python 3.11.9, numpy 2.0.1, scipy 1.15.0. A step renders what all \
sources have sent; a reset draws a scene and renders what is heard first.
"""


def test_table() -> None:
    assert NAMES["cost_table"](REPORT) == TABLE


def test_without_the_defaults_there_is_nothing_to_compare_with() -> None:
    report = {**REPORT, "benchmarks": REPORT["benchmarks"][:4]}
    with pytest.raises(
        ValueError, match=r"^report: expected the benchmark 'defaults' of the group 'one reset: settings'"
    ):
        NAMES["cost_table"](report)


def test_the_command_writes_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "report.json").write_text(json.dumps(REPORT), encoding="utf-8")
    output = tmp_path / "new" / "costs.md"
    monkeypatch.setattr(sys, "argv", ["", "--report", str(tmp_path / "report.json"), "--output", str(output)])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    assert output.read_text(encoding="utf-8") == TABLE
    assert [path.name for path in output.parent.iterdir()] == ["costs.md"]
    assert TABLE in capsys.readouterr().out


def test_the_groups_are_those_that_are_measured() -> None:
    benchmarks = (ROOT / "tests" / "benchmarks" / "test_env_speed.py").read_text(encoding="utf-8")
    for group in NAMES["GROUPS"].values():
        assert f'@pytest.mark.benchmark(group="{group}")' in benchmarks
    assert f'"{NAMES["DEFAULTS"]}": {{}}' in benchmarks
