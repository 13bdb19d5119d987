"""Channels below every fence, closed end to end: what a hidden row holds changes neither rows nor errors.

Each case is a database whose hidden rows would raise, as found on DuckDB 2.0 (`tests/attacks/duckdb_facts.jsonl`)."""

from __future__ import annotations

import pytest

from rls.engine import Engine
from rls.errors import QueryFailed, QueryRefused
from rls.identity.mint import mint_token
from tests.engine.kit import build, write_policies

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
    "SELECT length(bitstring_agg(id, 1, 4)) FROM notes": [(4,)],
    "SELECT count(*) FROM notes TABLESAMPLE 100%": [(1,)],
    "SELECT count(*) FROM notes USING SAMPLE 100 PERCENT (system)": [(1,)],
    "SELECT count(*) FROM notes TABLESAMPLE bernoulli(100%) REPEATABLE (3)": [(1,)],
}


@pytest.fixture(scope="module", params=["thread", "process"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    folder = tmp_path_factory.mktemp("channels")
    policies = write_policies(folder, POLICIES)
    path = build(folder / "data.duckdb", DATA)
    opened = Engine.open(path, policies=policies, audit=lambda record: None, isolation=request.param)
    request.addfinalizer(opened.close)
    return opened


REFUSED = {
    "SELECT length(bitstring_agg(id)) FROM notes": "query.function",
    "SELECT struct_extract_at(place, 1) FROM notes": "query.function",
    "SELECT * FROM notes USING SAMPLE reservoir(5 ROWS) REPEATABLE (7)": "query.sample",
}
# An error decides, and it must not depend on what only hidden rows hold: here the maximum of `id` is 2, hidden.
SAME = "SELECT count(*) FROM notes WHERE id BETWEEN {} AND ''"


@pytest.mark.parametrize("sql", REFUSED)
def test_ways_to_ask_for_hidden_rows_are_refused(engine: Engine, sql: str) -> None:
    token = mint_token(engine.policies.identity, subject="u", attributes={"tenant": "acme"})
    with pytest.raises(QueryRefused) as caught:
        engine.query(token, sql)
    assert caught.value.code == REFUSED[sql]


def test_stored_extremes_do_not_decide_between_answer_and_error(engine: Engine) -> None:
    token = mint_token(engine.policies.identity, subject="u", attributes={"tenant": "acme"})
    outcomes = set()
    for bound in (2, 3, 1000):
        try:
            outcomes.add(str(engine.query(token, SAME.format(bound)).rows))
        except QueryFailed as error:
            outcomes.add(error.code)
    assert len(outcomes) == 1


@pytest.mark.parametrize("sql", QUERIES)
def test_hidden_rows_do_not_speak(engine: Engine, sql: str) -> None:
    token = mint_token(engine.policies.identity, subject="u", attributes={"tenant": "acme"})
    assert engine.query(token, sql).rows == QUERIES[sql]
