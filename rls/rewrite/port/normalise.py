"""A guarded DuckDB text → a tree in which every name is resolved: stars and ALL clauses written out, columns qualified.

sqlglot resolves, and DuckDB judges: both texts must bind to the same plan on empty tables, so what sqlglot resolves in
another way than DuckDB (or prints in another way than it was written) is refused. Owns that the tree means the text.
"""

from __future__ import annotations

from typing import Any, Final

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.qualify import qualify
from sqlglot.schema import MappingSchema

from rls.catalog import Catalog, fold, quote
from rls.errors import QueryRefused
from rls.rewrite.bound import Planner, answer_columns, bound_plan
from rls.rewrite.parse import quietly
from rls.rewrite.port.expand import finish, prepare
from rls.rewrite.port.kinds import not_portable
from rls.rewrite.port.named import name_of, odd_in
from rls.rewrite.port.write_out import write_out

__all__ = ["normalise", "same_plan"]

# Of a plan: what names things for people, or says where they stood in the text.
_SPELLING: Final = frozenset(("alias", "ctename", "query_location", "query_location_length"))
# Of a plan: the numbers of what columns come from.
_SOURCES: Final = frozenset((
    "table_index", "group_index", "aggregate_index", "groupings_index", "window_index", "mark_index", "cte_index",
    "unnest_index", "pivot_index",
))  # fmt: skip
# Of a table function in a plan: what follows from its parameters.
_OF_PARAMETERS: Final = frozenset(("arguments", "input_table_types", "input_table_names"))
# DuckDB has several names for one function, and sqlglot may write another than it read.
_SYNONYMS: Final = {
    "array_contains": "list_contains", "list_has": "list_contains", "array_has": "list_contains", "substr": "substring",
    "ceiling": "ceil", "len": "length", "mean": "avg", "ucase": "upper", "lcase": "lower", "pow": "power",
    "**": "power", "^": "power", "datetrunc": "date_trunc", "datepart": "date_part", "datediff": "date_diff",
    "position": "strpos", "instr": "strpos", "listagg": "string_agg", "group_concat": "string_agg",
    "var_samp": "variance", "list": "array_agg", "max_by": "arg_max", "min_by": "arg_min",
}  # fmt: skip
_MOST: Final = 4 << 20  # characters of a plan
_LONGEST: Final = 200_000  # characters of a guarded text
_SCHEMAS: Final[dict[str, MappingSchema]] = {}  # by a catalog's version
_MOST_SCHEMAS: Final = 8
_PARTS: Final = frozenset(("date_trunc", "date_part", "date_diff"))
_NEGATED: Final = {
    "COMPARE_DISTINCT_FROM": ("COMPARE_NOT_DISTINCT_FROM", "IS NOT DISTINCT FROM"),
    "COMPARE_NOT_DISTINCT_FROM": ("COMPARE_DISTINCT_FROM", "IS DISTINCT FROM"),
}


def normalise(text: str, catalog: Catalog, *, planner: Planner | None = None) -> exp.Expr:
    """The qualified tree; `planner` is where texts are bound (default: in this process).

    Raises `QueryRefused` (`query.not_portable`), `PlannerBusy`.
    """
    refused = QueryRefused(
        "query.not_portable",
        "not all names in the query could be resolved for another engine than DuckDB",
        hint="list columns instead of stars, and give every relation an alias",
    )
    meant = _meaning_of(text, catalog, planner)
    if meant is None:
        # Also where names stand for so much (aliases of aliases, twice in each) that nobody could write it out.
        odd = _odd_in(text)
        raise not_portable(odd) if odd else refused

    def describe(query: str) -> list[str] | None:
        found = answer_columns(query, catalog, planner=planner) if len(query) <= _LONGEST else None
        return None if found is None else [one.name for one in found]

    tree: exp.Expr | None = None
    again, pivoted, odd = "", False, ""
    try:
        with quietly():
            read = sqlglot.parse_one(text, read="duckdb")
            pivoted, odd = read.find(exp.Pivot) is not None, odd_in(read)
            read = prepare(write_out(read, describe))
            tree = finish(qualify(read, schema=_schema(catalog), dialect="duckdb", validate_qualify_columns=False))
            again = tree.sql("duckdb")
    except (SqlglotError, RecursionError, ValueError, AttributeError, TypeError, KeyError, IndexError, AssertionError):
        tree = None
    if tree is None or not _same(meant, _meaning_of(again, catalog, planner), pivoted=pivoted):
        if not odd and tree is not None and tree.find(exp.TableColumn) is not None:
            odd = name_of(exp.TableColumn())
        raise not_portable(odd) if odd else refused
    return tree


def _odd_in(text: str) -> str:
    try:
        with quietly():
            return odd_in(sqlglot.parse_one(text, read="duckdb")) if len(text) <= _LONGEST else ""
    except (SqlglotError, RecursionError):
        return ""


def _same(meant: Any, again: Any, *, pivoted: bool) -> bool:
    """Whether two plans are one. DuckDB counts a PIVOT as one source more than the query that it becomes."""
    return bool(meant == again or (pivoted and _counted(meant, {}) == _counted(again, {})))


def _counted(tree: Any, numbers: dict[int, int]) -> Any:
    """A plan whose sources have the numbers in which they come."""
    if isinstance(tree, list):
        return [_counted(one, numbers) for one in tree]
    if not isinstance(tree, dict):
        return tree
    found = {}
    for key, value in tree.items():
        if key in _SOURCES and isinstance(value, int):
            found[key] = numbers.setdefault(value, len(numbers))
        else:
            found[key] = _counted(value, numbers)
    return found


def _schema(catalog: Catalog) -> MappingSchema:
    """A catalog as sqlglot wants it; made once for each of the last ones."""
    found = _SCHEMAS.get(catalog.version)
    if found is None:
        known: dict[str, Any] = {}
        for relation in catalog.relations.values():
            # Names are read as SQL there: one that is not quoted may be no name at all, and spoil the whole catalog.
            place = known.setdefault(catalog.attached, {}).setdefault(quote(".".join(relation.schema)), {})
            place[quote(relation.name)] = {quote(column.name): column.type for column in relation.columns}
        if len(_SCHEMAS) >= _MOST_SCHEMAS:
            _SCHEMAS.clear()
        found = _SCHEMAS[catalog.version] = MappingSchema(known, dialect="duckdb")
    return found


def same_plan(one: str, other: str, catalog: Catalog) -> bool:
    """Whether two texts bind, and to the same plan but for names."""
    meant = _meaning_of(one, catalog, None)
    return meant is not None and meant == _meaning_of(other, catalog, None)


def _meaning_of(text: str, catalog: Catalog, planner: Planner | None) -> Any:
    plan = bound_plan(text, catalog, planner=planner, most=_MOST) if len(text) <= _LONGEST else None
    return None if plan is None else _meaning(plan)


def _meaning(tree: Any) -> Any:
    if isinstance(tree, list):
        return [_meaning(one) for one in tree]
    if not isinstance(tree, dict):
        return tree
    found = {key: _meaning(value) for key, value in tree.items() if key not in _SPELLING}
    for key in ("names", "bound_columns"):
        if isinstance(names := found.get(key), list):
            # One name, however it is spelled.
            found[key] = [fold(one) if isinstance(one, str) else one for one in names]
    # `NOT x IS NULL` is how sqlglot writes `x IS NOT NULL`.
    if found.get("type") == "OPERATOR_NOT" and len(found["children"]) == 1:
        inner = found["children"][0]
        if isinstance(inner, dict) and inner.get("type") == "OPERATOR_IS_NULL":
            return {**inner, "type": "OPERATOR_IS_NOT_NULL"}
        # … and `NOT x IS TRUE`, `x IS NOT TRUE`: neither comparison is ever NULL.
        if isinstance(inner, dict) and inner.get("type") in _NEGATED:
            other, name = _NEGATED[inner["type"]]
            return {**inner, "type": other, "qname": {**inner["qname"], "path": [name]}}
    # What a PIVOT groups by is not listed once more as the only set of groups.
    if found.get("grouping_sets") == [[*range(len(found.get("groups") or ()))]]:
        found["grouping_sets"] = []
    if found.get("expression_class") in ("BOUND_FUNCTION", "BOUND_AGGREGATE"):
        *schema, name = found["qname"]["path"]
        found["qname"] = {**found["qname"], "path": [*schema, _SYNONYMS.get(name, name)]}
    # `range(3)` is `range(0, 3)` to it.
    if found.get("type") == "LOGICAL_GET" and (found.get("qname") or {}).get("path", [""])[-1] == "range":
        values = found.get("parameters") or []
        if len(values) == 1 and isinstance(values[0], dict) and isinstance(values[0].get("value"), int):
            values = [{**values[0], "value": 0}, *values]
        found = {key: value for key, value in found.items() if key not in _OF_PARAMETERS} | {"parameters": values}
    # It writes the parts of dates in capitals.
    if found.get("expression_class") == "BOUND_FUNCTION" and found["qname"]["path"][-1] in _PARTS:
        first = found["children"][0]
        if isinstance(first, dict) and isinstance(value := (first.get("value") or {}).get("value"), str):
            found["children"][0] = {**first, "value": {**first["value"], "value": value.lower()}}
    return found
