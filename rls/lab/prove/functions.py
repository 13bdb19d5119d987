"""Functions whose meaning the prover knows: a name and its arguments → what it gives, or None for all others.

Owns that a function is here only if its formula is exact for every argument of the kinds asked for, or is not when
DuckDB raises: then the query has no answer, and no row is seen.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import z3

from rls.lab.prove.terms import Term, negated, text_value

__all__ = ["apply", "like_matches", "like_prefix"]

_PREFIX = frozenset(("prefix", "starts_with", "^@"))
_MAX_WHOLE = 38


def apply(name: str, terms: Sequence[Term]) -> Term | None:
    """What a call gives; None where it is not modelled."""
    kinds = [term.kind for term in terms]
    null = z3.Or(*(term.null for term in terms)) if terms else None
    match name, kinds:
        case (("~~" | "!~~"), ["text", "text"]) if isinstance(terms[1].literal, str):
            pattern = terms[1].literal
            if not set(pattern) & set("%_"):
                found = Term("boolean", terms[0].value == terms[1].value, null, "BOOLEAN")
            elif (prefix := like_prefix(pattern)) is None or (like := _begins_with(terms[0], prefix, null)) is None:
                return None
            else:
                found = like
            return found if name == "~~" else negated(found)
        case _, ["text", "text"] if name in _PREFIX and isinstance(terms[1].literal, str) and terms[1].literal:
            return _begins_with(terms[0], terms[1].literal, null)
        case (("+" | "-"), ["date", "number"]) if not terms[1].digits[1]:
            days = terms[1].value if name == "+" else -terms[1].value
            return Term("date", terms[0].value + days, null, "DATE")
        case (("+" | "-" | "*"), ["number", "number"]):
            return _arithmetic(name, terms[0], terms[1], null)
        case "-", ["number"]:
            return Term("number", -terms[0].value, null, terms[0].type, terms[0].digits)
        case "%", ["number", "number"] if isinstance(terms[1].literal, int) and terms[1].literal > 0:
            if terms[0].digits[1] or terms[0].value.sort() != z3.IntSort():
                return None
            # The remainder has the sign of the number, not of the divisor.
            value, divisor = terms[0].value, terms[1].value
            remainder = z3.If(value >= 0, value % divisor, -((-value) % divisor))
            return Term("number", remainder, null, terms[0].type, terms[0].digits)
        case _:
            return None


def _arithmetic(name: str, left: Term, right: Term, null: Any) -> Term | None:
    whole = max(left.digits[0], right.digits[0]) + 1 if name != "*" else left.digits[0] + right.digits[0]
    scale = max(left.digits[1], right.digits[1]) if name != "*" else left.digits[1] + right.digits[1]
    if whole + scale > _MAX_WHOLE:
        return None  # DuckDB goes over to floats
    if scale and name == "*":
        return None
    value = {"+": left.value + right.value, "-": left.value - right.value, "*": left.value * right.value}[name]
    return Term("number", value, null, "", (whole, scale))


def like_prefix(pattern: str) -> str | None:
    """The text that a LIKE pattern asks to begin with, where it asks for nothing else; None for other patterns.

    >>> like_prefix("EU-%"), like_prefix("%x"), like_prefix("plain")
    ('EU-', None, None)
    """
    body = pattern.rstrip("%")
    return None if body == pattern or not body or set(body) & set("%_") else body


def like_matches(text: str, pattern: str) -> bool:
    """LIKE without ESCAPE: `%` is any text, `_` one character, all else stands for itself."""
    parts = (".*" if c == "%" else "." if c == "_" else re.escape(c) for c in pattern)
    return re.fullmatch("".join(parts), text, re.DOTALL) is not None


def _begins_with(text: Term, prefix: str, null: Any) -> Term | None:
    # Texts that begin with `EU-` are those from `EU-` up to, and without, `EU.`: the next letter after its last.
    last = ord(prefix[-1])
    if last >= 0xD7FF:
        return None
    after = text_value(prefix[:-1] + chr(last + 1))
    return Term("boolean", z3.And(text_value(prefix) <= text.value, text.value < after), null, "BOOLEAN")
