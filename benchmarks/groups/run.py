"""What an answer costs from token to rows, on the warehouse, beside the same text run bare; answers are checked.

Two floors: `bare` reads every tenant's rows and checks nothing, `copy` is a database of one's own, made beforehand.
`engine` is the whole way: verify the token, guard, run, record, for a text that was sent before. With `slices` it reads
copies of the permitted rows, made when they were first asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb

from benchmarks.answers import WrongAnswer
from benchmarks.cases import Case, as_written, choose, load_cases, read_case_file
from benchmarks.measure import Measurement, time_in_turn
from benchmarks.options import Options
from benchmarks.settings import warehouse_setting
from benchmarks.texts import NearMisses
from rls.engine import Engine
from tests.judging.oracle import Rule, reduce_database

__all__ = ["check_answers", "make_copy", "measure_run"]

BARE, COPY, ENGINE, SLICES = "bare", "copy", "engine", "engine, slices"
ONE_THREAD = {"threads": 1}  # CPU time of several threads depends on how the machine schedules them


def measure_run(options: Options) -> Iterator[Measurement]:
    """Raises `WrongAnswer` unless rows, column names and order of every answer are the reduced copy's."""
    setting = warehouse_setting(options.directory, scale=options.scale)
    reduced = make_copy(setting.database)
    with (
        closing(duckdb.connect(str(setting.database), read_only=True, config=ONE_THREAD)) as bare,
        closing(duckdb.connect(str(reduced), read_only=True, config=ONE_THREAD)) as copy,
        setting.open() as engine,
        setting.open(slices=True) as sliced,
    ):
        for case in choose(load_cases("warehouse"), options.wanted):
            checked = check_answers(case, copy, engine, setting.token)
            check_answers(case, copy, sliced, setting.token)
            calls: dict[str, Callable[[], object]] = {
                BARE: lambda sql=case.sql: bare.execute(sql).fetchall(),
                COPY: lambda sql=case.sql: copy.execute(sql).fetchall(),
                ENGINE: lambda sql=case.sql: engine.query(setting.token, sql),
                SLICES: lambda sql=case.sql: sliced.query(setting.token, sql),
            }
            timings = time_in_turn(calls, rounds=options.rounds, seconds=options.seconds)
            yield Measurement.of("run", case.name, timings, what=COPY, floor=BARE, checked=checked)
            yield Measurement.of("run", case.name, timings, what=ENGINE, floor=BARE, checked=checked)
            yield Measurement.of("run", case.name, timings, what=ENGINE, floor=COPY, checked=checked)
            yield Measurement.of("run", case.name, timings, what=SLICES, floor=ENGINE, checked=checked)


def check_answers(case: Case, copy: duckdb.DuckDBPyConnection, engine: Engine, token: str) -> str:
    """What was checked, in words; raises `WrongAnswer`. Also for the text sent again, and for near misses of it."""
    near = NearMisses(case.sql)
    for sql in (case.sql, case.sql, near(), near(), case.sql):
        cursor = copy.execute(sql)
        wanted: tuple[Any, ...] = tuple(c[0] for c in cursor.description or ()), cursor.fetchall()
        result = engine.query(token, sql)
        if (result.columns, result.rows) != wanted:
            raise WrongAnswer(f"{case.name}: {len(result.rows)} rows, not the {len(wanted[1])} of the copy")
    return f"{len(result.rows):,} rows"


def make_copy(database: Path) -> Path:
    """A database that holds only what the person of `cases/warehouse.toml` may see. Callers' name for both is the same
    file's stem, so it lies in a directory beside."""
    target = database.parent / "copy" / database.name
    if not target.is_file():
        target.parent.mkdir(exist_ok=True)
        entries = read_case_file("warehouse")["person"]["copy"]
        reduce_database(database, {("main", name): _rule(entry) for name, entry in entries.items()}, target=target)
    return target


def _rule(entry: dict[str, Any]) -> Rule:
    return Rule(
        as_written(entry["predicate"]),
        denied=frozenset(entry.get("denied", ())),
        masks=entry.get("masks", {}),
        labels=frozenset(entry.get("labels", ())),
    )
