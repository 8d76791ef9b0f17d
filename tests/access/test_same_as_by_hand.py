# ruff: noqa: E501 - queries and policies are data; a case stays on one line
"""Whatever the policies and the query: the door answers as the query would on a copy that was cut and masked by hand."""

from __future__ import annotations

import hashlib
import hmac
import math
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lab import open_door, visible

from millpond.access import (
    AnswerFailed,
    Audience,
    Deny,
    Filter,
    Grant,
    Mask,
    MaskSpec,
    PolicySet,
    Principal,
    Target,
)  # fmt: skip
from millpond.engines import DuckDBEngine, DuckDBSession, QueryFailed, QueryInvalid

TYPES = [("k", "BIGINT"), ("g", "VARCHAR"), ("v", "BIGINT"), ("s", "VARCHAR")]
SCHEMA = pa.schema([("k", pa.int64()), ("g", pa.string()), ("v", pa.int64()), ("s", pa.string())])
ROWS: list[dict[str, object]] = [
    {
        "k": k,
        "g": "abc"[k % 3] if k % 7 else None,
        "v": k % 11 if k % 5 else None,
        "s": ["x", "xy", "secret", None][k % 4],
    }
    for k in range(40)
]
WHO = Principal(id="p", groups=frozenset({"readers"}), attributes={"g": "a", "limit": "6"})
Row = dict[str, object]


def _and(*conditions: bool | None) -> bool | None:
    return False if False in conditions else None if None in conditions else True


FILTERS: dict[str, Callable[[Row], bool | None]] = {
    "g = principal.g": lambda r: None if r["g"] is None else r["g"] == "a",
    "g is null or v > 3": lambda r: r["g"] is None or (r["v"] is not None and r["v"] > 3),  # type: ignore[operator]
    "v <= principal.limit": lambda r: None if r["v"] is None else r["v"] <= 6,  # type: ignore[operator]
    "not (g in ('a', 'b') and v = 2)": lambda r: (
        None if (c := _and(r["g"] and r["g"] in {"a", "b"}, r["v"] and r["v"] == 2)) is None else not c  # type: ignore[arg-type]
    ),
    "length(s) < 3": lambda r: None if r["s"] is None else len(str(r["s"])) < 3,
    "k % 2 = 0": lambda r: r["k"] % 2 == 0,  # type: ignore[operator]
    "s like 'x%' or s is null": lambda r: r["s"] is None or str(r["s"]).startswith("x"),
    "cast(s as integer) = 1": lambda _: None,
    "principal.id = 'p'": lambda _: True,
}
MASKS: dict[MaskSpec, tuple[str, Callable[[object], object]]] = {
    MaskSpec(kind="null"): ("gvs", lambda _: None),
    MaskSpec(kind="constant", value="7"): ("gvs", lambda _: "7"),
    MaskSpec(kind="partial", keep_last=1): ("gs", lambda v: v and ("***" + str(v)[-1] if len(str(v)) > 1 else "***")),
    MaskSpec(kind="hash"): ("gs", lambda v: v and hmac.new(b"MASKKEY-MILLPOND_MASK_KEY", str(v).encode(), hashlib.sha256).hexdigest()),
    MaskSpec(kind="band", width=4): ("v", lambda v: v if v is None else math.floor(int(str(v)) / 4) * 4),
    MaskSpec(kind="expression", expression="value + 1"): ("v", lambda v: v if v is None else int(str(v)) + 1),
    MaskSpec(kind="expression", expression="upper(left(value, 1))"): ("gs", lambda v: v and str(v)[:1].upper()),
}  # fmt: skip


@dataclass(frozen=True)
class World:
    filters: tuple[str, ...]
    masks: tuple[tuple[str, MaskSpec], ...]
    withheld: str | None

    def policies(self) -> PolicySet:
        """Say the world as policies."""
        on = Target(datasets=("d.*",))
        return PolicySet(
            grants=(Grant(id="g", to=Audience(groups=("readers",)), datasets=("d.t",)),),
            filters=tuple(Filter(id=f"f{i}", on=on, rows=rows) for i, rows in enumerate(self.filters)),
            masks=tuple(Mask(id=f"m{i}", on=Target(columns=(c,)), mask=spec) for i, (c, spec) in enumerate(self.masks)),
            denies=tuple(
                Deny(id="d", to=Audience(everyone=True), on=Target(columns=(c,)))
                for c in [self.withheld]
                if c is not None
            ),
        )

    def by_hand(self) -> pa.Table:
        """Say the world as the rows that are left of it."""
        kept = [row for row in ROWS if all(FILTERS[rows](row) is True for rows in self.filters)]
        hidden = dict(self.masks)
        shown = [
            {c: MASKS[hidden[c]][1](v) if c in hidden else v for c, v in row.items() if c != self.withheld}
            for row in kept
        ]
        typed = [
            {c: int(v) if SCHEMA.field(c).type == pa.int64() and v is not None else v for c, v in row.items()}
            for row in shown
        ]
        return pa.Table.from_pylist(typed, pa.schema([field for field in SCHEMA if field.name != self.withheld]))


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Draw policies: some filters, at most one mask for each column, perhaps a withheld column."""
    masks = []
    for column in "gvs":
        spec = draw(st.sampled_from([None, None, *(spec for spec, (fits, _) in MASKS.items() if column in fits)]))
        if spec is not None:
            masks.append((column, spec))
    filters = draw(st.lists(st.sampled_from(sorted(FILTERS)), max_size=3, unique=True))
    return World(filters=tuple(filters), masks=tuple(masks), withheld=draw(st.sampled_from([None, None, "g", "s"])))


COLUMN = st.sampled_from("kgvs")
VALUE = st.one_of(
    COLUMN,
    st.sampled_from(
        ["length(s)", "v + 1", "coalesce(g, 'z')", "v * 2 - k", "upper(s)", "try_cast(s as integer)", "k % 3"]
    ),
)
CONDITION = st.one_of(
    st.builds("{} = '***t'".format, st.sampled_from("gs")),
    st.builds(
        "{} {} {}".format, st.sampled_from(["k", "v"]), st.sampled_from(["<", ">=", "=", "<>"]), st.integers(0, 12)
    ),
    st.builds("{} is {}null".format, COLUMN, st.sampled_from(["", "not "])),
    st.sampled_from(["s like 'x%'", "g in ('a', 'c')", "s is distinct from g", "k in (select v from d.t)", "true"]),
    st.sampled_from(["exists (from d.t o where o.k = t.k + 1 and o.g = t.g)", "length(s) > 1 or v = 3"]),
)


@st.composite
def queries(draw: st.DrawFn) -> str:
    """Draw a SELECT over d.t that the gate lets through."""
    where = draw(
        st.one_of(
            st.just(""),
            st.builds("where {} and {}".format, CONDITION, CONDITION),
            st.builds("where {}".format, CONDITION),
        )
    )
    plain = ", ".join(draw(st.lists(VALUE, min_size=1, max_size=3)))
    key = draw(COLUMN)
    total = draw(st.sampled_from(["count(*)", "sum(v)", "min(s)", "max(g)", "count(distinct v)", "list(k order by k)"]))
    return draw(st.sampled_from([
        f"select {plain} from d.t t {where} order by all",
        f"select * from d.t t {where} order by all",
        f"select {key}, {total} from d.t t {where} group by {key} order by all",
        f"select {total} from d.t t {where}",
        f"with c as (select * from d.t t {where}) select {key}, count(*) from c group by all order by all",
        f"select a.k, b.{key} from d.t a join d.t b on a.k = b.v order by all",
        f"select {key}, row_number() over (partition by {key} order by k) from d.t t {where} order by all",
        f"select distinct {plain} from d.t t {where} order by all limit 5",
        f"select k from d.t t {where} except select v from d.t order by all",
        f"select t.k, q.m from d.t t, lateral (select max(o.v) m from d.t o where o.{key} = t.{key}) q {where} order by all",
    ]))  # fmt: skip


@pytest.fixture(scope="module")
def plain() -> Iterator[DuckDBSession]:
    """Give a session without policies."""
    with DuckDBEngine().session() as session:
        yield session


def _rows(ask: Callable[[], pa.Table]) -> list[Row] | None:
    """Give the rows; None where the query fails on its data or its types."""
    try:
        listed: list[Row] = ask().to_pylist()
    except (QueryFailed, QueryInvalid, AnswerFailed):
        return None
    return listed


@settings(max_examples=80, deadline=None)
@given(world=worlds(), asked=st.lists(queries(), min_size=1, max_size=4))
def test_the_door_answers_as_on_a_copy_made_by_hand(plain: DuckDBSession, world: World, asked: list[str]) -> None:
    """For random policies and queries, the governed answer equals the same SQL over rows filtered and masked in Python."""
    with tempfile.TemporaryDirectory() as folder:
        table = pa.Table.from_pylist(ROWS, SCHEMA)
        shown = visible(Path(folder), "d.t", [table.slice(0, 17), table.slice(17)], TYPES)
        door = open_door({"d.t": shown}, world.policies(), lambda _: None)
        plain.attach("d.t", world.by_hand())
        for sql in asked:
            expected = _rows(lambda sql=sql: plain.stream(sql).read_all())
            got = _rows(lambda sql=sql: door.read(WHO, None, sql).table())
            assert got == expected, sql
        door.close()
