"""ORDER BY clauses and window frames → another engine's: directions and NULLs spelled out, texts by their bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from sqlglot import exp

from rls.rewrite.port.dialect import Dialect
from rls.rewrite.port.kinds import Lowered, not_portable
from rls.rewrite.port.nodes import only, whole_number

__all__ = ["frame", "ordering", "sort_key"]

_SIDES: Final = ("PRECEDING", "FOLLOWING")
_EXCLUDED: Final = ("CURRENT ROW", "GROUP", "TIES", "NO OTHERS")


def ordering(order: exp.Expr, lower: Callable[[Any], Lowered], sql: Dialect) -> str:
    """`ORDER BY …`; `lower` gives each key. A key of kind "" is the number of a column of the result."""
    keys = []
    for key in order.expressions:
        if not isinstance(key, exp.Ordered):
            raise not_portable("ORDER BY like this")
        only(key, "this", "desc", "nulls_first")
        found = lower(key.this)
        if found.kind in ("INTERVAL", "NULL", "UUID") or found.kind.endswith("[]") or found.literal is not None:
            raise not_portable(f"ORDER BY {found.kind}", hint="order by a column")
        text = sort_key(found, sql)
        nulls = "FIRST" if key.args.get("nulls_first") else "LAST"
        keys.append(f"{text} {'DESC' if key.args.get('desc') else 'ASC'} NULLS {nulls}")
    return "ORDER BY " + ", ".join(keys)


def sort_key(value: Lowered, sql: Dialect) -> str:
    """A value to sort by: texts by their bytes."""
    return sql.ordered(value.text) if value.kind == "VARCHAR" else value.text


def frame(spec: exp.Expr, lower: Callable[[Any], Lowered], sql: Dialect) -> str:
    """`ROWS BETWEEN … AND …`; `lower` gives intervals."""
    only(spec, "kind", "start", "start_side", "end", "end_side", "exclude")
    kind = str(spec.args.get("kind")).upper()
    if kind not in ("ROWS", "RANGE"):
        raise not_portable(f"a window frame of {kind}")
    start = _bound(spec.args.get("start"), spec.args.get("start_side"), kind, lower, sql)
    end = spec.args.get("end")
    last = "CURRENT ROW" if end is None else _bound(end, spec.args.get("end_side"), kind, lower, sql)
    left_out = spec.args.get("exclude")
    if left_out is None:
        return f"{kind} BETWEEN {start} AND {last}"
    if left_out.name.upper() not in _EXCLUDED:
        raise not_portable("a window frame like this")
    return f"{kind} BETWEEN {start} AND {last}{sql.write('exclude', '', left_out.name.upper())}"


def _bound(value: Any, side: Any, kind: str, lower: Callable[[Any], Lowered], sql: Dialect) -> str:
    if value == "CURRENT ROW":
        return "CURRENT ROW"
    word = str(side).upper()
    if word in _SIDES and value == "UNBOUNDED":
        return f"UNBOUNDED {word}"
    if word in _SIDES and kind == "ROWS":
        return f"{whole_number(value, 'a window frame like this')} {word}"
    if word in _SIDES and isinstance(value, exp.Interval):
        return sql.write("range", "", lower(value).text, word)
    raise not_portable("a window frame like this", hint="use ROWS with whole numbers")
