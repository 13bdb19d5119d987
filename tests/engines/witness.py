"""One database three times: guarded on DuckDB, guarded on PostgreSQL, and under PostgreSQL's own row policies.

The row policies are those that `rls export postgres` writes; `Witness` asks all three as the same person.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import rls
from fixtures import warehouse
from rls.engines.opening import read_catalog_of
from rls.identity.personas import load_personas
from rls.identity.principal import Principal
from rls.lab.exporting.postgres import export_postgres, settings_of
from rls.policy.load import load_policies
from tests.engines.postgres.kit import READER, Cluster, load_database

__all__ = ["Witness", "alike"]


class Witness:
    """Two engines and a connection to the server, and everybody's tokens; `personas` are who may ask."""

    def __init__(
        self,
        cluster: Cluster,
        file: Path,
        *,
        policies: Path,
        personas: Mapping[str, Principal],
        issuer: str,
        key: str | None,
    ) -> None:
        self.cluster, self._name = cluster, file.stem
        load_database(cluster, file, database=self._name)
        self.personas = personas
        identity = rls.load_identity(policies)
        self.tokens = {
            name: rls.mint_token(
                identity,
                subject=one.subject,
                roles=one.roles,
                attributes=dict(one.attributes),
                issuer=issuer,
                key=key,
            )
            for name, one in personas.items()
        }
        self.duckdb = rls.Engine.open(file, policies=policies, audit=lambda _: None, isolation="thread")
        self.postgres = rls.Engine.open(
            cluster.url(self._name, user=READER), policies=policies, audit=lambda _: None, isolation="thread"
        )
        self.policies = load_policies(str(policies))
        self.exported = export_postgres(self.policies, read_catalog_of(file))
        self._install_policies()

    @classmethod
    def of_fixtures(cls, cluster: Cluster, file: Path) -> Witness:
        """For a fixture warehouse."""
        policies = warehouse.POLICIES
        return cls(
            cluster,
            file,
            policies=policies,
            personas=load_personas(policies / "personas.yaml", rls.load_identity(policies)),
            issuer="https://app.example",
            key=(warehouse.KEYS / "rs256.private.pem").read_text(encoding="utf-8"),
        )

    def _install_policies(self) -> None:
        import psycopg

        with psycopg.connect(self.cluster.url(self._name), autocommit=True) as connection:
            for statement in self.exported.statements:
                if not statement.startswith("--"):
                    connection.execute(statement)
            # Our own guards are judged alone: the reader of the engine is let through by every native policy.
            for (table,) in connection.execute(
                "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE rowsecurity"
            ).fetchall():
                connection.execute(f"CREATE POLICY everything ON {table} FOR SELECT TO {READER} USING (true)")
            if not connection.execute("SELECT FROM pg_roles WHERE rolname = 'asker'").fetchall():
                connection.execute("CREATE ROLE asker LOGIN")
            for (schema,) in connection.execute(
                "SELECT DISTINCT schemaname FROM pg_tables WHERE rowsecurity"
            ).fetchall():
                connection.execute(f"GRANT USAGE ON SCHEMA {schema} TO asker")
                connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO asker")
        self._native = psycopg.connect(self.cluster.url(self._name, user="asker"), autocommit=True)

    def natively(self, who: Principal, sql: str) -> list[tuple[Any, ...]]:
        """The query as it stands, under PostgreSQL's own row security."""
        settings = settings_of(who, self.policies.attributes)
        roles = "{" + ",".join(f'"{role}"' for role in sorted(who.roles)) + "}"
        for name, value in {**settings, "rls.subject": who.subject, "rls.roles": roles}.items():
            self._native.execute("SELECT set_config(%s, %s, false)", [name, value])
        return self._native.execute(sql).fetchall()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.duckdb.close()
        self.postgres.close()
        self._native.close()


def alike(rows: list[tuple[Any, ...]], *, ordered: bool = False) -> list[tuple[Any, ...]]:
    """Rows for comparing: sums of floating-point numbers depend on their order, so such numbers have twelve digits."""
    shown = [tuple(float(f"{value:.12g}") if isinstance(value, float) else value for value in row) for row in rows]
    return shown if ordered else sorted(shown, key=repr)
