"""Hostile queries in worker processes: limits hold, a crash costs one error, nobody else notices."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rls.engine import Engine
from rls.engines import children
from rls.engines.base import Fetch
from rls.engines.limits import Limits
from rls.engines.workers import WorkersExecutor
from rls.errors import EngineInvalid, QueryFailed, RlsError
from rls.identity import mint_token
from rls.rewrite.guarded import Copy
from tests.engine.kit import WAREHOUSE, build, ready, write_policies

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="worker processes need Linux")

# DuckDB 2.0.0: ends the process (signal 11).
CRASH = """SELECT "="({'a': 1}, [1, NULL])"""
# DuckDB 2.0.0: not interrupted for 15 seconds.
DEAF = "SELECT sleep_ms(15000)"


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("workers") / "warehouse.duckdb", WAREHOUSE)


@pytest.fixture(scope="module")
def executor(database: Path) -> Iterator[WorkersExecutor]:
    limits = Limits(processes=2, seconds=1.0, memory=600_000_000, threads=1, rows=10_000)
    found = WorkersExecutor.open(database, limits=limits)
    yield found
    found.close()


def rows(executor: WorkersExecutor, sql: str) -> object:
    return executor.execute(ready(sql.replace("{db}", f'"{executor.catalog.attached}"')), {}, fetch="rows").rows


def code(executor: WorkersExecutor, sql: str) -> str:
    with pytest.raises(RlsError) as caught:
        rows(executor, sql)
    assert caught.value.__context__ is None
    return caught.value.code


def test_answers_are_those_of_a_query_in_this_process(executor: WorkersExecutor) -> None:
    assert rows(executor, "SELECT count(*) FROM {db}.main.orders") == [(40,)]
    query = ready("SELECT $rls_t, $x", rls_t="acme")
    assert executor.execute(query, {"x": [1, 2]}, fetch="rows").rows == [("acme", [1, 2])]
    pytest.importorskip("pyarrow")
    found = executor.execute(ready("SELECT 1 AS a, 'x' AS a"), {}, fetch="arrow")
    assert found.table.column_names == ["a", "a"]
    assert found.columns == ("a", "a")
    names = executor.describe(ready("SELECT 1 AS a, 'x' AS b"), {})
    assert [(c.name, c.type) for c in names] == [("a", "INTEGER"), ("b", "VARCHAR")]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT CAST('x' AS INTEGER)", "run.cast"),
        ("SELECT nope", "query.unknown_column"),
        ("SELECT * FROM orders", "query.invalid"),
        ("SELECT * FROM range(10001)", "run.rows"),
        ("SELECT length(repeat('x', 1500000000))", "run.memory"),
        (CRASH, "run.crashed"),
        (DEAF, "run.timeout"),
    ],
)
def test_a_hostile_query_costs_one_error(executor: WorkersExecutor, sql: str, expected: str) -> None:
    assert code(executor, sql) == expected
    assert rows(executor, "SELECT 1") == [(1,)]


def test_others_do_not_notice_a_crash(executor: WorkersExecutor) -> None:
    found: list[object] = []

    def ask() -> None:
        found.extend(rows(executor, "SELECT sum(i) FROM range(1000) t(i)") for _ in range(20))

    thread = threading.Thread(target=ask)
    thread.start()
    for _ in range(3):
        assert code(executor, CRASH) == "run.crashed"
    thread.join()
    assert found == [[(499500,)]] * 20


def test_a_worker_knows_nothing_of_its_host(executor: WorkersExecutor) -> None:
    worker = executor._idle.get(timeout=30)
    executor._idle.put(worker)
    environment = Path(f"/proc/{worker.pid}/environ").read_text()
    assert {entry.partition("=")[0] for entry in environment.split("\0") if entry} <= {
        "PYTHONPATH", "MALLOC_ARENA_MAX", "TZ", "LD_LIBRARY_PATH", "LC_CTYPE",
    }  # fmt: skip
    limits = Path(f"/proc/{worker.pid}/limits").read_text()
    space = next(line.split()[3] for line in limits.splitlines() if line.startswith("Max address space"))
    assert int(space) < 8 << 30


def test_all_workers_busy_is_an_error_that_says_later(database: Path) -> None:
    executor = WorkersExecutor.open(database, limits=Limits(processes=1, seconds=0.2, threads=1))
    taken = executor._take(executor.limits)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rls.engines.workers._REPLACE_SECONDS", 0.1)
        assert code(executor, "SELECT 1") == "run.busy"
    executor._idle.put(taken)
    assert rows(executor, "SELECT 1") == [(1,)]
    executor.close()
    assert code(executor, "SELECT 1") == "engine.closed"


def test_workers_end_with_the_engine(database: Path) -> None:
    executor = WorkersExecutor.open(database, limits=Limits(processes=1, seconds=30, threads=1))
    pid = next(iter(executor._workers)).pid
    failed: list[str] = []
    thread = threading.Thread(target=lambda: failed.append(code(executor, DEAF)))
    thread.start()
    while not executor._idle.empty():
        time.sleep(0.01)
    executor.close()
    thread.join(10)
    assert failed == ["engine.closed"]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_worker_that_was_killed_from_outside_is_replaced(executor: WorkersExecutor) -> None:
    for worker in list(executor._workers):
        os.kill(worker.pid, signal.SIGKILL)
    outcomes = []
    for _ in range(4):
        try:
            outcomes.append(rows(executor, "SELECT 1"))
        except QueryFailed as error:
            outcomes.append(error.code)
    assert outcomes[-1] == [(1,)]
    assert set(map(str, outcomes)) <= {"[(1,)]", "run.crashed"}


def test_the_engine_runs_on_workers_as_on_threads(database: Path, tmp_path: Path) -> None:
    policies = write_policies(tmp_path / "p")
    answers = []
    for isolation in ("thread", "process"):
        limits = Limits(processes=1, seconds=10, threads=1)
        with Engine.open(
            database, policies=policies, audit=tmp_path / "a.jsonl", limits=limits, isolation=isolation
        ) as engine:
            token = mint_token(
                engine.policies.identity, subject="u", roles=["explorer"], attributes={"tenant": "acme"}, lifetime=600
            )
            sql = "PIVOT orders ON kind USING sum(amount) GROUP BY tenant_id"
            result = engine.query(token, sql)
            answers.append((result.columns, result.types, result.rows))
            with pytest.raises(RlsError) as caught:
                engine.query(token, "SELECT margin FROM orders")
            answers[-1] += (str(caught.value),)
    assert answers[0] == answers[1]
    with pytest.raises(EngineInvalid):
        Engine.open(database, policies=policies, audit=tmp_path / "a.jsonl", isolation="none")  # type: ignore[arg-type]


def test_files_that_cannot_be_opened_fail_at_once(tmp_path: Path) -> None:
    with pytest.raises(EngineInvalid) as caught:
        WorkersExecutor.open(tmp_path / "missing.duckdb")
    assert caught.value.code == "engine.database_missing"


def test_nothing_accumulates_over_a_thousand_queries(database: Path, tmp_path: Path) -> None:
    """Not in this process and not in the worker: files, threads, memory; in the errors' way neither."""
    limits = Limits(processes=1, seconds=5, threads=1, memory=400_000_000)
    executor = WorkersExecutor.open(database, limits=limits, temporary=tmp_path)
    orders = f'"{executor.catalog.attached}"."main"."orders"'
    texts = [
        f"SELECT * FROM {orders} ORDER BY id",
        f"PIVOT {orders} ON kind USING sum(amount)",
        f"SELECT CAST(note AS INTEGER) FROM {orders}",
        "SELECT nope",
        f"SELECT list(note), count(*) FROM {orders} GROUP BY kind",
    ]
    copies = [
        Copy(f"{i:032x}", "orders", ("(SELECT 1)",), f"(SELECT * FROM {orders})", {}, True, once, "v")
        for i, once in ((1, False), (2, True))
    ]

    def run(times: int) -> None:
        for number in range(times):
            with contextlib.suppress(RlsError):
                fetch: Fetch = "arrow" if number % 7 == 0 else "rows"
                executor.execute(ready(texts[number % len(texts)]), {}, fetch=fetch, copies=copies[: number % 3])

    def used() -> tuple[int, int, int]:
        (worker,) = executor._workers
        pid = worker.pid
        files = sum(len(list(Path(f"/proc/{process}/fd").iterdir())) for process in ("self", pid))
        memory = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
        return pid, files + threading.active_count(), memory

    run(200)
    pid, files, memory = used()
    left = sorted(tmp_path.rglob("*"))
    run(800)
    assert used()[:2] == (pid, files)
    assert used()[2] < memory + (16 << 20)
    assert sorted(tmp_path.rglob("*")) == left
    executor.close()
    assert list(tmp_path.iterdir()) == []


def test_a_roles_limits_are_the_operating_systems_for_its_query(database: Path) -> None:
    limits = Limits(processes=1, seconds=20, threads=1, memory=1_500_000_000, rows=100)
    executor = WorkersExecutor.open(database, limits=limits)
    # One value that no limit of DuckDB's counts.
    large = ready("SELECT length(repeat('x', 300000000))")
    own = limits.narrowed({"memory": 50_000_000, "seconds": 0.5, "rows": 5})
    with pytest.raises(QueryFailed) as caught:
        executor.execute(large, {}, fetch="rows", limits=own)
    assert caught.value.code == "run.memory"
    assert executor.execute(large, {}, fetch="rows").rows == [(300_000_000,)]
    for limit, sql in (("run.rows", "SELECT * FROM range(6)"), ("run.timeout", DEAF)):
        with pytest.raises(QueryFailed) as caught:
            executor.execute(ready(sql), {}, fetch="rows", limits=own)
        assert caught.value.code == limit
    assert executor.execute(ready("SELECT * FROM range(6)"), {}, fetch="rows").row_count == 6
    (worker,) = executor._workers
    found = Path(f"/proc/{worker.pid}/limits").read_text()
    seconds = next(line.split()[3] for line in found.splitlines() if line.startswith("Max cpu time"))
    assert 20 < int(seconds) < 100  # of the last query: what the process had used, its own seconds, and some grace
    assert next(line.split()[4] for line in found.splitlines() if line.startswith("Max core file size")) == "0"
    size = next(line.split()[3] for line in found.splitlines() if line.startswith("Max file size"))
    assert int(size) == max(limits.memory, limits.temporary_disk)
    executor.close()


def test_a_machine_that_is_out_of_processes_for_a_while_costs_no_place(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = WorkersExecutor.open(database, limits=Limits(processes=1, seconds=20, threads=1))
    try:
        (worker,) = executor._workers
        os.kill(worker.pid, signal.SIGKILL)

        def too_many(*_: object, **__: object) -> None:
            raise BlockingIOError(errno.EAGAIN, "resource temporarily unavailable")

        with monkeypatch.context() as patch:
            patch.setattr(children.subprocess, "Popen", too_many)  # type: ignore[attr-defined]
            assert code(executor, "SELECT 1") == "run.crashed"
            held = len(list(Path("/proc/self/fd").iterdir()))
            assert [code(executor, "SELECT 1") for _ in range(3)] == ["engine.worker"] * 3
            assert len(list(Path("/proc/self/fd").iterdir())) == held
        assert code(executor, "SELECT 1") == "engine.worker", "what the last one found out"
        assert rows(executor, "SELECT 1") == [(1,)]
    finally:
        executor.close()
