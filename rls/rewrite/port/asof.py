"""ASOF joins, written out: each row on the right says where the next key begins, and an ordinary join looks between.

Takes a join whose right side is in sight, gives the JOIN clause. Owns that each row on the left meets one row at most,
which is that of the nearest key; of equal keys, any.
"""

from __future__ import annotations

from typing import Final

from sqlglot import exp

from rls.catalog import fold
from rls.rewrite.port.comparisons import ordered
from rls.rewrite.port.expressions import condition, expression
from rls.rewrite.port.kinds import INTEGERS, Lowered, not_portable
from rls.rewrite.port.nodes import only
from rls.rewrite.port.ordering import sort_key
from rls.rewrite.port.scopes import Context, Scope

__all__ = ["asof_join"]

# How a row on the left compares with the next key, by how it compares with the key.
_BEFORE_NEXT: Final[dict[type[exp.Expr], str]] = {exp.GTE: "<", exp.GT: "<=", exp.LTE: ">", exp.LT: ">="}
_FLIPPED: Final[dict[type[exp.Expr], type[exp.Expr]]] = {
    exp.GTE: exp.LTE, exp.GT: exp.LT, exp.LTE: exp.GTE, exp.LT: exp.GT,
}  # fmt: skip
# Of one kind each, or of several that are widened into each other without two values becoming one.
_KEYS: Final = ({*INTEGERS, "DECIMAL"}, {"DATE", "TIMESTAMP"}, {"DOUBLE"}, {"VARCHAR"})


def asof_join(join: exp.Join, source: str, scope: Scope, context: Context) -> str:
    """The clause; `source` is the join's right side in FROM. Raises `QueryRefused`."""
    only(join, "this", "side", "kind", "on", "method")
    side, on, sql = str(join.args.get("side") or "").upper(), join.args.get("on"), context.sql
    if side not in ("", "LEFT") or str(join.args.get("kind") or "").upper() not in ("", "INNER", "OUTER") or on is None:
        raise not_portable("an ASOF JOIN like this", hint="give its conditions with ON")
    name = join.this.alias_or_name
    parts = list(on.flatten()) if isinstance(on, exp.And) else [on]
    bounds = [one for one in parts if type(one) in _BEFORE_NEXT]
    if len(bounds) != 1 or any(type(one) not in (*_BEFORE_NEXT, exp.EQ) for one in parts):
        raise not_portable("an ASOF JOIN like this", hint="compare one pair of columns by >=, >, <= or <, others by =")
    way = type(bounds[0])
    ours, theirs = _sides(bounds[0], name)
    if theirs is bounds[0].this:
        way = _FLIPPED[way]
    left, key = expression(ours, scope, context), expression(theirs, scope, context)
    if not any({left.kind, key.kind} <= kinds for kinds in _KEYS):
        raise not_portable("an ASOF JOIN by these types", hint="compare numbers or times of one type")
    groups = [_group(one, name, scope, context) for one in parts if isinstance(one, exp.EQ)]
    shown = [sql.name_of(one.name) for one in scope.sources[fold(name)]]
    place = sql.name_of(fold(name))
    after = sql.name_of(_unused("rls_next", {one.name for one in scope.sources[fold(name)]}))
    within = f"PARTITION BY {', '.join(groups)} " if groups else ""
    direction = "ASC" if way in (exp.GTE, exp.GT) else "DESC"
    window = f" OVER ({within}ORDER BY {sort_key(key, sql)} {direction})"
    listed = ", ".join(f"{place}.{one} AS {one}" for one in shown)
    rows = (
        f"SELECT {listed}, {sql.write('lead', key.kind, key.text, window)} AS {after} FROM {source} "
        f"WHERE ({key.text} IS NOT NULL)"
    )
    reached = Lowered(f"{place}.{after}", key.kind, plain=True)
    sign = _BEFORE_NEXT[way]
    first, last = ordered([left, reached], sign, sql)
    between = f"(({reached.text} IS NULL) OR ({first.text} {sign} {last.text}))"
    word = "LEFT JOIN" if side else "JOIN"
    return f" {word} ({rows}) AS {place} ON ({condition(on, scope, context)} AND {between})"


def _sides(comparison: exp.Expr, name: str) -> tuple[exp.Expr, exp.Expr]:
    """What a comparison says of the rows around, and of those on the right."""
    both = comparison.this, comparison.expression
    tables = [{fold(column.table) for column in one.find_all(exp.Column)} for one in both]
    for here, there in ((0, 1), (1, 0)):
        if tables[there] == {fold(name)} and fold(name) not in tables[here] and not both[there].find(exp.Query):
            return both[here], both[there]
    raise not_portable("an ASOF JOIN like this", hint="compare a column of each side")


def _group(comparison: exp.Expr, name: str, scope: Scope, context: Context) -> str:
    ours, theirs = (expression(one, scope, context) for one in _sides(comparison, name))
    if ours.kind != theirs.kind or theirs.kind in ("FLOAT", "DOUBLE", "ENUM"):
        raise not_portable("an ASOF JOIN by these types", hint="compare columns of one type")
    return theirs.text


def _unused(name: str, names: set[str]) -> str:
    taken = {one.upper().lower() for one in names}
    while name in taken:
        name += "_"
    return name
