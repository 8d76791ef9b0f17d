"""Types: from any usual spelling to DuckDB's own, and which may become which without loss.

Owns the spelling of types. Never asks DuckDB: the same text must come out of a file read on any machine. What
``canonical_type`` gives is what DuckDB's DESCRIBE prints; a test holds it to that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from functools import lru_cache
from typing import Final

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from millpond.contracts.errors import UnknownType
from millpond.contracts.keywords import KEYWORDS

_D = exp.DataType.Type

_SCALARS: Final = {
    _D.BOOLEAN: "BOOLEAN",
    _D.TINYINT: "TINYINT",
    _D.SMALLINT: "SMALLINT",
    _D.INT: "INTEGER",
    _D.MEDIUMINT: "INTEGER",
    _D.BIGINT: "BIGINT",
    _D.INT128: "HUGEINT",
    _D.UTINYINT: "UTINYINT",
    _D.USMALLINT: "USMALLINT",
    _D.UINT: "UINTEGER",
    _D.UBIGINT: "UBIGINT",
    _D.UINT128: "UHUGEINT",
    _D.BIGNUM: "BIGNUM",
    _D.FLOAT: "FLOAT",
    _D.DOUBLE: "DOUBLE",
    _D.CHAR: "VARCHAR",
    _D.NCHAR: "VARCHAR",
    _D.BPCHAR: "VARCHAR",
    _D.VARCHAR: "VARCHAR",
    _D.NVARCHAR: "VARCHAR",
    _D.TEXT: "VARCHAR",
    _D.TINYTEXT: "VARCHAR",
    _D.MEDIUMTEXT: "VARCHAR",
    _D.LONGTEXT: "VARCHAR",
    _D.BINARY: "BLOB",
    _D.VARBINARY: "BLOB",
    _D.BLOB: "BLOB",
    _D.TINYBLOB: "BLOB",
    _D.MEDIUMBLOB: "BLOB",
    _D.LONGBLOB: "BLOB",
    _D.DATE: "DATE",
    _D.TIME: "TIME",
    _D.TIME_NS: "TIME_NS",
    _D.TIMETZ: "TIME WITH TIME ZONE",
    _D.DATETIME: "TIMESTAMP",
    _D.TIMESTAMP: "TIMESTAMP",
    _D.TIMESTAMPNTZ: "TIMESTAMP",
    _D.TIMESTAMPTZ: "TIMESTAMP WITH TIME ZONE",
    _D.TIMESTAMPLTZ: "TIMESTAMP WITH TIME ZONE",
    _D.TIMESTAMP_S: "TIMESTAMP_S",
    _D.TIMESTAMP_MS: "TIMESTAMP_MS",
    _D.TIMESTAMP_NS: "TIMESTAMP_NS",
    _D.INTERVAL: "INTERVAL",
    _D.UUID: "UUID",
    _D.JSON: "JSON",
    _D.BIT: "BIT",
    _D.VARIANT: "VARIANT",
    _D.GEOMETRY: "GEOMETRY",
}

_BY_NAME: Final[Mapping[str, str]] = {
    # DuckDB's own names that sqlglot does not read
    "oid": "BIGINT",
    "uint8": "UTINYINT",
    "uint16": "USMALLINT",
    "uint32": "UINTEGER",
    "uint64": "UBIGINT",
    "guid": "UUID",
    "varint": "BIGNUM",
    "integral": "INTEGER",
    # ODCS, and sources that people copy types from
    "number": "DOUBLE",
    "float32": "FLOAT",
    "float64": "DOUBLE",
    "smallserial": "SMALLINT",
    "serial": "INTEGER",
    "bigserial": "BIGINT",
    "datetime2": "TIMESTAMP",
    "smalldatetime": "TIMESTAMP",
    "timestamp_tz": "TIMESTAMP WITH TIME ZONE",
    "datetimeoffset": "TIMESTAMP WITH TIME ZONE",
    "ntext": "VARCHAR",
}

_TIMESTAMPS: Final = frozenset({_D.TIMESTAMP, _D.TIMESTAMPNTZ, _D.DATETIME})
_PLAIN: Final = re.compile(r"(?!_[0-9])[A-Za-z_][A-Za-z0-9_]*")
_SUGGESTED: Final = tuple(sorted({*_SCALARS.values(), "DECIMAL(18,2)", "INT", "STRING", "TIMESTAMPTZ", *_BY_NAME}))


@lru_cache(maxsize=4096)
def canonical_type(text: str) -> str:
    """Spell the type *text* as DuckDB's DESCRIBE does: ``int`` is ``INTEGER``, ``numeric(10, 2)`` is ``DECIMAL(10,2)``.

    Reads DuckDB's and ODCS's names, ``ARRAY<T>`` and ``MAP<K, V>`` as other systems write them, and common names of
    sources (``serial``, ``NUMBER(10,2)``). 100 µs for a new text, then from a cache.

    Raises:
        UnknownType: no such type; its hint names the nearest.
    """
    name = text.strip().lower()
    if name in _BY_NAME:
        return _BY_NAME[name]
    try:
        tree = sqlglot.parse_one(f"CAST(NULL AS {text})", dialect="duckdb")
    except SqlglotError as cause:
        raise _unknown(text) from cause
    if not isinstance(tree, exp.Cast) or tree.args.get("format"):
        raise _unknown(text)
    return _spell(tree.to, text)


def quote_field(name: str) -> str:
    """Quote the name of a STRUCT's field where DuckDB does when it prints a type."""
    if _PLAIN.fullmatch(name) and name.lower() not in KEYWORDS:
        return name
    return exp.to_identifier(name, quoted=True).sql("duckdb")


def _spell(node: exp.Expr | None, text: str) -> str:
    """Print the parsed type *node*; *text* is the whole, for messages."""
    if not isinstance(node, exp.DataType):
        raise _unknown(text)
    kind = node.this
    if kind in _SCALARS:
        if kind in _TIMESTAMPS and node.expressions:
            return _timestamp(node, text)
        return _SCALARS[kind]
    if kind == _D.USERDEFINED:
        name = str(node.args.get("kind", "")).lower()
        if name in _BY_NAME:
            return _BY_NAME[name]
        raise _unknown(text)
    if kind == _D.DECIMAL:
        return _decimal(node, text)
    if kind == _D.ENUM and node.expressions:
        return f"ENUM({', '.join(value.sql('duckdb') for value in node.expressions)})"
    return _spell_nested(node, text)


def _spell_nested(node: exp.DataType, text: str) -> str:
    parts = node.expressions
    if node.this in {_D.ARRAY, _D.LIST} and len(parts) == 1:
        size = node.args.get("values") or ()
        return f"{_spell(parts[0], text)}[{size[0].name if size else ''}]"
    if node.this == _D.MAP and len(parts) == 2:
        return f"MAP({_spell(parts[0], text)}, {_spell(parts[1], text)})"
    if node.this in {_D.STRUCT, _D.UNION} and parts and all(isinstance(part, exp.ColumnDef) for part in parts):
        fields = ", ".join(f"{quote_field(part.name)} {_spell(part.kind, text)}" for part in parts)
        return f"{node.this.value}({fields})"
    if node.this in {_D.STRUCT, _D.UNION, _D.MAP, _D.ARRAY, _D.LIST}:
        example = {_D.STRUCT: "STRUCT(a INTEGER, b VARCHAR)", _D.UNION: "UNION(a INTEGER, b VARCHAR)"}
        example |= {_D.MAP: "MAP(VARCHAR, INTEGER)"}
        raise UnknownType(
            text, why="does not say what it holds", hint=f"Write it in full: {example.get(node.this, 'INTEGER[]')}"
        )
    raise _unknown(text)


def _decimal(node: exp.DataType, text: str) -> str:
    digits = [int(part.name) for part in node.expressions if part.name.isdigit()]
    width, scale = (*digits, 0)[:2] if digits else (18, 3)
    if not 1 <= width <= 38 or scale > width:
        raise UnknownType(
            text,
            why="has a precision or scale that DuckDB cannot hold",
            hint="Write DECIMAL(p,s) with p from 1 to 38 and s from 0 to p",
        )
    return f"DECIMAL({width},{scale})"


def _timestamp(node: exp.DataType, text: str) -> str:
    digits = int(node.expressions[0].name)
    for most, name in ((0, "TIMESTAMP_S"), (3, "TIMESTAMP_MS"), (6, "TIMESTAMP"), (9, "TIMESTAMP_NS")):
        if digits <= most:
            return name
    raise UnknownType(text, why="is finer than nanoseconds", hint="Write TIMESTAMP_NS")


def _unknown(text: str) -> UnknownType:
    head = re.match(r"\s*([A-Za-z_0-9]*)", text)
    near = get_close_matches(head[1].upper() if head else "", [name.upper() for name in _SUGGESTED], n=1, cutoff=0.7)
    return UnknownType(
        text, hint=f"Did you mean {near[0]}?" if near else "Write a DuckDB type such as VARCHAR or DECIMAL(18,2)"
    )


_SIGNED: Final = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
_UNSIGNED: Final = ("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT")


def widens(old: str, new: str) -> bool:
    """Tell whether every value of *old* is a value of *new* and means the same: both canonical, and different.

    Integers into larger integers, FLOAT into DOUBLE, DECIMAL with no fewer digits on either side of the point, an
    ENUM with values added at its end; lists, maps and structs by their parts, and a struct that gains fields at its
    end. DATE into TIMESTAMP does not count: comparisons with a day change their meaning.
    """
    if old == new:
        return False
    return _widens(_parsed(old), _parsed(new))


@lru_cache(maxsize=4096)
def _parsed(text: str) -> exp.DataType:
    return exp.DataType.build(text, dialect="duckdb", udt=True)


def _widens(old: exp.Expr | None, new: exp.Expr | None) -> bool:
    """Like ``widens``, on parsed types, and true for equal ones."""
    if not isinstance(old, exp.DataType) or not isinstance(new, exp.DataType) or old == new:
        return old == new
    if old.this in {_D.STRUCT, _D.ENUM, _D.ARRAY, _D.LIST, _D.MAP}:
        return old.this == new.this and _nested_widens(old, new)
    before, after = _spell(old, ""), _spell(new, "")
    if before in _SIGNED:
        return after in _SIGNED and _SIGNED.index(before) <= _SIGNED.index(after)
    if before in _UNSIGNED:
        place = _UNSIGNED.index(before)
        return after in _UNSIGNED[place:] or after in _SIGNED[place + 1 :]
    if old.this == new.this == _D.DECIMAL:
        (width, scale), (wide, scales) = ([int(part.name) for part in side.expressions] for side in (old, new))
        return scales >= scale and wide - scales >= width - scale
    return (before, after) == ("FLOAT", "DOUBLE")


def _nested_widens(old: exp.DataType, new: exp.DataType) -> bool:
    before, after = old.expressions, new.expressions
    if old.this == _D.ENUM:
        return bool(before == after[: len(before)])
    if old.this == _D.STRUCT:
        if [part.name for part in before] != [part.name for part in after[: len(before)]]:
            return False
        return all(_widens(one.kind, other.kind) for one, other in zip(before, after, strict=False))
    if old.args.get("values") != new.args.get("values"):
        return False
    return len(before) == len(after) and all(map(_widens, before, after))
