"""What guarding costs: a text that nobody sent before, one that differs in literals and spaces, one sent before.

Floors are what nothing that parses can undercut: sqlglot's parse, parse and print, and DuckDB's own parser. Peers that
are installed rewrite the same texts in their own environments. Policies are loaded and the catalog is known: the state
of a server that is running.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product

import duckdb
import sqlglot

from benchmarks.answers import WrongAnswer
from benchmarks.cases import Case, choose
from benchmarks.measure import Measurement, time_in_turn, time_once
from benchmarks.options import Options
from benchmarks.peers import open_peers
from benchmarks.settings import (
    SUITES,
    Setting,
    drop_record,
    guard_as_engine,
    known_grants,
    open_suite,
    write_checked,
    write_unchecked,
)
from benchmarks.texts import NearMisses, copies, new_spelling
from rls.audit.sinks import CallableSink
from rls.audit.trail import Trail
from rls.catalog import Catalog
from rls.engine import Engine
from rls.rewrite.guard import guard

__all__ = ["measure_rewrite", "time_warm"]

PARSE, PRINT, SERIALIZE = "sqlglot parse", "sqlglot parse + print", "DuckDB parse to JSON"
UNCHECKED, CHECKED, PURE, GUARD = "guard, unchecked", "guard, checked", "rls.guard, cold", "guard, cold"
COLD, NEAR, WARM = "engine, cold", "engine, near miss", "engine, warm"
AT_ONCE = 100


def measure_rewrite(options: Options) -> Iterator[Measurement]:
    """`guard, unchecked` is what is done before DuckDB is asked anything; `checked` also has it check the text;
    `rls.guard` also makes the grants anew; `guard, cold` also finds out whether a fence may go, and makes no grants;
    `engine` also verifies the token and records.
    Raises `WrongAnswer`.
    """
    with open_peers(options) as peers, duckdb.connect() as parser:
        for suite in SUITES:
            with open_suite(suite, options.directory, scale=options.scale) as (setting, engine, catalog, cases):
                for case in choose(cases, options.wanted):
                    name = f"{suite}: {case.name}"
                    checked = check_reuse(name, case, engine, setting.token)
                    calls = _calls(case, setting, engine, catalog, parser)
                    filtered = sorted(r for r, g in engine.guard(setting.token, case.sql).grants.items() if g.predicate)
                    asked = {f"peer {p.name}": p.rewriting(case.sql, filtered) for p in peers}
                    options.skipped.extend(f"{peer} refuses {name}" for peer, sample in asked.items() if sample is None)
                    elsewhere = {peer: sample for peer, sample in asked.items() if sample is not None}
                    asking = engine, setting.token, case.sql
                    apart = {**elsewhere, COLD: partial(_cold, *asking), WARM: partial(time_warm, *asking)}
                    timings = time_in_turn(calls, rounds=options.rounds, seconds=options.seconds, elsewhere=apart)
                    for what in (PRINT, SERIALIZE, UNCHECKED, CHECKED, PURE, GUARD, COLD, *elsewhere):
                        yield Measurement.of("rewrite", name, timings, what=what, floor=PARSE)
                    yield Measurement.of("rewrite", name, timings, what=WARM, floor=PARSE, checked=checked, share=0.5)
                    for what in (NEAR, WARM):
                        yield Measurement.of(
                            "rewrite", name, timings, what=what, floor=COLD, checked=checked, share=0.5
                        )
                    for what, peer in product((UNCHECKED, CHECKED, GUARD), elsewhere):
                        yield Measurement.of("rewrite", name, timings, what=what, floor=peer)


def check_reuse(name: str, case: Case, engine: Engine, token: str) -> str:
    """Texts sent before must get the answer of texts that were not. Raises `WrongAnswer`."""
    first, again = engine.guard(token, case.sql), engine.guard(token, case.sql)
    if (first.sql, dict(first.parameters), first.fingerprint) != (again.sql, dict(again.parameters), again.fingerprint):
        raise WrongAnswer(f"{name}: the same text was guarded in two ways")
    near = NearMisses(case.sql)
    if near.has_literals and engine.guard(token, near()).fingerprint == engine.guard(token, near()).fingerprint:
        raise WrongAnswer(f"{name}: two texts with other literals were guarded in one way")
    return "reused"


def _cold(engine: Engine, token: str, sql: str) -> tuple[float, float]:
    """(CPU, wall) of the first guard of an engine that has seen no text, not even one like this."""
    session = Engine(engine._executor, engine.policies, Trail(CallableSink(drop_record))).session(token)
    return time_once(lambda: session.guard(sql))


def time_warm(engine: Engine, token: str, sql: str) -> tuple[float, float]:
    """(CPU, wall) of a guard among many: one alone after milliseconds of other work waits for the machine's caches."""
    asked = list(zip(copies(token, AT_ONCE), copies(sql, AT_ONCE), strict=True))
    cpu, wall = time_once(lambda: [engine.guard(*one) for one in asked])
    return cpu / AT_ONCE, wall / AT_ONCE


def _calls(
    case: Case, setting: Setting, engine: Engine, catalog: Catalog, parser: duckdb.DuckDBPyConnection
) -> dict[str, Callable[[], object]]:
    sql, near, token = case.sql, NearMisses(case.sql), setting.token
    policies, principal = setting.policies, setting.principal
    grant_of = known_grants(principal, policies, catalog)
    return {
        PARSE: lambda: sqlglot.parse_one(new_spelling(sql), dialect="duckdb"),
        PRINT: lambda: sqlglot.parse_one(new_spelling(sql), dialect="duckdb").sql("duckdb"),
        SERIALIZE: lambda: parser.execute("SELECT json_serialize_sql($1)", [new_spelling(sql)]).fetchone(),
        UNCHECKED: lambda: write_unchecked(new_spelling(sql), principal, policies, catalog, grant_of=grant_of),
        CHECKED: lambda: write_checked(new_spelling(sql), principal, policies, catalog, grant_of=grant_of),
        PURE: lambda: guard(new_spelling(sql), principal, policies, catalog),
        GUARD: lambda: guard_as_engine(new_spelling(sql), principal, policies, catalog, grant_of=grant_of),
        NEAR: lambda: engine.guard(token, near()),
    }
