"""Which steps have to run, and why: a pure comparison of definitions with what the ledger says was done."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from millpond.catalog import Entry
from millpond.flow.definitions import Definitions
from millpond.ingest import FoundFile, unseen
from millpond.ledger import Pointer, Publication, SourceFile, StepState

Action = Literal["skip", "adopt", "audit", "evolve", "land", "build"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a run does with one dataset."""

    dataset: str
    action: Action
    """skip: nothing. adopt: publish what another environment made. audit: rules changed, check the data again.
    evolve: columns were added. land: take files in. build: compute the model."""
    reason: str
    """For people: why."""
    files: tuple[FoundFile, ...] = ()
    """land: what to take in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the ledger says of one environment and its tables, read once when a run begins."""

    pointers: Mapping[str, Pointer] = field(hash=False)
    steps: Mapping[str, StepState] = field(hash=False)
    held: frozenset[str]
    """Datasets whose last publication was a rollback: what was rolled back is not published again by itself."""
    source_files: Callable[[str], Sequence[SourceFile]]
    """By table key."""


def held_datasets(publications: Sequence[Publication]) -> frozenset[str]:
    """Find the datasets whose last change was a rollback; *publications* newest first."""
    last: dict[str, bool] = {}
    for publication in publications:
        for dataset in publication.changes:
            last.setdefault(dataset, publication.reason.startswith("rollback"))
    return frozenset(name for name, rolled_back in last.items() if rolled_back)


def step_fingerprint(entry: Entry) -> str:
    """What a step's state is compared by: the data's fingerprint, then the rules'."""
    return f"{entry.fingerprint}/{entry.checks_digest}"


def decide(
    name: str,
    definitions: Definitions,
    known: Known,
    *,
    discover: Callable[[str], tuple[FoundFile, ...]],
    inputs: Mapping[str, Pointer | None],
    force: bool = False,
) -> Decision:
    """Decide for one dataset; *inputs* are the pointers that its model would read now."""
    entry = definitions.entries[name]
    state = known.steps.get(entry.table)
    if name in definitions.sources:
        wanted = _decide_source(name, definitions, known, discover=discover, force=force)
    else:
        wanted = _decide_model(entry, known, inputs, force=force)
    if wanted is not None:
        return wanted
    if state is None:
        return Decision(dataset=name, action="skip", reason="no files yet")
    pointer = known.pointers.get(name)
    current = Pointer(table=state.table, version=state.version)
    if pointer != current:
        if name in known.held and pointer is not None and pointer.table == current.table:
            reason = (
                f"held at version {pointer.version} by a rollback; --force publishes version {current.version} again"
            )
            return Decision(dataset=name, action="skip", reason=reason)
        return Decision(dataset=name, action="adopt", reason="made already for another environment or an earlier run")
    return Decision(dataset=name, action="skip", reason="nothing changed")


def _decide_source(
    name: str,
    definitions: Definitions,
    known: Known,
    *,
    discover: Callable[[str], tuple[FoundFile, ...]],
    force: bool,
) -> Decision | None:
    entry = definitions.entries[name]
    source = definitions.sources[name]
    state = known.steps.get(entry.table)
    found = discover(name)
    taken = () if force and source.mode != "append" else known.source_files(entry.table)
    fresh = unseen(found, taken, mode=source.mode)
    gone = {file.uri for file in taken} - {file.uri for file in found}
    if source.mode == "replace" and (fresh or (gone and found)):
        count = len(fresh) or len(gone)
        return Decision(dataset=name, action="land", reason=f"{count} of {len(found)} files changed", files=found)
    if fresh:
        plural = "file" if len(fresh) == 1 else "files"
        return Decision(dataset=name, action="land", reason=f"{len(fresh)} new {plural}", files=fresh)
    if state is None:
        return Decision(dataset=name, action="evolve", reason="no files yet: an empty table")
    return _same_data(name, entry, state)


def _decide_model(entry: Entry, known: Known, inputs: Mapping[str, Pointer | None], *, force: bool) -> Decision | None:
    name, state = entry.dataset.name, known.steps.get(entry.table)
    absent = [dataset for dataset, pointer in inputs.items() if pointer is None]
    if absent:
        return Decision(dataset=name, action="skip", reason=f"{absent[0]} was never published")
    if state is None:
        return Decision(dataset=name, action="build", reason="new, or its code or contract changed")
    if force:
        return Decision(dataset=name, action="build", reason="asked for with --force")
    changed = sorted(dataset for dataset, pointer in inputs.items() if state.inputs.get(dataset) != pointer)
    if name in known.held and known.held.issuperset(changed):
        return None  # what it reads was rolled back with it, not renewed
    if changed:
        return Decision(dataset=name, action="build", reason=f"{', '.join(changed)} changed")
    return _same_data(name, entry, state)


def _same_data(name: str, entry: Entry, state: StepState) -> Decision | None:
    """The same input: is there something to do because of what was written about it?"""
    data, _, checks = state.fingerprint.partition("/")
    if data != entry.fingerprint:
        return Decision(dataset=name, action="evolve", reason="its contract changed in a compatible way")
    if checks != entry.checks_digest:
        return Decision(dataset=name, action="audit", reason="its rules changed")
    return None


def needed_by(definitions: Definitions) -> Mapping[str, frozenset[str]]:
    """Map each dataset to those that must be done before it: what it reads, and what its rules refer to.

    A reference that would close a circle is left out: it is then checked against the last published version.
    """
    needs = {name: set(definitions.entries[name].lineage.datasets) for level in definitions.levels for name in level}
    needs.update({name: set() for name in definitions.sources})
    for name, needed in needs.items():
        for reference in definitions.entries[name].dataset.references:
            target = reference.to_dataset
            if target in needs and target != name and name not in _all_needs(target, needs):
                needed.add(target)
    return {name: frozenset(needed) for name, needed in needs.items()}


def _all_needs(name: str, needs: Mapping[str, Collection[str]]) -> set[str]:
    found: set[str] = set()
    waiting = [name]
    while waiting:
        for needed in needs.get(waiting.pop(), ()):
            if needed not in found:
                found.add(needed)
                waiting.append(needed)
    return found


def in_order(needs: Mapping[str, frozenset[str]]) -> tuple[str, ...]:
    """Sort datasets so that each comes after what it needs; by name among equals."""
    done: dict[str, None] = {}
    waiting = sorted(needs)
    while waiting:
        ready = [name for name in waiting if all(needed in done or needed not in needs for needed in needs[name])]
        assert ready, "needs hold a circle"
        done.update(dict.fromkeys(ready))
        waiting = [name for name in waiting if name not in done]
    return tuple(done)


class Waiting:
    """Datasets that wait for their turn: each is ready when all that it needs, of these, is finished."""

    def __init__(self, needs: Mapping[str, frozenset[str]], busy: Collection[str]) -> None:
        """Hold *busy*, in the order of *needs*."""
        self._order = [name for name in in_order(needs) if name in busy]
        self._rank = {name: place for place, name in enumerate(self._order)}
        self._unmet = {name: set(needs[name].intersection(self._rank)) for name in self._order}
        self._readers: dict[str, list[str]] = {name: [] for name in self._order}
        for name, needed in self._unmet.items():
            for read in needed:
                self._readers[read].append(name)
        self._ready = [self._rank[name] for name in self._order if not self._unmet[name]]
        self._taken: set[str] = set()

    def __bool__(self) -> bool:
        """True where one is ready."""
        return bool(self._ready)

    def take(self) -> str:
        """Take the first that is ready."""
        name = self._order[heapq.heappop(self._ready)]
        self._taken.add(name)
        return name

    def finished(self, name: str) -> None:
        """Make ready what waited for *name* only."""
        for reader in self._readers[name]:
            self._unmet[reader].discard(name)
            if not self._unmet[reader]:
                heapq.heappush(self._ready, self._rank[reader])

    def left(self) -> tuple[str, ...]:
        """Give those that nobody took."""
        return tuple(name for name in self._order if name not in self._taken)
