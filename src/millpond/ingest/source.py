"""Reading ``<dataset>.source.yaml``: every problem at once, each at its line."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Final

from millpond.ingest.spec import FileSource
from millpond.kernel import Document, Json, Problem, ProblemsFound, parse_bytes, read_document, suggest, unknown_keys

SUFFIX: Final = ".source.yaml"
_KEYS: Final = tuple(field.name for field in fields(FileSource) if field.name not in {"dataset", "at"})
_CSV_ONLY: Final = frozenset({"delimiter", "quote", "escape", "header", "encoding", "decimal_separator"})
_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "format": ("csv", "ndjson", "parquet"),
    "mode": ("append", "replace", "merge"),
    "decimal_separator": (".", ","),
}


def load_source(path: Path, *, root: Path, product: str) -> FileSource:
    """Read one source file of *product*; *root* is the project's folder.

    Raises:
        ProblemsFound: with every problem of the file.
    """
    document = read_document(path, root=root)
    at = document.at()
    if not isinstance(document.value, dict):
        what = "a source is a mapping with the keys format and location"
        raise ProblemsFound([Problem(what=what, at=at, fix="For example: `format: csv` and `location: data/*.csv`.")])
    found = document.value
    problems = unknown_keys(document, found, _KEYS)
    values: dict[str, object] = {}
    for key, value in found.items():
        if key not in _READERS:
            continue
        try:
            values[key] = _READERS[key](key, value)
        except _WrongError as wrong:
            problems.append(document.problem(f"{key}: {wrong.what}", key, fix=wrong.fix))
    problems += _together(document, found, values)
    if problems:
        raise ProblemsFound(problems)
    if values["format"] != "csv":
        values.setdefault("null_values", ())
    dataset = f"{product}.{path.name.removesuffix(SUFFIX)}"
    return FileSource(dataset=dataset, at=at, **values)  # type: ignore[arg-type]


class _WrongError(Exception):
    def __init__(self, what: str, fix: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.fix = fix


def _text(_: str, value: Json) -> str:
    if not isinstance(value, str) or not value:
        raise _WrongError(f"{value!r} is not a text", "Write it in quotes.")
    return value


def _choice(key: str, value: Json) -> str:
    if not isinstance(value, str) or value not in _CHOICES[key]:
        raise _WrongError(f"{value!r} is not known", suggest(str(value), _CHOICES[key]))
    return value


def _character(_: str, value: Json) -> str:
    named = {"tab": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}
    text = named.get(value, value) if isinstance(value, str) else value
    if not isinstance(text, str) or len(text) != 1 or not text.isascii() or text in "\r\n\0":
        raise _WrongError(f"{value!r} is not one ASCII character", 'For example "," or ";" or tab.')
    return text


def _quote(key: str, value: Json) -> str:
    return "" if value in ("", None) else _character(key, value)


def _flag(_: str, value: Json) -> bool:
    if not isinstance(value, bool):
        raise _WrongError(f"{value!r} is neither true nor false")
    return value


def _encoding(_: str, value: Json) -> str:
    try:
        return codecs.lookup(_text("", value)).name
    except LookupError as error:
        raise _WrongError(f"{value!r} is no known encoding", suggest(str(value), _ENCODINGS)) from error


_ENCODINGS: Final = ("utf-8", "utf-16", "utf-32", "latin-1", "cp1252", "cp437", "iso8859-15", "shift_jis", "gb18030")


def _texts(_: str, value: Json) -> tuple[str, ...]:
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(text, str) for text in listed):
        raise _WrongError(f"{value!r} is not a list of texts", 'For example ["", "NA"]: each in quotes.')
    return tuple(dict.fromkeys(str(text) for text in listed))


def _size(_: str, value: Json) -> int:
    try:
        size = parse_bytes(value) if isinstance(value, str | int) and not isinstance(value, bool) else 0
    except ValueError:
        size = 0
    if not 1024 <= size <= 1024**3:
        raise _WrongError(f"{value!r} is not a size from 1 KiB to 1 GiB", "For example 16 MiB.")
    return size


def _share(_: str, value: Json) -> float:
    if isinstance(value, str) and value.rstrip().endswith("%"):
        try:
            value = float(value.rstrip().rstrip("%")) / 100
        except ValueError:
            raise _WrongError(f"{value!r} is not a share", "For example 0.05 or 5%.") from None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise _WrongError(f"{value!r} is not a share from 0 to 1", "For example 0.05 or 5%.")
    return float(value)


def _together(document: Document, found: Mapping[str, Json], values: Mapping[str, object]) -> list[Problem]:
    """Find what is wrong between keys."""
    missing = [key for key in ("format", "location") if key not in found]
    problems = [document.problem(f"{key} is missing", fix=f"Add `{key}:`.") for key in missing]
    if values.get("format") in {"ndjson", "parquet"}:
        for key in found:
            useless = key in _CSV_ONLY and not (key == "encoding" and values["format"] == "ndjson")
            if useless:
                problems.append(document.problem(f"{key} means nothing for {values['format']}", key, fix="Remove it."))
    delimiter, quote = values.get("delimiter", ","), values.get("quote", '"')
    if delimiter in {quote, values.get("escape", quote)}:
        problems.append(document.problem("delimiter is also the quote or escape character", "delimiter"))
    if delimiter == values.get("decimal_separator") and not quote:
        problems.append(document.problem("decimal_separator is the delimiter, and nothing is quoted", "delimiter"))
    return problems


_READERS: Final[Mapping[str, Callable[[str, Json], object]]] = {
    "format": _choice,
    "location": _text,
    "mode": _choice,
    "delimiter": _character,
    "quote": _quote,
    "escape": _quote,
    "header": _flag,
    "encoding": _encoding,
    "null_values": _texts,
    "timestamp_format": _text,
    "date_format": _text,
    "decimal_separator": _choice,
    "row_bytes_max": _size,
    "bad_share_max": _share,
}
