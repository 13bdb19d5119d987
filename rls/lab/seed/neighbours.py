"""Rows that somebody sees → the same rows with one thing changed: what keeps a row out is told by these.

Takes rows and the values that are tried; adds rows. Owns that each has a key of its own, and that a mapping table,
whose rows have none, gets no more: who is mapped to everything sees everything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rls.catalog import Relation
from rls.lab.seed.meet import Met
from rls.lab.seed.pools import Pools
from rls.lab.seed.rows import Rows
from rls.lab.seed.spots import Spot, Spots, column_spot, kind_of

__all__ = ["add_neighbours", "seen_rows"]

MOST_SEEN: Final = 8  # rows of a relation
MOST_VALUES: Final = 10
Row = dict[str, object]


def seen_rows(mets: Mapping[tuple[str, tuple[str, ...]], Met], rows: Rows) -> dict[tuple[str, ...], list[Row]]:
    """For each relation, a row that each role sees, and one that each policy alone shows it."""
    found: dict[tuple[str, ...], dict[int, None]] = {}
    told: set[object] = set()
    for (_, key), met in mets.items():
        for number in sorted(met.rows):
            points = met.rows[number]
            fresh = {p for p in points if p[0] in ("visible", "alone") and p[-1] is True and len(_who(p)) < 2} - told
            here = found.setdefault(key, {})
            visible = any(p[0] == "visible" and p[-1] is True for p in points)
            if fresh and visible and len(here) < MOST_SEEN:
                told |= fresh
                here[number] = None
    return {key: [dict(rows.rows[key][n]) for n in numbers] for key, numbers in found.items() if key in rows.rows}


def _who(point: tuple[Any, ...]) -> Sequence[str]:
    return point[2] or ()


def add_neighbours(
    rows: Rows,
    seen: Mapping[tuple[str, ...], Sequence[Mapping[str, object]]],
    spots: Spots,
    pools: Pools,
    *,
    walls: Mapping[tuple[str, ...], str],
) -> None:
    """Add, beside rows that are seen, those that differ in one column which policies look at, or in the tenant's
    (`walls`, by relation)."""
    for key, bases in seen.items():
        relation = rows.relations[key]
        name = rows.keys[key][0] if len(rows.keys[key]) == 1 else None
        if name is None and key in spots.read:
            continue
        varied: list[Spot] = [s for s in spots.used.get(key, {}) if len(s) == 3]
        varied += [column_spot(relation, walls[key])] if key in walls else []
        names = _fresh(relation, name, rows.rows[key])
        for base in bases:
            for spot in dict.fromkeys(varied):
                column = relation.column(spot[2])
                if column is None or column.name == name or spot not in spots.types:
                    continue
                for value in _values(spot, spots, pools, nullable=column.nullable):
                    if value != base.get(column.name):
                        changed = {**base, column.name: value}
                        rows.rows[key].append(changed if name is None else {**changed, name: next(names)})


def _fresh(relation: Relation, name: str | None, rows: Sequence[Mapping[str, object]]) -> Iterator[object]:
    """Keys that no row has."""
    column = None if name is None else relation.column(name)
    number = max([len(rows), *(v for r in rows if isinstance(v := r.get(name or ""), int))])
    while True:
        number += 1
        yield number if column is None or kind_of(column.type) != "text" else f"{column.name.lower()}-{number}"


def _values(spot: Spot, spots: Spots, pools: Pools, *, nullable: bool) -> list[Any]:
    type_, pool = spots.types[spot], pools.values(spot)
    if kind_of(type_) == "other":
        return []
    few = [*pool[:MOST_VALUES], *pool[MOST_VALUES:][-1:]]
    if type_.endswith("[]"):
        few = [[pool[0]], pool[-1:], pool[:2], []] if pool else [[]]
    return [*few, None] if nullable else few
