"""What a change does before it happens: the files compared with what an environment runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from millpond.access import PolicySet
from millpond.catalog import Catalog, Entry
from millpond.contracts import Change, diff
from millpond.flow.checking import check_definitions
from millpond.flow.definitions import Definitions, entry_digest
from millpond.flow.settings import Environment
from millpond.flow.workspace import Workspace
from millpond.kernel import Json, MillpondError, digest
from millpond.ledger import Definition

PlanVerdict = Literal["compatible", "needs rebuild", "breaking"]
_WORST: tuple[PlanVerdict, ...] = ("compatible", "needs rebuild", "breaking")


class WorldMoved(MillpondError):
    """A plan was made for another state of the files or the environment."""

    code = "world-moved"
    exit_code = 3


class BreakingChange(MillpondError):
    """A plan breaks readers, and nobody said that this is meant."""

    code = "breaking-change"
    exit_code = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetChange:
    """What happens to one dataset."""

    dataset: str
    change: Literal["new", "changed", "removed", "affected"]
    """affected: its own files are the same, but what it reads becomes another table."""
    contract: tuple[Change, ...] = ()
    code_changed: bool = False
    rules_changed: bool = False
    table: str = ""
    rebuild: bool = False
    """True where a new table is filled from the beginning."""
    downstream: tuple[str, ...] = ()
    rows_now: int | None = None
    bytes_read: int | None = None
    """rebuild: bytes of what it reads, as published now."""
    seconds_last: float | None = None
    """rebuild: what the last full computation took."""

    @property
    def verdict(self) -> PlanVerdict:
        """The worst verdict of its contract's changes."""
        if self.change == "removed":
            return "breaking"
        found = {change.verdict for change in self.contract}
        worst = [verdict for verdict in _WORST if verdict in found]
        return worst[-1] if worst else "needs rebuild" if self.rebuild and self.change == "changed" else "compatible"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that an apply would do."""

    env: str
    changes: tuple[DatasetChange, ...]
    policies_changed: bool
    unchanged: int
    definitions_digest: str
    """Of the files."""
    base_digest: str
    """Of what the environment runs now."""
    definitions: Definitions = field(hash=False, repr=False)
    policies: PolicySet = field(hash=False, repr=False)

    @property
    def empty(self) -> bool:
        """True where apply has nothing to do."""
        return not self.changes and not self.policies_changed

    @property
    def verdict(self) -> PlanVerdict:
        """The worst verdict of all changes."""
        found = {change.verdict for change in self.changes}
        return max(found, key=_WORST.index, default="compatible")

    def to_json(self) -> dict[str, Json]:
        """Write the plan as JSON: what ``--json`` prints and ``apply`` takes."""
        return {
            "env": self.env,
            "verdict": self.verdict,
            "definitions_digest": self.definitions_digest,
            "base_digest": self.base_digest,
            "policies_changed": self.policies_changed,
            "unchanged": self.unchanged,
            "changes": [_change_json(change) for change in self.changes],
        }


def make_plan(workspace: Workspace, env: Environment) -> Plan:
    """Compare the project's files with what *env* runs.

    Cost: reads every definition; 2,000 models in about 3 s the first time.

    Raises:
        ProblemsFound: the files cannot be used, or a model's columns are not what its contract says.
    """
    ledger = workspace.ledger
    applied = ledger.definitions(env.name)
    catalog = Catalog.of(applied, env.name)
    definitions = workspace.definitions(env, catalog)
    project = workspace.project
    digests = {name: entry_digest(entry) for name, entry in definitions.entries.items()}
    differing = [name for name in definitions.entries if name not in applied or applied[name].digest != digests[name]]
    check_definitions(
        workspace, definitions, only=[n for n in differing if definitions.entries[n].kind != "quarantine"]
    )
    before = {name: definition for name, definition in applied.items() if not name.startswith("@")}
    gone = sorted(set(before) - set(definitions.entries))
    target = Catalog(env.name, definitions.entries)
    estimate = _Estimate(workspace, env.name, needed=bool(differing))
    changes = [
        _change(definitions.entries[name], catalog.entries.get(name), target, estimate)
        for name in differing
        if definitions.entries[name].kind != "quarantine"
    ]
    changes += [
        DatasetChange(dataset=name, change="removed", downstream=catalog.downstream(name))
        for name in gone
        if catalog.entries[name].kind != "quarantine"
    ]
    policies = ledger.policies(env.name)
    return Plan(
        env=env.name,
        changes=tuple(changes),
        policies_changed=policies is None or PolicySet.from_json(policies).digest != project.policies.digest,
        unchanged=len(definitions.entries) - len(differing),
        definitions_digest=digest(digest(digests), project.policies.digest),
        base_digest=_base_digest(applied),
        definitions=definitions,
        policies=project.policies,
    )


def base_digest(workspace: Workspace, env: str) -> str:
    """Digest what an environment runs now: a plan holds for exactly this."""
    return _base_digest(workspace.ledger.definitions(env))


def _base_digest(applied: Mapping[str, Definition]) -> str:
    return digest({name: definition.digest for name, definition in applied.items()})


class _Estimate:
    """What a rebuild reads, from what is published now."""

    def __init__(self, workspace: Workspace, env: str, *, needed: bool) -> None:
        self.built: dict[str, Mapping[str, Json]] = {}
        self.seconds: dict[str, float] = {}
        if not needed:
            return
        for recorded in workspace.ledger.events(kinds=["step.built"], env=env, newest_first=True, limit=5_000):
            subject = recorded.event.subject
            if subject is not None:
                self.built.setdefault(subject, recorded.event.payload)
        states = workspace.ledger.runs(env, states=("succeeded",), limit=20)
        for state in states:
            steps = state.summary.get("steps")
            for name, step in steps.items() if isinstance(steps, Mapping) else ():
                if isinstance(step, Mapping) and isinstance(step.get("seconds"), int | float):
                    self.seconds[name] = max(float(str(step["seconds"])), self.seconds.get(name, 0.0))

    def number(self, dataset: str, key: str) -> int | None:
        found = self.built.get(dataset, {}).get(key)
        return found if isinstance(found, int) else None


def _change(entry: Entry, before: Entry | None, target: Catalog, estimate: _Estimate) -> DatasetChange:
    name = entry.dataset.name
    contract = diff(before.dataset, entry.dataset) if before is not None else ()
    code_changed = before is not None and (before.code, before.materialization) != (entry.code, entry.materialization)
    rules_changed = before is not None and before.checks_digest != entry.checks_digest
    same = before is not None and not contract and not code_changed and not rules_changed
    read = [estimate.number(upstream, "bytes") for upstream in entry.lineage.datasets]
    rebuild = before is None or before.table != entry.table
    return DatasetChange(
        dataset=name,
        change="new" if before is None else "affected" if same and rebuild else "changed",
        contract=contract,
        code_changed=code_changed,
        rules_changed=rules_changed,
        table=entry.table,
        rebuild=rebuild,
        downstream=target.downstream(name),
        rows_now=estimate.number(name, "rows"),
        bytes_read=sum(size for size in read if size is not None) if rebuild and any(read) else None,
        seconds_last=estimate.seconds.get(name) if rebuild else None,
    )


def _change_json(change: DatasetChange) -> dict[str, Json]:
    return {
        "dataset": change.dataset,
        "change": change.change,
        "verdict": change.verdict,
        "contract": [
            {"kind": part.kind, "what": part.what, "column": part.column, "verdict": part.verdict}
            for part in change.contract
        ],
        "code_changed": change.code_changed,
        "rules_changed": change.rules_changed,
        "table": change.table,
        "rebuild": change.rebuild,
        "downstream": list(change.downstream),
        "rows_now": change.rows_now,
        "bytes_read": change.bytes_read,
        "seconds_last": change.seconds_last,
    }
