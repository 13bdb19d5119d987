"""A leaf with sub-queries → the leaf with one condition inside them dropped, loosened, turned or joined the other way.

Takes DuckDB's tree; yields whole trees. Owns which slips of a hand inside a sub-query are looked for: to the leaf's own
TRUE, FALSE and NULL they are invisible.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

from rls.lab.truth.near import dropped_parts, edged_parts, opened_parts
from rls.policy.parser import Tree

__all__ = [
    "COMPARISONS", "changed_inside", "dropped_inside", "each_changed", "edged_inside", "loosened_inside", "moved",
    "near_misses",
]  # fmt: skip

# The slips of a hand: what a comparison is easily mistaken for.
COMPARISONS: Final = {
    "COMPARE_EQUAL": ("COMPARE_NOTEQUAL",),
    "COMPARE_NOTEQUAL": ("COMPARE_EQUAL",),
    "COMPARE_LESSTHAN": ("COMPARE_LESSTHANOREQUALTO", "COMPARE_GREATERTHAN"),
    "COMPARE_LESSTHANOREQUALTO": ("COMPARE_LESSTHAN", "COMPARE_GREATERTHANOREQUALTO"),
    "COMPARE_GREATERTHAN": ("COMPARE_GREATERTHANOREQUALTO", "COMPARE_LESSTHAN"),
    "COMPARE_GREATERTHANOREQUALTO": ("COMPARE_GREATERTHAN", "COMPARE_LESSTHANOREQUALTO"),
}
_ORDERED: Final = frozenset(kind for kind, others in COMPARISONS.items() if len(others) > 1)
_JOINED: Final = {"CONJUNCTION_AND": "CONJUNCTION_OR", "CONJUNCTION_OR": "CONJUNCTION_AND"}
_Change = Callable[[Tree], Iterator[Tree | None]]


def dropped_inside(tree: Tree) -> Iterator[Tree]:
    """Without one of the conditions that a sub-query's WHERE or ON joins by AND or OR, one item of a list in it, one
    bound of BETWEEN, or without all it has; without the steps of a recursive one. What a condition is NULL for still
    fails it: that is what `loosened_inside` is about."""
    yield from each_changed(tree, _inside(_dropped_of_known))


def changed_inside(tree: Tree) -> Iterator[Tree]:
    """With a condition of a sub-query dropped, its AND made OR, or a comparison made another one."""
    yield from each_changed(tree, _inside(_changed))


def loosened_inside(tree: Tree) -> Iterator[Tree]:
    """With a condition of a sub-query true of what has no value, too, or a mapping read the other way: `SELECT a …
    WHERE b = user.subject` made `SELECT b … WHERE a = user.subject`."""
    yield from each_changed(tree, _inside(_opened))
    yield from each_changed(tree, _swapped)


def edged_inside(tree: Tree) -> Iterator[Tree]:
    """With the boundary of a comparison of a sub-query on its other side: `ends > 7` made `ends >= 7`."""
    yield from each_changed(tree, _inside(_edged))


def near_misses(tree: Tree) -> Iterator[tuple[Tree, Tree]]:
    """A tree of `dropped_inside`, `loosened_inside` or `edged_inside`, and the one that is true where rows are there
    which only that change lets through."""
    for parts in (partial(dropped_parts, nulls=False), opened_parts, edged_parts):
        # Both walk the same tree in the same order.
        firsts, seconds = (each_changed(tree, _pairs_inside(parts, n)) for n in (0, 1))
        yield from zip(firsts, seconds, strict=True)


def moved(tree: Tree) -> Iterator[Tree]:
    """With a whole number that something is ordered by, wherever it stands, made the one before or after it: `level >=
    2` made `level >= 1`."""
    yield from each_changed(tree, _neighbouring)


def each_changed(tree: Tree, change: Callable[[Tree], Iterator[Tree]]) -> Iterator[Tree]:
    """The whole tree once for each change of one of its nodes, outermost first."""
    yield from _everywhere(_ending(tree), change, _as_made)


def _as_made(made: Any) -> Any:
    return made


def _everywhere(node: Any, change: Callable[[Tree], Iterator[Tree]], rebuild: Callable[[Any], Any]) -> Iterator[Tree]:
    """The whole tree once for each change of a node; `rebuild` puts a changed node back into it."""
    if isinstance(node, dict):
        yield from map(rebuild, change(node))
        for key, value in node.items():
            if isinstance(value, dict | list):
                yield from _everywhere(value, change, lambda made, key=key: rebuild({**node, key: made}))  # type: ignore[misc]
    elif isinstance(node, list):
        for place, value in enumerate(node):
            yield from _everywhere(
                value,
                change,
                lambda made, place=place: rebuild([*node[:place], made, *node[place + 1 :]]),  # type: ignore[misc]
            )


def _ending(node: Any) -> Any:
    """A tree whose recursive queries unite by UNION: changed, they may meet a circle in the data, and end there."""
    if isinstance(node, dict):
        made = {key: _ending(value) for key, value in node.items()}
        return {**made, "union_all": False} if node.get("type") == "RECURSIVE_CTE_NODE" else made
    return [_ending(value) for value in node] if isinstance(node, list) else node


def _neighbouring(node: Tree) -> Iterator[Tree]:
    if node.get("class") != "COMPARISON" or node["type"] not in _ORDERED:
        return
    for side in ("left", "right"):
        literal = node[side].get("literal") if node[side]["class"] == "CONSTANT" else None
        if literal is not None and literal["kind"] == "INTEGER":
            for step in (-1, 1):
                number = {**literal, "text": str(int(literal["text"]) + step)}
                yield {**node, side: {**node[side], "literal": number}}


def _inside(change: _Change) -> Callable[[Tree], Iterator[Tree]]:
    """A change of conditions as one of the queries that have them."""

    def changed(node: Tree) -> Iterator[Tree]:
        if node.get("type") == "RECURSIVE_CTE_NODE":
            yield {**node["left"], "cte_map": node["cte_map"]}  # where it starts, and no step further
            for right in _other_way(node["right"]):
                yield {**node, "right": right}
        for key in ("where_clause", "condition"):
            if isinstance(node.get(key), dict):
                for other in change(node[key]):
                    # A join must have its condition.
                    if other is not None or key == "where_clause":
                        yield {**node, key: other}

    return changed


def _pairs_inside(parts: Callable[[Tree], Iterator[Any]], which: int) -> Callable[[Tree], Iterator[Tree]]:
    """The first or second of each pair that `parts` gives for conditions, as the queries that have them."""

    def changed(node: Tree) -> Iterator[Tree]:
        for key in ("where_clause", "condition"):
            if isinstance(node.get(key), dict):
                for pair in parts(node[key]):
                    if pair[0] is not None or key == "where_clause":
                        yield {**node, key: pair[which]}

    return changed


def _swapped(node: Tree) -> Iterator[Tree]:
    """A query whose one column and another of the same table, which must be equal to something, changed places."""
    condition = node.get("where_clause")
    if node.get("type") != "SELECT_NODE" or len(node["select_list"]) != 1 or not isinstance(condition, dict):
        return
    selected, parts = node["select_list"][0], condition.get("children", ())
    for place, part in enumerate(parts if condition["class"] == "CONJUNCTION" else ()):
        for turned, other in _turned_round(part, selected):
            children = [*parts[:place], turned, *parts[place + 1 :]]
            yield {**node, "select_list": [other], "where_clause": {**condition, "children": children}}
    for turned, other in _turned_round(condition, selected):
        yield {**node, "select_list": [other], "where_clause": turned}


def _turned_round(condition: Tree, selected: Tree) -> Iterator[tuple[Tree, Tree]]:
    """An equation with the selected column in the place of its own, and that one as it is selected instead."""
    if (condition["class"], selected["class"]) != ("COMPARISON", "COLUMN_REF") or condition["type"] != "COMPARE_EQUAL":
        return
    for side in ("left", "right"):
        other = condition[side]
        if other["class"] == "COLUMN_REF" and other["column_names"][:-1] == selected["column_names"][:-1]:
            turned = {**condition, side: {**other, "column_names": selected["column_names"]}}
            yield turned, {**selected, "column_names": other["column_names"]}


def _other_way(step: Tree) -> Iterator[Tree]:
    """A step of a hierarchy the other way: `SELECT s.id … ON s.parent_id = b.id` made `SELECT s.parent_id … ON s.id =
    b.id`."""
    if step["type"] != "SELECT_NODE" or len(step["select_list"]) != 1:
        return
    selected, joined = step["select_list"][0], step["from_table"]
    if isinstance(step.get("where_clause"), dict):
        for turned, other in _turned_round(step["where_clause"], selected):
            yield {**step, "select_list": [other], "where_clause": turned}
    if isinstance(joined.get("condition"), dict):
        for turned, other in _turned_round(joined["condition"], selected):
            yield {**step, "select_list": [other], "from_table": {**joined, "condition": turned}}


def _opened(condition: Tree) -> Iterator[Tree]:
    return (made for made, _ in opened_parts(condition))


def _dropped(condition: Tree) -> Iterator[Tree | None]:
    return (made for made, _ in dropped_parts(condition, nulls=True))


def _edged(condition: Tree) -> Iterator[Tree]:
    return (made for made, _ in edged_parts(condition))


def _dropped_of_known(condition: Tree) -> Iterator[Tree | None]:
    return (made for made, _ in dropped_parts(condition, nulls=False))


def _changed(condition: Tree) -> Iterator[Tree | None]:
    yield from _dropped(condition)
    yield from _turned(condition)


def _turned(condition: Tree) -> Iterator[Tree]:
    if condition["class"] == "COMPARISON":
        for other in COMPARISONS.get(condition["type"], ()):
            yield {**condition, "type": other}
    if condition["class"] == "CONJUNCTION":
        children = condition["children"]
        yield {**condition, "type": _JOINED[condition["type"]]}
        for place, child in enumerate(children):
            for made in _turned(child):
                yield {**condition, "children": [*children[:place], made, *children[place + 1 :]]}
