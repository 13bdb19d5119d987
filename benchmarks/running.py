"""What a guarded answer costs from token to rows, beside the same text run bare; wrong answers end the benchmark.

Two floors: `bare` reads every tenant's rows and checks nothing, `copy` is a database of one's own, made beforehand.
`engine` is the whole way: verify the token, guard, run, record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import duckdb

import fixtures
from benchmarks.measure import Measurement, time_in_turn
from benchmarks.warehouse import Query, Setting
from rls.engine import Engine
from rls.engines.limits import Limits

__all__ = ["WrongAnswer", "measure_running"]

THREADS = 1  # CPU time of several threads depends on how the machine schedules them


class WrongAnswer(Exception):
    """A guarded answer differs from the oracle's: times of wrong answers are worth nothing."""


def measure_running(setting: Setting, queries: list[Query], *, rounds: int) -> Iterator[Measurement]:
    """Raises `WrongAnswer` unless rows, column names and order of every answer are the reduced copy's."""
    limits = Limits(threads=THREADS)
    with (
        duckdb.connect(str(setting.database), read_only=True, config={"threads": THREADS}) as bare,
        duckdb.connect(str(setting.copy), read_only=True, config={"threads": THREADS}) as copy,
        Engine.open(
            setting.database, policies=fixtures.POLICIES, audit=setting.audit, limits=limits, isolation="thread"
        ) as engine,
    ):

        def calls(sql: str) -> dict[str, Callable[[], object]]:
            return {
                "bare": lambda: bare.execute(sql).fetchall(),
                "copy": lambda: copy.execute(sql).fetchall(),
                "engine": lambda: engine.query(setting.token, sql),
            }

        for query in queries:
            checked = compare(query, copy, engine, setting.token)
            best = time_in_turn(calls(query.sql), rounds=rounds)
            for what in ("copy", "engine"):
                cpu, wall = best[what]
                yield Measurement("run", query.name, what, cpu, wall, "bare", best["bare"][0], checked)


def compare(query: Query, copy: duckdb.DuckDBPyConnection, engine: Engine, token: str) -> str:
    """What was checked, in words; raises `WrongAnswer`."""
    cursor = copy.execute(query.sql)
    wanted: tuple[Any, ...] = tuple(c[0] for c in cursor.description or ()), cursor.fetchall()
    result = engine.query(token, query.sql)
    if (result.columns, result.rows) != wanted:
        raise WrongAnswer(f"{query.name}: {len(result.rows)} rows, not the {len(wanted[1])} of the copy")
    return f"{len(result.rows)} rows"
