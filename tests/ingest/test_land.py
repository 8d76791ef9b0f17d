from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import pytest
from dock import Dock, rule

from millpond.contracts import Column, Severity
from millpond.ingest import ColumnMissing, LoadStopped, SourceUnreadable, TooManyBadRows, discover, land
from millpond.ingest.land import _Load

HEADER = "id,amount,day,name,ok\n"


def test_columns_are_found_by_name_whatever_their_order(dock: Dock) -> None:
    """A file's header decides where a column is; unknown columns are ignored and told, absent ones are NULL."""
    landed = dock.land_text("name,zip,id,day\nx,1234,7,2024-02-03\n")
    [row] = dock.accepted(landed)
    assert (row["id"], row["name"], str(row["day"]), row["amount"]) == (7, "x", "2024-02-03", None)
    assert len(landed.drift) == 3


def test_a_missing_required_column_stops_before_anything_is_read(dock: Dock) -> None:
    """Every column that is wrong is named at once, with what the file has."""
    with pytest.raises(ColumnMissing) as caught:
        dock.land_text("amount,amount,nome\n1,1,x\n")
    assert len(caught.value.problems) == 3
    assert "nome" in str(caught.value)
    assert dock.left == []


def test_too_many_bad_rows_leave_nothing_behind(dock: Dock) -> None:
    """Above the share the load stops with the counts, the top reasons and an example; not even good rows stay."""
    dock.put("a.csv", HEADER + "".join(f"{i},1,,x,\n" for i in range(100)))
    dock.put("b.csv", HEADER + "1,abc,,x,\n" * 10)
    with pytest.raises(TooManyBadRows) as caught:
        dock.land("*.csv", bad_share_max=0.05)
    assert (caught.value.read, caught.value.bad, dict(caught.value.reasons)) == (110, 10, {"type:amount": 10})
    assert "abc" in str(caught.value)
    assert dock.left == []


def test_a_share_that_is_tolerated_lands(dock: Dock) -> None:
    """Exactly the share is still tolerated."""
    landed = dock.land_text(HEADER + "1,1,,x,\n" * 19 + "x,1,,x,\n", bad_share_max=0.05)
    assert (landed.accepted.rows, landed.quarantined.rows) == (19, 1)


def test_a_critical_rule_stops_the_load(dock: Dock) -> None:
    """One row that breaks a critical rule is enough, and nothing is stored."""
    dock.rules = [rule("solvent", "amount >= 0", "amount", severity=Severity.CRITICAL)]
    with pytest.raises(LoadStopped) as caught:
        dock.land_text(HEADER + "1,1,,x,\n2,-1,,y,\n")
    assert dict(caught.value.broken) == {"solvent": 1}
    assert dock.left == []


def test_ids_are_the_same_whenever_the_same_file_is_landed(dock: Dock) -> None:
    """A quarantined row is known again: landing the file anew adds nothing to the quarantine that has it."""
    first = dock.land_text(HEADER + "x,1,,x,\n1,1,,x,\ny,1,,x,\n")
    held = dock.held(first.quarantined.files)
    ids = [row["id"] for row in dock.quarantined(first)]
    second = dock.land("orders.csv", run_id="run-2")
    assert [row["id"] for row in dock.quarantined(second)] == ids
    again = dock.land("orders.csv", run_id="run-3", held=held)
    assert (again.quarantined.rows, again.files[0].rows_quarantined, again.accepted.rows) == (0, 2, 1)


def test_the_fast_path_gives_what_the_full_path_gives(dock: Dock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clean rows are the same values, whichever way they went."""
    text = HEADER + "".join(
        f'{i}{".0" * (i % 2)},{i / 100:.2f},2024-01-{i % 28 + 1:02d},"a ""q"" ü\n{i}",{"TRUE" if i % 2 else "n"}\n'
        for i in range(5000)
    )
    fast = dock.accepted(dock.land_text(text))
    monkeypatch.setattr(_Load, "_fast", lambda *_: False)
    assert dock.accepted(dock.land("orders.csv")) == fast
    assert len(fast) == 5000


@pytest.mark.parametrize("odd", ["", "\n", "2,2,,y,,\n", "x,1,,x,\n", '"2",1,,"y"z,\n'])
def test_a_large_file_is_surveyed_while_it_is_read(dock: Dock, monkeypatch: pytest.MonkeyPatch, odd: str) -> None:
    """Whatever the survey finds, early or late, the account comes out as for a small file."""
    body = "".join(f"{i},1,,x,\n" for i in range(100_000))
    small = dock.land_text(HEADER + body + odd + body)
    monkeypatch.setattr(sys.modules[land.__module__], "_LARGE_BYTES", 1)
    large = dock.land("orders.csv")
    assert large.files == small.files
    assert (large.accepted.rows, dict(large.reasons)) == (small.accepted.rows, dict(small.reasons))
    assert large.accepted.rows == 200_000
    assert large.quarantined.rows == (1 if odd.strip() else 0)


def test_one_odd_file_among_many_does_not_spoil_the_others(dock: Dock) -> None:
    """Each file's rows are counted for it, read together or alone."""
    for i in range(20):
        dock.put(f"in/{i:02d}.csv", HEADER + f"{i},1,,x,\n" * (i + 1) + ("bad,1,,x,\n" if i == 7 else ""))
    landed = dock.land("in/*.csv")
    assert [file.rows_accepted for file in landed.files] == list(range(1, 21))
    assert [file.rows_quarantined for file in landed.files] == [int(i == 7) for i in range(20)]
    assert landed.accepted.rows == 210


def test_rows_land_in_their_partition(dock: Dock) -> None:
    """A partitioned table gets its files by partition on both paths."""
    columns = tuple(replace(c, partition=1) if c.name == "day" else c for c in dock.dataset.columns)
    dock.dataset = replace(dock.dataset, columns=columns)
    for bad in ("", "bad,,,,\n"):
        landed = dock.land_text(HEADER + "1,1,2024-01-01,x,\n2,1,2024-01-02,x,\n3,1,2024-01-01,x,\n" + bad)
        assert sorted((file.partition["day"], file.rows) for file in landed.accepted.files) == [
            ("2024-01-01", 2),
            ("2024-01-02", 1),
        ]
        assert {row["id"] for row in dock.accepted(landed)} == {1, 2, 3}


@pytest.mark.parametrize("text", ["", HEADER, HEADER.strip(), "\n\n" + HEADER + "\n\n"])
def test_a_file_without_rows_lands_nothing(dock: Dock, text: str) -> None:
    """An empty file is no error where no column is required of it, and a header alone never is."""
    if text == "":
        dock.dataset = replace(dock.dataset, columns=(Column(name="note", type="VARCHAR"),))
    landed = dock.land_text(text)
    assert (landed.accepted.rows, landed.quarantined.rows, landed.files[0].rows_read) == (0, 0, 0)


def test_a_file_that_is_not_parquet_says_so(dock: Dock) -> None:
    """A damaged file is an error that names it."""
    with pytest.raises(SourceUnreadable, match=r"o\.parquet"):
        dock.land_text(b"not parquet at all", "o.parquet", format="parquet")


def test_a_rule_that_cannot_be_computed_for_a_row_is_broken_by_it(dock: Dock) -> None:
    """An expression that fails on a row quarantines that row, not the load."""
    dock.rules = [rule("numeric name", "CAST(name AS INTEGER) > 0", "name")]
    landed = dock.land_text(HEADER + "1,,,5,\n2,,,five,\n")
    assert dock.reasons(landed) == {2: ["numeric name"]}


def test_progress_is_told_while_it_reads(dock: Dock) -> None:
    """Whoever waits hears what is done, and at the end that all is read."""
    heard: list[Any] = []
    dock.put("a.csv", HEADER + "1,1,,x,\n")
    source = dock.source("a.csv")
    land(
        discover(source, root=dock.root), source, dock.dataset, [], session=dock.session, table=dock.table,
        quarantine=dock.quarantine, run_id="run-1", report=heard.append,
    )  # fmt: skip
    assert heard[-1].fraction == 1.0
    assert heard[-1].rows_read == 1
