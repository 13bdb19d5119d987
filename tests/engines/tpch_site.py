"""TPC-H three times, on DuckDB, on PostgreSQL and under PostgreSQL's own row security, at any scale."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import rls
from benchmarks.cases import CASES
from benchmarks.tpch import build_tpch
from rls.engines.postgres.executor import PostgresExecutor
from rls.identity.personas import load_personas
from rls.policy.load import load_policies
from rls.rewrite.templates import Templates
from tests.engines.postgres.kit import READER, start
from tests.engines.witness import Witness
from tests.policy.cases import person

__all__ = ["PERSONAS", "Site", "open_site"]

POLICIES = CASES / "tpch" / "policies"
PERSONAS = ("clustered", "mapped", "unclustered")


class Site:
    """The three ways, and a fourth that shows everything, for texts without guards."""

    def __init__(self, witness: Witness, everything: PostgresExecutor, directory: Path) -> None:
        self.witness = witness
        (directory / "identity.yaml").write_text((POLICIES / "identity.yaml").read_text(encoding="utf-8"))
        names = {relation.name for relation in everything.catalog.relations.values()}
        (directory / "all.yaml").write_text(
            "\n---\n".join(f"{{relation: {name}, public: true}}" for name in sorted(names))
        )
        self._templates = Templates(
            load_policies(str(directory), keys="none"), everything.catalog, target=everything.target
        )

    def url(self, *, owner: bool = False) -> str:
        """The database on the server, for the role that only reads, or its owner."""
        return self.witness.cluster.url("tpch", **({} if owner else {"user": READER}))

    def bare(self, sql: str) -> str:
        """A query in PostgreSQL's SQL, without any guard."""
        return self._templates.guard(sql, person(), {}).sql


@contextmanager
def open_site(directory: Path, *, scale: float) -> Iterator[Site]:
    """A site in a directory, on a server of its own. Skips where there is none."""
    cluster = start()
    try:
        file = build_tpch(directory, scale=scale).rename(directory / "tpch.duckdb")
        identity = rls.load_identity(POLICIES)
        personas = dict(load_personas(POLICIES / "personas.yaml", identity))
        shares = {"last_order": int(6_000_000 * scale / 10), "last_customer": int(150_000 * scale / 10)}
        personas["clustered"] = replace(personas["clustered"], attributes=shares)
        with Witness(
            cluster, file, policies=POLICIES, personas=personas, issuer="https://bench.example", key=None
        ) as witness:
            everything = PostgresExecutor.open(cluster.url("tpch", user=READER), isolation="thread")
            (directory / "public").mkdir()
            yield Site(witness, everything, directory / "public")
            everything.close()
    finally:
        cluster.stop()
