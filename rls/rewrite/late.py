"""A bound plan → the same without the expressions that DuckDB evaluates on rows of the answer only.

Select list, groups, arguments of aggregates, DISTINCT, ORDER BY and LIMIT at the top of a plan, above every join,
filter and set operation: nothing there becomes a filter, and no row filter is pulled above it, so that
`sum(price * (1 - tax))` may overflow without a word about a hidden row. Takes and returns trees; owns that it goes down
single nodes allowed by name, no further than the first that is not. Measured by `tests/rewrite/late_review.py`. A field
of a struct is another matter (`unused_columns` reads it in the scan, below any fence): see the guard's text.
"""

from __future__ import annotations

from typing import Any, Final

from rls.rewrite.bound_tree import Tree, type_of

__all__ = ["without_late"]

_PASSING: Final = {"LOGICAL_ORDER_BY", "LOGICAL_LIMIT", "LOGICAL_TOP_N", "LOGICAL_DISTINCT"}


def without_late(plan: Any) -> Any:
    """The plan as `bound_plan` gives it, with a value of the same type for each such expression."""
    return [_without(tree) for tree in plan]


def _without(tree: Tree) -> Tree:
    match tree["type"]:
        case "LOGICAL_MATERIALIZED_CTE":
            body, rest = tree["children"]
            return {**tree, "children": [body, _without(rest)]}
        case "LOGICAL_PROJECTION":
            return {**tree, "expressions": _values(tree["expressions"]), "children": _below(tree)}
        case "LOGICAL_AGGREGATE_AND_GROUP_BY":
            # HAVING, which DuckDB may push below the groups, stands above and ends the way down.
            columns = [*_values(tree["groups"]), *_values(tree["expressions"]), *_values(_bits(tree))]
            return {"type": "LOGICAL_PROJECTION", "expressions": columns, "children": _below(tree)}
        case kind if kind in _PASSING:
            return {**tree, "children": _below(tree)}
        case _:
            return tree


def _below(tree: Tree) -> list[Tree]:
    return [_without(child) for child in tree["children"]]


def _bits(tree: Tree) -> list[Tree]:
    """GROUPING() of an aggregate, as expressions."""
    return [{"expression_class": "", "return_type": {"id": "BIGINT", "type_info": None}}] * len(
        tree["grouping_functions"]
    )


def _values(expressions: list[Tree]) -> list[Tree]:
    """For each expression a parameter: any value of its type."""
    return [{"expression_class": "BOUND_PARAMETER", "return_type": type_of(one)} for one in expressions]
