"""Warm engine sessions for the reading door: what a query needs is bound, what was bound before is used again.

A session serves one query at a time. It shows raw relations under a name that the gate lets nobody say, and views under
the datasets' names; before a query runs, the view of every dataset it reads is the view of its own principal.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from millpond.access.decide import Decision, behind_barrier, raw_name
from millpond.access.spec import Visible
from millpond.engines import Engine, EngineLimits, Session
from millpond.lake import Snapshot


@runtime_checkable
class SecureViews(Protocol):
    """A session whose engine lets no part of a query run on rows that a view hides, yet prunes files by it."""

    def secure_view(self, name: str, sql: str, /) -> None:
        """Bind a name to a SELECT whose hidden rows no predicate outside can reach, not even to fail on them."""
        ...


@dataclass(slots=True, kw_only=True)
class Warm:
    """A session and what is bound in it."""

    session: Session
    raw: dict[str, Snapshot] = field(default_factory=dict)
    views: dict[str, str] = field(default_factory=dict)
    """Dataset → digest of its view."""

    def fits(self, visible: Visible, decision: Decision) -> int:
        """Score how much of one dataset is bound already: 0, 1 (its rows) or 2 (its view too)."""
        name = visible.dataset.name
        bound = self.raw.get(name)
        if bound is None or not _same(bound, visible.snapshot):
            return 0
        return 2 if self.views.get(name) == decision.view_digest else 1

    def bind(self, visible: Visible, decision: Decision) -> None:
        """Make one dataset readable as decided; does nothing where it is."""
        name = visible.dataset.name
        score = self.fits(visible, decision)
        if score == 2:
            return
        self.views.pop(name, None)
        if score == 0:
            self.raw.pop(name, None)
            self.session.attach(raw_name(name), visible.snapshot)
            self.raw[name] = visible.snapshot
        if not decision.filters:
            self.session.view(name, decision.view)
        elif isinstance(self.session, SecureViews):
            self.session.secure_view(name, decision.view)
        else:
            self.session.view(name, behind_barrier(decision.view))
        self.views[name] = decision.view_digest


def _same(one: Snapshot, other: Snapshot) -> bool:
    if one is other:
        return True
    if (one.table, one.version, one.store, one.schema) != (other.table, other.version, other.store, other.schema):
        return False
    return [file.path for file in one.files] == [file.path for file in other.files]


class CannotBind(Exception):
    """What a principal may see of a dataset cannot be made."""


class SessionPool:
    """Sessions that wait for the next query; safe from any thread."""

    def __init__(self, engine: Engine, limits: EngineLimits | None, *, idle_max: int) -> None:
        """Open none yet; keep at most *idle_max* waiting."""
        self._engine = engine
        self._limits = limits
        self._idle_max = idle_max
        self._idle: list[Warm] = []
        self._lock = threading.Lock()
        self._proven: set[str] = set()

    def take(self, wanted: Sequence[tuple[Visible, Decision]]) -> Warm:
        """Give the waiting session in which most of what is *wanted* is bound, or a new one; binds the rest.

        Raises:
            CannotBind: the engine does not take a relation or a view; its words, which can hold data, are left out.
        """
        with self._lock:
            warm = max(self._idle, key=lambda w: sum(w.fits(*pair) for pair in wanted), default=None)
            if warm is not None:
                self._idle.remove(warm)
        if warm is None:
            warm = Warm(session=self._engine.session(self._limits))
        try:
            for visible, decision in wanted:
                warm.bind(visible, decision)
                self._prove(warm, decision)
        except Exception:  # noqa: BLE001 - the engine's words can hold policies, paths and values
            warm.session.close()
        else:
            return warm
        raise CannotBind

    def _prove(self, warm: Warm, decision: Decision) -> None:
        """Run a decision's expressions once where no data can make them fail."""
        if decision.view_digest not in self._proven:
            warm.session.row(decision.proof)
            self._proven.add(decision.view_digest)

    def give_back(self, warm: Warm, *, healthy: bool) -> None:
        """Let *warm* wait for the next query; one that was stopped or failed is closed."""
        with self._lock:
            keep = healthy and len(self._idle) < self._idle_max
            if keep:
                self._idle.append(warm)
        if not keep:
            warm.session.close()

    def close(self) -> None:
        """Close what waits."""
        with self._lock:
            idle, self._idle = self._idle, []
        for warm in idle:
            warm.session.close()
