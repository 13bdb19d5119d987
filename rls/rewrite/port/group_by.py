"""GROUP BY clauses: keys, ROLLUP, CUBE and GROUPING SETS."""

from __future__ import annotations

from sqlglot import exp

from rls.rewrite.port.expressions import expression
from rls.rewrite.port.kinds import not_portable
from rls.rewrite.port.nodes import only
from rls.rewrite.port.scopes import Context, Scope

__all__ = ["group_by"]


def group_by(node: exp.Select, scope: Scope, context: Context) -> str:
    """`GROUP BY …`, or nothing. Raises `QueryRefused`."""
    clause = node.args.get("group")
    if clause is None:
        return ""
    only(clause, "expressions")
    keys = [_group_key(one, scope, context) for one in clause.expressions]
    return f" GROUP BY {', '.join(keys)}" if keys else ""


def _group_key(node: exp.Expr, scope: Scope, context: Context) -> str:
    match node:
        case exp.Literal():
            raise not_portable("GROUP BY a constant")
        case exp.Rollup() | exp.Cube() | exp.GroupingSets():
            only(node, "expressions")
            word = {exp.Rollup: "ROLLUP", exp.Cube: "CUBE", exp.GroupingSets: "GROUPING SETS"}[type(node)]
            keys = [_group_key(one, scope, context) for one in node.expressions]
            if word == "GROUPING SETS":
                keys = [
                    one if isinstance(each, exp.Tuple) else f"({one})"
                    for one, each in zip(keys, node.expressions, strict=True)
                ]
            return f"{word} ({', '.join(keys)})"
        case exp.Tuple():
            only(node, "expressions")
            return f"({', '.join(_group_key(one, scope, context) for one in node.expressions)})"
        case _:
            return expression(node, scope, context).text
