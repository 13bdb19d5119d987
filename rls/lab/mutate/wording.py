"""Two texts of one condition → what differs between them, with a few words around it, and short names of long ones.

Takes texts; returns texts. Owns that a change deep inside a sub-query is told by the place where it is.
"""

from __future__ import annotations

from itertools import takewhile
from typing import Final

__all__ = ["LONG", "difference", "one_line", "short"]

LONG: Final = 60
AROUND: Final = 6  # words on each side


def one_line(text: str) -> str:
    """Without line breaks, and one space where there were more."""
    return " ".join(text.split())


def short(text: str) -> str:
    """The beginning of a long text."""
    return text if len(text) <= LONG else f"{text[: LONG - 1].rstrip()}…"


def difference(before: str, after: str, *, around: int = AROUND) -> tuple[str, str]:
    """What stands in one text where the other has something else, `around` words on each side included.

    >>> difference("a IN (SELECT b FROM c WHERE d = 1)", "a IN (SELECT b FROM c WHERE d != 1)", around=1)
    ('… d = 1)', '… d != 1)')
    """
    one, other = before.split(), after.split()
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
    rest = min(len(one), len(other)) - same
    alike = zip(one[::-1][:rest], other[::-1][:rest], strict=True)
    last = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], alike))
    first, last = max(0, same - around), max(0, last - around)
    return _part(one, first, last), _part(other, first, last)


def _part(words: list[str], first: int, last: int) -> str:
    told = words[first : len(words) - last]
    return " ".join([*(["…"] if first else []), *told, *(["…"] if last else [])])
