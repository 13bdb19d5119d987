"""Token, SQL text → `Result`: verify, guard, execute, record, in that order, for every interface.

Takes a signed token and a caller's text; returns rows that the token's principal may see. Owns that there is one way
in (`_attempt`), that every attempt leaves one audit record before anything is handed out (recorded), and that no error
carries what its caller must not know (private).
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from rls.audit.attempt import Attempt
from rls.audit.sizes import size_of
from rls.audit.trail import Trail
from rls.catalog import Catalog, fold
from rls.engines.base import Executor, Fetch, Fetched
from rls.engines.limits import Limits
from rls.engines.parameters import check_parameters, parameter_types
from rls.errors import AuditFailed, EngineInvalid, PolicyInvalid, QueryFailed, QueryRefused, RlsError
from rls.explanation import Explanation, explain_guarded
from rls.identity.principal import Principal
from rls.result import Result, check_export
from rls.rewrite.guarded import GuardedQuery
from rls.turns import Turn, Turns

if TYPE_CHECKING:
    from rls.audit.record import Action
    from rls.audit.select import Selection
    from rls.audit.sinks import AuditSink, AuditTarget
    from rls.identity.cache import Admission, Verifier
    from rls.identity.capabilities import Capabilities
    from rls.policy.policy_set import PolicySet
    from rls.rewrite.templates import Templates

__all__ = ["Engine", "Session"]

Answer = TypeVar("Answer")

# Failures that say nothing of a place in the text.
_WITHOUT_PLACE = frozenset(
    ("run.timeout", "run.memory", "run.rows", "run.columns", "run.busy", "run.interrupted", "run.restarted",
     "run.database_changed", "run.fault")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _State:
    """What decides, swapped as a whole by `reload`: a query never sees half of a change.

    `inner` is the catalog for guards that run here, `outer` the one for guards that run on another connection; what
    was verified and guarded is remembered for as long as these hold.
    """

    policies: PolicySet
    inner: Catalog
    outer: Catalog
    verifier: Verifier
    inner_templates: Templates
    outer_templates: Templates


class Engine:
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
        self._executor, self._clock = executor, clock
        self._turns = Turns(executor)
        self._trail = audit if isinstance(audit, Trail) else Trail(audit)
        self._closing = contextlib.ExitStack()
        self._swap = threading.Lock()
        self._state = self._decide(policies)

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
            executor = _open_executor(
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
    ) -> Result:
        """Run `sql` for the principal of `token`.

        parameters  values for the `$name`s in `sql`
        fetch       `rows` (best for small results) or `arrow` (best for large ones); a `Result` offers both anyhow

        Raises `TokenRejected`, `QueryRefused` (nothing ran), `QueryFailed` (a limit, or an error on visible rows),
        `AuditFailed` (the record could not be written, so the result is withheld), `EngineInvalid`.
        """
        return self._query(token, lambda state: self._verify(token, state), sql, parameters or {}, fetch)

    def guard(self, token: str, sql: str, parameters: Mapping[str, object] | None = None) -> GuardedQuery:
        """The guarded text of `sql`, for execution on somebody else's DuckDB connection over the same catalog.

        parameters  values for the `$name`s in `sql`; they are bound with the guard's own, and part of the fingerprint

        Recorded like a query. Raises like `query`.
        """
        return self._guard_for(token, lambda state: self._verify(token, state), sql, parameters or {})

    def explain(self, who: Principal | str, sql: str) -> Explanation:
        """What `sql` would become for a token or for a named principal; touches no data, and leaves no record.

        A token's roles may keep the policies from it: then it says which columns are masked, and no more. Raises
        `TokenRejected`, `QueryRefused`, `PolicyInvalid` (with the policy's place: this is for its author).
        """
        state = self._refreshed()
        principal = who if isinstance(who, Principal) else self._verify(who, state)
        self._check_text(sql, principal, state.policies)
        from rls.rewrite.finish import finish
        from rls.rewrite.guard import draft

        # As the engine would run it, with names that callers know.
        guarded = finish(
            draft(sql, principal, state.policies, state.outer),
            for_engine=True,
            planner=self._executor.planner,
            target=self._executor.target,
        )
        found = explain_guarded(guarded)
        shown = principal.assurance == "persona" or state.policies.capabilities(principal).read_policies
        return found if shown else found.without_policies()

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

        def work(attempt: Attempt, state: _State, principal: Principal) -> list[dict[str, Any]]:
            may = state.policies.capabilities(principal)
            wanted, own = selection or Selection(), may.read_audit != "all"
            if own:
                wanted = replace(wanted, subject=principal.subject, issuer=principal.issuer)
            found = self._trail.read(wanted, latest=latest, own=own, policies=may.read_policies)
            attempt.row_count = len(found)
            return found

        return self._attempt("audit", token, lambda state: self._verify(token, state), "", work)[1]

    def reload(self, policies: str | os.PathLike[str] | None = None) -> None:
        """Read the policies again (from another directory, if given). Running queries end under the old ones.

        Raises `PolicyInvalid`; the old policies then stay in force.
        """
        from rls.policy.load import load_policies

        with self._swap:
            self._state = self._decide(load_policies(os.fspath(policies or self._state.policies.directory)))

    def refresh(self) -> None:
        """Open the database file again, and drop everything that was kept of it.

        Needed only where a file changes in a way that its size and time do not show; other changes are seen by the
        next query. Raises `EngineInvalid`; no query runs until the file can be opened.
        """
        self._executor.refresh(force=True)
        self._refreshed()

    def close(self) -> None:
        """Free what `Engine.open` opened. Running queries end with an error."""
        self._closing.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _refreshed(self) -> _State:
        """What decides now: guards are made for the database as it is, never for the file that was there before."""
        self._executor.refresh()
        if self._state.inner is not self._executor.catalog:
            with self._swap:
                if self._state.inner is not self._executor.catalog:
                    self._state = self._decide(self._state.policies)
        return self._state

    def _decide(self, policies: PolicySet) -> _State:
        inner = self._executor.catalog
        outer = inner.attached_as(inner.name)
        self._trail.decide(policies, outer)
        from rls.identity.cache import Verifier
        from rls.rewrite.templates import Templates

        return _State(
            policies,
            inner,
            outer,
            Verifier(policies.identity),
            Templates(policies, inner, for_engine=True, planner=self._executor.planner, target=self._executor.target),
            Templates(policies, outer, planner=self._executor.planner, target=self._executor.target),
        )

    def _query(
        self,
        token: object,
        who: Callable[[_State], Principal],
        sql: str,
        parameters: Mapping[str, object],
        fetch: Fetch,
    ) -> Result:
        def work(attempt: Attempt, state: _State, principal: Principal) -> tuple[Fetched, bool]:
            may = state.policies.capabilities(principal)
            check_parameters(parameters, self._executor.limits.narrowed(may.limits))
            attempt.bind(parameters)
            if fetch not in ("rows", "arrow"):
                raise QueryRefused(
                    "query.fetch", "results are fetched as `rows` or as `arrow`", hint="give one of them"
                )
            check_export(allowed=may.export or fetch == "rows")
            self._check_text(sql, principal, state.policies)
            types = parameter_types(parameters)
            guarded = attempt.guarded = state.inner_templates.guard_alike(sql, principal, types)
            with self._turns.take(principal, may) as turn:
                guarded = attempt.guarded = self._fill_pivots(guarded, guarded, parameters, turn)
                try:
                    fetched = turn.execute(guarded, parameters, fetch=fetch)
                except (QueryRefused, QueryFailed) as error:
                    if not guarded.near or error.code in _WITHOUT_PLACE:
                        raise
                    # The places in its error are another text's: once more with this one.
                    guarded = attempt.guarded = state.inner_templates.guard(sql, principal, types)
                    fetched = turn.execute(guarded, parameters, fetch=fetch)
            attempt.row_count, attempt.byte_count = fetched.row_count, size_of(fetched)
            return fetched, may.export

        attempt, (fetched, export) = self._attempt("query", token, who, sql, work)
        return Result(fetched, audit_id=attempt.audit_id, export=export)

    def _guard_for(
        self, token: object, who: Callable[[_State], Principal], sql: str, parameters: Mapping[str, object]
    ) -> GuardedQuery:
        from rls.rewrite.copies import refuse_strict

        def work(attempt: Attempt, state: _State, principal: Principal) -> GuardedQuery:
            may = state.policies.capabilities(principal)
            check_parameters(parameters, self._executor.limits.narrowed(may.limits))
            attempt.bind(parameters)
            self._check_text(sql, principal, state.policies)
            types = parameter_types(parameters)
            guarded = attempt.guarded = state.outer_templates.guard(sql, principal, types)
            _refuse_unknown(parameters, guarded)
            refuse_strict(guarded)
            if guarded.pivots:
                inner = state.inner_templates.guard(sql, principal, types)
                with self._turns.take(principal, may) as turn:
                    guarded = attempt.guarded = self._fill_pivots(guarded, inner, parameters, turn)
            if parameters:
                guarded = replace(guarded, parameters={**guarded.parameters, **parameters})
            return guarded if may.read_policies else guarded.without_policies()

        return self._attempt("guard", token, who, sql, work)[1]

    def _admit(self, token: str) -> Admission:
        """Let a token in for a session."""
        found: list[Admission] = []

        def who(state: _State) -> Principal:
            found.append(state.verifier.admit(token, now=self._clock()))
            return found[0].principal

        return self._attempt("session", token, who, "", lambda *_: found[0])[1]

    def _resume(self, admission: Admission, state: _State) -> Principal:
        return state.verifier.resume(admission, now=self._clock())

    def _attempt(
        self,
        action: Action,
        token: object,
        who: Callable[[_State], Principal],
        sql: str,
        work: Callable[[Attempt, _State, Principal], Answer],
    ) -> tuple[Attempt, Answer]:
        """Every query of every interface comes through here: who asks, then the work, then the record, then the
        answer. Whatever goes wrong on the way is recorded as well and leaves as an `RlsError`."""
        state = self._state
        attempt = self._trail.begin(action, sql, text_limit=self._executor.limits.text, now=self._clock())
        attempt.token = token
        attempt.versions(state.policies.version, state.outer, self._executor.version, attached=state.inner.attached)
        failure: RlsError
        try:
            state = self._refreshed()
            attempt.versions(state.policies.version, state.outer, self._executor.version, attached=state.inner.attached)
            attempt.principal = principal = who(state)
            try:
                answer = work(attempt, state, principal)
            except QueryFailed as error:
                if error.code != "run.database_changed":
                    raise
                # The file became another one on the way: once more, with guards for this one.
                state = self._refreshed()
                attempt.versions(
                    state.policies.version, state.outer, self._executor.version, attached=state.inner.attached
                )
                answer = work(attempt, state, principal)
        except PolicyInvalid as error:
            # It names files, columns and policies: for their author, not for who sent the query.
            failure = QueryRefused("query.policy", "a relation's policies cannot be applied", hint="tell the operator")
            failure.detail = str(error)
        except RlsError as error:
            failure = error
        except Exception as error:  # noqa: BLE001 (a fault of this library must not show its data to the caller)
            failure = QueryFailed("run.fault", "something went wrong in the engine", hint="tell the operator")
            failure.detail = f"{type(error).__name__}: {error}"
        except BaseException:
            # Ctrl-C, or the end of the program: recorded, then on its way.
            with contextlib.suppress(AuditFailed):
                attempt.keep(QueryFailed("run.interrupted", "the query was interrupted"))
            raise
        else:
            attempt.keep(None)
            return attempt, answer
        attempt.keep(failure)
        # Raised outside of `except`, with nothing in tow: the exception it came from may quote rows and policies.
        failure.__cause__ = failure.__context__ = None
        failure.add_note(f"audit record {attempt.audit_id}")
        raise failure

    def _verify(self, token: object, state: _State) -> Principal:
        return state.verifier.verify(token, now=self._clock())

    def _check_text(self, sql: object, principal: Principal, policies: PolicySet) -> None:
        """What can be said of a text before any parser sees it."""
        limit = self._executor.limits.narrowed(policies.capabilities(principal).limits).text
        if not isinstance(sql, str):
            raise QueryRefused("query.text", "a query is a text", hint="give it as a string")
        if len(sql) > limit:
            raise QueryRefused("query.too_long", f"the query is longer than {limit} characters", hint="shorten it")
        try:
            sql.encode()
        except UnicodeEncodeError:
            failure = QueryRefused("query.text", "the query holds half of a surrogate pair", hint="send it as UTF-8")
        else:
            return
        raise failure

    def _fill_pivots(
        self, guarded: GuardedQuery, inner: GuardedQuery, parameters: Mapping[str, object], turn: Turn
    ) -> GuardedQuery:
        """A PIVOT without an IN list gets the values that this principal may see, each list from its own query."""
        if not guarded.pivots:
            return guarded
        from rls.rewrite.pivot import with_pivot_values

        limit = turn.limits.columns
        values = []
        for pivot in inner.pivots:
            query = replace(inner, sql=pivot.sql, splices=(), pivots=(), check=None)
            named = {k: v for k, v in parameters.items() if re.search(rf"\${k}\b", pivot.sql, re.IGNORECASE)}
            rows = turn.execute(query, named, fetch="rows").rows or []
            if len(rows) > limit:
                raise QueryFailed("run.columns", f"PIVOT finds more than {limit} values", hint="list them with IN (…)")
            values.append([row[0] for row in rows])
        return with_pivot_values(guarded, values)


class Session:
    """One verified token's queries. Each asks again whether the token is still valid: not expired, not revoked, known
    to the policies in force."""

    def __init__(self, engine: Engine, token: str) -> None:
        self._engine = engine
        self._admission = engine._admit(token)

    @property
    def principal(self) -> Principal:
        """Who asks."""
        return self._admission.principal

    @property
    def capabilities(self) -> Capabilities:
        """What this principal may do beside what it may see: for interfaces that offer more than queries."""
        return self._engine.policies.capabilities(self.principal)

    def query(self, sql: str, parameters: Mapping[str, object] | None = None, *, fetch: Fetch = "rows") -> Result:
        """See `Engine.query`."""
        return self._engine._query(self._admission.token, self._who, sql, parameters or {}, fetch)

    def guard(self, sql: str, parameters: Mapping[str, object] | None = None) -> GuardedQuery:
        """See `Engine.guard`."""
        return self._engine._guard_for(self._admission.token, self._who, sql, parameters or {})

    def explain(self, sql: str) -> Explanation:
        """See `Engine.explain`."""
        return self._engine.explain(self._who(self._engine._state), sql)

    def _who(self, state: _State) -> Principal:
        return self._engine._resume(self._admission, state)


def _refuse_unknown(parameters: Mapping[str, object], guarded: GuardedQuery) -> None:
    """Raise `QueryRefused` for a value that the text has no place for, as running it would."""
    from rls.rewrite.stability import parameters_of

    if parameters:
        known = parameters_of(guarded.sql) if guarded.dialect == "duckdb" else frozenset(map(fold, guarded.binds))
        for name in parameters:
            if fold(name) not in known:
                message = f"the query has no parameter `${name}`"
                raise QueryRefused("query.parameter_unknown", message, hint="leave it out")


def _open_executor(path: str, isolation: str, **options: Any) -> Executor:
    server = path.startswith(("postgresql://", "postgres://"))
    match isolation:
        case "thread" | "process" if server:
            from rls.engines.postgres.executor import PostgresExecutor

            return PostgresExecutor.open(path, name=options["name"], limits=options["limits"], isolation=isolation)
        case "thread":
            from rls.engines.duckdb import DuckDBExecutor

            return DuckDBExecutor.open(path, **options)
        case "process":
            from rls.engines.workers import WorkersExecutor

            return WorkersExecutor.open(path, **options)
        case _:
            raise EngineInvalid("engine.isolation", "isolation is `thread` or `process`", hint="give one of them")
