"""Attributes → a signed token, on the server that knows its user. Never in a browser: it needs the private key.

Takes the declared identity, who the token is for and a signing key; returns the token's text, or raises MintRefused.
It owns the rule that what is minted is what `verify` accepts: every token is verified before it is handed out, and
what is undeclared, secret or a float is refused rather than sent.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from rls.errors import RlsError, TokenRejected
from rls.identity.declared import Identity, Issuer
from rls.identity.decode import encode_part
from rls.identity.keys import Key, KeyUnfit, read_private_pem, sign
from rls.identity.reasons import describe_reason
from rls.identity.sensitive import find_sensitive
from rls.identity.verify import keys_of, read_token
from rls.yaml_model import suggest

__all__ = ["DEFAULT_LIFETIME", "MintRefused", "mint_token"]

DEFAULT_LIFETIME = 300


class MintRefused(RlsError):
    """The token was not made; code `mint.*`. The message names attributes and roles, never their values."""

    exit_code = 4


def mint_token(
    identity: Identity,
    *,
    subject: str,
    roles: Iterable[str] = (),
    attributes: Mapping[str, Any] | None = None,
    issuer: str | None = None,
    audience: str | None = None,
    key: bytes | str | None = None,
    kid: str | None = None,
    algorithm: str | None = None,
    lifetime: int = DEFAULT_LIFETIME,
    now: float | None = None,
    token_id: str | None = None,
    agent: str | None = None,
) -> str:
    """A signed token for `subject` that is valid for `lifetime` seconds from `now` (Unix time; the clock's by default).

    `attributes` are Python values: str, int, Decimal, bool, date, datetime (without zone: UTC), lists of them; None
    leaves one out. `key` is the private key in PEM; an issuer with secrets needs none. `issuer`, `audience`, `kid` and
    `algorithm` may be left out where one is declared or follows from the key. `token_id` is random by default. `agent`
    is who will use the token for the subject (`act` of RFC 8693). Where the issuer's tokens are encrypted, it is that
    too, with the first of the declared keys.

    Raises MintRefused: `mint.issuer`, `mint.audience`, `mint.key`, `mint.role`, `mint.attribute`, `mint.lifetime`,
    `mint.claims` (what verification would say of it).
    """
    chosen = _choose_issuer(identity, issuer)
    if type(lifetime) is not int or not 0 < lifetime <= chosen.max_lifetime:
        raise MintRefused("mint.lifetime", f"lifetime must be 1 to {chosen.max_lifetime} seconds for this issuer")
    if audience is None and len(chosen.audiences) > 1:
        raise MintRefused("mint.audience", "issuer has several audiences", hint="say which one")
    issued = int(time.time() if now is None else now)
    claims: dict[str, Any] = {
        **({"type": "guest"} if chosen.guest else {"iss": chosen.name}),
        "aud": chosen.audiences[0] if audience is None else audience,
        "iat": issued,
        "exp": issued + lifetime,
        "jti": secrets.token_urlsafe(16) if token_id is None else token_id,
    }
    _put(claims, chosen.claims.subject, subject)
    _put(claims, chosen.claims.roles, _check_roles(identity, roles))
    named = _check_attributes(identity, attributes or {})
    _put(claims, chosen.claims.attributes, {chosen.claims.member(name): value for name, value in named.items()})
    if agent is not None:
        claims["act"] = {"sub": agent}
    token = _envelope(chosen, claims, key=key, kid=kid, algorithm=algorithm)
    try:
        read_token(token, identity, now=issued)
    except TokenRejected as error:
        raise MintRefused("mint.claims", f"the token would be refused: {describe_reason(error.reason)}") from None
    return token


def _choose_issuer(identity: Identity, name: str | None) -> Issuer:
    if name is None and len(identity.issuers) == 1:
        return next(iter(identity.issuers.values()))
    if name is None:
        raise MintRefused("mint.issuer", "several issuers are declared", hint="say which one")
    if name not in identity.issuers:
        raise MintRefused("mint.issuer", "issuer is not declared", hint=suggest(name, identity.issuers))
    return identity.issuers[name]


def _envelope(
    issuer: Issuer, claims: dict[str, Any], *, key: bytes | str | None, kid: str | None, algorithm: str | None
) -> str:
    """The claims signed, encrypted, or first one and then the other, as the issuer declares."""
    kind = issuer.types[0].upper() if issuer.types[0] == "jwt" else issuer.types[0]
    inside = _json(claims)
    if issuer.algorithms:
        signing, kid = _signing_key(issuer, key, kid)
        algorithm = algorithm or next((a for a in issuer.algorithms if a in signing.algorithms), "")
        if algorithm not in signing.algorithms:
            raise MintRefused("mint.key", f"algorithm `{algorithm}` is not one of this key and issuer")
        header = {"alg": algorithm, "kid": kid, "typ": kind}
        signed = f"{encode_part(_json(header))}.{encode_part(inside)}"
        token = f"{signed}.{encode_part(sign(signing, algorithm, signed.encode('ascii')))}"
        if not issuer.encryption:
            return token
        inside = token.encode("ascii")
    elif key is not None:
        raise MintRefused("mint.key", "this issuer's tokens are not signed", hint="leave the private key out")
    if not issuer.encryption:
        raise MintRefused("mint.key", "the issuer's keys are not loaded")
    from rls.identity.decrypt import encrypt

    sealing = next(iter(issuer.encryption.values()))
    header = {"alg": next(iter(sealing.algorithms)), "kid": sealing.kid}
    return encrypt(inside, {**header, **({"cty": "JWT"} if issuer.algorithms else {"typ": kind})}, sealing)


def _signing_key(issuer: Issuer, pem: bytes | str | None, kid: str | None) -> tuple[Key, str]:
    """The key to sign with and the `kid` of the declared key that will verify it."""
    try:
        keys = keys_of(issuer, {"kid": kid})
    except TokenRejected as error:
        raise MintRefused("mint.key", describe_reason(error.reason)) from None
    if pem is None:
        secrets_ = {k: v for k, v in keys.items() if isinstance(v.material, bytes)}
        if kid is None and len(secrets_) == 1:
            kid = next(iter(secrets_))
        if kid is None or kid not in secrets_:
            raise MintRefused("mint.key", "no signing key", hint="give the private key, or the `kid` of a secret")
        return secrets_[kid], kid
    try:
        private = read_private_pem(pem.encode() if isinstance(pem, str) else pem, issuer.algorithms)
    except KeyUnfit as error:
        raise MintRefused("mint.key", str(error), hint=error.hint) from None
    fitting = [k for k, v in keys.items() if v.fingerprint == private.fingerprint]
    if not fitting or (kid is not None and kid not in fitting):
        raise MintRefused("mint.key", "private key does not belong to a declared key of the issuer")
    chosen = fitting[0] if kid is None else kid
    return Key(chosen, private.algorithms & keys[chosen].algorithms, private.fingerprint, private.material), chosen


def _check_roles(identity: Identity, roles: Iterable[str]) -> list[str]:
    if isinstance(roles, str):
        raise MintRefused("mint.role", "roles must be a list", hint="put the role in a list")
    found = list(dict.fromkeys(roles))
    for role in found:
        if role not in identity.roles:
            raise MintRefused("mint.role", "role is not declared", hint=suggest(str(role), identity.roles))
    return found


def _check_attributes(identity: Identity, attributes: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for name, value in attributes.items():
        if name not in identity.attributes:
            hint = suggest(name, identity.attributes)
            raise MintRefused("mint.attribute", f"attribute `{name}` is not declared", hint=hint)
        why = find_sensitive(name, value)
        if why is not None:
            raise MintRefused("mint.attribute", f"attribute `{name}` does not belong in a token: {why}")
        if value is not None:
            found[name] = _to_json(name, value)
    return found


def _to_json(name: str, value: Any) -> Any:
    """The JSON form of an attribute's value; a decimal becomes text, so that no parser on the way makes it a float."""
    match value:
        case bool() | int() | str():
            return value
        case Decimal() if value.is_finite():
            return f"{value:f}"
        case datetime():
            moment = value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)
            return moment.isoformat() + "Z"
        case date():
            return value.isoformat()
        case list() | tuple():
            return [_to_json(name, item) for item in value]
        case float():
            raise MintRefused("mint.attribute", f"attribute `{name}` is a float", hint="use an int or a Decimal")
        case _:
            raise MintRefused("mint.attribute", f"attribute `{name}` has a value that no attribute type holds")


def _put(claims: dict[str, Any], pointer: tuple[str, ...], value: Any) -> None:
    """Put a value where the claim map says; members of an object stand beside those already there."""
    for part in pointer if isinstance(value, dict) else pointer[:-1]:
        claims = claims.setdefault(part, {})
    if isinstance(value, dict):
        # No name is lost: the identity file cannot declare an attribute with the name of a claim beside it.
        claims.update(value)
    else:
        claims[pointer[-1]] = value


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
