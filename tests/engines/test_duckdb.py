"""What DuckDB's quirks must not change: limits, cancelling, crashes, settings."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from engines.tables import snapshot
from millpond.engines import (
    DiskFull,
    DuckDBEngine,
    DuckDBSession,
    EngineLimits,
    EngineOutOfMemory,
    QueryCancelled,
    QueryFailed,
    QueryInvalid,
)
from millpond.engines.duckdb_errors import translate
from millpond.kernel import MiB, Store

ENDLESS = "SELECT a.range AS a, md5(b.range::VARCHAR) AS b FROM range(1000000) a, range(1000000) b"
LARGE_SORT = "SELECT md5(range::VARCHAR) AS s, md5((range + 1)::VARCHAR) AS t FROM range(2000000) ORDER BY s"
CRASHING = """
import sys
from millpond.engines import DuckDBEngine
from millpond.kernel import Store
print("up", flush=True)
DuckDBEngine().session().write(sys.argv[2], Store(sys.argv[1]), prefix="run-9", file_bytes_target=1_000_000)
"""


def _cancel_when_busy(session: DuckDBSession, after_s: float) -> list[float]:
    """Cancel from another thread after a while, noting when."""
    at: list[float] = []

    def cancel() -> None:
        time.sleep(after_s)
        at.append(time.monotonic())
        session.cancel()

    threading.Thread(target=cancel, daemon=True).start()
    return at


def _ask(session: DuckDBSession, ask: str, store: Store) -> None:
    """Run what never ends, in one of the ways there are."""
    if ask == "row":
        session.row(f"SELECT count(*) FROM ({ENDLESS}) WHERE hash(a, b) = 1")
    elif ask == "stream":
        for _ in session.stream(ENDLESS):
            pass
    else:
        session.write(ENDLESS + (" ORDER BY b" if ask == "sort" else ""), store, prefix="run")


@pytest.mark.parametrize("ask", ["row", "stream", "write", "sort"])
def test_a_cancelled_statement_returns_at_once(store: Store, ask: str) -> None:
    """A cancel from another thread ends any statement within a second, leaves no file, and the session works on."""
    with DuckDBEngine().session(EngineLimits(memory_bytes_max=512 * MiB)) as session:
        at = _cancel_when_busy(session, 0.5)
        with pytest.raises(QueryCancelled):
            _ask(session, ask, store)
        assert time.monotonic() - at[0] < 1
        assert list(store.list()) == []
        assert session.row("SELECT 1") == (1,)


def test_a_cancel_without_a_statement_does_nothing() -> None:
    """Cancelling an idle session does not touch the statement that comes after."""
    with DuckDBEngine().session() as session:
        session.cancel()
        assert session.row("SELECT 1") == (1,)


def test_a_cancel_at_any_moment_counts_once() -> None:
    """A cancel that falls between two steps of a statement still ends it, and never the next one."""
    with DuckDBEngine().session() as session:
        for step in range(25):
            started = threading.Event()

            def cancel(started: threading.Event = started, after_s: float = step / 5000) -> None:
                started.wait()
                time.sleep(after_s)
                while not session._busy:
                    time.sleep(0)
                session.cancel()

            other = threading.Thread(target=cancel)
            other.start()
            started.set()
            with pytest.raises(QueryCancelled):
                session.row(f"SELECT count(*) FROM ({ENDLESS}) WHERE hash(a, b) = 1")
            other.join()
            assert session.row("SELECT 1") == (1,)


def test_progress_is_told_while_a_statement_runs() -> None:
    """Another thread sees how far a scan is, and its memory; nothing is told of an idle session."""
    seen: list[float] = []
    with DuckDBEngine().session(EngineLimits(threads=1)) as session:
        session.attach("t", pa.table({"n": range(1_000_000)}))
        done = threading.Event()

        def watch() -> None:
            while not done.wait(0.02):
                progress = session.progress()
                assert progress.memory_bytes is not None
                if progress.fraction:
                    seen.append(progress.fraction)

        watcher = threading.Thread(target=watch)
        watcher.start()
        session.row("SELECT sum(length(md5(md5(md5(n::VARCHAR))))) FROM t")
        done.set()
        watcher.join()
        assert session.progress().fraction is None
    assert all(0 < fraction <= 1 for fraction in seen)


def test_a_killed_write_leaves_only_files_of_its_run(store: Store, tmp_path: Path) -> None:
    """After kill -9 every file in the table's folder carries the run's prefix, so that a sweep finds it."""
    for sql in (ENDLESS, ENDLESS.replace("1000000) a", "400000) a") + " ORDER BY a LIMIT 3000000"):
        environment = {**os.environ, "TMPDIR": str(tmp_path)}
        command = [sys.executable, "-c", CRASHING, store.uri, sql]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        deadline = time.monotonic() + 20
        while not list(store.list()) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        names = [file.path for file in store.list()]
        assert names
        assert all(name.startswith("part-run-9-") for name in names)


def test_a_large_sort_spills_below_its_limit(store: Store, tmp_path: Path) -> None:
    """A sort several times larger than its memory is written by spilling, in order."""
    limits = EngineLimits(memory_bytes_max=128 * MiB, threads=2, spill_dir=str(tmp_path / "spill"))
    with DuckDBEngine().session(limits) as session:
        written = session.write(LARGE_SORT, store, prefix="run", file_bytes_target=20 * MiB)
        usage = session.usage()
        assert (written.rows, usage.rows, usage.bytes_written) == (2_000_000, 2_000_000, written.bytes)
        assert usage.spill_bytes_peak > 100 * MiB
        assert usage.memory_bytes_peak < 144 * MiB
        session.attach("t", snapshot(store, [("s", "VARCHAR")], written))
        assert session.row("SELECT count(*) FROM (SELECT s < lag(s) OVER () AS down FROM t) WHERE down") == (0,)


def test_no_room_is_told_as_such(store: Store) -> None:
    """Memory that cannot spill, and a spill that may not grow, name the limits to raise."""
    with (
        DuckDBEngine().session(EngineLimits(memory_bytes_max=48 * MiB, threads=1)) as session,
        pytest.raises(EngineOutOfMemory, match=r"48 MiB.*\n.*memory") as caught,
    ):
        session.row("SELECT list(md5(range::VARCHAR)) FROM range(5000000)")
    assert caught.value.memory_bytes_max == 48 * MiB
    tight = EngineLimits(memory_bytes_max=64 * MiB, threads=1, spill_bytes_max=16 * MiB)
    with DuckDBEngine().session(tight) as session, pytest.raises(DiskFull, match="16"):
        session.write(LARGE_SORT, store, prefix="run")
    assert list(store.list()) == []
    with pytest.raises(duckdb.IOException) as caught_full, duckdb.connect() as connection:
        connection.execute("COPY (SELECT md5(range::VARCHAR) FROM range(3000000)) TO '/dev/full' (FORMAT csv)")
    assert isinstance(translate(caught_full.value), DiskFull)


def test_a_lost_file_is_told(store: Store) -> None:
    """A data file that is gone is named."""
    with DuckDBEngine().session() as session:
        written = session.write("SELECT 1 AS a", store, prefix="run")
        session.attach("t", snapshot(store, [("a", "INTEGER")], written))
        store.delete([written.files[0].path])
        with pytest.raises(QueryFailed, match="part-run") as caught:
            session.row("SELECT a FROM t")
    assert caught.value.kind == "io"


def test_times_are_in_utc_whatever_the_machine_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's time zone changes no answer."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        with DuckDBEngine().session() as session:
            assert session.row("SELECT TIMESTAMPTZ '2013-01-01 00:00:00'::VARCHAR") == ("2013-01-01 00:00:00+00",)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_nothing_comes_from_the_program_or_the_network() -> None:
    """SQL sees no Python variable, and no extension is fetched for a URL."""
    hidden = pa.table({"a": [1]})
    with DuckDBEngine().session() as session:
        with pytest.raises(QueryInvalid, match="hidden"):
            session.row("SELECT a FROM hidden")
        with pytest.raises((QueryInvalid, QueryFailed)):
            session.row("SELECT * FROM read_parquet('https://127.0.0.1:9/x.parquet')")
    assert hidden.num_rows == 1


def test_two_thousand_files_bind_quickly(store: Store) -> None:
    """A table of 2,000 files takes well under a second to bind and to describe."""
    sql = "SELECT range AS n, range // 10 AS p FROM range(20000)"
    with DuckDBEngine().session() as session:
        written = session.write(sql, store, prefix="run", partition_by=["p"])
        assert len(written.files) == 2000
        table = snapshot(store, [("n", "BIGINT"), ("p", "BIGINT")], written, ["p"])
        started = time.monotonic()
        session.attach("a.t", table)
        assert session.describe("SELECT n, p FROM a.t WHERE p = 7") == (("n", "BIGINT"), ("p", "BIGINT"))
        assert time.monotonic() - started < 1
        assert session.row("SELECT min(n), max(n), count(*) FROM a.t WHERE p = 7") == (70, 79, 10)
