"""What one engine and one query may use at most. A value object; who enforces a limit says so beside the field."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields

from rls.errors import EngineInvalid

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds, all of them finite and positive: there is no value that means "without limit".

    seconds     run time of one query, fetching included; also how long a query waits for a free slot
    rows        rows of one result; a result with more is refused, never cut
    columns     columns of one result, and values that a PIVOT may turn into columns
    memory      bytes DuckDB may use for all queries of the engine together (it does not count everything; worker
                processes bound what it forgets), and bytes of one Arrow result
    text        characters of one query
    parameters  values a caller may bind in one query, the items of lists counted
    threads     threads DuckDB runs queries on, for all queries together
    concurrent  queries that run at once; more wait
    processes   worker processes, where queries run in such; each gets its share of `memory`, and one query at a time
    """

    seconds: float = 30.0
    rows: int = 1_000_000
    columns: int = 2_000
    memory: int = 4 << 30
    text: int = 250_000
    parameters: int = 10_000
    threads: int = field(default_factory=lambda: os.cpu_count() or 1)
    concurrent: int = 16
    processes: int = 2

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            wanted = (int, float) if each.name == "seconds" else (int,)
            if type(value) not in wanted or not 0 < value < float("inf"):
                kind = "number of seconds" if each.name == "seconds" else "whole number"
                raise EngineInvalid(
                    "engine.limits", f"the limit `{each.name}` is not a positive {kind}", hint="every limit is finite"
                )
