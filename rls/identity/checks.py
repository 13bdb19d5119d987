"""The rules a decoded token must keep, each as a function that lists what is broken.

Takes decoded parts and what is declared; returns reason codes (empty: nothing is wrong), so that `verify` refuses at
the first and `inspect` shows them all: there is one set of rules. It owns no decision; RFC 8725 is cited per rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from rls.identity.attributes import Reading, read_attributes, show
from rls.identity.declared import Identity, Issuer, normalise_type
from rls.identity.decode import Decoded

if TYPE_CHECKING:
    from rls.identity.keys import Key

__all__ = [
    "REFUSED_PARAMETERS",
    "Claimed",
    "check_claims",
    "check_header",
    "check_key_id",
    "check_text",
    "check_types",
    "choose_issuer",
    "read_claims",
    "read_times",
]

# Each of them lets the token say how, or with which key, it is to be trusted (RFC 8725 sections 3.5, 3.10, 3.11;
# RFC 7515 section 4.1.11: extensions that are not understood; `zip` and `enc` belong to encrypted tokens, and a
# compressed payload is a decompression bomb).
REFUSED_PARAMETERS = ("b64", "crit", "enc", "jku", "jwk", "x5c", "x5u", "zip")
MAX_TEXT = 255
MAX_ROLES = 100
MAX_ACTORS = 4
_MAX_TIME_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Claimed:
    """What the claims say of the principal, once nothing is wrong with them; `reasons` where something is."""

    subject: str
    roles: frozenset[str]
    attributes: Reading
    actors: tuple[str, ...]
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]


def choose_issuer(claims: Mapping[str, Any], identity: Identity) -> Issuer | None:
    """The declared issuer that the unverified `iss` names exactly: an index into the allow-list and nothing more.

    Where there is no `iss`, it is the issuer that never writes one, if such a one is declared.
    """
    if "iss" not in claims:
        return next((issuer for issuer in identity.issuers.values() if issuer.guest), None)
    name = claims.get("iss")
    return identity.issuers.get(name) if type(name) is str else None


def check_header(decoded: Decoded, issuer: Issuer) -> list[str]:
    """Reasons why header or size are not what the issuer sends (RFC 8725 sections 3.1, 3.5, 3.10, 3.11); the key is
    `check_key_id`'s."""
    header, reasons = decoded.header, []
    if decoded.size > issuer.max_bytes:
        reasons.append("too_large")
    algorithm = header.get("alg")
    if type(algorithm) is not str or algorithm not in issuer.algorithms:
        reasons.append("algorithm_not_allowed")
    reasons += [f"header:{name}" for name in REFUSED_PARAMETERS if name in header]
    return [*reasons, *check_types(header, issuer)]


def check_types(header: Mapping[str, Any], issuer: Issuer) -> list[str]:
    """Reasons why `typ` and `cty` are not those of the issuer's claims (RFC 8725 section 3.11)."""
    reasons = []
    kind = header.get("typ", "JWT")
    if type(kind) is not str or normalise_type(kind) not in issuer.types:
        reasons.append("header:typ")
    content = header.get("cty", "")
    if type(content) is not str or normalise_type(content) == "jwt":
        # A token inside a token; the outer one's claims would not be the ones that count.
        reasons.append("header:cty")
    return reasons


def check_key_id(header: Mapping[str, Any], keys: Mapping[str, Key]) -> list[str]:
    """Reasons why the header names none of the issuer's keys."""
    kid = header.get("kid")
    if "kid" not in header:
        return [] if len(keys) == 1 else ["missing_key_id"]
    if type(kid) is not str:
        return ["header:kid"]
    return [] if kid in keys else ["unknown_key"]


def check_claims(claims: Mapping[str, Any], issuer: Issuer, *, now: float) -> list[str]:
    """Reasons why the registered claims do not hold at `now` (Unix time in seconds; RFC 7519 section 4.1)."""
    reasons = [*_check_times(claims, issuer, now), *_check_audience(claims, issuer), *_check_token_id(claims, issuer)]
    if issuer.guest and claims.get("type") != "guest":
        # One secret may sign other tokens as well, which have the same members (RFC 8725 section 3.11).
        reasons.append("claim:type:enum")
    return reasons


def read_times(claims: Mapping[str, Any], issuer: Issuer) -> tuple[dict[str, int], list[str]]:
    """`exp`, `iat` and `nbf` as whole seconds, and what is wrong with those that are missing here."""
    times: dict[str, int] = {}
    reasons = []
    for name in ("exp", "iat", "nbf"):
        found = claims.get(name)
        if issuer.guest and type(found) is Decimal and found.adjusted() < _MAX_TIME_DIGITS:
            # Superset writes its clock's fractions; cut off, which lets a token expire earlier and be no younger.
            found = int(found)
        if name not in claims:
            if name != "nbf":
                reasons.append(f"missing_claim:{name}")
        elif type(found) is not int:
            # A NumericDate may have a fraction (RFC 7519 section 2); hardly anybody sends one, and text such as "179…"
            # or 1e400 has passed verifiers that converted.
            reasons.append(f"claim:{name}:type")
        elif found < 0:
            reasons.append(f"claim:{name}:negative")
        else:
            times[name] = found
    return times, reasons


def read_claims(claims: Mapping[str, Any], identity: Identity, issuer: Issuer) -> Claimed:
    """Subject, roles and attributes by the issuer's claim map."""
    reasons: list[str] = []
    subject = _find(claims, issuer.claims.subject)
    if subject is None:
        reasons.append("missing_claim:subject")
    else:
        reasons += check_text("subject", subject)
    if issuer.claims.subject != ("sub",) and type(claims.get("sub", "")) is not str:
        reasons.append("claim:sub:type")
    roles, warnings = _read_roles(_find(claims, issuer.claims.roles), identity, reasons)
    actors = _read_actors(claims, reasons)
    reading = _read_attributes(_find(claims, issuer.claims.attributes), identity, issuer)
    reasons += reading.reasons
    subject = subject if isinstance(subject, str) else ""
    ignored = tuple(f"the SQL in `{name}` is ignored" for name in issuer.claims.ignored_sql if claims.get(name))
    return Claimed(subject, roles, reading, actors, tuple(reasons), (*warnings, *ignored, *reading.warnings))


def _read_attributes(raw: Any, identity: Identity, issuer: Issuer) -> Reading:
    if raw is None:
        raw = {}
    if not isinstance(raw, dict):
        return Reading(reasons=("claim:attributes:type",))
    members = issuer.claims.members(raw)
    if members is None:
        return Reading(reasons=("claim:attributes:duplicate",))
    unknown = "ignore" if issuer.claims.mixed else identity.unknown_attributes
    return read_attributes(members, identity.attributes, unknown=unknown)


def _read_actors(claims: Mapping[str, Any], reasons: list[str]) -> tuple[str, ...]:
    """Who acts for the subject, then for whom that one acts … (RFC 8693 section 4.1)."""
    actors: list[str] = []
    while "act" in claims:
        found = claims["act"]
        problems = check_text("act", found.get("sub")) if isinstance(found, dict) else ["claim:act:type"]
        if len(actors) == MAX_ACTORS:
            problems = ["claim:act:too_many"]
        if problems:
            reasons += problems
            return ()
        actors.append(found["sub"])
        claims = found
    return tuple(actors)


def check_text(name: str, found: object) -> list[str]:
    """A text that goes into logs and caches: a string, not blank, bounded, without control characters."""
    if type(found) is not str:
        return [f"claim:{name}:type"]
    if not found.strip():
        return [f"claim:{name}:blank"]
    if len(found) > MAX_TEXT:
        return [f"claim:{name}:too_long"]
    if any(character < " " or "\x7f" <= character <= "\x9f" for character in found):
        return [f"claim:{name}:character"]
    return []


def _check_times(claims: Mapping[str, Any], issuer: Issuer, now: float) -> list[str]:
    times, reasons = read_times(claims, issuer)
    # Written so that a `now` that is not a number refuses.
    if "exp" in times and not now < times["exp"] + issuer.leeway:
        reasons.append("expired")
    if "nbf" in times and not now >= times["nbf"] - issuer.leeway:
        reasons.append("not_yet_valid")
    if "iat" in times and not now >= times["iat"] - issuer.leeway:
        reasons.append("issued_in_future")
    if "iat" in times and issuer.max_age is not None and not now < times["iat"] + issuer.max_age + issuer.leeway:
        reasons.append("too_old")
    if "exp" in times and "iat" in times:
        lifetime = times["exp"] - times["iat"]
        if lifetime <= 0:
            reasons.append("lifetime_not_positive")
        elif lifetime > issuer.max_lifetime:
            reasons.append("lifetime_too_long")
    return reasons


def _check_audience(claims: Mapping[str, Any], issuer: Issuer) -> list[str]:
    """A token for somebody else is not for us, whoever signed it (RFC 8725 section 3.9)."""
    if "aud" not in claims:
        return ["missing_claim:aud"]
    found = claims["aud"]
    audiences = found if isinstance(found, list) else [found]
    if not all(type(audience) is str for audience in audiences):
        return ["claim:aud:type"]
    return [] if any(audience in issuer.audiences for audience in audiences) else ["wrong_audience"]


def _check_token_id(claims: Mapping[str, Any], issuer: Issuer) -> list[str]:
    if "jti" in claims:
        return check_text("jti", claims["jti"])
    return ["missing_claim:jti"] if issuer.single_use else []


def _read_roles(found: object, identity: Identity, reasons: list[str]) -> tuple[frozenset[str], tuple[str, ...]]:
    """Declared roles among those claimed; others are dropped with a warning. A text is one role and is never split."""
    claimed = [] if found is None else [found] if type(found) is str else found
    if not isinstance(claimed, list) or not all(type(role) is str for role in claimed):
        reasons.append("claim:roles:type")
        return frozenset(), ()
    if len(claimed) > MAX_ROLES:
        reasons.append("claim:roles:too_many")
        return frozenset(), ()
    dropped = sorted(set(claimed) - identity.roles)
    warnings = tuple(f"role {show(role)} is not declared, dropped" for role in dropped[:10])
    return identity.roles.intersection(claimed), warnings


def _find(claims: Mapping[str, Any], pointer: tuple[str, ...]) -> Any:
    """The value at a pointer through objects; None where there is none (a null is none)."""
    found: Any = claims
    for part in pointer:
        if not isinstance(found, dict) or part not in found:
            return None
        found = found[part]
    return found
