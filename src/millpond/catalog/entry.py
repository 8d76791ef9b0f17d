"""Catalog entries as JSON, for the ledger, and how tags travel along lineage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, cast

from millpond.catalog.spec import ColumnLineage, ColumnRef, Entry, Lineage
from millpond.contracts import dataset_from_json, dataset_to_json
from millpond.kernel import Json

_SENSITIVITY = ("public", "internal", "confidential", "restricted")
"""Of two classifications the later one wins; the company's own words count as tags."""


def entry_to_json(entry: Entry) -> dict[str, Json]:
    """Write an entry as plain JSON."""
    return {
        "dataset": dataset_to_json(entry.dataset),
        "kind": entry.kind,
        "product": entry.product,
        "owner": entry.owner,
        "domain": entry.domain,
        "contract_id": entry.contract_id,
        "contract_version": entry.contract_version,
        "status": entry.status,
        "path": entry.path,
        "code": entry.code,
        "materialization": entry.materialization,
        "lineage": lineage_to_json(entry.lineage),
        "fingerprint": entry.fingerprint,
        "checks_digest": entry.checks_digest,
        "table": entry.table,
        "column_tags": {column: list(tags) for column, tags in entry.column_tags.items()},
    }


def entry_from_json(body: Mapping[str, Json]) -> Entry:
    """Read what ``entry_to_json`` wrote."""
    known = cast("Mapping[str, Any]", body)
    return Entry(
        dataset=dataset_from_json(known["dataset"]),
        kind=known["kind"],
        product=known["product"],
        owner=known["owner"],
        domain=known["domain"],
        contract_id=known["contract_id"],
        contract_version=known["contract_version"],
        status=known["status"],
        path=known["path"],
        code=known["code"],
        materialization=known["materialization"],
        lineage=lineage_from_json(known["lineage"]),
        fingerprint=known["fingerprint"],
        checks_digest=known["checks_digest"],
        table=known["table"],
        column_tags={column: tuple(tags) for column, tags in known["column_tags"].items()},
    )


def lineage_to_json(lineage: Lineage) -> dict[str, Json]:
    """Write lineage as plain JSON, columns as ``[dataset, column]``."""
    return {
        "columns": [
            [column.column, [[ref.dataset, ref.column] for ref in column.direct], column.masked]
            for column in lineage.columns
        ],
        "indirect": [[how, ref.dataset, ref.column] for how, ref in lineage.indirect],
        "datasets": list(lineage.datasets),
    }


def lineage_from_json(body: Mapping[str, Json]) -> Lineage:
    """Read what ``lineage_to_json`` wrote."""
    known = cast("Mapping[str, Any]", body)
    return Lineage(
        columns=tuple(
            ColumnLineage(column=name, direct=tuple(ColumnRef(dataset=d, column=c) for d, c in direct), masked=masked)
            for name, direct, masked in known["columns"]
        ),
        indirect=tuple((how, ColumnRef(dataset=d, column=c)) for how, d, c in known["indirect"]),
        datasets=tuple(known["datasets"]),
    )


Tags = Mapping[str, tuple[str, ...]]
"""Column → its classification and tags."""


def carried_tags(own: Tags, lineage: Lineage, upstream: Mapping[str, Tags]) -> dict[str, tuple[str, ...]]:
    """Join each column's own tags with those of the columns whose values flow into it.

    A flow that hides single values (a count, a hash) carries nothing. The most sensitive classification stays.
    """
    carried = {column: set(tags) for column, tags in own.items()}
    for column in lineage.columns:
        if column.masked:
            continue
        for ref in column.direct:
            carried.setdefault(column.column, set()).update(upstream.get(ref.dataset, {}).get(ref.column, ()))
    return {column: _one_classification(tags) for column, tags in carried.items()}


def _one_classification(tags: Iterable[str]) -> tuple[str, ...]:
    words = set(tags)
    if len(words) < 2:
        return tuple(words)
    ranked = [word for word in _SENSITIVITY if word in words]
    return tuple(sorted(words.difference(ranked[:-1])))


Direction = Literal["up", "down"]
