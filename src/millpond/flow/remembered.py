"""What was worked out from files before: contracts read, models bound, definitions found good, by digest of their text.

Safe to delete at any time. Never decides anything: an entry stands under the digest of all that it follows from, with
a digest of its own, and one that cannot be read counts as absent. Keeps true: with or without it the results are equal.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing, suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Final, TypeVar

from millpond.kernel import Json, digest

T = TypeVar("T")

ENTRIES_MAX: Final = 100_000
"""Beyond that the oldest are dropped when new ones are written: about 300 MB."""
_KEYS_AT_ONCE: Final = 500
_WAIT_S: Final = 2.0
"""How long a writer waits for another one; then it writes nothing."""
_PARTS: Final = ("kernel", "contracts", "catalog", "engines", "quality", "models")
"""The code that entries follow from."""
_LIBRARIES: Final = ("duckdb", "sqlglot")
_TABLE: Final = "CREATE TABLE IF NOT EXISTS kept (key TEXT PRIMARY KEY, digest TEXT, made_us INTEGER, body BLOB)"


class Remembered:
    """A file of entries, shared by any number of processes; without a path nothing is remembered."""

    def __init__(self, path: Path | None = None) -> None:
        """Use *path*, made when something is first written."""
        self._path = path

    def recall(self, keys: Iterable[str], read: Callable[[str, Mapping[str, Json]], T]) -> dict[str, T]:
        """Give what is known under *keys*, as *read* makes it of key and JSON; what it cannot take counts as unknown.

        About 20 µs per entry and what *read* takes.
        """
        found: dict[str, T] = {}
        for key, kept, body in self._rows(list(keys)):
            if isinstance(body, bytes) and kept == _seal(key, body):
                with suppress(KeyError, TypeError, ValueError):
                    found[key] = read(key, json.loads(body))
        return found

    def remember(self, entries: Mapping[str, Mapping[str, Json]]) -> None:
        """Write *entries*, all or none; nothing happens where the file cannot be written."""
        if self._path is None or not entries:
            return
        now = time.time_ns() // 1000
        texts = {key: json.dumps(body, separators=(",", ":")).encode() for key, body in entries.items()}
        rows = [(key, _seal(key, text), now, text) for key, text in texts.items()]
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._open()) as base:
                base.execute("BEGIN IMMEDIATE")
                base.execute(_TABLE)
                base.executemany("INSERT OR REPLACE INTO kept VALUES (?, ?, ?, ?)", rows)
                (count,) = base.execute("SELECT count(*) FROM kept").fetchone()
                if count > ENTRIES_MAX:
                    oldest = "DELETE FROM kept WHERE key IN (SELECT key FROM kept ORDER BY made_us LIMIT ?)"
                    base.execute(oldest, (count - ENTRIES_MAX // 2,))
                base.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            self._discard_broken(error)

    def _rows(self, keys: list[str]) -> list[tuple[str, object, object]]:
        rows: list[tuple[str, object, object]] = []
        if self._path is None or not keys or not self._path.exists():
            return rows
        try:
            with closing(self._open()) as base:
                for begin in range(0, len(keys), _KEYS_AT_ONCE):
                    asked = keys[begin : begin + _KEYS_AT_ONCE]
                    marks = ",".join("?" * len(asked))
                    rows.extend(base.execute(f"SELECT key, digest, body FROM kept WHERE key IN ({marks})", asked))
        except (sqlite3.Error, OSError) as error:
            self._discard_broken(error)
        return rows

    def _open(self) -> sqlite3.Connection:
        base = sqlite3.connect(str(self._path), timeout=_WAIT_S, isolation_level=None)
        base.execute("PRAGMA synchronous = OFF")  # a power cut may break the file: it is then made anew
        return base

    def _discard_broken(self, error: Exception) -> None:
        """Remove a file that is no database any more, so that the next write makes a good one."""
        broken = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
        if self._path is not None and broken:
            for path in (self._path, self._path.with_name(self._path.name + "-journal")):
                with suppress(OSError):
                    path.unlink(missing_ok=True)


def key_of(kind: str, *parts: Json) -> str:
    """Give the key of what follows from *parts* and from the code that works it out."""
    return digest(kind, _code(), *parts)


def text_digest(content: bytes) -> str:
    """Digest a file's bytes."""
    return hashlib.sha256(content).hexdigest()


def _seal(key: str, body: bytes) -> str:
    """Digest an entry with its key, so that neither can be taken for another."""
    return hashlib.sha256(key.encode() + body).hexdigest()


@cache
def _code() -> str:
    """Say which code is at work: other files, or other libraries, may come to other results."""
    import millpond

    root = Path(millpond.__file__).parent
    files = [
        [f"{part}/{path.name}", (status := path.stat()).st_size, status.st_mtime_ns]
        for part in _PARTS
        for path in sorted((root / part).glob("*.py"))
    ]
    return digest(files, [version(name) for name in _LIBRARIES], millpond.__version__)
