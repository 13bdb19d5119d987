"""A query in another engine's SQL → the same in DuckDB's, which is then guarded and ported like any other.

Takes the caller's text and its dialect; returns a text, or refuses by the construct's name. Owns that nothing is read
whose meaning the dialect and DuckDB do not share: closed world over syntax, and over functions by their reviewed names.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.tokens import Token

from rls.errors import Position, QueryRefused
from rls.rewrite.native_words import FUNCTIONS, NODES, PARTS, TYPES, WHOLE
from rls.rewrite.nesting import check_nesting
from rls.rewrite.parse import quietly

__all__ = ["DIALECTS", "read_native"]

DIALECTS: Final = ("postgres", "spark")
_SHORT: Final = 20_000  # characters of a text that is remembered
_HINT: Final = "write it in another way, or in DuckDB's SQL"
# What a backslash may stand before in Spark's texts: of others, readers make this or that.
_ESCAPED: Final = "\\'\"nrt"


def read_native(text: str, dialect: str) -> str:
    """The query in DuckDB's SQL.

    Raises `QueryRefused`: `query.dialect`, `.empty`, `.syntax`, `.too_nested`, `.not_portable`.

    >>> read_native("SELECT `id` FROM orders WHERE note <=> :n ORDER BY id", "spark")
    'SELECT "id" FROM "orders" WHERE "note" IS NOT DISTINCT FROM $n ORDER BY "id" NULLS FIRST'
    """
    if dialect not in DIALECTS:
        raise QueryRefused("query.dialect", "the query is in a dialect that nobody reads", hint="use the engine's")
    return _remembered(text, dialect) if len(text) <= _SHORT else _read(text, dialect)


@lru_cache(256)
def _remembered(text: str, dialect: str) -> str:
    """Nothing but the text decides what it becomes."""
    return _read(text, dialect)


def _read(text: str, dialect: str) -> str:
    tree = _parse(text, dialect)
    for node in list(tree.walk()):
        _check(node, dialect)
        _rewrite(node, dialect)
    with quietly():
        return str(tree.sql("duckdb", identify=True, comments=False))


def _parse(text: str, dialect: str) -> exp.Expr:
    reader = sqlglot.Dialect.get_or_raise(dialect)
    try:
        with quietly():
            tokens = reader.tokenize(text)
            check_nesting(text, tokens, [token.token_type for token in tokens])
            trees = reader.parser(error_level=sqlglot.ErrorLevel.IMMEDIATE).parse(tokens, text)
    except (SqlglotError, RecursionError, ValueError, AttributeError, TypeError, KeyError, IndexError):
        raise QueryRefused("query.syntax", "the query cannot be read", hint="check it, and its dialect") from None
    if not tokens or not trees:
        raise QueryRefused("query.empty", "the query is empty", hint="pass one SELECT statement")
    if len(trees) != 1 or trees[0] is None:
        raise QueryRefused("query.statements", "the query holds more than one statement", hint="send one at a time")
    if not isinstance(trees[0], exp.Select | exp.SetOperation | exp.Subquery):
        raise _refuse("a statement that is no SELECT")
    for token in tokens:
        _check_token(token, text, dialect)
    return trees[0]


def _check_token(token: Token, text: str, dialect: str) -> None:
    spelled = text[token.start : token.end + 1]
    if dialect == "spark":
        if spelled.upper() == "TRY_CAST":
            # Its tree is that of CAST.
            raise _refuse("TRY_CAST")
        if spelled[:1] in ("'", '"') and not _is_plain(spelled[1:-1]):
            raise QueryRefused(
                "query.not_portable",
                "a text with an escape that not all engines read alike",
                position=Position.at(text, token.start, len(spelled)),
                hint="write the letter itself",
            )


def _is_plain(text: str) -> bool:
    at = text.find("\\")
    while at >= 0:
        if text[at + 1 : at + 2] not in _ESCAPED:
            return False
        at = text.find("\\", at + 2)
    return True


def _check(node: exp.Expr, dialect: str) -> None:
    """Refuse what is not in the tables, and what says more than they know of."""
    known = NODES.get(type(node)) if type(node) in NODES else FUNCTIONS[dialect].get(type(node))
    if known is None:
        raise _refuse(_name_of(node))
    for key, value in node.args.items():
        if key not in known and value not in (None, False, []):
            raise _refuse(f"{_name_of(node)} with {key.rstrip('_').replace('_', ' ')}")


def _rewrite(node: exp.Expr, dialect: str) -> None:
    """Say in place what DuckDB would read in another way, or refuse it."""
    match node:
        case exp.Identifier() if dialect == "postgres" and not node.args.get("quoted"):
            node.set("this", _folded(node.name))
        case exp.Parameter():
            if not isinstance(node.this, exp.Var) or dialect != "postgres":
                raise QueryRefused("query.positional_parameter", "parameters must be named", hint="write `:name`")
        case exp.Placeholder():
            if not node.this:
                raise QueryRefused("query.positional_parameter", "parameters must be named", hint="write `:name`")
        case exp.DataType():
            _check_type(node, dialect)
        case exp.Cast():
            _cast(node, dialect)
        case exp.Having() if dialect == "spark":
            _check_having(node)
        case exp.Div():
            if dialect == "postgres" and not (_is_fraction(node.this) or _is_fraction(node.expression)):
                raise _refuse("/ of what may be whole numbers", hint="cast one to double precision")
            node.set("typed", False)
            node.set("safe", False)
        case exp.Like() | exp.ILike():
            pattern = node.expression
            if not isinstance(pattern, exp.Literal) or "\\" in pattern.name:
                raise _refuse("LIKE with a pattern that is no literal, or has a backslash")
        case exp.Interval():
            unit = node.args.get("unit")
            if not isinstance(unit, exp.Var) or not isinstance(node.this, exp.Literal):
                raise _refuse("an INTERVAL like this", hint="write INTERVAL '1' DAY")
        case exp.Extract():
            _check_part(node.name, PARTS[dialect])
        case exp.TimestampTrunc():
            _check_part(node.args["unit"].name, PARTS["trunc"])
        case exp.TsOrDsToDate():
            node.replace(exp.Cast(this=node.this, to=exp.DataType.build("date")))
        case exp.TsOrDsAdd():
            node.replace(exp.paren(_moved(node)))
        case exp.Rollup() | exp.Cube():
            if not node.expressions:
                raise _refuse("WITH ROLLUP or WITH CUBE", hint="write ROLLUP (a, b)")
        case exp.DateDiff():
            if (unit := node.args.get("unit")) is not None and unit.name.upper() != "DAY":
                raise _refuse(f"date_diff by `{unit.name}`")
        case exp.Trim():
            if node.args.get("expression") is None:
                # DuckDB's takes other white space away, too.
                node.set("expression", exp.Literal.string(" "))
        case exp.GroupConcat():
            if node.args.get("separator") is None:
                raise _refuse("an aggregate of texts without a separator")
        case exp.Round():
            if dialect == "postgres" and node.args.get("decimals") is None:
                raise _refuse("round without a number of places", hint="write round(x, 0)")
        case exp.Values():
            alias = node.args.get("alias")
            if alias is None or not alias.args.get("columns"):
                raise _refuse("VALUES without names for its columns", hint="write AS v(a, b)")
        case exp.Table():
            if not isinstance(node.this, exp.Identifier):
                raise _refuse("a table function", hint="list rows with VALUES")
        case exp.Lateral():
            if not isinstance(node.this, exp.Subquery):
                raise _refuse("LATERAL with a function")
        case exp.Fetch():
            _limit(node)
        case exp.Limit():
            if not isinstance(node.expression, exp.Literal | exp.Placeholder | exp.Parameter):
                raise _refuse("LIMIT of what is no number")
        case exp.WithinGroup():
            if not isinstance(node.this, exp.GroupConcat):
                raise _refuse("WITHIN GROUP")
        case exp.Any() | exp.All():
            if not isinstance(node.this, exp.Subquery | exp.Query):
                raise _refuse("ANY or ALL of a list", hint="use IN")


def _cast(node: exp.Cast, dialect: str) -> None:
    to, value = node.to, node.this
    if type(node) is exp.TryCast:
        node.replace(exp.Cast(this=value, to=to))
    if dialect == "spark" and to.this in WHOLE and not _is_whole(value):
        raise _refuse("CAST to whole numbers", hint="use floor or round, or pass a whole number")
    if to.this in (exp.DType.TIMESTAMPTZ, exp.DType.TIMESTAMPLTZ):
        if dialect != "spark" or not isinstance(value, exp.Literal):
            raise _refuse(f"the type {to.sql(dialect)}")
        # In a session whose time is UTC a time of day is the same with and without a zone.
        to.replace(exp.DataType.build("timestamp", dialect="duckdb"))


def _moved(node: exp.TsOrDsAdd) -> exp.Expr:
    """`date_add` and `date_sub`, which is a sum with `n * -1`, by days."""
    day, days = exp.Cast(this=node.this, to=exp.DataType.build("date")), node.expression
    match days:
        case exp.Literal() if node.args["unit"].name.upper() == "DAY":
            return exp.Add(this=day, expression=days)
        case exp.Mul(this=exp.Literal(), expression=exp.Neg()) if node.args["unit"].name.upper() == "DAY":
            return exp.Sub(this=day, expression=days.this)
    raise _refuse("date_add of what is no literal", hint="add an INTERVAL")


def _check_type(node: exp.DataType, dialect: str) -> None:
    decimal = node.this == exp.DType.DECIMAL
    if node.this not in TYPES[dialect] or len(node.expressions) != (2 if decimal else 0):
        raise _refuse(f"the type {node.sql(dialect)}")


def _check_part(name: str, known: tuple[str, ...]) -> None:
    if name.lower() not in known:
        raise _refuse(f"the part `{name}` of a date")


def _limit(node: exp.Fetch) -> None:
    options = node.args.get("limit_options")
    if not isinstance(node.args.get("count"), exp.Literal) or (
        options is not None and (options.args.get("percent") or options.args.get("with_ties"))
    ):
        raise _refuse("FETCH like this", hint="write LIMIT")


def _is_whole(node: exp.Expr) -> bool:
    """Whether a value is evidently a whole number, or none. What a parameter holds, nobody knows yet."""
    return isinstance(node, exp.Count | exp.Null) or (isinstance(node, exp.Literal) and node.name.isdigit())


def _check_having(node: exp.Having) -> None:
    """`SELECT id AS n … HAVING max(n) > 5`: to Spark and Sail `n` may be the item, to DuckDB it is a column."""
    items = node.parent.expressions if isinstance(node.parent, exp.Select) else []
    named = {item.alias.lower() for item in items if item.alias and item.unalias().name.lower() != item.alias.lower()}
    for inner in node.find_all(exp.AggFunc):
        for column in inner.find_all(exp.Column):
            if column.args.get("table") is None and column.name.lower() in named:
                raise _refuse(f"`{column.name}` in HAVING, which is an alias,", hint="name the column's relation")


def _is_fraction(node: exp.Expr) -> bool:
    """Whether a number is evidently none of PostgreSQL's whole ones."""
    match node:
        case exp.Literal():
            return not node.is_string and not node.name.isdigit()
        case exp.Cast():
            return node.to.this in (exp.DType.DOUBLE, exp.DType.DECIMAL)
        case exp.Avg() | exp.Stddev() | exp.StddevPop() | exp.StddevSamp() | exp.Variance() | exp.VariancePop():
            return True
        case exp.Sqrt():
            return True
        case exp.Paren() | exp.Neg() | exp.Nullif() | exp.Abs() | exp.Window() | exp.Filter():
            return _is_fraction(node.this)
        case exp.Add() | exp.Sub() | exp.Mul() | exp.Div():
            return _is_fraction(node.this) or _is_fraction(node.expression)
        case _:
            return False


def _folded(name: str) -> str:
    """As PostgreSQL folds names that are not quoted: letters of ASCII."""
    return "".join(letter.lower() if letter.isascii() else letter for letter in name)


def _name_of(node: exp.Expr) -> str:
    match node:
        case exp.Anonymous():
            return f"the function `{node.name}`"
        case exp.Func():
            return str(node.sql_name()).replace("_", " ").lower()
        case _:
            return str(node.key).upper()


def _refuse(construct: str, *, hint: str = _HINT) -> QueryRefused:
    return QueryRefused("query.not_portable", f"{construct[:80]} is not read in this dialect", hint=hint)
