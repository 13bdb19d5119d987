"""Operators over a column and a value, as rule editors offer them → SQL conditions; for Toucan's rules and Cube's.

Takes an operator's name, the column's SQL and values (literals or attributes, as SQL); returns a condition. Owns the
vocabulary: an operator that is not listed is not guessed at.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rls.lab.importing.model import NotCarried

__all__ = ["condition"]

_COMPARISONS: Final = {
    "=": "=", "==": "=", "eq": "=", "equals": "=", "is": "=",
    ">": ">", "gt": ">", "greater_than": ">", "later_than": ">", "after": ">", "afterdate": ">",
    ">=": ">=", "≥": ">=", "gte": ">=", "ge": ">=", "greater_or_equal": ">=",
    "afterorondate": ">=",
    "<": "<", "lt": "<", "less_than": "<", "sooner_than": "<", "before": "<", "beforedate": "<",
    "<=": "<=", "≤": "<=", "lte": "<=", "le": "<=", "less_or_equal": "<=", "beforeorondate": "<=",
}  # fmt: skip
_NOT_EQUAL: Final = frozenset(("≠", "!=", "<>", "ne", "not_equals", "notequals", "is_not"))
_IN: Final = frozenset(("in", "one_of"))
_NOT_IN: Final = frozenset(("not_in", "notin", "nin"))
_SET: Final = frozenset(("set", "is_set", "exists"))
_NOT_SET: Final = frozenset(("not_set", "notset", "is_not_set"))


def condition(operator: str, column: str, values: Sequence[str], *, many: bool, nulls: bool, fold: bool) -> str:
    """A condition. `many`: the value is one list attribute; `nulls`: a row without a value differs from every value;
    `fold`: texts are searched in without regard to case.

    >>> condition("in", "region", ["user.regions"], many=True, nulls=False, fold=False)
    'region IN user.regions'
    """
    name = operator.strip().lower().replace(" ", "_")
    if name in _SET or name in _NOT_SET:
        return f"{column} IS {'NOT ' if name in _SET else ''}NULL"
    if not values:
        raise NotCarried(f"operator `{operator}` without a value")
    found = _positive(name, operator, column, values, many=many, fold=fold)
    negative = name in _NOT_EQUAL or name in _NOT_IN or name in ("notcontains", "not_contains")
    if not negative:
        return found
    return f"(NOT ({found}) OR {column} IS NULL)" if nulls else f"NOT ({found})"


def _positive(name: str, operator: str, column: str, values: Sequence[str], *, many: bool, fold: bool) -> str:
    """What the operator asks, or what its opposite does."""
    listed = f"{column} IN {values[0]}" if many else f"{column} IN ({', '.join(values)})"
    if name in _IN or name in _NOT_IN:
        return listed
    if name in _NOT_EQUAL or _COMPARISONS.get(name) == "=":
        return listed if many or len(values) > 1 else f"{column} = {values[0]}"
    if many:
        raise NotCarried(f"operator `{operator}` with a list attribute")
    if name in _COMPARISONS:
        if len(values) > 1:
            raise NotCarried(f"operator `{operator}` with several values")
        return f"{column} {_COMPARISONS[name]} {values[0]}"
    function = {
        "contains": "contains",
        "notcontains": "contains",
        "not_contains": "contains",
        "startswith": "starts_with",
        "starts_with": "starts_with",
        "endswith": "ends_with",
        "ends_with": "ends_with",
    }.get(name)
    if function is None:
        raise NotCarried(f"operator `{operator}` is not known")
    searched = f"lower({column})" if fold else column
    parts = [f"{function}({searched}, {f'lower({value})' if fold else value})" for value in values]
    return parts[0] if len(parts) == 1 else f"({' OR '.join(parts)})"
