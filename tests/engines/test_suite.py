"""The suite for other engines: how outcomes become figures, and that the README says what was measured."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.engines.suite import DATA, construct, servers, summary
from tests.judging.judge import Outcome

ROOT = Path(__file__).parents[2]
NAMES = {"postgres": "PostgreSQL", "spark": "Apache Spark", "sail": "Sail"}
FIGURES = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(DATA.glob("*.json"))}


def outcome(status: str, *, id_: str = "q", detail: str = "", code: str = "") -> Outcome:
    return Outcome("goldens", id_, "kind", status, "SELECT 1", code, detail)


def test_outcomes_become_figures() -> None:
    refused = (
        "this engine cannot run the function `f` as DuckDB does; write it in another way {'code': 'query.not_portable'}"
    )
    found = summary(
        [
            outcome("ok"),
            outcome("ok"),
            outcome("refused", detail=refused, code="query.not_portable"),
            outcome("withheld"),
            outcome("both fail"),
            outcome("undefined"),
            outcome("wrong rows", id_="known"),
            outcome("wrong types", id_="new"),
        ],
        {"known"},
    )
    assert {name: found[name] for name in ("asked", "alike", "refused", "different", "unexplained")} == {
        "asked": 6, "alike": 2, "refused": 2, "different": 2, "unexplained": 1,
    }  # fmt: skip
    assert found["reasons"] == {"the function `f`": 1}


@pytest.mark.parametrize(
    ("detail", "said"),
    [
        (
            "this engine cannot run SEMI JOIN as DuckDB does; use EXISTS {'message': 'cannot run SEMI JOIN as DuckDB does'}",
            "SEMI JOIN",
        ),
        ("there is no relation `x` for you", "query.unknown_relation"),
    ],
)
def test_a_refusal_is_counted_by_what_it_names(detail: str, said: str) -> None:
    assert construct(outcome("refused", detail=detail, code="query.unknown_relation")) == said


def test_every_engine_has_figures() -> None:
    assert "postgres" in FIGURES
    assert set(FIGURES) <= set(NAMES)
    assert servers().keys() <= set(NAMES)


@pytest.mark.parametrize("engine", sorted(FIGURES))
def test_the_readme_says_what_was_measured(engine: str) -> None:
    """Its row: alike of asked for each set, differences, and the median of what the guard costs."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    row = re.search(rf"^\| {NAMES[engine]}[^|]*\|(.*)\|$", readme, re.MULTILINE)
    assert row, f"README has no row for {NAMES[engine]}"
    assert [cell.strip() for cell in row[1].split("|")] == cells(FIGURES[engine])


def cells(figures: dict[str, Any]) -> list[str]:
    """What the row of an engine says."""
    sets = ("goldens", "tpch", "tpcds", "clickbench")
    tests = [figures[name] for name in ("duckdb_slt", "sqlite_slt") if name in figures]
    shown = [f"{figures[name]['alike']:,} of {figures[name]['asked']:,}" if name in figures else "-" for name in sets]
    shown.append(f"{sum(one['alike'] for one in tests)} of {sum(one['asked'] for one in tests)}" if tests else "-")
    measured = [*(figures[name] for name in sets if name in figures), *tests]
    shown.append(str(sum(one["different"] for one in measured)))
    medians = [one["by hand"]["median"] for one in figures.get("cost", {}).values() if isinstance(one, dict)]
    shown.append(f"{min(medians):.2f} to {max(medians):.2f}" if medians else "-")
    return shown
