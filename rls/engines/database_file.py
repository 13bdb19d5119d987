"""What a database file is at a moment, for noticing that it has become another one. Reads no data."""

from __future__ import annotations

import contextlib
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
    return tuple(_state(path.with_name(path.name + suffix)) for suffix in ("", ".wal"))


def _state(path: Path) -> tuple[int, int, int, int] | None:
    with contextlib.suppress(OSError):
        found = os.stat(path)  # noqa: PTH116 (once per query: a third of the time)
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
    return None
