"""Value objects of the policy laboratory: a suite of expectations, the cases in it, and how each case ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from rls.identity.principal import Principal
    from rls.lab.suites.model import Cell, Expect
    from rls.policy.rules import Place, Policy

__all__ = ["Case", "Failure", "Given", "Listed", "Outcome", "ShownRow", "Suite"]

Status = Literal["passed", "failed", "error"]


@dataclass(frozen=True, slots=True)
class Given:
    """Rows of a relation as a suite gives them: lists in the order of `columns`, or mappings. `columns` may be empty
    where a database's catalog says what there is."""

    path: tuple[str, ...]
    columns: Mapping[str, str]
    rows: tuple[Any, ...]
    place: Place

    @property
    def label(self) -> str:
        return ".".join(self.path)


@dataclass(frozen=True, slots=True)
class Listed:
    """A cell of the matrix of who sees what."""

    persona: str
    path: tuple[str, ...]
    cell: Cell
    place: Place


@dataclass(frozen=True, slots=True)
class Case:
    """One thing to look at: a persona, a relation (by label) or a query, and what is expected.

    `listed` is false for a cell of the matrix that nobody wrote: it is expected to be invisible.
    """

    id: str
    suite: str
    test: str
    persona: str
    relation: str | None
    sql: str | None
    parameters: Mapping[str, Any]
    expect: Expect
    place: Place = field(repr=False)
    listed: bool = True

    @property
    def subject(self) -> str:
        """What is read, for people."""
        return self.relation if self.relation is not None else "query"


@dataclass(frozen=True, slots=True)
class Suite:
    """A suite file. `personas` are all that are known to it; `data` is None for the live database's rows.

    `now` is Unix time in seconds. `tests` and `matrix` are what `plan_cases` makes cases of, `matrix` None without one.
    """

    name: str
    file: Path
    now: float | None
    personas: Mapping[str, Principal]
    data: tuple[Given, ...] | None
    keys: Mapping[tuple[str, ...], tuple[str, ...]]
    tests: tuple[Case, ...]
    matrix: tuple[Listed, ...] | None
    only_personas: tuple[str, ...]
    only_relations: tuple[tuple[str, ...], ...] | None
    place: Place = field(repr=False)  # of the matrix, else of the document


@dataclass(frozen=True, slots=True)
class ShownRow:
    """A row that explains a failure; `why` says which policies let it through, or hide it; `policies` are those."""

    values: Mapping[str, Any]
    why: tuple[str, ...] = ()
    policies: tuple[Policy, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """One difference. `kind` is a stable word, `message` one line; `rows` are samples of `count`, the word `label`."""

    kind: str
    message: str
    rows: tuple[ShownRow, ...] = ()
    count: int = 0
    label: str = ""

    @property
    def policies(self) -> tuple[Policy, ...]:
        """The policies behind the rows, each once."""
        return tuple({id(p): p for row in self.rows for p in row.policies}.values())

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready but for values of rows."""
        rows = [{"values": dict(row.values), "why": list(row.why)} for row in self.rows]
        policies = [
            {
                "name": p.name,
                "using": p.using.text,
                "file": p.place.file,
                "line": p.place.line,
                "column": p.place.column,
            }
            for p in self.policies
        ]
        return {"kind": self.kind, "message": self.message, "rows": rows, "count": self.count, "policies": policies}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a case ended: `failed` with differences, `error` where it could not be asked. `seconds` of wall time."""

    case: Case
    status: Status
    failures: tuple[Failure, ...] = ()
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready but for values of rows."""
        case = self.case
        return {
            "id": case.id,
            "suite": case.suite,
            "test": case.test,
            "persona": case.persona,
            "relation": case.relation,
            "query": case.sql,
            "listed": case.listed,
            "file": case.place.file,
            "line": case.place.line,
            "column": case.place.column,
            "status": self.status,
            "seconds": round(self.seconds, 6),
            "failures": [failure.to_dict() for failure in self.failures],
        }
