"""A drafted DuckDB query → a guarded query for another engine: PostgreSQL, Spark, Sail.

guard (in DuckDB's SQL, verified by DuckDB's parser) → normalise → lower → check in the engine's SQL. Whatever DuckDB
would refuse is refused by the first step. Owns invariants (fenced) and (faithful) there: every guard of a conditional
grant holds a fence, unless nothing in the text can raise, and the answer has the names and types of DuckDB's.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from sqlglot import exp

from rls.catalog import Catalog, Column, fold
from rls.errors import QueryFailed
from rls.rewrite.barrier import lower_fenced, typed_parameters
from rls.rewrite.bound import LOCAL, Planner, PlannerBusy, PlannerSlow, answer_columns
from rls.rewrite.copies import refuse_strict
from rls.rewrite.guard import Draft
from rls.rewrite.guard_text import guard_text
from rls.rewrite.guarded import NO_TIME, TOO_SLOW, GuardedQuery
from rls.rewrite.parse import parse, tokenize
from rls.rewrite.port.answering import answering
from rls.rewrite.port.casts import type_of
from rls.rewrite.port.check import check
from rls.rewrite.port.dialect import Dialect
from rls.rewrite.port.kinds import INTEGERS, listed_kind, not_portable, shown_kind
from rls.rewrite.port.normalise import normalise
from rls.rewrite.port.postgres import Postgres
from rls.rewrite.port.scopes import Columns, Context, Scope
from rls.rewrite.port.spark import Sail, Spark
from rls.rewrite.port.statements import lower_query
from rls.rewrite.port.target import Target
from rls.rewrite.splice import apply_splices
from rls.rewrite.wrap import spell_out

__all__ = ["port"]

_PATIENCE_SECONDS: Final = 10.0
_GUARDS: Final[dict[tuple[str, str], exp.Expr]] = {}
_MOST_GUARDS: Final = 256
_PIVOT: Final = re.compile(r"\b(UN)?PIVOT\b", re.IGNORECASE)
_ENGINES: Final[dict[str, Callable[[Target], Dialect]]] = {"postgres": Postgres, "spark": Spark, "sail": Sail}


def port(
    query: Draft, parameter_types: Mapping[str, str], target: Target, *, planner: Planner | None = None
) -> GuardedQuery:
    """The guarded query in the target's SQL, with `$1`, `$2`, … (`:p1`, …) for `binds`, and the `columns` it must give.

    parameter_types  DuckDB types of the values of the caller's own parameters, by name
    planner          where texts are bound; default: in this process
    Raises `QueryRefused`: what DuckDB's guarded query raises, and `query.not_portable` with the construct's name;
    `QueryFailed` (`run.busy`) where the planner has no time, or the text needs too much of it.
    """
    return _patiently(lambda planner: _port(query, parameter_types, target, planner), planner or LOCAL)


def _patiently(work: Callable[[Planner], GuardedQuery], planner: Planner) -> GuardedQuery:
    """What `work` makes with a planner that may be busy, or slow. Raises `QueryFailed` (`run.busy`)."""
    until, slow = time.monotonic() + _PATIENCE_SECONDS, False
    while True:
        try:
            return work(planner)
        except PlannerSlow:
            # By itself, or for want of a processor: once more, with more time.
            if slow:
                break
            planner, slow, until = planner.patient(), True, time.monotonic() + _PATIENCE_SECONDS
        except PlannerBusy:
            # It starts, or is at another text.
            if time.monotonic() > until:
                break
    if slow:
        raise QueryFailed("run.busy", "the query takes too long to prepare", hint="simplify it, or send it again later")
    raise QueryFailed("run.busy", "too many queries are prepared at once", hint="send the query again later")


def _port(query: Draft, parameter_types: Mapping[str, str], target: Target, planner: Planner) -> GuardedQuery:
    # As on DuckDB, the caller's harmless conditions are copied below the fence; the fence itself always stays, since
    # it was judged by what may raise in DuckDB.
    made = lower_fenced(query, parameter_types, planner=planner)
    refuse_strict(made)

    def carry(made: GuardedQuery) -> GuardedQuery:
        return _patiently(lambda planner: _carry(made, query.catalog, parameter_types, target, planner), planner)

    # Where columns come from the data, the text is carried over once they are known.
    return replace(made, carry=carry) if made.pivots else _carry(made, query.catalog, parameter_types, target, planner)


def _carry(
    made: GuardedQuery, catalog: Catalog, parameter_types: Mapping[str, str], target: Target, planner: Planner
) -> GuardedQuery:
    """A verified text of DuckDB's in the target's SQL."""
    typed = _spelled(_typed(made.sql, parameter_types))
    columns = answer_columns(typed, catalog, planner=planner)
    if columns is None:
        # Nothing to run; the executor finds DuckDB's own words for what is wrong.
        return made
    tree = normalise(typed, catalog, planner=planner)
    alone = [_typed(guard_text(one, source=catalog.source(one.relation))[1:-1], parameter_types) for one in made.guards]
    guards = [_guard_tree(one, catalog, planner) for one in alone]
    found = _lowered(tree, guards, _context(tree, catalog, target, fences=True))
    if not found.context.sql.may_raise:
        # Nothing in it can tell of a row that it does not show.
        found = _lowered(tree, guards, _context(tree, catalog, target, fences=False))
        # What may stand below a fence stands in the guards all the same: they say where that was not judged.
        made = replace(made, fence_reason=made.fence_reason if made.fence_reason in (NO_TIME, TOO_SLOW) else "")
    elif made.fence_reason not in ("", NO_TIME, TOO_SLOW) and found.context.sql.why:
        made = replace(made, fence_reason=found.context.sql.why)
    _check_columns(found.columns, columns, found.context.sql)
    check(found.text, found.guards, found.context.sql)
    return replace(
        made,
        sql=found.text,
        splices=(),
        dialect=found.context.sql.name,
        hide_statistics=False,
        columns=columns,
        binds=tuple(found.context.binds),
        check=None,
    )


def _typed(text: str, types: Mapping[str, str]) -> str:
    """A text in which every parameter says what type it has."""
    return apply_splices(text, typed_parameters(parse(text), types))


def _spelled(text: str) -> str:
    return spell_out(text, tokenize(text) or []) if _PIVOT.search(text) else text


def _guard_tree(text: str, catalog: Catalog, planner: Planner | None) -> exp.Expr:
    """A guard by itself, normalised: the same ones stand in many texts. Nobody changes these trees."""
    key = (catalog.version, text)
    found = _GUARDS.get(key)
    if found is None:
        if len(_GUARDS) >= _MOST_GUARDS:
            _GUARDS.clear()
        found = _GUARDS[key] = normalise(text, catalog, planner=planner)
    return found


@dataclass(frozen=True, slots=True)
class _Lowered:
    text: str
    columns: Columns
    guards: tuple[str, ...]
    context: Context


def _context(tree: exp.Expr, catalog: Catalog, target: Target, *, fences: bool) -> Context:
    def query(node: exp.Expr, scope: Scope, want: list[str] | None = None) -> tuple[str, Columns]:
        return lower_query(node, scope, context, want)

    sql = _ENGINES[target.engine](target)
    context = Context(catalog, sql, _types(tree, sql), query, answering(tree), fences)
    return context


def _lowered(tree: exp.Expr, guards: list[exp.Expr], context: Context) -> _Lowered:
    text, columns = lower_query(tree, None, context)
    return _Lowered(text, columns, tuple(lower_query(one, None, context)[0] for one in guards), context)


def _types(tree: exp.Expr, sql: Dialect) -> dict[str, str]:
    """The kinds of parameters that are cast somewhere in a text."""
    casts = (node for node in tree.find_all(exp.Cast) if isinstance(node.this, exp.Placeholder))
    return {fold(node.this.name): type_of(node.args["to"], sql)[0] for node in casts}


def _check_columns(found: Columns, columns: tuple[Column, ...], sql: Dialect) -> None:
    """Refuse a text where the kinds of its columns are not those of DuckDB's answer."""
    if len(found) != len(columns):
        raise not_portable("a query whose columns could not be listed")
    for have, want in zip(found, columns, strict=True):
        kind = shown_kind(want.type)
        # An attribute's list that nothing was made of is shown as one that an aggregate made.
        came = listed_kind(have.kind[:-2]) if have.kind.endswith("[]") else have.kind
        if came != kind and not (came in INTEGERS and kind in INTEGERS):
            raise not_portable(f"a result of type {want.type}", hint=f"cast `{want.name[:40]}` to another type")
        if kind not in sql.types and kind not in sql.shown:
            raise not_portable(f"a result of type {want.type}")
