"""Outside files as relations typed by a contract: the SQL that reads them, and the SQL that judges their rows.

Owns what DuckDB is told of CSV, NDJSON and Parquet. Every column is read as it stands in the file and typed by
``exact.py``, so that one definition of what a value is holds on every path; the reader types only what it cannot get
wrong (BOOLEAN, and DOUBLE where the result is finite).

Two relations come of one ``FileScan``. The *strict* one raises at the first row that is not as the contract says, and
costs little more than a bare read; the *judged* one takes a stream of numbered records and says of each which rules
it breaks.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from millpond.engines.exact import (
    is_exact_text,
    is_exact_value,
    is_nested,
    is_real,
    is_text,
    name_sql,
    precision_of,
    reads_exactly,
    text_sql,
    value_of_text,
    value_of_value,
)
from millpond.engines.spec import FileScan
from millpond.kernel import MiB

BROKEN_ROW: Final = "a row is not as the contract says"
"""What the strict relation raises."""

ROW: Final = "__row"
RAW: Final = "__raw"
PROBLEM: Final = "__problem"
DETAIL: Final = "__detail"
RULES: Final = "__rules"
COLUMNS: Final = "__columns"
REASONS: Final = "__reasons"
WARNED: Final = "__warned"
_HEADER_BYTES_MAX: Final = 4 * MiB


class Connection(Protocol):
    """The little of a DuckDB connection that is needed here."""

    def execute(self, query: str, /) -> Connection:
        """Run a statement."""
        ...

    def fetchall(self) -> list[tuple[object, ...]]:
        """Give its answer."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RowTest:
    """A predicate that every good row keeps."""

    id: str
    column: str | None
    columns: tuple[str, ...]
    """Every column it reads; where one of them has no valid value, the rule is not asked."""
    predicate: str
    """A DuckDB expression over the wanted columns; broken where it ``IS NOT TRUE`` or cannot be computed."""
    reason: str
    rejects: bool
    """False: the row is kept, and the broken rule counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Field:
    """How one wanted column comes from a record, in three layers of SELECT."""

    name: str
    kind: str
    source: str
    """Layer 1, over the record: what the file says."""
    said: str
    """The name of that in layers 2 and 3."""
    value: str
    """Layer 2, over *said*."""
    exact: str | None
    """Layer 3, over *said* and *name*: ``IS TRUE`` where nothing was lost."""


def header_of(path: str | Path, scan: FileScan) -> tuple[str, ...]:
    """Read the names in a CSV file's first record, in order; without a header, the contract's own names in its order.

    Reads at most 4 MiB of a file that is UTF-8 or in the scan's encoding; no compressed one.
    """
    if not scan.header:
        return tuple(name for name, _, _ in scan.columns)
    encoding = "utf-8-sig" if scan.encoding.lower().replace("_", "-") in {"utf-8", "utf8"} else scan.encoding
    with Path(path).open("rb") as file:
        head = io.TextIOWrapper(io.BytesIO(file.read(_HEADER_BYTES_MAX)), encoding, errors="replace", newline="")
    escape = None if scan.escape == scan.quote else scan.escape
    rows = csv.reader(head, delimiter=scan.delimiter, quotechar=scan.quote or None, escapechar=escape)
    for row in rows:
        if row:
            return tuple(cell.strip() for cell in row)
    return ()


def raw_select(scan: FileScan) -> str:
    """Give the SELECT that reads Parquet files as they are, for asking their columns' types."""
    return f"SELECT * FROM read_parquet({_paths(scan)}, union_by_name = true)"


def strict_select(scan: FileScan, stored: Sequence[tuple[str, str]]) -> str:
    """Give the SELECT of the wanted columns; running it raises at the first row that does not fit.

    *stored* are the file's columns (name, type): a CSV's header with VARCHAR, what Parquet says; nothing for NDJSON.
    """
    fields = _fields(scan, stored, judged=False)
    relation = {"csv": _csv, "ndjson": _ndjson, "parquet": _parquet}[scan.format](scan, stored)
    typed = _typed(fields, relation, keep=())
    checks = [field.exact for field in fields if field.exact is not None]
    if scan.format == "ndjson":
        checks.insert(0, "__is_object")
        typed = _typed(fields, relation, keep=("__is_object",))
    names = ", ".join(name_sql(field.name) for field in fields)
    if not checks:
        return f"SELECT {names} FROM ({typed})"
    fits = " AND ".join(checks)
    return f"SELECT {names} FROM ({typed}) WHERE CASE WHEN {fits} THEN TRUE ELSE error({text_sql(BROKEN_ROW)}) END"


def attached_select(connection: Connection, scan: FileScan) -> str:
    """Give the strict SELECT, asking the files themselves for their columns."""
    if scan.format == "csv":
        return strict_select(scan, [(name, "VARCHAR") for name in header_of(scan.paths[0], scan)])
    if scan.format == "ndjson":
        return strict_select(scan, [])
    told = connection.execute(f"DESCRIBE {raw_select(scan)}").fetchall()
    return strict_select(scan, [(str(row[0]), str(row[1])) for row in told])


def kept_select(relation: str, scan: FileScan, tests: Sequence[RowTest], required: Sequence[str]) -> str:
    """Give the SELECT over a strict relation that also raises where a rejecting rule is broken or a value missing."""
    names = ", ".join(name_sql(name) for _, name, _ in scan.columns)
    checks = [f"{name_sql(name)} IS NOT NULL" for name in required]
    checks += [f"({test.predicate}) IS TRUE" for test in tests if test.rejects]
    where = (
        f" WHERE CASE WHEN {' AND '.join(checks)} THEN TRUE ELSE error({text_sql(BROKEN_ROW)}) END" if checks else ""
    )
    return f"SELECT {names} FROM {relation}{where}"


def warned_select(relation: str, tests: Sequence[RowTest]) -> str:
    """Give the SELECT that counts, in one row, how often each of *tests* is broken in *relation*."""
    counts = ", ".join(f"count(*) FILTER (WHERE {_broken(test)})" for test in tests)
    return f"SELECT {counts} FROM {relation}"


def judged_select(
    relation: str,
    scan: FileScan,
    stored: Sequence[tuple[str, str]],
    tests: Sequence[RowTest],
    required: Sequence[str],
) -> str:
    """Give the SELECT that says of each record which rules it breaks.

    *relation* has ``__row``, ``__problem`` and ``__detail`` (a broken structure, else NULL), and: ``__raw`` and the
    fields ``f0, f1, ...`` as text for CSV; ``__raw`` for NDJSON; the fields in their types for Parquet.
    The answer has the wanted columns and ``__row``, ``__raw``, ``__rules``, ``__columns``, ``__reasons``: NULL where
    the row is good; and ``__warned``: the rules it breaks and may.
    """
    fields = _fields(scan, stored, judged=True)
    raw = name_sql(RAW)
    kept = [ROW, RAW, PROBLEM, DETAIL]
    source = relation
    if scan.format == "parquet":
        record = ", ".join(f"{text_sql(name)}: f{i}" for i, (name, _) in enumerate(stored)) or "'': NULL"
        source = f"(SELECT *, to_json({{{record}}})::VARCHAR AS {raw} FROM {relation})"
    if scan.format == "ndjson":
        source = _judged_json(relation)
        kept.append("__is_object")
    typed = _typed(fields, source, keep=kept)
    findings = [*_structure(scan), *_typing(fields), *_missing(fields, required), *_ruling(fields, tests)]
    whole = " AND ".join(f"({finding.broken}) IS NOT TRUE" for finding in findings) or "TRUE"
    warned = _listed([(f"{_broken(test)}", text_sql(test.id)) for test in tests if not test.rejects])
    names = ", ".join(name_sql(field.name) for field in fields)
    rules = _listed([(finding.broken, finding.id) for finding in findings])
    columns = _listed([(finding.broken, finding.column) for finding in findings])
    reasons = _listed([(finding.broken, finding.reason) for finding in findings])
    return (
        f"SELECT {names}, {ROW}, CASE WHEN NOT __whole THEN {raw} END AS {RAW}, "
        f"CASE WHEN NOT __whole THEN {rules} END AS {RULES}, CASE WHEN NOT __whole THEN {columns} END AS {COLUMNS}, "
        f"CASE WHEN NOT __whole THEN {reasons} END AS {REASONS}, "
        f"CASE WHEN __whole THEN {warned} END AS {WARNED} FROM (SELECT *, {whole} AS __whole FROM ({typed}))"
    )


@dataclass(frozen=True, slots=True)
class _Finding:
    broken: str
    id: str
    """An expression, as are the next two."""
    column: str
    reason: str


def _structure(scan: FileScan) -> list[_Finding]:
    found = [_Finding(f"{PROBLEM} IS NOT NULL", PROBLEM, "CAST(NULL AS VARCHAR)", DETAIL)]
    if scan.format == "ndjson":
        broken = f"{PROBLEM} IS NULL AND NOT __is_object"
        found.append(_Finding(broken, "'json'", "CAST(NULL AS VARCHAR)", "'the line is not a JSON object'"))
    return found


def _typing(fields: Sequence[_Field]) -> list[_Finding]:
    found = []
    for field in fields:
        if field.exact is None:
            continue
        column, said = text_sql(field.name), f"CAST({field.said} AS VARCHAR)"
        shown = f"CASE WHEN length({said}) > 60 THEN {said}[:57] || '...' ELSE {said} END"
        reason = f"concat({text_sql(field.name + ': ')}, '''', {shown}, {text_sql(chr(39) + ' is not ' + field.kind)})"
        broken = f"{PROBLEM} IS NULL AND {field.exact} IS NOT TRUE"
        found.append(_Finding(broken, text_sql(f"type:{field.name}"), column, reason))
    return found


def _missing(fields: Sequence[_Field], required: Sequence[str]) -> list[_Finding]:
    said = {field.name: field.said for field in fields}
    whole = f"{PROBLEM} IS NULL" + (" AND __is_object" if any("json" in field.source for field in fields) else "")
    return [
        _Finding(
            f"{whole} AND {said[name]} IS NULL",
            text_sql(f"required:{name}"),
            text_sql(name),
            text_sql(f"{name}: no value, and the contract requires one"),
        )
        for name in required
    ]


def _ruling(fields: Sequence[_Field], tests: Sequence[RowTest]) -> list[_Finding]:
    exact = {field.name: field.exact for field in fields}
    is_json = any("json" in field.source for field in fields)
    found = []
    for test in tests:
        if not test.rejects:
            continue
        asked = [f"{PROBLEM} IS NULL", *(["__is_object"] if is_json else [])]
        asked += [str(exact[name]) for name in test.columns if exact.get(name) is not None]
        column = text_sql(test.column) if test.column else "CAST(NULL AS VARCHAR)"
        found.append(
            _Finding(f"{' AND '.join(asked)} AND {_broken(test)}", text_sql(test.id), column, text_sql(test.reason))
        )
    return found


def _broken(test: RowTest) -> str:
    return f"(TRY({test.predicate}) IS NOT TRUE)"


def _listed(pairs: Sequence[tuple[str, str]]) -> str:
    if not pairs:
        return "CAST(NULL AS VARCHAR[])"
    cases = ", ".join(f"CASE WHEN {condition} THEN {value} END" for condition, value in pairs)
    return f"list_filter([{cases}], lambda x: x IS NOT NULL)"


def _typed(fields: Sequence[_Field], relation: str, *, keep: Sequence[str]) -> str:
    kept = list(keep)
    first = ", ".join([*kept, *(f"{field.source} AS {field.said}" for field in fields)])
    second = ", ".join(
        [*kept, *(field.said for field in fields), *(f"{f.value} AS {name_sql(f.name)}" for f in fields)]
    )
    return f"SELECT {second} FROM (SELECT {first} FROM {relation})"


def _fields(scan: FileScan, stored: Sequence[tuple[str, str]], *, judged: bool) -> list[_Field]:
    place = {name: i for i, (name, _) in reversed(list(enumerate(stored)))}
    types = dict(reversed(list(stored)))
    make = {"csv": _csv_field, "ndjson": _json_field, "parquet": _parquet_field}[scan.format]
    fields = []
    for i, (in_file, name, kind) in enumerate(scan.columns):
        said = f"__said{i}"
        if scan.format != "ndjson" and in_file not in place:
            nothing = f"CAST(NULL AS {kind})"
            fields.append(
                _Field(name=name, kind=kind, source="CAST(NULL AS VARCHAR)", said=said, value=nothing, exact=None)
            )
            continue
        at = (place[in_file], types[in_file]) if scan.format != "ndjson" else (0, "")
        fields.append(make(scan, in_file, name, kind, said, at, judged))
    return fields


def _csv_field(
    scan: FileScan,
    _: str,
    name: str,
    kind: str,
    said: str,
    at: tuple[int, str],
    judged: bool,  # noqa: FBT001
) -> _Field:
    source = f"f{at[0]}"
    if judged and scan.null_values:
        nothing = ", ".join(text_sql(text) for text in scan.null_values)
        source = f"CASE WHEN {source} IN ({nothing}) THEN NULL ELSE {source} END"
    if not judged and reads_exactly(kind, scan):
        exact = f"({name_sql(name)} IS NULL OR isfinite({name_sql(name)}))" if is_real(kind) else None
        return _Field(name=name, kind=kind, source=f"CAST({source} AS {kind})", said=said, value=said, exact=exact)
    value = value_of_text(said, kind, scan)
    text_exact = is_exact_text(said, name_sql(name), kind, scan)
    return _Field(name=name, kind=kind, source=source, said=said, value=value, exact=text_exact)


def _parquet_field(
    scan: FileScan,
    in_file: str,
    name: str,
    kind: str,
    said: str,
    at: tuple[int, str],
    judged: bool,  # noqa: FBT001
) -> _Field:
    source = f"f{at[0]}" if judged else name_sql(in_file)
    value = value_of_value(said, at[1], kind, scan)
    exact = is_exact_value(said, at[1], name_sql(name), kind, scan)
    return _Field(name=name, kind=kind, source=source, said=said, value=value, exact=exact)


def _json_field(
    scan: FileScan,
    in_file: str,
    name: str,
    kind: str,
    said: str,
    _at: tuple[int, str],
    _judged: bool,  # noqa: FBT001
) -> _Field:
    place = text_sql("/" + in_file.replace("~", "~0").replace("/", "~1"))
    value_name = name_sql(name)
    if is_nested(kind) or is_text(kind):
        source = f"CASE WHEN json_type(json, {place}) = 'NULL' THEN NULL ELSE json_extract(json, {place}) END"
        if is_text(kind):
            value = f"({said} ->> '$')"
            exact = f"({said} IS NULL OR json_type({said}) NOT IN ('OBJECT', 'ARRAY'))"
        else:
            value = said if kind == "JSON" else f"TRY_CAST({said} AS {kind})"
            exact = f"({said} IS NULL OR {value_name} IS NOT NULL)"
        return _Field(name=name, kind=kind, source=source, said=said, value=value, exact=exact)
    source = f"json_extract_string(json, {place})"
    if kind.startswith("DECIMAL") and precision_of(kind) > 15:
        source = _digits(in_file, place, source)
    if scan.null_values:
        nothing = ", ".join(text_sql(text) for text in scan.null_values)
        source = f"CASE WHEN {source} IN ({nothing}) THEN NULL ELSE {source} END"
    value = value_of_text(said, kind, scan)
    return _Field(
        name=name, kind=kind, source=source, said=said, value=value, exact=is_exact_text(said, value_name, kind, scan)
    )


def _digits(in_file: str, place: str, read: str) -> str:
    """Take a long number's digits from the line itself: the JSON reader keeps 17 of them only."""
    escaped = "".join(c if c.isalnum() or c == "_" else f"\\x{{{ord(c):x}}}" for c in in_file)
    pattern = text_sql(f'"{escaped}"\\s*:\\s*(-?[0-9]+\\.[0-9]+)\\s*[,}}]')
    digits = f"regexp_extract(CAST(json AS VARCHAR), {pattern}, 1)"
    return (
        f"CASE WHEN json_type(json, {place}) = 'DOUBLE' AND TRY_CAST({digits} AS DOUBLE) = TRY_CAST({read} AS DOUBLE) "
        f"THEN {digits} ELSE {read} END"
    )


def _paths(scan: FileScan) -> str:
    return f"[{', '.join(text_sql(path) for path in scan.paths)}]"


def _csv(scan: FileScan, stored: Sequence[tuple[str, str]]) -> str:
    asked = [in_file for in_file, _, _ in scan.columns]
    wanted = {in_file: kind for in_file, _, kind in scan.columns if asked.count(in_file) == 1}
    kinds = [wanted.get(name, "VARCHAR") for name, _ in stored]
    columns = ", ".join(f"'f{i}': '{k if reads_exactly(k, scan) else 'VARCHAR'}'" for i, k in enumerate(kinds))
    options: Mapping[str, str] = {
        "columns": f"{{{columns}}}",
        "auto_detect": "false",
        "header": str(scan.header).lower(),
        "delim": text_sql(scan.delimiter),
        "quote": text_sql(scan.quote),
        "escape": text_sql(scan.escape),
        "comment": "''",
        "nullstr": f"[{', '.join(text_sql(text) for text in scan.null_values) or text_sql(chr(0xFFFF))}]",
        "allow_quoted_nulls": "true",
        "null_padding": "false",
        "strict_mode": "true",
        "encoding": text_sql(scan.encoding),
    }
    return f"read_csv({_paths(scan)}, {', '.join(f'{key} = {value}' for key, value in options.items())})"


def _ndjson(scan: FileScan, _: Sequence[tuple[str, str]]) -> str:
    read = f"read_ndjson_objects({_paths(scan)}, maximum_object_size = {scan.row_bytes_max})"
    return f"(SELECT json, json_type(json) = 'OBJECT' AS __is_object FROM {read})"


def _judged_json(relation: str) -> str:
    valid = f"CASE WHEN {PROBLEM} IS NULL AND json_valid({RAW}) THEN CAST({RAW} AS JSON) END"
    return (
        f"(SELECT *, coalesce(json_type(json) = 'OBJECT', FALSE) AS __is_object "
        f"FROM (SELECT *, {valid} AS json FROM {relation}))"
    )


def _parquet(scan: FileScan, _: Sequence[tuple[str, str]]) -> str:
    return f"read_parquet({_paths(scan)}, union_by_name = true)"
