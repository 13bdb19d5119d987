"""A text that only hidden rows hold is in the dictionary of its column: nothing of the caller's runs on it."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from rls.catalog import Catalog, Column, Relation
from rls.engine import Engine
from rls.identity.mint import mint_token
from rls.identity.principal import Principal
from rls.policy.load import load_policies
from rls.rewrite.guard import guard
from tests.engine.kit import write_policies

POLICIES = """
relation: o
policies:
  - {name: own, using: tenant = user.tenant}
columns:
  m: {mask: "left(m, 12)"}
"""
TEXT = "CASE WHEN i % 10 < 8 THEN 'v' || (i % 5) ELSE '{hidden}' END"
SETUP = f"""CREATE TABLE o AS SELECT CASE WHEN i % 10 < 8 THEN 'a' ELSE 'b' END AS tenant, {TEXT} AS t, {TEXT} AS m,
    {{{{'a': {TEXT}}}}} AS st, ({TEXT})::BLOB AS bl, union_value(a := {TEXT}) AS un,
    ({TEXT})::ENUM('v0', 'v1', 'v2', 'v3', 'v4', 'none', 'SECRET-7') AS e FROM range(20000) r(i)"""


def doubled(text: str, times: int = 34) -> str:
    return "hex(" * times + f"regexp_extract({text}, 'SECRET-7.*')" + ")" * times


@pytest.fixture(scope="module", params=["none", "SECRET-7"])
def asked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> object:
    folder = tmp_path_factory.mktemp("dictionaries")
    with duckdb.connect(str(folder / "w.duckdb")) as connection:
        connection.execute(SETUP.format(hidden=request.param))
        connection.execute("CHECKPOINT")
    policies = write_policies(folder / "policies", POLICIES)
    with Engine.open(folder / "w.duckdb", policies=policies, audit=folder / "audit.jsonl") as engine:
        token = mint_token(
            engine.policies.identity, subject="u", roles=["explorer"], attributes={"tenant": "a"}, lifetime=600
        )
        yield lambda sql: engine.query(token, sql).rows


@pytest.mark.parametrize("text", ["t", "m", "st.a", "bl::VARCHAR", "un.a", "e", "upper(t)"])
def test_what_grows_runs_on_visible_texts_only(asked: object, text: str) -> None:
    assert callable(asked)
    assert asked(f"SELECT count(length({doubled(text)})) FROM o") == [(16000,)]
    assert asked(f"SELECT count(*) FROM (SELECT * FROM o) o WHERE {doubled(text)} = 'a'") == [(0,)]


REST = "string_split(t, 'SECRET')[2]"
"""NULL, but for a text that visible rows do not have."""


def nested(around: str, times: int) -> str:
    """`around` about itself, about what no visible text has."""
    text = REST
    for _ in range(times):
        text = around.replace("{}", text)
    return text


@pytest.mark.parametrize(
    "text",
    [
        nested("concat_ws({}" + ", ''" * 100 + ")", 6),
        nested("string_split({}, '')::VARCHAR", 24),
    ],
    ids=["separator", "lists of letters"],
)
def test_what_adds_up_runs_on_visible_texts_only(asked: object, text: str) -> None:
    assert callable(asked)
    assert asked(f"SELECT count(length({text})) FROM o") == [(0,)]


@pytest.mark.parametrize(
    ("sql", "flat"),
    [
        ("SELECT concat_ws(t, 'a', 'b') FROM o", True),
        ("SELECT concat_ws(',', t, 'b') FROM o WHERE id::INTEGER > 0", False),
        ("SELECT string_split(t, ',')[1] FROM o WHERE t::INTEGER > 0", False),
        ("SELECT string_split(t, ',')::VARCHAR FROM o", True),
        ("SELECT t::BLOB::BIT::VARCHAR FROM o", True),
        ("SELECT t || $p FROM o", True),
        ("SELECT [x || x FOR x IN l] FROM o", True),
        (f"SELECT t{' || t' * 61} FROM o", True),
        ("SELECT replace(t, 'a', m) FROM o", True),
        ("SELECT replace(t, 'a', 'b') FROM o", False),
        ("SELECT t.hex() FROM o", False),
        ("SELECT t.hex().hex().hex().hex().hex() FROM o", True),
        (f"SELECT t || '{'x' * 1001}' FROM o", True),
        ("SELECT string_agg(t, ','), row_number() OVER () FROM o", False),
        ("SELECT md5(t) FROM o WHERE regexp_matches(t, 'a$')", False),
        ("SELECT upper(t), CAST(t AS INTEGER) FROM o", False),
    ],
)
def test_columns_are_flat_where_something_grows(tmp_path: Path, sql: str, flat: bool) -> None:
    types = {"tenant": "VARCHAR", "n": "DECIMAL(9,2)", "t": "VARCHAR", "m": "VARCHAR", "l": "DECIMAL(9,2)[]"}
    types["id"] = "INTEGER"
    relation = Relation(("main",), "o", tuple(Column(name, type_) for name, type_ in types.items()))
    principal = Principal("u", roles=frozenset({"explorer"}), attributes={"tenant": "a"})
    policies = load_policies(str(write_policies(tmp_path, POLICIES)))
    text = guard(sql, principal, policies, Catalog.of("w", [relation])).sql
    assert [f'TRY("{name}")' in text for name in types] == [flat, False, flat, False, flat, False]
    assert ("list_extract([" in text) is flat
