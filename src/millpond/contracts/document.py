"""A YAML document as plain values, with the place of each mapping and, when asked, of each field.

Owns reading YAML as JSON's types (YAML 1.2's core: ``no`` is text, ``2024-01-01`` is text, ``09:30`` is text), so that
what a contract means does not hang on a spelling. Refuses duplicate keys, keys that are not text, and documents that
expand without end. About 5 MB a second.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, cast

import yaml

from millpond.kernel import Location, Problem

_DEPTH_MAX: Final = 64
_NODES_MAX: Final = 200_000
"""Mappings and lists after aliases are expanded: far above a real contract, far below what fills the memory."""

_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE: Final = frozenset({"true", "True", "TRUE"})
_FALSE: Final = frozenset({"false", "False", "FALSE"})
_INT: Final = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_STR: Final = "tag:yaml.org,2002:str"

Path = tuple[str | int, ...]
"""Keys and places from the root: ``("schema", 0, "name")``."""

Value = None | bool | int | float | str | list["Value"] | dict[str, "Value"]


class Mapped(dict[str, Value]):
    """A mapping that knows where it begins."""

    __slots__ = ("column", "line")
    line: int
    """From 1."""
    column: int
    """From 1."""


class Unreadable(Exception):
    """The text is no YAML document that we read; carries the problem."""

    def __init__(self, problem: Problem) -> None:
        """Keep *problem*."""
        super().__init__(str(problem))
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Document:
    """One document: its value, and the nodes it was read from."""

    path: str
    value: Value
    root: yaml.Node | None
    repeated: tuple[Problem, ...] = ()
    """Keys given twice."""

    def locate(self, path: Path, *, key: bool = False) -> Location:
        """Find where the value at *path* stands, or its key; the nearest parent where *path* does not exist."""
        node, mark = self.root, self.root.start_mark if self.root else None
        for step in path:
            found: yaml.Node | None = None
            if isinstance(node, yaml.MappingNode):
                for name, value in node.value:
                    if name.value == step:
                        found, mark = value, (name if key else value).start_mark
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                found = node.value[step]
                mark = found.start_mark
            if found is None:
                break
            node = found
        return Location(self.path, mark.line + 1 if mark else 1, mark.column + 1 if mark else 1)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """libyaml's parser without PyYAML's resolver: tags of plain scalars are decided by ``_scalar``."""

    def resolve(self, kind: type[yaml.Node], _value: str, implicit: tuple[bool, bool]) -> str:
        if kind is yaml.ScalarNode:
            return "" if implicit[0] else _STR
        return "map" if kind is yaml.MappingNode else "seq"

    def descend_resolver(self, *_: object) -> None:
        """Nothing: the resolver's paths are not used."""

    def ascend_resolver(self) -> None:
        """Nothing: the resolver's paths are not used."""


def read_document(text: str | bytes, path: str) -> Document:
    """Read one YAML document; *path* is what locations call it.

    Raises:
        Unreadable: not YAML, more than one document, not UTF-8, endless.
    """
    try:
        root = _Loader(text).get_single_node()
    except yaml.YAMLError as cause:
        raise Unreadable(_why_not_yaml(cause, text, path)) from cause
    builder = _Builder(path)
    value = builder.build(root, 0) if root is not None else None
    return Document(path, value, root, tuple(builder.repeated))


def _why_not_yaml(cause: yaml.YAMLError, text: str | bytes, path: str) -> Problem:
    """Say where the parser stopped, and what is usually meant by that."""
    try:
        lines = (text if isinstance(text, str) else text.decode()).splitlines()
    except UnicodeDecodeError as wrong:
        line = wrong.object[: wrong.start].count(b"\n") + 1
        what = f"not a YAML document: the byte 0x{wrong.object[wrong.start]:02x} is not UTF-8"
        return Problem(what=what, at=Location(path, line), fix="Save the file as UTF-8")
    mark = getattr(cause, "problem_mark", None)
    said = getattr(cause, "problem", None) or getattr(cause, "reason", None) or "it cannot be read"
    fix = None
    if said.startswith("but "):
        said = f"{getattr(cause, 'context', None)}, {said}"
        fix = "Keep one document in the file"
    elif said == "mapping values are not allowed in this context":
        fix = "Quote text that contains `: `, or check the indentation"
    elif mark is not None and mark.line < len(lines) and "\t" in lines[mark.line][: mark.column + 1]:
        fix = "Indent with spaces, not tabs"
    at = Location(path, mark.line + 1, mark.column + 1) if mark is not None else Location(path)
    return Problem(what=f"not a YAML document: {said}", at=at, fix=fix)


class _Builder:
    """Turns nodes into values."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.repeated: list[Problem] = []
        self.nodes = 0
        self.scalars: dict[str, Value] = {}

    def build(self, node: yaml.Node, depth: int) -> Value:
        if isinstance(node, yaml.ScalarNode):
            if node.tag == _STR:
                return node.value  # type: ignore[no-any-return]
            return self._scalar(node)
        self.nodes += 1
        if depth > _DEPTH_MAX or self.nodes > _NODES_MAX:
            raise self._refuse(node, "nested or repeated without end", "Remove the alias (*name) that contains itself")
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, depth + 1) for item in node.value]
        return self._mapping(cast("yaml.MappingNode", node), depth)

    def _scalar(self, node: yaml.ScalarNode) -> Value:
        if node.tag:
            raise self._refuse(node, f"the tag {node.tag.replace('tag:yaml.org,2002:', '!!')} is not read", "Remove it")
        text = node.value
        found = self.scalars.get(text, self)
        if found is self:
            found = self.scalars[text] = _plain(text)
        return found  # type: ignore[return-value]

    def _mapping(self, node: yaml.MappingNode, depth: int) -> Mapped:
        out = Mapped()
        mark = node.start_mark
        out.line, out.column = mark.line + 1, mark.column + 1
        for key, item in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self._refuse(key, "a key is a list or a mapping", "Write a name as the key")
            name = key.value
            if name == "<<" and not key.tag:
                self._merge(out, item, depth)
                continue
            value = self.build(item, depth + 1)
            if name in out and not self._merged(node, name):
                self.repeated.append(
                    Problem(
                        what=f"the key `{name}` is given twice",
                        at=Location(self.path, key.start_mark.line + 1, key.start_mark.column + 1),
                        fix="Keep one of them",
                    )
                )
            out[name] = value
        return out

    def _merge(self, out: Mapped, item: yaml.Node, depth: int) -> None:
        sources = item.value if isinstance(item, yaml.SequenceNode) else [item]
        for source in sources:
            merged = self.build(source, depth + 1)
            if not isinstance(merged, dict):
                raise self._refuse(source, "<< merges something that is no mapping", "Merge an anchor of a mapping")
            for name, value in merged.items():
                out.setdefault(name, value)

    @staticmethod
    def _merged(node: yaml.MappingNode, name: str) -> bool:
        """Tell whether *name* came from a merge only: written once in the mapping itself."""
        return sum(1 for key, _ in node.value if key.value == name) == 1

    def _refuse(self, node: yaml.Node, what: str, fix: str) -> Unreadable:
        at = Location(self.path, node.start_mark.line + 1, node.start_mark.column + 1)
        return Unreadable(Problem(what=what, at=at, fix=fix))


def _plain(text: str) -> Value:
    """Read an unquoted scalar by YAML 1.2's core schema."""
    if text in _NULL:
        return None
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    if _INT.fullmatch(text):
        return int(text, 0) if text.startswith(("0o", "0x")) else _integer(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def _integer(text: str) -> Value:
    """Read a decimal integer; more digits than Python reads stay text."""
    return int(text) if len(text) < 4000 else text
