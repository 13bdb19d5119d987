"""People, rows and what the oracle says of them → the suite's parts: cells, and the probe that asks no policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from rls.lab.seed.oracle import Sight
from rls.lab.seed.stage import Stage
from rls.lab.seed.wall import over_the_wall, value_of
from rls.lab.seed.write import Cell, Draft, Probe

__all__ = ["draft_suite"]

Key = tuple[str, ...]
Sights = Mapping[str, Mapping[Key, Sight]]


def draft_suite(
    stage: Stage,
    people: Sequence[str],
    chosen: Mapping[Key, set[int]],
    sights: Sights,
    *,
    now: datetime,
    schema: bool,
) -> tuple[Draft, tuple[str, ...]]:
    """The suite, and who is left out of its probe. `chosen` are numbers of rows by relation key."""
    relations = sorted(stage.tried.relations.values(), key=lambda r: r.label)
    numbers = {r.key: sorted(chosen.get(r.key, ())) for r in relations}
    rows = {key: [stage.tried.rows[key][n] for n in listed] for key, listed in numbers.items()}
    keys = {key: _naming(stage.tried.keys[key], rows[key]) for key in rows}
    work = _Work(stage, people, numbers, keys, sights)
    over = work.over()
    told = ", ".join(over)
    draft = Draft(
        now=now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        own={name: stage.people[name] for name in people if name not in stage.existing},
        relations=relations,
        rows=rows,
        keys=keys,
        only=people,
        sees={name: work.cells(name) for name in people},
        probes=work.probes(over),
        notes=[f"Not asked by them, since they see all tenants: {told}."] if over else [],
        schema=schema,
    )
    return draft, over


def _naming(key: Sequence[str], rows: Sequence[Mapping[str, object]]) -> tuple[str, ...]:
    """The key's columns, fewer where the first ones tell the chosen rows apart."""
    for length in range(1, len(key) + 1):
        values = [repr([row.get(name) for name in key[:length]]) for row in rows]
        if len(set(values)) == len(values):
            return tuple(key[:length])
    return tuple(key)


@dataclass(frozen=True)
class _Work:
    """`numbers` are the chosen rows by relation key, `keys` the columns that name them."""

    stage: Stage
    people: Sequence[str]
    numbers: Mapping[Key, Sequence[int]]
    keys: Mapping[Key, Sequence[str]]
    sights: Sights

    def cells(self, name: str) -> dict[Key, Cell]:
        """What one persona sees."""
        found = {}
        for key, bound in self.stage.bounds.items():
            sight = self.sights[name][key]
            if not sight.rows or sight.problem:
                continue
            every = len(sight.rows) == len(self.numbers[key]) > 1
            found[key] = Cell(
                None if every else self._named(key, sorted(sight.rows)),
                sight.masked if any(c.rule.mask is not None for c in bound.columns) else None,
                sight.absent if any(c.rule.denied for c in bound.columns) else None,
                sight.values,
            )
        return found

    def over(self) -> tuple[str, ...]:
        """Who looks over the wall, and who has a role of theirs beside another one."""
        foreign: dict[str, set[str]] = {}
        seen: dict[str, set[str]] = {}
        for name in self.people:
            for key, sight in self.sights[name].items():
                if self.stage.wall is None or key not in self.stage.wall.columns or not sight.rows:
                    continue
                label = self.stage.bounds[key].relation.label
                seen.setdefault(name, set()).add(label)
                if sight.rows & set(self._others(name, key)):
                    foreign.setdefault(name, set()).add(label)
        found = over_the_wall(foreign, seen, self.stage.people)
        people = self.stage.people
        roles = {role for name in found if len(people[name].roles) == 1 for role in people[name].roles}
        return tuple(sorted(found | {name for name in self.people if people[name].roles & roles}))

    def probes(self, over: Sequence[str]) -> list[Probe]:
        """A test per tenant and table."""
        wall = self.stage.wall
        if wall is None:
            return []
        asked: dict[object, list[str]] = {}
        for name in self.people:
            tenant = value_of(self.stage.people[name], wall.attribute)
            if tenant is not None and name not in over:
                asked.setdefault(tenant, []).append(name)
        return [
            Probe(names, tenant, bound.relation, self._named(key, others))
            for tenant, names in asked.items()
            for key, bound in self.stage.bounds.items()
            if key in wall.columns and (others := self._others(names[0], key))
        ]

    def _others(self, name: str, key: Key) -> list[int]:
        """Rows that are of another tenant than a persona's."""
        wall = self.stage.wall
        assert wall is not None  # noqa: S101 - the callers have looked
        tenant = value_of(self.stage.people[name], wall.attribute)
        rows, column = self.stage.tried.rows[key], wall.columns[key]
        return [n for n in self.numbers[key] if rows[n].get(column) not in (tenant, None)]

    def _named(self, key: Key, numbers: Sequence[int]) -> list[list[object]]:
        rows = self.stage.tried.rows[key]
        return [[rows[n].get(name) for name in self.keys[key]] for n in numbers]
