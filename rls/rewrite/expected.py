"""The guard that must be there, written a second time: from its grant, sharing nothing with what writes guards.

Takes a guard and the catalog, returns a statement and DuckDB's tree of it, without positions; `verify` compares. Owns
that a guard with another filter, fence, mask or column is not taken for one.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from rls.catalog import Catalog, Relation, fold
from rls.errors import QueryRefused
from rls.rewrite.engine_ast import bare, serialize
from rls.rewrite.guarded import Guard

__all__ = ["expected_guard", "expected_statement", "guard_path"]


def guard_path(catalog: Catalog, relation: Relation) -> tuple[str, ...]:
    prefix = ("view",) if relation.kind == "view" else ()
    return (*prefix, fold(catalog.attached), *relation.key)


def expected_guard(statement: str, relation: Relation) -> Any:
    """The tree of `expected_statement`; a view's without the source."""
    return _tree_of(statement, relation.kind == "view")


def expected_statement(guard: Guard, catalog: Catalog) -> str:
    """The statement that a guard must be, written out here again from its grant. Raises `QueryRefused`."""
    relation, grant = guard.relation, guard.grant
    denied = {fold(name) for name in grant.denied}
    masks = {fold(name): text for name, text in grant.masks.items()}
    labels = {fold(name) for name in grant.labels}
    flat = guard.flat and grant.hides
    hidden: list[str] = []
    shown: list[tuple[str, str]] = []
    for column in relation.columns:
        name, type_ = fold(column.name), column.type
        if name in denied:
            hidden.append(column.name)
        elif name in masks:
            inside = "list_extract([{0}], 1)" if flat and '"' in masks[name] else "{0}"
            shown.append((column.name, inside.replace("{0}", masks[name])))
        elif "ENUM(" in type_ or "STRUCT(" in type_ or (flat and not _is_fixed(type_)):
            shape = "{0}"
            if "ENUM(" in type_ and name not in labels:
                shape = f"CAST({{0}} AS {_without_labels(type_)})"
            if "STRUCT(" in type_ and grant.kind != "always":
                shape = f"CASE WHEN {{0}} IS NOT NULL THEN {shape} END"
            if flat and not _is_fixed(type_):
                shape = f"TRY({shape})"
            if shape != "{0}":
                shown.append((column.name, shape.replace("{0}", _quoted(column.name))))
    stars = "*"
    if hidden:
        stars += " EXCLUDE (" + ", ".join(map(_quoted, hidden)) + ")"
    if shown:
        stars += " REPLACE (" + ", ".join(f"{text} AS {_quoted(name)}" for name, text in shown) + ")"
    path = (catalog.attached, *relation.schema, relation.name)
    source = "(SELECT 1)" if relation.kind == "view" else ".".join(map(_quoted, path))
    statement = f"SELECT {stars} FROM {source} AS {_quoted(relation.name)}"
    if grant.kind == "conditional":
        statement += f" WHERE ({grant.predicate})" if guard.conjuncts else f" WHERE {grant.predicate}"
        for conjunct in guard.conjuncts:
            if not _is_harmless(conjunct):
                raise QueryRefused("query.unguarded", "a condition could not be shown to be harmless", detail=conjunct)
            statement += f" AND ({conjunct})"
    elif grant.kind != "always":
        statement += " WHERE false"
    if grant.kind != "always" and guard.fenced:
        statement += " OFFSET 0"
    return statement


_NUMBERS = {
    "BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
    "UHUGEINT", "FLOAT", "DOUBLE", "DATE", "TIME", "TIME WITH TIME ZONE", "TIME_NS", "TIMESTAMP", "TIMESTAMP_S",
    "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMP WITH TIME ZONE", "INTERVAL", "UUID",
}  # fmt: skip
_VALUES = ("VALUE_CONSTANT", "VALUE_PARAMETER")  # the caller's parameters, and `user.x`: only with a type


@lru_cache(maxsize=4096)
def _is_harmless(conjunct: str) -> bool:
    """Whether a condition that stands below a fence compares columns with literals, and nothing else."""
    node = serialize(f"SELECT {conjunct}")[0]
    stack = list(node["select_list"])
    if node["from_table"]["type"] != "EMPTY" or len(stack) != 1:
        return False
    while stack:
        tree = stack.pop()
        kind = tree["type"]
        match kind:
            case "VALUE_CONSTANT":
                continue
            case "COLUMN_REF" if len(tree["column_names"]) == 2:
                continue
            case "CONJUNCTION_OR":
                stack += tree["children"]
            case "OPERATOR_CAST" if tree["child"]["type"] in _VALUES and not tree["try_cast"]:
                continue
            case "FUNCTION" if tree["function_name"] == "-" and len(tree["arguments"]) == 1:
                stack.append(tree["arguments"][0]["expression"])
            case "COMPARE_BETWEEN":
                stack += (tree["input"], tree["lower"], tree["upper"])
            case "COMPARE_IN" | "OPERATOR_IS_NULL" | "OPERATOR_IS_NOT_NULL":
                stack += tree["children"]
            case _ if tree["class"] == "COMPARISON":
                stack += (tree["left"], tree["right"])
            case _:
                return False
    return True


@lru_cache(maxsize=4096)
def _tree_of(statement: str, view: bool) -> Any:
    tree = bare(serialize(statement)[0])
    if view:
        tree["from_table"]["subquery"] = None
    return tree


def _is_fixed(type_: str) -> bool:
    """Whether values of a type are stored as numbers: no text, nothing nested, no labels."""
    return (type_.startswith("DECIMAL(") and not type_.endswith("]")) or type_ in _NUMBERS


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _without_labels(type_text: str) -> str:
    """A type's text with every ENUM(…) replaced by VARCHAR, by counting quotes rather than by pattern."""
    out, i = "", 0
    while i < len(type_text):
        if type_text.startswith("ENUM(", i):
            i += len("ENUM(")
            quoted = False
            while quoted or type_text[i] != ")":
                quoted ^= type_text[i] == "'"
                i += 1
            out += "VARCHAR"
        else:
            out += type_text[i]
        i += 1
    return out
