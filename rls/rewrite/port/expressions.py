"""An expression of DuckDB's → the same in another engine's SQL, with its kind; closed world over syntax and kinds.

Takes qualified trees; gives texts that may stand anywhere. Owns that what comes out gives DuckDB's value, or raises:
text is ordered by its bytes, NULLs and division by zero are DuckDB's, and what is not known to agree is refused.
"""

from __future__ import annotations

from typing import Final

from sqlglot import exp

from rls.catalog import fold
from rls.rewrite.port.arithmetic import calculate, divide, divide_whole, negate
from rls.rewrite.port.casts import cast, interval, literal
from rls.rewrite.port.comparisons import alike, among, compared, is_in, is_value, like, ordered
from rls.rewrite.port.dialect import Dialect
from rls.rewrite.port.kinds import Lowered, common, not_portable
from rls.rewrite.port.nodes import only
from rls.rewrite.port.scopes import Context, Scope

__all__ = ["condition", "expression", "has_aggregates"]

MAX_TEXT: Final = 100_000  # characters; some lowerings repeat their operands

_COMPARISONS: Final = {exp.EQ: "=", exp.NEQ: "<>", exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">="}
_ARITHMETIC: Final = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*"}


def expression(node: exp.Expr, scope: Scope, context: Context, *, shown: bool = False) -> Lowered:
    """One expression; where it is `shown`, and nothing is made of it, it may be of a kind that has no operations.
    Raises `QueryRefused` (`query.not_portable`)."""
    from rls.rewrite.port.aggregates import aggregate
    from rls.rewrite.port.functions import function

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
            return expression(node.this, scope, context, shown=shown)
        case exp.Alias():
            only(node, "this", "alias")
            return expression(node.this, scope, context, shown=shown)
        case exp.Literal():
            found = literal(node, sql)
        case exp.RawString():
            found = literal(exp.Literal.string(node.this), sql)
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
            found = cast(node, down, context)
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
            found = is_value(down(node.this), node.expression)
        case exp.NullSafeEQ() | exp.NullSafeNEQ():
            only(node, "this", "expression")
            left, right = alike([down(node.this), down(node.expression)], "IS DISTINCT FROM", sql)
            sign = "= null safe" if isinstance(node, exp.NullSafeEQ) else "<> null safe"
            found = Lowered(sql.write(sign, "", left.text, right.text), "BOOLEAN")
        case exp.Between():
            only(node, "this", "low", "high")
            both = [down(node.this), down(node.args["low"]), down(node.args["high"])]
            value, low, high = ordered(both, "BETWEEN", sql)
            found = Lowered(f"({value.text} BETWEEN {low.text} AND {high.text})", "BOOLEAN")
        case exp.In():
            found = is_in(node, down, scope, context)
        case exp.Exists():
            only(node, "this")
            found = Lowered(f"(EXISTS ({context.query(node.this, scope)[0]}))", "BOOLEAN")
        case exp.Subquery():
            only(node, "this")
            text, columns = context.query(sql.scalar(node.this), scope)
            if len(columns) != 1:
                raise not_portable("a sub-query of several columns as a value")
            if columns[0].kind not in (*sql.types, "NULL") and not (shown and columns[0].kind in sql.shown):
                raise not_portable(f"a value of type {columns[0].kind}", hint="leave it out")
            if not _is_one_row(node.this):
                sql.raises("a sub-query of more than one row")
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
            found = negate(down(node.this), sql)
        case exp.Like() | exp.ILike():
            only(node, "this", "expression", "negate")
            found = like(node, down(node.this), down(node.expression), sql)
        case exp.Interval():
            found = interval(node, sql)
        case exp.Window() | exp.AggFunc() | exp.Filter():
            found = aggregate(node, scope, context)
        case exp.EQ() if isinstance(node.expression, exp.Any):
            only(node, "this", "expression")
            query = node.expression.this
            found = among(down(node.this), query.this if isinstance(query, exp.Subquery) else query, scope, context)
        case _ if type(node) in _COMPARISONS and isinstance(node.expression, exp.Any | exp.All):
            only(node, "this", "expression")
            found = compared(_COMPARISONS[type(node)], down(node.this), node.expression, scope, context)
        case _ if type(node) in _COMPARISONS:
            only(node, "this", "expression")
            sign = _COMPARISONS[type(node)]
            both = [down(node.this), down(node.expression)]
            left, right = alike(both, sign, sql) if sign in ("=", "<>") else ordered(both, sign, sql)
            found = Lowered(f"({left.text} {sign} {right.text})", "BOOLEAN")
        case _ if type(node) in _ARITHMETIC:
            only(node, "this", "expression")
            found = calculate(_ARITHMETIC[type(node)], down(node.this), down(node.expression), sql)
        case exp.Div():
            only(node, "this", "expression", "typed", "safe")
            found = divide(down(node.this), down(node.expression), sql)
        case exp.IntDiv() | exp.Mod():
            only(node, "this", "expression")
            found = divide_whole(node, down(node.this), down(node.expression), sql)
        case _:
            found = function(node, scope, context)
    if found.kind in sql.shown and not shown:
        raise not_portable("an operation on a list", hint="show it, or use a sub-query")
    if len(found.text) > MAX_TEXT:
        raise not_portable("an expression that long", hint="name its parts in a sub-query")
    return found


def has_aggregates(node: exp.Expr) -> bool:
    """Whether an item of a query is made of aggregates of its own, not of a sub-query's."""
    if isinstance(node, exp.Query | exp.Window):
        return False
    if isinstance(node, exp.AggFunc):
        return True
    return any(has_aggregates(one) for one in node.iter_expressions())


def _is_one_row(node: exp.Expr) -> bool:
    """Whether a query gives at most one row: aggregates of all rows."""
    if not isinstance(node, exp.Select) or node.args.get("group") is not None:
        return False
    return any(has_aggregates(one) for one in node.expressions)


def condition(node: exp.Expr, scope: Scope, context: Context) -> str:
    """A condition's text."""
    found = expression(node, scope, context)
    if found.kind not in ("BOOLEAN", "NULL"):
        raise not_portable(f"{found.kind} as a condition", hint="compare it with something")
    return context.sql.convert(found, "BOOLEAN").text


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
