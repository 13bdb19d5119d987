"""UNPIVOT → each row once for each of the columns, by a join with as many numbers.

Takes the clause and what stands before it, lowered; returns a query and its columns. Owns that a column's name and its
value come from the same one, and that the values have one kind.
"""

from __future__ import annotations

from typing import Any, Final

from sqlglot import exp

from rls.catalog import fold
from rls.rewrite.port.kinds import Lowered, common, not_portable
from rls.rewrite.port.nodes import only
from rls.rewrite.port.scopes import Column, Columns, Context, Scope

__all__ = ["unpivoted"]

_NUMBERS: Final = "rls_turns"
_HINT: Final = "write it as UNION ALL of a SELECT for each column"


def unpivoted(pivot: exp.Pivot, source: str, inner: Scope, context: Context) -> tuple[str, Columns]:
    """`source UNPIVOT (v FOR k IN (a, b))`, where `inner` has what `source` shows. Raises `QueryRefused`."""
    only(pivot, "expressions", "fields", "unpivot", "include_nulls", "alias")
    turns = pivot.args.get("fields") or []
    if len(turns) != 1 or len(pivot.expressions) != 1 or len(inner.sources) != 1 or not isinstance(turns[0], exp.In):
        raise not_portable("UNPIVOT of several columns at once", hint=_HINT)
    only(turns[0], "this", "expressions")
    sql, ((table, before),) = context.sql, inner.sources.items()
    taken = [_taken(one) for one in turns[0].expressions]
    values = [inner.column(table, name, sql) for name, _ in taken]
    kind = common(one.kind for one in values)
    if kind is None or kind not in sql.types or kind in ("NULL", "INTERVAL"):
        raise not_portable("UNPIVOT of columns of these types", hint="cast them to one type")
    gone = {fold(name) for name, _ in taken}
    rest = tuple(one for one in before if fold(one.name) not in gone)
    # Among the sources, so that no name is both.
    inner.add(_NUMBERS, (Column("turn", "BIGINT"),))
    turn = inner.column(_NUMBERS, "turn", sql).text
    names = [Lowered(sql.text_literal(name), "VARCHAR") for _, name in taken]
    name, value = (_by_turn(turn, found, sql) for found in (names, [sql.convert(one, kind) for one in values]))
    shown = [(inner.column(table, one.name, sql, shown=True).text, one.name) for one in rest]
    shown += [(name, turns[0].this.name), (value, pivot.expressions[0].name)]
    listed = ", ".join(f"{text} AS {sql.name_of(fold(called))}" for text, called in shown)
    rows = sql.rows([f"(CAST({number + 1} AS {sql.type_of('BIGINT')}))" for number in range(len(taken))], ["turn"])
    text = f"SELECT {listed} FROM {source} CROSS JOIN ({rows}) AS {sql.name_of(_NUMBERS)}"
    if not pivot.args.get("include_nulls"):
        text += f" WHERE ({value} IS NOT NULL)"
    made = [Column(fold(one.name), one.kind, digits=one.digits) for one in rest]
    return text, (
        *made, Column(fold(turns[0].this.name), "VARCHAR"), Column(fold(pivot.expressions[0].name), kind)
    )  # fmt: skip


def _taken(node: Any) -> tuple[str, str]:
    """A column of the list, and what it is called in the rows."""
    column, called = (node.this, node.args["alias"].name) if isinstance(node, exp.PivotAlias) else (node, node.name)
    if not isinstance(column, exp.Column) or column.is_star:
        raise not_portable("UNPIVOT of what is no column", hint=_HINT)
    return column.name, called


def _by_turn(turn: str, found: list[Lowered], sql: Any) -> str:
    tests = " ".join(f"WHEN {turn} = {number + 1} THEN {one.text}" for number, one in enumerate(found))
    text = f"(CASE {tests} END)"
    return str(sql.ordered(text)) if found[0].kind == "VARCHAR" else text
