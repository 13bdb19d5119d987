"""LIMIT and OFFSET, and the fence of a guard, which has the shape of one.

Owns that an OFFSET 0 over a stored relation becomes the engine's fence, or nothing where no fence is needed.
"""

from __future__ import annotations

from typing import Any

from sqlglot import exp

from rls.rewrite.port.expressions import expression
from rls.rewrite.port.kinds import INTEGERS, not_portable
from rls.rewrite.port.nodes import only, whole_number
from rls.rewrite.port.scopes import Context, Scope

__all__ = ["fenced", "limit"]


def limit(node: exp.Expr, scope: Scope, context: Context) -> str:
    """`LIMIT … OFFSET …`, or nothing. Raises `QueryRefused`."""
    text = ""
    for key, word in (("limit", "LIMIT"), ("offset", "OFFSET")):
        clause = node.args.get(key)
        if clause is None:
            continue
        only(clause, "expression")
        if not _is_fence(node):
            text += f" {word} {_count(clause.expression, word, scope, context)}"
    return text


def _is_fence(node: exp.Expr) -> bool:
    """Whether a query has OFFSET 0 over a stored relation, as only guards have."""
    offset, clause = node.args.get("offset"), node.args.get("from_")
    if offset is None or clause is None or node.args.get("limit") is not None:
        return False
    stored = isinstance(clause.this, exp.Table) and clause.this.args.get("db") is not None
    return stored and offset.expression == exp.Literal.number(0)


def fenced(node: exp.Expr, text: str, context: Context) -> str:
    """A query, inside the engine's fence where it is a guard that has one."""
    return context.sql.fenced(text) if context.fences and _is_fence(node) else text


def _count(node: Any, word: str, scope: Scope, context: Context) -> str:
    if isinstance(node, exp.Subquery):
        text, columns = context.query(node.this, scope.around())
        if len(columns) != 1 or columns[0].kind not in INTEGERS[:3]:
            raise not_portable(f"{word} of what is no whole number")
        return context.sql.write("limit query", "", text)
    if isinstance(node, exp.Cast) and isinstance(node.this, exp.Placeholder):
        return context.sql.least_of(context.sql.convert(expression(node, Scope(), context), "BIGINT").text)
    return str(whole_number(node, f"{word} of what is no whole number"))
