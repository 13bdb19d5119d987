"""`rls bench` and the library call under it: every step is measured, nothing but times and counts comes out."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path

import pytest

import fixtures
from rls.cli.app import run
from rls.errors import QueryRefused
from rls.identity import load_personas
from rls.lab.bench import STEPS, measure_query
from rls.lab.timing import Timing, time_in_turn
from rls.policy.load import load_policies

SQL = "SELECT region, sum(amount) AS total FROM orders GROUP BY region"


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("bench") / "warehouse.duckdb"
    fixtures.build(target, 0.001)
    return target


def arguments(database: Path, file: Path, *more: str) -> list[str]:
    places = ["--policies", str(fixtures.POLICIES), "--database", str(database)]
    return ["bench", "--sql", str(file), *places, "--as", "alice", "--rounds", "1", *more]


def test_every_step_is_measured(database: Path) -> None:
    policies = load_policies(fixtures.POLICIES, keys="none")
    alice = load_personas(fixtures.POLICIES / "personas.yaml", policies.identity)["alice"]
    rounds: list[int] = []
    found = measure_query(
        SQL, policies=policies, database=database, principal=alice, rounds=3, on_round=lambda: rounds.append(1)
    )
    assert list(found.steps) == list(STEPS)
    assert len(rounds) == 3
    assert found.rows == 1
    assert found.bare_rows is not None
    assert found.bare_rows > 1
    assert found.overhead is not None
    assert all(len(one.cpu) == 3 for one in found.steps.values())


def test_the_command_shows_times_and_no_row(database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "query.sql"
    file.write_text(SQL, encoding="utf-8")
    assert run(arguments(database, file)) == 0
    shown = capsys.readouterr().out
    assert all(step in shown for step in STEPS)
    assert "EMEA" not in shown
    assert run(arguments(database, file, "--json")) == 0
    document = json.loads(capsys.readouterr().out)
    assert set(document["steps"]) == set(STEPS)
    assert document["rows"] == 1


def test_a_query_that_needs_policies_has_no_unguarded_time(
    database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "query.sql"
    file.write_text("SELECT user.tenant, CAST(amount AS INTEGER) FROM orders", encoding="utf-8")
    assert run(arguments(database, file, "--json")) == 0
    document = json.loads(capsys.readouterr().out)
    assert "unguarded" not in document["steps"]
    assert document["overhead"] is None
    assert document["fence_reason"]
    assert run(arguments(database, file)) == 0
    assert "does not run without policies" in capsys.readouterr().out


def test_what_is_refused_is_not_measured(database: Path, tmp_path: Path) -> None:
    policies = load_policies(fixtures.POLICIES, keys="none")
    alice = load_personas(fixtures.POLICIES / "personas.yaml", policies.identity)["alice"]
    with pytest.raises(QueryRefused, match="margin"):
        measure_query("SELECT margin FROM orders", policies=policies, database=database, principal=alice)
    file = tmp_path / "query.sql"
    file.write_text("SELECT margin FROM orders", encoding="utf-8")
    assert run(arguments(database, file)) == 5
    assert run(arguments(database, tmp_path / "missing.sql")) == 2


def test_alternatives_take_turns() -> None:
    seen: list[str] = []

    def slow(name: str) -> None:
        seen.append(name)
        sum(range(100_000))

    found = time_in_turn(
        {"a": lambda: slow("a"), "b": lambda: slow("b")}, rounds=3, elsewhere={"c": lambda: (1.0, 2.0)}
    )
    # To warm up, and then three rounds, every other one the other way round; each calls as often as it takes.
    assert [name for name, _ in groupby(seen)] == ["a", "b", *"ab", *"a", "b"]
    assert found["c"] == Timing((1.0,) * 3, (2.0,) * 3)
    assert all(cpu > 0 for cpu in found["a"].cpu)


def test_no_round_begins_after_the_time_is_over() -> None:
    assert len(time_in_turn({"a": lambda: None}, rounds=1_000, seconds=0).get("a", Timing((), ())).cpu) == 1


def test_shares_of_samples() -> None:
    one = Timing(tuple(map(float, range(1, 101))), (0.0,) * 100)
    assert (one.least, one.at(0.5), one.at(0.95), one.at(0.99), one.at(1.0)) == (1.0, 50.0, 95.0, 99.0, 100.0)
