"""What is known of an attempt so far → its `AuditRecord`, kept before anything is handed out.

Filled in while the query travels; whatever happens, `keep` can be called at any point and writes what is known by then.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

from rls.audit.kept import Kept
from rls.audit.keyed import KeyedHash, plain_text
from rls.audit.literals import without_literals
from rls.audit.record import Action, AuditRecord, KeptSql, Outcome
from rls.audit.sinks import AuditSink, keep
from rls.audit.trace import current_trace_id
from rls.catalog import quote
from rls.engines.failures import redact
from rls.engines.parameters import parameter_types
from rls.errors import QueryFailed, QueryRefused, RlsError, TokenRejected
from rls.identity.principal import Principal
from rls.policy.grant import Grant
from rls.rewrite.guarded import GuardedQuery

__all__ = ["Attempt", "Decides", "Recording", "grant_hash", "public_text", "relations_of"]

# Who has no valid token fills no disk.
_TEXT_OF_STRANGERS = 1_000
_WARNINGS = 10
# No issuer takes longer ones, so nobody looks at what they hold.
_LONGEST_TOKEN = 16_384
LIMITS = frozenset(
    f"run.{limit}"
    for limit in ("busy", "columns", "copies", "list_items", "memory", "nesting", "rows", "temporary_disk", "timeout")
)


# What is said of a failure, a principal and a guarded query where there is none.
_NO_FAILURE: Final[dict[str, Any]] = {"code": "", "detail": "", "token_hash": ""}
_NOBODY: Final[dict[str, Any]] = {
    "subject": "", "roles": (), "agent": "", "actors": (), "issuer": "", "token_id": None, "assurance": "",
    "attributes": {}, "warnings": (),
}  # fmt: skip
_NOTHING: Final[dict[str, Any]] = {
    "final_sha256": "", "template_sha256": "", "relations": {}, "fence_reason": "", "statistics_hidden": False,
    "attributes_read": (), "outcome": "allowed",
}  # fmt: skip
# What no two attempts have in common; that these fields have their places already makes a record of a copy.
_OTHER_EACH_TIME: Final = dict.fromkeys((
    "time", "audit_id", "action", "parameters", "parameter_types", "row_count", "byte_count", "duration", "timings",
    "trace_id",
))  # fmt: skip


class Decides(NamedTuple):
    """Versions of what decides, and the database's name: the engine's own (`attached`) and its callers'."""

    policy: str
    catalog: str
    engine: str
    attached: str
    name: str


# What a query was made of, beside what it is: for whom, the caller's text, its dialect, how many characters of it are
# kept, what decided, and the guarded text ("" where there is none).
_Sent = tuple[Principal | None, str, str, int, Decides, str]


class Recording:
    """How attempts are recorded: where to, under which key, and how much of the caller's text; and what was said of
    principals and queries that are asked for again."""

    def __init__(self, sink: AuditSink, keyed: KeyedHash, sql: KeptSql = "full") -> None:
        self.sink, self.keyed, self.sql = sink, keyed, sql
        self._principals: Kept[Principal, None, dict[str, Any]] = Kept(self._read_principal)
        self._queries: Kept[GuardedQuery, _Sent, dict[str, Any]] = Kept(self._read_query)

    def text_hash(self, text: str) -> str:
        """The hash of a text: plain where the text itself is kept, else keyed, because its literals can be guessed."""
        return plain_text(text) if self.sql == "full" else self.keyed.text(text)

    def about_principal(self, who: Principal) -> dict[str, Any]:
        """A record's fields that are a principal's; kept, so not to be changed."""
        return self._principals.of(who, None)

    def about_query(self, guarded: GuardedQuery, sent: _Sent) -> dict[str, Any]:
        """All fields of a record, with what is the same each time that a principal asks for a query. Kept, so not to be
        changed."""
        return self._queries.of(guarded, sent)

    def about_nothing(self, sent: _Sent) -> dict[str, Any]:
        """The same where no query was guarded."""
        return {**_OTHER_EACH_TIME, **_NOTHING, **self._about_sent(sent)}

    def _about_sent(self, sent: _Sent) -> dict[str, Any]:
        who, sql, dialect, limit, decides, _ = sent
        return {
            **_NO_FAILURE,
            **(self.about_principal(who) if who else _NOBODY),
            "sql": self._kept_sql(sql[:limit], dialect),
            "sql_length": len(sql),
            "sql_sha256": self.text_hash(sql),
            "sql_kept": self.sql,
            "dialect": dialect,
            "hash_key": self.keyed.name,
            "policy_version": decides.policy,
            "catalog_version": decides.catalog,
            "engine_version": decides.engine,
        }

    def _kept_sql(self, text: str, dialect: str) -> str:
        match self.sql:
            case "full":
                return text
            case "shape" if dialect:
                return ""  # who reads it as DuckDB's SQL may take a literal for a name
            case "shape":
                return without_literals(text)
            case "none":
                return ""

    def _read_principal(self, who: Principal, _: None) -> dict[str, Any]:
        return {
            "subject": who.subject,
            "roles": tuple(sorted(who.roles)),
            "agent": who.agent or "",
            "actors": who.actors,
            "issuer": who.issuer,
            "token_id": who.token_id,
            "assurance": who.assurance,
            "attributes": self.keyed.values(who.attributes),
            "warnings": who.warnings[:_WARNINGS],
        }

    def _read_query(self, guarded: GuardedQuery, sent: _Sent) -> dict[str, Any]:
        *_, decides, text = sent
        grants = guarded.grants.values()
        return {
            **_OTHER_EACH_TIME,
            **self._about_sent(sent),
            "outcome": "denied" if grants and all(one.kind == "never" for one in grants) else "allowed",
            "final_sha256": self.text_hash(public_text(text, decides.attached, decides.name)),
            "template_sha256": self.text_hash(guarded.original) if guarded.near else "",
            "relations": _relations_of(guarded),
            "fence_reason": guarded.fence_reason,
            "statistics_hidden": guarded.hide_statistics,
            "attributes_read": guarded.attributes_read,
        }


class Attempt:
    """One attempt, from its start; `now` is Unix time in seconds, `text_limit` the characters of SQL that are kept.

    What is set on the way (`principal`, `guarded`, …) ends a phase: the time until then is recorded under its name.
    """

    def __init__(
        self, action: Action, sql: object, *, recording: Recording, decides: Decides, text_limit: int, now: float
    ) -> None:
        self.audit_id = os.urandom(16).hex()
        self.action: Action = action
        self.sql = sql if isinstance(sql, str) else ""
        self._recording, self._decides = recording, decides
        self._now, self._text_limit = now, text_limit
        self._started = time.perf_counter()
        self._parameters: dict[str, str] = {}
        self._parameter_types: dict[str, str] = {}

    # Until more is known.
    dialect = ""
    token: object = None
    row_count: int | None = None
    byte_count: int | None = None
    _principal: Principal | None = None
    _guarded: GuardedQuery | None = None
    _verified_at: float | None = None
    _guarded_at: float | None = None
    _text = ""

    def decide_anew(self, decides: Decides) -> None:
        """Something else decides in this attempt: what it became so far is nothing now."""
        self._decides = decides
        self._guarded, self._text = None, ""

    @property
    def principal(self) -> Principal | None:
        """Who asks, once that is known."""
        return self._principal

    @principal.setter
    def principal(self, who: Principal) -> None:
        self._principal = who
        self._verified_at = time.perf_counter()

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
        self._guarded_at = time.perf_counter()

    def bind(self, parameters: Mapping[str, object]) -> None:
        """The caller's own parameters, once they are known to be plain values."""
        subject = self._principal.subject if self._principal else ""
        self._parameters = self._recording.keyed.parameters(parameters, subject=subject)
        self._parameter_types = parameter_types(parameters)

    def keep(self, failure: RlsError | None) -> None:
        """Write the record. Raises `AuditFailed`."""
        keep(self._recording.sink, self._record(failure))

    def _timings(self, now: float) -> dict[str, float]:
        """Seconds that each phase took, to the microsecond."""
        found, began = {}, self._started
        for phase, ended in (("verify", self._verified_at), ("guard", self._guarded_at), ("rest", now)):
            if ended is not None:
                found[phase] = int((ended - began) * 1e6 + 0.5) / 1e6
                began = ended
        return found

    def _record(self, failure: RlsError | None) -> AuditRecord:
        who, guarded, how = self._principal, self._guarded, self._recording
        now = time.perf_counter()
        limit = self._text_limit if who else min(_TEXT_OF_STRANGERS, self._text_limit)
        sent = (who, self.sql, self.dialect, limit, self._decides, self._text)
        fields = (how.about_query(guarded, sent) if guarded else how.about_nothing(sent)).copy()
        # Who is given a record may change what it holds.
        fields["attributes"] = fields["attributes"].copy()
        fields["relations"] = {label: one.copy() for label, one in fields["relations"].items()}
        fields["time"] = _iso_time(self._now)
        fields["audit_id"] = self.audit_id
        fields["action"] = self.action
        fields["parameters"] = self._parameters
        fields["parameter_types"] = self._parameter_types
        fields["row_count"] = self.row_count if failure is None else None
        fields["byte_count"] = self.byte_count if failure is None else None
        fields["duration"] = int((now - self._started) * 1e6 + 0.5) / 1e6
        fields["timings"] = self._timings(now)
        fields["trace_id"] = current_trace_id()
        if failure:
            fields |= self._about_failure(failure)
        return AuditRecord.made_of(fields)

    def _about_failure(self, failure: RlsError) -> dict[str, Any]:
        found = {"outcome": _outcome_of(failure), "code": failure.code, "detail": redact(failure.detail or "")}
        if isinstance(failure, TokenRejected):
            found |= {"code": failure.reason, "token_hash": self._token_hash()}
        return found

    def _token_hash(self) -> str:
        token = self.token
        short = isinstance(token, str) and len(token) <= _LONGEST_TOKEN
        return self._recording.keyed.text(str(token)) if short else ""


def _outcome_of(failure: RlsError) -> Outcome:
    match failure:
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
    """What a record says of each relation that a query reads, as it is read back from JSON."""
    return {
        label: {name: list(value) if isinstance(value, tuple) else value for name, value in one.items()}
        for label, one in _relations_of(guarded).items()
    }


def _relations_of(guarded: GuardedQuery) -> dict[str, dict[str, str | tuple[str, ...]]]:
    fenced = {one.relation.label for one in guarded.guards if one.fenced}
    return {
        label: {
            "kind": grant.kind,
            "policies": grant.policies,
            "grant": grant_hash(grant),
            "barrier": "none" if grant.kind == "always" else "fence" if label in fenced else "inline",
            "masked": tuple(sorted(grant.masks)),
            "denied": tuple(sorted(grant.denied)),
        }
        for label, grant in guarded.grants.items()
    }


def public_text(text: str, attached: str, name: str) -> str:
    """The guarded text with the database under its callers' name: the engine's own name differs with every start."""
    return text if attached == name else text.replace(quote(attached), quote(name))


def _iso_time(now: float) -> str:
    """UTC with milliseconds.

    >>> _iso_time(1.5)
    '1970-01-01T00:00:01.500+00:00'
    """
    thousandths = int(now * 1000)
    return f"{_iso_second(thousandths // 1000)}.{thousandths % 1000:03d}+00:00"


@lru_cache(maxsize=8)
def _iso_second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat()[:19]
