from __future__ import annotations

import pytest

from millpond.contracts import Column, Dataset
from millpond.engines import DuckDBEngine
from millpond.models import ModelSpec, bind, check_types, select_for
from millpond.models.types import fits

FLIGHTS = {"id": "BIGINT", "carrier": "VARCHAR", "sched": "TIMESTAMP", "delay": "INTEGER"}


def check(sql: str, columns: dict[str, str], **settings: object) -> list[str]:
    """Problems of a model; without any, its SELECT gives exactly the contract's types."""
    spec = ModelSpec(
        dataset="delays.daily_delays",
        path="daily.sql",
        sql=sql,
        sql_line=3,
        **settings,  # type: ignore[arg-type]
    )
    model = bind(spec, {"delays.flights": FLIGHTS})
    dataset = Dataset(
        name="delays.daily_delays", columns=tuple(Column(name=name, type=kind) for name, kind in columns.items())
    )
    with DuckDBEngine().session() as session:
        session.attach_empty("delays.flights", list(FLIGHTS.items()))
        found = [str(problem) for problem in check_types(model, dataset, session)]
        if not found:
            described = session.describe(select_for(model, dataset))
            wanted = [pair for pair in columns.items() if pair[0] not in {"valid_from", "valid_to", "is_current"}]
            assert list(described) == wanted
        return found


def test_a_model_that_keeps_its_contract_has_no_problems() -> None:
    """Order does not matter, and a type may be wider in the contract; the SELECT then gives the contract's own."""
    sql = "SELECT delay, carrier, count(*) AS n, 1 AS one, NULL AS empty FROM flights GROUP BY ALL"
    columns = {"carrier": "VARCHAR", "one": "DECIMAL(18,2)", "n": "HUGEINT", "delay": "BIGINT", "empty": "DATE"}
    assert check(sql, columns) == []


def test_a_type_that_would_lose_values_is_a_problem() -> None:
    """The message names dataset, column, both types, the place, and the cast to write."""
    sql = "SELECT carrier, avg(delay) AS avg_delay FROM flights GROUP BY 1"
    assert check(sql, {"carrier": "VARCHAR", "avg_delay": "DECIMAL(18,2)"}) == [
        (
            "daily.sql:3: daily_delays.avg_delay is DOUBLE, the contract says DECIMAL(18,2)\n"
            "    Write CAST(... AS DECIMAL(18,2)) AS avg_delay, or change the contract."
        )
    ]


def test_missing_and_extra_columns_are_problems() -> None:
    """A column of the contract that the SELECT lacks, and one that the contract lacks, are both named."""
    problems = check("SELECT carrier, delay AS dealy FROM flights", {"carrier": "VARCHAR", "delay": "INTEGER"})
    assert "daily_delays.delay is in the contract and not in the SELECT" in problems[0]
    assert "Did you mean 'dealy'?" in problems[0]
    assert "daily_delays.dealy (INTEGER) is in the SELECT and not in the contract" in problems[1]


def test_what_the_engine_cannot_bind_is_a_problem_of_the_file() -> None:
    """A function that does not exist is reported with the engine's words and the file's name."""
    (problem,) = check("SELECT no_such_function(delay) AS n FROM flights", {"n": "INTEGER"})
    assert problem.startswith("daily.sql:3:8: delays.daily_delays:")
    assert "no_such_function" in problem


def test_the_columns_of_versions_are_not_asked_of_an_scd2_model() -> None:
    """valid_from, valid_to and is_current are in the contract only."""
    columns = {"id": "BIGINT", "sched": "TIMESTAMP", "valid_from": "TIMESTAMP", "valid_to": "TIMESTAMP"}
    columns["is_current"] = "BOOLEAN"
    assert check("SELECT id, sched FROM flights", columns, materialize="scd2", key=("id",), order_by="sched") == []


@pytest.mark.parametrize(
    ("found", "wanted", "fit"),
    [
        ("INTEGER", "INTEGER", True),
        ("INTEGER", "BIGINT", True),
        ("BIGINT", "INTEGER", False),
        ("HUGEINT", "BIGINT", False),
        ("INTEGER", "DOUBLE", True),
        ("BIGINT", "DOUBLE", False),
        ("INTEGER", "DECIMAL(18,2)", True),
        ("BIGINT", "DECIMAL(18,2)", False),
        ("DECIMAL(10,2)", "DECIMAL(18,2)", True),
        ("DECIMAL(18,2)", "DECIMAL(18,4)", False),
        ("DOUBLE", "DECIMAL(18,2)", False),
        ("VARCHAR", "INTEGER", False),
        ("INTEGER", "VARCHAR", False),
        ("DATE", "TIMESTAMP", False),
        ("INTEGER[]", "BIGINT[]", True),
    ],
)
def test_only_lossless_types_fit(found: str, wanted: str, *, fit: bool) -> None:
    """A value is never rounded, cut or reread on its way into the contract's type."""
    assert fits(found, wanted) is fit
