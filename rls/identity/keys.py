"""Key material → keys that may verify (or sign) with named algorithms, and nothing else.

Takes PEM text, JSON Web Keys or a secret, and the issuer's algorithms; returns `Key`s or raises KeyUnfit. It owns the
rule that a key has one use: the algorithms are fixed when it is loaded, of one family, with the lengths of RFC 7518 and
NIST SP 800-131A, and a token's header only chooses among them. The only module beside `mint` that touches `jwt`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "FAMILIES",
    "Key",
    "KeyUnfit",
    "family_of",
    "jwk_members",
    "read_encryption_secret",
    "read_jwk",
    "read_jwk_set",
    "read_private_pem",
    "read_public_pem",
    "read_secret",
    "sign",
    "signature_fits",
]

FAMILIES: Mapping[str, tuple[str, ...]] = {
    "HS": ("HS256", "HS384", "HS512"),
    "RS": ("RS256", "RS384", "RS512"),
    "PS": ("PS256", "PS384", "PS512"),
    "ES": ("ES256", "ES384", "ES512"),
    "EdDSA": ("EdDSA", "Ed25519"),
}
_DIGEST_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}
_CURVES = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}
_KEY_TYPES = {"HS": "oct", "RS": "RSA", "PS": "RSA", "ES": "EC", "EdDSA": "OKP"}
ENCRYPTION_BYTES = 32
MIN_RSA_BITS = 2048
# Above, one signature costs milliseconds, which anybody could make a server spend.
MAX_RSA_BITS = 8192
# As many different bytes as a secret of 32 random ones never lacks.
MIN_DISTINCT_BYTES = 8


class KeyUnfit(ValueError):
    """The material cannot be used; the text says why and never shows it. `code` is the last part of a policy code."""

    def __init__(self, code: str, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.code, self.hint = code, hint


@dataclass(frozen=True, slots=True)
class Key:
    """A loaded key: `algorithms` are those it may be used with; `fingerprint` identifies the public part."""

    kid: str
    algorithms: frozenset[str]
    fingerprint: str
    material: Any = field(repr=False, compare=False)


def family_of(algorithms: Iterable[str]) -> str:
    """The one family of some algorithms; raises KeyUnfit for unknown ones and for a mixture.

    >>> family_of(["RS256", "RS512"])
    'RS'
    """
    found = set()
    for algorithm in algorithms:
        family = next((f for f, members in FAMILIES.items() if algorithm in members), None)
        if family is None:
            known = ", ".join(a for members in FAMILIES.values() for a in members)
            raise KeyUnfit("algorithm", f"algorithm `{algorithm}` is not known", hint=f"known are {known}")
        found.add(family)
    if len(found) != 1:
        # RFC 8725 section 3.1: with HS and RS together, a public key would pass as a secret.
        raise KeyUnfit("algorithm", "algorithms must be of one family", hint="declare one issuer per family")
    return found.pop()


def read_secret(kid: str, secret: bytes, algorithms: Iterable[str]) -> Key:
    """A shared secret for HS256, HS384 or HS512 (RFC 7518 section 3.2: at least as long as the hash)."""
    algorithms = tuple(algorithms)
    if family_of(algorithms) != "HS":
        raise KeyUnfit("key", "a secret is for HS algorithms only", hint="give the issuer's public key as `file`")
    from jwt.exceptions import InvalidKeyError

    needed = max(_DIGEST_BYTES[a] for a in algorithms)
    if len(secret) < needed:
        raise KeyUnfit("weak_key", f"secret has {len(secret)} bytes and needs {needed}", hint="use a random one")
    if len(set(secret)) < MIN_DISTINCT_BYTES:
        raise KeyUnfit("weak_key", "secret repeats too few characters", hint="use a random one")
    try:
        material = _algorithm(algorithms[0]).prepare_key(secret)
    except InvalidKeyError:
        raise KeyUnfit(
            "key",
            "secret is a public key, a certificate or a JSON Web Key",
            hint="a secret must be known to nobody else",
        ) from None
    return Key(kid, frozenset(algorithms), _fingerprint(b"secret", secret), material)


def read_encryption_secret(kid: str, secret: bytes, algorithm: str) -> Key:
    """A shared key of 256 bits for `dir` or `A256KW` (RFC 7518 sections 4.4, 4.5)."""
    if len(secret) != ENCRYPTION_BYTES:
        hint = "random bytes in base64, with `encoding: base64`"
        raise KeyUnfit("weak_key", f"secret has {len(secret)} bytes and needs {ENCRYPTION_BYTES}", hint=hint)
    if len(set(secret)) < MIN_DISTINCT_BYTES:
        raise KeyUnfit("weak_key", "secret repeats too few characters", hint="use a random one")
    return Key(kid, frozenset((algorithm,)), _fingerprint(b"secret", secret), secret)


def read_public_pem(kid: str, pem: bytes, algorithms: Iterable[str]) -> Key:
    """A public key in PEM (SubjectPublicKeyInfo). Private keys and certificates are refused."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    if b"PRIVATE KEY" in pem:
        raise KeyUnfit(
            "private_key",
            "file holds a private key where the public one belongs",
            hint="write the public part with `openssl pkey -in FILE -pubout`",
        )
    if b"BEGIN CERTIFICATE" in pem:
        raise KeyUnfit(
            "key", "file holds a certificate", hint="write its key with `openssl x509 -in FILE -noout -pubkey`"
        )
    try:
        material = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise KeyUnfit(
            "key", "file is not a public key in PEM", hint="it begins with `-----BEGIN PUBLIC KEY-----`"
        ) from None
    return _asymmetric(kid, material, tuple(algorithms))


def read_private_pem(pem: bytes, algorithms: Iterable[str]) -> Key:
    """A private key in PEM, unencrypted, for signing; its `fingerprint` is that of the public part, its `kid` empty."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        material = load_pem_private_key(pem, password=None)
    except TypeError:
        raise KeyUnfit("key", "private key is encrypted", hint="decrypt it before it is given") from None
    except (ValueError, UnsupportedAlgorithm):
        raise KeyUnfit("key", "text is not a private key in PEM") from None
    public = _asymmetric("", material.public_key(), tuple(algorithms))
    return Key("", public.algorithms, public.fingerprint, material)


def read_jwk_set(text: bytes, algorithms: Iterable[str]) -> list[Key]:
    """The usable keys of a JWK set or of a single JWK (RFC 7517); each needs a `kid`.

    Keys of other types, for encryption or for other algorithms are passed over, as RFC 7517 section 5 says; a private
    key is not passed over but refused.
    """
    algorithms = tuple(algorithms)
    keys = [key for member in jwk_members(text) if (key := read_jwk(member, algorithms)) is not None]
    if not keys:
        raise KeyUnfit("key", f"key set has no key for {', '.join(algorithms)}")
    return keys


def jwk_members(text: bytes) -> list[dict[str, Any]]:
    """The members of a JWK set (or a single JWK), not looked at yet."""
    try:
        found = json.loads(text, object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError):
        raise KeyUnfit("key", "file is not a JSON Web Key set") from None
    members = found.get("keys", [found]) if isinstance(found, dict) else None
    if not isinstance(members, list) or not all(isinstance(m, dict) for m in members):
        raise KeyUnfit("key", "file is not a JSON Web Key set", hint='it looks like {"keys": [{"kty": …}]}')
    return members


def signature_fits(key: Key, algorithm: str, *, signed: bytes, signature: bytes) -> bool:
    """Whether `signature` is the key's over `signed`; `algorithm` must be one of the key's own."""
    if algorithm not in key.algorithms:
        return False
    try:
        return bool(_algorithm(algorithm).verify(signed, key.material, signature))
    except Exception:  # noqa: BLE001  (whatever the library makes of hostile bytes, they are no signature)
        return False


def sign(key: Key, algorithm: str, signed: bytes) -> bytes:
    """The signature of a private key or secret over `signed`."""
    return bytes(_algorithm(algorithm).sign(signed, key.material))


def read_jwk(member: dict[str, Any], algorithms: tuple[str, ...]) -> Key | None:
    """One member of a JWK set; None where it is not for these algorithms. Raises KeyUnfit where it is not usable."""
    kind = _KEY_TYPES[family_of(algorithms)]
    if member.get("kty") != "oct" and "d" in member:
        raise KeyUnfit("private_key", "key set holds a private key", hint="give the public keys only")
    declared = member.get("alg")
    operations = member.get("key_ops", ["verify"])
    if not isinstance(operations, list):
        return None
    if member.get("kty") != kind or member.get("use", "sig") != "sig" or "verify" not in operations:
        return None
    usable = algorithms if declared is None else tuple(a for a in algorithms if a == declared)
    if not usable:
        return None
    kid = member.get("kid")
    if not isinstance(kid, str) or not kid:
        raise KeyUnfit("key", "a key of the set has no `kid`")
    try:
        material = _algorithm(usable[0]).from_jwk(member)
    except Exception:  # noqa: BLE001  (whatever the libraries make of hostile numbers, they are no key)
        raise KeyUnfit("key", f"key `{kid}` of the set is damaged") from None
    return read_secret(kid, material, usable) if kind == "oct" else _asymmetric(kid, material, usable)


def _asymmetric(kid: str, public: Any, algorithms: tuple[str, ...]) -> Key:
    """Fix the algorithms that a public key may be used with."""
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    match family_of(algorithms), public:
        case (("RS" | "PS"), RSAPublicKey()):
            if public.key_size < MIN_RSA_BITS:
                raise KeyUnfit("weak_key", f"RSA key has {public.key_size} bits and needs {MIN_RSA_BITS}")
            if public.key_size > MAX_RSA_BITS:
                raise KeyUnfit("key", f"RSA key has {public.key_size} bits and may have {MAX_RSA_BITS}")
            usable = algorithms
        case "ES", EllipticCurvePublicKey():
            usable = tuple(a for a in algorithms if _CURVES[a] == public.curve.name)
            if not usable:
                raise KeyUnfit("key", f"key's curve does not belong to {', '.join(algorithms)}")
        case "EdDSA", Ed25519PublicKey():
            usable = algorithms
        case _:
            raise KeyUnfit("key", f"key cannot be used with {', '.join(algorithms)}")
    spki = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return Key(kid, frozenset(usable), _fingerprint(b"public", spki), public)


def _algorithm(name: str) -> Any:
    from jwt.algorithms import get_default_algorithms

    # RFC 9864 gives Ed25519 its own name; the signature is the one RFC 8037 calls EdDSA.
    if not _ALGORITHMS:
        _ALGORITHMS.update(get_default_algorithms())
        _ALGORITHMS["Ed25519"] = _ALGORITHMS["EdDSA"]
        _ALGORITHMS.pop("none", None)
    return _ALGORITHMS[name]


_ALGORITHMS: dict[str, Any] = {}


def _fingerprint(kind: bytes, raw: bytes) -> str:
    return hashlib.sha256(kind + b"\0" + raw).hexdigest()


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("duplicate member")
    return found
