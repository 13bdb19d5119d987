"""A locked-down instance: facts about DuckDB that the engine relies on, checked statement by statement."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from rls.engines.lockdown import open_locked
from tests.engine.kit import build


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> duckdb.DuckDBPyConnection:
    folder = tmp_path_factory.mktemp("lockdown")
    (folder / "rows.csv").write_text("a\n1\n")
    build(folder / "data.duckdb")
    return open_locked(
        threads=1, memory=200_000_000, hide_statistics=False, attach=(folder / "data.duckdb", "rls_data")
    )


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM orders",
        "SELECT * FROM data.orders",
        "SELECT * FROM read_csv('{folder}/rows.csv')",
        "SELECT * FROM '{folder}/rows.csv'",
        "SELECT * FROM glob('*')",
        "SELECT * FROM read_text('/etc/passwd')",
        "COPY (SELECT 1) TO '{folder}/out.csv'",
        "EXPORT DATABASE '{folder}/out'",
        "ATTACH '{folder}/data.duckdb' AS again",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET threads = 8",
        "SET errors_as_json = false",
        "SET enable_external_access = true",
        "SET lock_configuration = false",
        "RESET memory_limit",
        "PRAGMA enable_profiling = 'json'",
        "CREATE PERSISTENT SECRET s (TYPE s3)",
        "INSERT INTO rls_data.main.orders VALUES (9, 'x', 1, 'x')",
        "CREATE TABLE rls_data.main.t (i INTEGER)",
        "DROP TABLE rls_data.main.orders",
        "SELECT * FROM folder",
    ],
)
def test_out_of_reach(connection: duckdb.DuckDBPyConnection, tmp_path: Path, statement: str) -> None:
    folder = str(tmp_path)
    with pytest.raises(duckdb.Error):
        connection.cursor().execute(statement.format(folder=folder))


def test_a_read_only_transaction_keeps_the_shared_default_catalog_empty(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    cursor = connection.cursor()
    cursor.execute("BEGIN TRANSACTION READ ONLY")
    with pytest.raises(duckdb.Error):
        cursor.execute("CREATE TABLE orders (i INTEGER)")
    cursor.close()
    assert connection.execute("SELECT count(*) FROM duckdb_tables() WHERE database_name = 'memory'").fetchone() == (0,)


def test_what_a_cursor_leaves_behind_goes_with_it(connection: duckdb.DuckDBPyConnection) -> None:
    first = connection.cursor()
    for statement in (
        "SET VARIABLE tenant = 'globex'",
        "CREATE TEMP VIEW orders AS SELECT 'planted' AS note",
        "CREATE TEMP MACRO lower(x) AS 'planted'",
        "PREPARE planted AS SELECT 1",
    ):
        first.execute(statement)
    second = connection.cursor()
    assert second.execute("SELECT getvariable('tenant'), lower('A')").fetchall() == [(None, "a")]
    for statement in ("SELECT * FROM orders", "EXECUTE planted"):
        with pytest.raises(duckdb.Error):
            second.execute(statement)
    first.close()


def test_rows_that_no_query_orders_keep_their_order(connection: duckdb.DuckDBPyConnection) -> None:
    rows = connection.cursor().execute("SELECT id FROM rls_data.main.orders OFFSET 0").fetchall()
    assert rows == [(1,), (2,), (3,)]
    assert connection.execute("SELECT current_setting('preserve_insertion_order')").fetchone() == (True,)


def test_a_failed_attach_leaves_no_connection_open(tmp_path: Path) -> None:
    with pytest.raises(duckdb.Error):
        open_locked(
            threads=1, memory=100_000_000, hide_statistics=False, attach=(tmp_path / "missing.duckdb", "rls_data")
        )
    with duckdb.connect(str(tmp_path / "missing.duckdb")) as made:
        assert made.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize(
    "sql",
    [
        # Groups: sorted where extremes are near, by hash where they are not.
        "SELECT k FROM (SELECT k FROM {guard} WHERE k BETWEEN 900 AND 1400 UNION ALL SELECT 900 UNION ALL SELECT 907 UNION ALL SELECT 903) "
        "GROUP BY k",
        "SELECT z, list(DISTINCT k) FROM {guard} GROUP BY z ORDER BY z",
        # Equal rows: sorted by keys as narrow as extremes allow.
        "SELECT id FROM {guard} ORDER BY s, k",
    ],
)
def test_the_order_of_groups_and_of_equal_rows_says_nothing_of_hidden_extremes(tmp_path: Path, sql: str) -> None:
    answers = []
    for hidden in (5, 200, 1000, 5000, 2_147_483_647):
        with duckdb.connect(str(tmp_path / f"{hidden}.duckdb")) as writer:
            writer.execute(
                f"CREATE TABLE rows AS SELECT i AS id, i % 2 = 0 AS shown, if(i % 2 = 0, i // 2 % 50, {hidden})::INTEGER AS k, "
                f"if(i % 2 = 0, 'v' || (i // 2 % 9), '{hidden}') AS s, i // 2 % 3 AS z FROM range(4000) r(i)"
            )
        attach = (tmp_path / f"{hidden}.duckdb", "rls_data")
        with open_locked(threads=1, memory=200_000_000, hide_statistics=False, attach=attach) as reader:
            text = sql.format(guard="(SELECT * FROM rls_data.rows WHERE shown)")
            answers.append(reader.execute(text).fetchall())
    assert answers == [answers[0]] * len(answers)
