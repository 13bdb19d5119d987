"""What one attempt was and how it ended → an `AuditRecord`, and its line of JSON. A value object.

Who asked, the caller's own text, what was decided and by which policies, how it ended. Owns that a record holds no
attribute's value and no row's: attributes and parameters are keyed hashes, the final text is a hash, an engine's error
text is redacted.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from typing import Any, Literal

__all__ = ["Action", "AuditRecord", "KeptSql", "Outcome"]

Action = Literal["query", "guard", "explain", "session", "audit"]
Outcome = Literal["allowed", "denied", "refused", "rejected", "limited", "failed"]
KeptSql = Literal["full", "shape", "none"]


@dataclass(frozen=True, kw_only=True)
class AuditRecord:
    """One attempt.

    time            UTC, ISO 8601 with milliseconds
    audit_id        128 bits, hexadecimal; also on the result
    action          `query` (rows were asked for), `guard` (a guarded text was asked for), `explain`
                    (what it would be, with a token), `session` (a token was given
                    for several queries to come), `audit` (records were asked for)
    outcome         `allowed`; `denied` (it ran, and no policy lets this principal see a row of what it reads);
                    `refused` (the text, not run); `rejected` (the token); `limited` (ended by a limit); `failed` (run
                    and ended otherwise, or a fault here)
    code            the error's code, for a rejected token its reason; "" where there was none
    detail          an engine's error text without its values; "" where there was none
    subject, roles, issuer, token_id, assurance   of the verified principal; "" where there is none
    agent           who acts for the subject; "" for nobody. `actors`: all who acted, that one first
    attributes      names of the principal's attributes → keyed hashes of their values (`rls.audit.keyed`)
    hash_key        which key made the keyed hashes; `ephemeral:…` for one that only this engine ever had
    token_hash      keyed hash of the text of a rejected token, which nothing else is known of; "" for others
    sql             the caller's text, cut to the engine's limit: as it is, or with its literals replaced, or "", as
                    `sql_kept` says (`full`, `shape`, `none`); `sql_length` in characters is of the whole text
    dialect         the engine's own SQL that the text is in; "" for DuckDB's. With `sql_kept` `shape`, it is not kept
    sql_sha256      of the whole text, as it is; an HMAC under the hash key unless `sql_kept` is `full`, since literals
                    can be guessed
    final_sha256    likewise of the guarded text, with the database under the name its callers use, before a PIVOT got
                    values of rows; "" where there was none
    template_sha256 likewise of the caller's text that the guarded text was made for, where that is an earlier one that
                    differs in white space, comments and literals only; "" where it was made for this one, and
                    `sql_sha256` where it was made for this one in a plain spelling (`guard`)
    relations       labels of what was read → `kind` of the grant, names of the deciding `policies`, `grant` (a hash of
                    its filter, masks and columns), `barrier` (`fence`, `inline`, or `none` where all rows are shown),
                    `masked` and `denied` columns
    fence_reason    why the text's guards are fenced; "" where none is. `statistics_hidden`: whether stored extremes
                    were kept from the optimizer
    parameters      names of the caller's own parameters → keyed hashes, which compare with those of the same subject
                    only; `parameter_types`: → DuckDB types, where they are known (the barrier may depend on them);
                    `attributes_read` names of attributes the text reads
    warnings        what was wrong with the token and tolerated
    row_count, byte_count   handed out; None where none were (bytes: estimated beyond 1,000 rows)
    duration        seconds from the attempt's start to this record; `timings`: seconds to `verify` the token, to
                    `guard` the text, and the rest
    policy_version, catalog_version, engine_version   what decided
    trace_id        of the request, W3C trace context; "" where none is known
    """

    time: str
    audit_id: str
    action: Action
    outcome: Outcome
    code: str = ""
    detail: str = ""
    subject: str = ""
    roles: tuple[str, ...] = ()
    agent: str = ""
    actors: tuple[str, ...] = ()
    issuer: str = ""
    token_id: str | None = None
    assurance: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
    hash_key: str = ""
    token_hash: str = ""
    sql: str = ""
    sql_kept: KeptSql = "full"
    sql_length: int = 0
    dialect: str = ""
    sql_sha256: str = ""
    final_sha256: str = ""
    template_sha256: str = ""
    relations: dict[str, dict[str, Any]] = field(default_factory=dict)
    fence_reason: str = ""
    statistics_hidden: bool = False
    parameters: dict[str, str] = field(default_factory=dict)
    parameter_types: dict[str, str] = field(default_factory=dict)
    attributes_read: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    row_count: int | None = None
    byte_count: int | None = None
    duration: float = 0.0
    timings: dict[str, float] = field(default_factory=dict)
    policy_version: str = ""
    catalog_version: str = ""
    engine_version: str = ""
    trace_id: str = ""

    @classmethod
    def made_of(cls, values: dict[str, Any]) -> AuditRecord:
        """A record of these values, one for every field; the dictionary becomes its own."""
        found = object.__new__(cls)
        # A frozen dataclass sets its fields one by one: half of what a warm query would cost.
        object.__setattr__(found, "__dict__", values)
        return found

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; keys in the order above."""
        return {name: getattr(self, name) for name in _FIELDS}

    def to_json(self) -> str:
        """One line, ASCII only: no text of a caller can start a line of its own or hide in another script."""
        return _encode(self.to_dict())


_FIELDS = tuple(f.name for f in fields(AuditRecord))
_encode = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode
