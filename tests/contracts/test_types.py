from __future__ import annotations

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millpond.contracts import UnknownType, canonical_type, widens
from millpond.contracts.keywords import KEYWORDS

ENGINE = duckdb.connect()
SPELLINGS = """int|integer|int4|signed|int8|long|oid|int2|short|int1|tinyint|hugeint|int128|utinyint|uint8|uint16|uint32
uint64|ubigint|uhugeint|uint128|varchar|VarChar(10)|text|string|char|char(3)|bpchar|nvarchar|nvarchar(5)|blob|bytea
binary|varbinary|numeric(10, 2)|decimal|decimal(5)|dec(4,1)|numeric|decimal(38,10)|real|float|float4|float8|double
double precision|float(3)|boolean|bool|logical|date|time|timetz|time with time zone|timestamp|datetime|timestamptz
timestamp with time zone|timestamp without time zone|timestamp_s|timestamp_ms|timestamp_us|timestamp_ns|timestamp(3)
timestamp(0)|timestamp(9)|time_ns|interval|uuid|guid|json|bit|bitstring|varint|bignum|variant|int[]|int[3]|int[][]
int[3][]|struct(a int, b varchar)|struct(A int)|row(a int, b text)|struct("a b" int, "x""y" text)|map(int, varchar)
map(varchar, struct(a int[]))|union(a int, b varchar)|enum('a', 'b''c')|map(varchar,int)[]|struct(a uint8, b guid)
struct("_1" int, "__1" int, "1a" int, "é" int, "Select" int, value int, "key" int)
character varying(10)|nchar(3)|uint8[]|timestamp(3)[]"""
SCALARS = st.sampled_from(
    ["int", "varchar", "numeric(10, 2)", "timestamptz", "double", "date", "uint16", "bool", "uuid", "time", "hugeint"]
)
NAMES = st.one_of(
    st.sampled_from(sorted(KEYWORDS)),
    st.text("abXY_19 -é.", min_size=1, max_size=5).filter(lambda name: name.strip() == name),
)


def quoted(name: str) -> str:
    """Quote an identifier."""
    return f'"{name}"'


def nested(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Draw types that hold *inner*."""
    fields = st.lists(st.tuples(NAMES, inner), min_size=1, max_size=3, unique_by=lambda field: field[0].lower())
    return st.one_of(
        inner.map(lambda kind: f"{kind}[]"),
        inner.map(lambda kind: f"{kind}[4]"),
        st.tuples(SCALARS, inner).map(lambda pair: f"map({pair[0]}, {pair[1]})"),
        fields.map(lambda pairs: f"struct({', '.join(f'{quoted(name)} {kind}' for name, kind in pairs)})"),
    )


TYPES = st.recursive(SCALARS, nested, max_leaves=5)


def described(kind: str) -> str:
    """Ask DuckDB how it prints a type."""
    row = ENGINE.execute(f"DESCRIBE SELECT NULL::{kind} AS x").fetchone()
    assert row is not None
    return str(row[1])


@pytest.mark.parametrize("text", SPELLINGS.replace("\n", "|").split("|"))
def test_a_spelling_becomes_what_duckdb_prints(text: str) -> None:
    """However a type is written, its canonical text is DuckDB's own."""
    assert canonical_type(text) == described(text)


@given(TYPES)
@settings(max_examples=150, deadline=None)
def test_nested_types_become_what_duckdb_prints(text: str) -> None:
    """Lists, maps and structs with any field names are printed as DuckDB prints them, and stay so."""
    found = canonical_type(text)
    assert found == described(text)
    assert canonical_type(found) == found


def test_keywords_are_duckdbs() -> None:
    """The names that are quoted in a struct are exactly DuckDB's keywords."""
    rows = ENGINE.execute("SELECT DISTINCT keyword_name FROM duckdb_keywords()").fetchall()
    assert {row[0] for row in rows} == KEYWORDS


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("ARRAY<DOUBLE>", "DOUBLE[]"), ("MAP<STRING, INT>", "MAP(VARCHAR, INTEGER)"), ("NUMBER(10,2)", "DECIMAL(10,2)"),
        ("serial", "INTEGER"), ("varchar2(20)", "VARCHAR"), ("timestamp_ltz", "TIMESTAMP WITH TIME ZONE"),
        ("int unsigned", "UINTEGER"), ("number", "DOUBLE"), ("float(3,2)", "FLOAT"),
    ],
)  # fmt: skip
def test_other_systems_spellings_are_read(text: str, wanted: str) -> None:
    """What people copy from Spark, Oracle, PostgreSQL and MySQL is understood."""
    assert canonical_type(text) == wanted


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("VARCHRA", "Did you mean VARCHAR?"), ("timstamp", "Did you mean TIMESTAMP?"), ("xml", "such as VARCHAR"),
        ("decimal(40,2)", "p from 1 to 38"), ("struct", "STRUCT(a INTEGER, b VARCHAR)"), ("", "such as VARCHAR"),
        ("int); drop table x --", "Did you mean INT?"), ("1", "such as VARCHAR"), ("int format 'x'", "INT"),
    ],
)  # fmt: skip
def test_what_is_no_type_is_refused_with_what_was_meant(text: str, hint: str) -> None:
    """A type that DuckDB does not have names the nearest one, and no text gets past the parser."""
    with pytest.raises(UnknownType) as caught:
        canonical_type(text)
    assert hint in str(caught.value)
    assert caught.value.type_text == text


VALUES = {
    "TINYINT": ["-128", "127"], "SMALLINT": ["-32768", "32767"], "INTEGER": ["-2147483648", "2147483647"],
    "BIGINT": ["-9223372036854775808", "9223372036854775807"],
    "HUGEINT": ["-170141183460469231731687303715884105728", "170141183460469231731687303715884105727"],
    "UTINYINT": ["0", "255"], "USMALLINT": ["65535"], "UINTEGER": ["4294967295"], "UBIGINT": ["18446744073709551615"],
    "UHUGEINT": ["340282366920938463463374607431768211455"], "FLOAT": ["0.1", "3.4e38", "-1e-38"],
    "DOUBLE": ["0.1", "1e300"],
    "DECIMAL(4,1)": ["-999.9"], "DECIMAL(5,1)": ["9999.9"], "DECIMAL(6,3)": ["999.999"], "DECIMAL(18,2)": ["1.25"],
    "DATE": ["2020-02-29"], "TIMESTAMP": ["2020-02-29 01:02:03.456"], "VARCHAR": ["x"], "BOOLEAN": ["true"],
    "ENUM('a', 'b')": ["a"], "ENUM('a', 'b', 'c')": ["c"], "ENUM('b', 'a')": ["a"],
}  # fmt: skip
WRAPPED = {
    "{}[]": "[{}]", "STRUCT(x {})": "{{'x': {}}}", "MAP(VARCHAR, {})": "MAP {{'k': {}}}", "{}": "{}",
}  # fmt: skip


@given(st.sampled_from(sorted(VALUES)), st.sampled_from(sorted(VALUES)), st.sampled_from(sorted(WRAPPED)), st.data())
@settings(max_examples=600, deadline=None)
def test_a_widened_value_comes_back_unchanged(old: str, new: str, wrap: str, data: st.DataObject) -> None:
    """Whatever widening is accepted, DuckDB casts the extreme values there and back without loss."""
    before, after = wrap.format(old), wrap.format(new)
    if not widens(before, after):
        return
    assert not widens(after, before)
    value = data.draw(st.sampled_from(VALUES[old]))
    literal = WRAPPED[wrap].format(f"CAST('{value}' AS {old})")
    query = f"SELECT v = v::{after}::{before} AND (v::{after})::VARCHAR IS NOT NULL FROM (SELECT {literal} AS v)"
    assert ENGINE.execute(query).fetchone() == (True,)


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("INTEGER", "BIGINT", True), ("BIGINT", "INTEGER", False), ("UINTEGER", "BIGINT", True),
        ("UINTEGER", "INTEGER", False), ("INTEGER", "UBIGINT", False), ("FLOAT", "DOUBLE", True),
        ("INTEGER", "DOUBLE", False), ("DECIMAL(10,2)", "DECIMAL(12,4)", True),
        ("DECIMAL(10,2)", "DECIMAL(11,4)", False),
        ("DATE", "TIMESTAMP", False), ("INTEGER[]", "BIGINT[]", True), ("INTEGER[3]", "INTEGER[4]", False),
        ("STRUCT(a INTEGER)", "STRUCT(a BIGINT, b VARCHAR)", True), ("STRUCT(a INTEGER)", "STRUCT(b INTEGER)", False),
        ("STRUCT(a INTEGER, b DATE)", "STRUCT(a INTEGER)", False), ("INTEGER", "INTEGER", False),
        ("ENUM('a')", "ENUM('a', 'b')", True), ("ENUM('a', 'b')", "ENUM('b', 'a')", False),
        ("MAP(INTEGER, DATE)", "MAP(BIGINT, DATE)", True), ("UNION(a INTEGER)", "UNION(a BIGINT)", False),
        ("VARCHAR", "INTEGER", False),
    ],
)  # fmt: skip
def test_what_widens(old: str, new: str, wanted: bool) -> None:  # noqa: FBT001 - the table's third column
    """Integers up, floats up, decimals wider on both sides, structs longer; nothing that changes what a value means."""
    assert widens(old, new) is wanted
