"""The caller's own parameters: checked to be plain values under plain names, before anything sees them.

Takes what `query(…, parameters)` was given; returns the names, for the record. Owns that no object with behaviour of
its own reaches the engine (a DataFrame would be scanned, a subclass could change between check and use), and that the
guard's names (`rls_…`) stay the guard's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

from rls.catalog import fold
from rls.engines.limits import Limits
from rls.errors import QueryRefused

__all__ = ["bind", "check_parameters", "parameter_types"]

_SCALARS: Final = (type(None), bool, int, float, str, bytes, Decimal, date, datetime, time, timedelta, UUID)
_NAME: Final = re.compile(r"[A-Za-z0-9_]{1,64}")
_MAX_DEPTH: Final = 8


def check_parameters(parameters: object, limits: Limits) -> tuple[str, ...]:
    """The names, sorted. Raises `QueryRefused`: `query.parameters`, `query.parameter`, `query.parameter_value`."""
    if not isinstance(parameters, Mapping):
        raise QueryRefused("query.parameters", "parameters are given by name", hint='give {"name": value}')
    seen: set[str] = set()
    values = 0
    for name, value in parameters.items():
        if type(name) is not str or not _NAME.fullmatch(name):
            raise QueryRefused("query.parameter", "a parameter's name is letters, digits and `_`", hint="rename it")
        if fold(name).startswith("rls_"):
            raise QueryRefused("query.parameter", "parameters that start with `rls_` are reserved", hint="rename them")
        if fold(name) in seen:
            raise QueryRefused("query.parameter", f"the parameter `{name}` is given twice", hint="case does not matter")
        seen.add(fold(name))
        values += _count(name, value, depth=0)
    if values > limits.parameters:
        raise QueryRefused(
            "query.parameters", f"more than {limits.parameters} values are given", hint="read them from a relation"
        )
    return tuple(sorted(parameters))


def bind(own: Mapping[str, object], given: Mapping[str, object], *, named: Iterable[str]) -> dict[str, object]:
    """The values of the parameters that a text names, under its names: a guard's `own`, and those that its caller has
    `given`, which must be exactly the others.

    Raises `QueryRefused` (`query.parameter_unknown`, `query.parameter_missing`).

    >>> bind({"rls_tenant": "acme", "rls_x": 1}, {"N": 7}, named=["rls_tenant", "n"])
    {'rls_tenant': 'acme', 'n': 7}
    """
    wanted = {fold(name): name for name in named}
    values = {wanted[fold(name)]: value for name, value in own.items() if fold(name) in wanted}
    for name, value in given.items():
        if fold(name) not in wanted or wanted[fold(name)] in values:
            raise QueryRefused(
                "query.parameter_unknown", f"the query has no parameter `${name[:60]}`", hint="leave it out"
            )
        values[wanted[fold(name)]] = value
    for name in wanted.values():
        if name not in values:
            raise QueryRefused(
                "query.parameter_missing", f"no value is given for the parameter `${name[:60]}`", hint="give one"
            )
    return values


def parameter_types(parameters: Mapping[str, object]) -> dict[str, str]:
    """DuckDB's types of the values that are scalars, by name: as its Python client binds them.

    >>> parameter_types({"a": 7, "b": 2**40, "c": "x", "d": None})
    {'a': 'INTEGER', 'b': 'BIGINT', 'c': 'VARCHAR'}
    """
    found = {name: _type_of(value) for name, value in parameters.items()}
    return {name: type_ for name, type_ in found.items() if type_ is not None}


def _type_of(value: object) -> str | None:
    match value:
        case bool():
            return "BOOLEAN"
        case int():
            return "INTEGER" if -(2**31) <= value < 2**31 else "BIGINT" if -(2**63) <= value < 2**63 else None
        case float():
            return "DOUBLE"
        case str():
            return "VARCHAR"
        case datetime():
            return "TIMESTAMP" if value.tzinfo is None else "TIMESTAMP WITH TIME ZONE"
        case date():
            return "DATE"
        case _:
            return None


def _count(name: str, value: object, *, depth: int) -> int:
    """How many values a value is; only exactly the listed types are plain."""
    if type(value) in _SCALARS:
        if isinstance(value, str) and not value.isascii():
            _check_unicode(name, value)
        return 1
    if depth < _MAX_DEPTH:
        if isinstance(value, list | tuple) and type(value) in (list, tuple):
            return 1 + sum(_count(name, item, depth=depth + 1) for item in value)
        if isinstance(value, dict) and type(value) is dict and all(type(key) is str for key in value):
            return 1 + sum(_count(name, item, depth=depth + 1) for item in value.values())
    raise QueryRefused(
        "query.parameter_value",
        f"the value of the parameter `{name}` is of a kind that cannot be bound",
        hint="give numbers, texts, dates, lists of them, or None",
    )


def _check_unicode(name: str, value: str) -> None:
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise QueryRefused(
            "query.parameter_value", f"the value of the parameter `{name}` holds half of a surrogate pair"
        )
