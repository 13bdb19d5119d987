"""What DuckDB's bound plans are made of, for those who judge them: types, literals, columns and their magnitudes.

Takes trees as `json_serialize_plan` writes them. Owns that a column is told by its place only where its type agrees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rls.rewrite import magnitude as numbers
from rls.rewrite.functions import NOT_LITERAL

__all__ = [
    "BOOLEAN", "INTEGERS", "PARTS", "TYPES", "WITHOUT_EXPRESSIONS", "Column", "Inputs", "MayRaise", "Objection", "Tree",
    "expressions_in", "is_cast", "largest", "literal", "mass", "objection", "plain", "type_of", "whole",
]  # fmt: skip

Tree = dict[str, Any]

TYPES: Final = {"return_type", "type", "arguments", "qname"}
"""Fields of expressions that hold types and names: more than half of what a plan consists of."""

# Fields of nodes that list names, places and types: most of what a scan consists of.
WITHOUT_EXPRESSIONS: Final = {
    "children", "returned_types", "names", "column_indexes", "projection_ids", "expr_types", "chunk_types",
    "bound_columns", *TYPES,
}  # fmt: skip

INTEGERS: Final = {
    "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT",
}  # fmt: skip


BOOLEAN: Final[Tree] = {"id": "BOOLEAN", "type_info": None}
"""The type, as DuckDB writes it."""

PARTS: Final = (dict, list)
"""What parts of a tree are that have parts of their own."""


class Objection(Exception):
    """Why a plan is not what it has to be, in a few words."""


class MayRaise(Objection):
    """Why an expression is not known to be total."""


@dataclass(frozen=True, slots=True)
class Column:
    """What is known of one column that a plan node hands on: type, magnitude, and sum of magnitudes over all rows."""

    type: Tree
    magnitude: int | None
    mass: int | None


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the expressions of a plan node read: at most so many rows, these columns (None: known by type only)."""

    rows: int
    columns: Sequence[Column | None] | None = None
    inside_lambda: bool = False

    def column(self, tree: Tree) -> Column | None:
        if self.columns is None:
            return None
        index = tree["index"]
        if not 0 <= index < len(self.columns):
            raise MayRaise("the plan is not understood")
        found = self.columns[index]
        if found is not None and found.type != tree["return_type"]:
            raise MayRaise("the plan is not understood")
        return found


def objection(judge: Callable[[], object]) -> str | None:
    """Why a judge of plans objects, or None. What it does not understand, it objects to."""
    try:
        judge()
    except Objection as reason:
        return str(reason)
    except RecursionError:
        return "it is nested too deeply to be judged"
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return "the plan is not understood"
    return None


def mass(tree: Tree, magnitude: int | None, inputs: Inputs) -> int | None:
    """The largest sum of absolute values of an expression over all rows of `inputs`."""
    if magnitude is None:
        return None
    while is_cast(tree) and numbers.scale(type_of(tree["children"][0])) == numbers.scale(type_of(tree)):
        tree = tree["children"][0]
    if tree["expression_class"] == "BOUND_REF":
        found = inputs.column(tree)
        if found is not None and found.mass is not None:
            return found.mass
    return magnitude * inputs.rows


def type_of(tree: Tree) -> Tree:
    """The bound type of an expression."""
    if tree["expression_class"] == "BOUND_CONSTANT":
        found: Tree = tree["value"]["type"]
        return found
    return tree.get("return_type") or BOOLEAN  # conjunctions carry none


def plain(kind: str) -> str:
    """A class or node of DuckDB's plans as people say it."""
    return kind.removeprefix("BOUND_").removeprefix("LOGICAL_").replace("_", " ").lower()


def expressions_in(value: Any) -> Iterator[Tree]:
    """The outermost expressions below a part of a plan."""
    if isinstance(value, list):
        for item in value:
            if isinstance(item, PARTS):
                yield from expressions_in(item)
    elif "expression_class" in value:
        yield value
    else:
        for key, item in value.items():
            if item and isinstance(item, PARTS) and key not in TYPES:
                yield from expressions_in(item)


def literal(tree: Tree) -> object:
    """The value of a literal argument, also of one that the binder casts; else `NOT_LITERAL`."""
    while is_cast(tree):
        tree = tree["children"][0]
    if tree["expression_class"] != "BOUND_CONSTANT" or tree["value"].get("is_null"):
        return NOT_LITERAL
    value: object = tree["value"].get("value", NOT_LITERAL)
    return value if isinstance(value, str | int | float) else NOT_LITERAL


def whole(tree: Tree) -> int | None:
    """The value of a literal whole number; what a cast would round is none."""
    while is_cast(tree) and type_of(tree["children"][0])["id"] in INTEGERS:
        tree = tree["children"][0]
    if tree["expression_class"] != "BOUND_CONSTANT" or type_of(tree)["id"] not in INTEGERS:
        return None
    value = tree["value"].get("value")
    return value if type(value) is int else None


def is_cast(tree: Tree) -> bool:
    return bool(tree["expression_class"] == "BOUND_FUNCTION" and tree["type"] == "OPERATOR_CAST")


def largest(found: Sequence[int | None]) -> int | None:
    return None if None in found else max((m for m in found if m is not None), default=None)
