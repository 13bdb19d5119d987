"""Callables → their times, measured so that a busy machine disturbs the comparison least.

The alternatives of a case run in turn, round after round, and the fastest of each counts: noise only ever adds.
CPU time is compared, not wall time: other programs change it less.
"""

from __future__ import annotations

import gc
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Measurement", "run_process", "time_in_turn"]


@dataclass(frozen=True, slots=True)
class Measurement:
    """One line of the report: what was measured beside its floor. Times in milliseconds of CPU; `wall` beside.

    `checked` says what was compared before the time counted.
    """

    group: str
    case: str
    what: str
    cpu: float
    wall: float
    floor: str
    floor_cpu: float
    checked: str = ""

    @property
    def ratio(self) -> float:
        """How many times the floor."""
        return self.cpu / self.floor_cpu if self.floor_cpu else float("inf")

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**asdict(self), "ratio": round(self.ratio, 3)}


def time_in_turn(alternatives: Mapping[str, Callable[[], object]], *, rounds: int) -> dict[str, tuple[float, float]]:
    """The least (CPU, wall) milliseconds of each alternative in `rounds` rounds; CPU of child processes counts."""
    best = dict.fromkeys(alternatives, (float("inf"), float("inf")))
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            for name, call in alternatives.items():
                cpu, wall = _cpu(), time.perf_counter()
                call()
                taken = ((_cpu() - cpu) * 1000, (time.perf_counter() - wall) * 1000)
                best[name] = (min(best[name][0], taken[0]), min(best[name][1], taken[1]))
    finally:
        gc.enable()
    return best


def run_process(arguments: Sequence[str]) -> None:
    """A fresh Python process with these arguments; raises CalledProcessError when it fails."""
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)


def _cpu() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime
