"""Rules that a column's type options imply: bounds, lengths, patterns, formats.

Each becomes one DuckDB expression, true for every good row and for a row without a value, built by sqlglot and cached.
What cannot be checked becomes a rule that says so, never silence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime, time
from functools import lru_cache
from typing import Final

from sqlglot import exp

from millpond.contracts.document import Path, Value
from millpond.contracts.report import Report, parts_of, text_of
from millpond.contracts.spec import Rule, Severity

NOT_RUN: Final = "not run by Millpond"

_BOUNDS: Final = {"minimum": exp.GTE, "maximum": exp.LTE, "exclusiveMinimum": exp.GT, "exclusiveMaximum": exp.LT}
_SIZES: Final = {
    "minLength": (exp.GTE, "LENGTH"), "maxLength": (exp.LTE, "LENGTH"),
    "minItems": (exp.GTE, "LEN"), "maxItems": (exp.LTE, "LEN"),
    "minProperties": (exp.GTE, "JSON_KEYS"), "maxProperties": (exp.LTE, "JSON_KEYS"),
}  # fmt: skip
_FORMATS: Final = {
    "email": r"[^@\s]+@[^@\s]+\.[^@\s]+",
    "uri": r"[A-Za-z][A-Za-z0-9+.\-]*:\S+",
    "hostname": r"([A-Za-z0-9]([A-Za-z0-9\-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9]([A-Za-z0-9\-]{0,61}[A-Za-z0-9])?",
    "ipv4": r"((25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])\.){3}(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])",
    "ipv6": r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*",
}
_CAST_FORMATS: Final = {"uuid": "UUID", "date": "DATE", "date-time": "TIMESTAMP WITH TIME ZONE", "time": "TIME"}
_TEMPORAL: Final = ("DATE", "TIME")
_NUMERIC: Final = re.compile(r"U?(TINY|SMALL|BIG|HUGE)INT|U?INTEGER|BIGNUM|FLOAT|DOUBLE|DECIMAL\(.*\)")
_NO_RE2: Final = re.compile(r"\(\?(=|!|<=|<!|>)|\\[1-9]")
_SILENT: Final = frozenset(
    {
        "format", "timezone", "defaultTimezone", "precision", "scale", "dimensions", "elementType", "distanceMetric",
        "embeddingModel", "embeddingModelVersion", "normalized",
    }
)  # fmt: skip
"""Options that make the type, or describe; nothing to check in a row."""


def implied_rules(part: dict[str, Value], column: str, type_text: str, path: Path, report: Report) -> Iterator[Rule]:
    """Give the rules that ``logicalTypeOptions`` of *part*, and of the fields inside it, imply."""
    yield from _rules_of(part, (column,), type_text, path, report)


def _rules_of(
    part: dict[str, Value], names: tuple[str, ...], type_text: str, path: Path, report: Report
) -> Iterator[Rule]:
    options = part.get("logicalTypeOptions")
    if isinstance(options, dict):
        logical = text_of(part, "logicalType") or ""
        for option, value in options.items():
            yield from _rule(
                option, value, options, names, type_text, logical, (*path, "logicalTypeOptions", option), report
            )
    if type_text.startswith("STRUCT("):
        for place, field in parts_of(part, "properties"):
            yield from _rules_of_field(field, names, (*path, "properties", place), report)
    for inner in ("items", "map"):
        if _has_rules(part.get(inner)):
            where = ".".join(names)
            yield _rule_not_run(f"{where}.{inner}", names[0], f"the rules inside {inner} of {where}", report, part)


def _rules_of_field(field: dict[str, Value], names: tuple[str, ...], path: Path, report: Report) -> Iterator[Rule]:
    """Give the rules of one field of a STRUCT."""
    inner = (*names, text_of(field, "name") or "")
    where = ".".join(inner)
    if field.get("required") is True:
        yield _made(f"{where}.required", names[0], _required(inner), report, field)
    if field.get("quality"):
        yield _rule_not_run(f"{where}.quality", names[0], f"the quality rules of the field {where}", report, field)
    yield from _rules_of(field, inner, _field_type(field), path, report)


def _field_type(field: dict[str, Value]) -> str:
    from millpond.contracts.columns import column_type  # noqa: PLC0415 - columns imports this module

    return column_type(field)


def _has_rules(part: Value) -> bool:
    """Tell whether *part* or anything in it has options or quality rules."""
    if isinstance(part, list):
        return any(map(_has_rules, part))
    if not isinstance(part, dict):
        return False
    options = part.get("logicalTypeOptions")
    if part.get("quality") or (isinstance(options, dict) and not options.keys() <= _SILENT):
        return True
    return any(_has_rules(part.get(inner)) for inner in ("items", "map", "key", "value", "properties"))


def _rule(
    option: str, value: Value, options: dict[str, Value], names: tuple[str, ...], type_text: str, logical: str,
    path: Path, report: Report,
) -> Iterator[Rule]:  # fmt: skip
    """Give the rule of one option, if it says something about rows."""
    rule_id, column = f"{'.'.join(names)}.{option}", names[0]
    if option in _BOUNDS:
        if isinstance(value, bool):  # as 3.0 has it: whether the other bound is strict
            return
        strict = options.get({"minimum": "exclusiveMinimum", "maximum": "exclusiveMaximum"}.get(option, "")) is True
        bound = _bound(value, logical, path, report)
        if bound is not None:
            sql = _compare(option, strict, bound, names, type_text, logical)
            yield _made(rule_id, column, sql, report, options)
    elif option in _SIZES and isinstance(value, int):
        if option.endswith("Properties") and type_text != "JSON":
            return  # the fields of a STRUCT are fixed by its type
        yield _made(rule_id, column, _size(option, value, names, type_text), report, options)
    elif option == "pattern" and isinstance(value, str):
        if check_pattern(value, path, report):
            yield _made(rule_id, column, _match(value, names, type_text), report, options)
    elif option == "format" and isinstance(value, str) and logical == "string":
        sql = _format(value, names, type_text)
        if sql:
            yield _made(rule_id, column, sql, report, options)
    elif option == "multipleOf" and isinstance(value, int | float):
        yield _made(rule_id, column, _multiple(str(value), names, type_text), report, options)
    elif option == "uniqueItems":
        if value is True and type_text.endswith("]"):
            yield _made(rule_id, column, _unique_items(names), report, options)
        elif value is True:
            yield _rule_not_run(rule_id, column, f"{option} of a column whose items have no type", report, options)
    elif option == "required" and isinstance(value, list):
        for field in value:
            yield _made(f"{rule_id}.{field}", column, _has_field(str(field), names, type_text), report, options)
    elif option not in _SILENT:
        yield _rule_not_run(rule_id, column, option, report, options)


def check_pattern(pattern: str, path: Path, report: Report) -> bool:
    """Check that DuckDB (RE2) can run *pattern*."""
    if _NO_RE2.search(pattern):
        report.add(
            path,
            "the pattern looks around or back, which DuckDB's regular expressions cannot",
            "Write it without (?=, (?!, (?<= or \\1",
        )
        return False
    try:
        re.compile(pattern)
    except (re.error, OverflowError) as cause:
        report.add(path, f"the pattern is no regular expression: {cause}")
        return False
    return True


def _made(rule_id: str, column: str, expression: str, report: Report, part: dict[str, Value]) -> Rule:
    return Rule(
        id=rule_id, kind="custom", column=column, expression=expression, dimension="conformity", at=report.at(part)
    )


def _rule_not_run(rule_id: str, column: str, what: str, report: Report, part: dict[str, Value]) -> Rule:
    return Rule(
        id=rule_id, kind="custom", column=column, severity=Severity.INFO, description=f"{NOT_RUN}: {what}",
        at=report.at(part),
    )  # fmt: skip


def _bound(value: Value, logical: str, path: Path, report: Report) -> str | None:
    """Read a bound as text for SQL: a number, or ISO time."""
    if not isinstance(value, str):
        return repr(value)
    try:
        if logical == "time":
            time.fromisoformat(value)
        elif len(value) == len("2020-01-01"):
            date.fromisoformat(value)
        else:
            datetime.fromisoformat(value)
    except ValueError:
        wanted = "09:30:00" if logical == "time" else "2020-01-31 or 2020-01-31T09:30:00"
        report.add(path, f"`{value}` is no {logical or 'date'}", f"Write it as ISO 8601: {wanted}")
        return None
    return value


def _subject(names: tuple[str, ...]) -> exp.Expression:
    subject: exp.Expression = exp.column(names[0], quoted=True)
    for name in names[1:]:
        subject = exp.Anonymous(this="STRUCT_EXTRACT", expressions=[subject, exp.Literal.string(name)])
    return subject


def _call(name: str, *arguments: exp.Expression) -> exp.Expression:
    return exp.Anonymous(this=name, expressions=list(arguments))


def _cast(subject: exp.Expression, type_text: str, *, quiet: bool = True) -> exp.Expression:
    to = exp.DataType.build(type_text, dialect="duckdb")
    return (exp.TryCast if quiet else exp.Cast)(this=subject, to=to)


def _finish(names: tuple[str, ...], test: exp.Expression) -> str:
    """Write *test*, true also for rows without a value."""
    absent = exp.Is(this=_subject(names), expression=exp.Null())
    return exp.Or(this=absent, expression=test).sql("duckdb")


@lru_cache(maxsize=65_536)
def _compare(option: str, strict: bool, bound: str, names: tuple[str, ...], type_text: str, logical: str) -> str:  # noqa: FBT001
    operator = {"minimum": exp.GT, "maximum": exp.LT}[option] if strict else _BOUNDS[option]
    subject = _subject(names)
    if logical in {"date", "timestamp", "time"}:
        if not type_text.startswith(_TEMPORAL):
            type_text = {"date": "DATE", "timestamp": "TIMESTAMP", "time": "TIME"}[logical]
            subject = _cast(subject, type_text)
        if type_text == "TIMESTAMP WITH TIME ZONE" and datetime.fromisoformat(bound).tzinfo is None:
            bound = f"{bound} 00:00:00+00" if len(bound) == len("2020-01-01") else f"{bound}+00"
        limit = _cast(exp.Literal.string(bound), type_text, quiet=False)
    else:
        if not _NUMERIC.fullmatch(type_text):
            subject = _cast(subject, "DOUBLE")
        limit = exp.Literal.number(bound)
    return _finish(names, operator(this=subject, expression=limit))


@lru_cache(maxsize=65_536)
def _size(option: str, value: int, names: tuple[str, ...], type_text: str) -> str:
    operator, function = _SIZES[option]
    subject = _subject(names)
    if function == "LENGTH" and type_text not in {"VARCHAR", "BLOB"}:
        subject = _cast(subject, "VARCHAR")
    if function == "LEN" and type_text == "JSON":
        function = "JSON_ARRAY_LENGTH"
    size = _call("LEN", _call("JSON_KEYS", subject)) if function == "JSON_KEYS" else _call(function, subject)
    return _finish(names, operator(this=size, expression=exp.Literal.number(value)))


@lru_cache(maxsize=65_536)
def _match(pattern: str, names: tuple[str, ...], type_text: str) -> str:
    subject = _subject(names) if type_text == "VARCHAR" else _cast(_subject(names), "VARCHAR")
    return _finish(names, _call("REGEXP_FULL_MATCH", subject, exp.Literal.string(pattern)))


def _format(name: str, names: tuple[str, ...], type_text: str) -> str | None:
    """Write the check of a named format; None where the type holds it already, or the name says nothing to check."""
    if type_text != "VARCHAR":
        return None
    if name in _FORMATS:
        return _match(_FORMATS[name], names, type_text)
    if name in _CAST_FORMATS:
        cast = _cast(_subject(names), _CAST_FORMATS[name])
        return _finish(names, exp.Not(this=exp.Is(this=cast, expression=exp.Null())))
    return None


@lru_cache(maxsize=65_536)
def _multiple(value: str, names: tuple[str, ...], type_text: str) -> str:
    subject, factor = _subject(names), exp.Literal.number(value)
    if type_text in {"FLOAT", "DOUBLE"} or not _NUMERIC.fullmatch(type_text):  # 0.3 % 0.1 is not 0 in binary
        subject = _cast(subject, "DECIMAL(38,10)")
    remainder = exp.Mod(this=subject, expression=factor)
    return _finish(names, exp.EQ(this=remainder, expression=exp.Literal.number(0)))


@lru_cache(maxsize=65_536)
def _unique_items(names: tuple[str, ...]) -> str:
    count = _call("LIST_AGGREGATE", _subject(names), exp.Literal.string("count"))
    return _finish(names, exp.EQ(this=_call("LIST_UNIQUE", _subject(names)), expression=count))


@lru_cache(maxsize=65_536)
def _has_field(field: str, names: tuple[str, ...], type_text: str) -> str:
    if type_text == "JSON":
        return _finish(names, _call("LIST_CONTAINS", _call("JSON_KEYS", _subject(names)), exp.Literal.string(field)))
    return _required((*names, field))


@lru_cache(maxsize=65_536)
def _required(names: tuple[str, ...]) -> str:
    """Write that the field has a value wherever what holds it has one."""
    present = exp.Not(this=exp.Is(this=_subject(names), expression=exp.Null()))
    return _finish(names[:-1], present)
