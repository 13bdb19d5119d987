"""An address → sessions on a Spark Connect server that only this engine uses, kept for the next query.

Owns what every session is before any query runs on it: ANSI mode, UTC, names by their letters, no variables filled into
texts; and that a session is one query's at a time, and gone after whatever was not an error of the query.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from rls.engines.failures import closed
from rls.engines.spark.address import Address
from rls.engines.spark.failures import is_lost
from rls.errors import EngineInvalid, QueryFailed

__all__ = ["Session", "Sessions"]

Session = Any  # pyspark.sql.connect.session.SparkSession, where it is installed

_SETTINGS: Final = {
    "spark.sql.ansi.enabled": "true",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.caseSensitive": "true",
    # `${env:SECRET}` in a text, literals included, would be filled in.
    "spark.sql.variable.substitute": "false",
    "spark.sql.parser.escapedStringLiterals": "false",
    "spark.sql.ansi.doubleQuotedIdentifiers": "false",
    # Digits behind the point must not go without an error.
    "spark.sql.decimalOperations.allowPrecisionLoss": "false",
    "spark.sql.timestampType": "TIMESTAMP_LTZ",
    "spark.sql.parquet.inferTimestampNTZ.enabled": "true",
    "spark.sql.orderByOrdinal": "true",
}
_RETRIES: Final = 2
_PATIENCE_SECONDS: Final = 20.0


class Sessions:
    """Sessions of one server. Thread-safe."""

    def __init__(self, address: Address, *, prepare: Callable[[Session], None]) -> None:
        """`prepare` makes a new session ready. Raises `EngineInvalid` (`engine.spark_missing`)."""
        self._create = _client()
        self._address, self._prepare = address, prepare
        self._idle: list[Session] = []
        self._all: set[Session] = set()
        self._lock = threading.Lock()
        self._opening = threading.Lock()
        self.closed = False

    @contextmanager
    def take(self, *, new: bool = False) -> Iterator[Session]:
        """A session, for the time of the block; kept only if nothing went wrong with it, or the query's own error did.

        Raises `EngineInvalid` (`engine.closed`, `engine.database_unreachable`, `engine.session`)."""
        with self._lock:
            if self.closed:
                raise closed()
            session = self._idle.pop() if self._idle and not new else None
        session = session or self._open()
        healthy = False
        try:
            yield session
            healthy = True
        except QueryFailed as error:
            # Of others, something may still run on the server.
            healthy = error.code in ("run.types", "run.out_of_range")
            raise
        except Exception as error:
            healthy = not is_lost(error)
            raise
        finally:
            with self._lock:
                keep = healthy and session in self._all and not self.closed
                if keep:
                    self._idle.append(session)
            if not keep:
                self._drop(session)

    def forget(self) -> None:
        """Drop the idle sessions: what was prepared in them is of yesterday."""
        with self._lock:
            idle, self._idle = self._idle, []
            self._all -= set(idle)
        for session in idle:
            self._drop(session)

    def close(self) -> None:
        """End running queries, and all sessions."""
        with self._lock:
            self.closed = True
            sessions, idle = list(self._all), set(self._idle)
            self._idle.clear()
        for session in sessions:
            if session in idle:
                self._drop(session)
            else:
                interrupt(session)

    def _open(self) -> Session:
        # A server that is not there may keep its callers waiting, so all of them wait for one.
        if not self._opening.acquire(timeout=_PATIENCE_SECONDS):
            raise self._unreachable()
        try:
            session = self._connect()
        finally:
            self._opening.release()
        with self._lock:
            self._all.add(session)
        return session

    def _connect(self) -> Session:
        session = None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                session = self._create(self._address.remote)
                for name, value in _SETTINGS.items():
                    session.conf.set(name, value)
            wrong = [name for name, value in _SETTINGS.items() if session.conf.get(name) != value]
            if not wrong:
                self._prepare(session)
                return session
        except EngineInvalid:
            raise
        except Exception:  # noqa: BLE001 (whatever the client raises quotes the server)
            wrong = []
        if session is not None:
            self._drop(session)
        if wrong:
            raise EngineInvalid("engine.session", f"the server does not keep to {wrong[0]}", hint="let sessions set it")
        raise self._unreachable()

    def _drop(self, session: Session) -> None:
        with self._lock:
            self._all.discard(session)
        with contextlib.suppress(Exception):
            session.client.release_session()
        with contextlib.suppress(Exception):
            session.client.close()

    def _unreachable(self) -> EngineInvalid:
        return EngineInvalid(
            "engine.database_unreachable",
            "the Spark Connect server cannot be reached, or does not let this client in",
            hint="check address and token",
        )


def interrupt(session: Session) -> None:
    """Ask the server to end what a session runs."""
    with contextlib.suppress(Exception):
        session.interruptAll()


@contextmanager
def _main_file() -> Iterator[None]:
    """A program without a file (`python -c`, one that embeds Python) is a doctest to the client, which then looks for a
    whole Spark and ends the program where there is none."""
    main = sys.modules["__main__"]
    if hasattr(main, "__file__"):
        yield
        return
    main.__file__ = "rls"
    try:
        yield
    finally:
        del main.__file__


def _client() -> Callable[[str], Session]:
    """What opens a session. Raises `EngineInvalid` (`engine.spark_missing`)."""
    try:
        with warnings.catch_warnings(), _main_file():
            warnings.simplefilter("ignore")
            from pyspark.sql.connect.client.retries import DefaultPolicy
            from pyspark.sql.connect.session import SparkSession
    except ImportError:
        raise EngineInvalid(
            "engine.spark_missing", "the Spark Connect client is not installed", hint="pip install 'rls[spark]'"
        ) from None
    # The client writes errors to standard error, with the values that they quote.
    for name in ("SQLQueryContextLogger", "DataFrameQueryContextLogger"):
        logging.getLogger(name).disabled = True
    logging.getLogger("pyspark.sql.connect.client.logging").disabled = True

    def create(remote: str) -> Session:
        # Not by the builder: that asks the server before retries are few (at the end of the process as well, minutes
        # long where it is gone), and makes the session everybody's in this process.
        session = SparkSession(connection=remote)
        session.client.set_retry_policies([DefaultPolicy(max_retries=_RETRIES, max_backoff=1_000)])
        return session

    return create
