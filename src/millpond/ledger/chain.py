"""The hash chain: how a record becomes text, how its hash follows from the one before, how a chain is judged.

Knows no database. A record's hash is SHA-256 over the previous record's hash (64 hexadecimal digits; nothing before
the first record) and the record's canonical JSON: the keys actor, at_us, env, kind, payload, run_id, seq, subject.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from json.encoder import encode_basestring
from pathlib import Path
from typing import Final, cast

from millpond.kernel import Json, canonical_json
from millpond.ledger.spec import ChainReport, Pointer

_SURROGATE: Final = re.compile("[\ud800-\udfff]")
# canonical_json with the encoder kept: making one per call costs as much as encoding a small payload
_encode: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode

EXPORT_FIRST_LINE: Final = '{"format":"millpond-ledger","version":1}'


class JsonText(Mapping[str, "Json"]):
    """A JSON object, decoded when first looked into: ten thousand definitions are listed without decoding them."""

    __slots__ = ("_member", "_text", "_value")

    def __init__(self, text: str, member: str | None = None) -> None:
        """Hold the object written in *text*, or the object under its key *member*."""
        self._text = text
        self._member = member
        self._value: Mapping[str, Json] | None = None

    def _decoded(self) -> Mapping[str, Json]:
        if self._value is None:
            whole = json.loads(self._text)
            self._value = whole if self._member is None else whole[self._member]
        return self._value

    def __getitem__(self, key: str) -> Json:
        return self._decoded()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._decoded())

    def __len__(self) -> int:
        return len(self._decoded())

    def __repr__(self) -> str:
        return repr(self._decoded())

    def __reduce__(self) -> tuple[object, ...]:
        return (JsonText, (self._text, self._member))


def payload_text(payload: Mapping[str, Json]) -> str:
    """Write *payload* as canonical JSON that UTF-8 can carry.

    Raises:
        TypeError, ValueError: it holds what JSON cannot say.
    """
    try:
        text = _encode(payload)
    except TypeError:  # mappings other than dict, sequences other than list
        text = canonical_json(_plain(payload))
    if not text.isascii() and _SURROGATE.search(text):  # half a character, from a file name or a command line
        text = _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
    return text


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(item) for item in value]
    return value


def record_text(
    *,
    seq: int,
    at_us: int,
    kind: str,
    actor: str,
    env: str | None,
    subject: str | None,
    run_id: str | None,
    payload: str,
) -> str:
    """Write a record as canonical JSON; *payload* is put in as it is stored."""
    return (
        f'{{"actor":{_text(actor)},"at_us":{at_us},"env":{_text(env)},"kind":{_text(kind)},'
        f'"payload":{payload},"run_id":{_text(run_id)},"seq":{seq},"subject":{_text(subject)}}}'
    )


def _text(value: str | None) -> str:
    return "null" if value is None else encode_basestring(str(value))  # str(): a tampered value can be anything


def record_hash(previous: str, text: str) -> str:
    """Chain *text* to the record before it.

    Raises:
        UnicodeEncodeError: *text* holds half a character.
    """
    return hashlib.sha256((previous + text).encode()).hexdigest()


class ChainCheck:
    """Judges a chain record by record, in constant memory."""

    def __init__(self) -> None:
        """Begin before the first record."""
        self._records = 0
        self._head = ""
        self._broken_at: int | None = None
        self._reason: str | None = None

    @property
    def broken(self) -> bool:
        """True once a record did not fit; what comes after is not judged."""
        return self._broken_at is not None

    def see(self, seq: int, text: str, stored: object) -> None:
        """Judge the next record: its number, its canonical JSON and the hash *stored* with it."""
        if self.broken:
            return
        expected = self._records + 1
        if seq > expected:
            self._break(expected, f"record {expected} is missing, {seq} stands in its place")
        elif seq < expected:
            self._break(expected, f"record {seq} stands where {expected} should")
        elif not self._fits(text, stored):
            self._break(seq, f"record {seq} differs from what its hash was made of")
        else:
            self._records, self._head = seq, str(stored)

    def end(self, records: int, head: str) -> None:
        """Compare the chain's end with what was noted elsewhere: the number of *records* and the last hash."""
        if self.broken or (self._records == records and self._head == head):
            return
        if self._records < records:
            self._break(self._records + 1, f"record {self._records + 1} is missing, the chain should have {records}")
        elif self._records > records:
            self._break(records + 1, f"record {records + 1} was added past the noted end")
        else:
            self._break(max(records, 1), "the last record is not the one that was noted as the last")

    def report(self) -> ChainReport:
        """Say what was found."""
        return ChainReport(records=self._records, head=self._head, broken_at=self._broken_at, reason=self._reason)

    def _fits(self, text: str, stored: object) -> bool:
        try:
            return record_hash(self._head, text) == stored
        except UnicodeEncodeError:  # bytes that are no text: we never wrote them
            return False

    def _break(self, at: int, reason: str) -> None:
        self._broken_at, self._reason = at, reason


def export_line(text: str, stored: object) -> str:
    """Write one record of an export: its hash, then its canonical JSON, unchanged."""
    return f'{{"hash":{json.dumps(stored)},"record":{text}}}'


def export_last_line(records: int, head: str) -> str:
    """Write an export's end, which shows a file cut short."""
    return canonical_json({"head": head, "records": records})


_LINE: Final = re.compile(rb'\{"hash":"([0-9a-f]{64})","record":(\{.*\})\}')
_LAST: Final = re.compile(rb'\{"head":"([0-9a-f]{64}|)","records":([0-9]+)\}')
_SEQ: Final = re.compile(rb'.*,"seq":([0-9]+),"subject":')  # the last one: a quote inside a text is escaped


def verify_export(path: Path) -> ChainReport:
    """Judge an exported chain, without a database and in constant memory.

    Raises:
        OSError: the file cannot be read.
    """
    check = ChainCheck()
    ended = False
    seen = 0
    with path.open("rb") as lines:
        first = lines.readline().rstrip(b"\n")
        if first != EXPORT_FIRST_LINE.encode():
            return ChainReport(records=0, head="", broken_at=1, reason="the file is no export of a ledger")
        for raw in lines:
            line = raw.removesuffix(b"\n")
            if ended:
                return _broken(check, seen + 1, "something follows the export's last line")
            if found := _LAST.fullmatch(line):
                check.end(int(found[2]), found[1].decode())
                ended = True
            elif (parts := _LINE.fullmatch(line)) and (number := _SEQ.match(parts[2])):
                seen += 1
                check.see(int(number[1]), parts[2].decode(errors="surrogateescape"), parts[1].decode())
            else:
                return _broken(check, seen + 1, f"line {seen + 2} of the file is no record")
    if not ended:
        return _broken(check, seen + 1, "the file was cut short")
    return check.report()


def _broken(check: ChainCheck, at: int, reason: str) -> ChainReport:
    report = check.report()
    if report.broken_at is not None:
        return report
    return ChainReport(records=report.records, head=report.head, broken_at=at, reason=reason)


def pointer_json(pointer: Pointer | None) -> Json:
    """Write a pointer as events hold it: ``[table, version]``, or null."""
    return None if pointer is None else [pointer.table, pointer.version]


def pointer_from_json(value: Json) -> Pointer | None:
    """Read what :func:`pointer_json` wrote."""
    if value is None:
        return None
    table, version = cast("Sequence[Json]", value)
    return Pointer(table=cast("str", table), version=cast("int", version))
