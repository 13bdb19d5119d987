"""`cases/*.toml` → what is measured. Texts, parameters and people are data; nothing here runs anything."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["CASES", "Case", "choose", "load_cases", "read_case_file"]

CASES = Path(__file__).parent / "cases"


@dataclass(frozen=True)
class Case:
    """One query: `like` says which well-known one it resembles, `parameters` are the caller's own."""

    name: str
    sql: str
    like: str = ""
    parameters: Mapping[str, object] = field(default_factory=dict)


def load_cases(name: str) -> list[Case]:
    """The queries of `cases/<name>.toml`, in the order of the file."""
    entries = read_case_file(name)["query"]
    return [Case(q["name"], q["sql"].strip(), q.get("like", ""), q.get("parameters", {})) for q in entries]


def choose(cases: Iterable[Case], wanted: tuple[str, ...]) -> list[Case]:
    """Those whose name holds one of `wanted`; all, if nothing is."""
    return [case for case in cases if not wanted or any(w in case.name for w in wanted)]


def read_case_file(name: str) -> dict[str, Any]:
    """All that `cases/<name>.toml` says."""
    return tomllib.loads((CASES / f"{name}.toml").read_text(encoding="utf-8"))
