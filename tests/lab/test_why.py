"""`rls why`: the truth of every policy for a row, and where the rows of a query go."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from rls.cli import run
from rls.identity import load_personas
from rls.lab.why.query import why_query
from rls.lab.why.row import why_row
from rls.lab.world.world import World, open_live
from rls.policy.load import load_policies
from tests.lab.kit import DATA, ORDERS, SEES, write_database, write_shop

MIXED = ORDERS.replace(
    "using: region IN user.regions", "using: NOT (region = 'APAC' OR placed < user.since) OR amount > 30"
)


def open_shop(folder: Path, orders: str = ORDERS) -> World:
    shop = write_shop(folder / "shop", orders=orders)
    policies = load_policies(shop, keys="none")
    return open_live(
        write_database(folder / "shop.duckdb"), policies, load_personas(shop / "personas.yaml", policies.identity)
    )


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with open_shop(tmp_path) as opened:
        yield opened


@pytest.mark.parametrize(
    ("persona", "row", "visible", "reason"),
    [
        ("eve", 1, True, "let through by own_regions"),
        ("eve", 2, False, "no permissive policy lets it through: own_regions"),
        ("eve", 3, False, "restricted away by own_tenant"),
        ("max", 4, True, "let through by all_regions"),
        ("eve", 99, False, "there is no such row"),
    ],
)
def test_a_row_is_decided_as_the_engine_decides(
    world: World, persona: str, row: int, visible: bool, reason: str
) -> None:
    orders = next(r for r in world.tables() if r.label == "orders")
    found = why_row(world, persona, orders, ["id"], [str(row)])
    assert (found.visible, found.reason) == (visible, reason)
    assert bool(world.session(persona).query(f"SELECT 1 FROM orders WHERE id = {row}").rows) == visible


def test_every_leaf_has_its_truth_and_its_values(tmp_path: Path) -> None:
    with open_shop(tmp_path, MIXED) as world:
        orders = next(r for r in world.tables() if r.label == "orders")
        found = why_row(world, "eve", orders, ["id"], [1])
    policy = next(p for p in found.policies if p.policy.name == "own_regions")
    # Without `since` the whole policy is FALSE, whatever its other branch would say.
    assert (policy.passes, policy.missing) == (False, ("since",))
    negated, amount = policy.root.children
    assert (negated.kind, amount.text, amount.value, dict(amount.values)) == (
        "not",
        "amount > 30",
        False,
        {"amount": found.values["amount"]},
    )
    region, since = negated.children[0].children
    assert (region.text, region.value) == ("region = 'APAC'", False)
    assert (since.value, since.missing) == (None, ("since",))
    assert found.shown == {}


def test_what_is_shown_is_what_the_engine_shows(world: World) -> None:
    orders = next(r for r in world.tables() if r.label == "orders")
    found = why_row(world, "eve", orders, ["id"], [1])
    result = world.session("eve").query("SELECT * FROM orders WHERE id = 1")
    assert dict(zip(result.columns, result.rows[0], strict=True)) == found.shown
    assert found.values["email"] == "ada@post.test"


def test_the_rows_of_a_query_are_followed(world: World) -> None:
    found = why_query(
        world, "eve", "SELECT region FROM orders WHERE amount > 5 AND region = 'APAC' GROUP BY ALL LIMIT 3"
    )
    (orders,) = found.relations
    assert [(s.what, s.rows) for s in orders.steps] == [
        ("left by own_tenant", 3),
        ("of these, permitted by own_regions", 1),
    ]
    assert (orders.total, orders.visible, found.rows) == (4, 1, 0)
    assert [(s.what, s.rows) for s in found.steps] == [
        ("FROM orders", 1), ("WHERE (amount > 5)", 1), ("AND (region = 'APAC')", 0), ("before LIMIT and OFFSET", 0)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("sql", "steps"),
    [
        (
            "SELECT * FROM orders o JOIN people p ON o.id = 9 LEFT JOIN products USING (id) WHERE true",
            [
                ("FROM orders AS o", 3),
                ("INNER JOIN people AS p ON ((o.id = 9))", 0),
                ("LEFT JOIN products USING (id)", 0),
                ("WHERE true", 0),
            ],
        ),
        # Never multiplied: what joins them comes first.
        (
            "SELECT * FROM orders o, people p WHERE o.amount > 5 AND p.user_id = o.email",
            [("FROM orders AS o , people AS p WHERE (p.user_id = o.email)", 0), ("AND (o.amount > 5)", 0)],
        ),
        (
            "WITH x AS (FROM orders) SELECT id FROM x WHERE id = 2 EXCEPT SELECT id FROM orders",
            [("part 1: FROM x", 3), ("part 1: WHERE (id = 2)", 1), ("part 2: FROM orders", 3)],
        ),
    ],
)
def test_joins_and_parts_are_followed(world: World, sql: str, steps: list[tuple[str, int]]) -> None:
    found = why_query(world, "max", sql)
    assert [(s.what, s.rows) for s in found.steps] == steps


def test_where_the_last_row_is_lost(world: World) -> None:
    lost = "SELECT count(*) FROM orders WHERE amount > 5 AND region = 'XX'"
    assert why_query(world, "eve", lost).lost_at == "no row is left after AND (region = 'XX')"
    assert why_query(world, "eve", "SELECT * FROM orders").lost_at == ""
    assert why_query(world, "eve", "SELECT 1 WHERE false").lost_at == ""


@pytest.mark.parametrize(
    "sql", ["SELECT 1", "FROM orders UNION ALL FROM orders", "WITH x AS (FROM orders) SELECT 1 FROM x WHERE false"]
)
def test_other_shapes_are_told_as_far_as_they_go(world: World, sql: str) -> None:
    found = why_query(world, "max", sql)
    assert found.rows == len(world.session("max").query(sql).rows)
    assert all(step.rows is not None for step in found.steps)


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    write_shop(tmp_path / "shop", suite=DATA + SEES)
    row = ["why", "shop/shop.test.yaml", "--as", "eve", "--relation", "orders"]
    assert run([*row, "--key", "2"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("orders id 2 for eve: not visible, no permissive policy lets it through:\nown_regions\n")
    assert "    FALSE   region IN user.regions\n            region = APAC, user.regions = [EMEA]\n" in printed
    assert run([*row, "--key", "id=1"]) == 0
    assert "ada@post.test is shown as ***@post.test" in capsys.readouterr().out
    assert run([*row, "--key", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["visible"], told["policies"][0]["condition"]["value"]) == (True, True)
    assert run(["why", "shop/shop.test.yaml", "SELECT * FROM orders WHERE amount > 99", "--as", "max"]) == 0
    printed = capsys.readouterr().out
    assert "0  rows of the answer" in printed
    assert printed.endswith("no row is left after WHERE (amount > 99)\n")
    for wrong in (["--key", "1", "--key", "2"], [], ["--key", "1", "SELECT 1"]):
        assert run([*row, *wrong]) == 2
    assert run(["why", "shop/shop.test.yaml", "SELECT 1", "--as", "evi"]) == 2
