"""Many users at once: queries per second and tail latency of a mix, beside the same mix without security.

80 % of the texts were sent before, 15 % differ from such a one in literals, 5 % are new; 1,000 principals take turns.
Latency is by the clock on the wall, ratios are of CPU per query, workers counted.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace

import duckdb

from benchmarks.cases import Case, choose, load_cases
from benchmarks.groups.run import check_answers, make_copy
from benchmarks.measure import Measurement, Timing, cpu_with_children
from benchmarks.options import Options
from benchmarks.settings import Setting, warehouse_setting
from benchmarks.texts import NearMisses, new_text
from rls.engines.limits import Limits

__all__ = ["measure_throughput"]

WARM, NEAR = 0.80, 0.95  # the rest is cold
PRINCIPALS = 1_000
SEED = 11
THREADS = (1, 2, 4, 8)
BARE, THREAD, PROCESS = "bare", "thread", "process"

Ask = Callable[[int, str], object]


def measure_throughput(options: Options) -> Iterator[Measurement]:
    """`size` is the number of threads that ask; median and tail are what a caller waits; `checked` has queries/s."""
    setting = warehouse_setting(options.directory, scale=options.scale)
    cases = choose(load_cases("warehouse"), options.wanted)
    asked = max(10, min(2_000, options.rounds * 40))
    tokens = _tokens(setting, min(PRINCIPALS, asked))
    limits = Limits(threads=1, processes=2)
    with (
        closing(duckdb.connect(str(setting.database), read_only=True, config={"threads": 1})) as connection,
        setting.open(limits=limits) as thread,
        setting.open(limits=limits, isolation="process") as process,
        closing(duckdb.connect(str(make_copy(setting.database)), read_only=True)) as copy,
    ):
        for engine in (thread, process):
            check_answers(cases[0], copy, engine, setting.token)

        def bare(_: int, sql: str) -> object:
            with closing(connection.cursor()) as cursor:
                return cursor.execute(sql).fetchall()

        ways: dict[str, Ask] = {
            BARE: bare,
            THREAD: lambda who, sql: thread.query(tokens[who % len(tokens)], sql),
            PROCESS: lambda who, sql: process.query(tokens[who % len(tokens)], sql),
        }
        for threads in THREADS:
            if threads > options.largest // 10_000:
                break
            found = {way: _ask_all(ask, _mix(cases, asked), threads) for way, ask in ways.items()}
            timings = {way: timing for way, (timing, _) in found.items()}
            for way, (timing, per_second) in found.items():
                title = f"{threads} thread{'s' if threads > 1 else ''}"
                line = Measurement.of("throughput", title, timings, what=way, floor=BARE, size=threads)
                # CPU is known for the mix as a whole; median and tail are what callers wait.
                tail = {"median": _at(timing.wall, 0.5), "p95": _at(timing.wall, 0.95), "p99": _at(timing.wall, 0.99)}
                yield replace(line, **tail, checked=f"{per_second:,.0f} queries/s")


def _mix(cases: list[Case], count: int) -> list[str]:
    """The same texts for every way: drawn from a seed."""
    draw = random.Random(SEED)
    near = {case.name: NearMisses(case.sql) for case in cases}
    texts = []
    for _ in range(count):
        case, kind = draw.choice(cases), draw.random()
        texts.append(case.sql if kind < WARM else near[case.name]() if kind < NEAR else new_text(case.sql))
    return texts


def _tokens(setting: Setting, count: int) -> list[str]:
    person = setting.principal
    return [setting.token_for(replace(person, subject=f"acme-{number + 2}")) for number in range(count)]


def _ask_all(ask: Ask, texts: list[str], threads: int) -> tuple[Timing, float]:
    """All texts, from `threads` threads; CPU per query, latencies, queries per second. Raises what a query raised."""
    for who, sql in enumerate(dict.fromkeys(texts[: len(texts) // 10])):
        ask(who, sql)
    waiting, latencies, failures = iter(enumerate(texts)), list[float](), list[Exception]()
    lock = threading.Lock()

    def work() -> None:
        while not failures:
            with lock:
                who, sql = next(waiting, (-1, ""))
            if who < 0:
                return
            started = time.perf_counter()
            try:
                ask(who, sql)
            except Exception as error:  # noqa: BLE001
                failures.append(error)
            latencies.append((time.perf_counter() - started) * 1000)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    began, started = cpu_with_children(), time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    cpu, wall = cpu_with_children() - began, time.perf_counter() - started
    if failures:
        raise failures[0]
    return Timing((cpu * 1000 / len(texts),), tuple(sorted(latencies))), len(texts) / wall


def _at(sorted_values: tuple[float, ...], share: float) -> float:
    return sorted_values[min(len(sorted_values) - 1, int(share * len(sorted_values)))]
