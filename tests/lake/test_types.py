from __future__ import annotations

from pathlib import Path

import duckdb
import polars as pl
import pytest
from deltalake import DeltaTable, Schema
from hypothesis import given
from hypothesis import strategies as st

from lake.ponds import commit, delta
from millpond.kernel import new_id
from millpond.lake import Table, TableSchema, TypeNotStorable, inspect, stored_type
from millpond.lake.schema import delta_schema, table_schema

EXACT = ["TINYINT", "SMALLINT", "INTEGER", "BIGINT", "FLOAT", "DOUBLE", "VARCHAR", "BLOB", "BOOLEAN", "DATE"]
EXACT += ["TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "DECIMAL(18,2)", "DECIMAL(38,0)"]
HELD_AS_OTHER = {
    "UTINYINT": "SMALLINT",
    "USMALLINT": "INTEGER",
    "UINTEGER": "BIGINT",
    "UBIGINT": "DECIMAL(20,0)",
    "HUGEINT": "DECIMAL(38,0)",
    "UUID": "VARCHAR",
    "TIME": "VARCHAR",
    "INTERVAL": "VARCHAR",
    "ENUM('b', 'a')": "VARCHAR",
    "JSON": "VARCHAR",
    "TIMESTAMP_NS": "TIMESTAMP",
    "TIMESTAMP_S": "TIMESTAMP",
}


def _struct(fields: dict[str, str]) -> str:
    inside = ", ".join(f'"{name.replace(chr(34), chr(34) * 2)}" {type_}' for name, type_ in fields.items())
    return f"STRUCT({inside})"


names = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=8)
types = st.recursive(
    st.sampled_from([*EXACT, *HELD_AS_OTHER]),
    lambda inner: st.one_of(
        inner.map(lambda t: f"{t}[]"),
        st.tuples(inner, inner).map(lambda pair: f"MAP({pair[0]}, {pair[1]})"),
        st.dictionaries(names, inner, min_size=1, max_size=3).map(_struct),
    ),
    max_leaves=6,
)


@given(st.dictionaries(names, types, min_size=1, max_size=5))
def test_every_type_comes_back_as_it_was(columns: dict[str, str]) -> None:
    """Whatever DuckDB calls a column, nested to any depth, the stored schema gives it back; deltalake accepts it."""
    schema = TableSchema(columns=tuple(columns.items()))
    text = delta_schema(schema)
    assert table_schema(text, ()) == schema
    assert table_schema(Schema.from_json(text).to_json(), ()) == schema


@given(types)
def test_the_stored_type_is_one_that_delta_has(type_: str) -> None:
    """What a column is stored as is stored as itself."""
    assert stored_type(stored_type(type_)) == stored_type(type_)


def test_types_are_stored_as_documented() -> None:
    """A type of Delta stays; another is held by one that holds all its values; a type with no place is refused."""
    assert {type_: stored_type(type_) for type_ in EXACT} == {type_: type_ for type_ in EXACT}
    assert {type_: stored_type(type_) for type_ in HELD_AS_OTHER} == HELD_AS_OTHER
    assert stored_type("STRUCT(a UUID, b INTEGER[])") == 'STRUCT("a" VARCHAR, "b" INTEGER[])'
    for unknown in ("GEOMETRY", "SOMETHING ELSE", ""):
        with pytest.raises(TypeNotStorable):
            stored_type(unknown)


def test_a_table_of_all_types_is_read_by_plain_readers(local: Table) -> None:
    """Columns written in their stored types: deltalake and polars give DuckDB's own values."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    values = {
        "TINYINT": "-128", "SMALLINT": "1", "INTEGER": "-5", "BIGINT": "9223372036854775807", "FLOAT": "1.5",
        "DOUBLE": "-0.1", "VARCHAR": "'é'", "BLOB": "'\\x00\\xFF'::BLOB", "BOOLEAN": "true", "DATE": "'2020-02-29'",
        "TIMESTAMP": "'2020-03-10 10:39:00.000001'", "TIMESTAMP WITH TIME ZONE": "'2020-03-10 10:39:00+02'",
        "DECIMAL(18,2)": "-1.05", "DECIMAL(38,0)": "12345678901234567890123456789012345678", "UTINYINT": "255",
        "UINTEGER": "4294967295", "UBIGINT": "18446744073709551615", "HUGEINT": "-123456789012345678901234567890",
        "UUID": "'00000000-0000-0000-0000-00000000000a'", "TIME": "'10:00:00'", "INTEGER[]": "[1, NULL]",
        "STRUCT(a INTEGER, b VARCHAR)": "{'a': 1, 'b': 'x'}", "MAP(VARCHAR, INTEGER)": "MAP {'k': 1}",
    }  # fmt: skip
    schema = TableSchema(columns=tuple((f"c{n}", type_) for n, type_ in enumerate(values)))
    inside = ", ".join(f"CAST(CAST({v} AS {t}) AS {stored_type(t)}) AS c{n}" for n, (t, v) in enumerate(values.items()))
    select = f"SELECT {inside} UNION ALL SELECT {', '.join('NULL' for _ in values)}"
    Path(local.store.uri).mkdir(parents=True)
    name = f"part-{new_id('run')}-0.parquet"
    connection.execute(f"COPY ({select}) TO '{local.store.uri_of(name)}' (FORMAT parquet)")
    commit(local, None, adds=inspect(local.store, [name]), schema=schema)
    assert local.snapshot().schema == schema
    wanted = connection.sql(f"SELECT * FROM ({select}) ORDER BY c0").to_arrow_table()
    found = delta(local).sort_by("c0")
    assert found.to_pylist() == wanted.to_pylist()
    assert str(found.schema.field("c10").type) == "timestamp[us]"
    assert str(found.schema.field("c11").type) == "timestamp[us, tz=UTC]"
    assert DeltaTable(local.store.uri).protocol().reader_features == ["timestampNtz"]
    polars = pl.scan_delta(local.store.uri).collect().sort("c0", nulls_last=True)
    plain = [f"c{n}" for n in range(20)]
    assert polars.select(plain).rows() == [tuple(row[name] for name in plain) for row in found.to_pylist()]


def test_a_table_without_such_timestamps_needs_no_feature(local: Table) -> None:
    """Old readers can read a plain table; the feature comes with the first column that needs it."""
    plain = TableSchema(columns=(("id", "BIGINT"),))
    commit(local, None, schema=plain)
    assert DeltaTable(local.store.uri).protocol()[:2] == (1, 2)
    commit(local, None, schema=TableSchema(columns=(*plain.columns, ("s", "STRUCT(at TIMESTAMP)[]"))))
    commit(local, None, schema=TableSchema(columns=(*plain.columns, ("s", "STRUCT(at TIMESTAMP)[]"), ("x", "DATE"))))
    assert DeltaTable(local.store.uri).protocol()[:2] == (3, 7)
    assert delta(local).num_rows == 0
