"""What is known of an attempt so far → its `AuditRecord`, kept before anything is handed out.

Filled in while the query travels; whatever happens, `keep` can be called at any point and writes what is known by then.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rls.audit.keyed import KeyedHash, plain_text
from rls.audit.literals import without_literals
from rls.audit.record import Action, AuditRecord, KeptSql, Outcome
from rls.audit.sinks import AuditSink, keep
from rls.audit.trace import current_trace_id
from rls.catalog import Catalog, quote
from rls.engines.failures import redact
from rls.engines.parameters import parameter_types
from rls.errors import QueryFailed, QueryRefused, RlsError, TokenRejected
from rls.identity.principal import Principal
from rls.policy.grant import Grant
from rls.rewrite.guarded import GuardedQuery

__all__ = ["Attempt", "Recording", "grant_hash", "public_text", "relations_of"]

# Who has no valid token fills no disk.
_TEXT_OF_STRANGERS = 1_000
_WARNINGS = 10
# No issuer takes longer ones, so nobody looks at what they hold.
_LONGEST_TOKEN = 16_384
LIMITS = frozenset(
    f"run.{limit}"
    for limit in ("busy", "columns", "copies", "list_items", "memory", "nesting", "rows", "temporary_disk", "timeout")
)


@dataclass(frozen=True, slots=True)
class Recording:
    """How attempts are recorded: where to, under which key, and how much of the caller's text."""

    sink: AuditSink
    keyed: KeyedHash
    sql: KeptSql = "full"

    def text_hash(self, text: str) -> str:
        """The hash of a text: plain where the text itself is kept, else keyed, because its literals can be guessed."""
        return plain_text(text) if self.sql == "full" else self.keyed.text(text)


class Attempt:
    """One attempt, from its start; `now` is Unix time in seconds, `text_limit` the characters of SQL that are kept.

    What is set on the way (`principal`, `guarded`, …) ends a phase: the time until then is recorded under its name.
    """

    def __init__(self, action: Action, sql: object, *, recording: Recording, text_limit: int, now: float) -> None:
        self.audit_id = secrets.token_hex(16)
        self.action: Action = action
        self.sql = sql if isinstance(sql, str) else ""
        self.dialect = ""
        self.token: object = None
        self.row_count: int | None = None
        self.byte_count: int | None = None
        self._recording = recording
        self._principal: Principal | None = None
        self._guarded: GuardedQuery | None = None
        self._text = ""
        self._parameters: dict[str, str] = {}
        self._parameter_types: dict[str, str] = {}
        self._now, self._text_limit = now, text_limit
        self._started = self._phase_began = time.perf_counter()
        self._timings: dict[str, float] = {}
        self._versions = ("", "", "")
        self._names = ("", "")

    def versions(self, policy: str, catalog: Catalog, engine: str, *, attached: str) -> None:
        """What decides in this attempt; `catalog` as its callers name it, `attached` the engine's name for it."""
        self._versions = (policy, catalog.version, engine)
        self._names = (attached, catalog.name)
        # What was made for another version, if there is one, is nothing now.
        self._guarded, self._text = None, ""

    @property
    def principal(self) -> Principal | None:
        """Who asks, once that is known."""
        return self._principal

    @principal.setter
    def principal(self, who: Principal) -> None:
        self._principal = who
        self._end_phase("verify")

    @property
    def guarded(self) -> GuardedQuery | None:
        """What the text became, once that is known."""
        return self._guarded

    @guarded.setter
    def guarded(self, guarded: GuardedQuery) -> None:
        # A PIVOT that was filled in holds values of rows: what it was made of is kept.
        if self._guarded is None or not self._guarded.pivots:
            self._text = guarded.sql
        self._guarded = guarded
        self._end_phase("guard")

    def bind(self, parameters: Mapping[str, object]) -> None:
        """The caller's own parameters, once they are known to be plain values."""
        subject = self._principal.subject if self._principal else ""
        self._parameters = self._recording.keyed.parameters(parameters, subject=subject)
        self._parameter_types = parameter_types(parameters)

    def keep(self, failure: RlsError | None) -> None:
        """Write the record. Raises `AuditFailed`."""
        keep(self._recording.sink, self._record(failure))

    def _end_phase(self, name: str) -> None:
        now = time.perf_counter()
        self._timings[name] = round(self._timings.get(name, 0.0) + now - self._phase_began, 6)
        self._phase_began = now

    def _record(self, failure: RlsError | None) -> AuditRecord:
        who, guarded, how = self._principal, self._guarded, self._recording
        limit = self._text_limit if who else min(_TEXT_OF_STRANGERS, self._text_limit)
        policy, catalog, engine = self._versions
        self._end_phase("rest")
        return AuditRecord(
            time=datetime.fromtimestamp(self._now, UTC).isoformat(timespec="milliseconds"),
            audit_id=self.audit_id,
            action=self.action,
            outcome=self._outcome(failure),
            code=failure.reason if isinstance(failure, TokenRejected) else failure.code if failure else "",
            detail=redact(failure.detail or "") if failure else "",
            subject=who.subject if who else "",
            roles=tuple(sorted(who.roles)) if who else (),
            agent=(who.agent or "") if who else "",
            actors=who.actors if who else (),
            issuer=who.issuer if who else "",
            token_id=who.token_id if who else None,
            assurance=who.assurance if who else "",
            attributes=how.keyed.values(who.attributes) if who else {},
            hash_key=how.keyed.name,
            token_hash=self._token_hash() if isinstance(failure, TokenRejected) else "",
            sql=self._kept_sql(limit),
            sql_kept=how.sql,
            sql_length=len(self.sql),
            dialect=self.dialect,
            sql_sha256=how.text_hash(self.sql),
            final_sha256=how.text_hash(public_text(self._text, *self._names)) if guarded else "",
            template_sha256=how.text_hash(guarded.original) if guarded and guarded.near else "",
            relations=relations_of(guarded) if guarded else {},
            fence_reason=guarded.fence_reason if guarded else "",
            statistics_hidden=guarded.hide_statistics if guarded else False,
            parameters=self._parameters,
            parameter_types=self._parameter_types,
            attributes_read=guarded.attributes_read if guarded else (),
            warnings=who.warnings[:_WARNINGS] if who else (),
            row_count=self.row_count if failure is None else None,
            byte_count=self.byte_count if failure is None else None,
            duration=round(time.perf_counter() - self._started, 6),
            timings=self._timings,
            policy_version=policy,
            catalog_version=catalog,
            engine_version=engine,
            trace_id=current_trace_id(),
        )

    def _kept_sql(self, limit: int) -> str:
        match self._recording.sql:
            case "full":
                return self.sql[:limit]
            case "shape" if self.dialect:
                return ""  # who reads it as DuckDB's SQL may take a literal for a name
            case "shape":
                return without_literals(self.sql[:limit])
            case "none":
                return ""

    def _token_hash(self) -> str:
        token = self.token
        short = isinstance(token, str) and len(token) <= _LONGEST_TOKEN
        return self._recording.keyed.text(str(token)) if short else ""

    def _outcome(self, failure: RlsError | None) -> Outcome:
        match failure:
            case None:
                grants = self._guarded.grants.values() if self._guarded else ()
                return "denied" if grants and all(g.kind == "never" for g in grants) else "allowed"
            case TokenRejected():
                return "rejected"
            case QueryRefused():
                return "refused"
            case QueryFailed(code=code) if code in LIMITS:
                return "limited"
            case _:
                return "failed"


def grant_hash(grant: Grant) -> str:
    """A hash of everything in a grant that decides, values apart: the same for all whom it shows by the same rule."""
    parts = (grant.kind, grant.predicate, sorted(grant.masks.items()), sorted(grant.denied), sorted(grant.labels))
    return hashlib.sha256(repr(parts).encode(errors="surrogatepass")).hexdigest()[:32]


def relations_of(guarded: GuardedQuery) -> dict[str, dict[str, Any]]:
    """What a record says of each relation that a query reads."""
    fenced = {one.relation.label for one in guarded.guards if one.fenced}
    return {
        label: {
            "kind": grant.kind,
            "policies": list(grant.policies),
            "grant": grant_hash(grant),
            "barrier": "none" if grant.kind == "always" else "fence" if label in fenced else "inline",
            "masked": sorted(grant.masks),
            "denied": sorted(grant.denied),
        }
        for label, grant in guarded.grants.items()
    }


def public_text(text: str, attached: str, name: str) -> str:
    """The guarded text with the database under its callers' name: the engine's own name differs with every start."""
    return text if attached == name else text.replace(quote(attached), quote(name))
