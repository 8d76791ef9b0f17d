"""A policy's expressions: checked when policies load, bound to one principal's attributes when they are used.

An expression names only the row's columns, ``value``, and ``principal.<attribute>``. Bound, it holds literals and
functions written ``system.main.f`` only, so that nothing a session defines can stand in for them.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from sqlglot import exp, parse, tokenize
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import TokenType

from millpond.access.functions import IN_POLICIES, TYPES
from millpond.access.spec import folded

DIALECT: Final = "duckdb"
_ROW: Final = "_mp_row"
_WORD: Final = re.compile(r"[A-Za-z_]\w*")
_LENGTH_MAX: Final = 10_000

_PLAIN: Final = (exp.Column, exp.Identifier, exp.Literal, exp.Boolean, exp.Null, exp.Paren, exp.And, exp.Or, exp.Not,
                 exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.NullSafeEQ, exp.NullSafeNEQ, exp.Is,
                 exp.Between, exp.In)  # fmt: skip
_ALLOWED: Final = (*_PLAIN, exp.Neg, exp.Like, exp.ILike, exp.Escape, exp.Case, exp.If, exp.Cast, exp.TryCast,
                   exp.DataType, exp.DataTypeParam, exp.Anonymous, exp.Add, exp.Sub, exp.Mul, exp.Div, exp.IntDiv,
                   exp.Mod, exp.DPipe, exp.Coalesce, exp.Interval, exp.Var)  # fmt: skip
_MARK: Final = "_mp_call_"
_BEFORE_PARENTHESIS: Final = frozenset(
    {
        "and",
        "or",
        "not",
        "in",
        "like",
        "ilike",
        "between",
        "when",
        "then",
        "else",
        "case",
        "cast",
        "try_cast",
        "coalesce",
    }
)


class ExpressionRefused(ValueError):
    """The text is not an expression that a policy may hold; the message says why, in words for its author."""


class NotBound(ValueError):
    """The expression names a column or an attribute that is not there."""

    def __init__(self, what: str, name: str) -> None:
        """Keep *what* is missing (column, attribute) and its *name*."""
        super().__init__(f"{what} {name!r}")
        self.what = what
        self.name = name


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyExpression:
    """An expression that passed every check that needs no data."""

    text: str
    columns: frozenset[str]
    """The row's columns it names, case folded; without ``value``."""
    attributes: frozenset[str]
    """What it needs to know of the principal."""
    uses_value: bool
    tree: exp.Expr = field(hash=False, compare=False, repr=False)


def parse_expression(text: str) -> PolicyExpression:
    """Read one expression of a policy.

    Raises:
        ExpressionRefused: not one expression, or it holds what a policy may not.
    """
    if len(text) > _LENGTH_MAX or "\0" in text:
        raise ExpressionRefused(f"an expression has at most {_LENGTH_MAX} characters, none of them NUL")
    try:
        trees = parse(_with_marked_functions(text), read=DIALECT)
    except (SqlglotError, RecursionError) as error:
        first = str(error).splitlines()[0] if str(error) else "it cannot be read"
        raise ExpressionRefused(f"not a DuckDB expression: {first}") from error
    if len(trees) != 1 or trees[0] is None:
        raise ExpressionRefused("write exactly one expression")
    tree = trees[0]
    for node in tree.walk():
        _check(node)
    columns, attributes, uses_value = set(), set(), False
    for column in tree.find_all(exp.Column):
        if column.table:
            attributes.add(column.name)
        elif folded(column.name) == "value":
            uses_value = True
        else:
            columns.add(folded(column.name))
    return PolicyExpression(
        text=text, columns=frozenset(columns), attributes=frozenset(attributes), uses_value=uses_value, tree=tree
    )


def _with_marked_functions(text: str) -> str:
    """Give every function a name of ours, so that the parser keeps it as written and does not rewrite the call."""
    pieces, end = [], 0
    tokens = tokenize(text, read=DIALECT)
    for token, after in itertools.pairwise(tokens):
        if after.token_type is not TokenType.L_PAREN or not _WORD.fullmatch(token.text):
            continue
        if token.token_type in {TokenType.NUMBER, TokenType.STRING}:
            continue
        name = token.text.lower()
        quoted = token.token_type is TokenType.IDENTIFIER
        if not quoted and (name in _BEFORE_PARENTHESIS or name in TYPES - IN_POLICIES):
            continue
        if quoted or name not in IN_POLICIES:
            close = difflib.get_close_matches(name, IN_POLICIES, n=1, cutoff=0.8)
            fix = f"; did you mean {close[0]!r}?" if close else ""
            raise ExpressionRefused(f"the function {name} is not allowed in policies{fix}")
        pieces += [text[end : token.start], _MARK, name]
        end = token.end + 1
    return "".join([*pieces, text[end:]])


def _check(node: exp.Expr) -> None:
    if not isinstance(node, _ALLOWED):
        raise ExpressionRefused(f"a policy's expression cannot hold {_spoken(node)}")
    if isinstance(node, exp.Column):
        if len(node.parts) > 2 or (len(node.parts) == 2 and folded(node.table) != "principal"):
            written = node.sql(dialect=DIALECT)
            raise ExpressionRefused(f"{written!r} is neither a column of the row nor principal.<attribute>")
        if isinstance(node.this, exp.Star):
            raise ExpressionRefused("name columns one by one; * is not an expression")
    if isinstance(node, exp.Anonymous) and not str(node.this).startswith(_MARK):
        raise ExpressionRefused(f"the function {node.this} is not allowed in policies")
    if isinstance(node, exp.DataType) and node.this in {exp.DType.USERDEFINED, exp.DType.UNKNOWN}:
        raise ExpressionRefused(f"{node.sql(dialect=DIALECT)} is not a type of DuckDB")


def _spoken(node: exp.Expr) -> str:
    if isinstance(node, exp.Query | exp.Exists):
        return "a subquery"
    if isinstance(node, exp.Placeholder | exp.Parameter):
        return "a parameter"
    if isinstance(node, exp.Window):
        return "a window"
    if isinstance(node, exp.Alias):
        return "two expressions side by side"
    if isinstance(node, exp.Dot):
        return "a qualified or chained function: write f(x)"
    return f"this construct ({node.sql(dialect=DIALECT)[:60]})"


def bind_expression(
    expression: PolicyExpression,
    *,
    columns: Mapping[str, str],
    attribute: Callable[[str], str | None],
    value: str | None = None,
) -> exp.Expr:
    """Put the row's *columns* (folded name → name), the column *value* stands for, and attributes in their places.

    Raises:
        NotBound: a column or attribute that is not there; nothing may be answered without it.
    """

    def bound(node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.Column):
            if node.table:
                text = attribute(node.name)
                if text is None:
                    raise NotBound("attribute", node.name)
                return exp.Literal.string(text)
            if folded(node.name) == "value" and value is not None:
                return row_column(value)
            name = columns.get(folded(node.name))
            if name is None:
                raise NotBound("column", node.name)
            return row_column(name)
        return node

    tree = expression.tree.copy().transform(bound)
    for call in [*tree.find_all(exp.Anonymous)]:
        qualified = system_function(str(call.this).removeprefix(_MARK), *call.expressions)
        if call is tree:
            tree = qualified
        else:
            call.replace(qualified)
    return tree


def row_column(name: str) -> exp.Column:
    """Name a column of the raw row; quoted and qualified, so that no alias can stand in for it."""
    return exp.column(exp.to_identifier(name, quoted=True), table=exp.to_identifier(_ROW))


def row_alias() -> exp.TableAlias:
    """Name the raw row as ``row_column`` does."""
    return exp.TableAlias(this=exp.to_identifier(_ROW))


def system_function(name: str, *arguments: exp.Expr) -> exp.Expr:
    """Call DuckDB's own function *name*, whatever a session may have defined."""
    call = exp.Anonymous(this=name, expressions=list(arguments))
    return exp.Dot.build([exp.to_identifier("system"), exp.to_identifier("main"), call])


def cannot_raise(expression: PolicyExpression, types: Mapping[str, str]) -> bool:
    """Say whether no row can make *expression* raise: comparisons only, and no text turned into numbers.

    *types* maps folded column names to DuckDB types. A text literal or an attribute is turned into the column's type
    when the statement is bound, before any row is read.
    """
    if not all(isinstance(node, _PLAIN) for node in expression.tree.walk()):
        return False
    has_number = any(not literal.is_string for literal in expression.tree.find_all(exp.Literal))
    named = {types.get(column, "") for column in expression.columns}
    if has_number and any(type_ == "VARCHAR" for type_ in named):
        return False
    return not expression.uses_value and len(named) <= 1


def without_raising(tree: exp.Expr) -> exp.Expr:
    """Make an error of *tree* a NULL: the row is hidden, or its value is."""
    return exp.Anonymous(this="TRY", expressions=[tree])
