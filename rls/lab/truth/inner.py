"""A leaf with sub-queries → the leaf with one condition inside them dropped, turned or joined the other way.

Takes DuckDB's tree; yields whole trees. Owns which slips of a hand inside a sub-query are looked for: to the leaf's own
TRUE, FALSE and NULL they are invisible.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from rls.policy.parser import Tree

__all__ = ["COMPARISONS", "changed_inside", "dropped_inside", "moved"]

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
    """Without one of the conditions that a sub-query's WHERE or ON joins by AND or OR, or without all it has; without
    the steps of a recursive one."""
    return _inside(tree, _dropped, lambda made: made)


def changed_inside(tree: Tree) -> Iterator[Tree]:
    """With a condition of a sub-query dropped, its AND made OR, or a comparison made another one."""
    return _inside(tree, _changed, lambda made: made)


def moved(tree: Tree) -> Iterator[Tree]:
    """With a whole number that something is ordered by, wherever it stands, made the one before or after it: `level >=
    2` made `level >= 1`."""
    yield from _moved(tree, lambda made: made)


def _moved(node: Any, rebuild: Callable[[Any], Any]) -> Iterator[Tree]:
    if isinstance(node, dict):
        if node.get("class") == "COMPARISON" and node["type"] in _ORDERED:
            for side in ("left", "right"):
                literal = node[side].get("literal") if node[side]["class"] == "CONSTANT" else None
                if literal is not None and literal["kind"] == "INTEGER":
                    for step in (-1, 1):
                        number = {**literal, "text": str(int(literal["text"]) + step)}
                        yield rebuild({**node, side: {**node[side], "literal": number}})
        for key, value in node.items():
            if isinstance(value, dict | list):
                yield from _moved(value, lambda made, key=key: rebuild({**node, key: made}))  # type: ignore[misc]
    elif isinstance(node, list):
        for place, value in enumerate(node):
            yield from _moved(
                value,
                lambda made, place=place: rebuild([*node[:place], made, *node[place + 1 :]]),  # type: ignore[misc]
            )


def _inside(node: Any, change: _Change, rebuild: Callable[[Any], Any]) -> Iterator[Tree]:
    """The whole tree once for each change below a node; `rebuild` puts a changed node back into it."""
    if isinstance(node, dict):
        if node.get("type") == "RECURSIVE_CTE_NODE":
            yield rebuild({**node["left"], "cte_map": node["cte_map"]})  # where it starts, and no step further
            for right in _other_way(node["right"]):
                yield rebuild({**node, "right": right})
        for key in ("where_clause", "condition"):
            if isinstance(node.get(key), dict):
                for other in change(node[key]):
                    # A join must have its condition.
                    if other is not None or key == "where_clause":
                        yield rebuild({**node, key: other})
        for key, value in node.items():
            if isinstance(value, dict | list):
                yield from _inside(value, change, lambda made, key=key: rebuild({**node, key: made}))  # type: ignore[misc]
    elif isinstance(node, list):
        for place, value in enumerate(node):
            yield from _inside(
                value,
                change,
                lambda made, place=place: rebuild([*node[:place], made, *node[place + 1 :]]),  # type: ignore[misc]
            )


def _other_way(step: Tree) -> Iterator[Tree]:
    """A step of a hierarchy the other way: `SELECT s.id … ON s.parent_id = b.id` made `SELECT s.parent_id … ON s.id =
    b.id`."""
    if step["type"] != "SELECT_NODE" or len(step["select_list"]) != 1:
        return
    selected = step["select_list"][0]
    for key, holder in (("where_clause", step), ("condition", step["from_table"])):
        condition = holder.get(key)
        if not isinstance(condition, dict) or condition["class"] != "COMPARISON" or selected["class"] != "COLUMN_REF":
            continue
        for side in ("left", "right"):
            other = condition[side]
            if other["class"] == "COLUMN_REF" and other["column_names"][:-1] == selected["column_names"][:-1]:
                turned = {**condition, side: {**other, "column_names": selected["column_names"]}}
                listed = [{**selected, "column_names": other["column_names"]}]
                if holder is step:
                    yield {**step, "select_list": listed, key: turned}
                else:
                    yield {**step, "select_list": listed, "from_table": {**step["from_table"], key: turned}}


def _dropped(condition: Tree) -> Iterator[Tree | None]:
    if condition["class"] != "CONJUNCTION":
        yield None
        return
    children = condition["children"]
    for place, child in enumerate(children):
        rest = [*children[:place], *children[place + 1 :]]
        yield rest[0] if len(rest) == 1 else {**condition, "children": rest}
        # `a AND (b OR c)`: also without b.
        for other in _dropped(child) if child["class"] == "CONJUNCTION" else ():
            yield {**condition, "children": [*children[:place], other, *children[place + 1 :]]}


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
