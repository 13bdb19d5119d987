"""GuardedQuery → rows or Arrow, on a PostgreSQL database.

Every query runs in a read-only transaction of its own, on a connection whose role may only read, under a deadline and
limits of rows and columns. Owns that what is run was made for PostgreSQL and for the catalog at hand, and that an
answer has the names and types that DuckDB's would have.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

from rls.catalog import Catalog
from rls.engines.base import Fetched, Job
from rls.engines.convert import arrow_of
from rls.engines.failures import timed_out, too_many_rows
from rls.engines.limits import Limits
from rls.engines.planner import PlannerProcess
from rls.engines.postgres.catalog import Database, check_role, read_database, read_keys
from rls.engines.postgres.connections import Connections, driver
from rls.engines.postgres.failures import explain_failure, is_stale
from rls.engines.postgres.values import Conversion, conversions
from rls.engines.server import ServerExecutor, names_and_types
from rls.errors import EngineInvalid, QueryFailed, RlsError
from rls.rewrite.bound import LOCAL, Planner
from rls.rewrite.guarded import GuardedQuery
from rls.rewrite.port.target import Target

__all__ = ["PostgresExecutor"]

_CHUNK_ROWS = 5_000
# The server's clock and ours may be this far apart about the end of a query's time.
_CLOSE_SECONDS = 0.1


class PostgresExecutor(ServerExecutor):
    """An `Executor` over one PostgreSQL database. Thread-safe: every query has its own connection."""

    dialect: ClassVar[Literal["postgres"]] = "postgres"

    def __init__(self, connections: Connections, *, name: str | None, limits: Limits, planner: Planner) -> None:
        super().__init__(limits=limits, planner=planner)
        self._connections = connections
        with connections.take() as connection:
            check_role(connection)
            number = connection.info.server_version
            self._version = f"postgresql {number // 10_000}.{number % 10_000}"
            self._title = name or connection.info.dbname
            self._database = self._read(connection)

    @classmethod
    def open(
        cls,
        url: str,
        *,
        name: str | None = None,
        limits: Limits | None = None,
        isolation: Literal["thread", "process"] = "process",
    ) -> PostgresExecutor:
        """Connect to `postgresql://[user@]host[:port]/database`; `name` is what callers call the database (default:
        its name there), `isolation` where DuckDB binds texts before they run here. Passwords come from PGPASSWORD, a
        password file or a service file.

        Raises `EngineInvalid`: `engine.url`, `.database_unreachable`, `.role`, `.encoding`, `.postgres_missing`.
        """
        connections = Connections(url)
        with contextlib.ExitStack() as undo:
            undo.callback(connections.close)
            planner = PlannerProcess() if isolation == "process" else LOCAL
            if isinstance(planner, PlannerProcess):
                undo.callback(planner.close)
            made = cls(connections, name=name, limits=limits or Limits(), planner=planner)
            undo.pop_all()
        return made

    @property
    def version(self) -> str:
        return self._version

    @property
    def catalog(self) -> Catalog:
        return self._database.catalog

    @property
    def target(self) -> Target:
        return self._database.target

    def refresh(self, *, force: bool = False) -> Catalog:
        """See `Executor.refresh`. The catalog is read again once an error says that it may have changed; what was
        added meanwhile is found with `force`."""
        if not (force or self._stale):
            return self.catalog
        with self._refreshing:
            with self._connections.take() as connection:
                found = self._read(connection)
            self._stale = False
            if replace(found.catalog, attached="") != replace(self.catalog, attached=""):
                self._database = found
            return self.catalog

    def primary_keys(self) -> Mapping[tuple[str, ...], tuple[str, ...]]:
        """See `ServerExecutor.primary_keys`."""
        with self._connections.take() as connection:
            return read_keys(connection, self._database)

    def close(self) -> None:
        self._connections.close()
        super().close()

    def _read(self, connection: Any) -> Database:
        # A new name for every catalog: no guard made for one is taken for another's.
        return read_database(connection, f"rls_{secrets.token_hex(16)}", name=self._title)

    def _run(self, job: Job, values: Mapping[str, object]) -> Fetched | RlsError:
        psycopg = driver()
        # A cancelled statement says in its server's language only why.
        until = time.monotonic() + job.limits.seconds - _CLOSE_SECONDS
        try:
            with self._connections.take() as connection:
                fetched = _fetch(
                    psycopg, connection, job.guarded, [values[one] for one in job.guarded.binds], job.limits
                )
        except (QueryFailed, EngineInvalid) as error:
            return error
        except psycopg.DataError as error:
            if error.sqlstate is None:  # not sent: a value that the driver cannot write, or read
                return QueryFailed("run.out_of_range", "a value is out of the range of its type", detail=str(error))
            return explain_failure(error, job.limits, expired=time.monotonic() >= until)
        except psycopg.Error as error:
            self._stale = self._stale or is_stale(error)
            return explain_failure(error, job.limits, expired=time.monotonic() >= until)
        return fetched if job.form == "rows" else replace(fetched, rows=None, table=arrow_of(fetched))


def _fetch(psycopg: Any, connection: Any, guarded: GuardedQuery, values: list[object], limits: Limits) -> Fetched:
    names, types = names_and_types(guarded)
    deadline = time.monotonic() + limits.seconds
    rows: list[tuple[Any, ...]] = []
    _leave(connection, deadline, limits)
    with psycopg.RawServerCursor(connection, "rls") as cursor:
        cursor.execute(guarded.sql, values)
        convert = conversions(guarded.columns, [column.type_code for column in cursor.description or ()])
        while chunk := cursor.fetchmany(min(_CHUNK_ROWS, limits.rows + 1)):
            rows += _converted(chunk, convert)
            if len(rows) > limits.rows:
                raise too_many_rows(limits)
            if len(chunk) < _CHUNK_ROWS:
                break
            _leave(connection, deadline, limits)
    return Fetched(names, types, len(rows), rows=rows)


def _leave(connection: Any, deadline: float, limits: Limits) -> None:
    """Leave the next statement as much time as is left for the query."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise timed_out(limits)
    connection.execute(f"SET LOCAL statement_timeout = {max(1, round(left * 1000))}")


def _converted(chunk: list[tuple[Any, ...]], convert: list[Conversion]) -> list[tuple[Any, ...]]:
    if not any(convert):
        return chunk
    return [
        tuple(value if one is None else one(value) for value, one in zip(row, convert, strict=True)) for row in chunk
    ]
