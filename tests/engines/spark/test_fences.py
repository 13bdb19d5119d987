"""The facts that guards on Spark rest on: which sub-queries its optimizer, and Sail's, move a caller's expression into.

Each query casts a text that is no number on hidden rows only. Run on Sail; with RLS_SPARK=spark and SPARK_HOME, on Spark.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from rls.rewrite.port.spark import Sail, Spark
from rls.rewrite.port.target import Target
from tests.engines.spark.kit import Server, start

SHAPES = [
    "SELECT count(*) FROM {g} o WHERE CAST(s AS INT) >= 0",
    "SELECT id FROM {g} o ORDER BY CAST(s AS INT) LIMIT 1",
    "SELECT count(*) FROM {g} o JOIN {t} p ON CAST(o.s AS INT) = p.id",
    "SELECT count(*) FROM {t} p JOIN {g} o ON CAST(o.s AS INT) = p.id WHERE p.n < 1000",
    "SELECT count(*) FROM {t} p LEFT JOIN {g} o ON CAST(o.s AS INT) = p.id WHERE o.id IS NOT NULL",
    "SELECT sum(CAST(s AS INT)) FROM {g} o",
    "SELECT count(*) FROM {t} p WHERE EXISTS (SELECT 1 FROM {g} o WHERE CAST(o.s AS INT) = p.id)",
    "SELECT count(*) FROM {t} p WHERE p.id IN (SELECT CAST(o.s AS INT) FROM {g} o)",
    "SELECT count(*) FROM {t} p WHERE p.id NOT IN (SELECT CAST(o.s AS INT) FROM {g} o)",
    "SELECT (SELECT max(CAST(o.s AS INT)) FROM {g} o)",
    "SELECT * FROM (SELECT CAST(s AS INT) v, id FROM {g} o) x WHERE v > 5",
    "SELECT v, count(*) FROM (SELECT CAST(s AS INT) v, id FROM {g} o) x GROUP BY v HAVING v > 5",
    "SELECT * FROM (SELECT id, row_number() OVER (PARTITION BY CAST(s AS INT) ORDER BY id) n FROM {g} o) WHERE n = 1",
    "WITH w AS (SELECT * FROM {g} o) SELECT count(*) FROM w a JOIN w b ON CAST(a.s AS INT) = CAST(b.s AS INT)",
    "SELECT count(*) FROM {g} o WHERE CAST(s AS INT) >= 0 AND id < 50 LIMIT 10",
    "SELECT CAST(s AS INT) FROM {g} o UNION ALL SELECT id FROM {t}",
    "SELECT DISTINCT CAST(s AS INT) FROM {g} o",
    "SELECT min(CAST(s AS INT)) FILTER (WHERE n > 0) FROM {g} o",
]
FILTERS = [
    "tenant = 'acme'",
    "tenant IN (SELECT CASE WHEN id > -1 THEN 'acme' END FROM {t})",
    "tenant = 'acme' OR tenant IN (SELECT CAST(id AS STRING) FROM {t})",
    "array_contains(array('acme', 'x'), tenant)",
]


class Site:
    """A session, and what its engine's fence is."""

    def __init__(self, server: Server, directory: Path) -> None:
        from pyspark.sql.connect.session import SparkSession

        directory.mkdir()
        file = directory / "t.parquet"
        with duckdb.connect() as connection:
            connection.execute(
                f"""COPY (SELECT i::INTEGER AS id, CASE WHEN i % 2 = 0 THEN 'acme' ELSE 'globex' END AS tenant,
                    i::INTEGER AS n, CASE WHEN i % 2 = 0 THEN i::VARCHAR ELSE 'CANARY' END AS s FROM range(100) t(i))
                    TO '{file}' (FORMAT parquet)"""
            )
        self.session: Any = SparkSession.builder.remote(f"sc://127.0.0.1:{server.port}").create()
        self.session.read.parquet(str(file)).createOrReplaceTempView("t")
        spark = os.environ.get("RLS_SPARK") == "spark"
        self.sql = Spark(Target(engine="spark")) if spark else Sail(Target(engine="sail"))

    def leaks(self, shape: str, guard: str) -> bool:
        """Whether the cast met a hidden row."""
        try:
            self.session.sql(shape.replace("{g}", f"({guard})").replace("{t}", "t")).toArrow()
        except Exception as error:  # noqa: BLE001 - the client's errors have no common class
            assert "CANARY" in str(error) or "CAST_INVALID_INPUT" in str(error), error
            return True
        return False


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if os.environ.get("RLS_SPARK") == "spark":
        from tests.engines.spark.cluster import start_cluster

        server: Server = start_cluster()
    else:
        server = start()
    site = None
    try:
        site = Site(server, tmp_path_factory.mktemp("fences") / "data")
        yield site
    finally:
        if site is not None:
            # Left open, it asks a server that is gone when the process ends, for minutes.
            site.session.stop()
        server.stop()


@pytest.mark.parametrize("condition", FILTERS)
def test_nothing_is_moved_below_the_fence(site: Site, condition: str) -> None:
    guard = site.sql.fenced(f"SELECT * FROM t WHERE {condition}".replace("{t}", "t"))
    assert [shape for shape in SHAPES if site.leaks(shape, guard)] == []


def test_without_it_much_is(site: Site) -> None:
    found = {
        condition: [
            shape for shape in SHAPES if site.leaks(shape, f"SELECT * FROM t WHERE {condition}".replace("{t}", "t"))
        ]
        for condition in FILTERS
    }
    # The plainest of all: a condition of the caller's beside a policy by a mapping table.
    assert SHAPES[0] in found[FILTERS[1]]
    assert len(found[FILTERS[2]]) >= 4


def test_a_condition_that_looks_at_chance_is_no_fence(site: Site) -> None:
    guard = f"SELECT * FROM t WHERE {FILTERS[1]} AND rand() >= 0".replace("{t}", "t")
    assert site.leaks(SHAPES[0], guard)


@pytest.mark.skipif(os.environ.get("RLS_SPARK") == "spark", reason="only Sail looks at statistics")
def test_sail_casts_statistics_of_hidden_rows_but_no_function_of_them(site: Site) -> None:
    """No row of ten is too large, the largest of all is; a fence is of no use."""
    guard = site.sql.fenced("SELECT * FROM t WHERE id < 10")
    product = "(CAST(n AS BIGINT) * 100000000)"
    counted = f"SELECT count(*) AS n FROM ({guard}) o WHERE n <= CAST({{}} AS INT)"
    with pytest.raises(Exception, match="9900000000"):
        site.session.sql(counted.format(product)).toArrow()
    assert site.session.sql(counted.format(f"nullif({product}, NULL)")).toArrow().to_pydict() == {"n": [10]}
