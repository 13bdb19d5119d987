"""A `pattern` of the identity file → whether it may be used on values that strangers choose. Pure.

Python's regular expressions try one way after the other to match; a value made for it keeps `(a+)+b` busy for years,
and with it the whole process. Owns that no pattern is used that has more ways than can be tried in some 200 ms.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from re import _parser  # type: ignore[attr-defined] # the tree of a pattern is public nowhere
from typing import Any, Final

__all__ = ["why_unusable"]

# `a?` 21 times in a row has as many, on a text that does not match at its end: measured, 0.2 s. Most patterns have by
# far fewer than are counted here, since what stands between two repetitions decides where one ends.
MOST_WAYS: Final = 1 << 21


def why_unusable(pattern: str, *, max_length: int) -> str | None:
    """Why a pattern may not be used for texts of at most `max_length` characters; None where it may.

    >>> why_unusable("[A-Z]{2}-[0-9]+", max_length=64) is None
    True
    >>> why_unusable("(a+)+b", max_length=64)
    'can be matched in too many ways'
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of what a later Python reads differently
            re.compile(pattern)
            tree = _parser.parse(pattern)
    except (re.error, OverflowError, RecursionError, Warning):
        return "is not a regular expression"
    return None if _ways(tree, max_length) <= MOST_WAYS else "can be matched in too many ways"


def _ways(items: Iterable[Any], longest: int) -> int:
    """How many ways there are at most to match a sequence, up to a few more than `MOST_WAYS`."""
    found = 1
    for operation, argument in items:
        found = min(found * _ways_of(str(operation), argument, longest), MOST_WAYS + 1)
    return found


def _ways_of(operation: str, argument: Any, longest: int) -> int:
    match operation:
        case "LITERAL" | "NOT_LITERAL" | "IN" | "ANY" | "AT" | "GROUPREF":
            return 1
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            least, most, body = argument
            return _repeated(_ways(body, longest), int(least), min(int(most), longest))
        case "SUBPATTERN":
            return _ways(argument[-1], longest)
        case "ATOMIC_GROUP":
            return _ways(argument, longest)
        case "ASSERT" | "ASSERT_NOT":
            return _ways(argument[1], longest)
        case "BRANCH":
            return sum(_ways(each, longest) for each in argument[1])
        case _:
            return MOST_WAYS + 1


def _repeated(ways: int, least: int, most: int) -> int:
    """Of `least` to `most` times something that can be matched in so many ways."""
    if ways <= 1:
        return max(most - least + 1, 1)
    found, power = 0, 1
    for count in range(most + 1):
        found += power if count >= least else 0
        power *= ways
        if max(found, power) > MOST_WAYS:
            return MOST_WAYS + 1
    return max(found, 1)
