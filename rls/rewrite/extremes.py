"""A bound plan → what in it DuckDB takes to stay between bounds that it does not keep to, or None.

From a column's stored minimum and maximum DuckDB 2.0 derives those of functions that it holds for monotonic, and takes
aggregates that answer a value for one of their input's. Where that is not so, a comparison with the result is folded
wrongly, or the query fails inside the engine, as hidden rows' extremes have it. A filter in a scan that is true or NULL
by them becomes `IS NOT NULL` of the column, though a CASE or a struct's field may be NULL where its column is not.
Takes bound plans, of queries and of policies; owns what is named here (facts `misled_*` of the attack tests show each).
"""

from __future__ import annotations

import re
from collections.abc import Set
from typing import Any, Final

from rls.rewrite.bound_tree import PARTS, WITHOUT_EXPRESSIONS, Tree, expressions_in, is_cast, literal, type_of
from rls.rewrite.functions import NOT_LITERAL
from rls.rewrite.late import without_late

__all__ = ["is_misled", "why_extremes_may_mislead", "why_filters_may_mislead"]

# Months are counted whole, from the day as far as the month has it: from the 30th at 13:00 none have passed where from
# the 31st at 12:00 one has. Between two values there may be neither: infinity and its opposite make NaN.
_MISLED: Final = {"date_sub", "datesub", "time_bucket", "median", "quantile_cont"}
_SKIPPED: Final = WITHOUT_EXPRESSIONS - {"children"}
_WORDS: Final = re.compile(rf"\b(?:{'|'.join(sorted(_MISLED))})\b", re.IGNORECASE)
_MAKING: Final = {"LOGICAL_PROJECTION", "LOGICAL_AGGREGATE_AND_GROUP_BY"}
# A field of a struct, in every spelling: the binder knows no other.
_FIELDS: Final = {"struct_extract", "struct_extract_at"}


def why_extremes_may_mislead(plan: Any) -> str | None:
    """A reason in a few words, or None where no function of `plan` is one that DuckDB derives wrong bounds for."""
    if plan is None:
        return "it does not bind"
    stack: list[Any] = [plan]
    while stack:
        tree = stack.pop()
        if isinstance(tree, list):
            stack += [item for item in tree if isinstance(item, PARTS)]
            continue
        name = (tree.get("qname") or {}).get("path", [""])[-1]
        if name in _MISLED:
            return f"DuckDB derives wrong bounds for `{name}`"
        stack += [item for key, item in tree.items() if item and isinstance(item, PARTS) and key not in _SKIPPED]
    return None


def why_filters_may_mislead(plan: Any) -> str | None:
    """The same for a plan whose row filters have no fence, so that its filters become the scans' own: a reason where
    one of them may come to hold a CASE that may be NULL, or a struct's field (a guard's CASE around a struct is not
    around the fields in masks, nor in views of what all may see). What an alias stands for is told by its type only."""
    if plan is None:
        return "it does not bind"
    made, asked = _expressions(without_late(plan))
    types: set[str] = set()
    while found := {str(type_of(one)["id"]) for one in made if _may_be_null_alone(one, types)} - types:
        types |= found
    misled = any(_may_be_null_alone(one, types) for one in asked)
    return "DuckDB takes a CASE or a field for NULL only where its column is" if misled else None


def _expressions(plan: Any) -> tuple[list[Tree], list[Tree]]:
    """What nodes make columns of, and what else there is: conditions."""
    made: list[Tree] = []
    asked: list[Tree] = []
    stack: list[Any] = list(plan)
    while stack:
        tree = stack.pop()
        stack += tree.get("children", [])
        found = list(expressions_in({key: value for key, value in tree.items() if key not in WITHOUT_EXPRESSIONS}))
        (made if tree["type"] in _MAKING else asked).extend(found)
    return made, asked


def _may_be_null_alone(expression: Tree, types: Set[str]) -> bool:
    """Whether there is a CASE that may be NULL, a struct's field, or a column of one of these types."""
    stack: list[Any] = [expression]
    while stack:
        tree = stack.pop()
        if isinstance(tree, list):
            stack += [item for item in tree if isinstance(item, PARTS)]
            continue
        match tree.get("expression_class"):
            case "BOUND_CASE" if _may_be_null(tree):
                return True
            case "BOUND_FUNCTION" if tree["qname"]["path"][-1] in _FIELDS:
                return True
            case "BOUND_REF" if str(tree["return_type"]["id"]) in types:
                return True
        stack += [item for key, item in tree.items() if item and isinstance(item, PARTS) and key not in _SKIPPED]
    return False


def _may_be_null(case: Tree) -> bool:
    answers = [case["else_expr"], *(check["then_expr"] for check in case["case_checks"])]
    return any(literal(one) is NOT_LITERAL or _tries(one) for one in answers)


def _tries(tree: Tree) -> bool:
    return is_cast(tree) and (bool(tree["function_data"]["try_cast"]) or _tries(tree["children"][0]))


def is_misled(text: str) -> bool:
    """Whether a policy's expression calls one of them."""
    return _WORDS.search(text) is not None
