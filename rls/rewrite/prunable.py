"""A bound plan → why stored extremes could decide whether an expression that may raise is evaluated, or None.

DuckDB's optimizer takes away what statistics of a column settle: a comparison, a check for NULL, `count` of a column
that has none. An error that goes with it tells of hidden rows. Sums, products and casts of numbers are never taken
away for what their operands hold, so an answer that may raise in those alone needs no blindfold. Takes plans that
cannot raise before a row filter (`late`); owns that only what is named here counts as such.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from rls.rewrite import magnitude as numbers
from rls.rewrite.bound_tree import (
    INTEGERS,
    PARTS,
    Inputs,
    MayRaise,
    Tree,
    expressions_in,
    is_cast,
    objection,
    plain,
    type_of,
)  # fmt: skip
from rls.rewrite.total import judge

__all__ = ["why_statistics_may_tell"]

_PASSING: Final = {"LOGICAL_ORDER_BY", "LOGICAL_LIMIT", "LOGICAL_TOP_N", "LOGICAL_DISTINCT"}
_ARITHMETIC: Final = {"+", "-", "*", "/"}
# Not `avg`: DuckDB makes `avg(a + 1)` a sum of `a` and a count of `a + 1`, and the count goes where `a` has no NULL.
_AGGREGATES: Final = {"sum", "min", "max"}
_NUMBERS: Final = {*INTEGERS, "DECIMAL", "DOUBLE"}

_Raising = Sequence[bool] | None  # which columns of a node may raise; None: none


def why_statistics_may_tell(plan: Any) -> str | None:
    """A reason in a few words, or None where whatever may raise is evaluated whatever statistics say."""
    return objection(lambda: [_columns_of(tree) for tree in plan])


def _columns_of(tree: Tree) -> _Raising:
    match tree["type"]:
        case "LOGICAL_MATERIALIZED_CTE":
            return _columns_of(tree["children"][1])
        case "LOGICAL_PROJECTION":
            below = _columns_of(tree["children"][0])
            return [_may_raise(one, below) for one in tree["expressions"]]
        case "LOGICAL_AGGREGATE_AND_GROUP_BY":
            below = _columns_of(tree["children"][0])
            found = [_may_raise(one, below) for one in (*tree["groups"], *tree["expressions"])]
            return [*found, *(False for _ in tree["grouping_functions"])]
        case kind if kind in _PASSING:
            below = _columns_of(tree["children"][0])
            rest = {key: value for key, value in tree.items() if key != "children"}
            for one in expressions_in(rest):
                _may_raise(one, below)
            if below is not None and any(below) and (tree.get("projection_map") or tree.get("projections")):
                raise MayRaise("the plan is not understood")
            return below
        case _:
            return None


def _may_raise(tree: Tree, below: _Raising) -> bool:
    """Whether an expression may raise; `MayRaise` if statistics could then take it away, or a part of it."""
    if not _reads_raising(tree, below):
        try:
            judge(tree, Inputs(numbers.MAX_JOINED))
        except MayRaise:
            pass
        else:
            return False
    kind = tree["expression_class"]
    if kind == "BOUND_REF":
        return True
    if kind == "BOUND_CASE":
        for check in tree["case_checks"]:
            if _may_raise(check["when_expr"], below):
                raise _taken_away("a condition")
            _may_raise(check["then_expr"], below)
        _may_raise(tree["else_expr"], below)
        return True
    if kind == "BOUND_AGGREGATE" and tree["qname"]["path"][-1] in _AGGREGATES and len(tree["children"]) == 1:
        beside = [value for key, value in tree.items() if key != "children" and isinstance(value, PARTS)]
        if any(_may_raise(one, below) for one in expressions_in(beside)):
            raise _taken_away("a condition of an aggregate")
    elif kind != "BOUND_FUNCTION" or not (is_cast(tree) or tree["qname"]["path"][-1] in _ARITHMETIC):
        raise _taken_away(plain(kind))
    if any(type_of(one)["id"] not in _NUMBERS for one in (tree, *tree["children"])):
        raise _taken_away("what is no arithmetic")
    for child in tree["children"]:
        _may_raise(child, below)
    return True


def _reads_raising(tree: Tree, below: _Raising) -> bool:
    if below is None or not any(below):
        return False
    stack: list[Any] = [tree]
    while stack:
        part = stack.pop()
        if isinstance(part, list):
            stack += [item for item in part if isinstance(item, PARTS)]
        elif part.get("expression_class") == "BOUND_REF" and below[part["index"]]:
            return True
        else:
            stack += [value for value in part.values() if isinstance(value, PARTS)]
    return False


def _taken_away(what: str) -> MayRaise:
    return MayRaise(f"stored extremes could take {what} away")
