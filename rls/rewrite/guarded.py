"""What the rewrite hands to an engine: the final text, its parameters, and the reasons. A value object."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

from rls.catalog import Column, Relation
from rls.policy.grant import Grant

__all__ = ["FENCED", "NO_TIME", "TOO_SLOW", "Barrier", "Copy", "Guard", "GuardedQuery", "PivotValues", "Splice"]


@dataclass(frozen=True, slots=True)
class Splice:
    """`text` stands in the final text instead of characters `start:end` of the caller's text."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Guard:
    """One guard of a text: its relation and grant, the caller's own conditions that are copied below its fence,
    whether there is a fence, and whether its columns are shown without the dictionary they are stored with (`cheap`
    says when)."""

    relation: Relation
    grant: Grant
    conjuncts: tuple[str, ...] = ()
    fenced: bool = True
    flat: bool = False


@dataclass(frozen=True, slots=True)
class Barrier:
    """How a text is kept from observing hidden rows.

    fenced           whether its guards hold a fence
    hide_statistics  whether DuckDB must not look at stored extremes while it runs the text
    reason           why it is fenced, in a few words for people; "" where it is not
    conjuncts        number of a guard in the text → the caller's own conditions that stand below its fence
    """

    fenced: bool
    hide_statistics: bool
    reason: str = ""
    conjuncts: Mapping[int, tuple[str, ...]] = field(default_factory=dict)


NO_TIME: Final = "nobody had time to look whether the fence may go"
TOO_SLOW: Final = "looking whether the fence may go took too long"
FENCED: Final = Barrier(fenced=True, hide_statistics=True, reason="nothing showed that the fence may go")


@dataclass(frozen=True, slots=True)
class PivotValues:
    """`PIVOT … ON expression` without an IN list makes a column per value: `sql` is the guarded query that lists the
    values, `parameters` the names it binds, `start:end` the place in the final text that takes them as string
    literals, `statement` the span of the whole PIVOT there."""

    sql: str
    parameters: tuple[str, ...]
    start: int
    end: int
    statement: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Copy:
    """The permitted rows of a grant as a table of the engine's own, to be read instead of the guards that show them.

    `guards` are the guards' texts, as they stand in the query; `name` is the relation's. `rows` is the sub-query that
    fills the table, `values` what it binds. `key` holds everything that decides on its rows but the data; a copy that
    is `strict` must be read, another one may be; one that holds `once` is for this query only. `version` is the
    policies'.
    """

    key: str
    name: str
    guards: tuple[str, ...]
    rows: str
    values: Mapping[str, object]
    strict: bool
    once: bool
    version: str


@dataclass(frozen=True)
class GuardedQuery:
    """A query that can only see what its principal may see.

    `sql` and `parameters` (name without `$` → value) are ready for a DuckDB connection over the same catalog; nothing
    of them is for the caller's eyes. `original` is the caller's text, `splices` how one became the other (sorted by
    start). `grants` maps each relation's label to its grant. `fingerprint` is the only safe key for a result cache, of
    those answers that are `cacheable`.
    `hide_statistics`: it must run with DuckDB's optimizer `statistics_propagation` disabled, since that one would run
    a function of the query on stored extremes of hidden rows (`reads_statistics`: such a function stands in it,
    whatever else does). `fence_reason`: why the guards hold a fence, in a few words for people; "" where they hold
    none, since nothing in the query could tell of a hidden row.
    `guards` lists every guard in the text. `near`: it was made for another text with the same tokens but for bound
    literals. On the engine, `original`, `splices` and all positions are that text's; where the query is handed out,
    `original` is the caller's own and there are no `splices`.
    `dialect`: the engine whose SQL it is. For another one than DuckDB, `binds` are the names of the parameters that
    stand as `$1`, `$2`, … in `sql`, and `columns` the names and types (DuckDB's) that the answer must have.
    `bounds`: limits of the principal's roles on what an answer may hold, which an engine keeps.
    `pivots` is empty unless the text has a PIVOT whose columns come from data: then `sql` holds placeholders until
    `with_pivot_values` has filled them; `check` verifies such a filled text. Until then it is DuckDB's SQL also where
    it will run on another engine; `carry` makes that engine's of it, and of what lists the values. `lasts` is what
    `cacheable` asks.
    """

    sql: str
    parameters: Mapping[str, object]
    original: str
    grants: Mapping[str, Grant]
    splices: tuple[Splice, ...] = ()
    dialect: str = "duckdb"
    policy_version: str = ""
    catalog_version: str = ""
    attributes_read: tuple[str, ...] = ()
    hide_statistics: bool = False
    reads_statistics: bool = False
    fence_reason: str = ""
    pivots: tuple[PivotValues, ...] = ()
    guards: tuple[Guard, ...] = ()
    near: bool = False
    columns: tuple[Column, ...] = ()
    binds: tuple[str, ...] = ()
    bounds: tuple[tuple[str, int | float], ...] = ()
    check: Callable[[str], object] | None = field(default=None, compare=False, repr=False)
    carry: Callable[[GuardedQuery], GuardedQuery] | None = field(default=None, compare=False, repr=False)
    lasts: Callable[[Mapping[str, object]], bool] | None = field(default=None, compare=False, repr=False)

    @cached_property
    def fingerprint(self) -> str:
        """Everything that decided this query and its answer but the data, as one value.

        Equal fingerprints and equal data give equal answers for any two principals, where the query is `cacheable`; of
        a query that leaves its answer open (`LIMIT` without an order) an answer that it allows. On connections of one
        time zone and one version of DuckDB: who keeps answers for longer puts those into the key as well.
        """
        values = sorted((name, type(value).__name__, repr(value)) for name, value in self.parameters.items())
        decided = [self.sql, self.dialect, values, self.hide_statistics, self.bounds, self.policy_version]
        return hashlib.sha256(json.dumps([*decided, self.catalog_version]).encode()).hexdigest()

    @cached_property
    def cacheable(self) -> bool:
        """Whether an answer may be kept under `fingerprint` for as long as the data is the same.

        Not where the text, a policy or a view asks for the time or a random number, and not where the caller's text
        has a parameter that no value was given for: ask `guard` with the values.
        """
        return self.lasts is not None and not self.pivots and self.lasts(self.parameters)

    def with_grants(
        self,
        grants: Mapping[str, Grant],
        guards: tuple[Guard, ...],
        parameters: Mapping[str, object],
        *,
        bounds: tuple[tuple[str, int | float], ...],
        near: bool,
    ) -> GuardedQuery:
        """The same text for another principal of the same shape, or (`near`) for other literals."""
        found = object.__new__(GuardedQuery)
        # `dataclasses.replace` sets all fields one by one: most of what a warm query would cost.
        vars(found).update(vars(self), grants=grants, guards=guards, parameters=parameters, bounds=bounds, near=near)
        for computed in ("fingerprint", "cacheable", "reads_strict", "without_policies"):
            vars(found).pop(computed, None)
        return found

    @cached_property
    def reads_strict(self) -> bool:
        """Whether a relation of it is `strict` for this principal."""
        return any(one.grant.strict for one in self.guards)

    @cached_property
    def without_policies(self) -> GuardedQuery:
        """The same query without the names and reasons of policies, for principals that may not read them."""
        grants = {label: grant.without_policies() for label, grant in self.grants.items()}
        return replace(self, grants=grants, guards=())
