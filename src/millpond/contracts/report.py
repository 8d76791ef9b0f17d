"""Collects what is wrong with one document, each with its field's path, place and fix."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

from millpond.contracts.document import Document, Mapped, Path, Value
from millpond.contracts.spec import Severity
from millpond.kernel import Location, Problem, canonical_json

RESERVED: Final = "_mp_"
"""Columns whose names begin so are Millpond's own."""

_SEVERITIES: Final = {
    "info": Severity.INFO, "low": Severity.INFO,
    "warning": Severity.WARNING, "warn": Severity.WARNING, "medium": Severity.WARNING,
    "error": Severity.ERROR, "high": Severity.ERROR,
    "critical": Severity.CRITICAL, "fatal": Severity.CRITICAL, "blocker": Severity.CRITICAL,
}  # fmt: skip
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_NAME_BYTES_MAX: Final = 200


class Report:
    """The problems of one document, and the places of its parts."""

    def __init__(self, document: Document, version: str) -> None:
        """Report about *document*, an ODCS document of *version*."""
        self.document = document
        self.version = version
        self.problems: list[Problem] = list(document.repeated)
        self._seen: set[tuple[Location, str]] = set()
        self._broken: set[Path] = set()

    def add(self, path: Path, what: str, fix: str | None = None, *, key: bool = False) -> None:
        """Note that the field at *path* is wrong, or its name where *key*."""
        at = self.document.locate(path, key=key)
        self._broken.update(path[:length] for length in range(len(path) + 1))
        if (at, what) not in self._seen:
            self._seen.add((at, what))
            self.problems.append(Problem(what=f"{show_path(path)}: {what}" if path else what, at=at, fix=fix))

    def broken(self, path: Path) -> bool:
        """Tell whether something at *path* or below it is wrong already."""
        return path in self._broken

    def at(self, part: Value) -> Location | None:
        """Give the place of a mapping."""
        return Location(self.document.path, part.line, part.column) if isinstance(part, Mapped) else None

    def severity(self, part: dict[str, Value], path: Path, default: Severity) -> Severity:
        """Read ``severity`` of *part*."""
        text = part.get("severity")
        if text is None:
            return default
        found = _SEVERITIES.get(str(text).lower())
        if found is None:
            self.add(
                (*path, "severity"),
                f"`{text}` is no severity",
                suggest(str(text), ["info", "warning", "error", "critical"]),
            )
            return default
        return found

    def name(self, name: str, path: Path, noun: str) -> None:
        """Check that *name* can be a name in SQL and, but for a column's, of a folder."""
        fix = None
        if not name or name != name.strip():
            what, fix = f"the name `{name}` is empty or begins or ends with a space", "Write a name without them"
        elif _CONTROL.search(name):
            what, fix = "the name holds a control character", "Write letters, digits and _ only"
        elif len(name.encode()) > _NAME_BYTES_MAX:
            what, fix = f"the name has {len(name.encode())} bytes", f"Shorten it to {_NAME_BYTES_MAX}"
        elif noun == "column" and name.lower().startswith(RESERVED):
            what, fix = (
                f"names that begin with {RESERVED} are Millpond's own",
                f"Rename it: {name[len(RESERVED) :] or 'x'}",
            )
        elif noun != "column" and re.search(r"[./\\]", name):
            what, fix = (
                f"the name `{name}` holds a dot or a slash",
                f"Write {re.sub(r'[^A-Za-z0-9_]+', '_', name).strip('_') or noun}",
            )
        else:
            return
        self.add(path, what, fix)


def show_path(path: Path) -> str:
    """Write a path as people do: ``schema[0].properties[3].logicalType``."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


def suggest(word: str, known: Iterable[str]) -> str:
    """Say which of *known* was meant by *word*, or list them."""
    names = list(known)
    lower = {name.lower(): name for name in names}
    near = get_close_matches(word.lower(), lower, n=1, cutoff=0.6)
    if near:
        return f"Did you mean `{lower[near[0]]}`?"
    if len(names) == 1:
        return f"Write `{names[0]}`"
    shown = names if len(names) <= 30 else [*names[:30], f"... ({len(names)} in all)"]
    return f"Write one of: {', '.join(shown)}" if names else "There is none to choose from"


def text_of(part: dict[str, Value], key: str) -> str | None:
    """Give the text under *key*; None without it, or where it is no text."""
    value = part.get(key)
    return value if isinstance(value, str) else None


def number_of(part: dict[str, Value], key: str) -> int | None:
    """Give the whole number under *key*; None without it."""
    value = part.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def texts_of(part: dict[str, Value], key: str) -> tuple[str, ...]:
    """Give the list under *key*, each item as text."""
    value = part.get(key)
    return tuple(map(as_text, value)) if isinstance(value, list) else ()


def parts_of(part: dict[str, Value], key: str) -> list[tuple[int, dict[str, Value]]]:
    """Give the mappings in the list under *key*, with their places."""
    value = part.get(key)
    if not isinstance(value, list):
        return []
    return [(place, item) for place, item in enumerate(value) if isinstance(item, dict)]


def as_text(value: Value) -> str:
    """Write a value as the text that DuckDB's VARCHAR has for it."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return ""
    if isinstance(value, list | dict):
        return canonical_json(value)
    return repr(value)
