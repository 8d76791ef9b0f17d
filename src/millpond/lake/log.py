"""The Delta log's files: what one commit looks like, and what past commits did.

A commit is one JSON file named after its version. It is written whole, on condition that nobody wrote that version
before; so data, schema, application transaction and protocol change together or not at all, and two writers of one
version can never both win.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, unquote

from millpond.kernel import Store
from millpond.lake.schema import delta_schema, delta_type, needs_ntz
from millpond.lake.spec import Commit, DataFile, TableSchema
from millpond.lake.stats import stats_json, utc_text

LOG: Final = "_delta_log"
_CONFIGURATION: Final = {
    "delta.enableExpiredLogCleanup": "false",  # pointers of environments decide what goes, not age
    "delta.logRetentionDuration": "interval 3650 days",
    "delta.checkpointInterval": "50",
}
_NTZ_PROTOCOL: Final = {
    "minReaderVersion": 3,
    "minWriterVersion": 7,
    "readerFeatures": ["timestampNtz"],
    "writerFeatures": ["appendOnly", "invariants", "timestampNtz"],
}
_PLAIN_PROTOCOL: Final = {"minReaderVersion": 1, "minWriterVersion": 2}
_LOG_NAME: Final = re.compile(rf"{LOG}/(\d{{20}})\.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionInfo:
    """What one commit did to a table."""

    version: int
    at_us: int
    """When it was committed; strictly later than the version before."""
    operation: str
    run_id: str | None
    """None for a commit of another writer."""
    rows_added: int = 0
    rows_removed: int = 0
    """Where it is known: other writers may not say."""
    bytes_added: int = 0
    bytes_removed: int = 0
    files_added: int = 0
    files_removed: int = 0
    metadata: Mapping[str, str] = field(default_factory=dict, hash=False)
    """The commit's metadata."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableState:
    """What a new commit needs to know of the table as it is."""

    schema: TableSchema
    id: str
    created_ms: int
    configuration: Mapping[str, str]
    has_ntz: bool
    """Timestamps without time zone are among the table's features."""


@dataclass(frozen=True, slots=True)
class Change:
    """What one version added and removed; paths as on the storage."""

    info: VersionInfo
    adds: frozenset[str]
    removes: frozenset[str]


def log_path(version: int) -> str:
    """Give the path of a version's file below the table's folder."""
    return f"{LOG}/{version:020d}.json"


def versions(store: Store) -> list[int]:
    """List the versions whose files are there, in order; one listing."""
    found = (_LOG_NAME.fullmatch(file.path) for file in store.list(LOG))
    return sorted(int(match[1]) for match in found if match)


def real_path(log_path_text: str) -> str:
    """Give the path on the storage of a path in the log."""
    return unquote(log_path_text)


def commit_text(commit: Commit, *, state: TableState | None, at_us: int) -> bytes:
    """Write a commit as the log's lines; *state* is None for a new table."""
    version = commit.base_version + 1
    at_ms = at_us // 1000
    data_change = commit.operation != "OPTIMIZE"
    lines: list[dict[str, Any]] = [_commit_info(commit, at_us)]
    schema = delta_schema(commit.schema)
    if state is None or (needs_ntz(schema) and not state.has_ntz):
        lines.append({"protocol": _NTZ_PROTOCOL if needs_ntz(schema) else _PLAIN_PROTOCOL})
    if state is None or state.schema != commit.schema:
        lines.append(_metadata(commit.schema, schema, state, at_ms))
    # The transaction's number is the version itself, so that a repeat can say where the first time went.
    lines.append({"txn": {"appId": commit.run_id, "version": version, "lastUpdated": at_ms}})
    lines += [_remove(file, commit.schema, at_ms, data_change=data_change) for file in commit.removes]
    lines += [_add(file, commit.schema, at_ms, data_change=data_change) for file in commit.adds]
    return "".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines).encode()


def _commit_info(commit: Commit, at_us: int) -> dict[str, Any]:
    counts = {
        "rowsAdded": sum(file.rows for file in commit.adds),
        "rowsRemoved": sum(file.rows for file in commit.removes),
        "bytesAdded": sum(file.size for file in commit.adds),
        "bytesRemoved": sum(file.size for file in commit.removes),
    }
    return {
        "commitInfo": {
            "timestamp": at_us // 1000,
            "operation": commit.operation,
            "operationParameters": {},
            "isBlindAppend": not commit.removes,
            "engineInfo": "millpond",
            "millpond": {"atUs": at_us, "runId": commit.run_id, **counts, "metadata": dict(commit.metadata)},
        }
    }


def _metadata(schema: TableSchema, text: str, state: TableState | None, at_ms: int) -> dict[str, Any]:
    return {
        "metaData": {
            "id": state.id if state else str(uuid.uuid4()),
            "format": {"provider": "parquet", "options": {}},
            "schemaString": text,
            "partitionColumns": list(schema.partition_by),
            "createdTime": state.created_ms if state else at_ms,
            "configuration": dict(state.configuration) if state else _CONFIGURATION,
        }
    }


def _add(file: DataFile, schema: TableSchema, at_ms: int, *, data_change: bool) -> dict[str, Any]:
    return {
        "add": {
            "path": quote(file.path, safe="/="),
            "partitionValues": _partition(file, schema),
            "size": file.size,
            "modificationTime": at_ms,
            "dataChange": data_change,
            "stats": stats_json(file, schema),
        }
    }


def _remove(file: DataFile, schema: TableSchema, at_ms: int, *, data_change: bool) -> dict[str, Any]:
    return {
        "remove": {
            "path": quote(file.path, safe="/="),
            "deletionTimestamp": at_ms,
            "dataChange": data_change,
            "extendedFileMetadata": True,
            "partitionValues": _partition(file, schema),
            "size": file.size,
        }
    }


def _partition(file: DataFile, schema: TableSchema) -> dict[str, str | None]:
    types = dict(schema.columns)
    names = [*schema.partition_by, *(name for name in file.partition if name not in schema.partition_by)]
    values = {name: file.partition.get(name) for name in names}
    return {
        name: utc_text(value) if value is not None and delta_type(types.get(name, "VARCHAR")) == "timestamp" else value
        for name, value in values.items()
    }


def read_change(store: Store, version: int) -> Change | None:
    """Read one commit's file; None where it is not there. Reads the whole file."""
    try:
        text = store.read(log_path(version))
    except FileNotFoundError:
        return None
    info: Mapping[str, Any] = {}
    adds: list[Mapping[str, Any]] = []
    removes: list[Mapping[str, Any]] = []
    for action in map(json.loads, text.splitlines()):
        if "add" in action:
            adds.append(action["add"])
        elif "remove" in action:
            removes.append(action["remove"])
        elif "commitInfo" in action:
            info = action["commitInfo"]
    ours: Mapping[str, Any] = info.get("millpond") or {}
    described = VersionInfo(
        version=version,
        at_us=ours.get("atUs") or int(info.get("timestamp", 0)) * 1000,
        operation=str(info.get("operation", "WRITE")),
        run_id=ours.get("runId"),
        rows_added=ours.get("rowsAdded", 0),
        rows_removed=ours.get("rowsRemoved", 0),
        bytes_added=sum(add["size"] for add in adds),
        bytes_removed=sum(remove.get("size") or 0 for remove in removes),
        files_added=len(adds),
        files_removed=len(removes),
        metadata=ours.get("metadata") or {},
    )
    return Change(described, _names(adds), _names(removes))


def _names(actions: list[Mapping[str, Any]]) -> frozenset[str]:
    return frozenset(real_path(action["path"]) for action in actions)


def changes(store: Store, first: int, last: int) -> Iterator[Change]:
    """Read the commits from *first* to *last*, both included; ends early at one that is not there."""
    for version in range(first, last + 1):
        change = read_change(store, version)
        if change is None:
            return
        yield change
