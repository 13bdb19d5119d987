"""Whether two answers are the same: names, types, and rows as a multiset or in order.

It takes two `Answer`s and returns what differs first, or None. Rows that tie in the columns by which the query orders may
stand in any order. Values are compared exactly; only floating-point
numbers that are not may differ by 1e-9 relatively, because a parallel sum adds in another order; so may such a number
within a text (SUMMARIZE gives its deviations as text).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from tests.judging.oracle import Answer

__all__ = ["Difference", "differs", "is_subset"]

_RELATIVE = 1e-9
# A number in a text, and the digits from which on it may be a sum that was rounded; one with fewer is exact.
_LONG = re.compile(r"(\d+\.\d+(?:e[+-]?\d+)?)")
_LONG_DIGITS = 15
# Pairing rows up by tolerance is quadratic: beyond this many rows they are paired in sorted order instead.
_PAIRED_FREELY = 500


@dataclass(frozen=True)
class Difference:
    """What differs first, and an example of it for people."""

    kind: Literal["error", "names", "types", "rows", "order"]
    detail: str


def differs(expected: Answer, actual: Answer, *, by: Sequence[int] | None = ()) -> Difference | None:
    """What `actual` has other than `expected`, or None; two errors are the same.

    `by` are the places of the columns that order the result; None asks for the very same sequence.
    """
    if expected.error is not None or actual.error is not None:
        if expected.error is not None and actual.error is not None:
            return None
        return Difference("error", f"expected {expected.error or 'rows'}, got {actual.error or 'rows'}")
    if expected.names != actual.names:
        return Difference("names", f"expected {expected.names}, got {actual.names}")
    if expected.types != actual.types:
        return Difference("types", f"expected {expected.types}, got {actual.types}")
    wanted, got = [_key(row) for row in expected.rows], [_key(row) for row in actual.rows]
    if wanted == got:
        return None
    if not _same_rows(wanted, got):
        missing, extra = list((Counter(wanted) - Counter(got)).items()), list((Counter(got) - Counter(wanted)).items())
        counts = f"{len(wanted)} rows expected, {len(got)} got"
        return Difference("rows", f"{counts}; missing {missing[:2]}, too many {extra[:2]}"[:600])
    places = range(len(expected.names)) if by is None else by
    for number, pair in enumerate(zip(wanted, got, strict=True)):
        first, second = ([row[place] for place in places] for row in pair)
        if not _all_close(first, second):
            return Difference("order", f"row {number}: expected {pair[0]}, got {pair[1]}"[:600])
    return None


def is_subset(actual: Answer, allowed: Answer) -> bool:
    """Whether each row of `actual` is among `allowed`, counted."""
    return not (Counter(map(_key, actual.rows)) - Counter(map(_key, allowed.rows)))


def _key(value: Any) -> Any:
    """A hashable stand-in that keeps apart what SQL keeps apart (1, 1.0, true and '1')."""
    match value:
        case bool():
            return ("bool", value)
        case float():
            return ("float", "nan") if math.isnan(value) else ("float", value)
        case Decimal():
            return ("decimal", str(value).encode())  # bytes, since texts have a tolerance
        case bytes() | bytearray() | memoryview():
            return ("bytes", bytes(value))
        case dict():
            return ("dict", tuple((_key(k), _key(v)) for k, v in value.items()))
        case list() | tuple():
            return tuple(_key(item) for item in value)
        case None | str() | int():
            return value
        case _:
            return (type(value).__name__, repr(value))


def _same_rows(wanted: list[Any], got: list[Any]) -> bool:
    missing, extra = Counter(wanted) - Counter(got), Counter(got) - Counter(wanted)
    if missing.total() != extra.total():
        return False
    left, right = _sorted(missing.elements()), _sorted(extra.elements())
    if len(left) > _PAIRED_FREELY:
        return all(_close(a, b) for a, b in zip(left, right, strict=True))
    for row in left:
        match = next((i for i, other in enumerate(right) if _close(row, other)), None)
        if match is None:
            return False
        del right[match]
    return True


def _sorted(rows: Any) -> list[Any]:
    return sorted(rows, key=lambda row: repr(_rounded(row)))


def _rounded(key: Any) -> Any:
    if isinstance(key, float):
        return float(f"{key:.6g}")
    if isinstance(key, str):
        return _LONG.sub(lambda found: f"{float(found[0]):.6g}", key)
    return tuple(map(_rounded, key)) if isinstance(key, tuple) else key


def _close(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=_RELATIVE, abs_tol=1e-12)
    if isinstance(a, str) and isinstance(b, str):
        return a == b or _close_texts(a, b)
    if isinstance(a, tuple) and isinstance(b, tuple):
        return _all_close(a, b)
    return bool(a == b)


def _close_texts(a: str, b: str) -> bool:
    """Whether two texts differ only in long numbers, and these only as sums in another order do."""
    left, right = _LONG.split(a), _LONG.split(b)
    if len(left) != len(right) or left[::2] != right[::2]:
        return False
    pairs = [pair for pair in zip(left[1::2], right[1::2], strict=True) if pair[0] != pair[1]]
    return all((_is_long(x) or _is_long(y)) and _close(float(x), float(y)) for x, y in pairs)


def _is_long(number: str) -> bool:
    return sum(map(str.isdigit, number)) >= _LONG_DIGITS


def _all_close(a: Sequence[Any], b: Sequence[Any]) -> bool:
    return len(a) == len(b) and all(_close(x, y) for x, y in zip(a, b, strict=True))
