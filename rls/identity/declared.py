"""What identity.yaml declares, as frozen values: issuers, roles, attributes. Made by `issuers`, read by everyone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from rls.identity.capabilities import Capabilities, most_generous

if TYPE_CHECKING:
    from rls.identity.attributes import Attribute
    from rls.identity.introspect import Introspection
    from rls.identity.key_sets import RemoteKeys
    from rls.identity.keys import Key
    from rls.identity.revocations import Revocations

__all__ = ["REGISTERED_CLAIMS", "ClaimMap", "Identity", "Issuer", "normalise_type"]

# RFC 7519 section 4.1, and RFC 8693 section 4.1.
REGISTERED_CLAIMS = frozenset(("iss", "sub", "aud", "exp", "nbf", "iat", "jti", "act"))


def normalise_type(name: str) -> str:
    """A `typ` as it is compared: media types have no case, and `application/` may be left out (RFC 7515, 4.1.9).

    >>> normalise_type("JWT"), normalise_type("application/at+jwt")
    ('jwt', 'at+jwt')
    """
    return name.lower().removeprefix("application/")


@dataclass(frozen=True, slots=True)
class ClaimMap:
    """Where in the claims the principal's parts are: the members' names from the top; () is the top itself.

    With a `prefix`, attributes are the members whose names begin with it, without it; with `dashes`, `-` in them is
    `_` in ours. `others` are further members there that are no attributes. `ignored_sql` are the claims in which
    a system that trusts SQL in tokens puts it.
    """

    subject: tuple[str, ...]
    roles: tuple[str, ...]
    attributes: tuple[str, ...]
    prefix: str = ""
    dashes: bool = False
    others: frozenset[str] = frozenset()
    ignored_sql: tuple[str, ...] = ()

    @property
    def beside(self) -> frozenset[str]:
        """Names that attributes cannot have: those of other claims in the attributes' object."""
        return frozenset(self.name(member) for member in self._other_members if member.startswith(self.prefix))

    @property
    def mixed(self) -> bool:
        """Whether an undeclared member of the attributes' object may be a claim of another kind."""
        return bool(self._other_members) and not self.prefix

    @property
    def _other_members(self) -> frozenset[str]:
        depth = len(self.attributes)
        names = {path[depth] for path in (self.subject, self.roles) if path[:depth] == self.attributes}
        return self.others | names | (REGISTERED_CLAIMS if depth == 0 else frozenset())

    def name(self, member: str) -> str:
        """The attribute's name for a member's."""
        name = member[len(self.prefix) :]
        return name.replace("-", "_") if self.dashes else name

    def member(self, name: str) -> str:
        """The member's name for an attribute's."""
        return self.prefix + (name.replace("_", "-") if self.dashes else name)

    def members(self, found: Mapping[str, Any]) -> dict[str, Any] | None:
        """The attributes by name in their object; None where two members have one name."""
        if not self.prefix:
            return dict(found)
        own = {m: v for m, v in found.items() if m.startswith(self.prefix) and m not in self._other_members}
        named = {self.name(member): value for member, value in own.items()}
        return named if len(named) == len(own) else None


@dataclass(frozen=True, slots=True)
class Issuer:
    """A declared issuer. Times in seconds, `max_bytes` in characters, `types` as `normalise_type` writes them.

    `keys` are those of the identity file, `key_set` has those of a URL. `encryption` are the keys that its tokens are
    encrypted with, all for one algorithm; without `algorithms` of signatures, they prove who made the token. `guest`
    tokens name no issuer, as Superset's do. A `single_use` token is good for one query or one session.
    """

    name: str
    audiences: tuple[str, ...]
    algorithms: tuple[str, ...]
    claims: ClaimMap
    max_lifetime: int
    max_age: int | None
    leeway: int
    types: tuple[str, ...]
    max_bytes: int
    keys: Mapping[str, Key] = field(default_factory=dict)
    key_set: RemoteKeys | None = None
    encryption: Mapping[str, Key] = field(default_factory=dict)
    single_use: bool = False
    guest: bool = False
    introspection: Introspection | None = None


_MAX_KNOWN: Final = 10_000  # sets of roles


@dataclass(frozen=True)
class Identity:
    """Issuers by name, declared roles and attributes; `version` is a hash of everything in it that decides.

    `role_capabilities` holds what each role may do, under "" what a principal without any role may do. `revocations` is
    where tokens are revoked and single uses counted; it outlives a reload of the file.
    """

    issuers: Mapping[str, Issuer]
    roles: frozenset[str]
    attributes: Mapping[str, Attribute]
    unknown_attributes: Literal["drop", "refuse"]
    file: str
    version: str
    revocations: Revocations = field(kw_only=True)
    role_capabilities: Mapping[str, Capabilities] = field(default_factory=dict)
    _known: dict[frozenset[str], Capabilities] = field(default_factory=dict, init=False, repr=False, compare=False)

    def capabilities(self, roles: frozenset[str]) -> Capabilities:
        """What a principal with these roles may do: the most generous of each."""
        found = self._known.get(roles)
        if found is None:
            nothing_said = Capabilities()
            found = most_generous([self.role_capabilities.get(role, nothing_said) for role in sorted(roles) or ("",)])
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[roles] = found
        return found

    @property
    def max_bytes(self) -> int:
        """No token of any issuer is longer: what is, is not looked at."""
        return max(issuer.max_bytes for issuer in self.issuers.values())

    @property
    def readable(self) -> frozenset[str]:
        """Names of the attributes that callers may use in their SQL."""
        return frozenset(name for name, attribute in self.attributes.items() if attribute.readable)
