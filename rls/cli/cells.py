"""How wide a text is on a terminal, for layout that needs no rich."""

from __future__ import annotations

import unicodedata

__all__ = ["cells"]


def cells(text: str) -> int:
    """How many columns of a terminal a text takes.

    >>> cells("søn"), cells("東京")
    (3, 4)
    """
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
