from __future__ import annotations

import os
from pathlib import Path

import pytest
from dock import Dock

from millpond.ingest import FoundFile, SourceFileChanged, SourceMissing, discover, unseen
from millpond.ledger import SourceFile


def _known(file: FoundFile) -> SourceFile:
    return SourceFile(
        table="t", uri=file.uri, size=file.size, modified_us=file.modified_us, etag=file.etag, run_id="r",
        rows_read=0, rows_accepted=0, rows_quarantined=0,
    )  # fmt: skip


def test_a_glob_finds_files_in_order_and_no_hidden_ones(dock: Dock) -> None:
    """Stars stay in a folder, double stars do not, and addresses are relative to the project."""
    for name in ("in/b.csv", "in/a.csv", "in/.c.csv", "in/deep/d.csv", "in/deep/er/e.csv", "in/x.txt", "in/a1.csv"):
        dock.put(name, "x")

    def found(location: str) -> list[str]:
        return [file.uri for file in discover(dock.source(location), root=dock.root)]

    assert found("in/*.csv") == ["in/a.csv", "in/a1.csv", "in/b.csv"]
    assert found("in/**/*.csv") == ["in/a.csv", "in/a1.csv", "in/b.csv", "in/deep/d.csv", "in/deep/er/e.csv"]
    assert found("in/[ab].csv") == ["in/a.csv", "in/b.csv"]
    assert found("in/a?.csv") == ["in/a1.csv"]
    assert found(f"{dock.root}/in/a.csv") == ["in/a.csv"]
    assert found("none/*.csv") == []


def test_one_named_file_must_exist(dock: Dock) -> None:
    """Without a wildcard a missing file, package or member is an error."""
    for location in ("in/a.csv", "package:no-such-package/x.csv", "package:pytest/no-such-file.csv"):
        with pytest.raises(SourceMissing):
            discover(dock.source(location), root=dock.root)


def test_a_file_of_an_installed_package_is_found_without_importing_it(dock: Dock) -> None:
    """``package:`` looks into an installed distribution."""
    [found] = discover(dock.source("package:hypothesis/hypothesis/py.typed"), root=dock.root)
    assert found.uri == "package:hypothesis/hypothesis/py.typed"
    assert Path(found.store.uri, found.path).exists()


def test_only_new_and_changed_files_are_unseen(dock: Dock) -> None:
    """A file counts as changed by size or by time; in append mode that is an error, for its rows are in already."""
    dock.put("a.csv", "1")
    dock.put("b.csv", "1")
    source = dock.source("*.csv")
    known = [_known(file) for file in discover(source, root=dock.root)]
    assert unseen(discover(source, root=dock.root), known) == ()
    os.utime(dock.root / "a.csv", (1, 1))
    dock.put("b.csv", "22")
    dock.put("c.csv", "1")
    now = discover(source, root=dock.root)
    assert [file.uri for file in unseen(now, known)] == ["a.csv", "b.csv", "c.csv"]
    with pytest.raises(SourceFileChanged, match=r"a\.csv, b\.csv"):
        unseen(now, known, mode="append")
    assert [file.uri for file in unseen(now[2:], known, mode="append")] == ["c.csv"]
