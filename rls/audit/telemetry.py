"""A sink that also tells OpenTelemetry of every record: a span for the attempt, counters and a histogram.

The record is kept first, by the sink inside; telemetry that fails loses telemetry and nothing else. Owns that spans and
counters hold names and numbers only: no SQL, no attribute, and no principal where there may be many (counters).
"""

from __future__ import annotations

import contextlib
from datetime import datetime
from typing import Any, Final

import rls
from rls.audit.record import AuditRecord
from rls.audit.sinks import AuditSink
from rls.errors import AuditFailed

__all__ = ["TelemetrySink"]

_BAD: Final = frozenset(("failed", "limited"))


class TelemetrySink:
    """Keeps records in `inner` and reports them to the program's OpenTelemetry providers (or the given ones).

    Span `rls.query` (`rls.guard`, `rls.session`), child of the caller's current span, with the times of its phases as
    events; counters `rls.attempts` (by action, outcome, code) and `rls.rows`; histogram `rls.duration` in seconds.
    Raises `AuditFailed` (`audit.telemetry_missing`) without the extra `otel`.
    """

    def __init__(self, inner: AuditSink, *, tracer_provider: Any = None, meter_provider: Any = None) -> None:
        self.inner = inner
        try:
            from opentelemetry import metrics, trace
        except ImportError:
            missing = True
        else:
            missing = False
            self._trace = trace
            self._tracer = trace.get_tracer("rls", rls.__version__, tracer_provider)
            meter = metrics.get_meter("rls", rls.__version__, meter_provider)
            self._attempts = meter.create_counter("rls.attempts", "{attempt}", "queries that were asked, by outcome")
            self._rows = meter.create_counter("rls.rows", "{row}", "rows that were handed out")
            self._duration = meter.create_histogram("rls.duration", "s", "from an attempt's start to its record")
        if missing:
            raise AuditFailed(
                "audit.telemetry_missing", "OpenTelemetry is not installed", hint="pip install 'rls[otel]'"
            )

    def write(self, record: AuditRecord) -> None:
        self.inner.write(record)
        with contextlib.suppress(Exception):
            self._tell(record)

    def _tell(self, record: AuditRecord) -> None:
        kind = {"rls.action": record.action, "rls.outcome": record.outcome, "rls.code": record.code}
        self._attempts.add(1, kind)
        self._duration.record(record.duration, {"rls.action": record.action, "rls.outcome": record.outcome})
        if record.row_count:
            self._rows.add(record.row_count)
        start = round(datetime.fromisoformat(record.time).timestamp() * 1e9)
        span = self._tracer.start_span(f"rls.{record.action}", start_time=start, attributes=_attributes(record) | kind)
        at = start
        for phase, seconds in record.timings.items():
            at += round(seconds * 1e9)
            span.add_event(phase, {"seconds": seconds}, timestamp=at)
        if record.outcome in _BAD:
            span.set_status(self._trace.StatusCode.ERROR, record.code)
        span.end(start + round(record.duration * 1e9))


def _attributes(record: AuditRecord) -> dict[str, Any]:
    """By OpenTelemetry's conventions for databases where they have a name for it."""
    found: dict[str, Any] = {
        "db.system.name": record.engine_version.partition(" ")[0],
        "db.query.summary": " ".join(["SELECT", *record.relations]) if record.relations else "",
        "db.response.returned_rows": record.row_count,
        "enduser.id": record.subject,
        "error.type": record.code,
        "rls.audit_id": record.audit_id,
        "rls.policy_version": record.policy_version,
        "rls.relations": list(record.relations),
        "rls.agent": record.agent,
    }
    return {name: value for name, value in found.items() if value not in (None, "", [])}
