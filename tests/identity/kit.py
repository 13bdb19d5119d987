"""Keys, an identity directory and hand-made tokens for the identity tests. Keys are made once per run."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm, get_default_algorithms

from rls.identity import Identity, load_identity

NOW = 1_800_000_000
SECRET = bytes(range(64))
ISSUER = "https://app.example"

IDENTITY = """
issuers:
  - name: https://app.example
    audiences: [rls-warehouse]
    algorithms: [{algorithm}]
    keys: [{key}]
roles: [explorer, maker, admin]
attributes:
  tenant: {{type: string, required: true, readable: true, max_length: 64}}
  regions: {{type: string, list: true, max_items: 5, readable: true}}
  clearance: {{type: integer}}
  credit: {{type: decimal, precision: 10, scale: 2}}
  internal: {{type: boolean}}
  valid_from: {{type: date}}
  seen: {{type: timestamp}}
  plan: {{type: string, enum: [free, pro]}}
  code: {{type: string, pattern: "[A-Z]{{3}}"}}
  levels: {{type: integer, list: true}}
"""


@cache
def private_key(kind: str) -> Any:
    match kind:
        case "RS256" | "RS384" | "RS512" | "PS256" | "PS384" | "PS512":
            return rsa.generate_private_key(public_exponent=65537, key_size=2048)
        case "other":
            return rsa.generate_private_key(public_exponent=65537, key_size=2048)
        case "weak":
            return rsa.generate_private_key(public_exponent=65537, key_size=1024)
        case "ES256" | "ES256b":
            return ec.generate_private_key(ec.SECP256R1())
        case "ES384":
            return ec.generate_private_key(ec.SECP384R1())
        case "ES512":
            return ec.generate_private_key(ec.SECP521R1())
        case "ES256K":
            return ec.generate_private_key(ec.SECP256K1())
        case "EdDSA" | "Ed25519":
            return ed25519.Ed25519PrivateKey.generate()
    raise AssertionError(kind)


def private_pem(kind: str, password: bytes | None = None) -> bytes:
    lock: Any = ser.BestAvailableEncryption(password) if password else ser.NoEncryption()
    return private_key(kind).private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, lock)


def public_pem(kind: str) -> bytes:
    return private_key(kind).public_key().public_bytes(ser.Encoding.PEM, ser.PublicFormat.SubjectPublicKeyInfo)


def jwk(kind: str, **more: object) -> dict[str, object]:
    """The public key as a JSON Web Key."""
    algorithm = {"R": RSAAlgorithm, "P": RSAAlgorithm, "w": RSAAlgorithm}.get(kind[0]) or (
        OKPAlgorithm if kind[:2] == "Ed" else ECAlgorithm
    )
    return {**algorithm.to_jwk(private_key(kind).public_key(), as_dict=True), **more}


def write_identity(directory: Path, text: str) -> Path:
    (directory / "identity.yaml").write_text(text, encoding="utf-8")
    return directory


def identity_for(directory: Path, algorithm: str = "HS256", *, more: str = "", extra: str = "") -> Identity:
    """The identity above with one key `k1`; `more` are further keys of the issuer, `extra` further lines for it."""
    if algorithm.startswith("HS"):
        (directory / "secret").write_bytes(SECRET)
        key = "{kid: k1, secret: {file: secret}}"
    else:
        (directory / "key.pem").write_bytes(public_pem(algorithm))
        key = "{kid: k1, file: key.pem}"
    text = IDENTITY.format(algorithm=algorithm, key=key + more)
    return load_identity(write_identity(directory, text.replace("roles: [exp", extra + "roles: [exp", 1)))


def part(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def claims(**changes: Any) -> dict[str, Any]:
    """Good claims; a change to None takes the claim away, `user__x` changes a member of `user`."""
    found: dict[str, Any] = {
        "iss": ISSUER,
        "aud": "rls-warehouse",
        "iat": NOW,
        "exp": NOW + 300,
        "jti": "t-1",
        "user": {"distinctId": "u-1", "role": "explorer", "attributes": {"tenant": "acme"}},
    }
    for name, value in changes.items():
        target, key = (found["user"], name[6:]) if name.startswith("user__") else (found, name)
        if value is None:
            del target[key]
        else:
            target[key] = value
    return found


def with_attributes(**attributes: Any) -> dict[str, Any]:
    return claims(user__attributes={"tenant": "acme", **attributes})


def token(body: Any, header: Any = None, *, key: bytes = SECRET, **header_changes: Any) -> str:
    """A token signed with HS256 whatever its header says."""
    head = {"alg": "HS256", "typ": "JWT", "kid": "k1", **header_changes} if header is None else header
    if isinstance(head, dict):
        head = {name: value for name, value in head.items() if value is not None}
    signed = f"{part(head)}.{part(body)}"
    return f"{signed}.{part(hmac.new(key, signed.encode(), hashlib.sha256).digest())}"


def asymmetric_token(algorithm: str, body: Any, *, kind: str = "", **header_changes: Any) -> str:
    """A token really signed with `algorithm` by the private key `kind`."""
    head = {"alg": algorithm, "typ": "JWT", "kid": "k1", **header_changes}
    signed = f"{part(head)}.{part(body)}"
    signer = get_default_algorithms()["EdDSA" if algorithm == "Ed25519" else algorithm]
    return f"{signed}.{part(signer.sign(signed.encode(), private_key(kind or algorithm)))}"
