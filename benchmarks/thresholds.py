"""A run and `thresholds.toml` → what holds, what is missed, and what this run did not measure."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from statistics import geometric_mean
from typing import Any, Literal

from benchmarks.groups.growth import exponent
from benchmarks.measure import Measurement

__all__ = ["FILE", "Threshold", "Verdict", "check_thresholds", "load_thresholds"]

FILE = Path(__file__).with_name("thresholds.toml")


@dataclass(frozen=True)
class Threshold:
    """`at_most` bounds a statistic of the ratios (or the exponent) of all measurements that fit the patterns."""

    name: str
    group: str
    statistic: Literal["mean", "loss", "worst", "exponent"]
    at_most: float
    cases: str = "*"
    what: str = "*"
    floor: str = "*"

    def fits(self, one: Measurement) -> bool:
        """Whether the measurement is one that this is about."""
        wanted = ((one.case, self.cases), (one.what, self.what), (one.floor, self.floor))
        return one.group == self.group and all(fnmatchcase(name, pattern) for name, pattern in wanted)


@dataclass(frozen=True)
class Verdict:
    """`found` is None where the run has nothing to say; `worst_case` is the one that weighs most."""

    threshold: Threshold
    found: float | None
    worst_case: str = ""

    @property
    def state(self) -> Literal["holds", "missed", "not measured"]:
        if self.found is None:
            return "not measured"
        return "holds" if self.found <= self.threshold.at_most else "missed"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        one = self.threshold
        return {
            "name": one.name,
            "state": self.state,
            "found": self.found,
            "at_most": one.at_most,
            "worst": self.worst_case,
        }


def load_thresholds(file: Path = FILE) -> list[Threshold]:
    """The thresholds, in the order of the file."""
    return [Threshold(**entry) for entry in tomllib.loads(file.read_text(encoding="utf-8"))["threshold"]]


def check_thresholds(measurements: Iterable[Measurement], thresholds: Iterable[Threshold]) -> list[Verdict]:
    """A verdict on each. Where several floors fit (each peer), the worst of them counts."""
    found = list(measurements)
    return [_judge(one, [m for m in found if one.fits(m)]) for one in thresholds]


def _judge(threshold: Threshold, found: list[Measurement]) -> Verdict:
    if not found:
        return Verdict(threshold, None)
    worst = max(found, key=lambda m: m.ratio)
    match threshold.statistic:
        case "worst":
            return Verdict(threshold, worst.ratio, worst.case)
        case "mean":
            floors = {m.floor for m in found}
            means = {floor: geometric_mean(m.ratio for m in found if m.floor == floor) for floor in floors}
            return Verdict(threshold, max(means.values()), worst.case)
        case "loss":
            return Verdict(threshold, geometric_mean(max(m.ratio, 1.0) for m in found), worst.case)
        case "exponent":
            points = [(m.size, m.cpu) for m in found if m.size is not None]
            return Verdict(threshold, exponent(points) if len(points) > 1 else None, f"{max(points)[0]:,.0f}")
