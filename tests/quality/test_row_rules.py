from __future__ import annotations

from dataclasses import replace

import pytest

from millpond.contracts import Column, Dataset, Reference, Rule, Severity
from millpond.engines import Session
from millpond.kernel import Location
from millpond.quality import RuleInvalid, checks_digest, describe_rule, row_rules

LIBRARY = {"kind": "library", "column": "b", "operator": "=", "thresholds": (0.0,)}


def dataset(*rules: Rule, **facts: object) -> Dataset:
    """Make a dataset with rules under its second column."""
    columns = (Column(name="a", type="INTEGER", required=True), Column(name="b", type="VARCHAR", rules=rules))
    return Dataset(name="p.d", columns=columns, **facts)  # type: ignore[arg-type]


def rule(**facts: object) -> Rule:
    """Make a rule."""
    return Rule(**({"id": "r", **facts}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "facts",
    [
        {"kind": "custom", "expression": "length(b) > a"},
        {"metric": "nullValues", **LIBRARY},
        {"metric": "nullValues", **LIBRARY, "operator": "<", "thresholds": (1.0,)},
        {"metric": "missingValues", **LIBRARY, "missing_values": ("x",)},
        {"metric": "invalidValues", **LIBRARY, "pattern": "x"},
        {"metric": "invalidValues", **LIBRARY, "valid_values": ("it's", 'a "b"'), "unit": "percent"},
    ],
)
def test_a_rule_that_a_row_keeps_by_itself_stands_at_the_door(facts: dict[str, object], session: Session) -> None:
    """It comes with a predicate that the engine understands, the columns it names, and its severity."""
    found = {one.id: one for one in row_rules(dataset(rule(**facts, severity=Severity.WARNING)))}
    assert list(found) == ["required:a", "r"]
    assert found["r"].severity is Severity.WARNING
    assert found["r"].columns == (("a", "b") if facts["kind"] == "custom" else ("b",))
    session.attach_empty("p.d", [("a", "INTEGER"), ("b", "VARCHAR")])
    described = session.describe(f"SELECT {found['r'].predicate} AND {found['required:a'].predicate} FROM p.d")
    assert described[0][1] == "BOOLEAN"


@pytest.mark.parametrize(
    "facts",
    [
        {"kind": "custom", "expression": "count(*) > 1"},
        {"kind": "custom", "expression": "a > lag(a) OVER ()"},
        {"kind": "custom", "expression": "a IN (SELECT 1)"},
        {"kind": "custom", "expression": "a > 1", "operator": "<", "thresholds": (5.0,), "unit": "percent"},
        {"kind": "custom"},
        {"metric": "nullValues", **LIBRARY, "operator": "<", "thresholds": (2.0,)},
        {"metric": "nullValues", **LIBRARY, "operator": ">=", "thresholds": (0.0,)},
        {"metric": "duplicateValues", **LIBRARY},
        {"metric": "rowCount", **LIBRARY},
        {"kind": "sql", "query": "SELECT 0", "operator": "=", "thresholds": (0.0,)},
    ],
)
def test_a_rule_that_needs_more_than_its_row_does_not(facts: dict[str, object]) -> None:
    """Aggregates, windows, subqueries, uniqueness, shares, counts and queries are for the audit of the whole table."""
    reference = Reference(columns=("a",), to_dataset="p.e", to_columns=("a",))
    assert [one.id for one in row_rules(dataset(rule(**facts), references=(reference,)))] == ["required:a"]


def test_a_key_column_is_required_without_saying_so() -> None:
    """A row without its key can be neither merged nor found: the door asks for it."""
    keyed = Dataset(name="p.d", columns=(Column(name="a", type="INTEGER", primary_key=1),))
    assert [one.id for one in row_rules(keyed)] == ["required:a"]


def test_a_broken_expression_is_refused_with_its_place() -> None:
    """The door does not open with a rule that nobody can judge by."""
    broken = rule(kind="custom", expression="a >", at=Location("contract.odcs.yaml", 7, 3))
    with pytest.raises(RuleInvalid, match=r"contract\.odcs\.yaml:7:3") as raised:
        row_rules(dataset(broken))
    assert (raised.value.dataset, raised.value.rule) == ("p.d", "r")


def test_the_digest_follows_what_decides_and_nothing_else() -> None:
    """Another threshold, severity or key is another digest; another description or line is not."""
    one = rule(kind="custom", expression="a > 1")
    base = checks_digest(dataset(one))
    same = replace(one, description="Large", at=Location("x", 3), dimension="accuracy")
    assert checks_digest(dataset(same)) == base
    others = [
        dataset(replace(one, expression="a > 2")),
        dataset(replace(one, severity=Severity.INFO)),
        dataset(replace(one, operator="<", thresholds=(2.0,))),
        dataset(),
        dataset(one, references=(Reference(columns=("a",), to_dataset="p.e", to_columns=("a",)),)),
    ]
    assert len({base, *map(checks_digest, others)}) == 6


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"metric": "nullValues", **LIBRARY}, "b: always a value"),
        (
            {"metric": "nullValues", **LIBRARY, "operator": "<", "thresholds": (5.0,), "unit": "percent"},
            "b: NULL in < 5%",
        ),
        ({"metric": "invalidValues", **LIBRARY, "valid_values": ("x", "y")}, "b: always one of x, y"),
        ({"metric": "duplicateValues", **LIBRARY, "column": None, "columns": ("a", "b")}, "a, b: always different"),
        ({"metric": "rowCount", **LIBRARY, "column": None, "operator": ">"}, "the table: row count > 0"),
        ({"kind": "custom", "expression": "a\n  > 1"}, "the table: a > 1"),
        ({"kind": "sql", "query": "SELECT 1", "operator": "between", "thresholds": (1.0, 24.0)}, "between 1 and 24"),
        ({"kind": "custom", "description": "As it\nshould be"}, "As it should be"),
    ],
)
def test_a_rule_is_told_in_one_line(facts: dict[str, object], said: str) -> None:
    """The contract's own words, else what the rule wants."""
    assert said in describe_rule(rule(**facts))
