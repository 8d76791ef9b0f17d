"""A value that never prints."""

from __future__ import annotations

from typing import final


@final
class Secret:
    """Text that is shown as ``***`` by ``str``, ``repr``, formatting, JSON and tracebacks."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        """Hold *text*."""
        self._text = text

    def reveal(self) -> str:
        """Give the text, for the one call that needs it."""
        return self._text

    def __repr__(self) -> str:
        """Never the text."""
        return "***"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        """Equal to a secret of the same text only."""
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        """Hash by text, so that a secret can be a key."""
        return hash(("Secret", self._text))

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle, for worker processes."""
        return (Secret, (self._text,))
