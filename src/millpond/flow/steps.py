"""What one step of a run does: take files in, build a model, evolve, check again. It stages; it never publishes.

Each function reads pinned snapshots, lets the engine write new Parquet files that nobody can see yet, has these very
files checked, and says which commits, pointers and events will make them visible.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from millpond.flow.staging import (
    Staged,
    StepContext,
    audited,
    base_of,
    commit_of,
    judged_event,
    merged,
    schema_of,
    stage,
)
from millpond.flow.stale import Decision
from millpond.ingest import FileOutcome, Landed, land
from millpond.kernel import Json
from millpond.lake import Commit, Snapshot, VersionGone
from millpond.ledger import Pointer
from millpond.models import Everything, Range, build, changed_range
from millpond.quality import row_rules


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
    base, base_held = base_of(entry, context), base_of(held, context)
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
            held=base_held if source.mode != "append" and base_held.version >= 0 else None,
        )
    adds, removes = landed.accepted.files, (base.files if source.mode == "replace" else ())
    if source.mode == "merge":
        adds, removes = merged(entry, base, adds, context)
    files: Mapping[str, Json] = {"table": entry.table, "files": [_file_json(file) for file in landed.files]}
    commit = commit_of(entry, base, context, adds=adds, removes=removes, operation=f"LAND {source.mode}")
    commit_held = commit_of(held, base_held, context, adds=landed.quarantined.files, operation="QUARANTINE")
    staged = stage(entry, commit, base, context)
    staged_held = (
        stage(held, commit_held, base_held, context) if landed.quarantined.rows or base_held.version < 0 else None
    )
    checks = audited(entry, commit, staged.snapshots[name], context)
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
            judged_event(entry, commit, checks, context),
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


def _build(decision: Decision, context: StepContext) -> Staged:
    definitions, name = context.definitions, decision.dataset
    entry, model = definitions.entries[name], definitions.models[name]
    table = context.workspace.lake.table(entry.table)
    base = base_of(entry, context)
    inputs = {read: _present(context.snapshot_of(read)) for read in model.upstream}
    state = context.known.steps.get(entry.table)
    ranges: Range | Everything | None = Everything(reason=decision.reason)
    if context.backfill is not None and model.spec.materialize == "by time" and base.version >= 0:
        ranges = context.backfill
    elif state is not None and not context.force:
        try:
            before = {read: context.workspace.snapshot(pointer) for read, pointer in state.inputs.items()}
            ranges = changed_range(model, entry.dataset, before, inputs)
        except VersionGone as gone:
            ranges = Everything(reason=f"{gone.table} as it was read before is vacuumed")
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
        commit = commit_of(
            entry,
            base,
            context,
            adds=built.written.files,
            removes=built.removes,
            operation=f"BUILD {model.spec.materialize}",
        )
        staged = stage(entry, commit, base, context)
        checks = audited(entry, commit, staged.snapshots[name], context, within=session)
    return Staged(
        commits=staged.commits,
        snapshots=staged.snapshots,
        pointers=staged.pointers,
        events=(*staged.events, judged_event(entry, commit, checks, context)),
        checks=checks,
        rows_written=built.written.rows,
        bytes_written=built.written.bytes,
        note=built.reason,
    )


def _same_rows(decision: Decision, context: StepContext) -> Staged:
    """Rows stay as they are; columns may be added, rules are judged again, inputs are noted."""
    entry = context.definitions.entries[decision.dataset]
    base = base_of(entry, context)
    commits: tuple[Commit, ...] = ()
    if base.version < 0 or base.schema != schema_of(entry.dataset):
        commits = (commit_of(entry, base, context, operation="EVOLVE"),)
    state = context.known.steps.get(entry.table)
    version = base.version + len(commits)
    if not commits and state is not None:
        version = state.version
        base = context.workspace.lake.table(entry.table).snapshot(version)
    commit = commits[0] if commits else commit_of(entry, base, context)
    staged = stage(entry, commit, base, context, version=version)
    checks = audited(entry, commit, staged.snapshots[decision.dataset], context)
    judged = judged_event(entry, commit, checks, context, version=version)
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
    base = base_of(held, context)
    if base.version >= 0:
        return None
    return stage(held, commit_of(held, base, context, operation="QUARANTINE"), base, context)


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


def _file_json(file: FileOutcome) -> dict[str, Json]:
    return asdict(file)


def _present(snapshot: Snapshot | None) -> Snapshot:
    assert snapshot is not None, "a model was decided on without its inputs"
    return snapshot
