from __future__ import annotations

from pathlib import Path

import pytest

from millpond.engines import DuckDBEngine
from millpond.kernel import ProblemsFound
from millpond.models import CaseResult, ModelSpec, bind, load_cases, run_case

SCHEMAS = {
    "delays.flights": {"carrier": "VARCHAR", "sched": "TIMESTAMP", "delay": "INTEGER", "tags": "VARCHAR[]"},
    "delays.airlines": {"carrier": "VARCHAR", "name": "VARCHAR"},
}
SQL = """SELECT sched::DATE AS day, carrier, avg(delay) AS avg_delay, max(len(tags)) AS tags
FROM flights SEMI JOIN airlines USING (carrier) GROUP BY ALL ORDER BY day, carrier"""
GIVEN = """
model: daily
given:
  airlines: [{carrier: UA}, {carrier: AA}]
  flights:
    - {carrier: UA, sched: 2013-01-01 10:00, delay: 10, tags: [a, "b, 'c'"]}
    - {carrier: UA, sched: 2013-01-01 11:00, delay: 15}
    - {carrier: AA, sched: 2013-01-01 12:00}
    - {carrier: XX, sched: 2013-01-01 12:00, delay: 1}
"""


def write(root: Path, text: str) -> Path:
    """A file of tests in a project."""
    path = root / "products" / "delays" / "tests" / "daily.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


def run(root: Path, text: str, sql: str = SQL) -> CaseResult:
    """Run the only test of a file."""
    (case,) = load_cases(write(root, text), root=root)
    model = bind(ModelSpec(dataset="delays.daily", path="daily.sql", sql=sql, sql_line=1), SCHEMAS)
    with DuckDBEngine().session() as session:
        return run_case(case, model, SCHEMAS, session)


def test_a_test_whose_rows_are_as_expected_passes(tmp_path: Path) -> None:
    """Rows in any order, NULLs, numbers however written, and only the columns that are named count."""
    expect = (
        "expect:\n  - {carrier: AA, avg_delay: null}\n  - {day: 2013-01-01, carrier: UA, avg_delay: 12.50, tags: 2}\n"
    )
    text = GIVEN + expect.replace("{carrier: AA", "{day: 2013-01-01, carrier: AA")
    result = run(tmp_path, text)
    assert (result.passed, result.diff, result.rows) == (True, "", 2)
    assert result.case.name == "daily"
    assert result.case.model == "delays.daily"


def test_a_difference_is_shown_row_by_row(tmp_path: Path) -> None:
    """What is missing and what is too much stand in columns under each other."""
    expect = "expect:\n  - {carrier: AA, avg_delay: 0}\n  - {carrier: UA, avg_delay: 12.5}\n"
    result = run(tmp_path, GIVEN + expect)
    assert not result.passed
    assert result.diff == (
        "2 rows expected (-), 2 found (+); these differ:\n  carrier  avg_delay\n- AA       0\n+ AA       NULL"
    ).replace("- AA       0\n+ AA       NULL", "+ AA       NULL\n- AA       0")


def test_order_counts_where_it_is_asked_for(tmp_path: Path) -> None:
    """The same rows in another order fail with order: exact only."""
    expect = "expect: [{carrier: UA}, {carrier: AA}]\n"
    assert run(tmp_path / "a", GIVEN + expect).passed
    exact = run(tmp_path / "b", GIVEN + expect + "order: exact\n")
    assert not exact.passed
    assert "2 rows expected (-), 2 found (+)" in exact.diff


def test_no_rows_can_be_expected(tmp_path: Path) -> None:
    """Nothing given gives nothing; a model that gives rows then fails and shows them."""
    assert run(tmp_path / "a", "model: daily\nexpect: []\n").passed
    result = run(tmp_path / "b", GIVEN + "expect: []\n")
    assert not result.passed
    assert "0 rows expected (-), 2 found (+)" in result.diff
    assert "2013-01-01" in result.diff


def test_wrong_names_in_a_test_are_problems_with_suggestions(tmp_path: Path) -> None:
    """Keys, datasets and columns that do not exist are named with what was probably meant."""
    with pytest.raises(ProblemsFound, match=r"daily\.yaml:1:1: unknown key modle\n    Did you mean 'model'\?"):
        load_cases(write(tmp_path / "a", "modle: daily\nmodel: daily\nexpect: []\n"))
    with pytest.raises(ProblemsFound, match=r"does not read delays\.flight\n    Did you mean 'delays\.flights'\?"):
        run(tmp_path / "b", "model: daily\ngiven: {flight: []}\nexpect: []\n")
    with pytest.raises(ProblemsFound, match=r"has no column dely\n    Did you mean 'delay'\?"):
        run(tmp_path / "c", "model: daily\ngiven: {flights: [{dely: 1}]}\nexpect: []\n")
    with pytest.raises(ProblemsFound, match=r"expect has no column carier\n    Did you mean 'carrier'\?"):
        run(tmp_path / "d", "model: daily\nexpect: [{carier: UA}]\n")
    with pytest.raises(ProblemsFound, match="expect is not a list of rows"):
        load_cases(write(tmp_path / "e", "model: daily\n"))


def test_a_file_may_hold_several_tests(tmp_path: Path) -> None:
    """A list of tests gives one case each, numbered where they have no name."""
    text = "- {model: daily, expect: []}\n- {model: other.x, name: none, expect: []}\n"
    cases = load_cases(write(tmp_path, text))
    assert [(case.name, case.model) for case in cases] == [("daily 1", "delays.daily"), ("none", "other.x")]
