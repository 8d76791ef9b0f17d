"""Judge one version of one table by all of its rules, in as few scans as can be.

Rules over rows, counts and shares are one SELECT together; a key, a reference and a user's query are one SELECT each.
What cannot run is an error of its own rule, never of the others, and never a pass.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Final, Literal

from sqlglot import exp

from millpond.contracts import Dataset, Reference
from millpond.engines import QueryCancelled, QueryFailed, QueryInvalid, Session
from millpond.kernel import Location, MillpondError, Problem
from millpond.quality.checks import AllRows, Answer, Check, GoodRows, Measure, Orphans, Repeats, Unclear, checks_of
from millpond.quality.errors import RuleInvalid
from millpond.quality.predicates import bound_query, count_true, relation_of
from millpond.quality.spec import CheckResult

Outcome = Literal["passed", "failed", "error"]

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
_ANSWER: Final = (
    "SELECT count(*), max(CAST(answer AS DOUBLE)) "
    "FROM (SELECT * FROM (\n{query}\n) AS asked (answer) LIMIT 2) AS answers"
)


def audit(
    dataset: Dataset,
    *,
    relation: str,
    session: Session,
    references: Mapping[str, str] = _NOTHING,
    query_seconds_max: float = 600.0,
) -> tuple[CheckResult, ...]:
    """Run every rule of *dataset* over *relation*; *references* gives the relation of each other dataset.

    Costs one scan, and one more per key, unique column, reference and ``sql`` rule; a query of a user that takes longer
    than *query_seconds_max* is stopped and counts as failed. Memory: what the engine needs to group by a key, spilling.

    Raises:
        MillpondError: the relation itself cannot be read, or the session was cancelled.
    """
    return _Audit(dataset, relation, session, references, query_seconds_max).run()


def check_rules(
    dataset: Dataset, *, relation: str, session: Session, references: Mapping[str, str] = _NOTHING
) -> tuple[Problem, ...]:
    """Say which rules of *dataset* could not run over *relation*, which may be empty; reads no row."""
    return tuple(_Audit(dataset, relation, session, references, 0).problems())


class _Audit:
    """One relation under judgement."""

    def __init__(
        self, dataset: Dataset, relation: str, session: Session, references: Mapping[str, str], seconds_max: float
    ) -> None:
        self._dataset = dataset
        self._relation = relation
        self._table = relation_of(relation)
        self._session = session
        self._references = references
        self._seconds_max = seconds_max
        self._checks = tuple(checks_of(dataset))

    def run(self) -> tuple[CheckResult, ...]:
        total, good = self._scan()
        return tuple(self._judge(check, total, good) for check in self._checks)

    def problems(self) -> Iterator[Problem]:
        places = {rule.id: rule.at for column in self._dataset.columns for rule in column.rules}
        places |= {rule.id: rule.at for rule in self._dataset.rules}
        sound = self._all_bind()
        for check in self._checks:
            if sound and isinstance(check.measure, GoodRows):
                continue
            reason = self._unbound(check.measure)
            if reason is not None:
                at = places.get(check.id) or self._dataset.at or Location(self._dataset.name)
                yield Problem(what=f"{self._dataset.name}: the rule {check.id!r} cannot run: {reason}", at=at)

    def _all_bind(self) -> bool:
        """Bind all that one scan counts in one statement, as a run does: mostly that says that each is well."""
        counted = dict.fromkeys(
            check.measure.aggregate for check in self._checks if isinstance(check.measure, GoodRows)
        )
        try:
            self._session.describe(self._aggregates(list(counted)))
        except MillpondError:
            return False
        return True

    def _unbound(self, measure: Measure) -> str | None:
        try:
            match measure:
                case Unclear(error=error):
                    return error.reason
                case Answer():
                    self._answer(measure, run=False)
                case GoodRows(aggregate=aggregate):
                    self._session.describe(self._aggregates([aggregate]))
                case Repeats(columns=columns):
                    self._session.describe(self._groups(columns))
                case Orphans(reference=reference):
                    self._session.describe(self._orphans(reference))
                case AllRows():
                    pass
        except MillpondError as error:
            return _reason(error)
        return None

    def _scan(self) -> tuple[int, dict[str, int | MillpondError]]:
        """Count all rows, and the good ones by each aggregate that the checks need."""
        needed = [check.measure.aggregate for check in self._checks if isinstance(check.measure, GoodRows)]
        needed += [
            _there(check.measure.columns)
            for check in self._checks
            if isinstance(check.measure, Repeats) and not check.measure.null_is_bad
        ]
        aggregates = list(dict.fromkeys(needed))
        try:
            total, *counts = self._numbers(aggregates)
        except MillpondError as error:
            _pass_on_cancel(error)
            (total,) = self._numbers([])
            return total, self._apart(aggregates)
        return total, dict(zip(aggregates, counts, strict=True))

    def _apart(self, aggregates: Sequence[str]) -> dict[str, int | MillpondError]:
        """Leave out what does not bind, then halve until what raises on the data stands alone."""
        found: dict[str, int | MillpondError] = {}
        sound: list[str] = []
        for aggregate in aggregates:
            try:
                self._session.describe(self._aggregates([aggregate]))
                sound.append(aggregate)
            except MillpondError as error:
                found[aggregate] = error
        waiting = [sound] if sound else []
        while waiting:
            group = waiting.pop()
            try:
                found.update(zip(group, self._numbers(group)[1:], strict=True))
            except MillpondError as error:
                _pass_on_cancel(error)
                if len(group) == 1:
                    found[group[0]] = error
                else:
                    waiting += [group[: len(group) // 2], group[len(group) // 2 :]]
        return found

    def _judge(self, check: Check, total: int, good: Mapping[str, int | MillpondError]) -> CheckResult:
        try:
            failing, measured = self._measure(check.measure, total, good)
        except MillpondError as error:
            _pass_on_cancel(error)
            return self._result(check, "error", None, None, total, message=_reason(error))
        if measured is None and failing is not None:
            share = 100.0 * failing / total if total else 0.0
            measured = share if check.wanted.unit == "percent" else float(failing)
        if measured is None or measured != measured:  # noqa: PLR0124 - not a number
            return self._result(check, "error", None, None, total, message="the query answers NULL, not a number")
        if check.wanted.holds(measured):
            return self._result(check, "passed", measured, failing, total)
        found = f"it is {measured:,.6g}" if failing is None else f"{failing:,} of {total:,} rows do not keep it"
        message = f"{check.description}; {found}, wanted {check.wanted}"
        return self._result(check, "failed", measured, failing, total, message=message)

    def _measure(
        self, measure: Measure, total: int, good: Mapping[str, int | MillpondError]
    ) -> tuple[int | None, float | None]:
        """Give how many rows fail, where rows can, and the number, where it is not that count."""
        match measure:
            case Unclear(error=error):
                raise error
            case AllRows():
                return None, float(total)
            case GoodRows(aggregate=aggregate):
                return total - _counted(good[aggregate]), None
            case Repeats(columns=columns, null_is_bad=null_is_bad):
                (groups,) = _integers(self._session.row(self._groups(columns)))
                there = total if null_is_bad else _counted(good[_there(columns)])
                return there - groups, None
            case Orphans(reference=reference):
                (orphans,) = _integers(self._session.row(self._orphans(reference)))
                return orphans, None
            case Answer():
                return None, self._answer(measure)

    def _answer(self, answer: Answer, *, run: bool = True) -> float | None:
        query = bound_query(self._dataset, answer.rule, relation=self._relation, references=self._references)
        columns = self._session.describe(query)
        if len(columns) != 1:
            raise self._invalid(answer, f"the query must answer one number, and answers {len(columns)} columns")
        asked = _ANSWER.format(query=query)
        if not run:
            self._session.describe(asked)
            return None
        with self._stopped_after(answer):
            rows, value = self._session.row(asked)
        if rows != 1:
            raise self._invalid(answer, f"the query must answer one row, and answers {'none' if rows == 0 else 'more'}")
        return value if isinstance(value, float) else None

    @contextmanager
    def _stopped_after(self, answer: Answer) -> Iterator[None]:
        """Cancel the statement inside when its time is up, and say so; another's cancel passes through."""
        late = threading.Event()

        def stop() -> None:
            late.set()
            self._session.cancel()

        timer = threading.Timer(self._seconds_max, stop)
        timer.daemon = True
        timer.start()
        try:
            yield
        except MillpondError as error:
            if late.is_set():
                raise self._invalid(answer, f"no answer within {self._seconds_max:g} s") from error
            raise
        finally:
            timer.cancel()
            timer.join()

    def _aggregates(self, aggregates: Sequence[str]) -> str:
        asked = (exp.Var(this=aggregate) for aggregate in aggregates)
        return exp.select(_count_all(), *asked).from_(self._table.copy()).sql("duckdb")

    def _numbers(self, aggregates: Sequence[str]) -> tuple[int, ...]:
        return _integers(self._session.row(self._aggregates(aggregates)))

    def _groups(self, columns: Sequence[str]) -> str:
        """Count the different values. Grouping spills, and is no slower than counting distinct ones."""
        kept = exp.select("1").from_(self._table.copy()).where(_all_there(columns))
        for column in columns:
            kept = kept.group_by(exp.column(column, quoted=True))
        return exp.select(_count_all()).from_(kept.subquery("kept")).sql("duckdb")

    def _orphans(self, reference: Reference) -> str:
        other = self._references.get(reference.to_dataset)
        if other is None:
            raise RuleInvalid(
                dataset=self._dataset.name,
                rule=f"reference:{','.join(reference.columns)}->{reference.to_dataset}",
                reason=f"{reference.to_dataset} is not at hand",
                at=reference.at,
            )
        pairs = [
            exp.column(there, "theirs", quoted=True).eq(exp.column(here, "ours", quoted=True))
            for here, there in zip(reference.columns, reference.to_columns, strict=True)
        ]
        found = exp.select("1").from_(exp.alias_(relation_of(other), "theirs", table=True)).where(*pairs)
        lost = exp.Exists(this=found).not_()
        ours = exp.alias_(self._table.copy(), "ours", table=True)
        return (
            exp.select(_count_all()).from_(ours).where(_all_there(reference.columns, table="ours"), lost).sql("duckdb")
        )

    def _invalid(self, answer: Answer, reason: str) -> RuleInvalid:
        return RuleInvalid(dataset=self._dataset.name, rule=answer.rule.id, reason=reason, at=answer.rule.at)

    def _result(
        self,
        check: Check,
        outcome: Outcome,
        measured: float | None,
        failing: int | None,
        total: int,
        *,
        message: str = "",
    ) -> CheckResult:
        return CheckResult(
            dataset=self._dataset.name,
            rule=check.id,
            column=check.column,
            severity=check.severity,
            outcome=outcome,
            measured=measured,
            wanted=str(check.wanted),
            failing_rows=failing,
            total_rows=total,
            message=message,
        )


def _count_all() -> exp.Expr:
    return exp.Count(this=exp.Star())


def _all_there(columns: Sequence[str], *, table: str | None = None) -> exp.Expr:
    return exp.and_(*(exp.column(column, table, quoted=True).is_(exp.null()).not_() for column in columns))


def _there(columns: Sequence[str]) -> str:
    """Count the rows that have a value in each of *columns*."""
    if len(columns) == 1:
        return exp.Count(this=exp.column(columns[0], quoted=True)).sql("duckdb")
    return count_true(_all_there(columns).sql("duckdb"))


def _integers(row: Sequence[object]) -> tuple[int, ...]:
    """Take a row of counts; an engine may give them as any kind of number."""
    return tuple(int(str(value)) for value in row)


def _counted(found: int | MillpondError) -> int:
    if isinstance(found, MillpondError):
        raise found
    return found


def _pass_on_cancel(error: MillpondError) -> None:
    if isinstance(error, QueryCancelled):
        raise error


def _reason(error: MillpondError) -> str:
    """Say in one line why a rule could not run: what an engine says below that is about a statement of ours."""
    told = error.reason if isinstance(error, (RuleInvalid, QueryInvalid, QueryFailed)) else error.message
    return told.split("\n", 1)[0]
