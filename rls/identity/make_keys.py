"""Algorithm → a new key pair or secret, and JWK sets whose keys are exchanged without a token refused in between.

Takes names and public PEM; returns texts. It writes no file: where private keys go is the caller's business. It owns
the order of an exchange: a new key is published before it signs, an old one stays until what it signed has expired.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rls.errors import RlsError
from rls.identity.keys import KeyUnfit, family_of, jwk_members, read_jwk, read_public_pem

__all__ = ["KeysRefused", "NewKey", "add_to_set", "generate_key", "public_jwk", "retire_from_set"]

RSA_BITS = 3072
_CURVES = {"ES256": "SECP256R1", "ES384": "SECP384R1", "ES512": "SECP521R1"}
_SECRET_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64, "dir": 32, "A256KW": 32}


class KeysRefused(RlsError):
    """A key or a key set cannot be made; code `keys.*`."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class NewKey:
    """A new key. A secret is base64 (`encoding: base64` in the identity file) and has no public part."""

    kid: str
    algorithm: str
    private: str = field(repr=False)
    public: str | None


def generate_key(algorithm: str, *, kid: str | None = None) -> NewKey:
    """A new key for a signature's or an encryption's algorithm; the `kid` is random by default.

    Raises KeysRefused (`keys.algorithm`).
    """
    kid = secrets.token_hex(6) if kid is None else kid
    if algorithm in _SECRET_BYTES:
        import base64

        raw = secrets.token_bytes(_SECRET_BYTES[algorithm])
        return NewKey(kid, algorithm, base64.b64encode(raw).decode("ascii") + "\n", None)
    try:
        family = family_of([algorithm])
    except KeyUnfit as error:
        raise KeysRefused("keys.algorithm", str(error), hint=error.hint) from None
    from cryptography.hazmat.primitives import serialization as ser

    private = _generate(family, algorithm)
    text = private.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption())
    public = private.public_key().public_bytes(ser.Encoding.PEM, ser.PublicFormat.SubjectPublicKeyInfo)
    return NewKey(kid, algorithm, text.decode("ascii"), public.decode("ascii"))


def public_jwk(pem: str, *, kid: str, algorithm: str) -> dict[str, Any]:
    """A public key in PEM as a JSON Web Key (RFC 7517). Raises KeysRefused (`keys.key`)."""
    from jwt.algorithms import get_default_algorithms

    try:
        key = read_public_pem(kid, pem.encode(), [algorithm])
    except KeyUnfit as error:
        raise KeysRefused("keys.key", str(error), hint=error.hint) from None
    encoder = get_default_algorithms()["EdDSA" if algorithm == "Ed25519" else algorithm]
    found: dict[str, Any] = encoder.to_jwk(key.material, as_dict=True)
    own = {name: value for name, value in found.items() if name not in ("key_ops", "kid", "use", "alg")}
    return {"kid": kid, "use": "sig", "alg": algorithm, **own}


def add_to_set(text: str | None, added: Mapping[str, Any]) -> str:
    """A JWK set with one more key; None begins a new one. Raises KeysRefused (`keys.set`)."""
    members = _members(text)
    if any(member.get("kid") == added["kid"] for member in members):
        raise KeysRefused("keys.set", f"the set has a key `{added['kid']}` already", hint="give another `kid`")
    return _write([*members, dict(added)])


def retire_from_set(text: str, kids: Iterable[str]) -> str:
    """A JWK set without some of its keys; one must stay. Raises KeysRefused (`keys.set`)."""
    members, gone = _members(text), set(kids)
    for kid in sorted(gone):
        if all(member.get("kid") != kid for member in members):
            raise KeysRefused("keys.set", f"the set has no key `{kid}`")
    left = [member for member in members if member.get("kid") not in gone]
    if not left:
        raise KeysRefused("keys.set", "no key would be left", hint="add the next one first")
    return _write(left)


def _members(text: str | None) -> list[dict[str, Any]]:
    if text is None:
        return []
    try:
        members = jwk_members(text.encode())
        for member in members:
            algorithm = member.get("alg")
            # Private keys and damaged ones are not published again, whoever put them there.
            read_jwk(member, (algorithm if isinstance(algorithm, str) else "RS256",))
    except KeyUnfit as error:
        raise KeysRefused("keys.set", str(error), hint=error.hint) from None
    return members


def _write(members: list[dict[str, Any]]) -> str:
    return json.dumps({"keys": members}, indent=2) + "\n"


def _generate(family: str, algorithm: str) -> Any:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    match family:
        case "RS" | "PS":
            return rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
        case "ES":
            return ec.generate_private_key(getattr(ec, _CURVES[algorithm])())
        case "EdDSA":
            return ed25519.Ed25519PrivateKey.generate()
        case _:
            raise KeysRefused("keys.algorithm", f"no key can be made for `{algorithm}`")
