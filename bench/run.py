"""Run every benchmark and write docs/performance.md: ``make bench``; ``--quick`` takes a tenth of the rows."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import duckdb
import reads
import rules
from timing import Measured

import ingest
from millpond import __version__
from millpond.kernel import format_seconds

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs/performance.md"
HEAD = """# Performance

Each figure is a ratio measured in one run: our way and the other, in turn, in one process, on the same data; the
best of the rounds counts (for reads: the median). Below 1 Millpond is faster. `make bench` makes this page anew.

"""


def table(found: list[Measured]) -> str:
    """Write comparisons as a Markdown table."""
    lines = ["| | Millpond | other | ratio | goal |", "|---|---:|---:|---:|---|"]
    for one in found:
        other = next(way for way in one.seconds if way != "millpond")
        ours, theirs = format_seconds(one.seconds["millpond"]), format_seconds(one.seconds[other])
        extra = f" ({one.note})" if one.note else ""
        lines.append(f"| {one.what}, against {other} | {ours} | {theirs} | {one.ratio:.2f}×{extra} | {one.goal} |")
    return "\n".join(lines)


def plans(*, quick: bool) -> str:
    """Run the benchmark of plan and no-op runs in processes of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "plans.json"
        sizes = ["100", "500"] if quick else ["100", "500", "2000", "10000"]
        subprocess.run([sys.executable, str(HERE / "plan.py"), "--out", str(out), *sizes], check=True)
        rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    heads = [key for key in rows[0] if key != "models"]
    lines = [f"| models | {' | '.join(heads)} |", "|---:|" + "---:|" * len(heads)]
    for row in rows:
        cells = [format_seconds(row[head]) if row.get(head) is not None else "–" for head in heads]
        lines.append(f"| {row['models']:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print, write the page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    part = 10 if quick else 1
    sections = [
        ("Taking files in", table(ingest.measure(5_000_000 // part, 500_000 // part, rounds=3))),
        ("Rules", table(rules.measure(10_000_000 // part, 1_000_000 // part, rounds=3))),
        ("Governed reads", table(reads.measure(10_000_000 // part))),
        ("Plan and run with many models, each a command of its own", plans(quick=quick)),
    ]
    versions = f"Millpond {__version__}, DuckDB {duckdb.__version__}, Python {platform.python_version()}"
    where = f"{versions}, {os.cpu_count()} cores."
    page = HEAD + where + "".join(f"\n\n## {title}\n\n{text}" for title, text in sections) + "\n"
    sys.stdout.write(page)
    if not quick:
        PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
