from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millpond.contracts import Column, Dataset
from millpond.kernel import ProblemsFound
from millpond.models import ModelsCycle, ModelSpec, bind, fingerprint, order

SCHEMAS = {
    "delays.flights": {"id": "BIGINT", "carrier": "VARCHAR", "sched": "TIMESTAMP", "delay": "INTEGER"},
    "delays.airlines": {"carrier": "VARCHAR", "name": "VARCHAR"},
    "weather.hourly": {"at": "TIMESTAMP", "wind": "DOUBLE"},
}
SQL = """SELECT
  sched::DATE AS day, -- the day
  count(*) AS n
FROM flights /* all of them */
GROUP BY 1"""
DATASET = Dataset(
    name="delays.daily",
    columns=(Column(name="day", type="DATE", primary_key=1), Column(name="n", type="BIGINT")),
)


def spec(sql: str = SQL, **settings: object) -> ModelSpec:
    """A model of this SQL."""
    made = ModelSpec(dataset="delays.daily", path="products/delays/daily.sql", sql=sql, sql_line=4)
    return replace(made, **settings)  # type: ignore[arg-type]


def problems(sql: str, **settings: object) -> list[str]:
    """What binding finds wrong."""
    with pytest.raises(ProblemsFound) as caught:
        bind(spec(sql, **settings), SCHEMAS)
    return [str(problem) for problem in caught.value.problems]


def test_binding_qualifies_tables_and_leaves_the_rest_as_written() -> None:
    """Names of datasets are written in full; comments, layout and CTE names stay."""
    sql = "WITH f AS (SELECT * FROM flights /* x */)\nSELECT f.id, h.wind FROM f, weather.hourly AS h; -- end"
    model = bind(spec(sql), SCHEMAS)
    assert model.sql == (
        'WITH f AS (SELECT * FROM "delays"."flights" /* x */)\nSELECT f.id, h.wind FROM f, "weather"."hourly" AS h'
    )
    assert model.upstream == ("delays.flights", "weather.hourly")
    assert [str(ref) for ref in model.lineage.columns[1].direct] == ["weather.hourly.wind"]


def test_names_that_need_quotes_are_found_and_quoted() -> None:
    """A dataset whose name is a word of SQL, or holds a quote, binds to itself and to nothing else."""
    schemas = {'p.or"der': {"a": "INTEGER"}}
    model = bind(replace(spec('SELECT a FROM "or""der"'), dataset="p.m"), schemas)
    assert model.sql == 'SELECT a FROM "p"."or""der"'


def test_unknown_names_are_reported_with_line_column_and_a_suggestion() -> None:
    """A misspelt dataset and a misspelt column each point at the file and say what was meant."""
    assert problems("SELECT id\nFROM flihgts") == [
        "products/delays/daily.sql:5:6: there is no dataset delays.flihgts\n    Did you mean 'delays.flights'?"
    ]
    assert problems("SELECT hourly.wind FROM hourly") == [
        "products/delays/daily.sql:4:25: there is no dataset delays.hourly\n    Did you mean 'weather.hourly'?"
    ]
    assert problems("SELECT dealy FROM flights") == [
        "products/delays/daily.sql:4:8: there is no column dealy\n    Did you mean 'delay'?"
    ]


def test_header_columns_must_be_outputs() -> None:
    """time_column, key and order_by that the SELECT does not give are problems; so are two columns of one name."""
    assert problems(SQL, materialize="by time", time_column="dya") == [
        "products/delays/daily.sql:1: time_column dya is not an output column of delays.daily\n    Did you mean 'day'?"
    ]
    assert "key idd" in problems(SQL, materialize="by key", key=("idd",))[0]
    assert "two output columns are called id" in problems("SELECT id, delay AS id FROM flights")[0]
    sql = "SELECT id, sched, true AS is_current FROM flights"
    assert "scd2 makes is_current itself" in problems(sql, materialize="scd2", key=("id",), order_by="sched")[0]


def test_models_are_ordered_into_levels() -> None:
    """Each level reads only earlier ones; sources do not count; names are sorted."""
    reads = {"p.c": ("p.a", "p.b"), "p.b": ("src.x",), "p.a": ("src.x",), "p.d": ("p.c", "p.a")}
    assert order(reads) == (("p.a", "p.b"), ("p.c",), ("p.d",))


def test_a_circle_of_models_is_named() -> None:
    """The error lists the models in the order in which they read each other, and who reads itself."""
    with pytest.raises(ModelsCycle, match=r"p\.a reads p\.b reads p\.c reads p\.a") as caught:
        order({"p.z": ("p.c",), "p.c": ("p.a",), "p.a": ("p.b",), "p.b": ("p.c",)})
    assert caught.value.cycle == ("p.a", "p.b", "p.c", "p.a")
    with pytest.raises(ModelsCycle, match=r"p\.a reads p\.a"):
        order({"p.a": ("p.a",)})


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=60))
def test_levels_respect_every_edge(edges: list[tuple[int, int]]) -> None:
    """In any graph without circles a model's level is above the levels of all that it reads."""
    reads: dict[str, set[str]] = {f"p.m{n}": set() for n in range(31)}
    for one, other in edges:
        if one != other:
            reads[f"p.m{max(one, other)}"].add(f"p.m{min(one, other)}")
    levels = order({name: tuple(sorted(found)) for name, found in reads.items()})
    place = {name: number for number, level in enumerate(levels) for name in level}
    assert set(place) == set(reads)
    assert all(place[name] > place[read] for name, found in reads.items() for read in found)


def print_of(sql: str = SQL, dataset: Dataset = DATASET, upstream: str = "x", **settings: object) -> str:
    """The fingerprint of a model."""
    return fingerprint(bind(spec(sql, **settings), SCHEMAS), dataset, {"delays.flights": upstream})


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT sched::DATE AS day, count(*) AS n FROM flights GROUP BY 1",
        "select SCHED :: date as day,count( * ) as N\n\n\nfrom  delays.FLIGHTS group by 1;".replace(
            "FLIGHTS", "flights"
        ),
        "/* new */ SELECT sched::DATE AS day, count(*) AS n -- more\nFROM /* a b */ flights\nGROUP BY 1\n\n",
    ],
)
def test_formatting_does_not_change_a_fingerprint(sql: str) -> None:
    """White space, comments, keyword case and a written-out product give the same fingerprint."""
    assert print_of(sql) == print_of()


def test_everything_that_decides_the_data_changes_a_fingerprint() -> None:
    """SQL, a literal's case, settings, types, keys, partitioning, column names and inputs each change it."""
    column = DATASET.columns[0]
    others = [
        print_of(SQL.replace("GROUP BY 1", "WHERE delay > 0 GROUP BY 1")),
        print_of(SQL.replace("GROUP BY 1", "WHERE carrier = 'aa' GROUP BY 1")),
        print_of(SQL.replace("GROUP BY 1", "WHERE carrier = 'AA' GROUP BY 1")),
        print_of(SQL.replace("GROUP BY 1", "WHERE carrier = 'A  A' GROUP BY 1")),
        print_of(SQL.replace("GROUP BY 1", "WHERE carrier = '-- A' GROUP BY 1")),
        print_of(materialize="by time", time_column="day"),
        print_of(materialize="by time", time_column="day", grain="month"),
        print_of(materialize="by time", time_column="day", lookback=1),
        print_of(materialize="by key", key=("day",)),
        print_of(materialize="by key", key=("day",), order_by="n"),
        print_of(materialize="by key", key=("n",)),
        print_of(upstream="y"),
        print_of(dataset=replace(DATASET, columns=(replace(column, type="TIMESTAMP"), DATASET.columns[1]))),
        print_of(dataset=replace(DATASET, columns=(replace(column, primary_key=None), DATASET.columns[1]))),
        print_of(dataset=replace(DATASET, columns=(replace(column, partition=1), DATASET.columns[1]))),
        print_of(dataset=replace(DATASET, columns=DATASET.columns[::-1])),
    ]
    assert len({print_of(), *others}) == len(others) + 1


def test_a_description_does_not_change_a_fingerprint() -> None:
    """Words about the data are not the data."""
    assert print_of(description="new words", dataset=replace(DATASET, description="new words")) == print_of()


def test_two_hundred_models_bind_quickly() -> None:
    """Binding stays a matter of milliseconds per model: nothing is done once per column or once per dataset."""
    schemas = {f"p.s{n}": {f"c{i}": "INTEGER" for i in range(15)} for n in range(2000)}
    columns = ", ".join(f"sum(c{i}) + {i} AS o{i}" for i in range(14))
    begun = time.perf_counter()
    for n in range(200):
        sql = (
            f"WITH x AS (SELECT * FROM s{n}) SELECT x.c14 AS k, {columns} FROM x JOIN s{n + 1} USING (c14) GROUP BY ALL"
        )
        sql = sql.replace("sum(c", "sum(x.c")
        bind(ModelSpec(dataset=f"p.m{n}", path="m.sql", sql=sql, sql_line=1), schemas)
    assert time.perf_counter() - begun < 8
