"""What the rewrite costs for a query text it has not seen, beside what parsing it, and printing it again, costs.

The policies are loaded and bound to the catalog, and a relation's guard has been verified before: the state of a
server that is running. The query's text is new every time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

import sqlglot

import fixtures
from benchmarks.measure import Measurement, time_in_turn
from benchmarks.warehouse import Query, Setting
from rls.engines.duckdb import DuckDBExecutor
from rls.policy.load import load_policies
from rls.rewrite.guard import guard

__all__ = ["measure_guarding"]

PARSE, PRINT, GUARD = "sqlglot parse", "sqlglot parse + generate", "guard"


def measure_guarding(setting: Setting, queries: list[Query], *, rounds: int) -> Iterator[Measurement]:
    """Floor: sqlglot's parse. In `guard` are parsing, name resolution, splicing, and DuckDB's parse and check."""
    policies = load_policies(fixtures.POLICIES, keys="none")
    executor = DuckDBExecutor.open(setting.database)
    catalog = executor.catalog
    executor.close()
    numbers = count()

    def new(text: str) -> str:
        return f"{text}\n-- {next(numbers)}"

    def calls(sql: str) -> dict[str, Callable[[], object]]:
        return {
            PARSE: lambda: sqlglot.parse_one(new(sql), dialect="duckdb"),
            PRINT: lambda: sqlglot.parse_one(new(sql), dialect="duckdb").sql("duckdb"),
            GUARD: lambda: guard(new(sql), setting.principal, policies, catalog),
        }

    for query in queries:
        best = time_in_turn(calls(query.sql), rounds=rounds)
        for what in (PRINT, GUARD):
            cpu, wall = best[what]
            yield Measurement("rewrite", query.name, what, cpu, wall, PARSE, best[PARSE][0])
