"""A leaf of a condition → the items of the lists in it, each with the leaf as it would be without the item.

Takes a branch, inside whose sub-queries lists may stand, too; owns that an item counts as met where a row's answer
rests on it: a list is an OR of comparisons, and the TRUE of one item says nothing of the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rls.catalog import Catalog, Relation
from rls.lab.truth.branches import own_sql
from rls.lab.truth.inner import each_changed
from rls.lab.truth.near import LISTS, shortened_lists
from rls.policy.attributes import Attribute
from rls.policy.bind import bind
from rls.policy.compared import nodes_of
from rls.policy.expressions import Branch, Expression, read_tree
from rls.policy.parser import ExpressionInvalid, Tree

__all__ = ["Item", "items_of", "without_item"]


@dataclass(frozen=True, slots=True)
class Item:
    """An item as the author may write it (`'open'`), what it is compared with (`state`), and the leaf without it."""

    text: str
    compared: str
    rest: Tree


def items_of(leaf: Branch) -> Iterator[Item]:
    """All items of lists with more than one, outermost lists first, in the order of the text."""
    lists = [node for node in nodes_of(leaf.tree) if node["type"] in LISTS and len(node["children"]) > 2]
    names = [(item, node["children"][0]) for node in lists for item in node["children"][1:]]
    for (item, compared), rest in zip(names, each_changed(leaf.tree, _shortened), strict=True):
        if item["class"] == "CONSTANT":
            yield Item(own_sql(item), own_sql(compared), rest)


def _shortened(node: Tree) -> Iterator[Tree]:
    if node.get("type") in LISTS:
        yield from (made for made, _ in shortened_lists(node))


def without_item(
    item: Item, using: Expression, relation: Relation, catalog: Catalog, attributes: Mapping[str, Attribute]
) -> str | None:
    """SQL of the leaf without an item, its attributes as parameters; None where it cannot be written."""
    try:
        read = read_tree(item.rest, using.text, attributes)
        return read.root.text(bind(read, relation, catalog, attributes))
    except ExpressionInvalid:
        return None
