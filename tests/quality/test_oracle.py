"""Verdicts against a brute-force reading of the rules, row by row, with three-valued logic."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millpond.contracts import Column, Dataset, Rule
from millpond.engines import Session
from millpond.quality import audit, row_rules

Row = tuple[int | None, str | None, int | None]
Truth = bool | None
SCHEMA = pa.schema([("a", pa.int32()), ("b", pa.string()), ("c d", pa.int64())])

ROWS = st.lists(
    st.tuples(
        st.none() | st.integers(-3, 3),
        st.none() | st.sampled_from(["", "x", "xy", "X", "it's", "1"]),
        st.none() | st.integers(-2, 2),
    ),
    max_size=12,
)


@dataclass(frozen=True)
class Condition:
    """An expression, and what it says of a row."""

    sql: str
    says: Callable[[Row], Truth]


def _compare(place: int, name: str, operator: str, number: int) -> Condition:
    tests: dict[str, Callable[[int], bool]] = {
        ">": lambda value: value > number,
        "<=": lambda value: value <= number,
        "=": lambda value: value == number,
        "<>": lambda value: value != number,
    }
    test = tests[operator]

    def says(row: Row) -> Truth:
        value = row[place]
        return test(value) if isinstance(value, int) else None

    return Condition(f"{name} {operator} {number}", says)


def _and(left: Condition, right: Condition) -> Condition:
    def says(row: Row) -> Truth:
        found = {left.says(row), right.says(row)}
        return False if False in found else None if None in found else True

    return Condition(f"({left.sql} AND {right.sql})", says)


def _or(left: Condition, right: Condition) -> Condition:
    def says(row: Row) -> Truth:
        found = {left.says(row), right.says(row)}
        return True if True in found else None if None in found else False

    return Condition(f"({left.sql} OR {right.sql})", says)


def _not(inner: Condition) -> Condition:
    def says(row: Row) -> Truth:
        found = inner.says(row)
        return None if found is None else not found

    return Condition(f"(NOT {inner.sql})", says)


LEAVES = st.one_of(
    st.builds(
        _compare, st.just(0), st.sampled_from(["a", "A", '"a"']), st.sampled_from([">", "<=", "=", "<>"]),
        st.integers(-2, 2),
    ),
    st.builds(_compare, st.just(2), st.just('"C d"'), st.sampled_from([">", "="]), st.integers(-1, 1)),
    st.just(Condition("b ~ 'x'", lambda row: None if row[1] is None else "x" in row[1])),
    st.just(Condition("b IS NULL", lambda row: row[1] is None)),
    st.just(Condition("CAST(b AS INTEGER) = 1", lambda row: True if row[1] == "1" else None)),
    st.just(Condition("NULL", lambda _: None)),
)  # fmt: skip
# What raises makes the whole expression of its row unknown, so it stands alone.
JOINABLE = LEAVES.filter(lambda leaf: "CAST" not in leaf.sql)
CONDITIONS = LEAVES | st.recursive(
    JOINABLE, lambda inner: st.builds(_and, inner, inner) | st.builds(_or, inner, inner) | st.builds(_not, inner)
)


@dataclass(frozen=True)
class Judged:
    """A rule, and how many of some rows break it."""

    rule: Rule
    breaks: Callable[[list[Row]], int]


def _custom(condition: Condition) -> Judged:
    rule = Rule(id="r", kind="custom", expression=condition.sql)
    return Judged(rule, lambda rows: sum(condition.says(row) is not True for row in rows))


def _missing(values: list[str | None]) -> Judged:
    rule = Rule(id="r", kind="library", metric="missingValues", column="b", missing_values=tuple(values))
    return Judged(rule, lambda rows: sum(row[1] is None or row[1] in values for row in rows))


def _invalid(values: list[str] | None, pattern: str | None) -> Judged:
    rule = Rule(
        id="r", kind="library", metric="invalidValues", column="b",
        valid_values=None if values is None else tuple(values), pattern=pattern,
    )  # fmt: skip

    def bad(text: str | None) -> bool:
        if text is None:
            return False
        return (values is not None and text not in values) or (
            pattern is not None and re.fullmatch(pattern, text) is None
        )

    return Judged(rule, lambda rows: sum(bad(row[1]) for row in rows))


def _repeated(places: list[int]) -> Judged:
    names = ("a", "b", "c d")
    rule = Rule(id="r", kind="library", metric="duplicateValues", columns=tuple(names[place] for place in places))

    def count(rows: list[Row]) -> int:
        whole = [key for row in rows if None not in (key := tuple(row[place] for place in places))]
        return len(whole) - len(set(whole))

    return Judged(rule, count)


VALUES = st.lists(st.sampled_from(["x", "xy", "it's", "other"]), max_size=3)
JUDGED = st.one_of(
    CONDITIONS.map(_custom),
    st.lists(st.sampled_from([None, "x", "it's"]), max_size=3).map(_missing),
    st.builds(_invalid, VALUES, st.none() | st.sampled_from(["x.*", "[a-z]+"])),
    st.builds(_invalid, st.none(), st.sampled_from(["x", "[a-z]*", "it's|1"])),
    st.lists(st.integers(0, 2), min_size=1, max_size=3, unique=True).map(_repeated),
)


def _dataset(rule: Rule) -> Dataset:
    columns = (Column(name="a", type="INTEGER"), Column(name="b", type="VARCHAR"), Column(name="c d", type="BIGINT"))
    return Dataset(name="p.d", columns=columns, rules=(rule,))


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, judged=JUDGED)
def test_verdicts_are_those_of_a_reader_with_patience(session: Session, rows: list[Row], judged: Judged) -> None:
    """For any rows and any rule, the audit and the door count exactly the rows that a row-by-row reading counts."""
    table = pa.table(
        [pa.array(column, field.type) for column, field in zip(_turned(rows), SCHEMA, strict=True)], SCHEMA
    )
    session.attach("p.d", table)
    (result,) = audit(_dataset(judged.rule), relation="p.d", session=session)
    wanted = judged.breaks(rows)
    assert (result.failing_rows, result.total_rows) == (wanted, len(rows)), result
    assert result.outcome == ("failed" if wanted else "passed")
    for at_door in row_rules(_dataset(judged.rule)):
        (turned_away,) = session.row(f"SELECT count(*) FROM p.d WHERE ({at_door.predicate}) IS NOT TRUE")
        assert turned_away == wanted


def _turned(rows: list[Row]) -> list[list[object]]:
    return [[row[place] for row in rows] for place in range(3)]
