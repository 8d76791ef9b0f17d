"""Replacing parts of a table: each builder against the plain-Python meaning of its words."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engines.tables import Row, rows, snapshot
from millpond.engines import (
    INCOMING,
    TARGET,
    DuckDBEngine,
    DuckDBSession,
    Rewrite,
    append,
    merge_by_key,
    replace_all,
    replace_partitions,
    replace_range,
)
from millpond.kernel import Store
from millpond.lake import ColumnStats, DataFile, Snapshot, TableSchema

COLUMNS = (("id", "BIGINT"), ("part", "VARCHAR"), ("day", "DATE"), ("v", "VARCHAR"))
ARROW = pa.schema([("id", pa.int64()), ("part", pa.string()), ("day", pa.date32()), ("v", pa.string())])
DAYS = [dt.date(2013, 1, day) for day in range(1, 7)]

a_row = st.tuples(
    st.one_of(st.none(), st.integers(0, 4)),
    st.sampled_from([None, "a", "b c", ""]),
    st.one_of(st.none(), st.sampled_from(DAYS)),
    st.sampled_from([None, "x", "y"]),
)
batches = st.lists(st.lists(a_row, max_size=6), max_size=4)
few = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def duck() -> Iterator[DuckDBSession]:
    """One session for all examples."""
    with DuckDBEngine().session() as session:
        yield session


class Table:
    """A table in a temporary folder, changed by rewrites as the lake would."""

    def __init__(self, session: DuckDBSession, folder: str, partition_by: Sequence[str] = ()) -> None:
        self.session = session
        self.now = snapshot(Store(folder), COLUMNS, partition_by=partition_by)

    @property
    def schema(self) -> TableSchema:
        """Its columns."""
        return self.now.schema

    def bring(self, incoming: Sequence[Row]) -> None:
        """Bind the incoming rows, their columns in another order."""
        data = pa.Table.from_pylist([dict(zip(ARROW.names, row, strict=True)) for row in incoming], ARROW)
        self.session.attach(INCOMING, data.select(["v", "day", "part", "id"]))

    def apply(self, rewrite: Rewrite) -> None:
        """Run a rewrite, and commit it."""
        assert set(rewrite.keep.files) <= set(rewrite.removes)
        self.session.attach(TARGET, rewrite.keep)
        partition_by = self.schema.partition_by
        written = self.session.write(rewrite.sql, self.now.store, prefix="run", partition_by=partition_by)
        self.now = self.now.changed(adds=written.files, removes=rewrite.removes)

    def rows(self) -> list[Row]:
        """All rows, sorted."""
        self.session.attach("whole", self.now)
        return by_repr(rows(self.session, "SELECT id, part, day, v FROM whole"))


def by_repr(of: Sequence[Row]) -> list[Row]:
    """Sort rows that hold None."""
    return sorted(of, key=repr)


def _filled(session: DuckDBSession, folder: str, stored: Sequence[Sequence[Row]], by: Sequence[str] = ()) -> Table:
    table = Table(session, folder, by)
    for batch in stored:
        table.bring(batch)
        table.apply(append(table.now, schema=table.schema))
    return table


@few
@given(stored=batches, incoming=st.lists(a_row, max_size=6))
def test_append_and_replace_all(duck: DuckDBSession, stored: list[list[Row]], incoming: list[Row]) -> None:
    """Appending adds the rows; replacing all leaves the incoming ones only."""
    with tempfile.TemporaryDirectory() as folder:
        table = _filled(duck, folder, stored)
        assert table.rows() == by_repr([row for batch in stored for row in batch])
        table.bring(incoming)
        table.apply(replace_all(table.now, schema=table.schema))
        assert table.rows() == by_repr(incoming)


@few
@given(stored=batches, incoming=st.lists(a_row, max_size=6), low=st.sampled_from(DAYS), high=st.sampled_from(DAYS))
@pytest.mark.parametrize("by", [(), ("day",), ("part",)])
def test_replacing_a_range_is_delete_and_insert(
    duck: DuckDBSession, by: Sequence[str], stored: list[list[Row]], incoming: list[Row], low: dt.date, high: dt.date
) -> None:
    """Rows in the range go, whatever file they are in; others, and rows without a time, stay; incoming rows come."""
    fresh = [row for row in incoming if isinstance(row[2], dt.date) and low <= row[2] < high]
    with tempfile.TemporaryDirectory() as folder:
        table = _filled(duck, folder, stored, by)
        table.bring(fresh)
        table.apply(
            replace_range(table.now, schema=table.schema, column="day", low=low.isoformat(), high=high.isoformat())
        )
        kept = [row for batch in stored for row in batch if not (isinstance(row[2], dt.date) and low <= row[2] < high)]
        assert table.rows() == by_repr([*kept, *fresh])


@few
@given(stored=batches, incoming=st.lists(a_row, max_size=6))
def test_replacing_partitions_replaces_those_of_the_incoming_rows(
    duck: DuckDBSession, stored: list[list[Row]], incoming: list[Row]
) -> None:
    """Partitions that have incoming rows hold only these; the others are untouched. NULL and '' are partitions."""
    with tempfile.TemporaryDirectory() as folder:
        table = _filled(duck, folder, stored, ["part", "day"])
        table.bring(incoming)
        values = rows(duck, f"SELECT DISTINCT part, day::VARCHAR FROM {INCOMING}")
        wanted = [{"part": part, "day": day} for part, day in values]
        rewrite = replace_partitions(table.now, schema=table.schema, partitions=wanted)  # type: ignore[arg-type]
        assert rewrite.keep.files == ()
        table.apply(rewrite)
        there = {(row[1], row[2]) for row in incoming}
        kept = [row for batch in stored for row in batch if (row[1], row[2]) not in there]
        assert table.rows() == by_repr([*kept, *incoming])


def _nulls_low(value: object) -> tuple[bool, object]:
    return (value is not None, value if value is not None else 0)


def _rank(row: Row) -> tuple[object, ...]:
    """The order of merge_by_key: by *day*, then by all other columns; no value is least."""
    return tuple(_nulls_low(value) for value in (row[2], row[0], row[1], row[3]))


def _ranges(incoming: Sequence[Row], names: Sequence[str]) -> dict[str, tuple[str | None, str | None]]:
    """What flow measures of a batch: least and greatest of key columns, as text."""
    found: dict[str, tuple[str | None, str | None]] = {}
    for name in names:
        values = [row[ARROW.names.index(name)] for row in incoming]
        present = sorted((value for value in values if value is not None), key=lambda value: value)  # type: ignore[type-var,return-value]
        found[name] = (str(present[0]), str(present[-1])) if present else (None, None)
    return found


@few
@given(data=st.data(), changes=st.lists(a_row, max_size=12), pruned=st.booleans())
@pytest.mark.parametrize(("key", "by"), [(("id",), ()), (("id", "part"), ("part",))])
def test_merging_converges(
    duck: DuckDBSession, key: Sequence[str], by: Sequence[str], data: st.DataObject, changes: list[Row], *, pruned: bool
) -> None:
    """The newest row of each key stays, in whatever order, batches and repetitions the changes come."""
    places = [ARROW.names.index(name) for name in key]
    expected: dict[Row, Row] = {}
    for row in changes:
        at = tuple(row[place] for place in places)
        if at not in expected or _rank(row) > _rank(expected[at]):
            expected[at] = row
    repeated = data.draw(st.lists(st.sampled_from(changes), max_size=4)) if changes else []
    shuffled = data.draw(st.permutations([*changes, *repeated]))
    with tempfile.TemporaryDirectory() as folder:
        table = Table(duck, folder, by)
        while shuffled:
            size = data.draw(st.integers(1, len(shuffled)))
            batch, shuffled = shuffled[:size], shuffled[size:]
            table.bring(batch)
            ranges = _ranges(batch, key) if pruned else None
            table.apply(merge_by_key(table.now, schema=table.schema, key=key, order_by="day", key_ranges=ranges))
        assert table.rows() == by_repr(list(expected.values()))


@few
@given(stored=batches)
def test_merging_without_an_order_takes_the_incoming(duck: DuckDBSession, stored: list[list[Row]]) -> None:
    """Without a column that tells newer from older, a later batch wins; within a batch, the greatest row."""
    expected: dict[object, Row] = {}
    for batch in stored:
        winners: dict[object, Row] = {}
        for row in batch:
            if row[0] not in winners or _all_columns(row) > _all_columns(winners[row[0]]):
                winners[row[0]] = row
        expected |= winners
    with tempfile.TemporaryDirectory() as folder:
        table = Table(duck, folder)
        for batch in stored:
            table.bring(batch)
            table.apply(merge_by_key(table.now, schema=table.schema, key=["id"]))
        assert table.rows() == by_repr(list(expected.values()))


def _all_columns(row: Row) -> tuple[object, ...]:
    return tuple(_nulls_low(value) for value in row)


def _file(path: str, stats: Mapping[str, ColumnStats], partition: Mapping[str, str | None] | None = None) -> DataFile:
    return DataFile(path=path, size=1, rows=9, stats=stats, partition=partition or {})


def _files(type_: str, stats: Sequence[ColumnStats | None]) -> Snapshot:
    files = [_file(str(index), {} if known is None else {"c": known}) for index, known in enumerate(stats)]
    return snapshot(Store("/nowhere"), [("c", type_), ("d", "BIGINT")], files)


@pytest.mark.parametrize(
    ("type_", "low", "high", "least", "most", "touched", "read"),
    [
        ("INTEGER", "9", "100", "10", "99", True, False),
        ("INTEGER", "9", "100", "100", "200", False, False),
        ("INTEGER", "9", "100", "1", "8", False, False),
        ("INTEGER", "9", "100", "1", "9", True, True),
        ("DECIMAL(10,2)", "9.00", "10.00", "9.50", "9.99", True, False),
        ("DATE", "2013-01-01", "2013-01-02", "2013-01-01", "2013-01-01", True, False),
        ("DATE", "2013-01-01", "2013-01-02", "2013-01-02", "2013-01-05", False, False),
        ("DATE", "2013-01-01", "2013-01-02", "0044-03-15 (BC)", "2013-01-05", True, True),
        ("DATE", "2013-01-01", "2013-01-02", "2013-01-02", "infinity", False, False),
        ("TIMESTAMP", "2013-01-01", "2013-01-02", "2013-01-01 00:00:00", "2013-01-01T23:59:59.999999", True, False),
        ("TIMESTAMP WITH TIME ZONE", "2013-01-01", "2013-01-02", "2013-01-02 01:00:00+02", "2013-01-03 00:00:00+00",
         True, True),
        ("TIMESTAMP WITH TIME ZONE", "2013-01-01", "2013-01-02", "2013-01-02 00:00:00Z", "2013-01-03 00:00:00+00",
         False, False),
        ("VARCHAR", "a", "b", "b", "c", False, False),
        ("VARCHAR", "a", "b", "Z", "a", True, True),
        ("UUID", "a", "b", "c", "d", True, True),
        ("DOUBLE", "1.0", "2.0", "nan", "nan", True, True),
    ],
)  # fmt: skip
def test_statistics_decide_only_what_is_certain(
    type_: str, low: str, high: str, least: str, most: str, *, touched: bool, read: bool
) -> None:
    """A file is left alone, or dropped unread, only where its statistics prove it, by the order of its type."""
    base = _files(type_, [ColumnStats(least, most, 0)])
    rewrite = replace_range(base, schema=base.schema, column="c", low=low, high=high)
    assert (bool(rewrite.removes), bool(rewrite.keep.files)) == (touched, read)


def test_unknown_statistics_touch_the_file() -> None:
    """Without statistics, or with missing values that could be outside, a file is read."""
    base = _files(
        "INTEGER", [None, ColumnStats(None, None, None), ColumnStats("2", "3", 1), ColumnStats("2", "3", None)]
    )
    rewrite = replace_range(base, schema=base.schema, column="c", low="1", high="9")
    assert [file.path for file in rewrite.keep.files] == ["0", "1", "2", "3"]
    merge = merge_by_key(base, schema=base.schema, key=["c"], key_ranges={"c": ("7", "8")})
    assert [file.path for file in merge.removes] == ["0", "1", "2", "3"]


def test_a_merge_rewrites_only_files_that_can_hold_its_keys() -> None:
    """A file is left alone if one key column proves that it holds none of the keys, by statistics or partition."""
    columns = [("id", "BIGINT"), ("day", "DATE")]
    one = _file("a", {"id": ColumnStats("1", "9", 0)}, {"day": "2013-01-01"})
    two = _file("b", {"id": ColumnStats("1", "9", 0)}, {"day": "2013-01-02"})
    three = _file("c", {"id": ColumnStats("10", "19", 0)}, {"day": "2013-01-01"})
    none = _file("d", {"id": ColumnStats("1", "9", 0)}, {"day": None})
    base = snapshot(Store("/nowhere"), columns, [one, two, three, none], ["day"])
    ranges = {"id": ("5", "8"), "day": ("2013-01-01", "2013-01-01")}
    rewrite = merge_by_key(base, schema=base.schema, key=["id", "day"], key_ranges=ranges)
    assert rewrite.removes == rewrite.keep.files == (one, none)
