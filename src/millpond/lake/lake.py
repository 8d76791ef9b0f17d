"""All tables under one folder, and the notes of runs that are about to commit several of them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from millpond.kernel import Json, Store
from millpond.lake.errors import LogDamaged
from millpond.lake.log import LOG
from millpond.lake.spec import ColumnStats, Commit, DataFile, TableSchema
from millpond.lake.table import Table

_RUNS: Final = "_runs"
_NOTE: Final = re.compile(rf"{_RUNS}/\.?([^./]+)\.json(?:\.[^/]*)?")
_TABLE_FOLDER: Final = re.compile(r"t-[0-9a-z]{4,}")
_FORMAT: Final = 1


class Lake:
    """The folder that holds an environment's tables. Holds no state: cheap to make, safe to share."""

    def __init__(self, store: Store) -> None:
        """Name the folder; no I/O."""
        self.store = store

    def table(self, key: str) -> Table:
        """Name a table; no I/O, whether it exists or not."""
        return Table(key, self.store.child(key))

    def tables(self) -> tuple[str, ...]:
        """Find the keys of all tables, in order, those included of which only files of dead runs are left.

        Lists every file of the lake.
        """
        keys: set[str] = set()
        for file in self.store.list():
            parts = file.path.split("/")
            if parts[0] == _RUNS:
                continue
            ends = (at if part == LOG else at + 1 for at, part in enumerate(parts[:-1]) if _ends_key(part))
            end = next(ends, 0)
            if end:
                keys.add("/".join(parts[:end]))
        return tuple(sorted(keys))

    def write_manifest(self, run_id: str, commits: Sequence[Commit], extra: Mapping[str, Json]) -> str:
        """Write down durably what a run is about to commit, so that whoever finds it dead can finish it.

        Returns:
            The note's path below the lake.
        """
        note = {"format": _FORMAT, "commits": [_plain(commit) for commit in commits], "extra": extra}
        path = f"{_RUNS}/{run_id}.json"
        self.store.write(path, json.dumps(note, ensure_ascii=False, separators=(",", ":")).encode())
        return path

    def read_manifest(self, path: str) -> tuple[tuple[Commit, ...], Mapping[str, Json]]:
        """Read what a run was about to commit.

        Raises:
            FileNotFoundError: there is no such note.
            LogDamaged: it cannot be understood.
        """
        text = self.store.read(path)
        try:
            note = json.loads(text)
            return tuple(_commit(each) for each in note["commits"]), note["extra"]
        except (ValueError, KeyError, TypeError) as error:
            raise LogDamaged(path, "the run's note cannot be read") from error

    def manifests(self) -> Mapping[str, str]:
        """Run → the path of its note, for all that are there, those included that were never finished."""
        found = (_NOTE.fullmatch(file.path) for file in self.store.list(_RUNS))
        return {match[1]: f"{_RUNS}/{match[1]}.json" for match in found if match is not None}

    def drop_manifest(self, path: str) -> None:
        """Remove a run's note; a missing one is fine."""
        name = path.rsplit("/", 1)[-1]
        unfinished = f"{_RUNS}/.{name}."
        left = [file.path for file in self.store.list(_RUNS) if file.path.startswith(unfinished)]
        self.store.delete([path, *left])


def _ends_key(part: str) -> bool:
    return part == LOG or _TABLE_FOLDER.fullmatch(part) is not None


def _plain(commit: Commit) -> dict[str, Any]:
    return {
        "table": commit.table,
        "columns": commit.schema.columns,
        "partition_by": commit.schema.partition_by,
        "adds": [_plain_file(file) for file in commit.adds],
        "removes": [_plain_file(file) for file in commit.removes],
        "base_version": commit.base_version,
        "run_id": commit.run_id,
        "operation": commit.operation,
        "metadata": dict(commit.metadata),
    }


def _plain_file(file: DataFile) -> dict[str, Any]:
    return {
        "path": file.path,
        "size": file.size,
        "rows": file.rows,
        "partition": dict(file.partition),
        "stats": {name: [each.min, each.max, each.nulls, each.exact] for name, each in file.stats.items()},
    }


def _commit(plain: Mapping[str, Any]) -> Commit:
    columns = tuple((name, type_) for name, type_ in plain["columns"])
    return Commit(
        table=plain["table"],
        schema=TableSchema(columns=columns, partition_by=tuple(plain["partition_by"])),
        adds=tuple(_file(file) for file in plain["adds"]),
        removes=tuple(_file(file) for file in plain["removes"]),
        base_version=plain["base_version"],
        run_id=plain["run_id"],
        operation=plain["operation"],
        metadata=plain["metadata"],
    )


def _file(plain: Mapping[str, Any]) -> DataFile:
    return DataFile(
        path=plain["path"],
        size=plain["size"],
        rows=plain["rows"],
        partition=plain["partition"],
        stats={name: ColumnStats(*each) for name, each in plain["stats"].items()},
    )
