"""An aggregate or a window over judged arguments → the magnitude of its result, or `MayRaise`.

Sums of integers and DECIMAL are total by magnitude, the others by the types of the reviewed table. Owns the closed
world of windows: kinds and frames are allowed by name, with literal bounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from rls.rewrite import magnitude as numbers
from rls.rewrite.bound_tree import INTEGERS, Inputs, MayRaise, Tree, largest, literal, mass, plain, type_of, whole
from rls.rewrite.functions import review

__all__ = ["aggregate", "window"]

_FRAMES: Final = {
    "UNBOUNDED_PRECEDING", "UNBOUNDED_FOLLOWING", "CURRENT_ROW_RANGE", "CURRENT_ROW_ROWS", "CURRENT_ROW_GROUPS",
    "EXPR_PRECEDING_ROWS", "EXPR_FOLLOWING_ROWS", "EXPR_PRECEDING_GROUPS", "EXPR_FOLLOWING_GROUPS", "INVALID",
}  # fmt: skip
_TOP: Final = 2**31  # of literal offsets and places
# Aggregates that answer one of the values.
_PICKING: Final = {
    "min",
    "max",
    "any_value",
    "first",
    "last",
    "arbitrary",
    "mode",
    "arg_min",
    "arg_max",
    "min_by",
    "max_by",
}


def aggregate(tree: Tree, found: Sequence[int | None], inputs: Inputs) -> int | None:
    """The magnitude of an aggregate whose arguments have the magnitudes `found` over `inputs`."""
    name = tree["qname"]["path"][-1]
    types = [type_of(child) for child in tree["children"]]
    top = numbers.limit(type_of(tree))
    match name:
        case "count" | "count_star" | "count_if" | "countif":
            return inputs.rows
        case "sum" | "avg" | "mean" if types[0]["id"] in INTEGERS or types[0]["id"] in ("DECIMAL", "BOOLEAN"):
            # Both add up in 128 bits, row by row; a sum has to fit its type, too.
            added = mass(tree["children"][0], found[0], replace(inputs, rows=min(inputs.rows, numbers.MAX_ROWS)))
            bound = top if name == "sum" else 2**127
            if added is None or bound is None or added >= bound:
                raise MayRaise(f"`{name}` may overflow")
            joined = mass(tree["children"][0], found[0], inputs)
            return min(joined or 0, bound) if name == "sum" else None
    row = review(name, "aggregate")
    literals = [literal(child) for child in tree["children"]]
    if row is None or not row.is_total([type_["id"] for type_ in types], literals):
        raise MayRaise(f"`{name}` may raise")
    return found[0] if name in _PICKING and types[0] == type_of(tree) else top


def window(tree: Tree, found: Sequence[int | None], inputs: Inputs) -> int | None:
    """The magnitude of a window function whose arguments have the magnitudes `found` over `inputs`."""
    if tree["start"] not in _FRAMES or tree["end"] not in _FRAMES:
        raise MayRaise("a frame of values is not shown to be total")
    for bound in (tree["start_expr"], tree["end_expr"]):
        if bound is not None and not _is_place(bound, least=0):
            raise MayRaise("a frame's bound may raise")
    children = tree["children"]
    match tree["type"]:
        case "WINDOW_AGGREGATE":
            return aggregate(tree, found, inputs)
        case "WINDOW_ROW_NUMBER" | "WINDOW_RANK" | "WINDOW_RANK_DENSE":
            return inputs.rows
        case "WINDOW_PERCENT_RANK" | "WINDOW_CUME_DIST":
            return None
        case "WINDOW_FIRST_VALUE" | "WINDOW_LAST_VALUE":
            return found[0]
        case "WINDOW_LAG" | "WINDOW_LEAD" if len(found) == 1 or _is_place(children[1], least=1 - _TOP):
            return largest([found[0], *found[2:]])
        case "WINDOW_NTILE" if _is_place(children[0], least=1):
            return found[0]
        case "WINDOW_NTH_VALUE" if _is_place(children[1], least=1):
            return found[0]
    raise MayRaise(f"{plain(tree['type'])} is not shown to be total")


def _is_place(tree: Tree, *, least: int) -> bool:
    value = whole(tree)
    return value is not None and least <= value < _TOP
