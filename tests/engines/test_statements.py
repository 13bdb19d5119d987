"""Parsed statements that are kept: the same answers with other values, in many threads, within bounds."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import duckdb
import pytest

from rls.engines import statements
from rls.engines.statements import Statements
from rls.errors import QueryRefused


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 1}) as made:
        made.execute("CREATE TABLE t AS SELECT range AS i, 'x' || range % 7 AS s FROM range(5000)")
        yield made


def test_one_statement_runs_with_other_values_in_many_threads(connection: duckdb.DuckDBPyConnection) -> None:
    kept = Statements()
    sql = "SELECT s, count(*), $x || s FROM t WHERE list_contains($some, s) AND i < $most GROUP BY ALL ORDER BY s"

    def ask(number: int) -> bool:
        with connection.cursor() as cursor:
            statement = kept.parse(cursor, sql)
            values = {"x": str(number), "some": [f"x{number % 7}"], "most": number}
            form = (
                cursor.execute(statement, values).fetchall()
                if number % 2
                else cursor.sql(statement, params=values).fetchall()
            )
            return form == cursor.execute(sql, values).fetchall()

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(ask, range(1, 200)))
    assert [*kept._kept] == [sql]


def test_a_text_is_parsed_once(connection: duckdb.DuckDBPyConnection) -> None:
    kept = Statements()
    first = kept.parse(connection, "SELECT i FROM t")
    assert kept.parse(connection, "SELECT i FROM t") is first
    assert kept.parse(connection, "SELECT i  FROM t") is not first


def test_a_table_that_changed_is_seen(connection: duckdb.DuckDBPyConnection) -> None:
    kept = Statements()
    assert connection.execute(kept.parse(connection, "SELECT * FROM t LIMIT 1")).fetchall() == [(0, "x0")]
    connection.execute("ALTER TABLE t DROP COLUMN i")
    assert connection.execute(kept.parse(connection, "SELECT * FROM t LIMIT 1")).fetchall() == [("x0",)]


@pytest.mark.parametrize("sql", ["SELECT 1; SELECT 2", "DROP TABLE t", "SET threads = 1", "", "-- nothing"])
def test_what_is_not_one_select_is_refused_every_time(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    kept = Statements()
    for _ in range(2):
        with pytest.raises(QueryRefused) as caught:
            kept.parse(connection, sql)
        assert caught.value.code == "query.statement_kind"
    assert not kept._kept


def test_what_is_kept_is_bounded(connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statements, "_MOST_CHARACTERS", 100)
    monkeypatch.setattr(statements, "_LONGEST", 40)
    kept = Statements()
    for number in range(50):
        kept.parse(connection, f"SELECT {number} FROM t")
        kept.parse(connection, "SELECT 7 FROM t")
    assert sum(map(len, kept._kept)) == kept._characters <= 100
    assert "SELECT 7 FROM t" in kept._kept
    kept.parse(connection, f"SELECT '{'x' * 40}'")
    assert all(len(sql) <= 40 for sql in kept._kept)
