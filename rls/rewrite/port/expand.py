"""What sqlglot's `qualify` leaves in a tree: FROM-first joins, ALL clauses, named windows, aliases in sort keys.

Trees in, the same trees out, changed. Owns nothing: whoever changes a tree here has it judged by `normalise`.
"""

from __future__ import annotations

from sqlglot import exp

from rls.catalog import fold

__all__ = ["finish", "prepare"]

_USING = "rls_using"
_PUT = "_values"  # what the parser calls the rows around which it puts a SELECT


def prepare(tree: exp.Expr) -> exp.Expr:
    """Before names are resolved: joins stand where a SELECT has them, windows are written out."""
    for select in tree.find_all(exp.Select):
        clause = select.args.get("from_")
        first = clause.this if clause is not None else None
        # `FROM a JOIN b … SELECT …` hangs the joins on `a`.
        if isinstance(first, exp.Table | exp.Subquery) and first.args.get("joins"):
            select.set("joins", [*first.args["joins"], *(select.args.get("joins") or [])])
            first.set("joins", None)
        _write_windows(select)
        joins = [join for join in select.args.get("joins") or [] if join.args.get("using")]
        if not any(join.side.upper() in ("RIGHT", "FULL") for join in joins):
            select.meta[_USING] = {fold(name.name) for join in joins for name in join.args["using"]}
    return tree


def finish(tree: exp.Expr) -> exp.Expr:
    """After names are resolved: ALL clauses are written out, and sort keys that are expressions name no aliases."""
    for select in tree.find_all(exp.Select):
        for both in list(select.find_all(exp.Coalesce)):
            _take_left(both, select.meta.get(_USING) or set())
        group, order = select.args.get("group"), select.args.get("order")
        if group is not None and group.args.get("all"):
            items = [item.unalias() for item in select.expressions]
            keys = [item.copy() for item in items if item.find(exp.AggFunc) is None and item.find(exp.Column)]
            select.set("group", exp.Group(expressions=keys) if keys else None)
        if order is not None:
            _write_order(select, order)
    for table in tree.find_all(exp.CTE):
        _take_rows(table)
    return tree


def _write_windows(select: exp.Select) -> None:
    """`sum(x) OVER w … WINDOW w AS (…)` with the window in its place."""
    named = {fold(one.name): one for one in select.args.get("windows") or []}
    if not named or any(one.args.get("alias") for one in named.values()):
        return
    for window in list(select.find_all(exp.Window)):
        name = window.args.get("alias")
        meant = named.get(fold(name.name)) if isinstance(name, exp.Identifier) else None
        if meant is None or window.find_ancestor(exp.Select) is not select or window.args.get("partition_by"):
            continue
        for key in ("partition_by", "order", "spec"):
            value = meant.args.get(key)
            window.set(key, [one.copy() for one in value] if isinstance(value, list) else value and value.copy())
        window.set("alias", None)
    select.set("windows", None)


def _take_left(both: exp.Coalesce, names: set[str]) -> None:
    """A column that a JOIN shares by USING is its left side's, unless that side may be missing."""
    parts = [both.this, *both.expressions]
    if len(parts) == 2 and all(isinstance(one, exp.Column) and fold(one.name) in names for one in parts):
        both.replace(parts[0])


def _take_rows(table: exp.CTE) -> None:
    """`WITH v(a) AS (VALUES …)` without the SELECT that was put around its rows."""
    made, alias = table.this, table.args["alias"]
    clause = made.args.get("from_")
    rows = clause.this if isinstance(made, exp.Select) and clause is not None else None
    said = {key for key, value in made.args.items() if value}
    # A caller's own `SELECT * FROM (VALUES …) t` stays.
    if not isinstance(rows, exp.Values) or said != {"expressions", "from_"} or rows.alias != _PUT:
        return
    items = made.expressions
    listed = [fold(one.name) for one in rows.args["alias"].args.get("columns") or []]
    shown = [fold(item.unalias().name) if isinstance(item.unalias(), exp.Column) else "" for item in items]
    if listed and shown == listed:
        alias.set("columns", [exp.to_identifier(item.alias_or_name, quoted=True) for item in items])
        table.set("this", exp.Values(expressions=rows.expressions))


def _write_order(select: exp.Select, order: exp.Expr) -> None:
    items = {fold(item.alias): item.unalias() for item in select.expressions if item.alias}
    keys = []
    for key in order.expressions:
        if isinstance(key, exp.Ordered) and isinstance(key.this, exp.Var) and key.this.name.upper() == "ALL":
            for item in select.expressions:
                every = key.copy()
                every.set("this", exp.column(exp.to_identifier(item.alias, quoted=True)))
                keys.append(every)
            continue
        if isinstance(key, exp.Ordered) and not isinstance(key.this, exp.Column):
            for column in list(key.find_all(exp.Column)):
                if column.args.get("table") is None and fold(column.name) in items:
                    column.replace(exp.paren(items[fold(column.name)].copy()))
        keys.append(key)
    order.set("expressions", keys)
