"""Spots → the wall between tenants: the attribute that most tables are compared with, and the column it is.

The probe that follows from it does not ask the policies: a table that has the column keeps tenants apart, or the test
fails. Owns the guess, and which roles are meant to look over the wall.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rls.catalog import Relation, fold
from rls.identity.principal import Principal
from rls.lab.seed.spots import Spots, attribute_spot, column_spot, kind_of

__all__ = ["Wall", "find_wall", "over_the_wall", "value_of"]


@dataclass(frozen=True)
class Wall:
    """`attribute` (folded) is compared with `columns`: relation key → the column, as the catalog spells it."""

    attribute: str
    columns: Mapping[tuple[str, ...], str]


def find_wall(spots: Spots, relations: Iterable[Relation]) -> Wall | None:
    """The wall, None where nothing looks like one. Columns of its name are added to the spots of their tables."""
    relations = list(relations)
    best: tuple[int, str, str] | None = None
    for attribute, walled in sorted(spots.walls.items()):
        if attribute in ("subject", "roles", "agent"):
            continue
        (name, count), *_ = Counter(spot[2] for spot in walled if len(spot) == 3).most_common(1) or [("", 0)]
        having = sum(r.column(name) is not None for r in relations)
        if count * 2 > having and (best is None or count > best[0]):
            best = (count, attribute, name)
    if best is None:
        return None
    _, attribute, name = best
    columns = {}
    for relation in relations:
        own = next((s[2] for s in spots.walls[attribute] if s[:2] == column_spot(relation)[:2] and len(s) == 3), None)
        column = relation.column(own or name)
        if column is None or kind_of(column.type) != kind_of(spots.types[attribute_spot(attribute)]):
            continue
        spot = column_spot(relation, column.name)
        spots.types.setdefault(spot, column.type)
        spots.join(attribute_spot(attribute), spot)
        columns[relation.key] = column.name
    return Wall(attribute, columns)


def value_of(persona: Principal, attribute: str) -> object:
    """A persona's value of an attribute, None without one."""
    return next((v for k, v in persona.attributes.items() if fold(k) == attribute), None)


def over_the_wall(
    foreign: Mapping[str, set[str]], seen: Mapping[str, set[str]], people: Mapping[str, Principal]
) -> frozenset[str]:
    """Who is meant to see other tenants' rows: who does in most tables of which they see anything. Where that is so for
    more than half of all sets of roles, nobody is meant to: the wall itself is broken."""
    over = frozenset(name for name, tables in foreign.items() if 2 * len(tables) > len(seen[name]))
    few = 2 * len({people[name].roles for name in over}) <= len({people[name].roles for name in seen})
    return over if few else frozenset()
