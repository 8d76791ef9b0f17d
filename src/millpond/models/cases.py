"""A model's own tests: given rows, expected rows, and what differs.

Fixtures are small by intent; everything in here may hold them in memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from pathlib import Path
from typing import Final, Literal, cast

import pyarrow as pa
from sqlglot import exp

from millpond.engines import Session
from millpond.kernel import (
    Document,
    Json,
    Location,
    Problem,
    ProblemsFound,
    canonical_json,
    read_document,
    suggest,
    unknown_keys,
)
from millpond.models.errors import CasesInvalid
from millpond.models.spec import Model
from millpond.models.types import around

_KEYS: Final = ("name", "description", "model", "given", "expect", "order")
_ROWS_MAX: Final = 10_000
_REAL: Final = frozenset({"DOUBLE", "FLOAT"})

Row = Mapping[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One test of one model."""

    name: str
    model: str
    """``product.dataset``."""
    given: Mapping[str, tuple[Row, ...]] = field(hash=False)
    """``product.dataset`` → its rows; datasets that are not named are empty, columns that are not named are NULL."""
    expect: tuple[Row, ...] = field(hash=False)
    """Rows with the columns that are to be compared; none: the model gives no rows."""
    order: Literal["ignore", "exact"] = "ignore"
    at: Location


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """How one test went."""

    case: Case
    passed: bool
    diff: str = ""
    """For people: rows that are missing (-) and rows that should not be there (+); empty where it passed."""
    rows: int = 0
    """Rows that the model gave."""


def load_cases(path: Path, *, root: Path | None = None, product: str | None = None) -> tuple[Case, ...]:
    """Read the tests of ``products/<product>/tests/<name>.yaml``: one mapping, or a list of them.

    *product* is by default the folder's name.

    Raises:
        ProblemsFound: everything that is wrong with the file, with lines.
    """
    document = read_document(path, root=root or path.parent)
    product = product or path.resolve().parent.parent.name
    value = document.value
    items: Sequence[Json] = value if isinstance(value, list) else [value]
    problems: list[Problem] = []
    cases = []
    for place, item in enumerate(items):
        steps = (place,) if isinstance(value, list) else ()
        if not isinstance(item, Mapping):
            fix = "Write model, given and expect."
            problems.append(document.problem("a test is a mapping", *steps, fix=fix))
            continue
        found = _problems_of(document, item, steps)
        problems.extend(found)
        if not found:
            default = path.stem if len(items) == 1 else f"{path.stem} {place + 1}"
            cases.append(_case(item, product, default, document.at(*steps)))
    if problems:
        raise ProblemsFound(problems)
    return tuple(cases)


def _problems_of(document: Document, item: Mapping[str, Json], steps: tuple[int, ...]) -> list[Problem]:
    problems = unknown_keys(document, item, _KEYS, *steps)
    if not isinstance(item.get("model"), str):
        problems.append(document.problem("model is missing", *steps, fix="Name the model that is tested."))
    given, expect = item.get("given", {}), item.get("expect")
    if not isinstance(given, Mapping):
        problems.append(document.problem("given is not a mapping", *steps, "given", fix="Write dataset: [rows]."))
        given = {}
    lists: list[tuple[tuple[str, ...], Json]] = [(("given", name), rows) for name, rows in given.items()]
    for where, rows in (*lists, (("expect",), expect)):
        if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
            what = f"{'.'.join(where)} is not a list of rows"
            problems.append(document.problem(what, *steps, *where, fix="Write each row as {column: value}."))
    if item.get("order", "ignore") not in {"ignore", "exact"}:
        problems.append(document.problem(f"order is {item['order']!r}", *steps, "order", fix="One of: ignore, exact."))
    return problems


def _case(item: Mapping[str, Json], product: str, default: str, at: Location) -> Case:
    given = cast("Mapping[str, list[Row]]", item.get("given", {}))
    return Case(
        name=str(item.get("name", default)),
        model=_full(str(item["model"]), product),
        given={_full(name, product): tuple(rows) for name, rows in given.items()},
        expect=tuple(cast("list[Row]", item["expect"])),
        order=cast("Literal['ignore', 'exact']", item.get("order", "ignore")),
        at=at,
    )


def _full(name: str, product: str) -> str:
    return name if "." in name else f"{product}.{name}"


def run_case(case: Case, model: Model, schemas: Mapping[str, Mapping[str, str]], session: Session) -> CaseResult:
    """Run one test in a session where nothing is attached under the model's inputs; only what the SELECT gives counts.

    Values are compared as the model's types print them; DOUBLE and FLOAT to ten digits.

    Raises:
        ProblemsFound: the test names datasets or columns that the model does not have.
        CasesInvalid: the model gives more than 10,000 rows.
        QueryFailed: from the engine: a value does not fit its type, or the SQL fails.
    """
    described = dict(_attached(session, case, model, schemas))
    columns = list(dict.fromkeys(name for row in case.expect for name in row)) or list(described)
    problems = [_no_column(case, "expect", name, described) for name in columns if name not in described]
    if problems:
        raise ProblemsFound(problems)
    kinds = [_plain(described[name]) for name in columns]
    session.attach("_mp.expected", _texts(columns, case.expect))
    found = _rows(session, _as_text(model.sql, columns, kinds, typed=True), kinds)
    expected = exp.select("*").from_("_mp.expected").order_by(exp.column("_mp_row")).sql(dialect="duckdb")
    wanted = _rows(session, _as_text(expected, columns, kinds, typed=False), kinds)
    diff = _diff(columns, wanted, found, exact=case.order == "exact")
    return CaseResult(case=case, passed=not diff, diff=diff, rows=len(found))


def _attached(
    session: Session, case: Case, model: Model, schemas: Mapping[str, Mapping[str, str]]
) -> tuple[tuple[str, str], ...]:
    """Attach a test's given rows under the names that the model reads, and describe the model's answer.

    Raises:
        ProblemsFound: the test gives rows to what the model does not read, or columns that are not there.
    """
    problems = []
    for name in case.given:
        if name not in model.upstream:
            fix = suggest(name, model.upstream)
            problems.append(Problem(what=f"{case.model} does not read {name}", at=case.at, fix=fix))
    for name in model.upstream:
        known = schemas[name]
        used = dict.fromkeys(column for row in case.given.get(name, ()) for column in row)
        problems.extend(_no_column(case, name, column, known) for column in used if column not in known)
    if problems:
        raise ProblemsFound(problems)
    for place, name in enumerate(model.upstream):
        columns = list(schemas[name])
        raw = f"_mp.given_{place}"
        session.attach(raw, _texts(columns, case.given.get(name, ())))
        session.view(name, _typed(raw, columns, [schemas[name][column] for column in columns]))
    return session.describe(model.sql)


def _no_column(case: Case, where: str, column: str, known: Mapping[str, str]) -> Problem:
    return Problem(what=f"{case.name}: {where} has no column {column}", at=case.at, fix=suggest(column, known))


def _plain(kind: str) -> str:
    return "VARCHAR" if kind.strip('"') == "NULL" else kind


def _texts(columns: Sequence[str], rows: Sequence[Row]) -> pa.Table:
    """Rows as text columns: the engine makes values of them, by the same casts as everywhere."""
    # A table needs a column to have rows.
    place = pa.array(range(len(rows)), pa.int64())
    texts = [pa.array([_text(row.get(name)) for row in rows], pa.string()) for name in columns]
    return pa.table([place, *texts], names=["_mp_row", *columns])


def _text(value: Json) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return canonical_json(value)


def _cast(name: str, kind: str) -> exp.Expr:
    column: exp.Expr = exp.column(name, quoted=True)
    if kind.endswith("]") or kind.startswith(("STRUCT", "MAP")):
        column = exp.cast(column, "JSON", dialect="duckdb")
    return exp.cast(column, kind, dialect="duckdb")


def _typed(table: str, columns: Sequence[str], kinds: Sequence[str]) -> str:
    items = [exp.alias_(_cast(name, kind), name, quoted=True) for name, kind in zip(columns, kinds, strict=True)]
    return exp.select(*items).from_(table).order_by(exp.column("_mp_row")).sql(dialect="duckdb")


def _as_text(sql: str, columns: Sequence[str], kinds: Sequence[str], *, typed: bool) -> str:
    """Select *columns* as the text that their types print; of a fixture's texts (not *typed*) by way of the type."""
    items = [
        exp.alias_(
            exp.cast(exp.column(name, quoted=True) if typed else _cast(name, kind), "VARCHAR", dialect="duckdb"),
            name,
            quoted=True,
        )
        for name, kind in zip(columns, kinds, strict=True)
    ]
    return around(sql, exp.select(*items))


def _rows(session: Session, sql: str, kinds: Sequence[str]) -> list[tuple[str | None, ...]]:
    rows: list[tuple[str | None, ...]] = []
    for batch in session.stream(sql):
        columns = [column.to_pylist() for column in batch.columns]
        rows.extend(zip(*columns, strict=True))
        if len(rows) > _ROWS_MAX:
            raise CasesInvalid(
                f"The model gives more than {_ROWS_MAX:,} rows in a test.", hint="Give it fewer rows, or a filter."
            )
    return [tuple(_rounded(cell, kind) for cell, kind in zip(row, kinds, strict=True)) for row in rows]


def _rounded(text: str | None, kind: str) -> str | None:
    return text if text is None or kind not in _REAL else f"{float(text):.10g}"


def _diff(
    columns: Sequence[str],
    wanted: list[tuple[str | None, ...]],
    found: list[tuple[str | None, ...]],
    *,
    exact: bool,
) -> str:
    marked: list[tuple[str, tuple[str | None, ...]]] = []
    if exact:
        for kind, a, b, c, d in SequenceMatcher(None, wanted, found, autojunk=False).get_opcodes():
            if kind != "equal":
                marked.extend([*(("-", row) for row in wanted[a:b]), *(("+", row) for row in found[c:d])])
    else:
        missing, extra = Counter(wanted) - Counter(found), Counter(found) - Counter(wanted)
        marked = [*(("-", row) for row in missing.elements()), *(("+", row) for row in extra.elements())]
        marked.sort(key=lambda pair: ([(cell is not None, cell or "") for cell in pair[1]], pair[0] == "+"))
    if not marked:
        return ""
    cells = [list(columns), *[["NULL" if cell is None else cell for cell in row] for _, row in marked]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    signs = [" ", *(sign for sign, _ in marked)]
    lines = [
        f"{sign} {'  '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))}".rstrip()
        for sign, row in zip(signs, cells, strict=True)
    ]
    return "\n".join([f"{len(wanted)} rows expected (-), {len(found)} found (+); these differ:", *lines])
