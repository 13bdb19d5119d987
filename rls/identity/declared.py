"""What identity.yaml declares, as frozen values: issuers, roles, attributes. Made by `issuers`, read by everyone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from rls.identity.capabilities import Capabilities, most_generous

if TYPE_CHECKING:
    from rls.identity.attributes import Attribute
    from rls.identity.keys import Key

__all__ = ["REGISTERED_CLAIMS", "ClaimMap", "Identity", "Issuer", "normalise_type"]

# RFC 7519 section 4.1.
REGISTERED_CLAIMS = frozenset(("iss", "sub", "aud", "exp", "nbf", "iat", "jti"))


def normalise_type(name: str) -> str:
    """A `typ` as it is compared: media types have no case, and `application/` may be left out (RFC 7515, 4.1.9).

    >>> normalise_type("JWT"), normalise_type("application/at+jwt")
    ('jwt', 'at+jwt')
    """
    return name.lower().removeprefix("application/")


@dataclass(frozen=True, slots=True)
class ClaimMap:
    """Where in the claims the principal's parts are: the members' names from the top; () is the top itself."""

    subject: tuple[str, ...]
    roles: tuple[str, ...]
    attributes: tuple[str, ...]

    @property
    def beside(self) -> frozenset[str]:
        """Members of the attributes' object that are other claims: they are no attributes, known or unknown."""
        depth = len(self.attributes)
        names = {path[depth] for path in (self.subject, self.roles) if path[:depth] == self.attributes}
        return frozenset(names | REGISTERED_CLAIMS) if depth == 0 else frozenset(names)


@dataclass(frozen=True, slots=True)
class Issuer:
    """A declared issuer. Times in seconds, `max_bytes` in characters, `types` as `normalise_type` writes them."""

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


@dataclass(frozen=True)
class Identity:
    """Issuers by name, declared roles and attributes; `version` is a hash of everything in it that decides.

    `role_capabilities` holds what each role may do, under "" what a principal without any role may do.
    """

    issuers: Mapping[str, Issuer]
    roles: frozenset[str]
    attributes: Mapping[str, Attribute]
    unknown_attributes: Literal["drop", "refuse"]
    file: str
    version: str
    role_capabilities: Mapping[str, Capabilities] = field(default_factory=dict)

    def capabilities(self, roles: frozenset[str]) -> Capabilities:
        """What a principal with these roles may do: the most generous of each."""
        nothing_said = Capabilities()
        return most_generous([self.role_capabilities.get(role, nothing_said) for role in sorted(roles) or ("",)])

    @property
    def readable(self) -> frozenset[str]:
        """Names of the attributes that callers may use in their SQL."""
        return frozenset(name for name, attribute in self.attributes.items() if attribute.readable)
