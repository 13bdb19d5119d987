"""Spots and pools → the rows that are tried in each table, those first that others point to.

Takes the relations whose rows matter; returns rows per relation as mappings by column. Owns that a column which names
rows has each value once, and that columns which point to it find it.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rls.catalog import Relation, fold
from rls.identity.principal import Principal
from rls.lab.seed.one_table import MOST_READ, Row, Table
from rls.lab.seed.pools import Pools, plain_value
from rls.lab.seed.spots import Spot, Spots, column_spot, kind_of

__all__ = ["Rows", "add_rows", "try_rows"]


@dataclass
class Rows:
    """Rows by the key of their relation; `keys` are the columns that name them, "" where a number must be made up."""

    relations: dict[tuple[str, ...], Relation]
    rows: dict[tuple[str, ...], list[Row]] = field(default_factory=dict)
    keys: dict[tuple[str, ...], tuple[str, ...]] = field(default_factory=dict)


def try_rows(
    relations: Sequence[Relation],
    spots: Spots,
    pools: Pools,
    people: Sequence[Principal],
    *,
    primary: Mapping[tuple[str, ...], tuple[str, ...]],
    extra: Mapping[tuple[str, ...], Sequence[Spot]],
) -> Rows:
    """Rows of all relations. `primary` has their primary keys, `extra` spots that vary though nothing uses them."""
    found = Rows({r.key: r for r in relations})
    source = random.Random(1)  # noqa: S311 - the same rows every time
    owners: dict[Spot, list[tuple[tuple[str, ...], str]]] = {}
    for relation in relations:
        name = _single_key(relation, primary.get(relation.key, ()))
        spot = None if name is None else column_spot(relation, name)
        used = spots.used.get(relation.key, {})
        # Keys are this table's to make up where no attribute says one, or rows are below each other by it.
        free = name is not None and spot in used and kind_of(spots.types[spot]) in _NUMBERED
        if name is not None and spot is not None and free and (pools.is_of_columns(spot) or spots.hangs(spot)):
            # Another thousand for each table: what is joined on the wrong key meets nothing.
            first = 1000 * len(owners) if spots.types[spot] in _WIDE else 0
            numbered = [_numbered(kind_of(spots.types[spot]), name, first + n) for n in range(1, MOST_READ + 1)]
            # `id > 100`: what it is compared with comes first.
            compared = [] if pools.is_free(spot) else pools.values(spot)
            pools.set(spot, [*dict.fromkeys([*compared, *numbered])])
            owners.setdefault(spots.group(spot), []).append((relation.key, name))
    owning = {key for listed in owners.values() for key, _ in listed}
    made: dict[Spot, list[Row]] = {}
    alone: dict[Spot, list[Any]] = {}
    apart: dict[Spot, list[Any]] = {}
    for relation in sorted(relations, key=lambda r: (r.key not in owning, _points(r, spots, owners))):
        owned = next((n for listed in owners.values() for key, n in listed if key == relation.key), None)
        work = Table(
            relation, spots, pools, people, made, alone, apart, owned, source, tuple(extra.get(relation.key, ()))
        )
        rows = work.rows()
        found.rows[relation.key] = rows
        found.keys[relation.key] = _keys(relation, primary.get(relation.key, ()), owned, work.columns, rows)
        if owned is not None:
            made.setdefault(spots.group(column_spot(relation, owned)), rows)
    return found


def add_rows(rows: Rows, more: Mapping[tuple[str, ...], Sequence[Mapping[str, object]]]) -> None:
    """Add rows that somebody else made; one with a key that is taken becomes that row, one without gets a number."""
    for key, listed in more.items():
        for row in listed if key in rows.rows else ():
            made = dict(row)
            name = rows.keys[key][0] if len(rows.keys[key]) == 1 else None
            if name is not None:
                if made.get(name) is None:
                    made[name] = len(rows.rows[key]) + 1
                same = next((r for r in rows.rows[key] if r.get(name) == made[name]), None)
                if same is not None:
                    same.update(made)
                    continue
            rows.rows[key].append(made)


_WIDE = frozenset(("INTEGER", "BIGINT", "HUGEINT", "UINTEGER", "UBIGINT", "UHUGEINT"))
_NUMBERED = frozenset(("integer", "text", "uuid"))


def _numbered(kind: str, name: str, number: int) -> object:
    if kind == "uuid":
        return f"00000000-0000-0000-0000-{number:012d}"
    return number if kind == "integer" else f"{fold(name)}-{number}"


def _single_key(relation: Relation, primary: tuple[str, ...]) -> str | None:
    if len(primary) == 1:
        return primary[0]
    found = None if primary else relation.column("id")
    return None if found is None else found.name


def _points(relation: Relation, spots: Spots, owners: Mapping[Spot, Any]) -> int:
    """How many columns point to other tables: those that point to none come first."""
    return sum(spots.group(s) in owners for s in spots.used.get(relation.key, {}))


def _keys(
    relation: Relation, primary: tuple[str, ...], owned: str | None, varied: Sequence[Spot], rows: list[Row]
) -> tuple[str, ...]:
    """The columns that name the rows: a key of its own, else all that vary."""
    if owned is not None:
        return (owned,)
    single = _single_key(relation, primary)
    names = [c.name for c in relation.columns if any(s[2] == fold(c.name) for s in varied)]
    if single is not None and single not in names:
        for number, row in enumerate(rows, 1):
            column = relation.column(single)
            row[single] = None if column is None else plain_value(column.type, single, number)
        if all(row[single] is not None for row in rows):
            return (single,)
    if not names:
        # Nothing asks for a column of it; a row of NULLs alone could not be named.
        first = relation.columns[0]
        for number, row in enumerate(rows, 1):
            row[first.name] = plain_value(first.type, first.name, number)
        names = [first.name]
    return tuple(names)
