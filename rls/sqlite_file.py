"""An SQLite database that several processes write: the audit log as a database, and the store of revocations.

Owns that what a transaction kept stays kept, whoever opens, closes or forks meanwhile. SQLite's locks belong to the
process and the file, not to the connection (https://www.sqlite.org/howtocorrupt.html): to open the file by hand and
close it again drops them, and a fork copies connections that believe to hold them. Then the next process that closes
the database takes itself for the last one and removes the write-ahead log that is still written to.

A file that was deleted, moved away or replaced is noticed before each use and after each commit: what goes into a file
without a name is kept for nobody.
"""

from __future__ import annotations

import contextlib
import errno
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

    Another file that is put in the place of this one is used from then on. One that is gone is made again by nobody but
    who opens it anew: what it said would be forgotten without a word. Every method raises `sqlite3.Error` or `OSError`
    for a file that cannot be used.
    """

    def __init__(self, path: Path | None, *, wait: float, durable: bool, schema: str) -> None:
        # Wherever the process goes: who runs in the background leaves the directory it was started in.
        self._path = None if path is None else path.absolute()
        self._wait, self._durable, self._schema = wait, durable, schema
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._file: _FileId | None = None
        # Known to forks before there is a connection that could go through one.
        with _FORKING:
            _ALL.add(self)
        with self._lock:
            if self._path is not None:
                _make(self._path)
            self._open()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """What is done in the block is kept as a whole when it ends, or not at all where it raises."""
        with self._lock:
            connection = self._open()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
                if not self._is_there():
                    raise _gone()
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
        if self._connection is not None and not self._is_there():
            self._close()
        if self._connection is None:
            if self._path is None:
                self._connection = _prepare(":memory:", "MEMORY", wait=self._wait, durable=False, schema=self._schema)
            else:
                # Before it is opened: if it becomes another one in between, the next use sees that.
                self._file = _file_id(self._path)
                if self._file is None:
                    raise _gone()
                self._connection = _connect(self._path, wait=self._wait, durable=self._durable, schema=self._schema)
        return self._connection

    def _is_there(self) -> bool:
        """Whether the file that is open is still the one of this name."""
        return self._path is None or _file_id(self._path) == self._file

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if not self._is_there():
            # SQLite leaves a file that was moved as it is. But its end stands in the write-ahead log, which kept its
            # name: whoever makes a new file of that name finds, and drops, what belongs to this one.
            with contextlib.suppress(sqlite3.Error):
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()

    def _before_fork(self) -> None:
        """No connection to a file goes into a child, and no lock that nobody there would release."""
        self._lock.acquire()
        if self._path is not None:
            with contextlib.suppress(sqlite3.Error):
                self._close()

    def _after_fork(self) -> None:
        self._lock.release()


def _make(path: Path) -> None:
    with _MAKING, contextlib.suppress(FileExistsError):
        # For its owner's eyes, and only if it is not there: see the module's text.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _file_id(path: Path) -> _FileId | None:
    """Which file has this name; None where none can be seen."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _gone() -> OSError:
    return FileNotFoundError(errno.ENOENT, "the database was deleted or moved away")


def _connect(path: Path, *, wait: float, durable: bool, schema: str) -> sqlite3.Connection:
    place = f"{path.as_uri()}?mode=rw"
    until = time.monotonic() + wait
    while True:
        # Two processes that turn a new file to write-ahead mode at once do not wait for each other: SQLite tells one of
        # them that the database is locked, without asking its busy timeout. So it is waited for here.
        try:
            return _prepare(place, "WAL", wait=wait, durable=durable, schema=schema)
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _PASSING or time.monotonic() > until:
                raise
        time.sleep(_PAUSE)


def _prepare(place: str, journal: str, *, wait: float, durable: bool, schema: str) -> sqlite3.Connection:
    connection = sqlite3.connect(place, timeout=wait, isolation_level=None, check_same_thread=False, uri=True)
    try:
        connection.execute(f"PRAGMA journal_mode = {journal}")
        connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        connection.executescript(schema)
    except BaseException:
        connection.close()
        raise
    return connection


def _before_fork() -> None:
    # One fork at a time, and nothing new meanwhile.
    _FORKING.acquire()
    for each in list(_ALL):
        each._before_fork()
        _HELD.append(each)


def _after_fork() -> None:
    while _HELD:
        _HELD.pop()._after_fork()
    _FORKING.release()


_FileId = tuple[int, int]
_MAKING, _FORKING = threading.Lock(), threading.Lock()
_ALL: weakref.WeakSet[SharedDatabase] = weakref.WeakSet()
_HELD: list[SharedDatabase] = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
