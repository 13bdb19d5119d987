"""An expression of DuckDB's → the same in another engine's SQL, with its kind; closed world over syntax and kinds.

Takes qualified trees; gives texts that may stand anywhere. Owns that what comes out gives DuckDB's value, or raises:
text is ordered by its bytes, NULLs and division by zero are DuckDB's, and what is not known to agree is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from sqlglot import exp

from rls.catalog import fold
from rls.rewrite.port.dialect import Dialect
from rls.rewrite.port.kinds import INTEGERS, NUMBERS, Lowered, common, not_portable
from rls.rewrite.port.scopes import Context, Scope

__all__ = ["condition", "expression", "is_aggregated", "only", "type_of", "whole_number"]

MAX_TEXT: Final = 100_000  # characters; some lowerings repeat their operands

_COMPARISONS: Final = {exp.EQ: "=", exp.NEQ: "<>", exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">="}
_ARITHMETIC: Final = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*"}
_LIKES: Final = {exp.Like: "LIKE", exp.ILike: "ILIKE"}
_UNITS: Final = ("SECOND", "MINUTE", "HOUR", "DAY", "WEEK", "MONTH", "YEAR")
_TYPE_NAMES: Final = {
    exp.DType.BOOLEAN: "BOOLEAN", exp.DType.SMALLINT: "SMALLINT", exp.DType.INT: "INTEGER", exp.DType.BIGINT: "BIGINT",
    exp.DType.INT128: "HUGEINT", exp.DType.DECIMAL: "DECIMAL", exp.DType.FLOAT: "FLOAT", exp.DType.DOUBLE: "DOUBLE",
    exp.DType.TEXT: "VARCHAR", exp.DType.VARCHAR: "VARCHAR", exp.DType.DATE: "DATE", exp.DType.TIMESTAMP: "TIMESTAMP",
    exp.DType.TIMESTAMPNTZ: "TIMESTAMP", exp.DType.UUID: "UUID", exp.DType.TIMESTAMPTZ: "TIMESTAMP WITH TIME ZONE",
}  # fmt: skip
# Text literals that all engines read as the same number or truth.
_FORMS: Final = {
    **dict.fromkeys(("SMALLINT", "INTEGER", "BIGINT"), re.compile(r"-?\d{1,19}")),
    "DECIMAL": re.compile(r"-?\d{1,19}(\.\d{1,18})?"),
    "BOOLEAN": re.compile(r"true|false"),
}
# (from, to) of casts beside those that `convert` makes.
_EXACT: Final = (*INTEGERS, "DECIMAL")
_CASTS: Final = frozenset(
    [(a, b) for a in (*_EXACT, "DOUBLE") for b in INTEGERS[:3]]
    + [(a, "DECIMAL") for a in _EXACT]
    + [(a, "DOUBLE") for a in (*_EXACT, "FLOAT")]
    + [(a, "VARCHAR") for a in (*INTEGERS, "BOOLEAN", "DATE", "TIMESTAMP", "UUID", "ENUM")]
    + [("TIMESTAMP", "DATE")]
)


def expression(node: exp.Expr, scope: Scope, context: Context) -> Lowered:
    """One expression. Raises `QueryRefused` (`query.not_portable`)."""
    from rls.rewrite.port.functions import aggregate, function

    def down(child: exp.Expr) -> Lowered:
        return expression(child, scope, context)

    sql = context.sql
    found: Lowered | None = None
    match node:
        case exp.Column():
            only(node, "this", "table")
            if not isinstance(node.this, exp.Identifier) or node.args.get("table") is None:
                raise not_portable(f"`{node.name}`", hint="use a column of a relation, or repeat the expression")
            found = scope.column(node.args["table"].name, node.name, sql)
            if found.kind not in sql.types:
                raise not_portable(f"a column of type {found.kind}", hint="leave it out")
            return found
        case exp.Paren():
            only(node, "this")
            return down(node.this)
        case exp.Alias():
            only(node, "this", "alias")
            return down(node.this)
        case exp.Literal():
            found = _literal(node, sql)
        case exp.RawString():
            found = _literal(exp.Literal.string(node.this), sql)
        case exp.Boolean():
            found = Lowered("true" if node.this else "false", "BOOLEAN")
        case exp.Null():
            found = Lowered("NULL", "NULL")
        case exp.Placeholder():
            only(node, "this")
            kind = context.types.get(fold(node.name))
            if kind is None:
                raise not_portable(f"the parameter ${node.name} of this type")
            found = Lowered(f"CAST({context.bind(node.name)} AS {sql.type_of(kind)})", kind)
        case exp.Cast() if type(node) is exp.Cast:
            found = _cast(node, scope, context)
        case exp.And() | exp.Or():
            only(node, "this", "expression")
            word = "AND" if isinstance(node, exp.And) else "OR"
            parts = [condition(part, scope, context) for part in node.flatten()]
            found = Lowered("(" + f" {word} ".join(parts) + ")", "BOOLEAN")
        case exp.Not():
            only(node, "this")
            found = Lowered(f"(NOT {condition(node.this, scope, context)})", "BOOLEAN")
        case exp.Is():
            only(node, "this", "expression")
            found = _is(down(node.this), node.expression)
        case exp.NullSafeEQ() | exp.NullSafeNEQ():
            only(node, "this", "expression")
            left, right = _alike([down(node.this), down(node.expression)], "IS DISTINCT FROM", sql)
            sign = "= null safe" if isinstance(node, exp.NullSafeEQ) else "<> null safe"
            found = Lowered(sql.write(sign, "", left.text, right.text), "BOOLEAN")
        case exp.Between():
            only(node, "this", "low", "high")
            both = [down(node.this), down(node.args["low"]), down(node.args["high"])]
            value, low, high = _ordered(both, "BETWEEN", sql)
            found = Lowered(f"({value.text} BETWEEN {low.text} AND {high.text})", "BOOLEAN")
        case exp.In():
            found = _in(node, scope, context)
        case exp.Exists():
            only(node, "this")
            found = Lowered(f"(EXISTS ({context.query(node.this, scope)[0]}))", "BOOLEAN")
        case exp.Subquery():
            only(node, "this")
            text, columns = context.query(sql.scalar(node.this), scope)
            if len(columns) != 1:
                raise not_portable("a sub-query of several columns as a value")
            if not _is_one_row(node.this):
                sql.raises()  # on a second row
            found = Lowered(f"({text})", columns[0].kind)
        case exp.Case():
            only(node, "this", "ifs", "default")
            found = _case(node, scope, context)
        case exp.If():
            only(node, "this", "true", "false")
            otherwise = down(node.args["false"]) if node.args.get("false") is not None else Lowered("NULL", "NULL")
            found = _branches([(condition(node.this, scope, context), down(node.args["true"]))], otherwise, sql)
        case exp.Neg():
            only(node, "this")
            value = _number(down(node.this), "-")
            found = Lowered(sql.write("neg", value.kind, value.text), value.kind)
        case exp.Like() | exp.ILike():
            only(node, "this", "expression", "negate")
            found = _like(node, down(node.this), down(node.expression), sql)
        case exp.Interval():
            found = _interval(node, sql)
        case exp.Window() | exp.AggFunc() | exp.Filter():
            found = aggregate(node, scope, context)
        case exp.EQ() if isinstance(node.expression, exp.Any):
            only(node, "this", "expression")
            query = node.expression.this
            found = _among(down(node.this), query.this if isinstance(query, exp.Subquery) else query, scope, context)
        case _ if type(node) in _COMPARISONS and isinstance(node.expression, exp.Any | exp.All):
            only(node, "this", "expression")
            found = _compared(_COMPARISONS[type(node)], down(node.this), node.expression, scope, context)
        case _ if type(node) in _COMPARISONS:
            only(node, "this", "expression")
            sign = _COMPARISONS[type(node)]
            both = [down(node.this), down(node.expression)]
            left, right = _alike(both, sign, sql) if sign in ("=", "<>") else _ordered(both, sign, sql)
            found = Lowered(f"({left.text} {sign} {right.text})", "BOOLEAN")
        case _ if type(node) in _ARITHMETIC:
            only(node, "this", "expression")
            found = _arithmetic(_ARITHMETIC[type(node)], down(node.this), down(node.expression), sql)
        case exp.Div():
            only(node, "this", "expression", "typed", "safe")
            found = _divide(down(node.this), down(node.expression), sql)
        case exp.IntDiv() | exp.Mod():
            only(node, "this", "expression")
            found = _whole(node, down(node.this), down(node.expression), sql)
        case _:
            found = function(node, scope, context)
    if len(found.text) > MAX_TEXT:
        raise not_portable("an expression that long", hint="name its parts in a sub-query")
    return found


def is_aggregated(node: exp.Select) -> bool:
    """Whether a query's rows are groups of rows."""
    if node.args.get("group") is not None:
        return True
    return any(_own_aggregates(one) for one in node.expressions)


def _own_aggregates(node: exp.Expr) -> bool:
    if isinstance(node, exp.Query | exp.Window):
        return False
    if isinstance(node, exp.AggFunc):
        return True
    return any(_own_aggregates(one) for one in node.iter_expressions())


def _is_one_row(node: exp.Expr) -> bool:
    """Whether a query gives at most one row: aggregates of all rows."""
    return isinstance(node, exp.Select) and node.args.get("group") is None and is_aggregated(node)


def condition(node: exp.Expr, scope: Scope, context: Context) -> str:
    """A condition's text."""
    found = expression(node, scope, context)
    if found.kind not in ("BOOLEAN", "NULL"):
        raise not_portable(f"{found.kind} as a condition", hint="compare it with something")
    return context.sql.convert(found, "BOOLEAN").text


def only(node: exp.Expr, *keys: str) -> None:
    """Refuse a node that says more than these parts of it do."""
    for key, value in node.args.items():
        if key not in keys and value not in (None, False, []):
            raise not_portable(f"{node.key.upper()} with {key.rstrip('_').replace('_', ' ')}")


def whole_number(node: Any, construct: str, *, least: int = 0) -> int:
    """The value of a literal that must be a whole number of at least so much."""
    if isinstance(node, exp.Literal) and not node.is_string and node.this.isdigit() and least <= int(node.this) < 2**31:
        return int(node.this)
    raise not_portable(construct, hint="use a positive whole number there")


def type_of(node: exp.DataType, sql: Dialect) -> tuple[str, str]:
    """Kind and the engine's type of a type in a cast."""
    if node.this == exp.DType.ARRAY and len(node.expressions) == 1 and not node.args.get("values"):
        kind = f"{type_of(node.expressions[0], sql)[0]}[]"
        if kind in sql.types:
            return kind, sql.types[kind]
    kind = _TYPE_NAMES.get(node.this, "")
    if kind == "DECIMAL" and len(node.expressions) in (0, 2):
        width, scale = [int(part.name) for part in node.expressions] or (18, 3)
        return kind, sql.decimal_type(width, scale)
    if kind not in sql.types or node.expressions:
        raise not_portable(f"the type {node.sql('duckdb')}")
    return kind, sql.types[kind]


def _literal(node: exp.Literal, sql: Dialect) -> Lowered:
    text = str(node.this)
    if node.is_string:
        return Lowered(sql.text_literal(text), "VARCHAR", literal=text)
    if text.isdigit():
        if int(text) >= 2**63:
            raise not_portable("a whole number of more than 64 bits")
        return Lowered(text, "INTEGER" if int(text) < 2**31 else "BIGINT")
    if text.replace(".", "", 1).isdigit():
        return Lowered(sql.decimal(text), "DECIMAL")
    return Lowered(f"CAST({float(text)!r} AS {sql.type_of('DOUBLE')})", "DOUBLE")


def _cast(node: exp.Cast, scope: Scope, context: Context) -> Lowered:
    only(node, "this", "to")
    sql = context.sql
    kind, type_ = type_of(node.args["to"], sql)
    if isinstance(node.this, exp.Placeholder):
        only(node.this, "this")
        return Lowered(f"CAST({context.bind(node.this.name)} AS {type_})", kind)
    value = expression(node.this, scope, context)
    if value.literal is not None and (form := _FORMS.get(kind)) is not None and form.fullmatch(value.literal):
        return Lowered(f"CAST({value.text} AS {type_})", kind)
    if value.kind == kind and kind != "DECIMAL":
        return Lowered(value.text, kind)
    if (value.kind, kind) in (*_CASTS, ("DECIMAL", "HUGEINT")):
        return Lowered(sql.write("cast", f"{value.kind} {kind}", value.text, type_), kind)
    if value.kind == "NULL":
        return Lowered(f"CAST({value.text} AS {type_})", kind)
    return sql.convert(value, kind)


def _alike(values: Iterable[Lowered], construct: str, sql: Dialect) -> list[Lowered]:
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


def _ordered(values: list[Lowered], construct: str, sql: Dialect) -> list[Lowered]:
    """The same for comparisons that ask which is first: texts by their bytes."""
    if any(one.kind == "ENUM" for one in values):
        raise not_portable("the order of ENUM values", hint="cast them to VARCHAR")
    first, *rest = _alike(values, construct, sql)
    if first.kind == "VARCHAR":
        first = Lowered(sql.ordered(first.text), "VARCHAR")
    return [first, *rest]


def _is(value: Lowered, what: exp.Expr) -> Lowered:
    match what:
        case exp.Null():
            return Lowered(f"({value.text} IS NULL)", "BOOLEAN")
        case exp.Boolean() if value.kind == "BOOLEAN":
            return Lowered(f"({value.text} IS {'true' if what.this else 'false'})", "BOOLEAN")
        case _:
            raise not_portable("IS with anything but NULL, TRUE or FALSE")


def _in(node: exp.In, scope: Scope, context: Context) -> Lowered:
    from rls.rewrite.port.functions import listed

    only(node, "this", "expressions", "query", "field")
    value = expression(node.this, scope, context)
    if node.args.get("field") is not None:
        return listed(expression(node.args["field"], scope, context), value, context.sql)
    query = node.args.get("query")
    if query is None:
        values = [value, *(expression(one, scope, context) for one in node.expressions)]
        first, *rest = _alike(values, "IN", context.sql)
        return Lowered(f"({first.text} IN ({', '.join(one.text for one in rest)}))", "BOOLEAN")
    only(query, "this")
    return _among(value, query.this, scope, context)


def _among(value: Lowered, query: exp.Expr, scope: Scope, context: Context) -> Lowered:
    """Whether a value is among the rows of a sub-query."""
    text, columns = context.query(query, scope)
    if len(columns) != 1 or value.literal is not None:
        raise not_portable("IN with a sub-query like this", hint="compare one column with one column")
    kind = common((value.kind, columns[0].kind))
    if kind in (None, "ENUM") or not (columns[0].kind == kind or {columns[0].kind, kind} <= set(NUMBERS)):
        raise not_portable("IN between these types", hint="cast one to the type of the other")
    return Lowered(f"({context.sql.convert(value, kind or '').text} IN ({text}))", "BOOLEAN")


def _compared(sign: str, value: Lowered, many: exp.Expr, scope: Scope, context: Context) -> Lowered:
    """A value against any or all rows of a sub-query."""
    query, word = many.this, "any" if isinstance(many, exp.Any) else "all"
    text, columns = context.query(query.this if isinstance(query, exp.Subquery) else query, scope)
    if len(columns) != 1 or value.literal is not None:
        raise not_portable(f"{word.upper()} with a sub-query like this", hint="compare with min or max")
    kind = common((value.kind, columns[0].kind))
    if kind in (None, "ENUM", "NULL", "UUID") or not (
        columns[0].kind == kind or {value.kind, columns[0].kind} <= set(NUMBERS)
    ):
        raise not_portable(f"{word.upper()} between these types", hint="cast one to the type of the other")
    sql = context.sql
    left = sql.convert(value, kind or "").text
    return Lowered(sql.write(word, "", sql.ordered(left) if kind == "VARCHAR" else left, sign, text), "BOOLEAN")


def _case(node: exp.Case, scope: Scope, context: Context) -> Lowered:
    branches = []
    for branch in node.args["ifs"]:
        only(branch, "this", "true")
        test: exp.Expr = branch.this
        if node.this is not None:
            test = exp.EQ(this=node.this.copy(), expression=test.copy())
        branches.append((condition(test, scope, context), expression(branch.args["true"], scope, context)))
    default = node.args.get("default")
    otherwise = expression(default, scope, context) if default is not None else Lowered("NULL", "NULL")
    return _branches(branches, otherwise, context.sql)


def _branches(branches: list[tuple[str, Lowered]], otherwise: Lowered, sql: Dialect) -> Lowered:
    kind = common([value.kind for _, value in branches] + [otherwise.kind])
    if kind is None:
        raise not_portable("CASE between these types", hint="cast one to the type of the other")
    if kind == "NULL":
        return Lowered("NULL", "NULL")
    tests = " ".join(f"WHEN {test} THEN {sql.convert(value, kind).text}" for test, value in branches)
    return Lowered(f"(CASE {tests} ELSE {sql.convert(otherwise, kind).text} END)", kind)


def _like(node: exp.Expr, value: Lowered, pattern: Lowered, sql: Dialect) -> Lowered:
    if common((value.kind, pattern.kind)) != "VARCHAR":
        raise not_portable("LIKE on what is not text", hint="cast it to VARCHAR")
    word = f"NOT {_LIKES[type(node)]}" if node.args.get("negate") else _LIKES[type(node)]
    if isinstance(node, exp.ILike):
        pattern = sql.folded(pattern)
    text = sql.write(word, "VARCHAR", sql.convert(value, "VARCHAR").text, sql.pattern(pattern))
    return Lowered(text, "BOOLEAN")


def _interval(node: exp.Interval, sql: Dialect) -> Lowered:
    only(node, "this", "unit")
    unit = node.args.get("unit")
    word = unit.name.upper().removesuffix("S") if isinstance(unit, exp.Var) else ""
    count = node.this.unnest() if isinstance(node.this, exp.Paren) else node.this
    if word not in _UNITS or not isinstance(count, exp.Literal) or not str(count.this).isdigit():
        raise not_portable("an INTERVAL like this", hint="write INTERVAL 1 DAY, with a positive whole number")
    return Lowered(sql.write("interval", "", int(count.this), word.lower()), "INTERVAL")


def _arithmetic(sign: str, left: Lowered, right: Lowered, sql: Dialect) -> Lowered:
    match left.kind, sign, right.kind:
        case "DATE" | "TIMESTAMP", "+" | "-", "INTERVAL":
            return Lowered(sql.write(sign, "INTERVAL", sql.convert(left, "TIMESTAMP").text, right.text), "TIMESTAMP")
        case "DATE", "+" | "-", "INTEGER" | "SMALLINT":
            return Lowered(sql.write(sign, "DAYS", left.text, right.text), "DATE")
        case "DATE", "-", "DATE":
            return Lowered(sql.write("-", "DATE", left.text, right.text), "BIGINT")
    kind = common((left.kind, right.kind))
    if kind is None or kind not in NUMBERS:
        raise not_portable(f"{sign} between these types", hint="cast one to the type of the other")
    # By a literal that is not zero it cannot fail.
    plain = f"{sign} plain" if right.text.isdigit() and int(right.text) else sign
    name = plain if plain in sql.texts else sign
    return Lowered(sql.write(name, kind, sql.convert(left, kind).text, sql.convert(right, kind).text), kind)


def _number(value: Lowered, construct: str) -> Lowered:
    if value.kind not in NUMBERS:
        raise not_portable(f"{construct} on what is not a number")
    return value


def _divide(left: Lowered, right: Lowered, sql: Dialect) -> Lowered:
    above, below = (sql.convert(_number(one, "/"), "DOUBLE").text for one in (left, right))
    by_zero = not (right.text.isdigit() and int(right.text))
    return Lowered(sql.write("/", "" if by_zero else "plain", above, below), "DOUBLE")


def _whole(node: exp.Expr, left: Lowered, right: Lowered, sql: Dialect) -> Lowered:
    """`//` and `%`."""
    kind = common((left.kind, right.kind))
    divides = isinstance(node, exp.IntDiv)
    sign = "//" if divides else "%"
    if kind is None or kind not in (*INTEGERS[:3], *(() if divides else ("HUGEINT", "DECIMAL"))):
        raise not_portable(f"{sign} on these types", hint="cast to BIGINT")
    # By a literal that is not zero it cannot fail.
    plain = f"{sign} plain" if right.text.isdigit() and int(right.text) else sign
    name = plain if plain in sql.texts else sign
    return Lowered(sql.write(name, kind, sql.convert(left, kind).text, sql.convert(right, kind).text), kind)
