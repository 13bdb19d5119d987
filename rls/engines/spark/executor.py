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
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, Literal

from rls.catalog import Catalog, Column, fold, shown_type
from rls.engines.base import Fetch, Fetched
from rls.engines.failures import database_changed, timed_out
from rls.engines.limits import Limits
from rls.engines.parameters import parameter_types
from rls.engines.planner import PlannerProcess
from rls.engines.shadow import Shadow
from rls.engines.sizes import check_types
from rls.engines.slots import Slot
from rls.engines.spark.address import Address, read_address
from rls.engines.spark.catalog import Database, engine_of, files_of, read_database, show_files
from rls.engines.spark.failures import explain_failure, is_lost, is_stale
from rls.engines.spark.sessions import Sessions, interrupt
from rls.engines.spark.values import fetched_from, values_of
from rls.errors import QueryFailed, QueryRefused, RlsError
from rls.rewrite.bound import LOCAL, Planner
from rls.rewrite.guarded import Copy, GuardedQuery
from rls.rewrite.port.target import Target

__all__ = ["SparkExecutor"]

_GRACE_SECONDS: Final = 5.0  # to end after an interruption


class SparkExecutor:
    """An `Executor` over one Spark Connect server. Thread-safe: every query has its own session."""

    dialect: Literal["spark"] = "spark"

    def __init__(self, address: Address, *, name: str | None, limits: Limits, planner: Planner) -> None:
        self._planner = planner
        self._address, self._limits = address, limits
        self._slots = threading.BoundedSemaphore(limits.concurrent)
        self._refreshing = threading.Lock()
        self._stale = False
        self._shadow = Shadow()
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

    @property
    def limits(self) -> Limits:
        return self._limits

    @property
    def concurrent(self) -> int:
        return self._limits.concurrent

    @property
    def planner(self) -> Planner:
        return self._planner

    @property
    def slices(self) -> bool:
        return False

    def execute(
        self,
        guarded: GuardedQuery,
        parameters: Mapping[str, object],
        *,
        fetch: Fetch,
        limits: Limits | None = None,
        copies: Sequence[Copy] = (),
    ) -> Fetched:
        """See `Executor.execute`. Codes: `query.parameter*`, `query.not_portable`; `run.timeout`, `.rows`, `.columns`,
        `.types`, `.out_of_range`, `.division_by_zero`, `.subquery_rows`, `.memory`, `.busy`, `.connection`,
        `.interrupted`, `.database_changed`."""
        found = limits or self._limits
        if copies:
            raise QueryRefused("query.strict", "this database has no copies of permitted rows")
        self._check(guarded, parameters)
        values = _bound(guarded, parameters)
        check_types(tuple(column.type for column in guarded.columns), found)
        with Slot(self._slots, found.seconds):
            fetched = self._run(guarded, values, found, fetch)
        if isinstance(fetched, RlsError):
            # Raised here and not where the client's error was caught, which would travel along as its context.
            raise fetched
        return fetched

    def describe(self, guarded: GuardedQuery, parameters: Mapping[str, object]) -> tuple[Column, ...]:
        """See `Executor.describe`."""
        self._check(guarded, parameters)
        return guarded.columns

    def refresh(self, *, force: bool = False) -> bool:
        """See `Executor.refresh`. Files are looked at each time; a server's tables are read again once an error says
        that they may have changed, or with `force`."""
        files = files_of(self._address) if self._address.parquet else ()
        if not (force or self._stale or files != self._files):
            return False
        with self._refreshing:
            with self._sessions.take(new=True) as session:
                found = self._read(session, files)
            self._stale, same = False, _same(found, self._known) and files == self._files
            if same:
                return False
            self._files, self._database = files, found
            self._sessions.forget()
        return True

    def close(self) -> None:
        self._sessions.close()
        self._shadow.close()
        if isinstance(self._planner, PlannerProcess):
            self._planner.close()

    @property
    def _known(self) -> Database:
        if self._database is None:
            raise RuntimeError("the catalog was not read")
        return self._database

    def _prepare(self, session: Any) -> None:
        if self._database is not None:
            show_files(session, self._database)

    def _read(self, session: Any, files: Any = None) -> Database:
        # A new name for every catalog: no guard made for one is taken for another's.
        listed = self._files if files is None else files
        return read_database(session, self._address, listed, f"rls_{secrets.token_hex(16)}", name=self._title)

    def _check(self, guarded: GuardedQuery, parameters: Mapping[str, object]) -> None:
        if guarded.catalog_version not in ("", self.catalog.version):
            raise database_changed()
        if guarded.dialect != self.dialect:
            helpful = self._shadow.explain(guarded, dict(parameters), partial(self._columns, guarded))
            raise helpful or QueryRefused(
                "query.invalid",
                "the query does not fit the columns and types of what it reads",
                hint="check names and types",
            )

    def _columns(self, guarded: GuardedQuery, text: str) -> tuple[Column, ...] | None:
        """The columns that a guard shows, by the relation that its text names first."""
        places = {text.find(f" FROM {self.catalog.source(one.relation)} AS "): one for one in guarded.guards}
        first = min((place for place in places if place >= 0), default=None)
        if first is None:
            return None
        relation, denied = places[first].relation, {fold(name) for name in places[first].grant.denied}
        return tuple(
            replace(column, type=shown_type(column.type))
            for column in relation.columns
            if fold(column.name) not in denied
        )

    def _run(
        self, guarded: GuardedQuery, values: Mapping[str, object], limits: Limits, fetch: Fetch
    ) -> Fetched | RlsError:
        """Once more on a new session where the one at hand is lost: queries only read, and nothing was handed out."""
        deadline = time.monotonic() + limits.seconds
        try:
            try:
                return self._try(guarded, values, limits, deadline, fetch, new=False)
            except Exception as error:
                if not is_lost(error) or self._sessions.closed:
                    raise
            return self._try(guarded, values, limits, deadline, fetch, new=True)
        except RlsError as error:
            return error
        except Exception as error:  # noqa: BLE001 (the client's errors have no common class, and quote values)
            failure = explain_failure(error, closed=self._sessions.closed)
            self._stale = self._stale or is_stale(error)
        if self._stale:
            try:
                if self.refresh():
                    return database_changed()
            except RlsError as error:
                return error
        return failure

    def _try(
        self,
        guarded: GuardedQuery,
        values: Mapping[str, object],
        limits: Limits,
        deadline: float,
        fetch: Fetch,
        *,
        new: bool,
    ) -> Fetched:
        with self._sessions.take(new=new) as session:
            tables = _collect(session, guarded.sql, values, limits, deadline)
            return fetched_from(tables, guarded.columns, fetch=fetch)


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
            raise QueryFailed(
                "run.rows", f"the result has more than {limits.rows} rows", hint="aggregate, filter, or add a LIMIT"
            )


def _same(one: Database, other: Database) -> bool:
    return replace(one.catalog, attached="") == replace(other.catalog, attached="")


def _bound(guarded: GuardedQuery, parameters: Mapping[str, object]) -> dict[str, object]:
    """The values to bind: the guard's and the caller's own, which must be exactly those that the text names."""
    values = {fold(name): value for name, value in guarded.parameters.items()}
    given = {fold(name): value for name, value in parameters.items()}
    for name in given:
        if name in values or name not in guarded.binds:
            raise QueryRefused(
                "query.parameter_unknown", f"the query has no parameter `${name[:60]}`", hint="leave it out"
            )
    values |= given
    for name in guarded.binds:
        if name not in values:
            raise QueryRefused(
                "query.parameter_missing", f"no value is given for the parameter `${name[:60]}`", hint="give one"
            )
    return values_of(guarded.binds, values, parameter_types(values))
