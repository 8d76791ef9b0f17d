"""What a table is to everyone else: a list of Parquet files at a version.

These values cross from the lake to the engines and back; nothing in them touches disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from millpond.kernel import Store


@dataclass(frozen=True, slots=True)
class ColumnStats:
    """What is known of one column of one file; text as the engine wrote it."""

    min: str | None
    max: str | None
    nulls: int | None
    exact: bool = True
    """False where min and max are bounds only (truncated strings)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFile:
    """One Parquet file of a table."""

    path: str
    """Relative to the table's folder, as the store lists it. (The Delta log holds it URL-encoded.)"""
    size: int
    """Bytes."""
    rows: int
    partition: Mapping[str, str | None] = field(default_factory=dict, hash=False)
    """Partition column → value as text; these columns are not in the file."""
    stats: Mapping[str, ColumnStats] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSchema:
    """Columns of a table as stored."""

    columns: tuple[tuple[str, str], ...]
    """(name, DuckDB type), in order."""
    partition_by: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Column names, in order."""
        return tuple(name for name, _ in self.columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A table at one version: all that an engine needs to read it."""

    table: str
    """The table's key: its folder below the lake's root."""
    version: int
    """Delta version; -1 for a table that does not exist yet."""
    store: Store
    """The table's folder."""
    schema: TableSchema
    files: tuple[DataFile, ...]

    @property
    def rows(self) -> int:
        """Rows in all files."""
        return sum(file.rows for file in self.files)

    @property
    def bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    def changed(self, *, adds: Iterable[DataFile] = (), removes: Iterable[DataFile] = ()) -> Snapshot:
        """Give the snapshot as it will be after a commit: visible to the run that staged the files, to nobody else."""
        gone = {file.path for file in removes}
        return replace(self, files=(*(file for file in self.files if file.path not in gone), *adds))


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """What one commit will do to one table; plain data, so that a run can write it down before it acts."""

    table: str
    schema: TableSchema
    """The table's schema after the commit; creates or evolves the table where it differs."""
    adds: tuple[DataFile, ...] = ()
    removes: tuple[DataFile, ...] = ()
    base_version: int
    """The version it was computed from (-1: no table yet)."""
    run_id: str
    """Delta application transaction id: committing the same run twice is a no-op."""
    operation: str = "WRITE"
    metadata: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Kept in the Delta log's commitInfo: fencing token, source files, fingerprint."""
