"""A snapshot as one SELECT that DuckDB prunes well.

One form serves every table: ``read_parquet`` over the explicit list of files with an explicit schema by name, so that
nothing is guessed from the first file, columns that a file lacks are NULL and narrower types widen; partition columns
come from a list indexed by ``file_index``, which DuckDB folds into its file pruning. Binding 2,000 files takes 10 ms.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from sqlglot import exp

from millpond.lake import Snapshot

_DIALECT: Final = "duckdb"
_FILE_INDEX: Final = "file_index"
_FILE_INDEX_RENAMED: Final = "_mp_file_index"


def snapshot_select(snapshot: Snapshot, paths: Sequence[str]) -> str:
    """Give the SELECT of *snapshot*'s columns in order; *paths* are its files on local disk, in its order."""
    schema = snapshot.schema
    if not paths:
        return empty_select(schema.columns)
    partitioned = set(schema.partition_by)
    stored = [(name, type_) for name, type_ in schema.columns if name not in partitioned]
    scan = exp.func(
        "read_parquet",
        exp.Array(expressions=[exp.Literal.string(path) for path in paths]),
        _option("schema", _schema_map(stored)),
        _option("hive_partitioning", exp.false()),
    )
    columns: list[exp.Expr] = []
    for name, type_ in schema.columns:
        if name in partitioned:
            value: exp.Expr = _partition_value(type_, [file.partition.get(name) for file in snapshot.files])
        else:
            value = exp.column(_inner_name(name), quoted=True)
        columns.append(exp.alias_(value, name, quoted=True))
    return exp.select(*columns).from_(scan).sql(_DIALECT)


def empty_select(columns: Iterable[tuple[str, str]]) -> str:
    """Give a SELECT of these (name, type) columns and no rows."""
    typed = [exp.alias_(typed_null(type_), name, quoted=True) for name, type_ in columns]
    return exp.select(*typed).where(exp.false()).sql(_DIALECT)


def unread_select(columns: Iterable[tuple[str, str]], name: str) -> str:
    """Give a SELECT that binds with these columns and fails when it runs: what stands for data not fetched yet."""
    reason = exp.Literal.string(f"the files of {name} were not fetched")
    failing = exp.Anonymous(this="error", expressions=[reason])
    typed = [exp.alias_(exp.Cast(this=failing.copy(), to=_type(type_)), col, quoted=True) for col, type_ in columns]
    return exp.select(*typed).sql(_DIALECT)


def typed_null(type_: str) -> exp.Cast:
    """Write ``CAST(NULL AS type)``."""
    return exp.Cast(this=exp.null(), to=_type(type_))


def _partition_value(type_: str, values: Sequence[str | None]) -> exp.Expr:
    """Write ``list_extract(CAST([values] AS type[]), CAST(file_index AS BIGINT) + 1)``, or the one value there is."""
    if len(set(values)) == 1:
        return exp.Cast(this=_text(values[0]), to=_type(type_))
    listed = exp.Cast(this=exp.Array(expressions=[_text(value) for value in values]), to=_type(f"{type_}[]"))
    index = exp.Cast(this=exp.column(_FILE_INDEX, quoted=True), to=_type("BIGINT"))
    return exp.Anonymous(
        this="list_extract", expressions=[listed, exp.Add(this=index, expression=exp.Literal.number(1))]
    )


def _schema_map(columns: Iterable[tuple[str, str]]) -> exp.ToMap:
    entries = [
        exp.PropertyEQ(
            this=exp.Literal.string(name),
            expression=exp.Struct(
                expressions=[
                    _field("name", exp.Literal.string(_inner_name(name))),
                    _field("type", exp.Literal.string(type_)),
                    _field("default_value", exp.null()),
                ]
            ),
        )
        for name, type_ in columns
    ]
    return exp.ToMap(this=exp.Struct(expressions=entries))


def _inner_name(name: str) -> str:
    """A column of the table's own called file_index must not hide the one that partition values hang on."""
    return _FILE_INDEX_RENAMED if name.lower() == _FILE_INDEX else name


def _option(name: str, value: exp.Expr) -> exp.EQ:
    return exp.EQ(this=exp.to_identifier(name), expression=value)


def _field(name: str, value: exp.Expr) -> exp.PropertyEQ:
    return exp.PropertyEQ(this=exp.to_identifier(name), expression=value)


def _text(value: str | None) -> exp.Expr:
    return exp.null() if value is None else exp.Literal.string(value)


def _type(type_: str) -> exp.DataType:
    return exp.DataType.build(type_, dialect=_DIALECT, udt=True)
