"""What PostgreSQL says → what the caller may know: an error of this library, by the SQLSTATE alone.

Its messages quote values and names, so they go to `detail` only, for the operator. Owns invariant (private) here.

Source: PostgreSQL's documentation, appendix A.
"""

from __future__ import annotations

from typing import Any, Final

from rls.engines.failures import interrupted, timed_out
from rls.engines.limits import Limits
from rls.errors import QueryFailed, QueryRefused, RlsError

__all__ = ["explain_failure", "is_stale"]

_CODES: Final[dict[str, tuple[str, str, str | None]]] = {
    "22003": ("run.out_of_range", "a value is out of the range of its type", "cast to a wider type first"),
    "22008": ("run.out_of_range", "a value is out of the range of its type", "use other dates"),
    "22012": ("run.division_by_zero", "division by zero", "use NULLIF(divisor, 0)"),
    "21000": (
        "run.subquery_rows",
        "a sub-query used as a value returned more than one row",
        "use IN, or an aggregate",
    ),
    "53200": ("run.memory", "the query needs more memory than it may use", "aggregate or filter earlier"),
    "53100": ("run.temporary_disk", "the query needs more temporary disk than there is", "aggregate or filter earlier"),
    "53400": ("run.temporary_disk", "the query needs more temporary disk than it may use", "aggregate earlier"),
    "54000": ("run.failed", "the query is too large for PostgreSQL", "split it"),
    "54001": ("run.failed", "the query is nested too deeply for PostgreSQL", "split it"),
    "40001": ("run.restarted", "the server ended the query", "send the query again"),
}
# What happens where a relation, a column or a right went away after the catalog was read.
_STALE: Final = frozenset(("42P01", "42703", "3F000", "42501", "42704", "42804", "42883", "42846", "42P18"))


def is_stale(error: Any) -> bool:
    """Whether an error may mean that the database is no longer what its catalog says."""
    return error.sqlstate in _STALE


def explain_failure(error: Any, limits: Limits, *, expired: bool) -> RlsError:
    """The public error for a psycopg error; `expired` says that the query's time is over."""
    state = error.sqlstate
    found: RlsError
    detail = f"PostgreSQL {state or 'connection'}: {error.diag.message_primary or ''}"[:2_000]
    if state == "57014" and expired:
        found = timed_out(limits)
    elif state == "57014":
        found = interrupted()
    elif state is None or state.startswith(("08", "57P")):
        found = QueryFailed(
            "run.connection", "the connection to the database was lost", hint="send the query again later"
        )
    elif state == "0A000":
        found = QueryRefused(
            "query.not_portable",
            "PostgreSQL cannot run the query as DuckDB does",
            hint="a FULL JOIN needs an equality between its two sides",
        )
    elif state.startswith("42") and state != "42501":
        # The relations are those of the catalog, or it would have been read again: names reach less far here.
        found = QueryRefused(
            "query.not_portable",
            "PostgreSQL cannot run the query as DuckDB does",
            hint="write joins with JOIN … ON rather than with commas, and casts in full",
        )
    elif state in _CODES:
        code, message, hint = _CODES[state]
        found = QueryFailed(code, message, hint=hint)
    elif state.startswith("22"):
        found = QueryFailed("run.invalid_input", "a function got a value that it does not accept")
    elif state.startswith("53"):
        found = QueryFailed("run.busy", "the server has no room for the query", hint="send the query again later")
    else:
        found = QueryFailed("run.failed", "the query could not be run", hint="tell the operator")
    found.detail = detail
    return found
