"""PostgreSQL as second engine and as witness: three ways to one answer, on a server of our own.

The same query by the same person, guarded on DuckDB, guarded on PostgreSQL, and as it stands on PostgreSQL under native
row policies that `rls export` wrote. Skips where no PostgreSQL server is installed.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import rls
from fixtures import warehouse
from tests.engines.postgres.kit import start
from tests.engines.witness import Witness, alike
from tests.engines.witness_queries import EVERYWHERE, GUARDED, NOT_PORTABLE, ON_POSTGRES, draw

PERSONAS = ("alice", "bob", "lena", "gina", "hugo", "ines", "soren", "sandy", "nora", "root", "otto")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Witness]:
    directory = tmp_path_factory.mktemp("warehouse")
    file = directory / "warehouse.duckdb"
    warehouse.build(file, 0.002)
    cluster = start()
    try:
        with Witness.of_fixtures(cluster, file) as made:
            yield made
    finally:
        cluster.stop()


@pytest.mark.parametrize("sql", EVERYWHERE)
def test_three_ways_to_one_answer(site: Witness, sql: str) -> None:
    seen = set()
    for name in PERSONAS:
        expected = alike(site.duckdb.query(site.tokens[name], sql).rows)
        assert alike(site.postgres.query(site.tokens[name], sql).rows) == expected, name
        assert alike(site.natively(site.personas[name], sql)) == expected, name
        seen.add(repr(expected))
    # A query that shows everybody the same proves little.
    assert len(seen) > 2


@pytest.mark.parametrize("number", range(20))
def test_three_ways_to_one_answer_of_a_drawn_query(site: Witness, number: int) -> None:
    """Policies by mapping tables, along a hierarchy, by lists and with missing attributes; rows with NULLs."""
    sql = draw(f"witness/{number}")
    for name in PERSONAS[number % 3 :: 3]:
        expected = alike(site.duckdb.query(site.tokens[name], sql).rows)
        assert alike(site.postgres.query(site.tokens[name], sql).rows) == expected, (name, sql)
        assert alike(site.natively(site.personas[name], sql)) == expected, (name, sql)


@pytest.mark.parametrize("sql", [*GUARDED, *ON_POSTGRES])
def test_guarded_alike_on_both_engines(site: Witness, sql: str) -> None:
    for name in PERSONAS:
        expected = site.duckdb.query(site.tokens[name], sql)
        actual = site.postgres.query(site.tokens[name], sql)
        assert (actual.columns, actual.types) == (expected.columns, expected.types)
        ordered = "ORDER BY" in sql
        assert alike(actual.rows, ordered=ordered) == alike(expected.rows, ordered=ordered), name
        kinds = [
            {type(row[at]) for row in result.rows} for result in (actual, expected) for at in range(len(actual.columns))
        ]
        assert kinds[: len(actual.columns)] == kinds[len(actual.columns) :]


@pytest.mark.parametrize(("sql", "construct"), NOT_PORTABLE)
def test_what_postgresql_lacks_is_refused_by_name(site: Witness, sql: str, construct: str) -> None:
    with pytest.raises(rls.QueryRefused) as refused:
        site.postgres.query(site.tokens["bob"], sql)
    assert refused.value.code == "query.not_portable"
    assert construct in str(refused.value)


def test_the_exported_policies_say_everything_about_rows(site: Witness) -> None:
    # But for what trims a text: that one is narrower there.
    lost = [(where, why) for where, why in site.exported.lost if where != "account_managers: own_tenant"]
    assert all("PostgreSQL's policies are about rows" in why for _, why in lost)
