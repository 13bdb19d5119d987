"""A condition of a sub-query → each part of it left out or loosened, with what only that part keeps out.

Takes DuckDB's tree of a WHERE or ON; yields pairs of trees. Owns that the second of a pair is true of rows that the
first lets through and the condition itself does not (or, of OR, that it lets through by the one part alone).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from rls.policy.parser import Tree, read_select

__all__ = ["LISTS", "closed_parts", "dropped_parts", "edged_parts", "one_sided", "opened_parts", "shortened_lists"]

LISTS: Final = frozenset(("COMPARE_IN", "COMPARE_NOT_IN"))
Pair = tuple[Tree | None, Tree]
_NEVER_NULL: Final = frozenset(
    (*("OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL"), *("COMPARE_DISTINCT_FROM", "COMPARE_NOT_DISTINCT_FROM"))
)
_STRICT: Final = {
    "COMPARE_LESSTHAN": "COMPARE_LESSTHANOREQUALTO",
    "COMPARE_GREATERTHAN": "COMPARE_GREATERTHANOREQUALTO",
}
_EDGED: Final = {**_STRICT, **{other: kind for kind, other in _STRICT.items()}}


def dropped_parts(condition: Tree, *, nulls: bool) -> Iterator[Pair]:
    """Without one of the conditions that AND or OR joins, one item of a list, one bound of BETWEEN; None: without all.
    `nulls` is False: what such a condition is NULL for still fails it (`a IS NOT NULL AND b` instead of `b`).

    `a AND b` → (`b`, `NOT a AND b`), (`a`, `a AND NOT b`)
    `a OR b`  → (`b`, `a AND NOT b`), (`a`, `b AND NOT a`)
    """
    if condition["class"] != "CONJUNCTION":
        yield from _shortened(condition)
        yield None if nulls or _is_never_null(condition) else _known(condition), _not(condition)
        return
    for place, child in enumerate(condition["children"]):
        without, joined = _without(condition, place), child["class"] == "CONJUNCTION"
        if condition["type"] == "CONJUNCTION_OR":
            yield without, _both(condition, child, _not_true(without))
        else:
            kept = nulls or joined or _is_never_null(child)
            yield without if kept else _put(condition, place, _known(child)), _put(condition, place, _not(child))
        # `a AND (b OR c)`: also without b.
        for made, near in dropped_parts(child, nulls=nulls) if joined else _shortened(child):
            if made is not None:
                yield _put(condition, place, made), _put(condition, place, near)


def _shortened(condition: Tree) -> Iterator[Pair]:
    if condition["type"] in LISTS:
        yield from shortened_lists(condition)
    elif condition["type"] == "OPERATOR_NOT" and condition["children"][0]["type"] in LISTS:
        yield from ((_not(made), near) for made, near in shortened_lists(condition["children"][0]))
    elif condition["class"] == "BETWEEN":
        yield from one_sided(condition)


def shortened_lists(condition: Tree) -> Iterator[tuple[Tree, Tree]]:
    """Without one item of its list, whether IN or NOT IN: `x NOT IN (1, 2)` → (`x NOT IN (2)`, `x IN (1)`), …"""
    first, *items = condition["children"]
    for place, item in enumerate(items if len(items) > 1 else ()):
        rest = [first, *items[:place], *items[place + 1 :]]
        yield {**condition, "children": rest}, {**condition, "type": "COMPARE_IN", "children": [first, item]}


def opened_parts(condition: Tree) -> Iterator[tuple[Tree, Tree]]:
    """With one condition true of what has no value, too: `a AND b` → (`coalesce(a, TRUE) AND b`, `a IS NULL AND b`)."""
    if condition["class"] == "CONJUNCTION":
        yield from _in_one_part(condition, opened_parts)
    elif condition["type"] == "COMPARE_NOT_DISTINCT_FROM":
        # `retired IS FALSE`
        yield from opened_parts({**condition, "type": "COMPARE_EQUAL"})
    elif not _is_never_null(condition):
        yield _not_false(condition), {**_made("x IS NULL"), "children": [condition]}


def closed_parts(condition: Tree) -> Iterator[Tree]:
    """What `opened_parts` is under NOT: `coalesce(a, FALSE)`."""
    for opened, _ in opened_parts(condition):
        if opened["type"] == "OPERATOR_COALESCE":
            yield {**opened, "children": [opened["children"][0], _made("coalesce(NULL, FALSE)")["children"][1]]}


def edged_parts(condition: Tree) -> Iterator[tuple[Tree, Tree]]:
    """With the boundary of one comparison on the other side: `a AND x > 7` → (`a AND x >= 7`, `a AND x = 7`)."""
    if condition["class"] == "CONJUNCTION":
        yield from _in_one_part(condition, edged_parts)
    elif condition["type"] in _EDGED:
        yield {**condition, "type": _EDGED[condition["type"]]}, {**condition, "type": "COMPARE_EQUAL"}


def _in_one_part(condition: Tree, parts: Callable[[Tree], Iterator[tuple[Tree, Tree]]]) -> Iterator[tuple[Tree, Tree]]:
    """A conjunction in which one part is changed, by any of its `parts`."""
    for place, child in enumerate(condition["children"]):
        for made, near in parts(child):
            alone = _put(condition, place, near)
            if condition["type"] == "CONJUNCTION_OR":
                alone = _both(condition, near, _not_true(_without(condition, place)))
            yield _put(condition, place, made), alone


def one_sided(between: Tree) -> Iterator[tuple[Tree, Tree]]:
    """`x BETWEEN a AND b` → (`x <= b`, `x < a`), (`x >= a`, `x > b`)."""
    for kept, bound, other in (("<=", "upper", "lower"), (">=", "lower", "upper")):
        yield _compared(between, kept, bound), _compared(between, kept[0], other)


def _compared(between: Tree, sign: str, side: str) -> Tree:
    return {**_made(f"x {sign} y"), "left": between["input"], "right": between[side]}


def _is_never_null(condition: Tree) -> bool:
    return condition["class"] in ("SUBQUERY", "CONSTANT") or condition["type"] in _NEVER_NULL


def _known(condition: Tree) -> Tree:
    return {**_made("x IS NOT NULL"), "children": [condition]}


def _without(condition: Tree, place: int) -> Tree:
    rest: list[Tree] = [*condition["children"][:place], *condition["children"][place + 1 :]]
    return rest[0] if len(rest) == 1 else {**condition, "children": rest}


def _put(condition: Tree, place: int, child: Tree) -> Tree:
    children = condition["children"]
    return _joined(condition, [*children[:place], child, *children[place + 1 :]])


def _both(condition: Tree, *children: Tree) -> Tree:
    return _joined({**condition, "type": "CONJUNCTION_AND"}, children)


def _joined(condition: Tree, children: Sequence[Tree]) -> Tree:
    """AND or OR of these, as DuckDB reads them: `a AND (b AND c)` is one AND of three."""
    flat = [
        part for child in children for part in (child["children"] if child["type"] == condition["type"] else [child])
    ]
    return {**condition, "children": flat}


def _not(condition: Tree) -> Tree:
    return {**_made("NOT x"), "children": [condition]}


def _not_true(condition: Tree) -> Tree:
    return _not_false(_not(condition))


def _not_false(condition: Tree) -> Tree:
    """`coalesce(…, TRUE)`."""
    coalesced = _made("coalesce(NULL, TRUE)")
    return {**coalesced, "children": [condition, coalesced["children"][1]]}


def _made(sql: str) -> Tree:
    made: Tree = read_select(sql)["select_list"][0]
    return made
