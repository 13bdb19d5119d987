"""One bound expression → the magnitude of its values, or `MayRaise` where no one has shown that it cannot raise.

Takes DuckDB's own tree, where every function has the types it was bound for and every cast stands. Owns the closed
world of expressions: class, operator, function, cast pair and comparison are allowed by name, with the types at hand.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from rls.rewrite import magnitude as numbers
from rls.rewrite.aggregates import aggregate, window
from rls.rewrite.bound import converts
from rls.rewrite.bound_tree import (
    INTEGERS,
    PARTS,
    TYPES,
    Inputs,
    MayRaise,
    Tree,
    expressions_in,
    is_cast,
    largest,
    literal,
    plain,
    type_of,
    whole,
)
from rls.rewrite.casts import compares, is_total_cast, kind_of
from rls.rewrite.functions import SCALARS, review

__all__ = ["check_comparison", "judge"]

_OPERATORS: Final = {"OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL", "OPERATOR_NOT", "OPERATOR_COALESCE"}
_COMPARISONS: Final = {
    "COMPARE_EQUAL", "COMPARE_NOTEQUAL", "COMPARE_LESSTHAN", "COMPARE_GREATERTHAN", "COMPARE_LESSTHANOREQUALTO",
    "COMPARE_GREATERTHANOREQUALTO", "COMPARE_DISTINCT_FROM", "COMPARE_NOT_DISTINCT_FROM",
}  # fmt: skip
_CONTAINS: Final = {"contains", "list_contains", "array_contains", "list_has", "array_has"}
_DIVISIONS: Final = {"%", "mod", "//"}
_SHIFTS: Final = {"+", "-", "to_days", "to_weeks", "to_months", "to_years"}
_TIMES: Final = {"DATE", "TIMESTAMP"}
# Dates and times within the years 0 to 9999, and their magnitude in days.
_NEAR: Final = re.compile(r"\d{4}-\d\d?-\d\d?( \d\d?:\d\d(:\d\d(\.\d+)?)?)?")
_NEAR_DAYS: Final = 3_700_000


def judge(tree: Tree, inputs: Inputs) -> int | None:
    """The magnitude of an expression over `inputs`, None where its type has none; raises `MayRaise`."""
    match tree["expression_class"]:
        case "BOUND_REF":
            found = inputs.column(tree)
            return numbers.limit(tree["return_type"]) if found is None else found.magnitude
        case "BOUND_CONSTANT":
            return _constant_magnitude(tree["value"])
        case "BOUND_FUNCTION":
            return _judge_function(tree, inputs)
        case "BOUND_CONJUNCTION" | "BOUND_COLUMN_REF":
            _judge_parts(tree, inputs)
            return _limit(tree)
        case "BOUND_CASE":
            return _judge_case(tree, inputs)
        case "BOUND_OPERATOR" if tree["type"] in ("COMPARE_IN", "COMPARE_NOT_IN"):
            for child in tree["children"]:
                judge(child, inputs)
                check_comparison(type_of(tree["children"][0]), type_of(child))
            return None
        case "BOUND_OPERATOR" if tree["type"] in _OPERATORS:
            parts = [judge(child, inputs) for child in tree["children"]]
            return largest(parts) if tree["type"] == "OPERATOR_COALESCE" else None
        case "BOUND_BETWEEN":
            for part in ("lower", "upper"):
                check_comparison(type_of(tree["input"]), type_of(tree[part]))
            _judge_parts(tree, inputs)
            return None
        case "BOUND_PARAMETER":
            if not compares(type_of(tree)):
                raise MayRaise("a parameter's type is not known")
            return _limit(tree)
        case "BOUND_AGGREGATE" | "BOUND_WINDOW" as kind:
            _judge_parts(tree, inputs, besides="children")
            parts = [judge(child, inputs) for child in tree["children"]]
            return aggregate(tree, parts, inputs) if kind == "BOUND_AGGREGATE" else window(tree, parts, inputs)
        case other:
            raise MayRaise(f"{plain(other)} is not shown to be total")


def check_comparison(a: Tree, b: Tree) -> None:
    """Raises `MayRaise` unless values of the two types compare without an error."""
    if kind_of(a) != kind_of(b) or not (compares(a) and compares(b)):
        raise MayRaise(f"{kind_of(a)} compared with {kind_of(b)} may raise")


def _judge_parts(tree: Tree, inputs: Inputs, *, besides: str = "") -> None:
    """Every expression somewhere below `tree`."""
    for key, value in tree.items():
        if value and isinstance(value, PARTS) and key != besides and key not in TYPES:
            for part in expressions_in(value):
                judge(part, inputs)


def _judge_case(tree: Tree, inputs: Inputs) -> int | None:
    found = [judge(tree["else_expr"], inputs)]
    for check in tree["case_checks"]:
        judge(check["when_expr"], inputs)
        if not _is_never(check["when_expr"], inputs):
            found.append(judge(check["then_expr"], inputs))
    return largest(found)


def _is_never(tree: Tree, inputs: Inputs) -> bool:
    """Whether a condition is `count > 1` where there is one row at most: DuckDB's check of a scalar sub-query."""
    if tree["type"] != "COMPARE_GREATERTHAN":
        return False
    left, right = tree["children"]
    if left["expression_class"] != "BOUND_REF" or right["expression_class"] != "BOUND_CONSTANT":
        return False
    found, value = inputs.column(left), right["value"].get("value")
    return found is not None and found.magnitude is not None and type(value) is int and 0 <= found.magnitude <= value


def _judge_function(tree: Tree, inputs: Inputs) -> int | None:
    children = tree["children"]
    if tree["type"] in _COMPARISONS and _is_comparison_of_date(children, inputs):
        return None
    found = [judge(child, inputs) for child in children]
    if tree["type"] == "OPERATOR_CAST":
        return _judge_cast(tree, found[0])
    if tree["type"] in _COMPARISONS:
        check_comparison(*map(type_of, children))
        return None
    # What is below a function beside its arguments is a lambda: its columns are its own.
    _judge_parts(tree, Inputs(numbers.MAX_JOINED, inside_lambda=True), besides="children")
    name = tree["qname"]["path"][-1]
    types = [type_of(child) for child in children]
    literals = [literal(child) for child in children]
    if name in numbers.ARITHMETIC and None not in found and (name not in _DIVISIONS or whole(children[-1])):
        result = numbers.arithmetic(name, [m for m in found if m is not None], types, tree["return_type"])
        if result is not None:
            return result
    ids = [type_["id"] for type_ in types]
    if name in ("+", "-") and ids in (["DATE", "INTERVAL"], ["TIMESTAMP", "INTERVAL"], ["DATE", "INTEGER"]):
        return _shifted(name, found)
    if ids == ["INTEGER"] and found[0] is not None and (days := numbers.days_of(name, found[0])) is not None:
        return days
    if name in _CONTAINS and len(ids) == 2:
        inner = (types[0].get("type_info") or {}).get("child_type")
        # Equality with each element: what `region IN user.regions` becomes.
        if ids[0] == "LIST" and inner == types[1] and compares(inner):
            return None
    row = review(name, "scalar")
    if row is None or not row.is_total(ids, literals):
        raise MayRaise(f"`{name}` may raise")
    top, least = _limit(tree), numbers.RESULTS.get(name)
    return top if least is None or top is None else min(top, least)


def _shifted(name: str, found: Sequence[int | None]) -> int | None:
    if None in found or (days := sum(m for m in found if m is not None)) > numbers.MAX_DAYS:
        raise MayRaise(f"`{name}` on dates may leave their range")
    return days


def _is_comparison_of_date(children: Sequence[Tree], inputs: Inputs) -> bool:
    """Whether this is a DATE compared with a constant, finite time: `day < DATE '1993-07-01' + INTERVAL 3 MONTH`.

    The binder casts the DATE to TIMESTAMP, which raises on far dates; the optimizer makes the constant a DATE again,
    but not inside a lambda.
    """
    if len(children) != 2 or inputs.inside_lambda:
        return False
    for cast, other in (children, reversed(children)):
        if not is_cast(cast) or type_of(cast)["id"] != "TIMESTAMP" or type_of(other)["id"] != "TIMESTAMP":
            continue
        inner = cast["children"][0]
        if inner["expression_class"] == "BOUND_REF" and type_of(inner)["id"] == "DATE" and _is_constant_time(other):
            judge(other, inputs)
            return True
    return False


def _is_constant_time(tree: Tree) -> bool:
    """Whether an expression is made of constant dates, times and intervals only, none of them infinite."""
    if tree["expression_class"] == "BOUND_CONSTANT":
        return type_of(tree)["id"] in ("DATE", "INTEGER", "INTERVAL") and not tree["value"].get("is_null")
    if tree["expression_class"] != "BOUND_FUNCTION":
        return False
    if tree["type"] == "OPERATOR_CAST":
        text = tree["children"][0]
        value = text["value"].get("value") if text["expression_class"] == "BOUND_CONSTANT" else None
        return type_of(tree)["id"] in _TIMES and isinstance(value, str) and _NEAR.fullmatch(value) is not None
    return tree["qname"]["path"][-1] in _SHIFTS and all(map(_is_constant_time, tree["children"]))


def _judge_cast(tree: Tree, found: int | None) -> int | None:
    child, target = tree["children"][0], type_of(tree)
    source = type_of(child)
    constant = child["expression_class"] == "BOUND_CONSTANT"
    if constant and (child["value"].get("is_null") or source["id"] == "NULL"):
        return 0
    if found is not None:
        value = child["value"].get("value") if constant else None
        if type(value) is int and value >= 0 and source["id"] in INTEGERS:
            source = {"id": "UHUGEINT"}
        fitting = numbers.cast(found, source, target)
        if fitting is not None:
            return fitting
    source = type_of(child)
    if is_total_cast(source, target, attempt=tree["function_data"]["try_cast"]):
        return _limit(tree)
    if constant and kind_of(source) == "VARCHAR" and isinstance(child["value"]["value"], str):
        # A constant is converted or not, whatever the rows hold.
        text = child["value"]["value"]
        if _converts(text, _name(target)):
            return _NEAR_DAYS if target["id"] in _TIMES and _NEAR.fullmatch(text) else _limit(tree)
        raise MayRaise(f"a constant is no {kind_of(target)}")
    raise MayRaise(f"a cast from {kind_of(source)} to {kind_of(target)} may raise")


def _constant_magnitude(value: Tree) -> int | None:
    if value.get("is_null"):
        return 0
    type_, found = value["type"], value.get("value")
    match type_["id"], found:
        case "INTERVAL", {"months": int(months), "days": int(days), "micros": int(micros)}:
            return abs(months) * 31 + abs(days) + abs(micros) // 86_400_000_000 + 1
        case (("DATE" | "DECIMAL"), int()):
            return abs(found)
        case kind, int() if kind in INTEGERS:
            return abs(found)
        case (("DECIMAL" | "HUGEINT"), {"upper": int(upper), "lower": int(lower)}):
            return abs((upper << 64) + lower)
    return numbers.limit(type_)


def _limit(tree: Tree) -> int | None:
    return numbers.limit(type_of(tree))


def _name(type_: Tree) -> str:
    """A type as a cast's text names it, "" for those that no constant is tried for."""
    kind = kind_of(type_)
    if kind == "DECIMAL":
        info = type_["type_info"]
        return f"DECIMAL({int(info['width'])},{int(info['scale'])})"
    return kind if kind in SCALARS else ""


@lru_cache(maxsize=1024)
def _converts(text: str, type_: str) -> bool:
    return bool(type_) and converts(text, type_)
