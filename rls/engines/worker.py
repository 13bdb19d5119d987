"""A worker process: runs guarded queries one after the other, under limits of the operating system.

Started by `rls.engines.workers` as `python -m rls.engines.worker`, with one end of a socket pair. Owns that the limits
are set before the first query and that the process ends when the engine does, in the middle of a query too.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import socket
import sys
import threading
from pathlib import Path
from typing import Any

from rls.engines.base import Fetched
from rls.engines.duckdb import DuckDBExecutor
from rls.engines.limits import Limits
from rls.engines.wire import Request, WorkerGone, receive_request, send_answer
from rls.errors import QueryFailed, RlsError

__all__ = ["main"]

# Address space beside DuckDB's own memory: stacks of threads, results on their way, what allocators keep in reserve.
_SLACK_BYTES = 768 << 20
_OPEN_FILES = 128


def main(arguments: list[str]) -> None:
    """`arguments`: descriptors of the socket and of the lifeline, and the settings as JSON."""
    connection = socket.socket(fileno=int(arguments[0]))
    _end_with(int(arguments[1]))
    settings: dict[str, Any] = json.loads(arguments[2])
    limits = Limits(**settings["limits"])
    ready: RlsError | Fetched = Fetched((), (), 0, rows=[])
    executor = None
    try:
        executor = DuckDBExecutor(
            Path(settings["path"]), name=settings["name"], limits=limits, attached=settings["attached"]
        )
        with contextlib.suppress(ImportError):
            import pyarrow.ipc  # noqa: F401 (before the limit: its libraries take address space)
        _limit(limits.memory)
    except RlsError as error:
        ready = error
    send_answer(connection, ready)
    while executor is not None:
        request = receive_request(connection)
        send_answer(connection, _run(executor, request))


def _run(executor: DuckDBExecutor, request: Request) -> Fetched | RlsError:
    try:
        if request.form == "names":
            columns = executor.describe(request.guarded(), request.parameters)
            return Fetched(tuple(c.name for c in columns), tuple(c.type for c in columns), 0, rows=[])
        form = "arrow" if request.form == "arrow" else "rows"
        return executor.execute(request.guarded(), request.parameters, fetch=form)  # type: ignore[arg-type]
    except RlsError as error:
        return error
    except MemoryError:
        return QueryFailed(
            "run.memory", "the query needs more memory than it may use", hint="aggregate or filter earlier"
        )


def _limit(memory: int) -> None:
    """Bound what DuckDB's own limits do not: an allocation beyond this fails, whichever function asks for it."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + memory + _SLACK_BYTES,) * 2)
    # A core file would hold rows of whoever was asking.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Nothing is written but results, to memory.
    resource.setrlimit(resource.RLIMIT_FSIZE, (memory, memory))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = _OPEN_FILES if most == resource.RLIM_INFINITY else min(_OPEN_FILES, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, few))


def _end_with(lifeline: int) -> None:
    """End this process when the engine's has ended: the other end of the lifeline is then closed."""

    def wait() -> None:
        os.read(lifeline, 1)
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    with contextlib.suppress(WorkerGone, ConnectionError, KeyboardInterrupt):
        main(sys.argv[1:])
    os._exit(0)
