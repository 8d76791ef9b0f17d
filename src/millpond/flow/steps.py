"""What one step of a run does: take files in, build a model, evolve, check again. It stages; it never publishes.

Each function reads pinned snapshots, lets the engine write new Parquet files that nobody can see yet, has these very
files checked, and says which commits, pointers and events will make them visible.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from millpond.catalog import Entry
from millpond.contracts import Dataset
from millpond.engines import INCOMING, TARGET, Session, merge_by_key
from millpond.flow.definitions import Definitions
from millpond.flow.stale import Decision, Known, step_fingerprint
from millpond.flow.workspace import Workspace
from millpond.ingest import FileOutcome, Landed, LandProgress, land
from millpond.kernel import Json, MillpondError
from millpond.lake import Commit, DataFile, Snapshot, TableSchema
from millpond.ledger import Event, Pointer
from millpond.models import Everything, Range, build, changed_range
from millpond.quality import CheckResult, audit, row_rules


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


def perform(decision: Decision, context: StepContext) -> Staged:
    """Do what was decided for one dataset.

    Raises:
        AuditFailed: the result breaks its rules. Any error of ingest, models or engines: nothing is staged then but
            files that no log knows.
    """
    match decision.action:
        case "land":
            return _land(decision, context)
        case "build":
            return _build(decision, context)
        case "evolve" | "audit":
            return _same_rows(decision, context)
        case "adopt":
            return _adopt(decision, context)
        case "skip":
            return Staged()


def _land(decision: Decision, context: StepContext) -> Staged:
    definitions, name = context.definitions, decision.dataset
    entry, held = definitions.entries[name], definitions.quarantine_of(name)
    source = definitions.sources[name]
    base = context.workspace.lake.table(entry.table).snapshot()
    base_held = context.workspace.lake.table(held.table).snapshot()
    with context.open_session() as session:
        landed = land(
            decision.files,
            source,
            entry.dataset,
            row_rules(entry.dataset),
            session=session,
            table=context.workspace.lake.table(entry.table).store,
            quarantine=context.workspace.lake.table(held.table).store,
            run_id=context.run_id,
            report=lambda progress: context.progress(name, progress),
        )
    adds, removes = landed.accepted.files, (base.files if source.mode == "replace" else ())
    if source.mode == "merge":
        adds, removes = _merge(entry, base, adds, context)
    files: Mapping[str, Json] = {"table": entry.table, "files": [_file_json(file) for file in landed.files]}
    commit = _commit(entry, base, context, adds=adds, removes=removes, operation=f"LAND {source.mode}")
    commit_held = _commit(held, base_held, context, adds=landed.quarantined.files, operation="QUARANTINE")
    staged = _stage(entry, commit, base, context)
    staged_held = (
        _stage(held, commit_held, base_held, context) if landed.quarantined.rows or base_held.version < 0 else None
    )
    checks = _audited(entry, commit, staged.snapshots[name], context)
    quarantined: Mapping[str, Json] = {"rows": landed.quarantined.rows, "reasons": dict(landed.reasons)}
    return Staged(
        commits=(commit, commit_held) if staged_held else (commit,),
        snapshots={**staged.snapshots, **(staged_held.snapshots if staged_held else {})},
        pointers={**staged.pointers, **(staged_held.pointers if staged_held else {})},
        events=(
            *staged.events,
            *(staged_held.events if staged_held else ()),
            context.event("files.loaded", name, files),
            *([context.event("rows.quarantined", name, quarantined)] if landed.quarantined.rows else []),
            _judged(entry, commit, checks, context),
        ),
        checks=checks,
        rows_read=sum(file.rows_read for file in landed.files),
        rows_accepted=landed.accepted.rows,
        rows_quarantined=landed.quarantined.rows,
        rows_written=landed.accepted.rows,
        bytes_written=landed.accepted.bytes + landed.quarantined.bytes,
        note=_land_note(landed),
    )


def _land_note(landed: Landed) -> str:
    top = sorted(landed.reasons.items(), key=lambda pair: (-pair[1], pair[0]))[:3]
    parts = [f"{rule} ×{count:,}" for rule, count in top]
    return "; ".join([*parts, *landed.drift])


def _merge(
    entry: Entry, base: Snapshot, landed: tuple[DataFile, ...], context: StepContext
) -> tuple[tuple[DataFile, ...], tuple[DataFile, ...]]:
    """Fold the landed rows into the table by key; the landed files themselves are not kept."""
    table = context.workspace.lake.table(entry.table)
    schema = _schema(entry.dataset)
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


def _build(decision: Decision, context: StepContext) -> Staged:
    definitions, name = context.definitions, decision.dataset
    entry, model = definitions.entries[name], definitions.models[name]
    table = context.workspace.lake.table(entry.table)
    base = table.snapshot()
    inputs = {read: _present(context.snapshot_of(read)) for read in model.upstream}
    state = context.known.steps.get(entry.table)
    ranges: Range | Everything | None = Everything(reason=decision.reason)
    if context.backfill is not None and model.spec.materialize == "by time" and base.version >= 0:
        ranges = context.backfill
    elif state is not None and not context.force:
        before = {read: context.workspace.snapshot(pointer) for read, pointer in state.inputs.items()}
        ranges = changed_range(model, entry.dataset, before, inputs)
    if ranges is None:
        return _same_rows(decision, context)
    with context.open_session() as session:
        built = build(
            model,
            entry.dataset,
            session=session,
            inputs=inputs,
            base=base,
            into=table.store,
            run_id=context.run_id,
            ranges=ranges,
        )
    commit = _commit(
        entry,
        base,
        context,
        adds=built.written.files,
        removes=built.removes,
        operation=f"BUILD {model.spec.materialize}",
    )
    staged = _stage(entry, commit, base, context)
    checks = _audited(entry, commit, staged.snapshots[name], context)
    return Staged(
        commits=staged.commits,
        snapshots=staged.snapshots,
        pointers=staged.pointers,
        events=(*staged.events, _judged(entry, commit, checks, context)),
        checks=checks,
        rows_written=built.written.rows,
        bytes_written=built.written.bytes,
        note=built.reason,
    )


def _same_rows(decision: Decision, context: StepContext) -> Staged:
    """Rows stay as they are; columns may be added, rules are judged again, inputs are noted."""
    entry = context.definitions.entries[decision.dataset]
    base = context.workspace.lake.table(entry.table).snapshot()
    commits: tuple[Commit, ...] = ()
    if base.version < 0 or base.schema != _schema(entry.dataset):
        commits = (_commit(entry, base, context, operation="EVOLVE"),)
    state = context.known.steps.get(entry.table)
    version = base.version + len(commits)
    if not commits and state is not None:
        version = state.version
        base = context.workspace.lake.table(entry.table).snapshot(version)
    commit = commits[0] if commits else _commit(entry, base, context)
    staged = _stage(entry, commit, base, context, version=version)
    checks = _audited(entry, commit, staged.snapshots[decision.dataset], context)
    judged = _judged(entry, commit, checks, context, version=version)
    held: Staged | None = None
    if decision.dataset in context.definitions.sources:
        held = _first_quarantine(decision.dataset, context)
    return Staged(
        commits=(*commits, *(held.commits if held else ())),
        snapshots={**staged.snapshots, **(held.snapshots if held else {})},
        pointers={**staged.pointers, **(held.pointers if held else {})},
        events=(*staged.events, *(held.events if held else ()), judged),
        checks=checks,
        note=decision.reason,
    )


def _first_quarantine(name: str, context: StepContext) -> Staged | None:
    """An ingested dataset has its quarantine from the first, so that it can be asked for."""
    held = context.definitions.quarantine_of(name)
    base = context.workspace.lake.table(held.table).snapshot()
    if base.version >= 0:
        return None
    return _stage(held, _commit(held, base, context, operation="QUARANTINE"), base, context)


def _adopt(decision: Decision, context: StepContext) -> Staged:
    """Publish what is in the table already."""
    names = [decision.dataset]
    if decision.dataset in context.definitions.sources:
        names.append(context.definitions.quarantine_of(decision.dataset).dataset.name)
    pointers = {}
    for name in names:
        state = context.known.steps.get(context.definitions.entries[name].table)
        if state is not None:
            pointers[name] = Pointer(table=state.table, version=state.version)
    return Staged(
        pointers=pointers,
        snapshots={name: context.workspace.snapshot(pointer) for name, pointer in pointers.items()},
        note=decision.reason,
    )


def _audited(entry: Entry, commit: Commit, snapshot: Snapshot, context: StepContext) -> tuple[CheckResult, ...]:
    """Check staged files before anybody can see them."""
    dataset = entry.dataset
    references: dict[str, str] = {}
    with context.open_session() as session:
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


def _schema(dataset: Dataset) -> TableSchema:
    return TableSchema(
        columns=tuple((column.name, column.type) for column in dataset.columns), partition_by=dataset.partition_by
    )


def _commit(
    entry: Entry,
    base: Snapshot,
    context: StepContext,
    *,
    adds: Sequence[DataFile] = (),
    removes: Sequence[DataFile] = (),
    operation: str = "WRITE",
) -> Commit:
    return Commit(
        table=entry.table,
        schema=_schema(entry.dataset),
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


def _stage(entry: Entry, commit: Commit, base: Snapshot, context: StepContext, *, version: int | None = None) -> Staged:
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


def _judged(
    entry: Entry, commit: Commit, checks: Sequence[CheckResult], context: StepContext, *, version: int | None = None
) -> Event:
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


def _file_json(file: FileOutcome) -> dict[str, Json]:
    return asdict(file)


def _present(snapshot: Snapshot | None) -> Snapshot:
    assert snapshot is not None, "a model was decided on without its inputs"
    return snapshot
