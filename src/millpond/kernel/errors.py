"""The one root of Millpond's errors: each says what, where, and what to do next.

An error carries its facts as attributes, says whether trying again can help, and pickles, so that it crosses
processes unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Location:
    """A place in a user's file."""

    path: str
    """As the user knows it: relative to the project where it is inside one."""
    line: int | None = None
    """From 1."""
    column: int | None = None
    """From 1."""

    def __str__(self) -> str:
        """``path:line:column``, as editors read it."""
        parts = [self.path, *(str(n) for n in (self.line, self.column) if n is not None)]
        return ":".join(parts)


class MillpondError(Exception):
    """An error that a user can act on."""

    code: ClassVar[str] = "error"
    """Stable name, for scripts: it is printed with ``--json``."""
    exit_code: ClassVar[int] = 1
    """What the command line ends with; documented in ``docs/reference/exit-codes.md``."""
    transient: ClassVar[bool] = False
    """True where the same call can succeed later without anybody changing anything."""

    def __init__(self, message: str, *, hint: str | None = None, at: Location | None = None) -> None:
        """Keep *message* (what went wrong), *hint* (what to do next) and *at* (where)."""
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.at = at

    def __str__(self) -> str:
        """One paragraph: what, where, what next."""
        where = f" ({self.at})" if self.at else ""
        hint = f"\n{self.hint}" if self.hint else ""
        return f"{self.message}{where}{hint}"

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by state, whatever a subclass's constructor takes."""
        return (_rebuild, (type(self), self.args, self.__dict__))


def _rebuild(kind: type[MillpondError], args: tuple[object, ...], state: dict[str, object]) -> MillpondError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong with what the user wrote."""

    what: str
    """The reason, with the field's path in it."""
    at: Location
    fix: str | None = None
    """What to write instead."""

    def __str__(self) -> str:
        """``path:line:column: what. fix``."""
        return f"{self.at}: {self.what}" + (f"\n    {self.fix}" if self.fix else "")


class ProblemsFound(MillpondError):
    """Definitions that cannot be used; every problem is listed, not the first only."""

    code = "definitions-invalid"
    exit_code = 2

    def __init__(self, problems: Sequence[Problem]) -> None:
        """Keep *problems*, in the order of the files."""
        self.problems = tuple(problems)
        count = len(self.problems)
        head = f"{count} problem{'' if count == 1 else 's'} in the project's definitions"
        super().__init__("\n".join([head, *(f"  {problem}" for problem in self.problems)]))
