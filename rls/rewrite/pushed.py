"""An optimized plan on empty tables → the conditions that DuckDB itself would hand to each scan.

A fence keeps the caller's `WHERE id = 7` above the row filter, and with it out of the scan: a point look-up reads the
whole relation (measured 30 to 130 times slower). A copy of the condition below the fence brings pruning back. Which
conditions may stand there without changing the answer (not across an outer join's optional side, a sample, a limit;
through sub-queries, CTEs and equal join keys) is what DuckDB's own filter pushdown decides for the same text without
fences, whatever rows the tables hold. Takes such a plan; owns that a copy is written anew from a small grammar, and
compares a stored column with constants of that column's own type (or with a caller's parameter), which cannot raise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from rls.catalog import Relation, quote
from rls.rewrite.bound_tree import PARTS, TYPES
from rls.rewrite.literals import PREFIX

__all__ = ["may_be_pushed", "pushed_conditions"]

Tree = dict[str, Any]

MAX_COPIES: Final = 20  # for one scan
MAX_ITEMS: Final = 1_000  # in an IN list

_OPERATORS: Final = {
    "COMPARE_EQUAL": "=", "COMPARE_NOTEQUAL": "<>", "COMPARE_LESSTHAN": "<", "COMPARE_LESSTHANOREQUALTO": "<=",
    "COMPARE_GREATERTHAN": ">", "COMPARE_GREATERTHANOREQUALTO": ">=",
}  # fmt: skip
_MIRRORED: Final = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_INTEGERS: Final = {
    "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
}  # fmt: skip
_WITHOUT_SCANS: Final = {"expressions", "conditions", "groups", "returned_types", "column_indexes", "names", *TYPES}
_FROM_TEXT: Final = {"VARCHAR", "DATE", "TIMESTAMP"}
_FIRST_DAY: Final = date(1970, 1, 1)
_FIRST_MOMENT: Final = datetime(1970, 1, 1, tzinfo=UTC)


def may_be_pushed(plan: Any) -> bool:
    """Whether a bound plan has a join or a filter (other than `true`): else DuckDB has nothing to hand to a scan."""
    stack: list[Tree] = list(plan or [])
    while stack:
        tree = stack.pop()
        filters = tree["expressions"] if tree["type"] == "LOGICAL_FILTER" else ()
        if "JOIN" in tree["type"] or any(one["expression_class"] != "BOUND_CONSTANT" for one in filters):
            return True
        stack += tree["children"]
    return False


def pushed_conditions(plan: Any, tables: Mapping[str, Relation]) -> dict[str, tuple[str, ...]]:
    """Conditions for each of `tables` (name in the plan → the relation it stands for), written over the relation's
    name. A table that is scanned more than once gets what all of its scans have in common."""
    found: dict[str, list[str]] = {}
    stack: list[Any] = [plan or []]
    while stack:
        tree = stack.pop()
        if isinstance(tree, list):
            stack += [item for item in tree if isinstance(item, PARTS)]
            continue
        if tree.get("type") == "LOGICAL_GET":
            name = str((tree.get("function_data") or {}).get("table"))
            if name in tables:
                own = _of_scan(tree, tables[name])
                found[name] = own if name not in found else [text for text in found[name] if text in own]
        stack += [v for key, v in tree.items() if isinstance(v, PARTS) and key not in _WITHOUT_SCANS]
    return {name: tuple(texts[:MAX_COPIES]) for name, texts in found.items()}


def _of_scan(scan: Tree, relation: Relation) -> list[str]:
    texts: dict[str, None] = {}
    for entry in scan["table_filters"]["filters"]:
        index = scan["column_indexes"][entry["key"]]["index"]
        if not 0 <= index < len(scan["names"]):
            continue
        column = f"{quote(relation.name)}.{quote(scan['names'][index])}"
        for part in _parts(entry["value"]):
            text = _condition(part, column, scan["returned_types"][index])
            if text is not None:
                texts[text] = None
    return list(texts)


def _parts(tree: Tree) -> list[Tree]:
    """The conditions that all hold."""
    match tree["filter_type"]:
        case "LEGACY_CONJUNCTION_AND":
            return [part for child in tree["child_filters"] for part in _parts(child)]
        case "LEGACY_OPTIONAL_FILTER" if tree.get("child_filter"):
            return _parts(tree["child_filter"])
        case _:
            return [tree]


def _condition(tree: Tree, column: str, type_: Tree) -> str | None:
    match tree["filter_type"]:
        case "LEGACY_IS_NULL":
            return f"{column} IS NULL"
        case "LEGACY_IS_NOT_NULL":
            return f"{column} IS NOT NULL"
        case "LEGACY_CONSTANT_COMPARISON" if tree["comparison_type"] in _OPERATORS:
            literal = _literal(tree["constant"], type_)
            return literal and f"{column} {_OPERATORS[tree['comparison_type']]} {literal}"
        case "LEGACY_IN_FILTER" if 0 < len(tree["values"]) <= MAX_ITEMS:
            literals = [_literal(value, type_) for value in tree["values"]]
            return f"{column} IN ({', '.join(filter(None, literals))})" if all(literals) else None
        case "LEGACY_CONJUNCTION_OR" if len(tree["child_filters"]) <= MAX_ITEMS:
            options = [_condition(child, column, type_) for child in tree["child_filters"]]
            return f"({' OR '.join(filter(None, options))})" if all(options) else None
        case "EXPRESSION_FILTER":
            return _with_parameter(tree["expr"], column, type_)
        case _:
            return None


def _with_parameter(tree: Tree, column: str, type_: Tree) -> str | None:
    """`column < $name`, where it is the parameter that is cast to the column's type, not the other way round, and
    where no cast changes its value: `k = CAST($a AS INTEGER)` says more than `k = $a` if `$a` is 5.7."""
    operator = _OPERATORS.get(tree["type"])
    if operator is None:
        return None
    left, right = tree["children"]
    if left["expression_class"] != "BOUND_REF":
        left, right, operator = right, left, _MIRRORED[operator]
    casts = set()
    while right["expression_class"] == "BOUND_FUNCTION" and right["type"] == "OPERATOR_CAST":
        casts.add(right["return_type"]["id"])
        right = right["children"][0]
    if left["expression_class"] != "BOUND_REF" or right["expression_class"] != "BOUND_PARAMETER":
        return None
    kind, name = type_["id"], right["identifier"]
    # The type that the text gives the parameter: the binder has no value of it yet.
    own = right["parameter_data"]["value"]["type"]["id"]
    if kind == "DECIMAL" and name.startswith(PREFIX):
        fits = casts | {own} <= {"DECIMAL"}  # a literal of the text: all casts are the binder's
    elif kind in _INTEGERS:
        fits = casts | {own} <= _INTEGERS
    else:
        fits = kind in _FROM_TEXT and casts <= {"VARCHAR", kind} and own in ("VARCHAR", kind)
    if not fits or not (name.isidentifier() and name.isascii()):
        return None
    # The type is written out: beside a value of another type, DuckDB would cast the column instead.
    return f"{column} {operator} CAST(${name} AS {_type_text(type_)})"


def _type_text(type_: Tree) -> str:
    if type_["id"] != "DECIMAL":
        return str(type_["id"])
    return f"DECIMAL({type_['type_info']['width']}, {type_['type_info']['scale']})"


def _literal(constant: Tree, type_: Tree) -> str | None:
    """A constant of the column's own type as text, or None."""
    if constant["is_null"] or constant["type"] != type_:
        return None
    value = constant["value"]
    match type_["id"], value:
        case "BOOLEAN", bool():
            return "true" if value else "false"
        case "VARCHAR", str():
            return "'" + value.replace("'", "''") + "'" if "\0" not in value else None
        case kind, int() if kind in _INTEGERS:
            return str(value)
        case "DECIMAL", int():
            scale = int(type_["type_info"]["scale"])
            digits = f"{abs(value):0{scale + 1}d}"
            text = f"{digits[: len(digits) - scale]}.{digits[len(digits) - scale :]}" if scale else digits
            return f"CAST('{'-' * (value < 0)}{text}' AS DECIMAL({type_['type_info']['width']}, {scale}))"
        case ("FLOAT" | "DOUBLE") as kind, int() | float() if math.isfinite(value):
            return f"CAST('{value!r}' AS {kind})"
        case "DATE", int():
            return _moment(lambda: f"CAST('{_FIRST_DAY + timedelta(days=value)}' AS DATE)")
        case "TIMESTAMP", int():
            return _moment(
                lambda: f"CAST('{(_FIRST_MOMENT + timedelta(microseconds=value)).replace(tzinfo=None)}' AS TIMESTAMP)"
            )
        case _:
            return None


def _moment(write: Any) -> str | None:
    """What Python's calendar cannot say (years before 1 or after 9999) is not copied."""
    try:
        text: str = write()
    except OverflowError:
        return None
    return text
