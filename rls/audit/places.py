"""Where an audit log's lines are kept: one file for all writers, a directory with files per writer, or SQLite.

A place takes the lines of a batch and returns when they are kept, or raises OSError; then it is not used again. Owns
that lines of several processes never mix, whatever a crash left of one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Protocol

from rls.audit.chain import Link, read_link
from rls.sqlite_file import SharedDatabase

__all__ = ["Durability", "OwnFiles", "Place", "SharedFile", "SqliteFile", "open_place", "place_kind", "sync_directory"]

Durability = Literal["disk", "process"]
_TAIL = 1 << 18
_MOST_HEADS = 64
# Seconds after which the operating system has surely written what nobody asked it to.
_SETTLED = 300
# Seconds that a writer waits for another one's transaction or lock: it may be stopped, and no query hangs for that.
_WAIT = 30
_PAUSE = 0.0002
_SQLITE = (".sqlite", ".sqlite3", ".db")
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC

SCHEMA = """
CREATE TABLE IF NOT EXISTS lines (
  id INTEGER PRIMARY KEY, writer TEXT NOT NULL, sequence INTEGER NOT NULL, line TEXT NOT NULL,
  UNIQUE (writer, sequence)
);
CREATE VIEW IF NOT EXISTS records AS SELECT
  line ->> 'time' AS time, line ->> 'audit_id' AS audit_id, line ->> 'action' AS action, line ->> 'outcome' AS outcome,
  line ->> 'code' AS code, line ->> 'subject' AS subject, line ->> 'agent' AS agent, line ->> 'issuer' AS issuer,
  line -> 'roles' AS roles, line -> 'relations' AS relations, line -> 'attributes' AS attributes, line ->> 'sql' AS sql,
  line ->> 'row_count' AS row_count, line ->> 'byte_count' AS byte_count, line ->> 'duration' AS duration,
  line ->> 'policy_version' AS policy_version, line ->> 'trace_id' AS trace_id, line
FROM lines WHERE line ->> 'audit_id' IS NOT NULL;
"""


class Place(Protocol):
    """`append` keeps lines (each with its end); `heads` gives the last line of the writers that can be seen."""

    def append(self, lines: bytes) -> None: ...
    def heads(self) -> dict[str, Link]: ...
    def close(self) -> None: ...


def place_kind(path: Path) -> Literal["directory", "sqlite", "file"]:
    """What a path is, or will be: an existing directory or a name without a suffix, a database's name, or a file."""
    # One look: another process may be making it just now.
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        mode = stat.S_IFREG if path.suffix else stat.S_IFDIR
    if stat.S_ISDIR(mode):
        return "directory"
    return "sqlite" if path.suffix in _SQLITE else "file"


def open_place(path: Path, *, writer: str, durability: Durability, rotate_bytes: int) -> Place:
    """A place for one writer. Raises OSError."""
    match place_kind(path):
        case "directory":
            return OwnFiles(path, writer=writer, durability=durability, rotate_bytes=rotate_bytes)
        case "sqlite":
            return SqliteFile(path, durability=durability)
        case "file":
            return SharedFile(path, durability=durability)


class SharedFile:
    """One file that several processes append to, under a lock of the operating system.

    A file that was renamed or deleted is left, and a new one begun.
    """

    def __init__(self, path: Path, *, durability: Durability) -> None:
        self._path, self._durability = path, durability
        self._fd = _open(path)
        if durability == "disk":
            sync_directory(path.absolute().parent)

    def append(self, lines: bytes) -> None:
        self._follow()
        _lock(self._fd)
        try:
            size = os.fstat(self._fd).st_size
            # What a crash left of a line gets an end, so that it spoils no other.
            torn = size > 0 and os.pread(self._fd, 1, size - 1) != b"\n"
            _write(self._fd, b"\n" + lines if torn else lines)
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)
        if self._durability == "disk":
            _sync(self._fd)
        _check_kept(self._fd)

    def heads(self) -> dict[str, Link]:
        size = os.fstat(self._fd).st_size
        tail = os.pread(self._fd, _TAIL, max(0, size - _TAIL))
        found: dict[str, Link] = {}
        for line in tail.split(b"\n")[1 if size > _TAIL else 0 : -1]:
            link = read_link(line)
            if link is not None:
                found[link.writer] = link
        return found

    def close(self) -> None:
        os.close(self._fd)

    def _follow(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            there, here = self._path.stat(), os.fstat(self._fd)
            if (there.st_ino, there.st_dev) == (here.st_ino, here.st_dev):
                return
        fresh = _open(self._path)
        os.close(self._fd)
        self._fd = fresh


class OwnFiles:
    """Files of one writer in a directory, a new one when the last has reached `rotate_bytes`.

    Their names begin with the time they were begun at, so that they sort by it; then writer and number.
    """

    def __init__(self, directory: Path, *, writer: str, durability: Durability, rotate_bytes: int) -> None:
        self._directory, self._writer = directory, writer
        self._durability, self._rotate_bytes = durability, rotate_bytes
        self._number = 0
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._fd, self._size = self._begin(), 0

    def append(self, lines: bytes) -> None:
        if self._size >= self._rotate_bytes:
            self._number += 1
            fresh = self._begin()
            os.close(self._fd)
            self._fd, self._size = fresh, 0
        _write(self._fd, lines)
        self._size += len(lines)
        if self._durability == "disk":
            _sync(self._fd)
        _check_kept(self._fd)

    def heads(self) -> dict[str, Link]:
        files = sorted(self._directory.glob("*.jsonl"), key=_changed_at)[-_MOST_HEADS:]
        found: dict[str, Link] = {}
        for path in files:
            with contextlib.suppress(OSError):
                link = _last_link(path, sync=self._durability == "disk")
                if link is not None and link.sequence >= found.get(link.writer, link).sequence:
                    found[link.writer] = link
        return found

    def close(self) -> None:
        try:
            if os.fstat(self._fd).st_size == 0:
                # On a full disk each attempt begins a file: they must not pile up.
                self._file.unlink(missing_ok=True)
        finally:
            os.close(self._fd)

    def _begin(self) -> int:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
        self._file = self._directory / f"{stamp}-{self._writer}-{self._number:06}.jsonl"
        fd = _open(self._file, exclusive=True)
        if self._durability == "disk":
            sync_directory(self._directory)
        return fd


class SqliteFile:
    """A table of lines in an SQLite database, and a view `records` of what they hold."""

    def __init__(self, path: Path, *, durability: Durability) -> None:
        with _as_os_error():
            self._database = SharedDatabase(path, wait=_WAIT, durable=durability == "disk", schema=SCHEMA)

    def append(self, lines: bytes) -> None:
        rows = []
        for line in lines.splitlines():
            link = read_link(line)
            assert link is not None  # noqa: S101 - made by the chain
            rows.append((link.writer, link.sequence, line.decode("ascii")))
        with _as_os_error(), self._database.transaction() as connection:
            connection.executemany("INSERT INTO lines (writer, sequence, line) VALUES (?, ?, ?)", rows)

    def heads(self) -> dict[str, Link]:
        with _as_os_error():
            found = self._database.fetch(
                "SELECT line FROM lines WHERE id IN (SELECT max(id) FROM lines GROUP BY writer) "
                f"ORDER BY id DESC LIMIT {_MOST_HEADS}"
            )
        links = (read_link(line.encode()) for (line,) in found)
        return {link.writer: link for link in links if link is not None}

    def close(self) -> None:
        with _as_os_error():
            self._database.close()


@contextlib.contextmanager
def _as_os_error() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise OSError(str(error)) from None


def _open(path: Path, *, exclusive: bool = False) -> int:
    """A descriptor for appending, of a file for its owner's eyes."""
    return os.open(path, _FLAGS | (os.O_EXCL if exclusive else 0), 0o600)


def _write(fd: int, data: bytes) -> None:
    if os.write(fd, data) != len(data):
        raise OSError("the lines were written in part")


def _lock(fd: int) -> None:
    """Raises OSError where another process keeps the lock."""
    until = time.monotonic() + _WAIT
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > until:
                raise OSError("another process keeps the file locked") from None
        # Whoever writes has done so by then.
        time.sleep(_PAUSE)


def _check_kept(fd: int) -> None:
    """Raises OSError where nobody will find what was written: the file was deleted, perhaps just now."""
    if os.fstat(fd).st_nlink == 0:
        raise OSError("the file was deleted")


def _changed_at(path: Path) -> int:
    # Who tidies up takes files away at any moment; that is no reason to refuse a query.
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _sync(fd: int) -> None:
    # A pipe or a device has nothing to sync.
    if stat.S_ISREG(os.fstat(fd).st_mode):
        os.fdatasync(fd)


def sync_directory(directory: Path) -> None:
    """Makes new names in a directory survive a loss of power."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _last_link(path: Path, *, sync: bool) -> Link | None:
    """The last whole line of a file, once it is on the disk: what is referred to must not be lost with the power."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe of that name is not waited for
    try:
        found = os.fstat(fd)
        if sync and time.time() - found.st_mtime < _SETTLED:
            _sync(fd)
        lines = os.pread(fd, _TAIL, max(0, found.st_size - _TAIL)).split(b"\n")[:-1]
    finally:
        os.close(fd)
    return next((link for line in reversed(lines) if (link := read_link(line)) is not None), None)
