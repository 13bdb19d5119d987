"""A leaf with sub-queries → the leaf with one condition inside them dropped, turned or joined the other way.

Takes DuckDB's tree; yields whole trees. Owns which slips of a hand inside a sub-query are looked for: to the leaf's own
TRUE, FALSE and NULL they are invisible.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from rls.policy.parser import Tree

__all__ = ["COMPARISONS", "changed_inside", "dropped_inside"]

# The slips of a hand: what a comparison is easily mistaken for.
COMPARISONS: Final = {
    "COMPARE_EQUAL": ("COMPARE_NOTEQUAL",),
    "COMPARE_NOTEQUAL": ("COMPARE_EQUAL",),
    "COMPARE_LESSTHAN": ("COMPARE_LESSTHANOREQUALTO", "COMPARE_GREATERTHAN"),
    "COMPARE_LESSTHANOREQUALTO": ("COMPARE_LESSTHAN", "COMPARE_GREATERTHANOREQUALTO"),
    "COMPARE_GREATERTHAN": ("COMPARE_GREATERTHANOREQUALTO", "COMPARE_LESSTHAN"),
    "COMPARE_GREATERTHANOREQUALTO": ("COMPARE_GREATERTHAN", "COMPARE_LESSTHANOREQUALTO"),
}
_JOINED: Final = {"CONJUNCTION_AND": "CONJUNCTION_OR", "CONJUNCTION_OR": "CONJUNCTION_AND"}
_Change = Callable[[Tree], Iterator[Tree | None]]


def dropped_inside(tree: Tree) -> Iterator[Tree]:
    """Without one of the conditions that a sub-query's WHERE or ON joins by AND or OR, or without all it has."""
    return _inside(tree, _dropped, lambda made: made)


def changed_inside(tree: Tree) -> Iterator[Tree]:
    """With a condition of a sub-query dropped, its AND made OR, or a comparison made another one."""
    return _inside(tree, _changed, lambda made: made)


def _inside(node: Any, change: _Change, rebuild: Callable[[Any], Any]) -> Iterator[Tree]:
    """The whole tree once for each change below a node; `rebuild` puts a changed node back into it."""
    if isinstance(node, dict):
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
