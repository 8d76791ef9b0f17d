"""Is a document an ODCS document: the published JSON Schema decides, a cheap walk spares it the plain parts.

The published schema takes milliseconds per column. So ``check_shape`` walks the document by the tables below, which
accept only what the schema accepts, and hands every part they do not know to ``published``. A test changes documents
at random and holds the two to the same answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from millpond.contracts.document import Path, Value

VERSIONS: Final = ("v3.0.0", "v3.0.1", "v3.0.2", "v3.1.0", "v3.2.0")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong at one field."""

    path: Path
    what: str
    fix: str | None = None
    key: bool = False
    """The field's name is wrong, not its value."""
    missing: str | None = None
    """The field that should be there."""


Plain = type | Callable[[object], bool]
Table = dict[str, Plain]


def _texts(value: object) -> bool:
    return type(value) is list and all(type(item) is str for item in value)


def _number(value: object) -> bool:
    return type(value) is int or type(value) is float


def _range(value: object) -> bool:
    return type(value) is list and len(value) == 2 and all(map(_number, value)) and value[0] != value[1]


def _count(value: object) -> bool:
    return type(value) is int and value >= 0


def _anything(_: object) -> bool:
    return True


def _mapping(value: object) -> bool:
    return isinstance(value, dict)


def _one_of(*words: str) -> Plain:
    allowed = frozenset(words)
    return lambda value: type(value) is str and value in allowed


def _fits(value: object, table: Table, *needed: str) -> bool:
    """Tell whether *value* is a mapping with known fields of the known types and has the *needed*."""
    if not isinstance(value, dict):
        return False
    for key, item in value.items():
        want = table.get(key)
        if want is None or not (type(item) is want if isinstance(want, type) else want(item)):
            return False
    return all(key in value for key in needed)


def _list_of(table: Table, *needed: str) -> Plain:
    return lambda value: type(value) is list and all(_fits(item, table, *needed) for item in value)


_CUSTOM_PROPERTIES: Final = _list_of(
    {"property": str, "value": _anything, "description": str, "vendor": str}, "property", "value"
)
_DEFINITIONS: Final = _list_of({"url": str, "type": str, "description": str}, "url", "type")
_ELEMENT: Final[Table] = {
    "name": str,
    "physicalType": str,
    "physicalName": str,
    "description": str,
    "businessName": str,
    "deprecated": bool,
    "authoritativeDefinitions": _DEFINITIONS,
    "tags": _texts,
    "customProperties": _CUSTOM_PROPERTIES,
}
_RANGE: Final[Table] = {
    "minimum": _number, "maximum": _number, "exclusiveMinimum": _number, "exclusiveMaximum": _number,
}  # fmt: skip
_TIMES: Final[Table] = {
    "minimum": str, "maximum": str, "exclusiveMinimum": str, "exclusiveMaximum": str, "format": str,
}  # fmt: skip
_OPTIONS: Final[Mapping[str, Table]] = {
    "string": {"minLength": _count, "maxLength": _count, "pattern": str, "format": str},
    "date": _TIMES,
    "timestamp": _TIMES | {"timezone": bool, "defaultTimezone": str},
    "time": _TIMES | {"timezone": bool, "defaultTimezone": str},
    "integer": _RANGE | {"format": _one_of("i8", "i16", "i32", "i64", "i128", "u8", "u16", "u32", "u64", "u128")},
    "number": _RANGE | {"format": _one_of("f32", "f64")},
}
OPERATORS: Final = {
    "mustBe": "=", "mustNotBe": "!=", "mustBeGreaterThan": ">", "mustBeGreaterOrEqualTo": ">=",
    "mustBeLessThan": "<", "mustBeLessOrEqualTo": "<=", "mustBeBetween": "between", "mustNotBeBetween": "not between",
}  # fmt: skip
METRICS: Final = ("nullValues", "missingValues", "invalidValues", "duplicateValues", "rowCount")
_CONDITIONS: Final[Table] = {name: _range if name.endswith("Between") else _number for name in OPERATORS}
_RULE: Final[Table] = {
    "name": str,
    "description": str,
    "dimension": _one_of(
        "accuracy", "completeness", "conformity", "consistency", "coverage", "timeliness", "uniqueness"
    ),
    "severity": str,
    "businessImpact": str,
    "unit": str,
    "tags": _texts,
    "schedule": str,
    "scheduler": str,
    "method": str,
    "customProperties": _CUSTOM_PROPERTIES,
    **_CONDITIONS,
}
_RULES: Final[Mapping[str, tuple[Table, tuple[str, ...]]]] = {
    "library": (_RULE | {"type": str, "metric": _one_of(*METRICS), "arguments": _mapping}, ("metric",)),
    "sql": (_RULE | {"type": str, "query": str}, ("query",)),
    "custom": (
        {key: want for key, want in _RULE.items() if key not in OPERATORS}
        | {"type": str, "engine": str, "implementation": str},
        ("engine", "implementation"),
    ),
}


def _rules(value: object) -> bool:
    return type(value) is list and all(_rule(item) for item in value)


def _rule(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    kind = value.get("type", "library")
    if type(kind) is not str or kind not in _RULES or ("metric" in value and kind != "library"):
        return False
    table, needed = _RULES[kind]
    if kind != "custom" and sum(1 for key in OPERATORS if key in value) != 1:
        return False
    return _fits(value, table, *needed)


_SCHEMA: Final[Table] = _ELEMENT | {
    "logicalType": _one_of("object"),
    "dataGranularityDescription": str,
    "quality": _rules,
    "properties": list,
}
_PROPERTY: Final[Table] = _ELEMENT | {
    "primaryKey": bool,
    "primaryKeyPosition": int,
    "logicalType": _one_of(*_OPTIONS, "boolean"),
    "required": bool,
    "unique": bool,
    "semanticType": _one_of("column", "measure", "dimension"),
    "partitioned": bool,
    "partitionKeyPosition": int,
    "classification": str,
    "encryptedName": str,
    "transformSourceObjects": _texts,
    "transformLogic": str,
    "transformDescription": str,
    "examples": list,
    "criticalDataElement": bool,
    "quality": _rules,
    "logicalTypeOptions": _anything,
}
_ROOT: Final[Table] = {
    "apiVersion": _one_of(*VERSIONS),
    "kind": _one_of("DataContract"),
    "id": str,
    "name": str,
    "version": str,
    "status": str,
    "tenant": str,
    "domain": str,
    "dataProduct": str,
    "contractCreatedTs": str,
    "slaDefaultElement": str,
    "tags": _texts,
    "description": lambda value: _fits(value, {"usage": str, "purpose": str, "limitations": str}),
    "customProperties": _CUSTOM_PROPERTIES,
    "authoritativeDefinitions": _DEFINITIONS,
    "schema": list,
    "price": lambda value: _fits(value, {"priceAmount": _number, "priceCurrency": str, "priceUnit": str}),
}


def _plain_property(value: object) -> bool:
    if not _fits(value, _PROPERTY, "name"):
        return False
    options = value.get("logicalTypeOptions")  # type: ignore[attr-defined]
    if options is None:
        return "logicalTypeOptions" not in value  # type: ignore[operator]
    table = _OPTIONS.get(value.get("logicalType", ""))  # type: ignore[attr-defined]
    return table is not None and _fits(options, table)


def check_shape(root: dict[str, Value], version: str) -> Iterator[Finding]:
    """Give everything in *root* that the ODCS schema of *version* does not allow.

    Loads and runs the published schema only for parts that the tables do not know.
    """
    datasets = root.get("schema")
    if not _fits(root, _ROOT, "version", "apiVersion", "kind", "id"):
        # The schema's objects are checked one by one below
        yield from _published("", root | ({"schema": []} if isinstance(datasets, list) else {}), version, ())
    for place, dataset in enumerate(datasets if isinstance(datasets, list) else ()):
        path: Path = ("schema", place)
        columns = dataset.get("properties") if isinstance(dataset, dict) else None
        if not _fits(dataset, _SCHEMA, "name"):
            alone = (
                {**dataset, "properties": []} if isinstance(dataset, dict) and isinstance(columns, list) else dataset
            )
            yield from _published("SchemaObject", alone, version, path)
        for number, column in enumerate(columns if isinstance(columns, list) else ()):
            if not _plain_property(column):
                yield from _published("SchemaProperty", column, version, (*path, "properties", number))


def _published(definition: str, value: Value, version: str, path: Path) -> Iterator[Finding]:
    """Ask the published schema; loaded here, on first need, because jsonschema takes 0.2 s to import."""
    from millpond.contracts import published

    yield from published.check(definition, value, version, path)
