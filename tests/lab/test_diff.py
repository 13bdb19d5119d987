"""Two sets of policies: who sees more, less or other; and that nobody sees more without somebody answering for it."""

from __future__ import annotations

import json
import re
import subprocess
from datetime import date
from pathlib import Path

import duckdb
import pytest

from rls.cli.app import run
from rls.errors import PolicyInvalid
from rls.lab.diff.compare import Change, Diff, compute_diff
from rls.lab.diff.report import markdown_diff
from rls.lab.diff.revisions import open_policies, open_revision
from rls.lab.diff.widenings import Allowed, allowed_from_options, read_widenings, stray, unacknowledged
from rls.lab.world.world import open_live
from tests.policy.cases import write_policies

PERSONAS = """
personas:
  amir: {subject: u-1, roles: [explorer], attributes: {tenant: acme, regions: [EMEA]}}
  bea: {subject: u-2, roles: [explorer], attributes: {tenant: acme, regions: [EMEA]}}
  gus: {subject: u-3, roles: [maker], attributes: {tenant: globex}}
"""
OLD = """
relation: orders
policies:
  - {name: own_tenant, as: restrictive, using: tenant_id = user.tenant}
  - {name: own_regions, to: [explorer], using: region IN user.regions}
  - {name: everything, to: [maker], using: "true"}
columns:
  email: {mask: "'***'"}
  margin: {deny: true}
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty orders of two tenants and two regions."""
    path = tmp_path_factory.mktemp("diff") / "shop.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            "CREATE TABLE orders AS SELECT i AS id, ['acme', 'globex'][1 + i % 2] AS tenant_id,"
            " ['EMEA', 'APAC'][1 + i // 2 % 2] AS region, 'u' || i AS email, i AS margin, i::VARCHAR AS code"
            " FROM range(40) t(i)"
        )
    return path


def directory(path: Path, text: str) -> Path:
    return write_policies(path, {"personas.yaml": PERSONAS, "orders.yaml": text})


def compare(tmp_path: Path, shop: Path, new: str) -> Diff:
    old_set = open_policies(str(directory(tmp_path / "old", OLD)))
    revision = open_revision(str(directory(tmp_path / "new", new)))
    with open_live(shop, revision.policies, revision.personas) as world:
        return compute_diff(world, old_set, revision.policies)


def one(found: Diff, persona: str) -> Change:
    (change,) = [c for c in found.changes if c.persona == persona]
    return change


def test_the_same_policies_change_nothing(tmp_path: Path, shop: Path) -> None:
    found = compare(
        tmp_path, shop, "# moved and reformatted\n" + OLD.replace("region IN user.regions", "region   IN user.regions")
    )
    assert (found.changes, found.policies) == ((), ())


@pytest.mark.parametrize(
    "condition",
    ["region = 'APAC' OR id < 4", "id IN (SELECT o.id FROM orders o WHERE o.region = 'APAC') OR id < 4"],
    ids=["columns", "a sub-query"],
)
def test_rows_gained_and_lost_with_their_keys(tmp_path: Path, shop: Path, condition: str) -> None:
    found = compare(tmp_path, shop, OLD.replace("region IN user.regions", condition))
    change = one(found, "amir")
    # acme has the even ids; of them EMEA had 0, 4, 8 …, and now APAC's 2, 6, 10 … and 0.
    assert (change.gained, change.lost, change.unchanged) == (10, 9, 1)
    assert (change.gained_keys, change.lost_keys) == (((2,), (6,), (10,)), ((4,), (8,), (12,)))
    assert change.widens
    assert [c.persona for c in found.changes] == ["amir", "bea"]
    assert [(p.what, p.kind) for p in found.policies] == [("policy own_regions", "changed")]


def test_a_narrowing_is_no_widening(tmp_path: Path, shop: Path) -> None:
    found = compare(tmp_path, shop, OLD.replace("region IN user.regions", "region IN user.regions AND id > 10"))
    assert one(found, "amir").lost == 3
    assert found.widenings == ()


def test_a_table_without_rows_shows_nobody_more(tmp_path: Path) -> None:
    path = tmp_path / "empty.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            "CREATE TABLE orders (id INTEGER, tenant_id VARCHAR, region VARCHAR, email VARCHAR, margin INTEGER)"
        )
    found = compare(tmp_path, path, OLD.replace("region IN user.regions", "true"))
    assert found.changes == () and found.policies != ()


@pytest.mark.parametrize(
    ("rule", "shown", "widens"),
    [
        ('{mask: "upper(email)"}', "upper(email)", True),
        ("{deny: true}", "denied", False),
        ("{mask: \"'***'\", except: [explorer]}", "as it is", True),
    ],
)
def test_columns_shown_otherwise(tmp_path: Path, shop: Path, rule: str, shown: str, *, widens: bool) -> None:
    change = one(compare(tmp_path, shop, OLD.replace("{mask: \"'***'\"}", rule)), "amir")
    assert (change.gained, change.lost) == (0, 0)
    (column,) = change.columns
    assert (column.column, column.after) == ("email", shown)
    assert change.widens == widens


def test_a_mask_instead_of_nothing_narrows(tmp_path: Path, shop: Path) -> None:
    found = compare(tmp_path, shop, OLD + "  code: {mask: \"'x'\"}\n")
    assert found.changes
    assert found.widenings == ()


def test_a_policy_that_fails_on_a_row_is_told_and_must_be_acknowledged(tmp_path: Path, shop: Path) -> None:
    found = compare(tmp_path, shop, OLD.replace("region IN user.regions", "CAST(email AS INTEGER) = 1"))
    change = one(found, "amir")
    assert change.gained is None
    assert "fails on a row" in change.error
    assert change.widens


def test_a_relation_nobody_decides_on_any_more_is_seen_by_nobody(tmp_path: Path, shop: Path) -> None:
    found = compare(tmp_path, shop, "relation: others\npolicies:\n  - {name: p, using: 'true'}\n")
    assert one(found, "gus").kinds == ("conditional", "undecided")
    assert one(found, "gus").lost == 20
    assert found.widenings == ()


def test_acknowledged_by_whom_and_until_when(tmp_path: Path, shop: Path) -> None:
    found = compare(tmp_path, shop, OLD.replace("region IN user.regions", "true"))
    today = date(2026, 5, 1)

    def left(*allowed: Allowed) -> list[str]:
        return [c.persona for c in unacknowledged(found.changes, allowed, today=today)]

    assert left() == ["amir", "bea"]
    assert left(*allowed_from_options(["orders:amir"])) == ["bea"]
    assert left(*allowed_from_options(["Orders"])) == []
    assert left(*allowed_from_options(["customers"])) == ["amir", "bea"]
    assert left(Allowed("orders", until=date(2026, 4, 30))) == ["amir", "bea"]


def test_widenings_need_a_reason() -> None:
    text = "widenings:\n  - {relation: orders, personas: [amir], reason: contract 17, until: '2026-12-31'}\n"
    assert read_widenings(text, file="w.yaml") == [Allowed("orders", ("amir",), "contract 17", date(2026, 12, 31))]
    for wrong in ("widenings:\n  - {relation: orders}\n", text.replace("2026-12-31", "soon"), "widenings: []\n"):
        with pytest.raises(PolicyInvalid):
            read_widenings(wrong, file="w.yaml")


def test_the_command_has_an_exit_code_of_its_own(
    tmp_path: Path, shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = (
        directory(tmp_path / "old", OLD),
        directory(tmp_path / "new", OLD.replace("region IN user.regions", "true")),
    )
    command = ["diff", str(old), str(new), "--database", str(shop)]
    assert run([*command, "--markdown", str(tmp_path / "pr.md")]) == 7
    assert "not acknowledged" in capsys.readouterr().out
    assert "| orders | amir | +10 |" in (tmp_path / "pr.md").read_text()
    assert run([*command, "--allow", "orders"]) == 0
    capsys.readouterr()
    (new / "widenings.yaml").write_text("widenings:\n  - {relation: orders, personas: [amir], reason: contract 17}\n")
    assert run([*command, "--json"]) == 7
    assert json.loads(capsys.readouterr().out)["not_acknowledged"] == ["orders:bea"]
    assert run(["diff", str(old), str(old), "--database", str(shop)]) == 0
    # A name that is not there acknowledges nothing, and is told.
    capsys.readouterr()
    assert run([*command, "--allow", "ordrs:amir", "--html", str(tmp_path / "diff.html")]) == 7
    printed = capsys.readouterr().out
    assert "note there is no table `ordrs`; did you mean `orders`?" in printed
    assert "rows gained, 0 lost" in printed
    assert 'class="gained"' in (tmp_path / "diff.html").read_text()
    assert run([*command, "--persona", "amri"]) == 2
    assert "there is no persona `amri`" in capsys.readouterr().err


def test_entries_that_speak_of_nothing_are_told() -> None:
    found = Diff(("amir",), ("orders",), (), ())
    allowed = [
        Allowed("orders", ("amir",)),
        Allowed("ordres", ("bob",)),
        Allowed("Orders", until=date(2026, 1, 1)),
    ]
    assert list(stray(allowed, found, today=date(2026, 1, 2))) == [
        "there is no table `ordres`; did you mean `orders`?",
        "there is no persona `bob`",
        "what was acknowledged for `Orders` held until 2026-01-01",
    ]


def test_a_git_revision_can_be_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = directory(tmp_path / "repository" / "policies", OLD)

    def git(*arguments: str) -> None:
        who = ["-c", "user.name=t", "-c", "user.email=t@example.test"]
        subprocess.run(["git", *who, *arguments], cwd=tmp_path / "repository", check=True, capture_output=True)

    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    (folder / "orders.yaml").write_text(OLD.replace("own_regions", "renamed"))
    monkeypatch.chdir(tmp_path / "repository")
    names = {p.name for rules in open_policies("HEAD:policies").rules for p in rules.policies}
    assert "own_regions" in names
    (tmp_path / "elsewhere").mkdir()
    for wrong, says in (
        ("HEAD:nowhere", "there is no `nowhere` in revision `HEAD`"),
        ("HEAD:policies/orders.yaml", "is no directory in revision `HEAD`"),
        ("--help:policies", "git knows no revision `--help`"),
        ("no/such/directory:x", "git knows no revision `no/such/directory`"),
    ):
        with pytest.raises(PolicyInvalid, match=re.escape(says)) as caught:
            open_policies(wrong)
        assert caught.value.code == "policy.revision"
    with pytest.raises(PolicyInvalid, match="no git repository here"):
        open_policies("HEAD:policies", base=tmp_path / "elsewhere")


def test_markdown_stays_a_table(tmp_path: Path) -> None:
    change = Change("a|b", "x`y", ("never", "always"), 1, 0, 0, ("id",), (("|\n<b>",),))
    text = markdown_diff(Diff(("x",), ("a|b",), (change,), ()), [change], old="o", new="n")
    row = next(line for line in text.splitlines() if "a\\|b" in line)
    assert "\\<b\\>" in row
    assert "⚠️ not acknowledged" in row
