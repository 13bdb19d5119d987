"""The policy laboratory: tests, matrix and what else analysts need to trust their policies. Names load when used."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "Case": "suites.suite",
    "Coverage": "coverage.measure",
    "Filters": "suites.run",
    "Matrix": "matrix.compute",
    "Outcome": "suites.suite",
    "Run": "suites.run",
    "Suite": "suites.suite",
    "World": "world.world",
    "Diff": "diff.compare",
    "QueryWhy": "why.query",
    "RowWhy": "why.row",
    "compute_diff": "diff.compare",
    "compute_matrix": "matrix.compute",
    "html_diff": "diff.page",
    "html_matrix": "matrix.report",
    "json_schema": "schemas",
    "make_start": "start.make",
    "measure_coverage": "coverage.measure",
    "markdown_diff": "diff.report",
    "make_mutants": "mutate.mutants",
    "open_directory": "world.world",
    "open_given": "world.world",
    "open_policies": "diff.revisions",
    "open_live": "world.world",
    "read_suite": "suites.reader",
    "read_suites": "suites.reader",
    "run_directory": "suites.run",
    "run_suites": "suites.run",
    "why_query": "why.query",
    "why_row": "why.row",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605 - the table above is the list


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
