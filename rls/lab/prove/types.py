"""What DuckDB says of a piece of a policy: its type, its value if it is constant, whether it changes by itself.

Takes trees; asks DuckDB on an empty copy of the catalog (`Scratch`), which holds no data. Owns that the prover never
guesses a type: what DuckDB does not bind is `unknown`, and unknown values are not modelled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, Final

import duckdb

from rls.catalog import Catalog, Relation
from rls.policy.parser import ExpressionInvalid, Tree, bare, read_select, write_expression
from rls.policy.scratch import Scratch

__all__ = ["TypeOracle"]

# Functions of which DuckDB may be asked for the value: the same whenever and by whomever they are called.
_FOLDED: Final = frozenset(("+", "-", "*", "/", "//", "%", "||", "lower", "upper", "trim", "concat", "length")) | {
    "make_date",
    "to_days",
    "to_months",
    "to_years",
    "to_hours",
    "list_value",
}
_STEADY: Final = frozenset(("count", "count_star", "min", "max", "bool_and", "bool_or"))
_CONSTANT: Final = frozenset(("CONSTANT", "CAST", "TYPE", "FUNCTION", "OPERATOR"))


class TypeOracle:
    """DuckDB's opinion on expressions over the relations of `catalog`. Close it after use."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog.from_schema(("main",)).attached_as("proved")
        self._scratch = Scratch(self.catalog)
        self._types: dict[tuple[str, tuple[str, ...]], str] = {}

    def close(self) -> None:
        self._scratch.close()

    def is_constant(self, node: Tree) -> bool:
        """Whether an expression's value is the same for every row, principal and day."""
        return all(
            part["class"] in _CONSTANT and (part["class"] != "FUNCTION" or part["function_name"] in _FOLDED)
            for part in _nodes(node)
            if "class" in part
        )

    def value_of(self, node: Tree) -> tuple[object, str | None]:
        """Value and type of a constant expression; the type is None where it cannot be evaluated."""
        try:
            return self._evaluate(write_expression(bare(node)))
        except ExpressionInvalid:
            return None, None

    def cast(self, text: str, type_: str) -> tuple[object, str | None]:
        """A literal text as a value of a type, as DuckDB casts it."""
        literal = "'" + text.replace("'", "''") + "'"
        return self._evaluate(f"CAST({literal} AS {type_})")

    def _evaluate(self, text: str) -> tuple[object, str | None]:
        try:
            value, type_ = self._scratch.rows(f"SELECT {text}, typeof({text})")[0]
        except (duckdb.Error, ValueError, OverflowError):
            return None, None
        return value, "NULL" if value is None else str(type_)

    def type_of(self, node: Tree, named: Callable[[Tree], str], relation: Relation) -> str:
        """The type of an expression over a relation; `named` writes its names. `unknown` where it does not bind."""
        try:
            text = write_expression(_with_names(node, named))
        except ExpressionInvalid:
            return "unknown"
        key = (text, relation.key)
        if key not in self._types:
            try:
                self._types[key] = self._scratch.type_of(text, relation, {}).replace('"', "")
            except duckdb.Error:
                self._types[key] = "unknown"
        return self._types[key]

    def is_volatile(self, node: Tree) -> bool:
        """Whether two evaluations may differ."""
        return any(
            part["function_name"] in self._volatile
            for part in _nodes(node)
            if part.get("class") == "FUNCTION" and "function_name" in part
        ) or any(part.get("type") == "LIMIT_MODIFIER" or part.get("distinct_on_targets") for part in _nodes(node))

    @cached_property
    def _volatile(self) -> frozenset[str]:
        # Most aggregates depend on the order in which rows come, and that is not given.
        rows = self._scratch.rows(
            "SELECT DISTINCT function_name FROM duckdb_functions()"
            " WHERE stability = 'VOLATILE' OR function_type = 'aggregate'"
        )
        return frozenset(name for (name,) in rows) - _STEADY


def _with_names(node: Any, named: Callable[[Tree], str]) -> Any:
    if isinstance(node, list):
        return [_with_names(item, named) for item in node]
    if not isinstance(node, dict):
        return node
    if node.get("class") == "COLUMN_REF":
        text = named(node)
        return bare(read_select(text)["select_list"][0]) if text else bare(node)
    return {k: _with_names(v, named) for k, v in node.items() if not k.startswith("query_location")}


def _nodes(node: Any) -> Iterator[Tree]:
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from _nodes(value)
    elif isinstance(node, list):
        for value in node:
            yield from _nodes(value)
