"""Interrupts what runs longer than it may: one thread for all queries of an engine.

Takes a function that interrupts and a number of seconds, for as long as a `with` block lasts. Owns that no interrupt is
sent after the block has ended, so that one query's limit never ends another query.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

__all__ = ["Watchdog"]

# DuckDB forgets an interrupt that comes while a statement is being set up, so it is repeated until the query ends.
_REPEAT_SECONDS = 0.05
_CLOSE_SECONDS = 5.0


@dataclass(eq=False)
class Watch:
    """One watched block; `expired` once it has been interrupted for the time it took, `exceeded` for what `check` said,
    which is asked again and again meanwhile."""

    interrupt: Callable[[], None]
    due: float
    check: Callable[[], bool] | None = None
    expired: bool = False
    exceeded: bool = False

    def wakes_at(self, now: float) -> float:
        return self.due if self.check is None else min(self.due, now + _REPEAT_SECONDS)


class Watchdog:
    """Starts its thread with the first watch; the thread is a daemon and ends with `close`."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._watches: list[Watch] = []
        self._thread: threading.Thread | None = None
        self._closed = False
        self._wakes_at = float("inf")

    @contextlib.contextmanager
    def watch(
        self, interrupt: Callable[[], None], *, seconds: float, check: Callable[[], bool] | None = None
    ) -> Iterator[Watch]:
        """Call `interrupt` (again and again) once `seconds` have passed and the block has not ended, or once `check`
        says that it must not go on."""
        watch = Watch(interrupt, time.monotonic() + seconds, check)
        with self._condition:
            # A fork leaves the object without its thread.
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="rls-watchdog", daemon=True)
                self._thread.start()
            self._watches.append(watch)
            # Mostly the thread already sleeps towards an earlier time (of a query that has long ended): waking it for
            # each query would cost more than the watch itself.
            if watch.wakes_at(time.monotonic()) < self._wakes_at:
                self._condition.notify()
        try:
            yield watch
        finally:
            with self._condition:
                self._watches.remove(watch)

    def close(self) -> None:
        """Interrupt everything that is watched, wait for its end (not for ever), and end the thread."""
        with self._condition:
            self._closed = True
            for watch in self._watches:
                watch.due = 0.0
            self._condition.notify()
        if self._thread is not None:
            self._thread.join(_CLOSE_SECONDS)

    def _run(self) -> None:
        with self._condition:
            while self._watches or not self._closed:
                now = time.monotonic()
                for watch in self._watches:
                    if not watch.expired and watch.check is not None and watch.check():
                        watch.exceeded = True
                    if watch.due <= now or watch.exceeded:
                        watch.expired = watch.expired or not watch.exceeded
                        watch.due = now + _REPEAT_SECONDS
                        # A connection that another thread closes meanwhile has nothing left to interrupt.
                        with contextlib.suppress(Exception):
                            watch.interrupt()
                self._wakes_at = min((w.wakes_at(now) for w in self._watches), default=float("inf"))
                idle = self._wakes_at == float("inf")
                self._condition.wait(None if idle else max(0.0, self._wakes_at - time.monotonic()))
