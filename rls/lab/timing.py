"""Callables → their times, measured so that a busy machine disturbs the comparison least.

The alternatives run in turn, round after round, in alternating order, and ratios are of the fastest of each: noise only
ever adds. CPU time is compared, not wall time: other programs change it less.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

__all__ = ["Timing", "time_in_turn", "time_once"]

# A call that is quicker than this is made several times for one sample, since reading the clocks costs about 1 µs.
_SAMPLE_MS = 0.3
_MOST_CALLS = 2_000
# Before a sample of a call that is quicker than this, there is one that does not count: else what runs after its like
# would find the machine's caches warm, and what runs after something else would not.
_SLOW_MS = 10.0


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


def time_in_turn(
    alternatives: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    seconds: float = math.inf,
    clock: Callable[[], float] = time.process_time,
    elsewhere: Mapping[str, Callable[[], tuple[float, float]]] = MappingProxyType({}),
) -> dict[str, Timing]:
    """Times of each alternative: one call to warm up, then `rounds` samples, fewer once `seconds` have passed.

    `clock` gives seconds of CPU. What is `elsewhere` measures itself and returns (CPU, wall) milliseconds: it runs in
    another process, or prepares each call.
    """
    calls: dict[str, Callable[[], tuple[float, float]]] = {
        **{name: partial(_sample, call, clock, *_warm_up(call)) for name, call in alternatives.items()},
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


def time_once(call: Callable[[], object]) -> tuple[float, float]:
    """(CPU, wall) milliseconds of one call, without a warm-up."""
    return _sample(call, time.process_time, 0, 1)


def _sample(call: Callable[[], object], clock: Callable[[], float], uncounted: int, times: int) -> tuple[float, float]:
    for _ in range(uncounted):
        call()
    repeats = range(times)
    began, started = clock(), time.perf_counter()
    for _ in repeats:
        call()
    ended, stopped = clock(), time.perf_counter()
    return (ended - began) * 1000 / times, (stopped - started) * 1000 / times


def _warm_up(call: Callable[[], object]) -> tuple[int, int]:
    """Calls until the caches are warm, uncounted; returns how many come before a sample, and how many make one."""
    taken = math.inf
    for _ in range(2):
        started = time.perf_counter()
        call()
        taken = (time.perf_counter() - started) * 1000
        if taken > _SAMPLE_MS:
            return int(taken < _SLOW_MS), 1
    return 1, max(1, min(_MOST_CALLS, round(_SAMPLE_MS / max(taken, 1e-6))))
