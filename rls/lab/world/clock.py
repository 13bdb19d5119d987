"""A moment → the SQL that makes it the time of a DuckDB instance: macros before DuckDB's own functions of that name.

They live in the empty default catalog, where names are looked for before the built-in ones, so policies and queries
that ask for the time get the suite's. It owns the list of those functions.
"""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["clock_macros"]

_INSTANT = ("now", "current_timestamp", "get_current_timestamp", "transaction_timestamp")


def clock_macros(now: float) -> tuple[str, ...]:
    """CREATE statements for a Unix time in seconds.

    >>> clock_macros(0)[-1]
    "CREATE OR REPLACE MACRO localtimestamp() AS TIMESTAMP '1970-01-01 00:00:00'"
    """
    moment = datetime.fromtimestamp(now, UTC).replace(tzinfo=None)
    instant = f"CAST('{moment}+00' AS TIMESTAMPTZ)"
    values = {
        **dict.fromkeys(_INSTANT, instant),
        **dict.fromkeys(("today", "current_date"), f"DATE '{moment.date()}'"),
        **dict.fromkeys(("current_localtime", "localtime"), f"TIME '{moment.time()}'"),
        **dict.fromkeys(("current_localtimestamp", "localtimestamp"), f"TIMESTAMP '{moment}'"),
    }
    return tuple(f"CREATE OR REPLACE MACRO {name}() AS {value}" for name, value in values.items())
