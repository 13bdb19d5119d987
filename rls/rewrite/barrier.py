"""A drafted query → the guarded query whose guards are fenced only as far as they must be.

A fence (`OFFSET 0` in a guard) keeps every expression of the caller above the row filter. It costs pushdown, so it is
left out where nothing could be observed below the filter: where DuckDB's bound plan, with the types at hand, holds
nothing that may raise (but for the answer's own expressions: see `late`), nothing whose answer depends on the order of
rows, and nothing that takes more than a small fixed effort per row (an expression that a hidden row could make run out
of time or memory tells as much as an error). Owns invariant (fenced) together with `verify`. All is allowed by name;
what is not known is fenced.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, Final

from sqlglot.tokens import TokenType

from rls.catalog import Relation, fold, quote
from rls.errors import QueryRefused
from rls.policy.grant import Grant
from rls.rewrite.bound import PROBE, Planner, PlannerBusy, PlannerSlow, bound_plan, pushed_plan
from rls.rewrite.bound_tree import PARTS, WITHOUT_EXPRESSIONS
from rls.rewrite.cheap import BOUNDED, GROWING, MAX_CONSTANT, why_not_cheap
from rls.rewrite.counts import why_counts_may_tell
from rls.rewrite.extremes import why_extremes_may_mislead, why_filters_may_mislead
from rls.rewrite.guard import Draft
from rls.rewrite.guard_text import guard_text
from rls.rewrite.guarded import FENCED, NO_TIME, TOO_SLOW, Barrier, Guard, GuardedQuery, Splice
from rls.rewrite.leakproof import judge_policy, why_plan_may_raise, why_plan_may_raise_early
from rls.rewrite.parse import Parsed
from rls.rewrite.prunable import why_statistics_may_tell
from rls.rewrite.pushed import may_be_pushed, pushed_conditions
from rls.rewrite.splice import apply_splices

__all__ = ["BUSY", "lower", "lower_fenced", "typed_parameters"]

BUSY: Final = replace(FENCED, reason=NO_TIME)
_SLOW: Final = replace(FENCED, reason=TOO_SLOW)

MAX_REFERENCES: Final = 100  # guards in one text; DuckDB's time to bind joins grows with their square
MAX_PUSHED: Final = 1_000_000  # characters of a plan whose filters are looked at; that grows with the square, too
MAX_MIXED: Final = 200  # ANDs among as many ORs: to hand filters to scans, DuckDB takes the square of that, too
# With a mapping table for each of six relations DuckDB took 9 s for TPC-H's ninth query, and 0.1 s behind fences.
MAX_BESIDE_MAPPING: Final = 4
MAX_EXPRESSIONS: Final = 500
MAX_GROWING: Final = 3  # times that a call puts two values of rows together: `a || a` over itself doubles each time

_NODES: Final = {
    "LOGICAL_GET", "LOGICAL_PROJECTION", "LOGICAL_FILTER", "LOGICAL_AGGREGATE_AND_GROUP_BY", "LOGICAL_ORDER_BY",
    "LOGICAL_DISTINCT", "LOGICAL_COMPARISON_JOIN", "LOGICAL_DELIM_JOIN", "LOGICAL_DELIM_GET", "LOGICAL_CROSS_PRODUCT",
    "LOGICAL_UNION", "LOGICAL_EXCEPT", "LOGICAL_INTERSECT", "LOGICAL_MATERIALIZED_CTE", "LOGICAL_CTE_REF",
    "LOGICAL_DUMMY_SCAN", "LOGICAL_EXPRESSION_GET", "LOGICAL_EMPTY_RESULT",
}  # fmt: skip
_AGGREGATES: Final = {
    "count", "count_star", "sum", "sum_no_overflow", "min", "max", "avg", "bool_and", "bool_or", "bit_and", "bit_or",
    "bit_xor", "count_if",
}  # fmt: skip
_INEXACT: Final = {"FLOAT", "DOUBLE"}  # their sums depend on the order of rows
_LIMITS: Final = {TokenType.LIMIT, TokenType.FETCH}
_STOPS: Final = {
    TokenType.OVER, TokenType.QUALIFY, TokenType.PIVOT,
    TokenType.UNPIVOT, TokenType.TABLE_SAMPLE, TokenType.SUMMARIZE, TokenType.DESCRIBE, TokenType.ASOF,
    TokenType.LATERAL, TokenType.WINDOW,
}  # fmt: skip


def lower(
    query: Draft,
    parameter_types: Mapping[str, str] | None = None,
    *,
    for_engine: bool = False,
    planner: Planner | None = None,
) -> GuardedQuery:
    """The guarded query with as little of a barrier as is safe, verified.

    parameter_types  DuckDB types of the values that the caller's own parameters will have, by name
    for_engine       the text runs on this library's engine, whose optimizer moves nothing but filters where statistics
                     are hidden: then what may raise in the answer alone needs no fence
    planner          where texts are bound; default: in this process
    Raises `QueryRefused`.
    """
    # Binding evaluates constants: nothing is bound that the verifier would refuse.
    words = _why_words(query.parsed)
    found: GuardedQuery | None = None
    if words is None:
        # What the binder makes harmless may look otherwise to the verifier, who sees the text alone.
        with contextlib.suppress(QueryRefused):
            found = query.finish(Barrier(fenced=False, hide_statistics=True))
    if found is None:
        words = words or "the verifier asks for it"
        found = query.finish(FENCED)
    try:
        barrier = _decide(query, parameter_types or {}, words, for_engine=for_engine, planner=planner)
    except PlannerBusy as error:
        barrier = _unjudged(error)
    if barrier.fenced != bool(found.fence_reason) or barrier.conjuncts:
        return query.finish(barrier)
    # As the verifier has seen it, but for the statistics.
    hide = found.hide_statistics and (barrier.hide_statistics or found.reads_statistics)
    return replace(found, hide_statistics=hide, fence_reason=barrier.reason)


def lower_fenced(query: Draft, parameter_types: Mapping[str, str], *, planner: Planner | None = None) -> GuardedQuery:
    """The guarded query with its fences and what may stand below them, verified: for an engine that raises where
    DuckDB does not. Raises `QueryRefused`."""
    found = query.finish(FENCED, for_duckdb=False)
    try:
        barrier = _decide(query, parameter_types, "another engine runs it", for_engine=False, planner=planner)
    except PlannerBusy as error:
        return replace(found, fence_reason=_unjudged(error).reason if found.fence_reason else "")
    return query.finish(barrier, for_duckdb=False) if barrier.fenced else found


def _unjudged(why: PlannerBusy) -> Barrier:
    # A text that takes too long is not tried again each time that it comes.
    return _SLOW if isinstance(why, PlannerSlow) else BUSY


def _decide(
    query: Draft, parameter_types: Mapping[str, str], words: str | None, *, for_engine: bool, planner: Planner | None
) -> Barrier:
    """Bind the query on empty tables, one for each reference, that have the stored columns and no policy; the
    policies are judged apart, since a query's text is new more often than a policy's."""
    probes: dict[str, Relation] = {}
    names: dict[str, int] = {}
    counts: Counter[str] = Counter()

    def form(one: Guard, number: int, source: str) -> tuple[Guard, str]:
        if one.relation.kind == "view":
            return one, guard_text(replace(one, fenced=False), source=source)
        label = ".".join(one.relation.key)
        name = f"{label}#{counts[label]}"
        counts[label] += 1
        probes[name], names[name] = one.relation, number
        source = f"{PROBE}.main.{quote(name)}"
        shown = replace(one, grant=replace(one.grant, kind="conditional", predicate="true"), fenced=False)
        text = guard_text(shown, source=source)
        # A table that shows all as it is stands for itself: bound without a star, it has the columns in use only.
        return one, source if text == f"(SELECT * FROM {source} AS {quote(one.relation.name)} WHERE true)" else text

    # Judged with the literals in place: what their class stands for, they stand for.
    written = query.write(form)
    hiding = [number for number, one in enumerate(written.guards) if one.grant.hides]
    if not hiding or len(probes) > MAX_REFERENCES:
        return FENCED if hiding else Barrier(fenced=False, hide_statistics=False)
    typed = typed_parameters(query.parsed, parameter_types)
    text = _spliced(query, [*written.splices, *typed])
    plan = bound_plan(text, query.catalog, probes=probes, planner=planner)
    judged = {n: judge_policy(written.guards[n], query.catalog) for n in hiding}
    raising = {n: found.raises for n, found in judged.items() if found.raises is not None}
    open_ = _untyped_parameter(query.parsed, parameter_types)
    known = next(iter(raising.values()), None) or open_
    raises = early = known or why_plan_may_raise(plan)
    if for_engine and raises is not None and known is None and all(g.relation.kind == "table" for g in written.guards):
        early = why_plan_may_raise_early(plan)
    if len(written.guards) > MAX_BESIDE_MAPPING and any(_asks(g.grant) for g in written.guards):
        words = words or "many joins beside a mapping table are planned better behind fences"
    reason = early or _why_observable(plan) or words
    hide = raises is not None and (early is not None or why_statistics_may_tell(plan) is not None)
    asks = reason is None and any(_asks(written.guards[n].grant) for n in hiding)
    hide = hide or why_counts_may_tell(plan, policies_ask=asks) is not None
    hide = hide or why_extremes_may_mislead(plan) is not None
    hide = hide or any(found.misled is not None for found in judged.values())
    # Below a view's fence stand its own conditions and those of its policies.
    if reason is None or any(one.relation.kind == "view" for one in written.guards):
        hide = hide or why_filters_may_mislead(plan) is not None
    if reason is None:
        return Barrier(fenced=False, hide_statistics=hide)
    pushed: dict[str, tuple[str, ...]] = {}
    mixed = min(map(query.parsed.kinds.count, (TokenType.AND, TokenType.OR)))
    if open_ is None and mixed <= MAX_MIXED and may_be_pushed(plan):
        if query.literals:
            counts.clear()
            written = query.write(form, literal=lambda one: one.bound(f"CAST(${one.name} AS {one.type})"))
            text = _spliced(query, [*written.splices, *typed])
        pushed = pushed_conditions(
            pushed_plan(text, query.catalog, probes=probes, planner=planner, most=MAX_PUSHED), probes
        )
    # Beside a policy that may raise, a copy would say on which rows it does.
    if raises is not None and any(one.relation.kind == "view" for one in written.guards):
        pushed = {}
    conjuncts = {
        number: pushed[name]
        for name, number in names.items()
        if pushed.get(name) and number not in raising and written.guards[number].grant.kind == "conditional"
    }
    return Barrier(fenced=True, hide_statistics=hide, reason=early or reason, conjuncts=conjuncts)


def _asks(grant: Grant) -> bool:
    return any("SELECT" in text.upper() for text in (grant.predicate, *grant.masks.values()))


def _untyped_parameter(parsed: Parsed, types: Mapping[str, str]) -> str | None:
    """A parameter of the caller whose type is not known: to the binder it has whatever type stands beside it."""
    known = {fold(name) for name in types}
    for sign, name in pairwise(parsed.tokens):
        if sign.token_type == TokenType.PARAMETER and fold(name.text) not in known:
            return "a parameter's type is not known"
    return None


def _spliced(query: Draft, splices: list[Splice]) -> str:
    return apply_splices(query.parsed.text, sorted(splices, key=lambda s: (s.start, s.end)))


def typed_parameters(parsed: Parsed, types: Mapping[str, str]) -> list[Splice]:
    """`$name` → `CAST($name AS type)`, where the type is known."""
    known = {fold(name): type_ for name, type_ in types.items()}
    splices = []
    for sign, name in pairwise(parsed.tokens):
        if sign.token_type == TokenType.PARAMETER and sign.end + 1 == name.start and fold(name.text) in known:
            splices.append(Splice(sign.start, sign.start, "CAST("))
            splices.append(Splice(name.end + 1, name.end + 1, f" AS {known[fold(name.text)]})"))
    return splices


def _why_words(parsed: Parsed) -> str | None:
    """What in the caller's text, whatever it means, is not for a text without fences; a first, cheap look."""
    kinds = parsed.kinds
    if not _STOPS.isdisjoint(kinds):
        index = next(index for index, kind in enumerate(kinds) if kind in _STOPS)
        return f"{parsed.tokens[index].text.upper()} depends on the order of rows or on plans"
    if (costly := why_not_cheap(parsed)) is not None:
        return costly
    return "LIMIT depends on the order of rows" if _is_limited_inside(kinds) else None


def _is_limited_inside(kinds: Sequence[TokenType]) -> bool:
    """Whether there is a LIMIT that is not the statement's own over groups: no other may go unfenced."""
    if _LIMITS.isdisjoint(kinds):
        return False
    if TokenType.GROUP_BY not in kinds:
        return True
    # The whole statement may stand in parentheses.
    depth = -next(index for index, kind in enumerate(kinds) if kind != TokenType.L_PAREN)
    for kind in kinds:
        depth += (kind == TokenType.L_PAREN) - (kind == TokenType.R_PAREN)
        if kind in _LIMITS and depth > 0:
            return True
    return False


def _why_observable(plan: Any) -> str | None:
    """What in a plan that cannot raise depends on the order of rows, or may take unbounded effort; None if nothing."""
    growing = expressions = 0
    adds = takes_values = False
    stack: list[Any] = [_without_last_limit(tree) for tree in plan or ()]
    while stack:
        tree = stack.pop()
        if isinstance(tree, list):
            stack += [item for item in tree if isinstance(item, PARTS)]
            continue
        kind = tree.get("type")
        if isinstance(kind, str) and kind not in _NODES and kind.startswith("LOGICAL_"):
            return f"{kind.removeprefix('LOGICAL_').replace('_', ' ').lower()} depends on the order of rows"
        if kind == "LOGICAL_DISTINCT" and tree.get("distinct_type") != "DISTINCT":
            return "DISTINCT ON depends on the order of rows"
        match tree.get("expression_class"):
            case None:
                pass
            case "BOUND_AGGREGATE":
                name = tree["qname"]["path"][-1]
                inputs = {_type_id(child) for child in tree["children"]}
                if name not in _AGGREGATES or (name in ("sum", "avg") and inputs & _INEXACT):
                    return f"`{name}` depends on the order of rows"
            case "BOUND_FUNCTION":
                expressions += 1
                name = tree["qname"]["path"][-1]
                if tree["type"] == "BOUND_FUNCTION":
                    if name not in BOUNDED:
                        return f"`{name}` is not among the cheap functions"
                    if name == "concat_ws" and tree["children"][0]["expression_class"] != "BOUND_CONSTANT":
                        return "`concat_ws` repeats what is no constant"
                    if name in GROWING:
                        adds = True
                        varying = sum(child["expression_class"] != "BOUND_CONSTANT" for child in tree["children"])
                        growing += max(0, varying - 1)
            case "BOUND_PARAMETER":
                takes_values |= not str(tree.get("identifier", "")).startswith("rls_")
            case "BOUND_CONSTANT":
                value = tree["value"].get("value")
                if isinstance(value, str) and len(value) > MAX_CONSTANT:
                    return "a constant is long"
            case _:
                expressions += 1
        if growing > MAX_GROWING or expressions > MAX_EXPRESSIONS:
            return "the query does much per row"
        if adds and takes_values:
            return "a parameter may be long"
        if (children := tree.get("children")) is not None:
            stack.append(children)
        stack += [v for key, v in tree.items() if v and isinstance(v, PARTS) and key not in WITHOUT_EXPRESSIONS]
    return None


def _without_last_limit(plan: Any) -> Any:
    """The plan without the LIMIT at its top that takes the first of sorted groups, as many as a number says.

    Which of equal groups come first is settled by the order in which groups arose, with or without a fence. Of rows it
    is not: DuckDB then reads first what stored extremes say is near the top.
    """
    match plan:
        case {"type": "LOGICAL_MATERIALIZED_CTE", "children": [body, rest]}:
            return {**plan, "children": [body, _without_last_limit(rest)]}
        case {"type": "LOGICAL_PROJECTION", "children": [{"type": "LOGICAL_LIMIT"} as below], "expressions": shown} if (
            all(one["expression_class"] == "BOUND_REF" for one in shown)
        ):
            return _without_last_limit(below)
        case {"type": "LOGICAL_LIMIT", "children": [{"type": "LOGICAL_ORDER_BY"} as order]} if _are_groups(order):
            if all(plan[part]["type"] in ("UNSET", "CONSTANT_VALUE") for part in ("limit_val", "offset_val")):
                return order
    return plan


def _are_groups(tree: Any) -> bool:
    while tree["type"] in ("LOGICAL_ORDER_BY", "LOGICAL_PROJECTION", "LOGICAL_FILTER"):
        (tree,) = tree["children"]
    return bool(tree["type"] == "LOGICAL_AGGREGATE_AND_GROUP_BY")


def _type_id(tree: Any) -> str:
    if tree["expression_class"] == "BOUND_CONSTANT":
        return str(tree["value"]["type"]["id"])
    return str((tree.get("return_type") or {"id": "BOOLEAN"})["id"])
