"""What the guard costs on another engine: TPC-H guarded, as a ratio to the bare query and to filters by hand, there.

    python -m tests.engines.cost postgres [--scale 0.05] [--figures FILE]

All texts are the engine's own SQL, run by its own client on warm data, in turns, each of them first as often as the others:
whichever is first pays for what is in no cache yet. The best run counts. Tables have the indexes of their keys. The bare
query reads all rows; by hand, the same filters stand there without fences. `--figures` adds the ratios to what
`tests.engines.suite` wrote there.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cases import load_cases
from tests.engines.tpch_site import PERSONAS, Site, open_site

__all__ = ["in_turns", "main", "measure", "ratios"]

_KEYS = (
    "lineitem (l_orderkey)", "lineitem (l_partkey, l_suppkey)", "orders (o_orderkey)", "orders (o_custkey)",
    "customer (c_custkey)", "part (p_partkey)", "supplier (s_suppkey)", "partsupp (ps_partkey, ps_suppkey)",
)  # fmt: skip
_SECONDS = 60
_ROUNDS = 6


def measure(site: Site) -> dict[str, Any]:
    """By persona, ratios of the sums of all queries, the median and the largest, with that query's name."""
    import psycopg

    with psycopg.connect(site.url(owner=True), autocommit=True) as connection:
        for key in _KEYS:
            connection.execute(f"CREATE INDEX ON {key}")
        connection.execute("ANALYZE")
    found: dict[str, Any] = {}
    with psycopg.connect(site.url(), autocommit=True) as connection:
        connection.execute(f"SET statement_timeout = '{_SECONDS}s'")
        cursor = psycopg.RawCursor(connection)
        for name in PERSONAS:
            times = {}
            for case in load_cases("tpch/queries"):
                guarded = site.witness.postgres.guard(site.witness.tokens[name], case.sql)
                values = [guarded.parameters[one] for one in guarded.binds]
                by_hand = guarded.sql.replace(" OFFSET 0)", ")")
                texts = ((guarded.sql, values), (site.bare(case.sql), []), (by_hand, values))
                times[case.name] = in_turns([partial(_run, cursor, text, bound) for text, bound in texts])
                print(name, case.name, *(f"{one:.3f}" for one in times[case.name]), flush=True)
            found[name] = {"bare": ratios(times, 1), "by hand": ratios(times, 2)}
    return found


def ratios(times: dict[str, tuple[float, ...]], to: int) -> dict[str, Any]:
    """The first of each query's times by another: of the sums, the median, and the largest with its query."""
    ratios = {one: found[0] / found[to] for one, found in times.items()}
    worst = max(ratios, key=lambda one: ratios[one])
    return {
        "all": round(sum(one[0] for one in times.values()) / sum(one[to] for one in times.values()), 2),
        "median": round(statistics.median(ratios.values()), 2),
        "largest": [worst, round(ratios[worst], 1)],
    }


def in_turns(runs: Sequence[Callable[[], object]], *, rounds: int = _ROUNDS) -> tuple[float, ...]:
    """The least seconds of each, which take turns in being first."""
    best = [float("inf")] * len(runs)
    for number in range(rounds):
        for place in range(len(runs)):
            which = (place + number) % len(runs)
            began = time.perf_counter()
            runs[which]()
            best[which] = min(best[which], time.perf_counter() - began)
    return tuple(best)


def _run(cursor: Any, text: str, values: list[object]) -> None:
    cursor.execute(text, values)
    cursor.fetchall()


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("engine", choices=["postgres"])
    parser.add_argument("--scale", type=float, default=0.05)
    parser.add_argument("--figures", type=Path)
    options = parser.parse_args(arguments)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="rls-cost-") as name,
            open_site(Path(name), scale=options.scale) as site,
        ):
            found = measure(site)
    except pytest.skip.Exception as reason:
        print(reason)
        return 0
    print(json.dumps(found, indent=1))
    if options.figures:
        known = json.loads(options.figures.read_text(encoding="utf-8")) if options.figures.exists() else {}
        options.figures.write_text(
            json.dumps({**known, "cost": {"scale": options.scale, **found}}, indent=1, ensure_ascii=False) + "\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
