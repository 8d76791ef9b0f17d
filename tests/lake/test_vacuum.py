from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.ponds import SCHEMA, commit, delta, ids, read, write_file
from millpond.kernel import Store, new_id, now_us
from millpond.lake import Commit, DataFile, Lake, LogDamaged, Table, VersionGone, log

DAYS_AGO_US = 2 * 24 * 3600 * 1_000_000


@dataclass
class Pond:
    """A table with a history, and what a simple model says of it."""

    table: Table
    versions: list[set[str]] = field(default_factory=list)
    ever: set[str] = field(default_factory=set)
    dead: set[str] = field(default_factory=set)
    """Files that must go."""
    safe: set[str] = field(default_factory=set)
    """Files that must stay though no version has them."""
    live_runs: set[str] = field(default_factory=set)

    def put(self, name: str, *, old: bool = False) -> str:
        """Write a file, of now or of two days ago."""
        self.table.store.write(name, b"x")
        if old:
            then = (now_us() - DAYS_AGO_US) / 1e6
            os.utime(Path(self.table.store.uri) / name, (then, then))
        return name

    def commit(self, adds: int, removed: int) -> None:
        """Commit new files, and remove those whose bit is set in *removed*."""
        run_id = new_id("run")
        now = self.versions[-1] if self.versions else set()
        names = [self.put(f"p={n % 2}%20x/part-{run_id}-{n}.parquet") for n in range(adds)]
        gone = [path for n, path in enumerate(sorted(now)) if removed >> n & 1]
        made = Commit(
            table=self.table.key,
            schema=SCHEMA,
            adds=tuple(DataFile(path=name, size=1, rows=1) for name in names),
            removes=tuple(DataFile(path=name, size=1, rows=1) for name in gone),
            base_version=len(self.versions) - 1,
            run_id=run_id,
        )
        assert self.table.commit(made) == len(self.versions)
        self.versions.append((now - {*gone}) | {*names})
        self.ever |= {*names}

    def orphan(self, kind: str) -> None:
        """Leave a file that no commit names."""
        run_id = new_id("run")
        match kind:
            case "dead":
                self.dead.add(self.put(f"p=1/part-{run_id}-0.parquet"))
            case "dead, unfinished":
                self.dead.add(self.put(f"tmp_part-{run_id}-0.parquet"))
            case "dead, uploading":
                self.dead.add(self.put(f".part-{run_id}-0.parquet.0a1b2c3d.tmp"))
            case "live":
                self.live_runs.add(run_id)
                self.safe.add(self.put(f"p=1/part-{run_id}-0.parquet"))
            case "unknown, young":
                self.safe.add(self.put(f"other-{run_id[4:]}.parquet"))
            case "unknown, old":
                self.dead.add(self.put(f"_p=1/other-{run_id[4:]}.parquet", old=True))
            case "hidden":
                self.safe.add(self.put(f"_index/part-{run_id}.parquet", old=True))
                self.safe.add(self.put(f".part-{run_id}.crc", old=True))

    def files(self) -> set[str]:
        """List what lies in the folder beside the log."""
        return {file.path for file in self.table.store.list() if not file.path.startswith("_delta_log/")}


KINDS = ["dead", "dead, unfinished", "dead, uploading", "live", "unknown, young", "unknown, old", "hidden"]
steps = st.lists(
    st.one_of(
        st.tuples(st.just("commit"), st.integers(0, 3), st.integers(0, 63)),
        st.tuples(st.just("orphan"), st.sampled_from(KINDS)),
    ),
    max_size=12,
)


@settings(max_examples=40, deadline=None)
@given(steps=steps, keep=st.sets(st.integers(-1, 12), max_size=3), window=st.integers(0, 12))
def test_what_is_needed_stays_and_all_else_goes(steps: list[tuple[object, ...]], keep: set[int], window: int) -> None:
    """Whatever the history: files of pinned versions, of the window and of live runs stay, every other one goes."""
    with tempfile.TemporaryDirectory() as folder:
        pond = Pond(Lake(Store(folder)).table("a/b/t-00000000"))
        for what, *details in steps:
            getattr(pond, str(what))(*details)
        time.sleep(0.002)
        times = [info.at_us for info in pond.table.history()][::-1]
        newer_than_us = times[window] if window < len(times) else now_us()
        kept = {version for version in range(len(times)) if version in keep or version >= len(times) - 1}
        # A version can be read at times up to its successor's.
        kept |= {version for version, end in enumerate(times[1:]) if end > newer_than_us}
        wanted = pond.safe.union(*(pond.versions[version] for version in kept))
        doomed = pond.files() - wanted
        assert pond.dead | pond.safe | pond.ever == pond.files()

        how = {"keep": keep, "live_runs": pond.live_runs, "newer_than_us": newer_than_us}
        planned = pond.table.vacuum(**how, dry_run=True)
        assert pond.files() == wanted | doomed
        done = pond.table.vacuum(**how, dry_run=False)
        assert planned == done
        assert {*done.paths} == doomed
        assert (done.files, done.bytes) == (len(doomed), len(doomed))
        assert pond.files() == wanted
        assert pond.table.vacuum(**how, dry_run=False).files == 0

        for version, files in enumerate(pond.versions):
            if files <= wanted:
                assert {file.path for file in pond.table.snapshot(version).files} == files
            else:
                with pytest.raises(VersionGone, match="vacuum"):
                    pond.table.snapshot(version)
        if pond.versions:
            assert len(DeltaTable(pond.table.store.uri).file_uris()) == len(pond.versions[-1])
            pond.commit(1, 0)


def test_vacuum_works_in_a_bucket_too(table: Table) -> None:
    """Old files and orphans go, the newest version and a pinned one are read as before."""
    first = commit(table, [1])
    commit(table, [2])
    commit(table, [3], removes=table.snapshot().files)
    orphan = write_file(table.store, new_id("run"), ids([9]))
    live = new_id("run")
    mine = write_file(table.store, live, ids([10]))
    time.sleep(1.1)  # object stores tell times in seconds
    done = table.vacuum(keep=[0], live_runs=[live], newer_than_us=now_us(), dry_run=False)
    assert done.files == 2
    assert orphan.path in done.paths
    assert read(table.snapshot(0)) == [1]
    assert read(table.snapshot()) == [3] == delta(table)["id"].to_pylist()
    assert table.store.stat(mine.path) is not None
    assert table.store.stat(first.commit.adds[0].path) is not None
    with pytest.raises(VersionGone):
        table.restore(1, run_id=new_id("run"))


def test_orphans_of_a_table_that_never_was_are_found_and_go(lake: Lake) -> None:
    """A first run that died leaves files but no log: the lake finds the folder and vacuum empties it."""
    table = lake.table("p/d/t-9z9z9z9z")
    write_file(table.store, new_id("run"), ids([1]), folder="name=a%20b/")
    assert lake.tables() == (table.key,)
    time.sleep(1.1 if not lake.store.is_local else 0.002)
    assert table.vacuum(keep=(), live_runs=(), newer_than_us=0, dry_run=False).files == 1
    assert lake.tables() == ()


def test_a_log_with_gaps_is_not_vacuumed(local: Table) -> None:
    """Where the log does not say what is needed, nothing goes."""
    for number in range(4):
        commit(local, [number], removes=local.snapshot().files)
    local.store.delete([log.log_path(1)])
    with pytest.raises(LogDamaged):
        local.vacuum(keep=(), live_runs=(), newer_than_us=0, dry_run=False)
    assert sum(file.path.startswith("part-") for file in local.store.list()) == 4


def test_a_log_cleaned_by_another_tool_still_tells_what_is_needed(local: Table) -> None:
    """Versions before the first checkpoint are gone; the files that later ones share with them are still known."""
    first = commit(local, [0])
    for number in range(1, 4):
        commit(local, [number])
    DeltaTable(local.store.uri).create_checkpoint()
    commit(local, [4], removes=first.commit.adds)
    local.store.delete([log.log_path(version) for version in range(3)])
    result = local.vacuum(keep=(), live_runs=(), newer_than_us=now_us(), dry_run=False)
    assert result.paths == (first.commit.adds[0].path,)
    assert read(local.snapshot()) == [1, 2, 3, 4] == sorted(delta(local)["id"].to_pylist())
    with pytest.raises(VersionGone):
        local.snapshot(1)
    with pytest.raises(VersionGone):
        local.snapshot(3)


def test_what_a_kill_left_in_the_log_goes(local: Table) -> None:
    """Half-written log files are no part of the log: those of a version that is taken go at once, others in a day."""
    commit(local, [1])
    local.store.write("_delta_log/.00000000000000000000.json.00000000.tmp", b"half")
    log_folder = Path(local.store.uri) / "_delta_log"
    names = [".00000000000000000001.json.0a1b2c3d.tmp", "00000000000000000000.checkpoint.parquet#1"]
    for name in names:
        (log_folder / name).write_bytes(b"half")
    how = {"keep": (), "live_runs": (), "newer_than_us": 0, "dry_run": False}
    assert local.vacuum(**how).paths == ("_delta_log/.00000000000000000000.json.00000000.tmp",)
    assert local.vacuum(**how).files == 0
    for name in names:
        os.utime(log_folder / name, (1e9, 1e9))
    assert local.vacuum(**how).files == 2
    assert read(local.snapshot()) == [1]
