"""DuckDB's types that other engines have as well, as kinds: what a lowered expression is, and what fits together.

Owns that two values meet only where all engines agree on what happens: everything else has no common kind.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from rls.errors import QueryRefused

__all__ = [
    "ANY_LENGTH", "INTEGERS", "KINDS", "NUMBERS", "Lowered", "common", "digits_after", "digits_cast", "digits_of",
    "is_day", "is_time", "kind_of", "listed_kind", "not_portable",
    "shown_kind",
]  # fmt: skip

KINDS: Final = (
    "BOOLEAN", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "DECIMAL", "FLOAT", "DOUBLE", "VARCHAR", "ENUM", "DATE",
    "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "INTERVAL", "UUID",
    "VARCHAR[]", "BIGINT[]", "DATE[]", "DOUBLE[]", "BOOLEAN[]",
)  # fmt: skip
"""What a lowered expression may be; an engine may lack some of them. Lists are attributes' only."""

INTEGERS: Final = ("SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
NUMBERS: Final = (*INTEGERS, "DECIMAL", "DOUBLE")

ANY_LENGTH: Final = 1 << 20
"""`digits` of a number that may have more than any type of DuckDB's has room for."""

# How texts look that all engines read as the same day or time, where there is one.
_ROWS: Final = 19  # digits of how many rows there may be
_PRECISION: Final = 18  # digits of a DOUBLE, and one for rounding
_DAY: Final = re.compile(r"[12]\d{3}-\d\d-\d\d")
_TIME: Final = re.compile(r"[12]\d{3}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?)?")


@dataclass(frozen=True, slots=True)
class Lowered:
    """An expression in the engine's SQL, which may stand anywhere, and its kind (`NULL` for a bare NULL).

    `literal` is the value of a text literal, which may become a day or a time; `plain` says that it is a column of a
    sub-query, whose collation is settled. `digits` is how many digits a number has at most, before and after its point,
    on any row; of a DOUBLE, that it is zero or as many powers of ten from 1 at most; None where not known.
    """

    text: str
    kind: str
    literal: str | None = None
    plain: bool = False
    digits: int | None = None


def not_portable(construct: str, *, hint: str = "write it in another way") -> QueryRefused:
    """The refusal of what the engine lacks, or does in another way."""
    return QueryRefused("query.not_portable", f"this engine cannot run {construct[:80]} as DuckDB does", hint=hint)


def kind_of(type_: str) -> str | None:
    """The kind of a DuckDB type's text; None where there is none.

    >>> kind_of("DECIMAL(9,2)"), kind_of("ENUM('a', 'b')"), kind_of("STRUCT(a INTEGER)")
    ('DECIMAL', 'ENUM', None)
    """
    if type_.startswith("ENUM("):
        return None if type_.endswith("]") else "ENUM"
    name = re.sub(r"^DECIMAL\(\d+,\s*\d+\)$", "DECIMAL", type_)
    return name if name in KINDS and not name.endswith("[]") else None


def listed_kind(kind: str) -> str:
    """The kind of a list that is stored, or that an aggregate makes of values of a kind: to be shown, and nothing
    else."""
    return f"list of {kind}"


def shown_kind(type_: str) -> str:
    """The kind of a stored or shown value by its DuckDB type, which may be one that has no operations.

    >>> shown_kind("DECIMAL(9,2)"), shown_kind("INTEGER[]"), shown_kind("JSON")
    ('DECIMAL', 'list of INTEGER', 'JSON')
    """
    items = kind_of(type_[:-2]) if type_.endswith("[]") else None
    return listed_kind(items) if items else kind_of(type_) or type_


def digits_of(type_: str) -> int | None:
    """How many digits a value of a DuckDB type has at most; None where that has no bound, or is not known.

    >>> digits_of("DECIMAL(9,2)"), digits_of("INTEGER"), digits_of("DOUBLE")
    (9, 10, None)
    """
    decimal = re.fullmatch(r"DECIMAL\((\d+),\s*\d+\)", type_)
    return int(decimal[1]) if decimal else {"SMALLINT": 5, "INTEGER": 10, "BIGINT": 19}.get(type_)


def digits_after(operation: str, *operands: Lowered) -> int | None:
    """How many digits the result of `+`, `-`, `*`, `/`, `neg`, `sum` or `avg` has at most; None where that is not
    known."""
    known = [one.digits for one in operands if one.digits is not None]
    if len(known) != len(operands) or any(one.kind not in NUMBERS for one in operands):
        return None
    floating = any(one.kind == "DOUBLE" for one in operands)
    match operation:
        case "neg":
            return known[0]
        case "*" | "/":
            return sum(known) + (floating or operation == "/")
        case "sum":
            return known[0] + _ROWS + (_PRECISION if floating else 0)
        case "avg":
            return known[0] + _ROWS + _PRECISION
        case "+" | "-" if floating:
            # What is left of two almost equal ones is as small as their last digits.
            return max(known) + _PRECISION
        case "+" | "-" if all(one.kind in INTEGERS for one in operands):
            return max(known) + 1
        case "+" | "-":
            # One may have its digits before the point, the other behind it.
            return sum(known) + 1
    return None


def digits_cast(value: Lowered, type_: str) -> int | None:
    """How many digits a value has at most once it is cast to a DuckDB type; None where that is not known."""
    kept = value.digits if value.kind in INTEGERS and type_ in INTEGERS else None
    return min((one for one in (kept, digits_of(type_)) if one is not None), default=None)


def common(kinds: Iterable[str]) -> str | None:
    """The kind in which such values are compared or united, as DuckDB chooses it; None where it has none here."""
    found = set(kinds) - {"NULL"}
    if len(found) <= 1:
        return found.pop() if found else "NULL"
    if found <= set(NUMBERS):
        return max(found, key=NUMBERS.index)
    if found == {"DATE", "TIMESTAMP"}:
        return "TIMESTAMP"
    if found == {"VARCHAR", "ENUM"}:
        return "VARCHAR"
    if found == {"FLOAT", "DOUBLE"}:
        return "DOUBLE"
    return None


def is_day(text: str | None) -> bool:
    """Whether a text is a day to every engine, and the same one."""
    return _is_moment(text, _DAY)


def is_time(text: str | None) -> bool:
    """Whether a text is a time to every engine, and the same one."""
    return _is_moment(text, _TIME)


def _is_moment(text: str | None, shape: re.Pattern[str]) -> bool:
    if text is None or not shape.fullmatch(text):
        return False
    try:
        # Python's own reader wants three or six digits of a second; which digits they are does not matter.
        datetime.fromisoformat(text.partition(".")[0])
    except ValueError:
        return False
    return True
