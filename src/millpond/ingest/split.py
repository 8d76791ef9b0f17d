"""Where records begin and end in a CSV or NDJSON file, by our own count and independent of any reader.

Owns one definition of a record. A field is quoted where it begins with the quote character; a quoted field ends at the
next quote that is not escaped, and a delimiter, a line's end or the file's end must follow. A quote elsewhere is
text. A line whose quotes do not come out so is one malformed record, and the next record begins on the next line: one
stray quote never swallows its neighbours. Lines end in LF, CRLF or CR; an empty line is no record.

Works on blocks of bytes: in vectors where every quote is regular, by a regular expression where one is not.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from millpond.kernel import KiB, MiB

BOM: Final = b"\xef\xbb\xbf"
_BLOCK_BYTES: Final = 4 * MiB
_SURVEY_BYTES: Final = 512 * KiB
"""Small enough that a block and its masks stay in the processor's cache: three times as fast as 4 MiB."""
_LONG_BYTES: Final = 256 * KiB
_LF, _CR = 10, 13

Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """The characters that structure a file; *quote* empty: nothing is quoted (also for NDJSON)."""

    delimiter: bytes = b","
    quote: bytes = b'"'
    escape: bytes = b'"'
    row_bytes_max: int = 16 * MiB

    @property
    def doubles(self) -> bool:
        """True where a quote inside a quoted field is written twice."""
        return self.escape == self.quote or not self.escape


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Whole records, one after the other, in one piece of a file."""

    data: bytes
    cuts: Places
    """Record *i* is ``data[cuts[i]:cuts[i + 1]]``, with its line end."""
    malformed: tuple[int, ...] = ()
    """Records whose quotes do not come out."""
    length: int | None = None
    """Given for a block of one record that is too long to hold: its bytes in all, of which *data* is the beginning."""


@dataclass(slots=True)
class Lines:
    """Splits blocks of one dialect."""

    dialect: Dialect
    _record: re.Pattern[bytes] | None = field(default=None, init=False)
    _fields: re.Pattern[bytes] | None = field(default=None, init=False)
    _open: re.Pattern[bytes] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if not self.dialect.quote:
            return
        q, d = re.escape(self.dialect.quote), re.escape(self.dialect.delimiter)
        if self.dialect.doubles:
            body = q + rb"[^" + q + rb"]*+(?:" + q + q + rb"[^" + q + rb"]*+)*+"
        else:
            e = re.escape(self.dialect.escape)
            body = q + rb"[^" + q + e + rb"]*+(?:" + e + rb"[\s\S][^" + q + e + rb"]*+)*+"
        one = rb"(?:" + body + q + rb"(?=[" + d + rb"\r\n]|\Z)|(?!" + q + rb")[^" + d + rb"\r\n]*+)"
        self._record = re.compile(one + rb"(?:" + d + one + rb")*+(?:\r\n|\n|\r|\Z)")
        self._fields = re.compile(rb"(?:" + one + d + rb")*+")
        self._open = re.compile(body + rb"(?:" + q + rb")?\Z")

    def split(self, data: bytes, *, final: bool, give_up: bool = False) -> tuple[Places, tuple[int, ...]]:
        """Give the cuts of the records that are whole in *data*, and which of them are malformed.

        *final*: nothing follows. *give_up*: a quoted field that is still open at the end will not be closed.
        """
        ends = self._line_ends(data, final=final)
        bad: list[int] = []
        if self.dialect.quote and self.dialect.quote in data:
            regular = self._outside(data, ends) if self.dialect.doubles and not give_up else None
            if regular is None:
                return self._walk(data, final=final, give_up=give_up)
            ends = regular
        last = int(ends[-1]) if len(ends) else 0
        if final and last < len(data):
            if self.dialect.quote and self.dialect.quote in data[last:]:
                tail, tail_bad = self._walk(data[last:], final=True, give_up=True)
                bad = [len(ends) + i for i in tail_bad]
                ends = np.concatenate([ends, tail[1:] + last])
            else:
                ends = np.append(ends, len(data))
        return np.concatenate([np.zeros(1, np.int64), ends]), tuple(bad)

    def _line_ends(self, data: bytes, *, final: bool) -> Places:
        array = np.frombuffer(data, np.uint8)
        ends = np.flatnonzero(array == _LF) + 1
        if b"\r" not in data:
            return ends
        returns = np.flatnonzero(array == _CR)
        if len(returns) and returns[-1] == len(data) - 1 and not final:
            returns = returns[:-1]
        follows = np.append(array, 0)[returns + 1]
        return np.sort(np.concatenate([ends, returns[follows != _LF] + 1]))

    def _outside(self, data: bytes, ends: Places) -> Places | None:
        """Give the line ends outside quotes; None where a quote is not regular, so that parity cannot tell."""
        array = np.frombuffer(data, np.uint8)
        quotes = np.flatnonzero(array == self.dialect.quote[0])
        opens, closes = quotes[0::2], quotes[1::2]
        around = np.full(len(data) + 2, _LF, np.uint8)
        around[1:-1] = array
        neighbours = np.zeros(256, bool)
        neighbours[[_LF, _CR, self.dialect.delimiter[0], self.dialect.quote[0]]] = True
        if not (neighbours[around[opens]].all() and neighbours[around[closes + 2]].all()):
            return None
        outside: Places = ends[np.searchsorted(quotes, ends) & 1 == 0]
        return outside

    def _walk(self, data: bytes, *, final: bool, give_up: bool) -> tuple[Places, tuple[int, ...]]:
        assert self._record is not None
        cuts, bad, at, size = [0], [], 0, len(data)
        while at < size:
            match = self._record.match(data, at)
            if match is not None:
                end = match.end()
                if end == size and not final and not data.endswith(b"\n"):
                    break
            else:
                if not (final or give_up) and self._may_close(data, at):
                    break
                end = _line_end(data, at)
                if end == size and not final and not data.endswith(b"\n"):
                    break
                bad.append(len(cuts) - 1)
            cuts.append(end)
            at = end
        return np.array(cuts, np.int64), tuple(bad)

    def _may_close(self, data: bytes, at: int) -> bool:
        assert self._fields is not None
        assert self._open is not None
        match = self._fields.match(data, at)
        return self._open.match(data, match.end() if match else at) is not None


def _line_end(data: bytes, at: int) -> int:
    ends = [end for end in (data.find(b"\n", at), data.find(b"\r", at)) if end >= 0]
    if not ends:
        return len(data)
    first = min(ends)
    return first + 2 if data[first : first + 2] == b"\r\n" else first + 1


def blocks(path: Path, dialect: Dialect) -> Iterator[Block]:
    """Read a file as blocks of whole records; memory holds a few blocks, or a few times the longest row allowed."""
    lines = Lines(dialect)
    with path.open("rb") as file:
        rest = file.read(_BLOCK_BYTES).removeprefix(BOM)
        final = False
        while rest or not final:
            cuts, bad = lines.split(rest, final=final)
            whole = int(cuts[-1])
            if whole == 0 and len(rest) > dialect.row_bytes_max:
                cuts, bad = lines.split(rest, final=final, give_up=True)
                whole = int(cuts[-1])
                if whole == 0:
                    block, rest = _too_long(file, rest, dialect.row_bytes_max)
                    yield block
                    continue
            if whole:
                yield Block(data=rest[:whole], cuts=cuts, malformed=bad)
                rest = rest[whole:]
            if final:
                return
            more = file.read(max(_BLOCK_BYTES, len(rest)))
            final = not more
            rest += more


def _too_long(file: BinaryIO, rest: bytes, row_bytes_max: int) -> tuple[Block, bytes]:
    kept, length = rest[:row_bytes_max], 0
    while True:
        end = _line_end(rest, 0)
        length += end
        if end < len(rest) or rest.endswith(b"\n"):
            break
        rest = file.read(_BLOCK_BYTES)
        if not rest:
            break
    cuts = np.array([0, len(kept)], np.int64)
    return Block(data=kept, cuts=cuts, length=length), rest[end:]


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What a quick look says of a file."""

    records: int
    """Header included."""
    is_plain: bool
    """Every row has as many fields as the header, quotes are regular, no NUL, no empty or very long line: a reader
    that finds the same number of records has found the same records."""


_NOT_PLAIN: Final = Survey(records=0, is_plain=False)


@dataclass(slots=True)
class _Tally:
    """What a survey knows after each block."""

    records: int = 0
    delimiters: int = 0
    last: int = _LF
    """The last byte."""
    inside: bool = False
    """The next byte stands inside quotes."""
    open_bytes: int = 0
    """Length so far of the record that the next block goes on with."""


def survey(path: Path, dialect: Dialect, *, fields: int | None, stop: threading.Event | None = None) -> Survey:
    """Count records and, with *fields* per record given, delimiters: 1.5 GB a second, a third of it with quotes.

    It ends at the first thing that is not plain, or when *stop* is set, and then calls the file not plain.
    """
    tally = _Tally()
    with path.open("rb") as file:
        data = file.read(_SURVEY_BYTES).removeprefix(BOM)
        while data:
            if data[-1:] in (b"\r", dialect.quote):
                data += file.read(64 * KiB)
                if data[-1:] in (b"\r", dialect.quote) and file.peek(1):
                    return _NOT_PLAIN
            if not _count(data, dialect, tally) or (stop is not None and stop.is_set()):
                return _NOT_PLAIN
            data = file.read(_SURVEY_BYTES)
    if tally.inside:
        return _NOT_PLAIN
    records = tally.records + (tally.last != _LF)
    return Survey(records=records, is_plain=fields is None or tally.delimiters == records * (fields - 1))


def _count(data: bytes, dialect: Dialect, tally: _Tally) -> bool:
    """Add a block's line ends and delimiters outside quotes; false where something is not plain."""
    array = np.frombuffer(data, np.uint8)
    newlines, delimiters = array == _LF, array == dialect.delimiter[0]
    if b"\0" in data:
        return False
    if b"\r" in data and (data.endswith(b"\r") or ((array == _CR)[:-1] & ~newlines[1:]).any()):
        return False
    if dialect.quote and (tally.inside or dialect.quote in data):
        outside = _outside_quotes(array, dialect, tally)
        if outside is None:
            return False
        newlines &= outside
        delimiters &= outside
        tally.inside ^= bool(np.count_nonzero(array == dialect.quote[0]) & 1)
    ends = np.flatnonzero(newlines)
    begun = min(tally.open_bytes, 3)  # a line that began in the block before is not empty here
    gaps = np.diff(ends, prepend=-1 - begun)
    if len(gaps) and gaps.min() <= (2 if b"\r" in data else 1):
        return False
    if len(ends):
        longest = max(int(gaps.max()), int(ends[0]) + tally.open_bytes)
        tally.open_bytes = len(data) - int(ends[-1]) - 1
    else:
        longest = tally.open_bytes = tally.open_bytes + len(data)
    tally.records += len(ends)
    tally.delimiters += int(np.count_nonzero(delimiters))
    tally.last = data[-1]
    return longest <= min(_LONG_BYTES, dialect.row_bytes_max)


def _outside_quotes(array: NDArray[np.uint8], dialect: Dialect, tally: _Tally) -> NDArray[np.bool_] | None:
    """Tell which bytes stand outside quotes; None where a quote is not regular."""
    if not dialect.doubles:
        return None
    is_quote = array == dialect.quote[0]
    quotes = np.flatnonzero(is_quote)
    opens, closes = (quotes[1::2], quotes[0::2]) if tally.inside else (quotes[0::2], quotes[1::2])
    around = np.full(len(array) + 2, _LF, np.uint8)
    around[0], around[1:-1] = tally.last, array
    neighbours = np.zeros(256, bool)
    neighbours[[_LF, _CR, dialect.delimiter[0], dialect.quote[0]]] = True
    if not (neighbours[around[opens]].all() and neighbours[around[closes + 2]].all()):
        return None
    return ~(np.bitwise_xor.accumulate(is_quote.view(np.uint8)).view(bool) ^ tally.inside)
