"""Coverage: what a suite has met of each policy, and what would meet the rest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rls.cli import run
from rls.lab.coverage.measure import Coverage, measure_coverage
from rls.lab.coverage.report import advice, html_coverage
from rls.lab.suites.reader import read_suites
from rls.policy.load import load_policies
from tests.lab.kit import DATA, ORDERS, SEES, write_shop

ONLY_ORDERS = """
relation: people
policies: [{name: everybody, using: "true"}]
---
relation: products
public: true
"""


def measure(folder: Path, suite: str, orders: str = ORDERS) -> Coverage:
    shop = write_shop(folder / "shop", suite=suite, orders=orders)
    (shop / "others.yaml").write_text(ONLY_ORDERS)
    policies = load_policies(shop, keys="none")
    return measure_coverage(policies, read_suites(shop, policies.identity))


def missing(found: Coverage) -> list[tuple[str, str, str]]:
    return [(p.subject, p.part, p.state) for p in found.open]


def test_what_a_suite_has_not_met_is_listed(tmp_path: Path) -> None:
    found = measure(
        tmp_path,
        DATA + "only: {personas: eve}\n" + SEES.replace("  max: {orders: [1, 2, 4], people: 1, products: 2}\n", ""),
    )
    assert missing(found) == [
        ("own_tenant", "tenant_id = user.tenant", "NULL"),
        ("all_regions", "true", "TRUE"),
        ("all_regions", "", "as maker"),
        ("email", "", "as it is"),
        ("margin", "", "as it is"),
        ("user.regions", "", "an empty list"),
        ("user.regions", "", "missing"),
    ]
    assert found.covered == len(found.points) - 7
    assert [advice(p) for p in found.open][:2] == [
        "a row with NULL where `tenant_id = user.tenant` looks",
        "a persona and a row for which `true` is TRUE",
    ]


def test_what_is_met_counts_wherever_it_is_met(tmp_path: Path) -> None:
    more = DATA.replace(
        "- {id: 4, tenant_id: acme, amount: 5}", "- {id: 4, tenant_id: acme, amount: 5}\n      - {id: 5}"
    )
    more += (
        """
personas:
  ann: {subject: u-7, roles: [explorer], attributes: {tenant: acme, regions: []}}
  pip: {subject: u-8, roles: [explorer], attributes: {tenant: acme}}
"""
        + SEES.replace("people: [u-1]", "people: 3").replace("people: 1", "people: 3")
        + "  ann: {people: 3, products: 2}\n  pip: {people: 3, products: 2}\n"
    )
    found = measure(tmp_path, more)
    assert missing(found) == []
    assert found.percent == 100.0


def test_queries_are_about_what_they_read(tmp_path: Path) -> None:
    found = measure(
        tmp_path, DATA + "tests: [{name: q, as: max, query: SELECT count(*) FROM orders, expect: {rows: [[3]]}}]\n"
    )
    assert ("all_regions", "", "as maker") not in missing(found)
    assert ("everybody", "true", "TRUE") in missing(found)


def test_branches_between_leaves_are_points_too(tmp_path: Path) -> None:
    mixed = ORDERS.replace(
        "using: region IN user.regions", "using: NOT coalesce(amount, 1) > 30 AND (region = 'EMEA' OR placed IS NULL)"
    )
    found = measure(tmp_path, DATA + SEES, mixed)
    parts = [(p.part, p.state) for p in found.points if p.subject == "own_regions" and p.kind == "branch"]
    # `coalesce(…)` and IS NULL are never NULL, NOT is what it turns around.
    assert parts == [
        ("NOT coalesce(amount, 1) > 30 AND (region = 'EMEA' OR placed IS NULL)", "TRUE"),
        ("NOT coalesce(amount, 1) > 30 AND (region = 'EMEA' OR placed IS NULL)", "FALSE"),
        ("coalesce(amount, 1) > 30", "TRUE"),
        ("coalesce(amount, 1) > 30", "FALSE"),
        ("region = 'EMEA' OR placed IS NULL", "TRUE"),
        ("region = 'EMEA' OR placed IS NULL", "FALSE"),
        ("region = 'EMEA'", "TRUE"),
        ("region = 'EMEA'", "FALSE"),
        ("region = 'EMEA'", "NULL"),
        ("placed IS NULL", "TRUE"),
        ("placed IS NULL", "FALSE"),
    ]


def test_cases_that_cannot_be_looked_at_are_named(tmp_path: Path) -> None:
    found = measure(tmp_path, DATA + "tests: [{name: q, as: max, query: FROM nowhere, expect: {rows: none}}]\n")
    assert len(found.skipped) == 1
    assert "nowhere" in found.skipped[0]


def test_the_page_colours_the_text(tmp_path: Path) -> None:
    page = html_coverage(measure(tmp_path, DATA + SEES))
    assert '<mark class="all" title="TRUE: met, FALSE: met, NULL: met">region IN user.regions</mark>' in page
    assert '<mark class="some" title="TRUE: met, FALSE: met, NULL: never">tenant_id = user.tenant</mark>' in page
    assert "<script" not in page


def test_the_command_has_a_threshold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    write_shop(tmp_path / "shop", suite=DATA + SEES)
    assert run(["coverage", "shop", "--min", "50", "--html", "c.html"]) == 0
    printed = capsys.readouterr().out
    assert "  own_tenant     2/3 TFn" in printed
    assert "a row with NULL where `tenant_id = user.tenant`" in " ".join(printed.split())
    assert max(map(len, printed.splitlines())) <= 80
    assert (tmp_path / "c.html").is_file()
    assert run(["coverage", "shop", "--min", "100", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["percent"] < 100
    assert {p["kind"] for p in told["points"]} == {"branch", "role", "column", "attribute"}
