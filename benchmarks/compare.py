"""Two runs → how the ratios of what both measured have changed. Ratios only, so the runs may be of two machines."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import geometric_mean
from typing import Any

from benchmarks.measure import Measurement
from benchmarks.suite import Run

__all__ = ["Change", "Comparison", "compare_runs"]


@dataclass(frozen=True, slots=True)
class Change:
    """`factor` is the later ratio over the earlier: below 1 is faster."""

    group: str
    case: str
    what: str
    floor: str
    before: float
    after: float

    @property
    def factor(self) -> float:
        return self.after / self.before

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**{name: getattr(self, name) for name in self.__slots__}, "factor": float(f"{self.factor:.5g}")}


@dataclass(frozen=True)
class Comparison:
    """Changes of single measurements, and their geometric mean by (group, what, floor); what only one run has."""

    changes: list[Change]
    only_before: int
    only_after: int

    def means(self) -> dict[tuple[str, str, str], float]:
        """The mean factor of each kind of measurement."""
        kinds: dict[tuple[str, str, str], list[float]] = {}
        for one in self.changes:
            kinds.setdefault((one.group, one.what, one.floor), []).append(one.factor)
        return {kind: geometric_mean(factors) for kind, factors in kinds.items()}

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        means = [
            {"group": group, "what": what, "floor": floor, "factor": float(f"{factor:.5g}")}
            for (group, what, floor), factor in self.means().items()
        ]
        changes = [one.to_dict() for one in self.changes]
        return {"means": means, "only_before": self.only_before, "only_after": self.only_after, "changes": changes}


def compare_runs(before: Run, after: Run) -> Comparison:
    """What both measured, in the order of the later run."""
    earlier = {m.key: m for m in before.measurements}
    both = [(earlier[m.key], m) for m in after.measurements if m.key in earlier]
    changes = [_change(old, new) for old, new in both]
    return Comparison(changes, len(before.measurements) - len(both), len(after.measurements) - len(both))


def _change(old: Measurement, new: Measurement) -> Change:
    case = new.case if new.size is None else f"{new.case} {new.size:,.0f}"
    return Change(new.group, case, new.what, new.floor, old.ratio, new.ratio)
