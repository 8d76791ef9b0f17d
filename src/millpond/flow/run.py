"""A run: the one place where all stages meet.

Pin what is read, stage every stale step, check what was staged, write down what will be committed, commit each table,
then move all pointers in one ledger transaction. Killed before the list is written: orphan files, nothing else. Killed
after: the next run finishes it. A reader sees all of it or nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import Literal

from millpond.catalog import QUARANTINE_SUFFIX, Catalog
from millpond.engines import Session
from millpond.flow.definitions import Definitions, entry_digest
from millpond.flow.emit import Ended, emit_run
from millpond.flow.leases import HeldLease, take_lease
from millpond.flow.publish import publish_staged
from millpond.flow.recover import finish_prepared
from millpond.flow.settings import Environment
from millpond.flow.staging import AuditFailed, Staged, StepContext, check_json
from millpond.flow.stale import Decision, Known, Waiting, decide, held_datasets, in_order, needed_by
from millpond.flow.steps import perform
from millpond.flow.workspace import Workspace
from millpond.ingest import FoundFile, LandProgress, discover
from millpond.kernel import Json, MillpondError, new_id, now_us
from millpond.lake import Snapshot
from millpond.ledger import Event, Ledger, Pointer
from millpond.models import Range
from millpond.quality import CheckResult


class NotApplied(MillpondError):
    """The files say something else than what was applied to the environment."""

    code = "not-applied"
    exit_code = 3


class RunFailed(MillpondError):
    """A step failed; nothing of the run was published."""

    code = "run-failed"
    exit_code = 4

    def __init__(self, run_id: str, env: str, failed: Mapping[str, MillpondError]) -> None:
        """Keep the run's id and what *failed*, by dataset."""
        self.run_id = run_id
        self.env = env
        self.failed = dict(failed)
        parts = [f"{name}: {error}" for name, error in failed.items()]
        super().__init__("\n".join([f"Run {run_id} published nothing to {env}; readers stay where they were.", *parts]))


StepState = Literal["waiting", "running", "done", "unchanged", "failed", "not run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """How one step stands: given while a run goes on, and kept in its result."""

    dataset: str
    state: StepState
    decision: Decision | None = None
    rows_read: int = 0
    rows_accepted: int = 0
    rows_quarantined: int = 0
    rows_written: int = 0
    bytes_written: int = 0
    version: int | None = None
    checks: tuple[CheckResult, ...] = ()
    seconds: float = 0.0
    started_us: int | None = None
    """None: it did not begin."""
    note: str = ""
    fraction: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What a run did."""

    run_id: str | None
    """None: nothing had to be done."""
    env: str
    steps: tuple[StepReport, ...]
    seconds: float
    published: Mapping[str, Pointer] = field(default_factory=dict, hash=False)
    """Dataset → the pointer that moved."""
    recovered: tuple[str, ...] = ()
    """Earlier runs that were finished first."""
    warnings: tuple[str, ...] = ()
    """What did not go as asked, though the run did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What may be asked of a run."""

    select: tuple[str, ...] = ()
    """Datasets to bring up to date, with what they read; all where empty."""
    force: bool = False
    """Build again though nothing changed."""
    backfill: Range | None = None
    """by time: compute this range again."""
    wait_s: float = 0.0
    """How long to wait for another run that holds what this one publishes."""


Report = Callable[[StepReport], None]


def decisions(workspace: Workspace, env: Environment, options: RunOptions) -> dict[str, Decision]:
    """Say what a run would do, and why; does nothing. A step after one that will change is decided as if it changed.

    Raises:
        NotApplied: the definitions were not applied.
    """
    definitions = workspace.definitions(env)
    return _decisions(workspace, definitions, options)


def run(workspace: Workspace, env: Environment, options: RunOptions, *, actor: str, report: Report) -> RunResult:
    """Bring an environment's tables up to date.

    Raises:
        NotApplied: the definitions were not applied.
        LeaseHeld: another run is publishing the same, and *options.wait_s* was over. Transient.
        RunFailed: a step failed or broke its rules; nothing was published.
    """
    began = time.monotonic()
    recovered = finish_prepared(workspace)
    definitions = workspace.definitions(env)
    wanted = _decisions(workspace, definitions, options)
    if all(decision.action == "skip" for decision in wanted.values()):
        steps = tuple(StepReport(dataset=name, state="unchanged", decision=d) for name, d in wanted.items())
        return RunResult(run_id=None, env=env.name, steps=steps, seconds=time.monotonic() - began, recovered=recovered)
    run_id = new_id("run")
    busy = [name for name, decision in wanted.items() if decision.action != "skip"]
    written = [*busy, *(name + QUARANTINE_SUFFIX for name in busy if name in definitions.sources)]
    tables = [f"table:{definitions.entries[name].table}" for name in written]
    held = take_lease(
        workspace.ledger,
        [f"env:{env.name}", *sorted(tables)],
        run_id,
        wait_s=options.wait_s,
        mend=lambda: finish_prepared(workspace),
    )
    running: _Run | None = None
    try:
        with held as lease:
            # What was decided above was decided without the lease; the run before this one may have done it by now.
            running = _Run(workspace, definitions, options, run_id=run_id, lease=lease, actor=actor, report=report)
            result = running.go(set(busy))
    except RunFailed:
        if running is not None:
            emit_run(workspace, definitions, running.ended())
        raise
    # Told without the lease: a slow listener keeps nobody from publishing.
    warning = emit_run(workspace, definitions, running.ended())
    warnings = (warning,) if warning else ()
    return replace(result, seconds=time.monotonic() - began, recovered=recovered, warnings=warnings)


def known_of(ledger: Ledger, definitions: Definitions) -> Known:
    """Read what the ledger says of an environment and the tables of *definitions*; four queries."""
    tables = [entry.table for entry in definitions.entries.values()]
    return Known(
        pointers=ledger.pointers(definitions.env),
        steps=ledger.steps(tables),
        held=held_datasets(ledger.publications(definitions.env, limit=200)),
        source_files=ledger.source_files,
    )


def _decisions(workspace: Workspace, definitions: Definitions, options: RunOptions) -> dict[str, Decision]:
    refuse_unapplied(workspace.ledger, definitions)
    known = known_of(workspace.ledger, definitions)
    needs = needed_by(definitions)
    selected = _selected(options.select, needs, definitions)
    decided: dict[str, Decision] = {}
    finder = _finder(workspace, definitions)
    for name in in_order(needs):
        if name not in selected:
            continue
        reads = definitions.entries[name].lineage.datasets if name in definitions.models else ()
        after = sorted(read for read in reads if read in decided and decided[read].action not in {"skip", "adopt"})
        if after:
            reason = f"after {', '.join(after)}"
            if known.steps.get(definitions.entries[name].table) is None:
                reason = f"new, or its code or contract changed; {reason}"
            decided[name] = Decision(dataset=name, action="build", reason=reason)
            continue
        inputs = {read: _published(read, definitions, known, decided) for read in reads}
        decided[name] = decide(
            name,
            definitions,
            known,
            discover=finder,
            inputs=inputs,
            force=options.force or _in_backfill(name, definitions, options),
        )
    return decided


def _in_backfill(name: str, definitions: Definitions, options: RunOptions) -> bool:
    model = definitions.models.get(name)
    return options.backfill is not None and model is not None and model.spec.materialize == "by time"


def _published(name: str, definitions: Definitions, known: Known, decided: Mapping[str, Decision]) -> Pointer | None:
    """The pointer that will stand for a dataset that this run does not compute."""
    decision = decided.get(name)
    state = known.steps.get(definitions.entries[name].table)
    if decision is not None and decision.action == "adopt" and state is not None:
        return Pointer(table=state.table, version=state.version)
    return known.pointers.get(name)


def _finder(workspace: Workspace, definitions: Definitions) -> Callable[[str], tuple[FoundFile, ...]]:
    def find(name: str) -> tuple[FoundFile, ...]:
        return discover(definitions.sources[name], root=workspace.root, options=workspace.settings.lake.options)

    return find


def refuse_unapplied(ledger: Ledger, definitions: Definitions) -> None:
    """Refuse to go on where the files differ from what the environment runs.

    Raises:
        NotApplied: they differ.
    """
    applied = ledger.definitions(definitions.env)
    differing = [
        name
        for name, entry in definitions.entries.items()
        if name not in applied or applied[name].digest != entry_digest(entry)
    ]
    if differing:
        some = ", ".join(differing[:3]) + (", ..." if len(differing) > 3 else "")
        count = f"{len(differing)} dataset{'' if len(differing) == 1 else 's'}"
        raise NotApplied(
            f"{count} in the files differ from what environment {definitions.env} runs: {some}.",
            hint=f"Look: millpond plan --env {definitions.env}; then: millpond apply --env {definitions.env}",
        )


def _selected(select: Sequence[str], needs: Mapping[str, frozenset[str]], definitions: Definitions) -> set[str]:
    if not select:
        return set(needs)
    catalog = Catalog(definitions.env, definitions.entries)
    chosen = {catalog.entry(name).dataset.name for name in select}
    waiting = list(chosen)
    while waiting:
        for read in definitions.entries[waiting.pop()].lineage.datasets:
            if read in needs and read not in chosen:
                chosen.add(read)
                waiting.append(read)
    return chosen


class _Run:
    """One run in progress."""

    def __init__(
        self,
        workspace: Workspace,
        definitions: Definitions,
        options: RunOptions,
        *,
        run_id: str,
        lease: HeldLease,
        actor: str,
        report: Report,
    ) -> None:
        self.workspace, self.definitions, self.options = workspace, definitions, options
        self.run_id, self.lease, self.actor, self.report = run_id, lease, actor, report
        self.known = known_of(workspace.ledger, definitions)
        self.needs = needed_by(definitions)
        self.staged: dict[str, Staged] = {}
        self.pointers: dict[str, Pointer] = {}
        self.snapshots: dict[str, Snapshot] = {}
        self.steps: dict[str, StepReport] = {}
        self.failed: dict[str, MillpondError] = {}
        self.sessions: set[Session] = set()
        self.lock = threading.Lock()
        self.started_us = now_us()
        self.find = _finder(workspace, definitions)
        self.share = max(1, workspace.settings.steps_at_once)

    def go(self, busy: set[str]) -> RunResult:
        """Stage, check, commit, publish."""
        self._record("run.started", {"selected": sorted(busy)})
        try:
            self._stage_all(busy)
        except BaseException as error:
            self._fail(f"interrupted: {type(error).__name__}")
            raise
        if self.failed:
            self._fail("; ".join(f"{name}: {error.message.splitlines()[0]}" for name, error in self.failed.items()))
            raise RunFailed(self.run_id, self.definitions.env, self.failed)
        published = self._publish()
        return RunResult(
            run_id=self.run_id,
            env=self.definitions.env,
            steps=tuple(self.steps[name] for name in in_order(self.needs) if name in self.steps),
            seconds=0.0,
            published=published,
        )

    def ended(self) -> Ended:
        """Say what lineage wants to know, after ``go``."""
        return Ended(
            run_id=self.run_id,
            actor=self.actor,
            started_us=self.started_us,
            steps=tuple(self.steps[name] for name in in_order(self.needs) if name in self.steps),
            staged=self.staged,
            before=self.known.pointers,
            failed=self.failed,
        )

    def _stage_all(self, busy: set[str]) -> None:
        waiting = Waiting(self.needs, busy)
        running: dict[Future[Staged], str] = {}
        with ThreadPoolExecutor(self.share, thread_name_prefix="step") as pool:
            try:
                while running or (waiting and not self.failed):
                    self.lease.check()
                    while waiting and len(running) < self.share and not self.failed:
                        name = waiting.take()
                        running[pool.submit(self._step, name)] = name
                    done, _ = wait(running, timeout=1.0, return_when=FIRST_COMPLETED)
                    for future in done:
                        finished = running.pop(future)
                        self._finished(finished, future)
                        waiting.finished(finished)
            except BaseException:
                self._cancel()
                raise
        for name in waiting.left():
            self._tell(StepReport(dataset=name, state="not run", note="a step before it failed"))

    def _step(self, name: str) -> Staged:
        began, started_us = time.monotonic(), now_us()
        inputs = {read: self._pointer(read) for read in self._reads(name)}
        force = self.options.force or _in_backfill(name, self.definitions, self.options)
        decision = decide(name, self.definitions, self.known, discover=self.find, inputs=inputs, force=force)
        self._tell(StepReport(dataset=name, state="running", decision=decision, started_us=started_us))
        staged = perform(decision, self._context())
        pointer = staged.pointers.get(name)
        self._tell(
            StepReport(
                dataset=name,
                state="unchanged" if decision.action == "skip" else "done",
                decision=decision,
                rows_read=staged.rows_read,
                rows_accepted=staged.rows_accepted,
                rows_quarantined=staged.rows_quarantined,
                rows_written=staged.rows_written,
                bytes_written=staged.bytes_written,
                version=pointer.version if pointer else None,
                checks=staged.checks,
                seconds=time.monotonic() - began,
                started_us=started_us,
                note=staged.note,
            )
        )
        return staged

    def _finished(self, name: str, future: Future[Staged]) -> None:
        try:
            staged = self.staged[name] = future.result()
            self.pointers.update(staged.pointers)
            self.snapshots.update(staged.snapshots)
        except MillpondError as error:
            self.failed[name] = error
            checks = error.failed if isinstance(error, AuditFailed) else ()
            begun = self.steps.get(name, StepReport(dataset=name, state="running"))
            note, ended_us = error.message.splitlines()[0], now_us()
            seconds = (ended_us - (begun.started_us or ended_us)) / 1e6
            self._tell(replace(begun, state="failed", note=note, checks=checks, seconds=seconds, fraction=None))
            self._cancel()

    def _context(self) -> StepContext:
        return StepContext(
            workspace=self.workspace,
            definitions=self.definitions,
            known=self.known,
            run_id=self.run_id,
            actor=self.actor,
            token=self.lease.token,
            open_session=self._session,
            snapshot_of=self._snapshot,
            pointer_of=self._pointer,
            progress=self._landing,
            backfill=self.options.backfill,
            force=self.options.force,
        )

    def _session(self) -> Session:
        session = self.workspace.engine.session(self.workspace.limits(share=self.share))
        with self.lock:
            self.sessions.add(session)
        return session

    def _cancel(self) -> None:
        with self.lock:
            for session in self.sessions:
                session.cancel()

    def _reads(self, name: str) -> tuple[str, ...]:
        return self.definitions.entries[name].lineage.datasets if name in self.definitions.models else ()

    def _pointer(self, name: str) -> Pointer | None:
        return self.pointers.get(name) or self.known.pointers.get(name)

    def _snapshot(self, name: str) -> Snapshot | None:
        staged = self.snapshots.get(name)
        if staged is not None:
            return staged
        pointer = self.known.pointers.get(name)
        return self.workspace.snapshot(pointer) if pointer is not None else None

    def _landing(self, name: str, progress: LandProgress) -> None:
        self._tell(
            replace(self.steps[name], rows_read=progress.rows_read, fraction=progress.fraction, note=progress.note)
        )

    def _tell(self, report: StepReport) -> None:
        with self.lock:
            self.steps[report.dataset] = report
        self.report(report)

    def _record(self, kind: str, payload: Mapping[str, Json]) -> None:
        event = Event(kind=kind, actor=self.actor, env=self.definitions.env, run_id=self.run_id, payload=payload)
        self.workspace.ledger.append([event])

    def _fail(self, reason: str) -> None:
        checks: dict[str, Json] = {
            name: [check_json(check) for check in error.failed]
            for name, error in self.failed.items()
            if isinstance(error, AuditFailed)
        }
        summary: dict[str, Json] = {"reason": reason, "failed_checks": checks}
        commits = [error.commit for error in self.failed.values() if isinstance(error, AuditFailed)]
        if commits:
            summary["manifest"] = self.workspace.lake.write_manifest(self.run_id, commits, {})
        self._record("run.finished", {"state": "failed", "summary": summary})

    def _publish(self) -> Mapping[str, Pointer]:
        """Write down, commit, publish: from the first line on a crash is finished by the next run."""
        return publish_staged(
            self.workspace,
            list(self.staged.values()),
            env=self.definitions.env,
            run_id=self.run_id,
            actor=self.actor,
            before=self.known.pointers,
            lease=self.lease,
            summary=self._summary(),
        )

    def _summary(self) -> dict[str, Json]:
        done = [step for step in self.steps.values() if step.state == "done"]
        return {
            "finished_us": now_us(),
            "rows_read": sum(step.rows_read for step in done),
            "rows_accepted": sum(step.rows_accepted for step in done),
            "rows_quarantined": sum(step.rows_quarantined for step in done),
            "rows_written": sum(step.rows_written for step in done),
            "bytes_written": sum(step.bytes_written for step in done),
            "checks": sum(len(step.checks) for step in done),
            "checks_failed": sum(check.outcome != "passed" for step in done for check in step.checks),
            "steps": {
                step.dataset: {
                    "action": step.decision.action,
                    "seconds": round(step.seconds, 3),
                    "rows": step.rows_written,
                }
                for step in done
                if step.decision is not None
            },
        }
