"""An audit record becomes a test that passes under the same policies."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import duckdb
import pytest

import rls
from rls.audit.read import read_records
from rls.audit.select import Selection, select_records
from rls.audit.trail import Trail
from rls.cli.app import run
from rls.engines.duckdb import DuckDBExecutor
from rls.lab.diff.revisions import open_revision
from rls.lab.suites.record import NotRecorded, find_persona, suite_of_record
from rls.lab.world.principals import lab_policies, token_for
from tests.policy.cases import person, write_policies

PERSONAS = "personas:\n  amir: {subject: u-1, roles: [explorer], attributes: {tenant: acme}}\n"
POLICIES = "relation: orders\npolicies: [{name: own_tenant, using: tenant_id = user.tenant}]\n"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Policies, a database, and the log of two queries."""
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as connection:
        connection.execute(
            "CREATE TABLE orders AS SELECT i AS id, ['acme', 'globex'][1 + i % 2] AS tenant_id FROM range(9) t(i)"
        )
    write_policies(tmp_path / "p", {"personas.yaml": PERSONAS, "orders.yaml": POLICIES})
    revision = open_revision(str(tmp_path / "p"))
    policies = lab_policies(revision.policies)
    trail = Trail.open(tmp_path / "audit.jsonl", str(tmp_path / "p"))
    executor = DuckDBExecutor.open(tmp_path / "shop.duckdb")
    engine = rls.Engine(executor, policies, trail)
    token = token_for(policies, revision.personas["amir"], now=time.time())
    engine.query(token, 'SELECT id FROM orders WHERE id > 1 -- "quoted"')
    with pytest.raises(rls.QueryRefused):
        engine.query(token, "SELECT nothing FROM orders")
    executor.close()
    trail.close()
    return tmp_path


def records(place: Path) -> list[dict[str, Any]]:
    return [dict(r) for r in select_records(read_records([place / "audit.jsonl"]), Selection())]


def test_recorded_decisions_pass_as_tests(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, record in enumerate(records(place)[:2]):
        out = place / "p" / f"recorded{number}.test.yaml"
        command = [
            "record",
            str(record["audit_id"]),
            "--audit",
            str(place / "audit.jsonl"),
            "--policies",
            str(place / "p"),
        ]
        assert run([*command, "--out", str(out)]) == 0
    assert "rows: 4" in (place / "p" / "recorded0.test.yaml").read_text()
    assert 'refused: "query.unknown_column"' in (place / "p" / "recorded1.test.yaml").read_text()
    assert run(["test", str(place / "p"), "--database", str(place / "shop.duckdb")]) == 0
    capsys.readouterr()


def test_what_a_record_does_not_say_is_no_test(place: Path) -> None:
    record = records(place)[0]
    for change in ({"sql_kept": "shape"}, {"sql_length": 9999}, {"outcome": "limited"}, {"parameters": {"x": "hash"}}):
        with pytest.raises(NotRecorded):
            suite_of_record({**record, **change}, "amir")


def test_who_asked_is_found_by_subject_and_roles(place: Path) -> None:
    record = records(place)[0]
    assert find_persona(record, {"amir": person("explorer"), "bea": person("maker")}) == "amir"
    for personas in ({}, {"amir": person("maker")}, {"amir": person("explorer"), "bea": person("explorer")}):
        with pytest.raises(NotRecorded):
            find_persona(record, personas)
