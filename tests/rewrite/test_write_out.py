"""What only DuckDB can say, in plain SQL: which texts become which, and that the others stay as they are."""

from __future__ import annotations

import duckdb
import pytest
import sqlglot

from rls.rewrite.port.write_out import write_out

SETUP = """
CREATE TABLE a (id INTEGER, tenant_id INTEGER, region VARCHAR, status VARCHAR, amount DECIMAL(9,2));
CREATE TABLE b (id INTEGER, "Name" VARCHAR);
INSERT INTO a SELECT i, i % 3, CASE WHEN i % 4 > 0 THEN 'r' || i % 4 END, ['open', 'paid', NULL][1 + i % 3], i / 7 FROM range(40) t(i);
INSERT INTO b SELECT i * 2, 'n' || i FROM range(30) t(i);
"""


@pytest.fixture(scope="module")
def database() -> duckdb.DuckDBPyConnection:
    made = duckdb.connect()
    made.execute(SETUP)
    return made


def written(sql: str, database: duckdb.DuckDBPyConnection) -> str:
    def describe(text: str) -> list[str] | None:
        try:
            return [row[0] for row in database.execute(f"DESCRIBE {text}").fetchall()]
        except duckdb.Error:
            return None

    return str(write_out(sqlglot.parse_one(sql, read="duckdb"), describe).sql("duckdb"))


@pytest.mark.parametrize(
    ("sql", "text"),
    [
        ("SELECT COLUMNS('.*id') FROM a", 'SELECT "id", "tenant_id" FROM a'),
        ("SELECT COLUMNS(lambda c: c LIKE 'r%') FROM a", 'SELECT "region" FROM a'),
        ("SELECT * LIKE '%id' FROM a", 'SELECT "id", "tenant_id" FROM a'),
        ("SELECT min(COLUMNS(* EXCLUDE (amount, status, region))) FROM a", 'SELECT MIN("id") AS "id", MIN("tenant_id") AS "tenant_id" FROM a'),
        ("SELECT COLUMNS('(.*)_id') AS 'key_\\1' FROM a", 'SELECT "tenant_id" AS "key_tenant" FROM a'),
        ("SELECT COLUMNS('id') FROM a, b", 'SELECT "a"."id", "a"."tenant_id", "b"."id" FROM a, b'),
        ("SELECT COLUMNS(b.*) FROM a, b", 'SELECT "b"."id", "b"."Name" FROM a, b'),
        ("SELECT coalesce(*COLUMNS(['region', 'status']), 'x') FROM a", "SELECT COALESCE(\"region\", \"status\", 'x') FROM a"),
        ("SELECT id FROM a WHERE COLUMNS(['region', 'status']) IS NULL", 'SELECT id FROM a WHERE "region" IS NULL AND "status" IS NULL'),
        ("SELECT count(*) FROM a NATURAL LEFT JOIN b", 'SELECT COUNT(*) FROM a LEFT JOIN b USING ("id")'),
        ("WITH c AS (SELECT id FROM b) SELECT * FROM a NATURAL JOIN c", 'WITH c AS (SELECT id FROM b) SELECT * FROM a JOIN c USING ("id")'),
    ],
)  # fmt: skip
def test_columns_and_joins_are_listed(sql: str, text: str, database: duckdb.DuckDBPyConnection) -> None:
    assert written(sql, database) == text


@pytest.mark.parametrize(
    "sql",
    [
        "PIVOT a ON status IN ('open', 'paid') USING sum(amount) AS s, count(*) AS n GROUP BY region",
        "PIVOT (SELECT region, status FROM a) ON status IN ('open', 'paid')",
        "PIVOT a ON status IN ('open'), region IN ('r1', 'r2') USING max(amount) GROUP BY tenant_id",
        "SELECT region, open FROM a PIVOT (sum(amount) FOR status IN ('open', 'paid') GROUP BY region)",
        "SELECT p.*, b.\"Name\" FROM (PIVOT a ON status IN ('open') USING count(*) GROUP BY id) p JOIN b ON b.id = p.id",
        "WITH c AS (FROM a WHERE id > 3) SELECT p.open_n FROM c PIVOT (count(amount) AS n FOR status IN ('open')) AS p",
        "WITH p AS (PIVOT a ON status IN ('none') USING count(*) GROUP BY region) SELECT * FROM p WHERE none = 0",
    ],
)
def test_a_pivot_with_a_list_becomes_sums_with_filters(sql: str, database: duckdb.DuckDBPyConnection) -> None:
    text = written(sql, database)
    assert "PIVOT" not in text and "FILTER" in text
    one, other = database.sql(sql), database.sql(text)
    assert (one.columns, one.types) == (other.columns, other.types)
    assert sorted(map(repr, one.fetchall())) == sorted(map(repr, other.fetchall()))


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT COLUMNS('none.*') FROM a",
        "SELECT COLUMNS('i.*') + COLUMNS('t.*') FROM a",
        "SELECT COLUMNS(*) FROM missing",
        "SELECT COUNT(*) FROM a NATURAL JOIN missing",
        "SELECT * FROM a UNPIVOT(v FOR k IN (id, tenant_id))",
        "SELECT id FROM a",
    ],
)
def test_what_cannot_be_written_out_stays(sql: str, database: duckdb.DuckDBPyConnection) -> None:
    assert written(sql, database) == sql
