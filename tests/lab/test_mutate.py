"""Mutation: which mistakes there are, which of them a suite notices, and what is told of the others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rls.cli import run
from rls.lab.mutate.mutants import make_mutants
from rls.lab.mutate.score import Mutation, SuitesFail, mutate
from rls.lab.mutate.wording import difference, short
from rls.lab.suites.reader import read_suites
from rls.policy.load import load_policies
from tests.lab.kit import DATA, ORDERS, SEES, write_shop

MIXED = ORDERS.replace(
    "using: region IN user.regions", "using: region IN ('EMEA', 'APAC') AND (amount < 15 OR NOT placed IS NULL)"
)


def tried(folder: Path, suite: str = DATA + SEES) -> Mutation:
    shop = write_shop(folder / "shop", suite=suite)
    policies = load_policies(shop, keys="none")
    return mutate(policies, read_suites(shop, policies.identity))


def test_the_mistakes_are_these(tmp_path: Path) -> None:
    policies = load_policies(write_shop(tmp_path / "shop", orders=MIXED), keys="none")
    made = {(m.subject, m.change): m.after for m in make_mutants(policies)}
    assert [change for subject, change in made if subject == "own_tenant"] == [
        "policy removed",
        "restrictive made permissive",
        "`tenant_id = user.tenant` turned around",
        "`tenant_id = user.tenant` made true",
        "`tenant_id = user.tenant` accepts NULL",
        "`tenant_id = user.tenant` made `tenant_id != user.tenant`",
    ]
    assert made["own_regions", "role maker added"] == ("to: [explorer, maker]",)
    assert made["own_regions", "AND made OR"] == (
        "using: ((region IN ('EMEA', 'APAC')) OR ((amount < 15) OR NOT (placed IS NULL)))",
    )
    assert made["own_regions", "`region IN ('EMEA', 'APAC')` dropped"] == (
        "using: (((amount < 15) OR NOT (placed IS NULL)))",
    )
    assert made["own_regions", "`amount < 15` made `amount <= 15`"] == (
        "using: (region IN ('EMEA', 'APAC')) AND ((amount <= 15) OR NOT (placed IS NULL))",
    )
    listed = [change for subject, change in made if change.startswith("`region IN ('EMEA', 'APAC')` made")]
    assert listed == [
        "`region IN ('EMEA', 'APAC')` made `region IN ('APAC')`",
        "`region IN ('EMEA', 'APAC')` made `region IN ('EMEA')`",
        "`region IN ('EMEA', 'APAC')` made `region IS NOT NULL`",
    ]
    assert made["email", "mask removed"] == ()
    assert made["margin", "role explorer spared"] == ("except: [explorer, maker]",)


def test_what_no_case_looks_at_survives(tmp_path: Path) -> None:
    found = tried(tmp_path)
    survived = {(f.mutant.subject, f.mutant.change): f for f in found.survivors}
    # Rows without a tenant, masks, and what is in nobody's way.
    assert ("own_tenant", "`tenant_id = user.tenant` accepts NULL") in survived
    assert ("email", "mask removed") in survived
    assert ("own_tenant", "policy removed") not in survived
    assert ("own_regions", "`region IN user.regions` accepts NULL") not in survived
    # A maker sees every row already.
    assert ("own_regions", "role maker added") not in {(f.mutant.subject, f.mutant.change) for f in found.fates}
    assert 0 < found.score < 100
    mask = survived["email", "mask removed"]
    assert mask.difference == "email of orders masked or not for eve"
    assert mask.skeleton.splitlines()[1:] == [
        "  as: eve", "  relation: orders", "  expect: {keys: [1], masked: [email], absent: [margin]}"
    ]  # fmt: skip
    null = survived["own_tenant", "`tenant_id = user.tenant` accepts NULL"]
    assert null.difference.startswith("no row of the suites tells them apart: ")


def test_a_skeleton_kills_the_mutant_it_is_for(tmp_path: Path) -> None:
    mask = next(f for f in tried(tmp_path).survivors if f.mutant.change == "mask removed")
    found = tried(tmp_path, DATA + SEES + "tests:\n" + mask.skeleton + "\n")
    assert "mask removed" not in {f.mutant.change for f in found.survivors}
    assert "deny removed" not in {f.mutant.change for f in found.survivors}


def test_suites_that_fail_say_nothing_of_mutants(tmp_path: Path) -> None:
    with pytest.raises(SuitesFail):
        tried(tmp_path, DATA + "sees: {}\n")


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    folder = write_shop(tmp_path / "shop")
    assert run(["mutate", "shop", "--min", "10"]) == 0
    printed = capsys.readouterr().out
    assert "survived email: mask removed" in printed
    assert "  - email: {mask: …}" in printed
    assert "% of the mistakes would be noticed" in printed.splitlines()[-1]
    assert run(["mutate", "shop", "--min", "100", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["killed"] + told["survived"] == len(told["mutants"])
    (folder / "shop.test.yaml").write_text(DATA + "sees: {}\n")
    assert run(["mutate", "shop"]) == 2
    assert "the suites must pass first: 6 do not" in capsys.readouterr().err


def test_a_change_deep_inside_is_told_by_its_place() -> None:
    before = "unit = ANY(SELECT a.unit FROM access AS a INNER JOIN people AS p ON (a.person = p.id) WHERE (p.login = user.subject))"
    after = before.replace("a.person = p.id", "a.person != p.id")
    assert difference(before, after, around=1) == ("… (a.person = p.id) …", "… (a.person != p.id) …")
    # What is gone, and where the beginning and the end change.
    assert difference("a AND b", "a") == ("a AND b", "a")
    assert difference("a b", "c d") == ("a b", "c d")
    # Words that are there twice are not counted from both ends.
    assert difference("x x", "x x x", around=0) == ("…", "… x")
    assert len(short("x" * 100)) == 60
