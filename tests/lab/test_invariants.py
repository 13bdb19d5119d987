"""Invariants beside the policies run with `rls test`, and are read by `rls check`."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from rls.cli.app import run as cli
from rls.cli.opening import open_catalog
from rls.errors import PolicyInvalid
from rls.lab.prove.invariants import check_invariants
from rls.lab.suites.report import github_annotations, html_report, junit_xml
from rls.lab.suites.run import Filters, run_directory
from rls.policy.load import load_policies
from tests.lab.kit import IDENTITY, write_database, write_shop

pytest.importorskip("z3")

INVARIANTS = """
invariants:
  - name: tenants never meet
    about: [orders]
    prove: isolated by tenant
  - name: people are apart
    about: [people]
    prove: isolated by tenant
"""


def shop_with(tmp_path: Path, invariants: str = INVARIANTS) -> tuple[Path, Path]:
    shop = write_shop(tmp_path / "shop")
    (shop / "invariants.yaml").write_text(invariants, encoding="utf-8")
    return shop, write_database(tmp_path / "shop.duckdb")


def test_they_are_outcomes_like_cases(tmp_path: Path) -> None:
    shop, database = shop_with(tmp_path)
    run = run_directory(shop, database=database)
    found = [(o.case.id, o.status) for o in run.outcomes[-2:]]
    assert found == [
        ("invariants.yaml::tenants never meet[orders]", "passed"),
        ("invariants.yaml::people are apart[people]", "failed"),
    ]
    failure = run.failed[0].failures[0]
    assert "no two principals with different user.tenant" in failure.message
    assert [p.name for p in failure.policies] == ["myself"]
    assert failure.rows[0].why[0].startswith("seen by u-1 (")
    assert run.failed[0].case.place.line == 6
    cases = ElementTree.fromstring(junit_xml(run)).findall(".//testcase[@line='6']/failure")
    assert len(cases) == 1
    assert "people are apart" in html_report(run) and "line=6" in github_annotations(run)


def test_without_a_database_they_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shop, _ = shop_with(tmp_path)
    assert run_directory(shop).unproved == 2
    assert cli(["test", str(shop)]) == 0
    assert "2 invariants were not proved: give --database" in capsys.readouterr().out


def test_without_the_solver_they_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rls.lab.prove.available.find_spec", lambda _: None)
    shop, database = shop_with(tmp_path)
    (outcome,) = run_directory(shop, database=database).failed
    assert outcome.status == "error" and "rls[prove]" in outcome.failures[0].message


def test_filters_choose_them(tmp_path: Path) -> None:
    shop, database = shop_with(tmp_path)
    run = run_directory(shop, database=database, filters=Filters(words=("never meet",)))
    assert [o.case.test for o in run.outcomes] == ["tenants never meet"]
    assert not run_directory(shop, database=database, filters=Filters(persona="eve")).failed


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        ("prove: isolated by tenannt", "policy.statement"),
        ("{prove: isolated by tenant, about: [oders]}", "policy.unknown_relation"),
        ("{prove: isolated by tenant, unless: [root]}", "policy.unknown_role"),
        ("{prove: never visible where amout > 1, about: [orders]}", "policy.unknown_column"),
    ],
)
def test_check_reads_them(tmp_path: Path, entry: str, code: str, capsys: pytest.CaptureFixture[str]) -> None:
    shop, database = shop_with(tmp_path, f"invariants:\n  - {entry}\n")
    with pytest.raises(PolicyInvalid) as caught:
        check_invariants(load_policies(shop, keys="none"), open_catalog(database))
    assert caught.value.code == code
    assert cli(["check", str(shop), "--database", str(database)]) == 3
    assert "invariants.yaml:2" in capsys.readouterr().err


def test_check_reads_suites_and_audit_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shop, database = shop_with(tmp_path)
    (shop / "audit.yaml").write_text("durabilty: disk\n", encoding="utf-8")
    assert cli(["check", str(shop), "--database", str(database)]) == 3
    assert "audit.yaml:1" in capsys.readouterr().err
    (shop / "audit.yaml").unlink()
    (shop / "shop.test.yaml").write_text("sees: {ewe: {orders: all}}\n", encoding="utf-8")
    assert cli(["check", str(shop), "--database", str(database)]) == 3
    assert "shop.test.yaml:1" in capsys.readouterr().err


def test_the_prover_knows_who_acts_for_the_user(tmp_path: Path) -> None:
    shop, database = shop_with(tmp_path, "invariants:\n  - {prove: never visible, about: [people]}\n")
    text = "relation: people\npolicies:\n  - {name: bots, using: user.agent = user_id}\n---\nrelation: products\npublic: true\n"
    (shop / "others.yaml").write_text(text, encoding="utf-8")
    (outcome,) = [o for o in run_directory(shop, database=database).outcomes if o.case.suite == "invariants"]
    assert outcome.status == "failed" and "refuted" in outcome.failures[0].message
    assert IDENTITY  # the agent is built in: no attribute declares it
