from __future__ import annotations

import time
from dataclasses import replace

import polars as pl
import pyarrow as pa
import pytest

from lake.ponds import BY_NAME, SCHEMA, commit, delta, ids, read, rows, write_file
from millpond.kernel import Store, new_id, now_us
from millpond.lake import Commit, CommitConflict, Lake, SchemaNotEvolvable, Table, TableSchema, VersionGone, log


def test_a_table_is_nothing_until_its_first_commit(table: Table) -> None:
    """An absent table has version -1, no columns and no files; files alone do not make it one."""
    write_file(table.store, new_id("run"), ids([1]))
    snapshot = table.snapshot()
    assert (snapshot.version, snapshot.files, snapshot.schema.columns) == (-1, (), ())
    assert not table.exists()
    assert table.committed("run-x") is None
    with pytest.raises(VersionGone):
        table.snapshot(0)


def test_appended_and_replaced_files_are_what_every_reader_sees(table: Table) -> None:
    """Append, then replace: our file list, deltalake and polars agree at the newest and at every older version."""
    first = commit(table, [1, 2])
    second = commit(table, [3])
    third = commit(table, [10, 20], removes=first.commit.adds)
    assert [each.version for each in (first, second, third)] == [0, 1, 2]
    for version, wanted in enumerate([[1, 2], [1, 2, 3], [3, 10, 20]]):
        snapshot = table.snapshot(version)
        assert (snapshot.version, snapshot.rows, read(snapshot)) == (version, len(wanted), wanted)
        assert sorted(delta(table, version)["id"].to_pylist()) == wanted
    options = table.store.storage_options()
    assert sorted(pl.scan_delta(table.store.uri, storage_options=options).collect()["id"]) == [3, 10, 20]
    assert table.snapshot().bytes == sum(file.size for file in table.snapshot().files)


def test_an_empty_commit_makes_an_empty_table(table: Table) -> None:
    """A source without rows still gives a table that can be read."""
    assert commit(table, None).version == 0
    assert table.exists()
    assert table.snapshot().schema == SCHEMA
    assert delta(table).num_rows == 0


def test_a_run_commits_once_however_often_it_tries(table: Table) -> None:
    """Repeats, from a fresh handle and after other commits and a checkpoint, change nothing and say where it went."""
    first = commit(table, [1])
    again = Lake(Store(table.store.uri.removesuffix("/" + table.key), table.store.options)).table(table.key)
    assert again.commit(first.commit) == 0
    commit(table, [2])
    third = commit(table, [3])
    table.checkpoint()
    commit(table, [4])
    assert again.commit(first.commit) == 0
    assert again.commit(third.commit) == 2
    assert [again.committed(each.commit.run_id) for each in (first, third)] == [0, 2]
    assert again.committed("run-of-nobody") is None
    assert read(again.snapshot()) == [1, 2, 3, 4]


def test_work_on_an_old_version_is_refused(table: Table) -> None:
    """A commit computed from a version that is not the newest changes nothing and says what it found."""
    commit(table, [1])
    commit(table, [2])
    for base in (-1, 0, 5):
        with pytest.raises(CommitConflict) as conflict:
            commit(table, [3], base=base)
        assert (conflict.value.expected, conflict.value.found) == (base, 1)
        assert conflict.value.transient
    assert read(table.snapshot()) == [1, 2]


def test_columns_can_be_added(table: Table) -> None:
    """A new column is NULL in older files, for plain Delta readers too; schema and rows change in one version."""
    commit(table, [1])
    wider = TableSchema(columns=(*SCHEMA.columns, ("at", "TIMESTAMP")))
    run_id = new_id("run")
    data = pa.table({"id": [2], "name": ["x"], "at": pa.array([0], pa.timestamp("us"))})
    file = write_file(table.store, run_id, data)
    made = commit(table, None, run_id=run_id, adds=(file,), schema=wider)
    assert made.version == 1
    assert table.snapshot().schema == wider
    assert table.snapshot(0).schema == SCHEMA
    assert sorted(map(str, delta(table)["at"].to_pylist())) == ["1970-01-01 00:00:00", "None"]
    scan = pl.scan_delta(table.store.uri, storage_options=table.store.storage_options())
    assert scan.filter(pl.col("at").is_null()).collect()["id"].to_list() == [1]


@pytest.mark.parametrize(
    ("columns", "column"),
    [
        ((("id", "BIGINT"),), "name"),
        ((("id", "VARCHAR"), ("name", "VARCHAR")), "id"),
        ((("id", "INTEGER"), ("name", "VARCHAR")), "id"),
        ((("id", "BIGINT"), ("NAME", "VARCHAR")), "name"),
    ],
)
def test_columns_that_old_files_hold_cannot_change(
    local: Table, columns: tuple[tuple[str, str], ...], column: str
) -> None:
    """Dropping, renaming and retyping are refused while older files stay, and allowed when all are replaced."""
    first = commit(local, [1])
    other = TableSchema(columns=columns)
    with pytest.raises(SchemaNotEvolvable) as refused:
        commit(local, None, schema=other)
    assert refused.value.column == column
    assert local.snapshot().version == 0
    commit(local, None, schema=other, removes=first.commit.adds)
    assert local.snapshot().schema == other
    assert read(local.snapshot(0)) == [1]


def test_partitioning_cannot_change_under_old_files(local: Table) -> None:
    """Files of another partitioning would be read wrongly."""
    commit(local, [1])
    with pytest.raises(SchemaNotEvolvable, match="partitioning"):
        commit(local, None, schema=BY_NAME)


def test_small_integers_widen(local: Table) -> None:
    """A TINYINT may become an INTEGER: old and new files are read together by plain readers."""
    narrow = pa.table({"id": pa.array([1], pa.int8())})
    wide = pa.table({"id": pa.array([70_000], pa.int32())})
    for data, type_ in ((narrow, "TINYINT"), (wide, "INTEGER")):
        run_id = new_id("run")
        adds = (write_file(local.store, run_id, data),)
        commit(local, None, run_id=run_id, adds=adds, schema=TableSchema(columns=(("id", type_),)))
    assert sorted(delta(local)["id"].to_pylist()) == [1, 70_000]
    assert sorted(pl.scan_delta(local.store.uri).collect()["id"]) == [1, 70_000]


def test_restore_makes_a_new_version_equal_to_an_old_one(table: Table) -> None:
    """Files and columns are the old ones; what lies between stays readable; a repeat changes nothing."""
    first = commit(table, [1])
    commit(table, [2])
    commit(table, [3], removes=first.commit.adds, schema=TableSchema(columns=(*SCHEMA.columns, ("more", "DATE"))))
    run_id = new_id("run")
    assert table.restore(1, run_id=run_id) == 3
    assert table.restore(1, run_id=run_id) == 3
    assert table.snapshot() == replace(table.snapshot(1), version=3)
    assert rows(delta(table)) == rows(delta(table, 1))
    assert read(table.snapshot(2)) == [2, 3]
    with pytest.raises(VersionGone):
        table.restore(9, run_id=new_id("run"))


def test_a_time_names_the_version_that_was_newest_then(local: Table) -> None:
    """Times between commits find the earlier one, and every version has a time of its own."""
    with pytest.raises(VersionGone):
        local.version_at(now_us())
    before = now_us()
    for number in range(5):
        commit(local, [number])
    times = [info.at_us for info in local.history()][::-1]
    assert times == sorted({*times})
    for version, time_us in enumerate(times):
        assert local.version_at(time_us) == version
        assert local.version_at(time_us - 1) == version - 1 if version else True
    assert local.version_at(now_us() + 10**9) == 4
    with pytest.raises(VersionGone):
        local.version_at(before)


def test_a_clock_that_steps_back_never_unorders_versions(local: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit made by a clock an hour behind is still later than the one before."""
    commit(local, [1])
    behind = now_us() - 3_600_000_000
    monkeypatch.setattr("millpond.lake.table.now_us", lambda: behind)
    commit(local, [2])
    newest, oldest = local.history()
    assert newest.at_us == oldest.at_us + 1


def test_history_tells_what_each_version_did(table: Table) -> None:
    """Newest first: operation, run, rows, bytes, files and the commit's own notes."""
    first = commit(table, [1, 2], metadata={"token": "7", "source": "a.csv"})
    second = commit(table, [3], removes=first.commit.adds, operation="REPLACE")
    newest, oldest = table.history()
    assert (newest.version, newest.operation, newest.run_id) == (1, "REPLACE", second.commit.run_id)
    assert (newest.rows_added, newest.rows_removed, newest.files_added, newest.files_removed) == (1, 2, 1, 1)
    assert newest.bytes_removed == oldest.bytes_added == first.commit.adds[0].size
    assert oldest.metadata == {"token": "7", "source": "a.csv"}
    assert table.history(limit=1) == (newest,)


def test_old_versions_stay_right_behind_checkpoints(local: Table) -> None:
    """A hundred and ten commits checkpoint themselves twice; every version keeps its files, every run its version."""
    made = []
    for number in range(110):
        removes = made[-1].commit.adds if number % 3 == 2 else ()
        made.append(commit(local, [number], base=number - 1, removes=removes))
    names = {file.path for file in local.store.list("_delta_log")}
    assert {f"_delta_log/{version:020d}.checkpoint.parquet" for version in (50, 100)} <= names
    assert len(log.versions(local.store)) == 110
    live: set[str] = set()
    for version, each in enumerate(made):
        live = (live - {file.path for file in each.commit.removes}) | {file.path for file in each.commit.adds}
        if version % 7 == 0 or version > 105:
            assert {file.path for file in local.snapshot(version).files} == live
    assert [local.committed(each.commit.run_id) for each in made[::20]] == [*range(0, 110, 20)]
    assert (
        local.snapshot().files[0].stats
        == {file.path: file for each in made for file in each.commit.adds}[local.snapshot().files[0].path].stats
    )


def test_a_snapshot_is_kept_and_a_new_version_is_noticed(local: Table) -> None:
    """The same version is not read twice; a table deleted and made anew is not mistaken for the old one."""
    commit(local, [1])
    assert local.snapshot() is local.snapshot(0)
    commit(local, [2])
    assert read(local.snapshot()) == [1, 2]
    local.store.remove_all()
    assert local.snapshot().version == -1
    time.sleep(0.01)
    commit(local, [7])
    assert read(local.snapshot()) == read(local.snapshot(0)) == [7]


def test_compaction_groups_small_neighbours_of_one_partition(local: Table) -> None:
    """Small files go together up to the target; large ones and lone ones are left; rows stay, data is not changed."""
    run_id = new_id("run")
    adds = [
        write_file(local.store, run_id, ids([n]).drop_columns(["name"]), folder=f"name={name}/")
        for name in ("a", "b")
        for n in range(3)
    ]
    adds.append(write_file(local.store, run_id, ids([9]).drop_columns(["name"]), folder="name=c/"))
    commit(local, None, run_id=run_id, adds=tuple(adds), schema=BY_NAME)
    size = adds[0].size
    groups = local.compaction(file_bytes_target=size * 10)
    assert [[file.partition["name"] for file in group] for group in groups] == [["a"] * 3, ["b"] * 3]
    assert [len(group) for group in local.compaction(file_bytes_target=size * 2 + 1)] == [2, 2]
    assert local.compaction(file_bytes_target=size) == ()
    before = rows(delta(local))
    run_id = new_id("run")
    merged = write_file(local.store, run_id, ids(range(3)).drop_columns(["name"]), folder="name=a/")
    commit(local, None, run_id=run_id, adds=(merged,), removes=groups[0], schema=BY_NAME, operation="OPTIMIZE")
    assert rows(delta(local)) == before
    assert b'"dataChange":true' not in local.store.read(log.log_path(1))


def test_a_runs_note_comes_back_as_it_was(lake: Lake, table: Table) -> None:
    """What a run writes down before it commits is read back equal, and can be committed from the note alone."""
    run_id = new_id("run")
    file = write_file(table.store, run_id, ids([1, 2], "é"))
    wanted = Commit(
        table=table.key, schema=SCHEMA, adds=(file,), base_version=-1, run_id=run_id, metadata={"fence": "3"}
    )
    path = lake.write_manifest(run_id, [wanted], {"pointers": {"a": [1, None]}, "fence": 3})
    commits, extra = Lake(lake.store).read_manifest(path)
    assert commits == (wanted,)
    assert extra == {"pointers": {"a": [1, None]}, "fence": 3}
    assert lake.table(commits[0].table).commit(commits[0]) == 0
    assert lake.tables() == (table.key,)
    lake.drop_manifest(path)
    lake.drop_manifest(path)
    with pytest.raises(FileNotFoundError):
        lake.read_manifest(path)
