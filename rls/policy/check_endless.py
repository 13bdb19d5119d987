"""A policy's condition → hierarchies that would never end, should the data have a circle somewhere.

Takes a policy; yields problems at their place. Owns the advice that a hierarchy is walked by UNION, which meets each
row once: what a policy reads decides nothing more by being there twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from rls.policy.expressions import Expression
from rls.policy.parser import ExpressionInvalid, Tree
from rls.policy.rules import Policy

__all__ = ["find_endless", "recursions"]


def find_endless(policy: Policy) -> Iterator[ExpressionInvalid]:
    """`WITH RECURSIVE … UNION ALL …`."""
    if not any(node["union_all"] for node in recursions(policy.using)):
        return
    words = re.search(r"\bunion\s+all\b", policy.using.text, re.IGNORECASE)
    yield ExpressionInvalid(
        "policy.endless",
        f"policy `{policy.name}` walks a hierarchy by `UNION ALL`: with a circle in the data, queries never end",
        offset=0 if words is None else words.start(),
        hint="write `UNION`, which meets each row once",
    )


def recursions(expression: Expression) -> Iterator[Tree]:
    """The recursive queries in a condition."""
    yield from _recursions(expression.root.tree)


def _recursions(node: Any) -> Iterator[Tree]:
    if isinstance(node, dict):
        if node.get("type") == "RECURSIVE_CTE_NODE":
            yield node
        for value in node.values():
            yield from _recursions(value)
    elif isinstance(node, list):
        for value in node:
            yield from _recursions(value)
