"""One bound expression → the magnitude of its values, or `MayRaise` where no one has shown that it cannot raise.

Takes DuckDB's own tree, where every function has the types it was bound for and every cast stands. Owns the closed
world of expressions: class, operator, function, cast pair and comparison are allowed by name, with the types at hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from rls.rewrite import magnitude as numbers
from rls.rewrite.bound import converts
from rls.rewrite.functions import NOT_LITERAL, review

__all__ = ["Column", "Inputs", "MayRaise", "check_comparison", "judge", "mass", "plain", "type_of"]

Tree = dict[str, Any]

_OPERATORS: Final = {"OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL", "OPERATOR_NOT", "OPERATOR_COALESCE"}
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
_SCALARS: Final = {*_INTEGERS, "BOOLEAN", "VARCHAR", "DECIMAL", "FLOAT", "DOUBLE", "DATE", "TIMESTAMP", "UUID",
                   "TIMESTAMP WITH TIME ZONE", "TIME"}  # fmt: skip
_DIVISIONS: Final = {"%", "mod", "//"}
_WHOLE_DAYS: Final = {"+", "-", "to_days", "to_weeks", "to_months", "to_years"}
_FRAMES: Final = {
    "UNBOUNDED_PRECEDING", "UNBOUNDED_FOLLOWING", "CURRENT_ROW_RANGE", "CURRENT_ROW_ROWS", "CURRENT_ROW_GROUPS",
    "EXPR_PRECEDING_ROWS", "EXPR_FOLLOWING_ROWS", "INVALID",
}  # fmt: skip
_TODAY: Final = re.compile(r"\d{4}-\d\d?-\d\d?")


class MayRaise(Exception):
    """Why an expression is not known to be total, in a few words."""


@dataclass(frozen=True, slots=True)
class Column:
    """What is known of one column that a plan node hands on: type, magnitude, and sum of magnitudes over all rows."""

    type: Tree
    magnitude: int | None
    mass: int | None


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the expressions of a plan node read: at most so many rows, these columns (None: known by type only)."""

    rows: int
    columns: Sequence[Column | None] | None = None

    def column(self, tree: Tree) -> Column | None:
        if self.columns is None:
            return None
        index = tree["index"]
        if not 0 <= index < len(self.columns):
            raise MayRaise("the plan is not understood")
        found = self.columns[index]
        if found is not None and found.type != tree["return_type"]:
            raise MayRaise("the plan is not understood")
        return found


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
            return _largest(parts) if tree["type"] == "OPERATOR_COALESCE" else None
        case "BOUND_BETWEEN":
            for part in ("lower", "upper"):
                check_comparison(type_of(tree["input"]), type_of(tree[part]))
            _judge_parts(tree, inputs)
            return None
        case "BOUND_PARAMETER":
            if type_of(tree)["id"] not in _SCALARS | {"LIST"}:
                raise MayRaise("a parameter's type is not known")
            return _limit(tree)
        case "BOUND_AGGREGATE":
            return _judge_aggregate(tree, inputs)
        case "BOUND_WINDOW":
            return _judge_window(tree, inputs)
        case other:
            raise MayRaise(f"{plain(other)} is not shown to be total")


def mass(tree: Tree, magnitude: int | None, inputs: Inputs) -> int | None:
    """The largest sum of absolute values of an expression over all rows of `inputs`."""
    if magnitude is None:
        return None
    while _is_cast(tree) and numbers.scale(type_of(tree["children"][0])) == numbers.scale(type_of(tree)):
        tree = tree["children"][0]
    if tree["expression_class"] == "BOUND_REF":
        found = inputs.column(tree)
        if found is not None and found.mass is not None:
            return found.mass
    return magnitude * inputs.rows


def check_comparison(a: Tree, b: Tree) -> None:
    """Raises `MayRaise` unless values of the two types compare without an error."""
    if a["id"] != b["id"] or a["id"] not in _SCALARS:
        raise MayRaise(f"{a['id']} compared with {b['id']} may raise")


def type_of(tree: Tree) -> Tree:
    """The bound type of an expression."""
    if tree["expression_class"] == "BOUND_CONSTANT":
        found: Tree = tree["value"]["type"]
        return found
    return tree.get("return_type") or {"id": "BOOLEAN"}  # conjunctions carry none


def plain(kind: str) -> str:
    """A class or node of DuckDB's plans as people say it."""
    return kind.removeprefix("BOUND_").removeprefix("LOGICAL_").replace("_", " ").lower()


def _judge_parts(tree: Tree, inputs: Inputs, *, besides: str = "") -> None:
    """Every expression somewhere below `tree`."""
    for key, value in tree.items():
        if key != besides and isinstance(value, dict | list):
            for part in expressions_in(value):
                judge(part, inputs)


def expressions_in(value: Any) -> Iterator[Tree]:
    """The outermost expressions below a part of a plan."""
    if isinstance(value, list):
        for item in value:
            if isinstance(item, dict | list):
                yield from expressions_in(item)
    elif "expression_class" in value:
        yield value
    else:
        for item in value.values():
            if isinstance(item, dict | list):
                yield from expressions_in(item)


def _judge_case(tree: Tree, inputs: Inputs) -> int | None:
    found = [judge(tree["else_expr"], inputs)]
    for check in tree["case_checks"]:
        judge(check["when_expr"], inputs)
        if not _is_never(check["when_expr"], inputs):
            found.append(judge(check["then_expr"], inputs))
    return _largest(found)


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
    if tree["type"] in _COMPARISONS and _is_midnight_comparison(children, inputs):
        return None
    found = [judge(child, inputs) for child in children]
    if tree["type"] == "OPERATOR_CAST":
        return _judge_cast(tree, found[0])
    if tree["type"] in _COMPARISONS:
        check_comparison(*map(type_of, children))
        return None
    _judge_parts(tree, inputs, besides="children")
    name = tree["qname"]["path"][-1]
    types = [type_of(child) for child in children]
    literals = [_literal(child) for child in children]
    if name in numbers.ARITHMETIC and None not in found and (name not in _DIVISIONS or _whole(children[-1])):
        result = numbers.arithmetic(name, [m for m in found if m is not None], types, tree["return_type"])
        if result is not None:
            return result
    ids = [type_["id"] for type_ in types]
    if name in ("+", "-") and ids in (["DATE", "INTERVAL"], ["TIMESTAMP", "INTERVAL"], ["DATE", "INTEGER"]):
        return _shifted(name, found)
    if ids == ["INTEGER"] and found[0] is not None and (days := numbers.days_of(name, found[0])) is not None:
        return days
    if name in _CONTAINS and len(ids) == 2:
        inner = (types[0].get("type_info") or {}).get("child_type") or {}
        # Equality of scalars, one by one: what `region IN user.regions` becomes.
        if ids[0] == "LIST" and inner.get("id") == ids[1] and ids[1] in _SCALARS:
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


def _is_midnight_comparison(children: Sequence[Tree], inputs: Inputs) -> bool:
    """Whether this is a DATE compared with a constant time at midnight, `date + INTERVAL n DAY` say.

    The binder casts the DATE to TIMESTAMP, which raises on far dates; the optimizer makes the constant a DATE again.
    """
    if len(children) != 2:
        return False
    for cast, other in (children, reversed(children)):
        if not _is_cast(cast) or type_of(cast)["id"] != "TIMESTAMP" or type_of(other)["id"] != "TIMESTAMP":
            continue
        inner = cast["children"][0]
        if inner["expression_class"] == "BOUND_REF" and type_of(inner)["id"] == "DATE" and _is_midnight(other):
            judge(other, inputs)
            return True
    return False


def _is_midnight(tree: Tree) -> bool:
    """Whether an expression is made of dates and whole days only, all constant."""
    if tree["expression_class"] == "BOUND_CONSTANT":
        kind, value = type_of(tree)["id"], tree["value"].get("value")
        return kind in ("DATE", "INTEGER") or (kind == "INTERVAL" and isinstance(value, dict) and not value["micros"])
    if tree["expression_class"] != "BOUND_FUNCTION":
        return False
    name = tree["qname"]["path"][-1]
    if tree["type"] == "OPERATOR_CAST":
        child = tree["children"][0]
        text = child["expression_class"] == "BOUND_CONSTANT" and type_of(child)["id"] == "VARCHAR"
        return bool(type_of(tree)["id"] == "DATE" and text)
    return name in _WHOLE_DAYS and all(map(_is_midnight, tree["children"]))


def _judge_aggregate(tree: Tree, inputs: Inputs) -> int | None:
    _judge_parts(tree, inputs, besides="children")
    found = [judge(child, inputs) for child in tree["children"]]
    return _aggregate(tree, found, inputs)


def _aggregate(tree: Tree, found: Sequence[int | None], inputs: Inputs) -> int | None:
    name = tree["qname"]["path"][-1]
    types = [type_of(child) for child in tree["children"]]
    match name:
        case "count" | "count_star":
            return inputs.rows
        case "count_if" | "countif":
            return inputs.rows
        case "sum" | "avg" | "mean" if types[0]["id"] in _INTEGERS or types[0]["id"] in ("DECIMAL", "BOOLEAN"):
            # Both add up in 128 bits; a sum has to fit its type, too.
            total = mass(tree["children"][0], found[0], inputs)
            top = 2**127 if name != "sum" else _limit(tree)
            if total is None or top is None or total >= top:
                raise MayRaise(f"`{name}` may overflow")
            return total if name == "sum" else None
    row = review(name, "aggregate")
    literals = [_literal(child) for child in tree["children"]]
    if row is None or not row.is_total([type_["id"] for type_ in types], literals):
        raise MayRaise(f"`{name}` may raise")
    same = name in ("min", "max", "any_value", "first", "last", "arbitrary", "mode", "arg_min", "arg_max")
    return found[0] if same and types[0] == type_of(tree) else _limit(tree)


def _judge_window(tree: Tree, inputs: Inputs) -> int | None:
    _judge_parts(tree, inputs, besides="children")
    found = [judge(child, inputs) for child in tree["children"]]
    if tree["start"] not in _FRAMES or tree["end"] not in _FRAMES:
        raise MayRaise("a frame of values is not shown to be total")
    for bound in (tree["start_expr"], tree["end_expr"]):
        value = 0 if bound is None else _whole(bound)
        if value is None or not 0 <= value < 2**31:
            raise MayRaise("a frame's bound may raise")
    match tree["type"]:
        case "WINDOW_AGGREGATE":
            return _aggregate(tree, found, inputs)
        case "WINDOW_ROW_NUMBER" | "WINDOW_RANK" | "WINDOW_RANK_DENSE":
            return inputs.rows
        case "WINDOW_PERCENT_RANK" | "WINDOW_CUME_DIST":
            return None
        case "WINDOW_FIRST_VALUE" | "WINDOW_LAST_VALUE":
            return found[0]
        case "WINDOW_LAG" | "WINDOW_LEAD":
            offset = _whole(tree["children"][1]) if len(found) > 1 else 1
            if offset is not None and abs(offset) < 2**31:
                return _largest([found[0], *found[2:]])
        case "WINDOW_NTILE":
            tiles = _whole(tree["children"][0])
            if tiles is not None and 0 < tiles < 2**31:
                return tiles
        case "WINDOW_NTH_VALUE":
            place = _whole(tree["children"][1])
            if place is not None and 0 < place < 2**31:
                return found[0]
    raise MayRaise(f"{plain(tree['type'])} is not shown to be total")


def _judge_cast(tree: Tree, found: int | None) -> int | None:
    child, target = tree["children"][0], type_of(tree)
    source = type_of(child)
    constant = child["expression_class"] == "BOUND_CONSTANT"
    if constant and (child["value"].get("is_null") or source["id"] == "NULL"):
        return 0
    if found is not None:
        value = child["value"].get("value") if constant else None
        if type(value) is int and value >= 0 and source["id"] in _INTEGERS:
            source = {"id": "UHUGEINT"}
        fitting = numbers.cast(found, source, target)
        if fitting is not None:
            return fitting
    if (tree["function_data"]["try_cast"] and source["id"] in _SCALARS) or _is_total_cast(source, target):
        return _limit(tree)
    if constant and source["id"] == "VARCHAR" and isinstance(child["value"]["value"], str):
        # A constant is converted or not, whatever the rows hold.
        text = child["value"]["value"]
        if _converts(text, target["id"]):
            return 3_700_000 if target["id"] == "DATE" and _TODAY.fullmatch(text) else _limit(tree)
        raise MayRaise(f"a constant is no {target['id']}")
    raise MayRaise(f"a cast from {source['id']} to {target['id']} may raise")


def _is_total_cast(source: Tree, target: Tree) -> bool:
    a, b = source["id"], target["id"]
    if a == b and a != "DECIMAL":
        return a in _SCALARS or source == target
    if b == "VARCHAR":
        return a in _SCALARS or a == "ENUM"
    if b in ("DOUBLE", "FLOAT"):
        return a in _INTEGERS or (a == "DECIMAL" and b == "DOUBLE") or (a == "FLOAT" and b == "DOUBLE")
    return False


def _constant_magnitude(value: Tree) -> int | None:
    if value.get("is_null"):
        return 0
    type_, found = value["type"], value.get("value")
    match type_["id"], found:
        case "INTERVAL", {"months": int(months), "days": int(days), "micros": int(micros)}:
            return abs(months) * 31 + abs(days) + abs(micros) // 86_400_000_000 + 1
        case (("DATE" | "DECIMAL"), int()):
            return abs(found)
        case kind, int() if kind in _INTEGERS:
            return abs(found)
        case (("DECIMAL" | "HUGEINT"), {"upper": int(upper), "lower": int(lower)}):
            return abs((upper << 64) + lower)
    return numbers.limit(type_)


def _literal(tree: Tree) -> object:
    """The value of a literal argument, also of one that the binder casts; else `NOT_LITERAL`."""
    while _is_cast(tree):
        tree = tree["children"][0]
    if tree["expression_class"] != "BOUND_CONSTANT" or tree["value"].get("is_null"):
        return NOT_LITERAL
    value: object = tree["value"].get("value", NOT_LITERAL)
    return value if isinstance(value, str | int | float) else NOT_LITERAL


def _whole(tree: Tree) -> int | None:
    """The value of a literal whole number; what a cast would round is none."""
    while _is_cast(tree) and type_of(tree["children"][0])["id"] in _INTEGERS:
        tree = tree["children"][0]
    if tree["expression_class"] != "BOUND_CONSTANT" or type_of(tree)["id"] not in _INTEGERS:
        return None
    value = tree["value"].get("value")
    return value if type(value) is int else None


def _is_cast(tree: Tree) -> bool:
    return bool(tree["expression_class"] == "BOUND_FUNCTION" and tree["type"] == "OPERATOR_CAST")


def _largest(found: Sequence[int | None]) -> int | None:
    return None if None in found else max((m for m in found if m is not None), default=None)


def _limit(tree: Tree) -> int | None:
    return numbers.limit(type_of(tree))


@lru_cache(maxsize=1024)
def _converts(text: str, type_: str) -> bool:
    if type_ not in _SCALARS - {"DECIMAL"}:
        return False
    return converts(text, type_)
