"""What one engine and one query may use at most. A value object; who enforces a limit says so beside the field."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache

from rls.errors import EngineInvalid

__all__ = ["Limits"]

# Nothing may be spilled, and nothing copied: these may be none.
_MAY_BE_NONE = frozenset(("temporary_disk",))


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds, all of them finite: there is no value that means "without limit". Roles may have lower ones of those
    that are marked with *.

    seconds*        run time of one query, fetching included; a query waits a little longer than the engine's for its
                    turn
    rows*           rows of one result; a result with more is refused, never cut
    columns*        columns of one result, and values that a PIVOT may turn into columns
    memory*         bytes DuckDB may use for all queries of the engine together (it does not count everything; worker
                    processes bound what it forgets), and bytes of one Arrow result. A role's is for one query, and
                    holds where queries run in worker processes; elsewhere for Arrow results only
    temporary_disk* bytes of temporary files for all queries together, where a query needs more than memory (a large
                    sort); 0: none. A role's is for one query, in worker processes
    copies          bytes of memory for copies of permitted rows (relations that are `strict`, and slices)
    text*           characters of one query
    parameters*     values a caller may bind in one query, the items of lists counted
    list_items*     items of one list or map in a result
    nesting*        levels of brackets and CASE in a query (150 at most), and of lists and structs in a result's types
    threads         threads DuckDB runs queries on, for all queries together
    concurrent*     queries that run at once; more wait. A role's is for all its principals together
    per_principal*  queries of one principal that run at once. Of those who wait, whose last turn is longest ago is
                    next; with fewer than all places there is always one for somebody else
    processes       worker processes, where queries run in such; each gets its share of `memory`, `temporary_disk` and
                    `copies`, and one query at a time
    """

    seconds: float = 30.0
    rows: int = 1_000_000
    columns: int = 2_000
    memory: int = 4 << 30
    temporary_disk: int = 4 << 30
    copies: int = 1 << 30
    text: int = 250_000
    parameters: int = 10_000
    list_items: int = 1_000_000
    nesting: int = 150
    threads: int = field(default_factory=lambda: os.cpu_count() or 1)
    concurrent: int = 16
    per_principal: int = 16
    processes: int = 2

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            wanted = (int, float) if each.name == "seconds" else (int,)
            least = 0 if each.name in _MAY_BE_NONE else 1e-9
            if type(value) not in wanted or not least <= value < float("inf"):
                kind = "number of seconds" if each.name == "seconds" else "whole number"
                raise EngineInvalid(
                    "engine.limits", f"the limit `{each.name}` is not a positive {kind}", hint="every limit is finite"
                )

    def narrowed(self, limits: Mapping[str, int | float]) -> Limits:
        """These limits, and of each the lower one where `limits` has one too: a role's never widen an engine's.

        >>> Limits(rows=10, seconds=5).narrowed({"rows": 20, "seconds": 1}).rows
        10
        """
        # Several times per query, and there are few roles.
        return _narrowed(self, tuple(sorted(limits.items()))) if limits else self

    def shared_by(self, processes: int) -> Limits:
        """What one of so many processes may use."""
        return replace(
            self,
            memory=max(1 << 20, self.memory // processes),
            temporary_disk=self.temporary_disk // processes,
            copies=max(1, self.copies // processes),
            concurrent=1,
        )


@lru_cache(maxsize=256)
def _narrowed(limits: Limits, lower: tuple[tuple[str, int | float], ...]) -> Limits:
    return replace(limits, **{name: min(value, getattr(limits, name)) for name, value in lower})
