"""Whose query runs next: so many at once, so many per role and per principal, and everybody in turn.

Takes who asks and what bounds him; gives a place among those that run, for as long as a `with` block lasts. Owns that
no principal starves another: of those that wait, the one whose last turn is longest ago is next, however many
queries another one has waiting.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field

from rls.engines.failures import busy

__all__ = ["Admission"]


@dataclass(eq=False, slots=True)
class _Waiting:
    who: Hashable
    most_of_his: int
    role: str
    most_of_role: int
    admitted: bool = False
    turn: threading.Event = field(default_factory=threading.Event)


class Admission:
    """Places for queries. Thread-safe. `places` is how many run at once."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._lock = threading.Lock()
        self._waiting: list[_Waiting] = []  # by time of arrival
        self._running: Counter[Hashable] = Counter()
        self._running_by_role: Counter[str] = Counter()
        # Number of the last turn of everybody who runs or waits; who does neither is forgotten, and is next.
        self._last_turn: dict[Hashable, int] = {}
        self._turns = 0

    @contextlib.contextmanager
    def enter(self, who: Hashable, *, most_of_his: int, role: str, most_of_role: int, seconds: float) -> Iterator[None]:
        """Wait for a place, for at most so many seconds, and keep it until the end of the block.

        `most_of_his` of this principal's queries run at once, and `most_of_role` of those that count for `role` ("":
        none does). Raises `QueryFailed` (`run.busy`).
        """
        mine = _Waiting(who, most_of_his, role, most_of_role)
        with self._lock:
            self._waiting.append(mine)
            self._admit()
        try:
            self._wait(mine, seconds)
            yield
        finally:
            with self._lock:
                if mine.admitted:
                    self._leave(mine)
                else:
                    self._waiting.remove(mine)
                    self._forget(mine.who)
                self._admit()

    def _wait(self, mine: _Waiting, seconds: float) -> None:
        if not mine.turn.wait(seconds):
            with self._lock:
                # It may have come in the last moment.
                if not mine.admitted:
                    raise busy()

    def _admit(self) -> None:
        """Give free places to those who wait; the lock is held."""
        while self._running.total() < self._places:
            able = [one for one in self._waiting if self._is_able(one)]
            if not able:
                return
            # `min` takes the first of equals: who came first.
            chosen = min(able, key=lambda one: self._last_turn.get(one.who, -1))
            self._waiting.remove(chosen)
            self._running[chosen.who] += 1
            self._running_by_role[chosen.role] += 1
            self._turns += 1
            self._last_turn[chosen.who] = self._turns
            chosen.admitted = True
            chosen.turn.set()

    def _is_able(self, one: _Waiting) -> bool:
        if self._running[one.who] >= one.most_of_his:
            return False
        return not one.role or self._running_by_role[one.role] < one.most_of_role

    def _leave(self, mine: _Waiting) -> None:
        self._running[mine.who] -= 1
        self._running_by_role[mine.role] -= 1
        # Nothing is kept of those who are gone.
        self._running, self._running_by_role = +self._running, +self._running_by_role
        self._forget(mine.who)

    def _forget(self, who: Hashable) -> None:
        if who not in self._running and all(one.who != who for one in self._waiting):
            self._last_turn.pop(who, None)
