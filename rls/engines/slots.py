"""The places for queries that run at once."""

from __future__ import annotations

import threading

from rls.engines.failures import busy

__all__ = ["Slot"]


class Slot:
    """One of the places for concurrent queries, for as long as a `with` block lasts."""

    def __init__(self, slots: threading.BoundedSemaphore, seconds: float) -> None:
        self._slots, self._seconds = slots, seconds

    def __enter__(self) -> None:
        if not self._slots.acquire(timeout=self._seconds):
            raise busy()

    def __exit__(self, *_: object) -> None:
        self._slots.release()
