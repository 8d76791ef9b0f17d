"""The last part of a run, written so that it can be done twice: commit what was prepared, publish, finish.

A run that was killed before it prepared is abandoned: its files are orphans. One that was killed later is finished by
whoever comes next, because its list of commits is on disk and every commit carries the run's id.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

from millpond.flow.leases import LEASE_S, holder_of, is_alive, process_of, run_of
from millpond.flow.workspace import Workspace
from millpond.kernel import Json, now_us
from millpond.lake import CommitConflict
from millpond.ledger import Event, Lease, LeaseHeld, LeaseLost, Ledger, Pointer, PublicationConflict

_MENDING = "mend:"
_UNFINISHED = ("started", "prepared")

Changes = Mapping[str, tuple[Pointer | None, Pointer]]


def publication_events(
    events: Sequence[Event], changes: Changes, *, env: str, actor: str, summary: Mapping[str, Json]
) -> dict[str, Json]:
    """Write what a run will publish as JSON, to stand in its manifest."""
    return {
        "env": env,
        "actor": actor,
        "summary": summary,
        "changes": {name: [_pointer_json(before), _pointer_json(after)] for name, (before, after) in changes.items()},
        "events": [[event.kind, event.subject, event.payload] for event in events],
    }


def publish_prepared(workspace: Workspace, run_id: str, manifest: str, *, lease: Lease | None) -> None:
    """Commit every table of a prepared run and move its pointers; doing it again changes nothing.

    Raises:
        PublicationConflict, CommitConflict: pointers or tables moved since; it can never be published then.
    """
    commits, extra = workspace.lake.read_manifest(manifest)
    for commit in commits:
        workspace.lake.table(commit.table).commit(commit)
    known = cast("Mapping[str, Any]", extra)
    changes = {
        name: (_pointer(before), cast("Pointer", _pointer(after))) for name, (before, after) in known["changes"].items()
    }
    env, actor = known["env"], known["actor"]
    events = [
        Event(kind=kind, actor=actor, env=env, subject=subject, run_id=run_id, payload=payload)
        for kind, subject, payload in known["events"]
    ]
    finished = {"state": "succeeded", "summary": known["summary"]}
    events.append(Event(kind="run.finished", actor=actor, env=env, run_id=run_id, payload=finished))
    workspace.ledger.publish(
        env=env, changes=changes, lease=lease, events=events, actor=actor, run_id=run_id, reason=f"run {run_id}"
    )
    workspace.lake.drop_manifest(manifest)


def finish_prepared(workspace: Workspace) -> tuple[str, ...]:
    """Finish or abandon every run that is dead; gives the ids of those that were finished.

    A run is dead when its lease ended, or its process did. What the dead held is given back.
    """
    ledger = workspace.ledger
    # A run has its lease before it is in the list and until it is out of it: the list is read first.
    unfinished = {state.run_id for state in ledger.runs(states=_UNFINISHED, limit=10_000)}
    leases = {run_of(lease.holder): lease for lease in ledger.leases() if not lease.names[0].startswith(_MENDING)}
    dead = {run_id: lease for run_id, lease in leases.items() if not _lives(lease)}
    finished: list[str] = []
    for run_id in sorted((unfinished - leases.keys()) | dead.keys()):
        try:
            mending = ledger.acquire([_MENDING + run_id], holder_of(run_id), ttl_s=LEASE_S)
        except LeaseHeld as held:
            if is_alive(process_of(held.holder)):
                time.sleep(0.1)  # another process is finishing it
                continue
            _give_back(ledger, [lease for lease in ledger.leases() if lease.holder == held.holder])
            continue
        try:
            held_by_dead = _fenced(ledger, dead.get(run_id))
            finished.extend(_finish(workspace, run_id))
            _give_back(ledger, held_by_dead)
        finally:
            _give_back(ledger, [mending])
    return tuple(finished)


def _lives(lease: Lease) -> bool:
    return lease.expires_us > now_us() and is_alive(process_of(lease.holder))


def _fenced(ledger: Ledger, lease: Lease | None) -> list[Lease]:
    """Take a dead run's lease under a new token: should it wake up, it can neither prepare nor publish any more."""
    if lease is None:
        return []
    try:
        return [ledger.acquire(lease.names, lease.holder, ttl_s=LEASE_S)]
    except LeaseHeld:  # another run has some of it already, which fences as well; the rest is given back
        return [lease]


def _give_back(ledger: Ledger, leases: Sequence[Lease]) -> None:
    for lease in leases:
        with suppress(LeaseLost):  # somebody else gave it back
            ledger.release(lease)


def _finish(workspace: Workspace, run_id: str) -> list[str]:
    unfinished = {state.run_id: state for state in workspace.ledger.runs(states=_UNFINISHED, limit=10_000)}
    state = unfinished.get(run_id)
    if state is None:
        return []
    if state.manifest is None:
        abandon(workspace, state.run_id, state.env, state.actor, "its process ended before anything was prepared")
        return []
    try:
        publish_prepared(workspace, run_id, state.manifest, lease=None)
    except (PublicationConflict, CommitConflict) as conflict:
        abandon(workspace, state.run_id, state.env, state.actor, conflict.message)
        return []
    except FileNotFoundError:
        abandon(workspace, state.run_id, state.env, state.actor, f"its note {state.manifest} is gone")
        return []
    return [run_id]


def abandon(workspace: Workspace, run_id: str, env: str, actor: str, reason: str) -> None:
    """Record that a run will never be published; what it committed, the next run on that table undoes."""
    payload: Mapping[str, Json] = {"state": "abandoned", "summary": {"reason": reason}}
    event = Event(kind="run.finished", actor=actor, env=env, run_id=run_id, payload=payload)
    workspace.ledger.append([event])


def _pointer_json(pointer: Pointer | None) -> list[Json] | None:
    return None if pointer is None else [pointer.table, pointer.version]


def _pointer(body: Sequence[Any] | None) -> Pointer | None:
    return None if body is None else Pointer(table=body[0], version=body[1])
