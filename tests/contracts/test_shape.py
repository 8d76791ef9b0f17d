from __future__ import annotations

import copy
import json
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millpond.contracts import published
from millpond.contracts.document import read_document
from millpond.contracts.shape import METRICS, OPERATORS, _plain_property, check_shape

VALID = sorted((Path(__file__).parent / "odcs" / "valid").glob("*.yaml"))
SCHEMA = json.loads(resources.files("open_data_contract_standard").joinpath("schema.json").read_text(encoding="utf-8"))
COLUMN: dict[str, Any] = {
    "name": "amount", "logicalType": "number", "physicalType": "DECIMAL(18,2)", "required": True, "primaryKey": False,
    "primaryKeyPosition": -1, "tags": ["a"], "examples": [1], "classification": "internal", "description": "Sum",
    "logicalTypeOptions": {"minimum": 0, "maximum": 9.5, "format": "f64"},
    "customProperties": [{"property": "a", "value": 1}],
    "authoritativeDefinitions": [{"url": "u", "type": "t"}],
    "quality": [
        {"metric": "nullValues", "mustBe": 0, "severity": "error", "dimension": "accuracy"},
        {"type": "sql", "query": "SELECT 1", "mustBeLessThan": 3},
        {"type": "custom", "engine": "millpond", "implementation": "amount > 0"},
        {"type": "library", "metric": "invalidValues", "arguments": {"validValues": [1]}, "mustBe": 0, "unit": "rows"},
    ],
}  # fmt: skip
WORDS = sorted(
    {*COLUMN, *OPERATORS, *METRICS, "string", "date", "integer", "object", "array", "map", "boolean", "library", "sql",
     "custom", "text", "minLength", "pattern", "timezone", "items", "engine", "query", "id", "enum", "vendor", "nme"}
)  # fmt: skip
JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 3), st.just(1.5), st.sampled_from(WORDS), st.just([]), st.just(["a"]),
    st.just({}), st.just([1, 2]), st.just([{"a": 1}]), st.just("bad value!"),
)  # fmt: skip


def places(value: Any) -> list[tuple[Any, Any]]:
    """List every (container, key) in *value*."""
    found: list[tuple[Any, Any]] = []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += [(value, key), *places(item)]
    return found


@st.composite
def changed(draw: st.DrawFn) -> dict[str, Any]:
    """Draw the column above with one to three things replaced, removed, renamed or added."""
    column = copy.deepcopy(COLUMN)
    for _ in range(draw(st.integers(1, 3))):
        spots = places(column)
        if not spots:
            break
        holder, key = draw(st.sampled_from(spots))
        what = draw(st.sampled_from(["replace", "remove", "rename", "add"]))
        if what == "replace" or isinstance(holder, list):
            holder[key] = copy.deepcopy(draw(JUNK))
        elif what == "remove":
            del holder[key]
        elif what == "rename":
            holder[draw(st.sampled_from(WORDS))] = holder.pop(key)
        else:
            holder[draw(st.sampled_from(WORDS))] = copy.deepcopy(draw(JUNK))
    return column


@given(changed())
@settings(max_examples=1500, deadline=None)
def test_what_the_tables_accept_the_published_schema_accepts(column: dict[str, Any]) -> None:
    """No changed column slips through the cheap walk that the published schema refuses."""
    if _plain_property(column):
        assert published.check("SchemaProperty", column, "v3.2.0", ()) == []


@given(changed())
@settings(max_examples=250, deadline=None)
def test_our_reading_refuses_what_the_published_schema_refuses(column: dict[str, Any]) -> None:
    """A column that the schema as published refuses is refused here, but for the leniences that are written down."""
    import jsonschema

    alone = {"$schema": SCHEMA["$schema"], "$ref": "#/$defs/SchemaProperty", "$defs": SCHEMA["$defs"]}
    refused = not jsonschema.Draft201909Validator(alone).is_valid(column)
    lenient = "logicalType" not in column or '"id"' in json.dumps(column.get("customProperties"))
    found = published.check("SchemaProperty", column, "v3.2.0", ())
    assert bool(found) == refused or (lenient and not found)


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_valid_documents_have_the_shape_of_their_version(path: Path) -> None:
    """The valid documents have nothing that the schema of their version refuses."""
    root = read_document(path.read_bytes(), path.name).value
    assert isinstance(root, dict)
    assert list(check_shape(root, str(root["apiVersion"]))) == []


def test_old_versions_let_through_what_they_did_not_forbid() -> None:
    """A field that nobody names passes in 3.0.1 and is refused from 3.0.2 on."""
    column = {"name": "a", "logicalType": "string", "tag": ["pii"]}
    assert published.check("SchemaProperty", column, "v3.0.1", ()) == []
    (found,) = published.check("SchemaProperty", column, "v3.0.2", ())
    assert (found.path, found.fix) == (("tag",), "Did you mean `tags`?")
