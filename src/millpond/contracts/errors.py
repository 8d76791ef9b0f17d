"""What can go wrong with one value of a contract; whole documents raise ``ProblemsFound``."""

from __future__ import annotations

from millpond.kernel import MillpondError


class UnknownType(MillpondError):
    """A type that DuckDB does not have, or a name that no type goes by."""

    code = "type-unknown"
    exit_code = 2

    def __init__(self, type_text: str, *, why: str = "is no type that Millpond knows", hint: str | None = None) -> None:
        """Keep *type_text*, *why* it is refused, and what to write instead."""
        super().__init__(f"{type_text!r} {why}", hint=hint)
        self.type_text = type_text
        self.why = why
