"""Lineage by golden files, and what holds for any query."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from millpond.catalog import parse_select, references, trace, trace_all
from millpond.engines import DuckDBEngine, EngineLimits
from millpond.kernel import ProblemsFound
from millpond.models import ModelSpec, bind

GOLDEN = Path(__file__).parent.parent / "golden" / "lineage"
CASES = sorted(path.stem for path in GOLDEN.glob("*.sql"))
FLIGHTS = {"delays.flights": {"id": "BIGINT", "carrier": "VARCHAR", "sched": "TIMESTAMP", "delay": "INTEGER"}}


@pytest.mark.parametrize("case", CASES)
def test_lineage_is_what_the_golden_file_says(case: str) -> None:
    """Each golden query has exactly the sources, deciding columns and problems written beside it."""
    sql = (GOLDEN / f"{case}.sql").read_text()
    expected = yaml.safe_load((GOLDEN / f"{case}.yaml").read_text())
    tree = parse_select(sql, path="model.sql")
    if "problems" in expected:
        with pytest.raises(ProblemsFound) as caught:
            trace(tree, expected["schema"], default_product=expected["product"])
        assert [str(one).replace("\n    ", " | ") for one in caught.value.problems] == expected["problems"]
        return
    traced = trace_all(tree, expected["schema"], default_product=expected["product"])
    found = {
        column.column: {"from": [str(ref) for ref in column.direct], "masked": True}
        if column.masked
        else [str(ref) for ref in column.direct]
        for column in traced.lineage.columns
    }
    indirect: dict[str, list[str]] = {}
    for kind, ref in traced.lineage.indirect:
        indirect.setdefault(kind, []).append(str(ref))
    times = {name: [f"{one.unit} of {one.dataset}.{one.column}" for one in many] for name, many in traced.times.items()}
    assert found == expected["columns"]
    assert list(found) == list(expected["columns"])
    assert indirect == expected["indirect"]
    assert list(traced.lineage.datasets) == expected["datasets"]
    assert times == expected["times"]
    assert references(tree, expected["product"]) == traced.lineage.datasets


def test_output_columns_are_those_that_the_engine_gives() -> None:
    """Every golden query without problems binds in DuckDB, to the same column names in the same order."""
    differing = {}
    for case in CASES:
        expected = yaml.safe_load((GOLDEN / f"{case}.yaml").read_text())
        if "problems" in expected:
            continue
        sql = (GOLDEN / f"{case}.sql").read_text()
        spec = ModelSpec(dataset=f"{expected['product']}.m", path="m.sql", sql=sql, sql_line=1)
        with DuckDBEngine().session() as session:
            for name, columns in expected["schema"].items():
                session.attach_empty(name, list(columns.items()))
            described = [name for name, _ in session.describe(bind(spec, expected["schema"]).sql)]
        if described != list(expected["columns"]):
            differing[case] = (described, list(expected["columns"]))
    assert differing == {}


VALUES = {
    "VARCHAR": "'v' || ({n} % 3)",
    "TIMESTAMP": "TIMESTAMP '2013-01-01' + to_hours(({n} * 5 % 40)::INTEGER)",
    "TIMESTAMP WITH TIME ZONE": "TIMESTAMPTZ '2013-01-01 00:00:00+00' + to_days(({n} * 9 % 50)::INTEGER)",
    "VARCHAR[]": "['v' || ({n} % 3), 'w']",
    "STRUCT(city VARCHAR, geo STRUCT(lat DOUBLE, lon DOUBLE))": "{{'city': {n}, 'geo': {{'lat': {n}, 'lon': 1}}}}",
    "STRUCT(sku VARCHAR, n INTEGER)[]": "[{{'sku': 's' || {n}, 'n': {n}}}]",
}


def rows_of(columns: dict[str, str], changed: str | None) -> str:
    """Twelve rows of a dataset; the values of the column *changed* are others than usual."""
    items = []
    for place, (name, kind) in enumerate(columns.items()):
        n = f"((i * {place + 3} + {7 if name == changed else 0}) % {11 if name == changed else 5})"
        items.append(f'CAST({VALUES.get(kind, "{n}").format(n=n)} AS {kind}) AS "{name}"')
    return f"SELECT {', '.join(items)} FROM range(12) AS r(i)"


@pytest.mark.parametrize("case", [case for case in CASES if not case.startswith("error")])
def test_what_lineage_does_not_name_has_no_influence(case: str) -> None:
    """Other values in a column change no output column that lineage does not derive from it."""
    expected = yaml.safe_load((GOLDEN / f"{case}.yaml").read_text())
    spec = ModelSpec(dataset=f"{expected['product']}.m", path="m", sql=(GOLDEN / f"{case}.sql").read_text(), sql_line=1)
    model = bind(spec, expected["schema"])
    deciding = {str(ref) for _, ref in model.lineage.indirect}
    with DuckDBEngine().session(EngineLimits(threads=1)) as session:

        def answer(columns: list[str]) -> list[str]:
            session.view("answer", model.sql)
            listed = ", ".join(f'"{name}"' for name in columns)
            found = session.stream(f"SELECT {listed} FROM answer").read_all().to_pylist()
            return sorted(str(row) for row in found)

        for dataset, columns in expected["schema"].items():
            session.view(dataset, rows_of(columns, None))
        for dataset, columns in expected["schema"].items():
            for column in columns:
                ref = f"{dataset}.{column}"
                free = [
                    one.column for one in model.lineage.columns if ref not in {str(source) for source in one.direct}
                ]
                if ref in deciding or not free:
                    continue
                usual = answer(free)
                session.view(dataset, rows_of(columns, column))
                assert answer(free) == usual, f"{ref} changes {free}"
                session.view(dataset, rows_of(columns, None))


@pytest.mark.parametrize(
    ("sql", "what", "line"),
    [
        ("SELECT 1; SELECT 2", "there are 2 statements", 7),
        ("-- nothing", "there is no query", 7),
        ("\nINSERT INTO t SELECT 1", "INSERT is not a query", 8),
        ("WITH x AS (\n  DELETE FROM t\n) SELECT 1", "DELETE is not a query", 8),
        ("COPY t TO 'x'", "COPY is not a query", 7),
        ("CALL f()", "CALL is not a query", 7),
        ("EXPLAIN SELECT 1", "EXPLAIN is not a query", 7),
        ("DESCRIBE t", "DESCRIBE is not a query", 7),
        ("ATTACH 'x'", "ATTACH is not a query", 7),
        ("SELECT a\nFROM WHERE b", "SQL does not parse near 'WHERE'", 8),
        ("SELECT 'abc", "not SQL", 7),
    ],
)
def test_only_one_query_is_a_model(sql: str, what: str, line: int) -> None:
    """Anything but exactly one query is refused, with the line of the file where it stands."""
    with pytest.raises(ProblemsFound) as caught:
        parse_select(sql, path="products/p/m.sql", first_line=7)
    (problem,) = caught.value.problems
    assert what in problem.what
    assert (problem.at.path, problem.at.line) == ("products/p/m.sql", line)


def test_every_problem_is_listed_with_its_place_in_the_file() -> None:
    """A query with three mistakes gives three problems, each at its own line and column."""
    sql = "SELECT f.dealy,\n  carier\nFROM flights AS f\nJOIN nowhere AS n ON n.id = f.idd"
    with pytest.raises(ProblemsFound) as caught:
        trace(parse_select(sql, path="m.sql", first_line=10), FLIGHTS, default_product="delays")
    places = {(problem.at.line, problem.at.column) for problem in caught.value.problems}
    assert {(10, 10), (13, 6), (13, 31)} <= places


_NAMES = st.sampled_from(["id", "carrier", "delay"])


@st.composite
def nested(draw: st.DrawFn, depth: int = 3) -> tuple[str, dict[str, set[str]]]:
    """A query of nested subqueries and CTEs, and the sources that its columns must have."""
    if depth == 0:
        names = draw(st.lists(_NAMES, min_size=1, max_size=3, unique=True))
        return f"SELECT {', '.join(names)} FROM flights", {name: {f"delays.flights.{name}"} for name in names}
    inner, sources = draw(nested(depth - 1))
    columns = sorted(sources)
    made: dict[str, set[str]] = {}
    items = []
    for place in range(draw(st.integers(1, 3))):
        used = draw(st.lists(st.sampled_from(columns), min_size=1, max_size=2))
        items.append(f"concat({', '.join('x.' + name for name in used)}) AS c{depth}_{place}")
        made[f"c{depth}_{place}"] = set().union(*(sources[name] for name in used))
    shape = draw(st.sampled_from(["subquery", "cte", "union"]))
    selected = ", ".join(items)
    if shape == "cte":
        return f"WITH x AS ({inner}) SELECT {selected} FROM x", made
    if shape == "union":
        one = f"SELECT {selected} FROM ({inner}) AS x"
        return f"{one} UNION ALL {one}", made
    return f"SELECT {selected} FROM ({inner}) AS x", made


@settings(max_examples=60, deadline=None)
@given(nested())
def test_sources_pass_through_any_nesting(query: tuple[str, dict[str, set[str]]]) -> None:
    """However subqueries, CTEs and unions are nested, a column's sources are those of what it was made from."""
    sql, expected = query
    lineage = trace(parse_select(sql, path="m.sql"), FLIGHTS, default_product="delays")
    assert {column.column: {str(ref) for ref in column.direct} for column in lineage.columns} == expected


def test_deep_and_wide_queries_do_not_break_it() -> None:
    """A union of 300 branches and a chain of 60 CTEs are traced, in time that grows with their length."""
    wide = " UNION ALL ".join(["SELECT id, delay FROM flights"] * 300)
    ctes = [
        "c0 AS (SELECT * FROM flights)",
        *(f"c{n} AS (SELECT * FROM c{n - 1} WHERE delay > {n})" for n in range(1, 60)),
    ]
    deep = f"WITH {', '.join(ctes)} SELECT id FROM c59"
    begun = time.perf_counter()
    for sql in (wide, deep):
        lineage = trace(parse_select(sql, path="m.sql"), FLIGHTS, default_product="delays")
        assert str(lineage.columns[0].direct[0]) == "delays.flights.id"
    assert time.perf_counter() - begun < 5
