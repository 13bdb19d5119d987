"""A principal's turn: its place among the queries that run, and the limits that hold for it.

Takes who asks and what its roles may do; gives an executor narrowed to that, for as long as a `with` block lasts.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from rls.engines.admission import Admission
from rls.engines.base import Executor, Fetch, Fetched
from rls.engines.failures import database_changed
from rls.engines.limits import Limits
from rls.errors import QueryFailed
from rls.identity.capabilities import Capabilities
from rls.identity.principal import Principal
from rls.rewrite.guarded import GuardedQuery

__all__ = ["Turn", "Turns"]

_GRACE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Turn:
    """Runs one principal's query, and the queries that it takes to prepare it, one after the other."""

    executor: Executor
    limits: Limits

    def execute(self, guarded: GuardedQuery, parameters: Mapping[str, object], *, fetch: Fetch) -> Fetched:
        """See `Executor.execute`."""
        from rls.rewrite.copies import plan_copies

        if guarded.catalog_version != self.executor.catalog.version:
            raise database_changed()
        guarded, copies = plan_copies(guarded, self.executor.catalog, slices=self.executor.slices)
        return self.executor.execute(guarded, parameters, fetch=fetch, limits=self.limits, copies=copies)

    def fill_pivots(self, guarded: GuardedQuery, inner: GuardedQuery, parameters: Mapping[str, object]) -> GuardedQuery:
        """A PIVOT without an IN list gets the values that this principal may see, each list from its own query;
        `inner` is the same query as it runs here."""
        if not guarded.pivots:
            return guarded
        from rls.rewrite.pivot import with_pivot_values

        limit = self.limits.columns
        values = []
        for pivot in inner.pivots:
            query = _carried(replace(inner, sql=pivot.sql, splices=(), pivots=(), check=None))
            named = {k: v for k, v in parameters.items() if re.search(rf"\${k}\b", pivot.sql, re.IGNORECASE)}
            rows = self.execute(query, named, fetch="rows").rows or []
            if len(rows) > limit:
                raise QueryFailed("run.columns", f"PIVOT finds more than {limit} values", hint="list them with IN (…)")
            values.append([row[0] for row in rows])
        return _carried(with_pivot_values(guarded, values))


def _carried(query: GuardedQuery) -> GuardedQuery:
    """A query without open lists, in the SQL of the engine that runs it."""
    return query if query.carry is None else query.carry(replace(query, carry=None))


class Turns:
    """Gives turns on an executor. Thread-safe."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._admission = Admission(executor.concurrent)

    @contextlib.contextmanager
    def take(self, principal: Principal, may: Capabilities) -> Iterator[Turn]:
        """Wait for a turn, at most a little longer than any query may run. Raises `QueryFailed` (`run.busy`)."""
        limits = self._executor.limits.narrowed(may.limits)
        with self._admission.enter(
            (principal.issuer, principal.subject),
            most_of_his=limits.per_principal,
            role=may.shared,
            most_of_role=limits.concurrent,
            # By then whoever has a turn now has ended.
            seconds=self._executor.limits.seconds + _GRACE_SECONDS,
        ):
            yield Turn(self._executor, limits)
