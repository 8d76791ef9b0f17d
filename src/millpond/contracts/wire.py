"""A contract's and a dataset's definition as plain JSON and back, for the ledger and for what is remembered of files.

Leaves out what has its default, so that a new field with a default changes no stored text and no fingerprint.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, Final, cast

from millpond.contracts.spec import Column, Contract, Dataset, Reference, Rule, Severity, Sla
from millpond.kernel import Json, Location

_Fields = tuple[tuple[str, Any], ...]
_CONTRACT: Final = tuple(item.name for item in fields(Contract) if item.name not in {"sla", "datasets"})


def _defaults(kind: type) -> _Fields:
    """List a class's fields with their defaults; MISSING where there is none."""
    return tuple(
        (item.name, item.default_factory() if item.default_factory is not MISSING else item.default)
        for item in fields(kind)
        if item.name != "at"
    )


_RULE: Final = _defaults(Rule)
_COLUMN: Final = tuple(item for item in _defaults(Column) if item[0] != "rules")
_COLUMN_LISTS: Final = frozenset({"tags", "examples"})
_REFERENCE: Final = _defaults(Reference)
_DATASET: Final = tuple(item for item in _defaults(Dataset) if item[0] not in {"columns", "rules", "references"})


def contract_to_json(contract: Contract) -> dict[str, Json]:
    """Write *contract* with its datasets and their places as JSON values."""
    out: dict[str, Json] = {name: _listed(getattr(contract, name)) for name in _CONTRACT}
    out["sla"] = [[line.property, line.value, line.unit, line.element] for line in contract.sla]
    out["datasets"] = [dataset_to_json(dataset) for dataset in contract.datasets]
    return out


def contract_from_json(body: Mapping[str, Json]) -> Contract:
    """Read what ``contract_to_json`` wrote.

    Raises:
        KeyError, TypeError: *body* was not written by it.
    """
    given = _read({name: body[name] for name in _CONTRACT})
    lines = cast("list[list[Any]]", body["sla"])
    given["sla"] = tuple(Sla(property=name, value=value, unit=unit, element=part) for name, value, unit, part in lines)
    given["datasets"] = tuple(dataset_from_json(item) for item in _items(body["datasets"]))
    return Contract(**given)


def _listed(value: Any) -> Json:
    return list(value) if isinstance(value, tuple) else cast("Json", value)


def dataset_to_json(dataset: Dataset, *, places: bool = True) -> dict[str, Json]:
    """Write *dataset* as JSON values; without *places*, equal definitions give equal JSON wherever they stand.

    10 µs per column.
    """
    out = _plain(dataset, _DATASET, places=places)
    out["columns"] = [_column(column, places=places) for column in dataset.columns]
    if dataset.rules:
        out["rules"] = [_plain(rule, _RULE, places=places) for rule in dataset.rules]
    if dataset.references:
        out["references"] = [_plain(reference, _REFERENCE, places=places) for reference in dataset.references]
    return out


def _column(column: Column, *, places: bool) -> dict[str, Json]:
    out = _plain(column, _COLUMN, places=places)
    if column.rules:
        out["rules"] = [_plain(rule, _RULE, places=places) for rule in column.rules]
    return out


def _plain(value: Any, known: _Fields, *, places: bool) -> dict[str, Json]:
    out: dict[str, Json] = {}
    for name, default in known:
        item = getattr(value, name)
        if item is not default and item != default:
            out[name] = (
                list(item) if isinstance(item, tuple)
                else item.value if isinstance(item, Severity)
                else dict(item) if isinstance(item, Mapping)
                else item
            )  # fmt: skip
    if places and value.at is not None:
        out["at"] = [value.at.path, value.at.line, value.at.column]
    return out


def dataset_from_json(body: Mapping[str, Json]) -> Dataset:
    """Read what ``dataset_to_json`` wrote.

    Raises:
        KeyError, TypeError: *body* was not written by it.
    """
    given = _read(body)
    given["columns"] = tuple(_read_column(item) for item in _items(body["columns"]))
    given["rules"] = tuple(_read_rule(item) for item in _items(body.get("rules", ())))
    given["references"] = tuple(_read_reference(item) for item in _items(body.get("references", ())))
    return Dataset(**given)


def _items(value: Json) -> list[Mapping[str, Json]]:
    return cast("list[Mapping[str, Json]]", value)


def _read(body: Mapping[str, Json]) -> dict[str, Any]:
    """Turn lists into tuples, and the place into a location."""
    given: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list | tuple) else value for name, value in body.items()
    }
    if "at" in given:
        given["at"] = Location(*given["at"])
    return given


def _read_column(body: Mapping[str, Json]) -> Column:
    """Do as ``_read`` for the values that most of a project is made of."""
    given = cast("dict[str, Any]", dict(body))
    for name in _COLUMN_LISTS.intersection(given):
        given[name] = tuple(given[name])
    if "at" in given:
        given["at"] = Location(*given["at"])
    if "rules" in given:
        given["rules"] = tuple(map(_read_rule, given["rules"]))
    return Column(**given)


def _read_rule(body: Mapping[str, Json]) -> Rule:
    return Rule(**_with_severity(body))


def _read_reference(body: Mapping[str, Json]) -> Reference:
    return Reference(**_with_severity(body))


def _with_severity(body: Mapping[str, Json]) -> dict[str, Any]:
    given = _read(body)
    if "severity" in given:
        given["severity"] = Severity(given["severity"])
    return given
