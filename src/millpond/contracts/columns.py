"""Properties of an ODCS schema object as columns: their types, keys and places.

The type is the ``physicalType`` where DuckDB has it and it is of the logical type's kind, else what ``logicalType``
and its options say. Never guesses from data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

from millpond.contracts.document import Path, Value
from millpond.contracts.errors import UnknownType
from millpond.contracts.implied import implied_rules
from millpond.contracts.report import Report, number_of, parts_of, text_of, texts_of
from millpond.contracts.rules import column_rules
from millpond.contracts.spec import Column
from millpond.contracts.sqltypes import canonical_type, quote_field

_LOGICAL: Final[Mapping[str, str]] = {
    "string": "VARCHAR", "date": "DATE", "timestamp": "TIMESTAMP", "time": "TIME", "number": "DOUBLE",
    "integer": "BIGINT", "boolean": "BOOLEAN",
}  # fmt: skip
_WIDTHS: Final[Mapping[str, str]] = {
    "i8": "TINYINT", "i16": "SMALLINT", "i32": "INTEGER", "i64": "BIGINT", "i128": "HUGEINT",
    "u8": "UTINYINT", "u16": "USMALLINT", "u32": "UINTEGER", "u64": "UBIGINT", "u128": "UHUGEINT",
    "f32": "FLOAT", "f64": "DOUBLE", "int32": "INTEGER", "int64": "BIGINT", "float": "FLOAT", "double": "DOUBLE",
}  # fmt: skip
_ELEMENTS: Final[Mapping[str, str]] = {
    "float32": "FLOAT", "float64": "DOUBLE", "float16": "FLOAT", "bfloat16": "FLOAT", "int8": "TINYINT",
    "uint8": "UTINYINT", "binary": "BOOLEAN",
}  # fmt: skip
_TYPE_FIELDS: Final = ("logicalType", "physicalType", "logicalTypeOptions", "properties", "items", "map")
"""Fields that make the type; the first two hold nothing more."""
_NESTED: Final = ("STRUCT(", "MAP(", "UNION(")
_HOLDERS: Final = frozenset({"object", "array", "map", "vector"})


def column_type(part: dict[str, Value]) -> str:
    """Give the canonical type of one property, fields and items included.

    Raises:
        UnknownType: neither physicalType nor logicalType says it.
    """
    physical, logical = text_of(part, "physicalType"), text_of(part, "logicalType")
    why: UnknownType | None = None
    if physical:
        try:
            found = canonical_type(physical)
        except UnknownType as cause:
            why = cause
        else:
            if logical is None or _agrees(found, logical):
                zoned = found == "TIMESTAMP" and _options(part).get("timezone") is True
                return "TIMESTAMP WITH TIME ZONE" if zoned else found
    if logical is None:
        raise why or UnknownType(
            "", why="has no type", hint="Add `logicalType:`, or `physicalType:` with a DuckDB type"
        )
    return _logical_type(part, logical)


def _agrees(found: str, logical: str) -> bool:
    """Tell whether a physical type holds one value where the logical type does, and many where it does."""
    nested = found.endswith("]") or found.startswith(_NESTED)
    if logical in _HOLDERS:
        return nested or found in {"JSON", "VARIANT"}
    return not nested


def _logical_type(part: dict[str, Value], logical: str) -> str:
    """Give the type that ``logicalType`` and its options say; JSON where they do not say what it holds."""
    options = _options(part)
    if logical in _HOLDERS:
        return _nested_type(part, logical, options) or "JSON"
    if logical == "number" and "precision" in options:
        return canonical_type(f"DECIMAL({options['precision']}, {options.get('scale', 0)})")
    if logical == "timestamp" and options.get("timezone") is True:
        return "TIMESTAMP WITH TIME ZONE"
    if logical not in _LOGICAL:
        raise UnknownType(logical)
    width = _WIDTHS.get(str(options.get("format"))) if logical in {"integer", "number"} else None
    return width or _LOGICAL[logical]


def _nested_type(part: dict[str, Value], logical: str, options: dict[str, Value]) -> str | None:
    fields = [(text_of(field, "name") or "", column_type(field)) for _, field in parts_of(part, "properties")]
    if logical == "object" and fields:
        return f"STRUCT({', '.join(f'{quote_field(name)} {kind}' for name, kind in fields)})"
    items = part.get("items")
    if logical == "array" and isinstance(items, dict) and _typed(items):
        return f"{column_type(items)}[]"
    if logical == "vector":
        return f"{_ELEMENTS[str(options.get('elementType', 'float32'))]}[{options.get('dimensions', '')}]"
    sides = part.get("map")
    key, value = (sides.get("key"), sides.get("value")) if isinstance(sides, dict) else (None, None)
    if logical == "map" and isinstance(key, dict) and isinstance(value, dict):
        return f"MAP({column_type(key)}, {column_type(value)})"
    return None


def _typed(part: dict[str, Value]) -> bool:
    return "logicalType" in part or "physicalType" in part


def _options(part: dict[str, Value]) -> dict[str, Value]:
    options = part.get("logicalTypeOptions")
    found = dict(options) if isinstance(options, dict) else {}
    for _, custom in parts_of(part, "customProperties"):
        if custom.get("property") in {"precision", "scale"}:  # no option of ODCS says them
            found[str(custom["property"])] = custom.get("value")
    return found


def read_columns(dataset: dict[str, Value], path: Path, report: Report) -> tuple[Column, ...]:
    """Read the columns of one schema object; measures and dimensions are computed by a query, so are no columns."""
    stored = [
        (place, part)
        for place, part in parts_of(dataset, "properties")
        if text_of(part, "semanticType") in {None, "column"} and text_of(part, "name") is not None
    ]
    _check_names(stored, (*path, "properties"), report)
    keys = _positions(stored, "primaryKey", "primaryKeyPosition", (*path, "properties"), report)
    partitions = _positions(stored, "partitioned", "partitionKeyPosition", (*path, "properties"), report)
    names = tuple(str(part["name"]) for _, part in stored)
    return tuple(
        _column(part, names, keys.get(place), partitions.get(place), path=(*path, "properties", place), report=report)
        for place, part in stored
    )


def _column(
    part: dict[str, Value],
    names: tuple[str, ...],
    key: int | None,
    partition: int | None,
    *,
    path: Path,
    report: Report,
) -> Column:
    name = str(part["name"])
    kind = "VARCHAR"
    rules = column_rules(part, name, names, path=path, report=report)
    may_hold_more = any(key in part for key in _TYPE_FIELDS[2:])
    if may_hold_more:
        _check_fields(part, path, report)
    if not report.broken(path) or not any(report.broken((*path, key)) for key in _TYPE_FIELDS):
        try:
            kind = column_type(part)
        except UnknownType as cause:
            what = f"`{cause.type_text}` {cause.why}" if cause.type_text else f"the column `{name}` {cause.why}"
            report.add((*path, "physicalType") if "physicalType" in part else path, what, cause.hint)
        else:
            if may_hold_more:
                rules += tuple(implied_rules(part, name, kind, path, report))
    tags = texts_of(part, "tags") if "tags" in part else ()
    told = cast("dict[str, Any]", part)  # of the right types, or the document is refused
    return Column(
        name=name,
        type=kind,
        physical_name=told.get("physicalName"),
        description=told.get("description"),
        business_name=told.get("businessName"),
        required=told.get("required", False),
        unique=told.get("unique", False),
        primary_key=key,
        partition=partition,
        classification=told.get("classification"),
        critical=told.get("criticalDataElement", False),
        tags=(*tags, "deprecated") if part.get("deprecated") is True and "deprecated" not in tags else tags,
        examples=texts_of(part, "examples") if "examples" in part else (),
        rules=rules,
        at=report.at(part),
    )


def _check_names(stored: list[tuple[int, dict[str, Value]]], path: Path, report: Report) -> None:
    seen: dict[str, str] = {}
    for place, part in stored:
        name = str(part["name"])
        report.name(name, (*path, place, "name"), "column")
        if name.lower() in seen:
            _twice(name, seen[name.lower()], (*path, place, "name"), report)
        seen[name.lower()] = name


def _twice(name: str, first: str, path: Path, report: Report) -> None:
    spelt = "" if name == first else f" (as `{first}`; SQL does not tell upper from lower case)"
    report.add(path, f"the column `{name}` is there twice{spelt}", "Remove or rename one")


def _check_fields(part: dict[str, Value], path: Path, report: Report) -> None:
    """Check the names of nested fields: DuckDB refuses two that differ in case only."""
    for inner in ("items", "map", "key", "value"):
        below = part.get(inner)
        if isinstance(below, dict):
            _check_fields(below, (*path, inner), report)
    seen: dict[str, str] = {}
    for place, field in parts_of(part, "properties"):
        name = text_of(field, "name")
        if name is not None:
            if name.lower() in seen:
                _twice(name, seen[name.lower()], (*path, "properties", place, "name"), report)
            seen[name.lower()] = name
        _check_fields(field, (*path, "properties", place), report)


def _positions(
    stored: list[tuple[int, dict[str, Value]]], flag: str, field: str, path: Path, report: Report
) -> dict[int, int]:
    """Read places in a key: all given and running from 1, or none given and in the order of the columns."""
    chosen: dict[int, int] = {}
    bare: list[int] = []
    for place, part in stored:
        if flag not in part and field not in part:
            continue
        position = number_of(part, field)
        given = position is not None and position != -1
        if part.get(flag) is not True:
            if given:
                report.add(
                    (*path, place, field),
                    f"`{field}` stands without `{flag}: true`",
                    f"Add `{flag}: true`, or remove `{field}`",
                )
        elif not given:
            bare.append(place)
        elif position is not None:
            if position in chosen.values():
                report.add(
                    (*path, place, field), f"two columns have the position {position}", "Number them 1, 2, 3, ..."
                )
            chosen[place] = position
    if chosen and bare:
        report.add(
            (*path, bare[0]),
            f"some columns with `{flag}: true` have a `{field}`, this one has none",
            f"Add `{field}: {max(chosen.values()) + 1}`",
        )
    elif (
        chosen
        and sorted(chosen.values()) != list(range(1, len(chosen) + 1))
        and len(set(chosen.values())) == len(chosen)
    ):
        numbers = ", ".join(map(str, sorted(chosen.values())))
        report.add((*path, next(iter(chosen)), field), f"the positions are {numbers}", "Number them 1, 2, 3, ...")
    return chosen or {place: number for number, place in enumerate(bare, start=1)}
