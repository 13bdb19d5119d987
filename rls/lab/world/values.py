"""Values from YAML and values from DuckDB → forms that are equal when a person would call them equal.

YAML has text, numbers, truth, null, lists and mappings; DuckDB has dates, decimals, UUIDs and more. Owns that nothing
is rounded but binary floating point (to 12 digits), and that text is never taken for a number.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

__all__ = ["canonical", "canonical_row", "differences", "show"]

Canonical = tuple[str, Any]


def canonical(value: Any, like: Any = None) -> Canonical:
    """A hashable form of a value. `like` is a value of the other side: text is read as what that one is.

    >>> canonical("2026-01-31", date(2026, 1, 31)) == canonical(date(2026, 1, 31))
    True
    >>> canonical("1") == canonical(1)
    False
    """
    match value:
        case None:
            return ("null", None)
        case bool():
            return ("boolean", value)
        case int() | Decimal():
            return ("number", _rounded(float(value))) if isinstance(like, float) else ("number", Decimal(value))
        case float():
            return ("number", _rounded(value))
        case str():
            return _text(value, like)
        case datetime():
            moment = value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)
            return ("timestamp", moment.isoformat())
        case date() | time():
            return (type(value).__name__, value.isoformat())
        case timedelta():
            return ("interval", value)
        case bytes() | bytearray():
            return ("bytes", bytes(value))
        case list() | tuple():
            likes = list(like) if isinstance(like, list | tuple) and len(like) == len(value) else [None] * len(value)
            return ("list", tuple(map(canonical, value, likes)))
        case Mapping():
            other = like if isinstance(like, Mapping) else {}
            items = ((str(k), canonical(v, other.get(k))) for k, v in value.items())
            return ("mapping", tuple(sorted(items)))
        case _:
            return ("text", str(value))


def canonical_row(row: Sequence[Any], like: Sequence[Any] | None = None) -> tuple[Canonical, ...]:
    """`canonical` of each value."""
    likes = like if like is not None and len(like) == len(row) else [None] * len(row)
    return tuple(map(canonical, row, likes))


def differences(
    expected: Iterable[tuple[Canonical, ...]], actual: Iterable[tuple[Canonical, ...]]
) -> tuple[list[int], list[int]]:
    """Places of expected rows that are missing, and of actual rows that are extra; order does not matter."""
    wanted, found = list(expected), list(actual)
    left = Counter(found)
    missing = []
    for place, row in enumerate(wanted):
        if left[row]:
            left[row] -= 1
        else:
            missing.append(place)
    spare = Counter(wanted)
    extra = []
    for place, row in enumerate(found):
        if spare[row]:
            spare[row] -= 1
        else:
            extra.append(place)
    return missing, extra


def show(value: Any) -> str:
    """A value for people, on one line.

    >>> show(None), show(True), show(Decimal("1.50")), show([1, "a"])
    ('NULL', 'true', '1.50', '[1, a]')
    """
    match value:
        case None:
            return "NULL"
        case bool():
            return str(value).lower()
        case list() | tuple():
            return "[" + ", ".join(map(show, value)) + "]"
        case Mapping():
            return "{" + ", ".join(f"{k}: {show(v)}" for k, v in value.items()) + "}"
        case _:
            return str(value)


def _text(value: str, like: Any) -> Canonical:
    try:
        match like:
            case datetime():
                moment = datetime.fromisoformat(value)
                if moment.tzinfo is not None:
                    moment = moment.astimezone(UTC).replace(tzinfo=None)
                return ("timestamp", moment.isoformat())
            case date():
                return ("date", date.fromisoformat(value).isoformat())
            case time():
                return ("time", time.fromisoformat(value).isoformat())
            case float() if value.lower() in ("nan", "inf", "-inf", "infinity", "-infinity"):
                return ("number", _rounded(float(value)))
            case bytes() | bytearray():
                return ("bytes", value.encode())
            case timedelta():
                return ("interval", _interval(value))
    except ValueError:
        return ("text", value)
    return ("text", value)


def _interval(value: str) -> timedelta:
    hours, minutes, seconds = (float(part) for part in value.split(":"))
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)


def _rounded(value: float) -> Any:
    # Text for what is no number in Decimal's sense, so that NaN equals NaN.
    return Decimal(f"{value:.12g}") if math.isfinite(value) else str(value)
