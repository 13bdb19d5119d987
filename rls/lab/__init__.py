"""The policy laboratory: tests, matrix and what else analysts need to trust their policies. Names load when used."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "Case": "suite",
    "Coverage": "coverage",
    "Filters": "run",
    "Matrix": "matrix",
    "Outcome": "suite",
    "Run": "run",
    "Suite": "suite",
    "World": "world",
    "compute_matrix": "matrix",
    "json_schema": "schemas",
    "make_start": "start.make",
    "measure_coverage": "coverage",
    "make_mutants": "mutants",
    "open_given": "world",
    "open_live": "world",
    "read_suite": "reader",
    "read_suites": "reader",
    "run_directory": "run",
    "run_suites": "run",
    "why_query": "query_steps",
    "why_row": "row_truth",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605 - the table above is the list


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
