"""A mapping inside a policy file, read field by field; every misfit is noted with its place, none ends the reading."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from millpond.kernel import Document, Json, Location, Problem, unknown_keys

_NOTHING: Mapping[str, Json] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A mapping at *steps* of a document; an empty one stands in where something else was written."""

    document: Document
    steps: tuple[str | int, ...]
    fields: Mapping[str, Json]
    problems: list[Problem] = field(hash=False, compare=False)

    @classmethod
    def of(cls, document: Document, problems: list[Problem]) -> Section:
        """Read a whole document."""
        return cls._made(document, (), document.value, problems)

    @classmethod
    def _made(cls, document: Document, steps: tuple[str | int, ...], value: Json, problems: list[Problem]) -> Section:
        if isinstance(value, Mapping):
            fields = {_key(key): entry for key, entry in value.items()}
            return cls(document=document, steps=steps, fields=fields, problems=problems)
        where = ".".join(map(str, steps)) or "the file"
        problems.append(document.problem(f"{where} must be a mapping of keys to values", *steps))
        return cls(document=document, steps=steps, fields=_NOTHING, problems=problems)

    def problem(self, what: str, *steps: str | int, fix: str | None = None) -> None:
        """Note a problem at *steps* below this section."""
        self.problems.append(self.document.problem(what, *self.steps, *steps, fix=fix))

    def at(self) -> Location:
        """Find the section's place."""
        return self.document.at(*self.steps)

    def only(self, known: Collection[str]) -> None:
        """Note every key that is not *known*."""
        self.problems.extend(unknown_keys(self.document, self.fields, known, *self.steps))

    def has(self, key: str) -> bool:
        """Say whether *key* is written, if only as null."""
        return key in self.fields

    def value(self, key: str) -> Json:
        """Give what stands under *key*, as read."""
        return self.fields.get(key)

    def section(self, key: str) -> Section:
        """Read the mapping under *key*."""
        return self._made(self.document, (*self.steps, key), self.fields.get(key), self.problems)

    def nothing(self, key: str) -> Section:
        """Stand in for a mapping under *key* that is not written."""
        return Section(document=self.document, steps=(*self.steps, key), fields=_NOTHING, problems=self.problems)

    def sections(self, key: str) -> Iterator[Section]:
        """Read the list of mappings under *key*; none where the key is absent."""
        value = self.fields.get(key)
        if value is None:
            return
        if not isinstance(value, list | tuple):
            self.problem(f"{key} must be a list", key, fix="Begin each entry with a dash.")
            return
        for index, entry in enumerate(value):
            yield self._made(self.document, (*self.steps, key, index), entry, self.problems)

    def text(self, key: str, *, optional: bool = False) -> str:
        """Read a text that is not empty; "" where it is missing."""
        value = self.fields.get(key)
        if value is None or value == "":
            if not optional:
                self.problem(f"{key} is missing", key)
            return ""
        if not isinstance(value, str):
            self.problem(f"{key} must be text", key, fix=f'Write {key}: "{value}".')
            return ""
        if any(ord(character) < 32 and character not in "\n\t" for character in value):
            self.problem(f"{key} holds a control character", key)
            return ""
        return value

    def scalar(self, key: str) -> str:
        """Read a text, number or truth value, as text."""
        value = self.fields.get(key)
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, str | int | float):
            return str(value)
        self.problem(f"{key} must be one value", key)
        return ""

    def count(self, key: str) -> int:
        """Read a whole number from 0; 0 where it is missing."""
        value = self.fields.get(key, 0)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 1_000:
            self.problem(f"{key} is a whole number from 0 to 1000", key)
            return 0
        return value

    def flag(self, key: str) -> bool:
        """Read a truth value; false where it is missing."""
        value = self.fields.get(key, False)
        if not isinstance(value, bool):
            self.problem(f"{key} must be true or false", key)
            return False
        return value

    def choice(self, key: str, choices: Collection[str], *, default: str) -> str:
        """Read one of *choices*."""
        value = self.fields.get(key, default)
        if value not in choices:
            self.problem(f"{key} must be one of {', '.join(choices)}", key)
            return default
        return str(value)

    def texts(self, key: str) -> tuple[str, ...]:
        """Read a list of texts; one text stands for a list of one; empty where it is missing."""
        value = self.fields.get(key)
        if value is None:
            return ()
        if isinstance(value, str):
            value = [value]
        if not isinstance(value, list | tuple):
            self.problem(f"{key} must be a list of texts", key, fix=f"Write {key}: [a, b].")
            return ()
        good = []
        for index, entry in enumerate(value):
            if isinstance(entry, str) and entry.strip() and "\0" not in entry:
                good.append(entry)
            else:
                self.problem(f"{key} must be a list of texts", key, index, fix="Put quotes around it.")
        return tuple(good)

    def pairs(self, key: str) -> dict[str, str]:
        """Read a mapping of names to texts; numbers become text."""
        if self.fields.get(key) is None:
            return {}
        inner = self.section(key)
        return {str(name): inner.scalar(name) for name in inner.fields if not _has_nul(inner, name)}


def _key(key: object) -> str:
    """Give a key as it was written: YAML 1.1 reads a bare ``on`` as true."""
    return "on" if key is True else str(key)


def _has_nul(section: Section, name: str) -> bool:
    value = section.value(name)
    if isinstance(value, str) and "\0" in value:
        section.problem(f"{name} holds a NUL character", name)
        return True
    return False
