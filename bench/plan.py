"""How long the daily commands take as a project grows: check, plan, apply, run, and plan and run with nothing to do.

Each command is a process of its own, as a user starts it. ``first``: nothing is remembered from earlier commands.
``edited``: one contract and one model of a product changed since the last plan. Where a size is not to be run for real
(``--run-max``), its ``run`` columns stay empty.

    python bench/plan.py --out results.json 100 500 2000 10000
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from projects import write_project

STEPS = (
    "check first",
    "check again",
    "plan first",
    "plan new",
    "apply",
    "plan again",
    "plan edited",
    "run",
    "run again",
    "plan after run",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One command, run *times* times; the fastest counts."""

    models: int
    step: str
    seconds: float
    """By the clock on the wall."""
    cpu_seconds: float
    """Of all its threads: what another machine's load does not change."""
    memory_mb: float
    """The most that it held."""
    times: int


def measure(models: int, step: str, root: Path, command: Sequence[str], times: int = 1) -> Measured:
    """Run one ``millpond`` command; fails where the command does."""
    best: tuple[float, float] = (float("inf"), float("inf"))
    peak = 0.0
    for _ in range(times):
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "millpond", *command], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        said = process.communicate()[0].decode()
        seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        if process.returncode:
            raise SystemExit(f"millpond {' '.join(command)} ended with {process.returncode}:\n{said[-2000:]}")
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        best = min(best, (seconds, cpu))
        peak = max(peak, after.ru_maxrss / 1024)
    found = Measured(models=models, step=step, seconds=best[0], cpu_seconds=best[1], memory_mb=peak, times=times)
    print(f"{models:>7,}  {step:<15} {found.seconds:8.2f} s  {found.cpu_seconds:8.2f} s cpu", flush=True)
    return found


def forget(root: Path) -> None:
    """Remove what earlier commands remembered."""
    (root / ".millpond" / "cache" / "definitions.db").unlink(missing_ok=True)


def edit(root: Path) -> None:
    """Change one product as a day's work would: a rule's description in its contract, a condition in a model."""
    product = root / "products" / "area_0000"
    contract = product / "contract.odcs.yaml"
    text = contract.read_text(encoding="utf-8")
    contract.write_text(text.replace("What amount is", "What the amount is"), encoding="utf-8")
    model = next(path for path in sorted(product.glob("*.sql")) if "a.quantity > 0" in path.read_text(encoding="utf-8"))
    model.write_text(model.read_text(encoding="utf-8").replace("a.quantity > 0", "a.quantity > 1"), encoding="utf-8")


def unedit(root: Path) -> None:
    """Take the change back."""
    product = root / "products" / "area_0000"
    for path in (product / "contract.odcs.yaml", *product.glob("*.sql")):
        text = path.read_text(encoding="utf-8")
        path.write_text(
            text.replace("What the amount is", "What amount is").replace("a.quantity > 1", "a.quantity > 0"),
            encoding="utf-8",
        )


def measure_size(root: Path, models: int, *, run: bool, times: int) -> list[Measured]:
    """Measure every step on one project."""
    write_project(root, models)
    found = [measure(models, "check first", root, ["check"]), measure(models, "check again", root, ["check"], times)]
    forget(root)
    found.append(measure(models, "plan first", root, ["plan"]))
    found.append(measure(models, "plan new", root, ["plan"], times))
    found.append(measure(models, "apply", root, ["apply"]))
    found.append(measure(models, "plan again", root, ["plan"], times))
    edit(root)
    found.append(measure(models, "plan edited", root, ["plan"]))
    unedit(root)
    if run:
        found.append(measure(models, "run", root, ["run", "--json"]))
        found.append(measure(models, "run again", root, ["run"], times))
        found.append(measure(models, "plan after run", root, ["plan"], times))
    return found


def table(measured: Sequence[Measured]) -> str:
    """Lay the seconds out, a row for each size."""
    sizes = sorted({one.models for one in measured})
    cells = {(one.models, one.step): one for one in measured}
    lines = ["models  " + "".join(f"{step:>16}" for step in STEPS)]
    for size in sizes:
        row = [cells.get((size, step)) for step in STEPS]
        lines.append(f"{size:<8}" + "".join(f"{one.seconds:>14.2f} s" if one else f"{'–':>16}" for one in row))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", type=int, nargs="*", default=[100, 500, 2_000])
    parser.add_argument("--out", type=Path, help="append the results to this file, one JSON document a line")
    parser.add_argument("--run-max", type=int, default=2_000, help="run projects up to this many models for real")
    parser.add_argument("--times", type=int, default=3, help="repeat the quick steps; the fastest counts")
    parser.add_argument("--folder", type=Path, help="where projects are made; a temporary folder without")
    given = parser.parse_args()
    measured: list[Measured] = []
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        for size in given.sizes:
            root = Path(folder) / f"models-{size}"
            measured += measure_size(root, size, run=size <= given.run_max, times=given.times)
    print(table(measured))
    if given.out:
        told = {
            "bench": "plan",
            "at": datetime.now(tz=UTC).isoformat(timespec="seconds"),
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            "load_before": round(os.getloadavg()[2], 2),
            "measured": [asdict(one) for one in measured],
        }
        with given.out.open("a", encoding="utf-8") as out:
            out.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
