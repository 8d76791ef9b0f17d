"""From a rule to the SQL that is true for a good row, and from a rule's query to one that names the relation at hand.

What a user wrote stays as written: names are replaced where they stand, nothing is printed anew from a parsed tree.
A reprint can change what an expression means, and it is not what the user finds in an error's text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from millpond.contracts import Column, Dataset, Rule
from millpond.quality.errors import RuleInvalid

_DIALECT = "duckdb"
_PLACEHOLDER = re.compile(r"\$?\{\s*(object|table|model|schema|property|column|field)\s*\}")
_OBJECT = "millpond_placeholder_object"
_PROPERTY = "millpond_placeholder_property"
_NOT_A_ROW = (exp.Query, exp.AggFunc, exp.Window)
_NOT_A_READING = (exp.DML, exp.DDL, exp.Command, exp.Into)


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicate:
    """A condition over one row, ready to stand in a query."""

    sql: str
    """In brackets. A row is good where this is true, and bad where it is false or NULL."""
    columns: tuple[str, ...]
    """The dataset's columns that it names, in the dataset's order."""
    by_row: bool = True
    """False where it looks beyond its row: aggregates, windows, subqueries."""


def quoted(*names: str) -> str:
    """Write names as one quoted path: ``"a"."b"``."""
    return ".".join(exp.to_identifier(name, quoted=True).sql(_DIALECT) for name in names)


def relation_of(relation: str) -> exp.Table:
    """Make a relation of its name, given as ``table`` or ``schema.table``."""
    *schema, table = relation.split(".", 1)
    return exp.table_(table, db=schema[0] if schema else None, quoted=True)


def count_true(predicate: str) -> str:
    """Count the rows for which *predicate* is true; no row counts as 0, where ``count_if`` alone says NULL."""
    counted = exp.func("COUNT_IF", exp.Var(this=predicate), dialect=_DIALECT)
    return exp.func("COALESCE", counted, exp.Literal.number(0)).sql(_DIALECT)


def not_null(column: str) -> str:
    """True where *column* has a value."""
    return exp.paren(_column(column).is_(exp.null()).not_()).sql(_DIALECT)


def present(column: Column, missing: Sequence[str | None]) -> str:
    """True where *column* has a value, and none of those that stand for a missing one."""
    texts = [text for text in missing if text is not None]
    if not texts:
        return not_null(column.name)
    held = _column(column.name).is_(exp.null()).not_()
    return exp.paren(exp.and_(held, exp.not_(_one_of(column, texts)))).sql(_DIALECT)


def valid(column: Column, values: Sequence[str] | None, pattern: str | None) -> str:
    """True where *column* is NULL, or one of *values* and a whole match of *pattern*, as far as they are given."""
    wanted: list[exp.Expr] = []
    if values is not None:
        wanted.append(_one_of(column, values))
    if pattern is not None:
        wanted.append(exp.func("REGEXP_FULL_MATCH", _as_text(column), exp.Literal.string(pattern), dialect=_DIALECT))
    return exp.paren(exp.or_(_column(column.name).is_(exp.null()), exp.and_(*wanted))).sql(_DIALECT)


def condition(dataset: Dataset, rule: Rule) -> Predicate:
    """Make the predicate of a custom expression: its columns quoted, and NULL for a row on which it raises.

    Raises:
        RuleInvalid: it is not one DuckDB expression.
    """
    text = rule.expression or ""
    try:
        tree = sqlglot.parse_one(text, into=exp.Condition, dialect=_DIALECT)
    except SqlglotError as error:
        raise _invalid(dataset, rule, f"not one DuckDB expression: {_first_line(error)}") from error
    by_name = {column.name.casefold(): column.name for column in dataset.columns}
    edits: list[_Edit] = []
    named: set[str] = set()
    for node in tree.find_all(exp.Column):
        first = node.parts[0]
        name = by_name.get(first.name.casefold())
        if name is None or not isinstance(first, exp.Identifier):
            continue
        named.add(name)
        edits.append(_Edit.of(first, quoted(name)))
    by_row = tree.find(*_NOT_A_ROW) is None
    body = _edited(text, edits)
    return Predicate(
        # A new line before the bracket: the text may end in a comment.
        sql=("TRY(" if by_row else "(") + body + "\n)",
        columns=tuple(column.name for column in dataset.columns if column.name in named),
        by_row=by_row,
    )


def bound_query(dataset: Dataset, rule: Rule, *, relation: str, references: Mapping[str, str]) -> str:
    """Bind a rule's query to *relation*: placeholders, the dataset's own name and the names in *references*.

    Raises:
        RuleInvalid: it is not one SELECT, or names ``${property}`` without standing under a column.
    """
    text = _PLACEHOLDER.sub(_stand_in, rule.query or "")
    if _PROPERTY in text and rule.column is None:
        raise _invalid(dataset, rule, "it names ${property} but stands under no column")
    try:
        parsed = sqlglot.parse(text, dialect=_DIALECT)
        statements = [tree for tree in parsed if tree is not None and not isinstance(tree, exp.Semicolon)]
        ends = [token.end for token in sqlglot.tokenize(text, dialect=_DIALECT) if token.text != ";"]
    except SqlglotError as error:
        raise _invalid(dataset, rule, f"not a DuckDB query: {_first_line(error)}") from error
    if len(statements) != 1 or not isinstance(statements[0], exp.Query) or statements[0].find(*_NOT_A_READING):
        raise _invalid(dataset, rule, "it must be a single SELECT")
    product = dataset.name.rpartition(".")[0]
    beside = {_short(name): other for name, other in references.items() if name.rpartition(".")[0] == product}
    known = {**beside, **references, dataset.name: relation, _short(dataset.name): relation, _OBJECT: relation}
    edits = _query_edits(statements[0], known, alias=_short(dataset.name), column=rule.column)
    body = _edited(text[: max(ends) + 1], edits)
    # What is left of the stand-ins is inside text literals.
    return body.replace(_OBJECT, dataset.name.replace("'", "''")).replace(
        _PROPERTY, (rule.column or "").replace("'", "''")
    )


def _query_edits(tree: exp.Expr, known: Mapping[str, str], *, alias: str, column: str | None) -> list[_Edit]:
    own = {cte.alias.casefold() for cte in tree.find_all(exp.CTE)}
    folded = {name.casefold(): relation for name, relation in known.items()}
    edits: list[_Edit] = []
    for table in tree.find_all(exp.Table):
        parts = [part for part in table.parts if isinstance(part, exp.Identifier)]
        written = ".".join(part.name for part in parts)
        relation = folded.get(written.casefold())
        if relation is None or (len(parts) == 1 and written.casefold() in own):
            continue
        # The name as written stays usable in front of columns.
        as_name = "" if table.alias else " AS " + quoted(alias if written == _OBJECT else parts[-1].name)
        edits.append(_Edit.of(parts[0], relation_of(relation).sql(_DIALECT) + as_name, last=parts[-1]))
    for named in tree.find_all(exp.Column):
        # product.dataset.column: the relation at hand goes by the dataset's own name.
        path = [part for part in named.parts if isinstance(part, exp.Identifier)]
        if len(path) > 2 and f"{path[0].name}.{path[1].name}".casefold() in folded:
            edits.append(_Edit.of(path[0], quoted(path[1].name), last=path[1]))
    done = {edit.start for edit in edits}
    for name in tree.find_all(exp.Identifier):
        if name.name == _OBJECT and name.meta["start"] not in done:
            edits.append(_Edit.of(name, quoted(alias)))
        elif name.name == _PROPERTY and column is not None:
            edits.append(_Edit.of(name, quoted(column)))
    return edits


@dataclass(frozen=True, slots=True)
class _Edit:
    """Text to stand at a place of another text."""

    start: int
    end: int
    text: str

    @classmethod
    def of(cls, name: exp.Identifier, text: str, *, last: exp.Identifier | None = None) -> _Edit:
        """Replace *name* as it stands in the text, quotes included; up to *last* where given."""
        return cls(name.meta["start"], (last or name).meta["end"] + 1, text)


def _edited(text: str, edits: Sequence[_Edit]) -> str:
    pieces: list[str] = []
    done = 0
    for edit in sorted(set(edits), key=lambda edit: edit.start):
        pieces += [text[done : edit.start], edit.text]
        done = edit.end
    return "".join([*pieces, text[done:]])


def _stand_in(match: re.Match[str]) -> str:
    return _PROPERTY if match[1] in {"property", "column", "field"} else _OBJECT


def _one_of(column: Column, values: Sequence[str]) -> exp.Expr:
    if not values:
        return exp.false()
    texts = [exp.Literal.string(value) for value in values]
    if column.type == "VARCHAR":
        return _column(column.name).isin(*texts)
    # A value that cannot be of the column's type is one that no row has: with NULL in the list, no row is found in it.
    wanted = exp.DataType.build(column.type, dialect=_DIALECT)
    return exp.func(
        "COALESCE", _column(column.name).isin(*(exp.TryCast(this=t, to=wanted.copy()) for t in texts)), exp.false()
    )


def _as_text(column: Column) -> exp.Expr:
    named = _column(column.name)
    return named if column.type == "VARCHAR" else exp.cast(named, exp.DataType.Type.VARCHAR, dialect=_DIALECT)


def _column(name: str) -> exp.Column:
    return exp.column(name, quoted=True)


def _short(dataset: str) -> str:
    return dataset.rsplit(".", 1)[-1]


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0]


def _invalid(dataset: Dataset, rule: Rule, reason: str) -> RuleInvalid:
    return RuleInvalid(dataset=dataset.name, rule=rule.id, reason=reason, at=rule.at)
