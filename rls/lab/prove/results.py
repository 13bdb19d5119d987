"""How a statement ended for one relation: proved, refuted with a counterexample the engine confirmed, or undecided.

Value objects that import nothing heavy: commands and test runs show them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rls.identity.principal import Principal

__all__ = ["Counterexample", "Result", "Verdict"]

Verdict = Literal["proved", "refuted", "undecided", "defect"]


@dataclass(frozen=True)
class Counterexample:
    """Principals and rows for which the statement is false, as the engine itself answered.

    `rows` are those of the relation; `others` rows of mapping tables (label, row) that have to be there too. Columns
    that do not matter are left out. `policies` name what decided, by principal.
    """

    principals: Mapping[str, Principal]
    rows: Mapping[str, Mapping[str, object]]
    others: tuple[tuple[str, Mapping[str, object]], ...] = ()
    policies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "principals": {
                name: {"subject": p.subject, "roles": sorted(p.roles), "attributes": dict(p.attributes)}
                for name, p in self.principals.items()
            },
            "rows": {name: dict(row) for name, row in self.rows.items()},
            "other_rows": [{"relation": label, "row": dict(row)} for label, row in self.others],
            "policies": {name: list(names) for name, names in self.policies.items()},
        }


@dataclass(frozen=True)
class Result:
    """The end of one statement about one relation.

    `reading` says in words what was claimed. `proved` holds for every row and principal, whatever the functions in
    `left_open` give. `undecided` says in `reason` why, and what was tried instead. `defect`: the prover claims a
    counterexample that the engine does not confirm; it says nothing about the policies. `by_keys` are tables whose
    primary keys were taken for granted. `file` and `line` are the invariant's, if it stands in one; `name` is its name,
    else the statement.
    """

    name: str
    statement: str
    relation: str
    verdict: Verdict
    reading: str
    counterexample: Counterexample | None = None
    left_open: tuple[str, ...] = ()
    reason: str = ""
    vacuous: bool = False
    by_keys: tuple[str, ...] = ()
    seconds: float = 0.0
    file: str = ""
    line: int = 0

    @property
    def passed(self) -> bool:
        return self.verdict == "proved"

    def to_dict(self) -> dict[str, Any]:
        """For `--json`."""
        example = self.counterexample
        return {
            "name": self.name,
            "statement": self.statement,
            "relation": self.relation,
            "verdict": self.verdict,
            "reading": self.reading,
            "counterexample": None if example is None else example.to_dict(),
            "left_open": list(self.left_open),
            "reason": self.reason,
            "vacuous": self.vacuous,
            "by_keys": list(self.by_keys),
            "seconds": round(self.seconds, 3),
            "file": self.file,
            "line": self.line,
        }
