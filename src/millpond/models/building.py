"""Making a model's new files: all of it, one range of time, by key, or as versions of slowly changing rows.

Writes Parquet files that no log knows yet, and says which files of the table they stand in for. Never commits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlglot import exp

from millpond.contracts import Dataset
from millpond.engines import INCOMING, TARGET, Rewrite, Session, Written, merge_by_key, replace_range, scd2
from millpond.kernel import MiB, Store
from millpond.lake import DataFile, Snapshot, TableSchema
from millpond.models.models import SCD2_COLUMNS
from millpond.models.ranges import aligned, relevant
from millpond.models.spec import Everything, Model, Range
from millpond.models.types import around, select_for, selected_columns

_FIRST, _LAST = "0001-01-01", "9999-12-31"
"""Where a range without an end ends: rows beyond are left as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What a build made, ready to be checked and committed."""

    written: Written
    removes: tuple[DataFile, ...] = field(hash=False)
    """Files of the base that the new files replace."""
    schema: TableSchema
    """The table's schema after the commit."""
    rows: int
    """Rows in the new files: for an increment also those that were copied over."""
    reason: str
    """For people: what was computed, and why not less."""


def build(
    model: Model,
    dataset: Dataset,
    *,
    session: Session,
    inputs: Mapping[str, Snapshot],
    base: Snapshot,
    into: Store,
    run_id: str,
    ranges: Range | Everything,
    file_bytes_target: int = 256 * MiB,
) -> Built:
    """Compute *model* from *inputs* into new files below *into*, to be committed over *base*.

    Memory is the session's limit. by time with a Range reads only files of *inputs* that can bear on it and rewrites
    only files of *base* that overlap it; by key and scd2 compute the whole SELECT and fold it into *base*.

    Raises:
        QueryFailed: from the engine; nothing that was written remains.
        ValueError: an end of the range is not an ISO date or time.
    """
    schema = TableSchema(
        columns=tuple((column.name, column.type) for column in dataset.columns), partition_by=dataset.partition_by
    )
    spec = model.spec
    column = spec.time_column or ""
    within: Range | None = None
    if isinstance(ranges, Range) and spec.materialize == "by time":
        within = _closed(aligned(ranges, spec.grain, _time_type(dataset, column)))
        inputs = relevant(model, dataset, inputs, within)
    for name, snapshot in inputs.items():
        session.attach(name, snapshot)
    chosen = select_for(model, dataset)
    rewrite: Rewrite | None = None
    if within is not None:
        rewrite = replace_range(base, schema=schema, column=column, low=within.low or _FIRST, high=within.high or _LAST)
        reason = f"{column} from {within}"
        chosen = _within(chosen, model, dataset, within)
    elif spec.materialize in {"by key", "scd2"}:
        rewrite, reason = _folded(model, dataset, base, schema)
        chosen = _newest(chosen, model, dataset) if spec.materialize == "by key" else chosen
    else:
        reason = ranges.reason if isinstance(ranges, Everything) else "the whole table"
    if rewrite is None:
        sql, removes = _ordered(chosen, _clustering(model, dataset)), base.files
    else:
        session.attach(TARGET, rewrite.keep)
        session.view(INCOMING, chosen)
        sql, removes = _ordered(rewrite.sql, _clustering(model, dataset)), tuple(rewrite.removes)
    written = session.write(
        sql, into, prefix=run_id, partition_by=dataset.partition_by, file_bytes_target=file_bytes_target
    )
    return Built(written=written, removes=removes, schema=schema, rows=written.rows, reason=reason)


def _closed(ranges: Range) -> Range:
    return Range(low=ranges.low or _FIRST, high=ranges.high or _LAST)


def _time_type(dataset: Dataset, column: str) -> str:
    found = dataset.column(column)
    return found.type if found is not None else "TIMESTAMP"


def _folded(model: Model, dataset: Dataset, base: Snapshot, schema: TableSchema) -> tuple[Rewrite, str]:
    spec = model.spec
    key = spec.key or dataset.primary_key
    by = ", ".join(key)
    if spec.materialize == "by key":
        # What is computed now is the truth of its key, so it replaces what is stored whatever order_by says.
        return merge_by_key(base, schema=schema, key=key, order_by=None), f"merged by {by}"
    since = spec.order_by or ""
    tracked = [name for name in schema.names if name not in {*key, since, *SCD2_COLUMNS}]
    return scd2(base, schema=schema, key=key, order_by=since, tracked=tracked or None), f"versions by {by}"


def _newest(sql: str, model: Model, dataset: Dataset) -> str:
    """Keep one row of each key: the one with the greatest order_by, then with the greatest of the other columns."""
    names = [column.name for column in selected_columns(model, dataset)]
    first = [model.spec.order_by] if model.spec.order_by is not None else []
    terms = [
        exp.Ordered(this=exp.column(name, quoted=True), desc=True, nulls_first=False)
        for name in dict.fromkeys([*first, *names])
    ]
    keys = [exp.column(name, quoted=True) for name in model.spec.key or dataset.primary_key]
    place = exp.Window(this=exp.RowNumber(), partition_by=keys, order=exp.Order(expressions=terms))
    only = exp.Qualify(this=exp.EQ(this=place, expression=exp.Literal.number(1)))
    return around(sql, exp.select(*(exp.column(name, quoted=True) for name in names)), only)


def _clustering(model: Model, dataset: Dataset) -> tuple[str, ...]:
    """Columns to sort by, so that each file holds a narrow range of them and statistics prune."""
    time = model.spec.time_column
    return tuple(dict.fromkeys((*dataset.partition_by, *((time,) if time else ()))))


def _ordered(sql: str, columns: tuple[str, ...]) -> str:
    if not columns:
        return sql
    terms = [exp.Ordered(this=exp.column(name, quoted=True), nulls_first=False) for name in columns]
    return around(sql, exp.select("*"), exp.Order(expressions=terms))


def _within(sql: str, model: Model, dataset: Dataset, within: Range) -> str:
    """Keep the rows of a SELECT that lie in a range of the time column."""
    name = model.spec.time_column or ""
    kind = _time_type(dataset, name)
    column = exp.column(name, quoted=True)
    tests: list[exp.Expr] = []
    if within.low is not None:
        low = exp.cast(exp.Literal.string(within.low), kind, dialect="duckdb")
        tests.append(exp.GTE(this=column.copy(), expression=low))
    if within.high is not None:
        high = exp.cast(exp.Literal.string(within.high), kind, dialect="duckdb")
        tests.append(exp.LT(this=column.copy(), expression=high))
    if not tests:
        return sql
    names = [exp.column(one.name, quoted=True) for one in selected_columns(model, dataset)]
    return around(sql, exp.select(*names), exp.Where(this=exp.and_(*tests)))
