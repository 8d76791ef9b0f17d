from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable
from hypothesis import given
from hypothesis import strategies as st

from lake.ponds import commit, ids, write_file
from millpond.kernel import new_id
from millpond.lake import ColumnStats, DataFile, Table, TableSchema, inspect
from millpond.lake.stats import stats_json

SELECT = """
    SELECT range AS i, (range * 1000000007)::UBIGINT AS u, range / 8 AS f, (range / 8)::FLOAT AS r,
           ((range - 5) / 100)::DECIMAL(18,2) AS d, DATE '2020-02-25' + range::INTEGER AS da,
           TIMESTAMP '2020-03-10 10:39:00' + INTERVAL (range * 250) MILLISECOND AS ts,
           TIMESTAMPTZ '2020-03-10 10:39:00+02' + INTERVAL (range) HOUR AS tz,
           'n' || range AS s, range % 2 = 0 AS b, [range] AS l, encode('x') AS bl, TIME '10:00:00' AS ti,
           CASE WHEN range > 3 THEN range END AS some, NULL::INTEGER AS none
"""
TYPES = {
    "i": "BIGINT", "u": "UBIGINT", "f": "DOUBLE", "r": "FLOAT", "d": "DECIMAL(18,2)", "da": "DATE", "ts": "TIMESTAMP",
    "tz": "TIMESTAMP WITH TIME ZONE", "s": "VARCHAR", "b": "BOOLEAN", "l": "BIGINT[]", "bl": "BLOB", "ti": "TIME",
    "some": "BIGINT", "none": "INTEGER",
}  # fmt: skip
SCHEMA = TableSchema(columns=tuple(TYPES.items()))


def copied(table: Table, low: int, high: int) -> DataFile:
    """Write rows by DuckDB and take the statistics that it reports."""
    Path(table.store.uri).mkdir(parents=True, exist_ok=True)
    path = f"part-{new_id('run')}-0.parquet"
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    select = f"SELECT * REPLACE (u::DECIMAL(20,0) AS u, ti::VARCHAR AS ti) FROM ({SELECT} FROM range({low}, {high}))"
    sql = f"COPY ({select}) TO '{table.store.uri_of(path)}' (FORMAT parquet, RETURN_STATS)"
    row = connection.execute(sql).fetchall()[0]
    stats = {
        name.strip('"'): ColumnStats(each.get("min"), each.get("max"), int(each["null_count"]))
        for name, each in row[4].items()
        if "." not in name
    }
    return DataFile(path=path, size=row[2], rows=row[1], stats=stats)


def bounds(file: DataFile) -> dict[str, tuple[str | None, str | None, int | None]]:
    """Show the statistics without their exactness."""
    return {name: (each.min, each.max, each.nulls) for name, each in file.stats.items()}


@pytest.mark.parametrize("checkpoint", [False, True])
def test_statistics_come_back_in_the_engines_words(local: Table, checkpoint: bool) -> None:  # noqa: FBT001
    """What DuckDB says of a file is what the snapshot says of it, digit for digit, before and after a checkpoint."""
    file = copied(local, 0, 20)
    commit(local, None, adds=(file,), schema=SCHEMA)
    if checkpoint:
        local.checkpoint()
        commit(local, None, schema=SCHEMA)
    found = bounds(local.snapshot().files[0])
    wanted = bounds(file)
    assert {name: found[name] for name in found} == {
        name: (None, None, each[2]) if name in {"b", "bl"} else each for name, each in wanted.items() if name in found
    }
    assert {*TYPES} - {*found} == {"l"}
    assert found["u"][1] == "19000000133"
    assert found["ts"][1] == "2020-03-10 10:39:04.75"
    assert found["tz"][0] == "2020-03-10 08:39:00+00"
    assert found["none"] == (None, None, 20)


def test_footers_say_what_the_engine_says(local: Table) -> None:
    """For a file whose writer gave no statistics, its footer gives the same ones."""
    file = copied(local, 0, 20)
    (found,) = inspect(local.store, [file.path])
    assert (found.path, found.size, found.rows) == (file.path, file.size, file.rows)
    known, wanted = bounds(found), bounds(file)
    assert {*wanted} - {*known} == {"l"}
    for name, each in known.items():
        assert each == wanted[name] or name in {"b", "bl"}, name  # no bounds in Delta


def test_readers_skip_files_by_them(local: Table) -> None:
    """A Delta reader keeps only the files that can match; polars answers right."""
    files = tuple(copied(local, low, low + 10) for low in range(0, 100, 10))
    commit(local, None, adds=files, schema=SCHEMA)
    handle = DeltaTable(local.store.uri)

    def kept(condition: str) -> list[int]:
        uris = handle.file_uris(file_pruning_predicate=condition)
        return [number for number, file in enumerate(files) if any(uri.endswith(file.path) for uri in uris)]

    assert kept("i = 42") == [4]
    assert kept("u > 95000000000") == [9]
    assert kept("f < 1.0") == [0]
    assert kept("da = '2020-03-20'") == [2]
    assert kept("ts >= '2020-03-10 10:39:24'") == [9]
    assert kept("d = -0.05") == [0]
    assert kept("some = 4") == [0]
    scan = pl.scan_delta(local.store.uri)
    assert scan.filter(pl.col("i") == 42).select("s").collect().to_series().to_list() == ["n42"]
    assert scan.filter(pl.col("s") == "n42").select("i").collect().to_series().to_list() == [42]


@given(st.text(max_size=80), st.text(max_size=80))
def test_text_bounds_are_never_narrower_than_the_text(one: str, other: str) -> None:
    """However long the text, what is written lies at or outside it, in the order of its bytes."""
    low, high = sorted((one, other), key=str.encode)
    schema = TableSchema(columns=(("s", "VARCHAR"),))
    file = DataFile(path="x", size=1, rows=2, stats={"s": ColumnStats(low, high, 0)})
    stats = json.loads(stats_json(file, schema))
    assert stats["minValues"]["s"].encode() <= low.encode()
    assert "s" not in stats["maxValues"] or stats["maxValues"]["s"].encode() >= high.encode()
    assert len(stats["minValues"]["s"]) <= 33


@pytest.mark.parametrize(
    ("type_", "text", "low", "high"),
    [
        ("DOUBLE", "nan", None, None),
        ("DOUBLE", "inf", None, None),
        ("DOUBLE", "1e+20", 1e20, 1e20),
        ("HUGEINT", "170141183460469231731687303715884105727", None, None),
        ("TIMESTAMP", "infinity", None, None),
        ("TIMESTAMP", "290309-12-22 (BC) 00:00:00", None, None),
        ("TIMESTAMP_NS", "2020-01-01 00:00:00.123456789", "2020-01-01T00:00:00.123456", "2020-01-01T00:00:00.123457"),
        (
            "TIMESTAMP WITH TIME ZONE",
            "2020-01-01 00:30:00+05:30",
            "2019-12-31T19:00:00.000000Z",
            "2019-12-31T19:00:00.000000Z",
        ),
        ("DATE", "20000-01-01", None, None),
        ("ENUM('b', 'a')", "b", None, None),
        ("BOOLEAN", "true", None, None),
        ("BIGINT", "0x10", None, None),
        ('STRUCT("a" INTEGER)', "1", None, None),
    ],
)
def test_a_bound_that_cannot_be_said_is_left_out(type_: str, text: str, low: Any, high: Any) -> None:
    """Rather no bound than a wrong one or a log that cannot be read."""
    file = DataFile(path="x", size=1, rows=1, stats={"c": ColumnStats(text, text, 0)})
    stats = json.loads(stats_json(file, TableSchema(columns=(("c", type_),))))
    assert (stats["minValues"].get("c"), stats["maxValues"].get("c")) == (low, high)


def test_a_column_named_with_a_dot_is_not_a_field_of_another(local: Table) -> None:
    """The statistics of column "a.b" and of field b in column a are not mixed up."""
    data = pa.table({"a.b": [1, 2], "a": [{"b": 7}, {"b": 8}]})
    run_id = new_id("run")
    file = write_file(local.store, run_id, data)
    schema = TableSchema(columns=(("a.b", "BIGINT"), ("a", 'STRUCT("b" BIGINT)')))
    assert set(file.stats) == {"a.b"}
    commit(local, None, run_id=run_id, adds=(file,), schema=schema)
    assert bounds(local.snapshot().files[0]) == {"a.b": ("1", "2", 0)}


def test_files_without_statistics_are_read_all_the_same(local: Table) -> None:
    """A writer that tells nothing gets a table that works."""
    run_id = new_id("run")
    file = replace(write_file(local.store, run_id, ids([1])), stats={})
    commit(local, None, run_id=run_id, adds=(file,))
    assert local.snapshot().files == (file,)
