"""`AuditRecord` → a place that keeps it, written before the result is handed out.

A sink is a path, a callable, or an object with `write(record)`. Owns the writing half of invariant (recorded): `write`
returns once the record is out of this process's hands, or raises `AuditFailed`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from rls.audit.record import AuditRecord
from rls.errors import AuditFailed

__all__ = ["AuditSink", "AuditTarget", "CallableSink", "keep"]


@runtime_checkable
class AuditSink(Protocol):
    """Where records go. `write` is called from several threads at once; whatever it raises withholds the result."""

    def write(self, record: AuditRecord) -> None: ...


AuditTarget = str | os.PathLike[str] | Callable[[AuditRecord], object] | AuditSink


class CallableSink:
    """Hands each record to a function; its return value is ignored."""

    def __init__(self, function: Callable[[AuditRecord], object]) -> None:
        self._function = function

    def write(self, record: AuditRecord) -> None:
        self._function(record)


def keep(sink: AuditSink, record: AuditRecord) -> None:
    """Write a record. Raises `AuditFailed` whatever the sink raises: it is not known that the record was kept."""
    failure = None
    try:
        sink.write(record)
    except AuditFailed as error:
        failure = error
    except Exception as error:  # noqa: BLE001
        failure = AuditFailed(
            "audit.write",
            "the audit record could not be written, so nothing is handed out",
            detail=f"{type(error).__name__}: {error}",
        )
    if failure:
        raise failure
