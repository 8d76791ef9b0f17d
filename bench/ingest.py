"""Taking in one file of five million rows: Millpond against bare DuckDB, and against dlt into Delta."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import duckdb
from timing import Measured, alternate

from millpond.flow import RunOptions, Workspace, apply_plan, make_plan, run

CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: bench
version: 1.0.0
status: active
dataProduct: bench
schema:
  - name: trades
    properties:
      - {name: id, logicalType: integer, required: true}
      - {name: at, logicalType: timestamp, required: true}
      - {name: symbol, logicalType: string, required: true, logicalTypeOptions: {maxLength: 8}}
      - {name: price, logicalType: number, physicalType: "DECIMAL(18,4)", logicalTypeOptions: {minimum: 0}}
      - {name: size, logicalType: integer, physicalType: INTEGER, logicalTypeOptions: {minimum: 1}}
      - {name: ratio, logicalType: number}
      - {name: buyer, logicalType: string}
      - {name: note, logicalType: string}
"""
TYPES = {
    "id": "BIGINT", "at": "TIMESTAMP", "symbol": "VARCHAR", "price": "DECIMAL(18,4)", "size": "INTEGER",
    "ratio": "DOUBLE", "buyer": "VARCHAR", "note": "VARCHAR",
}  # fmt: skip


def make_input(folder: Path, rows: int) -> None:
    """Write the same rows as CSV and Parquet."""
    sql = f"""
        SELECT range AS id, TIMESTAMP '2026-01-01' + INTERVAL (range) SECOND AS at,
               'S' || (range * 7919 % 500) AS symbol,
               ((range * 104729 % 1000000) / 100)::DECIMAL(18,4) AS price, (range * 31 % 900 + 1)::INTEGER AS size,
               (range % 1000) / 7 AS ratio, 'customer-' || (range * 15485863 % 100000) AS buyer,
               CASE WHEN range % 3 = 0 THEN NULL ELSE 'a note, number ' || range END AS note
        FROM range({rows})"""
    duckdb.execute(f"COPY ({sql}) TO '{folder}/trades.csv' (HEADER)")
    duckdb.execute(f"COPY ({sql}) TO '{folder}/trades.parquet'")


def millpond_way(folder: Path, format_: str) -> None:
    """A project of one source: land, judge, audit, commit, publish."""
    root = folder / "project"
    shutil.rmtree(root, ignore_errors=True)
    (root / "products/bench").mkdir(parents=True)
    (root / "millpond.yaml").write_text("name: bench\nengine: {memory: 2 GiB}\n")
    (root / "products/bench/contract.odcs.yaml").write_text(CONTRACT)
    source = f"format: {format_}\nlocation: {folder}/trades.{format_}\n"
    (root / "products/bench/trades.source.yaml").write_text(source)
    with Workspace.open(root) as workspace:
        env = workspace.environment(None)
        apply_plan(workspace, make_plan(workspace, env), actor="bench")
        result = run(workspace, env, RunOptions(), actor="bench", report=lambda _: None)
    assert sum(step.rows_quarantined for step in result.steps) == 0


def duckdb_way(folder: Path, format_: str) -> None:
    """Read and write, no checks, no commit."""
    with duckdb.connect() as connection:
        columns = "{" + ", ".join(f"'{name}': '{kind}'" for name, kind in TYPES.items()) + "}"
        reader = {
            "csv": f"read_csv('{folder}/trades.csv', columns = {columns}, header = true, auto_detect = false)",
            "parquet": f"read_parquet('{folder}/trades.parquet')",
        }[format_]
        connection.execute(f"COPY (SELECT * FROM {reader}) TO '{folder}/bare.parquet' (COMPRESSION zstd)")


def dlt_way(folder: Path, rows: int) -> None:
    """The file through dlt's own CSV reader into a Delta table."""
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    import dlt
    from dlt.sources.filesystem import filesystem, read_csv

    shutil.rmtree(folder / "dlt", ignore_errors=True)
    target = dlt.destinations.filesystem(bucket_url=str(folder / "dlt/lake"))
    pipeline = dlt.pipeline("bench", destination=target, dataset_name="bench", pipelines_dir=str(folder / "dlt/state"))
    files = filesystem(bucket_url=str(folder), file_glob="trades.csv") | read_csv(chunksize=100_000)
    pipeline.run(files.with_name("trades").apply_hints(table_format="delta"))
    assert pipeline.last_trace.last_normalize_info.row_counts["trades"] == rows


def measure(rows: int, dlt_rows: int, rounds: int) -> list[Measured]:
    """CSV and Parquet against bare DuckDB, growth with size, then CSV against dlt."""
    found = []
    for size in (rows // 10, rows):
        for format_ in ("csv", "parquet"):
            with tempfile.TemporaryDirectory() as scratch:
                folder = Path(scratch)
                make_input(folder, size)
                ways = {
                    "millpond": lambda: millpond_way(folder, format_),  # noqa: B023 - called within the loop
                    "DuckDB read and COPY": lambda: duckdb_way(folder, format_),  # noqa: B023
                }
                seconds = alternate(ways, rounds=rounds)
                goal = "≤ 1.3×" if size == rows else ""
                found.append(Measured(f"take in {size:,} rows of {format_}", seconds, goal))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make_input(folder, dlt_rows)
        ways = {"millpond": lambda: millpond_way(folder, "csv"), "dlt to Delta": lambda: dlt_way(folder, dlt_rows)}
        found.append(Measured(f"take in {dlt_rows:,} rows of csv", alternate(ways, rounds=1), "≤ 0.1×"))
    return found
