"""How part of a table is replaced: which files go, and the SELECT that makes the files that come.

Pure: nothing is read. The same builders serve ingestion and models, on every engine that speaks DuckDB's SQL. The
SELECT reads two names: ``TARGET``, the removed files whose rows it may keep, and ``INCOMING``, the new rows, whose
columns are taken by name. Statistics decide which files are touched; a file of which too little is known is touched.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sqlglot import exp

from millpond.engines.bounds import bound_of, same_value
from millpond.engines.scd2 import history_select
from millpond.engines.sql import DIALECT, all_of, column, is_same, ranked_first, relation, typed, typed_columns
from millpond.lake import ColumnStats, DataFile, Snapshot, TableSchema

TARGET: Final = "_mp.target"
INCOMING: Final = "_mp.incoming"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewrite:
    """One replacement: run *sql* with *keep* and the incoming rows bound, commit its files and remove *removes*."""

    sql: str
    removes: tuple[DataFile, ...]
    """Files that the commit removes."""
    keep: Snapshot
    """Those of them that *sql* reads: bind it as TARGET first, whether it has files or not."""


def append(base: Snapshot, *, schema: TableSchema) -> Rewrite:
    """Add the incoming rows; nothing is removed."""
    return _rewrite(base, schema, exp.select(*typed_columns(schema)).from_(relation(INCOMING)))


def replace_all(base: Snapshot, *, schema: TableSchema) -> Rewrite:
    """Put the incoming rows in place of all others; no old row is read."""
    select = exp.select(*typed_columns(schema)).from_(relation(INCOMING))
    return _rewrite(base, schema, select, removes=base.files)


def replace_range(base: Snapshot, *, schema: TableSchema, column: str, low: str, high: str) -> Rewrite:
    """Put the incoming rows in place of those with *low* <= *column* < *high*; rows without a value stay.

    Files wholly inside the range go unread. That incoming rows are inside is for the caller to see to.

    Args:
        base: the table as it is.
        schema: the table's columns as they will be.
        column: the column of the range.
        low: first value, as DuckDB writes it: ``2013-01-01``.
        high: the first value after the range.
    """
    type_ = dict(schema.columns)[column]
    touched, read = [], []
    for file in base.files:
        stats = _stats(file, column)
        if not _overlaps(stats, type_, low, high, high_included=False):
            continue
        touched.append(file)
        if not _inside(stats, type_, low, high):
            read.append(file)
    this = _column(column)
    inside = exp.and_(
        exp.GTE(this=this, expression=typed(exp.Literal.string(low), type_)),
        exp.LT(this=this.copy(), expression=typed(exp.Literal.string(high), type_)),
    )
    kept = exp.select(*typed_columns(schema)).from_(relation(TARGET))
    kept = kept.where(exp.Not(this=exp.Is(this=exp.paren(inside), expression=exp.true())))
    incoming = exp.select(*typed_columns(schema)).from_(relation(INCOMING))
    select = exp.union(kept, incoming, distinct=False) if read else incoming
    return _rewrite(base, schema, select, removes=touched, read=read)


def replace_partitions(
    base: Snapshot, *, schema: TableSchema, partitions: Collection[Mapping[str, str | None]]
) -> Rewrite:
    """Put the incoming rows in place of whole partitions; no old row is read.

    Args:
        base: the table as it is.
        schema: the table's columns as they will be.
        partitions: the partitions to replace: each partition column's value as text, as DuckDB writes it.
    """
    types = dict(schema.columns)

    def is_replaced(file: DataFile) -> bool:
        return any(
            all(same_value(types[name], file.partition.get(name), wanted.get(name)) for name in schema.partition_by)
            for wanted in partitions
        )

    select = exp.select(*typed_columns(schema)).from_(relation(INCOMING))
    return _rewrite(base, schema, select, removes=[file for file in base.files if is_replaced(file)])


def merge_by_key(
    base: Snapshot,
    *,
    schema: TableSchema,
    key: Sequence[str],
    order_by: str | None = None,
    key_ranges: Mapping[str, tuple[str | None, str | None]] | None = None,
) -> Rewrite:
    """Insert rows with a new key, and put incoming rows in place of stored ones with the same key (SCD 1).

    With *order_by* the row with the greatest value stays, stored or incoming, so that batches may come in any order,
    again, or split otherwise, and the table ends the same; equal values are decided by all the columns. Without it the
    incoming row stays. Keys without a value are equal to each other.

    Args:
        base: the table as it is.
        schema: the table's columns as they will be.
        key: the columns that name a row.
        order_by: the column that says which row is newer; no value is older than any.
        key_ranges: least and greatest incoming value of key columns, as DuckDB writes them; other files stay.
    """
    touched = _files_with_keys(base, schema, key, key_ranges or {})
    newest = ranked_first(
        exp.select(*typed_columns(schema)).from_(relation(INCOMING)), schema, partition=key, order_by=order_by
    )
    if not touched:
        return _rewrite(base, schema, newest)
    same = all_of(is_same(_column(name, "stored"), _column(name, "fresh")) for name in key)
    stored = exp.select(*typed_columns(schema, "stored")).from_(relation(TARGET, "stored"))
    untouched = stored.join(relation("fresh"), on=same, join_type="anti")
    if order_by is None:
        winners: exp.Query = exp.select(*typed_columns(schema)).from_(relation("fresh"))
    else:
        rivals = stored.join(relation("fresh"), on=same.copy(), join_type="semi")
        both = exp.union(rivals, exp.select(*typed_columns(schema)).from_(relation("fresh")), distinct=False)
        winners = ranked_first(
            exp.select(*typed_columns(schema)).from_(both.subquery("both")), schema, partition=key, order_by=order_by
        )
    select = exp.union(untouched, exp.select("*").from_(winners.subquery("winners")), distinct=False)
    # read twice, so computed once
    select = select.with_("fresh", as_=newest, materialized=True)
    return _rewrite(base, schema, select, removes=touched, read=touched)


def scd2(
    base: Snapshot,
    *,
    schema: TableSchema,
    key: Sequence[str],
    order_by: str,
    tracked: Sequence[str] | None = None,
    valid_from: str = "valid_from",
    valid_to: str = "valid_to",
    is_current: str = "is_current",
    key_ranges: Mapping[str, tuple[str | None, str | None]] | None = None,
) -> Rewrite:
    """Keep every version of a row with the time it was valid (SCD 2), rebuilding the history of each incoming key.

    The same changes in any order, split into any batches, any of them again, give the same table. For that nothing
    that was seen may be forgotten: a late version can make an earlier repeat a change. So with *tracked* a version
    whose tracked columns equal those of the version before stays as a row of no length (*valid_to* = *valid_from*,
    never current): point-in-time conditions pass it by, and ``valid_from < valid_to OR is_current`` are the changes.

    Args:
        base: the table as it is.
        schema: the table's columns as they will be, the three of validity included.
        key: the columns that name what has versions.
        order_by: the incoming column that says since when; one version for each value, the greatest row of several.
            Where the table has no such column, it is found again in *valid_from*.
        tracked: columns in which a change makes a new version; None: every row is one.
        valid_from: since when, included.
        valid_to: until when, excluded; no value while current.
        is_current: true for the newest version of each key.
        key_ranges: as in merge_by_key.
    """
    touched = _files_with_keys(base, schema, key, key_ranges or {})
    select = history_select(
        schema,
        target=TARGET,
        incoming=INCOMING,
        key=key,
        order_by=order_by,
        tracked=tracked,
        validity=(valid_from, valid_to, is_current),
    )
    return _rewrite(base, schema, select, removes=touched, read=touched)


def _rewrite(
    base: Snapshot,
    schema: TableSchema,
    select: exp.Query,
    *,
    removes: Sequence[DataFile] = (),
    read: Sequence[DataFile] = (),
) -> Rewrite:
    keep = replace(base, schema=schema, files=tuple(read))
    return Rewrite(sql=select.sql(DIALECT), removes=tuple(removes), keep=keep)


def _column(name: str, table: str | None = None) -> exp.Column:
    return column(name, table)


def _files_with_keys(
    base: Snapshot,
    schema: TableSchema,
    key: Sequence[str],
    ranges: Mapping[str, tuple[str | None, str | None]],
) -> tuple[DataFile, ...]:
    """Find the files that can hold a row with one of the incoming keys."""
    types = dict(schema.columns)

    def can_hold(file: DataFile) -> bool:
        for name in key:
            low, high = ranges.get(name, (None, None))
            stats = _stats(file, name)
            if low is None or high is None or stats is None or stats.nulls != 0:
                continue  # an incoming key without a value is in no range
            if not _overlaps(stats, types[name], low, high, high_included=True):
                return False
        return True

    return tuple(file for file in base.files if can_hold(file))


def _stats(file: DataFile, name: str) -> ColumnStats | None:
    """What is known of a column in a file; a partition's value is its least and greatest."""
    if name not in file.partition:
        return file.stats.get(name)
    value = file.partition[name]
    return ColumnStats(value, value, file.rows if value is None else 0)


def _overlaps(stats: ColumnStats | None, type_: str, low: str, high: str, *, high_included: bool) -> bool:
    """Tell whether a value between can be in the file; True where that is not known."""
    if stats is None:
        return True
    least, most = bound_of(type_, stats.min), bound_of(type_, stats.max)
    lowest, highest = bound_of(type_, low), bound_of(type_, high)
    if lowest is not None and most is not None and most < lowest:
        return False
    if highest is not None and least is not None:
        return not (least > highest if high_included else least >= highest)
    return True


def _inside(stats: ColumnStats | None, type_: str, low: str, high: str) -> bool:
    """Tell whether every row of the file is surely in the range; False where that is not known."""
    if stats is None or stats.nulls != 0:
        return False
    least, most = bound_of(type_, stats.min), bound_of(type_, stats.max)
    lowest, highest = bound_of(type_, low), bound_of(type_, high)
    if least is None or most is None or lowest is None or highest is None:
        return False
    return bool(lowest <= least and most < highest)
