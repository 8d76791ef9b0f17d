"""DuckDB's errors as ours: the one place that reads its messages.

Its exception classes alone do not tell: the same error comes as ``duckdb.Error`` from a statement and as ``OSError``
from a stream. The first words of the message are the same in both.
"""

from __future__ import annotations

import errno
import json
import re
from typing import Final

from millpond.engines.errors import (
    DiskFull,
    EngineFault,
    EngineOutOfMemory,
    QueryCancelled,
    QueryFailed,
    QueryInvalid,
)
from millpond.kernel import MillpondError

_KIND: Final = re.compile(r"(?P<kind>[A-Za-z][A-Za-z -]{0,40}?) Error: (?P<rest>.*)", re.DOTALL)
_PLACE: Final = re.compile(r"\n+LINE (?P<line>\d+): (?P<text>[^\n]*)\n(?P<caret>[ ]*)\^+[^\n]*", re.DOTALL)
_INVALID: Final = {
    "parser", "syntax", "binder", "catalog", "not implemented", "permission", "dependency", "parameter not resolved",
    "parameter not allowed", "expression", "mismatch type",
}  # fmt: skip
_BROKEN: Final = {"internal", "fatal"}
_FULL: Final = (
    "No space left on device",
    "Disk quota exceeded",
    "max_temp_directory_size",
    f'"errno":"{errno.ENOSPC}"',
)
_ADVICE: Final = re.compile(r"\n+(?:Possible solutions|This (?:limit|error)|See also|Stack Trace).*", re.DOTALL)


def translate(
    error: BaseException, *, memory_bytes_max: int | None = None, line_offset: int = 0, cancelled: bool = False
) -> MillpondError:
    """Give our error for one of DuckDB's.

    Args:
        error: what DuckDB, or the stream of its answer, raised.
        memory_bytes_max: the session's limit, for the message.
        line_offset: lines that were put before the user's SQL.
        cancelled: the statement was to be stopped; whatever it says then, it was.
    """
    if isinstance(error, MillpondError):
        return error
    text = _plain(str(error).strip())
    match = _KIND.match(text)
    kind, rest = (match["kind"].lower(), match["rest"]) if match else ("", text)
    if cancelled or kind == "interrupt":
        return QueryCancelled()
    if kind in _INVALID:
        return _invalid(rest, line_offset)
    return _failure(kind, rest, memory_bytes_max)


def _failure(kind: str, told: str, memory_bytes_max: int | None) -> MillpondError:
    reason = _ADVICE.sub("", told)
    if any(sign in told for sign in _FULL):
        return DiskFull(reason)
    if kind == "out of memory":
        return EngineOutOfMemory(reason, memory_bytes_max=memory_bytes_max)
    if kind in _BROKEN:
        return EngineFault(reason)
    return QueryFailed(_PLACE.sub("", reason).strip(), kind=kind, hint=_hint(kind))


def _plain(text: str) -> str:
    """Unwrap a message that DuckDB gives as JSON inside another."""
    head, brace, tail = text.partition('{"exception_type":')
    if not brace:
        return text
    try:
        told = json.loads(brace + tail)
    except ValueError:
        return text
    return f"{head}{told.get('exception_message', '')}" if "exception_message" in told else text


def _invalid(rest: str, line_offset: int) -> QueryInvalid:
    match = _PLACE.search(rest)
    line = column = None
    if match:
        line = max(int(match["line"]) - line_offset, 1)
        if not match["text"].startswith("..."):  # else the line is cut on the left and the caret tells nothing
            column = max(len(match["caret"]) - len(f"LINE {match['line']}: ") + 1, 1)
        rest = rest[: match.start()] + rest[match.end() :]
    reason, _, more = rest.strip().partition("\n")
    return QueryInvalid(reason, line=line, column=column, hint=more.strip() or None)


def _hint(kind: str) -> str | None:
    if kind == "io":
        return "If a file is missing, it was deleted after the query began; run the query again."
    if kind in {"conversion", "out of range"}:
        return "try_cast gives NULL where a value does not fit; a wider type holds larger numbers."
    return None
