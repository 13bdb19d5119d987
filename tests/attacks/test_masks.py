"""What stands under a mask is hidden, in a relation whose rows all are to be seen as well: stored extremes and
dictionaries of the masked columns tell nothing of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest

from rls.engine import Engine
from rls.errors import QueryFailed
from rls.identity.mint import mint_token
from tests.engine.kit import write_policies

POLICIES = """
relation: o
public: true
columns:
  n: {mask: "CASE WHEN tenant = user.tenant THEN n ELSE 0 END"}
  capped: {mask: "coalesce(shown, capped)"}
  day: {mask: "CASE WHEN tenant = user.tenant THEN day ELSE DATE '2024-01-01' END"}
  t: {mask: "CASE WHEN tenant = user.tenant THEN t END"}
"""
SETUP = """CREATE TABLE o AS SELECT if(i < 16000, 'a', 'b') AS tenant, if(i < 16000, 3, {number}) AS n, 'word' AS word,
    if(i < 16000, 3, {number}) AS capped, if(i < 16000, NULL, 3) AS shown, if(i < 16000, 'v' || (i % 5), '{text}') AS t,
    if(i < 16000, DATE '2024-01-01', DATE '{day}') AS day FROM range(20000) r(i)"""
HIDDEN = {
    "mild": {"number": 4, "text": "none", "day": "2024-01-01"},
    "extreme": {"number": 777, "text": "SECRET-7", "day": "5877642-06-25 (BC)"},
}
GROWN = "hex(" * 34 + "regexp_extract(t, 'SECRET-7.*')" + ")" * 34


@pytest.fixture(scope="module", params=HIDDEN)
def asked(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], object]]:
    folder = tmp_path_factory.mktemp("masks")
    with duckdb.connect(str(folder / "w.duckdb")) as connection:
        connection.execute(SETUP.format(**HIDDEN[request.param]))
    policies = write_policies(folder / "policies", POLICIES)
    with Engine.open(folder / "w.duckdb", policies=policies, audit=folder / "audit.jsonl") as engine:
        token = mint_token(engine.policies.identity, subject="u", attributes={"tenant": "a"}, lifetime=600)

        def ask(sql: str) -> object:
            try:
                return engine.query(token, sql).rows
            except QueryFailed as error:
                return error.code

        yield ask


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        *(
            (f"SELECT DISTINCT CAST(word AS INTEGER) = 5 AND {column} > {bound} FROM o", "run.cast")
            for column in ("n", "capped")
            for bound in (5, 776, 777)
        ),
        ("SELECT DISTINCT week(day) FROM o", [(1,)]),
        (f"SELECT count(length({GROWN})) FROM o", [(16000,)]),
        ("SELECT count(*) FROM o WHERE n > 2", [(16000,)]),
    ],
)
def test_what_a_mask_hides_does_not_decide(asked: Callable[[str], object], sql: str, expected: object) -> None:
    assert asked(sql) == expected


def test_a_mask_that_reads_no_column_hides_nothing(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "w.duckdb")) as connection:
        connection.execute(SETUP.format(**HIDDEN["mild"]))
    policies = write_policies(tmp_path / "policies", 'relation: o\npublic: true\ncolumns: {n: {mask: "0"}}\n')
    with Engine.open(tmp_path / "w.duckdb", policies=policies, audit=lambda record: None) as engine:
        token = mint_token(engine.policies.identity, subject="u", attributes={"tenant": "a"}, lifetime=600)
        assert not engine.explain(token, "SELECT CAST(word AS INTEGER) = 5 AND n > 5 FROM o").hide_statistics
