"""How wide a text is on a terminal, for layout that needs no rich."""

from __future__ import annotations

import unicodedata

__all__ = ["cells", "counted", "is_number"]

_NUMBERS = frozenset(
    ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT",
     "FLOAT", "DOUBLE", "DECIMAL")
)  # fmt: skip


def is_number(type_text: str) -> bool:
    """Whether values of a DuckDB type are numbers, which stand at the right of their column.

    >>> is_number("DECIMAL(9,2)"), is_number("UUID"), is_number("INTEGER[]")
    (True, False, False)
    """
    return type_text.partition("(")[0] in _NUMBERS and not type_text.endswith("]")


def cells(text: str) -> int:
    """How many columns of a terminal a text takes.

    >>> cells("søn"), cells("東京")
    (3, 4)
    """
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def counted(number: int, one: str, many: str = "") -> str:
    """A number and what it counts.

    >>> counted(1, "row"), counted(2_000, "row"), counted(0, "policy", "policies")
    ('1 row', '2,000 rows', '0 policies')
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"
