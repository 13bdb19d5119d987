"""Rows → bytes and bytes → rows, for the way between processes: by column, and plain data only.

Takes tuples of Python values as DuckDB's client gives them; returns equal tuples of the same types on the other side.
Owns that reading calls nothing but the constructors of plain values, whatever the bytes are.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

__all__ = ["NotRows", "pack_rows", "unpack_rows"]

_CHUNK_ROWS: Final = 2_048
# Values that pickle writes as calls, one for each, which takes longer than DuckDB takes to make them. As text they are
# written and read at once, and exactly.
_TO_TEXT: Final[dict[type, Callable[[Any], str]]] = {
    Decimal: str,
    date: date.isoformat,
    datetime: datetime.isoformat,
}
_FROM_TEXT: Final[dict[str, Callable[[str], Any]]] = {
    "Decimal": Decimal,
    "date": date.fromisoformat,
    "datetime": datetime.fromisoformat,
}


class NotRows(Exception):
    """The bytes are not what `pack_rows` writes."""


def pack_rows(rows: Sequence[tuple[Any, ...]]) -> bytes:
    """The rows as bytes.

    >>> unpack_rows(pack_rows([(1, Decimal("1.50"), None), (2, None, "x")]))
    [(1, Decimal('1.50'), None), (2, None, 'x')]
    """
    # Chunk by chunk: pickle remembers every text it has written, and looks among them for each that follows.
    chunks = (rows[start : start + _CHUNK_ROWS] for start in range(0, len(rows), _CHUNK_ROWS))
    return b"".join(pickle.dumps([_packed(column) for column in zip(*chunk, strict=True)]) for chunk in chunks)


def unpack_rows(packed: bytes | bytearray) -> list[tuple[Any, ...]]:
    """The rows that were packed. Raises `NotRows`."""
    rows: list[tuple[Any, ...]] = []
    source = io.BytesIO(packed)
    try:
        while source.tell() < len(packed):
            rows += zip(*(_unpacked(*column) for column in _PlainValues(source).load()), strict=True)
    except (ValueError, KeyError, TypeError, AttributeError, LookupError, EOFError) as error:
        raise NotRows from error
    except (ArithmeticError, pickle.UnpicklingError, ImportError, MemoryError) as error:
        raise NotRows from error
    return rows


def _packed(column: Sequence[Any]) -> tuple[str, Sequence[Any]]:
    """A column, and the name of the type whose text it has; an empty name where it has its values."""
    kinds = set(map(type, column))
    nullable = type(None) in kinds
    kinds.discard(type(None))
    kind = kinds.pop() if len(kinds) == 1 else object
    # A time zone is an object of its own, which text does not name; nor does it name the second of two equal hours.
    if kind not in _TO_TEXT or (kind is datetime and any(v and (v.tzinfo or v.fold) for v in column)):
        return "", column
    write = _TO_TEXT[kind]
    if nullable:
        return kind.__name__, [None if value is None else write(value) for value in column]
    return kind.__name__, list(map(write, column))


def _unpacked(kind: str, column: Sequence[Any]) -> Sequence[Any]:
    if kind == "":
        return column
    read = _FROM_TEXT[kind]
    return [None if value is None else read(value) for value in column]


class _PlainValues(pickle.Unpickler):
    """Loads numbers, texts, dates and containers of them, and calls nothing else."""

    _ALLOWED: Final = {
        "datetime": {"date", "datetime", "time", "timedelta", "timezone"},
        "decimal": {"Decimal"},
        "uuid": {"UUID"},
        "pytz": {"_UTC", "_p"},
    }

    def find_class(self, module_name: str, global_name: str) -> Any:
        if global_name not in self._ALLOWED.get(module_name, ()):
            raise pickle.UnpicklingError("not a plain value")
        return super().find_class(module_name, global_name)
