"""What happened: an append-only chain of events, and everything that follows from it.

Owns events, environment pointers, leases, and all state of definitions, runs and loads. Never touches data.
"""

from millpond.ledger.chain import verify_export
from millpond.ledger.errors import (
    ChainBroken,
    EventInvalid,
    EventUnknown,
    LeaseHeld,
    LeaseLost,
    LedgerTooNew,
    LedgerUnreachable,
    PublicationConflict,
)
from millpond.ledger.kinds import EVENT_KINDS, EventKind
from millpond.ledger.ledger import Ledger
from millpond.ledger.spec import (
    ChainReport,
    Definition,
    Event,
    Lease,
    Pointer,
    Publication,
    Recorded,
    RunState,
    SourceFile,
    StepState,
)

__all__ = [
    "EVENT_KINDS",
    "ChainBroken",
    "ChainReport",
    "Definition",
    "Event",
    "EventInvalid",
    "EventKind",
    "EventUnknown",
    "Lease",
    "LeaseHeld",
    "LeaseLost",
    "Ledger",
    "LedgerTooNew",
    "LedgerUnreachable",
    "Pointer",
    "Publication",
    "PublicationConflict",
    "Recorded",
    "RunState",
    "SourceFile",
    "StepState",
    "verify_export",
]
