"""The worked examples beside the fixture policies pass, by hand and by pytest, and would notice a hole."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import fixtures
from rls.lab.suites.run import Filters, run_directory
from tests.lab.kit import warehouse


def test_the_worked_examples_pass() -> None:
    done = run_directory(fixtures.POLICIES, database=warehouse())
    assert [(o.case.id, [f.message for f in o.failures]) for o in done.failed] == []
    assert {suite.name for suite in done.suites} == {"orders", "warehouse"}
    assert len(done.outcomes) > 70


def test_the_example_with_its_own_rows_needs_no_database() -> None:
    done = run_directory(fixtures.POLICIES, only=[fixtures.POLICIES / "orders.test.yaml"])
    assert done.failed == ()


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("tenancy.yaml", "using: tenant_id = user.tenant", "using: tenant_id = user.tenant OR true"),
        ("orders.yaml", "using: region IN user.regions", 'using: "true"'),
        ("orders.yaml", "AND until IS NULL", ""),
        ("orders.yaml", "to: [maker]", "to: [maker, explorer]"),
        ("orders.yaml", "except: [maker, admin]", "except: [maker, admin, explorer]"),
        ("products.yaml", "public: true", 'policies: [{name: makers, to: [maker], using: "true"}]'),
    ],
)
def test_the_worked_examples_notice_a_change(tmp_path: Path, file: str, old: str, new: str) -> None:
    folder = tmp_path / "policies"
    shutil.copytree(fixtures.POLICIES, folder)
    shutil.copytree(fixtures.KEYS, tmp_path / "keys")
    text = (folder / file).read_text(encoding="utf-8")
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1), encoding="utf-8")
    # The small suite with its own rows notices all but what is about other tables.
    if file == "products.yaml":
        assert run_directory(folder, database=warehouse(), filters=Filters(relation="products")).failed
    else:
        assert run_directory(folder, only=[folder / "orders.test.yaml"]).failed
