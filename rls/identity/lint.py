"""A token, and the identity file that reads it → advice: what works and should be otherwise.

Takes a token's text and the declared identity; returns a list of `Advice`, for people. It owns no decision: what
must not pass is refused by `verify`; here are habits that hurt later (ids that change, personal data that everybody
with the token can read, tokens that live long, secrets that several share).
"""

from __future__ import annotations

import math
import re
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any, Literal

from rls.identity.declared import Identity, Issuer
from rls.identity.inspect import Inspection, inspect_token
from rls.identity.sensitive import find_personal, find_sensitive, looks_like_mail

__all__ = ["Advice", "lint_identity", "lint_token"]

LONG_LIFETIME = 3600
# What a cookie or a header of a usual server holds, with room for others beside it.
LARGE = 4096
# Bits by the characters' own frequencies, over the whole secret: 32 random bytes, in base64 or not, have some 150.
MIN_ENTROPY = 140.0


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing to look at. `refused` is what verification says no to; `code` is stable; no value is shown."""

    severity: Literal["refused", "warning", "note"]
    code: str
    message: str
    hint: str

    def to_dict(self) -> dict[str, str]:
        """For `--json`."""
        return asdict(self)


def lint_token(
    token: object,
    identity: Identity,
    *,
    used: Collection[str] | None = None,
    now: float | None = None,
) -> list[Advice]:
    """What to look at in a token. `used` are the names of the attributes that policies read, if they are at hand."""
    found = inspect_token(token, identity, now=time.time() if now is None else now)
    return [
        *(Advice("refused", f.reason, f.message, "`rls token inspect` shows the token") for f in found.findings),
        *(Advice("warning", "ignored", warning, "the issuer should not send it") for warning in found.warnings),
        *_lint_subject(found),
        *_lint_envelope(found),
        *_lint_values(found.claims),
        *(() if used is None or not found.issuer else _lint_use(found, identity, used)),
    ]


def lint_identity(identity: Identity) -> list[Advice]:
    """What to look at in the declared issuers and their keys."""
    return [
        *_lint_shared_keys(identity),
        *(advice for issuer in identity.issuers.values() for advice in _lint_issuer(issuer)),
    ]


def _lint_subject(found: Inspection) -> Iterator[Advice]:
    if looks_like_mail(found.subject):
        yield Advice(
            "warning",
            "subject.mail",
            "the subject looks like an e-mail address, which people change and others inherit",
            "send an id that never changes",
        )


def _lint_envelope(found: Inspection) -> Iterator[Advice]:
    claims, header = found.claims, found.header
    issued, expires = claims.get("iat"), claims.get("exp")
    if isinstance(issued, int | Decimal) and isinstance(expires, int | Decimal) and expires - issued > LONG_LIFETIME:
        yield Advice(
            "warning",
            "lifetime",
            f"the token is valid for longer than {LONG_LIFETIME} seconds",
            "make a new one when it is needed: what it says of its user is as old as it is",
        )
    if claims and "jti" not in claims:
        yield Advice("note", "no_id", "the token has no `jti`", "with one, this token alone could be revoked")
    if header and "kid" not in header:
        yield Advice("note", "no_key_id", "the token names no key", "with a `kid`, keys can be exchanged without a gap")
    if header and "typ" not in header:
        yield Advice("note", "no_type", "the token has no `typ`", "with one, no other kind of token can pass for it")
    if header and found.size > LARGE:
        yield Advice(
            "note", "size", f"the token has {found.size} bytes", "headers of 8 KiB are refused by many servers"
        )


def _lint_values(claims: Mapping[str, Any]) -> Iterator[Advice]:
    for path, value in _leaves(claims, ()):
        name = ".".join(path)
        secret = find_sensitive(path[-1], value)
        if secret is not None:
            yield Advice(
                "warning", "secret", f"claim `{_shown(name)}` does not belong in a token: {secret}", "leave it out"
            )
            continue
        personal = find_personal(path[-1], value)
        if personal is not None:
            hint = "everybody who holds the token can read it: send an id instead"
            yield Advice("warning", "personal", f"claim `{_shown(name)}` is personal: {personal}", hint)


def _lint_use(found: Inspection, identity: Identity, used: Collection[str]) -> Iterator[Advice]:
    folded = {name.lower() for name in used}
    for name, attribute in identity.attributes.items():
        asked = name.lower() in folded or attribute.readable
        if name in found.attributes and not asked:
            yield Advice("note", "unused", f"attribute `{name}` is in the token and no policy reads it", "leave it out")
        if name not in found.attributes and name.lower() in folded and not attribute.required:
            hint = "policies that read it show this user nothing, unless they say `IS NULL`"
            yield Advice("note", "missing", f"attribute `{name}` is read by policies and not in the token", hint)


def _lint_shared_keys(identity: Identity) -> Iterator[Advice]:
    keys = [(i.name, k) for i in identity.issuers.values() for k in (*i.keys.values(), *i.encryption.values())]
    for fingerprint, count in Counter(key.fingerprint for _, key in keys).items():
        if count > 1:
            names = sorted({name for name, key in keys if key.fingerprint == fingerprint})
            yield Advice(
                "warning",
                "shared_key",
                f"one key is declared {count} times, for {', '.join(f'`{name}`' for name in names)}",
                "a key for each issuer: who has one of them can otherwise sign for all",
            )


def _lint_issuer(issuer: Issuer) -> Iterator[Advice]:
    for key in (*issuer.keys.values(), *issuer.encryption.values()):
        if isinstance(key.material, bytes) and _entropy(key.material) < MIN_ENTROPY:
            hint = "make one with `rls token keys generate --algorithm HS256`"
            yield Advice("warning", "weak_secret", f"secret `{key.kid}` of `{issuer.name}` has little randomness", hint)
    if any(algorithm.startswith("HS") for algorithm in issuer.algorithms):
        yield Advice(
            "note",
            "shared_secret",
            f"issuer `{issuer.name}` signs with a shared secret: whoever verifies its tokens can make them",
            "with ES256 or EdDSA, only the issuer can",
        )
    if issuer.max_lifetime > LONG_LIFETIME:
        hint = "an hour is much for what a token says of its user"
        yield Advice("note", "max_lifetime", f"issuer `{issuer.name}` may sign for {issuer.max_lifetime} seconds", hint)
    if len(issuer.keys) > 3:
        yield Advice(
            "note", "many_keys", f"issuer `{issuer.name}` has {len(issuer.keys)} keys", "drop those that are out of use"
        )


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Everything in the claims that is no object, with the names that lead to it; a list is one value."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, (*path, name))
    elif path:
        yield path, value


def _entropy(secret: bytes) -> float:
    counts = Counter(secret).values()
    return -sum(count * math.log2(count / len(secret)) for count in counts)


def _shown(name: str) -> str:
    return re.sub(r"[^\x20-\x7e]", "?", name)[:60]
