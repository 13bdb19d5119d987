"""Noninterference on another engine than DuckDB: two databases there that differ in hidden rows only, asked the same.

    python -m tests.engines.fuzz ENGINE [golden|attacks|plain|random ...] [--seed S|today] [--minutes M] [--worlds W]
        [--cases N]

The databases, queries and verdicts are those of `tests.fuzz`; what the engine lacks is refused, which must be the same
refusal on both. Exits with 1 on any fault.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.corpora import shared
from tests.engines.plain_queries import draw_plain
from tests.engines.suite import servers
from tests.fuzz.calls import Binder
from tests.fuzz.corpus import Unit, golden_units, questions
from tests.fuzz.pair import Pair
from tests.fuzz.queries import draw_query
from tests.fuzz.verdict import Verdict, judge
from tests.fuzz.world import NAME, Options, make_world, visible_columns
from tests.judging.driver import Driver
from tests.judging.judge import NotHeld
from tests.judging.replay import Query

__all__ = ["Elsewhere", "main", "moved"]

# A pair, and the databases that tell a visible row's error from a hidden one's.
KEPT = 6
_SHOWN = 5


@dataclass
class Elsewhere(Pair):
    """A pair whose databases are asked on a server."""

    server: Any = field(kw_only=True)

    def _driver(self, database: Path) -> Driver:
        from rls.engines.limits import Limits

        limits = Limits(seconds=self.setting.seconds, rows=200_000)
        self.server.hold(database)
        url, audit = self.server.load(database), database.parent / "audit.jsonl"
        asked = self.setting
        return Driver(url, asked.policies, token=asked.token, name=asked.name, limits=limits, audit=audit)


def moved(pair: Pair, server: Any) -> Elsewhere:
    """The same pair on a server; `pair` is closed."""
    pair.close()
    for database in (*pair.databases, pair.reduced):
        server.hold(database)
    return Elsewhere(pair.base, pair.databases, pair.reduced, pair.setting, pair.modes, server=server)


def asked_of(unit: Unit, server: Any, directory: Path) -> Iterator[tuple[Query, Verdict]]:
    """The verdicts on one unit of a corpus."""
    known: dict[int, Elsewhere | None] = {}
    for pair, query in questions(unit, directory):
        if pair is None:
            return
        if id(pair) not in known:
            try:
                known[id(pair)] = moved(pair, server)
            except NotHeld:
                known[id(pair)] = None
        there = known[id(pair)]
        if there is not None:
            yield query, judge(there, query.sql, oracle=False)
    for one in known.values():
        if one is not None:
            one.close()


def random_verdicts(
    seed: str, server: Any, directory: Path, *, worlds: int | None, cases: int, plain: bool
) -> Iterator[tuple[Query, Verdict]]:
    """Random queries over so many random worlds, or without end; here the oracle's answer counts as well. `plain`: in
    words that every engine has."""
    for world in itertools.count() if worlds is None else range(worlds):
        made = make_world(f"{seed}/{world}", directory / f"world{world}", Options(big=0.0, meeting=0.0))
        if made is not None:
            with contextlib.suppress(NotHeld):
                yield from _random_cases(f"{seed}/{world}", moved(made.pair, server), cases, plain=plain)


def _random_cases(seed: str, pair: Elsewhere, cases: int, *, plain: bool) -> Iterator[tuple[Query, Verdict]]:
    # The time zone of the engines, which a value shows.
    pair.oracle.execute("SET TimeZone = 'UTC'")
    tables = visible_columns(pair.oracle)
    binder = Binder(tables, name=NAME)
    try:
        for case in range(cases):
            if plain:
                sql = draw_plain(f"{seed}/{case}", binder=binder, tables=tables)
            else:
                sql = draw_query(f"{seed}/{case}", binder=binder, tables=tables, big=None, catalog=NAME)
            yield Query(f"{seed}/{case}", sql), judge(pair, sql)
    finally:
        binder.close()
        pair.close()


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("engine", choices=sorted(servers()))
    parser.add_argument("sets", nargs="*", choices=["golden", "attacks", "plain", "random", []], default=[])
    parser.add_argument("--seed", default="today")
    parser.add_argument("--minutes", type=float, default=3.0, help="time for each set")
    parser.add_argument("--worlds", type=int, help="random worlds; default: as many as there is time for")
    parser.add_argument("--cases", type=int, default=60, help="random queries per world")
    options = parser.parse_args(arguments)
    seed = f"{datetime.now(UTC):%Y-%m-%d}" if options.seed == "today" else options.seed
    try:
        server = servers()[options.engine](keep=KEPT)
    except pytest.skip.Exception as reason:
        print(reason)
        return 0
    counts, faults = Counter[str](), 0
    try:
        for name in options.sets or ["golden", "attacks", "plain", "random"]:
            faults += _run(name, seed, server, options, counts)
    finally:
        server.close()
    for kind, count in sorted(counts.items()):
        print(f"{count:>6}  {kind}")
    print(f"seed {seed}: {counts.total() - faults} passed, {faults} failed")
    return 1 if faults else 0


def _run(name: str, seed: str, server: Any, options: argparse.Namespace, counts: Counter[str]) -> int:
    faults, until = 0, time.monotonic() + options.minutes * 60
    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="rls-elsewhere-", ignore_cleanup_errors=True) as made:
        os.chdir(made)
        try:
            for query, verdict in _verdicts(name, seed, server, Path(made), options):
                counts[f"{name}: {verdict.kind}"] += 1
                if verdict.fault:
                    faults += 1
                    if faults <= _SHOWN:
                        print(f"{verdict.kind}: {query.id}\n  {query.sql[:800]}\n  {verdict.detail[:600]}", flush=True)
                if time.monotonic() > until:
                    break
        finally:
            os.chdir(before)
    return faults


def _verdicts(
    name: str, seed: str, server: Any, directory: Path, options: argparse.Namespace
) -> Iterator[tuple[Query, Verdict]]:
    if name in ("plain", "random"):
        plain, limit = name == "plain", options.worlds
        yield from random_verdicts(seed, server, directory, worlds=limit, cases=options.cases, plain=plain)
        return
    root = shared()
    units = golden_units(seed) if name == "golden" else [Unit(name, name, root / "attacks", seed)] if root else []
    for unit in (one for one in units if not one.grown):
        place = directory / unit.name
        place.mkdir()
        yield from asked_of(unit, server, place)


if __name__ == "__main__":
    sys.exit(main())
