"""One table: its versions, and the only way to a new one.

Keeps true: a version is whole or absent; a run commits to a table at most once, however often it tries; of two
writers that started from one version, exactly one wins.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from millpond.kernel import MillpondError, StorageDenied, StorageUnreachable, Store, now_us, to_iso
from millpond.lake import log
from millpond.lake.cache import SnapshotCache
from millpond.lake.compaction import groups_worth_rewriting
from millpond.lake.errors import CommitConflict, LogDamaged, PartitionNotStorable, VersionGone
from millpond.lake.log import TableState, VersionInfo
from millpond.lake.schema import check_evolution, table_schema
from millpond.lake.spec import Commit, DataFile, Snapshot, TableSchema
from millpond.lake.stats import files_of
from millpond.lake.vacuum import Vacuumed, is_vacuumed, vacuum

if TYPE_CHECKING:
    from deltalake import DeltaTable

_CHECKPOINT_EVERY: Final = 50
_NO_COLUMNS: Final = TableSchema(columns=())
_cache: Final = SnapshotCache()


class Table:
    """A Delta table in one folder. Holds no state but its name: safe to share and cheap to make."""

    def __init__(self, key: str, store: Store) -> None:
        """Name the table; no I/O."""
        self.key = key
        """The folder below the lake's root."""
        self.store = store
        """The table's folder."""

    def __repr__(self) -> str:
        """Show the key."""
        return f"Table({self.key!r})"

    def exists(self) -> bool:
        """Tell whether it has a version."""
        return self._newest() >= 0

    def snapshot(self, version: int | None = None) -> Snapshot:
        """Give the table at a version, the newest by default; version -1 and no columns where there is no table.

        Reads the log from its last checkpoint on: about 40 ms for 2,000 files; a version read before is kept in memory.

        Raises:
            VersionGone: there is no such version, or its files are deleted.
        """
        if version is None:
            version = _cache.newest(self.store)
        if version is None:
            handle = self._open(None)
            return self._empty() if handle is None else self._read(handle)
        cached = _cache.get(self.store, version)
        if cached is not None:
            return cached
        handle = self._open(version)
        if handle is None:
            raise VersionGone(self.key, version, "there is no such version")
        if is_vacuumed(self.store, version):
            raise VersionGone(self.key, version, "its files were deleted by lake vacuum")
        return self._read(handle)

    def version_at(self, time_us: int) -> int:
        """Give the version that was newest at a time; reads the log files of a few versions.

        Raises:
            VersionGone: there was no table yet.
        """
        known = log.versions(self.store)
        low, high = 0, len(known)
        while low < high:
            middle = (low + high) // 2
            change = log.read_change(self.store, known[middle])
            if change is not None and change.info.at_us <= time_us:
                low = middle + 1
            else:
                high = middle
        if low == 0:
            raise VersionGone(self.key, f"at {to_iso(time_us)}", "the table's first version is later")
        return known[low - 1]

    def committed(self, run_id: str) -> int | None:
        """Give the version that holds a run's commit; None where it made none."""
        handle = self._open(None)
        return None if handle is None else handle.transaction_version(run_id)

    def commit(self, commit: Commit) -> int:
        """Make the table's next version, durable and whole; committing a run twice changes nothing.

        Creates the table where there is none. 5 to 40 ms, growing with the log until the next checkpoint.

        Returns:
            The version that holds this run's commit, now made or found.

        Raises:
            CommitConflict: another run committed since *base_version*. Transient; nothing was changed.
            SchemaNotEvolvable: the columns change in a way that files which stay do not allow.
            PartitionNotStorable: a file is for the empty text, which Delta takes for NULL.
        """
        return self._commit(commit, any_schema=False)

    def restore(self, version: int, *, run_id: str) -> int:
        """Make a new version that equals an old one, its columns included.

        Raises:
            VersionGone: the old version cannot be read.
            CommitConflict: another run committed meanwhile. Transient.
        """
        done = self.committed(run_id)
        if done is not None:
            return done
        now, then = self.snapshot(), self.snapshot(version)
        had, wanted = ({file.path for file in snapshot.files} for snapshot in (now, then))
        commit = Commit(
            table=self.key,
            schema=then.schema,
            adds=tuple(file for file in then.files if file.path not in had),
            removes=tuple(file for file in now.files if file.path not in wanted),
            base_version=now.version,
            run_id=run_id,
            operation="RESTORE",
            metadata={"version": str(version)},
        )
        return self._commit(commit, any_schema=True)

    def compaction(self, *, file_bytes_target: int) -> tuple[tuple[DataFile, ...], ...]:
        """Find the groups of small files that are worth being one file each: all of a group share a partition."""
        return groups_worth_rewriting(self.snapshot().files, file_bytes_target)

    def checkpoint(self) -> None:
        """Write the log's state as Parquet, so that reading starts there; commits do it by themselves now and then."""
        handle = self._open(None)
        if handle is not None:
            with self._errors():
                handle.create_checkpoint()

    def history(self, limit: int | None = None) -> tuple[VersionInfo, ...]:
        """Tell what the newest versions did, newest first; reads one log file for each."""
        known = log.versions(self.store)[::-1]
        found = (log.read_change(self.store, version) for version in known[:limit])
        return tuple(change.info for change in found if change is not None)

    def vacuum(
        self, *, keep: Collection[int], live_runs: Collection[str], newer_than_us: int, dry_run: bool
    ) -> Vacuumed:
        """Delete the files that no version in need refers to, and what dead runs left.

        Kept are the files of the versions in *keep*, of the newest version, of every version that could be read at a
        time after *newer_than_us*, and of runs in *live_runs* (or begun since this call). A file of unknown origin
        is kept for a day. Reads the whole log and lists the folder.

        Raises:
            LogDamaged: the log has gaps; nothing was deleted.
        """
        result = vacuum(
            self.key, self.store, keep=keep, live_runs=live_runs, newer_than_us=newer_than_us, dry_run=dry_run
        )
        if not dry_run:
            _cache.forget(self.store)
        return result

    def _empty(self) -> Snapshot:
        return Snapshot(table=self.key, version=-1, store=self.store, schema=_NO_COLUMNS, files=())

    def _newest(self) -> int:
        known = _cache.newest(self.store)
        if known is not None:
            return known
        handle = self._open(None)
        return -1 if handle is None else handle.version()

    def _read(self, handle: DeltaTable) -> Snapshot:
        with self._errors():
            schema = _schema_of(handle)
            actions = pa.table(handle.get_add_actions(flatten=False))
        files = files_of(actions, schema, log.real_path)
        snapshot = Snapshot(table=self.key, version=handle.version(), store=self.store, schema=schema, files=files)
        _cache.put(snapshot)
        return snapshot

    def _commit(self, commit: Commit, *, any_schema: bool) -> int:
        assert commit.table == self.key, (commit.table, self.key)
        # One handle for both questions: what it says of the run and of the version belongs together.
        handle = self._open(None)
        if handle is not None and (done := handle.transaction_version(commit.run_id)) is not None:
            return done
        for column in commit.schema.partition_by:
            if any(file.partition.get(column) == "" for file in commit.adds):
                raise PartitionNotStorable(self.key, column)
        found = -1 if handle is None else handle.version()
        if found != commit.base_version:
            raise CommitConflict(self.key, commit.base_version, found)
        state = None if handle is None else _state_of(handle)
        if handle is not None and state is not None and not any_schema and state.schema != commit.schema:
            self._check_evolution(handle, state.schema, commit)
        version = commit.base_version + 1
        text = log.commit_text(commit, state=state, at_us=self._time_after(found))
        if not self.store.write(log.log_path(version), text, if_absent=True):
            # Taken: by another writer, or by ourselves where the storage's answer to the first try was lost.
            done = self.committed(commit.run_id)
            if done is None:
                raise CommitConflict(self.key, commit.base_version, max(self._newest(), version))
            return done
        if version and version % _CHECKPOINT_EVERY == 0:
            # The commit stands; without a checkpoint the next reader is slower, no more.
            with contextlib.suppress(MillpondError):
                self.checkpoint()
        return version

    def _check_evolution(self, handle: DeltaTable, old: TableSchema, commit: Commit) -> None:
        gone = {file.path for file in commit.removes}
        with self._errors():
            paths = pa.table(handle.get_add_actions(flatten=False))["path"].to_pylist()
        if any(log.real_path(path) not in gone for path in paths):
            check_evolution(self.key, old, commit.schema)

    def _time_after(self, version: int) -> int:
        """Give a time later than *version*'s, so that a time names one version even where clocks step back."""
        before = log.read_change(self.store, version) if version >= 0 else None
        return max(now_us(), before.info.at_us + 1 if before else 0)

    def _open(self, version: int | None) -> DeltaTable | None:
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError, TableNotFoundError

        if version is not None and (version < 0 or not self._has(version)):
            return None
        with self._errors():
            try:
                return DeltaTable(self.store.uri, version=version, storage_options=self.store.storage_options())
            except TableNotFoundError:
                return None
            except DeltaError as error:
                if self.store.stat(log.log_path(0)) is None and not log.versions(self.store):
                    return None
                raise LogDamaged(self.key, str(error)) from error

    def _has(self, version: int) -> bool:
        return self.store.stat(log.log_path(version)) is not None

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        from deltalake.exceptions import DeltaError

        try:
            yield
        except PermissionError as error:
            raise StorageDenied(self.store.uri, error.strerror or "permission denied") from None
        except (OSError, DeltaError) as error:
            raise StorageUnreachable(self.store.uri, type(error).__name__) from error


def _schema_of(handle: DeltaTable) -> TableSchema:
    return table_schema(handle.schema().to_json(), tuple(handle.metadata().partition_columns))


def _state_of(handle: DeltaTable) -> TableState:
    metadata = handle.metadata()
    return TableState(
        schema=_schema_of(handle),
        id=str(metadata.id),
        created_ms=metadata.created_time,
        configuration=metadata.configuration,
        has_ntz="timestampNtz" in (handle.protocol().writer_features or ()),
    )
