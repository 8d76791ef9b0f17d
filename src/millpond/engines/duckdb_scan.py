"""A snapshot as one SELECT that DuckDB prunes well.

``read_parquet`` over the explicit list of files with explicit types, so that nothing is guessed from the first file and
narrower types widen. Files that are known to have every column are read apart from those that may lack some: only for
the first does DuckDB know how many rows there are, and a join planned without that can take a hundred times as long.
Partition columns come from a list indexed by ``file_index``, which DuckDB folds into its file pruning.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
from sqlglot import exp

from millpond.lake import Snapshot

_DIALECT: Final = "duckdb"
_LOOKS_MAX: Final = 300
"""Files looked into by one attach, at 0.1 ms each; what is not known after that is read without an estimate of rows."""
_FILE_INDEX: Final = "file_index"
_FILE_INDEX_RENAMED: Final = "_mp_file_index"


def snapshot_select(snapshot: Snapshot, paths: Sequence[str]) -> str:
    """Give the SELECT of *snapshot*'s columns in order; *paths* are its files on local disk, in its order."""
    stored = [(name, type_) for name, type_ in snapshot.schema.columns if name not in snapshot.schema.partition_by]
    renamed = any(name != _inner_name(name) for name, _ in stored)
    names = [name for name, _ in stored]
    looks = _LOOKS_MAX
    whole: list[int] = []
    other: list[int] = []
    for place, file in enumerate(snapshot.files):
        unknown = [name for name in names if name not in file.stats]
        if unknown and looks and not renamed:
            looks -= 1
            unknown = [name for name in unknown if name not in _columns_of(paths[place])]
        (other if unknown or renamed else whole).append(place)
    scans = [
        _scan(snapshot, places, paths, options)
        for places, options in ((whole, _whole_options(stored)), (other, _other_options(stored)))
        if places
    ]
    if not scans:
        return empty_select(snapshot.schema.columns)
    return scans[0].sql(_DIALECT) if len(scans) == 1 else exp.union(*scans, distinct=False).sql(_DIALECT)


@lru_cache(maxsize=65_536)
def _columns_of(path: str) -> frozenset[str]:
    """Look into a file for the columns that its statistics do not speak of (nested ones never do); it never changes."""
    try:
        return frozenset(pq.read_schema(path).names)
    except (OSError, pa.ArrowException):
        return frozenset()  # gone or broken: reading it will tell


def _scan(snapshot: Snapshot, places: Sequence[int], paths: Sequence[str], options: Sequence[exp.EQ]) -> exp.Select:
    listed = exp.Array(expressions=[exp.Literal.string(paths[place]) for place in places])
    scan = exp.func("read_parquet", listed, _option("hive_partitioning", exp.false()), *options)
    columns: list[exp.Expr] = []
    for name, type_ in snapshot.schema.columns:
        if name in snapshot.schema.partition_by:
            value: exp.Expr = _partition_value(type_, [snapshot.files[place].partition.get(name) for place in places])
        else:
            value = exp.column(_inner_name(name), quoted=True)
        columns.append(exp.alias_(value, name, quoted=True))
    return exp.select(*columns).from_(scan)


def _whole_options(stored: Iterable[tuple[str, str]]) -> tuple[exp.EQ, ...]:
    """For files that have every column: types are given, and the planner knows how many rows there are."""
    fields = [_field(name, exp.Literal.string(type_)) for name, type_ in stored]
    return (_option("bound_schema", exp.Struct(expressions=fields)),)


def _other_options(stored: Iterable[tuple[str, str]]) -> tuple[exp.EQ, ...]:
    """For files that may lack columns: those are NULL; the planner takes such a scan for one row."""
    return (_option("schema", _schema_map(stored)),)


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
