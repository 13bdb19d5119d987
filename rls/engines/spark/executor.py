"""GuardedQuery → rows or Arrow, on a Spark Connect server: Apache Spark or Sail.

Every query has a session to itself, under a deadline and limits of rows and columns; what runs too long is interrupted.
Owns that what is run was made for this server and for the catalog at hand, and that an answer has the names and types
that DuckDB's would have.
"""

from __future__ import annotations

import contextlib
import queue
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

from rls.catalog import Catalog
from rls.engines.base import Fetched, Job
from rls.engines.failures import timed_out, too_many_rows
from rls.engines.limits import Limits
from rls.engines.planner import PlannerProcess
from rls.engines.server import ServerExecutor
from rls.engines.spark.address import Address, read_address
from rls.engines.spark.catalog import Database, Files, engine_of, files_of, read_database, show_files
from rls.engines.spark.failures import explain_failure, is_lost, is_stale
from rls.engines.spark.sessions import Sessions, interrupt
from rls.engines.spark.values import fetched_from, places_of
from rls.errors import RlsError
from rls.rewrite.bound import LOCAL, Planner
from rls.rewrite.port.target import Target

__all__ = ["SparkExecutor"]


class SparkExecutor(ServerExecutor):
    """An `Executor` over one Spark Connect server. Thread-safe: every query has its own session."""

    dialect: ClassVar[Literal["spark"]] = "spark"

    def __init__(self, address: Address, *, name: str | None, limits: Limits, planner: Planner) -> None:
        super().__init__(limits=limits, planner=planner)
        self._address = address
        self._title = name or (address.parquet.rpartition("/")[2] if address.parquet else address.schema) or "spark"
        self._database: Database | None = None
        self._files = files_of(address) if address.parquet else ()
        self._sessions = Sessions(address, prepare=self._prepare)
        with contextlib.ExitStack() as undo:
            undo.callback(self._sessions.close)
            with self._sessions.take() as session:
                self._version = engine_of(session)[1]
                self._database = self._read(session)
            self._sessions.forget()
            undo.pop_all()

    @classmethod
    def open(
        cls,
        url: str,
        *,
        name: str | None = None,
        limits: Limits | None = None,
        isolation: Literal["thread", "process"] = "process",
    ) -> SparkExecutor:
        """Connect to `spark://host[:port]/[schema]`, or with `?parquet=/directory` for Parquet files that the server
        sees under the same path; `name` is what callers call the database, `isolation` where DuckDB binds texts before
        they run here. A token comes from SPARK_CONNECT_AUTHENTICATE_TOKEN or from `?token_file=`.

        Raises `EngineInvalid`: `engine.url`, `.database_unreachable`, `.database_missing`, `.server`, `.session`,
        `.spark_missing`.
        """
        address = read_address(url)
        with contextlib.ExitStack() as undo:
            planner = PlannerProcess() if isolation == "process" else LOCAL
            if isinstance(planner, PlannerProcess):
                undo.callback(planner.close)
            made = cls(address, name=name, limits=limits or Limits(), planner=planner)
            undo.pop_all()
        return made

    @property
    def version(self) -> str:
        return self._version

    @property
    def catalog(self) -> Catalog:
        return self._known.catalog

    @property
    def target(self) -> Target:
        return self._known.target

    def refresh(self, *, force: bool = False) -> Catalog:
        """See `Executor.refresh`. Files are looked at each time; a server's tables are read again once an error says
        that they may have changed, or with `force`."""
        files = files_of(self._address) if self._address.parquet else ()
        if not (force or self._stale or files != self._files):
            return self.catalog
        with self._refreshing:
            with self._sessions.take(new=True) as session:
                found = self._read(session, files)
            self._stale, same = False, _same(found, self._known) and files == self._files
            if same:
                return self.catalog
            self._files, self._database = files, found
            self._sessions.forget()
            return self.catalog

    def close(self) -> None:
        self._sessions.close()
        super().close()

    @property
    def _known(self) -> Database:
        if self._database is None:
            raise RuntimeError("the catalog was not read")
        return self._database

    def _prepare(self, session: Any) -> None:
        if self._database is not None:
            show_files(session, self._database)

    def _read(self, session: Any, files: Files | None = None) -> Database:
        # A new name for every catalog: no guard made for one is taken for another's.
        listed = self._files if files is None else files
        return read_database(session, self._address, listed, f"rls_{secrets.token_hex(16)}", name=self._title)

    def _run(self, job: Job, values: Mapping[str, object]) -> Fetched | RlsError:
        """Once more on a new session where the one at hand is lost: queries only read, and nothing was handed out.

        A server that was started again may take the old session for a new one, in which our relations are not found.
        """
        deadline = time.monotonic() + job.limits.seconds
        try:
            try:
                return self._try(job, values, deadline, new=False)
            except Exception as error:
                if self._sessions.closed or not (is_lost(error) or is_stale(error)):
                    raise
            return self._try(job, values, deadline, new=True)
        except RlsError as error:
            return error
        except Exception as error:  # noqa: BLE001 (the client's errors have no common class, and quote values)
            self._stale = self._stale or is_stale(error)
            return explain_failure(error, closed=self._sessions.closed)

    def _try(self, job: Job, values: Mapping[str, object], deadline: float, *, new: bool) -> Fetched:
        sent = places_of(job.guarded.binds, values)
        with self._sessions.take(new=new) as session:
            tables = _collect(session, job.guarded.sql, sent, job.limits, deadline)
            return fetched_from(tables, job.guarded.columns, fetch="arrow" if job.form == "arrow" else "rows")


def _collect(session: Any, sql: str, values: Mapping[str, object], limits: Limits, deadline: float) -> list[Any]:
    """All tables of an answer. Raises `QueryFailed` (`run.timeout`, `run.rows`) and whatever the client raises.

    The client waits for the server without end, so it does so in a thread; an interruption ends both.
    """
    answers: queue.Queue[Any] = queue.Queue()

    def work() -> None:
        try:
            frame = session.sql(sql, args=dict(values))
            for part in session.client.to_table_as_iterator(frame._plan.to_proto(session.client), {}):
                answers.put(part)
            answers.put(None)
        except BaseException as error:  # noqa: BLE001 (the waiting side raises it)
            answers.put(error)

    threading.Thread(target=work, daemon=True, name="rls-spark").start()
    tables: list[Any] = []
    rows = 0
    while True:
        try:
            part = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            interrupt(session)
            raise timed_out(limits) from None
        if part is None:
            return tables
        if isinstance(part, BaseException):
            raise part
        if hasattr(part, "num_rows"):
            tables.append(part)
            rows += part.num_rows
        if rows > limits.rows:
            interrupt(session)
            raise too_many_rows(limits)


def _same(one: Database, other: Database) -> bool:
    return replace(one.catalog, attached="") == replace(other.catalog, attached="")
