"""Connections to PostgreSQL: what one query leaves is not there for the next; servers that go and come; ended queries.

A server of our own is stopped and started. Texts that no caller could send stand for a rewrite that erred.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import rls
from rls.catalog import Column
from rls.engines.limits import Limits
from rls.engines.postgres.connections import Connections
from rls.engines.postgres.executor import PostgresExecutor
from rls.errors import EngineInvalid, QueryFailed
from rls.rewrite.guarded import GuardedQuery
from tests.engines.postgres.kit import READER, Cluster
from tests.engines.postgres.shop import Shop, start_shop

RUNNING = f"usename = '{READER}' AND state = 'active' AND query LIKE 'FETCH%'"
CROSSED = "SELECT count(*) FROM " + ", ".join(f"orders o{number}" for number in range(8))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    made = start_shop()
    yield made
    made.stop()


@pytest.fixture
def executor(cluster: Cluster) -> Iterator[PostgresExecutor]:
    made = PostgresExecutor.open(cluster.url("shop", user=READER), isolation="thread")
    yield made
    made.close()


def ask(executor: PostgresExecutor, sql: str, type_: str = "VARCHAR") -> Any:
    """One value of a text as it stands."""
    guarded = GuardedQuery(
        sql=sql, parameters={}, original=sql, grants={}, dialect="postgres", columns=(Column("v", type_),)
    )
    found = executor.execute(guarded, {}, fetch="rows")
    assert found.rows
    return found.rows[0][0]


def as_owner(cluster: Cluster, sql: str) -> list[tuple[Any, ...]]:
    import psycopg

    with psycopg.connect(cluster.url("shop"), autocommit=True) as connection:
        cursor = connection.execute(sql)
        return cursor.fetchall() if cursor.description else []


def test_nothing_is_left_for_the_next_query(cluster: Cluster, executor: PostgresExecutor) -> None:
    pid = ask(executor, "SELECT pg_backend_pid()", "INTEGER")
    assert ask(executor, "SELECT set_config('rls.left', 'a secret', false)") == "a secret"
    assert ask(executor, "SELECT set_config('search_path', 'public', false)") == "public"
    assert ask(executor, "SELECT set_config('TimeZone', 'Asia/Tokyo', false)") == "Asia/Tokyo"
    assert ask(executor, "SELECT pg_try_advisory_lock(4711)::text") == "true"
    as_owner(cluster, f"CREATE ROLE peer; GRANT peer TO {READER}")
    assert ask(executor, "SELECT set_config('role', 'peer', false)") == "peer"
    assert ask(executor, "SELECT current_user::text") == READER
    assert ask(executor, "SELECT pg_backend_pid()", "INTEGER") == pid
    assert ask(executor, "SELECT coalesce(current_setting('rls.left', true), '')") == ""
    assert ask(executor, "SELECT current_setting('search_path')") == "pg_catalog,pg_temp"
    assert ask(executor, "SELECT current_setting('TimeZone')") == "UTC"
    assert ask(executor, "SELECT current_setting('row_security')") == "on"
    assert ask(executor, "SELECT current_setting('transaction_read_only')") == "on"
    assert as_owner(cluster, "SELECT pg_try_advisory_lock(4711)") == [(True,)]
    assert ask(executor, "SELECT count(*) FROM pg_cursors WHERE name <> 'rls'", "BIGINT") == 0
    assert ask(executor, "SELECT count(*) FROM pg_prepared_statements", "BIGINT") == 0


def test_servers_that_aggregate_below_joins_do_not_for_us(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """The statement that newer servers get; one that lacks the setting takes it, too."""
    monkeypatch.setattr("rls.engines.postgres.connections._EAGER", 0)
    connections = Connections(cluster.url("shop", user=READER))
    with connections.take() as connection:
        assert connection.execute("SHOW transaction_read_only").fetchone() == ("on",)
        found = connection.execute("SELECT setting FROM pg_settings WHERE name = 'enable_eager_aggregate'").fetchall()
        assert found in ([], [("off",)])
    connections.close()


def test_the_environment_does_not_change_a_session(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c search_path=public -c default_transaction_read_only=off")
    as_owner(cluster, f"ALTER ROLE {READER} SET transform_null_equals = on")
    connections = Connections(cluster.url("shop", user=READER))
    with connections.take() as connection:
        assert connection.execute("SELECT 1 WHERE (SELECT 1 WHERE false) = NULL").fetchall() == []
        assert connection.execute("SHOW synchronize_seqscans").fetchone() == ("off",)
        assert connection.execute("SHOW search_path").fetchone() == ("pg_catalog,pg_temp",)
        assert connection.execute("SHOW transaction_read_only").fetchone() == ("on",)
    connections.close()


def ended(cluster: Cluster, shop: Shop, how: str) -> QueryFailed:
    """What a long query fails with, that the server's owner ends by a function."""
    found: list[BaseException] = []

    def run() -> None:
        try:
            shop.rows(CROSSED)
        except rls.RlsError as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    wait_for(
        lambda: bool(
            as_owner(
                cluster,
                f"SELECT {how}(pid) FROM pg_stat_activity WHERE {RUNNING}",
            )
        )
    )
    thread.join(30)
    assert isinstance(found[0], QueryFailed)
    return found[0]


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("how", "code"), [("pg_cancel_backend", "run.interrupted"), ("pg_terminate_backend", "run.connection")]
)
def test_a_query_that_somebody_ends(cluster: Cluster, tmp_path: Path, how: str, code: str) -> None:
    shop = Shop(cluster, tmp_path)
    error = ended(cluster, shop, how)
    assert error.code == code
    assert "terminat" not in str(error)
    # Not run again by itself: what it had done is not known. The next one finds a connection.
    assert shop.records[-1].code == code
    assert shop.rows("SELECT count(*) FROM orders") == [(20,)]
    shop.engine.close()


def test_a_deadline_is_told_from_an_interruption(cluster: Cluster, tmp_path: Path) -> None:
    shop = Shop(cluster, tmp_path, Limits(seconds=0.5))
    with pytest.raises(QueryFailed) as failed:
        shop.rows(CROSSED)
    assert failed.value.code == "run.timeout"
    shop.engine.close()


def test_a_server_that_is_gone_and_comes_back(cluster: Cluster, tmp_path: Path) -> None:
    shop = Shop(cluster, tmp_path)
    assert shop.rows("SELECT count(*) FROM orders") == [(20,)]
    cluster.halt()
    try:
        for _ in range(2):
            with pytest.raises(EngineInvalid) as failed:
                shop.rows("SELECT count(*) FROM orders")
            assert failed.value.code == "engine.database_unreachable"
            assert str(cluster.directory) not in repr(failed.value.to_dict())
            assert shop.records[-1].outcome == "failed"
    finally:
        cluster.resume()
    assert shop.rows("SELECT count(*) FROM orders") == [(20,)]
    # One that is stopped in the middle of a query ends that query, and only that.
    found: list[BaseException] = []

    def run() -> None:
        try:
            shop.rows(CROSSED)
        except rls.RlsError as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    wait_for(
        lambda: bool(
            as_owner(
                cluster,
                f"SELECT 1 FROM pg_stat_activity WHERE {RUNNING}",
            )
        )
    )
    cluster.halt()
    thread.join(30)
    cluster.resume()
    assert isinstance(found[0], QueryFailed)
    assert found[0].code == "run.connection"
    assert shop.rows("SELECT count(*) FROM orders") == [(20,)]
    shop.engine.close()


def test_principals_share_connections_and_nothing_else(cluster: Cluster, tmp_path: Path) -> None:
    shop = Shop(cluster, tmp_path)
    identity = rls.load_identity(tmp_path / "policies")
    other = rls.mint_token(identity, subject="max", roles=["maker"], attributes={"tenant": "globex"})
    answers: dict[str, set[Any]] = {"acme": set(), "globex": set()}

    def run(tenant: str, token: str) -> None:
        for _ in range(10):
            answers[tenant].add(shop.engine.query(token, "SELECT min(tenant_id), max(tenant_id) FROM orders").rows[0])

    threads = [
        threading.Thread(target=run, args=one) for one in (("acme", shop.token), ("globex", other)) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {tenant: {(tenant, tenant)} for tenant in answers}
    shop.engine.close()
