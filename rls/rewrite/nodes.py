"""Every node of DuckDB's own syntax tree that a query may hold, with the keys it may have. Data of invariant (closed).

A type or a key that is not here is refused: what a new DuckDB release adds shows at once, and does nothing.
"""

from __future__ import annotations

from typing import Final

__all__ = ["BARE", "CLASSES", "KEYS"]

_EXPRESSION = {"class", "type", "alias", "query_location", "query_location_length"}
_TABLE = {"type", "alias", "sample", "query_location", "query_location_length"}
_NODE = {"type", "modifiers", "cte_map"}
_WINDOW = _EXPRESSION | {
    "function_name", "schema", "catalog", "arguments", "partitions", "orders", "start", "end", "start_expr",
    "end_expr", "offset_expr", "default_expr", "ignore_nulls", "has_ignore_nulls", "filter_expr", "exclude_clause",
    "distinct", "arg_orders", "qualified_name",
}  # fmt: skip

# Node type → the keys it may have.
KEYS: Final[dict[str, set[str]]] = {
    "SELECT_NODE": _NODE
    | {
        "select_list", "from_table", "where_clause", "group_expressions", "group_sets", "aggregate_handling",
        "having", "sample", "qualify",
    },
    "SET_OPERATION_NODE": _NODE | {"setop_type", "setop_all", "left", "right", "children"},
    "RECURSIVE_CTE_NODE": _NODE | {"cte_name", "union_all", "left", "right", "aliases", "key_targets"},
    "BASE_TABLE": _TABLE
    | {"schema_name", "table_name", "column_name_alias", "catalog_name", "at_clause", "qualified_name"},
    "SUBQUERY": _TABLE | _EXPRESSION | {"subquery", "column_name_alias", "subquery_type", "child", "comparison_type"},
    "JOIN": _TABLE
    | {
        "left", "right", "condition", "join_type", "ref_type", "using_columns", "delim_flipped",
        "duplicate_eliminated_columns", "is_implicit", "nearest_approx", "nearest_count", "nearest_order_type",
        "ranking_expression",
    },
    "EMPTY": _TABLE,
    "EXPRESSION_LIST": _TABLE | {"expected_names", "expected_types", "values"},
    "TABLE_FUNCTION": _TABLE | {"function", "column_name_alias", "with_ordinality"},
    "PIVOT": _TABLE
    | {"source", "aggregates", "unpivot_names", "pivots", "groups", "column_name_alias", "include_nulls"},
    "SHOW_REF": _TABLE | {"table_name", "query", "show_type", "catalog_name", "schema_name", "qualified_name"},
    "LIMIT_MODIFIER": {"type", "limit", "offset", "limit_type"},
    "ORDER_MODIFIER": {"type", "orders"},
    "DISTINCT_MODIFIER": {"type", "distinct_on_targets"},
    "ORDER_DEFAULT": {"type", "null_order", "expression"},
    "ASCENDING": {"type", "null_order", "expression"},
    "DESCENDING": {"type", "null_order", "expression"},
    "COMPARE_BETWEEN": _EXPRESSION | {"input", "lower", "upper"},
    "CASE_EXPR": _EXPRESSION | {"case_checks", "else_expr"},
    "OPERATOR_CAST": _EXPRESSION | {"child", "try_cast", "type_expr"},
    "COLLATE": _EXPRESSION | {"child", "collation"},
    "COLUMN_REF": _EXPRESSION | {"column_names"},
    "CONJUNCTION_AND": _EXPRESSION | {"children"},
    "CONJUNCTION_OR": _EXPRESSION | {"children"},
    "VALUE_CONSTANT": _EXPRESSION | {"literal", "value"},
    "FUNCTION": _EXPRESSION
    | {
        "function_name", "schema", "catalog", "arguments", "filter", "order_bys", "distinct", "is_operator",
        "export_state", "qualified_name",
    },
    "LAMBDA": _EXPRESSION | {"lhs", "expr", "syntax_type"},
    "VALUE_PARAMETER": _EXPRESSION | {"identifier"},
    "POSITIONAL_REFERENCE": _EXPRESSION | {"index"},
    "STAR": _EXPRESSION
    | {"relation_name", "exclude_list", "replace_list", "columns", "expr", "qualified_exclude_list", "rename_list"},
    "TYPE": _EXPRESSION | {"type_name", "schema", "catalog", "children", "qualified_name"},
}  # fmt: skip
for _name in (
    "COMPARE_EQUAL", "COMPARE_NOTEQUAL", "COMPARE_LESSTHAN", "COMPARE_GREATERTHAN", "COMPARE_LESSTHANOREQUALTO",
    "COMPARE_GREATERTHANOREQUALTO", "COMPARE_DISTINCT_FROM", "COMPARE_NOT_DISTINCT_FROM",
):  # fmt: skip
    KEYS[_name] = _EXPRESSION | {"left", "right"}
for _name in (
    "ARRAY_CONSTRUCTOR", "ARRAY_EXTRACT", "ARRAY_SLICE", "COMPARE_IN", "COMPARE_NOT_IN", "GROUPING_FUNCTION",
    "OPERATOR_COALESCE", "OPERATOR_IS_NOT_NULL", "OPERATOR_IS_NULL", "OPERATOR_NOT", "OPERATOR_NULLIF",
    "OPERATOR_TRY", "STRUCT_EXTRACT", "OPERATOR_UNPACK",
):  # fmt: skip
    KEYS[_name] = _EXPRESSION | {"children"}
for _name in (
    "WINDOW_AGGREGATE", "WINDOW_RANK", "WINDOW_RANK_DENSE", "WINDOW_NTILE", "WINDOW_PERCENT_RANK",
    "WINDOW_CUME_DIST", "WINDOW_ROW_NUMBER", "WINDOW_FIRST_VALUE", "WINDOW_LAST_VALUE", "WINDOW_LEAD",
    "WINDOW_LAG", "WINDOW_NTH_VALUE", "WINDOW_FILL",
):  # fmt: skip
    KEYS[_name] = _WINDOW

CLASSES: Final = {
    None, "BETWEEN", "CASE", "CAST", "COLLATE", "COLUMN_REF", "COMPARISON", "CONJUNCTION", "CONSTANT", "FUNCTION",
    "LAMBDA", "OPERATOR", "PARAMETER", "POSITIONAL_REFERENCE", "STAR", "SUBQUERY", "TYPE", "WINDOW",
}  # fmt: skip

# What a text may hold whose guards have no fence: nothing that looks at the order of rows, or makes rows of its own.
BARE: Final = {
    "SELECT_NODE", "SET_OPERATION_NODE", "BASE_TABLE", "SUBQUERY", "JOIN", "EMPTY", "EXPRESSION_LIST", "ORDER_MODIFIER",
    "DISTINCT_MODIFIER", "ORDER_DEFAULT", "ASCENDING", "DESCENDING", "COMPARE_BETWEEN", "CASE_EXPR", "OPERATOR_CAST",
    "COLUMN_REF", "CONJUNCTION_AND", "CONJUNCTION_OR", "VALUE_CONSTANT", "FUNCTION", "VALUE_PARAMETER",
    "POSITIONAL_REFERENCE", "STAR", "TYPE", "COMPARE_EQUAL", "COMPARE_NOTEQUAL", "COMPARE_LESSTHAN",
    "COMPARE_GREATERTHAN", "COMPARE_LESSTHANOREQUALTO", "COMPARE_GREATERTHANOREQUALTO", "COMPARE_DISTINCT_FROM",
    "COMPARE_NOT_DISTINCT_FROM", "COMPARE_IN", "COMPARE_NOT_IN", "GROUPING_FUNCTION", "OPERATOR_COALESCE",
    "OPERATOR_IS_NOT_NULL", "OPERATOR_IS_NULL", "OPERATOR_NOT", "OPERATOR_NULLIF", "STRUCT_EXTRACT",
}  # fmt: skip
