"""What a node of a tree may say: nothing beside what its lowering writes."""

from __future__ import annotations

from typing import Any

from sqlglot import exp

from rls.rewrite.port.kinds import not_portable
from rls.rewrite.port.named import clause_of

__all__ = ["only", "whole_number"]


def only(node: exp.Expr, *keys: str) -> None:
    """Refuse a node that says more than these parts of it do."""
    for key, value in node.args.items():
        if key not in keys and value not in (None, False, []):
            raise not_portable(clause_of(node, key))


def whole_number(node: Any, construct: str, *, least: int = 0) -> int:
    """The value of a literal that must be a whole number of at least so much."""
    if isinstance(node, exp.Literal) and not node.is_string and node.this.isdigit() and least <= int(node.this) < 2**31:
        return int(node.this)
    raise not_portable(construct, hint="use a positive whole number there")
