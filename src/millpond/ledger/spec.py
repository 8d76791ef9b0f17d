"""What happened, as values: events, pointers, leases.

The event chain is the only truth; every other table of the ledger is a projection of it, except leases.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from millpond.kernel import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened, before it is written."""

    kind: str
    """One of ``EVENT_KINDS``: ``run.started``, ``publication``, ``query.refused``, ..."""
    actor: str
    """Who caused it: a principal's id."""
    env: str | None = None
    subject: str | None = None
    """The dataset, where it is about one."""
    run_id: str | None = None
    payload: Mapping[str, Json] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """An event as it stands in the chain."""

    seq: int
    at_us: int
    event: Event
    hash: str
    """SHA-256 over the previous record's hash and this record's canonical JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointer:
    """Which table, at which version, an environment shows under a dataset's name."""

    table: str
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to publish what is named, until it expires."""

    names: tuple[str, ...]
    holder: str
    """The run's id."""
    token: int
    """Fencing token: grows with every grant in this ledger; a publication with an older one is refused."""
    expires_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """What an environment has applied for one dataset."""

    dataset: str
    digest: str
    body: Mapping[str, Json] = field(hash=False)
    """The catalog's entry, as JSON."""
    deployment: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepState:
    """How one table's present content came to be: what decides whether a step is stale."""

    table: str
    version: int
    fingerprint: str
    """Code, contract and settings that made it."""
    inputs: Mapping[str, Pointer] = field(hash=False)
    """Dataset → the pointer that was read."""
    run_id: str
    finished_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A file that a table has taken in."""

    table: str
    uri: str
    size: int
    modified_us: int
    etag: str | None
    run_id: str
    rows_read: int
    rows_accepted: int
    rows_quarantined: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """A run as the ledger knows it."""

    run_id: str
    env: str
    state: str
    """started, prepared, succeeded, failed, abandoned."""
    started_us: int
    finished_us: int | None = None
    actor: str = ""
    manifest: str | None = None
    """prepared: where the lake keeps the run's list of commits, to finish them after a crash."""
    summary: Mapping[str, Json] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """One move of an environment's pointers, all at once."""

    seq: int
    at_us: int
    env: str
    run_id: str | None
    actor: str
    changes: Mapping[str, tuple[Pointer | None, Pointer | None]] = field(hash=False)
    """Dataset → the pointer before and after; None where the dataset was not, or is no longer, shown."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainReport:
    """Whether the event chain is whole."""

    records: int
    """How many records fit, from the first on."""
    head: str
    """Hash of the last record that fits; empty without one. Kept elsewhere, it shows a chain rewritten as a whole."""
    broken_at: int | None = None
    """Sequence number of the first record that does not fit."""
    reason: str | None = None
