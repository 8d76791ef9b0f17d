"""Tables of a test: what was written as a snapshot, and what an engine reads back."""

from __future__ import annotations

from collections.abc import Sequence

from millpond.engines import Session, Written
from millpond.kernel import Store
from millpond.lake import DataFile, Snapshot, TableSchema

Row = tuple[object, ...]


def snapshot(
    store: Store,
    columns: Sequence[tuple[str, str]],
    written: Written | Sequence[DataFile] = (),
    partition_by: Sequence[str] = (),
) -> Snapshot:
    """Name files as a table at its first version."""
    files = written.files if isinstance(written, Written) else tuple(written)
    schema = TableSchema(columns=tuple(columns), partition_by=tuple(partition_by))
    return Snapshot(table="t", version=0, store=store, schema=schema, files=files)


def rows(session: Session, sql: str) -> list[Row]:
    """Give a small answer as Python rows."""
    table = session.stream(sql).read_all()
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True)) if table.num_columns else []
