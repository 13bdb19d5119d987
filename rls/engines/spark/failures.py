"""What a Spark Connect server says → what the caller may know: an error of this library, by Spark's error class alone.

Its messages quote values and names, so they go to `detail` only, for the operator. Owns invariant (private) here.

Source: Spark's error conditions and SQLSTATEs; Sail gives neither, so there the class of the exception decides.
"""

from __future__ import annotations

from typing import Any, Final

from rls.engines.failures import interrupted
from rls.errors import QueryFailed, QueryRefused, RlsError

__all__ = ["explain_failure", "is_lost", "is_stale"]

_RANGE: Final = ("run.out_of_range", "a value is out of the range of its type", "cast to a wider type first")
_ZERO: Final = ("run.division_by_zero", "division by zero", "use NULLIF(divisor, 0)")
_ROWS: Final = (
    "run.subquery_rows", "a sub-query used as a value returned more than one row", "use IN, or an aggregate",
)  # fmt: skip
_STATES: Final[dict[str, tuple[str, str, str]]] = {
    "22003": _RANGE, "22008": _RANGE, "22012": _ZERO, "21000": _ROWS,
    "53200": ("run.memory", "the query needs more memory than it may use", "aggregate or filter earlier"),
}  # fmt: skip
_CLASSES: Final = {
    "ArithmeticException": _RANGE, "NumberFormatException": _RANGE, "IllegalArgumentException": _RANGE,
    "DateTimeException": _RANGE, "ArrayIndexOutOfBoundsException": _RANGE,
}  # fmt: skip
# Phrases of Sail's that say what kind of error it is, and none of its values.
_PHRASES: Final = (
    (("divide by zero", "Remainder by zero", "Division by zero"), _ZERO),
    (("more than one row", "returned more than 1 row"), _ROWS),
    (("overflow", "out of range", "too large to store", "Can't cast value"), _RANGE),
)
# How Sail begins, where it could not plan what it had read.
_PLANNER: Final = (
    "No field named", "Schema error", "Internal error", "Error during planning", "Optimizer rule", "invalid argument:",
    "This feature is not implemented", "type_coercion", "Physical plan does not support",
)  # fmt: skip
_LOST: Final = ("SESSION_", "INVALID_HANDLE", "OPERATION_")
_STALE: Final = ("TABLE_OR_VIEW_NOT_FOUND", "UNRESOLVED_COLUMN", "FAILED_READ_FILE", "PATH_NOT_FOUND", "_METADATA_")


def is_lost(error: BaseException) -> bool:
    """Whether a session is of no use any more: the server is gone, or no longer knows it."""
    if isinstance(error, RlsError):
        return False
    import grpc
    from pyspark.errors.exceptions.base import PySparkException

    if not isinstance(error, PySparkException):
        return True
    cause = error.__cause__ or error.__context__
    unavailable = isinstance(cause, grpc.Call) and cause.code() in (
        grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.CANCELLED,
    )  # fmt: skip
    return unavailable or _condition(error).startswith(_LOST) or type(error).__name__ == "RetriesExceeded"


def is_stale(error: BaseException) -> bool:
    """Whether an error may mean that the relations are no longer what the catalog says."""
    text = f"{_condition(error)} {error}"
    return any(one in text for one in _STALE) or "No such file" in text or "not found" in text.lower()


def explain_failure(error: BaseException, *, closed: bool) -> RlsError:
    """The public error for one of the client's."""
    kind, state, message = type(error).__name__, _state(error), str(error)
    found: RlsError
    if closed or "CANCELED" in _condition(error):
        found = interrupted()
    elif is_lost(error):
        found = QueryFailed(
            "run.connection", "the connection to the server was lost", hint="send the query again later"
        )
    elif not state and message.startswith(_PLANNER):
        found = _cannot()
    elif known := _known(kind, state, message):
        found = QueryFailed(known[0], known[1], hint=known[2])
    elif kind == "UnsupportedOperationException" or state.startswith(("0A", "42")) or kind == "AnalysisException":
        found = _cannot()
    elif state.startswith("22"):
        found = QueryFailed("run.invalid_input", "a function got a value that it does not accept")
    elif state.startswith("53") or "OUT_OF_MEMORY" in message:
        found = QueryFailed("run.memory", "the query needs more memory than it may use", hint="aggregate earlier")
    else:
        found = QueryFailed("run.failed", "the query could not be run", hint="tell the operator")
    found.detail = f"{kind} {_condition(error)}: {message}"[:2_000]
    return found


def _cannot() -> QueryRefused:
    return QueryRefused(
        "query.not_portable",
        "this engine cannot run the query as DuckDB does",
        hint="correlated sub-queries and joins without equalities are where engines differ",
    )


def _known(kind: str, state: str, message: str) -> tuple[str, str, str] | None:
    if state in _STATES:
        return _STATES[state]
    if state:
        return None
    for phrases, meant in _PHRASES:
        if any(one in message for one in phrases):
            return meant
    return _CLASSES.get(kind)


def _condition(error: Any) -> str:
    found = getattr(error, "getCondition", None)
    return (found() if found is not None else None) or ""


def _state(error: Any) -> str:
    found = getattr(error, "getSqlState", None)
    return (found() if found is not None else None) or ""
