"""Who asks, the work, the record, the answer: the one way through which every query of every interface goes.

Takes a way to find the principal and the work to do; returns what the work gave. Owns that every attempt leaves one
audit record before anything is handed out (recorded), and that no error carries what its caller must not know
(private).
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from rls.audit.attempt import Attempt, Decides
from rls.audit.trail import Trail
from rls.catalog import Catalog
from rls.engines.base import Executor
from rls.errors import AuditFailed, EngineInvalid, PolicyInvalid, QueryFailed, QueryRefused, RlsError
from rls.forks import after_fork
from rls.identity.principal import Principal

if TYPE_CHECKING:
    from rls.audit.record import Action
    from rls.identity.cache import Admission, Verifier
    from rls.policy.policy_set import PolicySet
    from rls.rewrite.hand_out import HandedOut
    from rls.rewrite.templates import Templates

__all__ = ["State", "WayIn"]

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class State:
    """What decides, swapped as a whole by `reload`: a query never sees half of a change.

    `inner` is the catalog for guards that run here, `outer` the one for guards that run on another connection; what
    was verified and guarded is remembered for as long as these hold. `decides` is what records say of all that.
    """

    policies: PolicySet
    inner: Catalog
    outer: Catalog
    verifier: Verifier
    inner_templates: Templates
    outer_templates: HandedOut
    decides: Decides


class WayIn:
    """What decides, over one executor, and the attempts that go through it. `rls.engine.Engine` has the questions."""

    def __init__(
        self, executor: Executor, policies: PolicySet, trail: Trail, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._executor, self._trail, self._clock = executor, trail, clock
        self._swap = threading.Lock()
        self._closing = contextlib.ExitStack()
        self._forked = False
        _OPEN.add(self)
        self._state = self._decide(policies)

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

    def _refreshed(self) -> State:
        """What decides now: guards are made for the database as it is, never for the file that was there before."""
        if self._forked:
            raise EngineInvalid(
                "engine.forked", "the engine was opened before this process was forked", hint="open one in each process"
            )
        catalog, state = self._executor.refresh(), self._state
        if state.inner is catalog:
            return state
        with self._swap:
            if self._state.inner is not self._executor.catalog:
                self._state = self._decide(self._state.policies)
            return self._state

    def _decide(self, policies: PolicySet) -> State:
        inner = self._executor.catalog
        outer = inner.attached_as(inner.name)
        self._trail.decide(policies, outer)
        from rls.identity.cache import Verifier
        from rls.rewrite.hand_out import HandedOut
        from rls.rewrite.templates import Templates

        return State(
            policies,
            inner,
            outer,
            Verifier(policies.identity),
            Templates(policies, inner, for_engine=True, planner=self._executor.planner, target=self._executor.target),
            HandedOut(policies, outer, planner=self._executor.planner, target=self._executor.target),
            Decides(policies.version, outer.version, self._executor.version, inner.attached, outer.name),
        )

    def _admit(self, token: str) -> Admission:
        """Let a token in for a session."""
        found: list[Admission] = []

        def who(token: object, state: State) -> Principal:
            found.append(state.verifier.admit(token, now=self._clock()))
            return found[0].principal

        return self._attempt("session", token, who, "", lambda *_: found[0])[1]

    def _resume(self, admission: Admission, state: State) -> Principal:
        return state.verifier.resume(admission, now=self._clock())

    def _attempt(
        self,
        action: Action,
        token: object,
        who: Callable[[object, State], Principal],
        sql: str,
        work: Callable[[Attempt, State, Principal], Answer],
    ) -> tuple[Attempt, Answer]:
        """Every query of every interface comes through here: who asks, then the work, then the record, then the
        answer. Whatever goes wrong on the way is recorded as well and leaves as an `RlsError`."""
        state = self._state
        attempt = self._trail.begin(
            action, sql, decides=state.decides, text_limit=self._executor.limits.text, now=self._clock()
        )
        attempt.token = token
        failure: RlsError
        try:
            found = self._refreshed()
            if found is not state:
                state = found
                attempt.decide_anew(state.decides)
            attempt.principal = principal = who(token, state)
            try:
                answer = work(attempt, state, principal)
            except QueryFailed as error:
                if error.code != "run.database_changed":
                    raise
                # The file became another one on the way: once more, with guards for this one.
                state = self._refreshed()
                attempt.decide_anew(state.decides)
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
        if attempt.dialect and isinstance(failure, QueryRefused):
            failure.position = None  # in the text as it was read, which is not the caller's
        attempt.keep(failure)
        # Raised outside of `except`, with nothing in tow: the exception it came from may quote rows and policies.
        failure.__cause__ = failure.__context__ = None
        failure.add_note(f"audit record {attempt.audit_id}")
        raise failure

    def _verify(self, token: object, state: State) -> Principal:
        return state.verifier.verify(token, now=self._clock())

    def _leave_to_parent(self) -> None:
        """In a fork's child: two processes on one socket or connection would read each other's answers, and what was
        opened is the parent's to close."""
        self._forked = True
        self._closing.pop_all()


@after_fork
def _after_fork() -> None:
    for engine in list(_OPEN):
        engine._leave_to_parent()


_OPEN: weakref.WeakSet[WayIn] = weakref.WeakSet()
