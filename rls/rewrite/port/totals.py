"""The total of all rows beside groups (ROLLUP, CUBE, an empty GROUPING SET), for engines that show none of no rows.

Takes a query that has such a total; gives the query of that one row, which shows it where there are no rows, and
nothing elsewhere. Owns that its columns have the values that DuckDB's total of no rows has.
"""

from __future__ import annotations

from sqlglot import exp

from rls.rewrite.port.kinds import not_portable

__all__ = ["TOTAL", "has_total", "of_no_rows"]

TOTAL = "a total of all rows beside groups"


def has_total(node: exp.Select) -> bool:
    """Whether one of a query's groups is all rows: DuckDB shows it also where there are none."""
    group = node.args.get("group")
    keys = group.expressions if group is not None else []
    return bool(keys) and all(_is_total(one) for one in keys)


def of_no_rows(node: exp.Select) -> exp.Select:
    """The same items of aggregates over all rows, kept only where there is none. What they are grouped by is NULL,
    as the greatest of no values is, which has the same type. Raises `QueryRefused`."""
    group = node.args["group"]
    keys = [one for each in group.expressions for one in _keys(each)]
    left_out = ("group", "having", "qualify")
    found = exp.Select(**{key: _copied(value) for key, value in node.args.items() if key not in left_out})
    found.set("expressions", [_without_keys(one, keys) for one in node.expressions])
    if node.args.get("order") is not None:
        found.set("order", _without_keys(node.args["order"], keys))
    # One condition, which the query around asks for.
    kept: list[exp.Expr] = [exp.EQ(this=exp.Count(this=exp.Star(), big_int=True), expression=exp.Literal.number(0))]
    clauses = (node.args.get(key) for key in ("having", "qualify"))
    kept += [exp.paren(_without_keys(one.this, keys)) for one in clauses if one is not None]
    found.set("qualify", exp.Qualify(this=exp.and_(*kept, wrap=False)))
    return found


def _is_total(node: exp.Expr) -> bool:
    match node:
        case exp.Tuple():
            return not node.expressions
        case exp.GroupingSets():
            return any(_is_total(one) for one in node.expressions)
        case _:
            return isinstance(node, exp.Cube | exp.Rollup)


def _keys(node: exp.Expr) -> list[exp.Expr]:
    if isinstance(node, exp.Cube | exp.Rollup | exp.GroupingSets | exp.Tuple):
        return [one for each in node.expressions for one in _keys(each)]
    return [node.unnest()]


def _copied(value: object) -> object:
    if isinstance(value, list):
        return [_copied(one) for one in value]
    return value.copy() if isinstance(value, exp.Expr) else value


def _without_keys(node: exp.Expr, keys: list[exp.Expr]) -> exp.Expr:
    """An expression over groups as one over all rows."""
    match node:
        case exp.Query():
            raise not_portable(f"a sub-query beside {TOTAL}")
        case exp.Grouping():
            every = (1 << len(node.expressions)) - 1
            return exp.Cast(this=exp.Literal.number(every), to=exp.DataType.build("BIGINT"))
        case _ if node in keys:
            return exp.Max(this=node.copy())
        case exp.AggFunc() | exp.Filter() if not _is_windows(node):
            return node.copy()
    made = node.copy()
    for key, value in node.args.items():
        if isinstance(value, list):
            made.set(key, [_without_keys(one, keys) if isinstance(one, exp.Expr) else one for one in value])
        elif isinstance(value, exp.Expr):
            made.set(key, _without_keys(value, keys))
    return made


def _is_windows(node: exp.Expr) -> bool:
    """Whether a call, or its FILTER, is a window function's, which sees groups."""
    above = node.parent.parent if isinstance(node.parent, exp.Filter) else node.parent
    return isinstance(above, exp.Window)
