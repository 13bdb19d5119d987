"""A guarded text, or a condition on one relation, bound on an empty copy of the catalog → why it may raise, or None.

Whether `note = 5` is harmless depends on the type of `note`: over VARCHAR it is a cast of every row's text, and its
error prints the text. So the types at hand decide, and DuckDB says them: an empty instance holds the relations, and its
bound plan (`json_serialize_plan`) shows each function with the types it was bound for and every cast that nobody wrote.
Takes a text; owns that what is not known to be total counts as raising: plan node, expression class, function, cast
pair, all are allowed by name.
"""

from __future__ import annotations

import contextlib
from functools import lru_cache
from typing import Any, Final

from rls.catalog import Catalog
from rls.rewrite.bound import bound_plan, converts
from rls.rewrite.functions import NOT_LITERAL, review

__all__ = ["why_it_may_raise", "why_plan_may_raise"]

Tree = dict[str, Any]

_MAX_KNOWN: Final = 4096  # texts whose verdict is remembered
_known: dict[tuple[str, str], str | None] = {}

_NODES: Final = {
    "LOGICAL_GET", "LOGICAL_PROJECTION", "LOGICAL_FILTER", "LOGICAL_AGGREGATE_AND_GROUP_BY", "LOGICAL_ORDER_BY",
    "LOGICAL_LIMIT", "LOGICAL_TOP_N", "LOGICAL_DISTINCT", "LOGICAL_COMPARISON_JOIN", "LOGICAL_DELIM_JOIN",
    "LOGICAL_DELIM_GET", "LOGICAL_CROSS_PRODUCT", "LOGICAL_WINDOW", "LOGICAL_UNION", "LOGICAL_EXCEPT",
    "LOGICAL_INTERSECT", "LOGICAL_MATERIALIZED_CTE", "LOGICAL_CTE_REF", "LOGICAL_DUMMY_SCAN",
    "LOGICAL_EXPRESSION_GET", "LOGICAL_EMPTY_RESULT",
}  # fmt: skip
_AGGREGATES: Final = {"count", "count_star", "min", "max", "avg", "bool_and", "bool_or", "first"}
_TOTAL_OPERATORS: Final = {
    "COMPARE_IN", "COMPARE_NOT_IN", "OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL", "OPERATOR_NOT", "OPERATOR_COALESCE",
}  # fmt: skip
_COMPARISONS: Final = {
    "COMPARE_EQUAL", "COMPARE_NOTEQUAL", "COMPARE_LESSTHAN", "COMPARE_GREATERTHAN", "COMPARE_LESSTHANOREQUALTO",
    "COMPARE_GREATERTHANOREQUALTO", "COMPARE_DISTINCT_FROM", "COMPARE_NOT_DISTINCT_FROM",
}  # fmt: skip
_CONTAINS: Final = {"contains", "list_contains", "array_contains", "list_has", "array_has"}
_INTEGERS: Final = {
    "TINYINT": (True, 1), "SMALLINT": (True, 2), "INTEGER": (True, 4), "BIGINT": (True, 8), "HUGEINT": (True, 16),
    "UTINYINT": (False, 1), "USMALLINT": (False, 2), "UINTEGER": (False, 4), "UBIGINT": (False, 8),
    "UHUGEINT": (False, 16),
}  # fmt: skip
# Decimal digits that hold any value of the type.
_DIGITS: Final = {
    "TINYINT": 3, "UTINYINT": 3, "SMALLINT": 5, "USMALLINT": 5, "INTEGER": 10, "UINTEGER": 10, "BIGINT": 19,
    "UBIGINT": 20,
}  # fmt: skip
_SCALARS: Final = {*_INTEGERS, "BOOLEAN", "VARCHAR", "DECIMAL", "FLOAT", "DOUBLE", "DATE", "TIMESTAMP", "UUID",
                   "TIMESTAMP WITH TIME ZONE", "TIME"}  # fmt: skip


def why_it_may_raise(text: str, catalog: Catalog) -> str | None:
    """Why some expression of `text` may raise on some row, in a few words for `rls explain`; None where none can.

    `text` is guarded text over `catalog`; a parameter without a type, or a text that does not bind, may raise.
    """
    key = (text, catalog.version)
    try:
        return _known[key]
    except KeyError:
        reason = why_plan_may_raise(bound_plan(text, catalog))
    if len(_known) >= _MAX_KNOWN:
        with contextlib.suppress(KeyError, StopIteration, RuntimeError):  # another thread was faster
            del _known[next(iter(_known))]
    _known[key] = reason
    return reason


def why_plan_may_raise(plan: Any) -> str | None:
    """The same for a bound plan as `bound_plan` gives it."""
    if plan is None:
        return "it does not bind"
    stack: list[Any] = [plan]
    while stack:
        tree = stack.pop()
        if isinstance(tree, list):
            stack.extend(tree)
            continue
        if not isinstance(tree, dict):
            continue
        kind = tree.get("type")
        if isinstance(kind, str) and kind.startswith("LOGICAL_") and kind not in _NODES:
            return f"{_plain(kind)} is not shown to be total"
        if kind == "LOGICAL_GET" and tree["children"]:
            return "a table function of columns is not shown to be total"
        if "expression_class" in tree and (reason := _judge(tree)) is not None:
            return reason
        stack.extend(v for v in tree.values() if isinstance(v, dict | list))
    return None


def _judge(tree: Tree) -> str | None:
    """Why this one expression may raise, its parts apart."""
    match tree["expression_class"]:
        case "BOUND_REF" | "BOUND_COLUMN_REF" | "BOUND_CONSTANT" | "BOUND_CONJUNCTION" | "BOUND_CASE" | "BOUND_BETWEEN":
            return None
        case "BOUND_PARAMETER":
            return None if _type(tree)["id"] in _SCALARS | {"LIST"} else "a parameter's type is not known"
        case "BOUND_OPERATOR":
            return None if tree["type"] in _TOTAL_OPERATORS else _word(tree["type"])
        case "BOUND_FUNCTION":
            return _judge_function(tree)
        case "BOUND_AGGREGATE":
            name = tree["qname"]["path"][-1]
            # A sum overflows beyond 128 bits only, which needs more rows than there are for all but HUGEINT.
            exact = name == "sum" and _type(tree)["id"] != "UHUGEINT" and not _sums_huge(tree)
            return None if name in _AGGREGATES or exact else f"`{name}` may raise"
        case "BOUND_WINDOW" if tree["type"] in ("WINDOW_ROW_NUMBER", "WINDOW_RANK", "WINDOW_RANK_DENSE"):
            return None
        case other:
            return _word(other)


def _judge_function(tree: Tree) -> str | None:
    name = tree["qname"]["path"][-1]
    if tree["type"] == "OPERATOR_CAST":
        return _judge_cast(tree)
    if tree["type"] in _COMPARISONS:
        types = [_type(child) for child in tree["children"]]
        if len(types) == 2 and types[0]["id"] == types[1]["id"] and types[0]["id"] in _SCALARS:
            return None
        return f"`{name}` compares nested or different types"
    if name in _CONTAINS and len(tree["children"]) == 2:
        items, item = map(_type, tree["children"])
        inner = (items.get("type_info") or {}).get("child_type") or {}
        # Equality of scalars, one by one: what `region IN user.regions` becomes.
        if items["id"] == "LIST" and inner.get("id") == item["id"] and item["id"] in _SCALARS:
            return None
    found = review(name, "scalar")
    names: list[str] = [_type(child)["id"] for child in tree["children"]]
    if found is None or not found.is_total(names, [_constant(child) for child in tree["children"]]):
        return f"`{name}` may raise"
    return None


def _sums_huge(tree: Tree) -> bool:
    return any(_type(c)["id"] in ("HUGEINT", "UHUGEINT", "BIGNUM") for c in tree["children"])


def _constant(tree: Tree) -> object:
    """The value of a literal argument, also of one that the binder casts; else `NOT_LITERAL`."""
    while tree["expression_class"] == "BOUND_FUNCTION" and tree["type"] == "OPERATOR_CAST":
        tree = tree["children"][0]
    if tree["expression_class"] != "BOUND_CONSTANT" or tree["value"].get("is_null"):
        return NOT_LITERAL
    value: object = tree["value"].get("value", NOT_LITERAL)
    return value if isinstance(value, str | int | float) else NOT_LITERAL


def _judge_cast(tree: Tree) -> str | None:
    child, target = tree["children"][0], _type(tree)
    source = _type(child)
    if tree["function_data"]["try_cast"] or _is_total_cast(source, target):
        return None
    value = child.get("value")
    if child["expression_class"] == "BOUND_CONSTANT" and source["id"] == "VARCHAR" and isinstance(value["value"], str):
        # A constant is converted or not, whatever the rows hold.
        if _converts(value["value"], target["id"]):
            return None
        return f"a constant is no {target['id']}"
    return f"a cast from {source['id']} to {target['id']} may raise"


def _is_total_cast(source: Tree, target: Tree) -> bool:
    a, b = source["id"], target["id"]
    if a == b and a != "DECIMAL":
        return a in _SCALARS or source == target
    if b == "VARCHAR":
        return a in _SCALARS or a == "ENUM"
    if a in _INTEGERS and b in _INTEGERS:
        (signed_a, size_a), (signed_b, size_b) = _INTEGERS[a], _INTEGERS[b]
        return size_b > size_a and (signed_b or not signed_a)
    if b in ("DOUBLE", "FLOAT"):
        return a in _INTEGERS or (a == "DECIMAL" and b == "DOUBLE") or (a == "FLOAT" and b == "DOUBLE")
    if b == "DECIMAL":
        width, scale = _digits(target)
        if a == "DECIMAL":
            from_width, from_scale = _digits(source)
            return scale >= from_scale and width - scale >= from_width - from_scale
        return a in _DIGITS and width - scale >= _DIGITS[a]
    return False


def _digits(type_: Tree) -> tuple[int, int]:
    info = type_.get("type_info") or {}
    return int(info.get("width", 18)), int(info.get("scale", 3))


def _type(tree: Tree) -> Tree:
    if tree["expression_class"] == "BOUND_CONSTANT":
        found: Tree = tree["value"]["type"]
        return found
    return tree.get("return_type") or {"id": "BOOLEAN"}  # conjunctions carry none


def _word(kind: str) -> str:
    return f"{_plain(kind)} is not shown to be total"


def _plain(kind: str) -> str:
    return kind.removeprefix("BOUND_").removeprefix("LOGICAL_").replace("_", " ").lower()


@lru_cache(maxsize=1024)
def _converts(text: str, type_: str) -> bool:
    if type_ not in _SCALARS - {"DECIMAL"}:
        return False
    return converts(text, type_)
