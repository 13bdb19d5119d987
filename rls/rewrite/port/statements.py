"""A qualified tree of a DuckDB query → another engine's SQL; closed world over clauses.

Takes what `normalise` gives; returns the text and its columns. Owns that every clause of a query is written, or the
query refused by the clause's name; base relations are written where the tree has them, and `check` judges them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlglot import exp

from rls.catalog import fold
from rls.rewrite.port.expressions import condition, expression, is_aggregated, only, whole_number
from rls.rewrite.port.kinds import INTEGERS, Lowered, common, kind_of, not_portable
from rls.rewrite.port.ordering import ordering, sort_key
from rls.rewrite.port.scopes import Column, Columns, Context, Scope

__all__ = ["lower_query"]

_SELECT = (
    "with_", "expressions", "from_", "joins", "where", "group", "having", "qualify", "distinct", "order", "limit",
    "offset",
)  # fmt: skip
_SET_OPERATION = ("with_", "this", "expression", "distinct", "by_name", "order", "limit", "offset")
# A join in parentheses hangs on its first relation; `_source` writes it.
_INSIDE = ("joins",)
_TOTAL = "a total of all rows beside groups"
_SIDES = {"": "", "LEFT": "LEFT ", "RIGHT": "RIGHT ", "FULL": "FULL "}


def lower_query(
    node: exp.Expr, scope: Scope | None, context: Context, want: list[str] | None = None
) -> tuple[str, Columns]:
    """A query inside `scope`; `want` are the kinds that its columns must have. Raises `QueryRefused`."""
    with context.sql.evaluated(late=False):
        return _lower(node, Scope(scope), context, want)


def _lower(node: exp.Expr, inner: Scope, context: Context, want: list[str] | None) -> tuple[str, Columns]:
    match node:
        case exp.Subquery():
            only(node, "this", "with_")
            with_ = _with(node, inner, context)
            text, columns = lower_query(node.this, inner, context, want)
            return (f"{with_}({text})" if with_ else text), columns
        case exp.Select():
            only(node, *_SELECT)
            return _select(node, inner, context, want)
        case exp.Union() | exp.Intersect() | exp.Except():
            only(node, *_SET_OPERATION)
            return _set_operation(node, inner, context, want)
        case exp.Values():
            only(node, "expressions")
            return _values(node, inner, context, want)
        case _:
            raise not_portable(node.key.upper())


def _with(node: exp.Expr, scope: Scope, context: Context) -> str:
    with_ = node.args.get("with_")
    if with_ is None:
        return ""
    only(with_, "expressions", "recursive")
    parts = []
    for cte in with_.expressions:
        only(cte, "this", "alias", "materialized")
        alias = cte.args["alias"]
        name, renamed = alias.this.name, [one.name for one in alias.args.get("columns") or []]
        recursive = bool(with_.args.get("recursive")) and isinstance(cte.this, exp.Union)
        if recursive:
            text, columns = _recursive(cte.this, name, renamed, scope, context)
        else:
            text, columns = lower_query(cte.this, scope, context)
        scope.tables[fold(name)] = _renamed(columns, renamed)
        listed = ", ".join(context.sql.name_of(one.name) for one in scope.tables[fold(name)])
        parts.append(f"{context.sql.name_of(fold(name))}({listed}) AS ({text})")
    return f"WITH {'RECURSIVE ' if with_.args.get('recursive') else ''}{', '.join(parts)} "


def _recursive(union: exp.Union, name: str, renamed: list[str], scope: Scope, context: Context) -> tuple[str, Columns]:
    """The anchor's types are those of the whole, in both engines."""
    only(union, "this", "expression", "distinct")
    word = "UNION" if union.args.get("distinct") else "UNION ALL"
    context.sql.demand(f"WITH RECURSIVE by {word}")
    text, columns = lower_query(union.this, scope, context)
    inside = Scope(scope)
    inside.tables[fold(name)] = _renamed(columns, renamed)
    rest, _ = lower_query(union.expression, inside, context, [one.kind for one in columns])
    return f"({text}) {word} ({rest})", columns


def _renamed(columns: Columns, names: list[str]) -> Columns:
    if len(names) > len(columns):
        raise not_portable("more names than columns")
    named = [*names, *(one.name for one in columns[len(names) :])]
    return tuple(Column(fold(name), one.kind) for name, one in zip(named, columns, strict=True))


def _select(node: exp.Select, scope: Scope, context: Context, want: list[str] | None) -> tuple[str, Columns]:
    with_ = _with(node, scope, context)
    kept: list[str] = []
    tail = _from(node, scope, context, kept)
    if node.args.get("where") is not None:
        kept.append(condition(node.args["where"].this, scope, context))
    if kept:
        tail += f" WHERE {' AND '.join(kept)}"
    tail += _group(node, scope, context)
    if node.args.get("having") is not None:
        tail += f" HAVING {condition(node.args['having'].this, scope, context)}"
    with context.sql.evaluated(late=is_aggregated(node)):
        items, columns = _items(node, scope, context, want)
    distinct = node.args.get("distinct")
    on = None if distinct is None else distinct.args.get("on")
    order = _order(node, scope, context, [one.text for one in items], columns, free=distinct is None or on is not None)
    word = "SELECT"
    if distinct is not None:
        only(distinct, "on")
        word = "SELECT DISTINCT" if on is None else _distinct_on(node, on, order, context)
    names = [context.sql.name_of(one.name) for one in columns]
    listed = ", ".join(f"{one.text} AS {name}" for one, name in zip(items, names, strict=True))
    if node.args.get("qualify") is None:
        return _fenced(
            node, f"{with_}{word} {listed}{tail}{order.text}{_limit(node, scope, context)}", context
        ), columns
    # The window's condition becomes a column of a sub-query, and is none of the result.
    keep = condition(node.args["qualify"].this, scope, context)
    shown = [f"{one.text} AS c{i}" for i, one in enumerate(items)]
    keys = [f"{key} AS o{i}" for i, key in enumerate(order.keys)]
    source = f"SELECT {', '.join([*shown, *keys, f'{keep} AS kept'])}{tail}"
    outer = ", ".join(f"q.c{i} AS {name}" for i, name in enumerate(names))
    return (
        f"{with_}{word} {outer} FROM ({source}) AS q WHERE q.kept{order.outside}{_limit(node, scope, context)}",
        columns,
    )


def _distinct_on(node: exp.Select, on: exp.Expr, order: _Order, context: Context) -> str:
    """The first row of each group, as the query's own order has it: without one, any row would be right."""
    keys = [order.key(one) for one in on.expressions]
    if not keys or set(order.keys_first[: len(keys)]) != set(keys) or node.args.get("qualify") is not None:
        raise not_portable("DISTINCT ON without ORDER BY the same", hint="order by these expressions first")
    return context.sql.write("distinct on", "", ", ".join(keys))


class _Order:
    """An ORDER BY clause: `text` beside the items; `keys` and `outside` where the items stand in a sub-query `q`.
    `key` gives an expression as it would be one of `keys_first`, the keys of `text`."""

    def __init__(self) -> None:
        self.text = self.outside = ""
        self.keys: list[str] = []
        self.keys_first: list[str] = []
        self.key: Callable[[exp.Expr], str] = str


def _order(
    node: exp.Expr, scope: Scope | None, context: Context, items: list[str], columns: Columns, *, free: bool
) -> _Order:
    """`free`: keys may be other expressions than the columns of the result."""
    found = _Order()
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
            return Lowered(f"q.c{number}", _settled(columns[number].kind))
        if not free:
            raise not_portable("ORDER BY what is not shown")
        found.keys.append(lowered.text)
        return Lowered(f"q.o{len(found.keys) - 1}", lowered.kind)

    found.key = lambda one: sort_key(inside(one), context.sql)
    found.text = " " + ordering(clause, inside, context.sql)
    if free:
        found.keys_first = [found.key(one.this) for one in clause.expressions]
    if node.args.get("qualify") is not None:
        found.outside = " " + ordering(clause, outside, context.sql)
    return found


def _settled(kind: str) -> str:
    return "shown" if kind == "VARCHAR" else kind


def _items(node: exp.Select, scope: Scope, context: Context, want: list[str] | None) -> tuple[list[Lowered], Columns]:
    items: list[Lowered] = []
    columns: list[Column] = []
    sql = context.sql
    for number, item in enumerate(node.expressions):
        if isinstance(item, exp.Star) or item.is_star:
            raise not_portable("a star that could not be written out", hint="list the columns")
        inner = item.unalias()
        if isinstance(inner, exp.Column) and inner.args.get("table") is not None:
            # Also of a type that no expression may use.
            value = scope.column(inner.args["table"].name, inner.name, sql)
        else:
            value = expression(item, scope, context)
        if want is not None:
            if len(want) != len(node.expressions):
                raise not_portable("a set operation of different widths")
            value = sql.convert(value, want[number])
        if value.kind not in sql.types and (node.args.get("distinct") or not isinstance(inner, exp.Column | exp.Null)):
            raise not_portable(f"a column of type {value.kind}")
        text = value.text if value.kind != "VARCHAR" or value.plain else sql.ordered(value.text)
        items.append(Lowered(text, value.kind))
        columns.append(Column(item.alias_or_name or f"?column{number}?", value.kind))
    return items, tuple(columns)


def _from(node: exp.Select, scope: Scope, context: Context, kept: list[str]) -> str:
    """The FROM clause; what semi- and anti-joins keep is added to `kept`, the conditions of WHERE."""
    clause = node.args.get("from_")
    if clause is None:
        if node.args.get("joins"):
            raise not_portable("a join without FROM")
        return ""
    only(clause, "this")
    return f" FROM {_source(clause.this, scope, context)}{_joins(node, scope, context, kept)}"


def _joins(node: exp.Expr, scope: Scope, context: Context, kept: list[str] | None) -> str:
    """Joins; `kept` is None where there is no WHERE for them."""
    text = ""
    for join in node.args.get("joins") or []:
        only(join, "this", "side", "kind", "on")
        side, kind = str(join.args.get("side") or "").upper(), str(join.args.get("kind") or "").upper()
        source, on = _source(join.this, scope, context), join.args.get("on")
        if kind in ("SEMI", "ANTI") and side in ("", "LEFT") and kept is not None and on is not None:
            word = "NOT EXISTS" if kind == "ANTI" else "EXISTS"
            kept.append(f"({word} (SELECT 1 FROM {source} WHERE {condition(on, scope, context)}))")
            continue
        if kept and side in ("RIGHT", "FULL"):
            raise not_portable(f"{side} JOIN after a SEMI or ANTI JOIN", hint="use EXISTS")
        if side not in _SIDES or kind not in ("", "INNER", "OUTER", "CROSS"):
            raise not_portable(f"{side} {kind} JOIN".strip().replace("  ", " "), hint="use EXISTS or another join")
        if on is not None and kind != "CROSS":
            text += f" {_SIDES[side]}JOIN {source} ON {condition(on, scope, context)}"
        elif not side and kind == "CROSS":
            text += f" CROSS JOIN {source}"
        elif not side and not kind:
            text += f", {source}"
        else:
            raise not_portable("a join without a condition")
    return text


def _source(node: exp.Expr, scope: Scope, context: Context) -> str:
    alias = node.args.get("alias")
    name = alias.this.name if alias is not None and alias.this is not None else ""
    renamed = [one.name for one in alias.args.get("columns") or []] if alias is not None else []
    match node:
        case exp.Subquery() if isinstance(node.this, exp.Table | exp.Subquery) and not name:
            # A join in parentheses.
            only(node, "this")
            first, joins = _source(node.this, scope, context), _joins(node.this, scope, context, None)
            return f"({first}{joins})" if joins else first
        case exp.Table():
            only(node, "this", "db", "catalog", "alias", *_INSIDE)
            if not isinstance(node.this, exp.Identifier):
                raise not_portable("a table function", hint="list rows with VALUES")
            name = name or node.name
            if node.args.get("db") is not None:
                if renamed:
                    raise not_portable("names for a relation's columns")
                text, columns = _base(node, context)
            else:
                found = scope.table(node.name)
                if found is None:
                    raise not_portable(f"the relation `{node.name}`")
                text, columns = context.sql.name_of(fold(node.name)), found
        case exp.Subquery() | exp.Values():
            if isinstance(node, exp.Subquery):
                only(node, "this", "alias", *_INSIDE)
            else:
                only(node, "expressions", "alias")
            if not name:
                raise not_portable("a sub-query without a name", hint="give it an alias")
            query = node.this if isinstance(node, exp.Subquery) else exp.Values(expressions=node.expressions)
            # Not a LATERAL one: it sees what is around the query, not its neighbours.
            inner, columns = lower_query(query, _around(scope), context)
            text = f"({inner})"
        case exp.Lateral() if isinstance(node.this, exp.Subquery) and name:
            only(node, "this", "alias", "view", "outer")
            inner, columns = lower_query(node.this.this, scope, context)
            text = context.sql.write("lateral", "", inner)
        case _:
            raise not_portable(f"{node.key.upper()} in FROM")
    if renamed:
        columns = _renamed(columns, renamed)
        scope.add(name, columns)
        listed = ", ".join(context.sql.name_of(one.name) for one in columns)
        return f"{text} AS {context.sql.name_of(fold(name))}({listed})"
    scope.add(name, columns)
    return f"{text} AS {context.sql.name_of(fold(name))}"


def _around(scope: Scope) -> Scope:
    """The scope without its own sources."""
    return Scope(scope.outer, {}, scope.tables)


def _base(node: exp.Table, context: Context) -> tuple[str, Columns]:
    catalog = context.catalog
    path = [part.name for key in ("catalog", "db", "this") if (part := node.args.get(key)) is not None]
    relation = catalog.relations.get(tuple(fold(part) for part in path[1:]))
    if fold(path[0]) != fold(catalog.attached) or relation is None or relation.kind != "table":
        raise not_portable(f"the relation `{node.name}`")
    source = context.sql.source(relation, catalog)
    if source is None:
        raise not_portable(f"the relation `{node.name}`")
    columns = tuple(Column(one.name, kind_of(one.type) or one.type, stored=True) for one in relation.columns)
    return source, columns


def _group(node: exp.Select, scope: Scope, context: Context) -> str:
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


def _limit(node: exp.Expr, scope: Scope, context: Context) -> str:
    text = ""
    for key, word in (("limit", "LIMIT"), ("offset", "OFFSET")):
        clause = node.args.get(key)
        if clause is None:
            continue
        only(clause, "expression")
        if not _is_fence(node):
            text += f" {word} {_count(clause.expression, word, scope, context)}"
    return text


def _is_fence(node: exp.Expr) -> bool:
    """Whether a query has OFFSET 0 over a stored relation, as only guards have."""
    offset, clause = node.args.get("offset"), node.args.get("from_")
    if offset is None or clause is None or node.args.get("limit") is not None:
        return False
    stored = isinstance(clause.this, exp.Table) and clause.this.args.get("db") is not None
    return stored and offset.expression == exp.Literal.number(0)


def _fenced(node: exp.Expr, text: str, context: Context) -> str:
    return context.sql.fenced(text) if context.fences and _is_fence(node) else text


def _count(node: Any, word: str, scope: Scope, context: Context) -> str:
    if isinstance(node, exp.Subquery):
        text, columns = context.query(node.this, _around(scope))
        if len(columns) != 1 or columns[0].kind not in INTEGERS[:3]:
            raise not_portable(f"{word} of what is no whole number")
        return context.sql.write("limit query", "", text)
    if isinstance(node, exp.Cast) and isinstance(node.this, exp.Placeholder):
        return context.sql.least_of(context.sql.convert(expression(node, Scope(), context), "BIGINT").text)
    return str(whole_number(node, f"{word} of what is no whole number"))


def _set_operation(
    node: exp.SetOperation, scope: Scope, context: Context, want: list[str] | None
) -> tuple[str, Columns]:
    with_ = _with(node, scope, context)
    if node.args.get("by_name"):
        return _by_name(node, scope, context, with_)
    left, columns = lower_query(node.this, scope, context, want)
    right, others = lower_query(node.expression, scope, context, want)
    if len(columns) != len(others):
        raise not_portable("a set operation of different widths")
    kinds = [common((a.kind, b.kind)) for a, b in zip(columns, others, strict=True)]
    if not all(kind in context.sql.types and kind != "INTERVAL" for kind in kinds):
        raise not_portable("a set operation over these types", hint="cast columns to the same types")
    if [one.kind for one in columns] != kinds or [one.kind for one in others] != kinds:
        agreed = [kind or "" for kind in kinds]
        left, columns = lower_query(node.this, scope, context, agreed)
        right, _ = lower_query(node.expression, scope, context, agreed)
    word = {exp.Union: "UNION", exp.Intersect: "INTERSECT", exp.Except: "EXCEPT"}[type(node)]
    word += "" if node.args.get("distinct") else " ALL"
    context.sql.demand(word)
    order = _order(node, None, context, [], columns, free=False)
    return f"{with_}({left}) {word} ({right}){order.text}{_limit(node, scope, context)}", columns


def _by_name(node: exp.SetOperation, scope: Scope, context: Context, with_: str) -> tuple[str, Columns]:
    """`UNION BY NAME`: the left side's columns, then those that only the right side has; what a side lacks is NULL."""
    sides = [lower_query(one, scope, context) for one in (node.this, node.expression)]
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
    order = _order(node, None, context, [], tuple(merged), free=False)
    word = "UNION" if node.args.get("distinct") else "UNION ALL"
    return f"{with_}{texts[0]} {word} {texts[1]}{order.text}{_limit(node, scope, context)}", tuple(merged)


def _values(node: exp.Values, scope: Scope, context: Context, want: list[str] | None) -> tuple[str, Columns]:
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
