"""Why a token is refused: the stable codes of `TokenRejected.reason`, and a sentence for each.

A code is made of fixed words and names declared in the identity file, never of a token's values. Codes with a `:` name
what they are about: `missing_claim:exp`, `claim:aud:type`, `header:jku`, `attribute:tenant:too_long`.
"""

from __future__ import annotations

__all__ = ["PROBLEMS", "REASONS", "describe_reason"]

REASONS = {
    # decode: the text is not what a compact JWS is (RFC 7515 section 3.1)
    "too_large": "the token is larger than the limit",
    "malformed": "the token is not three base64url parts separated by dots",
    "not_canonical": "a part of the token is not canonical base64url",
    "not_json": "the header or the payload is not one JSON object in UTF-8",
    "too_deep": "the header or the payload is nested too deeply",
    "duplicate_member": "a JSON member is given twice",
    "number": "a number is not finite or has too many digits",
    "lone_surrogate": "a text holds half of a surrogate pair",
    # issuer and header
    "unknown_issuer": "the issuer is not declared",
    "algorithm_not_allowed": "the algorithm is not one that the issuer may use",
    "unknown_key": "the key id is not one of the issuer's keys",
    "missing_key_id": "the issuer has several keys and the token names none",
    "bad_signature": "the signature does not fit the token and the key",
    "keys_unavailable": "the issuer's key set cannot be had",
    "not_encrypted": "the issuer's tokens are encrypted and this one is not",
    "bad_encryption": "the token cannot be decrypted with the key it names",
    "issuer_changed": "the claims name another issuer than the one whose key opened the token",
    # after the claims: what is known of the token elsewhere
    "revoked": "the token or its subject has been revoked",
    "used": "the token was for a single use and has been used",
    "revocation_unavailable": "it cannot be found out whether the token is revoked",
    "inactive": "the issuer says that the token is not active",
    "introspection_unavailable": "the issuer cannot be asked about the token",
    # claims
    "expired": "the token has expired",
    "not_yet_valid": "the token is not valid yet",
    "issued_in_future": "the token was issued in the future",
    "lifetime_too_long": "the time between `iat` and `exp` is longer than the issuer may give",
    "lifetime_not_positive": "the claim `exp` is not after `iat`",
    "too_old": "the token was issued too long ago",
    "wrong_audience": "the token is for another audience",
    "unknown_attribute": "the token has an attribute that is not declared",
}

PROBLEMS = {
    "missing": "is missing",
    "type": "does not have the declared type",
    "blank": "is blank",
    "character": "holds a control character",
    "too_long": "is too long",
    "too_many": "has too many items",
    "null": "holds a null",
    "range": "is out of range",
    "scale": "has more digits after the point than declared",
    "enum": "is not one of the declared values",
    "pattern": "does not match the declared pattern",
    "negative": "is negative",
    "duplicate": "has two members of one name",
}


def describe_reason(reason: str) -> str:
    """One sentence for a reason code.

    >>> describe_reason("missing_claim:exp")
    'the claim `exp` is missing'
    >>> describe_reason("attribute:tenant:type")
    'the attribute `tenant` does not have the declared type'
    """
    if reason in REASONS:
        return REASONS[reason]
    match reason.split(":"):
        case ["missing_claim", name]:
            return f"the claim `{name}` is missing"
        case ["header", name]:
            return f"the header parameter `{name}` is not allowed or not usable"
        case ["claim" | "attribute" as kind, name, problem]:
            return f"the {kind} `{name}` {PROBLEMS[problem]}"
        case _:
            return reason
