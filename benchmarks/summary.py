"""Measurements → one line per kind of them: how many cases, the mean of their ratios, the worst, the tail.

Cases that belong together have a name that begins alike, up to a colon (`tpch: q01`). The mean of ratios is geometric.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import geometric_mean, median
from typing import Any

from benchmarks.groups.growth import exponent
from benchmarks.measure import Measurement

__all__ = ["SERIES", "Line", "summarise"]

# Groups whose cases are series.
SERIES = ("growth", "principals")


@dataclass(frozen=True, slots=True)
class Line:
    """`suite` is what the cases' names begin with ("" if nothing). Times in milliseconds: the median case's median,
    the largest p99. `exponent` is None where nothing grows (see `growth.exponent`)."""

    group: str
    suite: str
    what: str
    floor: str
    cases: int
    median: float
    p99: float
    mean: float
    worst: float
    worst_case: str
    exponent: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {name: getattr(self, name) for name in self.__slots__}


def summarise(measurements: Iterable[Measurement]) -> list[Line]:
    """One line for each (group, suite, what, floor), in the order of the measurements."""
    kinds: dict[tuple[str, str, str, str], list[Measurement]] = {}
    for one in measurements:
        suite = one.case.partition(": ")[0] if ": " in one.case else one.case if one.size is not None else ""
        kinds.setdefault((one.group, "" if one.group == "throughput" else suite, one.what, one.floor), []).append(one)
    return [_line(kind, found) for kind, found in kinds.items()]


def _line(kind: tuple[str, str, str, str], found: Sequence[Measurement]) -> Line:
    worst = max(found, key=lambda m: m.ratio)
    grows = [(m.size, m.cpu) for m in found if m.size is not None]
    return Line(
        *kind,
        cases=len(found),
        median=median(m.median for m in found),
        p99=max(m.p99 for m in found),
        mean=geometric_mean(m.ratio for m in found),
        worst=worst.ratio,
        worst_case=worst.case.partition(": ")[2] or worst.case,
        exponent=exponent(grows) if len(grows) > 1 and kind[0] in SERIES else None,
    )
