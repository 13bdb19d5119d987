"""Statements about all rows and all principals, proved or refuted: `run_invariants`, `prove_text`, `proving`.

Importing this package imports no solver; the solver is the extra `prove`.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "Counterexample": "results",
    "Limits": "claims",
    "Prover": "prover",
    "Result": "results",
    "prove_text": "invariants",
    "proving": "prover",
    "run_invariants": "invariants",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605 - the table above is the list


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
