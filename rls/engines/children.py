"""What child processes of an engine have in common: a socket, a small environment, and an end with the engine's own."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading

__all__ = ["Child", "end_with"]


class Child:
    """A process that runs a module of this package, and the socket to it."""

    def __init__(self, module: str, *arguments: str) -> None:
        """The module gets the descriptors of its socket and of its lifeline, and then the `arguments`."""
        self.connection, theirs = socket.socketpair()
        lifeline, self._lifeline = os.pipe()
        try:
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
            os.close(lifeline)
        self.pid = self._process.pid

    def kill(self) -> None:
        """End the process, whatever it does."""
        with contextlib.suppress(OSError):
            self._process.kill()
        self.connection.close()
        with contextlib.suppress(OSError):
            os.close(self._lifeline)
        self._process.wait()


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
