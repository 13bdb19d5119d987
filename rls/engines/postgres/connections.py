"""A URL → connections to a PostgreSQL database that can only read, kept for the next query.

Owns what every session is before any query runs on it (read-only, nothing found by search path, times in UTC), and
that secrets come from where libpq looks for them (environment, password file, service file), never from the URL.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from rls.engines.failures import closed
from rls.errors import EngineInvalid

__all__ = ["Connection", "Connections", "driver"]

Connection = Any  # psycopg.Connection, where it is installed

# What a URL may say; a password would end up in logs, and `options` could undo the settings below.
_ALLOWED: Final = frozenset(
    ("host", "hostaddr", "port", "dbname", "user", "service", "sslmode", "sslrootcert", "sslcert", "sslkey",
     "connect_timeout", "target_session_attrs", "application_name", "channel_binding")
)  # fmt: skip
_SETTINGS: Final = {
    "default_transaction_read_only": "on",
    "search_path": "pg_catalog,pg_temp",
    "standard_conforming_strings": "on",
    "row_security": "on",
    "TimeZone": "UTC",
    "DateStyle": "ISO,YMD",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "cursor_tuple_fraction": "1",
    "transform_null_equals": "off",
    "synchronize_seqscans": "off",  # which rows a LIMIT takes must not depend on what others read at the time
    "idle_in_transaction_session_timeout": "600000",
}


# Given when the connection is made, so that they are what RESET ALL goes back to.
_OPTIONS: Final = " ".join(f"-c {name}={value}" for name, value in _SETTINGS.items())
# What a query may have left that no end of its transaction undoes. None can, by what it is allowed to call; this holds
# even if one could.
_RESET: Final = (
    "RESET SESSION AUTHORIZATION; RESET ALL; DEALLOCATE ALL; CLOSE ALL; UNLISTEN *; "
    "SELECT pg_catalog.pg_advisory_unlock_all()"
)
# From 19 on aggregates may be evaluated below joins, and so below a policy that is one: not what `Dialect.late` says.
_EAGER: Final = 190_000
_NOT_EAGER: Final = (
    "; SELECT pg_catalog.set_config(s.name, 'off', false) FROM pg_catalog.pg_settings s "
    "WHERE s.name = 'enable_eager_aggregate'"
)


def driver() -> Any:
    """The psycopg module. Raises `EngineInvalid` (`engine.postgres_missing`)."""
    try:
        import psycopg
    except ImportError:
        raise EngineInvalid(
            "engine.postgres_missing", "psycopg is not installed", hint="pip install 'rls[postgres]'"
        ) from None
    return psycopg


class Connections:
    """Connections to one database. Thread-safe; each is one query's at a time."""

    def __init__(self, url: str) -> None:
        """Raises `EngineInvalid` (`engine.url`, `engine.postgres_missing`)."""
        self._psycopg = driver()
        try:
            given = self._psycopg.conninfo.conninfo_to_dict(url)
        except self._psycopg.Error:
            raise EngineInvalid(
                "engine.url", "the database's URL cannot be read", hint="write postgresql://user@host/name"
            ) from None
        for name in given:
            if name not in _ALLOWED:
                raise EngineInvalid(
                    "engine.url",
                    f"`{name}` may not stand in the database's URL",
                    hint="put secrets into PGPASSWORD, a password file or a service file",
                )
        self._given = {"connect_timeout": 10, "application_name": "rls", **given}
        self._idle: list[Connection] = []
        self._all: set[Connection] = set()
        self._lock = threading.Lock()
        self.closed = False

    @contextmanager
    def take(self) -> Iterator[Connection]:
        """A connection in a read-only transaction, which ends with the block. Raises `EngineInvalid`
        (`engine.closed`, `engine.database_unreachable`)."""
        connection = self._begin()
        healthy = False
        try:
            yield connection
            healthy = True
        except self._psycopg.Error as error:
            # An error of the query leaves the connection as good as before.
            healthy = error.sqlstate is not None
            raise
        finally:
            self._give_back(connection, healthy=healthy)

    def close(self) -> None:
        """End running queries, and all connections."""
        with self._lock:
            self.closed = True
            connections, idle = list(self._all), set(self._idle)
            self._idle.clear()
        for connection in connections:
            if connection in idle:
                connection.close()
            else:
                connection.cancel_safe(timeout=2.0)

    def _begin(self) -> Connection:
        while True:
            with self._lock:
                if self.closed:
                    raise closed()
                connection = self._idle.pop() if self._idle else None
            new = connection is None
            if connection is None:
                connection = self._connect()
            try:
                # The first statement begins the transaction, and finds out whether the connection still stands.
                connection.execute(_RESET + (_NOT_EAGER if connection.info.server_version >= _EAGER else ""))
            except self._psycopg.Error:
                # A server that was restarted meanwhile: nothing of the query ran, so another connection may try.
                self._drop(connection)
                if new:
                    raise self._unreachable() from None
            else:
                return connection

    def _connect(self) -> Connection:
        psycopg = self._psycopg
        try:
            connection = psycopg.connect(**self._given, options=_OPTIONS, autocommit=False, prepare_threshold=None)
        except psycopg.Error:
            raise self._unreachable() from None
        for name in ("json", "jsonb"):
            connection.adapters.register_loader(name, psycopg.types.string.TextLoader)
        connection.read_only = True
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        with self._lock:
            self._all.add(connection)
        return connection

    def _give_back(self, connection: Connection, *, healthy: bool) -> None:
        if healthy:
            try:
                connection.rollback()
            except self._psycopg.Error:
                healthy = False
        with self._lock:
            keep = healthy and not self.closed
            if keep:
                self._idle.append(connection)
        if not keep:
            self._drop(connection)

    def _drop(self, connection: Connection) -> None:
        with self._lock:
            self._all.discard(connection)
        connection.close()

    def _unreachable(self) -> EngineInvalid:
        return EngineInvalid(
            "engine.database_unreachable",
            "the PostgreSQL server cannot be reached, or does not let this role in",
            hint="check address, role and password",
        )
