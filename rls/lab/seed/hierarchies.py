"""Rows of a table that points to itself → the same with long lines of descent, strangers in between, and lonely rows.

Takes rows as tuples and the keys they will have; returns rows to be added. Owns that what a hierarchy's start and steps
ask of a row is told by some row: below a wide start everything would be seen, whatever they asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["ALONE", "Hierarchy", "grow", "without_circle"]

ALONE: Final = 16  # rows of a tenant that are below no other
DEPTH: Final = 5
LINES: Final = 4
_Row = tuple[Any, ...]


@dataclass
class Hierarchy:
    """`rows` to be put from number `first` on; `alone` are the keys of those that are below no other, `apart` of those
    that are below one where nobody starts, `lines` those of the first lines of descent."""

    first: int
    rows: list[_Row] = field(default_factory=list)
    alone: list[Any] = field(default_factory=list)
    apart: list[Any] = field(default_factory=list)
    lines: list[Any] = field(default_factory=list)


def grow(plain: Mapping[int, _Row], above: Sequence[int], names: Sequence[Any], *, room: int, after: int) -> Hierarchy:
    """Rows like those of `plain`, one line for each below the row of its number.

    above  places in a row that hold the key of another row
    names  the keys that rows have, by number
    room   how many rows there may be
    after  how many there are already; the last of them give way
    """
    kinds = list(dict.fromkeys(plain.values()))
    size = (ALONE + 2) * len(kinds) + (DEPTH + 2) * len(plain)
    made = Hierarchy(max(0, min(after, room - size)))

    def put(row: _Row, parent: Any) -> Any:
        """A row below another one; returns its key, None where there is no room for it."""
        number = made.first + len(made.rows)
        if number >= room:
            return None
        made.rows.append(tuple(parent if n in above else value for n, value in enumerate(row)))
        return names[number]

    for line, (number, row) in enumerate(plain.items()):
        top = parent = names[min(number, max(0, made.first - 1))]
        for _ in range(DEPTH):
            parent = put(row, parent)
            made.lines += [] if parent is None or line >= LINES else [parent]
        stranger = next((other for other in kinds if other != row), row)
        put(row, put(stranger, top))
    for row in kinds:
        below = put(row, put(row, None))
        made.apart += [] if below is None else [below]
        made.alone += [key for _ in range(ALONE) if (key := put(row, None)) is not None]
    return made


def without_circle(row: _Row, above: Sequence[int], names: Sequence[Any], number: int) -> _Row:
    """A row that points, at some places (`above`), only to rows before its own, which is called `names[number]`."""
    places = {name: place for place, name in enumerate(names)}
    changed = list(row)
    for n in above:
        if places.get(row[n], -1) >= number:
            changed[n] = names[places[row[n]] % number] if number else None
    return tuple(changed)
