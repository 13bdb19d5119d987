"""What executors over servers of other engines share: a shadow for DuckDB's words, places, and a catalog that may age.

A subclass gives `_run`. Owns that nothing runs there which was made for another engine or another catalog, and that no
exception of a client library leaves with what it quotes.
"""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from rls.catalog import Catalog, Column, fold, shown_type
from rls.engines.base import Executor, Fetched, Job
from rls.engines.failures import database_changed
from rls.engines.limits import Limits
from rls.engines.parameters import bind
from rls.engines.planner import PlannerProcess
from rls.engines.shadow import Shadow
from rls.engines.sizes import check_types
from rls.engines.slots import Slot
from rls.errors import QueryRefused, RlsError
from rls.rewrite.bound import Planner
from rls.rewrite.guarded import GuardedQuery

__all__ = ["ServerExecutor", "names_and_types"]


class ServerExecutor(Executor):
    """An `Executor` that sends texts in another engine's SQL to a server."""

    def __init__(self, *, limits: Limits, planner: Planner) -> None:
        super().__init__(limits=limits, concurrent=limits.concurrent, planner=planner)
        self._slots = threading.BoundedSemaphore(limits.concurrent)
        self._refreshing = threading.Lock()
        self._stale = False
        self._shadow = Shadow()

    def primary_keys(self) -> Mapping[tuple[str, ...], tuple[str, ...]]:
        """The columns of the primary keys that the server enforces, by the table's key; of tables without one nothing.
        Raises `EngineInvalid`."""
        return {}

    def close(self) -> None:
        """See `Executor.close`."""
        self._shadow.close()
        if isinstance(self.planner, PlannerProcess):
            self.planner.close()

    @abstractmethod
    def _run(self, job: Job, values: Mapping[str, object]) -> Fetched | RlsError:
        """The answer, or the error for the caller; sets `_stale` where the catalog may be of yesterday."""

    def _answer(self, job: Job) -> Fetched:
        """See `Executor.execute`. Codes: `query.parameter*`, `query.invalid` and finer ones; `run.timeout`, `.rows`,
        `.columns`, `.types`, `.out_of_range`, `.division_by_zero`, `.subquery_rows`, `.invalid_input`, `.memory`,
        `.temporary_disk`, `.busy`, `.connection`, `.interrupted`, `.database_changed`."""
        if job.copies:
            raise QueryRefused("query.strict", "this database has no copies of permitted rows")
        self._check(job.guarded, job.parameters)
        names, types = names_and_types(job.guarded)
        if job.form == "names":
            return Fetched(names, types, 0)
        values = bind(job.guarded.parameters, job.parameters, named=job.guarded.binds)
        check_types(types, job.limits)
        with Slot(self._slots, job.limits.seconds):
            fetched = self._run(job, values)
        if isinstance(fetched, RlsError) and self._stale:
            fetched = self._refreshed(fetched)
        if isinstance(fetched, RlsError):
            # Raised here and not where the client's error was caught, which would travel along as its context.
            raise fetched
        return fetched

    def _refreshed(self, failure: RlsError) -> RlsError:
        """The error, where it is not that the database has changed."""
        before = self.catalog
        try:
            return failure if self.refresh() is before else database_changed()
        except RlsError as error:
            return error

    def _check(self, guarded: GuardedQuery, parameters: Mapping[str, object]) -> None:
        if guarded.catalog_version not in ("", self.catalog.version):
            raise database_changed()
        if guarded.dialect != self.dialect:
            helpful = self._shadow.explain(guarded, dict(parameters), partial(_columns, guarded, self.catalog))
            raise helpful or QueryRefused(
                "query.invalid",
                "the query does not fit the columns and types of what it reads",
                hint="check names and types",
            )


def names_and_types(guarded: GuardedQuery) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What an answer must have."""
    return tuple(column.name for column in guarded.columns), tuple(column.type for column in guarded.columns)


def _columns(guarded: GuardedQuery, catalog: Catalog, text: str) -> tuple[Column, ...] | None:
    """The columns that a guard shows, by the relation that its text names first."""
    places = {text.find(f" FROM {catalog.source(one.relation)} AS "): one for one in guarded.guards}
    first = min((place for place in places if place >= 0), default=None)
    if first is None:
        return None
    relation, denied = places[first].relation, {fold(name) for name in places[first].grant.denied}
    return tuple(
        replace(column, type=shown_type(column.type)) for column in relation.columns if fold(column.name) not in denied
    )
