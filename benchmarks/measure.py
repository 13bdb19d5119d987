"""Timings → the lines of a run; and clocks and processes that only benchmarks need."""

from __future__ import annotations

import contextlib
import math
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from rls.lab.timing import Timing, time_in_turn, time_once

__all__ = ["Measurement", "Timing", "cpu_with_children", "run_process", "time_in_turn", "time_once"]


@dataclass(frozen=True, slots=True)
class Measurement:
    """One line of the report: what was measured, beside its floor in the same rounds.

    Times are milliseconds per call: `cpu` and `floor_cpu` are those compared (mostly the fastest sample's), `median`,
    `p95`, `p99` of all samples' CPU, `wall` the median by the clock on the wall. `size` is the place in a series
    (characters, rows, threads). `checked` says what was compared before the time counted.
    """

    group: str
    case: str
    what: str
    cpu: float
    median: float
    p95: float
    p99: float
    wall: float
    floor: str
    floor_cpu: float
    size: float | None = None
    checked: str = ""

    @classmethod
    def of(
        cls,
        group: str,
        case: str,
        timings: Mapping[str, Timing],
        *,
        what: str,
        floor: str,
        size: float | None = None,
        checked: str = "",
        share: float = 0.0,
    ) -> Measurement:
        """The line for `what` beside `floor`, both among timings of the same rounds.

        `share` says which samples are compared: 0, the fastest, where samples differ by noise only; 0.5, the medians,
        where they differ by nature, as those of a cache that may be hit or not.
        """
        one = timings[what]
        tail = (one.at(share), one.at(0.5), one.at(0.95), one.at(0.99), one.wall[(len(one.wall) - 1) // 2])
        return cls(group, case, what, *tail, floor, timings[floor].at(share), size, checked)

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> Measurement:
        """What `to_dict` gave."""
        return cls(**{f.name: entry[f.name] for f in fields(cls)})

    @property
    def key(self) -> tuple[str, str, str, str, float | None]:
        """What it is a measurement of: the same in every run."""
        return self.group, self.case, self.what, self.floor, self.size

    @property
    def ratio(self) -> float:
        """How many times the floor."""
        return self.cpu / self.floor_cpu if self.floor_cpu else math.inf

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        rounded = {k: float(f"{v:.6g}") if isinstance(v, float) else v for k, v in asdict(self).items()}
        return {**rounded, "ratio": float(f"{self.ratio:.5g}")}


def run_process(arguments: Sequence[str]) -> None:
    """A fresh Python process with these arguments; raises CalledProcessError when it fails."""
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)


def cpu_with_children() -> float:
    """Seconds of CPU of this process, of its children that ended, and (on Linux) of those that still run."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime + sum(map(_cpu_of, _children()))


def _children() -> list[int]:
    tasks = Path("/proc/self/task")
    if not tasks.is_dir():
        return []
    found: list[int] = []
    for task in tasks.iterdir():
        # A thread may end while its directory is read.
        with contextlib.suppress(OSError):
            found += map(int, (task / "children").read_text().split())
    return found


def _cpu_of(pid: int) -> float:
    # Linux's clock of another process's CPU time (clock_getcpuclockid(3)), to the microsecond; /proc counts in 10 ms.
    with contextlib.suppress(OSError):
        return time.clock_gettime(~pid << 3 | 2)
    return 0.0  # it has just ended
