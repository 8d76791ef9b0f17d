"""ODCS ``quality`` as rules: library metrics, SQL queries, DuckDB expressions.

A rule that Millpond cannot read is a problem. A rule for people (``text``) or for another engine is kept as INFO and
says so. Nothing is dropped.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, Literal, cast

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from millpond.contracts.document import Path, Value
from millpond.contracts.implied import NOT_RUN, pattern_problem
from millpond.contracts.report import Report, as_text, parts_of, suggest, text_of
from millpond.contracts.shape import METRICS, OPERATORS
from millpond.contracts.spec import Operator, Rule, Severity

ENGINE: Final = "millpond"

_OLD_RULES: Final = {
    "nullCheck": "nullValues", "nullCount": "nullValues", "nullValues": "nullValues", "notNull": "nullValues",
    "missingValues": "missingValues", "missingCount": "missingValues",
    "validValues": "invalidValues", "invalidValues": "invalidValues", "invalidCount": "invalidValues",
    "uniqueCheck": "duplicateValues", "unique": "duplicateValues", "duplicateCount": "duplicateValues",
    "duplicateValues": "duplicateValues", "duplicates": "duplicateValues",
    "countCheck": "rowCount", "rowCount": "rowCount",
}  # fmt: skip
"""What 3.0 called a metric."""
_ARGUMENTS: Final = {
    "nullValues": (), "missingValues": ("missingValues",), "invalidValues": ("validValues", "pattern"),
    "duplicateValues": ("properties",), "rowCount": (),
}  # fmt: skip
_PLACEHOLDER: Final = re.compile(
    r"\$\{(\w+)(?::-[^}]*)?\}|\{\{?\s*(object|table|model|dataset|property|column|field)\s*\}?\}", re.IGNORECASE
)
_MEANT: Final = {
    "object": "object", "table": "object", "model": "object", "dataset": "object",
    "property": "property", "column": "property", "field": "property",
}  # fmt: skip


def column_rules(
    part: dict[str, Value], column: str, names: Sequence[str], *, path: Path, report: Report
) -> tuple[Rule, ...]:
    """Read the rules of one column: its ``quality`` and its ``enum``; *names* are the dataset's columns."""
    if "quality" not in part and "enum" not in part:
        return ()
    allowed = tuple(as_text(item.get("value")) for _, item in parts_of(part, "enum") if item.get("value") is not None)
    rules = _read(part, column, names, allowed=allowed, path=path, report=report)
    if allowed:
        rules.append(
            Rule(
                id=f"{column}.enum",
                kind="library",
                metric="invalidValues",
                column=column,
                valid_values=allowed,
                operator="=",
                thresholds=(0.0,),
                dimension="conformity",
                at=report.at(part),
            )
        )
    return tuple(rules)


def dataset_rules(part: dict[str, Value], names: Sequence[str], path: Path, report: Report) -> tuple[Rule, ...]:
    """Read the rules of a dataset itself."""
    return tuple(_read(part, None, names, allowed=(), path=path, report=report)) if "quality" in part else ()


def _read(
    part: dict[str, Value],
    column: str | None,
    names: Sequence[str],
    *,
    allowed: tuple[str, ...],
    path: Path,
    report: Report,
) -> list[Rule]:
    rules: list[Rule] = []
    taken: set[str] = set()
    for place, item in parts_of(part, "quality"):
        here = (*path, "quality", place)
        if report.broken(here):
            continue
        rule = _Reader(item, column, names, allowed, here, report).read()
        if rule is not None:
            rules.append(_identify(rule, item, taken, here, report))
    return rules


def _identify(rule: Rule, item: dict[str, Value], taken: set[str], path: Path, report: Report) -> Rule:
    """Give the rule its id: the contract's, or one made of column, metric and place."""
    given = text_of(item, "id")
    if given is not None and given in taken:
        report.add((*path, "id"), f"the rule id `{given}` is there twice", "Give each rule its own id")
    base = name = given or rule.id
    number = 1
    while name in taken:
        number += 1
        name = f"{base}.{number}"
    taken.add(name)
    return replace(rule, id=f"{rule.column}.{name}" if rule.column is not None else name)


class _WrongRule(Exception):
    """A rule that cannot be read: what, the fix, and the field below the rule."""

    def __init__(self, what: str, fix: str | None, *below: str) -> None:
        super().__init__(what)
        self.what, self.fix, self.below = what, fix, below


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads one quality rule."""

    item: dict[str, Value]
    column: str | None
    names: Sequence[str]
    allowed: tuple[str, ...]
    """The column's ``enum``."""
    path: Path
    report: Report

    def read(self) -> Rule | None:
        """Read the rule by its type; None where it is wrong, which is noted."""
        kind = text_of(self.item, "type") or ("sql" if "query" in self.item else "library")
        severity = self.report.severity(self.item, self.path, Severity.ERROR)
        rule = self._rule(kind, severity)
        try:
            if kind == "text":
                return self._kept(rule, "text")
            if kind == "custom":
                return self._custom(rule)
            return self._sql(rule) if kind == "sql" else self._library(rule)
        except _WrongRule as wrong:
            self.report.add((*self.path, *wrong.below), wrong.what, wrong.fix)
            return None

    def _rule(self, kind: str, severity: Severity) -> Rule:
        """Make a rule with what every kind of rule has."""
        return Rule(
            id=kind,
            kind="sql" if kind == "sql" else "library" if kind == "library" else "custom",
            column=self.column,
            severity=severity,
            dimension=text_of(self.item, "dimension"),
            description=text_of(self.item, "description"),
            at=self.report.at(self.item),
        )

    @staticmethod
    def _kept(rule: Rule, what: str) -> Rule:
        """Keep a rule that is not run, and say so."""
        note = f"{NOT_RUN}: {what}"
        said = f"{rule.description} ({note})" if rule.description else note
        return replace(rule, id=what.removeprefix("engine "), severity=Severity.INFO, description=said)

    def _library(self, rule: Rule) -> Rule:
        metric = text_of(self.item, "metric")
        old = text_of(self.item, "rule")
        if metric is None and old is not None:
            if old == "between":
                return self._between(rule)
            metric = _OLD_RULES.get(old)
            if metric is None:
                raise _WrongRule(
                    f"`{old}` is no rule that Millpond knows", suggest(old, [*_OLD_RULES, "between"]), "rule"
                )
        if metric is None:
            raise _WrongRule("a library rule needs `metric`", f"Add `metric:` with one of: {', '.join(METRICS)}")
        if metric not in METRICS:  # 3.0 does not list them
            raise _WrongRule(f"`{metric}` is no metric", suggest(metric, METRICS), "metric")
        if self.column is None and metric in {"nullValues", "missingValues", "invalidValues"}:
            raise _WrongRule(f"{metric} is about one column", "Move the rule under that property", "metric")
        operator, thresholds = self._condition(metric)
        rule = replace(
            rule, id=metric, metric=metric, operator=operator, thresholds=thresholds, unit=self._unit(metric)
        )
        known = self._arguments(metric)
        if metric == "missingValues":
            values = known.get("missingValues")
            listed = values if isinstance(values, list) else [None, ""]
            return replace(rule, missing_values=tuple(None if value is None else as_text(value) for value in listed))
        if metric == "duplicateValues":
            return replace(rule, columns=self._duplicates(known.get("properties")))
        return self._validity(rule, known) if metric == "invalidValues" else rule

    def _arguments(self, metric: str) -> dict[str, Value]:
        """Read what the metric needs to know: ``arguments``, and in 3.0 fields of the rule itself."""
        given = self.item.get("arguments")
        known = given if isinstance(given, dict) else {}
        for name in known if not self.report.version.startswith("v3.0") else ():
            if name not in _ARGUMENTS[metric]:
                fix = suggest(name, _ARGUMENTS[metric]) if _ARGUMENTS[metric] else "Remove it"
                raise _WrongRule(f"`{name}` is no argument of {metric}", fix, "arguments", name)
        return {name: self.item[name] for name in _ARGUMENTS[metric] if name in self.item} | known

    def _duplicates(self, properties: Value) -> tuple[str, ...]:
        listed = [as_text(name) for name in properties] if isinstance(properties, list) else []
        if not listed and self.column is None:
            raise _WrongRule("duplicateValues does not say of which columns", "Add `arguments: {properties: [a, b]}`")
        by_lower = {name.lower(): name for name in self.names}
        for name in listed:
            if name.lower() not in by_lower:
                raise _WrongRule(f"there is no column `{name}`", suggest(name, self.names), "arguments", "properties")
        return tuple(by_lower[name.lower()] for name in listed)

    def _validity(self, rule: Rule, known: dict[str, Value]) -> Rule:
        values, pattern = known.get("validValues"), known.get("pattern")
        valid = tuple(as_text(value) for value in values if value is not None) if isinstance(values, list) else None
        if pattern is not None:
            if not isinstance(pattern, str):
                raise _WrongRule("the pattern is no text", "Quote it", "arguments", "pattern")
            problem = pattern_problem(pattern)
            if problem:
                raise _WrongRule(*problem, "arguments", "pattern")
        elif valid is None:
            valid = self.allowed or None
            if valid is None:
                fix = "Add `arguments: {validValues: [...]}` or `{pattern: ...}`"
                raise _WrongRule("invalidValues does not say what is valid", fix)
        return replace(rule, valid_values=valid, pattern=pattern)

    def _condition(self, metric: str | None) -> tuple[Operator, tuple[float, ...]]:
        """Read the operator and its numbers."""
        given = [name for name in OPERATORS if name in self.item]
        if len(given) > 1:
            what = f"a quality rule has one condition, this has {len(given)}: {', '.join(given)}"
            raise _WrongRule(what, "Keep one, or write two rules")
        if not given:
            for name in self.item:
                if name.startswith("must"):
                    raise _WrongRule(f"`{name}` is no condition", suggest(name, OPERATORS), name)
            if self.report.version.startswith("v3.0") and metric not in {None, "rowCount"}:
                return "=", (0.0,)
            raise _WrongRule("a quality rule needs a condition", f"Add one of: {', '.join(OPERATORS)}")
        name = given[0]
        value = self.item[name]
        listed = value if isinstance(value, list) else [value]
        numbers = [float(item) for item in listed if isinstance(item, int | float) and not isinstance(item, bool)]
        if len(numbers) != len(listed) or len(numbers) != (2 if name.endswith("Between") else 1):
            wanted, example = ("two numbers", "[1, 10]") if name.endswith("Between") else ("a number", "0")
            raise _WrongRule(f"`{name}` must be {wanted}", f"Write {name}: {example}", name)
        if numbers != sorted(numbers):
            raise _WrongRule(
                f"`{name}` has its numbers the wrong way round", f"Write {name}: {[*reversed(listed)]}", name
            )
        return cast("Operator", OPERATORS[name]), tuple(numbers)

    def _unit(self, metric: str | None) -> Literal["rows", "percent"]:
        unit = self.item.get("unit", "rows")
        if unit not in {"rows", "percent"}:
            raise _WrongRule(f"`{unit}` is no unit", "Write rows or percent", "unit")
        if unit == "percent" and metric == "rowCount":
            raise _WrongRule("rowCount has no percent", "Write `unit: rows`", "unit")
        return "percent" if unit == "percent" else "rows"

    def _sql(self, rule: Rule) -> Rule:
        operator, thresholds = self._condition(None)
        query = self._named(text_of(self.item, "query") or "", "query")
        _, error = _parse(query, is_query=True)
        if error:
            raise _WrongRule(error, "Write one SELECT that gives one number", "query")
        return replace(rule, query=query, operator=operator, thresholds=thresholds, unit=self._unit(None))

    def _named(self, text: str, field: str) -> str:
        """Write every placeholder as ``${object}`` or ``${property}``; variables of other names stay."""

        def written(match: re.Match[str]) -> str:
            meant = _MEANT.get((match[1] or match[2]).lower())
            if meant == "property" and self.column is None:
                fix = "Name the column, or move the rule under a property"
                raise _WrongRule(f"`{match[0]}` stands for a column, but the rule is the dataset's", fix, field)
            return f"${{{meant}}}" if meant else match[0]

        return _PLACEHOLDER.sub(written, text)

    def _custom(self, rule: Rule) -> Rule:
        engine = text_of(self.item, "engine")
        if engine is None:
            raise _WrongRule("a custom rule needs `engine`", f"Add `engine: {ENGINE}`")
        if engine.lower() != ENGINE:
            return self._kept(rule, f"engine {engine}")
        told = self.item.get("implementation")
        expression = told.get("expression") if isinstance(told, dict) else told
        for name in told if isinstance(told, dict) else ():
            if name != "expression":
                what = f"`{name}` is no part of a Millpond rule"
                raise _WrongRule(what, suggest(name, ["expression"]), "implementation", name)
        if not isinstance(expression, str) or not expression.strip():
            what = "a Millpond rule is a DuckDB expression that is true for every good row"
            raise _WrongRule(what, "Write `implementation: amount > 0`", "implementation")
        return replace(rule, expression=self._expression(expression.strip()))

    def _expression(self, text: str) -> str:
        text = self._named(text, "implementation")
        if "${object}" in text:
            what = "`${object}` stands for the dataset, but an expression sees one row"
            raise _WrongRule(what, "Write a rule of type sql", "implementation")
        if self.column is not None:
            text = text.replace("${property}", exp.to_identifier(self.column, quoted=True).sql("duckdb"))
        names, error = _parse(text, is_query=False)
        if error:
            raise _WrongRule(error, "Write a DuckDB expression such as `amount > 0`", "implementation")
        known = {name.lower() for name in self.names}
        for name in names:
            if name.lower() not in known:
                raise _WrongRule(f"there is no column `{name}`", suggest(name, self.names), "implementation")
        if "--" in text or "/*" in text:  # a comment would swallow what is written after the expression
            return sqlglot.parse_one(text, dialect="duckdb").sql("duckdb", comments=False)
        return text

    def _between(self, rule: Rule) -> Rule:
        """Read 3.0's ``rule: between`` with ``min`` and ``max`` as custom properties."""
        limits = {item.get("property"): item.get("value") for _, item in parts_of(self.item, "customProperties")}
        numbers = [value for value in (limits.get("min"), limits.get("max")) if isinstance(value, int | float)]
        if self.column is None or len(numbers) != 2:
            what = "`between` needs a column, and customProperties `min` and `max` with numbers"
            raise _WrongRule(what, None, "rule")
        subject = exp.column(self.column, quoted=True)
        inside = exp.Between(this=subject, low=exp.Literal.number(numbers[0]), high=exp.Literal.number(numbers[1]))
        test = exp.Or(this=exp.Is(this=subject.copy(), expression=exp.Null()), expression=inside)
        return replace(rule, id="between", kind="custom", expression=test.sql("duckdb"))


@lru_cache(maxsize=16_384)
def _parse(text: str, *, is_query: bool) -> tuple[tuple[str, ...], str | None]:
    """Parse a query or an expression: the columns it names, and what is wrong with it."""
    plain = _PLACEHOLDER.sub("_placeholder", text)
    try:
        trees = sqlglot.parse(plain, dialect="duckdb")
    except SqlglotError as cause:
        errors = getattr(cause, "errors", None)
        said = errors[0]["description"] if errors else str(cause).splitlines()[0]
        return (), f"it is not valid SQL: {'a part is missing' if 'Required keyword' in said else said.rstrip('.')}"
    if len(trees) != 1 or trees[0] is None:
        return (), f"it has {len(trees)} statements, not one" if len(trees) > 1 else "it is empty"
    tree = trees[0]
    if is_query:
        return (), None if isinstance(tree, exp.Query) else "it is no query"
    if not isinstance(tree, exp.Condition | exp.Paren) or isinstance(tree, exp.Query | exp.Alias | exp.Tuple):
        return (), "it is no expression over a row"
    if tree.find(exp.Query, exp.AggFunc, exp.Window):
        return (), "it looks at other rows (a query, an aggregate or a window)"
    bound = {name.name for scope in tree.find_all(exp.Lambda) for name in scope.expressions}
    return tuple(c.parts[0].name for c in tree.find_all(exp.Column) if c.parts[0].name not in bound), None
