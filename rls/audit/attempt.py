"""What is known of an attempt so far → its `AuditRecord`, kept before anything is handed out.

Filled in while the query travels; whatever happens, `keep` can be called at any point and writes what is known by then.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from datetime import UTC, datetime

from rls.audit.record import Action, AuditRecord, Outcome
from rls.audit.sinks import AuditSink, keep
from rls.engines.failures import redact
from rls.errors import QueryRefused, RlsError, TokenRejected
from rls.identity.principal import Principal
from rls.rewrite.guarded import GuardedQuery

__all__ = ["Attempt"]

# Who has no valid token fills no disk.
_TEXT_OF_STRANGERS = 1_000


class Attempt:
    """One attempt, from its start; `now` is Unix time in seconds, `text_limit` the characters of SQL that are kept."""

    def __init__(self, action: Action, sql: object, *, text_limit: int, now: float) -> None:
        self.audit_id = secrets.token_hex(16)
        self.action: Action = action
        self.sql = sql if isinstance(sql, str) else ""
        self.principal: Principal | None = None
        self.guarded: GuardedQuery | None = None
        self.parameters: tuple[str, ...] = ()
        self.row_count: int | None = None
        self._now, self._text_limit, self._started = now, text_limit, time.perf_counter()
        self._versions = ("", "", "")

    def versions(self, policy: str, catalog: str, engine: str) -> None:
        """What decides in this attempt."""
        self._versions = (policy, catalog, engine)

    def keep(self, sink: AuditSink, failure: RlsError | None) -> None:
        """Write the record. Raises `AuditFailed`."""
        keep(sink, self._record(failure))

    def _record(self, failure: RlsError | None) -> AuditRecord:
        who, guarded = self.principal, self.guarded
        grants = guarded.grants if guarded else {}
        limit = self._text_limit if who else min(_TEXT_OF_STRANGERS, self._text_limit)
        policy, catalog, engine = self._versions
        return AuditRecord(
            time=datetime.fromtimestamp(self._now, UTC).isoformat(timespec="milliseconds"),
            audit_id=self.audit_id,
            action=self.action,
            outcome=self._outcome(failure),
            code=failure.reason if isinstance(failure, TokenRejected) else failure.code if failure else "",
            detail=redact(failure.detail or "") if failure else "",
            subject=who.subject if who else "",
            roles=tuple(sorted(who.roles)) if who else (),
            issuer=who.issuer if who else "",
            token_id=who.token_id if who else None,
            assurance=who.assurance if who else "",
            sql=self.sql[:limit],
            sql_length=len(self.sql),
            sql_sha256=_hash(self.sql),
            final_sha256=_hash(guarded.sql) if guarded else "",
            relations={label: {"kind": g.kind, "policies": list(g.policies)} for label, g in grants.items()},
            parameters=self.parameters,
            attributes_read=guarded.attributes_read if guarded else (),
            row_count=self.row_count if failure is None else None,
            duration=round(time.perf_counter() - self._started, 6),
            policy_version=policy,
            catalog_version=catalog,
            engine_version=engine,
        )

    def _outcome(self, failure: RlsError | None) -> Outcome:
        match failure:
            case None:
                grants = self.guarded.grants.values() if self.guarded else ()
                return "denied" if grants and all(g.kind == "never" for g in grants) else "allowed"
            case TokenRejected():
                return "rejected"
            case QueryRefused():
                return "refused"
            case _:
                return "failed"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
