"""Snapshots already read in this process: a version of a table never changes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import replace
from typing import Final

from millpond.kernel import Store, StoredFile
from millpond.lake.log import log_path
from millpond.lake.spec import Snapshot

_CELLS_MAX: Final = 1_000_000
"""Statistics held in total, about 200 bytes each."""
_STEPS_MAX: Final = 8
"""Beyond that, opening the table is faster."""


class SnapshotCache:
    """The snapshots last used, bounded by the statistics they hold.

    A hit costs one look at the version's log file, which tells a table from another of the same name made anew.
    """

    def __init__(self, cells_max: int = _CELLS_MAX) -> None:
        """Hold at most *cells_max* statistics."""
        self._cells_max = cells_max
        self._cells = 0
        self._lock = threading.Lock()
        self._entries: OrderedDict[tuple[str, int], tuple[StoredFile, Snapshot]] = OrderedDict()
        self._newest: dict[str, int] = {}

    def get(self, store: Store, version: int) -> Snapshot | None:
        """Give a snapshot that is still what it was."""
        with self._lock:
            entry = self._entries.get((store.uri, version))
        if entry is None:
            return None
        stamp, snapshot = entry
        if store.stat(log_path(version)) != stamp:
            self.forget(store)
            return None
        with self._lock:
            if (store.uri, version) in self._entries:
                self._entries.move_to_end((store.uri, version))
        return snapshot if snapshot.store == store else replace(snapshot, store=store)

    def newest(self, store: Store) -> int | None:
        """Give the newest version, walking on from the newest one known; None where none is known, or it is far."""
        with self._lock:
            version = self._newest.get(store.uri)
        if version is None or self.get(store, version) is None:
            return None
        for step in range(_STEPS_MAX):
            if store.stat(log_path(version + step + 1)) is None:
                return version + step
        return None

    def put(self, snapshot: Snapshot) -> None:
        """Keep a snapshot, and let go of those not used for longest."""
        store, version = snapshot.store, snapshot.version
        stamp = store.stat(log_path(version))
        if stamp is None:
            return
        with self._lock:
            self._drop((store.uri, version))
            self._entries[store.uri, version] = (stamp, snapshot)
            self._cells += _cells(snapshot)
            self._newest[store.uri] = max(version, self._newest.get(store.uri, version))
            while self._cells > self._cells_max and self._entries:
                self._drop(next(iter(self._entries)))

    def forget(self, store: Store) -> None:
        """Let go of all that is known of a table."""
        with self._lock:
            self._newest.pop(store.uri, None)
            for key in [key for key in self._entries if key[0] == store.uri]:
                self._drop(key)

    def _drop(self, key: tuple[str, int]) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._cells -= _cells(entry[1])


def _cells(snapshot: Snapshot) -> int:
    return 1 + len(snapshot.files) * (1 + len(snapshot.schema.columns))
