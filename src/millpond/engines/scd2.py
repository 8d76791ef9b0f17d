"""The history of changed keys, rebuilt: the SELECT behind ``rewrite.scd2``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlglot import exp

from millpond.engines.sql import all_of, column, is_same, ranked_first, relation, typed, typed_columns
from millpond.lake import TableSchema

_SINCE: Final = "_mp_since"
_CHANGED: Final = "_mp_changed"
_UNTIL: Final = "_mp_until"


def history_select(
    schema: TableSchema,
    *,
    target: str,
    incoming: str,
    key: Sequence[str],
    order_by: str,
    tracked: Sequence[str] | None,
    validity: tuple[str, str, str],
) -> exp.Query:
    """Rows of *target* whose key is not incoming as they are, then the histories of those that are, anew.

    Each version's data and the time since when it holds are all that counts; the validity columns are computed.
    """
    valid_from, _, _ = validity
    types = dict(schema.columns)
    stored_since = order_by if order_by in types and order_by not in validity[1:] else valid_from
    data = [(name, type_) for name, type_ in schema.columns if name not in validity]
    versions = TableSchema(columns=(*data, (_SINCE, types[valid_from])))

    def of(table: str, since: str, alias: str) -> exp.Select:
        held = typed_columns(TableSchema(columns=tuple(data)), alias)
        time = exp.alias_(typed(column(since, alias), types[valid_from]), _SINCE, quoted=True)
        return exp.select(*held, time).from_(relation(table, alias))

    same = all_of(is_same(column(name, "stored"), column(name, "fresh")) for name in key)
    rivals = of(target, stored_since, "stored").join(relation("fresh"), on=same, join_type="semi")
    both = exp.union(rivals, exp.select("*").from_(relation("fresh")), distinct=False)
    single = ranked_first(
        exp.select("*").from_(both.subquery("both")), versions, partition=[*key, _SINCE], order_by=_SINCE
    )
    rebuilt = _with_validity(single, schema, key, tracked, validity)
    untouched = exp.select(*typed_columns(schema, "stored")).from_(relation(target, "stored"))
    untouched = untouched.join(relation("fresh"), on=same.copy(), join_type="anti")
    select = exp.union(untouched, exp.select("*").from_(rebuilt.subquery("rebuilt")), distinct=False)
    return select.with_("fresh", as_=of(incoming, order_by, "incoming"), materialized=True)


def _with_validity(
    versions: exp.Select,
    schema: TableSchema,
    key: Sequence[str],
    tracked: Sequence[str] | None,
    validity: tuple[str, str, str],
) -> exp.Select:
    valid_from, valid_to, is_current = validity
    marked = exp.select("*", exp.alias_(_changed(key, tracked), _CHANGED, quoted=True)).from_(versions.subquery("v"))
    next_change = exp.Window(
        this=exp.Min(this=exp.If(this=column(_CHANGED), true=column(_SINCE))),
        partition_by=[column(name) for name in key],
        order=_by_time(),
        spec=exp.WindowSpec(
            kind="ROWS", start=exp.Literal.number(1), start_side="FOLLOWING", end="UNBOUNDED", end_side="FOLLOWING"
        ),
    )
    ended = exp.select("*", exp.alias_(next_change, _UNTIL, quoted=True)).from_(marked.subquery("m"))
    types = dict(schema.columns)
    until = exp.If(this=column(_CHANGED), true=column(_UNTIL), false=column(_SINCE))
    current = exp.and_(column(_CHANGED), exp.Is(this=column(_UNTIL), expression=exp.null()))
    made = {valid_from: column(_SINCE), valid_to: until, is_current: current}
    columns = [exp.alias_(typed(made.get(name, column(name)), types[name]), name, quoted=True) for name in schema.names]
    return exp.select(*columns).from_(ended.subquery("e"))


def _changed(key: Sequence[str], tracked: Sequence[str] | None) -> exp.Expr:
    """True where a version is the first of its key, or differs from the one before in a tracked column."""
    if tracked is None:
        return exp.true()
    partition = [column(name) for name in key]
    first = exp.Window(this=exp.RowNumber(), partition_by=partition, order=_by_time())
    differs = [
        exp.NullSafeNEQ(
            this=exp.Window(
                this=exp.Lag(this=column(name)), partition_by=[part.copy() for part in partition], order=_by_time()
            ),
            expression=column(name),
        )
        for name in tracked
    ]
    return exp.or_(exp.EQ(this=first, expression=exp.Literal.number(1)), *differs)


def _by_time() -> exp.Order:
    return exp.Order(expressions=[exp.Ordered(this=column(_SINCE), desc=False, nulls_first=True)])
