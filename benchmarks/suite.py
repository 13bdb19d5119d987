"""Names of groups → their measurements, in order, as one run that can be kept as JSON.

A group that cannot be measured here (nothing installed that makes its data) is skipped and says so; a wrong answer ends
the run.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import sqlglot

from benchmarks.groups.audit import measure_audit
from benchmarks.groups.barrier import measure_barrier, measure_lookups
from benchmarks.groups.growth import measure_growth
from benchmarks.groups.isolation import measure_isolation
from benchmarks.groups.lab import measure_lab
from benchmarks.groups.policies import measure_policies
from benchmarks.groups.postgres import measure_postgres
from benchmarks.groups.principals import measure_principals
from benchmarks.groups.rewrite import measure_rewrite
from benchmarks.groups.run import measure_run
from benchmarks.groups.start import measure_start
from benchmarks.groups.throughput import measure_throughput
from benchmarks.groups.token import measure_token
from benchmarks.measure import Measurement
from benchmarks.options import Options, Unavailable

__all__ = ["GROUPS", "Run", "measure_all", "read_run"]

# name → (title, what measures it)
GROUPS: dict[str, tuple[str, Callable[[Options], Iterator[Measurement]]]] = {
    "start": ("Starting, in a fresh process", measure_start),
    "token": ("Verifying a token", measure_token),
    "rewrite": ("Guarding a query text", measure_rewrite),
    "policies": ("Many policies", measure_policies),
    "principals": ("Many principals, and long lists in their tokens", measure_principals),
    "lab": ("Policy tools at scale: who sees how much, and what a change changes", measure_lab),
    "barrier": ("Guarded text beside the hand-written filter: TPC-H", measure_barrier),
    "lookups": ("Guarded text beside the hand-written filter: point look-ups and key ranges", measure_lookups),
    "run": ("From token to rows, on the warehouse", measure_run),
    "isolation": ("Guarded text to rows, in a thread and in a process", measure_isolation),
    "audit": ("Keeping an audit record", measure_audit),
    "throughput": ("Many users at once", measure_throughput),
    "postgres": (
        "Beside PostgreSQL's own row security: TPC-H, one thread each, wall time",
        measure_postgres,
    ),
    "growth": ("How costs grow", measure_growth),
}


@dataclass
class Run:
    """One run: where it ran, what was asked for, what was measured, and what could not be."""

    about: dict[str, Any]
    measurements: list[Measurement] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def to_json(self) -> str:
        """For `compare`, `check` and `report`."""
        document = {**self.about, "skipped": self.skipped, "measurements": [m.to_dict() for m in self.measurements]}
        return json.dumps(document, indent=1)


def read_run(path: Path) -> Run:
    """What `to_json` wrote. Raises ValueError for a file that is no run."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        measurements = [Measurement.from_dict(entry) for entry in document.pop("measurements")]
        return Run(document, measurements, document.pop("skipped"))
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"`{path}` is no run of this suite ({type(error).__name__})") from None


def measure_all(
    groups: tuple[str, ...],
    options: Options,
    *,
    on_step: Callable[[str, str], object],
    keep: Callable[[Run], object] = lambda _: None,
) -> Run:
    """Measure the groups. `on_step` is told the group and the case that was just measured; `keep` gets what there is
    after each group, so that a run that is interrupted is not lost. Raises `WrongAnswer`."""
    run = Run(_about(options), skipped=options.skipped)
    for group in groups:
        on_step(group, "")
        try:
            for measurement in GROUPS[group][1](options):
                run.measurements.append(measurement)
                on_step(group, measurement.case)
        except Unavailable as missing:
            options.skipped.append(f"{group}: {missing}")
        keep(run)
    return run


def _about(options: Options) -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "duckdb": duckdb.__version__,
        "sqlglot": sqlglot.__version__,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "rounds": options.rounds,
        "scale": options.scale,
        "tpch_scale": options.tpch_scale,
    }
