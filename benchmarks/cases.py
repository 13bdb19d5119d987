"""`cases/*.toml` → what is measured. Texts, parameters and people are data; nothing here runs anything.

In a text, `{orders}` is a relation and `{orders o}` one with an alias: read as it is, or as the sub-query that an
expert would write there by hand.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["CASES", "Case", "as_written", "choose", "load_cases", "read_case_file"]

CASES = Path(__file__).parent / "cases"
_RELATION = re.compile(r"\{(\w+)(?: (\w+))?\}")


@dataclass(frozen=True)
class Case:
    """One query: `like` says which well-known one it resembles, `parameters` are the caller's own."""

    name: str
    template: str
    like: str = ""
    parameters: Mapping[str, object] = field(default_factory=dict)

    @property
    def sql(self) -> str:
        """The text as a caller writes it."""
        return as_written(self.template)

    def by_hand(self, selects: Mapping[str, str], database: str) -> str:
        """The text with `selects` (relation → SELECT, a template too) in place of relations, and all names in full.

        >>> case = Case("", "SELECT * FROM {orders o}, {nation}")
        >>> print(case.by_hand({"orders": "SELECT * FROM {orders} WHERE id < 7"}, "data"))
        SELECT * FROM (SELECT * FROM "data".main.orders AS orders WHERE id < 7) AS o, "data".main.nation AS nation
        """

        def full(found: re.Match[str]) -> str:
            return f'"{database}".main.{found[1]} AS {found[2] or found[1]}'

        def replaced(found: re.Match[str]) -> str:
            if found[1] not in selects:
                return full(found)
            return f"({_RELATION.sub(full, selects[found[1]])}) AS {found[2] or found[1]}"

        return _RELATION.sub(replaced, self.template)


def as_written(template: str) -> str:
    """A template as a caller writes it.

    >>> as_written("SELECT * FROM {orders o}, {nation}")
    'SELECT * FROM orders o, nation'
    """
    return _RELATION.sub(lambda found: " ".join(filter(None, found.groups())), template)


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
