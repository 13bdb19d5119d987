"""Guarded queries run on a locked-down DuckDB: limits, errors, parameters, and an instance that survives."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from rls.engines.base import Fetch
from rls.engines.duckdb import DuckDBExecutor
from rls.engines.limits import Limits
from rls.errors import EngineInvalid, QueryFailed, QueryRefused, RlsError
from tests.engine.kit import build, ready

LONG = "SELECT count(*) FROM range(200000) a(i), range(200000) b(j) WHERE hash(i, j) = 7"
# DuckDB 2.0.0: comparing different types through the operator's function form ends the whole instance.
FATAL = """SELECT "="(i, s) FROM (SELECT i, i::VARCHAR || 'x' AS s FROM range(10) t(i))"""
FORMS: tuple[Fetch, ...] = ("rows", "arrow")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("duckdb") / "warehouse.duckdb")


@pytest.fixture(scope="module")
def executor(database: Path) -> Iterator[DuckDBExecutor]:
    found = DuckDBExecutor.open(database, limits=Limits(rows=1000, columns=20, threads=2, seconds=20))
    yield found
    found.close()


def source(executor: DuckDBExecutor, relation: str = "main.orders") -> str:
    return f'"{executor.catalog.attached}".{relation}'


def error_of(executor: DuckDBExecutor, sql: str, **parameters: object) -> RlsError:
    with pytest.raises(RlsError) as caught:
        executor.execute(ready(sql), parameters, fetch="rows")
    return caught.value


@pytest.mark.parametrize("fetch", FORMS)
def test_rows_names_and_types_are_those_of_duckdb(executor: DuckDBExecutor, fetch: Fetch) -> None:
    sql = f"SELECT id, amount, id AS id, [id] AS ids FROM {source(executor)} ORDER BY id"
    found = executor.execute(ready(sql), {}, fetch=fetch)
    assert found.columns == ("id", "amount", "id", "ids")
    assert found.types == ("INTEGER", "DECIMAL(9,2)", "INTEGER", "INTEGER[]")
    assert found.row_count == 3
    assert (found.rows is None) is (fetch == "arrow")
    if fetch == "arrow":
        assert found.table.column_names == ["id", "amount", "id", "ids"]
        assert found.table.num_rows == 3


def test_no_unguarded_name_resolves(executor: DuckDBExecutor) -> None:
    for name in ("orders", "main.orders", "warehouse.main.orders", "finance.ledger", "memory.main.orders"):
        error = error_of(executor, f"SELECT * FROM {name}")
        assert error.code == "query.invalid"
        assert "rls_" not in str(error)
        assert "ledger" not in str(error).replace(name, "")


def test_the_attached_name_differs_from_engine_to_engine(database: Path, executor: DuckDBExecutor) -> None:
    other = DuckDBExecutor.open(database)
    assert other.catalog.attached != executor.catalog.attached
    assert other.catalog.relations == executor.catalog.relations
    other.close()


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE t (i INTEGER)",
        "CREATE TEMP VIEW orders AS SELECT 1",
        "SET VARIABLE tenant = 'globex'",
        "SET threads = 1",
        "ATTACH ':memory:' AS other",
        "EXPLAIN SELECT 1",
        "SELECT 1; SELECT 2",
        "PRAGMA version",
        "BEGIN",
        "",
    ],
)
def test_only_one_select_runs(executor: DuckDBExecutor, statement: str) -> None:
    assert error_of(executor, statement).code == "query.statement_kind"


def test_writes_inside_a_select_fail(executor: DuckDBExecutor) -> None:
    hidden = f"WITH gone AS (DELETE FROM {source(executor)} RETURNING *) SELECT * FROM gone"
    assert isinstance(error_of(executor, hidden), RlsError)
    count = executor.execute(ready(f"SELECT count(*) FROM {source(executor)}"), {}, fetch="rows")
    assert count.rows == [(3,)]


@pytest.mark.parametrize("fetch", FORMS)
def test_rows_up_to_the_limit_and_not_one_more(executor: DuckDBExecutor, fetch: Fetch) -> None:
    assert executor.execute(ready("SELECT * FROM range(1000)"), {}, fetch=fetch).row_count == 1000
    for size in (1001, 50_000_000_000):
        with pytest.raises(QueryFailed) as caught:
            executor.execute(ready(f"SELECT * FROM range({size})"), {}, fetch=fetch)
        assert caught.value.code == "run.rows"


@pytest.mark.parametrize("fetch", FORMS)
def test_columns_up_to_the_limit_and_not_one_more(executor: DuckDBExecutor, fetch: Fetch) -> None:
    def wide(size: int) -> str:
        return "SELECT " + ", ".join(f"{i} AS c{i}" for i in range(size))

    assert len(executor.execute(ready(wide(20)), {}, fetch=fetch).columns) == 20
    with pytest.raises(QueryFailed) as caught:
        executor.execute(ready(wide(21)), {}, fetch=fetch)
    assert caught.value.code == "run.columns"


@pytest.mark.parametrize("fetch", FORMS)
def test_a_query_that_runs_too_long_is_ended_and_the_next_one_runs(database: Path, fetch: Fetch) -> None:
    executor = DuckDBExecutor.open(database, limits=Limits(seconds=0.3, threads=1))
    with pytest.raises(QueryFailed) as caught:
        executor.execute(ready(LONG), {}, fetch=fetch)
    assert caught.value.code == "run.timeout"
    assert executor.execute(ready("SELECT 1"), {}, fetch="rows").rows == [(1,)]
    executor.close()


def test_a_query_that_needs_too_much_memory_is_ended_and_the_next_one_runs(database: Path) -> None:
    executor = DuckDBExecutor.open(database, limits=Limits(memory=60_000_000, threads=1))
    error = error_of(executor, "SELECT list(i ORDER BY hash(i)) FROM range(20000000) t(i)")
    assert error.code == "run.memory"
    assert executor.execute(ready("SELECT 1"), {}, fetch="rows").rows == [(1,)]
    executor.close()


def test_a_large_arrow_result_is_bounded_in_bytes(database: Path) -> None:
    executor = DuckDBExecutor.open(database, limits=Limits(memory=60_000_000, threads=1, rows=100_000_000))
    with pytest.raises(QueryFailed) as caught:
        executor.execute(ready("SELECT i FROM range(90000000) t(i)"), {}, fetch="arrow")
    assert caught.value.code == "run.memory"
    executor.close()


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("SELECT CAST(note AS INTEGER) FROM {orders}", "run.cast"),
        ("SELECT * FROM {orders} WHERE note = 5", "run.cast"),
        ("SELECT 9223372036854775807 + id FROM {orders}", "run.out_of_range"),
        ("SELECT id // 0 FROM {orders}", "run.division_by_zero"),
        ("SELECT (SELECT id FROM {orders})", "run.subquery_rows"),
        ("SELECT error(note) FROM {orders}", "run.invalid_input"),
        ("SELECT 1 +", "query.invalid"),
        ("SELECT nope(1)", "query.invalid"),
    ],
)
def test_errors_have_codes_and_say_nothing_of_the_data(executor: DuckDBExecutor, sql: str, code: str) -> None:
    error = error_of(executor, sql.format(orders=source(executor)))
    assert error.code == code
    public = f"{error} {error.to_dict()}"
    assert "secret" not in public
    assert "rls_" not in public
    assert "\n" not in str(error)
    # Nor does anything travel along with the exception.
    assert error.__cause__ is None
    assert error.__context__ is None
    assert error.detail


def test_run_time_errors_point_into_the_callers_text(executor: DuckDBExecutor) -> None:
    error = error_of(executor, f"SELECT\n  CAST(note AS INTEGER) FROM {source(executor)}")
    assert error.hint is not None
    assert "line 2, column 3" in error.hint


@pytest.mark.parametrize("fetch", FORMS)
def test_errors_in_the_middle_of_fetching_are_classified_too(executor: DuckDBExecutor, fetch: Fetch) -> None:
    late = "SELECT CASE WHEN i < 900 THEN 1 ELSE CAST('x' || i AS INTEGER) END FROM range(1000) t(i)"
    with pytest.raises(QueryFailed) as caught:
        executor.execute(ready(late), {}, fetch=fetch)
    assert caught.value.code == "run.cast"


def test_parameters_are_bound_and_must_fit_the_text(executor: DuckDBExecutor) -> None:
    query = ready(f"SELECT id FROM {source(executor)} WHERE tenant_id = $rls_tenant AND id = $Id", rls_tenant="acme")
    assert executor.execute(query, {"id": 2}, fetch="rows").rows == [(2,)]
    assert executor.execute(query, {"id": 3}, fetch="rows").rows == []
    with pytest.raises(QueryRefused) as missing:
        executor.execute(query, {}, fetch="rows")
    assert missing.value.code == "query.parameter_missing"
    for extra in ({"id": 2, "other": 1}, {"id": 2, "RLS_tenant": "globex"}):
        with pytest.raises(QueryRefused) as unknown:
            executor.execute(query, extra, fetch="rows")
        assert unknown.value.code == "query.parameter_unknown"


def test_a_guards_parameters_that_the_text_does_not_name_are_left_out(executor: DuckDBExecutor) -> None:
    assert executor.execute(ready("SELECT 1", rls_tenant="acme"), {}, fetch="rows").rows == [(1,)]


def test_variables_of_the_host_program_are_not_tables(executor: DuckDBExecutor) -> None:
    frame = pytest.importorskip("pandas").DataFrame({"a": [1]})
    assert len(frame) == 1
    assert error_of(executor, "SELECT * FROM frame").code == "query.invalid"


def test_describe_runs_nothing(database: Path) -> None:
    executor = DuckDBExecutor.open(database, limits=Limits(seconds=0.3))
    found = executor.describe(ready(LONG.replace("count(*)", "i, j::VARCHAR AS j")), {})
    assert [(c.name, c.type) for c in found] == [("i", "BIGINT"), ("j", "VARCHAR")]
    executor.close()


def test_a_broken_instance_costs_one_error(database: Path) -> None:
    executor = DuckDBExecutor.open(database, limits=Limits(threads=1))
    for _ in range(2):
        assert error_of(executor, FATAL).code == "run.internal"
        assert executor.execute(ready(f"SELECT count(*) FROM {source(executor)}"), {}, fetch="rows").rows == [(3,)]
    executor.close()


def test_others_get_their_answer_or_an_error_that_says_try_again(database: Path) -> None:
    executor = DuckDBExecutor.open(database, limits=Limits(threads=1, rows=10))
    outcomes: list[object] = []

    def ask() -> None:
        for _ in range(30):
            try:
                outcomes.append(executor.execute(ready("SELECT sum(i) FROM range(20000) t(i)"), {}, fetch="rows").rows)
            except RlsError as error:
                outcomes.append(error.code)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        assert error_of(executor, FATAL).code in ("run.internal", "run.restarted")
    for thread in threads:
        thread.join()
    assert len(outcomes) == 90
    assert all(o in ([(199990000,)], "run.restarted") for o in outcomes)
    assert executor.execute(ready("SELECT 1"), {}, fetch="rows").rows == [(1,)]
    executor.close()


def test_more_queries_than_slots_wait_and_then_give_up(database: Path) -> None:
    executor = DuckDBExecutor.open(database, limits=Limits(seconds=0.5, threads=1, concurrent=1))
    codes: list[str] = []

    def run() -> None:
        codes.append(error_of(executor, LONG).code)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert "run.timeout" in codes
    assert set(codes) <= {"run.timeout", "run.busy"}
    assert executor.execute(ready("SELECT 1"), {}, fetch="rows").rows == [(1,)]
    executor.close()


def test_closing_ends_what_runs(database: Path) -> None:
    executor = DuckDBExecutor.open(database, limits=Limits(threads=1))
    codes: list[str] = []
    thread = threading.Thread(target=lambda: codes.append(error_of(executor, LONG).code))
    thread.start()
    while not executor._watchdog._watches:
        threading.Event().wait(0.01)
    executor.close()
    thread.join()
    assert codes == ["engine.closed"]
    assert error_of(executor, "SELECT 1").code == "engine.closed"


def test_files_that_cannot_be_opened(tmp_path: Path, database: Path) -> None:
    garbage, empty = tmp_path / "garbage.duckdb", tmp_path / "empty.duckdb"
    garbage.write_bytes(b"not a database" * 1000)
    empty.touch()
    half = tmp_path / "half.duckdb"
    half.write_bytes(database.read_bytes()[:9_000])
    for path, code in [
        (tmp_path / "missing.duckdb", "engine.database_missing"),
        (tmp_path, "engine.database_missing"),
        (garbage, "engine.database_invalid"),
        (empty, "engine.database_invalid"),
        (half, "engine.database_invalid"),
    ]:
        with pytest.raises(EngineInvalid) as caught:
            DuckDBExecutor.open(path)
        assert caught.value.code == code
    for name in ("", "system", "TEMP"):
        with pytest.raises(EngineInvalid) as caught:
            DuckDBExecutor.open(database, name=name)
        assert caught.value.code == "engine.name"


def test_a_file_that_is_being_written_is_not_opened(tmp_path: Path) -> None:
    path = build(tmp_path / "busy.duckdb")
    with duckdb.connect(str(path)), pytest.raises(EngineInvalid) as caught:
        DuckDBExecutor.open(path)
    assert caught.value.code == "engine.database_locked"


def test_a_path_with_quotes_opens(tmp_path: Path) -> None:
    path = build(tmp_path / 'it\'s "odd".duckdb')
    executor = DuckDBExecutor.open(path)
    assert executor.catalog.name == 'it\'s "odd"'
    assert executor.execute(ready(f"SELECT count(*) FROM {source(executor)}"), {}, fetch="rows").rows == [(3,)]
    executor.close()
