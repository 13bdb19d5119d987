"""A node of a tree → what its author would call it: the name by which a refusal speaks of it.

Owns that no refusal speaks of a tree's own words where there is a usual one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from sqlglot import exp

from rls.rewrite.parse import quietly

__all__ = ["clause_of", "name_of", "odd_in", "operation_of"]

_NODES: Final[Mapping[type[Any], str]] = {
    exp.TableColumn: "a whole row as a value", exp.Dot: "a field of a struct", exp.Struct: "a struct",
    exp.Array: "a list", exp.Bracket: "an item of a list or map", exp.Explode: "unnest", exp.Unnest: "unnest",
    exp.Transform: "list_transform", exp.ByteString: "a text with escapes (e'…')", exp.HexString: "x'…'",
    exp.Tuple: "several values as one", exp.TryCast: "TRY_CAST", exp.Collate: "COLLATE",
    exp.JSONExtract: "a path into JSON", exp.JSONExtractScalar: "a path into JSON",
    exp.Map: "a map", exp.ToMap: "a map", exp.Lambda: "a lambda", exp.Pivot: "PIVOT",
    exp.RegexpExtract: "regexp_extract", exp.RegexpLike: "regexp_matches", exp.RegexpReplace: "regexp_replace",
    exp.AtTimeZone: "AT TIME ZONE",
    exp.BitwiseAnd: "&", exp.BitwiseOr: "|", exp.BitwiseLeftShift: "<<", exp.BitwiseRightShift: ">>",
    exp.TsOrDsAdd: "date_add", exp.CurrentTimestamp: "now()", exp.CurrentDate: "current_date",
    exp.Comprehension: "a list comprehension",
}  # fmt: skip
_ODD: Final = (
    exp.JSONExtract, exp.JSONExtractScalar, exp.Collate, exp.Explode, exp.Unnest, exp.Struct, exp.Lambda, exp.Array,
    exp.Comprehension, exp.Bracket,
)  # fmt: skip
_SAMPLE: Final = "a sample (USING SAMPLE, TABLESAMPLE)"
_CLAUSES: Final[Mapping[tuple[type[Any], str], str]] = {
    (exp.Subquery, "sample"): _SAMPLE, (exp.Select, "sample"): _SAMPLE, (exp.Table, "sample"): _SAMPLE,
    (exp.Limit, "limit_options"): "LIMIT by percent",
    (exp.Subquery, "alias"): "a relation in parentheses with an alias",
    (exp.TableSample, "seed"): "a sample that is REPEATABLE",
    (exp.Table, "version"): "AT (VERSION …)", (exp.Table, "ordinality"): "WITH ORDINALITY",
}  # fmt: skip
_OPERATIONS: Final[Mapping[str, str]] = {
    "lateral": "LATERAL", "limit query": "LIMIT by a sub-query", "range": "a window frame of RANGE",
    "exclude": "EXCLUDE in a window frame", "any": "ANY", "all": "ALL", "list": "list()", "percentile": "quantile_cont",
    "distinct on": "DISTINCT ON", "list_contains": "IN of a list", "cast": "CAST", "neg": "-", "shift": "round",
}  # fmt: skip

_CALL: Final = re.compile(r"(\w+)\(")


def name_of(node: exp.Expr) -> str:
    """What a node is called.

    >>> import sqlglot
    >>> name_of(sqlglot.parse_one("e'a'", read="duckdb")), name_of(sqlglot.parse_one("typeof(a)", read="duckdb"))
    ("a text with escapes (e'…')", 'typeof')
    """
    if type(node) in _NODES:
        return _NODES[type(node)]
    if isinstance(node, exp.Anonymous):
        return f"the function `{node.name}`"
    if isinstance(node, exp.Func):
        with quietly():
            called = _CALL.match(node.sql("duckdb"))
        return (called[1] if called else node.sql_name()).lower()
    return str(node.key).upper()


def clause_of(node: exp.Expr, key: str) -> str:
    """What a part of a node is called, by its key."""
    if (type(node), key) in _CLAUSES:
        return _CLAUSES[type(node), key]
    if isinstance(node, exp.Join) and key == "method":
        return f"{str(node.args['method']).upper()} JOIN"
    return f"{name_of(node)} with {key.rstrip('_').replace('_', ' ')}"


def odd_in(tree: exp.Expr) -> str:
    """What of a tree no other engine is ever given; "" where there is nothing."""
    found = tree.find(*_ODD)
    if found is not None:
        return name_of(found)
    for node in tree.find_all(exp.Join, exp.GenerateSeries, exp.CTE):
        match node:
            case exp.Join() if node.args.get("method") == "NATURAL":
                return "NATURAL JOIN"
            case exp.Join() if node.args.get("method") == "ASOF" and node.args.get("using"):
                return "ASOF JOIN with USING"
            case exp.GenerateSeries() if node.find(exp.Column, exp.Query) is not None:
                return "a series whose bounds are no constants"
            case exp.CTE() if node.args.get("key_expressions"):
                return "WITH RECURSIVE with USING KEY"
    return ""


def operation_of(operation: str) -> str:
    """What an operation of a `Dialect` is called."""
    return _OPERATIONS.get(operation, operation)
