"""What every engine does the same."""

from __future__ import annotations

import datetime as dt
import pickle
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from engines.tables import rows, snapshot
from millpond.engines import EngineLimits, QueryFailed, QueryInvalid, Session
from millpond.kernel import MiB, Store
from millpond.lake import ColumnStats, inspect

NAMES = [None, "", "NULL", "__HIVE_DEFAULT_PARTITION__", "a b", "a~20b", "50% / x=y?#&+é", "../up", 'it\'s "q"', " "]


def test_an_answer_streams_in_batches(session: Session) -> None:
    """A SELECT of many rows comes in batches near the size asked for, in order."""
    batches = list(session.stream("SELECT range AS n FROM range(300000)", batch_rows=10_000))
    assert len(batches) > 10
    assert max(len(batch) for batch in batches) <= 20_000
    assert pa.Table.from_batches(batches)["n"].to_pylist() == list(range(300_000))
    assert session.usage().rows == 300_000


def test_arrow_and_views_are_read_by_name(session: Session) -> None:
    """Arrow tables, streams, empty relations and views over them answer under their two-part names."""
    session.attach("shop.orders", pa.table({"id": [1, 2], "total": [5, 7]}))
    session.attach("late", pa.table({"id": [3], "total": [1]}).to_reader())
    session.attach_empty("shop.none", [("id", "BIGINT"), ("total", "DECIMAL(10,2)")])
    session.view("shop.both", "SELECT * FROM shop.orders UNION ALL SELECT * FROM shop.none;  -- and that is all")
    assert session.describe("FROM shop.both") == (("id", "BIGINT"), ("total", "DECIMAL(21,2)"))
    assert session.row("SELECT count(*), sum(total)::INTEGER FROM shop.both") == (2, 12)
    assert session.row("SELECT total FROM late") == (1,)


def test_a_name_bound_again_is_the_new_data(session: Session) -> None:
    """Binding a name a second time replaces what it means, whatever it was before."""
    session.attach("a.t", pa.table({"x": [1]}))
    session.view("a.v", "SELECT x FROM a.t")
    session.attach("a.t", pa.table({"x": [2]}))
    assert session.row("SELECT x FROM a.v") == (2,)
    session.view("a.t", "SELECT 3::BIGINT AS x")
    assert session.row("SELECT x FROM a.v") == (3,)


def test_what_is_written_is_read_back(session: Session, store: Store) -> None:
    """Values of every storable kind survive a write and a read, with count, size and statistics as told."""
    columns = (
        ("i", "INTEGER"), ("b", "BIGINT"), ("d", "DECIMAL(18,2)"), ("f", "DOUBLE"), ("s", "VARCHAR"), ("t", "BOOLEAN"),
        ("day", "DATE"), ("at", "TIMESTAMP"), ("tz", "TIMESTAMP WITH TIME ZONE"), ("raw", "BLOB"),
        ("st", 'STRUCT(a INTEGER, "b c" VARCHAR)'), ("l", "INTEGER[]"), ("m", "MAP(VARCHAR, INTEGER)"),
        ('odd "na"me', "VARCHAR"),
    )  # fmt: skip
    sql = """SELECT -1::INTEGER AS i, 9007199254740993::BIGINT AS b, 1.5::DECIMAL(18,2) AS d, 0.1::DOUBLE AS f,
        'é\\n''"' AS s, TRUE AS t, DATE '2013-01-01' AS day, TIMESTAMP '2013-01-01 05:15:00.000001' AS at,
        TIMESTAMPTZ '2013-01-01 05:15:00+02' AS tz, '\\xFF\\x00'::BLOB AS raw, {'a': 1, 'b c': 'x'} AS st,
        [1, NULL] AS l, MAP {'k': 1} AS m, 'z' AS "odd ""na""me" """
    written = session.write(f"{sql} UNION ALL BY NAME SELECT NULL::INTEGER AS i", store, prefix="run-1")
    (file,) = written.files
    assert (written.rows, file.rows, written.bytes) == (2, 2, Path(store.uri, file.path).stat().st_size)
    assert file.stats["b"] == ColumnStats("9007199254740993", "9007199254740993", 1)
    assert file.stats["day"] == ColumnStats("2013-01-01", "2013-01-01", 1)
    assert file.stats["tz"].min == "2013-01-01 03:15:00+00"
    assert file.stats["st"].nulls == 1
    session.attach("t", snapshot(store, columns, written))
    assert session.describe("FROM t") == columns
    found = rows(session, "SELECT * FROM t ORDER BY i NULLS LAST")
    assert found[0][:9] == (
        -1, 9007199254740993, Decimal("1.50"), 0.1, "é\\n'\"", True, dt.date(2013, 1, 1),
        dt.datetime.fromisoformat("2013-01-01 05:15:00.000001"), dt.datetime(2013, 1, 1, 3, 15, tzinfo=dt.UTC),
    )  # fmt: skip
    assert found[0][9:] == (b"\xff\x00", {"a": 1, "b c": "x"}, [1, None], [("k", 1)], "z")
    assert found[1] == (None,) * len(columns)


def test_statistics_are_those_of_the_footer(session: Session, store: Store) -> None:
    """What a write tells of its files is what a reader of the files finds in them."""
    sql = "SELECT range AS n, md5(range::VARCHAR) AS s, DATE '2013-01-01' + range::INTEGER AS d FROM range(1000)"
    (told,) = session.write(sql, store, prefix="run").files
    found = inspect(store, [told.path])[0]
    assert (found.rows, found.size) == (told.rows, told.size)
    assert {name: (s.min, s.max, s.nulls) for name, s in found.stats.items()} == {
        name: (s.min, s.max, s.nulls) for name, s in told.stats.items()
    }


def test_a_not_a_number_is_below_no_bound(session: Session, store: Store) -> None:
    """A column that holds NaN, which sorts above all numbers, has no greatest value in its statistics."""
    (file,) = session.write("SELECT unnest([1.0::DOUBLE, 'nan'::DOUBLE]) AS f", store, prefix="run").files
    assert file.stats["f"].max is None


def test_the_order_of_rows_is_kept_across_files(session: Session, store: Store) -> None:
    """Files come in the order of the SELECT, and each holds its rows in that order."""
    written = session.write(
        "SELECT range AS n, md5(range::VARCHAR) AS s FROM range(1500000) ORDER BY n DESC",
        store,
        prefix="run",
        file_bytes_target=8 * MiB,
    )
    assert len(written.files) > 2
    expected = 1_500_000
    for index, file in enumerate(written.files):
        session.attach(f"f{index}", snapshot(store, [("n", "BIGINT")], [file]))
        numbers = session.stream(f"SELECT n FROM f{index}").read_all()["n"].to_pylist()
        assert numbers == list(range(expected - 1, expected - 1 - file.rows, -1))
        expected -= file.rows
    assert expected == 0


def test_partition_values_survive_whatever_they_are(session: Session, store: Store) -> None:
    """Each partition value comes back as it was, NULL and the empty text apart, from paths without an escape."""
    table = pa.table({"n": list(range(len(NAMES))), "p": pa.array(NAMES, pa.string())})
    session.attach("src", table)
    written = session.write("SELECT n, p, n % 2 AS q FROM src", store, prefix="run", partition_by=["p", "q"])
    assert {(file.partition["p"], file.partition["q"]) for file in written.files} == {
        (name, str(number % 2)) for number, name in enumerate(NAMES)
    }
    assert not any("%" in file.path or "//" in file.path for file in written.files)
    assert all(store.stat(file.path) is not None for file in written.files)
    session.attach("t", snapshot(store, [("p", "VARCHAR"), ("n", "BIGINT"), ("q", "BIGINT")], written, ["p", "q"]))
    assert rows(session, "SELECT n, p, q FROM t ORDER BY n") == [(n, p, n % 2) for n, p in enumerate(NAMES)]
    for number, name in enumerate(NAMES):
        session.attach("one", pa.table({"wanted": pa.array([name], pa.string())}))
        assert session.row("SELECT n FROM t WHERE p IS NOT DISTINCT FROM (SELECT wanted FROM one)") == (number,)


def test_typed_partitions_prune_and_type(session: Session, store: Store) -> None:
    """A partition column has its declared type, and a condition on it reads that partition's files only."""
    sql = "SELECT range AS n, DATE '2013-01-01' + (range // 100)::INTEGER AS day FROM range(3000)"
    written = session.write(sql, store, prefix="run", partition_by=["day"])
    assert len(written.files) == 30
    session.attach("t", snapshot(store, [("n", "BIGINT"), ("day", "DATE")], written, ["day"]))
    session.row("SELECT sum(n) FROM t")
    everything = session.usage().bytes_read
    assert session.row("SELECT min(n), max(n), min(day) FROM t WHERE day = DATE '2013-01-05'") == (
        400, 499, dt.date(2013, 1, 5),
    )  # fmt: skip
    assert session.usage().bytes_read < everything / 10


def test_files_older_than_a_column_read_as_null(session: Session, store: Store) -> None:
    """Files of before a column was added or widened, or with columns in another order, read as the schema says."""
    old = session.write("SELECT 1::INTEGER AS id, 1.5::DECIMAL(8,1) AS amount, {'a': 1} AS s", store, prefix="old")
    new = session.write(
        "SELECT {'b': 'x', 'a': 2::BIGINT} AS s, 'n' AS note, 2.25::DECIMAL(18,2) AS amount, 3000000000 AS id",
        store,
        prefix="new",
    )
    columns = (("id", "BIGINT"), ("amount", "DECIMAL(18,2)"), ("s", "STRUCT(a BIGINT, b VARCHAR)"), ("note", "VARCHAR"))
    session.attach("t", snapshot(store, columns, [*old.files, *new.files]))
    assert session.describe("FROM t") == columns
    assert rows(session, "SELECT * FROM t ORDER BY id") == [
        (1, Decimal("1.50"), {"a": 1, "b": None}, None),
        (3_000_000_000, Decimal("2.25"), {"a": 2, "b": "x"}, "n"),
    ]
    assert session.row("SELECT id FROM t WHERE note IS NULL") == (1,)


def test_a_column_may_be_called_as_the_engine_calls_its_own(session: Session, store: Store) -> None:
    """Columns named like the engine's virtual ones are ordinary columns."""
    names = ("file_index", "filename", "file_row_number", "rowid")
    select = ", ".join(f'{index} + range AS "{name}"' for index, name in enumerate(names))
    written = session.write(f"SELECT {select}, range % 2 AS p FROM range(2)", store, prefix="r", partition_by=["p"])
    session.attach("t", snapshot(store, [*((name, "BIGINT") for name in names), ("p", "BIGINT")], written, ["p"]))
    assert rows(session, "SELECT * FROM t ORDER BY p") == [(0, 1, 2, 3, 0), (1, 2, 3, 4, 1)]


def test_nested_columns_may_grow(session: Session, store: Store) -> None:
    """A nested column that gained fields, or came later, reads right when statistics say nothing of it."""
    first = session.write("SELECT 1::BIGINT AS id", store, prefix="a").files
    second = session.write("SELECT 2::BIGINT AS id, {'a': 1} AS s", store, prefix="b").files
    third = session.write("SELECT 3::BIGINT AS id, {'a': 1, 'b': ['x']} AS s", store, prefix="c").files
    files = [replace(file, stats={"id": file.stats["id"]}) for file in (*first, *second, *third)]
    session.attach("t", snapshot(store, [("id", "BIGINT"), ("s", "STRUCT(a INTEGER, b VARCHAR[])")], files))
    assert rows(session, "SELECT * FROM t ORDER BY id") == [
        (1, None),
        (2, {"a": 1, "b": None}),
        (3, {"a": 1, "b": ["x"]}),
    ]


def test_a_table_without_files_is_empty_and_typed(session: Session, store: Store) -> None:
    """A snapshot of no files binds with its columns' types."""
    session.attach("p.t", snapshot(store, [("a", "DECIMAL(10,2)"), ("b", "VARCHAR[]")]))
    assert session.describe("FROM p.t") == (("a", "DECIMAL(10,2)"), ("b", "VARCHAR[]"))
    assert session.row("SELECT count(*) FROM p.t") == (0,)


@pytest.mark.parametrize("partition_by", [(), ("p",)])
def test_no_rows_make_no_file(session: Session, store: Store, partition_by: tuple[str, ...]) -> None:
    """A SELECT without rows leaves nothing behind."""
    written = session.write("SELECT 1 AS a, 2 AS p WHERE FALSE", store, prefix="run", partition_by=partition_by)
    assert (written.files, written.rows, written.bytes) == ((), 0, 0)
    assert list(store.list()) == []


@pytest.mark.parametrize("partition_by", [(), ("p",)])
def test_a_failing_write_leaves_nothing(session: Session, store: Store, partition_by: tuple[str, ...]) -> None:
    """A value that fails in the middle removes what was written of this write, and nothing else."""
    kept = session.write("SELECT 1 AS a, 1 AS p", store, prefix="run", partition_by=partition_by)
    sql = """SELECT CASE WHEN range = 1900000 THEN error('boom') ELSE md5(range::VARCHAR) END AS a, range % 3 AS p
        FROM range(2000000)"""
    with pytest.raises(QueryFailed, match="boom"):
        session.write(sql, store, prefix="run", partition_by=partition_by, file_bytes_target=MiB)
    assert [file.path for file in store.list()] == [file.path for file in kept.files]


def test_two_writes_with_one_prefix_never_collide(session: Session, store: Store) -> None:
    """Writing twice with the same prefix makes other names, all of which begin with it."""
    first = session.write("SELECT 1 AS a", store, prefix="run-7")
    second = session.write("SELECT 2 AS a", store, prefix="run-7")
    assert len({file.path for file in (*first.files, *second.files)}) == 2
    assert all(file.path.startswith("part-run-7-") for file in (*first.files, *second.files))
    with pytest.raises(ValueError, match="cannot begin"):
        session.write("SELECT 1 AS a", store, prefix="../{uuid}")


@pytest.mark.parametrize(
    ("sql", "partition_by", "reason"),
    [
        ("SELECT 1 AS a, 2 AS A", (), "twice"),
        ("SELECT 1 AS a", ("p",), '"p" is not in'),
        ("SELECT 1 AS p", ("p",), "every column"),
        ("SELECT sum(1::BIGINT) AS total", (), "HUGEINT"),
    ],
)
def test_what_would_be_written_wrongly_is_refused(
    session: Session, store: Store, sql: str, partition_by: tuple[str, ...], reason: str
) -> None:
    """Columns that a table cannot hold as they are, are told before anything is written."""
    with pytest.raises(QueryInvalid, match=reason):
        session.write(sql, store, prefix="run", partition_by=partition_by)
    assert list(store.list()) == []


@pytest.mark.parametrize("ask", ["describe", "stream", "row", "view"])
def test_invalid_sql_says_where(session: Session, ask: str) -> None:
    """Whatever is asked, SQL that does not bind says why, in which line and column of the user's text."""
    sql = "-- a comment\nSELECT 1 AS ok,\n       nope FROM range(1)"
    with pytest.raises(QueryInvalid, match="nope") as caught:
        session.view("v", sql) if ask == "view" else getattr(session, ask)(sql)
    assert (caught.value.line, caught.value.column) == (3, 8)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize("ask", ["describe", "stream", "row", "write", "view"])
@pytest.mark.parametrize(
    "sql", ["DROP VIEW v", "SELECT 1; SELECT 2", "", "SELECT 1) TO '/tmp/x' --", "SET threads = 1"]
)
def test_only_one_select_is_run(session: Session, store: Store, ask: str, sql: str) -> None:
    """Nothing but one SELECT passes, alone or by breaking out of the statement it is put in."""
    calls = {"view": lambda: session.view("w", sql), "write": lambda: session.write(sql, store, prefix="run")}
    with pytest.raises(QueryInvalid):
        calls.get(ask, lambda: getattr(session, ask)(sql))()


def test_bad_values_fail_with_their_reason(session: Session) -> None:
    """A value that does not fit fails by the same class in a row, in a stream and in the middle of a stream."""
    with pytest.raises(QueryFailed, match="'x'") as caught:
        session.row("SELECT 'x'::INTEGER")
    assert caught.value.kind == "conversion"
    late = "SELECT CASE WHEN range = 900000 THEN 'x' ELSE '1' END::INTEGER AS n FROM range(1000000)"
    with pytest.raises(QueryFailed, match="'x'"):
        session.stream(late, batch_rows=1000).read_all()
    assert session.row("SELECT 1") == (1,)


@pytest.mark.parametrize(("sql", "count"), [("SELECT 1 WHERE FALSE", "no row"), ("FROM range(9)", "more than one")])
def test_one_row_is_exactly_one(session: Session, sql: str, count: str) -> None:
    """Asking for one row refuses none and several, and leaves the session usable."""
    with pytest.raises(QueryFailed, match=count):
        session.row(sql)
    assert session.row("SELECT 1") == (1,)


def test_a_stream_left_unread_does_not_block(session: Session) -> None:
    """The next statement runs whether a stream was never begun, half read, or dropped."""
    for batches in (0, 1):
        stream = session.stream("SELECT a.range AS a, b.range AS b FROM range(100000) a, range(100000) b")
        for _ in range(batches):
            stream.read_next_batch()
        assert session.row("SELECT 1") == (1,)
    session.stream("SELECT range FROM range(1000000)").read_next_batch()
    assert session.row("SELECT 2") == (2,)


def test_closing_removes_temporary_files(engine: object, tmp_path: Path) -> None:
    """A closed session leaves its spill folder as it found it."""
    opened = engine.session(EngineLimits(spill_dir=str(tmp_path), memory_bytes_max=64 * MiB, threads=1))  # type: ignore[attr-defined]
    with opened:
        opened.row(
            "SELECT count(*) FROM (SELECT md5(range::VARCHAR) AS s FROM range(3000000) ORDER BY s LIMIT 2900000)"
        )
        assert opened.usage().spill_bytes_peak > 0
    assert list(tmp_path.iterdir()) == []
    opened.close()
