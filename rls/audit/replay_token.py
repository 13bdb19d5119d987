"""A record of who was let in, or not, and the token → that decision derived again, by the identity file of its time.

For sessions, for reading the audit, and for every attempt whose token was rejected. Owns that a replay never guesses
here either: the token must have the hash, or be of the subject, that the record holds; what was decided by things that
no record keeps (who was revoked then, a key set at a URL) is said and not compared. It asks no server.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from rls.audit.keyed import KeyedHash
from rls.errors import AuditFailed, PolicyInvalid

if TYPE_CHECKING:
    from rls.identity.declared import Identity
    from rls.identity.inspect import Inspection

__all__ = ["Admitted", "derive_admission"]

Record = Mapping[str, Any]

_OF_KEYS = frozenset(("unknown_key", "missing_key_id", "bad_signature", "keys_unavailable", "bad_encryption"))
# Of what stood in other places than the token and the file.
_OF_THE_MOMENT = frozenset(("revoked", "used", "revocation_unavailable", "inactive", "introspection_unavailable"))


@dataclass(frozen=True, slots=True)
class Admitted:
    """What was derived: (what, recorded, derived) of each difference, whether the token is the recorded one for sure,
    what could not be compared, and the reason of a rejection ("" where the token is accepted)."""

    differences: tuple[tuple[str, str, str], ...]
    proven: bool
    not_compared: tuple[str, ...]
    code: str


def derive_admission(
    record: Record, token: str, *, snapshot: Path, keys_from: Path, keyed: KeyedHash | None
) -> Admitted:
    """What verification says of the token at the record's time. `snapshot` is the policy directory of its version,
    `keys_from` the directory that its issuers' keys are in.

    Raises `AuditFailed` (`audit.replay`) for a token that is not the recorded one.
    """
    from rls.identity.inspect import inspect_token

    identity, keys, missing = _identity(record, snapshot, keys_from)
    found = inspect_token(token, identity, now=datetime.fromisoformat(record["time"]).timestamp())
    rejected = record["outcome"] == "rejected"
    proven = _is_recorded(record, token, keyed) if rejected else _has_subject(record, found)
    not_compared = list(missing)
    codes = [finding.reason for finding in found.findings if keys or finding.reason not in _OF_KEYS]
    code, recorded = (codes or [""])[0], record["code"] if rejected else ""
    if recorded in _OF_THE_MOMENT and not code:
        not_compared.append("whether it was revoked, used or disowned: that was decided by what was known then")
        return Admitted((), proven, tuple(not_compared), "")
    if not keys and recorded in (*_OF_KEYS, "algorithm_not_allowed") and not code:
        return Admitted((), proven, tuple(not_compared), "")
    differences = [] if code == recorded else [("decision", _said(recorded), _said(code))]
    if not rejected and not code:
        differences += _principal_differences(record, found, keyed)
    return Admitted(tuple(differences), proven, tuple(not_compared), code)


def _identity(record: Record, snapshot: Path, keys_from: Path) -> tuple[Identity, bool, list[str]]:
    """The identity of the record's version, whether its keys are those of then, and what is to be said if not."""
    from rls.policy.load import load_policies

    try:
        policies = load_policies(snapshot, keys_from=keys_from)
    except PolicyInvalid:
        return load_policies(snapshot, keys="none").identity, False, ["the signature: the issuers' keys are not there"]
    if policies.version != record["policy_version"]:
        return policies.identity, False, ["the signature: the issuers' keys are others than then"]
    identity = policies.identity
    if all(issuer.key_set is None for issuer in identity.issuers.values()):
        return identity, True, []
    local = {name: replace(issuer, key_set=None) for name, issuer in identity.issuers.items()}
    without = replace(identity, issuers=MappingProxyType(local))
    return without, False, ["the signature: keys at a URL are not kept"]


def _is_recorded(record: Record, token: str, keyed: KeyedHash | None) -> bool:
    """Whether a rejected token is the recorded one for sure; raises where it is not."""
    if keyed is None or keyed.name != record["hash_key"] or not record["token_hash"]:
        return False
    if keyed.text(token) != record["token_hash"]:
        raise AuditFailed("audit.replay", "the token is not the recorded one", hint="its hash is another")
    return True


def _has_subject(record: Record, found: Inspection) -> bool:
    token_id = found.claims.get("jti")
    if (found.subject, found.issuer, token_id) != (record["subject"], record["issuer"], record["token_id"]):
        raise AuditFailed(
            "audit.replay", "the token is not the recorded one", hint="its subject, issuer or id is another"
        )
    return token_id is not None


def _principal_differences(
    record: Record, found: Inspection, keyed: KeyedHash | None
) -> Iterator[tuple[str, str, str]]:
    roles, recorded = ", ".join(sorted(found.roles)), ", ".join(record["roles"])
    if roles != recorded:
        yield "roles", recorded or "none", roles or "none"
    if list(found.actors) != list(record["actors"]):
        yield "actors", ", ".join(record["actors"]) or "none", ", ".join(found.actors) or "none"
    hashes, compared = record["attributes"], keyed if keyed and keyed.name == record["hash_key"] else None
    for name in sorted(hashes.keys() | found.attributes.keys()):
        if (name in hashes) != (name in found.attributes):
            yield f"attribute `{name}`", _there(name in hashes), _there(name in found.attributes)
        elif compared is not None and compared.value(name, found.attributes[name]) != hashes[name]:
            yield f"attribute `{name}`", "a value", "another value"


def _said(code: str) -> str:
    return f"rejected, {code}" if code else "accepted"


def _there(there: bool) -> str:
    return "there" if there else "missing"
