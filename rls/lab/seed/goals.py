"""What was met → what is still to be met beyond coverage: somebody sees a row by each policy, and by it alone.

Takes the rules and the points of a choice. Owns that a table which nobody ever sees a row of is asked for: tests of it
would pass whatever its policies said.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from rls.catalog import Relation
from rls.lab.seed.meet import Eye, Point, untold
from rls.policy.expressions import Branch
from rls.policy.parser import Tree
from rls.policy.rules import Bound, Policy

__all__ = ["Goal", "Near", "find_goals", "find_near"]


@dataclass(frozen=True)
class Goal:
    """A row of a relation that somebody with a role (None: with any, or none) sees by a permissive policy, or does not
    see by a restrictive one, while the others do not matter."""

    relation: Relation
    policy: Policy
    role: str | None


@dataclass(frozen=True)
class Near:
    """Rows that one part of a condition inside a sub-query keeps out, and somebody for whom that decides. `tree` is the
    policy's `leaf` as it is where such rows are there."""

    relation: Relation
    policy: Policy
    leaf: Branch
    tree: Tree


def find_near(eye: Eye, bounds: Iterable[Bound], met: Collection[Point]) -> list[Near]:
    """What nothing tells of yet, once for each policy."""
    found: dict[tuple[int, int], list[Near]] = {}
    for bound in bounds:
        listed = [Near(bound.relation, *each) for each in untold(eye, bound, met)]
        for near in listed:
            mine = found.setdefault((id(near.policy), id(near.leaf)), [])
            if all(other.relation is near.relation for other in mine):
                mine.append(near)
    return [near for listed in found.values() for near in listed]


def find_goals(bounds: Iterable[Bound], met: Collection[Point]) -> list[Goal]:
    """Goals that are not met, those of tables that a role sees nothing of first."""
    # What a policy would do for a role that it is not for is met, too: hence the roles.
    shown = {(point[1], point[2]) for point in met if point[0] == "alone" and point[3] is True}
    shown_to_any = {policy for policy, _ in shown}
    hidden = {point[1] for point in met if point[0] == "alone" and point[3] is not True}
    unseen: list[Goal] = []
    others: dict[tuple[int, str | None], Goal] = {}
    for bound in bounds:
        for each in bound.policies if not bound.public else ():
            policy = each.policy
            for role in _roles(policy):
                goal = Goal(bound.relation, policy, role)
                if policy.kind == "restrictive":
                    missing = id(policy) not in hidden
                elif role is None:
                    missing = id(policy) not in shown_to_any
                else:
                    missing = (id(policy), (role,)) not in shown
                    if ("visible", bound.relation.key, (role,), True) not in met:
                        unseen.append(goal)
                        continue
                if missing:
                    others.setdefault((id(policy), role), goal)
    return [*unseen, *others.values()]


def _roles(policy: Policy) -> Iterator[str | None]:
    if policy.kind == "permissive" and policy.roles is not None:
        yield from sorted(policy.roles)
    else:
        yield None
