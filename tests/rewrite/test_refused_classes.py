"""README's table of what is refused: each row has queries here, and they are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from rls.errors import QueryRefused
from rls.rewrite.guard import guard
from tests.rewrite import small

README = Path(__file__).parents[2] / "README.md"
# How a row begins → its queries.
QUERIES = {
    "anything but queries": [
        "WITH i AS (INSERT INTO orders VALUES (1) RETURNING id) FROM i",
        "SET threads = 1",
        "PRAGMA version",
        "ATTACH 'other.duckdb'",
        "COPY orders TO 'file.csv'",
        "EXPLAIN SELECT 1",
        "SHOW TABLES",
        "FROM (SHOW orders)",
        "SELECT 1; SELECT 2",
    ],
    "functions that nobody reviewed": [
        "SELECT my_function(1)",
        "FROM my_macro()",
        "FROM query('SELECT 1')",
        "FROM read_csv('file.csv')",
        "FROM duckdb_tables()",
        "SELECT stats(id) FROM orders",
        "SELECT current_setting('threads')",
        "SELECT nextval('numbers')",
    ],
    "`range(": ["FROM range(10000000000)", "SELECT repeat('a', 1000000000)"],
    "`LIKE": ["SELECT tenant LIKE 'a' ESCAPE tenant FROM orders", "SELECT tenant LIKE 'a$' ESCAPE '$' FROM orders"],
    "`rowid`": ["SELECT rowid FROM orders"],
    "`reservoir` sampling": [
        "FROM orders TABLESAMPLE reservoir(10) REPEATABLE (1)",
        "SELECT bitstring_agg(id) FROM orders",
    ],
    "whole numbers": ["SELECT 340282366920938463463374607431768211456000", 'SELECT "="(1, 2)'],
    "casts to": ["SELECT id::orders FROM orders", "SELECT tenant::mood FROM orders"],
    "`AT (VERSION": ["FROM orders AT (VERSION => 1)", "FROM 'file.csv'", "FROM frame"],
    "more than 150": ["SELECT " + "(" * 151 + "1" + ")" * 151, "SELECT ?", "SELECT $1"],
    "characters": ["SELECT * FROM \u200borders"],
    "`apply(": ["SELECT apply([1], lambda x: x + 1)"],
    "`5!`": [
        "SELECT 5!",
        "SELECT o.id FROM orders o JOIN people p NEAREST BY DISTANCE o.id - p.id",
        "SELECT finalize(sum(id) EXPORT_STATE) FROM orders",
        "SELECT NATIONAL CHARACTER 'x'",
        "SELECT CASE WHEN true THEN 2ELSE 3END",
    ],
    "labels of ENUM": ["SELECT enum_range(mood) FROM orders", "SELECT enum_last(mood) FROM orders"],
}


def rows() -> list[str]:
    text = README.read_text(encoding="utf-8")
    table = text[text.index("| refused | why |") :].split("\n\n")[0]
    return [line.removeprefix("| ") for line in table.splitlines()[2:]]


def test_every_row_has_its_queries() -> None:
    assert len(rows()) == len(QUERIES)
    assert [start for row, start in zip(rows(), QUERIES, strict=True) if not row.startswith(start)] == []


@pytest.mark.parametrize("sql", ["FROM secret", *(sql for some in QUERIES.values() for sql in some)])
def test_it_is_refused(sql: str) -> None:
    with pytest.raises(QueryRefused):
        guard(sql, small.PRINCIPAL, small.Policies(), small.CATALOG)


@pytest.mark.parametrize(
    "sql",
    [
        "FROM orders TABLESAMPLE system(10%) REPEATABLE (1)",
        "SELECT bitstring_agg(id, 1, 10) FROM orders",
        "SELECT list_transform([1], lambda x: x + 1)",
        "SELECT tenant LIKE 'a$%' ESCAPE '$' FROM orders",
    ],
)
def test_what_the_table_offers_instead_is_not(sql: str) -> None:
    guard(sql, small.PRINCIPAL, small.Policies(), small.CATALOG)
