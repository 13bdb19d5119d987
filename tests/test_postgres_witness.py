"""PostgreSQL as second engine and as witness: three ways to one answer, on a server of our own.

The same query by the same person, guarded on DuckDB, guarded on PostgreSQL, and as it stands on PostgreSQL under native
row policies that `rls export` wrote. Skips where no PostgreSQL server is installed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import rls
from fixtures import warehouse
from rls.engines.duckdb import DuckDBExecutor
from rls.identity.personas import load_personas
from rls.identity.principal import Principal
from rls.lab.exporting.postgres import export_postgres, settings_of
from rls.policy.load import load_policies
from tests.postgres_kit import READER, Cluster, load_database, start
from tests.witness_queries import EVERYWHERE, GUARDED, NOT_PORTABLE

PERSONAS = ("alice", "bob", "lena", "gina", "hugo", "ines", "soren", "sandy", "nora", "root", "otto")


class Site:
    """The fixture warehouse three times, and everybody's tokens."""

    def __init__(self, cluster: Cluster, directory: Path) -> None:
        self.cluster = cluster
        file = directory / "warehouse.duckdb"
        warehouse.build(file, 0.002)
        load_database(cluster, file, database="warehouse")
        policies = warehouse.POLICIES
        self.duckdb = rls.Engine.open(file, policies=policies, audit=lambda _: None, isolation="thread")
        self.records: list[dict[str, Any]] = []
        self.postgres = rls.Engine.open(
            cluster.url("warehouse", user=READER),
            policies=policies,
            audit=self.records.append,
            isolation="thread",
        )
        identity = rls.load_identity(policies)
        self.personas = load_personas(policies / "personas.yaml", identity)
        key = (warehouse.KEYS / "rs256.private.pem").read_text(encoding="utf-8")
        self.tokens = {
            name: rls.mint_token(
                identity,
                subject=one.subject,
                roles=one.roles,
                attributes=dict(one.attributes),
                issuer="https://app.example",
                key=key,
            )
            for name, one in self.personas.items()
        }
        self._install_policies(file)

    def _install_policies(self, file: Path) -> None:
        import psycopg

        self.policies = load_policies(str(warehouse.POLICIES))
        executor = DuckDBExecutor.open(file)
        self.exported = export_postgres(self.policies, executor.catalog.attached_as("warehouse"))
        executor.close()
        with psycopg.connect(self.cluster.url("warehouse"), autocommit=True) as connection:
            for statement in self.exported.statements:
                if not statement.startswith("--"):
                    connection.execute(statement)
            # Our own guards are judged alone: the reader of the engine is let through by every native policy.
            for (table,) in connection.execute(
                "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE rowsecurity"
            ).fetchall():
                connection.execute(f"CREATE POLICY everything ON {table} FOR SELECT TO {READER} USING (true)")
            connection.execute("CREATE ROLE asker LOGIN")
            for schema in ("public", "finance"):
                connection.execute(f"GRANT USAGE ON SCHEMA {schema} TO asker")
                connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO asker")
        self.native = psycopg.connect(self.cluster.url("warehouse", user="asker"), autocommit=True)

    def natively(self, who: Principal, sql: str) -> list[tuple[Any, ...]]:
        """The query as it stands, under PostgreSQL's own row security."""
        settings = settings_of(who, self.policies.attributes)
        roles = "{" + ",".join(f'"{role}"' for role in sorted(who.roles)) + "}"
        for name, value in {**settings, "rls.subject": who.subject, "rls.roles": roles}.items():
            self.native.execute("SELECT set_config(%s, %s, false)", [name, value])
        return self.native.execute(sql).fetchall()

    def close(self) -> None:
        self.duckdb.close()
        self.postgres.close()
        self.native.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    cluster = start()
    try:
        made = Site(cluster, tmp_path_factory.mktemp("warehouse"))
        yield made
        made.close()
    finally:
        cluster.stop()


def alike(rows: list[tuple[Any, ...]], *, ordered: bool = False) -> list[tuple[Any, ...]]:
    """Rows for comparing: sums of floating-point numbers depend on their order, so such numbers have twelve digits."""
    shown = [tuple(float(f"{value:.12g}") if isinstance(value, float) else value for value in row) for row in rows]
    return shown if ordered else sorted(shown, key=repr)


@pytest.mark.parametrize("sql", EVERYWHERE)
def test_three_ways_to_one_answer(site: Site, sql: str) -> None:
    seen = set()
    for name in PERSONAS:
        expected = alike(site.duckdb.query(site.tokens[name], sql).rows)
        assert alike(site.postgres.query(site.tokens[name], sql).rows) == expected, name
        assert alike(site.natively(site.personas[name], sql)) == expected, name
        seen.add(repr(expected))
    # A query that shows everybody the same proves little.
    assert len(seen) > 2


@pytest.mark.parametrize("sql", GUARDED)
def test_guarded_alike_on_both_engines(site: Site, sql: str) -> None:
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
def test_what_postgresql_lacks_is_refused_by_name(site: Site, sql: str, construct: str) -> None:
    with pytest.raises(rls.QueryRefused) as refused:
        site.postgres.query(site.tokens["bob"], sql)
    assert refused.value.code == "query.not_portable"
    assert construct in str(refused.value)


def test_the_exported_policies_say_everything_about_rows(site: Site) -> None:
    assert all("PostgreSQL's policies are about rows" in why for _, why in site.exported.lost)
