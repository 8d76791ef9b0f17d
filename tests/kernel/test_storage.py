from __future__ import annotations

import os
import subprocess
import sys
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from millpond.kernel import MiB, Secret, StorageDenied, StorageUnreachable, Store

NASTY = ["p=a%20b/x.parquet", "p=a b/é=%25 +&?#.bin", "plain", "d/" * 8 + "deep", "p=__HIVE_DEFAULT_PARTITION__/f"]


@pytest.fixture(params=["disk", pytest.param("s3", marks=pytest.mark.s3)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """Give an empty folder, on disk and in a bucket."""
    if request.param == "disk":
        return Store(str(tmp_path / "root"))
    return request.getfixturevalue("s3_store")


def test_what_is_written_is_listed_seen_and_read_under_the_very_name(store: Store) -> None:
    """Names with spaces, percent signs and unicode come back as they went in, on disk and in a bucket alike."""
    for path in NASTY:
        assert store.write(path, path.encode())
    assert {file.path for file in store.list()} == {*NASTY}
    for path in NASTY:
        seen = store.stat(path)
        assert seen is not None
        assert (seen.path, seen.size) == (path, len(path.encode()))
        assert store.read(path) == path.encode()
        with store.open(path) as file:
            file.seek(-2, os.SEEK_END)
            assert bytes(file.read(2)) == path.encode()[-2:]


def test_a_folder_lists_only_what_is_below_it(store: Store) -> None:
    """A prefix is a folder, not the beginning of a name."""
    for path in ("a/1", "a/b/2", "ab/3", "c"):
        store.write(path, b"x")
    assert sorted(file.path for file in store.list("a")) == ["a/1", "a/b/2"]
    assert sorted(file.path for file in store.child("a").list()) == ["1", "b/2"]
    assert [*store.list("nowhere")] == []
    assert store.stat("nowhere") is None
    with pytest.raises(FileNotFoundError):
        store.read("nowhere")


def test_a_conditional_write_leaves_what_is_there(store: Store) -> None:
    """The second writer of a name is told so, and the first one's bytes stay."""
    assert store.write("v", b"first", if_absent=True) is True
    assert store.write("v", b"second", if_absent=True) is False
    assert store.read("v") == b"first"
    assert store.write("v", b"third") is True
    assert store.read("v") == b"third"


def test_of_many_conditional_writers_one_wins(store: Store) -> None:
    """Sixteen writers of one name at once: one True, and its bytes are the file's."""
    for name in ("one", "two", "three"):
        with ThreadPoolExecutor(16) as pool:
            won = [*pool.map(lambda i, name=name: store.write(name, b"%d" % i, if_absent=True), range(16))]
        assert won.count(True) == 1
        assert store.read(name) == b"%d" % won.index(True)


def test_deleting_what_is_not_there_is_fine(store: Store) -> None:
    """Missing files are no error, and the others go."""
    store.write("a/b/x", b"1")
    store.write("a/y", b"2")
    store.delete(["a/b/x", "never/was"])
    assert [file.path for file in store.list()] == ["a/y"]
    store.remove_all()
    store.remove_all()
    assert [*store.list()] == []


def test_an_emptied_folder_goes_with_its_last_file(tmp_path: Path) -> None:
    """On disk no empty partition folders are left behind."""
    store = Store(str(tmp_path))
    store.write("p=1/q=2/x", b"1")
    assert store.delete(["p=1/q=2/x", "p=1/none"]) == 1
    assert [*tmp_path.iterdir()] == []


def test_a_large_file_is_copied_in_parts(store: Store, tmp_path: Path) -> None:
    """64 MiB go up and down unchanged while Python holds less than half of that."""
    here, back = tmp_path / "here", tmp_path / "sub" / "back"
    block = os.urandom(MiB)
    with here.open("wb") as file:
        for _ in range(64):
            file.write(block)
    tracemalloc.start()
    store.upload(here, "big/one")
    store.download("big/one", back)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32 * MiB
    assert subprocess.run(["cmp", here, back], check=False).returncode == 0


def test_a_path_cannot_leave_its_store(tmp_path: Path) -> None:
    """A path with .. or an absolute one is refused before the storage is asked."""
    store = Store(str(tmp_path))
    for path in ("../x", "a/../../x", "/etc/passwd", "", "a//b", "."):
        with pytest.raises(ValueError, match="not a relative path"):
            store.read(path)


WRITE_FOREVER = """
import sys
from millpond.kernel import Store
store = Store(sys.argv[1])
for i in range(1, 1_000_000):
    store.write("state", b"%07d" % i * 20_000)
    if i == 3:
        print("running", flush=True)
"""


def test_a_killed_writer_leaves_the_old_or_the_new_file(tmp_path: Path) -> None:
    """A process killed while it replaces a file leaves a whole one."""
    for wait_ms in range(0, 20, 3):
        command = [sys.executable, "-c", WRITE_FOREVER, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"running\n"
            time.sleep(wait_ms / 1000)
            process.kill()
        state = Store(str(tmp_path)).read("state")
        assert int(state[:7]) >= 3
        assert state == state[:7] * 20_000


def test_an_unwritable_folder_is_denied(tmp_path: Path) -> None:
    """What is refused says where, what to check, and is not worth repeating; what is broken may be."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageUnreachable) as broken:
        Store(str(tmp_path / "file")).write("x", b"1")
    assert broken.value.transient
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    tmp_path.chmod(0o500)
    with pytest.raises(StorageDenied, match=str(tmp_path)) as denied:
        Store(str(tmp_path)).write("x", b"1")
    assert not denied.value.transient
    assert denied.value.hint


@pytest.mark.s3
def test_a_wrong_key_is_denied_and_never_told(s3_store: Store) -> None:
    """A refused key gives StorageDenied; neither key is in the message or its cause."""
    secret = "not-the-secret-4711"
    wrong = Store(s3_store.uri, {**s3_store.options, "aws_secret_access_key": Secret(secret)})
    for call in (lambda: wrong.write("x", b"1"), lambda: wrong.read("x"), lambda: [*wrong.list()]):
        with pytest.raises(StorageDenied) as denied:
            call()
        assert secret not in f"{denied.value} {denied.value.__cause__} {wrong!r}"
        assert wrong.uri in str(denied.value)


def test_a_server_that_is_not_there_is_unreachable() -> None:
    """Nobody listening is a transient error that names the place."""
    options = {"aws_endpoint": "http://127.0.0.1:9", "aws_access_key_id": "a", "aws_region": "us-east-1"}
    options |= {"aws_secret_access_key": "b", "aws_allow_http": "true"}
    with pytest.raises(StorageUnreachable, match="s3://nowhere/x") as error:
        Store("s3://nowhere/x", options).stat("y")
    assert error.value.transient


def test_local_projects_never_load_the_object_store_library() -> None:
    """Importing the kernel and using a local folder stays fast."""
    code = "import sys, millpond.kernel as k; k.Store('/tmp').stat('x'); assert 'obstore' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
