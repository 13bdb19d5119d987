"""Attributes of the identity file as SQL sees them: the type they are cast to, and whether a value fits it.

Takes the declared attributes; returns `Attribute` views by folded name, with `subject`, `roles` and `agent` added. It
owns the rule that a value which is not exactly of its declared type is treated as missing (deny): no coercion.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Final

from rls.catalog import fold
from rls.identity.attributes import Attribute as Declared
from rls.identity.principal import Principal

__all__ = ["KINDS", "Attribute", "attributes_by_name", "known_values"]

KINDS: Final = {
    "string": "VARCHAR",
    "integer": "BIGINT",
    "decimal": "DECIMAL",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
}


@dataclass(frozen=True, slots=True)
class Attribute:
    """What `user.<name>` means in SQL: `kind` is the identity file's type name, `many` marks a list."""

    name: str
    kind: str
    many: bool = False
    precision: int = 18
    scale: int = 6

    @property
    def type(self) -> str:
        """DuckDB's type text: `VARCHAR`, `BIGINT[]`."""
        # With the declared digits: DuckDB's DECIMAL alone is DECIMAL(18,3), and a limit of 0.0004 would round to 0.
        digits = f"({self.precision},{self.scale})" if self.kind == "decimal" else ""
        return KINDS[self.kind] + digits + ("[]" if self.many else "")

    @property
    def parameter(self) -> str:
        """The parameter's name, without `$`."""
        return f"rls_{fold(self.name)}"

    @property
    def sql(self) -> str:
        """The text that stands for the attribute in a guard.

        >>> Attribute("regions", "string", many=True).sql
        'CAST($rls_regions AS VARCHAR[])'
        """
        return f"CAST(${self.parameter} AS {self.type})"


# `agent` is missing unless somebody acts for the subject: `user.agent IS NULL` is true for people themselves.
BUILT_IN: Final = (
    Attribute("subject", "string"),
    Attribute("roles", "string", many=True),
    Attribute("agent", "string"),
)


def attributes_by_name(declared: Mapping[str, Declared]) -> dict[str, Attribute]:
    """Folded name → attribute, for the identity file's attributes and the built-in ones."""
    found = {fold(a.name): a for a in BUILT_IN}
    for name, declaration in declared.items():
        attribute = Attribute(name, declaration.type, bool(declaration.list), declaration.precision, declaration.scale)
        found[fold(name)] = attribute
    return found


def known_values(principal: Principal, attributes: Mapping[str, Attribute]) -> dict[str, object]:
    """Folded name → value to bind, for the attributes this principal has and whose value fits the declared type.

    A list attribute is a Python list. What is not here is missing, whatever the reason.
    """
    raw: dict[str, object] = {"subject": principal.subject, "roles": tuple(sorted(principal.roles))}
    raw["agent"] = principal.agent
    for declared, given in principal.attributes.items():
        raw.setdefault(fold(declared), given)
    known: dict[str, object] = {}
    for name, value in raw.items():
        attribute = attributes.get(name)
        if attribute is None:
            continue
        if attribute.many:
            if isinstance(value, tuple | list) and all(_fits(item, attribute) for item in value):
                known[name] = list(value)
        elif _fits(value, attribute):
            known[name] = value
    return known


def _fits(value: object, attribute: Attribute) -> bool:
    match attribute.kind:
        case "string":
            return type(value) is str
        case "integer":
            return type(value) is int and -(2**63) <= value < 2**63
        case "decimal":
            return type(value) is Decimal and _decimal_fits(value, attribute)
        case "boolean":
            return type(value) is bool
        case "date":
            return type(value) is date
        case "timestamp":
            # With a zone, the session's zone would decide what a TIMESTAMP column is compared with.
            return type(value) is datetime and value.tzinfo is None
        case _:
            return False


def _decimal_fits(value: Decimal, attribute: Attribute) -> bool:
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int):
        return False
    whole = value.adjusted() + 1 if value else 0
    return -exponent <= attribute.scale and whole <= attribute.precision - attribute.scale
