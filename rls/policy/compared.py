"""A bound condition → what in it is a column of the relation, what an attribute, and what is compared with what."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rls.catalog import Relation, quote
from rls.policy.expressions import Branch, span_of
from rls.policy.parser import Tree, character_offset
from rls.policy.reader import NO_POSITION, attribute_name
from rls.policy.rules import BoundPolicy

__all__ = ["Compared", "conjuncts", "nodes_of"]


@dataclass(frozen=True)
class Compared:
    """One policy, bound to one relation."""

    bound: BoundPolicy
    relation: Relation

    def column(self, node: Tree) -> str | None:
        """The relation's own column that a node is, by the catalog's name."""
        if node.get("class") != "COLUMN_REF" or node.get("query_location", NO_POSITION) >= NO_POSITION:
            return None
        offset = character_offset(self.bound.policy.using.text, node["query_location"])
        found = {
            text
            for hole, text in zip(self.bound.policy.using.holes, self.bound.holes, strict=True)
            if hole.offset == offset and hole.kind == "column"
        }
        own = quote(self.relation.name)
        return next((c.name for c in self.relation.columns if f"{own}.{quote(c.name)}" in found), None)

    def own_columns(self, node: Tree) -> list[str]:
        """The relation's own columns that stand anywhere in a node, sub-queries included."""
        return [name for part in nodes_of(node) if (name := self.column(part)) is not None]

    def equals(self, leaf: Branch) -> tuple[str, str] | None:
        """(column, attribute) where a leaf is `column = user.attribute`, or `column IN user.attribute`."""
        tree = leaf.tree
        if tree["class"] == "COMPARISON" and tree["type"] in ("COMPARE_EQUAL", "COMPARE_NOT_DISTINCT_FROM"):
            sides = (tree["left"], tree["right"])
        elif tree["class"] == "FUNCTION" and tree["function_name"] == "contains" and len(tree["arguments"]) == 2:
            sides = tuple(argument["expression"] for argument in tree["arguments"])
        else:
            return None
        for one, other in (sides, sides[::-1]):
            column, name = self.column(one), attribute_name(other) if other.get("class") == "COLUMN_REF" else None
            if column is not None and name is not None:
                return column, name
        return None

    def text(self, node: Tree) -> str:
        """What the author wrote there, on one line."""
        start, end = span_of(node, self.bound.policy.using.text)
        return " ".join(self.bound.policy.using.text[start:end].split())

    def offset(self, node: Tree) -> int:
        return span_of(node, self.bound.policy.using.text)[0]


def conjuncts(branch: Branch) -> Iterator[Branch]:
    """The leaves that all must be true."""
    if branch.kind == "leaf":
        yield branch
    for child in branch.children if branch.kind == "and" else ():
        yield from conjuncts(child)


def nodes_of(tree: Any) -> Iterator[Tree]:
    """Every node of a tree, outermost first."""
    if isinstance(tree, dict):
        if "class" in tree:
            yield tree
        for value in tree.values():
            yield from nodes_of(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from nodes_of(value)
