"""Token text → Principal. By invariant (identity), the only place that makes one for the engine.

Takes a token, the declared identity and the time; returns a frozen Principal or raises TokenRejected, whose public
message is always the same and whose `reason` is for the audit record (`reasons`). It owns the order: what the text
is, who says so, the header, the signature, and only then what the claims mean.
"""

from __future__ import annotations

from rls.errors import TokenRejected
from rls.identity.checks import check_claims, check_header, choose_issuer, read_claims
from rls.identity.declared import Identity
from rls.identity.decode import decode_token
from rls.identity.keys import signature_fits
from rls.identity.principal import Principal

__all__ = ["verify_token"]


def verify_token(token: object, identity: Identity, *, now: float) -> Principal:
    """The principal of a signed token; `now` is Unix time in seconds.

    Any object may be given as token; whatever it is, the outcome is a Principal or TokenRejected.
    Rules: RFC 7519, RFC 7515, RFC 8725; see `reasons.REASONS` for what can be wrong.
    """
    decoded = decode_token(token)
    issuer = choose_issuer(decoded.claims, identity)
    if issuer is None:
        raise TokenRejected("unknown_issuer")
    _refuse_first(check_header(decoded, issuer))
    # One key, one algorithm: the header's `kid` chose the key, and the key knows what it may be used with.
    kid = decoded.header["kid"] if "kid" in decoded.header else next(iter(issuer.keys))
    key, algorithm = issuer.keys[kid], decoded.header["alg"]
    if algorithm not in key.algorithms:
        raise TokenRejected("algorithm_not_allowed")
    if not signature_fits(key, algorithm, signed=decoded.signed, signature=decoded.signature):
        raise TokenRejected("bad_signature")
    _refuse_first(check_claims(decoded.claims, issuer, now=now))
    claimed = read_claims(decoded.claims, identity, issuer)
    _refuse_first(claimed.reasons)
    return Principal(
        subject=claimed.subject,
        roles=claimed.roles,
        attributes=claimed.attributes.values,
        issuer=issuer.name,
        token_id=decoded.claims.get("jti"),
        expires_at=decoded.claims["exp"],
        assurance="token",
        warnings=claimed.warnings,
    )


def _refuse_first(reasons: list[str] | tuple[str, ...]) -> None:
    if reasons:
        raise TokenRejected(reasons[0])
