"""The rewrite as a whole: same rows, names and types as on a copy that holds only permitted rows; text kept as it is."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest

from rls.catalog import Catalog, Relation
from rls.errors import QueryRefused
from rls.identity.principal import Principal
from rls.policy.grant import Grant
from rls.rewrite.guard import guard
from rls.rewrite.pivot import with_pivot_values
from tests.rewrite import small

DATA, ORACLE = small.database(), small.permitted()

LEGAL = [
    "SELECT * FROM orders",
    "select COUNT(*), Sum(amount) from ORDERS",
    'SELECT * FROM "main"."Orders" AS "o"',
    "SELECT memory.main.orders.id + 1, main.orders.tenant FROM main.orders ORDER BY memory.orders.id",
    "SELECT main.orders.id, archive.orders.id, main.orders FROM main.orders, archive.orders ORDER BY ALL",
    "SELECT main.orders.place.city, orders.place.zip, (orders).id FROM orders",
    "SELECT orders, o2 FROM orders JOIN archive.orders AS o2 ON o2.id = orders.id + 100",
    "SELECT (SELECT max(id) FROM orders), EXISTS(FROM people), 1 IN (SELECT id FROM orders)",
    "SELECT (SELECT max(id) FROM orders) IS DISTINCT FROM 2, id FROM products",
    "SELECT x FROM (SELECT (SELECT max(id) FROM orders) x, (SELECT 1 FROM products LIMIT 1))",
    "WITH orders AS (SELECT id + 100 AS id FROM orders) SELECT * FROM ORDERS",
    "WITH RECURSIVE orders AS (SELECT id FROM orders UNION ALL SELECT id + 10 FROM orders WHERE id < 20) FROM orders ORDER BY 1",
    "WITH RECURSIVE t(a, b) USING KEY (a) AS (SELECT 1, 2 UNION SELECT a, b + 1 FROM recurring.t WHERE b < 5) FROM t",
    "WITH a AS (SELECT * FROM orders), orders AS (SELECT 5 x) SELECT a.id, x FROM a, orders ORDER BY 1",
    "FROM t: orders SELECT c: count(*)",
    "TABLE orders",
    "SUMMARIZE orders",
    "SUMMARIZE SELECT id FROM people",
    "DESCRIBE people",
    "FROM (DESCRIBE orders)",
    "VALUES ((SELECT max(id) FROM orders))",
    "SELECT 340282366920938463463374607431768211455, -1, 1_000, -170141183460469231731687303715884105728 * 1",
    "SELECT * EXCLUDE (tenant) REPLACE (name || '!' AS name) FROM people",
    "SELECT COLUMNS('.*') FROM people",
    "FROM people NATURAL JOIN orders",
    "FROM products POSITIONAL JOIN (FROM orders ORDER BY id)",
    "FROM products p, LATERAL (SELECT max(id) AS m FROM orders WHERE id >= p.id)",
    "PIVOT orders ON tenant IN ('a', 'b') USING sum(amount) GROUP BY id ORDER BY id",
    "PIVOT orders ON mood, tenant USING count(*) GROUP BY id ORDER BY id LIMIT 1",
    "WITH x AS (FROM orders) PIVOT x ON tenant || '!' USING sum(amount) GROUP BY id ORDER BY id",
    "SELECT * FROM (PIVOT (FROM orders WHERE id > 9) ON tenant USING count(*) GROUP BY id)",
    "UNPIVOT (SELECT id, amount FROM orders) ON id, amount INTO NAME n VALUE v ORDER BY ALL",
    "FROM orders PIVOT (sum(amount) FOR tenant IN ('a', 'b') GROUP BY id) ORDER BY id",
    "FROM big ORDER BY id",
    "SELECT big.total FROM big AS big(x, total) ORDER BY 1",
    "SELECT id FROM orders UNION BY NAME SELECT name, id FROM people ORDER BY ALL",
    # One value, though a star is in it: its name is the text, and never the guard's.
    "SELECT (SELECT * FROM (SELECT max(id) FROM orders)), 1 + (FROM (SELECT min(id) FROM people))",
    "SELECT ((SELECT p.* FROM (SELECT max(name) FROM people) p)), (WITH m AS (SELECT max(id) FROM orders) FROM m)",
    "SELECT 'FROM orders', $$FROM orders$$ /* FROM secret */ FROM orders -- FROM secret",
    "SELECT typeof(mood), mood FROM orders ORDER BY id",
    "SELECT list_transform([1, 2], lambda x: x + id) FROM orders",
    'SELECT "user".id FROM orders AS "user"',
    "SELECT sum(id) OVER w, 1 + max(id) OVER (w), id FROM products WINDOW v AS (ORDER BY id), w AS (PARTITION BY id % (SELECT 1 + count(*) FROM orders)) ORDER BY id",
    "SELECT CASE (SELECT count(*) FROM orders) WHEN 1 THEN 'a' WHEN 2 THEN 'b' ELSE 'c' END AS x FROM products",
    "SELECT (SELECT max(id) FROM orders) BETWEEN 1 AND 3, id FROM products GROUP BY CUBE (id, (SELECT 1 FROM orders LIMIT 1)) ORDER BY ALL",
    "SELECT [x FOR x IN (SELECT list(id ORDER BY id) FROM orders) IF x > 1] AS l",
    "SELECT ARRAY(SELECT id FROM orders ORDER BY id), id IN (FROM orders SELECT id), id = ANY (FROM orders SELECT id) FROM products ORDER BY ALL",
    "SELECT id FROM products ORDER BY (SELECT max(orders.id) FROM orders WHERE orders.id > products.id), 1 LIMIT (SELECT count(*) FROM orders)",
    "SELECT DISTINCT ON ((SELECT max(id) FROM orders)) id FROM products ORDER BY id",
    "SELECT id, sum(id) FILTER (WHERE id IN (SELECT id FROM orders)) AS s FROM products GROUP BY id HAVING id < (SELECT max(id) FROM orders) QUALIFY row_number() OVER (ORDER BY id) < (SELECT max(id) FROM orders) ORDER BY 1",
    "SELECT * REPLACE ((SELECT max(id) FROM orders) AS id) FROM products",
    "FROM (VALUES (1)) v(id) JOIN orders USING (id) SELECT tenant",
    "FROM (VALUES (1), (3)) v(id), orders SELECT count(*)",
    "SELECT * FROM (VALUES ((SELECT max(id) FROM orders)), (7)) AS t(x) ORDER BY ALL",
    "SELECT count(orders.mood) FROM archive.orders JOIN main.orders ON archive.orders.id = main.orders.id + 100",
    "SELECT count(*) FROM archive.orders JOIN (main.orders) AS c ON true",
    "SELECT ((SELECT o FROM orders o ORDER BY id LIMIT 1)).id",
    "SELECT memory.main.orders.place.city FROM memory.main.orders",
    "SELECT count(*) FROM orders TABLESAMPLE 100%",
    "SELECT count(*) FROM (FROM orders) USING SAMPLE 100 PERCENT (system)",
    "SELECT count(*) FROM orders o TABLESAMPLE system(100%)",
    "SELECT rowid, user FROM (SELECT id AS rowid, tenant FROM orders) AS t(rowid, user)",
]


def run(con: duckdb.DuckDBPyConnection, sql: str, parameters: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    used = {k: v for k, v in parameters.items() if f"${k}" in sql}
    result = con.execute(sql, used) if used else con.execute(sql)
    description = [(d[0], str(d[1])) for d in result.description]
    return description, result.fetchall()


@pytest.mark.parametrize("sql", LEGAL)
def test_equals_the_oracle(sql: str) -> None:
    guarded = guard(sql, small.PRINCIPAL, small.Policies(), small.CATALOG)
    if guarded.pivots:
        values = [[r[0] for r in run(DATA, p.sql, dict(guarded.parameters))[1]] for p in guarded.pivots]
        guarded = with_pivot_values(guarded, values)
    got, wanted = run(DATA, guarded.sql, dict(guarded.parameters)), run(ORACLE, sql, {})
    assert got[0] == wanted[0]
    assert sorted(map(repr, got[1])) == sorted(map(repr, wanted[1]))


@pytest.mark.parametrize("sql", LEGAL)
def test_keeps_the_text_outside_the_replacements(sql: str) -> None:
    guarded = guard(sql, small.PRINCIPAL, small.Policies(), small.CATALOG)
    rest, at = [], 0
    for splice in guarded.splices:
        rest.append(sql[at : splice.start])
        at = splice.end
    rest.append(sql[at:])
    position = 0
    for piece in rest:
        assert (position := guarded.sql.index(piece, position)) >= 0


def test_personal_results_bind_a_value() -> None:
    sql = "SELECT user.tenant, user.tenant || '!' AS x FROM products WHERE id = 1"
    guarded = guard(sql, small.PRINCIPAL, small.Policies(), small.CATALOG)
    assert "'a'" not in guarded.sql
    columns, rows = run(DATA, guarded.sql, dict(guarded.parameters))
    assert [c[0] for c in columns] == ["tenant", "x"]
    assert rows == [("a", "a!")]


REFUSED = {
    "": "query.empty",
    " -- nothing": "query.empty",
    ";": "query.empty",
    "SELECT 1; SELECT 2": "query.statements",
    "SELEC 1": "query.statement_kind",
    "SELECT FROM WHERE": "query.syntax",
    "SELECT * FROM secret": "query.unknown_relation",
    "SELECT * FROM nowhere": "query.unknown_relation",
    "SELECT * FROM other.main.orders": "query.unknown_relation",
    "SELECT * FROM 'file.csv'": "query.unknown_relation",
    "FROM read_csv('x')": "query.function",
    "SELECT main.query('x')": "query.function",
    'SELECT "="(id, tenant) FROM orders': "query.function",
    "FROM orders AT (VERSION => 1)": "query.time_travel",
    "WITH x AS (DELETE FROM orders RETURNING *) FROM x": "query.statement_kind",
    "COPY orders TO 'x'": "query.statement_kind",
    "EXPLAIN SELECT 1": "query.statement_kind",
    "FROM (SHOW orders)": "query.unknown_relation",
    "SELECT orders.rowid FROM orders": "query.rowid",
    "SELECT main.orders.* FROM main.orders": "query.syntax",
    "FROM orders TABLESAMPLE reservoir(2 ROWS) REPEATABLE (1)": "query.sample",
    "SELECT TRY_CAST(340282366920938463463374607431768211456 AS INTEGER)": "query.number",
    "SELECT EXTRACT(\"year FROM DATE '2020-01-01') > 0 UNION ALL SELECT tenant FROM orders --\" FROM DATE '2020-01-01')": "query.function",
    "SELECT CAST('a' AS mood)": "query.type",
    "SELECT $rls_tenant FROM orders": "query.parameter",
    "SELECT $RLS_tenant": "query.parameter",
    "SELECT user.salary": "query.unknown_attribute",
    "FROM \u200borders": "query.character",
    "SELECT 1 \0 FROM orders": "query.character",
    "SELECT '\ud800'": "query.character",
    "SELECT " + "(" * 10_000 + "1" + ")" * 10_000: "query.too_nested",
    "SELECT x" + "[1]" * 5_000: "query.too_nested",
    "SELECT x" + ".a" * 20_000 + " FROM orders": "query.too_nested",
    "SELECT " + "1 + " * 5_000 + "1": "query.too_nested",
    "SELECT '" + "x" * 10_000_000 + "'": "query.too_long",
    "SELECT * FROM orders, LATERAL (FROM secret)": "query.unknown_relation",
    "SELECT COLUMNS(*) + (SELECT 1 FROM orders) FROM products": "query.unnamed_item",
    "WITH x AS (FROM orders), X AS (FROM orders) FROM x": "query.duplicate_name",
}


@pytest.mark.parametrize(("sql", "code"), REFUSED.items(), ids=range(len(REFUSED)))
def test_refuses(sql: str, code: str) -> None:
    with pytest.raises(QueryRefused) as caught:
        guard(sql, small.PRINCIPAL, small.Policies(), small.CATALOG)
    assert caught.value.code == code
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [None, 7, b"SELECT 1", ["SELECT 1"]])
def test_refuses_what_is_not_text(value: Any) -> None:
    with pytest.raises(QueryRefused, match="not text"):
        guard(value, small.PRINCIPAL, small.Policies(), small.CATALOG)


def test_unknown_and_forbidden_relations_look_the_same() -> None:
    messages = []
    for name in ("secret", "nowher"):
        with pytest.raises(QueryRefused) as caught:
            guard(f"SELECT * FROM {name}", small.PRINCIPAL, small.Policies(), small.CATALOG)
        messages.append((str(caught.value).replace(name, "x"), caught.value.position.offset))  # type: ignore[union-attr]
    assert messages[0] == messages[1]


def test_a_relation_without_a_column_left_is_unknown() -> None:
    class Policies(small.Policies):
        def grant(self, relation: Relation, principal: Principal, catalog: Catalog) -> Grant | None:
            return Grant("products", "always", denied=frozenset({"id", "name"}))

    with pytest.raises(QueryRefused) as caught:
        guard("SELECT 1 FROM products", small.PRINCIPAL, Policies(), small.CATALOG)
    assert caught.value.code == "query.unknown_relation"


def test_positions_point_into_the_callers_text() -> None:
    sql = "SELECT *\nFROM orders JOIN products USING (id) WHERE\n  getvariable('x') = 1"
    with pytest.raises(QueryRefused) as caught:
        guard(sql, small.PRINCIPAL, small.Policies(), small.CATALOG)
    position = caught.value.position
    assert position is not None
    assert (position.line, position.column) == (3, 3)


def test_fingerprint_depends_on_the_values_and_the_versions() -> None:
    sql = "SELECT count(*) FROM orders"
    one = guard(sql, small.PRINCIPAL, small.Policies(), small.CATALOG)
    other = small.Principal("u-2", attributes={"tenant": "b"})
    assert one.fingerprint == guard(sql, small.PRINCIPAL, small.Policies(), small.CATALOG).fingerprint
    assert one.fingerprint != guard(sql, other, small.Policies(), small.CATALOG).fingerprint
    changed = small.Policies()
    changed.version = "v2"
    assert one.fingerprint != guard(sql, small.PRINCIPAL, changed, small.CATALOG).fingerprint
