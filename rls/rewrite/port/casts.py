"""Types in casts, casts, and literals with their kinds.

Own that a cast is one that all engines do alike: from a list of pairs, or of a text literal that all read as the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from sqlglot import exp

from rls.rewrite.port.dialect import Dialect
from rls.rewrite.port.kinds import INTEGERS, Lowered, digits_cast, not_portable
from rls.rewrite.port.nodes import only
from rls.rewrite.port.scopes import Context

__all__ = ["cast", "interval", "literal", "type_of"]

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


def literal(node: exp.Literal, sql: Dialect) -> Lowered:
    """A literal of the query. Raises `QueryRefused`."""
    text = str(node.this)
    if node.is_string:
        return Lowered(sql.text_literal(text), "VARCHAR", literal=text)
    if text.isdigit():
        if int(text) >= 2**63:
            raise not_portable("a whole number of more than 64 bits")
        return Lowered(text, "INTEGER" if int(text) < 2**31 else "BIGINT", digits=len(text))
    if text.replace(".", "", 1).isdigit():
        return Lowered(sql.decimal(text), "DECIMAL", digits=len(text))
    return Lowered(f"CAST({float(text)!r} AS {sql.type_of('DOUBLE')})", "DOUBLE")


def cast(node: exp.Cast, lower: Callable[[exp.Expr], Lowered], context: Context) -> Lowered:
    """A cast; `lower` gives what is cast. Raises `QueryRefused`."""
    only(node, "this", "to")
    sql = context.sql
    kind, type_ = type_of(node.args["to"], sql)
    if isinstance(node.this, exp.Placeholder):
        only(node.this, "this")
        return Lowered(f"CAST({context.bind(node.this.name)} AS {type_})", kind)
    value = lower(node.this)
    if value.literal is not None and (form := _FORMS.get(kind)) is not None and form.fullmatch(value.literal):
        return Lowered(f"CAST({value.text} AS {type_})", kind)
    if value.kind == kind and kind != "DECIMAL":
        return Lowered(value.text, kind)
    if (value.kind, kind) in (*_CASTS, ("DECIMAL", "HUGEINT")):
        text = sql.write("cast", f"{value.kind} {kind}", value.text, type_)
        return Lowered(text, kind, digits=digits_cast(value, node.args["to"].sql("duckdb")))
    if value.kind == "NULL":
        return Lowered(f"CAST({value.text} AS {type_})", kind)
    return sql.convert(value, kind)


def interval(node: exp.Interval, sql: Dialect) -> Lowered:
    """A whole number of one unit. Raises `QueryRefused`."""
    only(node, "this", "unit")
    unit = node.args.get("unit")
    word = unit.name.upper().removesuffix("S") if isinstance(unit, exp.Var) else ""
    count = node.this.unnest() if isinstance(node.this, exp.Paren) else node.this
    if word not in _UNITS or not isinstance(count, exp.Literal) or not str(count.this).isdigit():
        raise not_portable("an INTERVAL like this", hint="write INTERVAL 1 DAY, with a positive whole number")
    return Lowered(sql.write("interval", "", int(count.this), word.lower()), "INTERVAL")
