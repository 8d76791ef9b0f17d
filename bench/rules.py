"""Twenty rules on ten million rows: one audit against one query by hand, and against Great Expectations."""

from __future__ import annotations

import tempfile
from pathlib import Path

import duckdb
from timing import Measured, alternate

from millpond.contracts import Column, Dataset, Rule, Severity
from millpond.engines import DuckDBEngine, EngineLimits
from millpond.kernel import GiB, Store
from millpond.lake import DataFile, Snapshot, TableSchema
from millpond.quality import audit

NUMBERS = [f"n{i}" for i in range(6)]
TEXTS = [f"t{i}" for i in range(4)]


def make_input(folder: Path, rows: int) -> Path:
    """Write the table as one Parquet file."""
    numbers = ", ".join(f"(range * {7 + i} % 1000)::INTEGER AS {name}" for i, name in enumerate(NUMBERS))
    texts = ", ".join(f"'v' || (range * {3 + i} % 50) AS {name}" for i, name in enumerate(TEXTS))
    path = folder / "facts.parquet"
    duckdb.execute(f"COPY (SELECT range AS id, {numbers}, {texts} FROM range({rows})) TO '{path}'")
    return path


def rules() -> tuple[Column, ...]:
    """Ten columns, two rules each: required, and a range or an allowed length."""
    columns = []
    for name in NUMBERS:
        rule = Rule(
            id=f"{name}.range", kind="custom", expression=f'"{name}" BETWEEN 0 AND 999', severity=Severity.ERROR
        )
        columns.append(Column(name=name, type="INTEGER", required=True, rules=(rule,)))
    for name in TEXTS:
        rule = Rule(id=f"{name}.short", kind="custom", expression=f'length("{name}") <= 5', severity=Severity.ERROR)
        columns.append(Column(name=name, type="VARCHAR", required=True, rules=(rule,)))
    return tuple(columns)


def millpond_way(path: Path, rows: int) -> None:
    """Audit the snapshot."""
    columns = (Column(name="id", type="BIGINT"), *rules())
    dataset = Dataset(name="bench.facts", columns=columns)
    schema = TableSchema(columns=tuple((column.name, column.type) for column in columns))
    file = DataFile(path=path.name, size=path.stat().st_size, rows=rows)
    snapshot = Snapshot(table="bench", version=0, store=Store(str(path.parent)), schema=schema, files=(file,))
    with DuckDBEngine().session(EngineLimits(memory_bytes_max=4 * GiB)) as session:
        session.attach(dataset.name, snapshot)
        results = audit(dataset, relation=dataset.name, session=session)
    assert len(results) == 20
    assert all(result.outcome == "passed" for result in results)


def hand_way(path: Path) -> None:
    """The one query that somebody would write for it."""
    parts = [f"count(*) FILTER (WHERE {name} IS NULL)" for name in (*NUMBERS, *TEXTS)]
    parts += [f"count(*) FILTER (WHERE ({name} BETWEEN 0 AND 999) IS NOT TRUE)" for name in NUMBERS]
    parts += [f"count(*) FILTER (WHERE (length({name}) <= 5) IS NOT TRUE)" for name in TEXTS]
    with duckdb.connect() as connection:
        answer = connection.execute(f"SELECT count(*), {', '.join(parts)} FROM read_parquet('{path}')").fetchone()
    assert answer is not None
    assert sum(answer[1:]) == 0


def great_expectations_way(path: Path) -> None:
    """The same twenty as expectations over a pandas frame of the same file."""
    import great_expectations as gx
    import pandas as pd

    frame = pd.read_parquet(path)
    context = gx.get_context(mode="ephemeral")
    batch = (
        context.data_sources.add_pandas("bench")
        .add_dataframe_asset("facts")
        .add_batch_definition_whole_dataframe("all")
    )
    suite = context.suites.add(gx.ExpectationSuite(name="facts"))
    for name in (*NUMBERS, *TEXTS):
        suite.add_expectation(gx.expectations.ExpectColumnValuesToNotBeNull(column=name))
    for name in NUMBERS:
        suite.add_expectation(gx.expectations.ExpectColumnValuesToBeBetween(column=name, min_value=0, max_value=999))
    for name in TEXTS:
        expectation = gx.expectations.ExpectColumnValueLengthsToBeBetween(column=name, min_value=0, max_value=5)
        suite.add_expectation(expectation)
    definition = gx.ValidationDefinition(data=batch, suite=suite, name="facts")
    result = context.validation_definitions.add(definition).run(batch_parameters={"dataframe": frame})
    assert result.success


def measure(rows: int, gx_rows: int, rounds: int) -> list[Measured]:
    """Against the query by hand at two sizes, then against Great Expectations."""
    found = []
    for size in (rows // 10, rows):
        with tempfile.TemporaryDirectory() as scratch:
            path = make_input(Path(scratch), size)
            ways = {"millpond": lambda: millpond_way(path, size), "one query by hand": lambda: hand_way(path)}  # noqa: B023
            goal = "≤ 1.5×" if size == rows else ""
            found.append(Measured(f"20 rules on {size:,} rows", alternate(ways, rounds=rounds), goal))
    with tempfile.TemporaryDirectory() as scratch:
        path = make_input(Path(scratch), gx_rows)
        ways = {
            "millpond": lambda: millpond_way(path, gx_rows),
            "Great Expectations on pandas": lambda: great_expectations_way(path),
        }
        found.append(Measured(f"20 rules on {gx_rows:,} rows", alternate(ways, rounds=1), "≤ 0.1×"))
    return found
