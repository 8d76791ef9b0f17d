"""Small tables for the lake's tests: files really written, rows really read back."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable

from millpond.kernel import Store, new_id
from millpond.lake import Commit, DataFile, Snapshot, Table, TableSchema, inspect

SCHEMA = TableSchema(columns=(("id", "BIGINT"), ("name", "VARCHAR")))
BY_NAME = TableSchema(columns=SCHEMA.columns, partition_by=("name",))
_numbers = itertools.count()


def write_file(store: Store, run_id: str, data: pa.Table, *, folder: str = "", suffix: str = ".parquet") -> DataFile:
    """Write one Parquet file as an engine does, and look at it as the lake does."""
    path = f"{folder}part-{run_id}-{next(_numbers)}{suffix}"
    buffer = io.BytesIO()
    pq.write_table(data, buffer)
    store.write(path, buffer.getvalue())
    (file,) = inspect(store, [path])
    return file


def ids(values: Iterable[int], name: str = "x") -> pa.Table:
    """Make rows of SCHEMA."""
    numbers = [*values]
    return pa.table({"id": pa.array(numbers, pa.int64()), "name": [name] * len(numbers)})


@dataclass(frozen=True, slots=True)
class Made:
    """A commit that was made."""

    version: int
    commit: Commit


def commit(
    table: Table,
    values: Iterable[int] | None,
    *,
    removes: Sequence[DataFile] = (),
    base: int | None = None,
    run_id: str | None = None,
    **more: Any,
) -> Made:
    """Commit one file of these ids (None: no file) to *table*."""
    run_id = run_id or new_id("run")
    adds = () if values is None else (write_file(table.store, run_id, ids(values)),)
    base = table.snapshot().version if base is None else base
    settings = {"schema": SCHEMA, "adds": adds, **more}
    done = Commit(table=table.key, removes=tuple(removes), base_version=base, run_id=run_id, **settings)
    return Made(table.commit(done), done)


def read(snapshot: Snapshot, column: str = "id") -> list[Any]:
    """Read one column by the snapshot's file list alone, as an engine does."""
    found: list[Any] = []
    for file in snapshot.files:
        rows = pq.ParquetFile(io.BytesIO(snapshot.store.read(file.path))).read()
        assert rows.num_rows == file.rows
        found += rows[column].to_pylist()
    return sorted(found)


def delta(table: Table, version: int | None = None) -> pa.Table:
    """Read the table as any Delta reader does."""
    return DeltaTable(table.store.uri, version, table.store.storage_options()).to_pyarrow_table()


def rows(data: pa.Table) -> list[Mapping[str, Any]]:
    """List rows in a settled order."""
    return sorted(data.to_pylist(), key=repr)
