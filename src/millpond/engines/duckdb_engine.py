"""DuckDB behind the engines' seam: sessions that bind names to data, run SQL, and write Parquet.

Owns DuckDB's connection and its settings. Never knows what a table means, and never reads a row in Python.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
import tempfile
import threading
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Self

import duckdb
import pyarrow as pa
from sqlglot import exp

from millpond.engines.cache import FileCache
from millpond.engines.duckdb_errors import translate
from millpond.engines.duckdb_parse import is_ordered, one_select
from millpond.engines.duckdb_scan import empty_select, snapshot_select, unread_select
from millpond.engines.duckdb_write import (
    Target,
    check_writable,
    checked_prefix,
    copy_statement,
    remove_files,
    split_statements,
    sync,
    written_files,
)
from millpond.engines.errors import QueryCancelled, QueryFailed, QueryInvalid
from millpond.engines.files import attached_select
from millpond.engines.spec import EngineLimits, FileScan, Progress, Usage, Written
from millpond.kernel import MiB, MillpondError, Store
from millpond.lake import Snapshot

_DIALECT: Final = "duckdb"
_METRICS: Final = "[system.peak_buffer_memory, system.peak_temp_dir_size, io.*, query.total_time]"
_INTERRUPT_AGAIN_S: Final = 0.02


class DuckDBEngine:
    """DuckDB in this process."""

    @property
    def name(self) -> str:
        """``duckdb``."""
        return "duckdb"

    def session(self, limits: EngineLimits | None = None) -> DuckDBSession:
        """Open a session with nothing bound; its memory is its own. Takes 10 to 20 ms."""
        return DuckDBSession(limits or EngineLimits())


class DuckDBSession:
    """One DuckDB database in memory: views over data, statements over views."""

    def __init__(self, limits: EngineLimits) -> None:
        """Open with *limits*; close it, or use it in ``with``, so that its temporary files go."""
        self._limits = limits
        self._own = Path(tempfile.mkdtemp(prefix="millpond-"))
        self._spill = Path(limits.spill_dir or self._own).absolute() / f"spill-{secrets.token_hex(6)}"
        self._cache = FileCache(
            Path(limits.cache_dir or self._own / "cache").absolute(), bytes_max=limits.cache_bytes_max
        )
        self._spill.parent.mkdir(parents=True, exist_ok=True)
        self._con = _connect(limits, self._spill)
        self._observer = self._con.cursor()
        self._lock = threading.Lock()
        self._statement = 0
        self._busy = False
        self._cancelled = False
        self._stream: tuple[Generator[pa.RecordBatch, None, None], pa.RecordBatchReader] | None = None
        self._usage = Usage()
        self._unread: dict[str, Snapshot] = {}
        self._views: dict[str, str] = {}
        self._registered: dict[str, str] = {}

    def attach(self, name: str, source: Snapshot | pa.Table | pa.RecordBatchReader, /) -> None:
        """Bind a name to data, lazily: files of an object store come when a statement needs them."""
        self._forget(name)
        if not isinstance(source, Snapshot):
            alias = f"_mp_arrow_{secrets.token_hex(6)}"
            with self._running():
                self._con.register(alias, source)
            self._registered[name] = alias
            star = exp.select("*").from_(exp.to_identifier(alias, quoted=True))
            self._bind(name, star.sql(_DIALECT))
        elif source.store.is_local or not source.files:
            self._bind(name, snapshot_select(source, [source.store.uri_of(file.path) for file in source.files]))
        else:
            self._bind(name, unread_select(source.schema.columns, name))
            self._unread[name] = source

    def attach_empty(self, name: str, columns: Sequence[tuple[str, str]], /) -> None:
        """Bind a name to a relation with these (name, type) columns and no rows."""
        self._forget(name)
        self._bind(name, empty_select(columns))

    def attach_files(self, name: str, scan: FileScan, /) -> None:
        """Bind a name to outside files, typed; a row that cannot be typed raises when it is read."""
        with self._running():
            select = attached_select(self._con, scan)
        self._forget(name)
        self._bind(name, select)

    def view(self, name: str, sql: str, /) -> None:
        """Bind a name to a SELECT over other bound names.

        Raises:
            QueryInvalid: it does not bind.
        """
        select = one_select(self._con, sql)
        self._forget(name)
        self._bind(name, select)
        self._views[name] = select

    def secure_view(self, name: str, sql: str, /) -> None:
        """Bind a name to a SELECT whose hidden rows nothing outside can reach; comparisons with constants still prune.

        Raises:
            QueryInvalid: it does not bind.
        """
        select = one_select(self._con, sql)
        self._forget(name)
        self._bind(name, select, secure=True)
        self._views[name] = select

    def describe(self, sql: str, /) -> tuple[tuple[str, str], ...]:
        """Give the (name, type) columns that *sql* would answer, without running it.

        Raises:
            QueryInvalid: the SQL does not bind; the message is the engine's own, with line and column.
        """
        return self._describe(one_select(self._con, sql))

    def stream(self, sql: str, /, *, batch_rows: int = 65_536) -> pa.RecordBatchReader:
        """Run a SELECT; memory holds a few batches, not the answer.

        The next statement closes the stream. Errors come here or while it is read, as the same classes.
        """
        select = one_select(self._con, sql)
        self._begin(select)
        try:
            reader = self._con.sql(select).to_arrow_reader(batch_rows)
        except BaseException as error:
            cancelled = self._end()
            if isinstance(error, duckdb.Error | OSError):
                raise self._located(self._translated(error, cancelled=cancelled), select) from None
            raise
        batches = self._batches(reader)
        self._stream = batches, reader
        return pa.RecordBatchReader.from_batches(reader.schema, batches)

    def row(self, sql: str, /) -> tuple[object, ...]:
        """Run a SELECT that answers exactly one row, as Python values.

        Raises:
            QueryFailed: it answers none, or several.
        """
        select = one_select(self._con, sql)
        with self._running(select):
            rows = self._con.execute(select).fetchmany(2)
            self._con.abort()
            self._measure(len(rows))
        if len(rows) != 1:
            count = "no row" if not rows else "more than one row"
            raise QueryFailed(f"{count} where exactly one is wanted", kind="shape")
        row: tuple[object, ...] = rows[0]
        return row

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
        """Run a SELECT into new Parquet files ``[col=value/]part-<prefix>-….parquet`` below *into*, with statistics.

        Without partitions an ORDER BY is kept to the row, across files; else rows are near the order they came in.
        Files are on stable storage when this returns. On an error, a cancel or Ctrl-C what was written is removed.

        Raises:
            QueryInvalid: the SQL does not bind, or its columns cannot be written.
            QueryFailed: a value cannot be computed.
            QueryCancelled: by ``cancel``.
            DiskFull: no room for the files, or for intermediate results.
            EngineOutOfMemory: it does not fit even after spilling.
        """
        name = f"part-{checked_prefix(prefix)}-{secrets.token_hex(5)}"
        select = one_select(self._con, sql)
        check_writable(self._describe(select), partition_by)
        folder = Path(into.uri) if into.is_local else self._own / name
        folder.mkdir(parents=True, exist_ok=True)
        target = Target(
            folder=folder,
            name=name,
            partition_by=partition_by,
            file_bytes=file_bytes_target,
            ordered=not partition_by and is_ordered(self._con, select),
        )
        try:
            return self._write(select, into, target)
        except BaseException:
            remove_files(folder, name)
            raise
        finally:
            if not into.is_local:
                shutil.rmtree(folder, ignore_errors=True)

    def usage(self) -> Usage:
        """What the last statement took; of a stream, once it was read to its end."""
        return self._usage

    def progress(self) -> Progress:
        """How far the statement is that another thread is running here."""
        percent = self._con.query_progress()
        memory = None
        with self._lock, contextlib.suppress(duckdb.Error):
            told = self._observer.execute("SELECT sum(memory_usage_bytes) FROM duckdb_memory()").fetchone()
            memory = int(told[0]) if told else None
        return Progress(fraction=None if percent < 0 else min(percent / 100, 1.0), memory_bytes=memory)

    def cancel(self) -> None:
        """Stop the running statement; it raises QueryCancelled. Safe from any thread; nothing runs, nothing happens."""
        with self._lock:
            if not self._busy or self._cancelled:
                return
            self._cancelled = True
            self._con.interrupt()
            statement = self._statement
        threading.Thread(target=self._interrupt_until_done, args=(statement,), daemon=True).start()

    def close(self) -> None:
        """Free memory and remove temporary files. Closing twice is fine."""
        self._close_stream()
        self._observer.close()
        self._con.close()
        shutil.rmtree(self._spill, ignore_errors=True)
        shutil.rmtree(self._own, ignore_errors=True)

    def __enter__(self) -> Self:
        """Use as a context manager: closes at the end."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close."""
        self.close()

    def _relation(self, name: str) -> str:
        """Quote ``schema.table`` or ``table``."""
        schema, dot, table = name.partition(".")
        parts = [schema, table] if dot else [name]
        return ".".join(exp.to_identifier(part, quoted=True).sql(_DIALECT) for part in parts)

    def _bind(self, name: str, select: str, *, secure: bool = False) -> None:
        schema, dot, _ = name.partition(".")
        with self._running(line_offset=1):
            if dot:
                self._con.execute(f"CREATE SCHEMA IF NOT EXISTS {self._relation(schema)}")
            kind = "SECURE VIEW" if secure else "VIEW"
            self._con.execute(f"CREATE OR REPLACE {kind} {self._relation(name)} AS\n{select}")

    def _forget(self, name: str) -> None:
        self._unread.pop(name, None)
        self._views.pop(name, None)
        alias = self._registered.pop(name, None)
        if alias is not None:
            with self._running():
                self._con.unregister(alias)

    def _fetch(self, sql: str) -> None:
        """Download what *sql*, or a view it names, may read. A name that merely occurs in the text counts."""
        if not self._unread:
            return
        text = sql.casefold()
        waiting = dict(self._views)
        while named := [name for name in waiting if name.rpartition(".")[2].casefold() in text]:
            text += "".join(waiting.pop(name).casefold() for name in named)
        for name in [name for name in self._unread if name.rpartition(".")[2].casefold() in text]:
            snapshot = self._unread[name]
            select = snapshot_select(snapshot, self._cache.fetch(snapshot.store, snapshot.files))
            self._con.execute(f"CREATE OR REPLACE VIEW {self._relation(name)} AS {select}")
            del self._unread[name]

    def _describe(self, select: str) -> tuple[tuple[str, str], ...]:
        with self._running(line_offset=1):
            rows = self._con.execute(f"DESCRIBE (\n{select}\n)").fetchall()
        return tuple((str(row[0]), str(row[1])) for row in rows)

    def _write(self, select: str, into: Store, target: Target) -> Written:
        with self._running(select, line_offset=1):
            files = written_files(self._con.execute(copy_statement(select, target)).fetchall(), target.folder)
            rows, size = sum(file.rows for file in files), sum(file.size for file in files)
            self._measure(rows)
            if len(files) == 1 and (parts := split_statements(target, files[0])):
                told = [row for part in parts for row in self._con.execute(part).fetchall()]
                (target.folder / files[0].path).unlink()
                files = written_files(told, target.folder)
                size = sum(file.size for file in files)
            if into.is_local:
                sync(target.folder, files)
            else:
                self._upload(into, target.folder, [file.path for file in files])
            self._stop_if_cancelled()
        self._usage = replace(self._usage, bytes_written=size)
        return Written(files=files, rows=rows, bytes=size)

    def _upload(self, into: Store, folder: Path, paths: Sequence[str]) -> None:
        done: list[str] = []
        try:
            for path in paths:
                self._stop_if_cancelled()
                done.append(path)
                into.upload(folder / path, path)
                (folder / path).unlink()
            self._stop_if_cancelled()
        except BaseException:
            into.delete(done)
            raise

    def _stop_if_cancelled(self) -> None:
        if self._cancelled:
            raise QueryCancelled

    def _batches(self, reader: pa.RecordBatchReader) -> Generator[pa.RecordBatch, None, None]:
        rows = 0
        try:
            while True:
                try:
                    batch = reader.read_next_batch()
                except StopIteration:
                    self._measure(rows)
                    return
                except (OSError, pa.ArrowException) as error:
                    raise self._translated(error, cancelled=self._cancelled) from None
                rows += batch.num_rows
                yield batch
        finally:
            self._stream = None
            reader.close()
            self._end()

    def _close_stream(self) -> None:
        if self._stream is None:
            return
        (batches, reader), self._stream = self._stream, None
        batches.close()
        reader.close()  # a generator that never began closes nothing
        self._end()

    def _begin(self, sql: str = "") -> None:
        self._close_stream()
        with self._lock:
            self._statement += 1
            self._busy, self._cancelled = True, False
        try:
            self._fetch(sql)
        except BaseException:
            self._end()
            raise

    def _end(self) -> bool:
        """Note that nothing runs; tell whether it was to be stopped."""
        with self._lock:
            self._busy = False
            return self._cancelled

    @contextlib.contextmanager
    def _running(self, sql: str = "", *, line_offset: int = 0) -> Iterator[None]:
        """Around every call of DuckDB: what it raises becomes ours, and ``cancel`` knows that something runs."""
        self._begin(sql)
        try:
            yield
        except duckdb.Error as error:
            ours = self._translated(error, cancelled=self._cancelled, line_offset=line_offset)
        else:
            return
        finally:
            self._end()
        raise self._located(ours, sql) from None

    def _translated(self, error: BaseException, *, cancelled: bool, line_offset: int = 0) -> MillpondError:
        return translate(
            error,
            memory_bytes_max=self._limits.memory_bytes_max,
            line_offset=line_offset,
            cancelled=cancelled,
        )

    def _located(self, error: MillpondError, select: str) -> MillpondError:
        """Ask DESCRIBE where *select* is wrong: other statements do not tell, or count lines after cutting comments."""
        if select and isinstance(error, QueryInvalid):
            try:
                self._describe(select)
            except MillpondError as located:
                return located
        return error

    def _measure(self, rows: int) -> None:
        with contextlib.suppress(duckdb.Error, ValueError):
            told: dict[str, dict[str, Any]] = json.loads(self._con.get_profiling_information())
            system, io, query = (told.get(part, {}) for part in ("system", "io", "query"))
            self._usage = Usage(
                rows=rows,
                bytes_read=int(io.get("total_bytes_read", 0)),
                memory_bytes_peak=int(system.get("peak_buffer_memory", 0)),
                spill_bytes_peak=int(system.get("peak_temp_dir_size", 0)),
                seconds=float(query.get("total_time", 0.0)),
            )

    def _interrupt_until_done(self, statement: int) -> None:
        """An interrupt between two steps of a statement is lost on DuckDB, so it is given until one hits."""
        pause = threading.Event()
        while not pause.wait(_INTERRUPT_AGAIN_S):
            with self._lock:
                if not self._busy or self._statement != statement:
                    return
                self._con.interrupt()


def _connect(limits: EngineLimits, spill: Path) -> duckdb.DuckDBPyConnection:
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": f"{limits.memory_bytes_max}B",
        "temp_directory": str(spill),
        "autoload_known_extensions": False,
        "autoinstall_known_extensions": False,
        "allow_community_extensions": False,
        "allow_persistent_secrets": False,
        "python_enable_replacements": False,
    }
    if limits.threads is not None:
        config["threads"] = limits.threads
    connection = duckdb.connect(config=config)
    settings = [
        ("TimeZone", "UTC"),
        ("enable_progress_bar", "true"),
        ("enable_progress_bar_print", "false"),
        ("enable_profiling", "no_output"),
        ("profiling_coverage", "ALL"),
        ("tracked_metrics", _METRICS),
    ]
    if limits.spill_bytes_max is not None:  # ignored without an error when given to connect
        settings.append(("max_temp_directory_size", f"{limits.spill_bytes_max}B"))
    for setting, value in settings:
        connection.execute(f"SET {setting} = {exp.Literal.string(value).sql(_DIALECT)}")
    return connection
