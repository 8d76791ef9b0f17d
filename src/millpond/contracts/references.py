"""ODCS ``relationships`` as foreign keys.

Checks what one contract can know: its own datasets and columns. What another contract holds, ``flow`` checks when all
are loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from millpond.contracts.document import Path, Value
from millpond.contracts.report import Report, parts_of, suggest, text_of
from millpond.contracts.spec import Reference, Severity


@dataclass(frozen=True, slots=True)
class Known:
    """What one contract says about names and ids, for references into it."""

    product: str
    columns: Mapping[str, Sequence[str]]
    """Columns by dataset, short names."""
    datasets_by_id: Mapping[str, str] = field(default_factory=dict)
    columns_by_id: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """By dataset's name and the property's id."""


def known_names(root: dict[str, Value], product: str) -> Known:
    """Collect the names of *root*'s datasets and columns."""
    columns: dict[str, list[str]] = {}
    by_id: dict[str, str] = {}
    columns_by_id: dict[tuple[str, str], str] = {}
    for _, part in parts_of(root, "schema"):
        name = text_of(part, "name") or ""
        properties = [(text_of(item, "name") or "", text_of(item, "id")) for _, item in parts_of(part, "properties")]
        columns[name] = [column for column, _ in properties]
        columns_by_id |= {(name, item_id): column for column, item_id in properties if item_id}
        if isinstance(part.get("id"), str):
            by_id[str(part["id"])] = name
    return Known(product, columns, by_id, columns_by_id)


def read_references(part: dict[str, Value], known: Known, path: Path, report: Report) -> tuple[Reference, ...]:
    """Read the foreign keys of one schema object: its own, and those under its properties."""
    found = [
        _reference(item, None, part, known, (*path, "relationships", place), report)
        for place, item in parts_of(part, "relationships")
    ]
    for number, column in parts_of(part, "properties"):
        if "relationships" in column:
            below = (*path, "properties", number, "relationships")
            found += [
                _reference(item, text_of(column, "name"), part, known, (*below, place), report)
                for place, item in parts_of(column, "relationships")
            ]
    return tuple(reference for reference in found if reference is not None)


def _reference(
    item: dict[str, Value], column: str | None, part: dict[str, Value], known: Known, path: Path, report: Report
) -> Reference | None:
    if report.broken(path):
        return None
    dataset = text_of(part, "name") or ""
    targets = [_target(text, known, path, report) for text in _list(item.get("to"))]
    if column is not None:
        columns = [column]
    else:
        sources = [_target(text, known, path, report, side="from") for text in _list(item.get("from"))]
        for source in sources:
            if source is not None and source[0] != f"{known.product}.{dataset}":
                report.add((*path, "from"), f"`from` names {source[0]}, not {dataset}", f"Write {dataset}.{source[1]}")
                return None
        columns = [source[1] for source in sources if source is not None]
        if len(columns) != len(sources):
            return None
    ends = [target for target in targets if target is not None]
    if len(ends) != len(targets):
        return None
    if len(ends) != len(columns):
        what = f"{len(columns)} columns refer to {len(ends)}"
        report.add(
            (*path, "to"),
            what,
            "Name as many columns on both sides"
            if column is None
            else "Write it under the schema object, with `from` and `to`",
        )
        return None
    if len({end[0] for end in ends}) > 1:
        report.add((*path, "to"), "`to` names columns of several datasets", "Write one relationship for each dataset")
        return None
    custom = {str(c.get("property")): c.get("value") for _, c in parts_of(item, "customProperties")}
    return Reference(
        columns=tuple(columns),
        to_dataset=ends[0][0],
        to_columns=tuple(end[1] for end in ends),
        severity=report.severity({"severity": custom.get("severity")}, path, Severity.WARNING),
        at=report.at(item),
    )


def _list(value: Value) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]


def _target(text: str, known: Known, path: Path, report: Report, *, side: str = "to") -> tuple[str, str] | None:
    """Resolve ``table.column``, ``product.table.column`` or ``schema/table/properties/column``."""
    if "/" in text:
        return _by_path(text, known, (*path, side), report)
    parts = text.split(".")
    by_lower = {name.lower(): name for name in known.columns}
    if parts[0].lower() not in by_lower and len(parts) == 3:
        return f"{parts[0]}.{parts[1]}", parts[2]
    if len(parts) != 2:
        report.add(
            (*path, side), f"`{text}` names no column of a dataset", "Write table.column or product.table.column"
        )
        return None
    if parts[0].lower() not in by_lower:
        return f"{known.product}.{parts[0]}", parts[1]
    return _own(by_lower[parts[0].lower()], parts[1], known, (*path, side), report)


def _own(dataset: str, column: str, known: Known, path: Path, report: Report) -> tuple[str, str] | None:
    """Find *column* in a dataset of this contract."""
    for name in known.columns[dataset]:
        if name.lower() == column.lower():
            return f"{known.product}.{dataset}", name
    report.add(path, f"{dataset} has no column `{column}`", suggest(column, known.columns[dataset]))
    return None


def _by_path(text: str, known: Known, path: Path, report: Report) -> tuple[str, str] | None:
    file, _, inner = text.rpartition("#")
    steps = inner.strip("/").split("/")
    if len(steps) != 4 or steps[0] != "schema" or steps[2] != "properties":
        report.add(path, f"`{text}` names no column of a dataset", "Write schema/table/properties/column")
        return None
    if file:  # another contract lies in its product's folder
        folder = PurePosixPath(file).parent.name
        return f"{folder if folder not in {'', '.', '..'} else known.product}.{steps[1]}", steps[3]
    dataset = known.datasets_by_id.get(steps[1], steps[1])
    if dataset not in known.columns:
        report.add(
            path, f"there is no dataset `{steps[1]}`", suggest(steps[1], [*known.datasets_by_id, *known.columns])
        )
        return None
    return _own(dataset, known.columns_by_id.get((dataset, steps[3]), steps[3]), known, path, report)
