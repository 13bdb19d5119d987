"""Texts → bound plans on empty tables, in a process of their own, which a hostile text may exhaust or crash.

Binding a text takes time and memory that no limit of DuckDB's bounds (aliases that double an expression at each level),
and moving filters evaluates constants. Takes what `Planner.plan` takes; returns JSON or nothing. Owns that the
host waits for at most `SECONDS`: what is not planned by then is run behind fences, or tried once more with
`PATIENT_SECONDS` for an engine that needs the plan.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import resource
import socket
import sys
import threading
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from rls.catalog import Relation
from rls.engines.children import Child, end_with
from rls.engines.wire import WorkerGone, receive_frame, send_frame
from rls.rewrite.bound import LOCAL, Planner, PlannerBusy, PlannerSlow

__all__ = ["PlannerProcess", "main"]

SECONDS: Final = 2.0
PATIENT_SECONDS: Final = 8.0
# Another text may be on it; one that takes long must not hold up everybody's first queries.
WAIT_SECONDS: Final = 0.5
_START_SECONDS: Final = 60.0
_MEMORY: Final = 2 << 30
_PLAN_BYTES: Final = 64 << 20
_CPU_SECONDS: Final = 3_600  # of one process, after which it makes room for a fresh one
_RELATIONS: Final = 1_000  # that are kept packed: a hundred columns take as long to pack as a short text to plan


class PlannerProcess:
    """A `Planner` in one supervised process, started anew when it is gone. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: _Process | None = None
        self._closed = False
        self._packed: dict[tuple[str, tuple[str, ...]], bytes] = {}
        threading.Thread(target=self._warm_up, name="rls-planner-start", daemon=True).start()

    def plan(self, text: str, version: str, attached: str, tables: Mapping[str, Relation], *, optimize: bool) -> str:
        """See `Planner.plan`."""
        return self.ask(text, version, attached, tables, optimize, seconds=SECONDS)

    def columns(self, text: str, version: str, attached: str, tables: Mapping[str, Relation]) -> str:
        """See `Planner.columns`."""
        return self.ask(text, version, attached, tables, None, seconds=SECONDS)

    def patient(self) -> Planner:
        """See `Planner.patient`."""
        return _Patient(self)

    def _pack(self, version: str, tables: Mapping[str, Relation]) -> dict[str, bytes]:
        """The relations as the process reads them; `version` tells those of one name apart."""
        if len(self._packed) > _RELATIONS:
            self._packed = {}
        known, found = self._packed, {}
        for source, relation in tables.items():
            packed = known.get((version, relation.key))
            if packed is None:
                packed = known[version, relation.key] = pickle.dumps(relation)
            found[source] = packed
        return found

    def ask(
        self,
        text: str,
        version: str,
        attached: str,
        tables: Mapping[str, Relation],
        optimize: bool | None,
        *,
        seconds: float,
    ) -> str:
        """What the process answers within so much time. Raises `PlannerBusy`, `PlannerSlow`."""
        request = (text, version, attached, self._pack(version, tables), optimize)
        if not self._lock.acquire(timeout=WAIT_SECONDS):
            raise PlannerBusy
        try:
            if self._closed:
                raise PlannerBusy
            if self._process is None:
                self._process = _Process()
            return self._process.ask(request, seconds)
        except TimeoutError:
            self._end()
            raise PlannerSlow from None
        except (WorkerGone, OSError):
            self._end()
            return ""
        except BaseException:
            # Ctrl-C in the middle of an answer: what comes next would be another text's.
            self._end()
            raise
        finally:
            self._lock.release()

    def close(self) -> None:
        """End the process."""
        self._closed = True
        with self._lock:
            self._end()

    def _warm_up(self) -> None:
        with self._lock:
            if self._process is None and not self._closed:
                with contextlib.suppress(WorkerGone, OSError):
                    self._process = _Process()

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process = None


class _Patient:
    """A planner process, asked by somebody who waits."""

    def __init__(self, planner: PlannerProcess) -> None:
        self._planner = planner

    def plan(self, text: str, version: str, attached: str, tables: Mapping[str, Relation], *, optimize: bool) -> str:
        """See `Planner.plan`."""
        return self._planner.ask(text, version, attached, tables, optimize, seconds=PATIENT_SECONDS)

    def columns(self, text: str, version: str, attached: str, tables: Mapping[str, Relation]) -> str:
        """See `Planner.columns`."""
        return self._planner.ask(text, version, attached, tables, None, seconds=PATIENT_SECONDS)

    def patient(self) -> Planner:
        """See `Planner.patient`."""
        return self


class _Process:
    """One process and its socket, ready when made. Raises `WorkerGone` or `OSError` where it does not start."""

    def __init__(self) -> None:
        self._child = Child("rls.engines.planner")
        try:
            self._child.connection.settimeout(_START_SECONDS)
            receive_frame(self._child.connection, _PLAN_BYTES)
        except BaseException:
            self.kill()
            raise

    def ask(self, request: object, seconds: float) -> str:
        self._child.connection.settimeout(seconds)
        send_frame(self._child.connection, pickle.dumps(request))
        # JSON is all that comes back: data, whatever the process has become.
        return receive_frame(self._child.connection, _PLAN_BYTES).decode(errors="replace")

    def kill(self) -> None:
        self._child.kill()


def main(descriptor: int, lifeline: int) -> None:
    """The process: plans texts until the engine closes the socket, or ends."""
    connection = socket.socket(fileno=descriptor)
    end_with(lifeline)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))
    LOCAL.plan("SELECT 1", "", "memory", {}, optimize=False)
    send_frame(connection, b"ready")
    while True:
        text, version, attached, packed, optimize = pickle.loads(receive_frame(connection, 1 << 40))  # noqa: S301
        tables = {source: _unpack(relation) for source, relation in packed.items()}
        try:
            if optimize is None:
                answer = LOCAL.columns(text, version, attached, tables)
            else:
                answer = LOCAL.plan(text, version, attached, tables, optimize=optimize)
        except MemoryError:
            answer = ""
        send_frame(connection, answer.encode(errors="replace"))


@lru_cache(_RELATIONS)
def _unpack(relation: bytes) -> Relation:
    found: Relation = pickle.loads(relation)  # noqa: S301
    return found


if __name__ == "__main__":
    with contextlib.suppress(WorkerGone, ConnectionError, KeyboardInterrupt):
        main(int(sys.argv[1]), int(sys.argv[2]))
    os._exit(0)
