"""Aggregates and window functions, with their FILTER and OVER.

Takes qualified trees; what is not here is refused by its name. Owns that what an aggregate raises, it raises on rows
that have passed the filter.
"""

from __future__ import annotations

from typing import Any, Final

from sqlglot import exp

from rls.rewrite.port.arithmetic import numeric
from rls.rewrite.port.expressions import condition, expression
from rls.rewrite.port.functions import as_text
from rls.rewrite.port.kinds import INTEGERS, NUMBERS, Lowered, digits_after, listed_kind, not_portable
from rls.rewrite.port.named import name_of
from rls.rewrite.port.nodes import only, whole_number
from rls.rewrite.port.ordering import frame, ordering, sort_key
from rls.rewrite.port.scopes import Context, Scope

__all__ = ["aggregate"]

_NUMBERING: Final[dict[type[Any], tuple[str, str]]] = {
    exp.RowNumber: ("row_number", "BIGINT"), exp.Rank: ("rank", "BIGINT"), exp.DenseRank: ("dense_rank", "BIGINT"),
    exp.PercentRank: ("percent_rank", "DOUBLE"), exp.CumeDist: ("cume_dist", "DOUBLE"),
}  # fmt: skip
_SPREADS: Final = {
    exp.Stddev: "stddev_samp", exp.StddevSamp: "stddev_samp", exp.StddevPop: "stddev_pop", exp.Variance: "var_samp",
    exp.VariancePop: "var_pop",
}  # fmt: skip
_SHIFTS: Final = {exp.Lag: "lag", exp.Lead: "lead"}
_ENDS: Final = {exp.FirstValue: "first_value", exp.LastValue: "last_value"}
_SORTED: Final = (*INTEGERS, "DECIMAL", "DOUBLE", "VARCHAR", "DATE", "TIMESTAMP")
_ORDERED: Final = (*_NUMBERING, *_SHIFTS, exp.Ntile)


def aggregate(node: exp.Expr, scope: Scope, context: Context) -> Lowered:
    """An aggregate or a window function, with its FILTER and OVER. Raises `QueryRefused`."""
    with context.sql.evaluated(late=not isinstance(node, exp.Window)):
        return _call(node, scope, context)


def _call(node: exp.Expr, scope: Scope, context: Context) -> Lowered:
    tail, over, call, sql = "", False, node, context.sql
    if isinstance(call, exp.Window):
        only(call, "this", "partition_by", "order", "spec", "over")
        over = True
        tail = f" OVER ({_window(call, scope, context)})"
        call = call.this
    if isinstance(call, exp.Filter) and over and "FILTER in a window function" in sql.lacks:
        call = _kept_by_case(call)
    elif isinstance(call, exp.Filter):
        only(call, "this", "expression")
        tail = f" FILTER (WHERE {condition(call.expression.this, scope, context)}){tail}"
        call = call.this
    kind = type(call)
    if over and kind in _ORDERED and node.args.get("order") is None:
        sql.demand("numbering rows without ORDER BY")
    if over and kind in _NUMBERING:
        only(call)
        name, result = _NUMBERING[kind]
        return Lowered(sql.write(name, "", tail), result)
    if over and isinstance(call, exp.Ntile):
        only(call, "this")
        count = whole_number(call.this, "ntile of that many", least=1)
        return Lowered(sql.write("ntile", "", count, tail), "BIGINT")
    if over and kind in _SHIFTS:
        only(call, "this", "offset", "default")
        value = expression(call.this, scope, context)
        offset = call.args.get("offset")
        arguments = [value.text, str(1 if offset is None else whole_number(offset, "lag or lead by that much"))]
        if call.args.get("default") is not None:
            arguments.append(sql.convert(expression(call.args["default"], scope, context), value.kind).text)
        return Lowered(sql.write(_SHIFTS[kind], value.kind, ", ".join(arguments), tail), value.kind)
    if over and kind in _ENDS:
        only(call, "this")
        value = expression(call.this, scope, context)
        return Lowered(sql.write(_ENDS[kind], value.kind, value.text, tail), value.kind)
    return _aggregated(call, scope, context, tail)


def _kept_by_case(node: exp.Filter) -> exp.Expr:
    """`sum(x) FILTER (WHERE c)` as `sum(CASE WHEN c THEN x END)`."""
    only(node, "this", "expression")
    call = node.this.copy()
    if not isinstance(call, exp.Count | exp.Sum | exp.Avg | exp.Min | exp.Max):
        raise not_portable("FILTER in a window function")
    counted = call.this is None or isinstance(call.this, exp.Star)
    shown = exp.Literal.number(1) if counted else call.this.copy()
    call.set("this", exp.Case(ifs=[exp.If(this=node.expression.this.copy(), true=shown)]))
    return call


def _aggregated(call: exp.Expr, scope: Scope, context: Context, tail: str) -> Lowered:
    inner, distinct, sql, kind = call.args.get("this"), "", context.sql, type(call)
    if isinstance(inner, exp.Distinct):
        only(inner, "expressions")
        if len(inner.expressions) != 1:
            raise not_portable("DISTINCT over several columns in an aggregate")
        if inner.find(exp.Column) is None:
            sql.demand("DISTINCT of a constant in an aggregate")
        inner, distinct = inner.expressions[0], "DISTINCT "
        if " OVER (" in tail:
            raise not_portable("DISTINCT in a window function", hint="count in a sub-query")
    match call:
        case exp.Count():
            only(call, "this", "big_int")
            shown = "*" if inner is None or isinstance(inner, exp.Star) else expression(inner, scope, context).text
            return Lowered(sql.write("count", "", distinct, shown, tail), "BIGINT")
        case exp.CountIf() if not distinct:
            only(call, "this")
            # Of no rows, or none that is true or false, DuckDB's is NULL.
            test = condition(inner, scope, context)
            counted = f"(CASE WHEN {test} THEN 1 WHEN (NOT {test}) THEN 0 END)"
            return Lowered(sql.write("sum", "INTEGER", "", counted, tail), "HUGEINT")
        case exp.Sum():
            only(call, "this")
            value = numeric(expression(inner, scope, context), "sum")
            result, digits = "HUGEINT" if value.kind in INTEGERS else value.kind, digits_after("sum", value)
            text = sql.write("sum", value.kind, distinct, value.text, tail, digits=digits)
            return Lowered(text, result, digits=digits)
        case exp.Avg():
            only(call, "this")
            value = numeric(expression(inner, scope, context), "avg")
            digits = digits_after("avg", value)
            text = sql.write("avg", value.kind, distinct, value.text, tail, digits=digits)
            return Lowered(text, "DOUBLE", digits=digits)
        case exp.Min() | exp.Max():
            only(call, "this")
            name = "min" if isinstance(call, exp.Min) else "max"
            value = expression(inner, scope, context)
            if value.kind not in (*NUMBERS, "FLOAT", "VARCHAR", "DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE"):
                raise not_portable(f"{name} of {value.kind}", hint="cast it to VARCHAR or a number")
            text = sql.write(name, value.kind, distinct, value.text, tail)
            return Lowered(text, value.kind, digits=value.digits)
        case exp.LogicalAnd() | exp.LogicalOr():
            only(call, "this")
            name = "bool_and" if isinstance(call, exp.LogicalAnd) else "bool_or"
            return Lowered(sql.write(name, "BOOLEAN", distinct, condition(inner, scope, context), tail), "BOOLEAN")
        case _ if kind in _SPREADS:
            only(call, "this")
            value = sql.convert(numeric(expression(inner, scope, context), _SPREADS[kind]), "DOUBLE")
            return Lowered(sql.write(_SPREADS[kind], "", distinct, value.text, tail), "DOUBLE")
        case exp.ArgMax() | exp.ArgMin() if not distinct and " OVER (" not in tail:
            return _at_end(call, scope, context, tail)
        case exp.ArrayAgg() if not distinct and " OVER (" not in tail:
            only(call, "this", "nulls_excluded")
            return _listed(inner, scope, context, tail)
        case exp.PercentileCont() if not distinct and not tail:
            only(call, "this", "expression")
            return _percentile(call.this, call.expression, scope, context)
        case exp.Median() if not distinct and not tail:
            only(call, "this")
            value = numeric(expression(inner, scope, context), "median")
            if value.kind in ("DECIMAL", "HUGEINT"):
                raise not_portable(f"median of {value.kind}", hint="cast it to DOUBLE")
            return Lowered(sql.write("median", "", "", sql.convert(value, "DOUBLE").text, tail), "DOUBLE")
        case exp.Grouping() if not tail:
            only(call, "expressions")
            first, *rest = (sql.write("grouping", "", expression(one, scope, context).text) for one in call.expressions)
            for one in rest:
                first = f"({first} * 2 + {one})"
            return Lowered(first, "BIGINT")
        case exp.GroupConcat() if not distinct:
            only(call, "this", "separator")
            order = ""
            if isinstance(inner, exp.Order):
                only(inner, "this", "expressions")
                order = " " + ordering(inner, lambda one: expression(one, scope, context), sql)
                inner = inner.this
            separator = call.args.get("separator")
            between = sql.literal("," if separator is None else _literal_text(separator))
            value = as_text(expression(inner, scope, context), sql)
            text = sql.write("string_agg", "ordered" if order else "", value.text, between, order, tail)
            return Lowered(text, "VARCHAR")
        case _:
            raise not_portable(f"the aggregate {name_of(call)}")


def _at_end(call: exp.Expr, scope: Scope, context: Context, tail: str) -> Lowered:
    """`arg_max(x, key)`: of the rows that have both, x of the one with the greatest key; of equal ones, any."""
    only(call, "this", "expression")
    if tail:
        raise not_portable("FILTER in arg_max or arg_min", hint="use a sub-query")
    sql, value, key = context.sql, *(expression(one, scope, context) for one in (call.this, call.expression))
    if key.kind not in _SORTED or value.kind not in (*_SORTED, "BOOLEAN"):
        raise not_portable("arg_max or arg_min on these types", hint="cast them to numbers or texts")
    kept = f" FILTER (WHERE (({value.text} IS NOT NULL) AND ({key.text} IS NOT NULL)))"
    name = "arg_max" if isinstance(call, exp.ArgMax) else "arg_min"
    return Lowered(sql.write(name, "", value.text, sort_key(key, sql), kept), value.kind, digits=value.digits)


def _listed(inner: exp.Expr, scope: Scope, context: Context, tail: str) -> Lowered:
    """`list(x ORDER BY key)`."""
    order, sql = "", context.sql
    if isinstance(inner, exp.Order):
        only(inner, "this", "expressions")
        order = " " + ordering(inner, lambda one: expression(one, scope, context), sql)
        inner = inner.this
    value = expression(inner, scope, context)
    if listed_kind(value.kind) not in sql.shown:
        raise not_portable(f"a list of {value.kind}", hint="cast its items to numbers or texts")
    # A list of values of a type that somebody made (PostgreSQL's domains) would be of a type of its own.
    item = f"CAST({value.text} AS {sql.type_of(value.kind)})"
    return Lowered(sql.write("list", "", item, order, tail), listed_kind(value.kind))


def _percentile(inner: exp.Expr, at: Any, scope: Scope, context: Context) -> Lowered:
    """`quantile_cont(x, 0.9)` of numbers that DuckDB takes for DOUBLE."""
    value = numeric(expression(inner, scope, context), "quantile_cont")
    if not isinstance(at, exp.Literal) or at.is_string or not 0 <= float(at.this) <= 1:
        raise not_portable("quantile_cont at what is no number from 0 to 1", hint="give it as a literal")
    if value.kind in ("DECIMAL", "HUGEINT"):
        raise not_portable(f"quantile_cont of {value.kind}", hint="cast it to DOUBLE")
    sql = context.sql
    return Lowered(sql.write("percentile", "", str(at.this), sql.convert(value, "DOUBLE").text), "DOUBLE")


def _window(node: exp.Window, scope: Scope, context: Context) -> str:
    if node.args.get("over") != "OVER":
        raise not_portable("a window like this")
    parts = []
    if node.args.get("partition_by"):
        parts.append(
            "PARTITION BY " + ", ".join(expression(one, scope, context).text for one in node.args["partition_by"])
        )
    if node.args.get("order") is not None:
        only(node.args["order"], "expressions")
        parts.append(ordering(node.args["order"], lambda one: expression(one, scope, context), context.sql))
    if node.args.get("spec") is not None:
        parts.append(frame(node.args["spec"], lambda one: expression(one, scope, context), context.sql))
    return " ".join(parts)


def _literal_text(node: Any) -> str:
    if isinstance(node, exp.Literal) and node.is_string:
        return str(node.this)
    raise not_portable("string_agg with a separator that is no literal")
