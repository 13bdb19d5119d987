"""What an execution engine offers: a `GuardedQuery` goes in, a `Fetched` comes out, or an `RlsError`.

`rls.engine.Engine` is written against this class alone, so DuckDB in this process, DuckDB in worker processes,
PostgreSQL and others are interchangeable. An executor runs only what it is handed: it decides nothing about who may
see what.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from rls.catalog import Catalog, Column
from rls.engines.limits import Limits
from rls.rewrite.bound import Planner
from rls.rewrite.guarded import Copy, GuardedQuery
from rls.rewrite.port.target import Target

__all__ = ["Dialect", "Executor", "Fetch", "Fetched", "Job"]

Dialect = Literal["duckdb", "postgres", "spark"]
Fetch = Literal["rows", "arrow"]


@dataclass(frozen=True, slots=True)
class Fetched:
    """A complete answer, out of the engine's hands: nothing of it needs the connection any more.

    `types` are DuckDB's type texts. Exactly one of `rows` (tuples of Python values) and `table` (a pyarrow Table) is
    set: DuckDB's own conversion to that form, so no value has gone through another one. Both are left out of what is
    only described.
    """

    columns: tuple[str, ...]
    types: tuple[str, ...]
    row_count: int
    rows: list[tuple[Any, ...]] | None = None
    table: Any = None


@dataclass(frozen=True, slots=True)
class Job:
    """One query on its way. `form` is how its answer is fetched; `names`: names and types only, nothing runs."""

    guarded: GuardedQuery
    parameters: Mapping[str, object]
    form: Literal["rows", "arrow", "names"]
    limits: Limits
    copies: Sequence[Copy] = ()


class Executor(ABC):
    """Runs guarded queries over one database.

    `dialect` is the SQL it runs. A subclass gives `version`, `catalog` and `_answer`. It refuses what was made for
    another dialect or another catalog, converts values to those that DuckDB would have given, folds errors to this
    library's, and keeps its own engine's limits.
    """

    dialect: ClassVar[Dialect]

    def __init__(self, *, limits: Limits, concurrent: int, planner: Planner, slices: bool = False) -> None:
        """
        limits      the engine's own; those of a query are at most these
        concurrent  how many queries it runs at once; more would wait
        planner     where texts are bound before they run
        slices      whether it makes copies also of relations that are not strict, where they are asked for again and
                    again
        """
        self.limits, self.concurrent, self.planner, self.slices = limits, concurrent, planner, slices

    @property
    @abstractmethod
    def version(self) -> str:
        """The engine's name and version, for the audit record."""

    @property
    @abstractmethod
    def catalog(self) -> Catalog:
        """What the database holds; `catalog.attached` is the name that guards must use here."""

    @property
    def target(self) -> Target | None:
        """What a rewrite into another SQL than DuckDB's must know beside the catalog; None for DuckDB's."""
        return None

    def execute(
        self,
        guarded: GuardedQuery,
        parameters: Mapping[str, object],
        *,
        fetch: Fetch,
        limits: Limits | None = None,
        copies: Sequence[Copy] = (),
    ) -> Fetched:
        """Run it with the guard's and the caller's own `parameters`, under limits that are at most the engine's
        (default: those), reading `copies` instead of their guards: the strict ones always.

        Raises `QueryRefused` for what is wrong with the caller's text or parameters (`query.parameter*`,
        `query.invalid` and finer ones), `QueryFailed` for what happened while it ran, never an engine's own exception.
        `run.database_changed`: the guard is of an older catalog."""
        return self._answer(Job(guarded, parameters, fetch, limits or self.limits, copies))

    def describe(self, guarded: GuardedQuery, parameters: Mapping[str, object]) -> tuple[Column, ...]:
        """Names and types of the answer; nothing runs. Raises as `execute` does."""
        found = self._answer(Job(guarded, parameters, "names", self.limits))
        return tuple(map(Column, found.columns, found.types))

    @abstractmethod
    def _answer(self, job: Job) -> Fetched:
        """The answer to a job. Raises as `execute` does."""

    @abstractmethod
    def refresh(self, *, force: bool = False) -> Catalog:
        """Open the database anew if it has changed, or with `force`; `catalog` as it is now, another object where it
        was. Raises `EngineInvalid` where it cannot be opened; nothing runs until it can."""

    @abstractmethod
    def close(self) -> None:
        """Free the database; running queries end with an error."""
