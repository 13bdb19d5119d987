"""SQL text → whether it may give other rows the next time although the data is the same, by DuckDB's own parse of it.

It may if it asks for the time, a random number, or anything else that DuckDB does not call consistent. Closed: a
function that is not known to be consistent is not. DuckDB's word is not taken where it is wrong: see `_calls`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import time
from functools import lru_cache
from typing import Final

from rls.catalog import Catalog, fold
from rls.errors import QueryRefused
from rls.rewrite.engine_ast import EngineParseError, list_functions, serialize
from rls.rewrite.functions import bare_function
from rls.rewrite.guarded import GuardedQuery

__all__ = ["answer_lasts", "changes_by_itself", "parameters_of", "refuse_unknown"]

# DuckDB says nothing about table functions. These make rows of their arguments and of nothing else (`->` is no function
# of its list at all).
_OF_ARGUMENTS: Final = frozenset(
    ("->", "generate_series", "generate_subscripts", "json_each", "json_tree", "range", "regexp_split_to_table",
     "repeat", "repeat_row", "unnest")
)  # fmt: skip
# It calls these consistent, and they read the clock.
_CLOCKS: Final = frozenset(("current_localtime", "current_localtimestamp"))
_LONGEST_KEPT: Final = 10_000  # characters of a text that is remembered
_ZONED: Final = "time with time zone"


def changes_by_itself(source: str, catalog: Catalog) -> bool:
    """Whether what may follow FROM gives other rows the next time although the data is the same.

    >>> changes_by_itself("(SELECT * FROM t WHERE day < current_date)", Catalog.of("w", []))
    True
    >>> changes_by_itself("(SELECT split_part(name, ' ', 1) FROM t WHERE lower(name) = 'a')", Catalog.of("w", []))
    False
    """
    return not _lasts(_read(f"FROM {source}")[0], catalog, zoned=False)


def answer_lasts(text: str, parameters: Mapping[str, object], catalog: Catalog) -> bool:
    """Whether a query's answer, with these values bound, is an answer as long as the data is the same.

    A parameter without a value may become anything: then it does not.

    >>> empty = Catalog.of("w", [])
    >>> answer_lasts("SELECT $x", {"x": 1}, empty), answer_lasts("SELECT $x", {}, empty)
    (True, False)
    """
    calls, asked = _read(text)
    zoned = _holds_zoned_time(list(parameters.values()))
    return asked <= {fold(name) for name in parameters} and _lasts(calls, catalog, zoned=zoned)


def parameters_of(text: str) -> frozenset[str]:
    """The folded names of a text's parameters."""
    return _read(text)[1]


def refuse_unknown(parameters: Mapping[str, object], guarded: GuardedQuery) -> None:
    """Raise `QueryRefused` (`query.parameter_unknown`) for a value that the text has no place for, as running it
    would."""
    if not parameters:
        return
    known = parameters_of(guarded.sql) if guarded.dialect == "duckdb" else frozenset(map(fold, guarded.binds))
    for name in parameters:
        if fold(name) not in known:
            message = f"the query has no parameter `${name}`"
            raise QueryRefused("query.parameter_unknown", message, hint="leave it out")


def _lasts(calls: Collection[str], catalog: Catalog, *, zoned: bool) -> bool:
    if not _stable_functions().issuperset(calls):
        return False
    # What a time in one zone is in another depends on the day: today's.
    return "timezone" not in calls or not (zoned or _has_zoned_times(catalog))


def _has_zoned_times(catalog: Catalog) -> bool:
    columns = (column for relation in catalog.relations.values() for column in relation.columns)
    return any(_ZONED in fold(column.type) for column in columns)


def _holds_zoned_time(value: object) -> bool:
    match value:
        case list() | tuple():
            return any(map(_holds_zoned_time, value))
        case dict():
            return any(map(_holds_zoned_time, value.values()))
        case _:
            return isinstance(value, time) and value.tzinfo is not None


@lru_cache(maxsize=1)
def _stable_functions() -> frozenset[str]:
    """Names whose every variant gives the same for the same arguments, in any query, at any time."""
    stable, macros, rest = set(), dict[str, set[str]](), set(_CLOCKS)
    for name, stability, definition in list_functions():
        if definition is not None:
            macros.setdefault(name, set()).update(_calls_of_macro(definition))
        elif stability == "CONSISTENT":
            stable.add(name)
        elif name not in _OF_ARGUMENTS:
            rest.add(name)
    stable |= _OF_ARGUMENTS
    stable -= rest
    # A macro is as stable as what it calls, macros among them.
    grown = True
    while grown:
        found = {name for name, calls in macros.items() if name not in rest and calls <= stable}
        grown = not found <= stable
        stable |= found
    return frozenset(stable)


def _calls_of_macro(definition: str) -> set[str]:
    try:
        return set(_read(f"SELECT {definition}")[0])
    except EngineParseError:
        return {definition}  # the name of no function


def _read(text: str) -> tuple[frozenset[str], frozenset[str]]:
    """What a text calls, and the names of its parameters, folded."""
    return _read_again(text) if len(text) <= _LONGEST_KEPT else _read_anew(text)


@lru_cache(maxsize=1024)
def _read_again(text: str) -> tuple[frozenset[str], frozenset[str]]:
    return _read_anew(text)


def _read_anew(text: str) -> tuple[frozenset[str], frozenset[str]]:
    calls, parameters = set[str](), set[str]()
    stack: list[object] = list(serialize(text))
    while stack:
        tree = stack.pop()
        if isinstance(tree, list):
            stack += tree
        elif isinstance(tree, dict):
            calls.update(_calls(tree))
            if tree.get("type") == "VALUE_PARAMETER":
                parameters.add(fold(tree["identifier"]))
            stack += tree.values()
        elif isinstance(tree, str) and ("timetz" in fold(tree) or _ZONED in fold(tree)):
            # As a type's name, or in a text that becomes one (`from_json`): a cast to it takes today's offset.
            calls.add("now")
    return frozenset(calls), frozenset(parameters)


def _calls(tree: dict[str, object]) -> Iterator[str]:
    """Names of the functions that a node calls, or may call: one without parentheses looks like a column."""
    name, names = tree.get("function_name"), tree.get("column_names")
    if isinstance(name, str):
        yield fold(name)
        arguments = tree.get("arguments")
        if fold(name) == "age" and not (isinstance(arguments, list) and len(arguments) == 2):
            yield "now"  # its other argument, says DuckDB's documentation, is today
    if isinstance(names, list) and len(names) == 1 and (function := bare_function(fold(names[0]))) is not None:
        yield function
    if tree.get("repeatable") is False and "sample_size" in tree:
        yield "random"  # rows, drawn without a seed
