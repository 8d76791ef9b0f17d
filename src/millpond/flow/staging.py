"""What the steps of a run share: what is staged, how staged files become a commit, and how they are checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace

from millpond.catalog import Entry
from millpond.contracts import Dataset
from millpond.engines import INCOMING, TARGET, Session, merge_by_key
from millpond.flow.definitions import Definitions
from millpond.flow.stale import Known, step_fingerprint
from millpond.flow.workspace import Workspace
from millpond.ingest import LandProgress
from millpond.kernel import Json, MillpondError
from millpond.lake import Commit, DataFile, Snapshot, TableSchema
from millpond.ledger import Event, Pointer
from millpond.models import Range
from millpond.quality import CheckResult, audit


class AuditFailed(MillpondError):
    """Results do not keep their rules; nothing of the run was published."""

    code = "audit-failed"
    exit_code = 4

    def __init__(self, dataset: str, failed: Sequence[CheckResult], commit: Commit) -> None:
        """Keep *dataset*, the *failed* checks, and the *commit* that was not made: its files can still be looked at."""
        self.dataset = dataset
        self.commit = commit
        self.failed = tuple(failed)
        lines = [
            f"  {check.rule}: {check.message or f'{check.measured} measured, {check.wanted} wanted'}"
            for check in failed
        ]
        super().__init__(
            "\n".join([f"{dataset} breaks {len(failed)} of its rules:", *lines]),
            hint="Readers stay on the last good version. Look at the rows: millpond quality show " + dataset,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """What a step made, visible to its run only."""

    commits: tuple[Commit, ...] = ()
    snapshots: Mapping[str, Snapshot] = field(default_factory=dict, hash=False)
    """Dataset → its content as it will be."""
    pointers: Mapping[str, Pointer] = field(default_factory=dict, hash=False)
    events: tuple[Event, ...] = ()
    checks: tuple[CheckResult, ...] = ()
    rows_read: int = 0
    rows_accepted: int = 0
    rows_quarantined: int = 0
    rows_written: int = 0
    bytes_written: int = 0
    note: str = ""
    """What was computed: the range of an incremental model, the columns that drifted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepContext:
    """What every step of one run shares."""

    workspace: Workspace
    definitions: Definitions
    known: Known
    run_id: str
    actor: str
    token: int
    open_session: Callable[[], Session]
    """Counts the session as this run's, so that it can be cancelled."""
    snapshot_of: Callable[[str], Snapshot | None]
    """A dataset as this run sees it: staged by it, or pinned when it began."""
    pointer_of: Callable[[str], Pointer | None]
    progress: Callable[[str, LandProgress], None]
    backfill: Range | None = None
    force: bool = False

    def event(self, kind: str, subject: str, payload: Mapping[str, Json]) -> Event:
        """Make an event of this run."""
        return Event(
            kind=kind, actor=self.actor, env=self.definitions.env, subject=subject, run_id=self.run_id, payload=payload
        )


def base_of(entry: Entry, context: StepContext) -> Snapshot:
    """Give an entry's table as the ledger knows it, at its newest version.

    What a run committed that was never published (it died in between, and somebody else took over) is undone first, by
    a commit of its own: else its rows would come in again with the files that count as not loaded.
    """
    table = context.workspace.lake.table(entry.table)
    newest, state = table.snapshot(), context.known.steps.get(entry.table)
    if newest.version < 0 or (state is not None and state.version == newest.version):
        return newest
    known = table.snapshot(state.version) if state is not None else replace(newest, files=())
    if {file.path for file in known.files} == {file.path for file in newest.files} and known.schema == newest.schema:
        return newest
    undoing = f"{context.run_id}-undo"
    if state is not None:
        table.restore(state.version, run_id=undoing)
    else:
        table.commit(
            Commit(
                table=entry.table,
                schema=newest.schema,
                removes=newest.files,
                base_version=newest.version,
                run_id=undoing,
                operation="UNDO",
            )
        )
    return table.snapshot()


def merged(
    entry: Entry, base: Snapshot, landed: tuple[DataFile, ...], context: StepContext
) -> tuple[tuple[DataFile, ...], tuple[DataFile, ...]]:
    """Fold the landed rows into the table by key; the landed files themselves are not kept."""
    table = context.workspace.lake.table(entry.table)
    schema = schema_of(entry.dataset)
    incoming = Snapshot(table=entry.table, version=-1, store=table.store, schema=schema, files=landed)
    rewrite = merge_by_key(base, schema=schema, key=entry.dataset.primary_key, order_by=None)
    with context.open_session() as session:
        session.attach(TARGET, rewrite.keep)
        session.attach(INCOMING, incoming)
        written = session.write(
            rewrite.sql, table.store, prefix=context.run_id, partition_by=entry.dataset.partition_by
        )
    table.store.delete([file.path for file in landed])
    return written.files, rewrite.removes


def audited(
    entry: Entry, commit: Commit, snapshot: Snapshot, context: StepContext, *, within: Session | None = None
) -> tuple[CheckResult, ...]:
    """Check staged files before anybody can see them; in the session *within* where one is open still."""
    dataset = entry.dataset
    references: dict[str, str] = {}
    with nullcontext(within) if within else context.open_session() as session:
        session.attach(dataset.name, snapshot)
        for reference in dataset.references:
            target = reference.to_dataset
            known = snapshot if target == dataset.name else context.snapshot_of(target)
            if known is not None:
                references[target] = target
                if target != dataset.name:
                    session.attach(target, known)
        results = audit(dataset, relation=dataset.name, session=session, references=references)
    stopping = [result for result in results if result.stops]
    if stopping:
        raise AuditFailed(dataset.name, stopping, commit)
    return results


def schema_of(dataset: Dataset) -> TableSchema:
    """Say how a dataset's table is stored."""
    return TableSchema(
        columns=tuple((column.name, column.type) for column in dataset.columns), partition_by=dataset.partition_by
    )


def commit_of(
    entry: Entry,
    base: Snapshot,
    context: StepContext,
    *,
    adds: Sequence[DataFile] = (),
    removes: Sequence[DataFile] = (),
    operation: str = "WRITE",
) -> Commit:
    """Say what a commit of this run does to an entry's table."""
    return Commit(
        table=entry.table,
        schema=schema_of(entry.dataset),
        adds=tuple(adds),
        removes=tuple(removes),
        base_version=base.version,
        run_id=context.run_id,
        operation=operation,
        metadata={
            "millpond.run": context.run_id,
            "millpond.token": str(context.token),
            "millpond.dataset": entry.dataset.name,
            "millpond.fingerprint": entry.fingerprint,
        },
    )


def stage(entry: Entry, commit: Commit, base: Snapshot, context: StepContext, *, version: int | None = None) -> Staged:
    """Say what *commit* will make visible: a commit lands on the version after its base, or nowhere."""
    name = entry.dataset.name
    landed = base.version + 1 if version is None else version
    after = replace(base.changed(adds=commit.adds, removes=commit.removes), schema=commit.schema, version=landed)
    inputs = {read: context.pointer_of(read) for read in entry.lineage.datasets} if entry.kind == "model" else {}
    built: Mapping[str, Json] = {
        "table": entry.table,
        "version": landed,
        "fingerprint": step_fingerprint(entry),
        "inputs": {read: [pointer.table, pointer.version] for read, pointer in inputs.items() if pointer is not None},
        "rows": after.rows,
        "bytes": after.bytes,
    }
    return Staged(
        commits=(commit,),
        snapshots={name: after},
        pointers={name: Pointer(table=entry.table, version=landed)},
        events=(context.event("step.built", name, built),),
    )


def judged_event(
    entry: Entry, commit: Commit, checks: Sequence[CheckResult], context: StepContext, *, version: int | None = None
) -> Event:
    """Record what the checks said of the version that *commit* makes."""
    results: list[Json] = [check_json(check) for check in checks]
    at_version = commit.base_version + 1 if version is None else version
    payload: Mapping[str, Json] = {"table": entry.table, "version": at_version, "results": results}
    return context.event("checks.judged", entry.dataset.name, payload)


def check_json(check: CheckResult) -> dict[str, Json]:
    """Write one check's result as JSON, as events and ``--json`` show it."""
    return {
        "rule": check.rule,
        "column": check.column,
        "severity": str(check.severity),
        "outcome": check.outcome,
        "measured": check.measured,
        "wanted": check.wanted,
        "failing_rows": check.failing_rows,
        "total_rows": check.total_rows,
        "message": check.message,
    }
