"""Turns: so many at once, so many per role and per principal, and nobody starves another."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from rls.engines.admission import Admission
from rls.errors import QueryFailed


class Crowd:
    """Queries of principals, each in a thread of its own; each runs until it is told to end."""

    def __init__(self, places: int) -> None:
        self.admission = Admission(places)
        self.order: list[str] = []
        self.refused: list[str] = []
        self.ends: list[tuple[str, threading.Event]] = []
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def ask(self, who: str, *, most: int = 100, role: str = "", most_of_role: int = 100, seconds: float = 30) -> None:
        """Start a query, and return when it runs or waits."""
        end = threading.Event()

        def run() -> None:
            try:
                with self.admission.enter(who, most_of_his=most, role=role, most_of_role=most_of_role, seconds=seconds):
                    with self._lock:
                        self.order.append(who)
                        self.ends.append((who, end))
                    end.wait(30)
            except QueryFailed as error:
                self.refused.append(error.code)

        known = len(self.admission._waiting) + self.admission._running.total()
        thread = threading.Thread(target=run)
        self._threads.append(thread)
        thread.start()
        until(lambda: len(self.admission._waiting) + self.admission._running.total() > known)

    def end(self, who: str) -> None:
        """End the oldest query of one principal that runs."""
        before = len(self.order)
        waiting = len(self.admission._waiting)
        until(lambda: any(name == who for name, _ in self.ends))
        number = next(i for i, (name, _) in enumerate(self.ends) if name == who)
        self.ends.pop(number)[1].set()
        until(lambda: not waiting or len(self.order) > before or len(self.admission._waiting) == waiting)

    def finish(self) -> None:
        while any(thread.is_alive() for thread in self._threads):
            for _, end in self.ends:
                end.set()
            time.sleep(0.001)
        assert not self.admission._waiting
        assert not self.admission._running
        assert not self.admission._running_by_role
        assert not self.admission._last_turn


def until(true: Callable[[], bool]) -> None:
    for _ in range(10_000):
        if true():
            return
        time.sleep(0.001)
    raise AssertionError("did not come to pass")


def test_a_flood_of_one_principal_holds_up_nobody_else() -> None:
    crowd = Crowd(places=1)
    for _ in range(10):
        crowd.ask("flood")
    crowd.ask("late")
    crowd.ask("later")
    until(lambda: crowd.order == ["flood"])
    for ending in ("flood", "late", "later"):
        running = len(crowd.order)
        crowd.end(ending)
        until(lambda seen=running: len(crowd.order) == seen + 1)  # type: ignore[misc]
    assert crowd.order == ["flood", "late", "later", "flood"]
    # Who comes again in the meantime is next, not behind what the flood still has waiting.
    crowd.ask("late")
    crowd.end("flood")
    until(lambda: len(crowd.order) == 5)
    assert crowd.order[4] == "late"
    crowd.finish()
    assert crowd.refused == []
    assert crowd.order.count("flood") == 10


def test_a_principal_and_a_role_have_their_own_bounds() -> None:
    crowd = Crowd(places=10)
    for _ in range(4):
        crowd.ask("amir", most=2, role="explorer", most_of_role=3)
    until(lambda: len(crowd.order) == 2)
    for _ in range(2):
        crowd.ask("bea", most=2, role="explorer", most_of_role=3)
    until(lambda: len(crowd.order) == 3)
    crowd.ask("max", most=2, role="maker", most_of_role=3)
    crowd.ask("eve")
    until(lambda: len(crowd.order) == 5)
    assert sorted(crowd.order) == ["amir", "amir", "bea", "eve", "max"]
    crowd.finish()
    assert sorted(crowd.order).count("amir") == 4


def test_who_waits_too_long_is_told_so() -> None:
    crowd = Crowd(places=1)
    crowd.ask("amir")
    until(lambda: len(crowd.order) == 1)
    with (
        pytest.raises(QueryFailed) as caught,
        crowd.admission.enter("bea", most_of_his=1, role="", most_of_role=1, seconds=0.02),
    ):
        pass
    assert caught.value.code == "run.busy"
    crowd.finish()


def test_an_error_inside_gives_the_place_back() -> None:
    admission = Admission(1)
    for _ in range(3):
        with (
            pytest.raises(ValueError, match="inside"),
            admission.enter("amir", most_of_his=1, role="r", most_of_role=1, seconds=1),
        ):
            raise ValueError("inside")
    assert admission._running.total() == 0


def test_many_threads_never_exceed_the_places() -> None:
    admission, running, most, lock = Admission(3), [0], [0], threading.Lock()

    def work(who: int) -> None:
        for _ in range(30):
            with admission.enter(who % 4, most_of_his=2, role="r", most_of_role=3, seconds=30):
                with lock:
                    running[0] += 1
                    most[0] = max(most[0], running[0])
                with lock:
                    running[0] -= 1

    threads = [threading.Thread(target=work, args=(i,)) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert running == [0]
    assert 1 <= most[0] <= 3
