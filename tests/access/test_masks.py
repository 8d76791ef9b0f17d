# ruff: noqa: E501 - queries and policies are data; a case stays on one line
from __future__ import annotations

import datetime as dt
import decimal
import hashlib
import hmac
import itertools

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlglot import exp

from millpond.access import Mask, MaskSpec, Target
from millpond.access.expressions import bind_expression, parse_expression, row_alias
from millpond.access.masks import MaskImpossible, mask_sql, strongest
from millpond.engines import DuckDBEngine, DuckDBSession, QueryFailed, QueryInvalid
from millpond.kernel import Secret

VALUES: dict[str, list[object]] = {
    "VARCHAR": ["", "a", "ab", "secret-value", "žluťoučký", None],
    "BIGINT": [0, 1, -7, 2**63 - 1, -(2**63), None],
    "INTEGER": [0, 15, -15, None],
    "HUGEINT": [0, 2**100, None],
    "DOUBLE": [0.0, 12.5, -12.5, float("inf"), None],
    "DECIMAL(12,2)": [decimal.Decimal("12.34"), None],
    "DATE": [dt.date(2024, 5, 17), None],
    "TIMESTAMP": [dt.datetime(2024, 5, 17, 12, 30), None],  # noqa: DTZ001 - a type without a zone
    "TIMESTAMP WITH TIME ZONE": [dt.datetime(2024, 5, 17, 12, 30, tzinfo=dt.UTC), None],
    "BOOLEAN": [True, None],
    "UUID": ["7f8a1c0e-2b6c-4a57-9f0e-0d3c7a8b9c10", None],
    "VARCHAR[]": [["a", "b"], None],
    "STRUCT(a INTEGER, b VARCHAR)": [{"a": 1, "b": "x"}, None],
    "MAP(VARCHAR, INTEGER)": [[("a", 1)], None],
}
SPECS = [
    MaskSpec(kind="null"), MaskSpec(kind="constant", value="0"), MaskSpec(kind="partial", keep_last=2),
    MaskSpec(kind="partial", keep_first=1, keep_last=1), MaskSpec(kind="hash"), MaskSpec(kind="year"), MaskSpec(kind="month"),
    MaskSpec(kind="band", width=10), MaskSpec(kind="band", width=0.5),
    MaskSpec(kind="expression", expression="left(cast(value as varchar), 1)"),
]  # fmt: skip


@pytest.fixture(scope="module")
def session() -> DuckDBSession:
    """Give one engine session for all cases."""
    return DuckDBEngine().session()


def masked(session: DuckDBSession, spec: MaskSpec, type_: str, values: list[object]) -> pa.ChunkedArray:
    """Show *values* of a column through a mask."""
    source = _array(type_, values)
    session.attach("main.plain", pa.table({"v": source}))
    cast = f'SELECT CAST("v" AS {type_}) AS "v" FROM main.plain'
    hidden = mask_sql(spec, "v", type_, attribute={}.get, secret=lambda _: Secret("key"))
    typed = exp.alias_(exp.Subquery(this=exp.maybe_parse(cast, dialect="duckdb")), "_mp_row", table=True)
    query = exp.select(exp.alias_(hidden, "v")).from_(typed)
    answer = session.stream(query.sql("duckdb")).read_all()
    described = session.describe(query.sql("duckdb"))
    assert described == session.describe(cast), "a mask keeps the column's type"
    return answer["v"]


def _array(type_: str, values: list[object]) -> pa.Array:
    if type_ == "HUGEINT":
        return pa.array([None if value is None else str(value) for value in values], pa.string())
    if type_.startswith("MAP"):
        return pa.array(values, pa.map_(pa.string(), pa.int32()))
    return pa.array(values)


@pytest.mark.parametrize(
    ("spec", "type_"), list(itertools.product(SPECS, VALUES)), ids=lambda value: getattr(value, "kind", value)
)
def test_a_mask_keeps_the_type_or_refuses(session: DuckDBSession, spec: MaskSpec, type_: str) -> None:
    """Every mask on every type answers values of that type without an error, or says that it cannot hide them."""
    fits = {
        "partial": type_ == "VARCHAR",
        "hash": type_ in {"VARCHAR", "BIGINT", "HUGEINT"},
        "year": type_.startswith(("DATE", "TIMESTAMP")),
        "month": type_.startswith(("DATE", "TIMESTAMP")),
        "band": type_.startswith(("BIGINT", "INTEGER", "HUGEINT", "DOUBLE", "DECIMAL")),
        "constant": type_ in {"VARCHAR", "BIGINT", "INTEGER", "HUGEINT", "DOUBLE", "DECIMAL(12,2)", "BOOLEAN"},
    }
    if fits.get(spec.kind, True):
        assert len(masked(session, spec, type_, VALUES[type_])) == len(VALUES[type_])
        return
    with pytest.raises((MaskImpossible, QueryFailed, QueryInvalid)) as refused:
        masked(session, spec, type_, VALUES[type_])
    assert spec.kind == "constant" or type_ in str(refused.value)


def test_a_hash_is_an_hmac(session: DuckDBSession) -> None:
    """Hashed text is HMAC-SHA-256 under the key, as any other tool computes it; NULL stays NULL."""
    shown = masked(session, MaskSpec(kind="hash"), "VARCHAR", ["", "N14228", "žluť", None]).to_pylist()
    expected = [hmac.new(b"key", text.encode(), hashlib.sha256).hexdigest() for text in ("", "N14228", "žluť")]
    assert shown == [*expected, None]


def test_hashed_numbers_still_join(session: DuckDBSession) -> None:
    """The same number hashes to the same number, others to others, and no key means no answer."""
    shown = masked(session, MaskSpec(kind="hash"), "BIGINT", [1, 2, 1, -(2**63), None]).to_pylist()
    assert shown[0] == shown[2] != shown[1]
    assert shown[4] is None
    with pytest.raises(MaskImpossible, match="MILLPOND_MASK_KEY"):
        mask_sql(MaskSpec(kind="hash"), "v", "BIGINT", attribute={}.get, secret=lambda _: None)


def test_partial_shows_the_ends_only(session: DuckDBSession) -> None:
    """Short values are hidden whole, and the length of long ones cannot be told."""
    spec = MaskSpec(kind="partial", keep_first=1, keep_last=2)
    shown = masked(session, spec, "VARCHAR", ["abcdef", "abcdefghij", "abc", "ab", "", None]).to_pylist()
    assert shown == ["a***ef", "a***ij", "***", "***", "***", None]


def test_bands_and_periods_are_rounded_down(session: DuckDBSession) -> None:
    """A band shows the multiple below, a year or month its first day."""
    assert masked(session, MaskSpec(kind="band", width=10), "INTEGER", [0, 9, 15, -1, None]).to_pylist() == [
        0,
        0,
        10,
        -10,
        None,
    ]
    assert masked(session, MaskSpec(kind="month"), "DATE", [dt.date(2024, 5, 17)]).to_pylist() == [dt.date(2024, 5, 1)]
    assert masked(session, MaskSpec(kind="year"), "DATE", [dt.date(2024, 5, 17)]).to_pylist() == [dt.date(2024, 1, 1)]


def test_an_expression_that_fails_hides_the_value(session: DuckDBSession) -> None:
    """A mask's own expression never raises: what it cannot compute is NULL."""
    spec = MaskSpec(kind="expression", expression="cast(value as integer)")
    assert masked(session, spec, "VARCHAR", ["12", "secret"]).to_pylist() == ["12", None]


def _mask(id_: str, spec: MaskSpec) -> Mask:
    return Mask(id=id_, on=Target(columns=("c",)), mask=spec)


@given(st.lists(st.sampled_from(SPECS), min_size=1, max_size=5), st.randoms())
def test_the_order_of_masks_does_not_matter(specs: list[MaskSpec], random: object) -> None:
    """Several masks on a column leave the same one whatever their order, and one mask alone stays as it is."""
    masks = [_mask(str(index), spec) for index, spec in enumerate(specs)]
    shuffled = list(masks)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert strongest(masks) == strongest(shuffled)
    assert strongest(masks[:1]) == specs[0]
    if MaskSpec(kind="null") in specs:
        assert strongest(masks) == MaskSpec(kind="null")


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20))
def test_an_attribute_is_only_ever_a_value(text: str) -> None:
    """Whatever text an attribute holds, it compares as that text and can never end the literal it stands in."""
    bound = bind_expression(parse_expression("c = principal.a"), columns={"c": "c"}, attribute={"a": text}.get)
    session = _SESSIONS[0]
    session.attach("main.texts", pa.table({"c": [text, text + "x", "' or true --", "\\", "''"]}))
    raw = exp.Table(this=exp.to_identifier("texts"), db=exp.to_identifier("main"), alias=row_alias())
    rows = session.stream(exp.select(exp.column("c")).from_(raw).where(bound).sql("duckdb")).read_all()["c"].to_pylist()
    assert rows == [value for value in [text, text + "x", "' or true --", "\\", "''"] if value == text]


_SESSIONS = [DuckDBEngine().session()]
