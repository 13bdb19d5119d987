"""What one attempt was and how it ended → an `AuditRecord`, and its line of JSON. A value object.

Who asked, the caller's own text, what was decided and by which policies, how it ended. Owns that a record holds no
attribute's value and no row's: parameters are named, never shown; the final text is a hash; an engine's error text is
redacted.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

__all__ = ["Action", "AuditRecord", "Outcome"]

Action = Literal["query", "guard"]
Outcome = Literal["allowed", "denied", "refused", "rejected", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """One attempt.

    time            UTC, ISO 8601 with milliseconds
    audit_id        128 bits, hexadecimal; also on the result
    action          `query` (rows were asked for) or `guard` (a guarded text was asked for)
    outcome         `allowed`; `denied` (it ran, and no policy lets this principal see a row of what it reads);
                    `refused` (the text, not run); `rejected` (the token); `failed` (run and ended, or a fault here)
    code            the error's code, for a rejected token its reason; "" where there was none
    detail          an engine's error text without its values; "" where there was none
    subject, roles, issuer, token_id, assurance   of the verified principal; "" where there is none
    sql             the caller's text, cut to the engine's limit; `sql_length` in characters and `sql_sha256` are of
                    the whole text
    final_sha256    of the text that ran (or was handed out); "" where there was none
    relations       labels of what was read → `kind` of the grant and names of the deciding `policies`
    parameters      names of the caller's own parameters; `attributes_read` names of attributes the text reads
    row_count       rows handed out; None where none were
    duration        seconds from the attempt's start to this record
    policy_version, catalog_version, engine_version   what decided
    """

    time: str
    audit_id: str
    action: Action
    outcome: Outcome
    code: str = ""
    detail: str = ""
    subject: str = ""
    roles: tuple[str, ...] = ()
    issuer: str = ""
    token_id: str | None = None
    assurance: str = ""
    sql: str = ""
    sql_length: int = 0
    sql_sha256: str = ""
    final_sha256: str = ""
    relations: dict[str, dict[str, Any]] = field(default_factory=dict)
    parameters: tuple[str, ...] = ()
    attributes_read: tuple[str, ...] = ()
    row_count: int | None = None
    duration: float = 0.0
    policy_version: str = ""
    catalog_version: str = ""
    engine_version: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; keys in the order above."""
        return asdict(self)

    def to_json(self) -> str:
        """One line, ASCII only: no text of a caller can start a line of its own or hide in another script."""
        return json.dumps(self.to_dict(), ensure_ascii=True, separators=(",", ":"))
