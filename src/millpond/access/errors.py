"""What the reading door says when it does not answer: never a hidden value, name, path or policy's text."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar, Final, Literal

from millpond.engines import EngineOutOfMemory, QueryFailed
from millpond.kernel import MillpondError

Reason = Literal[
    "principal", "statement", "construct", "function", "type", "dataset", "purpose", "denied", "attribute", "policy",
    "limit", "engine",
]  # fmt: skip


class AccessRefused(MillpondError):
    """The door did not answer; the event of the refusal is in the ledger."""

    code = "access-refused"
    exit_code = 6

    def __init__(
        self,
        message: str,
        *,
        reason: Reason,
        hint: str | None = None,
        principal: str = "",
        datasets: tuple[str, ...] = (),
        policy: str | None = None,
        ask: str | None = None,
    ) -> None:
        """Keep what was refused and why (*reason*), by which *policy*, and whom to *ask*."""
        super().__init__(message, hint=hint)
        self.reason = reason
        self.principal = principal
        self.datasets = datasets
        self.policy = policy
        self.ask = ask


class AnswerFailed(MillpondError):
    """The engine could not answer an admitted query; the message holds no values."""

    code: ClassVar[str] = "query-failed"


class AnswerStopped(AnswerFailed):
    """The query ran longer than it may."""

    code: ClassVar[str] = "query-stopped"


_TYPE: Final = r"[A-Z0-9_(), \[\]]{1,80}"
_CALL: Final = rf"[A-Za-z0-9_+*/%<>=|&~^@!-]{{1,60}}\({_TYPE}\)"
_HARMLESS: Final[Sequence[tuple[str, str]]] = (
    # names and types that the asker wrote, or that its own views show
    (
        r'column "(?P<name>[^"]{1,200})" must appear in the GROUP BY clause',
        'The column "{name}" must appear in GROUP BY, or inside an aggregate.',
    ),
    (
        r'Ambiguous reference to column name "(?P<name>[^"]{1,200})"',
        'The column name "{name}" is ambiguous: write the table\'s name before it.',
    ),
    (
        rf"Cannot compare values of type (?P<a>{_TYPE}) and (?:type )?(?P<b>{_TYPE}) -",
        "Values of type {a} and {b} cannot be compared: write a CAST.",
    ),
    (
        rf"No function matches the given name and argument types '(?P<call>{_CALL})'",
        "No function takes these types: {call}.",
    ),
    (r"aggregate function calls cannot be nested", "Aggregates cannot be nested."),
    (r"WHERE clause cannot contain (?P<what>aggregates|window functions)", "WHERE cannot contain {what}."),
    (
        r"Set operations can only apply to expressions with the same number of result columns",
        "Both sides of a set operation must have the same number of columns.",
    ),
    (r"More than one row returned by a subquery", "A subquery used as a value gave more than one row."),
)
_MISSING_COLUMN: Final = re.compile(
    r'(?:Referenced column "(?P<a>[^"]{1,200})" (?:was )?not found|does not have a column named "(?P<b>[^"]{1,200})"'
    r'|Table "[^"]{1,200}" does not have a column named "(?P<c>[^"]{1,200})")'
)
_KINDS: Final[Mapping[str, str]] = {
    "conversion": "A value could not be converted to the type asked for: TRY_CAST gives NULL instead.",
    "out of range": "A number left the range of its type: cast it to a wider type first.",
}


def without_values(error: BaseException, *, columns: Collection[str], sql: str) -> AnswerFailed:
    """Say what went wrong from the engine's *error*, in words that cannot hold data, paths or policies.

    *columns* are those the asker may see; *sql* is the asker's own text. Only names that stand in *sql* are repeated.
    """
    text = str(error)
    missing = _MISSING_COLUMN.search(text)
    if missing is not None:
        name = next(group for group in missing.groups() if group is not None)
        if name.lower() in sql.lower():
            close = difflib.get_close_matches(name.lower(), [column.lower() for column in columns], n=1)
            hint = f"Did you mean {close[0]!r}?" if close else None
            return AnswerFailed(f'There is no column "{name}" that you may read there.', hint=hint)
    for pattern, message in _HARMLESS:
        found = re.search(pattern, text)
        if found is not None and found.groupdict().get("name", "").lower() in sql.lower():
            return AnswerFailed(message.format(**found.groupdict()))
    if isinstance(error, EngineOutOfMemory):
        return AnswerFailed("The query needs more memory than it may use: read fewer columns, or aggregate earlier.")
    if isinstance(error, QueryFailed) and error.kind in _KINDS:
        return AnswerFailed(_KINDS[error.kind])
    return AnswerFailed(
        "The engine could not run the query.",
        hint="Details are withheld, as they can hold data. Check names, types and syntax; try the query in parts.",
    )
