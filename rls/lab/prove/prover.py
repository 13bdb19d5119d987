"""Statements → results: solved, confirmed by the engine, or searched for where the solver cannot say.

Takes loaded policies and a catalog; returns a `Result` per relation. Owns what each verdict means: `proved` comes from
the solver alone, `refuted` from the engine alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final

from rls.catalog import Catalog, Relation
from rls.errors import PolicyInvalid
from rls.lab.prove.claims import Claim, Limits, claims_of
from rls.lab.prove.confirm import confirm
from rls.lab.prove.models import Found
from rls.lab.prove.results import Counterexample, Result
from rls.lab.prove.search import search
from rls.lab.prove.solve import solve
from rls.lab.prove.statements import Statement
from rls.lab.prove.types import TypeOracle
from rls.policy.policy_set import PolicySet
from rls.policy.rules import Place

__all__ = ["Prover", "proving"]

SECONDS: Final = 10.0


@dataclass(frozen=True)
class Prover:
    """Proves statements about one policy set and catalog. `now` is what policies that ask for the time are tried at;
    `keys` are primary keys by the table's key."""

    policies: PolicySet
    catalog: Catalog
    oracle: TypeOracle
    now: float
    seconds: float = SECONDS
    keys: Mapping[tuple[str, ...], tuple[str, ...]] = field(default_factory=dict)

    def prove(
        self,
        statement: Statement,
        relations: Iterable[Relation],
        *,
        place: Place,
        limits: Limits,
        older: PolicySet | None = None,
    ) -> list[Result]:
        """A result per relation. Raises ExpressionInvalid for what is wrong in the statement."""
        found = []
        for relation in relations:
            claims = claims_of(
                statement, relation, self.policies, self.catalog, place=place, limits=limits, older=older
            )
            results = [self._prove(claim, statement) for claim in claims]
            # Two directions of one statement: the first that does not hold speaks for both.
            found.append(next((r for r in results if not r.passed), results[0]))
        return found

    def _prove(self, claim: Claim, statement: Statement) -> Result:
        started = time.monotonic()
        result = self._settle(claim, Result("", statement.text, claim.relation.label, "undecided", claim.reading))
        return replace(result, name=statement.text, seconds=time.monotonic() - started)

    def _settle(self, claim: Claim, blank: Result) -> Result:
        try:
            answer = solve(claim, self.catalog, self.oracle, seconds=self.seconds, keys=self.keys)
        except PolicyInvalid as error:
            return replace(blank, reason=f"a policy does not fit the relation: {error.message}")
        blank = replace(blank, left_open=answer.open_parts)
        if answer.status == "proved":
            return replace(blank, verdict="proved", vacuous=answer.vacuous, by_keys=answer.by_keys)
        reason = "the solver cannot say" if answer.status == "unknown" else ""
        if answer.found is not None:
            confirmed = confirm(claim, answer.found, self.catalog, now=self.now)
            if confirmed.holds:
                return _refuted(blank, answer.found, confirmed.policies)
            if confirmed.holds is False and not answer.open_parts:
                return replace(blank, verdict="defect", reason="the engine does not confirm what the prover found")
            reason = confirmed.reason or f"it depends on {_listed(answer.open_parts)}, which is not modelled"
        return self._guess(claim, replace(blank, reason=reason)) or self._search(claim, replace(blank, reason=reason))

    def _guess(self, claim: Claim, blank: Result) -> Result | None:
        """A counterexample with a start and a step of each hierarchy, if the engine confirms one."""
        answer = solve(claim, self.catalog, self.oracle, seconds=self.seconds, keys=self.keys, guessing=True)
        if answer.found is None:
            return None
        confirmed = confirm(claim, answer.found, self.catalog, now=self.now)
        return replace(_refuted(blank, answer.found, confirmed.policies), reason="") if confirmed.holds else None

    def _search(self, claim: Claim, blank: Result) -> Result:
        tried = search(claim, self.catalog, now=self.now)
        if tried.found is not None:
            confirmed = confirm(claim, tried.found, self.catalog, now=self.now)
            if confirmed.holds:
                return replace(_refuted(blank, tried.found, confirmed.policies), reason="")
        said = f"{blank.reason}; {tried.principals} principals and {tried.rows} rows on the boundaries do not refute it"
        return replace(blank, reason=said)


@contextmanager
def proving(
    policies: PolicySet,
    catalog: Catalog,
    *,
    now: float | None = None,
    seconds: float = SECONDS,
    keys: Mapping[tuple[str, ...], tuple[str, ...]] | None = None,
) -> Iterator[Prover]:
    """A prover, for a `with` block."""
    oracle = TypeOracle(catalog)
    try:
        yield Prover(policies, catalog, oracle, time.time() if now is None else now, seconds, keys or {})
    finally:
        oracle.close()


def _refuted(blank: Result, found: Found, policies: Sequence[tuple[str, tuple[str, ...]]]) -> Result:
    others = tuple((relation.label, row) for relation, row in found.others)
    example = Counterexample(found.principals, found.rows, others, dict(policies))
    return replace(blank, verdict="refuted", counterexample=example)


def _listed(parts: Sequence[str]) -> str:
    shown = [part if len(part) <= 60 else f"{part[:57]}…" for part in parts[:3]]
    return ", ".join(f"`{part}`" for part in shown)
