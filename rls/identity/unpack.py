"""Token text → its claims, the issuer they are checked against, and whether the envelope proved who sent them.

Takes the text, signed or encrypted; returns an `Unpacked`, or raises TokenRejected. It owns which way a token may go:
an issuer whose tokens are encrypted has no others, and an encrypted token is for the issuer whose key opened it.
"""

from __future__ import annotations

from dataclasses import dataclass

from rls.errors import TokenRejected
from rls.identity.checks import check_types, choose_issuer
from rls.identity.declared import REGISTERED_CLAIMS, Identity, Issuer, normalise_type
from rls.identity.decode import Decoded, Sealed, decode_sealed, decode_token, read_json_object

__all__ = ["Unpacked", "unpack"]


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A token's claims and header, unverified unless `proven`. `reasons` is why it is refused whatever else it says."""

    decoded: Decoded
    issuer: Issuer
    proven: bool = False
    reasons: tuple[str, ...] = ()


def unpack(token: object, identity: Identity) -> Unpacked:
    """The claims of a token. Raises TokenRejected where there are none to be had, or no issuer for them."""
    sealed = None
    if any(issuer.encryption for issuer in identity.issuers.values()):
        sealed = decode_sealed(token, limit=identity.max_bytes)
    if sealed is not None:
        return _open(sealed, identity)
    decoded = decode_token(token, limit=identity.max_bytes)
    issuer = choose_issuer(decoded.claims, identity)
    if issuer is None:
        raise TokenRejected("unknown_issuer")
    return Unpacked(decoded, issuer, reasons=("not_encrypted",) if issuer.encryption else ())


def _open(sealed: Sealed, identity: Identity) -> Unpacked:
    from rls.identity.decrypt import check_sealed, choose_sealed_issuer, decrypt

    chosen = choose_sealed_issuer(sealed, identity)
    if chosen is None:
        raise TokenRejected("unknown_key")
    issuer, key = chosen
    reasons = check_sealed(sealed, issuer, key)
    nested = bool(issuer.algorithms)
    if nested:
        # RFC 7519 section 5.2: a signed token inside says so.
        kind = sealed.header.get("cty")
        if type(kind) is not str or normalise_type(kind) != "jwt":
            reasons.append("header:cty")
    else:
        reasons += check_types(sealed.header, issuer)
    if reasons:
        raise TokenRejected(reasons[0])
    plaintext = decrypt(sealed, key)
    if nested:
        decoded = decode_token(plaintext.decode("latin-1"), limit=issuer.max_bytes)
    else:
        decoded = Decoded(sealed.header, read_json_object(plaintext), b"", b"", len(sealed.text))
    same = choose_issuer(decoded.claims, identity) is issuer
    problems = [] if same else ["issuer_changed"]
    # RFC 7519 section 5.3: what the header repeats of the claims must be what they say.
    problems += [
        f"header:{name}"
        for name in sorted(REGISTERED_CLAIMS.intersection(sealed.header))
        if repr(sealed.header[name]) != repr(decoded.claims.get(name))
    ]
    return Unpacked(decoded, issuer, proven=not nested, reasons=tuple(problems))
