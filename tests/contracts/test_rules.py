from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from millpond.contracts import Contract, Severity, load_contract

ODCS = Path(__file__).parent / "odcs" / "valid"
OPTIONS = load_contract(ODCS / "options-3.2.0.yaml", root=ODCS)
NESTED = load_contract(ODCS / "nested-3.2.0.yaml", root=ODCS)
OLD = load_contract(ODCS / "types-3.0.0.yaml", root=ODCS)

CASES = [
    (OPTIONS, "id.format", ["'6f1c5fb6-3c0f-4f63-9d5a-6d1a4a4b5c11'"], ["'x'", "''"]),
    (OPTIONS, "mail.format", ["'a@b.co'"], ["'a@b'", "'a b@c.de'"]),
    (OPTIONS, "mail.minLength", ["'äöü'"], ["'äö'"]),
    (OPTIONS, "host.format", ["'10.0.0.255'"], ["'10.0.0.256'", "'10.0.0'"]),
    (OPTIONS, "link.format", ["'https://a.b/c'", "'mailto:a'"], ["'a.b'", "'a: b'"]),
    (OPTIONS, "step.multipleOf", ["15", "0", "-5"], ["7"]),
    (OPTIONS, "step.exclusiveMinimum", ["1"], ["0", "-1"]),
    (OPTIONS, "step.maximum", ["100"], ["101"]),
    (OPTIONS, "share.multipleOf", ["0.3", "0.7", "12.1"], ["0.25"]),
    (OPTIONS, "share.exclusiveMaximum", ["0.999"], ["1.0", "'nan'"]),
    (OPTIONS, "code.minimum", ["'10'"], ["'9.5'", "'ten'"]),
    (OPTIONS, "at.minimum", ["'2020-01-01 00:00:00+00'"], ["'2020-01-01 00:00:00+01'"]),
    (OPTIONS, "local_at.maximum", ["'2030-12-31 23:59:59'"], ["'2031-01-01'"]),
    (OPTIONS, "opens.minimum", ["'08:30'"], ["'08:29:59'"]),
    (OPTIONS, "day.exclusiveMinimum", ["'2020-01-02'"], ["'2020-01-01'"]),
    (NESTED, "lines.minItems", ["['a']"], ["[]"]),
    (NESTED, "lines.uniqueItems", ["['a', 'b', NULL]", "[]"], ["['a', 'a']"]),
    (NESTED, "address.street.required", ["{street: 'a', 'Zip Code': NULL, 'order': NULL}"],
     ["{street: NULL, 'Zip Code': NULL, 'order': NULL}"]),
    (NESTED, "address.order.minimum", ["{street: 'a', 'Zip Code': '1', 'order': 1}"],
     ["{street: 'a', 'Zip Code': '1', 'order': 0}"]),
    (OLD, "account.pattern", ["'ACC12345678'"], ["'xACC12345678'", "'ACC1234567'"]),
    (OLD, "age.maximum", ["99"], ["100"]),
    (OLD, "details.required.children", ["'{\"children\": 2}'"], ["'{}'"]),
    (OLD, "latest.maxItems", ["'[1, 2, 3]'"], ["'[1, 2, 3, 4]'"]),
]  # fmt: skip


@pytest.mark.parametrize(("contract", "rule_id", "good", "bad"), CASES, ids=[case[1] for case in CASES])
def test_an_option_judges_rows(contract: Contract, rule_id: str, good: list[str], bad: list[str]) -> None:
    """A type option passes good rows and rows without a value, and catches bad ones."""
    columns = {column.name: column for column in contract.datasets[0].columns}
    rule = next(rule for column in columns.values() for rule in column.rules if rule.id == rule_id)
    assert rule.column is not None
    column = columns[rule.column]
    with duckdb.connect() as engine:
        engine.execute("SET TimeZone = 'Pacific/Auckland'")
        for value, wanted in [*((v, True) for v in (*good, "NULL")), *((v, False) for v in bad)]:
            query = f'SELECT ({rule.expression}) IS TRUE FROM (SELECT {value}::{column.type} AS "{column.name}")'
            assert engine.execute(query).fetchone() == (wanted,), value


def test_what_is_not_run_is_said() -> None:
    """Rules for another engine, words for people and rules inside lists are kept, and say that nobody runs them."""
    old = load_contract(ODCS / "quality-3.0.2.yaml", root=ODCS).datasets[0]
    kept = [rule for rule in old.columns[0].rules if rule.expression is None and rule.kind == "custom"]
    assert [(rule.id, rule.severity) for rule in kept] == [
        ("id.soda", Severity.INFO),
        ("id.greatExpectations", Severity.INFO),
        ("id.text", Severity.INFO),
    ]
    assert kept[0].description == "Few duplicates (not run by Millpond: engine soda)"
    parts = NESTED.datasets[0].column("parts")
    assert parts is not None
    assert parts.rules[0].description == "not run by Millpond: the rules inside items of parts"


def test_old_names_become_metrics() -> None:
    """3.0's rules become 3.1's metrics, and without a condition none may break them."""
    dataset = load_contract(ODCS / "quality-3.0.2.yaml", root=ODCS).datasets[0]
    first, second = dataset.columns[0].rules[:2]
    assert (first.metric, first.operator, first.thresholds) == ("nullValues", "=", (0.0,))
    assert (second.metric, second.severity) == ("duplicateValues", Severity.CRITICAL)
    state = dataset.columns[2].rules[0]
    assert (state.metric, state.valid_values, state.unit) == ("invalidValues", ("good", "bad"), "percent")
    assert dataset.rules[1].columns == ("id", "measured")
    assert dataset.columns[1].rules[0].expression == '"measured" IS NULL OR "measured" BETWEEN 0 AND 500'


def test_every_condition_and_placeholder_is_read() -> None:
    """Conditions become operators; placeholders have one spelling; comments cannot swallow what follows."""
    dataset = load_contract(ODCS / "quality-3.1.0.yaml", root=ODCS).datasets[0]
    rules = {rule.id: rule for rule in (*dataset.rules, *(rule for column in dataset.columns for rule in column.rules))}
    assert len(rules) == 14
    assert (rules["rowCount"].operator, rules["rowCount"].thresholds) == ("between", (1.0, 1000000.0))
    assert rules["order_id.never_null"].severity is Severity.CRITICAL
    assert rules["email.missingValues"].missing_values == (None, "", "n/a")
    assert rules["amount.custom"].expression == '"amount" >= 0'
    assert rules["amount.custom.2"].severity is Severity.INFO
    assert rules["state.sql"].query == "SELECT count(*) FROM ${object} WHERE ${property} IS NULL"
