"""What may stand in a policy: node classes of DuckDB's parser, their fields and kinds, by name. Data for `reader`.

A field that is not listed makes the node unknown, so that a new DuckDB release which adds meaning to a node is
refused until somebody has looked at it (invariant closed).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["JOINS", "LITERALS", "OPERATORS", "SET_OPERATIONS", "describe", "known_fields"]


def known_fields(node: Mapping[str, Any], kind: str) -> bool:
    """Whether a node is of a known class and has known fields only; `kind` is its class (or query or FROM type)."""
    fields = _FIELDS.get(kind)
    return fields is not None and set(node) <= fields | _ALWAYS


def describe(kind: str) -> str:
    """What people call a node class that is not allowed."""
    return _WORDS.get(kind, "this construct")


_ALWAYS: Final = frozenset(("class", "type", "alias", "query_location", "query_location_length"))
_FIELDS: Final = {
    kind: frozenset(fields.split())
    for kind, fields in {
        "CONSTANT": "literal",
        "COLUMN_REF": "column_names",
        "COMPARISON": "left right",
        "CONJUNCTION": "children",
        "OPERATOR": "children",
        "BETWEEN": "input lower upper",
        "CASE": "case_checks else_expr",
        "CAST": "child try_cast type_expr",
        "TYPE": "catalog schema type_name children qualified_name",
        "COLLATE": "child collation",
        "LAMBDA": "lhs expr syntax_type",
        "SUBQUERY": "subquery_type subquery child comparison_type",
        "FUNCTION": "function_name schema catalog qualified_name arguments filter order_bys distinct is_operator "
        "export_state",
        "STAR": "relation_name exclude_list replace_list columns expr qualified_exclude_list rename_list",
        "SELECT_NODE": "modifiers cte_map select_list from_table where_clause group_expressions group_sets "
        "aggregate_handling having sample qualify",
        "SET_OPERATION_NODE": "modifiers cte_map setop_type left right setop_all children",
        "RECURSIVE_CTE_NODE": "modifiers cte_map cte_name union_all left right aliases key_targets",
        "BASE_TABLE": "sample schema_name table_name catalog_name column_name_alias at_clause qualified_name",
        "FROM_SUBQUERY": "sample subquery column_name_alias",
        "EMPTY": "sample",
        "JOIN": "sample left right condition join_type ref_type using_columns delim_flipped is_implicit nearest_count "
        "duplicate_eliminated_columns ranking_expression nearest_order_type nearest_approx",
    }.items()
}
LITERALS: Final = frozenset(("STRING", "INTEGER", "NUMERIC", "BOOLEAN", "NULL_LITERAL", "HEX", "BIT"))
OPERATORS: Final = frozenset(
    (
        "OPERATOR_NOT",
        "OPERATOR_IS_NULL",
        "OPERATOR_IS_NOT_NULL",
        "OPERATOR_COALESCE",
        "OPERATOR_TRY",
        "COMPARE_IN",
        "COMPARE_NOT_IN",
        "ARRAY_EXTRACT",
        "ARRAY_SLICE",
        "ARRAY_CONSTRUCTOR",
        "STRUCT_EXTRACT",
    )
)
SET_OPERATIONS: Final = frozenset(("UNION", "EXCEPT", "INTERSECT"))
JOINS: Final = frozenset(("REGULAR", "CROSS", "NATURAL", "POSITIONAL", "ASOF"))
_WORDS: Final = {
    "PARAMETER": "a parameter (write `user.<attribute>`)",
    "WINDOW": "a window function",
    "STAR": "`*`",
    "POSITIONAL_REFERENCE": "a positional reference",
    "DEFAULT": "`DEFAULT`",
    "TABLE_FUNCTION": "a table function",
    "EXPRESSION_LIST": "`VALUES`",
    "SHOW_REF": "`SHOW`, `DESCRIBE` or `SUMMARIZE`",
    "PIVOT": "`PIVOT` or `UNPIVOT`",
}
