"""SQL text → whether it may give other rows the next time although the data is the same, by DuckDB's own parse of it.

It may if it asks for the time, a random number, or anything else that DuckDB does not call consistent. Closed: a
function that is not known to be consistent is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from rls.catalog import fold
from rls.rewrite.engine_ast import EngineParseError, list_functions, serialize
from rls.rewrite.functions import bare_function

__all__ = ["changes_by_itself"]


@lru_cache(maxsize=1024)
def changes_by_itself(text: str) -> bool:
    """Whether what may follow FROM gives other rows the next time although the data is the same.

    >>> changes_by_itself("(SELECT * FROM t WHERE day < current_date)")
    True
    >>> changes_by_itself("(SELECT split_part(name, ' ', 1) FROM t WHERE lower(name) = 'a')")
    False
    """
    return not _stable_functions().issuperset(_calls(f"FROM {text}"))


@lru_cache(maxsize=1)
def _stable_functions() -> frozenset[str]:
    """Names whose every variant gives the same for the same arguments, in any query, at any time."""
    stable, macros, rest = set(), dict[str, set[str]](), set()
    for name, stability, definition in list_functions():
        if definition is not None:
            macros.setdefault(name, set()).update(_calls_of_macro(definition))
        elif stability == "CONSISTENT":
            stable.add(name)
        else:
            rest.add(name)
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
        return set(_calls(f"SELECT {definition}"))
    except EngineParseError:
        return {definition}  # the name of no function


def _calls(text: str) -> Iterator[str]:
    """Folded names of the functions a text calls; names without parentheses that DuckDB may take for calls, too."""
    stack: list[object] = list(serialize(text))
    while stack:
        tree = stack.pop()
        if isinstance(tree, list):
            stack += tree
        elif isinstance(tree, dict):
            if "function_name" in tree:
                yield fold(tree["function_name"])
            names: list[str] = tree.get("column_names") or []
            if len(names) == 1 and (function := bare_function(fold(names[0]))) is not None:
                yield function
            stack += tree.values()
