"""The principal: who asks, as verified. It imports nothing and can do nothing; invariant (identity) is kept by
`verify`, the only module that makes one for the engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Literal

__all__ = ["AttributeValue", "Principal", "Scalar"]

Scalar = str | int | Decimal | bool | date | datetime
AttributeValue = Scalar | tuple[Scalar, ...]


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Principal:
    """Who asks.

    `subject` is the stable id (`distinctId`), `roles` are those declared in the identity file, `attributes` hold only
    declared names with values of their declared type (a list attribute is a tuple); `expires_at` is a Unix time in
    seconds. `agent` is who acts for the subject, and `actors` the chain of those who acted, that one first (RFC 8693
    section 4.1: the others are for the record, and decide nothing). `assurance` is `token` for a verified token and
    `persona` for a named principal of a test file, which the engine never runs a query for.
    """

    subject: str
    roles: frozenset[str] = frozenset()
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    issuer: str = ""
    token_id: str | None = None
    expires_at: int = 0
    assurance: Literal["token", "persona"] = "token"
    warnings: tuple[str, ...] = ()
    agent: str | None = None
    actors: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "attributes", MappingProxyType(dict(self.attributes)))
