"""The caller's own conditions on one relation → texts that may also stand below its fence.

A fence keeps the caller's `WHERE id = 7` above the row filter, and with it out of the scan: a point look-up reads the
whole relation (measured 30 to 130 times slower). A copy of the condition inside the guard brings pruning back. Takes a
reference and the tree around it; returns conditions written anew from a small grammar (a shown column compared with
literals). Owns that a copy changes no result: only top-level conditions of the WHERE over the very FROM that names the
relation, never below an outer join's optional side, a sample or a positional join; whether a copy can raise is judged
by `leakproof`, with the column's type.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from sqlglot import exp

from rls.catalog import Relation, fold, quote
from rls.policy.grant import Grant
from rls.rewrite.resolve import Reference

__all__ = ["copied_conjuncts"]

_MAX_ITEMS = 1_000  # in an IN list
_MAX_COPIES = 20
_NUMBER = re.compile(r"\d+(\.\d+)?")
_COMPARISONS = {exp.EQ: "=", exp.NEQ: "<>", exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">="}
_MIRRORED = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


def copied_conjuncts(reference: Reference, grant: Grant, others: Sequence[Reference]) -> list[str]:
    """Conditions of the caller that only keep rows of `reference` which the query keeps anyway; `others` are all
    references of the query."""
    table = reference.node
    select = _select_of(table)
    if select is None or table.args.get("sample") or table.args.get("pivots"):
        return []
    where = select.args.get("where")
    if where is None or select.args.get("sample") or not _is_kept_side(table, select):
        return []
    names = _Names(reference, grant, select, others)
    copies: list[str] = []
    pending = [where.this]
    while pending and len(copies) < _MAX_COPIES:
        node = pending.pop()
        if isinstance(node, exp.And):
            pending += (node.expression, node.this)
        elif isinstance(node, exp.Paren):
            pending.append(node.this)
        elif (text := _condition(node, names)) is not None:
            copies.append(text)
    return copies


def _select_of(table: exp.Expr) -> exp.Select | None:
    """The SELECT whose FROM names the relation directly."""
    parent = table.parent
    if isinstance(parent, exp.From | exp.Join) and isinstance(parent.parent, exp.Select):
        return parent.parent
    return None


def _is_kept_side(table: exp.Expr, select: exp.Select) -> bool:
    """Whether every row of the FROM's result holds a row of this relation, each as if it were joined alone.

    Right of LEFT, and left of RIGHT or FULL, NULLs stand in for rows: `x IS NULL` above the join keeps what below it
    was never there. Joins hang on the SELECT in order of the text; what hangs elsewhere is not looked at.
    """
    joins = list(select.args.get("joins") or []) + list(table.args.get("joins") or [])
    if table.args.get("joins") or select.args.get("laterals"):
        return False
    for join in joins:
        own = join.this is table
        plain = not join.args.get("method") and not join.args.get("side")
        if own and not (plain and join.args.get("kind") in (None, "", "INNER", "CROSS")):
            return False
        if join.args.get("side") in ("RIGHT", "FULL") or join.args.get("method") in ("POSITIONAL", "ASOF"):
            return False
    return True


class _Names:
    """Which column references of the WHERE are columns of this relation, shown as they are stored."""

    def __init__(self, reference: Reference, grant: Grant, select: exp.Select, others: Sequence[Reference]) -> None:
        self._relation: Relation = reference.relation
        alias = reference.node.args.get("alias")
        identifier = alias.this if alias is not None else None
        self._alias = fold(identifier.name) if isinstance(identifier, exp.Identifier) else fold(reference.alias)
        # Renamed columns (`orders AS o(a, b)`) are somebody else's names.
        self._usable = not (alias is not None and alias.args.get("columns"))
        changed = {fold(c) for c in (*grant.masks, *grant.denied)}
        self._columns = {
            fold(c.name): c.name
            for c in self._relation.columns
            if fold(c.name) not in changed and "ENUM(" not in c.type
        }
        self._alone = self._only_base_relations(select, others)
        aliases = {fold(item.alias) for item in select.expressions if isinstance(item, exp.Alias)}
        elsewhere = {
            fold(c.name)
            for other in others
            if other is not reference and _select_of(other.node) is select
            for c in other.relation.columns
        }
        self._ambiguous = aliases | elsewhere

    @staticmethod
    def _only_base_relations(select: exp.Select, others: Sequence[Reference]) -> bool:
        known = {id(other.node) for other in others if not _renamed(other)}
        items = [select.args["from_"].this, *(j.this for j in select.args.get("joins") or [])]
        return all(id(item) in known for item in items)

    def column(self, node: exp.Expr) -> str | None:
        """The column's text inside the guard, or None."""
        if not self._usable or not isinstance(node, exp.Column) or not isinstance(node.this, exp.Identifier):
            return None
        name = fold(node.this.name)
        if name not in self._columns or node.args.get("db") is not None:
            return None
        table = node.args.get("table")
        if table is None:
            if not self._alone or name in self._ambiguous:
                return None
        elif fold(table.name) != self._alias:
            return None
        return f"{quote(self._relation.name)}.{quote(self._columns[name])}"


def _renamed(reference: Reference) -> bool:
    alias = reference.node.args.get("alias")
    return alias is not None and bool(alias.args.get("columns"))


def _condition(node: exp.Expr, names: _Names) -> str | None:
    match node:
        case exp.EQ() | exp.NEQ() | exp.LT() | exp.LTE() | exp.GT() | exp.GTE():
            operator = _COMPARISONS[type(node)]
            column, literal = names.column(node.this), _literal(node.expression)
            if column is None:
                column, literal, operator = names.column(node.expression), _literal(node.this), _MIRRORED[operator]
            return f"{column} {operator} {literal}" if column and literal else None
        case exp.Between() if not node.args.get("symmetric"):
            column = names.column(node.this)
            low, high = _literal(node.args["low"]), _literal(node.args["high"])
            return f"{column} BETWEEN {low} AND {high}" if column and low and high else None
        case exp.In():
            items = node.args.get("expressions") or []
            extra = any(node.args.get(key) for key in ("query", "unnest", "field", "is_global"))
            column = names.column(node.this)
            if column is None or extra or not 0 < len(items) <= _MAX_ITEMS:
                return None
            literals = [_literal(item) for item in items]
            return f"{column} IN ({', '.join(filter(None, literals))})" if all(literals) else None
        case exp.Is(expression=exp.Null()):
            column = names.column(node.this)
            return f"{column} IS NULL" if column else None
        case exp.Not(this=exp.Is(expression=exp.Null()) as inner):
            column = names.column(inner.this)
            return f"{column} IS NOT NULL" if column else None
        case _:
            return None


def _literal(node: exp.Expr) -> str | None:
    match node:
        case exp.Literal(is_string=True):
            return "'" + str(node.this).replace("'", "''") + "'"
        case exp.Literal() if _NUMBER.fullmatch(str(node.this)):
            return str(node.this)
        case exp.Neg(this=exp.Literal(is_string=False) as inner) if _NUMBER.fullmatch(str(inner.this)):
            return f"-{inner.this}"
        case exp.Cast(this=exp.Literal(is_string=True) as inner) if _is_date_cast(node):
            return f"CAST({_literal(inner)} AS DATE)"
        case exp.Boolean():
            return "true" if node.this else "false"
        case _:
            return None


def _is_date_cast(node: exp.Expr) -> bool:
    # TRY_CAST is a Cast to sqlglot.
    return type(node) is exp.Cast and node.to.this == exp.DType.DATE
