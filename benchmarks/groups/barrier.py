"""What a guard costs where the rows are read, beside the filter that an expert would have written into the query.

Both texts run on connections with the same locked settings, from text to rows, on one thread: the difference is the
guard's sub-query, its fence, its bound values, and the statistics that some guarded queries have to do without.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from typing import Any

import duckdb

from benchmarks.answers import compare_rows
from benchmarks.cases import choose, load_cases, read_case_file
from benchmarks.measure import Measurement, time_in_turn
from benchmarks.options import Options
from benchmarks.tpch import POLICIES, as_written, build_tpch, by_hand
from rls.engines.lockdown import open_locked
from rls.engines.read_catalog import read_catalog
from rls.identity import load_personas
from rls.policy.load import load_policies
from rls.rewrite.guard import guard

__all__ = ["measure_barrier", "measure_lookups"]

HAND, GUARDED = "by hand", "guarded"
MEMORY = 8 << 30
ATTACHED = "data"


def measure_barrier(options: Options) -> Iterator[Measurement]:
    """TPC-H's queries for each variant of the policy. Raises `WrongAnswer`, `TPCHMissing`."""
    yield from _measure("barrier", "tpch/queries", options, factor=1)


def measure_lookups(options: Options) -> Iterator[Measurement]:
    """Point look-ups and key ranges: a millisecond each, where TPC-H's queries take a hundred, so with more rounds."""
    yield from _measure("lookups", "tpch/lookups", options, factor=5)


def _measure(group: str, file: str, options: Options, *, factor: int) -> Iterator[Measurement]:
    database = build_tpch(options.directory, scale=options.tpch_scale)
    policies = load_policies(POLICIES, keys="none")
    personas = load_personas(POLICIES / "personas.yaml", policies.identity)
    with ExitStack() as closed:

        def opened(*, hide_statistics: bool) -> duckdb.DuckDBPyConnection:
            made = open_locked(threads=1, memory=MEMORY, hide_statistics=hide_statistics, attach=(database, ATTACHED))
            return closed.enter_context(closing(made))

        connections = {hidden: opened(hide_statistics=hidden) for hidden in (False, True)}
        catalog = read_catalog(connections[False], ATTACHED, name="tpch")
        for variant in read_case_file("tpch/barrier")["variant"]:
            for case in choose(load_cases(file), options.wanted):
                guarded = guard(as_written(case.sql), personas[variant["name"]], policies, catalog)
                hand = by_hand(case.sql, variant["hand"], ATTACHED)
                values = {**guarded.parameters, **case.parameters}
                calls = {
                    HAND: _runs(connections[False], hand, values),
                    GUARDED: _runs(connections[guarded.hide_statistics], guarded.sql, values),
                }
                name = f"{variant['name']}: {case.name}"
                checked = compare_rows(name, calls[GUARDED](), calls[HAND]())
                timings = time_in_turn(calls, rounds=options.rounds * factor, seconds=options.seconds)
                yield Measurement.of(group, name, timings, what=GUARDED, floor=HAND, checked=checked)


def _runs(
    connection: duckdb.DuckDBPyConnection, sql: str, values: Mapping[str, object]
) -> Callable[[], list[tuple[Any, ...]]]:
    """What runs a text as the engine does: a cursor and a read-only transaction for each query."""
    bound = {name: values[name] for name in connection.extract_statements(sql)[0].named_parameters}

    def run() -> list[tuple[Any, ...]]:
        with closing(connection.cursor()) as cursor:
            cursor.execute("BEGIN TRANSACTION READ ONLY")
            return cursor.execute(sql, bound).fetchall()

    return run
