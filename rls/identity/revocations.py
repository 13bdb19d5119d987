"""Which tokens are accepted no more: revoked by their id, used up, or issued to a subject before some moment.

Takes what is revoked; answers whether a verified token is. One small SQLite database, in memory or in a file that
several processes share. It owns two promises: what a call has revoked when it returns is refused by every process from
then on, and a single use is granted once, whoever asks at the same time. If the database cannot be asked, the answer is
no (`RevocationsDown`).
"""

from __future__ import annotations

import contextlib
import mmap
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from operator import getitem, setitem
from pathlib import Path
from typing import cast

from rls.forks import after_fork
from rls.sqlite_file import SharedDatabase

__all__ = ["Revocations", "RevocationsDown", "shared_revocations"]

# No issuer may declare a longer lifetime, so no older token can come.
LONGEST_LIFETIME = 30 * 86_400
# How long to wait for another process's transaction, in seconds.
BUSY = 5.0
# How long, in seconds, what could not be accepted any more is kept: a clock that was ahead for a while must not have
# made us forget what holds again once it is right.
GRACE = 86_400
_STAMP = 8

_TABLES = """
CREATE TABLE IF NOT EXISTS revoked_tokens (
    issuer TEXT, token_id TEXT, until REAL NOT NULL, PRIMARY KEY (issuer, token_id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS used_tokens (
    issuer TEXT, token_id TEXT, until REAL NOT NULL, PRIMARY KEY (issuer, token_id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS revoked_subjects (
    subject TEXT, issuer TEXT, before REAL NOT NULL, until REAL NOT NULL, PRIMARY KEY (subject, issuer)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS revoked_tokens_until ON revoked_tokens (until);
CREATE INDEX IF NOT EXISTS used_tokens_until ON used_tokens (until);
CREATE INDEX IF NOT EXISTS revoked_subjects_until ON revoked_subjects (until);
"""
_ASK = """
SELECT EXISTS (SELECT 1 FROM revoked_tokens WHERE issuer = :issuer AND token_id = :token_id),
       EXISTS (SELECT 1 FROM revoked_subjects WHERE subject = :subject AND issuer IN ('', :issuer)
                                                AND :issued_at < before)
"""


class RevocationsDown(Exception):
    """The database cannot be read or written."""


class Revocations:
    """In memory, or in `file` (made if it is not there). Safe to share between threads and between processes.

    `stamp()` is a value that is another one after every change, by whichever process; it costs no look into the
    database.
    """

    def __init__(self, file: Path | str | None = None) -> None:
        self._file = None if file is None else Path(file).absolute()
        # Not methods: every query asks for the stamp, and this is the whole of it.
        self.stamp: Callable[[], bytes]
        if self._file is None:
            marks = mmap.mmap(-1, _STAMP)
            self.stamp = cast(Callable[[], bytes], partial(getitem, marks, slice(_STAMP)))
            self._put_stamp: Callable[[bytes], None] = partial(setitem, marks, slice(_STAMP))
        else:
            place = f"{self._file}-stamp"
            self.stamp, self._put_stamp = partial(_read_stamp, place), partial(_write_stamp, place)
        with _as_down():
            if self.stamp() != self.stamp():
                self._put_stamp(os.urandom(_STAMP))
            self._database = SharedDatabase(self._file, wait=BUSY, durable=True, schema=_TABLES)
            # Whether it can be written, too.
            with self._database.transaction():
                pass

    @property
    def shared(self) -> bool:
        """Whether other processes see it."""
        return self._file is not None

    def revoke_token(self, token_id: str, *, issuer: str, until: float | None = None, now: float | None = None) -> None:
        """Refuse the token with this `jti` of this issuer; `until` is when it expires, if that is known (Unix time)."""
        now = time.time() if now is None else now
        kept = now + LONGEST_LIFETIME if until is None else until
        with self._change(now) as connection:
            connection.execute("INSERT OR REPLACE INTO revoked_tokens VALUES (?, ?, ?)", (issuer, token_id, kept))

    def revoke_subject(
        self, subject: str, *, before: float | None = None, issuer: str | None = None, now: float | None = None
    ) -> None:
        """Refuse all tokens of this subject that were issued before a moment (Unix time; now by default), of one issuer
        or of all. An earlier moment than one already set changes nothing.

        The moment is compared with `iat`, which is the issuer's clock: where that may be ahead, add some seconds."""
        now = time.time() if now is None else now
        moment = now if before is None else before
        with self._change(now) as connection:
            connection.execute(
                "INSERT INTO revoked_subjects VALUES (?, ?, ?, ?) ON CONFLICT (subject, issuer) DO UPDATE "
                "SET before = max(before, excluded.before), until = max(until, excluded.until)",
                (subject, issuer or "", moment, max(now, moment) + LONGEST_LIFETIME),
            )

    def is_revoked(self, *, issuer: str, token_id: str | None, subject: str, issued_at: float) -> bool:
        """Whether a token must be refused. Raises RevocationsDown."""
        asked = {"issuer": issuer, "token_id": token_id, "subject": subject, "issued_at": issued_at}
        return any(self._ask(_ASK, asked))

    def is_used(self, *, issuer: str, token_id: str) -> bool:
        """Whether a single-use token has been used. Raises RevocationsDown."""
        asked = {"issuer": issuer, "token_id": token_id}
        sql = "SELECT EXISTS (SELECT 1 FROM used_tokens WHERE issuer = :issuer AND token_id = :token_id)"
        return any(self._ask(sql, asked))

    def use_once(self, *, issuer: str, token_id: str, until: float, now: float) -> bool:
        """Use a token up; False where it has been already. `until` is when it would be refused as expired anyhow."""
        with _as_down(), self._database.transaction() as connection:
            _forget(connection, now)
            sql = "INSERT OR IGNORE INTO used_tokens VALUES (?, ?, ?)"
            return connection.execute(sql, (issuer, token_id, until)).rowcount == 1

    def close(self) -> None:
        """Close the database; for tests and scripts, a process that ends needs not."""
        self._database.close()

    def _ask(self, sql: str, asked: Mapping[str, object]) -> tuple[int, ...]:
        with _as_down():
            found: tuple[int, ...] = self._database.fetch(sql, asked)[0]
        return found

    @contextlib.contextmanager
    def _change(self, now: float) -> Iterator[sqlite3.Connection]:
        with _as_down(), self._database.transaction() as connection:
            _forget(connection, now)
            yield connection
        # After the commit: who sees the new stamp sees the change, and who looked before keeps an old stamp. Random, so
        # that no two processes need to agree on a next one.
        with _as_down():
            self._put_stamp(os.urandom(_STAMP))


@contextlib.contextmanager
def _as_down() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise RevocationsDown(str(error)) from None


def shared_revocations(file: Path | None, *, identity: Path) -> Revocations:
    """The store of an identity file in this process: what was revoked in memory outlives a reload of the file."""
    known = (file or identity).resolve(), file is None
    with _SHARING:
        found = _SHARED.get(known)
        if found is None:
            found = _SHARED[known] = Revocations(file)
        return found


def _forget(connection: sqlite3.Connection, now: float) -> None:
    """Drop what could not be accepted any more for long."""
    for table in ("revoked_tokens", "used_tokens", "revoked_subjects"):
        connection.execute(f"DELETE FROM {table} WHERE until < ?", (now - GRACE,))


def _read_stamp(place: str) -> bytes:
    """The shared stamp, in a file of its own beside the database, which is SQLite's alone. One that cannot be read is
    another one each time, so that everybody asks the database.

    Not mapped into memory: there, a file that was cut short or a disk that is full ends the process, and one that was
    put in its place is never seen.
    """
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
        try:
            found = os.read(descriptor, _STAMP)
        finally:
            os.close(descriptor)
    except OSError:
        found = b""
    return found if len(found) == _STAMP else os.urandom(_STAMP)


def _write_stamp(place: str, stamp: bytes) -> None:
    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if os.write(descriptor, stamp) != len(stamp):
            raise OSError("the stamp was written in part")
    finally:
        os.close(descriptor)


@after_fork
def _renew_lock() -> None:
    # The thread that may hold it is not in the child.
    global _SHARING  # noqa: PLW0603
    _SHARING = threading.Lock()


_SHARING = threading.Lock()
_SHARED: weakref.WeakValueDictionary[object, Revocations] = weakref.WeakValueDictionary()
