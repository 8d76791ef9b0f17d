"""Pieces of SELECT that the rewrites share, built and never written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from sqlglot import exp

from millpond.lake import TableSchema

DIALECT: Final = "duckdb"
_RANK: Final = "_mp_rank"


def relation(name: str, alias: str | None = None) -> exp.Table:
    """Name a relation: ``schema.table`` or ``table``, quoted."""
    schema, dot, table = name.partition(".")
    named = exp.table_(table, db=schema, quoted=True) if dot else exp.table_(name, quoted=True)
    if alias:
        named.set("alias", exp.TableAlias(this=exp.to_identifier(alias, quoted=True)))
    return named


def column(name: str, table: str | None = None) -> exp.Column:
    """Name a column, quoted."""
    return exp.column(name, table=exp.to_identifier(table, quoted=True) if table else None, quoted=True)


def typed(value: exp.Expr, type_: str) -> exp.Cast:
    """Cast *value* to a DuckDB type."""
    return exp.Cast(this=value, to=exp.DataType.build(type_, dialect=DIALECT, udt=True))


def typed_columns(schema: TableSchema, table: str | None = None) -> list[exp.Expr]:
    """Select a table's columns by name, in its order, as its types."""
    return [exp.alias_(typed(column(name, table), type_), name, quoted=True) for name, type_ in schema.columns]


def is_same(one: exp.Expr, other: exp.Expr) -> exp.Expr:
    """Compare so that no value equals no value."""
    return exp.NullSafeEQ(this=one, expression=other)


def all_of(conditions: Iterable[exp.Expr]) -> exp.Expr:
    """Join conditions with AND."""
    return exp.and_(*conditions)


def descending(value: exp.Expr) -> exp.Ordered:
    """Order from the greatest down, no value last."""
    return exp.Ordered(this=value, desc=True, nulls_first=False)


def ranked_first(
    select: exp.Select, schema: TableSchema, *, partition: Sequence[str], order_by: str | None
) -> exp.Select:
    """Keep one row of those that agree in *partition*: the greatest by *order_by*, then by all columns in order."""
    order = [*([order_by] if order_by else []), *(name for name in schema.names if name != order_by)]
    rank = exp.Window(
        this=exp.RowNumber(),
        partition_by=[column(name) for name in partition],
        order=exp.Order(expressions=[descending(column(name)) for name in order]),
    )
    inner = exp.select("*", exp.alias_(rank, _RANK, quoted=True)).from_(select.subquery("all"))
    first = exp.EQ(this=column(_RANK), expression=exp.Literal.number(1))
    return exp.select(*(column(name) for name in schema.names)).from_(inner.subquery("ranked")).where(first)
