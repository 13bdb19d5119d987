"""identity.yaml → Identity: who may issue tokens, with which keys, and which roles and attributes exist.

Takes a directory; returns a frozen `Identity` with all keys loaded, or raises PolicyInvalid with file, line and column.
It owns the rule that nothing about identity is decided by a token: issuers, audiences, algorithms, keys, limits, types
and claim map are all declared here, per issuer.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from rls.catalog import fold
from rls.errors import PolicyInvalid
from rls.identity.attributes import Attribute, Refused, read_scalar
from rls.identity.declared import Identity, Issuer, normalise_type
from rls.identity.keys import KeyUnfit, family_of
from rls.identity.load_keys import KeyLoader
from rls.identity.patterns import why_unusable
from rls.identity.presets import claim_map
from rls.identity.revocations import Revocations, RevocationsDown, shared_revocations
from rls.identity.roles import read_roles
from rls.yaml_model import validate
from rls.yaml_source import Document, NodePath, read_documents

if TYPE_CHECKING:
    from rls.identity.model import AttributeEntry, IdentityFile, IssuerEntry

__all__ = ["IDENTITY_FILE", "load_identity"]

IDENTITY_FILE = "identity.yaml"
BUILT_IN = frozenset(("subject", "roles", "agent"))

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")


def load_identity(
    directory: Path | str,
    *,
    keys: Literal["load", "none"] = "load",
    keys_from: Path | str | None = None,
    environment: Mapping[str, str] | None = None,
) -> Identity:
    """The identity of a policy directory, from its identity.yaml.

    `keys="none"` loads no key and so verifies no token: for testing policies where the secrets are not.
    `keys_from` is where key files are, for a copy of an identity file elsewhere, which has no revocations.
    `environment` stands in for the process's. Raises PolicyInvalid, codes `policy.*`.
    """
    path = Path(directory) / IDENTITY_FILE
    documents = read_documents(path)
    if len(documents) > 1:
        raise documents[1].invalid("policy.value", "identity file must be one document")
    from rls.identity.model import IdentityFile

    document = documents[0]
    file = validate(document, IdentityFile)
    loader = KeyLoader(document, Path(keys_from or path.parent), os.environ if environment is None else environment)
    issuers: dict[str, Issuer] = {}
    for number, entry in enumerate(file.issuers):
        at: NodePath = ("issuers", number)
        if entry.name in issuers:
            raise document.invalid("policy.issuer", f"issuer `{entry.name}` is declared twice", path=(*at, "name"))
        issuer = _issuer(entry, document, at)
        if issuer.guest and any(other.guest for other in issuers.values()):
            message = "only one issuer can have tokens that name none"
            raise document.invalid("policy.issuer", message, path=(*at, "claims", "preset"))
        issuers[entry.name] = loader.load(issuer, entry, at) if keys == "load" else issuer
    identity = Identity(
        issuers=MappingProxyType(issuers),
        roles=frozenset(file.roles),
        role_capabilities=MappingProxyType(read_roles(file, document)),
        attributes=MappingProxyType(_attributes(file, document, issuers)),
        unknown_attributes=file.unknown_attributes,
        file=str(path),
        version="",
        revocations=_revocations(file, document, path) if keys == "load" and keys_from is None else Revocations(),
    )
    return replace(identity, version=_version(identity))


def _issuer(entry: IssuerEntry, document: Document, at: NodePath) -> Issuer:
    algorithms = tuple(dict.fromkeys(entry.algorithms or ()))
    if entry.encryption is None or algorithms or entry.keys:
        for key in ("algorithms", "keys"):
            if getattr(entry, key) is None:
                label = ".".join(map(str, at))
                raise document.invalid("policy.missing_key", f"`{label}` lacks the key `{key}`", path=at, key=True)
        try:
            family_of(algorithms)
        except KeyUnfit as error:
            raise document.invalid("policy.algorithm", str(error), path=(*at, "algorithms"), hint=error.hint) from None
    try:
        claims = claim_map(entry.claims)
    except ValueError as error:
        raise document.invalid("policy.value", str(error), path=(*at, "claims")) from None
    for name, path in (("subject", claims.subject), ("roles", claims.roles)):
        others = [other for other in (claims.subject, claims.roles, claims.attributes) if other is not path]
        if not path or any(other[: len(path)] == path for other in others):
            message = "must name a member of its own, such as `/user/role`"
            raise document.invalid("policy.value", message, path=(*at, "claims", name))
    return Issuer(
        name=entry.name,
        audiences=tuple(entry.audiences),
        algorithms=algorithms,
        claims=claims,
        max_lifetime=entry.max_lifetime,
        max_age=entry.max_age,
        leeway=entry.leeway,
        types=tuple(map(normalise_type, entry.types)),
        max_bytes=entry.max_bytes,
        single_use=entry.single_use,
        guest=entry.claims.preset == "superset",
    )


def _revocations(file: IdentityFile, document: Document, path: Path) -> Revocations:
    store = None if file.revocation is None else path.parent / file.revocation.file
    try:
        return shared_revocations(store, identity=path)
    except RevocationsDown as error:
        message = f"the database of revoked tokens cannot be used: {error}"
        raise document.invalid("policy.revocation", message, path=("revocation",)) from None


def _attributes(file: IdentityFile, document: Document, issuers: Mapping[str, Issuer]) -> dict[str, Attribute]:
    beside = {name: issuer for issuer in issuers.values() for name in issuer.claims.beside}
    mixed = [issuer for issuer in issuers.values() if issuer.claims.mixed]
    if mixed and file.unknown_attributes == "refuse":
        issuer = mixed[0]
        raise document.invalid(
            "policy.value",
            f"unknown attributes cannot be refused where issuer `{issuer.name}` puts them beside other claims",
            path=("unknown_attributes",),
        )
    found: dict[str, Attribute] = {}
    folded: dict[str, str] = {}
    for name, entry in file.attributes.items():
        at = ("attributes", name)
        if not _NAME.fullmatch(name):
            hint = "use letters, digits and `_`, at most 63, no digit first"
            raise document.invalid("policy.attribute", "attribute name is not usable", path=at, key=True, hint=hint)
        if fold(name) in BUILT_IN:
            raise document.invalid("policy.attribute", f"`user.{name}` is built in", path=at, key=True)
        if name in beside:
            message = f"attribute `{name}` has the name of another claim of issuer `{beside[name].name}`"
            raise document.invalid("policy.attribute", message, path=at, key=True)
        if fold(name) in folded:
            # `user.Tenant` and `user.tenant` are one name in SQL.
            message = f"attribute `{name}` differs from `{folded[fold(name)]}` in case only"
            raise document.invalid("policy.attribute", message, path=at, key=True)
        folded[fold(name)] = name
        found[name] = _attribute(name, entry, document)
    return found


def _attribute(name: str, entry: AttributeEntry, document: Document) -> Attribute:
    at = ("attributes", name)

    def invalid(key: str, message: str, *rest: int) -> PolicyInvalid:
        return document.invalid("policy.attribute", message, path=(*at, key, *rest))

    text, decimal = entry.type == "string", entry.type == "decimal"
    for key, fits, owner in (
        ("pattern", text, "string"),
        ("max_length", text, "string"),
        ("precision", decimal, "decimal"),
        ("scale", decimal, "decimal"),
        ("max_items", entry.is_list, "list"),
    ):
        if getattr(entry, key) is not None and not fits:
            raise invalid(key, f"`{key}` is for a {owner} only")
    given = {key: getattr(entry, key) for key in ("max_length", "max_items", "precision", "scale")}
    attribute = Attribute(
        name=name,
        type=entry.type,
        list=entry.is_list,
        required=entry.required,
        readable=entry.readable,
        **{key: value for key, value in given.items() if value is not None},
    )
    if attribute.scale >= attribute.precision:
        raise invalid("scale" if entry.scale is not None else "precision", "`scale` must be less than `precision`")
    if entry.pattern is not None:
        problem = why_unusable(entry.pattern, max_length=attribute.max_length)
        if problem is not None:
            hint = "bound what is repeated, as in `[a-z]{1,20}`, or lower `max_length`" if "ways" in problem else None
            raise document.invalid("policy.attribute", f"`pattern` {problem}", path=(*at, "pattern"), hint=hint)
        attribute = replace(attribute, pattern=entry.pattern)
    if entry.enum is not None:
        allowed = []
        for number, raw in enumerate(entry.enum):
            try:
                allowed.append(read_scalar(attribute, raw))
            except Refused:
                raise invalid("enum", f"item {number + 1} is not of type {entry.type} as declared", number) from None
        attribute = replace(attribute, enum=tuple(allowed))
    return attribute


def _version(identity: Identity) -> str:
    """Keys count by their fingerprints, so that a rotated key is a new version and none is shown."""
    parts: list[object] = [sorted(identity.roles), identity.unknown_attributes, *identity.attributes.values()]
    # Sets are written in the order of their hashes, which is another one in every process.
    for role, may in sorted(identity.role_capabilities.items()):
        parts += [role, sorted(may.limits.items()), may.export, may.read_policies, may.read_audit]
        parts += [None if named is None else sorted(named) for named in (may.statements, may.relations)]
    for issuer in identity.issuers.values():
        keys = [*issuer.keys.values(), *issuer.encryption.values()]
        parts += [issuer.name, [(k.kid, k.fingerprint, sorted(k.algorithms)) for k in keys]]
        others = sorted(issuer.claims.others)
        claims = replace(issuer.claims, others=frozenset())
        parts += [others, replace(issuer, keys={}, encryption={}, claims=claims)]
    return hashlib.sha256("\0".join(map(repr, parts)).encode()).hexdigest()[:16]
