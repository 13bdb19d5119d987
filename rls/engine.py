"""Token, SQL text → `Result`: verify, guard, execute, record, in that order, for every interface.

Takes a signed token and a caller's text; returns rows that the token's principal may see. Owns what is asked and in
which order; that it is recorded, and what an error may say, is the way in's (`rls.way_in`).
"""

from __future__ import annotations

import contextlib
import os
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from rls.audit.attempt import Attempt
from rls.audit.sizes import size_of
from rls.audit.trail import Trail
from rls.catalog import Catalog
from rls.engines.base import Dialect, Executor, Fetch, Fetched
from rls.engines.limits import Limits
from rls.engines.opening import open_executor
from rls.engines.parameters import check_parameters, parameter_types
from rls.engines.texts import check_text
from rls.errors import QueryFailed, QueryRefused
from rls.explanation import Explanation, explain_guarded
from rls.identity.principal import Principal
from rls.result import Result, check_export
from rls.rewrite.guarded import GuardedQuery
from rls.session import Session
from rls.turns import Turns
from rls.way_in import State, WayIn

if TYPE_CHECKING:
    from rls.audit.select import Selection
    from rls.audit.sinks import AuditSink, AuditTarget
    from rls.policy.policy_set import PolicySet

__all__ = ["Engine", "Session"]

# Failures that say nothing of a place in the text.
_WITHOUT_PLACE = frozenset(
    ("run.timeout", "run.memory", "run.rows", "run.columns", "run.busy", "run.interrupted", "run.restarted",
     "run.database_changed", "run.fault")
)  # fmt: skip


class Engine(WayIn):
    """The way in. Safe to share between threads; close it, or use it in a `with` block."""

    def __init__(
        self,
        executor: Executor,
        policies: PolicySet,
        audit: AuditSink | Trail,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """From parts, which stay their owner's to close; `Engine.open` is the usual way.

        `clock` gives Unix time in seconds.
        """
        super().__init__(executor, policies, audit if isinstance(audit, Trail) else Trail(audit), clock=clock)
        self._turns = Turns(executor)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        policies: str | os.PathLike[str],
        audit: AuditTarget,
        name: str | None = None,
        limits: Limits | None = None,
        isolation: Literal["thread", "process"] = "process",
        temporary: str | os.PathLike[str] | None = None,
        slices: bool = False,
    ) -> Engine:
        """An engine over a DuckDB file, which is opened read-only, or over a PostgreSQL database.

        path      the file, or `postgresql://[user@]host[:port]/database` (the extra `postgres`) of a role that can read
                  and nothing else; its password comes from PGPASSWORD, a password file or a service file
        policies  directory of policy files, `identity.yaml` among them
        audit     where records go: a path as `AuditLog` takes it (a file of JSON lines, a directory, an `.sqlite`
                  database), a callable, or an object with `write(record)`; an `audit.yaml` among the policies says how
        name      what callers call the database, as in `warehouse.main.orders`; default: the file's stem, or the name
                  on the server
        limits    bounds for every query; default: `Limits()`. Roles may have lower ones
        isolation `process`: queries run in worker processes under limits of the operating system, so that not even a
                  crash of DuckDB reaches this process. `thread`: in this process, under DuckDB's own limits, which
                  do not contain a hostile query: for those who trust their authors. A server isolates by itself
        temporary directory for temporary files of queries that need more than memory; default: the system's
        slices    whether copies of permitted rows are kept, up to the limit `copies`, for grants that are asked for
                  again and again; for relations that policies call `strict` there are always such copies

        Raises `PolicyInvalid`, `EngineInvalid` (`engine.database_*`, `engine.name`, `engine.temporary`), `AuditFailed`
        (`audit.open`, `audit.sink`).
        """
        from rls.policy.load import load_policies

        loaded = load_policies(os.fspath(policies))
        trail = Trail.open(audit, loaded.directory)
        with contextlib.ExitStack() as undo:
            undo.callback(trail.close)
            executor = open_executor(
                os.fspath(path), isolation, name=name, limits=limits, temporary=temporary, slices=slices
            )
            undo.callback(executor.close)
            engine = cls(executor, loaded, trail)
            engine._closing = undo.pop_all()
        # An engine that nobody closed is closed when it is collected, or when the program ends.
        weakref.finalize(engine, engine._closing.close)
        return engine

    @property
    def catalog(self) -> Catalog:
        """All relations of the database, under the name callers write."""
        return self._state.outer

    @property
    def policies(self) -> PolicySet:
        """The policies in force."""
        return self._state.policies

    def query(
        self,
        token: str,
        sql: str,
        parameters: Mapping[str, object] | None = None,
        *,
        fetch: Fetch = "rows",
        dialect: Dialect = "duckdb",
    ) -> Result:
        """Run `sql` for the principal of `token`.

        parameters  values for the `$name`s in `sql`
        fetch       `rows` (best for small results) or `arrow` (best for large ones); a `Result` offers both anyhow
        dialect     of `sql`: DuckDB's on every engine, or the engine's own (`postgres`, `spark`), of which is read what
                    DuckDB's SQL has as well; names and types of the answer are as for that

        Raises `TokenRejected`, `QueryRefused` (nothing ran), `QueryFailed` (a limit, or an error on visible rows),
        `AuditFailed` (the record could not be written, so the result is withheld), `EngineInvalid`.
        """
        return self._query(token, self._verify, sql, parameters or {}, fetch, dialect=dialect)

    def guard(
        self,
        token: str,
        sql: str,
        parameters: Mapping[str, object] | None = None,
        *,
        dialect: Dialect = "duckdb",
    ) -> GuardedQuery:
        """The guarded text of `sql`, for execution on somebody else's DuckDB connection over the same catalog.

        parameters  values for the `$name`s in `sql`; they are bound with the guard's own, and part of the fingerprint
        dialect     of `sql`, as for `query`

        A text that differs from an earlier one in literals and white space only is guarded in a plain spelling, its
        literals bound (`near`): that is many times faster. Its answer is the same.

        Recorded like a query. Raises like `query`.
        """
        return self._guard_for(token, self._verify, sql, parameters or {}, dialect=dialect)

    def explain(self, who: Principal | str, sql: str, *, dialect: Dialect = "duckdb") -> Explanation:
        """What `sql` would become for a token or for a named principal; touches no data. Recorded for a token.

        In another `dialect` than DuckDB's, it is explained as it was read. A token's roles may keep the policies from
        it: then it says which columns are masked, and no more. Raises `TokenRejected`, `QueryRefused`; for a named
        principal also `PolicyInvalid`, with the policy's place: that is for its author.
        """
        if isinstance(who, Principal):
            try:
                return self._explained(self._read(sql, dialect), who, self._refreshed())[0]
            except QueryRefused as error:
                if dialect != "duckdb":
                    error.position = None  # in the text as it was read
                raise
        return self._explain_for(who, self._verify, sql, dialect=dialect)

    def session(self, token: str) -> Session:
        """A principal's queries without verifying its token each time. Recorded. Raises `TokenRejected`."""
        return Session(self, token)

    def audit_records(
        self, token: str, selection: Selection | None = None, *, latest: int = 100
    ) -> list[dict[str, Any]]:
        """The latest records that the token's principal may read: its own, or everybody's where a role says so.

        Recorded itself. Raises `TokenRejected`, `AuditFailed` (`audit.unreadable`).
        """
        from rls.audit.select import Selection

        def work(attempt: Attempt, state: State, principal: Principal) -> list[dict[str, Any]]:
            may = state.policies.capabilities(principal)
            wanted, own = selection or Selection(), may.read_audit != "all"
            if own:
                wanted = replace(wanted, subject=principal.subject, issuer=principal.issuer)
            found = self._trail.read(wanted, latest=latest, own=own, policies=may.read_policies)
            attempt.row_count = len(found)
            return found

        return self._attempt("audit", token, self._verify, "", work)[1]

    def close(self) -> None:
        """Free what `Engine.open` opened. Running queries end with an error."""
        self._closing.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _query(
        self,
        token: object,
        who: Callable[[object, State], Principal],
        sql: str,
        parameters: Mapping[str, object],
        fetch: Fetch,
        *,
        dialect: Dialect,
    ) -> Result:
        def work(attempt: Attempt, state: State, principal: Principal) -> tuple[Fetched, bool]:
            may = state.policies.capabilities(principal)
            limits = self._executor.limits.narrowed(may.limits)
            types = _bind(attempt, parameters, limits) if parameters else {}
            if fetch not in ("rows", "arrow"):
                raise QueryRefused(
                    "query.fetch", "results are fetched as `rows` or as `arrow`", hint="give one of them"
                )
            check_export(allowed=may.export or fetch == "rows")
            check_text(sql, limits)
            asked = self._read(sql, dialect, attempt)
            # What replays a record looks for an earlier text among those that callers wrote.
            guard = state.inner_templates.guard_alike if dialect == "duckdb" else state.inner_templates.guard
            guarded = attempt.guarded = guard(asked, principal, types)
            with self._turns.take(principal, may) as turn:
                guarded = attempt.guarded = turn.fill_pivots(guarded, guarded, parameters)
                try:
                    fetched = turn.execute(guarded, parameters, fetch=fetch)
                except (QueryRefused, QueryFailed) as error:
                    if not guarded.near or error.code in _WITHOUT_PLACE:
                        raise
                    # The places in its error are another text's: once more with this one.
                    guarded = attempt.guarded = state.inner_templates.guard(asked, principal, types)
                    fetched = turn.execute(guarded, parameters, fetch=fetch)
            attempt.row_count, attempt.byte_count = fetched.row_count, size_of(fetched)
            return fetched, may.export

        attempt, (fetched, export) = self._attempt("query", token, who, sql, work)
        return Result(fetched, audit_id=attempt.audit_id, export=export)

    def _guard_for(
        self,
        token: object,
        who: Callable[[object, State], Principal],
        sql: str,
        parameters: Mapping[str, object],
        *,
        dialect: Dialect,
    ) -> GuardedQuery:
        def work(attempt: Attempt, state: State, principal: Principal) -> GuardedQuery:
            may = state.policies.capabilities(principal)
            limits = self._executor.limits.narrowed(may.limits)
            types = _bind(attempt, parameters, limits) if parameters else {}
            check_text(sql, limits)
            asked = sql if dialect == "duckdb" else self._read(sql, dialect, attempt)
            guard = state.outer_templates.guard_alike if dialect == "duckdb" else state.outer_templates.guard
            guarded = attempt.guarded = guard(asked, principal, types)
            if parameters:
                from rls.rewrite.stability import refuse_unknown

                refuse_unknown(parameters, guarded)
            if guarded.reads_strict:
                from rls.rewrite.copies import refuse_strict

                refuse_strict(guarded)
            if guarded.pivots:
                inner = state.inner_templates.guard(asked, principal, types)
                with self._turns.take(principal, may) as turn:
                    guarded = attempt.guarded = turn.fill_pivots(guarded, inner, parameters)
            if parameters:
                guarded = replace(guarded, parameters={**guarded.parameters, **parameters})
            return guarded if may.read_policies else guarded.without_policies

        return self._attempt("guard", token, who, sql, work)[1]

    def _explain_for(
        self, token: object, who: Callable[[object, State], Principal], sql: str, dialect: Dialect
    ) -> Explanation:
        def work(attempt: Attempt, state: State, principal: Principal) -> Explanation:
            check_text(sql, self._executor.limits.narrowed(state.policies.capabilities(principal).limits))
            asked = self._read(sql, dialect, attempt)
            found, attempt.guarded = self._explained(asked, principal, state)
            return found if state.policies.capabilities(principal).read_policies else found.without_policies()

        return self._attempt("explain", token, who, sql, work)[1]

    def _read(self, sql: str, dialect: Dialect, attempt: Attempt | None = None) -> str:
        """The text in DuckDB's SQL. Raises `QueryRefused`."""
        if dialect == "duckdb":
            return sql
        from rls.rewrite.native import read_native

        if dialect != self._executor.dialect:
            raise QueryRefused(
                "query.dialect",
                "this engine does not have that dialect",
                hint=" or ".join(f"use `{one}`" for one in dict.fromkeys(("duckdb", self._executor.dialect))),
            )
        if attempt is not None:
            attempt.dialect = dialect
        return read_native(sql, dialect)

    def _explained(self, sql: str, principal: Principal, state: State) -> tuple[Explanation, GuardedQuery]:
        from rls.rewrite.finish import finish
        from rls.rewrite.guard import draft

        check_text(sql, self._executor.limits.narrowed(state.policies.capabilities(principal).limits))
        # As the engine would run it, with names that callers know.
        guarded = finish(
            draft(sql, principal, state.policies, state.outer),
            for_engine=True,
            planner=self._executor.planner,
            target=self._executor.target,
        )
        return explain_guarded(guarded), guarded


def _bind(attempt: Attempt, parameters: Mapping[str, object], limits: Limits) -> dict[str, str]:
    """The types of the caller's parameters, checked and recorded."""
    check_parameters(parameters, limits)
    attempt.bind(parameters)
    return parameter_types(parameters)
