"""Comparisons: `=`, `<`, BETWEEN, IN, ANY and ALL, IS, LIKE.

Take lowered operands. Own that both sides are of the kind in which DuckDB compares them, and texts in the order of
their bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from sqlglot import exp

from rls.rewrite.port.dialect import Dialect
from rls.rewrite.port.kinds import INTEGERS, NUMBERS, Lowered, common, not_portable
from rls.rewrite.port.nodes import only
from rls.rewrite.port.scopes import Context, Scope

__all__ = ["alike", "among", "compared", "is_in", "is_value", "like", "listed", "ordered"]

# Compared alike everywhere.
_PLAIN: Final = frozenset((*INTEGERS, "VARCHAR", "DATE", "TIMESTAMP", "BOOLEAN"))
_LIKES: Final = {exp.Like: "LIKE", exp.ILike: "ILIKE"}


def alike(values: Iterable[Lowered], construct: str, sql: Dialect) -> list[Lowered]:
    """Values as DuckDB converts them to be compared with each other."""
    found = list(values)
    kinds = {one.kind for one in found if one.literal is None}
    # `placed_at > '2024-01-01'`: a text literal takes the type of what it is compared with.
    for kind in ("DATE", "TIMESTAMP"):
        if kinds == {kind}:
            return [sql.convert(one, kind) for one in found]
    kind = common(one.kind for one in found) or ""
    if kind == "ENUM":
        kind = "VARCHAR"
    if kind == "NULL":
        kind = "VARCHAR"  # DuckDB compares two bare NULLs as numbers; the answer is NULL either way
    if kind in ("", "INTERVAL") or kind.endswith("[]"):
        raise not_portable(f"{construct} between these types", hint="cast one to the type of the other")
    return [sql.convert(one, kind) for one in found]


def ordered(values: list[Lowered], construct: str, sql: Dialect) -> list[Lowered]:
    """The same for comparisons that ask which is first: texts by their bytes."""
    if any(one.kind == "ENUM" for one in values):
        raise not_portable("the order of ENUM values", hint="cast them to VARCHAR")
    first, *rest = alike(values, construct, sql)
    if first.kind == "VARCHAR":
        first = Lowered(sql.ordered(first.text), "VARCHAR")
    return [first, *rest]


def is_value(value: Lowered, what: exp.Expr) -> Lowered:
    """`IS`. Raises `QueryRefused`."""
    match what:
        case exp.Null():
            return Lowered(f"({value.text} IS NULL)", "BOOLEAN")
        case exp.Boolean() if value.kind == "BOOLEAN":
            return Lowered(f"({value.text} IS {'true' if what.this else 'false'})", "BOOLEAN")
        case _:
            raise not_portable("IS with anything but NULL, TRUE or FALSE")


def is_in(node: exp.In, lower: Callable[[exp.Expr], Lowered], scope: Scope, context: Context) -> Lowered:
    """IN; `lower` gives operands. Raises `QueryRefused`."""
    only(node, "this", "expressions", "query", "field")
    if isinstance(node.this, exp.Tuple) and isinstance(node.args.get("query"), exp.Subquery):
        only(node.this, "expressions")
        only(node.args["query"], "this")
        return _rows_among([lower(one) for one in node.this.expressions], node.args["query"].this, scope, context)
    value = lower(node.this)
    if node.args.get("field") is not None:
        return listed(lower(node.args["field"]), value, context.sql)
    query = node.args.get("query")
    if query is None:
        values = [value, *(lower(one) for one in node.expressions)]
        first, *rest = alike(values, "IN", context.sql)
        return Lowered(f"({first.text} IN ({', '.join(one.text for one in rest)}))", "BOOLEAN")
    only(query, "this")
    return among(value, query.this, scope, context)


def among(value: Lowered, query: exp.Expr, scope: Scope, context: Context) -> Lowered:
    """Whether a value is among the rows of a sub-query."""
    text, columns = context.query(query, scope)
    if len(columns) != 1 or value.literal is not None:
        raise not_portable("IN with a sub-query like this", hint="compare one column with one column")
    kind = common((value.kind, columns[0].kind))
    if kind in (None, "ENUM") or not (columns[0].kind == kind or {columns[0].kind, kind} <= set(NUMBERS)):
        raise not_portable("IN between these types", hint="cast one to the type of the other")
    return Lowered(f"({context.sql.convert(value, kind or '').text} IN ({text}))", "BOOLEAN")


def _rows_among(values: list[Lowered], query: exp.Expr, scope: Scope, context: Context) -> Lowered:
    """`(a, b) IN (SELECT …)`: unknown where NULLs leave it open, as for one value."""
    context.sql.demand("several values as one")
    text, columns = context.query(query, scope)
    kinds = [common((a.kind, b.kind)) or "" for a, b in zip(values, columns, strict=False)]
    if len(values) != len(columns) or not set(kinds) <= _PLAIN:
        raise not_portable("several values IN a sub-query of these types", hint="cast each to the type of the other")
    if kinds != [one.kind for one in columns]:
        text, columns = context.query(query, scope, kinds)
    left = ", ".join(context.sql.convert(one, kind).text for one, kind in zip(values, kinds, strict=True))
    return Lowered(f"(({left}) IN ({text}))", "BOOLEAN")


def compared(sign: str, value: Lowered, many: exp.Expr, scope: Scope, context: Context) -> Lowered:
    """A value against any or all rows of a sub-query."""
    word = "any" if isinstance(many, exp.Any) else "all"
    query = many.this.this if isinstance(many.this, exp.Subquery) else many.this
    by_ends = word not in context.sql.texts
    # Read several times, a sub-query must not depend on the row.
    text, columns = context.query(query, scope.alone() if by_ends else scope)
    if len(columns) != 1 or value.literal is not None:
        raise not_portable(f"{word.upper()} with a sub-query like this", hint="compare with min or max")
    kind = common((value.kind, columns[0].kind))
    if kind in (None, "ENUM", "NULL", "UUID") or not (
        columns[0].kind == kind or {value.kind, columns[0].kind} <= set(NUMBERS)
    ):
        raise not_portable(f"{word.upper()} between these types", hint="cast one to the type of the other")
    sql = context.sql
    left = sql.convert(value, kind or "").text
    if by_ends and kind not in ("FLOAT", "DOUBLE"):
        return Lowered(_by_ends(word, left, sign, f"({text}) AS q", f"q.{sql.name_of(columns[0].name)}"), "BOOLEAN")
    return Lowered(sql.write(word, "", sql.ordered(left) if kind == "VARCHAR" else left, sign, text), "BOOLEAN")


def _by_ends(word: str, left: str, sign: str, source: str, column: str) -> str:
    """ANY or ALL where the engine has neither: against the least or the greatest of all, and NULL where one is NULL."""
    if sign not in ("<", "<=", ">", ">="):
        raise not_portable(f"{sign} {word.upper()}", hint="use IN")
    end = "min" if (word == "any") == (sign in (">", ">=")) else "max"
    held = f"({left} {sign} (SELECT nullif({end}({column}), NULL) FROM {source}))"
    decided = f"{held} THEN true" if word == "any" else f"(NOT {held}) THEN false"
    empty = "false" if word == "any" else "true"
    count, known = (f"(SELECT count({of}) FROM {source})" for of in ("*", column))
    return f"(CASE WHEN ({count} = 0) THEN {empty} WHEN {decided} WHEN ({known} < {count}) THEN NULL ELSE {held} END)"


def like(node: exp.Expr, value: Lowered, pattern: Lowered, sql: Dialect) -> Lowered:
    """LIKE and ILIKE. Raises `QueryRefused`."""
    if common((value.kind, pattern.kind)) != "VARCHAR":
        raise not_portable("LIKE on what is not text", hint="cast it to VARCHAR")
    word = f"NOT {_LIKES[type(node)]}" if node.args.get("negate") else _LIKES[type(node)]
    if isinstance(node, exp.ILike):
        pattern = sql.folded(pattern)
    text = sql.write(word, "VARCHAR", sql.convert(value, "VARCHAR").text, sql.pattern(pattern))
    return Lowered(text, "BOOLEAN")


def listed(many: Lowered, value: Lowered, sql: Dialect) -> Lowered:
    """Whether a value is in a list. Raises `QueryRefused`."""
    if many.kind != f"{value.kind}[]" and (many.kind != "BIGINT[]" or value.kind not in ("SMALLINT", "INTEGER")):
        raise not_portable("a list of another type", hint="cast the value to the type of the list's items")
    return Lowered(sql.write("list_contains", "", many.text, value.text), "BOOLEAN")
