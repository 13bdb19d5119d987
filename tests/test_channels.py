"""Channels below every fence, closed end to end: what a hidden row holds changes neither rows nor errors.

Each case is a database whose hidden rows would raise, as found on DuckDB 2.0 (`tests/attacks/duckdb_facts.jsonl`)."""

from __future__ import annotations

import pytest

from rls.engine import Engine
from rls.identity.mint import mint_token
from tests.engine_kit import build, write_policies

DATA = """
CREATE TYPE mood AS ENUM ('calm', 'hidden_label');
CREATE TABLE notes AS SELECT * FROM (VALUES
  (1, 'acme', {'a': '1', 'm': 'calm'::mood}, DATE '2024-01-01', 5::UHUGEINT, 2::UHUGEINT, '7', [1.0, 2.0]),
  (2, 'globex', {'a': 'x', 'm': 'hidden_label'::mood}, DATE '5877642-06-25 (BC)', 0::UHUGEINT,
   340282366920938463463374607431768211455::UHUGEINT, 'nope', [NULL, 2.0])
) t(id, tenant, place, day, a, b, code, scores);
"""
POLICIES = """
relation: notes
policies:
  - name: own_tenant
    using: tenant = user.tenant
"""
QUERIES = {
    "SELECT place.a::INTEGER FROM notes": [(1,)],
    "SELECT id FROM notes WHERE place.a = 1": [(1,)],
    "SELECT n.place.a::INTEGER + 1 FROM notes AS n": [(2,)],
    "SELECT s.a::INTEGER FROM (SELECT place AS s FROM notes)": [(1,)],
    "SELECT place.m FROM notes": [("calm",)],
    "SELECT week(day), isoyear(day), yearweek(day) FROM notes": [(1, 2024, 202401)],
    "SELECT date_trunc('week', day)::VARCHAR FROM notes": [("2024-01-01 00:00:00",)],
    "SELECT extract('week' FROM day) FROM notes": [(1,)],
    "SELECT code::INTEGER FROM notes": [(7,)],
    "SELECT id FROM notes WHERE code = 7": [(1,)],
    "SELECT (a - b)::INTEGER FROM notes": [(3,)],
}


@pytest.fixture(scope="module", params=["thread", "process"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    folder = tmp_path_factory.mktemp("channels")
    policies = write_policies(folder, POLICIES)
    path = build(folder / "data.duckdb", DATA)
    opened = Engine.open(path, policies=policies, audit=lambda record: None, isolation=request.param)
    request.addfinalizer(opened.close)
    return opened


@pytest.mark.parametrize("sql", QUERIES)
def test_hidden_rows_do_not_speak(engine: Engine, sql: str) -> None:
    token = mint_token(engine.policies.identity, subject="u", attributes={"tenant": "acme"})
    assert engine.query(token, sql).rows == QUERIES[sql]
