"""Building in parts gives what building whole gives: real files, a real engine, no table log."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millpond.contracts import Column, Dataset
from millpond.engines import DuckDBEngine, Session
from millpond.kernel import Store, new_id
from millpond.lake import DataFile, Snapshot, TableSchema
from millpond.models import Built, Everything, Model, ModelSpec, Range, bind, build, changed_range, select_for

FLIGHTS = (("id", "BIGINT"), ("carrier", "VARCHAR"), ("sched", "TIMESTAMP"), ("delay", "INTEGER"))
WEATHER = (("seen", "TIMESTAMP"), ("wind", "INTEGER"))
SCHEMAS = {"p.flights": dict(FLIGHTS), "p.weather": dict(WEATHER)}
BEGIN = datetime(2013, 1, 30)  # noqa: DTZ001 - TIMESTAMP has no zone
Rows = Sequence[tuple[object, ...]]
OPEN: list[Session] = []


@pytest.fixture(scope="module", autouse=True)
def session() -> Iterator[None]:
    """One session for all that is not the build itself."""
    with DuckDBEngine().session() as opened:
        OPEN[:] = [opened]
        yield


def table(root: Path, name: str, columns: Sequence[tuple[str, str]], partition_by: tuple[str, ...] = ()) -> Snapshot:
    """A table without rows."""
    schema = TableSchema(columns=tuple(columns), partition_by=partition_by)
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    return Snapshot(table=name, version=-1, store=Store(str(folder)), schema=schema, files=())


def append(snapshot: Snapshot, rows: Rows) -> Snapshot:
    """Write rows as new files, with the engine's statistics."""
    names = snapshot.schema.names
    arrow = pa.table({name: [row[place] for row in rows] for place, name in enumerate(names)})
    casts = ", ".join(f'CAST("{name}" AS {kind}) AS "{name}"' for name, kind in snapshot.schema.columns)
    OPEN[0].attach("given", arrow)
    written = OPEN[0].write(f"SELECT {casts} FROM given", snapshot.store, prefix=new_id("in"))
    return replace(snapshot.changed(adds=written.files), version=snapshot.version + 1)


def content(snapshot: Snapshot) -> list[dict[str, object]]:
    """All rows, in one order."""
    OPEN[0].attach("t", snapshot)
    found: list[dict[str, object]] = OPEN[0].stream("SELECT * FROM t ORDER BY ALL").read_all().to_pylist()
    return found


@dataclass
class Workshop:
    """A model, its inputs and its table, run after run."""

    root: Path
    model: Model
    dataset: Dataset
    inputs: dict[str, Snapshot] = field(default_factory=dict)
    seen: dict[str, Snapshot] = field(default_factory=dict)
    base: Snapshot | None = None
    built: Built | None = None
    ranges: Range | Everything | None = None

    def start(self) -> Workshop:
        """Begin with no table, and no rows in inputs that were not given."""
        columns = tuple((column.name, column.type) for column in self.dataset.columns)
        self.base = table(self.root, f"out-{new_id('t')}", columns, self.dataset.partition_by)
        known: Mapping[str, tuple[tuple[str, str], ...]] = {"p.flights": FLIGHTS, "p.weather": WEATHER}
        for name in self.model.upstream:
            self.inputs.setdefault(name, table(self.root, name, known[name]))
        return self

    def run(self, *, ranges: Range | Everything | None = None) -> Built | None:
        """Run once: what flow does, without the log."""
        assert self.base is not None
        if ranges is None and self.seen:
            ranges = changed_range(self.model, self.dataset, self.seen, self.inputs)
        elif ranges is None:
            ranges = Everything(reason="new")
        self.ranges = ranges
        self.seen = dict(self.inputs)
        if ranges is None:
            return None
        with DuckDBEngine().session() as session:
            self.built = build(
                self.model,
                self.dataset,
                session=session,
                inputs=self.inputs,
                base=self.base,
                into=self.base.store,
                run_id=new_id("run"),
                ranges=ranges,
            )
        changed = self.base.changed(adds=self.built.written.files, removes=self.built.removes)
        self.base = replace(changed, version=self.base.version + 1)
        return self.built

    def whole(self) -> list[dict[str, object]]:
        """What the model's SELECT gives over the same inputs, all at once."""
        for name, snapshot in self.inputs.items():
            OPEN[0].attach(name, snapshot)
        OPEN[0].view("whole", select_for(self.model, self.dataset))
        found: list[dict[str, object]] = OPEN[0].stream("SELECT * FROM whole ORDER BY ALL").read_all().to_pylist()
        return found


def workshop(root: Path, sql: str, columns: Sequence[tuple[str, str]], **settings: object) -> Workshop:
    """A model called p.out with a contract of *columns*."""
    time_column = settings.get("time_column")
    dataset = Dataset(
        name="p.out",
        columns=tuple(
            Column(name=name, type=kind, required=name == time_column, primary_key=1 if name == "id" else None)
            for name, kind in columns
        ),
    )
    spec = ModelSpec(dataset="p.out", path="out.sql", sql=sql, sql_line=1, **settings)  # type: ignore[arg-type]
    return Workshop(root, bind(spec, SCHEMAS), dataset).start()


BY_TIME = {
    "group by day": (
        "SELECT sched::DATE AS day, carrier, count(*) AS n, sum(delay)::BIGINT AS total FROM flights GROUP BY ALL",
        (("day", "DATE"), ("carrier", "VARCHAR"), ("n", "BIGINT"), ("total", "BIGINT")),
        {"time_column": "day"},
    ),
    "lookback and month": (
        "SELECT date_trunc('month', sched)::DATE AS day, count(*) AS n FROM flights GROUP BY 1",
        (("day", "DATE"), ("n", "BIGINT")),
        {"time_column": "day", "lookback": 1, "grain": "month"},
    ),
    "hours": (
        "SELECT sched, id, delay FROM flights WHERE delay > 0",
        (("sched", "TIMESTAMP"), ("id", "BIGINT"), ("delay", "INTEGER")),
        {"time_column": "sched", "grain": "hour"},
    ),
    "window within the day": (
        (
            "WITH f AS (SELECT *, sched::DATE AS day FROM flights) SELECT day, id, "
            "row_number() OVER (PARTITION BY day ORDER BY sched, id, delay, carrier) AS place FROM f"
        ),
        (("day", "DATE"), ("id", "BIGINT"), ("place", "BIGINT")),
        {"time_column": "day"},
    ),
    "running total": (
        (
            "WITH d AS (SELECT sched::DATE AS day, sum(delay) AS total FROM flights GROUP BY 1) "
            "SELECT day, (sum(total) OVER (ORDER BY day))::BIGINT AS running FROM d"
        ),
        (("day", "DATE"), ("running", "BIGINT")),
        {"time_column": "day"},
    ),
    "joined by day": (
        (
            "WITH f AS (SELECT sched::DATE AS day, count(*) AS n FROM flights GROUP BY 1), "
            "w AS (SELECT seen::DATE AS day, max(wind) AS wind FROM weather GROUP BY 1) "
            "SELECT day, n, wind FROM f LEFT JOIN w USING (day)"
        ),
        (("day", "DATE"), ("n", "BIGINT"), ("wind", "INTEGER")),
        {"time_column": "day"},
    ),
    "weather of that time": (
        (
            "SELECT f.sched, f.id, w.wind FROM flights f ASOF LEFT JOIN "
            "(SELECT seen, max(wind) AS wind FROM weather GROUP BY seen) w ON w.seen <= f.sched"
        ),
        (("sched", "TIMESTAMP"), ("id", "BIGINT"), ("wind", "INTEGER")),
        {"time_column": "sched"},
    ),
    "both in one": (
        "SELECT sched::DATE AS day, delay AS v FROM flights UNION ALL SELECT seen::DATE, wind FROM weather",
        (("day", "DATE"), ("v", "INTEGER")),
        {"time_column": "day"},
    ),
    "days without flights": (
        "SELECT DISTINCT w.seen::DATE AS day FROM weather w ANTI JOIN flights f ON f.sched = w.seen",
        (("day", "DATE"),),
        {"time_column": "day"},
    ),
}

minutes = st.integers(0, 6 * 24 * 60).map(lambda n: BEGIN + timedelta(minutes=n))
flight_rows = st.lists(
    st.tuples(st.integers(1, 9), st.sampled_from(["UA", "AA"]), minutes, st.integers(-5, 5)), min_size=1, max_size=8
)
weather_rows = st.lists(st.tuples(minutes, st.integers(0, 9)), min_size=1, max_size=4)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("p.flights"), flight_rows),
        st.tuples(st.just("p.weather"), weather_rows),
        st.tuples(st.just("drop"), st.integers(0, 3)),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(name=st.sampled_from(sorted(BY_TIME)), first=flight_rows, steps=steps)
def test_increments_by_time_equal_a_full_build(name: str, first: Rows, steps: list[tuple[str, object]]) -> None:
    """Whatever files come and go in what a by-time model reads, its table is that of a full rebuild."""
    sql, columns, given_settings = BY_TIME[name]
    with tempfile.TemporaryDirectory() as folder:
        shop = workshop(Path(folder), sql, columns, materialize="by time", **given_settings)
        shop.inputs["p.flights"] = append(shop.inputs.get("p.flights", table(Path(folder), "f", FLIGHTS)), first)
        shop.run()
        for what, rows in steps:
            if what == "drop":
                flights = shop.inputs["p.flights"]
                gone = flights.files[int(str(rows)) % len(flights.files)] if flights.files else None
                if gone is not None:
                    shop.inputs["p.flights"] = replace(flights.changed(removes=[gone]), version=flights.version + 1)
            elif what in shop.inputs:
                shop.inputs[what] = append(shop.inputs[what], rows)  # type: ignore[arg-type]
            shop.run()
            assert shop.base is not None
            assert content(shop.base) == shop.whole()


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(batches=st.lists(flight_rows, min_size=1, max_size=4))
def test_merges_by_key_equal_a_full_build(batches: list[Rows]) -> None:
    """Whatever rows are appended, a by-key model's table is that of a full rebuild, with each key once."""
    sql = "SELECT id, count(*) AS n, max(sched) AS latest FROM flights GROUP BY id"
    columns = (("id", "BIGINT"), ("n", "BIGINT"), ("latest", "TIMESTAMP"))
    with tempfile.TemporaryDirectory() as folder:
        shop = workshop(Path(folder), sql, columns, materialize="by key", order_by="latest")
        for rows in batches:
            shop.inputs["p.flights"] = append(shop.inputs["p.flights"], rows)
            shop.run()
            assert shop.base is not None
            assert content(shop.base) == shop.whole()


def test_a_late_row_rewrites_its_day_and_reads_nothing_else(tmp_path: Path) -> None:
    """For one late row, only its day is computed: other days' files are neither replaced nor even opened."""
    sql, columns, given_settings = BY_TIME["group by day"]
    shop = workshop(tmp_path, sql, columns, materialize="by time", **given_settings)
    for day in range(4):
        rows = [(n, "UA", BEGIN + timedelta(days=day, hours=n), n) for n in range(3)]
        shop.inputs["p.flights"] = append(shop.inputs["p.flights"], rows)
        shop.run()
    assert shop.base is not None
    files_before: Sequence[DataFile] = shop.base.files
    assert len(files_before) == 4
    last_day = shop.inputs["p.flights"].files[-1]
    (Path(shop.inputs["p.flights"].store.uri) / last_day.path).unlink()
    shop.inputs["p.flights"] = append(shop.inputs["p.flights"], [(9, "UA", BEGIN + timedelta(days=1, hours=9), 9)])
    built = shop.run()
    assert shop.ranges == Range(low="2013-01-31", high="2013-02-01")
    assert built is not None
    assert [file.path for file in built.removes] == [files_before[1].path]
    assert built.reason == "day from 2013-01-31 to 2013-02-01"
    assert [row["n"] for row in content(shop.base)] == [3, 4, 3, 3]


def test_unchanged_inputs_need_no_build(tmp_path: Path) -> None:
    """The same files at a new version change nothing."""
    sql, columns, given_settings = BY_TIME["group by day"]
    shop = workshop(tmp_path, sql, columns, materialize="by time", **given_settings)
    shop.inputs["p.flights"] = append(shop.inputs["p.flights"], [(1, "UA", BEGIN, 1)])
    shop.run()
    shop.inputs["p.flights"] = replace(shop.inputs["p.flights"], version=7)
    assert shop.run() is None


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("SELECT sched, sum(delay) OVER (ORDER BY sched) AS d FROM flights", "no column of it alone decides sched"),
        ("SELECT max(sched) AS sched FROM flights", "no column of it alone decides sched"),
        ("SELECT a.sched FROM flights a JOIN flights b ON a.id = b.id", "no column of it alone decides sched"),
        ("SELECT sched FROM flights ORDER BY delay LIMIT 5", "no column of it alone decides sched"),
        ("SELECT sched + INTERVAL 1 DAY AS sched FROM flights", "no column of it alone decides sched"),
    ],
)
def test_where_rows_reach_other_times_everything_is_made_again(tmp_path: Path, sql: str, why: str) -> None:
    """Windows over time, aggregates of time, self-joins, limits and shifted times rebuild the whole, and say why."""
    columns = (("sched", "TIMESTAMP"), ("d", "INTEGER"))
    shop = workshop(tmp_path, sql, columns, materialize="by time", time_column="sched")
    before = {"p.flights": append(shop.inputs["p.flights"], [(1, "UA", BEGIN, 1)])}
    after = {"p.flights": append(before["p.flights"], [(1, "UA", BEGIN, 1)])}
    found = changed_range(shop.model, shop.dataset, before, after)
    assert isinstance(found, Everything)
    assert why in found.reason


def test_rows_without_time_are_not_lost(tmp_path: Path) -> None:
    """Where the contract lets the time column be empty, a file with empty times rebuilds the whole."""
    sql = "SELECT sched, id FROM flights"
    shop = workshop(
        tmp_path, sql, (("sched", "TIMESTAMP"), ("id", "BIGINT")), materialize="by time", time_column="sched"
    )
    before = {"p.flights": append(shop.inputs["p.flights"], [(1, "UA", BEGIN, 1)])}
    after = {"p.flights": append(before["p.flights"], [(1, "UA", None, 1), (2, "UA", BEGIN, 1)])}
    assert isinstance(changed_range(shop.model, shop.dataset, before, after), Range)
    optional = replace(shop.dataset, columns=tuple(replace(one, required=False) for one in shop.dataset.columns))
    found = changed_range(shop.model, optional, before, after)
    assert isinstance(found, Everything)
    assert "rows without sched" in found.reason


def test_a_backfill_is_widened_to_whole_grains(tmp_path: Path) -> None:
    """A range asked for in the middle of a month rebuilds that whole month and no other."""
    sql, columns, given_settings = BY_TIME["lookback and month"]
    shop = workshop(tmp_path, sql, columns, materialize="by time", **given_settings)
    rows = [(n, "UA", BEGIN + timedelta(days=n), 1) for n in range(6)]
    shop.inputs["p.flights"] = append(shop.inputs["p.flights"], rows)
    shop.run()
    built = shop.run(ranges=Range(low="2013-02-02", high="2013-02-03"))
    assert built is not None
    assert built.reason == "day from 2013-02-01 to 2013-03-01"
    assert shop.base is not None
    assert content(shop.base) == shop.whole()


def test_scd2_keeps_every_version_and_marks_the_current_one(tmp_path: Path) -> None:
    """A changed row closes the old version and opens a new one; an unchanged row does nothing."""
    sql = "SELECT id, arg_max(carrier, sched) AS carrier, max(sched) AS seen FROM flights GROUP BY id"
    columns = (
        ("id", "BIGINT"),
        ("carrier", "VARCHAR"),
        ("seen", "TIMESTAMP"),
        ("valid_from", "TIMESTAMP"),
        ("valid_to", "TIMESTAMP"),
        ("is_current", "BOOLEAN"),
    )
    shop = workshop(tmp_path, sql, columns, materialize="scd2", key=("id",), order_by="seen")
    shop.inputs["p.flights"] = append(shop.inputs["p.flights"], [(1, "UA", BEGIN, 1), (2, "AA", BEGIN, 1)])
    shop.run()
    later = BEGIN + timedelta(days=1)
    shop.inputs["p.flights"] = append(shop.inputs["p.flights"], [(1, "DL", later, 1)])
    shop.run()
    assert shop.base is not None
    found = [
        (row["id"], row["carrier"], row["valid_from"], row["valid_to"], row["is_current"]) for row in content(shop.base)
    ]
    assert sorted(found, key=str) == [
        (1, "DL", later, None, True),
        (1, "UA", BEGIN, later, False),
        (2, "AA", BEGIN, None, True),
    ]


def test_files_are_sorted_by_time_within_partitions(tmp_path: Path) -> None:
    """A by-time table's rows lie in order of time, so that statistics prune."""
    sql, columns, given_settings = BY_TIME["hours"]
    shop = workshop(tmp_path, sql, columns, materialize="by time", **given_settings)
    rows = [(n, "UA", BEGIN + timedelta(minutes=(n * 37) % 500), 1) for n in range(200)]
    shop.inputs["p.flights"] = append(shop.inputs["p.flights"], rows)
    shop.run()
    assert shop.base is not None
    OPEN[0].attach("t", shop.base)
    times = OPEN[0].stream("SELECT sched FROM t").read_all()["sched"].to_pylist()
    assert times == sorted(times)
