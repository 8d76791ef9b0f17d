"""ODCS ``quality`` as rules: library metrics, SQL queries, DuckDB expressions.

A rule that Millpond cannot read is a problem. A rule for people (``text``) or for another engine is kept as INFO and
says so. Nothing is dropped.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, cast

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from millpond.contracts.document import Path, Value
from millpond.contracts.implied import NOT_RUN, check_pattern
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
    part: dict[str, Value], column: str, names: Sequence[str], path: Path, report: Report
) -> tuple[Rule, ...]:
    """Read the rules of one column: its ``quality`` and its ``enum``; *names* are the dataset's columns."""
    if "quality" not in part and "enum" not in part:
        return ()
    allowed = tuple(as_text(item.get("value")) for _, item in parts_of(part, "enum") if item.get("value") is not None)
    rules = _read(part, column, names, allowed, path, report)
    if allowed:
        rules.append(
            Rule(
                id=f"{column}.enum", kind="library", metric="invalidValues", column=column, valid_values=allowed,
                operator="=", thresholds=(0,), dimension="conformity", at=report.at(part),
            )
        )  # fmt: skip
    return tuple(rules)


def dataset_rules(part: dict[str, Value], names: Sequence[str], path: Path, report: Report) -> tuple[Rule, ...]:
    """Read the rules of a dataset itself."""
    return tuple(_read(part, None, names, (), path, report)) if "quality" in part else ()


def _read(
    part: dict[str, Value],
    column: str | None,
    names: Sequence[str],
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
    name = given or rule.id
    if given is not None and given in taken:
        report.add((*path, "id"), f"the rule id `{given}` is there twice", "Give each rule its own id")
    number = 1
    while name in taken:
        number += 1
        name = f"{rule.id}.{number}"
    taken.add(name)
    full = f"{rule.column}.{name}" if rule.column is not None else name
    return _replace_id(rule, full)


def _replace_id(rule: Rule, rule_id: str) -> Rule:
    object.__setattr__(rule, "id", rule_id)  # just made here and not shared yet; dataclasses.replace costs 10 µs
    return rule


class _Reader:
    """Reads one quality rule."""

    def __init__(
        self, item: dict[str, Value], column: str | None, names: Sequence[str], allowed: tuple[str, ...], path: Path,
        report: Report,
    ) -> None:  # fmt: skip
        self.item, self.column, self.names, self.allowed = item, column, names, allowed
        self.path, self.report = path, report

    def read(self) -> Rule | None:
        """Read the rule by its type; None where it is wrong, which is noted."""
        kind = text_of(self.item, "type") or ("sql" if "query" in self.item else "library")
        severity = self.report.severity(self.item, self.path, Severity.ERROR)
        if kind == "text":
            return self._kept("text", "text")
        if kind == "custom":
            return self._custom(severity)
        if kind == "sql":
            return self._sql(severity)
        return self._library(severity)

    def _kept(self, name: str, what: str) -> Rule:
        """Keep a rule that is not run, and say so."""
        said = text_of(self.item, "description")
        note = f"{NOT_RUN}: {what}"
        return self._rule(name, "custom", Severity.INFO, description=f"{said} ({note})" if said else note)

    def _rule(self, name: str, kind: str, severity: Severity, **facts: object) -> Rule:
        facts.setdefault("description", text_of(self.item, "description"))
        return Rule(
            id=name, kind=kind, column=self.column, severity=severity, dimension=text_of(self.item, "dimension"),
            at=self.report.at(self.item), **facts,
        )  # type: ignore[arg-type]  # fmt: skip

    def _library(self, severity: Severity) -> Rule | None:
        metric = text_of(self.item, "metric")
        old = text_of(self.item, "rule")
        if metric is None and old is not None:
            if old == "between":
                return self._between(severity)
            metric = _OLD_RULES.get(old)
            if metric is None:
                return self._wrong(
                    f"`{old}` is no rule that Millpond knows", suggest(old, [*_OLD_RULES, "between"]), "rule"
                )
        if metric is None:
            return self._wrong("a library rule needs `metric`", f"Add `metric:` with one of: {', '.join(METRICS)}")
        if metric not in METRICS:  # 3.0 does not list them
            return self._wrong(f"`{metric}` is no metric", suggest(metric, METRICS), "metric")
        facts = self._arguments(metric)
        condition = self._condition(metric)
        if facts is None or condition is None:
            return None
        operator, thresholds = condition
        unit = self._unit(metric)
        return self._rule(
            metric, "library", severity, metric=metric, operator=operator, thresholds=thresholds, unit=unit, **facts
        )

    def _arguments(self, metric: str) -> dict[str, object] | None:
        """Read what the metric needs to know."""
        given = self.item.get("arguments")
        known = dict(given) if isinstance(given, dict) else {}
        if not self.report.version.startswith("v3.0"):
            for name in known:
                if name not in _ARGUMENTS[metric]:
                    what = f"`{name}` is no argument of {metric}"
                    self._wrong(
                        what,
                        suggest(name, _ARGUMENTS[metric]) if _ARGUMENTS[metric] else "Remove it",
                        "arguments",
                        name,
                    )
                    return None
        known = {name: self.item[name] for name in _ARGUMENTS[metric] if name in self.item} | known
        if self.column is None and metric in {"nullValues", "missingValues", "invalidValues"}:
            self._wrong(f"{metric} is about one column", "Move the rule under that property", "metric")
            return None
        if metric == "missingValues":
            values = known.get("missingValues")
            listed = values if isinstance(values, list) else [None, ""]
            return {"missing_values": tuple(None if value is None else as_text(value) for value in listed)}
        if metric == "duplicateValues":
            return self._duplicates(known.get("properties"))
        return self._validity(known) if metric == "invalidValues" else {}

    def _duplicates(self, properties: Value) -> dict[str, object] | None:
        listed = [as_text(name) for name in properties] if isinstance(properties, list) else []
        if not listed and self.column is None:
            self._wrong("duplicateValues does not say of which columns", "Add `arguments: {properties: [a, b]}`")
            return None
        by_lower = {name.lower(): name for name in self.names}
        for name in listed:
            if name.lower() not in by_lower:
                self._wrong(f"there is no column `{name}`", suggest(name, self.names), "arguments", "properties")
                return None
        return {"columns": tuple(by_lower[name.lower()] for name in listed)}

    def _validity(self, known: dict[str, Value]) -> dict[str, object] | None:
        values, pattern = known.get("validValues"), known.get("pattern")
        valid = tuple(as_text(value) for value in values if value is not None) if isinstance(values, list) else None
        if valid is None and pattern is None:
            valid = self.allowed or None
        if valid is None and pattern is None:
            self._wrong(
                "invalidValues does not say what is valid", "Add `arguments: {validValues: [...]}` or `{pattern: ...}`"
            )
            return None
        if pattern is not None and not (
            isinstance(pattern, str) and check_pattern(pattern, (*self.path, "arguments", "pattern"), self.report)
        ):
            return None
        return {"valid_values": valid, "pattern": pattern}

    def _condition(self, metric: str | None) -> tuple[Operator, tuple[float, ...]] | None:
        """Read the operator and its numbers."""
        given = [name for name in OPERATORS if name in self.item]
        if len(given) > 1:
            self._wrong(
                f"a quality rule has one condition, this has {len(given)}: {', '.join(given)}",
                "Keep one, or write two rules",
            )
            return None
        if not given:
            if self.report.version.startswith("v3.0") and metric not in {None, "rowCount"}:
                return "=", (0.0,)
            for name in self.item:
                if name.startswith("must"):
                    self._wrong(f"`{name}` is no condition", suggest(name, OPERATORS), name)
                    return None
            self._wrong("a quality rule needs a condition", f"Add one of: {', '.join(OPERATORS)}")
            return None
        name = given[0]
        value = self.item[name]
        listed = value if isinstance(value, list) else [value]
        numbers = [float(item) for item in listed if isinstance(item, int | float) and not isinstance(item, bool)]
        if len(numbers) != len(listed) or len(numbers) != (2 if name.endswith("Between") else 1):
            wanted = "two numbers" if name.endswith("Between") else "a number"
            self._wrong(
                f"`{name}` must be {wanted}", f"Write {name}: {'[1, 10]' if wanted == 'two numbers' else '0'}", name
            )
            return None
        if numbers != sorted(numbers):
            self._wrong(f"`{name}` has its numbers the wrong way round", f"Write {name}: {[*reversed(listed)]}", name)
            return None
        return cast("Operator", OPERATORS[name]), tuple(numbers)

    def _unit(self, metric: str | None) -> str:
        unit = self.item.get("unit", "rows")
        if unit not in {"rows", "percent"}:
            self._wrong(f"`{unit}` is no unit", "Write rows or percent", "unit")
        elif unit == "percent" and metric == "rowCount":
            self._wrong("rowCount has no percent", "Write `unit: rows`", "unit")
        return str(unit)

    def _sql(self, severity: Severity) -> Rule | None:
        condition = self._condition(None)
        query = self._named(text_of(self.item, "query") or "", "query")
        if condition is None or query is None:
            return None
        _, error = _parse(query, is_query=True)
        if error:
            return self._wrong(error, "Write one SELECT that gives one number", "query")
        operator, thresholds = condition
        return self._rule(
            "sql", "sql", severity, query=query, operator=operator, thresholds=thresholds, unit=self._unit(None)
        )

    def _named(self, query: str, field: str) -> str | None:
        """Write every placeholder as ``${object}`` or ``${property}``; variables of other names stay."""
        for match in _PLACEHOLDER.finditer(query):
            if _MEANT.get((match[1] or match[2]).lower()) == "property" and self.column is None:
                self._wrong(
                    f"`{match[0]}` stands for a column, but the rule is the dataset's",
                    "Name the column, or move the rule under a property",
                    field,
                )
                return None

        def written(match: re.Match[str]) -> str:
            meant = _MEANT.get((match[1] or match[2]).lower())
            return f"${{{meant}}}" if meant else match[0]

        return _PLACEHOLDER.sub(written, query)

    def _custom(self, severity: Severity) -> Rule | None:
        engine = text_of(self.item, "engine")
        if engine is None:
            return self._wrong("a custom rule needs `engine`", f"Add `engine: {ENGINE}`")
        if engine.lower() != ENGINE:
            return self._kept(engine, f"engine {engine}")
        told = self.item.get("implementation")
        expression = told.get("expression") if isinstance(told, dict) else told
        if isinstance(told, dict) and set(told) - {"expression"}:
            extra = next(name for name in told if name != "expression")
            return self._wrong(
                f"`{extra}` is no part of a Millpond rule", suggest(extra, ["expression"]), "implementation", extra
            )
        if not isinstance(expression, str) or not expression.strip():
            return self._wrong(
                "a Millpond rule is a DuckDB expression that is true for every good row",
                "Write `implementation: amount > 0`",
                "implementation",
            )
        return self._expression(expression.strip(), severity)

    def _expression(self, text: str, severity: Severity) -> Rule | None:
        text = self._named(text, "implementation") or ""
        if "${object}" in text:
            return self._wrong(
                "`${object}` stands for the dataset, but an expression sees one row",
                "Write a rule of type sql",
                "implementation",
            )
        if self.column is not None:
            text = text.replace("${property}", exp.to_identifier(self.column, quoted=True).sql("duckdb"))
        if not text:
            return None
        names, error = _parse(text, is_query=False)
        if error:
            return self._wrong(error, "Write a DuckDB expression such as `amount > 0`", "implementation")
        known = {name.lower() for name in self.names}
        for name in names:
            if name.lower() not in known:
                return self._wrong(f"there is no column `{name}`", suggest(name, self.names), "implementation")
        if "--" in text or "/*" in text:  # a comment would swallow what is written after the expression
            text = sqlglot.parse_one(text, dialect="duckdb").sql("duckdb", comments=False)
        return self._rule("custom", "custom", severity, expression=text)

    def _between(self, severity: Severity) -> Rule | None:
        """Read 3.0's ``rule: between`` with ``min`` and ``max`` as custom properties."""
        limits = {item.get("property"): item.get("value") for _, item in parts_of(self.item, "customProperties")}
        low, high = limits.get("min"), limits.get("max")
        numbers = [value for value in (low, high) if isinstance(value, int | float) and not isinstance(value, bool)]
        if self.column is None or len(numbers) != 2:
            return self._wrong(
                "`between` needs a column, and customProperties `min` and `max` with numbers", None, "rule"
            )
        subject = exp.column(self.column, quoted=True)
        inside = exp.Between(this=subject, low=exp.Literal.number(numbers[0]), high=exp.Literal.number(numbers[1]))
        test = exp.Or(this=exp.Is(this=subject.copy(), expression=exp.Null()), expression=inside)
        return self._rule("between", "custom", severity, expression=test.sql("duckdb"))

    def _wrong(self, what: str, fix: str | None, *below: str) -> None:
        self.report.add((*self.path, *below), what, fix)


@lru_cache(maxsize=16_384)
def _parse(text: str, *, is_query: bool) -> tuple[tuple[str, ...], str | None]:
    """Parse a query or an expression: the columns it names, and what is wrong with it."""
    plain = _PLACEHOLDER.sub("_placeholder", text)
    try:
        trees = sqlglot.parse(plain, dialect="duckdb")
    except SqlglotError as cause:
        errors = getattr(cause, "errors", None)
        return (), f"DuckDB cannot read it: {errors[0]['description'] if errors else str(cause).splitlines()[0]}"
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
