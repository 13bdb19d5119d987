"""What PostgreSQL answers → the values that DuckDB would have given, or an error: never another value or type.

Takes the types a query must answer with and those it did; gives a conversion per column. Owns that a result is of the
expected types before any of it is handed out.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation, localcontext
from typing import Any, Final

from rls.catalog import Column
from rls.errors import QueryFailed

__all__ = ["Conversion", "conversions"]

Conversion = Callable[[Any], Any] | None

# Object identifiers of built-in types: they never change.
_INTEGERS: Final = {21: 16, 23: 32, 20: 64}
_NUMERIC: Final = 1700
_BITS: Final = {"SMALLINT": 16, "INTEGER": 32, "BIGINT": 64, "HUGEINT": 128}
_SAME: Final = {
    "BOOLEAN": (16,), "DOUBLE": (701,), "VARCHAR": (25, 1043), "DATE": (1082,), "TIMESTAMP": (1114,),
    "UUID": (2950,), "JSON": (114, 3802), "BLOB": (17,), "TIME": (1083,),
}  # fmt: skip
_OWN_TYPES: Final = 16_384  # identifiers from here on are of types that somebody created: enums
# Of lists: whose items they have.
_ITEMS: Final = {
    1000: 16, 1005: 21, 1007: 23, 1016: 20, 1022: 701, 1009: 25, 1015: 1043, 1182: 1082, 1115: 1114, 1231: 1700,
    2951: 2950,
}  # fmt: skip
_DECIMAL: Final = re.compile(r"DECIMAL\((\d+),(\d+)\)")


def conversions(columns: Sequence[Column], found: Sequence[int]) -> list[Conversion]:
    """What to do with the values of each column, from the expected columns and the types that came.

    Raises `QueryFailed` (`run.types`).
    """
    if len(columns) != len(found):
        raise _wrong_types()
    return [_conversion(column.type, came) for column, came in zip(columns, found, strict=True)]


def _conversion(wanted: str, came: int) -> Conversion:
    if wanted.endswith("[]") and came in _ITEMS:
        convert = _conversion(wanted[:-2], _ITEMS[came])
        return lambda value: _list(value, convert)
    if wanted in _BITS and (came in _INTEGERS or came == _NUMERIC):
        bits = _BITS[wanted]
        return None if _INTEGERS.get(came, 129) <= bits else lambda value: _whole(value, bits)
    if (decimal := _DECIMAL.fullmatch(wanted)) and came == _NUMERIC:
        width, scale = int(decimal[1]), int(decimal[2])
        return lambda value: _decimal(value, width, scale)
    if wanted == "FLOAT" and came == 700:
        return _single
    if wanted == "TIMESTAMP WITH TIME ZONE" and came == 1184:
        return _moment
    if wanted.startswith("ENUM(") and (came >= _OWN_TYPES or came == 25):
        return None
    if came in _SAME.get(wanted, ()):
        return None
    raise _wrong_types()


def _list(value: list[Any] | None, convert: Conversion) -> list[Any] | None:
    if value is None:
        return None
    if any(isinstance(one, list) for one in value):
        raise _wrong_types()  # of more dimensions than the column's type says
    return value if convert is None else [convert(one) for one in value]


def _whole(value: Any, bits: int) -> int | None:
    if value is None:
        return None
    if value != value.to_integral_value() if isinstance(value, Decimal) else False:
        raise _wrong_types()
    number = int(value)
    if not -(2 ** (bits - 1)) <= number < 2 ** (bits - 1):
        raise _out_of_range()
    return number


def _decimal(value: Decimal | None, width: int, scale: int) -> Decimal | None:
    if value is None:
        return None
    with localcontext() as context:
        context.prec = 100
        try:
            exact = value.quantize(Decimal(1).scaleb(-scale))
        except InvalidOperation:
            raise _out_of_range() from None
        if exact != value:
            raise _wrong_types()
        if abs(exact) >= Decimal(10) ** (width - scale):
            raise _out_of_range()
        return exact


def _single(value: float | None) -> float | None:
    """PostgreSQL writes the shortest digits of a REAL; DuckDB gives its exact value."""
    return None if value is None else float(struct.unpack("f", struct.pack("f", value))[0])


def _moment(value: datetime | None) -> datetime | None:
    """With the time zone object that DuckDB's client uses."""
    import pytz

    return None if value is None else value.astimezone(pytz.utc)


def _wrong_types() -> QueryFailed:
    return QueryFailed(
        "run.types", "the answer is not of the expected types", hint="cast the columns to the types that you need"
    )


def _out_of_range() -> QueryFailed:
    return QueryFailed("run.out_of_range", "a value is out of the range of its type", hint="cast to a wider type first")
