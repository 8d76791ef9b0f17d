"""A governed read against the same SQL by hand, over the same files."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
from timing import Measured

from millpond.access import Door, PolicySet, Visible, load_policies
from millpond.contracts import Column, Dataset
from millpond.engines import DuckDBEngine, EngineLimits
from millpond.kernel import GiB, Store
from millpond.lake import DataFile, Snapshot, TableSchema

COLUMNS = (("id", "BIGINT"), ("region", "VARCHAR"), ("amount", "DOUBLE"), ("day", "DATE"))
POLICY = """
principals: [{id: ana, groups: [analysts], attributes: {region: r7}}]
grants: [{id: read, to: {groups: [analysts]}, datasets: ["*"]}]
filters: [{id: own, to: {groups: [analysts]}, on: {columns: [region]}, rows: "region <> principal.region"}]
"""
SMALL = "SELECT amount FROM bench.sales WHERE id = 4711"
LARGE = "SELECT day, count(*) AS n, sum(amount) AS total FROM bench.sales GROUP BY day"


def make_door(folder: Path, rows: int) -> tuple[Door, Path]:
    """One table, one policy that filters its rows."""
    path = folder / "sales.parquet"
    duckdb.execute(f"""COPY (SELECT range AS id, 'r' || (range % 50) AS region, (range % 997) / 3 AS amount,
        DATE '2026-01-01' + (range % 365)::INTEGER AS day FROM range({rows})) TO '{path}'""")
    policy = folder / "access.yaml"
    policy.write_text(POLICY)
    policies: PolicySet = load_policies([policy], root=folder)
    dataset = Dataset(name="bench.sales", columns=tuple(Column(name=name, type=kind) for name, kind in COLUMNS))
    file = DataFile(path=path.name, size=path.stat().st_size, rows=rows)
    store = Store(str(folder))
    snapshot = Snapshot(table="b", version=0, store=store, schema=TableSchema(columns=COLUMNS), files=(file,))
    visible = Visible(dataset=dataset, snapshot=snapshot, tags={})
    door = Door(
        engine=DuckDBEngine(),
        policies=policies,
        record=lambda _: None,
        env="prod",
        resolve=lambda name: visible if name == dataset.name else None,
        names=lambda: [dataset.name],
        limits=EngineLimits(memory_bytes_max=4 * GiB),
    )
    return door, path


def median_of(run: Callable[[], object], other: Callable[[], object], times: int) -> tuple[float, float]:
    """Run both in turn; gives the median seconds of each."""
    ours, theirs = [], []
    for _ in range(times):
        for way, kept in ((run, ours), (other, theirs)):
            began = time.perf_counter()
            way()
            kept.append(time.perf_counter() - began)
    return statistics.median(ours), statistics.median(theirs)


def measure(rows: int) -> list[Measured]:
    """One row by its key, and an aggregate over all rows."""
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        door, path = make_door(Path(scratch), rows)
        connection = duckdb.connect()
        connection.execute("CREATE SCHEMA bench")
        connection.execute(f"CREATE VIEW bench.sales AS SELECT * FROM read_parquet('{path}') WHERE region <> 'r7'")
        for sql, times, what in ((LARGE, 15, "aggregate of all rows"), (SMALL, 60, "one row by its key")):

            def governed(sql: str = sql) -> None:
                with door.read("ana", None, sql) as answer:
                    for batch in answer.batches:
                        assert batch.num_columns

            def by_hand(sql: str = sql) -> None:
                for batch in connection.sql(sql).to_arrow_reader(65_536):
                    assert batch.num_columns

            governed()
            ours, theirs = median_of(governed, by_hand, times)
            note = f"{(ours - theirs) * 1000:+.1f} ms"
            goal = "≤ 1.05×" if sql == LARGE else "≤ 5 ms more"
            seconds = {"millpond": ours, "the same SQL by hand": theirs}
            found.append(Measured(f"governed read, {what} of {rows:,}", seconds, goal, note))
        door.close()
        connection.close()
    return found
