"""An SQLite database that several processes write: the audit log as a database, and the store of revocations."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

_PAUSE = 0.002
# What SQLite answers at once where it would wait for a lock otherwise: https://www.sqlite.org/wal.html#sometimes_queries_return_sqlite_busy_in_wal_mode
_PASSING = frozenset((sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL))


def open_shared(path: Path, *, wait: float, durable: bool, schema: str) -> sqlite3.Connection:
    """A connection in write-ahead mode with the tables of `schema`, for any thread, transactions begun by hand.

    wait      seconds that a lock of another process is waited for, here and in each later statement
    durable   whether a commit survives a loss of power, not only the end of the process

    Two processes that turn a new file to write-ahead mode at once do not wait for each other: SQLite tells one of them
    that the database is locked, without asking its busy timeout. So the waiting is done here. Raises `sqlite3.Error`.
    """
    until = time.monotonic() + wait
    while True:
        connection = sqlite3.connect(path, timeout=wait, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            connection.executescript(schema)
        except sqlite3.Error as error:
            connection.close()
            # The low byte is the class of what went wrong, the rest says more of it.
            if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _PASSING or time.monotonic() > until:
                raise
            time.sleep(_PAUSE)
        else:
            return connection
