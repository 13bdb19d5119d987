"""An encrypted token → the issuer whose key opens it and what is inside (compact JWE, RFC 7516).

Takes the decoded header and the text; returns the issuer and the plaintext, or raises TokenRejected. It owns what is
understood: a shared key, directly (`dir`) or wrapping another (A256KW), with A256GCM, never compressed. Both
authenticate: only who has the key can have made the token, as with an HMAC. The only module that touches `joserfc`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rls.errors import EngineInvalid, TokenRejected
from rls.identity.checks import REFUSED_PARAMETERS

if TYPE_CHECKING:
    from rls.identity.declared import Identity, Issuer
    from rls.identity.decode import Sealed
    from rls.identity.keys import Key

__all__ = ["CONTENT", "check_sealed", "choose_sealed_issuer", "decrypt", "encrypt", "require_joserfc"]

CONTENT = "A256GCM"


def require_joserfc() -> None:
    """Raises EngineInvalid where the extra is not installed."""
    try:
        import joserfc.jwe  # noqa: F401
    except ImportError:
        raise EngineInvalid(
            "engine.extra", "encrypted tokens need another library", hint="install it with `pip install 'rls[jwe]'`"
        ) from None


def choose_sealed_issuer(sealed: Sealed, identity: Identity) -> tuple[Issuer, Key] | None:
    """The declared issuer and its key that the unverified header names: by `iss` (which RFC 7519 section 5.3
    lets stand there as well), or by a `kid` that only one has."""
    header = sealed.header
    issuers = [issuer for issuer in identity.issuers.values() if issuer.encryption]
    if "iss" in header:
        issuers = [issuer for issuer in issuers if issuer.name == header["iss"]]
    if "kid" in header:
        kid = header["kid"]
        found = [(i, i.encryption[kid]) for i in issuers if type(kid) is str and kid in i.encryption]
    else:
        found = [(issuer, key) for issuer in issuers for key in issuer.encryption.values()]
    return found[0] if len(found) == 1 else None


def check_sealed(sealed: Sealed, issuer: Issuer, key: Key) -> list[str]:
    """Reasons why the header or the size are not what the issuer sends."""
    header, reasons = sealed.header, []
    if len(sealed.text) > issuer.max_bytes:
        reasons.append("too_large")
    algorithm = header.get("alg")
    if type(algorithm) is not str or algorithm not in key.algorithms or header.get("enc") != CONTENT:
        reasons.append("algorithm_not_allowed")
    # `zip` among them: what is compressed may be a thousand times as large when it is read.
    reasons += [f"header:{name}" for name in REFUSED_PARAMETERS if name in header and name != "enc"]
    return reasons


def decrypt(sealed: Sealed, key: Key) -> bytes:
    """The plaintext of what `check_sealed` found nothing wrong with. Raises TokenRejected."""
    require_joserfc()
    from joserfc import jwe

    try:
        opened = jwe.decrypt_compact(sealed.text, _key(key), registry=_registry(key))
    except Exception:  # noqa: BLE001  (whatever the library makes of hostile bytes, they are no token)
        raise TokenRejected("bad_encryption") from None
    return opened.plaintext or b""


def encrypt(plaintext: bytes, header: dict[str, Any], key: Key) -> str:
    """A compact JWE."""
    require_joserfc()
    from joserfc import jwe

    return str(jwe.encrypt_compact({"enc": CONTENT, **header}, plaintext, _key(key), registry=_registry(key)))


def _key(key: Key) -> Any:
    from joserfc.jwk import OctKey

    return OctKey.import_key(key.material)


def _registry(key: Key) -> Any:
    from joserfc.jwe import JWERegistry

    # Parameters that are not understood are ignored (RFC 7516 section 4), but for those that `check_sealed` refuses.
    return JWERegistry(algorithms=[*key.algorithms, CONTENT], strict_check_header=False)
