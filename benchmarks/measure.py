"""Callables → their times, measured so that a busy machine disturbs the comparison least.

The alternatives of a case run in turn, round after round, in alternating order, and ratios are of the fastest of each:
noise only ever adds. CPU time is compared, not wall time: other programs change it less.
"""

from __future__ import annotations

import gc
import math
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

__all__ = ["Measurement", "Timing", "cpu_with_children", "run_process", "time_in_turn"]

# A call that is quicker than this is made several times for one sample, since reading the clocks costs about 1 µs.
_SAMPLE_MS = 0.3
_MOST_CALLS = 2_000


@dataclass(frozen=True, slots=True)
class Timing:
    """Samples of one alternative, in milliseconds per call, sorted; `cpu` and `wall` of the same calls."""

    cpu: tuple[float, ...]
    wall: tuple[float, ...]

    @property
    def least(self) -> float:
        """The fastest sample's CPU time."""
        return self.cpu[0]

    def at(self, share: float) -> float:
        """The CPU time that this share of the samples does not exceed: 0.5 is the median.

        >>> Timing((1.0, 2.0, 3.0), (1.0, 2.0, 3.0)).at(0.5)
        2.0
        """
        return self.cpu[max(0, math.ceil(share * len(self.cpu)) - 1)]


@dataclass(frozen=True, slots=True)
class Measurement:
    """One line of the report: what was measured, beside its floor in the same rounds.

    Times are milliseconds per call: `cpu` and `floor_cpu` the fastest sample's, `median`, `p95`, `p99` of all samples'
    CPU, `wall` the median by the clock on the wall. `size` is the place in a series (characters, rows, threads).
    `checked` says what was compared before the time counted.
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
    ) -> Measurement:
        """The line for `what` beside `floor`, both among timings of the same rounds."""
        one = timings[what]
        tail = (one.least, one.at(0.5), one.at(0.95), one.at(0.99), one.wall[(len(one.wall) - 1) // 2])
        return cls(group, case, what, *tail, floor, timings[floor].least, size, checked)

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


def time_in_turn(
    alternatives: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    seconds: float = math.inf,
    clock: Callable[[], float] = time.process_time,
    elsewhere: Mapping[str, Callable[[], tuple[float, float]]] = MappingProxyType({}),
) -> dict[str, Timing]:
    """Times of each alternative: one call to warm up, then `rounds` samples, fewer once `seconds` have passed.

    `clock` gives seconds of CPU. What is `elsewhere` runs in another process, which measures (CPU, wall) milliseconds
    itself.
    """
    calls: dict[str, Callable[[], tuple[float, float]]] = {
        **{name: partial(_sample, call, _warm_up(call), clock) for name, call in alternatives.items()},
        **elsewhere,
    }
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    names = list(calls)
    end = time.perf_counter() + seconds
    gc.collect()
    gc.disable()
    try:
        for number in range(rounds):
            for name in names if number % 2 == 0 else reversed(names):
                samples[name].append(calls[name]())
            if time.perf_counter() > end:
                break
    finally:
        gc.enable()
    return {name: Timing(*(tuple(sorted(times)) for times in zip(*samples[name], strict=True))) for name in names}


def run_process(arguments: Sequence[str]) -> None:
    """A fresh Python process with these arguments; raises CalledProcessError when it fails."""
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)


def cpu_with_children() -> float:
    """Seconds of CPU of this process, of its children that ended, and (on Linux) of those that still run."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime + sum(map(_cpu_of, _children()))


def _sample(call: Callable[[], object], times: int, clock: Callable[[], float]) -> tuple[float, float]:
    repeats = range(times)
    began, started = clock(), time.perf_counter()
    for _ in repeats:
        call()
    ended, stopped = clock(), time.perf_counter()
    return (ended - began) * 1000 / times, (stopped - started) * 1000 / times


def _warm_up(call: Callable[[], object]) -> int:
    """Calls until the caches are warm, uncounted; returns how many calls make a sample."""
    for _ in range(2):
        started = time.perf_counter()
        call()
        taken = (time.perf_counter() - started) * 1000
        if taken > _SAMPLE_MS:
            return 1
    return max(1, min(_MOST_CALLS, round(_SAMPLE_MS / max(taken, 1e-6))))


def _children() -> list[int]:
    tasks = Path("/proc/self/task")
    if not tasks.is_dir():
        return []
    return [int(pid) for task in tasks.iterdir() for pid in (task / "children").read_text().split()]


def _cpu_of(pid: int) -> float:
    # Linux's clock of another process's CPU time (clock_getcpuclockid(3)), to the microsecond; /proc counts in 10 ms.
    return time.clock_gettime(~pid << 3 | 2)
