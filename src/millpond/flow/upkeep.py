"""Upkeep of the lake: remove what nobody can need any more, rewrite small files, checkpoint.

What a pointer of any environment shows, what a rollback within the time-travel window could show, and what a living
run has staged is never removed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlglot import exp

from millpond.engines import TARGET
from millpond.flow.leases import is_alive, process_of, run_of, take_lease
from millpond.flow.recover import finish_prepared
from millpond.flow.workspace import Workspace
from millpond.kernel import Json, MiB, new_id, now_us
from millpond.lake import Commit, DataFile, Snapshot, Table
from millpond.ledger import Event, Pointer


@dataclass(frozen=True, slots=True, kw_only=True)
class TableVacuumed:
    """What was removed, or would be, from one table."""

    table: str
    files: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TableCompacted:
    """What was rewritten in one table."""

    dataset: str
    files_before: int
    files_after: int
    bytes_before: int
    bytes_after: int


def vacuum(
    workspace: Workspace, *, actor: str, dry_run: bool, report: Callable[[str], None]
) -> tuple[TableVacuumed, ...]:
    """Remove files that no kept version names, in every table that has been; finishes dead runs first.

    Cost: lists every table's folder once.
    """
    finish_prepared(workspace)
    ledger = workspace.ledger
    newer_than_us = now_us() - workspace.settings.time_travel_s * 1_000_000
    done = []
    for key in workspace.lake.tables():
        report(key)
        # Asked anew for each table: a run that began since the last one has files here that must stay.
        keep = {*ledger.pinned(newer_than_us).get(key, ()), *(step.version for step in ledger.steps([key]).values())}
        living = _needed_runs(workspace, newer_than_us)
        removed = workspace.lake.table(key).vacuum(
            keep=keep, live_runs=living, newer_than_us=newer_than_us, dry_run=dry_run
        )
        if removed.files:
            done.append(TableVacuumed(table=key, files=removed.files, bytes=removed.bytes))
    notes = workspace.lake.manifests()  # listed before it is asked who lives
    for run_id in notes.keys() - _needed_runs(workspace, newer_than_us):
        if not dry_run:
            workspace.lake.drop_manifest(notes[run_id])
    if done and not dry_run:
        payload = {"files": sum(table.files for table in done), "bytes": sum(table.bytes for table in done)}
        ledger.append([Event(kind="lake.vacuumed", actor=actor, payload=payload)])
    return tuple(done)


def _needed_runs(workspace: Workspace, newer_than_us: int) -> set[str]:
    """Find the runs whose files and notes must stay: those in progress, and failed ones that can be looked at."""
    ledger = workspace.ledger
    unfinished = {run.run_id for run in ledger.runs(states=("started", "prepared"), limit=10_000)}
    living = {run_of(lease.holder) for lease in ledger.leases() if is_alive(process_of(lease.holder))}
    last = [run for env in ledger.envs() for run in ledger.runs(env, limit=1)]
    failed = {run.run_id for run in last if run.state == "failed" and (run.finished_us or 0) > newer_than_us}
    return unfinished | living | failed


def compact(
    workspace: Workspace,
    env: str,
    *,
    only: Sequence[str],
    actor: str,
    dry_run: bool,
    file_bytes_target: int = 256 * MiB,
) -> tuple[TableCompacted, ...]:
    """Rewrite small files of *env*'s tables into files near *file_bytes_target*, and publish the rewritten versions.

    The rows are the same, in the same order within a file; older versions stay readable. One table at a time.

    Raises:
        AnotherRun: a run is publishing there. Transient.
    """
    finish_prepared(workspace)
    shown = workspace.ledger.pointers(env)
    done = []
    for name in sorted(shown):
        if not only or name in only:
            found = _compact_one(
                workspace,
                env,
                name,
                shown[name].table,
                actor=actor,
                dry_run=dry_run,
                file_bytes_target=file_bytes_target,
            )
            done.extend([found] if found is not None else [])
    return tuple(done)


def _compact_one(
    workspace: Workspace, env: str, name: str, key: str, *, actor: str, dry_run: bool, file_bytes_target: int
) -> TableCompacted | None:
    run_id = new_id("run")
    table = workspace.lake.table(key)
    names = [f"env:{env}", f"table:{key}"]
    with take_lease(workspace.ledger, names, run_id, wait_s=0.0, mend=lambda: finish_prepared(workspace)) as lease:
        pointer = workspace.ledger.pointers(env).get(name)
        base = table.snapshot()
        groups = table.compaction(file_bytes_target=file_bytes_target)
        if not groups or pointer is None or pointer != Pointer(table=key, version=base.version):
            return None
        before = [file for group in groups for file in group]
        size = sum(file.size for file in before)
        if dry_run:
            return TableCompacted(
                dataset=name, files_before=len(before), files_after=len(groups), bytes_before=size, bytes_after=size
            )
        commit = _rewritten(workspace, table, base, groups, run_id, file_bytes_target)
        version = table.commit(commit)
        event = Event(
            kind="lake.compacted",
            actor=actor,
            env=env,
            subject=name,
            run_id=run_id,
            payload={"table": key, "version": version, "from_version": base.version, "files": len(before)},
        )
        workspace.ledger.publish(
            env=env,
            changes={name: (pointer, Pointer(table=key, version=version))},
            lease=lease.current,
            events=[event, *_same_content(workspace, pointer, version, actor=actor, env=env, run_id=run_id)],
            actor=actor,
            run_id=run_id,
            reason=f"compact {name}",
        )
    return TableCompacted(
        dataset=name,
        files_before=len(before),
        files_after=len(commit.adds),
        bytes_before=size,
        bytes_after=sum(file.size for file in commit.adds),
    )


def _same_content(
    workspace: Workspace, old: Pointer, version: int, *, actor: str, env: str, run_id: str
) -> Iterator[Event]:
    """Say that the rewritten version holds what the old one did, so that neither it nor its readers are made again."""
    for state in workspace.ledger.steps().values():
        inputs: dict[str, Json] = {
            name: [read.table, version if read == old else read.version] for name, read in state.inputs.items()
        }
        itself = Pointer(table=state.table, version=state.version) == old
        if itself or old in state.inputs.values():
            payload: Mapping[str, Json] = {
                "table": state.table,
                "version": version if itself else state.version,
                "fingerprint": state.fingerprint,
                "inputs": inputs,
            }
            yield Event(kind="step.built", actor=actor, env=env, run_id=run_id, payload=payload)


def _rewritten(
    workspace: Workspace,
    table: Table,
    base: Snapshot,
    groups: Sequence[Sequence[DataFile]],
    run_id: str,
    file_bytes_target: int,
) -> Commit:
    columns = [exp.column(name, quoted=True) for name in base.schema.names]
    everything = exp.select(*columns).from_(TARGET).sql("duckdb")
    adds: list[DataFile] = []
    for group in groups:
        with workspace.engine.session(workspace.limits()) as session:
            session.attach(TARGET, replace(base, files=tuple(group)))
            written = session.write(
                everything,
                table.store,
                prefix=run_id,
                partition_by=base.schema.partition_by,
                file_bytes_target=file_bytes_target,
            )
        adds.extend(written.files)
    return Commit(
        table=table.key,
        schema=base.schema,
        adds=tuple(adds),
        removes=tuple(file for group in groups for file in group),
        base_version=base.version,
        run_id=run_id,
        operation="OPTIMIZE",
        metadata={"millpond.run": run_id},
    )
