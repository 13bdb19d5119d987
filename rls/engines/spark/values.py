"""What a Spark Connect server answers → the values that DuckDB would have given, or an error.

Takes the names and types that a query must answer with and the Arrow tables that came. Owns that an answer is of the
expected types before any of it is handed out, and that DuckDB itself makes the values, so that they are the same ones.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from rls.catalog import Column
from rls.engines.base import Fetch, Fetched
from rls.engines.convert import fetched_as
from rls.errors import QueryFailed

__all__ = ["fetched_from", "places_of"]

_WIDTHS: Final = {"int8": 8, "int16": 16, "int32": 32, "int64": 64}
_BITS: Final = {"TINYINT": 8, "SMALLINT": 16, "INTEGER": 32, "BIGINT": 64, "HUGEINT": 128}
_SAME: Final = {
    "BOOLEAN": ("bool",), "FLOAT": ("float",), "DOUBLE": ("double",),
    "VARCHAR": ("string", "large_string", "string_view"), "DATE": ("date32[day]",),
    "TIMESTAMP": ("timestamp[us]",), "BLOB": ("binary", "large_binary"),
    "TIMESTAMP WITH TIME ZONE": ("timestamp[us, tz=UTC]", "timestamp[us, tz=Etc/UTC]"),
}  # fmt: skip
_LIST: Final = re.compile(r"(?:large_)?list<\w+: (.*?)(?: not null)?>")
_DECIMAL: Final = re.compile(r"(?:DECIMAL|decimal128)\((\d+), ?(\d+)\)")


def fetched_from(tables: Sequence[Any], columns: Sequence[Column], *, fetch: Fetch) -> Fetched:
    """The answer. Raises `QueryFailed` (`run.types`, `run.out_of_range`)."""
    import pyarrow

    whole = pyarrow.concat_tables(tables)
    names, types = tuple(one.name for one in columns), tuple(one.type for one in columns)
    if whole.num_columns != len(types) or not all(map(_fits, types, (str(one.type) for one in whole.schema))):
        raise QueryFailed(
            "run.types", "the answer is not of the expected types", hint="cast the columns to the types that you need"
        )
    found = fetched_as(whole, names, types, fetch=fetch)
    if found is None:
        raise QueryFailed(
            "run.out_of_range", "a value is out of the range of its type", hint="cast to a wider type first"
        )
    return found


def places_of(binds: Sequence[str], values: Mapping[str, object]) -> dict[str, object]:
    """The values to bind, by the names of their places; the text casts each to its type."""
    return {f"p{number}": _sent(values[name]) for number, name in enumerate(binds, 1)}


def _sent(value: object) -> object:
    """A value as the client can send it, whatever it takes for a time zone or for the size of a number."""
    match value:
        case datetime():
            return value.isoformat(sep=" ")
        case int() if not isinstance(value, bool) and not -(2**63) <= value < 2**63:
            return str(value)
        case _:
            return value


def _fits(wanted: str, came: str) -> bool:
    """Whether every value of a column that came is one of the wanted type, or is found out when it is cast.

    >>> _fits("BIGINT", "int32"), _fits("INTEGER", "string"), _fits("DECIMAL(9,2)", "decimal128(19, 2)")
    (True, False, True)
    >>> _fits("VARCHAR[]", "list<element: string>"), _fits("VARCHAR[]", "list<element: int32>")
    (True, False)
    """
    if wanted.endswith("[]"):
        items = _LIST.fullmatch(came)
        return items is not None and _fits(wanted[:-2], items[1])
    decimal = _DECIMAL.fullmatch(came)
    if wanted in _BITS:
        return came in _WIDTHS or (decimal is not None and int(decimal[2]) == 0)
    if found := _DECIMAL.fullmatch(wanted):
        return decimal is not None and int(decimal[2]) <= int(found[2])
    return came in _SAME.get(wanted, ())
