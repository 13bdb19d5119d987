"""Tables of the server's own catalog: what they are to callers, and that what cannot be shown is named.

Run on Sail; with RLS_SPARK=spark and SPARK_HOME, on Apache Spark, whose catalog is the same in all sessions.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import rls
from rls.engines.spark.address import read_address
from rls.engines.spark.catalog import read_database
from rls.engines.spark.sessions import Sessions
from tests.engine.kit import write_policies
from tests.engines.spark.kit import Server, start

ON_SPARK = os.environ.get("RLS_SPARK") == "spark"
POLICIES = """
relation: orders
policies:
  - {name: own_tenant, using: tenant_id = user.tenant}
---
{relation: other_place.ledger, public: true}
"""
VIEW = "it is a view of the server's own"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    if ON_SPARK:
        from tests.engines.spark.cluster import start_cluster

        made: Server = start_cluster()
    else:
        made = start()
    yield made
    made.stop()


def fill(session: Any, directory: Path) -> None:
    for text in (
        "CREATE DATABASE sales",
        "CREATE DATABASE other_place",
        f"CREATE TABLE sales.orders USING parquet LOCATION '{directory}/orders' AS SELECT * FROM VALUES "
        "(1, 'acme', map(1, 1)), (2, 'globex', map(2, 2)) AS v(id, tenant_id, many)",
        f"CREATE TABLE other_place.ledger USING parquet LOCATION '{directory}/ledger' AS SELECT 1 AS id",
        "CREATE VIEW sales.everything AS SELECT * FROM sales.orders",
    ):
        session.sql(text).toArrow()


@pytest.fixture(scope="module")
def filled(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A session that has made tables and a view."""
    sessions = Sessions(read_address(f"spark://127.0.0.1:{server.port}/sales"), prepare=lambda _: None)
    with sessions.take() as session:
        fill(session, tmp_path_factory.mktemp("tables"))
        yield session
    sessions.close()


def test_tables_are_there_and_views_are_named(server: Server, filled: Any) -> None:
    address = read_address(f"spark://127.0.0.1:{server.port}/sales")
    catalog = read_database(filled, address, (), "attached", name="shop").catalog
    assert {(*one.schema, one.name): [column.name for column in one.columns] for one in catalog.relations.values()} == {
        ("main", "orders"): ["id", "tenant_id"], ("other_place", "ledger"): ["id"],
    }  # fmt: skip
    assert {(one.relation, one.column, one.why) for one in catalog.left_out} == {
        ("orders", "many", "nothing corresponds to its type `map<int,int>`"), ("everything", "", VIEW),
    }  # fmt: skip


@pytest.mark.skipif(not ON_SPARK, reason="only Apache Spark shows a session's tables to others: RLS_SPARK=spark")
def test_a_guarded_query_of_tables_in_two_databases(server: Server, filled: Any, tmp_path: Path) -> None:
    policies = write_policies(tmp_path / "policies", POLICIES)
    url = f"spark://127.0.0.1:{server.port}/sales"
    with rls.Engine.open(url, policies=policies, audit=lambda _: None, isolation="thread", name="shop") as engine:
        token = rls.mint_token(
            rls.load_identity(policies), subject="eve", roles=["maker"], attributes={"tenant": "acme"}
        )
        sql = "SELECT o.id, o.tenant_id, l.id AS ledger FROM orders o, other_place.ledger l"
        assert engine.query(token, sql).rows == [(1, "acme", 1)]
        with pytest.raises(rls.QueryRefused) as refused:
            engine.query(token, "SELECT * FROM everything")
        assert refused.value.code == "query.unknown_relation"
