"""What no candidate met → a principal and rows that meet it, by the solver; or the proof that there are none.

The solver is an extra: without it nothing is added, and nothing is called unreachable that was only not found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from rls.catalog import Catalog, Relation
from rls.identity.principal import Principal
from rls.lab.coverage.measure import Point
from rls.lab.truth.branches import branches_of, own_text
from rls.policy.expressions import read_expression
from rls.policy.parser import ExpressionInvalid
from rls.policy.policy_set import PolicySet, rules_for
from rls.policy.rules import Policy, Rules

if TYPE_CHECKING:
    from rls.lab.prove.types import TypeOracle

__all__ = ["Reached", "reach"]

SECONDS: Final = 3.0
MOST: Final = 40
_ASKED: Final = {"TRUE": "{}", "FALSE": "NOT ({})", "NULL": "({}) IS NULL"}


@dataclass
class Reached:
    """People and rows (relation key → rows) to add, and what cannot be met: points with the reason."""

    people: dict[str, Principal] = field(default_factory=dict)
    rows: dict[tuple[str, ...], list[Mapping[str, object]]] = field(default_factory=dict)
    never: dict[int, str] = field(default_factory=dict)  # by place in the list of points


def reach(points: Sequence[Point], policies: PolicySet, catalog: Catalog, relations: Sequence[Relation]) -> Reached:
    """Ask the solver for each branch among the points, at most 40."""
    found = Reached()
    if find_spec("z3") is None:
        return found
    from rls.lab.prove.types import TypeOracle

    oracle = TypeOracle(catalog)
    asking = _Asking(found, policies, catalog, relations, oracle)
    try:
        for number, point in enumerate(points):
            if point.kind == "branch" and len(found.people) + len(found.never) < MOST:
                asking.ask(number, point)
    finally:
        oracle.close()
    return found


@dataclass
class _Asking:
    """What the solver is asked with; `found` grows."""

    found: Reached
    policies: PolicySet
    catalog: Catalog
    relations: Sequence[Relation]
    oracle: TypeOracle

    def ask(self, number: int, point: Point) -> None:
        """Who and which row meet a point."""
        from rls.lab.prove.claims import Claim, Limits, Sight
        from rls.lab.prove.solve import solve

        policy = next((p for r in self.policies.rules for p in r.policies if p.place is point.place), None)
        if policy is None:
            return
        branch = next((b for b in branches_of(policy.using.root) if (b.start, b.end) == (point.start, point.end)), None)
        if branch is None:
            return
        text = _ASKED[point.state].format(own_text(policy.using.text, branch))
        covered = [
            r for r in self.relations if any(policy in x.policies for x in rules_for(self.policies, r, self.catalog))
        ]
        proved = 0
        for relation in covered[:3]:
            try:
                using = read_expression(text, self.policies.attributes, branches=True)
            except ExpressionInvalid:
                return
            only = (Policy("condition", "permissive", None, using, policy.place),)
            rules = Rules(
                (*relation.schema, relation.name), public=False, policies=only, columns=(), place=policy.place
            )
            asked = replace(self.policies, rules=(rules,))
            limits = Limits(tuple(sorted(policy.roles or ())))
            claim = Claim(relation, point.part, (Sight("one", "row", "asked"),), {"asked": asked}, limits)
            answer = solve(claim, self.catalog, self.oracle, seconds=SECONDS)
            if answer.found is not None:
                self.found.people[f"for_{policy.name}_{number}"] = answer.found.principals["one"]
                rows = [(relation, answer.found.rows.get("row", {})), *answer.found.others]
                for each, row in rows:
                    self.found.rows.setdefault(each.key, []).append(dict(row))
                return
            proved += answer.status == "proved"
        if covered and proved == len(covered[:3]) and len(covered) <= 3:
            self.found.never[number] = "no principal and no row make it so"
