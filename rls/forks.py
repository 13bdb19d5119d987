"""What must not go through a fork: a server with workers of its own often opens everything first and forks then.

DuckDB's instances do not outlive a fork: their threads are gone, and to close one waits for them without end or
crashes. So those that only help are closed before, and a child forgets the others of its parent without closing them.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import TypeVar

__all__ = ["after_fork", "before_fork", "never_closed_in_child"]

Connection = TypeVar("Connection")


def before_fork(close: Callable[[], None]) -> Callable[[], None]:
    """Call `close` in a process that is about to fork, in the thread that does; also as a decorator."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=close)
    return close


def after_fork(forget: Callable[[], None]) -> Callable[[], None]:
    """Call `forget` in every child of a fork, before anything else happens there; also as a decorator."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=forget)
    return forget


def never_closed_in_child(connection: Connection) -> Connection:
    """The same connection to a DuckDB instance, which no child of a fork will close, not even at its end."""
    _CONNECTIONS.add(connection)
    return connection


def _keep_forever() -> None:
    import ctypes

    for connection in list(_CONNECTIONS):
        # One reference that nothing gives back: not even the interpreter's end destroys the object.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
    _CONNECTIONS.clear()


_CONNECTIONS: weakref.WeakSet[object] = weakref.WeakSet()
after_fork(_keep_forever)
