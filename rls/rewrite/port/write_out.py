"""What only DuckDB can say, in words that every engine has: NATURAL joins, COLUMNS, filtered stars, PIVOT with a list.

Trees in, the same trees out, changed; DuckDB is asked which columns are meant. Owns nothing: who changes a tree has it
judged by `normalise`, and what cannot be written out is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

from sqlglot import exp

from rls.catalog import fold

__all__ = ["write_out"]

Describe = Callable[[str], list[str] | None]
"""The names of a query's columns, or None where it does not bind."""

_FILTERS = (exp.Like, exp.ILike, exp.Glob, exp.SimilarTo, exp.RegexpLike, exp.RegexpFullMatch)


def write_out(tree: exp.Expr, describe: Describe) -> exp.Expr:
    """The tree with plain joins, lists of columns and groups."""
    # What is inside comes first: what is around asks for its columns.
    for node in reversed(list(tree.find_all(exp.Select, exp.Pivot))):
        if isinstance(node, exp.Select):
            for join in node.args.get("joins") or []:
                _write_natural(node, join, describe)
            _write_columns(node, describe)
        elif not node.args.get("unpivot"):
            tree = _write_pivot(node, tree, describe)
        elif node.arg_key != "pivots":
            tree = _write_unpivot(node, tree, describe)
    return tree


def _write_natural(select: exp.Select, join: exp.Join, describe: Describe) -> None:
    """`a NATURAL JOIN b` as `a JOIN b USING (…)`: the names that both have."""
    if str(join.args.get("method") or "").upper() != "NATURAL":
        return
    joins = select.args["joins"]
    left = exp.Select(
        expressions=[exp.Star()],
        from_=select.args["from_"].copy(),
        joins=[one.copy() for one in joins[: joins.index(join)]],
    )
    ours, theirs = (describe(_in_sight(select) + one.sql("duckdb")) for one in (left, _all_of(join.this)))
    if ours is None or theirs is None:
        return
    known = {fold(name) for name in theirs}
    join.set("method", None)
    join.set("using", [exp.to_identifier(name, quoted=True) for name in dict.fromkeys(ours) if fold(name) in known])


def _write_columns(select: exp.Select, describe: Describe) -> None:
    items: list[exp.Expr] = []
    for item in select.expressions:
        items += _listed(select, item, describe) or [item]
    select.set("expressions", items)
    where = select.args.get("where")
    if where is None or (found := _own_columns(select, where)) is None:
        return
    every = _columns(select, found, describe)
    if every is not None and not found.args.get("unpack"):
        select.set("where", exp.Where(this=exp.and_(*(_with_column(where.this, one) for one in every), wrap=False)))
    elif every is not None:
        select.set("where", exp.Where(this=_unpacked(where.this, every)))


def _listed(select: exp.Select, item: exp.Expr, describe: Describe) -> list[exp.Expr] | None:
    """An item as one item for each column that it means; None for any other item."""
    if _is_filter(item):
        return [one.copy() for one in _columns(select, item, describe) or []] or None
    found = _own_columns(select, item)
    every = None if found is None else _columns(select, found, describe)
    if found is None or every is None:
        return None
    if found.args.get("unpack"):
        return [_unpacked(item, every)]
    if item is found:
        return [one.copy() for one in every]
    names = _names(select, item, describe)
    if names is None or len(names) != len(every):
        return None
    return [
        exp.alias_(_with_column(item.unalias(), column), name, quoted=True)
        for column, name in zip(every, names, strict=True)
    ]


def _is_filter(item: exp.Expr) -> bool:
    inner = item.this if isinstance(item, exp.Not) else item
    return isinstance(inner, _FILTERS) and inner.this.is_star


def _own_columns(select: exp.Select, node: exp.Expr) -> exp.Columns | None:
    """The COLUMNS of an expression: all of them the same, as DuckDB wants it, and none of a sub-query."""
    found = list(node.find_all(exp.Columns))
    if not found or any(one != found[0] or one.find_ancestor(exp.Select) is not select for one in found):
        return None
    return found[0]


def _columns(select: exp.Select, meant: exp.Expr, describe: Describe) -> list[exp.Column] | None:
    """What a filtered star or COLUMNS stands for, in its order."""
    asked = meant.copy()
    if isinstance(asked, exp.Columns):
        asked.set("unpack", None)
    names = _names(select, asked, describe)
    if not names:
        return None
    star = next((one for one in asked.find_all(exp.Column) if one.is_star), None)
    if star is not None and star.args.get("table") is not None:
        return [_column(name, star.args["table"].name) for name in names]
    if len({fold(name) for name in names}) == len(names):
        return [_column(name) for name in names]
    return _of_sources(select, names, describe)


def _of_sources(select: exp.Select, names: list[str], describe: Describe) -> list[exp.Column] | None:
    """Columns of which several have one name: the first is of the first source that has it, and so on."""
    sources = [select.args["from_"].this, *(join.this for join in select.args.get("joins") or [])]
    having: dict[str, list[str]] = {}
    for source in sources:
        alias = source.alias_or_name
        for name in _names(select, _column_star(alias), describe) or []:
            having.setdefault(fold(name), []).append(alias)
    found = []
    for name in names:
        if not having.get(fold(name)):
            return None
        found.append(_column(name, having[fold(name)].pop(0)))
    return found


def _column(name: str, table: str = "") -> exp.Column:
    quoted = exp.to_identifier(table, quoted=True) if table else None
    return exp.Column(this=exp.to_identifier(name, quoted=True), table=quoted)


def _column_star(table: str) -> exp.Column:
    return exp.Column(this=exp.Star(), table=exp.to_identifier(table, quoted=True))


def _with_column(node: exp.Expr, column: exp.Column) -> exp.Expr:
    """An expression with a column where it says COLUMNS."""
    return node.copy().transform(lambda one: column.copy() if isinstance(one, exp.Columns) else one)


def _unpacked(node: exp.Expr, columns: list[exp.Column]) -> exp.Expr:
    """An expression in which a call has all columns as arguments: `coalesce(*COLUMNS(…))`."""
    made = node.copy()
    for found in list(made.find_all(exp.Columns)):
        call, key = found.parent, found.arg_key
        if call is None or key not in ("this", "expressions"):
            continue
        every: list[exp.Expr] = [one.copy() for one in columns]
        rest = [one for one in call.expressions if one is not found]
        if key == "this":
            call.set("this", every.pop(0))
            call.set("expressions", every + rest)
        elif found.index == 0:
            call.set("expressions", every + rest)
    return made


def _names(select: exp.Select, item: exp.Expr, describe: Describe) -> list[str] | None:
    """The names under which DuckDB shows an item of a query's rows."""
    source = select.args.get("from_")
    if source is None:
        return None
    joins = [one.copy() for one in select.args.get("joins") or []]
    asked = exp.Select(expressions=[item.copy()], from_=source.copy(), joins=joins)
    return describe(_in_sight(select) + asked.sql("duckdb"))


def _all_of(source: exp.Expr) -> exp.Select:
    return exp.Select(expressions=[exp.Star()], from_=exp.From(this=source.copy()))


def _in_sight(node: exp.Expr) -> str:
    """The common table expressions that a query may name, as a WITH clause before it."""
    found: list[exp.Expr] = []
    recursive = False
    below, above = node, node.parent
    own = node.args.get("with_")
    if own is not None:
        found, recursive = list(own.expressions), bool(own.args.get("recursive"))
    while above is not None:
        if isinstance(above, exp.With):
            found = [*above.expressions[: above.expressions.index(below)], *found]
            # Its own query sees no more than that.
            above = above.parent
        elif (with_ := above.args.get("with_")) is not None:
            found = [*with_.expressions, *found]
            recursive = recursive or bool(with_.args.get("recursive"))
        below, above = above, above.parent if above is not None else None
    if not found:
        return ""
    return f"WITH {'RECURSIVE ' if recursive else ''}{', '.join(one.sql('duckdb') for one in found)} "


def _write_pivot(pivot: exp.Pivot, tree: exp.Expr, describe: Describe) -> exp.Expr:
    """`PIVOT … ON status IN ('open', 'paid') USING sum(amount)` as a query of sums with a FILTER each."""
    holder = pivot.parent
    stands_behind = pivot.arg_key == "pivots" and isinstance(holder, exp.Table | exp.Subquery)
    if stands_behind and (holder is None or len(holder.args["pivots"]) > 1):
        return tree
    if stands_behind and holder is not None:
        source = holder.copy()
        source.set("pivots", None)
        source.set("joins", None)
        shown = holder.copy()
        shown.set("joins", None)
        alias = pivot.args.get("alias") or holder.args.get("alias")
        if pivot.args.get("alias") is None:
            source.set("alias", None)
        values, using = pivot.args.get("fields") or [], list(pivot.expressions)
        before = describe(_in_sight(holder) + _all_of(shown).sql("duckdb"))
    else:
        source, alias = pivot.this.copy(), None
        values, using = list(pivot.expressions), list(pivot.args.get("using") or [])
        before = describe(_in_sight(pivot) + f"SELECT * FROM ({pivot.sql('duckdb')})")
    groups = _groups(pivot, source, [*values, *using], describe)
    if before is None or groups is None or not all(isinstance(one, exp.In) and one.expressions for one in values):
        return tree
    items: list[exp.Expr] = [one.copy() for one in groups]
    sums: list[exp.Expr] = using or [exp.Count(this=exp.Star(), big_int=True)]
    for chosen in product(*(one.expressions for one in values)):
        tests = [
            exp.NullSafeEQ(this=on.this.copy(), expression=value.unalias().copy())
            for on, value in zip(values, chosen, strict=True)
        ]
        kept = exp.Where(this=exp.and_(*tests, wrap=False))
        items += [exp.Filter(this=one.unalias().copy(), expression=kept.copy()) for one in sums]
    if len(items) != len(before):
        return tree
    made = exp.Select(
        expressions=[exp.alias_(one, name, quoted=True) for one, name in zip(items, before, strict=True)],
        from_=exp.From(this=source),
        group=exp.Group(expressions=[one.copy() for one in groups]) if groups else None,
    )
    named = exp.TableAlias(this=exp.to_identifier("pivoted", quoted=True))
    if stands_behind and holder is not None:
        joins = holder.args.get("joins")
        holder.replace(exp.Subquery(this=made, alias=alias or named, joins=joins))
        return tree
    made = _all_of(exp.Subquery(this=made, alias=named))
    if pivot is tree:
        made.set("with_", pivot.args.get("with_"))
        return made
    pivot.replace(made)
    return tree


def _write_unpivot(pivot: exp.Pivot, tree: exp.Expr, describe: Describe) -> exp.Expr:
    """`UNPIVOT t ON a, b INTO NAME k VALUE v` as `SELECT * FROM t UNPIVOT (v FOR k IN (a, b))`."""
    into, columns = pivot.args.get("into"), list[exp.Expr]()
    names = [exp.to_identifier(one, quoted=True) for one in ("name", "value")]
    if into is not None:
        if len(into.expressions) != 1:
            return tree
        names = [exp.to_identifier(one.name, quoted=True) for one in (into.this, *into.expressions)]
    select = exp.Select(expressions=[exp.Star()], from_=exp.From(this=pivot.this.copy()))
    select.parent = pivot.parent
    for one in pivot.expressions:
        columns += (
            _columns(select, one, describe) or [] if isinstance(one, exp.Columns) or one.is_star else [one.copy()]
        )
    source = pivot.this.copy()
    source.set(
        "pivots",
        [
            exp.Pivot(
                expressions=[names[1]],
                fields=[exp.In(this=names[0], expressions=columns)],
                unpivot=True,
                include_nulls=pivot.args.get("include_nulls"),
            )
        ],
    )
    made = exp.Select(expressions=[exp.Star()], from_=exp.From(this=source))
    if pivot is tree:
        made.set("with_", pivot.args.get("with_"))
        return made
    pivot.replace(made)
    return tree


def _groups(pivot: exp.Pivot, source: exp.Expr, used: list[exp.Expr], describe: Describe) -> list[exp.Expr] | None:
    """What a PIVOT groups by: what it says, or all columns that it does not use."""
    group = pivot.args.get("group")
    if group is not None:
        return list(group.expressions)
    names = describe(_in_sight(pivot) + _all_of(source).sql("duckdb"))
    if names is None:
        return None
    mentioned = {fold(column.name) for one in used for column in one.find_all(exp.Column)}
    return [_column(name) for name in names if fold(name) not in mentioned]
