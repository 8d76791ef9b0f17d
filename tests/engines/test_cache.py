"""Tables in an object store: read through a local cache, written by upload."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from engines.tables import snapshot
from millpond.engines import DuckDBEngine, EngineLimits, QueryFailed
from millpond.engines.cache import FileCache
from millpond.kernel import Store
from millpond.lake import DataFile

COLUMNS = (("n", "BIGINT"), ("p", "VARCHAR"))


@pytest.mark.s3
def test_a_table_in_an_object_store_is_written_and_read(s3_store: Store, tmp_path: Path) -> None:
    """What is written by upload reads back, and a second session finds the files in the cache."""
    limits = EngineLimits(cache_dir=str(tmp_path))
    sql = "SELECT range AS n, ['a b', 'é', NULL][(range % 3 + 1)::INTEGER] AS p FROM range(999)"
    with DuckDBEngine().session(limits) as session:
        written = session.write(sql, s3_store, prefix="run", partition_by=["p"])
        assert {file.path: file.size for file in s3_store.list()} == {file.path: file.size for file in written.files}
        table = snapshot(s3_store, COLUMNS, written, ["p"])
        session.attach("shop.orders", table)
        session.view("shop.big", "SELECT n, p FROM shop.orders WHERE n >= 900")
        assert session.describe("FROM shop.big") == COLUMNS
        assert list(tmp_path.rglob("*.parquet")) == []
        assert session.row("SELECT count(*), count(p) FROM shop.big") == (99, 66)
    s3_store.delete(file.path for file in written.files)
    with DuckDBEngine().session(limits) as session:
        session.attach("again", table)
        assert session.row('SELECT sum(n)::BIGINT FROM "AGAIN"') == (998 * 999 // 2,)


@pytest.mark.s3
def test_a_failed_write_leaves_nothing_in_the_object_store(s3_store: Store) -> None:
    """An error after rows were made uploads nothing."""
    with DuckDBEngine().session() as session, pytest.raises(QueryFailed):
        session.write("SELECT (1 / (range != 5000)::INTEGER)::INTEGER AS n FROM range(9999)", s3_store, prefix="run")
    assert list(s3_store.list()) == []


def _put(store: Store, names: list[str], content: bytes) -> list[DataFile]:
    for name in names:
        store.write(name, content)
    return [DataFile(path=name, size=len(content), rows=1) for name in names]


def test_a_cached_file_is_fetched_once_and_again_when_broken(store: Store, tmp_path: Path) -> None:
    """A file that is here whole is not fetched; one of another size is."""
    cache = FileCache(tmp_path / "cache")
    files = _put(store, ["p=1/a", "b"], b"12345")
    paths = cache.fetch(store, files)
    store.delete(["p=1/a", "b"])
    assert cache.fetch(store, files) == paths
    Path(paths[1]).write_bytes(b"12")
    with pytest.raises(FileNotFoundError):
        cache.fetch(store, files)
    store.write("b", b"12345")
    assert Path(cache.fetch(store, files)[1]).read_bytes() == b"12345"


def test_the_cache_lets_go_of_what_nobody_used(store: Store, tmp_path: Path) -> None:
    """Above its limit the cache removes the longest unused files, and none used within the hour."""
    cache = FileCache(tmp_path / "cache", bytes_max=25)
    files = _put(store, ["a", "b", "c", "d"], b"0123456789")
    old, older = (Path(path) for path in cache.fetch(store, files[:2]))
    os.utime(old, (time.time() - 7200,) * 2)
    os.utime(older, (time.time() - 9000,) * 2)
    cache.fetch(store, files[2:3])
    assert (old.exists(), older.exists()) == (True, False)
    paths = cache.fetch(store, files)
    assert all(Path(path).exists() for path in paths)
