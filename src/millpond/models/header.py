"""Reading a ``.sql`` file: the YAML header in its first comment, then the query."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Literal, cast, get_args

from millpond.kernel import Document, Json, Location, Problem, ProblemsFound, parse_document, suggest, unknown_keys
from millpond.models.spec import ModelSpec

Materialize = Literal["full", "by time", "by key", "scd2"]
Grain = Literal["hour", "day", "month", "year"]

_HEADER: Final = re.compile(r"\A(?:\s|--[^\n]*(?:\n|\Z))*/\*(.*?)\*/", re.DOTALL)
_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "materialize": get_args(Materialize),
    "time_column": ("by time",),
    "grain": ("by time",),
    "lookback": ("by time",),
    "key": ("by key", "scd2"),
    "order_by": ("by key", "scd2"),
    "description": get_args(Materialize),
}
"""Each key of a header, with the materializations that it is for."""


def load_model(path: Path, *, root: Path, product: str) -> ModelSpec:
    """Read one model of *product*; *path* is shown relative to *root*.

    Only the header is judged here; the query is parsed by ``bind``.

    Raises:
        ProblemsFound: everything that is wrong with the header, with its line; or the file cannot be read.
    """
    shown = path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ProblemsFound([Problem(what=f"cannot be read: {error.strerror}", at=Location(shown))]) from error
    except UnicodeDecodeError as error:
        what = f"byte {error.start} is not UTF-8"
        raise ProblemsFound([Problem(what=what, at=Location(shown), fix="Save the file as UTF-8.")]) from error
    match = _HEADER.match(text)
    begin = match.end() if match else 0
    settings = _settings(match[1], shown, text[: match.start(1)].count("\n") + 1) if match else {}
    rest = text[begin:]
    sql = rest.lstrip()
    line = text[: begin + len(rest) - len(sql)].count("\n") + 1
    return ModelSpec(
        dataset=f"{product}.{path.stem}",
        path=shown,
        sql=sql.rstrip(),
        sql_line=line,
        materialize=cast("Materialize", settings.get("materialize", "full")),
        time_column=cast("str | None", settings.get("time_column")),
        grain=cast("Grain", settings.get("grain", "day")),
        lookback=cast("int", settings.get("lookback", 0)),
        key=cast("tuple[str, ...]", settings.get("key", ())),
        order_by=cast("str | None", settings.get("order_by")),
        description=cast("str | None", settings.get("description")),
    )


def _settings(text: str, path: str, line: int) -> Mapping[str, object]:
    document = parse_document(text, path=path, line_first=line)
    value = document.value
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        fix = "Write `materialize: full`, or use -- for remarks before the query."
        raise ProblemsFound([document.problem("the header (the first /* */ comment) is not YAML keys", fix=fix)])
    problems = unknown_keys(document, value, _KEYS)
    settings: dict[str, object] = {}
    for key, given in value.items():
        if key in _READERS:
            read, wanted = _READERS[key]
            found = read(given)
            if found is None:
                problems.append(document.problem(f"{key} is {given!r}", key, fix=_wanted(key, given, wanted)))
            settings[key] = found
    problems.extend(_misplaced(document, settings))
    if problems:
        raise ProblemsFound(sorted(problems, key=lambda problem: (problem.at.line or 0, problem.at.column or 0)))
    return settings


def _wanted(key: str, given: Json, wanted: str) -> str:
    words = {"materialize": get_args(Materialize), "grain": get_args(Grain)}.get(key)
    return suggest(given, words) if words and isinstance(given, str) else wanted


def _misplaced(document: Document, settings: Mapping[str, object]) -> list[Problem]:
    chosen = settings.get("materialize", "full")
    problems = [
        document.problem(
            f"{key} means nothing with materialize: {chosen}",
            key,
            fix=f"It is for {' and '.join(_KEYS[key])}. Remove it, or change materialize.",
        )
        for key in settings
        if chosen is not None and chosen not in _KEYS[key]
    ]
    for kind, key in (("by time", "time_column"), ("scd2", "order_by")):
        if chosen == kind and key not in settings:
            what = f"materialize: {kind} needs {key}"
            fix = f"Add {key}: the output column that says when a row {'lies' if kind == 'by time' else 'became true'}."
            problems.append(document.problem(what, "materialize", fix=fix))
    return problems


def _word(given: Json) -> str | None:
    return given.strip() if isinstance(given, str) and given.strip() else None


def _one_of(words: tuple[str, ...]) -> Callable[[Json], str | None]:
    return lambda given: given if isinstance(given, str) and given in words else None


def _count(given: Json) -> int | None:
    return given if isinstance(given, int) and not isinstance(given, bool) and given >= 0 else None


def _names(given: Json) -> tuple[str, ...] | None:
    parts = [given] if isinstance(given, str) else list(given) if isinstance(given, list) else []
    names = tuple(part for part in parts if isinstance(part, str) and part)
    return names if names and len(set(names)) == len(parts) else None


_READERS: Final[Mapping[str, tuple[Callable[[Json], object], str]]] = {
    "materialize": (_one_of(get_args(Materialize)), f"One of: {', '.join(get_args(Materialize))}."),
    "time_column": (_word, "Name one output column."),
    "grain": (_one_of(get_args(Grain)), f"One of: {', '.join(get_args(Grain))}."),
    "lookback": (_count, "A number of grains, 0 or more."),
    "key": (_names, "Name one output column, or a list of different ones."),
    "order_by": (_word, "Name one output column."),
    "description": (_word, "Write a text."),
}
