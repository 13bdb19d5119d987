"""GuardedQuery → rows or Arrow, on a locked-down DuckDB in this process.

The data is attached read-only under a name nobody can guess, beside an empty in-memory default catalog, so that a name
which no guard wrote does not resolve. A query gets a fresh cursor in a read-only transaction, so that it leaves nothing
behind for the next principal. Owns the limits of time, rows, columns and memory, and that a query which breaks the
instance costs one error: the instance is opened again.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import duckdb

from rls.catalog import Catalog, Column, fold
from rls.engines.base import Fetch, Fetched
from rls.engines.failures import EngineReport, explain_failure, read_report
from rls.engines.limits import Limits
from rls.engines.lockdown import open_locked
from rls.engines.read_catalog import read_catalog
from rls.engines.shadow import Shadow
from rls.engines.watchdog import Watchdog
from rls.errors import EngineInvalid, QueryFailed, QueryRefused, RlsError
from rls.rewrite.guarded import GuardedQuery

__all__ = ["DuckDBExecutor"]

_CHUNK_ROWS = 2_048
_BATCH_ROWS = 122_880
# Names of DuckDB's own catalogs. `memory` may be taken: the in-memory catalog beside the data is empty.
_TAKEN_NAMES = frozenset(("system", "temp"))


class _Instance:
    """One DuckDB instance with the data attached; `lost` once DuckDB has invalidated it."""

    def __init__(self, path: Path, attached: str, limits: Limits, *, hide_statistics: bool) -> None:
        self.lost = False
        self._lock = threading.Lock()
        self.connection = open_locked(
            threads=limits.threads,
            memory=limits.memory,
            hide_statistics=hide_statistics,
            attach=(path, attached),
        )

    def cursor(self) -> duckdb.DuckDBPyConnection:
        # DuckDB refuses a connection that another thread is calling instead of waiting for it.
        with self._lock:
            return self.connection.cursor()

    def close(self) -> None:
        # A cursor that is still busy (it ignores interrupts) keeps the instance; it goes when that cursor goes.
        with self._lock, contextlib.suppress(duckdb.Error):
            self.connection.close()


class DuckDBExecutor:
    """An `Executor` over one DuckDB file. Thread-safe: every query has its own cursor."""

    def __init__(self, path: Path, *, name: str, limits: Limits, attached: str | None = None) -> None:
        """`path` is an existing file; `attached` is for workers, which must agree on the name that guards use."""
        self._path, self._limits = path, limits
        # 128 bits: a caller who has to guess it would need longer than the file lives.
        self._attached = attached or f"rls_{secrets.token_hex(16)}"
        self._watchdog = Watchdog()
        self._shadow = Shadow()
        self._slots = threading.BoundedSemaphore(limits.concurrent)
        self._lock = threading.Lock()
        self._closed = False
        # By whether statistics are hidden; the second is opened by the first query that needs it.
        self._instances = {False: self._connect(hide_statistics=False)}
        self._catalog = read_catalog(self._instances[False].connection, self._attached, name=name)

    @classmethod
    def open(
        cls, path: str | Path, *, name: str | None = None, limits: Limits | None = None, attached: str | None = None
    ) -> DuckDBExecutor:
        """Open a DuckDB file read-only; `name` is what callers call the database (default: the file's stem).

        Raises `EngineInvalid`: `engine.database_missing`, `.database_invalid`, `.database_locked`, `.name`.
        """
        file = Path(path)
        title = file.stem if name is None else name
        if not title or fold(title) in _TAKEN_NAMES:
            raise EngineInvalid(
                "engine.name", f"`{title}` cannot be the name of a database here", hint="give another one with name="
            )
        if not file.is_file():
            raise EngineInvalid("engine.database_missing", f"there is no database file `{file}`", hint="check the path")
        return cls(file.resolve(), name=title, limits=limits or Limits(), attached=attached)

    @property
    def version(self) -> str:
        return f"duckdb {duckdb.__version__}"

    @property
    def catalog(self) -> Catalog:
        return self._catalog

    @property
    def limits(self) -> Limits:
        return self._limits

    def execute(self, guarded: GuardedQuery, parameters: Mapping[str, object], *, fetch: Fetch) -> Fetched:
        """See `Executor.execute`. Codes: `query.parameter*`, `query.invalid` and finer ones for the caller's text;
        `run.timeout`, `.rows`, `.columns`, `.memory`, `.cast`, `.out_of_range`, `.invalid_input`, `.busy`,
        `.restarted`, `.internal`."""
        return self._finish(self._attempt(guarded, parameters, fetch), guarded, parameters)

    def describe(self, guarded: GuardedQuery, parameters: Mapping[str, object]) -> tuple[Column, ...]:
        found = self._finish(self._attempt(guarded, parameters, "names"), guarded, parameters)
        return tuple(map(Column, found.columns, found.types))

    def close(self) -> None:
        with self._lock:
            self._closed = True
        self._watchdog.close()
        for instance in self._instances.values():
            instance.close()
        self._shadow.close()

    def _finish(self, found: Fetched | RlsError, guarded: GuardedQuery, parameters: Mapping[str, object]) -> Fetched:
        """The answer, or the error: raised here and not where DuckDB's exception was caught, since that one would
        travel along as its context."""
        match found:
            case Fetched():
                return found
            case QueryRefused(code="query.invalid"):
                helpful = self._shadow.explain(guarded, dict(parameters), partial(self._columns, guarded))
                if helpful is not None:
                    helpful.detail = found.detail
                    raise helpful
        raise found

    def _columns(self, guarded: GuardedQuery, relation: str) -> tuple[Column, ...] | None:
        found = self._attempt(replace(guarded, sql=f"SELECT * FROM {relation}"), {}, "names")
        return tuple(map(Column, found.columns, found.types)) if isinstance(found, Fetched) else None

    def _attempt(self, guarded: GuardedQuery, parameters: Mapping[str, object], fetch: str) -> Fetched | RlsError:
        with self._slot():
            return self._run_once(guarded, parameters, fetch)

    def _run_once(self, guarded: GuardedQuery, parameters: Mapping[str, object], fetch: str) -> Fetched | RlsError:
        instance = self._current(hide_statistics=guarded.hide_statistics)
        cursor: duckdb.DuckDBPyConnection | None = None
        expired = False
        try:
            cursor = instance.cursor()
            with self._watchdog.watch(cursor.interrupt, seconds=self._limits.seconds) as watch:
                try:
                    cursor.execute("BEGIN TRANSACTION READ ONLY")
                    return self._run(cursor, guarded, parameters, fetch)
                finally:
                    expired = watch.expired
        except (duckdb.Error, OSError) as error:
            # An Arrow stream turns DuckDB's exceptions into OSError with the same text.
            report = read_report(str(error))
        except MemoryError:
            report = EngineReport("Out of Memory", "", "", None, {})
        finally:
            if cursor is not None:
                cursor.close()
        return self._failure(report, guarded, instance, expired=expired)

    def _run(
        self, cursor: duckdb.DuckDBPyConnection, guarded: GuardedQuery, parameters: Mapping[str, object], fetch: str
    ) -> Fetched:
        statements = cursor.extract_statements(guarded.sql)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            # The rewrite refuses these; a second look costs nothing, since the parsed statement is what is run.
            raise QueryRefused("query.statement_kind", "this kind of statement does not run here", hint="use SELECT")
        values = _bound(guarded, parameters, statements[0].named_parameters)
        match fetch:
            case "rows":
                cursor.execute(statements[0], values)
                return self._rows(cursor)
            case "arrow":
                return self._arrow(cursor, guarded.sql, values)
            case _:
                relation = cursor.sql(guarded.sql, params=values)
                return Fetched(tuple(relation.columns), tuple(map(str, relation.types)), 0)

    def _rows(self, cursor: duckdb.DuckDBPyConnection) -> Fetched:
        description = cursor.description or []
        columns, types = tuple(d[0] for d in description), tuple(str(d[1]) for d in description)
        self._check_columns(columns, types)
        limit = self._limits.rows
        rows: list[tuple[Any, ...]] = []
        while chunk := cursor.fetchmany(_CHUNK_ROWS):
            rows += chunk
            if len(rows) > limit:
                raise _too_many_rows(limit)
        return Fetched(columns, types, len(rows), rows=rows)

    def _arrow(self, cursor: duckdb.DuckDBPyConnection, sql: str, values: dict[str, object]) -> Fetched:
        pyarrow = _pyarrow()
        # The relation streams; the cursor's own Arrow output first copies a result of any size into memory.
        relation = cursor.sql(sql, params=values)
        columns, types = tuple(relation.columns), tuple(map(str, relation.types))
        self._check_columns(columns, types)
        rows = size = 0
        batches = []
        with relation.to_arrow_reader(_BATCH_ROWS) as reader:
            for batch in reader:
                rows, size = rows + batch.num_rows, size + batch.nbytes
                if rows > self._limits.rows:
                    raise _too_many_rows(self._limits.rows)
                if size > self._limits.memory:
                    raise QueryFailed("run.memory", "the result is larger than it may be", hint="aggregate or filter")
                batches.append(batch)
            table = pyarrow.Table.from_batches(batches, schema=reader.schema)
        return Fetched(columns, types, rows, table=table)

    def _check_columns(self, columns: tuple[str, ...], types: tuple[str, ...]) -> None:
        limit = self._limits.columns
        if len(columns) > limit:
            raise QueryFailed("run.columns", f"the result has more than {limit} columns", hint="name fewer columns")
        # DuckDB makes up names of columns and of struct fields from the text it runs, and that is the guards' text.
        # The rewrite gives such columns their own names; one that it missed must not show a policy.
        if any(self._attached in text for text in (*columns, *types)):
            raise QueryFailed("run.column_names", "a column's name could not be kept", hint="name it with AS")

    def _failure(self, report: EngineReport, guarded: GuardedQuery, instance: _Instance, *, expired: bool) -> RlsError:
        if report.invalidates:
            # The next query opens it again. It is not closed here: that would close the cursors of others with it.
            instance.lost = True
            if "previous fatal error" in report.message:
                return QueryFailed(
                    "run.restarted", "the engine was restarted while the query ran", hint="send the query again"
                )
        if self._closed:
            return EngineInvalid("engine.closed", "the engine is closed", hint="open it again")
        if report.kind == "INTERRUPT":
            if expired:
                seconds = f"{self._limits.seconds:g}"
                return QueryFailed("run.timeout", f"the query ran longer than {seconds} s", hint="read or join less")
            return QueryFailed("run.interrupted", "the query was interrupted")
        return explain_failure(report, guarded)

    def _slot(self) -> _Slot:
        return _Slot(self._slots, self._limits.seconds)

    def _current(self, *, hide_statistics: bool) -> _Instance:
        """The instance to use; one that was lost and could not be opened again is tried again here."""
        with self._lock:
            if self._closed:
                raise EngineInvalid("engine.closed", "the engine is closed", hint="open it again")
            instance = self._instances.get(hide_statistics)
            if instance is None or instance.lost:
                instance = self._instances[hide_statistics] = self._connect(hide_statistics=hide_statistics)
            return instance

    def _connect(self, *, hide_statistics: bool) -> _Instance:
        failure: EngineInvalid
        try:
            return _Instance(self._path, self._attached, self._limits, hide_statistics=hide_statistics)
        except duckdb.Error as error:
            report = read_report(str(error))
            if "lock on file" in report.message or report.kind == "Resource In Use":
                failure = EngineInvalid(
                    "engine.database_locked",
                    f"the database file `{self._path}` is open for writing elsewhere",
                    hint="close it there, or work on a copy",
                    detail=report.message,
                )
            else:
                failure = EngineInvalid(
                    "engine.database_invalid",
                    f"the database file `{self._path}` cannot be read as a DuckDB database",
                    hint="check that it was written completely, by a version of DuckDB that is not newer",
                    detail=report.message,
                )
        raise failure


class _Slot:
    """One of the places for concurrent queries, for as long as a `with` block lasts."""

    def __init__(self, slots: threading.BoundedSemaphore, seconds: float) -> None:
        self._slots, self._seconds = slots, seconds

    def __enter__(self) -> None:
        if not self._slots.acquire(timeout=self._seconds):
            raise QueryFailed("run.busy", "too many queries run at once", hint="send the query again later")

    def __exit__(self, *_: object) -> None:
        self._slots.release()


def _bound(guarded: GuardedQuery, parameters: Mapping[str, object], named: set[str]) -> dict[str, object]:
    """The values to bind: the guard's, and the caller's own, which must be exactly those the caller's text names."""
    wanted = {fold(n): n for n in named}
    values = {wanted[fold(n)]: v for n, v in guarded.parameters.items() if fold(n) in wanted}
    given = {fold(n): (n, v) for n, v in parameters.items()}
    for folded, (name, value) in given.items():
        if folded not in wanted or wanted[folded] in values:
            raise QueryRefused(
                "query.parameter_unknown", f"the query has no parameter `${name[:60]}`", hint="leave it out"
            )
        values[wanted[folded]] = value
    for folded, name in wanted.items():
        if name not in values:
            raise QueryRefused(
                "query.parameter_missing", f"no value is given for the parameter `${name[:60]}`", hint="give one"
            )
        del folded
    return values


def _too_many_rows(limit: int) -> QueryFailed:
    return QueryFailed("run.rows", f"the result has more than {limit} rows", hint="aggregate, filter, or add a LIMIT")


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError:
        raise EngineInvalid(
            "engine.arrow_missing", "pyarrow is not installed", hint="pip install 'rls[arrow]', or fetch rows"
        ) from None
    return pyarrow
