"""What can go wrong while an engine works, in words that do not depend on the engine."""

from __future__ import annotations

from typing import ClassVar

from millpond.kernel import MillpondError, format_bytes


class QueryInvalid(MillpondError):
    """The SQL does not parse, or names what is not there, or its types do not fit."""

    code: ClassVar[str] = "query-invalid"
    exit_code: ClassVar[int] = 2

    def __init__(
        self, reason: str, *, line: int | None = None, column: int | None = None, hint: str | None = None
    ) -> None:
        """Keep the engine's own *reason*, and the place in the SQL, both from 1."""
        self.reason = reason
        self.line = line
        self.column = column
        place = "" if line is None else f" (line {line})" if column is None else f" (line {line}, column {column})"
        super().__init__(f"The query is not valid{place}: {reason}", hint=hint)


class QueryFailed(MillpondError):
    """The SQL was valid and its data was not: a value that cannot be converted, a number out of range, a lost file."""

    code: ClassVar[str] = "query-failed"

    def __init__(self, reason: str, *, kind: str = "", hint: str | None = None) -> None:
        """Keep the engine's own *reason*, and the *kind* of failure by its words: ``conversion``, ``out of range``."""
        self.reason = reason
        self.kind = kind
        super().__init__(f"The query failed: {reason}", hint=hint)


class QueryCancelled(MillpondError):
    """The statement was stopped by ``cancel``; what it had written is removed."""

    code: ClassVar[str] = "query-cancelled"
    exit_code: ClassVar[int] = 130

    def __init__(self) -> None:
        """Nothing to keep."""
        super().__init__("The query was cancelled")


class EngineOutOfMemory(MillpondError):
    """A statement needs more memory than its session may use, after spilling what can be spilled."""

    code: ClassVar[str] = "engine-out-of-memory"

    def __init__(self, reason: str, *, memory_bytes_max: int | None = None) -> None:
        """Keep the engine's own *reason* and the session's limit."""
        self.reason = reason
        self.memory_bytes_max = memory_bytes_max
        limit = "" if memory_bytes_max is None else f" of {format_bytes(memory_bytes_max)}"
        super().__init__(
            f"The query does not fit in the engine's memory{limit}: {reason}",
            hint="Raise the engine's memory in millpond.yaml, lower its threads, or split the query.",
        )


class DiskFull(MillpondError):
    """There is no room for what is written, or for intermediate results."""

    code: ClassVar[str] = "disk-full"

    def __init__(self, reason: str) -> None:
        """Keep the engine's own *reason*."""
        self.reason = reason
        super().__init__(
            f"The disk is full: {reason}",
            hint="Free space, or give the engine another folder or a higher limit for intermediate results.",
        )


class EngineFault(MillpondError):
    """The engine broke: an error of its own, not of the query."""

    code: ClassVar[str] = "engine-fault"

    def __init__(self, reason: str) -> None:
        """Keep the engine's own *reason*."""
        self.reason = reason
        super().__init__(
            f"The engine broke: {reason}",
            hint="Try a newer version of the engine; if it persists, report the query with this message.",
        )
