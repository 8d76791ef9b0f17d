"""Files of an object store on local disk, for engines that read local files only.

Data files never change, so a file that is here and whole is good for ever: the key is the file's full name.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from millpond.kernel import Store
from millpond.lake import DataFile

_DOWNLOADS_AT_ONCE: Final = 8
_UNUSED_S_MIN: Final = 3600.0
"""A file used since then may be open in another process: it stays, whatever the limit."""


class FileCache:
    """A folder of downloaded files, shared by any number of processes."""

    def __init__(self, folder: Path, *, bytes_max: int | None = None) -> None:
        """Keep files below *folder*; trimmed towards *bytes_max* after downloads."""
        self._folder = folder
        self._bytes_max = bytes_max

    def fetch(self, store: Store, files: Sequence[DataFile]) -> list[str]:
        """Give a local path for each of *files*, downloading those that are missing, eight at once.

        Raises:
            StorageUnreachable: the store did not answer. Transient; what came stays.
            FileNotFoundError: a file is not in the store.
        """
        home = self._folder / hashlib.sha256(store.uri.encode()).hexdigest()[:24]
        paths = [home / file.path for file in files]
        missing = []
        for path, file in zip(paths, files, strict=True):
            try:
                whole = path.stat().st_size == file.size
            except FileNotFoundError:
                whole = False
            if whole:
                with contextlib.suppress(FileNotFoundError):
                    os.utime(path)
            else:
                missing.append((file.path, path))
        if missing:
            with ThreadPoolExecutor(min(_DOWNLOADS_AT_ONCE, len(missing))) as pool:
                list(pool.map(lambda pair: store.download(*pair), missing))
            self._trim()
        return [str(path) for path in paths]

    def _trim(self) -> None:
        """Remove what was not used for longest, while there is more than there may be."""
        if self._bytes_max is None:
            return
        held = [(status.st_mtime, status.st_size, path) for path, status in self._walk()]
        surplus = sum(size for _, size, _ in held) - self._bytes_max
        before = time.time() - _UNUSED_S_MIN
        for used, size, path in sorted(held):
            if surplus <= 0 or used > before:
                return
            path.unlink(missing_ok=True)
            surplus -= size

    def _walk(self) -> list[tuple[Path, os.stat_result]]:
        found = []
        for folder, _, names in os.walk(self._folder):
            for name in names:
                path = Path(folder, name)
                with contextlib.suppress(FileNotFoundError):
                    found.append((path, path.stat()))
        return found
