"""Token text → Principal. By invariant (identity), the only place that makes one for the engine.

Takes a token, the declared identity and the time; returns a frozen Principal or raises TokenRejected, whose public
message is always the same and whose `reason` is for the audit record (`reasons`). It owns the order: what the text
is, who says so, the header, the signature, then what the claims mean, and last whether it has been revoked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rls.errors import TokenRejected
from rls.identity.checks import check_claims, check_header, check_key_id, read_claims, read_times
from rls.identity.declared import Identity, Issuer
from rls.identity.introspect import IntrospectionDown, is_active
from rls.identity.key_sets import KeySetDown
from rls.identity.keys import Key, signature_fits
from rls.identity.principal import Principal
from rls.identity.revocations import RevocationsDown
from rls.identity.unpack import Unpacked, unpack

__all__ = ["Verified", "check_standing", "keys_of", "read_token", "use_up", "verify_token"]


@dataclass(frozen=True, slots=True)
class Verified:
    """What a token says, proven: its claims hold from `since` until before `until` (Unix time)."""

    principal: Principal
    issuer: Issuer
    issued_at: int
    since: float
    until: float
    claims: Mapping[str, Any]


def verify_token(token: object, identity: Identity, *, now: float) -> Principal:
    """The principal of a token; `now` is Unix time in seconds. `Verifier` does the same and remembers.

    Any object may be given as token; whatever it is, the outcome is a Principal or TokenRejected. A single-use token
    is used up by this. Rules: RFC 7519, RFC 7515, RFC 8725; see `reasons.REASONS` for what can be wrong.
    """
    verified = read_token(token, identity, now=now)
    check_standing(verified, identity, token=str(token))
    use_up(verified, identity, now=now)
    return verified.principal


def read_token(token: object, identity: Identity, *, now: float) -> Verified:
    """What a token says, by its own text and the issuer's keys; whether it still stands is `check_standing`'s."""
    found = unpack(token, identity)
    _refuse_first(found.reasons)
    issuer, claims = found.issuer, found.decoded.claims
    if not found.proven:
        _check_signature(found)
    _refuse_first(check_claims(claims, issuer, now=now))
    claimed = read_claims(claims, identity, issuer)
    _refuse_first(claimed.reasons)
    times, _ = read_times(claims, issuer)
    principal = Principal(
        subject=claimed.subject,
        roles=claimed.roles,
        attributes=claimed.attributes.values,
        issuer=issuer.name,
        token_id=claims.get("jti"),
        expires_at=times["exp"],
        assurance="token",
        warnings=claimed.warnings,
        agent=claimed.actors[0] if claimed.actors else None,
        actors=claimed.actors,
    )
    ends = [times["exp"]] if issuer.max_age is None else [times["exp"], times["iat"] + issuer.max_age]
    since = max(times["iat"], times.get("nbf", 0)) - issuer.leeway
    return Verified(principal, issuer, times["iat"], since, min(ends) + issuer.leeway, claims)


def check_standing(verified: Verified, identity: Identity, *, token: str) -> None:
    """Raises TokenRejected where the token is revoked, or disowned by its issuer, or where that cannot be known."""
    principal, introspection = verified.principal, verified.issuer.introspection
    try:
        revoked = identity.revocations.is_revoked(
            issuer=principal.issuer,
            token_id=principal.token_id,
            subject=principal.subject,
            issued_at=verified.issued_at,
        )
    except RevocationsDown as error:
        raise TokenRejected("revocation_unavailable", detail=str(error)) from None
    if revoked:
        raise TokenRejected("revoked")
    if introspection is None:
        return
    try:
        active = is_active(introspection, token, subject=verified.claims.get("sub"))
    except IntrospectionDown as error:
        raise TokenRejected("introspection_unavailable", detail=str(error)) from None
    if not active:
        raise TokenRejected("inactive")


def use_up(verified: Verified, identity: Identity, *, now: float) -> None:
    """Take the single use of a token that has only one. Raises TokenRejected where it was taken."""
    token_id = verified.principal.token_id
    if not verified.issuer.single_use:
        return
    try:
        granted = token_id is not None and identity.revocations.use_once(
            issuer=verified.issuer.name, token_id=token_id, until=verified.until, now=now
        )
    except RevocationsDown as error:
        raise TokenRejected("revocation_unavailable", detail=str(error)) from None
    if not granted:
        raise TokenRejected("used")


def keys_of(issuer: Issuer, header: Mapping[str, Any]) -> Mapping[str, Key]:
    """The issuer's keys for signatures, those of its key set included; it is asked again for a `kid` it lacks.

    Raises TokenRejected.
    """
    if issuer.key_set is None:
        return issuer.keys
    kid = header.get("kid")
    if type(kid) is str and kid in issuer.keys:
        return issuer.keys
    try:
        found = issuer.key_set.current(kid if type(kid) is str else None)
    except KeySetDown as error:
        raise TokenRejected("keys_unavailable", detail=str(error)) from None
    return {**found, **issuer.keys} if issuer.keys else found


def _check_signature(found: Unpacked) -> None:
    decoded, issuer = found.decoded, found.issuer
    _refuse_first(check_header(decoded, issuer))
    keys = keys_of(issuer, decoded.header)
    _refuse_first(check_key_id(decoded.header, keys))
    # One key, one algorithm: the header's `kid` chose the key, and the key knows what it may be used with.
    kid = decoded.header["kid"] if "kid" in decoded.header else next(iter(keys))
    key, algorithm = keys[kid], decoded.header["alg"]
    if algorithm not in key.algorithms:
        raise TokenRejected("algorithm_not_allowed")
    if not signature_fits(key, algorithm, signed=decoded.signed, signature=decoded.signature):
        raise TokenRejected("bad_signature")


def _refuse_first(reasons: list[str] | tuple[str, ...]) -> None:
    if reasons:
        raise TokenRejected(reasons[0])
