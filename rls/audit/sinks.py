"""`AuditRecord` → a place that keeps it, written before the result is handed out.

A sink is a path (JSON lines, appended), a callable, or an object with `write(record)`. Owns the writing half of
invariant (recorded): `write` returns once the record is out of this process's hands, or raises `AuditFailed`.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from rls.audit.record import AuditRecord
from rls.errors import AuditFailed

__all__ = ["AuditSink", "CallableSink", "FileSink", "TornLine", "keep", "open_sink", "read_records"]


@runtime_checkable
class AuditSink(Protocol):
    """Where records go. `write` is called from several threads at once; whatever it raises withholds the result."""

    def write(self, record: AuditRecord) -> None: ...


def open_sink(sink: str | os.PathLike[str] | Callable[[AuditRecord], object] | AuditSink) -> AuditSink:
    """The sink for what `Engine.open(audit=…)` was given: a path, a callable, or a sink.

    Raises `AuditFailed` (`audit.sink`) for anything else, `None` included: there is no engine without a record.
    """
    match sink:
        case str() | os.PathLike():
            return FileSink(sink)
        case AuditSink():
            return sink
        case _ if callable(sink):
            return CallableSink(sink)
        case _:
            raise AuditFailed("audit.sink", "this is no place for audit records", hint="give a path or a callable")


class CallableSink:
    """Hands each record to a function; its return value is ignored."""

    def __init__(self, function: Callable[[AuditRecord], object]) -> None:
        self._function = function

    def write(self, record: AuditRecord) -> None:
        self._function(record)


def keep(sink: AuditSink, record: AuditRecord) -> None:
    """Write a record. Raises `AuditFailed` whatever the sink raises: it is not known that the record was kept."""
    failure = None
    try:
        sink.write(record)
    except AuditFailed as error:
        failure = error
    except Exception as error:  # noqa: BLE001
        failure = _failed(f"{type(error).__name__}: {error}")
    if failure:
        raise failure


class FileSink:
    """Appends JSON lines to a file, one `write` system call per record, so that lines of several processes do not mix.

    The file is made readable by its owner only. With `fsync` a record survives a loss of power, at the price of a
    disk's latency per query. A line that an earlier crash left unfinished is closed with a line end, not repaired:
    `read_records` reports it.
    """

    def __init__(self, path: str | os.PathLike[str], *, fsync: bool = False) -> None:
        self.path = Path(path)
        self._fsync = fsync
        self._lock = threading.Lock()
        self._fd = -1
        self._torn = False
        failure = None
        try:
            self._open()
        except OSError as error:
            failure = AuditFailed(
                "audit.open", f"the audit file `{self.path}` cannot be opened for writing", detail=str(error)
            )
        if failure:
            raise failure

    def write(self, record: AuditRecord) -> None:
        line = record.to_json().encode("ascii") + b"\n"
        failure = None
        with self._lock:
            try:
                # A file that was deleted would take records and keep none.
                if self._fd < 0 or os.fstat(self._fd).st_nlink == 0:
                    self._open()
                if self._torn:
                    line = b"\n" + line
                self._torn = True
                if os.write(self._fd, line) != len(line):
                    failure = _failed("the record was written in part")
                else:
                    self._torn = False
                    if self._fsync:
                        os.fsync(self._fd)
            except OSError as error:
                failure = _failed(str(error))
        if failure:
            raise failure

    def close(self) -> None:
        """Close the file; a later `write` opens it again."""
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
            self._fd = -1

    def _open(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        size = os.fstat(self._fd).st_size
        self._torn = size > 0 and os.pread(self._fd, 1, size - 1) != b"\n"


class TornLine(str):
    """A line of an audit file that is not a whole record: what a crash, or a hand, left of one."""

    __slots__ = ()


def read_records(path: str | os.PathLike[str]) -> Iterator[dict[str, Any] | TornLine]:
    """The records of an audit file in order, each a dict as `AuditRecord.to_dict` gives it, or the `TornLine`."""
    with Path(path).open(encoding="utf-8", errors="replace", newline="\n") as lines:
        for line in lines:
            if line == "\n":
                continue
            found = None
            with contextlib.suppress(ValueError):
                found = json.loads(line) if line.endswith("\n") else None
            yield found if isinstance(found, dict) else TornLine(line.rstrip("\n"))


def _failed(detail: str) -> AuditFailed:
    return AuditFailed("audit.write", "the audit record could not be written, so nothing is handed out", detail=detail)
