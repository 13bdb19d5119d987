"""What was found in DuckDB, as facts with a query each: an upgrade that changes one fails here, and the remedy is reviewed.

`attacks/duckdb_facts.jsonl`: name, fact, setup statements, query, and its outcome on the supported release: `ok`, `bind`,
`raises`, `fatal` (internal error) or `crash`. `{file}` in a setup stands for a database file of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rls.rewrite.functions import review
from tests.functions.worker import Worker

FACTS: list[dict[str, Any]] = [
    json.loads(line) for line in (Path(__file__).parents[1] / "attacks" / "duckdb_facts.jsonl").read_text().splitlines()
]


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    started = Worker(seconds=120)  # none of these facts is how long something takes
    yield started
    started.close()


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact["name"])
def test_the_fact_still_holds(fact: dict[str, Any], worker: Worker, tmp_path: Path) -> None:
    worker.ask("SET disabled_optimizers = ''")
    worker.ask("SET TimeZone = 'UTC'")
    worker.ask("RESET perfect_ht_threshold")
    worker.ask("RESET nested_loop_join_threshold")
    worker.ask("DETACH f")
    for statement in fact["setup"]:
        outcome, message = worker.ask(statement.replace("{file}", str(tmp_path / "fact.duckdb")))
        assert outcome == "ok", message
    outcome, message = worker.ask(fact["sql"])
    assert outcome == fact["outcome"], message


@pytest.mark.parametrize(
    "name", [fact["name"].split(": ")[1] for fact in FACTS if fact["outcome"] == "crash" and ":" in fact["name"]]
)
def test_what_crashes_is_forbidden(name: str) -> None:
    found = review(name)
    assert found
    assert found.verdict == "forbidden"
