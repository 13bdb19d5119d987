"""What a run of the suite was asked for, and what it cannot do. Value objects."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Options", "Unavailable"]


class Unavailable(Exception):
    """A group cannot be measured here; the message says what is missing."""


@dataclass(frozen=True)
class Options:
    """`directory` keeps databases and peers between runs; `rounds` are samples per alternative, fewer where a case has
    taken `seconds`. `scale` is the warehouse's (1 is 10 million events), `tpch_scale` TPC-H's. `wanted` picks cases by
    a part of their name. `largest` bounds the sizes of series, `principals` how many ask. `skipped` collects what could
    not be measured, and why.
    """

    directory: Path
    rounds: int = 15
    seconds: float = 20.0
    scale: float = 0.01
    tpch_scale: float = 1.0
    wanted: tuple[str, ...] = ()
    largest: int = 1_000_000
    principals: int = 100_000
    skipped: list[str] = field(default_factory=list)
