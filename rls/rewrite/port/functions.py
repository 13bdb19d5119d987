"""The reviewed functions: a call of DuckDB's → PostgreSQL's of the same value, by name, kinds and literal arguments.

Takes qualified trees; what is not here is refused by its name. `NAMES` is all that a finished text may call; owns that
nothing else is called, and that none of them reads or writes anything but its arguments.
"""

from __future__ import annotations

from typing import Any, Final

from sqlglot import exp

from rls.rewrite.port.expressions import BYTES, condition, expression, only, quoted, whole_number
from rls.rewrite.port.kinds import INTEGERS, NUMBERS, Lowered, common, convert, not_portable
from rls.rewrite.port.ordering import frame, ordering
from rls.rewrite.port.scopes import Context, Scope

__all__ = ["NAMES", "aggregate", "function", "listed"]

NAMES: Final = frozenset((
    "abs", "ceil", "floor", "round", "trunc", "sign", "sqrt", "power",
    "upper", "lower", "length", "substr", "left", "right", "replace", "split_part", "md5", "starts_with", "strpos",
    "concat", "coalesce", "nullif", "greatest", "least", "date_trunc", "extract",
    "count", "sum", "avg", "min", "max", "bool_and", "bool_or", "string_agg",
    "row_number", "rank", "dense_rank", "percent_rank", "cume_dist", "ntile", "lag", "lead", "first_value",
    "last_value",
))  # fmt: skip

_PARTS: Final = ("year", "quarter", "month", "week", "day", "hour", "minute", "dow", "isodow", "doy")
_TRUNCATED: Final = ("year", "quarter", "month", "week", "day", "hour", "minute", "second")
_PART_FUNCTIONS: Final = {exp.Year: "year", exp.Month: "month", exp.Day: "day", exp.Quarter: "quarter"}
_TEXTS: Final = {exp.MD5: "md5"}
_NUMBERING: Final[dict[type[Any], tuple[str, str]]] = {
    exp.RowNumber: ("row_number", "BIGINT"), exp.Rank: ("rank", "BIGINT"), exp.DenseRank: ("dense_rank", "BIGINT"),
    exp.PercentRank: ("percent_rank", "DOUBLE"), exp.CumeDist: ("cume_dist", "DOUBLE"),
}  # fmt: skip
_SHIFTS: Final = {exp.Lag: "lag", exp.Lead: "lead"}
_ENDS: Final = {exp.FirstValue: "first_value", exp.LastValue: "last_value"}


def function(node: exp.Expr, scope: Scope, context: Context) -> Lowered:
    """A call that is no aggregate. Raises `QueryRefused` (`query.not_portable`)."""

    def down(child: Any) -> Lowered:
        return expression(child, scope, context)

    def text(child: Any) -> str:
        return _text(down(child)).text

    match node:
        case exp.Abs():
            only(node, "this")
            value = _numeric(down(node.this), "abs")
            return Lowered(f"abs({value.text})", value.kind)
        case exp.Ceil() | exp.Floor():
            only(node, "this")
            value, name = _numeric(down(node.this), "ceil"), "ceil" if isinstance(node, exp.Ceil) else "floor"
            return value if value.kind in INTEGERS else Lowered(f"{name}({value.text})", value.kind)
        case exp.Round():
            only(node, "this", "decimals")
            decimals = node.args.get("decimals")
            return _round(
                _numeric(down(node.this), "round"),
                0 if decimals is None else whole_number(decimals, "round to that many places"),
            )
        case exp.Sqrt():
            only(node, "this")
            return Lowered(f"sqrt({convert(_numeric(down(node.this), 'sqrt'), 'DOUBLE').text})", "DOUBLE")
        case exp.Pow():
            only(node, "this", "expression")
            both = [convert(_numeric(down(one), "power"), "DOUBLE").text for one in (node.this, node.expression)]
            return Lowered(f"power({', '.join(both)})", "DOUBLE")
        case exp.Upper() | exp.Lower():
            only(node, "this")
            if not context.unicode:
                raise not_portable("upper and lower", hint="ask the operator for a server with the collation C.utf8")
            name = "upper" if isinstance(node, exp.Upper) else "lower"
            value = _text(down(node.this))
            # The one letter that DuckDB has another capital for than the C library.
            inner = f"replace({value.text}, 'ß', 'ẞ')" if name == "upper" else value.text
            return Lowered(f'({name}({inner} COLLATE "{context.unicode}") {BYTES})', "VARCHAR")
        case exp.Length():
            only(node, "this")
            return Lowered(f"CAST(length({text(node.this)}) AS bigint)", "BIGINT")
        case exp.Substring():
            only(node, "this", "start", "length")
            numbers = [str(whole_number(node.args.get("start"), "substring from there", least=1))]
            if node.args.get("length") is not None:
                numbers.append(str(whole_number(node.args["length"], "substring of that length")))
            return Lowered(f"substr({', '.join([text(node.this), *numbers])})", "VARCHAR")
        case exp.Left() | exp.Right():
            only(node, "this", "expression")
            name = "left" if isinstance(node, exp.Left) else "right"
            count = whole_number(node.expression, f"{name} of that length")
            return Lowered(f"{name}({text(node.this)}, {count})", "VARCHAR")
        case exp.Replace():
            only(node, "this", "expression", "replacement")
            parts = [text(one) for one in (node.this, node.expression, node.args["replacement"])]
            return Lowered(f"replace({', '.join(parts)})", "VARCHAR")
        case exp.SplitPart():
            only(node, "this", "delimiter", "part_index")
            delimiter = down(node.args["delimiter"])
            if not delimiter.literal:
                raise not_portable("split_part at what is no literal", hint="give the delimiter as a literal")
            part = whole_number(node.args["part_index"], "split_part from the end", least=1)
            return Lowered(f"split_part({text(node.this)}, {delimiter.text}, {part})", "VARCHAR")
        case _ if type(node) in _TEXTS:
            only(node, "this")
            return Lowered(f"{_TEXTS[type(node)]}({text(node.this)})", "VARCHAR")
        case exp.StartsWith():
            only(node, "this", "expression")
            return Lowered(f"starts_with({text(node.this)}, {text(node.expression)})", "BOOLEAN")
        case exp.Contains():
            only(node, "this", "expression")
            return Lowered(f"(strpos({text(node.this)}, {text(node.expression)}) > 0)", "BOOLEAN")
        case exp.StrPosition():
            only(node, "this", "substr")
            return Lowered(f"CAST(strpos({text(node.this)}, {text(node.args['substr'])}) AS bigint)", "BIGINT")
        case exp.DPipe():
            only(node, "this", "expression", "safe")
            return Lowered(f"({text(node.this)} || {text(node.expression)})", "VARCHAR")
        case exp.Concat():
            only(node, "expressions", "safe", "coalesce")
            return Lowered(f"concat({', '.join(text(one) for one in node.expressions)})", "VARCHAR")
        case exp.Coalesce():
            only(node, "this", "expressions")
            return _first_of("coalesce", [down(one) for one in (node.this, *node.expressions)])
        case exp.Greatest() | exp.Least():
            only(node, "this", "expressions", "ignore_nulls")
            name = "greatest" if isinstance(node, exp.Greatest) else "least"
            values = [down(one) for one in (node.this, *node.expressions)]
            if any(one.kind not in (*NUMBERS, "DATE", "TIMESTAMP") for one in values):
                raise not_portable(f"{name} on these types")
            return _first_of(name, values)
        case exp.Nullif():
            only(node, "this", "expression")
            left, right = down(node.this), down(node.expression)
            if common((left.kind, right.kind)) not in (left.kind, None):
                raise not_portable("nullif between these types", hint="cast the second to the type of the first")
            return Lowered(f"nullif({left.text}, {convert(right, left.kind).text})", left.kind)
        case exp.ArrayContains():
            only(node, "this", "expression")
            return listed(down(node.this), down(node.expression))
        case exp.Extract():
            only(node, "this", "expression")
            return _part(node.name.lower(), down(node.expression))
        case _ if type(node) in _PART_FUNCTIONS:
            only(node, "this")
            return _part(_PART_FUNCTIONS[type(node)], down(node.this))
        case exp.TimestampTrunc() | exp.DateTrunc():
            only(node, "this", "unit")
            unit = node.args["unit"].name.lower()
            value = _moment(down(node.this), "date_trunc")
            if unit not in _TRUNCATED:
                raise not_portable(f"date_trunc to `{unit}`")
            return Lowered(f"date_trunc({quoted(unit)}, {convert(value, 'TIMESTAMP').text})", "TIMESTAMP")
        case exp.DateDiff():
            only(node, "this", "expression", "unit", "date_part_boundary")
            return _difference(node.args["unit"].name.lower(), down(node.expression), down(node.this))
        case exp.Anonymous() if str(node.this).lower() in ("date_part", "hour", "minute"):
            name, arguments = str(node.this).lower(), list(node.expressions)
            if name == "date_part" and isinstance(arguments[0], exp.Literal):
                name = arguments.pop(0).name.lower()
            return _part(name, down(arguments[0]))
        case exp.Anonymous():
            raise not_portable(f"the function `{node.this}`")
        case _:
            word = node.sql_name() if isinstance(node, exp.Func) else node.key
            raise not_portable(word.replace("_", " ").upper())


def aggregate(node: exp.Expr, scope: Scope, context: Context) -> Lowered:
    """An aggregate or a window function, with its FILTER and OVER. Raises `QueryRefused`."""
    tail, over, call = "", False, node
    if isinstance(call, exp.Window):
        only(call, "this", "partition_by", "order", "spec", "over")
        over = True
        tail = f" OVER ({_window(call, scope, context)})"
        call = call.this
    if isinstance(call, exp.Filter):
        only(call, "this", "expression")
        tail = f" FILTER (WHERE {condition(call.expression.this, scope, context)}){tail}"
        call = call.this
    kind = type(call)
    if over and kind in _NUMBERING:
        only(call)
        name, result = _NUMBERING[kind]
        return Lowered(f"{name}(){tail}", result)
    if over and isinstance(call, exp.Ntile):
        only(call, "this")
        count = whole_number(call.this, "ntile of that many", least=1)
        return Lowered(f"CAST(ntile({count}){tail} AS bigint)", "BIGINT")
    if over and kind in _SHIFTS:
        only(call, "this", "offset", "default")
        value = expression(call.this, scope, context)
        offset = call.args.get("offset")
        arguments = [value.text, str(1 if offset is None else whole_number(offset, "lag or lead by that much"))]
        if call.args.get("default") is not None:
            arguments.append(convert(expression(call.args["default"], scope, context), value.kind).text)
        return Lowered(f"{_SHIFTS[kind]}({', '.join(arguments)}){tail}", value.kind)
    if over and kind in _ENDS:
        only(call, "this")
        value = expression(call.this, scope, context)
        return Lowered(f"{_ENDS[kind]}({value.text}){tail}", value.kind)
    return _aggregated(call, scope, context, tail)


def _aggregated(call: exp.Expr, scope: Scope, context: Context, tail: str) -> Lowered:
    inner, distinct = call.this, ""
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
            return Lowered(f"count({distinct}{shown}){tail}", "BIGINT")
        case exp.Sum():
            only(call, "this")
            value = _numeric(expression(inner, scope, context), "sum")
            result = "HUGEINT" if value.kind in INTEGERS else value.kind
            text = f"sum({distinct}{value.text}){tail}"
            return Lowered(f"CAST({text} AS numeric)" if result == "HUGEINT" else text, result)
        case exp.Avg():
            only(call, "this")
            value = _numeric(expression(inner, scope, context), "avg")
            if value.kind == "DOUBLE":
                return Lowered(f"avg({distinct}{value.text}){tail}", "DOUBLE")
            # DuckDB divides the exact sum as a floating-point number.
            total, count = (f"{name}({distinct}{value.text}){tail}" for name in ("sum", "count"))
            return Lowered(f"(CAST({total} AS double precision) / nullif({count}, 0))", "DOUBLE")
        case exp.Min() | exp.Max():
            only(call, "this")
            name = "min" if isinstance(call, exp.Min) else "max"
            value = expression(inner, scope, context)
            if value.kind == "VARCHAR":
                return Lowered(f"{name}({value.text} {BYTES}){tail}", "VARCHAR")
            if value.kind not in (*NUMBERS, "FLOAT", "DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE"):
                raise not_portable(f"{name} of {value.kind}", hint="cast it to VARCHAR or a number")
            return Lowered(f"{name}({value.text}){tail}", value.kind)
        case exp.LogicalAnd() | exp.LogicalOr():
            only(call, "this")
            name = "bool_and" if isinstance(call, exp.LogicalAnd) else "bool_or"
            return Lowered(f"{name}({condition(inner, scope, context)}){tail}", "BOOLEAN")
        case exp.GroupConcat() if not distinct:
            only(call, "this", "separator")
            order = ""
            if isinstance(inner, exp.Order):
                only(inner, "this", "expressions")
                order = " " + ordering(inner, lambda one: expression(one, scope, context))
                inner = inner.this
            separator = call.args.get("separator")
            between = quoted("," if separator is None else _literal_text(separator))
            value = _text(expression(inner, scope, context))
            return Lowered(f"string_agg({value.text}, {between}{order}){tail}", "VARCHAR")
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
        parts.append(ordering(node.args["order"], lambda one: expression(one, scope, context)))
    if node.args.get("spec") is not None:
        parts.append(frame(node.args["spec"]))
    return " ".join(parts)


def _numeric(value: Lowered, construct: str) -> Lowered:
    if value.kind not in NUMBERS:
        raise not_portable(f"{construct} of {value.kind}", hint="cast it to a number")
    return value


def _text(value: Lowered) -> Lowered:
    if value.kind in ("VARCHAR", "NULL", "ENUM"):
        return convert(value, "VARCHAR")
    raise not_portable(f"{value.kind} as text", hint="cast it to VARCHAR")


def _literal_text(node: Any) -> str:
    if isinstance(node, exp.Literal) and node.is_string:
        return str(node.this)
    raise not_portable("string_agg with a separator that is no literal")


def _first_of(name: str, values: list[Lowered]) -> Lowered:
    kind = common(one.kind for one in values)
    if kind is None or kind == "NULL":
        raise not_portable(f"{name} between these types", hint="cast one to the type of the other")
    return Lowered(f"{name}({', '.join(convert(one, kind).text for one in values)})", kind)


def _round(value: Lowered, places: int) -> Lowered:
    if value.kind in INTEGERS:
        return value
    if value.kind == "DECIMAL":
        return Lowered(f"round({value.text}, {places})", "DECIMAL")
    # Of floating-point numbers DuckDB rounds halves away from zero, PostgreSQL to the even neighbour.
    shifted = f"({value.text} * CAST(1e{places} AS double precision))" if places else value.text
    half = f"(CASE WHEN abs({shifted} - trunc({shifted})) >= 0.5 THEN sign({shifted}) ELSE 0 END)"
    return Lowered(f"((trunc({shifted}) + {half}) / CAST(1e{places} AS double precision))", "DOUBLE")


def listed(many: Lowered, value: Lowered) -> Lowered:
    """Whether a value is in a list. Raises `QueryRefused`."""
    if many.kind != f"{value.kind}[]" and (many.kind, value.kind) != ("BIGINT[]", "INTEGER"):
        raise not_portable("a list of another type", hint="cast the value to the type of the list's items")
    # NULL is in no list, not even in an empty one, where PostgreSQL knows that it is not.
    return Lowered(f"({value.text} = ANY({many.text}) OR (({value.text} IS NULL) AND NULL))", "BOOLEAN")


def _moment(value: Lowered, construct: str) -> Lowered:
    if value.kind not in ("DATE", "TIMESTAMP"):
        raise not_portable(f"{construct} of {value.kind}", hint="cast it to DATE or TIMESTAMP")
    return value


def _part(part: str, value: Lowered) -> Lowered:
    if part not in _PARTS:
        raise not_portable(f"the part `{part}` of a date")
    return Lowered(f"CAST(extract({part} FROM {_moment(value, part).text}) AS bigint)", "BIGINT")


def _difference(unit: str, start: Lowered, end: Lowered) -> Lowered:
    first, last = (_moment(one, "date_diff") for one in (start, end))
    if unit == "day":
        return Lowered(f"CAST((CAST({last.text} AS date) - CAST({first.text} AS date)) AS bigint)", "BIGINT")
    years = f"({_part('year', last).text} - {_part('year', first).text})"
    if unit == "year":
        return Lowered(years, "BIGINT")
    if unit == "month":
        return Lowered(f"({years} * 12 + ({_part('month', last).text} - {_part('month', first).text}))", "BIGINT")
    raise not_portable(f"date_diff by `{unit}`")
