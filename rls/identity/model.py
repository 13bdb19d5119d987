"""The shape of identity.yaml and of persona files, as strict models: unknown keys and wrong types are refused.

What one key means together with another (does this key fit these algorithms?) is `issuers`' to check, where the
position of each is known.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from rls.identity.decode import HARD_LIMIT

__all__ = [
    "AttributeEntry",
    "ClaimEntry",
    "FileSource",
    "IdentityFile",
    "IssuerEntry",
    "KeyEntry",
    "PersonaEntry",
    "PersonaFile",
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


Name = Annotated[str, AfterValidator(_check_name)]
Pointer = Annotated[str, AfterValidator(_check_pointer)]


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class FileSource(Strict):
    """A file, relative to the identity file."""

    file: Name


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
    jwks: FileSource | None = None


class ClaimEntry(Strict):
    """JSON pointers (RFC 6901) into the claims; an empty one is the top level."""

    subject: Pointer = "/user/distinctId"
    roles: Pointer = "/user/role"
    attributes: Pointer = "/user/attributes"


class IssuerEntry(Strict):
    """An issuer; times in seconds, sizes in characters."""

    name: Name
    audiences: list[Name] = Field(min_length=1)
    algorithms: list[Name] = Field(min_length=1)
    keys: list[KeyEntry] = Field(min_length=1)
    max_lifetime: int = Field(3600, ge=1, le=30 * DAY)
    max_age: int | None = Field(None, ge=1, le=30 * DAY)
    leeway: int = Field(10, ge=0, le=300)
    types: list[Name] = Field(default=["JWT"], min_length=1)
    max_bytes: int = Field(8192, ge=256, le=HARD_LIMIT)
    claims: ClaimEntry = ClaimEntry()


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


class IdentityFile(Strict):
    """identity.yaml."""

    issuers: list[IssuerEntry] = Field(min_length=1)
    roles: list[Name] = []
    attributes: dict[str, AttributeEntry] = {}
    unknown_attributes: Literal["drop", "refuse"] = "drop"


class PersonaEntry(Strict):
    """A named principal; `attributes` are read like a token's."""

    subject: str
    roles: list[str] = []
    attributes: dict[str, Any] = {}
    description: str = ""


class PersonaFile(Strict):
    """personas.yaml."""

    personas: dict[str, PersonaEntry]
