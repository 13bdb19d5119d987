"""Token text → what it says and what would be refused, without trusting it. For people; never for a decision.

Takes a token and the declared identity; returns an `Inspection`, for any input. It owns nothing: the rules are those
of `verify`, run to the end instead of to the first that is broken.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rls.errors import TokenRejected
from rls.identity.checks import check_claims, check_header, choose_issuer, read_claims
from rls.identity.declared import Identity, Issuer
from rls.identity.decode import Decoded, decode_token
from rls.identity.keys import signature_fits
from rls.identity.principal import AttributeValue
from rls.identity.reasons import describe_reason

__all__ = ["Finding", "Inspection", "inspect_token"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing for which the token would be refused: the reason's code, and a sentence."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a token says. `accepted` is whether `verify_token` would take it; nothing here is to be trusted before.

    `header` and `claims` are the decoded JSON (empty where it cannot be decoded); `subject`, `roles` and `attributes`
    what the issuer's claim map makes of them; `seconds_left` counts to `exp`.
    """

    findings: tuple[Finding, ...]
    warnings: tuple[str, ...] = ()
    header: Mapping[str, Any] = field(default_factory=dict)
    claims: Mapping[str, Any] = field(default_factory=dict)
    issuer: str | None = None
    signature: Literal["valid", "invalid", "not checked"] = "not checked"
    subject: str = ""
    roles: frozenset[str] = frozenset()
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    seconds_left: float | None = None
    size: int = 0

    @property
    def accepted(self) -> bool:
        return not self.findings


def inspect_token(token: object, identity: Identity, *, now: float | None = None) -> Inspection:
    """Everything that would be refused about a token at `now` (Unix seconds; the clock's by default)."""
    now = time.time() if now is None else now
    try:
        decoded = decode_token(token)
    except TokenRejected as error:
        return Inspection(_findings([error.reason]), size=len(token) if isinstance(token, str) else 0)
    expires = decoded.claims.get("exp")
    left = expires - now if type(expires) is int else None
    issuer = choose_issuer(decoded.claims, identity)
    if issuer is None:
        reasons = ["unknown_issuer"]
        return Inspection(_findings(reasons), (), decoded.header, decoded.claims, seconds_left=left, size=decoded.size)
    reasons = check_header(decoded, issuer)
    signature = _check_signature(decoded, issuer)
    if signature == "invalid":
        reasons.append("bad_signature")
    claimed = read_claims(decoded.claims, identity, issuer)
    reasons += [*check_claims(decoded.claims, issuer, now=now), *claimed.reasons]
    return Inspection(
        findings=_findings(reasons),
        warnings=claimed.warnings,
        header=decoded.header,
        claims=decoded.claims,
        issuer=issuer.name,
        signature=signature,
        subject=claimed.subject,
        roles=claimed.roles,
        attributes=claimed.attributes.values,
        seconds_left=left,
        size=decoded.size,
    )


def _check_signature(decoded: Decoded, issuer: Issuer) -> Literal["valid", "invalid", "not checked"]:
    kid = decoded.header.get("kid", next(iter(issuer.keys)) if len(issuer.keys) == 1 else None)
    key = issuer.keys.get(kid) if type(kid) is str else None
    algorithm = decoded.header.get("alg")
    if key is None or type(algorithm) is not str or algorithm not in issuer.algorithms:
        return "not checked"
    fits = signature_fits(key, algorithm, signed=decoded.signed, signature=decoded.signature)
    return "valid" if fits else "invalid"


def _findings(reasons: list[str]) -> tuple[Finding, ...]:
    return tuple(Finding(reason, describe_reason(reason)) for reason in dict.fromkeys(reasons))
