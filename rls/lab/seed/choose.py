"""What everybody meets → few people and few rows that meet all of it; then tables of mappings made as short as can be.

Takes a board with all candidates; leaves those that are chosen on it. Owns that nothing which was met is lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rls.catalog import Relation
from rls.identity.principal import Principal
from rls.lab.seed.board import Board
from rls.lab.seed.meet import Eye, Met, Point, look
from rls.policy.policy_set import PolicySet
from rls.policy.rules import Bound, BoundPolicy

__all__ = ["Choice", "choose", "shorten"]

MOST_PEOPLE: Final = 24
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
    while len(choice.people) < MOST_PEOPLE:
        gains = {name: _gain(name, mets, choice.points) for name in everybody if name not in choice.people}
        best = max(gains, key=lambda name: gains[name], default=None)
        if best is None or not gains[best]:
            break
        _add(choice, best, mets)
    return choice


def _gain(name: str, mets: Mets, points: set[Point]) -> int:
    new: set[Point] = set()
    for (who, _), met in mets.items():
        if who == name:
            new |= met.asking - points
            new |= {point for found in set(met.rows.values()) for point in found} - points
    return sum(point[0] not in _FINE for point in new)


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


def shorten(
    board: Board,
    policies: PolicySet,
    choice: Choice,
    people: Mapping[str, Principal],
    *,
    bounds: Mapping[tuple[str, ...], Bound],
    read: Iterable[Relation],
    counts: Mapping[tuple[str, ...], int],
) -> None:
    """Take rows away that nobody chose: at once where nothing reads them, as far as possible where sub-queries do."""
    read = list(read)
    keys = {r.key for r in read}
    for key, bound in bounds.items():
        if key not in keys:
            board.take(bound.relation, set(range(counts.get(key, 0))) - choice.rows.get(key, set()))
    for relation in sorted(read, key=lambda r: r.label):
        stale = {id(p.policy) for b in bounds.values() for p in b.policies if _reads(p, relation, board)}
        asking = [b for b in bounds.values() if any(id(p.policy) in stale for p in b.policies)]
        eyes = {b.relation.key: _eye(board, policies, choice, b) for b in asking}
        wanted = _points(eyes, choice, people, asking)
        spare = sorted(set(range(counts.get(relation.key, 0))) - choice.rows.get(relation.key, set()))
        size = len(spare)
        while spare and size:
            kept: list[int] = []
            for start in range(0, len(spare), size):
                some = spare[start : start + size]
                with board.trying() as keep:
                    board.take(relation, some)
                    for eye in eyes.values():
                        eye.forget(stale)
                    if not wanted - _points(eyes, choice, people, asking):
                        keep.append(True)
                if not keep:
                    kept += some
            spare = kept
            size //= 2
        choice.rows.setdefault(relation.key, set()).update(spare)


def _reads(bound: BoundPolicy, relation: Relation, board: Board) -> bool:
    """Whether a policy reads a relation in a sub-query."""
    found = (board.catalog.find(path) for path in bound.policy.using.relations)
    return any(other is not None and other.key == relation.key for other in found)


def _eye(board: Board, policies: PolicySet, choice: Choice, bound: Bound) -> Eye:
    return Eye(board, policies, frozenset(choice.rows.get(bound.relation.key, ())))


def _points(
    eyes: Mapping[tuple[str, ...], Eye], choice: Choice, people: Mapping[str, Principal], asking: Iterable[Bound]
) -> set[Point]:
    found: set[Point] = set()
    for bound in asking:
        eye = eyes[bound.relation.key]
        for name in choice.people:
            for points in set(look(eye, bound, people[name]).rows.values()):
                found |= points
    return found
