"""ODCS ``relationships`` as foreign keys.

Checks what one contract can know: its own datasets and columns. What another contract holds, ``flow`` checks when all
are loaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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


class _WrongReference(Exception):
    """A reference that cannot be: what, the fix, and which side."""

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(what)
        self.what, self.fix = what, fix


def read_references(part: dict[str, Value], known: Known, path: Path, report: Report) -> tuple[Reference, ...]:
    """Read the foreign keys of one schema object: its own, and those under its properties."""
    found: list[Reference] = []
    holders: list[tuple[str | None, dict[str, Value], Path]] = [(None, part, path)]
    for number, column in parts_of(part, "properties"):
        if "relationships" in column:
            holders.append((text_of(column, "name"), column, (*path, "properties", number)))
    for column_name, holder, where in holders:
        for place, item in parts_of(holder, "relationships"):
            here = (*where, "relationships", place)
            if not report.broken(here):
                found += _read(item, column_name, text_of(part, "name") or "", known, (here, report))
    return tuple(found)


def _read(
    item: dict[str, Value], column: str | None, dataset: str, known: Known, place: tuple[Path, Report]
) -> Iterator[Reference]:
    """Read one relationship; nothing where it is wrong, which is noted."""
    path, report = place
    side = "from"
    try:
        columns = [column] if column is not None else _sources(item, dataset, known)
        side = "to"
        target, to_columns = _targets(item, len(columns), known)
    except _WrongReference as wrong:
        report.add((*path, side), wrong.what, wrong.fix)
        return
    custom = {str(told.get("property")): told.get("value") for _, told in parts_of(item, "customProperties")}
    yield Reference(
        columns=tuple(columns),
        to_dataset=target,
        to_columns=to_columns,
        severity=report.severity({"severity": custom.get("severity")}, path, Severity.WARNING),
        at=report.at(item),
    )


def _sources(item: dict[str, Value], dataset: str, known: Known) -> list[str]:
    """Give the columns that refer, which are the dataset's own."""
    found = [_target(text, known) for text in _list(item.get("from"))]
    for target, column in found:
        if target != f"{known.product}.{dataset}":
            raise _WrongReference(f"it names {target}, not {dataset}", f"Write {dataset}.{column}")
    return [column for _, column in found]


def _targets(item: dict[str, Value], count: int, known: Known) -> tuple[str, tuple[str, ...]]:
    """Give the dataset referred to, and *count* columns of it."""
    found = [_target(text, known) for text in _list(item.get("to"))]
    if len(found) != count:
        raise _WrongReference(
            f"{count} column{' refers' if count == 1 else 's refer'} to {len(found)}",
            "Name as many columns on both sides, under the schema object with `from` and `to`",
        )
    if len({target for target, _ in found}) > 1:
        raise _WrongReference("it names columns of several datasets", "Write one relationship for each dataset")
    return found[0][0], tuple(column for _, column in found)


def _list(value: Value) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]


def _target(text: str, known: Known) -> tuple[str, str]:
    """Resolve ``table.column``, ``product.table.column`` or ``schema/table/properties/column``."""
    if "/" in text:
        return _by_path(text, known)
    parts = text.split(".")
    own = {name.lower(): name for name in known.columns}.get(parts[0].lower())
    if own is None and len(parts) == 3:
        return f"{parts[0]}.{parts[1]}", parts[2]
    if len(parts) != 2:
        what = f"`{text}` names no column of a dataset"
        raise _WrongReference(what, "Write table.column or product.table.column")
    return _own(own, parts[1], known) if own is not None else (f"{known.product}.{parts[0]}", parts[1])


def _own(dataset: str, column: str, known: Known) -> tuple[str, str]:
    """Find *column* in a dataset of this contract."""
    for name in known.columns[dataset]:
        if name.lower() == column.lower():
            return f"{known.product}.{dataset}", name
    raise _WrongReference(f"{dataset} has no column `{column}`", suggest(column, known.columns[dataset]))


def _by_path(text: str, known: Known) -> tuple[str, str]:
    file, _, inner = text.rpartition("#")
    steps = inner.strip("/").split("/")
    if len(steps) != 4 or steps[0] != "schema" or steps[2] != "properties":
        raise _WrongReference(f"`{text}` names no column of a dataset", "Write schema/table/properties/column")
    if file:  # another contract lies in its product's folder
        folder = PurePosixPath(file).parent.name
        return f"{folder if folder not in {'', '.', '..'} else known.product}.{steps[1]}", steps[3]
    dataset = known.datasets_by_id.get(steps[1], steps[1])
    if dataset not in known.columns:
        names = [*known.datasets_by_id, *known.columns]
        raise _WrongReference(f"there is no dataset `{steps[1]}`", suggest(steps[1], names))
    return _own(dataset, known.columns_by_id.get((dataset, steps[3]), steps[3]), known)
