"""Environments as maps of pointers: what each shows, how two differ, and back to an earlier publication."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from millpond.flow.leases import take_lease
from millpond.flow.recover import finish_prepared
from millpond.flow.workspace import Workspace
from millpond.kernel import MillpondError, new_id
from millpond.lake import VersionGone
from millpond.ledger import Pointer, Publication


class NothingToRollBack(MillpondError):
    """There is no earlier publication to go back to."""

    code = "nothing-to-roll-back"
    exit_code = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One dataset that two environments show differently."""

    dataset: str
    left: Pointer | None
    right: Pointer | None


def difference(workspace: Workspace, left: str, right: str) -> tuple[Difference, ...]:
    """Compare the pointers of two environments; costs one query each."""
    a, b = workspace.ledger.pointers(left), workspace.ledger.pointers(right)
    return tuple(
        Difference(dataset=name, left=a.get(name), right=b.get(name))
        for name in sorted({*a, *b})
        if a.get(name) != b.get(name)
    )


def rollback(
    workspace: Workspace, env: str, *, to_seq: int | None, only: Sequence[str] = (), actor: str, dry_run: bool = False
) -> dict[str, tuple[Pointer | None, Pointer | None]]:
    """Show again what *env* showed after publication *to_seq* (before the newest one, where None); no data is touched.

    Costs milliseconds whatever the size of the tables. *only* limits it to some datasets.

    Raises:
        NothingToRollBack: no such publication.
        VersionGone: a version that it would show was vacuumed.
        AnotherRun: a run is publishing there. Transient.
    """
    finish_prepared(workspace)
    run_id = new_id("rb")
    holding = take_lease(workspace.ledger, [f"env:{env}"], run_id, wait_s=0.0, mend=lambda: finish_prepared(workspace))
    with holding as lease:
        history = workspace.ledger.publications(env, limit=1_000)
        undone = _undone(history, to_seq, env)
        changes: dict[str, tuple[Pointer | None, Pointer | None]] = {}
        now = workspace.ledger.pointers(env)
        for publication in undone:  # newest first, so the oldest one's "before" is what stays
            for name, (before, _) in publication.changes.items():
                if not only or name in only:
                    changes[name] = (now.get(name), before)
        changes = {name: pair for name, pair in changes.items() if pair[0] != pair[1]}
        _still_there(workspace, changes)
        if changes and not dry_run:
            workspace.ledger.publish(
                env=env,
                changes=changes,
                lease=lease.current,
                events=[],
                actor=actor,
                run_id=run_id,
                reason=f"rollback to {to_seq if to_seq is not None else 'before ' + str(undone[0].seq)}",
            )
    return changes


def _undone(history: Sequence[Publication], to_seq: int | None, env: str) -> Sequence[Publication]:
    if not history:
        raise NothingToRollBack(f"Environment {env} never published anything.", hint="Begin with: millpond run")
    if to_seq is None:
        return [publication for publication in history if publication.changes][:1]
    if to_seq not in {publication.seq for publication in history}:
        known = ", ".join(str(publication.seq) for publication in history[:5])
        raise NothingToRollBack(
            f"Environment {env} has no publication {to_seq}.",
            hint=f"The newest are: {known}. See: millpond env history",
        )
    return [publication for publication in history if publication.seq > to_seq]


def _still_there(workspace: Workspace, changes: dict[str, tuple[Pointer | None, Pointer | None]]) -> None:
    for name, (_, after) in changes.items():
        if after is None:
            continue
        snapshot = workspace.snapshot(after)
        missing = [file.path for file in snapshot.files[:1] if snapshot.store.stat(file.path) is None]
        if missing:
            raise VersionGone(after.table, after.version, f"{name} would need its files, which were vacuumed")
