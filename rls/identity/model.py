"""The shape of identity.yaml and of persona files, as strict models: unknown keys and wrong types are refused.

What one key means together with another (does this key fit these algorithms?) is `issuers`' to check, where the
position of each is known.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag

from rls.identity.decode import HARD_LIMIT

__all__ = [
    "AttributeEntry",
    "ClaimEntry",
    "EncryptionEntry",
    "IdentityFile",
    "IntrospectionEntry",
    "IssuerEntry",
    "KeyEntry",
    "KeySetSource",
    "PersonaEntry",
    "PersonaFile",
    "RevocationEntry",
    "RoleEntry",
    "RoleLimitsEntry",
    "SecretSource",
]

DAY = 86_400


def _check_name(text: str) -> str:
    # Names are compared exactly, so a space around one or a line break in it is a slip of the pen.
    if not text or len(text) > 255 or text != text.strip() or not text.isprintable():
        raise ValueError("name must be 1 to 255 printable characters without spaces around")
    return text


def _check_pointer(text: str) -> str:
    if len(text) > 255 or not re.fullmatch(r"(?:/(?:[^~/]|~[01])*)*", text):
        raise ValueError("must be a JSON pointer such as `/user/role`, or empty for the top level")
    return text


_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


def _read_bytes(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"([0-9]{1,15})(?:\.([0-9]{1,3}))? ?([KMGT]i?B|)", value)
    if found is None or (found[2] and not found[3]):
        raise ValueError("must be a number of bytes such as `512MB` or `1.5GiB`")
    return int(Decimal(f"{found[1]}.{found[2] or 0}") * _UNITS[found[3]])


def _read_number(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else value


Name = Annotated[str, AfterValidator(_check_name)]
Pointer = Annotated[str, AfterValidator(_check_pointer)]


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class KeySetSource(Strict):
    """A JWK set: in a file relative to the identity file, or at a URL; `refresh` and `stale` in seconds."""

    file: Name | None = None
    url: Name | None = None
    refresh: int | None = Field(None, ge=10, le=DAY)
    stale: int | None = Field(None, ge=0, le=DAY)


class SecretSource(Strict):
    """Where a shared secret is: an environment variable or a file; `encoding` says how its bytes are written there."""

    env: Name | None = None
    file: Name | None = None
    encoding: Literal["text", "base64"] = "text"


class KeyEntry(Strict):
    """One of: `file` (public key in PEM, with `kid`), `secret` (with `kid`), `jwks` (a JWK set, which has the kids)."""

    kid: Name | None = None
    file: Name | None = None
    secret: SecretSource | None = None
    jwks: KeySetSource | None = None


class ClaimEntry(Strict):
    """JSON pointers (RFC 6901) into the claims, an empty one is the top level; what is left out is the preset's."""

    preset: Literal["toucan", "hasura", "supabase", "cube", "auth0", "superset"] = "toucan"
    namespace: Name | None = None
    subject: Pointer | None = None
    roles: Pointer | None = None
    attributes: Pointer | None = None


class EncryptionEntry(Strict):
    """How an issuer's tokens are encrypted (with A256GCM): the keys are secrets of 32 bytes."""

    algorithm: Literal["dir", "A256KW"]
    keys: list[KeyEntry] = Field(min_length=1)


class IntrospectionEntry(Strict):
    """Where to ask whether a token is still active (RFC 7662), as whom; an answer is remembered for so many seconds."""

    url: Name
    client: Name
    secret: SecretSource
    remember: int = Field(30, ge=0, le=300)


class IssuerEntry(Strict):
    """An issuer; times in seconds, sizes in characters. `algorithms` and `keys` are needed without `encryption`."""

    name: Name
    audiences: list[Name] = Field(min_length=1)
    algorithms: list[Name] | None = Field(None, min_length=1)
    keys: list[KeyEntry] | None = Field(None, min_length=1)
    encryption: EncryptionEntry | None = None
    max_lifetime: int = Field(3600, ge=1, le=30 * DAY)
    max_age: int | None = Field(None, ge=1, le=30 * DAY)
    leeway: int = Field(10, ge=0, le=300)
    types: list[Name] = Field(default=["JWT"], min_length=1)
    max_bytes: int = Field(8192, ge=256, le=HARD_LIMIT)
    claims: ClaimEntry = ClaimEntry()
    single_use: bool = False
    introspection: IntrospectionEntry | None = None


class AttributeEntry(Strict):
    """An attribute; `description` is for people."""

    type: Literal["string", "integer", "decimal", "boolean", "date", "timestamp"]
    is_list: bool = Field(False, alias="list")
    required: bool = False
    readable: bool = False
    enum: list[Any] | None = Field(None, min_length=1, max_length=1000)
    pattern: str | None = Field(None, max_length=1000)
    max_length: int | None = Field(None, ge=1, le=HARD_LIMIT)
    max_items: int | None = Field(None, ge=1, le=HARD_LIMIT)
    precision: int | None = Field(None, ge=1, le=38)
    scale: int | None = Field(None, ge=0, le=37)
    description: str = ""


Count = Annotated[int, Field(ge=1, le=1 << 50)]
Bytes = Annotated[int, Field(ge=1 << 20, le=1 << 50), BeforeValidator(_read_bytes, json_schema_input_type=int | str)]


class RoleLimitsEntry(Strict):
    """A role's own limits, by the names of the engine's (`rls.engines.limits.Limits`), which stay the upper bound."""

    seconds: (
        Annotated[float, Field(gt=0, le=DAY), BeforeValidator(_read_number, json_schema_input_type=float)] | None
    ) = None
    rows: Count | None = None
    columns: Count | None = None
    memory: Bytes | None = None
    temporary_disk: (
        Annotated[int, Field(ge=0, le=1 << 50), BeforeValidator(_read_bytes, json_schema_input_type=int | str)] | None
    ) = None
    text: Count | None = None
    parameters: Count | None = None
    list_items: Count | None = None
    nesting: Count | None = None
    concurrent: Count | None = None
    per_principal: Count | None = None


class RoleEntry(Strict):
    """A role's capabilities; what is left out is not narrowed. See `rls.identity.capabilities.Capabilities`."""

    limits: RoleLimitsEntry = RoleLimitsEntry()
    statements: list[Literal["describe", "pivot", "recursive", "select", "summarize", "unpivot", "values"]] | None = (
        Field(None, min_length=1)
    )
    relations: list[Name] | None = Field(None, min_length=1)
    export: bool = True
    read_policies: bool = True
    read_audit: Literal["own", "all"] = "own"
    description: str = ""


def _form_of_roles(value: Any) -> str:
    # Only the form that was written is looked at, so that an error speaks of that one.
    return "a list of names" if isinstance(value, list) else "names with capabilities"


Roles = Annotated[
    Annotated[list[Name], Tag("a list of names")] | Annotated[dict[Name, RoleEntry], Tag("names with capabilities")],
    Discriminator(_form_of_roles),
]


class RevocationEntry(Strict):
    """Where revoked tokens are kept for all processes: a database file, made if it is not there."""

    file: Name


class IdentityFile(Strict):
    """identity.yaml."""

    issuers: list[IssuerEntry] = Field(min_length=1)
    revocation: RevocationEntry | None = None
    roles: Roles = []
    without_role: RoleEntry = Field(default_factory=lambda: RoleEntry.model_validate({}))
    attributes: dict[str, AttributeEntry] = {}
    unknown_attributes: Literal["drop", "refuse"] = "drop"


class PersonaEntry(Strict):
    """A named principal; `attributes` are read like a token's."""

    subject: str
    roles: list[str] = []
    attributes: dict[str, Any] = {}
    agent: str | None = None
    description: str = ""


class PersonaFile(Strict):
    """personas.yaml."""

    personas: dict[str, PersonaEntry]
