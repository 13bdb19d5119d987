"""What a database file is at a moment, for noticing that it has become another one. Reads no data."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["DatabaseFile", "FileState"]

# Per file: device, inode, bytes, time of change in nanoseconds; None where there is no such file.
FileState = tuple[tuple[int, int, int, int] | None, ...]


class DatabaseFile:
    """A database file and its write-ahead log, which DuckDB reads with it."""

    def __init__(self, path: Path) -> None:
        # Bytes, and made once: they are asked for by each query, and paths as objects take three times as long.
        self._name = os.fsencode(path)
        self._log = self._name + b".wal"

    def state(self) -> FileState:
        """Of both, now.

        DuckDB locks a file that is open, and refuses it to writers in other processes; a file that is moved over the
        old one is another inode, which the lock does not cover. The lock is POSIX's, and lost when this process closes
        any other handle of the file, so a writer is possible and must be noticed as well.
        """
        # Mostly there is no log, and an exception takes longer than to ask.
        return _state(self._name), _state(self._log) if os.access(self._log, os.F_OK) else None


def _state(path: bytes) -> tuple[int, int, int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 (bytes, see above)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
