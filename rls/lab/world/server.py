"""A server's rows, whoever may see them: asked by the executor that answers users, under policies that hide nothing.

Takes an executor; SQL is DuckDB's, and goes the way that a user's query goes: read, guarded (here every row is shown),
ported, checked, run by the role of the connection. So what the server lacks is refused here by the same names, and what
is compared with a persona's answers came by the same port. What the connection's role cannot read is not there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from rls.catalog import Catalog, Relation
from rls.engines.parameters import parameter_types
from rls.engines.server import ServerExecutor
from rls.errors import QueryFailed, QueryRefused, RlsError
from rls.identity.capabilities import Capabilities
from rls.identity.principal import Principal
from rls.lab.world.raw import RawFailed, Rows, ask_duckdb, used_in
from rls.policy.grant import Grant
from rls.rewrite.templates import Templates

__all__ = ["ServerRows"]

# What a query ends with by what its rows hold: of these an author of policies is told where they arise, and of all
# others (a server that went away, a limit) whoever runs the tool.
_OF_ROWS: Final = frozenset(
    ("run.division_by_zero", "run.failed", "run.invalid_input", "run.out_of_range", "run.subquery_rows", "run.types")
)
_ANYBODY: Final = Principal("lab")


@dataclass(frozen=True)
class _AllRows:
    """Policies (`rls.rewrite.guard.Policies`) of who reads past all policies."""

    version: str = "all rows"
    readable: frozenset[str] = frozenset()

    def grant(self, relation: Relation, principal: Principal, catalog: Catalog) -> Grant | None:  # noqa: ARG002
        # Labels as they are stored: conditions of policies see them so.
        labels = frozenset(column.name for column in relation.columns if column.type.startswith("ENUM("))
        return Grant(relation.label, "always", labels=labels)

    def attribute_parameter(self, name: str) -> str:
        raise KeyError(name)

    def capabilities(self, principal: Principal) -> Capabilities:  # noqa: ARG002
        return Capabilities()


class ServerRows(Rows):
    """All rows of a server's database, as far as the connection's role may read them. The executor is its owner's."""

    scans: ClassVar[bool] = False

    def __init__(self, executor: ServerExecutor) -> None:
        self._executor = executor
        inner = executor.catalog
        self.catalog = inner.attached_as(inner.name).from_schema(("main",))
        self._engine = executor.version
        self._texts = Templates(_AllRows(), inner, for_engine=True, planner=executor.planner, target=executor.target)
        self._keys: Mapping[tuple[str, ...], tuple[str, ...]] | None = None

    def rows(self, sql: str, parameters: Mapping[str, object] | None = None) -> list[tuple[Any, ...]]:
        """See `Rows.rows`. Raises RlsError where it is not the text's or the rows' fault."""
        # A caller's parameters may not have the names of a guard's own.
        given = {re.sub("^rls_", "lab_", name): value for name, value in used_in(sql, parameters).items()}
        text = re.sub(r"\$rls_(?=\w)", "$lab_", sql)
        try:
            guarded = self._texts.guard(text, _ANYBODY, parameter_types(given))
            found = self._executor.execute(guarded, given, fetch="rows")
        except RlsError as error:
            failure = self._told(error)
        else:
            return found.rows or []
        raise failure

    def counts(
        self, relation: Relation, conditions: Sequence[str], parameters: Mapping[str, object] | None = None
    ) -> list[int]:
        """See `Rows.counts`; each by itself, since not every server knows sub-queries inside of an aggregate."""
        source = self.source(relation)
        return [
            int(self.rows(f"SELECT count(*) FROM {source} WHERE {condition}", parameters)[0][0])
            for condition in conditions
        ]

    def equal(self, column: str, type_: str, name: str, value: Any) -> tuple[str, Any]:
        """See `Rows.equal`: DuckDB reads the value, so that it is the same one on every engine."""
        read = ask_duckdb(f"SELECT TRY_CAST($value AS {type_})", {"value": value})
        return f"{column} IS NOT DISTINCT FROM CAST(${name} AS {_bound_as(type_)})", read

    def primary_keys(self) -> Mapping[tuple[str, ...], tuple[str, ...]]:
        """See `Rows.primary_keys`."""
        if self._keys is None:
            self._keys = self._executor.primary_keys()
        return self._keys

    def close(self) -> None:
        """See `Rows.close`; the executor is its owner's to close."""

    def _told(self, error: RlsError) -> Exception:
        """The error as its hearer should have it."""
        if isinstance(error, QueryRefused) or (isinstance(error, QueryFailed) and error.code in _OF_ROWS):
            return RawFailed(f"{self._engine}: `{error.code}`, {error}", refused=isinstance(error, QueryRefused))
        return error


def _bound_as(type_: str) -> str:
    return "VARCHAR" if type_.startswith("ENUM(") else type_
