"""Arithmetic over lowered operands, and rounding: in DuckDB's kinds, divisions by zero as DuckDB's."""

from __future__ import annotations

from sqlglot import exp

from rls.rewrite.port.dialect import Dialect
from rls.rewrite.port.kinds import INTEGERS, NUMBERS, Lowered, common, digits_after, not_portable

__all__ = ["calculate", "divide", "divide_whole", "negate", "numeric", "round_to"]


def calculate(sign: str, left: Lowered, right: Lowered, sql: Dialect) -> Lowered:
    """`+`, `-` and `*`, also of days. Raises `QueryRefused`."""
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
    both = [sql.convert(one, kind) for one in (left, right)]
    digits = digits_after(sign, *both)
    return Lowered(sql.write(name, kind, *(one.text for one in both), digits=digits), kind, digits=digits)


def _number(value: Lowered, construct: str) -> Lowered:
    if value.kind not in NUMBERS:
        raise not_portable(f"{construct} on what is not a number")
    return value


def negate(value: Lowered, sql: Dialect) -> Lowered:
    """`-` of a number. Raises `QueryRefused`."""
    value = _number(value, "-")
    digits = digits_after("neg", value)
    return Lowered(sql.write("neg", value.kind, value.text, digits=digits), value.kind, digits=digits)


def divide(left: Lowered, right: Lowered, sql: Dialect) -> Lowered:
    """`/`, which is of floating-point numbers. Raises `QueryRefused`."""
    both = [sql.convert(_number(one, "/"), "DOUBLE") for one in (left, right)]
    operation = "/ plain" if right.text.isdigit() and int(right.text) else "/"
    digits = digits_after("/", *both)
    return Lowered(sql.write(operation, "DOUBLE", *(one.text for one in both), digits=digits), "DOUBLE", digits=digits)


def divide_whole(node: exp.Expr, left: Lowered, right: Lowered, sql: Dialect) -> Lowered:
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


def numeric(value: Lowered, construct: str) -> Lowered:
    """The operand of a function of numbers. Raises `QueryRefused`."""
    if value.kind not in NUMBERS:
        raise not_portable(f"{construct} of {value.kind}", hint="cast it to a number")
    return value


def round_to(value: Lowered, places: int, sql: Dialect) -> Lowered:
    """A number, rounded as DuckDB rounds it. Raises `QueryRefused`."""
    if value.kind in INTEGERS:
        return value
    if value.kind == "DECIMAL":
        return Lowered(sql.write("round", "DECIMAL", value.text, places), "DECIMAL")
    shifted = sql.write("shift", "DOUBLE", value.text, places) if places else value.text
    return Lowered(sql.write("round", "DOUBLE", value.text, places, shifted), "DOUBLE")
