"""Chosen people and rows → the tables that sub-queries read, made as short as can be.

Takes a board with all candidates; leaves those that are needed on it. Owns that nothing which was met is lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rls.catalog import Relation
from rls.identity.principal import Principal
from rls.lab.seed.board import Board
from rls.lab.seed.choose import Choice
from rls.lab.seed.limit import Limit
from rls.lab.seed.meet import OTHERS, Eye, Point, look
from rls.policy.policy_set import PolicySet
from rls.policy.rules import Bound, BoundPolicy

__all__ = ["shorten"]

Key = tuple[str, ...]
_Look = tuple[Key, str]


def shorten(
    board: Board,
    policies: PolicySet,
    choice: Choice,
    people: Mapping[str, Principal],
    *,
    bounds: Mapping[Key, Bound],
    read: Iterable[Relation],
    rows: Mapping[Key, Sequence[Mapping[str, Any]]],
    limit: Limit,
) -> None:
    """Take rows away that nobody chose: at once where nothing reads them, as far as possible where sub-queries do, as
    long as there is time."""
    read = list(read)
    keys = {r.key for r in read}
    for key, bound in bounds.items():
        if key not in keys:
            board.take(bound.relation, set(range(len(rows.get(key, ())))) - choice.rows.get(key, set()))
    texts: dict[tuple[object, ...], list[str]] = {}
    chosen = {name: people[name] for name in choice.people}
    for relation in sorted(read, key=lambda r: r.label):
        stale = {id(p.policy) for b in bounds.values() for p in b.policies if _reads(p, relation, board)}
        asking = {b.relation.key: b for b in bounds.values() if any(id(p.policy) in stale for p in b.policies)}
        eyes = {key: Eye(board, policies, frozenset(choice.rows.get(key, ())), texts=texts) for key in asking}
        spare = sorted(set(range(len(rows.get(relation.key, ())))) - choice.rows.get(relation.key, set()))
        if not limit.is_over("tables that sub-queries read are longer than they need be"):
            spare = list(_Table(board, relation, chosen, asking, eyes, stale, limit).needed(spare))
        choice.rows.setdefault(relation.key, set()).update(spare)


@dataclass
class _Table:
    """One table that sub-queries read. `stale` are the policies (by `id`) that read it; `telling` are few looks that
    together meet all that must be met, each with its share: a look asks for no more than that."""

    board: Board
    relation: Relation
    people: Mapping[str, Principal]
    asking: Mapping[Key, Bound]
    eyes: Mapping[Key, Eye]
    stale: set[int]
    limit: Limit
    telling: list[tuple[_Look, Eye, set[Point]]] = field(init=False)

    def __post_init__(self) -> None:
        looks = {(key, name): self._look((key, name), self.eyes[key]) for key in self.asking for name in self.people}
        self.telling = [(each, self._eye(each, share), share) for each, share in _covering(looks)]

    def needed(self, spare: Sequence[int]) -> Sequence[int]:
        """What must stay of some rows, by number; the others are taken."""
        size = len(spare)
        while spare and size and self.limit.left:
            groups = [spare[start : start + size] for start in range(0, len(spare), size)]
            spare = [number for group in groups if not self._try(group) for number in group]
            size //= 2
        return spare

    def _try(self, numbers: Iterable[int]) -> bool:
        """Take rows for good if all that is wanted is still met."""
        with self.board.trying() as keep:
            self.board.take(self.relation, numbers)
            for place, (each, eye, share) in enumerate(self.telling):
                eye.forget(self.stale)
                if not share <= self._look(each, eye):
                    # Who misses something now will miss something soon again: they are asked first.
                    self.telling.insert(0, self.telling.pop(place))
                    return False
            keep.append(True)
        return True

    def _look(self, each: _Look, eye: Eye) -> set[Point]:
        key, name = each
        rows = set(look(eye, self.asking[key], self.people[name]).rows.values())
        return {p for p in set[Point]().union(*rows) if p[0] not in ("leaves", "combined")}

    def _eye(self, each: _Look, share: set[Point]) -> Eye:
        """An eye for a share: DuckDB's plan of each change that is asked for costs more than to run it."""
        shared = self.eyes[each[0]]
        changed = {point[1:] for point in share if point[0] == "other"}
        texts = {
            key: [text for text in listed if key[0] is not OTHERS or (key[1], text) in changed]
            for key, listed in shared.texts.items()
        }
        return Eye(self.board, shared.policies, shared.among, texts=texts)


def _reads(bound: BoundPolicy, relation: Relation, board: Board) -> bool:
    """Whether a policy reads a relation in a sub-query."""
    found = (board.catalog.find(path) for path in bound.policy.using.relations)
    return any(other is not None and other.key == relation.key for other in found)


def _covering(looks: Mapping[_Look, set[Point]]) -> list[tuple[_Look, set[Point]]]:
    """Few looks that meet all that all of them meet, each with what it meets first."""
    left = set[Point]().union(*looks.values())
    found = []
    while left:
        best = max(looks, key=lambda each: len(looks[each] & left))
        found.append((best, looks[best] & left))
        left -= looks[best]
    return found
