"""A mutant that no suite notices → proved to let everybody see the same, or who and which row would tell it apart.

Takes the policies before and after and a catalog; asks the solver. Without the solver nothing is known. Owns that a
mutant is only left out of the score by a proof, in both directions and for every relation it is about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final

from rls.catalog import Catalog, Relation
from rls.errors import PolicyInvalid
from rls.identity.principal import Principal
from rls.policy.policy_set import PolicySet

__all__ = ["Apart", "same_rows"]

SECONDS: Final = 2.0
MOST_RELATIONS: Final = 8


@dataclass(frozen=True)
class Apart:
    """Who sees a row under one of two policy sets only, and the row; `others` are rows of mapping tables it needs."""

    relation: Relation
    principal: Principal
    row: Mapping[str, object]
    others: tuple[tuple[Relation, Mapping[str, object]], ...] = ()


def same_rows(before: PolicySet, after: PolicySet, catalog: Catalog, relations: Sequence[Relation]) -> bool | Apart:
    """True: everybody sees the same rows of all relations. False: it is not known. Else what tells them apart."""
    if find_spec("z3") is None or len(relations) > MOST_RELATIONS:
        return False
    from rls.lab.prove.claims import Claim, Limits, Sight
    from rls.lab.prove.solve import solve
    from rls.lab.prove.types import TypeOracle

    sets = {"before": before, "after": after}
    oracle = TypeOracle(catalog)
    known = True
    try:
        for relation in relations:
            for wanted, unwanted in (("after", "before"), ("before", "after")):
                sights = (Sight("one", "row", wanted), Sight("one", "row", unwanted, wanted=False))
                try:
                    answer = solve(Claim(relation, "", sights, sets, Limits()), catalog, oracle, seconds=SECONDS)
                except PolicyInvalid:
                    return False
                # What rests on something that is not modelled is no difference yet.
                if answer.found is not None and not answer.open_parts:
                    found = answer.found
                    return Apart(relation, found.principals["one"], found.rows["row"], found.others)
                known = known and answer.status == "proved"
    finally:
        oracle.close()
    return known
