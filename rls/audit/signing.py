"""Key material → who signs an audit log, and who can tell its signatures. The only audit module with cryptography.

Ed25519: the log's host holds the private key, whoever verifies needs the public one. HMAC: one secret for both, so a
verifier could forge. Owns that a key's kind comes from configuration or from the key itself, never from the log.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

from rls.audit.chain import Signer

__all__ = ["KeyUnusable", "Verifier", "read_signer", "read_verifier"]

MIN_SECRET = 32


class KeyUnusable(Exception):
    """Key material of the wrong kind; the message is for the operator and holds none of it."""


class Verifier:
    """Tells the signatures of one key."""

    def __init__(self, name: str, check: Any) -> None:
        self.name, self._check = name, check

    def fits(self, text: bytes, signature: str) -> bool:
        """Whether `signature` (base64) is this key's for `text`."""
        try:
            raw = base64.b64decode(signature, validate=True)
        except ValueError:
            return False
        return bool(self._check(raw, text))


class _Secret:
    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self.name = "hmac:" + hmac.digest(secret, b"rls audit signing key", "sha256").hex()[:16]

    def sign(self, text: bytes) -> str:
        return base64.b64encode(self._digest(text)).decode("ascii")

    def check(self, signature: bytes, text: bytes) -> bool:
        return hmac.compare_digest(signature, self._digest(text))

    def _digest(self, text: bytes) -> bytes:
        return hmac.digest(self._secret, text, "sha256")


class _Private:
    def __init__(self, key: Any) -> None:
        self._key = key
        self.name = _public_name(key.public_key())

    def sign(self, text: bytes) -> str:
        return base64.b64encode(self._key.sign(text)).decode("ascii")


def read_signer(material: bytes) -> Signer:
    """A signer for an Ed25519 private key in PEM, or for any other bytes as an HMAC secret. Raises `KeyUnusable`."""
    if _is_pem(material):
        key = _private(material)
        if key is None:
            raise KeyUnusable("signing needs an Ed25519 private key in PEM without a passphrase")
        return _Private(key)
    return _secret(material)


def read_verifier(material: bytes) -> Verifier:
    """A verifier for an Ed25519 key in PEM, public or private, or for an HMAC secret. Raises `KeyUnusable`."""
    if not _is_pem(material):
        secret = _secret(material)
        return Verifier(secret.name, secret.check)
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    private = _private(material)
    public: Any = None
    if private is not None:
        public = private.public_key()
    else:
        try:
            public = load_pem_public_key(material)
        except ValueError:
            public = None
    if not isinstance(public, Ed25519PublicKey):
        raise KeyUnusable("verifying needs an Ed25519 key in PEM, or the log's secret")

    def check(signature: bytes, text: bytes) -> bool:
        try:
            public.verify(signature, text)
        except InvalidSignature:
            return False
        return True

    return Verifier(_public_name(public), check)


def _secret(material: bytes) -> _Secret:
    # A file's last line break is the editor's.
    secret = material.removesuffix(b"\n").removesuffix(b"\r")
    if len(secret) < MIN_SECRET:
        raise KeyUnusable(f"a secret needs at least {MIN_SECRET} bytes")
    return _Secret(secret)


def _is_pem(material: bytes) -> bool:
    return material.lstrip().startswith(b"-----BEGIN ")


def _private(material: bytes) -> Any:
    """The Ed25519 private key, or None."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(material, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, Ed25519PrivateKey) else None


def _public_name(public: Any) -> str:
    return "ed25519:" + hashlib.sha256(public.public_bytes_raw()).hexdigest()[:16]
