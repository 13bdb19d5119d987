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
import shutil
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import ClassVar, Literal

from rls.catalog import Catalog
from rls.engines.base import Executor, Fetched, Job
from rls.engines.children import Child
from rls.engines.database_file import DatabaseFile, FileState
from rls.engines.duckdb import DuckDBExecutor
from rls.engines.failures import busy, closed, database_changed, timed_out
from rls.engines.limits import Limits
from rls.engines.planner import PlannerProcess
from rls.engines.spill import SpillDirectory
from rls.engines.wire import Request, WorkerGone, receive_answer, send_request
from rls.errors import EngineInvalid, QueryFailed, RlsError

__all__ = ["WorkersExecutor"]

_START_SECONDS = 60.0
# A worker ends its query itself when the time is over; one that cannot is killed this much later.
_GRACE_SECONDS = 1.0
# A killed one is replaced meanwhile.
_REPLACE_SECONDS = 5.0


class WorkersExecutor(Executor):
    """An `Executor` over one DuckDB file, in `limits.processes` processes. Thread-safe."""

    dialect: ClassVar[Literal["duckdb"]] = "duckdb"

    def __init__(
        self,
        path: Path,
        *,
        name: str | None,
        limits: Limits,
        temporary: str | os.PathLike[str] | None,
        slices: bool,
    ) -> None:
        """`path` is an existing file."""
        planner = PlannerProcess()
        super().__init__(limits=limits, concurrent=limits.processes, planner=planner, slices=slices)
        # Not resolved: a link that is pointed at another file is a change of the database, too.
        self._path, self._name, self._planner = path.absolute(), name, planner
        self._database = DatabaseFile(self._path)
        self._share = limits.shared_by(limits.processes)
        self._closed = False
        self._idle: queue.LifoQueue[_Worker] = queue.LifoQueue()
        self._workers: set[_Worker] = set()
        self._lock = threading.Lock()
        self._refreshing = threading.Lock()
        self._file, self._catalog, self._version = self._read_file()
        # Each process has its files in a part of it, which goes when the process does, however that ends.
        self._spill = SpillDirectory(temporary) if limits.temporary_disk else None
        for start in [self._start() for _ in range(limits.processes)]:
            start.join()

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        name: str | None = None,
        limits: Limits | None = None,
        temporary: str | os.PathLike[str] | None = None,
        slices: bool = False,
    ) -> WorkersExecutor:
        """Like `DuckDBExecutor.open`, with the same errors."""
        if not sys.platform.startswith("linux"):
            raise EngineInvalid("engine.isolation", "worker processes need Linux", hint='use isolation="thread"')
        return cls(Path(path), name=name, limits=limits or Limits(), temporary=temporary, slices=slices)

    @property
    def version(self) -> str:
        return f"{self._version} workers"

    @property
    def catalog(self) -> Catalog:
        return self._catalog

    def refresh(self, *, force: bool = False) -> Catalog:
        """See `Executor.refresh`. Queries that run end where they are; other processes take the place of theirs."""
        if self._closed:
            raise closed()
        if not force and self._database.state() == self._file:
            return self._catalog
        with self._refreshing:
            if not force and self._database.state() == self._file:
                return self._catalog
            file, catalog, version = self._read_file()
            with self._lock:
                # The file last: who finds this one finds its catalog, too.
                self._version, self._catalog, self._file = version, catalog, file
                old = list(self._workers)
            starts = []
            for worker in old:
                # One that is busy is replaced when it has answered.
                with contextlib.suppress(ValueError):
                    with self._idle.mutex:
                        self._idle.queue.remove(worker)
                    starts.append(self._replace(worker))
            for start in starts:
                if start is not None:
                    start.join()
        return catalog

    def close(self) -> None:
        self._closed = True
        with self._lock:
            workers, self._workers = self._workers, set()
        for worker in workers:
            worker.kill()
        self._planner.close()
        if self._spill:
            self._spill.close()

    def _read_file(self) -> tuple[FileState, Catalog, str]:
        """Open it here once, for the catalog, and for an error that comes now and not with the first query."""
        state = self._database.state()
        limits = replace(self.limits, temporary_disk=0)
        local = DuckDBExecutor.open(self._path, name=self._name, limits=limits)
        try:
            return state, local.catalog, local.version
        finally:
            local.close()

    def _answer(self, job: Job) -> Fetched:
        """See `Executor.execute`; beside the codes of `DuckDBExecutor`: `run.crashed` (the query ended its process)."""
        limits = job.limits
        worker = self._take(limits)
        failure: RlsError
        done = False
        try:
            found = worker.ask(Request.of(job), seconds=limits.seconds + _GRACE_SECONDS, size=2 * self._share.memory)
            done = True
        except TimeoutError:
            found = timed_out(limits)
        except (WorkerGone, OSError):
            found = QueryFailed("run.crashed", "the query ended the process that ran it", hint="rewrite it")
        finally:
            # Whatever it was, an interrupt of the host too: a worker in the middle of an answer is of no more use.
            if done and worker.catalog == self._catalog.version:
                self._idle.put(worker)
            else:
                self._replace(worker)
        if isinstance(found, Fetched):
            return found
        failure = closed() if self._closed and not done else found
        raise failure

    def _take(self, limits: Limits) -> _Worker:
        """An idle worker; waits for one as long as a query may run, and a new process to start."""
        until = time.monotonic() + limits.seconds + _REPLACE_SECONDS
        worker = None
        while worker is None:
            with contextlib.suppress(queue.Empty):
                worker = self._idle.get(timeout=max(0.0, until - time.monotonic()))
            if self._closed:
                raise closed()
            if worker is None:
                raise busy()
            if worker.catalog != self._catalog.version:
                # It was on its way when the file became another one.
                self._replace(worker)
                worker = None
        if worker.problem is not None:
            self._replace(worker)
            raise worker.problem
        return worker

    def _start(self) -> threading.Thread:
        """Start a process; the thread that is returned ends when it is ready, or known not to become so."""
        with self._lock:
            catalog = self._catalog
        temporary = self._spill.part() if self._spill else None
        settings = {
            "path": str(self._path),
            "name": catalog.name,
            "attached": catalog.attached,
            "limits": asdict(self._share),
            "temporary": None if temporary is None else str(temporary),
            "slices": self.slices,
        }
        worker = _Worker(json.dumps(settings), catalog=catalog.version, temporary=temporary)
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

    def _replace(self, worker: _Worker) -> threading.Thread | None:
        with self._lock:
            self._workers.discard(worker)
        worker.kill()
        return None if self._closed else self._start()


class _Worker:
    """One process, one socket. `wait` for it to be ready, `ask` it one query at a time. `catalog` is the version of the
    catalog that it has, `temporary` the directory that goes with it."""

    def __init__(self, settings: str, *, catalog: str, temporary: Path | None) -> None:
        self.problem: RlsError | None = None
        self.catalog, self._temporary = catalog, temporary
        self._child: Child | None = None
        try:
            self._child = Child("rls.engines.worker", settings)
        except OSError as error:
            # Too many processes or files for now. It keeps its place, and whoever is given it makes another.
            self.problem = _not_started(str(error))
        self.pid = self._child.pid if self._child else 0

    def wait(self) -> None:
        """Return when the process is ready; `problem` then says what kept it from that, if anything did."""
        if self._child is None:
            return
        self._child.connection.settimeout(_START_SECONDS)
        try:
            found = receive_answer(self._child.connection, size=1 << 20)
        except (WorkerGone, OSError):
            found = _not_started()
        match found:
            case Fetched(rows=[(version,)]) if version == self.catalog:
                self.problem = None
            case Fetched():
                # The file was replaced while the process started; the next query finds out and reads it again.
                self.problem = database_changed()
            case _:
                self.problem = found

    def ask(self, request: Request, *, seconds: float, size: int) -> Fetched | RlsError:
        """The answer. Raises `TimeoutError`, and `WorkerGone` or `OSError` where the process has died."""
        if self._child is None:
            raise WorkerGone
        self._child.connection.settimeout(seconds)
        send_request(self._child.connection, request)
        return receive_answer(self._child.connection, size=size)

    def kill(self) -> None:
        """End the process, whatever it does."""
        if self._child is not None:
            self._child.kill()
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)


def _not_started(detail: str | None = None) -> EngineInvalid:
    what, hint = "a worker process did not start", "check memory and limits"
    return EngineInvalid("engine.worker", what, hint=hint, detail=detail)
