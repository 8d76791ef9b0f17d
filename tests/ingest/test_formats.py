from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as papq
import pytest
from dock import Dock

from millpond.ingest import SourceUnreadable, discover
from millpond.kernel import Store

CSV = "id,amount,day,name,ok\n1,1.50,2024-01-01,café,true\n2,abc,,ü,\n3,2,,x,\n"


def _zip(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def _zstd(data: bytes) -> bytes:
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, "zstd") as stream:
        stream.write(data)
    return out.getvalue().to_pybytes()


PACKED = {
    "plain": CSV.encode(),
    "bom": b"\xef\xbb\xbf" + CSV.encode(),
    "crlf": CSV.replace("\n", "\r\n").encode(),
    "cr": CSV.replace("\n", "\r").encode(),
    "gz": gzip.compress(CSV.encode()),
    "gz of two members": gzip.compress(CSV[:30].encode()) + gzip.compress(CSV[30:].encode()),
    "zst": _zstd(CSV.encode()),
    "zip": _zip({"data/orders.csv": CSV.encode(), "__MACOSX/._orders.csv": b"x", "readme.md": b"x"}),
}


@pytest.mark.parametrize("how", sorted(PACKED))
def test_a_csv_file_is_the_same_however_it_is_packed(dock: Dock, how: str) -> None:
    """Byte order mark, line ends and compression change neither rows, nor numbers, nor raw text."""
    landed = dock.land_text(PACKED[how])
    assert [(row["id"], row["name"]) for row in dock.accepted(landed)] == [(1, "café"), (3, "x")]
    [held] = dock.quarantined(landed)
    assert (held["row_number"], held["raw"], held["rules"]) == (2, "2,abc,,ü,", ["type:amount"])
    assert (held["source"], held["header"]) == ("orders.csv", '["id", "amount", "day", "name", "ok"]')


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "latin-1", "cp1252", "iso8859-15"])
def test_a_declared_encoding_is_read(dock: Dock, encoding: str) -> None:
    """Text in another encoding lands as the same text."""
    landed = dock.land_text(CSV.encode(encoding), encoding=encoding)
    assert [row["name"] for row in dock.accepted(landed)] == ["café", "x"]
    assert dock.quarantined(landed)[0]["raw"] == "2,abc,,ü,"


def test_bytes_without_meaning_in_a_declared_encoding_cost_their_row_only(dock: Dock) -> None:
    """A byte that cp1252 does not know is kept as it was, in the quarantine."""
    landed = dock.land_text(CSV.encode("cp1252").replace(b"3,2,,x", b"3,2,,\x81\\x"), encoding="cp1252")
    assert dock.reasons(landed) == {2: ["type:amount"], 3: ["encoding"]}
    assert dock.quarantined(landed)[1]["raw"] == "3,2,,\\x81\\\\x,"


def test_an_archive_of_several_files_names_the_member(dock: Dock) -> None:
    """Members are read one by one, in order of name; the archive is one file of the account."""
    landed = dock.land_text(_zip({"b.csv": CSV.encode(), "a.csv": CSV.encode()}), "all.zip")
    assert [row["source"] for row in dock.quarantined(landed)] == ["all.zip!a.csv", "all.zip!b.csv"]
    assert len({row["id"] for row in dock.quarantined(landed)}) == 2
    [outcome] = landed.files
    assert (outcome.uri, outcome.rows_read, outcome.rows_accepted) == ("all.zip", 6, 4)


@pytest.mark.parametrize(
    "data",
    [gzip.compress(CSV.encode() * 100)[:-20], _zip({"a.csv": CSV.encode() * 100})[:60], _zstd(CSV.encode() * 100)[:20]],
)
def test_a_damaged_archive_is_an_error_that_names_it(dock: Dock, data: bytes) -> None:
    """A file that cannot be unpacked lands nothing."""
    with pytest.raises(SourceUnreadable, match=r"orders\.csv"):
        dock.land_text(data)
    assert dock.left == []


@pytest.mark.parametrize("packed", [False, True])
def test_ndjson_lands_packed_or_not(dock: Dock, *, packed: bool) -> None:
    """Lines of JSON in any order of keys; absent keys are NULL, unknown ones are ignored, blank lines are no rows."""
    text = b'{"name": "x", "id": 1, "more": [1]}\n\n  \n{"id": 2, "amount": "1.5", "name": "\\u00fc", "ok": true}\n'
    landed = dock.land_text(gzip.compress(text) if packed else text, "o.jsonl", format="ndjson", null_values=())
    rows = dock.accepted(landed)
    found = [(row["id"], row["name"], str(row["amount"]), row["ok"]) for row in rows]
    assert found == [(1, "x", "None", None), (2, "ü", "1.50", True)]
    assert landed.files[0].rows_read == 2


def test_parquet_of_different_shapes_lands_by_name(dock: Dock) -> None:
    """Files whose columns or types differ are read each by its own; what fits exactly lands."""
    dock.root.joinpath("in").mkdir()
    papq.write_table(pa.table({"id": pa.array([1, 2], pa.int32()), "name": ["a", "b"]}), dock.root / "in/1.parquet")
    papq.write_table(pa.table({"name": ["c"], "id": [3.0], "amount": ["1.50"]}), dock.root / "in/2.parquet")
    landed = dock.land("in/*.parquet", format="parquet")
    assert sorted((row["id"], row["name"]) for row in dock.accepted(landed)) == [(1, "a"), (2, "b"), (3, "c")]
    assert (landed.accepted.rows, landed.quarantined.rows) == (3, 0)


@pytest.mark.s3
def test_files_of_an_object_store_land(dock: Dock, s3_store: Store) -> None:
    """A bucket's files are found by pattern, fetched, and known by their etag."""
    s3_store.write("in/a.csv", CSV.encode())
    s3_store.write("in/b.txt", b"x")
    source = dock.source(f"{s3_store.uri}/in/*.csv")
    [found] = discover(source, root=Path("/"), options=s3_store.options)
    assert found.etag
    landed = dock.take([found], source)
    assert (landed.accepted.rows, landed.quarantined.rows) == (2, 1)
    assert dock.quarantined(landed)[0]["source"] == f"{s3_store.uri}/in/a.csv"
