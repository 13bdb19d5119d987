"""Hidden rows are changed and nothing visible may change; a product without one of its protections is found out."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest

from rls.cli.app import run
from rls.lab.diff.revisions import open_revision
from rls.lab.leaks.check import Findings, _Pair, find_leaks
from rls.lab.leaks.copies import make_copy, plan_copies, same_view
from rls.lab.leaks.provoking import provoking_values
from rls.lab.leaks.questions import split_queries
from rls.lab.leaks.shrink import shrink
from rls.lab.world.world import open_live
from tests.fuzz.weaken import without
from tests.policy.cases import write_policies

PERSONAS = """
personas:
  amir: {subject: u-1, roles: [explorer], attributes: {tenant: acme, regions: [EMEA]}}
"""
POLICIES = """
relation: orders
policies:
  - {name: own, using: "tenant_id = user.tenant OR id IN (SELECT order_id FROM shares WHERE who = user.subject)"}
columns:
  margin: {deny: true}
---
relation: shares
policies:
  - {name: own, using: who = user.subject}
---
relation: notes
policies:
  - {name: own, using: "tenant_id IN ('acme', 'nobody')"}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of two tenants' orders and the policies for it."""
    folder = tmp_path_factory.mktemp("leaks")
    with duckdb.connect(str(folder / "shop.duckdb")) as connection:
        connection.execute(
            "CREATE TABLE orders AS SELECT i AS id, ['acme', 'globex'][1 + i % 2] AS tenant_id, i::VARCHAR AS code,"
            " (i / 10)::DECIMAL(9,2) AS amount, i AS margin FROM range(60) t(i)"
        )
        connection.execute("CREATE TABLE notes AS SELECT id, tenant_id, code FROM orders")
        connection.execute(
            "CREATE TABLE shares AS SELECT i AS order_id, ['u-1', 'u-2'][1 + i % 3 % 2] AS who FROM range(30) t(i)"
        )
    write_policies(folder / "policies", {"personas.yaml": PERSONAS, "orders.yaml": POLICIES})
    return folder


def look(place: Path, *queries: str, rounds: int = 2, seed: int = 1) -> Findings:
    revision = open_revision(str(place / "policies"))
    who = ("amir", revision.personas["amir"])
    return find_leaks(place / "shop.duckdb", revision.policies, who, queries=queries, rounds=rounds, seed=seed)


CAST = "SELECT count(*) AS n FROM notes n LEFT JOIN shares s ON n.tenant_id = s.who WHERE CAST(n.code AS INTEGER) = 4 AND n.id < 1000"


def test_a_whole_product_leaks_nothing(place: Path) -> None:
    found = look(place, CAST, "SELECT * FROM orders", "SELECT max(amount) FROM orders", "SELECT margin FROM orders")
    assert (found.leaks, found.asked, found.refused) == ((), 8, 1)
    assert set(found.hidden_tables) == {"notes", "orders", "shares"}


@pytest.mark.parametrize(
    ("protection", "query"), [("filter", "SELECT count(*), min(CAST(code AS INTEGER)) FROM orders"), ("fence", CAST)]
)
def test_a_missing_protection_is_found_with_a_small_query(place: Path, protection: str, query: str) -> None:
    with without(protection):
        found = look(place, "SELECT 1", query, rounds=3)
    (leak,) = found.leaks
    assert leak.query == query
    assert len(leak.smallest) < len(query)
    assert leak.answers[0] != leak.answers[1]


def test_what_sql_leaves_open_is_no_leak(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Pair, "_ask", lambda _, which, query: ("rows", (), (which,), 1, query))
    queries = (
        "SELECT id FROM orders LIMIT 3",
        "SELECT 1 / 0",
        "SELECT CAST(code AS DATE) FROM notes",
        "SELECT max(id) FROM orders",
    )
    found = look(place, *queries, rounds=1)
    # A visible row may fail, so it may be met first in one copy and not in the other.
    assert found.open == (queries[0], queries[2])
    assert [leak.query for leak in found.leaks] == [queries[1], queries[3]]


def test_copies_look_the_same_and_hidden_rows_differ(place: Path, tmp_path: Path) -> None:
    revision = open_revision(str(place / "policies"))
    principal = revision.personas["amir"]
    with open_live(place / "shop.duckdb", revision.policies, {"amir": principal}) as world:
        catalog = world.catalog.attached_as("copied").from_schema(("main",))
        grants = {r.key: revision.policies.grant(r, principal, catalog) for r in world.tables()}
    plan = plan_copies(place / "shop.duckdb", catalog, revision.policies, grants, rows=100, keep_mapping_tables=True)
    assert plan.frozen == {("main", "shares")}
    paths = [tmp_path / name / "shop.duckdb" for name in "ab"]
    for path, mode in zip(paths, ("extreme", "none"), strict=True):
        path.parent.mkdir()
        make_copy(plan, path, seed="1", like=mode)  # type: ignore[arg-type]
    assert same_view(plan, paths) == []
    counts = [duckdb.connect(str(p), read_only=True).execute("SELECT count(*) FROM orders").fetchone() for p in paths]
    assert counts[0] == (60,)
    assert counts[1] is not None
    assert counts[1][0] < 60


@pytest.mark.parametrize(
    "type_",
    [
        "VARCHAR",
        "INTEGER",
        "HUGEINT",
        "DECIMAL(9,2)",
        "DECIMAL(4,4)",
        "DOUBLE",
        "DATE",
        "TIMESTAMP",
        "BOOLEAN",
        "UUID",
        "ENUM('a', 'it''s')",
    ],
)
def test_provoking_values_are_values_of_their_type(type_: str) -> None:
    values = provoking_values(type_)
    assert values
    duckdb.execute("SELECT " + ", ".join(f"CAST({v} AS {type_})" for v in values))


def test_provoking_values_of_an_unknown_type_are_none() -> None:
    assert provoking_values("GEOMETRY") == ()


def test_queries_of_a_file() -> None:
    assert split_queries("SELECT ';'; ;\n-- done\nSELECT 2 -- last\n") == ["SELECT ';'", "-- done\nSELECT 2 -- last"]


def test_the_shrinker_keeps_what_it_is_asked_for() -> None:
    sql = "SELECT a, b + 1 AS c FROM t JOIN u USING (id) WHERE x > 1 AND CAST(code AS INT) = 3 ORDER BY a LIMIT 5"
    found = shrink(sql, lambda text: "CAST(code AS INT)" in text and "FROM t" in text)
    assert "CAST(code AS INT)" in found
    assert len(found) < 50


def test_the_command(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "q.sql").write_text(f"{CAST};\nSELECT count(*) FROM orders")
    command = ["leaks", str(place / "policies"), "--database", str(place / "shop.duckdb"), "--rounds", "1"]
    assert run([*command, "--queries", str(tmp_path / "q.sql"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["amir"]["asked"] == 2
    with without("filter"):
        assert run([*command, "--queries", str(tmp_path / "q.sql"), "--seed", "3"]) == 1
    assert "leak amir" in capsys.readouterr().out
    assert run([*command, "--as", "nobody"]) == 2


def test_more_rows_than_are_copied_and_parallel_scans_are_no_leak(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as connection:
        connection.execute("CREATE TABLE notes AS SELECT i AS id, 'acme' AS tenant_id FROM range(300000) t(i)")
        connection.execute("INSERT INTO notes SELECT i, 'globex' FROM range(300000) t(i)")
    text = "relation: notes\npolicies: [{name: own, using: tenant_id = user.tenant}]\n"
    write_policies(tmp_path / "policies", {"personas.yaml": PERSONAS, "notes.yaml": text})
    assert look(tmp_path, "SELECT * FROM notes", "SELECT min(id), max(id) FROM notes").leaks == ()


def test_an_answer_in_another_order_is_no_leak(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Pair, "_ask", lambda _, which, query: ("rows", ("id",), ("1", "2"), 2, f"first {which}"))
    assert look(place, "SELECT id FROM orders", rounds=1).leaks == ()
