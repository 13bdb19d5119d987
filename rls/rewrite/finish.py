"""A drafted query → the guarded query in the SQL of the engine that will run it."""

from __future__ import annotations

from collections.abc import Mapping

from rls.rewrite.barrier import lower
from rls.rewrite.bound import Planner
from rls.rewrite.guard import Draft
from rls.rewrite.guarded import GuardedQuery
from rls.rewrite.port.target import Target

__all__ = ["finish"]


def finish(
    query: Draft,
    parameter_types: Mapping[str, str] | None = None,
    *,
    for_engine: bool = False,
    planner: Planner | None = None,
    target: Target | None = None,
) -> GuardedQuery:
    """For DuckDB as `barrier.lower` does; with a `target`, for that PostgreSQL database as `port` does.

    Raises `QueryRefused`; with a target also `QueryFailed` (`run.busy`).
    """
    if target is None:
        return lower(query, parameter_types, for_engine=for_engine, planner=planner)
    from rls.rewrite.port.port import port

    return port(query, parameter_types or {}, target, planner=planner)
