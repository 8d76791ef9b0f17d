"""From a contract's dataset to the checks it means: what is measured, and what the measure must come to.

Owns what a rule means, said or implied (required, unique, primary key, references). Runs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from millpond.contracts import Column, Dataset, Operator, Reference, Rule, Severity
from millpond.kernel import digest
from millpond.quality.errors import RuleInvalid
from millpond.quality.predicates import Predicate, condition, count_true, not_null, present, quoted, valid
from millpond.quality.spec import RowRule

_WORDS: Final = {"=": "=", "!=": "≠", ">": ">", ">=": "≥", "<": "<", "<=": "≤"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a measure must come to."""

    operator: Operator = "="
    thresholds: tuple[float, ...] = (0.0,)
    unit: str = "rows"
    """rows, percent; empty for a number that counts nothing we know of."""

    def holds(self, measured: float) -> bool:
        """Whether *measured* is as wanted; the ends of a range belong to it."""
        first, last = self.thresholds[0], self.thresholds[-1]
        verdicts: dict[Operator, bool] = {
            "=": measured == first,
            "!=": measured != first,
            ">": measured > first,
            ">=": measured >= first,
            "<": measured < first,
            "<=": measured <= first,
            "between": first <= measured <= last,
            "not between": not first <= measured <= last,
        }
        return verdicts[self.operator]

    @property
    def no_bad_row(self) -> bool:
        """Whether it comes to this: not one bad row."""
        least = 1e-9 if self.unit == "percent" else 1
        return self.holds(0) and not any(map(self.holds, (least, 1, 2, math.inf)))

    def __str__(self) -> str:
        """``= 0 rows``, ``< 5%``, ``between 1 and 24``."""
        sign = "%" if self.unit == "percent" else ""
        numbers = [(f"{number:g}" if abs(number) < 1e6 else f"{number:,.0f}") + sign for number in self.thresholds]
        head = f"{_WORDS.get(self.operator, self.operator)} {' and '.join(numbers)}"
        return f"{head} rows" if self.unit == "rows" else head


@dataclass(frozen=True, slots=True, kw_only=True)
class GoodRows:
    """Rows that are good by themselves, counted in the one scan."""

    aggregate: str
    """Counts them: a count of a column, or of a predicate that is true. The remainder is bad."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AllRows:
    """How many rows there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeats:
    """Rows that say again what another row of these columns says: n rows of one value are n - 1 repeats."""

    columns: tuple[str, ...]
    null_is_bad: bool = False
    """True for a primary key; elsewhere a row with a NULL among the columns repeats nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphans:
    """Rows that name a row of another dataset which is not there; a row with a NULL among the columns names none."""

    reference: Reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The number that a query of the user answers."""

    rule: Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Unclear:
    """Nothing that can be measured."""

    error: RuleInvalid


Measure = GoodRows | AllRows | Repeats | Orphans | Answer | Unclear


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One rule, said or implied, as something to measure."""

    id: str
    column: str | None
    severity: Severity
    measure: Measure
    wanted: Wanted
    description: str
    predicate: Predicate | None = None
    """Where each row keeps the rule by itself."""


def checks_of(dataset: Dataset) -> Iterator[Check]:
    """Give every check of *dataset* that Millpond runs, in the contract's order; the key first, references last."""
    key = dataset.primary_key
    if key:
        yield Check(
            id="primary key",
            column=key[0] if len(key) == 1 else None,
            severity=Severity.ERROR,
            measure=Repeats(columns=key, null_is_bad=True),
            wanted=Wanted(),
            description=f"{', '.join(key)}: one row for each key, and no NULL in it",
        )
    for column in dataset.columns:
        yield from _implied_by(column)
        yield from (_check(dataset, rule) for rule in column.rules if _is_ours(rule))
    yield from (_check(dataset, rule) for rule in dataset.rules if _is_ours(rule))
    for reference in dataset.references:
        yield Check(
            id=f"reference:{','.join(reference.columns)}->{reference.to_dataset}",
            column=reference.columns[0] if len(reference.columns) == 1 else None,
            severity=reference.severity,
            measure=Orphans(reference=reference),
            wanted=Wanted(),
            description=f"{', '.join(reference.columns)}: found in {_target(reference)}",
        )


def row_rules(dataset: Dataset) -> tuple[RowRule, ...]:
    """Give the rules that each row keeps or breaks by itself: what the door judges an ingested row by.

    Required columns and those of the primary key, expressions over one row, and nullValues, missingValues and
    invalidValues where not one bad row is allowed. Never aggregates, subqueries, uniqueness, shares or references.

    Raises:
        RuleInvalid: an expression is not one DuckDB expression.
    """
    rules = []
    for check in checks_of(dataset):
        if isinstance(check.measure, Unclear):
            raise check.measure.error
        predicate = check.predicate
        if predicate is not None and predicate.by_row and check.wanted.no_bad_row:
            rules.append(
                RowRule(
                    id=check.id,
                    column=check.column,
                    predicate=predicate.sql,
                    severity=check.severity,
                    description=check.description,
                    columns=predicate.columns,
                )
            )
    return tuple(rules)


def unrun(dataset: Dataset) -> tuple[Rule, ...]:
    """Give the rules that are for people or for another engine: Millpond neither runs them nor says they passed."""
    rules = (*(rule for column in dataset.columns for rule in column.rules), *dataset.rules)
    return tuple(rule for rule in rules if not _is_ours(rule))


def checks_digest(dataset: Dataset) -> str:
    """Fingerprint all that decides the verdict on data of *dataset*: descriptions and places in files do not count."""
    return digest(
        [[column.name, column.type, column.required, column.unique, column.primary_key] for column in dataset.columns],
        [[rule.column, _facts(rule)] for column in dataset.columns for rule in column.rules],
        [[rule.column, _facts(rule)] for rule in dataset.rules],
        [[list(r.columns), r.to_dataset, list(r.to_columns), str(r.severity)] for r in dataset.references],
    )


def describe_rule(rule: Rule) -> str:
    """Say in one line what *rule* wants, in the contract's words where it has some."""
    if rule.description:
        return " ".join(rule.description.split())
    subject = rule.column or ", ".join(rule.columns) or "the table"
    wanted = _wanted(rule)
    if rule.kind == "sql":
        return f"{subject}: a query answers {wanted}"
    if rule.kind == "custom":
        return f"{subject}: {' '.join((rule.expression or 'judged outside Millpond').split())}"
    if rule.metric == "rowCount":
        return f"the table: row count {wanted}"
    missing = ", ".join("NULL" if text is None else repr(text) for text in _missing(rule))
    bad, good = {
        "nullValues": ("NULL", "a value"),
        "missingValues": (f"missing ({missing})", f"a value that is none of {missing}"),
        "duplicateValues": ("repeated", "different"),
    }.get(rule.metric or "", (f"not {_allowed(rule)}", _allowed(rule)))
    return f"{subject}: always {good}" if wanted.no_bad_row else f"{subject}: {bad} in {wanted}"


def _implied_by(column: Column) -> Iterator[Check]:
    if column.required or column.primary_key is not None:
        yield Check(
            id=f"required:{column.name}",
            column=column.name,
            severity=Severity.ERROR,
            measure=GoodRows(aggregate=f"COUNT({quoted(column.name)})"),
            wanted=Wanted(),
            description=f"{column.name}: always has a value",
            predicate=Predicate(sql=not_null(column.name), columns=(column.name,)),
        )
    if column.unique:
        yield Check(
            id=f"unique:{column.name}",
            column=column.name,
            severity=Severity.ERROR,
            measure=Repeats(columns=(column.name,)),
            wanted=Wanted(),
            description=f"{column.name}: no value twice",
        )


def _check(dataset: Dataset, rule: Rule) -> Check:
    predicate: Predicate | None = None
    measure: Measure
    try:
        predicate = _predicate(dataset, rule)
        measure = _measure(rule, predicate)
        wanted = _wanted(rule)
        _confirm(dataset, rule, wanted)
    except RuleInvalid as error:
        measure, wanted, predicate = Unclear(error=error), Wanted(), None
    return Check(
        id=rule.id,
        column=rule.column,
        severity=rule.severity,
        measure=measure,
        wanted=wanted,
        description=describe_rule(rule),
        predicate=predicate,
    )


def _predicate(dataset: Dataset, rule: Rule) -> Predicate | None:
    if rule.kind == "custom":
        return condition(dataset, rule)
    if rule.kind == "sql" or rule.metric in {"rowCount", "duplicateValues"}:
        return None
    column = dataset.column(rule.column or "")
    if column is None:
        raise _invalid(dataset, rule, f"{rule.metric} stands under no column of the dataset")
    match rule.metric:
        case "nullValues":
            return Predicate(sql=not_null(column.name), columns=(column.name,))
        case "missingValues":
            return Predicate(sql=present(column, _missing(rule)), columns=(column.name,))
        case "invalidValues":
            if rule.valid_values is None and rule.pattern is None:
                raise _invalid(dataset, rule, "invalidValues needs validValues or pattern")
            return Predicate(sql=valid(column, rule.valid_values, rule.pattern), columns=(column.name,))
        case metric:
            raise _invalid(dataset, rule, f"there is no library metric {metric!r}")


def _measure(rule: Rule, predicate: Predicate | None) -> Measure:
    if rule.kind == "sql":
        return Answer(rule=rule)
    if predicate is None and rule.metric == "rowCount":
        return AllRows()
    if predicate is None:
        return Repeats(columns=rule.columns or ((rule.column,) if rule.column else ()))
    if rule.metric == "nullValues":
        return GoodRows(aggregate=f"COUNT({quoted(rule.column or '')})")
    return GoodRows(aggregate=count_true(predicate.sql))


def _confirm(dataset: Dataset, rule: Rule, wanted: Wanted) -> None:
    """Refuse what would be judged by nothing: no threshold, no column, an unknown column."""
    needs = 2 if wanted.operator in {"between", "not between"} else 1
    if len(wanted.thresholds) != needs:
        raise _invalid(dataset, rule, f"{wanted.operator!r} takes {needs} number{'s' * (needs - 1)}")
    if rule.operator is None and (rule.kind == "sql" or rule.metric == "rowCount"):
        raise _invalid(dataset, rule, "it does not say what the answer must be (mustBe, mustBeBetween, ...)")
    if rule.metric == "duplicateValues":
        columns = rule.columns or ((rule.column,) if rule.column else ())
        unknown = [name for name in columns if dataset.column(name) is None]
        if not columns or unknown:
            raise _invalid(dataset, rule, f"no such column: {', '.join(unknown)}" if unknown else "it names no column")


def _wanted(rule: Rule) -> Wanted:
    if rule.operator is None:
        return Wanted(unit=rule.unit)
    plain = (rule.kind == "sql" and rule.unit == "rows") or rule.metric == "rowCount"
    return Wanted(operator=rule.operator, thresholds=rule.thresholds, unit="" if plain else rule.unit)


def _target(reference: Reference) -> str:
    return f"{reference.to_dataset} ({', '.join(reference.to_columns)})"


def _is_ours(rule: Rule) -> bool:
    return rule.kind != "custom" or rule.expression is not None


def _missing(rule: Rule) -> tuple[str | None, ...]:
    return rule.missing_values if rule.missing_values is not None else (None,)


def _allowed(rule: Rule) -> str:
    values = f"one of {', '.join(rule.valid_values)}" if rule.valid_values is not None else ""
    pattern = f"a match of {rule.pattern}" if rule.pattern is not None else ""
    return " and ".join(part for part in (values, pattern) if part)


def _facts(rule: Rule) -> list[object]:
    return [
        rule.id, rule.kind, rule.metric, list(rule.columns),
        None if rule.valid_values is None else list(rule.valid_values),
        None if rule.missing_values is None else list(rule.missing_values),
        rule.pattern, rule.query, rule.expression, rule.operator, list(rule.thresholds), rule.unit, str(rule.severity),
    ]  # fmt: skip


def _invalid(dataset: Dataset, rule: Rule, reason: str) -> RuleInvalid:
    return RuleInvalid(dataset=dataset.name, rule=rule.id, reason=reason, at=rule.at)
