"""A bound condition → parts of it that are always or never true, by trying boundary values.

Each column and attribute takes the values that the condition itself mentions, their neighbours, two strangers and
NULL; DuckDB evaluates the condition's leaves on all combinations (literals only, no data). Only comparisons, IN,
BETWEEN, IS NULL and their connectives are tried: for these the values on the boundaries are the ones that matter.
Other leaves may be anything. It owns the rule that what cannot be tried is not reported.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

from rls.catalog import Column, Relation, quote
from rls.policy.attributes import Attribute
from rls.policy.bind import bind
from rls.policy.expressions import Branch, Expression
from rls.policy.parser import Tree
from rls.policy.reader import attribute_name
from rls.policy.scratch import Scratch

__all__ = ["Constant", "find_constants"]

MAX_ROWS: Final = 20_000
MAX_UNKNOWN: Final = 4

_NUMBERS: Final = re.compile(r"(U?(TINY|SMALL|BIG|HUGE)INT|U?INTEGER|DECIMAL.*|DOUBLE|FLOAT)$")
_STRANGERS: Final = {
    "number": ("-7", "1000003"),
    "text": ("'p'", "'q'"),
    "date": ("DATE '1999-12-31'", "DATE '2031-07-01'"),
    "boolean": ("TRUE", "FALSE"),
}
_KINDS: Final = {"string": "text", "integer": "number", "decimal": "number", "boolean": "boolean", "date": "date"}
_SIMPLE: Final = frozenset(
    ("OPERATOR_NOT", "OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL", "COMPARE_IN", "COMPARE_NOT_IN", "OPERATOR_COALESCE")
)


@dataclass(frozen=True, slots=True)
class Constant:
    """A part of a condition (`branch`) that is TRUE for every row with values, or (`value` False) for none."""

    branch: Branch
    value: bool


def find_constants(
    expression: Expression, relation: Relation, scratch: Scratch, attributes: Mapping[str, Attribute]
) -> list[Constant]:
    """Leaves that are always or never true, and the whole condition where it is."""
    leaves = list(expression.root.leaves())
    simple = [leaf for leaf in leaves if _is_simple(leaf.tree)]
    if not simple or len(leaves) - len(simple) > MAX_UNKNOWN:
        return []
    vectors = _truth_vectors(expression, simple, relation, scratch, attributes)
    if not vectors:
        return []
    found = []
    for index, leaf in enumerate(simple):
        values = {vector[index] for vector in vectors}
        if False not in values or True not in values:
            found.append(Constant(leaf, True in values))
    if expression.root.kind == "leaf":
        return found
    others = [leaf for leaf in leaves if leaf not in simple]
    roots = set()
    for vector in vectors:
        for guess in product((True, False, None), repeat=len(others)):
            truth = {id(leaf): value for leaf, value in zip([*simple, *others], [*vector, *guess], strict=True)}
            roots.add(expression.root.truth(truth))
    if False not in roots or True not in roots:
        found.insert(0, Constant(expression.root, True in roots))
    return found


def _truth_vectors(
    expression: Expression,
    leaves: list[Branch],
    relation: Relation,
    scratch: Scratch,
    attributes: Mapping[str, Attribute],
) -> list[tuple[bool | None, ...]]:
    """The distinct truth values of the leaves over all combinations of sample values; empty if it cannot be told."""
    import duckdb

    used = {part for leaf in leaves for part in leaf.parts if isinstance(part, int)}
    holes = list(bind(expression, relation, scratch.catalog, attributes))
    columns: dict[str, Column] = {}
    asked: dict[str, Attribute] = {}
    for number in used:
        hole = expression.holes[number]
        if hole.kind == "attribute":
            asked[hole.names[0]] = attributes[hole.names[0]]
            holes[number] = f"{_ASKED}.{quote(hole.names[0])}"
            continue
        column = relation.column(hole.names[-1])
        if column is None or holes[number] != f"{quote(relation.name)}.{quote(column.name)}":
            return []
        columns[column.name] = column
    pools = _pools(expression.root.tree)
    of_columns = {name: _column_values(column, pools) for name, column in columns.items()}
    of_attributes = {name: _attribute_values(attribute, pools) for name, attribute in asked.items()}
    if None in of_columns.values() or None in of_attributes.values():
        return []
    size = 1
    for values in (*of_columns.values(), *of_attributes.values()):
        size *= len(values or ())
    if size > MAX_ROWS:
        return []
    try:
        rows = scratch.rows(
            f"SELECT DISTINCT {', '.join(leaf.text(tuple(holes)) for leaf in leaves)}"
            f" FROM {_cross(of_columns)} AS {quote(relation.name)}, {_cross(of_attributes)} AS {_ASKED}"
        )
    except duckdb.Error:
        return []
    return rows


_ASKED: Final = '"the principal"'


def _cross(values: Mapping[str, list[str] | None]) -> str:
    """A FROM item with a column per name, all combinations of its values as rows."""
    lists = [f"(SELECT unnest([{', '.join(items or ())}]) AS {quote(name)})" for name, items in values.items()]
    return f"(SELECT * FROM {', '.join(lists) or '(SELECT 1 AS nothing)'})"


def _column_values(column: Column, pools: Mapping[str, list[str]]) -> list[str] | None:
    if column.type.startswith("ENUM("):
        kind, labels = "text", re.findall(r"'(?:[^']|'')*'", column.type)[:6]
        values = [f"TRY_CAST({v} AS {column.type})" for v in dict.fromkeys([*pools[kind], *labels])]
    else:
        found = _kind(column.type)
        if found is None:
            return None
        values = [f"TRY_CAST({v} AS {column.type})" for v in pools[found]]
    # A value outside the column's type becomes NULL; where NULL cannot be, a stranger stands in.
    if not column.nullable:
        return [f"coalesce({v}, {values[-1]})" for v in values]
    return [*values, f"CAST(NULL AS {column.type})"]


def _attribute_values(attribute: Attribute, pools: Mapping[str, list[str]]) -> list[str] | None:
    kind = _KINDS.get(attribute.kind)
    if kind is None:
        return None
    scalar = attribute.type.removesuffix("[]")
    values = [f"CAST({v} AS {scalar})" for v in pools[kind]]
    if not attribute.many:
        return values
    return [f"CAST([{items}] AS {attribute.type})" for items in ("", *values, ", ".join(values))]


def _kind(type_: str) -> str | None:
    if type_ == "VARCHAR":
        return "text"
    if type_ in ("DATE", "TIMESTAMP"):
        return "date"
    if type_ == "BOOLEAN":
        return "boolean"
    return "number" if _NUMBERS.fullmatch(type_) else None


def _pools(tree: Tree) -> dict[str, list[str]]:
    """Sample values by kind, as SQL: the condition's own, their neighbours, and two that it does not mention."""
    pools: dict[str, list[str]] = {kind: [] for kind in _STRANGERS}
    for node in _nodes(tree):
        literal = node.get("literal") if node.get("class") == "CONSTANT" else None
        if literal is None:
            continue
        text = literal["text"]
        match literal["kind"]:
            case "STRING":
                escaped = "'" + text.replace("'", "''") + "'"
                pools["text"] += [escaped, f"{escaped} || 'x'"]
                if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
                    pools["date"] += [f"TRY_CAST({escaped} AS DATE) + INTERVAL {days} DAY" for days in (-1, 0, 1)]
            case "INTEGER" | "NUMERIC":
                pools["number"] += [f"{text} - 1", text, f"{text} + 1"]
            case _:
                pass
    return {kind: list(dict.fromkeys([*values, *_STRANGERS[kind]])) for kind, values in pools.items()}


def _is_simple(tree: Tree) -> bool:
    match tree["class"]:
        case "CONSTANT" | "COLUMN_REF":
            return True
        case "COMPARISON":
            return _is_simple(tree["left"]) and _is_simple(tree["right"])
        case "BETWEEN":
            return all(_is_simple(tree[part]) for part in ("input", "lower", "upper"))
        case "OPERATOR" if tree["type"] in ("OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL"):
            # Of an attribute: true or false by who asks, not by any value tried here.
            return attribute_name(tree["children"][0]) is None and _is_simple(tree["children"][0])
        case "OPERATOR" if tree["type"] in _SIMPLE:
            return all(_is_simple(child) for child in tree["children"])
        case "CAST":
            return bool(tree["child"]["class"] == "CONSTANT")
        case "FUNCTION" if tree["function_name"] == "contains":
            return all(_is_simple(a["expression"]) for a in tree["arguments"])
        case _:
            return False


def _nodes(tree: Any) -> Iterator[Tree]:
    if isinstance(tree, dict):
        yield tree
        for value in tree.values():
            yield from _nodes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _nodes(value)
