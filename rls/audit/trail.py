"""What `Engine.open(audit=…)` was given → where and how attempts are recorded. The one door from the engine to audit.

Owns that there is no engine without a place for records, and that what decides is kept before it decides anything.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from rls.audit.attempt import Attempt, Decides, Recording
from rls.audit.keyed import KeyedHash
from rls.audit.log import AuditLog
from rls.audit.settings import AuditSettings, load_settings
from rls.audit.sinks import AuditSink, AuditTarget, CallableSink
from rls.audit.snapshots import keep_snapshots
from rls.errors import AuditFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rls.audit.record import Action, AuditRecord
    from rls.audit.select import Selection
    from rls.catalog import Catalog

__all__ = ["Deciding", "Trail", "open_sink"]


class Deciding(Protocol):
    """What is asked of a policy set: its version, its directory, and the texts of its files by name."""

    @property
    def version(self) -> str: ...
    @property
    def directory(self) -> str: ...
    @property
    def texts(self) -> Mapping[str, str]: ...


@runtime_checkable
class _Around(Protocol):
    inner: AuditSink


class Trail:
    """Where attempts become records. `close` closes what `open` opened."""

    def __init__(
        self, sink: AuditSink, *, settings: AuditSettings | None = None, owned: AuditLog | None = None
    ) -> None:
        keyed = settings.keyed if settings else KeyedHash.ephemeral()
        self._recording = Recording(sink, keyed, settings.sql if settings else "full")
        self._owned = owned

    @classmethod
    def open(cls, audit: AuditTarget, directory: str | os.PathLike[str]) -> Trail:
        """From a path, a callable or a sink, and the policy directory that says how. Raises as `open_sink` and
        `load_settings` do."""
        settings = load_settings(Path(directory))
        sink = open_sink(audit, settings)
        owned = sink if isinstance(sink, AuditLog) and sink is not audit else None
        if settings.opentelemetry:
            from rls.audit.telemetry import TelemetrySink

            sink = TelemetrySink(sink)
        return cls(sink, settings=settings, owned=owned)

    def begin(self, action: Action, sql: object, *, decides: Decides, text_limit: int, now: float) -> Attempt:
        """An attempt begins."""
        return Attempt(action, sql, recording=self._recording, decides=decides, text_limit=text_limit, now=now)

    def decide(self, policies: Deciding, catalog: Catalog) -> None:
        """These policies decide from now on. Raises `AuditFailed`: `audit.snapshot`, `audit.write`."""
        log = self._log
        if log is not None and policies.directory:
            keep_snapshots(log, Path(policies.directory), policies.version, catalog, texts=policies.texts)

    def read(self, selection: Selection, *, latest: int, own: bool, policies: bool) -> list[dict[str, Any]]:
        """The latest records of a log that are selected; without `policies`, nothing of what decided is in them; `own`
        for a reader who selects its own.

        Raises `AuditFailed` (`audit.unreadable`) where records go to what cannot be read.
        """
        from rls.audit.read import read_records
        from rls.audit.select import select_records

        log = self._log
        if log is None:
            raise AuditFailed("audit.unreadable", "records are not kept where they can be read", hint="give a path")
        found = deque(select_records(read_records(log.path), selection), maxlen=latest)
        # The hash of a text that perhaps somebody else sent is for those who may see all records.
        shown = [_without_others(record) for record in found] if own else list(found)
        return [record if policies else _without_policies(record) for record in shown]

    @property
    def _log(self) -> AuditLog | None:
        """The log that records end in; a sink around a log is none the less that log."""
        sink: object = self._recording.sink
        while not isinstance(sink, AuditLog) and isinstance(sink, _Around):
            sink = sink.inner
        return sink if isinstance(sink, AuditLog) else None

    def close(self) -> None:
        """End the log, if it is this trail's own."""
        if self._owned is not None:
            self._owned.close()


def _without_others(record: dict[str, Any]) -> dict[str, Any]:
    template = record["template_sha256"]
    return record if template == record["sql_sha256"] else {**record, "template_sha256": ""}


def _without_policies(record: dict[str, Any]) -> dict[str, Any]:
    relations = {label: {"kind": how.get("kind", "")} for label, how in record["relations"].items()}
    hidden = {"detail": "", "fence_reason": "", "final_sha256": "", "statistics_hidden": False}
    return {**record, "relations": relations, **hidden}


def open_sink(audit: AuditTarget, settings: AuditSettings) -> AuditSink:
    """The sink for a path, a callable, or a sink.

    Raises `AuditFailed` (`audit.sink`) for anything else, `None` included: there is no engine without a record;
    `audit.open` for a path that cannot be written.
    """
    match audit:
        case str() | os.PathLike():
            return AuditLog(
                audit,
                signer=settings.signer,
                durability=settings.durability,
                rotate_bytes=settings.rotate_bytes,
                heads=settings.heads,
                anchor=settings.anchor,
            )
        case AuditSink():
            return audit
        case _ if callable(audit):
            function: Callable[[AuditRecord], object] = audit
            return CallableSink(function)
        case _:
            raise AuditFailed("audit.sink", "this is no place for audit records", hint="give a path or a callable")
