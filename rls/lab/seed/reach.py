"""What no candidate met → a principal and rows that meet it, by the solver; or the proof that there are none.

Branches of policies are asked for by themselves; whether a policy decides alone, by what is seen with it and without.
The solver is an extra: without it nothing is added, and nothing is called unreachable that was only not found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from rls.catalog import Catalog, Relation
from rls.identity.principal import Principal
from rls.lab.coverage.measure import Point
from rls.lab.seed.goals import Goal, Near
from rls.lab.seed.limit import Limit
from rls.lab.truth.branches import branches_of, is_positive, own_sql, own_text
from rls.policy.expressions import read_expression
from rls.policy.parser import ExpressionInvalid
from rls.policy.policy_set import PolicySet, rules_for
from rls.policy.rules import Policy, Rules

if TYPE_CHECKING:
    from rls.lab.prove.claims import Claim
    from rls.lab.prove.solve import Answer
    from rls.lab.prove.types import TypeOracle

__all__ = ["Reached", "Solution", "reach"]

SECONDS: Final = 3.0
MOST: Final = 40
MOST_NEAR: Final = 64
_ASKED: Final = {"TRUE": "{}", "FALSE": "NOT ({})", "NULL": "({}) IS NULL"}
Keys = Mapping[tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True)
class Solution:
    """Somebody, and the rows that are needed together; `shown`: the first of them is seen, or hidden by one policy."""

    name: str
    shown: bool
    person: Principal
    rows: tuple[tuple[Relation, Mapping[str, object]], ...]


@dataclass
class Reached:
    """What was found, and what cannot be met: points of coverage, by place in their list, with the reason."""

    solutions: list[Solution] = field(default_factory=list)
    never: dict[int, str] = field(default_factory=dict)


def reach(
    points: Sequence[Point],
    goals: Sequence[Goal | Near],
    policies: PolicySet,
    catalog: Catalog,
    relations: Sequence[Relation],
    *,
    keys: Keys,
    limit: Limit,
) -> Reached:
    """Ask the solver for each branch among the points and for each goal, at most 40 of these kinds, 64
    of those about conditions inside sub-queries. `keys` are the
    primary keys of relations; none is asked for when the `limit` is over."""
    found = Reached()
    if find_spec("z3") is None or not (points or goals):
        return found
    from rls.lab.prove.types import TypeOracle

    with closing(TypeOracle(catalog)) as oracle:
        asking = _Asking(found, policies, catalog, relations, keys, limit, oracle)
        branches = [(number, point) for number, point in enumerate(points) if point.kind == "branch"]
        for number, point in branches[:MOST]:
            if not limit.is_over("the solver was not asked for all"):
                asking.ask(number, point)
        for aim in [g for g in goals if isinstance(g, Goal)][:MOST]:
            if not limit.is_over("the solver was not asked for all"):
                asking.ask_goal(aim)
        for near in [g for g in goals if isinstance(g, Near)][:MOST_NEAR]:
            if not limit.is_over("the solver was not asked for all"):
                asking.ask_near(near)
    return found


@dataclass
class _Asking:
    """What the solver is asked with; `found` grows."""

    found: Reached
    policies: PolicySet
    catalog: Catalog
    relations: Sequence[Relation]
    keys: Keys
    limit: Limit
    oracle: TypeOracle

    def ask(self, number: int, point: Point) -> None:
        """Who and which row meet a point."""
        from rls.lab.prove.claims import Claim, Limits, Sight

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
            asked = self._only(relation, (Policy("condition", "permissive", None, using, policy.place),), policy)
            limits = Limits(tuple(sorted(policy.roles or ())))
            claim = Claim(relation, point.part, (Sight("one", "row", "asked"),), {"asked": asked}, limits)
            answer = self._solve(claim, f"for_{policy.name}_{number}", shown=False)
            if answer.found is not None:
                return
            proved += answer.status == "proved"
        if covered and proved == len(covered[:3]) and len(covered) <= 3:
            self.found.never[number] = "no principal and no row make it so"

    def ask_goal(self, goal: Goal) -> None:
        """Who sees a row by this policy alone, or by this policy alone does not; else who sees a row by it at all."""
        from rls.lab.prove.claims import Claim, Limits, Sight

        policy = goal.policy
        every = tuple(p for r in rules_for(self.policies, goal.relation, self.catalog) for p in r.policies)
        others = tuple(p for p in every if p is not policy)
        opens = policy.kind == "permissive"
        sets = {"with": self._only(goal.relation, every, policy), "without": self._only(goal.relation, others, policy)}
        alone = (Sight("one", "row", "with", wanted=opens), Sight("one", "row", "without", wanted=not opens))
        limits = Limits(() if goal.role is None else (goal.role,))
        for sights in (alone, alone[:1]) if opens else (alone,):
            named = {s.policies: sets[s.policies] for s in sights}
            answer = self._solve(Claim(goal.relation, "", sights, named, limits), f"by_{policy.name}", shown=True)
            if answer.found is not None:
                return

    def ask_near(self, near: Near) -> None:
        """Who would see a row, or see it no more, if rows counted that one part of a condition keeps out."""
        from rls.lab.prove.claims import Claim, Limits, Sight

        policy, leaf = near.policy, near.leaf
        text = policy.using.text
        try:
            made = own_sql(near.tree)
            whole = f"{text[: leaf.start]}({made}){text[leaf.end :]}" if leaf.end else made
            using = read_expression(whole, self.policies.attributes, branches=True)
        except ExpressionInvalid:
            return
        every = tuple(p for r in rules_for(self.policies, near.relation, self.catalog) for p in r.policies)
        changed = tuple(replace(policy, using=using) if p is policy else p for p in every)
        sets = {"now": self._only(near.relation, every, policy), "near": self._only(near.relation, changed, policy)}
        # The solver brings rows for what a sub-query finds, never for what it does not find.
        finds = is_positive(policy.using.root, leaf)
        sights = (Sight("one", "row", "near", wanted=finds), Sight("one", "row", "now", wanted=not finds))
        limits = Limits(tuple(sorted(policy.roles or ())))
        self._solve(Claim(near.relation, "", sights, sets, limits), f"near_{policy.name}", shown=False)

    def _only(self, relation: Relation, policies: tuple[Policy, ...], some: Policy) -> PolicySet:
        path = (*relation.schema, relation.name)
        rules = Rules(path, public=False, policies=policies, columns=(), place=some.place)
        return replace(self.policies, rules=(rules,))

    def _solve(self, claim: Claim, name: str, *, shown: bool) -> Answer:
        from rls.errors import PolicyInvalid
        from rls.lab.prove.solve import Answer, solve

        try:
            answer = solve(
                claim, self.catalog, self.oracle, seconds=min(SECONDS, self.limit.left + 0.1), keys=self.keys
            )
        except PolicyInvalid:
            return Answer("unknown")
        if answer.found is not None:
            taken = sum(s.name.startswith(name) for s in self.found.solutions)
            rows = ((claim.relation, answer.found.rows.get("row", {})), *answer.found.others)
            person = answer.found.principals["one"]
            self.found.solutions.append(Solution(f"{name}_{taken + 1}" if taken else name, shown, person, rows))
        return answer
