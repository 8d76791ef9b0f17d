"""Every kind of event there is, on one screen. An event of another kind is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from millpond.ledger.errors import EventInvalid, EventUnknown
from millpond.ledger.spec import Event


@dataclass(frozen=True, slots=True)
class EventKind:
    """What an event says and what it must carry."""

    doc: str
    fields: tuple[str, ...] = ()
    """Fields of the event that must be given."""
    payload: tuple[str, ...] = ()
    """Keys that its payload must have; it may have others."""


PUBLICATION: Final = "publication"

EVENT_KINDS: Final[Mapping[str, EventKind]] = MappingProxyType({
    "definition.set": EventKind(
        "An environment applies a dataset's definition.", ("env", "subject"), ("digest", "body", "deployment")
    ),
    "definition.removed": EventKind("An environment no longer defines a dataset.", ("env", "subject")),
    "deployment.applied": EventKind("A set of definitions was applied at once.", ("env",), ("deployment",)),
    "policies.applied": EventKind("An environment's access policies were replaced; the payload is them.", ("env",)),
    "run.started": EventKind("A run began.", ("env", "run_id")),
    "run.prepared": EventKind("A run's results are ready to be committed.", ("env", "run_id"), ("manifest",)),
    "run.finished": EventKind("A run ended: succeeded, failed or abandoned.", ("env", "run_id"), ("state",)),
    "step.built": EventKind(
        "A table's version was made from these inputs.", ("run_id",), ("table", "version", "fingerprint", "inputs")
    ),
    "step.failed": EventKind("A step could not make its table.", ("run_id",)),
    "files.loaded": EventKind("A table took in source files.", ("run_id",), ("table", "files")),
    "checks.judged": EventKind("A table's checks were judged.", (), ("table", "version", "results")),
    "rows.quarantined": EventKind("Rows that broke the contract were set aside."),
    "quarantine.reviewed": EventKind("Somebody replayed or discarded quarantined rows."),
    PUBLICATION: EventKind("An environment's pointers moved, all at once.", ("env",), ("changes", "reason")),
    "query.answered": EventKind("A query was answered."),
    "query.refused": EventKind("A query was refused."),
    "lake.vacuumed": EventKind("Files that nothing needs were deleted."),
    "lake.compacted": EventKind("Small files were rewritten into larger ones."),
    "lake.restored": EventKind("A table was set back to an earlier version's content."),
    "lineage.emitted": EventKind("Lineage was sent to another system."),
    "ledger.rebuilt": EventKind("The projections were dropped and made again from the chain."),
    "ledger.exported": EventKind("The chain was written to a file."),
})  # fmt: skip


def require_valid(event: Event) -> None:
    """Refuse an event that its kind does not allow.

    Raises:
        EventUnknown: no such kind.
        EventInvalid: a needed field or payload key is missing, or a text holds a NUL.
    """
    kind = EVENT_KINDS.get(event.kind)
    if kind is None:
        raise EventUnknown(event.kind, tuple(EVENT_KINDS))
    for name in kind.fields:
        if not getattr(event, name):
            raise EventInvalid(event.kind, f"it has no {name}")
    for key in kind.payload:
        if key not in event.payload:
            raise EventInvalid(event.kind, f"its payload has no {key!r}")
    for name in ("actor", "env", "subject", "run_id"):
        text = getattr(event, name)
        if text is not None and "\x00" in text:
            raise EventInvalid(event.kind, f"its {name} holds a NUL character")
