"""The published JSON Schema of ODCS, and its verdicts in words that say what to write instead.

Owns how one schema serves the versions 3.0.0 to 3.2.0: older documents may say less and, up to 3.0.1, more than the
newest allows. Imported only where a document holds something that ``shape`` does not know.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import lru_cache
from importlib import resources
from typing import Any, Final

import jsonschema

from millpond.contracts.document import Path, Value
from millpond.contracts.shape import METRICS, OPERATORS, VERSIONS, Finding

_NOUNS: Final = {
    "properties": "a property", "schema": "a schema object", "quality": "a quality rule", "": "a data contract",
    "relationships": "a relationship", "customProperties": "a custom property", "servers": "a server",
    "members": "a team member", "team": "the team", "roles": "a role", "slaProperties": "an SLA property",
    "logicalTypeOptions": "logicalTypeOptions", "price": "the price", "support": "a support channel",
    "authoritativeDefinitions": "an authoritative definition", "enum": "an enum value", "items": "an item",
}  # fmt: skip
_WORDS: Final = {
    "string": "text", "number": "a number", "integer": "a whole number", "boolean": "true or false", "array": "a list",
    "object": "a mapping", "null": "empty",
}  # fmt: skip
_CLOSED: Final = ("additionalProperties", "unevaluatedProperties")


def check(definition: str, value: Value, version: str, path: Path) -> list[Finding]:
    """Give what the published schema has against *value*, which stands at *path*; "" is the whole document."""
    family = "loose" if version in VERSIONS[:2] else "3.0" if version == VERSIONS[2] else "strict"
    errors = list(_validator(family, definition).iter_errors(value))
    schema = _schema(family)
    found: dict[tuple[Path, str], Finding] = {}
    for error in errors:
        for finding in _explain(error, schema, path):
            found.setdefault((finding.path, "key" if finding.key else finding.what), finding)
    if errors and not found:  # only known fields where they do not belong
        first = errors[0]
        where = path + tuple(first.absolute_path)
        found[where, ""] = Finding(where, first.message[0].lower() + first.message[1:])
    meant = {(finding.path[:-1], finding.fix) for finding in found.values() if finding.key}
    for at, finding in list(found.items()):
        if finding.missing and (finding.path, f"Did you mean `{finding.missing}`?") in meant:
            del found[at]  # it is there, misspelt
    return sorted(found.values(), key=lambda finding: [str(step).zfill(6) for step in finding.path])


@lru_cache(maxsize=16)
def _validator(family: str, definition: str) -> Any:
    schema = _schema(family)
    if definition:
        schema = {"$schema": schema["$schema"], "$ref": f"#/$defs/{definition}", "$defs": schema["$defs"]}
    return jsonschema.Draft201909Validator(schema)


@lru_cache(maxsize=3)
def _schema(family: str) -> dict[str, Any]:
    """Read the package's schema and let it accept what documents of *family* may say."""
    text = resources.files("open_data_contract_standard").joinpath("schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    defs = schema["$defs"]
    schema["properties"]["apiVersion"]["enum"] = list(VERSIONS)
    # A published example of 3.2.0 gives custom properties ids
    defs["CustomProperty"]["properties"]["id"] = {"$ref": "#/$defs/StableId"}
    for case in defs["SchemaBaseProperty"]["allOf"][1:]:
        # As published, a property without logicalType must satisfy every type's options at once
        for test in case["if"].get("anyOf", [case["if"]]):
            test["required"] = ["logicalType"]
        if family != "strict":
            _allow_flags(case["then"])
    if family != "strict":
        library = defs["DataQualityLibrary"]
        library.pop("required")
        library.pop("allOf")
        library["properties"]["metric"].pop("enum")
        defs["DataQuality"].pop("unevaluatedProperties")
    if family == "loose":
        _open(schema)
    return schema


def _allow_flags(options: dict[str, Any]) -> None:
    """Let exclusiveMinimum and exclusiveMaximum be true or false, as they were in 3.0."""
    fields = options.get("properties", {}).get("logicalTypeOptions", {}).get("properties", {})
    for name in ("exclusiveMinimum", "exclusiveMaximum"):
        if name in fields:
            fields[name]["type"] = [fields[name]["type"], "boolean"]


def _open(node: Any) -> None:
    """Let every mapping hold fields that the schema does not name."""
    if isinstance(node, dict):
        for name in _CLOSED:
            if node.get(name) is False:
                del node[name]
        for item in node.values():
            _open(item)
    elif isinstance(node, list):
        for item in node:
            _open(item)


def _explain(error: Any, schema: Mapping[str, Any], prefix: Path) -> Iterator[Finding]:
    """Turn one error of jsonschema into findings, with the fix."""
    path = prefix + tuple(error.absolute_path)
    kind, wanted, found = error.validator, error.validator_value, error.instance
    if kind in _CLOSED:
        known = _fields(error.schema, schema, set())
        for name in (name for name in found if name not in known):
            yield Finding((*path, name), f"`{name}` is no field of {_noun(path)}", _suggest(name, known), key=True)
    elif kind == "required":
        for name in (name for name in wanted if name not in found):
            yield Finding(path, f"{_noun(path)} needs `{name}`", _fix_missing(name), missing=name)
    elif kind == "enum":
        yield Finding(path, f"{_show(found)} is not allowed here", _suggest(str(found), [str(w) for w in wanted]))
    elif kind == "type":
        yield _wrong_type(path, wanted, found)
    elif kind in {"anyOf", "oneOf"}:
        yield from _explain_choice(error, schema, prefix, path)
    elif kind == "not":
        yield Finding((*path, "from"), "`from` does not belong in a property's relationship", "Remove it", key=True)
    else:
        yield _outside(path, kind, wanted, found)


def _outside(path: Path, kind: str, wanted: Any, found: Any) -> Finding:
    """Say that a value of the right type is not within what is allowed."""
    if kind == "pattern":
        fix = _PATTERN_FIXES.get(path[-1:], f"It must match {wanted}")
        return Finding(path, f"{_show(found)} is not spelt as this field must be", fix)
    return Finding(path, f"{_show(found)} {_LIMITS.get(kind, kind + ' {}').format(wanted)}")


_LIMITS: Final = {
    "minimum": "must be at least {}", "exclusiveMinimum": "must be more than {}",
    "minItems": "must have at least {} items", "maxItems": "must have at most {} items",
    "uniqueItems": "has the same item twice", "const": "must be {}",
}  # fmt: skip
_PATTERN_FIXES: Final[Mapping[Path, str]] = {
    ("id",): "Write letters, digits, _ and - only",
    ("to",): "Write table.column",
    ("from",): "Write table.column",
}


def _explain_choice(error: Any, schema: Mapping[str, Any], prefix: Path, path: Path) -> Iterator[Finding]:
    """Explain anyOf and oneOf by the branch that came nearest."""
    branches: dict[Any, list[Any]] = {}
    for cause in error.context or ():
        branches.setdefault(cause.schema_path[0], []).append(cause)
    operators = [branch["required"][0] for branch in error.validator_value if "required" in branch]
    if isinstance(error.instance, dict) and set(operators) == set(OPERATORS):
        given = [name for name in operators if name in error.instance]
        if len(given) != 1:
            yield _wrong_condition(path, given, error.instance)
            return
        branches = {key: causes for key, causes in branches.items() if operators[key] == given[0]}
    if not branches:
        yield Finding(path, f"{_show(error.instance)} can be read in two ways", "Write it one way only")
        return

    def distance(causes: list[Any]) -> tuple[bool, int]:
        return any(c.validator == "type" and not c.path for c in causes), len(causes)

    for cause in min(branches.values(), key=distance):
        cause.parent = error
        yield from _explain(cause, schema, prefix)


def _wrong_condition(path: Path, given: list[str], rule: Mapping[str, Any]) -> Finding:
    if given:
        return Finding(
            path,
            f"a quality rule has one condition, this has {len(given)}: {', '.join(given)}",
            "Keep one, or write two rules",
        )
    for name in rule:
        near = get_close_matches(name, OPERATORS, n=1, cutoff=0.75)
        if near:
            return Finding((*path, name), f"`{name}` is no condition", f"Did you mean `{near[0]}`?", key=True)
    return Finding(path, "a quality rule needs a condition", f"Add one of: {', '.join(OPERATORS)}")


def _wrong_type(path: Path, wanted: str | list[str], found: Any) -> Finding:
    kinds = [wanted] if isinstance(wanted, str) else wanted
    must = " or ".join(_WORDS[kind] for kind in kinds)
    fix = None
    if isinstance(found, str) and "boolean" in kinds and found.lower() in {"yes", "no", "on", "off", "y", "n"}:
        fix = f"Write {'true' if found.lower() in {'yes', 'on', 'y'} else 'false'}"
    elif "string" in kinds and isinstance(found, bool | int | float):
        fix = f'Quote it: "{str(found).lower() if isinstance(found, bool) else found}"'
    elif kinds == ["array"] and isinstance(found, str):
        fix = f"Write a list: [{found}]"
    elif isinstance(found, str) and {"number", "integer"} & set(kinds) and found.replace(".", "", 1).isdigit():
        fix = f"Remove the quotes: {found}"
    return Finding(path, f"must be {must}, not {_show(found)}", fix)


def _fix_missing(name: str) -> str:
    if name == "metric":
        return f"Add `metric:` with one of: {', '.join(METRICS)}"
    return f"Add `{name}:`"


def _suggest(word: str, known: Iterable[str]) -> str:
    """Say which of *known* was meant, or list them."""
    names = sorted(known)
    near = get_close_matches(word, names, n=1, cutoff=0.6)
    if not near:
        near = [name for name in names if name.lower() == word.lower()]
    if near:
        return f"Did you mean `{near[0]}`?"
    return f"Write one of: {', '.join(names)}" if len(names) > 1 else f"Write `{''.join(names)}`"


def _fields(node: Any, schema: Mapping[str, Any], seen: set[str]) -> set[str]:
    """Collect the names of the fields that *node* allows, through references and conditions."""
    names = set(node.get("properties", ()))
    reference = node.get("$ref")
    if reference and reference not in seen:
        seen.add(reference)
        target: Any = schema
        for step in reference.removeprefix("#/").split("/"):
            target = target[step]
        names |= _fields(target, schema, seen)
    for group in ("allOf", "anyOf", "oneOf"):
        for part in node.get(group, ()):
            names |= _fields(part, schema, seen)
    if "then" in node:
        names |= _fields(node["then"], schema, seen)
    return names


def _noun(path: Path) -> str:
    named = [step for step in path if isinstance(step, str)]
    last = named[-1] if named else ""
    return _NOUNS.get(last, f"`{last}`")


def _show(value: Any) -> str:
    """Show a value as JSON, short."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "empty"
    if isinstance(value, str):
        return f"`{value}`" if len(value) <= 60 else f"`{value[:57]}...`"
    return json.dumps(copy.copy(value))
