"""What an execution engine offers: a `GuardedQuery` goes in, a `Fetched` comes out, or an `RlsError`.

`rls.engine.Engine` is written against this protocol alone, so DuckDB in this process, DuckDB in worker processes and
PostgreSQL are interchangeable. An executor runs only what it is handed: it decides nothing about who may see what.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from rls.catalog import Catalog, Column
from rls.engines.limits import Limits
from rls.rewrite.bound import Planner
from rls.rewrite.guarded import Copy, GuardedQuery
from rls.rewrite.port.target import Target

__all__ = ["Executor", "Fetch", "Fetched"]

Fetch = Literal["rows", "arrow"]


@dataclass(frozen=True, slots=True)
class Fetched:
    """A complete answer, out of the engine's hands: nothing of it needs the connection any more.

    `types` are DuckDB's type texts. Exactly one of `rows` (tuples of Python values) and `table` (a pyarrow Table) is
    set: DuckDB's own conversion to that form, so no value has gone through another one.
    """

    columns: tuple[str, ...]
    types: tuple[str, ...]
    row_count: int
    rows: list[tuple[Any, ...]] | None = None
    table: Any = None


class Executor(Protocol):
    """Runs guarded queries over one database.

    `version` names the engine for the audit record; `catalog.attached` is the name that guards must use here.
    `dialect` is the SQL it runs, `target` what a rewrite into another one than DuckDB's must know beside the catalog.
    An executor refuses what was made for another dialect or another catalog, converts values to those DuckDB would
    have given, folds errors to this library's, and keeps its own engine's limits.
    """

    @property
    def dialect(self) -> Literal["duckdb", "postgres", "spark"]: ...

    @property
    def target(self) -> Target | None: ...

    @property
    def version(self) -> str: ...

    @property
    def catalog(self) -> Catalog: ...

    @property
    def limits(self) -> Limits: ...

    @property
    def concurrent(self) -> int:
        """How many queries it runs at once; more would wait."""
        ...

    @property
    def slices(self) -> bool:
        """Whether it makes copies also of relations that are not strict, where they are asked for again and again."""
        ...

    @property
    def planner(self) -> Planner:
        """Where texts are bound before they run."""
        ...

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

        Raises `QueryRefused` for what is wrong with the caller's text or parameters, `QueryFailed` for what happened
        while it ran, never an engine's own exception. `run.database_changed`: the guard is of an older catalog."""
        ...

    def describe(self, guarded: GuardedQuery, parameters: Mapping[str, object]) -> tuple[Column, ...]:
        """Names and types of the answer; nothing runs. Raises as `execute` does."""
        ...

    def refresh(self, *, force: bool = False) -> bool:
        """Open the database anew if its file has changed, or with `force`; whether it was. `catalog` is then another
        one. Raises `EngineInvalid` where the new file cannot be opened; nothing runs until it can."""
        ...

    def close(self) -> None:
        """Free the database; running queries end with an error."""
        ...
