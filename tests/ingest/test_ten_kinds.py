from __future__ import annotations

import io
import json
import random
from collections.abc import Callable
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as papq
import pytest
from dock import Dock, rule

from millpond.contracts import Severity

ROWS = 100_000
LONG = 100 * 1024

CSV_KINDS: dict[str, Callable[[int], bytes]] = {
    "type:amount": lambda i: b"%d,abc,2024-01-01,x,true" % i,
    "type:id": lambda i: b"9%030d,1.00,2024-01-01,x,true" % i,  # overflow
    "type:day": lambda i: b"%d,1.00,2013-02-30,x,true" % i,
    "encoding": lambda i: b"%d,1.00,2024-01-01,caf\xe9,true" % i,
    "columns": lambda i: b"%d,1.00,2024-01-01" % i if i % 2 else b"%d,1.00,2024-01-01,x,true," % i,
    "nul": lambda i: b"%d,1.00,2024-01-01,a\0b,true" % i,
    "row too long": lambda i: b"%d,1.00,2024-01-01,%s,true" % (i, b"y" * LONG),
    "quotes": lambda i: b'%d,1.00,2024-01-01,"open,true' % i,
    "required:name": lambda i: b"%d,1.00,2024-01-01,,true" % i,
    "amount not negative": lambda i: b"%d,-1.00,2024-01-01,x,true" % i,
}


def test_each_of_ten_kinds_of_broken_csv_rows_is_held_with_its_true_reason(dock: Dock) -> None:
    """Of 100,000 rows with 1% broken in ten ways, accepted and quarantined make up all, each with its true reason."""
    dock.rules = [rule("amount not negative", "amount >= 0", "amount")]
    random_ = random.Random(7)
    broken = dict(zip(random_.sample(range(1, ROWS + 1), 1000), list(CSV_KINDS) * 100, strict=True))
    lines = [b"id,amount,day,name,ok"]
    for i in range(1, ROWS + 1):
        good = b'%d,%d.%02d,2024-01-%02d,"n ""%d"", x",%s' % (i, i, i % 100, i % 28 + 1, i, b"t" if i % 3 else b"false")
        lines.append(CSV_KINDS[broken[i]](i) if i in broken else good)
    landed = dock.land_text(b"\n".join(lines) + b"\n", row_bytes_max=64 * 1024)
    assert dock.reasons(landed) == {row: [kind] for row, kind in broken.items()}
    assert landed.accepted.rows == ROWS - len(broken)
    assert dict(landed.reasons) == dict.fromkeys(CSV_KINDS, 100)
    outcome = landed.files[0]
    assert (outcome.rows_read, outcome.rows_accepted, outcome.rows_quarantined) == (ROWS, ROWS - 1000, 1000)
    for row in dock.quarantined(landed):
        raw = lines[row["row_number"]]
        kind = broken[row["row_number"]]
        if kind in {"encoding", "nul"}:
            assert row["raw"].encode() == raw.replace(b"\xe9", b"\\xe9").replace(b"\0", b"\\x00")
        elif kind != "row too long":
            assert row["raw"].encode() == raw


def test_each_kind_of_broken_ndjson_rows_is_held_with_its_true_reason(dock: Dock) -> None:
    """The same for lines of JSON: malformed, not an object, wrong types, lost digits, missing values."""
    dock.dataset = replace(
        dock.dataset,
        columns=tuple(
            replace(column, type="DECIMAL(18,2)") if column.name == "amount" else column
            for column in dock.dataset.columns
        ),
    )
    dock.rules = [rule("amount not negative", "amount >= 0", "amount")]
    kinds: dict[str, Callable[[int], bytes]] = {
        "type:amount": lambda i: b'{"id": %d, "amount": 1.239, "name": "x"}' % i,
        "type:id": lambda i: b'{"id": 9%030d, "amount": 1, "name": "x"}' % i,
        "type:day": lambda i: b'{"id": %d, "amount": 1, "day": "2013-02-30", "name": "x"}' % i,
        "type:name": lambda i: b'{"id": %d, "amount": 1, "name": {"a": 1}}' % i,
        "type:ok": lambda i: b'{"id": %d, "amount": 1, "ok": "perhaps", "name": "x"}' % i,
        "json": lambda i: b'{"id": %d, "amount": ' % i if i % 2 else b"[%d]" % i,
        "encoding": lambda i: b'{"id": %d, "amount": 1, "name": "caf\xe9"}' % i,
        "nul": lambda i: b'{"id": %d, "amount": 1, "name": "a\0b"}' % i,
        "required:name": lambda i: b'{"id": %d, "amount": 1, "name": null}' % i,
        "amount not negative": lambda i: b'{"id": %d, "amount": -1, "name": "x"}' % i,
    }
    random_ = random.Random(8)
    broken = dict(zip(random_.sample(range(1, 20_001), 200), list(kinds) * 20, strict=True))
    lines = [
        kinds[broken[i]](i) if i in broken else b'{"name": "n", "amount" :1234567890123456.78, "id": %d}' % i
        for i in range(1, 20_001)
    ]
    landed = dock.land_text(b"\n".join(lines), "o.ndjson", format="ndjson", null_values=())
    assert dock.reasons(landed) == {row: [kind] for row, kind in broken.items()}
    assert landed.accepted.rows == 20_000 - 200
    assert {str(row["amount"]) for row in dock.accepted(landed)} == {"1234567890123456.78"}


def test_broken_parquet_rows_are_held_as_json_with_their_true_reason(dock: Dock) -> None:
    """Values of Parquet that would be rounded, wrapped or lost are refused; the row is kept as JSON."""
    dock.rules = [rule("amount not negative", "amount >= 0", "amount")]
    size = 10_000
    table = pa.table(
        {
            "name": pa.array([None if i % 1000 == 1 else f"n{i}" for i in range(size)]),
            "amount": pa.array([1.239 if i % 1000 == 2 else -1.0 if i % 1000 == 3 else 2.5 for i in range(size)]),
            "id": pa.array([i + 0.5 if i % 1000 == 4 else float(i) for i in range(size)]),
            "day": pa.array(["2013-02-30" if i % 1000 == 5 else "2013-02-03" for i in range(size)]),
            "extra": pa.array(range(size)),
        }
    )
    buffer = io.BytesIO()
    papq.write_table(table, buffer)
    landed = dock.land_text(buffer.getvalue(), "o.parquet", format="parquet")
    wanted = ["required:name", "type:amount", "amount not negative", "type:id", "type:day"]
    assert dock.reasons(landed) == {k * 1000 + i + 1: [wanted[i - 1]] for k in range(10) for i in range(1, 6)}
    assert landed.accepted.rows == size - 50
    held = dock.quarantined(landed)[1]
    assert json.loads(held["raw"])["amount"] == 1.239
    assert held["reason"] == "amount: '1.239' is not DECIMAL(9,2)"
    assert any("extra" in note for note in landed.drift)


def test_a_row_names_every_rule_it_breaks_and_none_that_could_not_be_asked(dock: Dock) -> None:
    """Several reasons stand together; a rule over a value that has no type is not blamed."""
    dock.rules = [rule("amount not negative", "amount >= 0", "amount"), rule("day known", "day IS NOT NULL", "day")]
    landed = dock.land_text("id,amount,day,name,ok\nx,y,,,\n")
    assert dock.reasons(landed) == {1: ["day known", "required:name", "type:amount", "type:id"]}
    assert dock.quarantined(landed)[0]["columns"] == ["id", "amount", "name", "day"]


@pytest.mark.parametrize("location", ["good.csv", "bad.csv"])
def test_warnings_are_counted_and_their_rows_kept_on_both_paths(dock: Dock, location: str) -> None:
    """A rule of severity warning counts its rows and rejects none, whether the file has bad rows or not."""
    dock.rules = [rule("small", "amount < 100", "amount", severity=Severity.WARNING)]
    dock.put("good.csv", "id,amount,day,name,ok\n1,5,,x,\n2,500,,x,\n3,700,,x,\n")
    dock.put("bad.csv", "id,amount,day,name,ok\n1,5,,x,\n2,500,,x,\n3,700,,x,\nbad,1,,x,\n")
    landed = dock.land(location)
    assert (landed.accepted.rows, dict(landed.warnings)) == (3, {"small": 2})
