"""TPC-H on DuckDB, on PostgreSQL and under PostgreSQL's own row security: the same answers for every persona.

The native way runs the text that the engine would run for somebody who sees everything: names and functions are ported,
no guard hides a row. Skips where no PostgreSQL server is installed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import rls
from benchmarks.cases import CASES, Case, load_cases
from benchmarks.tpch import build_tpch
from rls.engines.postgres.executor import PostgresExecutor
from rls.identity.personas import load_personas
from rls.policy.load import load_policies
from rls.rewrite.templates import Templates
from tests.policy_cases import person
from tests.postgres_kit import READER, start
from tests.witness import Witness, alike

SCALE = 0.001
POLICIES = CASES / "tpch" / "policies"
# `unclustered` has a policy that is lost on export: its answers are compared two ways.
PERSONAS = ("clustered", "mapped", "unclustered")
# At this scale they find the same for everybody, mostly nothing.
UNIFORM = frozenset(("q02", "q03", "q05", "q07", "q08", "q11", "q16", "q17", "q18", "q19", "q20", "q21"))


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

    def bare(self, sql: str) -> str:
        """A query in PostgreSQL's SQL, without any guard."""
        return self._templates.guard(sql, person(), {}).sql


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    cluster = start()
    directory = tmp_path_factory.mktemp("tpch")
    try:
        file = build_tpch(directory, scale=SCALE).rename(directory / "tpch.duckdb")
        identity = rls.load_identity(POLICIES)
        personas = dict(load_personas(POLICIES / "personas.yaml", identity))
        shares = {"last_order": int(6_000_000 * SCALE / 10), "last_customer": int(150_000 * SCALE / 10)}
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


@pytest.mark.parametrize("case", load_cases("tpch/queries"), ids=lambda case: case.name)
def test_tpch(site: Site, case: Case) -> None:
    bare = site.bare(case.sql)
    for name in PERSONAS:
        expected = site.witness.duckdb.query(site.witness.tokens[name], case.sql)
        actual = site.witness.postgres.query(site.witness.tokens[name], case.sql)
        assert (actual.columns, actual.types) == (expected.columns, expected.types)
        assert alike(actual.rows) == alike(expected.rows), name
        if name == "unclustered":
            continue
        natively = [tuple(map(plain, row)) for row in site.witness.natively(site.witness.personas[name], bare)]
        assert alike(natively) == alike([tuple(map(plain, row)) for row in expected.rows]), name
    rows = {repr(site.witness.duckdb.query(token, case.sql).rows) for token in site.witness.tokens.values()}
    assert len(rows) > 1 or case.name in UNIFORM


def plain(value: object) -> object:
    """Numbers by their value: without the engine's conversions, PostgreSQL gives whole sums as decimals."""
    from decimal import Decimal

    return float(value) if isinstance(value, int | Decimal) and not isinstance(value, bool) else value
