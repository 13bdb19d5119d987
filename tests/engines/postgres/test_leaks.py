"""What PostgreSQL itself would tell of hidden rows, measured; and that no caller of ours reaches any of it.

`attacks/postgres_facts.jsonl`: name, fact, a query as the role that only reads, its outcome (`ok`, `raises`), and a part
of what it shows. A new release of PostgreSQL that changes one fails here, and the remedy is reviewed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import rls
from rls.rewrite.port.check import check
from rls.rewrite.port.postgres import Postgres
from rls.rewrite.port.target import Target
from tests.engine.kit import write_policies
from tests.engines.postgres.kit import READER, Cluster, start

FACTS: list[dict[str, Any]] = [
    json.loads(line)
    for line in (Path(__file__).parents[2] / "attacks" / "postgres_facts.jsonl").read_text().splitlines()
]
SETUP = f"""
CREATE TABLE rights (tenant text);
INSERT INTO rights VALUES ('acme');
CREATE TABLE hidden (id integer, tenant text, note text, far date);
INSERT INTO hidden SELECT i, CASE WHEN i % 2 = 0 THEN 'acme' ELSE 'globex' END, CASE WHEN i % 2 = 0 THEN i::text ELSE 'CANARY' END,
  CASE WHEN i % 2 = 0 THEN date '2024-01-01' ELSE date '300000-01-01' END FROM generate_series(3, 42) i;
INSERT INTO hidden VALUES (2, 'globex', 'CANARY', NULL);
DELETE FROM hidden WHERE id = 3;
CREATE TABLE wide (id integer, tenant text, day date, amount numeric(38,2));
INSERT INTO wide VALUES (1, 'acme', '2024-01-01', 1), (4, 'acme', '0044-03-15 BC', 9), (-2147483648, 'globex', 'infinity', 1e36 - 1),
  (2147483647, 'globex', '-infinity', 0.01 - 1e36), (3, 'globex', '5874897-12-31', 'NaN'), (5, 'globex', '4713-01-01 BC', 0.01);
CREATE FUNCTION mine(tenant text) RETURNS boolean LANGUAGE plpgsql COST 100 AS $$BEGIN RETURN tenant = 'acme'; END$$;
CREATE FUNCTION pretends(note text) RETURNS boolean LANGUAGE plpgsql COST 0.1 LEAKPROOF AS $$BEGIN RETURN note::integer > 0; END$$;
CREATE VIEW barrier WITH (security_barrier) AS SELECT * FROM hidden WHERE tenant = 'acme';
CREATE TABLE secured AS SELECT * FROM hidden;
ALTER TABLE secured ENABLE ROW LEVEL SECURITY;
CREATE ROLE {READER} LOGIN;
CREATE POLICY acme ON secured FOR SELECT TO {READER} USING (tenant = 'acme');
SELECT lo_from_bytea(4711, 'CANARY');
GRANT SELECT ON LARGE OBJECT 4711 TO {READER};
GRANT SELECT ON ALL TABLES IN SCHEMA public TO {READER};
ANALYZE
"""
POLICIES = """
relation: hidden
policies:
  - {name: rights, using: tenant IN (SELECT tenant FROM rights)}
---
relation: wide
policies:
  - {name: rights, using: tenant IN (SELECT tenant FROM rights)}
---
{relation: rights, public: true}
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    import psycopg

    made = start()
    try:
        with psycopg.connect(made.url(), autocommit=True) as connection:
            for statement in SETUP.split(";\n"):
                connection.execute(statement)
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def engine(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[rls.Engine, str]]:
    policies = write_policies(tmp_path_factory.mktemp("p") / "policies", POLICIES)
    token = rls.mint_token(rls.load_identity(policies), subject="eve", roles=["maker"], attributes={"tenant": "acme"})
    with rls.Engine.open(
        cluster.url(user=READER), policies=policies, audit=lambda _: None, isolation="thread"
    ) as opened:
        yield opened, token


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact["name"])
def test_the_fact_still_holds(fact: dict[str, Any], cluster: Cluster) -> None:
    import psycopg

    with psycopg.connect(cluster.url(user=READER)) as connection:
        connection.read_only = True
        connection.execute("SET max_parallel_workers_per_gather = 0")
        try:
            cursor = connection.execute(fact["sql"])
            shown = repr(cursor.fetchall()) if cursor.description else ""
            outcome = "ok"
        except psycopg.Error as error:
            outcome, shown = "raises", str(error)
    assert (outcome, fact["shows"] in shown) == (fact["outcome"], True), shown


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact["name"])
def test_no_caller_reaches_it(fact: dict[str, Any], engine: tuple[rls.Engine, str]) -> None:
    """As it stands, and with the guard's own sub-query left out."""
    opened, token = engine
    inner = fact["sql"].replace("(SELECT * FROM hidden WHERE mine(tenant))", "hidden")
    for sql in {fact["sql"], inner}:
        try:
            result = opened.query(token, sql)
        except rls.RlsError as error:
            shown = f"{error} {error.to_dict()}"
        else:
            shown = repr(result.rows)
        assert "CANARY" not in shown.replace(sql, "")
        assert "division" not in shown
        assert "out of range" not in shown


# Each raises on hidden rows if it is evaluated on them, most by a conversion that nobody wrote.
CONVERTING = [
    "SELECT count(*) FROM hidden WHERE far >= TIMESTAMP '2024-01-01'",
    "SELECT count(*) FROM hidden WHERE far IN (TIMESTAMP '2024-01-01', TIMESTAMP '2024-01-02')",
    "SELECT count(*) FROM hidden WHERE far BETWEEN DATE '2024-01-01' AND TIMESTAMP '2024-01-01'",
    "SELECT count(*) FROM hidden a JOIN hidden b ON a.far = b.far AND a.far < TIMESTAMP '2025-01-01'",
    "SELECT count(*) FROM hidden WHERE coalesce(far, TIMESTAMP '2024-01-01') > TIMESTAMP '2023-01-01'",
    "SELECT count(*) FROM hidden WHERE CASE WHEN id > 0 THEN far ELSE TIMESTAMP '2024-01-01' END > TIMESTAMP '2023-01-01'",
    "SELECT count(*) FROM hidden WHERE far IN (SELECT TIMESTAMP '2024-01-01')",
    "SELECT count(*) FROM (SELECT far FROM hidden UNION ALL SELECT TIMESTAMP '2024-01-01') t",
    "SELECT count(*) FROM hidden WHERE date_trunc('month', far) > TIMESTAMP '2023-01-01'",
    "SELECT count(*) FROM hidden WHERE far + INTERVAL 1 DAY > TIMESTAMP '2023-01-01'",
    "SELECT count(*) FROM hidden WHERE CAST(id AS SMALLINT) > 0",
]


# What aggregates are of, and what is made of them, comes after the filters: no fence, and still no hidden row is seen.
LATE = [
    "SELECT count(CAST(far AS TIMESTAMP)) FROM hidden",
    "SELECT count(date_trunc('month', far)) FILTER (WHERE CAST(far AS TIMESTAMP) > TIMESTAMP '2020-01-01') FROM hidden",
    "SELECT count(DISTINCT CAST(far AS TIMESTAMP)) FROM hidden a WHERE id > 0",
    "SELECT sum(CAST(a.id AS SMALLINT) * b.id) FROM hidden a JOIN hidden b ON a.id = b.id AND a.tenant = b.tenant",
    "SELECT max(n) FROM (SELECT id, count(CAST(far AS TIMESTAMP)) AS n FROM hidden GROUP BY id) t",
    "SELECT count(*) * 2 + sum(1 / (id - 2)) FROM hidden WHERE id IN (SELECT max(id) FROM hidden GROUP BY tenant) OR id > 0",
    "SELECT count(*) FROM hidden HAVING max(CAST(far AS TIMESTAMP)) > TIMESTAMP '2020-01-01'",
]
# The same expressions where PostgreSQL may evaluate them among the filters, or may not evaluate them at all: fenced.
EARLY = [
    "SELECT id FROM hidden WHERE id = (SELECT max(id + CAST(date_diff('day', far, far) AS INTEGER)) FROM hidden)",
    "SELECT (SELECT count(CAST(far AS TIMESTAMP)) FROM hidden b WHERE b.id = a.id) AS n FROM hidden a",
    "SELECT count(a.id) FROM hidden a LEFT JOIN (SELECT id, max(CAST(far AS TIMESTAMP)) AS m FROM hidden GROUP BY id) t ON t.id = a.id",
    "SELECT count(m) FROM hidden a LEFT JOIN (SELECT id, CAST(far AS TIMESTAMP) AS m FROM hidden) t ON t.id = a.id",
    "SELECT count(*) FROM hidden GROUP BY CAST(far AS TIMESTAMP)",
    "SELECT count(DISTINCT far) FROM hidden WHERE CAST(far AS TIMESTAMP) > TIMESTAMP '2020-01-01'",
    "SELECT sum((SELECT max(b.id) FROM hidden b WHERE CAST(b.far AS TIMESTAMP) > TIMESTAMP '2020-01-01')) AS s FROM hidden a",
    "SELECT max(CAST(far AS TIMESTAMP)) OVER () IS NULL FROM hidden LIMIT 1",
    "SELECT DISTINCT CAST(far AS TIMESTAMP) IS NOT NULL FROM hidden",
]
# Results that have room whatever a row holds: no fence.
FITTING = [
    "SELECT count(*) FROM wide WHERE CAST(CAST(id AS BIGINT) AS DOUBLE) > 0 AND CAST(id AS VARCHAR) <> CAST(day AS VARCHAR)",
    "SELECT year(day) FROM wide WHERE year(day) < 0",
    "SELECT count(*) FROM wide WHERE year(day) > 2000 AND month(day) + 12 * year(day) > 0 OR extract(hour FROM TIMESTAMP '2024-01-01') + extract(week FROM day) > 99",
    "SELECT sum(v) FROM (SELECT amount * (1 - amount) AS v FROM wide WHERE -amount < 0.5 + amount) t WHERE v < 0",
    "SELECT count(*) FROM wide WHERE amount * amount * amount > 1e0 AND id < 10 + 100",
    "SELECT count(*) FROM wide WHERE CAST(id AS BIGINT) * 100 - 1 > 0",
    "WITH t(v) AS (SELECT amount + amount FROM wide UNION ALL SELECT 1) SELECT count(*) FROM t WHERE v * v > 0",
]
# Numbers that may outgrow their type, or DOUBLE: fenced.
GROWING = [
    "SELECT count(*) FROM wide WHERE id * 2 > 0",
    "SELECT count(*) FROM wide WHERE -id < 0",
    "SELECT count(*) FROM wide WHERE CAST(id AS BIGINT) * CAST(id AS BIGINT) > 0",
    "SELECT count(*) FROM (SELECT c * c AS d FROM (SELECT b * b AS c FROM (SELECT amount * amount AS b FROM wide) t) t) t WHERE d > 0",
    "SELECT count(*) FROM (SELECT CAST(1 AS BIGINT) AS a UNION ALL SELECT CAST(id AS BIGINT) * 1000000 FROM wide) t WHERE a * 100 > 0",
    "WITH RECURSIVE t(n) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT n * 2 FROM t, wide WHERE n < 9 AND id = 4) SELECT max(n) FROM t",
]


@pytest.mark.parametrize("sql", [*FITTING, *GROWING])
def test_a_fence_stands_where_a_number_may_be_too_large(sql: str, engine: tuple[rls.Engine, str]) -> None:
    opened, token = engine
    assert opened.query(token, sql).rows[0][0]
    assert ("OFFSET 0" in opened.guard(token, sql).sql) == (sql in GROWING)


def test_years_before_the_first_are_counted_as_duckdb_does(engine: tuple[rls.Engine, str]) -> None:
    opened, token = engine
    assert opened.query(token, "SELECT year(day) FROM wide ORDER BY 1").rows == [(-43,), (2024,)]


@pytest.mark.parametrize("sql", [*LATE, *EARLY])
def test_late_expressions_need_no_fence(sql: str, engine: tuple[rls.Engine, str]) -> None:
    opened, token = engine
    assert opened.query(token, sql).rows
    fences = opened.guard(token, sql).sql.count("OFFSET 0")
    assert (fences > 0) == (sql in EARLY)


@pytest.mark.parametrize("sql", CONVERTING)
def test_no_conversion_tells_of_a_hidden_row(sql: str, engine: tuple[rls.Engine, str]) -> None:
    opened, token = engine
    assert opened.query(token, sql).rows[0][0] > 0


# Each shows, or does, what no caller may, if it were run; `{{}}` is a guard's text.
HOSTILE = [
    "SELECT * FROM public.hidden",
    "SELECT * FROM hidden",
    'SELECT * FROM "hidden"',
    'SELECT * FROM U&"\\0068idden"',
    "SELECT * FROM {guard} AS t, public.hidden",
    "SELECT (SELECT max(note) FROM public.hidden) FROM {guard} AS t",
    "WITH w AS (TABLE hidden) SELECT * FROM w",
    "TABLE hidden",
    "SELECT * FROM ONLY hidden",
    "SELECT * FROM pg_catalog.pg_stats",
    "SELECT * FROM information_schema.tables",
    "SELECT * FROM pg_stat_activity",
    "SELECT query_to_xml('SELECT 1', true, false, '')",
    "SELECT pg_catalog.query_to_xml('SELECT 1', true, false, '')",
    "SELECT \"query_to_xml\"('SELECT 1', true, false, '')",
    "SELECT U&\"query\\005fto_xml\"('SELECT 1', true, false, '')",
    "SELECT table_to_xml('hidden', true, false, '')",
    "SELECT pg_sleep(1)",
    "SELECT PG_SLEEP(1)",
    'SELECT "pg_sleep"(1)',
    "SELECT pg_catalog.pg_sleep(1)",
    "SELECT pg_catalog . pg_sleep ( 1 )",
    "SELECT pg_sleep_for('1s')",
    "SELECT * FROM pg_sleep(1)",
    "SELECT * FROM ROWS FROM (pg_sleep(1)) AS t",
    "SELECT * FROM LATERAL pg_sleep(1)",
    "SELECT set_config('a.b', 'c', false)",
    "SELECT current_setting('data_directory')",
    "SELECT pg_advisory_lock(1)",
    "SELECT pg_try_advisory_xact_lock(1)",
    "SELECT pg_notify('a', 'b')",
    "SELECT lo_get(4711)",
    "SELECT loread(lo_open(4711, 131072), 10)",
    "SELECT dblink('dbname=x', 'SELECT 1')",
    "SELECT pg_read_file('PG_VERSION')",
    "SELECT pg_ls_dir('.')",
    "SELECT pg_terminate_backend(1)",
    "SELECT pg_relation_size('hidden')",
    "SELECT nextval('s')",
    "SELECT txid_current()",
    "SELECT inet_server_addr()",
    "SELECT version()",
    "SELECT current_user",
    "SELECT CURRENT_USER, session_user",
    "SELECT current_catalog",
    "SELECT now()",
    "SELECT setseed(0.5)",
    "SELECT CAST('hidden' AS regclass)",
    "SELECT 'hidden'::regclass::oid",
    "SELECT CAST('pg_sleep' AS regproc)",
    "SELECT CAST('<a/>' AS xml)",
    "SELECT ctid FROM {guard} AS t TABLESAMPLE SYSTEM (10)",
    "SELECT 1 FROM {guard} AS t FOR UPDATE",
    "SELECT * FROM {guard} AS t WHERE pretends(note)",
    "SELECT * FROM {guard} AS t WHERE note OPERATOR(public.=) 'x'",
    "SELECT note ~ 'x' FROM {guard} AS t",
    'SELECT note COLLATE "en_US" FROM {guard} AS t',
    "SELECT t.* FROM {guard} AS t; SELECT 1",
    "SELECT 1; DROP TABLE hidden",
    "SET row_security = off",
    "RESET ALL",
    "DISCARD ALL",
    "EXPLAIN SELECT 1",
    "EXPLAIN ANALYZE SELECT 1",
    "COPY hidden TO STDOUT",
    "COPY (SELECT 1) TO PROGRAM 'x'",
    "NOTIFY a",
    "LISTEN a",
    "LOCK TABLE hidden",
    "PREPARE a AS SELECT 1",
    "EXECUTE a",
    "DECLARE a CURSOR FOR SELECT 1",
    "FETCH ALL FROM a",
    "DO $$ BEGIN END $$",
    "CALL a()",
    "SELECT 1 INTO t",
    "CREATE TEMP TABLE t AS SELECT 1",
    "WITH w AS (DELETE FROM hidden RETURNING *) SELECT * FROM w",
    "WITH w AS (INSERT INTO hidden VALUES (1) RETURNING *) SELECT * FROM w",
    "MERGE INTO hidden USING rights ON true WHEN MATCHED THEN DELETE",
    "SELECT * FROM XMLTABLE('/a' PASSING '<a/>' COLUMNS b text)",
    "SELECT * FROM JSON_TABLE('{{}}', '$' COLUMNS (a int PATH '$.a'))",
    "SELECT xmlparse(DOCUMENT '<a/>')",
    "SELECT ARRAY(SELECT note FROM hidden)",
    "SELECT GROUPING(note) FROM public.hidden GROUP BY note",
    "VALUES ((SELECT note FROM hidden LIMIT 1))",
    "SELECT EXISTS (TABLE hidden)",
    "SELECT /* hidden */ 1 FROM hidden",
    "SELECT 1 FROM {guard} AS t JOIN hidden USING (id)",
    "SELECT 1 FROM {guard} AS t WHERE id IN (SELECT id FROM hidden)",
    "SELECT 1 FROM ({guard} AS t CROSS JOIN hidden)",
    "SELECT count(*) FILTER (WHERE pg_sleep(1) IS NULL) FROM {guard} AS t",
    "SELECT sum(1) OVER (ORDER BY pg_sleep(1)) FROM {guard} AS t",
    "SELECT CASE WHEN true THEN pg_sleep(1)::text END",
    "SELECT string_agg(note, (SELECT max(note) FROM hidden)) FROM {guard} AS t",
    "SELECT 1 ORDER BY pg_sleep(1)",
    "SELECT 1 LIMIT (SELECT count(*) FROM hidden)",
]
GUARD = (
    '(SELECT "hidden"."id" AS "id", "hidden"."note" AS "note" FROM "public"."hidden" AS "hidden" WHERE '
    '("hidden"."tenant" = CAST(\'acme\' AS text)) OFFSET 0)'
)


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_checked_last_lets_none_of_it_through(text: str) -> None:
    """If all before it erred: the final text is read again, by what shares no code with the writing of it."""
    sql = Postgres(Target({"main": "public"}, "C.utf8"))
    with pytest.raises(rls.QueryRefused):
        check(text.replace("{guard}", GUARD), [GUARD[1:-1]], sql)


def test_what_is_checked_last_lets_guarded_queries_through() -> None:
    sql = Postgres(Target({"main": "public"}, "C.utf8"))
    check(f"SELECT count(*) AS n FROM {GUARD} AS t WHERE (t.id > 1)", [GUARD[1:-1]], sql)
    with pytest.raises(rls.QueryRefused):
        check(f"SELECT count(*) AS n FROM {GUARD.replace('acme', 'globex')} AS t", [GUARD[1:-1]], sql)


@pytest.mark.parametrize("sql", [text for text in HOSTILE if "{guard}" not in text])
def test_callers_are_refused_as_well(sql: str, engine: tuple[rls.Engine, str]) -> None:
    opened, token = engine
    try:
        shown = repr(opened.query(token, sql).rows)
    except rls.RlsError as error:
        shown = f"{error} {error.to_dict()}"
    assert "CANARY" not in shown.replace(sql, "")
