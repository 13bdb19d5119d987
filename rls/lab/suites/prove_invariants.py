"""invariants.yaml beside the policies → outcomes like those of cases, one for each statement and relation.

Takes loaded policies and the live database's catalog. Owns that a statement which could not be proved fails, whatever
the reason: refuted, undecided, or without a solver to ask.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rls.catalog import Catalog
from rls.errors import EngineInvalid
from rls.lab.prove.invariants import FILE, run_invariants
from rls.lab.prove.results import Result
from rls.lab.suites.suite import Case, Failure, Outcome, ShownRow, Status
from rls.lab.world.values import show
from rls.lab.yaml_flow import yaml_flow
from rls.policy.policy_set import PolicySet
from rls.policy.rules import Place, Policy
from rls.yaml_source import Document, read_documents

__all__ = ["SUITE", "count_invariants", "prove_invariants"]

SUITE = "invariants"


def count_invariants(policies: PolicySet) -> int:
    """How many statements the directory has. Raises PolicyInvalid where the file cannot be read."""
    from rls.lab.prove.model import InvariantFile
    from rls.yaml_model import validate

    path = Path(policies.directory) / FILE
    return len(validate(read_documents(path)[0], InvariantFile).invariants) if path.is_file() else 0


def prove_invariants(
    policies: PolicySet, catalog: Catalog, *, keys: Mapping[tuple[str, ...], tuple[str, ...]] | None = None
) -> list[Outcome]:
    """Every statement of the directory; none without a file. `keys` as in `run_invariants`. Raises PolicyInvalid for
    what is wrong in it."""
    path = Path(policies.directory) / FILE
    if not path.is_file():
        return []
    document = read_documents(path)[0]
    started = time.perf_counter()
    try:
        results = run_invariants(policies, catalog, keys=keys)
    except EngineInvalid as error:
        failure = Failure("invariant", f"not proved: {error}")
        case = _case(document, 0, SUITE, None)
        return [Outcome(case, "error", (failure,), time.perf_counter() - started)]
    return [_outcome(result, document, policies) for result in results]


def _outcome(result: Result, document: Document, policies: PolicySet) -> Outcome:
    lines = [document.position(("invariants", n))[0] for n in range(len(document.data["invariants"]))]
    case = _case(document, lines.index(result.line), result.name, result.relation)
    if result.passed:
        return Outcome(case, "passed", (), result.seconds)
    status: Status = "failed" if result.verdict == "refuted" else "error"
    told = f"{result.verdict}: {result.reading}" + (f"; {result.reason}" if result.reason else "")
    rows = tuple(_rows(result, policies))
    return Outcome(case, status, (Failure("invariant", told, rows, len(rows), result.verdict),), result.seconds)


def _case(document: Document, number: int, name: str, relation: str | None) -> Case:
    from rls.lab.suites.model import Expect

    place = Place(document, ("invariants", number))
    identifier = f"{Path(document.file).name}::{name}" + (f"[{relation}]" if relation else "")
    return Case(identifier, SUITE, name, "", relation, None, {}, Expect(rows="none"), place)


def _rows(result: Result, policies: PolicySet) -> Iterator[ShownRow]:
    """The rows of a counterexample, with who sees them and by which policies."""
    example = result.counterexample
    if example is None:
        return
    named = {name for names in example.policies.values() for name in names}
    deciding = tuple(p for rules in policies.rules for p in rules.policies if p.name in named)
    why = tuple(map(_who, example.principals.values()))
    why += tuple(f"while {label} has {yaml_flow(row)}" for label, row in example.others)
    columns = dict.fromkeys(name for row in example.rows.values() for name in row)
    for row in example.rows.values():
        yield ShownRow({name: row.get(name) for name in columns}, why, _of_relation(deciding, result.relation))


def _of_relation(deciding: tuple[Policy, ...], label: str) -> tuple[Policy, ...]:
    """Without those that another relation has under the same name."""

    def elsewhere(policy: Policy) -> bool:
        data: Any = policy.place.document.data
        return isinstance(data, dict) and isinstance(data.get("relation"), str) and data["relation"] != label

    return tuple(p for p in deciding if not elsewhere(p))


def _who(principal: Any) -> str:
    values = ", ".join(f"{name} {show(value)}" for name, value in principal.attributes.items())
    roles = ", ".join(sorted(principal.roles)) or "nobody's role"
    return f"seen by {principal.subject} ({roles}{'; ' + values if values else ''})"
