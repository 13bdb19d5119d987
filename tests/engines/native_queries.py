"""Queries in the SQL of PostgreSQL and of Spark over one small table, for tests that ask a server for them directly."""

from __future__ import annotations

__all__ = ["ATTACKS", "COLUMNS", "QUERIES", "ROWS"]

COLUMNS = "id integer, tenant varchar, n integer, amount decimal(9,2), score double precision, note varchar, day date, seen timestamp, ok boolean"
ROWS = """
(1, 'acme', 10, 1.25, 0.5, 'Alpha', DATE '2024-01-31', TIMESTAMP '2024-01-31 10:11:12', true),
(2, 'acme', NULL, 2.35, -1.5, ' beta ', DATE '2024-02-29', TIMESTAMP '2024-02-29 23:59:59', false),
(3, 'acme', -7, NULL, 2.5, 'a_b', DATE '2023-12-31', NULL, NULL),
(4, 'acme', 7, -3.99, NULL, NULL, NULL, TIMESTAMP '2023-01-01 00:00:00', true),
(5, 'acme', 10, 10.00, 1e3, 'Zürich', DATE '2024-12-30', TIMESTAMP '2024-12-30 12:00:00', false),
(6, 'acme', 3, 0.00, 0.0, '', DATE '2024-06-15', TIMESTAMP '2024-06-15 06:30:00', true)
"""

_BOTH = [
    "SELECT * FROM facts ORDER BY id",
    "SELECT id, n FROM facts ORDER BY n, id",
    "SELECT id, n FROM facts ORDER BY n DESC, id DESC",
    "SELECT n, count(*) AS c, sum(amount) AS s, min(note) AS m, max(day) AS d FROM facts GROUP BY n ORDER BY 2 DESC, n",
    "SELECT avg(amount) AS a, avg(score) AS b, count(n) AS c, count(DISTINCT n) AS d FROM facts",
    "SELECT id, n % 4 AS a, n * 2 - 1 AS b, -n AS c, n + amount AS d, amount * 2 AS e FROM facts ORDER BY id",
    "SELECT id, round(amount, 1) AS a, abs(n) AS b, ceil(amount) AS c, floor(score) AS d FROM facts ORDER BY id",
    "SELECT id, upper(note) AS a, lower(note) AS b, length(note) AS c, substring(note, 2, 3) AS d FROM facts ORDER BY id",
    "SELECT id, trim(note) AS a, replace(note, 'a', 'x') AS b, note || '!' AS c, left(note, 2) AS d FROM facts ORDER BY id",
    "SELECT id, concat(note, 'x', tenant) AS a FROM facts ORDER BY id",
    "SELECT id FROM facts WHERE note LIKE 'a_b' OR note LIKE '%ta%' ORDER BY id",
    "SELECT id, note ILIKE 'AL%' AS a FROM facts ORDER BY id",
    "SELECT id FROM facts WHERE note IN ('Alpha', '') OR n BETWEEN 4 AND 9 ORDER BY id",
    "SELECT id, n IS NULL AS a, ok IS NOT TRUE AS b, NOT ok AS c FROM facts ORDER BY id",
    "SELECT id, CASE WHEN n > 5 THEN 'many' WHEN n IS NULL THEN 'none' ELSE 'few' END AS a FROM facts ORDER BY id",
    "SELECT id, coalesce(n, 0) AS a, nullif(n, 10) AS b, greatest(n, 5) AS c, least(n, 5) AS d FROM facts ORDER BY id",
    "SELECT id, extract(year FROM day) AS a, extract(month FROM day) AS b, extract(week FROM day) AS c FROM facts ORDER BY id",
    "SELECT id, extract(quarter FROM day) AS a, extract(doy FROM day) AS b, extract(hour FROM seen) AS c FROM facts ORDER BY id",
    "SELECT id, date_trunc('week', seen) AS a, date_trunc('month', seen) AS b FROM facts ORDER BY id",
    "SELECT id FROM facts WHERE day >= DATE '2024-02-01' AND seen < TIMESTAMP '2024-12-01 00:00:00' ORDER BY id",
    "SELECT id, seen + INTERVAL '1' MONTH AS a, seen - INTERVAL '3' DAY AS b FROM facts ORDER BY id",
    "SELECT id, CAST(n AS VARCHAR) AS a, CAST(amount AS DECIMAL(9,1)) AS b, CAST('2024-01-05' AS DATE) AS c FROM facts ORDER BY id"
    .replace("VARCHAR", "{text}"),
    "SELECT id, row_number() OVER (PARTITION BY n ORDER BY id DESC) AS a, rank() OVER (ORDER BY n) AS b FROM facts ORDER BY id",
    "SELECT id, lag(n, 1) OVER (ORDER BY id) AS a, sum(n) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS b "
    "FROM facts ORDER BY id",
    "SELECT id, sum(amount) OVER (ORDER BY n DESC) AS a, first_value(id) OVER (ORDER BY n, id) AS b FROM facts ORDER BY id",
    "SELECT a.id, b.id AS other FROM facts a LEFT JOIN facts b ON a.n = b.n AND a.id < b.id ORDER BY a.id, b.id",
    "SELECT id, b.n FROM facts JOIN (SELECT id, n FROM facts WHERE n > 0) b USING (id) ORDER BY id",
    "WITH big AS (SELECT * FROM facts WHERE amount > 1) SELECT count(*) AS c FROM big WHERE id IN (SELECT id FROM big)",
    "SELECT id FROM facts f WHERE EXISTS (SELECT 1 FROM facts g WHERE g.n = f.n AND g.id <> f.id) ORDER BY id",
    "SELECT id FROM facts WHERE n > (SELECT avg(n) FROM facts) ORDER BY id",
    "SELECT n FROM facts WHERE n > 0 UNION SELECT id FROM facts ORDER BY 1",
    "SELECT n FROM facts INTERSECT SELECT id FROM facts ORDER BY 1",
    "SELECT n FROM facts EXCEPT SELECT id FROM facts ORDER BY 1",
    "SELECT stddev(score) AS a, variance(n) AS b, bool_and(ok) AS c FROM facts",
    "SELECT n, count(*) AS c FROM facts GROUP BY ROLLUP (n) ORDER BY c DESC, n",
    "SELECT v.a, v.b FROM (VALUES (1, 'x'), (2, 'y')) AS v(a, b) ORDER BY a",
    "SELECT DISTINCT n FROM facts ORDER BY n",
    "SELECT id FROM facts WHERE n = 10 AND NOT (ok OR amount > 5) ORDER BY id",
]  # fmt: skip
QUERIES = {
    "postgres": [
        *(one.replace("{text}", "VARCHAR") for one in _BOTH),
        "SELECT Id, N::text AS Words FROM Facts ORDER BY 1",
        "SELECT id, extract(dow FROM day) AS a, extract(isodow FROM day) AS b FROM facts ORDER BY id",
        "SELECT id, position('t' IN note) AS a, split_part(note, '_', 1) AS b FROM facts ORDER BY id",
        "SELECT id, trim(BOTH 'A' FROM note) AS a, rtrim(note) AS b FROM facts ORDER BY id",
        "SELECT id, score / 4.0 AS a, amount / 2.0 AS b, avg(n) OVER () / n AS c FROM facts ORDER BY id",
        "SELECT string_agg(note, ',' ORDER BY id) AS a, count(*) FILTER (WHERE n > 5) AS b FROM facts",
        "SELECT DISTINCT ON (n) n, id FROM facts ORDER BY n, id DESC",
        "SELECT id, n IS DISTINCT FROM 10 AS a, $$it's$$ AS b FROM facts ORDER BY id FETCH FIRST 4 ROWS ONLY",
        "SELECT f.id, l.m FROM facts f CROSS JOIN LATERAL (SELECT max(g.id) AS m FROM facts g WHERE g.n = f.n) l ORDER BY 1",
        "SELECT id, day + 1 AS a, day - DATE '2024-01-01' AS b, seen - INTERVAL '2 weeks' AS c FROM facts ORDER BY id",
        "SELECT id, rank() OVER w AS a FROM facts WINDOW w AS (ORDER BY n DESC) ORDER BY id",
        "TABLE facts ORDER BY id",
    ],
    "spark": [
        *(one.replace("{text}", "STRING") for one in _BOTH),
        "SELECT `id`, \"it's\" AS `a b`, 'tab\\t' AS c FROM `facts` ORDER BY id",
        "SELECT id, note FROM facts ORDER BY note NULLS FIRST, id LIMIT 3 OFFSET 1",
        "SELECT id, score / 4 AS a, amount / 2.0 AS b FROM facts ORDER BY id",
        "SELECT id, n / 4 AS a, n DIV 4 AS b, n <=> 10 AS c, n == 10 AS d FROM facts ORDER BY id",
        "SELECT id, date_add(day, 3) AS a, date_sub(day, 3) AS b, datediff(day, DATE '2024-01-01') AS c FROM facts ORDER BY id",
        "SELECT id, year(day) AS a, month(day) AS b, day(day) AS c, hour(seen) AS d FROM facts ORDER BY id",
        "SELECT id, if(n > 5, 'a', 'b') AS a, nvl(n, 0) AS b, instr(note, 't') AS c FROM facts ORDER BY id",
        "SELECT id FROM facts LEFT ANTI JOIN (SELECT n AS m FROM facts) b ON id = m ORDER BY id",
        "SELECT id FROM facts MINUS SELECT n FROM facts ORDER BY id",
        "SELECT id, startswith(note, 'A') AS a, contains(note, 'b') AS b, CAST(count(*) AS INT) AS c FROM facts "
        "GROUP BY id, note ORDER BY id",
    ],
}  # fmt: skip
"""Engine → queries with one order of rows, which a server and a guarded engine answer alike where all rows are visible."""

ATTACKS = {
    "postgres": [
        "TABLE hidden", 'SELECT * FROM "public".hidden', "SELECT * FROM pg_catalog.pg_stats",
        "SELECT 'hidden'::regclass", "SELECT (SELECT t FROM hidden t LIMIT 1)::text", "SELECT id INTO x FROM facts",
        "SELECT id FROM facts FOR UPDATE", "SELECT query_to_xml('TABLE hidden', true, true, '')",
        "SELECT * FROM information_schema.tables", "SELECT ctid, xmin FROM facts", "SELECT pg_read_file('/etc/passwd')",
        "SELECT $$x$$::regclass", "SELECT E'\\x27' || id FROM facts", "WITH x AS (DELETE FROM facts RETURNING *) TABLE x",
        "SELECT * FROM facts, LATERAL (TABLE hidden) h", "SELECT lo_import('/etc/passwd')", "SELECT tableoid FROM facts",
        "SELECT * FROM U&\"hidde\\006e\"", "SELECT /* */ * FROM facts; DROP TABLE facts", "SELECT * FROM rls_facts",
    ],
    "spark": [
        "TABLE hidden", "SELECT * FROM hidden", "SELECT * FROM parquet.`{files}/hidden.parquet`",
        "SELECT * FROM `{files}/hidden.parquet`", "SELECT * FROM text.`/etc/passwd`", "SELECT * FROM csv.`/etc/passwd`",
        "SELECT * FROM facts LATERAL VIEW explode(array(1)) AS x", "SELECT TRANSFORM(id) USING 'cat' FROM facts",
        "SELECT reflect('java.lang.System', 'getenv', 'HOME')", "SELECT * FROM IDENTIFIER('hidden')",
        "SELECT * FROM facts VERSION AS OF 1", "SELECT ${{env:HOME}}", "SELECT input_file_name() FROM facts",
        "SELECT * FROM global_temp.hidden", "SELECT _metadata.file_path FROM facts", "SHOW TABLES", "SET",
        "SELECT * FROM read_files('/etc/passwd')", "SELECT current_catalog()", "INSERT INTO facts SELECT * FROM facts",
        "SELECT * FROM facts TABLESAMPLE (100 PERCENT)", "EXPLAIN EXTENDED SELECT * FROM facts",
        "SELECT 'x' || '\\' || (SELECT max(note) FROM hidden) || '' FROM facts", "CACHE TABLE hidden",
    ],
}  # fmt: skip
"""Engine → queries for what nobody may see, in its own words: each is refused."""
