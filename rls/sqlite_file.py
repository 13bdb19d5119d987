"""An SQLite database that several processes write: the audit log as a database, and the store of revocations.

Owns that what a transaction kept stays kept, whoever opens, closes or forks meanwhile. SQLite's locks belong to the
process and the file, not to the connection (https://www.sqlite.org/howtocorrupt.html): to open the file by hand and
close it again drops them, and a fork copies connections that believe to hold them. Then the next process that closes
the database takes itself for the last one and removes the write-ahead log that is still written to.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["SharedDatabase"]

_PAUSE = 0.002
# What SQLite answers where another process is just opening or closing the file; the low byte is the class of an error.
_PASSING = frozenset((sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL))


class SharedDatabase:
    """A database with the tables of `schema`, in memory where `path` is None; safe to share between threads and forks.

    wait      seconds that a transaction of another process is waited for
    durable   whether a commit survives a loss of power, not only the end of the process

    Every method raises `sqlite3.Error` or `OSError` for a file that cannot be used.
    """

    def __init__(self, path: Path | None, *, wait: float, durable: bool, schema: str) -> None:
        self._path, self._wait, self._durable, self._schema = path, wait, durable, schema
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        with self._lock:
            self._open()
        _ALL.add(self)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """What is done in the block is kept as a whole when it ends, or not at all where it raises."""
        with self._lock:
            connection = self._open()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise

    def fetch(self, sql: str, asked: Sequence[object] | Mapping[str, object] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        with self._lock:
            return self._open().execute(sql, asked).fetchall()

    def close(self) -> None:
        """Close the connection; a later call opens another one."""
        with self._lock:
            self._close()

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = _connect(self._path, wait=self._wait, durable=self._durable, schema=self._schema)
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _before_fork(self) -> None:
        """No connection to a file goes into a child, and no lock that nobody there would release."""
        self._lock.acquire()
        if self._path is not None:
            with contextlib.suppress(sqlite3.Error):
                self._close()

    def _after_fork(self) -> None:
        self._lock.release()


def _connect(path: Path | None, *, wait: float, durable: bool, schema: str) -> sqlite3.Connection:
    if path is None:
        return _prepare(":memory:", "MEMORY", wait=wait, durable=False, schema=schema)
    with _MAKING, contextlib.suppress(FileExistsError):
        # For its owner's eyes, and only if it is not there: see the module's text.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    until = time.monotonic() + wait
    while True:
        # Two processes that turn a new file to write-ahead mode at once do not wait for each other: SQLite tells one of
        # them that the database is locked, without asking its busy timeout. So it is waited for here.
        try:
            return _prepare(str(path), "WAL", wait=wait, durable=durable, schema=schema)
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _PASSING or time.monotonic() > until:
                raise
        time.sleep(_PAUSE)


def _prepare(place: str, journal: str, *, wait: float, durable: bool, schema: str) -> sqlite3.Connection:
    connection = sqlite3.connect(place, timeout=wait, isolation_level=None, check_same_thread=False)
    try:
        connection.execute(f"PRAGMA journal_mode = {journal}")
        connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        connection.executescript(schema)
    except BaseException:
        connection.close()
        raise
    return connection


def _before_fork() -> None:
    for each in list(_ALL):
        each._before_fork()
        _HELD.append(each)


def _after_fork() -> None:
    while _HELD:
        _HELD.pop()._after_fork()


_MAKING = threading.Lock()
_ALL: weakref.WeakSet[SharedDatabase] = weakref.WeakSet()
_HELD: list[SharedDatabase] = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
