"""What child processes of an engine have in common: a socket, a small environment, and an end with the engine's own."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import weakref

from rls.forks import after_fork

__all__ = ["Child", "end_with"]


class Child:
    """A process that runs a module of this package, and the socket to it."""

    def __init__(self, module: str, *arguments: str) -> None:
        """The module gets the descriptors of its socket and of its lifeline, and then the `arguments`. Raises OSError,
        and then leaves nothing open."""
        with contextlib.ExitStack() as undo:
            self._begin(module, arguments, undo)
            undo.pop_all()
        self.pid = self._process.pid
        _RUNNING.add(self)

    def _begin(self, module: str, arguments: tuple[str, ...], undo: contextlib.ExitStack) -> None:
        self.connection, theirs = socket.socketpair()
        undo.callback(self.connection.close)
        lifeline = -1
        try:
            lifeline, self._lifeline = os.pipe()
            undo.callback(os.close, self._lifeline)
            self._process = subprocess.Popen(  # noqa: S603 (this interpreter, a module of this package)
                [sys.executable, "-P", "-m", module, str(theirs.fileno()), str(lifeline), *arguments],
                pass_fds=(theirs.fileno(), lifeline),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=_environment(),
            )
        finally:
            theirs.close()
            if lifeline >= 0:
                os.close(lifeline)

    def kill(self) -> None:
        """End the process, whatever it does."""
        if self not in _RUNNING:
            return
        with contextlib.suppress(OSError):
            self._process.kill()
        self._let_go()
        self._process.wait()

    def _let_go(self) -> None:
        """Close this process's ends; in a fork's child, the process behind them stays its parent's."""
        _RUNNING.discard(self)
        self.connection.close()
        with contextlib.suppress(OSError):
            os.close(self._lifeline)


def _environment() -> dict[str, str]:
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


@after_fork
def _after_fork() -> None:
    for child in list(_RUNNING):
        child._let_go()


_RUNNING: weakref.WeakSet[Child] = weakref.WeakSet()
