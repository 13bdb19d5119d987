"""What it costs to begin: importing the library and asking for help, beside an interpreter that does nothing."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from benchmarks.measure import Measurement, run_process, time_in_turn

__all__ = ["measure_imports"]

FLOOR = "python -c pass"
PROCESSES = {
    FLOOR: ["-c", "pass"],
    "import rls": ["-c", "import rls"],
    "import click": ["-c", "import click"],
    "rls --help": ["-m", "rls", "--help"],
    "import rls.engine": ["-c", "import rls.engine"],
}


def measure_imports(*, rounds: int) -> Iterator[Measurement]:
    """Each in a fresh process; `import click` is there because `rls --help` cannot be quicker than that."""
    best = time_in_turn({name: partial(run_process, args) for name, args in PROCESSES.items()}, rounds=rounds)
    for name, (cpu, wall) in best.items():
        if name != FLOOR:
            yield Measurement("start", name, "process", cpu, wall, FLOOR, best[FLOOR][0])
