from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import replace

import pyarrow as pa
import pytest

from millpond.contracts import Column, Dataset, Reference, Rule, Severity
from millpond.engines import DuckDBEngine, QueryCancelled, QueryInvalid, Session
from millpond.quality import CheckResult, audit, check_rules, unrun

ROWS = pa.table(
    {
        "id": pa.array([1, 2, 2, None, 5], pa.int32()),
        "kind": pa.array(["a", "b", "zz", "a", None]),
        "Unit Price": pa.array([5.0, None, 7.0, -1.0, 2.0]),
    }
)


def things(*rules: Rule, references: tuple[Reference, ...] = (), **of_id: object) -> Dataset:
    """Make the contract of ROWS with these rules of the dataset, and facts about its id."""
    return Dataset(
        name="shop.things",
        columns=(
            Column(name="id", type="INTEGER", **of_id),  # type: ignore[arg-type]
            Column(name="kind", type="VARCHAR"),
            Column(name="Unit Price", type="DOUBLE"),
        ),
        rules=rules,
        references=references,
    )


def expression(text: str, **facts: object) -> Rule:
    """Make an expression that every row must keep."""
    return Rule(id="rule", kind="custom", expression=text, **facts)  # type: ignore[arg-type]


def query(text: str, **facts: object) -> Rule:
    """Make a query that must answer 0, unless said otherwise."""
    facts = {"operator": "=", "thresholds": (0.0,)} | facts
    return Rule(id="rule", kind="sql", query=text, **facts)  # type: ignore[arg-type]


def library(metric: str, column: str | None = "kind", **facts: object) -> Rule:
    """Make a library rule that must count 0, unless said otherwise."""
    facts = {"operator": "=", "thresholds": (0.0,)} | facts
    return Rule(id="rule", kind="library", metric=metric, column=column, **facts)  # type: ignore[arg-type]


def verdicts(
    dataset: Dataset, session: Session, references: Mapping[str, str] | None = None, rows: pa.Table = ROWS
) -> dict[str, CheckResult]:
    """Audit rows, and give the results by rule."""
    session.attach("audit.new_things", rows)
    results = audit(dataset, relation="audit.new_things", session=session, references=references or {})
    return {result.rule: result for result in results}


def verdict(rule: Rule, session: Session, **facts: object) -> CheckResult:
    """Audit ROWS by one rule."""
    return verdicts(things(rule), session, **facts)["rule"]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rule", "failing"),
    [
        (expression('"Unit Price" > 0'), 2),
        (expression('"unit price" > 0 -- above nothing'), 2),
        (expression("kind ~ 'z'"), 4),
        (expression("TRUE"), 0),
        (expression("CAST(kind AS INTEGER) > 0"), 5),
        (expression("id IN (SELECT id FROM audit.new_things)"), 1),
        (library("nullValues"), 1),
        (library("missingValues", missing_values=(None, "zz")), 2),
        (library("missingValues", missing_values=("zz",)), 2),
        (library("missingValues", "Unit Price", missing_values=(None, "-1", "none")), 2),
        (library("invalidValues", valid_values=("a", "b")), 1),
        (library("invalidValues", "id", valid_values=("1", "2", "x")), 1),
        (library("invalidValues", pattern="[a-z]"), 1),
        (library("invalidValues", valid_values=("a", "zz"), pattern="[a-z]"), 2),
        (library("invalidValues", valid_values=()), 4),
        (library("duplicateValues"), 1),
        (library("duplicateValues", None, columns=("id", "kind")), 0),
    ],
)
def test_a_rule_counts_the_rows_that_break_it(rule: Rule, failing: int, session: Session) -> None:
    """A row breaks a rule where it is not true, and that includes NULL and values on which it cannot be computed."""
    result = verdict(rule, session)
    assert result.failing_rows == failing, result
    assert result.outcome == ("failed" if failing else "passed")
    assert result.total_rows == 5


@pytest.mark.parametrize(
    ("operator", "thresholds", "unit", "outcome"),
    [
        ("=", (20,), "percent", "passed"),
        ("<", (20,), "percent", "failed"),
        ("<=", (1,), "rows", "passed"),
        ("!=", (1,), "rows", "failed"),
        ("between", (20, 30), "percent", "passed"),
        ("not between", (0, 1), "rows", "failed"),
        (">", (0,), "rows", "passed"),
        (">=", (2,), "rows", "failed"),
    ],
)
def test_a_threshold_is_in_rows_or_percent(
    operator: str, thresholds: tuple[float, ...], unit: str, outcome: str, session: Session
) -> None:
    """One NULL among five rows is 1 row and 20 percent; the ends of a range belong to it."""
    rule = library("nullValues", operator=operator, thresholds=thresholds, unit=unit)
    result = verdict(rule, session)
    assert (result.outcome, result.measured) == (outcome, 20.0 if unit == "percent" else 1.0)


def test_what_a_contract_implies_is_checked(session: Session) -> None:
    """Required, unique, primary key and references are checks like any other."""
    session.attach("known", pa.table({"number": pa.array([1, 2], pa.int64())}))
    reference = Reference(columns=("id",), to_dataset="shop.known", to_columns=("number",))
    dataset = things(references=(reference,), required=True, unique=True, primary_key=1)
    found = verdicts(dataset, session, {"shop.known": "known"})
    assert {rule: result.failing_rows for rule, result in found.items()} == {
        "primary key": 2,
        "required:id": 1,
        "unique:id": 1,
        "reference:id->shop.known": 1,
    }
    assert found["primary key"].stops
    assert not found["reference:id->shop.known"].stops
    assert "2 of 5 rows" in found["primary key"].message


@pytest.mark.parametrize(
    ("text", "facts", "measured"),
    [
        ("SELECT count(*) FROM ${object} WHERE kind = 'a';", {}, 2),
        ("SELECT max(things.id) FROM things -- the newest", {}, 5),
        ("SELECT count(*) FROM shop.things t WHERE t.id > 1", {}, 3),
        ("SELECT count(*) FROM shop.things WHERE shop.things.id > 1", {}, 3),
        ('SELECT count(${property}) FROM "${object}"', {"column": "Unit Price"}, 4),
        ("SELECT count(*) FROM {table} WHERE {column} IS NULL", {"column": "kind"}, 1),
        ("WITH things AS (SELECT 41 AS x) SELECT x + 1 FROM things WHERE '${object}' = 'shop.things'", {}, 42),
        ("SELECT count(*) > 3 FROM ${object}", {}, 1),
        ("SELECT (SELECT count(*) FROM known) - (SELECT count(*) FROM shop.known)", {}, 0),
    ],
)
def test_a_query_is_bound_to_the_relation(text: str, facts: dict[str, str], measured: float, session: Session) -> None:
    """Placeholders, the dataset's own name and its neighbours' names stand for the relations at hand."""
    session.attach("other.known", pa.table({"number": pa.array([1, 2], pa.int64())}))
    rule = query(text, operator="=", thresholds=(measured,), **facts)
    result = verdict(rule, session, references={"shop.known": "other.known"})
    assert (result.outcome, result.measured, result.message) == ("passed", measured, "")


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        (expression("nope > 1"), "nope"),
        (expression("id > 1) OR (TRUE"), "not one DuckDB expression"),
        (expression("count(*) > 1"), "aggregate"),
        (expression("id + 1"), "INTEGER"),
        (query("SELECT NULL::INTEGER"), "NULL"),
        (query("SELECT 1 WHERE FALSE"), "none"),
        (query("SELECT id FROM ${object}"), "more"),
        (query("SELECT 1, 2"), "2 columns"),
        (query("SELECT kind FROM ${object} WHERE id = 1"), "Could not convert"),
        (query("DROP TABLE x"), "single SELECT"),
        (query("SELECT 1; SELECT 2"), "single SELECT"),
        (query("WITH x AS (DELETE FROM y RETURNING *) SELECT count(*) FROM x"), ""),
        (query("SELECT count(${property}) FROM ${object}"), "no column"),
        (query("SELECT 'NaN'::DOUBLE"), "not a number"),
        (query("SELECT 1", operator="between", thresholds=(1.0,)), "takes 2 numbers"),
        (query("SELECT 1", operator=None, thresholds=()), "what the answer must be"),
        (library("invalidValues"), "validValues"),
        (library("freshness"), "no library metric"),
        (library("nullValues", "nope"), "no column"),
        (library("duplicateValues", None, columns=("id", "nope")), "nope"),
    ],
)
def test_a_rule_that_cannot_run_has_failed(rule: Rule, why: str, session: Session) -> None:
    """Its outcome is error, with the reason; it stops by its own severity; all other rules give their verdicts."""
    other = Rule(id="other", kind="custom", expression="id > 1")
    found = verdicts(things(other, replace(rule, severity=Severity.CRITICAL), required=True), session)
    assert found["rule"].outcome == "error"
    assert why in found["rule"].message
    assert found["rule"].stops
    assert (found["other"].failing_rows, found["required:id"].failing_rows) == (2, 1)
    assert not verdict(replace(rule, severity=Severity.WARNING), session).stops


def test_check_rules_finds_what_cannot_run_before_there_is_data(session: Session) -> None:
    """Over an empty relation, each broken rule is a problem of its own; a sound one is none."""
    session.attach_empty("audit.nothing", [("id", "INTEGER"), ("kind", "VARCHAR"), ("Unit Price", "DOUBLE")])
    rules = (expression("nope > 1"), replace(query("SELECT nope FROM ${object}"), id="asked"), expression("id > 1"))
    dataset = things(*(replace(rule, id=f"{rule.id}{n}") for n, rule in enumerate(rules)))
    problems = check_rules(dataset, relation="audit.nothing", session=session)
    assert [problem.what.split("'")[1] for problem in problems] == ["rule0", "asked1"]


def test_an_empty_table_keeps_every_rule_over_rows(session: Session) -> None:
    """Without rows nothing is broken, and a share is 0 percent; only a row count can fail."""
    dataset = things(
        expression("id > 1"),
        replace(library("nullValues", unit="percent", operator="<", thresholds=(1.0,)), id="share"),
        replace(library("rowCount", None, operator=">", thresholds=(0.0,)), id="some"),
        primary_key=1,
    )
    found = verdicts(dataset, session, rows=ROWS.slice(0, 0))
    assert [rule for rule, result in found.items() if result.outcome != "passed"] == ["some"]
    assert found["share"].measured == 0.0


def test_a_reference_without_its_dataset_is_an_error(session: Session) -> None:
    """A foreign key into what is not at hand is not called kept."""
    reference = Reference(columns=("id",), to_dataset="shop.lost", to_columns=("id",), severity=Severity.ERROR)
    result = verdicts(things(references=(reference,)), session)["reference:id->shop.lost"]
    assert (result.outcome, result.stops) == ("error", True)


def test_rules_for_people_are_listed_and_never_pass(session: Session) -> None:
    """A rule without anything to run gives no verdict, and is named by unrun."""
    dataset = things(Rule(id="by hand", kind="custom", description="Looks fine"), expression("TRUE"))
    assert list(verdicts(dataset, session)) == ["rule"]
    assert [rule.id for rule in unrun(dataset)] == ["by hand"]


def test_a_query_that_takes_too_long_is_stopped(session: Session) -> None:
    """A user's query has a time limit; beyond it the rule has failed and the audit goes on."""
    session.attach("audit.new_things", ROWS)
    slow = query("SELECT count(*) FROM range(100_000_000_000) AS r (n) WHERE n % 7 = 3")
    began = time.monotonic()
    after = replace(expression("id > 1"), id="after")
    found = audit(things(slow, after), relation="audit.new_things", session=session, query_seconds_max=0.3)
    assert [result.outcome for result in found] == ["error", "failed"]
    assert "0.3 s" in found[0].message
    assert time.monotonic() - began < 10


def test_a_cancelled_audit_gives_no_verdict() -> None:
    """Cancelling from another thread is no failed rule: the audit ends."""
    slow = query("SELECT count(*) FROM range(100_000_000_000) AS r (n) WHERE n % 7 = 3")
    with DuckDBEngine().session() as own:
        own.attach("things", ROWS)
        timer = threading.Timer(0.3, own.cancel)
        timer.start()
        with pytest.raises(QueryCancelled):
            audit(things(slow), relation="things", session=own)
        timer.join()


def test_a_table_that_is_not_there_is_no_failed_rule(session: Session) -> None:
    """When the relation itself cannot be read, the audit raises instead of blaming the rules."""
    with pytest.raises(QueryInvalid):
        audit(things(expression("id > 1")), relation="audit.lost", session=session)


def test_twenty_rules_are_one_scan(session: Session) -> None:
    """Rules over rows share one statement, however many they are."""
    asked: list[str] = []

    class Counting:
        def row(self, sql: str) -> tuple[object, ...]:
            asked.append(sql)
            return session.row(sql)

    session.attach("audit.new_things", ROWS)
    rules = tuple(Rule(id=f"r{n}", kind="custom", expression=f"id > {n}") for n in range(20))
    results = audit(things(*rules, required=True), relation="audit.new_things", session=Counting())  # type: ignore[arg-type]
    assert len(results) == 21
    assert len(asked) == 1
