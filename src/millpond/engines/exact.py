"""When a text, or a value of another type, is a value of the wanted type: exactly, or not at all.

Owns the one definition of typing at the door, as DuckDB expressions; reading files and judging rows both build on it.
A cast that would round, cut, wrap or guess is a refusal. What is accepted, spaces and tabs around it aside:

- whole numbers: digits with a sign; ``517.0`` too, for its value is whole. ``1_000`` is 1000. Not ``1.5``,
  ``1e3``, ``0x10``.
- DECIMAL(p,s): digits with at most *s* digits after the point that are not zero. Not ``1.239`` for scale 2, not NaN.
- DOUBLE, FLOAT: any number, NaN and infinity by name; not a number too large to hold. FLOAT rounds, as it must.
- BOOLEAN: true/false, t/f, yes/no, y/n, 1/0, in any case.
- DATE: ``2013-02-03`` or ``2013/02/03``, also with a time of midnight; another form only where the source declares
  ``date_format``, and then that one only.
- TIMESTAMP: ``2013-02-03[ T]10:00[:00[.123456]]``, a date alone is its midnight, ``Z`` or ``+00:00`` may follow, for
  a TIMESTAMP is in UTC; another offset would be lost, so it is refused. Nanoseconds that are not zero are refused.
- TIMESTAMP WITH TIME ZONE: the same with any offset; without one it is UTC. Another form by ``timestamp_format``.
- dates are of the years 1 to 9999.
- TIME: ``10:00[:00[.123456]]``.
- anything else: what DuckDB's TRY_CAST takes.
"""

from __future__ import annotations

from typing import Final

from sqlglot import exp

from millpond.engines.spec import FileScan

_SIGNED: Final = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
_WHOLE: Final = frozenset({*_SIGNED, *(f"U{name}" for name in _SIGNED)})
_REAL: Final = frozenset({"FLOAT", "DOUBLE", "REAL"})
_DIGITS: Final = "[0-9](_?[0-9])*"
_PAD: Final = "[ \\t]*"
_DATE: Final = "[0-9]{4}[-/][0-9]{1,2}[-/][0-9]{1,2}"
_CLOCK: Final = "[0-9]{1,2}:[0-9]{2}(:[0-9]{2}(\\.[0-9]{1,6}0*)?)?"
_CLOCK_NS: Final = "[0-9]{1,2}:[0-9]{2}(:[0-9]{2}(\\.[0-9]{1,9})?)?"
_UTC: Final = "(Z|z|[+-]00(:?00)?)?"
_OFFSET: Final = "(Z|z|[+-][0-9]{2}(:?[0-9]{2})?)?"


def name_sql(name: str) -> str:
    """Write a column's or table's name as SQL, quoted."""
    return exp.to_identifier(name, quoted=True).sql("duckdb")


def text_sql(text: str) -> str:
    """Write a text as a SQL literal."""
    return exp.Literal.string(text).sql("duckdb")


def is_number(kind: str) -> bool:
    """Tell whether *kind* is written with digits and perhaps a decimal separator."""
    return kind in _WHOLE or kind in _REAL or kind.startswith("DECIMAL")


def is_real(kind: str) -> bool:
    """Tell whether *kind* is binary floating point."""
    return kind in _REAL


def reads_exactly(kind: str, scan: FileScan) -> bool:
    """Tell whether the CSV reader's own typing, where it succeeds and is finite, is that of ``value_of_text``."""
    return kind == "BOOLEAN" or (kind in _REAL and scan.decimal_separator == ".")


def is_text(kind: str) -> bool:
    """Tell whether every text is a value of *kind*."""
    return kind in {"VARCHAR", "TEXT", "STRING", "CHAR", "BPCHAR"}


def is_nested(kind: str) -> bool:
    """Tell whether *kind* holds other types, or JSON."""
    return kind.endswith("]") or kind.startswith(("STRUCT", "MAP", "UNION")) or kind == "JSON"


def scale_of(kind: str) -> int:
    """Digits after the point of ``DECIMAL(p,s)``."""
    return int(kind.rstrip(")").rsplit(",", 1)[1]) if "," in kind else 0


def precision_of(kind: str) -> int:
    """Digits in all of ``DECIMAL(p,s)``."""
    return int(kind.split("(", 1)[1].split(",", 1)[0].rstrip(") ")) if "(" in kind else 18


def _number(text: str, scan: FileScan) -> str:
    """Put a number's text into DuckDB's spelling; a point where another separator is declared makes it no number."""
    if scan.decimal_separator == ".":
        return text
    separator = text_sql(scan.decimal_separator)
    return f"replace(CASE WHEN contains({text}, '.') THEN '?' ELSE {text} END, {separator}, '.')"


def value_of_text(text: str, kind: str, scan: FileScan) -> str:
    """Give the expression that turns the text expression *text* into *kind*, NULL where it is none at all."""
    if is_text(kind):
        return text
    if kind == "DATE" and scan.date_format:
        return f"CAST(try_strptime({text}, {text_sql(scan.date_format)}) AS DATE)"
    if kind.startswith("TIMESTAMP") and scan.timestamp_format:
        return f"TRY_CAST(try_strptime({text}, {text_sql(scan.timestamp_format)}) AS {kind})"
    if is_number(kind):
        return f"TRY_CAST({_number(text, scan)} AS {kind})"
    return f"TRY_CAST({text} AS {kind})"


def is_exact_text(text: str, value: str, kind: str, scan: FileScan) -> str | None:
    """Give the predicate that ``IS TRUE`` where *text* says exactly *value*; None where it always does.

    Texts in the engine's own spelling, most of them, pass by one comparison; a regular expression judges the rest.
    Plain ANDs and ORs, so that the engine asks each term of the rows only that are still undecided.
    """
    if is_text(kind):
        return None
    if kind in _REAL:
        named = f"regexp_full_match({_number(text, scan)}, {text_sql(f'(?i){_PAD}[+-]?(nan|inf|infinity){_PAD}')})"
        return f"(isfinite({value}) OR {text} IS NULL OR {named})"
    pattern = _pattern(kind, scan)
    if pattern is None:
        spelled = f"({value} IS NOT NULL OR {text} IS NULL)"
    else:
        number = _number(text, scan) if is_number(kind) else text
        matches = f"({value} IS NOT NULL AND regexp_full_match({number}, {text_sql(_PAD + pattern + _PAD)}))"
        is_iso = f"CAST({value} AS VARCHAR) = {text}"
        if kind == "DATE":  # ten characters of a year of four digits have no room for a time of day
            is_iso = f"(strlen({text}) = 10 AND {value} >= DATE '1000-01-01')"
        spelled = f"({is_iso} OR {text} IS NULL OR {matches})"
    range_ = _range(kind, value)
    return spelled if range_ is None else f"(({range_} OR {text} IS NULL) AND {spelled})"


def _range(kind: str, value: str) -> str | None:
    """Keep dates to the years 1 to 9999: no infinity, no BC, nothing that other readers cannot hold."""
    if kind != "DATE" and not kind.startswith("TIMESTAMP"):
        return None
    last = "9999-12-31" if kind == "DATE" else "2262-04-11" if kind == "TIMESTAMP_NS" else "9999-12-31 23:59:59.999999"
    first = "1677-09-22" if kind == "TIMESTAMP_NS" else "0001-01-01"
    return f"{value} BETWEEN CAST({text_sql(first)} AS {kind}) AND CAST({text_sql(last)} AS {kind})"


def _pattern(kind: str, scan: FileScan) -> str | None:
    if kind in _WHOLE:
        return f"[+-]?{_DIGITS}(\\.0*)?"
    if kind.startswith("DECIMAL"):
        scale = scale_of(kind)
        return f"[+-]?({_DIGITS}(\\.[0-9]{{0,{scale}}}0*)?|\\.[0-9]{{1,{max(scale, 1)}}}0*)"
    if kind == "DATE":
        return None if scan.date_format else f"{_DATE}([ T]00:00(:00(\\.0+)?)?)?"
    if kind.startswith("TIMESTAMP"):
        if scan.timestamp_format:
            return None
        clock = _CLOCK_NS if kind == "TIMESTAMP_NS" else _CLOCK
        return f"{_DATE}([ T]{clock}{_OFFSET if 'ZONE' in kind or kind == 'TIMESTAMPTZ' else _UTC})?"
    return _CLOCK if kind == "TIME" else None


def value_of_value(column: str, stored: str, kind: str, scan: FileScan) -> str:
    """Give the expression that turns a column of type *stored* into *kind*, NULL where it is none at all."""
    if stored == kind:
        return column
    if is_text(stored):
        return value_of_text(column, kind, scan)
    if stored == "BLOB" and is_text(kind):
        return f"TRY(decode({column}))"
    return f"TRY_CAST({column} AS {kind})"


def is_exact_value(column: str, stored: str, value: str, kind: str, scan: FileScan) -> str | None:
    """Give the predicate that ``IS TRUE`` where the conversion to *kind* goes there and back; None where it must."""
    if stored == kind:
        return None
    if is_text(stored):
        return is_exact_text(column, value, kind, scan)
    there_and_back = "TRUE"
    if not (is_text(kind) or is_nested(kind) or kind in {"FLOAT", "REAL"}):
        there_and_back = f"TRY_CAST({value} AS {stored}) IS NOT DISTINCT FROM {column}"
    return f"({column} IS NULL OR ({value} IS NOT NULL AND {there_and_back}))"
