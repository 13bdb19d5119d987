"""How large a number can be: limits of types, and of the results of arithmetic, where no row need be seen.

`quantity * 100` overflows or not by the type of `quantity`: DuckDB's DECIMAL(15,2) holds 10^15 - 1 hundredths and no
more. A magnitude is the largest absolute value an expression can have: of integers as they are, of DECIMAL in units of
the scale, of DATE, TIMESTAMP and INTERVAL in days. Takes magnitudes and bound types; returns magnitudes, or None where
the result may not fit. Owns that a result that fits is never one for which DuckDB checks and raises.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

__all__ = [
    "ARITHMETIC", "MAX_DAYS", "MAX_JOINED", "MAX_ROWS", "RESULTS", "Type", "arithmetic", "cast", "days_of", "limit",
    "scale",
]  # fmt: skip

Type = dict[str, Any]  # as DuckDB's plans write it: {"id": …, "type_info": …}

# Rows that a query goes through one by one: more takes a core a quarter of an hour at a row per nanosecond.
MAX_ROWS: Final = 10**12
# Rows that joins make of them in numbers: DuckDB multiplies what a join would repeat (`combine_aggr`). It does so in
# the topmost aggregate, after every row filter, so that an overflow there tells of visible rows only.
MAX_JOINED: Final = 2**61
# TIMESTAMP holds 106,751,991 days on either side of 1970.
MAX_DAYS: Final = 106_000_000

_SIGNED: Final = {"TINYINT": 8, "SMALLINT": 16, "INTEGER": 32, "BIGINT": 64, "HUGEINT": 128}
_UNSIGNED: Final = {"UTINYINT": 8, "USMALLINT": 16, "UINTEGER": 32, "UBIGINT": 64, "UHUGEINT": 128}
_LIMITS: Final = {
    **{name: 2 ** (bits - 1) for name, bits in _SIGNED.items()},
    **{name: 2**bits - 1 for name, bits in _UNSIGNED.items()},
    "BOOLEAN": 1,
    "DATE": 2**31,
    "TIMESTAMP": 106_751_992,
    "TIMESTAMP WITH TIME ZONE": 106_751_992,
}
ARITHMETIC: Final = {"+", "add", "-", "subtract", "*", "multiply", "%", "mod", "//", "@", "abs"}
# What functions of dates and texts can answer at most, below the limit of their type.
RESULTS: Final = {
    "year": 6_000_000, "isoyear": 6_000_000, "decade": 600_000, "century": 60_000, "millennium": 6_000, "quarter": 4,
    "month": 12, "day": 31, "dayofmonth": 31, "dayofweek": 7, "weekday": 7, "isodow": 7, "dayofyear": 366, "week": 53,
    "weekofyear": 53, "hour": 24, "minute": 60, "yearweek": 600_000_100, "length": 2**32, "len": 2**32,
    "strlen": 2**32, "char_length": 2**32, "character_length": 2**32, "sign": 1, "current_date": 10**6, "today": 10**6,
}  # fmt: skip
_UNITS: Final = {
    "to_days": 1, "to_weeks": 7, "to_months": 31, "to_quarters": 93, "to_years": 366, "to_decades": 3_660,
    "to_centuries": 36_600, "to_hours": 1, "to_minutes": 1, "to_seconds": 1,
}  # fmt: skip


def limit(type_: Type) -> int | None:
    """The magnitude of any value of the type; None for types without one."""
    if type_["id"] == "DECIMAL":
        width, _ = _digits(type_)
        return int(10**width) - 1
    return _LIMITS.get(type_["id"])


def scale(type_: Type) -> int:
    """Digits after the point, 0 for integers."""
    return _digits(type_)[1] if type_["id"] == "DECIMAL" else 0


def arithmetic(name: str, magnitudes: Sequence[int], types: Sequence[Type], result: Type) -> int | None:
    """The magnitude of a function of `ARITHMETIC` over numbers, or None where it may raise: overflow, zero divisor.

    A divisor is a literal that is not 0: the caller sees to that.
    """
    if not all(_is_exact(type_) for type_ in (*types, result)):
        return None
    scales = [scale(type_) for type_ in types]
    match name, magnitudes:
        case (("+" | "add"), [a, b]) if scales == [scale(result)] * 2:
            found = a + b
        case (("-" | "subtract"), [a, b]) if scales == [scale(result)] * 2 and result["id"] not in _UNSIGNED:
            found = a + b
        case (("-" | "subtract" | "+" | "add" | "@" | "abs"), [a]) if scales == [scale(result)]:
            found = a
            if name in ("-", "subtract") and result["id"] in _UNSIGNED:
                return None
        case (("*" | "multiply"), [a, b]) if sum(scales) == scale(result):
            found = a * b
        case (("%" | "mod" | "//"), [a, b]) if scales == [scale(result)] * 2 and (name != "//" or scales == [0, 0]):
            # The least number divided by -1 has no result.
            if b < 2 and not _fits(a, result):
                return None
            return a if name == "//" else min(a, b)
        case _:
            return None
    return found if _fits(found, result) else None


def cast(magnitude: int, source: Type, target: Type) -> int | None:
    """The magnitude after a cast between integers and DECIMAL, or None where a value may not fit."""
    if not (_is_exact(source) or source["id"] == "BOOLEAN") or not _is_exact(target):
        return None
    if source["id"] != "BOOLEAN" and target["id"] in _UNSIGNED and source["id"] not in _UNSIGNED:
        return None
    steps = scale(target) - scale(source)
    # Digits that fall away are rounded, which may carry.
    factor = int(10 ** abs(steps))
    found = magnitude * factor if steps >= 0 else magnitude // factor + 1
    widest = limit(source) == magnitude and source["id"] in _SIGNED
    if widest and source["id"] == target["id"]:
        return found
    return found if _fits(found, target) else None


def days_of(name: str, magnitude: int) -> int | None:
    """The magnitude, in days, of what `to_days(n)`, `to_months(n)` and the like give; None where they may raise."""
    unit = _UNITS.get(name)
    return unit * magnitude if unit is not None and unit * magnitude <= MAX_DAYS else None


def _fits(magnitude: int, type_: Type) -> bool:
    top = limit(type_)
    # The least number of a signed type has no positive counterpart.
    return top is not None and magnitude <= top - (type_["id"] in _SIGNED)


def _is_exact(type_: Type) -> bool:
    return type_["id"] == "DECIMAL" or type_["id"] in _SIGNED or type_["id"] in _UNSIGNED


def _digits(type_: Type) -> tuple[int, int]:
    info = type_.get("type_info") or {}
    return int(info.get("width", 18)), int(info.get("scale", 3))
