"""The seam that every engine stands behind: SQL over snapshots, to Arrow batches or to new Parquet files.

An engine never touches the Delta log, a contract or the ledger.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, Self

import pyarrow as pa

from millpond.kernel import MiB, Store
from millpond.lake import DataFile, Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLimits:
    """What one session may use."""

    memory_bytes_max: int = 1024 * MiB
    threads: int | None = None
    """None: as many as the machine has."""
    spill_dir: str | None = None
    """Where intermediate results go when memory is full; None: a temporary folder, removed at close."""
    spill_bytes_max: int | None = None
    cache_dir: str | None = None
    """Where files of object stores are kept while they are read; None: a temporary folder, removed at close."""
    cache_bytes_max: int | None = None
    """Above this, files of *cache_dir* that nobody used for an hour are removed, the longest unused first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileScan:
    """Files of one format, to be read as a relation typed by a contract."""

    format: Literal["csv", "ndjson", "parquet"]
    paths: tuple[str, ...]
    """Local files, readable by the engine (compressed ones included: gz, zst)."""
    columns: tuple[tuple[str, str, str], ...]
    """(name in the file, name wanted, DuckDB type wanted), in the contract's order."""
    delimiter: str = ","
    quote: str = '"'
    escape: str = '"'
    header: bool = True
    encoding: str = "utf-8"
    null_values: tuple[str, ...] = ("",)
    """Texts that mean no value."""
    timestamp_format: str | None = None
    date_format: str | None = None
    decimal_separator: str = "."
    row_bytes_max: int = 16 * MiB
    """A longer row is rejected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a write made: files that no log knows yet."""

    files: tuple[DataFile, ...]
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a session's current statement is."""

    fraction: float | None
    """0 to 1; None where the engine cannot tell."""
    rows: int | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a session's last statement took; what the engine cannot tell is 0."""

    rows: int = 0
    """Rows that were answered or written."""
    bytes_read: int = 0
    bytes_written: int = 0
    memory_bytes_peak: int = 0
    spill_bytes_peak: int = 0
    seconds: float = 0.0


class Session(Protocol):
    """One connection to an engine: names bound to data, statements over them. Used by one thread; cancel by any.

    One answer at a time: the next statement closes a stream that was not read to its end.
    """

    def attach(self, name: str, source: Snapshot | pa.Table | pa.RecordBatchReader, /) -> None:
        """Bind ``schema.table`` or ``table`` (unquoted text) to data, lazily: nothing is read yet."""
        ...

    def attach_empty(self, name: str, columns: Sequence[tuple[str, str]], /) -> None:
        """Bind a name to a relation with these (name, type) columns and no rows: for checking types before a run."""
        ...

    def attach_files(self, name: str, scan: FileScan, /) -> None:
        """Bind a name to outside files, typed; a row that cannot be typed raises when it is read."""
        ...

    def view(self, name: str, sql: str, /) -> None:
        """Bind a name to a SELECT over other bound names."""
        ...

    def describe(self, sql: str, /) -> tuple[tuple[str, str], ...]:
        """Give the (name, type) columns that *sql* would answer, without running it.

        Raises:
            QueryInvalid: the SQL does not bind; the message is the engine's own, with line and column.
        """
        ...

    def stream(self, sql: str, /, *, batch_rows: int = 65_536) -> pa.RecordBatchReader:
        """Run a SELECT; memory holds a few batches, not the answer."""
        ...

    def row(self, sql: str, /) -> tuple[object, ...]:
        """Run a SELECT that answers exactly one row (aggregates), as Python values."""
        ...

    def write(
        self,
        sql: str,
        /,
        into: Store,
        *,
        prefix: str,
        partition_by: Sequence[str] = (),
        file_bytes_target: int = 256 * MiB,
    ) -> Written:
        """Run a SELECT into new Parquet files ``[col=value/]prefix-….parquet`` below *into*, with statistics.

        Without partitions an ORDER BY is kept to the row, across files; else rows are near the order they came in.
        A SELECT without rows makes no file. On an error, what was written is removed.
        """
        ...

    def usage(self) -> Usage:
        """What the last statement took; of a stream, once it was read to its end."""
        ...

    def progress(self) -> Progress:
        """How far the statement is that another thread is running here."""
        ...

    def cancel(self) -> None:
        """Stop the running statement; it raises QueryCancelled. Safe from any thread."""
        ...

    def close(self) -> None:
        """Free memory and remove temporary files."""
        ...

    def __enter__(self) -> Self:
        """Use as a context manager: closes at the end."""
        ...

    def __exit__(self, *exc: object) -> None:
        """Close."""
        ...


class Engine(Protocol):
    """Where SQL runs."""

    @property
    def name(self) -> str:
        """``duckdb`` or ``spark``."""
        ...

    def session(self, limits: EngineLimits | None = None) -> Session:
        """Open a session with nothing bound."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedQuery:
    """A user's statement by the engine's own parser, for the reading door's gate."""

    kind: str
    """SELECT, INSERT, COPY, ...: as the parser says."""
    tree: Mapping[str, object] = field(hash=False)
    """The serialised tree; empty for statements that are not a SELECT."""
