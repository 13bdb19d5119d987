"""The reviewed functions: a call of DuckDB's → another engine's of the same value, by name and kinds.

Takes qualified trees; what is not here is refused by its name. Owns that nothing is called but what the engine's table
(`Dialect.texts`) has under a name, and that none of it reads or writes anything but its arguments.
"""

from __future__ import annotations

import re
from typing import Any, Final

from sqlglot import exp

from rls.rewrite.port.dialect import Dialect
from rls.rewrite.port.expressions import condition, expression, only, whole_number
from rls.rewrite.port.kinds import INTEGERS, NUMBERS, Lowered, common, not_portable
from rls.rewrite.port.ordering import frame, ordering
from rls.rewrite.port.scopes import Context, Scope

__all__ = ["aggregate", "function", "listed"]

_PART_FUNCTIONS: Final = {
    exp.Year: "year", exp.Month: "month", exp.Day: "day", exp.Quarter: "quarter", exp.Hour: "hour",
    exp.Minute: "minute",
    exp.DayOfMonth: "day", exp.DayOfWeek: "dow", exp.DayOfWeekIso: "isodow", exp.DayOfYear: "doy",
    exp.WeekOfYear: "week", exp.Week: "week",
}  # fmt: skip
_PART_NAMES: Final = {
    "dayofweek": "dow",
    "weekday": "dow",
    "dayofyear": "doy",
    "weekofyear": "week",
    "dayofmonth": "day",
}
_TEXTS: Final = {exp.MD5: "md5"}
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
_ORDERED: Final = (*_NUMBERING, *_SHIFTS, exp.Ntile)


def function(node: exp.Expr, scope: Scope, context: Context) -> Lowered:
    """A call that is no aggregate. Raises `QueryRefused` (`query.not_portable`)."""

    def down(child: Any) -> Lowered:
        return expression(child, scope, context)

    def text(child: Any) -> str:
        return _text(down(child), sql).text

    sql = context.sql

    match node:
        case exp.Abs():
            only(node, "this")
            value = _numeric(down(node.this), "abs")
            return Lowered(sql.write("abs", value.kind, value.text), value.kind)
        case exp.Ceil() | exp.Floor():
            only(node, "this")
            value, name = _numeric(down(node.this), "ceil"), "ceil" if isinstance(node, exp.Ceil) else "floor"
            return value if value.kind in INTEGERS else Lowered(sql.write(name, value.kind, value.text), value.kind)
        case exp.Round():
            only(node, "this", "decimals")
            decimals = node.args.get("decimals")
            return _round(
                _numeric(down(node.this), "round"),
                0 if decimals is None else whole_number(decimals, "round to that many places"),
                sql,
            )
        case exp.Sqrt():
            only(node, "this")
            value = sql.convert(_numeric(down(node.this), "sqrt"), "DOUBLE")
            return Lowered(sql.write("sqrt", "DOUBLE", value.text), "DOUBLE")
        case exp.Pow():
            only(node, "this", "expression")
            both = [sql.convert(_numeric(down(one), "power"), "DOUBLE").text for one in (node.this, node.expression)]
            return Lowered(sql.write("power", "DOUBLE", *both), "DOUBLE")
        case exp.Upper() | exp.Lower():
            only(node, "this")
            name = "upper" if isinstance(node, exp.Upper) else "lower"
            return Lowered(sql.write(name, "VARCHAR", text(node.this)), "VARCHAR")
        case exp.Length():
            only(node, "this")
            return Lowered(sql.write("length", "VARCHAR", text(node.this)), "BIGINT")
        case exp.Substring():
            only(node, "this", "start", "length")
            numbers = [str(whole_number(node.args.get("start"), "substring from there", least=1))]
            if node.args.get("length") is not None:
                numbers.append(str(whole_number(node.args["length"], "substring of that length")))
            name = "substr to" if len(numbers) == 2 else "substr"
            return Lowered(sql.write(name, "VARCHAR", text(node.this), *numbers), "VARCHAR")
        case exp.Left() | exp.Right():
            only(node, "this", "expression")
            name = "left" if isinstance(node, exp.Left) else "right"
            count = whole_number(node.expression, f"{name} of that length")
            return Lowered(sql.write(name, "VARCHAR", text(node.this), count), "VARCHAR")
        case exp.Replace():
            only(node, "this", "expression", "replacement")
            parts = [text(one) for one in (node.this, node.expression, node.args["replacement"])]
            return Lowered(sql.write("replace", "VARCHAR", *parts), "VARCHAR")
        case exp.SplitPart():
            only(node, "this", "delimiter", "part_index")
            delimiter = down(node.args["delimiter"])
            if not delimiter.literal:
                raise not_portable("split_part at what is no literal", hint="give the delimiter as a literal")
            part = whole_number(node.args["part_index"], "split_part from the end", least=1)
            return Lowered(sql.write("split_part", "VARCHAR", text(node.this), delimiter.text, part), "VARCHAR")
        case exp.Trim() if node.args.get("position") in ("LEADING", "TRAILING"):
            only(node, "this", "expression", "position")
            letters = None if node.expression is None else down(node.expression)
            if letters is None or not letters.literal:
                raise not_portable("trimming of what is no literal", hint="give the letters as a literal")
            name = "ltrim" if node.args["position"] == "LEADING" else "rtrim"
            return Lowered(sql.write(name, "VARCHAR", text(node.this), letters.text), "VARCHAR")
        case _ if type(node) in _TEXTS:
            only(node, "this")
            return Lowered(sql.write(_TEXTS[type(node)], "VARCHAR", text(node.this)), "VARCHAR")
        case exp.Trim() if node.args.get("expression") is not None:
            only(node, "this", "expression", "position")
            name = {"LEADING": "ltrim", "TRAILING": "rtrim"}.get(str(node.args.get("position") or "").upper(), "trim")
            return Lowered(sql.write(name, "VARCHAR", text(node.this), text(node.expression)), "VARCHAR")
        case exp.StartsWith():
            only(node, "this", "expression")
            return Lowered(sql.write("starts_with", "VARCHAR", text(node.this), text(node.expression)), "BOOLEAN")
        case exp.Contains():
            only(node, "this", "expression")
            return Lowered(sql.write("contains", "VARCHAR", text(node.this), text(node.expression)), "BOOLEAN")
        case exp.StrPosition():
            only(node, "this", "substr")
            return Lowered(sql.write("strpos", "VARCHAR", text(node.this), text(node.args["substr"])), "BIGINT")
        case exp.DPipe():
            only(node, "this", "expression", "safe")
            return Lowered(sql.write("||", "VARCHAR", text(node.this), text(node.expression)), "VARCHAR")
        case exp.Concat():
            only(node, "expressions", "safe", "coalesce")
            parts = [text(one) for one in node.expressions]
            return Lowered(sql.write("concat", "VARCHAR", ", ".join(parts)), "VARCHAR")
        case exp.Coalesce():
            only(node, "this", "expressions")
            return _first_of("coalesce", [down(one) for one in (node.this, *node.expressions)], sql)
        case exp.Greatest() | exp.Least():
            only(node, "this", "expressions", "ignore_nulls")
            name = "greatest" if isinstance(node, exp.Greatest) else "least"
            values = [down(one) for one in (node.this, *node.expressions)]
            if any(one.kind not in (*NUMBERS, "DATE", "TIMESTAMP") for one in values):
                raise not_portable(f"{name} on these types")
            return _first_of(name, values, sql)
        case exp.Nullif():
            only(node, "this", "expression")
            left, right = down(node.this), down(node.expression)
            if common((left.kind, right.kind)) not in (left.kind, None):
                raise not_portable("nullif between these types", hint="cast the second to the type of the first")
            return Lowered(sql.write("nullif", left.kind, left.text, sql.convert(right, left.kind).text), left.kind)
        case exp.ArrayContains():
            only(node, "this", "expression")
            return listed(down(node.this), down(node.expression), sql)
        case exp.Extract():
            only(node, "this", "expression")
            return _part(node.name.lower(), down(node.expression), sql)
        case _ if type(node) in _PART_FUNCTIONS:
            only(node, "this")
            return _part(_PART_FUNCTIONS[type(node)], down(node.this), sql)
        case exp.TimestampTrunc() | exp.DateTrunc():
            only(node, "this", "unit")
            unit = node.args["unit"].name.lower()
            value = _moment(down(node.this), "date_trunc")
            return Lowered(sql.write(f"trunc {unit}", "", sql.convert(value, "TIMESTAMP").text), "TIMESTAMP")
        case exp.DateDiff():
            only(node, "this", "expression", "unit", "date_part_boundary")
            return _difference(node.args["unit"].name.lower(), down(node.expression), down(node.this), sql)
        case exp.TimeToUnix():
            only(node, "this")
            moment = sql.convert(_moment(down(node.this), "epoch"), "TIMESTAMP")
            return Lowered(sql.write("epoch", "", moment.text), "DOUBLE")
        case exp.TimeToStr():
            only(node, "this", "format")
            moment = sql.convert(_moment(down(node.this), "strftime"), "TIMESTAMP")
            return Lowered(
                sql.write("strftime", "", moment.text, sql.literal(_format(node.args["format"], sql))), "VARCHAR"
            )
        case exp.Anonymous() if str(node.this).lower() == "strlen" and len(node.expressions) == 1:
            return Lowered(sql.write("strlen", "", text(node.expressions[0])), "BIGINT")
        case exp.Anonymous() if str(node.this).lower() in ("date_part", "hour", "minute"):
            name, arguments = str(node.this).lower(), list(node.expressions)
            if name == "date_part" and isinstance(arguments[0], exp.Literal):
                name = arguments.pop(0).name.lower()
            return _part(name, down(arguments[0]), sql)
        case exp.Anonymous():
            raise not_portable(f"the function `{node.this}`")
        case _:
            word = node.sql_name() if isinstance(node, exp.Func) else node.key
            raise not_portable(word.replace("_", " ").upper())


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
        inner, distinct = inner.expressions[0], "DISTINCT "
        if " OVER (" in tail:
            raise not_portable("DISTINCT in a window function", hint="count in a sub-query")
    match call:
        case exp.Count():
            only(call, "this", "big_int")
            shown = "*" if inner is None or isinstance(inner, exp.Star) else expression(inner, scope, context).text
            return Lowered(sql.write("count", "", distinct, shown, tail), "BIGINT")
        case exp.Sum():
            only(call, "this")
            value = _numeric(expression(inner, scope, context), "sum")
            result = "HUGEINT" if value.kind in INTEGERS else value.kind
            return Lowered(sql.write("sum", value.kind, distinct, value.text, tail), result)
        case exp.Avg():
            only(call, "this")
            value = _numeric(expression(inner, scope, context), "avg")
            return Lowered(sql.write("avg", value.kind, distinct, value.text, tail), "DOUBLE")
        case exp.Min() | exp.Max():
            only(call, "this")
            name = "min" if isinstance(call, exp.Min) else "max"
            value = expression(inner, scope, context)
            if value.kind not in (*NUMBERS, "FLOAT", "VARCHAR", "DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE"):
                raise not_portable(f"{name} of {value.kind}", hint="cast it to VARCHAR or a number")
            return Lowered(sql.write(name, value.kind, distinct, value.text, tail), value.kind)
        case exp.LogicalAnd() | exp.LogicalOr():
            only(call, "this")
            name = "bool_and" if isinstance(call, exp.LogicalAnd) else "bool_or"
            return Lowered(sql.write(name, "BOOLEAN", distinct, condition(inner, scope, context), tail), "BOOLEAN")
        case _ if kind in _SPREADS:
            only(call, "this")
            value = sql.convert(_numeric(expression(inner, scope, context), _SPREADS[kind]), "DOUBLE")
            return Lowered(sql.write(_SPREADS[kind], "", distinct, value.text, tail), "DOUBLE")
        case exp.Median() if not distinct and not tail:
            only(call, "this")
            value = _numeric(expression(inner, scope, context), "median")
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
            value = _text(expression(inner, scope, context), sql)
            text = sql.write("string_agg", "ordered" if order else "", value.text, between, order, tail)
            return Lowered(text, "VARCHAR")
        case _:
            word = call.sql_name() if isinstance(call, exp.Func) else call.key
            raise not_portable(f"the aggregate {word.upper()}")


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


def _numeric(value: Lowered, construct: str) -> Lowered:
    if value.kind not in NUMBERS:
        raise not_portable(f"{construct} of {value.kind}", hint="cast it to a number")
    return value


def _text(value: Lowered, sql: Dialect) -> Lowered:
    if value.kind in ("VARCHAR", "NULL", "ENUM"):
        return sql.convert(value, "VARCHAR")
    raise not_portable(f"{value.kind} as text", hint="cast it to VARCHAR")


def _format(node: Any, sql: Dialect) -> str:
    """The format of `strftime` in the engine's words."""
    if not isinstance(node, exp.Literal) or not node.is_string:
        raise not_portable("strftime with a format that is no literal", hint="give the format as a literal")
    found = ""
    for directive, text in re.findall(r"%(.)|([^%]+|%$)", str(node.this), re.DOTALL):
        written = sql.between(text) if text else sql.directives.get(directive)
        if written is None:
            raise not_portable(f"strftime with `{directive or text}`"[:40])
        found += written
    return found


def _literal_text(node: Any) -> str:
    if isinstance(node, exp.Literal) and node.is_string:
        return str(node.this)
    raise not_portable("string_agg with a separator that is no literal")


def _first_of(name: str, values: list[Lowered], sql: Dialect) -> Lowered:
    kind = common(one.kind for one in values)
    if kind is None or kind == "NULL":
        raise not_portable(f"{name} between these types", hint="cast one to the type of the other")
    return Lowered(sql.write(name, kind, ", ".join(sql.convert(one, kind).text for one in values)), kind)


def _round(value: Lowered, places: int, sql: Dialect) -> Lowered:
    if value.kind in INTEGERS:
        return value
    if value.kind == "DECIMAL":
        return Lowered(sql.write("round", "DECIMAL", value.text, places), "DECIMAL")
    shifted = sql.write("shift", "DOUBLE", value.text, places) if places else value.text
    return Lowered(sql.write("round", "DOUBLE", value.text, places, shifted), "DOUBLE")


def listed(many: Lowered, value: Lowered, sql: Dialect) -> Lowered:
    """Whether a value is in a list. Raises `QueryRefused`."""
    if many.kind != f"{value.kind}[]" and (many.kind != "BIGINT[]" or value.kind not in ("SMALLINT", "INTEGER")):
        raise not_portable("a list of another type", hint="cast the value to the type of the list's items")
    return Lowered(sql.write("list_contains", "", many.text, value.text), "BOOLEAN")


def _moment(value: Lowered, construct: str) -> Lowered:
    if value.kind not in ("DATE", "TIMESTAMP"):
        raise not_portable(f"{construct} of {value.kind}", hint="cast it to DATE or TIMESTAMP")
    return value


def _part(part: str, value: Lowered, sql: Dialect) -> Lowered:
    part = _PART_NAMES.get(part, part)
    return Lowered(sql.write(f"part {part}", "", _moment(value, part).text), "BIGINT")


def _difference(unit: str, start: Lowered, end: Lowered, sql: Dialect) -> Lowered:
    first, last = (_moment(one, "date_diff") for one in (start, end))
    if unit == "day":
        return Lowered(sql.write("days", "", last.text, first.text), "BIGINT")
    years = f"({_part('year', last, sql).text} - {_part('year', first, sql).text})"
    if unit == "year":
        return Lowered(years, "BIGINT")
    if unit == "month":
        months = f"({_part('month', last, sql).text} - {_part('month', first, sql).text})"
        return Lowered(f"({years} * 12 + {months})", "BIGINT")
    raise not_portable(f"date_diff by `{unit}`")
