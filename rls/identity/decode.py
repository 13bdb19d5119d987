"""Token text → header, claims, signed bytes and signature, without trusting any of it.

Takes the text of a compact JWS; returns a `Decoded`, or raises TokenRejected. It owns the rule that a token has one
reading: canonical base64url, one JSON object in UTF-8 per part, no member twice (RFC 7519 section 4, RFC 8725 section
3), finite numbers, whole surrogate pairs, bounded size and depth. What is verified and what is read later is this one
parse; the text is never parsed again.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NoReturn

from rls.errors import TokenRejected

__all__ = ["HARD_LIMIT", "Decoded", "Sealed", "decode_sealed", "decode_token", "encode_part", "read_json_object"]

# Characters (= bytes: only ASCII is let through). An issuer may set less, never more; 8,192 if it says nothing. A list
# of ten thousand texts takes some two hundred thousand.
HARD_LIMIT = 1 << 20
MAX_DEPTH = 16
MAX_DIGITS = 64

_PARTS = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]*)")
_SEALED = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]*)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
_TEXTS = re.compile(r'"(?:[^"\\]|\\.)*"')


@dataclass(frozen=True, slots=True)
class Decoded:
    """A token's parts. `signed` are the bytes the signature is over; numbers with a fraction are Decimal."""

    header: dict[str, Any]
    claims: dict[str, Any]
    signed: bytes
    signature: bytes
    size: int


@dataclass(frozen=True, slots=True)
class Sealed:
    """An encrypted token: its header, and its text, whose parts are canonical base64url."""

    header: dict[str, Any]
    text: str


def decode_token(token: object, *, limit: int = HARD_LIMIT) -> Decoded:
    """The parts of a compact JWS; any object may be given. Longer than `limit` is not looked at.

    Raises TokenRejected: `malformed`, `too_large`, `not_canonical`, `not_json`, `too_deep`, `duplicate_member`,
    `number`, `lone_surrogate`.
    """
    if not isinstance(token, str):
        raise TokenRejected("malformed")
    if len(token) > limit:
        raise TokenRejected("too_large")
    parts = _PARTS.fullmatch(token)
    if parts is None:
        raise TokenRejected("malformed")
    header, payload, signature = parts.groups()
    return Decoded(
        header=read_json_object(_decode_part(header)),
        claims=read_json_object(_decode_part(payload)),
        signed=token[: parts.end(2)].encode("ascii"),
        signature=_decode_part(signature),
        size=len(token),
    )


def decode_sealed(token: object, *, limit: int) -> Sealed | None:
    """The header of a compact JWE; None where the text is something else. Raises TokenRejected as `decode_token`."""
    if not isinstance(token, str) or len(token) > limit:
        return None
    parts = _SEALED.fullmatch(token)
    if parts is None:
        return None
    header, *others = (_decode_part(part) for part in parts.groups())
    del others  # they are canonical: that is all that is asked of them here
    return Sealed(read_json_object(header), token)


def encode_part(raw: bytes) -> str:
    """Bytes as canonical base64url without padding (RFC 7515 section 2).

    >>> encode_part(b"\\xfb\\xff")
    '-_8'
    """
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def read_json_object(raw: bytes) -> dict[str, Any]:
    """One JSON object in UTF-8, strictly; raises TokenRejected."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise TokenRejected("not_json") from None
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(text) > MAX_DEPTH:
        raise TokenRejected("too_deep")
    try:
        found = _DECODER.decode(text)
        if "\\u" in text:
            # An escaped half of a surrogate pair has no UTF-8 form: no engine could compare it with a column.
            json.dumps(found, ensure_ascii=False, default=str).encode("utf-8")
    except UnicodeEncodeError:
        raise TokenRejected("lone_surrogate") from None
    except (ValueError, RecursionError):
        raise TokenRejected("not_json") from None
    if not isinstance(found, dict):
        raise TokenRejected("not_json")
    return found


def _decode_part(part: str) -> bytes:
    try:
        raw = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise TokenRejected("not_canonical") from None
    if encode_part(raw) != part:
        # Unused bits set: a second text for the same token would miss a deny-list or a cache of hashes.
        raise TokenRejected("not_canonical")
    return raw


def _depth(text: str) -> int:
    """Depth of nesting, found without the recursion that a parser would need."""
    depth = deepest = 0
    for character in _TEXTS.sub("", text):
        if character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise TokenRejected("duplicate_member")
    return found


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise TokenRejected("number")
    return int(digits)


def _fraction(text: str) -> Decimal:
    if len(text) > MAX_DIGITS:
        raise TokenRejected("number")
    if math.isinf(float(text)):
        # 1e400 is a number here and infinity to whoever else reads the token: two readings.
        raise TokenRejected("number")
    return Decimal(text)


def _refuse_constant(_: str) -> NoReturn:
    raise TokenRejected("number")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_fraction, parse_constant=_refuse_constant
)
