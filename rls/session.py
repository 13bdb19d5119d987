"""One verified token's queries, each through its engine's one way in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rls.engines.base import Dialect, Fetch
from rls.explanation import Explanation
from rls.identity.principal import Principal
from rls.result import Result
from rls.rewrite.guarded import GuardedQuery

if TYPE_CHECKING:
    from rls.engine import Engine
    from rls.identity.capabilities import Capabilities
    from rls.way_in import State

__all__ = ["Session"]


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

    def query(
        self,
        sql: str,
        parameters: Mapping[str, object] | None = None,
        *,
        fetch: Fetch = "rows",
        dialect: Dialect = "duckdb",
    ) -> Result:
        """See `Engine.query`."""
        return self._engine._query(self._admission.token, self._who, sql, parameters or {}, fetch, dialect=dialect)

    def guard(
        self, sql: str, parameters: Mapping[str, object] | None = None, *, dialect: Dialect = "duckdb"
    ) -> GuardedQuery:
        """See `Engine.guard`."""
        return self._engine._guard_for(self._admission.token, self._who, sql, parameters or {}, dialect=dialect)

    def explain(self, sql: str, *, dialect: Dialect = "duckdb") -> Explanation:
        """See `Engine.explain`."""
        return self._engine._explain_for(self._admission.token, self._who, sql, dialect=dialect)

    def _who(self, _: object, state: State) -> Principal:
        return self._engine._resume(self._admission, state)
