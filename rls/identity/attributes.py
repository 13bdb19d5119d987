"""Claims → attributes: the typed values that policies may use.

Takes decoded JSON (or a persona's YAML) and the declared attributes; returns values of exactly the declared types, or
the reasons why not. It owns the rule that nothing is coerced: `"1"` is not 1, `true` is not 1, 1.0 is not 1, `[]` is an
empty list and not the absence of a filter, `*` is a letter. JSON numbers with a fraction arrive as Decimal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Literal

from rls.identity.principal import AttributeValue, Scalar

__all__ = ["Attribute", "AttributeType", "Reading", "Refused", "read_attributes", "read_scalar", "read_value"]

AttributeType = Literal["string", "integer", "decimal", "boolean", "date", "timestamp"]

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIMESTAMP = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]([0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?)(Z|[+-][0-9]{2}:[0-9]{2})?"
)
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]{0,37})(?:\.[0-9]{1,38})?")
_INT64 = range(-(2**63), 2**63)


@dataclass(frozen=True, slots=True)
class Attribute:
    """A declared attribute.

    `list`: the value is a tuple of `type`. `readable`: callers may write `user.<name>` in their SQL. `max_length` is in
    characters (of each string), `max_items` in items of a list. `precision` and `scale` are a decimal's, as in
    DECIMAL(precision, scale). `pattern` is a regular expression for the whole string. A timestamp is in UTC and has no
    time zone.
    """

    name: str
    type: AttributeType
    list: bool = False
    required: bool = False
    readable: bool = False
    enum: tuple[Scalar, ...] | None = None
    pattern: str | None = None
    max_length: int = 256
    max_items: int = 256
    precision: int = 18
    scale: int = 6


class Refused(Exception):
    """A raw value is not one of the attribute."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read: values by attribute name, reasons for refusing the whole in order of declaration, warnings."""

    values: Mapping[str, AttributeValue] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def read_attributes(
    raw: Mapping[str, Any], declared: Mapping[str, Attribute], *, unknown: Literal["drop", "refuse", "ignore"]
) -> Reading:
    """Every declared attribute of `raw`.

    A missing or null optional attribute is absent. `unknown` says what an undeclared name does: `refuse` the whole,
    `drop` it with a warning, or `ignore` it where other claims stand beside the attributes.
    """
    values: dict[str, AttributeValue] = {}
    reasons: list[str] = []
    for name, attribute in declared.items():
        found = raw.get(name)
        if found is None:
            if attribute.required:
                reasons.append(f"attribute:{name}:missing")
            continue
        try:
            values[name] = read_value(attribute, found)
        except Refused as problem:
            reasons.append(f"attribute:{name}:{problem}")
    extra = [] if unknown == "ignore" else sorted(raw.keys() - declared.keys())
    if extra and unknown == "refuse":
        reasons.append("unknown_attribute")
    return Reading(
        values, tuple(reasons), tuple(f"attribute {show(name)} is not declared, dropped" for name in extra[:10])
    )


def read_value(attribute: Attribute, raw: Any) -> AttributeValue:
    """The value of an attribute from its JSON form; raises Refused with a word of `reasons.PROBLEMS`."""
    if not attribute.list:
        return read_scalar(attribute, raw)
    if not isinstance(raw, list):
        raise Refused("type")
    if len(raw) > attribute.max_items:
        raise Refused("too_many")
    if None in raw:
        # A null in a list would make `NOT IN` true for nobody and `IN` unknown for everybody: never meant.
        raise Refused("null")
    return tuple(read_scalar(attribute, item) for item in raw)


def read_scalar(attribute: Attribute, raw: Any) -> Scalar:
    """One value (or one item of a list) of an attribute; raises Refused."""
    value = _typed(attribute, raw)
    if attribute.enum is not None and value not in attribute.enum:
        raise Refused("enum")
    return value


def show(name: str) -> str:
    """A name from outside as it may stand in a warning: bounded, on one line.

    >>> print(show("a\\nb"), show("c" * 50))
    `a\\nb` `cccccccccccccccccccccccccccccccccccccccc…`
    """
    text = name.encode("unicode_escape").decode("ascii")
    return f"`{text[:40]}…`" if len(text) > 40 else f"`{text}`"


def _typed(attribute: Attribute, raw: Any) -> Scalar:
    match attribute.type:
        case "string":
            return _string(attribute, raw)
        case "integer":
            # bool is a subclass of int, hence `type`.
            if type(raw) is not int:
                raise Refused("type")
            if raw not in _INT64:
                raise Refused("range")
            return raw
        case "decimal":
            return _decimal(attribute, raw)
        case "boolean":
            if type(raw) is not bool:
                raise Refused("type")
            return raw
        case "date":
            # `fromisoformat` alone also takes `20260102` and `2026-W01-5`.
            if not isinstance(raw, str) or not _DATE.fullmatch(raw):
                raise Refused("type")
            try:
                return date.fromisoformat(raw)
            except ValueError:
                raise Refused("range") from None
        case "timestamp":
            return _timestamp(raw)


def _string(attribute: Attribute, raw: Any) -> str:
    if type(raw) is not str:
        raise Refused("type")
    if not raw.strip():
        # No user's tenant or region is the empty text, many rows' are: an unset value in the issuer's database.
        raise Refused("blank")
    if len(raw) > attribute.max_length:
        raise Refused("too_long")
    if "\0" in raw:
        # Engines disagree about it: DuckDB stores it, PostgreSQL refuses it, C code ends the text there.
        raise Refused("character")
    if attribute.pattern is not None and not re.fullmatch(attribute.pattern, raw):
        raise Refused("pattern")
    return raw


def _decimal(attribute: Attribute, raw: Any) -> Decimal:
    written = type(raw) is str and _DECIMAL.fullmatch(raw) is not None
    if not written and type(raw) is not int and type(raw) is not Decimal:
        raise Refused("type")
    value = Decimal(raw)
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int) or value.adjusted() >= attribute.precision - attribute.scale:
        raise Refused("range")
    if exponent < -76:
        # Before the value is written out: 1e-999999 would be a megabyte.
        raise Refused("scale")
    # One form per value: 1.50, 1.5 and 15E-1 are the same attribute (and the same key of a cache). Through text,
    # because Decimal's own operations round to the context's 28 digits.
    whole, _, fraction = f"{value:f}".partition(".")
    fraction = fraction.rstrip("0")
    if len(fraction) > attribute.scale:
        raise Refused("scale")
    return Decimal(f"{whole}.{fraction or 0}") if value else Decimal(0)


def _timestamp(raw: Any) -> datetime:
    found = _TIMESTAMP.fullmatch(raw) if isinstance(raw, str) else None
    if found is None:
        raise Refused("type")
    day, time, zone = found.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{time}{(zone or 'Z').replace('Z', '+00:00')}")
        return moment.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        raise Refused("range") from None
