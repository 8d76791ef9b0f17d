from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

LANDING = """
import resource, sys
from pathlib import Path
from millpond.contracts import Column, Dataset
from millpond.engines import DuckDBEngine, EngineLimits
from millpond.ingest import FileSource, discover, land
from millpond.kernel import MiB, Store

root = Path(sys.argv[1])
kinds = {"id": "BIGINT", "day": "DATE", "amount": "DECIMAL(9,2)", "name": "VARCHAR", "note": "VARCHAR"}
dataset = Dataset(name="s.t", columns=tuple(Column(name=name, type=kind) for name, kind in kinds.items()))
source = FileSource(dataset="s.t", format="csv", location="big.csv")
with DuckDBEngine().session(EngineLimits(memory_bytes_max=512 * MiB, threads=2)) as session:
    landed = land(
        discover(source, root=root), source, dataset, [], session=session,
        table=Store(str(root / "t")), quarantine=Store(str(root / "q")), run_id="r",
    )
outcome = landed.files[0]
print(outcome.rows_read, outcome.rows_accepted, outcome.rows_quarantined)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("bad", [False, True])
def test_a_file_larger_than_memory_lands_in_under_a_gigabyte(tmp_path: Path, *, bad: bool) -> None:
    """A CSV of 1.5 GB, clean or with 1% bad rows, lands in a process that never holds 1 GB."""
    rows = 0
    with (tmp_path / "big.csv").open("w") as file:
        file.write("id,day,amount,name,note\n")
        for block in range(150):
            lines = [
                f"{rows + i},2024-01-{i % 28 + 1:02d},{'x' if bad and i % 100 == 0 else i % 9999}.25,"
                f"customer {i * 7919 % 100_003},{'lorem ipsum ' * 5}{i}{block}\n"
                for i in range(100_000)
            ]
            file.writelines(lines)
            rows += len(lines)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(LANDING), str(tmp_path)], capture_output=True, text=True, check=True
    )
    counts, peak = done.stdout.splitlines()
    held = rows // 100 if bad else 0
    assert [int(count) for count in counts.split()] == [rows, rows - held, held]
    assert int(peak) < 1_000_000_000
