"""GuardedQuery → rows or Arrow, on a locked-down DuckDB in this process.

The data is attached read-only under a name nobody can guess, beside an empty in-memory default catalog, so that a name
which no guard wrote does not resolve. A query gets a fresh cursor in a read-only transaction, so that it leaves nothing
behind for the next principal. Owns the limits of time and memory, that a query which breaks the instance costs one
error (the instance is opened again), and that a query runs on the data whose catalog its guards were made for.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar, Final, Literal

import duckdb

from rls.catalog import Catalog, Column, fold
from rls.engines.base import Executor, Fetched, Job
from rls.engines.database import Database
from rls.engines.failures import (
    EngineReport,
    closed,
    database_changed,
    explain_failure,
    interrupted,
    read_report,
    timed_out,
)
from rls.engines.fetch import fetch_arrow, fetch_rows
from rls.engines.instance import Instance
from rls.engines.limits import Limits
from rls.engines.parameters import bind
from rls.engines.shadow import Shadow
from rls.engines.slices import read_from_copies
from rls.engines.slots import Slot
from rls.engines.spill import size_of
from rls.engines.statements import Statements
from rls.engines.watchdog import Watch, Watchdog
from rls.errors import EngineInvalid, QueryFailed, QueryRefused, RlsError
from rls.rewrite.bound import LOCAL
from rls.rewrite.guarded import GuardedQuery

__all__ = ["DuckDBExecutor"]

# Names of DuckDB's own catalogs. `memory` may be taken: the in-memory catalog beside the data is empty.
_TAKEN_NAMES = frozenset(("system", "temp"))

# Said of constructs, and of values: an interval of months and days in `time_bucket`.
_NOT_IMPLEMENTED: Final = "Not implemented"


class DuckDBExecutor(Executor):
    """An `Executor` over one DuckDB file. Thread-safe: every query has its own cursor."""

    dialect: ClassVar[Literal["duckdb"]] = "duckdb"

    def __init__(
        self,
        path: Path,
        *,
        name: str,
        limits: Limits,
        attached: str | None = None,
        temporary: str | os.PathLike[str] | None = None,
        slices: bool = False,
        prepare: Sequence[str] = (),
    ) -> None:
        """`path` is an existing file; `attached` is for workers, which must agree on the name that guards use;
        `prepare` are statements that are run before any query (a clock that stands still, for tests of policies)."""
        super().__init__(limits=limits, concurrent=limits.concurrent, planner=LOCAL, slices=slices)
        self._database = Database(
            path, name=name, limits=limits, attached=attached, temporary=temporary, prepare=prepare
        )
        self._watchdog = Watchdog()
        self._shadow = Shadow()
        self._statements = Statements()
        self._slots = threading.BoundedSemaphore(limits.concurrent)

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        name: str | None = None,
        limits: Limits | None = None,
        attached: str | None = None,
        temporary: str | os.PathLike[str] | None = None,
        slices: bool = False,
    ) -> DuckDBExecutor:
        """Open a DuckDB file read-only; `name` is what callers call the database (default: the file's stem),
        `temporary` the directory for temporary files (default: the system's), `slices` whether copies are also made of
        relations that are not strict.

        Raises `EngineInvalid`: `engine.database_missing`, `.database_invalid`, `.database_locked`, `.name`,
        `.temporary`.
        """
        file = Path(path)
        title = file.stem if name is None else name
        if not title or fold(title) in _TAKEN_NAMES:
            raise EngineInvalid(
                "engine.name", f"`{title}` cannot be the name of a database here", hint="give another one with name="
            )
        if not file.is_file():
            raise EngineInvalid("engine.database_missing", f"there is no database file `{file}`", hint="check the path")
        found = limits or Limits()
        return cls(file, name=title, limits=found, attached=attached, temporary=temporary, slices=slices)

    @property
    def version(self) -> str:
        return f"duckdb {duckdb.__version__}"

    @property
    def catalog(self) -> Catalog:
        return self._database.catalog

    def refresh(self, *, force: bool = False) -> Catalog:
        """See `Executor.refresh`."""
        return self._database.refresh(force=force)

    def close(self) -> None:
        self._database.closed = True
        self._watchdog.close()
        self._database.close()
        self._shadow.close()

    def _answer(self, job: Job) -> Fetched:
        """The answer, or the error: raised here and not where DuckDB's exception was caught, since that one would
        travel along as its context."""
        with Slot(self._slots, job.limits.seconds):
            found = self._run_once(job)
        match found:
            case Fetched():
                return found
            case QueryRefused(code="query.invalid"):
                asked = job.guarded, dict(job.parameters), partial(self._columns, job)
                helpful = self._shadow.explain(*asked)
                if helpful is None and (found.detail or "").startswith(_NOT_IMPLEMENTED) and self._shadow.binds(*asked):
                    helpful = QueryFailed("run.invalid_input", "a function got a value that it does not accept")
                if helpful is not None:
                    helpful.detail = found.detail
                    raise helpful
        raise found

    def _columns(self, job: Job, relation: str) -> tuple[Column, ...] | None:
        described = replace(job.guarded, sql=f"SELECT * FROM {relation}")
        found = self._run_once(replace(job, guarded=described, parameters={}, form="names", copies=()))
        return tuple(map(Column, found.columns, found.types)) if isinstance(found, Fetched) else None

    def _run_once(self, job: Job) -> Fetched | RlsError:
        guarded, limits = job.guarded, job.limits
        instance = self._database.instance(
            catalog_version=guarded.catalog_version, hide_statistics=guarded.hide_statistics
        )
        copies = job.copies
        cursor: duckdb.DuckDBPyConnection | None = None
        watched: Watch | None = None
        ready = False
        try:
            cursor = instance.cursor()
            check = self._disk_check(instance, limits)
            with (
                self._watchdog.watch(cursor.interrupt, seconds=limits.seconds, check=check) as watched,
                instance.slices.lend(copies, cursor, expired=partial(_has_expired, watched)) as tables,
            ):
                guarded, ready = read_from_copies(guarded, copies, tables), True
                cursor.execute("BEGIN TRANSACTION READ ONLY")
                statement = self._statements.parse(cursor, guarded.sql)
                return _run(cursor, statement, guarded, job, instance.attached)
        except (duckdb.Error, OSError) as error:
            # An Arrow stream turns DuckDB's exceptions into OSError with the same text.
            report = read_report(str(error))
        except UnicodeDecodeError as error:
            # DuckDB's message quotes a value that is no UTF-8, or cuts one inside a character.
            report = read_report(bytes(error.object).decode(errors="replace"))
        except MemoryError:
            report = EngineReport("Out of Memory", "", "", None, {})
        except RlsError as error:
            return error
        finally:
            if cursor is not None:
                cursor.close()
        if not ready:
            # A place in the text that fills a copy is none in the caller's.
            report = replace(report, offset=None)
        return self._failure(report, guarded, job, instance, watched)

    def _failure(
        self, report: EngineReport, guarded: GuardedQuery, job: Job, instance: Instance, watched: Watch | None
    ) -> RlsError:
        if report.invalidates:
            # The next query opens it again. It is not closed here: that would close the cursors of others with it.
            instance.lost = True
            if "previous fatal error" in report.message:
                return QueryFailed(
                    "run.restarted", "the engine was restarted while the query ran", hint="send the query again"
                )
        if self._database.closed:
            return closed()
        if instance.closed and report.kind == "Connection":
            # Another one took its place before this query had a cursor of it.
            return database_changed()
        if report.kind == "INTERRUPT":
            if watched is not None and watched.exceeded:
                return QueryFailed(
                    "run.temporary_disk",
                    "the query needs more temporary disk than it may use",
                    hint="aggregate or filter earlier",
                )
            if watched is not None and watched.expired:
                return timed_out(job.limits)
            return interrupted()
        return explain_failure(report, guarded)

    def _disk_check(self, instance: Instance, limits: Limits) -> Callable[[], bool] | None:
        """Whether a query whose role may write less than all may write on; only where it is alone, as in a worker: the
        files of several queries cannot be told apart."""
        directory, most = instance.temporary, limits.temporary_disk
        if directory is None or most >= self.limits.temporary_disk or self.limits.concurrent > 1:
            return None
        return lambda: size_of(directory) > most


def _has_expired(watched: Watch) -> bool:
    return watched.expired


def _run(
    cursor: duckdb.DuckDBPyConnection, statement: duckdb.Statement, guarded: GuardedQuery, job: Job, attached: str
) -> Fetched:
    values = bind(guarded.parameters, job.parameters, named=statement.named_parameters)
    match job.form:
        case "rows":
            found = fetch_rows(cursor, statement, values, job.limits)
        case "arrow":
            found = fetch_arrow(cursor, statement, values, job.limits)
        case _:
            relation = cursor.sql(statement, params=values)
            return Fetched(tuple(relation.columns), tuple(map(str, relation.types)), 0)
    # DuckDB makes up names of columns and of struct fields from the text it runs, and that is the guards' text.
    # The rewrite gives such columns their own names; one that it missed must not show a policy.
    if any(attached in text for text in (*found.columns, *found.types)):
        raise QueryFailed("run.column_names", "a column's name could not be kept", hint="name it with AS")
    return found
