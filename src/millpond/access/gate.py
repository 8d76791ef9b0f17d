"""The gate: a query passes when every part of DuckDB's own parse of it is known to be harmless.

Nothing is searched for and forbidden; everything is looked up and allowed, field by field. What a newer engine adds is
refused until it is added here. The gate knows names only; what a name shows is the business of views.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from millpond.access.errors import Reason
from millpond.access.functions import AGGREGATES, CALLABLE, TABLE_FUNCTIONS, TYPES, WINDOWS
from millpond.access.grammar import ALWAYS, EXPRESSIONS, MODIFIERS, OPERATORS, QUERIES, TABLES, WALKED, WORDS
from millpond.access.spec import folded

Node = Mapping[str, object]
NO_NAMES: Final[frozenset[str]] = frozenset()

_DEPTH_MAX: Final = 200
_NODES_MAX: Final = 50_000
_CTE_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_INNER: Final = (
    "left", "right", "input", "lower", "upper", "child", "type_expr", "else_expr", "lhs", "expr", "filter",
    "filter_expr", "start_expr", "end_expr", "offset_expr", "default_expr",
)  # fmt: skip
_COLLATION: Final = re.compile(r"[A-Za-z_]{1,16}(\.[A-Za-z_]{1,16}){0,3}")


class GateRefused(Exception):
    """A part of the query is not allowed; the message names it as the asker wrote it."""

    def __init__(self, message: str, *, reason: Reason, hint: str | None = None, dataset: str = "") -> None:
        """Keep what was refused, what to write instead, and the *dataset* that is not there."""
        super().__init__(message)
        self.message = message
        self.reason: Reason = reason
        self.hint = hint
        self.dataset = dataset


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """A query that may run, and what it names."""

    tables: tuple[str, ...]
    """Datasets it reads, sorted, each once."""
    columns: frozenset[str]
    """Every column name in it, case folded."""
    every_column: bool
    """True where a star, or a whole row, takes in columns it does not name."""


def admit(tree: Mapping[str, object], *, dataset: Callable[[str], str | None]) -> Admitted:
    """Walk DuckDB's serialised tree of one SELECT.

    *dataset* gives the true name of a folded ``product.dataset`` that the principal may know of, else None. Costs a few
    microseconds for each node.

    Raises:
        GateRefused: something that is not on a list.
    """
    walk = _Walk(dataset)
    walk.query(_select(tree), NO_NAMES, 0)
    return Admitted(
        tables=tuple(sorted(walk.tables)),
        columns=frozenset(walk.columns),
        every_column=walk.every_column or not walk.alone.isdisjoint(walk.relations),
    )


def _select(tree: Mapping[str, object]) -> Node:
    statements = tree.get("statements")
    if tree.get("error") or not isinstance(statements, list) or len(statements) != 1:
        raise GateRefused("Write exactly one SELECT.", reason="statement")
    return _statement(statements[0])


def _statement(statement: object) -> Node:
    if not isinstance(statement, Mapping) or set(_filled(statement)) - {"node", "named_param_map"}:
        raise GateRefused("Write exactly one SELECT.", reason="statement")
    if statement.get("named_param_map"):
        raise GateRefused(f"{WORDS['PARAMETER']} cannot be used here.", reason="construct", hint="Write the values.")
    return _mapping(statement.get("node"))


def _mapping(value: object) -> Node:
    if isinstance(value, Mapping):
        return value
    raise GateRefused("The query holds a part that is not known here.", reason="construct")


def _filled(node: Node) -> Iterator[str]:
    """Give the fields of *node* that say something; engines write empty ones out or leave them away."""
    for key, value in node.items():
        if value not in (None, "", False, [], {}):
            yield key


def _items(value: object) -> list[object]:
    if value is None:
        return []
    if isinstance(value, list):
        return value
    raise GateRefused("The query holds a part that is not known here.", reason="construct")


class _Walk:
    """One pass over one tree; collects what the query names."""

    def __init__(self, dataset: Callable[[str], str | None]) -> None:
        self.dataset = dataset
        self.tables: set[str] = set()
        self.columns: set[str] = set()
        self.every_column = False
        self.alone: set[str] = set()
        self.relations: set[str] = set()
        self.nodes = 0
        self.special: Final[Mapping[str, Callable[[Node, frozenset[str], int], None]]] = {
            "COLUMN_REF": self.column,
            "FUNCTION": self.call,
            "WINDOW": self.call,
            "OPERATOR": self.operator,
            "SUBQUERY": self.subquery,
            "CASE": self.case,
            "TYPE": self.type,
            "COLLATE": self.collate,
            "STAR": self.star,
        }

    def known(self, node: Node, kind: str, fields: Mapping[str, frozenset[str]], depth: int) -> None:
        self.nodes += 1
        if depth > _DEPTH_MAX or self.nodes > _NODES_MAX:
            raise GateRefused(
                "The query is nested too deeply or is too long.", reason="limit", hint="Split it into several queries."
            )
        allowed = fields.get(kind)
        if allowed is None:
            words = WORDS.get(kind, kind.replace("_", " ").lower())
            raise GateRefused(f"{words} cannot be used here.", reason="construct", hint="Write one plain SELECT.")
        for key in _filled(node):
            if key not in allowed and key not in ALWAYS:
                words = WORDS.get(key, key.replace("_", " "))
                raise GateRefused(f"{words} cannot be used here.", reason="construct")
            if key not in WALKED and not _is_plain(node[key]):
                raise GateRefused("The query holds a part that is not known here.", reason="construct")

    # Queries

    def query(self, node: Node, ctes: frozenset[str], depth: int) -> None:
        kind = str(node.get("type"))
        self.known(node, kind, QUERIES, depth)
        ctes = self.ctes(node.get("cte_map"), ctes, depth)
        for modifier in _items(node.get("modifiers")):
            self.modifier(_mapping(modifier), ctes, depth + 1)
        if kind == "SELECT_NODE":
            self.select(node, ctes, depth)
            return
        if kind == "RECURSIVE_CTE_NODE":
            ctes |= {folded(self.cte_name(node.get("cte_name")))}
            self.expressions(node.get("key_targets"), ctes, depth)
        branches = [branch for key in ("left", "right") if (branch := node.get(key)) is not None]
        for branch in (*branches, *_items(node.get("children"))):
            self.query(_mapping(branch), ctes, depth + 1)

    def select(self, node: Node, ctes: frozenset[str], depth: int) -> None:
        self.table(_mapping(node.get("from_table")), ctes, depth + 1)
        for key in ("select_list", "group_expressions"):
            self.expressions(node.get(key), ctes, depth)
        for key in ("where_clause", "having", "qualify"):
            if node.get(key) is not None:
                self.expression(_mapping(node.get(key)), ctes, depth + 1)
        if node.get("aggregate_handling") not in (
            None,
            "STANDARD_HANDLING",
            "FORCE_AGGREGATES",
            "NO_AGGREGATES_ALLOWED",
        ):
            raise GateRefused("This kind of aggregation is not known here.", reason="construct")
        self.sample(node.get("sample"))

    def ctes(self, value: object, ctes: frozenset[str], depth: int) -> frozenset[str]:
        """Walk a WITH clause; a name is visible to the CTEs after it and to the query, as the engine resolves it."""
        if not value:
            return ctes
        for entry in _items(_mapping(value).get("map")):
            pair = _mapping(entry)
            name = self.cte_name(pair.get("key"))
            body = _mapping(pair.get("value"))
            _only(body, {"aliases", "materialized", "key_targets", "query_node", "query"})
            if body.get("query_node") is not None:
                self.query(_mapping(body.get("query_node")), ctes, depth + 1)
            else:
                self.query(_statement(body.get("query")), ctes, depth + 1)
            self.expressions(body.get("key_targets"), ctes, depth)
            ctes |= {folded(name)}
        return ctes

    @staticmethod
    def cte_name(value: object) -> str:
        name = str(value)
        if not _CTE_NAME.fullmatch(name) or folded(name).startswith("_mp"):
            raise GateRefused(
                f'"{name[:60]}" cannot be the name of a WITH clause.', reason="construct",
                hint="Use letters, digits and underscores, beginning with a letter.",
            )  # fmt: skip
        return name

    def modifier(self, node: Node, ctes: frozenset[str], depth: int) -> None:
        self.known(node, str(node.get("type")), MODIFIERS, depth)
        for key in ("limit", "offset"):
            if node.get(key) is not None:
                self.expression(_mapping(node.get(key)), ctes, depth + 1)
        self.orders(node.get("orders"), ctes, depth)
        self.expressions(node.get("distinct_on_targets"), ctes, depth)

    def orders(self, value: object, ctes: frozenset[str], depth: int) -> None:
        for entry in _items(value):
            order = _mapping(entry)
            _only(order, {"type", "null_order", "expression"})
            self.expression(_mapping(order.get("expression")), ctes, depth + 1)

    @staticmethod
    def sample(value: object) -> None:
        """A sample is numbers and a method's name: nothing in it is evaluated."""
        if value is None:
            return
        node = _mapping(value)
        _only(node, {"sample_size", "is_percentage", "method", "seed", "repeatable", "sample_rate"})

    # Tables

    def table(self, node: Node, ctes: frozenset[str], depth: int) -> None:
        kind = str(node.get("type"))
        self.known(node, kind, TABLES, depth)
        self.sample(node.get("sample"))
        self.relations.update(folded(str(node[key])) for key in ("alias", "table_name") if node.get(key))
        match kind:
            case "BASE_TABLE":
                self.base_table(node, ctes)
            case "SUBQUERY":
                self.query(_statement(node.get("subquery")), ctes, depth + 1)
            case "JOIN":
                self.table(_mapping(node.get("left")), ctes, depth + 1)
                self.table(_mapping(node.get("right")), ctes, depth + 1)
                if node.get("condition") is not None:
                    self.expression(_mapping(node.get("condition")), ctes, depth + 1)
                self.columns.update(folded(str(name)) for name in _items(node.get("using_columns")))
                self.every_column |= node.get("ref_type") == "NATURAL"
            case "TABLE_FUNCTION":
                self.table_function(_mapping(node.get("function")), ctes, depth + 1)
            case "EXPRESSION_LIST":
                for row in _items(node.get("values")):
                    self.expressions(row, ctes, depth)
            case "PIVOT":
                self.pivot(node, ctes, depth)

    def base_table(self, node: Node, ctes: frozenset[str]) -> None:
        schema, table = str(node.get("schema_name") or ""), str(node.get("table_name") or "")
        path = [str(part) for part in _items(_mapping(node.get("qualified_name") or {}).get("path"))]
        written = ".".join(path or [schema, table])[:200]
        if path and path != [part for part in (schema, table) if part]:
            raise self.no_dataset(written)
        if not schema:
            if folded(table) in ctes:
                return
            raise GateRefused(
                f'"{table[:200]}" is not a name from a WITH clause.', reason="dataset",
                hint="Name datasets in full: product.dataset. Files and system tables cannot be read.",
            )  # fmt: skip
        name = self.dataset(folded(f"{schema}.{table}")) if "." not in schema + table else None
        if name is None or folded(schema).startswith("_mp"):
            raise self.no_dataset(written)
        self.tables.add(name)

    @staticmethod
    def no_dataset(written: str) -> GateRefused:
        return GateRefused(f"There is no dataset {written} that you may read.", reason="dataset", dataset=written)

    def table_function(self, node: Node, ctes: frozenset[str], depth: int) -> None:
        name = str(node.get("function_name")).lower()
        if node.get("class") != "FUNCTION" or name not in TABLE_FUNCTIONS:
            raise GateRefused(
                f"{name[:60]}() cannot stand in FROM.", reason="function",
                hint=f"Read datasets by name; besides them: {', '.join(sorted(TABLE_FUNCTIONS))}.",
            )  # fmt: skip
        self.expression(node, ctes, depth)

    def pivot(self, node: Node, ctes: frozenset[str], depth: int) -> None:
        self.table(_mapping(node.get("source")), ctes, depth + 1)
        self.expressions(node.get("aggregates"), ctes, depth)
        self.every_column = True
        for entry in _items(node.get("pivots")):
            pivot = _mapping(entry)
            _only(pivot, {"pivot_expressions", "unpivot_names", "entries"})
            self.expressions(pivot.get("pivot_expressions"), ctes, depth)
            for value in _items(pivot.get("entries")):
                choice = _mapping(value)
                _only(choice, {"star_expr", "alias", "values"})
                if any(not _is_plain(constant) for constant in _items(choice.get("values"))):
                    raise GateRefused("This kind of PIVOT is not known here.", reason="construct")
                if choice.get("star_expr") is not None:
                    self.expression(_mapping(choice.get("star_expr")), ctes, depth + 1)

    # Expressions

    def expressions(self, value: object, ctes: frozenset[str], depth: int) -> None:
        for entry in _items(value):
            self.expression(_mapping(entry), ctes, depth + 1)

    def expression(self, node: Node, ctes: frozenset[str], depth: int) -> None:
        kind = str(node.get("class"))
        self.known(node, kind, EXPRESSIONS, depth)
        special = self.special.get(kind)
        if special is not None:
            special(node, ctes, depth)
        self.each(node, _INNER, ctes, depth)
        if kind != "WINDOW":
            self.expressions(node.get("children"), ctes, depth)

    def column(self, node: Node, _: frozenset[str], __: int) -> None:
        names = [str(name) for name in _items(node.get("column_names"))]
        self.columns.update(map(folded, names))
        if len(names) == 1:
            self.alone.add(folded(names[0]))

    def subquery(self, node: Node, ctes: frozenset[str], depth: int) -> None:
        self.query(_statement(node.get("subquery")), ctes, depth + 1)

    def case(self, node: Node, ctes: frozenset[str], depth: int) -> None:
        for check in _items(node.get("case_checks")):
            pair = _mapping(check)
            _only(pair, {"when_expr", "then_expr"})
            self.each(pair, ("when_expr", "then_expr"), ctes, depth)

    @staticmethod
    def operator(node: Node, _: frozenset[str], __: int) -> None:
        if node.get("type") not in OPERATORS:
            raise GateRefused(f"{str(node.get('type')).lower()} cannot be used here.", reason="construct")

    @staticmethod
    def collate(node: Node, _: frozenset[str], __: int) -> None:
        if not _COLLATION.fullmatch(str(node.get("collation"))):
            raise GateRefused("That collation is not known here.", reason="construct")

    def each(self, node: Node, keys: tuple[str, ...], ctes: frozenset[str], depth: int) -> None:
        for key in keys:
            if node.get(key) is not None:
                self.expression(_mapping(node.get(key)), ctes, depth + 1)

    def call(self, node: Node, ctes: frozenset[str], depth: int) -> None:
        window = node.get("class") == "WINDOW"
        name = str(node.get("function_name")).lower()
        path = [str(part).lower() for part in _items(_mapping(node.get("qualified_name") or {}).get("path"))] or [name]
        place = [str(node.get(key)).lower() for key in ("catalog", "schema") if node.get(key)]
        if path not in ([name], ["system", "main", name]) or place not in ([], ["system", "main"]):
            raise GateRefused(
                f"{'.'.join(path)[:120]} cannot be called.", reason="function",
                hint="Write functions without anything before their name: lower(x), not x.lower() or s.lower(x).",
            )  # fmt: skip
        if name not in (AGGREGATES | WINDOWS if window else CALLABLE | TABLE_FUNCTIONS):
            close = difflib.get_close_matches(name, CALLABLE, n=1, cutoff=0.85)
            hint = (
                f"Did you mean {close[0]!r}?" if close else "It is not on the list of functions that readers may call."
            )
            raise GateRefused(f"The function {name[:60]}() cannot be used here.", reason="function", hint=hint)
        for argument in _items(node.get("arguments")):
            pair = _mapping(argument)
            _only(pair, {"name", "expression"})
            self.expression(_mapping(pair.get("expression")), ctes, depth + 1)
        for key in ("children", "partitions") if window else ():
            self.expressions(node.get(key), ctes, depth)
        for key in ("orders", "arg_orders"):
            self.orders(node.get(key), ctes, depth)
        if node.get("order_bys") is not None:
            self.modifier(_mapping(node.get("order_bys")), ctes, depth + 1)

    @staticmethod
    def type(node: Node, _: frozenset[str], __: int) -> None:
        name = str(node.get("type_name")).lower()
        path = [str(part).lower() for part in _items(_mapping(node.get("qualified_name") or {}).get("path"))]
        if name not in TYPES or path not in ([], [name]):
            raise GateRefused(f"{'.'.join(path or [name])[:120]} is not a type that can be used here.", reason="type")

    def star(self, node: Node, ctes: frozenset[str], depth: int) -> None:
        self.every_column = True
        for entry in _items(node.get("replace_list")):
            pair = _mapping(entry)
            _only(pair, {"key", "value"})
            self.each(pair, ("value",), ctes, depth)


def _only(node: Node, known: AbstractSet[str]) -> None:
    if not known >= set(_filled(node)):
        raise GateRefused("The query holds a part that is not known here.", reason="construct")


def _is_plain(value: object) -> bool:
    """Say whether *value* is a serialised constant: nested names and values, no expression among them."""
    if isinstance(value, Mapping):
        return "class" not in value and all(_is_plain(inner) for inner in value.values())
    if isinstance(value, list):
        return all(_is_plain(inner) for inner in value)
    return True
