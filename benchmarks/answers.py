"""Two answers to one question → what was compared, in words, or `WrongAnswer`: its times would be worth nothing.

Rows are compared as a multiset, so that ties and texts without ORDER BY may come in any order; floats to twelve digits,
because their sums depend on the order in which a plan adds them up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["WrongAnswer", "compare_rows"]


class WrongAnswer(Exception):
    """An answer is not the one it has to be; the benchmark ends."""


def compare_rows(case: str, found: Iterable[Sequence[Any]], wanted: Iterable[Sequence[Any]]) -> str:
    """`"4 rows"`; raises `WrongAnswer` where the two differ."""
    rows, expected = Counter(map(_plain, found)), Counter(map(_plain, wanted))
    if rows != expected:
        wrong, missing = (rows - expected).total(), (expected - rows).total()
        raise WrongAnswer(f"{case}: {wrong} rows that should not be there, {missing} missing")
    count = rows.total()
    return f"{count:,} row{'' if count == 1 else 's'}"


def _plain(row: Sequence[Any]) -> tuple[Any, ...]:
    # Lists and structs cannot be counted; their text can.
    return tuple(
        float(f"{v:.12g}") if isinstance(v, float) else repr(v) if isinstance(v, list | dict) else v for v in row
    )
