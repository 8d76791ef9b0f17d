"""File statistics: from the engine's text to a Delta add action's JSON, and from the log's Arrow table back.

Bounds may be wider than the data, never narrower: what cannot be said safely is left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from millpond.lake.schema import delta_type
from millpond.lake.spec import ColumnStats, DataFile, TableSchema

_NUMBER: Final = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")
_TIMESTAMP: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:Z|([+-])(\d\d)(?::?(\d\d))?)?",
)
_TEXT_CHARS_MAX: Final = 32
"""Longer text is cut: a bound need not be a value."""
_LAST_CHAR: Final = "\U0010ffff"
_UNORDERED: Final = ("ENUM", "INTERVAL", "BIT", "BIGNUM")
"""Stored as text, but the engine's least value is not the least text."""

_NUMBERS: Final = {"byte", "short", "integer", "long", "float", "double"}


def stats_json(file: DataFile, schema: TableSchema) -> str:
    """Write a file's statistics as a Delta add action holds them."""
    lows: list[str] = []
    highs: list[str] = []
    nulls: list[str] = []
    for name, type_ in schema.columns:
        stats = file.stats.get(name)
        if stats is None or name in schema.partition_by:
            continue
        delta = delta_type(type_)
        if not isinstance(delta, str):
            continue  # for a nested column Delta wants the counts of its leaves
        key = json.dumps(name, ensure_ascii=False)
        if stats.nulls is not None:
            nulls.append(f"{key}:{stats.nulls}")
        if type_.startswith(_UNORDERED):
            continue
        if stats.min is not None and (low := _literal(stats.min, delta, upper=False)) is not None:
            lows.append(f"{key}:{low}")
        if stats.max is not None and (high := _literal(stats.max, delta, upper=True)) is not None:
            highs.append(f"{key}:{high}")
    sides = f'"minValues":{{{",".join(lows)}}},"maxValues":{{{",".join(highs)}}},"nullCount":{{{",".join(nulls)}}}'
    return f'{{"numRecords":{file.rows},{sides}}}'


def _literal(text: str, delta: str, *, upper: bool) -> str | None:
    """Write one bound as JSON; None where it cannot be said. Numbers keep every digit: they pass through no float."""
    if delta in _NUMBERS:
        return text if _NUMBER.fullmatch(text) else None
    if delta.startswith("decimal"):
        fits = sum(map(str.isdigit, text)) <= int(delta[8 : delta.index(",")])
        return text if fits and _NUMBER.fullmatch(text) else None
    if delta == "string":
        return _text_bound(text, upper=upper)
    if delta == "date":
        return f'"{text}"' if _DATE.fullmatch(text) else None
    if delta in {"timestamp", "timestamp_ntz"}:
        return _timestamp_bound(text, utc=delta == "timestamp", upper=upper)
    return None  # booleans and bytes have no bounds in Delta


def _text_bound(text: str, *, upper: bool) -> str | None:
    if len(text) > _TEXT_CHARS_MAX:
        if upper and text[_TEXT_CHARS_MAX] == _LAST_CHAR:
            return None
        text = text[:_TEXT_CHARS_MAX] + (_LAST_CHAR if upper else "")
    try:
        text.encode()
    except UnicodeEncodeError:
        return None
    return json.dumps(text, ensure_ascii=False)


def _timestamp_bound(text: str, *, utc: bool, upper: bool) -> str | None:
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        return None  # infinity, years before Christ or after 9999
    day, clock, fraction, sign, hours, minutes = match.groups()
    digits = (fraction or "").ljust(9, "0")
    moment = datetime.fromisoformat(f"{day}T{clock}.{digits[:6]}")
    try:
        if sign and utc:
            offset = timedelta(hours=int(hours), minutes=int(minutes or 0))
            moment += offset if sign == "-" else -offset
        if upper and digits[6:] != "000":
            moment += timedelta(microseconds=1)
    except OverflowError:
        return None
    written = moment.isoformat(timespec="microseconds")
    return f'"{written}Z"' if utc else f'"{written}"'


def utc_text(text: str) -> str:
    """Write a time with zone, as a partition's value, in UTC; text that is no time stays as it is."""
    bound = _timestamp_bound(text, utc=True, upper=False)
    return bound.strip('"') if bound else text


def files_of(actions: pa.Table, schema: TableSchema, decode: Callable[[str], str]) -> tuple[DataFile, ...]:
    """Read the log's table of live files as values, in order of path; text is as DuckDB writes it.

    Columns are converted as a whole: 10,000 files of 20 columns take about half a second.

    Args:
        actions: path, size_bytes, num_records and structs null_count, min, max, partition.
        schema: the table's columns.
        decode: a path as the log has it to the path on the storage.
    """
    count = actions.num_rows
    paths = [decode(path) for path in actions["path"].to_pylist()]
    partitions = _rows_of(_struct(actions, "partition"), schema.partition_by, count)
    stats: list[dict[str, ColumnStats]] = [{} for _ in range(count)]
    lows, highs, nulls = (_struct(actions, side) for side in ("min", "max", "null_count"))
    for name in schema.names:
        if name not in schema.partition_by:
            _fill(stats, name, (lows.get(name), highs.get(name), nulls.get(name)))
    sizes = actions["size_bytes"].to_pylist()
    rows = pc.fill_null(actions["num_records"], 0).to_pylist()
    files = [
        DataFile(path=path, size=size, rows=row, partition=partition, stats=stat)
        for path, size, row, partition, stat in zip(paths, sizes, rows, partitions, stats, strict=True)
    ]
    files.sort(key=lambda file: file.path)
    return tuple(files)


def _struct(actions: pa.Table, name: str) -> dict[str, pa.Array]:
    """Split a struct column; absent where no file has such statistics."""
    if name not in actions.column_names:
        return {}
    column = actions[name].combine_chunks()
    return {part.name: pc.struct_field(column, [index]) for index, part in enumerate(column.type)}


def _fill(stats: list[dict[str, ColumnStats]], name: str, sides: tuple[pa.Array | None, ...]) -> None:
    if all(side is None or pa.types.is_nested(side.type) for side in sides):
        return
    count = len(stats)
    low, high = (_texts(side, count) for side in sides[:2])
    null = sides[2].to_pylist() if sides[2] is not None else [None] * count
    values = next((side for side in sides[:2] if side is not None), None)
    exact = values is not None and not pa.types.is_string(values.type)
    for row, least, most, missing in zip(stats, low, high, null, strict=True):
        if least is not None or most is not None or missing is not None:
            row[name] = ColumnStats(least, most, missing, exact)


def _rows_of(columns: Mapping[str, pa.Array], names: Sequence[str], count: int) -> list[dict[str, str | None]]:
    if not names:
        return [{} for _ in range(count)]
    texts = [_texts(columns.get(name), count) for name in names]
    return [dict(zip(names, row, strict=True)) for row in zip(*texts, strict=True)]


def _texts(values: pa.Array | None, count: int) -> list[str | None]:
    """Write a column as DuckDB's text; types whose text differs between the two go their own way."""
    if values is None or pa.types.is_nested(values.type):
        return [None] * count
    type_ = values.type
    if pa.types.is_string(type_) or pa.types.is_large_string(type_):
        return _list(values)
    if pa.types.is_floating(type_):
        return [None if value is None else repr(value) for value in _doubles(values)]
    if pa.types.is_timestamp(type_):
        naive = values.cast(pa.timestamp("us"), safe=False)  # a zone's instants are kept in UTC: only the label goes
        text = pc.utf8_rtrim(pc.utf8_rtrim(naive.cast(pa.string()), "0"), ".")
        return _list(pc.binary_join_element_wise(text, "+00", "") if type_.tz else text)
    if pa.types.is_binary(type_):
        return [None] * count
    return _list(values.cast(pa.string()))


def _list(values: Any) -> list[str | None]:
    texts: list[str | None] = values.to_pylist()
    return texts


def _doubles(values: pa.Array) -> list[float | None]:
    if pa.types.is_float32(values.type):  # by its own shortest text, which widening would lengthen
        return [None if text is None else float(text) for text in values.cast(pa.string()).to_pylist()]
    doubles: list[float | None] = values.to_pylist()
    return doubles
