"""GROUP BY clauses: keys, ROLLUP, CUBE and GROUPING SETS."""

from __future__ import annotations

from sqlglot import exp

from rls.rewrite.port.expressions import expression
from rls.rewrite.port.kinds import not_portable
from rls.rewrite.port.nodes import only
from rls.rewrite.port.scopes import Context, Scope

__all__ = ["group_by"]

_TOTAL = "a total of all rows beside groups"


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
            if _has_total(node):
                context.sql.demand(_TOTAL)
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


def _has_total(node: exp.Expr) -> bool:
    """Whether one of the groups is all rows: DuckDB shows it also where there are none."""
    if isinstance(node, exp.GroupingSets):
        return any(isinstance(one, exp.Tuple) and not one.expressions for one in node.expressions) or any(
            _has_total(one) for one in node.expressions if isinstance(one, exp.GroupingSets | exp.Cube | exp.Rollup)
        )
    return isinstance(node, exp.Cube | exp.Rollup)
