from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import duckdb
import polars as pl
import pyarrow as pa
import pytest

from lake.ponds import BY_NAME, commit, delta, ids, read, write_file
from millpond.kernel import new_id
from millpond.lake import PartitionNotStorable, Table, TableSchema, inspect

VALUES = [
    "plain",
    "a b",
    "s/l",
    "50%",
    "%20",
    "k=v",
    "é世",
    "a+b&c?d#e",
    "it's",
    "x:y;z",
    None,
    "..",
    "[*]",
    "a\\b",
    "%2F",
]


def folder(value: str | None) -> str:
    """Name a partition's folder as DuckDB does."""
    return f"name={'__HIVE_DEFAULT_PARTITION__' if value is None else quote(value, safe='')}/"


@pytest.mark.parametrize("checkpoint", [False, True])
def test_every_partition_value_is_read_back_by_everybody(table: Table, checkpoint: bool) -> None:  # noqa: FBT001
    """Spaces, slashes, percent signs, unicode and null: our snapshot, deltalake and polars find the same rows."""
    run_id = new_id("run")
    data = {value: ids([number]).drop_columns(["name"]) for number, value in enumerate(VALUES)}
    adds = tuple(write_file(table.store, run_id, each, folder=folder(value)) for value, each in data.items())
    commit(table, None, run_id=run_id, adds=adds, schema=BY_NAME)
    if checkpoint:
        table.checkpoint()
        commit(table, None, schema=BY_NAME)
    snapshot = table.snapshot()
    assert {file.path: file.partition["name"] for file in snapshot.files} == {f.path: f.partition["name"] for f in adds}
    assert read(snapshot) == [*range(len(VALUES))]
    wanted = sorted(([number, value] for number, value in enumerate(VALUES)), key=repr)
    assert sorted(([each["id"], each["name"]] for each in delta(table).to_pylist()), key=repr) == wanted
    scan = pl.scan_delta(table.store.uri, storage_options=table.store.storage_options())
    assert sorted(map(list, scan.select("id", "name").collect().rows()), key=repr) == wanted
    assert scan.filter(pl.col("name") == "50%").collect()["id"].to_list() == [VALUES.index("50%")]
    result = table.vacuum(keep=(), live_runs=(), newer_than_us=0, dry_run=False)
    assert result.paths == ()
    removed = commit(table, None, removes=snapshot.files, schema=BY_NAME)
    assert table.snapshot().files == ()
    assert delta(table).num_rows == 0
    assert removed.version == snapshot.version + 1


def test_what_duckdb_partitions_is_a_table_as_it_lies(local: Table) -> None:
    """Files written by PARTITION_BY are committed under the names that DuckDB chose, and keep their values."""
    root = Path(local.store.uri)
    root.mkdir(parents=True)
    connection = duckdb.connect()
    connection.execute("CREATE TABLE t AS SELECT id, name FROM (SELECT unnest(?) AS name), range(2) AS r(id)", [VALUES])
    how = "FORMAT parquet, PARTITION_BY (name), RETURN_STATS, APPEND, FILENAME_PATTERN 'part-{uuid}'"
    copied = connection.execute(f"COPY t TO '{root}' ({how})").fetchall()
    paths = [str(Path(each[0]).relative_to(root)) for each in copied]
    adds = inspect(local.store, paths)
    assert [file.partition["name"] for file in adds] == [each[5]["name"] for each in copied]
    assert {file.partition["name"] for file in adds} == {*VALUES}
    commit(local, None, adds=adds, schema=BY_NAME)
    wanted = sorted(connection.execute("SELECT id, name FROM t").fetchall(), key=repr)
    assert sorted(((each["id"], each["name"]) for each in delta(local).to_pylist()), key=repr) == wanted
    assert {file.partition["name"] for file in local.snapshot().files} == {*VALUES}


@pytest.mark.parametrize(
    ("type_", "values"),
    [
        ("DATE", ["2020-02-29", "1969-12-31"]),
        ("INTEGER", ["-7", "0"]),
        ("BOOLEAN", ["true", "false"]),
        ("DECIMAL(9,2)", ["1.50", "20.05"]),
        ("TIMESTAMP", ["2020-01-01 10:00:00", "2020-01-01 10:00:00.25"]),
        ("TIMESTAMP WITH TIME ZONE", ["2020-01-01 10:00:00+00", "2020-01-01 10:00:00.25+00"]),
        ("UUID", ["00000000-0000-0000-0000-000000000001"]),
    ],
)
def test_a_partition_value_keeps_its_text_and_its_type(local: Table, type_: str, values: list[str]) -> None:
    """Values come back in the spelling of the engine; plain readers get them typed."""
    schema = TableSchema(columns=(("id", "BIGINT"), ("name", type_)), partition_by=("name",))
    run_id = new_id("run")
    adds = tuple(
        write_file(local.store, run_id, ids([1]).drop_columns(["name"]), folder=folder(value))
        for value in [*values, None]
    )
    commit(local, None, run_id=run_id, adds=adds, schema=schema)
    assert {file.partition["name"] for file in local.snapshot().files} == {*values, None}
    typed = duckdb.connect().sql(f"SELECT unnest(?)::{type_}", params=[values]).to_arrow_table().column(0)
    found = delta(local)["name"]
    if type_ != "UUID":
        assert {*found.cast(typed.type).to_pylist()} == {*typed.to_pylist(), None}


def test_the_empty_text_is_refused_where_it_would_become_null(local: Table) -> None:
    """Delta reads an empty partition value as NULL, so it is not let in; the error says what to write instead."""
    run_id = new_id("run")
    file = write_file(local.store, run_id, pa.table({"id": pa.array([1], pa.int64())}), folder="name=/")
    assert file.partition == {"name": ""}
    with pytest.raises(PartitionNotStorable, match="nullif"):
        commit(local, None, run_id=run_id, adds=(file,), schema=BY_NAME)
    assert not local.exists()
