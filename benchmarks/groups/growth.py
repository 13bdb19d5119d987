"""How costs grow: with the text and its parts, with policies, with an attribute's length, with rows.

A series is drawn as a line in the report. Its exponent is the slope between its larger points on logarithmic scales: 1
is linear, 2 quadratic, 0 flat.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from functools import partial
from typing import Any

import duckdb
import sqlglot

from benchmarks.answers import compare_rows
from benchmarks.cases import read_case_file
from benchmarks.groups.rewrite import time_warm
from benchmarks.many import make_catalog, make_policies, make_principal, many_database
from benchmarks.measure import Measurement, time_in_turn
from benchmarks.options import Options
from benchmarks.settings import Setting, guard_as_engine, warehouse_setting
from benchmarks.texts import new_text
from rls.errors import QueryRefused
from rls.policy.load import load_policies

__all__ = ["exponent", "measure_growth"]

PARSE, GUARD, COLD, WARM = "sqlglot parse", "guard, cold", "engine, cold", "engine, warm"
HAND, IN_LIST, GUARDED = "list_contains by hand", "IN list by hand", "guarded"
POLICIES = (10, 100, 1_000, 10_000)
ITEMS = (10, 100, 1_000, 10_000)
ROWS = (10_000, 100_000, 1_000_000, 10_000_000)
PER_RELATION = 10
POINT_SECONDS = 5.0
FEW = 7  # rounds, where each is short; two, of a quick run, say nothing of calls of a millisecond


def exponent(points: Sequence[tuple[float, float]]) -> float:
    """How the second number grows with the first, from the middle of the series to its end.

    >>> round(exponent([(1, 5.0), (10, 7.0), (100, 70.0), (1000, 700.0)]), 3)
    1.0
    """
    ordered = sorted(points)
    if len(ordered) < 2:
        return 0.0
    (low, low_cost), (high, high_cost) = ordered[(len(ordered) - 1) // 2], ordered[-1]
    return math.log(high_cost / low_cost) / math.log(high / low)


def measure_growth(options: Options) -> Iterator[Measurement]:
    """Raises `WrongAnswer`."""
    yield from _texts(options)
    yield from _policies(options)
    yield from _attribute(options)
    yield from _rows(options)


def _texts(options: Options) -> Iterator[Measurement]:
    setting = warehouse_setting(options.directory, scale=options.scale)
    policies, principal = setting.policies, setting.principal
    with setting.open() as engine:
        catalog = engine.catalog
        for series in _wanted(read_case_file("growth")["series"], options):
            for size in series["sizes"]:
                if size > options.largest:
                    break
                sql = _text(series, size)
                calls: dict[str, Callable[[], object]] = {
                    PARSE: lambda sql=sql: sqlglot.parse_one(new_text(sql), dialect="duckdb"),
                    GUARD: lambda sql=sql: guard_as_engine(new_text(sql), principal, policies, catalog),
                }
                warm = len(sql) <= 10_000  # further than that nothing is promised of the warm path
                apart = {WARM: partial(time_warm, engine, setting.token, sql)} if warm else {}
                started = time.perf_counter()
                try:
                    calls[GUARD]()
                except QueryRefused as error:
                    options.skipped.append(f"growth: {series['name']} {size:,}: refused, {error.code}")
                    break
                slow = time.perf_counter() - started > POINT_SECONDS
                if slow:
                    options.skipped.append(f"growth: {series['name']} ends at {size:,}: more than {POINT_SECONDS:g} s")
                timings = time_in_turn(
                    calls,
                    rounds=1 if slow else min(options.rounds, 5),
                    seconds=options.seconds / 2,
                    elsewhere=apart,
                )
                yield Measurement.of("growth", series["name"], timings, what=GUARD, floor=PARSE, size=size)
                if warm:
                    yield Measurement.of("growth", series["name"], timings, what=WARM, floor=PARSE, size=size)
                if slow:
                    break


def _text(series: dict[str, Any], size: int) -> str:
    count = max(1, size // series.get("per_part", 1))
    parts = series["separator"].join(series["part"].replace("{n}", str(n)) for n in range(count))
    text: str = series["text"].replace("{part}", parts)
    return text


def _policies(options: Options) -> Iterator[Measurement]:
    if not _wanted([{"name": "policies"}], options):
        return
    somebody = make_principal()
    sql = "SELECT region, count(*) FROM table_0 GROUP BY region"
    calls: dict[str, Callable[[], object]] = {PARSE: lambda: sqlglot.parse_one(new_text(sql), dialect="duckdb")}
    sizes = [size for size in POLICIES if size <= options.largest // 100]
    database = many_database(options.directory)
    engines = ExitStack()
    for size in sizes:
        directory = make_policies(
            options.directory, relations=size // PER_RELATION, per_relation=PER_RELATION, role_count=200
        )
        policies, catalog = load_policies(directory, keys="none"), make_catalog(size // PER_RELATION)
        calls[str(size)] = lambda policies=policies, catalog=catalog: guard_as_engine(
            new_text(sql), somebody, policies, catalog
        )
        setting = Setting(database, directory, "", issuer="https://bench.example")
        engine, token = engines.enter_context(setting.open()), setting.token_for(somebody)
        calls[f"{WARM}, {size}"] = lambda engine=engine, token=token: engine.guard(token, sql)
    with engines:
        timings = time_in_turn(calls, rounds=options.rounds, seconds=options.seconds)
    for size in sizes:
        for what, name in ((GUARD, str(size)), (WARM, f"{WARM}, {size}")):
            renamed = {what: timings[name], PARSE: timings[PARSE]}
            yield Measurement.of("growth", "policies", renamed, what=what, floor=PARSE, size=size)


def _attribute(options: Options) -> Iterator[Measurement]:
    """A list attribute of one user: as a bound list, beside the same list written by hand."""
    if not _wanted([{"name": "attribute length"}], options):
        return
    policies = load_policies(make_policies(options.directory, relations=1, per_relation=2, role_count=2), keys="none")
    catalog = make_catalog(1)
    with closing(duckdb.connect(config={"threads": 1})) as connection:
        connection.execute("ATTACH ':memory:' AS data")
        columns = "range AS id, 'acme' AS tenant_id, 'r' || range % 20000 AS region, range AS customer_id, "
        columns += "(range % 1000)::DECIMAL(15,2) AS amount, DATE '2024-01-01' AS day, 'x' AS email"
        # Enough that reading them is what takes time, and not planning.
        rows = min(1_000_000, options.largest * 10)
        connection.execute(f"CREATE TABLE data.main.table_0 AS SELECT {columns} FROM range({rows})")
        for size in (n for n in ITEMS if n <= options.largest // 100):
            regions = tuple(f"r{2 * number}" for number in range(size))
            somebody = make_principal(regions=regions)
            guarded = guard_as_engine("SELECT count(*), sum(amount) FROM table_0", somebody, policies, catalog)
            source = "SELECT count(*), sum(amount) FROM (SELECT * FROM data.main.table_0 WHERE tenant_id = 'acme' AND "
            source += "amount >= 0 AND "
            literals = ", ".join(f"'{region}'" for region in regions)
            by_list, by_items = f"{source} list_contains($regions, region))", f"{source} region IN ({literals}))"
            calls: dict[str, Callable[[], Any]] = {
                HAND: lambda sql=by_list, regions=regions: connection.execute(sql, {"regions": regions}).fetchall(),
                IN_LIST: lambda sql=by_items: connection.execute(sql).fetchall(),
                GUARDED: lambda one=guarded: connection.execute(one.sql, dict(one.parameters)).fetchall(),
            }
            checked = compare_rows(f"attribute length {size}", calls[GUARDED](), calls[IN_LIST]())
            timings = time_in_turn(calls, rounds=FEW, seconds=options.seconds)
            for what in (IN_LIST, GUARDED):
                yield Measurement.of(
                    "growth", "attribute length", timings, what=what, floor=HAND, size=size, checked=checked
                )


def _rows(options: Options) -> Iterator[Measurement]:
    """The warehouse at several sizes: the guarded query beside the hand-written filter."""
    if not _wanted([{"name": "rows"}], options):
        return
    policies = load_policies(make_policies(options.directory, relations=1, per_relation=2, role_count=2), keys="none")
    somebody, catalog = make_principal(), make_catalog(1)
    for size in (n for n in ROWS if n <= options.largest * 10):
        with closing(duckdb.connect(config={"threads": 1})) as connection:
            connection.execute("ATTACH ':memory:' AS data")
            connection.execute(
                f"""CREATE TABLE data.main.table_0 AS
                SELECT range AS id, CASE range % 10 WHEN 0 THEN 'acme' ELSE 'other' END AS tenant_id,
                  CASE range % 3 WHEN 0 THEN 'EMEA' WHEN 1 THEN 'APAC' ELSE 'LATAM' END AS region, range AS customer_id,
                  (range % 1000)::DECIMAL(15,2) AS amount, DATE '2024-01-01' AS day, 'x' AS email
                FROM range({size})"""
            )
            sql = "SELECT region, count(*), sum(CAST(amount AS INTEGER)) FROM table_0 GROUP BY region"
            guarded = guard_as_engine(sql, somebody, policies, catalog)
            hand = sql.replace(
                "FROM table_0",
                "FROM (SELECT * FROM data.main.table_0 WHERE tenant_id = 'acme' AND region IN ('EMEA', 'APAC')"
                " AND amount >= 0) AS table_0",
            )
            calls: dict[str, Callable[[], Any]] = {
                "by hand": lambda hand=hand: connection.execute(hand).fetchall(),
                GUARDED: lambda one=guarded: connection.execute(one.sql, dict(one.parameters)).fetchall(),
            }
            checked = compare_rows(f"{size} rows", calls[GUARDED](), calls["by hand"]())
            timings = time_in_turn(calls, rounds=FEW, seconds=options.seconds)
            yield Measurement.of("growth", "rows", timings, what=GUARDED, floor="by hand", size=size, checked=checked)


def _wanted(series: list[dict[str, Any]], options: Options) -> list[dict[str, Any]]:
    return [one for one in series if not options.wanted or any(w in one["name"] for w in options.wanted)]
