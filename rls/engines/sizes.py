"""Sizes inside a result: how many columns, how deep their types are nested, how long their lists.

Without them one row with one list would hold what a limit of rows keeps back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from rls.engines.limits import Limits
from rls.errors import QueryFailed

__all__ = ["check_batch", "check_rows", "check_types"]

# Quoted parts of a type's text are names of fields and labels: they nest nothing.
_QUOTED = re.compile(r'"(?:[^"]|"")*"|\'(?:[^\']|\'\')*\'')
_LIST = re.compile(r"\[|\bMAP\(")


def check_types(types: Sequence[str], limits: Limits) -> dict[int, bool]:
    """Raise `QueryFailed` (`run.columns`, `run.nesting`); return the columns that hold lists or maps, and whether
    there are maps in them."""
    if len(types) > limits.columns:
        raise QueryFailed(
            "run.columns", f"the result has more than {limits.columns} columns", hint="name fewer columns"
        )
    plain = [_QUOTED.sub("", text) for text in types]
    if any(_depth(text) > limits.nesting for text in plain):
        raise QueryFailed(
            "run.nesting", f"a column is nested deeper than {limits.nesting} levels", hint="select parts of it"
        )
    return {index: "MAP(" in text for index, text in enumerate(plain) if _LIST.search(text)}


def check_rows(rows: Sequence[tuple[Any, ...]], nested: Mapping[int, bool], limits: Limits) -> None:
    """Raise `QueryFailed` (`run.list_items`) for a list or map in columns `nested` that is too long."""
    if nested and any(_longest(row[at], maps) > limits.list_items for row in rows for at, maps in nested.items()):
        raise _too_long(limits)


def check_batch(batch: Any, nested: Mapping[int, bool], limits: Limits) -> None:
    """Like `check_rows` for a `pyarrow.RecordBatch`."""
    if any(_longest_in(batch.column(index)) > limits.list_items for index in nested):
        raise _too_long(limits)


def _depth(text: str) -> int:
    """Levels of lists and structs: `STRUCT(a INTEGER[])[]` has three, `DECIMAL(9,2)` none."""
    deepest = depth = 0
    brackets: list[bool] = []
    for found in re.finditer(r"(\w*)\(|\)|(?:\[\d*\])+", text):
        if found[0].endswith("("):
            brackets.append(found[1] in ("STRUCT", "MAP", "UNION", "TUPLE"))
            depth += brackets[-1]
            inner = depth
        elif found[0] == ")":
            inner = depth
            depth -= brackets.pop() if brackets else 0
        else:
            inner = depth + found[0].count("[")
        deepest = max(deepest, inner)
    return deepest


def _longest(value: Any, maps: bool) -> int:
    match value:
        case list() | tuple():
            return max((len(value), *(_longest(item, maps) for item in value)))
        case dict():
            # A struct and a map are both a dict in Python.
            inside = (_longest(item, maps) for pair in value.items() for item in pair)
            return max((len(value) if maps else 0, *inside))
        case _:
            return 0


def _longest_in(array: Any) -> int:
    import pyarrow.compute

    types, kind = pyarrow.types, array.type
    if types.is_list(kind) or types.is_large_list(kind) or types.is_map(kind):
        lengths = pyarrow.compute.max(pyarrow.compute.pairwise_diff(array.offsets)).as_py() or 0
        parts = (array.keys, array.items) if types.is_map(kind) else (array.values,)
    elif types.is_fixed_size_list(kind):
        lengths, parts = kind.list_size if len(array) else 0, (array.values,)
    elif types.is_struct(kind) or types.is_union(kind):
        lengths, parts = 0, tuple(array.field(index) for index in range(kind.num_fields))
    else:
        return 0
    return max((lengths, *map(_longest_in, parts)))


def _too_long(limits: Limits) -> QueryFailed:
    return QueryFailed(
        "run.list_items", f"a list has more than {limits.list_items} items", hint="unnest it, or keep fewer"
    )
