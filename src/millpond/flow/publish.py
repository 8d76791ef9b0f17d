"""From staged to published: write down what will be committed, commit it, move all pointers in one transaction.

From the moment it is written down, a crash is finished by whoever comes next (``recover``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from millpond.flow.leases import HeldLease
from millpond.flow.recover import abandon, publication_events, publish_prepared
from millpond.flow.staging import Staged
from millpond.flow.workspace import Workspace
from millpond.kernel import Json
from millpond.lake import CommitConflict
from millpond.ledger import Event, Pointer, PublicationConflict


def publish_staged(
    workspace: Workspace,
    staged: Sequence[Staged],
    *,
    env: str,
    run_id: str,
    actor: str,
    before: Mapping[str, Pointer],
    lease: HeldLease,
    summary: Mapping[str, Json],
) -> Mapping[str, Pointer]:
    """Make everything that was staged visible at once; gives the pointers that moved.

    Raises:
        LeaseLost: another run took over, and undoes or finishes this one.
        PublicationConflict, CommitConflict: a pointer or a table is not as *before*; nothing was published. Transient.
    """
    after = {name: pointer for part in staged for name, pointer in part.pointers.items()}
    changes = {name: (before.get(name), pointer) for name, pointer in after.items() if before.get(name) != pointer}
    commits = [commit for part in staged for commit in part.commits]
    events = [event for part in staged for event in part.events]
    if not (commits or changes or events):
        done: Mapping[str, Json] = {"state": "succeeded", "summary": summary}
        workspace.ledger.append([Event(kind="run.finished", actor=actor, env=env, run_id=run_id, payload=done)])
        return {}
    extra = publication_events(events, changes, env=env, actor=actor, summary=summary)
    lease.check()
    manifest = workspace.lake.write_manifest(run_id, commits, extra)
    prepared = Event(kind="run.prepared", actor=actor, env=env, run_id=run_id, payload={"manifest": manifest})
    workspace.ledger.append([prepared], lease=lease.current)
    try:
        publish_prepared(workspace, run_id, manifest, lease=lease.current)
    except (PublicationConflict, CommitConflict) as conflict:
        abandon(workspace, run_id, env, actor, conflict.message)
        raise
    return {name: pointer for name, (_, pointer) in changes.items()}
