"""A bound plan → why DuckDB could miscount rows by what stored statistics say of hidden ones, or None.

DuckDB 2.0 bounds the rows of each plan node from above, takes away a LIMIT over fewer rows, and adds integers without
looking at overflow where a bound allows it. Its bound is too low for a join with what counts for itself (an aggregate
without groups, a union, a limit: the bound of what lies below it is taken for the other side's), and for a join that
keeps rows without a match where the other side is empty. Whether a side is empty, and how many rows a table holds,
DuckDB then knows from hidden rows too: a LIMIT that goes, or a sum that wraps around, tells of them. Takes bound plans;
owns that what is not named here counts as miscounted (facts `counted_*` of the attack tests show each case).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from rls.rewrite.bound_tree import Objection, Tree, objection, plain, type_of

__all__ = ["why_counts_may_tell"]

_LEAVES: Final = {"LOGICAL_DUMMY_SCAN", "LOGICAL_EXPRESSION_GET", "LOGICAL_EMPTY_RESULT"}
_PASSING: Final = {"LOGICAL_PROJECTION", "LOGICAL_FILTER", "LOGICAL_ORDER_BY", "LOGICAL_DISTINCT"}
_SET_OPERATIONS: Final = {"LOGICAL_UNION", "LOGICAL_EXCEPT", "LOGICAL_INTERSECT"}
# Aggregates that DuckDB does not choose by how many rows there are.
_PLAIN_AGGREGATES: Final = {
    "count", "count_star", "count_if", "min", "max", "bool_and", "bool_or", "bit_and", "bit_or", "bit_xor", "first",
    "any_value", "list", "string_agg", "median", "quantile_cont", "quantile_disc", "mode", "arg_min", "arg_max",
    "stddev_samp", "stddev_pop", "var_samp", "var_pop",
}  # fmt: skip
_SUMS: Final = {"sum", "avg"}
_INEXACT: Final = {"FLOAT", "DOUBLE"}  # added as they are, however many


@dataclass(frozen=True, slots=True)
class _Count:
    """What DuckDB makes of the rows of one node: `wrong` why its bound may be too low, `apart` whether it is not made
    of the bound below it."""

    wrong: str | None = None
    apart: bool = False


class _Told(Objection):
    """Where a bound that may be too low decides an answer."""


def why_counts_may_tell(plan: Any, *, policies_ask: bool) -> str | None:
    """A reason in a few words, or None where no answer depends on a bound that may be too low.

    policies_ask  whether a row filter without a fence has a sub-query of its own, which the plan does not show
    """
    return objection(lambda: [_Counts(policies_ask).of(tree) for tree in plan])


class _Counts:
    def __init__(self, policies_ask: bool) -> None:
        self._table = _Count("a policy with a sub-query" if policies_ask else None)
        self._ctes: dict[int, _Count] = {}

    def of(self, tree: Tree) -> _Count:
        kind, children = tree["type"], tree.get("children", [])
        match kind:
            case "LOGICAL_GET" if not children:
                return self._table
            case "LOGICAL_MATERIALIZED_CTE":
                self._ctes[tree["table_index"]] = self.of(children[0])
                return self.of(children[1])
            case "LOGICAL_CTE_REF":
                return self._ctes[tree["cte_index"]]
            case "LOGICAL_AGGREGATE_AND_GROUP_BY":
                return _of_aggregate(tree, self.of(children[0]))
            case "LOGICAL_WINDOW":
                below = self.of(children[0])
                _decides("a window", below)
                return below
            case "LOGICAL_LIMIT":
                _decides("a LIMIT", self.of(children[0]))
                return _Count(apart=True)
            case "LOGICAL_CROSS_PRODUCT":
                return _of_join([self.of(child) for child in children])
            case "LOGICAL_COMPARISON_JOIN" if tree["join_type"] == "INNER":
                return _of_join([self.of(child) for child in children])
            case _ if kind in _LEAVES:
                return _Count()
            case _ if kind in _PASSING:
                return self.of(children[0])
            case _ if kind in _SET_OPERATIONS:
                return replace(_of_all([self.of(child) for child in children]), apart=True)
        for child in children:
            # DuckDB may ask for the first of these rows only: it puts a LIMIT there.
            _decides("a join", self.of(child))
        return _Count(f"{tree.get('join_type', '')} {plain(kind)}".lower().strip())


def _of_all(below: list[_Count]) -> _Count:
    return next((one for one in below if one.wrong), below[0])


def _of_join(below: list[_Count]) -> _Count:
    found = _of_all(below)
    if found.wrong is None and any(one.apart for one in below):
        return _Count("a join with what counts for itself")
    return _Count(found.wrong)


def _of_aggregate(tree: Tree, below: _Count) -> _Count:
    for one in tree["expressions"]:
        name = one["qname"]["path"][-1]
        if name in _SUMS:
            if type_of(one["children"][0])["id"] not in _INEXACT:
                _decides(f"`{name}`", below)
        elif name not in _PLAIN_AGGREGATES:
            _decides(f"`{name}`", below)
    if not tree["groups"]:
        return _Count(apart=True)
    return _Count("GROUPING SETS") if len(tree["grouping_sets"]) > 1 else below


def _decides(what: str, below: _Count) -> None:
    if below.wrong is not None:
        raise _Told(f"stored extremes could decide {what} over {below.wrong}")
