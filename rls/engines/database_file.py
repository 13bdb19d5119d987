"""What a database file is at a moment, for noticing that it has become another one. Reads no data."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["FileState", "file_state"]

# Per file: device, inode, bytes, time of change in nanoseconds; None where there is no such file.
FileState = tuple[tuple[int, int, int, int] | None, ...]


def file_state(path: Path) -> FileState:
    """Of the database file and of its write-ahead log, which DuckDB reads with it.

    DuckDB locks a file that is open, and refuses it to writers in other processes; a file that is moved over the old
    one is another inode, which the lock does not cover. The lock is POSIX's, and lost when this process closes any
    other handle of the file, so a writer is possible and must be noticed as well.
    """
    name = os.fspath(path)
    wal = f"{name}.wal"
    # Mostly there is none, and an exception takes longer than to ask.
    return _state(name), _state(wal) if os.access(wal, os.F_OK) else None


def _state(path: str) -> tuple[int, int, int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 (twice per query: paths as objects take three times as long)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
