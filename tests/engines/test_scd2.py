"""Histories of versions: whatever way the same changes arrive, the same history stands."""

from __future__ import annotations

import datetime as dt
import itertools
import tempfile
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engines.tables import Row, rows, snapshot
from millpond.engines import INCOMING, TARGET, DuckDBEngine, DuckDBSession, scd2
from millpond.kernel import Store
from millpond.lake import Snapshot, TableSchema

VALIDITY = (("valid_from", "TIMESTAMP"), ("valid_to", "TIMESTAMP"), ("is_current", "BOOLEAN"))
PLAIN = (("id", "BIGINT"), ("v", "VARCHAR"), ("note", "VARCHAR"))
ARROW = pa.schema([("id", pa.int64()), ("v", pa.string()), ("note", pa.string()), ("since", pa.timestamp("us"))])
TIMES = [dt.datetime.fromisoformat(f"2013-01-0{day} 12:00:00") for day in range(1, 7)]

a_change = st.tuples(
    st.one_of(st.none(), st.integers(0, 2)),
    st.sampled_from([None, "x", "y"]),
    st.sampled_from([None, "p", "q"]),
    st.sampled_from(TIMES),
)
few = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def duck() -> Iterator[DuckDBSession]:
    """One session for all examples."""
    with DuckDBEngine().session() as session:
        yield session


def _least_null(row: Row) -> tuple[object, ...]:
    return tuple((value is not None, "" if value is None else value) for value in row)


def _history(changes: Sequence[Row], tracked: Sequence[int] | None) -> list[Row]:
    """What the words of scd2 mean, by hand: (id, v, note, valid_from, valid_to, is_current)."""
    versions: dict[tuple[object, object], Row] = {}
    for row in changes:
        at = (row[0], row[3])
        if at not in versions or _least_null(row[:3]) > _least_null(versions[at][:3]):
            versions[at] = row
    told: list[Row] = []
    by_key = sorted(versions.values(), key=lambda row: (repr(row[0]), row[3]))
    for _, group in itertools.groupby(by_key, key=lambda row: row[0]):
        history = list(group)
        is_change = [
            index == 0 or tracked is None or any(history[index - 1][c] != row[c] for c in tracked)
            for index, row in enumerate(history)
        ]
        for index, row in enumerate(history):
            later = [history[at][3] for at in range(index + 1, len(history)) if is_change[at]]
            until = (later[0] if later else None) if is_change[index] else row[3]
            told.append((*row[:3], row[3], until, is_change[index] and not later))
    return sorted(told, key=repr)


def _apply(
    session: DuckDBSession, table: Snapshot, batch: Sequence[Row], tracked: Sequence[str] | None, *, ranges: bool
) -> Snapshot:
    session.attach(INCOMING, pa.Table.from_pylist([dict(zip(ARROW.names, row, strict=True)) for row in batch], ARROW))
    ids = sorted(row[0] for row in batch if row[0] is not None)  # type: ignore[type-var]
    known = {"id": (str(ids[0]), str(ids[-1])) if ids else (None, None)} if ranges else None
    rewrite = scd2(table, schema=table.schema, key=["id"], order_by="since", tracked=tracked, key_ranges=known)
    session.attach(TARGET, rewrite.keep)
    written = session.write(rewrite.sql, table.store, prefix="run")
    return table.changed(adds=written.files, removes=rewrite.removes)


@few
@given(data=st.data(), changes=st.lists(a_change, max_size=12), ranges=st.booleans())
@pytest.mark.parametrize("tracked", [None, ["v"], ["v", "note"]])
@pytest.mark.parametrize("has_time", [True, False])
def test_a_history_does_not_depend_on_how_changes_arrive(
    duck: DuckDBSession,
    tracked: list[str] | None,
    data: st.DataObject,
    changes: list[Row],
    *,
    has_time: bool,
    ranges: bool,
) -> None:
    """Any order, any batches, any repetition: the table is the history of the set of changes."""
    columns = (*PLAIN, *([("since", "TIMESTAMP")] if has_time else []), *VALIDITY)
    places = None if tracked is None else [ARROW.names.index(name) for name in tracked]
    repeated = data.draw(st.lists(st.sampled_from(changes), max_size=4)) if changes else []
    shuffled = data.draw(st.permutations([*changes, *repeated]))
    with tempfile.TemporaryDirectory() as folder:
        table = snapshot(Store(folder), columns)
        while shuffled:
            size = data.draw(st.integers(1, len(shuffled)))
            table = _apply(duck, table, shuffled[:size], tracked, ranges=ranges)
            shuffled = shuffled[size:]
        duck.attach("history", table)
        found = rows(duck, "SELECT id, v, note, valid_from, valid_to, is_current FROM history")
        assert sorted(found, key=repr) == _history(changes, places)
        if has_time:
            assert duck.row("SELECT count(*) FROM history WHERE since != valid_from") == (0,)


def test_at_every_moment_one_version_holds(duck: DuckDBSession) -> None:
    """The version valid at a time is one, and the last that came before it, repeats and late ones included."""
    early, late = [(1, "a", None, TIMES[0]), (1, "a", None, TIMES[2])], [(1, "b", None, TIMES[1])]
    with tempfile.TemporaryDirectory() as folder:
        table = snapshot(Store(folder), (*PLAIN, *VALIDITY))
        for batch in (early, late):
            table = _apply(duck, table, batch, ["v"], ranges=False)
        duck.attach("history", table)
        for at, value in ((TIMES[0], "a"), (TIMES[1], "b"), (TIMES[2], "a"), (TIMES[5], "a")):
            duck.attach("asked", pa.table({"asked_at": pa.array([at], pa.timestamp("us"))}))
            valid = "valid_from <= asked_at AND (asked_at < valid_to OR valid_to IS NULL)"
            assert rows(duck, f"SELECT v FROM history, asked WHERE {valid}") == [(value,)]
        assert duck.row("SELECT v FROM history WHERE is_current") == ("a",)


def test_a_key_that_did_not_come_keeps_its_rows(duck: DuckDBSession) -> None:
    """Histories of other keys are copied as they are, whatever is in them."""
    schema = TableSchema(columns=(*PLAIN, *VALIDITY))
    with tempfile.TemporaryDirectory() as folder:
        odd = (
            "SELECT 7 AS id, 'x' AS v, 'n' AS note, NULL::TIMESTAMP AS valid_from, NULL AS valid_to, NULL AS is_current"
        )
        written = duck.write(odd, Store(folder), prefix="run")
        table = snapshot(Store(folder), schema.columns, written)
        table = _apply(duck, table, [(1, "a", None, TIMES[0])], None, ranges=False)
        duck.attach("history", table)
        assert rows(duck, "FROM history WHERE id = 7") == [(7, "x", "n", None, None, None)]
        assert duck.row("SELECT count(*) FROM history") == (2,)
