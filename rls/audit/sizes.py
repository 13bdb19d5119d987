"""A fetched answer → about how many bytes were handed out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

__all__ = ["size_of"]

_EXACT_ROWS = 1_000
_FIXED = 8


class _Answer(Protocol):
    @property
    def rows(self) -> list[tuple[Any, ...]] | None: ...
    @property
    def table(self) -> Any: ...


def size_of(answer: _Answer) -> int:
    """Bytes of an Arrow table; of rows the bytes of their texts and 8 per other value, from a sample of every n-th row
    beyond 1,000."""
    if answer.table is not None:
        return int(answer.table.nbytes)
    rows = answer.rows or []
    step = max(1, -(-len(rows) // _EXACT_ROWS))
    sample = rows[::step]
    counted = sum(_size(value) for row in sample for value in row)
    return counted if step == 1 else counted * len(rows) // len(sample)


def _size(value: object) -> int:
    match value:
        case None:
            return 0
        case str():
            return len(value) if value.isascii() else len(value.encode(errors="surrogatepass"))
        case bytes():
            return len(value)
        case Sequence():
            return sum(map(_size, value))
        case dict():
            return sum(_size(key) + _size(item) for key, item in value.items())
        case _:
            return _FIXED
