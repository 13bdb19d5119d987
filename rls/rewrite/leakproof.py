"""A guarded text, or a condition on one relation, bound on an empty copy of the catalog → why it may raise, or None.

Whether `note = 5` is harmless depends on the type of `note`: over VARCHAR it is a cast of every row's text, and its
error prints the text. So the types at hand decide, and DuckDB says them: an empty instance holds the relations, and its
bound plan (`json_serialize_plan`) shows each function with the types it was bound for and every cast that nobody wrote.
Owns that what is not known to be total counts as raising: plan nodes here, expressions in `total`; and that magnitudes
follow columns from node to node only where DuckDB's order of columns is known.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from rls.catalog import Catalog, quote
from rls.rewrite import magnitude as numbers
from rls.rewrite.bound import bound_plan
from rls.rewrite.bound_tree import (
    BOOLEAN,
    PARTS,
    WITHOUT_EXPRESSIONS,
    Column,
    Inputs,
    MayRaise,
    Tree,
    expressions_in,
    largest,
    mass,
    objection,
    plain,
    type_of,
)
from rls.rewrite.casts import joins, kind_of
from rls.rewrite.extremes import why_extremes_may_mislead, why_filters_may_mislead
from rls.rewrite.guarded import Guard
from rls.rewrite.late import without_late
from rls.rewrite.total import check_comparison, judge

__all__ = ["Judged", "judge_policy", "why_it_may_raise", "why_plan_may_raise", "why_plan_may_raise_early"]

_MAX_KNOWN: Final = 4096  # texts whose verdicts are remembered

# Nodes that hand on the columns of their one child, in its order.
_PASSING: Final = {"LOGICAL_FILTER", "LOGICAL_ORDER_BY", "LOGICAL_LIMIT", "LOGICAL_TOP_N", "LOGICAL_DISTINCT"}
# Nodes whose columns are known by type only.
_OTHERS: Final = {
    "LOGICAL_DELIM_GET", "LOGICAL_DUMMY_SCAN", "LOGICAL_EXPRESSION_GET", "LOGICAL_EMPTY_RESULT",
}  # fmt: skip
_SETS: Final = {"LOGICAL_UNION", "LOGICAL_EXCEPT", "LOGICAL_INTERSECT"}
_JOINS: Final = {"LOGICAL_COMPARISON_JOIN", "LOGICAL_DELIM_JOIN"}
_BOTH_SIDES: Final = {"INNER", "LEFT", "RIGHT", "OUTER", "FULL", "SINGLE"}
_BIGINT: Final = {"id": "BIGINT", "type_info": None}


@dataclass(frozen=True, slots=True)
class Judged:
    """Of a text, in a few words each: why some expression may `raise` on some row, and why it may be `misled`, so that
    stored extremes decide which rows pass filters that are the scans' own. None: it cannot."""

    raises: str | None = None
    misled: str | None = None


def judge_policy(one: Guard, catalog: Catalog) -> Judged:
    """A guard's row filter on the rows of its relation; a view's stands in the query's plan."""
    grant, relation = one.grant, one.relation
    if grant.kind != "conditional" or relation.kind == "view":
        return Judged()
    source = f"{catalog.source(relation)} AS {quote(relation.name)}"
    return _judged(f"SELECT 1 FROM {source} WHERE {grant.predicate}", catalog)


def why_it_may_raise(text: str, catalog: Catalog) -> str | None:
    """Why some expression of `text` may raise on some row, in a few words for `rls explain`; None where none can.

    `text` is guarded text over `catalog`; a parameter without a type, or a text that does not bind, may raise.
    """
    return _judged(text, catalog).raises


def _judged(text: str, catalog: Catalog) -> Judged:
    key = (text, catalog.version)
    try:
        return _known[key]
    except KeyError:
        plan = bound_plan(text, catalog)
    misled = why_extremes_may_mislead(plan) or why_filters_may_mislead(plan)
    found = Judged(why_plan_may_raise(plan), misled)
    if len(_known) >= _MAX_KNOWN:
        with contextlib.suppress(KeyError, StopIteration, RuntimeError):  # another thread was faster
            del _known[next(iter(_known))]
    _known[key] = found
    return found


_known: dict[tuple[str, str], Judged] = {}


def why_plan_may_raise(plan: Any) -> str | None:
    """The same for a bound plan as `bound_plan` gives it."""
    return _why(plan, lambda found: found)


def why_plan_may_raise_early(plan: Any) -> str | None:
    """The same for what DuckDB may evaluate before a row filter: see `late` for what it does not.

    None means that a row filter needs no fence for the sake of errors; where `why_plan_may_raise` has a reason all the
    same, stored extremes have to be hidden.
    """
    return _why(plan, without_late)


def _why(plan: Any, part: Callable[[Any], Any]) -> str | None:
    if plan is None:
        return "it does not bind"
    return objection(lambda: [_judge_node(tree, {}) for tree in part(plan)])


def _judge_node(tree: Tree, ctes: dict[int, Inputs]) -> Inputs:
    """What the node hands on to the one above it; raises `MayRaise`."""
    kind = tree["type"]
    if kind == "LOGICAL_MATERIALIZED_CTE":
        body, rest = tree["children"]
        ctes[tree["table_index"]] = _judge_node(body, ctes)
        _judge_others(tree, Inputs(numbers.MAX_JOINED))
        return _judge_node(rest, ctes)
    children = [_judge_node(child, ctes) for child in tree["children"]]
    if kind in _JOINS:
        return _judge_join(tree, children)
    if kind == "LOGICAL_CROSS_PRODUCT":
        return _side_by_side(children)
    if kind in _SETS:
        return _one_after_another(children)
    below = children[0] if len(children) == 1 else Inputs(min(sum(c.rows for c in children) or 1, numbers.MAX_JOINED))
    match kind:
        case "LOGICAL_GET" if not children:
            _judge_others(tree, below)
            return _stored(tree)
        case "LOGICAL_PROJECTION":
            return Inputs(below.rows, _columns(tree["expressions"], below))
        case "LOGICAL_AGGREGATE_AND_GROUP_BY":
            return _judge_aggregates(tree, below)
        case "LOGICAL_WINDOW":
            added = _columns(tree["expressions"], below)
            return Inputs(below.rows, None if below.columns is None else (*below.columns, *added))
        case "LOGICAL_CTE_REF":
            return ctes.get(tree["cte_index"], Inputs(numbers.MAX_JOINED))
    if kind in _PASSING:
        _judge_others(tree, below)
        projected = tree.get("projection_map") or tree.get("projections")
        return Inputs(_limited(tree, below.rows), None if projected else below.columns)
    if kind in _OTHERS:
        _judge_others(tree, below)
        return Inputs(below.rows if children or kind == "LOGICAL_DUMMY_SCAN" else numbers.MAX_JOINED)
    raise MayRaise(f"{plain(kind)} is not shown to be total")


def _judge_others(tree: Tree, inputs: Inputs) -> None:
    """Every expression of a node, its children apart."""
    for key, value in tree.items():
        if value and key not in WITHOUT_EXPRESSIONS and isinstance(value, PARTS):
            for part in expressions_in(value):
                judge(part, inputs)


def _columns(expressions: Iterable[Tree], inputs: Inputs) -> list[Column]:
    columns = []
    for one in expressions:
        magnitude = judge(one, inputs)
        columns.append(Column(type_of(one), magnitude, mass(one, magnitude, inputs)))
    return columns


def _stored(tree: Tree) -> Inputs:
    """The columns of a relation; row numbers and the like are known by type only."""
    types = tree["returned_types"]
    indexes = [column["index"] for column in tree["column_indexes"]]
    if tree["projection_ids"]:
        indexes = [indexes[place] for place in tree["projection_ids"]]
    columns: list[Column | None] = []
    for index in indexes:
        known = index < len(types)
        top = numbers.limit(types[index]) if known else None
        columns.append(Column(types[index], top, None if top is None else top * numbers.MAX_ROWS) if known else None)
    return Inputs(numbers.MAX_ROWS, columns)


def _judge_aggregates(tree: Tree, below: Inputs) -> Inputs:
    """Groups first, then aggregates, then GROUPING(): DuckDB's order of columns."""
    sets = max(len(tree["grouping_sets"]), 1)
    rows = min(below.rows * sets, numbers.MAX_JOINED) if tree["groups"] or sets > 1 else 1
    columns = [replace(one, mass=None) for one in _columns(tree["groups"], below)]
    # Each row counts towards one group of each set: the sums of all groups are no larger than the sum of all rows.
    for one in tree["expressions"]:
        magnitude = judge(one, below)
        name = one["qname"]["path"][-1]
        total = None if magnitude is None else magnitude * (sets if name in ("sum", "count", "count_star") else rows)
        columns.append(Column(type_of(one), magnitude, total))
    # One bit per argument.
    columns += [Column(_BIGINT, 2 ** len(arguments), None) for arguments in tree["grouping_functions"]]
    return Inputs(rows, columns)


def _judge_join(tree: Tree, children: list[Inputs]) -> Inputs:
    left, right = children
    for condition in tree["conditions"]:
        if condition.keys() != {"left", "right", "comparison"}:
            raise MayRaise("a join's condition is not shown to be total")
        judge(condition["left"], left)
        judge(condition["right"], right)
        check_comparison(type_of(condition["left"]), type_of(condition["right"]))
        if not joins(type_of(condition["left"])):
            raise MayRaise(f"a join on {kind_of(type_of(condition['left']))} may raise")
    rest = {key: value for key, value in tree.items() if key != "conditions"}
    _judge_others(rest, Inputs(numbers.MAX_JOINED))
    if tree["left_projection_map"] or tree["right_projection_map"]:
        return Inputs(numbers.MAX_JOINED)
    match tree["join_type"]:
        case kind if kind in _BOTH_SIDES:
            return _side_by_side(children)
        case "SEMI" | "ANTI":
            return left
        case "MARK" if left.columns is not None:
            return Inputs(left.rows, (*left.columns, Column(BOOLEAN, None, None)))
        case _:
            return Inputs(numbers.MAX_JOINED)


def _side_by_side(children: list[Inputs]) -> Inputs:
    """The columns of a join: a row of one side may stand beside many of the other."""
    rows = min(children[0].rows * children[1].rows, numbers.MAX_JOINED)
    columns: list[Column | None] = []
    for child in children:
        if child.columns is None:
            return Inputs(rows)
        columns += [None if c is None else Column(c.type, c.magnitude, None) for c in child.columns]
    return Inputs(rows, columns)


def _one_after_another(children: list[Inputs]) -> Inputs:
    """The columns of a UNION and its kin: every row comes from one of the children."""
    rows = min(sum(child.rows for child in children), numbers.MAX_JOINED)
    columns: list[Column | None] = []
    sides = [child.columns for child in children]
    if any(side is None or len(side) != len(sides[0] or ()) for side in sides):
        return Inputs(rows)
    for group in zip(*(side or () for side in sides), strict=True):
        known = [one for one in group if one is not None and one.type == (group[0] and group[0].type)]
        if len(known) < len(group):
            columns.append(None)
            continue
        masses = [one.mass for one in known]
        mass_of_all = None if None in masses else sum(m for m in masses if m is not None)
        columns.append(Column(known[0].type, largest([one.magnitude for one in known]), mass_of_all))
    return Inputs(rows, columns)


def _limited(tree: Tree, rows: int) -> int:
    wanted = tree.get("limit_val")
    if isinstance(wanted, dict) and wanted.get("type") == "CONSTANT_VALUE":
        return min(rows, int(wanted["constant_integer"]))
    return rows
