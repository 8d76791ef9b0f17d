"""A model's columns against its contract: what the engine says it gives, and the SELECT that gives it exactly."""

from __future__ import annotations

import re
from typing import Final

from sqlglot import exp

from millpond.contracts import Column, Dataset, widens
from millpond.engines import QueryInvalid, Session
from millpond.kernel import Location, Problem, suggest
from millpond.models.models import SCD2_COLUMNS
from millpond.models.spec import Model

_DIGITS: Final = {
    "TINYINT": 3,
    "UTINYINT": 3,
    "SMALLINT": 5,
    "USMALLINT": 5,
    "INTEGER": 10,
    "UINTEGER": 10,
    "BIGINT": 19,
    "UBIGINT": 20,
}
"""Decimal digits that hold every value."""
_DIGITS_IN_DOUBLE: Final = 15
_DECIMAL: Final = re.compile(r"DECIMAL\((\d+),(\d+)\)")


def check_types(model: Model, dataset: Dataset, session: Session) -> tuple[Problem, ...]:
    """Compare a model's columns with its contract; *session* has every dataset it reads attached, empty or not.

    Runs nothing: the engine's binder answers. Order does not matter; a type may be wider in the contract where no
    value can be lost.
    """
    spec = model.spec
    at = Location(spec.path, spec.sql_line)
    try:
        described = session.describe(model.sql)
    except QueryInvalid as error:
        line = spec.sql_line + error.line - 1 if error.line is not None else spec.sql_line
        there = Location(spec.path, line, error.column)
        return (Problem(what=f"{spec.dataset}: {error.reason}", at=there, fix=error.hint),)
    found = {name.lower(): kind for name, kind in described}
    name = dataset.name.rpartition(".")[2]
    wanted = selected_columns(model, dataset)
    problems = []
    for column in wanted:
        kind = found.pop(column.name.lower(), None)
        if kind is None:
            fix = f"Add it to the SELECT, or take it out of the contract. {suggest(column.name, list(found))}"
            problems.append(
                Problem(what=f"{name}.{column.name} is in the contract and not in the SELECT", at=at, fix=fix)
            )
        elif not fits(kind, column.type):
            what = f"{name}.{column.name} is {kind}, the contract says {column.type}"
            fix = f"Write CAST(... AS {column.type}) AS {column.name}, or change the contract{_place(column)}."
            problems.append(Problem(what=what, at=at, fix=fix))
    for extra, kind in found.items():
        what = f"{name}.{extra} ({kind}) is in the SELECT and not in the contract"
        problems.append(Problem(what=what, at=at, fix="Add it to the contract, or leave it out."))
    return tuple(problems)


def _place(column: Column) -> str:
    return f" ({column.at})" if column.at else ""


def fits(found: str, wanted: str) -> bool:
    """Tell whether every value of type *found* is a value of type *wanted*."""
    if found == wanted or found.strip('"') == "NULL" or widens(found, wanted):
        return True
    digits = _DIGITS.get(found)
    if digits is None:
        return False
    decimal = _DECIMAL.fullmatch(wanted)
    if decimal is not None:
        return int(decimal[1]) - int(decimal[2]) >= digits
    return wanted == "DOUBLE" and digits <= _DIGITS_IN_DOUBLE


def selected_columns(model: Model, dataset: Dataset) -> tuple[Column, ...]:
    """Columns of the contract that the model's SELECT has to give."""
    if model.spec.materialize != "scd2":
        return dataset.columns
    return tuple(column for column in dataset.columns if column.name not in SCD2_COLUMNS)


def select_for(model: Model, dataset: Dataset) -> str:
    """Give the model's SELECT with its columns in the contract's order and types.

    The model's text stands in it unchanged, on lines of its own.
    """
    columns = [
        exp.alias_(
            exp.cast(exp.column(column.name, quoted=True), column.type, dialect="duckdb"), column.name, quoted=True
        )
        for column in selected_columns(model, dataset)
    ]
    return around(model.sql, exp.select(*columns))


def around(sql: str, head: exp.Select, *clauses: exp.Expr) -> str:
    """Put a SELECT's text, unchanged and on lines of its own, into the FROM of *head*, and *clauses* behind it."""
    parts = [head.sql(dialect="duckdb"), "FROM (", sql, ") AS _mp_rows"]
    parts.extend(clause.sql(dialect="duckdb").strip() for clause in clauses)
    return "\n".join(parts)
