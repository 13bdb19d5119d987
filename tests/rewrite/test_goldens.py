"""Golden queries: every legal shape answers like the oracle for every persona; everything else is refused by code.

The data is `golden/`: a schema, policies, personas with the oracle's rules in plain SQL, `legal.jsonl`, `refused.jsonl`.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from rls.engines.lockdown import open_locked
from tests.judging.compare import differs
from tests.judging.driver import Driver, Refusal, sign
from tests.judging.oracle import Answer, Rule, answer, build, ordering, reduce_database

GOLDEN = Path(__file__).parents[1] / "golden"
PERSONAS: dict[str, dict[str, Any]] = json.loads((GOLDEN / "personas.json").read_text(encoding="utf-8"))


def records(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (GOLDEN / name).read_text(encoding="utf-8").splitlines()]


def text_of(record: dict[str, Any]) -> str:
    """A record's SQL: as it stands, or long ones by their repeated parts."""
    return record.get("sql") or "".join(part * times for part, times in record.get("parts", []))


TYPES = {"tenant": "VARCHAR", "regions": "VARCHAR[]", "clearance": "BIGINT", "since": "DATE"}


def literal(value: Any) -> str:
    """A value as SQL."""
    match value:
        case list():
            return "[" + ", ".join(map(literal, value)) + "]"
        case None:
            return "NULL"
        case _:
            return "'" + str(value).replace("'", "''") + "'"


def with_values(sql: str, attributes: dict[str, Any]) -> str:
    """The query as somebody would write it who knows the attributes' values."""
    return re.sub(
        r"\buser\.(\w+)", lambda found: f"CAST({literal(attributes.get(found[1]))} AS {TYPES[found[1]]})", sql
    )


class Site:
    """One database, one engine, and a reduced copy per persona."""

    def __init__(self, directory: Path) -> None:
        schema = (GOLDEN / "schema.sql").read_text(encoding="utf-8")
        (directory / "engine").mkdir()
        database = build(directory / "engine" / "warehouse.duckdb", [schema])
        now = int(time.time())
        base = {"iss": "https://golden.test", "aud": "rls-golden", "iat": now, "exp": now + 3000}
        policies = Path(shutil.copytree(GOLDEN / "policies", directory / "policies"))
        secret = (policies / "secret.txt").read_text(encoding="utf-8")
        self.tokens = {name: sign(base | persona["claims"], secret) for name, persona in PERSONAS.items()}
        self.driver = Driver(database, policies, token="")
        self.elsewhere = duckdb.connect(str(database), read_only=True)
        self.oracles = {}
        for name, persona in PERSONAS.items():
            (directory / name).mkdir()
            target = directory / name / "warehouse.duckdb"
            rules = {tuple(path.split(".")): rule_of(rule) for path, rule in persona["rules"].items()}
            self.oracles[name] = duckdb.connect(str(reduce_database(database, rules, target=target)), read_only=True)

    def close(self) -> None:
        self.driver.close()
        self.elsewhere.close()
        for oracle in self.oracles.values():
            oracle.close()


def rule_of(given: dict[str, Any]) -> Rule:
    return Rule(given.get("predicate", "true"), frozenset(given.get("denied", [])), given.get("masks", {}))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("golden"))
    yield made
    made.close()


@pytest.mark.parametrize("persona", PERSONAS)
@pytest.mark.parametrize("record", records("legal.jsonl"), ids=lambda record: record["id"])
def test_legal(site: Site, record: dict[str, Any], persona: str) -> None:
    attributes = PERSONAS[persona]["claims"]["attributes"]
    asked = with_values(record["sql"], attributes)
    oracle = site.oracles[persona]
    expected = answer(oracle, asked)
    actual = site.driver.ask(record["sql"], token=site.tokens[persona])
    assert isinstance(actual, Answer), actual
    assert differs(expected, actual, by=ordering(oracle, asked, expected.names)) is None
    assert expected.error is None


@pytest.mark.parametrize("record", records("legal.jsonl"), ids=lambda record: record["id"])
def test_guarded_text_runs_elsewhere(site: Site, record: dict[str, Any]) -> None:
    # The library call before somebody else's execution, on a connection that could read everything.
    guarded = site.driver.guard(record["sql"], token=site.tokens["max"])
    actual = answer(site.elsewhere, guarded.sql, parameters=dict(guarded.parameters) or None)
    oracle = site.oracles["max"]
    asked = with_values(record["sql"], PERSONAS["max"]["claims"]["attributes"])
    expected = answer(oracle, asked)
    assert differs(expected, actual, by=ordering(oracle, asked, expected.names)) is None
    assert actual.error is None


@pytest.mark.parametrize("record", records("refused.jsonl"), ids=lambda record: record["id"])
def test_refused(site: Site, record: dict[str, Any]) -> None:
    outcome = site.driver.ask(text_of(record), token=site.tokens["ada"])
    assert isinstance(outcome, Refusal), outcome
    assert outcome.code.startswith(record["code"]), outcome
    assert "lost in court" not in outcome.text.replace(text_of(record), "")


def test_unguarded_text_resolves_nothing_on_the_engines_connection(tmp_path: Path) -> None:
    database = build(tmp_path / "warehouse.duckdb", [(GOLDEN / "schema.sql").read_text(encoding="utf-8")])
    locked = open_locked(threads=1, memory=500_000_000, hide_statistics=False, attach=(database, "rls_unguessable"))
    with duckdb.connect() as empty:
        reading = [record["sql"] for record in records("legal.jsonl") if answer(empty, record["sql"]).error is not None]
    assert len(reading) > 250
    assert [sql for sql in reading if answer(locked.cursor(), sql).error is None] == []
    locked.close()


def test_engine_goes_on_after_refusals(site: Site) -> None:
    assert site.driver.ask("SELECT count(*) FROM products", token=site.tokens["ada"]).rows == [(5,)]  # type: ignore[union-attr]
