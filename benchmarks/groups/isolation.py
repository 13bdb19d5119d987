"""What both kinds of isolation cost between a guarded text and its rows, beside DuckDB's own client on the same text.

Guarding is not in it. CPU counts that of the workers; `wall` is what the caller waits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import duckdb

import fixtures
from benchmarks.answers import compare_rows
from benchmarks.cases import choose, load_cases
from benchmarks.measure import Measurement, cpu_with_children, time_in_turn
from benchmarks.options import Options
from benchmarks.settings import warehouse_setting
from rls.engines.base import Executor, Fetch
from rls.engines.duckdb import DuckDBExecutor
from rls.engines.limits import Limits
from rls.engines.lockdown import open_locked
from rls.engines.workers import WorkersExecutor
from rls.identity.principal import Principal
from rls.policy.load import load_policies
from rls.rewrite.guard import guard
from rls.rewrite.guarded import GuardedQuery

__all__ = ["measure_isolation"]

BARE = "bare DuckDB"
WAYS = ("thread", "process")
FORMS: tuple[Fetch, ...] = ("rows", "arrow")


def measure_isolation(options: Options) -> Iterator[Measurement]:
    """Thread and process beside bare DuckDB, rows and Arrow. Raises `WrongAnswer`."""
    database = warehouse_setting(options.directory, scale=options.scale).database
    limits = Limits(threads=1, processes=1)
    policies = load_policies(fixtures.POLICIES, keys="none")
    nobody = Principal("nobody", frozenset(), {}, assurance="persona")
    with ExitStack() as closed:
        bare = closed.enter_context(closing(open_locked(threads=1, memory=limits.memory, hide_statistics=False)))
        thread = closed.enter_context(closing(DuckDBExecutor.open(database, limits=limits)))
        process = closed.enter_context(closing(WorkersExecutor.open(database, limits=limits)))
        for case in choose(load_cases("isolation"), options.wanted):
            for form in FORMS:
                calls: dict[str, Callable[[], Any]] = {BARE: _bare(bare, case.sql, form)}
                for name, executor in (("thread", thread), ("process", process)):
                    guarded = guard(case.sql, nobody, policies, executor.catalog)
                    calls[name] = _executed(executor, guarded, form)
                title = f"{case.name}, {form}"
                answers = {what: _rows(call()) for what, call in calls.items()}
                checked = [compare_rows(title, answers[what], answers[BARE]) for what in WAYS]
                timings = time_in_turn(calls, rounds=options.rounds, seconds=options.seconds, clock=cpu_with_children)
                for what in WAYS:
                    yield Measurement.of("isolation", title, timings, what=what, floor=BARE, checked=checked[0])


def _bare(connection: duckdb.DuckDBPyConnection, sql: str, form: Fetch) -> Callable[[], Any]:
    def run() -> Any:
        with closing(connection.cursor()) as cursor:
            return cursor.execute(sql).fetchall() if form == "rows" else cursor.sql(sql).to_arrow_table()

    return run


def _executed(executor: Executor, guarded: GuardedQuery, form: Fetch) -> Callable[[], Any]:
    def run() -> Any:
        found = executor.execute(guarded, {}, fetch=form)
        return found.rows if form == "rows" else found.table

    return run


def _rows(found: Any) -> list[tuple[Any, ...]]:
    return found if isinstance(found, list) else list(zip(*(c.to_pylist() for c in found.columns), strict=True))
