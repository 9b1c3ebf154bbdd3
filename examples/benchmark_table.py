"""What does each option of the world cost? Its step and its reset, measured on one core, over those of the defaults.

    python examples/benchmark_table.py                    # measures; takes some minutes, and nothing else may run
    python examples/benchmark_table.py --report run.json  # of what `pytest --benchmark-json run.json` has measured

The options are those of tests/benchmarks/test_env_speed.py.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from auralnav_gym.files import written_whole

ROOT = Path(__file__).resolve().parents[1]
GROUPS = {"step": "one step: settings", "reset": "one reset: settings"}
DEFAULTS = "defaults"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--report", type=Path, help="a file of pytest-benchmark, in place of measuring")
    parser.add_argument("--output", type=Path, default=ROOT / "examples" / "results" / "option_costs.md")
    args = parser.parse_args()
    table = cost_table(measure() if args.report is None else json.loads(args.report.read_text(encoding="utf-8")))
    args.output.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(args.output) as unfinished:
        unfinished.write_text(table, encoding="utf-8")
    print(table)


def measure() -> dict[str, Any]:
    """What pytest-benchmark reports of the options."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pytest", "tests/benchmarks/test_env_speed.py", "-q", "-k", "settings"]
        options = ["--benchmark-enable", f"--benchmark-json={report}"]
        subprocess.run([*command, *options], cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True)
        return json.loads(report.read_text(encoding="utf-8"))


def cost_table(report: dict[str, Any]) -> str:
    """A Markdown table with a row for each option, in the order in which they were measured, and what measured them.

    Args:
        report: What pytest-benchmark writes with ``--benchmark-json``.

    Raises:
        ValueError: If the defaults, to which all is compared, were not measured.
    """
    medians: dict[str, dict[str, float]] = {kind: {} for kind in GROUPS}
    for kind, group in GROUPS.items():
        for benchmark in report["benchmarks"]:
            if benchmark["group"] == group:
                medians[kind][benchmark["param"]] = benchmark["stats"]["median"]
        if DEFAULTS not in medians[kind]:
            raise ValueError(
                f"report: expected the benchmark {DEFAULTS!r} of the group {group!r} to compare with, "
                f"actual: {list(medians[kind])}. Run the whole of tests/benchmarks/test_env_speed.py."
            )
    lines = [
        "| option | a step, ms | ratio | a reset, ms | ratio |",
        "| --- | --- | --- | --- | --- |",
    ]
    for option in dict.fromkeys(option for measured in medians.values() for option in measured):
        cells = (cell for measured in medians.values() for cell in _cells(measured.get(option), measured[DEFAULTS]))
        lines.append(f"| {' | '.join([option, *cells])} |")
    return "\n".join([*lines, "", _conditions(report["machine_info"]), ""])


def _cells(seconds: float | None, of_defaults: float) -> tuple[str, str]:
    """Milliseconds and ratio; dashes if it was not measured."""
    if seconds is None:
        return "-", "-"
    return f"{1e3 * seconds:,.2f}", f"{seconds / of_defaults:.2f}"


def _conditions(machine: dict[str, Any]) -> str:
    """What the medians are of."""
    packages = "".join(f", {name} {version}" for name, version in machine.get("packages", {}).items())
    processor = machine.get("cpu", {}).get("brand_raw", machine["machine"])
    return (
        f"Medians on one core of {processor}, {machine['system']}; Python {machine['python_version']}{packages}. "
        "A step renders what all sources have sent; a reset draws a scene and renders what is heard first."
    )


if __name__ == "__main__":
    main()
