"""Spark beside DuckDB: the same query by the same person on the same data, guarded for both engines.

Run on Sail; with RLS_SPARK=spark and SPARK_HOME, on Apache Spark. Skips where neither can be started.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import rls
from fixtures import warehouse
from rls.catalog import shown_type
from rls.identity.personas import load_personas
from tests.engines.spark.kit import Server, start, write_parquet
from tests.engines.witness import alike
from tests.engines.witness_queries import EVERYWHERE, GUARDED, NOT_PORTABLE, ON_POSTGRES

PERSONAS = ("alice", "bob", "lena", "gina", "soren", "nora", "root")
ON_SPARK = os.environ.get("RLS_SPARK") == "spark"
# An error on PostgreSQL.
INFINITE = (
    "SELECT stddev(x) AS s, var_pop(x) AS p, stddev_pop(x) FILTER (WHERE x < 9) AS f "
    "FROM (VALUES (1e301), (-1e301), (3e0)) v(x)"
)
# What is refused → the construct that the refusal names. alice's employees are found by a recursive policy.
LACKS = {
    "FROM employees": "WITH RECURSIVE", "WITH RECURSIVE": "WITH RECURSIVE", "DISTINCT ON": "DISTINCT ON",
    "LATERAL": "LATERAL", "> ALL": "ALL", ">= ANY": "ANY",
    "LIMIT (SELECT": "LIMIT by a sub-query", "RANGE BETWEEN INTERVAL": "RANGE", "EXCLUDE CURRENT": "EXCLUDE",
    ") IN (SELECT": "several values", ") NOT IN (SELECT": "several values",
    " of %d": "strftime with", "median(": "cannot run the query",
}  # fmt: skip


class Site:
    """The fixture warehouse twice, and everybody's tokens."""

    def __init__(self, server: Server, directory: Path) -> None:
        file = directory / "warehouse.duckdb"
        warehouse.build(file, 0.002)
        policies = warehouse.POLICIES
        url = server.url(write_parquet(file, directory / "parquet"))
        self.duckdb = rls.Engine.open(file, policies=policies, audit=lambda _: None, isolation="thread")
        self.spark = rls.Engine.open(url, policies=policies, audit=lambda _: None, isolation="thread", name="warehouse")
        identity = rls.load_identity(policies)
        key = (warehouse.KEYS / "rs256.private.pem").read_text(encoding="utf-8")
        self.tokens = {
            name: rls.mint_token(
                identity,
                subject=one.subject,
                roles=one.roles,
                attributes=dict(one.attributes),
                issuer="https://app.example",
                key=key,
                lifetime=3600,  # a cluster on a busy machine takes its time
            )
            for name, one in load_personas(policies / "personas.yaml", identity).items()
        }

    def close(self) -> None:
        self.duckdb.close()
        self.spark.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if ON_SPARK:
        from tests.engines.spark.cluster import start_cluster

        server: Server = start_cluster()
    else:
        server = start()
    try:
        made = Site(server, tmp_path_factory.mktemp("warehouse"))
        yield made
        made.close()
    finally:
        server.stop()


@pytest.mark.parametrize("sql", [*EVERYWHERE, *GUARDED, INFINITE])
def test_two_engines_one_answer(site: Site, sql: str) -> None:
    answered: list[Any] = []
    for name in PERSONAS if ON_SPARK else PERSONAS[:2]:
        try:
            actual = site.spark.query(site.tokens[name], sql)
        except rls.QueryRefused as refused:
            assert any(word in sql and named in str(refused) for word, named in LACKS.items()), refused
            continue
        expected = site.duckdb.query(site.tokens[name], sql)
        # The labels of an ENUM are texts in Parquet, and have another order.
        ordered = "ORDER BY" in sql.rpartition(")")[2] and "status" not in sql
        assert actual.columns == expected.columns
        assert actual.types == tuple(map(shown_type, expected.types))
        assert alike(actual.rows, ordered=ordered) == alike(expected.rows, ordered=ordered), name
        assert [list(map(type, row)) for row in actual.rows[:1]] == [
            list(map(type, row)) for row in expected.rows[:1]
        ] or not ordered
        answered.append(actual.rows)
    assert answered or any(word in sql for word in LACKS)


@pytest.mark.parametrize("sql", [*ON_POSTGRES, *(sql for sql, _ in NOT_PORTABLE)])
def test_what_spark_lacks_is_refused_or_answered_alike(site: Site, sql: str) -> None:
    try:
        actual = site.spark.query(site.tokens["bob"], sql)
    except rls.QueryRefused as refused:
        assert refused.code == "query.not_portable"
    else:
        assert alike(actual.rows) == alike(site.duckdb.query(site.tokens["bob"], sql).rows)
