"""The engine on a PostgreSQL server of our own: its catalog, fences, limits, errors, connections."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, time
from decimal import Decimal
from pathlib import Path

import pytest

import rls
from rls.catalog import Column
from rls.engines.limits import Limits
from rls.engines.postgres.executor import PostgresExecutor
from rls.errors import EngineInvalid, QueryFailed, QueryRefused
from rls.rewrite.guarded import GuardedQuery
from tests.engine.kit import write_policies
from tests.engines.postgres.kit import READER, Cluster
from tests.engines.postgres.shop import Shop, start_shop


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    made = start_shop()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def shop(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    made = Shop(cluster, tmp_path_factory.mktemp("shop"))
    yield made
    made.engine.close()


def test_the_catalog_has_what_duckdb_has_a_type_for(shop: Shop) -> None:
    catalog = shop.engine.catalog
    orders = catalog.find(("orders",))
    assert orders is not None
    types = {column.name: column.type for column in orders.columns}
    # A collation that takes different texts for equal ones: left out.
    assert types == {
        "id": "INTEGER", "tenant_id": "VARCHAR", "amount": "DECIMAL(9,2)", "n": "INTEGER", "note": "VARCHAR",
        "state": "ENUM('open', 'done', 'lost in court')", "seen": "TIMESTAMP WITH TIME ZONE", "small": "FLOAT", "extra": "JSON",
        "big": "DECIMAL(38,9)", "tags": "VARCHAR[]",
    }  # fmt: skip
    missing = ["secret", "everything", "twice", "shapes", "pg_class", "pg_catalog.pg_class"]
    assert [name for name in missing if catalog.find(tuple(name.split("."))) is not None] == []
    assert [(one.relation, one.column, one.why) for one in catalog.left_out] == [
        ("Twice", "", "another relation has the same name to DuckDB"),
        ("everything", "", "it is a view of the server's own"),
        ("orders", "folded", "its collation calls different texts equal"),
        ("parcels", "address", "nothing corresponds to its type `inet`"),
        ("parcels", "links", "nothing corresponds to its type `inet[]`"),
        ("parcels", "span", "nothing corresponds to its type `interval`"),
        ("shapes", "", "of its column `outline`, and of all others, nothing corresponds to its type `point`"),
        ("twice", "", "another relation has the same name to DuckDB"),
    ]  # fmt: skip


def test_lists_are_shown(shop: Shop) -> None:
    asked = "SELECT id, tags, days, prices, (SELECT list(label) FROM parcels) AS labels FROM parcels ORDER BY id"
    result = shop.engine.query(shop.token, asked)
    assert result.types == ("INTEGER", "VARCHAR[]", "DATE[]", "DECIMAL(9,2)[]", "VARCHAR[]")
    assert result.rows == [
        (1, ["x", None], [date(2026, 1, 2)], [Decimal("1.50")], ["one", None]),
        (2, None, [], None, ["one", None]),
    ]
    arrow = shop.engine.query(shop.token, asked, fetch="arrow").to_arrow().to_pylist()
    assert [tuple(row.values()) for row in arrow] == result.rows
    # A column may hold lists of lists, whatever its type says; nobody is shown another value instead.
    with pytest.raises(QueryFailed) as failed:
        shop.rows("SELECT numbers FROM parcels")
    assert failed.value.code == "run.types"
    for sql in (
        "SELECT DISTINCT tags FROM parcels",
        "SELECT id FROM parcels ORDER BY tags",
        "SELECT id FROM parcels WHERE list_contains(tags, 'x')",
        "SELECT tags[1] FROM parcels",
        "SELECT unnest(tags) FROM parcels",
        "SELECT len(tags) FROM parcels",
        "SELECT id FROM parcels WHERE tags IS NULL",
        "SELECT list(tags) FROM parcels",
        "SELECT count(*) FROM parcels p JOIN parcels q ON p.tags = q.tags",
    ):
        with pytest.raises(QueryRefused) as refused:
            shop.rows(sql)
        assert refused.value.code == "query.not_portable", sql


def test_columns_that_are_only_shown(shop: Shop) -> None:
    asked = "SELECT about, raw, due, label FROM parcels ORDER BY id"
    result = shop.engine.query(shop.token, asked)
    assert result.types == ("JSON", "BLOB", "TIME", "VARCHAR")
    assert result.rows == [('{"b": 1,  "a": [2]}', b"\x00\xff", time(10), "one"), (None, None, None, None)]
    assert shop.engine.query(shop.token, asked, fetch="arrow").to_arrow().to_pylist()[0]["raw"] == b"\x00\xff"
    asked = "SELECT (SELECT about FROM parcels WHERE label = 'one')"
    assert shop.engine.query(shop.token, asked).rows == [('{"b": 1,  "a": [2]}',)]
    for sql in (
        "SELECT DISTINCT about FROM parcels",
        "SELECT count(*) FROM (SELECT about FROM parcels UNION SELECT about FROM parcels) t",
        "SELECT id FROM (SELECT id, about FROM parcels ORDER BY about LIMIT 1) t",
        "SELECT 1 FROM parcels WHERE (SELECT max(id) FROM parcels) > 0 AND (SELECT raw FROM parcels LIMIT 1) = raw",
        "SELECT (SELECT about FROM parcels LIMIT 1) IS NULL",
        "SELECT count(*) FROM parcels p JOIN parcels q ON p.due = q.due",
        "SELECT about, count(*) FROM parcels GROUP BY about",
    ):
        with pytest.raises(QueryRefused) as refused:
            shop.engine.query(shop.token, sql)
        assert refused.value.code == "query.not_portable"


def test_numbers_of_any_length(shop: Shop) -> None:
    assert shop.rows(
        "SELECT sum(weight * size) AS s, avg(weight) AS a, max(size) AS m FROM parcels WHERE weight > 0.3"
    ) == [(Decimal("3.000000000000000000"), 1.5, Decimal(2))]
    # The hidden one has more digits than any sum or product has room for: whatever computes with it has a fence.
    for item in ("weight * weight", "sum(coalesce(weight, 0)) OVER ()", "CAST(weight AS INTEGER)", "avg(size) OVER ()"):
        asked = f"SELECT count(*) FROM (SELECT {item} AS x FROM parcels) t WHERE x > 0"
        assert shop.rows(asked) in ([(2,)], [(1,)])
        assert shop.engine.guard(shop.token, asked).fence_reason
    assert not shop.engine.guard(shop.token, "SELECT weight, sum(id) OVER () AS s FROM parcels").fence_reason


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("postgresql://reader:geheim@/shop?host={host}", "engine.url"),
        ("postgresql://reader@/shop?host={host}&options=-crow_security%3Doff", "engine.url"),
        ("postgresql://owner@/shop?host={host}", "engine.role"),
        ("postgresql://reader@/nowhere?host={host}", "engine.database_unreachable"),
    ],
)
def test_what_cannot_be_opened(cluster: Cluster, tmp_path: Path, url: str, code: str) -> None:
    with pytest.raises(EngineInvalid) as refused:
        rls.Engine.open(
            url.format(host=cluster.directory), policies=write_policies(tmp_path / "p"), audit=lambda _: None
        )
    assert refused.value.code == code
    assert "geheim" not in repr(refused.value.to_dict())


def test_a_role_that_may_write_is_refused(cluster: Cluster) -> None:
    import psycopg

    with psycopg.connect(cluster.url("shop"), autocommit=True) as connection:
        connection.execute("CREATE ROLE writer LOGIN")
        connection.execute("GRANT INSERT ON products TO writer")
        connection.execute("CREATE ROLE of_a_column LOGIN")
        connection.execute("GRANT UPDATE (name) ON products TO of_a_column")
        # Not inherited; but whoever is a member may become the other.
        connection.execute("CREATE ROLE member LOGIN NOINHERIT")
        connection.execute("GRANT writer TO member")
        connection.execute("CREATE ROLE signaller LOGIN NOINHERIT")
        connection.execute("GRANT pg_signal_backend TO signaller")
    for role in ("writer", "of_a_column", "member", "signaller"):
        with pytest.raises(EngineInvalid, match="may do more than read"):
            PostgresExecutor.open(cluster.url("shop", user=role))


# Each raises on the hidden rows, and on no visible one.
RAISING = [
    "SELECT count(*) FROM orders WHERE n + 1 > 0",
    "SELECT sum(n * 2) FROM orders",
    "SELECT count(*) FROM orders WHERE 10 % (n - 2147483647) > -100 AND id > 0",
    "SELECT n + 1 FROM orders ORDER BY n + 1 LIMIT 1",
    "SELECT max(n + 1) OVER () FROM orders LIMIT 1",
    "SELECT count(*) FROM orders a JOIN orders b ON a.n + 1 = b.n",
    "SELECT n + 1, count(*) FROM orders GROUP BY 1",
    "SELECT count(*) FROM products p WHERE EXISTS (SELECT 1 FROM orders o WHERE o.n + 1 = p.id)",
    "SELECT count(*) FROM (SELECT n + 1 AS m FROM orders) t WHERE m > 0",
    "WITH w AS (SELECT * FROM orders) SELECT count(*) FROM w WHERE CAST(n + 1 AS SMALLINT) > 0",
]


@pytest.mark.parametrize("sql", RAISING)
def test_nothing_is_evaluated_on_hidden_rows(shop: Shop, sql: str) -> None:
    assert shop.rows(sql)


def test_the_fence_is_what_keeps_expressions_above_the_filter(cluster: Cluster) -> None:
    """The facts that fences rest on: the same conditions with and without OFFSET 0, as a policy by a mapping table."""
    import psycopg

    rows = "SELECT * FROM orders WHERE tenant_id IN (SELECT CASE WHEN id > 0 THEN 'acme' END FROM products)"
    with psycopg.connect(cluster.url("shop"), autocommit=True) as connection:
        with pytest.raises(psycopg.errors.NumericValueOutOfRange):
            connection.execute(f"SELECT count(*) FROM ({rows}) o WHERE n + 1 > 0")
        assert connection.execute(f"SELECT count(*) FROM ({rows} OFFSET 0) o WHERE n + 1 > 0").fetchall() == [(20,)]


def test_every_guard_that_hides_rows_has_a_fence(shop: Shop) -> None:
    guarded = shop.engine.guard(shop.token, "SELECT count(*) FROM orders WHERE id = 2 AND n * 2 > 0")
    assert guarded.dialect == "postgres"
    assert guarded.sql.count("OFFSET 0") == 1
    # The caller's own harmless condition is copied below it.
    assert guarded.sql.index('"orders"."id" = 2') < guarded.sql.index("OFFSET 0")


def test_guarded_text_runs_elsewhere(shop: Shop, cluster: Cluster) -> None:
    import psycopg

    guarded = shop.engine.guard(shop.token, "SELECT count(*) AS n FROM orders WHERE tenant_id = user.tenant")
    with psycopg.connect(cluster.url("shop")) as connection:
        cursor = psycopg.RawCursor(connection)
        cursor.execute(guarded.sql, [guarded.parameters[name] for name in guarded.binds])
        assert cursor.fetchall() == [(20,)]


def test_errors_on_visible_rows_say_no_value(shop: Shop) -> None:
    with pytest.raises(QueryFailed) as failed:
        shop.rows("SELECT CAST(amount * 1000 AS SMALLINT) FROM orders")
    assert failed.value.code == "run.out_of_range"
    with pytest.raises(QueryFailed) as failed:
        shop.rows("SELECT id % zero FROM products")
    assert failed.value.code == "run.division_by_zero"
    assert failed.value.__context__ is None
    with pytest.raises(QueryFailed) as failed:
        shop.rows("SELECT (SELECT id FROM products)")
    assert failed.value.code == "run.subquery_rows"


def test_texts_that_differ_in_literals_share_one(shop: Shop) -> None:
    """Literals beside columns are bound, below the fence as well; patterns are not."""
    text = "SELECT CAST(sum(n) AS INTEGER) AS s FROM days WHERE n * 2 > 0 AND {}"
    for first, other, answer, bound in (
        ("id = 4", "id = 6", 6, {"rls_0_0": 6}),
        ("id IN (2, 4)", "id IN (2, 8)", 10, {"rls_0_0": 2, "rls_0_1": 8}),
        ("id < 4 AND tenant_id = 'acme'", "id < 5 AND tenant_id = 'acme'", 6, {"rls_0_0": 5, "rls_0_1": "acme"}),
        ("amount <= 2.5", "amount <= 4.5", 6, {"rls_0_0": Decimal("4.5")}),
        ("day >= '2024-01-03' AND id < 7", "day >= DATE '2024-01-05' AND id < 9", 14, None),
        ("day > DATE '2024-01-03' AND id < 7", "day > DATE '2024-01-05' AND id < 9", 14, None),
        ("day = '2024-01-03'", "day = '2024-01-06'", 6, {"rls_0_0": "2024-01-06"}),
        ("moment = '2024-01-03'", "moment = '2024-01-06'", 6, {"rls_0_0": "2024-01-06"}),
    ):
        sql, again = text.format(first), text.format(other)
        shop.rows(sql)
        assert shop.rows(again) == [(answer,)]
        guarded = [shop.engine.guard(shop.token, one) for one in (sql, sql + " ", again)][-1]
        if bound is not None:
            assert guarded.near
            assert {name: value for name, value in guarded.parameters.items() if name.startswith("rls_0_")} == bound
            # DuckDB would move any of them there but a list of values that it does not know yet.
            inside = guarded.sql[: guarded.sql.index("OFFSET 0")]
            assert ("CAST($2" in inside) == (other != "id IN (2, 8)")
    near = text.format("note LIKE 'A%'"), text.format("note LIKE 'B%'")
    assert not shop.engine.guard(shop.token, near[1]).near or "'B%'" in shop.engine.guard(shop.token, near[1]).sql


def test_names_that_are_too_long_for_the_server_are_the_answers(shop: Shop) -> None:
    """It would cut them, and take two of them for one."""
    one, other = "n" * 70, "n" * 69 + "m"
    result = shop.engine.query(
        shop.token,
        f"SELECT {one} AS a, sum({other}) AS b, max(id + 1000000000000 + 1000000000000 + 1000000000000 + 1000000000000) "
        f"FROM (SELECT id AS {one}, id * 10 AS {other}, id FROM products WHERE id < 2) {'t' * 80} GROUP BY 1",
    )
    assert result.rows == [(1, 10, 4000000000001)]
    assert result.columns[2].startswith("max(") and len(result.columns[2]) > 63


def test_joins_that_postgresql_lacks_are_refused(shop: Shop) -> None:
    with pytest.raises(QueryRefused) as refused:
        shop.rows("SELECT a.id FROM products a FULL JOIN products b ON a.id < b.id")
    assert refused.value.code == "query.not_portable"


def test_a_join_that_reaches_over_a_comma_is_refused(shop: Shop) -> None:
    """DuckDB lets ON name what stands before the comma; PostgreSQL says so only when it reads the text."""
    with pytest.raises(QueryRefused) as refused:
        shop.rows("SELECT count(*) FROM orders o, products p LEFT JOIN products q ON o.id = q.id")
    assert refused.value.code == "query.not_portable"


def test_names_that_are_wrong_get_duckdbs_words(shop: Shop) -> None:
    with pytest.raises(QueryRefused) as refused:
        shop.rows("SELECT amuont FROM orders")
    assert (refused.value.code, refused.value.position and refused.value.position.column) == ("query.unknown_column", 8)
    assert "amount" in str(refused.value)
    with pytest.raises(QueryRefused) as refused:
        shop.rows("SELECT extra FROM orders")
    assert refused.value.code == "query.unknown_column"


def test_limits(cluster: Cluster, tmp_path: Path) -> None:
    shop = Shop(cluster, tmp_path, Limits(rows=10, seconds=0.5))
    assert len(shop.rows("SELECT id FROM orders LIMIT 10")) == 10
    with pytest.raises(QueryFailed) as failed:
        shop.rows("SELECT id FROM orders")
    assert failed.value.code == "run.rows"
    crossed = ", ".join(f"orders o{number}" for number in range(8))
    with pytest.raises(QueryFailed) as failed:
        shop.rows(f"SELECT count(*) FROM {crossed}")
    assert failed.value.code == "run.timeout"
    assert shop.rows("SELECT count(*) FROM orders") == [(20,)]
    shop.engine.close()
    with pytest.raises(EngineInvalid):
        shop.rows("SELECT count(*) FROM orders")


def test_values_and_types(shop: Shop) -> None:
    result = shop.engine.query(
        shop.token,
        "SELECT id, amount, state, seen, small, sum(id) OVER () AS s, avg(amount) OVER () AS a, note FROM orders WHERE id = 2",
    )
    assert result.types[:3] == ("INTEGER", "DECIMAL(9,2)", "VARCHAR")
    assert result.types[4:] == ("FLOAT", "HUGEINT", "DOUBLE", "VARCHAR")
    row = result.rows[0]
    assert row[:3] == (2, Decimal("2.00"), "open")
    assert repr(row[3]) == "datetime.datetime(2024, 1, 1, 8, 0, tzinfo=<UTC>)"
    assert row[4:] == (0.10000000149011612, 2, 2.0, "Zebra 2")
    assert [type(value) for value in row[4:7]] == [float, int, float]
    table = shop.engine.query(
        shop.token, "SELECT id, amount, note FROM orders ORDER BY id LIMIT 2", fetch="arrow"
    ).to_arrow()
    assert table.to_pylist() == [
        {"id": 2, "amount": Decimal("2.00"), "note": "Zebra 2"}, {"id": 4, "amount": Decimal("4.00"), "note": "Zebra 4"},
    ]  # fmt: skip


def test_texts_are_ordered_by_their_bytes_and_folded_by_unicode(shop: Shop) -> None:
    assert shop.rows("SELECT name FROM products ORDER BY name") == [("Zoo",), ("apple",), ("zebra",), ("Äpfel",)]
    assert shop.rows("SELECT max(name), min(name) FROM products") == [("Äpfel", "Zoo")]
    assert shop.rows("SELECT upper(name) FROM products WHERE name ILIKE 'ä%'") == [("ÄPFEL",)]
    assert shop.rows("SELECT upper('straße'), lower('STRAẞE'), 'STRAẞE' ILIKE 'straße'") == [("STRAẞE", "straße", True)]
    assert shop.rows("SELECT count(*) FROM products WHERE name > 'a'") == [(3,)]
    assert shop.rows("SELECT lower(name) || '!' AS n FROM products ORDER BY n DESC LIMIT 1") == [("äpfel!",)]


def test_odd_names_and_texts(shop: Shop) -> None:
    asked = 'SELECT "a ""b"" %s $1" AS "x ""y"" %s", É, \'%s $1 \\ \'\'\' AS t FROM finance."odd ""name"" 100%"'
    result = shop.engine.query(shop.token, asked)
    assert result.columns == ('x "y" %s', "É", "t")
    assert result.rows == [("it's \\ %s $1", 1, "%s $1 \\ '")]


def test_parameters(shop: Shop) -> None:
    asked = "SELECT id FROM orders WHERE id > $low AND note LIKE $like ORDER BY id LIMIT $many"
    assert shop.rows(asked, {"low": 4, "like": "Zebra%", "many": 2}) == [(6,), (8,)]
    for parameters, code in [
        ({"low": 4, "like": "x"}, "query."),
        ({"low": 4, "like": "x", "many": 1, "more": 1}, "query.parameter_unknown"),
        ({"low": 4, "like": [1], "many": 1}, "query."),
    ]:
        with pytest.raises(QueryRefused) as refused:
            shop.rows(asked, parameters)  # type: ignore[arg-type]
        assert refused.value.code.startswith(code)


def test_a_session_can_only_read(cluster: Cluster) -> None:
    executor = PostgresExecutor.open(cluster.url("shop", user=READER))
    for sql in (
        "CREATE TEMP TABLE t (id int)",
        "SET row_security = off; SELECT 1",
        "COPY products TO '/tmp/x'",
        "SELECT nextval('x')",
    ):
        with pytest.raises((QueryFailed, QueryRefused)):
            executor.execute(_made(sql, Column("id", "INTEGER")), {}, fetch="rows")
    assert (
        executor.execute(_made("SELECT id FROM public.products", Column("id", "INTEGER")), {}, fetch="rows").row_count
        == 4
    )
    executor.close()


def test_an_answer_of_another_type_is_withheld(cluster: Cluster) -> None:
    executor = PostgresExecutor.open(cluster.url("shop", user=READER))
    for type_ in ("VARCHAR", "DOUBLE", "DECIMAL(9,2)", "STRUCT(a INTEGER)"):
        with pytest.raises(QueryFailed) as failed:
            executor.execute(_made("SELECT id FROM public.products", Column("id", type_)), {}, fetch="rows")
        assert failed.value.code == "run.types"
    with pytest.raises(QueryFailed) as failed:
        executor.execute(_made("SELECT 300000 AS n", Column("n", "SMALLINT")), {}, fetch="rows")
    assert failed.value.code == "run.out_of_range"
    with pytest.raises(QueryRefused):
        executor.execute(replace(_made("SELECT 1", Column("n", "INTEGER")), dialect="duckdb"), {}, fetch="rows")
    executor.close()


def _made(sql: str, *columns: Column) -> GuardedQuery:
    return GuardedQuery(sql=sql, parameters={}, original=sql, grants={}, dialect="postgres", columns=columns)


def test_changes_of_the_database_are_found(shop: Shop, cluster: Cluster) -> None:
    import psycopg

    assert shop.rows("SELECT old FROM changing") == [("kept",)]
    with psycopg.connect(cluster.url("shop"), autocommit=True) as connection:
        connection.execute("ALTER TABLE changing RENAME COLUMN old TO new")
        with pytest.raises(QueryRefused, match="no column `old`"):
            shop.rows("SELECT old FROM changing")
        assert shop.rows("SELECT new FROM changing") == [("kept",)]
        connection.execute("CREATE TABLE late (id integer)")
        connection.execute(f"GRANT SELECT ON late TO {READER}")
    assert shop.engine.catalog.find(("late",)) is None
    shop.engine.refresh()
    assert shop.engine.catalog.find(("late",)) is not None


def test_a_server_that_was_restarted_is_found_again(shop: Shop, cluster: Cluster) -> None:
    assert shop.rows("SELECT count(*) FROM orders") == [(20,)]
    cluster.restart()
    assert shop.rows("SELECT count(*) FROM orders") == [(20,)]


def test_records_name_the_engine_and_no_address(shop: Shop, cluster: Cluster) -> None:
    shop.rows("SELECT count(*) FROM orders")
    record = shop.records[-1]
    assert "postgresql 1" in repr(record)
    assert str(cluster.directory) not in repr(record)
