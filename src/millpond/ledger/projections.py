"""What follows from each kind of event: rows put into or dropped from the projections.

Applied in the transaction that appends the events, and again, event by event in the same order, by a rebuild. So a
projection depends on nothing but the chain: no clock, no reading of other rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

import sqlalchemy as sa

from millpond.kernel import Json
from millpond.ledger.chain import payload_text, pointer_from_json
from millpond.ledger.database import Database
from millpond.ledger.kinds import PUBLICATION
from millpond.ledger.spec import Recorded
from millpond.ledger.tables import CHECKS, DEFINITION, POINTER, POLICY, RUN, SHOWN, SOURCE_FILE, STEP


class Write(NamedTuple):
    """One row to put or drop."""

    table: sa.Table
    row: Mapping[str, object]
    update: tuple[str, ...]
    """Columns that change where the row is there already; none: the row is dropped."""


def _definition_set(record: Recorded) -> Iterator[Write]:
    event, payload = record.event, record.event.payload
    row = {"env": event.env, "dataset": event.subject, "digest": payload["digest"]}
    row |= {"deployment": payload["deployment"], "seq": record.seq}
    yield Write(DEFINITION, row, ("digest", "deployment", "seq"))


def _definition_removed(record: Recorded) -> Iterator[Write]:
    yield Write(DEFINITION, {"env": record.event.env, "dataset": record.event.subject}, ())


def _policies_applied(record: Recorded) -> Iterator[Write]:
    yield Write(POLICY, {"env": record.event.env, "seq": record.seq}, ("seq",))


def _run_started(record: Recorded) -> Iterator[Write]:
    # a run that begins again keeps its first start and what it had prepared
    yield Write(RUN, _run_row(record, state="started"), ("state", "actor", "finished_us"))


def _run_prepared(record: Recorded) -> Iterator[Write]:
    row = _run_row(record, state="prepared", manifest=record.event.payload["manifest"])
    yield Write(RUN, row, ("state", "manifest"))


def _run_finished(record: Recorded) -> Iterator[Write]:
    payload = record.event.payload
    summary = payload_text(cast("Mapping[str, Json]", payload.get("summary") or {}))
    row = _run_row(record, state=payload["state"], finished_us=record.at_us, summary=summary)
    yield Write(RUN, row, ("state", "finished_us", "summary"))


def _run_row(record: Recorded, **known: object) -> dict[str, object]:
    event = record.event
    row: dict[str, object] = {"run_id": event.run_id, "env": event.env, "started_us": record.at_us}
    return row | {"finished_us": None, "actor": event.actor, "manifest": None, "summary": None} | known


def _step_built(record: Recorded) -> Iterator[Write]:
    payload = record.event.payload
    row = {"table_key": payload["table"], "version": payload["version"], "fingerprint": payload["fingerprint"]}
    row |= {"inputs": payload_text(cast("Mapping[str, Json]", payload["inputs"]))}
    row |= {"run_id": record.event.run_id, "finished_us": record.at_us}
    yield Write(STEP, row, ("version", "fingerprint", "inputs", "run_id", "finished_us"))


_FILE_FACTS: Final = ("size", "modified_us", "etag", "rows_read", "rows_accepted", "rows_quarantined")


def _files_loaded(record: Recorded) -> Iterator[Write]:
    payload = record.event.payload
    for file in cast("Sequence[Mapping[str, Json]]", payload["files"]):
        row: dict[str, object] = {"table_key": payload["table"], "uri": file["uri"], "run_id": record.event.run_id}
        row |= {name: file.get(name, None if name == "etag" else 0) for name in _FILE_FACTS}
        yield Write(SOURCE_FILE, row, (*_FILE_FACTS, "run_id"))


def _checks_judged(record: Recorded) -> Iterator[Write]:
    yield Write(CHECKS, {"table_key": record.event.payload["table"], "seq": record.seq}, ("seq",))


def _publication(record: Recorded) -> Iterator[Write]:
    changes = cast("Mapping[str, Sequence[Json]]", record.event.payload["changes"])
    for dataset, (before, after) in changes.items():
        left, shown = pointer_from_json(before), pointer_from_json(after)
        key = {"env": record.event.env, "dataset": dataset}
        if left is not None:
            row = {"table_key": left.table, "version": left.version, "replaced_us": record.at_us}
            yield Write(SHOWN, row, ("replaced_us",))
        if shown is None:
            yield Write(POINTER, key, ())
        else:
            yield Write(POINTER, key | {"table_key": shown.table, "version": shown.version}, ("table_key", "version"))


EFFECTS: Final[Mapping[str, Callable[[Recorded], Iterator[Write]]]] = {
    "definition.set": _definition_set,
    "definition.removed": _definition_removed,
    "policies.applied": _policies_applied,
    "run.started": _run_started,
    "run.prepared": _run_prepared,
    "run.finished": _run_finished,
    "step.built": _step_built,
    "files.loaded": _files_loaded,
    "checks.judged": _checks_judged,
    PUBLICATION: _publication,
}
"""Kinds that change a projection; the others are only in the chain."""


def apply(database: Database, connection: sa.Connection, records: Iterable[Recorded]) -> None:
    """Bring the projections up to *records*, in their order; neighbours of one shape go in one statement."""
    writes: dict[str, list[Write]] = {}
    for record in records:
        effect = EFFECTS.get(record.event.kind)
        if effect is not None:
            for write in effect(record):
                writes.setdefault(write.table.name, []).append(write)
    # tables do not depend on each other, so only the order within each counts
    for of_table in writes.values():
        start = 0
        for end in range(1, len(of_table) + 1):
            if end == len(of_table) or of_table[end].update != of_table[start].update:
                _execute(database, connection, of_table[start:end])
                start = end


def _execute(database: Database, connection: sa.Connection, writes: Sequence[Write]) -> None:
    table, _, update = writes[0]
    rows: list[Any] = [write.row for write in writes]
    if update:
        connection.execute(database.upsert(table, update), rows)
        return
    drop = sa.delete(table).where(*(column == sa.bindparam(f"key_{column.name}") for column in table.primary_key))
    connection.execute(drop, [{f"key_{name}": value for name, value in row.items()} for row in rows])
