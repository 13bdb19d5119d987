"""UNION, INTERSECT and EXCEPT, also BY NAME, and VALUES: rows of several origins, in columns of one kind each."""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

from rls.catalog import fold
from rls.rewrite.port.expressions import expression
from rls.rewrite.port.kinds import Lowered, common, not_portable
from rls.rewrite.port.limits import limit
from rls.rewrite.port.order_by import order_by
from rls.rewrite.port.scopes import Column, Columns, Context, Scope

__all__ = ["set_operation", "values_clause"]


def set_operation(
    node: exp.SetOperation, scope: Scope, context: Context, want: list[str] | None
) -> tuple[str, Columns]:
    """A set operation, without its common tables, in columns of the kinds `want`. Raises `QueryRefused`."""
    if node.args.get("by_name"):
        return _by_name(node, scope, context)
    left, columns = context.query(node.this, scope, want)
    right, others = context.query(node.expression, scope, want)
    if len(columns) != len(others):
        raise not_portable("a set operation of different widths")
    kinds = [common((a.kind, b.kind)) for a, b in zip(columns, others, strict=True)]
    if not all(kind in context.sql.types and kind != "INTERVAL" for kind in kinds):
        raise not_portable("a set operation over these types", hint="cast columns to the same types")
    if [one.kind for one in columns] != kinds or [one.kind for one in others] != kinds:
        agreed = [kind or "" for kind in kinds]
        left, columns = context.query(node.this, scope, agreed)
        right, others = context.query(node.expression, scope, agreed)
    columns = tuple(replace(a, digits=_most(a.digits, b.digits)) for a, b in zip(columns, others, strict=True))
    word = {exp.Union: "UNION", exp.Intersect: "INTERSECT", exp.Except: "EXCEPT"}[type(node)]
    word += "" if node.args.get("distinct") else " ALL"
    context.sql.demand(word)
    order = order_by(node, None, context, [], columns, free=False)
    return f"({left}) {word} ({right}){order.text}{limit(node, scope, context)}", columns


def _most(*digits: int | None) -> int | None:
    """The digits of what may be any of these; None where one is not known."""
    known = [one for one in digits if one is not None]
    return max(known) if len(known) == len(digits) else None


def _by_name(node: exp.SetOperation, scope: Scope, context: Context) -> tuple[str, Columns]:
    """`UNION BY NAME`: the left side's columns, then those that only the right side has; what a side lacks is NULL."""
    sides = [context.query(one, scope) for one in (node.this, node.expression)]
    known = [{fold(one.name): one for one in columns} for _, columns in sides]
    names = [*known[0], *(name for name in known[1] if name not in known[0])]
    if [len(one) for one in known] != [len(columns) for _, columns in sides]:
        raise not_portable("BY NAME with a name that is there twice", hint="give columns names of their own")
    sql, merged, texts = context.sql, [], []
    for name in names:
        kind = common([side[name].kind for side in known if name in side])
        if kind not in sql.types or kind in ("INTERVAL", "NULL"):
            raise not_portable("a set operation over these types", hint="cast columns to the same types")
        merged.append(Column((known[0].get(name) or known[1][name]).name, kind or ""))
    for (text, _), side in zip(sides, known, strict=True):
        shown = []
        for name, column in zip(names, merged, strict=True):
            value = Lowered("NULL", "NULL")
            if name in side:
                value = Lowered(f"q.{sql.name_of(side[name].name)}", side[name].kind, plain=True)
            shown.append(f"{sql.convert(value, column.kind).text} AS {sql.name_of(column.name)}")
        texts.append(f"(SELECT {', '.join(shown)} FROM ({text}) AS q)")
    order = order_by(node, None, context, [], tuple(merged), free=False)
    word = "UNION" if node.args.get("distinct") else "UNION ALL"
    return f"{texts[0]} {word} {texts[1]}{order.text}{limit(node, scope, context)}", tuple(merged)


def values_clause(node: exp.Values, scope: Scope, context: Context, want: list[str] | None) -> tuple[str, Columns]:
    """Rows of expressions, as a query. Raises `QueryRefused`."""
    rows = []
    for row in node.expressions:
        if not isinstance(row, exp.Tuple):
            raise not_portable("VALUES like this")
        if row.find(exp.Query) is not None:
            context.sql.demand("a sub-query in VALUES")
        rows.append([expression(one, scope, context) for one in row.expressions])
    if len({len(row) for row in rows}) != 1:
        raise not_portable("VALUES of different widths")
    kinds = want or [common(one.kind for one in column) or "" for column in zip(*rows, strict=True)]
    if any(kind in ("", "NULL") for kind in kinds) or len(kinds) != len(rows[0]):
        raise not_portable("VALUES of these types", hint="cast them to the same types")
    convert = context.sql.convert
    lines = [
        "(" + ", ".join(convert(value, kind).text for value, kind in zip(row, kinds, strict=True)) + ")" for row in rows
    ]
    columns = tuple(Column(f"col{number}", kind) for number, kind in enumerate(kinds))
    return context.sql.rows(lines, [one.name for one in columns]), columns
