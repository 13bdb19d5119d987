"""What everybody meets → few people and few rows that meet all of it.

Takes what was met with all candidates on the board. Owns that nothing which was met is lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rls.lab.seed.meet import Met, Point

__all__ = ["Choice", "choose"]

MOST_PEOPLE: Final = 40
# These bring rows, but nobody is called in for them alone.
_FINE: Final = frozenset(("leaves", "combined"))
Mets = Mapping[tuple[str, tuple[str, ...]], Met]


@dataclass
class Choice:
    """Names of people, numbers of rows by relation, and the points that they meet."""

    people: list[str]
    rows: dict[tuple[str, ...], set[int]]
    points: set[Point]


def choose(mets: Mets, *, always: Sequence[str], wanted: Mapping[tuple[str, ...], set[int]]) -> Choice:
    """People (`always` these, in that order) and rows (`wanted` in any case)."""
    choice = Choice([], {key: set(numbers) for key, numbers in wanted.items()}, set())
    everybody = list(dict.fromkeys(name for name, _ in mets))
    for name in always:
        _add(choice, name, mets)
    reach = {name: _reach(name, mets) for name in everybody if name not in choice.people}
    while len(choice.people) < MOST_PEOPLE:
        gains = {name: len(reach[name] - choice.points) for name in everybody if name not in choice.people}
        best = max(gains, key=lambda name: gains[name], default=None)
        if best is None or not gains[best]:
            break
        _add(choice, best, mets)
    return choice


def _reach(name: str, mets: Mets) -> set[Point]:
    """All that somebody meets and is called in for."""
    found: set[Point] = set()
    for (who, _), met in mets.items():
        if who == name:
            found |= met.asking.union(*set(met.rows.values()))
    return {point for point in found if point[0] not in _FINE}


def _add(choice: Choice, name: str, mets: Mets) -> None:
    choice.people.append(name)
    for (who, key), met in mets.items():
        if who != name:
            continue
        rows = choice.rows.setdefault(key, set())
        choice.points |= met.asking
        for number in rows:
            choice.points |= met.rows.get(number, frozenset())
        first: dict[frozenset[Point], int] = {}
        for number in sorted(met.rows):
            first.setdefault(met.rows[number], number)
        left = {number: found for found, number in first.items() if number not in rows}
        while left:
            best = max(left, key=lambda number: len(left[number] - choice.points))
            if not left[best] - choice.points:
                break
            rows.add(best)
            # What the others meet in this row counts, too.
            for other in choice.people:
                choice.points |= mets[other, key].rows.get(best, frozenset())
            del left[best]
