"""The text for another engine → nothing, or a refusal: it is read again, and judged without looking at how it was made.

Takes the text that will run and the guards that may be in it; owns invariants (closed) and (guarded) there: one
query; relations inside guards only, and each guard as it must be; functions, types, collations and syntax by name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from rls.errors import QueryRefused
from rls.rewrite.parse import quietly
from rls.rewrite.port.dialect import Dialect

__all__ = ["check"]

_NODES: Final = (
    exp.Select, exp.Subquery, exp.Union, exp.Intersect, exp.Except, exp.With, exp.CTE, exp.TableAlias, exp.Table,
    exp.From, exp.Join, exp.Where, exp.Group, exp.Having, exp.Order, exp.Ordered, exp.Limit, exp.Offset, exp.Distinct,
    exp.Values, exp.Tuple, exp.Alias, exp.Column, exp.Identifier, exp.Literal, exp.Boolean, exp.Null, exp.Star,
    exp.Paren, exp.And, exp.Or, exp.Not, exp.Is, exp.NullSafeEQ, exp.NullSafeNEQ, exp.Between, exp.In, exp.Exists,
    exp.Any, exp.Case, exp.If, exp.Neg, exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.Add, exp.Sub, exp.Mul,
    exp.Div, exp.Mod, exp.DPipe, exp.Like, exp.ILike, exp.Escape, exp.Cast, exp.DataType, exp.DataTypeParam,
    exp.Rollup, exp.Cube, exp.GroupingSets, exp.Interval, exp.Var, exp.Collate, exp.Parameter, exp.Window,
    exp.WindowSpec, exp.Filter, exp.All, exp.Lateral,
)  # fmt: skip
# Spark's own: named parameters, whole division, the fence, and how sqlglot reads its CAST.
_SPARK: Final = (exp.Placeholder, exp.IntDiv, exp.TableSample, exp.WithinGroup, exp.TryCast)
# PostgreSQL's: aggregates over an order, and the first of their items.
_POSTGRES: Final = (exp.WithinGroup, exp.Bracket)
_COLLATIONS: Final = ("C", "C.utf8", "C.UTF-8", "pg_c_utf8")


def check(text: str, guards: Collection[str], sql: Dialect) -> None:
    """Judge a text; `guards` are the texts of the sub-queries that may read relations.

    Raises `QueryRefused` (`query.unguarded`, `query.not_portable`).
    """
    tree, allowed = _parse(text, sql), [_unnamed(_parse(guard, sql)) for guard in guards]
    types = _types(sql)
    nodes = (*_NODES, *(_SPARK if sql.name == "spark" else _POSTGRES))
    for node, names in _walk(tree, frozenset()):
        match node:
            case exp.Table():
                # A relation of the database has a schema: what has none is a common table expression, or nothing.
                if node.args.get("db") is None and node.name in names and isinstance(node.this, exp.Identifier):
                    continue
                around = node.find_ancestor(exp.Subquery)
                if not any(_inside(node, guard) for guard in allowed):
                    raise _unguarded(f"relation, in {around.key if around else 'the query'}")
            case exp.Column():
                if not isinstance(node.this, exp.Identifier | exp.Star) or node.args.get("db") is not None:
                    raise _unguarded("column")
            case exp.DataType():
                if node.this not in types:
                    raise _unguarded("type")
            case exp.Collate():
                if sql.name != "postgres" or node.expression.name not in _COLLATIONS:
                    raise _unguarded("collation")
            case exp.Lateral():
                if not isinstance(node.this, exp.Subquery):
                    raise _unguarded("table function")
            case exp.Anonymous():
                if str(node.this).lower() not in sql.functions:
                    raise _unguarded("function")
            case exp.Func() if type(node) not in nodes and not isinstance(node, _NODES):
                name = sql.called.get(node.sql_name(), node.sql_name().lower())
                if name not in sql.functions:
                    raise _unguarded(f"function {name}")
            case _ if type(node) not in nodes:
                raise _unguarded(node.key)


def _types(sql: Dialect) -> frozenset[object]:
    types = (exp.DataType.build(type_, dialect=sql.name) for type_ in sql.types.values())
    return frozenset(type_.this for type_ in types)


def _parse(text: str, sql: Dialect) -> exp.Expr:
    try:
        with quietly():
            trees = sqlglot.parse(text, read=sql.name)
    except (SqlglotError, RecursionError) as error:
        raise _unguarded(type(error).__name__) from None
    if len(trees) != 1 or not isinstance(trees[0], exp.Query):
        raise _unguarded("statement")
    return trees[0]


def _walk(tree: exp.Expr, names: frozenset[str]) -> Iterator[tuple[exp.Expr, frozenset[str]]]:
    """Every node, with the common table expressions that are in sight there."""
    stack = [(tree, names)]
    while stack:
        node, seen = stack.pop()
        with_ = node.args.get("with_")
        if with_ is not None:
            seen = seen | {cte.alias for cte in with_.expressions}
        yield node, seen
        for value in node.args.values():
            items = value if isinstance(value, list) else [value]
            stack += [(item, seen) for item in items if isinstance(item, exp.Expr)]


def _inside(node: exp.Expr, guard: exp.Expr) -> bool:
    """Whether a node stands in a query that is exactly this guard."""
    above: exp.Expr | None = node
    while above is not None:
        if isinstance(above, exp.Select) and (inner := _reading(above)) is not None:
            if _unnamed(above) == guard:
                return True
            if inner is not above and node.find_ancestor(exp.Select) is not inner:
                return False
        above = above.parent
    return False


def _reading(query: exp.Expr) -> exp.Expr | None:
    """The SELECT that reads the relation of what looks like a guard: itself, or that below its fence."""
    source = query.args.get("from_")
    if source is not None and isinstance(source.this, exp.Subquery) and source.this.args.get("sample") is not None:
        query = source.this.this
        source = query.args.get("from_")
    return query if source is not None and isinstance(source.this, exp.Table) else None


def _unnamed(query: exp.Expr) -> exp.Expr:
    """A query without the names of its columns, which a caller may choose: `orders AS t(a, b)`."""
    found = query.copy()
    inner = _reading(found)
    if inner is not None:
        inner.set("expressions", [item.unalias() for item in inner.expressions])
    return found


def _unguarded(what: str) -> QueryRefused:
    return QueryRefused(
        "query.unguarded", "the guarded query could not be verified", hint="tell the operator", detail=what
    )
