"""A value and a secret key → a hash that tells equal values from different ones, and nothing else without the key.

Takes attribute and parameter values; returns 128 bits of an HMAC-SHA-256, hexadecimal. Owns that equal values have
equal hashes whatever their spelling (`1.0`, `1.00`), that the same value under two names has two, and that nobody gets
a hash of a value of their choice that tells of anybody else.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID

__all__ = ["KeyedHash", "plain_text"]

_DIGITS = 32


class KeyedHash:
    """Hashes under one key. `name` identifies the key without telling anything of it."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.name = hmac.digest(key, b"rls audit hash key", "sha256").hex()[:16]

    @classmethod
    def ephemeral(cls) -> KeyedHash:
        """Under a key that nobody else has and nobody will: equal values of one engine can be told, and no more."""
        made = cls(secrets.token_bytes(32))
        made.name = f"ephemeral:{made.name}"
        return made

    @property
    def is_ephemeral(self) -> bool:
        return self.name.startswith("ephemeral:")

    def value(self, name: str, value: object) -> str:
        """The hash of a value under a name; raises TypeError for what is no attribute's and no parameter's value.

        >>> keyed = KeyedHash(b"k" * 32)
        >>> keyed.value("limit", Decimal("1.0")) == keyed.value("limit", Decimal("1.00"))
        True
        >>> keyed.value("limit", 1) == keyed.value("limit", True)
        False
        """
        text = f"value\0{name}\0{_canonical(value)}".encode(errors="surrogatepass")
        return hmac.digest(self._key, text, "sha256").hex()[:_DIGITS]

    def values(self, values: Mapping[str, object]) -> dict[str, str]:
        """The hashes of named values, sorted by name."""
        return {name: self.value(name, values[name]) for name in sorted(values)}

    def parameters(self, values: Mapping[str, object], *, subject: str) -> dict[str, str]:
        """The hashes of what a subject binds, sorted by name. Another subject's hashes are others, and none is an
        attribute's: who may read records and bind values could find out by trying what others bound, or are.

        >>> keyed = KeyedHash(b"k" * 32)
        >>> amir, bea = (keyed.parameters({"tenant": "acme"}, subject=subject)["tenant"] for subject in ("a", "b"))
        >>> len({amir, bea, keyed.value("tenant", "acme")})
        3
        """
        return {name: self.value(f"{_counted(subject)}\0{name}", values[name]) for name in sorted(values)}

    def text(self, text: str) -> str:
        """The hash of a query's text: 256 bits, as `plain_text` gives without a key."""
        return hmac.digest(self._key, b"text\0" + text.encode(errors="surrogatepass"), "sha256").hex()


def plain_text(text: str) -> str:
    """SHA-256 of a text, hexadecimal."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def _canonical(value: object) -> str:
    """A text per value: of two values, the same exactly where they are equal and of one type."""
    match value:
        case None:
            return "null"
        case bool():
            return f"bool:{value}"
        case int():
            return f"int:{value}"
        case str():
            return f"str:{value}"
        case float():
            return f"float:{value!r}"
        case Decimal():
            return f"decimal:{value.normalize():f}" if value.is_finite() else f"decimal:{value}"
        case datetime() | date() | time():
            return f"{type(value).__name__}:{value.isoformat()}"
        case timedelta():
            return f"timedelta:{value // timedelta(microseconds=1)}"
        case bytes():
            return f"bytes:{value.hex()}"
        case UUID():
            return f"uuid:{value}"
        case list() | tuple():
            return "list:" + _counted_all(value)
        case dict():
            return "map:" + "".join(_counted(key) + _counted(value[key]) for key in sorted(value))
        case _:
            raise TypeError("no value of an attribute or a parameter")


def _counted_all(items: Sequence[object]) -> str:
    kinds = set(map(type, items))
    if kinds not in ({str}, {int}):
        return "".join(map(_counted, items))
    # An attribute may be a list of ten thousand, hashed for every record: the same text, without a call for each item.
    prefix = f"{kinds.pop().__name__}:"
    texts = [f"{prefix}{item}" for item in items]
    return "".join([f"{len(text)}:{text}" for text in texts])


def _counted(item: object) -> str:
    """With its length in front, so that no item's text can be taken for two."""
    text = _canonical(item)
    return f"{len(text)}:{text}"
