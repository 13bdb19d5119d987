"""What it costs to begin: importing the library and asking for help, beside an interpreter that does nothing."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from benchmarks.measure import Measurement, cpu_with_children, run_process, time_in_turn
from benchmarks.options import Options

__all__ = ["measure_start"]

NOTHING, CLICK = "python -c pass", "import click"
LEAST = 7  # rounds
PROCESSES = {
    NOTHING: ["-c", "pass"],
    CLICK: ["-c", "import click"],
    "import rls": ["-c", "import rls"],
    "rls --help": ["-m", "rls", "--help"],
    "import rls.engine": ["-c", "import rls.engine"],
}


def measure_start(options: Options) -> Iterator[Measurement]:
    """Each in a fresh process. `rls --help` is compared with `import click`, since it cannot be quicker than that."""
    calls = {name: partial(run_process, args) for name, args in PROCESSES.items()}
    # A process is disturbed by others far more than a call: the fastest of two says nothing.
    rounds = max(options.rounds, LEAST)
    timings = time_in_turn(calls, rounds=rounds, seconds=options.seconds, clock=cpu_with_children)
    for name in PROCESSES:
        if name != NOTHING:
            floor = CLICK if name == "rls --help" else NOTHING
            both = {"process": timings[name], floor: timings[floor]}
            yield Measurement.of("start", name, both, what="process", floor=floor)
