"""Make an environment run what the files say: definitions and policies go into the ledger, in one transaction.

No data is touched. Where another environment already shows the very table that a definition asks for, its pointer is
taken over, so that a development environment costs nothing until something differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from millpond.catalog import entry_to_json
from millpond.flow.definitions import entry_digest
from millpond.flow.leases import take_lease
from millpond.flow.plan import BreakingChange, Plan, WorldMoved, base_digest
from millpond.flow.recover import finish_prepared
from millpond.flow.workspace import Workspace
from millpond.kernel import Json, new_id
from millpond.ledger import Event, Pointer


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What an apply did."""

    deployment: str | None
    """None: there was nothing to do."""
    changed: int
    adopted: tuple[str, ...]
    """Datasets whose pointer was taken from another environment."""


def apply_plan(
    workspace: Workspace,
    plan: Plan,
    *,
    actor: str,
    allow_breaking: bool = False,
    expected: str | None = None,
    wait_s: float = 0.0,
) -> Applied:
    """Do what *plan* says, or nothing; *expected* is the ``base_digest`` of the plan file it was asked to follow.

    Raises:
        BreakingChange: the plan breaks readers and *allow_breaking* is not set.
        WorldMoved: the environment changed since the plan was made.
        AnotherRun: a run is publishing there. Transient.
    """
    if plan.empty:
        return Applied(deployment=None, changed=0, adopted=())
    breaking = [change.dataset for change in plan.changes if change.verdict == "breaking"]
    if breaking and not allow_breaking:
        raise BreakingChange(
            f"The plan breaks readers of {', '.join(breaking)}.",
            hint="Look at it: millpond plan. If it is meant: millpond apply --allow-breaking",
        )
    deployment = new_id("dep")
    finish_prepared(workspace)
    holding = take_lease(
        workspace.ledger, [f"env:{plan.env}"], deployment, wait_s=wait_s, mend=lambda: finish_prepared(workspace)
    )
    with holding as lease:
        if base_digest(workspace, plan.env) != (expected or plan.base_digest):
            raise WorldMoved(
                f"Environment {plan.env} changed since this plan was made.", hint="Make a new one: millpond plan"
            )
        adopted = _adoptable(workspace, plan)
        workspace.ledger.publish(
            env=plan.env,
            changes=adopted,
            lease=lease.current,
            events=_events(workspace, plan, deployment, actor),
            actor=actor,
            run_id=deployment,
            reason=f"apply {deployment}",
        )
    return Applied(deployment=deployment, changed=len(plan.changes), adopted=tuple(sorted(adopted)))


def _adoptable(workspace: Workspace, plan: Plan) -> dict[str, tuple[Pointer | None, Pointer]]:
    pointers = workspace.ledger.pointers(plan.env)
    shown: dict[str, Pointer] = {}
    for (env, _), pointer in sorted(workspace.ledger.all_pointers().items()):
        # The default environment is the one to follow where several show the same table at different versions.
        if env == workspace.settings.default_environment or pointer.table not in shown:
            shown[pointer.table] = pointer
    found = {}
    for name, entry in plan.definitions.entries.items():
        now = pointers.get(name)
        if (now is None or now.table != entry.table) and entry.table in shown:
            found[name] = (now, shown[entry.table])
    return found


def _events(workspace: Workspace, plan: Plan, deployment: str, actor: str) -> list[Event]:
    known = workspace.ledger.definitions(plan.env)
    entries = plan.definitions.entries
    events = []
    for name, entry in entries.items():
        fingerprint = entry_digest(entry)
        if name not in known or known[name].digest != fingerprint:
            body: Mapping[str, Json] = {"digest": fingerprint, "body": entry_to_json(entry), "deployment": deployment}
            events.append(Event(kind="definition.set", actor=actor, env=plan.env, subject=name, payload=body))
    events.extend(
        Event(kind="definition.removed", actor=actor, env=plan.env, subject=name, payload={"deployment": deployment})
        for name in sorted(known)
        if name not in entries
    )
    if plan.policies_changed:
        events.append(Event(kind="policies.applied", actor=actor, env=plan.env, payload=plan.policies.to_json()))
    summary: Mapping[str, Json] = {
        "deployment": deployment,
        "datasets": len(plan.changes),
        "verdict": plan.verdict,
        "at": datetime.now(tz=UTC).isoformat(timespec="seconds"),
        "changes": [[change.dataset, change.change] for change in plan.changes],
    }
    events.append(Event(kind="deployment.applied", actor=actor, env=plan.env, payload=summary))
    return events
