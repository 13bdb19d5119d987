"""Rows → Arrow and Arrow → rows, by DuckDB's own conversions, or an error: never a value that has changed on the way.

A result is fetched in one form; the other is made from it on demand. Owns that what one form cannot hold exactly (an
INTERVAL's months in a `timedelta`, a TIMETZ's offset in Arrow) is refused with a hint instead of rounded.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

from rls.catalog import quote
from rls.engines.base import Fetch, Fetched
from rls.engines.zone import reckon_in_utc
from rls.errors import EngineInvalid
from rls.forks import before_fork, never_closed_in_child

__all__ = ["arrow_of", "fetched_as", "rows_of"]

# DuckDB types (as words in a type's text, struct fields' names aside) that do not survive each way.
_LOST_IN_ROWS: Final = re.compile(r"\b(INTERVAL|TIMESTAMP_NS|TIMESTAMPTZ_NS|TIME_NS|TUPLE)\b")
_LOST_IN_ARROW: Final = re.compile(r"\b(UHUGEINT|BIT|TIME WITH TIME ZONE|TUPLE)\b")


def arrow_of(fetched: Fetched) -> Any:
    """A pyarrow Table of the result, with the schema that DuckDB gives these types.

    Raises `EngineInvalid`: `engine.arrow_missing`, `engine.conversion`.
    """
    if fetched.table is not None:
        return fetched.table
    _refuse_lossy(fetched, _LOST_IN_ROWS, wanted="arrow")
    try:
        import pyarrow  # noqa: F401 (DuckDB imports it itself, with a worse message)
    except ImportError:
        raise EngineInvalid(
            "engine.arrow_missing", "pyarrow is not installed", hint="pip install 'rls[arrow]'"
        ) from None
    values = [[row[i] for row in fetched.rows or ()] for i in range(len(fetched.columns))]
    casts = ", ".join(f"CAST(c{i} AS {t}) AS c{i}" for i, t in enumerate(fetched.types))
    lists = ", ".join(f"unnest(${i + 1}) AS c{i}" for i in range(len(values)))
    with _converter().cursor() as cursor:
        table = cursor.sql(f"SELECT {casts} FROM (SELECT {lists})", params=values).to_arrow_table()
    return table.rename_columns(list(fetched.columns))


def rows_of(fetched: Fetched) -> list[tuple[Any, ...]]:
    """The result as tuples of Python values, as DuckDB's own `fetchall` gives them."""
    if fetched.rows is not None:
        return fetched.rows
    _refuse_lossy(fetched, _LOST_IN_ARROW, wanted="rows")
    with _converter().cursor() as cursor:
        # Names are of no use here and may be given twice.
        names = [f"c{i}" for i in range(len(fetched.columns))]
        relation = cursor.from_arrow(fetched.table.rename_columns(names))
        casts = ", ".join(f"CAST({quote(n)} AS {t})" for n, t in zip(names, fetched.types, strict=True))
        rows: list[tuple[Any, ...]] = relation.project(casts).fetchall()
        return rows


def fetched_as(table: Any, names: tuple[str, ...], types: tuple[str, ...], *, fetch: Fetch) -> Fetched | None:
    """Another engine's Arrow table as DuckDB would have answered: in these types, by its own conversions. None where a
    value does not fit into its type."""
    import duckdb

    casts = ", ".join(f"CAST(c{i} AS {type_}) AS c{i}" for i, type_ in enumerate(types))
    with _converter().cursor() as cursor:
        cursor.execute("SET TimeZone = 'UTC'")
        relation = cursor.from_arrow(table.rename_columns([f"c{i}" for i in range(len(types))]))
        try:
            if fetch == "rows":
                rows = relation.project(casts).fetchall()
                return Fetched(names, types, len(rows), rows=rows)
            found = relation.project(casts).to_arrow_table()
        except duckdb.Error:
            return None
    return Fetched(names, types, found.num_rows, table=found.rename_columns(list(names)))


def _refuse_lossy(fetched: Fetched, lost: re.Pattern[str], *, wanted: str) -> None:
    for kind in fetched.types:
        # Names of struct fields and labels of enums are quoted where they could be mistaken for a type.
        if found := lost.search(re.sub(r'"(?:[^"]|"")*"|\'(?:[^\']|\'\')*\'', "", kind)):
            raise EngineInvalid(
                "engine.conversion", f"values of type {found[0]} would change on the way", hint=f'use fetch="{wanted}"'
            )


@lru_cache(maxsize=1)
def _converter() -> Any:
    """An empty DuckDB instance for conversions; only text written in this module runs on it."""
    import duckdb

    connection = never_closed_in_child(duckdb.connect(":memory:", config={"python_enable_replacements": "false"}))
    reckon_in_utc(connection)
    return connection


before_fork(_converter.cache_clear)
