"""Statistics from Parquet footers, for files whose writer gave none."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Final
from urllib.parse import unquote

import pyarrow as pa

from millpond.kernel import Store
from millpond.lake.spec import ColumnStats, DataFile

_NULL_PARTITION: Final = "__HIVE_DEFAULT_PARTITION__"


def inspect(store: Store, paths: Iterable[str]) -> tuple[DataFile, ...]:
    """Read the footers of Parquet files: rows, size, statistics, and partition values from the folders' names.

    One or two small reads for each file.

    Raises:
        FileNotFoundError: a file is not there.
        pyarrow.ArrowInvalid: a file is not Parquet.
    """
    return tuple(_inspect(store, path) for path in paths)


def _inspect(store: Store, path: str) -> DataFile:
    import pyarrow.parquet as pq

    with store.open(path) as file:
        footer = pq.read_metadata(file)
        size = file.seek(0, 2)
    stats: dict[str, ColumnStats] = {}
    leaf = 0
    for field in footer.schema.to_arrow_schema():  # by position: a dot in a name is no path
        if not pa.types.is_nested(field.type):
            groups = [footer.row_group(group).column(leaf) for group in range(footer.num_row_groups)]
            found = _merged(groups, field.type)
            if found is not None:
                stats[field.name] = found
        leaf += _leaves(field.type)
    return DataFile(path=path, size=size, rows=footer.num_rows, partition=partition_of(path), stats=stats)


def _leaves(type_: pa.DataType) -> int:
    """Count the columns that a type takes in a Parquet file."""
    if pa.types.is_map(type_):
        return _leaves(type_.key_type) + _leaves(type_.item_type)
    if pa.types.is_nested(type_):
        return sum(_leaves(type_.field(index).type) for index in range(type_.num_fields))
    return 1


def partition_of(path: str) -> dict[str, str | None]:
    """Read the partition values in ``column=value/`` folder names; ``%20`` and the like are decoded."""
    pairs = (part.partition("=") for part in path.split("/")[:-1] if "=" in part)
    return {unquote(name): None if value == _NULL_PARTITION else unquote(value) for name, _, value in pairs}


def _merged(groups: list[Any], type_: pa.DataType) -> ColumnStats | None:
    all_stats = [group.statistics for group in groups]
    if not all_stats or any(stats is None for stats in all_stats):
        return None
    counted = all(stats.has_null_count for stats in all_stats)
    nulls = sum(stats.null_count for stats in all_stats) if counted else None
    bounds = [
        (stats.min, stats.max)
        for stats, group in zip(all_stats, groups, strict=True)
        if not (stats.has_null_count and stats.null_count == group.num_values) or stats.has_min_max
    ]
    exact = not (pa.types.is_string(type_) or pa.types.is_large_string(type_))
    if not bounds or any(low is None or high is None for low, high in bounds):
        return ColumnStats(None, None, nulls)
    low, high = (_text(value, type_) for value in (min(low for low, _ in bounds), max(high for _, high in bounds)))
    return ColumnStats(low, high, nulls, exact)


def _text(value: object, type_: pa.DataType) -> str | None:
    """Write a value as DuckDB's text; None for what has no order that readers agree on."""
    match value:
        case bool():
            return str(value).lower()
        case float():
            return repr(value) if math.isfinite(value) else None
        case int() | Decimal() | str():
            return format(value, "f") if isinstance(value, Decimal) else str(value)
        case datetime():
            text = value.replace(tzinfo=None).isoformat(sep=" ").rstrip("0") if value.microsecond else None
            text = text or value.replace(tzinfo=None).isoformat(sep=" ", timespec="seconds")
            return f"{text}+00" if getattr(type_, "tz", None) else text
        case date() | time():
            return value.isoformat()
        case _:
            return None
