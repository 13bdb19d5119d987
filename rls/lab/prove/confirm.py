"""A counterexample → what the engine says of it: each principal's token, verified, asks for the rows.

Takes a claim and the principals and rows that refute it; builds a temporary database with those rows and nothing else,
and asks the engine through the whole way of a query. Owns that nothing is called a fact that the engine did not show.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from rls.catalog import Catalog, Relation, quote
from rls.errors import PolicyInvalid, QueryFailed, QueryRefused, RlsError
from rls.lab.prove.claims import Claim, Sight
from rls.lab.prove.models import Found
from rls.lab.suites.suite import Given
from rls.lab.world.world import World, open_given

__all__ = ["Confirmation", "confirm"]


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What the engine answered. `holds`: every sight was as the claim's refutation needs it; None: it could not be
    asked, for the `reason`. `policies` are the deciding ones of each principal that sees the row."""

    holds: bool | None
    policies: tuple[tuple[str, tuple[str, ...]], ...] = ()
    reason: str = ""


def confirm(claim: Claim, found: Found, catalog: Catalog, *, now: float) -> Confirmation:
    """Ask the engine. The clock stands at `now`, Unix time in seconds."""
    with ExitStack() as stack:
        asked = _Asked(claim, found, catalog, now, stack)
        try:
            seen = {sight: asked.sees(sight) for sight in claim.sights}
        except (PolicyInvalid, QueryRefused, QueryFailed) as error:
            return Confirmation(None, reason=f"the engine refuses it: {error.message}")
        except RlsError as error:
            return Confirmation(None, reason=f"no token can say who that is: {error.message}")
    policies = [
        (sight.asker, said.policies) for sight, said in seen.items() if sight.wanted and sight.policies == "now"
    ]
    holds = all((said.rows > 0) == sight.wanted for sight, said in seen.items())
    return Confirmation(holds, tuple(dict.fromkeys(policies)))


@dataclass(frozen=True, slots=True)
class _Said:
    rows: int
    policies: tuple[str, ...]


@dataclass
class _Asked:
    """The databases that a claim is asked of: one for each choice of its rows, opened when it is needed."""

    claim: Claim
    found: Found
    catalog: Catalog
    now: float
    stack: ExitStack
    worlds: dict[tuple[str, ...], World] = field(default_factory=dict)

    def sees(self, sight: Sight) -> _Said:
        """How many rows the row in question adds to what the principal sees: a mapping table may be the relation."""
        with_it = self._ask(sight, (sight.row,))
        if not any(relation.key == self.claim.relation.key for relation, _ in self.found.others):
            return with_it
        return _Said(with_it.rows - self._ask(sight, ()).rows, with_it.policies)

    def _ask(self, sight: Sight, rows: tuple[str, ...]) -> _Said:
        if rows not in self.worlds:
            given = [(self.claim.relation, self.found.rows[name]) for name in rows]
            data = _given([*given, *self.found.others], self.claim)
            some = next(iter(self.claim.sets.values()))
            opening = open_given(data, self.catalog, some, self.found.principals, now=self.now)
            self.worlds[rows] = self.stack.enter_context(opening)
        world = self.worlds[rows].with_policies(self.claim.sets[sight.policies])
        return _count(world, sight.asker, self.claim.relation)


def _count(world: World, asker: str, relation: Relation) -> _Said:
    name = ".".join(map(quote, (*relation.schema, relation.name)))
    try:
        result = world.session(asker).query(f"SELECT count(*) FROM {name}")
    except QueryRefused as error:
        if error.code == "query.unknown_relation":
            return _Said(0, ())  # nobody decided on it: no row is seen
        raise
    grant = world.grant(asker, relation)
    return _Said(int((result.rows or [(0,)])[0][0]), () if grant is None else grant.policies)


def _given(rows: Sequence[tuple[Relation, object]], claim: Claim) -> list[Given]:
    place = next((rules.place for policies in claim.sets.values() for rules in policies.rules), None)
    assert place is not None  # noqa: S101 - a claim is about policies
    by_relation: dict[tuple[str, ...], list[list[object]]] = {}
    relations: dict[tuple[str, ...], Relation] = {}
    for relation, row in rows:
        assert isinstance(row, dict)  # noqa: S101 - as `models` made it
        relations[relation.key] = relation
        by_relation.setdefault(relation.key, []).append([row.get(c.name) for c in relation.columns])
    return [
        Given((*relations[key].schema, relations[key].name), {}, tuple(listed), place)
        for key, listed in by_relation.items()
    ]
