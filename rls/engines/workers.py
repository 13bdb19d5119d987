"""GuardedQuery → rows or Arrow, in a small pool of supervised DuckDB processes.

DuckDB's own limits do not contain a hostile query: functions that ignore interrupts for twenty seconds, a memory limit
of 512 MB and 7.9 GB used, one SELECT that ends the process. Here a query gets a process to itself, with limits of the
operating system; one that does not answer in time is killed and replaced. Owns that a crash costs one error, and
neither the host nor another principal's query.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import secrets
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

from rls.catalog import Catalog, Column
from rls.engines.base import Fetch, Fetched
from rls.engines.duckdb import DuckDBExecutor
from rls.engines.limits import Limits
from rls.engines.wire import Request, WorkerGone, receive_answer, send_request
from rls.errors import EngineInvalid, QueryFailed, RlsError
from rls.rewrite.guarded import GuardedQuery

__all__ = ["WorkersExecutor"]

_START_SECONDS = 60.0
# A worker ends its query itself when the time is over; one that cannot is killed this much later.
_GRACE_SECONDS = 1.0
# A killed one is replaced meanwhile.
_REPLACE_SECONDS = 5.0


class WorkersExecutor:
    """An `Executor` over one DuckDB file, in `limits.processes` processes. Thread-safe."""

    def __init__(self, path: Path, *, name: str, limits: Limits, attached: str, catalog: Catalog, version: str) -> None:
        self._limits, self._catalog, self._version = limits, catalog, version
        share = replace(limits, memory=max(1 << 20, limits.memory // limits.processes), concurrent=1)
        settings = {"path": str(path), "name": name, "attached": attached, "limits": asdict(share)}
        self._settings = json.dumps(settings)
        self._share = share
        self._closed = False
        self._idle: queue.LifoQueue[_Worker] = queue.LifoQueue()
        self._workers: set[_Worker] = set()
        self._lock = threading.Lock()
        for start in [self._start() for _ in range(limits.processes)]:
            start.join()

    @classmethod
    def open(cls, path: str | Path, *, name: str | None = None, limits: Limits | None = None) -> WorkersExecutor:
        """Like `DuckDBExecutor.open`, with the same errors."""
        if not sys.platform.startswith("linux"):
            raise EngineInvalid("engine.isolation", "worker processes need Linux", hint='use isolation="thread"')
        attached = f"rls_{secrets.token_hex(16)}"
        # Opened here once, for the catalog, and for an error that comes now and not with the first query.
        local = DuckDBExecutor.open(path, name=name, limits=limits, attached=attached)
        catalog, version = local.catalog, local.version
        local.close()
        found = limits or Limits()
        file = Path(path).resolve()
        return cls(file, name=catalog.name, limits=found, attached=attached, catalog=catalog, version=version)

    @property
    def version(self) -> str:
        return f"{self._version} workers"

    @property
    def catalog(self) -> Catalog:
        return self._catalog

    @property
    def limits(self) -> Limits:
        return self._limits

    def execute(self, guarded: GuardedQuery, parameters: Mapping[str, object], *, fetch: Fetch) -> Fetched:
        """See `Executor.execute`; beside the codes of `DuckDBExecutor`: `run.crashed` (the query ended its process)."""
        return self._ask(Request.of(guarded, dict(parameters), form=fetch))

    def describe(self, guarded: GuardedQuery, parameters: Mapping[str, object]) -> tuple[Column, ...]:
        found = self._ask(Request.of(guarded, dict(parameters), form="names"))
        return tuple(map(Column, found.columns, found.types))

    def close(self) -> None:
        self._closed = True
        with self._lock:
            workers, self._workers = self._workers, set()
        for worker in workers:
            worker.kill()

    def _ask(self, request: Request) -> Fetched:
        worker = self._take()
        failure: RlsError
        done = False
        try:
            found = worker.ask(request, seconds=self._limits.seconds + _GRACE_SECONDS, size=2 * self._share.memory)
            done = True
        except TimeoutError:
            seconds = f"{self._limits.seconds:g}"
            found = QueryFailed("run.timeout", f"the query ran longer than {seconds} s", hint="read or join less")
        except (WorkerGone, OSError):
            found = QueryFailed("run.crashed", "the query ended the process that ran it", hint="rewrite it")
        finally:
            # Whatever it was, an interrupt of the host too: a worker in the middle of an answer is of no more use.
            if done:
                self._idle.put(worker)
            else:
                self._replace(worker)
        if isinstance(found, Fetched):
            return found
        failure = self._closed_error() if self._closed and not done else found
        raise failure

    def _take(self) -> _Worker:
        """An idle worker; waits for one as long as a query may run, and a new process to start."""
        try:
            worker = self._idle.get(timeout=self._limits.seconds + _REPLACE_SECONDS)
        except queue.Empty:
            worker = None
        if self._closed:
            raise self._closed_error()
        if worker is None:
            raise QueryFailed("run.busy", "too many queries run at once", hint="send the query again later")
        if worker.problem is not None:
            self._replace(worker)
            raise worker.problem
        return worker

    def _start(self) -> threading.Thread:
        """Start a process; the thread that is returned ends when it is ready, or known not to become so."""
        worker = _Worker(self._settings)
        with self._lock:
            self._workers.add(worker)

        def wait() -> None:
            worker.wait()
            self._idle.put(worker)
            if self._closed:
                worker.kill()

        thread = threading.Thread(target=wait, name="rls-worker-start", daemon=True)
        thread.start()
        return thread

    def _replace(self, worker: _Worker) -> None:
        with self._lock:
            self._workers.discard(worker)
        worker.kill()
        if not self._closed:
            self._start()

    def _closed_error(self) -> EngineInvalid:
        return EngineInvalid("engine.closed", "the engine is closed", hint="open it again")


class _Worker:
    """One process, one socket. `wait` for it to be ready, `ask` it one query at a time."""

    def __init__(self, settings: str) -> None:
        self.problem: RlsError | None = None
        self._connection, theirs = socket.socketpair()
        lifeline, self._lifeline = os.pipe()
        try:
            self._process = subprocess.Popen(  # noqa: S603 (this interpreter, a module of this package)
                [sys.executable, "-P", "-m", "rls.engines.worker", str(theirs.fileno()), str(lifeline), settings],
                pass_fds=(theirs.fileno(), lifeline),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=_environment(),
            )
        finally:
            theirs.close()
            os.close(lifeline)

    def wait(self) -> None:
        """Return when the process is ready; `problem` then says what kept it from that, if anything did."""
        self._connection.settimeout(_START_SECONDS)
        try:
            found = receive_answer(self._connection, size=1 << 20)
        except (WorkerGone, OSError):
            found = EngineInvalid("engine.worker", "a worker process did not start", hint="check memory and limits")
        self.problem = None if isinstance(found, Fetched) else found

    def ask(self, request: Request, *, seconds: float, size: int) -> Fetched | RlsError:
        """The answer. Raises `TimeoutError`, and `WorkerGone` or `OSError` where the process has died."""
        self._connection.settimeout(seconds)
        send_request(self._connection, request)
        return receive_answer(self._connection, size=size)

    def kill(self) -> None:
        """End the process, whatever it does."""
        with contextlib.suppress(OSError):
            self._process.kill()
        self._connection.close()
        with contextlib.suppress(OSError):
            os.close(self._lifeline)
        self._process.wait()


def _environment() -> dict[str, str]:
    """What the host keeps in its environment is none of a query's business, but for what Python and time zones need."""
    kept = {name: os.environ[name] for name in ("TZ", "LD_LIBRARY_PATH") if name in os.environ}
    # Every arena of the allocator reserves address space, which is what is limited.
    return {**kept, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "MALLOC_ARENA_MAX": "2"}
