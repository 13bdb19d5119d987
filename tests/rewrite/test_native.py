"""SQL of other engines as DuckDB's: what is read, in which words, and what is refused by its name."""

from __future__ import annotations

import pytest

from rls.errors import QueryRefused
from rls.rewrite.native import DIALECTS, read_native

READ = [
    ("postgres", "TABLE orders", 'SELECT * FROM "orders"'),
    # Names without quotes are folded as PostgreSQL folds them; DuckDB's keywords are names.
    ("postgres", 'SELECT Id AS Foo, "Bar" FROM Orders AS Qualify', 'SELECT "id" AS "foo", "Bar" FROM "orders" AS "qualify"'),
    ("postgres", "SELECT id AS ÉA FROM orders", 'SELECT "id" AS "Éa" FROM "orders"'),
    ("postgres", "SELECT $$it's$$ AS a, 'a\\b' AS b", "SELECT 'it''s' AS \"a\", 'a\\b' AS \"b\""),
    ("postgres", "SELECT id FROM orders ORDER BY n, id DESC", 'SELECT "id" FROM "orders" ORDER BY "n", "id" DESC NULLS FIRST'),
    ("postgres", "SELECT avg(n) / 2, n::numeric(9,2) / id FROM t", 'SELECT AVG("n") / 2, CAST("n" AS DECIMAL(9, 2)) / "id" FROM "t"'),
    ("postgres", "SELECT trim(a), trim(BOTH 'x' FROM a) FROM t", "SELECT TRIM(\"a\", ' '), TRIM(\"a\", 'x') FROM \"t\""),
    ("postgres", "SELECT id FROM t WHERE n = :n OR id = $id", 'SELECT "id" FROM "t" WHERE "n" = $n OR "id" = $id'),
    ("spark", 'SELECT "a", \'it\\\'s\', `b``c` FROM `t`', "SELECT 'a', 'it''s', \"b`c\" FROM \"t\""),
    ("spark", "SELECT id FROM t ORDER BY n, id DESC", 'SELECT "id" FROM "t" ORDER BY "n" NULLS FIRST, "id" DESC'),
    ("spark", "SELECT n / id, n DIV id FROM t", 'SELECT "n" / "id", "n" // "id" FROM "t"'),
    ("spark", "SELECT concat(a, b), a <=> b FROM t", 'SELECT "a" || "b", "a" IS NOT DISTINCT FROM "b" FROM "t"'),
    ("spark", "SELECT date_sub(d, 3) AS a FROM t", 'SELECT (CAST("d" AS DATE) - 3) AS "a" FROM "t"'),
    ("spark", "SELECT * EXCEPT (id) FROM t", 'SELECT * EXCLUDE ("id") FROM "t"'),
    # A table by its path is a name like any other: nobody knows it.
    ("spark", "SELECT * FROM parquet.`/etc/passwd`", 'SELECT * FROM "parquet"."/etc/passwd"'),
    ("spark", "SELECT 1 -- ${env:PATH}", "SELECT 1"),
    ("spark", "SELECT CAST(7 AS INT)", "SELECT CAST(7 AS INT)"),
    (
        "spark",
        "SELECT id AS m FROM orders o GROUP BY id HAVING max(o.m) > max(n)",
        'SELECT "id" AS "m" FROM "orders" AS "o" GROUP BY "id" HAVING MAX("o"."m") > MAX("n")',
    ),
]  # fmt: skip
REFUSED = [
    ("postgres", "SELECT 'orders'::regclass", "OBJECTIDENTIFIER"),
    ("postgres", "SELECT E'\\x41'", "BYTESTRING"),
    ("postgres", "SELECT U&'d\\0061t'", "UNICODESTRING"),
    ("postgres", "SELECT id INTO stolen FROM orders", "SELECT with into"),
    ("postgres", "SELECT id FROM orders FOR UPDATE", "SELECT with locks"),
    ("postgres", "SELECT query_to_xml('SELECT * FROM orders', true, true, '')", "query_to_xml"),
    ("postgres", "SELECT pg_read_file('/etc/passwd')", "pg_read_file"),
    ("postgres", "SELECT set_config('role', 'owner', false)", "set_config"),
    ("postgres", "SELECT (orders).id FROM orders", "DOT"),
    ("postgres", "SELECT * FROM ONLY orders", "TABLE with only"),
    ("postgres", "SELECT * FROM orders TABLESAMPLE SYSTEM (10)", "sample"),
    ("postgres", "SELECT * FROM generate_series(1, 9)", "table function"),
    ("postgres", "SELECT * FROM orders, LATERAL unnest(tags) AS t(x)", "LATERAL"),
    ("postgres", "WITH x AS (DELETE FROM orders RETURNING id) SELECT * FROM x", "DELETE"),
    ("postgres", "WITH x AS MATERIALIZED (SELECT 1 AS a) SELECT a FROM x", "CTE with materialized"),
    ("postgres", "SELECT current_user", "current user"),
    ("postgres", "SELECT n / id FROM orders", "whole numbers"),
    ("postgres", "SELECT note LIKE 'a\\_b' FROM orders", "LIKE"),
    ("postgres", "SELECT note ~ 'a' FROM orders", "regexp like"),
    ("postgres", "SELECT CAST(note AS varchar(3)) FROM orders", "the type"),
    ("postgres", "SELECT CAST(n AS numeric) FROM orders", "the type"),
    ("postgres", "SELECT round(n) FROM orders", "round"),
    ("postgres", "SELECT string_agg(note) FROM orders", "separator"),
    ("postgres", "VALUES (1)", "no SELECT"),
    ("postgres", "COPY orders TO '/tmp/x'", "no SELECT"),
    ("postgres", "SELECT id FROM orders FETCH FIRST 3 ROWS WITH TIES", "FETCH"),
    ("spark", "TABLE orders", "no SELECT"),
    ("spark", "SELECT /*+ BROADCAST(o) */ id FROM orders AS o", "SELECT with hint"),
    ("spark", "SELECT id FROM orders LATERAL VIEW explode(tags) AS tag", "laterals"),
    ("spark", "SELECT TRANSFORM(id) USING 'cat' FROM orders", "QUERYTRANSFORM"),
    ("spark", "SELECT reflect('java.lang.System', 'getenv', 'HOME')", "reflect"),
    ("spark", "SELECT java_method('java.lang.System', 'getenv', 'HOME')", "java_method"),
    ("spark", "SELECT '\\u0041'", "escape"),
    ("spark", "SELECT ${env:HOME}", "PARAMETER"),
    ("spark", "SELECT * FROM IDENTIFIER('orders')", "table function"),
    ("spark", "SELECT * FROM orders VERSION AS OF 1", "version"),
    ("spark", "SELECT * FROM range(9)", "table function"),
    ("spark", "SELECT * FROM VALUES (1), (2)", "VALUES"),
    ("spark", "SELECT try_cast(note AS INT) FROM orders", "TRY_CAST"),
    ("spark", "SELECT CAST(n AS INT) FROM orders", "whole numbers"),
    # Whole numbers pass; a parameter may hold any number, which Spark cuts off and DuckDB rounds.
    ("spark", "SELECT CAST(2.7 AS INT)", "whole numbers"),
    ("spark", "SELECT CAST(27e-1 AS BIGINT)", "whole numbers"),
    ("spark", "SELECT id FROM orders WHERE n = CAST(:limit AS INT)", "whole numbers"),
    # To Spark `n` is the item, to DuckDB the column.
    ("spark", "SELECT id AS n FROM orders GROUP BY id HAVING max(n) > 5", "`n` in HAVING"),
    ("spark", "SELECT id AS N FROM orders GROUP BY id HAVING 5 < (max(abs(n)))", "`n` in HAVING"),
    ("spark", "SELECT dayofweek(d) FROM orders", "day of week"),
    ("spark", "SELECT trunc(d, 'MM') FROM orders", "date trunc"),
    ("spark", "SELECT id FROM orders GROUP BY id WITH ROLLUP", "ROLLUP"),
    ("spark", "SELECT id FROM orders DISTRIBUTE BY id", "distribute"),
    ("spark", "SELECT current_user()", "current user"),
    ("spark", "SELECT input_file_name()", "input_file_name"),
]


@pytest.mark.parametrize(("dialect", "given", "read"), READ)
def test_what_is_read(dialect: str, given: str, read: str) -> None:
    assert read_native(given, dialect) == read
    assert read_native(given, dialect) is read_native(given, dialect)


@pytest.mark.parametrize(("dialect", "given", "named"), REFUSED)
def test_what_is_refused_is_named(dialect: str, given: str, named: str) -> None:
    with pytest.raises(QueryRefused) as refused:
        read_native(given, dialect)
    assert refused.value.code == "query.not_portable"
    assert named in str(refused.value)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("given", "code"),
    [
        ("", "query.empty"),
        ("-- nothing", "query.empty"),
        ("SELECT 1; SELECT 2", "query.statements"),
        ("SELECT FROM WHERE", "query.syntax"),
        ("SELECT 'not closed", "query.syntax"),
        ("SELECT " + "(" * 3_000 + "1" + ")" * 3_000, "query.too_nested"),
        ("SELECT ?", "query.positional_parameter"),
    ],
)
def test_what_is_no_query(dialect: str, given: str, code: str) -> None:
    with pytest.raises(QueryRefused) as refused:
        read_native(given, dialect)
    assert refused.value.code == code


def test_dialects_that_nobody_reads() -> None:
    with pytest.raises(QueryRefused) as refused:
        read_native("SELECT 1", "tsql")
    assert refused.value.code == "query.dialect"
