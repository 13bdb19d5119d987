"""A worker process: runs guarded queries one after the other, under limits of the operating system.

Started by `rls.engines.workers` as `python -m rls.engines.worker`, with one end of a socket pair. Owns that the limits
are set before the first query, narrower ones for the length of a query, and that the process ends when the engine
does, in the middle of a query too.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import resource
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rls.engines.base import Fetched
from rls.engines.children import end_with
from rls.engines.duckdb import DuckDBExecutor
from rls.engines.limits import Limits
from rls.engines.wire import Request, WorkerGone, receive_request, send_answer
from rls.errors import QueryFailed, RlsError

__all__ = ["main"]

# Address space beside DuckDB's own memory: stacks of threads, results on their way, what allocators keep in reserve.
_SLACK_BYTES = 768 << 20
# Beside one query's own: what was freed before and kept in reserve is used first.
_QUERY_SLACK_BYTES = 128 << 20
_OPEN_FILES = 128
# The engine ends a query that does not end itself; this is for an engine that cannot.
_GRACE_SECONDS = 10


def main(arguments: list[str]) -> None:
    """`arguments`: descriptors of the socket and of the lifeline, and the settings as JSON."""
    connection = socket.socket(fileno=int(arguments[0]))
    end_with(int(arguments[1]))
    settings: dict[str, Any] = json.loads(arguments[2])
    limits = Limits(**settings["limits"])
    ready: RlsError | Fetched
    executor = None
    try:
        executor = DuckDBExecutor(
            Path(settings["path"]),
            name=settings["name"],
            limits=limits,
            attached=settings["attached"],
            temporary=settings["temporary"],
            slices=settings["slices"],
        )
        with contextlib.suppress(ImportError):
            import pyarrow.compute
            import pyarrow.ipc  # noqa: F401 (before the limit: its libraries take address space)
        _limit(limits)
        # The file may have become another one since the engine read its catalog.
        ready = Fetched(("catalog",), ("VARCHAR",), 1, rows=[(executor.catalog.version,)])
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
        with _narrowed(request.limits):
            return executor.execute(
                request.guarded(),
                request.parameters,
                fetch="arrow" if request.form == "arrow" else "rows",
                limits=request.limits,
                copies=request.copies,
            )
    except RlsError as error:
        return error
    except MemoryError:
        return QueryFailed(
            "run.memory", "the query needs more memory than it may use", hint="aggregate or filter earlier"
        )


def _limit(limits: Limits) -> None:
    """Bound what DuckDB's own limits do not: an allocation beyond this fails, whichever function asks for it."""
    resource.setrlimit(resource.RLIMIT_AS, (_address_space() + limits.memory + _SLACK_BYTES,) * 2)
    # A core file would hold rows of whoever was asking.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Nothing is written but results, to memory, and temporary files.
    largest = max(limits.memory, limits.temporary_disk)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = _OPEN_FILES if most == resource.RLIM_INFINITY else min(_OPEN_FILES, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, few))


@contextlib.contextmanager
def _narrowed(limits: Limits) -> Iterator[None]:
    """The soft limits of this process for the length of one query."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    space = min(hard, _address_space() + limits.memory + _QUERY_SLACK_BYTES)
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, longest = resource.getrlimit(resource.RLIMIT_CPU)
    seconds = math.ceil(used.ru_utime + used.ru_stime + limits.seconds * limits.threads) + _GRACE_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, longest))
    resource.setrlimit(resource.RLIMIT_AS, (space, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


if __name__ == "__main__":
    with contextlib.suppress(WorkerGone, ConnectionError, KeyboardInterrupt):
        main(sys.argv[1:])
    os._exit(0)
