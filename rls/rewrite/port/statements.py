"""A qualified tree of a DuckDB query → another engine's SQL; closed world over clauses.

Takes what `normalise` gives; returns the text and its columns. Owns that every clause of a query is written, or the
query refused by the clause's name; base relations are written where the tree has them, and `check` judges them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlglot import exp

from rls.catalog import fold
from rls.rewrite.port.expressions import condition, expression, has_aggregates
from rls.rewrite.port.group_by import group_by
from rls.rewrite.port.kinds import Lowered, not_portable
from rls.rewrite.port.limits import fenced, limit
from rls.rewrite.port.named import name_of
from rls.rewrite.port.nodes import only
from rls.rewrite.port.order_by import Order, order_by
from rls.rewrite.port.samples import kept_by, with_sampled_source
from rls.rewrite.port.scopes import Column, Columns, Context, Scope, rename
from rls.rewrite.port.set_operations import set_operation, values_clause
from rls.rewrite.port.sources import from_clause
from rls.rewrite.port.totals import TOTAL, has_total, of_no_rows

__all__ = ["lower_query"]

_SELECT = (
    "with_", "expressions", "from_", "joins", "where", "group", "having", "qualify", "distinct", "order", "limit",
    "offset", "sample",
)  # fmt: skip
_SET_OPERATION = ("with_", "this", "expression", "distinct", "by_name", "order", "limit", "offset")


def lower_query(
    node: exp.Expr, scope: Scope | None, context: Context, want: list[str] | None = None
) -> tuple[str, Columns]:
    """A query inside `scope`; `want` are the kinds that its columns must have. Raises `QueryRefused`."""
    with context.sql.query(answers=id(node) in context.answers):
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
            with_ = _with(node, inner, context)
            text, columns = set_operation(node, inner, context, want)
            return f"{with_}{text}", columns
        case exp.Values():
            only(node, "expressions")
            return values_clause(node, inner, context, want)
        case _:
            raise not_portable(name_of(node))


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
        scope.tables[fold(name)] = rename(columns, renamed)
        listed = ", ".join(context.sql.name_of(one.name) for one in scope.tables[fold(name)])
        parts.append(f"{context.sql.name_of(fold(name))}({listed}) AS ({text})")
    return f"WITH {'RECURSIVE ' if with_.args.get('recursive') else ''}{', '.join(parts)} "


def _recursive(union: exp.Union, name: str, renamed: list[str], scope: Scope, context: Context) -> tuple[str, Columns]:
    """The anchor's types are those of the whole, in both engines."""
    only(union, "this", "expression", "distinct")
    word = "UNION" if union.args.get("distinct") else "UNION ALL"
    context.sql.demand(f"WITH RECURSIVE by {word}")
    text, columns = lower_query(union.this, scope, context)
    # Numbers may grow with each step.
    columns = tuple(replace(one, digits=None) for one in columns)
    inside = Scope(scope)
    inside.tables[fold(name)] = rename(columns, renamed)
    rest, _ = lower_query(union.expression, inside, context, [one.kind for one in columns])
    return f"({text}) {word} ({rest})", columns


def _select(node: exp.Select, scope: Scope, context: Context, want: list[str] | None) -> tuple[str, Columns]:
    with_ = _with(node, scope, context)
    kept: list[str] = []
    node = with_sampled_source(node)
    source = from_clause(node, scope, context, kept)
    # DuckDB samples what FROM gives, before anything else is done with it.
    if node.args.get("sample") is not None:
        kept.append(kept_by(node.args["sample"], context.sql))
    if node.args.get("where") is not None:
        kept.append(condition(node.args["where"].this, scope, context))
    if kept:
        source += f" WHERE {' AND '.join(kept)}"
    distinct = node.args.get("distinct")
    word = "SELECT"
    if distinct is not None:
        only(distinct, "on")
        word = "SELECT DISTINCT"
    on = None if distinct is None else distinct.args.get("on")
    total = TOTAL in context.sql.lacks and has_total(node)
    if total and on is not None:
        raise not_portable(f"DISTINCT ON beside {TOTAL}")
    found = _lines(node, source, scope, context, want, within=total)
    names = [context.sql.name_of(one.name) for one in found.columns]
    outer = ", ".join(f"q.c{i} AS {name}" for i, name in enumerate(names))
    # What is shown by DISTINCT is ordered by the numbers of its columns.
    order = found.order.text if distinct is not None and on is None else found.order.outside
    if total:
        # Where there are no rows, the total stands by itself.
        alone = _lines(of_no_rows(node), source, scope, context, want, within=True)
        if [one.kind for one in alone.columns] != [one.kind for one in found.columns]:
            raise not_portable(TOTAL)
        if len(alone.order.keys) != len(found.order.keys):
            raise not_portable(f"ORDER BY like this beside {TOTAL}", hint="order by columns of the result")
        rows = f"{found.numbered} UNION ALL {alone.numbered}"
        end = f"{order}{limit(node, scope, context)}"
        return f"{with_}{word} {outer} FROM ({rows}) AS q WHERE q.kept{end}", found.columns
    if on is not None:
        first = _first_keys(node, on, found.order)
        if "distinct on" not in context.sql.texts:
            rows = _first_rows(found.numbered, names, first, found.order)
            return f"{with_}{rows}{limit(node, scope, context)}", found.columns
        word = context.sql.write("distinct on", "", ", ".join(found.order.keys_first[:first]))
    if found.keep:
        # The window's condition becomes a column of a sub-query, and is none of the result.
        end = f"{order}{limit(node, scope, context)}"
        return f"{with_}{word} {outer} FROM ({found.numbered}) AS q WHERE q.kept{end}", found.columns
    listed = ", ".join(f"{one.text} AS {name}" for one, name in zip(found.items, names, strict=True))
    text = f"{with_}{word} {listed}{found.tail}{found.order.text}{limit(node, scope, context)}"
    return fenced(node, text, context), found.columns


@dataclass(frozen=True, slots=True)
class _Lines:
    """A query's items with what follows them, before DISTINCT, QUALIFY and LIMIT; `numbered` shows them, and what else
    they are sorted by or kept by, to a query around."""

    items: list[Lowered]
    columns: Columns
    order: Order
    tail: str
    keep: str

    @property
    def numbered(self) -> str:
        shown = [f"{one.text} AS c{i}" for i, one in enumerate(self.items)]
        shown += [f"{key} AS o{i}" for i, key in enumerate(self.order.keys)]
        shown += [f"{self.keep} AS kept"] if self.keep else []
        return f"SELECT {', '.join(shown)}{self.tail}"


def _lines(
    node: exp.Select, source: str, scope: Scope, context: Context, want: list[str] | None, *, within: bool
) -> _Lines:
    tail = source + group_by(node, scope, context)
    if node.args.get("having") is not None:
        tail += f" HAVING {condition(node.args['having'].this, scope, context)}"
    items, columns = _items(node, scope, context, want)
    distinct = node.args.get("distinct")
    free = distinct is None or distinct.args.get("on") is not None
    texts = [one.text for one in items]
    order = order_by(node, scope, context, texts, columns, free=free, within=within)
    qualify = node.args.get("qualify")
    keep = "true" if within else ""
    if qualify is not None:
        keep = condition(qualify.this, scope, context)
    return _Lines(items, columns, order, tail, keep)


def _first_keys(node: exp.Select, on: exp.Expr, order: Order) -> int:
    """By how many keys DISTINCT ON makes groups: the first ones of the query's own order. Without one, any row of a
    group would be right."""
    keys = [order.key(one) for one in on.expressions]
    if not keys or set(order.keys_first[: len(keys)]) != set(keys) or node.args.get("qualify") is not None:
        raise not_portable("DISTINCT ON without ORDER BY the same", hint="order by these expressions first")
    return len(keys)


def _first_rows(source: str, names: list[str], first: int, order: Order) -> str:
    """DISTINCT ON where the engine has none: the rows that are number one of their group."""
    shown = [f"c{i}" for i, _ in enumerate(names)] + [f"o{i}" for i, _ in enumerate(order.keys)]
    groups = ", ".join(order.keys_outside[:first])
    number = f"row_number() OVER (PARTITION BY {groups}{order.outside}) AS r"
    ranked = f"SELECT {', '.join(f'q.{one}' for one in shown)}, {number} FROM ({source}) AS q"
    outer = ", ".join(f"q.c{i} AS {name}" for i, name in enumerate(names))
    return f"SELECT {outer} FROM ({ranked}) AS q WHERE (q.r = 1){order.outside}"


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
            value = scope.column(inner.args["table"].name, inner.name, sql, shown=True)
        else:
            # A group's key is as early as the filters outside that are moved to it.
            with sql.evaluated(late=has_aggregates(item)):
                value = expression(item, scope, context, shown=True)
        if want is not None:
            if len(want) != len(node.expressions):
                raise not_portable("a set operation of different widths")
            value = sql.convert(value, want[number])
        plain = isinstance(inner, exp.Column | exp.Null) or value.kind in sql.shown
        if value.kind not in sql.types and (node.args.get("distinct") or not plain):
            raise not_portable(f"a column of type {value.kind}")
        text = value.text if value.kind != "VARCHAR" or value.plain else sql.ordered(value.text)
        items.append(Lowered(text, value.kind))
        columns.append(Column(item.alias_or_name or f"?column{number}?", value.kind, digits=value.digits))
    return items, tuple(columns)
