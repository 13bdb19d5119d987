"""The engine on a Sail server of our own: its catalog, fences, limits, errors, sessions, and what it cannot be told."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

import rls
from rls.catalog import Column
from rls.engines.limits import Limits
from rls.engines.opening import read_catalog_of
from rls.engines.spark.address import read_address
from rls.engines.spark.executor import SparkExecutor
from rls.errors import EngineInvalid, QueryFailed, QueryRefused
from rls.rewrite.guarded import GuardedQuery
from tests.engine.kit import write_policies
from tests.engines import shop as shops
from tests.engines.spark.kit import Server, free_port, start, write_parquet

SHOP = """
CREATE TABLE orders AS SELECT i::INTEGER AS id, CASE WHEN i % 2 = 0 THEN 'acme' ELSE 'globex' END AS tenant_id,
  i::DECIMAL(9,2) AS amount, CASE WHEN i % 2 = 0 THEN i ELSE 2147483647 END::INTEGER AS n,
  CASE WHEN i % 2 = 0 THEN 'Zebra ' ELSE 'CANARY ' END || i AS note, TIMESTAMPTZ '2024-01-01 10:00+02' AS seen,
  0.1::FLOAT AS small, 'secret' AS extra, 9007199254740993 + i AS big, [1] AS tags FROM range(1, 41) t(i);
CREATE TABLE products AS FROM (VALUES (1, 'Äpfel', 0), (2, 'zebra', 0), (3, 'Zoo', 0), (4, 'apple', NULL)) t(id, name, zero);
CREATE SCHEMA finance;
CREATE TABLE finance.ledger AS SELECT 1 AS id;
CREATE TABLE finance."odd `name` 100%" AS SELECT 'it''s \\ %s :p1 ${env:PATH}' AS "a `b` :p1", 1 AS "É";
CREATE TABLE undecided (id INTEGER);
CREATE TABLE changing AS SELECT 1 AS id, 'kept' AS old;
"""
POLICIES = shops.shop_policies("odd `name` 100%")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    made = start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("shop") / "parquet"
    with duckdb.connect() as connection:
        connection.execute(SHOP)
        return write_parquet(connection, made)


class Shop(shops.Shop):
    """The shop in the files of a directory."""

    def __init__(self, server: Server, parquet: Path, directory: Path, limits: Limits | None = None) -> None:
        super().__init__(server.url(parquet), POLICIES, directory, limits=limits, isolation="thread", name="shop")


@pytest.fixture(scope="module")
def shop(server: Server, directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    made = Shop(server, directory, tmp_path_factory.mktemp("policies"))
    yield made
    made.engine.close()


def test_the_catalog_has_what_duckdb_has_a_type_for(shop: Shop) -> None:
    orders = shop.engine.catalog.find(("orders",))
    assert orders is not None
    # A text is a text, whatever it was.
    assert {column.name: column.type for column in orders.columns} == {
        "id": "INTEGER", "tenant_id": "VARCHAR", "amount": "DECIMAL(9,2)", "n": "INTEGER", "note": "VARCHAR",
        "seen": "TIMESTAMP WITH TIME ZONE", "small": "FLOAT", "extra": "VARCHAR", "big": "BIGINT",
        "tags": "INTEGER[]",
    }  # fmt: skip
    assert shop.engine.catalog.find(("finance", "ledger")) is not None


def test_what_is_left_out_has_a_reason(server: Server, tmp_path: Path) -> None:
    with duckdb.connect() as connection:
        for name, columns in (("lists", "1 AS id, [[1]] AS many"), ("only", "{'a': 1} AS many")):
            connection.execute(f"COPY (SELECT {columns}) TO '{tmp_path}/{name}.parquet' (FORMAT parquet)")
    catalog = read_catalog_of(server.url(tmp_path))
    assert {(one.relation, one.column, one.why) for one in catalog.left_out} == {
        ("lists", "many", "nothing corresponds to its type `array<array<int>>`"),
        ("only", "", "nothing corresponds to its type `struct<a:int>`"),
    }


def test_lists_are_shown(server: Server, tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    with duckdb.connect() as connection:
        connection.execute(
            "CREATE TABLE lists AS FROM (VALUES (1, ['a', NULL, 'ä'], [DATE '2026-01-02'], [7]::BIGINT[], "
            "[TIMESTAMP '2026-01-02 03:04:05.678901'], [true], [0.5]::DOUBLE[]), (2, NULL, [], NULL, NULL, NULL, NULL)) "
            "v(id, texts, days, numbers, moments, truths, shares)"
        )
        wanted = connection.execute("FROM lists ORDER BY id").fetchall()
        types = tuple(str(one[1]) for one in connection.execute("FROM lists").description)
        connection.execute(f"COPY lists TO '{tmp_path}/lake/lists.parquet' (FORMAT parquet)")
    shop = shops.Shop(server.url(tmp_path / "lake"), "relation: lists\npublic: true\n", tmp_path, isolation="thread")
    with shop.engine:
        result = shop.engine.query(shop.token, "SELECT * FROM lists ORDER BY id")
        assert (result.rows, result.types) == (wanted, types)
        for sql in (
            "SELECT DISTINCT texts FROM lists",
            "SELECT id FROM lists ORDER BY texts",
            "SELECT id FROM lists WHERE list_contains(texts, 'a')",
            "SELECT texts[1] FROM lists",
            "SELECT id FROM lists WHERE texts IS NULL",
            "SELECT list(id) FROM lists",
        ):
            with pytest.raises(QueryRefused) as refused:
                shop.rows(sql)
            assert refused.value.code == "query.not_portable", sql


def test_a_file_that_is_none_any_more_concerns_its_own_relation_only(server: Server, tmp_path: Path) -> None:
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE whole AS SELECT 1 AS id; CREATE TABLE torn AS SELECT 2 AS id")
        files = write_parquet(connection, tmp_path / "lake")
    (files / "{w}.parquet").write_bytes((files / "whole.parquet").read_bytes())
    policies = write_policies(
        tmp_path / "policies", "{relation: whole, public: true}\n---\n{relation: torn, public: true}"
    )
    token = rls.mint_token(rls.load_identity(policies), subject="eve", roles=["maker"], attributes={"tenant": "acme"})
    kept = (files / "torn.parquet").read_bytes()
    with rls.Engine.open(server.url(files), policies=policies, audit=lambda _: None, isolation="thread") as engine:
        assert [(one.relation, one.why) for one in engine.catalog.left_out] == [
            ("{w}", "to the server its path is a pattern of others")
        ]
        for content in (b"no rows at all", None):
            (files / "torn.parquet").write_bytes(kept)
            assert engine.query(token, "SELECT id FROM torn").rows == [(2,)]
            if content is None:
                (files / "torn.parquet").unlink()
            else:
                (files / "torn.parquet").write_bytes(content)
            assert engine.query(token, "SELECT id FROM whole").rows == [(1,)]
            with pytest.raises(QueryRefused) as refused:
                engine.query(token, "SELECT id FROM torn")
            assert refused.value.code == "query.unknown_relation"


def test_a_session_is_nobody_elses_in_the_process(shop: Shop) -> None:
    from pyspark.sql.connect.session import SparkSession

    assert shop.rows("SELECT 1") == [(1,)]
    assert SparkSession.getActiveSession() is None
    # Nor does the end of the process wait for a server that is gone.
    with shop.engine._executor._sessions.take() as session:  # type: ignore[attr-defined]
        assert [policy.max_retries for policy in session.client.get_retry_policies()] == [2]


@pytest.mark.parametrize(
    "url",
    [
        "spark://eve:geheim@host", "spark://host/?token=geheim", "spark://host/?parquet=relative", "spark://host/a/b",
        "spark://host:none", "spark://host/shop?parquet=/x", "spark://host/?tls=maybe", "spark://host/?tls=true&tls=false",
        "spark://host/?token_file=/nowhere/geheim", "spark://",
    ],
)  # fmt: skip
def test_addresses_that_cannot_be_read(url: str) -> None:
    with pytest.raises(EngineInvalid) as refused:
        read_address(url)
    assert refused.value.code == "engine.url"
    assert "geheim" not in repr(refused.value.to_dict())


def test_a_token_comes_from_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("geheim\n")
    found = read_address(f"spark://host/?tls=true&token_file={tmp_path / 'token'}")
    assert found.remote == "sc://host:15002/;token=geheim;use_ssl=true"
    assert "geheim" not in repr(found)
    monkeypatch.setenv("SPARK_CONNECT_AUTHENTICATE_TOKEN", "other")
    assert read_address("spark://host").remote == "sc://host:15002/;token=other"


def test_what_cannot_be_opened(server: Server, tmp_path: Path) -> None:
    policies = write_policies(tmp_path / "p")
    for url, code in [
        (f"spark://127.0.0.1:{free_port()}/?parquet={tmp_path}", "engine.database_unreachable"),
        (server.url(tmp_path / "nowhere"), "engine.database_missing"),
    ]:
        with pytest.raises(EngineInvalid) as refused:
            rls.Engine.open(url, policies=policies, audit=lambda _: None, isolation="thread")
        assert refused.value.code == code


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM orders WHERE n + 1 > 0",
        "SELECT sum(n * 2) FROM orders",
        "SELECT count(*) FROM orders WHERE 10 % (n - 2147483647) > -100 AND id > 0",
        "SELECT n + 1 FROM orders ORDER BY n + 1 LIMIT 1",
        "SELECT count(*) FROM orders a JOIN orders b ON a.n + 1 = b.n",
        "SELECT n + 1, count(*) FROM orders GROUP BY 1",
        "SELECT count(*) FROM products p WHERE EXISTS (SELECT 1 FROM orders o WHERE o.n + 1 = p.id)",
        "WITH w AS (SELECT * FROM orders) SELECT count(*) FROM w WHERE CAST(n + 1 AS SMALLINT) > 0",
        # Where an optimizer works out bounds, from the statistics of files.
        "SELECT count(*) FROM orders WHERE n < n + 1",
        "SELECT count(*) FROM orders WHERE n BETWEEN n - 1 AND n + 1 AND id > 0",
        "SELECT count(*) FROM orders o JOIN products p ON p.id * 2 = o.id AND o.n <= o.n * 2",
        "SELECT count(*) FROM orders WHERE CAST(n AS SMALLINT) <= id",
        "SELECT count(*) FROM orders WHERE id >= CAST(n // 1 AS SMALLINT)",
        "SELECT count(*) FROM products p WHERE EXISTS (SELECT 1 FROM orders o WHERE o.id = p.id AND o.id < o.n + 1)",
    ],
)
def test_nothing_is_evaluated_on_hidden_rows(shop: Shop, sql: str) -> None:
    """Each raises on the hidden rows, and on no visible one."""
    assert shop.rows(sql)


def test_only_what_may_raise_gets_a_fence(shop: Shop) -> None:
    plain = shop.engine.guard(shop.token, "SELECT count(*) FROM orders WHERE id = 2 AND note LIKE 'Z%'")
    assert plain.dialect == "spark"
    assert "LIMIT" not in plain.sql
    assert plain.fence_reason == ""
    fenced = shop.engine.guard(shop.token, "SELECT count(*) FROM orders WHERE n + 1 = 2")
    assert fenced.sql.count("LIMIT 9223372036854775807") == 1


def test_whole_numbers_do_not_wrap_around(shop: Shop) -> None:
    """Sail's own would, without a word."""
    for sql in (
        "SELECT CAST(2147483647 AS INTEGER) + id FROM products",
        "SELECT 9223372036854775807 - CAST(id AS BIGINT) * -2 FROM products",
        "SELECT CAST(id AS SMALLINT) * CAST(32767 AS SMALLINT) FROM products",
        "SELECT CAST(amount * 1000 AS SMALLINT) FROM orders",
    ):
        with pytest.raises(QueryFailed) as failed:
            shop.rows(sql)
        assert failed.value.code == "run.out_of_range"
        assert failed.value.__context__ is None
    assert shop.rows("SELECT sum(big) FROM orders") == [(20 * 9007199254740993 + 420,)]


def test_errors_on_visible_rows_say_no_value(shop: Shop) -> None:
    for sql, code in [
        ("SELECT id % zero FROM products", "run.division_by_zero"),
        ("SELECT id // zero FROM products", "run.division_by_zero"),
        ("SELECT (SELECT id FROM products)", "run.subquery_rows"),
    ]:
        with pytest.raises(QueryFailed) as failed:
            shop.rows(sql)
        assert failed.value.code == code


def test_names_that_are_wrong_get_duckdbs_words(shop: Shop) -> None:
    with pytest.raises(QueryRefused) as refused:
        shop.rows("SELECT amuont FROM orders")
    assert (refused.value.code, refused.value.position and refused.value.position.column) == ("query.unknown_column", 8)
    assert "amount" in str(refused.value)
    with pytest.raises(QueryRefused, match="no column"):
        shop.rows("SELECT extra FROM orders")


def test_limits(server: Server, directory: Path, tmp_path: Path) -> None:
    shop = Shop(server, directory, tmp_path, Limits(rows=10, seconds=8))
    assert len(shop.rows("SELECT id FROM orders LIMIT 10")) == 10
    with pytest.raises(QueryFailed) as failed:
        shop.rows("SELECT id FROM orders")
    assert failed.value.code == "run.rows"
    shop.engine.close()
    with pytest.raises(EngineInvalid):
        shop.rows("SELECT count(*) FROM orders")


def test_a_query_that_takes_too_long_is_interrupted(server: Server, directory: Path, tmp_path: Path) -> None:
    shop = Shop(server, directory, tmp_path, Limits(seconds=2))
    crossed = ", ".join(f"orders o{number}" for number in range(8))
    started = time.monotonic()
    with pytest.raises(QueryFailed) as failed:
        shop.rows(
            f"SELECT count(*) FROM {crossed} WHERE o0.n + o1.id + o2.id + o3.id + o4.id + o5.id + o6.id + o7.id = 0"
        )
    assert failed.value.code == "run.timeout"
    assert time.monotonic() - started < 60
    shop.engine.close()


def test_values_and_types(shop: Shop) -> None:
    result = shop.engine.query(
        shop.token,
        "SELECT id, amount, seen, small, sum(id) OVER () AS s, avg(amount) OVER () AS a, note FROM orders WHERE id = 2",
    )
    assert result.types == (
        "INTEGER", "DECIMAL(9,2)", "TIMESTAMP WITH TIME ZONE", "FLOAT", "HUGEINT", "DOUBLE", "VARCHAR",
    )  # fmt: skip
    assert result.rows[0][:2] == (2, Decimal("2.00"))
    assert repr(result.rows[0][2]) == "datetime.datetime(2024, 1, 1, 8, 0, tzinfo=<UTC>)"
    assert result.rows[0][3:] == (0.10000000149011612, 2, 2.0, "Zebra 2")
    table = shop.engine.query(shop.token, "SELECT id, amount FROM orders ORDER BY id LIMIT 2", fetch="arrow").to_arrow()
    assert table.to_pylist() == [{"id": 2, "amount": Decimal("2.00")}, {"id": 4, "amount": Decimal("4.00")}]


def test_letters_are_duckdbs(shop: Shop) -> None:
    assert shop.rows("SELECT name FROM products ORDER BY name") == [("Zoo",), ("apple",), ("zebra",), ("Äpfel",)]
    assert shop.rows("SELECT upper(name) FROM products WHERE name ILIKE 'ä%'") == [("ÄPFEL",)]
    asked = "SELECT upper(w), lower(w) FROM (VALUES ('straße ﬁn ŉ'), ('ΑΣ İ STRAẞE')) v(w) ORDER BY w"
    with duckdb.connect() as connection:
        assert shop.rows(asked) == connection.execute(asked).fetchall()


def test_odd_names_and_texts(shop: Shop) -> None:
    asked = 'SELECT "a `b` :p1" AS "x `y` ${z}", É, \'%s :p1 \\ ${env:HOME} \'\'\' AS t FROM finance."odd `name` 100%"'
    result = shop.engine.query(shop.token, asked)
    assert result.columns == ("x `y` ${z}", "É", "t")
    assert result.rows == [("it's \\ %s :p1 ${env:PATH}", 1, "%s :p1 \\ ${env:HOME} '")]


def test_parameters(shop: Shop) -> None:
    asked = "SELECT id FROM orders WHERE id > $low AND note = $note ORDER BY id LIMIT $many"
    assert shop.rows(asked, {"low": 4, "note": "Zebra 6", "many": 2}) == [(6,)]
    for parameters, code in [
        ({"low": 4, "note": "x"}, "query."),
        ({"low": 4, "note": "x", "many": 1, "more": 1}, "query.parameter_unknown"),
    ]:
        with pytest.raises(QueryRefused) as refused:
            shop.rows(asked, parameters)  # type: ignore[arg-type]
        assert refused.value.code.startswith(code)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM parquet.`/etc/passwd`", "SELECT * FROM 'x.parquet'", "SET spark.sql.ansi.enabled = false",
        "SELECT * FROM system.session.sessions", "SELECT /*+ BROADCAST(o) */ 1; SELECT 2", "SHOW TABLES",
        "SELECT input_file_name()", "SELECT java_method('java.lang.System', 'exit', 1)", "SELECT current_user()",
        "SELECT _metadata.file_path FROM orders", "CACHE TABLE x AS SELECT 1", "SELECT getvariable('x')",
    ],
)  # fmt: skip
def test_what_is_sparks_own_is_refused(shop: Shop, sql: str) -> None:
    with pytest.raises(QueryRefused):
        shop.rows(sql)


def test_an_answer_of_another_type_is_withheld(server: Server, directory: Path) -> None:
    executor = SparkExecutor.open(server.url(directory), isolation="thread")
    for type_ in ("VARCHAR", "DOUBLE", "DECIMAL(9,2)", "STRUCT(a INTEGER)"):
        with pytest.raises(QueryFailed) as failed:
            executor.execute(_made("SELECT 1 AS id", Column("id", type_)), {}, fetch="rows")
        assert failed.value.code == "run.types"
    with pytest.raises(QueryFailed) as failed:
        executor.execute(_made("SELECT 300000 AS n", Column("n", "SMALLINT")), {}, fetch="rows")
    assert failed.value.code == "run.out_of_range"
    with pytest.raises(QueryRefused):
        executor.execute(replace(_made("SELECT 1", Column("n", "INTEGER")), dialect="duckdb"), {}, fetch="rows")
    executor.close()


def _made(sql: str, *columns: Column) -> GuardedQuery:
    return GuardedQuery(sql=sql, parameters={}, original=sql, grants={}, dialect="spark", columns=columns)


def test_files_that_change_are_found(shop: Shop, directory: Path) -> None:
    assert shop.rows("SELECT old FROM changing") == [("kept",)]
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT 1 AS id, 'other' AS new) TO '{directory}/changing.parquet' (FORMAT parquet)")
        with pytest.raises(QueryRefused, match="no column `old`"):
            shop.rows("SELECT old FROM changing")
        assert shop.rows("SELECT new FROM changing") == [("other",)]
        connection.execute(f"COPY (SELECT 1 AS id) TO '{directory}/late.parquet' (FORMAT parquet)")
    shop.engine.refresh()
    assert shop.engine.catalog.find(("late",)) is not None


def test_one_session_per_query_at_a_time(shop: Shop) -> None:
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda: found.append(shop.rows("SELECT count(*) FROM orders"))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[(20,)]] * 4


def test_a_server_that_was_restarted_is_found_again(server: Server, shop: Shop) -> None:
    assert shop.rows("SELECT count(*) FROM orders") == [(20,)]
    server.restart()
    assert shop.rows("SELECT count(*) FROM orders") == [(20,)]


def test_records_name_the_engine_and_no_address(shop: Shop, server: Server) -> None:
    shop.rows("SELECT count(*) FROM orders")
    record = repr(shop.records[-1])
    assert "sail 0.7" in record
    assert str(server.port) not in record


def test_the_client_is_found_in_a_program_without_a_file() -> None:
    """`python -c`: the client would take it for a doctest, and end it where there is no whole Spark."""
    program = (
        "from rls.engines.spark.address import read_address; from rls.engines.spark.sessions import Sessions; "
        "Sessions(read_address('spark://127.0.0.1'), prepare=print).close(); print('here')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == "here\n"
