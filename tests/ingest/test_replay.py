from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as papq
import pytest
from dock import Dock, rule

from millpond.contracts import Column
from millpond.ingest import QUARANTINE_COLUMNS, Landed, Replayed, discard, replay

HEADER = "id,amount,day,name,ok\n"


def _replay(dock: Dock, landed: Landed, where: str = "true", **settings: Any) -> Replayed:
    edits = settings.pop("edits", {})
    return replay(
        dock.held(landed.quarantined.files),
        where,
        dock.source("x", **settings),
        dock.dataset,
        dock.rules,
        session=dock.session,
        table=dock.table,
        quarantine=dock.quarantine,
        run_id="replay-1",
        edits=edits,
        reviewer="ada",
    )


def _held(dock: Dock, replayed: Replayed) -> dict[int, dict[str, Any]]:
    rows = dock.rows(dock.quarantine, QUARANTINE_COLUMNS, replayed.quarantine.files)
    return {row["row_number"]: row for row in rows}


def _retyped(dock: Dock, name: str, kind: str) -> None:
    columns = tuple(replace(c, type=kind) if c.name == name else c for c in dock.dataset.columns)
    dock.dataset = replace(dock.dataset, columns=columns)


def test_rows_are_accepted_after_the_contract_was_mended(dock: Dock) -> None:
    """What fits the new contract lands; what does not keeps its id and gets its new reasons."""
    landed = dock.land_text(HEADER + '1,1.239,,"a\n""b""",\n2,abc,,x,\n3,1,,x,\n"stray,4\n,9.999,,x,\n')
    before = {row["row_number"]: row for row in dock.quarantined(landed)}
    _retyped(dock, "amount", "DECIMAL(12,3)")
    replayed = _replay(dock, landed)
    assert (replayed.selected, replayed.accepted.rows, replayed.still_bad) == (4, 1, 3)
    assert dict(replayed.reasons) == {"type:amount": 1, "quotes": 1, "required:id": 1}
    [row] = dock.rows(dock.table, tuple((c.name, c.type) for c in dock.dataset.columns), replayed.accepted.files)
    assert (row["id"], str(row["amount"]), row["name"]) == (1, "1.239", 'a\n"b"')
    after = _held(dock, replayed)
    assert {number: row["status"] for number, row in after.items()} == {1: "replayed", 2: "open", 4: "open", 5: "open"}
    assert [after[n]["id"] for n in after] == [before[n]["id"] for n in after]
    assert (after[5]["rules"], before[5]["rules"]) == (["required:id"], ["type:amount", "required:id"])
    assert after[1]["reviewed_by"] == "ada"
    assert after[1]["raw"] == before[1]["raw"]


def test_a_second_replay_touches_open_rows_only(dock: Dock) -> None:
    """What was accepted is not accepted again."""
    landed = dock.land_text(HEADER + "1,1.239,,x,\n2,abc,,x,\n")
    _retyped(dock, "amount", "DECIMAL(12,3)")
    first = _replay(dock, landed)
    second = _replay(dock, replace(landed, quarantined=first.quarantine))
    assert (first.accepted.rows, second.selected, second.accepted.rows) == (1, 1, 0)


def test_a_row_is_mended_by_hand(dock: Dock) -> None:
    """An edit replaces the raw text, is judged like any other, and is noted; broken bytes and NUL included."""
    landed = dock.land_text(HEADER.encode() + b"1,abc,,x,\n2,1,,caf\xe9\\,\n3,1,,\0,\n4,1,2013-02-30,x,\n")
    ids = {row["row_number"]: row["id"] for row in dock.quarantined(landed)}
    edits = {ids[1]: "1,5,,x,", ids[2]: "2,1,,café\\,", ids[4]: "4,1,x\ny,x,", "unknown": "5,1,,x,"}
    replayed = _replay(dock, landed, edits=edits)
    assert (replayed.accepted.rows, dict(replayed.reasons)) == (2, {"nul": 1, "quotes": 1})
    after = _held(dock, replayed)
    assert after[1]["note"] == "edited"
    assert after[3]["raw"] == "3,1,,\\x00,"
    rows = dock.rows(dock.table, tuple((c.name, c.type) for c in dock.dataset.columns), replayed.accepted.files)
    assert sorted(row["name"] for row in rows) == ["café\\", "x"]


def test_rows_of_files_with_other_columns_are_read_by_their_own_header(dock: Dock) -> None:
    """Each row is read by the header of its file, so the files are not needed any more."""
    dock.put("a.csv", "id,name,amount\n1,x,1.239\n")
    dock.put("b.csv", "amount,name,id\n1.239,y,2\n")
    landed = dock.land("*.csv")
    for name in ("a.csv", "b.csv"):
        (dock.root / name).unlink()
    _retyped(dock, "amount", "DOUBLE")
    replayed = _replay(dock, landed, "list_contains(rules, 'type:amount')")
    rows = dock.rows(dock.table, tuple((c.name, c.type) for c in dock.dataset.columns), replayed.accepted.files)
    assert sorted((row["id"], row["name"]) for row in rows) == [(1, "x"), (2, "y")]


@pytest.mark.parametrize("format_", ["ndjson", "parquet"])
def test_json_and_parquet_rows_are_replayed(dock: Dock, format_: str) -> None:
    """A rule that was too strict, taken back, lets the rows in with their values."""
    dock.rules = [rule("strict", "amount > 10", "amount")]
    text: bytes = b'{"id": 1, "amount": 1.5, "day": "2024-02-03", "name": "x"}\n'
    if format_ == "parquet":
        out = io.BytesIO()
        day = pa.array(["2024-02-03"]).cast(pa.date32())
        papq.write_table(pa.table({"id": [1], "amount": [1.5], "day": day, "name": ["x"]}), out)
        text = out.getvalue()
    landed = dock.land_text(text, "o", format=format_, null_values=())
    assert landed.quarantined.rows == 1
    dock.rules = []
    replayed = _replay(dock, landed, format=format_, null_values=())
    [row] = dock.rows(dock.table, tuple((c.name, c.type) for c in dock.dataset.columns), replayed.accepted.files)
    assert (row["id"], str(row["amount"]), str(row["day"]), row["name"]) == (1, "1.50", "2024-02-03", "x")


def test_what_was_cut_is_replayed_only_with_an_edit(dock: Dock) -> None:
    """A row of which only the beginning was kept is not mistaken for a whole one."""
    dock.dataset = replace(dock.dataset, columns=(Column(name="a", type="VARCHAR"),))
    landed = dock.land_text("a\n" + "x" * 5000 + "\n", row_bytes_max=1024)
    assert _replay(dock, landed).selected == 0
    [row] = dock.quarantined(landed)
    assert _replay(dock, landed, edits={row["id"]: "short"}).accepted.rows == 1


def test_discarded_rows_stay_and_are_never_replayed(dock: Dock) -> None:
    """Giving rows up keeps them, with the note and who did it."""
    landed = dock.land_text(HEADER + "1,abc,,x,\n2,abc,,x,\n")
    done = discard(
        dock.held(landed.quarantined.files), "row_number = 1", session=dock.session, quarantine=dock.quarantine,
        run_id="d", note="test data", reviewer="ada",
    )  # fmt: skip
    after = _held(dock, done)
    assert (done.selected, after[1]["status"], after[2]["status"]) == (1, "discarded", "open")
    assert after[1]["note"] == "test data"
    assert len(done.removes) == 1
    assert _replay(dock, replace(landed, quarantined=done.quarantine)).selected == 1
