"""Calls of every function that callers may use, with arguments of fitting types.

It takes the reviewed table and DuckDB's own list of overloads and offers `Overload`s by result type. Whether a call
binds, and to which type, is asked of an empty instance (`Binder`): declared types say too little (`ANY`, `T[]`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import duckdb

from rls.rewrite.functions import reviews
from tests.fuzz.parameters import bound
from tests.judging.oracle import quoted

__all__ = ["ORDER_BOUND", "Binder", "Overload", "by_name", "overloads", "texts_for"]

# Another value each time, or the clock: two answers differ without a leak. Sleeping and bombs only cost time.
_UNSTABLE = re.compile(
    r"random$|.*uuid.*|now$|today$|ago$|age$|current_|get_current_|transaction_timestamp|setseed|.*localtime|sleep"
    r"|.*like_escape|repeat|lpad|rpad|bitstring|.*range$|generate_series|list_resize|array_resize|user$|session_user"
)
# Results that follow the order or the sample in which rows come: not defined by the query.
ORDER_BOUND = re.compile(
    r"list$|array_agg|first|last|any_value|arbitrary|string_agg|group_concat|listagg|arg_m|m(in|ax)_by|mode$|reservoir_"
    r"|approx_|json_group|variant_group|histogram|bitstring_agg|product$|.*kurtosis|.*skew|.*entropy|sem$|corr$|covar|regr"
    r"|stddev|var|favg|fsum|kahan|sumkahan|geomean|geometric_mean|mad$|.*avg|sum_no_overflow|count_if|countif"
)
# A hundred names of one function: drawn as one.
_COLLATION = re.compile(r"(?:icu_)?collate_")
_NAME = re.compile(r"[a-z_][a-z0-9_]*")

_FORMATS = ("'%Y-%m-%d'", "'%d %b'", "'%s'", "'{}'", "'%d'")
_PARTS = ("'month'", "'day'", "'hour'", "'dow'", "'epoch'", "'millennium'")
_PATTERNS = ("'^a'", "'[0-9]+'", "'(a)(b)?'", "'%a%'", "'x|y'", "'.*'")
_PATHS = ("'$.a'", "'a'", "'$.b[0]'", "'$[1]'", "'/a'")
_BY_NAME = (
    (re.compile(r"part|ts_?unit|specifier"), _PARTS),
    (re.compile(r"format"), _FORMATS),
    (re.compile(r"regex|pattern|like_specifier"), _PATTERNS),
    (re.compile(r"path"), _PATHS),
    (re.compile(r"separator|delim|sep"), ("','", "'a'", "''")),
    (re.compile(r"options"), ("'i'", "'g'")),
    (re.compile(r"timezone|zone|tz"), ("'UTC'", "'Europe/Paris'")),
)


@dataclass(frozen=True)
class Overload:
    """One way to call a function: `parameters` and `result` are DuckDB's type texts, `ANY` and the like included."""

    name: str
    kind: str
    parameters: tuple[str, ...]
    names: tuple[str, ...]
    varargs: str
    result: str


def texts_for(parameter: str) -> tuple[str, ...]:
    """Literals that suit a text parameter of this name; none where any text does."""
    return next((values for pattern, values in _BY_NAME if pattern.search(parameter)), ())


@cache
def overloads() -> tuple[Overload, ...]:
    """All overloads of allowed functions that have a name to write, in a stable order."""
    allowed = {
        (row.name, row.kinds[0])
        for row in reviews()
        if row.verdict != "forbidden" and row.kinds[0] in ("scalar", "aggregate", "macro")
    }
    forbidden = {
        row.name for row in reviews() if row.verdict == "forbidden" and row.kinds[0] in ("scalar", "aggregate", "macro")
    }
    with duckdb.connect() as connection:
        rows = connection.execute(
            "SELECT DISTINCT lower(function_name), function_type, parameter_types, parameters, varargs, return_type "
            "FROM duckdb_functions() WHERE function_type IN ('scalar', 'aggregate', 'macro') ORDER BY ALL"
        ).fetchall()
    found = []
    for name, kind, types, names, varargs, result in rows:
        if (name, kind) not in allowed or name in forbidden or _UNSTABLE.match(name) or not _NAME.fullmatch(name):
            continue
        # Macros declare names only.
        parameters = tuple((types or [])[n] if n < len(types or []) and types[n] else "ANY" for n in range(len(names)))
        found.append(Overload(name, kind, parameters, tuple(names), varargs or "", result or "ANY"))
    return tuple(found)


@cache
def overloads_for(kind: str, result: str) -> tuple[Overload, ...]:
    """Overloads of a kind that may give `result`: its own type first of all, or one that follows the arguments."""
    return tuple(o for o in overloads() if (o.kind == "aggregate") == (kind == "aggregate") and o.result == result)


@cache
def overloads_of(kind: str) -> tuple[Overload, ...]:
    """Overloads of a kind."""
    return tuple(o for o in overloads() if (o.kind == "aggregate") == (kind == "aggregate"))


@cache
def by_name(pool: tuple[Overload, ...]) -> tuple[tuple[Overload, ...], ...]:
    """A pool's overloads, together where one function has many: `date_part` has forty overloads, `lower` one."""
    found: dict[str, list[Overload]] = {}
    for overload in pool:
        found.setdefault("collate" if _COLLATION.match(overload.name) else overload.name, []).append(overload)
    return tuple(map(tuple, found.values()))


class Binder:
    """An empty copy of what the principal sees: tells whether a text binds, and the types it gives."""

    def __init__(self, columns: dict[tuple[str, ...], list[tuple[str, str]]], *, name: str) -> None:
        self.connection = duckdb.connect()
        # Qualified names of callers start with the name of the database.
        self.connection.execute(f"ATTACH ':memory:' AS {name}")
        self.connection.execute(f"USE {name}")
        for path, shown in columns.items():
            if path[0] != "main":
                self.connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(path[0])}")
            listed = ", ".join(f"{quoted(column)} {type_}" for column, type_ in shown)
            self.connection.execute(f"CREATE TABLE {quoted(*path)} ({listed})")
        self._types: dict[str, str | None] = {}

    def type_of(self, expression: str) -> str | None:
        """The type of an expression without columns, or None where it does not bind."""
        if expression not in self._types:
            described = self.describe(f"SELECT {expression}")
            self._types[expression] = described[0][1] if described else None
        return self._types[expression]

    def describe_value(self, expression: str, source: str) -> str | None:
        """The type of an expression over the relations of a FROM clause, or None where it does not bind."""
        key = f"{expression} FROM {source}"
        if key not in self._types:
            described = self.describe(f"SELECT {key}")
            self._types[key] = described[0][1] if described else None
        return self._types[key]

    def describe(self, query: str) -> Sequence[tuple[str, str]] | None:
        """Names and types of a query's columns, or None where it does not bind."""
        try:
            relation = self.connection.sql(query, params=bound(query) or None)
            return list(zip(relation.columns, map(str, relation.types), strict=True)) if relation is not None else None
        except Exception:  # noqa: BLE001 - whatever it is, the text is not one to use
            return None

    def close(self) -> None:
        self.connection.close()
