from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from ledger.histories import inside
from millpond.ledger import ChainBroken, Event, Ledger, Pointer, verify_export
from millpond.ledger.tables import EVENT, HEAD

RECORDS = 14
COLUMNS = st.sampled_from([column.name for column in EVENT.columns])
often = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def full(ledger: Ledger) -> Ledger:
    """A ledger with records of many kinds."""
    for number in range(6):
        run = f"run-{number}"
        started = Event(kind="run.started", actor="ann", env="prod", run_id=run, payload={"ü": [1.5, None, "é\x00"]})
        judged = {"table": "t", "version": number, "results": [{"rule": "unique", "passed": True}]}
        ledger.append([started, Event(kind="checks.judged", actor="ann", subject="flights", payload=judged)])
    change = {"flights": (None, Pointer(table="t", version=5))}
    done = [Event(kind="query.answered", actor="bob")]
    ledger.publish(env="prod", changes=change, lease=None, events=done, actor="ann", run_id=None, reason="first")
    assert ledger.verify().records == RECORDS
    return ledger


@contextmanager
def tampered(ledger: Ledger, *statements: sa.Executable) -> Iterator[None]:
    """Run *statements* on the database behind the ledger's back; put everything back at the end."""
    engine = ledger._database._engine
    with engine.connect() as connection:
        before = [dict(row._mapping) for row in connection.execute(sa.select(EVENT))]
        head = dict(connection.execute(sa.select(HEAD)).one()._mapping)
        connection.rollback()
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    try:
        yield
    finally:
        with engine.connect() as connection:
            for table, rows in ((EVENT, before), (HEAD, [head])):
                connection.execute(sa.delete(table))
                connection.execute(sa.insert(table), rows)
            connection.commit()


def flipped(value: object, place: int, bit: int) -> object:
    """Change one bit of *value*; nothing becomes something."""
    if value is None:
        return ""
    if isinstance(value, int):
        return value ^ (1 << (20 + bit))  # above every sequence number here, so that no two records collide
    assert isinstance(value, str)
    raw = bytearray(value.encode())
    assume(raw)
    raw[place % len(raw)] ^= 1 << bit
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        assume(condition=False)
    assume("\x00" not in text)
    return text


@often
@given(seq=st.integers(1, RECORDS), name=COLUMNS, place=st.integers(0, 500), bit=st.integers(0, 7))
@example(seq=1, name="env", place=0, bit=0)
@example(seq=RECORDS, name="hash", place=63, bit=1)
@example(seq=RECORDS, name="seq", place=0, bit=0)
def test_one_changed_bit_is_found(full: Ledger, seq: int, name: str, place: int, bit: int) -> None:
    """Whatever bit of whatever column of a stored record is changed, verification names that record."""
    column = EVENT.c[name]
    with full._database.read() as connection:
        value = connection.execute(sa.select(column).where(EVENT.c.seq == seq)).scalar_one()
    change = sa.update(EVENT).where(EVENT.c.seq == seq).values({name: flipped(value, place, bit)})
    with tampered(full, change):
        assert full.verify().broken_at == seq
    assert full.verify().broken_at is None


@pytest.mark.parametrize("name", ["actor", "payload", "hash", "at_us"])
def test_bytes_that_are_no_text_are_found(tmp_path: Path, name: str) -> None:
    """A record overwritten with bytes that are no UTF-8, or with another type, is named, not a crash."""
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        ledger.append([Event(kind="query.answered", actor="ann")] * 3)
        for literal in ("x'ff00fe'", "CAST(x'fffe' AS TEXT)", "1.5"):
            with tampered(ledger, sa.text(f"UPDATE ledger_event SET {name} = {literal} WHERE seq = 2")):
                assert ledger.verify().broken_at == 2


@often
@given(seq=st.integers(1, RECORDS))
def test_a_removed_record_is_found(full: Ledger, seq: int) -> None:
    """A record that was deleted, the last one too, is named."""
    with tampered(full, sa.delete(EVENT).where(EVENT.c.seq == seq)):
        report = full.verify()
    assert report.broken_at == seq
    assert "missing" in (report.reason or "")


@often
@given(seqs=st.lists(st.integers(1, RECORDS), min_size=2, max_size=2, unique=True))
def test_exchanged_records_are_found(full: Ledger, seqs: list[int]) -> None:
    """Two records that changed places are found at the first of them."""
    first, second = sorted(seqs)
    moves = [(first, 9_999), (second, first), (9_999, second)]
    with tampered(full, *[sa.update(EVENT).where(EVENT.c.seq == old).values(seq=new) for old, new in moves]):
        assert full.verify().broken_at == first


def test_an_added_record_is_found(full: Ledger) -> None:
    """A record put at the end behind the ledger's back is found, even with a hash that follows."""
    extra = {
        "seq": RECORDS + 1,
        "at_us": 1,
        "kind": "query.answered",
        "actor": "eve",
        "payload": "{}",
        "hash": "0" * 64,
    }
    with tampered(full, sa.insert(EVENT).values(extra)):
        assert full.verify().broken_at == RECORDS + 1


def test_a_cut_tail_with_its_head_kept_is_found(full: Ledger) -> None:
    """A tail cut off is found because the head row still knows the end."""
    with tampered(full, sa.delete(EVENT).where(EVENT.c.seq > 4)):
        assert full.verify().broken_at == 5


def test_a_tampered_chain_is_not_replayed(full: Ledger) -> None:
    """A rebuild refuses a chain that was changed, names the record, and leaves the projections as they are."""
    before = inside(full)
    with tampered(full, sa.update(EVENT).where(EVENT.c.seq == 3).values(payload="no JSON")):
        with pytest.raises(ChainBroken) as caught:
            full.rebuild()
        assert caught.value.broken_at == 3
        assert inside(full) == before


def test_an_export_of_a_tampered_chain_says_so(full: Ledger, tmp_path: Path) -> None:
    """A broken chain is exported as it stands; the export fails at the same record."""
    with tampered(full, sa.update(EVENT).where(EVENT.c.seq == 3).values(actor="eve")):
        assert full.export(tmp_path / "chain.jsonl").broken_at == 3
    assert verify_export(tmp_path / "chain.jsonl").broken_at == 3


def test_an_untouched_export_verifies(full: Ledger, tmp_path: Path) -> None:
    """An export verifies without the database and gives the same head."""
    exported = full.export(tmp_path / "chain.jsonl")
    assert exported == full.verify() == verify_export(tmp_path / "chain.jsonl")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("chain")] == ["chain.jsonl"]


@often
@given(data=st.data())
def test_a_changed_export_is_found(full: Ledger, tmp_path: Path, data: st.DataObject) -> None:
    """An export with a bit flipped, a line removed, repeated or moved, or its end cut off does not verify."""
    path = tmp_path / "chain.jsonl"
    full.export(path)
    lines = path.read_bytes().splitlines(keepends=True)
    at = data.draw(st.integers(1, RECORDS), label="record")
    other = data.draw(st.integers(1, RECORDS).filter(lambda number: number != at), label="other record")
    match data.draw(st.sampled_from(["flip", "remove", "repeat", "exchange", "cut", "end"])):
        case "flip":
            line = bytearray(lines[at])
            place = data.draw(st.integers(0, len(line) - 2))
            line[place] ^= 1 << data.draw(st.integers(0, 7))
            lines[at], wanted = bytes(line), at
        case "remove":
            del lines[at]
            wanted = at
        case "repeat":
            lines.insert(at, lines[at])
            wanted = at + 1
        case "exchange":
            lines[at], lines[other] = lines[other], lines[at]
            wanted = min(at, other)
        case "cut":
            del lines[at + 1 :]
            wanted = at + 1
        case _:
            lines[-1] = lines[-1].replace(f'"records":{RECORDS}'.encode(), f'"records":{at}'.encode())
            assume(at != RECORDS)
            wanted = at + 1
    path.write_bytes(b"".join(lines))
    assert verify_export(path).broken_at == wanted
