"""The matrix: its counts are the engine's, zeros have reasons, and what stands out is told."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import duckdb
import pytest

import fixtures
from rls.cli import run
from rls.engines.opening import read_catalog_of
from rls.identity import load_personas
from rls.lab.matrix.compute import compute_matrix
from rls.lab.matrix.report import compact, html_matrix, percent
from rls.lab.world.raw import NAME, Raw
from rls.lab.world.world import World, open_live
from rls.policy.load import load_policies
from tests.lab.kit import DATA, SEES, warehouse, write_database, write_shop


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    policies = load_policies(fixtures.POLICIES, keys="none")
    with open_live(
        warehouse(), policies, load_personas(fixtures.POLICIES / "personas.yaml", policies.identity)
    ) as opened:
        yield opened


def test_counts_are_what_the_engine_answers(world: World) -> None:
    steps: list[str] = []
    found = compute_matrix(world, on_step=lambda label, done, total: steps.append(f"{label} {done}/{total}"))
    assert steps[:2] == ["2024 Targets 0/11", "account_managers 1/11"]
    for row in found.rows:
        name = ".".join(f'"{part}"' for part in row.label.split("."))
        for persona, cell in row.cells.items():
            answer = world.session(persona).query(f"SELECT count(*) FROM {name}").rows[0][0]
            assert cell.visible == answer, (persona, row.label)
            assert bool(cell.visible) != bool(cell.reason)
    assert [row.label for row in found.rows if row.open_to_all] == ["products"]


def test_rows_that_nobody_sees_are_counted(world: World) -> None:
    found = compute_matrix(world, personas=["alice", "gina"])
    orders = next(row for row in found.rows if row.label == "orders")
    outside = world.raw.rows(
        "SELECT count(*) FROM lab.orders WHERE NOT ((tenant_id = 'acme' AND region = 'EMEA')"
        " OR (tenant_id = 'globex' AND region IN ('AMER', 'APAC'))) OR region IS NULL"
    )[0][0]
    seen = sum(cell.visible or 0 for cell in orders.cells.values())
    # Customers that somebody looks after are seen outside the regions as well.
    assert 0 < orders.unseen == orders.total - seen <= outside  # type: ignore[operator]


@pytest.mark.parametrize("condition", ["st.b", "st.a LIKE 'x%'", "st.a IN ('x', 'y')"])
def test_rows_are_those_of_which_a_condition_is_true(tmp_path: Path, condition: str) -> None:
    """By stored extremes DuckDB takes such a filter for `IS NOT NULL` of the column; two rows have NULL in its field."""
    path = tmp_path / "fields.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("""CREATE TABLE t AS SELECT i AS id,
            if(i < 6, {'a': 'x', 'b': true}, {'a': NULL, 'b': NULL}) AS st FROM range(8) r(i)""")
    with closing(Raw(path, read_catalog_of(path))) as raw:
        assert len(raw.rows(f"SELECT id, st FROM {NAME}.t WHERE {condition}")) == 6


def test_grouping_changes_no_count(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = compute_matrix(world)
    monkeypatch.setattr("rls.lab.matrix.compute._SMALL", 0)
    grouped = compute_matrix(world)
    monkeypatch.setattr("rls.lab.matrix.compute._FEW", 0)
    monkeypatch.setattr("rls.lab.matrix.compute._PER_SCAN", 2)
    assert plain.to_dict() == grouped.to_dict() == compute_matrix(world).to_dict()


@pytest.mark.parametrize(
    ("persona", "table", "reason"),
    [
        ("nora", "orders", "no policy is for these roles"),
        ("lena", "events", "`own_regions`: attribute `regions` is an empty list"),
        ("sandy", "finance.ledger", "`cleared`: attribute `clearance` is missing or not of its declared type"),
        ("alice", "account_managers", "no row matches"),
    ],
)
def test_a_zero_says_why(world: World, persona: str, table: str, reason: str) -> None:
    relation = next(r for r in world.tables() if r.label == table)
    (row,) = compute_matrix(world, personas=[persona], relations=[relation]).rows
    assert row.cells[persona].reason == reason


def test_a_policy_that_fails_or_does_not_fit_stands_out(tmp_path: Path) -> None:
    folder = write_shop(tmp_path / "shop")
    extra = "  - {name: odd, to: [maker], using: CAST(email AS INTEGER) > 1}\n"
    text = (folder / "orders.yaml").read_text()
    (folder / "orders.yaml").write_text(
        text.replace('  - name: all_regions\n    to: [maker]\n    using: "true"\n', extra)
    )
    (folder / "others.yaml").write_text("relation: people\npolicies: [{name: p, using: nope = 1}]\n")
    policies = load_policies(folder, keys="none")
    personas = load_personas(folder / "personas.yaml", policies.identity)
    with open_live(write_database(tmp_path / "shop.duckdb"), policies, personas) as world:
        rows = {row.label: row.cells for row in compute_matrix(world).rows}
    assert (rows["orders"]["eve"].visible, rows["orders"]["max"].visible) == (1, None)
    assert "fails on some row" in rows["orders"]["max"].reason
    assert "a policy does not fit" in rows["people"]["eve"].reason
    assert rows["products"]["eve"].reason == "nobody decided on it: queries are refused"


def test_the_page_is_whole_and_escaped(tmp_path: Path) -> None:
    folder = write_shop(tmp_path / "shop")
    with duckdb.connect(str(write_database(tmp_path / "shop.duckdb"))) as connection:
        connection.execute('CREATE TABLE "<i>" (tenant_id VARCHAR)')
    policies = load_policies(folder, keys="none")
    personas = load_personas(folder / "personas.yaml", policies.identity)
    with open_live(tmp_path / "shop.duckdb", policies, personas) as world:
        page = html_matrix(compute_matrix(world))
    assert "<i>" not in page
    assert "&lt;i&gt;" in page
    assert "<script" not in page
    assert page.count('class="heat"') == 6 + 6


def test_the_command_fits_80_columns_whatever_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    folder = write_shop(tmp_path / "shop")
    people = "".join(f"  somebody{n}: {{subject: s-{n}, attributes: {{tenant: acme}}}}\n" for n in range(20))
    (folder / "personas.yaml").write_text((folder / "personas.yaml").read_text() + people)
    write_database(tmp_path / "shop.duckdb")
    assert run(["matrix", "shop", "--database", "shop.duckdb", "--html", "m.html"]) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    assert re.search(r"^orders +25% +75% ", printed, re.MULTILINE)
    assert "everyone sees all of products" in printed
    assert re.search(r"^orders .* 4 +1$", printed, re.MULTILINE)
    assert (tmp_path / "m.html").is_file()
    assert (
        run(["matrix", "shop", "--database", "shop.duckdb", "--persona", "e*", "--relation", "orders", "--json"]) == 0
    )
    told = json.loads(capsys.readouterr().out)
    cell = told["relations"][0]["personas"]["eve"]
    assert (told["personas"], cell["visible"], cell["masked"], cell["absent"]) == (["eve"], 1, ["email"], ["margin"])
    assert run(["matrix", "shop"]) == 2
    assert run(["matrix", "shop", "--database", "shop.duckdb", "--persona", "x"]) == 2


def test_the_rows_of_a_suite_can_be_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_shop(tmp_path / "shop", suite=DATA + SEES)
    assert run(["matrix", str(folder / "shop.test.yaml")]) == 0
    assert re.search(r"orders +25% +75%", capsys.readouterr().out)


@pytest.mark.parametrize(("count", "told"), [(0, "0"), (9_999, "10.0k"), (10_000, "10k"), (2_500_000_000, "2.5G")])
def test_counts_are_short(count: int, told: str) -> None:
    assert compact(count) == told


@pytest.mark.parametrize(("share", "told"), [(0.995, "99%"), (0.5, "50%"), (0.004, "<1%"), (1.0, "100%")])
def test_shares_never_round_to_all_or_none(share: float, told: str) -> None:
    assert percent(share) == told


def test_rows_that_nobody_sees_are_counted_the_same_way_round_and_round(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Conditions with sub-queries are asked one by one, and there are two ways to find out what none of them lets through."""
    collected = compute_matrix(world, personas=["alice", "gina", "lena"])
    monkeypatch.setattr("rls.lab.matrix.compute._OFTEN", 0)
    asked = compute_matrix(world, personas=["alice", "gina", "lena"])
    assert asked == collected
    assert any(
        "(SELECT" in (world.grant("alice", r).predicate or "") for r in world.tables() if world.grant("alice", r)
    )  # type: ignore[union-attr]
    assert any(0 < (row.unseen or 0) < row.total for row in collected.rows)
