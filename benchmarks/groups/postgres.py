"""TPC-H on PostgreSQL under its own row security, beside the same queries guarded here: on DuckDB and on PostgreSQL.

For the record: same rows, same policies (`rls export` writes PostgreSQL's), one thread each, the fastest by the clock
on the wall, since the server is no child of this process. PostgreSQL has its rows analysed and no index.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from benchmarks.answers import compare_rows
from benchmarks.cases import choose, load_cases
from benchmarks.measure import Measurement, time_in_turn
from benchmarks.options import Options, Unavailable

__all__ = ["measure_postgres"]

NATIVE, POSTGRES, DUCKDB = "PostgreSQL's own policies", "rls on PostgreSQL", "rls on DuckDB"
# The third persona's policies cannot be exported.
PERSONAS = ("clustered", "mapped")
# Loading and the slowest queries of PostgreSQL would take hours at the scale of the other groups.
LARGEST_SCALE = 0.01


def measure_postgres(options: Options) -> Iterator[Measurement]:
    """Ratios are to PostgreSQL's own policies. Raises `WrongAnswer`, `Unavailable` without a server or its driver,
    `TPCHMissing`."""
    try:
        from tests.engines.postgres.kit import server_binaries
        from tests.engines.tpch_site import open_site
    except ImportError as missing:
        raise Unavailable(f"{missing.name} is not installed: pip install 'rls[dev]'") from None
    if server_binaries() is None:
        raise Unavailable("no PostgreSQL server binaries: apt-get install postgresql")
    scale = min(options.tpch_scale, LARGEST_SCALE)
    with tempfile.TemporaryDirectory(dir=options.directory) as scratch, open_site(Path(scratch), scale=scale) as site:
        witness = site.witness
        for person in PERSONAS:
            token, who = witness.tokens[person], witness.personas[person]
            for case in choose(load_cases("tpch/queries"), options.wanted):
                bare = site.bare(case.sql)
                calls: dict[str, Callable[[], Any]] = {
                    NATIVE: lambda who=who, bare=bare: witness.natively(who, bare),
                    POSTGRES: lambda token=token, case=case: witness.postgres.query(token, case.sql).rows,
                    DUCKDB: lambda token=token, case=case: witness.duckdb.query(token, case.sql).rows,
                }
                name = f"{person}: {case.name}"
                checked = compare_rows(name, *(map(_plain, calls[way]()) for way in (NATIVE, DUCKDB)))
                compare_rows(name, *(map(_plain, calls[way]()) for way in (POSTGRES, DUCKDB)))
                rounds = min(options.rounds, 5)
                timings = time_in_turn(calls, rounds=rounds, seconds=options.seconds / 4, clock=time.perf_counter)
                for what in (POSTGRES, DUCKDB):
                    yield Measurement.of("postgres", name, timings, what=what, floor=NATIVE, checked=checked)


def _plain(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Numbers by their value: PostgreSQL's own answer has decimals where DuckDB has whole or floating numbers."""
    return tuple(float(v) if isinstance(v, int | Decimal) and not isinstance(v, bool) else v for v in row)
