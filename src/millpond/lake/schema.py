"""DuckDB's types as Delta's, and back.

Delta has fewer types. A column keeps its exact DuckDB type in the Delta column's metadata (``millpond.type``), so that
what was a UUID is one again for us, and text for everybody else. Every column is nullable in Delta: the contract, not
the table, says what must be there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from sqlglot import exp
from sqlglot.errors import SqlglotError

from millpond.lake.errors import SchemaNotEvolvable, TypeNotStorable
from millpond.lake.spec import TableSchema

_T = exp.DataType.Type
_TYPE_KEY: Final = "millpond.type"

_DELTA: Final[Mapping[object, str]] = {
    _T.TINYINT: "byte",
    _T.SMALLINT: "short",
    _T.INT: "integer",
    _T.BIGINT: "long",
    _T.UTINYINT: "short",
    _T.USMALLINT: "integer",
    _T.UINT: "long",
    _T.UBIGINT: "decimal(20,0)",
    _T.INT128: "decimal(38,0)",
    _T.UINT128: "decimal(38,0)",
    _T.FLOAT: "float",
    _T.DOUBLE: "double",
    _T.VARCHAR: "string",
    _T.TEXT: "string",
    _T.CHAR: "string",
    _T.VARBINARY: "binary",
    _T.BLOB: "binary",
    _T.BOOLEAN: "boolean",
    _T.DATE: "date",
    _T.TIMESTAMP: "timestamp_ntz",
    _T.TIMESTAMPNTZ: "timestamp_ntz",
    _T.TIMESTAMP_S: "timestamp_ntz",
    _T.TIMESTAMP_MS: "timestamp_ntz",
    _T.TIMESTAMP_NS: "timestamp_ntz",
    _T.DATETIME: "timestamp_ntz",
    _T.TIMESTAMPTZ: "timestamp",
    _T.TIMESTAMPLTZ: "timestamp",
    _T.TIME: "string",
    _T.TIMETZ: "string",
    _T.INTERVAL: "string",
    _T.UUID: "string",
    _T.ENUM: "string",
    _T.JSON: "string",
    _T.BIT: "string",
    _T.BIGNUM: "string",
}
"""Types that are no type of Delta are held as the narrowest type that holds every value, else as text."""

_DUCKDB: Final[Mapping[str, str]] = {
    "byte": "TINYINT",
    "short": "SMALLINT",
    "integer": "INTEGER",
    "long": "BIGINT",
    "float": "FLOAT",
    "double": "DOUBLE",
    "string": "VARCHAR",
    "binary": "BLOB",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "timestamp_ntz": "TIMESTAMP",
    "timestamp": "TIMESTAMP WITH TIME ZONE",
}

_WIDER: Final = {("byte", "short"), ("byte", "integer"), ("short", "integer")}
"""What readers accept in old files without a table feature that most of them do not have."""

_DeltaType = str | dict[str, Any]


def stored_type(duckdb_type: str) -> str:
    """Give the DuckDB type in which a column must be written to Parquet, so that every Delta reader can read it.

    ``UUID`` is stored as ``VARCHAR``, ``UTINYINT`` as ``SMALLINT``, ``HUGEINT`` as ``DECIMAL(38,0)``.

    Raises:
        TypeNotStorable: no type of Delta can hold it.
    """
    return _from_delta(delta_type(duckdb_type))


@lru_cache(maxsize=4096)
def delta_type(duckdb_type: str) -> _DeltaType:
    """Give the Delta type of a DuckDB type, as the Delta log writes it; the answer is shared, so never change it.

    Raises:
        TypeNotStorable: no type of Delta can hold it.
    """
    try:
        parsed = exp.DataType.build(duckdb_type, dialect="duckdb")
    except (SqlglotError, ValueError):
        raise TypeNotStorable(duckdb_type) from None
    return _to_delta(parsed, duckdb_type)


def _to_delta(parsed: exp.DataType, text: str) -> _DeltaType:
    kind = parsed.this
    inner = parsed.expressions
    if kind in {_T.LIST, _T.ARRAY}:
        return {"type": "array", "elementType": _to_delta(inner[0], text), "containsNull": True}
    if kind == _T.MAP:
        key, value = (_to_delta(part, text) for part in inner)
        return {"type": "map", "keyType": key, "valueType": value, "valueContainsNull": True}
    if kind == _T.STRUCT:
        fields = [_delta_field(part.name, _to_delta(part.args["kind"], text)) for part in inner]
        return {"type": "struct", "fields": fields}
    if kind == _T.DECIMAL:
        precision, scale = (int(part.name) for part in inner) if len(inner) == 2 else (18, 3)
        return f"decimal({precision},{scale})"
    if kind in _DELTA:
        return _DELTA[kind]
    raise TypeNotStorable(text)


def _delta_field(name: str, type_: _DeltaType, metadata: Mapping[str, str] | None = None) -> dict[str, Any]:
    return {"name": name, "type": type_, "nullable": True, "metadata": dict(metadata or {})}


def _from_delta(type_: _DeltaType) -> str:
    if isinstance(type_, str):
        return _DUCKDB.get(type_) or type_.upper()  # decimal(18,2) is spelt alike
    kind = type_["type"]
    if kind == "array":
        return f"{_from_delta(type_['elementType'])}[]"
    if kind == "map":
        return f"MAP({_from_delta(type_['keyType'])}, {_from_delta(type_['valueType'])})"
    fields = ", ".join(
        f"{exp.to_identifier(part['name'], quoted=True).sql('duckdb')} {_from_delta(part['type'])}"
        for part in type_["fields"]
    )
    return f"STRUCT({fields})"


def delta_schema(schema: TableSchema) -> str:
    """Write a table's columns as a Delta ``schemaString``.

    Raises:
        TypeNotStorable: a column's type has no counterpart.
    """
    fields = []
    for name, type_ in schema.columns:
        delta = delta_type(type_)
        metadata = {} if _from_delta(delta) == type_ else {_TYPE_KEY: type_}
        fields.append(_delta_field(name, delta, metadata))
    return json.dumps({"type": "struct", "fields": fields}, ensure_ascii=False, separators=(",", ":"))


def table_schema(schema_string: str, partition_by: tuple[str, ...]) -> TableSchema:
    """Read a Delta ``schemaString``, ours or another writer's, as columns with DuckDB types."""
    fields = json.loads(schema_string)["fields"]
    columns = ((part["name"], part["metadata"].get(_TYPE_KEY) or _from_delta(part["type"])) for part in fields)
    return TableSchema(columns=tuple(columns), partition_by=partition_by)


def needs_ntz(schema_string: str) -> bool:
    """Tell whether a ``schemaString`` holds a timestamp without time zone, which is a feature of the table."""
    return '"timestamp_ntz"' in schema_string


def check_evolution(table: str, old: TableSchema, new: TableSchema) -> None:
    """Check that files written under *old* can be read under *new*.

    Raises:
        SchemaNotEvolvable: a column goes away, changes its type incompatibly, or the partitioning changes.
    """
    if old.partition_by != new.partition_by:
        column = next(iter({*old.partition_by} ^ {*new.partition_by}), "partitioning")
        reason = f"the partitioning cannot change from {list(old.partition_by)} to {list(new.partition_by)}"
        raise SchemaNotEvolvable(table, column, reason)
    types = dict(new.columns)
    for name, before in old.columns:
        if name not in types:
            raise SchemaNotEvolvable(table, name, "the column is gone, but older files still hold it")
        was, becomes = delta_type(before), delta_type(types[name])
        if was != becomes and not _widens(was, becomes):
            reason = f"{before} cannot become {types[name]} while older files are kept"
            raise SchemaNotEvolvable(table, name, reason)


def _widens(was: _DeltaType, becomes: _DeltaType) -> bool:
    if isinstance(was, str) or isinstance(becomes, str):
        return (was, becomes) in _WIDER
    if was["type"] != "struct" or becomes["type"] != "struct":
        return False
    fields = {part["name"]: part["type"] for part in becomes["fields"]}
    return all(
        part["name"] in fields and (fields[part["name"]] == part["type"] or _widens(part["type"], fields[part["name"]]))
        for part in was["fields"]
    )
