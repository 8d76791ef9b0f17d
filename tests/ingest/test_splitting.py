from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dock import Dock
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from millpond.contracts import Column
from millpond.ingest import split
from millpond.ingest.split import Dialect, Lines, blocks, survey

THREE = tuple(Column(name=name, type="VARCHAR") for name in "abc")

FIELD = st.text(st.sampled_from('ab,"\n\r \\é😀0;'), max_size=6)
ROW = st.lists(FIELD, min_size=1, max_size=5)


def _written(rows: list[list[str]], terminator: str, *, quote_all: bool) -> str:
    out = io.StringIO()
    quoting = csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL
    writer = csv.writer(out, lineterminator=terminator, quoting=quoting)
    writer.writerow("abc")
    writer.writerows(rows)
    return out.getvalue()


@given(
    rows=st.lists(ROW, max_size=8),
    terminator=st.sampled_from(["\n", "\r\n"]),
    quote_all=st.booleans(),
    end=st.booleans(),
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_records_and_values_are_those_of_an_independent_parser(
    dock: Dock, rows: list[list[str]], terminator: str, *, quote_all: bool, end: bool
) -> None:
    """For any CSV that Python's writer makes, the rows of three fields land with equal values, all others are held."""
    dock.dataset = replace(dock.dataset, columns=THREE)
    text = _written(rows, terminator, quote_all=quote_all)
    text = text if end else text.removesuffix(terminator)
    oracle = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row][1:]
    landed = dock.land_text(text, null_values=())
    good = [row for row in oracle if len(row) == 3]
    assert [list(row.values()) for row in dock.accepted(landed)] == sorted(good)
    assert dock.reasons(landed) == {i: ["columns"] for i, row in enumerate(oracle, 1) if len(row) != 3}
    assert landed.files[0].rows_read == len(oracle)


@given(data=st.binary(max_size=200) | st.text(st.sampled_from('a,"\n\r\\\0é'), max_size=80).map(str.encode))
@example(data=b'1,"abc,3\n2,"x",3\n4,5,6\n')
@example(data=b'"\n"\n\n"a""\n')
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_accounted_for(dock: Dock, data: bytes) -> None:
    """Whatever a file holds, every record is accepted or held once, and each held one has a reason and its number."""
    dock.dataset = replace(dock.dataset, columns=THREE)
    landed = dock.land_text(b"a,b,c\n" + data)
    outcome = landed.files[0]
    assert outcome.rows_read == outcome.rows_accepted + outcome.rows_quarantined
    held = dock.quarantined(landed)
    assert len({row["row_number"] for row in held}) == len(held) == outcome.rows_quarantined
    assert all(row["rules"] and row["reason"] and 1 <= row["row_number"] <= outcome.rows_read for row in held)


@given(
    data=st.text(st.sampled_from('ab,"\n\r'), max_size=120).map(str.encode),
    size=st.integers(min_value=1, max_value=40),
)
@settings(max_examples=300)
def test_where_blocks_are_cut_changes_nothing(data: bytes, size: int) -> None:
    """A file read in blocks of any size has the records, good and malformed, that it has in one piece."""
    path = Path(f"/proc/self/fd/{_memory_file(data)}")
    found = []
    original = split._BLOCK_BYTES
    for block_bytes in (size, 1 << 20):
        split._BLOCK_BYTES = block_bytes
        try:
            records = [
                (block.data[block.cuts[i] : block.cuts[i + 1]], i in block.malformed)
                for block in blocks(path, Dialect())
                for i in range(len(block.cuts) - 1)
            ]
        finally:
            split._BLOCK_BYTES = original
        found.append([record for record in records if record[0].strip(b"\r\n")])
    assert found[0] == found[1]
    assert b"".join(record for record, _ in found[1]).replace(b"\n", b"").replace(b"\r", b"") == data.replace(
        b"\n", b""
    ).replace(b"\r", b"")


@given(data=st.text(st.sampled_from('ab,"\n\r'), max_size=120).map(str.encode), size=st.integers(1, 50))
@settings(max_examples=300)
def test_the_survey_counts_what_the_splitter_finds(data: bytes, size: int) -> None:
    """Where the survey calls a file plain, it counted the records that the splitter finds, none of them malformed."""
    original = split._SURVEY_BYTES
    split._SURVEY_BYTES = size
    try:
        surveyed = survey(Path(f"/proc/self/fd/{_memory_file(data)}"), Dialect(), fields=None)
    finally:
        split._SURVEY_BYTES = original
    cuts, bad = Lines(Dialect()).split(data, final=True)
    if surveyed.is_plain:
        assert surveyed.records == len(cuts) - 1
        assert bad == ()
        assert (np.diff(cuts) > 0).all()


def _memory_file(data: bytes) -> int:
    import os

    handle = os.memfd_create("data")
    os.write(handle, data)
    return handle


def test_a_stray_quote_costs_its_own_line_only(dock: Dock) -> None:
    """A quote that nothing closes properly does not swallow the lines after it."""
    dock.dataset = replace(dock.dataset, columns=THREE)
    landed = dock.land_text('a,b,c\n1,"abc,3\n2,"x",3\n4,"5"6,7\n8,5" disk,9\n')
    assert dock.reasons(landed) == {1: ["quotes"], 3: ["quotes"]}
    assert [row["b"] for row in dock.accepted(landed)] == ["x", '5" disk']


def test_a_trailing_delimiter_is_one_field_too_many(dock: Dock) -> None:
    """A row that ends with one delimiter more is held, even if nothing follows it."""
    dock.dataset = replace(dock.dataset, columns=THREE)
    assert dock.reasons(dock.land_text("a,b,c\n1,2,3,\n4,5,6\n")) == {1: ["columns"]}


@pytest.mark.parametrize("quoted", [False, True])
def test_a_row_of_ten_megabytes_lands_and_a_longer_one_than_allowed_is_held(dock: Dock, *, quoted: bool) -> None:
    """Long rows are kept whole up to the limit; beyond it only their beginning, with their true length."""
    dock.dataset = replace(dock.dataset, columns=THREE)
    mark = '"' if quoted else ""
    rows = [f"1,{mark}{'x' * 10_000_000}{mark},3", "4,5,6", f"7,{mark}{'y' * 20_000_000}{mark},9", "10,11,12"]
    landed = dock.land_text("a,b,c\n" + "\n".join(rows) + "\n")
    assert {row["a"]: len(row["b"]) for row in dock.accepted(landed)} == {"1": 10_000_000, "4": 1, "10": 2}
    [held] = dock.quarantined(landed)
    assert (held["rules"], held["row_number"]) == (["row too long"], 3)
    assert "20,000,0" in held["reason"]


def test_an_escape_character_works_inside_quotes_only(dock: Dock) -> None:
    """With a backslash as escape, it is text outside quotes and lost nowhere."""
    dock.dataset = replace(dock.dataset, columns=THREE)
    landed = dock.land_text('a,b,c\n1,"say \\"hi\\", \\\\",c\\d\n2,x,y\n', escape="\\")
    assert [tuple(row.values()) for row in dock.accepted(landed)] == [("1", 'say "hi", \\', "c\\d"), ("2", "x", "y")]


def test_without_quotes_a_quote_is_text(dock: Dock) -> None:
    """A source that quotes nothing takes quotes as they are."""
    dock.dataset = replace(dock.dataset, columns=THREE)
    landed = dock.land_text('a|b|c\n"1|2"|"\n', delimiter="|", quote="", escape="")
    assert [tuple(row.values()) for row in dock.accepted(landed)] == [('"1', '2"', '"')]
