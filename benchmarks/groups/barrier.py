"""What a guard costs where the rows are read, beside the filter that an expert would have written into the query.

Both texts run from text to rows, on one thread: the one by hand on DuckDB as it comes, the guarded one on locked
connections. The difference is the guard's sub-query, its fence, its bound values, and what of DuckDB's optimizer
guarded queries do without.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

import fixtures
from benchmarks.answers import compare_rows
from benchmarks.cases import CASES, Case, choose, load_cases, read_case_file
from benchmarks.measure import Measurement, time_in_turn
from benchmarks.options import Options
from benchmarks.settings import guard_as_engine, warehouse_setting
from benchmarks.tpch import build_tpch
from rls.engines.lockdown import open_locked
from rls.engines.read_catalog import read_catalog
from rls.identity import load_personas
from rls.policy.load import load_policies

__all__ = ["measure_barrier", "measure_lookups"]

HAND, GUARDED = "by hand", "guarded"
MEMORY = 8 << 30
ATTACHED = "data"


@dataclass(frozen=True)
class Variant:
    """One way to filter a database: a person of a policy directory, and the same by hand (relation → SELECT)."""

    name: str
    policies: Path
    person: str
    selects: Mapping[str, str]


def measure_barrier(options: Options) -> Iterator[Measurement]:
    """TPC-H's queries in three variants, the warehouse's in one. Raises `WrongAnswer`, `TPCHMissing`."""
    warehouse = warehouse_setting(options.directory, scale=options.scale).database
    yield from _measure("barrier", warehouse, [_warehouse_variant()], load_cases("warehouse"), options)
    tpch = build_tpch(options.directory, scale=options.tpch_scale)
    yield from _measure("barrier", tpch, _tpch_variants(), load_cases("tpch/queries"), options)


def measure_lookups(options: Options) -> Iterator[Measurement]:
    """Point look-ups and key ranges: a millisecond each, where TPC-H's queries take a hundred, so with more rounds."""
    tpch = build_tpch(options.directory, scale=options.tpch_scale)
    yield from _measure(
        "lookups", tpch, _tpch_variants(), load_cases("tpch/lookups"), options, rounds=options.rounds * 5
    )


def _tpch_variants() -> list[Variant]:
    def select(name: str, predicate: str) -> str:
        return f"SELECT * FROM {{{name}}} WHERE {predicate}"

    directory = CASES / "tpch" / "policies"
    return [
        Variant(v["name"], directory, v["name"], {name: select(name, p) for name, p in v["hand"].items()})
        for v in read_case_file("tpch/barrier")["variant"]
    ]


def _warehouse_variant() -> Variant:
    person = read_case_file("warehouse")["person"]
    selects = {}
    for name, rule in person["copy"].items():
        denied = ", ".join(f'"{column}"' for column in rule.get("denied", ()))
        masks = ", ".join(f'{mask} AS "{column}"' for column, mask in rule.get("masks", {}).items())
        shown = "*" + (f" EXCLUDE ({denied})" if denied else "") + (f" REPLACE ({masks})" if masks else "")
        selects[name] = f"SELECT {shown} FROM {{{name}}} WHERE {rule['predicate']}"
    return Variant("warehouse", fixtures.POLICIES, person["name"], selects)


def _measure(
    group: str,
    database: Path,
    variants: list[Variant],
    cases: list[Case],
    options: Options,
    *,
    rounds: int | None = None,
) -> Iterator[Measurement]:
    with ExitStack() as closed:

        def opened(*, hide_statistics: bool) -> duckdb.DuckDBPyConnection:
            made = open_locked(threads=1, memory=MEMORY, hide_statistics=hide_statistics, attach=(database, ATTACHED))
            return closed.enter_context(closing(made))

        connections = {hidden: opened(hide_statistics=hidden) for hidden in (False, True)}
        bare = closed.enter_context(closing(_open_bare(database)))
        catalog = read_catalog(connections[False], ATTACHED, name=group)
        for variant in variants:
            policies = load_policies(variant.policies, keys="none")
            principal = load_personas(variant.policies / "personas.yaml", policies.identity)[variant.person]
            for case in choose(cases, options.wanted):
                guarded = guard_as_engine(case.sql, principal, policies, catalog, parameters=case.parameters)
                values = {**guarded.parameters, **case.parameters}
                calls = {
                    HAND: _runs(bare, case.by_hand(variant.selects, ATTACHED), values),
                    GUARDED: _runs(connections[guarded.hide_statistics], guarded.sql, values),
                }
                name = f"{variant.name}: {case.name}"
                checked = compare_rows(name, calls[GUARDED](), calls[HAND]())
                timings = time_in_turn(calls, rounds=rounds or options.rounds, seconds=options.seconds)
                yield Measurement.of(group, name, timings, what=GUARDED, floor=HAND, checked=checked)


def _open_bare(database: Path) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(":memory:", config={"threads": "1", "memory_limit": f"{MEMORY}B"})
    connection.execute(f"ATTACH '{database}' AS {ATTACHED} (READ_ONLY)")
    return connection


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
