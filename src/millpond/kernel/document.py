"""YAML files of a user, read with the place of every value, so that an error can point at it."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from millpond.kernel.digest import Json
from millpond.kernel.errors import Location, Problem, ProblemsFound

Step = str | int


class _Loader(yaml.CSafeLoader):
    """Safe, fast, and leaves dates as the text that was written."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One YAML text: its value, and where each part of it stands."""

    path: str
    """As the user knows it."""
    text: str = field(repr=False)
    value: Json = field(repr=False)
    line_first: int = 1
    """Line of the file on which the text begins: above 1 for a header inside another file."""

    def at(self, *steps: Step) -> Location:
        """Find the place of ``value[steps[0]][steps[1]]...``; the nearest enclosing place where it does not exist.

        Composes the text anew, so it is for errors, not for every value.
        """
        node = yaml.compose(self.text, Loader=yaml.CSafeLoader)
        mark = node.start_mark if node is not None else None
        for step in steps:
            found = _child(node, step)
            if found is None:
                break
            node, mark = found
        line, column = (mark.line, mark.column) if mark is not None else (0, 0)
        return Location(self.path, line + self.line_first, column + 1)

    def problem(self, what: str, *steps: Step, fix: str | None = None) -> Problem:
        """Make a problem that points at *steps*."""
        return Problem(what=what, at=self.at(*steps), fix=fix)


def _child(node: yaml.Node | None, step: Step) -> tuple[yaml.Node, yaml.Mark] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(step):
                return value, key.start_mark
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and 0 <= step < len(node.value):
        return node.value[step], node.value[step].start_mark
    return None


def read_document(path: Path, *, root: Path) -> Document:
    """Read one YAML file of a project.

    Raises:
        ProblemsFound: the file is not readable as YAML, not UTF-8, or says a key twice.
    """
    shown = path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ProblemsFound([Problem(what=f"cannot be read: {error.strerror}", at=Location(shown))]) from error
    except UnicodeDecodeError as error:
        what = f"byte {error.start} is not UTF-8"
        raise ProblemsFound([Problem(what=what, at=Location(shown), fix="Save the file as UTF-8.")]) from error
    return parse_document(text, path=shown)


def parse_document(text: str, *, path: str, line_first: int = 1) -> Document:
    """Read YAML text that begins on *line_first* of *path*.

    Raises:
        ProblemsFound: not YAML, or a key is said twice in one mapping.
    """
    try:
        value = yaml.load(text, Loader=_Loader)  # noqa: S506 - a subclass of the safe loader
        problems = _twice(text, path, line_first)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        at = Location(path, mark.line + line_first, mark.column + 1) if mark else Location(path)
        what = f"not YAML: {getattr(error, 'problem', None) or error}"
        raise ProblemsFound([Problem(what=what, at=at, fix="Check indentation and quotes there.")]) from error
    if problems:
        raise ProblemsFound(problems)
    return Document(path=path, text=text, value=value, line_first=line_first)


def _twice(text: str, path: str, line_first: int) -> list[Problem]:
    problems = []
    open_keys: list[set[str] | None] = []
    expecting_key: list[bool] = []
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            if expecting_key:
                expecting_key[-1] = not expecting_key[-1]
            is_mapping = isinstance(event, yaml.MappingStartEvent)
            open_keys.append(set() if is_mapping else None)
            expecting_key.append(is_mapping)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            open_keys.pop()
            expecting_key.pop()
        elif isinstance(event, yaml.ScalarEvent | yaml.AliasEvent) and open_keys and open_keys[-1] is not None:
            if expecting_key[-1] and isinstance(event, yaml.ScalarEvent):
                if event.value in open_keys[-1]:
                    mark = event.start_mark
                    assert mark is not None, "the parser gives every event its place"
                    at = Location(path, mark.line + line_first, mark.column + 1)
                    what = f"the key {event.value!r} is written twice"
                    problems.append(Problem(what=what, at=at, fix="Keep one of the two."))
                open_keys[-1].add(event.value)
            expecting_key[-1] = not expecting_key[-1]
    return problems


def unknown_keys(document: Document, found: Mapping[str, Json], known: Collection[str], *steps: Step) -> list[Problem]:
    """Make a problem for each key of *found* (which stands at *steps*) that is not in *known*."""
    return [
        document.problem(f"unknown key {_spell(steps, key)}", *steps, key, fix=suggest(key, known))
        for key in found
        if key not in known
    ]


def _spell(steps: Sequence[Step], key: str) -> str:
    text = ""
    for step in (*steps, key):
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def suggest(word: str, known: Collection[str]) -> str:
    """Say which of the *known* words was probably meant, or list them."""
    close = difflib.get_close_matches(word.lower(), [str(k) for k in known], n=1, cutoff=0.6)
    if close:
        return f"Did you mean {close[0]!r}?"
    return f"One of: {', '.join(sorted(known))}." if known else "Nothing is known here."
