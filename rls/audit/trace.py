"""The trace that a request belongs to: what a record says of it, so that records, logs and spans can be joined.

Taken from OpenTelemetry where the program uses it, else from `traced`. Owns that a record's trace id is 32 hexadecimal
digits or nothing, whatever a request's header held.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["current_trace_id", "traced"]

_TRACE: ContextVar[str] = ContextVar("rls_trace", default="")
# W3C Trace Context, 3.2: version, trace id, parent id, flags.
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
_ID = re.compile(r"[0-9a-f]{32}")


@contextmanager
def traced(trace: str) -> Iterator[str]:
    """Queries in this block are recorded under a trace: a `traceparent` header or a bare id of 32 hexadecimal digits.

    Anything else is nobody's trace and leaves the records without one. Yields the id that is used.

    >>> with traced("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01") as trace_id:
    ...     current_trace_id() == trace_id
    True
    """
    found = _TRACEPARENT.fullmatch(trace)
    trace_id = found[1] if found else trace if _ID.fullmatch(trace) else ""
    token = _TRACE.set(trace_id if trace_id.strip("0") else "")
    try:
        yield _TRACE.get()
    finally:
        _TRACE.reset(token)


def current_trace_id() -> str:
    """The trace id in force here: that of `traced`, else of OpenTelemetry's current span, else ""."""
    own = _TRACE.get()
    # Not imported for this: a program that has no span has not loaded it either.
    opentelemetry = sys.modules.get("opentelemetry.trace")
    if own or opentelemetry is None:
        return own
    context = opentelemetry.get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else ""
