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
from rls.identity.checks import Claimed, check_claims, check_header, check_key_id, read_claims, read_times
from rls.identity.declared import Identity, Issuer
from rls.identity.decode import Decoded, decode_token
from rls.identity.keys import signature_fits
from rls.identity.principal import AttributeValue
from rls.identity.reasons import describe_reason
from rls.identity.revocations import RevocationsDown
from rls.identity.unpack import unpack
from rls.identity.verify import keys_of

__all__ = ["Finding", "Inspection", "inspect_token"]

Signature = Literal["valid", "invalid", "not checked"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing for which the token would be refused: the reason's code, and a sentence."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a token says. `accepted` is whether `verify_token` would take it; nothing here is to be trusted before.

    `header` and `claims` are the decoded JSON (empty where it cannot be decoded); `subject`, `roles` and `attributes`
    what the issuer's claim map makes of them; `actors` are who acts for the subject; `seconds_left` counts to `exp`.
    """

    findings: tuple[Finding, ...]
    warnings: tuple[str, ...] = ()
    header: Mapping[str, Any] = field(default_factory=dict)
    claims: Mapping[str, Any] = field(default_factory=dict)
    issuer: str | None = None
    signature: Signature = "not checked"
    subject: str = ""
    roles: frozenset[str] = frozenset()
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    actors: tuple[str, ...] = ()
    seconds_left: float | None = None
    size: int = 0

    @property
    def accepted(self) -> bool:
        return not self.findings


def inspect_token(token: object, identity: Identity, *, now: float | None = None) -> Inspection:
    """Everything that would be refused about a token at `now` (Unix seconds; the clock's by default).

    Looks a revoked or used token up, and uses none up; does not ask the issuer (RFC 7662).
    """
    now = time.time() if now is None else now
    try:
        found = unpack(token, identity)
    except TokenRejected as error:
        return _unpacked_by_nobody(token, error.reason, identity, now)
    decoded, issuer = found.decoded, found.issuer
    reasons = list(found.reasons)
    signature: Signature = "valid" if found.proven else "not checked"
    if not found.proven:
        problems, signature = _check_signature(decoded, issuer)
        reasons += problems
    claimed = read_claims(decoded.claims, identity, issuer)
    reasons += [*check_claims(decoded.claims, issuer, now=now), *claimed.reasons]
    if not reasons:
        reasons += _check_standing(decoded.claims, claimed, issuer, identity)
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
        actors=claimed.actors,
        seconds_left=_seconds_left(decoded, now),
        size=len(str(token)),
    )


def _unpacked_by_nobody(token: object, reason: str, identity: Identity, now: float) -> Inspection:
    """What can be shown of a token for which there is no issuer, or no key."""
    size = len(token) if isinstance(token, str) else 0
    try:
        decoded = decode_token(token, limit=identity.max_bytes)
    except TokenRejected:
        return Inspection(_findings([reason]), size=size)
    left = _seconds_left(decoded, now)
    return Inspection(_findings([reason]), (), decoded.header, decoded.claims, seconds_left=left, size=size)


def _check_signature(decoded: Decoded, issuer: Issuer) -> tuple[list[str], Signature]:
    reasons = check_header(decoded, issuer)
    try:
        keys = keys_of(issuer, decoded.header)
    except TokenRejected as error:
        return [*reasons, error.reason], "not checked"
    reasons += check_key_id(decoded.header, keys)
    kid = decoded.header.get("kid", next(iter(keys)) if len(keys) == 1 else None)
    key = keys.get(kid) if type(kid) is str else None
    algorithm = decoded.header.get("alg")
    if key is None or type(algorithm) is not str or algorithm not in issuer.algorithms:
        return reasons, "not checked"
    if algorithm not in key.algorithms:
        return [*reasons, "algorithm_not_allowed"], "not checked"
    if signature_fits(key, algorithm, signed=decoded.signed, signature=decoded.signature):
        return reasons, "valid"
    return [*reasons, "bad_signature"], "invalid"


def _check_standing(claims: Mapping[str, Any], claimed: Claimed, issuer: Issuer, identity: Identity) -> list[str]:
    token_id, store = claims.get("jti"), identity.revocations
    times, _ = read_times(claims, issuer)
    try:
        if store.is_revoked(issuer=issuer.name, token_id=token_id, subject=claimed.subject, issued_at=times["iat"]):
            return ["revoked"]
        if issuer.single_use and token_id is not None and store.is_used(issuer=issuer.name, token_id=token_id):
            return ["used"]
    except RevocationsDown:
        return ["revocation_unavailable"]
    return []


def _seconds_left(decoded: Decoded, now: float) -> float | None:
    expires = decoded.claims.get("exp")
    return expires - now if type(expires) is int else None


def _findings(reasons: list[str]) -> tuple[Finding, ...]:
    return tuple(Finding(reason, describe_reason(reason)) for reason in dict.fromkeys(reasons))
