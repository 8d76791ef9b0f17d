"""Reviewing the quarantine: rows are judged again and taken in, or closed; table and quarantine change together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sqlglot import exp

from millpond.catalog import QUARANTINE_SUFFIX, Catalog
from millpond.engines import Session
from millpond.flow.definitions import Definitions
from millpond.flow.leases import HeldLease, take_lease
from millpond.flow.publish import publish_staged
from millpond.flow.recover import finish_prepared
from millpond.flow.run import known_of, refuse_unapplied
from millpond.flow.settings import Environment
from millpond.flow.staging import Staged, StepContext, audited, base_of, commit_of, judged_event, merged, stage
from millpond.flow.workspace import Workspace
from millpond.ingest import Replayed, discard, replay
from millpond.kernel import Json, MillpondError, new_id
from millpond.lake import DataFile, Snapshot
from millpond.ledger import Event, Pointer
from millpond.quality import row_rules

Review = Literal["replay", "discard"]


class NotIngested(MillpondError):
    """The dataset is computed, so that it has no quarantine."""

    code = "not-ingested"
    exit_code = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which open rows are meant: those of these ids, of this rule; all where nothing is said."""

    ids: tuple[str, ...] = ()
    rule: str | None = None

    def condition(self) -> str:
        """Write it as SQL over the quarantine's columns."""
        parts: list[exp.Expr] = [exp.true()]
        if self.ids:
            parts.append(exp.column("id").isin(*(exp.Literal.string(row_id) for row_id in self.ids)))
        if self.rule is not None:
            parts.append(exp.func("list_contains", exp.column("rules"), exp.Literal.string(self.rule)))
        return exp.and_(*parts).sql("duckdb")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewed:
    """What a review did."""

    run_id: str | None
    """None: no open row was meant, or it was only asked."""
    selected: int
    accepted: int = 0
    still_bad: int = 0
    reasons: Mapping[str, int] | None = None
    """Rule → rows that break it still."""


def review(
    workspace: Workspace,
    env: Environment,
    dataset: str,
    selection: Selection,
    *,
    action: Review,
    note: str | None,
    edits: Mapping[str, str],
    actor: str,
    dry_run: bool = False,
) -> Reviewed:
    """Replay or discard open rows of a dataset's quarantine; doing it again finds no open row and does nothing.

    What becomes of it is published at once: the rows in their table, and the quarantine without them. Models that read
    the table are brought up to date by the next run.

    Raises:
        NotIngested: the dataset is a model. NotApplied: the files differ from what the environment runs.
        AuditFailed: the table would break its rules; nothing changed. AnotherRun: a run is publishing there. Transient.
    """
    finish_prepared(workspace)
    definitions = workspace.definitions(env)
    name = Catalog(env.name, definitions.entries).entry(dataset).dataset.name.removesuffix(QUARANTINE_SUFFIX)
    if name not in definitions.sources:
        raise NotIngested(f"{name} is a model: rows of it are never quarantined.", hint="See: millpond quality show")
    refuse_unapplied(workspace.ledger, definitions)
    held = definitions.quarantine_of(name)
    run_id = new_id("run")
    names = [f"env:{env.name}", f"table:{definitions.entries[name].table}", f"table:{held.table}"]
    with take_lease(workspace.ledger, names, run_id, wait_s=0.0, mend=lambda: finish_prepared(workspace)) as lease:
        reviewing = _Review(workspace, definitions, name, run_id=run_id, actor=actor, lease=lease)
        if dry_run:
            return Reviewed(run_id=None, selected=reviewing.count(selection.condition()))
        return reviewing.go(selection.condition(), action=action, note=note or "", edits=edits)


class _Review:
    """One review in progress."""

    def __init__(
        self, workspace: Workspace, definitions: Definitions, name: str, *, run_id: str, actor: str, lease: HeldLease
    ) -> None:
        self.workspace, self.definitions, self.name = workspace, definitions, name
        self.run_id, self.actor, self.lease = run_id, actor, lease
        self.entry, self.held = definitions.entries[name], definitions.quarantine_of(name)
        self.known = known_of(workspace.ledger, definitions)
        self.base, self.base_held = base_of(self.entry, self._context()), base_of(self.held, self._context())

    def count(self, where: str) -> int:
        with self._session() as session:
            session.attach("held", self.base_held)
            status = exp.column("status").eq(exp.Literal.string("open"))
            query = exp.select(exp.Count(this=exp.Star())).from_("held").where(status, where, dialect="duckdb")
            return int(str(session.row(query.sql("duckdb"))[0]))

    def go(self, where: str, *, action: Review, note: str, edits: Mapping[str, str]) -> Reviewed:
        if self.base_held.version < 0 or not self.base_held.rows:
            return Reviewed(run_id=None, selected=0)
        self._record("run.started", {"review": action, "dataset": self.name})
        try:
            done = self._replayed(where, edits) if action == "replay" else self._discarded(where, note)
            if done.selected:
                payload: Mapping[str, Json] = {
                    "rows": done.selected, "action": action, "note": note, "accepted": done.accepted.rows,
                }  # fmt: skip
                reviewed = self._context().event("quarantine.reviewed", self.name, payload)
                staged = [*self._staged(done), Staged(events=(reviewed,))]
                publish_staged(
                    self.workspace,
                    staged,
                    env=self.definitions.env,
                    run_id=self.run_id,
                    actor=self.actor,
                    before=self.known.pointers,
                    lease=self.lease,
                    summary={"review": action, "rows_accepted": done.accepted.rows},
                )
            else:
                self._record("run.finished", {"state": "succeeded", "summary": {"reason": "no open row was meant"}})
        except BaseException as error:
            summary: Mapping[str, Json] = {"reason": str(error).partition("\n")[0]}
            self._record("run.finished", {"state": "failed", "summary": summary})
            raise
        return Reviewed(
            run_id=self.run_id if done.selected else None,
            selected=done.selected,
            accepted=done.accepted.rows,
            still_bad=done.still_bad,
            reasons=done.reasons,
        )

    def _replayed(self, where: str, edits: Mapping[str, str]) -> Replayed:
        with self._session() as session:
            return replay(
                self.base_held,
                where,
                self.definitions.sources[self.name],
                self.entry.dataset,
                row_rules(self.entry.dataset),
                session=session,
                table=self.base.store,
                quarantine=self.base_held.store,
                run_id=self.run_id,
                edits=edits,
                reviewer=self.actor,
            )

    def _discarded(self, where: str, note: str) -> Replayed:
        with self._session() as session:
            store = self.base_held.store
            return discard(
                self.base_held,
                where,
                session=session,
                quarantine=store,
                run_id=self.run_id,
                note=note,
                reviewer=self.actor,
            )

    def _staged(self, done: Replayed) -> list[Staged]:
        context = self._context()
        commit_held = commit_of(
            self.held, self.base_held, context, adds=done.quarantine.files, removes=done.removes, operation="REVIEW"
        )
        parts = [stage(self.held, commit_held, self.base_held, context)]
        if done.accepted.rows:
            adds: tuple[DataFile, ...] = done.accepted.files
            removes: tuple[DataFile, ...] = ()
            if self.definitions.sources[self.name].mode == "merge":
                adds, removes = merged(self.entry, self.base, adds, context)
            commit = commit_of(self.entry, self.base, context, adds=adds, removes=removes, operation="REPLAY")
            staged = stage(self.entry, commit, self.base, context)
            checks = audited(self.entry, commit, staged.snapshots[self.name], context)
            parts.append(staged)
            parts.append(Staged(events=(judged_event(self.entry, commit, checks, context),)))
        return parts

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
            pointer_of=self.known.pointers.get,
            progress=lambda _name, _progress: None,
        )

    def _session(self) -> Session:
        return self.workspace.engine.session(self.workspace.limits())

    def _snapshot(self, name: str) -> Snapshot | None:
        pointer: Pointer | None = self.known.pointers.get(name)
        return self.workspace.snapshot(pointer) if pointer is not None else None

    def _record(self, kind: str, payload: Mapping[str, Json]) -> None:
        event = Event(kind=kind, actor=self.actor, env=self.definitions.env, run_id=self.run_id, payload=payload)
        self.workspace.ledger.append([event])
