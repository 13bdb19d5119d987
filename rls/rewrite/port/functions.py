"""The reviewed functions: a call of DuckDB's → another engine's of the same value, by name and kinds.

Takes qualified trees; what is not here is refused by its name. Owns that nothing is called but what the engine's table
(`Dialect.texts`) has under a name, and that none of it reads or writes anything but its arguments.
"""

from __future__ import annotations

from typing import Any, Final

from sqlglot import exp

from rls.rewrite.port.arithmetic import numeric, round_to
from rls.rewrite.port.comparisons import listed
from rls.rewrite.port.dialect import Dialect
from rls.rewrite.port.expressions import expression
from rls.rewrite.port.kinds import INTEGERS, NUMBERS, Lowered, common, not_portable
from rls.rewrite.port.named import name_of
from rls.rewrite.port.nodes import only, whole_number
from rls.rewrite.port.scopes import Context, Scope
from rls.rewrite.port.times import as_moment, difference, format_of, part_of

__all__ = ["as_text", "function"]

_PART_FUNCTIONS: Final = {
    exp.Year: "year", exp.Month: "month", exp.Day: "day", exp.Quarter: "quarter", exp.Hour: "hour",
    exp.Minute: "minute",
    exp.DayOfMonth: "day", exp.DayOfWeek: "dow", exp.DayOfWeekIso: "isodow", exp.DayOfYear: "doy",
    exp.WeekOfYear: "week", exp.Week: "week",
}  # fmt: skip
_TEXTS: Final = {exp.MD5: "md5"}


def function(node: exp.Expr, scope: Scope, context: Context) -> Lowered:
    """A call that is no aggregate. Raises `QueryRefused` (`query.not_portable`)."""

    def down(child: Any) -> Lowered:
        return expression(child, scope, context)

    def text(child: Any) -> str:
        return as_text(down(child), sql).text

    sql = context.sql

    match node:
        case exp.Abs():
            only(node, "this")
            value = numeric(down(node.this), "abs")
            return Lowered(sql.write("abs", value.kind, value.text), value.kind)
        case exp.Ceil() | exp.Floor():
            only(node, "this")
            value, name = numeric(down(node.this), "ceil"), "ceil" if isinstance(node, exp.Ceil) else "floor"
            return value if value.kind in INTEGERS else Lowered(sql.write(name, value.kind, value.text), value.kind)
        case exp.Round():
            only(node, "this", "decimals")
            decimals = node.args.get("decimals")
            return round_to(
                numeric(down(node.this), "round"),
                0 if decimals is None else whole_number(decimals, "round to that many places"),
                sql,
            )
        case exp.Sqrt():
            only(node, "this")
            value = sql.convert(numeric(down(node.this), "sqrt"), "DOUBLE")
            return Lowered(sql.write("sqrt", "DOUBLE", value.text), "DOUBLE")
        case exp.Pow():
            only(node, "this", "expression")
            both = [sql.convert(numeric(down(one), "power"), "DOUBLE").text for one in (node.this, node.expression)]
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
            return part_of(node.name.lower(), down(node.expression), sql)
        case _ if type(node) in _PART_FUNCTIONS:
            only(node, "this")
            return part_of(_PART_FUNCTIONS[type(node)], down(node.this), sql)
        case exp.TimestampTrunc() | exp.DateTrunc():
            only(node, "this", "unit")
            unit = node.args["unit"].name.lower()
            value = as_moment(down(node.this), "date_trunc")
            return Lowered(sql.write(f"trunc {unit}", "", sql.convert(value, "TIMESTAMP").text), "TIMESTAMP")
        case exp.DateDiff():
            only(node, "this", "expression", "unit", "date_part_boundary")
            return difference(node.args["unit"].name.lower(), down(node.expression), down(node.this), sql)
        case exp.TimeToUnix():
            only(node, "this")
            moment = sql.convert(as_moment(down(node.this), "epoch"), "TIMESTAMP")
            return Lowered(sql.write("epoch", "", moment.text), "DOUBLE")
        case exp.TimeToStr():
            only(node, "this", "format")
            moment = sql.convert(as_moment(down(node.this), "strftime"), "TIMESTAMP")
            return Lowered(
                sql.write("strftime", "", moment.text, sql.literal(format_of(node.args["format"], sql))), "VARCHAR"
            )
        case exp.Anonymous() if str(node.this).lower() == "strlen" and len(node.expressions) == 1:
            return Lowered(sql.write("strlen", "", text(node.expressions[0])), "BIGINT")
        case exp.Anonymous() if str(node.this).lower() in ("date_part", "hour", "minute"):
            name, arguments = str(node.this).lower(), list(node.expressions)
            if name == "date_part" and isinstance(arguments[0], exp.Literal):
                name = arguments.pop(0).name.lower()
            return part_of(name, down(arguments[0]), sql)
        case _:
            raise not_portable(name_of(node))


def as_text(value: Lowered, sql: Dialect) -> Lowered:
    """A value that is text. Raises `QueryRefused`."""
    if value.kind in ("VARCHAR", "NULL", "ENUM"):
        return sql.convert(value, "VARCHAR")
    raise not_portable(f"{value.kind} as text", hint="cast it to VARCHAR")


def _first_of(name: str, values: list[Lowered], sql: Dialect) -> Lowered:
    kind = common(one.kind for one in values)
    if kind is None or kind == "NULL":
        raise not_portable(f"{name} between these types", hint="cast one to the type of the other")
    return Lowered(sql.write(name, kind, ", ".join(sql.convert(one, kind).text for one in values)), kind)
