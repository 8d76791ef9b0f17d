"""Which files may go: those that no version in need refers to, and those that dead runs left.

Keeps true: whatever is in doubt stays. The log is read after the folder is listed, so a file committed meanwhile is
seen as committed; versions that lose a file are written down before the file goes, so they are refused, not half read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import pyarrow as pa

from millpond.kernel import Store, StoredFile, now_us
from millpond.lake import log
from millpond.lake.errors import LogDamaged
from millpond.lake.log import Change

_RUN: Final = re.compile(r"run-[0-9a-z]{20}")
_STAGED: Final = re.compile(r"(?:\.tmp|#\d+)$")
_STAGED_VERSION: Final = re.compile(rf"{log.LOG}/\.(\d{{20}})\.json\.[0-9a-f]+\.tmp")
_UNKNOWN_KEPT_US: Final = 24 * 3600 * 1_000_000
_GONE: Final = f"{log.LOG}/_vacuumed.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vacuumed:
    """What a vacuum deleted, or would."""

    files: int
    bytes: int
    paths: tuple[str, ...]
    """Relative to the table's folder."""


def is_vacuumed(store: Store, version: int) -> bool:
    """Tell whether some of a version's files were deleted."""
    return any(first <= version <= last for first, last in _ranges(store))


def vacuum(
    table: str,
    store: Store,
    *,
    keep: Collection[int],
    live_runs: Collection[str],
    newer_than_us: int,
    dry_run: bool,
) -> Vacuumed:
    """Do what ``Table.vacuum`` says."""
    started_us = now_us()
    listed = [*store.list()]
    history = _history(table, store)
    needed, ever = _needed(history, keep, newer_than_us)
    newest = history[-1].info.version if history else -1
    young_us = started_us - _UNKNOWN_KEPT_US

    def goes(file: StoredFile) -> bool:
        if file.path.startswith(f"{log.LOG}/"):
            return _is_staged(file, newest, young_us)
        if file.path in needed or log.real_path(file.path) in needed or _hidden(file.path):
            return False
        run = _RUN.search(file.path.rsplit("/", 1)[-1])
        if run is not None:  # what appeared since the call is of a run that the caller could not know
            return run[0] not in live_runs and file.modified_us < started_us
        return file.path in ever or file.modified_us < young_us

    doomed = [file for file in listed if goes(file)]
    result = Vacuumed(
        files=len(doomed), bytes=sum(file.size for file in doomed), paths=tuple(file.path for file in doomed)
    )
    if doomed and not dry_run:
        _write_down(store, history, {*result.paths})
        store.delete(result.paths)
    return result


def _is_staged(file: StoredFile, newest: int, young_us: int) -> bool:
    """Tell whether a file in the log's folder was never finished: its version is taken, or it is a day old."""
    version = _STAGED_VERSION.fullmatch(file.path)
    taken = version is not None and int(version[1]) <= newest
    return taken or (_STAGED.search(file.path) is not None and file.modified_us < young_us)


def _hidden(path: str) -> bool:
    """Tell whether Delta's rules say that a file is none of the table's; our own unfinished uploads are not hidden."""
    *folders, name = path.split("/")
    if name.startswith(".") and name.endswith(".tmp"):
        name = ""
    return any(part.startswith(("_", ".")) and "=" not in part for part in folders) or name.startswith(("_", "."))


def _history(table: str, store: Store) -> list[Change]:
    """Read every commit; the first may stand for all before it where another tool cleaned the log."""
    known = log.versions(store)
    if not known:
        return []
    if known != [*range(known[0], known[-1] + 1)]:
        raise LogDamaged(table, f"some of its versions {known[0]} to {known[-1]} are missing")
    history = [*log.changes(store, known[0], known[-1])]
    if len(history) != len(known):
        raise LogDamaged(table, "its versions went away while they were read")
    if known[0] > 0:
        history[0] = _as_first(table, store, history[0])
    return history


def _as_first(table: str, store: Store, change: Change) -> Change:
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    try:
        handle = DeltaTable(store.uri, version=change.info.version, storage_options=store.storage_options())
        paths = pa.table(handle.get_add_actions(flatten=False))["path"].to_pylist()
    except (DeltaError, OSError) as error:
        raise LogDamaged(table, f"version {change.info.version}, its first, cannot be read") from error
    return Change(change.info, frozenset(map(log.real_path, paths)), change.removes)


def _needed(history: list[Change], keep: Collection[int], newer_than_us: int) -> tuple[set[str], set[str]]:
    """Give the files that must stay, and all that the log ever named."""
    needed: set[str] = set()
    ever: set[str] = set()
    live: set[str] = set()
    last = history[-1].info.version if history else -1
    ends = [*(change.info.at_us for change in history[1:]), None]
    for change, end in zip(history, ends, strict=False):
        live = (live - change.removes) | change.adds
        ever |= change.adds | change.removes
        version = change.info.version
        if version == last or version in keep or (end is not None and end > newer_than_us):
            needed |= live
    return needed, ever


def _write_down(store: Store, history: list[Change], doomed: set[str]) -> None:
    """Add the versions that lose a file to those that are refused."""
    gone = {version for first, last in _ranges(store) for version in range(first, last + 1)}
    before = len(gone)
    live: set[str] = set()
    for change in history:
        live = (live - change.removes) | change.adds
        if not live.isdisjoint(doomed):
            gone.add(change.info.version)
    if len(gone) > before:
        runs = groupby(enumerate(sorted(gone)), key=lambda pair: pair[1] - pair[0])
        ranges = [[version for _, version in run] for _, run in runs]
        text = json.dumps({"versions": [[each[0], each[-1]] for each in ranges]})
        store.write(_GONE, text.encode())


def _ranges(store: Store) -> Iterator[tuple[int, int]]:
    try:
        text = store.read(_GONE)
    except FileNotFoundError:
        return
    yield from json.loads(text)["versions"]
