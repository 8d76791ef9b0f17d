"""Statistics' text as values that compare as the engine compares them, or nothing where that is not certain."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

_WHOLE: Final = {
    "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT",
}  # fmt: skip
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?)?")
_ZONE: Final = re.compile(r"(.*)(Z|[+-]\d\d(?::?\d\d)?)$")


def bound_of(type_: str, text: str | None) -> Any:
    """Read *text* as a value of a DuckDB type; None where types or text do not allow a certain comparison.

    Values of one type compare with each other. Text compares by its UTF-8 bytes, as in DuckDB without collation.
    """
    if text is None:
        return None
    try:
        return _read(type_, text)
    except (ValueError, ArithmeticError):
        return None


def same_value(type_: str, one: str | None, other: str | None) -> bool:
    """Tell whether two texts are the same value, whatever their spelling; no value is the same as no value."""
    if one == other:
        return True
    read = bound_of(type_, one)
    return read is not None and read == bound_of(type_, other)


def _read(type_: str, text: str) -> Any:
    family = type_.partition("(")[0]
    if family in _WHOLE:
        return int(text)
    reader = _READERS.get(family)
    return None if reader is None else reader(text)


def _decimal(text: str) -> Decimal | None:
    value = Decimal(text)
    return value if value.is_finite() else None


def _number(text: str) -> float | None:
    value = float(text)
    return None if math.isnan(value) else value  # NaN is not below or above anything here


def _day(text: str) -> date | None:
    return date.fromisoformat(text) if _DAY.fullmatch(text) else None


def _clock(text: str) -> datetime | None:
    return datetime.fromisoformat(text) if _TIME.fullmatch(text) else None


def _instant(text: str) -> datetime | None:
    if _TIME.fullmatch(text):
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    zoned = _ZONE.fullmatch(text)
    return datetime.fromisoformat(text) if zoned and _TIME.fullmatch(zoned[1]) else None


_READERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "DECIMAL": _decimal,
    "DOUBLE": _number,
    "FLOAT": _number,
    "VARCHAR": str.encode,
    "DATE": _day,
    "TIMESTAMP": _clock,
    "TIMESTAMP_S": _clock,
    "TIMESTAMP_MS": _clock,
    "TIMESTAMP WITH TIME ZONE": _instant,
}
