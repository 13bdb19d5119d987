"""PostgreSQL text → nothing, or a refusal: what was written is read again, and judged without looking at how it was.

Takes the text that will run and the guards that may be in it; owns invariants (closed) and (guarded) for PostgreSQL:
one query; relations inside guards only, and each guard as it must be; functions, types, collations and syntax by name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cache
from typing import Final

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from rls.errors import QueryRefused
from rls.rewrite.parse import quietly
from rls.rewrite.port.functions import NAMES
from rls.rewrite.port.kinds import TYPES

__all__ = ["check"]

_NODES: Final = (
    exp.Select, exp.Subquery, exp.Union, exp.Intersect, exp.Except, exp.With, exp.CTE, exp.TableAlias, exp.Table,
    exp.From, exp.Join, exp.Where, exp.Group, exp.Having, exp.Order, exp.Ordered, exp.Limit, exp.Offset, exp.Distinct,
    exp.Values, exp.Tuple, exp.Alias, exp.Column, exp.Identifier, exp.Literal, exp.Boolean, exp.Null, exp.Star,
    exp.Paren, exp.And, exp.Or, exp.Not, exp.Is, exp.NullSafeEQ, exp.NullSafeNEQ, exp.Between, exp.In, exp.Exists,
    exp.Any, exp.Case, exp.If, exp.Neg, exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.Add, exp.Sub, exp.Mul,
    exp.Div, exp.Mod, exp.DPipe, exp.Like, exp.ILike, exp.Escape, exp.Cast, exp.DataType, exp.DataTypeParam,
    exp.Rollup, exp.Cube, exp.GroupingSets, exp.Interval, exp.Var, exp.Collate, exp.Parameter, exp.Window,
    exp.WindowSpec, exp.Filter,
)  # fmt: skip
# Node classes of functions whose name in PostgreSQL is another than sqlglot's.
_CALLED: Final = {
    "TIMESTAMP_TRUNC": "date_trunc", "GROUP_CONCAT": "string_agg", "LOGICAL_AND": "bool_and",
    "LOGICAL_OR": "bool_or", "STR_POSITION": "strpos", "SUBSTRING": "substr", "POW": "power", "CEILING": "ceil",
    "MD5_DIGEST": "md5", "NULL_IF": "nullif",
}  # fmt: skip
_COLLATIONS: Final = ("C", "C.utf8", "C.UTF-8", "pg_c_utf8")


def check(text: str, guards: Collection[str]) -> None:
    """Judge a text; `guards` are the texts of the sub-queries that may read relations.

    Raises `QueryRefused` (`query.unguarded`, `query.not_portable`).
    """
    tree, allowed = _parse(text), [_unnamed(_parse(guard)) for guard in guards]
    types = _types()
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
                if node.expression.name not in _COLLATIONS:
                    raise _unguarded("collation")
            case exp.Anonymous():
                if str(node.this).lower() not in NAMES:
                    raise _unguarded("function")
            case exp.Func() if not isinstance(node, _NODES):
                name = _CALLED.get(node.sql_name(), node.sql_name().lower())
                if name not in NAMES:
                    raise _unguarded(f"function {name}")
            case _ if type(node) not in _NODES:
                raise _unguarded(node.key)


@cache
def _types() -> frozenset[object]:
    casts = (_parse(f"SELECT CAST(NULL AS {type_})").expressions[0] for type_ in TYPES.values())
    return frozenset(cast.args["to"].this for cast in casts)


def _parse(text: str) -> exp.Expr:
    try:
        with quietly():
            trees = sqlglot.parse(text, read="postgres")
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
        if isinstance(above, exp.Select) and _reads_relation(above) and _unnamed(above) == guard:
            return True
        above = above.parent
    return False


def _reads_relation(query: exp.Select) -> bool:
    source = query.args.get("from_")
    return source is not None and isinstance(source.this, exp.Table)


def _unnamed(query: exp.Expr) -> exp.Expr:
    """A query without the names of its columns, which a caller may choose: `orders AS t(a, b)`."""
    found = query.copy()
    found.set("expressions", [item.unalias() for item in found.expressions])
    return found


def _unguarded(what: str) -> QueryRefused:
    return QueryRefused(
        "query.unguarded", "the guarded query could not be verified", hint="tell the operator", detail=what
    )
