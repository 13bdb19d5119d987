"""What child processes of an engine have in common: a small environment, and an end with the engine's own."""

from __future__ import annotations

import os
import sys
import threading

__all__ = ["end_with", "environment"]


def environment() -> dict[str, str]:
    """What the host keeps in its environment is none of a query's business, but for what Python and time zones need."""
    kept = {name: os.environ[name] for name in ("TZ", "LD_LIBRARY_PATH") if name in os.environ}
    # Every arena of the allocator reserves address space, which is what is limited.
    return {**kept, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "MALLOC_ARENA_MAX": "2"}


def end_with(lifeline: int) -> None:
    """End this process when the engine's has ended: the other end of the lifeline, a pipe, is then closed."""

    def wait() -> None:
        os.read(lifeline, 1)
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()
