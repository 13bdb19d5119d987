"""One relation's spots and pools → the rows that are tried in it: what suits a persona, and that with a thing changed.

Takes the relation, who asks, and the rows of tables that it points to; returns its rows as mappings by column. Owns
that each slip in a table of mappings or a hierarchy is told by some row, and that a table stays small enough to read.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

from rls.catalog import Relation, fold
from rls.identity.principal import Principal
from rls.lab.seed.hierarchies import ALONE, grow, without_circle
from rls.lab.seed.people import MOST_OTHERS
from rls.lab.seed.pools import Pools, plain_value
from rls.lab.seed.spots import Spot, Spots, column_spot, kind_of

__all__ = ["MOST_READ", "Row", "Table"]

MOST: Final = 160
MOST_READ: Final = 280  # of a table that sub-queries read
MOST_VALUES: Final = 10  # of a column
MOST_BASES: Final = 10
LEAST: Final = 48
FIRST_KEYS: Final = 8
FAMILIES: Final = 6
MOST_ALONE: Final = 120  # rows of a table that others map somebody to, some of them alike
MORE_KEYS: Final = 12
Row = dict[str, object]


@dataclass
class Table:
    """One relation's rows. `made` has the rows of tables that own a group of keys, `alone` the keys of theirs that are
    below no other row, `apart` those below a row where nobody starts."""

    relation: Relation
    spots: Spots
    pools: Pools
    people: Sequence[Principal]
    made: Mapping[Spot, list[Row]]
    alone: dict[Spot, list[Any]]
    apart: dict[Spot, list[Any]]
    owned: str | None
    source: random.Random
    extra: tuple[Spot, ...]

    @property
    def columns(self) -> list[Spot]:
        return list(dict.fromkeys([*self.spots.used.get(self.relation.key, {}), *self.extra]))

    def rows(self) -> list[Row]:
        owned = None if self.owned is None else column_spot(self.relation, self.owned)
        varied = [s for s in self.columns if s != owned]
        values = {s: self._values(s) for s in varied}
        picked: dict[tuple[Any, ...], None] = {}
        single: list[tuple[Any, ...]] = []
        size = 1
        for listed in values.values():
            size *= len(listed)
        bases = [self._suiting(p, varied, values) for p in self.people]
        for base in bases:
            picked[tuple(base.values())] = None
        if size <= LEAST:
            picked.update(dict.fromkeys(tuple(row) for row in product(*values.values())))
        else:
            some = [values[s] if self._points_to(s) else values[s][: self._many(s)] + values[s][-2:] for s in varied]
            one, two = self._changed(list(picked)[:MOST_BASES], some)
            # What suits somebody stays in any case.
            single = self._single(bases, varied, some) if self.relation.key in self.spots.read else []
            picked = dict.fromkeys([*picked, *single, *one[: MOST * 2 // 3], *two])
        most = MOST_READ if self.relation.key in self.spots.read else MOST
        suiting = {tuple(base.values()) for base in bases}
        chosen: list[tuple[Any, ...]] = self._thinned(
            self._few_nulls(list(picked), varied), varied, suiting, telling=set(single)
        )[:most]
        above = [n for n, s in enumerate(varied) if self._is_above(s)]
        names = [] if owned is None else self.pools.values(owned)
        if owned is not None and above:
            asked = self._asked(owned)
            names = [*dict.fromkeys([*asked, *names])]
            # Each key that somebody is asked for names a row of theirs, at the top; then families of the same people.
            bases = [*(bases[number] for number in asked.values()), *bases]
            rows = [self._plain(tuple(base.values()), varied, above, values) for base in bases[: len(asked)]]
            rows = self._differing(rows, list(asked.values()), varied, above, values)
            chosen = [*rows, *chosen]
            if self.relation.key in self.spots.walked:
                chosen = [without_circle(row, above, names, number) for number, row in enumerate(chosen)]
            if self.relation.key in self.spots.read:
                heads = [*self._heads(list(asked.values())), *range(FAMILIES)]
                tops = list(dict.fromkeys(heads))[: FAMILIES + MOST_OTHERS]
                plain = {n: self._plain(tuple(bases[n].values()), varied, above, values) for n in tops if bases[n:]}
                hierarchy = grow(plain, above, names, room=min(most, len(names)), after=len(chosen))
                chosen = [*chosen[: hierarchy.first], *hierarchy.rows]
                self.alone[self.spots.group(owned)] = hierarchy.alone
                self.apart[self.spots.group(owned)] = [*hierarchy.apart, *hierarchy.lines]
        if owned is not None and not above and self._is_mapped_to(owned):
            # Each slip of a table of mappings is told by a key that nothing else maps somebody to.
            kinds = list(dict.fromkeys(chosen[: len(bases)]))
            chosen += [row for row in kinds for _ in range(ALONE)][: max(0, MOST_ALONE - len(chosen))]
        return [
            self._row(varied, row, names[number] if owned is not None else None, number)
            for number, row in enumerate(chosen[: len(names)] if owned is not None else chosen)
        ]

    def _many(self, spot: Spot) -> int:
        """How many values of a column are tried: what it is compared with, and of texts that are parts what is near."""
        group = self.spots.group(spot)
        constants = self.spots.constants(group)
        patterns = any(isinstance(value, str) and set("%_") & set(value) for value in constants)
        if patterns or self.spots.parted & set(self.spots.members(group)):
            return MOST_VALUES
        return max(6, min(MOST_VALUES, 2 + len(constants)))

    def _differing(
        self,
        rows: Sequence[tuple[Any, ...]],
        owners: Sequence[int],
        varied: Sequence[Spot],
        above: Sequence[int],
        values: Mapping[Spot, list[Any]],
    ) -> list[tuple[Any, ...]]:
        """Rows of people (`owners`, by number) who differ in nothing but whose row it is: each with another change."""
        free = [n for n, spot in enumerate(varied) if n not in above and not self._is_asker(spot)]
        turns: dict[object, int] = {}
        made = []
        for row, number in zip(rows, owners, strict=True):
            person = self.people[number]
            rest = {k: v for k, v in person.attributes.items() if fold(k) not in self.spots.naming}
            alike = (person.roles, tuple(sorted(rest.items(), key=str)))
            turn = turns.get(alike, 0)
            turns[alike] = turn + 1
            changes = _telling(free, [values[spot] for spot in varied], row)[: turn if turn else 0]
            n, value = changes[-1] if changes and len(changes) == turn else (0, row[0] if row else None)
            made.append((*row[:n], value, *row[n + 1 :]) if row else row)
        return made

    def _heads(self, owners: Sequence[int]) -> list[int]:
        """Numbers of the rows that are somebody's own, for whom such a row decides."""
        roles = list(self.spots.naming.values())
        if None in roles or not roles:
            return []
        deciding = frozenset[str]().union(*(r for r in roles if r is not None))
        return [place for place, number in enumerate(owners) if self.people[number].roles & deciding]

    def _asked(self, owned: Spot) -> dict[Any, int]:
        """The keys of this table that attributes name: each with the number of somebody who has it."""
        group = self.spots.group(owned)
        names = [s[1] for s in self.spots.members(group) if s[0] == "attribute"]
        found: dict[Any, int] = {}
        for number, person in enumerate(self.people):
            for value in (v for name in names for v in _of(person, name)):
                found.setdefault(value, number)
        return found

    def _changed(self, rows: Sequence[tuple[Any, ...]], values: Sequence[list[Any]]) -> tuple[list[Any], list[Any]]:
        """Rows with one value changed, and with two, each in no order."""
        one: dict[Any, None] = {}
        two: dict[Any, None] = {}
        for row in rows:
            for i, first in enumerate(values):
                for value in first:
                    changed = (*row[:i], value, *row[i + 1 :])
                    one[changed] = None
                    for j in range(i + 1, len(values)):
                        two.update(dict.fromkeys((*changed[:j], other, *changed[j + 1 :]) for other in values[j]))
        singles, pairs = list(one), [row for row in two if row not in one]
        self.source.shuffle(singles)
        self.source.shuffle(pairs)
        # `until IS NULL` beside another customer is what tables of mappings are made of.
        return singles, sorted(pairs, key=lambda row: None not in row)

    def _single(
        self, bases: Sequence[Mapping[Spot, Any]], varied: Sequence[Spot], values: Sequence[list[Any]]
    ) -> list[tuple[Any, ...]]:
        """Of a table of mappings: rows that map somebody to a key which nothing else maps them to, with one thing
        changed. Beside a row that maps them to it already, the change would tell nothing."""
        keys = self._mapped(varied)
        rest = [n for n in range(len(varied)) if n not in keys]
        askers = [n for n in rest if self._is_asker(varied[n])]
        found: dict[tuple[Any, ...], None] = {}
        mapped: set[tuple[Any, ...]] = set()
        for number, base in enumerate(bases[:MOST_BASES] if keys and rest else ()):
            row = tuple(self._as_asked(spot, value, values[n]) for n, (spot, value) in enumerate(base.items()))
            found[row] = None
            who = tuple(row[n] for n in askers)
            if askers and who in mapped:
                continue
            mapped.add(who)
            named = {key: self._other_keys(varied[key], values[key], row[key], number) for key in keys}
            room = max(map(len, named.values()))
            for turn, (n, value) in enumerate(_telling([n for n in rest if n not in askers], values, row)[:room]):
                changed = [*row[:n], value, *row[n + 1 :]]
                for key, others in named.items():
                    changed[key] = others[(number + turn) % len(others)] if others else row[key]
                found[tuple(changed)] = None
        return list(found)

    def _mapped(self, varied: Sequence[Spot]) -> list[int]:
        """Of a table of mappings: what somebody is mapped to, keys of a table or else what is held against the row."""
        pointing = [n for n, spot in enumerate(varied) if self._points_to(spot)]
        # Of `(email, team)` in a set with a table of people, too, it is the team that they are mapped to.
        keys = [n for n in pointing if varied[n] not in self.spots.held] or pointing
        return keys or [n for n, spot in enumerate(varied) if not self._is_asker(spot) and self._meets_others(spot)]

    def _meets_others(self, spot: Spot) -> bool:
        """Whether a column of text, the same or a part of it, is held against one of another table."""
        members = self.spots.members(self.spots.group(spot))
        others = any(s[0] == "column" and s[1] != spot[1] for s in members)
        return others and kind_of(self.spots.types[spot]) == "text"

    def _other_keys(self, spot: Spot, values: Sequence[Any], own: Any, number: int) -> list[Any]:
        """The keys that a person may be mapped to besides the one that is theirs."""
        # What lies below another key of theirs would be theirs anyway.
        group = self.spots.group(spot)
        alone = self.alone.get(group, [])
        named = [v for v in values if v in alone] or [*values, *self._further_keys(spot)]
        named = [v for v in dict.fromkeys(named) if v is not None and v != own]
        return (self._keys_for(self.people[number], spot, named) if group in self.made else []) or named

    def _further_keys(self, spot: Spot) -> list[Any]:
        """Keys of the table pointed to, besides those that are tried."""
        known = set(self.pools.values(spot))
        return [
            v for row in self.made.get(self.spots.group(spot), ()) for v in row.values() if _plain(v) and v in known
        ]

    def _as_asked(self, spot: Spot, value: Any, values: Sequence[Any]) -> Any:
        """A value that conditions on the column alone let pass: no value, or one beside the constant."""
        asked = self.spots.asked.get(spot, set())
        near = [v for v in values[:3] if v is not None]
        if "null" in asked and None in values:
            return None
        if len(asked & {"less", "more"}) == 1 and near and not self._is_asker(spot) and not self._points_to(spot):
            return max(near) if "more" in asked else min(near)
        return value

    def _keys_for(self, person: Principal, spot: Spot, keys: Sequence[Any]) -> list[Any]:
        """Those of some keys whose rows hold something of the person's: the same tenant."""
        theirs = {v for v in person.attributes.values() if isinstance(v, str)}
        rows = self.made[self.spots.group(spot)]
        return [k for k in keys if any(k in row.values() and theirs & _texts(row) for row in rows)]

    def _is_asker(self, spot: Spot) -> bool:
        """Whether a column holds what an attribute says."""
        return any(s[0] == "attribute" for s in self.spots.members(self.spots.group(spot)))

    def _few_nulls(self, rows: list[tuple[Any, ...]], varied: Sequence[Spot]) -> list[tuple[Any, ...]]:
        """Where sub-queries read it, NULL keys in two rows only: beside one, nothing is surely not `IN` the rest."""
        if self.relation.key not in self.spots.read:
            return rows
        pointing = [n for n, spot in enumerate(varied) if self._points_to(spot)]
        nulls = [row for row in rows if any(row[n] is None for n in pointing)]
        return [row for row in rows if row not in nulls[2:]]

    def _thinned(
        self, rows: list[tuple[Any, ...]], varied: Sequence[Spot], suiting: set[Any], *, telling: set[Any]
    ) -> list[tuple[Any, ...]]:
        """Where sub-queries read it, one row only of each pair that a mapping is about, one of `telling` if there is:
        `until IS NULL` decides nothing while each pair is there with and without an end. Of pairs that suit
        somebody, the rows that do."""
        mapped = self._mapped(varied)
        naming = [n for n, spot in enumerate(varied) if n in mapped or self._points_to(spot) or self._is_asker(spot)]
        if self.relation.key not in self.spots.read or len(naming) in (0, len(varied)):
            return rows
        pairs: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
        for row in rows:
            pairs.setdefault(tuple(row[n] for n in naming), []).append(row)
        thin = [group for group in pairs.values() if len(group) > 1]
        few = [[row for row in group if row in telling] or group for group in thin if not suiting & set(group)]
        kept = {group[place % len(group)] for place, group in enumerate(few)} | suiting
        kept |= {row for group in thin if suiting & set(group) for row in group if row in telling}
        gone = {row for group in thin for row in group if row not in kept}
        return [row for row in rows if row not in gone]

    def _plain(
        self, row: tuple[Any, ...], varied: Sequence[Spot], above: Sequence[int], values: Mapping[Spot, list[Any]]
    ) -> tuple[Any, ...]:
        """A row of somebody's tenant that is nobody's own, at the top of its hierarchy."""
        changed = list(row)
        for n, spot in enumerate(varied):
            if n in above or (self._is_asker(spot) and spot not in self.extra):
                changed[n] = None if None in values[spot] else values[spot][-1]
        return tuple(changed)

    def _points_to(self, spot: Spot) -> bool:
        """Whether a column holds keys of a table."""
        return self.spots.group(spot) in self.made

    def _is_mapped_to(self, spot: Spot) -> bool:
        """Whether a column's keys stand in another table that sub-queries read, and in few rows of its own."""
        tables = {s[1] for s in self.spots.members(self.spots.group(spot)) if s[0] == "column"}
        return any(".".join(key) in tables and key != self.relation.key for key in self.spots.read)

    def _is_above(self, spot: Spot) -> bool:
        """Whether a column holds keys of its own table."""
        owned = None if self.owned is None else column_spot(self.relation, self.owned)
        return owned is not None and self.spots.group(spot) == self.spots.group(owned)

    def _values(self, spot: Spot) -> list[Any]:
        """What is tried in a column: some keys of the table it points to, else its pool; NULL where it may be."""
        column = self.relation.column(spot[2])
        nullable: list[Any] = [None] if column is None or column.nullable else []
        target = self.made.get(self.spots.group(spot))
        pool = self.pools.values(spot)
        if target is not None:
            named = [*dict.fromkeys(row[name] for row in target for name in row if row[name] in pool)]
            others = named[FIRST_KEYS:]
            self.source.shuffle(others)
            hung = [key for keys in (self.apart, self.alone) for key in keys.get(self.spots.group(spot), ())]
            pool = [*dict.fromkeys([*named[:FIRST_KEYS], *others[:MORE_KEYS], *hung]), pool[-1]]
        elif self._is_above(spot) and len(pool) > 14:
            pool = [*pool[:14], pool[-1]]  # its own table's keys: the first ones are there
        if kind_of(self.spots.types[spot]) == "other":
            pool = []
        elif self.spots.types[spot].endswith("[]"):
            # As tuples, which rows are found by; a cell is a list.
            pool = [(v,) for v in pool[:4]] + [tuple(pool[:2]), ()]
        return [*pool, *nullable] or [None]

    def _suiting(self, person: Principal, varied: Sequence[Spot], values: Mapping[Spot, list[Any]]) -> dict[Spot, Any]:
        """A row that has the person's attributes wherever they are compared with a column."""
        row: dict[Spot, Any] = {}
        for spot in varied:
            group = self.spots.group(spot)
            mine = [v for s in self.spots.members(group) if s[0] == "attribute" for v in _of(person, s[1])]
            mine = [v for v in mine if v in values[spot] or (v,) in values[spot]]
            target = self.made.get(group)
            if mine:
                value = mine[0]
            elif target is not None:
                value = self._key_suiting(person, group, target)
                value = value if value in values[spot] else values[spot][0]
            else:
                value = values[spot][0]
            row[spot] = (value,) if self.spots.types[spot].endswith("[]") and not isinstance(value, tuple) else value
        return row

    def _key_suiting(self, person: Principal, group: Spot, target: list[Row]) -> object:
        """The key of a row in the table pointed to that suits the same person."""
        number = next((n for n, p in enumerate(self.people) if p is person), 0)
        row = target[min(number, len(target) - 1)]
        keys = set(map(str, self.pools.values(group)))
        return next((v for v in row.values() if str(v) in keys), None)

    def _row(self, varied: Sequence[Spot], values: Sequence[Any], key: object, number: int) -> Row:
        row: Row = {}
        if self.owned is not None:
            row[self.owned] = key
        for spot, value in zip(varied, values, strict=True):
            _put(row, [self._spelled(spot[2]), *spot[3:]], list(value) if isinstance(value, tuple) else value)
        for spot in self.spots.shown.get(self.relation.key, {}):
            name = self._spelled(spot[2])
            column = self.relation.column(name)
            if name not in row and column is not None:
                row[name] = plain_value(column.type, name, number + 1)
        return row

    def _spelled(self, name: str) -> str:
        column = self.relation.column(name)
        return name if column is None else column.name


def _telling(places: Sequence[int], values: Sequence[list[Any]], row: tuple[Any, ...]) -> list[tuple[int, Any]]:
    """Changes of one value, each with its place: no value first, then by turns the first of each place, the next."""
    listed = [(value is not None, turn, n, value) for n in places for turn, value in enumerate(values[n])]
    ordered = sorted(listed, key=lambda each: each[:3])
    return [(n, value) for _, _, n, value in ordered if value != row[n]]


def _plain(value: object) -> bool:
    return not isinstance(value, list | dict)


def _texts(row: Row) -> set[str]:
    return {value for value in row.values() if isinstance(value, str)}


def _put(row: Row, path: list[str], value: object) -> None:
    """A value at a path into structs."""
    here: Any = row
    for name in path[:-1]:
        here = here.setdefault(name, {})
        if not isinstance(here, dict):
            return
    here[path[-1]] = value


def _of(person: Principal, name: str) -> list[Any]:
    if name == "subject":
        return [person.subject]
    if name == "roles":
        return sorted(person.roles)
    value = next((v for k, v in person.attributes.items() if fold(k) == name), None)
    return list(value) if isinstance(value, tuple) else [] if value is None else [value]
