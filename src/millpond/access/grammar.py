"""The parts of DuckDB's serialised tree that may stand in a reader's query, field by field.

A part or field that is not here is refused, so a newer engine's additions stay shut until somebody has read them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

QUERIES: Final[Mapping[str, frozenset[str]]] = {
    "SELECT_NODE": frozenset({
        "type", "modifiers", "cte_map", "select_list", "from_table", "where_clause", "group_expressions",
        "group_sets", "aggregate_handling", "having", "sample", "qualify",
    }),
    "SET_OPERATION_NODE": frozenset({
        "type", "modifiers", "cte_map", "setop_type", "setop_all", "left", "right", "children",
    }),
    "RECURSIVE_CTE_NODE": frozenset({
        "type", "modifiers", "cte_map", "cte_name", "union_all", "left", "right", "aliases", "key_targets",
    }),
}  # fmt: skip
TABLES: Final[Mapping[str, frozenset[str]]] = {
    "BASE_TABLE": frozenset({
        "type", "alias", "sample", "schema_name", "table_name", "column_name_alias", "qualified_name",
    }),
    "SUBQUERY": frozenset({"type", "alias", "sample", "subquery", "column_name_alias"}),
    "JOIN": frozenset({
        "type", "alias", "sample", "left", "right", "condition", "join_type", "ref_type", "using_columns",
        "is_implicit", "nearest_count", "nearest_order_type",
    }),
    "TABLE_FUNCTION": frozenset({
        "type", "alias", "sample", "function", "column_name_alias", "with_ordinality",
    }),
    "EXPRESSION_LIST": frozenset({"type", "alias", "sample", "expected_names", "expected_types", "values"}),
    "EMPTY": frozenset({"type", "alias", "sample"}),
    "PIVOT": frozenset({
        "type", "alias", "sample", "source", "aggregates", "unpivot_names", "pivots", "groups", "column_name_alias",
        "include_nulls",
    }),
}  # fmt: skip
MODIFIERS: Final[Mapping[str, frozenset[str]]] = {
    "ORDER_MODIFIER": frozenset({"type", "orders"}),
    "LIMIT_MODIFIER": frozenset({"type", "limit", "offset", "limit_type"}),
    "LIMIT_PERCENT_MODIFIER": frozenset({"type", "limit", "offset"}),
    "DISTINCT_MODIFIER": frozenset({"type", "distinct_on_targets"}),
}  # fmt: skip
EXPRESSIONS: Final[Mapping[str, frozenset[str]]] = {
    "COLUMN_REF": frozenset({"column_names"}),
    "CONSTANT": frozenset({"literal", "value"}),
    "FUNCTION": frozenset({
        "function_name", "schema", "catalog", "filter", "order_bys", "distinct", "is_operator", "arguments",
        "has_ignore_nulls", "ignore_nulls", "qualified_name",
    }),
    "WINDOW": frozenset({
        "function_name", "schema", "catalog", "qualified_name", "children", "arguments", "partitions", "orders",
        "start", "end", "start_expr", "end_expr", "offset_expr", "default_expr", "ignore_nulls",
        "has_ignore_nulls", "filter_expr", "exclude_clause", "distinct", "arg_orders",
    }),
    "OPERATOR": frozenset({"children"}),
    "COMPARISON": frozenset({"left", "right"}),
    "CONJUNCTION": frozenset({"children"}),
    "BETWEEN": frozenset({"input", "lower", "upper"}),
    "CASE": frozenset({"case_checks", "else_expr"}),
    "CAST": frozenset({"child", "type_expr", "cast_type", "try_cast"}),
    "TYPE": frozenset({"type_name", "children", "qualified_name"}),
    "COLLATE": frozenset({"child", "collation"}),
    "SUBQUERY": frozenset({"subquery_type", "subquery", "child", "comparison_type"}),
    "LAMBDA": frozenset({"lhs", "expr", "syntax_type"}),
    "STAR": frozenset({
        "relation_name", "exclude_list", "replace_list", "columns", "expr", "qualified_exclude_list", "rename_list",
        "unpacked",
    }),
}  # fmt: skip
OPERATORS: Final = frozenset({
    "OPERATOR_NOT", "OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL", "COMPARE_IN", "COMPARE_NOT_IN",
    "OPERATOR_COALESCE",
    "ARRAY_EXTRACT", "ARRAY_SLICE", "STRUCT_EXTRACT", "ARRAY_CONSTRUCTOR", "ARROW", "OPERATOR_TRY",
    "OPERATOR_NULLIF",
    "OPERATOR_UNPACK", "GROUPING_FUNCTION",
})  # fmt: skip
WORDS: Final[Mapping[str, str]] = {
    "SHOW_REF": "DESCRIBE, SHOW and SUMMARIZE",
    "INSERT_QUERY_NODE": "INSERT",
    "UPDATE_QUERY_NODE": "UPDATE",
    "DELETE_QUERY_NODE": "DELETE",
    "MERGE_QUERY_NODE": "MERGE",
    "PARAMETER": "parameters (?, $name)",
    "POSITIONAL_REFERENCE": "columns by position (#1)",
    "DEFAULT": "DEFAULT",
    "at_clause": "time travel (AT ...)",
    "catalog_name": "a catalog's name before a table",
    "pivot_enum": "a PIVOT whose values come from a type",
}

ALWAYS: Final = frozenset({"class", "type", "alias", "query_location", "query_location_length"})
"""Fields that any part may have."""

WALKED: Final = frozenset({
    "modifiers", "cte_map", "select_list", "from_table", "where_clause", "group_expressions", "having",
    "qualify",
    "left", "right", "children", "key_targets", "subquery", "condition", "function", "values", "source",
    "aggregates", "pivots",
    "limit", "offset", "orders", "distinct_on_targets", "filter", "order_bys", "arguments", "partitions",
    "arg_orders",
    "start_expr", "end_expr", "offset_expr", "default_expr", "filter_expr", "input", "lower", "upper",
    "case_checks",
    "else_expr", "child", "type_expr", "lhs", "expr", "replace_list",
})  # fmt: skip
"""Fields whose content the gate looks at part by part; all others hold names and numbers only."""
