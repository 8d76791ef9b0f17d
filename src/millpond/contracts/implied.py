"""Rules that a column's type options imply: bounds, lengths, patterns, formats.

Each becomes one DuckDB expression, true for every good row and for a row without a value, built by sqlglot and cached.
What cannot be checked becomes a rule that says so, never silence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from functools import lru_cache
from typing import Final

from sqlglot import exp

from millpond.contracts.document import Path, Value
from millpond.contracts.errors import UnknownType
from millpond.contracts.report import Report, parts_of, text_of
from millpond.contracts.spec import Rule, Severity

NOT_RUN: Final = "not run by Millpond"

_BOUNDS: Final = {
    "minimum, strict": exp.GT,
    "maximum, strict": exp.LT,
    "minimum": exp.GTE,
    "maximum": exp.LTE,
    "exclusiveMinimum": exp.GT,
    "exclusiveMaximum": exp.LT,
}
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


@dataclass(frozen=True, slots=True)
class _Field:
    """What an option is about: a column, or a field inside one."""

    names: tuple[str, ...]
    """The column, then the fields down to it."""
    type: str
    logical: str
    options: dict[str, Value]
    path: Path
    """Of the options."""
    report: Report

    def rule(self, option: str, expression: str) -> Rule:
        """Make the rule of *option*."""
        return Rule(
            id=f"{'.'.join(self.names)}.{option}",
            kind="custom",
            column=self.names[0],
            expression=expression,
            dimension="conformity",
            at=self.report.at(self.options),
        )

    def not_run(self, option: str, what: str) -> Rule:
        """Make the rule that says what is not checked."""
        return Rule(
            id=f"{'.'.join(self.names)}.{option}",
            kind="custom",
            column=self.names[0],
            severity=Severity.INFO,
            description=f"{NOT_RUN}: {what}",
            at=self.report.at(self.options),
        )


def implied_rules(part: dict[str, Value], column: str, type_text: str, path: Path, report: Report) -> Iterator[Rule]:
    """Give the rules that ``logicalTypeOptions`` of *part*, and of the fields inside it, imply."""
    yield from _rules_of(part, (column,), type_text, path, report)


def _rules_of(
    part: dict[str, Value], names: tuple[str, ...], type_text: str, path: Path, report: Report
) -> Iterator[Rule]:
    given = part.get("logicalTypeOptions")
    options = given if isinstance(given, dict) else {}
    logical = text_of(part, "logicalType") or ""
    field = _Field(names, type_text, logical, options, (*path, "logicalTypeOptions"), report)
    for option, value in options.items():
        if option in _OPTIONS:
            yield from _OPTIONS[option](field, option, value)
        elif option not in _SILENT:
            yield field.not_run(option, option)
    if type_text.startswith("STRUCT("):
        for place, inner in parts_of(part, "properties"):
            yield from _rules_inside(inner, names, (*path, "properties", place), report)
    for holder in ("items", "map"):
        if _has_rules(part.get(holder)):
            yield field.not_run(holder, f"the rules inside {holder} of {'.'.join(names)}")


def _rules_inside(part: dict[str, Value], names: tuple[str, ...], path: Path, report: Report) -> Iterator[Rule]:
    """Give the rules of one field of a STRUCT."""
    from millpond.contracts.columns import column_type

    inner = (*names, text_of(part, "name") or "")
    try:
        type_text = column_type(part)
    except UnknownType as cause:
        report.add(path, f"`{cause.type_text}` {cause.why}" if cause.type_text else cause.why, cause.hint)
        return
    field = _Field(inner, type_text, text_of(part, "logicalType") or "", part, path, report)
    if part.get("required") is True:
        yield field.rule("required", _required(inner))
    if part.get("quality"):
        yield field.not_run("quality", f"the quality rules of the field {'.'.join(inner)}")
    yield from _rules_of(part, inner, field.type, path, report)


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


def _bound_rule(field: _Field, option: str, value: Value) -> Iterator[Rule]:
    if isinstance(value, bool):  # as 3.0 has it: whether the other bound is strict
        return
    strict = field.options.get({"minimum": "exclusiveMinimum", "maximum": "exclusiveMaximum"}.get(option, "")) is True
    bound = _bound(value, field, option)
    if bound is not None:
        operator = f"{option}, strict" if strict else option
        yield field.rule(option, _compare(operator, bound, field.names, field.type, field.logical))


def _size_rule(field: _Field, option: str, value: Value) -> Iterator[Rule]:
    if option.endswith("Properties") and field.type != "JSON":
        return  # the fields of a STRUCT are fixed by its type
    if isinstance(value, int):
        yield field.rule(option, _size(option, value, field.names, field.type))


def _pattern_rule(field: _Field, option: str, value: Value) -> Iterator[Rule]:
    problem = pattern_problem(str(value))
    if problem:
        field.report.add((*field.path, option), *problem)
    else:
        yield field.rule(option, _match(str(value), field.names, field.type))


def _format_rule(field: _Field, option: str, value: Value) -> Iterator[Rule]:
    """Check a named format, where the type does not hold it already and the name says something to check."""
    if field.logical != "string" or field.type != "VARCHAR":
        return
    if value in _FORMATS:
        yield field.rule(option, _match(_FORMATS[str(value)], field.names, field.type))
    elif value in _CAST_FORMATS:
        yield field.rule(option, _castable(_CAST_FORMATS[str(value)], field.names))


def _multiple_rule(field: _Field, option: str, value: Value) -> Iterator[Rule]:
    yield field.rule(option, _multiple(str(value), field.names, field.type))


def _unique_rule(field: _Field, option: str, value: Value) -> Iterator[Rule]:
    if value is True and field.type.endswith("]"):
        yield field.rule(option, _unique_items(field.names))
    elif value is True:
        yield field.not_run(option, f"{option} of a column whose items have no type")


def _required_rule(field: _Field, option: str, value: Value) -> Iterator[Rule]:
    for name in value if isinstance(value, list) else ():
        yield field.rule(f"{option}.{name}", _has_field(str(name), field.names, field.type))


_OPTIONS: Final[Mapping[str, Callable[[_Field, str, Value], Iterator[Rule]]]] = {
    **dict.fromkeys(_BOUNDS, _bound_rule),
    **dict.fromkeys(_SIZES, _size_rule),
    "pattern": _pattern_rule,
    "format": _format_rule,
    "multipleOf": _multiple_rule,
    "uniqueItems": _unique_rule,
    "required": _required_rule,
}


def pattern_problem(pattern: str) -> tuple[str, str | None] | None:
    """Say why DuckDB (RE2) cannot run *pattern*, and what to do; None where it can."""
    if _NO_RE2.search(pattern):
        what = "the pattern looks around or back, which DuckDB's regular expressions cannot"
        return what, "Write it without (?=, (?!, (?<= or \\1"
    try:
        re.compile(pattern)
    except (re.error, OverflowError) as cause:
        return f"the pattern is no regular expression: {cause}", None
    return None


def _bound(value: Value, field: _Field, option: str) -> str | None:
    """Read a bound as text for SQL: a number, or ISO time."""
    if not isinstance(value, str):
        return repr(value)
    try:
        if field.logical == "time":
            time.fromisoformat(value)
        elif len(value) == len("2020-01-01"):
            date.fromisoformat(value)
        else:
            datetime.fromisoformat(value)
    except ValueError:
        wanted = "09:30:00" if field.logical == "time" else "2020-01-31 or 2020-01-31T09:30:00"
        what = f"`{value}` is no {field.logical or 'date'}"
        field.report.add((*field.path, option), what, f"Write it as ISO 8601: {wanted}")
        return None
    return value


def _subject(names: tuple[str, ...]) -> exp.Expr:
    subject: exp.Expr = exp.column(names[0], quoted=True)
    for name in names[1:]:
        subject = exp.Anonymous(this="STRUCT_EXTRACT", expressions=[subject, exp.Literal.string(name)])
    return subject


def _call(name: str, *arguments: exp.Expr) -> exp.Expr:
    return exp.Anonymous(this=name, expressions=list(arguments))


def _cast(subject: exp.Expr, type_text: str, *, quiet: bool = True) -> exp.Expr:
    to = exp.DataType.build(type_text, dialect="duckdb")
    return (exp.TryCast if quiet else exp.Cast)(this=subject, to=to)


def _finish(names: tuple[str, ...], test: exp.Expr) -> str:
    """Write *test*, true also for rows without a value."""
    absent = exp.Is(this=_subject(names), expression=exp.Null())
    return exp.Or(this=absent, expression=test).sql("duckdb")


@lru_cache(maxsize=65_536)
def _compare(option: str, bound: str, names: tuple[str, ...], type_text: str, logical: str) -> str:
    operator = _BOUNDS[option]
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


@lru_cache(maxsize=65_536)
def _castable(type_text: str, names: tuple[str, ...]) -> str:
    return _finish(names, exp.Not(this=exp.Is(this=_cast(_subject(names), type_text), expression=exp.Null())))


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
