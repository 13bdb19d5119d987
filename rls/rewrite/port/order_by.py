"""ORDER BY clauses of queries: keys that are columns of the result, and those that are not.

Owns that a key means what it means to DuckDB: a number or a name of the result first, then an expression.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp

from rls.catalog import fold
from rls.rewrite.port.expressions import expression
from rls.rewrite.port.kinds import Lowered, not_portable
from rls.rewrite.port.nodes import only, whole_number
from rls.rewrite.port.ordering import ordering, sort_key
from rls.rewrite.port.scopes import Columns, Context, Scope

__all__ = ["Order", "order_by"]


class Order:
    """An ORDER BY clause: `text` beside the items, with `keys_first`; `outside`, with `keys_outside`, where the items
    stand in a sub-query `q`, which also shows `keys`. `key` gives an expression as one of `keys_first`."""

    def __init__(self) -> None:
        self.text = self.outside = ""
        self.keys: list[str] = []
        self.keys_first: list[str] = []
        self.keys_outside: list[str] = []
        self.key: Callable[[exp.Expr], str] = str


def order_by(
    node: exp.Expr,
    scope: Scope | None,
    context: Context,
    items: list[str],
    columns: Columns,
    *,
    free: bool,
    within: bool = False,
) -> Order:
    """`free`: keys may be other expressions than the columns of the result; `within`: the items are in a sub-query."""
    found = Order()
    clause = node.args.get("order")
    if clause is None:
        return found
    only(clause, "expressions")
    names = [fold(one.name) for one in columns]

    def key(one: exp.Expr) -> tuple[int | None, Lowered]:
        number = None
        if isinstance(one, exp.Literal):
            number = whole_number(one, "ORDER BY a constant", least=1) - 1
        elif isinstance(one, exp.Column) and one.args.get("table") is None and fold(one.name) in names:
            number = names.index(fold(one.name))
        if number is not None and number < len(columns):
            if columns[number].kind not in (*context.sql.types, "NULL"):
                raise not_portable(f"ORDER BY {columns[number].kind}", hint="order by another column")
            return number, Lowered("", columns[number].kind)
        if scope is None:
            raise not_portable("ORDER BY an expression over a set operation", hint="order by a column's name")
        lowered = expression(one, scope, context)
        return (items.index(lowered.text) if lowered.text in items else None), lowered

    def inside(one: exp.Expr) -> Lowered:
        number, lowered = key(one)
        if number is None and not free:
            raise not_portable("ORDER BY what is not shown")
        # A column of the result is in the order of bytes already.
        return lowered if number is None else Lowered(str(number + 1), _settled(columns[number].kind))

    def outside(one: exp.Expr) -> Lowered:
        number, lowered = key(one)
        if number is not None:
            shown = Lowered(f"q.c{number}", _settled(columns[number].kind))
        elif free:
            found.keys.append(lowered.text)
            shown = Lowered(f"q.o{len(found.keys) - 1}", lowered.kind)
        else:
            raise not_portable("ORDER BY what is not shown")
        found.keys_outside.append(sort_key(shown, context.sql))
        return shown

    found.key = lambda one: sort_key(inside(one), context.sql)
    found.text = " " + ordering(clause, inside, context.sql)
    if free:
        found.keys_first = [found.key(one.this) for one in clause.expressions]
    distinct = node.args.get("distinct")
    by_group = isinstance(distinct, exp.Distinct) and distinct.args.get("on") is not None
    if within or by_group or node.args.get("qualify") is not None:
        found.outside = " " + ordering(clause, outside, context.sql)
    return found


def _settled(kind: str) -> str:
    return "shown" if kind == "VARCHAR" else kind
