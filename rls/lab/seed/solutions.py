"""What the solver found → people and rows beside the others that are tried, with keys of their own.

Takes solutions, each a person and rows that belong together; returns rows by relation. Owns that two solutions never
share a key, and that each is also told of somebody who is there already: `ada` reads better than a made-up name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count, islice
from typing import Any, Final

from rls.catalog import Relation, fold
from rls.identity.principal import Principal
from rls.lab.seed.pools import Pools
from rls.lab.seed.reach import Solution
from rls.lab.seed.spots import Spot, Spots, column_spot, kind_of
from rls.lab.seed.wall import Wall, value_of

__all__ = ["place_solutions"]

MOST_TOLD: Final = 3
FIRST: Final = 301  # beyond the keys that rows are numbered with
Placed = dict[tuple[str, ...], list[dict[str, object]]]


def place_solutions(
    solutions: Sequence[Solution],
    spots: Spots,
    pools: Pools,
    existing: Mapping[str, Principal],
    wall: Wall | None,
    *,
    named: Mapping[tuple[str, ...], tuple[str, ...]],
) -> tuple[dict[str, Principal], Placed, Placed]:
    """People by name, rows by the key of their relation, and those among them that are shown to somebody. `named` are
    the columns that name rows, by relation."""
    rows: Placed = {}
    shown: Placed = {}
    numbers = count(FIRST)
    found: dict[str, Principal] = {}
    for each in solutions:
        own = _named_by(each, spots, named)
        solution = _renamed(each, own)
        found[solution.name] = solution.person
        # Of somebody who is there a row with such a key is there, too, and others rest on it.
        for person, told in _tellings(solution, {} if own else existing):
            keys = _Keys(spots, pools, numbers, person)
            for relation, row in told:
                made = {name: keys.renamed(column_spot(relation, name), value) for name, value in row.items()}
                if wall is not None and relation.key in wall.columns:
                    made.setdefault(wall.columns[relation.key], value_of(person, wall.attribute))
                rows.setdefault(relation.key, []).append(made)
            if solution.shown:
                key = solution.rows[0][0].key
                shown.setdefault(key, []).append(rows[key][-len([r for r, _ in told if r.key == key])])
    return found, rows, shown


def _named_by(solution: Solution, spots: Spots, named: Mapping[tuple[str, ...], tuple[str, ...]]) -> dict[str, str]:
    """Attributes that say the key of a row in the solution, as `email` of a table of people: with their values."""
    found = {}
    held = {
        fold(name): value for name, value in [*solution.person.attributes.items(), ("subject", solution.person.subject)]
    }
    for relation, row in solution.rows:
        key = named.get(relation.key, ())
        spot = column_spot(relation, key[0]) if len(key) == 1 else None
        if spot is None or spot not in spots.types or spots.constants(spots.group(spot)):
            continue
        for member in spots.members(spots.group(spot)):
            value = held.get(member[1]) if member[0] == "attribute" else None
            if isinstance(value, str) and row.get(key[0]) == value:
                found[member[1]] = value
    return found


def _renamed(solution: Solution, own: Mapping[str, str]) -> Solution:
    """The solution with a person whose keys nobody else has."""
    if not own:
        return solution
    words: dict[object, str] = {value: f"{value}-{solution.name}" for value in own.values()}
    person = solution.person
    attributes = {
        k: words.get(v, v) if fold(k) in own and isinstance(v, str) else v for k, v in person.attributes.items()
    }
    subject = words.get(person.subject, person.subject) if "subject" in own else person.subject
    rows = tuple((r, {name: _said(value, words) for name, value in row.items()}) for r, row in solution.rows)
    return replace(solution, person=replace(person, subject=subject, attributes=attributes), rows=rows)


def _tellings(
    solution: Solution, existing: Mapping[str, Principal]
) -> Iterator[tuple[Principal, tuple[tuple[Relation, Mapping[str, object]], ...]]]:
    """The rows as they are, and as they would be for a few who have the same roles."""
    yield solution.person, solution.rows
    for person in islice((p for p in existing.values() if p.roles == solution.person.roles), MOST_TOLD):
        words = _words(solution.person, person)
        yield (
            person,
            tuple(
                (relation, {name: _said(value, words) for name, value in row.items()})
                for relation, row in solution.rows
            ),
        )


def _words(found: Principal, person: Principal) -> dict[object, object]:
    """What somebody's texts are called by somebody else."""
    words: dict[object, object] = {found.subject: person.subject}
    theirs = {fold(name): value for name, value in person.attributes.items()}
    for name, value in found.attributes.items():
        other = theirs.get(fold(name))
        mine, yours = (v if isinstance(v, tuple) else (v,) for v in (value, other))
        words |= {a: b for a, b in zip(mine, yours, strict=False) if isinstance(a, str) and isinstance(b, str)}
    return words


def _said(value: object, words: Mapping[Any, object]) -> object:
    if isinstance(value, list | tuple):
        return [_said(item, words) for item in value]
    return words.get(value, value) if isinstance(value, str) else value


@dataclass
class _Keys:
    """The keys of one solution: those that mean nothing but themselves get a value that no other solution has."""

    spots: Spots
    pools: Pools
    numbers: Iterator[int]
    person: Principal
    names: dict[tuple[Spot, object], object] = field(default_factory=dict)

    def renamed(self, spot: Spot, value: object) -> object:
        """The same wherever it stands."""
        if value is None or isinstance(value, list | dict) or spot not in self.spots.types:
            return value
        if not self.pools.is_key(spot) and (not self.spots.hangs(spot) or value in self._said(spot)):
            return value
        key = (self.spots.group(spot), value)
        if key not in self.names:
            number = next(self.numbers)
            whole = kind_of(self.spots.types[spot]) == "integer"
            self.names[key] = number if whole else f"{spot[-1]}-{number}"
        return self.names[key]

    def _said(self, spot: Spot) -> list[object]:
        """What conditions and the person's attributes say of a spot: only that stays as it is."""
        group = self.spots.group(spot)
        names = [s[1] for s in self.spots.members(group) if s[0] == "attribute"]
        held = [self.person.subject if name == "subject" else value_of(self.person, name) for name in names]
        return [*self.spots.constants(group), *(item for value in held for item in _as_tuple(value))]


def _as_tuple(value: object) -> tuple[object, ...]:
    return value if isinstance(value, tuple) else (value,)
